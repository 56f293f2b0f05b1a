"""Who is on duty, from a rota, a calendar, PagerDuty and Opsgenie."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from foreshock.connect.http import Http
from foreshock.connect.on_call import Roster, icalendar, opsgenie, pagerduty, rotation
from foreshock.core.errors import Denied, Unavailable
from foreshock.testing.receiver import Receiver

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


def rota(**config: Any) -> Roster:
    values = {"people": ["ann", "bob", "cyn"], "begins": "2026-03-02 09:00", **config}
    return rotation.ON_CALL.build("database", rotation.ON_CALL.config.model_validate(values), Http)


@pytest.mark.parametrize(
    ("after", "person"),
    [
        (timedelta(), "ann"),
        (timedelta(days=7, seconds=-1), "ann"),
        (timedelta(days=7), "bob"),
        (timedelta(days=21), "ann"),
        (timedelta(seconds=-1), "cyn"),
    ],
)
def test_people_take_turns(after: timedelta, person: str):
    assert rota().who(MONDAY + after) == (person,)


def test_a_turn_ends_at_the_same_hour_on_the_wall_in_summer_and_in_winter():
    berlin = rota(time_zone="Europe/Berlin")  # summer time begins on 29 March

    assert berlin.who(datetime(2026, 3, 30, 6, 59, 59, tzinfo=UTC)) == ("ann",)  # 08:59:59 there
    assert berlin.who(datetime(2026, 3, 30, 7, 0, tzinfo=UTC)) == ("bob",)


def test_the_last_stand_in_counts():
    stand_ins = [
        {"who": "bob", "begins": "2026-03-03 09:00", "ends": "2026-03-05 09:00"},
        {"who": "cyn", "begins": "2026-03-04 09:00", "ends": "2026-03-04 21:00"},
    ]
    found = rota(stand_ins=stand_ins)

    days = [found.who(MONDAY + timedelta(hours=hours))[0] for hours in (0, 24, 48, 60, 72)]
    assert days == ["ann", "bob", "cyn", "bob", "ann"]


def test_a_zone_that_does_not_exist_is_a_mistake():
    with pytest.raises(ValidationError, match="no time zone"):
        rota(time_zone="Mars/Base")


CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:1
SUMMARY:On Call - Ann - Database
DTSTART;TZID=Europe/Berlin:20260302T090000
DTEND;TZID=Europe/Berlin:20260302T210000
RRULE:FREQ=DAILY
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:bob@example.com
DTSTART:20260303T100000Z
DTEND:20260303T110000Z
END:VEVENT
END:VCALENDAR
"""


def calendar_of(folder: Path, **config: Any) -> Roster:
    return icalendar.ON_CALL.build("database", icalendar.ON_CALL.config.model_validate(config), Http)


def test_events_that_go_on_say_who_is_on_duty(tmp_path):
    (tmp_path / "rota.ics").write_text(CALENDAR)
    found = calendar_of(tmp_path, file=tmp_path / "rota.ics")

    assert found.who(datetime(2026, 3, 2, 7, 59, tzinfo=UTC)) == ()
    assert found.who(datetime(2026, 3, 2, 8, 0, tzinfo=UTC)) == ("Ann",)
    assert found.who(datetime(2026, 3, 3, 10, 30, tzinfo=UTC)) == ("Ann", "bob@example.com")
    assert found.who(datetime(2026, 4, 1, 7, 30, tzinfo=UTC)) == ("Ann",)  # summer time there


def test_a_calendar_that_cannot_be_read_for_a_while_counts_as_it_was(tmp_path):
    secret = tmp_path / "url"
    with Receiver(CALENDAR.encode(), 200) as receiver:
        secret.touch(mode=0o600)
        secret.write_text(f"{receiver.url}/rota.ics?key=s3cret")
        found = calendar_of(tmp_path, url_file=secret)
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        assert found.who(noon) == ("Ann",)
        receiver.status = 503
        assert found.who(noon + timedelta(hours=1)) == ("Ann",)
        with pytest.raises(Unavailable) as error:
            found.who(noon + timedelta(days=2))

    assert receiver.got[0][0] == "/rota.ics?key=s3cret"
    assert "s3cret" not in str(error.value)


def test_a_page_in_place_of_a_calendar_is_said(tmp_path):
    (tmp_path / "rota.ics").write_text("<html>Log in</html>")

    with pytest.raises(Unavailable, match="is no calendar"):
        calendar_of(tmp_path, file=tmp_path / "rota.ics").who(MONDAY)


def test_a_calendar_has_a_file_or_an_address(tmp_path):
    with pytest.raises(ValidationError, match="a file or an address"):
        calendar_of(tmp_path)


def service(module: Any, receiver: Receiver, folder: Path) -> Roster:
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text("k3y")
    config = {"schedule": "PDB 1", "key_file": str(key), "url": receiver.url}
    made: Roster = module.ON_CALL.build("database", module.ON_CALL.config.model_validate(config), Http)
    return made


def test_pagerduty_says_who_is_on_duty_the_first_level_first(tmp_path):
    entries = [
        {"user": {"id": "P2", "summary": "Bob"}, "escalation_level": 2, "start": None, "end": None},
        {"user": {"id": "P1", "summary": "Ann"}, "escalation_level": 1, "start": None, "end": None},
    ]
    with Receiver(json.dumps({"oncalls": entries}).encode(), 200) as receiver:
        assert service(pagerduty, receiver, tmp_path).who(MONDAY) == ("Ann", "Bob")

    path, headers, _ = receiver.got[0]
    query = parse_qs(urlsplit(path).query)
    assert (urlsplit(path).path, query["schedule_ids[]"]) == ("/oncalls", ["PDB 1"])
    assert query["since"] == ["2026-03-02T09:00:00+00:00"]
    assert headers["Authorization"] == "Token token=k3y"


def test_opsgenie_says_who_is_on_duty(tmp_path):
    answer = {"data": {"_parent": {"name": "db"}, "onCallRecipients": ["ann@example.com"]}, "took": 0.1}
    with Receiver(json.dumps(answer).encode(), 200) as receiver:
        assert service(opsgenie, receiver, tmp_path).who(MONDAY) == ("ann@example.com",)

    path, headers, _ = receiver.got[0]
    assert urlsplit(path).path == "/v2/schedules/PDB%201/on-calls"
    assert parse_qs(urlsplit(path).query)["flat"] == ["true"]
    assert headers["Authorization"] == "GenieKey k3y"


@pytest.mark.parametrize("module", [pagerduty, opsgenie])
def test_an_answer_of_another_shape_is_no_answer(module: Any, tmp_path: Path):
    with Receiver(b'{"error": "no"}', 200) as receiver, pytest.raises(Unavailable, match="the answer has no"):
        service(module, receiver, tmp_path).who(MONDAY)


@pytest.mark.parametrize("module", [pagerduty, opsgenie])
def test_a_wrong_key_is_told_without_the_key(module: Any, tmp_path: Path):
    with Receiver(b"{}", 401) as receiver, pytest.raises(Denied) as error:
        service(module, receiver, tmp_path).who(MONDAY)
    assert "k3y" not in str(error.value)
