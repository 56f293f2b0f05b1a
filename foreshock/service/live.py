"""Answers people's questions from the running engine and the store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from correlation import ticket as ticket_text
from correlation.feedback import witness
from correlation.rule import in_words
from correlation.suppression.suppressor import Case
from correlation.variants import units, whole
from foreshock import __version__
from foreshock.core.contracts import (
    AuditRow,
    Collector,
    DeskAction,
    DeskBook,
    DeskNote,
    DeskRecord,
    NewRecord,
    RecordKind,
    Verb,
)
from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.model import (
    Alert,
    Decided,
    Ended,
    Evidence,
    Held,
    Judgement,
    JudgementKind,
    Link,
    Moved,
    Situation,
    SituationState,
)
from foreshock.core.topology import Topology
from foreshock.service import deciding, explain, feedback, sources, umbrella, weighing
from foreshock.service.decisions import versions_at
from foreshock.service.engine import Engine
from foreshock.service.explain import Comparison
from foreshock.service.inbox import Inbox
from foreshock.service.intake import Rejections
from foreshock.service.records import OperatorRecord, Statement
from foreshock.service.reload import LastReload
from foreshock.service.runner import Runner
from foreshock.service.views import (
    AgainstView,
    AlertView,
    ChildView,
    ConsideredView,
    DeadLetterView,
    DecidedView,
    ExplainView,
    GraphEdge,
    GraphNode,
    GraphView,
    IncidentRow,
    IncidentView,
    JobView,
    LabelSetView,
    SourceView,
    StatusView,
    TicketView,
    TimelineEntry,
    UmbrellaView,
    WhyView,
)
from foreshock.store.store import Store

_MAX_CIS_IN_ROW = 5
_MAX_NODES = 60
_MAX_PAYLOAD = 4096
_MAX_JUDGEMENTS = 50
_MAX_AGAINST = 20
_MAX_CHILDREN = 20
_MIN_START = 4
_NOT_HEARD: Mapping[str, Any] = {"last_seen": None, "batches": 0, "events": 0}
_LANES = {"situation": "incident", "ticket": "ticket"}


class LiveViews:
    """Implements ``Views`` and ``Actions``.

    Args:
        rejections: requests the intake refused whole, by source.
        polled: sources that are asked.
        jobs: the scheduler's jobs now.
        closed: why the intake takes nothing, or None.
        backlog: (pending orders, age of the oldest in seconds).
        poke: asks the delivery lanes to look at once.
        topology_error: why the newest topology could not be loaded; empty if it was.
        last_reload: how the last reload of settings and rules went.
        disk: (size, free) of the disk with the store, in bytes.
    """

    def __init__(
        self,
        *,
        runner: Runner,
        inbox: Inbox,
        store: Store,
        book: DeskBook,
        collectors: Mapping[str, Collector],
        clock: Callable[[], datetime],
        rejections: Callable[[], Mapping[str, Rejections]],
        polled: Callable[[], Iterable[SourceView]],
        jobs: Callable[[], Iterable[JobView]],
        closed: Callable[[], tuple[str, int] | None],
        backlog: Callable[[], tuple[int, float]],
        poke: Callable[[], None],
        topology_error: Callable[[], str],
        last_reload: Callable[[], LastReload],
        disk: Callable[[], tuple[int, int]],
        demo: bool,
    ) -> None:
        self._runner, self._inbox, self._store, self._book = runner, inbox, store, book
        self._collectors, self._clock = collectors, clock
        self._rejections, self._polled, self._jobs, self._closed, self._backlog = (
            rejections,
            polled,
            jobs,
            closed,
            backlog,
        )
        self._poke, self._topology_error, self._disk, self._demo = poke, topology_error, disk, demo
        self._last_reload = last_reload
        self._started_at = clock()

    # ---- Views ----

    def _up_to_date(self) -> None:
        """Every answer includes what was acknowledged before the question."""
        if not self._runner.caught_up(self._inbox.last):
            raise Unavailable(
                f"{self._runner.lag} records are not reflected yet", hint="ask again in a moment", retry_after_s=5
            )

    def status(self) -> StatusView:
        closed, (pending, oldest_s) = self._closed(), self._backlog()
        dead_letters = self._store.count_dead_letters()
        size, free = self._disk()
        reload = self._last_reload()
        with self._runner.looking() as engine:
            return StatusView(
                version=__version__,
                demo=self._demo,
                intake="accepting" if closed is None else closed[0],
                started_at=self._started_at,
                now=self._clock(),
                position=self._runner.position,
                lag_records=self._runner.lag,
                open_incidents=sum(s.state is SituationState.OPEN for s in engine.situations.values()),
                active_alerts=engine.active,
                outbox_pending=pending,
                outbox_oldest_s=oldest_s,
                dead_letters=dead_letters,
                topology_version=engine.topology.version,
                cis=len(engine.topology.cis),
                relationships=len(engine.topology.relationships),
                topology_error=self._topology_error(),
                rules=tuple(rule.tag for rule in engine.rules if rule.tag not in engine.budget.suspended),
                rules_suspended=dict(engine.budget.suspended),
                reloaded_at=reload.succeeded_at,
                reload_error=reload.error,
                jobs=tuple(self._jobs()),
                disk_free_bytes=free,
                disk_total_bytes=size,
            )

    def incidents(self, *, state: str = "open", limit: int = 200, parent: str = "") -> list[IncidentRow]:
        self._up_to_date()
        now = self._clock()
        wanted = {
            "open": (SituationState.OPEN,),
            "resolved": (SituationState.RESOLVED,),
            "merged": (SituationState.MERGED,),
        }.get(state, tuple(SituationState))
        with self._runner.looking() as engine:
            held = [
                s
                for s in engine.situations.values()
                if s.state in wanted and (s.parent if s.state is SituationState.OPEN else "") == parent
            ]
            held.sort(
                key=lambda s: (
                    s.state is not SituationState.OPEN,
                    s.priority if s.state is SituationState.OPEN else 0,
                    -s.opened_at.timestamp(),
                )
            )
            rows = [self._row(s, engine.members(s), engine, now) for s in held[:limit]]
        ended = [s.value for s in wanted if s is not SituationState.OPEN and not parent]
        if ended and len(rows) < limit:
            shown = {row.id for row in rows}
            for stored in self._store.situations(states=ended, limit=limit):
                if stored.id not in shown and stored.body is not None and len(rows) < limit:
                    past = msgspec.json.decode(stored.body, type=Ended)
                    rows.append(self._row(past.situation, past.alerts, None, now))
        return rows

    def incident(self, id: str) -> IncidentView | None:
        self._up_to_date()
        found = self._find(id)
        if found is None:
            return None
        situation, alerts, live = found
        record = self._book.by_key(situation.id)
        records = tuple(filter(None, (record, self._book.get(record.problem) if record and record.problem else None)))
        notes = tuple(self._book.notes(record.number)) if record else ()
        trail = self._store.audit(situation.id)
        judgements = tuple(self._store.judgements(situation=situation.id, limit=_MAX_JUDGEMENTS))
        now = self._clock()
        with self._runner.looking() as engine:
            if live:
                situation = engine.situations.get(situation.id, situation)
                alerts = tuple(engine.members(situation)) or alerts
            topology = engine.topology
            by_fingerprint = {alert.fingerprint: alert for alert in alerts}
            causes = weighing.causes(engine, situation) if live else situation.causes
            case = engine.suppression.case(situation, alerts, engine.now)
            row = self._row(situation, alerts, engine if live else None, now)
            return IncidentView(
                row=row,
                impact=situation.impact,
                urgency=situation.urgency,
                priority_reason=_priority_reason(situation, row, topology),
                cleared_at=situation.cleared_at,
                resolved_at=situation.resolved_at,
                merged_into=situation.merged_into,
                previous=situation.previous,
                reopened=situation.reopened,
                next_step="; ".join(
                    f"{sink}: {step.step} ({step.reason})" for sink, step, _ in deciding.steps(engine, situation)
                ),
                held=_held(situation, engine),
                cause_doubt=weighing.doubt(engine, causes) if live else situation.cause_doubt,
                causes=causes,
                evidence=situation.evidence,
                alerts=tuple(
                    self._alert(alert, engine, self._why(engine, situation, alert, by_fingerprint), case)
                    for alert in alerts
                ),
                timeline=_timeline(situation, alerts, trail),
                graph=_graph(alerts, topology, causes[0].ci if causes else "", situation.evidence),
                records=records,
                notes=notes,
                split_from=situation.split_from,
                umbrella=_umbrella(engine, situation) if live else None,
                decisions=_decisions(situation, trail, engine),
                judgements=judgements,
            )

    def alert(self, fingerprint: str) -> AlertView | None:
        self._up_to_date()
        with self._runner.looking() as engine:
            alert = engine.alerts.get(fingerprint)
            if alert is None:
                return None
            alert = whole(alert)
            situation = engine.situations.get(alert.situation)
            why = self._why(engine, situation, alert, engine.alerts) if situation else None
            case = engine.suppression.case(situation, engine.members(situation), engine.now) if situation else None
            return self._alert(alert, engine, why, case)

    def explain(self, id: str) -> ExplainView | None:
        self._up_to_date()
        with self._runner.looking() as engine:
            one = engine.alerts.get(id) or _only(engine, id)
            now = engine.versions[-1] if engine.versions else None
        view = self.incident(one.situation if one is not None else id)
        if view is None and one is None:
            return None
        alerts = view.alerts if view is not None else ()
        if one is not None:
            found = self.alert(one.fingerprint)
            alerts = (found,) if found is not None else ()
        return ExplainView(
            situation=view.row.id if view else "",
            title=view.row.title if view else "",
            state=view.row.state if view else "",
            priority=view.row.priority if view else 0,
            priority_reason=view.priority_reason if view else "",
            held=view.held if view else (),
            cause_doubt=view.cause_doubt if view else "",
            next_step=view.next_step if view else "",
            decisions=view.decisions if view else (),
            causes=view.causes if view else (),
            evidence=view.evidence if view else (),
            alerts=alerts,
            judgements=view.judgements if view else (),
            now=now,
            parent=view.row.parent if view else "",
            umbrella=view.umbrella.words if view and view.umbrella else "",
        )

    def against(self, id: str, situation: str) -> list[AgainstView] | None:
        self._up_to_date()
        target = self._find(situation)
        if target is None:
            raise Rejected(f"there is no incident {situation!r}", hint="list them with foreshock incidents list")
        with self._runner.looking() as engine:
            one = engine.alerts.get(id) or _only(engine, id)
        found = None if one is not None else self._find(id)
        if one is None and found is None:
            return None
        alerts = [one] if one is not None else list(found[1] if found else ())[:_MAX_AGAINST]
        with self._runner.looking() as engine:
            there, members = engine.situations.get(target[0].id, target[0]), target[1]
            compared = Comparison(engine, explain.closest(alerts[0], members)) if alerts else None
            return [self._against(engine, alert, there, members, compared) for alert in alerts if compared]

    def _against(
        self,
        engine: Engine,
        alert: Alert,
        there: Situation,
        members: Sequence[Alert],
        compared: Comparison,
    ) -> AgainstView:
        threshold = engine.settings.group.threshold
        by_fingerprint = {member.fingerprint: member for member in members}
        home = engine.situations.get(alert.situation)
        together = alert.fingerprint in there.members and there.state is not SituationState.MERGED
        name = ticket_text.title(alert)
        decided: tuple[ConsideredView, ...] = ()
        obstacles: list[str] = []
        counted: float | None = None
        if together:
            why = self._why(engine, there, alert, by_fingerprint)
            sentence = f"{name} is in {there.id}: {why.sentence if why else ''}"
        else:
            best = compared.strongest(alert)
            decided = explain.decided(engine, alert, home, there)
            known = [each.strength for each in decided if each.alert == alert.fingerprint]
            counted = known[0] if known else explain.counted(engine, alert, there, members)
            obstacles = explain.obstacles(engine, alert, there, members, best)
            why = self.why(best, by_fingerprint, engine.topology, threshold) if best else None
            weight = f"all of {there.id} comes to {counted:.2f} by the rules in force now"
            verdict = "enough, but it was placed otherwise" if counted >= threshold else f"{threshold:.2f} is needed"
            words = f"{weight}, {verdict} ({why.sentence})" if why else "no rule relates it to an alert there"
            sentence = explain.sentence(name, alert.situation, there, decided, obstacles, words)
        return AgainstView(
            alert=alert.fingerprint,
            name=name,
            ci=alert.ci,
            home=alert.situation,
            situation=there.id,
            together=together,
            sentence=sentence,
            link=why,
            obstacles=tuple(obstacles),
            counted=counted,
            decided=decided,
            now=engine.versions[-1] if engine.versions else None,
        )

    def sources(self) -> list[SourceView]:
        self._up_to_date()
        rejected = self._rejections()
        found: dict[str, SourceView] = {
            c.kind: SourceView(
                name=c.kind,
                collector=c.kind,
                title=c.title,
                path=c.receive.path,
                last_seen=None,
                batches=0,
                events=0,
                rejected=0,
            )
            for c in self._collectors.values()
            if c.receive
        }
        with self._runner.looking() as engine:
            counts = {name: msgspec.structs.replace(count) for name, count in engine.sources.items()}
            facts = {name: sources.facts(engine, name) for name in counts}
        for name in sorted({*counts, *rejected}):
            count, refused = counts.get(name), rejected.get(name)
            kind = count.collector if count else name if name in self._collectors else ""
            collector = self._collectors.get(kind)
            found[name] = SourceView(
                name=name,
                collector=kind,
                title=collector.title if collector else "refused requests only",
                path=_path(name, collector),
                rejected=(count.rejected if count else 0) + (refused.requests if refused else 0),
                last_error=(refused.last_error if refused else "") or (count.last_error if count else ""),
                **facts.get(name, _NOT_HEARD),
            )
        found |= {source.name: source for source in self._polled()}
        return list(found.values())

    def dead_letters(self, *, limit: int = 200) -> list[DeadLetterView]:
        self._up_to_date()
        return [
            DeadLetterView(
                id=id,
                record=letter.record,
                item=letter.item,
                at=letter.at,
                source=letter.source,
                stage=letter.stage,
                error=letter.error,
                payload=letter.payload[:_MAX_PAYLOAD].decode("utf-8", "replace"),
            )
            for id, letter in self._store.dead_letters(limit=limit)
        ]

    def problems(self, *, limit: int = 200) -> list[DeskRecord]:
        return list(self._book.list(type="problem", limit=limit))

    def record(self, number: str) -> tuple[DeskRecord, list[DeskNote]] | None:
        record = self._book.get(number)
        return None if record is None else (record, list(self._book.notes(number)))

    def linked(self, problem: str) -> list[DeskRecord]:
        return list(self._book.list(problem=problem))

    def judgements(self, *, incident: str = "", limit: int = 200) -> list[Judgement]:
        self._up_to_date()
        return self._store.judgements(situation=incident, limit=limit)

    # ---- Actions ----

    def act(self, number: str, action: DeskAction, *, actor: str, text: str = "", code: str = "") -> DeskRecord:
        record = self._book.act(number, action, actor=actor, at=self._clock(), text=text, code=code)
        self._poke()
        return record

    def open_problem(self, incident: str, *, actor: str, title: str = "") -> DeskRecord:
        found = self._find(incident)
        if found is not None and (record := self._book.by_key(found[0].id)) is not None:
            incident = record.number
        elif found is not None:
            raise Rejected(f"{incident} has no record on the desk yet", hint="wait for its ticket, or lower its delay")
        problem = self._book.open_problem(incident, actor=actor, at=self._clock(), title=title)
        self._poke()
        return problem

    def judge(self, said: Statement, *, actor: str) -> Judgement:
        self._up_to_date()
        said = self._spelled_out(said)
        with self._runner.looking() as engine:
            meant = feedback.meaning(engine, said)
        if meant.outcome and not meant.one:
            raise Rejected(meant.outcome, hint="see the incident's page for its alerts and their fingerprints")
        body = msgspec.json.encode(OperatorRecord(judge=said))
        number = self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="feedback", actor=actor))
        judged = self._store.judgement(number) if self._runner.caught_up(number) else None
        if judged is None:
            raise Unavailable("it is on disk, and not reflected yet", hint="look at the incident in a moment")
        self._poke()
        return judged

    def _spelled_out(self, said: Statement) -> Statement:
        """With ids for names, and with the alerts of what only the store remembers. Raises Rejected for a name that
        means nothing or several things."""
        situations, past = [], {}
        for name in (said.situation, said.other):
            found = self._find(name) if name else None
            if name and found is None:
                raise Rejected(f"there is no incident {name!r}", hint="list them with foreshock incidents list")
            situations.append(found[0].id if found else "")
            if found:
                past[found[0].id] = tuple(witness(alert) for alert in found[1])
        with self._runner.looking() as engine:
            past = {id: alerts for id, alerts in past.items() if id not in engine.situations}
            known = [one.fingerprint for each in past.values() for one in each] + list(engine.alerts)
            alerts = tuple(_whole(known, start) for start in said.alerts)
            if said.kind is JudgementKind.MOVE and not said.situation and alerts and alerts[0] in engine.alerts:
                situations[0] = engine.alerts[alerts[0]].situation
            cis = tuple(_ci(engine, name) for name in said.cis)
        return msgspec.structs.replace(
            said, situation=situations[0], other=situations[1], alerts=alerts, cis=cis, past=past
        )

    # ---- parts ----

    def _find(self, id: str) -> tuple[Situation, tuple[Alert, ...], bool] | None:
        """(situation, alerts, whether the engine still holds it), by situation id or ticket number."""
        with self._runner.looking() as engine:
            situation = engine.situations.get(id)
            if situation is None and (named := self._store.situation_of_ticket(id)):
                id = named
                situation = engine.situations.get(id)
            if situation is not None and situation.state is not SituationState.MERGED:
                return situation, tuple(engine.members(situation)), True
        stored = self._store.situation(id)
        if stored is None or stored.body is None:
            return None
        past = msgspec.json.decode(stored.body, type=Ended)
        return past.situation, past.alerts, False

    def _row(self, situation: Situation, alerts: Iterable[Alert], engine: Engine | None, now: datetime) -> IncidentRow:
        alerts = list(alerts)
        cis = sorted({alert.ci for alert in alerts if alert.ci})
        causes = weighing.causes(engine, situation) if engine is not None else situation.causes
        doubt = weighing.doubt(engine, causes) if engine is not None else situation.cause_doubt
        return IncidentRow(
            id=situation.id,
            title=situation.title,
            state=situation.state.value,
            priority=situation.priority,
            severity=situation.severity.word,
            opened_at=situation.opened_at,
            updated_at=situation.updated_at,
            age_s=max(0.0, ((situation.resolved_at or now) - situation.opened_at).total_seconds()),
            cis=tuple(cis[:_MAX_CIS_IN_ROW]),
            ci_count=len(cis),
            alerts=len(alerts),
            active=sum(alert.active for alert in alerts),
            events=sum(alert.count for alert in alerts),
            cause=causes[0].ci if causes and not doubt else "",
            cause_score=causes[0].score if causes and not doubt else 0.0,
            assignment_group=situation.assignment_group,
            held_by="; ".join(held.reason for held in _held(situation, engine)) if engine is not None else "",
            tickets=tuple(
                TicketView(
                    sink=t.sink,
                    state=t.state.value,
                    number=t.number,
                    url=t.url,
                    open=t.open,
                    assignee=t.assignee,
                    closed_by=t.closed_by,
                )
                for t in situation.tickets.values()
            ),
            services=situation.services,
            parent=situation.parent,
            under=engine.umbrellas.count(situation) if engine is not None else 0,
        )

    def _alert(self, alert: Alert, engine: Engine, why: WhyView | None, case: Case | None) -> AlertView:
        labels, annotations = alert.read_labels(), alert.read_annotations()
        return AlertView(
            fingerprint=alert.fingerprint,
            name=labels.get("alertname", "") or next(iter(labels.values()), ""),
            summary=annotations.get("summary") or annotations.get("description") or annotations.get("message") or "",
            state="firing" if alert.firing else "held" if alert.held_until else "resolved",
            severity=alert.severity.word,
            ci=alert.ci,
            bound_by=alert.bound_by,
            source=alert.source,
            labels=labels,
            annotations=annotations,
            starts_at=alert.starts_at,
            ends_at=alert.ends_at,
            last_seen=alert.last_seen,
            count=alert.count,
            occurrences=alert.occurrences,
            flaps=alert.flaps,
            origin=alert.origin,
            label_sets=_label_sets(alert),
            url=alert.url,
            situation=alert.situation,
            held=engine.suppression.reasons(alert, case) if case is not None else (),
            why=why,
        )

    def _why(self, engine: Engine, situation: Situation, alert: Alert, alerts: Mapping[str, Alert]) -> WhyView | None:
        member = situation.members.get(alert.fingerprint)
        if member is None:
            return None
        if member.link is None:
            why = WhyView(
                sentence="it was the first alert; nothing open was related to it"
                if not member.considered
                else "it was the first alert; it joined nothing that was open",
                path=(alert.ci,) if alert.ci else (),
            )
        else:
            why = self.why(member.link, alerts, engine.topology, engine.settings.group.threshold)
        return msgspec.structs.replace(
            why,
            joined_at=member.joined_at,
            versions=versions_at(engine.versions, member.joined_at),
            moved=_moved(member.moved),
            considered=explain.considered(engine, situation, alert.fingerprint),
        )

    def why(self, link: Link, alerts: Mapping[str, Alert], topology: Topology, threshold: float) -> WhyView:
        """A link in words, with the types of the relationships it walked."""
        relations = tuple(
            topology.relation(a, b) or topology.relation(b, a) for a, b in zip(link.path, link.path[1:], strict=False)
        )
        return WhyView(
            sentence=in_words(link, self._runner.engine.rules) or _no_longer(link),
            path=link.path,
            relations=relations,
            strength=link.strength,
            threshold=threshold,
            gap_s=link.gap_s,
            rule=link.rule,
            other=link.other,
        )


def _path(name: str, collector: Collector | None) -> str:
    """Where the source posts; empty if it does not."""
    if collector is None or collector.receive is None:
        return ""
    return ("" if name == collector.kind else f"/s/{name}") + collector.receive.path


def _only(engine: Engine, start: str) -> Alert | None:
    """The one alert whose fingerprint begins so; None if there is none. Raises Rejected where there are several."""
    if len(start) < _MIN_START or start.startswith("S-"):
        return None
    found = [alert for fingerprint, alert in engine.alerts.items() if fingerprint.startswith(start)]
    if len(found) > 1:
        raise Rejected(f"{len(found)} alerts begin with {start!r}", hint="give more of the fingerprint")
    return found[0] if found else None


def _decisions(situation: Situation, trail: Sequence[AuditRow], engine: Engine) -> tuple[DecidedView, ...]:
    """The latest for each sink: why it hears nothing, or else the last write."""
    latest = {each.sink: each for each in situation.decided}
    for row in reversed(trail):
        sink, colon, reason = row.detail.partition(": ")
        if row.kind == "ticket" and row.action in set(Verb) and colon and sink not in latest:
            latest[sink] = Decided(at=row.at, sink=sink, step=row.action, reason=reason)
    return tuple(
        DecidedView(
            sink=each.sink,
            at=each.at,
            step=each.step,
            reason=each.reason,
            until=each.until,
            versions=versions_at(engine.versions, each.at),
        )
        for each in latest.values()
    )


def _moved(moved: Moved | None) -> str:
    """How an alert came over, in words."""
    if moved is None:
        return ""
    why = ": ".join(filter(None, (moved.by, moved.reason)))
    return f"it came over from {moved.source}" + (f" ({why})" if why else "")


def _whole(known: Iterable[str], start: str) -> str:
    """The one fingerprint that begins with ``start``."""
    found = dict.fromkeys(fingerprint for fingerprint in known if fingerprint.startswith(start))
    if start in found or len(found) == 1:
        return start if start in found else next(iter(found))
    if found:
        raise Rejected(f"{len(found)} alerts begin with {start!r}", hint="give more of the fingerprint")
    raise Rejected(f"there is no alert {start!r}", hint="its incident's page shows the fingerprint")


def _ci(engine: Engine, name: str) -> str:
    """The CI that goes by this name, in the topology or only in alerts."""
    found = engine.topology.named(name)
    if len(found) > 1:
        raise Rejected(f"{len(found)} CIs go by the name {name!r}: {', '.join(found[:5])}", hint="give the id of one")
    if not found and all(alert.ci != name for alert in engine.alerts.values()):
        raise Rejected(f"there is no CI {name!r}", hint="neither the topology nor an alert names it")
    return found[0] if found else name


def _held(situation: Situation, engine: Engine) -> tuple[Held, ...]:
    """What keeps a ticket write back; for one that has no ticket yet also what would, were it due now."""
    if situation.held or situation.tickets or situation.state is not SituationState.OPEN:
        return situation.held
    return deciding.holds(engine, situation)


def _label_sets(alert: Alert) -> tuple[LabelSetView, ...]:
    """Each with what is not the same in all of them; none where there is one only."""
    found = [] if alert.variants is None else [(unit, unit.read_labels()) for unit in units(alert)]
    shared = set.intersection(*(set(labels.items()) for _, labels in found)) if found else set()
    return tuple(
        LabelSetView(
            labels={name: value for name, value in labels.items() if (name, value) not in shared},
            state="firing" if unit.firing else "resolved",
            count=unit.count,
        )
        for unit, labels in found
    )


def _priority_reason(situation: Situation, row: IncidentRow, topology: Topology) -> str:
    words = {1: "high", 2: "medium", 3: "low"}
    most = topology.cis.get(row.services[0]) if row.services else None
    hurt = (
        f"{most.name or most.id} (criticality {most.criticality}) depends on it"
        if most
        else "no business service is known to depend on it"
    )
    return (
        f"impact {words[situation.impact]}: {row.ci_count} CI{'s' if row.ci_count != 1 else ''} affected, {hurt}; "
        f"urgency {words[situation.urgency]}: the worst alert is {situation.severity.word}"
    )


def _timeline(situation: Situation, alerts: Iterable[Alert], trail: Iterable[AuditRow]) -> tuple[TimelineEntry, ...]:
    entries = []
    for alert in alerts:
        name = alert.read_labels().get("alertname", "alert") + (f" on {alert.ci}" if alert.ci else "")
        entries.append(TimelineEntry(at=alert.starts_at, lane="alert", actor=alert.source, action="began", text=name))
        if alert.ends_at is not None:
            entries.append(TimelineEntry(at=alert.ends_at, lane="alert", actor=alert.source, action="ended", text=name))
    for row in trail:
        lane = "person" if row.actor != "foreshock" else _LANES.get(row.kind, "incident")
        entries.append(TimelineEntry(at=row.at, lane=lane, actor=row.actor, action=row.action, text=row.detail))
    return tuple(sorted(entries, key=lambda entry: entry.at))


def _graph(alerts: Iterable[Alert], topology: Topology, cause: str, evidence: Iterable[Evidence]) -> GraphView:
    """Affected CIs, what lies on the paths between them and to metrics that left their band, and their direct
    neighbours as far as there is room."""
    worst: dict[str, Alert] = {}
    for alert in alerts:
        if alert.ci and (alert.ci not in worst or alert.severity > worst[alert.ci].severity):
            worst[alert.ci] = alert
    wanted = dict.fromkeys(sorted(worst, key=lambda ci: (ci != cause, -worst[ci].severity, ci)))
    affected = len(wanted)
    for ci in list(wanted):
        for needed in topology.upstream(ci):
            if needed in worst:
                wanted.update(dict.fromkeys(topology.path(ci, needed)))
    for each in evidence:
        wanted.update(dict.fromkeys(each.path))
    if affected <= _MAX_NODES // 3:
        for ci in list(wanted)[:affected]:
            wanted.update(dict.fromkeys(topology.neighbours(ci)[:8]))
    shown = list(wanted)[:_MAX_NODES]
    chosen = set(shown)
    edges = [
        GraphEdge(source=ci, target=needed, type=topology.relation(ci, needed))
        for ci in shown
        for needed, hop in topology.upstream(ci).items()
        if hop.before == ci and needed != ci and needed in chosen
    ]
    levels = _levels(shown, edges)
    nodes = []
    for id in shown:
        item, bad = topology.cis.get(id), worst.get(id)
        nodes.append(
            GraphNode(
                id=id,
                label=(item.name if item is not None else "") or id,
                kind=item.kind if item is not None else "not in the topology",
                role="cause" if id == cause else "affected" if bad is not None else "context",
                severity=bad.severity.word if bad is not None else "",
                level=levels[id],
            )
        )
    return GraphView(nodes=tuple(nodes), edges=tuple(edges), left_out=len(wanted) - len(shown))


def _levels(ids: Iterable[str], edges: Iterable[GraphEdge]) -> dict[str, int]:
    """Longest way down from what needs nothing shown, so that every edge points up; a cycle stops at the number of
    nodes."""
    levels = dict.fromkeys(ids, 0)
    edges = list(edges)
    for _ in range(len(levels)):
        moved = False
        for edge in edges:
            if levels[edge.source] <= levels[edge.target] < len(levels):
                levels[edge.source] = levels[edge.target] + 1
                moved = True
        if not moved:
            break
    return levels


def _no_longer(link: Link) -> str:
    """What is left of a reason whose rule is gone."""
    return f"linked by {link.rule}, which is no longer in force" + (f": {link.evidence}" if link.evidence else "")


def _umbrella(engine: Engine, situation: Situation) -> UmbrellaView | None:
    summary, held = umbrella.summary(engine, situation), situation.umbrella
    if summary is None or held is None:
        return None
    children = sorted(umbrella.children(engine, situation), key=lambda each: (each.priority, each.opened_at))
    return UmbrellaView(
        words=ticket_text.in_words(summary),
        ci=held.ci,
        since=held.since,
        total=held.total,
        open=summary.open,
        alerts=summary.alerts,
        active=summary.active,
        cis=summary.cis,
        children=tuple(
            ChildView(
                id=each.id,
                title=each.title,
                priority=each.priority,
                opened_at=each.opened_at,
                alerts=len(each.members),
                tickets=tuple(ticket.number for ticket in each.tickets.values() if ticket.open and ticket.number),
            )
            for each in children[:_MAX_CHILDREN]
        ),
    )
