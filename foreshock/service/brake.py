"""The storm brake in the engine: where tickets become due too fast, one situation has the ticket for the rest.

It is an umbrella like any other, but for what it is over: it holds what came too fast, whatever that is. So it is
updated, ends, is merged, rejected and closed by a person as any umbrella is. What people shaped, and what stands for
others already, never stands back; a resolution, an update or a reopening is no creation and is not asked about.
"""

from typing import TYPE_CHECKING

import msgspec

from correlation.brake import Brake
from correlation.umbrella import is_closed
from foreshock.core.model import Held, HeldKind, Situation, Umbrella
from foreshock.service import feedback, umbrella
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from datetime import datetime

    from foreshock.service.engine import Engine


def waits(engine: "Engine", situation: Situation) -> tuple[Held, ...]:
    """Why a situation that is due to open a ticket does not yet, where another's ticket does not stand for it; empty if
    it may, or comes under an umbrella first."""
    if not _most(engine) or _is_exempt(situation):
        return ()
    until = _full_until(engine, situation)
    if situation.id in engine.risen:  # it is placed with this very record, and then asked again
        if until is None and not engine.brake.stops(situation.priority):
            return ()
        return (Held(kind=HeldKind.STORM, id=engine.brake.holder, reason="tickets are due too fast"),)
    parent = _standing_parent(engine, situation)
    if until is None or parent is None:
        return ()
    return (Held(kind=HeldKind.STORM, id=parent.id, reason=_no_room(parent), until=until),)


def waits_on(engine: "Engine", situation: Situation, sink: str) -> tuple[Held, ...]:
    """What ``waits`` has said of it and is not over yet; empty if nothing. It holds until then, whatever else happens,
    so that it does not matter how often one asks."""
    parent = _standing_parent(engine, situation)
    if parent is None or not _most(engine) or _is_exempt(situation):
        return ()
    reason = _no_room(parent)
    return tuple(
        Held(kind=HeldKind.STORM, id=parent.id, reason=reason, until=said.until)
        for said in situation.decided
        if (said.sink, said.reason) == (sink, reason) and said.until is not None and said.until > engine.now
    )


def _no_room(parent: Situation) -> str:
    return f"as many tickets as may be were opened within the last minute, and that of {parent.id} is not for it"


def come_out(engine: "Engine", situation: Situation) -> None:
    """What has become more urgent than what its umbrella is for leaves it as soon as there is room."""
    if not situation.parent or not _is_above(engine, situation):
        return
    until = _full_until(engine, situation)
    if until is None:
        umbrella.let_go(engine, situation)
    else:
        engine.timers.look_at(situation.id, until)


def due(engine: "Engine", situation: Situation) -> bool:
    """It would open a ticket now. True: something else is to be told instead, for the brake took hold."""
    most, brake, now = _most(engine), engine.brake, engine.now
    if not most:
        return False
    engine.dirty.add(("brake", ""))
    if _is_exempt(situation) or _standing_parent(engine, situation) is not None:
        brake.open(situation.priority, now)
        return False
    if not brake.stops(situation.priority) and brake.full_until(situation.priority, now, most) is None:
        brake.open(situation.priority, now)
        return False
    return _hold_back(engine, situation)


def opened(engine: "Engine", situation: Situation) -> None:
    """It opens one all the same: that of its holder was refused, or is not for it."""
    if not _is_exempt(situation):  # a new holder was counted when it became one
        engine.brake.open(situation.priority, engine.now)


def _hold_back(engine: "Engine", situation: Situation) -> bool:
    holder = _holder(engine)
    if holder is not None and feedback.kept_apart(engine, holder, situation):
        engine.brake.open(situation.priority, engine.now)
        return False
    if engine.brake.stops(situation.priority):
        engine.brake.want(engine.now, _most(engine))
    else:
        _begin(engine, situation)
    if situation.parent:  # a person closed the ticket of that one
        umbrella.let_go(engine, situation)
    if holder is None:
        _have_the_ticket(engine, situation)
        return True
    assert holder.umbrella is not None
    if engine.brake.level < holder.umbrella.storm:
        holder.umbrella = msgspec.structs.replace(holder.umbrella, storm=engine.brake.level)
    engine.brake.held += 1
    engine.counts["braked"] += 1
    umbrella.come_under(engine, situation, holder, "tickets were due too fast")
    return True


def _begin(engine: "Engine", situation: Situation) -> None:
    brake, most = engine.brake, _most(engine)
    is_new = brake.since is None
    brake.begin(situation.priority, engine.now, most)
    if not is_new:
        return
    engine.counts["storms"] += 1
    engine.timers.at(brake.over_at(most), Due.STORM, "")
    holder = _holder(engine)
    if holder is not None:
        _say_began(engine, holder)


def _have_the_ticket(engine: "Engine", situation: Situation) -> None:
    engine.brake.holder = situation.id
    engine.brake.open(situation.priority, engine.now)
    umbrella.hold(engine, situation, Umbrella(since=engine.now, storm=engine.brake.level))
    _say_began(engine, situation)


def _say_began(engine: "Engine", holder: Situation) -> None:
    engine.say(
        "storm",
        holder.id,
        "storm began",
        f"tickets became due faster than {_most(engine)} a minute: what follows of priority {engine.brake.level}, or "
        "less urgent, has its ticket here",
    )


def look(engine: "Engine") -> None:
    """Is the storm over?"""
    brake, most = engine.brake, _most(engine)
    if brake.since is None:
        return
    if most and engine.now < (over_at := brake.over_at(most)):
        engine.timers.at(over_at, Due.STORM, "")
        return
    engine.say(
        "storm",
        brake.holder,
        "storm ended",
        f"since {brake.since:%H:%M:%S} UTC {brake.held} came under it; they stay until they are over",
    )
    brake.end()
    engine.dirty.add(("brake", ""))


def restore(engine: "Engine", saved: bytes) -> None:
    engine.brake = msgspec.msgpack.decode(saved, type=Brake)
    if engine.brake.since is not None:
        engine.timers.at(max(engine.now, engine.brake.over_at(max(1, _most(engine)))), Due.STORM, "")


# ---- who is who -----------------------------------------------------------------------------------------------------


def _most(engine: "Engine") -> int:
    return engine.settings.ticket.max_new_per_minute


def _full_until(engine: "Engine", situation: Situation) -> "datetime | None":
    most = _most(engine)
    return engine.brake.full_until(situation.priority, engine.now, most) if most else None


def _is_exempt(situation: Situation) -> bool:
    return situation.umbrella is not None or bool(situation.shaped_by)


def _standing_parent(engine: "Engine", situation: Situation) -> Situation | None:
    """Under whose umbrella it stays, for nobody closed the ticket of that one."""
    parent = engine.situations.get(situation.parent)
    return None if parent is None or is_closed(parent) else parent


def _is_above(engine: "Engine", situation: Situation) -> bool:
    parent = engine.situations.get(situation.parent)
    if parent is None or parent.umbrella is None or situation.id in engine.risen:
        return False
    above = situation.priority < parent.umbrella.storm
    return above and any(sink not in situation.tickets for sink in engine.sinks)


def _holder(engine: "Engine") -> Situation | None:
    """Who has the ticket for what comes too fast; None where nobody has, or a person closed it."""
    found = umbrella.standing(engine, engine.brake.holder)
    if found is None or found.umbrella is None or not found.umbrella.storm or is_closed(found):
        return None
    return None if found.id in engine.risen else found
