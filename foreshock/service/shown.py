"""The engine's alerts and situations as people are shown them, as values: of what runs, and of what is replayed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from correlation import prioritise
from correlation import ticket as ticket_text
from correlation.rule import in_words
from correlation.suppression.suppressor import Case
from correlation.variants import units
from foreshock.core.contracts import AuditRow, DeskNote, DeskRecord, Verb
from foreshock.core.model import (
    Alert,
    Decided,
    Evidence,
    Held,
    Judgement,
    Link,
    Moved,
    Situation,
    SituationState,
)
from foreshock.core.topology import Topology
from foreshock.service import deciding, escalation, explain, patterns, sla, umbrella, weighing
from foreshock.service.decisions import versions_at
from foreshock.service.engine import Engine
from foreshock.service.views import (
    AlertView,
    ChildView,
    DecidedView,
    GraphEdge,
    GraphNode,
    GraphView,
    IncidentRow,
    IncidentView,
    LabelSetView,
    TicketView,
    TimelineEntry,
    UmbrellaView,
    WhyView,
)

_MAX_CIS_IN_ROW = 5
_MAX_NODES = 60
_MAX_CHILDREN = 20
_LANES = {"situation": "incident", "ticket": "ticket"}


def incident(
    engine: Engine,
    situation: Situation,
    alerts: Sequence[Alert],
    *,
    live: bool,
    trail: Sequence[AuditRow],
    judgements: Sequence[Judgement],
    records: Sequence[DeskRecord] = (),
    notes: Sequence[DeskNote] = (),
    now: datetime,
) -> IncidentView:
    """Everything known of one. live: the engine still holds it. trail: its audit rows, oldest first."""
    causes = weighing.causes(engine, situation) if live else situation.causes
    case = engine.suppression.case(situation, alerts, engine.now)
    top = row(situation, alerts, engine if live else None, now)
    return IncidentView(
        row=top,
        impact=situation.impact,
        urgency=situation.urgency,
        priority_reason=_priority_reason(situation, top, weighing.services(engine, situation), engine.topology),
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
        alerts=tuple(alert_view(alert, engine, member_why(engine, situation, alert), case) for alert in alerts),
        timeline=_timeline(situation, alerts, trail),
        graph=_graph(alerts, engine.topology, causes[0].ci if causes else "", situation.evidence),
        records=tuple(records),
        notes=tuple(notes),
        split_from=situation.split_from,
        umbrella=_umbrella(engine, situation) if live else None,
        decisions=_decisions(situation, trail, engine),
        judgements=tuple(judgements),
        assignment_reason=situation.assignment_reason,
        **patterns.of_incident(engine, situation, alerts),
        sla=sla.in_words(engine, situation),
        escalation=escalation.in_words(engine, situation),
    )


def row(situation: Situation, alerts: Sequence[Alert], engine: Engine | None, now: datetime) -> IncidentRow:
    """engine: that holds it still; None for one of the past."""
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
                label=t.label,
            )
            for t in situation.tickets.values()
        ),
        services=situation.services,
        parent=situation.parent,
        under=engine.umbrellas.count(situation) if engine is not None else 0,
    )


def alert_view(alert: Alert, engine: Engine, why: WhyView | None, case: Case | None) -> AlertView:
    labels, annotations = alert.read_labels(), alert.read_annotations()
    return AlertView(
        fingerprint=alert.fingerprint,
        name=labels.get("alertname", "") or next(iter(labels.values()), ""),
        summary=annotations.get("summary") or annotations.get("description") or annotations.get("message") or "",
        state="firing" if alert.firing else "held" if alert.held_until else "resolved",
        severity=alert.severity.word,
        ci=alert.ci,
        bound_by=alert.bound_by,
        confidence=_confidence(engine, alert, labels),
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


def _confidence(engine: Engine, alert: Alert, labels: Mapping[str, str]) -> str:
    binding = engine.bind(alert, labels)
    return binding.confidence.name.lower() if binding.ci == alert.ci else ""


def member_why(engine: Engine, situation: Situation, alert: Alert) -> WhyView | None:
    """Why an alert is in ``situation``; None if it is not."""
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
        why = link_why(engine, member.link)
    return msgspec.structs.replace(
        why,
        joined_at=member.joined_at,
        versions=versions_at(engine.versions, member.joined_at),
        moved=_moved(member.moved),
        considered=explain.considered(engine, situation, alert.fingerprint),
    )


def link_why(engine: Engine, link: Link) -> WhyView:
    """A link in words, with the types of the relationships it walked."""
    topology = engine.topology
    relations = tuple(
        topology.relation(a, b) or topology.relation(b, a) for a, b in zip(link.path, link.path[1:], strict=False)
    )
    return WhyView(
        sentence=in_words(link, engine.rules) or _no_longer(link),
        path=link.path,
        relations=relations,
        strength=link.strength,
        threshold=engine.settings.group.threshold,
        gap_s=link.gap_s,
        rule=link.rule,
        other=link.other,
    )


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


def _priority_reason(situation: Situation, row: IncidentRow, services: Sequence[str], topology: Topology) -> str:
    most = topology.cis.get(services[0]) if services else None
    impact = prioritise.impact_in_words(
        situation.impact,
        row.ci_count,
        len(services),
        (most.name or most.id) if most else "",
        most.criticality if most else 0,
    )
    return f"{impact}; {prioritise.urgency_in_words(situation.urgency, situation.severity, situation.urged)}"


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
