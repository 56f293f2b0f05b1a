"""How much a count says: the figures are those of the published methods."""

import pytest

from predictor.support import by_chance, discovered, interval, less_than, more_than


@pytest.mark.parametrize(
    ("times", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (0, 20, 0.0, 0.1684)],
)
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(times: int, of: int, low: float, high: float):
    assert interval(times, of) == pytest.approx((low, high), abs=1e-4)


def test_a_share_is_held_against_one_that_is_expected():
    assert more_than(0.5, 3, 3) == pytest.approx(0.125)
    assert more_than(0.5, 0, 3) == pytest.approx(1.0)
    assert less_than(0.5, 0, 3) == pytest.approx(0.125)


def test_a_number_is_held_against_what_chance_brings():
    assert by_chance(1, 1.0) == pytest.approx(0.632, abs=1e-3)


def test_of_many_claims_those_stand_that_keep_the_false_ones_rare():
    claims = [0.041, 0.001, 0.008, 0.039, 0.6]

    assert discovered(claims, 5, 0.05) == [False, True, True, False, False]


def test_claims_that_were_tested_and_not_made_count():
    assert discovered([0.01], 1, 0.05) == [True]
    assert discovered([0.01], 10, 0.05) == [False]
    assert discovered([], 10, 0.05) == []
