"""The course of a metric as a small line: pure, and the template only writes it down."""

from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.core.model import Anomaly

WIDTH, HEIGHT = 120, 28
MARGIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Pixels. line, odd: points of polylines, ``odd`` for the deviation; usual_y: where the expected value lies."""

    width: int
    height: int
    line: str
    odd: str
    usual_y: float


def curve(anomaly: Anomaly) -> Curve | None:
    """None where there are too few points to show a course."""
    values = anomaly.course
    if len(values) < 2:
        return None
    low, high = min(*values, anomaly.expected), max(*values, anomaly.expected)
    scale = (HEIGHT - 2 * MARGIN) / (high - low) if high > low else 0.0
    step = (WIDTH - 2 * MARGIN) / (len(values) - 1)

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (value - low) * scale, 1)

    points = [f"{round(MARGIN + step * index, 1)},{y(value)}" for index, value in enumerate(values)]
    first = min(anomaly.course_onset, len(values) - 1)
    return Curve(
        width=WIDTH,
        height=HEIGHT,
        line=_joined(points[: first + 1]),
        odd=_joined(points[first:]),
        usual_y=y(anomaly.expected),
    )


def _joined(points: Sequence[str]) -> str:
    return " ".join(points)
