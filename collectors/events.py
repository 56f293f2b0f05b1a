"""Foreshock's own event format, for anything that can post JSON.

Facts:    this file and the OpenAPI document under /api/openapi.json are the definition.
Delivery: as the sender likes; sending an event again is always safe.
Recovery: reported; ``status: resolved``, or an ``ends_at`` at or before the time of receipt.
Limits:   64 labels of 2 KiB each, 5,000 events and 5 MiB a request.
Needs:    nothing on loopback; a token beyond it.
"""

from datetime import datetime
from functools import partial
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from foreshock.connect.proofs import STANDARD_WEBHOOKS
from foreshock.core.contracts import Collector, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import MAX_LABELS, Event, Moment


class PostedEvent(Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """One event: ``labels`` identify it, ``annotations`` explain it."""

    labels: Raw
    annotations: Raw = Raw(b"{}")
    status: Literal["firing", "resolved"] = "firing"
    severity: str = ""
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    url: str = ""


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[PostedEvent]),
    one=msgspec.json.Decoder(PostedEvent),
    what="events",
    or_one=True,
)


def translate(item: PostedEvent, received_at: datetime) -> Event:
    if len(item.severity) > 64:
        raise Malformed(f"severity has {len(item.severity)} characters, 64 are allowed")
    ends_at = item.ends_at
    if item.status == "resolved":
        ends_at = received_at if ends_at is None or ends_at.year == 1 else min(ends_at, received_at)
    return Event(
        labels=item.labels,
        annotations=item.annotations,
        severity=item.severity,
        starts_at=item.starts_at,
        ends_at=ends_at,
        url=item.url,
    )


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone"}
_EVENT = {
    "type": "object",
    "required": ["labels"],
    "additionalProperties": False,
    "properties": {
        "labels": {
            **_TEXTS,
            "minProperties": 1,
            "maxProperties": MAX_LABELS,
            "description": "identity; `alertname` names the condition",
        },
        "annotations": {**_TEXTS, "description": "`summary` and whatever explains the condition"},
        "status": {"enum": ["firing", "resolved"], "default": "firing"},
        "severity": {"type": "string", "maxLength": 64, "description": "overrides the label of that name"},
        "starts_at": _TIME,
        "ends_at": _TIME,
        "url": {"type": "string", "description": "where the source shows the condition"},
    },
}

COLLECTOR = Collector(
    kind="events",
    title="Foreshock events, posted by anything",
    facts="Foreshock's own format",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/events",
        schema={"oneOf": [{"type": "array", "items": _EVENT}, _EVENT]},
        signed=STANDARD_WEBHOOKS,
    ),
    sample="events.json",
    expires=True,
)
