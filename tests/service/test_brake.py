"""Tickets become due too fast: one of them is for the rest, and what is more urgent does not drown in it."""

from typing import Any

from foreshock.core.contracts import Verb
from foreshock.core.model import HeldKind, JudgementKind, Situation, SituationState
from foreshock.testing.records import Story, check_brake, check_nothing_is_due, check_same, check_umbrellas

ALONE = {"threshold": 0.6, "quiet": "2m"}


def unrelated(most: int = 2, **fields: Any) -> Story:
    """Nothing has to do with anything else, and so many tickets may be opened in a minute."""
    return Story(settings=chosen(most), **fields)


def chosen(most: int, **umbrella: Any) -> dict[str, Any]:
    return {"group": ALONE, "ticket": {"max_new_per_minute": most}, "umbrella": umbrella}


def storm(number: int = 6, most: int = 2, severity: str = "warning", **fields: Any) -> Story:
    """S-1 to S-``most`` have their tickets, the next one has that for the others."""
    story = unrelated(most, **fields)
    for each in range(number):
        story.fire(f"h{each}", severity=severity).after(1)
    return story.after(30).tick()


def opened(story: Story, sink: str = "desk") -> list[str]:
    check_brake(story)
    check_umbrellas(story.engine)
    check_nothing_is_due(story.engine)
    return [order.situation for order in story.told.orders if order.verb is Verb.OPEN and order.sink == sink]


def under(story: Story, parent: str = "S-3") -> list[str]:
    return [each.id for each in story.engine.situations.values() if each.parent == parent]


def storms(story: Story) -> list[tuple[str, str]]:
    return [(row.subject, row.action) for row in story.told.audit if row.kind == "storm"]


def held(situation: Situation) -> list[tuple[HeldKind, str]]:
    return [(each.kind, each.id) for each in situation.held]


def test_of_what_comes_too_fast_one_has_the_ticket_for_the_rest():
    story = storm()

    assert opened(story) == ["S-1", "S-2", "S-3"]
    assert under(story) == ["S-4", "S-5", "S-6"]
    assert held(story.situation("S-6")) == [(HeldKind.STORM, "S-3")]
    assert story.situation("S-6").held_by == "tickets were due too fast: S-3 has the one for the rest"


def test_as_many_as_may_be_in_a_minute_are_no_storm():
    story = unrelated().fire("h0", "h1").after(61).fire("h2", "h3").after(61).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-4"]
    assert storms(story) == []


def test_without_a_bound_each_has_its_ticket():
    assert len(opened(storm(most=0))) == 6


def test_the_ticket_says_what_it_is_for_and_lists_the_worst():
    story = storm().after(61).tick()
    first, last = (
        [order for order in story.told.orders if order.situation == "S-3"][which].fields for which in (0, -1)
    )

    assert first["title"] == "Storm of incidents: Down on h2"
    assert last["title"] == "Storm of incidents: Down on h2, and 3 more situations"
    assert last["description"].splitlines()[:5] == [
        "This ticket is also for 3 situations that came when tickets were due faster than `ticket.max_new_per_minute` "
        "lets them be opened; 3 of them are not over. All together: 4 alerts on 4 CIs, 4 active.",
        "",
        "The most urgent under it:",
        "- P5 S-4: Down on h3, 1 alerts",
        "- P5 S-5: Down on h4, 1 alerts",
    ]


def test_it_goes_to_the_default_group_for_it_is_about_no_one_place():
    settings = {**chosen(1), "assignment": {"default": "noc"}}
    story = Story("h1 runs_on rack", owners={"h1": "linux"}, settings=settings)
    story.fire("h0", "h1", "h2").after(31).tick()
    (order,) = [order for order in story.told.orders if order.situation == "S-2" and order.verb is Verb.OPEN]

    assert order.fields["title"] == "Storm of incidents: Down on h1"
    assert order.fields["assignment_group"] == "noc"


def test_what_is_more_urgent_than_what_stands_back_has_its_own_ticket():
    story = storm().fire("db1", severity="critical").after(30).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-7"]


def test_what_becomes_more_urgent_than_the_rest_comes_out():
    story = storm().fire("h4", name="Lost", severity="critical").after(1).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-5"]
    assert under(story) == ["S-4", "S-6"]


def test_not_even_the_urgent_are_more_than_twice_as_many_in_a_minute():
    story = storm(4).fire("db0", "db1", "db2", severity="critical").after(29).tick()
    assert opened(story) == ["S-1", "S-2", "S-3"]

    story.after(1).tick()
    assert opened(story) == ["S-1", "S-2", "S-3", "S-5"]
    assert under(story) == ["S-4", "S-6", "S-7"]


def test_a_storm_is_told_of_when_it_begins_and_when_it_is_over():
    story = storm().after(20).tick()
    assert storms(story) == [("S-3", "storm began")]

    story.after(60).tick()
    assert storms(story) == [("S-3", "storm began"), ("S-3", "storm ended")]
    assert story.engine.counts["storms"] == 1
    assert story.engine.counts["braked"] == 3


def test_once_it_is_over_what_is_new_has_its_own_ticket_and_what_stood_back_stays():
    story = storm().after(120).fire("new").after(31).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-7"]
    assert under(story) == ["S-4", "S-5", "S-6"]


def test_the_next_storm_comes_under_the_ticket_that_is_there():
    story = storm(4).after(120).fire("n0", "n1", "n2", "n3", severity="warning").after(31).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-5", "S-6"]
    assert under(story) == ["S-4", "S-7", "S-8"]
    assert storms(story)[-1] == ("S-3", "storm began")


def test_its_ticket_is_over_when_all_that_stood_back_is():
    story = storm().resolve("h2", severity="warning").after(300).tick()
    assert story.situation("S-3").state is SituationState.OPEN

    story.resolve("h3", "h4", "h5", severity="warning").after(121).tick().after(121).tick()
    assert story.situation("S-3").state is SituationState.RESOLVED
    assert story.verbs("S-3")[-1] == "resolve"


def test_what_still_fires_after_a_person_closed_it_has_its_own_ticket_as_fast_as_may_be():
    story = storm(8).after(61).tick().person("closed", "S-3").after(301).tick()

    assert opened(story)[3:] == ["S-4", "S-5", "S-6"]
    assert under(story, "S-6") == ["S-7", "S-8"]


def test_where_it_is_rejected_each_has_its_own_as_fast_as_may_be():
    story = storm(7).sink_says("rejected", "S-3", number="").after(1).tick()
    assert opened(story) == ["S-1", "S-2", "S-3"]
    assert story.situation("S-7").held_by == (
        "as many tickets as may be were opened within the last minute, and that of S-3 is not for it"
    )

    story.after(61).tick()
    assert opened(story) == ["S-1", "S-2", "S-3", "S-4", "S-5"]
    story.after(61).tick().after(61).tick()
    assert opened(story)[5:] == ["S-6", "S-7"]


def test_what_comes_under_one_that_was_rejected_counts_too():
    settings = {"group": {"threshold": 1.0}, "ticket": {"max_new_per_minute": 1, "delay": "5s"}}
    story = Story("shop depends_on api", "api depends_on db1", criticality={"shop": 1}, settings=settings)
    for each, severity in enumerate(("critical", "critical", "warning", "warning")):
        story.fire(f"x{each}", severity=severity, holds_s=120).after(20)
    story.tick().sink_says("rejected", "S-2", sequence=len(story.records), number="")
    story.fire("x4", name="Worse", severity="critical").fire("shop", "api", "db1", name="Worse", severity="critical")

    assert opened(story.after(61).tick()) == ["S-1", "S-2", "S-3", "S-5"]
    assert held(story.situation("S-8")) == [(HeldKind.STORM, "S-2")]


def test_what_a_person_split_off_never_stands_back():
    story = storm().fire("h0", name="Lost", severity="warning").after(5)
    lost = story.alert("h0", "Lost").fingerprint
    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=(lost,)).after(31).tick()

    assert opened(story)[-1] == "S-7"


def test_without_the_bound_from_now_on_nothing_waits_and_nothing_is_lost():
    story = storm(7).sink_says("rejected", "S-3", number="").after(1).settings(chosen(0))

    assert opened(story) == [f"S-{number}" for number in range(1, 8)]
    assert storms(story)[-1] == ("S-3", "storm ended")


def test_a_new_sink_hears_of_as_many_as_may_be_and_of_one_for_the_rest():
    story = unrelated()
    for each in range(6):
        story.fire(f"h{each}", severity="warning").after(61)
    story.after(61).tick().settings(chosen(2), sinks=("desk", "other"))

    assert len(opened(story)) == 6
    assert opened(story, "other") == ["S-1", "S-2", "S-3"]


def test_one_that_comes_back_is_no_new_ticket():
    story = storm(2).resolve("h0", "h1", severity="warning").after(200).tick().fire("h5", "h6", severity="warning")
    story.fire("h0", "h1", severity="warning").after(40).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-4"]
    assert storms(story) == []


def test_who_is_merged_hands_over_what_stood_back():
    story = storm().judge(JudgementKind.MERGE, situation="S-1", other="S-3")

    assert under(story, "S-1") == ["S-4", "S-5", "S-6"]
    story.fire("new", severity="warning").after(31).tick()
    assert opened(story) == ["S-1", "S-2", "S-3"]
    assert under(story, "S-1")[-1] == "S-7"


def test_a_site_that_fails_in_a_storm_still_has_its_ticket():
    hosts = [f"r{each}" for each in range(3)]
    umbrella = {"situations": 3, "share": 0.3}
    story = Story(*(f"{host} runs_on site" for host in hosts), settings=chosen(2, **umbrella))
    for each in range(4):
        story.fire(f"h{each}", severity="warning")
    story.after(31).tick().fire(*hosts, severity="warning").after(31).tick()

    assert opened(story) == ["S-1", "S-2", "S-3", "S-5"]
    assert story.situation("S-5").umbrella is not None
    assert story.situation("S-5").umbrella.ci == "site"


def test_what_is_merged_into_one_that_stands_back_counts_there_after_a_restart_too():
    story = storm(8).after(61).tick().person("closed", "S-3").after(301).tick()
    story.judge(JudgementKind.MERGE, situation="S-7", other="S-3").after(1).tick()

    assert story.situation("S-7").parent == "S-6"
    check_same(story.records, restarts=range(len(story.records)))
