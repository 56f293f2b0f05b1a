"""Silences and windows: seen, tried out, set and ended."""

from datetime import timedelta
from typing import Any

import pytest

from foreshock.core.errors import Malformed, Rejected
from foreshock.service.maintenance import Entry, Plan, Scope, planned
from foreshock.testing.quiet import quiet_of
from foreshock.testing.records import Story

SHOP = ("shop depends_on api", "api runs_on db1")


def plan(story: Story, **fields: Any) -> Plan:
    starts = story.now.isoformat()
    defaults: dict[str, Any] = {"title": "recabling", "comment": "rack 14", "starts": starts, "length": "1h"}
    return Plan.model_validate({**defaults, **(fields or {"cis": ["db1"]})})


def test_a_silence_is_set_by_its_owner_holds_and_is_ended():
    story = Story().fire("db1")
    asked = quiet_of(story)

    made = asked.set_silence(['host="db1"'], length=timedelta(hours=1), comment=" known ", actor="mira")
    story.at(60).tick()
    (seen,) = asked.silences()
    assert (seen.id, seen.state, seen.created_by, seen.comment, seen.held) == (made.id, "active", "mira", "known", 1)
    assert seen.matchers == ('host="db1"',)

    ended = asked.expire_silence(made.id, actor="ada")
    assert ended.state == "expired"
    assert story.orders() == [(60.0, "open")]
    assert [(row.actor, row.action) for row in story.told.audit if row.kind == "silence"] == [
        ("mira", "set"), ("ada", "expired"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("matchers", "comment", "told"),
    [
        ([], "why", "at least one matcher"),
        (["host"], "why", "is not a matcher"),
        (["host=~("], "why", "not a valid expression"),
        (['host=~".*"'], "why", "match every alert"),
        (["host=db1"], " ", "needs a comment"),
    ],
)
def test_a_silence_without_reason_or_bounds_is_refused(matchers: list[str], comment: str, told: str):
    story = Story()

    with pytest.raises(Rejected, match=told.replace("(", r"\(")):
        quiet_of(story).set_silence(matchers, length=timedelta(hours=1), comment=comment, actor="mira")

    assert quiet_of(story).silences() == []


def test_a_preview_tells_which_alerts_and_incidents_would_be_covered_and_sets_nothing():
    story = Story(*SHOP).fire("db1", "api").fire("web", name="Slow", severity="warning").at(60).tick()
    records = len(story.records)

    found = quiet_of(story).preview(Scope(matchers=('alertname="Down"', 'host="db1"')))

    assert (found.matched, found.active) == (1, 3)
    assert [(alert.name, alert.ci, alert.situation) for alert in found.alerts] == [("Down", "db1", "S-1")]
    assert [(one.id, one.covered, one.active, one.whole) for one in found.incidents] == [("S-1", 1, 2, False)]
    assert len(story.records) == records


def test_a_preview_by_scope_counts_cis_and_names_what_nobody_knows():
    story = Story(*SHOP, criticality={"shop": 1}).fire("db1", "shop").at(60).tick()

    found = quiet_of(story).preview(Scope(cis=("db1", "nix")))

    assert (found.scope, found.unknown, found.matched) == (4, ("nix",), 2)
    assert [one.whole for one in found.incidents] == [True]
    assert quiet_of(story).preview(Scope(services=("shop",))).matched == 2
    assert quiet_of(story).preview(Scope(cis=("db1",), descendants=False)).matched == 1
    with pytest.raises(Rejected, match="has no scope"):
        quiet_of(story).preview(Scope())


def test_what_a_preview_said_is_what_the_window_then_holds():
    story = Story(*SHOP).fire("shop", "web").at(10)
    asked = quiet_of(story)
    said = {one.id for one in asked.preview(Scope(cis=("db1",))).incidents if one.whole}

    made = asked.plan(plan(story), actor="mira")
    story.at(100).tick()

    assert {s.id for s in story.engine.situations.values() if s.held} == said == {"S-1"}
    (seen,) = asked.windows()
    assert (seen.id, seen.state, seen.owner, seen.held, seen.scope) == (made.id, "running", "mira", 1, 3)


def test_a_window_can_be_replaced_ended_once_and_ended():
    story = Story().fire("db1")
    asked = quiet_of(story)
    made = asked.plan(plan(story, cis=["db1"], rrule="FREQ=DAILY"), actor="mira")
    moved = asked.plan(plan(story, cis=["db2"], rrule="FREQ=DAILY"), actor="ada", id=made.id)
    assert (moved.id, moved.cis, len(asked.windows())) == (made.id, ("db2",), 1)

    assert asked.end_window(made.id, actor="mira", only_running=True).state == "planned"
    with pytest.raises(Rejected, match="does not run now"):
        asked.end_window(made.id, actor="mira", only_running=True)
    assert asked.end_window(made.id, actor="mira").state == "over"
    with pytest.raises(Rejected, match="no window"):
        asked.end_window(made.id, actor="mira")


def test_a_window_far_ahead_is_planned_though_no_span_is_known_yet():
    story = Story()

    made = quiet_of(story).plan(plan(story, cis=["db1"], starts="2030-01-06 02:00", rrule="FREQ=YEARLY"), actor="mira")

    assert (made.state, made.spans) == ("planned", ())


def test_a_window_that_is_over_is_not_planned():
    story = Story().at(9000).tick()

    with pytest.raises(Rejected, match="over already"):
        quiet_of(story).plan(plan(Story()), actor="mira")


def test_a_calendar_is_taken_once_and_whole_or_not_at_all():
    event = "BEGIN:VEVENT\r\nUID:{}\r\nSUMMARY:work\r\nDTSTART:20270101T000000Z\r\nDURATION:PT1H\r\n{}END:VEVENT\r\n"
    body = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{}END:VCALENDAR\r\n"
    story = Story()
    asked = quiet_of(story)

    broken = event.format(1, "") + event.format(2, "RRULE:FREQ=SECONDLY\r\n")
    with pytest.raises(Malformed):
        asked.take_calendar(body.format(broken).encode(), Scope(cis=("db1",)), actor="mira")
    assert asked.windows() == []

    once = body.format(event.format(1, "")).encode()
    assert [view.title for view in asked.take_calendar(once, Scope(cis=("db1",)), actor="mira")] == ["work"]
    records = len(story.records)
    assert len(asked.take_calendar(once, Scope(cis=("db1",)), actor="mira")) == 1
    assert len(story.records) == records


def entries(*names: str, **fields: Any) -> list[Entry]:
    common = {"title": "t", "comment": "c", "cis": ["db1"], "starts": "2026-03-02 11:00", "length": "3h", **fields}
    return [Entry.model_validate({"name": name, **common}) for name in names]


def test_windows_of_the_settings_follow_the_file():
    story = Story()
    asked = quiet_of(story)

    assert asked.keep(planned(entries("a", "b"), story.now), actor="foreshock")
    records = len(story.records)
    assert not asked.keep(planned(entries("a", "b"), story.now), actor="foreshock")
    assert len(story.records) == records

    assert asked.keep(planned(entries("b", comment="other"), story.now), actor="mira")
    assert {view.id: (view.state, view.comment) for view in asked.windows()} == {
        "a": ("over", "c"), "b": ("running", "other"),
    }  # fmt: skip


def test_what_a_file_says_is_ended_in_the_file_but_for_what_runs_now():
    story = Story()
    asked = quiet_of(story)
    asked.keep(planned(entries("a", rrule="FREQ=DAILY"), story.now), actor="foreshock")

    with pytest.raises(Rejected, match="kept in the configuration file"):
        asked.end_window("a", actor="mira")
    with pytest.raises(Rejected, match="kept in the configuration file"):
        asked.plan(plan(story), actor="mira", id="a")
    assert asked.end_window("a", actor="mira", only_running=True).state == "planned"
    asked.keep(planned(entries("a", rrule="FREQ=DAILY"), story.now), actor="foreshock")
    assert [view.state for view in asked.windows()] == ["planned"]


def test_recurring_windows_are_expanded_further_in_time_and_by_us():
    story = Story()
    asked = quiet_of(story)
    asked.plan(plan(story, cis=["db1"], rrule="FREQ=DAILY"), actor="mira")
    asked.extend()
    assert [row.actor for row in story.told.audit if row.kind == "maintenance"] == ["mira"]

    story.at(40 * 86_400.0).tick()
    asked.extend()

    assert [row.actor for row in story.told.audit if row.kind == "maintenance"] == ["mira", "foreshock"]
    window = story.engine.suppression.windows[asked.windows()[0].id].window
    assert window.spans[-1].starts_at > story.now + timedelta(days=80)
