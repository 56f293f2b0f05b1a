"""Incidents of PagerDuty, through its webhooks.

Facts:    https://developer.pagerduty.com/docs/webhooks-overview (v3: event types, payload, signature), read
          2026-11-22.
Delivery: at least once, in no certain order; tried again for some hours, and a subscription that keeps failing is
          switched off.
Recovery: reported as ``incident.resolved``; an incident that is reopened fires again.
Limits:   an alert is an incident. Moving it to another service while it is open makes another alert of it, and the
          first stays. Notes, responders and status updates are passed over.
Needs:    in Integrations > Generic Webhooks (v3) a subscription with this address, of an account, a team or services,
          for the events of incidents; its secret here as ``secret_files``.
"""

from datetime import datetime

from foreshock.connect.proofs import PAGERDUTY
from foreshock.core.contracts import Collector, Ignored, Receive
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, moment, needed, objects, part, parts, text, worded

_OPEN = frozenset({"triggered", "acknowledged"})
"""States of an incident that is not over."""

decode = objects("webhooks of PagerDuty, version 3")


def translate(item: Object, received_at: datetime) -> Event | Ignored:
    """The state of the incident decides, whatever the event is. Raises Malformed where there is no event."""
    kind = needed(item, "event", "event_type")
    incident = part(item, "event", "data")
    if not kind.startswith("incident.") or text(incident, "type") not in ("incident", "incident_reference"):
        return Ignored("no event of an incident")
    state = text(incident, "status")
    if state not in _OPEN and state != "resolved":
        return Ignored("an event that says nothing of the state")
    occurred_at = moment(item, "event", "occurred_at")
    return alert(
        {
            "alertname": "PagerDuty incident",
            "incident_id": needed(incident, "id"),
            "service": text(incident, "service", "summary"),
        },
        received_at,
        annotations={
            "summary": text(incident, "title"),
            "number": text(incident, "number"),
            "incident_key": text(incident, "incident_key"),
            "state": state,
            "urgency": text(incident, "urgency"),
            "priority": text(incident, "priority", "summary"),
            "assignees": ", ".join(text(one, "summary") for one in parts(incident, "assignees")),
            "teams": ", ".join(text(one, "summary") for one in parts(incident, "teams")),
        },
        severity=worded(text(incident, "priority", "summary"), text(incident, "urgency")),
        starts_at=occurred_at if kind == "incident.reopened" else moment(incident, "created_at"),
        over=state == "resolved",
        ended_at=moment(incident, "resolved_at") or occurred_at,
        url=text(incident, "html_url"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="pagerduty",
    title="Incidents of PagerDuty",
    facts="PagerDuty webhooks, version 3",
    decode=decode,
    translate=translate,
    sample="pagerduty-firing.json",
    receive=Receive(
        path="/api/v1/collect/pagerduty",
        signed=PAGERDUTY,
        schema={
            "type": "object",
            "required": ["event"],
            "properties": {
                "event": {
                    "type": "object",
                    "required": ["event_type"],
                    "properties": {"event_type": _TEXT, "occurred_at": {**_TEXT, "format": "date-time"}},
                    "description": "`event_type`, `occurred_at`, and the incident as `data`",
                }
            },
        },
    ),
)
