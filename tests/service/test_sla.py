"""What is promised for an incident: when people are told that time runs out, when it stands, whether it was kept."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from correlation.settings import CorrelationSettings
from foreshock.core.model import SlaClock
from foreshock.service import sla
from foreshock.testing.records import NOON, Story, check_same

HOUR = 3600.0
MINUTE = 60.0
OPENED_S = 30.0  # the delay of a ticket
OFFICE = {"name": "office", "time_zone": "Europe/Berlin", "hours": ["mon-fri 08:00-18:00"]}
FIRST = {"priority": 3, "acknowledge": "20m", "resolve": "4h"}
SETTINGS = {"sla": {"targets": [FIRST]}}


def broken(settings: dict[str, Any] | None = None, *, start: datetime = NOON, holds_s: float = 100 * HOUR) -> Story:
    """One incident of priority 3 with a ticket, opened half a minute after ``start``."""
    story = Story(owners={"db": "dba"}, settings=settings or SETTINGS, start=start)
    story.topology("shop depends_on db", owners={"db": "dba"})
    story.fire("db", severity="critical", holds_s=holds_s).after(OPENED_S).tick()
    assert story.situation().priority == 3
    return story


def told(story: Story) -> list[tuple[float, int, str]]:
    """(minutes after the ticket, percent, what) of each notice."""
    return [
        (
            ((notice.at - story.start).total_seconds() - OPENED_S) / MINUTE,
            notice.level,
            "acknowledge" if "not acknowledged" in notice.text else "resolve",
        )
        for notice in story.told.notices
    ]


def clock(story: Story) -> SlaClock:
    found = story.situation().sla
    assert found is not None
    return found


def pending(story: Story, comment: str = "the vendor") -> Story:
    return story.person("pending", comment=comment)


def test_people_are_told_at_half_three_quarters_and_the_end_of_each_promise():
    story = broken().after(5 * HOUR).tick()

    assert told(story) == [
        (10, 50, "acknowledge"), (15, 75, "acknowledge"), (20, 100, "acknowledge"),
        (120, 50, "resolve"), (180, 75, "resolve"), (240, 100, "resolve"),
    ]  # fmt: skip


def test_a_notice_says_which_incident_how_much_is_gone_and_until_when():
    story = broken().after(5 * HOUR).tick()
    first, *_, last = story.told.notices

    assert first.text == (
        "S-1 (priority 3) is not acknowledged: 50 % of its 20m are gone, the rest ends 2026-03-02 12:20 UTC."
    )
    assert last.text == "S-1 (priority 3) is not resolved: its 4h are over since 2026-03-02 16:00 UTC."
    assert first.audience == ("dba",)


def test_each_warning_is_on_the_timeline():
    story = broken().after(11 * MINUTE).tick()

    (row,) = [row for row in story.told.audit if row.kind == "notice"]
    assert (row.subject, row.action) == ("S-1", "sla")
    assert "50 % of its 20m are gone" in row.detail


@pytest.mark.parametrize("state", ["taken", "commented", "pending", "resolved", "closed"])
def test_what_a_person_does_to_the_ticket_acknowledges_it(state: str):
    story = broken().after(5 * MINUTE).person(state, actor="ann")

    story.after(HOUR).tick()

    assert (story.situation().acknowledged_at, story.situation().acknowledged_by) == (
        story.start + timedelta(seconds=OPENED_S + 5 * MINUTE),
        "ann",
    )
    assert clock(story).acknowledged_in_time is True
    assert [notice for notice in told(story) if notice[2] == "acknowledge"] == []


def test_what_we_did_ourselves_acknowledges_nothing():
    story = broken().after(60).sink_says("confirmed")

    assert story.situation().acknowledged_at is None


def test_an_acknowledgement_at_the_very_end_is_too_late():
    in_time = broken().after(20 * MINUTE - 1).person("taken")
    late = broken().after(20 * MINUTE).person("taken")

    assert clock(in_time).acknowledged_in_time is True
    assert clock(late).acknowledged_in_time is False


def test_who_has_taken_it_is_told_of_the_resolution_first():
    story = broken().after(MINUTE).person("taken", actor="ann").after(3 * HOUR).tick()

    assert [notice.audience for notice in story.told.notices] == [("ann", "dba"), ("ann", "dba")]


# ---- when the time stands -------------------------------------------------------------------------------------------


def test_time_stands_while_the_ticket_waits_for_somebody():
    story = pending(broken().after(MINUTE))
    story.after(10 * HOUR).person("taken").after(119 * MINUTE).tick()

    assert told(story) == [(10 * 60 + 120, 50, "resolve")]
    rows = [(row.action, row.detail) for row in story.told.audit if row.kind == "sla"]
    assert rows == [("paused", "pending: the vendor; 1m are gone"), ("runs on", "1m are gone")]


def test_a_wait_that_we_ended_with_the_ticket_stops_no_time_once_it_is_reopened():
    story = pending(broken().after(MINUTE))
    story.resolve("db", ended_s=None).after(10 * MINUTE).tick()
    story.fire("db", severity="critical", holds_s=100 * HOUR).after(MINUTE).tick()
    assert [ticket.open for ticket in story.situation().tickets.values()] == [True]

    story.after(5 * HOUR).tick()

    assert [what for _, _, what in told(story)] == ["resolve"] * 3


def test_time_stands_while_planned_work_covers_all_that_is_active():
    story = broken()
    begin = OPENED_S + 5 * MINUTE
    story.window("W", "db", spans_s=[(begin, begin + 2 * HOUR)]).after(3 * HOUR).tick()

    assert told(story)[:2] == [(130, 50, "acknowledge"), (135, 75, "acknowledge")]


def test_planned_work_elsewhere_stops_nothing():
    story = broken()
    story.window("W", "web", spans_s=[(0, 10 * HOUR)]).after(11 * MINUTE).tick()

    assert told(story) == [(10, 50, "acknowledge")]


def test_planned_work_on_a_part_of_what_is_active_stops_nothing():
    story = broken().fire("shop", severity="minor", holds_s=100 * HOUR)
    assert len(story.situation().members) == 2
    story.window("W", "db", spans_s=[(0, 10 * HOUR)], descendants=False).after(11 * MINUTE).tick()

    assert told(story) == [(10, 50, "acknowledge")]


def test_nothing_stops_the_time_where_the_settings_say_so():
    story = pending(broken({"sla": {"targets": [FIRST], "pause": []}}).after(MINUTE))

    story.after(3 * HOUR).tick()

    assert told(story) == [(120, 50, "resolve"), (180, 75, "resolve")]


def test_time_stands_when_it_is_over_and_runs_on_when_it_is_reopened():
    story = broken().after(MINUTE).person("taken").after(59 * MINUTE)
    story.resolve("db", ended_s=None)
    story.after(10 * MINUTE).tick()
    assert clock(story).resolved_in_time is True
    assert clock(story).used == timedelta(minutes=62)

    story.fire("db", severity="critical", holds_s=10 * HOUR).after(58 * MINUTE).tick()

    assert clock(story).resolved_in_time is None
    assert told(story) == [(70 + 58, 50, "resolve")]


def test_what_is_over_after_its_time_was_not_kept():
    story = broken().after(5 * HOUR).resolve("db").after(5 * MINUTE).tick()

    assert clock(story).resolved_in_time is False


def test_a_person_who_closes_the_ticket_ends_the_time():
    story = broken().after(3 * HOUR).person("resolved", actor="ann")

    assert clock(story).resolved_in_time is True
    assert clock(story).stopped == "ann closed its ticket"


# ---- calendars, priorities, settings --------------------------------------------------------------------------------


def office(**target: Any) -> dict[str, Any]:
    return {"calendars": [OFFICE], "sla": {"targets": [{**FIRST, "calendar": "office", **target}]}}


def test_time_runs_in_the_hours_of_its_calendar_only():
    late_friday = datetime.fromisoformat("2026-03-06T16:30:00+00:00")  # 17:30 in Berlin
    story = broken(office(acknowledge="60m"), start=late_friday)

    story.after(72 * HOUR).tick()

    monday_8 = datetime.fromisoformat("2026-03-09T07:00:30+00:00")  # half a minute was left of the first half
    assert [(notice.at - monday_8, notice.level) for notice in story.told.notices] == [
        (timedelta(minutes=0), 50),
        (timedelta(minutes=15), 75),
        (timedelta(minutes=30), 100),
        (timedelta(minutes=90), 50),
        (timedelta(minutes=150), 75),
        (timedelta(minutes=210), 100),
    ]
    assert "1h of office" in story.told.notices[0].text


def test_the_hour_that_summer_time_leaves_out_does_not_count():
    night = {"name": "night", "time_zone": "Europe/Berlin", "hours": ["mon-sun 00:00-24:00"]}
    settings = {"calendars": [night], "sla": {"targets": [{**FIRST, "resolve": "4h", "calendar": "night"}]}}
    story = broken(settings, start=datetime.fromisoformat("2026-03-28T23:30:00+00:00"))

    story.after(5 * HOUR).tick()

    ends = [notice.at for notice in story.told.notices if notice.level == 100 and "resolved" in notice.text]
    assert ends == [story.start + timedelta(hours=4, seconds=OPENED_S)]


def test_a_higher_priority_has_its_own_promise_and_what_is_gone_stays_gone():
    targets = [FIRST, {"priority": 1, "acknowledge": "5m"}]
    story = broken({"sla": {"targets": targets}}).after(7 * MINUTE).tick()
    assert told(story) == []

    story.topology("shop depends_on db", criticality={"shop": 1}, owners={"db": "dba"})
    story.tick()

    assert story.situation().priority == 1
    assert [notice.level for notice in story.told.notices] == [100]


def test_without_targets_nothing_is_told():
    story = broken({"sla": {}}).after(100 * HOUR).tick()

    assert told(story) == []
    assert story.situation().sla is None
    assert story.situation().ticketed_at == NOON + timedelta(seconds=OPENED_S)


def test_targets_that_come_later_count_from_the_first_ticket():
    story = broken({"sla": {}}).after(12 * MINUTE).settings(SETTINGS)

    story.after(4 * MINUTE).tick()

    assert told(story) == [(12, 50, "acknowledge"), (15, 75, "acknowledge")]


def test_what_was_held_back_has_no_clock_before_its_ticket():
    story = Story(settings=SETTINGS).silence("quiet", "host=db", for_s=10 * HOUR)
    story.fire("db", severity="critical", holds_s=100 * HOUR).after(9 * HOUR).tick()

    assert story.situation().ticketed_at is None
    assert told(story) == []


def test_how_it_stands_is_said_in_sentences():
    story = broken().after(6 * MINUTE).person("taken").after(54 * MINUTE).tick()

    assert sla.in_words(story.engine, story.situation()) == (
        "acknowledged within 20m: yes",
        "resolved within 4h: 25 % are gone; until 2026-03-02 16:00 UTC",
    )


# ---- the same however it is read ------------------------------------------------------------------------------------


def long_story() -> Story:
    story = broken(office(), start=datetime.fromisoformat("2026-03-06T15:00:00+00:00"))
    story.after(5 * MINUTE).person("commented")
    pending(story.after(HOUR))
    story.after(HOUR).person("taken")
    story.window("W", "db", spans_s=[(60 * HOUR, 66 * HOUR)])
    story.after(62 * HOUR).fire("db", name="Slow", severity="critical", holds_s=HOUR).after(30 * HOUR).tick()
    return story.resolve("db").after(HOUR).tick().fire("db").after(HOUR).tick()


def test_warnings_come_at_the_same_moments_after_restarts_and_between_ticks():
    story = long_story()
    ticks = [story.start + timedelta(minutes=17 * n) for n in range(400)]

    assert len(story.told.notices) >= 2
    check_same(story.records, restarts=range(len(story.records)))
    check_same(story.records, step_records=4)
    check_same(story.records, ticks=ticks)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"targets": [FIRST, FIRST]}, "priority 3 has two"),
        ({"targets": [{**FIRST, "calendar": "office"}]}, "there is no calendar 'office'"),
        ({"targets": [{**FIRST, "acknowledge": "0s"}]}, "greater than"),
    ],
)
def test_promises_that_mean_nothing_are_refused(said: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        CorrelationSettings.model_validate({"sla": said})
