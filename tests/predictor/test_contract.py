"""What every detector kind keeps."""

import msgspec
import numpy as np
import pytest

import predictor.detectors
from foreshock.core import registry
from foreshock.core.model import Direction, Series
from predictor.detect import Detector
from predictor.frames import Panel

KINDS = registry.kinds(predictor.detectors, "DETECTOR", Detector)


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def detector(request) -> Detector:
    return request.param


def panels(seed: int = 0, n: int = 8) -> tuple[Panel, Panel]:
    rng = np.random.default_rng(seed)
    times = 1_700_000_000 + np.arange(660.0) * 60
    values = rng.normal(10, 1, (660, n))
    values[640:, ::2] += 20
    values[rng.random(values.shape) < 0.1] = np.nan
    series = [Series(ci=f"ci{i}", metric="cpu", dimension=f"core={i}", unit="%") for i in range(n)]
    return Panel(series, times[:600], values[:600]), Panel(series, times[600:], values[600:])


def test_it_finds_a_plain_shift_and_says_whose_it_is(detector):
    history, window = panels()

    anomalies = detector.fit(history).detect(window)

    assert [anomaly.ci for anomaly in anomalies] == ["ci0", "ci2", "ci4", "ci6"]
    for anomaly in anomalies:
        assert anomaly.detector == f"{detector.kind}@{detector.version}"
        assert (anomaly.metric, anomaly.unit) == ("cpu", "%")
        assert anomaly.onset <= anomaly.at
        assert anomaly.score > 0
        assert np.isfinite([anomaly.score, anomaly.observed, anomaly.expected]).all()


def test_it_is_pure(detector):
    history, window = panels()
    before = window.values.copy()

    assert detector.fit(history).detect(window) == detector.fit(history).detect(window)
    np.testing.assert_array_equal(window.values, before)


def test_only_the_worse_direction_counts_where_one_is_named(detector):
    history, window = panels()
    fine = [msgspec.structs.replace(series, worse=Direction.DOWN) for series in history.series]

    judged = detector.fit(Panel(fine, history.times, history.values))
    assert list(judged.detect(Panel(fine, window.times, window.values))) == []


def test_a_series_is_judged_for_itself(detector):
    history, window = panels()
    alone = [Panel([p.series[2]], p.times, p.values[:, 2:3]) for p in (history, window)]

    assert detector.fit(alone[0]).detect(alone[1]) == [a for a in detector.fit(history).detect(window) if a.ci == "ci2"]


def test_no_series_no_rows_and_no_points_are_no_failure(detector):
    history, window = panels()
    nothing = Panel(history.series, window.times, np.full_like(window.values, np.nan))

    assert list(detector.fit(history).detect(nothing)) == []
    assert list(detector.fit(Panel(history.series, history.times[:0], history.values[:0])).detect(window)) == []
    none = detector.fit(Panel([], history.times, history.values[:, :0]))
    assert list(none.detect(Panel([], window.times, window.values[:, :0]))) == []
