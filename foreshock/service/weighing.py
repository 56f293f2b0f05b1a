"""What a situation amounts to: its urgency, the services behind it, its causes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from correlation import assign, cause, prioritise
from correlation.assign import Assigned
from correlation.feedback import said_first
from foreshock.core.model import Alert, Cause, Change, Moment, Situation, SituationState, Trend, Urged
from foreshock.core.topology import Topology
from foreshock.service import evidence, umbrella
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_MAX_CHANGES = 5
_MAX_JOINS = 20  # as ``TrendSettings.alerts`` at most


def weigh(engine: "Engine", situation: Situation, alert: Alert | None = None) -> None:
    """With the weight of this alert, where there is one. Priority only rises by itself: what was once that urgent is
    lowered by people, not by a flapping source."""
    before = situation.priority
    add_weight(engine, situation, alert)
    if situation.priority < before and situation.version:
        engine.touch(situation.id).notes.append(f"priority rose from {before} to {situation.priority}")
    if situation.parent and situation.state is SituationState.OPEN and situation.id not in engine.risen:
        umbrella.weigh(engine, engine.situations[situation.parent], situation)


def add_weight(engine: "Engine", situation: Situation, alert: Alert | None) -> None:
    settings = engine.settings.priority
    affected = engine.affected.setdefault(situation.id, set())
    if alert is not None and alert.severity > situation.severity:
        situation.severity = alert.severity
    if alert is not None and alert.ci and alert.ci not in affected:
        _affect(engine, situation, alert.ci, affected)
    impact = prioritise.impact(situation.criticality, len(hit(engine, situation)), len(affected), settings)
    situation.impact = min(situation.impact, impact)
    _urge(engine, situation)
    situation.priority = prioritise.priority(situation.impact, situation.urgency, settings)


def joined(engine: "Engine", situation: Situation) -> None:
    """An alert joins it now."""
    situation.joins = (*situation.joins, engine.now)[-_MAX_JOINS:]


def joined_by(situation: Situation) -> None:
    """Only the alerts that it has joined it."""
    situation.joins = tuple(sorted(member.joined_at for member in situation.members.values())[-_MAX_JOINS:])


# ---- impact ---------------------------------------------------------------------------------------------------------


def _affect(engine: "Engine", situation: Situation, ci: str, affected: set[str]) -> None:
    services = engine.topology.services(ci)  # most critical first
    if affected:
        known = hit(engine, situation)
        several = engine.hit[situation.id] = known if isinstance(known, set) else set(known)
        several.update(services)
    affected.add(ci)
    evidence.attach_known(engine, situation, ci)
    criticality = engine.topology.cis[services[0]].criticality if services else 0
    if criticality and (not situation.criticality or criticality < situation.criticality):
        situation.criticality = criticality


def hit(engine: "Engine", situation: Situation) -> Collection[str]:
    """Business services that depend on an affected CI, in no order. Of one CI they are the topology's own, of several
    they are remembered."""
    affected = engine.affected.get(situation.id, ())
    if len(affected) <= 1:
        return next((engine.topology.services(ci) for ci in affected), ())
    known = engine.hit.get(situation.id)
    if known is None:
        known = engine.hit[situation.id] = {one for ci in affected for one in engine.topology.services(ci)}
    return known


def forget_spread(engine: "Engine", id: str) -> None:
    """What it affects is to be counted anew."""
    engine.affected[id] = set()
    engine.hit.pop(id, None)


# ---- urgency --------------------------------------------------------------------------------------------------------


def _urge(engine: "Engine", situation: Situation) -> None:
    """Trend and service hours are asked for only where they decide: where the urgency would rise."""
    settings = engine.settings.priority
    by_severity = prioritise.urgency(situation.severity, settings)
    trend, wanted = Trend.STEADY, by_severity
    if prioritise.is_growing(situation.joins, situation.opened_at, engine.now, settings.trend):
        trend, wanted = Trend.GROWING, prioritise.with_trend(by_severity, Trend.GROWING)
    if wanted >= situation.urgency:
        return
    if trend is Trend.STEADY and _is_falling(engine, situation):
        trend, wanted = Trend.FALLING, prioritise.with_trend(by_severity, Trend.FALLING)
    outside, until = _outside(engine, situation)
    level = min(prioritise.LOW, wanted + settings.service_hours.outside) if outside else wanted
    urged = Urged(at=engine.now, wanted=wanted, trend=trend, outside=outside, until=until)
    before = situation.urged
    if level < situation.urgency or before is None or _differs(before, urged):
        plain = trend is Trend.STEADY and not outside
        urge_as(engine, situation, min(situation.urgency, level), None if plain else urged)


def urge_as(engine: "Engine", situation: Situation, urgency: int, urged: Urged | None) -> None:
    situation.urgency, situation.urged = urgency, urged
    wait_for_hours(engine, situation)


def _differs(one: Urged, other: Urged) -> bool:
    return msgspec.structs.replace(one, at=other.at) != other


def _is_falling(engine: "Engine", situation: Situation) -> bool:
    settings, members = engine.settings.priority.trend, situation.members
    active = sum(engine.alerts[one].active for one in members if one in engine.alerts)
    return prioritise.is_falling(active, len(members), settings)


def _outside(engine: "Engine", situation: Situation) -> tuple[str, Moment | None]:
    """Whose service hours are over now, in words, and when any begin; nothing where it is inside some, or needed at any
    time."""
    settings, topology = engine.settings.priority.service_hours, engine.topology
    found = hit(engine, situation)
    if not settings.outside or (settings.critical_always and situation.criticality == 1):
        return "", None
    names = {settings.services.get(one, settings.default) for one in found} if found else {settings.default}
    calendars = [engine.settings.calendar(name) for name in sorted(names)]
    begins: list[datetime | None] = []
    for calendar in calendars:
        if calendar is None or calendar.includes(engine.now):
            return "", None
        begins.append(calendar.next_begin(engine.now))
    most = min(found, key=lambda id: (topology.cis[id].criticality, id), default="")
    whose = f"{topology.cis[most].name or most}" if most else "the default calendar"
    return whose, min((begin for begin in begins if begin is not None), default=None)


def wait_for_hours(engine: "Engine", situation: Situation) -> None:
    urged = situation.urged
    if urged is not None and urged.until is not None and urged.until > engine.now:
        engine.timers.at(urged.until, Due.SERVICE_HOURS, situation.id)


def hours_begin(engine: "Engine", id: str, moment: Moment) -> None:
    """What was less urgent until now may no longer be."""
    situation = engine.situations.get(id)
    if situation is None or situation.state is not SituationState.OPEN or situation.urged is None:
        return
    if situation.urged.until == moment:  # else it was decided anew since
        weigh(engine, situation)


# ---- services and causes --------------------------------------------------------------------------------------------


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


def assigned(
    engine: "Engine", causes: Sequence[Cause], members: Sequence[Alert], common: str = "", *, storm: bool = False
) -> Assigned:
    """Who should get its ticket. common: the CI that all under its umbrella has in common. storm: it is for what has
    nothing in common."""
    default = engine.settings.assignment.default
    if storm and default:
        return Assigned(default, "it is for incidents that have nothing in common: the default group")
    ids = [candidate.ci for candidate in causes]
    return assign.assigned(ids, members, engine.topology, engine.settings.assignment, common)


def conclude(engine: "Engine", situation: Situation) -> None:
    """Write down what is otherwise worked out when somebody asks: for a ticket, or for good."""
    situation.causes = engine.sharing.causes(causes(engine, situation))
    situation.services = services(engine, situation)
    situation.cause_doubt = doubt(engine, situation.causes)
