"""What a detector kind promises, and which of its findings are news."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from foreshock.core.model import Anomaly
from predictor.frames import Panel

REPEAT = timedelta(minutes=10)
"""A deviation that lasts is told again this often, so that whoever listens knows that it still does."""

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
    """

    kind: str
    version: int
    title: str
    fit: Callable[[Panel], Fitted]

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.version}"


Told = Mapping[tuple[str, str, str], tuple[Anomaly, datetime]]
"""By CI, metric and dimension: what was said last, and when."""


def news(anomalies: Sequence[Anomaly], told: Told, now: datetime) -> list[Anomaly]:
    """Those worth telling: not told before, over or back since, much larger than told, or due to be told again."""
    return [anomaly for anomaly in anomalies if _is_news(anomaly, told.get(place(anomaly)), now)]


def place(anomaly: Anomaly) -> tuple[str, str, str]:
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
