"""What people say of the structure: applied at once, respected afterwards, and kept as truth."""

import pytest

from correlation.feedback import witness
from foreshock.core.model import JudgementKind, SituationState
from foreshock.service import weighing
from foreshock.testing.records import Story, check_same, check_structure, check_tickets, check_words_kept

SHOP = ("shop depends_on api", "api runs_on db1")
TWO = ("web runs_on esx", "mail runs_on nas")
MERGE, SPLIT, MOVE, NOT_RELATED, CAUSE = JudgementKind


def outcomes(story: Story) -> list[str]:
    return [judgement.outcome for judgement in story.told.judgements]


def checked(story: Story) -> Story:
    check_structure(story.engine)
    check_words_kept(story.engine)
    check_tickets(story.told.orders)
    check_same(story.records, restarts=range(len(story.records)))
    return story


def test_two_situations_become_one_and_the_ticket_of_the_other_is_resolved():
    story = Story(*TWO).fire("web", "mail").at(40).tick()

    story.judge(MERGE, situation="S-1", other="S-2", comment="one storage")

    checked(story)
    assert story.groups() == [["mail", "web"]]
    assert story.verbs("S-2") == ["open", "resolve"]
    said = story.told.judgements[0]
    assert (said.id, said.actor, said.applied, said.outcome) == ("J-1", "mira", True, "S-2 is merged into S-1")
    assert ([each.ci for each in said.one], [each.ci for each in said.same]) == (["web"], ["mail"])
    row = next(row for row in story.told.audit if row.kind == "feedback")
    assert (row.actor, row.subject, row.detail) == ("mira", "S-1", "S-2 is merged into S-1; one storage")


def test_alerts_leave_and_do_not_come_back_while_the_word_counts():
    story = Story(*SHOP).fire("db1", "api", "shop").at(40).tick()

    story.judge(SPLIT, situation="S-1", alerts=["shop"])
    story.at(50).resolve("shop").at(60).fire("shop")

    checked(story)
    assert story.groups() == [["api", "db1"], ["shop"]]
    assert outcomes(story) == ["split off as S-2"]


def test_a_new_occurrence_joins_nothing_that_the_alert_was_said_not_to_belong_to():
    story = (
        Story(*SHOP, settings={"group": {"reopen": "1m"}})
        .fire("db1", "shop")
        .judge(NOT_RELATED, alerts=["db1", "shop"])
    )
    story.at(10).resolve("shop").at(400).tick()

    story.at(410).resolve("db1").fire("db1").at(415).fire("shop")

    checked(story)
    assert story.groups() == [["db1"], ["shop"]]


def test_after_its_life_the_word_no_longer_counts():
    story = Story(*SHOP, settings={"group": {"keep_apart": "1h"}}).fire("db1", "shop")
    story.judge(NOT_RELATED, alerts=["db1", "shop"]).at(30).resolve("db1", "shop")

    story.at(7300).fire("db1", "shop")

    checked(story)
    assert story.groups() == [["db1", "shop"]]
    assert not story.engine.judgements


def test_an_alert_goes_to_the_situation_that_a_person_names():
    story = Story(*SHOP, *TWO).fire("db1", "api").fire("web").at(40).tick()

    story.judge(MOVE, situation="S-1", alerts=["api"], other="S-2")

    checked(story)
    assert story.groups() == [["api", "web"], ["db1"]]
    said = story.told.judgements[0]
    assert [[each.ci for each in side] for side in (said.one, said.same, said.apart)] == [["api"], ["web"], ["db1"]]


def test_of_two_alerts_that_are_not_related_the_second_leaves_with_what_joined_because_of_it():
    story = Story("a depends_on b", "c depends_on b", "d depends_on c").fire("b").at(1).fire("a").at(2).fire("c")
    story.at(3).fire("d")

    story.judge(NOT_RELATED, alerts=["b", "c"])

    checked(story)
    assert story.groups() == [["a", "b"], ["c", "d"]]


def test_two_cis_are_kept_apart_whatever_alerts_they_will_have():
    story = Story(*SHOP).judge(NOT_RELATED, cis=("db1", "api"))

    story.at(5).fire("db1").at(6).fire("api")

    checked(story)
    assert story.groups() == [["api"], ["db1"]]


def test_not_related_undoes_a_merge():
    story = Story(*TWO).fire("web", "mail").judge(MERGE, situation="S-1", other="S-2")

    story.at(5).judge(NOT_RELATED, situation="S-1", other="S-2")

    checked(story)
    assert story.groups() == [["mail"], ["web"]]


def test_not_related_undoes_a_merge_that_only_history_remembers():
    story = Story(*TWO).fire("web", "mail").judge(MERGE, situation="S-1", other="S-2")
    before = witness(story.alert("mail"))
    story.at(3000).fire("web", "mail").at(4000).tick()
    assert "S-2" not in story.engine.situations

    story.judge(NOT_RELATED, situation="S-1", other="S-2", past={"S-2": (before,)})

    checked(story)
    assert story.groups() == [["mail"], ["web"]]


def test_the_later_word_counts():
    story = Story(*SHOP).fire("db1", "shop").judge(SPLIT, situation="S-1", alerts=["shop"])

    story.at(5).judge(MERGE, situation="S-1", other="S-2")

    checked(story)
    assert story.groups() == [["db1", "shop"]]
    assert not story.engine.judgements


def test_correlation_merges_nothing_that_a_person_shaped():
    story = Story("web runs_on esx", "mail depends_on web", "mail runs_on esx").fire("web", "mail").at(5)
    story.judge(SPLIT, situation="S-1", alerts=["mail"])
    assert story.groups() == [["mail"], ["web"]]

    story.at(10).fire("esx", started_s=0)  # it explains both

    checked(story)
    assert len(story.groups()) == 2


def test_the_cause_that_a_person_names_stands_first_and_says_so():
    story = Story(*SHOP).fire("db1", "api", "shop").at(40).tick()

    story.judge(CAUSE, situation="S-1", cis=("nas",)).at(100).tick()

    checked(story)
    first, second = weighing.causes(story.engine, story.situation())[:2]
    assert (first.ci, first.said_by, first.reason) == ("nas", "mira", "mira said that it was the cause")
    assert second.ci == "db1"
    assert story.told.orders[-1].fields["causes"][0]["ci"] == "nas"


def test_the_cause_of_what_is_over_can_still_be_named():
    story = Story(*SHOP).fire("db1", "api").at(40).tick().at(50).resolve("db1", "api").at(300).tick()
    assert story.situation().state is SituationState.RESOLVED

    story.judge(CAUSE, situation="S-1", cis=("api",))

    assert [cause.ci for cause in story.situation().causes] == ["api", "db1"]
    assert b'"said_by":"mira"' in story.told.ended["S-1"]
    assert story.verbs() == ["open", "update", "resolve"]


def test_what_cannot_be_changed_any_more_is_still_true():
    story = Story(*TWO).fire("web", "mail").at(40).tick().at(50).resolve("web").at(300).tick()

    story.judge(MERGE, situation="S-1", other="S-2")

    said = story.told.judgements[0]
    assert (said.applied, said.outcome) == (False, "S-1 is resolved")
    assert said.one
    assert said.same


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ((MERGE, {"situation": "S-1", "other": "S-99"}), "there is no situation S-99"),
        ((MERGE, {"situation": "S-1", "other": "S-1"}), "S-1 cannot be merged with itself"),
        ((SPLIT, {"situation": "S-1", "alerts": ["nobody"]}), "nobody is not in S-1"),
        ((SPLIT, {"situation": "S-1"}), "no alert is named"),
        ((SPLIT, {"situation": "S-1", "alerts": ["db1", "api"]}), "these are all the alerts of S-1"),
        ((MOVE, {"situation": "S-1", "alerts": ["db1"], "other": "S-1"}), "they are in S-1 already"),
        ((NOT_RELATED, {"alerts": ["db1"]}), "name two situations, two alerts or two CIs"),
        ((NOT_RELATED, {"alerts": ["db1", "nobody"]}), "there is no alert nobody"),
        ((CAUSE, {"situation": "S-1"}), "name one situation and the CI that was the cause"),
    ],
)
def test_what_means_nothing_changes_nothing_and_is_no_truth(said: tuple[JudgementKind, dict], outcome: str):
    story = Story(*SHOP).fire("db1", "api")
    before = story.groups()

    kind, fields = said
    story.judge(kind, **fields)

    judgement = story.told.judgements[0]
    assert (judgement.outcome, judgement.applied, judgement.one) == (outcome, False, ())
    assert story.groups() == before


def test_reopening_parts_what_was_said_to_be_apart_after_the_end():
    story = Story(*SHOP).fire("db1", "shop").at(10).resolve("db1", "shop").at(200).tick()
    story.judge(NOT_RELATED, alerts=["db1", "shop"])

    story.at(300).fire("shop").at(301).fire("db1")

    checked(story)
    assert story.groups() == [["db1"], ["shop"]]
