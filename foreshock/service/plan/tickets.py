"""What one configuration writes to tickets and whom it tells besides: of each incident, and counted for all of them."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

from msgspec import Struct, field

from foreshock.core.contracts import Notice, NoticeKind, Order, Verb

SINK = "plan"
"""Stands for every sink that has no text of its own: all sinks hear the same at the same time."""

_WHAT: Mapping[Verb, str] = {Verb.UPDATE: "updated", Verb.REOPEN: "reopened", Verb.RESOLVE: "resolved"}


class Written(Struct, kw_only=True):
    """How much. sla: warnings of promised time. escalations: people and groups that were told that nobody takes it."""

    opened: int = 0
    updated: int = 0
    reopened: int = 0
    resolved: int = 0
    sla: int = 0
    escalations: int = 0


class Text(Struct, frozen=True, gc=False):
    """What a ticket says. digest: of the description."""

    title: str
    digest: int


class Ticket(Struct, gc=False, kw_only=True):
    """Of one incident.

    Attributes:
        priority, group: when it was opened.
        texts: by sink, as it was opened there. notices: what was told to whom besides.
        updated, reopened, resolved: how often.
        last: why it was updated or reopened the last time.
    """

    priority: int
    group: str
    texts: dict[str, Text]
    updated: int = 0
    reopened: int = 0
    resolved: int = 0
    notices: tuple[str, ...] = ()
    last: str = ""


class Recurring(Struct, frozen=True, kw_only=True):
    """A Problem that was opened. situations: the incidents that made it."""

    id: str
    title: str
    reason: str
    situations: tuple[str, ...]


class Tickets:
    """Attributes:
    of: by situation, of those that are told of. all, by_priority, by_group: how much; each write counts with what the
        ticket says then.
    """

    def __init__(self) -> None:
        self.of: dict[str, Ticket] = {}
        self.all = Written()
        self.by_priority: dict[int, Written] = {}
        self.by_group: dict[str, Written] = {}

    def open(self, order: Order) -> None:
        """An incident that is told of gets its ticket in a sink."""
        fields = order.fields
        ticket = self.of.get(order.situation)
        if ticket is None:
            ticket = Ticket(priority=fields["priority"], group=fields["assignment_group"], texts={})
            self.of[order.situation] = ticket
        ticket.texts[order.sink] = Text(fields["title"], crc32(fields["description"].encode()))
        if order.sink == SINK:
            self._count("opened", fields)

    def write(self, order: Order, reason: str) -> None:
        """Anything else. What is of no incident that is told of does not count."""
        ticket = self.of.get(order.situation)
        if ticket is None or order.sink != SINK:
            return
        what = _WHAT[order.verb]
        setattr(ticket, what, getattr(ticket, what) + 1)
        self._count(what, order.fields)
        if order.verb is not Verb.RESOLVE:
            ticket.last = reason

    def tell(self, notice: Notice) -> None:
        ticket = self.of.get(notice.situation)
        if ticket is None:
            return
        is_sla = notice.kind is NoticeKind.SLA
        what = f"the warning at {notice.level} % of an SLA" if is_sla else f"step {notice.level} of an escalation"
        ticket.notices = (*ticket.notices, f"{what} (to {', '.join(notice.audience) or 'nobody'})")
        whose = {"priority": notice.priority, "assignment_group": ticket.group}
        self._count("sla" if is_sla else "escalations", whose)

    def _count(self, what: str, fields: dict[str, Any]) -> None:
        for written in (
            self.all,
            self.by_priority.setdefault(fields["priority"], Written()),
            self.by_group.setdefault(fields["assignment_group"], Written()),
        ):
            setattr(written, what, getattr(written, what) + 1)


class TicketTotals(Struct, frozen=True, kw_only=True):
    """Of one side. by_priority, by_group: as the ticket stood at each write. problems: opened."""

    all: Written = field(default_factory=Written)
    by_priority: dict[int, Written] = {}
    by_group: dict[str, Written] = {}
    problems: int = 0
