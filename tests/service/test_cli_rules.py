"""`foreshock rules` as a person and a pipeline use it: what it prints, and how it ends."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foreshock.service.cli import app
from foreshock.service.proposal import proposed_by, read_proposal
from foreshock.service.replay import Version
from foreshock.service.ruleset import version_of
from foreshock.testing.commands import run

ROOT = Path(__file__).parents[2]

ALERT = '{{"labels":{{"alertname":"Down","ci":"{ci}"}},"startsAt":"{at}","endsAt":"2026-01-01T01:00:00Z"}}\n'
FILES = {
    "alerts.jsonl": ALERT.format(ci="db", at="2026-01-01T00:00:00Z")
    + ALERT.format(ci="web", at="2026-01-01T00:00:20Z"),
    "topology/nodes.csv": "node,type\nweb,host\ndb,host\n",
    "topology/topology.csv": "source,target,relation\nweb,db,depends_on\n",
    "same.yaml": "{}\n",
    "strict.yaml": "group: {threshold: 0.9}\n",
    "rules.yaml": "- {name: one, kind: attribute, equal: [cluster], window: 1h}\n",
    "foreshock.yaml": "rules: rules.yaml\n",
}
PLAN = ("rules", "plan", "alerts.jsonl", "--base-topology", "topology")


pytestmark = pytest.mark.usefixtures("here")


def test_a_plan_that_changes_nothing_ends_with_0():
    found = run((*PLAN, "--settings", "same.yaml"))

    assert (found.exit_code, "No incident would be different" in found.output) == (0, True)


def test_a_plan_that_changes_something_ends_with_4():
    found = run((*PLAN, "--settings", "strict.yaml"))

    assert found.exit_code == 4
    assert "split: one incident becomes 2" in found.output


@pytest.fixture
def synced(here: Path) -> Path:
    """A CMDB that was read twice: web depended on db, and then on a cache; and files that say otherwise now."""
    (here / "foreshock.yaml").write_text("topology: topology\nstate: state\n")
    (here / "topology" / "nodes.csv").write_text("node,type\nweb,host\ndb,host\ncache,host\n")
    for needed in ("db", "cache"):
        (here / "topology" / "topology.csv").write_text(f"source,target,relation\nweb,{needed},depends_on\n")
        done = run(("cmdb", "sync", "--config", "foreshock.yaml"))
        assert done.exit_code == 0, done.output
    (here / "topology" / "topology.csv").write_text("source,target,relation\nweb,db,depends_on\n")
    return here


def versions(of: str = "foreshock.yaml") -> list[str]:
    """Names, the newest first."""
    return [row["name"] for row in json.loads(run(("cmdb", "versions", "--config", of, "-o", "json")).output)]


def test_a_plan_tries_an_older_version_of_the_topology_and_the_one_to_come(synced: Path):
    newest, first = versions()
    plan = ("rules", "plan", "alerts.jsonl", "--config", "foreshock.yaml", "--base-topology", newest)
    back, same, pending = (run((*plan, "--topology", which)) for which in (first, newest, "pending"))

    assert (back.exit_code, "merge: 2 incidents become one" in back.output) == (4, True), back.output
    assert (same.exit_code, "No incident would be different" in same.output) == (0, True)
    assert (pending.exit_code, "merge: 2 incidents become one" in pending.output) == (4, True)
    assert versions() == [newest, first]


def test_a_plan_tries_the_topology_of_a_moment(synced: Path):
    plan = ("rules", "plan", "alerts.jsonl", "--config", "foreshock.yaml", "--base-topology", "topology")
    now, once = (run((*plan, "--topology", f"as-of {time}")) for time in ("2100-01-01T00:00Z", "2001-01-01T00:00Z"))

    assert (now.exit_code, "split: one incident becomes 2" in now.output) == (4, True)
    assert (once.exit_code, "there was no topology yet at 2001-01-01" in once.output) == (1, True)


def test_a_version_that_nobody_knows_is_said_to_be_none(synced: Path):
    found = run(("rules", "plan", "alerts.jsonl", "--config", "foreshock.yaml", "--topology", "pendnig"))

    assert found.exit_code == 1
    assert "pendnig is neither a file nor a version of the topology" in found.output
    assert "foreshock cmdb versions" in found.output


def test_a_crossed_threshold_ends_with_1_and_says_by_how_much():
    found = run((*PLAN, "--settings", "strict.yaml", "--fail-if", "split > 0", "--fail-if", "merged > 0"))

    assert found.exit_code == 1
    assert "split > 0: it is 1" in found.output
    assert "merged > 0" not in found.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (PLAN, 2, "nothing is to change"),
        ((*PLAN, "--settings", "strict.yaml", "--fail-if", "splits > 0"), 1, "did you mean 'split'"),
        ((*PLAN, "--settings", "strict.yaml", "--since", "soon"), 2, "'soon' is not a duration"),
        ((*PLAN, "--rules", "missing.yaml"), 78, "missing.yaml"),
        ((*PLAN, "--topology", "missing.yaml"), 78, "missing.yaml: does not exist"),
        ((*PLAN[:3], "--base-topology", "missing", "--settings", "same.yaml"), 1, "missing is neither a file nor a"),
        ((*PLAN, "--learned", "missing.json"), 78, "missing.json: cannot be read: No such file or directory"),
        ((*PLAN, "--learned", "same.yaml"), 78, "same.yaml: it holds nothing that was learned"),
        ((*PLAN[:3], "--settings", "same.yaml"), 0, "note: history holds no topology"),
        (("rules", "plan", "--settings", "same.yaml", "--server", "http://127.0.0.1:1"), 5, "no Foreshock answers"),
        ((*PLAN, "--settings", "same.yaml", "--out", "nowhere/plan.md"), 1, "nowhere/plan.md cannot be written"),
        ((*PLAN, "--settings", "same.yaml", "--save", "nowhere/new"), 1, "nowhere/new cannot be written"),
        ((*PLAN, "--settings", "same.yaml", "--topology", "topology", "--save", "new"), 2, "--save keeps settings and"),
        (("rules", "apply", "missing.plan", "--reason", "-"), 78, "missing.plan: cannot be read"),
        (("rules", "apply", "strict.yaml", "--reason", "-"), 78, "strict.yaml: is no saved plan"),
        (("rules", "apply", "strict.yaml"), 2, "--reason"),
        (("rules", "rollback", "--reason", "-", "--server", "http://127.0.0.1:1"), 5, "no Foreshock answers"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(words: Sequence[str], code: int, said: str):
    found = run(words)

    assert found.exit_code == code
    assert said in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize(("output", "begins"), [("html", "<!doctype html>"), ("markdown", "### "), ("json", "{")])
def test_a_report_goes_into_a_file_whole(here: Path, output: str, begins: str):
    found = run((*PLAN, "--settings", "strict.yaml", "-o", output, "--out", "plan"))

    assert "1 split" in found.output
    assert (here / "plan").read_text().startswith(begins)
    if output == "json":
        assert json.loads((here / "plan").read_text())["values"]["split"] == 1


def test_a_saved_plan_holds_what_it_proposes_and_what_it_was_planned_against(here: Path):
    assert run((*PLAN, "--settings", "strict.yaml", "--save", "new.plan")).exit_code == 4

    saved = read_proposal(here / "new.plan")
    assert saved.proposed.correlation["group"]["threshold"] == 0.9
    assert saved.version == version_of(saved.proposed)
    assert saved.against == version_of(proposed_by(Version()))
    assert saved.said.startswith("1 split")


def test_a_plan_that_crosses_a_threshold_is_not_saved(here: Path):
    assert run((*PLAN, "--settings", "strict.yaml", "--save", "new.plan", "--fail-if", "split > 0")).exit_code == 1

    assert not (here / "new.plan").exists()


def test_only_the_last_part_of_history_may_be_told_of():
    assert run((*PLAN, "--settings", "strict.yaml", "--since", "5s")).output.startswith("1 events")


def test_a_check_lists_what_is_in_force_and_what_is_hardly_meant():
    found = run(("rules", "check", "--config", "foreshock.yaml"))

    assert found.exit_code == 0
    assert "rules.yaml:1:4: one: its window of 1h is longer than group.join (15m)" in found.output
    assert "5 rules: change, cooccurrence, one, simultaneity, topology" in found.output


def test_a_strict_check_ends_with_1_where_there_are_warnings():
    assert run(("rules", "check", "rules.yaml", "--strict")).exit_code == 1


def test_a_check_lists_every_mistake_with_its_line(here: Path):
    (here / "bad.yaml").write_text("- {name: a, kind: attribut}\n- {name: b, kind: attribute, equal: x}\n")
    found = run(("rules", "check", "bad.yaml"))

    assert found.exit_code == 78
    assert "bad.yaml:1:13: " in found.output
    assert "bad.yaml:2:30: " in found.output


def test_a_check_for_programs_has_places_messages_and_remedies(here: Path):
    (here / "bad.yaml").write_text("- {name: a, kind: attribut}\n")
    sound, bad = run(("rules", "check", "rules.yaml", "-o", "json")), run(("rules", "check", "bad.yaml", "-o", "json"))

    assert (sound.exit_code, bad.exit_code) == (0, 78)
    told, (problem,) = json.loads(sound.stdout), json.loads(bad.stdout)["problems"]
    assert "one" in told["rules"]
    assert [(one["what"], one["line"], one["column"]) for one in told["warnings"]] == [("one", 1, 4)]
    assert (problem["file"], problem["line"], problem["column"]) == ("bad.yaml", 1, 13)
    assert (problem["message"], problem["hint"]) == ("'attribut' is no kind", "did you mean 'attribute'?")


CASE = """cases:
- name: one
  steps: [{{at: 0s, fire: Full on db1}}]
  expect: [{{at: 1m, situations: [{{alerts: [{alert}]}}]}}]
"""


def test_cases_end_with_0_or_1_and_leave_a_report(here: Path):
    (here / "good.yaml").write_text(CASE.format(alert="Full on db1"))
    (here / "bad.yaml").write_text(CASE.format(alert="Full on db2"))
    good, both = (
        run(("rules", "test", "good.yaml")),
        run(("rules", "test", "good.yaml", "bad.yaml", "--junit", "r.xml")),
    )

    assert (good.exit_code, both.exit_code) == (0, 1)
    assert "bad.yaml:2: one\n  at 1m:\n    - [Full on db2]\n    + [Full on db1]\n" in both.output
    assert (here / "r.xml").read_bytes().count(b"<failure") == 1


HEAVY = ("fastapi", "pandas", "pyarrow", "requests", "sklearn", "sqlalchemy", "starlette")


@pytest.mark.parametrize(
    ("words", "heavy"),
    [(("check", "rules.yaml"), (*HEAVY, "jinja2")), (("test", "good.yaml"), HEAVY)],  # a case writes tickets
    ids=("check", "test"),
)
def test_what_a_pipeline_waits_for_loads_nothing_that_it_does_not_need(
    here: Path, words: Sequence[str], heavy: Sequence[str]
):
    (here / "good.yaml").write_text(CASE.format(alert="Full on db1"))
    code = (
        "import sys; from foreshock.service.cli import app; app(sys.argv[1:], standalone_mode=False); "
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "rules", *words], cwd=here, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_on_a_terminal_what_is_expected_is_red_and_what_is_there_is_green(here: Path):
    (here / "bad.yaml").write_text(CASE.format(alert="Full on db2"))
    told = CliRunner().invoke(app, ["rules", "test", "bad.yaml"], color=True).output

    assert "\x1b[31m    - [Full on db2]\x1b[0m\n" in told
    assert "\x1b[32m    + [Full on db1]\x1b[0m\n" in told


def test_an_expression_that_is_none_is_wrong_usage(here: Path):
    (here / "good.yaml").write_text(CASE.format(alert="Full on db1"))
    found = run(("rules", "test", "good.yaml", "--run", "("))

    assert found.exit_code == 2
    assert "no expression" in " ".join(found.output.split())


def test_a_mistake_in_a_case_ends_with_78(here: Path):
    (here / "bad.yaml").write_text("cases: [{name: one}]\n")
    found = run(("rules", "test", "bad.yaml"))

    assert found.exit_code == 78
    assert "bad.yaml:1:9: cases[0].steps: " in found.output


def test_the_worked_example_of_the_docs_is_true(here: Path, recorded_outage: bytes):
    (here / "outage.jsonl").write_bytes(recorded_outage)
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    text = text.partition("### A worked example")[2].partition("\n## ")[0]
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("foreshock rules plan outage.jsonl")]
    blocks = [block.partition("\n```")[0] for block in text.split("```\n")[1:]]
    outputs = [block for block in blocks if "are the same." in block]

    assert len(commands) == len(outputs) == 3
    for words, output in zip(commands, outputs, strict=True):
        said = re.sub(r"\(01-01 \d\d:\d\d, ", "(", run(words).output)
        for line in filter(None, output.splitlines()):
            assert line in said.splitlines()


def test_a_plan_counts_pairs_against_labelled_truth_and_fails_where_it_fits_worse(here: Path):
    (here / "truth.csv").write_text("alert_id,issue_id\n0,I1\n1,I1\n")
    strict = (*PLAN, "--settings", "strict.yaml", "--truth", "truth.csv")
    found = run((*strict, "--fail-if", "f1_drop > 0.01"))

    assert re.search(r"pairwise F1 +1\.0000 +0\.0000", found.output)
    assert (found.exit_code, "f1_drop > 0.01: it is 1" in found.output) == (1, True)
    assert run((*PLAN, "--settings", "same.yaml", "--truth", "truth.csv", "--fail-if", "f1_drop > 0")).exit_code == 0


def test_a_threshold_on_truth_needs_truth():
    found = run((*PLAN, "--settings", "strict.yaml", "--fail-if", "f1 < 0.9"))

    assert (found.exit_code, "give it with --truth" in " ".join(found.output.split())) == (2, True)
