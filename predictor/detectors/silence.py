"""A series that came regularly and comes no more, while others of its metric still do.

Method:  regular is what came in four of five rows of the history between its first and its last point. Only those rows
         count, here and in the window, in which at least a quarter of the series of the metric came: what stops as a
         whole, as when an exporter, a source or Foreshock itself stands still, is no matter of a CI. A series is silent
         when ``_MISSED`` of its intervals and ``_LEAST_S`` have passed, and more than half again its longest gap in the
         history. All series of a CI are told as one, so that a host that is gone is one line, not forty.
Sources: none; the longest gap of the past as the bound for the next is a distribution-free prediction limit (with n
         gaps it is broken once in n + 1 by chance), the half is a margin.
Limits:  a metric of one series says nothing, as nobody else tells whether its source still comes. Where a new series
         of the metric on the same CI began about then, as with a container that was replaced, nothing is missing. It is
         told for ``_TOLD_S``, then the series counts as removed. More than ``_AT_ONCE`` CIs that fall silent at about
         the same moment are left to the watch over sources.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foreshock.core.model import POINTS, Anomaly, Direction, Series
from predictor.detect import Detector, moment
from predictor.frames import Floats, Panel

_MIN_POINTS = 12
_REGULAR = 0.8  # of the rows between the first and the last point
_TOGETHER = 0.25  # of the series must come in a row, or the row is nobody's fault
_MISSED = 5.0  # intervals
_LEAST_S = 180.0  # a restart takes no longer
_MARGIN = 1.5  # times the longest gap of the past
_TOLD_S = 2 * 3600.0
_REPLACED_S = 1800.0  # what began at most this long before the other stopped, or since, may stand for it
_AT_ONCE, _ABOUT_S = 20, 120.0  # CIs; seconds between one and the next
_SCORE, _OF_ONE, _MOST = 4.0, 1.0, 10.0  # a CI with six silent series is as odd as can be
_NAMED = 3
_HOUR_S = 3600.0

Flags = NDArray[np.bool_]


class Silence:
    """How regularly each of n series came.

    Learnt: ``first_``, ``last_``: time of the first and last point (n,), NaN without one; ``regular_`` (n,);
    ``longest_`` gap, seconds (n,); ``step_s_`` from row to row.
    """

    def fit(self, history: Panel) -> Self:
        here = np.isfinite(history.values)
        rows, times = np.arange(len(here))[:, None], history.times
        self.first_, self.last_ = _ends(here, times)
        points = here.sum(axis=0)
        first = np.where(points > 0, here.argmax(axis=0), len(here)) if len(here) else points
        last = len(here) - 1 - here[::-1].argmax(axis=0) if len(here) else points - 1
        within = (rows >= first) & (rows <= last)
        heard = here.sum(axis=1) >= np.maximum(_TOGETHER * within.sum(axis=1), 1.0)
        within &= heard[:, None]
        self.regular_ = (points >= _MIN_POINTS) & (
            (here & within).sum(axis=0) >= _REGULAR * np.maximum(within.sum(axis=0), 1)
        )
        gap, longest = np.zeros(len(points)), np.zeros(len(points))
        for missing in within & ~here:
            gap = np.where(missing, gap + 1, 0.0)
            longest = np.maximum(longest, gap)
        self.step_s_ = _step_s(times)
        self.longest_ = longest * self.step_s_
        return self

    def detect(self, window: Panel) -> Sequence[Anomaly]:
        """As ``predictor.detect.Fitted`` has it; ``observed`` and ``expected`` are points an hour."""
        here = np.isfinite(window.values)
        rows = window.times if len(window.times) else window.heard
        if not len(rows):
            return []
        step_s = _step_s(rows)
        # The last point of a row of the history may be as late as its end.
        last = self.last_ + max(self.step_s_ - step_s, 0.0)
        if len(window.last):
            last = np.where(window.last >= self.last_, window.last, last)
        last = np.minimum(last, rows[0] - step_s)
        judged = self.regular_ & (here.any(axis=0) | (rows[0] - last < _TOLD_S))
        times, here = _heard(window, here, judged)
        if not judged.any() or not len(times):
            return []
        _, latest = _ends(here, times)
        away = _away(here, (np.nanmax(last[judged], initial=-np.inf) - last) / max(step_s, 1.0))
        every = np.fmax(np.round(_every(here, away)), 1.0) * step_s
        allowed = np.maximum.reduce([_MISSED * every, np.full(len(every), _LEAST_S), _MARGIN * self.longest_])
        before, last = last, np.fmax(last, latest)
        silent = judged & (away[-1] * step_s >= allowed) & (times[-1] - last <= _TOLD_S)
        back = judged & ~silent & (away.max(axis=0, where=here, initial=0.0) * step_s > allowed)
        found = []
        for column in np.flatnonzero(silent | back).tolist():
            if silent[column]:
                since, until = last[column] + every[column], None
                if self._replaced(window, column, last[column], latest):
                    continue
            else:
                row = int(np.where(here[:, column], away[:, column], 0.0).argmax())
                gap = int(away[row, column])
                since = times[row - gap] if gap <= row else before[column] + every[column]
                until = max(since, times[row - 1] if row else times[0] - step_s)
            sure = min(since - every[column] + allowed[column], times[-1] if until is None else until)
            found.append(_told(window.series[column], since, max(since, sure), until, every[column]))
        return found

    def _replaced(self, window: Panel, column: int, last: float, latest: Floats) -> bool:
        ci = window.series[column].ci
        if ci in window.grown:
            return True
        newer = np.flatnonzero((self.first_ >= last - _REPLACED_S) & (latest > last))
        return any(window.series[other].ci == ci for other in newer.tolist())


def told_of_cis(found: Sequence[Anomaly]) -> Sequence[Anomaly]:
    """One for each CI, about all its series."""
    by_ci: dict[str, list[Anomaly]] = {}
    for anomaly in found:
        by_ci.setdefault(anomaly.ci, []).append(anomaly)
    return list(_without_crowds([_of_ci(anomalies) for _, anomalies in sorted(by_ci.items())]))


def _of_ci(anomalies: Sequence[Anomaly]) -> Anomaly:
    parts = [each for each in anomalies if each.until is None] or anomalies
    every_s = _HOUR_S / float(np.median([each.expected for each in parts]))
    return Anomaly(
        ci=parts[0].ci,
        metric=POINTS,
        unit="1/h",
        onset=min(each.onset for each in parts),
        at=min(each.at for each in parts),
        until=None if parts[0].until is None else max(each.until for each in parts if each.until is not None),
        score=min(_SCORE + _OF_ONE * len(parts), _MOST),
        direction=Direction.DOWN,
        observed=0.0,
        expected=sum(each.expected for each in parts),
        detector=DETECTOR.name,
        said=f"none of {_names(parts)}, every {every_s:.0f} s before",
    )


def _names(parts: Collection[Anomaly]) -> str:
    if len(parts) == 1:
        (one,) = parts
        return f"{one.metric} ({one.dimension})" if one.dimension else one.metric
    metrics = sorted({each.metric for each in parts})
    more = f" and {len(metrics) - _NAMED} more metrics" if len(metrics) > _NAMED else ""
    return f"{len(parts)} series of {', '.join(metrics[:_NAMED])}{more}"


def _without_crowds(of_cis: Iterable[Anomaly]) -> Iterator[Anomaly]:
    """Without those that began together with too many others."""
    ordered = sorted(of_cis, key=lambda each: (each.onset, each.ci))
    crowd, before = 0, None
    crowds = []
    for each in ordered:
        crowd += before is not None and (each.onset - before).total_seconds() > _ABOUT_S
        before = each.onset
        crowds.append((crowd, each))
    for _, members in groupby(crowds, key=lambda pair: pair[0]):
        together = [each for _, each in members]
        if len(together) <= _AT_ONCE:
            yield from together


def _told(series: Series, since: float, sure: float, until: float | None, every: float) -> Anomaly:
    return Anomaly(
        ci=series.ci,
        metric=series.metric,
        dimension=series.dimension,
        unit="1/h",
        onset=moment(since),
        at=moment(sure),
        until=None if until is None else moment(until),
        score=_SCORE + _OF_ONE,
        direction=Direction.DOWN,
        observed=0.0,
        expected=_HOUR_S / float(every),
        detector=DETECTOR.name,
    )


def _heard(window: Panel, here: Flags, judged: Flags) -> tuple[Floats, Flags]:
    """The rows that count, and what came in them."""
    if not len(window.heard):
        rows = here[:, judged].sum(axis=1) >= max(_TOGETHER * judged.sum(), 1.0)
        return window.times[rows], here[rows]
    rows = np.searchsorted(window.times, window.heard)
    known = rows < len(window.times)
    known[known] = window.times[rows[known]] == window.heard[known]
    came = np.zeros((len(window.heard), here.shape[1]), dtype=bool)
    came[known] = here[rows[known]]
    return window.heard, came


def _ends(here: Flags, times: Floats) -> tuple[Floats, Floats]:
    """Times of the first and last point, shape (n,)."""
    if not len(here):
        return np.full(here.shape[1], np.nan), np.full(here.shape[1], np.nan)
    some = here.any(axis=0)
    first, last = times[here.argmax(axis=0)], times[len(here) - 1 - here[::-1].argmax(axis=0)]
    return np.where(some, first, np.nan), np.where(some, last, np.nan)


def _every(here: Flags, away: Floats) -> Floats:
    """Rows from point to point, on average and without the longest gap, shape (n,); NaN below two points."""
    points = here.sum(axis=0)
    span = len(here) - 1 - here[::-1].argmax(axis=0) - here.argmax(axis=0)
    rows = np.arange(len(here))[:, None]
    gap = np.where(here & (rows > here.argmax(axis=0)), away, 0.0).max(axis=0)
    return np.where(points > 1, (span - gap) / np.maximum(points - 1, 1), np.nan)


def _away(here: Flags, before: Floats) -> Floats:
    """For each row how many rows are without a point since the last one, this row itself too where it has none.
    before: as many as were without one just before the first row; NaN where there never was one."""
    away = np.zeros(here.shape)
    seen = np.isfinite(before)
    gap = np.where(seen, np.maximum(before, 0.0), 0.0)
    for row, now in enumerate(here):
        gap = np.where(~now & seen, gap + 1, gap)
        away[row] = gap
        gap = np.where(now, 0.0, gap)
        seen |= now
    return away


def _step_s(times: Floats) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


DETECTOR = Detector(
    kind="silence",
    version=1,
    title="Comes no more, while others of its metric do",
    fit=lambda history: Silence().fit(history),
    plant=lambda course: np.where(np.arange(len(course)) < len(course) // 2, course, np.nan),
    told_of_cis=told_of_cis,
)
