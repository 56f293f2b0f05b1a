"""The pipelines of docs/tuning.md: their own commands in a shell, with stand-ins for what is not ours."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foreshock.connect.config import parse_yaml
from foreshock.testing.servers import foreshock_environment, foreshock_script

TUNING = Path(__file__).parents[2] / "docs" / "tuning.md"
CASE = """cases:
- name: a disk that is full
  steps: [{at: 0s, fire: Full on db1}]
  expect: [{at: 1m, situations: [{alerts: [Full on ALERT]}]}]
"""
NO_TOPOLOGY = "- {name: topology, kind: topology, enabled: false}\n"


def documented(first_line: str) -> Any:
    text = TUNING.read_text(encoding="utf-8").partition(first_line)[2].partition("```")[0]
    return parse_yaml(text, file=first_line).data


def github() -> tuple[list[str], list[str]]:
    """What has to pass, and what is done in any case."""
    steps = documented("# .github/workflows/rules.yml")["jobs"]["rules"]["steps"]
    runs = [(step["run"].replace("${{ github.event.number }}", "7"), "if" in step) for step in steps if "run" in step]
    return [run for run, always in runs if not always], [run for run, always in runs if always]


def gitlab() -> tuple[list[str], list[str]]:
    job = documented("# .gitlab-ci.yml")["rules"]
    return job["script"], job["after_script"]


@pytest.fixture
def checkout(tmp_path: Path, recorded_outage: bytes) -> Path:
    """A repository with rules and cases, and programs that write down how they were called."""
    files = {"rules/mine.yaml": NO_TOPOLOGY, "cases/disk.yaml": CASE.replace("ALERT", "db1")}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "history.jsonl").write_bytes(recorded_outage)
    (tmp_path / "bin").mkdir()
    programs = {name: f'echo "{name} $*" >> called' for name in ("pip", "gh", "curl")}
    programs["foreshock"] = f'exec "{foreshock_script()}" "$@"'
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def shell(checkout: Path, script: str) -> int:
    own = {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "CI_API_V4_URL": "https://gitlab.example/api/v4",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "RULES_TOKEN": "t",
    }
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=checkout,
        env=foreshock_environment(own),
        timeout=120,
        check=False,
    ).returncode


def run(checkout: Path, script: list[str], always: list[str]) -> int:
    """How the job ends."""
    code = next((code for line in script if (code := shell(checkout, line))), 0)
    if (checkout / "plan.md").exists():
        assert [shell(checkout, line) for line in always] == [0] * len(always)
    return code


@pytest.mark.parametrize(("pipeline", "comments"), [(github, "gh pr comment 7"), (gitlab, "merge_requests/7/notes")])
def test_a_change_that_crosses_nothing_passes_and_is_commented_on(checkout: Path, pipeline: Any, comments: str):
    script, always = pipeline()

    assert run(checkout, script, always) == 0
    assert (checkout / "plan.md").read_text().startswith("### What would have been different")
    assert comments in (checkout / "called").read_text()
    assert "<testsuite " in (checkout / "cases.xml").read_text()


def test_a_change_that_crosses_a_threshold_fails_and_is_commented_on(checkout: Path):
    script, always = github()

    assert run(checkout, [line.replace("vanished_p1 > 0", "differences > 0") for line in script], always) == 1
    assert "gh pr comment 7" in (checkout / "called").read_text()


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [("cases/disk.yaml", CASE.replace("ALERT", "db2"), 1), ("rules/mine.yaml", "- {name: a, kind: attribut}\n", 78)],
)
def test_a_case_that_fails_or_a_mistake_in_a_rule_ends_the_job_before_the_plan(
    checkout: Path, file: str, text: str, code: int
):
    (checkout / file).write_text(text)

    assert run(checkout, *gitlab()) == code
    assert not (checkout / "plan.md").exists()
