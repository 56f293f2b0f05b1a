"""Compares what we believe of tickets with what the sinks hold. It finds and tells; it repairs nothing by itself."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from foreshock.core.contracts import Receipt
from foreshock.core.model import Ticket, TicketState

MAX_LOOKS = 500
"""Tickets looked at in one run, so that a run has an end; the next one begins with the others."""


class Difference(StrEnum):
    """How a sink's record differs from our ticket."""

    MISSING = "missing"
    OTHER_NUMBER = "other_number"


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
        return Difference.MISSING
    return Difference.OTHER_NUMBER if found.number != ticket.number else None


class Reconciler:
    """Goes round the tickets, ``MAX_LOOKS`` a run.

    Args:
        find: by sink, its search by our key; only of sinks that can search.
    Attributes:
        findings: of the last look at each ticket, by (sink, situation).
    """

    def __init__(self, find: Mapping[str, Callable[[str], Receipt | None]]) -> None:
        self._find = find
        self._next = 0
        self.findings: dict[tuple[str, str], Finding] = {}

    def run(self, tickets: Iterable[tuple[str, Ticket]]) -> list[Finding]:
        """Look at open tickets, as (situation, ticket); what is new among the findings. Raises Unavailable and Denied
        as the sinks do; what was found until then stays."""
        known = [(situation, ticket) for situation, ticket in tickets if ticket.open and ticket.sink in self._find]
        open_ones = {(ticket.sink, situation) for situation, ticket in known}
        self.findings = {key: finding for key, finding in self.findings.items() if key in open_ones}
        start = self._next if self._next < len(known) else 0
        news = []
        for situation, ticket in known[start : start + MAX_LOOKS]:
            found = self._find[ticket.sink](situation)
            difference = compare(ticket, found)
            before = self.findings.pop((ticket.sink, situation), None)
            if difference is not None:
                finding = Finding(ticket.sink, situation, difference, ticket.number, found.number if found else "")
                self.findings[ticket.sink, situation] = finding
                if finding != before:
                    news.append(finding)
        self._next = start + MAX_LOOKS
        return news
