"""Small pictures of times, shares and evidence beside the numbers they show: pure, and the templates only write them
down. All in pixels; a picture is WIDTH wide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.core.model import Contribution
from foreshock.service.console import words

WIDTH, HEIGHT = 160, 16
MARGIN = 5
LABEL_GAP = 40
"""Between the middles of two labels of an axis at least."""
_INNER = WIDTH - 2 * MARGIN
_ROUND_S = (300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 3 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400)
_NEAR_S = 900.0
"""Up to about here the axis of times is even, beyond it each doubling takes the same room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A value with its interval: a dot at x on a line from x1 to x2. mark: another value to compare it with."""

    x1: float
    x: float
    x2: float
    mark: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a sum: from x on, ``width`` wide; against: it lowers the sum."""

    x: float
    width: float
    against: bool


class TimeAxis:
    """From 0 to ``far_s`` seconds, the near ones wider than the far ones."""

    def __init__(self, far_s: float) -> None:
        self._far_s = max(far_s, _NEAR_S)

    def x(self, seconds: float) -> float:
        within = min(max(seconds, 0.0), self._far_s)
        return round(MARGIN + _INNER * math.log1p(within / _NEAR_S) / math.log1p(self._far_s / _NEAR_S), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """At round times; the farthest first chosen, so that the end of the axis is named."""
        chosen: list[Tick] = []
        for seconds in reversed([each for each in _ROUND_S if each <= self._far_s]):
            tick = Tick(x=self.x(seconds), text=words.age(seconds))
            if all(other.x - tick.x >= LABEL_GAP for other in chosen) and tick.x >= MARGIN + LABEL_GAP / 2:
                chosen.append(tick)
        return tuple(reversed(chosen))

    def whisker(self, low_s: float | None, seconds: float | None, high_s: float | None) -> Whisker | None:
        """None where nothing is known."""
        if low_s is None or seconds is None or high_s is None:
            return None
        return Whisker(x1=self.x(low_s), x=self.x(seconds), x2=self.x(high_s))


def whisker(
    low: float | None, value: float | None, high: float | None, most: float, mark: float | None = None
) -> Whisker | None:
    """On an even axis from 0 to ``most``; None where nothing is known. What is beyond the axis lies at its end."""
    if low is None or value is None or high is None or most <= 0:
        return None

    def x(number: float) -> float:
        return round(MARGIN + _INNER * min(max(number / most, 0.0), 1.0), 1)

    return Whisker(x1=x(low), x=x(value), x2=x(high), mark=None if mark is None else x(mark))


def weighed(contributions: Sequence[Contribution]) -> list[tuple[Contribution, Bar]]:
    """What weighs most first, all on one axis whose zero lies where both sides have room."""
    ordered = sorted(contributions, key=lambda each: -abs(each.points))
    most = max((max(each.points, 0.0) for each in ordered), default=0.0)
    least = max((max(-each.points, 0.0) for each in ordered), default=0.0)
    whole = most + least
    zero = WIDTH * (least / whole) if whole else 0.0
    drawn = []
    for each in ordered:
        width = max(WIDTH * (abs(each.points) / whole), 1.0) if whole and each.points else 0.0
        against = each.points < 0
        drawn.append((each, Bar(x=round(zero - width if against else zero, 1), width=round(width, 1), against=against)))
    return drawn
