"""Quantiles and growth of histograms, held against the values that made them."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.connect.histograms import Explicit, Exponential, Growths, Observed, quantile

THRESHOLD = 1e-3
values = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.floats(-1.0, 1.0), st.sampled_from([0.0, 1.0, 2.0, 4.0])),
    min_size=1,
    max_size=60,
)
shares = st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0])


def index_of(value: float, scale: int) -> int:
    """base^i < value <= base^(i + 1)."""
    return math.ceil(math.log2(value) * 2.0**scale) - 1


def exponential(found: list[float], scale: int) -> Exponential:
    return Exponential(
        scale,
        THRESHOLD,
        float(sum(abs(value) <= THRESHOLD for value in found)),
        Counter(index_of(value, scale) for value in found if value > THRESHOLD),
        Counter(index_of(-value, scale) for value in found if value < -THRESHOLD),
    )


def bucket_of(value: float, scale: int) -> tuple[float, float]:
    if abs(value) <= THRESHOLD:
        return -THRESHOLD, THRESHOLD
    index = index_of(abs(value), scale)
    low, high = 2.0 ** (index * 2.0**-scale), 2.0 ** ((index + 1) * 2.0**-scale)
    return (low, high) if value > 0 else (-high, -low)


def by_hand(share: float, found: list[float]) -> float:
    """The value of which that share is not larger."""
    return sorted(found)[max(0, math.ceil(share * len(found)) - 1)]


@given(values, shares, st.integers(-2, 8))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_has_that_rank(found, share, scale):
    low, high = bucket_of(by_hand(share, found), scale)

    told = quantile(share, exponential(found, scale))

    assert told is not None
    assert low - abs(low) * 1e-9 <= told <= high + abs(high) * 1e-9


@given(values, shares, st.lists(st.integers(-100, 100).map(float), min_size=1, max_size=8, unique=True).map(sorted))
def test_so_does_that_of_buckets_whose_bounds_are_told(found, share, bounds):
    places = [sum(value > bound for bound in bounds) for value in found]
    value = by_hand(share, found)
    place = sum(value > bound for bound in bounds)

    told = quantile(share, Explicit(bounds, [float(places.count(each)) for each in range(len(bounds) + 1)]))

    assert told is not None
    if place == len(bounds):
        assert told == bounds[-1]
    elif place:
        assert bounds[place - 1] <= told <= bounds[place]
    else:
        assert min(0.0, bounds[0]) <= told <= bounds[0]


@given(values, values, st.integers(0, 6), st.integers(0, 6), shares)
def test_what_came_since_is_what_is_told_whatever_became_of_the_scale(first, then, before, after, share):
    scale = min(before, after)
    growths = Growths()
    everything = first + then
    assert growths.of("a", Observed(100.0, len(first), sum(first), exponential(first, before))) is None

    grown = growths.of("a", Observed(110.0, len(everything), sum(everything), exponential(everything, after)))

    assert grown is not None
    parts = dict(grown.parts())
    assert parts["count"] == len(then) / 10
    assert parts["sum"] == pytest.approx((sum(everything) - sum(first)) / 10)
    if {abs(value) <= THRESHOLD for value in everything} == {False} and min(map(_off_bounds, everything)) > 1e-9:
        assert grown.buckets is not None
        assert quantile(share, grown.buckets) == pytest.approx(quantile(share, exponential(then, scale)))


def _off_bounds(value: float) -> float:
    """How far it is from a bound of any scale up to 6, where rounding may put it on either side."""
    place = math.log2(abs(value)) * 2.0**6
    return abs(place - round(place))


def test_one_that_began_again_is_told_as_it_is():
    growths = Growths()
    growths.of("a", Observed(100.0, 50, 500.0, Explicit([1.0, 2.0], [50, 0, 0])))

    grown = growths.of("a", Observed(110.0, 10, 15.0, Explicit([1.0, 2.0], [0, 10, 0])))

    assert grown is not None
    parts = dict(grown.parts())
    assert (parts["count"], parts["sum"], parts["p50"]) == (1.0, 1.5, 1.5)


def test_where_buckets_became_others_only_count_and_sum_are_told():
    growths = Growths()
    growths.of("a", Observed(100.0, 5, 5.0, Explicit([1.0], [5, 0])))

    grown = growths.of("a", Observed(110.0, 15, 25.0, Explicit([1.0, 2.0], [5, 10, 0])))

    assert grown is not None
    assert dict(grown.parts()) == {"count": 1.0, "sum": 2.0}


def test_what_comes_again_changes_nothing_and_what_could_not_be_kept_is_as_if_it_never_came():
    growths = Growths()
    first, second = (Observed(at, count, count, Explicit([1.0], [count, 0])) for at, count in ((100.0, 5), (110.0, 15)))
    growths.of("a", first)
    assert growths.of("a", first) is None

    before = growths.begin()
    assert growths.of("a", second) is not None
    growths.restore(before)

    grown = growths.of("a", second)
    assert grown is not None
    assert grown.count == 10


@pytest.mark.parametrize(
    ("bounds", "counts", "expected"),
    [
        ([1.0, 2.0], [10, 0, 0], 0.95),
        ([1.0, 2.0], [50, 50, 0], 1.9),
        ([1.0, 2.0], [0, 0, 5], 2.0),
        ([1.0, 2.0], [0, 0, 0], None),
        ([], [5], None),
    ],
)
def test_as_promql_has_it(bounds, counts, expected):
    assert quantile(0.95, Explicit(bounds, counts)) == (None if expected is None else pytest.approx(expected))


def test_an_exponential_bucket_is_told_evenly_in_its_logarithm():
    buckets = Exponential(0, 0.0, 0.0, {2: 10.0}, {})  # 4 < value <= 8

    assert quantile(0.5, buckets) == pytest.approx(4 * 2**0.5)


def test_a_bucket_without_end_is_told_by_the_bound_it_has():
    assert quantile(0.5, Exponential(-10, 0.0, 0.0, {4: 10.0}, {})) is None
    assert quantile(0.5, Exponential(-10, 0.0, 0.0, {0: 10.0}, {})) == 1.0
