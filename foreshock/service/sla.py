"""Service levels in the engine: each situation with a ticket has a clock, and people are told as its time runs out.

All of it follows from records and timers, so a replay and a restart tell the same at the same moments.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from correlation import sla
from correlation.calendars import Hours
from correlation.settings import SlaTarget
from foreshock.core.contracts import NoticeKind
from foreshock.core.model import HeldKind, Moment, Situation, SituationState, SlaClock
from foreshock.core.quantities import format_duration
from foreshock.service import notices
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_OVER = "it is over"


def look(engine: "Engine", situation: Situation, *, anew: bool = False) -> None:
    """Stop the clock or let it run on, and tell what is due. anew: the settings are others now.

    Called after each change of the situation, so it is quick where nothing changes."""
    if situation.ticketed_at is None or (situation.sla is None and not engine.settings.sla.targets):
        return
    clock = situation.sla or _started(engine, situation)
    stopped = _why_stopped(engine, situation)
    same = clock.stopped == stopped and clock.priority == situation.priority
    if same and not anew and (clock.next_at is None or engine.now < clock.next_at):
        return
    situation.sla = _moved(engine, situation, clock, stopped)
    engine.dirty_situations[situation.id] = None
    if not stopped:
        _warn(engine, situation, situation.sla)
        engine.effects.situations[situation.id] = situation  # reports know of a promise that is broken
        situation.sla = msgspec.structs.replace(situation.sla, next_at=_next(engine, situation, situation.sla))
        wait(engine, situation)


def acknowledged(engine: "Engine", situation: Situation, actor: str) -> None:
    """A person has taken the ticket, or has written something on it, for the first time."""
    if situation.acknowledged_at is not None or situation.ticketed_at is None:
        return
    situation.acknowledged_at, situation.acknowledged_by = engine.now, actor
    target, clock = _target(engine, situation), situation.sla
    if clock is not None and target is not None and target.acknowledge is not None:
        in_time = sla.used(clock, engine.now, _hours(engine, clock)) < target.acknowledge
        situation.sla = msgspec.structs.replace(clock, acknowledged_in_time=in_time)


def wait(engine: "Engine", situation: Situation) -> None:
    """Set its timer."""
    if situation.sla is not None and situation.sla.next_at is not None and situation.sla.next_at > engine.now:
        engine.timers.at(situation.sla.next_at, Due.SLA, situation.id)


def due(engine: "Engine", id: str) -> None:
    situation = engine.situations.get(id)
    if situation is not None:
        look(engine, situation)


def windows_changed(engine: "Engine") -> None:
    """Planned work began or ended, maybe."""
    for situation in engine.situations.values():
        if situation.sla is not None and situation.state is SituationState.OPEN:
            look(engine, situation)


# ---- the clock ------------------------------------------------------------------------------------------------------


def _target(engine: "Engine", situation: Situation) -> SlaTarget | None:
    return engine.settings.sla.target(situation.priority)


def _hours(engine: "Engine", clock: SlaClock) -> Hours | None:
    return engine.settings.calendar(clock.calendar)


def _started(engine: "Engine", situation: Situation) -> SlaClock:
    return SlaClock(since=situation.ticketed_at, calendar=engine.settings.sla.calendar_of(situation.priority))


def _why_stopped(engine: "Engine", situation: Situation) -> str:
    """Empty while its time runs."""
    if situation.state is not SituationState.OPEN:
        return _OVER
    tickets = situation.tickets.values()
    if not any(ticket.open for ticket in tickets):
        who = next((ticket.closed_by for ticket in tickets if ticket.closed_by), "")
        return f"{who} closed its ticket" if who else "its ticket is closed"
    pauses = engine.settings.sla.pause
    if "pending" in pauses:
        for ticket in tickets:
            if ticket.open and ticket.pending:
                return f"pending: {ticket.pending}"
    return _maintenance(engine, situation) if "maintenance" in pauses else ""


def _maintenance(engine: "Engine", situation: Situation) -> str:
    """The planned work that covers all that is active of it."""
    asked, now = engine.suppression.asked, engine.now
    if not any(window.span(now) is not None for window in asked.windows.values()):
        return ""
    found = ""
    for alert in engine.members(situation):
        if not alert.active:
            continue
        held = next((one for one in asked.covering(alert, now) if one.kind is HeldKind.MAINTENANCE), None)
        if held is None:
            return ""
        found = found or held.reason
    return found


def _moved(engine: "Engine", situation: Situation, clock: SlaClock, stopped: str) -> SlaClock:
    target = _target(engine, situation)
    calendar = engine.settings.sla.calendar_of(situation.priority)
    if clock.stopped == stopped and clock.calendar == calendar:
        return msgspec.structs.replace(clock, priority=situation.priority)
    was = clock.stopped
    clock = sla.counted(clock, engine.now, _hours(engine, clock), stopped=stopped, calendar=calendar)
    if stopped != was:
        clock = _told_of(engine, situation, clock, target, was)
    return msgspec.structs.replace(clock, priority=situation.priority, next_at=None)


def _told_of(engine: "Engine", situation: Situation, clock: SlaClock, target: SlaTarget | None, was: str) -> SlaClock:
    """Judge it where it is over; say so where it is paused or runs on."""
    if _is_end(situation):
        merged = situation.state is SituationState.MERGED
        if target is None or target.resolve is None or merged or clock.resolved_in_time is not None:
            return clock
        return msgspec.structs.replace(clock, resolved_in_time=clock.used < target.resolve)
    if clock.stopped:
        engine.say("sla", situation.id, "paused", f"{clock.stopped}; {format_duration(_whole(clock.used))} are gone")
    elif was:
        engine.say("sla", situation.id, "runs on", f"{format_duration(_whole(clock.used))} are gone")
    return msgspec.structs.replace(clock, resolved_in_time=None)


def _is_end(situation: Situation) -> bool:
    return situation.state is not SituationState.OPEN or not any(ticket.open for ticket in situation.tickets.values())


# ---- what people are told -------------------------------------------------------------------------------------------


def _warn(engine: "Engine", situation: Situation, clock: SlaClock) -> None:
    target, levels = _target(engine, situation), engine.settings.sla.warn_at
    if target is None:
        return
    gone = sla.used(clock, engine.now, _hours(engine, clock))
    for what, amount, told in sla.promised(target, clock, acknowledged=situation.acknowledged_at is not None):
        level = sla.passed(gone, amount, levels, told)
        if not level:
            continue
        text = _words(situation, what, amount, level, target, sla.reached_at(clock, amount, _hours(engine, clock)))
        notices.tell(engine, situation, NoticeKind.SLA, level, text, _audience(situation, what))
        clock = msgspec.structs.replace(
            clock, **{"told_acknowledge" if what == sla.ACKNOWLEDGE else "told_resolve": level}
        )
    situation.sla = clock


def _next(engine: "Engine", situation: Situation, clock: SlaClock) -> Moment | None:
    """When the next percentage is reached."""
    target, hours = _target(engine, situation), _hours(engine, clock)
    if target is None:
        return None
    moments = [
        sla.reached_at(clock, sla.share(amount, level), hours)
        for what, amount, told in sla.promised(target, clock, acknowledged=situation.acknowledged_at is not None)
        for level in engine.settings.sla.warn_at
        if level > told
    ]
    return min((moment for moment in moments if moment is not None and moment > engine.now), default=None)


def _words(
    situation: Situation, what: str, amount: timedelta, level: int, target: SlaTarget, end: Moment | None
) -> str:
    within = format_duration(amount) + (f" of {target.calendar}" if target.calendar else "")
    state = "not acknowledged" if what == sla.ACKNOWLEDGE else "not resolved"
    head = f"{situation.id} (priority {situation.priority}) is {state}"
    when = f"{end:%Y-%m-%d %H:%M} UTC" if end is not None else "no time that is known"
    if level >= 100:
        more = f"; {level} % of them are gone" if level > 100 else ""
        return f"{head}: its {within} are over since {when}{more}."
    return f"{head}: {level} % of its {within} are gone, the rest ends {when}."


def _audience(situation: Situation, what: str) -> tuple[str, ...]:
    """Who has taken it, and the group it is assigned to."""
    open_tickets = [ticket for ticket in situation.tickets.values() if ticket.open]
    people = [ticket.assignee for ticket in open_tickets] if what == sla.RESOLVE else []
    return tuple(dict.fromkeys(filter(None, (*people, situation.assignment_group))))


def in_words(engine: "Engine", situation: Situation) -> tuple[str, ...]:
    """How it stands with what was promised, a sentence each."""
    clock = situation.sla
    target = engine.settings.sla.target(situation.priority)
    if clock is None or target is None:
        return ()
    gone, hours = sla.used(clock, engine.now, _hours(engine, clock)), _hours(engine, clock)
    found = []
    for what, amount, in_time in (
        ("acknowledged", target.acknowledge, clock.acknowledged_in_time),
        ("resolved", target.resolve, clock.resolved_in_time),
    ):
        if amount is None:
            continue
        within = f"{what} within {format_duration(amount)}" + (f" of {target.calendar}" if target.calendar else "")
        if in_time is not None:
            found.append(f"{within}: {'yes' if in_time else 'no'}")
        elif what == "acknowledged" and situation.acknowledged_at is not None:
            found.append(f"{within}: not judged")
        else:
            end = sla.reached_at(clock, amount, hours)
            if end is None:
                how = f"the clock stands: {clock.stopped}" if clock.stopped else "its hours never come"
            else:
                how = f"{'over since' if gone >= amount else 'until'} {end:%Y-%m-%d %H:%M} UTC"
            found.append(f"{within}: {int(100 * gone / amount)} % are gone; {how}")
    return tuple(found)


def _whole(amount: timedelta) -> timedelta:
    return timedelta(seconds=int(amount.total_seconds()))
