"""What is known of sources: their clocks, how long their alerts hold, and that one has gone silent."""

from typing import Any

import pytest

from foreshock.service import sources
from foreshock.testing.records import Story, check_same

H = 3600.0


def said(story: Story, action: str) -> list[str]:
    return [f"{row.subject}: {row.detail}" for row in story.told.audit if (row.kind, row.action) == ("source", action)]


def same_after_restarts(story: Story) -> None:
    for number in range(len(story.records)):
        check_same(story.records, restarts=[number])
    check_same(story.records, restarts=range(len(story.records)))


def test_sources_are_known_in_bounds_and_the_one_not_heard_of_for_longest_goes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MAX_SOURCES", 3)
    story = Story()
    for number, name in enumerate("abcad"):
        story.at(number).fire("db1", source=name)

    assert set(story.engine.sources) == {"a", "c", "d"}
    same_after_restarts(story)


def with_clock(story: Story, ahead_s: float, faults: int, *, delay_s: float = 0.0) -> Story:
    """Faults come and go on a source whose clock is that much ahead; it reports ``delay_s`` late."""
    story.fire("heart", name="Watchdog", holds_s=9 * H)
    for number in range(faults):
        story.after(60 + delay_s)
        at = (story.now - story.start).total_seconds() + ahead_s - delay_s
        story.fire(f"h{number}", started_s=at, holds_s=240 + ahead_s)
        story.after(30 + delay_s).resolve(f"h{number}", started_s=at, ended_s=at + 30 + delay_s)
    return story.after(60)


# ---- clocks ---------------------------------------------------------------------------------------------------------


def test_a_clock_that_runs_ahead_is_found_and_onsets_are_what_they_were():
    story = with_clock(Story(), 37, 4)
    now = (story.now - story.start).total_seconds()

    story.after(2).fire("db1", started_s=now + 37, holds_s=240)

    assert story.alert("db1").starts_at == story.time(now)
    assert said(story, "clock") == ["alertmanager: its clock is 37 s ahead of ours; onsets are corrected by that"]
    same_after_restarts(story)


def test_a_resolve_from_a_clock_that_runs_ahead_ends_the_alert_when_it_comes():
    story = with_clock(Story(), 37, 4)
    now = (story.now - story.start).total_seconds()
    story.fire("db1", started_s=now + 37)

    story.after(20).resolve("db1", started_s=now + 37, ended_s=now + 20 + 37)

    alert = story.alert("db1")
    assert (alert.firing, alert.ends_at, alert.expired) == (False, story.time(now + 20), False)


def test_a_re_send_from_a_clock_that_runs_ahead_is_a_repeat():
    story = with_clock(Story(), 37, 4)
    now, repeats = (story.now - story.start).total_seconds(), story.engine.counts["repeat"]
    for minute in range(5):
        story.at(now + 60 * minute).fire("db1", started_s=now + 37, holds_s=240 + 37)

    assert story.engine.counts["repeat"] == repeats + 4
    assert story.alert("db1").expires_at == story.time(now + 240 + 240)


def test_a_clock_beyond_the_bound_is_said_and_not_corrected():
    story = with_clock(Story(), 700, 4)
    now = (story.now - story.start).total_seconds()
    story.after(2).fire("db1", started_s=now + 700)

    assert story.alert("db1").starts_at == story.now
    found = sources.facts(story.engine, "alertmanager")
    assert found["clock"].startswith("its clock is 700 s ahead of ours, more than is corrected (300 s")
    assert found["lag_s"] == -700

    story.settings({"fold": {"max_skew": "15m"}}).after(2).fire("db2", started_s=now + 704)
    assert story.alert("db2").starts_at == story.time(now + 4)


def test_dates_that_are_always_late_are_said_and_not_taken_for_a_clock():
    story = with_clock(Story(), 0, 10, delay_s=30)

    assert said(story, "clock") == []
    found = sources.facts(story.engine, "alertmanager")
    assert found["clock"].startswith("its events are dated 30 s or more before they come: it reports late, or its")


BEHIND: dict[str, Any] = {"fold": {"sources": [{"source": "alertmanager", "late_is_clock": True}]}}


def test_where_somebody_says_that_it_is_the_clock_it_is_corrected_the_ends_that_it_promises_too():
    story = with_clock(Story(settings=BEHIND), -100, 10)
    now = (story.now - story.start).total_seconds()

    story.fire("db1", started_s=now - 100, holds_s=140)

    assert story.alert("db1").starts_at == story.now
    assert story.alert("db1").expires_at == story.time(now + 240)
    same_after_restarts(story)


def test_old_alerts_that_come_after_an_outage_say_nothing_of_the_clock():
    story = Story().fire("heart", name="Watchdog", holds_s=9 * H).at(2 * H)
    for number in range(12):
        story.after(5).fire(f"h{number}", started_s=H)

    assert sources.facts(story.engine, "alertmanager")["lag_s"] is None


def test_each_source_has_its_own_clock():
    story = Story()
    for number in range(4):
        story.after(60).fire(f"a{number}", started_s=60 * (number + 1) + 50, source="eu").fire(
            f"b{number}", source="us"
        )

    assert [sources.facts(story.engine, name)["lag_s"] for name in ("eu", "us")] == [-50, 0]


# ---- how long alerts hold -------------------------------------------------------------------------------------------


def test_an_entry_says_how_long_alerts_of_a_source_hold():
    rules = [{"source": "nightly", "expire_after": "26h"}, {"collector": "alertmanager_webhook", "expire_after": "1h"}]
    story = Story(settings={"fold": {"sources": rules}})
    story.fire("backup", holds_s=None, source="nightly").fire("db1", holds_s=None)
    story.fire("web", holds_s=None, collector="alertmanager_webhook")

    story.at(2 * H).tick()
    assert (story.alert("db1").ends_at, story.alert("web").ends_at) == (story.time(300), story.time(3600))
    story.at(27 * H).tick()
    assert story.alert("backup").ends_at == story.time(26 * H)


def test_a_source_that_sends_again_later_than_expected_is_waited_for_longer_after_the_second_time():
    story = Story()
    for turn in range(8):
        story.at(600 * turn).fire("db1", started_s=0, holds_s=None)

    assert story.alert("db1").occurrences == 4  # the last time it was waited for as before
    assert said(story, "expiry") == [
        "alertmanager: its alerts fire on for 600 s without being sent again; they hold for 20m now instead of 5m "
        "(correlation.fold.learn_expiry)"
    ]
    assert sources.facts(story.engine, "alertmanager")["holds_s"] == 1200
    same_after_restarts(story)


def test_one_that_says_only_begin_and_end_is_learned_too():
    story = Story()
    for turn in range(3):
        story.at(2000 * turn).fire(f"h{turn}", holds_s=None).after(900).resolve(f"h{turn}")

    assert sources.facts(story.engine, "alertmanager")["holds_s"] == 1800
    assert (story.alert("h0").ends_at, story.alert("h2").ends_at) == (story.time(900), story.time(4900))
    assert story.alert("h2").expired is False


@pytest.mark.parametrize(
    ("settings", "pauses_s"),
    [
        pytest.param({}, [600], id="once is an outage"),
        pytest.param({}, [600, 2400], id="twice unlike are two outages"),
        pytest.param({}, [7000, 7000, 7000], id="longer than is learned"),
        pytest.param({"fold": {"learn_expiry": "0s"}}, [600, 600, 600], id="switched off"),
        pytest.param({"fold": {"sources": [{"expire_after": "5m"}]}}, [600, 600, 600], id="somebody knows better"),
    ],
)
def test_when_nothing_is_learned(settings: dict[str, Any], pauses_s: list[float]):
    story = Story(settings=settings).fire("db1", holds_s=None)
    for pause_s in pauses_s:
        story.after(pause_s).fire("db1", started_s=0, holds_s=None)

    assert sources.facts(story.engine, "alertmanager")["holds_s"] == 300


def test_ends_that_the_source_itself_promised_teach_nothing():
    story = Story()
    for turn in range(5):
        story.at(600 * turn).fire("db1", started_s=0, holds_s=240)

    assert sources.facts(story.engine, "alertmanager")["holds_s"] == 300


# ---- silence --------------------------------------------------------------------------------------------------------


def test_a_source_that_goes_silent_is_told_once_and_so_is_its_return():
    story = Story().fire("db1", "db2", holds_s=240).at(30).fire("db3", holds_s=240).at(900).tick()

    assert said(story, "silent") == ["alertmanager: nothing has come since 2026-03-02 12:00:30 UTC; its alerts run out"]
    assert sources.facts(story.engine, "alertmanager")["expired"] == 3
    assert sources.facts(story.engine, "alertmanager")["silent_since"] == story.time(30)

    story.fire("db1", started_s=0)
    assert said(story, "heard again") == ["alertmanager: after 870 s"]
    assert sources.facts(story.engine, "alertmanager")["silent_since"] is None
    same_after_restarts(story)


def test_an_alert_that_runs_out_while_its_source_reports_others_is_no_silence():
    story = Story().fire("db1", holds_s=240)
    for minute in range(10):
        story.at(60 * minute).fire("db2", started_s=0, holds_s=240)

    assert said(story, "silent") == []
    assert story.engine.counts["expired"] == 1


def test_the_ticket_says_that_nobody_reported_the_end():
    story = Story().fire("db1", holds_s=240).at(10).fire("db1", name="Slow").at(60).resolve("db1", name="Slow")
    story.at(900).tick()

    assert story.told.orders[-1].verb == "resolve"
    assert story.told.orders[-1].note.splitlines()[1] == (
        "Of 2 alerts 1 ended because nobody sent it again; no source said that it is over."
    )
