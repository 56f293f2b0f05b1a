"""What history has no use for: silences and windows that matched nothing, rules that joined nothing."""

from pathlib import Path

import msgspec
import pytest

from foreshock.service.recorded import Input
from foreshock.service.replay import Version
from foreshock.service.rule_files import read_rules
from foreshock.service.unused import unused
from foreshock.testing.commands import run
from foreshock.testing.records import COLLECTORS, RULES, Story

HOUR, DAY = 3600.0, 86_400.0
SHOP = ("shop depends_on api", "api depends_on db1", "mail runs_on nas")
FILES: dict[str, str] = {}


def told(story: Story, rules: Path | None = None) -> list[str]:
    inputs = [Input(record=record) for record in story.records]
    found, origins = read_rules(rules)
    return [str(lint) for lint in unused(inputs, COLLECTORS, RULES, Version(rules=found), origins)]


def test_a_silence_that_matched_nothing_in_a_while_is_told_with_its_matchers_and_the_remedy():
    story = Story(*SHOP).silence("typo", 'host="db7"', for_s=DAY).at(60).fire("db1").at(2 * HOUR).tick()

    assert told(story) == [
        'silence typo: {host="db7"} of mira matched no alert in 2h; check its matchers, or end it: '
        "foreshock silence expire typo"
    ]


@pytest.mark.parametrize(
    "story",
    [
        Story(*SHOP).silence("used", 'host="db1"', for_s=DAY).at(60).fire("db1").at(2 * HOUR).tick(),
        Story(*SHOP).fire("db1", holds_s=DAY).at(60).silence("used", 'host="db1"', for_s=DAY).at(2 * HOUR).tick(),
        Story(*SHOP).fire("db1").at(2 * HOUR).silence("young", 'host="x"', for_s=DAY).at(2 * HOUR + 60).tick(),
        Story(*SHOP).silence("over", 'host="x"', for_s=2 * HOUR).at(60).fire("db1").at(3 * HOUR).tick(),
        Story(*SHOP).silence("later", 'host="x"', for_s=DAY, starts_s=DAY).at(60).fire("db1").at(3 * HOUR).tick(),
        Story(*SHOP).window("used", "db1", spans_s=[(0, DAY)]).at(60).fire("shop").at(3 * HOUR).tick(),
        Story(*SHOP)
        .silence("used", 'disk="b"', for_s=DAY)
        .at(60)
        .fire("db1", labels={"disk": "a"})
        .fire("db1", labels={"disk": "b"})
        .at(3 * HOUR)
        .tick(),
        Story(*SHOP)
        .window("used", "db1", spans_s=[(3600, 2 * HOUR + 3600), (DAY, DAY + 1)])
        .at(60)
        .fire("db1", holds_s=DAY)
        .at(5 * HOUR)
        .tick(),
    ],
    ids=[
        "matched later",
        "matched what fired",
        "is young",
        "is over",
        "has not begun",
        "covers what depends",
        "one of two",
        "ran while nobody spoke",
    ],
)
def test_what_matched_something_or_had_no_chance_is_not_told_of(story: Story):
    assert told(story) == []


def test_a_resolved_alert_needs_no_silence():
    story = Story(*SHOP).fire("db1").at(60).resolve("db1").at(90).silence("late", 'host="db1"', for_s=DAY)

    assert len(told(story.at(3 * HOUR).tick())) == 1


def test_a_window_that_ran_for_a_while_over_nothing_that_fired_is_told_of():
    spans = [(day * DAY, day * DAY + 1800) for day in range(5)]
    story = Story(*SHOP).window("nightly", "nas", spans_s=spans, title="backup").at(60).fire("db1").at(3 * DAY).tick()

    assert told(story) == [
        "maintenance nightly: “backup” of netops ran for 1h30m and matched no alert; "
        "check its CIs, services and matchers"
    ]


def test_a_rule_of_a_file_that_joined_nothing_is_told_of_with_its_place_and_a_shipped_one_is_not(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text(
        "- {name: rack, kind: attribute, equal: [rack], strength: 0.9}\n"
        "- {name: hall, kind: attribute, equal: [hall], strength: 0.9}\n"
    )
    story = Story().fire("a", labels={"rack": "r1"}).at(9).fire("b", labels={"rack": "r1"}).at(2 * HOUR).tick()

    (found,) = told(story, tmp_path / "rules.yaml")
    assert found.startswith(
        f"{tmp_path}/rules.yaml:2:4: hall: it was no alert's strongest reason to join in 2h of history; "
    )


def test_a_check_reads_history_and_warns(here: Path):
    story = Story(*SHOP).silence("typo", 'host="db7"', for_s=DAY).at(60).fire("db1").at(2 * HOUR).tick()
    (here / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in story.records))

    found = run(("rules", "check", "--history", "history.jsonl", "--strict"))

    assert found.exit_code == 1
    assert 'silence typo: {host="db7"} of mira matched no alert in 2h' in found.stderr


def test_what_fires_after_a_silence_was_over_is_no_match():
    story = Story(*SHOP).window("nightly", "db1", spans_s=[(0, 2 * HOUR), (DAY, DAY + 60)])

    assert len(told(story.at(3 * HOUR).fire("mail").at(4 * HOUR).fire("db1").at(5 * HOUR).tick())) == 1


def test_a_check_lists_the_mistakes_of_settings_and_rules_together(here: Path):
    (here / "foreshock.yaml").write_text("rules: rules.yaml\nlistn: x\n")
    (here / "rules.yaml").write_text("- {name: a, kind: attribut}\n")

    found = run(("rules", "check", "--config", "foreshock.yaml"))

    assert found.exit_code == 78
    assert [line.partition(": ")[0] for line in found.stderr.splitlines()] == ["foreshock.yaml:2:1", "rules.yaml:1:13"]
