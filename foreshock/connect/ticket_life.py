"""The life of a ticket, the same in every ITSM system: what an order means for a record, whatever became of it.

``MOVES`` decides, ``TicketLife`` carries out, and ``Records`` is what a system has to offer for it: one kind of records
(incidents, or problems), their search, their fields in its words, and its calls. What holds everywhere is said here:

- a search by our key comes before each creation, and prefers the record that is open to those that are over;
- what people ended stays ended; what cannot be opened again is followed by a new record that names the old one;
- a field is written where it differs and no person has taken it over (``connect.tickets``);
- a note stands there once, known by its marker;
- what the system made of a write is read back, and a state that it did not take is an error.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from msgspec import Struct, structs

from foreshock.connect.tickets import digest, due, kept_after
from foreshock.core.contracts import (
    FieldName,
    Finding,
    Order,
    Ownership,
    ProblemOrder,
    ProblemReading,
    Receipt,
    TicketChange,
    Verb,
)
from foreshock.core.errors import Rejected, Unavailable

R = TypeVar("R")
"""A record as the system's client shows it."""


# ---- decisions ------------------------------------------------------------------------------------------------------


class Standing(StrEnum):
    """How far a record is. ENDED: over, and can be opened again. FINAL: over for good."""

    ABSENT = "absent"
    OPEN = "open"
    ENDED = "ended"
    FINAL = "final"


class Move(StrEnum):
    """What to do for an order. GONE: refuse it, somebody deleted the record. KEEP: change nothing. END, REOPEN: write,
    the state too. FOLLOW: create a record that names the one before it."""

    CREATE = "create"
    GONE = "gone"
    KEEP = "keep"
    WRITE = "write"
    END = "end"
    REOPEN = "reopen"
    FOLLOW = "follow"


_COLUMNS = (Standing.ABSENT, Standing.OPEN, Standing.ENDED, Standing.FINAL)
MOVES: Mapping[Verb, Mapping[Standing, Move]] = {
    verb: dict(zip(_COLUMNS, moves, strict=True))
    for verb, moves in {
        Verb.OPEN: (Move.CREATE, Move.KEEP, Move.KEEP, Move.KEEP),
        Verb.UPDATE: (Move.GONE, Move.WRITE, Move.KEEP, Move.KEEP),
        Verb.RESOLVE: (Move.GONE, Move.END, Move.KEEP, Move.KEEP),
        Verb.REOPEN: (Move.CREATE, Move.WRITE, Move.REOPEN, Move.FOLLOW),
    }.items()
}
PROBLEM_MOVES: Mapping[Standing, Move] = dict(
    zip(_COLUMNS, (Move.CREATE, Move.WRITE, Move.WRITE, Move.FOLLOW), strict=True)
)
"""A problem's state stays with people."""
_REACHED = {Move.END: (Standing.ENDED, Standing.FINAL), Move.REOPEN: (Standing.OPEN,)}


_STATES = {Standing.OPEN: "open", Standing.ENDED: "resolved", Standing.FINAL: "closed"}


# ---- what a system offers -------------------------------------------------------------------------------------------


class Seen(Struct, frozen=True, kw_only=True):
    """What the life of a ticket asks of a record.

    Attributes:
        id: by which ``Records.get`` finds it. state: in the system's words, for messages.
        key: ours, as the record carries it; empty where it carries none.
        fields: as text by name, all that ``Records.wanted`` may name; nothing is the empty text.
        kept: what else the receipt is to keep of it once an order was carried out.
    """

    id: str
    number: str
    url: str
    standing: Standing
    state: str
    key: str
    fields: Mapping[str, str]
    kept: Mapping[str, str] = {}


class Change(Struct, frozen=True, kw_only=True):
    """What to write to a record. note: without its marker, which ``order.id`` makes; empty for none. move: WRITE, END
    or REOPEN."""

    order: Order | ProblemOrder
    fields: Mapping[str, str]
    note: str
    move: Move


class Stuck(Exception):
    """``Records.write``, asked to reopen a record, found no way there; it has written nothing."""


class Records(ABC, Generic[R]):
    """One kind of records in one system.

    Attributes:
        name: of the instance, for messages. key_place: where our key stands, for messages.
        key_hint, state_hint: what to look at where the key was not stored, or a state not taken.
    """

    name: str
    key_place: str
    key_hint: str
    state_hint: str

    # ---- reading ----

    @abstractmethod
    def of_key(self, key: str) -> Sequence[R]:
        """Those with exactly this key, oldest first."""

    @abstractmethod
    def get(self, id: str) -> R | None:
        """None if there is none that we may see."""

    @abstractmethod
    def see(self, record: R) -> Seen:
        """Makes no call."""

    @abstractmethod
    def noted(self, record: R, order_id: str, kept: Mapping[str, str]) -> bool:
        """Whether the note of an order stands there: its marker, looked for unless ``kept`` proves that it cannot."""

    def own(self, record: R, seen: Seen) -> Collection[str]:
        """Fields that are ours as far as the system itself can tell, for a record of which nothing is kept."""
        return ()

    def kept(self, record: R, seen: Seen, receipt: Receipt | None) -> dict[str, str]:
        """What is known of it: ``Receipt.kept``, else, where it was only found, the digests of what is ours."""
        if receipt is not None and receipt.kept.keys() - {"id"}:
            return dict(receipt.kept)
        return {name: digest(seen.fields.get(name, "")) for name in self.own(record, seen)}

    # ---- writing ----

    @abstractmethod
    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields in the system's words, as ``Seen.fields`` would show them; only those that it has."""

    @abstractmethod
    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: R | None) -> R | None:
        """Make a record with our key, the note of the order, and a link to the final one ``before`` it; as read back,
        or None where the answer does not show it."""

    @abstractmethod
    def write(self, record: R, change: Change) -> R | None:
        """Carry out a change, in an order of calls in which a repetition after a lost answer ends right; as read back,
        or None where the answer does not show it. Raises Stuck."""

    def noted_only(self, order: Order | ProblemOrder) -> str:
        """Of an order what no field of a record carries, so that notes have to tell it whenever it changes."""
        return ""

    def note(self, order: Order | ProblemOrder, kept: Mapping[str, str]) -> str:
        """What an order tells people."""
        text = self.noted_only(order)
        changed = text and kept.get("description") != digest(text)
        return "\n\n".join(filter(None, (order.note, text if changed else "")))

    def told(self, order: Order | ProblemOrder) -> Mapping[str, str]:
        """What to keep of what an order told, once it is carried out."""
        text = self.noted_only(order)
        return {"description": digest(text)} if text else {}

    def adopted(self, record: R) -> None:
        """A record was found whose creation may have been cut short: write what is missing of it."""

    # ---- problems ----

    def link(self, record: R, incidents: Sequence[Receipt]) -> None:
        """Link a problem's incidents that are not linked to any problem yet."""
        raise NotImplementedError(f"{type(self).__name__} keeps no problems")

    def ended(self, record: R) -> str:
        """How people ended a problem: "resolved" or "closed"; empty while it is worked on."""
        return {Standing.ENDED: "resolved", Standing.FINAL: "closed"}.get(self.see(record).standing, "")

    def known_error(self, record: R) -> str:
        """What people wrote of a problem, above all how to get round it, as plain text."""
        raise NotImplementedError(f"{type(self).__name__} tells of no known errors")


# ---- the life -------------------------------------------------------------------------------------------------------


class TicketLife(Generic[R]):
    """Carries orders out on one kind of records. ownership: by our words for the fields."""

    def __init__(self, records: Records[R], ownership: Mapping[FieldName, Ownership]) -> None:
        self._records = records
        self._ownership = ownership

    def find(self, key: str) -> Receipt | None:
        record = self._best(key)
        if record is None:
            return None
        self._records.adopted(record)
        seen = self._records.see(record)
        return structs.replace(_receipt(seen, {}), state=_STATES[seen.standing])

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        record = self._known(order.key, ticket)
        if record is None and order.verb is Verb.REOPEN:
            record, ticket = self._best(order.key), None
        after, kept = self._carry(order, record, ticket, MOVES[order.verb])
        seen = self._records.see(after)
        return _receipt(seen, {**kept, **seen.kept})

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        record = self._known(order.key, problem)
        after, kept = self._carry(order, record, problem, PROBLEM_MOVES)
        self._records.link(after, order.incidents)
        seen = self._records.see(after)
        return _receipt(seen, {**kept, **seen.kept})

    def read_problem(self, problem: Receipt) -> ProblemReading | None:
        record = self._records.get(problem.kept["id"])
        if record is None:
            return None
        return ProblemReading(ended=self._records.ended(record), known_error=self._records.known_error(record))

    # ---- finding ----

    def _best(self, key: str) -> R | None:
        """The record with our key: the oldest open one, else the newest that can be opened again, else the newest."""
        records = [(self._records.see(record).standing, record) for record in self._records.of_key(key)]
        for standing, place in ((Standing.OPEN, 0), (Standing.ENDED, -1), (Standing.FINAL, -1)):
            if found := [record for each, record in records if each is standing]:
                return found[place]
        return None

    def _known(self, key: str, ticket: Receipt | None) -> R | None:
        id = ticket.kept.get("id", "") if ticket is not None else ""
        return self._records.get(id) if id else self._best(key)

    # ---- the moves ----

    def _carry(
        self, order: Order | ProblemOrder, record: R | None, ticket: Receipt | None, moves: Mapping[Standing, Move]
    ) -> tuple[R, dict[str, str]]:
        """The record as it is afterwards, and what is to be kept of it."""
        if record is None:
            if moves[Standing.ABSENT] is Move.GONE:
                raise self._gone(order, ticket)
            return self._create(order, None)
        seen = self._records.see(record)
        match moves[seen.standing]:
            case Move.FOLLOW:
                return self._follow(order, record, moves)
            case Move.KEEP:
                return self._keep(order, record, seen, ticket)
            case move:
                try:
                    return self._write(order, record, seen, ticket, move)
                except Stuck:
                    return self._follow(order, record, moves)

    def _create(self, order: Order | ProblemOrder, before: R | None) -> tuple[R, dict[str, str]]:
        wanted = self._records.wanted(order)
        made = self._records.create(order, wanted, before) or self._best(order.key)
        if made is None:
            raise Unavailable(f"{self._records.name} said it created a record for {order.key}, but shows none")
        seen = self._records.see(made)
        if seen.key != order.key:
            raise Rejected(
                f"{self._records.name} created {seen.number} without our key: {self._records.key_place} is "
                f"{seen.key!r} instead of {order.key!r}",
                hint=f"{self._records.key_hint}, and close {seen.number}, which Foreshock cannot find again",
            )
        written = [name for name, value in wanted.items() if value]
        kept = kept_after(wanted, written, seen.fields, {}, self._ownership_of(order))
        return made, kept | self._said(order, order.note)

    def _follow(
        self, order: Order | ProblemOrder, record: R, moves: Mapping[Standing, Move]
    ) -> tuple[R, dict[str, str]]:
        """A new record after one that cannot be opened again, unless an earlier attempt, or a person, made it."""
        found = self._best(order.key)
        if found is not None:
            seen = self._records.see(found)
            if seen.standing is not Standing.FINAL and seen.id != self._records.see(record).id:
                return self._carry(order, found, None, moves)
        return self._create(order, record)

    def _keep(
        self, order: Order | ProblemOrder, record: R, seen: Seen, ticket: Receipt | None
    ) -> tuple[R, dict[str, str]]:
        """What stands there as wanted is ours although nothing is written: the answer to a write may have been lost."""
        kept = self._records.kept(record, seen, ticket)
        if seen.standing is Standing.FINAL:
            return record, kept
        if isinstance(order, Order) and order.verb is Verb.OPEN:
            self._records.adopted(record)
        return record, kept_after(self._records.wanted(order), (), seen.fields, kept, self._ownership_of(order))

    def _write(
        self, order: Order | ProblemOrder, record: R, seen: Seen, ticket: Receipt | None, move: Move
    ) -> tuple[R, dict[str, str]]:
        kept = self._records.kept(record, seen, ticket)
        wanted = self._records.wanted(order)
        ownership = self._ownership_of(order)
        fields = due(wanted, seen.fields, kept, ownership)
        told = self._records.note(order, kept)
        is_there = bool(told) and (kept.get("note") == order.id or self._records.noted(record, order.id, kept))
        note = "" if is_there else told
        after = record
        if fields or note or move is not Move.WRITE:
            change = Change(order=order, fields=fields, note=note, move=move)
            after = self._records.write(record, change) or self._again(seen)
        seen = self._records.see(after)
        if seen.standing not in _REACHED.get(move, (seen.standing,)):
            raise Rejected(
                f"{self._records.name} left {seen.number} in state {seen.state!r} where it was to be "
                f"{'over' if move is Move.END else 'open'}",
                hint=self._records.state_hint,
            )
        return after, kept_after(wanted, fields, seen.fields, kept, ownership) | self._said(order, told)

    def _ownership_of(self, order: Order | ProblemOrder) -> dict[str, Ownership]:
        """By the system's names: those that our word alone would fill."""
        words = [word for word in self._ownership if word in order.fields]
        alone = {word: structs.replace(order, fields={word: order.fields[word]}) for word in words}
        return {name: self._ownership[word] for word in words for name in self._records.wanted(alone[word])}

    def _said(self, order: Order | ProblemOrder, note: str) -> dict[str, str]:
        return {**self._records.told(order), **({"note": order.id} if note else {})}

    def _gone(self, order: Order | ProblemOrder, ticket: Receipt | None) -> Rejected:
        number = ticket.number if ticket is not None else "record"
        return Rejected(
            f"{self._records.name} has no {number} of {order.key} any more (deleted, or hidden from this account)",
            hint="if it was hidden, let the account see it and retry the dead letter",
        )

    def _again(self, seen: Seen) -> R:
        after = self._records.get(seen.id)
        if after is None:
            raise Unavailable(f"{self._records.name} does not show {seen.number} after a change")
        return after


def _receipt(seen: Seen, kept: Mapping[str, str]) -> Receipt:
    return Receipt(number=seen.number, url=seen.url, kept={**kept, "id": seen.id})


# ---- the sink -------------------------------------------------------------------------------------------------------


class Changes(Protocol):
    def changes(self, cursor: int) -> Sequence[TicketChange]:
        """See ``core.contracts.Sink.changes``."""


class TicketSink(Generic[R]):
    """A ``core.contracts.Sink``, and a ``KnownErrorSink`` where there are ``problems`` that tell of them.

    Args:
        changes: reads what people did (``connect.ticket_changes``). check: looks whether all is set up.
    """

    def __init__(
        self,
        incidents: Records[R],
        changes: Changes,
        check: Callable[[], Iterable[Finding]],
        *,
        problems: Records[R] | None = None,
        ownership: Mapping[FieldName, Ownership] = {},
    ) -> None:
        self._incidents = TicketLife(incidents, ownership)
        self._problems = TicketLife(problems or incidents, ownership)
        self._changes = changes
        self._check = check

    def find(self, key: str) -> Receipt | None:
        return self._incidents.find(key)

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        return self._incidents.deliver(order, ticket)

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        return self._changes.changes(cursor)

    def check(self) -> Sequence[Finding]:
        return list(self._check())

    def find_problem(self, key: str) -> Receipt | None:
        return self._problems.find(key)

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        return self._problems.write_problem(order, problem)

    def read_problem(self, problem: Receipt) -> ProblemReading | None:
        return self._problems.read_problem(problem)
