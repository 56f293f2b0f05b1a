"""How strange rows are, told from the rows before them alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from predictor.scoring import alone
from predictor.scoring.joint import Joint
from predictor.scoring.past import median_before, ranks_before, smoothed

STEP_S = 300.0
DAY = 288


def machine(days, seed=0):
    """Four metrics that follow the day together, and one that does nothing."""
    random, time = np.random.default_rng(seed), np.arange(days * DAY)
    load = np.sin(2 * np.pi * time / DAY) + 0.1 * random.normal(size=len(time))
    noise = 0.02 * random.normal(size=(len(time), 4))
    return np.column_stack((load[:, None] * [1.0, 2.0, 0.5, -1.0] + noise, np.zeros(len(time))))


def series(days, seed=0):
    random, time = np.random.default_rng(seed), np.arange(days * DAY)
    return 100 + 30 * np.sin(2 * np.pi * time / DAY) + random.normal(size=len(time))


def joint(rows):
    return Joint(STEP_S).fit(machine(10), times(10 * DAY)).score(rows, times(10 * DAY + len(rows))[10 * DAY :])


def times(count, step_s=STEP_S):
    return np.arange(count) * step_s


def scores(values, step_s=STEP_S):
    return alone.scores(values, times(len(values), step_s), step_s)


def alarms(values, step_s=STEP_S):
    return alone.alarms(values, times(len(values), step_s), step_s)


@pytest.mark.parametrize(
    ("score", "rows"),
    [
        pytest.param(joint, machine(3, seed=1), id="joint"),
        pytest.param(scores, series(5), id="alone"),
        pytest.param(alarms, series(5), id="alarms"),
    ],
)
def test_what_comes_later_changes_no_score(score, rows):
    before = score(rows)
    for cut in (1, 37, 500, len(rows) - 1):
        other = rows.copy()
        other[cut:] = 1e6
        np.testing.assert_array_equal(score(other)[:cut], before[:cut])
        np.testing.assert_allclose(score(rows[:cut]), before[:cut], atol=1e-4)  # single precision


@pytest.mark.parametrize(
    "rows", [machine(3, seed=1), np.full((50, 5), np.nan), np.zeros((1, 5)), np.full((9, 5), 1e30)]
)
def test_joint_scores_are_between_0_and_1_whatever_was_measured(rows):
    scores = joint(rows)

    assert scores.shape == (len(rows),)
    assert ((scores >= 0) & (scores < 1)).all()


@pytest.mark.parametrize("values", [series(3), np.full(200, np.nan), np.zeros(300), np.array([]), np.array([5.0])])
@pytest.mark.parametrize("score", [scores, alarms])
@pytest.mark.parametrize("step_s", [60.0, 3600.0, 86_400.0])
def test_scores_of_one_series_are_between_0_and_1_whatever_was_measured(score, values, step_s):
    found = score(values, step_s)

    assert found.shape == values.shape
    assert ((found >= 0) & (found <= 1)).all()


ANYTHING = st.one_of(st.floats(-1e100, 1e100), st.sampled_from([0.0, 1.0, np.nan]))


@settings(max_examples=60, deadline=None)
@given(
    history=arrays(float, st.tuples(st.integers(1, 30), st.just(3)), elements=ANYTHING),
    rows=arrays(float, st.tuples(st.integers(1, 30), st.just(3)), elements=ANYTHING),
    step_s=st.sampled_from([1.0, 300.0, 86_400.0, 1e6]),
)
def test_nothing_that_may_be_measured_leaves_a_row_without_a_score(history, rows, step_s):
    moments = times(len(history) + len(rows), step_s)

    joined = Joint(step_s).fit(history, moments[: len(history)]).score(rows, moments[len(history) :])

    for found in (joined, scores(rows[:, 0], step_s), alarms(rows[:, 0], step_s)):
        assert ((found >= 0) & (found <= 1)).all()


def test_metrics_that_usually_move_together_and_do_not_are_strange_though_each_is_within_its_usual_band():
    rows = machine(3, seed=1)
    rows[400:420, 1] *= -1

    scores = joint(rows)

    assert scores[402:420].min() > np.quantile(np.delete(scores, np.s_[400:430]), 0.99)


def test_metrics_that_move_together_are_one_component_and_what_it_leaves_is_measured_beside_the_distance():
    fitted = Joint(STEP_S).fit(machine(10), times(10 * DAY))

    assert fitted.axes_.shape == (5, 1)
    unexplained, distance = fitted.own_.mean(axis=0)
    assert 0 < unexplained < 0.1 < distance


def test_a_load_that_is_usual_at_another_time_of_day_is_strange():
    rows = machine(3, seed=1)
    rows[DAY + 60 : DAY + 90] = machine(3, seed=2)[DAY + 200 : DAY + 230]

    scores = joint(rows)

    assert scores[DAY + 66 : DAY + 90].mean() > 3 * np.median(scores)


def test_a_level_that_moved_for_good_is_usual_after_some_days():
    rows = machine(12, seed=1)
    rows[DAY:, 2] += 3.0

    scores = joint(rows)

    assert scores[DAY : DAY + 20].mean() > 0.5
    assert scores[8 * DAY :].mean() < 0.2


def test_a_metric_that_never_moved_is_strange_when_it_does():
    rows = machine(2, seed=1)
    rows[300:310, 4] = 1e-3

    scores = joint(rows)

    assert scores[302:310].min() > scores[:300].max()


def test_a_short_history_or_a_single_metric_is_enough_to_score():
    still = Joint(60.0).fit(np.zeros((1, 1)), times(1))
    assert still.score(np.zeros((3, 1)), times(3)).tolist() == [0, 0, 0]
    few = Joint(60.0).fit(np.arange(7.0)[:, None], times(7))
    assert few.score(np.array([[3.0], [400.0]]), times(2))[1] > 0.5


def test_the_peak_of_each_day_is_usual_and_the_same_value_at_night_is_not():
    values = series(10)
    night = 9 * DAY + 216  # where the sine is lowest
    values[night] = values.max()

    found = scores(values)

    assert found[night] > 0.75
    assert found[8 * DAY + 60 : 8 * DAY + 84].max() < 0.6


def test_a_gap_does_not_move_the_time_of_day():
    values, moments = series(10), times(10 * DAY)
    kept = np.r_[0 : 5 * DAY, 5 * DAY + 100 : 10 * DAY]

    off = alone.off_usual(values[kept], moments[kept], STEP_S)

    assert np.abs(off[-3 * DAY :]).max() < 6.0


def test_a_single_wrong_moment_makes_no_grid_of_decades():
    moments = times(300)
    moments[-1] += 1e12

    assert len(alone.scores(series(2)[:300], moments, STEP_S)) == 300


def test_a_point_after_a_strange_one_is_as_strange_so_that_an_incident_ends_with_two_good_ones():
    values = series(10)
    values[2000] = 500.0

    found = scores(values)

    assert found[2001] == found[2000] > found[2002]


def test_one_deviation_is_one_alarm_until_a_larger_one_comes():
    values = series(10)
    values[1500:1540] += 100.0
    values[1700] += 2000.0

    told = alarms(values)

    high = np.flatnonzero(told > 0.998)
    assert 1500 <= high[0] < 1510
    assert ((high < 1510) | (high >= 1700)).all()
    assert told[1700] > told[1500:1540].max()


def test_a_constant_series_raises_no_alarm_until_it_moves():
    values = np.full(1000, 7.0)
    assert not alarms(values).any()
    values[800] = 9.0
    assert np.flatnonzero(alarms(values)).tolist()[0] == 800


def test_ranks_count_what_came_before_and_was_as_large():
    shares, most = ranks_before(np.array([3.0, 1.0, 5.0, np.nan, 3.0]), 3)

    np.testing.assert_allclose(shares, [1, 1, 1 / 3, 1, 3 / 4])
    np.testing.assert_array_equal(most, [np.nan, 3, 1, 3, 3])


def test_ranks_forget_what_is_longer_ago_than_the_window():
    shares, most = ranks_before(np.array([9.0, 9.0, 1.0, 1.0, 5.0]), 2)

    assert shares[-1] == 1 / 3
    assert most[-1] == 1


def test_the_median_before_a_row_is_of_the_rows_before_it():
    values = np.arange(10.0)[:, None]

    assert median_before(values, 3)[:, 0].tolist() == [0, 0, 0.5, 1, 2, 3, 4, 5, 6, 7]
    assert smoothed(np.array([0.0, 3.0]), 1.0).tolist() == [0, 2]
