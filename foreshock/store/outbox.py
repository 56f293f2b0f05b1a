"""The outbox: ticket writes that the engine decided, in order, until a sink has answered for good.

A row goes pending → answered or refused (the sink has spoken, the inbox does not know yet) → done or dead. Superseded
rows were folded into a newer one or had nothing left to change. Rows of one situation and sink are taken strictly in
order: only the oldest pending one, the head, is ever due, so a failing row holds back its own situation and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Subquery, func, insert, or_, select, update

from foreshock.core.contracts import Order, Receipt, TicketChange, Verb
from foreshock.core.model import Moment, TicketState
from foreshock.store.tables import cursor, dead_letter, outbox, ticket
from foreshock.store.text import storable

if TYPE_CHECKING:
    from foreshock.store.store import Store

PENDING, ANSWERED, REFUSED, DONE, DEAD, SUPERSEDED = "pending", "answered", "refused", "done", "dead", "superseded"

MAX_NOTE_CHARS = 16_000
"""Updates are folded into one until their notes together are this long: a bound on one call, nothing is cut."""

_FOLD_LIMIT = 100
_LONGEST_WAIT = timedelta(hours=2)  # delivery waits an hour at most
_ERROR_CHARS = 2000
_NUMBER_CHARS = 128


class TicketRow(Struct, frozen=True, kw_only=True):
    """How far the writes of one situation to one sink have got. number, url, kept: empty until the sink named its
    record."""

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


class Backlog(Struct, frozen=True, kw_only=True):
    """What waits for a sink. oldest_at: when the oldest of it was ordered; None if nothing waits."""

    pending: int
    oldest_at: Moment | None


class Outbox:
    """One lane per sink takes and settles rows; every method is one transaction."""

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
                self._bury(row["sequence"], row["situation"], sink, row["body"], f"unreadable order: {error}", now)
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

    def next_due(self, sink: str) -> datetime | None:
        """When the next head is due at the latest; None while nothing is pending."""
        heads = _heads(sink)
        query = select(func.min(outbox.c.next_at)).join(heads, outbox.c.sequence == heads.c.sequence)
        with self._store.read() as connection:
            return connection.execute(query).scalar()

    def begin(self, head: Pending, now: datetime) -> Pending | None:
        """Commit that a call is about to be made: the ticket is SENDING. None if somebody else took the row meanwhile.

        Updates of the same situation that follow an update nobody has tried yet are folded into the newest: the fields
        it leaves alone and the notes of all, oldest first, up to ``MAX_NOTE_CHARS``.
        """
        with self._store.write() as connection:
            sequence, order = head.sequence, head.order
            if order.verb is Verb.UPDATE and not head.attempts:
                sequence, order = self._fold(connection, head)
            values: dict[str, Any] = {"attempts": head.attempts + 1}
            if sequence != head.sequence:
                values["body"] = msgspec.json.encode(order)
            taken = connection.execute(
                update(outbox)
                .where(outbox.c.sequence == sequence, outbox.c.state == PENDING, outbox.c.attempts == head.attempts)
                .values(**values)
            )
            if taken.rowcount != 1:
                return None
            _set_ticket(connection, order.situation, order.sink, now, state=TicketState.SENDING)
        return Pending(sequence=sequence, order=order, attempts=head.attempts + 1, ticket=head.ticket)

    def _fold(self, connection: Connection, head: Pending) -> tuple[int, Order]:
        later = connection.execute(
            select(outbox.c.sequence, outbox.c.verb, outbox.c.body)
            .where(
                outbox.c.state == PENDING,
                outbox.c.sink == head.order.sink,
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
            connection.execute(
                update(outbox)
                .where(outbox.c.sequence.in_(folded), outbox.c.state == PENDING)
                .values(state=SUPERSEDED, error=f"folded into {sequence}")
            )
        return sequence, order

    def recover(self, sink: str, now: datetime) -> int:
        """At start-up: a ticket found SENDING lost its answer with the process, so it is UNKNOWN. Returns how many."""
        with self._store.write() as connection:
            lost = connection.execute(
                update(ticket)
                .where(ticket.c.sink == sink, ticket.c.state == TicketState.SENDING.value)
                .values(
                    state=TicketState.UNKNOWN.value,
                    updated_at=now,
                    error="Foreshock stopped before the answer came",
                )
            )
            return lost.rowcount

    # ---- settling ----

    def confirm(self, row: Pending, receipt: Receipt, now: datetime) -> None:
        """The sink carried it out; the inbox hears of it through ``untold``."""
        with self._store.write() as connection:
            _settle(connection, row.sequence, state=ANSWERED, error="")
            _set_ticket(
                connection,
                row.order.situation,
                row.order.sink,
                now,
                state=TicketState.CONFIRMED,
                number=storable(receipt.number, _NUMBER_CHARS),
                url=storable(receipt.url),
                kept=msgspec.json.encode(receipt.kept).decode(),
            )

    def retry(
        self, row: Pending, error: str, *, state: TicketState, next_at: datetime, now: datetime, attempts: int
    ) -> None:
        """Nothing is settled: try again at ``next_at``. The time of an UNKNOWN ticket stays that of the lost answer."""
        with self._store.write() as connection:
            _settle(connection, row.sequence, attempts=attempts, next_at=next_at, error=storable(error, _ERROR_CHARS))
            _set_ticket(connection, row.order.situation, row.order.sink, now, state=state, error=error)

    def reject(self, row: Pending, error: str, now: datetime) -> None:
        """The sink refuses it for good: a dead letter; the inbox hears of it through ``untold``."""
        body = msgspec.json.encode(row.order)
        self._bury(row.sequence, row.order.situation, row.order.sink, body, error, now)

    def supersede(self, row: Pending, reason: str) -> None:
        """Nothing is left for it to change."""
        with self._store.write() as connection:
            _settle(connection, row.sequence, state=SUPERSEDED, error=reason)

    def hasten(self, sink: str, now: datetime) -> None:
        """After an outage: what waits out its own backoff is due now."""
        with self._store.write() as connection:
            connection.execute(
                update(outbox)
                .where(outbox.c.sink == sink, outbox.c.state == PENDING, outbox.c.next_at > now)
                .values(next_at=now)
            )

    def _bury(self, sequence: int, situation: str, sink: str, body: bytes, error: str, now: datetime) -> None:
        error = storable(error, _ERROR_CHARS)
        with self._store.write() as connection:
            _settle(connection, sequence, state=REFUSED, error=error)
            _set_ticket(connection, situation, sink, now, state=TicketState.REJECTED, error=error)
            connection.execute(
                insert(dead_letter).values(
                    record=0, item=0, at=now, source=sink, stage="delivery", error=error, payload=body
                )
            )

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

    def told(self, sequences: Sequence[int]) -> None:
        """The inbox holds the outcome of these rows."""
        with self._store.write() as connection:
            for before, after in ((ANSWERED, DONE), (REFUSED, DEAD)):
                connection.execute(
                    update(outbox).where(outbox.c.sequence.in_(sequences), outbox.c.state == before).values(state=after)
                )

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
            present = connection.execute(select(cursor.c.value).where(cursor.c.name == name)).scalar()
            if present is None:
                connection.execute(insert(cursor).values(name=name, value=value))
            elif present < value:
                connection.execute(update(cursor).where(cursor.c.name == name).values(value=value))

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


def _settle(connection: Connection, sequence: int, **values: Any) -> None:
    connection.execute(update(outbox).where(outbox.c.sequence == sequence, outbox.c.state == PENDING).values(**values))


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
) -> None:
    """What is known of the record is never forgotten. Writers queue at one lock, so reading first is safe."""
    mine = (ticket.c.situation == situation) & (ticket.c.sink == sink)
    present = connection.execute(select(ticket.c.state).where(mine)).scalar()
    values: Mapping[str, Any] = {"state": state.value, "error": storable(error, _ERROR_CHARS)}
    if present is None:
        connection.execute(
            insert(ticket).values(
                situation=situation, sink=sink, number=number, url=url, updated_at=now, kept=kept or "{}", **values
            )
        )
        return
    if state is not TicketState.UNKNOWN or present != TicketState.UNKNOWN.value:
        values = {**values, "updated_at": now}
    if number:
        values = {**values, "number": number}
    if url:
        values = {**values, "url": url}
    if kept:
        values = {**values, "kept": kept}
    connection.execute(update(ticket).where(mine).values(**values))
