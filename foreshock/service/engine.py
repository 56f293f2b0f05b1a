"""The engine: a pure function of (state, records), so that live work, recovery after a crash, and replay are one code.

It reads records in order and keeps everything open in memory. Its results are values: rows for the store, orders for
the sinks, audit rows, dead letters. It knows no clock but the records' own: a timer that falls due between two records
fires at its own moment, before the later record is read, so ticks make it prompt and never change what it decides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from sys import intern
from typing import Any

import msgspec
from msgspec import Struct

from correlation import cause, fold, prioritise, variants
from correlation import ticket as ticket_text
from correlation.bind import Binding, bind
from correlation.budget import Budget
from correlation.clock import NO_SKEW
from correlation.evidence import Known as KnownAnomalies
from correlation.feedback import KeptApart, said_first
from correlation.fold import Outcome
from correlation.group import Placement, place
from correlation.group import number as situation_number
from correlation.identity import Family, Scheme
from correlation.next_step import Decision, Step, hold_back, may_be_held, next_step
from correlation.parts import parts
from correlation.relate import Candidate, Traces, View, grow, link, relate
from correlation.rule import Index, RuleInstance, RuleKind, build, changes, shipped
from correlation.settings import CorrelationSettings, read_recorded
from correlation.structure import why_not_by_itself, why_not_merge, why_not_move, why_not_split
from correlation.suppression.suppression import Suppression
from correlation.usual import Usual
from foreshock.core import identity as fingerprints
from foreshock.core.contracts import (
    AuditRow,
    Collector,
    DeadLetter,
    Ignored,
    Items,
    Order,
    Record,
    RecordKind,
    TicketChange,
    Verb,
)
from foreshock.core.errors import Malformed
from foreshock.core.learned import NOTHING
from foreshock.core.model import (
    Alert,
    Cause,
    Change,
    Considered,
    Decided,
    Ended,
    Event,
    Held,
    Judgement,
    Member,
    Moment,
    Moved,
    Samples,
    Situation,
    SituationState,
    Ticket,
    TicketState,
    Versions,
    encode_texts,
    read_annotations,
    read_labels,
)
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.service import decisions, evidence, feedback, recent, regroup, sources
from foreshock.service.ourselves import OURSELVES, suspension
from foreshock.service.records import LearnedRecord, OperatorRecord, SettingsRecord, TopologyRecord
from foreshock.service.rekey import rekey
from foreshock.service.sharing import Sharing
from foreshock.service.sources import Sender, SourceCount
from foreshock.service.timers import Due, Timers


class Effects(Struct, kw_only=True):
    """What one step over a run of records leads to; the store writes it in one transaction.

    ``situations`` are those that changed visibly, in order of change; ``ended`` has the JSON of an ``Ended`` for each
    of them that is over, taken at the moment of the change: its alerts may move on within the same step.
    ``judgements`` come with the number of their record, ``decisions`` with the situation.
    """

    situations: dict[str, Situation] = msgspec.field(default_factory=dict)
    ended: dict[str, bytes] = msgspec.field(default_factory=dict)
    orders: list[Order] = msgspec.field(default_factory=list)
    audit: list[AuditRow] = msgspec.field(default_factory=list)
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    judgements: list[tuple[int, Judgement]] = msgspec.field(default_factory=list)
    decisions: list[tuple[str, Decided]] = msgspec.field(default_factory=list)


class _Where(Struct, frozen=True):
    """Where an alert belongs, what else was considered, and the rules that went beyond their budget to find out."""

    placement: Placement
    considered: tuple[Considered, ...]
    over: list[str]


class Saved(Struct, frozen=True, kw_only=True):
    """Counters that belong to no alert or situation. fingerprints: the version that alerts are saved with; ahead,
    suspended: the budget of the rules; said_causes: as ``Engine.said_causes``."""

    now: Moment
    situations: int
    orders: int
    judgements: int = 0
    versions: tuple[Versions, ...] = ()
    sources: dict[str, SourceCount]
    heard: dict[str, int]
    counts: dict[str, int]
    fingerprints: int = 1
    ahead: dict[str, int] = {}
    suspended: dict[str, str] = {}
    said_causes: dict[str, int] = {}


class _Was(Struct, frozen=True):
    """What matters of an alert as it was before an event."""

    severity: Severity
    starts_at: datetime
    flaps: int


class _Touched(Struct):
    """What happened to one situation within one record, told in one audit row."""

    joined: int = 0
    fired_again: int = 0
    resolved: int = 0
    ran_out: int = 0
    changed: int = 0
    anomalies: int = 0
    notes: list[str] = []

    def words(self) -> str:
        said = [
            f"{n} {what}"
            for n, what in (
                (self.joined, "joined"),
                (self.fired_again, "fired again"),
                (self.resolved, "resolved"),
                (self.ran_out, "not sent again"),
                (self.changed, "changed"),
            )
            if n
        ]
        if self.anomalies:
            said.append(f"{self.anomalies} metric{'s' if self.anomalies > 1 else ''} as evidence")
        return "; ".join([*([", ".join(said)] if said else []), *self.notes])


_GROWN = 1.5
_WEAK = 4  # candidates down to this part of the threshold are heard: several weak ones may be enough together
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MAX_SPELLINGS = 8  # orders of labels remembered per alert; senders keep to one, so more are no gain
_MAX_ENDS = 1000
_MAX_SENDERS = 10_000
_OUR_FAMILY = Family(OURSELVES.namespace, ())
_CLASH_AFTER = timedelta(minutes=6)  # longer than what is over but was not resolved goes on to fire
_REMEMBERED = timedelta(hours=6)  # what ended is known for so long, so that a new situation can name the previous one


class Engine:
    """State and rules of one partition.

    Args:
        collectors: by kind, to read records of events.
        rules: the rule kinds, by name; until a settings record says otherwise the shipped rules are in force.
    """

    def __init__(self, collectors: Mapping[str, Collector], rules: Mapping[str, RuleKind]) -> None:
        self.collectors = {**collectors, OURSELVES.kind: OURSELVES}
        self.rule_kinds = rules
        self.rule_instances: tuple[RuleInstance, ...] = shipped(rules)
        self.rules = build(self.rule_instances, rules)
        self.budget = Budget()
        self.settings = CorrelationSettings()
        self.sinks: tuple[str, ...] = ()
        self.topology = Topology()
        self.learned = LearnedRecord(learned=NOTHING)
        self.now = _EPOCH
        self.alerts: dict[str, Alert] = {}
        self.known: dict[str, dict[bytes, Alert]] = {}
        """By family, then by the labels' bytes as received: a re-send is found before anything is decoded. What is
        found is the alert, or the one of its variants with those labels."""
        self.situations: dict[str, Situation] = {}
        self.suppression = Suppression(self._known_alert)
        self.versions: list[Versions] = []
        """What was in force since when, the newest last."""
        self.judgements: dict[str, Judgement] = {}
        """What people said and is still to be respected; ``apart`` is made of it."""
        self.apart = KeptApart()
        self.sources: dict[str, SourceCount] = {}
        self.counts: dict[str, int] = dict.fromkeys(
            (
                *Outcome, "ignored", "malformed", "expired", "flapping", "flaps", "clashes",
                "opened", "merged", "split", "moved", "reopened", "anomalies", "anomalies_cut", "changes", "below_cut",
            ),
            0,
        )  # fmt: skip
        self.active = 0
        self.anomalies = KnownAnomalies()
        self.usual = Usual()
        self.changes: dict[str, Change] = {}
        self.said_causes: dict[str, int] = {}
        """By CI: how often people said that it was the cause."""
        self._traces = Traces()
        self._indexes = self._all_indexes()
        self._view = self._new_view()
        self._last_situation = 0
        self._last_order = 0
        self._last_judgement = 0
        self._heard: dict[str, int] = {}
        self._scheme = Scheme()
        self._senders: dict[tuple[str, str], Sender] = {}
        self._timers = Timers(self._expires_at)
        self._affected: dict[str, set[str]] = {}
        self._spellings: dict[str, list[tuple[str, bytes]]] = {}
        self._ends: dict[datetime, datetime] = {}
        self._touched: dict[str, _Touched] = {}
        self._effects = Effects()
        self._record = 0
        self._dirty_alerts: dict[str, None] = {}
        self._dirty_situations: dict[str, None] = {}
        self._dirty: set[tuple[str, str]] = set()

    # ---- the step ----

    def step(self, records: Iterable[tuple[Record, Items | None]]) -> Effects:
        """Read records in order. With each may come its decoded items, if the intake has them still."""
        self._effects = Effects()
        for record, items in records:
            self.advance(record.at)
            self._record = record.number
            if record.kind is RecordKind.EVENTS:
                self._read_events(record, items)
            elif record.kind is RecordKind.TICKET:
                self._read_ticket_change(record)
            elif record.kind is RecordKind.OPERATOR:
                self._read_operator(record)
            elif record.kind is RecordKind.TOPOLOGY:
                self._read_topology(record)
            elif record.kind is RecordKind.SETTINGS:
                self._read_settings(record)
            elif record.kind is RecordKind.ANOMALIES:
                evidence.hear(self, record.body)
            elif record.kind is RecordKind.LEARNED:
                self._read_learned(record)
            if record.kind in _NEW_VERSIONS:
                decisions.note_versions(self)
            if self._touched or self.suppression.waiting:
                self._settle()
        return self._effects

    def advance(self, to: datetime) -> None:
        """Move the clock, firing every timer due by then at its own moment."""
        if to <= self.now:
            return
        self._timers.open(to)
        while (timer := self._timers.pop(to)) is not None:
            moment, due, key = timer
            self.now = max(self.now, moment)
            if due is Due.EXPIRY:
                self._expire(key)
            elif due is Due.FLAP_RELEASE:
                self._release(key)
            elif due is Due.SITUATION:
                situation = self.situations.get(key)
                if situation is not None and situation.state is SituationState.OPEN:  # what is over was told already
                    self._evaluate(situation)
            elif due is Due.SUPPRESSION:
                self._suppression_changed()
            elif due is Due.ANOMALIES:
                evidence.forget(self)
            elif due is Due.CLASH and self._was_seen_at(key, moment - _CLASH_AFTER):
                self._look_for_a_clash(key)
            else:
                self._evict(key)
            if self._touched or self.suppression.waiting:
                self._settle()
        self.now = to

    def next_due(self) -> datetime | None:
        """When the next timer is due, at the earliest; None while there is none. The scheduler appends a tick then."""
        return self._timers.next_due()

    # ---- events ----

    def _read_events(self, record: Record, taken: Items | None) -> None:
        at, counts = record.at, self.counts
        source = sources.hear(self, intern(record.source), record.collector, at)
        collector = self.collectors.get(record.collector)
        if collector is None:  # a record of another version of Foreshock
            self._lose(record, source, -1, Malformed(f"there is no collector named {record.collector!r}"), record.body)
            return
        if taken is None:
            try:
                taken = Items(collector.decode(record.body))
            except Malformed as error:
                self._lose(record, source, -1, error, record.body)
                return
        translate, dirty, repeats = collector.translate, self._dirty_alerts, 0
        sender = self._sender(collector, record.source)
        known, ahead = sender.known, sender.ahead
        there = at + ahead if ahead else at  # what the clock of the source says
        for index, item in enumerate(taken.items):
            try:
                if item.__class__ is Malformed:
                    raise item
                event = translate(item, at)
                if not isinstance(event, Event):
                    self._other(event)
                    continue
                alert = known.get(bytes(event.labels))
                # The common case, a re-send that says nothing new, costs no call beyond this point.
                if (
                    alert is not None
                    and alert.firing
                    and event.ends_at is not None
                    and event.ends_at > there
                    and event.starts_at == alert.dated
                    and not event.severity
                    and bytes(event.annotations) == alert.annotations
                ):
                    alert.count += 1
                    alert.last_seen = at
                    if alert.expires_at != event.ends_at:
                        self._expires(alert, event.ends_at, ahead)
                    dirty[alert.fingerprint] = None
                    repeats += 1
                    continue
                self._fold(alert, event, at, sender, taken.labels.get(index))
            except Malformed as error:
                self._lose(record, source, index, error, getattr(item, "payload", b"") or _text(item))
        counts[Outcome.REPEAT] += repeats
        source.events += len(taken.items)

    def _fold(
        self, unit: Alert | None, event: Event, at: datetime, sender: Sender, labels: dict[str, str] | None
    ) -> None:
        """unit: the alert, or the one of its variants, with these very labels, if they are known."""
        if unit is None:
            if labels is None:
                labels = read_labels(event.labels)
                read_annotations(event.annotations)
            identity = sender.family.key(labels)
            alert = self.alerts.get(identity)
            unit = alert if alert is None or self._scheme.plain else variants.variant_of(alert, labels)
            if unit is None:
                one = fold.first(
                    identity, sender.collector.kind, labels, event, at, sender.expire_after, sender.source, sender.ahead
                )
                sender.known[one.labels] = one
                sources.time_it(self, sender.source, fold.date_of(event), at)
                if alert is None:
                    self._first_seen(one, labels)
                else:
                    self._joined(alert, one, at)
                return
            spellings = self._spellings.setdefault(identity, [])
            if len(spellings) < _MAX_SPELLINGS:
                spelling = bytes(event.labels)
                spellings.append((sender.family.name, spelling))
                sender.known[spelling] = unit
        elif bytes(event.annotations) != unit.annotations:
            read_annotations(event.annotations)
        alert, how = self.alerts[unit.fingerprint], (at, self.settings.fold, sender.expire_after, sender.ahead)
        was, before = _Was(alert.severity, alert.starts_at, alert.flaps), sources.as_it_was(unit)
        outcome = fold.fold(alert, event, *how) if alert is unit else variants.fold_one(alert, unit, event, *how)
        if unit.expires_at is not None and unit.expires_at != before.expires_at:
            expires_at, unit.expires_at = unit.expires_at, before.expires_at
            self._expires(unit, expires_at)
        if outcome is not Outcome.REPEAT:
            sources.learn(self, sender, event, unit, before, at)
        sources.hand_over(self, sender, alert, unit, before)
        self._folded(alert, outcome, was)
        if alert is not unit and unit.firing is not before.firing:
            self._label_sets_changed(alert)

    def _folded(self, alert: Alert, outcome: Outcome, was: _Was) -> None:
        """What an event meant to its alert is what its situation hears."""
        self.counts[outcome] += 1
        self._dirty_alerts[alert.fingerprint] = None
        if alert.situation and (alert.starts_at != was.starts_at or outcome is Outcome.CHANGED):
            self._traces.moved(alert.situation, alert)
            for index in self._indexes:
                index.moved(alert.situation, alert)
        if outcome is Outcome.RESOLVED:
            self._ended(alert, was.flaps)
        elif outcome is Outcome.FIRED_AGAIN:
            self.active += 1
            self.usual.note(alert.fingerprint, cause.name_of(alert.read_labels()), self.now)
            self._fired_again(alert, was.flaps)
        elif outcome is Outcome.CHANGED and alert.situation:
            self._touch(alert.situation).changed += 1
            if alert.severity > was.severity:
                self._weigh(self.situations[alert.situation], alert)
        if alert.active and (alert.starts_at != was.starts_at or alert.severity != was.severity):
            self.suppression.changed(alert)

    def _sender(self, collector: Collector, source: str) -> Sender:
        found = self._senders.get((collector.kind, source))
        if found is None:
            if len(self._senders) >= _MAX_SENDERS:
                self._senders.clear()
            family, known = self._family_of(collector, source), self.sources.get(source)
            found = self._senders[collector.kind, source] = Sender(
                intern(source),
                collector,
                family,
                self.known.setdefault(family.name, {}),
                sources.expire_after(self, source, collector.kind, expires=collector.expires),
                NO_SKEW if known is None or known.clock is None else known.clock.ahead,
            )
        return found

    def _first_seen(self, alert: Alert, labels: Mapping[str, str]) -> None:
        self.counts[Outcome.NEW] += 1
        binding = self._bind(alert, labels)
        alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers
        self.alerts[alert.fingerprint] = alert
        self._dirty_alerts[alert.fingerprint] = None
        if alert.firing:
            self.active += 1
            self.usual.note(alert.fingerprint, cause.name_of(labels), self.now)
            self._set_expiry(alert)
            self.suppression.rose(alert)
            self._place(alert)
        else:
            self._keep_for_a_while(alert)

    def _joined(self, alert: Alert, one: Alert, at: datetime) -> None:
        """A further label set of an alert."""
        was = _Was(alert.severity, alert.starts_at, alert.flaps)
        alert, outcome, gone = variants.join(alert, one, at, self.settings.fold)
        self.alerts[alert.fingerprint] = alert
        if gone is not None:
            self._forget_spellings(gone)
        self._set_expiry(one)
        self._watch_for_clashes(alert)
        self._folded(alert, outcome, was)
        self._label_sets_changed(alert)

    def _label_sets_changed(self, alert: Alert) -> None:
        """Others of its label sets fire than before: what is held for them may be held no longer."""
        self.suppression.forget(alert.fingerprint)
        situation = self._situation_of(alert)
        if situation is not None and situation.held:
            self._evaluate(situation)

    def _set_expiry(self, unit: Alert) -> None:
        expires_at, unit.expires_at = unit.expires_at, None
        if expires_at is not None:
            self._expires(unit, expires_at)

    def family(self, alert: Alert) -> Family:
        """Which identity rules are about it."""
        return self._family_of(self.collectors.get(alert.source, OURSELVES), alert.origin)

    def _family_of(self, collector: Collector, source: str) -> Family:
        if collector is OURSELVES:  # which are no business of anybody's rules
            return _OUR_FAMILY
        return self._scheme.family(collector.namespace, collector.kind, source)

    def identity(self, collector: Collector, source: str, labels: Mapping[str, str]) -> str:
        """Fingerprint of the alert that these labels from that source belong to."""
        return self._family_of(collector, source).key(labels)

    def known_to(self, collector: Collector, source: str) -> Mapping[bytes, Alert]:
        """What was received from that source, or one like it, by the labels' bytes."""
        return self.known.get(self._family_of(collector, source).name, {})

    def _bind(self, alert: Alert, labels: Mapping[str, str]) -> Binding:
        """By the labels that identify before all others: what may change from one label set to the next must not move
        an alert from CI to CI."""
        identifying = labels if self._scheme.plain else self.family(alert).identifying(labels)
        binding = bind(identifying, self.topology, self.settings.bind)
        if binding.ci or identifying is labels:
            return binding
        return bind(labels, self.topology, self.settings.bind)

    def _look_for_a_clash(self, key: str) -> None:
        """Two label sets of one alert are about different CIs, and both still fire: the identity rules are too coarse.
        What binds all of them alike is no clash."""
        alert = self.alerts.get(key)
        if alert is None or alert.variants is None or alert.clashes:
            return
        family = self.family(alert)
        if bind(family.identifying(alert.read_labels()), self.topology, self.settings.bind).ci:
            return
        found = variants.clash(
            alert,
            family,
            lambda labels: bind(labels, self.topology, self.settings.bind),
            seen_by=self.now - _CLASH_AFTER,
        )
        source = self.sources.get(alert.origin)
        if not found or source is None:
            return
        alert.clashes = True
        self._dirty_alerts[key] = None
        self.counts["clashes"] += 1
        source.clashes += 1
        source.clash = found
        if source.clashes == 1:
            self._say("source", alert.origin, "clash", found)

    def _was_seen_at(self, key: str, first_seen: datetime) -> bool:
        """Whether a timer is about a label set that is still there."""
        alert = self.alerts.get(key)
        return alert is not None and any(unit.first_seen == first_seen for unit in variants.units(alert))

    def _watch_for_clashes(self, alert: Alert) -> None:
        """Note when each of its label sets has fired for long enough."""
        for unit in variants.units(alert) if alert.variants is not None and not alert.clashes else ():
            if unit.first_seen + _CLASH_AFTER > self.now:
                self._timers.at(unit.first_seen + _CLASH_AFTER, Due.CLASH, alert.fingerprint)

    def _other(self, item: Change | Samples | Ignored) -> None:
        if isinstance(item, Change):
            recent.hear(self, item)
        else:
            self.counts["ignored"] += 1

    def _lose(self, record: Record, source: SourceCount, index: int, error: Malformed, payload: bytes) -> None:
        self.counts["malformed"] += 1
        source.rejected += 1
        source.last_error = str(error)[:500]
        self._effects.dead_letters.append(
            DeadLetter(
                record=record.number,
                item=index,
                at=record.at,
                source=record.source,
                error=str(error)[:2000],
                payload=payload[:65536],
            )
        )

    # ---- alerts in time ----

    def _expires(self, alert: Alert, expires_at: datetime, ahead: timedelta = NO_SKEW) -> None:
        """Set when the alert is over by itself. It stands in one bucket; a later end is seen when that bucket is
        opened. ahead: of the clock that says so."""
        was = alert.expires_at
        expires_at = fold.in_our_time(expires_at, ahead)
        # Alerts of one batch mostly end at one moment: they share one value.
        if len(self._ends) > _MAX_ENDS:
            self._ends.clear()
        alert.expires_at = expires_at = self._ends.setdefault(expires_at, expires_at)
        if was is None or expires_at < was:
            self._timers.expiry(alert.fingerprint, expires_at)

    def _expires_at(self, key: str) -> datetime | None:
        alert = self.alerts.get(key)
        return None if alert is None else variants.due(alert)

    def _expire(self, key: str) -> None:
        alert = self.alerts.get(key)
        due = None if alert is None else variants.due(alert)
        if alert is None or due is None:
            return
        if due > self.now:  # sent again in between
            self._timers.expiry(key, due)
            return
        was_flaps, held = alert.flaps, due - variants.whole(alert).last_seen
        over = variants.expire(alert, self.now, self.settings.fold)
        if alert.variants is not None:
            self.suppression.forget(key)
        self._dirty_alerts[key] = None
        if over:
            sources.ran_out(self, alert, held)
            self._ended(alert, was_flaps)
        elif (due := variants.due(alert)) is not None:
            self._timers.expiry(key, due)

    def _ended(self, alert: Alert, was_flaps: int) -> None:
        self.active -= 1
        if self._flaps_on(alert, was_flaps):
            return
        if alert.situation:
            touched = self._touch(alert.situation)
            touched.resolved += not alert.expired
            touched.ran_out += alert.expired
        else:
            self._keep_for_a_while(alert)
        if not alert.expired:
            self.suppression.ended(alert, self.now, by_itself=not self._taken_on(alert))
        if not alert.active:
            self.suppression.fell(alert)
        self._begins_to_flap(alert)

    def _taken_on(self, alert: Alert) -> bool:
        """Whether a person has to do with it: what then ends did not end by itself."""
        situation = self._situation_of(alert)
        tickets = () if situation is None else situation.tickets.values()
        return any(ticket.assignee or ticket.closed_by or ticket.kept_open_by for ticket in tickets)

    def _flaps_on(self, alert: Alert, was_flaps: int) -> bool:
        """Whether a change is one that nobody needs to hear of: how flapping begins and how it settles is told, what
        lies between is counted."""
        self.counts["flaps"] += was_flaps > 0
        return was_flaps > 0

    def _begins_to_flap(self, alert: Alert) -> None:
        if alert.held_until is not None:
            self.counts["flapping"] += 1
            self._timers.at(alert.held_until, Due.FLAP_RELEASE, alert.fingerprint)
            self._tell(alert, ticket_text.flapping(alert, self.settings.fold))

    def _tell(self, alert: Alert, text: str) -> None:
        """Something that the ticket of the alert's situation should say, once."""
        situation = self._situation_of(alert)
        if situation is not None:
            self._touch(situation.id).notes.append(text)
            ticket_text.tell(situation, text)

    def _release(self, key: str) -> None:
        """A flapping alert has kept still for long enough."""
        alert = self.alerts.get(key)
        if alert is None or alert.held_until is None:
            return
        if alert.held_until > self.now:  # it changed again in between
            self._timers.at(alert.held_until, Due.FLAP_RELEASE, key)
            return
        self._tell(alert, ticket_text.settled(alert, fold.settle(alert)))
        self._dirty_alerts[key] = None
        if not alert.active:
            self.suppression.fell(alert)
            if not alert.situation:
                self._keep_for_a_while(alert)

    def _keep_for_a_while(self, alert: Alert) -> None:
        self._timers.at(self._forget_at(alert), Due.EVICTION, alert.fingerprint)

    def _forget_at(self, alert: Alert) -> datetime:
        """When an alert that is over is forgotten: later if it had a situation, so that the next one can name it."""
        over_at = alert.last_seen if alert.ends_at is None else max(alert.last_seen, alert.ends_at)
        reopen = self.settings.group.reopen
        return over_at + (max(reopen, _REMEMBERED) if alert.situation else reopen)

    def _gone_at(self, situation: Situation) -> datetime:
        """When a situation that is over can no longer be reopened."""
        return (situation.resolved_at or situation.updated_at) + self.settings.group.reopen

    def _evict(self, key: str) -> None:
        """Forget an alert that is over and belongs to no situation we still hold, or a situation past its reopening
        time."""
        if key.startswith("J-"):
            feedback.lapse(self, key)
            return
        if key.startswith("S-"):
            situation = self.situations.get(key)
            if situation is None or situation.state is SituationState.OPEN:
                return
            if self.now < (due := self._gone_at(situation)):  # reopened in between, or the settings changed
                self._timers.at(due, Due.EVICTION, key)
                return
            del self.situations[key]
            self._affected.pop(key, None)
            self._dirty_situations[key] = None
            for member in situation.members:
                alert = self.alerts.get(member)
                if alert is not None and alert.situation == key and not alert.active:
                    self._keep_for_a_while(alert)
            return
        alert = self.alerts.get(key)
        if alert is None or alert.active or alert.situation in self.situations:
            return
        if self.now < (due := self._forget_at(alert)):
            self._timers.at(due, Due.EVICTION, key)
        else:
            self._forget(alert)

    def _forget(self, alert: Alert) -> None:
        del self.alerts[alert.fingerprint]
        self.suppression.forget(alert.fingerprint)
        self._dirty_alerts[alert.fingerprint] = None
        for unit in variants.units(alert):
            self._forget_spellings(unit)
        self._spellings.pop(alert.fingerprint, None)

    def _forget_spellings(self, unit: Alert) -> None:
        """Its labels are known no more, however they are written."""
        spellings = self._spellings.get(unit.fingerprint, [])
        for family, spelling in ((self.family(unit).name, unit.labels), *spellings):
            known = self.known.get(family, {})
            if known.get(spelling) is unit:
                del known[spelling]
                if (family, spelling) in spellings:
                    spellings.remove((family, spelling))

    def _known_alert(self, fingerprint: str) -> Alert | None:
        return self.alerts.get(fingerprint)

    # ---- situations ----

    def _place(self, alert: Alert) -> None:
        self._settle_in(alert, self._where(alert))

    def _where(self, alert: Alert) -> _Where:
        candidates, over = self._relate(alert)
        placement = place(
            feedback.allowed(self, alert, candidates) if self.apart else candidates,
            self.situations,
            self.now,
            self.settings.group,
            self.learned.learned.curves,
        )
        return _Where(placement, decisions.considered(self, alert, candidates, placement), over)

    def _settle_in(self, alert: Alert, where: _Where) -> None:
        placement, considered = where.placement, where.considered
        if placement.join is None:
            self._open(alert, considered)
        else:
            situation = self.situations[placement.join.situation]
            known = self._traces.of[situation.id].cis
            fresh = any(ci not in known for ci in (alert.ci, *alert.peers) if ci)
            self._join(situation, alert, self._member(alert, placement.join, considered))
            for loser in placement.merge:
                self._merge(situation, self.situations[loser], "one alert explains both")
            self._grown(situation, placement.near if fresh else ())
        for rule in self.rules:
            if rule.memory is not None:
                rule.memory.learn(alert.situation, alert, self.now)
                self._dirty.add(("rule", rule.tag))
        self._suspend(where.over)

    def _suspend(self, over: Iterable[str]) -> None:
        for tag in over:
            reason = self.budget.suspended[tag]
            self._say("rule", tag, "suspended", reason)
            self._report(suspension(tag), f"The rule {tag} is suspended: {reason}. Narrow it, then load it again.")

    def _relate(self, alert: Alert) -> tuple[list[Candidate], list[str]]:
        """What the rules say of it, and the rules that went beyond their budget with it: they are not asked again."""
        view, suspended = self._view, self.budget.suspended
        view.now = self.now
        asked = [rule for rule in self.rules if rule.tag not in suspended] if suspended else self.rules
        found = relate(alert, asked, view)
        spent, view.spent = view.spent, {}
        self.counts["below_cut"] += view.cut
        view.cut = 0
        return found, self.budget.charge(spent, self.settings.relate.budget)

    def _report(self, labels: Mapping[str, str], summary: str) -> None:
        """Something about ourselves that a person must see, as an alert like any other; over when there is nothing to
        say."""
        event = Event(
            labels=encode_texts(labels),
            annotations=encode_texts({"summary": summary}),
            starts_at=self.now if summary else None,
            ends_at=None if summary else self.now,
        )
        sender = self._sender(OURSELVES, OURSELVES.kind)
        self._fold(sender.known.get(bytes(event.labels)), event, self.now, sender, None)

    def _member(self, alert: Alert, join: Candidate, considered: tuple[Considered, ...]) -> Member:
        why = link(alert, join, self.alerts[join.other], self.topology)
        return Member(joined_at=self.now, link=why, considered=considered)

    def _grown(self, situation: Situation, near: Sequence[str]) -> None:
        """A situation has taken an alert: is it one with a situation nearby, or has a new wave begun in it?"""
        now_s = self.now.timestamp()
        for id in near:
            other = self.situations[id]
            if other.state is not SituationState.OPEN:  # merged a moment ago
                continue
            akin = self._view.akin(situation.id, id, now_s)
            if akin >= self.settings.group.merge:
                winner, loser = sorted((situation, other), key=lambda each: situation_number(each.id))
                self._merge(winner, loser, f"{akin:.0%} of their surroundings are the same")
                situation = winner if loser.state is SituationState.MERGED else situation
        self._examine(situation)
        wave = self._traces.wave(situation, self.settings.group.wave)
        if wave and not why_not_by_itself(situation) and not why_not_split(situation, wave):
            how = Moved(at=self.now, source=situation.id, reason=f"{len(wave)} alerts began at once: a new wave")
            situation.superseded_by = regroup.split(self, situation, wave, how).id

    def _examine(self, situation: Situation) -> None:
        """Is it still one place? Asked again whenever it has grown by half."""
        settings = self.settings.group
        cis = self._traces.of[situation.id].cis
        if len(cis) < max(2 * settings.part_cis, _GROWN * situation.examined_cis) or not settings.part:
            return
        situation.examined_cis = len(cis)
        if why_not_by_itself(situation):
            return
        members = self.members(situation)
        ties = [(alert.ci, peer) for alert in members for peer in alert.peers if alert.ci]
        found = parts(list(cis), self._view.surroundings, ties, settings.part)
        large = [part for part in found if len(part) >= settings.part_cis]
        stays = next((part for part in large if situation.first_ci in part), max(large, key=len, default=[]))
        for part in large:
            if part is stays:
                continue
            here = set(part)
            leaving = [alert.fingerprint for alert in members if alert.ci in here]
            if not leaving or why_not_split(situation, leaving):
                continue
            how = Moved(
                at=self.now, source=situation.id, reason=f"{len(part)} CIs have hardly anything to do with the others"
            )
            regroup.split(self, situation, leaving, how).examined_cis = len(part)

    def _open(self, alert: Alert, considered: tuple[Considered, ...]) -> None:
        situation = self._new_situation(alert)
        situation.previous = alert.situation
        self._join(situation, alert, Member(joined_at=self.now, considered=considered))

    def _new_situation(self, first: Alert) -> Situation:
        """An empty one, to be named after its first alert."""
        self._last_situation += 1
        self.counts["opened"] += 1
        now = self.now
        situation = Situation(
            id=f"S-{self._last_situation}",
            opened_at=now,
            onset=first.starts_at,
            updated_at=now,
            last_joined_at=now,
            first_ci=first.ci,
            title=ticket_text.title(first),
            members={},
            tickets={},
            version=0,
        )
        self.situations[situation.id] = situation
        return situation

    def _join(self, situation: Situation, alert: Alert, member: Member) -> None:
        situation.members[alert.fingerprint] = member
        grow(situation, self.now)
        if alert.starts_at < situation.onset:
            situation.onset = alert.starts_at
        situation.cleared_at = None
        alert.situation = situation.id
        self._index(situation, alert)
        self._touch(situation.id).joined += 1
        self._weigh(situation, alert)

    def _weigh(self, situation: Situation, alert: Alert) -> None:
        """Priority only rises by itself: what was once that urgent is lowered by people, not by a flapping source."""
        before = situation.priority
        self._add_weight(situation, alert)
        if situation.priority < before and situation.version:
            self._touch(situation.id).notes.append(f"priority rose from {before} to {situation.priority}")

    def _add_weight(self, situation: Situation, alert: Alert) -> None:
        settings = self.settings.priority
        if alert.severity > situation.severity:
            situation.severity = alert.severity
        affected = self._affected.setdefault(situation.id, set())
        if alert.ci and alert.ci not in affected:
            affected.add(alert.ci)
            evidence.attach_known(self, situation, alert.ci)
            services = self.topology.services(alert.ci)  # most critical first
            criticality = self.topology.cis[services[0]].criticality if services else 0
            if criticality and (not situation.criticality or criticality < situation.criticality):
                situation.criticality = criticality
        situation.impact = min(situation.impact, prioritise.impact(situation.criticality, len(affected), settings))
        situation.urgency = min(situation.urgency, prioritise.urgency(situation.severity))
        situation.priority = prioritise.priority(situation.impact, situation.urgency, settings)

    def services(self, situation: Situation) -> tuple[str, ...]:
        """Business services that depend on an affected CI, most critical first, bounded; as they were where it has
        ended."""
        if situation.state is not SituationState.OPEN:
            return situation.services
        topology = self.topology
        found = {service for alert in self.members(situation) for service in topology.services(alert.ci)}
        return tuple(sorted(found, key=lambda id: (topology.cis[id].criticality, id))[: Topology.MAX_SERVICES])

    def members(self, situation: Situation) -> list[Alert]:
        """Its alerts in order of joining."""
        return [variants.whole(self.alerts[member]) for member in situation.members if member in self.alerts]

    def _fired_again(self, alert: Alert, was_flaps: int) -> None:
        if not self._flaps_on(alert, was_flaps):
            self.suppression.rose(alert)
            self._goes_on(alert)
            self._begins_to_flap(alert)
        elif alert.situation:
            self._weigh(self.situations[alert.situation], alert)

    def _goes_on(self, alert: Alert) -> None:
        """In its situation, which is reopened explicitly within the reopening time; else in a new one that names the
        old. Where a new wave has begun since, or another problem explains it by now, it goes there."""
        situation = self._situation_of(alert)
        if situation is None:
            self._place(alert)
        elif situation.state is SituationState.OPEN:
            self._touch(situation.id).fired_again += 1
            if not situation.superseded_by or not self._follows(situation, alert):
                situation.cleared_at = None
                self._weigh(situation, alert)
                self._rejoin(situation, alert)
        elif not self._may_reopen(situation, alert):
            self._place(alert)
        elif (where := self._where(alert)).placement.join is not None:
            self._settle_in(alert, where)
        else:
            self._reopen(situation, alert)
            self._suspend(where.over)

    def _follows(self, situation: Situation, alert: Alert) -> bool:
        """It went over to the wave that has followed its situation."""
        where = self._where(alert)
        self._suspend(where.over)
        join = where.placement.join
        if join is None or join.situation == situation.id or why_not_by_itself(situation):
            return False
        target = self.situations[join.situation]
        if why_not_move(situation, (alert.fingerprint,), target, self.settings.group):
            return False
        situation.members[alert.fingerprint] = self._member(alert, join, where.considered)
        grow(target, self.now)
        how = Moved(at=self.now, source=situation.id, reason="it fired again in the wave that followed")
        regroup.move(self, situation, (alert.fingerprint,), target, how)
        return True

    def _may_reopen(self, situation: Situation, alert: Alert) -> bool:
        return (
            situation.resolved_at is not None
            and self.now - situation.resolved_at < self.settings.group.reopen
            and not situation.superseded_by
            and not self.apart.between(alert, situation, self._affected[situation.id])
        )

    def _reopen(self, situation: Situation, alert: Alert) -> None:
        situation.state = SituationState.OPEN
        situation.resolved_at = None
        situation.cleared_at = None
        situation.reopened += 1
        self.counts["reopened"] += 1
        for member in self.members(situation):
            if member.situation != situation.id:  # it went on elsewhere in the meantime
                del situation.members[member.fingerprint]
                self._affected[situation.id] = {each.ci for each in self.members(situation) if each.ci}
        for member in self.members(situation):
            self._index(situation, member)
        touched = self._touch(situation.id)
        touched.fired_again += 1
        touched.notes.append("reopened")
        self._weigh(situation, alert)
        self._rejoin(situation, alert)

    def _rejoin(self, situation: Situation, alert: Alert) -> None:
        """It fired again in its situation, which is as good as if it joined now."""
        member = situation.members.pop(alert.fingerprint)
        situation.members[alert.fingerprint] = msgspec.structs.replace(member, joined_at=self.now)
        grow(situation, self.now)
        self._index(situation, alert)
        self._grown(situation, ())

    def _situation_of(self, alert: Alert) -> Situation | None:
        situation = self.situations.get(alert.situation)
        while situation is not None and situation.merged_into:
            situation = self.situations.get(situation.merged_into)
        return situation

    def _merge(self, winner: Situation, loser: Situation, reason: str) -> None:
        """Both have shown to be one problem; what a person said of them weighs more."""
        if (
            why_not_by_itself(winner, loser)
            or why_not_merge(winner, loser, self.settings.group)
            or feedback.kept_apart(self, winner, loser)
        ):
            return
        regroup.merge(self, winner, loser, Moved(at=self.now, source=loser.id, reason=reason))

    def _touch(self, id: str) -> _Touched:
        touched = self._touched.get(id)
        if touched is None:
            touched = self._touched[id] = _Touched(notes=[])
        return touched

    def _settle(self) -> None:
        """After one record or timer: version, audit and the next ticket step of each situation it touched."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for id, what in touched.items():
                situation = self.situations.get(id)
                if situation is None:
                    continue
                opened = situation.version == 0
                situation.version += 1
                situation.updated_at = self.now
                self._say(
                    "situation",
                    id,
                    "opened" if opened else "merged" if situation.merged_into else "changed",
                    what.words(),
                )
                self._evaluate(situation)
        for released in self.suppression.released():
            alert = self._known_alert(released)
            situation = None if alert is None else self._situation_of(alert)
            if situation is not None and situation.held:
                self._evaluate(situation)

    def _evaluate(self, situation: Situation) -> None:
        """Clear, resolve, and tell the sinks, as far as it is time."""
        if situation.state is SituationState.OPEN:
            self._look_for_the_end(situation)
        held: tuple[Held, ...] = ()
        for sink, decision, holds in self.decisions(situation):
            held = holds or held
            decisions.note_step(self, situation, sink, decision)
            if decision.again_at is not None:
                self._timers.look_at(situation.id, decision.again_at)
            if decision.step in _VERBS:
                self._order(situation, sink, _VERBS[decision.step], decision)
        self._note_held(situation, held)
        self._effects.situations[situation.id] = situation
        self._effects.ended.pop(situation.id, None)
        if situation.state is not SituationState.OPEN:
            self._effects.ended[situation.id] = self.encode(situation)
        self._dirty_situations[situation.id] = None

    def encode(self, situation: Situation) -> bytes:
        """The situation with its alerts as they are now, as JSON of an ``Ended``."""
        return msgspec.json.encode(Ended(situation=situation, alerts=tuple(self.members(situation))))

    def _look_for_the_end(self, situation: Situation) -> None:
        if any(self.alerts[member].active for member in reversed(situation.members) if member in self.alerts):
            situation.cleared_at = None
            return
        due = (situation.cleared_at or self.now) + self.settings.group.quiet
        if situation.cleared_at is None:
            situation.cleared_at = self.now
            quiet = Decided(at=self.now, sink="", step="quiet", reason="no alert is active", until=due)
            self._effects.decisions.append((situation.id, quiet))
        if self.now < due:
            self._timers.look_at(situation.id, due)
            return
        members = self.members(situation)
        if ran_out := sum(alert.expired for alert in members):
            ticket_text.tell(situation, ticket_text.unsaid(ran_out, len(members)))
        self._conclude(situation)
        situation.state = SituationState.RESOLVED
        situation.resolved_at = self.now
        situation.version += 1
        situation.updated_at = self.now
        self._unindex(situation, members)
        self._say("situation", situation.id, "resolved", f"quiet since {situation.cleared_at:%Y-%m-%d %H:%M:%S} UTC")
        self._timers.at(self.now + self.settings.group.reopen, Due.EVICTION, situation.id)

    def decisions(self, situation: Situation) -> Iterator[tuple[str, Decision, tuple[Held, ...]]]:
        """For each sink what it should hear now, with the reasons if suppression holds that back."""
        holds: tuple[Held, ...] | None = None
        for sink in self.sinks:
            ticket = situation.tickets.get(sink)
            decision = next_step(situation, ticket, self.now, self.settings.ticket)
            if may_be_held(decision, situation, ticket):
                holds = self.holds(situation) if holds is None else holds
                decision = hold_back(decision, situation, ticket, holds)
            yield sink, decision, (holds or ()) if decision.step is Step.HOLD else ()

    def holds(self, situation: Situation) -> tuple[Held, ...]:
        """What suppresses every active alert of the situation now, whether or not a ticket write is due; empty if one
        alert may disturb."""
        return self.suppression.holds(situation, self.members(situation), self.now)

    def _note_held(self, situation: Situation, held: tuple[Held, ...]) -> None:
        """What is not done is data too: told when it begins, ends, or has another reason."""
        before, situation.held = situation.held, held
        if [(one.kind, one.id) for one in before] != [(one.kind, one.id) for one in held]:
            self._say("situation", situation.id, "held" if held else "no longer held", situation.held_by)

    # ---- tickets ----

    def _order(self, situation: Situation, sink: str, verb: Verb, decision: Decision) -> None:
        self._last_order += 1
        ticket = situation.tickets.get(sink) or Ticket(sink=sink)
        self._conclude(situation)
        situation.assignment_group = ticket_text.assignment_group(
            situation.causes, self.topology, self.settings.priority.default_group
        )
        members = self.members(situation)
        situation.tickets[sink] = msgspec.structs.replace(
            ticket,
            open=verb is not Verb.RESOLVE,
            kept_open_by="",
            priority=situation.priority,
            version=situation.version,
            written_at=self.now,
            state=TicketState.PLANNED if verb is Verb.OPEN else ticket.state,
        )
        self._effects.orders.append(
            Order(
                id=f"{situation.id}/{sink}/{self._last_order}",
                sink=sink,
                situation=situation.id,
                key=situation.id,
                verb=verb,
                version=situation.version,
                at=self.now,
                fields=ticket_text.fields(situation, members),
                note=ticket_text.note(situation, members, decision.step, decision.reason, ticket.version),
                url=f"/incidents/{situation.id}",
            )
        )
        self._say("ticket", situation.id, verb.value, f"{sink}: {decision.reason}")

    def causes(self, situation: Situation) -> tuple[Cause, ...]:
        """Its ranked causes now; those it ended with where it has ended."""
        if situation.state is not SituationState.OPEN:
            return situation.causes
        ranked = cause.rank(
            self.members(situation),
            self.topology,
            settings=self.settings.cause,
            binding=self.settings.bind,
            timing=self.settings.relate,
            usual=self.usual,
            anomalies=[each.anomaly for each in situation.evidence],
            changes=self.changes.values(),
            said=self._said_before(situation),
            first_so_far=situation.causes[0].ci if situation.causes else "",
        )
        return said_first(ranked, situation)

    def _said_before(self, situation: Situation) -> Mapping[str, int]:
        """By CI: how often people said of other situations that it was the cause."""
        ci = situation.cause_said
        return {**self.said_causes, ci: self.said_causes.get(ci, 1) - 1} if ci else self.said_causes

    def doubt(self, causes: Sequence[Cause]) -> str:
        """Why the first of ``causes`` should not be named as the cause, in words; empty where it should."""
        return cause.doubt(causes, self.settings.cause)

    def _conclude(self, situation: Situation) -> None:
        """Write down what is otherwise worked out when somebody asks: for a ticket, or for good."""
        situation.causes, situation.services = self.causes(situation), self.services(situation)
        situation.cause_doubt = self.doubt(situation.causes)

    def _read_ticket_change(self, record: Record) -> None:
        change = msgspec.json.decode(record.body, type=TicketChange)
        situation = self.situations.get(change.situation)
        ticket = situation.tickets.get(change.sink) if situation is not None else None
        if change.origin == "read":
            if change.sequence <= self._heard.get(change.sink, 0):
                return
            self._heard[change.sink] = change.sequence
        elif ticket is None or change.sequence <= ticket.heard:
            return
        detail = " ".join(filter(None, (change.sink, change.number, change.comment)))
        self._say("ticket", change.situation, change.state, detail, actor=change.actor)
        if situation is None or ticket is None:  # not one that we asked for: nothing to keep in step
            return
        told: dict[str, Any] = {"number": change.number or ticket.number, "url": change.url or ticket.url}
        if change.origin == "write":
            told["heard"] = change.sequence
        if change.state == "confirmed":
            told["state"] = TicketState.CONFIRMED
        elif change.state == "rejected":
            told["state"] = TicketState.REJECTED
        elif change.state == "taken":
            told["assignee"] = change.actor
        elif change.state in ("resolved", "closed"):
            told |= {"open": False, "closed_by": change.actor or "a person", "kept_open_by": ""}
        elif change.state == "reopened":
            over = situation.state is not SituationState.OPEN
            told |= {"open": True, "closed_by": "", "kept_open_by": (change.actor or "a person") if over else ""}
        situation.tickets[change.sink] = msgspec.structs.replace(ticket, **told)
        self._evaluate(situation)

    # ---- silences, topology, settings ----

    def _read_operator(self, record: Record) -> None:
        done = msgspec.json.decode(record.body, type=OperatorRecord)
        if done.judge is not None:
            feedback.judge(self, done.judge, record)
            return
        if done.set_silence is not None:
            silence = done.set_silence
            matchers = self.suppression.set_silence(silence)
            detail = f"{{{matchers}}} until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC: {silence.comment}"
            self._say("silence", silence.id, "set", detail, actor=record.actor)
        if done.expire_silence and self.suppression.end_silence(done.expire_silence, self.now):
            self._say("silence", done.expire_silence, "expired", actor=record.actor)
        if done.set_window is not None:
            detail = self.suppression.set_window(done.set_window)
            self._say("maintenance", done.set_window.id, "set", detail, actor=record.actor)
        if done.end_window and self.suppression.end_window(done.end_window, self.now, only_running=done.only_running):
            what = "this once" if done.only_running else ""
            self._say("maintenance", done.end_window, "ended", what, actor=record.actor)
        self._suppression_changed()

    def _suppression_changed(self) -> None:
        """A silence or a window was set, began or ended: what was held for any reason is looked at again."""
        self.suppression.forget_the_past(self.now)
        next_change = self.suppression.next_change(self.now)
        if next_change is not None:
            self._timers.at(next_change, Due.SUPPRESSION, "")
        self._evaluate_held()

    def _evaluate_held(self) -> None:
        for situation in list(self.situations.values()):
            if situation.held:
                self._evaluate(situation)

    def _read_topology(self, record: Record) -> None:
        read = msgspec.json.decode(record.body, type=TopologyRecord)
        self._use_topology(read)
        self._dirty.add(("topology", ""))
        self._say(
            "topology",
            read.version,
            "loaded",
            f"{len(read.cis)} CIs, {len(read.relationships)} relationships",
            actor=record.actor,
        )
        for alert in self.alerts.values():
            binding = self._bind(alert, alert.read_labels())
            if (binding.ci, binding.how, binding.peers) != (alert.ci, alert.bound_by, alert.peers):
                alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers
                self._dirty_alerts[alert.fingerprint] = None
        self._rebuild_traces()
        for situation in list(self.situations.values()):
            if situation.state is SituationState.OPEN:
                self._affected[situation.id] = set()  # so that the services of the new topology are counted
                self._dirty_situations[situation.id] = None
                for alert in self.members(situation):
                    self._weigh(situation, alert)
        self._use_suppression()
        self._evaluate_held()

    def _use_suppression(self) -> None:
        self.suppression.use(self.settings, self.topology, self.alerts.values())

    def _use_topology(self, read: TopologyRecord) -> None:
        relate_settings = self.settings.relate
        self.topology = Topology(
            read.cis,
            read.relationships,
            version=read.version,
            costs=relate_settings.costs,
            max_cost=relate_settings.max_cost,
        )

    def _new_view(self) -> View:
        threshold = self.settings.group.threshold / _WEAK
        return View(self._traces, self.topology, self.settings.relate, threshold, self.alerts)

    def _build_rules(self, learned: Mapping[str, bytes]) -> None:
        self.rules = build(self.rule_instances, self.rule_kinds, self.learned.learned)
        for rule in self.rules:
            if rule.memory is not None and rule.tag in learned:
                rule.memory.load(learned[rule.tag])
        self._dirty |= {("rule", tag) for tag in learned.keys() - {rule.tag for rule in self.rules}}

    def _all_indexes(self) -> tuple[Index, ...]:
        """Indexes of their own that rules keep."""
        return tuple(rule.index for rule in self.rules if rule.index is not None)

    def _index(self, situation: Situation, alert: Alert) -> None:
        self._traces.add(situation, alert)
        for index in self._indexes:
            index.add(situation.id, alert)

    def _unindex(self, situation: Situation, alerts: Sequence[Alert]) -> None:
        """With all its alerts."""
        self._traces.drop(situation.id, alerts)
        for index in self._indexes:
            index.drop(situation.id, alerts)

    def _rebuild_traces(self) -> None:
        self._traces, self._affected = Traces(self.topology), {}
        self._build_rules({rule.tag: rule.memory.save() for rule in self.rules if rule.memory is not None})
        self._indexes = self._all_indexes()
        self._view = self._new_view()
        for situation in sorted(self.situations.values(), key=lambda s: situation_number(s.id)):
            members = self.members(situation)
            self._affected[situation.id] = {alert.ci for alert in members if alert.ci}
            if situation.state is SituationState.OPEN:
                for alert in members:
                    self._index(situation, alert)

    def _read_learned(self, record: Record) -> None:
        self.learned = msgspec.json.decode(record.body, type=LearnedRecord)
        self._rebuild_traces()
        self._dirty.add(("learned", ""))
        learned, pinned = self.learned.learned, self.learned.pinned
        detail = f"{len(learned.pairs)} pairs, {len(learned.curves)} calibrated rules{', pinned' if pinned else ''}"
        self._say("learned", learned.version or "nothing", "in force", detail, actor=record.actor)

    def _read_settings(self, record: Record) -> None:
        read = msgspec.json.decode(record.body, type=SettingsRecord)
        reopen, before = self.settings.group.reopen, self.settings.fold
        rules = self.rules
        unknown = self._use_settings(read)
        for rule, what in changes(rules, self.rules, self.rule_instances):
            self._say("rule", rule, what, actor=record.actor)
        for tag in self.budget.reset():
            self._say("rule", tag, "tried again", actor=record.actor)
            self._report(suspension(tag), "")
        if self.settings.group.reopen < reopen:
            self._watch_what_is_over()
        self._dirty.add(("settings", ""))
        ignored = f"ignored, as this version does not know them: {', '.join(unknown)}" if unknown else ""
        self._say("settings", "correlation", "loaded", ignored, actor=record.actor)
        if self.settings.fold.identity != before.identity:
            self._say("settings", "identity", "re-keyed", rekey(self), actor=record.actor)
        self._use_suppression()
        if self.settings.fold != before:
            sources.correct_all(self)
        for situation in list(self.situations.values()):
            if situation.state is SituationState.OPEN:
                self._evaluate(situation)

    def _use_settings(self, read: SettingsRecord) -> tuple[str, ...]:
        """The keys in it that another version of Foreshock knew."""
        before, rules_before = self.settings.relate, self.rule_instances
        self.settings, unknown = read_recorded(read.correlation)
        self._scheme, self._senders = Scheme(self.settings.fold.identity), {}
        self.sinks = read.sinks
        self.rule_instances = shipped(self.rule_kinds) if read.rules is None else read.rules
        after = self.settings.relate
        if (before.costs, before.max_cost) != (after.costs, after.max_cost):
            self._use_topology(self.topology_record())
            self._rebuild_traces()
        elif self.rule_instances != rules_before:
            self._rebuild_traces()
        self._view = self._new_view()
        return unknown

    def settings_record(self) -> SettingsRecord:
        correlation = self.settings.model_dump(mode="json")
        return SettingsRecord(correlation=correlation, sinks=self.sinks, rules=self.rule_instances)

    def topology_record(self) -> TopologyRecord:
        return TopologyRecord(
            version=self.topology.version,
            cis=tuple(self.topology.cis.values()),
            relationships=self.topology.relationships,
        )

    def _say(self, kind: str, subject: str, action: str, detail: str = "", *, actor: str = "foreshock") -> None:
        self._effects.audit.append(
            AuditRow(
                record=self._record,
                at=self.now,
                actor=actor or "foreshock",
                kind=kind,
                subject=subject,
                action=action,
                detail=detail,
            )
        )

    # ---- saving and restoring ----

    def checkpoint(self) -> Iterator[tuple[str, str, bytes | None]]:
        """What changed since ``saved`` was last called, as (kind, key, bytes, or None for gone). All of it together is
        the state. Encoded one by one while it is read, so that a large state needs no second copy."""
        encode = msgspec.msgpack.Encoder().encode
        for key in self._dirty_alerts:
            alert = self.alerts.get(key)
            yield "alert", key, None if alert is None else encode(variants.whole(alert))
        for key in self._dirty_situations:
            situation = self.situations.get(key)
            yield "situation", key, None if situation is None else encode(situation)
        for part in sorted(self.usual.changed):
            yield "usual", part, self.usual.save(part)
        for kind, key in sorted(self._dirty):
            if kind == "rule":
                memory = next((rule.memory for rule in self.rules if rule.tag == key), None)
                yield kind, key, None if memory is None else memory.save()
            elif kind == "anomaly":
                yield kind, key, evidence.saved(self, key)
            elif kind == "change":
                yield kind, key, recent.saved(self, key)
            elif kind == "judgement":
                judgement = self.judgements.get(key)
                yield kind, key, None if judgement is None else encode(judgement)
            elif kind == "topology":
                yield kind, key, encode(self.topology_record())
            elif kind == "learned":
                yield kind, key, encode(self.learned)
            elif kind == "settings":
                yield kind, key, encode(self.settings_record())
        for kind, key in self.suppression.unsaved():
            item = self.suppression.item(kind, key)
            yield kind, key, None if item is None else encode(item)
        counters = Saved(
            now=self.now,
            situations=self._last_situation,
            orders=self._last_order,
            judgements=self._last_judgement,
            versions=tuple(self.versions),
            sources=self.sources,
            heard=self._heard,
            counts=self.counts,
            fingerprints=fingerprints.FINGERPRINT_VERSION,
            ahead=self.budget.ahead,
            suspended=self.budget.suspended,
            said_causes=self.said_causes,
        )
        yield "saved", "", encode(counters)

    def save_again(self, items: Iterable[tuple[str, str]]) -> None:
        """Have these pieces, by (kind, key), in the next checkpoint although they did not change."""
        for kind, key in items:
            if kind == "alert":
                self._dirty_alerts[key] = None
            elif kind == "situation":
                self._dirty_situations[key] = None
            elif kind == "usual":
                self.usual.changed.add(key)
            elif kind in Suppression.ITEMS:
                self.suppression.save_again(kind, key)
            else:
                self._dirty.add((kind, key))

    def saved(self) -> None:
        """The checkpoint was taken over."""
        self._dirty_alerts, self._dirty_situations, self._dirty = {}, {}, set()
        self.suppression.saved()
        self.usual.changed = set()

    @property
    def unsaved(self) -> int:
        """How many pieces of state changed since the last checkpoint."""
        own = len(self._dirty_alerts) + len(self._dirty_situations) + len(self._dirty)
        return own + len(self.suppression.unsaved()) + len(self.usual.changed)

    def restore(self, items: Iterable[tuple[str, str, bytes]]) -> None:
        """Take over the state of a checkpoint; the engine must be new."""
        read_alert = msgspec.msgpack.Decoder(Alert).decode
        read_situation = msgspec.msgpack.Decoder(Situation).decode
        sharing = Sharing()
        topology: TopologyRecord | None = None
        learned: dict[str, bytes] = {}
        anomalies: list[bytes] = []
        made_by = fingerprints.FINGERPRINT_VERSION
        usual: list[bytes] = []
        for kind, key, body in items:
            if kind == "alert":
                alert = read_alert(body)
                sharing.alert(alert)
                self.alerts[alert.fingerprint] = alert
            elif kind == "situation":
                self.situations[key] = read_situation(body)
            elif kind in Suppression.ITEMS:
                self.suppression.restore(kind, key, body)
            elif kind == "anomaly":
                anomalies.append(body)
            elif kind == "usual":
                usual.append(body)
            elif kind == "change":
                self.changes[key] = msgspec.msgpack.decode(body, type=Change)
            elif kind == "judgement":
                self.judgements[key] = msgspec.msgpack.decode(body, type=Judgement)
            elif kind == "topology":
                topology = msgspec.msgpack.decode(body, type=TopologyRecord)
            elif kind == "settings":
                self._use_settings(msgspec.msgpack.decode(body, type=SettingsRecord))
            elif kind == "rule":
                learned[key] = body
            elif kind == "learned":
                self.learned = msgspec.msgpack.decode(body, type=LearnedRecord)
            elif kind == "saved":
                saved = msgspec.msgpack.decode(body, type=Saved)
                self.now, self._last_situation, self._last_order = saved.now, saved.situations, saved.orders
                self.sources, self._heard = saved.sources, saved.heard
                self._last_judgement, self.versions = saved.judgements, list(saved.versions)
                self.counts |= saved.counts
                self.budget.ahead, self.budget.suspended = saved.ahead, saved.suspended
                made_by, self.said_causes = saved.fingerprints, saved.said_causes
        if topology is not None:
            self._use_topology(topology)
        for situation in self.situations.values():
            sharing.situation(situation, self.alerts)
        self.situations = dict(sorted(self.situations.items(), key=lambda item: situation_number(item[0])))
        self.alerts = dict(sorted(self.alerts.items(), key=lambda item: (item[1].first_seen, item[0])))
        self._build_rules(learned)
        self._rebuild_traces()
        evidence.restore(self, anomalies)
        self.usual.load(usual)
        self._restore_alerts()
        feedback.restore(self)
        self._restore_timers()
        if made_by != fingerprints.FINGERPRINT_VERSION:
            rekey(self)
        self._use_suppression()

    def _restore_alerts(self) -> None:
        for alert in self.alerts.values():
            alert.ci = intern(alert.ci)
            self.active += alert.firing
        self._know_all()

    def _know_all(self) -> None:
        """Fill ``known`` anew, each label set as it was written first."""
        self.known, self._spellings, self._senders = {}, {}, {}
        for alert in self.alerts.values():
            for unit in variants.units(alert):
                unit.source, unit.origin = intern(unit.source), intern(unit.origin or unit.source)
                if unit.dated == unit.starts_at:
                    unit.dated = unit.starts_at  # one value in memory, as before they were saved
                self.known.setdefault(self.family(unit).name, {})[unit.labels] = unit

    def _restore_timers(self) -> None:
        """Timers are not saved: each follows from the state. One that no longer matters does nothing when it fires."""
        for alert in self.alerts.values():
            self._watch(alert)
        for situation in self.situations.values():
            if situation.state is SituationState.OPEN:
                self._timers.at(self.now, Due.SITUATION, situation.id)
        next_change = self.suppression.next_change(self.now)
        if next_change is not None:
            self._timers.at(next_change, Due.SUPPRESSION, "")
        self._watch_what_is_over()

    def _watch(self, alert: Alert) -> None:
        """Set the timers of an alert, but the one for when it will be forgotten."""
        if (due := variants.due(alert)) is not None:
            self._timers.expiry(alert.fingerprint, due)
        if alert.held_until is not None:
            self._timers.at(alert.held_until, Due.FLAP_RELEASE, alert.fingerprint)
        self._watch_for_clashes(alert)

    def _watch_what_is_over(self) -> None:
        """Note when each alert and situation that is over will be forgotten."""
        for alert in self.alerts.values():
            if not alert.active and alert.situation not in self.situations:
                self._keep_for_a_while(alert)
        for situation in self.situations.values():
            if situation.state is not SituationState.OPEN:
                self._timers.at(self._gone_at(situation), Due.EVICTION, situation.id)


_NEW_VERSIONS = frozenset({RecordKind.TOPOLOGY, RecordKind.SETTINGS, RecordKind.LEARNED})
_VERBS: Mapping[Step, Verb] = {
    Step.OPEN: Verb.OPEN,
    Step.UPDATE: Verb.UPDATE,
    Step.RESOLVE: Verb.RESOLVE,
    Step.REOPEN: Verb.REOPEN,
}


def _text(item: Any) -> bytes:
    return item if isinstance(item, bytes) else msgspec.json.encode(item)
