"""Escalation in the engine: an incident that nobody takes is told to one after the other, until somebody does.

A step that falls due while the incident is silenced, in maintenance or explained by another alert waits until that
ends: suppression holds it back, and it is told then if it is still needed. All of it follows from records and timers,
so a replay and a restart tell the same at the same moments.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from correlation import escalation
from correlation.next_step import QUIET
from correlation.settings import EscalationPolicy, EscalationStep
from foreshock.core.contracts import NoticeKind
from foreshock.core.model import Escalated, Situation, SituationState
from foreshock.core.quantities import format_duration
from foreshock.service import deciding, notices
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

GROUP = "{group}"
"""Stands for the assignment group in the steps of a policy."""


def look(engine: "Engine", situation: Situation) -> None:
    """Tell whose turn it is. Called after each change of the situation, so it is quick where nothing changes."""
    if not engine.settings.escalation or situation.ticketed_at is None:
        return
    policy, since = _policy(engine, situation), _since(situation)
    if policy is None or since is None:
        return
    now, stands = engine.now, situation.escalated
    if stands is None or (stands.policy, stands.since) != (policy.name, since):
        stands = Escalated(policy=policy.name, since=since)
    elif stands.next_at is not None and now < stands.next_at:
        return
    level = escalation.level_at(policy, since, now)
    if level > stands.level and not _is_quiet(engine, situation):
        _tell(engine, situation, policy, level)
        stands = msgspec.structs.replace(stands, level=level)
    stands = msgspec.structs.replace(stands, next_at=escalation.next_at(policy, since, now))
    if level > stands.level:  # held back: looked at again with each change
        stands = msgspec.structs.replace(stands, next_at=None)
    if stands != situation.escalated:
        situation.escalated = stands
        engine.dirty_situations[situation.id] = None
        wait(engine, situation)


def wait(engine: "Engine", situation: Situation) -> None:
    """Set its timer."""
    if situation.escalated is not None and situation.escalated.next_at is not None:
        engine.timers.at(situation.escalated.next_at, Due.ESCALATION, situation.id)


def is_held_back(situation: Situation) -> bool:
    """Whether it may be that suppression holds a step back."""
    return situation.escalated is not None and situation.escalated.next_at is None


def due(engine: "Engine", id: str) -> None:
    situation = engine.situations.get(id)
    if situation is not None:
        look(engine, situation)


def look_at_all(engine: "Engine") -> None:
    """Settings are others now, or what was quiet is no longer."""
    if engine.settings.escalation:
        for situation in engine.situations.values():
            look(engine, situation)


def _policy(engine: "Engine", situation: Situation) -> EscalationPolicy | None:
    return escalation.policy_for(engine.settings.escalation, situation)


def _since(situation: Situation) -> datetime | None:
    """From when on somebody should have taken it; None where nobody needs to (any more)."""
    if situation.state is not SituationState.OPEN or situation.acknowledged_at is not None:
        return None
    if situation.ticketed_at is None or not any(ticket.open for ticket in situation.tickets.values()):
        return None
    return max(situation.ticketed_at, situation.reopened_at or situation.ticketed_at)


def _is_quiet(engine: "Engine", situation: Situation) -> bool:
    held = deciding.holds(engine, situation)
    return bool(held) and all(one.kind in QUIET for one in held)


def _tell(engine: "Engine", situation: Situation, policy: EscalationPolicy, level: int) -> None:
    step = policy.steps[level - 1]
    waited = format_duration(step.after)
    text = (
        f"Nobody has taken {situation.id} (priority {situation.priority}) within {waited}: "
        f"step {level} of {len(policy.steps)} of {policy.name}."
    )
    for name in _names(step, situation):
        notices.tell(engine, situation, NoticeKind.ESCALATION, level, text, (name,))


def _names(step: EscalationStep, situation: Situation) -> tuple[str, ...]:
    """Whom a step tells; without an assignment group whoever hears what is for nobody."""
    return tuple(dict.fromkeys(situation.assignment_group if name == GROUP else name for name in step.tell))


def in_words(engine: "Engine", situation: Situation) -> tuple[str, ...]:
    """Whom nobody's answer leads to and when, or why to nobody, a sentence each."""
    if not engine.settings.escalation or situation.ticketed_at is None:
        return ()
    if situation.acknowledged_at is not None:
        return (f"it ended when {situation.acknowledged_by} took it",) if situation.escalated else ()
    policy, since = _policy(engine, situation), _since(situation)
    if since is None:
        return ()
    if policy is None:
        group = f" of {situation.assignment_group}" if situation.assignment_group else ""
        return (f"no policy is for priority {situation.priority}{group}",)
    told = situation.escalated.level if situation.escalated is not None else 0
    quiet = _is_quiet(engine, situation)
    lines = []
    for number, step in enumerate(policy.steps, 1):
        whom = ", ".join(_names(step, situation)) or "whoever hears what is for nobody"
        late = quiet and since + step.after <= engine.now
        how = " (told)" if number <= told else " (held back: it is suppressed)" if late else ""
        lines.append(f"{since + step.after:%Y-%m-%d %H:%M} UTC: {whom}{how}")
    return tuple(lines)
