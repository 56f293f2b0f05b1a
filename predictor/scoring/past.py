"""What earlier rows say about a row: medians, ranks and smoothed values of the past; nothing here looks ahead."""

from bisect import bisect_left, insort
from collections import deque

import numpy as np

from predictor.frames import Floats

NO_SPREAD = 1e-100
"""What moves by less does not move: far below what is measured, and dividing by it gives a number still."""

_LOOKS = 144  # so many values stand for a long window: about as good as all of them
_MOST = 0.99


def median_before(values: Floats, window: int) -> Floats:
    """Shape (t, n): for each row the column medians of about ``window`` rows before it, of every ``window / 144``th.

    The first rows have nothing before them and get the first.
    """
    import pandas as pd

    stride = max(1, window // _LOOKS)
    medians = pd.DataFrame(values[::stride]).rolling(max(1, window // stride), min_periods=1).median().to_numpy()
    last = np.arange(len(values)) // stride - 1
    return np.where((last >= 0)[:, None], medians[np.maximum(last, 0)], values[:1])


def quantile_until(values: Floats, window: int, share: float, least: int = 1) -> Floats:
    """Shape (t,): the quantile of a value and the ``window - 1`` before it; NaN with fewer than ``least`` of them."""
    import pandas as pd

    found: Floats = pd.Series(values).rolling(window, min_periods=least).quantile(share).to_numpy()
    return found


def later(values: Floats, rows: int, fill: float = np.nan) -> Floats:
    """The same values ``rows`` rows later."""
    return np.concatenate((np.full(min(rows, len(values)), fill), values))[: len(values)]


def mean_until(values: Floats, window: int) -> Floats:
    """Shape (t,): the mean of a value and the ``window - 1`` before it; what is missing does not count."""
    import pandas as pd

    found: Floats = pd.Series(values).rolling(window, min_periods=1).mean().to_numpy()
    return found


def smoothed(values: Floats, half_life: float) -> Floats:
    """Shape (t,): the mean of a row and those before it, each counting half of one ``half_life`` rows later."""
    import pandas as pd

    means: Floats = pd.Series(values).ewm(halflife=half_life).mean().to_numpy()
    return means


def ranks_before(values: Floats, window: int) -> tuple[Floats, Floats]:
    """For each value the share of the ``window`` before it, itself added to them, that are as large; and the 99 % of
    those before it. A missing value has the share 1 and is not among those before."""
    before: deque[float] = deque()
    ordered: list[float] = []
    shares, most = np.ones(len(values)), np.full(len(values), np.nan)
    for row, value in enumerate(values.tolist()):
        count = len(ordered)
        if count:
            most[row] = ordered[int(_MOST * (count - 1))]
        if value == value:
            shares[row] = (count - bisect_left(ordered, value) + 1) / (count + 1)
            insort(ordered, value)
            before.append(value)
            if count == window:
                del ordered[bisect_left(ordered, before.popleft())]
    return shares, most
