"""Alarms that keep to a budget while scores drift."""

import numpy as np
import pytest

from predictor.outcomes import rows_between
from predictor.pacing import Pace, expected_false, factor_of


def rows(entities=40, steps=300):
    return rows_between(np.zeros(entities, np.int64), np.full(entities, steps - 1))


def pace(**changed) -> Pace:
    return Pace(**{"budget": 0.2, "threshold": 0.5, "factor": 1.0, "horizon": 3, "steps_a_week": 7.0} | changed)


def rate(alarm, entity, step, score, since=0):
    late = step >= since
    false = expected_false(entity[late], step[late], np.where(alarm, score, 0)[late], 1e-9, 3)
    return false / ((1 - score[late]).sum() / 7)


@pytest.mark.parametrize("drift", [0.3, 1.0, 2.0], ids=["falling", "steady", "rising"])
def test_expected_false_alarms_keep_to_the_budget_when_scores_drift(drift):
    entity, step = rows()
    rng = np.random.default_rng(4)
    score = rng.beta(1, 12, len(entity)) * np.where(step < 100, 1, drift) / 2

    alarm = pace().alarms(entity, step, step, score)

    assert 0.15 < rate(alarm, entity, step, score, since=200) < 0.25
    fixed = score >= pace().threshold_after(*(one[step < 100] for one in (entity, step, score)))
    if drift != 1:
        assert not 0.1 < rate(fixed, entity, step, score, since=200) < 0.4


def test_later_scores_do_not_change_an_alarm():
    entity, step = rows()
    score = np.random.default_rng(5).random(len(entity)) / 3
    other = np.where(step > 150, 0.9, score)

    ours, theirs = (pace().alarms(entity, step, step, each)[step <= 150] for each in (score, other))

    assert np.array_equal(ours, theirs)


def test_before_anything_was_scored_the_model_s_own_threshold_counts():
    entity, step = rows(entities=2, steps=10)
    score = np.linspace(0, 1, len(entity))

    assert np.array_equal(pace().alarms(entity, step, step, score), score >= 0.5)


def test_no_threshold_keeps_to_a_budget_of_almost_nothing():
    entity, step = rows(entities=5, steps=60)

    assert pace(budget=1e-9).threshold_after(entity, step, np.full(len(entity), 0.4)) == np.inf


def test_a_factor_is_what_came_of_what_was_expected_within_bounds():
    assert [factor_of(12, 10), factor_of(0, 10), factor_of(90, 10), factor_of(3, 0)] == [1.2, 0.5, 2.0, 1.0]
