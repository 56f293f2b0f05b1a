"""Why an alert is not in a situation: what was decided then, and what holds now."""

import pytest

from foreshock.core.model import JudgementKind
from foreshock.service.decisions import versions_at
from foreshock.service.explain import Comparison, closest, counted, decided, obstacles
from foreshock.testing.records import Story, check_same

SHOP = ("shop depends_on api", "api runs_on db1")


def strength(story: Story, ci: str, situation: str) -> tuple[float, str] | None:
    engine = story.engine
    found = Comparison(engine, engine.members(story.situation(situation))).strongest(story.alert(ci))
    return None if found is None else (found.strength, found.rule.partition("@")[0])


def missing(story: Story, ci: str, situation: str) -> list[str]:
    there = story.situation(situation)
    return obstacles(story.engine, story.alert(ci), there, story.engine.members(there), None)


def considered(story: Story, ci: str) -> list[tuple[str, str]]:
    home = story.situation(story.alert(ci).situation)
    return [(each.situation, each.why) for each in home.members[story.alert(ci).fingerprint].considered]


def test_an_alert_that_may_not_join_keeps_the_bound_that_kept_it_out():
    story = Story(*SHOP, settings={"group": {"join": "1m"}}).fire("db1", started_s=-30).at(70)

    story.fire("api", started_s=0)

    assert considered(story, "api") == [("S-1", "its join window is over")]
    assert story.groups() == [["api"], ["db1"]]


def test_of_two_situations_the_one_not_joined_is_kept_with_the_reason():
    story = Story("shop depends_on api", "shop depends_on web").fire("api").at(30).fire("web").at(40).fire("shop")

    assert considered(story, "shop") == [("S-1", "S-2 is related more strongly")]


def test_what_a_person_said_is_a_reason():
    story = Story(*SHOP).judge(JudgementKind.NOT_RELATED, cis=("db1", "api")).at(5).fire("db1").at(6).fire("api")

    assert considered(story, "api") == [("S-1", "mira said that they do not belong together (J-1)")]


def test_an_alert_that_nothing_relates_says_nothing():
    story = Story(*SHOP).fire("db1").at(5).fire("mail")

    assert considered(story, "mail") == []


def test_the_rules_are_asked_again_and_show_links_that_were_too_weak():
    story = Story(*SHOP).fire("db1").at(400).fire("shop")

    assert story.groups() == [["db1"], ["shop"]]
    found = strength(story, "shop", "S-1")
    assert found is not None
    assert found[1] == "topology"
    assert 0 < found[0] < story.engine.settings.group.threshold


def test_what_the_whole_situation_comes_to_is_what_was_counted_when_the_alert_was_placed():
    story = Story(*SHOP, "web depends_on shop")
    story.fire("db1").at(20).fire("api").at(60).fire("shop")
    joined = story.situation("S-1").members[story.alert("shop").fingerprint]
    assert joined.link is not None

    again = story.engine.members(story.situation("S-1"))

    assert counted(story.engine, story.alert("shop"), story.situation("S-1"), again) == pytest.approx(
        joined.link.strength, abs=1e-4
    )


def test_what_joined_later_does_not_count():
    story = Story(*SHOP).fire("db1").at(400).fire("shop").at(405).fire("db1", name="Slow").fire("api")
    there = story.situation("S-1")
    members = story.engine.members(there)
    alone = [member for member in members if member.ci == "db1" and member.starts_at == story.time(0)]

    whole = counted(story.engine, story.alert("shop"), there, members)

    assert whole == counted(story.engine, story.alert("shop"), there, alone)
    assert 0 < whole < story.engine.settings.group.threshold


def test_asking_changes_nothing():
    story = Story(*SHOP).fire("db1").at(170).fire("api").at(600).fire("shop")
    before = list(story.engine.checkpoint())

    strength(story, "api", "S-1")
    counted(story.engine, story.alert("shop"), story.situation("S-1"), story.engine.members(story.situation("S-1")))

    assert list(story.engine.checkpoint()) == before


def test_what_is_missing_is_said_in_words():
    story = Story(*SHOP, "mail runs_on nas", settings={"relate": {"window": "10m"}}).fire("db1").at(700).fire("mail")

    assert strength(story, "mail", "S-1") is None
    assert missing(story, "mail", "S-1") == [
        "its onset is 700 s from the nearest one there, the window is 600 s",
        "no path along relationships leads from mail to db1",
    ]


def test_what_was_decided_about_two_situations_is_found_from_either_side():
    story = Story("shop depends_on api", "shop depends_on web").fire("api").at(30).fire("web").at(40).fire("shop")
    one, two = story.situation("S-1"), story.situation("S-2")

    assert [each.why for each in decided(story.engine, story.alert("shop"), two, one)] == [
        "S-2 is related more strongly"
    ]
    assert [each.alert for each in decided(story.engine, story.alert("api"), one, two)] == [
        story.alert("web").fingerprint,
        story.alert("shop").fingerprint,
    ]


def test_a_decision_is_known_by_the_versions_that_were_in_force():
    story = Story(*SHOP).at(100).topology("shop depends_on api").at(200).settings({"group": {"join": "1m"}})
    versions = story.engine.versions

    then, later = versions_at(versions, story.time(50)), versions_at(versions, story.time(150))

    assert then is not None
    assert later is not None
    assert then.topology != later.topology
    assert then.settings == later.settings != versions[-1].settings
    assert [rule.partition("@")[0] for rule in then.rules][:2] == [rule.name for rule in story.engine.rules][:2]
    assert versions_at(versions, story.time(-10)) is None


def test_versions_and_what_was_considered_survive_a_restart():
    story = Story(*SHOP, settings={"group": {"join": "1m"}}).fire("db1", started_s=-30).at(70).fire("api", started_s=0)

    check_same(story.records, restarts=range(len(story.records)))


def test_an_alert_is_compared_with_those_that_began_closest():
    story = Story().fire("a").at(60).fire("a", name="Slow").at(65).fire("a", name="Hot")
    alerts = story.engine.members(story.situation())

    assert closest(story.alert("a", "Hot"), alerts)[0] is story.alert("a", "Slow")
