"""What a situation amounts to: services, trend, service hours; and that a person is told why."""

from datetime import datetime, timedelta
from typing import Any

from foreshock.core.model import JudgementKind, Situation
from foreshock.service import shown
from foreshock.testing.records import NOON, Story, check_same, check_structure

OFFICE = {"name": "office", "time_zone": "Europe/Berlin", "hours": ["mon-fri 08:00-18:00"], "holidays": ["2026-03-03"]}
EVENING = NOON + timedelta(hours=7)  # Monday, 20:00 in Berlin
WEDNESDAY_8 = datetime.fromisoformat("2026-03-04T07:00:00+00:00")  # Tuesday is a holiday
HOUR = 3600.0


def hours(**said: Any) -> dict[str, Any]:
    return {"calendars": [OFFICE], "priority": {"service_hours": {"default": "office", **said}}}


def why(story: Story, id: str = "S-1") -> str:
    engine = story.engine
    situation = engine.situations[id]
    alerts = engine.members(situation)
    view = shown.incident(engine, situation, alerts, live=True, trail=(), judgements=(), now=engine.now)
    return view.priority_reason


def one(story: Story) -> Situation:
    return story.engine.situations["S-1"]


def levels(story: Story) -> tuple[int, int, int]:
    return one(story).impact, one(story).urgency, one(story).priority


# ---- services -------------------------------------------------------------------------------------------------------


def merged(*, left_alone: bool = False) -> Story:
    """Two databases below different services, which a person said are one problem."""
    small = dict.fromkeys(("a", "b", "c"), 4)
    relations = ("a depends_on db1", "b depends_on db1", "b depends_on db2", "c depends_on db2")
    story = Story(*relations, criticality=small)
    story.fire("db1", severity="minor").after(5).fire("db2", severity="minor").after(5)
    return story if left_alone else story.judge(JudgementKind.MERGE, situation="S-1", other="S-2")


def test_services_that_few_miss_are_counted_over_all_affected_cis():
    apart, together = merged(left_alone=True), merged()

    assert levels(apart)[0] == 3
    assert levels(together)[0] == 2
    assert "2 CIs affected, a (criticality 4) depends on it, and 2 more business services" in why(together)


def test_services_are_counted_the_same_after_a_restart_and_after_a_new_topology():
    story = merged()

    story.after(5).fire("db2", name="Slow", severity="minor")
    check_structure(story.engine)
    check_same(story.records, restarts=range(7))
    story.topology("a depends_on db1", criticality={"a": 4})

    check_structure(story.engine)


# ---- service hours --------------------------------------------------------------------------------------------------


def test_outside_service_hours_the_urgency_is_lower_and_the_reason_says_by_what():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours(), start=EVENING)

    story.fire("db", severity="critical")

    assert levels(story) == (2, 2, 3)
    assert "urgency medium: the worst alert is critical; outside service hours of shop" in why(story)
    assert "which begin 2026-03-04 07:00 UTC: medium instead of high" in why(story)


def test_when_service_hours_begin_what_lasts_rises_to_what_it_is_worth_then():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours(), start=EVENING)
    story.fire("db", severity="critical", holds_s=100 * HOUR)
    begin_s = (WEDNESDAY_8 - EVENING).total_seconds()

    story.after(begin_s - 1).tick()
    assert levels(story) == (2, 2, 3)
    story.after(1).tick()

    assert levels(story) == (2, 1, 2)
    assert "outside" not in why(story)
    assert any("priority rose from 3 to 2" in row.detail for row in story.told.audit if row.at == WEDNESDAY_8)


def test_service_hours_begin_at_their_moment_however_the_records_are_read():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours(), start=EVENING)
    story.fire("db", severity="critical", holds_s=100 * HOUR).after(60).tick().after(40 * HOUR).tick()

    check_same(story.records, restarts=(3, 4))
    check_same(story.records, ticks=[WEDNESDAY_8 - timedelta(hours=1), WEDNESDAY_8, WEDNESDAY_8 + timedelta(hours=1)])
    assert [order.at for order in story.told.orders if order.fields["priority"] == 2] == [WEDNESDAY_8]


def test_within_service_hours_nothing_is_lower():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours())

    story.fire("db", severity="critical")

    assert levels(story) == (2, 1, 2)
    assert "service hours" not in why(story)


def test_what_has_risen_stays_when_service_hours_end():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours())
    story.fire("db", severity="critical", holds_s=100 * HOUR)

    story.after(8 * HOUR).fire("db", name="Slow", severity="critical", holds_s=HOUR)

    assert levels(story) == (2, 1, 2)


def test_a_service_of_criticality_1_is_needed_at_any_time_unless_said_otherwise():
    always = Story("shop depends_on db", criticality={"shop": 1}, settings=hours(), start=EVENING)
    said = hours(critical_always=False, outside=2)
    not_always = Story("shop depends_on db", criticality={"shop": 1}, settings=said, start=EVENING)

    assert levels(always.fire("db")) == (1, 1, 1)
    assert levels(not_always.fire("db")) == (1, 3, 3)


def test_one_service_in_its_hours_is_enough():
    settings = hours(services={"night": ""})
    story = Story("shop depends_on db", "night depends_on db", criticality={"shop": 2, "night": 3}, settings=settings,
                  start=EVENING)  # fmt: skip

    assert levels(story.fire("db")) == (2, 1, 2)


def test_a_service_that_is_hit_later_and_is_in_its_hours_raises_the_urgency():
    criticality, settings = {"shop": 2, "night": 3}, hours(services={"night": ""})
    relations = ("shop depends_on db1", "night depends_on db2")
    story = Story(*relations, criticality=criticality, settings=settings, start=EVENING)
    story.fire("db1", severity="critical").fire("db2", severity="minor").after(5)
    assert levels(story)[1] == 2

    story.judge(JudgementKind.MERGE, situation="S-1", other="S-2")

    assert levels(story)[1] == 1


def test_new_calendars_are_weighed_at_once():
    story = Story("shop depends_on db", criticality={"shop": 2}, settings=hours(), start=EVENING)
    story.fire("db", severity="critical", holds_s=HOUR)

    story.after(10).settings({})

    assert levels(story) == (2, 1, 2)
    check_same(story.records, restarts=(4,))


# ---- trend ----------------------------------------------------------------------------------------------------------


def grown(number: int, *, every_s: float) -> Story:
    story = Story("shop depends_on db", criticality={"shop": 2})
    for each in range(number):
        story.fire("db", name=f"N{each}", severity="minor", holds_s=HOUR).after(every_s)
    return story


def test_what_goes_on_growing_after_its_first_ten_minutes_is_more_urgent():
    before, growing = grown(10, every_s=60), grown(11, every_s=60)

    assert levels(before) == (2, 2, 3)
    assert levels(growing) == (2, 1, 2)
    assert "it went on growing at 2026-03-02 12:10 UTC, which is one higher" in why(growing)
    check_same(growing.records, restarts=range(12))


def test_what_grows_slowly_is_no_more_urgent():
    assert levels(grown(12, every_s=150)) == (2, 2, 3)


def nearly_over(left: int) -> Story:
    """Seven alerts of which so many are still active, and then an eighth that is critical."""
    story = Story("shop depends_on db", criticality={"shop": 2})
    for n in range(7):
        story.fire("db", name=f"N{n}", severity="warning", holds_s=HOUR)
    story.after(60)
    for n in range(left, 7):
        story.resolve("db", name=f"N{n}", severity="warning")
    return story.after(1).fire("db", name="Last", severity="critical", holds_s=HOUR)


def test_what_is_nearly_over_rises_by_one_less_and_the_reason_says_so():
    assert levels(nearly_over(left=2)) == (2, 1, 2)
    assert levels(nearly_over(left=1)) == (2, 2, 3)
    assert "most of its alerts were over already, which is one lower" in why(nearly_over(left=1))
