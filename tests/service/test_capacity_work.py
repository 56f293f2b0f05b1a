"""What fills up is told once, again when it has changed, taken back when it stops, and said to be there when it is."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from foreshock.core.model import ForecastState, Samples, Series
from foreshock.service.capacity import CapacityLimit, PredictSettings, bounds_of, every, limits_of
from foreshock.service.capacity_work import Foreseer
from foreshock.store.history import ParquetHistory

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DISK = Series(ci="db1", metric="disk_used", dimension="mount=/var", unit="%")
CERTIFICATE = Series(ci="shop", metric="certificate_days_left", unit="d")
DEFAULTS = limits_of(PredictSettings())


class Lab:
    """A history, and what is made of it. Values are functions of the hours after noon."""

    def __init__(self, folder, limits=DEFAULTS):
        self.folder, self.limits = folder, limits
        self.history = ParquetHistory(folder)
        self.foreseer = Foreseer(self.history, folder / "forecasts.json")
        self.known_until = NOON

    def measured(self, value, upto, series=DISK, begin=NOON - 10 * DAY, step=5 * MINUTE):
        count = int((upto - begin) / step) + 1
        times = [begin.timestamp() + index * step.total_seconds() for index in range(count)]
        values = [value((at - NOON.timestamp()) / 3600) for at in times]
        self.history.append("host", [Samples(series=series, times=times, values=values)])
        self.known_until = upto
        return self

    def rounds(self, value, upto, every=30 * MINUTE, series=DISK):
        """All that is told from now on until then, while points come in."""
        told = []
        while self.known_until < upto:
            now = self.known_until + every
            self.measured(value, now, series, begin=self.known_until + 5 * MINUTE)
            told += self.look(now)
        return told

    def foresee(self, now):
        """In two looks, a minute apart."""
        return self.look(now - MINUTE) + self.look(now)

    def look(self, now):
        steps = self.foreseer.foreseeing(self.limits, now)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def grown(hours):
    """Full at six in the evening of the next day."""
    return 99 + (hours - 30) / 3


def test_a_disk_that_fills_up_is_told_with_when_how_sure_and_what_speaks_for_it(lab):
    lab.measured(grown, NOON + 12 * HOUR)
    (found,) = lab.foresee(NOON + 12 * HOUR)

    assert (found.ci, found.about, found.signs) == ("db1", "disk_used mount=/var", ("/var",))
    assert found.model == "capacity@1"
    assert found.probability > 0.9
    assert found.lead_time_h == pytest.approx(18, abs=1)
    assert found.earliest_h < found.lead_time_h < found.latest_h <= found.horizon_h == 24
    assert found.summary.startswith("disk_used of /var reaches 99 % in 18 h (1")
    assert found.summary.endswith("now it is 93 %")
    assert sum(each.points for each in found.contributions) == pytest.approx(found.probability)


def test_one_look_is_no_look(lab):
    lab.measured(grown, NOON + 12 * HOUR)

    assert lab.look(NOON + 12 * HOUR) == []
    assert len(lab.look(NOON + 12 * HOUR + MINUTE)) == 1


def test_what_was_told_is_told_again_only_when_it_has_changed_or_after_a_long_time(lab):
    lab.measured(grown, NOON + 12 * HOUR)
    assert len(lab.foresee(NOON + 12 * HOUR)) == 1

    told = lab.rounds(grown, NOON + 22 * HOUR)
    assert {each.state for each in told} == {ForecastState.EXPECTED}
    assert 1 <= len(told) <= 4
    assert (NOON + 30 * HOUR - told[-1].made_at) / HOUR == pytest.approx(told[-1].lead_time_h, abs=1.5)


def test_when_the_trend_ends_it_is_taken_back_once_and_says_why(lab):
    def cleaned(hours):
        return grown(hours) if hours < 14 else 40.0

    lab.measured(cleaned, NOON + 12 * HOUR)
    lab.foresee(NOON + 12 * HOUR)
    told = lab.rounds(cleaned, NOON + 24 * HOUR)

    ends = [each for each in told if each.state is ForecastState.WITHDRAWN]
    assert len(ends) == 1
    assert told[-1] is ends[0]
    assert "is at 40 %, and is not expected to reach 99 % within 24 h any more" in ends[0].summary
    assert ends[0].made_at < NOON + 17 * HOUR


def test_when_it_is_there_that_is_said_once_and_after_it_was_emptied_it_can_come_again(lab):
    lab.measured(grown, NOON + 28 * HOUR)
    lab.foresee(NOON + 28 * HOUR)
    told = lab.rounds(grown, NOON + 33 * HOUR)

    assert [each.state for each in told if each.state is not ForecastState.EXPECTED] == [ForecastState.REACHED]
    assert told[-1].summary == "disk_used of /var has reached 99 %"

    assert lab.rounds(lambda hours: 60.0, NOON + 36 * HOUR) == []
    again = lab.rounds(lambda hours: 60 + 6 * (hours - 36), NOON + 42 * HOUR)
    assert [each.state for each in again[:1]] == [ForecastState.EXPECTED]


def test_what_was_full_before_anybody_looked_is_no_forecast(lab):
    lab.measured(lambda hours: 99.5, NOON)

    assert lab.foresee(NOON) == []


def test_what_was_told_before_a_restart_can_be_taken_back_after_it(lab):
    lab.measured(grown, NOON + 12 * HOUR)
    lab.foresee(NOON + 12 * HOUR)
    lab.foreseer = Foreseer(lab.history, lab.folder / "forecasts.json")

    told = lab.rounds(lambda hours: 40.0, NOON + 16 * HOUR)
    assert [each.state for each in told] == [ForecastState.WITHDRAWN]

    (lab.folder / "forecasts.json").write_text("{damaged")
    assert Foreseer(lab.history, lab.folder / "forecasts.json").told == {}


def test_where_nothing_can_be_kept_forecasts_are_told_all_the_same(lab):
    (lab.folder / "forecasts.json").mkdir()
    lab.foreseer = Foreseer(lab.history, lab.folder / "forecasts.json")
    lab.measured(grown, NOON + 12 * HOUR)

    assert len(lab.foresee(NOON + 12 * HOUR)) == 1


def test_a_certificate_needs_no_trend(lab):
    def left(hours):
        return 20 - hours / 24

    lab.measured(left, NOON, CERTIFICATE, begin=NOON - HOUR)
    (found,) = lab.foresee(NOON)

    assert (found.probability, found.lead_time_h, found.signs) == (1.0, 480.0, ("certificate",))
    assert found.summary == "certificate_days_left is at 20 d: it is at 0 d in 20 days"


def test_a_certificate_that_is_renewed_in_time_each_time_is_no_news(lab):
    lab.measured(lambda hours: 20 - (hours / 24) % 2, NOON + HOUR, CERTIFICATE, begin=NOON - 13 * DAY)

    assert lab.foresee(NOON + HOUR) == []


def test_what_falls_to_a_limit_is_told_as_it_is_measured(tmp_path):
    free = Series(ci="db1", metric="node_filesystem_avail_bytes", dimension="mountpoint=/var")
    limit = CapacityLimit(match='metric="node_filesystem_avail_bytes"', limit=0.0, direction="down")
    lab = Lab(tmp_path, limits_of(PredictSettings(capacity=(limit,), own=False)))
    lab.measured(lambda hours: 1e9 * (30 - hours), NOON + 12 * HOUR, free)
    (found,) = lab.foresee(NOON + 12 * HOUR)

    assert "reaches 0 in 18 h" in found.summary
    assert found.summary.endswith("now it is 1.8e+10")
    assert found.signs == ("/var",)


def test_the_first_limit_that_fits_counts_and_what_none_fits_is_left_alone(tmp_path):
    other = Series(ci="db2", metric="disk_used", dimension="mount=/var", unit="%")
    limits = (
        CapacityLimit(match='metric="disk_used", ci="db1"', limit=None),
        CapacityLimit(match='metric="cpu"', limit=99.0),
    )
    lab = Lab(tmp_path, limits_of(PredictSettings(capacity=limits)))
    lab.measured(grown, NOON + 12 * HOUR).measured(grown, NOON + 12 * HOUR, other)

    assert [each.ci for each in lab.foresee(NOON + 12 * HOUR)] == ["db2"]


def test_a_series_that_is_new_and_one_that_is_gone_are_judged_by_what_there_is(lab):
    lab.measured(grown, NOON - DAY)
    new = Series(ci="new", metric="disk_used", dimension="mount=/", unit="%")
    lab.measured(lambda hours: 90 + 3 * hours, NOON, new, begin=NOON - 3 * HOUR)

    assert [each.ci for each in lab.foresee(NOON)] == ["new"]


@pytest.mark.parametrize("match", ["", "metric", 'metric="a'])
def test_matchers_that_are_none_are_refused(match):
    with pytest.raises(ValueError, match=r"match|characters|every series"):
        CapacityLimit(match=match, limit=1.0)


def test_it_is_looked_often_where_the_horizon_is_short():
    def limit(horizon):
        return PredictSettings(capacity=(CapacityLimit(match='metric="a"', limit=1.0, horizon=horizon),), own=False)

    assert every(limit(DAY)) == timedelta(minutes=5)
    assert every(limit(MINUTE)) == timedelta(seconds=1)
    assert every(PredictSettings()) == timedelta(minutes=5)
    assert limits_of(PredictSettings(own=False)) == []
    assert np.isclose(every(limit(HOUR)) / timedelta(seconds=12.5), 1)


def test_limits_of_values_that_a_person_named_are_told_to_the_detector_of_what_comes_near_one():
    pool = CapacityLimit(match='metric="pool"', limit=200.0)
    without = CapacityLimit(match='metric="scratch"', limit=None)
    left = CapacityLimit(match='metric="license"', limit=0.0, time_left=True)

    assert [each.match for each in bounds_of(PredictSettings(capacity=(pool, without, left)))] == [pool.match]
