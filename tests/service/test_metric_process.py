"""The process for metrics, as the service uses it: a real one."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from foreshock.core.errors import Unavailable
from foreshock.core.model import POINTS, Samples, Series
from foreshock.service import metric_work
from foreshock.service.listening_outlet import encoded
from foreshock.service.metric_process import Answer, Append, Detect, Limit, MetricProcess, Turns
from foreshock.service.metric_work import Work
from foreshock.testing.records import NOON

LEARN, WINDOW = timedelta(hours=6), timedelta(minutes=30)


@pytest.fixture
def process(tmp_path):
    started = MetricProcess(tmp_path / "metrics")
    yield started
    started.stop()


def day(
    ci: str, *, from_s: float = -6 * 3600, until_s: float = 0.0, shift_at_s: float | None = None, seed: int = 1
) -> Samples:
    """Six hours of a metric in minutes up to ``until_s`` after noon; 20 spreads higher from ``shift_at_s``."""
    offsets = np.arange(from_s, until_s, 60.0)
    values = 50 + np.random.default_rng(seed).standard_normal(len(offsets))
    if shift_at_s is not None:
        values[offsets >= shift_at_s] += 20
    return Samples(
        series=Series(ci=ci, metric="cpu", unit="%"), times=list(NOON.timestamp() + offsets), values=list(values)
    )


def detect(process: MetricProcess, after: timedelta = timedelta(), learn: timedelta = LEARN, **asked):
    return process.detect(NOON + after, learn=learn, window=WINDOW, **asked)


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
    points = [
        Samples(
            series=Series(ci=ci, metric="cpu", unit="%"),
            times=[NOON.timestamp() + at for at, _ in calm],
            values=[value for _, value in calm],
        )
        for ci in ("db1", "db2")
    ]
    process.append("prom", points, "there")
    [over] = detect(process, timedelta(minutes=12))
    assert over.until == NOON - timedelta(seconds=60)


def test_a_series_that_stops_is_told_and_told_when_it_is_back(process):
    """It stopped after what is usual was learnt, and before the window begins; it is learnt again while it is away."""
    week = timedelta(days=7)  # which is read with a point each ten minutes
    hosts = [day(f"db{number}", seed=number) for number in range(4)]
    process.append("prom", hosts, "")
    assert detect(process, learn=week) == []

    process.append("prom", [day(f"db{number}", until_s=3540, seed=number) for number in range(3)], "")
    [gone] = detect(process, timedelta(minutes=59), week)
    assert (gone.ci, gone.metric, gone.until) == ("db3", POINTS, None)
    assert gone.said == "none of cpu, every 60 s before"
    assert gone.onset == NOON

    process.append("prom", [day(f"db{number}", from_s=3540, until_s=4140, seed=number) for number in range(3)], "")
    [still] = detect(process, timedelta(minutes=69), week)
    assert (still.ci, still.onset, still.until) == ("db3", NOON, None)

    process.append("prom", [day(f"db{number}", from_s=4140, until_s=4800, seed=number) for number in range(4)], "")
    [back] = detect(process, timedelta(minutes=80), week)
    assert (back.metric, back.until) == (POINTS, NOON + timedelta(minutes=68))


def test_a_declared_limit_reaches_the_detectors(process):
    process.append("prom", [day("db1", shift_at_s=-600), day("db2", seed=2)], "")

    pool = Limit(match='metric="cpu",ci="db1"', limit=75.0, up=True, horizon_s=60.0, time_left=False, signs=())

    [near] = detect(process, limits=[pool])

    assert near.said.endswith(" % of 75 %")
    assert near.detector == "robust@1"


def test_only_the_detectors_that_are_named_are_asked(process):
    process.append("prom", [day("db1", shift_at_s=-600), day("db2", seed=2)], "")

    assert detect(process, detectors=["silence"]) == []
    assert detect(process, detectors=()) == []


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


# ---- others get their turn ------------------------------------------------------------------------------------------


def detected(work: Work, between: Callable[[int], object] = lambda step: None) -> tuple[Answer, int]:
    """The answer, and how many steps it took. between: done after each."""
    request, steps = Detect(NOON, LEARN.total_seconds(), WINDOW.total_seconds()), 0
    while (answer := work.do(request)).more:
        between(steps)
        steps += 1
    return answer, steps


@pytest.fixture
def small_steps(monkeypatch):
    """A CI is read at a time, and a series learnt."""
    monkeypatch.setattr(metric_work, "_READ", 1)
    monkeypatch.setattr(metric_work, "_CHUNK", 1)


def filled(folder: Path) -> Work:
    work = Work(folder, 1000, 1000)
    for metric in ("cpu", "disk"):
        found = [day("db1", shift_at_s=-600), *(day(f"db{n}", seed=n) for n in range(2, 8))]
        work.do(as_append([msgspec.structs.replace(each, series=renamed(each.series, metric)) for each in found]))
    return work


def renamed(series: Series, metric: str) -> Series:
    return msgspec.structs.replace(series, metric=metric)


def as_append(found: Sequence[Samples]) -> Append:
    return msgspec.msgpack.decode(encoded("prom", found), type=Append)


def test_appends_are_kept_between_two_steps_of_learning_and_change_nothing_of_it(tmp_path, small_steps):
    expected, steps = detected(filled(tmp_path / "alone"))
    work = filled(tmp_path / "beside")
    later = {}

    def beside(step: int) -> None:
        series = Series(ci=f"new{step}", metric="cpu")
        at = NOON.timestamp() - 60
        work.do(as_append([Samples(series=series, times=[at], values=[1.0])]))
        later[series.ci] = at

    found, _ = detected(work, beside)

    assert steps >= 14  # 7 CIs with two metrics
    assert found.anomalies == expected.anomalies != ()
    assert found.series == expected.series == 14
    assert len(later) >= 14
    assert detected(work)[0].series == 14 + len(later)


def test_what_is_learnt_a_few_cis_at_a_time_is_what_is_learnt_at_once(tmp_path, monkeypatch):
    at_once, _ = detected(filled(tmp_path / "once"))
    monkeypatch.setattr(metric_work, "_READ", 3)

    assert detected(filled(tmp_path / "parts"))[0].anomalies == at_once.anomalies


def test_what_fails_in_the_middle_begins_anew(tmp_path, small_steps, monkeypatch):
    expected, steps = detected(filled(tmp_path / "well"))
    work, broken = filled(tmp_path / "ill"), [True]
    read = work._history.reading

    def reading(*arguments: Any, **named: Any) -> Any:
        if broken:
            raise Unavailable("the disk is gone")
        return read(*arguments, **named)

    monkeypatch.setattr(work._history, "reading", reading)
    with pytest.raises(Unavailable):
        detected(work)
    broken.clear()

    found, again = detected(work)
    assert (found.anomalies, again) == (expected.anomalies, steps)


def test_who_asks_again_and_again_lets_those_in_who_wait():
    turns, order, ready = Turns(), [], threading.Barrier(4)

    def take(name: str) -> None:
        ready.wait()
        with turns:
            order.append(name)

    waiting = [threading.Thread(target=take, args=(name,)) for name in "abc"]
    with turns:
        for thread in waiting:
            thread.start()
        ready.wait()
        while len(turns._waiting) < 3:
            time.sleep(0.001)
    with turns:  # at once again, and yet behind them
        order.append("again")
    for thread in waiting:
        thread.join()

    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[3] == "again"


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
