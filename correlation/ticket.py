"""What a ticket says, in plain values for any sink."""

from collections.abc import Sequence
from typing import Any

from correlation.next_step import Step
from foreshock.core.model import Alert, Cause, Situation
from foreshock.core.topology import Topology

_MAX_ALERTS = 20  # listed in the description; the console has them all
_MAX_SERVICES = 10


def title(alert: Alert) -> str:
    """One alert in a line: its name and its CI."""
    labels = alert.read_labels()
    name = labels.get("alertname") or next(iter(labels.values()))
    return f"{name} on {alert.ci}" if alert.ci else name


def assignment_group(causes: Sequence[Cause], topology: Topology, default: str) -> str:
    """The owner of the likeliest cause that has one."""
    for candidate in causes:
        ci = topology.cis.get(candidate.ci)
        if ci is not None and ci.owner:
            return ci.owner
    return default


def fields(situation: Situation, members: Sequence[Alert]) -> dict[str, Any]:
    """title, description, impact, urgency, priority, severity, assignment_group, ci, services and causes, as
    ``contracts.Order`` names them. ``members`` in order of joining."""
    first = situation.causes[0] if situation.causes else None
    return {
        "title": situation.title
        if len(members) == 1
        else f"{situation.title}, and {_count(len(members) - 1, 'more alert')}",
        "description": _description(situation, members, first),
        "impact": situation.impact,
        "urgency": situation.urgency,
        "priority": situation.priority,
        "severity": situation.severity.word,
        "assignment_group": situation.assignment_group,
        "ci": first.ci if first else "",
        "services": list(situation.services),
        "causes": [{"ci": c.ci, "score": c.score, "reason": c.reason} for c in situation.causes],
    }


def _description(situation: Situation, members: Sequence[Alert], first: Cause | None) -> str:
    affected = {alert.ci for alert in members if alert.ci}
    size = f"{_count(len(members), 'alert')} on {_count(len(affected), 'CI')}"
    lines = [f"{size} since {situation.onset:%Y-%m-%d %H:%M:%S} UTC."]
    if first is not None:
        lines.append(f"Probable cause: {first.ci} (score {first.score:.2f}): {first.reason}.")
    if situation.services:
        lines.append(f"Business services that depend on it: {', '.join(situation.services[:_MAX_SERVICES])}.")
    lines += ["", *(f"- [{alert.severity.word}] {title(alert)}" for alert in members[:_MAX_ALERTS])]
    if len(members) > _MAX_ALERTS:
        lines.append(f"- and {len(members) - _MAX_ALERTS} more, see the console")
    return "\n".join(lines)


def note(situation: Situation, members: Sequence[Alert], step: Step, reason: str) -> str:
    """The work note that goes with a write."""
    active = sum(alert.active for alert in members)
    if step is Step.OPEN:
        return f"Opened by Foreshock: {_count(active, 'active alert')}; {reason}."
    if step is Step.RESOLVE:
        return f"Resolved by Foreshock: {reason}."
    if step is Step.REOPEN:
        return f"Reopened by Foreshock: {reason}; {_count(active, 'active alert')}."
    return f"{active} of {len(members)} alerts active, priority {situation.priority}: {reason}."


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
