"""Hours of work, with holidays and the change to summer time and back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.calendars import Hours, hours_of, read_holiday, read_hours
from foreshock.core.errors import Invalid

OFFICE = hours_of("Europe/Berlin", ("mon-fri 08:00-18:00",), ())
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        pytest.param("2026-03-02 06:59:59", False, id="a second before 08:00 in Berlin"),
        pytest.param("2026-03-02 07:00", True, id="08:00 in Berlin, in winter"),
        pytest.param("2026-03-02 16:59:59", True, id="a second before the end"),
        pytest.param("2026-03-02 17:00", False, id="the end itself is outside"),
        pytest.param("2026-03-07 10:00", False, id="a Saturday"),
        pytest.param("2026-03-30 06:00", True, id="08:00 in Berlin, in summer"),
        pytest.param("2026-03-30 16:00", False, id="18:00 in Berlin, in summer"),
    ],
)
def test_a_moment_is_inside_by_the_clock_on_the_wall(moment: str, inside: bool):
    assert OFFICE.includes(utc(moment)) is inside


def test_hours_begin_next_after_a_weekend_and_a_holiday():
    with_holiday = hours_of("Europe/Berlin", ("mon-fri 08:00-18:00",), ("2026-03-09",))
    friday_evening = utc("2026-03-06 18:00")

    assert OFFICE.next_begin(friday_evening) == utc("2026-03-09 07:00")
    assert with_holiday.next_begin(friday_evening) == utc("2026-03-10 07:00")


def test_a_holiday_without_a_year_comes_each_year():
    christmas = hours_of("UTC", ("mon-sun 00:00-24:00",), ("12-25",))

    assert [christmas.includes(utc(f"{year}-12-25 12:00")) for year in (2025, 2026, 2032)] == [False] * 3
    assert christmas.includes(utc("2026-12-26 00:00"))


def test_the_night_in_which_summer_time_begins_is_an_hour_shorter_and_the_other_an_hour_longer():
    nights = hours_of("Europe/Berlin", ("mon-sun 22:00-06:00",), ())

    assert nights.between(utc("2026-03-28 12:00"), utc("2026-03-29 12:00")) == 7 * HOUR
    assert nights.between(utc("2026-10-24 12:00"), utc("2026-10-25 12:00")) == 9 * HOUR
    assert nights.between(utc("2026-06-10 12:00"), utc("2026-06-11 12:00")) == 8 * HOUR


def test_an_hour_that_summer_time_leaves_out_is_no_hour_of_work():
    lost = hours_of("Europe/Berlin", ("sun 02:00-03:00",), ())

    assert lost.between(utc("2026-03-29 00:00"), utc("2026-03-29 12:00")) == timedelta(0)
    assert lost.between(utc("2026-03-22 00:00"), utc("2026-03-22 12:00")) == HOUR


def test_a_night_shift_belongs_to_the_day_on_which_it_begins():
    friday = hours_of("UTC", ("fri 22:00-06:00",), ())

    assert friday.includes(utc("2026-03-07 05:59"))
    assert not friday.includes(utc("2026-03-07 06:00"))
    assert not friday.includes(utc("2026-03-06 05:00"))


def test_hours_that_overlap_count_once():
    twice = hours_of("UTC", ("mon-fri 08:00-18:00", "mon 12:00-20:00", "sun 20:00-09:00"), ())

    assert twice.between(utc("2026-03-01 00:00"), utc("2026-03-03 00:00")) == 24 * HOUR


def test_work_of_ten_hours_that_begins_on_friday_afternoon_is_over_on_monday():
    assert OFFICE.after(utc("2026-03-06 16:00"), 10 * HOUR) == utc("2026-03-09 16:00")
    assert OFFICE.after(utc("2026-03-06 16:00"), HOUR) == utc("2026-03-06 17:00")
    assert OFFICE.after(utc("2026-03-06 20:00"), MINUTE) == utc("2026-03-09 07:01")


def test_what_never_begins_is_not_waited_for():
    never = Hours("UTC", ())

    assert never.next_begin(utc("2026-03-06 16:00")) is None
    assert never.after(utc("2026-03-06 16:00"), HOUR) is None


def test_days_may_go_round_the_week():
    assert [span.day for span in read_hours("sat-mon 08:00-09:00")] == [5, 6, 0]


@pytest.mark.parametrize("text", ["8-18", "mon-fri", "mo-fr 08:00-18:00", "mon 08:00-08:00", "mon 08:60-09:00",
                                  "mon 24:00-25:00", "mon 08:00-24:30"])  # fmt: skip
def test_hours_that_cannot_be_read_are_refused_with_an_example(text: str):
    with pytest.raises(Invalid) as refused:
        read_hours(text)

    assert "mon-fri 08:00-18:00" in refused.value.hint


@pytest.mark.parametrize("text", ["25.12.", "2026-02-30", "13-01", "2026-1-1"])
def test_a_day_that_cannot_be_read_is_refused(text: str):
    with pytest.raises(Invalid):
        read_holiday(text)


CALENDARS = st.sampled_from(
    [
        OFFICE,
        hours_of("America/New_York", ("mon-sun 22:00-06:00", "sat 01:30-02:30"), ("11-01", "2026-03-08")),
        hours_of("Australia/Lord_Howe", ("mon-sun 01:00-03:00", "sun 00:00-24:00"), ()),
        hours_of("UTC", ("mon-sun 00:00-24:00",), ()),
    ]
)
MOMENTS = st.datetimes(datetime(2026, 2, 1), datetime(2026, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001
AMOUNTS = st.integers(1, 3 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@given(CALENDARS, MOMENTS, AMOUNTS)
def test_when_an_amount_has_passed_so_much_lies_between_and_not_before(
    hours: Hours, begin: datetime, amount: timedelta
):
    end = hours.after(begin, amount)

    assert end is not None
    assert hours.between(begin, end) == amount
    assert hours.between(begin, end - timedelta(seconds=1)) < amount


@given(CALENDARS, MOMENTS, AMOUNTS, AMOUNTS)
def test_what_lies_in_two_parts_adds_up(hours: Hours, begin: datetime, first: timedelta, second: timedelta):
    middle, end = begin + first, begin + first + second

    assert hours.between(begin, middle) + hours.between(middle, end) == hours.between(begin, end)


@given(CALENDARS, MOMENTS)
def test_outside_nothing_passes_until_they_begin_and_then_it_does(hours: Hours, moment: datetime):
    if hours.includes(moment):
        assert hours.between(moment, moment + timedelta(microseconds=1)) > timedelta(0)
        return
    begin = hours.next_begin(moment)

    assert begin is not None
    assert hours.between(moment, begin) == timedelta(0)
    assert hours.includes(begin)
