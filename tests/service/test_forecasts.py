"""A forecast opens one proactive problem for its CI, which comes true or expires; it opens no incident."""

import msgspec
import pytest

from correlation import forecast as foresight
from correlation.settings import ForecastSettings
from foreshock.core.contracts import ProblemReading, RecordKind, TicketChange
from foreshock.service import patterns
from foreshock.testing.records import (
    UNTIL_FORGOTTEN_S,
    Story,
    check_forecasts,
    check_forgotten,
    check_problems,
    check_same,
)

HOUR = 3600.0
DAY = 24 * HOUR
SHOP = ("shop depends_on db1", "web depends_on db2")


def expecting(probability=0.9, **settings):
    return Story(*SHOP, criticality={"shop": 2}, settings=settings).forecast("db1", probability)


def told(story):
    return [(order.verb.value, order.key, order.note.split(":")[0]) for order in story.told.problem_orders]


def checked(story):
    check_forecasts(story.told, story.engine)
    check_problems(story.told, story.engine)
    check_same(story.records, restarts=range(len(story.records)))
    return story


def view(story, name="P-1"):
    return patterns.show(story.engine, name)


def labels(story):
    return [
        (row.subject, row.action) for row in story.told.audit if row.kind == "forecast" and "problem" not in row.action
    ]


def test_a_likely_forecast_opens_a_problem_and_no_incident():
    story = checked(expecting())

    (order,) = story.told.problem_orders
    assert (order.verb.value, order.key, order.sink, order.incidents) == ("open", "P-1", "desk", ())
    assert (order.fields["title"], order.fields["ci"]) == ("Expected: incident on db1", "db1")
    assert "Business services that depend on it: shop" in order.fields["description"]
    assert "- disk usage rises (+1.50)" in order.fields["description"]
    assert order.note == "Opened by Foreshock: 90%: an incident on db1 within 24 hours, says net@1."
    assert story.told.orders == []
    assert not story.engine.situations


def test_each_sink_that_keeps_problems_hears_of_it():
    story = Story(*SHOP).settings({}, sinks=("desk", "other")).forecast("db1")

    assert [(order.sink, order.verb.value) for order in checked(story).told.problem_orders] == [
        ("desk", "open"),
        ("other", "open"),
    ]


def test_one_that_is_not_likely_enough_opens_none_and_it_is_said_why():
    story = checked(expecting(0.69))

    assert told(story) == []
    assert view(story, "db1").reason.startswith("69%, and 70% are needed")
    assert [each.kind for each in patterns.listed(story.engine, watched=True, limit=9)] == ["proactive"]
    assert patterns.listed(story.engine, watched=False, limit=9) == []
    assert [row.action for row in story.told.audit if row.kind == "forecast"] == ["opens no problem"]


def test_a_model_that_keeps_a_budget_of_false_alarms_says_itself_what_is_worth_a_problem():
    story = Story(*SHOP).forecast("db1", 0.2, alarm=True).forecast("db2", 0.95, alarm=False)

    assert told(checked(story)) == [("open", "P-1", "Opened by Foreshock")]
    assert view(story, "db2").reason.startswith("95%, too little for its budget of false alarms")


def test_no_more_than_the_budget_are_expected_at_a_time():
    settings = {"problem": {"forecast": {"max_open": 1}}}
    story = Story(*SHOP, settings=settings).forecast("db1").forecast("db2")

    assert told(checked(story)) == [("open", "P-1", "Opened by Foreshock")]
    assert view(story, "db2").reason.startswith("1 proactive problems are open, and max_open is 1")

    story.after(25 * HOUR).tick().forecast("db2")
    assert told(checked(story))[-1][:2] == ("open", "P-2")


def test_a_repeat_changes_nothing_however_often_and_late_it_is_sent():
    story = expecting()
    for pause in (0, 60, 5 * HOUR, 3 * DAY):
        story.after(pause).forecast("db1", made_s=0)

    assert told(checked(story)) == [
        ("open", "P-1", "Opened by Foreshock"),
        ("update", "P-1", "Expired"),
    ]


def test_a_repeat_after_it_came_true_opens_no_other_one():
    story = expecting().after(HOUR)
    story.fire("db1").after(60).tick().resolve("db1").after(2 * HOUR).tick().forecast("db1", model="other@1", made_s=0)

    assert [order.key for order in checked(story).told.problem_orders if order.verb.value == "open"] == ["P-1"]


def test_a_further_forecast_is_told_when_it_has_changed_and_not_too_often():
    story = expecting(0.75)
    story.after(600).forecast("db1", 0.95)
    assert len(told(checked(story))) == 1, "the hour of update_every is not over"

    story.after(HOUR).forecast("db1", 0.8)
    assert len(told(checked(story))) == 1, "it has hardly changed"

    story.after(600).forecast("db1", 0.96)
    assert story.told.problem_orders[-1].note.startswith("Now 96% (it was 75%)")
    assert "96%" in story.told.problem_orders[-1].fields["description"]


def test_what_another_model_thinks_less_likely_changes_nothing():
    story = expecting(0.9).after(2 * HOUR).forecast("db1", 0.72, model="late@3")

    assert len(told(checked(story))) == 1
    assert view(story).forecast.model == "net@1"


def test_an_incident_on_the_ci_confirms_it_and_each_names_the_other():
    story = expecting().after(3 * HOUR).fire("db1").after(40).tick()
    assert told(story)[1:] == [("update", "P-1", "Confirmed")]
    assert story.told.problem_orders[-1].note == "Confirmed: S-1 began 3 hours after this was opened."
    assert "Expected by problem P-1, 3 hours before: 90% of net@1." in story.told.orders[0].note

    story.sink_says("confirmed", "S-1", sequence=9, number="INC1").sink_says(
        "confirmed", "S-1", sequence=9, number="INC1"
    )
    assert [order.incidents for order in checked(story).told.problem_orders] == [(), (), ("S-1",)]
    description = story.told.problem_orders[-1].fields["description"]
    assert description.endswith("It came true as S-1 (INC1), 3 hours after the problem was opened.")
    assert labels(story) == [("P-1", "hit")]
    assert (view(story).state, view(story).confirmed_by) == ("confirmed", "S-1")


def test_what_an_incident_confirmed_goes_with_it_into_another():
    story = expecting().forecast("db1", 0.8, model="late@2").fire("db1").after(HOUR).fire("db2")
    assert [row.situation for row in story.told.ledger.values()] == ["S-1", "S-1"]

    story.judge("merge", situation="S-2", other="S-1")

    assert story.engine.situations["S-1"].merged_into == "S-2"
    assert [row.situation for row in checked(story).told.ledger.values()] == ["S-2", "S-2"]
    assert story.engine.forecasts.problems["P-1"].situation == "S-2"


def test_the_incident_may_begin_elsewhere_and_reach_the_ci_later():
    story = expecting().after(HOUR).fire("shop").after(5).fire("db1")

    assert checked(story).engine.forecasts.problems["P-1"].situation == "S-1"


def test_an_incident_elsewhere_confirms_nothing():
    story = expecting().after(HOUR).fire("db2").after(60).tick()

    assert view(checked(story)).state == "expected"


def test_without_an_incident_it_expires_at_the_horizon_and_closing_is_proposed():
    story = expecting().after(DAY - 1).tick()
    assert view(story).state == "expected"

    story.after(1).tick()
    assert "proposes to close it" in checked(story).told.problem_orders[-1].note
    assert labels(story) == [("P-1", "false alarm")]
    assert (view(story).state, view(story).quiet_since) == ("expired", story.now)


def test_an_incident_after_the_horizon_confirms_nothing_any_more():
    story = expecting().after(DAY).fire("db1").after(60).tick()

    assert labels(checked(story)) == [("P-1", "false alarm")]


def test_likely_forecasts_keep_it_open_and_unlikely_ones_do_not():
    story = expecting().after(20 * HOUR).forecast("db1", 0.8).after(5 * HOUR).tick()
    assert view(story).state == "expected"

    story.forecast("db1", 0.2).after(19 * HOUR).tick()
    assert view(checked(story)).state == "expired"


def test_a_forecast_that_is_repeated_forever_is_wrong_one_day_and_then_heard_less():
    story = expecting()
    for _ in range(15):
        story.after(12 * HOUR).forecast("db1")
    assert labels(checked(story)) == [("P-1", "false alarm")]
    assert "P-1 of this model was a false alarm" in view(story, "db1").reason

    story.after(25 * HOUR).forecast("db1")
    assert told(checked(story))[-1][:2] == ("open", "P-2")


def test_while_an_incident_is_open_there_nothing_is_opened():
    story = Story(*SHOP).fire("db1").after(10).forecast("db1")

    assert told(checked(story)) == []
    assert view(story, "db1").reason.startswith("S-1 is open there already")


def test_what_people_closed_hears_nothing_more_and_frees_the_budget():
    story = expecting(problem={"forecast": {"max_open": 1}})
    story.sink_says("confirmed", "P-1", sequence=1, number="PRB1")
    change = TicketChange(
        sink="desk", situation="P-1", sequence=0, state="read", problem=ProblemReading(ended="closed")
    )
    story._add(RecordKind.TICKET, msgspec.json.encode(change))
    assert view(story, "PRB1").state == "ended"

    story.after(2 * HOUR).forecast("db1", 0.75).forecast("db2").after(DAY).tick()

    assert [order.key for order in checked(story).told.problem_orders] == ["P-1", "P-2", "P-2"]
    assert ("P-1", "false alarm") in labels(story)


def test_a_sink_that_refused_it_is_asked_again_with_what_is_new():
    story = expecting(0.75).sink_says("rejected", "P-1", sequence=1).after(2 * HOUR).forecast("db1", 0.95)

    assert [order.verb.value for order in checked(story).told.problem_orders] == ["open", "open"]


def test_a_forecast_for_what_the_topology_does_not_know_is_counted_and_told_and_forgotten():
    story = Story(*SHOP, settings={"bind": {"implied": False}}).forecast("nowhere")

    assert told(checked(story)) == []
    assert (story.engine.counts["forecasts"], story.engine.counts["forecasts_unbound"]) == (1, 1)
    assert [(row.subject, row.action) for row in story.told.audit if row.kind == "forecast"] == [
        ("nowhere", "is about no CI")
    ]
    assert not story.engine.forecasts


def test_without_a_topology_it_is_about_the_ci_that_its_alerts_make_up():
    story = Story().forecast("web7.example.com:9100", **VAR).after(HOUR)
    story.fire("web7.example.com", name="DiskFull", labels={"mountpoint": "/var"}).after(40).tick()

    assert ledger(checked(story)) == {"F-1": (VAR["about"], "confirmed", "P-1", "S-1")}


def test_what_is_remembered_is_bounded_and_what_was_over_first_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(foresight, "MAX_ENDED", 2)
    monkeypatch.setattr(foresight, "MAX_HEARD", 20)
    story = Story(*SHOP)
    for day in range(4):
        story.forecast("db1", horizon_h=1).after(2 * DAY).tick()
        assert len(story.engine.forecasts.problems) <= 2, f"after {day + 1} false alarms"
    for number in range(50):
        story.forecast("db2", 0.1, model=f"m@{number}").after(1)

    assert list(checked(story).engine.forecasts.problems) == ["P-3", "P-4"]
    assert len(story.engine.forecasts.heard) <= 20
    assert "m@49\ndb2" in story.engine.forecasts.heard


def test_all_of_it_is_forgotten_in_the_end():
    story = expecting().forecast("db2", 0.3).after(HOUR).fire("db1").after(60).tick().resolve("db1")

    check_forgotten(story.after(UNTIL_FORGOTTEN_S).tick().after(UNTIL_FORGOTTEN_S).tick().engine)


VAR = {"about": "disk_used mount=/var", "signs": ("/var",), "summary": "/var is full in 9 h (7 to 13 h)"}
SPOOL = {"about": "disk_used mount=/spool", "signs": ("/spool",)}


def ledger(story):
    return {row.id: (row.about, row.outcome.value, row.problem, row.situation) for row in story.told.ledger.values()}


def disk_full(story, mount, name="DiskFull"):
    return story.fire("db1", name=name, labels={"mountpoint": mount}).after(40).tick()


def test_each_thing_a_forecast_is_about_has_its_own_problem():
    story = Story(*SHOP).forecast("db1", **VAR, earliest_h=4.0, latest_h=9.0).forecast("db1", 0.8, **SPOOL)
    story.forecast("db1", 0.95)

    titles = [order.fields["title"] for order in checked(story).told.problem_orders]
    assert titles == [
        "Expected: disk_used mount=/var on db1",
        "Expected: disk_used mount=/spool on db1",
        "Expected: incident on db1",
    ]
    description = story.told.problem_orders[0].fields["description"]
    assert description.startswith("90%: /var is full in 9 h (7 to 13 h), most likely about 2026")
    assert "(between " in description


def test_only_an_incident_of_its_kind_confirms_it():
    story = Story(*SHOP).forecast("db1", **VAR).forecast("db1", **SPOOL).after(HOUR)

    assert view(disk_full(story, "/opt")).state == "expected"
    disk_full(story, "/var")
    assert [view(story, name).state for name in ("P-1", "P-2")] == ["confirmed", "expected"]
    assert ledger(checked(story)) == {
        "F-1": (VAR["about"], "confirmed", "P-1", "S-1"),
        "F-2": (SPOOL["about"], "expected", "P-2", ""),
    }


def test_another_incident_on_the_ci_keeps_nobody_from_hearing_of_it_and_one_of_its_kind_does():
    story = disk_full(Story(*SHOP), "/opt").forecast("db1", **VAR)
    assert told(story) == [("open", "P-1", "Opened by Foreshock")]

    story = disk_full(Story(*SHOP), "/var").forecast("db1", **VAR)
    assert view(checked(story), "db1").reason.startswith("S-1 is open there already")
    assert ledger(story) == {}, "what is there already was not foreseen"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"mountpoint": "/var"}, True),
        ({"summary": "FS [/VAR]: space is low"}, True),
        ({"mountpoint": "/var/log"}, False),
        ({"alertname": "NodeMemoryHigh"}, True),
        ({"alertname": "NodeFilesystemFull", "mountpoint": "/"}, False),
    ],
)
def test_labels_show_a_sign_as_a_word_or_where_it_is_plain_within_one(labels, found):
    assert foresight.shows(labels, ("/var", "memory")) is found


def test_during_maintenance_of_its_ci_none_is_opened_and_afterwards_it_is():
    story = Story(*SHOP).window("W", "db1", spans_s=[(0, 2 * HOUR)]).forecast("db1").forecast("db2")
    assert [order.fields["ci"] for order in story.told.problem_orders] == ["db2"]
    assert "maintenance" in view(checked(story), "db1").reason.lower()

    story.after(3 * HOUR).tick().forecast("db1")
    assert [order.fields["ci"] for order in checked(story).told.problem_orders] == ["db2", "db1"]


def test_what_its_model_takes_back_is_withdrawn_and_counts_as_a_false_alarm():
    story = expecting().after(HOUR)
    story.forecast("db1", 0.9, model="other@1", state="withdrawn", summary="it falls since noon")
    assert view(story).state == "expected", "another model has nothing to take back"

    story.forecast("db1", 0.1, state="withdrawn", summary="it falls since noon")

    note = checked(story).told.problem_orders[-1].note
    assert note.startswith("Withdrawn by net@1: it falls since noon.")
    assert (view(story).state, labels(story)) == ("withdrawn", [("P-1", "false alarm")])
    assert ledger(story) == {"F-1": ("", "withdrawn", "P-1", "")}

    story.after(HOUR).forecast("db1")
    assert told(checked(story))[-1][:2] == ("open", "P-2"), "it is no reason for not hearing of it again"


def test_what_its_model_saw_happen_has_come_true_without_an_incident():
    story = expecting().after(5 * HOUR).forecast("db1", 1.0, state="reached", summary="/var is full")

    assert checked(story).told.problem_orders[-1].note.startswith("Confirmed: /var is full. That is 5 hours after")
    assert (view(story).state, labels(story)) == ("confirmed", [("P-1", "hit")])
    assert ledger(story) == {"F-1": ("", "reached", "P-1", "")}


def test_the_incident_of_what_its_model_saw_happen_may_come_later():
    story = expecting().after(5 * HOUR).forecast("db1", 1.0, state="reached", summary="/var is full")
    story.after(600).fire("db1").after(60).tick()

    assert ledger(checked(story)) == {"F-1": ("", "reached", "P-1", "S-1")}
    assert (view(story).state, view(story).confirmed_by) == ("confirmed", "S-1")
    assert "Expected by problem P-1, 5 hours before" in story.told.orders[0].note

    story.sink_says("confirmed", "S-1", sequence=9, number="INC1")
    assert checked(story).told.problem_orders[-1].incidents == ("S-1",)


def test_what_opens_no_problem_though_it_is_likely_is_in_the_ledger_too():
    settings = {"problem": {"forecast": {"max_open": 1}}}
    story = Story(*SHOP, settings=settings).forecast("db1", 0.8).forecast("db2", 0.8).forecast("web", 0.5)
    story.forecast("db1", 0.75, model="late@2").after(HOUR).fire("db2").after(DAY).tick()

    rows = checked(story).told.ledger
    assert [(row.ci, row.model, row.problem, row.outcome.value) for row in rows.values()] == [
        ("db1", "net@1", "P-1", "expired"),
        ("db2", "net@1", "", "confirmed"),
        ("db1", "late@2", "", "expired"),
    ]
    assert rows["F-2"].reason == "1 proactive problems are open, and max_open is 1"
    assert (rows["F-2"].ended_at - rows["F-2"].heard_at).total_seconds() == HOUR
    assert story.engine.foretold == {
        "net@1": {"announced": 2, "expired": 1, "confirmed": 1},
        "late@2": {"announced": 1, "expired": 1},
    }


def test_what_is_forgotten_for_its_number_has_an_unknown_outcome(monkeypatch):
    monkeypatch.setattr(foresight, "MAX_HEARD", 20)
    story = Story(*SHOP)
    for number in range(25):
        story.forecast("db2", model=f"m@{number}").after(1)

    outcomes = [row.outcome.value for row in checked(story).told.ledger.values()]
    assert outcomes[:2] == ["unknown", "unknown"]
    assert outcomes[-1] == "expected"


@pytest.mark.parametrize("name", ["max_open", "probability"])
def test_settings_have_defaults_that_are_on(name):
    assert getattr(ForecastSettings(), name) > 0
