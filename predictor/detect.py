"""What a detector kind promises, what is made of the findings of several, and which of them are news."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct

from foreshock.core.model import Anomaly, Direction
from predictor.frames import Floats, Panel

REPEAT = timedelta(minutes=10)
"""A deviation that lasts is told again this often, so that whoever listens knows that it still does."""

MAX_SCORE = 100.0
"""Beyond it more says no more."""

COURSE_POINTS = 40
"""Kept of a window, for a picture."""

_GROWN = 1.5  # times the score that was told last


class Fitted(Protocol):
    """A detector that has seen a history."""

    def detect(self, window: Panel) -> Sequence[Anomaly]:
        """Anomalies of the window, at most one for each series, in order of series. The series are those of the
        history, in the same order. Only ``series.worse`` counts as a direction where it is set."""


class Detector(Struct, frozen=True, kw_only=True):
    """Declaration of a detector kind.

    Attributes:
        kind: the file's name. version: rises when its meaning changes; anomalies carry kind@version.
        fit: learns what is usual from a history that is mostly normal.
        plant: makes of a quiet course (t,), in % and mostly between 5 and 15, one that this detector is there for.
        yields: it says nothing of a series of which another detector says something.
        told_of_cis: what is told in place of its findings where those of one CI are one thing; None: each is told.
    """

    kind: str
    version: int
    title: str
    fit: Callable[[Panel], Fitted]
    plant: Callable[[Floats], Floats]
    yields: bool = False
    told_of_cis: Callable[[Sequence[Anomaly]], Sequence[Anomaly]] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.version}"


class Stretch(Struct, frozen=True):
    """Rows of a window: the first and the last of a deviation, and the one that made it certain."""

    first: int
    sure: int
    last: int


def anomaly(
    window: Panel,
    column: int,
    rows: Stretch,
    *,
    detector: str,
    score: float,
    direction: Direction,
    observed: float,
    expected: float,
    said: str = "",
) -> Anomaly:
    """Of one series of the window; it lasts if its last row is the last point of the series."""
    series, values = window.series[column], window.values[:, column]
    known = np.flatnonzero(np.isfinite(values))
    shown = known[np.unique(np.linspace(0, len(known) - 1, COURSE_POINTS).round().astype(np.int64))]
    return Anomaly(
        ci=series.ci,
        metric=series.metric,
        dimension=series.dimension,
        unit=series.unit,
        onset=moment(window.times[rows.first]),
        at=moment(window.times[rows.sure]),
        until=None if rows.last == known[-1] else moment(window.times[rows.last]),
        score=round(min(float(score), MAX_SCORE), 2),
        direction=direction,
        observed=observed,
        expected=expected,
        detector=detector,
        course=tuple(float(f"{value:.4g}") for value in values[shown]),
        course_onset=int(np.searchsorted(shown, rows.first)),
        said=said,
    )


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def together(found: Iterable[tuple[Detector, Sequence[Anomaly]]]) -> list[Anomaly]:
    """One for each series, of what several detectors found in all of them."""
    by_kind: dict[str, tuple[Detector, list[Anomaly]]] = {}
    for detector, anomalies in found:
        by_kind.setdefault(detector.kind, (detector, []))[1].extend(anomalies)
    kept: dict[Place, Anomaly] = {}
    for detector, all_of_it in sorted(by_kind.values(), key=lambda each: (each[0].yields, each[0].kind)):
        for anomaly in detector.told_of_cis(all_of_it) if detector.told_of_cis else all_of_it:
            known = kept.get(place(anomaly))
            if known is None:
                kept[place(anomaly)] = anomaly
            elif not detector.yields:
                kept[place(anomaly)] = _one(known, anomaly)
    return list(kept.values())


def _one(first: Anomaly, second: Anomaly) -> Anomaly:
    """Two views of a series: what lasts goes before what is over, then the stronger; in words, where one has some."""
    both = sorted((first, second), key=lambda each: (each.until is not None, -each.score))
    kept, other = both
    if kept.said or other.direction is not kept.direction or (other.until is None) != (kept.until is None):
        return kept
    return msgspec.structs.replace(kept, said=other.said)


Place = tuple[str, str, str]
"""CI, metric and dimension."""

Told = Mapping[Place, tuple[Anomaly, datetime]]
"""What was said last of each place, and when."""


def news(anomalies: Sequence[Anomaly], told: Told, now: datetime) -> list[Anomaly]:
    """Those worth telling: not told before, over or back since, much larger than told, or due to be told again."""
    return [anomaly for anomaly in anomalies if _is_news(anomaly, told.get(place(anomaly)), now)]


def place(anomaly: Anomaly) -> Place:
    return anomaly.ci, anomaly.metric, anomaly.dimension


def _is_news(anomaly: Anomaly, last: tuple[Anomaly, datetime] | None, now: datetime) -> bool:
    if last is None:
        return True
    before, at = last
    if anomaly.direction is not before.direction or (anomaly.until is None) != (before.until is None):
        return True
    if anomaly.until is not None:  # over, and told so; a second one within the window has a later onset
        return before.until is not None and anomaly.onset > before.until
    return anomaly.score >= _GROWN * before.score or now - at >= REPEAT
