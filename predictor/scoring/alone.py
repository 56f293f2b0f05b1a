"""How strange each point of one series is, told from the points before it alone; and the few that deserve an alarm.

Method:  a point is compared with the median of the points before it and, where there are days before, with the median
         of their same time of day; the smaller distance counts: strange is what is neither a usual level nor usual for
         the time of day. ``scores`` divides it by what such distances are usually. ``alarms`` takes the mean over a few
         points, ranks it among all before it (conformal), adds how far it exceeds the largest of them, and after an
         alarm asks for more for a while, so that one deviation is told once.
Sources: Hampel 1974, doi:10.1080/01621459.1974.10482962 (median absolute deviation); Laxhammar and Falkman 2014,
         doi:10.1007/s10472-013-9381-7 (ranks among earlier distances); Ahmad, Lavin, Purdy and Agha 2017,
         doi:10.1016/j.neucom.2017.04.070 (streaming detection, short-term means, and how it is judged).
Limits:  the first points score nothing, and so does a missing one. A level that has held for half of ``_LEVEL`` points
         is usual.
"""

import numpy as np

from predictor.frames import Floats, quantiles
from predictor.scoring.past import later, mean_before, ranks_before, rolling

_LEVEL = 2000  # points
_DAYS = 14  # whose same time of day is compared
_SLOT_S = 600  # to both sides of a moment: the same time of day
_DAY_S = 86_400
_LEAST_POINTS = 5  # with fewer before it, nothing is usual
_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation, where the distribution is normal
_TAIL, _TAIL_SIGMAS = 0.95, 2.0
_FLOOR = 0.02  # of the level: less is not strange however quiet the series was
_HALF = 3.0  # spreads that score one half
_HELD = 1  # points after a strange one that are as strange: it is over once two are good
_MEAN = 5  # points
_WARM_UP = 100  # points without an alarm
_MORE = 1.5  # in log odds: what a second alarm must exceed the first by
_QUIET = 700  # points until nothing is asked any more
_LEAST_SHARE = 0.001  # of the level; below it the largest distance before is no measure
_NEVER_SEEN = 10.0  # spreads: how far away what never moved is as soon as it does
_TINY = 1e-9


def scores(values: Floats, step_s: float) -> Floats:
    """Shape (t,), from 0 to 1; one half is ``_HALF`` spreads away. A point's score needs no point after it."""
    away = np.abs(off_usual(values, step_s))
    spread = np.maximum(_usual(away, 0.5) * _TO_SIGMA, _usual(away, _TAIL) / _TAIL_SIGMAS)
    spread = np.maximum(spread, _FLOOR * _usual(np.abs(values), 0.5))
    spread = np.where(spread == 0, away / _NEVER_SEEN, spread)
    spreads = np.nan_to_num(away / np.where(away == 0, 1.0, spread))
    held = np.max([later(spreads, rows, fill=0.0) for rows in range(_HELD + 1)], axis=0)
    strange: Floats = held / (held + _HALF)
    return strange


def alarms(values: Floats, step_s: float) -> Floats:
    """Shape (t,), from 0 to 1: 0 where nothing is to be told. A point's score needs no point after it."""
    away = np.abs(mean_before(off_usual(values, step_s), _MEAN))
    shares, most = ranks_before(away)
    least = np.fmax(_LEAST_SHARE * mean_before(np.abs(values), None), _TINY)
    surprise = np.log1p(np.nan_to_num(away / np.fmax(most, least))) - np.log(shares)
    surprise[:_WARM_UP] = 0.0
    return -np.expm1(-_first_of_each(surprise))


def off_usual(values: Floats, step_s: float) -> Floats:
    """Signed distances, shape (t,): from the level before or from the same time of the days before, the smaller."""
    off = values - _usual(values, 0.5)
    day, slot = round(_DAY_S / step_s), max(1, round(_SLOT_S / step_s))
    if day <= 2 * slot:
        return off
    around = rolling(values, 2 * slot + 1, 0.5)  # its last point is ``slot`` after its middle
    (at_this_time,) = quantiles(np.array([later(around, number * day - slot) for number in range(1, _DAYS + 1)]), 0.5)
    off_time = values - at_this_time
    return np.where(np.abs(off_time) < np.abs(off), off_time, off)


def _usual(values: Floats, share: float) -> Floats:
    """The quantile of the points before each."""
    return later(rolling(values, _LEVEL, share, _LEAST_POINTS), 1)


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
