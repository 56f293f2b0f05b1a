"""Changes and what people said, as evidence for causes in the engine."""

from correlation.recent import MAX_CHANGES
from foreshock.core.model import JudgementKind
from foreshock.service import weighing
from foreshock.testing.records import Story

SHOP = ("shop depends_on api", "api runs_on db1")


def parts(story: Story, ci: str, situation: str = "S-1") -> dict[str, str]:
    """The evidence for one candidate, by name."""
    causes = weighing.causes(story.engine, story.situation(situation))
    return {part.name: part.evidence for cause in causes if cause.ci == ci for part in cause.contributions}


def test_a_change_just_before_the_first_alert_is_evidence_also_on_a_silent_ci():
    story = Story(*SHOP).change("C1", "api", title="api 4.2").at(90).fire("shop")

    assert parts(story, "api")["change"] == "api 4.2 changed it 90 s before"
    assert story.engine.counts["changes"] == 1


def test_a_change_on_something_else_or_long_ago_or_afterwards_is_none():
    story = Story(*SHOP).change("C1", "printer").change("C2", "shop", at_s=-90_000).at(60).fire("shop")
    story.at(70).change("C3", "shop")

    assert "change" not in parts(story, "shop")


def test_the_name_in_a_change_is_bound_as_that_of_an_alert_is():
    story = Story(*SHOP).change("C1", "API.example.com:8080").at(30).fire("shop")

    assert "change" in parts(story, "api")


def test_the_newest_word_on_a_change_counts():
    story = Story(*SHOP).change("C1", "api").change("C1", "db1").at(30).fire("shop")

    assert "change" not in parts(story, "api")


def test_changes_are_forgotten_and_bounded():
    story = Story(*SHOP).change("old", "api").at(7 * 3600.0)
    for number in range(MAX_CHANGES + 5):
        story.change(f"C{number}", "api")

    assert len(story.engine.changes.by_id) == MAX_CHANGES
    assert "old" not in story.engine.changes.by_id


def test_what_people_said_was_the_cause_counts_for_other_incidents_and_not_twice_for_the_same():
    story = Story(*SHOP).fire("shop").at(40).tick().judge(JudgementKind.CAUSE, situation="S-1", cis=("db1",))

    assert "said" in parts(story, "db1")
    assert "history" not in parts(story, "db1")
    story.at(9000).tick().at(40_000).fire("shop", name="Slow").after(40).tick()

    assert parts(story, "db1", "S-2")["history"] == "people said 1 time before that it was the cause"


def test_a_person_who_thinks_again_takes_the_word_back():
    story = (
        Story(*SHOP)
        .fire("shop")
        .at(40)
        .tick()
        .judge(JudgementKind.CAUSE, situation="S-1", cis=("db1",))
        .judge(JudgementKind.CAUSE, situation="S-1", cis=("api",))
        .judge(JudgementKind.CAUSE, situation="S-1", cis=("api",))
    )

    assert story.engine.said_causes == {"api": 1}
