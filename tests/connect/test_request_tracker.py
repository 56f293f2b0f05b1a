"""Times in queries for Request Tracker. All else about it is tried with the real one, in tests/incident_sink.

Facts, seen with RT 5.0.3: a date and time in a query is read in the time zone of the user, which the API does not tell;
of one that ends in Z only the date is, so that for hours of each day nothing was found. What is relative to now is the
same for all.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foreshock.connect.vendors.request_tracker import RequestTracker
from foreshock.core.errors import Unavailable

ZONES = tuple(ZoneInfo(name) for name in ("America/New_York", "Asia/Kathmandu", "Etc/GMT+12", "Pacific/Kiritimati"))
EVENING = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
SUMMER_TIME = datetime(2026, 3, 8, 9, 0, tzinfo=UTC)  # two hours after it began in New York


class Clock:
    """In the place of the HTTP client, of a server at this time."""

    instance = "prod"

    def __init__(self, now: datetime | None) -> None:
        self.server_now = now

    def request(self, *_: Any, **__: Any) -> None:
        """Any call, after which it is known what time it is there."""


def as_rt_reads(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """What a text in a query means to RT, whose user has this zone."""
    relative = re.fullmatch(r"'-(\d+) seconds'", text)
    if relative:
        return now - timedelta(seconds=int(relative[1]))
    dated = datetime.fromisoformat(text.strip("'"))
    if dated.tzinfo is not None:
        dated = datetime(dated.year, dated.month, dated.day)  # noqa: DTZ001 (in the zone below)
    return dated.replace(tzinfo=zone)


@given(
    now=st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ago=st.timedeltas(timedelta(0), timedelta(days=400)),
)
@example(now=EVENING, ago=timedelta(minutes=1))
@example(now=SUMMER_TIME, ago=timedelta(minutes=1))
def test_a_query_begins_where_it_should_or_little_before_at_any_hour_in_any_time_zone(now: datetime, ago: timedelta):
    moment = now - ago

    text = RequestTracker(Clock(now)).since(moment)  # type: ignore[arg-type]

    for zone in ZONES:
        begins = as_rt_reads(text, now, zone)
        assert begins <= moment
        assert moment - begins <= timedelta(hours=2)


def test_a_server_that_does_not_say_what_time_it_is_is_asked_nothing():
    with pytest.raises(Unavailable, match="does not say what time it is"):
        RequestTracker(Clock(None)).since(EVENING)  # type: ignore[arg-type]
