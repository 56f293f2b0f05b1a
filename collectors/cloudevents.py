"""CloudEvents of anything: structured, in batches, or binary (attributes in headers); CDEvents among them.

Facts:    https://github.com/cloudevents/spec, version 1.0.2 (JSON format, HTTP binding, webhook handshake; bindings of
          Kafka, AMQP and MQTT), and https://cdevents.dev, read 2026-11-23.
Delivery: as the sender likes; sending an event again is always safe.
Recovery: reported where ``data`` says so: ``status`` resolved, ok, closed or recovered, or an incident that CDEvents
          calls resolved. Whatever says nothing of a status counts for an hour.
Limits:   an alert is a type from a source about a subject, with the ``labels`` of ``data`` where it has such an
          object. Deployments of CDEvents (service deployed, upgraded, rolledback, removed) are changes of the subject.
          Binary data that is no JSON explains nothing and is left out.
Needs:    this address as the sink of the event source; it may ask first (OPTIONS with WebHook-Request-Origin) and is
          allowed. A header with the token. Or a broker's instance with ``reads: cloudevents``: a binary event has its
          attributes in headers, as ``ce_type`` in Kafka, ``ce-type`` in NATS, ``cloudEvents:type`` or
          ``cloudEvents_type`` in AMQP, and plainly as ``type`` in user properties of MQTT 5.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import msgspec

from foreshock.connect.proofs import cloudevents_handshake
from foreshock.core.contracts import Collector, Ignored, Receive, ReceiveConfig, split_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event
from foreshock.core.payload import Object, alert, change, filled, moment, needed, objects, part, text, worded

HOLDS = timedelta(hours=1)
_OVER = frozenset({"resolved", "ok", "closed", "recovered", "cleared", "normal"})
_PREFIX = "ce-"
_PREFIXES = (_PREFIX, "ce_", "cloudevents:", "cloudevents_")
"""Of attributes in headers: HTTP and NATS, Kafka, AMQP. MQTT has none, and by such names there only ours are taken."""
_PLAIN = ("specversion", "type", "source", "id", "subject", "time", "severity", "severitytext")
_STRUCTURED = "application/cloudevents"
_MAX_ATTRIBUTE = 2048
_CHANGES = ("deployed", "upgraded", "rolledback", "removed", "published")
_CDEVENTS = "dev.cdevents."


def head(config: ReceiveConfig, headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes, where they are in headers (binary mode), named as in HTTP."""
    if headers.get("content-type", "").lower().startswith(_STRUCTURED):
        return {}  # what the headers may repeat then is all in the body
    prefix = next((each for each in _PREFIXES if f"{each}specversion" in headers), None)
    if prefix is not None:
        found = {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)}
    elif "specversion" in headers:
        found = {name: headers[name] for name in _PLAIN if name in headers}
    else:
        return {}
    if prefix == _PREFIX:
        found = {name: unquote(value) for name, value in found.items()}
    return {f"{_PREFIX}{name}": value[:_MAX_ATTRIBUTE] for name, value in found.items()}


_decode_events = objects("CloudEvents, structured or in a batch")


def decode(payload: bytes) -> list[Object | Malformed]:
    """Each event as in the structured mode."""
    attributes, body = split_head(payload)
    if not attributes:
        return _decode_events(body)
    event: Object = {name.removeprefix(_PREFIX): text(value) for name, value in attributes.items()}
    try:
        return [{**event, "data": msgspec.json.decode(body)}]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [event]


def translate(item: Object, received_at: datetime) -> Event | Change | Ignored:
    """Raises Malformed where type, source or id is missing."""
    kind, source = needed(item, "type"), needed(item, "source")
    needed(item, "id")
    if kind.startswith(_CDEVENTS):
        return _cdevent(kind, item, received_at)
    data = part(item, "data")
    status = text(data, "status").lower() or text(data, "state").lower()
    own = part(data, "labels")
    return alert(
        {
            "ci": filled(item, "subject"),
            **({name: filled(one) for name, one in own.items()} if isinstance(own, dict) else {}),
            "alertname": filled(own, "alertname") or kind,
            "source": source,
        },
        received_at,
        annotations={
            **dict(_explained(data)),
            "summary": text(data, "summary") or text(data, "message") or text(data, "description"),
            "type": kind,
        },
        severity=worded(text(data, "severity"), text(item, "severity"), text(item, "severitytext")),
        starts_at=None if status in _OVER else moment(item, "time"),
        over=status in _OVER,
        ended_at=moment(item, "time"),
        holds=None if status else HOLDS,
        url=text(data, "url"),
    )


def _explained(data: Any) -> Iterator[tuple[str, str]]:
    found = part(data, "annotations")
    if isinstance(found, dict):
        yield from ((name, text(found[name])) for name in sorted(found)[:40] if name)


def _cdevent(kind: str, item: Object, received_at: datetime) -> Event | Change | Ignored:
    """A word of the continuous delivery vocabulary: ``dev.cdevents.SUBJECT.PREDICATE.VERSION``."""
    subject, _, predicate = kind.removeprefix(_CDEVENTS).partition(".")
    predicate = predicate.partition(".")[0]
    found = part(item, "data", "subject")
    content, name = part(found, "content"), text(found, "id") or needed(item, "subject")
    environment = text(content, "environment", "id")
    at = moment(item, "time") or moment(item, "data", "context", "timestamp")
    if subject == "incident":
        return alert(
            {
                "alertname": "CDEvents incident",
                "incident_id": name,
                "service": text(content, "service", "id"),
                "environment": environment,
            },
            received_at,
            annotations={"summary": text(content, "description"), "ticket": text(content, "ticketURI")},
            starts_at=None if predicate == "resolved" else at,
            over=predicate == "resolved",
            ended_at=at,
        )
    if predicate not in _CHANGES:
        return Ignored("a CDEvent that is neither an incident nor a deployment")
    return change(
        f"{text(item, 'source')}:{text(item, 'id')}",
        received_at,
        at=at,
        title=f"{subject} {name} {predicate}" + (f" in {environment}" if environment else ""),
        cis=[name.rpartition("/")[2]],
        actor=text(item, "source"),
    )


_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "required": ["specversion", "type", "source", "id"],
    "properties": {
        "specversion": _TEXT,
        "type": {**_TEXT, "description": "name of the alert, where `data.labels` has no alertname"},
        "source": _TEXT,
        "id": {**_TEXT, "description": "of this event; identifies no alert"},
        "subject": {**_TEXT, "description": "names the CI"},
        "time": {**_TEXT, "format": "date-time"},
        "data": {"description": "`status`, `severity`, `summary`, `labels`, `annotations`, `url` count"},
    },
}
COLLECTOR = Collector(
    kind="cloudevents",
    title="CloudEvents of anything, and CDEvents",
    facts="CloudEvents 1.0, HTTP binding",
    decode=decode,
    translate=translate,
    sample="cloudevents-firing.json",
    receive=Receive(
        path="/api/v1/collect/cloudevents",
        schema={"anyOf": [{"type": "array", "items": _EVENT}, _EVENT]},
        head=head,
        handshake=cloudevents_handshake,
    ),
)
