"""When each ticket write would happen for recorded input, and what it waits for."""

from collections.abc import Iterable

from foreshock.core.model import JudgementKind
from foreshock.service.recorded import Input
from foreshock.service.replay import replay
from foreshock.service.timeline import Row, timeline
from foreshock.testing.records import COLLECTORS, RULES, Story


def inputs(story: Story) -> list[Input]:
    return [
        Input(record=record, ids=(f"{record.number}",) if record.kind == "events" else ()) for record in story.records
    ]


def told(story: Story, rows: Iterable[Row], *verbs: str) -> list[tuple[float, str, str]]:
    return [
        ((row.at - story.start).total_seconds(), row.situation, row.verb)
        for row in rows
        if not verbs or row.verb in verbs
    ]


def test_writes_and_waits_stand_in_the_order_in_which_they_happen():
    story = Story().fire("db1").at(100).resolve("db1")

    rows = timeline(inputs(story), COLLECTORS, RULES)

    assert told(story, rows) == [
        (0.0, "S-1", "wait"),
        (30.0, "S-1", "open"),
        (100.0, "S-1", "quiet"),
        (100.0, "S-1", "update"),
        (220.0, "S-1", "resolve"),
    ]
    assert rows[0].until is not None
    assert rows[0].until == rows[1].at
    assert rows[2].until == rows[4].at


def test_it_tells_what_replay_writes():
    story = Story("shop depends_on api").fire("api").at(20).fire("shop").at(300).resolve("api").resolve("shop")

    rows = timeline(inputs(story), COLLECTORS, RULES)

    assert len(told(story, rows, "open")) == replay(inputs(story), COLLECTORS, RULES).tickets == 1


def test_a_join_window_that_closes_before_the_end_is_a_row():
    story = Story(settings={"group": {"join": "1m"}}).fire("db1").at(500).resolve("db1")

    assert told(story, timeline(inputs(story), COLLECTORS, RULES), "join") == [(60.0, "S-1", "join")]


def test_what_recovers_in_time_is_seen_to_need_no_ticket():
    story = Story().fire("db1").at(10).resolve("db1")

    rows = timeline(inputs(story), COLLECTORS, RULES)

    assert rows[-1].verb == "nothing"
    assert rows[-1].reason == "it recovered before a ticket was due"


def test_groups_of_a_replay_follow_what_was_split_and_merged_afterwards():
    story = Story("shop depends_on api", "api runs_on db1").fire("db1").fire("api").fire("shop")
    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=["shop"]).at(5)
    split = dict(replay(inputs(story), COLLECTORS, RULES).groups)
    story.judge(JudgementKind.MERGE, situation="S-1", other="S-2")
    merged = dict(replay(inputs(story), COLLECTORS, RULES).groups)

    assert list(split.values()) == ["S-1", "S-1", "S-2"]
    assert list(merged.values()) == ["S-1", "S-1", "S-1"]


def test_nothing_comes_of_nothing():
    assert timeline([], COLLECTORS, RULES) == []
