"""Rules as the engine uses them: changed while alerts are open, suspended, learning; the same after a restart."""

import pytest

from correlation.rule import RuleInstance
from foreshock.core.model import SituationState
from foreshock.testing.records import Story, check_same, shipped_rules

SAME_APP = RuleInstance(name="same-app", kind="attribute", config={"equal": ["app"], "strength": 0.9})
HARD = RuleInstance(
    name="hard", kind="attribute", config={"when": 'a.labels.app == "none" && b.labels.app == "none"', "window": "1h"}
)
LOW_BUDGET = {"relate": {"budget": 100}}


def apps(story: Story) -> Story:
    return story.fire("web1", labels={"app": "shop"}).at(5).fire("web2", labels={"app": "shop"}).after(5)


def test_a_rule_on_labels_joins_alerts_whose_cis_have_nothing_to_do_with_each_other():
    story = apps(Story(rules=(*shipped_rules(), SAME_APP)))

    assert story.groups() == [["web1", "web2"]]
    link = story.situation().members[story.alert("web2").fingerprint].link
    assert link is not None
    assert (link.rule.partition("@")[0], link.path, link.evidence) == ("same-app", (), "app=shop")


def test_what_is_heard_late_of_an_alert_that_is_over_relates_nothing_to_it():
    rule = RuleInstance(name="same-app", kind="attribute", config={"equal": ["app"], "window": "6h"})
    story = Story(rules=(*shipped_rules(), rule)).fire("web1", labels={"app": "shop"})
    story.at(60).resolve("web1", started_s=0, labels={"app": "shop"}).at(4000)

    story.resolve("web1", started_s=-60, ended_s=60, labels={"app": "shop"}).fire("web2", labels={"app": "shop"})

    assert story.alert("web1").starts_at == story.time(-60)
    assert story.groups() == [["web2"]]


def test_a_rule_that_comes_into_force_sees_what_is_open_already():
    story = Story().fire("web1", labels={"app": "shop"})

    story.at(5).settings({}, rules=(*shipped_rules(), SAME_APP)).fire("web2", labels={"app": "shop"})

    assert story.groups() == [["web1", "web2"]]


def test_a_rule_that_goes_takes_no_situation_apart_and_its_reasons_stay():
    story = apps(Story(rules=(*shipped_rules(), SAME_APP)))

    story.settings({}, rules=shipped_rules()).fire("web3", labels={"app": "shop"})

    assert story.groups() == [["web1", "web2"], ["web3"]]
    link = story.situation().members[story.alert("web2").fingerprint].link
    assert link is not None
    assert link.evidence == "app=shop"


def test_a_rule_of_another_version_of_foreshock_is_left_out_and_the_rest_goes_on():
    strange = (
        RuleInstance(name="x", kind="telepathy"),
        RuleInstance(name="y", kind="attribute", config={"equal": ["app"], "gone": 1}),
        RuleInstance(name="z", kind="telepathy", enabled=False),
    )
    story = Story("web runs_on esx", rules=(*shipped_rules(), *strange))

    assert story.fire("esx").at(5).fire("web").groups() == [["esx", "web"]]
    assert [(row.subject, row.action.partition(",")[0]) for row in story.told.audit if row.kind == "rule"] == [
        ("x", "left out"),
        ("y", "left out"),
    ]


def test_each_change_of_a_rule_has_one_audit_row_with_who_made_it():
    story = Story()
    stricter = RuleInstance(name="same-app", kind="attribute", config={"equal": ["app", "tier"]})
    for rules in ((SAME_APP,), (SAME_APP,), (stricter,), ()):
        story.after(5).settings({}, rules=(*shipped_rules(), *rules))

    said = [(row.subject.partition("@")[0], row.action) for row in story.told.audit if row.kind == "rule"]
    assert said == [
        ("same-app", "in force"), ("same-app", "withdrawn"), ("same-app", "in force"), ("same-app", "withdrawn"),
    ]  # fmt: skip
    subjects = [row.subject for row in story.told.audit if row.kind == "rule"]
    assert subjects[0] == subjects[1] != subjects[2] == subjects[3]


def strained() -> Story:
    """A rule without labels to look up looks at every open alert, again and again."""
    story = Story("web runs_on esx", settings=LOW_BUDGET, rules=(*shipped_rules(), HARD))
    for number in range(60):
        story.after(1).fire(f"n{number}", labels={"app": f"a{number}"})
    return story


def test_a_rule_that_takes_more_than_its_budget_is_suspended_and_we_open_an_incident_about_ourselves():
    story = strained()

    assert [tag.partition("@")[0] for tag in story.engine.budget.suspended] == ["hard"]
    row = [row for row in story.told.audit if row.kind == "rule"][-1]
    assert (row.action, row.subject.partition("@")[0]) == ("suspended", "hard")
    (own,) = [alert for alert in story.engine.alerts.values() if alert.source == "foreshock"]
    assert (own.ci, own.firing) == ("foreshock", True)
    assert "hard@" in own.read_annotations()["summary"]
    story.after(60).tick()
    assert story.verbs(own.situation) == ["open"]


def test_the_rest_goes_on_while_a_rule_is_suspended():
    story = strained()

    story.after(1).fire("esx").after(5).fire("web")

    assert ["esx", "web"] in story.groups()


def test_a_reload_gives_the_rule_another_try_and_ends_the_incident_about_it():
    story = strained().after(60).tick()

    story.settings(LOW_BUDGET, rules=(*shipped_rules(), HARD))

    assert story.engine.budget.suspended == {}
    (own,) = [alert for alert in story.engine.alerts.values() if alert.source == "foreshock"]
    assert not own.firing
    assert [row.action for row in story.told.audit if row.kind == "rule"] == ["in force", "suspended", "tried again"]
    story.after(300).tick()
    assert story.situation(own.situation).state is SituationState.RESOLVED


@pytest.mark.parametrize("restarts", [(30,), (58,), range(0, 65, 5)])
def test_a_suspension_is_the_same_in_a_replay_with_restarts(restarts: tuple[int, ...]):
    story = strained()
    story.after(1).fire("esx").after(5).fire("web").after(60).tick()

    check_same(story.records, restarts=restarts)


def test_a_rule_that_learns_goes_on_after_a_restart_as_if_there_had_been_none():
    story = Story(settings={"group": {"threshold": 0.05}}, rules=shipped_rules(text={}))
    for number in range(40):
        text = "disk usage high" if number % 3 else f"replica set lost its quorum {number}"
        story.after(400).fire(f"n{number}", name="Trouble", summary=text)

    check_same(story.records, restarts=(7, 20, 33))
    assert any(
        member.link is not None and member.link.rule.startswith("text@")
        for situation in story.engine.situations.values()
        for member in situation.members.values()
    )
