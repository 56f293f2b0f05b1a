"""Times of day, days of the week and of the month that other tools know, as windows that recur (RRULE). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from msgspec import Struct

DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_LOOK_AHEAD_DAYS = 366 * 9
"""Within so many days every combination of day, month and weekday that there is occurs (29 February on a Monday needs
28 years; then the window begins with the search)."""


class Pattern(Struct, frozen=True, kw_only=True):
    """Days, and on each of them a time from ``start`` to ``end`` (minutes of the day, end up to 1440).

    Attributes:
        weekdays: 0 (Monday) to 6; empty: all. month_days: 1 to 31, or -1 (the last) to -31; empty: all.
        months: 1 to 12; empty: all. years: empty: all.
    """

    start: int = 0
    end: int = DAY_MIN
    weekdays: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    years: tuple[int, ...] = ()

    @property
    def is_weekly(self) -> bool:
        return not (self.month_days or self.months or self.years)

    def holds_on(self, day: date) -> bool:
        last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return (
            (not self.weekdays or day.weekday() in self.weekdays)
            and (not self.month_days or day.day in self.month_days or day.day - last.day - 1 in self.month_days)
            and (not self.months or day.month in self.months)
            and (not self.years or day.year in self.years)
        )


def windows(pattern: Pattern, today: date, time_zone: str) -> list[dict[str, Any]]:
    """``starts``, ``length``, ``rrule`` and ``time_zone`` of the windows of a pattern; one for each run of years; none
    where all of it is over."""
    found = []
    for first, last in _runs(pattern.years, today):
        begin = _first(pattern, max(first, today - timedelta(days=1)), last)
        if begin is None:
            continue
        moment = datetime.combine(begin, time()) + timedelta(minutes=pattern.start)
        parts = ["FREQ=WEEKLY" if pattern.weekdays and pattern.is_weekly else "FREQ=DAILY"]
        if pattern.weekdays:
            parts.append("BYDAY=" + ",".join(_CODES[day] for day in sorted(pattern.weekdays)))
        if pattern.month_days:
            parts.append("BYMONTHDAY=" + ",".join(map(str, pattern.month_days)))
        if pattern.months:
            parts.append("BYMONTH=" + ",".join(map(str, sorted(pattern.months))))
        if pattern.years:
            parts.append(f"UNTIL={last:%Y%m%d}T235959Z")
        found.append(
            {
                "starts": f"{moment:%Y-%m-%d %H:%M}",
                "length": length(pattern.end - pattern.start),
                "rrule": ";".join(parts),
                "time_zone": time_zone,
            }
        )
    return found


def _runs(years: Sequence[int], today: date) -> list[tuple[date, date]]:
    """First and last day of each run of years that is not over."""
    if not years:
        return [(today - timedelta(days=1), today + timedelta(days=_LOOK_AHEAD_DAYS))]
    runs: list[list[int]] = []
    for year in sorted(set(years)):
        if runs and year == runs[-1][-1] + 1:
            runs[-1].append(year)
        else:
            runs.append([year])
    return [(date(run[0], 1, 1), date(run[-1], 12, 31)) for run in runs if run[-1] >= today.year]


def _first(pattern: Pattern, begin: date, end: date) -> date | None:
    for offset in range(min((end - begin).days, _LOOK_AHEAD_DAYS) + 1):
        if pattern.holds_on(day := begin + timedelta(days=offset)):
            return day
    return None if pattern.years else begin


def length(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{rest}m" if rest or not hours else "")


# ---- the week, for what is said the other way round -----------------------------------------------------------------


def outside(patterns: Iterable[Pattern]) -> list[Pattern] | None:
    """Patterns of all the time of the week that these leave; None where one of them is not about the week alone."""
    busy = [False] * WEEK_MIN
    for pattern in patterns:
        if not pattern.is_weekly:
            return None
        for day in pattern.weekdays or range(7):
            busy[day * DAY_MIN + pattern.start : day * DAY_MIN + pattern.end] = [True] * (pattern.end - pattern.start)
    by_time: dict[tuple[int, int], list[int]] = {}
    for day in range(7):
        for start, end in _gaps(busy[day * DAY_MIN : (day + 1) * DAY_MIN]):
            by_time.setdefault((start, end), []).append(day)
    return [
        Pattern(start=start, end=end, weekdays=() if len(days) == 7 else tuple(days))
        for (start, end), days in by_time.items()
    ]


def _gaps(busy: Sequence[bool]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    begin: int | None = None
    for minute, taken in enumerate((*busy, True)):
        if not taken and begin is None:
            begin = minute
        elif taken and begin is not None:
            found.append((begin, minute))
            begin = None
    return found


def clock(text: str) -> int | None:
    """Minutes of the day of ``09:30``, up to 24:00; None for anything else."""
    hour, colon, minute = text.partition(":")
    if not colon or not (hour.isdigit() and minute.isdigit() and len(hour) <= 2 and len(minute) == 2):
        return None
    found = int(hour) * 60 + int(minute)
    return found if int(minute) < 60 and found <= DAY_MIN else None


def always(today: date) -> Mapping[str, Any]:
    """A window that never ends: every day, all day."""
    return windows(Pattern(), today, "UTC")[0]
