"""What comes under an umbrella, and what that changes: who is whose child, how urgent the parent is, who tells of what.

``correlation.umbrella`` finds them. Here they are brought together when a situation has opened, and let go when one of
them ends. No alert changes its situation; only a ticket that would be opened is not, while the parent has one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from correlation import prioritise
from correlation import ticket as ticket_text
from correlation import umbrella as umbrellas
from correlation.group import number
from correlation.umbrella import Found, Summary, is_closed, may_come_under
from foreshock.core.model import Held, Situation, SituationState, Umbrella
from foreshock.core.quantities import format_duration
from foreshock.service import deciding, feedback, weighing

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


MAX_LISTED = 10
"""Children that the ticket of their parent names."""


def rise(engine: "Engine") -> None:
    """Those that opened, or were reopened, or grew much, with this record: what do they come together with?"""
    while engine.risen:
        id = next(iter(engine.risen))
        full = engine.risen.pop(id)
        situation = engine.situations.get(id)
        if situation is None or situation.state is not SituationState.OPEN:
            continue
        parent = standing(engine, situation.parent or full)
        before, situation.parent = situation.parent, ""
        situation.was_under = before if parent is None else ""
        engine.umbrellas.add(situation, engine.now)
        if parent is not None and parent is not situation and not is_closed(parent):
            come_under(engine, situation, parent, "it is back" if before else f"{full} is full")
        else:
            _come_together(engine, situation)
    while engine.grown:
        id = next(iter(engine.grown))
        del engine.grown[id]
        if (situation := engine.situations.get(id)) is not None:
            _come_together(engine, situation)


def standing(engine: "Engine", id: str) -> Situation | None:
    """Who holds the umbrella that ``id`` is under, or could: the open one it is now; None if that is over."""
    situation = engine.situations.get(id)
    while situation is not None and situation.merged_into:
        situation = engine.situations.get(situation.merged_into)
    if situation is None or situation.state is not SituationState.OPEN:
        return None
    return _top(engine, situation)


def _top(engine: "Engine", situation: Situation) -> Situation:
    return engine.situations[situation.parent] if situation.parent else situation


def _come_together(engine: "Engine", situation: Situation) -> None:
    """With an umbrella that stands, or under a new one; and what holds that one may in turn come under another."""
    while (found := engine.umbrellas.find(situation, engine.now, engine.affected)) is not None:
        here = [engine.situations[id] for id in found.situations]
        holder = engine.situations[found.holder] if found.holder else umbrellas.choose(here, found.ci, engine.affected)
        others = [each for each in here if may_come_under(each) and not feedback.kept_apart(engine, holder, each)]
        others = [each for each in others if each is not holder]
        if not others:
            return
        if len(here) > 1:
            _open_umbrella(engine, holder, found, len(others))
        for other in others:
            come_under(engine, other, holder, f"it began below {found.ci}")
        situation = holder


def overflow(engine: "Engine", situation: Situation, other: Situation) -> None:
    """They are one problem, and too large to be one situation."""
    parent, child = (standing(engine, each.id) for each in (situation, other))
    if parent is None or child is None or parent is child or is_closed(parent) or not may_come_under(child):
        return
    if other.id in engine.risen:
        engine.risen[other.id] = situation.id
    elif parent.id not in engine.risen:
        come_under(engine, child, parent, f"together with {situation.id} it has too many alerts for one situation")


def _open_umbrella(engine: "Engine", holder: Situation, found: Found, others: int) -> None:
    within = format_duration(engine.settings.umbrella.within)
    told = f"{len(found.situations)} situations below {found.ci} within {within}: one umbrella over them"
    known = holder.umbrella or _new(engine)
    hold(engine, holder, msgspec.structs.replace(known, ci=found.ci, enough=others))
    engine.touch(holder.id).notes.append(told)
    ticket_text.tell(holder, told)


def _new(engine: "Engine") -> Umbrella:
    engine.counts["umbrellas"] += 1
    return Umbrella(since=engine.now)


def hold(engine: "Engine", holder: Situation, umbrella: Umbrella) -> None:
    """It holds this one now."""
    engine.dirty_situations[holder.id] = None
    if holder.id in engine.risen:
        holder.umbrella = umbrella
        return
    engine.umbrellas.drop(holder)
    holder.umbrella = umbrella
    engine.umbrellas.add(holder, engine.now)


def come_under(engine: "Engine", child: Situation, parent: Situation, why: str) -> None:
    """``child``, under no umbrella and not over, is under that of ``parent`` now, and so is all that was under its
    own."""
    engine.counts["under"] += 1
    under = [engine.situations[id] for id in engine.umbrellas.under(child)]
    engine.umbrellas.drop(child)
    held, child.umbrella, child.parent = child.umbrella, None, parent.id
    engine.umbrellas.add(child, engine.now)
    known = parent.umbrella or _new(engine)
    if held is not None and (wider := umbrellas.both(known, held)) != known:
        hold(engine, parent, wider)
        known = wider
    parent.umbrella = msgspec.structs.replace(known, total=known.total + 1)
    engine.touch(parent.id).came_under += 1
    for each in under:
        _hand_over(engine, each, parent)
    told = f"under the umbrella of {parent.id}: {why}"
    engine.touch(child.id).notes.append(told)
    if child.tickets:
        ticket_text.tell(child, told[0].upper() + told[1:] + ".")
    weigh(engine, parent, child)


def _hand_over(engine: "Engine", child: Situation, parent: Situation) -> None:
    engine.umbrellas.drop(child)
    child.parent = parent.id
    engine.umbrellas.add(child, engine.now)
    engine.touch(child.id).notes.append(f"now under the umbrella of {parent.id}")


# ---- what ends ------------------------------------------------------------------------------------------------------


def ended(engine: "Engine", situation: Situation) -> None:
    """It is over; nothing is under its umbrella."""
    if situation.id in engine.risen:
        del engine.risen[situation.id]
        return
    engine.umbrellas.drop(situation)
    if situation.parent:
        engine.touch(situation.parent).below_over += 1


def reopened(engine: "Engine", situation: Situation) -> None:
    """It is open again, and its umbrella was over."""
    situation.reopened_at, situation.umbrella = engine.now, None
    engine.risen[situation.id] = ""


def merged(engine: "Engine", loser: Situation, winner: Situation) -> None:
    """What was under the umbrella of ``loser`` is under that of ``winner``, or of what that one is under."""
    under = [engine.situations[id] for id in engine.umbrellas.under(loser)]
    if loser.id in engine.risen:
        del engine.risen[loser.id]
    else:
        engine.umbrellas.drop(loser)
    if loser.parent:
        engine.touch(loser.parent).below_over += 1
    held, loser.umbrella, loser.parent = loser.umbrella, None, ""
    if winner.id in engine.risen:
        winner.parent = ""
    elif winner.parent == loser.id:  # it takes the place
        engine.umbrellas.drop(winner)
        winner.parent = ""
        engine.umbrellas.add(winner, engine.now)
    if held is None:
        return
    parent = _top(engine, winner)
    known = held if parent.umbrella is None else umbrellas.both(parent.umbrella, held)
    hold(engine, parent, msgspec.structs.replace(known, total=known.total - (winner in under)))
    for child in under:
        if child is not parent:
            _hand_over(engine, child, parent)
            weigh(engine, parent, child)


def respect(engine: "Engine") -> None:
    """A person said that something is not related: what is under an umbrella all the same leaves it."""
    for child in [each for each in engine.situations.values() if each.parent and each.state is SituationState.OPEN]:
        if child.id not in engine.risen and feedback.kept_apart(engine, engine.situations[child.parent], child):
            let_go(engine, child)


def let_go(engine: "Engine", child: Situation) -> None:
    """It tells of itself again."""
    parent = child.parent
    engine.umbrellas.drop(child)
    child.parent = ""
    engine.umbrellas.add(child, engine.now)
    engine.touch(parent).below_over += 1
    engine.touch(child.id).notes.append(f"no longer under the umbrella of {parent}")


@contextmanager
def watched(engine: "Engine", parent: Situation, sink: str) -> Iterator[None]:
    """Its ticket changes. What is under it hears of that where it then needs tickets of its own, or none any more: very
    many may be under it, and most changes mean nothing to them."""
    before = _held_by(engine, parent, sink)
    yield
    if _held_by(engine, parent, sink) != before:
        for id in engine.umbrellas.under(parent):
            deciding.evaluate(engine, engine.situations[id])


# ---- what it amounts to ---------------------------------------------------------------------------------------------


def weigh(engine: "Engine", parent: Situation, child: Situation) -> None:
    """A parent is as urgent as any of its children, and as wide as all of them; like any priority, it only rises."""
    before, settings = parent.priority, engine.settings.priority
    parent.severity = max(parent.severity, child.severity)
    if child.criticality and not 0 < parent.criticality < child.criticality:
        parent.criticality = child.criticality
    cis = len(engine.affected.get(parent.id, ())) + engine.umbrellas.count(parent)
    services = len(weighing.hit(engine, parent))
    impact = min(child.impact, prioritise.impact(parent.criticality, services, cis, settings))
    parent.impact = min(parent.impact, impact)
    if child.urgency < parent.urgency:
        weighing.urge_as(engine, parent, child.urgency, child.urged)
    parent.priority = prioritise.priority(parent.impact, parent.urgency, settings)
    if parent.priority < before:
        engine.touch(parent.id).notes.append(f"priority rose from {before} to {parent.priority}")


def held(engine: "Engine", situation: Situation, sink: str) -> tuple[Held, ...]:
    """Why its parent tells of it in this sink; empty if it must tell by itself."""
    if not situation.parent:
        return ()
    found = _held_by(engine, engine.situations.get(situation.parent), sink)
    return () if found is None else (found,)


def _held_by(engine: "Engine", parent: Situation | None, sink: str) -> Held | None:
    return umbrellas.held(parent, sink, engine.now, engine.settings.umbrella)


def summary(engine: "Engine", parent: Situation) -> Summary | None:
    """None where nothing ever came under it."""
    held = parent.umbrella
    if held is None:
        return None
    under = children(engine, parent)
    own = [[ticket for ticket in child.tickets.values() if ticket.open] for child in under if child.tickets]
    cis: set[str] = set().union(*(engine.affected.get(each.id, ()) for each in (parent, *under)))
    alerts = active = 0
    for each in (parent, *under):
        members = engine.members(each)
        alerts += len(members)
        active += sum(alert.active for alert in members)
    worst = nsmallest(MAX_LISTED, under, key=lambda each: (each.priority, number(each.id)))
    return Summary(
        ci=held.ci,
        kind=engine.topology.kind(held.ci),
        storm=bool(held.storm),
        total=held.total,
        open=len(under),
        alerts=alerts,
        active=active,
        cis=len(cis),
        ticketed=sum(bool(tickets) for tickets in own),
        tickets=tuple(islice((ticket.number for tickets in own for ticket in tickets if ticket.number), MAX_LISTED)),
        worst=tuple(f"P{each.priority} {each.id}: {each.title}, {len(each.members)} alerts" for each in worst),
    )


def part_of(engine: "Engine", child: Situation, sink: str) -> str:
    """Whose ticket is for it too, in words; empty where it is under no umbrella."""
    parent = engine.situations.get(child.parent)
    ticket = parent.tickets.get(sink) if parent is not None else None
    if parent is None or ticket is None or not ticket.open:
        return ""
    return f"{parent.id} ({ticket.number})" if ticket.number else parent.id


def services(engine: "Engine", parent: Situation) -> set[str]:
    """Business services that depend on where its children began."""
    return {service for child in children(engine, parent) for service in engine.topology.services(child.first_ci)}


def children(engine: "Engine", parent: Situation) -> Sequence[Situation]:
    """The open ones under its umbrella, in the order in which they rose."""
    return [engine.situations[id] for id in engine.umbrellas.under(parent)]
