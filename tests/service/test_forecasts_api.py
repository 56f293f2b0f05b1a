"""Posting forecasts: what is sound is on disk and told of; what is not is refused whole, with field and remedy."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from foreshock.service.front import Front
from foreshock.service.settings import SettingsSource
from foreshock.service.wiring import Foreshock
from foreshock.testing.servers import eventually

TOPOLOGY = "version: 1\ncis:\n- {id: db1}\n- {id: shop}\nrelationships:\n- {source: shop, type: uses, target: db1}\n"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("foreshock")
    (folder / "topology.yaml").write_text(TOPOLOGY)
    config = folder / "foreshock.yaml"
    config.write_text("state: state\ntopology: topology.yaml\ndisk_guard: {min_free: 1MiB}\n")
    source = SettingsSource(config, {}, {})
    front = Front(source.load())
    front.start()
    foreshock = Foreshock(front, source=source)
    foreshock.start()
    try:
        yield TestClient(front.app, base_url="http://127.0.0.1")
    finally:
        foreshock.stop()


def forecast(ci: str = "db1", **fields: Any) -> dict[str, Any]:
    made_at = (NOW - timedelta(hours=1)).isoformat()
    common = {"ci": ci, "made_at": made_at, "probability": 0.9, "horizon_h": 24, "lead_time_h": 6, "model": "net@1"}
    return {**common, **fields}


def post(client: TestClient, *forecasts: dict[str, Any]) -> Any:
    content = json.dumps({"forecasts": forecasts})
    return client.post("/api/v1/forecasts", content=content, headers={"Content-Type": "application/json"})


def test_what_is_posted_opens_a_problem_on_the_desk_and_may_be_sent_again(client: TestClient):
    speaks = [{"name": "disk", "points": 1.5, "evidence": "disk usage rises"}]
    for _ in range(2):
        answer = post(client, forecast(contributions=speaks), forecast("shop", probability=0.1))
        assert answer.status_code == 202
        assert answer.json() == [
            {"ci": "db1", "model": "net@1", "problem": "P-1", "reason": ""},
            {"ci": "shop", "model": "net@1", "problem": "", "reason": "10%, and 70% are needed"},
        ]

    (record,) = eventually(lambda: client.get("/api/v1/problems").json(), what="a problem on the desk")
    assert (record["title"], record["ci"]) == ("Expected: incident on db1", "db1")
    assert client.get("/api/v1/incidents?state=all").json() == []
    (shown,) = client.get("/api/v1/patterns").json()
    assert (shown["kind"], shown["state"], shown["problem"]) == ("proactive", "expected", "P-1")
    page = client.get("/problems/P-1").text
    assert "Expected: incident on db1" in page
    assert "disk usage rises" in page
    assert "not yet: 10%, and 70% are needed" in client.get("/problems").text


def test_what_was_announced_is_told_with_what_became_of_it(client: TestClient):
    disk = {"about": "disk_used mount=/var", "signs": ["/var"], "summary": "/var is full in 6 h", "model": "fill@1"}
    (led,) = post(client, forecast("shop", earliest_h=4, latest_h=9, **disk)).json()
    assert (led["about"], led["problem"]) == (disk["about"], "P-2")

    standing = [row for row in client.get("/api/v1/forecasts").json() if row["forecast"]["model"] == "fill@1"]
    (row,) = standing
    assert (row["problem"], row["reason"], row["outcome"]) == ("P-2", "", "expected")
    assert row["forecast"]["latest_h"] == 9

    later = (NOW - timedelta(minutes=30)).isoformat()
    post(client, forecast("shop", probability=0.1, state="withdrawn", **disk | {"summary": "it falls"}, made_at=later))

    (entry,) = client.get("/api/v1/forecasts/entries?model=fill%401").json()
    assert (entry["id"], entry["outcome"], entry["summary"]) == (row["entry"], "withdrawn", "/var is full in 6 h")
    figures = client.get("/api/v1/forecasts/ledger?by=service").json()
    assert (figures["all"]["withdrawn"], figures["all"]["precision"]["of"]) == (1, 1)
    assert client.get("/api/v1/forecasts/entries?ended=true").json() == [entry]
    assert client.get("/api/v1/forecasts/ledger?format=csv").text.splitlines()[1].startswith("all,2,1,0,0,0,1,")
    assert 'foreshock_prediction_announcements_total{model="fill@1",outcome="withdrawn"} 1.0' in client.get(
        "/metrics"
    ).text.replace('outcome="withdrawn",model="fill@1"', 'model="fill@1",outcome="withdrawn"')


def test_the_console_tells_what_is_expected_what_opened_none_and_what_became_of_the_others(client: TestClient):
    page = client.get("/forecasts").text

    assert "disk usage rises" in page
    assert 'href="/problems/P-1"' in page
    assert "10%, and 70% are needed" in page
    assert "withdrawn" in client.get("/problems/P-2").text
    assert "/var is full in 6 h" in page


def test_the_page_of_an_incident_tells_which_problem_foresaw_it_and_how_long_before(client: TestClient):
    alert = {"labels": {"alertname": "Down", "host": "db1", "severity": "critical"}, "status": "firing"}
    assert client.post("/api/v1/events", json=[alert]).status_code == 202

    (row,) = client.get("/api/v1/incidents").json()
    incident = client.get(f"/api/v1/incidents/{row['id']}").json()

    (foreseen,) = incident["foreseen"]
    assert foreseen["problem"] == "P-1"
    assert foreseen["words"].startswith("by P-1, ")
    assert 'href="/problems/P-1">P-1</a> expected it' in client.get(f"/incidents/{row['id']}").text
    confirmed = client.get("/api/v1/forecasts/entries?outcome=confirmed").json()
    assert [each["situation"] for each in confirmed] == [row["id"]]
    assert f'href="/incidents/{row["id"]}"' in client.get("/forecasts").text


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"ci": "nowhere"}, "forecasts.1.ci", "no single CI is called 'nowhere'"),
        ({"probability": 1.01}, "forecasts.probability", "less than or equal to 1"),
        ({"probability": float("nan")}, "forecasts.probability", ""),
        ({"horizon_h": 0}, "forecasts.horizon_h", "greater than 0"),
        ({"horizon_h": 1000}, "forecasts.horizon_h", "less than or equal to 720"),
        ({"lead_time_h": 30}, "lead_time_h", "is longer than `horizon_h`"),
        ({"made_at": "2099-01-01T00:00:00Z"}, "forecasts.1.made_at", "is in the future"),
        ({"made_at": "2026-01-01T00:00:00"}, "forecasts.made_at", "timezone"),
        ({"model": "two words"}, "forecasts.model", "pattern"),
        ({"latest_h": 1e300}, "forecasts.latest_h", "less than or equal to 87840"),
        ({"certain": True}, "forecasts.certain", "not permitted"),
    ],
)
def test_what_is_not_sound_is_refused_with_all_that_came_with_it(client: TestClient, wrong, field, said):
    answer = post(client, forecast("shop", model="sound@1"), forecast(**wrong))

    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert field in answer.json()["field"]
    assert all(row["forecast"]["model"] != "sound@1" for row in client.get("/api/v1/patterns?watched=true").json())


def test_one_batch_is_bounded(client: TestClient):
    assert post(client).status_code == 422
    assert post(client, *[forecast()] * 501).status_code == 422


def test_a_page_of_another_site_posts_nothing(client: TestClient):
    answer = client.post(
        "/api/v1/forecasts", json={"forecasts": [forecast()]}, headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status_code == 403


def test_the_schema_is_documented(client: TestClient):
    described = client.get("/api/openapi.json").json()

    assert "/api/v1/forecasts" in described["paths"]
    assert described["components"]["schemas"]["ForecastBody"]["properties"]["probability"]["maximum"] == 1
