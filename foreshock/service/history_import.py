"""History for an installation that has none: its inbox begins with what was recorded elsewhere.

What people and sinks hear of it is nothing: all of it is read with no sink in force, and where it ends everything that
still fires there is over. So situations, what people said, and what is usual are known from the first day on, learning
and plans have something to begin with, and no ticket is opened for what is past.

What was recorded of tickets is left out, for they are tickets of another installation; and what people said is brought
along with the alerts it was about, as situations have other numbers here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge

import msgspec

from foreshock.core.contracts import Items, NewRecord, Record, RecordKind
from foreshock.core.errors import ForeshockError, Rejected
from foreshock.core.model import Judgement, JudgementKind
from foreshock.service.engine import Engine
from foreshock.service.recorded import Input
from foreshock.service.records import OperatorRecord, SettingsRecord, Statement, TopologyRecord
from foreshock.service.runner import Runner
from foreshock.store.journal import Journal

_AFTER = timedelta(hours=2)
"""The clock goes on for so long behind the end, so that what is over is seen to settle; never past the present."""
_SOURCE = "history"


def imported(
    inputs: Iterable[Input],
    said: Sequence[Judgement],
    *,
    settings: SettingsRecord,
    topology: TopologyRecord | None,
    only_this: bool,
    now: datetime,
) -> Iterator[tuple[datetime, NewRecord]]:
    """The records of an inbox that begins with ``inputs``, each with its time.

    said: what people said in that time, oldest first. settings, topology: in force until history brings its own;
    only_this: the topology holds in place of those of history.

    Raises Rejected where history holds nothing, or has not happened yet.
    """
    last: datetime | None = None
    words = ((one.at, 1, _said(one)) for one in said)
    events = ((given.record.at, 0, record) for given in inputs if (record := _kept(given, only_this)) is not None)
    for at, _, record in merge(events, words, key=lambda entry: entry[:2]):
        if last is None:
            yield at, _operation(RecordKind.SETTINGS, msgspec.structs.replace(settings, sinks=(), problem_sinks=()))
            if topology is not None:
                yield at, _operation(RecordKind.TOPOLOGY, topology)
        last = at if last is None else max(last, at)
        if last > now:
            raise Rejected(
                f"this history goes on to {last:%Y-%m-%d %H:%M:%S} UTC, and now it is {now:%Y-%m-%d %H:%M:%S}",
                hint="check its time zone, and the clock of this machine",
            )
        yield last, record
    if last is None:
        raise Rejected("this history holds no records", hint="check the file")
    yield last, _operation(RecordKind.OPERATOR, OperatorRecord(past_ends=True))
    yield min(last + _AFTER, now), NewRecord(kind=RecordKind.TICK, body=b"", source=_SOURCE, items=0)


def _kept(given: Input, without_topology: bool) -> NewRecord | None:
    """As it is to be read here; None for what is not."""
    record = given.record
    if record.kind is RecordKind.TICKET or (record.kind is RecordKind.TOPOLOGY and without_topology):
        return None
    body = record.body
    if record.kind is RecordKind.SETTINGS:
        read = msgspec.json.decode(body, type=SettingsRecord)
        body = msgspec.json.encode(msgspec.structs.replace(read, sinks=(), problem_sinks=(), source=None))
    elif record.kind is RecordKind.OPERATOR:
        done = msgspec.json.decode(body, type=OperatorRecord)
        if not (done.set_silence or done.expire_silence or done.set_window or done.end_window):
            return None
    return NewRecord(
        kind=record.kind,
        body=body,
        collector=record.collector,
        source=record.source,
        actor=record.actor,
        items=len(given.ids) if record.kind is RecordKind.EVENTS else 0,
    )


def _said(judgement: Judgement) -> NewRecord:
    """The same with the alerts it was about, under names that no situation has here."""
    here, there = f"H-{judgement.id}", f"H-{judgement.id}-other"
    sides = {
        JudgementKind.MERGE: {here: judgement.one, there: judgement.same},
        JudgementKind.NOT_RELATED: {here: judgement.one, there: judgement.apart},
        JudgementKind.SPLIT: {here: (*judgement.one, *judgement.apart)},
        JudgementKind.MOVE: {here: (*judgement.one, *judgement.apart), there: judgement.same},
        JudgementKind.CAUSE: {here: judgement.one},
    }[judgement.kind]
    past = {} if judgement.kind is JudgementKind.NOT_RELATED and judgement.cis else sides
    parted = judgement.kind in (JudgementKind.SPLIT, JudgementKind.MOVE)
    statement = Statement(
        kind=judgement.kind,
        situation=here if here in past else "",
        other=there if there in past else "",
        alerts=tuple(one.fingerprint for one in judgement.one) if parted else (),
        cis=judgement.cis,
        comment=judgement.comment,
        past=past,
    )
    return _operation(RecordKind.OPERATOR, OperatorRecord(judge=statement), judgement.actor)


def _operation(kind: RecordKind, body: SettingsRecord | TopologyRecord | OperatorRecord, actor: str = "") -> NewRecord:
    return NewRecord(kind=kind, body=msgspec.json.encode(body), source=_SOURCE, actor=actor, items=0)


# ---- reading it in --------------------------------------------------------------------------------------------------


class _Whole:
    """An inbox to which nothing comes any more."""

    def __init__(self, journal: Journal, last: int) -> None:
        self._journal, self.last = journal, last

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        raise NotImplementedError

    def append_now(self, record: NewRecord) -> int:
        raise NotImplementedError

    def take(self, after: int, limit: int, max_bytes: int) -> list[tuple[Record, Items | None]]:
        return [(record, None) for record in self._journal.records(after, limit=limit, max_bytes=max_bytes)]

    def wait(self, timeout_s: float) -> None: ...

    def wake(self) -> None: ...

    def stop(self) -> None: ...


def read_in(journal: Journal, engine: Engine, records: int, progress: Callable[[int], None]) -> None:
    """Have ``engine`` read what is in the inbox and save what comes of it, as it would live. progress: hears the number
    of records read so far. Raises ForeshockError."""
    failed: list[Exception] = []
    runner = Runner(engine, journal, on_orders=lambda: None, on_fatal=failed.append)
    runner.restore()
    runner.start(_Whole(journal, records))
    while not failed and not runner.caught_up(records, timeout_s=0.2):
        progress(runner.position)
    runner.stop()
    if failed:
        raise failed[0] if isinstance(failed[0], ForeshockError) else ForeshockError(f"the engine stopped: {failed[0]}")
    progress(runner.position)
