"""Recorded input, as records that an engine reads.

Three kinds, told apart by whether there is a mapping and by their first line: a capture of our own records, a stream of
Alertmanager alerts (JSON lines), and a history with a mapping of its columns (CSV, JSON lines or Parquet).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cmdb_sync.file import FileConfig, FileSource
from correlation import zones
from correlation.settings import FoldSettings
from foreshock.connect.config import InvalidPart
from foreshock.core.contracts import Collector, Record, RecordKind, Snapshot
from foreshock.core.errors import ConfigError, Invalid, Malformed, Problem
from foreshock.core.quantities import Duration, ZoneName
from foreshock.store.capture import Entry, head_of, read_capture
from foreshock.store.rows import Table, check_file, read_table

_BATCH = 64
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WHAT = "give a capture or Alertmanager alerts, one JSON value a line, or a table and its --mapping"

Name = Annotated[str, Field(min_length=1)]


class AlertColumns(BaseModel):
    """Which column of a history is what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(default="", description="identifies a row in groups.csv; the row's number from 0 where empty")
    time: str = Field(min_length=1, description="when it came: seconds or milliseconds since 1970, or RFC 3339")
    node: str = Field(default="node", min_length=1, description="names the CI")
    name: str = Field(default="name", min_length=1, description="what is wrong; becomes the label alertname")
    source: str = Field(
        default="",
        description="who dated the row; a source whose dates turn out to be in another time zone than those of the "
        "others is put right and told",
    )
    severity: str = Field(default="", description="the source's word")
    state: str = Field(default="", description="tells firing from resolved; all rows fire where empty")
    resolved: tuple[str, ...] = Field(
        default=("resolved", "cleared", "clear", "ok", "0", "false"), description="values of `state` that mean resolved"
    )
    labels: dict[Name, str] = Field(default_factory=dict, description="more labels: name to column")
    annotations: dict[Name, str] = Field(default_factory=dict, description="annotations: name to column")
    expire_after: Duration = Field(
        default=FoldSettings().expire_after, description="an alert is over this long after its last row"
    )


class TopologyWords(BaseModel):
    """How a topology folder names its columns, CI types and relationships; the file source has the same settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, str] = Field(default_factory=dict, description="our column names to theirs: {node: ci_name}")
    kinds: dict[str, str] = Field(default_factory=dict, description="CI types: theirs to ours")
    relations: dict[str, str] = Field(
        default_factory=dict,
        description="relationship types: theirs to ours; ours say which way failures spread, `ignore` leaves one out",
    )

    def source(self, path: Path) -> FileConfig:
        return FileConfig(path=path, **self.model_dump())

    @model_validator(mode="after")
    def _are_those_of_a_file_source(self) -> Self:
        try:
            self.source(Path())
        except ValidationError as error:
            raise InvalidPart(error, FileConfig) from None
        return self


class TicketColumns(BaseModel):
    """Which column of exported tickets is what, where it has another name than usual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: str = Field(default="", description="identifies a ticket")
    opened: str = Field(default="", description="when it was opened")
    resolved: str = Field(default="", description="when it was resolved, or closed")
    ci: str = Field(default="", description="names of the CIs it is about, with commas between")
    key: str = Field(default="", description="of the alert it was opened for: its fingerprint, or a label's value")
    text: str = Field(default="", description="what it is about, searched for CIs where it names none")
    parent: str = Field(default="", description="the ticket it belongs to: together they are one problem")
    problem: str = Field(default="", description="its problem record: those open together are one problem")
    close: str = Field(default="", description="how it was closed")
    noise: tuple[str, ...] = Field(
        default=("No fault found", "False alarm", "False positive", "Cannot reproduce"),
        description="values of `close` that mean that there was no problem",
    )
    zone: ZoneName = Field(default="UTC", description="time zone of times without one: Europe/Berlin")
    time_format: str = Field(
        default="", description="how times are written, as strptime reads it; RFC 3339 where empty"
    )


class ReplayMapping(BaseModel):
    """A mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    alerts: AlertColumns | None = Field(default=None, description="of a history; without it, input needs no mapping")
    topology: TopologyWords = Field(default_factory=TopologyWords)
    tickets: TicketColumns = Field(default_factory=TicketColumns, description="of exported tickets that are the truth")


class Input(Struct, frozen=True, kw_only=True):
    """One record of input with the ids of its items, as many as it has items; none for records that are no events."""

    record: Record
    ids: Sequence[str] = ()


# ---- what is given --------------------------------------------------------------------------------------------------


def read_topology(path: Path, mapping: ReplayMapping | None) -> Snapshot:
    """Raises ConfigError."""
    words = mapping.topology if mapping else TopologyWords()
    return FileSource("recorded", words.source(path)).fetch()


def read_input(
    path: Path,
    mapping: ReplayMapping | None,
    collectors: Mapping[str, Collector],
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Input]:
    """Records of a file; ``tell`` hears what was put right in it. Raises ConfigError naming the line where it cannot be
    read."""
    check_file(path)
    if mapping is not None and mapping.alerts is not None:
        return _history(path, mapping.alerts, tell)
    if head_of(path) is not None:
        return inputs_of(read_capture(path), str(path), collectors)
    if path.suffix in (".csv", ".parquet", ".gz"):
        message, hint = "a table needs a mapping of its columns", "give one with --mapping"
        raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])
    for line, text in _lines(path):
        _decoded(path, line, text, object)
        break
    return _stream(path)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Those that hold something, each with its number."""
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text := text.strip():
                yield line, text


def _decoded(path: Path, line: int, text: bytes, type: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=type)
    except _NOT_JSON as error:
        raise _unreadable(path, line, f"cannot be read: {error}") from None


def _unreadable(path: Path | str, line: int, message: str) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, path="", message=message, hint=_WHAT)])


# ---- captures -------------------------------------------------------------------------------------------------------


def inputs_of(entries: Iterable[tuple[int, Entry]], where: str, collectors: Mapping[str, Collector]) -> Iterator[Input]:
    """Records with the ids of their items: ``number.index``. entries: each with its line in ``where``.

    Raises ConfigError naming the line whose collector is not known here, or cannot read it.
    """
    for line, record in entries:
        if not isinstance(record, Record):
            continue
        ids: tuple[str, ...] = ()
        if record.kind is RecordKind.EVENTS:
            if record.collector not in collectors:
                raise _unreadable(where, line, f"comes from {record.collector!r}, a collector that is not known here")
            try:
                count = len(collectors[record.collector].decode(record.body))
            except Malformed as error:
                raise _unreadable(where, line, f"holds what {record.collector} cannot read: {error}") from None
            ids = tuple(f"{record.number}.{index}" for index in range(count))
        yield Input(record=record, ids=ids)


# ---- streams --------------------------------------------------------------------------------------------------------


class _Timed(Struct, frozen=True):
    """A line of a stream with its time of arrival."""

    at: datetime
    alert: msgspec.Raw = msgspec.Raw()  # not `Raw | None`: msgspec then accepts null only
    alerts: list[msgspec.Raw] | None = None


class _Dated(Struct, frozen=True):
    startsAt: datetime | None = None  # noqa: N815 (Alertmanager's spelling)
    endsAt: datetime | None = None  # noqa: N815


def _stream(path: Path) -> Iterator[Input]:
    """One postable alert, an array of them, or {"at": …, "alert": …} a line. Without ``at`` an alert arrives when it
    starts, or ends if it is a resolve, and never before the one above it."""
    return _records("alertmanager", _alerts(path))


def _alerts(path: Path) -> Iterator[tuple[str, datetime, bytes]]:
    """(id, time of arrival, alert); an alert alone on its line is known by the line, from 0, and arrays count on."""
    now = datetime(1970, 1, 1, tzinfo=UTC)
    item = 0
    for line, text in _lines(path):
        try:
            at, raws = _arrived(text)
            for raw in raws:
                now = max(now, at or _arrival(raw, now))
                yield str(line - 1 if len(raws) == 1 and item < line else item), now, bytes(raw)
                item += 1
        except _NOT_JSON as error:
            raise _unreadable(path, line, f"cannot be read: {error}") from None


def _arrived(text: bytes) -> tuple[datetime | None, list[msgspec.Raw]]:
    """The time of arrival, where the line tells it, and its alerts."""
    if text[:1] == b"[":
        return None, msgspec.json.decode(text, type=list[msgspec.Raw])
    if b'"alert' in text and (timed := _timed(text)) is not None:
        return timed.at, timed.alerts or ([timed.alert] if bytes(timed.alert) else [])
    return None, [msgspec.Raw(text)]


def _timed(text: bytes) -> _Timed | None:
    try:
        return msgspec.json.decode(text, type=_Timed)
    except msgspec.ValidationError:
        return None


def _arrival(raw: msgspec.Raw, now: datetime) -> datetime:
    try:
        dated = msgspec.json.decode(raw, type=_Dated)
    except msgspec.ValidationError:
        return now  # it will be a dead letter, at the time of its neighbours
    starts_at, ends_at = dated.startsAt, dated.endsAt
    if starts_at is None:
        return now
    return ends_at if ends_at is not None and starts_at < ends_at <= now else starts_at


def _records(collector: str, rows: Iterable[tuple[str, datetime, bytes]]) -> Iterator[Input]:
    """Rows of one moment together become one record, as one request would have brought them."""
    number = 0
    at: datetime | None = None
    ids: list[str] = []
    bodies: list[bytes] = []
    for id, moment, body in rows:
        if bodies and (moment != at or len(bodies) >= _BATCH):
            number += 1
            yield _record(number, at, collector, ids, bodies)
            ids, bodies = [], []
        at = moment
        ids.append(id)
        bodies.append(body)
    if bodies:
        yield _record(number + 1, at, collector, ids, bodies)


def _record(number: int, at: datetime | None, collector: str, ids: list[str], bodies: list[bytes]) -> Input:
    assert at is not None
    body = b"[" + b",".join(bodies) + b"]"
    return Input(
        record=Record(number=number, at=at, kind=RecordKind.EVENTS, collector=collector, source=collector, body=body),
        ids=tuple(ids),
    )


# ---- histories ------------------------------------------------------------------------------------------------------


def _history(path: Path, columns: AlertColumns, tell: Callable[[str], None]) -> Iterator[Input]:
    """In order of time; sorted first, as histories are often exported by other orders."""
    given = (columns.id, columns.time, columns.node, columns.name, columns.source, columns.severity, columns.state)
    table = read_table(
        path, [name for name in (*given, *columns.labels.values(), *columns.annotations.values()) if name]
    )
    times = table.read(columns.time, read_time)
    if columns.source:
        times = _in_one_zone(table, times, columns, tell)
    ids = table.texts(columns.id) if columns.id else [str(index) for index in range(table.size)]
    events = _events(table, times, columns)
    return _records("events", sorted(zip(ids, times, events, strict=True), key=lambda row: row[1]))


def _in_one_zone(
    table: Table, times: Sequence[datetime], columns: AlertColumns, tell: Callable[[str], None]
) -> list[datetime]:
    sources = table.texts(columns.source)
    rows: dict[str, list[tuple[str, float]]] = {}
    for source, node, at in zip(sources, table.texts(columns.node), times, strict=True):
        rows.setdefault(source, []).append((node, at.timestamp()))
    ahead = zones.ahead(rows)
    for source, by in ahead.items():
        hours = by.total_seconds() / 3600
        tell(
            f"{table.path}: the dates of {columns.source} {source!r} are {abs(hours):g} h "
            f"{'ahead of' if hours > 0 else 'behind'} the others', which looks like another time zone: they are read "
            f"as such; leave `source` out of the mapping to read them as they are"
        )
    return [at - ahead[source] if source in ahead else at for source, at in zip(sources, times, strict=True)]


def _events(table: Table, times: Sequence[datetime], columns: AlertColumns) -> Iterator[bytes]:
    annotations = [(name, table.texts(column)) for name, column in columns.annotations.items()]
    severities, states = table.texts(columns.severity), table.texts(columns.state)
    for index, (at, labels) in enumerate(zip(times, labels_of(table, columns), strict=True)):
        resolved = bool(columns.state) and states[index].strip().lower() in columns.resolved
        event: dict[str, Any] = {
            "labels": labels,
            "annotations": {name: texts[index][:8000] for name, texts in annotations},
            "status": "resolved" if resolved else "firing",
            "ends_at": at if resolved else at + columns.expire_after,
        }
        if not resolved:
            event["starts_at"] = at
        if columns.severity:
            event["severity"] = severities[index][:64]
        yield msgspec.json.encode(event)


def labels_of(table: Table, columns: AlertColumns) -> Iterator[dict[str, str]]:
    """The labels of each row."""
    more = [(name, table.texts(column)) for name, column in columns.labels.items()]
    for index, (name, node) in enumerate(zip(table.texts(columns.name), table.texts(columns.node), strict=True)):
        yield {"alertname": name or "alert", "ci": node, **{label: texts[index] for label, texts in more}}


_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138
_YEARS = range(1900, 2200)
"""What lies outside is a number in another unit."""


def read_time(value: Any) -> datetime:
    """RFC 3339, or seconds or milliseconds since 1970. Raises Invalid."""
    text = "" if value is None else str(value).strip()
    try:
        moment = _moment(text)
        if moment.year in _YEARS:
            return moment
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"{text[:40]!r} is no time", hint="write RFC 3339, or seconds or milliseconds since 1970")


def _moment(text: str) -> datetime:
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if number > _MILLISECONDS_FROM:
        number /= 1000
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(number * 1e6))
