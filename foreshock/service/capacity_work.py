"""Forecasts of limits, in the process for metrics: the history is read, what is likely is told once, and again when it
has changed, is not expected any more, or has happened.

The usual is read anew when a further step of it is over; what came last, each time. What was told is kept in a file
beside the history, so that what is told before a restart can be taken back after it; without the file nothing else is
lost.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.core.model import Contribution, Forecast, ForecastState, Moment, Samples, Series
from foreshock.service.metric_process import Limit
from foreshock.store.history import ParquetHistory
from predictor.capacity import Outlook, Steps, Why, goes_on_share, grid, outlook, steps, turned_back
from predictor.frames import Floats

MODEL = "capacity@1"
MOST = 500
"""Forecasts in one answer, the likeliest; the others come with the next."""
LIKELY, UNLIKELY = 0.5, 0.3
"""What is at least so probable in two looks in a row is told; what is less probable then is taken back."""
_ROUNDS = 3
"""So often it must be unlikely before it is taken back."""
_DIFFERS, _MOVED = 0.1, 0.25
"""What differs by so much in probability, or by such a share of the time that is left, is told again."""
_CHUNK = 500
_SECONDS = {"s": 1.0, "h": 3600.0, "d": 86_400.0}
_JUST_NOW = timedelta(milliseconds=1)
_MARGIN = 0.02
"""Of the limit a value must come back by to be no longer beyond it."""

Place = tuple[str, str, str]
"""Metric, CI and dimension."""


class Told(Struct):
    """What was said of a series last. quiet: rounds since then in which it was unlikely."""

    at: Moment
    probability: float
    when: Moment
    reached: bool = False
    quiet: int = 0


class _Past(Struct, frozen=True):
    """The usual of one metric: when its last step ended, and a column for each series."""

    end_s: float
    columns: Mapping[tuple[str, str], int]
    values: Floats


class Foreseer:
    """Args: keep: the file with what was told."""

    def __init__(self, history: ParquetHistory, keep: Path) -> None:
        self._history, self._keep = history, keep
        self._past: dict[tuple[str, float], _Past] = {}
        self._once: set[Place] = set()  # likely in the last look, for the first time
        self.told = self._read()

    def foreseeing(self, limits: Sequence[Limit], now: datetime) -> Generator[None, None, list[Forecast]]:
        """News of all series that a limit is set for, the likeliest first. Between two steps points may come in."""
        read = [(parse_matchers(limit.match), limit) for limit in limits]
        names = self._history.metrics(now - timedelta(days=1)) if limits else ()
        found: list[Forecast] = []
        for metric in names:
            mine = [each for each in read if _may_be(each[0], metric)]
            if mine:
                found += yield from self._of_metric(metric, mine, now)
        self._past = {key: past for key, past in self._past.items() if key[0] in names}
        before = dict(self.told)
        self.told = {place: told for place, told in self.told.items() if now - told.at < timedelta(days=30)}
        found.sort(key=lambda each: (each.state is ForecastState.EXPECTED, -each.probability, each.ci, each.about))
        if found or self.told != before:
            self._write()
        return found[:MOST]

    def _of_metric(
        self, metric: str, read: Sequence[tuple[Sequence[Matcher], Limit]], now: datetime
    ) -> Generator[None, None, list[Forecast]]:
        found: list[Forecast] = []
        for horizon_s in sorted({limit.horizon_s for _, limit in read}):
            on = steps(horizon_s)
            begin = now - timedelta(seconds=on.recent * on.recent_s)
            end = now + _JUST_NOW
            recent = yield from self._history.reading(begin, end, metric=metric, step_s=on.recent_s)
            mine = [(each, limit) for each in recent if (limit := _first(read, each.series)) is not None]
            mine = [each for each in mine if each[1].horizon_s == horizon_s and each[1].limit is not None]
            if not mine:
                continue
            past = yield from self._usual(metric, on, horizon_s, now)
            for first in range(0, len(mine), _CHUNK):
                found += self._news(mine[first : first + _CHUNK], past, on, now)
                yield
        return found

    def _usual(self, metric: str, on: Steps, horizon_s: float, now: datetime) -> Generator[None, None, _Past]:
        end_s = np.floor(now.timestamp() / on.past_s) * on.past_s
        known = self._past.get((metric, horizon_s))
        if known is None or known.end_s != end_s:
            end = datetime.fromtimestamp(end_s, now.tzinfo)
            begin = end - timedelta(seconds=on.past * on.past_s)
            samples = yield from self._history.reading(begin, end, metric=metric, step_s=on.past_s)
            columns = {(each.series.ci, each.series.dimension): column for column, each in enumerate(samples)}
            known = _Past(float(end_s), columns, grid(samples, end_s, on.past_s, on.past).astype(np.float32))
            self._past[metric, horizon_s] = known
        return known

    def _news(
        self, mine: Sequence[tuple[Samples, Limit]], usual: _Past, on: Steps, now: datetime
    ) -> Iterator[Forecast]:
        samples, limits = [each for each, _ in mine], [limit for _, limit in mine]
        signs = np.array([1.0 if limit.up else -1.0 for limit in limits])
        wanted = [usual.columns.get((each.series.ci, each.series.dimension), -1) for each in samples]
        none = np.full((len(usual.values), 1), np.nan)
        past = np.hstack([usual.values, none])[:, wanted].astype(np.float64)  # -1: the last one
        recent = grid(samples, now.timestamp(), on.recent_s, on.recent)
        bounds = np.array([limit.limit or 0.0 for limit in limits])
        found = outlook(past * signs, recent * signs, bounds * signs, grid=on, horizon_s=limits[0].horizon_s)
        for column, (each, limit) in enumerate(mine):
            one = _one(found, column, float(signs[column]), float(bounds[column]))
            if limit.time_left and np.isfinite(one.level) and one.why is not Why.REACHED:
                turned = turned_back(
                    past[:, [column]] * signs[column], found.level[[column]], (bounds * signs)[[column]]
                )
                one = _time_left(one, limit, each.series.unit, int(turned[0]))
            if (forecast := self._tell(each.series, limit, one, now)) is not None:
                yield forecast

    def _tell(self, series: Series, limit: Limit, one: "Prospect", now: datetime) -> Forecast | None:
        place = (series.metric, series.ci, series.dimension)
        told = self.told.get(place)
        if one.why is Why.REACHED:
            if told is None or told.reached:
                if told is None:  # it was there before anybody looked
                    self.told[place] = Told(now, 1.0, now, reached=True)
                return None
            self.told[place] = Told(now, 1.0, now, reached=True)
            return _forecast(series, limit, one, now, ForecastState.REACHED)
        if told is not None and told.reached:
            if one.room >= _MARGIN * abs(limit.limit or 0.0) or one.probability < UNLIKELY:
                del self.told[place]
            return None
        if told is None and one.probability >= LIKELY and place not in self._once:
            self._once.add(place)  # one look may be wrong
            return None
        self._once.discard(place)
        if one.probability >= LIKELY:
            when = now + timedelta(seconds=min(one.when_s, limit.horizon_s))
            if told is None or _is_news(told, one.probability, when, now, limit.horizon_s):
                self.told[place] = Told(now, one.probability, when)
                return _forecast(series, limit, one, now, ForecastState.EXPECTED)
            told.quiet = 0
        elif told is not None and one.probability < UNLIKELY:
            told.quiet += 1
            if told.quiet >= _ROUNDS:
                del self.told[place]
                return _forecast(series, limit, one, now, ForecastState.WITHDRAWN)
        return None

    def _read(self) -> dict[Place, Told]:
        try:
            read = msgspec.json.decode(self._keep.read_bytes(), type=list[tuple[Place, Told]])
        except (OSError, msgspec.DecodeError):
            return {}
        return dict(read)

    def _write(self) -> None:
        """A disk that is full, of all things, must not keep forecasts from being told."""
        draft = self._keep.with_suffix(".draft")
        with suppress(OSError):
            draft.write_bytes(msgspec.json.encode(list(self.told.items())))
            draft.replace(self._keep)


def _may_be(matchers: Sequence[Matcher], metric: str) -> bool:
    return all(matcher.matches({"metric": metric}) for matcher in matchers if matcher.name == "metric")


def _first(read: Sequence[tuple[Sequence[Matcher], Limit]], series: Series) -> Limit | None:
    said = {"metric": series.metric, "ci": series.ci, "dimension": series.dimension, "unit": series.unit}
    return next((limit for matchers, limit in read if matches_all(matchers, said)), None)


def _is_news(told: Told, probability: float, when: datetime, now: datetime, horizon_s: float) -> bool:
    moved_s, left_s = abs((when - told.when).total_seconds()), max((when - now).total_seconds(), horizon_s / 48)
    return (
        abs(probability - told.probability) >= _DIFFERS
        or moved_s >= _MOVED * left_s
        or (now - told.at).total_seconds() >= horizon_s / 4
    )


# ---- one series -----------------------------------------------------------------------------------------------------


class Prospect(Struct, frozen=True):
    """An ``Outlook`` of one series, as plain numbers. level: as the series has it. room: to the limit, negative beyond
    it."""

    probability: float
    when_s: float
    low_s: float
    high_s: float
    growth: float
    window_s: float
    level: float
    turned: int
    why: Why
    room: float = 0.0


def _one(found: Outlook, column: int, sign: float, limit: float) -> Prospect:
    level = float(found.level[column])
    return Prospect(
        probability=float(found.probability[column]),
        when_s=float(found.when_s[column]),
        low_s=float(found.low_s[column]),
        high_s=float(found.high_s[column]),
        growth=float(found.growth[column]),
        window_s=float(found.window_s[column]),
        level=sign * level,
        turned=int(found.turned[column]),
        why=Why(int(found.why[column])),
        room=limit * sign - level,
    )


def _time_left(one: Prospect, limit: Limit, unit: str, turned: int) -> Prospect:
    """It comes nearer by itself; only whether it is put off, as it was before at this point, is not certain."""
    left_s = (one.level - (limit.limit or 0.0)) * _SECONDS.get(unit, 1.0)
    probability = goes_on_share(turned) if left_s <= limit.horizon_s else 0.0
    return msgspec.structs.replace(
        one, probability=probability, when_s=left_s, low_s=left_s, high_s=left_s, why=Why.NOW, growth=0.0, turned=turned
    )


def _forecast(series: Series, limit: Limit, one: Prospect, now: datetime, state: ForecastState) -> Forecast:
    horizon_s = limit.horizon_s
    when_s, low_s, high_s = (min(max(each, 0.0), horizon_s) for each in (one.when_s, one.low_s, one.high_s))
    word = series.dimension.partition("=")[2]
    return Forecast(
        ci=series.ci,
        made_at=now,
        probability=one.probability,
        horizon_h=horizon_s / 3600,
        lead_time_h=when_s / 3600,
        model=MODEL,
        contributions=() if state is ForecastState.WITHDRAWN else tuple(_evidence(series, one)),
        about=f"{series.metric} {series.dimension}".strip(),
        signs=tuple(limit.signs) or ((word,) if word else ()),
        summary=_summary(series, limit, one, state),
        earliest_h=low_s / 3600,
        latest_h=max(low_s, high_s) / 3600,
        state=state,
    )


def _summary(series: Series, limit: Limit, one: Prospect, state: ForecastState) -> str:
    word = series.dimension.partition("=")[2] or series.dimension
    name = f"{series.metric} of {word}" if word else series.metric
    unit = f" {series.unit}" if series.unit else ""
    level = f"{one.level:.4g}{unit}"
    bound = f"{limit.limit:g}{unit}"
    if state is ForecastState.REACHED:
        return f"{name} has reached {bound}"
    if state is ForecastState.WITHDRAWN:
        return f"{name} is at {level}, and is not expected to reach {bound} within {_span(limit.horizon_s)} any more"
    if limit.time_left:
        return f"{name} is at {level}: it is at {bound} in {_span(one.when_s)}"
    high = _span(one.high_s) if np.isfinite(one.high_s) else "more"
    return f"{name} reaches {bound} in {_span(one.when_s)} ({_span(one.low_s)} to {high}); now it is {level}"


def _evidence(series: Series, one: Prospect) -> Iterator[Contribution]:
    """Points add up to the probability."""
    alone = min(1.0, one.probability / goes_on_share(one.turned))
    unit = series.unit or "more"
    if one.why is Why.NOW and one.growth:
        text = f"it has changed by {abs(one.growth) * 3600:.3g} {unit} each hour over the last {_span(one.window_s)}"
    elif one.why is Why.USUAL:
        text = "it goes on as on the last days at this time"
    else:
        text = "it comes nearer by itself"
    yield Contribution(name="growth", points=alone, evidence=text)
    if one.turned:
        times = "once" if one.turned == 1 else f"{one.turned} times"
        yield Contribution(
            name="turned back",
            points=one.probability - alone,
            evidence=f"it has been like this {times} before and turned back",
        )


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
