"""How far each metric moved when something broke: for an incident whose moment is known.

A detector must not cry wolf, so it waits until it is sure. Here it is sure that something broke, and the question is
what moved with it, and how far in terms of what moves anyway. So nothing is too small to be compared, and the level
just before is the expectation: what is usual may have drifted since the history was recorded.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from foreshock.core.model import Anomaly, Direction, Samples
from predictor.frames import Floats

MAX_SCORE = 100.0

_MIN_POINTS = 12  # a history with fewer is one of several short ones
_MIN_SHORT = 6  # short ones
_STEPS = 2  # points between which a change is looked at: about as far apart as before and after are
_SHARE, _SIGMAS = 0.9, 1.645  # share of the changes that is smaller, and where it is in a normal distribution
_SHARE_SHORT, _SIGMAS_SHORT = 0.75, 1.15
_FLOOR = 0.005  # of the level: a metric that never moved is not odd at once when it does
_UNKNOWN = 0.05  # of the level, where there is no history
_PEAK = 2  # of the points after, the farthest so many count: a breach need not last


def moved(
    window: Sequence[Samples], usual: Mapping[tuple[str, str, str], Sequence[Samples]], began_s: float
) -> list[Anomaly]:
    """Anomalies of a window around ``began_s``, in its order; ``score`` in usual changes, above 1.

    Args:
        window: one series each; only ``series.worse`` counts as a direction where it is set.
        usual: by CI, metric and dimension: other recordings of the series, mostly normal. Levels may differ, changes
            are compared relative to them.
        began_s: seconds since 1970. Points before it are the level to compare with.
    """
    found = []
    for each in window:
        series = each.series
        times, values = np.asarray(each.times, dtype=np.float64), np.asarray(each.values, dtype=np.float64)
        # A point stands for the step that begins with it.
        step_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        before = values[times + step_s <= began_s]
        after = times + step_s > began_s
        if not len(before) or not after.any():
            continue
        level = float(np.median(before))
        spread = _usual_change(usual.get((series.ci, series.metric, series.dimension), ())) * abs(level)
        off = values[after] - level
        anomaly = max(_sides(each, times[after], off, level, spread), key=lambda side: side.score, default=None)
        if anomaly is not None and anomaly.score > 1.0:
            found.append(anomaly)
    return found


def _sides(each: Samples, times: Floats, off: Floats, level: float, spread: float) -> Iterator[Anomaly]:
    series = each.series
    for direction, sign in ((Direction.UP, 1.0), (Direction.DOWN, -1.0)):
        if series.worse not in (None, direction):
            continue
        towards = sign * off
        peak = float(np.mean(np.sort(towards)[-_PEAK:]))
        if peak <= 0:
            continue
        score = min(MAX_SCORE, peak / spread) if spread > 0 else MAX_SCORE
        outside = np.flatnonzero(towards >= peak / 2)
        yield Anomaly(
            ci=series.ci,
            metric=series.metric,
            dimension=series.dimension,
            unit=series.unit,
            onset=_moment(times[outside[0]]),
            at=_moment(times[outside[0]]),
            until=None if outside[-1] == len(times) - 1 else _moment(times[outside[-1]]),
            score=round(score, 2),
            direction=direction,
            observed=level + sign * peak,
            expected=level,
            detector="shift@1",
        )


def _usual_change(recordings: Sequence[Samples]) -> float:
    """Relative to the level: the largest that one of the long recordings shows, and the short ones together."""
    changes = [_FLOOR]
    short = []
    for recording in recordings:
        values = np.asarray(recording.values, dtype=np.float64)
        level = float(np.median(np.abs(values))) if len(values) else 0.0
        if level == 0:
            continue
        if len(values) >= _MIN_POINTS:
            steps = np.abs(values[_STEPS:] - values[:-_STEPS]) / level
            changes.append(float(np.quantile(steps, _SHARE)) / _SIGMAS)
        elif len(values) > 1:
            short.append(abs(float(values[-1] - values[0])) / level)
    if len(short) >= _MIN_SHORT:
        changes.append(float(np.quantile(short, _SHARE_SHORT)) / _SIGMAS_SHORT)
    return max(changes) if len(changes) > 1 else _UNKNOWN


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
