"""The engine as a function of its records: what the person on call gets to see of a story."""

from collections.abc import Sequence

import msgspec
import pytest

from foreshock.core.contracts import Items, Record, RecordKind
from foreshock.core.model import JudgementKind, SituationState
from foreshock.service.engine import Engine
from foreshock.service.shown import alert_view
from foreshock.testing.records import (
    NOON,
    UNTIL_FORGOTTEN_S,
    Story,
    check_forgotten,
    check_same,
    check_structure,
    check_tickets,
    new_engine,
    seconds,
)

SHOP = ("shop depends_on api", "api runs_on db1", "db1 hosted_on esx1")
H = 3600.0


def resolved_s(story: Story, situation: str = "S-1") -> float | None:
    at = story.situation(situation).resolved_at
    return None if at is None else (at - NOON).total_seconds()


# ---- repeats and the times a source writes --------------------------------------------------------------------------


def test_a_condition_sent_every_minute_is_one_alert_in_one_situation():
    story = Story()
    for minute in range(10):
        story.at(60 * minute).fire("db1", started_s=0, holds_s=240)

    assert (story.alert("db1").count, story.alert("db1").occurrences) == (10, 1)
    assert (story.engine.counts["new"], story.engine.counts["repeat"]) == (1, 9)
    assert list(story.engine.situations) == ["S-1"]
    assert story.verbs() == ["open"]


def test_labels_written_in_another_order_are_the_same_alert():
    story = Story()
    story.body(b'[{"labels":{"alertname":"Down","host":"db1"}}]')
    story.body(b'[{"labels":{"host":"db1","alertname":"Down"}}]')
    story.body(b'[{"labels":{"host":"db1","empty":"","alertname":"Down"}}]')

    assert len(story.engine.alerts) == 1


def test_prometheus_and_its_alertmanager_may_both_report_one_alert():
    story = Story().fire("db1").after(10).fire("db1", collector="alertmanager_webhook", started_s=0)

    assert story.alert("db1").count == 2


def test_two_products_with_equal_labels_have_two_alerts():
    story = Story().fire("db1")
    story.body(b'{"labels":{"alertname":"Down","host":"db1","severity":"critical"}}', collector="events")

    assert len(story.engine.alerts) == 2


def test_two_collectors_that_share_a_source_name_keep_their_alerts_apart_and_forget_them():
    story = Story(settings={"fold": {"expire_after": "1m"}})
    story.body(b'[{"labels":{"host":"a"}}]', source="berlin").body(
        b'[{"labels":{"host":"a"}}]', collector="events", source="berlin"
    )

    story.after(UNTIL_FORGOTTEN_S).tick()

    check_forgotten(story.engine)


def test_an_alert_is_as_old_as_its_source_says_and_never_from_the_future():
    story = Story().at(100).fire("db1", started_s=40).fire("db2", started_s=900)

    assert story.alert("db1").starts_at == story.time(40)
    assert story.alert("db2").starts_at == story.time(100)


def test_times_in_another_zone_are_the_same_moments():
    story = Story().at(60)
    story.body(b'[{"labels":{"host":"a"},"startsAt":"2026-03-02T14:00:30+02:00","endsAt":"2026-03-02T07:30:00-05:00"}]')
    (alert,) = story.engine.alerts.values()

    assert (alert.starts_at.isoformat(), alert.expires_at.isoformat()) == (
        "2026-03-02T12:00:30+00:00",
        "2026-03-02T12:30:00+00:00",
    )


@pytest.mark.parametrize("ends_at", ["9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59Z"])
def test_an_end_at_the_edge_of_the_calendar_can_be_saved(ends_at: str):
    story = Story()
    story.body(b'[{"labels":{"host":"a"},"endsAt":"%s"}]' % ends_at.encode())
    story.body(b'[{"labels":{"host":"a"},"endsAt":"%s"}]' % ends_at.encode())

    assert len(restarted(story.engine).alerts) == 1


def restarted(engine: Engine) -> Engine:
    new = new_engine()
    new.restore([(kind, key, body) for kind, key, body in engine.checkpoint() if body is not None])
    return new


def test_a_re_send_after_a_restart_from_state_of_an_older_version_says_nothing_new():
    long = "the value has been above its threshold for a while " * 3
    story = Story().fire("db1", summary=long)
    old = []
    for kind, key, body in story.engine.checkpoint():
        if kind == "alert" and body is not None:
            alert = msgspec.msgpack.decode(body)
            assert b"threshold" in alert["annotations"]
            del alert["said"]  # not known then
            body = msgspec.msgpack.encode(alert)
        old.append((kind, key, body))
    story.engine = new_engine()
    story.engine.restore([(kind, key, body) for kind, key, body in old if body is not None])

    story.at(10).fire("db1", started_s=0, summary=long)
    assert (story.engine.counts["repeat"], story.engine.counts["changed"]) == (1, 0)
    story.at(20).fire("db1", started_s=0, summary="it is over its threshold")
    assert (story.engine.counts["repeat"], story.engine.counts["changed"]) == (1, 1)


def test_what_is_saved_says_what_alerts_said_however_many_say_nearly_the_same():
    story = Story().fire(
        *[f"db{number}" for number in range(100)], summary="it is above its threshold for a while " * 3
    )

    saved = [body for kind, _, body in story.engine.checkpoint() if kind == "alert" and body is not None]
    assert len(saved) == 100
    assert all(body.count(b"threshold") == 3 for body in saved)


# ---- the end of an alert --------------------------------------------------------------------------------------------


def test_a_resolve_ends_the_alert_and_quiet_ends_the_situation():
    story = Story().fire("db1").at(60).resolve("db1").at(179).tick()
    assert story.situation().state is SituationState.OPEN

    story.at(180).tick()

    assert story.situation().state is SituationState.RESOLVED
    assert story.verbs() == ["open", "update", "resolve"]


def test_what_is_urgent_may_have_to_be_quiet_for_longer():
    settings = {"group": {"quiet": "2m", "quiet_by_priority": {1: "10m"}}}
    urgent = Story(settings=settings).topology("shop depends_on db1", criticality={"shop": 1})
    plain = Story(settings=settings)
    for story in (urgent, plain):
        story.fire("db1").at(60).resolve("db1").at(60 + 121).tick()

    assert (urgent.situation().priority, urgent.situation().state) == (1, SituationState.OPEN)
    assert plain.situation().state is SituationState.RESOLVED
    assert urgent.at(60 + 600).tick().situation().state is SituationState.RESOLVED


@pytest.mark.parametrize(
    "ticks",
    [
        pytest.param((), id="none"),
        pytest.param((250,), id="before"),
        pytest.param(tuple(range(1, 900)), id="every second"),
    ],
)
def test_an_alert_that_nobody_sends_any_more_ends_at_its_own_moment_whatever_the_ticks(ticks: Sequence[float]):
    story = Story().fire("db1", holds_s=240)
    for offset_s in ticks:
        story.at(offset_s).tick()
    story.at(900).tick()

    assert story.alert("db1").ends_at == story.time(240)
    assert resolved_s(story) == 240 + 120


def test_an_end_that_was_put_off_a_moment_before_it_came_counts_from_its_own_moment():
    story = Story().fire("db1", holds_s=240)
    story.at(239).tick().fire("db1", started_s=0, holds_s=241)

    story.at(2000).tick()

    assert resolved_s(story) == 480 + 120


def test_an_alert_that_names_no_end_is_over_five_minutes_after_it_was_last_sent():
    story = Story().fire("db1", holds_s=None).at(200).fire("db1", started_s=0, holds_s=None).at(900).tick()

    assert story.alert("db1").ends_at == story.time(500)


def test_what_alertmanager_itself_reports_does_not_run_out():
    story = Story().fire("db1", collector="alertmanager_webhook", holds_s=None).at(20 * H).tick()

    assert story.alert("db1").firing


def test_a_source_that_comes_back_after_a_gap_finds_its_alert_firing_again():
    story = Story().fire("db1", holds_s=240).at(600).tick().fire("db1", started_s=0, holds_s=240)

    assert story.alert("db1").firing
    assert story.alert("db1").starts_at == story.time(0)
    assert story.situation().reopened == 1


def test_a_resolve_that_is_repeated_changes_nothing():
    story = Story().fire("db1").at(60).resolve("db1", ended_s=60)
    for minute in range(2, 15):
        story.at(60 * minute).resolve("db1", ended_s=60)

    assert story.verbs() == ["open", "update", "resolve"]
    assert resolved_s(story) == 60 + 120


def test_a_firing_that_was_overtaken_by_its_resolve_does_not_come_back():
    story = Story().fire("db1").at(60).resolve("db1", ended_s=50).at(70).fire("db1", started_s=0)

    assert not story.alert("db1").firing
    assert story.engine.counts["late"] == 1


def test_a_resolve_of_an_earlier_time_does_not_end_what_began_later():
    story = Story().at(100).fire("db1", started_s=100).at(110).resolve("db1", ended_s=90)

    assert story.alert("db1").firing
    assert story.engine.counts["late"] == 1


def test_a_resolve_of_something_unknown_opens_nothing():
    story = Story().resolve("db1").after(10).tick()

    assert story.engine.situations == {}
    assert story.engine.counts["new"] == 1


def test_a_flapping_alert_disturbs_once():
    story = Story()
    for turn in range(12):
        story.at(20 * turn)
        (story.resolve if turn % 2 else story.fire)("db1")
    story.at(20 * 11 + 299).tick()
    assert story.situation().state is SituationState.OPEN

    story.at(1500).tick()

    assert story.verbs().count("open") == 1
    assert story.verbs()[-1] == "resolve"
    assert "reopen" not in story.verbs()
    assert resolved_s(story) == 20 * 11 + 300 + 120
    assert story.situation().reopened == 0


# ---- what belongs together ------------------------------------------------------------------------------------------


def test_a_failure_that_spreads_along_the_topology_is_one_situation_that_names_the_path():
    story = Story(*SHOP).fire("db1").at(12).fire("shop")

    assert story.groups() == [["db1", "shop"]]
    link = story.situation().members[story.alert("shop").fingerprint].link
    assert link is not None
    assert (link.path, link.via, link.gap_s) == (("shop", "api", "db1"), "db1", 12.0)
    rule = next(rule for rule in story.engine.rules if rule.tag == link.rule)
    assert rule.describe(link) == "shop depends on db1, which also failed, 12 s apart"


def test_a_cause_that_is_seen_last_still_joins_and_is_ranked_first():
    story = (
        Story(*SHOP)
        .at(20)
        .fire("shop", started_s=15)
        .at(25)
        .fire("esx1", started_s=0)
        .at(30)
        .fire("api", started_s=12)
        .at(90)
        .tick()
    )

    assert story.groups() == [["api", "esx1", "shop"]]
    assert story.situation().causes[0].ci == "esx1"
    assert story.told.orders[-1].fields["ci"] == "esx1"


def test_alerts_on_things_that_have_nothing_to_do_with_each_other_stay_apart():
    story = Story(*SHOP, "mail depends_on disk").fire("db1", "mail", "printer", "door")

    assert story.groups() == [["db1"], ["door"], ["mail"], ["printer"]]


def test_two_alerts_on_one_ci_are_one_situation_if_they_began_close_together():
    story = Story().fire("db1").at(30).fire("db1", name="Slow").at(700).fire("db1", name="Hot")

    assert sorted(len(s.members) for s in story.engine.situations.values()) == [1, 2]


def test_alerts_that_name_no_ci_stand_alone():
    story = Story()
    story.body(b'[{"labels":{"alertname":"A"}},{"labels":{"alertname":"B"}}]')

    assert len(story.engine.situations) == 2


def merged() -> Story:
    """Two situations have their tickets; then the thing both depend on reports, late, that it failed first."""
    story = Story("web runs_on esx", "mail runs_on esx")
    story.fire("web", "mail").at(40).tick()
    assert story.groups() == [["mail"], ["web"]]
    return story.at(60).fire("esx", started_s=0)


def test_an_alert_that_explains_two_situations_makes_them_one():
    story = merged()

    assert story.groups() == [["esx", "mail", "web"]]
    loser = story.situation("S-2")
    assert (loser.state, loser.merged_into) == (SituationState.MERGED, "S-1")


def test_of_two_that_become_one_the_one_with_the_ticket_goes_on_whichever_the_alert_is_nearer_to():
    """The second has none yet, and suppression would hold it back: nobody would have a ticket for what still fails."""
    story = Story("web runs_on esx", "mail runs_on esx").silence("quiet", 'host=~"web|esx"', for_s=3600)
    story.fire("mail").at(38).fire("web").at(50).fire("esx", started_s=33).at(200).tick()

    assert story.groups() == [["esx", "mail", "web"]]
    assert story.situation("S-2").merged_into == "S-1"
    assert story.verbs() == ["open", "update"]


def test_the_ticket_of_the_situation_that_was_taken_over_is_resolved_and_says_where_it_went():
    story = merged()

    assert story.verbs("S-2") == ["open", "resolve"]
    last = [order for order in story.told.orders if order.situation == "S-2"][-1]
    assert last.note == "Resolved by Foreshock: merged into S-1."


def test_what_was_taken_over_goes_on_where_it_is_now():
    story = merged().at(100).resolve("mail", "web", "esx").at(300).tick()
    assert story.situation().state is SituationState.RESOLVED

    story.at(310).fire("mail", started_s=310)

    assert story.situation().state is SituationState.OPEN
    assert story.situation("S-2").state is SituationState.MERGED
    check_tickets(story.told.orders)


def glued() -> Story:
    """Two applications fail at once, and a wrong entry of the CMDB says that one needs the other's database."""

    def application(name: str) -> list[str]:
        ring = [f"{name}{i} depends_on {name}{(i + 1) % 8}" for i in range(8)]
        return ring + [f"{name}{i} depends_on {name}-db" for i in range(8)]

    story = Story(*application("shop"), *application("mail"), "mail0 depends_on shop-db")
    story.fire("shop-db").at(1).fire("mail0")
    for number in range(1, 8):
        story.at(2 * number).fire(f"shop{number}").at(2 * number + 1).fire(f"mail{number}")
    return story.at(20).fire("shop0", "mail-db")


def test_two_problems_that_a_wrong_link_made_one_fall_apart_as_they_grow():
    story = glued()

    assert [{ci[:4] for ci in group} for group in story.groups()] == [{"mail"}, {"shop"}]
    assert [each.split_from for each in story.engine.situations.values() if each.split_from] == ["S-3"]
    check_structure(story.engine)


@pytest.mark.parametrize("at", range(4, 22, 3))
def test_a_situation_falls_apart_at_the_same_alert_after_a_restart(at: int):
    check_same(glued().records, restarts=(at,))


def test_what_a_person_has_shaped_does_not_fall_apart():
    story = glued()
    story.judge(JudgementKind.MERGE, situation="S-3", other="S-4").at(30)
    story.fire(*(f"mail{number}" for number in range(8)), name="Slow").fire(
        *(f"shop{number}" for number in range(8)), name="Slow"
    )

    assert len(story.groups()) == 1


def test_settings_that_another_version_recorded_are_read_as_far_as_this_one_knows_them():
    story = Story(settings={"group": {"threshold": 0.5, "merge_alerts": 8}, "gone": {"a": 1}})

    assert story.engine.settings.group.threshold == 0.5
    (row,) = [row for row in story.told.audit if row.kind == "settings"]
    assert row.detail == "ignored, as this version does not know them: group.merge_alerts, gone"
    check_same(story.fire("db1").after(60).tick().records, restarts=(1, 2))


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_a_full_situation_takes_no_more_alerts():
    story = Story(settings={"group": {"max_alerts": 3}})
    for index in range(7):
        story.at(index).fire("db1", name=f"A{index}")

    assert [len(s.members) for s in story.engine.situations.values()] == [3, 3, 1]


def chained(**group: int) -> Story:
    """Each depends on the one before and fails after it."""
    story = Story(*(f"n{i + 1} depends_on n{i}" for i in range(9)), settings={"group": group})
    for index in range(10):
        story.after(2).fire(f"n{index}")
    return story


def test_a_situation_does_not_stretch_without_end():
    story = chained(max_away=4)

    assert [len(group) for group in story.groups()] == [5, 5]
    (found,) = story.situation("S-2").members[story.alert("n5").fingerprint].considered
    assert found.why == "what relates them is 4 relationships from where it began, the most allowed"
    check_same(story.records, restarts=(4, 8))


def test_the_bound_is_far_enough_for_a_chain_of_services():
    assert [len(group) for group in chained().groups()] == [10]


def test_a_merge_does_not_overfill_a_situation():
    story = Story("web runs_on esx", "mail runs_on esx", settings={"group": {"max_alerts": 2}})
    story.fire("web", "mail").at(10).fire("esx", started_s=0)

    assert sorted(len(group) for group in story.groups()) == [1, 2]


@pytest.mark.parametrize(("pause_s", "situations"), [(900, 1), (901, 2)])
def test_the_join_window_counts_from_the_last_alert_that_joined(pause_s: float, situations: int):
    story = (
        Story(settings={"relate": {"window": "2h", "half_gap": "2h", "tempo": 1e6}})
        .fire("db1")
        .at(600)
        .fire("db1", name="B")
    )

    story.at(600 + pause_s).fire("db1", name="C")

    assert len(story.engine.situations) == situations


@pytest.mark.parametrize(("age_s", "situations"), [(3600, 1), (3601, 2)])
def test_an_old_situation_takes_no_more_alerts(age_s: float, situations: int):
    story = Story(
        settings={"relate": {"window": "9h", "half_gap": "9h", "tempo": 1e6}, "group": {"join": "9h", "max_age": "1h"}}
    )
    story.fire("db1", holds_s=9 * H).at(age_s).fire("db1", name="B")

    assert len(story.engine.situations) == situations


# ---- when a ticket is written ---------------------------------------------------------------------------------------


def test_a_blip_opens_no_ticket():
    story = Story().fire("db1", severity="warning").at(20).resolve("db1", severity="warning").at(4000).tick()

    assert story.verbs() == []
    assert [row.action for row in story.told.audit if row.kind == "situation"] == ["opened", "changed", "resolved"]


@pytest.mark.parametrize(("criticality", "due_s"), [(0, 30.0), (1, 5.0)])
def test_a_ticket_waits_for_the_delay_of_its_priority(criticality: int, due_s: float):
    story = Story(*SHOP, criticality={"shop": criticality}).fire("db1").at(600).tick()

    assert story.orders() == [(due_s, "open")]


def test_a_rise_in_priority_is_told_at_once_and_other_changes_are_gathered():
    story = Story(*SHOP, criticality={"shop": 1}).fire("esx1", severity="warning").at(35).tick()
    story.at(36).fire("db1", severity="warning", name="B").at(37).fire("db1", severity="warning", name="C")
    story.at(40).fire("esx1", name="D").at(120).tick()

    assert [order.fields["priority"] for order in story.told.orders] == [3, 1]
    assert story.orders() == [(30.0, "open"), (40.0, "update")]


def test_many_changes_are_one_update_a_minute():
    story = Story().fire("db1").at(30).tick()
    for second in range(31, 200):
        story.at(second).fire("db1", name=f"A{second}")
    story.at(500).tick()

    assert story.orders() == [(30.0, "open"), (90.0, "update"), (150.0, "update"), (210.0, "update")]


def test_priority_is_not_lowered_when_the_worst_alert_recovers():
    story = Story().fire("db1", "db1").fire("db1", name="Slow", severity="warning").at(40).resolve("db1").at(400).tick()

    assert {order.fields["priority"] for order in story.told.orders} == {3}


def test_what_is_below_the_least_priority_stays_in_the_console():
    story = Story(settings={"ticket": {"min_priority": 4}}).fire("db1", severity="warning").at(60).tick()
    assert story.verbs() == []

    story.fire("db1", name="Worse")

    assert story.orders() == [(60.0, "open")]


def test_each_sink_has_its_own_ticket():
    story = Story(sinks=("desk", "servicenow")).fire("db1").at(60).resolve("db1").at(400).tick()

    assert story.verbs(sink="desk") == story.verbs(sink="servicenow") == ["open", "update", "resolve"]
    assert len({order.id for order in story.told.orders}) == 6


def test_a_sink_that_comes_back_hears_of_the_end_it_missed():
    story = Story(sinks=("desk", "servicenow")).fire("db1").at(60).tick()
    story.settings({}, sinks=("desk",)).at(70).resolve("db1").at(400).tick()
    assert story.verbs(sink="servicenow")[-1] != "resolve"

    story.at(410).settings({}, sinks=("desk", "servicenow"))

    assert story.verbs(sink="servicenow")[-1] == "resolve"


def test_the_ticket_goes_to_the_owner_of_the_likeliest_cause():
    story = Story(*SHOP, owners={"db1": "database", "shop": "web"}).fire("db1").at(5).fire("shop").at(60).tick()

    assert story.told.orders[0].fields["assignment_group"] == "database"


# ---- after the end --------------------------------------------------------------------------------------------------


def test_a_situation_whose_alert_fires_again_in_time_is_reopened_and_says_so():
    story = Story().fire("db1").at(60).resolve("db1").at(200).tick().at(1900).fire("db1")

    situation = story.situation()
    assert (situation.state, situation.reopened) == (SituationState.OPEN, 1)
    assert story.verbs() == ["open", "update", "resolve", "reopen"]
    assert any("reopened" in row.detail for row in story.told.audit if row.subject == "S-1")


def test_later_it_is_a_new_situation_that_names_the_previous_one():
    story = Story().fire("db1").at(60).resolve("db1").at(180).tick().at(180 + 1800).fire("db1")

    assert story.situation("S-2").previous == "S-1"
    assert story.verbs("S-1")[-1] == "resolve"


def test_a_situation_that_is_over_takes_no_new_alert():
    story = (
        Story(settings={"relate": {"window": "1h", "half_gap": "1h"}}).fire("db1").at(60).resolve("db1").at(200).tick()
    )

    story.at(210).fire("db1", name="Other")

    assert len(story.situation().members) == 1
    assert story.situation("S-2").state is SituationState.OPEN


@pytest.mark.parametrize(("reopen", "situation"), [("2h", "S-1"), ("5m", "S-2")])
def test_a_changed_reopening_time_counts_for_what_is_over_already(reopen: str, situation: str):
    story = Story().fire("db1").at(60).resolve("db1").at(200).tick().settings({"group": {"reopen": reopen}})

    story.at(3600 if reopen == "2h" else 1000).fire("db1")

    assert story.alert("db1").situation == situation


def test_nothing_that_is_over_stays_in_memory():
    story = Story(*SHOP)
    for _ in range(5):
        story.after(500).fire("shop", "db1", "esx1", "stray", severity="warning").after(40).tick().resolve(
            "shop", "db1", severity="warning"
        )
    merged_ids = list(story.engine.situations)
    assert merged_ids

    story.after(UNTIL_FORGOTTEN_S).tick()

    check_forgotten(story.engine)


def test_the_clock_of_timers_tells_when_a_tick_is_needed():
    story = Story()
    assert story.engine.next_due() is None

    story.fire("db1", severity="warning")

    assert story.engine.next_due() == NOON + seconds(30)


# ---- silences -------------------------------------------------------------------------------------------------------


def test_a_silence_holds_a_ticket_back_and_its_end_lets_it_out():
    story = Story().silence("q", 'host="db1"', for_s=600).fire("db1").at(300).tick()
    assert story.verbs() == []
    assert story.situation().held_by == "silenced by mira until 2026-03-02 12:10:00 UTC: planned work"

    story.at(700).tick()

    assert story.orders() == [(600.0, "open")]


def test_a_silence_that_begins_later_holds_from_then_on():
    story = Story().silence("q", 'host="db1"', for_s=600, starts_s=10).fire("db1").at(599).tick()
    assert story.verbs() == []

    story.expire_silence("q")

    assert story.orders() == [(599.0, "open")]


def test_a_silence_holds_no_resolution_back():
    story = (
        Story().fire("db1").at(60).tick().silence("q", 'host=~".*"', for_s=9000).at(100).resolve("db1").at(400).tick()
    )

    assert story.verbs()[-1] == "resolve"
    assert resolved_s(story) == 220


def test_one_alert_outside_the_silence_is_enough_to_tell():
    story = Story().silence("q", 'alertname="Down"', for_s=9000).fire("db1").at(35).fire("db1", name="Slow")

    assert story.verbs() == ["open"]


def test_a_silenced_situation_is_not_reopened_until_the_silence_ends():
    story = (
        Story()
        .fire("db1")
        .at(60)
        .resolve("db1")
        .at(200)
        .silence("q", 'host="db1"', for_s=400)
        .at(300)
        .fire("db1")
        .at(400)
        .tick()
    )
    assert story.verbs()[-1] == "resolve"

    story.at(700).tick()

    assert story.orders()[-1] == (600.0, "reopen")


# ---- people ---------------------------------------------------------------------------------------------------------


def test_a_ticket_that_a_person_resolved_is_left_alone():
    story = (
        Story()
        .fire("db1")
        .at(40)
        .tick()
        .person("resolved")
        .at(100)
        .fire("db1", name="Other")
        .at(200)
        .resolve("db1")
        .resolve("db1", name="Other")
    )
    story.at(500).tick().at(600).fire("db1").at(700).tick()

    assert story.verbs() == ["open"]
    assert story.situation().tickets["desk"].closed_by == "mira"


def test_a_ticket_that_a_person_reopened_is_kept_in_step_again():
    story = (
        Story()
        .fire("db1")
        .at(40)
        .tick()
        .person("resolved")
        .at(50)
        .person("reopened")
        .at(100)
        .resolve("db1")
        .at(400)
        .tick()
    )

    assert story.verbs()[-1] == "resolve"


def test_a_ticket_that_a_person_reopened_after_the_end_is_theirs_until_it_fires_again():
    story = Story().fire("db1").at(60).resolve("db1").at(200).tick().at(210).person("reopened").at(500).tick()
    assert story.verbs() == ["open", "update", "resolve"]

    story.at(600).fire("db1").at(700).resolve("db1").at(900).tick()

    assert story.verbs()[3:] == ["update", "update", "resolve"]


def test_who_took_a_ticket_is_known_and_a_change_seen_twice_counts_once():
    story = Story().fire("db1").at(40).tick().person("taken")
    story.records[-1:] = []
    before = len(story.told.audit)

    story._sequence = 0
    story.person("resolved", actor="somebody")

    assert story.situation().tickets["desk"].assignee == "mira"
    assert story.situation().tickets["desk"].open
    assert len(story.told.audit) == before


def test_the_sink_s_number_is_kept():
    story = Story().fire("db1").at(40).tick().sink_says("confirmed", number="INC7")

    ticket = story.situation().tickets["desk"]
    assert (ticket.number, ticket.state) == ("INC7", "confirmed")


def test_a_change_of_a_ticket_we_never_asked_for_starts_no_updates():
    story = (
        Story(settings={"ticket": {"delay": "10m", "delay_by_priority": {1: "10m"}}})
        .fire("db1")
        .at(5)
        .person("taken")
        .at(300)
        .tick()
    )

    assert story.verbs() == []


# ---- topology and settings while it runs ----------------------------------------------------------------------------


def test_a_new_topology_says_anew_which_ci_an_alert_is_about():
    story = Story().fire("db1:9100")
    assert story.alert("db1:9100").bound_by == "label host, not in the topology"
    assert alert_view(story.alert("db1:9100"), story.engine, None, None).confidence == "implied"

    story.at(10).topology("shop depends_on db1", criticality={"shop": 1}).fire("shop")

    assert story.alert("db1:9100").bound_by == "label host without its port"
    assert alert_view(story.alert("db1:9100"), story.engine, None, None).confidence == "id"
    assert story.groups() == [["db1", "shop"]]
    assert story.situation().priority == 1


def test_what_a_new_topology_changed_survives_a_restart():
    story = Story().fire("db1", severity="warning")
    engine, state = story.engine, {}
    for kind, key, body in engine.checkpoint():
        state[kind, key] = body
    story.at(10).topology("shop depends_on db1", criticality={"shop": 3})
    for kind, key, body in engine.checkpoint():
        state[kind, key] = body

    new = new_engine()
    new.restore([(kind, key, body) for (kind, key), body in state.items() if body is not None])

    assert new.encode(new.situations["S-1"]) == engine.encode(story.situation())


def test_new_settings_count_at_once():
    story = Story(settings={"ticket": {"delay": "10m"}}).fire("db1").at(60).tick()
    assert story.verbs() == []

    story.settings({})

    assert story.orders() == [(60.0, "open")]


# ---- what cannot be read --------------------------------------------------------------------------------------------


def test_a_bad_item_costs_one_dead_letter_and_no_neighbour():
    story = Story().post({"labels": {"host": "a"}}, {"labels": {}}, 7, {"labels": {"host": "b"}})

    assert [(letter.item, letter.payload) for letter in story.told.dead_letters][1:] == [(2, b"7")]
    assert story.groups() == [["a"], ["b"]]
    assert story.engine.sources["alertmanager"].rejected == 2


def test_a_body_that_is_no_json_is_one_dead_letter():
    story = Story().body(b"<xml/>")

    (letter,) = story.told.dead_letters
    assert (letter.item, letter.payload, letter.source) == (-1, b"<xml/>", "alertmanager")


def test_a_record_of_a_collector_that_is_gone_is_a_dead_letter():
    engine = new_engine()

    effects = engine.step(
        [(Record(number=1, at=NOON, kind=RecordKind.EVENTS, body=b"[]", collector="gone", source="x"), None)]
    )

    assert "gone" in effects.dead_letters[0].error


def test_decoded_items_and_the_body_give_the_same():
    body = b'[{"labels":{"host":"a"}},{"labels":{}}]'
    record = Record(number=1, at=NOON, kind=RecordKind.EVENTS, body=body, collector="alertmanager", source="x")
    one, other = new_engine(), new_engine()

    first = one.step([(record, None)])
    second = other.step([(record, Items(other.collectors["alertmanager"].decode(body)))])

    assert first == second
    assert one.encode(one.situations["S-1"]) == other.encode(other.situations["S-1"])
