"""Alerts posted by Prometheus (or anything else that talks to an Alertmanager) to ``/api/v2/alerts``.

Facts:    OpenAPI document of Alertmanager's API v2 (prometheus/alertmanager, api/v2/openapi.yaml, read 2026-11-22);
          behaviour of Prometheus 2.42 as recorded in tests/samples.
Delivery: at least once; Prometheus keeps a queue in memory and repeats what fires every minute.
Recovery: reported; ``endsAt`` at or before the time of receipt. While it fires ``endsAt`` lies four intervals ahead,
and
          an alert whose ``endsAt`` passes without another post is over too. A resolve is repeated for 15 minutes.
Limits:   none of its own; ours are on the body, the batch and the labels.
Needs:    in prometheus.yml, under ``alerting.alertmanagers``, this address as a target.
"""

from datetime import datetime
from functools import partial

import msgspec

from foreshock.core.contracts import Collector, Receive, decode_items
from foreshock.core.model import MAX_LABELS, Event, Moment


class PostedAlert(Event, gc=False, kw_only=True):
    """One postableAlert, decoded straight into an Event: the spelling of three fields is all that differs."""

    starts_at: Moment | None = msgspec.field(default=None, name="startsAt")
    ends_at: Moment | None = msgspec.field(default=None, name="endsAt")
    url: str = msgspec.field(default="", name="generatorURL")


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME = {"type": "string", "format": "date-time"}
POSTABLE_PROPERTIES = {
    "labels": {**_TEXTS, "minProperties": 1, "maxProperties": MAX_LABELS},
    "annotations": _TEXTS,
    "startsAt": _TIME,
    "endsAt": _TIME,
    "generatorURL": {"type": "string"},
}
"""JSON Schema of a postableAlert's fields; Alertmanager's webhook adds one."""

decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[PostedAlert]),
    one=msgspec.json.Decoder(PostedAlert),
    what="alerts, as Prometheus posts them to /api/v2/alerts",
)


def translate(item: PostedAlert, received_at: datetime) -> Event:
    """The item is the event already."""
    return item


COLLECTOR = Collector(
    kind="alertmanager",
    title="Prometheus, as if Foreshock were its Alertmanager",
    facts="Alertmanager API v2",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v2/alerts",
        schema={
            "type": "array",
            "items": {"type": "object", "required": ["labels"], "properties": POSTABLE_PROPERTIES},
        },
        answer="alertmanager",
    ),
    sample="prometheus-alerts-firing.json",
    namespace="prometheus",
    expires=True,
)
