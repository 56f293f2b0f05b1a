"""Where to look next for a better setting."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.search import propose

CENTRE = [0.5, 0.5, 0.5, 0.5]


def gain(point: Sequence[float]) -> float:
    """Best at 0.8 of the first number; the others do not matter."""
    return 0.09 - (point[0] - 0.8) ** 2


def searched(rounds: int) -> list[list[float]]:
    tried = [CENTRE, *([place if n == axis else 0.5 for n in range(4)] for axis in range(4) for place in (0.25, 0.75))]
    for number in range(rounds):
        gains = [gain(point) for point in tried]
        tried += propose(tried, gains, [0.0] * len(tried), [0.3, 0.0, 0.0, 0.0], 4, (1, number))
    return tried


def test_it_comes_near_the_best_and_nearer_than_what_it_began_with():
    tried = searched(3)

    assert max(map(gain, tried[:9])) < 0.0876
    assert max(map(gain, tried)) > 0.0895


def test_what_matters_is_what_is_changed_most():
    tried = [[0.5] * 8, [0.75, *[0.5] * 7], [0.25, *[0.5] * 7]]
    points = propose(tried, [0.0, 0.1, -0.1], [0.0] * 3, [0.1, *[0.0] * 7], 8, (1,))
    changes = [sum(point[axis] != tried[0][axis] for point in points) for axis in range(8)]

    assert changes[0] == 8
    assert sum(changes[1:]) < 3 * 8


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=9, max_size=9), st.floats(-1, 1)), min_size=2, max_size=8))
def test_what_is_proposed_lies_in_the_box_and_is_the_same_each_time(known: list[tuple[list[float], float]]):
    tried, gains = [point for point, _ in known], [value for _, value in known]

    points = propose(tried, gains, [0.01] * len(tried), [0.0] * 9, 3, (7,))

    assert len(points) == 3
    assert all(sum(one != was for one, was in zip(point, tried[0], strict=True)) <= 6 for point in points)
    assert all(0 <= place <= 1 for point in points for place in point)
    assert propose(tried, gains, [0.01] * len(tried), [0.0] * 9, 3, (7,)) == points
