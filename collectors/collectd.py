"""collectd, by its plug-in write_http: notifications of thresholds and other plug-ins.

Facts:    https://collectd.org/wiki/index.php/Plugin:Write_HTTP and src/utils/format_json in collectd 5.12, read
          2026-11-22; what collectd 5.12 sent, as recorded in tests/samples.
Delivery: at most once: collectd logs what it could not post, and goes on.
Recovery: reported: a notification of severity OKAY is the end. The threshold plug-in sends it once; with
          `Persist false` (the default) it sends trouble once, too.
Limits:   plug-in, type and instances identify an alert, with the host; that a value is missing and that it is beyond
          its threshold are one alert. Values are ignored: load the plug-in write_prometheus and have it scraped by the
          collector `openmetrics`. Notifications of plug-ins that never send OKAY (a log line that matched) are alerts
          that nobody ends.
Needs:    the plug-ins write_http and threshold, as below. On Debian write_http needs the package libyajl2.
"""

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import alert, moment

_SEVERITY = {"FAILURE": "critical", "WARNING": "warning"}
_NO_IDENTITY = frozenset({"severity", "service"})
"""The severity changes with the state of one alert; the service is always ``collectd``."""


class Posted(Struct, kw_only=True):
    """A notification has labels, a list of values has values."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    starts_at: str = msgspec.field(default="", name="startsAt")
    values: list[Any] | None = None


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Posted]),
    one=msgspec.json.Decoder(Posted),
    what="notifications of collectd",
    or_one=True,
)


def translate(item: Posted, received_at: datetime) -> Event | Ignored:
    if item.labels is not None:
        return _event(item, received_at)
    if item.values is None:
        raise Malformed("it is neither a notification (labels) nor a list of values (values)")
    return Ignored("values, not a notification")


def _event(item: Posted, received_at: datetime) -> Event:
    labels = item.labels or {}
    severity = labels.get("severity", "").upper()
    if severity not in (*_SEVERITY, "OKAY"):
        raise Malformed(f"the severity is {severity[:40]!r}, none of FAILURE, WARNING, OKAY")
    if not labels.get("alertname") or not labels.get("instance"):
        raise Malformed("alertname or instance is missing", hint="labels name the plug-in with the type, and the host")
    over, at = severity == "OKAY", moment(item.starts_at)
    said = {name: text for name, text in (item.annotations or {}).items() if text.lower() != "nan"}
    return alert(
        {name: value for name, value in labels.items() if name not in _NO_IDENTITY},
        received_at,
        annotations=said,
        severity="" if over else _SEVERITY[severity],
        starts_at=None if over else at,
        over=over,
        ended_at=at,
    )


_TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_NOTIFICATION = {
    "type": "object",
    "required": ["labels"],
    "properties": {
        "labels": {
            **_TEXTS,
            "description": "labels, without `service`; `severity` is FAILURE, WARNING or, at the end, OKAY",
        },
        "annotations": _TEXTS,
        "startsAt": {"type": "string", "format": "date-time", "description": "start, of OKAY the end"},
    },
}
_VALUES = {
    "type": "object",
    "required": ["values", "dsnames", "dstypes", "host", "plugin", "type", "time"],
    "properties": {"values": {"type": "array"}, "time": {"type": "number"}, "host": {"type": "string"}},
}

COLLECTOR = Collector(
    kind="collectd",
    title="collectd, by write_http",
    facts="collectd 5.12 write_http, JSON",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/collectd", schema={"type": "array", "items": {"oneOf": [_NOTIFICATION, _VALUES]}}
    ),
    sample="collectd-firing.json",
    namespace="collectd",
)
