"""A start with state: events are taken in at once, and folded exactly once when the rest has been loaded."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from foreshock.core.errors import Held
from foreshock.service import front as front_module
from foreshock.service.front import Front
from foreshock.service.settings import Settings, load_settings
from foreshock.service.wiring import Foreshock

LONG_AFTER = "2099-01-01T00:00:00Z"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(None, {}, {"state": str(tmp_path / "state"), "disk_guard.min_free": "1MiB"})


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Front, TestClient]]:
    """Only the front, as in the first moments of a start; what happens next is a crash unless the block loads the
    rest."""
    front = Front(settings)
    front.start()
    try:
        yield front, TestClient(front.app, base_url="http://127.0.0.1")
    finally:
        front.stop()


@contextmanager
def running(
    settings: Settings, meanwhile: Callable[[TestClient], None] = lambda client: None
) -> Iterator[tuple[Foreshock, TestClient]]:
    """A start to its end. meanwhile: what senders do while the state is being loaded."""
    front = Front(settings)
    front.start()
    meanwhile(TestClient(front.app, base_url="http://127.0.0.1"))
    foreshock = Foreshock(front)
    foreshock.start()
    try:
        yield foreshock, TestClient(front.app, base_url="http://127.0.0.1")
    finally:
        foreshock.stop()


def alert(name: str, **changes: str) -> dict[str, Any]:
    return {"labels": {"alertname": name}, "endsAt": LONG_AFTER, **changes}


def post(client: TestClient, *alerts: dict[str, Any]) -> int:
    return client.post("/api/v2/alerts", json=list(alerts)).status_code


def told(client: TestClient) -> dict[str, tuple[str, int]]:
    """State and number of events of each alert of all incidents."""
    incidents = client.get("/api/v1/incidents", params={"state": "all"}).json()
    alerts = [a for row in incidents for a in client.get(f"/api/v1/incidents/{row['id']}").json()["alerts"]]
    return {a["name"]: (a["state"], a["count"]) for a in alerts}


def while_loading(client: TestClient) -> None:
    """What is known fires again and ends, and something new begins."""
    assert post(client, alert("Stays"), alert("Ends", endsAt="2026-01-01T00:00:00Z"), alert("New")) == 200
    assert post(client, alert("New"), {"labels": {}}) == 400


AFTERWARDS = {"Stays": ("firing", 2), "Ends": ("resolved", 2), "New": ("firing", 2)}


@pytest.fixture
def with_state(settings: Settings) -> Settings:
    """Somebody stopped this Foreshock, with two alerts firing."""
    with running(settings) as (_, client):
        assert post(client, alert("Stays"), alert("Ends", startsAt="2025-01-01T00:00:00Z")) == 200
        assert told(client) == {"Stays": ("firing", 1), "Ends": ("firing", 1)}
    return settings


def test_what_comes_while_the_state_is_loaded_is_folded_once(with_state: Settings):
    with running(with_state, meanwhile=while_loading) as (foreshock, client):
        assert told(client) == AFTERWARDS
        assert foreshock.engine.counts["malformed"] == 1
        assert foreshock.engine.active == 2

    with running(with_state) as (_, client):
        assert told(client) == AFTERWARDS


def test_killed_while_it_loads_the_next_start_folds_it_once(with_state: Settings):
    with opened(with_state) as (_, client):
        while_loading(client)
    with opened(with_state):
        pass  # and killed again

    with running(with_state) as (foreshock, client):
        assert told(client) == AFTERWARDS
        assert foreshock.replayed == 0


def test_a_record_taken_in_while_loading_is_not_dated_before_those_on_disk(with_state: Settings):
    with running(with_state) as (foreshock, _):
        _, newest = foreshock.front.journal.last_record()

    assert newest is not None
    late = Front(with_state, clock=lambda: newest.replace(year=newest.year - 1))
    late.start()
    try:
        assert post(TestClient(late.app, base_url="http://127.0.0.1"), alert("New")) == 200
        assert late.journal.last_record()[1] == newest
    finally:
        late.stop()


def test_a_question_waits_for_the_state_and_then_is_told_to_come_again(
    with_state: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(front_module, "_PATIENCE_S", 0.0)
    with opened(with_state) as (_, client):
        answer = client.get("/api/v1/status")

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "still loading" in answer.text


@pytest.mark.parametrize("drained", [False, True])
def test_ready_means_that_events_are_taken_in(with_state: Settings, drained: bool):
    with opened(with_state) as (front, client):
        if drained:
            front.drain()

        assert client.get("/-/healthy").status_code == 200
        assert client.get("/-/ready").status_code == (503 if drained else 200)
        assert post(client, alert("New")) == (503 if drained else 200)


def test_without_saved_state_topology_and_settings_come_before_any_event(settings: Settings):
    with opened(settings) as (front, _):
        assert front.fresh
    with running(settings):
        pass
    with opened(settings) as (front, _):
        assert not front.fresh


def test_the_front_owns_the_state_folder(with_state: Settings):
    with opened(with_state), pytest.raises(Held):
        Front(with_state)


def test_the_front_needs_none_of_what_takes_long_to_import():
    """In another process: here everything is imported already."""
    heavy = ("sqlalchemy", "fastapi", "requests", "pandas", "pyarrow", "sklearn", "correlation.relate")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, foreshock.service.cli, foreshock.service.server\n"
            "from foreshock.service.settings import collector_kinds\n"
            "from foreshock.service.settings import load_settings\n"
            "load_settings(None, {}, {})\n"
            "collector_kinds()\n"
            f"print([name for name in {heavy!r} if name in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
