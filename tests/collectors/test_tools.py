"""What is special about notifications of Grafana, Sensu and Uptime Kuma."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors import alertmanager_webhook, grafana, sensu, uptime_kuma
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 3, 20, tzinfo=UTC)


def read(kind: Any, tree: Any) -> list[Event | Ignored | Malformed]:
    items = kind.decode(json.dumps(tree).encode())
    return [item if isinstance(item, Malformed) else kind.translate(item, NOW) for item in items]


def event(kind: Any, tree: Any) -> Event:
    (found,) = read(kind, tree)
    assert isinstance(found, Event), found
    return found


# ---- Grafana --------------------------------------------------------------------------------------------------------


def test_rules_without_data_are_told_apart():
    shop, no_data = read(grafana, sample("grafana-firing.json").tree)

    assert isinstance(shop, Event)
    assert isinstance(no_data, Event)
    labels = read_labels(no_data.labels)
    assert (labels["alertname"], labels["rulename"]) == ("DatasourceNoData", "High CPU usage")
    assert read_annotations(shop.annotations)["panel"] == "https://grafana.example/d/shop?viewPanel=2"
    assert "44.239" in read_annotations(shop.annotations)["values"]


def test_the_test_button_of_grafana_leaves_no_alert():
    tree = sample("grafana-firing.json").tree
    tree["alerts"][1]["labels"] = {"alertname": "TestAlert", "instance": "Grafana"}

    shop, test = read(grafana, tree)

    assert isinstance(shop, Event)
    assert test == Ignored("a test of the contact point")


@pytest.mark.parametrize("kind", [grafana, alertmanager_webhook], ids=["grafana", "alertmanager"])
def test_alerts_that_the_sender_left_out_are_told(kind: Any):
    tree = sample("grafana-firing.json").tree | {"truncatedAlerts": 3}

    *alerts, cut = read(kind, tree)

    assert len(alerts) == 2
    assert "left out 3 alerts" in str(cut)


def test_values_and_links_that_are_missing_cost_nothing():
    bare = {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-22T03:16:50Z"}

    found = event(grafana, {"alerts": [bare | {"values": {"B": 1.5}}]})

    assert read_annotations(found.annotations) == {"values": "B=1.5"}


# ---- Sensu ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "since"),
    [
        pytest.param([0, 1, 2], 1, id="it failed twice"),
        pytest.param([1, 0, 2], 2, id="an earlier trouble is over"),
        pytest.param([2, 2, 2], 0, id="it failed as far back as the history goes"),
    ],
)
def test_a_check_fails_since_the_first_of_the_last_bad_results(statuses: list[int], since: int):
    tree = sample("sensu-firing.json").tree
    first = 1795317000
    tree["check"]["history"] = [{"status": status, "executed": first + 60 * n} for n, status in enumerate(statuses)]

    found = event(sensu, tree)

    assert found.starts_at == datetime.fromtimestamp(first + 60 * since, UTC)


@pytest.mark.parametrize(("status", "severity"), [(1, "warning"), (2, "critical"), (3, "warning"), (127, "warning")])
def test_the_status_of_a_check_is_its_severity(status: int, severity: str):
    tree = sample("sensu-firing.json").tree
    tree["check"]["status"] = status

    assert event(sensu, tree).severity == severity


def test_metrics_of_sensu_are_no_alert():
    tree = sample("sensu-firing.json").tree
    del tree["check"]

    assert read(sensu, tree) == [Ignored("metrics only")]


def test_what_is_silenced_says_by_what():
    tree = sample("sensu-firing.json").tree
    tree["check"] |= {"is_silenced": True, "silenced": ["entity:host-a:*"]}

    assert read_annotations(event(sensu, tree).annotations)["silenced"] == "entity:host-a:*"


# ---- Uptime Kuma ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "reason"), [(2, "pending: it is still being checked"), (3, "a maintenance")])
def test_what_is_neither_up_nor_down_says_nothing(status: int, reason: str):
    tree = sample("uptime_kuma-firing.json").tree
    tree["heartbeat"]["status"] = status

    assert read(uptime_kuma, tree) == [Ignored(reason)]


def test_times_of_uptime_kuma_are_utc():
    found = event(uptime_kuma, sample("uptime_kuma-firing.json").tree)

    assert found.starts_at == datetime(2026, 11, 22, 3, 15, 56, 120_000, UTC)


@pytest.mark.parametrize(
    ("monitor", "instance"),
    [
        ({"hostname": "db.example", "url": "https://"}, "db.example"),
        ({"hostname": None, "url": "https://shop.example:8443/cart"}, "shop.example"),
        ({"hostname": None, "url": "https://"}, None),
        ({"hostname": None, "url": "http://[broken"}, None),
    ],
)
def test_a_monitor_is_about_the_host_that_it_watches(monitor: dict[str, Any], instance: str | None):
    tree = sample("uptime_kuma-firing.json").tree
    tree["monitor"] |= monitor

    assert read_labels(event(uptime_kuma, tree).labels).get("instance") == instance


def test_the_test_button_of_uptime_kuma_leaves_no_alert():
    test = {"heartbeat": None, "monitor": None, "msg": "Foreshock Testing"}

    assert read(uptime_kuma, test) == [Ignored("a message about no monitor, such as a test")]


def test_a_certificate_that_will_expire_holds_for_a_day():
    text = "[Shop front page][https://shop.example/] server certificate shop.example will expire in 14 days"

    found = event(uptime_kuma, {"heartbeat": None, "monitor": None, "msg": text})

    assert read_labels(found.labels) == {
        "alertname": "Certificate expires", "monitor": "Shop front page", "instance": "shop.example",
        "certificate": "server certificate shop.example",
    }  # fmt: skip
    assert (found.severity, found.ends_at) == ("warning", NOW + timedelta(days=1))
