"""Ticket writes that a sink refused for good: what a person does with them once the reason is gone.

A retry goes on in order. What it would say that was said since is left out, and what could not be carried out because
of it follows it; where that makes no sense any more, it is refused with the reason.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from foreshock.core.contracts import Order, Verb
from foreshock.core.errors import Missing, Rejected
from foreshock.core.model import Moment, TicketState
from foreshock.store.outbox import ANSWERED, DEAD, DONE, NEVER_OPENED, PENDING, REFUSED, SUPERSEDED
from foreshock.store.store import Store
from foreshock.store.tables import audit, dead_letter, outbox, ticket

STAGE = "delivery"
_AGAIN = "~"
"""Between an order's id and how often it was put into the outbox again."""


class DeadOrder(Struct, frozen=True, kw_only=True):
    """order: None where its text cannot be read. at: since when it is dead."""

    id: int
    sink: str
    at: Moment
    error: str
    order: Order | None
    payload: str


class Later(Struct, frozen=True, kw_only=True):
    """An order of the same situation and sink that came after. done: it was carried out; else it waits, or was dropped
    because there was no record."""

    sequence: int
    order: Order
    done: bool
    waits: bool = False


def revived(dead: Order, later: Sequence[Later]) -> list[Order]:
    """What is sent when ``dead`` is tried again, in order. Pure. Raises Rejected with the reason to drop it."""
    name = f"{dead.verb.value} of {dead.situation}"
    done = [each.order for each in later if each.done]
    if dead.verb is Verb.OPEN:
        if done:
            raise Rejected(f"{name}: the sink has a record of it already", hint="drop it")
        return [dead, *(each.order for each in later)]
    if dead.verb is Verb.UPDATE:
        newer = [each.order.fields for each in later if each.done or each.waits]
        fields = {field: value for field, value in dead.fields.items() if not any(field in each for each in newer)}
        if not fields and not dead.note and not dead.incidents:
            raise Rejected(f"{name}: all that it says was said since", hint="drop it")
        return [structs.replace(dead, fields=fields)]
    turned = [each.order for each in later if (each.done or each.waits) and each.order.verb is not Verb.UPDATE]
    if turned:
        raise Rejected(f"{name}: {turned[-1].verb.value} came after it", hint="drop it")
    return [dead]


class DeadOrders:
    """Those of all sinks. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, sink: str, *, limit: int = 1000) -> list[DeadOrder]:
        """Oldest first, which is the order to try them again in."""
        query = select(dead_letter).where(_is_of(sink)).order_by(dead_letter.c.id).limit(limit)
        with self._store.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def count(self, sink: str) -> int:
        with self._store.read() as connection:
            query = select(func.count()).select_from(dead_letter).where(_is_of(sink))
            return int(connection.execute(query).scalar_one())

    def retry(self, sink: str, id: int, *, actor: str, now: datetime) -> int:
        """Put it into the outbox again; how many orders that are. Raises Missing, Rejected."""
        with self._store.write() as connection:
            dead = _find(connection, sink, id)
            if dead.order is None:
                raise Rejected(f"dead letter {id}: its order cannot be read", hint="drop it")
            sequence, later = _later(connection, dead.order)
            orders = revived(dead.order, later)
            moved = {each.order.id: each.sequence for each in later if each.waits and each.order in orders[1:]}
            for order in orders:
                _put(connection, order, now)
            _settle(connection, [sequence, *moved.values()], f"again behind {max((sequence, *moved.values()))}")
            if dead.order.verb is Verb.OPEN:
                # It may have worked although the sink stumbled over the answer: look before it is created.
                mine = (ticket.c.situation == dead.order.situation) & (ticket.c.sink == sink) & (ticket.c.number == "")
                lost = update(ticket).where(mine).values(state=TicketState.UNKNOWN.value, updated_at=now)
                connection.execute(lost)
            _forget(connection, dead, actor, now, "retried", dead.error)
            return len(orders)

    def drop(self, sink: str, id: int, *, actor: str, reason: str, now: datetime) -> None:
        """Give it up for good. Raises Missing."""
        with self._store.write() as connection:
            dead = _find(connection, sink, id)
            _forget(connection, dead, actor, now, "dropped", f"{reason} (it was refused: {dead.error})")


def _is_of(sink: str) -> Any:
    return (dead_letter.c.stage == STAGE) & (dead_letter.c.source == sink)


def _find(connection: Connection, sink: str, id: int) -> DeadOrder:
    row = connection.execute(select(dead_letter).where(_is_of(sink), dead_letter.c.id == id)).first()
    if row is None:
        hint = f"list them with `foreshock sink dead-letters list {sink}`"
        raise Missing(f"{sink} has no dead letter {id}", hint=hint)
    return _read(row)


def _read(row: Any) -> DeadOrder:
    try:
        order = msgspec.json.decode(row.payload, type=Order)
    except msgspec.DecodeError:
        order = None
    text = bytes(row.payload).decode("utf-8", "replace")
    return DeadOrder(id=row.id, sink=row.source, at=row.at, error=row.error, order=order, payload=text)


def _later(connection: Connection, dead: Order) -> tuple[int, list[Later]]:
    """The dead row's sequence, 0 where it is forgotten, and what came after it and means something still."""
    mine = (outbox.c.sink == dead.sink) & (outbox.c.situation == dead.situation)
    same = or_(outbox.c.id == dead.id, outbox.c.id.startswith(dead.id + _AGAIN, autoescape=True))
    died = select(func.max(outbox.c.sequence)).where(mine, same, outbox.c.state.in_((DEAD, REFUSED)))
    sequence = connection.execute(died).scalar() or 0
    means = or_(
        outbox.c.state.in_((DONE, ANSWERED, PENDING)),
        (outbox.c.state == SUPERSEDED) & (outbox.c.error == NEVER_OPENED),
    )
    rows = connection.execute(
        select(outbox.c.sequence, outbox.c.body, outbox.c.state)
        .where(mine, means, outbox.c.sequence > sequence)
        .order_by(outbox.c.sequence)
    )
    return sequence, [
        Later(
            sequence=row.sequence,
            order=msgspec.json.decode(row.body, type=Order),
            done=row.state in (DONE, ANSWERED),
            waits=row.state == PENDING,
        )
        for row in rows
    ]


def _put(connection: Connection, order: Order, now: datetime) -> None:
    """As a row of its own: the inbox has heard what became of the old one. The sink sees the same order."""
    same = or_(outbox.c.id == order.id, outbox.c.id.startswith(order.id + _AGAIN, autoescape=True))
    times = connection.execute(select(func.count()).select_from(outbox).where(same)).scalar_one()
    connection.execute(
        insert(outbox).values(
            id=f"{order.id}{_AGAIN}{times}" if times else order.id,
            sink=order.sink,
            situation=order.situation,
            verb=order.verb.value,
            at=now,
            body=msgspec.json.encode(order),
            state=PENDING,
            attempts=0,
            next_at=now,
            error="",
        )
    )


def _settle(connection: Connection, sequences: Sequence[int], error: str) -> None:
    mine = outbox.c.sequence.in_(sequences) & outbox.c.state.in_((PENDING, DEAD))
    connection.execute(update(outbox).where(mine).values(state=SUPERSEDED, error=error))


def _forget(connection: Connection, dead: DeadOrder, actor: str, now: datetime, action: str, why: str) -> None:
    connection.execute(delete(dead_letter).where(dead_letter.c.id == dead.id))
    subject, what = (dead.sink, "order") if dead.order is None else (dead.order.situation, dead.order.verb.value)
    detail = f"{dead.sink}: dead letter {dead.id}, {what}: {why}"
    connection.execute(
        insert(audit).values(
            record=0, at=now, actor=actor, kind="ticket", subject=subject, action=action, detail=detail
        )
    )
