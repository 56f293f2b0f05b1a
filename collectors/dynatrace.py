"""Problems of Dynatrace, through a custom integration of its problem notifications.

Facts:    https://docs.dynatrace.com/docs/analyze-explore-automate/notifications-and-alerting/problem-notifications/webhook-integration,
          read 2026-11-22. UNVERIFIED: that a problem which is resolved names all entities that it ever impacted.
Delivery: Dynatrace tries again for some minutes where it gets no 2xx.
Recovery: reported; the state is RESOLVED. MERGED ends a problem as well: it goes on as part of another. Both need
          "send notification if problem is closed" in the integration.
Limits:   an alert is an impacted entity of a problem. The title of a problem changes as Dynatrace learns more of it,
          so it explains, and does not identify. ``problem_id`` tells occurrences apart.
Needs:    in Settings > Integration > Problem notifications a custom integration with this address, a header with the
          token, and the payload below.
"""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from foreshock.core.contracts import Collector, Receive
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, each, filled, moment, needed, objects, part, text, texts

_SEVERITIES = {
    "AVAILABILITY": "critical",
    "ERROR": "major",
    "PERFORMANCE": "minor",
    "RESOURCE_CONTENTION": "minor",
    "CUSTOM_ALERT": "warning",
    "MONITORING_UNAVAILABLE": "warning",
    "INFO": "info",
}
_ENDED = ("RESOLVED", "CLOSED", "MERGED")


class Impacted(Struct):
    """One entity of a problem; ``type`` and ``id`` as Dynatrace has them, or empty."""

    problem: Object
    name: str
    type: str = ""
    id: str = ""


def _taken_apart(problem: Object) -> Iterator[Impacted]:
    entities = part(problem, "ImpactedEntities")
    if isinstance(entities, list) and entities:
        for one in entities:
            yield Impacted(problem, filled(one, "name"), filled(one, "type"), filled(one, "entity"))
    else:  # a payload of the user's own
        names = texts(problem, "ImpactedEntityNames") or texts(problem, "ImpactedEntity")
        yield from (Impacted(problem, name) for name in names or [""])


_decode_problems = objects("problems, as Dynatrace posts them")


def decode(body: bytes) -> list[Impacted | Malformed]:
    return each(_decode_problems(body), _taken_apart)


def translate(item: Impacted, received_at: datetime) -> Event:
    """Raises Malformed where the problem has no id, or an entity of it nothing to know it by."""
    problem = item.problem
    if part(problem, "ImpactedEntities") and not (item.name or item.id):
        raise Malformed("an impacted entity has neither name nor entity")
    state = text(problem, "State").upper()
    details = part(problem, "ProblemDetailsJSON")
    severity = text(problem, "ProblemSeverity").upper() or text(details, "severityLevel").upper()
    return alert(
        {
            "alertname": "Dynatrace problem",
            "host" if item.type == "HOST" else "service" if item.type == "SERVICE" else "ci": item.name,
            "entity_id": item.id,
            "problem_id": filled(problem, "PID") or needed(problem, "ProblemID"),
        },
        received_at,
        annotations={
            "summary": filled(problem, "ProblemTitle"),
            "description": filled(problem, "ProblemDetailsText"),
            "impact": filled(problem, "ProblemImpact"),
            "problem": filled(problem, "ProblemID"),
            "tags": filled(problem, "Tags"),
            "state": state,
        },
        severity=_SEVERITIES.get(severity, ""),
        starts_at=moment(problem, "ProblemStartTime") or moment(details, "startTime"),
        over=state in _ENDED,
        ended_at=moment(problem, "ProblemEndTime") or moment(details, "endTime"),
        url=filled(problem, "ProblemURL"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="dynatrace",
    title="Problems of Dynatrace",
    facts="Dynatrace problem notifications, placeholders",
    decode=decode,
    translate=translate,
    sample="dynatrace-firing.json",
    receive=Receive(
        path="/api/v1/collect/dynatrace",
        schema={
            "type": "object",
            "required": ["State"],
            "anyOf": [{"required": ["PID"]}, {"required": ["ProblemID"]}],
            "properties": {
                "PID": {"type": ["string", "number"], "description": "the problem"},
                "ProblemID": {**_TEXT, "description": "its number, for people"},
                "State": {**_TEXT, "description": "OPEN, RESOLVED or MERGED"},
                "ProblemSeverity": {**_TEXT, "description": "AVAILABILITY, ERROR, PERFORMANCE, …"},
                "ImpactedEntities": {
                    "type": "array",
                    "items": {"type": "object", "anyOf": [{"required": ["name"]}, {"required": ["entity"]}]},
                    "description": "of `type`, `name` and `entity`",
                },
                "ProblemStartTime": {"type": ["string", "number"], "description": "milliseconds since 1970"},
            },
        },
    ),
)
