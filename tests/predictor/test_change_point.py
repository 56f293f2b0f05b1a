"""Histories here are drawn from a seeded generator, many at once, so that a rate can be asserted."""

import numpy as np
import pytest

from foreshock.core.model import Direction, Series
from predictor.detectors.change_point import DETECTOR
from predictor.detectors.robust import DETECTOR as ROBUST
from predictor.frames import Panel

STEP_S = 60
NOON_S = 1_700_000_000 // 86_400 * 86_400 + 43_200
ROWS, WINDOW, SERIES = 2880, 30, 200
SHIFTED_AT = 18  # rows of the window


def wandering(seed: int = 5, stays: float = 0.998, n: int = SERIES) -> np.ndarray:
    """An AR(1) that takes hours to come back: what is usual is wide, one step is small. Steps have the spread 1."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((ROWS + WINDOW, n))
    values = np.zeros_like(steps)
    for row in range(1, len(steps)):
        values[row] = stays * values[row - 1] + steps[row]
    return values


def found(values: np.ndarray, detector=DETECTOR, worse: Direction | None = None):
    """The last rows are the window."""
    times = NOON_S + STEP_S * np.arange(len(values), dtype=float)
    series = [Series(ci=f"ci{i}", metric="m", unit="ms", worse=worse) for i in range(values.shape[1])]
    history = Panel(series, times[:-WINDOW], values[:-WINDOW])
    return detector.fit(history).detect(Panel(series, times[-WINDOW:], values[-WINDOW:]))


def shifted(values: np.ndarray, by: float, at: int = SHIFTED_AT) -> np.ndarray:
    changed = values.copy()
    changed[-WINDOW + at :] += by
    return changed


def test_a_lasting_step_is_found_where_what_is_usual_is_wide():
    calm = wandering()

    steps = found(shifted(calm, 25.0))

    assert len(steps) > 0.8 * SERIES
    assert len(steps) > 1.5 * len(found(shifted(calm, 25.0), ROBUST))
    off = [each.onset.timestamp() - (NOON_S + STEP_S * (ROWS + SHIFTED_AT)) for each in steps]
    assert abs(np.median(off)) <= STEP_S
    assert {each.direction for each in steps} == {Direction.UP}
    assert all(each.until is None and each.onset < each.at for each in steps)
    assert np.median([each.observed - each.expected for each in steps]) == pytest.approx(25, rel=0.2)


def test_it_says_from_which_level_to_which():
    level = np.where(np.arange(ROWS + WINDOW) < ROWS + SHIFTED_AT, 3.1, 4.4)
    noise = 0.01 * np.random.default_rng(1).standard_normal(ROWS + WINDOW)

    [step] = found((level + noise)[:, None])

    assert step.said == "level 3.1 -> 4.4 ms"
    assert step.score > 4


@pytest.mark.parametrize(
    ("make", "most"),
    [
        pytest.param(wandering, 0.01, id="a metric that wanders"),
        pytest.param(lambda: wandering(stays=0.7), 0.01, id="noise that lasts a few minutes"),
        pytest.param(lambda: wandering(stays=0.0), 0.01, id="noise"),
        pytest.param(lambda: wandering(stays=0.0) + daily(0.0), 0.01, id="a daily rhythm"),
        pytest.param(lambda: wandering(stays=0.0) + trend(), 0.01, id="a trend that began just now"),
        pytest.param(lambda: wild(2), 0.01, id="two wild points"),
        pytest.param(lambda: np.full((ROWS + WINDOW, SERIES), 7.0), 0.0, id="nothing at all"),
        pytest.param(lambda: shifted(wandering(stays=0.0), 40.0, at=WINDOW - 3), 0.01, id="too new to be sure"),
        pytest.param(lambda: spike(8), 0.01, id="gone and back"),
        pytest.param(lambda: spike(18), 0.01, id="gone and just back"),
    ],
)
def test_it_is_quiet_where_no_level_changed(make, most):
    assert len(found(make())) <= most * SERIES


def daily(phase_s: float) -> np.ndarray:
    times = NOON_S + STEP_S * np.arange(ROWS + WINDOW) + phase_s
    return 30 * np.sin(2 * np.pi * times / 86_400)[:, None]


def trend() -> np.ndarray:
    return np.maximum(np.arange(ROWS + WINDOW) - ROWS, 0.0)[:, None] * 2.0


def wild(points: int) -> np.ndarray:
    values = wandering(stays=0.0)
    values[-WINDOW + np.arange(points) * 7 + 3] += 1000.0
    return values


def spike(rows: int) -> np.ndarray:
    values = wandering(stays=0.0)
    values[-WINDOW + 10 : -WINDOW + 10 + rows] += 40.0
    return values


def test_what_a_metric_does_each_day_is_usual():
    """A job that lifts the level for an hour, every day."""
    values = wandering(stays=0.0)
    for start in (ROWS + SHIFTED_AT - 1440, ROWS + SHIFTED_AT - 2880, ROWS + SHIFTED_AT):
        values[max(start, 0) : start + 60] += 40.0

    assert found(values) == []


def test_without_enough_history_or_points_nothing_is_said():
    values = shifted(wandering(stays=0.0, n=1), 40.0)

    assert found(values[-WINDOW - 23 :]) == []
    assert found(values[-WINDOW - 200 :]) != []
    few = values.copy()
    few[-WINDOW:][np.arange(WINDOW) % 3 > 0] = np.nan
    assert found(few) == []


def test_only_the_direction_that_is_worse_counts_where_one_is_named():
    values = shifted(wandering(stays=0.0, n=5), 40.0)

    assert found(values, worse=Direction.DOWN) == []
    assert len(found(values, worse=Direction.UP)) == 5
