"""Problems in the engine: which incidents come back, what each sink's Problem record should hear, and what it answers.

An incident counts from its first ticket write on. A sink hears of a Problem once it has confirmed the ticket of an
incident that belongs to it, so that there is something to link.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from correlation import problem as recurrence
from correlation.closing import label_of
from correlation.problem import Occurrence, Pattern, Problem, ProblemRecord
from foreshock.core.contracts import TicketChange, Verb
from foreshock.core.model import Alert, Situation, SituationState, TicketState
from foreshock.service import forecasts, problem_orders
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from foreshock.service.engine import Engine

_KEY = "P-"


def is_problem(key: str) -> bool:
    """Whether an order or a ticket change is about a Problem."""
    return key.startswith(_KEY)


# ---- what happens to incidents --------------------------------------------------------------------------------------


def occurred(engine: "Engine", situation: Situation, members: "Sequence[Alert]") -> None:
    """A ticket of ``situation``, whose causes are ranked, is written."""
    if not members or situation.state is not SituationState.OPEN:
        return
    forecasts.look(engine, situation)  # now that its causes are ranked
    known = engine.patterns.of(situation.id)
    if known is not None and (known.problem is not None or _is_of(situation, members, known)):
        _goes_on(engine, known, situation)
        return
    settings = engine.settings.problem
    if known is None and (situation.priority > settings.min_priority or recurrence.excluded(members, settings)):
        return
    if known is not None:  # its cause became another one since
        _take_back(engine, known, situation.id)
    _add(engine, situation, members)


def _is_of(situation: Situation, members: "Sequence[Alert]", known: Pattern) -> bool:
    found = recurrence.signature(situation, members)
    return found.place == known.place


def _add(engine: "Engine", situation: Situation, members: "Sequence[Alert]") -> None:
    patterns, found = engine.patterns, recurrence.signature(situation, members)
    pattern = patterns.like(found)
    if pattern is None:
        pattern = Pattern(id=found.id, place=found.place, ci=found.ci, names=found.names, since=engine.now)
        patterns.add(pattern)
    pattern.title = situation.title
    pattern.impact, pattern.urgency, pattern.priority = situation.impact, situation.urgency, situation.priority
    pattern.assignment_group = situation.assignment_group
    changes = [change for _, change in engine.changes.of([found.ci])] if found.ci else []
    numbers = {sink: ticket.number for sink, ticket in situation.tickets.items() if ticket.number}
    patterns.occur(
        pattern,
        Occurrence(
            situation=situation.id,
            title=situation.title,
            priority=situation.priority,
            opened_at=situation.opened_at,
            change=recurrence.before(changes, situation.onset),
            tickets=numbers,
        ),
    )
    for old in patterns.overflow():
        patterns.forget(old)
        engine.dirty.add(("pattern", old.id))
    _judge(engine, pattern)


def _judge(engine: "Engine", pattern: Pattern) -> None:
    """It came back: once more, or often enough to become a Problem."""
    now, settings = engine.now, engine.settings.problem
    problem = pattern.problem
    if problem is None:
        found = recurrence.verdict(pattern, now, settings)
        if found.recurs:
            engine.last_problem += 1
            problem = Problem(id=f"{_KEY}{engine.last_problem}", opened_at=now, reason=found.reason)
            pattern.problem = problem
            engine.say("problem", problem.id, "opened", f"{recurrence.title(pattern)}: {found.reason}")
    elif problem.quiet_since is not None:
        problem.quiet_since = None
        engine.say("problem", problem.id, "came back", recurrence.line(pattern.last))
    _changed(engine, pattern)
    _link(engine, pattern, pattern.last.tickets)  # elsewhere once its own ticket is confirmed there


def _take_back(engine: "Engine", pattern: Pattern, situation: str) -> None:
    engine.patterns.take_back(pattern, situation)
    _changed(engine, pattern)


def ended(engine: "Engine", situation: Situation) -> None:
    """It is resolved, or was merged into another one and so was no incident of its own."""
    pattern = engine.patterns.of(situation.id)
    occurrence = pattern.of(situation.id) if pattern is not None else None
    if pattern is None or occurrence is None or occurrence.ended_at is not None:
        return
    if situation.merged_into and pattern.problem is None:
        _take_back(engine, pattern, situation.id)
        return
    occurrence.ended_at = engine.now
    occurrence.title, occurrence.priority = situation.title, situation.priority
    by_itself = f"merged into {situation.merged_into}" if situation.merged_into else "recovered by itself"
    occurrence.how = occurrence.how or by_itself
    _changed(engine, pattern)


def _goes_on(engine: "Engine", pattern: Pattern, situation: Situation) -> None:
    """Where it was reopened, it is the same incident."""
    occurrence = pattern.of(situation.id)
    if occurrence is not None and occurrence.ended_at is not None:
        occurrence.ended_at, occurrence.how = None, ""
        _changed(engine, pattern)


def ticket_heard(engine: "Engine", change: TicketChange) -> None:
    """What a sink, or a person there, says of the ticket of an incident, however long ago that was."""
    forecasts.ticket_heard(engine, change)
    pattern = engine.patterns.of(change.situation)
    occurrence = pattern.of(change.situation) if pattern is not None else None
    if pattern is None or occurrence is None:
        return
    if change.state == "confirmed":
        if change.number and occurrence.tickets.get(change.sink) != change.number:
            occurrence.tickets = {**occurrence.tickets, change.sink: change.number}
            _changed(engine, pattern)
        _link(engine, pattern, (change.sink,))
    elif change.state in ("resolved", "closed"):
        code = f" as {change.code}" if change.code else ""
        occurrence.how = f"{change.state} by {change.actor or 'a person'}{code}"[:200]
        occurrence.said = recurrence.cut(change.comment) or occurrence.said
        occurrence.label = label_of(change.code, engine.settings.ticket.close_codes) or occurrence.label
        _changed(engine, pattern)


def note(engine: "Engine", situation: Situation, sink: str, verb: Verb) -> str:
    """What the note of a ticket that is opened, or opened again, says of the Problem it belongs to."""
    if verb not in (Verb.OPEN, Verb.REOPEN):
        return ""
    pattern = engine.patterns.of(situation.id)
    known = "" if pattern is None else recurrence.for_incident(pattern, sink)
    return "\n".join(filter(None, (known, *forecasts.notes(engine, situation, sink))))


def telling(engine: "Engine", situation: Situation, sink: str) -> dict[str, Any]:
    """What the text of its ticket in ``sink`` may say of it, in the fields of ``correlation.body.Telling``."""
    pattern = engine.patterns.of(situation.id)
    if pattern is None:
        return {}
    problem = pattern.problem
    return {
        "similar": recurrence.similar(pattern, situation.id, sink),
        "problem": recurrence.number_in(sink, problem) if problem is not None else "",
        "known_error": problem.known_error[1] if problem is not None else "",
    }


# ---- what the sinks hear --------------------------------------------------------------------------------------------


def _link(engine: "Engine", pattern: Pattern, sinks: "Iterable[str]") -> None:
    """Each of these sinks that keeps Problems hears of the incidents that it has confirmed and was not told of."""
    if (problem := pattern.problem) is None:
        return
    for sink in sorted(set(engine.problem_sinks).intersection(sinks)):
        record = problem.records.get(sink)
        linked = set() if record is None or record.state == TicketState.REJECTED else set(record.linked)
        confirmed = [each.situation for each in pattern.occurrences if sink in each.tickets]
        news = tuple(id for id in confirmed if id not in linked)
        if not news:
            continue
        if record is None or record.state == TicketState.REJECTED or record.ended:
            record = problem_orders.next_record(problem, record)
            problem.records = {**problem.records, sink: record}
            note = f"Opened by Foreshock: {problem.reason}."
            _order(engine, pattern, sink, Verb.OPEN, note, news)
        else:
            _order(engine, pattern, sink, Verb.UPDATE, recurrence.again(pattern, news), news)


def _order(
    engine: "Engine", pattern: Pattern, sink: str, verb: Verb, note: str, incidents: tuple[str, ...] = ()
) -> None:
    problem = pattern.problem
    assert problem is not None
    record = problem.records[sink]
    linked = tuple(id for id in record.linked if pattern.of(id) is not None)
    problem.records = {**problem.records, sink: msgspec.structs.replace(record, linked=linked)}
    fields = recurrence.fields(pattern, record.previous)
    problem_orders.order(engine, problem, sink, verb, fields, note, incidents)
    _changed(engine, pattern)


# ---- what the sinks say ---------------------------------------------------------------------------------------------


def heard(engine: "Engine", change: TicketChange) -> None:
    """The outcome of a write of a Problem, or what people made of it there."""
    found = _by_key(engine, change.situation, change.sink)
    if found is None:
        return
    problem, changed = found
    record = problem.records[change.sink]
    if (read := change.problem) is not None:
        _read(engine, problem, change.sink, recurrence.as_read(record, read.ended, read.by, read.known_error))
    elif change.sequence > record.heard:
        told = msgspec.structs.replace(
            record,
            heard=change.sequence,
            state="confirmed" if change.state == "confirmed" else "rejected",
            number=change.number or record.number,
            url=change.url or record.url,
        )
        problem.records = {**problem.records, change.sink: told}
        detail = " ".join(filter(None, (change.sink, change.number, change.comment)))
        engine.say("problem", problem.id, change.state, detail)
    else:
        return
    changed()


def _read(engine: "Engine", problem: Problem, sink: str, now: ProblemRecord) -> None:
    before = problem.records[sink]
    problem.records = {**problem.records, sink: now}
    if now.known_error != before.known_error:
        engine.say("problem", problem.id, "known error", f"{sink} {now.number}: {now.known_error or 'none any more'}")
    if now.ended != before.ended:
        engine.say("problem", problem.id, now.ended or "reopened", f"{sink} {now.number}", actor=now.ended_by)


def _all(engine: "Engine") -> "Iterator[tuple[Problem, Callable[[], None]]]":
    """Each Problem, recurring or proactive, with what to call when it has changed."""
    for pattern in engine.patterns.by_id.values():
        if pattern.problem is not None:
            yield pattern.problem, partial(_changed, engine, pattern)
    for expected in engine.forecasts.problems.values():
        yield expected.problem, partial(forecasts.changed, engine, expected)


def _by_key(engine: "Engine", key: str, sink: str) -> "tuple[Problem, Callable[[], None]] | None":
    """The Problem whose record in this sink has the key now; one that was followed by another has not."""
    for problem, changed in _all(engine):
        record = problem.records.get(sink)
        if record is not None and record.key == key:
            return problem, changed
    return None


def records_of(engine: "Engine", sink: str) -> list[ProblemRecord]:
    """The records of Problems that this sink is known to hold."""
    found = (problem.records.get(sink) for problem, _ in _all(engine))
    return [record for record in found if record is not None and record.number]


def pattern_of(engine: "Engine", situation: Situation, members: "Sequence[Alert]") -> Pattern | None:
    """The pattern that it is an occurrence of, or that it would be one of if it had a ticket."""
    known = engine.patterns.of(situation.id)
    if known is not None or not members:
        return known
    return engine.patterns.like(recurrence.signature(situation, members))


# ---- time -----------------------------------------------------------------------------------------------------------


def _changed(engine: "Engine", pattern: Pattern) -> None:
    engine.dirty.add(("pattern", pattern.id))
    if pattern.id in engine.patterns.by_id:
        watch(engine, pattern)


def watch(engine: "Engine", pattern: Pattern) -> None:
    """Have it looked at in time. A timer that fires too early does no harm."""
    due = recurrence.looked_at(pattern, engine.settings.problem)
    if due is not None and (engine.patterns.armed is None or due < engine.patterns.armed):
        engine.patterns.armed = due
        engine.timers.at(due, Due.PROBLEM, "")


def watch_all(engine: "Engine") -> None:
    for pattern in engine.patterns.by_id.values():
        watch(engine, pattern)


def look(engine: "Engine", moment: "datetime") -> None:
    """The timer has fired: some have not come back for long, or for so long that they are forgotten."""
    if engine.patterns.armed != moment:
        return
    engine.patterns.armed = None
    settings = engine.settings.problem
    dues = ((recurrence.looked_at(each, settings), each.id, each) for each in engine.patterns.by_id.values())
    for _, _, pattern in sorted(due for due in dues if due[0] is not None and due[0] <= engine.now):
        if pattern.problem is not None and pattern.problem.quiet_since is None:
            _propose(engine, pattern, pattern.problem)
        else:
            _forget(engine, pattern)
    watch_all(engine)


def _propose(engine: "Engine", pattern: Pattern, problem: Problem) -> None:
    problem.quiet_since = engine.now
    note = recurrence.proposal(pattern, engine.now)
    engine.say("problem", problem.id, "proposed for closing", note)
    for sink, record in problem.records.items():
        if sink in engine.problem_sinks and not record.ended and record.state != TicketState.REJECTED:
            _order(engine, pattern, sink, Verb.UPDATE, note)
    _changed(engine, pattern)


def _forget(engine: "Engine", pattern: Pattern) -> None:
    if pattern.problem is not None:
        engine.say("problem", pattern.problem.id, "forgotten", f"{recurrence.title(pattern)} has not come back")
    engine.patterns.forget(pattern)
    engine.dirty.add(("pattern", pattern.id))


# ---- saved and restored ---------------------------------------------------------------------------------------------


def saved(engine: "Engine", id: str) -> bytes | None:
    pattern = engine.patterns.by_id.get(id)
    return None if pattern is None else msgspec.msgpack.encode(pattern)


def restore(engine: "Engine", bodies: "Iterable[bytes]") -> None:
    found = [msgspec.msgpack.decode(body, type=Pattern) for body in bodies]
    for pattern in sorted(found, key=lambda each: (each.since, each.id)):
        engine.patterns.add(pattern)
