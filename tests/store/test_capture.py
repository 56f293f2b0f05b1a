"""Captures in both forms: what goes in comes out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock.core.contracts import Record, RecordKind
from foreshock.core.errors import ConfigError
from foreshock.core.model import Judgement, JudgementKind, Witness
from foreshock.store.capture import Entry, Head, head_of, judgements, last_settings, read_capture, write_capture

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FORMS = ("capture.jsonl", "capture.parquet")

times = st.integers(0, 7 * 10**15).map(lambda us: NOON.replace(year=1970) + timedelta(microseconds=us))
words = st.text(max_size=20)
records = st.builds(
    Record, number=st.integers(0, 2**62), at=times, kind=st.sampled_from(RecordKind), body=st.binary(max_size=200),
    collector=words, source=words, actor=words,
)  # fmt: skip
witnesses = st.lists(st.builds(Witness, fingerprint=words, name=words, ci=words, onset=times), max_size=2).map(tuple)
said = st.builds(
    Judgement, id=words, at=times, actor=words, kind=st.sampled_from(JudgementKind), one=witnesses, comment=words
)
heads = st.builds(Head, since=st.none() | times, until=st.none() | times, anonymised=st.lists(words).map(tuple))


def record(number: int, kind: RecordKind = RecordKind.EVENTS, body: bytes = b"[]") -> Record:
    return Record(number=number, at=NOON + timedelta(seconds=number), kind=kind, body=body, collector="alertmanager")


def read(path: Path) -> list[Entry]:
    return [entry for _, entry in read_capture(path)]


@given(heads, st.lists(records, max_size=20), st.lists(said, max_size=3))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_forms_give_back_what_was_written(tmp_path: Path, head: Head, some: list[Record], people: list[Judgement]):
    for form in FORMS:
        path = tmp_path / form
        assert write_capture(path, head, [*some, *people]) == len(some)
        assert head_of(path) == head
        assert read(path) == [*some, *people]
        assert list(judgements(path)) == people
        settings = [one for one in some if one.kind is RecordKind.SETTINGS]
        assert last_settings(path) == (settings[-1] if settings else None, some[-1].at if some else None)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_of_a_large_capture_comes_piece_by_piece(tmp_path: Path, form: str):
    path = tmp_path / form
    wide = [record(number, body=bytes([number % 256]) * 2**20) for number in range(20)]
    write_capture(path, Head(), wide)

    assert next(read_capture(path))[1] == wide[0]
    assert read(path) == wide


def test_lines_of_records_and_nothing_else_are_a_capture_too(tmp_path: Path):
    path = tmp_path / "old.jsonl"
    path.write_bytes(msgspec.json.encode(record(1)) + b"\n")

    assert head_of(path) == Head()
    assert read(path) == [record(1)]


@pytest.mark.parametrize("text", ["", "[]\n", '{"labels": {}}\n', "not JSON\n"])
def test_another_file_is_no_capture(tmp_path: Path, text: str):
    path = tmp_path / "alerts.jsonl"
    path.write_text(text)

    assert head_of(path) is None


def test_a_form_from_the_future_is_refused(tmp_path: Path):
    path = tmp_path / "new.jsonl"
    path.write_text('{"foreshock_capture":99}\n')

    with pytest.raises(ConfigError, match=r"new\.jsonl:1: is a capture of form 99; read it with a newer Foreshock"):
        head_of(path)


def test_a_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    write_capture(path, Head(), [record(1)])
    with path.open("ab") as file:
        file.write(b'{"number": 2, "at"')

    with pytest.raises(ConfigError, match=r"bad\.jsonl:3: cannot be read"):
        read(path)


def test_a_damaged_table_is_refused_and_not_read_as_if_it_ended(tmp_path: Path):
    path = tmp_path / "bad.parquet"
    write_capture(path, Head(), [record(number, body=bytes([number]) * 5000) for number in range(50)])
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"bad\.parquet: cannot be read"):
        read(path)


@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_written_to_its_end_is_not_there(tmp_path: Path, form: str):
    def broken() -> Iterator[Entry]:
        yield record(1)
        raise OSError("the other side is gone")

    with pytest.raises(OSError, match="gone"):
        write_capture(tmp_path / form, Head(), broken())
    assert list(tmp_path.iterdir()) == []
