"""What people say of incidents, from the command line to the ticket and back out as labelled truth."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

QUICK = {"correlation": {"ticket": {"delay": "200ms", "delay_by_priority": {1: "200ms"}, "update_every": "200ms"}}}


@pytest.fixture
def server() -> Iterator[ForeshockServer]:
    with ForeshockServer(config=QUICK) as running:
        for host in ("web", "mail"):
            labels = {"alertname": "Down", "host": host, "severity": "critical"}
            assert running.post("/api/v2/alerts", [{"labels": labels}]).status == 200
        eventually(lambda: all(row["tickets"] for row in incidents(running)), what="a ticket for each")
        yield running


def incidents(server: ForeshockServer, state: str = "open") -> list[dict]:
    return server.get(f"/api/v1/incidents?state={state}")


def say(server: ForeshockServer, *words: str) -> str:
    done = run_foreshock("feedback", *words, "--server", server.url, environment={"USER": "mira"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_merge_and_its_undoing_reach_the_tickets_and_are_exported_as_truth(server: ForeshockServer):
    assert say(server, "merge", "S-1", "INC0000002", "-m", "one storage") == "J-1: S-2 is merged into S-1\n"
    assert [row["id"] for row in incidents(server)] == ["S-1"]
    eventually(lambda: server.get("/api/v1/records/INC0000002")["record"]["state"] == "resolved")

    undone = say(server, "not-related", "S-1", "S-2")

    assert undone.startswith("J-2: S-3 split off from S-1; kept apart until ")
    assert sorted(row["id"] for row in incidents(server)) == ["S-1", "S-3"]
    rows = list(csv.DictReader(io.StringIO(say(server, "export", "--format", "csv"))))
    assert [(row["says"], row["alert_ci"], row["other_ci"], row["by"]) for row in rows] == [
        ("same", "web", "mail", "mira"),
        ("apart", "web", "mail", "mira"),
    ]
    assert [json.loads(line)["judgement"] for line in say(server, "export").splitlines()] == ["J-1", "J-2"]
    assert "one storage" in say(server, "list")


def test_the_cause_that_a_person_names_stands_first(server: ForeshockServer):
    say(server, "cause", "INC0000001", "mail")

    view = server.get("/api/v1/incidents/S-1")
    assert [(cause["ci"], cause["said_by"]) for cause in view["causes"]] == [("mail", "mira"), ("web", "")]
    assert ("mira", "cause") in [(entry["actor"], entry["action"]) for entry in view["timeline"]]


def test_an_alert_is_explained_against_another_incident_and_a_ticket_by_its_decision(server: ForeshockServer):
    def explained(*words: str) -> str:
        done = run_foreshock("explain", *words, "--server", server.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    apart = explained("S-2", "--why-not", "S-1")
    assert apart.startswith("Down on mail is not in S-1: ")
    # Whether they came at the same moment, of which a rule makes a little, is up to the machine.
    assert "0.40 is needed" in apart or "no path along relationships leads from mail to web\n" in apart
    assert "rules " in apart
    assert "desk: open: it did not recover by itself" in explained("INC0000001")
    assert "it was the first alert" in explained(server_alert(server, "S-1"))
    assert explained("Down on mail", "--why-not", "Down on web") == apart


def test_what_was_recorded_is_explained_in_the_words_of_the_one_that_ran(server: ForeshockServer, tmp_path: Path):
    history = str(tmp_path / "history.jsonl")
    assert run_foreshock("capture", "--server", server.url, "--out", history).returncode == 0

    for asked in (("S-1",), ("INC0000002",), ("Down on mail", "--why-not", "S-1")):
        live = run_foreshock("explain", *asked, "--server", server.url)
        again = run_foreshock("explain", *asked, "--history", history)
        read = run_foreshock("explain", *asked, "--at", "2099-01-01", "--server", server.url)

        assert again.stdout == live.stdout != "", again.stderr
        assert read.returncode == 0, read.stderr


def test_what_means_nothing_is_refused_with_the_reason(server: ForeshockServer):
    def refused(*words: str) -> str:
        done = run_foreshock("feedback", *words, "--server", server.url)
        assert done.returncode == 1
        return done.stderr

    assert "there is no incident 'S-99'" in refused("merge", "S-1", "S-99")
    assert "these are all the alerts of S-1" in refused("split", "S-1", server_alert(server, "S-1"))
    assert "there is no CI 'nowhere'" in refused("cause", "S-1", "nowhere")
    assert "cannot be merged with itself" in refused("merge", "S-1", "INC0000001")
    assert say(server, "list", "--output", "json") == "[]\n"


def server_alert(server: ForeshockServer, situation: str) -> str:
    """The beginning of a fingerprint is enough."""
    return server.get(f"/api/v1/incidents/{situation}")["alerts"][0]["fingerprint"][:8]
