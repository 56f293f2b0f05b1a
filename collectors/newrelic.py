"""Issues of New Relic, through a workflow that notifies a webhook destination.

Facts:    https://docs.newrelic.com/docs/alerts/get-notified/custom-variables-incident-workflows/ and the payload that
          New Relic proposes for a webhook, read 2026-11-22.
Delivery: at least once; what is not answered within some seconds is tried again.
Recovery: reported; an issue with the state CLOSED is over, for all that it was about.
Limits:   an alert is a condition on an entity in an issue. An issue of several conditions and several entities does
          not say which is on which, so each counts on each; have New Relic open an issue for each condition and
          signal. ``issue_id`` tells occurrences apart; to see them as one alert, have ``fold.identity`` leave it out.
Needs:    in Alerts > Destinations a webhook with this address and a custom header with the token; in a workflow that
          destination with the payload below (the payload that New Relic proposes is read as well).
"""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from foreshock.core.contracts import Collector, Receive
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, each, filled, moment, needed, objects, text, texts, worded


class Affected(Struct):
    """One condition on one entity of an issue; either may be empty."""

    issue: Object
    condition: str
    entity: str


def _taken_apart(issue: Object) -> Iterator[Affected]:
    conditions = texts(issue, "alertConditionNames") or [""]
    for entity in texts(issue, "impactedEntities") or [""]:
        for condition in conditions:
            yield Affected(issue, condition, entity)


_decode_issues = objects("issues, as a workflow of New Relic posts them")


def decode(body: bytes) -> list[Affected | Malformed]:
    return each(_decode_issues(body), _taken_apart)


def translate(item: Affected, received_at: datetime) -> Event:
    """Raises Malformed where the issue has no id."""
    issue = item.issue
    state = text(issue, "state").upper()
    policies = texts(issue, "alertPolicyNames")
    return alert(
        {
            "alertname": item.condition or "New Relic issue",
            "ci": item.entity,
            "issue_id": needed(issue, "id"),
        },
        received_at,
        annotations={
            "summary": filled(issue, "title"),
            "policy": ", ".join(policies),
            "acknowledged_by": filled(issue, "owner"),
            "workflow": filled(issue, "workflowName"),
            "state": state,
        },
        severity=worded(text(issue, "priority")),
        starts_at=moment(issue, "createdAt"),
        over=state == "CLOSED",
        ended_at=moment(issue, "closedAt") or moment(issue, "updatedAt"),
        url=filled(issue, "issueUrl"),
    )


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
COLLECTOR = Collector(
    kind="newrelic",
    title="Issues of New Relic",
    facts="New Relic workflows, webhook payload",
    decode=decode,
    translate=translate,
    sample="newrelic-firing.json",
    receive=Receive(
        path="/api/v1/collect/newrelic",
        schema={
            "type": "object",
            "required": ["id", "state"],
            "properties": {
                "id": {**_TEXT, "description": "the issue"},
                "state": {**_TEXT, "description": "CREATED, ACTIVATED, DEACTIVATED or CLOSED"},
                "priority": {**_TEXT, "description": "CRITICAL, HIGH, MEDIUM or LOW"},
                "alertConditionNames": {**_TEXTS, "description": "each is an alert on each entity"},
                "impactedEntities": {**_TEXTS, "description": "names of the CIs"},
                "createdAt": {"type": "number", "description": "milliseconds since 1970"},
            },
        },
    ),
)
