"""Histories here are drawn from a seeded generator; what is asserted holds far beyond the seed."""

import numpy as np
import pytest

from foreshock.core.model import Direction, Series
from predictor.detectors.robust import DETECTOR, MAX_SCORE, detect
from predictor.frames import Panel

STEP_S = 60
NOON_S = 1_700_000_000 // 86_400 * 86_400 + 43_200


def noise(n: int, *, level: float = 50.0, spread: float = 2.0, seed: int = 7) -> np.ndarray:
    return level + spread * np.random.default_rng(seed).standard_normal(n)


def make_panel(column: np.ndarray, ends_s: float = NOON_S, worse: Direction | None = None) -> Panel:
    series = Series(ci="ci0", metric="m", unit="%", worse=worse)
    return Panel([series], ends_s - STEP_S * np.arange(len(column), 0, -1), column.astype(float)[:, None])


def found(history: np.ndarray, window: np.ndarray, worse: Direction | None = None):
    after = make_panel(window, NOON_S + STEP_S * len(window), worse)
    return detect(make_panel(history, worse=worse), after)


def test_a_level_shift_is_found_with_its_onset_direction_and_size():
    [anomaly] = found(noise(600), np.concatenate([noise(10, seed=8), noise(10, level=70.0, seed=9)]))

    assert (anomaly.ci, anomaly.metric, anomaly.unit, anomaly.direction) == ("ci0", "m", "%", Direction.UP)
    assert abs(anomaly.onset.timestamp() - (NOON_S + 10 * STEP_S)) <= STEP_S
    assert anomaly.onset < anomaly.at
    assert anomaly.until is None
    assert anomaly.score == pytest.approx(10, rel=0.25)
    assert anomaly.observed == pytest.approx(70, abs=2)
    assert anomaly.expected == pytest.approx(50, abs=0.5)
    assert anomaly.detector == DETECTOR.name == "robust@1"


def test_a_drop_is_found_downwards():
    [anomaly] = found(noise(600), noise(6, level=30.0))

    assert anomaly.direction is Direction.DOWN
    assert anomaly.score > 5


def test_one_wild_point_is_nothing_and_two_are():
    calm = noise(10, seed=8)
    once, twice = calm.copy(), calm.copy()
    once[5] = 5000.0
    twice[5:7] = 5000.0

    assert found(noise(600), once) == []
    assert [anomaly.score for anomaly in found(noise(600), twice)] == [MAX_SCORE]


def test_a_small_shift_that_lasts_is_found_and_a_short_one_is_not():
    assert len(found(noise(600), noise(30, level=56.0, seed=8))) == 1
    assert found(noise(600), np.concatenate([noise(20, seed=8), noise(2, level=56.0)])) == []


def test_noise_as_before_is_nothing_in_a_thousand_series():
    rng = np.random.default_rng(3)
    history, window = rng.standard_normal((600, 1000)), rng.standard_normal((30, 1000))
    series = [Series(ci=str(i), metric="m") for i in range(1000)]
    times = np.arange(630.0) * STEP_S

    assert len(detect(Panel(series, times[:600], history), Panel(series, times[600:], window))) <= 1


def test_it_is_never_certain_before_it_began():
    """A small shift is certain, then a large one takes its place as the size of the deviation."""
    [anomaly] = found(noise(600), np.concatenate([noise(12, level=56.0), noise(10, level=500.0)]))

    assert anomaly.onset.timestamp() == NOON_S + 12 * STEP_S
    assert anomaly.onset <= anomaly.at


def test_an_outlier_in_the_history_does_not_hide_a_shift():
    history = noise(600)
    history[100:103] = 1e9

    assert len(found(history, noise(6, level=70.0))) == 1


def test_what_comes_back_again_and_again_is_usual():
    """A backup that takes the disk for ten minutes every two hours."""
    history = noise(1440 * 2)
    for start in range(0, len(history), 120):
        history[start : start + 10] += 30
    backup = np.concatenate([noise(20, seed=8), noise(10, level=80.0), noise(10, seed=9)])

    assert found(history, backup) == []
    assert len(found(noise(1440 * 2), backup)) == 1


def test_a_daily_rhythm_is_expected_and_its_absence_is_not():
    """Busy by day: the same value is normal at noon and odd at midnight."""
    step_s, days = 600, 7
    times = NOON_S - step_s * np.arange(days * 144, 0, -1)
    rng = np.random.default_rng(1)

    def busy(at):
        return 50 + 40 * np.sin(2 * np.pi * (at % 86_400) / 86_400) + rng.standard_normal(len(at))

    series = [Series(ci="web", metric="requests")]
    history = Panel(series, times, busy(times)[:, None])
    next_day = NOON_S + step_s * np.arange(36.0)
    same = Panel(series, next_day, busy(next_day)[:, None])
    flat = Panel(series, next_day, np.full((36, 1), 50.0))

    assert detect(history, same) == []
    assert [anomaly.direction for anomaly in detect(history, flat)] == [Direction.UP]


def test_a_metric_that_never_moved_is_judged_by_its_level():
    always_up = np.full(600, 100.0)

    assert found(always_up, np.array([100.0, 99.95, 99.95, 100.0])) == []
    [drop] = found(always_up, np.array([100.0, 97.0, 95.0, 96.0]))
    assert drop.direction is Direction.DOWN


def test_what_was_always_zero_is_bounded():
    [anomaly] = found(np.zeros(600), np.array([0.0, 0.0, 3.0, 4.0, 3.0]))

    assert anomaly.score == 10
    assert anomaly.expected == 0


def test_missing_points_neither_make_nor_hide_an_anomaly():
    history, window = noise(600), noise(12, level=70.0)
    history[::3], window[::3] = np.nan, np.nan

    assert found(history, np.full(12, np.nan)) == []
    [anomaly] = found(history, window)
    assert anomaly.until is None


def test_without_enough_history_nothing_is_said():
    assert found(noise(11), noise(12, level=500.0)) == []
    assert found(np.full(600, np.nan), noise(12)) == []


def test_an_end_within_the_window_is_told():
    [anomaly] = found(noise(600), np.concatenate([noise(5, level=70.0), noise(30, seed=9)]))

    assert anomaly.until is not None
    assert anomaly.until.timestamp() == NOON_S + 4 * STEP_S


def test_only_the_direction_that_is_worse_counts_where_one_is_named():
    assert found(noise(600), noise(6, level=30.0), Direction.UP) == []
    assert len(found(noise(600), noise(6, level=30.0), Direction.DOWN)) == 1


def test_a_window_without_points_says_nothing():
    history = make_panel(noise(600))

    assert detect(history, Panel(history.series, np.empty(0), np.empty((0, 1)))) == []
