"""Merging, splitting and moving while everything runs: alerts, tickets, weights and traces go along."""

from collections.abc import Collection

from foreshock.core.model import Moved, SituationState
from foreshock.service import regroup
from foreshock.testing.records import Story, check_resolutions, check_structure, check_tickets

SHOP = ("shop depends_on api", "api runs_on db1")
APART = ("shop depends_on api", "web runs_on esx", "mail runs_on nas")


def how(story: Story, source: str, by: str = "") -> Moved:
    return Moved(at=story.now, source=source, by=by, reason="they have nothing to do with each other")


def fingerprints(story: Story, *cis: str) -> list[str]:
    return [story.alert(ci).fingerprint for ci in cis]


def split(story: Story, source: str, *cis: str, by: str = "") -> Story:
    regroup.split(story.engine, story.situation(source), fingerprints(story, *cis), how(story, source, by))
    return settled(story)


def move(story: Story, source: str, target: str, alerts: Collection[str]) -> Story:
    regroup.move(story.engine, story.situation(source), alerts, story.situation(target), how(story, source))
    return settled(story)


def merge(story: Story, winner: str, loser: str) -> Story:
    regroup.merge(story.engine, story.situation(winner), story.situation(loser), how(story, loser))
    return settled(story)


def settled(story: Story) -> Story:
    """What a record touched is settled at its end."""
    story.tick()
    check_structure(story.engine)
    return story


def test_a_part_that_is_split_off_names_its_origin_and_opens_its_own_ticket_after_the_delay():
    story = Story(*SHOP).fire("db1", "api", "shop").at(40).tick()

    split(story, "S-1", "shop").at(60).tick().at(100).tick()

    assert story.groups() == [["api", "db1"], ["shop"]]
    part = story.situation("S-2")
    assert (part.split_from, part.title) == ("S-1", "Down on shop")
    moved = part.members[story.alert("shop").fingerprint].moved
    assert moved is not None
    assert moved.source == "S-1"
    assert story.orders("S-2") == [(70.0, "open")]
    assert story.verbs("S-1") == ["open", "update"]
    check_tickets(story.told.orders)


def test_a_split_before_the_first_ticket_gives_each_part_one():
    story = split(Story(*SHOP).fire("db1", "api", "shop").at(10), "S-1", "shop")

    story.at(50).tick()

    assert (story.verbs("S-1"), story.verbs("S-2")) == (["open"], ["open"])


def test_the_priority_of_what_stays_falls_when_its_evidence_has_left():
    story = Story(*APART, criticality={"shop": 1})
    story.fire("shop").fire("web", severity="warning").at(2)
    merge(story, "S-1", "S-2")
    assert story.situation("S-1").priority == 1

    split(story.at(10), "S-1", "shop")

    assert story.situation("S-1").priority == 5
    assert story.situation("S-3").priority == 1
    assert any("priority fell from 1 to 5" in row.detail for row in story.told.audit if row.subject == "S-1")


def test_a_split_part_whose_alerts_are_over_opens_no_ticket():
    story = Story(*SHOP).fire("db1", "api", "shop").at(40).tick().at(50).resolve("shop")

    split(story, "S-1", "shop").at(300).tick()

    assert story.situation("S-2").state is SituationState.RESOLVED
    assert story.verbs("S-2") == []


def test_what_stays_is_resolved_when_all_that_still_fired_has_left():
    story = Story(*SHOP).fire("db1", "api", "shop").at(40).tick().at(50).resolve("db1", "api")

    split(story, "S-1", "shop").at(300).tick()

    assert story.situation("S-1").state is SituationState.RESOLVED
    assert story.verbs("S-1")[-1] == "resolve"
    assert story.groups() == [["shop"]]


def test_a_moved_alert_brings_life_to_where_it_goes():
    story = Story(*APART).fire("web", "mail").at(40).tick().at(50).resolve("web")
    story.fire("mail", name="Slow")

    move(story, "S-2", "S-1", [story.alert("mail", "Slow").fingerprint]).at(400).tick()

    assert story.situation("S-1").state is SituationState.OPEN
    assert story.groups() == [["mail"], ["mail", "web"]]


def test_moving_all_alerts_of_a_situation_merges_it():
    story = Story(*APART).fire("web", "mail").at(40).tick()

    move(story, "S-2", "S-1", fingerprints(story, "mail"))

    assert story.situation("S-2").merged_into == "S-1"
    assert story.verbs("S-2") == ["open", "resolve"]
    check_resolutions(story.engine)


def test_a_split_takes_back_a_merge():
    story = Story(*APART).fire("web", "mail").at(40).tick()

    split(merge(story, "S-1", "S-2").at(60), "S-1", "mail").at(100).tick()

    assert story.groups() == [["mail"], ["web"]]
    assert story.verbs("S-3") == ["open"]
    check_tickets(story.told.orders)


def test_a_new_alert_joins_the_part_that_holds_what_it_is_related_to():
    story = Story("a depends_on b", "c depends_on d").fire("b", "d").at(10)
    split(merge(story, "S-1", "S-2"), "S-1", "d")

    story.at(15).fire("c")

    assert story.groups() == [["b"], ["c", "d"]]


def test_what_a_person_shaped_says_so():
    story = split(Story(*SHOP).fire("db1", "api", "shop"), "S-1", "shop", by="mira")

    assert {story.situation(id).shaped_by for id in ("S-1", "S-2")} == {"mira"}
    assert "mira: they have nothing" in story.told.audit[-1].detail
