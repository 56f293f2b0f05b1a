"""What is expected: forecasts of incidents, and the proactive Problem that one makes until it is confirmed or expires.

A forecast says that an incident begins on one CI within a horizon. One that is likely enough opens a Problem for that
CI, so that people can act before the incident; it opens no incident. Pure: the engine tells what happened and when.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from correlation.problem import Problem, cut, number_in, roughly
from correlation.settings import ForecastSettings
from foreshock.core.model import Forecast, Moment

MAX_HEARD = 5000
"""Newest forecasts remembered at most, one for a CI and model; beyond it those that are over first are forgotten."""
MAX_ENDED = 1000
"""Proactive Problems remembered at most after they were confirmed or expired; the oldest are forgotten first."""
_DIFFERS = 0.1
"""Probability that a forecast must differ by from what the sinks were told to be worth telling."""
_MOVED = 0.25
"""The same for the moment at which the incident is most likely, as a share of the horizon."""
_LISTED = 10

HIT, FALSE_ALARM = "hit", "false alarm"
STATES = ("expected", "confirmed", "expired")


class Heard(Struct, frozen=True, gc=False, kw_only=True):
    """The newest forecast of a model for a CI. reason: why it opened no Problem, empty where one stands on it.

    The CI of ``forecast`` is the one that was found for the name it came with.
    """

    forecast: Forecast
    reason: str = ""


class Expected(Struct, gc=False, kw_only=True):
    """A proactive Problem. Running state.

    Attributes:
        forecast: the one that it stands on; told: the one that the sinks heard of last, at told_at.
        until: confirmed before then, or expired.
        services: business services that depend on the CI, most critical first.
        ended_at: when it was confirmed or expired. situation: that confirmed it, or that this was merged into.
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

    @property
    def ci(self) -> str:
        return self.forecast.ci

    @property
    def state(self) -> str:
        if self.ended_at is None:
            return "expected"
        return "confirmed" if self.situation else "expired"

    @property
    def label(self) -> str:
        """As which it counts for training; empty while nobody knows."""
        return {"expected": "", "confirmed": HIT, "expired": FALSE_ALARM}[self.state]

    @property
    def given_up(self) -> bool:
        """Whether people ended it in every sink before its time."""
        records = self.problem.records.values()
        return bool(records) and all(record.ended for record in records)


class Forecasts:
    """What is remembered.

    Attributes:
        heard: by model and CI. problems: by id, in the order of opening. expected: those that are neither confirmed nor
            expired, by CI. armed: when the one timer fires that there is for all.
    """

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.problems: dict[str, Expected] = {}
        self.expected: dict[str, Expected] = {}
        self.armed: datetime | None = None
        self._last: dict[str, str] = {}
        self._by_situation: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.heard) + len(self.problems)

    def add(self, found: Expected) -> None:
        id = found.problem.id
        self.problems[id] = found
        self._last[found.ci] = id
        if found.ended_at is None:
            self.expected[found.ci] = found
        if found.situation:
            self._by_situation.setdefault(found.situation, []).append(id)

    def last(self, ci: str) -> Expected | None:
        """The newest proactive Problem of a CI, over or not."""
        return self.problems.get(self._last.get(ci, ""))

    def of(self, situation: str) -> list[Expected]:
        """Those that this situation has confirmed."""
        return [self.problems[id] for id in self._by_situation.get(situation, ())]

    def end(self, found: Expected, at: datetime, situation: str = "") -> None:
        """Confirmed by ``situation``, or expired without one."""
        found.ended_at = at
        del self.expected[found.ci]
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
        if self._last.get(found.ci) == id:
            del self._last[found.ci]

    def _drop(self, found: Expected) -> None:
        here = self._by_situation.get(found.situation, [])
        if found.problem.id in here:
            here.remove(found.problem.id)
            if not here:
                del self._by_situation[found.situation]

    def surplus(self) -> list[Expected]:
        """Problems that have to be forgotten for their number, the oldest first."""
        over = len(self.problems) - len(self.expected) - MAX_ENDED
        return [each for each in self.problems.values() if each.ended_at is not None][:over] if over > 0 else []

    def surplus_heard(self) -> list[str]:
        """Keys of forecasts that have to be forgotten for their number."""
        if len(self.heard) <= MAX_HEARD:
            return []
        order = sorted(self.heard, key=lambda key: (over_at(self.heard[key].forecast), key))
        return order[: MAX_HEARD // 10]


def key(forecast: Forecast) -> str:
    """Each model has one newest forecast for a CI."""
    return f"{forecast.model}\n{forecast.ci}"


# ---- what a forecast means ------------------------------------------------------------------------------------------


def over_at(forecast: Forecast) -> datetime:
    """When it has come true or not."""
    return forecast.made_at + timedelta(hours=forecast.horizon_h)


def likely_at(forecast: Forecast) -> datetime:
    """When the incident most likely begins."""
    return forecast.made_at + timedelta(hours=forecast.lead_time_h)


def why_not(
    forecast: Forecast,
    last: Expected | None,
    open_already: str,
    standing: int,
    now: datetime,
    settings: ForecastSettings,
) -> str:
    """Why a forecast opens no Problem, in words; empty where it does.

    Args:
        last: the newest proactive Problem of its CI, which is over.
        open_already: the situation that has the CI now. standing: proactive Problems that are expected now.
    """
    if forecast.probability < settings.probability:
        return f"{percent(forecast)}, and {settings.probability:.0%} are needed"
    if open_already:
        return f"{open_already} is open there already"
    if last is not None and last.ended_at is not None:
        if forecast.made_at <= last.ended_at:
            return f"made before {last.problem.id} was {last.state}"
        if last.state == "expired" and last.forecast.model == forecast.model and now < last.ended_at + settings.pause:
            until = last.ended_at + settings.pause
            return f"{last.problem.id} of this model was a false alarm; it is heard again from {_moment(until)} on"
    if standing >= settings.max_open:
        return f"{standing} proactive problems are open, and max_open is {settings.max_open}"
    return ""


def not_heeded(forecast: Forecast, standing: Expected) -> str:
    """Why a forecast changes nothing of the Problem that stands, in words; empty where it does."""
    other = standing.forecast
    if forecast.model != other.model and forecast.probability <= other.probability:
        return f"{standing.problem.id} stands on {percent(other)} of {other.model}"
    return ""


def stands_until(found: Expected, forecast: Forecast, settings: ForecastSettings) -> datetime:
    """A likely forecast makes it last longer, up to a bound: one that is repeated forever would never be wrong."""
    if forecast.probability < settings.probability:
        return found.until
    return max(found.until, min(over_at(forecast), found.problem.opened_at + settings.longest))


def is_news(found: Expected, now: datetime, settings: ForecastSettings) -> bool:
    """Whether the sinks should hear of the forecast that it stands on now."""
    one, other = found.told, found.forecast
    if now < found.told_at + settings.update_every:
        return False
    moved = abs(likely_at(other) - likely_at(one)) > _MOVED * timedelta(hours=other.horizon_h)
    differs = round(abs(other.probability - one.probability), 6) >= _DIFFERS
    return differs or moved or one.model != other.model


# ---- in words -------------------------------------------------------------------------------------------------------


def fields(found: Expected, previous: str) -> dict[str, Any]:
    """What its record should say, as ``contracts.ProblemOrder`` names it."""
    return {
        "title": title(found.ci),
        "description": description(found, previous),
        "impact": found.impact,
        "urgency": found.urgency,
        "priority": found.priority,
        "assignment_group": found.assignment_group,
        "ci": found.ci,
    }


def title(ci: str) -> str:
    return f"Expected: incident on {ci}"[:200]


def description(found: Expected, previous: str) -> str:
    forecast = found.told
    lines = [
        f"{said(forecast)}, most likely about {_moment(likely_at(forecast))}.",
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
    return f"{percent(forecast)}: an incident on {forecast.ci} within {roughly(timedelta(hours=forecast.horizon_h))}"


def again(found: Expected) -> str:
    """Note for a forecast that has changed."""
    now, before = found.forecast, found.told
    by = f" by {now.model}" if now.model != before.model else ""
    return f"Now {percent(now)}{by} (it was {percent(before)}), most likely about {_moment(likely_at(now))}."


def confirmed(found: Expected) -> str:
    """Note for one that came true."""
    return f"Confirmed: {_incident(found)} began {lead(found)} after this was opened."


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
        return f"came true as {_incident(found)}, {lead(found)} after the problem was opened"
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
