"""``foreshock timeline``: when each ticket write would happen for a recorded stream, and what it waits for until then.

The same engine as live, read record by record: a delay, a join window and the quiet time before an end are rows too, so
that a person who tunes them sees what they do.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from correlation.rule import RuleKind
from foreshock.core.contracts import Collector, Record, RecordKind
from foreshock.core.model import Moment, SituationState
from foreshock.service.engine import Effects, Engine
from foreshock.service.recorded import Input
from foreshock.service.replay import AS_RECORDED, Version, prepared

AFTER = timedelta(hours=1)


class Row(Struct, frozen=True, kw_only=True):
    """One line.

    Attributes:
        verb: of a ticket write open, update, resolve or reopen; else wait, hold or nothing with the reason, "quiet" for
            the time before an end, or "join" where a situation stops to take new alerts.
        until: when a wait ends by itself; None if only a change ends it.
    """

    at: Moment
    situation: str
    sink: str
    verb: str
    reason: str
    until: Moment | None = None


def timeline(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    version: Version = AS_RECORDED,
) -> list[Row]:
    """Rows in order of time. Arguments as for ``replay.replay``; the clock goes on for ``AFTER`` behind the last
    record, so that what is waited for then is seen to come."""
    engine = Engine(collectors, rules)
    joins = _Joins()
    rows: list[Row] = []
    read = prepared(inputs, version)
    for record in _and_after(record for record, _ in read):
        effects = engine.step([(record, None)])
        rows += _rows(effects)
        joins.hear(engine, effects)
    return sorted([*rows, *joins.rows()], key=lambda row: row.at)


def _and_after(records: Iterable[Record]) -> Iterator[Record]:
    last: Record | None = None
    for last in records:
        yield last
    if last is not None:
        yield Record(number=last.number + 1, at=last.at + AFTER, kind=RecordKind.TICK, body=b"")


def _rows(effects: Effects) -> Iterator[Row]:
    for situation, decided in effects.decisions:
        yield Row(
            at=decided.at,
            situation=situation,
            sink=decided.sink,
            verb=decided.step,
            reason=decided.reason,
            until=decided.until,
        )


class _Joins:
    """When each situation stopped to take new alerts while it was still open."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[datetime, timedelta]] = {}
        self._over: dict[str, datetime] = {}
        self._now: datetime | None = None

    def hear(self, engine: Engine, effects: Effects) -> None:
        for id, situation in effects.situations.items():
            self._windows[id] = situation.last_joined_at, engine.settings.group.join_of(situation.priority)
            if situation.state is SituationState.OPEN:
                self._over.pop(id, None)
            else:
                self._over[id] = situation.resolved_at or engine.now
        self._now = engine.now

    def rows(self) -> Iterator[Row]:
        for id, (joined_at, window) in self._windows.items():
            closes, ended = joined_at + window, self._over.get(id, self._now)
            if ended is not None and closes < ended:
                yield Row(at=closes, situation=id, sink="", verb="join", reason="its join window is over")
