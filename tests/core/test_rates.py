"""Shares and rates, with intervals that are wide where little was seen."""

import pytest

from foreshock.core.rates import rate, share


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_wilson(count, of, low, high):
    found = share(count, of)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.share == count / of


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # Garwood 1936; the usual table of exact Poisson limits
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904), (100, 81.3640, 121.6267)],
)
def test_the_interval_of_a_rate_is_the_exact_one_of_a_poisson_count(count, low, high):
    found = rate(count, 4.0)

    assert found.rate == count / 4
    assert (found.low * 4, found.high * 4) == pytest.approx((low, high), abs=1e-3)


def test_of_many_there_is_an_interval_too():
    found = rate(20_000, 1.0)

    assert found.low < 20_000 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 20_000**0.5, rel=0.02)


def test_nothing_counted_says_nothing():
    assert share(0, 0).share is None
    assert rate(0, 0.0).low is None
