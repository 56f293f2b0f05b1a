"""Events in the shape of ServiceNow Event Management (``em_event``), from whatever posts them to a ServiceNow instance.

Facts:    https://www.servicenow.com/docs, Event Management: send events via web service, event fields, closing alerts;
          read 2026-11-22. UNVERIFIED: what a real instance answers beside 2xx; ours lists the events.
Delivery: as the sender likes; sending an event again is always safe.
Recovery: reported; ``severity`` 0 (clear) or ``resolution_state`` Closing. There, equal ``message_key`` is the same
          alert. Here an alert is its key with its source, node, type, resource and metric, so a clear must name what
          the event named.
Limits:   ``additional_info`` explains, and does not identify; it may be a text with a JSON object in it, or the
          object.
Needs:    the sender's address of ServiceNow replaced by that of Foreshock; the path is the same. It shows its user and
          password (basic authentication), so the token here is that password.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, moment, needed, text

_SEVERITIES = {"0": "info", "1": "critical", "2": "major", "3": "minor", "4": "warning", "5": "info"}
_CLEAR = "0"
_SHOWN = 40


class _Envelope(Struct):
    records: msgspec.Raw


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_MANY, _ONE = msgspec.json.Decoder(list[Object]), msgspec.json.Decoder(Object)


def decode(body: bytes) -> list[Object | Malformed]:
    """The records, each by itself. Raises Malformed where there are none."""
    what = 'events: {"records": [{"source": …, "node": …, "severity": …}]}'
    try:
        records = bytes(_ENVELOPE.decode(body).records)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body holds no records: {error}", hint=f"post {what}") from None
    return decode_items(records, many=_MANY, one=_ONE, what=what)


def translate(item: Object, received_at: datetime) -> Event:
    """Raises Malformed without a severity, as ServiceNow does, and where nothing says what it is about."""
    severity = needed(item, "severity")
    if severity not in _SEVERITIES:
        raise Malformed(
            f"severity is {severity[:20]!r}", hint="0 is clear, 1 critical, 2 major, 3 minor, 4 warning, 5 ok"
        )
    at = moment(item, "time_of_event", zone=UTC)
    over = severity == _CLEAR or text(item, "resolution_state") == "Closing"
    name = text(item, "type") or text(item, "metric_name") or text(item, "event_class") or needed(item, "message_key")
    return alert(
        {
            "alertname": name,
            "host": text(item, "node"),
            "source": text(item, "source"),
            "resource": text(item, "resource"),
            "metric_name": text(item, "metric_name"),
            "message_key": text(item, "message_key"),
        },
        received_at,
        annotations={
            **_additional(item.get("additional_info")),
            "summary": text(item, "description"),
            "event_class": text(item, "event_class"),
            "ci_type": text(item, "ci_type"),
        },
        severity="" if over else _SEVERITIES[severity],
        starts_at=None if over else at,
        over=over,
        ended_at=at,
    )


def _additional(found: Any) -> dict[str, str]:
    if isinstance(found, str) and found.lstrip().startswith("{"):
        try:
            found = msgspec.json.decode(found, type=Object)
        except (msgspec.DecodeError, RecursionError):
            return {"additional_info": found}
    if isinstance(found, dict):
        return {name: text(found[name]) for name in sorted(found)[:_SHOWN] if name}
    return {"additional_info": text(found)}


_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "required": ["severity"],
    "anyOf": [{"required": ["type"]}, {"required": ["metric_name"]}, {"required": ["message_key"]}],
    "properties": {
        "source": {**_TEXT, "description": "the tool that reports"},
        "node": {**_TEXT, "description": "name, FQDN, IP or MAC of what it is about"},
        "type": {**_TEXT, "description": "name of the alert"},
        "resource": {**_TEXT, "description": "part of the node"},
        "metric_name": _TEXT,
        "message_key": {**_TEXT, "description": "of the alert; 1024 characters"},
        "severity": {"type": ["string", "number"], "description": "0 clear, 1 critical, … 5 ok"},
        "resolution_state": {**_TEXT, "description": "New or Closing"},
        "description": _TEXT,
        "time_of_event": {**_TEXT, "description": "yyyy-MM-dd HH:mm:ss, UTC"},
        "additional_info": {"description": "JSON object, also as a text"},
    },
}
COLLECTOR = Collector(
    kind="servicenow",
    title="Events in the shape of ServiceNow Event Management (em_event)",
    facts="ServiceNow Event Management, jsonv2",
    decode=decode,
    translate=translate,
    sample="servicenow-firing.json",
    receive=Receive(
        path="/api/global/em/jsonv2",
        schema={
            "type": "object",
            "required": ["records"],
            "properties": {"records": {"type": "array", "items": _EVENT}},
        },
    ),
)
