"""What one configuration makes of history: its incidents, told so that they can be held against those of another.

What is kept of a situation that is over is a line here, and its whole story in a temporary file, where the reason for a
difference is looked up: memory holds what is open, and some bytes for each membership.
"""

from array import array
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import IO

import msgspec
from msgspec import Struct

from correlation import problem
from correlation.group import number
from correlation.rule import RuleKind, in_words
from foreshock.core.contracts import Collector, Items, Record, RecordKind, Verb
from foreshock.core.model import Ended, Link, Moment, Situation, SituationState
from foreshock.service import weighing
from foreshock.service.engine import Effects, Engine
from foreshock.service.plan.tickets import SINK, Recurring, Ticket, Tickets
from foreshock.service.scoring import Fit

AFTER = timedelta(hours=1)
"""The clock goes on for so long behind the last record, so that what is waited for then is seen to come."""

_UNHEARD = ("wait", "hold", "nothing")


class Incident(Struct, frozen=True, kw_only=True):
    """One situation as it ended up.

    Attributes:
        ended_at: None: it was still open at the end. alerts: how many. cause: the first candidate's CI, empty where no
            candidate has evidence enough; cause_why: in words, or what there is too little of.
        ticket_at: when its ticket was opened; None if it never was, for the reason ``no_ticket``.
        wait_s: from when its first alert came to its ticket. waited: for what.
        ticket: what was written to it; None where it has none, or none that is told of.
    """

    id: str
    title: str
    onset: Moment
    opened_at: Moment
    ended_at: Moment | None
    alerts: int
    priority: int
    priority_why: str
    cause: str
    cause_why: str
    group: str
    ticket_at: Moment | None
    wait_s: float | None
    waited: str = ""
    no_ticket: str = ""
    ticket: Ticket | None = None


class Outcome:
    """One configuration at work.

    Args:
        fingerprints: numbers of alerts, shared by the outcomes that are to be compared.
        stories: an empty file to write and read.
        since: what came before is heard, and not told.
    Attributes:
        incidents: by id, without those that were merged into others. alerts: numbers of the alerts of each; numbers:
            the fingerprints they stand for; earlier: by alert, the situation that began before what is told.
        events: heard of, malformed ones included. tickets: opened, those of situations that were merged later too;
            reopened: how often one was.
        written: what was written to tickets, and whom was told. problems: opened, by the place that each is about.
        fit: with what is known to belong together; None where nothing was given.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        rules: Mapping[str, RuleKind],
        fingerprints: dict[str, int],
        stories: IO[bytes],
        since: datetime | None = None,
    ) -> None:
        self.engine = Engine(collectors, rules)
        self.incidents: dict[str, Incident] = {}
        self.alerts: dict[str, array[int]] = {}
        self.events = self.tickets = self.reopened = 0
        self.first_at: datetime | None = None
        self.fit: Fit | None = None
        self.written = Tickets()
        self.problems: dict[str, Recurring] = {}
        self._last_problem = 0
        self._since, self._ahead = since, AFTER
        self.numbers = fingerprints
        self._tickets: dict[str, datetime] = {}
        self._waited: dict[str, str] = {}
        self.earlier: dict[int, str] = {}
        self._stories = stories
        self._places: dict[str, tuple[int, int]] = {}

    def read(self, record: Record, items: Items | None) -> Effects:
        effects = self.engine.step([(record, items)])
        if record.kind is RecordKind.EVENTS and not self._is_early(record.at):
            self.events += 0 if items is None else len(items.items)
            self.first_at = self.first_at or record.at
        for id, decided in effects.decisions:
            if decided.step in _UNHEARD and id not in self._tickets:
                self._waited[id] = decided.reason
        self._hear_tickets(effects)
        for id, situation in effects.situations.items():
            if situation.state is SituationState.MERGED:
                self._merged(id, situation.merged_into)
            elif id in effects.ended:
                self._keep(effects.ended[id])
        return effects

    def _hear_tickets(self, effects: Effects) -> None:
        reasons = (
            {(id, decided.at, decided.step): decided.reason for id, decided in effects.decisions}
            if effects.orders
            else {}
        )
        for order in effects.orders:
            if order.verb is not Verb.OPEN:
                self.reopened += order.verb is Verb.REOPEN and order.sink == SINK and not self._is_early(order.at)
                self.written.write(order, reasons.get((order.situation, order.at, order.verb.value), ""))
                continue
            self._tickets.setdefault(order.situation, order.at)
            opened = effects.situations[order.situation]  # which may be over by now, and forgotten
            if not self._is_early(opened.opened_at):
                self.tickets += order.sink == SINK
                self.written.open(order)
        for notice in effects.notices:
            self.written.tell(notice)
        if self.engine.last_problem != self._last_problem:
            self._last_problem = self.engine.last_problem
            self._look_for_problems()

    def _look_for_problems(self) -> None:
        for pattern in self.engine.patterns.by_id.values():
            found = pattern.problem
            if found is not None and pattern.place not in self.problems and not self._is_early(found.opened_at):
                self.problems[pattern.place] = Recurring(
                    id=found.id,
                    title=problem.title(pattern),
                    reason=found.reason,
                    situations=tuple(each.situation for each in pattern.occurrences),
                )

    def finish(self, ahead: timedelta = AFTER) -> None:
        """Nothing more comes: the clock goes on by ``ahead``, and what is still open then is told as it stands."""
        self._ahead = ahead
        if self.engine.now.timestamp() > 0:
            last = Record(number=2**53, at=self.engine.now + ahead, kind=RecordKind.TICK, body=b"")
            self.read(last, None)
        for situation in list(self.engine.situations.values()):
            if situation.state is SituationState.OPEN:
                weighing.conclude(self.engine, situation)
                self._keep(self.engine.encode(situation))
        self.incidents = dict(sorted(self.incidents.items(), key=lambda entry: number(entry[0])))

    def story(self, id: str) -> Ended:
        """The situation with its alerts and their links."""
        at, size = self._places[id]
        self._stories.seek(at)
        return msgspec.json.decode(self._stories.read(size), type=Ended)

    def words(self, link: Link) -> str:
        """A link in the words of the rule that made it, with its strength."""
        said = in_words(link, self.engine.rules) or link.evidence or "they are related"
        return f"{said} ({link.rule.partition('@')[0]}, {link.strength:.2f})"

    @property
    def span_s(self) -> float:
        """Of stream time, without what the clock went on for at the end."""
        return 0.0 if self.first_at is None else (self.engine.now - self._ahead - self.first_at).total_seconds()

    def _is_early(self, moment: datetime) -> bool:
        return self._since is not None and moment < self._since

    def _number(self, fingerprint: str) -> int:
        return self.numbers.setdefault(fingerprint, len(self.numbers))

    def _merged(self, id: str, into: str) -> None:
        """Its alerts are told of there; people who had its ticket know of the problem since then."""
        if (opened_at := self._tickets.pop(id, None)) is not None:
            self._tickets[into] = min(opened_at, self._tickets.get(into, opened_at))
        self.written.of.pop(id, None)
        self.incidents.pop(id, None)
        self.alerts.pop(id, None)
        self._places.pop(id, None)
        self._waited.pop(id, None)

    def _keep(self, body: bytes) -> None:
        ended = msgspec.json.decode(body, type=Ended)
        situation = ended.situation
        if self._is_early(situation.opened_at):
            self.earlier.update((self._number(key), situation.id) for key in situation.members)
            return
        self._places[situation.id] = self._stories.seek(0, 2), len(body)
        self._stories.write(body)
        self.alerts[situation.id] = array("L", map(self._number, situation.members))
        self.incidents[situation.id] = _incident(
            situation,
            self._tickets.get(situation.id),
            self._waited.get(situation.id, "for nothing"),
            self.written.of.get(situation.id),
        )


def _incident(situation: Situation, ticket_at: datetime | None, waited: str, ticket: Ticket | None) -> Incident:
    began_at = min(situation.opened_at, *(member.joined_at for member in situation.members.values()))
    best = situation.causes[0] if situation.causes and not situation.cause_doubt else None
    return Incident(
        id=situation.id,
        title=situation.title,
        onset=situation.onset,
        opened_at=situation.opened_at,
        ended_at=situation.resolved_at,
        alerts=len(situation.members),
        priority=situation.priority,
        priority_why=_priority(situation),
        cause=best.ci if best is not None else "",
        cause_why=best.reason if best is not None else situation.cause_doubt or "no candidate",
        group=situation.assignment_group,
        ticket_at=ticket_at,
        wait_s=None if ticket_at is None else (ticket_at - began_at).total_seconds(),
        waited=waited,
        no_ticket="" if ticket_at is not None else _why_no_ticket(situation),
        ticket=ticket,
    )


def _priority(situation: Situation) -> str:
    service = f", {situation.services[0]} depends on it" if situation.services else ""
    return f"impact {situation.impact}, urgency {situation.urgency} ({situation.severity.name.lower()}{service})"


def _why_no_ticket(situation: Situation) -> str:
    if situation.held:
        return situation.held_by
    if situation.decided:
        return situation.decided[-1].reason
    return "it recovered before a ticket was due" if situation.resolved_at is not None else "none was due yet"
