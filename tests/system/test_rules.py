"""Rules and settings of a real Foreshock: planned, applied, taken back. Killed while they are put into force, it runs
with the old ones or the new ones, never with half of them, and what was answered stays."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any

import msgspec
import requests

from foreshock.service.ruleset import Ruleset, version_of
from foreshock.testing.servers import ForeshockServer, eventually, foreshock_environment, run_foreshock
from foreshock.testing.warm import WarmForeshock

KILLS = int(os.environ.get("FORESHOCK_RULES_KILLS", "12"))
SEED = int(os.environ.get("FORESHOCK_KILL_SEED", "20261122"))


def applied(foreshock: ForeshockServer, number: int, running: Ruleset) -> tuple[Ruleset, bytes]:
    """A change of several settings at once, and the request that puts it into force."""
    correlation = json.loads(json.dumps(running.correlation))
    correlation["group"]["threshold"] = 0.3 + number / 10_000
    correlation["group"]["max_alerts"] = 400 + number
    proposed = msgspec.structs.replace(running, correlation=correlation)
    body = {
        "version": version_of(proposed),
        "against": version_of(running),
        "proposed": proposed,
        "reason": f"n{number}",
    }
    return proposed, msgspec.json.encode(body)


def current(foreshock: ForeshockServer) -> Ruleset:
    return msgspec.convert(foreshock.get("/api/v1/rules/versions/current"), Ruleset)


def test_killed_while_rules_are_applied_it_runs_with_the_old_ones_or_the_new_ones():
    chance = random.Random(SEED)
    answers = new = 0
    with (
        closing(WarmForeshock(foreshock_environment({}))) as warm,
        ForeshockServer(warm=warm) as foreshock,
    ):
        running = current(foreshock)
        for number in range(KILLS):
            proposed, body = applied(foreshock, number, running)
            answer: list[Any] = []

            def send(body: bytes = body, answer: list[Any] = answer) -> None:
                with suppress(requests.RequestException):
                    answer.append(requests.post(f"{foreshock.url}/api/v1/rules/apply", body, timeout=20).status_code)

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(chance.uniform(0.0, 0.06))
            foreshock.kill()
            sender.join()
            foreshock.start()

            found = current(foreshock)
            assert found in (running, proposed)
            if answer:
                assert (answer, found) == ([200], proposed), "it was answered, and is gone"
                answers += 1
            new += found == proposed
            running = found
            status = foreshock.get("/api/v1/rules")
            history = foreshock.get("/api/v1/rules/history")
            assert status["version"] == version_of(running) == history[0]["version"]
            assert all(newer["previous"] == older["version"] for newer, older in pairwise(history))
            assert all(row["kept"] for row in history)
            assert not status["error"]
        first = foreshock.get("/api/v1/rules/history")[-1]
        back = requests.post(
            f"{foreshock.url}/api/v1/rules/rollback", json={"version": first["version"], "reason": "enough"}, timeout=20
        )
        assert back.status_code == 200
        foreshock.kill()
        foreshock.start()
        assert foreshock.get("/api/v1/rules")["version"] == first["version"]
        assert 0 < len(foreshock.get("/api/v1/rules/history")) <= KILLS + 2
    print(f"{KILLS} kills, {answers} answered before, {new} in force after")


def test_a_person_plans_applies_looks_and_goes_back(tmp_path):
    plan = str(tmp_path / "new.plan")
    with ForeshockServer() as foreshock:
        at = ("--server", foreshock.url)

        def told(*words: str, code: int = 0) -> str:
            done = run_foreshock("rules", *words, *at)
            assert done.returncode == code, done.stderr
            return done.stdout + done.stderr

        alerts = [{"labels": {"alertname": "Down", "ci": "db1"}}, {"labels": {"alertname": "Slow", "ci": "db1"}}]
        assert requests.post(f"{foreshock.url}/api/v2/alerts", json=alerts, timeout=20).status_code == 200
        told("plan", "--set", "group.threshold=0.95", "--save", plan)
        assert "The files say the same." in told("status")

        assert "group.threshold: 0.4 → 0.95" in told("apply", plan, "--reason", "too much in one")
        assert "made against version" in told("apply", plan, "--reason", "once more", code=1)
        said = told("status", code=4)
        assert "What runs in its place:\n  group.threshold: 0.4 → 0.95" in said
        assert foreshock.get("/api/v1/status")["rules"]

        assert "group.threshold: 0.95 → 0.4" in told("rollback", "--reason", "it was not")
        rows = json.loads(told("history", "-o", "json"))
        assert [(row["how"], row["reason"]) for row in rows] == [
            ("rolled back", "it was not"),
            ("applied", "too much in one"),
            ("files", ""),
        ]


def test_a_shadow_goes_on_over_a_power_cut_and_opens_no_ticket():
    with ForeshockServer(config={"correlation": {"ticket": {"delay": "1s"}}}) as foreshock:
        at = ("--server", foreshock.url)

        def told(*words: str) -> str:
            done = run_foreshock("rules", *words, *at)
            assert done.returncode == 0, done.stderr
            return done.stdout

        def compared() -> dict[str, Any]:
            position = foreshock.get("/api/v1/status")["position"]

            def is_there() -> bool:
                report = foreshock.get("/api/v1/rules/shadow")["report"]
                return (
                    report is not None and report["position"] >= position and report["plan"]["before"]["tickets"] == 1
                )

            eventually(is_there, within_s=60, what="a comparison")
            return dict(foreshock.get("/api/v1/rules/shadow"))

        assert "There was no shadow run yet" in told("shadow", "status")
        told("shadow", "start", "--set", "ticket.min_priority=1", "--for", "1h", "--reason", "only the worst")
        alert = {"labels": {"alertname": "Down", "ci": "db1", "severity": "critical"}}
        assert requests.post(f"{foreshock.url}/api/v2/alerts", json=[alert], timeout=20).status_code == 200
        first = compared()
        assert [each["kind"] for each in first["report"]["plan"]["differences"]] == ["vanished"]

        foreshock.kill()
        foreshock.start()
        assert "1 vanish" in told("shadow", "status")
        again = compared()
        assert (again["state"], again["started_at"]) == ("running", first["started_at"])
        assert again["report"]["plan"]["differences"] == first["report"]["plan"]["differences"]

        assert len(foreshock.get("/api/v1/incidents?state=all")) == 1
        assert "ticket.min_priority: 5 → 1" in told("apply", "--shadow", "--reason", "fewer")
        assert foreshock.get("/api/v1/rules/shadow")["state"] == "stopped"
