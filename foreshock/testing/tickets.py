"""Stand-ins for what surrounds a ticket write: a clock that only tests move, orders, and an ITSM tool with faults."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct

from foreshock.core.contracts import Order, ProblemOrder, Receipt, TicketChange, Verb
from foreshock.core.errors import Denied, Rejected, Unavailable

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class SteppedClock:
    """``clock()`` is the time; it moves only when told to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def make_order(
    verb: Verb = Verb.OPEN,
    *,
    situation: str = "S-1",
    sink: str = "desk",
    version: int = 1,
    id: str = "",
    note: str = "",
    at: datetime = NOON,
    **fields: Any,
) -> Order:
    """An order whose id follows from the rest; an OPEN has the fields every sink needs."""
    if verb is Verb.OPEN:
        fields = {"title": "db1 is down", "impact": 2, "urgency": 2, "priority": 3, **fields}
    return Order(
        id=id or f"{situation}/{sink}/{version}-{verb.value}",
        sink=sink,
        situation=situation,
        key=situation,
        verb=verb,
        version=version,
        at=at,
        fields=fields,
        note=note,
        url=f"/incidents/{situation}",
    )


def make_problem_order(
    *, version: int = 1, key: str = "P-1", note: str = "", incidents: tuple[Receipt, ...] = (), **fields: Any
) -> ProblemOrder:
    fields = {"title": "db1 fails each night", **fields}
    return ProblemOrder(id=f"{key}/{version}", key=key, at=NOON, fields=fields, note=note, incidents=incidents)


class Fault(StrEnum):
    """What the tool does to one call instead of answering it.

    LOST: does it, the answer gets lost. LATE: no answer comes, and a creation is done ``WORK_S`` later. TWICE: a proxy
    repeats the call, unless it is a creation. DOWN: nobody listens. ERROR: an error, nothing done. LIMITED: 429, wait
    60 s. DENIED, REJECTED: as it says. SURPRISE: an exception that no sink should raise. CRASH_BEFORE, CRASH_AFTER,
    CRASH_LATE: we are killed during the call, before or after the tool acted, or while it is at work.
    """

    LOST = "lost"
    LATE = "late"
    TWICE = "twice"
    DOWN = "down"
    ERROR = "error"
    LIMITED = "limited"
    DENIED = "denied"
    REJECTED = "rejected"
    SURPRISE = "surprise"
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"
    CRASH_LATE = "crash_late"


WORK_S = 20.0


class Killed(BaseException):
    """The process ends here."""


class ToolRecord(Struct, kw_only=True):
    """One record of the tool. orders: ids carried out, oldest first. ended_by_person: it is not touched again."""

    number: str
    key: str
    created_at: datetime
    open: bool = True
    ended_by_person: bool = False
    fields: dict[str, Any]
    notes: list[str]
    orders: list[str]


class FaultyTool:
    """An ITSM tool without any idempotency: each create makes one more record. A sink as delivery sees it.

    Attributes:
        faults: taken from the front, one for each call, searches included.
        delivered, searched: every call that arrived, in order.
        index_delay: a new record is found only so much later.
        during: called in the middle of each write, after the tool acted.
    """

    def __init__(self, clock: SteppedClock, *, index_delay: timedelta = timedelta(0)) -> None:
        self.clock = clock
        self.index_delay = index_delay
        self.faults: list[Fault] = []
        self.records: dict[str, ToolRecord] = {}
        self.people: list[TicketChange] = []
        self.delivered: list[Order] = []
        self.searched: list[str] = []
        self.during: Callable[[Order], None] = lambda order: None
        self._under_way: list[tuple[datetime, Order]] = []
        self._numbers = itertools.count(1)

    def of(self, key: str) -> list[ToolRecord]:
        self._catch_up()
        return [record for record in self.records.values() if record.key == key]

    def find(self, key: str) -> Receipt | None:
        self._fault_before()
        self.searched.append(key)
        for record in self.of(key):
            if self.clock() >= record.created_at + self.index_delay:
                return Receipt(number=record.number, url=f"https://tool.example/{record.number}")
        return None

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        fault = self._fault_before()
        self.delivered.append(order)
        if ticket is None and fault in (Fault.LATE, Fault.CRASH_LATE):
            self._under_way.append((self.clock() + timedelta(seconds=WORK_S), order))
            self.during(order)
            if fault is Fault.CRASH_LATE:
                raise Killed
            raise Unavailable("no answer within 30 s")
        if ticket is None or (ticket.number not in self.records and order.verb is Verb.REOPEN):
            record = self._create(order, self.clock())
        elif ticket.number not in self.records:
            raise Rejected(f"HTTP 404: there is no {ticket.number} any more")
        else:
            record = self.records[ticket.number]
            self._change(record, order)
            if fault is Fault.TWICE:
                self._change(record, order)
        self.during(order)
        if fault in (Fault.LOST, Fault.LATE):
            raise Unavailable("no answer within 30 s")
        if fault in (Fault.CRASH_AFTER, Fault.CRASH_LATE):
            raise Killed
        return Receipt(number=record.number, url=f"https://tool.example/{record.number}")

    def _create(self, order: Order, at: datetime) -> ToolRecord:
        number = f"T{next(self._numbers)}"
        record = ToolRecord(number=number, key=order.key, created_at=at, fields={}, notes=[], orders=[])
        self.records[number] = record
        self._change(record, order)
        return record

    def _change(self, record: ToolRecord, order: Order) -> None:
        if record.ended_by_person and order.verb is not Verb.REOPEN:
            return
        record.ended_by_person = False
        record.fields |= order.fields
        record.open = order.verb is not Verb.RESOLVE
        record.notes += [order.note] if order.note else []
        record.orders.append(order.id)

    def _catch_up(self) -> None:
        """Do what was under way still when nobody waited for it any more."""
        for at, order in [each for each in self._under_way if each[0] <= self.clock()]:
            self._under_way.remove((at, order))
            self._create(order, at)

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        return [change for change in self.people if change.sequence > cursor][:2]

    def person(self, situation: str, state: str, *, actor: str = "ada", comment: str = "") -> None:
        """Somebody does something to the record of a situation."""
        self.people.append(
            TicketChange(
                sink="",
                situation=situation,
                sequence=len(self.people) + 1,
                state=state,
                actor=actor,
                comment=comment,
            )
        )

    def end(self, situation: str) -> None:
        """Somebody closes the records of a situation."""
        for record in self.of(situation):
            record.open, record.ended_by_person = False, True

    def delete(self, situation: str) -> None:
        """Somebody deletes the records of a situation."""
        for record in self.of(situation):
            del self.records[record.number]

    def _fault_before(self) -> Fault | None:
        """Raises the faults in which the tool does nothing; returns those that strike after it acted."""
        self._catch_up()
        fault = self.faults.pop(0) if self.faults else None
        match fault:
            case Fault.DOWN:
                raise Unavailable("no connection", unsent=True)
            case Fault.ERROR:
                raise Unavailable("HTTP 503", answered=True)
            case Fault.LIMITED:
                raise Unavailable("HTTP 429", retry_after_s=60, unsent=True)
            case Fault.DENIED:
                raise Denied("HTTP 401")
            case Fault.REJECTED:
                raise Rejected("HTTP 400: the field u_site is mandatory")
            case Fault.SURPRISE:
                raise KeyError("result")
            case Fault.CRASH_BEFORE:
                raise Killed
        return fault
