"""What the sinks will hear: orders that wait, tickets that are held back, and why what is not sent is not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from correlation.next_step import Decision, Step
from foreshock.core.errors import ForeshockError, Missing
from foreshock.core.model import Moment, Situation, SituationState, TicketState
from foreshock.service import deciding
from foreshock.service.breaker import lies_ahead
from foreshock.service.delivery import Lane, LaneStatus
from foreshock.service.runner import Runner
from foreshock.store.dead_orders import DeadOrder, DeadOrders
from foreshock.store.outbox import Outbox, Waiting

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_LOOKED_AT = 2000
"""Open situations that a plan looks at: the engine waits meanwhile."""
_HELD = {
    "breaker": "too many calls failed",
    "asked": "the sink asked for a pause",
    "rate": "few of the calls that the system allows are left",
    "denied": "the sink refuses our credentials",
    "fenced": "another process delivers to it",
}


class PlannedOrder(Struct, frozen=True, kw_only=True):
    """A write that is decided and not yet delivered.

    Attributes:
        number: of the record; empty where there is none yet.
        at: when it was decided. attempts: calls made for it.
        due_at: when it is tried at the earliest. why_not: why not now; empty where nothing is in its way.
    """

    sequence: int
    situation: str
    verb: str
    number: str
    at: Moment
    attempts: int
    fields: dict[str, Any]
    note: str
    due_at: Moment
    why_not: str


class PlannedTicket(Struct, frozen=True, kw_only=True):
    """What an open situation would be told, or will not, and why. step: wait, hold or nothing. due_at: when that is
    looked at again; None: only when something changes."""

    situation: str
    title: str
    priority: int
    number: str
    step: str
    why: str
    due_at: Moment | None


class SinkPlan(Struct, frozen=True, kw_only=True):
    """Of one sink. pending: orders that wait in all; ``orders`` and ``tickets`` are the first of them."""

    lane: LaneStatus
    pending: int
    orders: tuple[PlannedOrder, ...]
    tickets: tuple[PlannedTicket, ...]
    dead_letters: int


class Tried(Struct, frozen=True, kw_only=True):
    """What became of one dead letter. refused: why it stays; empty where it went. orders: how many were put back."""

    id: int
    orders: int = 0
    refused: str = ""


def why_not(order: Waiting, before: Waiting | None, lane: LaneStatus, now: datetime) -> str:
    """Why an order is not sent at this moment; empty where nothing is in its way. before: the head of its queue, if
    that is another one."""
    if lane.hold:
        until = f" until {lane.resume_at:%H:%M:%S} UTC" if lane.resume_at is not None else ""
        return f"{_HELD[lane.hold]}{until}: {lane.error}".rstrip(": ")
    if before is not None:
        return f"waits for order {before.sequence} ({before.order.verb.value}) of {order.order.situation}"
    state = order.ticket.state if order.ticket is not None else None
    if state is TicketState.SENDING:
        return "is being sent"
    lost = "its answer was lost, so the record is searched first" if state is TicketState.UNKNOWN else ""
    if order.attempts and lies_ahead(order.next_at, now):
        return f"tried {order.attempts} times: {order.error}"
    return lost


class Outgoing:
    """Answers what people ask of lanes and dead letters.

    Args: lanes: in the order of the settings.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        outbox: Outbox,
        letters: DeadOrders,
        runner: Runner,
        clock: Callable[[], datetime],
    ) -> None:
        self._lanes: Mapping[str, Lane] = {lane.name: lane for lane in lanes}
        self._outbox, self._letters, self._runner, self._clock = outbox, letters, runner, clock

    def plans(self, name: str = "", *, limit: int = 200) -> list[SinkPlan]:
        """Of one sink or of all. Raises Missing."""
        return [self._plan(lane, limit) for lane in ([self._lane(name)] if name else self._lanes.values())]

    def dead(self, name: str, *, limit: int = 1000) -> list[DeadOrder]:
        """Oldest first. Raises Missing."""
        return self._letters.of(self._lane(name).name, limit=limit)

    def retry(self, name: str, ids: Sequence[int], *, actor: str) -> list[Tried]:
        """In the order they were refused in; all where none is named. Raises Missing for an unknown sink."""
        lane = self._lane(name)
        known = [letter.id for letter in self._letters.of(name)]
        tried = [self._try_again(name, id, actor) for id in (sorted(set(ids)) or known)]
        lane.wake()
        return tried

    def drop(self, name: str, ids: Sequence[int], *, actor: str, reason: str) -> list[Tried]:
        """Give them up for good. Raises Missing."""
        self._lane(name)
        return [self._give_up(name, id, actor, reason) for id in sorted(set(ids))]

    def _try_again(self, name: str, id: int, actor: str) -> Tried:
        try:
            return Tried(id=id, orders=self._letters.retry(name, id, actor=actor, now=self._clock()))
        except ForeshockError as error:
            return Tried(id=id, refused=str(error))

    def _give_up(self, name: str, id: int, actor: str, reason: str) -> Tried:
        try:
            self._letters.drop(name, id, actor=actor, reason=reason, now=self._clock())
        except ForeshockError as error:
            return Tried(id=id, refused=str(error))
        return Tried(id=id)

    def _lane(self, name: str) -> Lane:
        if name not in self._lanes:
            raise Missing(f"no sink is called {name!r}", hint=f"there are: {', '.join(self._lanes)}")
        return self._lanes[name]

    def _plan(self, lane: Lane, limit: int) -> SinkPlan:
        status, now = lane.status(), self._clock()
        heads: dict[str, Waiting] = {}
        orders = []
        for each in self._outbox.waiting(lane.name, limit):
            head = heads.setdefault(each.order.situation, each)
            orders.append(_planned(each, why_not(each, None if head is each else head, status, now)))
        with self._runner.looking() as engine:
            tickets = tuple(_held_back(engine, lane.name, limit))
        return SinkPlan(
            lane=status,
            pending=self._outbox.backlog(lane.name).pending,
            orders=tuple(orders),
            tickets=tickets,
            dead_letters=self._letters.count(lane.name),
        )


def _planned(each: Waiting, why: str) -> PlannedOrder:
    order = each.order
    return PlannedOrder(
        sequence=each.sequence,
        situation=order.situation,
        verb=order.verb.value,
        number=each.ticket.number if each.ticket is not None else "",
        at=order.at,
        attempts=each.attempts,
        fields=order.fields,
        note=order.note,
        due_at=each.next_at,
        why_not=why,
    )


def _held_back(engine: "Engine", sink: str, limit: int) -> Iterator[PlannedTicket]:
    """The most urgent open situations that this sink is not told of now although there is something to tell."""
    still_open = [each for each in engine.situations.values() if each.state is SituationState.OPEN]
    looked_at = sorted(still_open, key=lambda each: (each.priority, each.opened_at, each.id))[:MAX_LOOKED_AT]
    found = 0
    for situation in looked_at:
        for name, decision, _ in deciding.steps(engine, situation):
            if name != sink or not _is_news(situation, name, decision):
                continue
            ticket = situation.tickets.get(name)
            yield PlannedTicket(
                situation=situation.id,
                title=situation.title,
                priority=situation.priority,
                number=ticket.number if ticket is not None else "",
                step=decision.step.value,
                why=decision.reason,
                due_at=decision.again_at,
            )
            found += 1
            if found >= limit:
                return


def _is_news(situation: Situation, sink: str, decision: Decision) -> bool:
    if decision.step in (Step.WAIT, Step.HOLD):
        return True
    return decision.step is Step.NOTHING and sink not in situation.tickets
