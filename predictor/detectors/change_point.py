"""A level that changed and stayed, where what is usual is so wide that no single point is odd.

Method:  at each place of the window a rank sum tells whether what comes after lies apart from what was before
         (``_SURE``, corrected for the number of places); of the places the clearest is taken. Such a step must be
         larger than the noise around both levels, fit better than a slope does, and be larger than what the history
         shows from one such span to the next: what a metric does once every three days is usual.
Sources: Pettitt 1979, doi:10.2307/2346729 (change point by ranks); Mann and Whitney 1947, doi:10.1214/aoms/1177730491;
         Theil 1950 and Sen 1968, doi:10.1080/01621459.1968.10480934 (slope).
Limits:  a change is an event: it is told while the window shows both levels, and not beyond. Five points must have come
         at the new level and eight at the old one. A change of spread alone is not looked for. It yields to other
         detectors.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foreshock.core.model import Anomaly, Direction
from predictor.detect import Detector, Stretch, anomaly
from predictor.frames import Floats, Panel, quantiles
from predictor.ranks import median_slope, ranks

_BEFORE, _AFTER = 8, 5  # points at each level, at least
_MIN_CHANGES, _MIN_WINDOWS = 12, 4  # in the history
_SURE = 0.01
_APART = 3.0  # spreads of the noise around both levels
_TO_SIGMA = 1.4826
_FLOOR = 0.001  # of the level
_STEP_NOT_SLOPE = 0.7  # of what is left by a slope
_BEYOND = 1.25  # times what the history has shown more often than every three days
_USUAL_EVERY_S = 3 * 86_400
_WILD = 4.0  # spreads of the changes from one span to the next


class ChangePoint:
    """How far each of n series moves within one window.

    Learnt: ``history_``. What follows from it depends on the length of the window and is computed with that.
    """

    def fit(self, history: Panel) -> Self:
        self.history_ = history
        self._usual: dict[int, tuple[Floats, Floats]] = {}
        return self

    def detect(self, window: Panel) -> Sequence[Anomaly]:
        """As ``predictor.detect.Fitted`` has it."""
        if len(window.times) < _BEFORE + _AFTER or len(self.history_.times) < _MIN_CHANGES:
            return []
        span_s = window.times[-1] - window.times[0]
        if self.history_.times[-1] - self.history_.times[0] < _MIN_WINDOWS * span_s:
            return []
        usual, spread = self._usually(span_s)
        found = []
        for column in _worth_a_look(window.values, usual).tolist():
            step = _step(window.times, window.values[:, column])
            if step is None or abs(step.after - step.before) < usual[column]:
                continue
            series, unit = window.series[column], f" {window.series[column].unit}" if window.series[column].unit else ""
            direction = Direction.UP if step.after > step.before else Direction.DOWN
            if series.worse not in (None, direction):
                continue
            found.append(
                anomaly(
                    window,
                    column,
                    step.rows,
                    detector=DETECTOR.name,
                    score=abs(step.after - step.before) / spread[column],
                    direction=direction,
                    observed=step.after,
                    expected=step.before,
                    said=f"level {step.before:.3g} -> {step.after:.3g}{unit}",
                )
            )
        return found

    def _usually(self, span_s: float) -> tuple[Floats, Floats]:
        """Of each series: a change that is too large to be usual, and the spread of the changes; NaN where there is
        too little history."""
        history = self.history_
        step_s = float(np.median(np.diff(history.times)))
        lag = max(1, min(round(span_s / step_s), len(history.times) // _MIN_CHANGES))
        if lag not in self._usual:
            changes = np.abs(_changes(history.values, lag))
            often = 2 * (1 + int((history.times[-1] - history.times[0]) // _USUAL_EVERY_S))  # there and back
            known = np.isfinite(changes).sum(axis=0)
            ordered = -np.sort(-np.where(np.isfinite(changes), changes, -1.0), axis=0)
            largest = ordered[min(2 * often, len(ordered) - 1)]  # each is seen twice
            (median,) = quantiles(changes, 0.5)
            (level,) = quantiles(np.abs(history.values), 0.5)
            spread = np.maximum(median * _TO_SIGMA, level * _FLOOR)
            spread = np.where(spread > 0, np.maximum(spread, _BEYOND * largest / _WILD), np.inf)
            self._usual[lag] = np.where(known >= _MIN_CHANGES, _WILD * spread, np.inf), spread
        return self._usual[lag]


class _Step(NamedTuple):
    before: float
    after: float
    rows: Stretch


def _changes(values: Floats, lag: int) -> Floats:
    """From the median of ``lag`` rows to that of the next so many, with two ways to begin; NaN where one is missing."""
    changes = []
    for begin in {0, lag // 2}:
        count = (len(values) - begin) // lag
        blocks = values[begin : begin + count * lag].reshape(count, lag, -1).swapaxes(0, 1)
        (medians,) = quantiles(blocks.reshape(lag, -1), 0.5)
        changes.append(np.diff(medians.reshape(count, -1), axis=0))
    return np.concatenate(changes)


def _worth_a_look(values: Floats, usual: Floats) -> NDArray[np.intp]:
    """Columns with a clear step, as far as can be told of all at once, where ties are ranked as they come."""
    here = np.isfinite(values)
    ranks = np.where(here, np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0) + 1, 0)
    before, count = np.cumsum(here, axis=0), here.sum(axis=0)
    sigmas = _sigmas(np.cumsum(ranks, axis=0), before, count)
    best = sigmas.argmax(axis=0)
    columns = np.flatnonzero(sigmas[best, np.arange(len(best))] >= _certain(len(values)))
    worth = []
    for row in np.unique(best[columns]).tolist():
        of_row = columns[best[columns] == row]
        (low,), (high,) = quantiles(values[: row + 1, of_row], 0.5), quantiles(values[row + 1 :, of_row], 0.5)
        worth.append(of_row[np.abs(high - low) >= usual[of_row]])
    return np.sort(np.concatenate(worth)) if worth else np.empty(0, dtype=np.intp)


def _sigmas(sums: NDArray[Any], before: NDArray[Any], count: NDArray[Any] | int) -> Floats:
    """How far the sum of the ranks of ``before`` of ``count`` points is from what chance makes of it; 0 where there are
    too few on either side."""
    enough = (before >= _BEFORE) & (count - before >= _AFTER)
    variance = np.where(enough, before * (count - before) * (count + 1) / 12, 1.0)
    return np.where(enough, np.abs(sums - before * (count + 1) / 2) / np.sqrt(variance), 0.0)


def _step(times: Floats, values: Floats) -> _Step | None:
    """The clearest step of one series, if there is one that stayed."""
    known = np.flatnonzero(np.isfinite(values))
    points = values[known]
    count = len(points)
    if count < _BEFORE + _AFTER:
        return None
    place = _place(points)
    if place is None:
        return None
    before, after = float(np.median(points[:place])), float(np.median(points[place:]))
    fitted = np.where(np.arange(count) < place, before, after)
    rest = np.abs(points - fitted)
    noise = max(float(np.median(rest)) * _TO_SIGMA, _FLOOR * abs(before))
    middle = (before + after) / 2
    stayed = ((points[-_AFTER // 2 :] > middle) == (after > before)).all()
    if not stayed or abs(after - before) < _APART * noise:
        return None
    slope, intercept = median_slope(times[known] - times[0], points)
    if rest.sum() > _STEP_NOT_SLOPE * np.abs(points - intercept - slope * (times[known] - times[0])).sum():
        return None
    last = count - 1
    rows = Stretch(int(known[place]), int(known[min(place + _AFTER - 1, last)]), int(known[last]))
    return _Step(before, after, rows)


def _place(points: Floats) -> int | None:
    """Where the ranks before and after lie farthest apart, if that is no chance."""
    before = np.arange(1, len(points) + 1)
    sigmas = _sigmas(np.cumsum(ranks(points)), before, len(points))
    best = int(sigmas.argmax())
    places = len(points) - _BEFORE - _AFTER + 1
    return best + 1 if sigmas[best] >= _certain(places) else None


def _certain(places: int) -> float:
    """Standard deviations that chance reaches at one of so many places with the probability ``_SURE``."""
    return -NormalDist().inv_cdf(_SURE / 2 / places)


DETECTOR = Detector(
    kind="change_point",
    version=1,
    title="Changes its level and stays there",
    fit=lambda history: ChangePoint().fit(history),
    plant=lambda course: course + np.where(np.arange(len(course)) < len(course) // 2, 0.0, 20.0),
    yields=True,
)
