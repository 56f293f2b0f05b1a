"""What comes back as people are shown it, as values."""

from collections.abc import Sequence
from typing import Any

from correlation import problem as recurrence
from correlation.problem import Pattern
from foreshock.core.model import Alert, Situation
from foreshock.service import problems
from foreshock.service.engine import Engine
from foreshock.service.views import OccurrenceView, PatternView, ProblemRecordView


def listed(engine: Engine, *, watched: bool, limit: int) -> list[PatternView]:
    """Problems, the one that came last first; with ``watched`` then what came back and is none yet."""
    found = [
        pattern
        for pattern in engine.patterns.by_id.values()
        if pattern.problem is not None or (watched and pattern.total > 1)
    ]
    found.sort(key=lambda each: (each.problem is None, -each.last.opened_at.timestamp(), each.id))
    return [view(engine, pattern) for pattern in found[:limit]]


def find(engine: Engine, name: str) -> Pattern | None:
    """By its id, by that of its problem, by a record's number, or by one of its situations."""
    known = engine.patterns.by_id.get(name) or engine.patterns.of(name)
    if known is not None:
        return known
    for pattern in engine.patterns.by_id.values():
        problem = pattern.problem
        if problem is not None and (
            name == problem.id or any(name in (record.number, record.key) for record in problem.records.values())
        ):
            return pattern
    return None


def view(engine: Engine, pattern: Pattern) -> PatternView:
    problem = pattern.problem
    number, text = problem.known_error if problem is not None else ("", "")
    return PatternView(
        id=pattern.id,
        problem=problem.id if problem is not None else "",
        state=recurrence.state(pattern),
        title=recurrence.title(pattern),
        ci=pattern.ci,
        names=pattern.names,
        priority=pattern.priority,
        assignment_group=pattern.assignment_group,
        total=pattern.total,
        reason=reason(engine, pattern),
        rate=recurrence.rate(pattern),
        since=pattern.since,
        last_at=pattern.last.opened_at,
        opened_at=problem.opened_at if problem is not None else None,
        quiet_since=problem.quiet_since if problem is not None else None,
        known_error=text,
        known_error_in=number,
        records=tuple(
            ProblemRecordView(
                sink=sink,
                number=record.number,
                url=record.url,
                state=record.state,
                linked=len(record.linked),
                ended=record.ended,
                known_error=record.known_error,
                previous=record.previous,
            )
            for sink, record in (problem.records if problem is not None else {}).items()
        ),
        occurrences=tuple(
            OccurrenceView(
                situation=each.situation,
                title=each.title,
                priority=each.priority,
                opened_at=each.opened_at,
                ended_at=each.ended_at,
                how=each.how,
                said=each.said,
                label=each.label.value,
                change=each.change,
                tickets=each.tickets,
            )
            for each in reversed(pattern.occurrences)
        ),
    )


def reason(engine: Engine, pattern: Pattern) -> str:
    """Why it is a problem, or why it is none yet, in words."""
    if pattern.problem is not None:
        return pattern.problem.reason
    return recurrence.verdict(pattern, engine.now, engine.settings.problem).reason


def of_incident(engine: Engine, situation: Situation, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What an ``IncidentView`` tells of it."""
    pattern = problems.pattern_of(engine, situation, alerts)
    if pattern is None:
        return {}
    problem = pattern.problem
    return {
        "pattern": pattern.id,
        "recurrence": words(engine, pattern),
        "problem": problem.id if problem is not None else "",
        "known_error": problem.known_error[1] if problem is not None else "",
        "similar": recurrence.similar(pattern, situation.id),
    }


def words(engine: Engine, pattern: Pattern) -> str:
    """Where a pattern stands, in a sentence."""
    if pattern.problem is None:
        return f"no problem: {reason(engine, pattern)}"
    numbers = [record.number for record in pattern.problem.records.values() if record.number]
    named = f"{pattern.problem.id} ({', '.join(numbers)})" if numbers else pattern.problem.id
    return f"problem {named}: {recurrence.rate(pattern)}; opened at the {pattern.problem.reason}"
