"""Changes of structure while everything runs: two situations become one, or alerts go to another situation or to one of
their own.

Used for what people say and by correlation itself; ``correlation.structure`` tells beforehand what stands against it.
Tickets follow from the structure at the end of the record, as always: the ticket of a situation that was merged is
resolved with a reference, a situation that was split off opens its own after its delay, and what stays has its ticket
updated. Weights are worked out anew from the alerts that stay, so the priority of what was split may fall: the evidence
for the old one is in another situation now.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from correlation import evidence
from correlation import ticket as ticket_text
from foreshock.core.model import Alert, Member, Moved, Situation, SituationState
from foreshock.core.severity import Severity
from foreshock.service import placing, umbrella, weighing
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def merge(engine: "Engine", winner: Situation, loser: Situation, how: Moved) -> None:
    """The loser's alerts go over; its ticket, if it has one, is resolved with a reference to the winner."""
    alerts = engine.members(loser)
    engine.unindex(loser, alerts)
    close(engine, loser, winner)
    for alert in alerts:
        _arrive(engine, alert, loser.members[alert.fingerprint], winner, how)
    winner.shaped_by = how.by or winner.shaped_by
    _tell(engine, loser, f"merged into {winner.id}", how)
    _tell(engine, winner, f"took over {_alerts(alerts)} of {loser.id}", how)


def close(engine: "Engine", loser: Situation, winner: Situation) -> None:
    """``loser`` is merged; its alerts are the caller's business."""
    engine.counts["merged"] += 1
    if loser.tickets:  # else nobody has heard of it
        weighing.conclude(engine, loser)
    umbrella.merged(engine, loser, winner)
    loser.state = SituationState.MERGED
    loser.merged_into = winner.id
    loser.resolved_at = engine.now
    engine.timers.at(engine.now + engine.settings.group.reopen, Due.EVICTION, loser.id)
    winner.evidence = evidence.joined(winner.evidence, loser.evidence)
    winner.last_joined_at = max(winner.last_joined_at, loser.last_joined_at)
    winner.shaped_by = winner.shaped_by or loser.shaped_by
    if winner.superseded_by == loser.id:  # the wave is part of it again
        winner.superseded_by = ""


def split(engine: "Engine", source: Situation, fingerprints: Collection[str], how: Moved) -> Situation:
    """Some of its alerts, not all, become a situation that names where it came from."""
    alerts = _taken(engine, source, fingerprints)
    engine.counts["split"] += 1
    part = placing.new_situation(engine, alerts[0])
    part.split_from = source.id
    _carry(engine, alerts, source, part, how)
    _tell(engine, source, f"{_alerts(alerts)} split off as {part.id}", how)
    _tell(engine, part, f"{_alerts(alerts)} split off from {source.id}", how)
    return part


def move(engine: "Engine", source: Situation, fingerprints: Collection[str], target: Situation, how: Moved) -> None:
    """Some of its alerts go to another situation; if they are all it has, the two are merged."""
    if len(set(fingerprints)) == len(source.members):
        merge(engine, target, source, how)
        return
    alerts = _taken(engine, source, fingerprints)
    engine.counts["moved"] += len(alerts)
    target.last_joined_at = engine.now
    _carry(engine, alerts, source, target, how)
    _tell(engine, source, f"{_alerts(alerts)} moved to {target.id}", how)
    _tell(engine, target, f"{_alerts(alerts)} moved here from {source.id}", how)


def _taken(engine: "Engine", source: Situation, fingerprints: Collection[str]) -> list[Alert]:
    """The alerts in the order in which they joined."""
    wanted = set(fingerprints)
    return [alert for alert in engine.members(source) if alert.fingerprint in wanted]


def _carry(engine: "Engine", alerts: Sequence[Alert], source: Situation, target: Situation, how: Moved) -> None:
    engine.unindex(source, engine.members(source))
    for alert in alerts:
        _arrive(engine, alert, source.members.pop(alert.fingerprint), target, how)
    left = engine.members(source)
    for alert in left:
        engine.index(source, alert)
    source.title = ticket_text.title(left[0])
    source.onset = max(source.onset, min(alert.starts_at for alert in left))
    source.shaped_by, target.shaped_by = how.by or source.shaped_by, how.by or target.shaped_by
    target.evidence = evidence.joined(target.evidence, evidence.near(source.evidence, engine.affected[target.id]))
    _weigh_anew(engine, source)
    source.evidence = evidence.near(source.evidence, engine.affected[source.id])


def _arrive(engine: "Engine", alert: Alert, member: Member, target: Situation, how: Moved) -> None:
    target.members[alert.fingerprint] = msgspec.structs.replace(member, moved=how)
    target.onset = min(target.onset, alert.starts_at)
    alert.situation = target.id
    engine.dirty_alerts[alert.fingerprint] = None
    engine.index(target, alert)
    weighing.weigh(engine, target, alert)


def _weigh_anew(engine: "Engine", situation: Situation) -> None:
    before = situation.priority
    weighing.forget_spread(engine, situation.id)
    situation.severity, situation.criticality = Severity.UNKNOWN, 0
    situation.impact, situation.urgency, situation.priority, situation.urged = 3, 3, 5, None
    weighing.joined_by(situation)
    left = engine.members(situation)
    cis = {alert.ci for alert in left}
    situation.evidence = tuple(each for each in situation.evidence if each.path[0] in cis)
    for alert in left:
        weighing.add_weight(engine, situation, alert)
    for child in umbrella.children(engine, situation):
        umbrella.weigh(engine, situation, child)
    if situation.priority > before:
        engine.touch(situation.id).notes.append(f"priority fell from {before} to {situation.priority}")


def _tell(engine: "Engine", situation: Situation, what: str, how: Moved) -> None:
    """In the audit and in the note of the next ticket write."""
    why = ": ".join(filter(None, (how.by, how.reason)))
    words = f"{what} ({why})" if why else what
    engine.touch(situation.id).notes.append(words)
    if not situation.merged_into or how.by:  # its last note says where it went anyway
        ticket_text.tell(situation, words)


def _alerts(alerts: Sequence[Alert]) -> str:
    return f"{len(alerts)} alert" + ("" if len(alerts) == 1 else "s")
