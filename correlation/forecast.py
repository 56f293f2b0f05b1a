"""What is expected: forecasts of incidents, and the proactive Problem that one makes until it is confirmed or expires.

A forecast says that an incident begins on one CI within a horizon. One that is likely enough opens a Problem for that
CI, or for what of it the forecast is about, so that people can act before the incident; it opens no incident. What a
model announced is kept with what became of it, whether it opened a Problem or not: that is its ledger. Pure: the engine
tells what happened and when.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from correlation.problem import Problem, cut, number_in, roughly
from correlation.settings import ForecastSettings
from foreshock.core.contracts import ForecastOutcome, ForecastRow
from foreshock.core.model import Forecast, ForecastState, Moment

MAX_HEARD = 5000
"""Newest forecasts remembered at most, one for a place and model; beyond it those that are over first are forgotten."""
MAX_ENDED = 1000
"""Proactive Problems remembered at most after they were confirmed or expired; the oldest are forgotten first."""
_DIFFERS = 0.1
"""Probability that a forecast must differ by from what the sinks were told to be worth telling."""
_MOVED = 0.25
"""The same for the moment at which the incident is most likely, as a share of the horizon."""
_LISTED = 10

HIT, FALSE_ALARM = "hit", "false alarm"
STATES = ("expected", "confirmed", "expired", "withdrawn")


class Heard(Struct, frozen=True, gc=False, kw_only=True):
    """The newest forecast of a model for a place. reason: why it opened no Problem, empty where one stands on it.
    announced: the entry of the ledger that it belongs to; None while none was likely.

    The CI of ``forecast`` is the one that was found for the name it came with.
    """

    forecast: Forecast
    reason: str = ""
    announced: ForecastRow | None = None

    @property
    def open(self) -> bool:
        """Whether something announced is still to come true."""
        return self.announced is not None and self.announced.outcome is ForecastOutcome.EXPECTED

    @property
    def waits(self) -> bool:
        """Whether an incident can still be what was announced: it may come after the model saw that it happened."""
        row = self.announced
        return self.open or (row is not None and row.outcome is ForecastOutcome.REACHED and not row.situation)


class Expected(Struct, gc=False, kw_only=True):
    """A proactive Problem. Running state.

    Attributes:
        forecast: the one that it stands on; told: the one that the sinks heard of last, at told_at.
        until: confirmed before then, or expired.
        services: business services that depend on the CI, most critical first.
        ended_at: when it was confirmed, expired or withdrawn. situation: that confirmed it, or that this was merged
            into. ended_as: what the model said at the end; EXPECTED: nothing.
        tickets: number by sink, of that situation's tickets that the sinks have confirmed.
    """

    problem: Problem
    forecast: Forecast
    told: Forecast
    told_at: Moment
    until: Moment
    services: tuple[str, ...] = ()
    impact: int = 3
    urgency: int = 3
    priority: int = 5
    assignment_group: str = ""
    ended_at: Moment | None = None
    situation: str = ""
    tickets: dict[str, str] = {}
    ended_as: ForecastState = ForecastState.EXPECTED

    @property
    def ci(self) -> str:
        return self.forecast.ci

    @property
    def place(self) -> str:
        return place(self.forecast)

    @property
    def state(self) -> str:
        if self.ended_at is None:
            return "expected"
        if self.situation or self.ended_as is ForecastState.REACHED:
            return "confirmed"
        return "withdrawn" if self.ended_as is ForecastState.WITHDRAWN else "expired"

    @property
    def label(self) -> str:
        """As which it counts for training; empty while nobody knows."""
        return {"expected": "", "confirmed": HIT}.get(self.state, FALSE_ALARM)

    @property
    def given_up(self) -> bool:
        """Whether people ended it in every sink before its time."""
        records = self.problem.records.values()
        return bool(records) and all(record.ended for record in records)


class Forecasts:
    """What is remembered.

    Attributes:
        heard: by model and place. problems: by id, in the order of opening. expected: those that are not over, by
            place. armed: when the one timer fires that there is for all.
    """

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.problems: dict[str, Expected] = {}
        self.expected: dict[str, Expected] = {}
        self.armed: datetime | None = None
        self._announced: dict[str, list[str]] = {}
        self._places: dict[str, list[str]] = {}
        self._last: dict[str, str] = {}
        self._by_situation: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.heard) + len(self.problems)

    def add(self, found: Expected) -> None:
        id = found.problem.id
        self.problems[id] = found
        self._last[found.place] = id
        if found.ended_at is None:
            self.expected[found.place] = found
            self._places.setdefault(found.ci, []).append(found.place)
        if found.situation:
            self._by_situation.setdefault(found.situation, []).append(id)

    def hear(self, heard: Heard) -> None:
        """Instead of what was heard of this model and place before."""
        known = key(heard.forecast)
        self.unhear(known)
        self.heard[known] = heard
        if heard.waits:
            self._announced.setdefault(heard.forecast.ci, []).append(known)

    def unhear(self, known: str) -> None:
        before = self.heard.pop(known, None)
        if before is not None and before.waits:
            _take_out(self._announced, before.forecast.ci, known)

    @property
    def waits(self) -> bool:
        """Whether an incident could make anything come true."""
        return bool(self.expected or self._announced)

    def announced_on(self, cis: Collection[str]) -> list[Heard]:
        """What models announced of these CIs and no incident has come of yet."""
        keys = [known for ci in sorted(self._announced.keys() & cis) for known in sorted(self._announced[ci])]
        return [self.heard[known] for known in keys]

    def expected_on(self, cis: Collection[str]) -> list[Expected]:
        """Proactive Problems of these CIs that are not over."""
        return [self.expected[one] for ci in sorted(self._places.keys() & cis) for one in sorted(self._places[ci])]

    def last(self, place: str) -> Expected | None:
        """The newest proactive Problem of a place, over or not."""
        return self.problems.get(self._last.get(place, ""))

    def last_on(self, ci: str) -> Expected | None:
        """The newest proactive Problem of a CI, over or not."""
        return next((each for each in reversed(self.problems.values()) if each.ci == ci), None)

    def of(self, situation: str) -> list[Expected]:
        """Those that this situation has confirmed."""
        return [self.problems[id] for id in self._by_situation.get(situation, ())]

    def end(
        self, found: Expected, at: datetime, situation: str = "", ended_as: ForecastState = ForecastState.EXPECTED
    ) -> None:
        """Confirmed by ``situation``, or over without one."""
        found.ended_at, found.ended_as = at, ended_as
        del self.expected[found.place]
        _take_out(self._places, found.ci, found.place)
        if situation:
            self.hand_over(found, situation)

    def hand_over(self, found: Expected, situation: str) -> None:
        """The situation that confirms it is ``situation`` from now on."""
        self._drop(found)
        found.situation = situation
        self._by_situation.setdefault(situation, []).append(found.problem.id)

    def forget(self, found: Expected) -> None:
        id = found.problem.id
        del self.problems[id]
        self._drop(found)
        if self._last.get(found.place) == id:
            del self._last[found.place]

    def _drop(self, found: Expected) -> None:
        _take_out(self._by_situation, found.situation, found.problem.id)

    def surplus(self) -> list[Expected]:
        """Problems that have to be forgotten for their number, the oldest first."""
        over = len(self.problems) - len(self.expected) - MAX_ENDED
        return [each for each in self.problems.values() if each.ended_at is not None][:over] if over > 0 else []

    def surplus_heard(self) -> list[str]:
        """Keys of forecasts that have to be forgotten for their number."""
        if len(self.heard) <= MAX_HEARD:
            return []
        order = sorted(self.heard, key=lambda key: (forgotten_at(self.heard[key]), key))
        return order[: MAX_HEARD // 10]


def _take_out(lists: dict[str, list[str]], key: str, one: str) -> None:
    here = lists.get(key, [])
    if one in here:
        here.remove(one)
        if not here:
            del lists[key]


def place(forecast: Forecast) -> str:
    """What a forecast is about: of each, one Problem is expected."""
    return f"{forecast.ci}\n{forecast.about}" if forecast.about else forecast.ci


def key(forecast: Forecast) -> str:
    """Each model has one newest forecast for a place."""
    return f"{forecast.model}\n{place(forecast)}"


# ---- what a forecast means ------------------------------------------------------------------------------------------


def over_at(forecast: Forecast) -> datetime:
    """When it has come true or not."""
    return forecast.made_at + timedelta(hours=forecast.horizon_h)


def likely_at(forecast: Forecast) -> datetime:
    """When the incident most likely begins."""
    return forecast.made_at + timedelta(hours=forecast.lead_time_h)


def forgotten_at(heard: Heard) -> datetime:
    over = over_at(heard.forecast)
    return over if heard.announced is None else max(over, heard.announced.until)


_WORD = re.compile(r"[^\w./\\:-]+")


def shows(labels: Mapping[str, str], signs: Sequence[str]) -> bool:
    """Whether labels hold one of the words, in any case. One of letters and digits only is found inside other words
    too, as names of alerts are written together; another one (a path) must be a whole word."""
    texts = [value.lower() for value in labels.values()]
    words = {word.strip(".:") for text in texts for word in _WORD.split(text)}
    signs = [sign.lower() for sign in signs]
    return any(any(sign in text for text in texts) if sign.isalnum() else sign in words for sign in signs)


def why_not(
    forecast: Forecast,
    last: Expected | None,
    open_already: str,
    maintenance: str,
    standing: int,
    now: datetime,
    settings: ForecastSettings,
) -> str:
    """Why a forecast opens no Problem, in words; empty where it does.

    Args:
        last: the newest proactive Problem of its place, which is over.
        open_already: the situation that has it now. maintenance: that runs on the CI now, in words.
        standing: proactive Problems that are expected now.
    """
    if not likely(forecast, settings):
        if forecast.alarm is not None:
            return f"{percent(forecast)}, too little for its budget of false alarms"
        return f"{percent(forecast)}, and {settings.probability:.0%} are needed"
    if open_already:
        return f"{open_already} is open there already"
    if maintenance:
        return maintenance
    if last is not None and last.ended_at is not None:
        if forecast.made_at <= last.ended_at:
            return f"made before {last.problem.id} was {last.state}"
        if last.state == "expired" and last.forecast.model == forecast.model and now < last.ended_at + settings.pause:
            until = last.ended_at + settings.pause
            return f"{last.problem.id} of this model was a false alarm; it is heard again from {_moment(until)} on"
    if standing >= settings.max_open:
        return f"{standing} proactive problems are open, and max_open is {settings.max_open}"
    return ""


def likely(forecast: Forecast, settings: ForecastSettings) -> bool:
    return forecast.probability >= settings.probability if forecast.alarm is None else forecast.alarm


def not_heeded(forecast: Forecast, standing: Expected) -> str:
    """Why a forecast changes nothing of the Problem that stands, in words; empty where it does."""
    other = standing.forecast
    if forecast.model != other.model and forecast.probability <= other.probability:
        return f"{standing.problem.id} stands on {percent(other)} of {other.model}"
    return ""


def stands_until(found: Expected, forecast: Forecast, settings: ForecastSettings) -> datetime:
    """A likely forecast makes it last longer, up to a bound: one that is repeated forever would never be wrong."""
    return _lasts(found.until, found.problem.opened_at, forecast, settings)


def _lasts(until: datetime, since: datetime, forecast: Forecast, settings: ForecastSettings) -> datetime:
    if not likely(forecast, settings):
        return until
    return max(until, min(over_at(forecast), since + settings.longest))


def is_news(found: Expected, now: datetime, settings: ForecastSettings) -> bool:
    """Whether the sinks should hear of the forecast that it stands on now."""
    one, other = found.told, found.forecast
    if now < found.told_at + settings.update_every:
        return False
    moved = abs(likely_at(other) - likely_at(one)) > _MOVED * timedelta(hours=other.horizon_h)
    differs = round(abs(other.probability - one.probability), 6) >= _DIFFERS
    return differs or moved or one.model != other.model


# ---- the ledger -----------------------------------------------------------------------------------------------------


def announced(
    id: str, forecast: Forecast, services: Iterable[str], team: str, now: datetime, settings: ForecastSettings
) -> ForecastRow:
    """The entry that begins with this forecast."""
    return ForecastRow(
        id=id,
        model=forecast.model,
        ci=forecast.ci,
        about=forecast.about,
        summary=forecast.summary,
        services=tuple(services),
        team=team,
        heard_at=now,
        until=min(over_at(forecast), now + settings.longest),
        probability=forecast.probability,
        horizon_h=forecast.horizon_h,
        lead_time_h=forecast.lead_time_h,
    )


def goes_on(row: ForecastRow, forecast: Forecast, problem: str, reason: str, settings: ForecastSettings) -> ForecastRow:
    """The entry after a further forecast. problem: that stands on it, or the reason why none does."""
    until = _lasts(row.until, row.heard_at, forecast, settings)
    problem = row.problem or problem
    return replace(row, until=until, problem=problem, reason="" if problem else reason)


def concluded(row: ForecastRow, outcome: ForecastOutcome, at: datetime, situation: str = "") -> ForecastRow:
    return replace(row, outcome=outcome, ended_at=at, situation=situation)


# ---- in words -------------------------------------------------------------------------------------------------------


def fields(found: Expected, previous: str) -> dict[str, Any]:
    """What its record should say, as ``contracts.ProblemOrder`` names it."""
    return {
        "title": title(found.forecast),
        "description": description(found, previous),
        "impact": found.impact,
        "urgency": found.urgency,
        "priority": found.priority,
        "assignment_group": found.assignment_group,
        "ci": found.ci,
    }


def title(forecast: Forecast) -> str:
    return f"Expected: {forecast.about or 'incident'} on {forecast.ci}"[:200]


def description(found: Expected, previous: str) -> str:
    forecast = found.told
    lines = [
        f"{said(forecast)}, most likely about {_moment(likely_at(forecast))}{_between(forecast)}.",
        f"Forecast of {forecast.model}, made at {_moment(forecast.made_at)}.",
        f"Business services that depend on it: {', '.join(found.services) or 'none known'}.",
    ]
    if previous:
        lines.append(f"It follows {previous}.")
    if forecast.contributions:
        lines += ["", "What speaks for it:"]
        lines += [f"- {cut(each.evidence or each.name)} ({each.points:+.2f})" for each in strongest(forecast)]
    became = outcome(found)
    lines += ["", f"It {became}." if became else "Nothing has failed yet: no incident was opened for this."]
    return "\n".join(lines)


def strongest(forecast: Forecast) -> list[Any]:
    """Its contributions, those that weigh most first."""
    return sorted(forecast.contributions, key=lambda each: -abs(each.points))[:_LISTED]


def said(forecast: Forecast) -> str:
    if forecast.summary:
        return f"{percent(forecast)}: {cut(forecast.summary)}"
    return f"{percent(forecast)}: an incident on {forecast.ci} within {roughly(timedelta(hours=forecast.horizon_h))}"


def _between(forecast: Forecast) -> str:
    if forecast.earliest_h is None or forecast.latest_h is None:
        return ""
    first, last = (forecast.made_at + timedelta(hours=each) for each in (forecast.earliest_h, forecast.latest_h))
    return f" (between {_moment(first)} and {_moment(last)})"


def again(found: Expected) -> str:
    """Note for a forecast that has changed."""
    now, before = found.forecast, found.told
    by = f" by {now.model}" if now.model != before.model else ""
    most_likely = f"most likely about {_moment(likely_at(now))}{_between(now)}"
    return f"Now {percent(now)}{by} (it was {percent(before)}), {most_likely}."


def confirmed(found: Expected) -> str:
    """Note for one that came true."""
    if not found.situation:
        what = found.forecast.summary or "it has happened"
        return f"Confirmed: {cut(what)}. That is {lead(found)} after this was opened; no incident was opened for it."
    return f"Confirmed: {_incident(found)} began {lead(found)} after this was opened."


def withdrawn(found: Expected) -> str:
    """Note for one that its model takes back."""
    why = f" {cut(found.forecast.summary)}." if found.forecast.summary else ""
    return (
        f"Withdrawn by {found.forecast.model}:{why} Nothing has happened on {found.ci}; if nobody prevented it, it was "
        "a false alarm. Foreshock proposes to close it; it closes no problem by itself."
    )


def expired(found: Expected) -> str:
    """Note for one that did not."""
    return (
        f"Expired: no incident on {found.ci} by {_moment(found.until)}. Foreshock counts it as a false alarm and "
        "proposes to close it; it closes no problem by itself."
    )


def linked(found: Expected) -> str:
    """Note with which the incident is linked later."""
    return f"{_incident(found)} has a ticket now."


def for_incident(found: Expected, sink: str) -> str:
    """What the note of the incident says of the forecast in ``sink``."""
    return (
        f"Expected by problem {number_in(sink, found.problem)}, {lead(found)} before: "
        f"{percent(found.forecast)} of {found.forecast.model}."
    )


def outcome(found: Expected) -> str:
    """What became of it, in words."""
    if found.state == "confirmed":
        what = f"came true as {_incident(found)}" if found.situation else "came true without an incident"
        return f"{what}, {lead(found)} after the problem was opened"
    if found.state == "withdrawn" and found.ended_at is not None:
        return f"was withdrawn at {_moment(found.ended_at)}"
    return f"did not come true by {_moment(found.until)}" if found.state == "expired" else ""


def reason(found: Expected) -> str:
    said_now = f"{said(found.forecast)}, says {found.forecast.model}"
    return "; ".join(filter(None, (said_now, outcome(found) or f"expected until {_moment(found.until)}")))


def lead(found: Expected) -> str:
    """Time that people had, in words."""
    return roughly((found.ended_at or found.problem.opened_at) - found.problem.opened_at)


def percent(forecast: Forecast) -> str:
    return f"{forecast.probability:.0%}"


def _incident(found: Expected) -> str:
    numbers = ", ".join(found.tickets.values())
    return f"{found.situation} ({numbers})" if numbers else found.situation


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
