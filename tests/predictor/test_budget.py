"""Alarms within a budget, counted as a person would who gets them."""

import numpy as np

from predictor.budget import Watch
from predictor.history import merged
from predictor.outcomes import outcomes, rows_between


def watch(incidents, steps=20, entities=1, horizon=3):
    entity, start, end = (np.array(column, np.int64) for column in zip(*incidents, strict=True))
    rows = rows_between(np.zeros(entities, np.int64), np.full(entities, steps - 1))
    return Watch(*rows, outcomes(merged(entity, start, end, 0), *rows), 1, horizon, 7.0)


def scores(watch, *high):
    return np.array([float((e, s) in high) for e, s in zip(watch.entity, watch.step, strict=True)])


def test_an_alarm_before_an_incident_is_true_and_foresees_it_once():
    one = watch([(0, 10, 11)])

    counted = one.count(scores(one, (0, 7), (0, 8), (0, 9)), 0.5)

    assert (counted.alarms, counted.false_alarms, counted.foreseen, counted.incidents) == (1, 0, 1, 1)


def test_an_open_alarm_suppresses_others_for_the_horizon():
    one = watch([(0, 18, 18)])

    counted = one.count(scores(one, (0, 2), (0, 3), (0, 4), (0, 5)), 0.5)

    assert (counted.alarms, counted.false_alarms, counted.foreseen) == (2, 2, 0)


def test_an_alarm_ends_with_the_incident_that_it_foresaw():
    one = watch([(0, 5, 5), (0, 8, 8)])

    counted = one.count(scores(one, (0, 4), (0, 6)), 0.5)

    assert (counted.alarms, counted.foreseen) == (2, 2)


def test_steps_inside_an_incident_raise_nothing_and_cost_nothing():
    one = watch([(0, 5, 9)])

    counted = one.count(scores(one, (0, 6), (0, 7)), 0.5)

    assert counted.alarms == 0
    assert counted.weeks == (20 - 5 - 3) / 7


def test_the_threshold_is_the_lowest_within_the_budget():
    many = watch([(0, 10, 10)], entities=50)
    score = np.random.default_rng(0).random(len(many.entity))
    score[9] = 2.0

    (none, some) = many.within(score, (1e-9, 0.2))

    assert (none.foreseen, none.false_alarms) == (1, 0)
    assert 0.15 < some.false_a_week <= 0.2
    assert some.threshold < none.threshold


def test_no_rows_make_no_alarms():
    nothing = watch([(0, 1, 1)], steps=0)

    (counted,) = nothing.within(np.empty(0), (0.1,))

    assert counted.alarms == 0
