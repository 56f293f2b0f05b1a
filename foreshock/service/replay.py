"""``foreshock replay``: recorded input through the very engine that runs live, on virtual time.

Three kinds of input, told apart by their first line or ending: a capture of our own records, a stream of Alertmanager
alerts (JSONL), and a history in CSV or JSONL with a mapping of its columns.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from correlation.group import number
from correlation.rule import RuleInstance, RuleKind
from correlation.settings import CorrelationSettings, FoldSettings
from foreshock.core.contracts import Collector, Record, RecordKind, Snapshot
from foreshock.core.errors import ConfigError, Malformed, Problem
from foreshock.core.learned import Learned
from foreshock.core.model import Ended, Event, Moved, Situation, SituationState, read_labels
from foreshock.core.quantities import Duration
from foreshock.service import weighing
from foreshock.service.engine import Effects, Engine
from foreshock.service.records import LearnedRecord, SettingsRecord, TopologyRecord

_BATCH = 64
_SINK = "replay"


class AlertColumns(BaseModel):
    """Which column of a history is what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(default="", description="identifies a row in groups.csv; the row's number from 0 where empty")
    time: str = Field(description="when it came: seconds or milliseconds since 1970, or RFC 3339")
    node: str = Field(default="node", description="names the CI")
    name: str = Field(default="name", description="what is wrong; becomes the label alertname")
    severity: str = Field(default="", description="the source's word")
    state: str = Field(default="", description="tells firing from resolved; all rows fire where empty")
    resolved: tuple[str, ...] = Field(
        default=("resolved", "cleared", "clear", "ok", "0", "false"), description="values of `state` that mean resolved"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="more labels: name to column")
    annotations: dict[str, str] = Field(default_factory=dict, description="annotations: name to column")
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


class ReplayMapping(BaseModel):
    """A mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    alerts: AlertColumns
    topology: TopologyWords = Field(default_factory=TopologyWords)


class Input(Struct, frozen=True, kw_only=True):
    """One record of input with the ids of its items, as many as it has items; none for records that are no events."""

    record: Record
    ids: Sequence[str] = ()


class Result(Struct, kw_only=True):
    """What a replay found.

    Attributes:
        groups: (item id, group id), one for each item of input, in order.
        situations: by id, every situation that was not merged into another one, as JSON of an ``Ended``: as it stood
            when it ended, or at the end of the input if it still was open.
    """

    groups: list[tuple[str, str]]
    situations: dict[str, bytes]
    events: int
    tickets: int
    malformed: int
    span_s: float

    def summary(self) -> dict[str, Any]:
        groups = {group for _, group in self.groups}
        return {
            "events": self.events,
            "groups": len(groups),
            "situations": len(self.situations),
            "tickets": self.tickets,
            "malformed": self.malformed,
            "noise_reduction": round(1 - len(groups) / self.events, 4) if self.events else 0.0,
            "span_s": round(self.span_s, 3),
        }


def replay(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    *,
    topology: Snapshot | None = None,
    settings: CorrelationSettings | None = None,
    in_force: Sequence[RuleInstance] | None = None,
    learned: Learned | None = None,
) -> Result:
    """Run the engine over ``inputs``. ``topology``, ``settings``, the rules ``in_force`` and what was ``learned``
    replace those recorded in the input, from the first record on."""
    engine = Engine(collectors, rules)
    result = Result(groups=[], situations={}, events=0, tickets=0, malformed=0, span_s=0.0)
    placed: list[tuple[str, str, str, int, datetime]] = []
    last: dict[str, str] = {}
    ways = _Ways()
    first_at: datetime | None = None
    for step, (record, given) in enumerate(prepared(inputs, topology, settings, in_force, learned)):
        effects = engine.step([(record, None)])
        if given is None:
            continue
        first_at = first_at or record.at
        result.malformed += len(effects.dead_letters)
        result.tickets += sum(order.verb == "open" for order in effects.orders)
        ways.hear(engine, effects, step)
        for id, situation in effects.situations.items():
            if situation.state is SituationState.MERGED:
                result.situations.pop(id, None)
            elif id in effects.ended:
                result.situations[id] = effects.ended[id]
        if record.kind is RecordKind.EVENTS:
            result.events += len(given.ids)
            placed += ((*item, step, record.at) for item in _place(engine, collectors[record.collector], given, last))
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            situation.causes = weighing.causes(engine, situation)
            result.situations[situation.id] = engine.encode(situation)
    result.situations = dict(sorted(result.situations.items(), key=lambda entry: number(entry[0])))
    if first_at is not None:
        result.span_s = (engine.now - first_at).total_seconds()
    result.groups = [(item, ways.follow(alert, group, since, at)) for item, alert, group, since, at in placed]
    return result


def prepared(
    inputs: Iterable[Input],
    topology: Snapshot | None,
    settings: CorrelationSettings | None,
    in_force: Sequence[RuleInstance] | None,
    learned: Learned | None,
) -> Iterator[tuple[Record, Input | None]]:
    """Records as an engine should read them: the versions in force from the start, then the input, without what was
    replaced. With each comes its input; None for what stands before the first."""
    begun = False
    for given in inputs:
        record = given.record
        if not begun:
            begun = True
            for head in _heads(record, topology, settings, in_force, learned):
                yield head, None
        if (record.kind is RecordKind.TOPOLOGY and topology) or (record.kind is RecordKind.LEARNED and learned):
            continue
        if record.kind is RecordKind.SETTINGS:
            record = _replaced(record, settings, in_force)
        yield record, given


class _Ways:
    """Where alerts went after they were placed: by merges, and one by one by splits and moves."""

    def __init__(self) -> None:
        self._merges: dict[str, tuple[int, str]] = {}
        self._moves: dict[tuple[str, str], list[tuple[int, str, datetime]]] = {}
        self._parted = (0, 0)
        self._seen: set[tuple[str, Moved]] = set()

    def hear(self, engine: Engine, effects: Effects, step: int) -> None:
        parted = engine.counts["split"], engine.counts["moved"]
        for id, situation in effects.situations.items():
            if situation.state is SituationState.MERGED:
                self._merges.setdefault(id, (step, situation.merged_into))
            if parted != self._parted:
                self._look_for_moves(situation, step)
        self._parted = parted

    def _look_for_moves(self, situation: Situation, step: int) -> None:
        for alert, member in situation.members.items():
            moved = member.moved
            if moved is not None and (alert, moved) not in self._seen:
                self._seen.add((alert, moved))
                self._moves.setdefault((alert, moved.source), []).append((step, situation.id, member.joined_at))

    def follow(self, alert: str, group: str, since: int, at: datetime) -> str:
        """The situation in which ``alert`` ended up that was in ``group`` before step ``since``, with what came at
        ``at``: when it fired again since then and moved, only what came from then on went along."""
        while True:
            ways = [way[:2] for way in self._moves.get((alert, group), ()) if way[0] >= since and way[2] <= at]
            if group in self._merges:
                ways.append(self._merges[group])
            if not ways:
                return group
            since, group = min(ways)
            since += 1


def _heads(
    first: Record,
    topology: Snapshot | None,
    settings: CorrelationSettings | None,
    in_force: Sequence[RuleInstance] | None,
    learned: Learned | None,
) -> Iterator[Record]:
    """The versions in force from the start, as records just before the first."""
    chosen = (settings or CorrelationSettings()).model_dump(mode="json")
    rules = None if in_force is None else tuple(in_force)
    body = msgspec.json.encode(SettingsRecord(correlation=chosen, sinks=(_SINK,), rules=rules))
    yield Record(number=-1, at=first.at, kind=RecordKind.SETTINGS, body=body)
    if topology is not None:
        read = TopologyRecord(version=topology.version, cis=topology.cis, relationships=topology.relationships)
        yield Record(number=0, at=first.at, kind=RecordKind.TOPOLOGY, body=msgspec.json.encode(read))
    if learned is not None:
        chosen_version = msgspec.json.encode(LearnedRecord(learned=learned))
        yield Record(number=0, at=first.at, kind=RecordKind.LEARNED, body=chosen_version)


def _replaced(record: Record, settings: CorrelationSettings | None, in_force: Sequence[RuleInstance] | None) -> Record:
    """A recorded change of the settings, without what was replaced for the whole replay."""
    if settings is None and in_force is None:
        return record
    read = msgspec.json.decode(record.body, type=SettingsRecord)
    if settings is not None:
        read = msgspec.structs.replace(read, correlation=settings.model_dump(mode="json"))
    if in_force is not None:
        read = msgspec.structs.replace(read, rules=tuple(in_force))
    return msgspec.structs.replace(record, body=msgspec.json.encode(read))


def _place(engine: Engine, collector: Collector, given: Input, last: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(item, alert, situation) for each item of a record; what went nowhere is a group of its own."""
    for id, item in zip(given.ids, collector.decode(given.record.body), strict=True):
        try:
            if isinstance(item, Malformed):
                raise item
            event = collector.translate(item, given.record.at)
            if not isinstance(event, Event):
                raise Malformed("not an event")
            identity = engine.identity(collector, given.record.source, read_labels(event.labels))
        except Malformed:
            yield id, "", f"none-{id}"
            continue
        alert = engine.alerts.get(identity)
        if alert is not None and alert.situation:
            last[identity] = alert.situation
        yield id, identity, last.get(identity, identity)


# ---- input ----------------------------------------------------------------------------------------------------------


def read_input(path: Path, mapping: ReplayMapping | None, collectors: Mapping[str, Collector]) -> Iterator[Input]:
    """Records of a file. Raises ConfigError naming the line where it cannot be read."""
    if not path.is_file():
        raise ConfigError([Problem(file=str(path), line=None, path="", message="there is no such file")])
    if mapping is not None:
        return _history(path, mapping.alerts)
    if path.suffix == ".csv":
        raise ConfigError(
            [
                Problem(
                    file=str(path),
                    line=None,
                    path="",
                    message="a CSV needs a mapping of its columns",
                    hint="give one with --mapping",
                )
            ]
        )
    with path.open("rb") as file:
        first = file.readline()
    try:
        head = msgspec.json.decode(first) if first.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(path, 1, error) from None
    if isinstance(head, dict) and {"number", "kind", "body"} <= head.keys():
        return _capture(path, collectors)
    return _stream(path)


def _capture(path: Path, collectors: Mapping[str, Collector]) -> Iterator[Input]:
    decode = msgspec.json.Decoder(Record).decode
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                record = decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _unreadable(path, line, error) from None
            yield Input(record=record, ids=_ids_of(record, collectors))


def _ids_of(record: Record, collectors: Mapping[str, Collector]) -> tuple[str, ...]:
    if record.kind is not RecordKind.EVENTS:
        return ()
    return tuple(f"{record.number}.{index}" for index in range(len(collectors[record.collector].decode(record.body))))


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
    now = datetime(1970, 1, 1, tzinfo=UTC)

    def rows() -> Iterator[tuple[str, datetime, bytes]]:
        nonlocal now
        item = 0
        with path.open("rb") as file:
            for line, text in enumerate(file):
                text = text.strip()
                if not text:
                    continue
                try:
                    if text[:1] == b"[":
                        at, raws = None, msgspec.json.decode(text, type=list[msgspec.Raw])
                    elif b'"alert' in text and (timed := _timed(text)) is not None:
                        at, raws = timed.at, timed.alerts or ([timed.alert] if bytes(timed.alert) else [])
                    else:
                        at, raws = None, [msgspec.Raw(text)]
                    for raw in raws:
                        now = max(now, at or _arrival(raw, now))
                        # One alert a line is known by its line; arrays count on.
                        yield str(line if len(raws) == 1 and item <= line else item), now, bytes(raw)
                        item += 1
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise _unreadable(path, line + 1, error) from None

    return _records("alertmanager", rows())


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


def _history(path: Path, columns: AlertColumns) -> Iterator[Input]:
    """Rows of a CSV or JSONL file in order of time; sorted first, as histories are often exported by other orders."""
    rows = list(_table(path, columns))
    rows.sort(key=lambda row: row[1])
    return _records("events", rows)


def _table(path: Path, columns: AlertColumns) -> Iterator[tuple[str, datetime, bytes]]:
    wanted = [columns.time, columns.node, columns.name, *columns.labels.values(), *columns.annotations.values()]
    wanted += [column for column in (columns.id, columns.severity, columns.state) if column]
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader: Iterable[Mapping[str, Any]]
        if path.suffix == ".csv":
            table = csv.DictReader(file)
            missing = [column for column in wanted if column not in (table.fieldnames or ())]
            if missing:
                raise ConfigError(
                    [
                        Problem(
                            file=str(path),
                            line=1,
                            path=column,
                            message="there is no such column",
                            hint=f"it has {', '.join(table.fieldnames or ())}",
                        )
                        for column in missing
                    ]
                )
            reader = table
        else:
            reader = (json.loads(text) for text in file if text.strip())
        line = 1
        try:
            for index, row in enumerate(reader):
                line = index + 2 if path.suffix == ".csv" else index + 1
                yield (
                    str(row[columns.id]) if columns.id else str(index),
                    read_time(row[columns.time]),
                    _event(row, columns),
                )
        except (KeyError, ValueError) as error:
            raise _unreadable(path, line, error) from None


def _event(row: Mapping[str, Any], columns: AlertColumns) -> bytes:
    at = read_time(row[columns.time])
    labels = labels_of(row, columns)
    resolved = bool(columns.state) and str(row[columns.state]).strip().lower() in columns.resolved
    event: dict[str, Any] = {
        "labels": labels,
        "annotations": {name: str(row[column] or "")[:8000] for name, column in columns.annotations.items()},
        "status": "resolved" if resolved else "firing",
        "ends_at": at if resolved else at + columns.expire_after,
    }
    if not resolved:
        event["starts_at"] = at
    if columns.severity:
        event["severity"] = str(row[columns.severity] or "")[:64]
    return msgspec.json.encode(event)


def labels_of(row: Mapping[str, Any], columns: AlertColumns) -> dict[str, str]:
    labels = {"alertname": str(row[columns.name] or "alert"), "ci": str(row[columns.node] or "")}
    return labels | {name: str(row[column] or "") for name, column in columns.labels.items()}


_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138


def read_time(value: Any) -> datetime:
    """RFC 3339, or seconds or milliseconds since 1970. Raises ValueError."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if number > _MILLISECONDS_FROM:
        number /= 1000
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(number * 1e6))


def _unreadable(path: Path, line: int, error: Exception) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, path="", message=f"cannot be read: {error}")])


# ---- output ---------------------------------------------------------------------------------------------------------


def write(result: Result, out: Path) -> None:
    """groups.csv, causes.csv, situations.jsonl and summary.json. Equal input gives equal bytes."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("alert_id", "group_id"))
        writer.writerows(result.groups)
    with (out / "causes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("group_id", "rank", "node", "score", "reason"))
        for id, body in result.situations.items():
            for rank, found in enumerate(msgspec.json.decode(body, type=Ended).situation.causes, 1):
                writer.writerow((id, rank, found.ci, found.score, found.reason))
    with (out / "situations.jsonl").open("wb") as lines:
        lines.writelines(body + b"\n" for body in result.situations.values())
    (out / "summary.json").write_text(json.dumps(result.summary(), indent=1) + "\n")
