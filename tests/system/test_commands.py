"""The commands of a newcomer, run as they stand in the README."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from foreshock.service.settings import sink_kinds
from foreshock.testing.servers import (
    Sandbox,
    eventually,
    foreshock_environment,
    foreshock_script,
    free_port,
    run_foreshock,
)

REPORTED = "ResponseTimeHigh on search-lb"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("servicenow") as sandbox:
        yield sandbox


@pytest.fixture
def demo(sandbox: Sandbox, tmp_path: Path) -> Iterator[str]:
    """A running `foreshock demo`, five times as fast as it usually is, with tickets on the desk and in a stand-in of
    ServiceNow; its address."""
    config = tmp_path / "sinks.yaml"
    config.write_text(json.dumps({"sinks": [{"name": "desk", "kind": "desk"}, sandbox.entry("servicenow")]}))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [str(foreshock_script()), "demo", "--listen", address, "--speed", "300", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=foreshock_environment({}),
    )
    try:
        yield f"http://{address}"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_the_demo_shows_a_recorded_outage_as_one_incident_with_its_cause_from_beginning_to_end(
    demo: str, sandbox: Sandbox
):
    def ended() -> list[dict[str, object]] | None:
        try:
            found = requests.get(f"{demo}/api/v1/incidents?state=all", timeout=10).json()
        except requests.ConnectionError:
            return None
        return found if found and all(each["state"] == "resolved" for each in found) and len(found) == 3 else None

    incidents = eventually(ended, within_s=90, what="the end of the demo's incident")

    (outage,) = [each for each in incidents if each["id"] == "S-1"]
    assert {each["alerts"] for each in incidents if each is not outage} == {1}, "what only coincides stands alone"
    assert {key: outage[key] for key in ("title", "cause", "alerts", "events", "priority")} == {
        "title": REPORTED, "cause": "pet-info", "alerts": 21, "events": 266, "priority": 1,
    }  # fmt: skip
    assert requests.get(f"{demo}/api/v1/status", timeout=10).json()["demo"] is True
    explained = run_foreshock("explain", "INC0000001", "--server", demo)
    assert explained.returncode == 0
    assert "pet-search depends on pet-info" in explained.stdout
    eventually(lambda: [each["state"] for each in sandbox.held()] == ["resolved"] * 3, what="the tickets in ServiceNow")
    listed = run_foreshock("incidents", "list", "--state", "all", "--server", demo, "--output", "json")
    assert "S-1" in {each["id"] for each in json.loads(listed.stdout)}


def test_init_writes_a_configuration_that_check_finds_sound_and_leaves_what_is_there(tmp_path: Path):
    first = run_foreshock("init", str(tmp_path))
    (tmp_path / "topology.example.yaml").write_text("mine")
    second = run_foreshock("init", str(tmp_path))

    assert (first.returncode, second.returncode) == (0, 0)
    assert "exists and stays" in second.stderr
    assert (tmp_path / "topology.example.yaml").read_text() == "mine"
    checked = run_foreshock("check", "--config", str(tmp_path / "foreshock.yaml"))
    assert checked.returncode == 0
    assert checked.stdout.endswith("The configuration is sound.\n")


def test_check_lists_every_problem_with_its_line_and_ends_with_78(tmp_path: Path):
    config = tmp_path / "foreshock.yaml"
    config.write_text("listen: 127.0.0.1\nretention: {age: 14}\nsinks: [{name: a, kind: desc}]\n")

    checked = run_foreshock("check", "--config", str(config))

    assert checked.returncode == 78
    places = [line.partition(": ")[0].removeprefix(f"{config}:") for line in checked.stderr.splitlines()]
    assert [place.partition(":")[0] for place in places] == ["1", "2", "3"]
    assert "did you mean 'desk'" in checked.stderr


def test_check_looks_for_the_secrets_of_collectors(tmp_path: Path):
    config = tmp_path / "foreshock.yaml"
    query = "{metric: up, query: up}"
    config.write_text(
        f"collectors: [{{name: eu, kind: prometheus, url: 'http://p:9090', token_file: t, queries: [{query}]}}]\n"
    )

    checked = run_foreshock("check", "--config", str(config))

    assert checked.returncode == 78
    assert "collectors.eu.token_file: cannot be read" in checked.stderr


def test_kinds_lists_what_there_is_and_refuses_what_there_is_not():
    listed = run_foreshock("kinds", "sinks", "--output", "json")

    assert [row["kind"] for row in json.loads(listed.stdout)] == sorted(sink_kinds())
    assert run_foreshock("kinds", "nonsense").returncode == 2


def test_a_command_that_finds_no_foreshock_says_so_and_ends_with_5():
    asked = run_foreshock("incidents", "list", "--server", f"http://127.0.0.1:{free_port()}")

    assert asked.returncode == 5
    assert "foreshock run" in asked.stderr


def test_the_schema_is_made_checked_and_left_alone(tmp_path: Path):
    environment = {"FORESHOCK_STATE": str(tmp_path / "state")}

    before = run_foreshock("db", "check", environment=environment)
    made = run_foreshock("db", "upgrade", environment=environment)
    after = run_foreshock("db", "check", environment=environment)

    assert (before.returncode, made.returncode, after.returncode) == (1, 0, 0)
    assert "there is no store" in before.stderr
