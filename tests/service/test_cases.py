"""Cases that people write for their rules: played on a virtual clock, told as what is missing, what is there, why."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from foreshock.connect.config import read_yaml
from foreshock.core.errors import ConfigError, ForeshockError
from foreshock.service.cases.run import Result, junit, run, told
from foreshock.service.settings_files import cases_schema
from foreshock.testing.schemas import problems

SHIPPED = Path(__file__).parents[2] / "config" / "rules" / "cases"
TOPOLOGY = "topology: [shop depends_on api, api depends_on db1]\n"


def played(tmp_path: Path, steps: str, expect: str, *, more: str = "", topology: str = TOPOLOGY) -> Result:
    """One case with these steps and expectations, as lists in YAML's flow style."""
    file = tmp_path / "cases.yaml"
    file.write_text(f"{topology}{more}cases:\n- name: one\n  steps: {steps}\n  expect: {expect}\n")
    (result,) = run([file], None, "")
    return result


def told_of(result: Result) -> str:
    return "\n".join(line for failure in result.failures for _, line in told(failure))


@pytest.mark.parametrize("result", list(run([SHIPPED], None, "")), ids=lambda result: result.name)
def test_the_shipped_rules_do_what_their_cases_say(result: Result):
    assert told_of(result) == ""


def test_what_is_missing_stands_beside_what_is_there_with_the_reason(tmp_path: Path):
    steps = "[{at: 0s, fire: Full on db1}, {at: 20s, fire: [Errors on api, Jam on printer]}]"
    result = played(tmp_path, steps, "[{at: 1m, situations: [{alerts: [Full on db1, Jam on printer]}]}]")

    assert told_of(result).splitlines() == [
        "at 1m:",
        "  - [Full on db1, Jam on printer]",
        "  + [Errors on api, Full on db1]",
        "  + [Jam on printer]",
        *[line for line in told_of(result).splitlines() if line.startswith("    ")],
    ]
    assert "    Errors on api: api depends on db1, which also failed, 20 s apart (topology, 0." in told_of(result)
    assert "    Jam on printer: it opened the situation" in told_of(result)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("cause: shop", "cause db1"),
        ("priority: 1", "priority 3"),
        ("state: resolved", "state open"),
        ("held: silence", "held none"),
        ("assignment: nobody", "assignment none"),
        ("tickets: [open 10s]", "tickets open 30s"),
    ],
)
def test_each_field_is_compared_and_only_if_it_is_written(tmp_path: Path, wrong: str, said: str):
    steps = "[{at: 0s, fire: Full on db1}]"

    assert said in told_of(played(tmp_path, steps, f"[{{at: 1m, situations: [{{alerts: [Full on db1], {wrong}}}]}}]"))
    assert not played(tmp_path, steps, "[{at: 1m, situations: [{alerts: [Full on db1]}]}]").failures


def test_a_situation_that_nobody_expects_is_a_failure_unless_others_may_be_there(tmp_path: Path):
    steps = "[{at: 0s, fire: [Full on db1, Jam on printer]}]"
    expected = "situations: [{alerts: [Full on db1]}]"

    assert played(tmp_path, steps, f"[{{at: 1m, {expected}}}]").failures
    assert not played(tmp_path, steps, f"[{{at: 1m, {expected}, others: true}}]").failures


def test_checks_at_several_times_see_what_there_was_then(tmp_path: Path):
    steps = "[{at: 0s, fire: Full on db1}, {at: 2m, resolve: Full on db1}]"
    checks = (
        "[{at: 10m, situations: [{alerts: [Full on db1], state: resolved, tickets: [open 30s, update 2m, resolve 4m]}]}"
        ", {at: 1m, situations: [{alerts: [Full on db1], state: open, tickets: [open 30s]}]}]"
    )

    assert told_of(played(tmp_path, steps, checks)) == ""


def test_a_step_that_is_repeated_is_sent_again_and_does_not_begin_again(tmp_path: Path):
    steps = "[{at: 0s, fire: Full on db1, every: 1m, times: 30, holds: 2m}, {at: 29m, fire: Errors on api}]"

    result = played(tmp_path, steps, "[{at: 30m, situations: [{alerts: [Full on db1]}, {alerts: [Errors on api]}]}]")
    assert told_of(result) == ""


def test_what_people_do_in_the_ticket_system_is_heard(tmp_path: Path):
    steps = "[{at: 0s, fire: Full on db1}, {at: 1m, ticket: closed, of: Full on db1}, {at: 90s, fire: Errors on api}]"
    checks = "[{at: 3m, situations: [{alerts: [Full on db1]}, {alerts: [Errors on api]}]}]"

    assert told_of(played(tmp_path, steps, checks)) == ""


def test_settings_and_rules_of_a_case_come_on_top_of_those_of_the_file(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text("- {name: topology, kind: topology, enabled: false}\n")
    steps, apart = (
        "[{at: 0s, fire: Full on db1}, {at: 20s, fire: Errors on api}]",
        "[{alerts: [Full on db1]}, {alerts: [Errors on api]}]",
    )

    for more in ("settings: {group: {threshold: 0.9}}\n", "rules: rules.yaml\n"):
        assert told_of(played(tmp_path, steps, f"[{{at: 1m, situations: {apart}}}]", more=more)) == ""


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            "[{at: 0s}]",
            "cases.yaml:4:11: cases[0].steps[0]: a step does one thing, this one nothing; write a step each",
        ),
        ("[{at: 0s, fire: Full, resolve: x on y}]", "'Full' is no alert; write NAME on CI: DiskFull on db1"),
        ("[{at: 0s, fire: a on b, times: 3}]", "3 times need a time between; say `every`"),
        ("[{at: 0s, ticket: closed}]", "`ticket` names no situation; name an alert of the situation with `of`"),
        ("[{at: 0s, silence: host}]", "'host' is not a matcher"),
        ("[{at: soon, fire: a on b}]", "'soon' is not a duration"),
        ("[{at: 0s, fire: a on b, hold: 3s}]", "hold"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy_before_anything_is_played(tmp_path: Path, steps: str, said: str):
    with pytest.raises(ConfigError) as caught:
        played(tmp_path, steps, "[{at: 1m, situations: []}]")

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("settings: {group: {treshold: 1}}\n", "settings.group.treshold"),
        ("topology: [shop needs api]\n", "'shop needs api' is no relationship; write SOURCE TYPE TARGET"),
        ("cis: {db1: {criticality: 9}}\n", "cis.db1.criticality"),
    ],
)
def test_a_mistake_in_what_a_file_begins_with_is_told_with_its_place(tmp_path: Path, more: str, said: str):
    with pytest.raises(ConfigError) as caught:
        played(tmp_path, "[{at: 0s, fire: a on b}]", "[{at: 1m, situations: []}]", topology=more)

    assert said in str(caught.value)


def test_only_the_cases_asked_for_are_played():
    named = [result.name for result in run([SHIPPED], None, "silence")]

    assert named == ["a silence holds the ticket back and says so"]


def test_a_folder_without_cases_is_a_mistake(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no case files"):
        list(run([tmp_path], None, ""))


def test_junit_has_a_suite_for_each_file_and_the_reasons(tmp_path: Path):
    failed = played(tmp_path, "[{at: 0s, fire: Full on db1}]", "[{at: 1m, situations: []}]")
    root = ElementTree.fromstring(junit([failed, *run([SHIPPED], None, "flapping")]))

    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [("1", "1"), ("1", "0")]
    assert "+ [Full on db1]" in (root.findtext("testsuite/testcase/failure") or "")


def one(alerts: str, more: str = "") -> str:
    """A situation that is expected."""
    return f"{{alerts: [{alerts}]{more}}}"


BOTH = "{at: 0s, fire: [Full on db1, Jam on printer]}"
JAM = one("Jam on printer")
APART = f"{one('Full on db1')}, {one('Errors on api')}, {JAM}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("merge: [Full on db1, Jam on printer]", one("Full on db1, Jam on printer")),
        ("not_related: [Full on db1, Errors on api]", APART),
        ("not_related: [db1, api]", APART),
        ("split: Errors on api", APART),
        ("move: Errors on api, to: Jam on printer", f"{one('Full on db1')}, {one('Errors on api, Jam on printer')}"),
        ("cause: api, of: Full on db1", f"{one('Full on db1, Errors on api', ', cause: api')}, {JAM}"),
    ],
    ids=lambda text: text[:20],
)
def test_what_people_say_of_situations_is_heard(tmp_path: Path, said: str, expected: str):
    fired = BOTH if said.startswith("merge") else "{at: 0s, fire: [Full on db1, Errors on api, Jam on printer]}"
    steps = f"[{fired}, {{at: 1m, {said}, by: anna}}]"

    assert told_of(played(tmp_path, steps, f"[{{at: 2m, situations: [{expected}]}}]")) == ""


@pytest.mark.parametrize(
    ("said", "done", "why"),
    [
        ("split: Errors on api", "split: [Errors on api]", "no situation holds Errors on api then"),
        ("split: Full on db1", "split: [Full on db1]", "these are all the alerts of S-1"),
        ("ticket: closed, of: Slow on db1", "ticket: closed, of: Slow on db1", "no situation holds Slow on db1 then"),
        ("not_related: [a on b, c on d]", "not_related: [a on b, c on d]", "there is no alert a on b then"),
    ],
)
def test_what_people_do_and_nothing_comes_of_it_is_a_failure(tmp_path: Path, said: str, done: str, why: str):
    result = played(tmp_path, f"[{BOTH}, {{at: 1m, {said}}}]", "[{at: 2m, situations: [], others: true}]")

    assert told_of(result).splitlines() == ["at 1m:", f"  - {done}", f"    {why}"]


def test_the_topology_may_change_in_mid_case(tmp_path: Path):
    fire = "{at: 2m, fire: Full on db2}, {at: 2m10s, fire: Errors on api}"
    apart = f"[{{at: 5m, situations: [{one('Full on db2')}, {one('Errors on api')}]}}]"
    together = "[{at: 5m, situations: [{alerts: [Full on db2, Errors on api]}]}]"
    moved = "{at: 1m, relate: api depends_on db2}, {at: 1m, unrelate: api depends_on db1}, {at: 90s, retire: db1}"

    assert told_of(played(tmp_path, f"[{fire}]", apart)) == ""
    assert told_of(played(tmp_path, f"[{moved}, {fire}]", together)) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("unrelate: shop uses db1", "the topology has no shop uses db1 then"),
        ("retire: [db1, db7]", "the topology has no CI db7 then"),
    ],
)
def test_what_the_topology_does_not_have_cannot_go(tmp_path: Path, change: str, why: str):
    assert why in told_of(
        played(tmp_path, f"[{BOTH}, {{at: 1m, {change}}}]", "[{at: 2m, situations: [], others: true}]")
    )


def test_a_relationship_that_no_failure_spreads_along_is_a_mistake_in_the_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="'shop likes db1' is no relationship"):
        played(tmp_path, "[{at: 0s, relate: shop likes db1}]", "[{at: 2m, situations: []}]")


def test_maintenance_holds_the_ticket_back_until_it_ends_and_says_why(tmp_path: Path):
    def held(kind: str, because: str, tickets: str) -> str:
        more = f", held: {kind}, held_because: {because}, tickets: {tickets}"
        return f"situations: [{one('Errors on api', more)}]"

    steps = "[{at: 0s, maintenance: db1, for: 2h, title: new disk, by: ops}, {at: 1m, fire: Errors on api}"
    during, after = held("maintenance", "“new disk” of ops", "[]"), held("''", "''", "[open 10m]")
    checks = f"[{{at: 5m, {during}}}, {{at: 11m, {after}}}]"

    assert told_of(played(tmp_path, steps + ", {at: 10m, end: maintenance}]", checks)) == ""
    assert "held because new disk of dev" in told_of(
        played(tmp_path, steps + "]", f"[{{at: 5m, {held('maintenance', 'new disk of dev', '[]')}}}]")
    )


def test_a_silence_ends_before_its_time(tmp_path: Path):
    steps = "[{at: 0s, silence: 'ci=\"db1\"', for: 2h}, {at: 1m, fire: Full on db1}, {at: 10m, end: silence}]"
    expected = one("Full on db1", ", held: '', tickets: [open 10m]")

    assert told_of(played(tmp_path, steps, f"[{{at: 11m, situations: [{expected}]}}]")) == ""


@pytest.mark.parametrize(
    ("gaps", "state"), [("", "open"), ("gaps: 5m-20m", "resolved"), ("gaps: [5m-7m, 12m-13m]", "open")]
)
def test_where_repetitions_are_missing_an_alert_runs_out(tmp_path: Path, gaps: str, state: str):
    steps = f"[{{at: 0s, fire: Full on db1, every: 1m, times: 30, holds: 3m, {gaps}}}]"
    expected = one("Full on db1", f", state: {state}")

    assert told_of(played(tmp_path, steps, f"[{{at: 15m, situations: [{expected}]}}]")) == ""


@pytest.mark.parametrize(("done", "tickets"), [("taken", "open 30s, update 3m, resolve 5m"), ("closed", "open 30s")])
def test_what_becomes_of_a_ticket_is_heard(tmp_path: Path, done: str, tickets: str):
    then = f"{{at: 1m, ticket: {done}, of: Full on db1}}, {{at: 3m, resolve: Full on db1}}"
    steps = f"[{{at: 0s, fire: Full on db1}}, {then}]"
    there = one("Full on db1", f", tickets: [{tickets}]")

    assert told_of(played(tmp_path, steps, f"[{{at: 30m, situations: [{there}]}}]")) == ""


def test_every_mistake_of_every_file_is_told_also_of_the_rules_that_cases_name(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("- {name: a, kind: attribut}\n")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "a.yaml").write_text("cases: [\n")
    (tmp_path / "cases" / "b.yaml").write_text("cases:\n- name: one\n  steps: [{at: 0s, fir: a on b}]\n")
    (tmp_path / "cases" / "c.yaml").write_text(
        "rules: ../bad.yaml\ncases:\n"
        "- name: one\n  steps: [{at: 0s, fire: a on b}]\n  expect: [{at: 1s, situations: []}]\n"
    )

    with pytest.raises(ConfigError) as refused:
        list(run([tmp_path / "cases", tmp_path / "absent.yaml"], None, ""))

    places = [str(problem).removeprefix(f"{tmp_path}/").split(": ")[0] for problem in refused.value.problems]
    assert places == [
        "cases/a.yaml:2:1", "cases/b.yaml:2:3", "cases/b.yaml:3:20", "absent.yaml", "cases/../bad.yaml:1:13",
    ]  # fmt: skip


def test_an_expression_that_finds_no_case_is_told(tmp_path: Path):
    with pytest.raises(ForeshockError, match="no case has a name in which 'nothing like it' is found"):
        list(run([SHIPPED], None, "nothing like it"))


def test_the_cases_in_the_docs_are_as_they_say_and_an_editor_takes_it(tmp_path: Path):
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    (tmp_path / "docs.yaml").write_text(text.partition("# cases/databases.yaml\n")[2].partition("```")[0])

    results = list(run([tmp_path / "docs.yaml"], None, ""))

    assert [told_of(result) for result in results] == ["", ""]
    assert list(problems(read_yaml(tmp_path / "docs.yaml").data, cases_schema(), cases_schema())) == []
