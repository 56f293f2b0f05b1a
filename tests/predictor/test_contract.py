"""What every detector kind keeps, by being there."""

import sys
import tracemalloc
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import predictor.detectors
from foreshock.core import registry
from foreshock.core.model import Anomaly, Direction, Series
from predictor.detect import MAX_SCORE, Detector, place
from predictor.frames import MOST, Bound, Panel

KINDS = registry.kinds(predictor.detectors, "DETECTOR", Detector)
ROWS, WINDOW = 600, 60


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def detector(request) -> Detector:
    return request.param


def panels(detector: Detector, n: int = 8, seed: int = 0, every: int = 2) -> tuple[Panel, Panel]:
    """A history and a window in which each ``every``th series is as the detector is there for."""
    rng = np.random.default_rng(seed)
    times = 1_700_000_040 + np.arange(ROWS + WINDOW) * 60.0
    values = rng.normal(10, 1, (ROWS + WINDOW, n))
    for column in range(0, n, every):
        values[ROWS:, column] = detector.plant(values[ROWS:, column])
    values[rng.random(values.shape) < 0.1] = np.nan
    series = [Series(ci=f"ci{i}", metric="cpu", dimension=f"core={i}", unit="%") for i in range(n)]
    return Panel(series, times[:ROWS], values[:ROWS]), Panel(series, times[ROWS:], values[ROWS:])


def changed(panel: Panel, values: np.ndarray) -> Panel:
    return msgspec.structs.replace(panel, values=values)


def columns(panel: Panel, which: list[int]) -> Panel:
    return msgspec.structs.replace(panel, series=[panel.series[i] for i in which], values=panel.values[:, which])


def check(anomalies: list[Anomaly], window: Panel) -> None:
    """What holds for whatever is said."""
    of_series = [(series.ci, series.metric, series.dimension) for series in window.series]
    places = [of_series.index(place(anomaly)) for anomaly in anomalies]
    assert places == sorted(set(places)), "at most one of each series, in their order"
    for anomaly in anomalies:
        assert np.isfinite([anomaly.score, anomaly.observed, anomaly.expected, *anomaly.course]).all()
        assert 0 < anomaly.score <= MAX_SCORE
        assert anomaly.onset <= anomaly.at
        assert anomaly.until is None or anomaly.onset <= anomaly.until
        assert 0 <= anomaly.course_onset <= len(anomaly.course)
        assert len(anomaly.said) <= 200
        assert msgspec.json.decode(msgspec.json.encode(anomaly), type=Anomaly) == anomaly


def test_it_finds_what_it_is_there_for_and_says_whose_it_is(detector):
    history, window = panels(detector)

    anomalies = list(detector.fit(history).detect(window))

    assert [anomaly.ci for anomaly in anomalies] == ["ci0", "ci2", "ci4", "ci6"]
    check(anomalies, window)
    for anomaly in anomalies:
        assert anomaly.detector == f"{detector.kind}@{detector.version}"
        assert anomaly.metric == "cpu"
        assert anomaly.until is None


def test_it_is_pure(detector):
    history, window = panels(detector)
    before = window.values.copy()
    fitted = detector.fit(history)

    first = fitted.detect(window)

    assert list(first) == list(fitted.detect(window)) == list(detector.fit(history).detect(window))
    np.testing.assert_array_equal(window.values, before)


def test_only_the_worse_direction_of_the_values_counts_where_one_is_named(detector):
    history, window = panels(detector)
    for worse in Direction:
        named = [msgspec.structs.replace(series, worse=worse) for series in history.series]
        judged = detector.fit(msgspec.structs.replace(history, series=named))
        found = judged.detect(msgspec.structs.replace(window, series=named))
        assert {each.direction for each in found if each.unit == "%"} <= {worse}


def test_who_stands_beside_a_series_and_in_which_order_changes_nothing(detector):
    """Two are asked, as one that is silent needs another one that is not."""
    history, window = panels(detector)
    found = detector.fit(history).detect(window)
    order = [5, 2, 7, 0, 1, 6, 3, 4]

    shuffled = detector.fit(columns(history, order)).detect(columns(window, order))
    two = detector.fit(columns(history, [2, 3])).detect(columns(window, [2, 3]))

    assert sorted(shuffled, key=place) == sorted(found, key=place)
    assert list(two) == [each for each in found if each.ci == "ci2"]


def test_no_series_no_rows_and_no_points_are_no_failure(detector):
    history, window = panels(detector)
    nothing = changed(window, np.full_like(window.values, np.nan))
    fitted = detector.fit(history)

    assert list(fitted.detect(nothing)) == []
    assert list(fitted.detect(window.between(0, 1))) == []
    assert list(detector.fit(history.between(0, 1)).detect(window)) == []
    assert list(detector.fit(changed(history, np.full_like(history.values, np.nan))).detect(window)) == []
    assert list(detector.fit(columns(history, [])).detect(columns(window, []))) == []


def test_one_point_is_no_failure(detector):
    history, window = panels(detector)
    one = window.between(window.times[0], window.times[0] + 1)
    single = history.between(history.times[0], history.times[0] + 1)

    check(list(detector.fit(history).detect(one)), one)
    assert list(detector.fit(single).detect(window)) == []
    check(list(detector.fit(single).detect(one)), one)


@pytest.mark.parametrize("value", [0.0, 50.0, -1e-300, MOST])
def test_what_never_changes_is_usual(detector, value):
    history, window = panels(detector)
    flat = [changed(panel, np.full_like(panel.values, value)) for panel in (history, window)]

    assert list(detector.fit(flat[0]).detect(flat[1])) == []


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0, 3e8])
def test_a_clock_that_jumped_between_history_and_window_is_no_failure(detector, jump_s):
    history, window = panels(detector)
    elsewhen = msgspec.structs.replace(window, times=window.times + jump_s)

    check(list(detector.fit(history).detect(elsewhen)), elsewhen)


def test_a_hole_in_the_middle_of_all_series_is_nothing(detector):
    """Foreshock itself, or what it asks, stood still."""
    history, window = panels(detector, every=100)
    holes = [panel.values.copy() for panel in (history, window)]
    holes[0][300:400], holes[1][20:40] = np.nan, np.nan

    found = detector.fit(changed(history, holes[0])).detect(changed(window, holes[1]))

    assert [each.ci for each in found] in ([], ["ci0"])


def test_a_series_that_vanished_long_ago_says_nothing(detector):
    history, window = panels(detector, every=100)
    gone = [panel.values.copy() for panel in (history, window)]
    gone[0][200:, 3], gone[1][:, 3] = np.nan, np.nan

    found = detector.fit(changed(history, gone[0])).detect(changed(window, gone[1]))

    assert [each.ci for each in found] == ["ci0"]


def test_a_new_series_says_nothing(detector):
    history, window = panels(detector)
    young = history.values.copy()
    young[:-5, 0] = np.nan

    found = detector.fit(changed(history, young)).detect(window)

    assert [each.ci for each in found] == ["ci2", "ci4", "ci6"]


WILD = st.floats(-MOST, MOST) | st.sampled_from([0.0, 1.0, 99.0, MOST, -MOST, 5e-324, float("nan")])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error::RuntimeWarning:predictor")
def test_no_values_and_no_bounds_make_it_fail(kind, data):
    detector = KINDS[kind]
    history, window = panels(detector, n=3)
    rows = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 30))
    values = [data.draw(arrays.arrays(float, (count, 3), elements=WILD)) for count in rows]
    bounds = data.draw(st.sampled_from([(), (Bound(0.0, True), None, Bound(MOST, False))]))
    series = [
        msgspec.structs.replace(one, worse=worse) for one, worse in zip(history.series, (None, *Direction), strict=True)
    ]
    past = Panel(series, history.times[: rows[0]], values[0], bounds)
    now = Panel(series, window.times[: rows[1]], values[1])

    check(list(detector.fit(past).detect(now)), now)


def counted(work: Callable[[], object]) -> int:
    """Calls and returns in Python."""
    number = 0

    def count(*_: object) -> None:
        nonlocal number
        number += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return number


def test_a_quiet_series_costs_no_call_of_its_own(detector):
    """What is done for each series is done for all of them at once."""

    def calls(n: int) -> tuple[int, int]:
        history, window = panels(detector, n=n, every=10_000)
        window = changed(window, history.values[:WINDOW])
        detector.fit(history).detect(window)  # what is imported or computed at first is not counted
        fitted = detector.fit(history)
        return counted(lambda: detector.fit(history)), counted(lambda: fitted.detect(window))

    few, many = calls(10), calls(500)

    assert many[0] - few[0] <= 10 * 490  # a few for its name and limit, none for its points
    assert many[1] - few[1] <= 1 * 490


def test_it_takes_the_memory_of_a_few_histories(detector):
    history, window = panels(detector, n=200)
    tracemalloc.start()
    try:
        detector.fit(history).detect(window)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 12 * (history.values.nbytes + window.values.nbytes)
