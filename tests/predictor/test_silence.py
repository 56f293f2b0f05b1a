import numpy as np

from foreshock.core.model import POINTS, Anomaly, Direction, Series
from predictor.detect import together
from predictor.detectors.silence import DETECTOR, told_of_cis
from predictor.frames import Panel

STEP_S = 60
NOON_S = 1_700_000_000 // 86_400 * 86_400 + 43_200
HISTORY, WINDOW, SERIES = 720, 30, 10


def coming(n: int = SERIES) -> np.ndarray:
    """All points of the last twelve and a half hours."""
    return np.random.default_rng(1).normal(10, 1, (HISTORY + WINDOW, n))


def names(n: int, metric: str = "cpu") -> list[Series]:
    return [Series(ci=f"ci{i}", metric=metric, unit="%") for i in range(n)]


def found(values: np.ndarray, series: list[Series] | None = None, **known) -> list[Anomaly]:
    """The last rows are the window, which begins at noon."""
    series = series or names(values.shape[1])
    times = NOON_S + STEP_S * np.arange(-HISTORY, WINDOW, dtype=float)
    fitted = DETECTOR.fit(Panel(series, times[:HISTORY], values[:HISTORY]))
    return list(fitted.detect(Panel(series, times[HISTORY:], values[HISTORY:], **known)))


def minutes(anomaly: Anomaly, of: str = "onset") -> float:
    """After noon."""
    return (getattr(anomaly, of).timestamp() - NOON_S) / 60


def test_a_series_that_stops_while_others_come_is_told_with_its_last_minute():
    values = coming()
    values[HISTORY + 12 :, 3] = np.nan

    [silent] = found(values)

    assert (silent.ci, silent.until, silent.direction) == ("ci3", None, Direction.DOWN)
    assert minutes(silent) == 12
    assert minutes(silent, "at") == 16
    assert (silent.observed, silent.expected) == (0.0, 60.0)


def test_it_waits_for_five_intervals():
    values = coming()
    values[-4:, 3] = np.nan
    assert found(values) == []

    values[-5:, 3] = np.nan
    assert [each.ci for each in found(values)] == ["ci3"]


def test_it_stops_being_told_after_two_hours_and_not_when_the_window_has_passed_it():
    values = coming()
    values[HISTORY - 60 :, 3] = np.nan
    [silent] = found(values)
    assert minutes(silent) == -60

    values[HISTORY - 100 :, 3] = np.nan
    assert found(values) == []


def test_when_it_was_last_seen_may_be_known_better_than_by_the_history():
    values = coming()
    values[HISTORY - 60 :, 3] = np.nan
    last = np.full(SERIES, NOON_S - 60.0)
    last[3] = NOON_S - 20 * 60.0

    [silent] = found(values, last=last)

    assert minutes(silent) == -19


def test_what_came_back_is_over():
    values = coming()
    values[HISTORY + 5 : HISTORY + 15, 3] = np.nan

    [over] = found(values)

    assert (minutes(over), minutes(over, "until")) == (5, 14)


def test_it_is_over_also_when_it_began_before_the_window():
    values = coming()
    values[HISTORY - 10 : HISTORY + 3, 3] = np.nan

    [over] = found(values)

    assert (minutes(over), minutes(over, "until")) == (-10, 2)


def test_series_elsewhere_tell_that_the_metric_still_comes():
    """Of the series of a metric only some are judged together."""
    values = coming(1)
    values[HISTORY + 10 :] = np.nan
    heard = NOON_S + STEP_S * np.arange(WINDOW, dtype=float)
    assert found(values) == []

    assert [minutes(each) for each in found(values, heard=heard)] == [10]
    assert found(values, heard=heard[:12]) == []


def test_one_that_nothing_came_of_in_the_window_is_judged_by_those_elsewhere_too():
    values = coming(1)
    values[HISTORY - 40 :] = np.nan
    series, times = names(1), NOON_S + STEP_S * np.arange(-HISTORY, WINDOW, dtype=float)
    fitted = DETECTOR.fit(Panel(series, times[:HISTORY], values[:HISTORY]))
    nothing = Panel(series, np.empty(0), np.empty((0, 1)), heard=times[HISTORY:])

    [gone] = fitted.detect(nothing)

    assert (gone.until, minutes(gone)) == (None, -40)


def test_what_stops_as_a_whole_is_no_matter_of_a_ci():
    values = coming()
    values[HISTORY + 5 :, :8] = np.nan
    assert found(values) == []

    values = coming()
    values[HISTORY + 5 : HISTORY + 20] = np.nan
    assert found(values) == []


def test_what_always_had_gaps_may_have_them():
    values = coming()
    for start in range(0, HISTORY, 60):
        values[start : start + 8, 3] = np.nan
    values[-10:, 3] = np.nan
    assert found(values) == []

    values[-13:, 3] = np.nan
    assert [each.ci for each in found(values)] == ["ci3"]


def test_what_comes_now_and_then_is_never_silent():
    values = coming()
    values[:, 3] = np.where(np.arange(len(values)) % 2, np.nan, values[:, 3])
    values[HISTORY:, 3] = np.nan

    assert found(values) == []


def test_a_slower_series_is_given_more_time():
    values = coming()
    slow = np.arange(len(values)) % 5 > 0
    values[slow] = np.nan  # all of this metric come every five minutes
    values[HISTORY + 10 :, 3] = np.nan
    rows = ~slow
    series = names(SERIES)
    times = (NOON_S + STEP_S * np.arange(-HISTORY, WINDOW, dtype=float))[rows]
    values = values[rows]
    fitted = DETECTOR.fit(Panel(series, times[:-6], values[:-6]))

    assert list(fitted.detect(Panel(series, times[-6:], values[-6:]))) == []


def test_a_container_that_was_replaced_is_not_missed():
    series = [Series(ci="shop", metric="cpu", dimension=f"pod={i}") for i in range(4)]
    values = coming(4)
    values[HISTORY + 10 :, 0] = np.nan
    assert [each.dimension for each in found(values, series)] == ["pod=0"]

    young = values.copy()
    young[: HISTORY - 5, 1] = np.nan
    assert found(young, series) == []
    assert found(values, series, grown={"shop"}) == []


def test_a_host_that_is_gone_is_told_once():
    silences = []
    for metric in ("cpu", "disk", "load", "net"):
        values = coming()
        values[HISTORY + 10 :, 3] = np.nan
        silences.append((DETECTOR, found(values, names(SERIES, metric))))

    [gone] = together(silences)

    assert (gone.ci, gone.metric, gone.dimension, gone.unit) == ("ci3", POINTS, "", "1/h")
    assert gone.said == "none of 4 series of cpu, disk, load and 1 more metrics, every 60 s before"
    assert (gone.observed, gone.expected) == (0.0, 240.0)
    assert gone.score == 8


def test_one_series_is_named():
    values = coming()
    values[HISTORY + 10 :, 3] = np.nan
    series = names(SERIES)
    series[3] = Series(ci="db1", metric="latency", dimension="p99", unit="s")

    [gone] = told_of_cis(found(values, series))

    assert gone.said == "none of latency (p99), every 60 s before"


def test_a_ci_is_silent_as_long_as_one_of_its_series_is():
    values = coming()
    values[HISTORY + 5 : HISTORY + 15, 3], values[HISTORY + 10 :, 4] = np.nan, np.nan
    series = names(SERIES)
    series[4] = Series(ci="ci3", metric="cpu", dimension="1")

    [gone] = told_of_cis(found(values, series))

    assert gone.until is None
    assert minutes(gone) == 10


def test_a_crowd_that_falls_silent_at_once_is_left_to_the_watch_over_sources():
    values = coming(100)
    values[HISTORY + 10 :, :20] = np.nan
    assert len(told_of_cis(found(values))) == 20

    values[HISTORY + 10 :, :21] = np.nan
    values[HISTORY + 20 :, 50] = np.nan
    assert [each.ci for each in told_of_cis(found(values))] == ["ci50"]
