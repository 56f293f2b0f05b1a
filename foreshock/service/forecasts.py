"""Forecasts in the engine: which open a proactive Problem, what its records should hear, and how it ends.

``correlation.forecast`` decides; this walks the engine's state. A forecast of the same model for the same place that
was made no later than the last one is a repeat, and changes nothing.
"""

from typing import TYPE_CHECKING

import msgspec

from correlation import forecast as foresight
from correlation import prioritise
from correlation.bind import named
from correlation.forecast import Expected, Heard
from correlation.problem import Problem
from foreshock.core.contracts import ForecastOutcome, ForecastRow, TicketChange, Verb
from foreshock.core.model import Forecast, ForecastState, Situation, SituationState, TicketState
from foreshock.service import problem_orders, weighing
from foreshock.service.records import ForecastsRecord
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from foreshock.service.engine import Engine

_OUTCOMES = {ForecastState.REACHED: ForecastOutcome.REACHED, ForecastState.WITHDRAWN: ForecastOutcome.WITHDRAWN}
_MAX_MODELS = 200
"""That are counted each for itself; of a model that puts the date into its version there is a new one each day."""

# ---- what is said ---------------------------------------------------------------------------------------------------


def hear(engine: "Engine", body: bytes) -> None:
    """A record of forecasts, in the order in which they were made."""
    read = msgspec.json.decode(body, type=ForecastsRecord).forecasts
    for forecast in sorted(read, key=lambda each: (each.made_at, each.ci, each.model)):
        ci = named(forecast.ci, engine.topology, engine.settings.bind)
        engine.counts["forecasts"] += 1
        if not ci:  # as an alert would be, it is bound to a CI that nobody knows where settings allow that
            engine.counts["forecasts_unbound"] += 1
            engine.say("forecast", forecast.ci, "is about no CI", f"{foresight.said(forecast)}, {forecast.model}")
        elif foresight.over_at(forecast) > engine.now:
            _take(engine, msgspec.structs.replace(forecast, ci=ci))


def _take(engine: "Engine", forecast: Forecast) -> None:
    known, key = engine.forecasts, foresight.key(forecast)
    before = known.heard.get(key)
    if before is not None and forecast.made_at <= before.forecast.made_at:
        return
    row = None if before is None else before.announced
    if forecast.state is ForecastState.EXPECTED:
        already = _open_on(engine, forecast)
        reason = _heed(engine, forecast, already)
        row = _entry(engine, forecast, row, already, reason)
    else:
        reason = f"{forecast.state}: {foresight.said(forecast)}"
        row = _over(engine, forecast, row)
    known.hear(Heard(forecast=forecast, reason=reason, announced=row))
    engine.dirty.add(("forecast", key))
    if reason and (before is None or before.reason != reason) and forecast.state is ForecastState.EXPECTED:
        engine.say(
            "forecast", forecast.ci, "opens no problem", f"{foresight.said(forecast)}, {forecast.model}: {reason}"
        )
    for old in known.surplus_heard():
        _forget_heard(engine, old)
    _arm(engine, min(foresight.over_at(forecast), row.until if row is not None else foresight.over_at(forecast)))


def _heed(engine: "Engine", forecast: Forecast, already: str) -> str:
    """Let it have its effect; why it has none, or an empty text."""
    known, settings = engine.forecasts, engine.settings.problem.forecast
    standing = known.expected.get(foresight.place(forecast))
    if standing is not None:
        reason = foresight.not_heeded(forecast, standing)
        if not reason:
            _renew(engine, standing, forecast)
        return reason
    count = sum(not each.given_up for each in known.expected.values())
    windows = engine.suppression.asked.windows_over(forecast.ci, engine.now)
    last, maintenance = known.last(foresight.place(forecast)), windows[0].reason if windows else ""
    reason = foresight.why_not(forecast, last, already, maintenance, count, engine.now, settings)
    if not reason:
        _open(engine, forecast)
    return reason


def _entry(
    engine: "Engine", forecast: Forecast, row: ForecastRow | None, already: str, reason: str
) -> ForecastRow | None:
    """The entry of the ledger that the forecast belongs to, or begins; None where it announces nothing."""
    settings = engine.settings.problem.forecast
    standing = None if reason else engine.forecasts.expected.get(foresight.place(forecast))
    problem = "" if standing is None else standing.problem.id
    if row is None or row.outcome is not ForecastOutcome.EXPECTED:
        late = row is not None and row.ended_at is not None and forecast.made_at <= row.ended_at
        if already or late or not foresight.likely(forecast, settings):
            return row
        engine.last_forecast += 1
        services, group = engine.topology.services(forecast.ci), weighing.assigned(engine, (), (), forecast.ci).group
        before = None
        row = foresight.announced(f"F-{engine.last_forecast}", forecast, services, group, engine.now, settings)
        _count(engine, forecast.model, "announced")
    else:
        before = row
    row = foresight.goes_on(row, forecast, problem, reason, settings)
    if row != before:
        engine.effects.forecasts[row.id] = row
    return row


def _over(engine: "Engine", forecast: Forecast, row: ForecastRow | None) -> ForecastRow | None:
    """The model says that it happened, or that it expects it no more."""
    standing = engine.forecasts.expected.get(foresight.place(forecast))
    reached = forecast.state is ForecastState.REACHED
    if standing is not None and (reached or standing.forecast.model == forecast.model):
        standing.forecast = standing.told = forecast
        _end(engine, standing, forecast.state)
    if row is None or row.outcome is not ForecastOutcome.EXPECTED:
        return row
    return _conclude(engine, row, _OUTCOMES[forecast.state])


def _conclude(engine: "Engine", row: ForecastRow, outcome: ForecastOutcome, situation: str = "") -> ForecastRow:
    row = foresight.concluded(row, outcome, engine.now, situation)
    engine.effects.forecasts[row.id] = row
    _count(engine, row.model, outcome.value)
    return row


def _count(engine: "Engine", model: str, what: str) -> None:
    foretold = engine.foretold
    if model not in foretold and len(foretold) >= _MAX_MODELS:
        model = "others"
    of_model = foretold.setdefault(model, {})
    of_model[what] = of_model.get(what, 0) + 1


def _open_on(engine: "Engine", forecast: Forecast) -> str:
    """The first situation that is open and is what the forecast is about; empty if none is."""
    open_ones = (each for each in engine.situations.values() if each.state is SituationState.OPEN)
    here = (each for each in open_ones if forecast.ci in _places(engine, each))
    return next((each.id for each in here if _is_it(engine, each, forecast)), "")


def _is_it(engine: "Engine", situation: Situation, forecast: Forecast) -> bool:
    """Whether a situation with its CI is what the forecast is about."""
    if not forecast.signs:
        return True
    here = (alert for alert in engine.members(situation) if alert.ci == forecast.ci)
    return any(foresight.shows(alert.read_labels(), forecast.signs) for alert in here)


def _places(engine: "Engine", situation: Situation) -> set[str]:
    """CIs of its alerts, and the likeliest cause."""
    cause = {situation.causes[0].ci} if situation.causes and not situation.cause_doubt else set()
    return cause.union(engine.affected.get(situation.id, ()))


def _open(engine: "Engine", forecast: Forecast) -> None:
    ci, settings = forecast.ci, engine.settings
    services = engine.topology.services(ci)
    criticality = engine.topology.cis[services[0]].criticality if services else 0
    impact = prioritise.impact(criticality, len(services), 1, settings.priority)
    engine.last_problem += 1
    found = Expected(
        problem=Problem(
            id=f"P-{engine.last_problem}",
            opened_at=engine.now,
            reason=f"{foresight.said(forecast)}, says {forecast.model}",
        ),
        forecast=forecast,
        told=forecast,
        told_at=engine.now,
        until=min(foresight.over_at(forecast), engine.now + settings.problem.forecast.longest),
        services=services,
        impact=impact,
        urgency=prioritise.LOW,
        priority=prioritise.priority(impact, prioritise.LOW, settings.priority),
        assignment_group=weighing.assigned(engine, (), (), ci).group,
    )
    engine.forecasts.add(found)
    engine.say("problem", found.problem.id, "opened", f"{foresight.title(forecast)}: {found.problem.reason}")
    _tell(engine, found, f"Opened by Foreshock: {found.problem.reason}.")
    changed(engine, found)


def _renew(engine: "Engine", found: Expected, forecast: Forecast) -> None:
    settings = engine.settings.problem.forecast
    found.until = foresight.stands_until(found, forecast, settings)
    found.forecast = forecast
    if foresight.is_news(found, engine.now, settings):
        note = foresight.again(found)
        found.told, found.told_at = forecast, engine.now
        _tell(engine, found, note)
    changed(engine, found)


# ---- what becomes of it ---------------------------------------------------------------------------------------------


def look(engine: "Engine", situation: Situation) -> None:
    """A situation opened, grew, has other causes, or was merged into another one."""
    known = engine.forecasts
    if situation.merged_into in engine.situations:
        _follow(engine, situation)
    if not known.waits or situation.state is not SituationState.OPEN:
        return
    places = _places(engine, situation)
    for found in known.expected_on(places):
        if _is_it(engine, situation, found.forecast):
            _confirm(engine, found, situation)
    for heard in known.announced_on(places):
        if heard.announced is not None and _is_it(engine, situation, heard.forecast):
            _came(engine, heard, heard.announced, situation)


def _follow(engine: "Engine", situation: Situation) -> None:
    """What it confirmed is confirmed by the situation that it was merged into."""
    known, follower = engine.forecasts, situation.merged_into
    for found in known.of(situation.id):
        known.hand_over(found, follower)
        _has_tickets(engine, found)
        changed(engine, found)
    for heard in list(known.heard.values()):
        if heard.announced is not None and heard.announced.situation == situation.id:
            row = msgspec.structs.replace(heard.announced, situation=follower)
            engine.effects.forecasts[row.id] = row
            _keep(engine, heard, row)


def look_at_all(engine: "Engine") -> None:
    """Alerts may be about other CIs than before."""
    for situation in engine.situations.values():
        look(engine, situation)


def _came(engine: "Engine", heard: Heard, row: ForecastRow, situation: Situation) -> None:
    if heard.open:
        _keep(engine, heard, _conclude(engine, row, ForecastOutcome.CONFIRMED, situation.id))
        return
    row = engine.effects.forecasts[row.id] = msgspec.structs.replace(row, situation=situation.id)
    _keep(engine, heard, row)
    found = engine.forecasts.problems.get(row.problem)
    if found is not None and found.ended_as is ForecastState.REACHED and not found.situation:
        engine.forecasts.hand_over(found, situation.id)
        _has_tickets(engine, found)
        changed(engine, found)


def _keep(engine: "Engine", heard: Heard, row: ForecastRow) -> None:
    engine.forecasts.hear(msgspec.structs.replace(heard, announced=row))
    engine.dirty.add(("forecast", foresight.key(heard.forecast)))


def _confirm(engine: "Engine", found: Expected, situation: Situation) -> None:
    engine.forecasts.end(found, engine.now, situation.id)
    _concluded(engine, found)
    found.tickets = _numbers(situation)
    _tell(engine, found, foresight.confirmed(found))
    changed(engine, found)


def _end(engine: "Engine", found: Expected, ended_as: ForecastState = ForecastState.EXPECTED) -> None:
    """It is over without an incident: in time, or because the model says so."""
    engine.forecasts.end(found, engine.now, ended_as=ended_as)
    _concluded(engine, found)
    _tell(engine, found, _NOTES[ended_as](found))
    changed(engine, found)


_NOTES = {
    ForecastState.EXPECTED: foresight.expired,
    ForecastState.REACHED: foresight.confirmed,
    ForecastState.WITHDRAWN: foresight.withdrawn,
}


def _concluded(engine: "Engine", found: Expected) -> None:
    """What training learns from: each proactive Problem is labelled once."""
    forecast = found.forecast
    engine.counts["forecasts_hit" if found.label == foresight.HIT else "forecasts_false"] += 1
    engine.say("problem", found.problem.id, found.state, foresight.outcome(found))
    engine.say("forecast", found.problem.id, found.label, f"{foresight.said(forecast)}, {forecast.model}")
    for old in engine.forecasts.surplus():
        _forget(engine, old)


def ticket_heard(engine: "Engine", change: TicketChange) -> None:
    """A sink has confirmed the ticket of an incident that was expected."""
    if change.state != "confirmed" or not change.number:
        return
    for found in engine.forecasts.of(change.situation):
        if found.tickets.get(change.sink) != change.number:
            found.tickets = {**found.tickets, change.sink: change.number}
            _link(engine, found, change.sink)
            changed(engine, found)


def _has_tickets(engine: "Engine", found: Expected) -> None:
    """The situation that it was handed over to may have some already."""
    found.tickets = _numbers(engine.situations[found.situation])
    for sink in sorted(found.tickets):
        _link(engine, found, sink)


def _numbers(situation: Situation) -> dict[str, str]:
    return {sink: ticket.number for sink, ticket in situation.tickets.items() if ticket.number}


def notes(engine: "Engine", situation: Situation, sink: str) -> list[str]:
    """What the note of a new incident says of the forecasts of it."""
    return [foresight.for_incident(found, sink) for found in engine.forecasts.of(situation.id)]


# ---- what the sinks hear --------------------------------------------------------------------------------------------


def _tell(engine: "Engine", found: Expected, note: str) -> None:
    """Each sink that keeps Problems; one without it opens it as long as it is expected. What people ended stays so."""
    problem = found.problem
    for sink in sorted(engine.problem_sinks):
        record = problem.records.get(sink)
        if record is not None and record.ended:
            continue
        if record is None or record.state == TicketState.REJECTED:
            if found.ended_at is None:
                problem.records = {**problem.records, sink: problem_orders.next_record(problem, record)}
                _order(engine, found, sink, Verb.OPEN, f"Opened by Foreshock: {problem.reason}.")
        else:
            _order(engine, found, sink, Verb.UPDATE, note)


def _link(engine: "Engine", found: Expected, sink: str) -> None:
    record = found.problem.records.get(sink)
    if (
        record is not None
        and sink in engine.problem_sinks
        and record.state != TicketState.REJECTED
        and not record.ended
        and found.situation not in record.linked
    ):
        _order(engine, found, sink, Verb.UPDATE, foresight.linked(found))


def _order(engine: "Engine", found: Expected, sink: str, verb: Verb, note: str) -> None:
    record = found.problem.records[sink]
    is_new = found.situation not in record.linked and sink in found.tickets
    incidents = (found.situation,) if is_new else ()
    fields = foresight.fields(found, record.previous)
    problem_orders.order(engine, found.problem, sink, verb, fields, note, incidents)


# ---- time -----------------------------------------------------------------------------------------------------------


def changed(engine: "Engine", found: Expected) -> None:
    engine.dirty.add(("expected", found.problem.id))
    if found.problem.id in engine.forecasts.problems:
        _arm(engine, _due(engine, found))


def _due(engine: "Engine", found: Expected) -> "datetime":
    """When it expires, or is to be forgotten."""
    return found.until if found.ended_at is None else found.ended_at + engine.settings.problem.remember


def _arm(engine: "Engine", due: "datetime") -> None:
    if engine.forecasts.armed is None or due < engine.forecasts.armed:
        engine.forecasts.armed = due
        engine.timers.at(due, Due.FORECAST, "")


def watch_all(engine: "Engine") -> None:
    dues = [_due(engine, found) for found in engine.forecasts.problems.values()]
    dues += [_heard_due(each) for each in engine.forecasts.heard.values()]
    if dues:
        _arm(engine, min(dues))


def due(engine: "Engine", moment: "datetime") -> None:
    """The timer has fired: some have not come true, or are forgotten."""
    known = engine.forecasts
    if known.armed != moment:
        return
    known.armed = None
    for at, key in sorted((_heard_due(each), key) for key, each in known.heard.items()):
        heard = known.heard[key]
        if at <= engine.now and heard.open and heard.announced is not None:
            _keep(engine, heard, _conclude(engine, heard.announced, ForecastOutcome.EXPIRED))
        if foresight.forgotten_at(heard) <= engine.now:
            _forget_heard(engine, key)
    for found in list(known.problems.values()):
        if _due(engine, found) <= engine.now:
            (_end if found.ended_at is None else _forget)(engine, found)
    watch_all(engine)


def _heard_due(heard: Heard) -> "datetime":
    """When what it announced expires, or it is to be forgotten."""
    return heard.announced.until if heard.open and heard.announced is not None else foresight.forgotten_at(heard)


def _forget(engine: "Engine", found: Expected) -> None:
    engine.forecasts.forget(found)
    engine.dirty.add(("expected", found.problem.id))


def _forget_heard(engine: "Engine", key: str) -> None:
    heard = engine.forecasts.heard[key]
    if heard.open and heard.announced is not None:
        _conclude(engine, heard.announced, ForecastOutcome.UNKNOWN)
    engine.forecasts.unhear(key)
    engine.dirty.add(("forecast", key))


# ---- saved and restored ---------------------------------------------------------------------------------------------


def saved(engine: "Engine", kind: str, key: str) -> bytes | None:
    """kind: forecast or expected."""
    held = engine.forecasts.heard.get(key) if kind == "forecast" else engine.forecasts.problems.get(key)
    return None if held is None else msgspec.msgpack.encode(held)


def restore(engine: "Engine", heard: "Iterable[bytes]", expected: "Iterable[bytes]") -> None:
    for body in heard:
        engine.forecasts.hear(msgspec.msgpack.decode(body, type=Heard))
    found = [msgspec.msgpack.decode(body, type=Expected) for body in expected]
    for each in sorted(found, key=lambda each: int(each.problem.id.removeprefix("P-"))):
        engine.forecasts.add(each)
