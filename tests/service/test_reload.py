"""Settings and rules read again while everything goes on; and what waits until a start is complete."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from foreshock.core.contracts import RecordKind
from foreshock.core.errors import ConfigError
from foreshock.service.front import Front
from foreshock.service.settings import LIVE, Settings, SettingsSource
from foreshock.service.wiring import Foreshock
from foreshock.testing.servers import eventually

RULES = """\
- name: same-app
  kind: attribute
  equal: [app]
  strength: 0.9
"""


class Files:
    """The files of one Foreshock, as a person edits them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "foreshock.yaml"
        self.rules = folder / "rules.yaml"
        self.write()
        self.rules.write_text("[]\n")
        self.source = SettingsSource(self.config, {}, {})

    def write(self, **more: str) -> None:
        lines = {"state": "state", "rules": "rules.yaml", "disk_guard": "{min_free: 1MiB}", **more}
        self.config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextmanager
def running(files: Files) -> Iterator[tuple[Foreshock, TestClient]]:
    front = Front(files.source.load())
    front.start()
    try:
        foreshock = Foreshock(front, source=files.source)
    except Exception:
        front.stop()
        raise
    foreshock.start()
    try:
        yield foreshock, TestClient(front.app, base_url="http://127.0.0.1")
    finally:
        foreshock.stop()


def fire(client: TestClient, host: str, **labels: str) -> None:
    alert = {"labels": {"alertname": "Down", "host": host, **labels}, "endsAt": "2099-01-01T00:00:00Z"}
    assert client.post("/api/v2/alerts", json=[alert]).status_code == 200


def reload(client: TestClient) -> tuple[int, Any]:
    answer = client.post("/-/reload", headers={"X-Foreshock-Actor": "mira"})
    return answer.status_code, answer.json()


def last_settings(foreshock: Foreshock) -> int:
    """Number of the record that put settings and rules into force last."""
    newest = foreshock.store.journal.newest(RecordKind.SETTINGS, after=0)
    assert newest is not None
    return newest.number


def metric(client: TestClient, name: str) -> float:
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.partition(" ")[2])


def alerts_per_incident(client: TestClient) -> list[int]:
    return sorted(row["alerts"] for row in client.get("/api/v1/incidents").json())


def test_a_reload_puts_new_rules_into_force_for_what_comes_next(files: Files):
    with running(files) as (_, client):
        fire(client, "web1", app="shop")
        files.rules.write_text(RULES)

        digest = metric(client, "foreshock_config_hash")
        assert reload(client) == (200, {"changed": True})
        assert metric(client, "foreshock_config_hash") != digest
        fire(client, "web2", app="shop")

        assert alerts_per_incident(client) == [2]
        status = client.get("/api/v1/status").json()
        assert any(tag.startswith("same-app@") for tag in status["rules"])
        assert (status["reload_error"], metric(client, "foreshock_config_last_reload_successful")) == ("", 1.0)


def test_a_reload_is_one_record_with_its_actor_and_none_where_nothing_changed(files: Files):
    with running(files) as (foreshock, client):
        before = foreshock.inbox.last
        assert reload(client) == (200, {"changed": False})
        assert foreshock.inbox.last == before

        files.rules.write_text(RULES)
        files.write(correlation="{group: {threshold: 0.3}}")
        reload(client)

        (record,) = foreshock.store.journal.records(before, limit=10)
        assert (record.kind, record.actor) == ("settings", "mira")


@pytest.mark.parametrize(
    ("config", "rules", "said"),
    [
        ({"correlation": "{group: {treshold: 0.3}}"}, "[]\n", ["foreshock.yaml:4:23: correlation.group.treshold"]),
        ({}, "- {name: x, kind: attribute}\n", ["rules.yaml:1:3: [0]: the rule links everything"]),
        (
            {"listen": "127.0.0.1:1"},
            RULES,
            ["foreshock.yaml:4:1: listen: has changed, and comes into force at a start only; restart Foreshock"],
        ),
        ({"topology": "absent.yaml"}, RULES, ["absent.yaml"]),
        ({}, RULES + "- name: b\n  kind: attribute\n  when: a.b.c\n- nonsense: 1\n", ["rules.yaml:7", "rules.yaml:8"]),
    ],
    ids=["an unknown key", "a rule that links everything", "what needs a restart", "a topology", "several at once"],
)
def test_a_reload_with_a_mistake_changes_nothing_and_tells_where_it_is(
    files: Files, config: dict[str, str], rules: str, said: list[str]
):
    with running(files) as (foreshock, client):
        before = (foreshock.engine.settings, foreshock.engine.rule_instances, last_settings(foreshock))
        digest = metric(client, "foreshock_config_hash")
        files.write(**config)
        files.rules.write_text(rules)

        status, answer = reload(client)

        assert status == 422
        assert all(words in answer["error"] for words in said)
        assert answer["problems"][0]["file"].startswith(str(files.folder))
        assert (foreshock.engine.settings, foreshock.engine.rule_instances, last_settings(foreshock)) == before
        assert metric(client, "foreshock_config_last_reload_successful") == 0.0
        assert metric(client, "foreshock_config_hash") == digest
        assert client.get("/api/v1/status").json()["reload_error"] == answer["error"]
        assert said[0].partition(":")[0] in client.get("/status").text

        files.write()
        files.rules.write_text("[]\n")
        assert reload(client)[0] == 200
        assert metric(client, "foreshock_config_last_reload_successful") == 1.0


def test_a_reload_takes_a_topology_that_was_not_there_before(files: Files):
    with running(files) as (foreshock, client):
        topology = "version: 1\ncis:\n- {id: db1}\n- {id: shop}\n"
        (files.folder / "topology.yaml").write_text(
            topology + "relationships:\n- {source: shop, type: uses, target: db1}\n"
        )
        files.write(topology="topology.yaml")

        assert reload(client) == (200, {"changed": True})
        assert foreshock.runner.caught_up(foreshock.inbox.last)

        fire(client, "db1")
        fire(client, "shop")
        assert alerts_per_incident(client) == [2]


def test_another_site_cannot_make_a_browser_reload(files: Files):
    with running(files) as (_, client):
        assert client.post("/-/reload", headers={"Origin": "https://evil.example"}).status_code == 403


def test_with_tokens_a_reload_needs_one(files: Files):
    tokens = files.folder / "tokens"
    tokens.write_text("mira 0123456789abcdef0123456789abcdef\n")
    tokens.chmod(0o600)
    files.write(tokens_file="tokens")
    with running(files) as (_, client):
        assert client.post("/-/reload").status_code == 401
        headers = {"Authorization": "Bearer 0123456789abcdef0123456789abcdef"}
        assert client.post("/-/reload", headers=headers).status_code == 200


def test_a_first_start_with_a_mistake_in_the_rules_ends_there(files: Files):
    files.rules.write_text("- {name: x, kind: attribute}\n")

    with pytest.raises(ConfigError, match="links everything"), running(files):
        pass


def test_a_restart_with_a_mistake_in_the_rules_goes_on_with_those_from_before(files: Files):
    files.rules.write_text(RULES)
    with running(files) as (_, client):
        fire(client, "web1", app="shop")
    files.rules.write_text("- {name: x, kind: attribute}\n")

    with running(files) as (_, client):
        fire(client, "web2", app="shop")

        assert alerts_per_incident(client) == [1, 2]  # one is that the files were refused
        assert "links everything" in client.get("/api/v1/status").json()["reload_error"]
        assert metric(client, "foreshock_config_last_reload_successful") == 0.0


def test_no_ticket_is_written_before_settings_rules_and_topology_are_reflected(
    files: Files, monkeypatch: pytest.MonkeyPatch
):
    files.write(correlation="{ticket: {delay: 0s, delay_by_priority: {1: 0s}}}")
    front = Front(files.source.load())
    front.start()
    foreshock = Foreshock(front, source=files.source)
    reflected, caught_up = threading.Event(), foreshock.runner.caught_up
    monkeypatch.setattr(
        foreshock.runner,
        "caught_up",
        lambda number, timeout_s=10.0: reflected.wait(timeout_s) and caught_up(number, timeout_s),
    )
    foreshock.start()
    try:
        fire(TestClient(front.app, base_url="http://127.0.0.1"), "db1")
        assert caught_up(front.inbox.last)
        assert foreshock.outbox.backlog().pending == 1
        assert foreshock.desk.by_key("S-1") is None

        reflected.set()
        foreshock._warm_up.join(20)

        assert eventually(lambda: foreshock.desk.by_key("S-1"))
    finally:
        reflected.set()
        foreshock.stop()


def test_a_stop_does_not_wait_for_a_start_that_never_completes(files: Files, monkeypatch: pytest.MonkeyPatch):
    with running(files) as (foreshock, _):
        pass
    front = Front(files.source.load())
    front.start()
    foreshock = Foreshock(front, source=files.source)
    monkeypatch.setattr(foreshock.runner, "caught_up", lambda number, timeout_s=0.0: False)
    foreshock.start()

    foreshock.stop()

    assert not any(lane.status().running for lane in foreshock.lanes)


def test_every_setting_is_live_or_needs_a_restart():
    assert set(Settings.model_fields) > LIVE
