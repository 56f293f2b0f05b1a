"""The small pictures of the page of forecasts."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.model import Contribution
from foreshock.service.console.plots import LABEL_GAP, MARGIN, WIDTH, TimeAxis, weighed, whisker

HOUR, DAY = 3600.0, 86_400.0


def part(points: float) -> Contribution:
    return Contribution(name="x", points=points, evidence="")


@given(st.floats(0, 1e9), st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=5))
def test_later_is_further_to_the_right_and_nothing_leaves_the_picture(far_s: float, seconds: list[float]):
    axis = TimeAxis(far_s)
    places = [axis.x(each) for each in sorted(seconds)]

    assert places == sorted(places)
    assert all(MARGIN <= x <= WIDTH - MARGIN for x in places)


@given(st.floats(0, 1e9))
def test_labels_of_the_axis_of_times_do_not_run_into_each_other(far_s: float):
    ticks = TimeAxis(far_s).ticks()

    assert all(after.x - before.x >= LABEL_GAP for before, after in pairwise(ticks))


def test_the_next_hour_has_room_although_the_axis_reaches_a_week():
    axis = TimeAxis(7 * DAY)

    assert axis.x(HOUR) - axis.x(0) > WIDTH / 8
    assert [tick.text for tick in axis.ticks()] == ["3 h", "1 d", "7 d"]


def test_a_dot_lies_on_its_interval_and_what_is_beyond_the_axis_at_its_end():
    drawn = whisker(0.3, 0.75, 0.95, 1.0, 0.8)

    assert drawn is not None
    assert drawn.mark is not None
    assert MARGIN < drawn.x1 < drawn.x < drawn.mark < drawn.x2 < WIDTH - MARGIN
    beyond = whisker(0.0, 0.5, 9.0, 1.0)
    assert beyond is not None
    assert (beyond.x1, beyond.x2) == (MARGIN, WIDTH - MARGIN)


@pytest.mark.parametrize("most", [0.0, 1.0])
def test_what_nobody_knows_has_no_picture(most: float):
    assert whisker(None, None, None, most) is None
    assert whisker(0.0, 0.0, 0.0, 0.0) is None
    assert TimeAxis(DAY).whisker(None, None, None) is None


def test_what_speaks_for_and_against_starts_at_one_line_the_strongest_first():
    (first, strong), (second, weak), (third, against) = weighed([part(-0.4), part(0.7), part(1.9)])

    assert [each.points for each in (first, second, third)] == [1.9, 0.7, -0.4]
    assert strong.x == weak.x == pytest.approx(against.x + against.width)
    assert (against.x, strong.x + strong.width) == (pytest.approx(0), pytest.approx(WIDTH))
    assert [each.against for each in (strong, weak, against)] == [False, False, True]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_whatever_a_program_posts_is_drawn_inside_the_picture(points: list[float]):
    for _, drawn in weighed([part(each) for each in points]):
        assert math.isfinite(drawn.x)
        assert drawn.x >= -1.1
        assert drawn.x + drawn.width <= WIDTH + 1.1
