"""The engine: a pure function of (state, records), so that live work, recovery after a crash, and replay are one code.

It reads records in order and keeps everything open in memory. Its results are values: rows for the store, orders for
the sinks, audit rows, dead letters. It knows no clock but the records' own: a timer that falls due between two records
fires at its own moment, before the later record is read, so ticks make it prompt and never change what it decides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from sys import intern
from typing import Any

import msgspec
from msgspec import Raw, Struct

from correlation import cause, fold, variants
from correlation.bind import Binder, Binding
from correlation.brake import Brake
from correlation.budget import Budget
from correlation.clock import NO_SKEW
from correlation.evidence import Known as KnownAnomalies
from correlation.feedback import KeptApart
from correlation.fold import Outcome
from correlation.forecast import Forecasts
from correlation.identity import Family, Scheme
from correlation.problem import Patterns
from correlation.recent import Recent
from correlation.relate import Traces
from correlation.rule import Index, RuleInstance, RuleKind, build, shipped
from correlation.settings import CorrelationSettings
from correlation.suppression.suppression import Suppression
from correlation.umbrella import Umbrellas
from correlation.usual import Usual
from foreshock.core.contracts import (
    AuditRow,
    Collector,
    DeadLetter,
    ForecastRow,
    Ignored,
    Items,
    Notice,
    Order,
    Record,
    RecordKind,
    Tally,
)
from foreshock.core.errors import Malformed
from foreshock.core.learned import NOTHING
from foreshock.core.model import (
    Alert,
    Change,
    Decided,
    Ended,
    Event,
    Judgement,
    Samples,
    Situation,
    SituationState,
    Versions,
    encode_texts,
    read_annotations,
    read_labels,
)
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.service import (
    brake,
    checkpoint,
    clashes,
    deciding,
    decisions,
    escalation,
    evidence,
    forecasts,
    in_force,
    lifetimes,
    placing,
    problems,
    recent,
    sla,
    sources,
    weighing,
)
from foreshock.service.lineage import InForce
from foreshock.service.ourselves import OURSELVES
from foreshock.service.records import LearnedRecord
from foreshock.service.saved_topology import SavedTopology
from foreshock.service.sharing import Sharing
from foreshock.service.sources import Sender, SourceCount
from foreshock.service.tally import Tallies
from foreshock.service.timers import Due, Timers


class Effects(Struct, kw_only=True):
    """What one step over a run of records leads to; the store writes it in one transaction.

    ``situations`` are those that changed visibly, in order of change; ``ended`` has the JSON of an ``Ended`` for each
    of them that is over, taken at the moment of the change: its alerts may move on within the same step.
    ``judgements`` come with the number of their record, ``decisions`` with the situation. ``orders`` are for tickets,
    ``problem_orders`` for Problems. ``forecasts`` are the entries of the ledger that changed, by id.
    """

    situations: dict[str, Situation] = msgspec.field(default_factory=dict)
    ended: dict[str, bytes] = msgspec.field(default_factory=dict)
    orders: list[Order] = msgspec.field(default_factory=list)
    problem_orders: list[Order] = msgspec.field(default_factory=list)
    audit: list[AuditRow] = msgspec.field(default_factory=list)
    dead_letters: list[DeadLetter] = msgspec.field(default_factory=list)
    judgements: list[tuple[int, Judgement]] = msgspec.field(default_factory=list)
    decisions: list[tuple[str, Decided]] = msgspec.field(default_factory=list)
    notices: list[Notice] = msgspec.field(default_factory=list)
    tallies: list[Tally] = msgspec.field(default_factory=list)
    forecasts: dict[str, ForecastRow] = msgspec.field(default_factory=dict)


class _Was(Struct, frozen=True):
    """What matters of an alert as it was before an event."""

    severity: Severity
    starts_at: datetime
    flaps: int


class Touched(Struct):
    """What happened to one situation within one record, told in one audit row."""

    joined: int = 0
    fired_again: int = 0
    resolved: int = 0
    ran_out: int = 0
    changed: int = 0
    came_under: int = 0
    below_over: int = 0
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
                (self.came_under, "came under it"),
                (self.below_over, "under it went"),
            )
            if n
        ]
        if self.anomalies:
            said.append(f"{self.anomalies} metric{'s' if self.anomalies > 1 else ''} as evidence")
        return "; ".join([*([", ".join(said)] if said else []), *self.notes])


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MAX_SPELLINGS = 8  # orders of labels remembered per alert; senders keep to one, so more are no gain
_MAX_SHARED = 20_000
_MAX_SENDERS = 10_000
_OUR_FAMILY = Family(OURSELVES.namespace, ())


class Engine:
    """State and rules of one partition, and how it reads events.

    What else it does is told in modules that work on it: ``lifetimes``, ``placing``, ``regroup``, ``weighing``,
    ``deciding``, ``in_force`` and others. What is public here is for them; everybody else calls ``step``, ``next_due``,
    ``checkpoint``, ``restore`` and what only reads.

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
        self.problem_sinks: tuple[str, ...] = ()
        self.topology = Topology()
        self.saved_topology = SavedTopology()
        self._binder = Binder(self.topology, self.settings.bind)
        self.learned = LearnedRecord(learned=NOTHING)
        self.now = _EPOCH
        self.alerts: dict[str, Alert] = {}
        self.known: dict[str, dict[bytes, Alert]] = {}
        """By family, then by the labels' bytes as received: a re-send is found before anything is decoded. What is
        found is the alert, or the one of its variants with those labels."""
        self.situations: dict[str, Situation] = {}
        self.suppression = Suppression(self.known_alert)
        self.versions: list[Versions] = []
        """What was in force since when, the newest last."""
        self.lineage: tuple[InForce, ...] = ()
        """Rules and settings as they were put into force one after the other, the newest last."""
        self.judgements: dict[str, Judgement] = {}
        """What people said and is still to be respected; ``apart`` is made of it."""
        self.apart = KeptApart()
        self.sources: dict[str, SourceCount] = {}
        self.counts: dict[str, int] = dict.fromkeys(
            (
                *Outcome, "ignored", "malformed", "expired", "flapping", "flaps", "clashes",
                "opened", "merged", "split", "moved", "reopened", "anomalies", "anomalies_cut", "changes", "below_cut",
                "umbrellas", "under", "forecasts", "forecasts_hit", "forecasts_false", "forecasts_unbound",
                "umbrellas", "under", "storms", "braked",
            ),
            0,
        )  # fmt: skip
        self.active = 0
        self.anomalies = KnownAnomalies()
        self.usual = Usual()
        self.sharing = Sharing(_MAX_SHARED)
        self.changes = Recent()
        self.said_causes: dict[str, int] = {}
        """By CI: how often people said that it was the cause."""
        self.patterns = Patterns()
        self.forecasts = Forecasts()
        self.traces = Traces()
        self.umbrellas = Umbrellas()
        self.brake = Brake()
        self.risen: dict[str, str] = {}
        """Situations that opened or were reopened within this record, each with the one that was too full for it."""
        self.grown: dict[str, None] = {}
        """Those that have half as many CIs again as when they were last looked at."""
        self.indexes = self.all_indexes()
        self.view = in_force.new_view(self)
        self.last_situation = 0
        self.last_order = 0
        self.last_judgement = 0
        self.last_notice = 0
        self.last_problem = 0
        self.last_forecast = 0
        self.foretold: dict[str, dict[str, int]] = {}
        """By model: how many announcements it made, and what became of them."""
        self.heard: dict[str, int] = {}
        self.scheme = Scheme()
        self.senders: dict[tuple[str, str], Sender] = {}
        self.timers = Timers(self.expires_at)
        self.affected: dict[str, set[str]] = {}
        self.hit: dict[str, set[str]] = {}
        """Business services that depend on the affected CIs, of situations with several."""
        self.spellings: dict[str, list[tuple[str, bytes]]] = {}
        self.ends: dict[datetime, datetime] = {}
        self.touched: dict[str, Touched] = {}
        self.effects = Effects()
        self.record = 0
        self.dirty_alerts: dict[str, None] = {}
        self.dirty_situations: dict[str, None] = {}
        self.dirty: set[tuple[str, str]] = set()

    # ---- the step ----

    def step(self, records: Iterable[tuple[Record, Items | None]]) -> Effects:
        """Read records in order. With each may come its decoded items, if the intake has them still."""
        self.effects = Effects()
        tallies = Tallies(self.counts)
        for record, items in records:
            tallies.reach(record.at)
            self.advance(record.at)
            self.record = record.number
            if record.kind is RecordKind.EVENTS:
                self._read_events(record, items)
            elif record.kind is RecordKind.TICKET:
                deciding.read_ticket_change(self, record)
            elif record.kind is RecordKind.OPERATOR:
                in_force.read_operator(self, record)
            elif record.kind is RecordKind.TOPOLOGY:
                in_force.read_topology(self, record)
            elif record.kind is RecordKind.SETTINGS:
                in_force.read_settings(self, record)
            elif record.kind is RecordKind.ANOMALIES:
                evidence.hear(self, record.body)
            elif record.kind is RecordKind.FORECASTS:
                forecasts.hear(self, record.body)
            elif record.kind is RecordKind.LEARNED:
                in_force.read_learned(self, record)
            if record.kind in _NEW_VERSIONS:
                decisions.note_versions(self)
            if self.touched or self.suppression.waiting:
                deciding.settle(self)
        self.effects.tallies = tallies.done()
        return self.effects

    def advance(self, to: datetime) -> None:
        """Move the clock, firing every timer due by then at its own moment."""
        if to <= self.now:
            return
        self.timers.open(to)
        while (timer := self.timers.pop(to)) is not None:
            moment, due, key = timer
            self.now = max(self.now, moment)
            if due is Due.EXPIRY:
                lifetimes.expire(self, key)
            elif due is Due.FLAP_RELEASE:
                lifetimes.release(self, key)
            elif due is Due.SITUATION:
                situation = self.situations.get(key)
                if situation is not None and situation.state is SituationState.OPEN:  # what is over was told already
                    deciding.evaluate(self, situation)
            elif due is Due.SUPPRESSION:
                in_force.suppression_changed(self)
            elif due is Due.ANOMALIES:
                evidence.forget(self)
            elif due is Due.SERVICE_HOURS:
                weighing.hours_begin(self, key, moment)
            elif due is Due.SLA:
                sla.due(self, key)
            elif due is Due.ESCALATION:
                escalation.due(self, key)
            elif due is Due.CLASH and clashes.was_seen_at(self, key, moment - clashes.AFTER):
                clashes.look(self, key)
            elif due is Due.STORM:
                brake.look(self)
            elif due is Due.PROBLEM:
                problems.look(self, moment)
            elif due is Due.FORECAST:
                forecasts.due(self, moment)
            else:
                lifetimes.evict(self, key)
            if self.touched or self.suppression.waiting:
                deciding.settle(self)
        self.now = to

    def next_due(self) -> datetime | None:
        """When the next timer is due, at the earliest; None while there is none. The scheduler appends a tick then."""
        return self.timers.next_due()

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
        translate, dirty, repeats = collector.translate, self.dirty_alerts, 0
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
                    and hash(bytes(event.annotations)) == alert.said
                ):
                    alert.count += 1
                    alert.last_seen = at
                    if alert.expires_at != event.ends_at:
                        lifetimes.expires(self, alert, event.ends_at, ahead)
                    dirty[alert.fingerprint] = None
                    repeats += 1
                    continue
                self.fold(alert, event, at, sender, taken.labels.get(index))
            except Malformed as error:
                self._lose(record, source, index, error, getattr(item, "payload", b"") or _text(item))
        counts[Outcome.REPEAT] += repeats
        source.events += len(taken.items)

    def fold(
        self, unit: Alert | None, event: Event, at: datetime, sender: Sender, labels: dict[str, str] | None
    ) -> None:
        """unit: the alert, or the one of its variants, with these very labels, if they are known."""
        if unit is None:
            if labels is None:
                labels = read_labels(event.labels)
                read_annotations(event.annotations)
            identity = sender.family.key(labels)
            alert = self.alerts.get(identity)
            unit = alert if alert is None or self.scheme.plain else variants.variant_of(alert, labels)
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
            spellings = self.spellings.setdefault(identity, [])
            if len(spellings) < _MAX_SPELLINGS:
                spelling = bytes(event.labels)
                spellings.append((sender.family.name, spelling))
                sender.known[spelling] = unit
        elif hash(bytes(event.annotations)) != unit.said:
            read_annotations(event.annotations)
        alert, how = self.alerts[unit.fingerprint], (at, self.settings.fold, sender.expire_after, sender.ahead)
        was, before = _Was(alert.severity, alert.starts_at, alert.flaps), sources.as_it_was(unit)
        outcome = fold.fold(alert, event, *how) if alert is unit else variants.fold_one(alert, unit, event, *how)
        if unit.expires_at is not None and unit.expires_at != before.expires_at:
            expires_at, unit.expires_at = unit.expires_at, before.expires_at
            lifetimes.expires(self, unit, expires_at)
        if outcome is not Outcome.REPEAT:
            sources.learn(self, sender, event, unit, before, at)
        sources.hand_over(self, sender, alert, unit, before)
        self._folded(alert, outcome, was)
        if alert is not unit and unit.firing is not before.firing:
            self._label_sets_changed(alert)

    def _folded(self, alert: Alert, outcome: Outcome, was: _Was) -> None:
        """What an event meant to its alert is what its situation hears."""
        self.counts[outcome] += 1
        self.dirty_alerts[alert.fingerprint] = None
        if (alert.starts_at != was.starts_at or outcome is Outcome.CHANGED) and self._is_open(alert.situation):
            self.traces.moved(alert.situation, alert)
            for index in self.indexes:
                index.moved(alert.situation, alert)
        if outcome is Outcome.RESOLVED:
            lifetimes.ended(self, alert, was.flaps)
        elif outcome is Outcome.FIRED_AGAIN:
            self.active += 1
            self.usual.note(alert.fingerprint, cause.name_of(alert.read_labels()), self.now)
            lifetimes.fired_again(self, alert, was.flaps)
        elif outcome is Outcome.CHANGED and alert.situation:
            self.touch(alert.situation).changed += 1
            if alert.severity > was.severity:
                weighing.weigh(self, self.situations[alert.situation], alert)
        if alert.active and (alert.starts_at != was.starts_at or alert.severity != was.severity):
            self.suppression.changed(alert)

    def _is_open(self, situation: str) -> bool:
        found = self.situations.get(situation)
        return found is not None and found.state is SituationState.OPEN

    def _sender(self, collector: Collector, source: str) -> Sender:
        found = self.senders.get((collector.kind, source))
        if found is None:
            if len(self.senders) >= _MAX_SENDERS:
                self.senders.clear()
            family, known = self._family_of(collector, source), self.sources.get(source)
            found = self.senders[collector.kind, source] = Sender(
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
        binding = self.bind(alert, labels)
        alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers
        self.alerts[alert.fingerprint] = alert
        self.dirty_alerts[alert.fingerprint] = None
        if alert.firing:
            self.active += 1
            self.usual.note(alert.fingerprint, cause.name_of(labels), self.now)
            lifetimes.set_expiry(self, alert)
            self.suppression.rose(alert)
            placing.place(self, alert)
        else:
            lifetimes.keep_for_a_while(self, alert)

    def _joined(self, alert: Alert, one: Alert, at: datetime) -> None:
        """A further label set of an alert."""
        was = _Was(alert.severity, alert.starts_at, alert.flaps)
        alert, outcome, gone = variants.join(alert, one, at, self.settings.fold)
        self.alerts[alert.fingerprint] = alert
        if gone is not None:
            lifetimes.forget_spellings(self, gone)
        lifetimes.set_expiry(self, one)
        clashes.watch(self, alert)
        self._folded(alert, outcome, was)
        self._label_sets_changed(alert)

    def _label_sets_changed(self, alert: Alert) -> None:
        """Others of its label sets fire than before: what is held for them may be held no longer."""
        self.suppression.forget(alert.fingerprint)
        situation = self.situation_of(alert)
        if situation is not None and situation.held:
            deciding.evaluate(self, situation)

    def family(self, alert: Alert) -> Family:
        """Which identity rules are about it."""
        return self._family_of(self.collectors.get(alert.source, OURSELVES), alert.origin)

    def _family_of(self, collector: Collector, source: str) -> Family:
        if collector is OURSELVES:  # which are no business of anybody's rules
            return _OUR_FAMILY
        return self.scheme.family(collector.namespace, collector.kind, source)

    def identity(self, collector: Collector, source: str, labels: Raw) -> str:
        """Fingerprint of the alert that these labels (JSON) from that source belong to. Raises Malformed."""
        family = self._family_of(collector, source)
        known = self.known.get(family.name, {}).get(bytes(labels))
        return family.key(read_labels(labels)) if known is None else known.fingerprint

    def bind(self, alert: Alert, labels: Mapping[str, str]) -> Binding:
        """By the labels that identify before all others: what may change from one label set to the next must not move
        an alert from CI to CI."""
        identifying = labels if self.scheme.plain else self.family(alert).identifying(labels)
        binder = self.binder
        binding = binder.bind(identifying, alert.source, alert.origin)
        if binding.ci or identifying is labels:
            return binding
        return binder.bind(labels, alert.source, alert.origin)

    @property
    def binder(self) -> Binder:
        """For the topology and the settings in force."""
        binder = self._binder
        if binder.topology is not self.topology or binder.settings is not self.settings.bind:
            binder = self._binder = Binder(self.topology, self.settings.bind)
        return binder

    def _other(self, item: Change | Samples | Ignored) -> None:
        if isinstance(item, Change):
            recent.hear(self, item)
        else:
            self.counts["ignored"] += 1

    def _lose(self, record: Record, source: SourceCount, index: int, error: Malformed, payload: bytes) -> None:
        self.counts["malformed"] += 1
        source.rejected += 1
        source.last_error = str(error)[:500]
        self.effects.dead_letters.append(
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

    def expires_at(self, key: str) -> datetime | None:
        alert = self.alerts.get(key)
        return None if alert is None else variants.due(alert)

    def known_alert(self, fingerprint: str) -> Alert | None:
        return self.alerts.get(fingerprint)

    # ---- situations ----

    def report(self, labels: Mapping[str, str], summary: str) -> None:
        """Something about ourselves that a person must see, as an alert like any other; over when there is nothing to
        say."""
        event = Event(
            labels=encode_texts(labels),
            annotations=encode_texts({"summary": summary}),
            starts_at=self.now if summary else None,
            ends_at=None if summary else self.now,
        )
        sender = self._sender(OURSELVES, OURSELVES.kind)
        self.fold(sender.known.get(bytes(event.labels)), event, self.now, sender, None)

    def report_end(self, labels: Mapping[str, str]) -> None:
        """What ``report`` told is over, if anything was told."""
        alert = self.alerts.get(self.identity(OURSELVES, OURSELVES.kind, encode_texts(labels)))
        if alert is not None and alert.firing:
            self.report(labels, "")

    def members(self, situation: Situation) -> list[Alert]:
        """Its alerts in order of joining."""
        return [variants.whole(self.alerts[member]) for member in situation.members if member in self.alerts]

    def situation_of(self, alert: Alert) -> Situation | None:
        situation = self.situations.get(alert.situation)
        while situation is not None and situation.merged_into:
            situation = self.situations.get(situation.merged_into)
        return situation

    def touch(self, id: str) -> Touched:
        touched = self.touched.get(id)
        if touched is None:
            touched = self.touched[id] = Touched(notes=[])
        return touched

    def encode(self, situation: Situation) -> bytes:
        """The situation with its alerts as they are now, as JSON of an ``Ended``."""
        return msgspec.json.encode(
            Ended(situation=situation, alerts=tuple(alert.plain() for alert in self.members(situation)))
        )

    # ---- tickets ----

    # ---- silences, topology, settings ----

    def all_indexes(self) -> tuple[Index, ...]:
        """Indexes of their own that rules keep."""
        return tuple(rule.index for rule in self.rules if rule.index is not None)

    def index(self, situation: Situation, alert: Alert) -> None:
        self.traces.add(situation, alert)
        for index in self.indexes:
            index.add(situation.id, alert)

    def unindex(self, situation: Situation, alerts: Sequence[Alert]) -> None:
        """With all its alerts."""
        self.traces.drop(situation.id, alerts)
        for index in self.indexes:
            index.drop(situation.id, alerts)

    def say(self, kind: str, subject: str, action: str, detail: str = "", *, actor: str = "foreshock") -> None:
        self.effects.audit.append(
            AuditRow(
                record=self.record,
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
        return checkpoint.pieces(self)

    def save_again(self, items: Iterable[tuple[str, str]]) -> None:
        """Have these pieces, by (kind, key), in the next checkpoint although they did not change."""
        checkpoint.save_again(self, items)

    def restore(self, items: Iterable[tuple[str, str, bytes]]) -> None:
        """Take over the state of a checkpoint; the engine must be new."""
        checkpoint.restore(self, items)

    def saved(self) -> None:
        """The checkpoint was taken over."""
        self.dirty_alerts, self.dirty_situations, self.dirty = {}, {}, set()
        self.suppression.saved()
        self.usual.changed = set()

    @property
    def unsaved(self) -> int:
        """How many pieces of state changed since the last checkpoint."""
        own = len(self.dirty_alerts) + len(self.dirty_situations) + len(self.dirty)
        return own + len(self.suppression.unsaved()) + len(self.usual.changed)


_NEW_VERSIONS = frozenset({RecordKind.TOPOLOGY, RecordKind.SETTINGS, RecordKind.LEARNED})


def _text(item: Any) -> bytes:
    """For people; the same in a replay, so nothing of an object that has no JSON but what it is."""
    return item if isinstance(item, bytes) else msgspec.json.encode(item, enc_hook=lambda part: type(part).__name__)
