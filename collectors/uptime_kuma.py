"""Uptime Kuma, through a notification of the type Webhook.

Facts:    server/notification-providers/webhook.js and server/model/{heartbeat,monitor}.js of louislam/uptime-kuma, read
          2026-11-22; the sample is hand-made from them.
Delivery: at most once; "Resend Notification if Down X times consecutively" of a monitor repeats what still holds.
Recovery: reported; status 1 (up) is the end. Status 2 (pending) is ignored: it is still being checked. Status 3
          (maintenance) is no end: what is planned says nothing about what is.
Limits:   a monitor has one alert, identified by its number and name; renaming or deleting it while it is down leaves an
          alert that nothing ends. Certificates that will expire are told as text without a heartbeat, and without an
          end: such an alert holds for a day.
Needs:    a notification, as below, and "Default enabled" or the notification chosen in each monitor. The test button is
          answered and ignored.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import alert, moment

_DOWN, _UP, _PENDING, _MAINTENANCE = range(4)
_HOLDS = timedelta(days=1)
_CERTIFICATE = re.compile(r"\[(.{1,300}?)\]\[(.{0,500}?)\] (.{1,200}?) will expire in (-?\d{1,6}) days", re.DOTALL)
"""UNVERIFIED for versions other than 1.23: "[name][url] server certificate CN will expire in 14 days"."""


class _Heartbeat(Struct, rename="camel", kw_only=True):
    status: int
    time: str = ""
    msg: str | None = None
    ping: float | None = None
    duration: float | None = None


class _Monitor(Struct, rename="camel", kw_only=True):
    id: int
    name: str
    path_name: str | None = None
    description: str | None = None
    type: str = ""
    url: str | None = None
    hostname: str | None = None
    port: int | str | None = None
    tags: list[Any] | None = None


class Notification(Struct, kw_only=True):
    """One message; one that is about no monitor, as a test is, has neither heartbeat nor monitor."""

    msg: str
    heartbeat: _Heartbeat | None = None
    monitor: _Monitor | None = None


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Notification]),
    one=msgspec.json.Decoder(Notification),
    what="messages of Uptime Kuma",
    or_one=True,
)


def translate(item: Notification, received_at: datetime) -> Event | Ignored:
    beat, monitor = item.heartbeat, item.monitor
    if beat is None or monitor is None:
        return _without_heartbeat(item.msg, received_at)
    if beat.status == _PENDING:
        return Ignored("pending: it is still being checked")
    if beat.status == _MAINTENANCE:
        return Ignored("a maintenance")
    if beat.status not in (_DOWN, _UP):
        raise Malformed(f"heartbeat.status is {beat.status}, none of 0 (down), 1 (up), 2 (pending), 3 (maintenance)")
    if not monitor.name:
        raise Malformed("monitor.name is empty")
    at = moment(beat.time, zone=UTC)  # it is UTC, and does not say so
    over = beat.status == _UP
    return alert(
        {
            "alertname": "Monitor down",
            "monitor": monitor.name,
            "monitor_id": str(monitor.id),
            "instance": monitor.hostname or _host_of(monitor.url),
        },
        received_at,
        annotations={
            "summary": beat.msg or item.msg,
            "description": monitor.description or "",
            "group": monitor.path_name or "",
            "tags": ", ".join(map(_tag, monitor.tags or ())),
            "checked": monitor.url or "",
            "type": monitor.type,
        },
        severity="critical",
        starts_at=None if over else at,
        over=over,
        ended_at=at,
    )


def _without_heartbeat(text: str, received_at: datetime) -> Event | Ignored:
    found = _CERTIFICATE.search(text)
    if found is None:
        return Ignored("a message about no monitor, such as a test")
    name, url, certificate, days = found.groups()
    return alert(
        {"alertname": "Certificate expires", "monitor": name, "instance": _host_of(url), "certificate": certificate},
        received_at,
        annotations={"summary": text},
        severity="critical" if int(days) <= 0 else "warning",
        holds=_HOLDS,
    )


def _host_of(url: str | None) -> str:
    """Of a new monitor that watches something else than an address, the form holds ``https://``."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""


def _tag(tag: Any) -> str:
    if not isinstance(tag, dict):
        return str(tag)
    name, value = tag.get("name", ""), tag.get("value", "")
    return f"{name}={value}" if value else str(name)


_MONITOR = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
}
_NOTIFICATION = {
    "type": "object",
    "required": ["msg"],
    "properties": {
        "msg": {"type": "string", "description": "annotation `summary` where the heartbeat has none"},
        "heartbeat": {
            "type": ["object", "null"],
            "required": ["status"],
            "properties": {"status": {"type": "integer"}},
            "description": "`status` is the state, `time` (UTC) start or end, `msg` annotation `summary`",
        },
        "monitor": {
            **_MONITOR,
            "type": ["object", "null"],
            "description": "`name` and `id` are labels `monitor` and `monitor_id`; the host of `url`, or `hostname`, "
            "is label `instance`",
        },
    },
}

COLLECTOR = Collector(
    kind="uptime_kuma",
    title="Uptime Kuma, through a webhook",
    facts="Uptime Kuma webhook notifications",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/uptime-kuma",
        schema={"oneOf": [{"type": "array", "items": _NOTIFICATION}, _NOTIFICATION]},
    ),
    sample="uptime_kuma-firing.json",
    namespace="uptime_kuma",
)
