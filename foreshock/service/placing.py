"""Where an alert belongs: a situation it joins, several that it makes one, or one of its own; and what becomes of a
situation that has taken it.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from correlation import group
from correlation import ticket as ticket_text
from correlation.group import Placement
from correlation.group import number as situation_number
from correlation.parts import parts
from correlation.relate import Candidate, grow, link, relate
from correlation.structure import in_order, overflows, why_not_by_itself, why_not_merge, why_not_move, why_not_split
from foreshock.core.model import Alert, Considered, Member, Moved, Situation, SituationState
from foreshock.service import decisions, feedback, regroup, umbrella, weighing
from foreshock.service.ourselves import suspension

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


_GROWN = 1.5  # times: whether a situation is still one place is asked again when it has so many CIs


class _Where(Struct, frozen=True):
    """Where an alert belongs, what else was considered, and the rules that went beyond their budget to find out."""

    placement: Placement
    considered: tuple[Considered, ...]
    over: list[str]


def place(engine: "Engine", alert: Alert) -> None:
    _settle_in(engine, alert, _where(engine, alert))


def _where(engine: "Engine", alert: Alert) -> _Where:
    candidates, over = _relate(engine, alert)
    placement = group.place(
        feedback.allowed(engine, alert, candidates) if engine.apart else candidates,
        engine.situations,
        engine.now,
        engine.settings.group,
        engine.learned.learned.curves,
    )
    return _Where(placement, decisions.considered(engine, alert, candidates, placement), over)


def _settle_in(engine: "Engine", alert: Alert, where: _Where) -> None:
    placement = where.placement
    if placement.join is None:
        _open(engine, alert, where)
    else:
        situation = engine.situations[placement.join.situation]
        known = engine.traces.of[situation.id].cis
        fresh = any(ci not in known for ci in (alert.ci, *alert.peers) if ci)
        _join(engine, situation, alert, _member(engine, alert, placement.join, where.considered))
        for loser in placement.merge:
            situation = merge(engine, situation, engine.situations[loser], "one alert explains both")
        _grown(engine, situation, placement.near if fresh else ())
    for rule in engine.rules:
        if rule.memory is not None:
            rule.memory.learn(alert.situation, alert, engine.now)
            engine.dirty.add(("rule", rule.tag))
    _suspend(engine, where.over)


def _suspend(engine: "Engine", over: Iterable[str]) -> None:
    for tag in over:
        reason = engine.budget.suspended[tag]
        engine.say("rule", tag, "suspended", reason)
        engine.report(suspension(tag), f"The rule {tag} is suspended: {reason}. Narrow it, then load it again.")


def _relate(engine: "Engine", alert: Alert) -> tuple[list[Candidate], list[str]]:
    """What the rules say of it, and the rules that went beyond their budget with it: they are not asked again."""
    view, suspended = engine.view, engine.budget.suspended
    view.now = engine.now
    asked = [rule for rule in engine.rules if rule.tag not in suspended] if suspended else engine.rules
    found = relate(alert, asked, view)
    spent, view.spent = view.spent, {}
    engine.counts["below_cut"] += view.cut
    view.cut = 0
    return found, engine.budget.charge(spent, engine.settings.relate.budget)


def _member(engine: "Engine", alert: Alert, join: Candidate, considered: tuple[Considered, ...]) -> Member:
    why = link(alert, join, engine.alerts[join.other], engine.topology)
    return engine.sharing.reasons(Member(joined_at=engine.now, link=why, considered=considered))


def _grown(engine: "Engine", situation: Situation, near: Sequence[str]) -> None:
    """A situation has taken an alert: is it one with a situation nearby, or has a new wave begun in it?"""
    now_s = engine.now.timestamp()
    for id in near:
        other = engine.situations[id]
        if other.state is not SituationState.OPEN:  # merged a moment ago
            continue
        akin = engine.view.akin(situation.id, id, now_s)
        if akin >= engine.settings.group.merge:
            older, younger = sorted((situation, other), key=lambda each: situation_number(each.id))
            left = merge(engine, older, younger, f"{akin:.0%} of their surroundings are the same")
            situation = left if situation.state is SituationState.MERGED else situation
    _examine(engine, situation)
    wave = engine.traces.wave(situation, engine.settings.group.wave)
    if wave and not why_not_by_itself(situation) and not why_not_split(situation, wave):
        how = Moved(at=engine.now, source=situation.id, reason=f"{len(wave)} alerts began at once: a new wave")
        situation.superseded_by = regroup.split(engine, situation, wave, how).id


def _examine(engine: "Engine", situation: Situation) -> None:
    """Is it still one place? Asked again whenever it has grown by half."""
    settings = engine.settings.group
    cis = engine.traces.of[situation.id].cis
    if len(cis) < max(2 * settings.part_cis, _GROWN * situation.examined_cis):
        return
    situation.examined_cis = len(cis)
    engine.grown[situation.id] = None
    if not settings.part or why_not_by_itself(situation):
        return
    members = engine.members(situation)
    ties = [(alert.ci, peer) for alert in members for peer in alert.peers if alert.ci]
    found = parts(list(cis), engine.view.surroundings, ties, settings.part)
    large = [part for part in found if len(part) >= settings.part_cis]
    stays = next((part for part in large if situation.first_ci in part), max(large, key=len, default=[]))
    for part in large:
        if part is stays:
            continue
        here = set(part)
        leaving = [alert.fingerprint for alert in members if alert.ci in here]
        if not leaving or why_not_split(situation, leaving):
            continue
        how = Moved(
            at=engine.now, source=situation.id, reason=f"{len(part)} CIs have hardly anything to do with the others"
        )
        regroup.split(engine, situation, leaving, how).examined_cis = len(part)


def _open(engine: "Engine", alert: Alert, where: _Where) -> None:
    situation = new_situation(engine, alert)
    situation.previous = alert.situation
    engine.risen[situation.id] = where.placement.full
    first = engine.sharing.reasons(Member(joined_at=engine.now, considered=where.considered))
    _join(engine, situation, alert, first)


def new_situation(engine: "Engine", first: Alert) -> Situation:
    """An empty one, to be named after its first alert."""
    engine.last_situation += 1
    engine.counts["opened"] += 1
    now = engine.now
    situation = Situation(
        id=f"S-{engine.last_situation}",
        opened_at=now,
        onset=first.starts_at,
        updated_at=now,
        last_joined_at=now,
        first_ci=first.ci,
        title=ticket_text.title(first),
        members={},
        tickets={},
        version=0,
    )
    engine.situations[situation.id] = situation
    engine.risen[situation.id] = ""
    return situation


def _join(engine: "Engine", situation: Situation, alert: Alert, member: Member) -> None:
    situation.members[alert.fingerprint] = member
    grow(situation, engine.now)
    if alert.starts_at < situation.onset:
        situation.onset = alert.starts_at
    situation.cleared_at = None
    alert.situation = situation.id
    engine.index(situation, alert)
    engine.touch(situation.id).joined += 1
    weighing.joined(engine, situation)
    weighing.weigh(engine, situation, alert)


def goes_on(engine: "Engine", alert: Alert) -> None:
    """In its situation, which is reopened explicitly within the reopening time; else in a new one that names the
    old. Where a new wave has begun since, or another problem explains it by now, it goes there."""
    situation = engine.situation_of(alert)
    if situation is None:
        place(engine, alert)
    elif situation.state is SituationState.OPEN:
        engine.touch(situation.id).fired_again += 1
        if not situation.superseded_by or not _follows(engine, situation, alert):
            situation.cleared_at = None
            weighing.weigh(engine, situation, alert)
            rejoin(engine, situation, alert)
    elif not _may_reopen(engine, situation, alert):
        place(engine, alert)
    elif (where := _where(engine, alert)).placement.join is not None:
        _settle_in(engine, alert, where)
    else:
        _reopen(engine, situation, alert)
        _suspend(engine, where.over)


def _follows(engine: "Engine", situation: Situation, alert: Alert) -> bool:
    """It went over to the wave that has followed its situation."""
    where = _where(engine, alert)
    _suspend(engine, where.over)
    join = where.placement.join
    if join is None or join.situation == situation.id or why_not_by_itself(situation):
        return False
    target = engine.situations[join.situation]
    if why_not_move(situation, (alert.fingerprint,), target, engine.settings.group):
        return False
    situation.members[alert.fingerprint] = _member(engine, alert, join, where.considered)
    grow(target, engine.now)
    how = Moved(at=engine.now, source=situation.id, reason="it fired again in the wave that followed")
    regroup.move(engine, situation, (alert.fingerprint,), target, how)
    return True


def _may_reopen(engine: "Engine", situation: Situation, alert: Alert) -> bool:
    return (
        situation.resolved_at is not None
        and engine.now - situation.resolved_at < engine.settings.group.reopen
        and not situation.superseded_by
        and not engine.apart.between(alert, situation, engine.affected[situation.id])
    )


def _reopen(engine: "Engine", situation: Situation, alert: Alert) -> None:
    situation.state = SituationState.OPEN
    situation.resolved_at = None
    situation.cleared_at = None
    situation.reopened += 1
    engine.counts["reopened"] += 1
    umbrella.reopened(engine, situation)
    for member in engine.members(situation):
        if member.situation != situation.id:  # it went on elsewhere in the meantime
            del situation.members[member.fingerprint]
            engine.affected[situation.id] = {each.ci for each in engine.members(situation) if each.ci}
            engine.hit.pop(situation.id, None)
    for member in engine.members(situation):
        engine.index(situation, member)
    touched = engine.touch(situation.id)
    touched.fired_again += 1
    touched.notes.append("reopened")
    weighing.weigh(engine, situation, alert)
    rejoin(engine, situation, alert)


def rejoin(engine: "Engine", situation: Situation, alert: Alert) -> None:
    """It fired again in its situation, which is as good as if it joined now."""
    member = situation.members.pop(alert.fingerprint)
    situation.members[alert.fingerprint] = msgspec.structs.replace(member, joined_at=engine.now)
    grow(situation, engine.now)
    engine.index(situation, alert)
    _grown(engine, situation, ())


def merge(engine: "Engine", one: Situation, other: Situation, reason: str) -> Situation:
    """Both have shown to be one problem; what a person said of them weighs more. Where they are too large for that,
    they have one ticket. The one that goes on; ``one`` where they are not merged."""
    winner, loser = in_order(one, other)
    if why_not_by_itself(winner, loser) or feedback.kept_apart(engine, winner, loser):
        return one
    if why_not_merge(winner, loser, engine.settings.group):
        if overflows(winner, len(loser.members), engine.settings.group):
            umbrella.overflow(engine, winner, loser)
        return one
    regroup.merge(engine, winner, loser, Moved(at=engine.now, source=loser.id, reason=reason))
    return winner
