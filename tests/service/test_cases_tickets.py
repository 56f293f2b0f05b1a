"""What cases say of tickets, of what people are told, and of Problems."""

from pathlib import Path

import pytest

from foreshock.core.errors import ConfigError
from foreshock.service.cases.run import Result, run, told
from foreshock.service.settings_files import cases_schema
from foreshock.testing.schemas import problems

FILE = """
topology: [shop depends_on db1]
cis: {db1: {owner: dba}}
sinks: [jira, desk]
settings:
  escalation: [{name: all, priorities: [1, 2, 3, 4, 5], steps: [{after: 10m, tell: [boss, "{group}"]}]}]
  sla: {targets: [{priority: 3, resolve: 1h}], warn_at: [50]}
cases:
- name: one
"""
FULL = "{at: 0s, fire: Full on db1}"


def result_of(tmp_path: Path, steps: str, check: str) -> Result:
    file = tmp_path / "cases.yaml"
    file.write_text(f"{FILE}  steps: [{steps}]\n  expect: [{{{check}}}]\n")
    (result,) = run([file], None, "")
    return result


def differences(tmp_path: Path, steps: str, check: str) -> list[str]:
    return [line for failure in result_of(tmp_path, steps, check).failures for _, line in told(failure)]


OPENED = "+ open: [Full on db1], at 30s, priority 3, group dba, title Full on db1, sink"


@pytest.mark.parametrize(
    "said",
    [
        "{open: Full on db1}",
        "{open: Full on db1, at: 30s, priority: 3, group: dba, title: Full, sink: jira}",
        "{open: Full on db1, sink: jira}, {open: Full on db1, sink: desk}",
        "{not_opened: Jam on printer, because: no situation holds}",
    ],
)
def test_a_ticket_is_as_it_says(tmp_path: Path, said: str):
    assert differences(tmp_path, FULL, f"at: 2m, tickets: [{said}]") == []


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("open: Full on db1, at: 1m", "at 1m"),
        ("open: Full on db1, priority: 1", "priority 1"),
        ('open: Full on db1, group: ""', "group none"),
        ("open: Full on db1, title: Empty", "title Empty"),
    ],
)
def test_what_differs_stands_beside_the_write_that_is_there(tmp_path: Path, said: str, line: str):
    assert differences(tmp_path, FULL, f"at: 2m, tickets: [{{{said}}}]")[:4] == [
        "at 2m:",
        f"  - open: Full on db1, {line}",
        f"  {OPENED} jira",
        f"  {OPENED} desk",
    ]


def test_each_write_is_there_as_often_as_it_is_expected(tmp_path: Path):
    twice = "at: 2m, tickets: [{open: Full on db1, sink: jira}, {open: Full on db1, sink: jira}]"

    assert f"  {OPENED} desk" in differences(tmp_path, FULL, twice)


def test_a_ticket_that_is_opened_and_should_not_be_is_told(tmp_path: Path):
    assert differences(tmp_path, FULL, "at: 2m, tickets: [{not_opened: Full on db1, sink: jira}]") == [
        "at 2m:",
        "  - not_opened: Full on db1, sink jira",
        f"  {OPENED} jira",
    ]


def test_why_no_ticket_is_opened_is_compared(tmp_path: Path):
    steps = "{at: 0s, silence: 'ci=\"db1\"', title: planned work}, {at: 1s, fire: Full on db1}"

    assert differences(tmp_path, steps, "at: 2m, tickets: [{not_opened: Full on db1, because: planned work}]") == []
    found = differences(tmp_path, steps, "at: 2m, tickets: [{not_opened: Full on db1, because: too young}]")
    assert found[1] == "  - not_opened: Full on db1, because too young"
    assert "planned work" in found[2]
    (missing,) = [
        line
        for line in differences(tmp_path, steps, "at: 2m, tickets: [{open: Full on db1}]")
        if line.startswith("    ")
    ]
    assert "planned work" in missing


def test_a_ticket_of_what_was_merged_is_known_by_what_it_was_about(tmp_path: Path):
    steps = (
        "{at: 0s, fire: Full on db1}, {at: 1m, fire: Jam on printer}, {at: 3m, merge: [Full on db1, Jam on printer]}"
    )
    check = "at: 5m, tickets: [{resolve: Jam on printer, sink: jira, at: 3m}]"

    assert differences(tmp_path, steps, check) == []


ALL_TOLD = (
    "{escalation: Full on db1, level: 1, to: boss, at: 10m30s}, {escalation: Full on db1, to: dba}, "
    "{sla: Full on db1, level: 50, to: dba, at: 30m30s}"
)


def test_all_that_people_are_told_is_listed(tmp_path: Path):
    assert differences(tmp_path, FULL, f"at: 40m, notices: [{ALL_TOLD}]") == []
    assert differences(tmp_path, FULL, "at: 5m, notices: []") == []
    assert "  + escalation: [Full on db1], level 1, to boss, at 10m30s" in differences(
        tmp_path, FULL, "at: 20m, notices: []"
    )


@pytest.mark.parametrize("wrong", ["level: 2", "to: nobody", "at: 3m"])
def test_a_notice_that_is_another_is_told_with_who_is_next(tmp_path: Path, wrong: str):
    found = differences(tmp_path, FULL, f"at: 11m, notices: [{{escalation: Full on db1, {wrong}}}]")

    assert found[1].startswith("  - escalation: Full on db1, ")
    assert "  + escalation: [Full on db1], level 1, to boss, at 10m30s" in found
    assert any("2026-01-01 12:10 UTC: boss, dba (told)" in line for line in found)


def test_who_takes_a_ticket_ends_its_escalation_in_whatever_sink(tmp_path: Path):
    steps = f"{FULL}, {{at: 5m, ticket: taken, of: Full on db1, sink: desk}}"

    assert differences(tmp_path, steps, "at: 20m, notices: []") == []


THRICE = "{at: 0s, flap: Full on db1, every: 2h, times: 3}"


def test_problems_are_listed_with_how_often_they_came(tmp_path: Path):
    assert differences(tmp_path, THRICE, "at: 5h, problems: [{about: db1, incidents: 3}]") == []
    assert differences(tmp_path, THRICE, "at: 3h, problems: [{about: db1}]") == [
        "at 3h:",
        "  - problem: about db1",
        "    db1: 2 of 3 in 30d",
    ]


def test_a_problem_that_nobody_expects_is_told(tmp_path: Path):
    assert differences(tmp_path, THRICE, "at: 5h, problems: []") == ["at 5h:", "  + problem: about db1, incidents 3"]


def test_what_was_written_days_before_a_check_is_known_by_what_it_was_about(tmp_path: Path):
    steps = "{at: 0s, fire: Full on db1}, {at: 5m, resolve: Full on db1}"
    check = "at: 30d, tickets: [{open: Full on db1, sink: jira}, {resolve: Full on db1, sink: jira}]"

    assert differences(tmp_path, steps, check) == []


def test_what_people_closed_as_no_fault_makes_no_problem(tmp_path: Path):
    steps = f"{THRICE}, {{at: 20m, ticket: closed, of: Full on db1, code: No fault found}}"

    assert differences(tmp_path, steps, "at: 5h, problems: []") == []


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("at: 1m", "it expects nothing"),
        ("at: 1m, tickets: [{at: 1m}]", "it says nothing of a ticket"),
        ("at: 1m, tickets: [{open: a on b, resolve: a on b}]", "it says open and resolve of a ticket"),
        ("at: 1m, tickets: [{not_opened: a on b, priority: 1}]", "what is not opened has nothing"),
        ("at: 1m, tickets: [{open: a on b, because: x}]", "`because` goes with `not_opened`"),
        ("at: 1m, tickets: [{not_opened: a on b, sink: jria}]", "there is no sink 'jria'"),
        ("at: 1m, notices: [{to: boss}]", "it says nothing"),
    ],
)
def test_a_mistake_is_told_before_anything_is_played(tmp_path: Path, check: str, said: str):
    with pytest.raises(ConfigError) as caught:
        result_of(tmp_path, FULL, check)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("write", "count"), [({"open": "a on b"}, 0), ({"open": "a on b", "resolve": "a on b"}, 1), ({"at": "1m"}, 1)]
)
def test_an_editor_tells_of_a_write_that_is_none_or_two(write: dict[str, str], count: int):
    case = {"name": "one", "steps": [{"at": "0s", "fire": "a on b"}], "expect": [{"at": "1m", "tickets": [write]}]}

    assert len(list(problems({"cases": [case]}, cases_schema(), cases_schema()))) == count
