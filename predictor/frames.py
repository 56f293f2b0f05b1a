"""Samples as arrays on one regular grid: what detectors and models compute on."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.model import Samples, Series

Floats = NDArray[np.float64]


class Panel(Struct, frozen=True):
    """Many series on one time axis.

    Attributes:
        series: n of them.
        times: shape (t,), seconds since 1970, rising.
        values: shape (t, n), each column in the unit of its series; NaN where a point is missing.
    """

    series: Sequence[Series]
    times: Floats
    values: Floats

    def between(self, start_s: float, end_s: float) -> "Panel":
        """The rows in start_s <= t < end_s."""
        first, last = np.searchsorted(self.times, (start_s, end_s))
        return Panel(self.series, self.times[first:last], self.values[first:last])


def panel(samples: Sequence[Samples], step_s: float) -> Panel:
    """Samples on a grid of ``step_s`` seconds, from the first point to the last; the last point within a step counts.

    A step without a point is NaN; so is an infinite value. Points of one series in several ``Samples`` come together.
    """
    columns: dict[Series, int] = {}
    for each in samples:
        columns.setdefault(each.series, len(columns))
    steps = [np.floor(np.asarray(each.times, dtype=np.float64) / step_s).astype(np.int64) for each in samples]
    filled = [each for each in steps if each.size]
    if not filled:
        return Panel(tuple(columns), np.empty(0), np.empty((0, len(columns))))
    first, last = min(int(each[0]) for each in filled), max(int(each[-1]) for each in filled)
    values = np.full((last - first + 1, len(columns)), np.nan)
    for each, rows in zip(samples, steps, strict=True):
        values[rows - first, columns[each.series]] = each.values
    values[~np.isfinite(values)] = np.nan
    return Panel(tuple(columns), np.arange(first, last + 1, dtype=np.float64) * step_s, values)


def quantiles(values: Floats, *wanted: float) -> tuple[Floats, ...]:
    """Column quantiles of a (t, n) array without its NaN, linear between points; NaN for a column without any.

    ``numpy.nanquantile`` takes the columns one by one, this sorts them all at once.
    """
    ordered = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=0)
    columns = np.arange(values.shape[1])
    found = []
    for share in wanted:
        place = np.maximum(count - 1, 0) * share
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        if not len(ordered):
            found.append(np.full(values.shape[1], np.nan))
            continue
        below, above = ordered[low, columns], ordered[high, columns]
        found.append(below + (above - below) * (place - low))
    return tuple(found)
