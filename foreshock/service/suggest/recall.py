"""What happened, as an engine tells it that reads history as it was recorded: when alerts began and ended, what became
of their situations and tickets, and what people said of them."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from sys import intern

import msgspec
from msgspec import Struct

from correlation.closing import Label, label_of
from correlation.rule import RuleInstance, RuleKind
from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Collector, Record, RecordKind, Snapshot, TicketChange, Verb
from foreshock.core.learned import Occurrence, class_of
from foreshock.core.model import Alert, Judgement, Link, Moment, Situation, SituationState, Witness
from foreshock.core.topology import Topology
from foreshock.service.engine import Engine
from foreshock.service.recorded import Input
from foreshock.service.records import OperatorRecord
from foreshock.service.replay import Version, prepared

_MAX_COMMENTS = 20
_TICK = timedelta(minutes=5)
"""Shorter than anything that is over is remembered, unless ``group.reopen`` is set to nearly nothing."""


class Who(Struct, frozen=True, gc=False):
    """An alert, by what does not change about it. known: the topology has its CI. collector, source: who sent it."""

    fingerprint: str
    name: str
    ci: str
    known: bool
    labels: dict[str, str]
    collector: str
    source: str


class Episode(Struct, gc=False):
    """Once it fired: times in seconds since 1970.

    Attributes:
        until_s: None while it fires. said: its source said that it is over.
        situation: the one it was in last, as it was called then.
    """

    who: Who
    number: int
    at_s: float
    until_s: float | None = None
    said: bool = False
    situation: str = ""


class Incident(Struct):
    """A situation that had a ticket: times in seconds since 1970.

    Attributes:
        alerts: fingerprints. names: what they say. over_s: None while it is open. reopened: how often.
        handled: a person took its ticket, or resolved or closed it. comments: what people wrote, the first.
        label: as what people closed it last, as far as they said.
        links: by what its alerts joined: the rule, or ``topology`` with the relationship on the way.
    """

    id: str
    began_s: float
    ticket_s: float
    priority: int = 5
    over_s: float | None = None
    reopened: int = 0
    alerts: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    handled: bool = False
    comments: list[str] = []
    label: Label = Label.UNKNOWN
    links: frozenset[str] = frozenset()


class Crossing(Struct, frozen=True):
    """What tied two sides of which a person said whether they are one. links: as in ``Incident``; strongest: of what
    related an alert of the one to the other, whether it joined or not; 0.0 where nothing did."""

    links: frozenset[str]
    strongest: float


class Recalled(Struct, kw_only=True):
    """A history, or a part of it.

    Attributes:
        who: by fingerprint. episodes: in the order in which they came. incidents: by id, in order.
        judgements: in order. crossings: by the id of a judgement.
        merged: situations by the one that took their alerts over.
        topology, snapshot: the newest; no snapshot where there is none. settings, rules: in force last.
        events: how many there were.
    """

    settings: CorrelationSettings
    rules: tuple[RuleInstance, ...]
    topology: Topology
    snapshot: Snapshot | None
    events: int
    first_at: Moment | None
    last_at: Moment | None
    who: dict[str, Who]
    episodes: list[Episode]
    incidents: dict[str, Incident]
    judgements: list[Judgement]
    crossings: dict[str, Crossing]
    merged: dict[str, str]

    def home(self, situation: str) -> str:
        """Where the alerts of a situation are in the end."""
        seen = {situation}
        while (into := self.merged.get(situation, "")) and into not in seen:
            seen.add(into)
            situation = into
        return situation

    def between(self, since: datetime, until: datetime) -> "Recalled":
        """What began, and what was said, in ``since`` <= t < ``until``."""
        low, high = since.timestamp(), until.timestamp()
        return msgspec.structs.replace(
            self,
            first_at=since,
            last_at=until,
            episodes=[one for one in self.episodes if low <= one.at_s < high],
            incidents={id: one for id, one in self.incidents.items() if low <= one.began_s < high},
            judgements=[one for one in self.judgements if since <= one.at < until],
        )

    def occurrences(self) -> Iterator[Occurrence]:
        for one in self.episodes:
            yield Occurrence(one.at_s, one.who.name, one.who.ci)

    def by_alert(self) -> dict[str, list[Episode]]:
        """The episodes of each alert, in order of onset."""
        found: dict[str, list[Episode]] = {}
        for one in sorted(self.episodes, key=lambda one: one.at_s):
            found.setdefault(one.who.fingerprint, []).append(one)
        return found

    @property
    def days(self) -> float:
        if self.first_at is None or self.last_at is None:
            return 0.0
        return (self.last_at - self.first_at).total_seconds() / 86_400


def recall(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    topology: Snapshot | None = None,
    said: Iterable[Judgement] = (),
) -> Recalled:
    """Read a history. topology: in place of its own.

    said: what people said in it, with the alerts it was about. It takes the place of the records that hold it where
    history does not begin with the first record: situations have other numbers then, and what was said of their
    tickets is not known.
    """
    reader = _Reader(Engine(collectors, rules), topology, sorted(said, key=lambda one: one.at))
    for record, given in prepared(inputs, Version(topology=topology)):
        reader.read(record, is_input=given is not None)
    return reader.past()


class _Reader:
    def __init__(self, engine: Engine, topology: Snapshot | None, said: list[Judgement]) -> None:
        self._engine, self._given = engine, topology
        self._said = deque(said)
        self._number = 0
        self._whole = True
        self._who: dict[str, Who] = {}
        self._latest: dict[str, Episode] = {}
        self._episodes: list[Episode] = []
        self._incidents: dict[str, Incident] = {}
        self._judgements: list[Judgement] = []
        self._crossings: dict[str, Crossing] = {}
        self._merged: dict[str, str] = {}
        self._first_at: datetime | None = None
        self._last_at: datetime | None = None
        self._events = 0

    def read(self, record: Record, *, is_input: bool) -> None:
        """With ticks before it where nothing was recorded for long, so that what ended in between is seen to end."""
        if is_input:
            self._whole = self._whole and record.number == self._number + 1
            self._number = record.number
        if not self._whole and _is_about_situations(record):
            return
        while self._said and self._said[0].at <= record.at:
            said = self._said.popleft()
            if not self._whole:
                self._pass_to(said.at)
                self._hear(said)
        self._pass_to(record.at)
        self._step(record, is_input=is_input)

    def _pass_to(self, at: datetime) -> None:
        while (due := self._engine.next_due()) is not None and due + _TICK < at:
            tick = max(due, self._engine.now) + _TICK
            self._step(Record(number=self._number, at=tick, kind=RecordKind.TICK, body=b""), is_input=False)

    def _hear(self, said: Judgement) -> None:
        """Somebody said so of situations that have other numbers here; what was merged is one from then on."""
        self._judgements.append(said)
        self._crossings[said.id] = self._crossing(said)
        one = (*said.one, *said.same) if said.same else ()
        alerts = (self._engine.alerts.get(witness.fingerprint) for witness in one)
        homes = sorted({alert.situation for alert in alerts if alert is not None and alert.situation})
        for home in homes[1:]:
            self._merged.setdefault(home, homes[0])

    def _step(self, record: Record, *, is_input: bool) -> None:
        engine = self._engine
        effects = engine.step([(record, None)])
        if is_input:
            self._last_at = record.at
        if record.kind is RecordKind.EVENTS:
            self._first_at = self._first_at or record.at
        self._note_alerts()
        for order in effects.orders:
            if order.verb is Verb.OPEN and order.situation not in self._incidents:
                began = effects.situations[order.situation].opened_at
                self._incidents[order.situation] = Incident(order.situation, began.timestamp(), order.at.timestamp())
        for situation in effects.situations.values():
            self._note_situation(situation)
        if record.kind is RecordKind.TICKET:
            self._note_ticket(msgspec.json.decode(record.body, type=TicketChange))
        for _, judgement in effects.judgements:
            self._judgements.append(judgement)
            self._crossings[judgement.id] = self._crossing(judgement)

    def _note_alerts(self) -> None:
        engine = self._engine
        for fingerprint in engine.dirty_alerts:
            alert = engine.alerts.get(fingerprint)
            if alert is None:
                continue
            latest = self._latest.get(fingerprint)
            # One that was forgotten in between counts from one again.
            again = latest is not None and latest.until_s is not None and alert.firing
            if latest is None or again or latest.number != alert.occurrences:
                latest = Episode(self._who_is(alert), alert.occurrences, alert.starts_at.timestamp())
                self._latest[fingerprint] = latest
                self._episodes.append(latest)
            elif alert.firing and latest.until_s is None and latest.situation:
                continue  # the common case: it was sent again
            latest.at_s = alert.starts_at.timestamp()
            latest.until_s = alert.ends_at.timestamp() if not alert.firing and alert.ends_at is not None else None
            latest.said = not alert.firing and not alert.expired
            latest.situation = alert.situation or latest.situation
        engine.dirty_alerts.clear()

    def _who_is(self, alert: Alert) -> Who:
        found = self._who.get(alert.fingerprint)
        if found is None:
            labels = {intern(name): intern(value) for name, value in alert.read_labels().items()}  # most are shared
            known = alert.ci in self._engine.topology.cis
            found = Who(
                alert.fingerprint, class_of(labels), alert.ci, known, labels, alert.source, alert.origin or alert.source
            )
            self._who[alert.fingerprint] = found
        return found

    def _note_situation(self, situation: Situation) -> None:
        if situation.state is SituationState.MERGED:
            self._merged[situation.id] = situation.merged_into
        incident = self._incidents.get(situation.id)
        if incident is None:
            return
        incident.priority = min(incident.priority, situation.priority)
        incident.reopened = situation.reopened
        incident.over_s = None if situation.resolved_at is None else situation.resolved_at.timestamp()
        if len(incident.alerts) != len(situation.members):
            incident.alerts = tuple(situation.members)
            incident.names = frozenset(self._who[one].name for one in incident.alerts if one in self._who)
            incident.links = frozenset(
                name
                for member in situation.members.values()
                if member.link is not None
                for name in self._named(member.link)
            )

    def _note_ticket(self, change: TicketChange) -> None:
        incident = self._incidents.get(self._merged.get(change.situation, change.situation))
        if incident is None or change.origin != "read" or not change.actor:
            return
        incident.handled = incident.handled or change.state in ("taken", "resolved", "closed", "reopened")
        if change.state in ("resolved", "closed"):
            codes = self._engine.settings.ticket.close_codes
            incident.label = label_of(change.code, codes) or incident.label
        if change.comment and len(incident.comments) < _MAX_COMMENTS:
            incident.comments = [*incident.comments, change.comment]

    def _crossing(self, judgement: Judgement) -> Crossing:
        """Looked up right after it was said: links stay with the alerts, wherever they went."""
        here, there = _keys(judgement.one), _keys((*judgement.same, *judgement.apart))
        links: set[str] = set()
        strongest = 0.0
        for key in here | there:
            alert = self._engine.alerts.get(key)
            situation = None if alert is None else self._engine.situations.get(alert.situation)
            member = None if situation is None else situation.members.get(key)
            if member is None:
                continue
            others = there if key in here else here
            if member.link is not None and member.link.other in others:
                links.update(self._named(member.link))
                strongest = max(strongest, member.link.strength)
            strongest = max([strongest, *(one.strength for one in member.considered if one.other in others)])
        return Crossing(frozenset(links), strongest)

    def _named(self, link: Link) -> Iterator[str]:
        rule = link.rule.partition("@")[0]
        if not link.path[1:]:
            yield rule
        topology = self._engine.topology
        for one, other in zip(link.path, link.path[1:], strict=False):
            relation = topology.relation(one, other) or topology.relation(other, one)
            yield f"{rule} {relation}" if relation else rule

    def past(self) -> Recalled:
        engine = self._engine
        return Recalled(
            settings=engine.settings,
            rules=engine.rule_instances,
            topology=engine.topology,
            snapshot=self._given or _snapshot(engine.topology),
            events=sum(source.events for source in engine.sources.values()),
            first_at=self._first_at,
            last_at=self._last_at,
            who=self._who,
            episodes=self._episodes,
            incidents=self._incidents,
            judgements=self._judgements,
            crossings=self._crossings,
            merged=self._merged,
        )


def _snapshot(topology: Topology) -> Snapshot | None:
    if not topology.version:
        return None
    cis, ties = tuple(topology.cis.values()), tuple(topology.relationships)
    return Snapshot(version=topology.version, cis=cis, relationships=ties)


def _is_about_situations(record: Record) -> bool:
    if record.kind is RecordKind.OPERATOR:
        return msgspec.json.decode(record.body, type=OperatorRecord).judge is not None
    return record.kind is RecordKind.TICKET


def _keys(witnesses: Iterable[Witness]) -> set[str]:
    return {one.fingerprint for one in witnesses}
