"""A metric that comes near its limit and stays there, or will soon be there if it goes on like this.

Method:  the limit is declared, or follows from the unit: 100 for ``%``, 1 for ``ratio``; 0 where down is worse. The
         way to it is counted from 0, or from the usual level where the limit is a floor. Near is ``_NEAR`` of that way.
         A metric that is near for ``_STAYS`` points is told, and one whose median slope over the window is no
         chance and leads to the limit within as long as ``_REACH`` windows. What always was there is usual: less than
         half of what the history often leaves must be left.
Sources: Theil 1950 and Sen 1968, doi:10.1080/01621459.1968.10480934 (median of the slopes between all points);
         Kendall 1938, doi:10.1093/biomet/30.1-2.81 (whether it rises at all).
Limits:  looks no farther than that; days and weeks ahead are a forecast's. The score is 4 where it begins to be near
         and 10 at the limit, beside the spreads of other detectors. A unit says nothing of a metric that was beyond it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foreshock.core.model import Anomaly, Direction, Series
from predictor.detect import Detector, Stretch, anomaly, moment
from predictor.frames import Bound, Floats, Panel, quantiles
from predictor.ranks import median_slope, trend_sigmas

_FULL = {"%": 100.0, "percent": 100.0, "ratio": 1.0}
_NEAR = 0.9  # of the way
_STAYS = 5  # points
_LATEST = 3  # points whose median is where it is now
_MIN_POINTS = 12
_TREND_POINTS = 12
_REACH = 2.0  # times the window
_CHANCE = 3.29  # standard deviations: once in two thousand
_CALM = 4.0  # a rise is so many times the noise around it
_LEFT = 0.5  # of what is usually left may be left
_BEYOND = 1.02  # of the way: what was there has another limit
_OFTEN, _USUAL_EVERY_S = 0.1, 3 * 86_400  # share of the history, or seconds from one time to the next
_ALIKE = 0.8  # a rise of the past with this share of the rise is a like of it
_FIRST_SCORE, _FULL_SCORE = 4.0, 10.0
_TO_SIGMA = 1.4826


class _Way(NamedTuple):
    """From ``start`` (0 of it) to ``end`` (1)."""

    start: float
    end: float

    @property
    def direction(self) -> Direction:
        return Direction.UP if self.end > self.start else Direction.DOWN


class Saturation:
    """Where the limits of n series are, and how near to them they usually come.

    Learnt: ``ways_`` (n,), None without a limit; ``start_`` and ``length_`` of each way (n,), NaN without one.
    """

    def fit(self, history: Panel) -> Self:
        self.history_ = history
        (level,) = quantiles(history.values, 0.5)
        low, high = quantiles(history.values, 0.01, 0.99)
        enough = np.isfinite(history.values).sum(axis=0) >= _MIN_POINTS
        bounds = history.bounds or [None] * len(history.series)
        self.ways_ = [
            _way(series, bound, level[i], low[i], high[i]) if enough[i] else None
            for i, (series, bound) in enumerate(zip(history.series, bounds, strict=True))
        ]
        self.start_ = np.array([np.nan if way is None else way.start for way in self.ways_], dtype=np.float64)
        self.length_ = np.array(
            [np.nan if way is None else way.end - way.start for way in self.ways_], dtype=np.float64
        )
        return self

    def detect(self, window: Panel) -> Sequence[Anomaly]:
        """As ``predictor.detect.Fitted`` has it."""
        if len(window.times) < _STAYS:
            return []
        done = (window.values - self.start_) / self.length_  # shares of the way
        found = []
        for column in self._worth_a_look(done).tolist():
            way = self.ways_[column]
            assert way is not None
            one = self._near_it(window, column, done[:, column], way) or self._soon(
                window, column, done[:, column], way
            )
            if one is not None:
                found.append(one)
        return found

    def _worth_a_look(self, done: Floats) -> NDArray[np.intp]:
        """Near often enough, or risen by a good part of what was left."""
        third = max(1, len(done) // 3)
        (early,), (late,) = quantiles(done[:third], 0.5), quantiles(done[-third:], 0.5)
        near = (done >= _NEAR).sum(axis=0) >= _STAYS
        soon = (late - early) * (1 + 2 * _REACH) >= 1 - early
        return np.flatnonzero(near | soon)

    def _near_it(self, window: Panel, column: int, done: Floats, way: _Way) -> Anomaly | None:
        known = np.flatnonzero(np.isfinite(done))
        run = _longest_run(done[known] >= _NEAR)
        if len(run) < _STAYS:
            return None
        rows = known[run]
        reached = float(np.median(done[rows]))
        if self._often_at(column, 1 - (1 - reached) / _LEFT):
            return None
        trend = _trend(window.times[known], done[known]) if rows[-1] == known[-1] else None
        share = (reached - _NEAR) / (1 - _NEAR)
        return self._told(window, column, rows, way, share, None if trend is None else trend.full_at)

    def _soon(self, window: Panel, column: int, done: Floats, way: _Way) -> Anomaly | None:
        known = np.flatnonzero(np.isfinite(done))
        trend = _trend(window.times[known], done[known])
        if trend is None or self._often_at(column, _NEAR) or self._often_rises(column, window, trend.rise):
            return None
        rows = known[int(np.argmax(done[known] >= trend.began)) :]
        reach = _REACH * (window.times[-1] - window.times[0])
        return self._told(window, column, rows, way, 1 - (trend.full_at - window.times[-1]) / reach, trend.full_at)

    def _told(
        self, window: Panel, column: int, rows: NDArray[np.intp], way: _Way, share: float, full_at: float | None
    ) -> Anomaly:
        """share: of what lies between the first word about it and the worst."""
        series, values = window.series[column], window.values[rows, column]
        unit = f" {series.unit}" if series.unit else ""
        observed = float(np.median(values[-_LATEST:]))
        when = "" if full_at is None else f", there about {moment(full_at):%H:%M} UTC"
        so_far = f"{observed:.3g}{unit}"
        limit = f" of {way.end:.4g}{unit}" if way.direction is Direction.UP else f", the limit is {way.end:.4g}{unit}"
        (expected,) = quantiles(self.history_.values[:, [column]], 0.5)
        return anomaly(
            window,
            column,
            Stretch(int(rows[0]), int(rows[min(_STAYS, len(rows)) - 1]), int(rows[-1])),
            detector=DETECTOR.name,
            score=_FIRST_SCORE + (_FULL_SCORE - _FIRST_SCORE) * min(max(share, 0.0), 1.0),
            direction=way.direction,
            observed=observed,
            expected=float(expected[0]),
            said=f"{so_far}{limit}{when}",
        )

    def _often_at(self, column: int, least: float) -> bool:
        """Whether the history has so much of the way often, or again and again."""
        done = self._past(column)
        there = done >= least
        return bool(there.sum() > _OFTEN * np.isfinite(done).sum()) or self._again(there)

    def _often_rises(self, column: int, window: Panel, rise: float) -> bool:
        """Whether so much is gained again and again in the time of one window."""
        times = self.history_.times
        lag = max(1, round((window.times[-1] - window.times[0]) / float(np.median(np.diff(times)))))
        done = self._past(column)
        return self._again(done[lag:] - done[:-lag] >= _ALIKE * rise)

    def _again(self, flags: NDArray[np.bool_]) -> bool:
        times = self.history_.times
        runs = int(np.count_nonzero(np.diff(flags.astype(np.int8), prepend=0) > 0))
        return runs > 1 and runs * _USUAL_EVERY_S > times[-1] - times[0]

    def _past(self, column: int) -> Floats:
        done: Floats = (self.history_.values[:, column] - self.start_[column]) / self.length_[column]
        return done


class _Trend(NamedTuple):
    """full_at: when the way is done, seconds since 1970. rise: share of the way in one window. began: a share of the
    way that is clearly above where it started."""

    full_at: float
    rise: float
    began: float


def _trend(times: Floats, done: Floats) -> _Trend | None:
    """Of the shares of a way that one series had done; None unless they rise, and will be at its end soon."""
    if len(done) < _TREND_POINTS:
        return None
    since, span = times - times[0], times[-1] - times[0]
    slope, intercept = median_slope(since, done)
    half = len(done) // 2
    if slope <= 0 or median_slope(since[half:], done[half:])[0] < slope / 2:  # a step is no trend
        return None
    rise, now = slope * span, intercept + slope * span
    noise = float(np.median(np.abs(done - intercept - slope * since))) * _TO_SIGMA
    if rise < _CALM * noise or trend_sigmas(done) < _CHANCE:
        return None
    left_s = max(1.0 - now, 0.0) / slope
    return _Trend(times[-1] + left_s, rise, intercept + rise / 4) if left_s <= _REACH * span else None


def _way(series: Series, bound: Bound | None, level: float, low: float, high: float) -> _Way | None:
    """level, low, high: median and the hundredths at both ends of the history."""
    full = _FULL.get(series.unit)
    if bound is None:
        if full is None or low < (1 - _BEYOND) * full or high > _BEYOND * full:
            return None
        return _Way(full, 0.0) if series.worse is Direction.DOWN else _Way(0.0, full)
    up = Direction.UP if bound.up else Direction.DOWN
    usual = 0.0 if bound.up and bound.value > 0 else level if bound.up or full is None else full
    way = _Way(usual, bound.value)
    return way if way.direction is up and series.worse in (None, up) and bound.value != usual else None


def _longest_run(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Places of the longest stretch of true ones, the last of several."""
    best = np.empty(0, dtype=np.intp)
    for run in np.split(np.arange(len(flags)), np.flatnonzero(np.diff(flags)) + 1):
        if len(run) and flags[run[0]] and len(run) >= len(best):
            best = run
    return best


DETECTOR = Detector(
    kind="saturation",
    version=1,
    title="Comes near its limit, or will soon be there",
    fit=lambda history: Saturation().fit(history),
    plant=lambda course: np.where(np.arange(len(course)) < len(course) // 2, course, 95.0),
)
