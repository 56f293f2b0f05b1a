"""What history suggests: what was planted is found and nothing else, and it is better for later history."""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from correlation.rule import RuleInstance
from foreshock.core.contracts import RecordKind
from foreshock.core.model import JudgementKind
from foreshock.service.cli import app
from foreshock.service.proposal import read_proposal
from foreshock.service.recorded import Input
from foreshock.service.replay import Version, replay
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.suggest import report
from foreshock.service.suggest.recall import Recalled, recall
from foreshock.service.suggest.suggestion import changed, suggestion_kinds
from foreshock.service.suggest.trial import History, Suggested, Tried, suggest
from foreshock.service.truth import Truth
from foreshock.testing.records import Story, shipped_rules

ROOT = Path(__file__).parents[2]
DAY_S = 86_400.0
MINUTE_S = 60.0
DAYS = 30
HOSTS = tuple(f"h{number}" for number in range(24))
TIES = tuple(f"{host} runs_on rack{number % 6}" for number, host in enumerate(HOSTS))

Act = tuple[float, Callable[[Story], object]]
"""What happens, so many seconds after the start."""


def noise(seed: int, times: int = 300) -> list[Act]:
    """Alerts that have nothing to do with each other."""
    dice = random.Random(seed)
    return [
        act
        for _ in range(times)
        for act in episode(
            dice.uniform(0, DAYS * DAY_S),
            dice.choice(HOSTS),
            dice.choice(("DiskFull", "Slow", "Errors")),
            lasts_s=dice.uniform(30, 90) * MINUTE_S,
        )
    ]


def episode(at_s: float, ci: str, name: str, *, lasts_s: float, labels: dict[str, str] | None = None) -> list[Act]:
    given: dict[str, Any] = {"name": name, "labels": labels, "severity": "warning"}
    return [
        (at_s, lambda story: story.fire(ci, holds_s=DAY_S, **given)),
        (at_s + lasts_s, lambda story: story.resolve(ci, started_s=at_s, **given)),
    ]


def moments(seed: int, times: int, apart_s: float = 8 * 3600.0) -> list[float]:
    dice = random.Random(seed)
    return [number * DAYS * DAY_S / times + dice.uniform(0, apart_s) for number in range(times)]


def story_of(
    *acts: list[Act], ties: Iterable[str] = TIES, rules: Sequence[RuleInstance] | None = None, **settings: Any
) -> Story:
    story = Story(*ties, settings=settings, rules=rules)
    for at_s, act in sorted((one for some in acts for one in some), key=lambda one: one[0]):
        act(story.at(at_s))
    return story.after(DAY_S).tick()


def inputs(story: Story) -> list[Input]:
    return [
        Input(record=record, ids=(f"{record.number}.0",) if record.kind is RecordKind.EVENTS else ())
        for record in story.records
    ]


def recalled(story: Story) -> Recalled:
    return recall(inputs(story), collector_kinds(), rule_kinds())


def suggested(story: Story, *kinds: str, top: int = 5, truth: Truth | None = None) -> Suggested:
    names = kinds or tuple(suggestion_kinds())
    history = History(read=lambda: inputs(story), collectors=collector_kinds(), rules=rule_kinds(), truth=truth)
    return suggest(history, recalled(story), names, top)


def only(found: Suggested) -> Tried:
    (one,) = found.best
    return one


def situation_of(story: Story, ci: str, name: str) -> str:
    return story.alert(ci, name).situation


# ---- what is planted ------------------------------------------------------------------------------------------------


def merged_by_hand(seed: int = 1, times: int = 20, every: int = 1) -> list[Act]:
    """The same queue on two machines: whenever its consumer fails, a person joins it with the producer; or does so only
    every third time."""
    acts: list[Act] = []
    for number, at_s in enumerate(moments(seed, times)):
        one, other = HOSTS[number % 12], HOSTS[12 + number % 11]
        labels = {"queue": f"q{number % 5}"}
        acts += episode(at_s, one, "ConsumerDown", lasts_s=3600, labels=labels)
        acts += episode(at_s + 100, other, "ProducerBlocked", lasts_s=3600, labels=labels)
        if number % every == 0:
            acts.append((at_s + 300, lambda story, one=one, other=other: join(story, one, other)))
    return acts


def join(story: Story, one: str, other: str) -> None:
    here, there = situation_of(story, one, "ConsumerDown"), situation_of(story, other, "ProducerBlocked")
    if here != there:
        story.judge(JudgementKind.MERGE, situation=here, other=there)


def failing_together(seed: int = 2, times: int = 24) -> list[Act]:
    """Two hosts of different racks that share something nobody has written down."""
    return [
        act
        for at_s in moments(seed, times)
        for act in (
            *episode(at_s, "h1", "DiskFull", lasts_s=3600),
            *episode(at_s + 8, "h2", "Slow", lasts_s=3600),
        )
    ]


def numbered(seed: int = 3, times: int = 20) -> list[Act]:
    """A job whose alerts carry the number of the run, four in a row, on a CI that no label names."""
    acts: list[Act] = []
    for number, at_s in enumerate(moments(seed, times)):
        for turn in range(4):
            labels = {"run": str(70_000 + 4 * number + turn), "host": ""}
            acts += episode(at_s + turn * 1500, "", "JobFailed", lasts_s=300, labels=labels)
    return acts


def coming_back(seed: int = 4) -> list[Act]:
    """One alert that is over and back every forty-five minutes, for six hours, on several days."""
    return [
        act
        for at_s in moments(seed, 12)
        for turn in range(8)
        for act in episode(at_s + turn * 2700, "h3", "LinkDown", lasts_s=300)
    ]


def recovering_late(seed: int = 5) -> list[Act]:
    """What is over by itself after eight minutes."""
    return [
        act
        for number, at_s in enumerate(moments(seed, 60))
        for act in episode(at_s, HOSTS[number % 24], "BackupBusy", lasts_s=480)
    ]


def over_at_once(seed: int = 6) -> list[Act]:
    """What often lasts and often does not."""
    return [
        act
        for number, at_s in enumerate(moments(seed, 90))
        for act in episode(at_s, HOSTS[number % 24], ("DiskFull", "Slow", "Errors")[number % 3], lasts_s=50)
    ]


def handled(seed: int, name: str, *does: str, times: int = 40, code: str = "") -> list[Act]:
    """Tickets that somebody does this to. code: with which they are resolved."""
    acts: list[Act] = []
    for number, at_s in enumerate(moments(seed, times)):
        ci = HOSTS[number % 24]
        acts += episode(at_s, ci, name, lasts_s=2400)
        for turn, state in enumerate(does, 1):
            acts.append(
                (
                    at_s + 120 * turn,
                    lambda story, ci=ci, state=state: story.person(state, situation_of(story, ci, name), code=code),
                )
            )
    return acts


def taken_apart(seed: int, times: int = 24) -> list[Act]:
    """A cache and its users, which are slow at one time by accident; each time a person says so."""
    acts: list[Act] = []
    for number, at_s in enumerate(moments(seed, times)):
        one, other = "cache", HOSTS[number % 24]
        acts += episode(at_s, one, "Slow", lasts_s=3600) + episode(at_s + 5, other, "Slow", lasts_s=3600)
        acts.append((at_s + 300, lambda story, one=one, other=other: part(story, one, other)))
    return acts


def part(story: Story, one: str, other: str) -> None:
    here, there = situation_of(story, one, "Slow"), situation_of(story, other, "Slow")
    if here == there:
        story.judge(JudgementKind.SPLIT, situation=here, alerts=(other,))


def named_as_cause(seed: int = 9, times: int = 24) -> list[Act]:
    """A database that no topology knows to be behind the host, and a person who does."""
    acts: list[Act] = []
    for at_s in moments(seed, times):
        acts += episode(at_s, "db9", "Locked", lasts_s=3600) + episode(at_s + 20, "h5", "Errors", lasts_s=3600)
        acts.append(
            (
                at_s + 300,
                lambda story: story.judge(
                    JudgementKind.CAUSE, situation=situation_of(story, "h5", "Errors"), cis=("db9",)
                ),
            )
        )
    return acts


def joined_late(seed: int = 10, times: int = 24) -> list[Act]:
    """What the topology ties, too late for the threshold; people join it."""
    acts: list[Act] = []
    for number, at_s in enumerate(moments(seed, times)):
        host, rack = HOSTS[number % 24], f"rack{number % 6}"
        acts += episode(at_s, rack, "ConsumerDown", lasts_s=3600)
        acts += episode(at_s + 200, host, "ProducerBlocked", lasts_s=3600)
        acts.append((at_s + 500, lambda story, host=host, rack=rack: join(story, rack, host)))
    return acts


# ---- tests ----------------------------------------------------------------------------------------------------------


@cache
def of_the_queues() -> Suggested:
    """The example in the documentation."""
    return suggested(story_of(noise(1), merged_by_hand()))


def test_what_people_join_again_and_again_becomes_a_rule_that_would_have_joined_it():
    one = only(of_the_queues())

    (rule,) = one.suggestion.patch.rules
    assert (rule["equal"], rule["window"]) == (["queue"], "2m")
    assert "people joined ConsumerDown and ProducerBlocked with an equal queue by hand" in one.suggestion.seen
    assert one.right >= 3
    assert one.saved >= 3
    assert (one.wrong, one.lost) == (0, 0)


def test_what_people_join_whatever_it_says_becomes_one_rule_on_the_label_that_tells_most():
    acts: list[Act] = []
    for number, at_s in enumerate(moments(14, 24)):
        one, other = HOSTS[number], HOSTS[(number + 5) % 24]  # of different racks
        names = (("LagHigh", "QueueFull"), ("BrokerSlow", "Rejected"))[number % 2]
        labels = {"queue": f"q{number % 7}", "site": f"s{number % 2}"}
        for ci, name in zip((one, other), names, strict=True):
            acts += episode(at_s, ci, name, lasts_s=3600, labels=labels)
        acts.append(
            (
                at_s + 300,
                lambda story, one=one, other=other, names=names: story.judge(
                    JudgementKind.MERGE,
                    situation=situation_of(story, one, names[0]),
                    other=situation_of(story, other, names[1]),
                ),
            )
        )
    (rule,) = only(suggested(story_of(noise(14, 150), acts), "merges")).suggestion.patch.rules

    assert (rule["equal"], rule.get("when")) == (["queue"], None)


def test_what_people_leave_apart_more_often_than_they_join_it_becomes_no_rule():
    assert suggested(story_of(noise(1, 150), merged_by_hand(times=30, every=3)), "merges").best == ()


def without_its_beginning(story: Story) -> list[Input]:
    """As a capture of the later two thirds: what was in force, and records with the numbers they had."""
    begin = story.start + timedelta(days=DAYS / 3)
    heads = (RecordKind.SETTINGS, RecordKind.TOPOLOGY)
    return [one for one in inputs(story) if one.record.kind in heads or one.record.at >= begin]


@pytest.mark.parametrize(("is_told", "kinds"), [(True, ["merges"]), (False, [])])
def test_in_a_part_of_history_what_people_said_is_known_by_its_alerts(is_told: bool, kinds: list[str]):
    story = story_of(noise(1), merged_by_hand(times=30))
    part = without_its_beginning(story)
    said = story.told.judgements if is_told else ()
    history = History(read=lambda: part, collectors=collector_kinds(), rules=rule_kinds())

    found = suggest(history, recall(part, collector_kinds(), rule_kinds(), said=said), ["merges"], 5)

    assert [one.suggestion.kind for one in found.best] == kinds
    assert all(one.right > 3 for one in found.best)


def test_what_people_have_taken_up_is_not_suggested_again():
    one = only(of_the_queues())
    taken_up = changed(Version(rules=shipped_rules()), one.suggestion.patch, None).rules
    story = story_of(noise(1), merged_by_hand())

    found = suggested(story.settings({}, rules=taken_up), "merges")

    assert (found.best, found.useless, found.untried) == ((), 0, 0)


def test_what_fails_together_without_a_way_becomes_a_relationship():
    one = only(suggested(story_of(noise(2), failing_together()), "cofailures"))

    (line,) = one.suggestion.patch.relationships
    assert (line.source, line.type, line.target) == ("h2", "depends_on", "h1")
    assert one.saved >= 7


def test_a_label_that_is_new_each_time_identifies_no_more():
    one = only(suggested(story_of(noise(3), numbered()), "noisy_labels"))

    (rule,) = one.suggestion.patch.settings["fold"]["identity"]
    assert rule == {
        "collector": "alertmanager", "source": "alertmanager", "match": ['alertname="JobFailed"'], "without": ["run"],
    }  # fmt: skip
    assert one.saved > 0


def test_what_comes_back_too_slowly_to_flap_is_reopened_instead():
    one = only(suggested(story_of(noise(4), coming_back()), "returning"))

    assert one.suggestion.patch.settings == {"group": {"reopen": "1h"}}
    assert one.saved > 20


def test_what_recovers_by_itself_gets_the_time_it_needs():
    one = only(suggested(story_of(noise(5), recovering_late()), "recovering"))

    assert one.suggestion.patch.settings == {"suppress": {"transient": {"within": "10m"}}}
    assert one.saved > 5


def test_where_many_tickets_are_about_what_is_over_at_once_they_may_wait():
    one = only(suggested(story_of(noise(6, 100), over_at_once()), "delays"))

    assert one.suggestion.patch.settings == {"ticket": {"delay": "1m"}}
    assert one.saved > 5


def test_what_loses_one_urgent_incident_is_left_out_whatever_it_saves():
    one = only(of_the_queues())

    assert not msgspec.structs.replace(one, saved=1000, lost=1).helps


def test_what_goes_against_people_more_often_than_with_them_is_left_out_whatever_it_saves():
    one = only(of_the_queues())

    assert not msgspec.structs.replace(one, saved=1000, right=1, wrong=2).helps


def test_a_few_tickets_less_are_not_worth_that_many_come_later():
    one = only(suggested(story_of(noise(6, 100), over_at_once()), "delays"))

    assert msgspec.structs.replace(one, saved=4, calm=0, late=39).helps
    assert not msgspec.structs.replace(one, saved=4, calm=0, late=40).helps


def test_what_only_was_not_sent_again_spares_no_ticket_by_waiting():
    story = Story()
    for number in range(200):
        story.at(number * 7200).fire(HOSTS[number % 24], holds_s=50, severity="warning")

    assert suggested(story.after(DAY_S).tick(), "delays").best == ()


def test_a_ticket_that_nobody_ever_acts_on_waits_until_several_fail():
    story = story_of(handled(7, "DiskFull", "taken", "resolved", times=80), handled(8, "FanSlow"))
    one = only(suggested(story, "unacted"))

    assert one.suggestion.patch.settings["suppress"]["thresholds"] == [
        {"name": "FanSlow", "matchers": ['alertname="FanSlow"'], "cis": 3, "within": "10m"}
    ]
    assert one.saved > 5


def test_a_ticket_that_people_close_as_a_false_alarm_is_not_acted_on():
    false = handled(8, "FanSlow", "resolved", code="False positive")
    one = only(suggested(story_of(handled(7, "DiskFull", "taken", "resolved", times=80), false), "unacted"))

    assert one.suggestion.patch.settings["suppress"]["thresholds"][0]["name"] == "FanSlow"


def test_where_nobody_handles_tickets_in_a_way_we_see_silence_says_nothing():
    assert suggested(story_of(handled(7, "DiskFull", times=80), handled(8, "FanSlow")), "unacted").best == ()


def test_a_type_of_relationship_whose_links_people_take_apart_joins_nothing_more():
    story = story_of(noise(8, 150), taken_apart(8), ties=[f"{host} uses cache" for host in HOSTS])
    one = only(suggested(story, "cuts"))

    assert one.suggestion.patch.settings == {"relate": {"costs": {"uses": 4.0}}}
    assert one.right == one.parted > 5
    assert one.worth > 0


def test_a_rule_whose_links_people_take_apart_is_switched_off():
    rules = shipped_rules(attribute={"equal": ["severity"], "window": "30s", "strength": 0.6})
    acts: list[Act] = []
    for number, at_s in enumerate(moments(13, 24)):
        one, other = HOSTS[number], HOSTS[(number + 1) % 24]
        acts += episode(at_s, one, "Slow", lasts_s=3600) + episode(at_s + 5, other, "Slow", lasts_s=3600)
        acts.append((at_s + 300, lambda story, one=one, other=other: part(story, one, other)))
    one = only(suggested(story_of(noise(13, 150), acts, rules=rules), "cuts"))

    (rule,) = one.suggestion.patch.rules
    assert (rule["name"], rule["enabled"]) == ("attribute", False)
    assert one.right == one.parted > 5


def test_a_cause_that_people_name_and_the_topology_has_no_way_to_becomes_a_relationship():
    story = story_of(noise(9, 150), named_as_cause(), ties=(*TIES, "db9 runs_on rack1"))
    one = only(suggested(story, "causes"))

    (line,) = one.suggestion.patch.relationships
    assert (line.source, line.type, line.target) == ("h5", "depends_on", "db9")
    assert one.right > 5


def test_a_threshold_just_above_what_people_join_comes_down():
    one = only(suggested(story_of(noise(10, 150), joined_late()), "thresholds"))

    assert 0.25 <= one.suggestion.patch.settings["group"]["threshold"] < 0.4
    assert one.right > 5


def test_what_fits_labelled_truth_worse_is_left_out():
    story = story_of(noise(2), failing_together())
    apart = Truth(incidents=dict(replay(inputs(story), collector_kinds(), rule_kinds()).groups))

    found = suggested(story, "cofailures", truth=apart)

    assert (found.best, found.harmful) == ((), 1)


def test_too_little_history_is_said_to_be_too_little():
    found = suggested(story_of(noise(11, 20)))

    assert found.best == ()
    (line,) = report.text(found)
    assert line.startswith("Too little history: 20 alerts began in it, 100 are needed")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_suggested_where_nothing_is_behind_it(seed: int):
    assert suggested(story_of(noise(100 + seed, 500))).best == ()


def test_all_that_was_planted_is_found_and_nothing_else():
    planted = (merged_by_hand(), failing_together(), numbered(), coming_back())
    found = suggested(story_of(noise(7), *planted))

    kinds = sorted(one.suggestion.kind for one in found.best)
    assert kinds == ["cofailures", "merges", "noisy_labels", "returning"]


# ---- as a person uses it --------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORESHOCK_CONFIG", raising=False)
    return tmp_path


def captured(story: Story, file: Path) -> None:
    file.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in story.records))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_each_suggestion_is_a_file_that_passes_the_check_and_gives_the_plan_that_came_with_it(here: Path):
    captured(story_of(noise(1), merged_by_hand(), coming_back()), here / "history.jsonl")
    found = run("rules", "suggest", "history.jsonl", "--out", "patches")

    assert found.exit_code == 4
    (rules,) = here.glob("patches/merges-??????.yaml")
    assert run("rules", "check", str(rules), "--strict").exit_code == 0
    assert " merge" in run("rules", "plan", "history.jsonl", "--rules", str(rules)).output
    (settings,) = here.glob("patches/returning-*.settings.yaml")
    assert settings.read_text().endswith("group:\n  reopen: 1h\n")
    assert run("rules", "plan", "history.jsonl", "--settings", str(settings)).exit_code == 4
    (proposed,) = here.glob("patches/merges-*.plan")
    assert [rule.name for rule in read_proposal(proposed).proposed.rules if rule.kind == "attribute"] == [
        "suggested-consumerdown-producerblocked-queue"
    ]
    assert "What would have been different" in next(here.glob("patches/merges-*.plan.md")).read_text()


def test_programs_get_the_patch_and_the_plan_of_each_suggestion(here: Path):
    captured(story_of(noise(2), failing_together()), here / "history.jsonl")
    found = run("rules", "suggest", "history.jsonl", "--kind", "cofailures", "-o", "json")

    (one,) = json.loads(found.stdout)["suggestions"]
    assert one["yaml"] == "relationships:\n- source: h2\n  type: depends_on\n  target: h1\n"
    assert one["plan"]["after"]["tickets"] == one["plan"]["before"]["tickets"] - one["benefit"]["saved"]
    assert 0 < one["share"][0] < one["share"][1] <= 1


def test_without_anything_to_suggest_it_ends_with_0(here: Path):
    captured(story_of(noise(12)), here / "history.jsonl")
    found = run("rules", "suggest", "history.jsonl")

    assert found.exit_code == 0
    assert "Nothing is suggested" in found.output


def test_only_the_last_part_of_history_may_be_mined(here: Path):
    captured(story_of(noise(12)), here / "history.jsonl")
    said = run("rules", "suggest", "history.jsonl", "--since", "3d").output

    assert re.fullmatch(r"Too little history: [1-9][0-9] alerts began in it, 100 are needed .*\n", said)


def test_a_kind_that_there_is_not_is_refused_with_those_that_there_are(here: Path):
    found = run("rules", "suggest", "history.jsonl", "--kind", "merge")

    assert found.exit_code == 2
    assert "did you mean 'merges'" in found.output


def test_the_example_in_the_documentation_is_what_it_says():
    text = "\n".join(report.text(of_the_queues()))

    assert f"```\n{text}\n```" in (ROOT / "docs" / "tuning.md").read_text()
