"""A metric that leaves its usual band and stays outside, for metrics nobody has labelled.

Method:  what is usual comes from the history: the median, by time of day or week where that explains the series better,
         and for each side a spread that is the largest of the median absolute deviation, what the tail of that side
         asks for, and a floor. Each point of the window becomes a distance in spreads; a one-sided CUSUM over distances
         that are cut off at ``_CLIP`` decides, so that one wild point is never enough and a small lasting shift is. A
         deviation whose like the history holds again and again is usual too, and left out.
Sources: Page 1954, doi:10.1093/biomet/41.1-2.100 (CUSUM); Hampel 1974, doi:10.1080/01621459.1974.10482962 (median
         absolute deviation); Hawkins and Olwell 1998, doi:10.1007/978-1-4612-1686-5 (cut-off, allowance, and
         that the change began where the sum was last zero).
Limits:  a series with fewer than ``_MIN_POINTS`` in the history says nothing; a trend is not removed; what went wrong
         through more than a hundredth of the history begins to count as usual.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foreshock.core.model import Anomaly, Direction
from predictor.detect import MAX_SCORE, Detector, Stretch, anomaly
from predictor.frames import Floats, Panel, quantiles

_MIN_POINTS = 12
_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation, where the distribution is normal
_TAILS = ((0.025, 1.96), (0.01, 2.326))  # share of the points beyond, and where that is in a normal distribution
_FLOOR = 0.001  # of the level: a metric that never moved is not odd at once when it does
_NEVER_SEEN = 10.0  # spreads
_ALLOWANCE = 1.0  # spreads; half of the smallest shift worth telling
_LEAST = 2.0 * _ALLOWANCE
_CLIP = 6.0  # spreads
_ALARM = 8.0  # two points at 5 spreads, four at 3, or eight at 2
_ALIKE = 0.8  # a deviation of the past with this share of the score is a like of it
_DAY_S, _WEEK_S = 86_400, 604_800
_USUAL_EVERY_S = 3 * _DAY_S  # likes that came more often than this, and more than once, make a deviation usual
_SEASONS = ((_DAY_S, 1800), (_WEEK_S, 3600))  # length, and the slot within it whose points share one expectation
_MIN_CYCLES = 3
_WORTH = 0.8  # a season must bring the spread down to this, or it is taken for chance

Columns = NDArray[np.intp] | slice
_ALL = slice(None)


class Robust:
    """What is usual for each of n series.

    Learnt: ``history_``, ``level_`` (n,), ``up_`` and ``down_`` spreads (n,), ``seasons_``: by length and slot in
    seconds, what each slot adds (slots, n).
    """

    def fit(self, history: Panel) -> Self:
        """``history`` is mostly normal; it may hold gaps and a few outliers."""
        self.history_, values = history, history.values
        (level,) = quantiles(values, 0.5)
        self.level_ = np.where(np.isfinite(values).sum(axis=0) >= _MIN_POINTS, level, np.nan)
        self.seasons_: dict[tuple[int, int], Floats] = {}
        rest = values - self.level_
        for length, slot in _SEASONS:
            rest = self._season(history.times, rest, length, slot)
        (spread,) = quantiles(np.abs(rest), 0.5)
        self.up_ = self.down_ = np.maximum(spread * _TO_SIGMA, np.abs(self.level_) * _FLOOR)
        for share, sigmas in _TAILS:
            low, high = quantiles(rest, share, 1 - share)
            self.up_, self.down_ = np.maximum(self.up_, high / sigmas), np.maximum(self.down_, -low / sigmas)
        return self

    def expected(self, times: Floats, columns: Columns = _ALL) -> Floats:
        """Shape (t, columns)."""
        level = self.level_[columns]
        usual = np.broadcast_to(level, (len(times), len(level))).copy()
        for (length, slot), adds in self.seasons_.items():
            usual += adds[:, columns][_slots(times, length, slot)]
        return usual

    def score(self, window: Panel, columns: Columns = _ALL) -> Floats:
        """Signed distances from the expectation in spreads, shape (t, columns); NaN where a point or the history is
        missing.

        What was zero all the time has no spread: whatever differs from it is ``_NEVER_SEEN`` away.
        """
        off = window.values[:, columns] - self.expected(window.times, columns)
        spread = np.where(off > 0, self.up_[columns], self.down_[columns])
        spread = np.where(spread > 0, spread, np.abs(off) / _NEVER_SEEN)
        with np.errstate(over="ignore", divide="ignore"):  # a trace of a spread makes an infinite distance
            return np.clip(off / np.where(off == 0, 1.0, spread), -MAX_SCORE, MAX_SCORE)

    def detect(self, window: Panel) -> Sequence[Anomaly]:
        """As ``predictor.detect.Fitted`` has it: of each series the strongest deviation that is news."""
        found = []
        for index, run in sorted(self._news(window).items()):
            values = window.values[:, index]
            known = np.flatnonzero(np.isfinite(values))
            rows = known[(known >= run.first) & (known <= run.last)]
            expected = self.expected(window.times[rows], np.array([index]))
            found.append(
                anomaly(
                    window,
                    index,
                    Stretch(run.first, run.sure, run.last),
                    detector=DETECTOR.name,
                    score=run.score,
                    direction=run.direction,
                    observed=float(np.median(values[rows])),
                    expected=float(np.median(expected)),
                )
            )
        return found

    def _news(self, window: Panel) -> "dict[int, _Run]":
        """By column."""
        history, distances = self.history_, self.score(window)
        found: dict[int, _Run] = {}
        for direction, sign in ((Direction.UP, 1.0), (Direction.DOWN, -1.0)):
            towards = sign * distances
            sums = _cusum(towards)
            wanted = np.array([series.worse in (None, direction) for series in window.series], dtype=bool)
            columns = np.flatnonzero((sums >= _ALARM).any(axis=0) & wanted)
            past = sign * self.score(history, columns)
            past_sums = _cusum(past)
            for place, index in enumerate(columns.tolist()):
                run = max(_runs(towards[:, index], sums[:, index], direction), key=lambda run: run.score)
                if run.score < _LEAST or (index in found and found[index].score >= run.score):
                    continue
                before = _runs(past[:, place], past_sums[:, place], direction)
                likes = sum(other.score >= _ALIKE * run.score for other in before)
                if likes <= 1 or likes * _USUAL_EVERY_S <= history.times[-1] - history.times[0]:
                    found[index] = run
        return found

    def _season(self, times: Floats, rest: Floats, length: int, slot: int) -> Floats:
        """What is left of ``rest`` once each slot's median is taken off, for the series that it makes calmer."""
        if not len(times) or times[-1] - times[0] < (_MIN_CYCLES - 0.01) * length:
            return rest
        slots = _slots(times, length, slot)
        adds = np.zeros((length // slot, rest.shape[1]))
        for number in range(length // slot):
            rows = rest[slots == number]
            if len(rows):
                (median,) = quantiles(rows, 0.5)
                adds[number] = np.where(np.isfinite(rows).sum(axis=0) >= _MIN_CYCLES, median, 0.0)
        calmer = rest - adds[slots]
        (before,), (after,) = quantiles(np.abs(rest), 0.5), quantiles(np.abs(calmer), 0.5)
        keeps = after < _WORTH * before
        if not keeps.any():
            return rest
        self.seasons_[length, slot] = adds * keeps
        return np.where(keeps, calmer, rest)


def detect(history: Panel, window: Panel) -> Sequence[Anomaly]:
    """Both steps at once, for who asks once."""
    return Robust().fit(history).detect(window)


class _Run(NamedTuple):
    """One deviation of one series, as rows of its panel."""

    score: float
    first: int
    sure: int
    last: int
    direction: Direction


def _cusum(towards: Floats) -> Floats:
    """One-sided, shape (t, n). A missing point changes nothing; the sum has a ceiling, so that an end is seen soon."""
    steps = np.where(np.isfinite(towards), np.minimum(towards, _CLIP) - _ALLOWANCE, 0.0)
    sums = np.zeros_like(steps)
    now = np.zeros(steps.shape[1])
    for row, step in enumerate(steps):
        now = np.clip(now + step, 0.0, _ALARM)
        sums[row] = now
    return sums


def _runs(towards: Floats, sums: Floats, direction: Direction) -> Iterator[_Run]:
    """The stretches of one series in which the sum reached the alarm.

    The sum leaves zero with the first point that is a little off, by chance as well, and comes back to it late: the
    deviation is from the first to the last point with half of its size.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (sums > 0).astype(np.int8), [0]))))
    for begin, end in edges.reshape(-1, 2):
        alarms = np.flatnonzero(sums[begin:end] >= _ALARM)
        if len(alarms):
            large = np.flatnonzero(towards[begin:end] >= _size(towards[begin:end]) / 2) + begin
            first, last = large[0], large[-1]
            yield _Run(
                score=float(np.nanmedian(towards[first : last + 1])),
                first=int(first),
                sure=int(max(begin + alarms[0], first)),
                last=int(last),
                direction=direction,
            )


def _size(towards: Floats) -> float:
    """Half of what made the sum came from points at least this far out."""
    outside = np.sort(towards[towards > _ALLOWANCE])[::-1]
    parts = np.cumsum(np.minimum(outside, _CLIP) - _ALLOWANCE)
    return float(outside[np.searchsorted(parts, parts[-1] / 2)])


def _slots(times: Floats, length: int, slot: int) -> NDArray[np.int64]:
    return (times % length // slot).astype(np.int64)


DETECTOR = Detector(
    kind="robust",
    version=1,
    title="Leaves its usual band and stays outside",
    fit=lambda history: Robust().fit(history),
    plant=lambda course: course + np.where(np.arange(len(course)) < len(course) // 2, 0.0, 20.0),
)
