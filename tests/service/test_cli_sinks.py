import json
import os
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from foreshock.service.cli import app
from foreshock.testing.sinks import SIMULATED, staged


@pytest.fixture
def stage(tmp_path):
    with staged(SIMULATED["servicenow"], tmp_path) as made:
        yield made


@pytest.fixture
def run(stage, tmp_path):
    def run(*arguments, **changes):
        settings = {
            "sinks": [
                {"name": "snow", "kind": "servicenow", **stage.settings, **changes},
                {"name": "desk", "kind": "desk"},
            ]
        }
        (tmp_path / "foreshock.yaml").write_text(json.dumps(settings))
        return CliRunner().invoke(app, ["sink", "test", *arguments, "--config", str(tmp_path / "foreshock.yaml")])

    return run


def test_a_sink_that_is_set_up_is_said_to_be_so_and_holds_no_ticket_afterwards(run, stage):
    done = run("snow")

    assert done.exit_code == 0
    assert "foreshock reads incident" in done.stdout
    assert stage.server.ledger.effects() == []


def test_what_must_be_changed_is_told_with_exit_code_4(run):
    done = run("snow", "-o", "json", fallback_group="Nobody")

    assert done.exit_code == 4
    (told,) = [row for row in json.loads(done.stdout) if row["remedy"]]
    assert told == {
        "subject": "assignment groups",
        "observed": "0 groups are called 'Nobody'",
        "remedy": "write its sys_id, or correct the name",
    }


def test_with_create_one_ticket_goes_through_its_life_and_stays_resolved(run, stage):
    done = run("snow", "--create")

    assert done.exit_code == 0
    (held,) = stage.system.held()
    assert held.state == "resolved"
    assert held.key.startswith("foreshock-test-")
    assert held.number in done.stdout


def test_a_life_that_breaks_off_names_the_ticket_that_stays_open(run, stage):
    stage.system.unreadable.clear()
    done = run("snow", "--create", "-o", "json", close_code="")

    told = {row["subject"]: row for row in json.loads(done.stdout)}
    assert done.exit_code == 4
    assert "Close code, Close notes" in told["resolve"]["observed"]
    assert told["resolve"]["observed"].endswith("INC0010001 stays open there")


def test_an_instance_that_cannot_be_reached_is_a_finding(run, stage):
    stage.server.stop()

    done = run("snow")

    assert done.exit_code == 4
    assert "check the address" in done.stdout


def test_an_unknown_name_is_refused_with_those_there_are(run):
    done = run("nobody")

    assert done.exit_code == 78
    assert "no sink is called 'nobody'; there are: snow, desk" in done.stderr


def test_the_desk_needs_no_set_up(run):
    assert run("desk").exit_code == 0


def test_a_sandbox_prints_settings_that_work_and_ends_when_told(tmp_path):
    command = [sys.executable, "-c", "from foreshock.service.cli import main; main()", "sandbox", "servicenow"]
    place = ["--port", "0", "--folder", str(tmp_path / "sandbox")]
    process = subprocess.Popen(
        [*command, *place], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        lines = [process.stdout.readline() for _ in range(8)]
        (tmp_path / "foreshock.yaml").write_text("".join(lines))
        tested = ["sink", "test", "servicenow", "--create", "--config", str(tmp_path / "foreshock.yaml")]
        done = CliRunner().invoke(app, tested)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()

    assert re.match(r"# ServiceNow stands at http://127.0.0.1:\d+", lines[0])
    assert done.exit_code == 0, done.stdout
    assert "created foreshock-test-" in (tmp_path / "sandbox" / "servicenow.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' is none of"),
        (["servicenow", "--faults", "gremlins"], "'gremlins' is no fault"),
        (["servicedesk_plus", "--edition", "moon"], "it is to be one of on_premises"),
        (["servicenow", "--edition", "moon"], "it is to be left out: servicenow has one edition"),
        (["servicenow", "--faults", "lost=2"], "the shares of all faults together lie between 0 and 1"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused_with_what_there_is(arguments, message, tmp_path):
    done = CliRunner().invoke(app, ["sandbox", *arguments, "--folder", str(tmp_path)])

    assert done.exit_code == 2
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())
