"""Which lines become events, and how the others are counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from foreshock.connect.lines import (
    COUNTED,
    DROPPED,
    MAX_NAME_CHARS,
    OTHERS,
    SHOWN,
    Batch,
    Line,
    LineCounter,
    LineRules,
    Sieve,
    decode_lines,
    encode_lines,
    event_of,
)
from foreshock.core.errors import Malformed
from foreshock.core.model import read_annotations, read_labels
from foreshock.core.templates import key, template

NOW = datetime(2026, 11, 22, 3, 8, 14, tzinfo=UTC)
LINK = {
    "name": "Link down",
    "fails": r"Interface (?P<interface>\S+), changed state to down",
    "recovers": r"Interface (?P<interface>\S+), changed state to up",
    "severity": "err",
}


def rules(**fields: Any) -> LineRules:
    return LineRules.model_validate(fields)


def line(text: str, **fields: Any) -> Line:
    return Line(**{"text": text, "severity": "err", "host": "web-1", "app": "shop", "at": NOW, **fields})


def labels(line: Line) -> dict[str, str]:
    return read_labels(event_of(line, NOW).labels)


# ---- templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Failed password for bob from 10.1.2.3 port 42 ssh2", "Failed password for bob from * port * *"),
        ("disk failure on /dev/sdb1, code=5", "disk failure on *, code=*"),
        ("open('/tmp/a b') failed: don't panic", "open(*) failed: don't panic"),
        ("  two   spaces\tand a tab ", "two spaces and a tab"),
        ("Größe 5", "Größe *"),
        ("", ""),
    ],
)
def test_a_template_is_a_line_without_its_values(text: str, expected: str):
    assert template(text.encode()) == expected


@given(st.text(max_size=80) | st.text("a1 '\"%/=é", max_size=80))
def test_lines_with_the_same_key_have_the_same_template(text: str):
    raw = text.encode("utf-8", "replace")

    assert template(key(raw)) == template(raw)
    assert key(key(raw)) == key(raw)


def test_a_long_line_without_a_value_costs_its_length():
    for text in (b"x" * 60_000, b"x-" * 30_000, b"'" * 60_000, b"a'" * 30_000):
        template(text)  # else this takes seconds


# ---- fates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "text", "expected"),
    [
        pytest.param(3, "a", True, id="as severe as the bound"),
        pytest.param(0, "a", True, id="worse"),
        pytest.param(4, "a", False, id="less severe"),
        pytest.param(6, "Failed password for root", True, id="less severe, and wanted"),
    ],
)
def test_a_line_becomes_an_event_by_its_severity_or_because_it_is_wanted(severity: int, text: str, expected: bool):
    sieve = Sieve(rules(events=['app="sshd", text=~"Failed.*"']))

    assert sieve.fate(severity, {"app": "sshd", "text": text}).event is expected
    assert sieve.by_severity(severity).event is (severity <= 3)


def test_what_is_to_be_dropped_is_dropped_first():
    sieve = Sieve(rules(drop=['host=~"lab-.*"'], events=['text=~".*"'], pairs=[LINK]))

    assert sieve.fate(0, {"host": "lab-1", "text": "x"}) is DROPPED
    assert sieve.fate(7, {"host": "web-1", "text": "x"}).event
    assert Sieve(rules()).fate(7, {"text": "x"}) is COUNTED
    assert Sieve(rules()).plain
    assert not sieve.plain


def test_two_lines_that_belong_together_are_one_alert_that_opens_and_resolves():
    sieve = Sieve(rules(pairs=[LINK]))

    def event(state: str, port: str) -> Any:
        text = f"%LINK-3-UPDOWN: Interface {port}, changed state to {state}"
        fate = sieve.fate(5, {"text": text})
        assert fate.event
        made = line(text, name=fate.name, labels=dict(fate.labels), ends=fate.ends, holds_s=fate.holds_s)
        return event_of(made, NOW)

    down, up, other = event("down", "Gi0/1"), event("up", "Gi0/1"), event("down", "Gi0/2")

    assert read_labels(down.labels) == {"alertname": "Link down", "host": "web-1", "interface": "Gi0/1"}
    assert bytes(down.labels) == bytes(up.labels) != bytes(other.labels)
    assert down.ends_at == NOW + timedelta(days=1)
    assert up.ends_at == NOW


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"events": ["text=~'('"]}, "not a valid expression"),
        ({"drop": [""]}, "matches every line"),
        ({"pairs": [{**LINK, "fails": "("}]}, "is no expression"),
        ({"severity": "error"}, "Input should be"),
    ],
)
def test_a_rule_that_cannot_be_read_is_told(fields: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        rules(**fields)


# ---- events ---------------------------------------------------------------------------------------------------------


def test_a_line_is_known_by_host_program_template_and_severity_not_by_its_values():
    one, other = line("worker 17 died"), line("worker 18 died", at=NOW + timedelta(seconds=5), lines=3)

    assert labels(one) == {"alertname": "worker * died", "host": "web-1", "app": "shop", "severity": "err"}
    assert labels(one) == labels(other)
    assert labels(line("worker 17 died", severity="crit")) != labels(one)
    assert read_annotations(event_of(other, NOW).annotations)["lines"] == "3"


def test_a_long_template_is_cut_and_still_tells_lines_apart():
    first, second = line("x" * 300 + " a"), line("x" * 300 + " b")

    assert len(labels(first)["alertname"]) == MAX_NAME_CHARS
    assert labels(first) != labels(second)


def test_an_alert_that_no_line_ends_holds_for_a_while():
    assert event_of(line("x", holds_s=900.0), NOW).ends_at == NOW + timedelta(seconds=900)
    assert event_of(line("x"), NOW).ends_at is None


def test_an_empty_line_is_none():
    with pytest.raises(Malformed, match="empty"):
        event_of(line(" "), NOW)


@given(st.lists(st.builds(line, st.text(max_size=20), note=st.text(max_size=5), lines=st.integers(1, 9)), max_size=5))
def test_lines_come_out_of_a_record_as_they_went_in(lines: list[Line]):
    assert decode_lines(encode_lines(lines)) == lines


def test_of_lines_that_differ_in_their_values_only_the_newest_is_kept_with_their_number():
    batch = Batch()
    for number in range(50):
        text = f"worker {number % 10} died"
        batch.add(("web-1", key(text.encode())), lambda text=text: line(text), 100)
    batch.add(("web-2",), lambda: line("another"), 100)

    assert (len(batch), batch.size, batch.lines) == (2, 200, 51)
    assert [(each.text, each.lines) for each in batch.take()] == [("worker 9 died", 50), ("another", 1)]
    assert not batch


# ---- counting -------------------------------------------------------------------------------------------------------


def counted(counter: LineCounter, at_s: float) -> dict[tuple[str, str], float]:
    return {(each.series.ci, each.series.dimension): each.values[0] for each in counter.samples(at_s)}


def test_lines_are_counted_by_host_program_and_template_and_told_once():
    counter = LineCounter(rules())
    for number in range(5):
        counter.add(b"web-1", b"sshd", b"Accepted for %d" % number)
    counter.add(b"web-2", b"sshd", b"Accepted for 1")

    first = counter.samples(60.0)

    assert {(each.series.metric, each.series.ci, each.values[0]) for each in first} == {
        ("log_lines", "web-1", 5.0), ("log_lines", "web-2", 1.0),
    }  # fmt: skip
    assert len({each.series.dimension for each in first}) == 1
    assert first[0].series.dimension.startswith("sshd/")
    assert set(counted(counter, 90.0).values()) == {0.0}  # silence is a figure too
    assert counter.tops() == [("sshd", "Accepted for *", 6)]


def test_a_series_that_is_quiet_for_long_is_forgotten_and_makes_room():
    counter = LineCounter(rules(templates=10))
    for number in range(12):
        counter.add(b"web-1", b"a", b"message " + b"x" * (number + 1))
    assert counter.beyond == 2
    counter.samples(0.0)
    assert len(counted(counter, 600.0)) == 11
    assert counted(counter, 1000.0) == {}

    counter.add(b"web-1", b"a", b"something new")

    assert counter.beyond == 2
    assert len(counted(counter, 1030.0)) == 1


FEW = st.integers(0, 30)


@given(st.integers(10, 15), st.integers(10, 15), st.lists(st.tuples(FEW, FEW, FEW), max_size=300))
def test_templates_and_series_are_bounded_and_no_line_is_lost(
    most: int, series: int, lines: list[tuple[int, int, int]]
):
    counter = LineCounter(rules(templates=most, series=series))
    for host, app, text in lines:
        counter.add(b"h" * (host + 1), b"a" * (app + 1), b"t" * (text + 1))

    assert len(counter._templates) <= most
    assert len(counter._series) <= 2 * series + 1
    assert sum(each.count for each in counter._series.values()) == len(lines)
    assert len(counter.tops()) <= SHOWN
    assert all(each.template == OTHERS or each.template in counter._templates for each in counter._series.values())


def test_samples_are_what_the_history_takes():
    counter = LineCounter(rules())
    counter.add("w\xff".encode("latin-1"), b"", b"x")

    [samples] = counter.samples(60.0)

    assert msgspec.json.encode(samples)
    assert samples.series.unit == "lines"
