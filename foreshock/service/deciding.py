"""After each record or timer: what is over, and what every sink should hear now. Tickets are decided here alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from correlation import body
from correlation import ticket as ticket_text
from correlation.body import Telling
from correlation.closing import label_of
from correlation.group import number
from correlation.next_step import Decision, Step, hold_back, may_be_held, next_step
from foreshock.core.contracts import Order, Record, TicketChange, Verb
from foreshock.core.model import Alert, Decided, Held, HeldKind, Situation, SituationState, Ticket, TicketState
from foreshock.service import (
    brake,
    decisions,
    escalation,
    forecasts,
    notices,
    problems,
    renumbered,
    sla,
    umbrella,
    weighing,
)
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine, Touched

_MAX_COVERED = 20
_ACKNOWLEDGING = frozenset({"taken", "commented", "pending", "resumed", "resolved", "closed"})
"""What a person does to a ticket that shows that somebody has seen it."""
_VERBS: Mapping[Step, Verb] = {
    Step.OPEN: Verb.OPEN,
    Step.UPDATE: Verb.UPDATE,
    Step.RESOLVE: Verb.RESOLVE,
    Step.REOPEN: Verb.REOPEN,
}


def settle(engine: "Engine") -> None:
    """After one record or timer: version, audit and the next ticket step of each situation it touched."""
    while True:
        _tell_of_touched(engine)
        _look_at_released(engine)
        if not engine.touched:
            return


def _tell_of_touched(engine: "Engine") -> None:
    while engine.touched:
        umbrella.rise(engine)
        touched, engine.touched = engine.touched, {}
        for id, what in _parents_first(engine, touched):
            situation = engine.situations.get(id)
            if situation is None:
                continue
            opened = situation.version == 0
            situation.version += 1
            situation.updated_at = engine.now
            engine.say(
                "situation",
                id,
                "opened" if opened else "merged" if situation.merged_into else "changed",
                what.words(),
            )
            evaluate(engine, situation)


def _look_at_released(engine: "Engine") -> None:
    found: dict[str, Situation] = {}
    for released in engine.suppression.released():
        alert = engine.known_alert(released)
        situation = None if alert is None else engine.situation_of(alert)
        if situation is not None and (situation.held or escalation.is_held_back(situation)):
            found[situation.id] = situation
    for id in sorted(found, key=number):  # where not all may open a ticket, it matters who is first
        evaluate(engine, found[id])


def _parents_first(engine: "Engine", touched: Mapping[str, "Touched"]) -> list[tuple[str, "Touched"]]:
    """So that what a parent tells of is not told before it."""
    situations = engine.situations
    return sorted(touched.items(), key=lambda item: item[0] in situations and bool(situations[item[0]].parent))


def evaluate(engine: "Engine", situation: Situation) -> None:
    """Clear, resolve, and tell the sinks, as far as it is time."""
    if situation.state is SituationState.OPEN:
        _look_for_the_end(engine, situation)
        brake.come_out(engine, situation)
    forecasts.look(engine, situation)
    held: tuple[Held, ...] = ()
    for sink, decision, holds in _decided(engine, situation):
        held = holds or held
        decisions.note_step(engine, situation, sink, decision)
        if decision.again_at is not None:
            engine.timers.look_at(situation.id, decision.again_at)
        if decision.step in _VERBS:
            _order(engine, situation, sink, _VERBS[decision.step], decision)
            if decision.step in (Step.OPEN, Step.REOPEN):
                _tell_those_under(engine, situation)
    _note_held(engine, situation, held)
    sla.look(engine, situation)
    escalation.look(engine, situation)
    engine.effects.situations[situation.id] = situation
    engine.effects.ended.pop(situation.id, None)
    if situation.state is not SituationState.OPEN:
        problems.ended(engine, situation)
        engine.effects.ended[situation.id] = engine.encode(situation)
    engine.dirty_situations[situation.id] = None


def _decided(engine: "Engine", situation: Situation) -> Iterable[tuple[str, Decision, tuple[Held, ...]]]:
    found = list(steps(engine, situation))
    if _opens(found) and brake.due(engine, situation):
        found = list(steps(engine, situation))
        if _opens(found):
            brake.opened(engine, situation)
    return found


def _opens(found: Iterable[tuple[str, Decision, tuple[Held, ...]]]) -> bool:
    return any(decision.step is Step.OPEN for _, decision, _ in found)


def _tell_those_under(engine: "Engine", parent: Situation) -> None:
    """Its ticket is open now: what else held those under it is no longer the reason."""
    for child in umbrella.children(engine, parent):
        if child.held:
            evaluate(engine, child)


def _look_for_the_end(engine: "Engine", situation: Situation) -> None:
    if engine.umbrellas.count(situation) or any(
        engine.alerts[member].active for member in reversed(situation.members) if member in engine.alerts
    ):
        situation.cleared_at = None
        return
    due = (situation.cleared_at or engine.now) + engine.settings.group.quiet_of(situation.priority)
    if situation.cleared_at is None:
        situation.cleared_at = engine.now
        quiet = Decided(at=engine.now, sink="", step="quiet", reason="no alert is active", until=due)
        engine.effects.decisions.append((situation.id, quiet))
    if engine.now < due:
        engine.timers.look_at(situation.id, due)
        return
    members = engine.members(situation)
    if ran_out := sum(alert.expired for alert in members):
        ticket_text.tell(situation, ticket_text.unsaid(ran_out, len(members)))
    weighing.conclude(engine, situation)
    situation.state = SituationState.RESOLVED
    situation.resolved_at = engine.now
    situation.version += 1
    situation.updated_at = engine.now
    engine.unindex(situation, members)
    umbrella.ended(engine, situation)
    engine.say("situation", situation.id, "resolved", f"quiet since {situation.cleared_at:%Y-%m-%d %H:%M:%S} UTC")
    engine.timers.at(engine.now + engine.settings.group.reopen, Due.EVICTION, situation.id)


def steps(engine: "Engine", situation: Situation) -> Iterator[tuple[str, Decision, tuple[Held, ...]]]:
    """For each sink what it should hear now, with the reasons if suppression holds that back."""
    suppressed: tuple[Held, ...] | None = None
    for sink in engine.sinks:
        ticket = situation.tickets.get(sink)
        held: tuple[Held, ...] = ()
        decision = next_step(situation, ticket, engine.now, engine.settings.ticket)
        if may_be_held(decision, situation, ticket):
            if decision.step is not Step.UPDATE:
                held = umbrella.held(engine, situation, sink)
            if not held and decision.step is Step.OPEN:
                held = brake.waits_on(engine, situation, sink)
            if not held:
                held = suppressed = holds(engine, situation) if suppressed is None else suppressed
            if not held and decision.step is Step.OPEN:
                held = brake.waits(engine, situation)
            decision = hold_back(decision, situation, ticket, held)
        yield sink, decision, held if decision.step is Step.HOLD else ()


def holds(engine: "Engine", situation: Situation) -> tuple[Held, ...]:
    """What suppresses every active alert of the situation now, whether or not a ticket write is due; empty if one
    alert may disturb."""
    return engine.suppression.holds(situation, engine.members(situation), engine.now)


def _note_held(engine: "Engine", situation: Situation, held: tuple[Held, ...]) -> None:
    """What is not done is data too: told when it begins, ends, or has another reason."""
    if not held and not situation.held:
        return
    before, situation.held = situation.held, held
    if [(one.kind, one.id) for one in before] != [(one.kind, one.id) for one in held]:
        engine.say("situation", situation.id, "held" if held else "no longer held", situation.held_by)


def _order(engine: "Engine", situation: Situation, sink: str, verb: Verb, decision: Decision) -> None:
    engine.last_order += 1
    situation.ticketed_at = situation.ticketed_at or engine.now
    ticket = situation.tickets.get(sink) or Ticket(sink=sink)
    weighing.conclude(engine, situation)
    summary = umbrella.summary(engine, situation)
    members = engine.members(situation)
    common, storm = (summary.ci, summary.storm) if summary is not None else ("", False)
    found = weighing.assigned(engine, situation.causes, members, common, storm=storm)
    if found.group and found.group != situation.assignment_group:
        engine.say("situation", situation.id, "assigned", f"{found.group}: {found.reason}")
    situation.assignment_group, situation.assignment_reason = found.group, found.reason
    problems.occurred(engine, situation, members)
    telling = Telling(
        situation=situation,
        members=members,
        umbrella=summary,
        part_of=umbrella.part_of(engine, situation, sink),
        changes=weighing.suspect_changes(engine, situation, members),
        windows=_windows(engine, members),
        **problems.telling(engine, situation, sink),
    )
    told = ticket_text.told(situation, members, "" if telling.cause is None else telling.cause.ci)
    situation.tickets[sink] = msgspec.structs.replace(
        ticket,
        open=verb is not Verb.RESOLVE,
        pending=ticket.pending if verb is Verb.UPDATE else "",
        kept_open_by="",
        priority=situation.priority,
        version=situation.version,
        written_at=engine.now,
        told=told,
        state=TicketState.PLANNED if verb is Verb.OPEN else ticket.state,
    )
    note = ticket_text.note(situation, members, decision.step, decision.reason, ticket, told, summary)
    engine.effects.orders.append(
        Order(
            id=f"{situation.id}/{sink}/{engine.last_order}",
            sink=sink,
            situation=situation.id,
            key=situation.id,
            verb=verb,
            version=situation.version,
            at=engine.now,
            fields=body.fields(telling, engine.settings.ticket.text_of(sink)),
            note="\n".join(filter(None, (note, problems.note(engine, situation, sink, verb)))),
            url=f"/incidents/{situation.id}",
        )
    )
    engine.say("ticket", situation.id, verb.value, f"{sink}: {decision.reason}")


def _windows(engine: "Engine", members: Sequence[Alert]) -> list[Held]:
    """Maintenance that covers one of the first alerts now, each window once."""
    found = {
        held.id: held
        for alert in members[:_MAX_COVERED]
        for held in engine.suppression.asked.covering(alert, engine.now)
        if held.kind is HeldKind.MAINTENANCE
    }
    return [found[id] for id in sorted(found)]


def read_ticket_change(engine: "Engine", record: Record) -> None:
    change = msgspec.json.decode(record.body, type=TicketChange)
    if change.alerts:
        found = renumbered.here(engine, change)
        if found is None:
            return
        change = found
    if notices.is_notice(change.situation):
        notices.heard(engine, change)
        return
    if problems.is_problem(change.situation):
        problems.heard(engine, change)
        return
    situation = engine.situations.get(change.situation)
    ticket = situation.tickets.get(change.sink) if situation is not None else None
    if change.origin == "read":
        if change.sequence <= engine.heard.get(change.sink, 0):
            return
        engine.heard[change.sink] = change.sequence
    elif change.origin == "compared":
        if ticket is None or not _differs_still(ticket, change):
            return
    elif ticket is None:  # it was forgotten while the sink did not answer
        problems.ticket_heard(engine, change)
        return
    elif change.sequence <= ticket.heard:
        return
    label = label_of(change.code, engine.settings.ticket.close_codes)
    code = f"[{', '.join(filter(None, (change.code, label.replace('_', ' '))))}]" if change.code else ""
    detail = " ".join(filter(None, (change.sink, change.number, code, change.comment)))
    engine.say("ticket", change.situation, change.state, detail, actor=change.actor)
    problems.ticket_heard(engine, change)
    if situation is None or ticket is None:  # not one that we asked for: nothing to keep in step
        return
    if change.origin == "read" and change.state in _ACKNOWLEDGING:
        sla.acknowledged(engine, situation, change.actor)
    told: dict[str, Any] = {"number": change.number or ticket.number, "url": change.url or ticket.url}
    if change.origin == "write":
        told["heard"] = change.sequence
    if change.state == "confirmed":
        told["state"] = TicketState.CONFIRMED
    elif change.state == "rejected":
        told["state"] = TicketState.REJECTED
    elif change.state == "taken":
        told |= {"assignee": change.actor, "pending": ""}
    elif change.state == "pending":
        told["pending"] = change.comment or "it waits for somebody"
    elif change.state == "resumed":
        told["pending"] = ""
    elif (
        change.state == "deleted"
        and engine.settings.ticket.deleted == "replace"
        and situation.state is SituationState.OPEN
    ):
        told |= {"open": False, "assignee": "", "pending": ""}  # opened again, and there is no record: a new one
    elif change.state in ("resolved", "closed", "deleted"):
        who = change.actor or "a person"
        told |= {"open": False, "closed_by": who, "closed_at": engine.now, "kept_open_by": "", "pending": ""}
        told["label"] = label.value or ticket.label
    elif change.state == "reopened":
        over = situation.state is not SituationState.OPEN
        kept = (change.actor or "a person") if over else ""
        told |= {"open": True, "closed_by": "", "closed_at": None, "kept_open_by": kept, "label": ""}
    with umbrella.watched(engine, situation, change.sink):
        situation.tickets[change.sink] = msgspec.structs.replace(ticket, **told)
        evaluate(engine, situation)


def _differs_still(ticket: Ticket, change: TicketChange) -> bool:
    """Whether what a comparison found is news: a record may have come in between."""
    if change.number != ticket.number:
        return False
    return not (ticket.open or ticket.closed_by) if change.state == "reopened" else ticket.open


def evaluate_held(engine: "Engine") -> None:
    for situation in list(engine.situations.values()):
        if situation.held:
            evaluate(engine, situation)
