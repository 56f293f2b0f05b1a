"""collectd, by its plug-in write_http: values, and notifications of thresholds and other plug-ins.

Facts:    https://collectd.org/wiki/index.php/Plugin:Write_HTTP and src/utils/format_json in collectd 5.12, read
          2026-11-22; what collectd 5.12 sent, as recorded in tests/samples. Values are named as its plug-in
          write_prometheus names them, and as its notifications are: `collectd_PLUGIN_TYPE`, with the name of the data
          source where it is not `value`, and `_total` where it only grows.
Delivery: at most once: collectd logs what it could not post, and goes on. Values are answered once they are in the
          metric history and synced.
Recovery: reported: a notification of severity OKAY is the end. The threshold plug-in sends it once; with
          `Persist false` (the default) it sends trouble once, too.
Limits:   plug-in, type and instances identify an alert, with the host; that a value is missing and that it is beyond
          its threshold are one alert. Notifications of plug-ins that never send OKAY (a log line that matched) are
          alerts that nobody ends. Values are kept where `metrics` selects them; counters as growth a second, so
          the first one after a start, or after ten minutes of silence, has none; what is older than a day, or more
          than ten minutes ahead, is left out. Of `StoreRates true` set `rate: false`: nothing in the values says so.
Needs:    the plug-ins write_http and threshold, as below. On Debian write_http needs the package libyajl2.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import Field

from foreshock.connect.selecting import Selected, Selector
from foreshock.core.contracts import Collector, Measured, Receive, ReceiveConfig, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, Samples
from foreshock.core.payload import alert, moment

_SEVERITY = {"FAILURE": "critical", "WARNING": "warning"}
_NO_IDENTITY = frozenset({"severity", "service"})
"""The severity changes with the state of one alert; the service is always ``collectd``."""
_GROWS = frozenset({"counter", "derive"})
_SINCE_READ = "absolute"
"""Counts that begin anew whenever they are read."""
_LAST_S = 253_402_300_800.0
"""The year 10000."""
_DEFAULT = Selector((Selected(match='{__name__=~".+"}', rate=False),))


class CollectdConfig(ReceiveConfig):
    metrics: tuple[Selected, ...] = Field(
        default=(),
        max_length=200,
        description="which values are kept; the first that fits counts, others are left out",
        examples=[[{"match": "collectd_load_shortterm", "worse": "up"}]],
    )


class Posted(Struct, kw_only=True):
    """A notification has labels, a list of values has values, of which null is none."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    starts_at: str = msgspec.field(default="", name="startsAt")
    values: list[float | None] | None = None
    dstypes: list[str] = []
    dsnames: list[str] = []
    time: float = 0.0
    interval: float = 0.0
    host: str = ""
    plugin: str = ""
    plugin_instance: str = ""
    type: str = ""
    type_instance: str = ""


_MANY, _ONE = msgspec.json.Decoder(list[Posted]), msgspec.json.Decoder(Posted)


def decode(payload: bytes) -> list[Posted | Measured | Malformed]:
    """Notifications, and each value by itself."""
    items: list[Posted | Measured | Malformed] = []
    for item in decode_items(payload, _MANY, _ONE, "notifications or values of collectd", or_one=True):
        if isinstance(item, Malformed) or item.values is None:
            items.append(item)
            continue
        try:
            items += _values(item)
        except Malformed as error:
            items.append(Malformed(str(error), payload=msgspec.json.encode(item)))
    return items


def _values(item: Posted) -> Iterator[Measured]:
    values = item.values or []
    if not item.host or not item.plugin or not item.type:
        raise Malformed("host, plugin or type is missing", hint="Format must be JSON, in the node of write_http")
    if not len(values) == len(item.dstypes) == len(item.dsnames):
        raise Malformed(f"{len(values)} values have {len(item.dsnames)} names and {len(item.dstypes)} types")
    if not 0 < item.time < _LAST_S:
        raise Malformed(f"{item.time} is no time in seconds since 1970")
    family = f"collectd_{item.plugin}" if item.plugin == item.type else f"collectd_{item.plugin}_{item.type}"
    instances = (
        {item.plugin: item.plugin_instance, "type": item.type_instance}
        if item.plugin_instance
        else {item.plugin: item.type_instance}
    )
    labels = {"instance": item.host, **{name: value for name, value in instances.items() if value}}
    for value, sort, source in zip(values, item.dstypes, item.dsnames, strict=True):
        if value is None:
            continue
        grows = sort in _GROWS
        if sort == _SINCE_READ:
            value /= item.interval or 1.0
        name = (family if source == "value" else f"{family}_{source}") + "_total" * grows
        yield Measured(labels={"__name__": name, **labels}, at_s=item.time, value=value, counts=grows)


def translate(item: Posted | Measured, received_at: datetime) -> Event | Samples:
    if isinstance(item, Measured):
        kept = _DEFAULT.kept(item.labels)
        assert kept is not None
        return Samples(series=kept.series, times=(item.at_s,), values=(item.value,))
    if item.labels is None:
        raise Malformed("it is neither a notification (labels) nor a list of values (values)")
    return _event(item, received_at)


def _measured(item: Posted | Measured) -> Measured | None:
    return item if isinstance(item, Measured) else None


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
        path="/api/v1/collect/collectd",
        schema={"type": "array", "items": {"oneOf": [_NOTIFICATION, _VALUES]}},
        config=CollectdConfig,
        measured=_measured,
    ),
    sample="collectd-firing.json",
    namespace="collectd",
)
