"""How strange each point of one series is, told from the points before it alone; and the few that deserve an alarm.

Method:  a point is compared with the median of the points before it and, where there are days before, with the median
         of their same time of day; the smaller distance counts: strange is what is neither a usual level nor usual for
         the time of day. ``scores`` divides it by what such distances are usually. ``alarms`` takes the mean over a few
         points, ranks it among those before it (conformal), adds how far it exceeds the largest of them, and after an
         alarm asks for more for a while, so that one deviation is told once.
Sources: Hampel 1974, doi:10.1080/01621459.1974.10482962 (median absolute deviation); Laxhammar and Falkman 2014,
         doi:10.1007/s10472-013-9381-7 (ranks among earlier distances); Ahmad, Lavin, Purdy and Agha 2017,
         doi:10.1016/j.neucom.2017.04.070 (streaming detection, short-term means, and how it is judged).
Limits:  the first points score nothing, and so does a missing one. A level that has held for half of ``_LEVEL`` points
         is usual.
"""

import numpy as np
from numpy.typing import NDArray

from predictor.frames import Floats, quantiles
from predictor.scoring.past import NO_SPREAD, later, mean_until, quantile_until, ranks_before

_LEVEL = 2000  # points
_DAYS = 14  # whose same time of day is compared
_SLOT_S = 600  # to both sides of a moment: the same time of day
_DAY_S = 86_400
_SPARSE = 100  # steps without a point for each with one
_LEAST_POINTS = 5  # with fewer before it, nothing is usual
_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation, where the distribution is normal
_TAIL, _TAIL_SIGMAS = 0.95, 2.0
_FLOOR = 0.02  # of the level: less is not strange however quiet the series was
_HALF = 3.0  # spreads that score one half
_HELD = 1  # points after a strange one that are as strange: it is over once two are good
_MEAN = 5  # points
_RANKED = 10_000  # points before one, among which it is ranked
_WARM_UP = 100  # points without an alarm
_MORE = 1.5  # in log odds: what a second alarm must exceed the first by
_QUIET = 700  # points until nothing is asked any more
_LEAST_SHARE = 0.001  # of the level; below it the largest distance before is no measure
_NEVER_SEEN = 10.0  # spreads: how far away what never moved is as soon as it does
_TINY = 1e-9


def scores(values: Floats, times: Floats, step_s: float) -> Floats:
    """Shape (t,), from 0 to 1; one half is ``_HALF`` spreads away. A point's score needs no point after it.

    ``times`` (t,) in seconds do not fall; points are mostly ``step_s`` apart.
    """
    away = np.abs(off_usual(values, times, step_s))
    spread = np.maximum(_usual(away, 0.5) * _TO_SIGMA, _usual(away, _TAIL) / _TAIL_SIGMAS)
    spread = np.maximum(spread, _FLOOR * _usual(np.abs(values), 0.5))
    spread = np.where(spread <= NO_SPREAD, away / _NEVER_SEEN, spread)
    spreads = np.nan_to_num(away / np.where(away <= NO_SPREAD, 1.0, spread))
    held = np.max([later(spreads, rows, fill=0.0) for rows in range(_HELD + 1)], axis=0)
    strange: Floats = held / (held + _HALF)
    return strange


def alarms(values: Floats, times: Floats, step_s: float) -> Floats:
    """Shape (t,), from 0 to 1: 0 where nothing is to be told. A point's score needs no point after it."""
    away = np.abs(mean_until(off_usual(values, times, step_s), _MEAN))
    shares, most = ranks_before(away, _RANKED)
    least = np.fmax(_LEAST_SHARE * _usual(np.abs(values), 0.5), _TINY)
    surprise = np.log1p(np.nan_to_num(away / np.fmax(most, least))) - np.log(shares)
    surprise[:_WARM_UP] = 0.0
    return -np.expm1(-_first_of_each(surprise))


def off_usual(values: Floats, times: Floats, step_s: float) -> Floats:
    """Signed distances, shape (t,): from the level before or from the same time of the days before, the smaller."""
    off = values - _usual(values, 0.5)
    day, slot = round(_DAY_S / step_s), max(1, round(_SLOT_S / step_s))
    if day <= 2 * slot or not len(values):
        return off
    places = _places(times, step_s)
    grid = np.full(places[-1] + 1, np.nan)
    grid[places] = values
    around = quantile_until(grid, 2 * slot + 1, 0.5)  # its last point is ``slot`` after its middle
    (at_this_time,) = quantiles(np.array([later(around, number * day - slot) for number in range(1, _DAYS + 1)]), 0.5)
    off_time = values - at_this_time[places]
    return np.where(np.abs(off_time) < np.abs(off), off_time, off)


def _places(times: Floats, step_s: float) -> NDArray[np.int64]:
    """Of each point on a grid of steps; one after another where the grid would be nearly empty."""
    places: NDArray[np.int64] = np.round((times - times[0]) / step_s).astype(np.int64)
    return places if places[-1] <= _SPARSE * len(times) else np.arange(len(times))


def _usual(values: Floats, share: float) -> Floats:
    """The quantile of the points before each."""
    return later(quantile_until(values, _LEVEL, share, _LEAST_POINTS), 1)


def _first_of_each(surprise: Floats) -> Floats:
    """What exceeds a hurdle; each raises it to ``_MORE`` above itself, from where it sinks to nothing."""
    told, hurdle, sinks = np.zeros(len(surprise)), 0.0, 0.0
    for row, value in enumerate(surprise.tolist()):
        if value > hurdle:
            told[row] = value
            hurdle = value + _MORE
            sinks = hurdle / _QUIET
        else:
            hurdle -= sinks
    return told
