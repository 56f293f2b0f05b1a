"""Stories for the engine: what happens, second by second, as the records an engine reads.

``Story`` plays each record at once, so that a test can look in between, and keeps all records, so that the same story
can be read again in other steps, with ticks in between or after a restart (``replay``). The checks below it are what
must hold for every story; ``tests/service/test_planted_bugs.py`` shows that each of them catches a broken engine.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

import collectors
from correlation import rules as rules_package
from correlation.evidence import MAX_EVIDENCE
from correlation.fold import Outcome
from correlation.forecast import MAX_ENDED, MAX_HEARD
from correlation.next_step import Step
from correlation.problem import MAX_OCCURRENCES, MAX_PATTERNS
from correlation.relate import Traces
from correlation.rule import RuleInstance, RuleKind, shipped
from correlation.settings import CorrelationSettings
from correlation.umbrella import Umbrellas
from correlation.variants import MAX_VARIANTS, units, variant_key, whole
from foreshock.core.contracts import (
    AuditRow,
    Collector,
    DeadLetter,
    ForecastOutcome,
    ForecastRow,
    NewRecord,
    Notice,
    Order,
    Record,
    RecordKind,
    TicketChange,
    Verb,
)
from foreshock.core.learned import CoOccurrence, Curve, Learned, versioned
from foreshock.core.matchers import parse_matcher
from foreshock.core.model import (
    CI,
    Alert,
    Anomaly,
    Contribution,
    Direction,
    Forecast,
    HeldKind,
    Judgement,
    JudgementKind,
    MaintenanceWindow,
    Member,
    Relationship,
    Silence,
    SilenceMatcher,
    Situation,
    SituationState,
    Span,
)
from foreshock.core.registry import kinds
from foreshock.core.topology import Topology, TopologyDelta
from foreshock.service import deciding, weighing
from foreshock.service.engine import Effects, Engine
from foreshock.service.records import (
    AnomaliesRecord,
    ForecastsRecord,
    LearnedRecord,
    OperatorRecord,
    SettingsRecord,
    Statement,
    TopologyRecord,
)
from foreshock.service.topologies import Fit, Fold, fit

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
COLLECTORS = kinds(collectors, "COLLECTOR", Collector)
RULES = kinds(rules_package, "RULE", RuleKind)
UNTIL_FORGOTTEN_S = 367 * 86_400.0
"""Longer than anything ended is remembered."""


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def shipped_rules(**config: Mapping[str, Any]) -> tuple[RuleInstance, ...]:
    """The shipped rules, with other parameters where they are given, and rules of further kinds that are named:
    ``text={"min_words": 1}``."""
    named = {one.name: one for one in shipped(RULES)} | {
        kind: RuleInstance(name=kind, kind=kind) for kind in config if not RULES[kind].shipped
    }
    return tuple(msgspec.structs.replace(one, config=dict(config.get(one.name, {}))) for one in named.values())


def holding(id: str, *alerts: Alert, **fields: Any) -> Situation:
    """An open situation with these alerts, each of which joined when it was first seen."""
    first = alerts[0]
    made = Situation(
        id=id, opened_at=first.first_seen, onset=first.starts_at, updated_at=first.first_seen,
        last_joined_at=max(alert.first_seen for alert in alerts), first_ci=first.ci,
        members={alert.fingerprint: Member(joined_at=alert.first_seen) for alert in alerts},
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def new_engine() -> Engine:
    return Engine(COLLECTORS, RULES)


class Told:
    """What the effects of some steps add up to."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.problem_orders: list[Order] = []
        self.audit: list[AuditRow] = []
        self.dead_letters: list[DeadLetter] = []
        self.ended: dict[str, bytes] = {}
        self.judgements: list[Judgement] = []
        self.notices: list[Notice] = []
        self.ledger: dict[str, ForecastRow] = {}
        self.concluded: list[str] = []

    def hear(self, effects: Effects) -> None:
        self.orders += effects.orders
        self.problem_orders += effects.problem_orders
        self.audit += effects.audit
        self.dead_letters += effects.dead_letters
        self.judgements += [judgement for _, judgement in effects.judgements]
        self.notices += effects.notices
        for situation in effects.situations:
            self.ended.pop(situation, None)
        self.ended |= effects.ended
        for id, row in effects.forecasts.items():
            before = self.ledger.get(id)
            if row.outcome is not ForecastOutcome.EXPECTED and (before is None or row.outcome is not before.outcome):
                self.concluded.append(id)
            self.ledger[id] = row


class Story:
    """A story and the engine that hears it.

    Args:
        relations: sentences like ``"shop depends_on api"``; each name is a CI.
        criticality, owners: by CI. settings: sections of ``CorrelationSettings``. sinks: who hears of situations, and
            keeps Problems.
        rules: those in force; the shipped ones if None.
    """

    def __init__(
        self,
        *relations: str,
        criticality: Mapping[str, int] | None = None,
        owners: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        sinks: Sequence[str] = ("desk",),
        rules: Sequence[RuleInstance] | None = None,
        start: datetime = NOON,
    ) -> None:
        self.start = start
        self.records: list[Record] = []
        self.engine = new_engine()
        self.told = Told()
        self.sent = 0
        self.touched: set[tuple[str, str]] = set()
        self.in_force: list[CorrelationSettings] = []
        self._offset_s = 0.0
        self._sequence = 0
        self.settings(settings or {}, sinks=sinks, rules=rules)
        if relations:
            self.topology(*relations, criticality=criticality, owners=owners)

    def __repr__(self) -> str:
        lines = [
            f"  {(r.at - self.start).total_seconds():9.2f} {r.kind.value} {r.body[:400].decode(errors='replace')}"
            for r in self.records
        ]
        return "Story\n" + "\n".join(lines) + "\n"

    # ---- time ----

    @property
    def now(self) -> datetime:
        return self.start + seconds(self._offset_s)

    def time(self, offset_s: float) -> datetime:
        return self.start + seconds(offset_s)

    def at(self, offset_s: float) -> "Story":
        """Go on ``offset_s`` seconds after the start."""
        assert offset_s >= self._offset_s, "a story goes forward"
        self._offset_s = offset_s
        return self

    def after(self, pause_s: float) -> "Story":
        return self.at(self._offset_s + pause_s)

    # ---- what happens ----

    def fire(
        self,
        *cis: str,
        name: str = "Down",
        severity: str = "critical",
        started_s: float | None = None,
        holds_s: float | None = 3600.0,
        summary: str = "it is down",
        labels: Mapping[str, str] | None = None,
        collector: str = "alertmanager",
        source: str = "",
    ) -> "Story":
        """Alerts as Prometheus posts them. started_s: of the onset, now if None; holds_s: until ``endsAt``."""
        return self.post(
            *(
                {
                    "labels": {"alertname": name, "host": ci, "severity": severity, **(labels or {})},
                    "annotations": {"summary": summary},
                    "startsAt": self._text(self._offset_s if started_s is None else started_s),
                    **({} if holds_s is None else {"endsAt": self._text(self._offset_s + holds_s)}),
                }
                for ci in cis
            ),
            collector=collector,
            source=source,
        )

    def burst(self, ci: str, name: str, number: int = 24, *, every_s: float = 0.5) -> "Story":
        """So many alerts on one CI, named ``name0`` and so on."""
        for each in range(number):
            self.after(every_s).fire(ci, name=f"{name}{each}")
        return self

    def resolve(
        self,
        *cis: str,
        name: str = "Down",
        severity: str = "critical",
        started_s: float | None = None,
        ended_s: float | None = None,
        labels: Mapping[str, str] | None = None,
        collector: str = "alertmanager",
        source: str = "",
    ) -> "Story":
        return self.post(
            *(
                {
                    "labels": {"alertname": name, "host": ci, "severity": severity, **(labels or {})},
                    "annotations": {"summary": "it is down"},
                    **({} if started_s is None else {"startsAt": self._text(started_s)}),
                    "endsAt": self._text(self._offset_s if ended_s is None else ended_s),
                }
                for ci in cis
            ),
            collector=collector,
            source=source,
        )

    def post(self, *items: Any, collector: str = "alertmanager", source: str = "") -> "Story":
        """Items in Alertmanager's spelling; for ``alertmanager_webhook`` they are put into a notification."""
        self.sent += len(items)
        if collector == "alertmanager_webhook":
            alerts = [
                {**item, "status": "resolved" if item.get("endsAt", "9") <= self._text(self._offset_s) else "firing"}
                for item in items
            ]
            return self.body(msgspec.json.encode({"alerts": alerts}), collector=collector, source=source)
        return self.body(msgspec.json.encode(items), collector=collector, source=source)

    def body(self, body: bytes, *, collector: str = "alertmanager", source: str = "") -> "Story":
        return self._add(RecordKind.EVENTS, body, collector=collector, source=source or collector)

    def tick(self) -> "Story":
        return self._add(RecordKind.TICK, b"")

    def topology(
        self, *relations: str, criticality: Mapping[str, int] | None = None, owners: Mapping[str, str] | None = None
    ) -> "Story":
        ties = tuple(
            Relationship(source=s, type=t, target=o) for s, t, o in (relation.split() for relation in relations)
        )
        names = dict.fromkeys(name for tie in ties for name in (tie.source, tie.target))
        cis = tuple(
            CI(id=name, criticality=(criticality or {}).get(name, 0), owner=(owners or {}).get(name, ""))
            for name in names
        )
        return self._add(
            RecordKind.TOPOLOGY,
            msgspec.json.encode(TopologyRecord(version=f"v{len(self.records)}", cis=cis, relationships=ties)),
        )

    def delta(
        self,
        *put: str,
        gone: Sequence[str] = (),
        cis: Sequence[CI] = (),
        gone_cis: Sequence[str] = (),
        base: str | None = None,
        version: str = "",
    ) -> "Story":
        """What makes a new version of the topology in force, or of ``base``. put, gone: relationships, as sentences;
        CIs that they name and nobody knows come along. version: its name, a new one where empty."""
        new, old = (
            tuple(Relationship(source=s, type=t, target=o) for s, t, o in (one.split() for one in sentences))
            for sentences in (put, gone)
        )
        known = self.engine.topology.cis.keys() | {ci.id for ci in cis}
        names = dict.fromkeys(name for tie in new for name in (tie.source, tie.target))
        read = TopologyRecord(
            version=version or f"v{len(self.records)}",
            base=self.engine.topology.version if base is None else base,
            delta=TopologyDelta(
                put_cis=(*cis, *(CI(id=name) for name in names if name not in known)),
                gone_cis=tuple(gone_cis),
                put_relationships=new,
                gone_relationships=old,
            ),
        )
        return self._add(RecordKind.TOPOLOGY, msgspec.json.encode(read))

    def settings(
        self,
        settings: Mapping[str, Any],
        *,
        sinks: Sequence[str] = ("desk",),
        rules: Sequence[RuleInstance] | None = None,
    ) -> "Story":
        read = SettingsRecord(
            correlation=dict(settings),
            sinks=tuple(sinks),
            problem_sinks=tuple(sinks),
            rules=None if rules is None else tuple(rules),
        )
        self._add(RecordKind.SETTINGS, msgspec.json.encode(read))
        self.in_force.append(self.engine.settings)
        return self

    def anomaly(
        self,
        ci: str,
        metric: str = "latency",
        *,
        score: float = 8.0,
        dimension: str = "",
        since_s: float | None = None,
        until_s: float | None = None,
        direction: Direction = Direction.UP,
    ) -> "Story":
        """A metric of ``ci`` left its usual band; since_s: now if None, until_s: it lasts if None."""
        onset = self.now if since_s is None else self.time(since_s)
        found = Anomaly(
            ci=ci,
            metric=metric,
            dimension=dimension,
            unit="s",
            onset=onset,
            at=onset,
            until=None if until_s is None else self.time(until_s),
            score=score,
            direction=direction,
            observed=2.5,
            expected=0.5,
            detector="robust@1",
        )
        return self._add(RecordKind.ANOMALIES, msgspec.json.encode(AnomaliesRecord(anomalies=(found,))))

    def forecast(
        self,
        ci: str,
        probability: float = 0.9,
        *,
        horizon_h: float = 24,
        model: str = "net@1",
        made_s: float | None = None,
        **said: Any,
    ) -> "Story":
        """An incident is expected on ``ci``; made_s: now if None. said: further fields of the ``Forecast``."""
        made_at = self.now if made_s is None else self.time(made_s)
        found = Forecast(
            ci=ci,
            made_at=made_at,
            probability=probability,
            horizon_h=horizon_h,
            lead_time_h=horizon_h / 4,
            model=model,
            contributions=(Contribution(name="disk", points=1.5, evidence="disk usage rises"),),
            **said,
        )
        return self._add(RecordKind.FORECASTS, msgspec.json.encode(ForecastsRecord(forecasts=(found,))))

    def change(self, id: str, *cis: str, title: str = "deploy", at_s: float | None = None) -> "Story":
        """Somebody changed these CIs; at_s: now if None."""
        at = self.now if at_s is None else self.time(at_s)
        posted = [{"id": id, "title": title, "at": at, "cis": cis}]
        return self.body(msgspec.json.encode(posted), collector="changes")

    def learned(self, *pairs: CoOccurrence, curves: Mapping[str, Curve] | None = None) -> "Story":
        """Pairs that history has shown to begin together, and curves, come into force in place of those before."""
        learned = versioned(Learned(pairs=tuple(pairs), curves=dict(curves or {})))
        return self._add(RecordKind.LEARNED, msgspec.json.encode(LearnedRecord(learned=learned)))

    def silence(self, name: str, *matchers: str, for_s: float, starts_s: float | None = None) -> "Story":
        silence = Silence(
            id=name,
            matchers=_posted(matchers),
            starts_at=self.now if starts_s is None else self.time(starts_s),
            ends_at=(self.now if starts_s is None else self.time(starts_s)) + seconds(for_s),
            created_by="mira",
            comment="planned work",
            updated_at=self.now,
        )
        return self._add(RecordKind.OPERATOR, msgspec.json.encode(OperatorRecord(set_silence=silence)), actor="mira")

    def window(
        self,
        name: str,
        *cis: str,
        spans_s: Sequence[tuple[float, float]],
        services: Sequence[str] = (),
        matchers: Sequence[str] = (),
        descendants: bool = True,
        title: str = "work",
    ) -> "Story":
        """Planned maintenance. spans_s: (start, end) of each, in seconds after the start of the story."""
        window = MaintenanceWindow(
            id=name,
            title=title,
            owner="netops",
            comment="planned",
            spans=tuple(Span(starts_at=self.time(start), ends_at=self.time(end)) for start, end in spans_s),
            cis=cis,
            services=tuple(services),
            matchers=_posted(matchers),
            descendants=descendants,
            updated_at=self.now,
        )
        return self._add(RecordKind.OPERATOR, msgspec.json.encode(OperatorRecord(set_window=window)), actor="mira")

    def end_window(self, name: str, *, only_running: bool = False) -> "Story":
        done = OperatorRecord(end_window=name, only_running=only_running)
        return self._add(RecordKind.OPERATOR, msgspec.json.encode(done), actor="mira")

    def expire_silence(self, name: str) -> "Story":
        return self._add(RecordKind.OPERATOR, msgspec.json.encode(OperatorRecord(expire_silence=name)), actor="mira")

    def judge(self, kind: JudgementKind, *, actor: str = "mira", **said: Any) -> "Story":
        """A person says what belongs together, in the fields of ``Statement``; alerts may be given by their CI."""
        alerts = tuple(self._fingerprint(alert) for alert in said.pop("alerts", ()))
        statement = Statement(kind=kind, alerts=alerts, **said)
        return self._add(RecordKind.OPERATOR, msgspec.json.encode(OperatorRecord(judge=statement)), actor=actor)

    def _fingerprint(self, alert: str) -> str:
        found = [known.fingerprint for known in self.engine.alerts.values() if known.ci == alert]
        return found[0] if found else alert

    def person(
        self,
        state: str,
        situation: str = "S-1",
        *,
        actor: str = "mira",
        sink: str = "desk",
        code: str = "",
        comment: str = "",
        number: str = "INC1",
        origin: str = "read",
    ) -> "Story":
        """Somebody does something to the ticket: taken, commented, pending, resumed, resolved, reopened, closed."""
        self._sequence += 1
        self.touched.add((situation, sink))
        change = TicketChange(
            sink=sink, situation=situation, sequence=self._sequence, state=state, number=number, actor=actor,
            code=code, comment=comment, origin=origin,
        )  # fmt: skip
        return self._add(RecordKind.TICKET, msgspec.json.encode(change))

    def sink_says(
        self, state: str, situation: str = "S-1", *, sequence: int = 1, sink: str = "desk", number: str = "INC1"
    ) -> "Story":
        """The outcome of a write: confirmed or rejected."""
        change = TicketChange(
            sink=sink, situation=situation, sequence=sequence, state=state, number=number, origin="write"
        )
        return self._add(RecordKind.TICKET, msgspec.json.encode(change))

    def incident(self, *cis: str, number: str = "", name: str = "Down", lasts_s: float = 300.0) -> str:
        """One that begins now, gets its ticket in the first sink, and is over; its situation."""
        known = set(self.engine.situations)
        self.fire(*cis, name=name).after(31).tick()
        situation = next(id for id in self.engine.situations if id not in known)
        self.sink_says("confirmed", situation, sequence=len(self.records), number=number or f"INC{situation[2:]}")
        self.after(lasts_s).resolve(*cis, name=name).after(1200).tick()
        return situation

    def take(self, record: NewRecord) -> "Story":
        """A record as some part of the service made it."""
        return self._add(record.kind, record.body, collector=record.collector, source=record.source)

    def _add(self, kind: RecordKind, body: bytes, **fields: str) -> "Story":
        record = Record(number=len(self.records) + 1, at=self.now, kind=kind, body=body, **fields)
        self.records.append(record)
        self.told.hear(self.engine.step([(record, None)]))
        return self

    def _text(self, offset_s: float) -> str:
        return self.time(offset_s).isoformat().replace("+00:00", "Z")

    # ---- what there is to see ----

    def situation(self, name: str = "S-1") -> Situation:
        return self.engine.situations[name]

    def alert(self, ci: str, name: str = "Down") -> Alert:
        found = [
            alert for alert in self.engine.alerts.values()
            if (alert.read_labels().get("host"), alert.read_labels().get("alertname")) == (ci, name)
        ]  # fmt: skip
        assert len(found) == 1, f"{len(found)} alerts named {name} on {ci}"
        return found[0]

    def groups(self) -> list[list[str]]:
        """CIs of each open situation, sorted."""
        return sorted(
            sorted(alert.ci for alert in self.engine.members(situation))
            for situation in self.engine.situations.values()
            if situation.state is SituationState.OPEN
        )

    def verbs(self, situation: str = "S-1", sink: str = "desk") -> list[str]:
        return [order.verb.value for order in self.told.orders if (order.situation, order.sink) == (situation, sink)]

    def orders(self, situation: str = "S-1") -> list[tuple[float, str]]:
        """(offset in seconds, verb) of each ticket write."""
        return [
            ((order.at - self.start).total_seconds(), order.verb.value)
            for order in self.told.orders
            if order.situation == situation
        ]


def _posted(matchers: Iterable[str]) -> tuple[SilenceMatcher, ...]:
    return tuple(
        SilenceMatcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal)
        for m in map(parse_matcher, matchers)
    )


# ---- the same story, read in another way ----------------------------------------------------------------------------


class Reading:
    """Where an engine and what it told ended up."""

    def __init__(self, engine: Engine, told: Told) -> None:
        self.engine, self.told = engine, told

    @property
    def result(self) -> dict[str, Any]:
        """All that must be the same however the records are read."""
        return {
            "situations": {s.id: self.engine.encode(s) for s in self.engine.situations.values()},
            "ended": self.told.ended,
            "orders": [msgspec.json.encode(order) for order in self.told.orders],
            "problem orders": [msgspec.json.encode(order) for order in self.told.problem_orders],
            "patterns": {pattern.id: msgspec.json.encode(pattern) for pattern in self.engine.patterns.by_id.values()},
            "forecasts": {
                key: msgspec.json.encode(each)
                for kind in (self.engine.forecasts.heard, self.engine.forecasts.problems)
                for key, each in kind.items()
            },
            "ledger": self.told.ledger,
            "foretold": self.engine.foretold,
            "judgements": self.told.judgements,
            "notices": self.told.notices,
            "respected": list(self.engine.judgements.values()),
            "counts": dict(self.engine.counts),
            "active": self.engine.active,
            "alerts": {alert.fingerprint: (alert.ci, alert.bound_by) for alert in self.engine.alerts.values()},
            "topology": (self.engine.topology.version, *_content(self.engine.topology)),
        }


def _content(topology: Topology) -> tuple[dict[str, CI], set[Relationship]]:
    return dict(topology.cis), set(topology.relationships)


def replay(
    records: Sequence[Record],
    *,
    step_records: int = 1,
    ticks: Iterable[datetime] = (),
    restarts: Iterable[int] = (),
) -> Reading:
    """Read ``records`` with a new engine.

    Args:
        step_records: records in one step.
        ticks: further ticks, at these moments.
        restarts: the engine is saved and restored after this many of the records (0: before the first).
    """
    stops = set(restarts)
    told, engine = Told(), new_engine()
    state: dict[tuple[str, str], bytes] = {}
    extra = sorted(moment for moment in ticks if not records or moment <= records[-1].at)
    waiting: list[Record] = []
    number = 0

    def flush() -> None:
        if waiting:
            told.hear(engine.step([(record, None) for record in waiting]))
            waiting.clear()

    for index, record in enumerate(records):
        while extra and extra[0] <= record.at:
            number += 1
            waiting.append(Record(number=number, at=extra.pop(0), kind=RecordKind.TICK, body=b""))
        if index in stops:
            flush()
            for kind, key, body in engine.checkpoint():
                if body is None:
                    state.pop((kind, key), None)
                else:
                    state[kind, key] = body
            engine = new_engine()
            engine.restore([(kind, key, body) for (kind, key), body in state.items()])
        number += 1
        waiting.append(msgspec.structs.replace(record, number=number))
        if len(waiting) >= step_records:
            flush()
    flush()
    return Reading(engine, told)


def with_whole_topologies(records: Iterable[Record]) -> list[Record]:
    """The same with a whole version in place of each delta that comes into force."""
    fold, found = Fold(), []
    fold.version = ""
    for record in records:
        if record.kind is RecordKind.TOPOLOGY:
            read = msgspec.json.decode(record.body, type=TopologyRecord)
            comes = fit(read, fold.version or "") in (Fit.WHOLE, Fit.NEXT)
            fold.read(read)
            record = msgspec.structs.replace(record, body=msgspec.json.encode(fold.whole())) if comes else record
        found.append(record)
    return found


# ---- what must hold for every story ---------------------------------------------------------------------------------


def check_same(records: Sequence[Record], **ways: Any) -> None:
    """Invariant 6: the same records give the same situations and orders, to the byte, in whatever way they are read."""
    one, other = replay(records), replay(records, **ways)
    check_equal(one, other, f"when read with {ways}")
    if not ways.get("ticks"):  # which are records themselves, and so number the others otherwise
        assert other.told.audit == one.told.audit, f"what is told of differs when read with {ways}"


def check_equal(one: Reading, other: Reading, when: str) -> None:
    found = other.result
    for what, expected in one.result.items():
        assert found[what] == expected, f"{what} differ {when}"


def check_tickets(orders: Iterable[Order], touched: Container[tuple[str, str]] = ()) -> None:
    """Invariant 2: one open ticket at most for a situation and sink; what was opened once is reopened, never opened.

    touched: (situation, sink) of tickets that people ended or reopened: our orders alone do not tell what is open.
    """
    is_open: dict[tuple[str, str], bool] = {}
    seen: set[str] = set()
    for order in orders:
        key = (order.situation, order.sink)
        before = is_open.get(key)
        if order.verb is Verb.OPEN:
            legal = before is None
        elif key in touched:
            legal = before is not None
        else:
            legal = before is (order.verb is not Verb.REOPEN)
        state = {None: "absent", True: "open", False: "resolved"}[before]
        assert legal, f"{order.id}: {order.verb} while the ticket is {state}"
        assert order.id not in seen, f"order {order.id} came twice"
        is_open[key] = order.verb is not Verb.RESOLVE
        seen.add(order.id)


def check_problems(told: Told, engine: Engine) -> None:
    """A Problem has one record in a sink: it is opened once unless the sink refused it, told of each incident once, and
    of none but incidents that have a ticket there; what is remembered of patterns is bounded and agrees with itself."""
    refused = {row.subject for row in told.audit if (row.kind, row.action) == ("problem", "rejected")}
    opened: set[tuple[str, str]] = set()
    linked: set[tuple[str, str, str]] = set()
    for order in told.problem_orders:
        assert order.incidents is not None
        assert order.key == order.situation
        record = (order.key, order.sink)
        assert (record in opened) is (order.verb is Verb.UPDATE) or order.key in refused, f"{order.id}: {order.verb}"
        opened.add(record)
        news = {(order.key, order.sink, situation) for situation in order.incidents}
        assert not news & linked or order.key in refused, f"{order.id} links an incident again"
        linked |= news
    tickets = {(order.situation, order.sink) for order in told.orders}
    assert {(situation, sink) for _, sink, situation in linked} <= tickets, "an incident without a ticket was linked"
    seen: set[str] = set()
    assert len(engine.patterns) <= MAX_PATTERNS
    for pattern in engine.patterns.by_id.values():
        assert 0 < len(pattern.occurrences) <= min(MAX_OCCURRENCES, pattern.total)
        for each in pattern.occurrences:
            assert each.situation not in seen, f"{each.situation} is an occurrence of two patterns"
            assert engine.patterns.of(each.situation) is pattern
            seen.add(each.situation)
            found = engine.situations.get(each.situation)
            assert found is None or found.state is not SituationState.OPEN or found.tickets


def check_forecasts(told: Told, engine: Engine) -> None:
    """One proactive Problem at most is expected for a place, none where an incident of its kind is open; each is
    labelled once, at its end; what is remembered is bounded and agrees with itself; the ledger says of each
    announcement what became of it, once."""
    known = engine.forecasts
    assert len(known.heard) <= MAX_HEARD
    assert len(known.problems) - len(known.expected) <= MAX_ENDED
    assert known.expected == {each.place: each for each in known.problems.values() if each.ended_at is None}
    for found in known.expected.values():
        assert found.until > engine.now, f"{found.problem.id} should have expired"
        assert not found.situation
        for situation in engine.situations.values():
            here = situation.state is SituationState.OPEN and found.ci in engine.affected[situation.id]
            here = here and not found.forecast.signs
            assert not here, f"{found.problem.id} has come true as {situation.id}, and is not confirmed"
    labelled = [row.subject for row in told.audit if row.kind == "forecast" and row.action in ("hit", "false alarm")]
    assert len(labelled) == len(set(labelled)), "a proactive problem was labelled twice"
    assert {id for id, found in known.problems.items() if found.ended_at is not None} <= set(labelled)
    for id, found in known.problems.items():
        assert (found in known.of(found.situation)) is bool(found.situation), f"{id} is not found by its situation"
    check_ledger(told, engine)


def check_ledger(told: Told, engine: Engine) -> None:
    """Each announcement has one entry, which has one outcome once it is over and says when, and by what, that was."""
    ledger, heard = told.ledger, engine.forecasts.heard
    waiting = {each.announced.id: each for each in heard.values() if each.open and each.announced is not None}
    assert {id for id, row in ledger.items() if row.outcome is ForecastOutcome.EXPECTED} == waiting.keys()
    assert list(ledger) == [f"F-{number}" for number in range(1, len(ledger) + 1)]
    for id, row in ledger.items():
        over = row.outcome is not ForecastOutcome.EXPECTED
        assert (row.ended_at is not None) is over, f"{id} is {row.outcome}, and ended at {row.ended_at}"
        assert row.situation or row.outcome is not ForecastOutcome.CONFIRMED
        assert not row.situation or row.outcome in (ForecastOutcome.CONFIRMED, ForecastOutcome.REACHED)
        assert bool(row.problem) is not bool(row.reason), f"{id} says not what it led to"
        assert over or row.until > engine.now, f"{id} should have expired"
        assert row.ended_at is None or row.ended_at <= row.until
    assert not set(told.concluded) & waiting.keys()
    assert len(told.concluded) == len(set(told.concluded)), "an announcement was concluded twice"
    counted: Counter[str] = Counter()
    for found in engine.foretold.values():
        counted.update(found)
    outcomes = Counter(row.outcome.value for row in ledger.values() if row.ended_at is not None)
    assert counted == outcomes + Counter(announced=len(ledger)), "what became of announcements is counted otherwise"


def check_resolutions(engine: Engine) -> None:
    """Invariants 3 and 4: what is over leaves no ticket of ours open, whatever is silenced."""
    for situation in engine.situations.values():
        if situation.state is not SituationState.OPEN:
            for ticket in (situation.tickets[sink] for sink in engine.sinks if sink in situation.tickets):
                assert not ticket.open or ticket.closed_by or ticket.kept_open_by, (
                    f"{situation.id} is {situation.state}, its ticket in {ticket.sink} is open"
                )


def check_nothing_is_due(engine: Engine) -> None:
    """Whatever a sink should hear by now was ordered: a hold that has ended let go at once, and a hold has its
    reasons."""
    for situation in engine.situations.values():
        for sink, decision, held in deciding.steps(engine, situation):
            assert decision.step not in (Step.OPEN, Step.REOPEN, Step.UPDATE, Step.RESOLVE), (
                f"{sink} was not told of {situation.id}: {decision}"
            )
            if decision.step is Step.HOLD:
                assert held, f"{situation.id} is held and does not say why"
                assert situation.held, f"{situation.id} is held and has not said so"


def unsuppressed(records: Iterable[Record]) -> list[Record]:
    """The records of a story in which nothing is suppressed: no silence, no window, all suppressors off. What people
    did to tickets is left out too, because without a ticket it means nothing; what they said of the structure stays."""
    kept = []
    for record in without_people(records):
        if record.kind is RecordKind.SETTINGS:
            read = msgspec.json.decode(record.body, type=SettingsRecord)
            free = msgspec.structs.replace(read, correlation={**read.correlation, "suppress": NOTHING_SUPPRESSED})
            record = msgspec.structs.replace(record, body=msgspec.json.encode(free))
        if record.kind is not RecordKind.OPERATOR or msgspec.json.decode(record.body, type=OperatorRecord).judge:
            kept.append(record)
    return kept


def unbraked(records: Iterable[Record]) -> list[Record]:
    """The same, but all tickets may be opened at once."""
    return [_with_settings(r, "ticket", max_new_per_minute=0) if r.kind is RecordKind.SETTINGS else r for r in records]


def _with_settings(record: Record, section: str, **chosen: Any) -> Record:
    read = msgspec.json.decode(record.body, type=SettingsRecord)
    correlation = {**read.correlation, section: {**read.correlation.get(section, {}), **chosen}}
    return msgspec.structs.replace(
        record, body=msgspec.json.encode(msgspec.structs.replace(read, correlation=correlation))
    )


def without_people(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.kind is not RecordKind.TICKET]


def check_only_creation_is_held(records: Sequence[Record]) -> None:
    """Invariant 4: with and without suppression the same situations end at the same moments, and a ticket that is open
    then is resolved at that moment.

    Read without a brake: who has the ticket for a storm follows from what is due, and is over when the rest is.

    Of two that are merged the one with a ticket goes on, which may be another one where nothing is held back; from then
    on the two stories are not about the same situations.
    """
    records = unbraked(records)
    held, free = replay(without_people(records)), replay(unsuppressed(records))
    ends = _told_of(held, "resolved")
    if _told_of(held, "merged") == _told_of(free, "merged"):
        assert ends == _told_of(free, "resolved"), "suppression changed when a situation is over"
    always = _sinks(records)
    for at, situation in ends:
        for sink in always:
            told = [order for order in held.told.orders if (order.situation, order.sink) == (situation, sink)]
            before = next((order.verb for order in reversed(told) if order.at < at), Verb.RESOLVE)
            then = [order.verb for order in told if order.at == at]  # it may fire again at that very moment
            assert Verb.RESOLVE in (before, *then), f"{situation} ended at {at}, its ticket last heard {before}"


def _sinks(records: Iterable[Record]) -> set[str]:
    """Sinks that hear of situations all the time."""
    read = [msgspec.json.decode(r.body, type=SettingsRecord) for r in records if r.kind is RecordKind.SETTINGS]
    return set.intersection(*(set(settings.sinks) for settings in read))


def _told_of(story: Reading, action: str) -> list[tuple[datetime, str]]:
    return [(row.at, row.subject) for row in story.told.audit if (row.kind, row.action) == ("situation", action)]


NOTHING_SUPPRESSED = {"upstream": {"enabled": False}, "transient": {"enabled": False}}


def check_counted(engine: Engine, sent: int) -> None:
    """Invariant 1: each event is counted as exactly one thing."""
    counted = sum(engine.counts[what] for what in (*Outcome, "ignored", "malformed"))
    assert counted == sent, f"{sent} events sent, {counted} counted"


def check_bounds(engine: Engine, in_force: Iterable[CorrelationSettings] = ()) -> None:
    """Invariant 9, and that the state agrees with itself. in_force: settings so far; a lower bound undoes nothing."""
    so_far = [engine.settings, *in_force]
    most_alerts = max(settings.group.max_alerts for settings in so_far)
    most_flips = max(settings.fold.flap_changes for settings in so_far)
    for situation in engine.situations.values():
        assert len(situation.members) <= most_alerts, f"{situation.id} holds {len(situation.members)} alerts"
        places = {(each.anomaly.ci, each.anomaly.metric) for each in situation.evidence}
        assert len(places) == len(situation.evidence) <= MAX_EVIDENCE, f"{situation.id} holds too much evidence"
        assert all(each.path[-1] == each.anomaly.ci for each in situation.evidence)
    for alert in engine.alerts.values():
        assert len(alert.flips) <= most_flips
        if alert.active:
            home = engine.situations.get(alert.situation)
            assert home is not None, f"{alert.fingerprint} fires and is in no situation"
            assert home.state is SituationState.OPEN, f"{alert.fingerprint} fires in {home.id}, which is {home.state}"
            assert alert.fingerprint in home.members
    for namespace in engine.known.values():
        for alert in namespace.values():
            assert any(alert is unit for unit in units(engine.alerts[alert.fingerprint])), (
                "a re-send would reach an alert that is forgotten"
            )
    assert engine.active == sum(alert.firing for alert in engine.alerts.values())


def check_structure(engine: Engine) -> None:
    """Each alert is in one open situation at most, and situation and alert say the same of each other; what is worked
    out from members is what working it out again gives."""
    home: dict[str, str] = {}
    for situation in engine.situations.values():
        if situation.state is not SituationState.OPEN:
            continue
        assert situation.members, f"{situation.id} is open and empty"
        for member in situation.members:
            assert member not in home, f"{member} is in {home[member]} and in {situation.id}"
            home[member] = situation.id
            assert member in engine.alerts, f"{situation.id} holds {member}, which is forgotten"
            at_home = engine.alerts[member].situation
            assert at_home == situation.id, f"{situation.id} holds {member}, which says it is in {at_home}"
        follower = engine.situations.get(situation.superseded_by)
        assert follower is None or follower.merged_into != situation.id, f"{situation.id} is said to follow itself"
        members = engine.members(situation)
        affected = {alert.ci for alert in members if alert.ci}
        assert engine.affected[situation.id] == affected
        services = {service for ci in affected for service in engine.topology.services(ci)}
        assert set(weighing.hit(engine, situation)) == services
    traces = Traces(engine.topology)
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            for alert in engine.members(situation):
                traces.add(situation, alert)
    assert _traced(engine.traces) == _traced(traces), "the traces are not those of the open situations"
    assert _footprints(engine.traces) == _footprints(traces), "the footprints are not those of the open situations"
    assert engine.traces.below.by_ci == traces.below.by_ci, "what began below a CI is not what is open"


def check_umbrellas(engine: Engine) -> None:
    """Each child has an open parent that is no child itself; who is where is what the situations say."""
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN and situation.parent:
            parent = engine.situations.get(situation.parent)
            assert parent is not None, f"{situation.id} is under {situation.parent}, which is not there"
            assert parent.state is SituationState.OPEN, f"{situation.id} is under {parent.id}, which is {parent.state}"
            assert not parent.parent, f"{situation.id} is under {parent.id}, which is under {parent.parent}"
            assert parent.umbrella is not None, f"{situation.id} is under {parent.id}, which says nothing of it"
    engine.umbrellas.trim(engine.now)
    again = Umbrellas(engine.situations, engine.topology, engine.settings.umbrella)
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            again.add(situation, engine.now)
    assert engine.umbrellas.state() == again.state(), "who is under which umbrella is not what the situations say"


def check_brake(story: Story) -> None:
    """Whatever stands back while tickets are due too fast has a ticket that stands for it, or opens its own when there
    is room; and no minute has more new tickets than twice the bound, but for what never stands back."""
    engine = story.engine
    for situation in engine.situations.values():
        for sink, decision, held in deciding.steps(engine, situation):
            for one in held if decision.step is Step.HOLD else ():
                if one.kind is not HeldKind.STORM:
                    continue
                ticket = engine.situations[one.id].tickets.get(sink)
                stands = ticket is not None and (ticket.open or bool(ticket.closed_by))
                assert stands or one.until is not None, f"{sink}: nothing stands for {situation.id}, held by {one.id}"
    most = max(settings.ticket.max_new_per_minute for settings in story.in_force)
    if not all(settings.ticket.max_new_per_minute for settings in story.in_force):
        return
    exempt = _held_an_umbrella(story.told) | {s.id for s in engine.situations.values() if s.umbrella or s.shaped_by}
    for sink in engine.sinks:
        opened = [order for order in story.told.orders if order.verb is Verb.OPEN and order.sink == sink]
        times = [order.at for order in opened if order.situation not in exempt]
        for index, at in enumerate(times):
            count = sum(at - each < seconds(60) for each in times[: index + 1])
            assert count <= 2 * most + len(engine.judgements), f"{count} tickets were opened in {sink} by {at}"


def _held_an_umbrella(told: Told) -> set[str]:
    return {row.subject for row in told.audit if row.action == "storm began" or "came under it" in row.detail}


def check_words_kept(engine: Engine) -> None:
    """What a person said to be apart is apart, as long as the word counts; where a bound forbade it, it was not applied
    and changed nothing."""
    for judgement in engine.judgements.values():
        if not judgement.applied:
            continue
        for situation in engine.situations.values():
            if situation.state is not SituationState.OPEN:
                continue
            members = engine.members(situation)
            if judgement.cis:
                found = {alert.ci for alert in members}
                meet = set(judgement.cis) <= found
            else:
                one, two = ({each.fingerprint for each in side} for side in (judgement.one, judgement.apart))
                meet = bool(one & situation.members.keys() and two & situation.members.keys())
            assert not meet, f"{situation.id} joins what {judgement.id} keeps apart"


def check_identity(engine: Engine) -> None:
    """Each alert has the fingerprint that the identity rules in force give each of its label sets, fires if one of them
    does, and a re-send of any of them finds it."""
    for key, alert in engine.alerts.items():
        found = units(whole(alert))
        assert len(found) <= MAX_VARIANTS
        assert alert.firing is any(unit.firing for unit in found), f"{key} does not fire as its label sets do"
        assert alert.count == sum(unit.count for unit in found)
        assert alert.variants is None or list(alert.variants) == [variant_key(unit.read_labels()) for unit in found]
        for unit in (alert, *found):
            assert unit.fingerprint == key
            assert engine.family(unit).key(unit.read_labels()) == key, f"{key} holds the labels of another alert"
        for unit in found:
            assert engine.known[engine.family(unit).name][unit.labels] is unit, "a re-send is not known"


def census(engine: Engine) -> dict[str, Any]:
    """What other identity rules must leave as it is: events counted, label sets, and those that fire."""
    found = [(engine.family(unit).namespace, unit) for alert in engine.alerts.values() for unit in units(alert)]
    return {
        "events": sum(unit.count for _, unit in found),
        "label sets": {(namespace, variant_key(unit.read_labels())) for namespace, unit in found},
        "firing": {(namespace, variant_key(unit.read_labels())) for namespace, unit in found if unit.firing},
    }


def _traced(traces: Traces) -> dict[tuple[str, str], tuple[str, float, float]]:
    return {
        (ci, situation): (trace.fingerprint, trace.onset_s, trace.weight)
        for ci, here in traces.by_ci.items()
        for situation, trace in here.items()
    }


def _footprints(traces: Traces) -> dict[str, tuple[list[str], list[tuple[str, float]]]]:
    """With the order, by which old places and old alerts are left out first."""
    return {id: (list(found.cis), list(found.recent.items())) for id, found in traces.of.items()}


def check_forgotten(engine: Engine) -> None:
    """Nothing that is over stays in memory for good."""
    left = {
        "alerts": engine.alerts,
        "known": [spelling for namespace in engine.known.values() for spelling in namespace],
        "situations": engine.situations,
        "traces": engine.traces.by_ci,
        "footprints": engine.traces.of,
        "below": engine.traces.below.by_ci,
        "timers": engine.timers,
        "affected": engine.affected,
        "umbrellas": [what for what in engine.umbrellas.state().values() if what],
        "risen": engine.risen,
        "grown": engine.grown,
        "anomalies": engine.anomalies,
        "spellings": engine.spellings,
        "judgements": engine.judgements,
        "patterns": engine.patterns,
        "forecasts": engine.forecasts,
        "kept apart": [engine.apart] if engine.apart else [],
    }
    assert {name: what for name, what in left.items() if what} == {}
