"""``foreshock replay``: recorded input through the very engine that runs live, on virtual time."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from correlation.group import number
from correlation.rule import RuleInstance, RuleKind
from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Collector, Items, Record, RecordKind, Snapshot
from foreshock.core.errors import Malformed
from foreshock.core.learned import Learned
from foreshock.core.model import Ended, Event, Moved, Situation, SituationState
from foreshock.service import weighing
from foreshock.service.engine import Effects, Engine
from foreshock.service.recorded import Input
from foreshock.service.records import LearnedRecord, SettingsRecord, TopologyRecord

_SINK = "replay"


class Version(Struct, frozen=True, kw_only=True):
    """A configuration to decide with. None: what history recorded, as it was in force then; without any record settings
    and rules are those that ship."""

    settings: CorrelationSettings | None = None
    rules: tuple[RuleInstance, ...] | None = None
    topology: Snapshot | None = None
    learned: Learned | None = None


AS_RECORDED = Version()


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
    version: Version = AS_RECORDED,
) -> Result:
    """Run the engine over ``inputs``. What ``version`` names takes the place of what they hold."""
    engine = Engine(collectors, rules)
    result = Result(groups=[], situations={}, events=0, tickets=0, malformed=0, span_s=0.0)
    places = Places()
    first_at: datetime | None = None
    for record, given in prepared(inputs, version):
        items = taken_apart(record, collectors)
        effects = engine.step([(record, items)])
        if given is None:
            continue
        first_at = first_at or record.at
        result.malformed += len(effects.dead_letters)
        result.tickets += sum(order.verb == "open" for order in effects.orders)
        places.hear(engine, effects)
        for id, situation in effects.situations.items():
            if situation.state is SituationState.MERGED:
                result.situations.pop(id, None)
            elif id in effects.ended:
                result.situations[id] = effects.ended[id]
        if record.kind is RecordKind.EVENTS:
            result.events += len(given.ids)
            for id, alert in zip(given.ids, fingerprints(engine, record, items), strict=True):
                places.put(engine, id, alert, record.at)
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            situation.causes = weighing.causes(engine, situation)
            result.situations[situation.id] = engine.encode(situation)
    result.situations = dict(sorted(result.situations.items(), key=lambda entry: number(entry[0])))
    if first_at is not None:
        result.span_s = (engine.now - first_at).total_seconds()
    result.groups = list(places.groups())
    return result


def prepared(inputs: Iterable[Input], version: Version) -> Iterator[tuple[Record, Input | None]]:
    """Records as an engine should read them: the versions in force from the start, then the input, without what was
    replaced. With each comes its input; None for what stands before the first."""
    begun = False
    for given in inputs:
        record = given.record
        if not begun:
            begun = True
            for head in heads(record, version):
                yield head, None
        if record.kind is RecordKind.TOPOLOGY and version.topology:
            continue
        if record.kind is RecordKind.LEARNED and version.learned:
            continue
        if record.kind is RecordKind.SETTINGS:
            record = _replaced(record, version)
        yield record, given


class Ways:
    """Where alerts went after they were placed: by merges, and one by one by splits and moves."""

    def __init__(self) -> None:
        self._merges: dict[str, tuple[int, str]] = {}
        self._moves: dict[tuple[str, str], list[tuple[int, str, datetime]]] = {}
        self._parted = (0, 0)
        self._seen: set[tuple[str, Moved]] = set()

    def hear(self, counts: Mapping[str, int], changed: Iterable[Situation], step: int) -> None:
        """``counts`` of the engine, and the situations that ``step`` changed."""
        parted = counts["split"], counts["moved"]
        for situation in changed:
            if situation.state is SituationState.MERGED:
                self._merges.setdefault(situation.id, (step, situation.merged_into))
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
        been: set[tuple[int, str]] = set()
        while (since, group) not in been:
            been.add((since, group))
            # What goes over by a merge may be split off in the same step; a move is gone after it.
            ways = [
                (way[0] + 1, way[1]) for way in self._moves.get((alert, group), ()) if way[0] >= since and way[2] <= at
            ]
            if group in self._merges:
                ways.append(self._merges[group])
            if not ways:
                return group
            since, group = min(ways)
        while group in self._merges:  # within one step it went away and came back: what was merged is not where it is
            group = self._merges[group][1]
        return group


class Places:
    """In which situation items ended up, wherever their alerts went after they were placed."""

    def __init__(self) -> None:
        self._placed: list[tuple[str, str, str, int, datetime]] = []
        self._last: dict[str, str] = {}
        self._ways = Ways()
        self._step = 0

    def hear(self, engine: Engine, effects: Effects) -> None:
        """Of each step, before its items are placed."""
        self._step += 1
        self._ways.hear(engine.counts, effects.situations.values(), self._step)

    def put(self, engine: Engine, id: str, alert: str, at: datetime) -> None:
        """The item ``id`` is of ``alert``; where that is none it is a group of its own."""
        self._placed.append((id, alert, self._group(engine, alert) if alert else f"none-{id}", self._step, at))

    def pass_by(self, engine: Engine, alert: str) -> None:
        """An item that nobody asks for; where ``alert`` is will be known when it is over."""
        self._group(engine, alert)

    def _group(self, engine: Engine, alert: str) -> str:
        known = engine.alerts.get(alert)
        if known is not None and known.situation:
            self._last[alert] = known.situation
        return self._last.get(alert, alert)

    def groups(self) -> Iterator[tuple[str, str]]:
        """(item, group), in the order in which they were put."""
        for item, alert, group, since, at in self._placed:
            yield item, self._ways.follow(alert, group, since, at)


def heads(first: Record, version: Version) -> Iterator[Record]:
    """What is in force from the start, as records just before the first."""
    settings = (version.settings or CorrelationSettings()).model_dump(mode="json")
    body = msgspec.json.encode(SettingsRecord(correlation=settings, sinks=(_SINK,), rules=version.rules))
    yield Record(number=-1, at=first.at, kind=RecordKind.SETTINGS, body=body)
    if (known := version.topology) is not None:
        read = TopologyRecord(version=known.version, cis=known.cis, relationships=known.relationships)
        yield Record(number=0, at=first.at, kind=RecordKind.TOPOLOGY, body=msgspec.json.encode(read))
    if version.learned is not None:
        body = msgspec.json.encode(LearnedRecord(learned=version.learned))
        yield Record(number=0, at=first.at, kind=RecordKind.LEARNED, body=body)


def _replaced(record: Record, version: Version) -> Record:
    """A recorded change of the settings, without what was replaced for the whole replay."""
    if version.settings is None and version.rules is None:
        return record
    read = msgspec.json.decode(record.body, type=SettingsRecord)
    if version.settings is not None:
        read = msgspec.structs.replace(read, correlation=version.settings.model_dump(mode="json"))
    if version.rules is not None:
        read = msgspec.structs.replace(read, rules=version.rules)
    return msgspec.structs.replace(record, body=msgspec.json.encode(read))


def taken_apart(record: Record, collectors: Mapping[str, Collector]) -> Items | None:
    """Its items, for all who ask; None where the engine has to say what is wrong with it."""
    collector = collectors.get(record.collector) if record.kind is RecordKind.EVENTS else None
    try:
        return None if collector is None else Items(tuple(collector.decode(record.body)))
    except Malformed:
        return None


def fingerprints(engine: Engine, record: Record, items: Items | None) -> Iterator[str]:
    """Of the alert that each item of a record belongs to which the engine has read; empty where it is no alert."""
    collector = engine.collectors.get(record.collector)
    if items is None or collector is None:
        return
    for item in items.items:
        try:
            event = None if isinstance(item, Malformed) else collector.translate(item, record.at)
            yield engine.identity(collector, record.source, event.labels) if isinstance(event, Event) else ""
        except Malformed:
            yield ""


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
