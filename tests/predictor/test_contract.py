"""What every detector kind keeps."""

import numpy as np
import pytest

import predictor.detectors
from foreshock.core import registry
from foreshock.core.model import Series
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

    anomalies = detector.detect(history, window, {})

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

    assert detector.detect(history, window, {}) == detector.detect(history, window, {})
    np.testing.assert_array_equal(window.values, before)


def test_a_series_is_judged_for_itself(detector):
    history, window = panels()
    alone = [Panel([p.series[2]], p.times, p.values[:, 2:3]) for p in (history, window)]

    assert detector.detect(*alone, {}) == [a for a in detector.detect(history, window, {}) if a.ci == "ci2"]


def test_no_series_no_rows_and_no_points_are_no_failure(detector):
    history, window = panels()
    nothing = Panel(history.series, window.times, np.full_like(window.values, np.nan))

    assert list(detector.detect(history, nothing, {})) == []
    assert list(detector.detect(Panel(history.series, history.times[:0], history.values[:0]), window, {})) == []
    assert list(detector.detect(Panel([], history.times, history.values[:, :0]),
                                Panel([], window.times, window.values[:, :0]), {})) == []  # fmt: skip
