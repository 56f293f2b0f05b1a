"""Alerts in time: when each is over by itself, how flapping is held and settles, when it is forgotten."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from correlation import fold, variants
from correlation import ticket as ticket_text
from correlation.clock import NO_SKEW
from foreshock.core.model import Alert, Situation, SituationState
from foreshock.service import clashes, feedback, in_force, placing, sources, weighing
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_REMEMBERED = timedelta(hours=6)  # what ended is known for so long, so that a new situation can name the previous one


_MAX_ENDS = 1000


def set_expiry(engine: "Engine", unit: Alert) -> None:
    expires_at, unit.expires_at = unit.expires_at, None
    if expires_at is not None:
        expires(engine, unit, expires_at)


def expires(engine: "Engine", alert: Alert, expires_at: datetime, ahead: timedelta = NO_SKEW) -> None:
    """Set when the alert is over by itengine. It stands in one bucket; a later end is seen when that bucket is
    opened. ahead: of the clock that says so."""
    was = alert.expires_at
    expires_at = fold.in_our_time(expires_at, ahead)
    # Alerts of one batch mostly end at one moment: they share one value.
    if len(engine.ends) > _MAX_ENDS:
        engine.ends.clear()
    alert.expires_at = expires_at = engine.ends.setdefault(expires_at, expires_at)
    if was is None or expires_at < was:
        engine.timers.expiry(alert.fingerprint, expires_at)


def expire(engine: "Engine", key: str) -> None:
    alert = engine.alerts.get(key)
    due = None if alert is None else variants.due(alert)
    if alert is None or due is None:
        return
    if due > engine.now:  # sent again in between
        engine.timers.expiry(key, due)
        return
    was_flaps, held = alert.flaps, due - variants.whole(alert).last_seen
    over = variants.expire(alert, engine.now, engine.settings.fold)
    if alert.variants is not None:
        engine.suppression.forget(key)
    engine.dirty_alerts[key] = None
    if over:
        sources.ran_out(engine, alert, held)
        ended(engine, alert, was_flaps)
    elif (due := variants.due(alert)) is not None:
        engine.timers.expiry(key, due)


def end_all(engine: "Engine") -> None:
    """Whatever fires is over, as if it had run out now."""
    for key, alert in list(engine.alerts.items()):
        for unit in variants.units(alert):
            if unit.firing:
                unit.expires_at = engine.now
        if alert.active:
            expire(engine, key)


def ended(engine: "Engine", alert: Alert, was_flaps: int) -> None:
    engine.active -= 1
    if flaps_on(engine, alert, was_flaps):
        return
    if alert.situation:
        touched = engine.touch(alert.situation)
        touched.resolved += not alert.expired
        touched.ran_out += alert.expired
    else:
        keep_for_a_while(engine, alert)
    if not alert.expired:
        engine.suppression.ended(alert, engine.now, by_itself=not _taken_on(engine, alert))
    if not alert.active:
        engine.suppression.fell(alert)
    _begins_to_flap(engine, alert)


def _taken_on(engine: "Engine", alert: Alert) -> bool:
    """Whether a person has to do with it: what then ends did not end by itengine."""
    situation = engine.situation_of(alert)
    tickets = () if situation is None else situation.tickets.values()
    return any(ticket.assignee or ticket.closed_by or ticket.kept_open_by for ticket in tickets)


def flaps_on(engine: "Engine", alert: Alert, was_flaps: int) -> bool:
    """Whether a change is one that nobody needs to hear of: how flapping begins and how it settles is told, what
    lies between is counted."""
    engine.counts["flaps"] += was_flaps > 0
    return was_flaps > 0


def _begins_to_flap(engine: "Engine", alert: Alert) -> None:
    if alert.held_until is not None:
        engine.counts["flapping"] += 1
        engine.timers.at(alert.held_until, Due.FLAP_RELEASE, alert.fingerprint)
        _tell(engine, alert, ticket_text.flapping(alert, engine.settings.fold))


def _tell(engine: "Engine", alert: Alert, text: str) -> None:
    """Something that the ticket of the alert's situation should say, once."""
    situation = engine.situation_of(alert)
    if situation is not None:
        engine.touch(situation.id).notes.append(text)
        ticket_text.tell(situation, text)


def release(engine: "Engine", key: str) -> None:
    """A flapping alert has kept still for long enough."""
    alert = engine.alerts.get(key)
    if alert is None or alert.held_until is None:
        return
    if alert.held_until > engine.now:  # it changed again in between
        engine.timers.at(alert.held_until, Due.FLAP_RELEASE, key)
        return
    _tell(engine, alert, ticket_text.settled(alert, fold.settle(alert)))
    engine.dirty_alerts[key] = None
    if not alert.active:
        engine.suppression.fell(alert)
        if not alert.situation:
            keep_for_a_while(engine, alert)


def keep_for_a_while(engine: "Engine", alert: Alert) -> None:
    engine.timers.at(_forget_at(engine, alert), Due.EVICTION, alert.fingerprint)


def _forget_at(engine: "Engine", alert: Alert) -> datetime:
    """When an alert that is over is forgotten: later if it had a situation, so that the next one can name it."""
    over_at = alert.last_seen if alert.ends_at is None else max(alert.last_seen, alert.ends_at)
    reopen = engine.settings.group.reopen
    return over_at + (max(reopen, _REMEMBERED) if alert.situation else reopen)


def _gone_at(engine: "Engine", situation: Situation) -> datetime:
    """When a situation that is over can no longer be reopened."""
    return (situation.resolved_at or situation.updated_at) + engine.settings.group.reopen


def evict(engine: "Engine", key: str) -> None:
    """Forget an alert that is over and belongs to no situation we still hold, or a situation past its reopening
    time."""
    if key.startswith("J-"):
        feedback.lapse(engine, key)
        return
    if key.startswith("S-"):
        situation = engine.situations.get(key)
        if situation is None or situation.state is SituationState.OPEN:
            return
        if engine.now < (due := _gone_at(engine, situation)):  # reopened in between, or the settings changed
            engine.timers.at(due, Due.EVICTION, key)
            return
        engine.umbrellas.trim(engine.now)
        del engine.situations[key]
        engine.affected.pop(key, None)
        engine.hit.pop(key, None)
        engine.dirty_situations[key] = None
        for member in situation.members:
            alert = engine.alerts.get(member)
            if alert is not None and alert.situation == key and not alert.active:
                keep_for_a_while(engine, alert)
        return
    alert = engine.alerts.get(key)
    if alert is None or alert.active or alert.situation in engine.situations:
        return
    if engine.now < (due := _forget_at(engine, alert)):
        engine.timers.at(due, Due.EVICTION, key)
    else:
        forget(engine, alert)


def forget(engine: "Engine", alert: Alert) -> None:
    del engine.alerts[alert.fingerprint]
    engine.suppression.forget(alert.fingerprint)
    engine.dirty_alerts[alert.fingerprint] = None
    for unit in variants.units(alert):
        forget_spellings(engine, unit)
    engine.spellings.pop(alert.fingerprint, None)


def forget_spellings(engine: "Engine", unit: Alert) -> None:
    """Its labels are known no more, however they are written."""
    spellings = engine.spellings.get(unit.fingerprint, [])
    for family, spelling in ((engine.family(unit).name, unit.labels), *spellings):
        known = engine.known.get(family, {})
        if known.get(spelling) is unit:
            del known[spelling]
            if (family, spelling) in spellings:
                spellings.remove((family, spelling))


def fired_again(engine: "Engine", alert: Alert, was_flaps: int) -> None:
    if not flaps_on(engine, alert, was_flaps):
        in_force.leave_the_retired(engine, alert)
        engine.suppression.rose(alert)
        placing.goes_on(engine, alert)
        _begins_to_flap(engine, alert)
    elif alert.situation:
        weighing.weigh(engine, engine.situations[alert.situation], alert)


def watch(engine: "Engine", alert: Alert) -> None:
    """Set the timers of an alert, but the one for when it will be forgotten."""
    if (due := variants.due(alert)) is not None:
        engine.timers.expiry(alert.fingerprint, due)
    if alert.held_until is not None:
        engine.timers.at(alert.held_until, Due.FLAP_RELEASE, alert.fingerprint)
    clashes.watch(engine, alert)


def watch_what_is_over(engine: "Engine") -> None:
    """Note when each alert and situation that is over will be forgotten."""
    for alert in engine.alerts.values():
        if not alert.active and alert.situation not in engine.situations:
            keep_for_a_while(engine, alert)
    for situation in engine.situations.values():
        if situation.state is not SituationState.OPEN:
            engine.timers.at(_gone_at(engine, situation), Due.EVICTION, situation.id)
