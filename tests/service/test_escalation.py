"""Who is told next while nobody takes an incident, and when that ends."""

from datetime import timedelta
from typing import Any

import pytest

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import NoticeKind
from foreshock.service import escalation
from foreshock.testing.records import Story, check_same

MINUTE = 60.0
OPENED_S = 30.0  # the delay of a ticket
STEPS = [
    {"after": "5m", "tell": ["{group}"]},
    {"after": "15m", "tell": ["{group}", "duty-manager"]},
    {"after": "30m", "tell": ["head-of-it"]},
]
POLICY = {"name": "urgent", "priorities": [3], "steps": STEPS}
SETTINGS = {"escalation": [POLICY]}


def broken(settings: dict[str, Any] | None = None, **alert: Any) -> Story:
    """One incident of priority 3 with a ticket, opened half a minute after the start."""
    story = Story(settings=SETTINGS if settings is None else settings)
    story.topology("shop depends_on db", owners={"db": "dba"})
    story.fire("db", severity="critical", holds_s=360_000.0, **alert).after(OPENED_S).tick()
    assert story.situation().priority == 3
    return story


def told(story: Story) -> list[tuple[float, int, str]]:
    """(minutes after the ticket, step, whom) of each notice."""
    return [
        (((notice.at - story.start).total_seconds() - OPENED_S) / MINUTE, notice.level, notice.audience[0])
        for notice in story.told.notices
        if notice.kind is NoticeKind.ESCALATION
    ]


ALL = [(5, 1, "dba"), (15, 2, "dba"), (15, 2, "duty-manager"), (30, 3, "head-of-it")]


def test_one_after_the_other_is_told_while_nobody_takes_it():
    story = broken().after(60 * MINUTE).tick()

    assert told(story) == ALL
    assert story.told.notices[0].text == "Nobody has taken S-1 (priority 3) within 5m: step 1 of 3 of urgent."


@pytest.mark.parametrize("does", ["taken", "commented", "resolved", "closed"])
def test_it_ends_when_somebody_shows_that_they_are_there(does: str):
    story = broken().after(7 * MINUTE).person(does).after(60 * MINUTE).tick()

    assert told(story) == ALL[:1]


def test_it_ends_when_the_incident_is_over():
    story = broken().after(7 * MINUTE).resolve("db").after(60 * MINUTE).tick()

    assert told(story) == ALL[:1]


def test_it_begins_anew_when_an_incident_that_nobody_had_taken_comes_back():
    story = broken().after(7 * MINUTE).resolve("db").after(20 * MINUTE).tick()
    story.fire("db", severity="critical", holds_s=360_000.0).after(6 * MINUTE).tick()

    assert [step for _, step, _ in told(story)] == [1, 1]


def test_the_first_policy_for_its_priority_and_group_counts():
    other = {"name": "other", "priorities": [3], "groups": ["network"], "steps": [{"after": "1m", "tell": ["net"]}]}
    own = {"name": "own", "priorities": [3], "groups": ["DBA"], "steps": [{"after": "2m", "tell": ["dba-lead"]}]}

    story = broken({"escalation": [other, own, POLICY]}).after(60 * MINUTE).tick()

    assert told(story) == [(2, 1, "dba-lead")]


def test_nobody_is_told_of_what_no_policy_is_for():
    story = broken({"escalation": [{**POLICY, "priorities": [1]}]}).after(60 * MINUTE).tick()

    assert told(story) == []
    assert escalation.in_words(story.engine, story.situation()) == ("no policy is for priority 3 of dba",)


def test_a_silence_holds_a_step_back_until_it_ends():
    story = broken().after(MINUTE)
    story.silence("s", 'host="db"', for_s=9 * MINUTE).after(7 * MINUTE).tick()
    assert told(story) == []
    assert "held back" in escalation.in_words(story.engine, story.situation())[0]

    story.after(60 * MINUTE).tick()

    assert told(story) == [(10, 1, "dba"), *ALL[1:]]


def test_steps_that_fell_due_together_are_the_last_of_them():
    story = broken().after(MINUTE)
    story.silence("s", 'host="db"', for_s=19 * MINUTE).after(60 * MINUTE).tick()

    assert told(story) == [(20, 2, "dba"), (20, 2, "duty-manager"), (30, 3, "head-of-it")]


def test_a_page_says_who_is_next_and_who_was_told():
    story = broken().after(7 * MINUTE).tick()

    assert escalation.in_words(story.engine, story.situation()) == (
        "2026-03-02 12:05 UTC: dba (told)",
        "2026-03-02 12:15 UTC: dba, duty-manager",
        "2026-03-02 12:30 UTC: head-of-it",
    )
    story.person("taken", actor="mira")
    assert escalation.in_words(story.engine, story.situation()) == ("it ended when mira took it",)


def test_new_settings_count_at_once():
    story = broken({}).after(20 * MINUTE).tick()
    story.settings(SETTINGS).after(60 * MINUTE).tick()

    assert [(step, whom) for _, step, whom in told(story)] == [(2, "dba"), (2, "duty-manager"), (3, "head-of-it")]


def test_an_escalation_is_the_same_after_restarts_and_between_ticks():
    story = broken().after(MINUTE).silence("s", 'host="db"', for_s=9 * MINUTE).after(11 * MINUTE).tick()
    story.fire("shop", severity="critical", holds_s=7_200.0).after(20 * MINUTE).person("commented")
    story.resolve("db").after(60 * MINUTE).tick().fire("db").after(60 * MINUTE).tick()
    ticks = [story.start + timedelta(minutes=3 * n) for n in range(80)]

    assert len(told(story)) >= 3
    check_same(story.records, restarts=range(len(story.records)))
    check_same(story.records, step_records=4)
    check_same(story.records, ticks=ticks)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([POLICY, POLICY], "two are called 'urgent'"),
        ([{**POLICY, "steps": [STEPS[1], STEPS[0]]}], "not later than the step before"),
        ([{**POLICY, "steps": []}], "at least 1"),
        ([{**POLICY, "steps": [{"after": "5m", "tell": []}]}], "at least 1"),
    ],
)
def test_policies_that_mean_nothing_are_refused(said: list[dict[str, Any]], words: str):
    with pytest.raises(ValueError, match=words):
        CorrelationSettings.model_validate({"escalation": said})
