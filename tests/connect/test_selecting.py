"""Which series are kept, as what, and how counters become growth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from foreshock.connect.selecting import Keeper, Meter, Rates, Selected, Selector
from foreshock.core.contracts import Measured
from foreshock.core.model import Direction, Series

DISK = {"__name__": "node_disk_reads_total", "instance": "db1:9100", "job": "node", "device": "sda"}


def kept(labels, **rule):
    return Selector([Selected(**rule)]).kept(labels)


def test_a_series_is_told_by_its_ci_and_all_its_other_labels():
    found = kept(DISK, match="node_disk_reads_total", worse="up", unit="1/s")

    assert found.rate
    assert found.series == Series(
        ci="db1:9100", metric="node_disk_reads_total", dimension="device=sda,job=node", unit="1/s", worse=Direction.UP
    )


def test_what_is_named_as_dimension_alone_tells_series_apart():
    assert kept(DISK, match="node_disk_reads_total", dimension=("device",)).series.dimension == "device=sda"
    assert kept(DISK, match="node_disk_reads_total", dimension=()).series.dimension == ""


def test_the_first_rule_that_fits_counts():
    selector = Selector(
        [Selected(match='{__name__=~"node_.*", device="sda"}', metric="a"), Selected(match="node_disk_reads_total")]
    )

    assert selector.kept(DISK).series.metric == "a"
    assert selector.kept(DISK | {"device": "sdb"}).series.metric == "node_disk_reads_total"
    assert selector.kept(DISK | {"__name__": "go_threads"}) is None


def test_the_first_label_that_is_there_names_the_ci():
    assert kept(DISK, match="node_disk_reads_total", ci=("host", "instance")).series.ci == "db1:9100"
    assert kept(DISK, match="node_disk_reads_total", ci=("host",)) is None


@pytest.mark.parametrize(
    ("name", "counts", "rate", "expected"),
    [
        ("x_total", None, None, True),
        ("x", None, None, False),
        ("x", True, None, True),
        ("x_total", False, None, False),
        ("x_total", None, False, False),
        ("x", None, True, True),
    ],
)
def test_what_only_grows_is_known_by_the_rule_then_the_source_then_the_name(name, counts, rate, expected):
    rule = Selected(match=f'{{__name__="{name}"}}', rate=rate)

    found = Selector([rule]).kept({"__name__": name, "instance": "a"}, unit="By", counts=counts)

    assert (found.rate, found.series.unit) == (expected, "By/s" if expected else "By")


@pytest.mark.parametrize("match", ["", "{", "a b", '{x="', '{x=~"("}', "up{a}", "=~"])
def test_a_selector_that_cannot_be_read_is_refused(match):
    with pytest.raises(ValidationError):
        Selected(match=match)


def of(rates: Rates, *points: tuple[int, float, float]):
    places, times, values = (np.array(column) for column in zip(*points, strict=True))
    return [
        (place, time, round(rate, 6))
        for place, time, rate in zip(*(column.tolist() for column in rates.of(places, times, values)), strict=True)
    ]


def test_growth_a_second_is_told_from_the_second_point_on():
    rates = Rates()

    assert of(rates, (0, 100.0, 5.0), (1, 100.0, 7.0)) == []
    assert of(rates, (0, 110.0, 25.0), (1, 120.0, 7.0)) == [(0, 110.0, 2.0), (1, 120.0, 0.0)]
    assert of(rates, (0, 130.0, 45.0), (0, 120.0, 35.0)) == [(0, 120.0, 1.0), (0, 130.0, 1.0)]


def test_a_counter_that_began_again_grew_by_what_it_has():
    rates = Rates()

    assert of(rates, (0, 100.0, 500.0), (0, 110.0, 20.0)) == [(0, 110.0, 2.0)]


def test_what_comes_again_or_late_is_left_out_and_spoils_nothing():
    rates = Rates()
    of(rates, (0, 100.0, 5.0), (0, 110.0, 25.0))

    assert of(rates, (0, 110.0, 25.0)) == []
    assert of(rates, (0, 90.0, 1.0)) == []
    assert of(rates, (0, 120.0, 45.0)) == [(0, 120.0, 2.0)]


def test_after_a_long_silence_a_counter_begins_anew():
    rates = Rates()
    of(rates, (0, 100.0, 5.0))

    assert of(rates, (0, 5000.0, 25.0)) == []
    assert of(rates, (0, 5010.0, 35.0)) == [(0, 5010.0, 1.0)]


def test_what_was_not_kept_comes_again_and_counts_then():
    rates = Rates()
    of(rates, (0, 100.0, 5.0))
    before = rates.known(np.array([0, 1]))
    lost = of(rates, (0, 110.0, 25.0), (1, 110.0, 1.0))

    rates.restore(before)

    assert of(rates, (0, 110.0, 25.0), (1, 110.0, 1.0)) == lost == [(0, 110.0, 2.0)]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 30))
def test_growth_is_the_same_however_it_is_cut_into_requests(values, cut):
    points = [(0, float(index), float(value)) for index, value in enumerate(values)]
    whole, cut_up = Rates(), Rates()

    pieces = [each for at in range(0, len(points), cut) for each in of(cut_up, *points[at : at + cut])]

    assert pieces == of(whole, *points)


# ---- a few points at a time -----------------------------------------------------------------------------------------


def measured(name: str, *points: tuple[float, float], **labels: str) -> list[Measured]:
    found = {"__name__": name, "instance": "web1", **labels}
    return [Measured(labels=found, at_s=at, value=value) for at, value in points]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 5)),
        min_size=1,
        max_size=30,
        unique_by=lambda p: p[:2],
    ),
    st.integers(1, 5),
)
def test_points_that_come_a_few_at_a_time_are_kept_as_many_at_once_are(points, parts):
    rules = [Selected(match="hits_total"), Selected(match="load")]
    meter, keeper, selector = Meter(rules), Keeper(), Selector(rules)
    points.sort(key=lambda point: point[1])
    size = -(-len(points) // parts)
    for first in range(0, len(points), size):
        batch = [
            point
            for name, at, value in points[first : first + size]
            for metric in ("hits_total", "load")
            for point in measured(metric, (float(at), float(value)), device=name)
        ]
        found = meter.read(batch, 0.0)
        meter.keep(found)
        places = np.array([keeper.place(selector.kept(point.labels)) for point in batch])
        columns = np.array([(point.at_s, point.value) for point in batch])

        expected = keeper.samples(places, columns[:, 0], columns[:, 1])

        def shown(samples):
            return sorted((s.series.metric, s.series.dimension, [*s.times], [*s.values]) for s in samples)

        assert shown(found.samples) == shown(expected)


def test_points_of_another_day_or_ahead_of_time_are_late():
    meter, now = Meter([Selected(match="load")]), 1e9

    found = meter.read(measured("load", (now - 86_401, 1.0), (now + 601, 2.0), (now, 3.0), (now, math.nan)), now)

    assert [(list(each.times), list(each.values)) for each in found.samples] == [([now], [3.0])]
    assert (found.late, found.ignored) == (2, 1)
