"""Sensu Go, by a pipe handler that posts the event with curl.

Facts:    https://docs.sensu.io/sensu-go/latest/observability-pipeline/observe-events/events/, read 2026-11-22; the
          sample is hand-made from it.
Delivery: at most once: Sensu runs the handler once for each event, and does not look at its exit code.
Recovery: reported; status 0 is the end. The filter `is_incident` lets trouble and its end through, and leaves out
          results that stay good. Nothing tells that an entity or a check was deleted while it was in trouble.
Limits:   a check has one alert for each entity and namespace; status 2 is critical, 1 and anything else
          (unknown) a warning. Since when a check fails is taken from its history, of which Sensu sends 21 results.
          Metrics in events are ignored.
Needs:    curl on the backends (or an asset that brings it), and the handler below among the handlers of the checks and
          in the handler set `keepalive`.
"""

from datetime import datetime
from functools import partial

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import alert, moment

_SEVERITY = {1: "warning", 2: "critical"}


class _Metadata(Struct):
    name: str
    namespace: str = "default"
    annotations: dict[str, str] | None = None


class _Result(Struct):
    status: int
    executed: int = 0


class _Check(Struct, kw_only=True):
    metadata: _Metadata
    status: int
    output: str = ""
    executed: int = 0
    history: list[_Result] | None = None
    is_silenced: bool = False
    silenced: list[str] | None = None
    state: str = ""


class _Entity(Struct, kw_only=True):
    metadata: _Metadata
    entity_class: str = ""


class SensuEvent(Struct, kw_only=True):
    """One event. check: None where it brings metrics only."""

    entity: _Entity
    check: _Check | None = None
    timestamp: int = 0


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[SensuEvent]),
    one=msgspec.json.Decoder(SensuEvent),
    what="events of Sensu Go",
    or_one=True,
)


def translate(item: SensuEvent, received_at: datetime) -> Event | Ignored:
    check, entity = item.check, item.entity.metadata
    if check is None:
        return Ignored("metrics only")
    if not entity.name or not check.metadata.name:
        raise Malformed("the entity or the check has no name")
    executed = moment(check.executed or item.timestamp)
    over = check.status == 0
    return alert(
        {"alertname": check.metadata.name, "host": entity.name, "sensu_namespace": entity.namespace},
        received_at,
        annotations={
            "summary": check.output.strip(),
            "state": check.state,
            "silenced": ", ".join(check.silenced or ()) if check.is_silenced else "",
            "runbook_url": (check.metadata.annotations or {}).get("runbook_url", ""),
        },
        severity="" if over else _SEVERITY.get(check.status, "warning"),
        starts_at=None if over else moment(_failing_since(check)) or executed,
        over=over,
        ended_at=executed,
    )


def _failing_since(check: _Check) -> int:
    """When the first of the last results in a row that were not good was made; 0 where the history does not say."""
    since = 0
    for result in reversed(check.history or ()):
        if result.status == 0:
            break
        since = result.executed or since
    return since


_NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_EVENT = {
    "type": "object",
    "required": ["entity"],
    "properties": {
        "entity": {
            "type": "object",
            "required": ["metadata"],
            "properties": {"metadata": _NAMED},
            "description": "`metadata.name` is label `host`, `metadata.namespace` label `sensu_namespace`",
        },
        "check": {
            "type": "object",
            "required": ["metadata", "status"],
            "properties": {"metadata": _NAMED, "status": {"type": "integer"}},
            "description": "`metadata.name` is label `alertname`, `output` annotation `summary`, `executed` end and, "
            "of the first failing result of `history`, start",
        },
        "timestamp": {"type": "integer"},
    },
}

COLLECTOR = Collector(
    kind="sensu",
    title="Sensu Go, by a handler",
    facts="Sensu Go events, core/v2",
    decode=decode,
    translate=translate,
    receive=Receive(path="/api/v1/collect/sensu", schema={"oneOf": [{"type": "array", "items": _EVENT}, _EVENT]}),
    sample="sensu-firing.json",
    namespace="sensu",
)
