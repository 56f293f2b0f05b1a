"""Grafana Alerting, through a contact point of the type Webhook.

Facts:    https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
          (payload version 1), read 2026-11-22; the sample is that of the documentation, with other names.
Delivery: at least once; a group is sent again after its group interval when it changed, and after its repeat interval.
Recovery: reported; `status` of each alert says which, unless the contact point has "Disable resolved message" set. A
          series that disappears is resolved as well (`grafana_state_reason` is MissingSeries then).
Limits:   "Max Alerts" of the contact point cuts a group: leave it at 0; what was cut is told as a dead letter, with the
          number. Rules without data or with an error fire as `DatasourceNoData` and `DatasourceError` for all rules,
          told apart by `rulename`. A payload of one's own (Custom Payload) is not read.
Needs:    a contact point and a notification policy, as below. The test button of Grafana is answered and ignored.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, field

from collectors import alertmanager_webhook
from collectors.alertmanager_webhook import Notified, alerts_of
from foreshock.connect.proofs import GRAFANA
from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_labels
from foreshock.core.payload import alert

_TEST = {"alertname": "TestAlert", "instance": "Grafana"}
"""What the test button of a contact point sends. It never ends, so it must not begin."""


class GrafanaAlert(Notified, gc=False, kw_only=True):
    """One alert of a notification: Alertmanager's, and what Grafana adds."""

    values: dict[str, Any] | None = None
    value_string: str = field(default="", name="valueString")
    dashboard_url: str = field(default="", name="dashboardURL")
    panel_url: str = field(default="", name="panelURL")
    silence_url: str = field(default="", name="silenceURL")
    image_url: str = field(default="", name="imageURL")


_TEXTS = msgspec.json.Decoder(dict[str, str])
_decode_alerts = partial(
    decode_items,
    many=msgspec.json.Decoder(list[GrafanaAlert]),
    one=msgspec.json.Decoder(GrafanaAlert),
    what="alerts, as in the payload of Grafana's webhook",
)


def decode(body: bytes) -> Sequence[GrafanaAlert | Malformed]:
    """The alerts of a notification, each by itself. Raises Malformed where the body is not one."""
    return alerts_of(body, _decode_alerts, "Grafana's webhook payload")


def translate(item: GrafanaAlert, received_at: datetime) -> Event | Ignored:
    """As Alertmanager's; values and links are annotations."""
    event = alertmanager_webhook.translate(item, received_at)
    if _is_test(item.labels):
        return Ignored("a test of the contact point")
    added = {
        "values": item.value_string
        or ", ".join(f"{name}={value}" for name, value in sorted((item.values or {}).items())),
        "dashboard": item.dashboard_url,
        "panel": item.panel_url,
        "silence": item.silence_url,
        "image": item.image_url,
    }
    return alert(
        read_labels(event.labels),
        received_at,
        annotations={**_texts(item.annotations), **added},
        starts_at=event.starts_at,
        over=event.ends_at is not None,
        ended_at=event.ends_at,
        url=event.url or item.panel_url or item.dashboard_url,
    )


def _texts(raw: Raw) -> dict[str, str]:
    """Annotations, however long. Raises Malformed where they are no texts."""
    try:
        return _TEXTS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"annotations are not an object of strings: {error}") from None


def _is_test(labels: Raw) -> bool:
    return b"TestAlert" in bytes(labels) and msgspec.json.decode(labels) == _TEST


_ALERT = {
    "type": "object",
    "required": ["labels", "status"],
    "properties": {
        **alertmanager_webhook.NOTIFIED_PROPERTIES,
        "values": {"description": "values of the rule's queries: annotation `values`"},
        "valueString": {"type": "string", "description": "the same as text; it is taken where both are there"},
        "dashboardURL": {"type": "string", "description": "annotation `dashboard`"},
        "panelURL": {"type": "string", "description": "annotation `panel`"},
        "silenceURL": {"type": "string", "description": "annotation `silence`"},
        "imageURL": {"type": "string", "description": "annotation `image`"},
    },
}

COLLECTOR = Collector(
    kind="grafana",
    title="Grafana Alerting, through a webhook contact point",
    facts="Grafana webhook payload, version 1",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/grafana",
        signed=GRAFANA,
        schema={
            "type": "object",
            "required": ["alerts"],
            "properties": {"alerts": {"type": "array", "items": _ALERT}},
        },
    ),
    sample="grafana-firing.json",
    namespace="grafana",
)
