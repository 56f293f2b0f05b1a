"""Words for people: of an alert, an umbrella, a write; the body of a ticket is in ``body``."""

from collections.abc import Sequence

from correlation.next_step import Step
from correlation.settings import FoldSettings
from correlation.umbrella import Summary
from foreshock.core.model import Alert, News, Situation, Ticket, Told
from foreshock.core.quantities import format_duration

_MAX_NEWS = 10


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
    return f"{title(alert)} has settled after {count(changes, 'change')}: it is {'firing' if alert.firing else 'over'}."


def unsaid(ran_out: int, alerts: int) -> str:
    """That the end was not reported, of so many of the alerts."""
    return f"Of {count(alerts, 'alert')} {ran_out} ended because nobody sent it again; no source said that it is over."


def named(umbrella: Summary) -> str:
    return f"{umbrella.ci} ({umbrella.kind})" if umbrella.kind else umbrella.ci


def in_words(umbrella: Summary) -> str:
    """What an umbrella is for, in a sentence or two."""
    if umbrella.storm:
        where = "came when tickets were due faster than `ticket.max_new_per_minute` lets them be opened"
    elif umbrella.ci:
        where = f"began below {named(umbrella)}"
    else:
        where = "are one problem with it and no longer fit into it"
    return (
        f"This ticket is also for {count(umbrella.total, 'situation')} that {where}; {umbrella.open} of them are not "
        f"over. All together: {count(umbrella.alerts, 'alert')} on {count(umbrella.cis, 'CI')}, "
        f"{umbrella.active} active."
    )


def under(umbrella: Summary) -> list[str]:
    """What an umbrella holds, in a few lines whatever it is."""
    lines = [in_words(umbrella)]
    if umbrella.ticketed:
        more = "" if umbrella.ticketed == len(umbrella.tickets) else " and more"
        lines.append(f"Tickets of their own: {umbrella.ticketed}: {', '.join(umbrella.tickets)}{more}.")
    if umbrella.worst:
        lines += ["", "The most urgent under it:", *(f"- {line}" for line in umbrella.worst)]
    return lines


def told(situation: Situation, members: Sequence[Alert], cause: str) -> Told:
    cis = {alert.ci for alert in members if alert.ci}
    return Told(len(members), len(cis), len(situation.services), cause)


def note(
    situation: Situation,
    members: Sequence[Alert],
    step: Step,
    reason: str,
    before: Ticket,
    now: Told,
    umbrella: Summary | None = None,
) -> str:
    """The work note that goes with a write. before: the ticket as the write before it left it."""
    lines = [_numbers(situation, members, step, reason)]
    if step in (Step.UPDATE, Step.REOPEN) and before.told is not None and (news := _difference(before.told, now)):
        lines.append(f"Since the last word: {news}.")
    if umbrella is not None and step is not Step.RESOLVE:
        under = count(umbrella.total, "situation")
        lines.append(f"Under its umbrella: {under} so far, {umbrella.open} not over, {umbrella.active} alerts active.")
    return "\n".join((*lines, *news_since(situation, before.version)))


def _difference(before: Told, now: Told) -> str:
    sizes = (
        (now.alerts - before.alerts, "alert"),
        (now.cis - before.cis, "CI"),
        (now.services - before.services, "business service"),
    )
    parts = [f"{change:+d} {what}" + ("" if abs(change) == 1 else "s") for change, what in sizes if change]
    if now.cause != before.cause:
        parts.append(f"cause now {now.cause}" if now.cause else f"{before.cause} is no longer held to be the cause")
    return ", ".join(parts)


def tell(situation: Situation, text: str) -> None:
    """Something for the next note, as part of the change that is being made now."""
    situation.news = (*situation.news, News(version=situation.version + 1, text=text))[-_MAX_NEWS:]


def news_since(situation: Situation, version: int) -> tuple[str, ...]:
    return tuple(news.text for news in situation.news if news.version > version)


def _numbers(situation: Situation, members: Sequence[Alert], step: Step, reason: str) -> str:
    active = sum(alert.active for alert in members)
    if step is Step.OPEN:
        return f"Opened by Foreshock: {count(active, 'active alert')}; {reason}."
    if step is Step.RESOLVE:
        return f"Resolved by Foreshock: {reason}."
    if step is Step.REOPEN:
        return f"Reopened by Foreshock: {reason}; {count(active, 'active alert')}."
    return f"{active} of {len(members)} alerts active, priority {situation.priority}: {reason}."


def count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
