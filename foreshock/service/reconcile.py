"""Compares three things: what we believe of each ticket, what its sink holds, and what still waits to be written.

What differs twice in a row, with nothing on its way, is repaired by a rule, and always by a record in the inbox, so
that the engine decides and the audit tells: what people ended there stays ended, what is open there is theirs, and a
record that is gone is taken as ended by somebody, or replaced, as ``ticket.deleted`` says. A second record under our
key is told of with its number: which of the two is right, a person knows.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum

import structlog
from msgspec import Struct

from foreshock.core.contracts import Receipt, TicketChange
from foreshock.core.errors import ForeshockError
from foreshock.core.model import Ticket, TicketState

MAX_LOOKS = 200
"""Tickets of one sink looked at in one run, so that a run has an end and leaves the sink's limits to the lane; the next
one goes on with the others."""

log = structlog.get_logger("reconcile")


class Difference(StrEnum):
    """How a sink's record differs from our ticket. ENDED: over there, open here. OPEN: open there, over here."""

    MISSING = "missing"
    OTHER_NUMBER = "other_number"
    ENDED = "ended"
    OPEN = "open"


_REPAIRS: Mapping[Difference, tuple[str, str]] = {
    Difference.MISSING: ("deleted", "its record is gone"),
    Difference.ENDED: ("closed", "its record is over"),
    Difference.OPEN: ("reopened", "its record is open"),
}
"""State and comment of the change that the inbox hears."""


class Finding(Struct, frozen=True):
    """One difference. found: the number in the sink; empty if there is no record."""

    sink: str
    situation: str
    difference: Difference
    number: str
    found: str = ""


def compare(ticket: Ticket, found: Receipt | None) -> Difference | None:
    """None where they agree, or where the ticket is on its way and there is nothing to compare yet."""
    if ticket.state is not TicketState.CONFIRMED or not ticket.number:
        return None
    if found is None:
        return Difference.MISSING if ticket.open else None
    if found.number != ticket.number:
        return Difference.OTHER_NUMBER if ticket.open else None
    if ticket.open and found.state in ("resolved", "closed"):
        return Difference.ENDED
    return Difference.OPEN if not ticket.open and not ticket.closed_by and found.state == "open" else None


def repair(finding: Finding) -> TicketChange | None:
    """What the inbox is to hear; None where a person must look."""
    if finding.difference not in _REPAIRS:
        return None
    state, comment = _REPAIRS[finding.difference]
    return TicketChange(
        sink=finding.sink, situation=finding.situation, sequence=0, state=state, origin="compared",
        number=finding.number, comment=comment,
    )  # fmt: skip


class Reconciler:
    """Goes round the tickets of each sink, ``MAX_LOOKS`` a run.

    Args:
        find: by sink, its search by our key; only of sinks that can search.
        waiting: situations with orders on their way to a sink: there is nothing to compare yet.
        report: appends a change to the inbox.

    Attributes:
        findings: of the last look at each ticket, by (sink, situation).
        repaired: how many repairs were asked for, by (sink, difference).
        unasked: by sink why it could not be asked in the last run.
    """

    def __init__(
        self,
        find: Mapping[str, Callable[[str], Receipt | None]],
        waiting: Callable[[str], Collection[str]],
        report: Callable[[TicketChange], None],
    ) -> None:
        self._find = find
        self._waiting = waiting
        self._report = report
        self._next: dict[str, int] = {}
        self.findings: dict[tuple[str, str], Finding] = {}
        self.repaired: Counter[tuple[str, str]] = Counter()
        self.unasked: dict[str, str] = {}

    def run(self, tickets: Iterable[tuple[str, Ticket]]) -> None:
        """Look at tickets, as (situation, ticket). A sink that does not answer keeps no other from being looked at."""
        by_sink: dict[str, list[tuple[str, Ticket]]] = {}
        for situation, ticket in tickets:
            if ticket.sink in self._find:
                by_sink.setdefault(ticket.sink, []).append((situation, ticket))
        known = {(sink, situation) for sink, mine in by_sink.items() for situation, _ in mine}
        self.findings = {key: finding for key, finding in self.findings.items() if key in known}
        for sink, mine in by_sink.items():
            try:
                self._run(sink, mine)
            except ForeshockError as error:
                if sink not in self.unasked:
                    log.warning("tickets are not compared", sink=sink, error=str(error))
                self.unasked[sink] = str(error)
            else:
                self.unasked.pop(sink, None)

    def _run(self, sink: str, tickets: list[tuple[str, Ticket]]) -> None:
        start = self._next.get(sink, 0)
        start = start if start < len(tickets) else 0
        waiting = self._waiting(sink)
        for place, (situation, ticket) in enumerate(tickets[start : start + MAX_LOOKS], start):
            self._next[sink] = place  # where the next run goes on if this one ends here
            before = self.findings.pop((sink, situation), None)
            if situation in waiting:
                continue
            found = self._find[sink](situation)
            difference = compare(ticket, found)
            if difference is not None:
                finding = Finding(sink, situation, difference, ticket.number, found.number if found else "")
                self._found(finding, again=finding == before)
        self._next[sink] = start + MAX_LOOKS

    def _found(self, finding: Finding, *, again: bool) -> None:
        """Told the first time, repaired the second: in between an answer, or what a person did, may have come."""
        self.findings[finding.sink, finding.situation] = finding
        if not again:
            hint = "look at both records there, and close one" if finding.difference is Difference.OTHER_NUMBER else ""
            words = {name: getattr(finding, name) for name in Finding.__struct_fields__}
            log.warning("a ticket differs from the sink's record", **words, hint=hint)
        elif (change := repair(finding)) is not None:
            self._report(change)
            self.repaired[finding.sink, finding.difference.value] += 1
            del self.findings[finding.sink, finding.situation]
