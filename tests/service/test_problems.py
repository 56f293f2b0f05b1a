"""Incidents that come back make a problem: one in each sink that keeps problems, told of each incident once."""

import msgspec

from correlation.closing import Label
from foreshock.core.contracts import ProblemReading, RecordKind, TicketChange, Verb
from foreshock.service import engine_metrics, patterns
from foreshock.testing.records import Story, check_problems, check_same

DAY = 86_400.0
SHOP = ("shop depends_on db1",)


def told(story):
    return [(order.verb.value, order.key, order.sink, order.incidents) for order in story.told.problem_orders]


def checked(story):
    check_problems(story.told, story.engine)
    check_same(story.records, restarts=range(len(story.records)))
    return story


def recurring(times=3, pause_s=3 * DAY, **settings):
    story = Story(*SHOP, settings=settings)
    for _ in range(times):
        story.incident("db1", "shop")
        story.after(pause_s)
    return story.tick()


def reads(story, key="P-1", sink="desk", **found):
    """Somebody did something to the problem, and it was read."""
    change = TicketChange(sink=sink, situation=key, sequence=0, state="read", problem=ProblemReading(**found))
    return story._add(RecordKind.TICKET, msgspec.json.encode(change))


def view(story, name="P-1"):
    return patterns.view(story.engine, patterns.find(story.engine, name))


def test_the_third_time_in_thirty_days_opens_a_problem_that_links_all_three():
    story = checked(recurring())

    assert told(story) == [("open", "P-1", "desk", ("S-1", "S-2", "S-3"))]
    order = story.told.problem_orders[0]
    assert order.fields["title"] == "Recurring: Down on db1"
    assert (order.fields["ci"], order.fields["priority"]) == ("db1", 3)
    assert order.note == "Opened by Foreshock: 3rd time in 6 days; 3 in 30d are enough."


def test_twice_is_none_and_it_is_said_why():
    story = checked(recurring(2))

    assert told(story) == []
    assert view(story, "S-2").reason == "2 of 3 in 30d"
    assert patterns.listed(story.engine, watched=False, limit=9) == []
    assert [each.state for each in patterns.listed(story.engine, watched=True, limit=9)] == ["watched"]


def test_each_further_time_is_told_once_with_what_was_changed_before():
    story = recurring().change("C9", "db1", title="tune").after(60)
    story.incident("db1", "shop")

    checked(story)
    assert told(story)[1:] == [("update", "P-1", "desk", ("S-4",))]
    assert "last change before it: C9 tune, 1 minute before" in story.told.problem_orders[1].note


def test_a_sink_hears_of_a_problem_once_it_has_confirmed_a_ticket_of_it():
    story = recurring(2).settings({}, sinks=("desk", "other"))
    story.fire("db1").after(31).tick()
    assert told(story) == []

    story.sink_says("confirmed", "S-3", sink="other", sequence=99, number="X-3")
    assert told(story) == [("open", "P-1", "other", ("S-3",))]

    story.sink_says("confirmed", "S-3", sequence=98, number="INC3").sink_says("confirmed", "S-3", sequence=98)
    assert told(checked(story))[1:] == [("open", "P-1", "desk", ("S-1", "S-2", "S-3"))]


def test_a_ticket_that_is_confirmed_long_after_its_incident_was_forgotten_is_linked_still():
    story = Story(*SHOP)
    for _ in range(3):
        story.fire("db1").after(31).tick().after(300).resolve("db1").after(DAY).tick()
    assert not story.engine.situations

    story.sink_says("confirmed", "S-2", sequence=9, number="INC2")

    assert told(checked(story)) == [("open", "P-1", "desk", ("S-2",))]


def test_what_a_sink_without_problems_holds_makes_no_order():
    story = recurring(2)
    body = msgspec.json.decode(story.records[0].body)
    story._add(RecordKind.SETTINGS, msgspec.json.encode({**body, "problem_sinks": []}))
    story.incident("db1")

    assert told(story) == []
    assert view(story).state == "open"


def test_other_causes_other_alerts_and_what_is_less_urgent_do_not_count():
    story = Story(*SHOP)
    for ci, name in (("db1", "Down"), ("shop", "Down"), ("db1", "Full"), ("db1", "Down")):
        story.incident(ci, name=name)
        story.after(DAY)
    for _ in range(3):
        story.fire("mail", severity="info").after(40).tick().resolve("mail", severity="info").after(DAY).tick()

    assert told(checked(story)) == []
    assert sorted(each.total for each in story.engine.patterns.by_id.values()) == [1, 1, 2]


def test_what_settings_exclude_never_makes_a_problem():
    story = recurring(4, problem={"exclude": [['alertname="Down"', 'host=~"db.*"']]})

    assert told(checked(story)) == []
    assert len(story.engine.patterns) == 0


def test_an_incident_that_is_reopened_is_one():
    story = Story(*SHOP)
    for offset in range(4):
        story.fire("db1").after(40).tick().sink_says("confirmed", sequence=offset + 1).resolve("db1").after(600).tick()

    assert [each.total for each in checked(story).engine.patterns.by_id.values()] == [1]


def test_what_was_closed_as_a_false_alarm_does_not_count():
    story = recurring(2).person("closed", "S-2", code="False positive", comment="probe was wrong")
    story.incident("db1")

    assert told(checked(story)) == []
    occurrence = story.engine.patterns.of("S-2").of("S-2")
    assert (occurrence.label, occurrence.said) == (Label.FALSE_ALARM, "probe was wrong")
    assert occurrence.how == "closed by mira as False positive"


def test_after_a_quiet_month_closing_is_proposed_and_a_recurrence_takes_that_back():
    story = recurring().after(31 * DAY).tick()
    assert view(story).state == "quiet"
    assert told(story)[1:] == [("update", "P-1", "desk", ())]
    assert "proposes to close it" in story.told.problem_orders[1].note

    story.incident("db1")

    assert view(checked(story)).state == "open"
    assert told(story)[2:] == [("update", "P-1", "desk", ("S-4",))]


def test_nothing_is_proposed_while_an_incident_lasts():
    story = recurring(2).fire("db1", holds_s=50 * DAY).after(31).tick().after(40 * DAY).tick()

    assert view(checked(story)).state == "open"


def test_a_recurrence_of_what_people_ended_opens_a_problem_that_follows_it():
    story = recurring().sink_says("confirmed", "P-1", sequence=900, number="PRB1")
    reads(story, ended="closed", by="mira", known_error="replace the disk")
    assert view(story).state == "ended"

    story.incident("db1")

    assert told(checked(story))[1:] == [("open", "P-1-2", "desk", ("S-4",))]
    order = story.told.problem_orders[1]
    assert "It follows PRB1" in order.fields["description"]
    assert "Known error" not in order.note
    assert [(each.previous, each.known_error) for each in view(story).records] == [("PRB1", "replace the disk")]


def test_what_a_sink_refused_is_opened_anew_with_all_incidents_the_next_time():
    story = recurring().sink_says("rejected", "P-1", sequence=900, number="")
    story.incident("db1")

    assert told(story)[1:] == [("open", "P-1", "desk", ("S-1", "S-2", "S-3", "S-4"))]


def test_a_known_error_is_told_to_the_next_incident():
    story = recurring().sink_says("confirmed", "P-1", sequence=900, number="PRB1")
    reads(story, known_error="restart the pool")
    story.fire("db1").after(31).tick()

    note = next(order.note for order in story.told.orders if (order.situation, order.verb) == ("S-4", Verb.OPEN))
    assert "Part of problem PRB1: 4 times in" in note
    assert "Known error (PRB1): restart the pool" in note
    assert view(checked(story)).known_error == "restart the pool"


def test_a_new_ticket_tells_how_similar_ones_ended():
    story = recurring(1).person("closed", "S-1", code="Fixed", comment="replaced the disk")
    story.fire("db1").after(31).tick()

    order = next(order for order in story.told.orders if (order.situation, order.verb) == ("S-2", Verb.OPEN))
    assert "S-1 (INC1): closed by mira as Fixed: replaced the disk" in order.fields["description"]


def test_what_was_read_twice_is_told_once():
    story = recurring().sink_says("confirmed", "P-1", sequence=900, number="PRB1")
    for _ in range(2):
        reads(story, known_error="restart the pool")

    assert [row.action for row in story.told.audit if row.kind == "problem"].count("known error") == 1


def test_a_situation_that_was_merged_was_no_incident_of_its_own():
    story = Story("web runs_on esx", "mail runs_on nas").fire("web", "mail").after(31).tick()
    assert len(story.engine.patterns) == 2

    story.judge("merge", situation="S-1", other="S-2")

    assert [each.of("S-1") is not None for each in checked(story).engine.patterns.by_id.values()] == [True]


def test_one_timer_is_there_for_all_that_is_remembered():
    story = Story()
    for number in range(30):
        story.incident(f"n{number}", lasts_s=30)
    story.after(8 * 3600).tick()

    assert len(checked(story).engine.patterns) >= 10
    assert len(story.engine.timers) <= 3


def test_what_has_not_come_back_for_a_year_is_forgotten():
    story = recurring().after(366 * DAY).tick()

    assert len(checked(story).engine.patterns) == 0
    assert ("problem", "P-1", "forgotten") in [(row.kind, row.subject, row.action) for row in story.told.audit]


def test_a_shorter_quiet_time_counts_at_once():
    story = recurring().settings({"problem": {"quiet": "4d", "within": "4d"}}).after(2 * DAY).tick()

    assert view(checked(story)).state == "quiet"


# ---- close codes ----


def test_as_what_people_closed_a_ticket_is_kept_with_it_and_told():
    story = Story(*SHOP, settings={"ticket": {"close_codes": {"Fehlalarm": "false_alarm"}}})
    story.fire("db1").after(31).tick().person("closed", code="FEHLALARM", comment="probe was wrong")

    assert story.situation().tickets["desk"].label == "false_alarm"
    row = next(row for row in story.told.audit if row.kind == "ticket" and row.action == "closed")
    assert row.detail == "desk INC1 [FEHLALARM, false alarm] probe was wrong"

    story.person("reopened")
    assert story.situation().tickets["desk"].label == ""


def test_a_word_that_nobody_knows_is_told_and_means_nothing():
    story = Story().fire("db1").after(31).tick().person("closed", code="Abgehakt")

    assert story.situation().tickets["desk"].label == ""
    assert "[Abgehakt]" in next(row.detail for row in story.told.audit if row.action == "closed")


def test_problems_are_counted_by_their_state():
    story = recurring().after(31 * DAY).tick()
    story.incident("mail")

    (family,) = [one for one in engine_metrics.families(story.engine) if one.name == "foreshock_problems"]
    assert {sample.labels["state"]: sample.value for sample in family.samples} == {
        "watched": 1, "open": 0, "quiet": 1, "ended": 0,
    }  # fmt: skip
