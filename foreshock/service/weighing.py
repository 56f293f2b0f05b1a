"""What a situation amounts to: its urgency, the services behind it, its causes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from correlation import cause, prioritise
from correlation.feedback import said_first
from foreshock.core.model import Alert, Cause, Change, Situation, SituationState
from foreshock.core.topology import Topology
from foreshock.service import evidence, umbrella

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_MAX_CHANGES = 5


def weigh(engine: "Engine", situation: Situation, alert: Alert) -> None:
    """Priority only rises by itself: what was once that urgent is lowered by people, not by a flapping source."""
    before = situation.priority
    add_weight(engine, situation, alert)
    if situation.priority < before and situation.version:
        engine.touch(situation.id).notes.append(f"priority rose from {before} to {situation.priority}")
    if situation.parent and situation.state is SituationState.OPEN and situation.id not in engine.risen:
        umbrella.weigh(engine, engine.situations[situation.parent], situation)


def add_weight(engine: "Engine", situation: Situation, alert: Alert) -> None:
    settings = engine.settings.priority
    if alert.severity > situation.severity:
        situation.severity = alert.severity
    affected = engine.affected.setdefault(situation.id, set())
    if alert.ci and alert.ci not in affected:
        affected.add(alert.ci)
        evidence.attach_known(engine, situation, alert.ci)
        services = engine.topology.services(alert.ci)  # most critical first
        criticality = engine.topology.cis[services[0]].criticality if services else 0
        if criticality and (not situation.criticality or criticality < situation.criticality):
            situation.criticality = criticality
    situation.impact = min(situation.impact, prioritise.impact(situation.criticality, len(affected), settings))
    situation.urgency = min(situation.urgency, prioritise.urgency(situation.severity))
    situation.priority = prioritise.priority(situation.impact, situation.urgency, settings)


def services(engine: "Engine", situation: Situation) -> tuple[str, ...]:
    """Business services that depend on an affected CI, most critical first, bounded; as they were where it has
    ended."""
    if situation.state is not SituationState.OPEN:
        return situation.services
    topology = engine.topology
    found = {service for alert in engine.members(situation) for service in topology.services(alert.ci)}
    if situation.umbrella is not None:
        found |= umbrella.services(engine, situation)
    return tuple(sorted(found, key=lambda id: (topology.cis[id].criticality, id))[: Topology.MAX_SERVICES])


def causes(engine: "Engine", situation: Situation) -> tuple[Cause, ...]:
    """Its ranked causes now; those it ended with where it has ended."""
    if situation.state is not SituationState.OPEN:
        return situation.causes
    ranked = cause.rank(
        engine.members(situation),
        engine.topology,
        settings=engine.settings.cause,
        binding=engine.settings.bind,
        timing=engine.settings.relate,
        usual=engine.usual,
        anomalies=[each.anomaly for each in situation.evidence],
        changes=engine.changes.by_id.values(),
        said=_said_before(engine, situation),
        first_so_far=situation.causes[0].ci if situation.causes else "",
    )
    return said_first(ranked, situation)


def _said_before(engine: "Engine", situation: Situation) -> Mapping[str, int]:
    """By CI: how often people said of other situations that it was the cause."""
    ci = situation.cause_said
    return {**engine.said_causes, ci: engine.said_causes.get(ci, 1) - 1} if ci else engine.said_causes


def suspect_changes(engine: "Engine", situation: Situation, members: Sequence[Alert]) -> list[tuple[str, Change]]:
    """What people and pipelines did to its CIs and to those that may have caused it before it began, each with its CI,
    the newest first, bounded."""
    if not members or not engine.changes.by_id:
        return []
    began = min(alert.starts_at for alert in members)
    cis = sorted({alert.ci for alert in members} | {candidate.ci for candidate in situation.causes})
    found = {change.id: (ci, change) for ci, change in engine.changes.of(cis) if change.at <= began}
    return sorted(found.values(), key=lambda pair: (pair[1].at, pair[1].id), reverse=True)[:_MAX_CHANGES]


def doubt(engine: "Engine", causes: Sequence[Cause]) -> str:
    """Why the first of ``causes`` should not be named as the cause, in words; empty where it should."""
    return cause.doubt(causes, engine.settings.cause)


def conclude(engine: "Engine", situation: Situation) -> None:
    """Write down what is otherwise worked out when somebody asks: for a ticket, or for good."""
    situation.causes = engine.sharing.causes(causes(engine, situation))
    situation.services = services(engine, situation)
    situation.cause_doubt = doubt(engine, situation.causes)
