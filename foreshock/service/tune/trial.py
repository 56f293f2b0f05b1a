"""One trial: history once more with other settings, asked at the end of each fold how it grouped what is known."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median

import msgspec
from msgspec import Struct

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Items, Record, RecordKind, Verb
from foreshock.core.model import Situation, SituationState
from foreshock.service.engine import Effects, Engine
from foreshock.service.replay import Places
from foreshock.service.tune.folds import Fold
from foreshock.service.tune.known import Known, Reading, Share
from foreshock.service.tune.score import Part

_URGENT = 1
_LAST = 2**53
"""Number of a record that no history has."""


class Ticketed(Struct, frozen=True):
    """A situation that a ticket tells of: its own, opened at ``ticket``, or that of its umbrella, then it is infinite.
    Times in seconds since 1970; ends: infinite while it is open."""

    opened: float
    ends: float
    priority: int
    ticket: float
    alerts: frozenset[str]


class Standing(Struct, frozen=True, kw_only=True):
    """What there was at the end of a fold.

    Attributes:
        groups: of the items of the fold that something is known of. events: that came since the last one.
        waits: seconds from the begin of a situation to its ticket, for each ticket opened in it.
        ticketed: situations with a ticket, of the whole time so far.
    """

    groups: list[str]
    events: int
    waits: list[float]
    ticketed: list[Ticketed]


class FoldScore(Struct, frozen=True, kw_only=True):
    """One fold of one trial, beside what is in force.

    Attributes:
        parts: see ``score.Part``. tickets: opened in it. urgent: of them, those of priority 1 as far as it is known.
        wait_s: median. lost: situations of priority 1 that have a ticket now, and would not have one.
    """

    parts: list[Part]
    events: int
    tickets: int
    urgent: int
    wait_s: float | None
    lost: int


def play(reading: Reading, settings: CorrelationSettings, known: Known, folds: Sequence[Fold]) -> Iterator[Standing]:
    """A standing for each fold; what lies behind the last of ``folds`` is not read."""
    playing = _Playing(reading.engine(msgspec.structs.replace(reading.version, settings=settings)), known)
    inputs, step = reading.inputs, 0
    for fold in folds:
        until = datetime.fromtimestamp(fold.until, UTC)
        while step < len(inputs) and inputs[step].record.at < until:
            playing.read(step, inputs[step].record, reading.items[step])
            step += 1
        yield playing.standing(fold, until)


class _Playing:
    def __init__(self, engine: Engine, known: Known) -> None:
        self._engine, self._known = engine, known
        self._places, self._placed = Places(), 0
        self._tickets: dict[str, float] = {}
        self._waits: list[tuple[float, float]] = []
        self._over: dict[str, Ticketed] = {}
        self._events = 0

    def read(self, step: int, record: Record, items: Items | None) -> None:
        self._hear(self._engine.step([(record, items)]))
        self._events += 0 if items is None else len(items.items)
        known = self._known.items
        while self._placed < len(known) and known[self._placed].step == step:
            self._places.put(self._engine, str(self._placed), known[self._placed].alert, record.at)
            self._placed += 1

    def _hear(self, effects: Effects) -> None:
        self._places.hear(self._engine, effects)
        for order in effects.orders:
            if order.verb is Verb.OPEN and order.situation not in self._tickets:
                self._tickets[order.situation] = order.at.timestamp()
                situation = effects.situations.get(order.situation) or self._engine.situations[order.situation]
                self._waits.append((order.at.timestamp(), (order.at - situation.opened_at).total_seconds()))
        for id, situation in effects.situations.items():
            if situation.state is SituationState.MERGED:
                self._over.pop(id, None)
                if (at := self._tickets.pop(id, None)) is not None:
                    self._tickets[situation.merged_into] = min(at, self._tickets.get(situation.merged_into, at))
            elif situation.state is not SituationState.OPEN and (told := self._told(situation)) is not None:
                self._over[id] = told
            else:
                self._over.pop(id, None)

    def standing(self, fold: Fold, until: datetime) -> Standing:
        # A tick makes timers prompt and changes nothing that is decided: what is due by then is seen to come.
        self._hear(self._engine.step([(Record(number=_LAST, at=until, kind=RecordKind.TICK, body=b""), None)]))
        events, self._events = self._events, 0
        waits = [wait for at, wait in self._waits if fold.begin <= at < fold.until]
        groups = [group for _, group in self._places.groups()]
        items = self._known.items
        return Standing(
            groups=[groups[place] for place in range(self._placed) if fold.begin <= items[place].at < fold.end],
            events=events,
            waits=waits,
            ticketed=[*self._over.values(), *self._open()],
        )

    def _open(self) -> Iterator[Ticketed]:
        for situation in self._engine.situations.values():
            if situation.state is SituationState.OPEN and (told := self._told(situation)) is not None:
                yield told

    def _told(self, situation: Situation) -> Ticketed | None:
        at = self._tickets.get(situation.id, float("inf"))
        if at == float("inf") and situation.parent not in self._tickets:
            return None
        ended = situation.resolved_at.timestamp() if situation.resolved_at is not None else float("inf")
        return Ticketed(situation.opened_at.timestamp(), ended, situation.priority, at, frozenset(situation.members))


# ---- beside what is in force ----------------------------------------------------------------------------------------


def compared(fold: Fold, share: Share, before: Standing, after: Standing) -> FoldScore:
    return FoldScore(
        parts=share.parts(before.groups, after.groups),
        events=after.events,
        tickets=len(after.waits),
        urgent=sum(_counts(one, fold) for one in after.ticketed),
        wait_s=round(median(after.waits), 1) if after.waits else None,
        lost=sum(not _is_told(one, after) for one in before.ticketed if _counts(one, fold)),
    )


def _counts(one: Ticketed, fold: Fold) -> bool:
    return one.priority == _URGENT and fold.begin <= one.ticket < fold.until


def _is_told(one: Ticketed, after: Standing) -> bool:
    """Whether a ticket tells of some of it, at a time when it was there."""
    return any(
        other.opened <= one.ends and one.opened <= other.ends and not one.alerts.isdisjoint(other.alerts)
        for other in after.ticketed
    )
