"""Incidents of Google Cloud Monitoring, through a notification channel: a webhook, or Pub/Sub with a push subscription.

Facts:    https://cloud.google.com/monitoring/support/notification-options#webhooks, schema version 1.2, read
          2026-11-22.
Delivery: at least once; Pub/Sub repeats until it gets a 2xx, for up to seven days.
Recovery: reported; an incident with the state closed is over. An incident of a log-based alert closes after the
          policy's auto-close duration.
Limits:   an alert is a condition on a resource with the labels of its metric. Incidents of log-based alerts may be
          open side by side for the same resource, so there the incident's id identifies too. User labels of the policy
          explain, and do not identify.
Needs:    in Alerting > Notification channels a webhook with this address and basic authentication (the token as the
          password), or a Pub/Sub channel whose topic has a push subscription to this address; then the channel in each
          policy.
"""

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Receive
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, each, moment, needed, objects, part, text, worded

_SEVERITIES = {"error": "major", "critical": "critical", "warning": "warning"}
_NAMES = {
    "instance_id": "instance",
    "instance_name": "vm",
    "node_name": "node",
    "nodename": "node",
    "pod_name": "pod",
    "namespace_name": "namespace",
    "cluster_name": "cluster",
    "container_name": "container",
    "database_id": "database",
    "service_name": "service",
    "function_name": "service",
    "backend_service_name": "service",
    "host": "host",
}
"""Labels of resources and metrics by the names that ours have; the others keep theirs."""


class Posted(Struct):
    """One incident."""

    incident: Object


def _taken_apart(posted: Object) -> Iterator[Posted]:
    pushed = part(posted, "message", "data")
    if isinstance(pushed, str):
        try:
            posted = msgspec.json.decode(base64.b64decode(pushed, validate=True), type=Object)
        except (binascii.Error, ValueError, RecursionError):
            posted = {}
    incident = part(posted, "incident")
    yield Posted(incident if isinstance(incident, dict) else {})


_decode_incidents = objects("incidents, as Google Cloud Monitoring posts them")


def decode(body: bytes) -> list[Posted | Malformed]:
    return each(_decode_incidents(body), _taken_apart)


def translate(item: Posted, received_at: datetime) -> Event:
    """Raises Malformed where there is no incident, or nothing names its condition."""
    incident = item.incident
    resource, metric = part(incident, "resource", "labels"), part(incident, "metric", "labels")
    state = needed(incident, "state")
    by_log = isinstance(part(incident, "condition", "conditionMatchedLog"), dict)
    name = text(incident, "policy_name") or needed(incident, "condition_name")
    return alert(
        {
            **_labels(metric),
            **_labels(resource),
            "alertname": name,
            "condition": text(incident, "condition", "name") or text(incident, "condition_name"),
            "project_id": text(incident, "scoping_project_id"),
            "resource_type": text(incident, "resource", "type"),
            "incident_id": needed(incident, "incident_id") if by_log else "",
        },
        received_at,
        annotations={
            "summary": text(incident, "summary"),
            "description": text(incident, "documentation", "content"),
            "condition": text(incident, "condition_name"),
            "metric": text(incident, "metric", "displayName") or text(incident, "metric", "type"),
            "observed": text(incident, "observed_value"),
            "threshold": text(incident, "threshold_value"),
            "incident_id": text(incident, "incident_id"),
        },
        severity=_SEVERITIES.get(text(incident, "severity").lower(), worded(text(incident, "severity"))),
        starts_at=moment(incident, "started_at"),
        over=state.lower() == "closed",
        ended_at=moment(incident, "ended_at"),
        url=text(incident, "url"),
    )


def _labels(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {_NAMES.get(name) or name: text(value) for name, value in found.items()}


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="google_cloud",
    title="Incidents of Google Cloud Monitoring",
    facts="Google Cloud Monitoring webhook, schema 1.2",
    decode=decode,
    translate=translate,
    sample="google_cloud-firing.json",
    receive=Receive(
        path="/api/v1/collect/google_cloud",
        schema={
            "type": "object",
            "anyOf": [{"required": ["incident"]}, {"required": ["message"]}],
            "properties": {
                "incident": {
                    "type": "object",
                    "required": ["incident_id", "state"],
                    "properties": {"state": _TEXT, "policy_name": _TEXT, "condition_name": _TEXT},
                    "description": "as the webhook posts it",
                },
                "message": {"type": "object", "description": "of Pub/Sub, with the same in base64 as `data`"},
                "version": _TEXT,
            },
        },
    ),
)
