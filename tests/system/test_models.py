"""Models as an operator meets them: what there is to learn from, why there is none yet, and switching off."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock


@pytest.fixture(scope="module")
def foreshock() -> Iterator[ForeshockServer]:
    correlation = {"ticket": {"delay": "100ms"}, "group": {"quiet": "300ms"}}
    with ForeshockServer(config={"correlation": correlation, "predict": {"incidents": {"train": "0s"}}}) as server:
        assert server.post("/api/v2/alerts", [_down()]).status == 200
        eventually(server.incidents, within_s=20, what="an incident")
        yield server


def _down() -> dict[str, Any]:
    now = datetime.now(UTC)
    labels = {"alertname": "Down", "host": "db1", "severity": "critical"}
    return {"labels": labels, "startsAt": (now - timedelta(hours=3)).isoformat()}


def model(server: ForeshockServer, *words: str) -> str:
    done = run_foreshock("model", *words, "--server", server.url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_before_anything_was_taught_it_says_so(foreshock: ForeshockServer):
    assert "no model has been taught yet" in model(foreshock, "list")
    assert foreshock.get("/api/v1/status")["foresees"] == "no model has been taught yet"
    assert "Nothing is forecast for it" in model(foreshock, "explain", "db1")


def test_teaching_with_too_little_counts_what_there_is(foreshock: ForeshockServer):
    assert "not enough incidents yet: " in model(foreshock, "train")
    assert "not enough incidents yet: " in model(foreshock, "evaluate")


def test_there_is_no_card_of_what_there_is_not(foreshock: ForeshockServer):
    done = run_foreshock("model", "card", "20260101-00000000", "--server", foreshock.url)

    assert done.returncode == 1
    assert "there is no model '20260101-00000000'" in done.stderr


def test_what_is_switched_off_is_off_and_somebody_did_it(foreshock: ForeshockServer):
    assert "nothing is foreseen: somebody switched it off" in model(foreshock, "promote", "nothing")
    assert json.loads(model(foreshock, "list", "-o", "json"))["used"]["pinned"] is True
    done = run_foreshock("model", "promote", "x", "--server", foreshock.url)
    assert done.returncode == 1
    assert "no version 'x'" in done.stderr
