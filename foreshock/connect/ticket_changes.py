"""Reading what people did to our tickets, the same in every ITSM system: from where, until when, and in which order.

A system offers which records were updated since a moment and what was done to them; which of it is news, and its
number, is decided here. A change is told when it is older than ``settle``, so that none turns up later behind it, and
again until the cursor shows that it arrived.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct

from foreshock.connect.tickets import moment, sequence, settled
from foreshock.core.contracts import TicketChange
from foreshock.core.errors import Unavailable

R = TypeVar("R")
"""A record as the system's client shows it."""
S = TypeVar("S")
"""What is remembered of one."""
T = TypeVar("T")
"""A status, as the system's settings name it."""


class Updated(Struct, Generic[R], frozen=True):
    """Records of ours that were updated since a moment.

    Attributes:
        now: the system's own clock when it was asked (the client's ``server_now``).
        until: where the list was cut because it was long: the last one's time; None where it is whole. A list must hold
            more records than are updated in one second.
    """

    records: Sequence[R]
    now: datetime | None
    until: datetime | None = None


class Activity(Struct, frozen=True, kw_only=True):
    """One thing that somebody else than us did to a ticket.

    Attributes:
        source: what its number is made from, with its second and its place in the order given: id of the entry in the
            system's history, or of the record.
        state, actor, comment, code: as in a ``TicketChange``.
    """

    at: datetime
    source: str
    situation: str
    number: str
    state: str
    actor: str
    comment: str = ""
    code: str = ""


class Phase(StrEnum):
    """What a status of the system means to the promised time of a ticket."""

    WORK = "work"
    WAIT = "wait"
    RESOLVED = "resolved"
    CLOSED = "closed"


ENDED = (Phase.RESOLVED, Phase.CLOSED)
WAITS = ("pending", "resumed")
"""States of changes that say whether a ticket waits for somebody. Foreshock itself never has one wait."""
MOVES = (*WAITS, "resolved", "closed", "reopened")
"""States of changes of which each is a move of the ticket's status; what is said in the same act belongs to it."""


def phase_of(status: T, resolved: Collection[T], final: Collection[T], waiting: Collection[T]) -> Phase:
    """By the settings of a sink; a status that they do not name is at work."""
    if status in final:
        return Phase.CLOSED
    if status in resolved:
        return Phase.RESOLVED
    return Phase.WAIT if status in waiting else Phase.WORK


def moved(before: Phase | None, after: Phase) -> tuple[str, ...]:
    """States that tell a move of the status; ``before`` is None where it is not known. A wait that an end ends is not
    told as going on."""
    if after is before:
        return ()
    if after in ENDED:
        return (after.value,)
    again = ("reopened",) if before in ENDED else ()
    if after is Phase.WAIT:
        return (*again, "pending")
    return ("resumed",) if before is Phase.WAIT else again


def reason(status: str, comment: str) -> str:
    """Why a ticket waits: what the system calls that, and what was said with it."""
    return ": ".join(filter(None, (status, comment)))


class TicketChanges(ABC, Generic[R]):
    """Args: name: of the sink. system: of the instance, for messages."""

    def __init__(self, name: str, system: str, settle: timedelta) -> None:
        self._name = name
        self._system = system
        self._settle = settle
        self._run: _Run | None = None

    @abstractmethod
    def updated(self, start: datetime) -> Updated[R]:
        """Records that were updated at ``start`` or later, by the time of their update."""

    @abstractmethod
    def activities(self, records: Sequence[R], start: datetime, horizon: datetime) -> Iterable[Activity]:
        """What was done to them in start <= t < horizon, in order for each ``source``; more does no harm."""

    def changes(self, cursor: int) -> list[TicketChange]:
        """Of all that happened since ``cursor`` and lies before ``settled``, oldest first."""
        run = self._run
        if run is None or run.cursor != cursor:
            run = _Run(cursor, moment(cursor), moment(cursor))
        page = self.updated(run.at)
        if page.now is None:
            raise Unavailable(f"{self._system} does not say what time it is (no Date header)")
        horizon = run.horizon or settled(page.now, self._settle)
        told = self._numbered(self.activities(page.records, run.start, horizon), run.start, horizon)
        run.found |= {change.sequence: change for change in told if change.sequence > cursor}
        self._run = run
        if page.until is not None and page.until > run.at:
            # A record further on may hold an older change than those found so far, so none is told before the end.
            run.at, run.horizon = page.until, horizon
            return []
        start = run.start if run.found else max(run.start, horizon)  # nothing that people did stands before it
        self._run = _Run(cursor, start, start)
        return [change for _, change in sorted(run.found.items())]

    def _numbered(self, activities: Iterable[Activity], start: datetime, horizon: datetime) -> Iterable[TicketChange]:
        places: Counter[tuple[str, datetime]] = Counter()
        for each in activities:
            second = each.at.replace(microsecond=0)
            if start <= each.at < horizon:
                yield TicketChange(
                    sink=self._name,
                    situation=each.situation,
                    sequence=sequence(second, each.source, places[each.source, second]),
                    state=each.state,
                    number=each.number,
                    actor=each.actor,
                    comment=each.comment,
                    code=each.code,
                )
            places[each.source, second] += 1


class _Run(Struct):
    """One reading from a cursor to the end, in several visits where much was updated.

    Attributes:
        start: what lies before it was told, or is no news. at: from where to read on. horizon: of its first visit.
    """

    cursor: int
    start: datetime
    at: datetime
    horizon: datetime | None = None
    found: dict[int, TicketChange] = {}


class Memory(Generic[S]):
    """What was told of each record last, for a system whose records have no history to number from.

    A telling is believed once the cursor shows that it arrived.
    """

    def __init__(self) -> None:
        self._told: dict[str, S] = {}
        self._telling: dict[str, tuple[int, S]] = {}
        self._is_recalled = False

    def recall(self, start: datetime, waiting: Callable[[], Mapping[str, S]]) -> None:
        """To be called with the start of each reading. At the first one after a restart it asks which records wait and
        were not touched since ``start``: that was told before, and that they go on is news."""
        if not self._is_recalled and start > moment(0):
            self._told = dict(waiting()) | self._told
        self._is_recalled = True

    def believe(self, cursor: int) -> None:
        """To be called at the beginning of each visit."""
        self._told |= {record: seen for record, (number, seen) in self._telling.items() if number <= cursor}
        self._telling = {record: told for record, told in self._telling.items() if told[0] > cursor}

    def before(self, record: str) -> S | None:
        return self._told.get(record)

    def tell(self, record: str, seen: S, at: datetime, steps: int) -> None:
        """So many steps are told of it now, numbered from ``record``; none is known to have arrived."""
        if steps:
            self._telling[record] = sequence(at, record, steps - 1), seen
        else:
            self._telling.pop(record, None)
            self._told[record] = seen
