"""Notifications of a real Alertmanager, through its webhook receiver.

Facts:    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, payload version 4, read 2026-11-22;
          as recorded from Alertmanager 0.25 in tests/samples.
Delivery: at least once; a group is sent again after ``group_interval`` and ``repeat_interval``.
Recovery: reported where ``send_resolved`` is true (the default); ``status`` says which. While it fires ``endsAt`` is
the year
          1, so nothing expires here: a group may be silent for ``repeat_interval`` (4 h by default) and still fire.
Limits:   ``max_alerts`` of the receiver cuts a group; what was cut is told as a dead letter, with the number.
Needs:    a receiver with ``webhook_configs: [{url: …/api/v1/collect/alertmanager}]``.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from collectors.alertmanager import POSTABLE_PROPERTIES
from foreshock.core.contracts import Collector, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, Moment


class Notified(Struct, gc=False, kw_only=True, rename="camel"):
    """One alert of a notification."""

    status: Literal["firing", "resolved"]
    labels: Raw
    annotations: Raw = Raw(b"{}")
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    generator_url: str = msgspec.field(default="", name="generatorURL")


class _Envelope(Struct, rename="camel"):
    alerts: Raw
    truncated_alerts: int | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_decode_alerts = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Notified]),
    one=msgspec.json.Decoder(Notified),
    what="alerts, as in Alertmanager's webhook payload",
)


def alerts_of(
    body: bytes, decode_alerts: Callable[[bytes], list[Any]], what: str = "Alertmanager's webhook payload, version 4"
) -> list[Any]:
    """The alerts of a notification, each by itself, and a Malformed for those that the sender cut off. Raises Malformed
    where the body is no notification."""
    try:
        envelope = _ENVELOPE.decode(body)
        alerts, cut = bytes(envelope.alerts), envelope.truncated_alerts or 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # One alert with half a character in a string spoils the whole for msgspec; the standard library still reads it.
        try:
            alerts, cut = json.dumps(json.loads(body.decode())["alerts"]).encode(), 0
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Malformed(f"the body is not a notification: {error}", hint=f"post {what}") from None
    items = decode_alerts(alerts)
    if cut > 0:
        hint = "raise the limit of alerts in one notification there, or take it away"
        items.append(Malformed(f"the sender left out {cut} alerts of this notification", hint=hint))
    return items


def decode(body: bytes) -> Sequence[Notified | Malformed]:
    """The alerts of a notification. Raises Malformed where the body is not one."""
    return alerts_of(body, _decode_alerts)


def translate(item: Notified, received_at: datetime) -> Event:
    """``status`` decides; the end of a resolve that is missing, or lies ahead of our clock, is the time of receipt."""
    ends_at = None
    if item.status == "resolved":
        ends_at = received_at if item.ends_at is None or item.ends_at.year == 1 else min(item.ends_at, received_at)
    return Event(
        labels=item.labels,
        annotations=item.annotations,
        starts_at=item.starts_at,
        ends_at=ends_at,
        url=item.generator_url,
    )


NOTIFIED_PROPERTIES = {**POSTABLE_PROPERTIES, "status": {"enum": ["firing", "resolved"]}}
"""JSON Schema of the fields of an alert in a notification."""
_NOTIFIED = {"type": "object", "required": ["labels", "status"], "properties": NOTIFIED_PROPERTIES}

COLLECTOR = Collector(
    kind="alertmanager_webhook",
    title="Alertmanager, through its webhook receiver",
    facts="Alertmanager webhook payload, version 4",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/alertmanager",
        busy=503,  # it tries again after 5xx only
        schema={
            "type": "object",
            "required": ["alerts"],
            "properties": {"alerts": {"type": "array", "items": _NOTIFIED}},
        },
    ),
    sample="alertmanager-webhook-firing.json",
    namespace="prometheus",
)
