"""Features of what was measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from predictor.series import LAGS, FrameState, frame_names

COLUMNS = ("errors", "load")
values = hnp.arrays(
    np.float32, (40, 3, 2), elements=st.one_of(st.just(np.nan), st.integers(0, 50).map(float)), fill=st.nothing()
)


def advanced(table, until):
    """Features of all entities after each step up to ``until``."""
    state = FrameState(table.shape[1], 2)
    rows = np.arange(table.shape[1])
    found = []
    for step in range(until + 1):
        state.advance(step, rows, table[step])
        found.append(dict(zip(frame_names(COLUMNS), state.features(step, rows).T, strict=True)))
    return found


@given(values)
@settings(max_examples=20, deadline=None)
def test_a_rise_is_the_difference_of_levels_so_many_steps_apart(table):
    found = advanced(table, 39)

    for lag in LAGS:
        now, then = found[39]["level:errors"], found[39 - lag]["level:errors"]
        assert np.array_equal(found[39][f"rise:errors:{lag}"], np.nan_to_num(now - then))


@given(values, values)
@settings(max_examples=20, deadline=None)
def test_later_values_change_nothing(table, other):
    same = np.concatenate([table[:20], other[20:]])

    ours, theirs = advanced(table, 39)[19], advanced(same, 39)[19]

    for name in ours:
        assert np.array_equal(ours[name], theirs[name], equal_nan=True), name


def test_the_age_of_the_last_and_of_the_first_change_are_told():
    table = np.zeros((12, 1, 2), np.float32)
    table[4:, 0, 0], table[9:, 0, 0] = 3, 8

    found = advanced(table, 11)[11]

    assert (found["since_first:errors"][0], found["since_change:errors"][0]) == (7, 2)
    assert np.isnan(found["since_first:load"][0])
    assert found["level:errors"][0] == pytest.approx(np.log1p(8))
    assert (found["rising:4"][0], found["above_zero"][0]) == (1, 1)


def test_an_entity_that_is_not_measured_has_no_level_and_keeps_its_past():
    state = FrameState(2, 2)
    for step in range(5):
        state.advance(step, np.array([0, 1]), np.full((2, 2), step, np.float32))
    state.advance(5, np.array([0]), np.full((1, 2), 5, np.float32))

    found = dict(zip(frame_names(COLUMNS), state.features(5, np.array([1]))[0], strict=True))

    assert np.isnan(found["level:errors"])
    assert found["since_change:errors"] == 1


def test_a_counter_that_begins_anew_has_not_grown():
    table = np.array([100, 100, 0, 0], np.float32).reshape(4, 1, 1).repeat(2, axis=2)

    found = advanced(table, 3)[3]

    assert found["rise:errors:1"][0] == 0
    assert found["rise:errors:4"][0] == 0
    assert found["rising:1"][0] == 0
    assert found["since_change:errors"][0] == 1
