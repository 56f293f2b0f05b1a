"""Hours of work: whether a moment lies in them, when they begin next, and how much of them lies between two moments.

Pure. A span of hours is what the clock on the wall shows in the calendar's time zone, so an hour that a change to
summer time leaves out is not counted, and one that comes twice is. Time zones are those of the IANA database that
Python finds (https://docs.python.org/3/library/zoneinfo.html, read 2026-11-22).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from foreshock.core.errors import Invalid
from foreshock.core.quantities import read_zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([a-z]{3})(?:-([a-z]{3}))? +(\d\d):(\d\d)-(\d\d):(\d\d)")
_HOLIDAY = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)")
_DAY = timedelta(days=1)
_LOOK_AHEAD_DAYS = 800
"""Hours that do not begin within so many days never begin: a calendar of nothing but holidays."""
_LEAP_YEAR = 2000


class WeeklySpan(NamedTuple):
    """Of each week: day 0 is Monday; minutes since midnight. The end may lie in the next day."""

    day: int
    begin_min: int
    end_min: int


class Stretch(NamedTuple):
    """begin <= t < end, in UTC."""

    begin: datetime
    end: datetime


class Hours:
    """Hours of work.

    Args:
        weekly: as ``read_hours`` gives them. holidays: as ``read_holiday`` does; nothing begins on them.
    """

    def __init__(self, zone: str, weekly: Sequence[WeeklySpan], holidays: Sequence[tuple[int, int, int]] = ()) -> None:
        self._zone = read_zone(zone)
        self._weekly = tuple(
            tuple(sorted((span.begin_min, span.end_min) for span in weekly if span.day == day)) for day in range(7)
        )
        self._holidays = frozenset(holidays)

    def includes(self, moment: datetime) -> bool:
        return any(self._spans(moment, moment))

    def next_begin(self, moment: datetime) -> datetime | None:
        """When they begin next after ``moment``, which lies outside; None: never."""
        limit = moment + timedelta(days=_LOOK_AHEAD_DAYS)
        return next((span.begin for span in self._spans(moment, limit) if span.begin > moment), None)

    def between(self, begin: datetime, end: datetime) -> timedelta:
        """How much of begin <= t < end they are."""
        parts = (min(span.end, end) - max(span.begin, begin) for span in self._spans(begin, end))
        return sum(parts, timedelta(0))

    def after(self, begin: datetime, amount: timedelta) -> datetime | None:
        """The first moment at which ``amount`` of them has passed since ``begin``; None: never."""
        if amount <= timedelta(0):
            return begin
        limit = begin + timedelta(days=_LOOK_AHEAD_DAYS) + 50 * amount
        for span in self._spans(begin, limit):
            start = max(span.begin, begin)
            if start + amount <= span.end:
                return start + amount
            amount -= span.end - start
        return None

    def _spans(self, begin: datetime, end: datetime) -> Iterator[Stretch]:
        """Those that touch begin <= t <= end, ascending, none of them into another."""
        last = datetime.min.replace(tzinfo=UTC)
        day = begin.astimezone(self._zone).date() - _DAY  # what began yesterday may go on past midnight
        until = end.astimezone(self._zone).date()
        while day <= until:
            for first, then in () if self._is_off(day) else self._weekly[day.weekday()]:
                start, stop = max(self._moment(day, first), last), self._moment(day, then)
                if start < stop and stop > begin and start <= end:
                    yield Stretch(start, stop)
                last = max(last, stop)
            day += _DAY

    def _is_off(self, day: date) -> bool:
        return (day.year, day.month, day.day) in self._holidays or (0, day.month, day.day) in self._holidays

    def _moment(self, day: date, minute: int) -> datetime:
        days, rest = divmod(minute, 24 * 60)
        there = day + days * _DAY
        local = datetime(there.year, there.month, there.day, rest // 60, rest % 60, tzinfo=self._zone)
        return local.astimezone(UTC)


@lru_cache(maxsize=200)
def hours_of(zone: str, weekly: tuple[str, ...], holidays: tuple[str, ...]) -> Hours:
    """Of texts that were found sound."""
    spans = [span for text in weekly for span in read_hours(text)]
    return Hours(zone, spans, [read_holiday(text) for text in holidays])


def read_hours(text: str) -> tuple[WeeklySpan, ...]:
    """``mon-fri 08:00-18:00``, ``sat 09:00-13:00``, ``fri 22:00-06:00`` (into the next day). Raises Invalid."""
    hint = "write days and times: mon-fri 08:00-18:00, sat 09:00-13:00 or mon-sun 00:00-24:00"
    found = _HOURS.fullmatch(text.strip().lower())
    if found is None or not {found[1], found[2] or found[1]} <= set(DAYS):
        raise Invalid(f"{text[:40]!r} are no hours", hint=hint)
    begin, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (3, 5))
    if begin >= 1440 or end > 1440 or int(found[4]) > 59 or int(found[6]) > 59 or begin == end:
        raise Invalid(f"{text[:40]!r} names no time of day, or no time at all", hint=hint)
    first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
    count = (last - first) % 7 + 1
    return tuple(WeeklySpan((first + n) % 7, begin, end if end > begin else end + 1440) for n in range(count))


def read_holiday(text: str) -> tuple[int, int, int]:
    """Year, month and day of ``2026-12-25``; of ``12-25``, which comes each year, with year 0. Raises Invalid."""
    found = _HOLIDAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        date(int(found[1] or _LEAP_YEAR), int(found[2]), int(found[3]))
    except ValueError:
        raise Invalid(f"{text[:40]!r} is no day", hint="write 2026-12-25, or 12-25 for each year") from None
    return int(found[1] or 0), int(found[2]), int(found[3])
