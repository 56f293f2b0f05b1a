"""Plans and calendars, as people write them, become windows with concrete times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from correlation.suppression.maintenance import ended
from foreshock.core.errors import ConfigError, Malformed, TooLarge
from foreshock.core.model import MaintenanceWindow
from foreshock.service import maintenance
from foreshock.service.maintenance import (
    Entry,
    Plan,
    Scope,
    expanded,
    extended,
    planned,
    read_calendar,
    same_plan,
    window,
)

NOW = datetime(2026, 3, 20, tzinfo=UTC)
SUNDAYS = {"starts": "2026-03-01 02:00", "length": "2h", "rrule": "FREQ=WEEKLY;BYDAY=SU", "time_zone": "Europe/Berlin"}


def plan(**fields: Any) -> Plan:
    defaults: dict[str, Any] = {
        "title": "patching", "comment": "monthly", "starts": "2026-04-01 22:00", "length": "2h", "cis": ["db1"],
    }  # fmt: skip
    return Plan.model_validate({**defaults, **fields})


def made(now: datetime = NOW, **fields: Any) -> MaintenanceWindow:
    return window(plan(**fields), id="w", owner="mira", origin="operator", now=now)


def times(found: MaintenanceWindow, count: int = 99) -> list[tuple[str, str]]:
    return [(f"{s.starts_at:%m-%d %H:%M}", f"{s.ends_at:%m-%d %H:%M}") for s in found.spans[:count]]


# ---- plans ----------------------------------------------------------------------------------------------------------


def test_a_plan_without_recurrence_happens_once_in_its_zone():
    once = made(time_zone="Europe/Berlin")

    assert times(once) == [("04-01 20:00", "04-01 22:00")]
    assert (once.expanded_to, once.schedule, once.owner) == (None, "", "mira")
    assert times(made(starts="2026-04-01T22:00:00-05:00", length=None, ends="2026-04-02 04:30")) == [
        ("04-02 03:00", "04-02 04:30")
    ]


def test_a_recurring_one_is_expanded_to_a_horizon_by_the_clocks_of_its_zone():
    sundays = made(**SUNDAYS)

    # On 29 March the clocks skip 02:00 to 03:00, and from then on they are two hours ahead of UTC.
    assert times(sundays, 3) == [
        ("03-22 01:00", "03-22 03:00"), ("03-29 01:00", "03-29 02:00"), ("04-05 00:00", "04-05 02:00"),
    ]  # fmt: skip
    assert len(sundays.spans) == 13
    assert sundays.expanded_to == NOW + timedelta(days=90)
    assert sundays.schedule == "FREQ=WEEKLY;BYDAY=SU (Europe/Berlin)"


def test_expanding_it_later_gives_the_same_times_and_keeps_what_a_person_cut():
    sundays = made(**SUNDAYS)
    during = sundays.spans[6].starts_at + timedelta(minutes=10)
    cut = ended(sundays, during, only_running=True)

    further = extended(cut, during)

    assert extended(sundays, NOW + timedelta(days=29)) is None
    assert further is not None
    assert further.spans[: len(sundays.spans) - 7] == sundays.spans[7:]
    assert set(expanded(sundays, during).spans[1:]) == set(further.spans)


def test_a_series_that_ends_is_known_to_its_end():
    three = made(**{**SUNDAYS, "rrule": "FREQ=WEEKLY;COUNT=5"})

    assert times(three) == [("03-22 01:00", "03-22 03:00"), ("03-29 01:00", "03-29 02:00")]
    assert three.expanded_to is None


def test_spans_are_bounded_and_expanded_on_from_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "MAX_SPANS", 3)
    daily = made(starts="2026-03-01 02:00", rrule="FREQ=DAILY")

    assert len(daily.spans) == 3
    further = extended(daily, NOW + timedelta(days=2))
    assert further is not None
    assert further.spans[-1].starts_at > daily.spans[-1].starts_at


def test_spans_that_meet_become_one():
    assert len(made(starts="2026-03-21 00:00", length="24h", rrule="FREQ=DAILY;COUNT=3").spans) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"starts": "tomorrow"}, "'tomorrow' is no time"),
        ({"time_zone": "Europe/Atlantis"}, "'Europe/Atlantis' is no time zone"),
        ({"ends": "2026-04-02 01:00"}, "both `ends` and `length`"),
        ({"length": None}, "neither `ends` nor `length`"),
        ({"length": None, "ends": "2026-04-01 21:00"}, "it ends at 2026-04-01 21:00, not after it starts"),
        ({"length": "400d"}, "it lasts 400 days"),
        ({"rrule": "FREQ=MINUTELY"}, "has no FREQ that a window can have"),
        ({"rrule": "BYDAY=SU"}, "has no FREQ"),
        ({"rrule": "FREQ=DAILY;BYDAY=XX"}, "cannot be read"),
        ({"rrule": "FREQ=DAILY;BYHOUR=0,1,2,3,4,5;BYMINUTE=0,10,20,30,40"}, "recurs 30 times a day"),
        ({"cis": []}, "has no scope"),
        ({"cis": [], "matchers": ['job=~".*"']}, "match every alert"),
        ({"matchers": ["job=~("]}, "is not a valid expression"),
        ({"comment": ""}, "at least 1 character"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(wrong: dict[str, Any], told: str):
    with pytest.raises(ValidationError) as refused:
        plan(**wrong)
    assert told in str(refused.value)


# ---- calendars ------------------------------------------------------------------------------------------------------

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//calendar//EN
{events}END:VCALENDAR
"""
DAY = """BEGIN:VEVENT
UID:day@example
SUMMARY:Move of the data centre
DTSTART;VALUE=DATE:20260401
DTEND;VALUE=DATE:20260402
X-FORESHOCK-CI:db1
X-FORESHOCK-CI:db2
X-FORESHOCK-MATCHER:job="backup"
END:VEVENT
"""
WEEKLY = """BEGIN:VEVENT
UID:weekly@example
SUMMARY:Patching
DESCRIPTION:every week\\, since 2019
ORGANIZER;CN=Net Ops:mailto:netops@example.com
DTSTART;TZID=America/New_York:20260301T220000
DTEND;TZID=America/New_York:20260302T000000
RRULE:FREQ=WEEKLY;COUNT=20
EXDATE;TZID=America/New_York:20260405T220000
END:VEVENT
BEGIN:VEVENT
UID:weekly@example
RECURRENCE-ID;TZID=America/New_York:20260412T220000
DTSTART;TZID=America/New_York:20260413T220000
DURATION:PT1H
END:VEVENT
"""
OVER = "BEGIN:VEVENT\nUID:3\nSUMMARY:Old\nDTSTART:20250301T220000Z\nDURATION:PT1H\nEND:VEVENT\n"
CANCELLED = "BEGIN:VEVENT\nUID:4\nSTATUS:CANCELLED\nDTSTART:20270301T220000Z\nDURATION:PT1H\nEND:VEVENT\n"


def read(*events: str, scope: Scope | None = None, time_zone: str = "Europe/Berlin") -> list[MaintenanceWindow]:
    body = CALENDAR.format(events="".join(events)).replace("\n", "\r\n").encode()
    about = scope or Scope(services=("shop",))
    return read_calendar(body, about, owner="mira", origin="operator", prefix="ics", now=NOW, time_zone=time_zone)


def test_each_event_that_is_not_over_becomes_a_window():
    day, weekly = read(DAY, WEEKLY, OVER, CANCELLED)

    assert (day.title, day.cis, day.services, day.owner) == ("Move of the data centre", ("db1", "db2"), (), "mira")
    assert [str(m.name) for m in day.matchers] == ["job"]
    assert times(day) == [("03-31 22:00", "04-01 22:00")]
    assert (weekly.title, weekly.comment, weekly.owner) == ("Patching", "every week, since 2019", "Net Ops")
    assert weekly.services == ("shop",)
    assert times(weekly, 4) == [
        ("03-23 02:00", "03-23 04:00"), ("03-30 02:00", "03-30 04:00"),  # 5 April is left out, 12 April moved
        ("04-14 02:00", "04-14 03:00"), ("04-20 02:00", "04-20 04:00"),
    ]  # fmt: skip


def test_the_same_calendar_again_makes_the_same_windows():
    assert [found.id for found in read(DAY, WEEKLY)] == [found.id for found in read(WEEKLY, DAY)][::-1]
    assert all(same_plan(one, other) for one, other in zip(read(DAY, WEEKLY), read(DAY, WEEKLY), strict=True))
    assert not same_plan(read(DAY)[0], read(DAY.replace("0402", "0403"))[0])


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ("", "has no events"),
        (DAY.replace("X-FORESHOCK-CI:db1", "RRULE:FREQ=SECONDLY"), "'Move of the data centre' cannot be taken"),
        (DAY.replace("DTSTART;VALUE=DATE:20260401\n", ""), "it has no DTSTART"),
        (DAY.replace("20260401", "20261341"), "cannot"),
        (OVER.replace("DURATION:PT1H", "DTEND:20250301T210000Z"), "it ends before it begins"),
        (OVER.replace("DURATION:PT1H", "DURATION:-PT1H"), "it ends before it begins"),
        (DAY.replace('job="backup"', "job=~("), "not a valid expression"),
    ],
)
def test_a_calendar_that_cannot_be_taken_is_refused_whole(events: str, told: str):
    with pytest.raises(Malformed, match=told.replace("(", r"\(")):
        read(events, WEEKLY) if events else read("")


def test_an_event_that_is_about_nothing_is_refused():
    with pytest.raises(Malformed, match="'Patching' cannot be taken: a window has no scope"):
        read(WEEKLY, scope=Scope())


def test_what_is_quoted_of_a_file_that_is_no_calendar_is_bounded():
    with pytest.raises(Malformed) as error:
        read_calendar(b"x" * 100_000, Scope(cis=("a",)), owner="", origin="operator", prefix="ics", now=NOW)

    assert len(str(error.value)) < 500


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xfe", b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", b"BEGIN:VCALENDAR"])
def test_what_is_no_calendar_is_refused(body: bytes):
    with pytest.raises(Malformed):
        read_calendar(body, Scope(cis=("a",)), owner="", origin="operator", prefix="ics", now=NOW)


def test_a_calendar_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "MAX_EVENTS", 1)
    with pytest.raises(TooLarge, match="2 events, 1 are allowed"):
        read(DAY, WEEKLY)
    monkeypatch.setattr(maintenance, "MAX_CALENDAR_BYTES", 10)
    with pytest.raises(TooLarge, match="10 are allowed"):
        read(DAY)


# ---- kept in the settings -------------------------------------------------------------------------------------------


def entry(**fields: Any) -> Entry:
    return Entry.model_validate({"name": "patching", "cis": ["db1"], **fields})


def test_entries_of_the_settings_become_windows(tmp_path: Path):
    calendar = tmp_path / "team.ics"
    calendar.write_text(CALENDAR.format(events=DAY + OVER))

    found = planned([entry(title="t", comment="c", **SUNDAYS), entry(name="team", calendar=calendar)], NOW)

    assert found[0].id == "patching"
    assert found[1].id.startswith("team-")
    assert {one.origin for one in found} == {"configuration"}


def test_what_is_over_is_not_planned_again():
    assert planned([entry(title="t", comment="c", starts="2026-01-01 00:00", length="1h")], NOW) == []


def test_a_calendar_that_cannot_be_read_is_a_problem_with_its_file(tmp_path: Path):
    broken = tmp_path / "broken.ics"
    broken.write_text("hello")

    with pytest.raises(ConfigError) as refused:
        planned([entry(calendar=tmp_path / "none.ics"), entry(name="b", calendar=broken)], NOW)

    assert [problem.path for problem in refused.value.problems] == ["maintenance patching", "maintenance b"]
    assert "No such file" in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"calendar": "a.ics", "starts": "2026-01-01"}, "a calendar and times of its own"),
        ({"title": "t", "comment": "c", "starts": "soon", "length": "1h"}, "'soon' is no time"),
        ({"starts": "2026-01-01", "length": "1h", "comment": "c"}, "at least 1 character"),
        ({"name": "Not a name", "calendar": "a.ics"}, "pattern"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(wrong: dict[str, Any], told: str):
    with pytest.raises(ValidationError) as refused:
        entry(**wrong)
    assert told in str(refused.value)
