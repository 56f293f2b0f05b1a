"""History out of one Foreshock, without names, and into another one."""

import json
from pathlib import Path

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

QUICK = {"correlation": {"ticket": {"delay": "200ms", "delay_by_priority": {1: "200ms"}, "update_every": "200ms"}}}


def said(*words: str) -> str:
    done = run_foreshock(*words, environment={"USER": "mira"})
    assert done.returncode in (0, 4), done.stderr
    return done.stdout


def alert(host: str) -> list[dict[str, dict[str, str]]]:
    return [{"labels": {"alertname": "Down", "host": host, "severity": "critical"}}]


def incidents(server: ForeshockServer, state: str) -> list[dict]:
    return server.get(f"/api/v1/incidents?state={state}")


def test_history_leaves_one_foreshock_without_names_and_begins_another_without_tickets(tmp_path: Path):
    named, bare, key = tmp_path / "history.parquet", tmp_path / "shared.jsonl", tmp_path / "key"
    key.write_text("a secret of twenty bytes")
    with ForeshockServer(config=QUICK) as server:
        at_server = ("--server", server.url)
        for host in ("web", "mail"):
            assert server.post("/api/v2/alerts", alert(host)).status == 200
        eventually(lambda: all(row["tickets"] for row in incidents(server, "open")), what="a ticket for each")
        said("feedback", "merge", "S-1", "S-2", *at_server)
        live = json.loads(said("rules", "plan", "--since", "1h", "--set", "group.quiet=1h", "-o", "json", *at_server))
        said("capture", "--since", "1h", "--out", str(named), *at_server)
        said("capture", "--out", str(bare), "--anonymise", "host=hash", "--key-file", str(key), *at_server)
    of_file, of_bare = (
        json.loads(said("rules", "plan", str(path), "--set", "group.quiet=1h", "-o", "json", "--truth", str(path)))
        for path in (named, bare)
    )

    assert [plan["plan"]["before"]["tickets"] for plan in (live, of_file, of_bare)] == [2, 2, 2]
    assert [plan["plan"]["before"]["fit"] for plan in (of_file, of_bare)] == [
        {"items": 2, "precision": 1.0, "recall": 0.0, "f1": 0.0}
    ] * 2
    assert "mail" not in bare.read_text()
    assert "mira" not in bare.read_text()

    said("history", "import", str(named), "--state", str(tmp_path / "state"))
    with ForeshockServer(config=QUICK, state=tmp_path / "state") as other:
        assert {row["id"]: row["tickets"] for row in incidents(other, "all")} == {"S-1": [], "S-2": []}
        assert [row["actor"] for row in other.get("/api/v1/feedback")] == ["mira"]
        assert other.post("/api/v2/alerts", alert("disk")).status == 200
        eventually(lambda: any(row["tickets"] for row in incidents(other, "open")), what="a ticket for what fires now")
        assert [row["title"] for row in incidents(other, "all") if row["tickets"]] == ["Down on disk"]
