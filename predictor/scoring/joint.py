"""How strange a row of a machine's metrics is, all metrics together, after a history that is mostly normal.

Method:  each metric becomes a distance from its usual level in its own spreads, less the median of the last days, so
         that a level which moved for good is no news after them. Two distances of a row count: what the principal
         components of the history leave unexplained (metrics that usually move together and do not), and how far the
         last rows are, at this time of day, from the most similar ones of the history. Each is measured against its own
         last days, both are averaged and smoothed over the rows before.
Sources: Jolliffe 2002, doi:10.1007/b98835, 10.1 (outliers by the last components); Ramaswamy, Rastogi and Shim 2000,
         doi:10.1145/335191.335437 (distance to the nearest neighbour); Hampel 1974,
         doi:10.1080/01621459.1974.10482962 (median absolute deviation).
Limits:  nothing after a row is used for it. A metric without a spread in the history is as far away as counts as soon
         as it moves. A missing value counts as the level.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.frames import Floats, quantiles
from predictor.scoring.past import NO_SPREAD, median_before, smoothed

_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation, where the distribution is normal
_TAILS = ((0.975, 2.24), (0.99, 2.576), (0.999, 3.29))  # share of the distances within, and where a normal one has it
_FLOOR = 0.01  # of the range in the history: less is noise of measuring
_CLIP = 10.0  # spreads: beyond it more says no more
_DAYS = 3  # how long a level must last until it is the usual one
_EXPLAINED = 0.8  # share of the variance that the principal components take
_ROWS = 5  # compared at once with the history
_KEPT = 4000  # rows of the history to compare with
_HALF_LIFE = 2.0  # rows
_CHUNK = 1000  # rows compared at once: bounds the memory
_LEAST = 1e-9
_DAY_S = 86_400

Matrix = NDArray[np.float32]


class Joint:
    """What is usual for the metrics of one machine together.

    Learnt: ``center_``, ``spread_`` (n,); ``mean_`` (n,) and ``axes_`` (n, k), the principal components; ``likes_``:
    windows of the history; ``day_weight_``: what the time of day counts among them; ``last_`` and ``moves_`` (days, n):
    the distances of its last days, as they are and less their level, ``own_``: what these scored (rows, 2), and
    ``unit_`` (2,): from the middle to the 99 % of it.
    """

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self._days = max(_ROWS, round(_DAYS * _DAY_S / step_s))

    def fit(self, history: Floats, times: Floats) -> Self:
        """``history`` has shape (t, n), mostly one row each ``step_s`` seconds; NaN where nothing was measured.

        ``times`` (t,) are in seconds.
        """
        (middle,) = quantiles(history, 0.5)
        self.center_ = np.nan_to_num(middle)
        self.spread_ = _spread(np.nan_to_num(history - self.center_))
        distances = self._distances(history)
        moves = _moves(distances, distances, self._days)
        self.mean_, self.axes_ = _principal(moves)
        self.day_weight_ = float(np.sqrt(_ROWS * moves.var(axis=0).sum()))
        windows = self._windows(moves, moves[:1], times)
        count = min(_KEPT, (len(windows) + 1) // 2)
        kept = np.linspace(0, len(windows) - 1, count).astype(np.int64)
        self.likes_ = windows[kept]
        self.last_, self.moves_ = distances[-self._days :], moves[-self._days :]
        others = np.setdiff1d(np.arange(len(history) - len(self.last_), len(history)), kept)
        self.own_ = self._two(moves[others], windows[others])
        (half,), (most,) = quantiles(self.own_, 0.5), quantiles(self.own_, 0.99)
        self.unit_ = np.maximum(np.nan_to_num(most - half), _LEAST)
        return self

    def score(self, rows: Floats, times: Floats) -> Floats:
        """Shape (t,), from 0 to 1; one half is as far from its middle as the 99 % of the history. ``rows`` (t, n)
        follow the history. A row's score needs no row after it."""
        distances = self._distances(rows)
        moves = _moves(np.concatenate((self.last_, distances)), distances, self._days)
        two = self._two(moves, self._windows(moves, self.moves_, times))
        usual = median_before(np.concatenate((self.own_, two)), self._days)[len(self.own_) :]
        surprise = np.maximum((two - usual) / self.unit_, 0.0).mean(axis=1)
        strange = smoothed(surprise, _HALF_LIFE)
        return strange / (strange + 1.0)

    def _distances(self, values: Floats) -> Floats:
        return np.nan_to_num((values - self.center_) / self.spread_)

    def _windows(self, moves: Floats, before: Floats, times: Floats) -> Matrix:
        """Each row beside the ``_ROWS - 1`` before it and its place on the circle of the day."""
        first = np.repeat(before[:1], _ROWS - 1, axis=0)
        known = np.concatenate((first, before, moves))[-len(moves) - _ROWS + 1 :]
        lags = [known[lag : lag + len(moves)] for lag in range(_ROWS)]
        angle = 2 * np.pi * times / _DAY_S
        clock = self.day_weight_ * np.column_stack((np.sin(angle), np.cos(angle)))
        return np.hstack((*lags, clock)).astype(np.float32)

    def _two(self, moves: Floats, windows: Matrix) -> Floats:
        """Shape (t, 2): what the components leave unexplained, and how far the most similar window is."""
        rest = moves - self.mean_
        rest = rest - rest @ self.axes_ @ self.axes_.T
        return np.column_stack((np.abs(rest).mean(axis=1), _nearest(self.likes_, windows)))


def _spread(off: Floats) -> Floats:
    """Column spreads, none of them zero."""
    away = np.abs(off)
    (half,) = quantiles(away, 0.5)
    spread = half * _TO_SIGMA
    for share, sigmas in _TAILS:
        (tail,) = quantiles(away, share)
        spread = np.maximum(spread, tail / sigmas)
    spread = np.maximum(spread, _FLOOR * (off.max(axis=0) - off.min(axis=0)))
    return np.where(spread > NO_SPREAD, spread, _LEAST)


def _moves(before: Floats, distances: Floats, days: int) -> Floats:
    """The distances less the level of the days before; ``before`` ends with ``distances``."""
    level = median_before(before, days)[len(before) - len(distances) :]
    return np.clip(distances - level, -_CLIP, _CLIP)


def _principal(moves: Floats) -> tuple[Floats, Floats]:
    mean = moves.mean(axis=0)
    variances, axes = np.linalg.eigh((moves - mean).T @ (moves - mean))
    explained = np.cumsum(variances[::-1])
    count = int(np.searchsorted(explained, _EXPLAINED * explained[-1])) + 1
    return mean, axes[:, ::-1][:, :count]


def _nearest(likes: Matrix, windows: Matrix) -> Floats:
    """Euclidean distance of each window to the nearest of ``likes``."""
    squares = (likes**2).sum(axis=1)
    found = np.empty(len(windows))
    for first in range(0, len(windows), _CHUNK):
        some = windows[first : first + _CHUNK]
        apart = (some**2).sum(axis=1) + (squares - 2 * some @ likes.T).min(axis=1)
        found[first : first + _CHUNK] = np.sqrt(np.maximum(apart, 0.0))
    return found
