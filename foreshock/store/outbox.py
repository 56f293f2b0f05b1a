"""The outbox: ticket writes that the engine decided, in order, until a sink has answered for good.

A row goes pending → answered or refused (the sink has spoken, the inbox does not know yet) → done or dead. Superseded
rows were folded into a newer one or had nothing left to change. Rows of one situation and sink are taken strictly in
order: only the oldest pending one, the head, is ever due, so a failing row holds back its own situation and no other.

Two things keep out who writes late. ``take_over`` gives a lane the lease of its sink; the lease of a lane that was
there before, in this process or in another one, is over, and it is refused every write. And a row counts the calls
begun for it: an outcome is written only under the number its call was begun with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Connection, RowMapping, Subquery, Update, bindparam, func, insert, or_, select, update

from foreshock.core.contracts import Order, Receipt, TicketChange, Verb
from foreshock.core.errors import Fenced
from foreshock.core.model import Moment, TicketState
from foreshock.store.tables import cursor, dead_letter, outbox, ticket
from foreshock.store.text import storable

if TYPE_CHECKING:
    from foreshock.store.store import Store

PENDING, ANSWERED, REFUSED, DONE, DEAD, SUPERSEDED = "pending", "answered", "refused", "done", "dead", "superseded"

NEVER_OPENED = "the record it would change was never opened"

MAX_NOTE_CHARS = 16_000
"""Updates are folded into one until their notes together are this long: a bound on one call, nothing is cut."""

_FOLD_LIMIT = 100
_LONGEST_WAIT = timedelta(hours=2)  # delivery waits an hour at most
_ERROR_CHARS = 2000
_NUMBER_CHARS = 128


class TicketRow(Struct, frozen=True, kw_only=True):
    """How far the writes of one situation to one sink have got.

    Attributes:
        number, url, kept: empty until the sink named its record.
        updated_at: of a ticket that is UNKNOWN: when the call whose answer was lost has certainly ended.
    """

    situation: str
    sink: str
    state: TicketState
    number: str
    url: str
    updated_at: Moment
    error: str
    kept: dict[str, str] = {}

    @property
    def receipt(self) -> Receipt | None:
        return Receipt(number=self.number, url=self.url, kept=self.kept) if self.number else None


class Pending(Struct, frozen=True, kw_only=True):
    """The head of a situation's queue. attempts: calls begun for it so far."""

    sequence: int
    order: Order
    attempts: int
    ticket: TicketRow | None


class Waiting(Struct, frozen=True, kw_only=True):
    """An order that is not delivered yet. error: of the newest attempt."""

    sequence: int
    order: Order
    attempts: int
    next_at: Moment
    error: str
    ticket: TicketRow | None


class Backlog(Struct, frozen=True, kw_only=True):
    """What waits for a sink. oldest_at: when the oldest of it was ordered; None if nothing waits."""

    pending: int
    oldest_at: Moment | None


class Turn:
    """What a lane writes in one transaction; see ``Outbox.turn``.

    What settles a row returns whether it was still as its call left it; if not, nothing is written.
    """

    def __init__(self, connection: Connection, sink: str, now: datetime) -> None:
        self._connection = connection
        self._sink = sink
        self._now = now

    # ---- before a call ----

    def begin(self, head: Pending) -> Pending | None:
        """A call is about to be made: the ticket is SENDING. None if somebody else took the row meanwhile.

        Updates of the same situation that follow an update nobody has tried yet are folded into the newest: the fields
        it leaves alone and the notes of all, oldest first, up to ``MAX_NOTE_CHARS``.
        """
        sequence, order = head.sequence, head.order
        if order.verb is Verb.UPDATE and not head.attempts:
            sequence, order = self._fold(head)
        values: dict[str, Any] = {"attempts": head.attempts + 1}
        if sequence != head.sequence:
            values["body"] = msgspec.json.encode(order)
        if not self._settle(structs.replace(head, sequence=sequence), **values):
            return None
        self._set_ticket(order.situation, state=TicketState.SENDING)
        return Pending(sequence=sequence, order=order, attempts=head.attempts + 1, ticket=head.ticket)

    def _fold(self, head: Pending) -> tuple[int, Order]:
        later = self._connection.execute(
            select(outbox.c.sequence, outbox.c.verb, outbox.c.body)
            .where(
                outbox.c.state == PENDING,
                outbox.c.sink == self._sink,
                outbox.c.situation == head.order.situation,
                outbox.c.sequence > head.sequence,
            )
            .order_by(outbox.c.sequence)
            .limit(_FOLD_LIMIT)
        )
        sequence, order = head.sequence, head.order
        folded = []
        for row in later:
            if row.verb != Verb.UPDATE.value:
                break
            try:
                newer = msgspec.json.decode(row.body, type=Order)
            except msgspec.DecodeError:
                break
            both = fold(order, newer)
            if len(both.note) > MAX_NOTE_CHARS:
                break
            folded.append(sequence)
            sequence, order = row.sequence, both
        if folded:
            self._connection.execute(
                update(outbox)
                .where(outbox.c.sequence.in_(folded), outbox.c.state == PENDING)
                .values(state=SUPERSEDED, error=f"folded into {sequence}")
            )
        return sequence, order

    # ---- after a call ----

    def confirm(self, row: Pending, receipt: Receipt) -> bool:
        """The sink carried it out; the inbox hears of it through ``untold``."""
        ours = self._settle(row, state=ANSWERED, error="")
        if ours:
            self._set_ticket(
                row.order.situation,
                state=TicketState.CONFIRMED,
                number=storable(receipt.number, _NUMBER_CHARS),
                url=storable(receipt.url),
                kept=msgspec.json.encode(receipt.kept).decode(),
            )
        return ours

    def retry(
        self,
        row: Pending,
        error: str,
        *,
        state: TicketState,
        next_at: datetime,
        attempts: int,
        ended_at: datetime | None = None,
    ) -> bool:
        """Nothing is settled: try again at ``next_at``.

        ended_at: when the call whose answer was lost has certainly ended there; None leaves it as it was.
        """
        ours = self._settle(row, attempts=attempts, next_at=next_at, error=storable(error, _ERROR_CHARS))
        if ours:
            self._set_ticket(row.order.situation, state=state, error=error, ended_at=ended_at)
        return ours

    def reject(self, row: Pending, error: str) -> bool:
        """The sink refuses it for good: a dead letter; the inbox hears of it through ``untold``."""
        ours = self._settle(row, state=REFUSED, error=storable(error, _ERROR_CHARS))
        if ours:
            body = msgspec.json.encode(row.order)
            _bury(self._connection, row.order.situation, self._sink, body, error, self._now)
        return ours

    def supersede(self, row: Pending, reason: str) -> bool:
        """Nothing is left for it to change."""
        return self._settle(row, state=SUPERSEDED, error=reason)

    def told(self, sequences: Sequence[int]) -> None:
        """The inbox holds the outcome of these rows."""
        for before, after in ((ANSWERED, DONE), (REFUSED, DEAD)):
            self._connection.execute(
                update(outbox).where(outbox.c.sequence.in_(sequences), outbox.c.state == before).values(state=after)
            )

    def hasten(self) -> None:
        """After an outage: what waits out its own backoff is due now."""
        self._connection.execute(
            update(outbox)
            .where(outbox.c.sink == self._sink, outbox.c.state == PENDING, outbox.c.next_at > self._now)
            .values(next_at=self._now)
        )

    def _settle(self, row: Pending, **values: Any) -> bool:
        given = {"of_sequence": row.sequence, "of_attempts": row.attempts, **values}
        return bool(self._connection.execute(_settling(tuple(values)), given).rowcount == 1)

    def _set_ticket(self, situation: str, *, state: TicketState, ended_at: datetime | None = None, **more: str) -> None:
        _set_ticket(self._connection, situation, self._sink, self._now, state=state, ended_at=ended_at, **more)


class Outbox:
    """One lane per sink takes and settles rows; every method is one transaction, and so is a ``turn``."""

    turn_of = Turn

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- taking ----

    def pending(self, sink: str, now: datetime, limit: int = 100) -> list[Pending]:
        """Heads that are due, oldest first. A row that cannot be decoded becomes a dead letter here.

        An order that nobody has tried is always due, and so is one that would wait longer than any backoff: the clock
        was set back since, or the records' clock runs ahead.
        """
        heads = _heads(sink)
        query = (
            select(outbox.c.sequence, outbox.c.body, outbox.c.attempts, outbox.c.situation, *_TICKET_COLUMNS)
            .join(heads, outbox.c.sequence == heads.c.sequence)
            .outerjoin(ticket, (ticket.c.situation == outbox.c.situation) & (ticket.c.sink == outbox.c.sink))
            .where(or_(outbox.c.next_at <= now, outbox.c.attempts == 0, outbox.c.next_at > now + _LONGEST_WAIT))
            .order_by(outbox.c.sequence)
            .limit(limit)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        taken = []
        for row in rows:
            try:
                order = msgspec.json.decode(row["body"], type=Order)
            except msgspec.DecodeError as error:
                self._bury_unread(row, sink, f"unreadable order: {error}", now)
                continue
            taken.append(
                Pending(
                    sequence=row["sequence"],
                    order=order,
                    attempts=row["attempts"],
                    ticket=None if row["ticket_state"] is None else _ticket_row(row["situation"], sink, row),
                )
            )
        return taken

    def waiting(self, sink: str, limit: int) -> list[Waiting]:
        """What is not delivered, oldest first, due or not; for people."""
        query = (
            select(outbox, *_TICKET_COLUMNS[:-2], ticket.c.error.label("ticket_error"), ticket.c.kept)
            .outerjoin(ticket, (ticket.c.situation == outbox.c.situation) & (ticket.c.sink == outbox.c.sink))
            .where(outbox.c.state == PENDING, outbox.c.sink == sink)
            .order_by(outbox.c.sequence)
            .limit(limit)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        found = []
        for row in rows:
            try:
                order = msgspec.json.decode(row["body"], type=Order)
            except msgspec.DecodeError:
                continue  # a dead letter as soon as its turn comes
            known = {**row, "error": row["ticket_error"]}
            found.append(
                Waiting(
                    sequence=row["sequence"],
                    order=order,
                    attempts=row["attempts"],
                    next_at=row["next_at"],
                    error=row["error"],
                    ticket=None if row["ticket_state"] is None else _ticket_row(row["situation"], sink, known),
                )
            )
        return found

    def next_due(self, sink: str) -> datetime | None:
        """When the next head is due at the latest; None while nothing is pending."""
        heads = _heads(sink)
        query = select(func.min(outbox.c.next_at)).join(heads, outbox.c.sequence == heads.c.sequence)
        with self._store.read() as connection:
            return connection.execute(query).scalar()

    def _bury_unread(self, row: RowMapping, sink: str, error: str, now: datetime) -> None:
        mine = (outbox.c.sequence == row["sequence"]) & (outbox.c.state == PENDING)
        with self._store.write() as connection:
            if connection.execute(update(outbox).where(mine).values(state=REFUSED, error=error)).rowcount:
                _bury(connection, row["situation"], sink, row["body"], error, now)

    def take_over(self, sink: str, now: datetime, patience: timedelta) -> int:
        """Begin to deliver to a sink: the lease to write under, above that of whoever did it before.

        A ticket found SENDING lost its answer with that one, so it is UNKNOWN. The system may be at work on the call
        for ``patience`` still.
        """
        lost = (ticket.c.sink == sink) & (ticket.c.state == TicketState.SENDING.value)
        with self._store.write() as connection:
            lease = _lease(connection, sink) + 1
            if lease == 1:
                connection.execute(insert(cursor).values(name=_lane(sink), value=lease))
            else:
                connection.execute(update(cursor).where(cursor.c.name == _lane(sink)).values(value=lease))
            connection.execute(
                update(outbox)
                .where(outbox.c.state == PENDING, outbox.c.sink == sink, outbox.c.attempts > 0)
                .where(outbox.c.situation.in_(select(ticket.c.situation).where(lost)))
                .values(attempts=outbox.c.attempts + 1)
            )
            connection.execute(
                update(ticket)
                .where(lost)
                .values(
                    state=TicketState.UNKNOWN.value,
                    updated_at=now + patience,
                    error="Foreshock stopped before the answer came",
                )
            )
        return lease

    @contextmanager
    def turn(self, sink: str, lease: int, now: datetime) -> Iterator[Turn]:
        """One transaction of the lane that holds the lease. Raises Fenced where another took over."""
        with self._store.write() as connection:
            if _lease(connection, sink) != lease:
                raise Fenced(f"another process, or a later start of this one, delivers to {sink} now")
            yield self.turn_of(connection, sink, now)

    # ---- telling the inbox ----

    def untold(self, sink: str, limit: int = 500) -> list[TicketChange]:
        """What the sink answered and the inbox may not know yet, in order of the outbox."""
        query = (
            select(outbox.c.sequence, outbox.c.situation, outbox.c.state, outbox.c.error, ticket.c.number, ticket.c.url)
            .join(ticket, (ticket.c.situation == outbox.c.situation) & (ticket.c.sink == outbox.c.sink))
            .where(outbox.c.state.in_((ANSWERED, REFUSED)), outbox.c.sink == sink)
            .order_by(outbox.c.sequence)
            .limit(limit)
        )
        with self._store.read() as connection:
            return [
                TicketChange(
                    sink=sink,
                    situation=row.situation,
                    sequence=row.sequence,
                    origin="write",
                    state="confirmed" if row.state == ANSWERED else "rejected",
                    number=row.number,
                    url=row.url,
                    comment=row.error,
                )
                for row in connection.execute(query)
            ]

    # ---- tickets, cursors, counts ----

    def ticket(self, situation: str, sink: str) -> TicketRow | None:
        query = select(*_TICKET_COLUMNS).where(ticket.c.situation == situation, ticket.c.sink == sink)
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _ticket_row(situation, sink, row)

    def tickets(self, situation: str) -> list[TicketRow]:
        """The situation's tickets in all sinks, sorted by sink."""
        query = (
            select(ticket.c.sink.label("at_sink"), *_TICKET_COLUMNS)
            .where(ticket.c.situation == situation)
            .order_by(ticket.c.sink)
        )
        with self._store.read() as connection:
            return [_ticket_row(situation, row["at_sink"], row) for row in connection.execute(query).mappings()]

    def cursor(self, name: str) -> int:
        """0 before the first ``advance``."""
        with self._store.read() as connection:
            return connection.execute(select(cursor.c.value).where(cursor.c.name == name)).scalar() or 0

    def advance(self, name: str, value: int) -> None:
        """Move a cursor forward; never back."""
        with self._store.write() as connection:
            _advance(connection, name, value)

    def add(self, orders: Sequence[Order], *, cursor_name: str, value: int) -> None:
        """Orders that something beside the engine wants carried out, and how far it has read what it makes them of:
        both or neither. An order whose id is known is not added again."""
        with self._store.write() as connection:
            ids = [order.id for order in orders]
            known = set(connection.execute(select(outbox.c.id).where(outbox.c.id.in_(ids))).scalars())
            fresh = [
                {
                    "id": order.id, "sink": order.sink, "situation": order.situation, "verb": order.verb.value,
                    "at": order.at, "body": msgspec.json.encode(order), "state": PENDING, "attempts": 0,
                    "next_at": order.at, "error": "",
                }
                for order in orders
                if order.id not in known
            ]  # fmt: skip
            if fresh:
                connection.execute(insert(outbox), fresh)
            _advance(connection, cursor_name, value)

    def on_their_way(self, sink: str) -> set[str]:
        """Situations with orders on their way."""
        query = select(outbox.c.situation).where(outbox.c.state == PENDING, outbox.c.sink == sink).distinct()
        with self._store.read() as connection:
            return set(connection.execute(query).scalars())

    def backlog(self, sink: str | None = None) -> Backlog:
        """Of one sink, or of all."""
        query = select(func.count(), func.min(outbox.c.at)).where(outbox.c.state == PENDING)
        if sink is not None:
            query = query.where(outbox.c.sink == sink)
        with self._store.read() as connection:
            pending, oldest_at = connection.execute(query).one()
        return Backlog(pending=pending, oldest_at=oldest_at)


def fold(older: Order, newer: Order) -> Order:
    """Two updates as one, under the newer's id: its fields win, the notes of both are told in order, the
    incidents of both are linked."""
    return msgspec.structs.replace(
        newer,
        fields={**older.fields, **newer.fields},
        note="\n".join(note for note in (older.note, newer.note) if note),
        version=max(older.version, newer.version),
        url=newer.url or older.url,
        incidents=None if newer.incidents is None else (*(older.incidents or ()), *newer.incidents),
    )


_TICKET_COLUMNS = (
    ticket.c.state.label("ticket_state"),
    ticket.c.number,
    ticket.c.url,
    ticket.c.updated_at,
    ticket.c.error,
    ticket.c.kept,
)


def _ticket_row(situation: str, sink: str, row: Any) -> TicketRow:
    return TicketRow(
        situation=situation,
        sink=sink,
        state=TicketState(row["ticket_state"]),
        number=row["number"],
        url=row["url"],
        updated_at=row["updated_at"],
        error=row["error"],
        kept=msgspec.json.decode(row["kept"], type=dict[str, str]),
    )


def _heads(sink: str) -> Subquery:
    """The oldest pending row of each situation."""
    return (
        select(func.min(outbox.c.sequence).label("sequence"))
        .where(outbox.c.state == PENDING, outbox.c.sink == sink)
        .group_by(outbox.c.situation)
        .subquery("heads")
    )


# Statements that each call needs are made once: making one costs more than running it.


@cache
def _settling(names: tuple[str, ...]) -> Update:
    as_begun = (outbox.c.sequence == bindparam("of_sequence")) & (outbox.c.attempts == bindparam("of_attempts"))
    return update(outbox).where(as_begun, outbox.c.state == PENDING).values({name: bindparam(name) for name in names})


_MINE = (ticket.c.situation == bindparam("of_situation")) & (ticket.c.sink == bindparam("of_sink"))
_STATE = select(ticket.c.state).where(_MINE)


@cache
def _changing(names: tuple[str, ...]) -> Update:
    return update(ticket).where(_MINE).values({name: bindparam(name) for name in names})


def _lane(sink: str) -> str:
    return f"lane:{sink}"


def _lease(connection: Connection, sink: str) -> int:
    """Locked until the transaction ends, where writers of other processes do not queue at our lock (PostgreSQL)."""
    query = select(cursor.c.value).where(cursor.c.name == _lane(sink)).with_for_update()
    return connection.execute(query).scalar() or 0


def _bury(connection: Connection, situation: str, sink: str, body: bytes, error: str, now: datetime) -> None:
    error = storable(error, _ERROR_CHARS)
    _set_ticket(connection, situation, sink, now, state=TicketState.REJECTED, error=error)
    connection.execute(
        insert(dead_letter).values(record=0, item=0, at=now, source=sink, stage="delivery", error=error, payload=body)
    )


def _advance(connection: Connection, name: str, value: int) -> None:
    present = connection.execute(select(cursor.c.value).where(cursor.c.name == name)).scalar()
    if present is None:
        connection.execute(insert(cursor).values(name=name, value=value))
    elif present < value:
        connection.execute(update(cursor).where(cursor.c.name == name).values(value=value))


def _set_ticket(
    connection: Connection,
    situation: str,
    sink: str,
    now: datetime,
    *,
    state: TicketState,
    number: str = "",
    url: str = "",
    error: str = "",
    kept: str = "",
    ended_at: datetime | None = None,
) -> None:
    """What is known of the record is never forgotten. Writers queue at one lock, so reading first is safe."""
    values: dict[str, Any] = {"state": state.value, "error": storable(error, _ERROR_CHARS)}
    values |= {name: value for name, value in (("number", number), ("url", url), ("kept", kept)) if value}
    of = {"of_situation": situation, "of_sink": sink}
    was_unknown = ended_at is None and state is TicketState.UNKNOWN and connection.execute(_STATE, of).scalar() == state
    if not was_unknown:
        values["updated_at"] = ended_at or now
    if connection.execute(_changing(tuple(values)), {**of, **values}).rowcount:
        return
    new = {"number": "", "url": "", "kept": "{}", "updated_at": ended_at or now, **values}
    connection.execute(insert(ticket), {"situation": situation, "sink": sink, **new})
