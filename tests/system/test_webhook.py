"""A product that nobody wrote a collector for posts to a running Foreshock, and a mapping says what it means."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.testing.payloads import sample
from foreshock.testing.servers import ForeshockServer, Reply, eventually

PATH = "/s/checks/api/v1/collect/webhook"
TOKEN = "of-this-source-and-no-other-0123456789"
MAPPING = """items: alerts
labels: {alertname: check.name, host: check.host}
annotations: {summary: message}
severity: priority
severities: {P1: critical, P2: major}
resolved: state == 'ok'
"""
FORM = "format: form\nlabels: {alertname: name, host: host}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checks.yaml").write_text(MAPPING)
    (tmp_path / "forms.yaml").write_text(FORM)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    return tmp_path


@pytest.fixture
def foreshock(folder: Path) -> Iterator[ForeshockServer]:
    collectors = [
        {"name": "checks", "kind": "webhook", "mapping": str(folder / "checks.yaml")},
        {
            "name": "forms",
            "kind": "webhook",
            "mapping": str(folder / "forms.yaml"),
            "token_files": [str(folder / "token")],
        },
    ]
    with ForeshockServer(config={"collectors": collectors}) as server:
        yield server


def fires(foreshock: ForeshockServer, *names: str) -> None:
    """These alerts do, and no others."""

    def found() -> bool:
        return {one["labels"]["alertname"] for one in foreshock.get("/api/v2/alerts")} == set(names)

    eventually(found, what=f"{names} to fire, and nothing else")


def post(foreshock: ForeshockServer, name: str) -> Reply:
    return foreshock.ask("POST", PATH, sample(name).body)


def test_what_it_posts_opens_alerts_and_resolves_them(foreshock: ForeshockServer):
    assert post(foreshock, "webhook-firing.json").status == 202
    fires(foreshock, "DiskFull", "ReplicationLag")

    assert post(foreshock, "webhook-resolved.json").status == 202
    fires(foreshock)


def test_an_item_that_does_not_fit_is_refused_and_the_answer_says_where_in_the_mapping(foreshock: ForeshockServer):
    reply = foreshock.post(PATH, {"alerts": [{"check": {"name": "A", "host": "h"}}, {"check": {}}]})

    assert reply.status == 207
    assert "labels.alertname: 'check.name' gives nothing" in reply.json()["results"][1]["error"]
    letter = eventually(lambda: foreshock.get("/api/v1/dead-letters"), what="a dead letter")[0]
    assert letter["payload"] == '{"check":{}}'


def test_a_form_needs_a_token_of_the_source(foreshock: ForeshockServer):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "/s/forms/api/v1/collect/webhook"

    assert foreshock.ask("POST", path, b"name=FromAForm&host=db1", form).status == 401
    shown = {**form, "Authorization": f"Bearer {TOKEN}"}
    assert foreshock.ask("POST", path, b"name=FromAForm&host=db1", shown).status == 202
    fires(foreshock, "FromAForm")


def test_without_an_entry_nothing_says_what_a_payload_means(foreshock: ForeshockServer):
    assert foreshock.post("/api/v1/collect/webhook", {"alerts": []}).status == 401


def test_a_changed_mapping_is_in_force_after_a_reload_and_what_was_recorded_stays_as_it_was(
    foreshock: ForeshockServer, folder: Path
):
    (folder / "checks.yaml").write_text(MAPPING.replace("alertname: check.name", "alertname: chekc("))
    refused = foreshock.ask("POST", "/-/reload", b"")
    assert refused.status == 503
    assert b"checks.yaml:2:10: labels.alertname: 'chekc(' is no expression" in refused.body
    (folder / "checks.yaml").write_text(MAPPING.replace("check.name", "\"join('', ['New', check.name])\""))
    assert foreshock.ask("POST", "/-/reload", b"").status == 200

    assert post(foreshock, "webhook-firing.json").status == 202
    fires(foreshock, "NewDiskFull", "NewReplicationLag")
    foreshock.kill()
    foreshock.start()

    fires(foreshock, "NewDiskFull", "NewReplicationLag")
