"""What a ticket says, in plain values for any sink."""

from collections.abc import Sequence
from typing import Any

from correlation.evidence import describe
from correlation.next_step import Step
from correlation.settings import FoldSettings
from correlation.umbrella import Summary
from foreshock.core.model import Alert, Cause, News, Situation
from foreshock.core.quantities import format_duration
from foreshock.core.topology import Topology

_MAX_ALERTS = 20  # listed in the description; the console has them all
_MAX_SERVICES = 10
_MAX_NEWS = 10
_MAX_EVIDENCE = 5


def title(alert: Alert) -> str:
    """One alert in a line: its name and its CI."""
    labels = alert.read_labels()
    name = labels.get("alertname") or next(iter(labels.values()))
    return f"{name} on {alert.ci}" if alert.ci else name


def flapping(alert: Alert, settings: FoldSettings) -> str:
    """That an alert begins to flap, in words for the ticket."""
    return (
        f"{title(alert)} flaps: {alert.flaps} changes within {format_duration(settings.flap_within)}; it counts as "
        f"active until it has kept still for {format_duration(settings.flap_hold)}."
    )


def settled(alert: Alert, changes: int) -> str:
    """That it has stopped, after so many changes."""
    return (
        f"{title(alert)} has settled after {_count(changes, 'change')}: it is {'firing' if alert.firing else 'over'}."
    )


def unsaid(ran_out: int, alerts: int) -> str:
    """That the end was not reported, of so many of the alerts."""
    return f"Of {_count(alerts, 'alert')} {ran_out} ended because nobody sent it again; no source said that it is over."


def assignment_group(causes: Sequence[Cause], topology: Topology, default: str, common: str = "") -> str:
    """The owner of the CI that all have in common, or of the likeliest cause that has one."""
    for id in (common, *(candidate.ci for candidate in causes)):
        ci = topology.cis.get(id)
        if ci is not None and ci.owner:
            return ci.owner
    return default


def fields(
    situation: Situation, members: Sequence[Alert], umbrella: Summary | None = None, part_of: str = ""
) -> dict[str, Any]:
    """title, description, impact, urgency, priority, severity, assignment_group, ci, services and causes, as
    ``contracts.Order`` names them. ``members`` in order of joining.

    umbrella: what it holds over others. part_of: whose ticket is for it too, in words.
    """
    first = situation.causes[0] if situation.causes and not situation.cause_doubt else None
    return {
        "title": _title(situation, members, umbrella),
        "description": _description(situation, members, first, umbrella, part_of),
        "impact": situation.impact,
        "urgency": situation.urgency,
        "priority": situation.priority,
        "severity": situation.severity.word,
        "assignment_group": situation.assignment_group,
        "ci": umbrella.ci if umbrella is not None and umbrella.ci else first.ci if first else "",
        "services": list(situation.services),
        "causes": [{"ci": c.ci, "score": c.score, "reason": c.reason} for c in situation.causes],
    }


def _title(situation: Situation, members: Sequence[Alert], umbrella: Summary | None) -> str:
    if umbrella is not None and umbrella.ci:
        return f"{_named(umbrella)}: {_count(umbrella.total + 1, 'situation')} below it, {situation.title}"
    if umbrella is not None:
        return f"{situation.title}, and {_count(umbrella.total, 'more situation')}"
    return situation.title if len(members) == 1 else f"{situation.title}, and {_count(len(members) - 1, 'more alert')}"


def _named(umbrella: Summary) -> str:
    return f"{umbrella.ci} ({umbrella.kind})" if umbrella.kind else umbrella.ci


def in_words(umbrella: Summary) -> str:
    """What an umbrella is for, in a sentence or two."""
    where = f"began below {_named(umbrella)}" if umbrella.ci else "are one problem with it and no longer fit into it"
    return (
        f"This ticket is also for {_count(umbrella.total, 'situation')} that {where}; {umbrella.open} of them are not "
        f"over. All together: {_count(umbrella.alerts, 'alert')} on {_count(umbrella.cis, 'CI')}, "
        f"{umbrella.active} active."
    )


def _under(umbrella: Summary) -> list[str]:
    """What an umbrella holds, in a few lines whatever it is."""
    lines = [in_words(umbrella)]
    if umbrella.ticketed:
        more = "" if umbrella.ticketed == len(umbrella.tickets) else " and more"
        lines.append(f"Tickets of their own: {umbrella.ticketed}: {', '.join(umbrella.tickets)}{more}.")
    if umbrella.worst:
        lines += ["", "The most urgent under it:", *(f"- {line}" for line in umbrella.worst)]
    return [*lines, ""]


def _description(
    situation: Situation, members: Sequence[Alert], first: Cause | None, umbrella: Summary | None, part_of: str
) -> str:
    affected = {alert.ci for alert in members if alert.ci}
    size = f"{_count(len(members), 'alert')} on {_count(len(affected), 'CI')}"
    lines = [] if umbrella is None else _under(umbrella)
    lines.append(f"{size} since {situation.onset:%Y-%m-%d %H:%M:%S} UTC.")
    if part_of:
        lines.append(f"It is under the umbrella of {part_of}.")
    if first is not None:
        lines.append(f"Probable cause: {first.ci} (score {first.score:.2f}): {first.reason}.")
    elif situation.causes:
        candidates = ", ".join(f"{cause.ci} ({cause.score:.2f})" for cause in situation.causes)
        lines.append(f"No probable cause: {situation.cause_doubt}. Candidates: {candidates}.")
    if situation.services:
        lines.append(f"Business services that depend on it: {', '.join(situation.services[:_MAX_SERVICES])}.")
    if situation.evidence:
        lines += ["", "Metrics that left their usual band:"]
        lines += [f"- {describe(each.anomaly)}" for each in situation.evidence[:_MAX_EVIDENCE]]
    lines += ["", *(f"- [{alert.severity.word}] {title(alert)}" for alert in members[:_MAX_ALERTS])]
    if len(members) > _MAX_ALERTS:
        lines.append(f"- and {len(members) - _MAX_ALERTS} more, see the console")
    return "\n".join(lines)


def note(
    situation: Situation,
    members: Sequence[Alert],
    step: Step,
    reason: str,
    since: int = 0,
    umbrella: Summary | None = None,
) -> str:
    """The work note that goes with a write; ``since`` is the version that the one before it told of."""
    numbers = [_numbers(situation, members, step, reason)]
    if umbrella is not None and step is not Step.RESOLVE:
        under = _count(umbrella.total, "situation")
        numbers.append(
            f"Under its umbrella: {under} so far, {umbrella.open} not over, {umbrella.active} alerts active."
        )
    return "\n".join((*numbers, *news_since(situation, since)))


def tell(situation: Situation, text: str) -> None:
    """Something for the next note, as part of the change that is being made now."""
    situation.news = (*situation.news, News(version=situation.version + 1, text=text))[-_MAX_NEWS:]


def news_since(situation: Situation, version: int) -> tuple[str, ...]:
    return tuple(news.text for news in situation.news if news.version > version)


def _numbers(situation: Situation, members: Sequence[Alert], step: Step, reason: str) -> str:
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
