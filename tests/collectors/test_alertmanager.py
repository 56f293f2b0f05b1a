"""Alerts of Prometheus and Alertmanager, and events in our own format: which state, which times, which neighbours."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from collectors import alertmanager, alertmanager_webhook, events
from foreshock.core.contracts import Collector
from foreshock.core.errors import Malformed
from foreshock.core.model import read_labels
from foreshock.testing.payloads import sample

RECEIVED = datetime(2026, 11, 22, 3, 18, 1, tzinfo=UTC)
BEFORE, AFTER = RECEIVED - timedelta(seconds=30), RECEIVED + timedelta(minutes=4)
NEVER = "0001-01-01T00:00:00Z"


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("fields", "ends_at"),
    [
        pytest.param({"status": "resolved", "endsAt": text(BEFORE)}, BEFORE, id="resolved"),
        pytest.param({"status": "resolved", "endsAt": text(AFTER)}, RECEIVED, id="resolved by a clock that runs ahead"),
        pytest.param({"status": "resolved", "endsAt": NEVER}, RECEIVED, id="resolved at no time"),
        pytest.param({"status": "resolved"}, RECEIVED, id="resolved without a time"),
        pytest.param({"status": "firing", "endsAt": NEVER}, None, id="firing"),
        pytest.param({"status": "firing", "endsAt": text(BEFORE)}, None, id="firing, whatever the end says"),
    ],
)
def test_the_state_of_a_notification_decides(fields: dict[str, str], ends_at: datetime | None):
    (item,) = alertmanager_webhook.decode(json.dumps({"alerts": [{"labels": {"a": "b"}, **fields}]}).encode())

    assert alertmanager_webhook.translate(item, RECEIVED).ends_at == ends_at


@pytest.mark.parametrize(
    ("fields", "ends_at"),
    [
        pytest.param({"status": "resolved"}, RECEIVED, id="resolved now"),
        pytest.param({"status": "resolved", "ends_at": text(BEFORE)}, BEFORE, id="resolved before"),
        pytest.param({"status": "resolved", "ends_at": text(AFTER)}, RECEIVED, id="resolved in the future"),
        pytest.param({"status": "resolved", "ends_at": NEVER}, RECEIVED, id="resolved at no time"),
        pytest.param({}, None, id="firing is what is not said"),
        pytest.param({"ends_at": text(BEFORE)}, BEFORE, id="an end that is past"),
        pytest.param({"ends_at": text(AFTER)}, AFTER, id="an end to come"),
    ],
)
def test_an_event_says_resolved_or_gives_an_end(fields: dict[str, str], ends_at: datetime | None):
    (item,) = events.decode(json.dumps({"labels": {"a": "b"}, **fields}).encode())

    assert events.translate(item, RECEIVED).ends_at == ends_at


@pytest.mark.parametrize("ends_at", [None, BEFORE, AFTER])
def test_what_prometheus_posts_is_the_event_as_it_stands(ends_at: datetime | None):
    posted = {"labels": {"a": "b"}, "generatorURL": "http://prometheus.example/graph", "startsAt": text(BEFORE)}
    (item,) = alertmanager.decode(json.dumps([posted | ({"endsAt": text(ends_at)} if ends_at else {})]).encode())

    event = alertmanager.translate(item, RECEIVED)

    assert (event.starts_at, event.ends_at, event.url) == (BEFORE, ends_at, "http://prometheus.example/graph")


@pytest.mark.parametrize(
    ("name", "collector", "resolved"),
    [
        ("prometheus-alerts-firing.json", alertmanager.COLLECTOR, False),
        ("prometheus-alerts-resolved.json", alertmanager.COLLECTOR, True),
        ("alertmanager-webhook-firing.json", alertmanager_webhook.COLLECTOR, False),
        ("alertmanager-webhook-resolved.json", alertmanager_webhook.COLLECTOR, True),
    ],
)
def test_what_real_servers_sent_is_understood(name: str, collector: Collector, resolved: bool):
    for item in collector.decode(sample(name).payload):
        event = collector.translate(item, RECEIVED)
        # The firing ones were recorded at 03:17:56, their end lies four intervals ahead.
        now = datetime(2026, 11, 22, 3, 20, tzinfo=UTC) if resolved else datetime(2026, 11, 22, 3, 17, 57, tzinfo=UTC)
        assert (event.ends_at is not None and event.ends_at <= now) is resolved
        assert read_labels(event.labels)["alertname"] == "LabFault"


def test_one_event_needs_no_list_and_two_do():
    assert len(events.decode(b' {"labels":{"a":"b"}}')) == 1
    assert len(events.decode(b'[{"labels":{"a":"b"}},{"labels":{"a":"c"}}]')) == 2


def test_a_word_for_severity_has_a_bound():
    (item,) = events.decode(json.dumps({"labels": {"a": "b"}, "severity": "x" * 65}).encode())

    with pytest.raises(Malformed, match="severity has 65 characters, 64 are allowed"):
        events.translate(item, RECEIVED)


def test_half_a_character_in_one_item_costs_that_item_alone():
    body = b'[{"labels": {"alertname": "A", "x": "\\ud800"}}, {"labels": {"alertname": "B"}}]'

    half, whole = alertmanager.decode(body)

    assert isinstance(half, Malformed)
    assert read_labels(whole.labels) == {"alertname": "B"}


def test_half_a_character_in_one_alert_of_a_notification_costs_that_alert_alone():
    body = (
        b'{"version": "4", "alerts": [{"status": "firing", "labels": {"x": "\\ud800"}},'
        b' {"status": "firing", "labels": {"alertname": "B"}}]}'
    )

    half, whole = alertmanager_webhook.decode(body)

    assert isinstance(half, Malformed)
    assert read_labels(whole.labels) == {"alertname": "B"}
