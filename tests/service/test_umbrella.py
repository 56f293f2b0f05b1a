"""A site fails: one ticket for all that fails in it, and nothing hidden behind it."""

from typing import Any

from foreshock.core.contracts import Verb
from foreshock.core.model import HeldKind, JudgementKind, Situation, SituationState
from foreshock.testing.records import Story, check_umbrellas

RACKS = ("r1", "r2", "r3")
HOSTS = tuple(f"h{number}" for number in range(6))
SITE = (
    *(f"{host} runs_on {RACKS[number % 3]}" for number, host in enumerate(HOSTS)),
    *(f"{rack} depends_on site" for rack in RACKS),
)
APART = {"threshold": 1.0, "quiet": "2m"}
"""Nothing but alerts on one CI is one problem, so that there are many."""
LOUD = {"suppress": {"upstream": {"enabled": False}}}


def site(**umbrella: Any) -> Story:
    chosen = {"situations": 3, "share": 0.3, **umbrella}
    return Story(*SITE, settings={"group": APART, "umbrella": chosen, **LOUD}, owners={"site": "facilities"})


def opened(story: Story) -> list[str]:
    return [order.situation for order in story.told.orders if order.verb is Verb.OPEN]


def under(story: Story, parent: str = "S-1") -> list[str]:
    check_umbrellas(story.engine)
    return [each.id for each in story.engine.situations.values() if each.parent == parent]


def held(situation: Situation) -> list[tuple[HeldKind, str]]:
    return [(each.kind, each.id) for each in situation.held]


def test_a_site_that_fails_has_one_ticket_at_once_and_whatever_comes_is_under_it():
    story = site().fire("h0").after(5).fire("h1").after(5).fire("h2")

    assert under(story) == ["S-2", "S-3"]
    assert story.situation().umbrella is not None
    assert story.situation().umbrella.ci == "site"
    assert story.orders() == [(10, "open")]

    story.after(20).fire("h4", "h5").after(100).tick()
    assert opened(story) == ["S-1"]
    assert under(story) == ["S-2", "S-3", "S-4", "S-5"]
    assert held(story.situation("S-5")) == [(HeldKind.UMBRELLA, "S-1")]
    assert story.situation("S-5").held_by == "S-1 has the ticket for all under its umbrella"


def test_the_situation_on_what_they_have_in_common_has_the_ticket():
    story = site().fire("h0").after(5).fire("h1").after(5).fire("site")

    assert opened(story) == ["S-3"]
    assert under(story, "S-3") == ["S-1", "S-2"]


def test_a_few_situations_are_no_reason_for_an_umbrella():
    few = site(situations=4).fire("h0").after(5).fire("h1").after(5).fire("h2").after(60).tick()
    sparse = site(share=0.9).fire("h0").after(5).fire("h1").after(5).fire("h2").after(60).tick()
    slow = site(within="1m").fire("h0").after(40).fire("h1").after(40).fire("h2").after(60).tick()
    never = site(situations=0).fire(*HOSTS).after(60).tick()

    for story in (few, sparse, slow):
        assert len(opened(story)) == 3
    assert len(opened(never)) == 6


def test_where_very_many_come_a_sixth_of_the_share_is_enough():
    many = site(share=1.0, many=4).fire("h0", "h1", "h2").after(5).fire("h4")
    fewer = site(share=1.0, many=5).fire("h0", "h1", "h2").after(5).fire("h4")

    assert under(many) == ["S-2", "S-3", "S-4"]
    assert under(fewer) == []


TWO_RACKS = (*(f"{host} runs_on r{1 + number // 4}" for number, host in enumerate((*HOSTS, "h6", "h7"))), *SITE[-3:-1])


def two_racks() -> Story:
    chosen = {"group": APART, "umbrella": {"situations": 3, "share": 0.3}, **LOUD}
    return Story(*TWO_RACKS, settings=chosen)


def test_where_most_of_it_is_below_one_rack_the_umbrella_is_over_that():
    story = two_racks().fire("h0").after(5).fire("h1").after(5).fire("h2")

    assert story.situation().umbrella is not None
    assert story.situation().umbrella.ci == "r1"


def test_an_umbrella_over_a_rack_goes_over_to_that_of_the_site():
    story = two_racks().fire("h0", "h1", "h2").after(60).fire("h4", "h5").after(1).fire("h6")

    assert under(story) == ["S-2", "S-3", "S-4", "S-5", "S-6"]
    assert story.situation().umbrella is not None
    assert story.situation().umbrella.ci == "site"
    assert opened(story) == ["S-1"]


def test_what_had_a_ticket_before_keeps_it_and_it_is_resolved_by_itself():
    story = site().fire("h0").after(40).fire("h1").after(40).fire("h2").after(61).tick()
    assert opened(story) == ["S-1", "S-2"]

    story.resolve("h1").after(121).tick()
    assert set(story.verbs("S-2")[1:-1]) == {"update"}
    assert story.verbs("S-2")[-1] == "resolve"
    assert story.situation("S-2").state is SituationState.RESOLVED
    told = [order.fields["description"] for order in story.told.orders if order.situation == "S-2"]
    assert "It is under the umbrella of S-1." not in told[0]
    assert "It is under the umbrella of S-1." in told[1]


def test_the_ticket_says_what_is_under_it_in_few_words():
    story = site().fire("h0").after(40).fire("h1").after(40).sink_says("confirmed", "S-2", number="INC7")
    story.fire("h2").after(61).tick()
    told = [order for order in story.told.orders if order.situation == "S-1"][-1]

    assert told.fields["title"] == "site (generic): 3 situations below it, Down on h0"
    assert told.fields["ci"] == "site"
    assert told.fields["assignment_group"] == "facilities"
    assert told.fields["description"].splitlines()[:7] == [
        "This ticket is also for 2 situations that began below site (generic); 2 of them are not over. All together: "
        "3 alerts on 3 CIs, 3 active.",
        "Tickets of their own: 1: INC7.",
        "",
        "The most urgent under it:",
        "- P3 S-2: Down on h1, 1 alerts",
        "- P3 S-3: Down on h2, 1 alerts",
        "",
    ]
    assert "Under its umbrella: 2 situations so far, 2 not over" in told.note


def test_it_is_over_when_all_under_it_are():
    story = site().fire("h0", "h1", "h2").after(60).resolve("h0").after(300).tick()
    assert story.situation().state is SituationState.OPEN

    story.resolve("h1", "h2").after(121).tick().after(121).tick()
    assert story.situation().state is SituationState.RESOLVED
    assert story.verbs()[-1] == "resolve"
    assert opened(story) == ["S-1"]


def test_where_the_ticket_is_rejected_each_has_its_own():
    story = site().fire("h0", "h1", "h2").after(40).tick()
    assert opened(story) == ["S-1"]

    story.sink_says("rejected", number="")
    assert opened(story) == ["S-1", "S-2", "S-3"]


def test_that_the_ticket_is_confirmed_says_nothing_to_what_is_under_it():
    story = site().fire("h0", "h1", "h2").after(40).tick()
    story.engine.dirty_situations.clear()

    story.sink_says("confirmed")
    assert list(story.engine.dirty_situations) == ["S-1"]


def test_what_still_fires_a_while_after_a_person_closed_the_ticket_has_its_own():
    story = site(grace="5m").fire("h0", "h1", "h2").after(40).tick()

    story.person("closed").after(60).resolve("h1").after(200).tick()
    assert opened(story) == ["S-1"]
    assert story.situation("S-3").held_by == "mira closed the ticket of S-1, which was for all under its umbrella"

    story.after(40).tick()
    assert opened(story) == ["S-1", "S-3"]


def test_what_comes_after_a_person_closed_the_ticket_is_not_under_it():
    story = site().fire("h0", "h1", "h2").after(40).person("closed").after(5).fire("h4").after(40).tick()

    assert under(story) == ["S-2", "S-3"]
    assert opened(story) == ["S-1", "S-4"]


def test_once_the_storm_is_over_what_comes_has_its_own_ticket():
    story = site(within="5m").fire("h0", "h1", "h2").after(400).fire("h4").after(40).tick()

    assert under(story) == ["S-2", "S-3"]
    assert opened(story) == ["S-1", "S-4"]


def test_a_second_storm_comes_under_the_umbrella_that_is_there():
    story = site(within="5m").fire("h0", "h1", "h2").after(400).fire("h3", "h4", "h5")

    assert under(story) == ["S-2", "S-3", "S-4", "S-5", "S-6"]
    assert opened(story) == ["S-1"]


def test_what_comes_back_is_under_the_umbrella_again():
    story = site().fire("h0", "h1", "h2").after(20).resolve("h1").after(121).tick()
    assert story.situation("S-2").state is SituationState.RESOLVED

    story.after(5).fire("h1").after(60).tick()
    assert under(story) == ["S-2", "S-3"]
    assert opened(story) == ["S-1"]


def test_a_site_that_fails_again_has_one_ticket_again():
    story = site().fire("h0", "h1", "h2").after(20).resolve("h0", "h1", "h2").after(121).tick().after(121).tick()
    assert story.situation().state is SituationState.RESOLVED

    story.after(30).fire("h1").after(5).fire("h2").after(5).fire("h0").after(60).tick()
    assert [verb for verb in story.verbs() if verb != "update"] == ["open", "resolve", "reopen"]
    assert opened(story) == ["S-1"]


def test_an_umbrella_is_as_urgent_as_what_is_worst_under_it():
    story = site().fire("h0", "h1", severity="warning").after(5).fire("h2", severity="critical")

    assert story.situation("S-3").priority == 3
    assert story.situation().priority == 3
    assert story.situation().severity.word == "critical"


def test_a_new_sink_hears_of_the_umbrella_alone():
    story = site().fire("h0").after(5).fire("h1").after(5).fire("site").after(60).tick()
    chosen = {"group": APART, "umbrella": {"situations": 3, "share": 0.3}, **LOUD}

    story.settings(chosen, sinks=("desk", "other"))
    assert [order.situation for order in story.told.orders if order.sink == "other"] == ["S-3"]


def test_who_is_merged_hands_its_children_over():
    story = site().fire("h0", "h1", "h2").after(40).judge(JudgementKind.MERGE, situation="S-3", other="S-1")

    assert under(story, "S-3") == ["S-2"]
    assert story.situation("S-3").parent == ""
    story.after(60).tick()
    assert opened(story) == ["S-1", "S-3"]
    assert story.verbs("S-1")[-1] == "resolve"


def test_a_person_takes_a_situation_out():
    story = site().fire("h0", "h1", "h2").after(40).judge(JudgementKind.NOT_RELATED, situation="S-1", other="S-3")

    assert under(story) == ["S-2"]
    story.after(1).tick()
    assert opened(story) == ["S-1", "S-3"]


def test_what_no_longer_fits_into_a_situation_is_under_its_umbrella():
    story = Story(settings={"group": {"max_alerts": 3}})
    for number in range(8):
        story.after(2).fire("db1", name=f"Full{number}")
    story.after(60).tick()

    assert [len(each.members) for each in story.engine.situations.values()] == [3, 3, 2]
    assert under(story) == ["S-2", "S-3"]
    assert opened(story) == ["S-1"]
    assert story.situation("S-3").held_by == "S-1 has the ticket for all under its umbrella"
    titles = [order.fields["title"] for order in story.told.orders if order.situation == "S-1"]
    assert titles[-1] == "Full0 on db1, and 2 more situations"


def test_a_storm_of_a_site_is_one_ticket():
    hosts = [f"host{number}" for number in range(489)]
    ties = [f"rack{number} depends_on site" for number in range(10)]
    ties += [f"{host} runs_on rack{number % 10}" for number, host in enumerate(hosts)]
    story = Story(*ties, settings={"group": {"threshold": 1.0}})
    cis = ["site", *(f"rack{number}" for number in range(10)), *hosts]
    for turn in range(10):
        for start in range(0, 500, 10):
            if not turn:
                story.at(start / 5)
            for name in ("Down", "Slow", "Errors", "Full"):
                story.fire(*cis[start : start + 10], name=name, started_s=start / 5)
        story.after(5)
    assert story.sent == 20_000
    story.after(60).tick()

    alone = [each for each in story.engine.situations.values() if not each.parent and not each.merged_into]
    assert sum(each.state is SituationState.OPEN for each in story.engine.situations.values()) == 491
    assert [each.id for each in alone] == ["S-1"]
    assert opened(story) == ["S-1"]
    assert sum(len(each.members) for each in story.engine.situations.values() if not each.merged_into) == 2_000
    assert len(story.verbs()) <= 1 + 240 / 60
    assert max(len(order.fields["description"]) for order in story.told.orders) < 4_000
    check_umbrellas(story.engine)


def test_what_was_explained_says_that_the_umbrella_holds_it_once_that_has_a_ticket():
    story = site().silence("quiet", 'host=~"h.*"', for_s=120).fire("h0", "h1", "h2").after(60).tick()
    assert held(story.situation("S-3")) == [(HeldKind.SILENCE, "quiet")]

    story.fire("h0", name="Loud", labels={"host": "h0", "team": "x"}).after(61).tick()
    assert held(story.situation("S-3")) == [(HeldKind.UMBRELLA, "S-1")]
