"""What fills up is announced in time, and what comes back as it always does is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.model import Samples, Series
from predictor.capacity import DAY_S, Outlook, Why, grid, outlook, steps

DAY = 24 * 3600.0
HOUR = 3600.0
NOW = 20_000 * DAY + 15 * HOUR
ON = steps(DAY)


def course(value, days=15.0, step_s=300.0, noise=0.1, seed=1):
    """Samples of a function of the seconds before now (negative in the past)."""
    times = np.arange(-days * DAY, 1, step_s)
    random = np.random.default_rng(seed)
    values = np.array([value(t) for t in times]) + noise * random.standard_normal(len(times))
    return Samples(series=Series(ci="db1", metric="disk_used"), times=NOW + times, values=values)


def ahead(*samples, limit=100.0, horizon_s=DAY, now=NOW, sign=1.0) -> Outlook:
    on = steps(horizon_s)
    past, recent = (grid(samples, now, step, rows) for step, rows in ((on.past_s, on.past), (on.recent_s, on.recent)))
    limits = np.full(len(samples), limit)
    return outlook(sign * past, sign * recent, sign * limits, grid=on, horizon_s=horizon_s)


def of(value, **how) -> tuple[float, float, Why]:
    """Probability, hours, and why."""
    found = ahead(course(value, **how))
    return float(found.probability[0]), float(found.when_s[0]) / HOUR, Why(int(found.why[0]))


def sawtooth(period_h, low, high):
    return lambda t: low + (high - low) * ((t / HOUR) % period_h) / period_h


def test_steady_growth_reaches_the_limit_when_it_does():
    probability, hours, why = of(lambda t: 95 + 10 * t / DAY)

    assert probability > 0.9
    assert hours == pytest.approx(12, abs=1)
    assert why in (Why.USUAL, Why.NOW)


def test_the_interval_holds_the_moment_and_is_no_wider_than_it_must_be():
    found = ahead(course(lambda t: 95 + 10 * t / DAY))
    low, high = float(found.low_s[0]) / HOUR, float(found.high_s[0]) / HOUR

    assert 8 < low < 12 < high < 16


def test_growth_by_day_only_is_not_taken_to_go_on_at_night_nor_to_have_stopped():
    def worked(t):
        hours = np.arange((NOW + t) % DAY / HOUR + 1e-9, 0, -0.25)
        return 5.0 * np.floor((NOW + t) / DAY) - 5 * 20_000 + np.sum((hours >= 8) & (hours < 18)) / 40 * 5.0

    evening = NOW + 7 * HOUR  # 22:00: it has stood still for four hours
    samples = course(lambda t: 97 + worked(t + 7 * HOUR) - worked(7 * HOUR), noise=0.02)
    later = Samples(series=samples.series, times=np.asarray(samples.times) + 7 * HOUR, values=samples.values)
    found = ahead(later, now=evening)

    assert found.probability[0] > 0.8
    assert 14 < found.when_s[0] / HOUR < 18, "tomorrow between noon and four"


@pytest.mark.parametrize("period_h", [3, 11, 24, 31])
@pytest.mark.parametrize("offset_h", [0, 0.2, 1.5])
def test_what_is_cleaned_up_before_it_is_full_is_no_news(period_h, offset_h):
    probability, _, _ = of(lambda t: sawtooth(period_h, 55, 95)(t - offset_h * HOUR))

    assert probability < 0.5


def test_a_leak_on_top_of_what_is_usual_is_news():
    def leaking(t):
        return sawtooth(24, 20, 60)(t + 20 * HOUR) + max(0.0, 8 * (t / HOUR + 3))

    probability, hours, why = of(leaking)

    assert probability > 0.6
    assert hours < 5
    assert why is Why.NOW


@pytest.mark.parametrize("ago_h", [0.3, 1.2, 3, 7, 20])
def test_one_big_file_is_no_trend(ago_h):
    assert of(lambda t: 50 + 35 * (t > -ago_h * HOUR))[0] < 0.5


def test_noise_near_the_limit_is_no_trend():
    assert of(lambda t: 90, noise=2.0)[0] < 0.5


def test_a_disk_that_was_grown_has_its_new_limit():
    assert ahead(course(lambda t: 95 + 10 * t / DAY), limit=200.0).probability[0] < 0.1


def test_what_is_beyond_its_limit_has_reached_it():
    found = ahead(course(lambda t: 101, noise=0))

    assert (found.probability[0], found.when_s[0], Why(int(found.why[0]))) == (1.0, 0.0, Why.REACHED)


def test_what_falls_to_its_limit_is_the_same_turned_around():
    up, down = course(lambda t: 95 + 10 * t / DAY), course(lambda t: 5 - 10 * t / DAY, noise=0.1)
    down = Samples(series=down.series, times=down.times, values=100 - np.asarray(up.values))

    one, other = ahead(up), ahead(down, limit=0.0, sign=-1.0)
    assert other.probability[0] == pytest.approx(one.probability[0])
    assert other.when_s[0] == pytest.approx(one.when_s[0])


def test_three_hours_of_history_are_enough_for_what_is_plain():
    probability, hours, why = of(lambda t: 90 + 3 * t / HOUR, days=0.125)

    assert probability > 0.7
    assert hours == pytest.approx(10 / 3, rel=0.15)
    assert why is Why.NOW


def test_growth_that_has_set_in_for_good_counts_alone():
    def since_three_days(t):
        return 90 + 8 * max(t, -3 * DAY) / DAY

    assert of(lambda t: since_three_days(t) + 4)[0] > 0.7
    assert of(lambda t: 97 + 8 * min(t + 3 * DAY, 0) / DAY)[0] < 0.3, "it has stopped for good"


def test_a_horizon_of_minutes_and_one_of_weeks_work_alike():
    fast = course(lambda t: 80 + 20 * t / 60 if t > -120 else 40, days=0.01, step_s=1.0)
    found = ahead(fast, horizon_s=120.0)
    assert found.probability[0] > 0.7
    assert found.when_s[0] == pytest.approx(60, rel=0.2)

    slow = ahead(course(lambda t: 96 + 1 * t / DAY, days=40, step_s=3600.0), horizon_s=7 * DAY)
    assert slow.probability[0] > 0.8
    assert slow.when_s[0] / DAY == pytest.approx(4, abs=0.6)


def test_series_do_not_see_each_other():
    samples = [course(lambda t, k=k: 60 + 5 * k + k * t / DAY, seed=k) for k in range(8)]
    together = ahead(*samples)

    for column, each in enumerate(samples):
        alone = ahead(each)
        assert alone.probability[0] == together.probability[column]
        assert alone.when_s[0] == together.when_s[column]


values = st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.just(50.0)), min_size=0, max_size=200)


@settings(max_examples=60, deadline=None)
@given(values, st.floats(-1e6, 1e6), st.sampled_from([60.0, 3600.0, DAY, 7 * DAY]))
def test_whatever_comes_is_judged_and_what_is_not_known_is_said(found, limit, horizon_s):
    times = NOW - np.arange(len(found))[::-1] * horizon_s / 150
    samples = Samples(series=Series(ci="a", metric="m"), times=times, values=found)
    one = ahead(samples, limit=limit, horizon_s=horizon_s)

    assert 0 <= one.probability[0] <= 1
    assert one.when_s[0] >= 0
    assert not np.isnan([one.when_s[0], one.low_s[0], one.high_s[0]]).any()
    assert one.low_s[0] <= one.high_s[0]
    if not found or np.isnan(found[-20:]).all():
        assert Why(int(one.why[0])) is Why.NO_HISTORY


def test_the_grid_holds_the_newest_point_of_each_step_and_bridges_short_gaps():
    times = [NOW - 95, NOW - 65, NOW - 61, NOW]
    samples = Samples(series=Series(ci="a", metric="m"), times=times, values=[1.0, 2.0, 3.0, 4.0])

    assert grid([samples], NOW, 10.0, 12)[:, 0].tolist()[2:] == [
        1,
        1,
        1,
        3,
        3,
        3,
        3,
        pytest.approx(np.nan, nan_ok=True),
        pytest.approx(np.nan, nan_ok=True),
        4,
    ]


def test_steps_of_the_past_divide_a_day():
    for horizon_s in (HOUR, 5 * HOUR, DAY, 3 * DAY, 30 * DAY):
        assert DAY_S % steps(horizon_s).past_s == 0


def test_memory_is_bounded_by_the_number_of_series_not_by_their_points():
    assert ON.past * 8 < 6_000, "bytes a series"
    assert max(steps(h * HOUR).past for h in (0.02, 1, 2, 6, 24, 168, 720)) * 8 < 21_000
