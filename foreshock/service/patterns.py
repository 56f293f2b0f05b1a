"""What comes back, and what is expected, as people are shown it, as values."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from correlation import forecast as foresight
from correlation import problem as recurrence
from correlation.forecast import Expected, Heard
from correlation.problem import Pattern, Problem
from foreshock.core.model import Alert, Situation
from foreshock.service import problems
from foreshock.service.engine import Engine
from foreshock.service.views import ForecastView, ForeseenView, OccurrenceView, PatternView, ProblemRecordView


def listed(engine: Engine, *, watched: bool, limit: int) -> list[PatternView]:
    """Problems, the one that came last first; with ``watched`` then what came back, or is forecast, and is none yet."""
    known = engine.forecasts
    found: list[tuple[Pattern | Expected | Heard, bool, datetime, str]] = [
        (each, each.problem is None, each.last.opened_at, each.id)
        for each in engine.patterns.by_id.values()
        if each.problem is not None or (watched and each.total > 1)
    ]
    found += [
        (each, False, each.ended_at or each.forecast.made_at, each.problem.id) for each in known.problems.values()
    ]
    found += [(each, True, each.forecast.made_at, key) for key, each in known.heard.items() if watched and each.reason]
    found.sort(key=lambda entry: (entry[1], -entry[2].timestamp(), entry[3]))
    return [_any(engine, each) for each, *_ in found[:limit]]


def _any(engine: Engine, found: Pattern | Expected | Heard) -> PatternView:
    if isinstance(found, Pattern):
        return view(engine, found)
    return _proactive(found) if isinstance(found, Expected) else _unheeded(engine, found)


def show(engine: Engine, name: str) -> PatternView | None:
    """By its id, by that of its problem, by a record's number, by one of its situations, or by the CI of a forecast."""
    pattern = find(engine, name)
    if pattern is not None:
        return view(engine, pattern)
    known = engine.forecasts
    for expected in known.problems.values():
        if _is_called(expected.problem, name):
            return _proactive(expected)
    if confirmed := known.of(name):
        return _proactive(confirmed[-1])
    if standing := known.expected_on({name}):
        return _proactive(standing[0])
    here = [each for each in known.heard.values() if each.forecast.ci == name and each.reason]
    if here:
        return _unheeded(engine, max(here, key=lambda each: (each.forecast.made_at, each.forecast.model)))
    past = known.last_on(name)
    return None if past is None else _proactive(past)


def find(engine: Engine, name: str) -> Pattern | None:
    """By its id, by that of its problem, by a record's number, or by one of its situations."""
    known = engine.patterns.by_id.get(name) or engine.patterns.of(name)
    if known is not None:
        return known
    patterns = engine.patterns.by_id.values()
    return next((each for each in patterns if each.problem is not None and _is_called(each.problem, name)), None)


def _is_called(problem: Problem, name: str) -> bool:
    return name == problem.id or any(name in (record.number, record.key) for record in problem.records.values())


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
        records=_records(problem),
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


def _records(problem: Problem | None) -> tuple[ProblemRecordView, ...]:
    return tuple(
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
    )


def _proactive(found: Expected) -> PatternView:
    problem = found.problem
    number, text = problem.known_error
    return PatternView(
        id=problem.id,
        kind="proactive",
        problem=problem.id,
        state="ended" if found.state == "expected" and found.given_up else found.state,
        title=foresight.title(found.forecast),
        ci=found.ci,
        names=(),
        priority=found.priority,
        assignment_group=found.assignment_group,
        total=int(bool(found.situation)),
        reason=foresight.reason(found),
        rate=foresight.outcome(found) or f"expected until {found.until:%Y-%m-%d %H:%M} UTC",
        since=problem.opened_at,
        last_at=found.ended_at or found.forecast.made_at,
        opened_at=problem.opened_at,
        quiet_since=found.ended_at if found.state in ("expired", "withdrawn") else None,
        known_error=text,
        known_error_in=number,
        records=_records(problem),
        occurrences=(),
        forecast=found.forecast,
        services=found.services,
        expected_until=found.until,
        confirmed_by=found.situation,
    )


def _unheeded(engine: Engine, heard: Heard) -> PatternView:
    """A forecast that has made no problem."""
    forecast = heard.forecast
    return PatternView(
        id=forecast.ci,
        kind="proactive",
        problem="",
        state="watched",
        title=foresight.title(forecast),
        ci=forecast.ci,
        names=(),
        priority=5,
        assignment_group="",
        total=0,
        reason=f"{heard.reason} ({foresight.said(forecast)}, says {forecast.model})",
        rate="forecast",
        since=forecast.made_at,
        last_at=forecast.made_at,
        opened_at=None,
        quiet_since=None,
        known_error="",
        known_error_in="",
        records=(),
        occurrences=(),
        forecast=forecast,
        services=engine.topology.services(forecast.ci),
        expected_until=foresight.over_at(forecast),
    )


def forecast(engine: Engine, heard: Heard) -> ForecastView:
    """With what it led to."""
    newest, entry = heard.forecast, heard.announced
    standing = None if heard.reason else engine.forecasts.expected.get(foresight.place(newest))
    return ForecastView(
        forecast=newest,
        problem=entry.problem if entry is not None else standing.problem.id if standing is not None else "",
        reason=heard.reason,
        entry=entry.id if entry is not None else "",
        outcome=entry.outcome.value if entry is not None else "",
        until=entry.until if entry is not None else foresight.over_at(newest),
        likely_at=foresight.likely_at(newest),
        services=entry.services if entry is not None else engine.topology.services(newest.ci),
        team=entry.team if entry is not None else "",
    )


def reason(engine: Engine, pattern: Pattern) -> str:
    """Why it is a problem, or why it is none yet, in words."""
    if pattern.problem is not None:
        return pattern.problem.reason
    return recurrence.verdict(pattern, engine.now, engine.settings.problem).reason


def of_incident(engine: Engine, situation: Situation, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What an ``IncidentView`` tells of it."""
    pattern = problems.pattern_of(engine, situation, alerts)
    foreseen = {"foreseen": tuple(_foreseen(each) for each in engine.forecasts.of(situation.id))}
    if pattern is None:
        return foreseen
    problem = pattern.problem
    return foreseen | {
        "pattern": pattern.id,
        "recurrence": words(engine, pattern),
        "problem": problem.id if problem is not None else "",
        "known_error": problem.known_error[1] if problem is not None else "",
        "similar": recurrence.similar(pattern, situation.id),
    }


def _foreseen(found: Expected) -> ForeseenView:
    opened_at = found.problem.opened_at
    return ForeseenView(
        problem=found.problem.id,
        lead_s=((found.ended_at or opened_at) - opened_at).total_seconds(),
        forecast=found.forecast,
        words=f"by {found.problem.id}, {foresight.lead(found)} before: {foresight.said(found.forecast)}",
    )


def words(engine: Engine, pattern: Pattern) -> str:
    """Where a pattern stands, in a sentence."""
    if pattern.problem is None:
        return f"no problem: {reason(engine, pattern)}"
    numbers = [record.number for record in pattern.problem.records.values() if record.number]
    named = f"{pattern.problem.id} ({', '.join(numbers)})" if numbers else pattern.problem.id
    return f"problem {named}: {recurrence.rate(pattern)}; opened at the {pattern.problem.reason}"
