"""Against scipy, which the product does not import for these."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from predictor.ranks import median_slope, ranks, trend_sigmas

VALUES = st.lists(st.integers(-50, 50).map(float) | st.floats(-1e3, 1e3), min_size=4, max_size=40).map(np.array)


@given(VALUES)
def test_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))


@given(VALUES)
def test_the_slope_is_that_of_theil_and_sen(values):
    times = np.cumsum(np.arange(1.0, len(values) + 1))
    slope, start, _, _ = stats.theilslopes(values, times)

    assert median_slope(times, values) == pytest.approx((slope, start), abs=1e-6)


def test_of_a_long_series_some_points_stand_for_all():
    times = np.arange(5000.0)

    assert median_slope(times, 3 * times + 7) == pytest.approx((3, 7))
    assert trend_sigmas(times) == pytest.approx(16.2, abs=0.2)


def test_a_trend_is_as_sure_as_kendall_has_it():
    values = np.random.default_rng(4).permutation(40).astype(float) + np.arange(40) * 0.4

    p = stats.kendalltau(np.arange(40), values, method="asymptotic").pvalue
    assert 2 * stats.norm.sf(abs(trend_sigmas(values))) == pytest.approx(p, rel=0.01)
    assert trend_sigmas(values) == -trend_sigmas(-values)
    assert trend_sigmas(np.ones(1)) == 0
