"""Alerts of Splunk, through the webhook action of saved searches.

Facts:    https://docs.splunk.com/Documentation/Splunk/latest/Alert/Webhooks, payload of the webhook alert action, read
          2026-11-22.
Delivery: once; Splunk does not try again, it only logs the failure.
Recovery: none: Splunk sends when a search finds something, and nothing when it finds nothing more. So an alert is over
          when it was not sent again; say in ``fold.sources`` for how long it holds, which is more than the search's
          schedule and its throttling.
Limits:   the payload holds one row. Have the alert trigger for each result, so that each row is an alert of its own.
Needs:    in the alert's trigger actions Webhook with this address (Splunk must allow it in ``alert_actions.conf``). It
          sends no header: let it in by ``allow_from``, or with ``?token=`` in the address. Name in the search what the
          alert is about: ``| rename dest AS host`` and ``| eval severity="critical"``.
"""

from datetime import datetime

from foreshock.core.contracts import Collector, Receive
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, filled, needed, objects, part, text, worded

_IDENTIFYING = (
    "ci", "host", "hostname", "instance", "node", "server", "device", "service", "application", "app",
    "database", "pod", "deployment", "namespace", "cluster", "container_id", "interface", "mount", "site", "region",
    "env", "environment", "component",
)  # fmt: skip
"""Fields of a row that say what the alert is about; the others explain."""
_SHOWN = 40

decode = objects("alerts, as the webhook action of Splunk posts them")


def translate(item: Object, received_at: datetime) -> Event:
    """Raises Malformed where no search is named, as in an ad-hoc search."""
    found = part(item, "result")
    row = found if isinstance(found, dict) else {}
    return alert(
        {
            **{field: filled(row, field) for field in _IDENTIFYING},
            "alertname": needed(item, "search_name"),
            "splunk_app": filled(item, "app"),
        },
        received_at,
        annotations={
            **{field: text(row, field) for field in sorted(row)[:_SHOWN] if field not in _IDENTIFYING and field},
            "summary": filled(row, "summary") or filled(row, "message") or filled(row, "_raw"),
            "sid": filled(item, "sid"),
            "owner": filled(item, "owner"),
        },
        severity=worded(filled(row, "severity"), filled(row, "urgency")),
        url=filled(item, "results_link"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="splunk",
    title="Alerts of Splunk",
    facts="Splunk webhook alert action",
    decode=decode,
    translate=translate,
    sample="splunk.json",
    receive=Receive(
        path="/api/v1/collect/splunk",
        token_query="token",  # noqa: S106 (the name of it)
        schema={
            "type": "object",
            "required": ["search_name"],
            "properties": {
                "search_name": {**_TEXT, "description": "the saved search: name of the alert"},
                "result": {"type": "object", "description": "the row; `host`, `service` and the like identify"},
                "app": _TEXT,
                "sid": {**_TEXT, "description": "the run of the search"},
                "results_link": _TEXT,
            },
        },
    ),
    expires=True,
)
