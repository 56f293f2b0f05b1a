"""What may change about who belongs together, once situations stand.

Which of them can be merged, which alerts can go to another one: an answer is a reason in words, empty if nothing stands
against it. And which alerts go along when one has to leave.
"""

from collections.abc import Collection, Iterable

from correlation.settings import GroupSettings
from foreshock.core.model import Situation, SituationState


def why_not_merge(winner: Situation, loser: Situation, settings: GroupSettings) -> str:
    """What stands against moving every alert of ``loser`` over to ``winner``."""
    if winner.id == loser.id:
        return f"{winner.id} cannot be merged with itself"
    return _not_open(loser) or why_not_take(winner, len(loser.members), settings)


def in_order(one: Situation, other: Situation) -> tuple[Situation, Situation]:
    """Which of two that are one problem goes on, and which is merged into it: ``one``, unless ``other`` has more open
    tickets. People go on with the ticket that they have; the other way round it would be resolved, and suppression
    might hold the new one back."""
    return (other, one) if _open_tickets(other) > _open_tickets(one) else (one, other)


def _open_tickets(situation: Situation) -> int:
    return sum(ticket.open for ticket in situation.tickets.values())


def why_not_split(source: Situation, alerts: Collection[str]) -> str:
    """What stands against a situation of their own for ``alerts`` (fingerprints) of ``source``."""
    if reason := _not_open(source) or _strangers(source, alerts):
        return reason
    return f"these are all the alerts of {source.id}" if len(set(alerts)) == len(source.members) else ""


def why_not_move(source: Situation, alerts: Collection[str], target: Situation, settings: GroupSettings) -> str:
    """What stands against moving ``alerts`` (fingerprints) from ``source`` to ``target``."""
    if source.id == target.id:
        return f"they are in {target.id} already"
    return _not_open(source) or _strangers(source, alerts) or why_not_take(target, len(set(alerts)), settings)


def why_not_take(target: Situation, alerts: int, settings: GroupSettings) -> str:
    """What keeps so many more alerts out of ``target``. Its join window and age do not: those are for strangers."""
    if reason := _not_open(target):
        return reason
    for ticket in target.tickets.values():
        if ticket.closed_by:
            return f"{ticket.closed_by} closed the ticket of {target.id}: nobody would hear of them there"
    if overflows(target, alerts, settings):
        return f"{target.id} would hold {len(target.members) + alerts} alerts, {settings.max_alerts} are allowed"
    return ""


def overflows(target: Situation, alerts: int, settings: GroupSettings) -> bool:
    """Whether it is too large for so many more alerts."""
    return len(target.members) + alerts > settings.max_alerts


def why_not_by_itself(*situations: Situation) -> str:
    """What forbids correlation, but no person, to split or merge them: what a person has shaped or closed is theirs."""
    for situation in situations:
        if situation.shaped_by:
            return f"{situation.shaped_by} said what belongs in {situation.id}"
        for ticket in situation.tickets.values():
            if ticket.closed_by:
                return f"{ticket.closed_by} closed the ticket of {situation.id}"
    return ""


def leaving(situation: Situation, stay: Collection[str], go: Collection[str]) -> tuple[str, ...]:
    """What goes along when the alerts ``go`` must leave and the alerts ``stay`` must not: every member whose chain of
    reasons for joining meets one of ``go`` before one of ``stay``. In order of joining."""
    side = {**dict.fromkeys(go, True), **dict.fromkeys(stay, False)}
    for fingerprint, member in situation.members.items():  # what an alert joined because of stands before it
        if fingerprint not in side:
            side[fingerprint] = member.link is not None and side.get(member.link.other, False)
    return tuple(fingerprint for fingerprint in situation.members if side[fingerprint])


def _not_open(situation: Situation) -> str:
    if situation.state is SituationState.OPEN:
        return ""
    into = f" into {situation.merged_into}" if situation.merged_into else ""
    return f"{situation.id} is {situation.state}{into}"


def _strangers(source: Situation, alerts: Iterable[str]) -> str:
    strangers = [alert for alert in alerts if alert not in source.members]
    if strangers:
        return f"{strangers[0]} is not in {source.id}"
    return "" if alerts else "no alert is named"
