"""Monitors of Datadog, through its webhooks integration.

Facts:    https://docs.datadoghq.com/integrations/webhooks/, variables and default payload, read 2026-11-22.
          UNVERIFIED: how a title of the default payload is spelt, ``[Triggered on {host:web-1}] NAME``.
Delivery: at least once; what is answered with 5xx is tried again, five times at most.
Recovery: reported as the transition Recovered, where the monitor notifies of it (the message names the webhook outside
          of ``{{#is_alert}}``). A renotification says that it fires still.
Limits:   an alert is known by the monitor, its name and the group that it fired for; giving a monitor another name, or
          other tags ``service`` and ``env``, while it fires makes another alert of it. Datadog sends no security
          signals of accounts under HIPAA.
Needs:    in Integrations > Webhooks a webhook with this address, the payload below (Datadog's default payload is read
          as well, but names no monitor), and a custom header with the token; then ``@webhook-NAME`` in the message of
          each monitor.
"""

import re
from datetime import datetime

from foreshock.core.contracts import Collector, Receive
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, filled, moment, needed, objects, steady, tags, worded

_TITLE = re.compile(
    r"^(?:\[P[1-5]\] *)?\[(?P<transition>[A-Za-z][A-Za-z -]*?)(?: on \{(?P<scope>[^}]*)\})?\] *(?P<name>.*)", re.DOTALL
)
_NAMES = {
    "kube_deployment": "deployment",
    "kube_stateful_set": "statefulset",
    "kube_daemon_set": "daemonset",
    "kube_namespace": "namespace",
    "kube_cluster_name": "cluster",
    "kube_service": "service",
    "pod_name": "pod",
    "container_name": "container",
    "host_name": "host",
    "availability-zone": "zone",
}
"""Tags by the names that our labels have."""
_OF_THE_MONITOR = ("service", "env")
"""Tags that say what a monitor is about, where its group does not."""
_SEVERITIES = {"warn": "warning", "no data": "warning"}
_TRIGGERED = "critical"

decode = objects("notifications, as Datadog's webhooks post them")


def translate(item: Object, received_at: datetime) -> Event:
    """The transition decides. Raises Malformed where nothing names the monitor."""
    title = _TITLE.match(filled(item, "event_title") or filled(item, "title"))
    transition = filled(item, "alert_transition") or (title["transition"] if title else "")
    scope = tags(item, "alert_scope") or tags(title["scope"] if title else "")
    name = filled(item, "alert_title") or (title["name"] if title else "") or needed(item, "title")
    monitor = tags(item, "tags")
    state = transition.lower().removeprefix("re-")
    return alert(
        {
            **{label: monitor.get(label, "") for label in _OF_THE_MONITOR},
            **{_NAMES.get(tag, tag): value for tag, value in scope.items()},
            "alertname": steady(name),
            "monitor_id": filled(item, "alert_id"),
        },
        received_at,
        annotations={
            "summary": name,
            "description": filled(item, "body"),
            "status": filled(item, "alert_status"),
            "query": filled(item, "alert_query"),
            "metric": filled(item, "alert_metric"),
            "hostname": filled(item, "hostname"),
            "tags": filled(item, "tags"),
            "transition": transition,
        },
        severity=_SEVERITIES.get(state) or worded(filled(item, "alert_priority"), _TRIGGERED),
        starts_at=None if state == "recovered" else moment(item, "date") or moment(item, "last_updated"),
        over=state == "recovered" or (not state and filled(item, "alert_type") == "success"),
        ended_at=moment(item, "date") or moment(item, "last_updated"),
        url=filled(item, "link"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="datadog",
    title="Monitors of Datadog",
    facts="Datadog webhooks integration, its variables",
    decode=decode,
    translate=translate,
    sample="datadog-firing.json",
    receive=Receive(
        path="/api/v1/collect/datadog",
        schema={
            "type": "object",
            "anyOf": [{"required": ["alert_title"]}, {"required": ["title"]}],
            "properties": {
                "alert_id": {**_TEXT, "description": "the monitor"},
                "alert_title": {**_TEXT, "description": "name of the monitor"},
                "alert_scope": {**_TEXT, "description": "tags of the group that it fires for, with commas"},
                "alert_transition": {**_TEXT, "description": "Triggered, Warn, No Data, Re-…, Renotify or Recovered"},
                "alert_priority": {**_TEXT, "description": "P1 to P5: the severity of what is triggered"},
                "tags": {**_TEXT, "description": "of the monitor, with commas; `service` and `env` count"},
                "title": {**_TEXT, "description": "of the default payload, where there is no alert_title"},
                "date": {**_TEXT, "description": "milliseconds since 1970"},
            },
        },
    ),
)
