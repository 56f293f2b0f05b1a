"""Captures: a period of the inbox in a file, JSON lines or Parquet, as its ending says.

First comes the head; then records, in order; then what people said of the structure, with the alerts it was about. Both
forms hold the same, and are written and read piece by piece: memory holds a few megabytes of a file of any size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Record, RecordKind
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Judgement, Moment
from foreshock.store.moments import from_micros

FORM = 2
"""Of the file. A program refuses a newer form than it knows. 2: versions of the topology may be deltas."""
_HEAD = "foreshock_capture"
_GROUP_ROWS = 4096
_GROUP_BYTES = 8 * 2**20
_JUDGEMENT = "judgement"


class Head(Struct, frozen=True, kw_only=True):
    """What a capture says of itself.

    Attributes:
        since: what came before is there so that what was open then is known; None: from the first record on.
        until: None: up to the last record there was.
        anonymised: what was asked for, empty where everything is as it was recorded.
    """

    foreshock_capture: int = FORM
    since: Moment | None = None
    until: Moment | None = None
    anonymised: tuple[str, ...] = ()


class _Said(Struct, frozen=True):
    judgement: Judgement


Entry = Record | Judgement


# ---- writing --------------------------------------------------------------------------------------------------------


def write_capture(path: Path, head: Head, entries: Iterable[Entry]) -> int:
    """How many records were written. The file is there as a whole, or not at all. Raises OSError."""
    draft = path.with_name(f"{path.name}.part")
    try:
        written = (_write_parquet if path.suffix == ".parquet" else _write_lines)(draft, head, entries)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return written


def _write_lines(path: Path, head: Head, entries: Iterable[Entry]) -> int:
    encode = msgspec.json.Encoder().encode
    records = 0
    with path.open("wb") as file:
        file.write(encode(head) + b"\n")
        for entry in entries:
            is_record = isinstance(entry, Record)
            file.write(encode(entry if is_record else _Said(entry)) + b"\n")  # type: ignore[arg-type]
            records += is_record
    return records


_COLUMNS = ("number", "at", "kind", "collector", "source", "actor", "body")


def _write_parquet(path: Path, head: Head, entries: Iterable[Entry]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.dictionary(pa.int32(), pa.string())
    types = (pa.int64(), pa.timestamp("us", "UTC"), word, word, word, word, pa.binary())
    schema = pa.schema(zip(_COLUMNS, types, strict=True), metadata={_HEAD: msgspec.json.encode(head)})
    records = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for rows in _groups(entries):
            records += sum(row[2] != _JUDGEMENT for row in rows)
            columns = [pa.array(column, type) for column, type in zip(zip(*rows, strict=True), types, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
    return records


_Row = tuple[int, Any, str, str, str, str, bytes]


def _groups(entries: Iterable[Entry]) -> Iterator[list[_Row]]:
    rows: list[_Row] = []
    size = 0
    for entry in entries:
        if isinstance(entry, Record):
            row = (entry.number, entry.at, entry.kind.value, entry.collector, entry.source, entry.actor, entry.body)
        else:
            row = (0, entry.at, _JUDGEMENT, "", "", entry.actor, msgspec.json.encode(entry))
        rows.append(row)
        size += len(row[-1])
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


# ---- reading --------------------------------------------------------------------------------------------------------


def head_of(path: Path) -> Head | None:
    """None where the file is no capture. Raises ConfigError where it is one of a form that is not known."""
    try:
        said = _parquet_head(path) if path.suffix == ".parquet" else _first_line(path)
    except OSError as error:
        raise _refused(path, None, f"cannot be read: {error}") from None
    try:
        found: dict[str, Any] = msgspec.json.decode(said, type=dict[str, Any])
        if found.keys() >= {"number", "kind", "body"}:
            return Head()  # records and nothing else
        if _HEAD not in found:
            return None
        head = msgspec.convert(found, Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if head.foreshock_capture > FORM:
        raise _refused(path, 1, f"is a capture of form {head.foreshock_capture}", "read it with a newer Foreshock")
    return head


def read_capture(path: Path) -> Iterator[tuple[int, Entry]]:
    """(line or row, entry) in order. Raises ConfigError naming the line."""
    return _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path)


def judgements(path: Path) -> Iterator[Judgement]:
    """What people said, without taking the records apart."""
    if path.suffix == ".parquet":
        yield from _judgements_of_parquet(path)
        return
    for _, _, found in _lines(path, lambda text: None):
        if isinstance(found, Judgement):
            yield found


def last_settings(path: Path) -> tuple[Record | None, Moment | None]:
    """The last record of settings and the time of the last record, without taking the others apart."""
    return _last_of_parquet(path) if path.suffix == ".parquet" else _last_of_lines(path)


def _refused(
    path: Path, line: int | None, message: str, hint: str = "give a file of `foreshock capture`"
) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, path="", message=message, hint=hint)])


# ---- JSON lines ----

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BEGINS_HEAD, _BEGINS_SAID = b'{"foreshock_capture"', b'{"judgement"'


class _Glance(Struct, frozen=True, gc=False):
    at: Moment
    kind: RecordKind


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return next((text for line in file if (text := line.strip())), b"")


def _lines(path: Path, read: Callable[[bytes], Any]) -> Iterator[tuple[int, bytes, Any]]:
    """(line, text, what ``read`` makes of it) of the records; judgements as they are."""
    read_said = msgspec.json.Decoder(_Said).decode
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.startswith(_BEGINS_HEAD) or text.isspace():
                continue
            try:
                found = read_said(text).judgement if text.startswith(_BEGINS_SAID) else read(text)
            except _UNREADABLE as error:
                raise _refused(path, line, f"cannot be read: {error}") from None
            yield line, text, found


def _read_lines(path: Path) -> Iterator[tuple[int, Entry]]:
    for line, _, found in _lines(path, msgspec.json.Decoder(Record).decode):
        yield line, found


def _last_of_lines(path: Path) -> tuple[Record | None, Moment | None]:
    settings, at = b"", None
    for _, text, found in _lines(path, msgspec.json.Decoder(_Glance).decode):
        if isinstance(found, _Glance):
            at = found.at
            settings = text if found.kind is RecordKind.SETTINGS else settings
    return (msgspec.json.decode(settings, type=Record) if settings else None), at


# ---- Parquet ----


def _parquet_head(path: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowException as error:
        raise _refused(path, None, f"is no Parquet file: {error}", "check the file") from None
    return bytes(metadata.get(_HEAD.encode(), b""))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, None, f"cannot be read: {error}", "capture it again") from None


def _rows(file: Any, group: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Times in microseconds since 1970: to make times of them here is ten times as fast as to let Arrow do it."""
    import pyarrow as pa

    table = file.read_row_group(group, columns=list(columns))
    plain = {"number": pa.int64(), "at": pa.int64(), "body": pa.binary()}
    return zip(*(table.column(name).cast(plain.get(name, pa.string())).to_pylist() for name in columns), strict=True)


def _read_parquet(path: Path) -> Iterator[tuple[int, Entry]]:
    row = 0
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            for values in _rows(file, group, _COLUMNS):
                row += 1
                yield row, _entry(path, row, *values)


def _entry(path: Path, row: int, number: int, at: int, kind: str, *rest: Any) -> Entry:
    collector, source, actor, body = rest
    try:
        if kind == _JUDGEMENT:
            return msgspec.json.decode(body, type=Judgement)
        known = RecordKind(kind)
    except (ValueError, *_UNREADABLE) as error:
        raise _refused(path, row, f"cannot be read: {error}") from None
    moment = from_micros(at)
    return Record(number=number, at=moment, kind=known, collector=collector, source=source, actor=actor, body=body)


def _last_of_parquet(path: Path) -> tuple[Record | None, Moment | None]:
    group_of_last, at = -1, None
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            for kind, time in _rows(file, group, ("kind", "at")):
                if kind != _JUDGEMENT:
                    at = time
                    group_of_last = group if kind == RecordKind.SETTINGS else group_of_last
        last_at = None if at is None else from_micros(at)
        if group_of_last < 0:
            return None, last_at
        entries = [_entry(path, 0, *values) for values in _rows(file, group_of_last, _COLUMNS)]
    return [one for one in entries if isinstance(one, Record) and one.kind is RecordKind.SETTINGS][-1], last_at


def _judgements_of_parquet(path: Path) -> Iterator[Judgement]:
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            if any(kind == _JUDGEMENT for (kind,) in _rows(file, group, ("kind",))):
                found = (_entry(path, 0, *values) for values in _rows(file, group, _COLUMNS))
                yield from (one for one in found if isinstance(one, Judgement))
