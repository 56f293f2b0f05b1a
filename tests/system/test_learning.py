"""Learning as an operator meets it: train, look, use, go back."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock


@pytest.fixture
def foreshock() -> Iterator[ForeshockServer]:
    with ForeshockServer(config={"learn": {"every": "0s"}}) as server:
        yield server


def alerts(days: int) -> list[dict[str, Any]]:
    """A link goes down once a day at odd hours, and eight seconds later a disk is slow; other alerts come and go."""
    now = datetime.now(UTC).replace(microsecond=0)
    found = []

    def add(name: str, host: str, number: int, began: datetime) -> None:
        labels = {"alertname": name, "host": host, "number": str(number)}
        found.append({"labels": labels, "startsAt": began.isoformat(), "endsAt": (now + timedelta(1)).isoformat()})

    for day in range(1, days + 1):
        began = now - timedelta(days=day, minutes=day * 37)
        add("LinkDown", "sw1", day, began)
        add("DiskSlow", "db1", day, began + timedelta(seconds=8))
        for other in range(10):
            add(f"Odd{other}", f"n{other}", day, began - timedelta(minutes=50 * other + 13))
    return found


def learn(server: ForeshockServer, *words: str) -> Any:
    done = run_foreshock("learn", *words, "--server", server.url, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_learned_joins_alerts_is_explained_and_can_be_taken_back(foreshock: ForeshockServer):
    assert foreshock.post("/api/v2/alerts", alerts(days=20)).status == 200

    assert learn(foreshock, "--dry-run")["in_force"] is False
    row = learn(foreshock)
    assert (row["in_force"], row["pinned"]) == (True, False)
    assert any("LinkDown on sw1" in line or "sw1" in line for line in row["card"])
    now = datetime.now(UTC)
    for name, host, began in (("LinkDown", "sw1", now - timedelta(seconds=8)), ("DiskSlow", "db1", now)):
        body = [{"labels": {"alertname": name, "host": host, "number": "now"}, "startsAt": began.isoformat()}]
        assert foreshock.post("/api/v2/alerts", body).status == 200

    def joined() -> Any:
        for incident in foreshock.incidents():
            for alert in foreshock.incident(incident["id"])["alerts"]:
                if alert["why"] and alert["why"]["rule"].startswith("cooccurrence@"):
                    return alert["why"]
        return None

    why = eventually(joined, within_s=20, what="a link by co-occurrence")
    assert "began within 20 s of each other in 20 of the last 20 times" in why["sentence"]
    assert why["rule"].endswith(row["version"])
    assert learn(foreshock, "use", "nothing")["version"] == "nothing"
    assert [one["in_force"] for one in learn(foreshock, "list")] == [False]
    back = learn(foreshock, "use", "latest")
    assert (back["version"], back["pinned"]) == (row["version"], False)


def test_without_history_it_says_so(foreshock: ForeshockServer):
    done = run_foreshock("learn", "--server", foreshock.url)

    assert done.returncode == 1
    assert "no history" in done.stderr


def test_a_version_trained_from_a_file_is_brought_and_pinned(foreshock: ForeshockServer, tmp_path: Path):
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(one) + "\n" for one in sorted(alerts(20), key=lambda a: a["startsAt"])))
    done = run_foreshock("learn", "--history", str(history), "--server", foreshock.url)
    assert done.returncode == 0, done.stderr

    (row,) = learn(foreshock, "list")
    assert (row["in_force"], row["pinned"]) == (True, True)
    refused = run_foreshock("learn", "rollback", "--server", foreshock.url)
    assert refused.returncode == 1
    assert "learn use nothing" in refused.stderr


def test_a_version_of_another_estate_is_refused_unless_somebody_insists(tmp_path: Path):
    history, topology = tmp_path / "history.jsonl", tmp_path / "topology.yaml"
    history.write_text("".join(json.dumps(one) + "\n" for one in sorted(alerts(20), key=lambda a: a["startsAt"])))
    topology.write_text("version: 1\ncis: [{id: mainframe, kind: host}]\nrelationships: []\n")
    with ForeshockServer(config={"learn": {"every": "0s"}, "topology": str(topology)}) as server:
        words = ("learn", "--history", str(history), "--server", server.url)

        refused = run_foreshock(*words)
        kept = run_foreshock(*words, "--anyway")

        assert refused.returncode == 1
        assert "of which 0 are known here: another estate's; learn from this one's history" in refused.stderr
        assert kept.returncode == 0, kept.stderr


def test_training_comes_round_by_itself_and_leaves_a_pinned_version_alone():
    with ForeshockServer(config={"learn": {"every": "1s"}}) as server:
        assert server.post("/api/v2/alerts", alerts(days=20)).status == 200
        eventually(lambda: [r for r in server.get("/api/v1/learned") if r["in_force"]], within_s=60, what="a training")
        learn(server, "use", "nothing")

        def trained_again() -> bool:
            (job,) = [job for job in server.get("/api/v1/status")["jobs"] if job["name"] == "learn"]
            return bool(job["ok"]) and job["started_at"] > chosen_at

        chosen_at = datetime.now(UTC).isoformat()
        eventually(trained_again, within_s=60, what="another training")
        assert [row["in_force"] for row in server.get("/api/v1/learned")] == [False]
