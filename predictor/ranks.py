"""Statistics of order for short series. scipy has them all; to import it would cost the process for metrics, which runs
for months, as much memory as everything else it holds (66 MB).
"""

import math

import numpy as np
from numpy.typing import NDArray

from predictor.frames import Floats

_MOST = 120
"""Points of which all pairs are looked at: their number is the square."""


def ranks(values: Floats) -> Floats:
    """1 for the smallest; equal values share the middle of theirs. Shape (n,), without NaN."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)


def median_slope(times: Floats, values: Floats) -> tuple[float, float]:
    """Median of the slopes between all pairs of points, and the value at 0 that belongs to it.

    Shape (n,), n of two and more, times rising; of many, some spread evenly stand for all.
    Source: Theil 1950; Sen 1968, doi:10.1080/01621459.1968.10480934.
    """
    some = _some(len(times))
    times, values = times[some], values[some]
    first, second = np.triu_indices(len(times), 1)
    slope = float(np.median((values[second] - values[first]) / (times[second] - times[first])))
    return slope, float(np.median(values)) - slope * float(np.median(times))


def trend_sigmas(values: Floats) -> float:
    """How far the number of pairs that rise beyond those that fall is from chance, in its standard deviations; above
    zero where they rise. Shape (n,); of many, some spread evenly stand for all.

    Source: Mann 1945, doi:10.2307/1907187; Kendall 1938, doi:10.1093/biomet/30.1-2.81.
    """
    values = values[_some(len(values))]
    count = len(values)
    first, second = np.triu_indices(count, 1)
    rising = float(np.sign(values[second] - values[first]).sum())
    variance = count * (count - 1) * (2 * count + 5) / 18
    return rising / math.sqrt(variance) if variance else 0.0


def _some(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST)).round().astype(np.intp)) if count else _NONE


_NONE = np.empty(0, dtype=np.intp)
