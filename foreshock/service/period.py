"""A part of the inbox that can be understood by itself: with what was in force when it begins, and from early enough
that what was open then is known."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Record, RecordKind
from foreshock.core.model import MaintenanceWindow, Moment, Silence
from foreshock.service import in_force, topologies
from foreshock.service.engine import Engine
from foreshock.service.records import LearnedRecord, OperatorRecord, SettingsRecord, TopologyRecord
from foreshock.store.journal import Journal
from foreshock.store.store import Store

LEAD = timedelta(days=1)
"""At least so much of what came before is read: what may be reopened, what flaps, and changes are about that old."""


class Period(Struct, frozen=True, kw_only=True):
    """Of the inbox of a running Foreshock.

    Attributes:
        since: what began before it is there only so that what was open then is known; None: from the first record on.
        head: what was in force before the first record of the period, as records.
        after, upto: numbers of records: the period begins with the one behind ``after``.
        last_at: of its last record; None where it has none.
        settings: those, with the rules, that were in force last.
        unknown: how many situations were open at ``since`` that had been open for longer than is read.
    """

    since: Moment | None
    until: Moment | None
    head: tuple[Record, ...]
    after: int
    upto: int
    last_at: Moment | None
    settings: SettingsRecord
    unknown: int = 0


class Present(Struct, frozen=True, kw_only=True):
    """What is in force in a running engine."""

    now: Moment
    settings: SettingsRecord
    topology: TopologyRecord
    learned: LearnedRecord
    silences: tuple[Silence, ...]
    windows: tuple[MaintenanceWindow, ...]


def present(engine: Engine) -> Present:
    return Present(
        now=engine.now,
        settings=in_force.settings_record(engine),
        topology=in_force.topology_record(engine),
        learned=engine.learned,
        silences=tuple(one.silence for one in engine.suppression.silences.values()),
        windows=tuple(one.window for one in engine.suppression.windows.values()),
    )


AsOf = Callable[[datetime], TopologyRecord | None]
"""The topology at a moment, whole; None where that is not known."""


def period(
    store: Store,
    now: Present,
    since: datetime | None,
    until: datetime | None,
    as_of: AsOf = lambda moment: None,
) -> Period:
    """since, until: of what is to be told; None: all there is."""
    journal = store.journal
    upto = journal.last_record()[0] if until is None else journal.last_before(until)
    last = journal.records(upto - 1, limit=1, upto=upto) if upto else []
    last_at = last[0].at if last else None
    after, unknown = journal.first_number() - 1, 0
    if since is not None:
        opened_at = store.opened_before(since)
        begin = begins(opened_at, since, max(until or last_at or since, since))
        after = max(after, journal.last_before(begin))
        unknown = sum(at < begin for at in opened_at)
    settings = journal.newest(RecordKind.SETTINGS, upto=upto)
    return Period(
        since=since,
        until=until,
        head=tuple(_head(journal, now, after, as_of)) if after > 0 else (),
        after=after,
        upto=upto,
        last_at=last_at,
        settings=now.settings if settings is None else msgspec.json.decode(settings.body, type=SettingsRecord),
        unknown=unknown,
    )


def begins(opened_at: Sequence[datetime], since: datetime, until: datetime) -> datetime:
    """Where to begin to read for a period: with the oldest of what was open at ``since``, but no further back than the
    period is long, or a day: something that has been open for months must not cost months of reading."""
    earliest = since - max(LEAD, until - since)
    return max(earliest, min((*opened_at, since - LEAD)))


def _head(journal: Journal, now: Present, number: int, as_of: AsOf) -> Iterator[Record]:
    """Records up to ``number`` that are still in force behind it. For what is forgotten, what is in force now stands
    in; for the topology what ``as_of`` knows."""
    first = journal.records(number, limit=1)
    begin = first[0].at if first else now.now
    graph = topologies.folded(journal.back_to(RecordKind.TOPOLOGY, topologies.is_whole, upto=number))
    others = (record for record in journal.in_force(number) if _lasts(record, begin))
    found = sorted((*graph, *others), key=lambda record: record.number)
    at = min((record.at for record in found), default=begin)
    if not graph:
        now = msgspec.structs.replace(now, topology=topology_before(journal, number, as_of(begin) or now.topology))
    yield from (Record(number=0, at=at, kind=kind, body=body) for kind, body in _stand_ins(now, found, begin))
    yield from found


def topology_before(journal: Journal, number: int, now: TopologyRecord) -> TopologyRecord:
    """What stands in for a topology that is forgotten, where a reader goes on with the record behind ``number``."""
    first = journal.oldest(RecordKind.TOPOLOGY, after=number)
    return topologies.standing_in(now, None if first is None else msgspec.json.decode(first.body, type=TopologyRecord))


def _lasts(record: Record, begin: datetime) -> bool:
    """Whether what a person did still matters: what was said of single situations does not, they are not known."""
    if record.kind is not RecordKind.OPERATOR:
        return True
    done = msgspec.json.decode(record.body, type=OperatorRecord)
    if done.set_silence is not None:
        return done.set_silence.ends_at > begin
    return bool(done.expire_silence or done.set_window or done.end_window)


def _stand_ins(now: Present, found: Sequence[Record], begin: datetime) -> Iterator[tuple[RecordKind, bytes]]:
    encode = msgspec.json.encode
    kinds = {record.kind for record in found}
    if RecordKind.SETTINGS not in kinds:
        yield RecordKind.SETTINGS, encode(now.settings)
    if RecordKind.TOPOLOGY not in kinds and now.topology.cis:
        yield RecordKind.TOPOLOGY, encode(now.topology)
    if RecordKind.LEARNED not in kinds and now.learned.learned.version:
        yield RecordKind.LEARNED, encode(now.learned)
    done = [msgspec.json.decode(one.body, type=OperatorRecord) for one in found if one.kind is RecordKind.OPERATOR]
    told = {one.set_silence.id for one in done if one.set_silence is not None}
    told |= {one.set_window.id for one in done if one.set_window is not None}
    for silence in now.silences:
        if silence.id not in told and silence.updated_at < begin < silence.ends_at:
            yield RecordKind.OPERATOR, encode(OperatorRecord(set_silence=silence))
    for window in now.windows:
        if window.id not in told and window.updated_at < begin:
            yield RecordKind.OPERATOR, encode(OperatorRecord(set_window=window))
