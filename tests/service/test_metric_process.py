"""The process for metrics, as the service uses it: a real one."""

from datetime import timedelta

import numpy as np
import pytest

from foreshock.core.errors import Unavailable
from foreshock.core.model import Samples, Series
from foreshock.service.metric_process import MetricProcess
from foreshock.testing.records import NOON

LEARN, WINDOW = timedelta(hours=6), timedelta(minutes=30)


@pytest.fixture
def process(tmp_path):
    started = MetricProcess(tmp_path / "metrics")
    yield started
    started.stop()


def day(ci: str, *, until_s: float = 0.0, shift_at_s: float | None = None, seed: int = 1) -> Samples:
    """Six hours of a metric in minutes up to ``until_s`` after noon; 20 spreads higher from ``shift_at_s``."""
    offsets = np.arange(-6 * 3600, until_s, 60.0)
    values = 50 + np.random.default_rng(seed).standard_normal(len(offsets))
    if shift_at_s is not None:
        values[offsets >= shift_at_s] += 20
    return Samples(
        series=Series(ci=ci, metric="cpu", unit="%"), times=list(NOON.timestamp() + offsets), values=list(values)
    )


def detect(process: MetricProcess, after: timedelta = timedelta()):
    return process.detect(NOON + after, learn=LEARN, window=WINDOW)


def test_a_shift_is_told_once_with_its_onset_and_again_when_it_is_over(process):
    process.append("prom", [day("db1", shift_at_s=-600), day("db2", seed=2)], "here")

    [anomaly] = detect(process)

    assert (anomaly.ci, anomaly.metric, anomaly.unit, anomaly.detector) == ("db1", "cpu", "%", "robust@1")
    assert anomaly.onset == NOON - timedelta(seconds=600)
    assert anomaly.until is None
    assert detect(process) == []
    assert process.last.series == 2
    assert process.cursor("prom") == "here"

    calm = [(60.0 * n, 50.0) for n in range(12)]
    points = Samples(
        series=Series(ci="db1", metric="cpu", unit="%"),
        times=[NOON.timestamp() + at for at, _ in calm],
        values=[value for _, value in calm],
    )
    process.append("prom", [points], "there")
    [over] = detect(process, timedelta(minutes=12))
    assert over.until == NOON - timedelta(seconds=60)


def test_it_starts_again_after_it_was_killed_and_knows_what_it_had(process):
    process.append("prom", [day("db1", shift_at_s=-600)], "here")
    assert process._process is not None
    process._process.kill()
    process._process.wait()

    assert process.cursor("prom") == "here"
    assert [anomaly.ci for anomaly in detect(process)] == ["db1"]


def test_a_folder_it_cannot_use_is_told_and_it_goes_on(tmp_path):
    (tmp_path / "metrics").write_text("a file")
    process = MetricProcess(tmp_path / "metrics")
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot be opened"):
                process.cursor("prom")
        (tmp_path / "metrics").unlink()
        assert process.cursor("prom") == ""
    finally:
        process.stop()


def test_old_points_are_forgotten_and_the_size_is_known(process):
    process.append("prom", [day("db1")], "here")

    process.tidy(NOON, before=NOON - timedelta(hours=2), max_bytes=10**9)
    kept = process.last.bytes
    process.tidy(NOON, before=NOON + timedelta(days=1), max_bytes=10**9)

    assert kept > 0
    assert process.last.bytes == 0


def test_it_ends_with_the_one_that_started_it(process):
    assert process.cursor("prom") == ""
    child = process._process
    assert child is not None
    assert child.stdin is not None

    child.stdin.close()

    assert child.wait(10) == 0


def test_series_beyond_the_bound_are_left_out_and_told(tmp_path):
    process = MetricProcess(tmp_path / "metrics", most_series=2, of_source=1)
    try:
        process.append("prom", [day("db1"), day("db2", seed=2)], "here")
        process.append("other", [day("db3", seed=3)], "here")
        detect(process)
    finally:
        process.stop()

    assert process.last.series == 2
    assert [(each.source, each.metric, each.series) for each in process.last.refused] == [("prom", "cpu", 1)]
