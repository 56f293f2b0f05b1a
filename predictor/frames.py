"""Samples as arrays on one regular grid: what detectors and models compute on."""

from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.model import Samples, Series

Floats = NDArray[np.float64]

MOST = 1e100
"""Nothing that is measured is larger, and what is computed with it stays finite."""

_WHOLE = 0.25  # of its series: with fewer, a metric did not come


class Bound(Struct, frozen=True):
    """What a metric cannot go beyond, or must not: a ceiling (up) or a floor, in the unit of the series."""

    value: float
    up: bool


class Panel(Struct, frozen=True):
    """Many series on one time axis.

    Attributes:
        series: n of them.
        times: shape (t,), seconds since 1970, rising.
        values: shape (t, n), each column in the unit of its series; NaN where a point is missing.
        bounds: n declared bounds, or empty where none is declared at all.
        last: shape (n,), when each series last had a point before the first row, NaN where that is not known; empty
            where nothing is known beside a history.
        grown: CIs that have series of this metric which are not among those here, as they are too new.
        heard: the steps, as ``times``, in which the metric came as a whole, from series that may be elsewhere; empty
            where nobody knows.
    """

    series: Sequence[Series]
    times: Floats
    values: Floats
    bounds: Sequence[Bound | None] = ()
    last: Floats = np.empty(0)
    grown: Collection[str] = frozenset()
    heard: Floats = np.empty(0)

    def between(self, start_s: float, end_s: float) -> "Panel":
        """The rows in start_s <= t < end_s."""
        first, last = np.searchsorted(self.times, (start_s, end_s))
        return msgspec.structs.replace(self, times=self.times[first:last], values=self.values[first:last])


def panel(samples: Sequence[Samples], step_s: float) -> Panel:
    """Samples on a grid of ``step_s`` seconds, from the first point to the last; the last point within a step counts.

    A step without a point is NaN; so is a value beyond all measure, such as an infinite one. Points of one series in
    several ``Samples`` come together.
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
    values[~(np.abs(values) <= MOST)] = np.nan
    return Panel(tuple(columns), np.arange(first, last + 1, dtype=np.float64) * step_s, values)


def came(samples: Sequence[Samples], step_s: float) -> Floats:
    """The steps in which at least ``_WHOLE`` of these series came, as ``Panel.times``."""
    steps = [np.unique(np.asarray(each.times, dtype=np.float64) // step_s) for each in samples]
    if not steps:
        return np.empty(0)
    rows, counts = np.unique(np.concatenate(steps), return_counts=True)
    return rows[counts >= _WHOLE * sum(1 for each in steps if each.size)] * step_s


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
