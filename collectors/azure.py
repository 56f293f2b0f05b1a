"""Alerts of Azure Monitor in the common alert schema, through a webhook of an action group.

Facts:    https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema and its sample payloads, and
          alerts-overview (alerts and state) beside it, read 2026-11-23.
Delivery: at least once; tried again for some minutes, then the address is left alone for a quarter of an hour.
Recovery: reported as ``monitorCondition`` Resolved by metric alerts and by log search alerts that resolve
          automatically, and by service and resource health. Other alerts of the activity log have no end and count for
          an hour. A log search alert that is stateless is sent again while its condition is met, never resolved, and
          looks like one that will be: either is over where nothing came for ``log_alerts_hold``. Switch "Automatically
          resolve alerts" on; where all of a source are stateless, set it to somewhat more than how often the rules are
          evaluated. Leave it on for metric alerts: only a resolve ends these.
Limits:   an alert is a rule on one target with its dimensions; a rule on several targets is several alerts.
Needs:    in an action group an action of type Webhook with this address and "Enable the common alert schema". It sends
          no header: use a secure webhook behind a proxy, ``allow_from`` with the service tag ActionGroup, or the token
          in the address.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import Struct
from pydantic import Field

from foreshock.core.contracts import Collector, Receive, ReceiveConfig, split_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, each, moment, needed, objects, part, parts, text, texts
from foreshock.core.quantities import Duration

ACTIVITY_HOLDS = timedelta(hours=1)
LOG_HOLDS = timedelta(days=7)
"""Longer than any rule waits between evaluations (a day at most), and than most alerts are open that get resolved."""
_HOLDS = b'{"log_alerts_hold_s":'
_SCHEMA = "azureMonitorCommonAlertSchema"
_SEVERITIES = {"Sev0": "critical", "Sev1": "major", "Sev2": "minor", "Sev3": "warning", "Sev4": "info"}
_HEALTH = frozenset({"ServiceHealth", "Resource Health", "ResourceHealth"})
"""Monitoring services whose alerts are from the activity log and still say when they are over."""


class AzureConfig(ReceiveConfig):
    log_alerts_hold: Duration = Field(
        default=LOG_HOLDS,
        ge=timedelta(minutes=1),
        le=timedelta(days=90),
        description="a log search alert that is not sent again for so long, and not resolved, is over",
    )


class Targeted(Struct):
    """One target of an alert, by its resource id; empty where there is none.

    Attributes: log_holds: how long it counts, unless it is sent again, if it is a log search alert.
    """

    data: Object
    target: str
    log_holds: timedelta


def head(config: AzureConfig, headers: Mapping[str, str]) -> dict[str, Any]:
    return {"log_alerts_hold_s": config.log_alerts_hold.total_seconds()}


def _taken_apart(posted: Object, log_holds: timedelta) -> Iterator[Targeted]:
    if text(posted, "schemaId") != _SCHEMA:
        yield Targeted({}, "", log_holds)
        return
    data = part(posted, "data")
    for target in texts(data, "essentials", "alertTargetIDs") or [""]:
        yield Targeted(data if isinstance(data, dict) else {}, target, log_holds)


_decode_alerts = objects("alerts in the common alert schema of Azure Monitor")


def decode(payload: bytes) -> list[Targeted | Malformed]:
    """Records of before there was the setting hold the body alone."""
    log_holds, body = LOG_HOLDS, payload
    if payload.startswith(_HOLDS):
        found, body = split_head(payload)
        try:
            log_holds = timedelta(seconds=found["log_alerts_hold_s"])
        except (TypeError, ValueError, OverflowError):
            raise Malformed("the first line holds no number of seconds") from None
    return each(_decode_alerts(body), partial(_taken_apart, log_holds=log_holds))


def translate(item: Targeted, received_at: datetime) -> Event:
    """Raises Malformed where this is not the common alert schema, or no rule is named."""
    if not item.data:
        raise Malformed(f"schemaId is not {_SCHEMA}", hint="enable the common alert schema in the action group")
    essentials, context = part(item.data, "essentials"), part(item.data, "alertContext")
    service = text(essentials, "monitoringService")
    holds: timedelta | None = None
    if text(essentials, "signalType") == "Activity Log" and service not in _HEALTH:
        holds = ACTIVITY_HOLDS
    elif text(essentials, "signalType") == "Log":
        holds = item.log_holds
    over = text(essentials, "monitorCondition") == "Resolved" or (
        service in _HEALTH and text(context, "status") == "Resolved"
    )
    return alert(
        {
            **_dimensions(context),
            "alertname": needed(essentials, "alertRule"),
            "resource": item.target,
            "ci": _name_of(item.target),
            "tracking_id": text(context, "properties", "trackingId"),
        },
        received_at,
        annotations={
            "summary": text(essentials, "description") or text(context, "properties", "title"),
            "condition": _condition(context),
            "alert_id": text(essentials, "alertId"),
            "monitoring_service": service,
            "investigation": text(essentials, "investigationLink"),
        },
        severity=_SEVERITIES.get(text(essentials, "severity"), ""),
        starts_at=moment(essentials, "firedDateTime"),
        over=over,
        ended_at=moment(essentials, "resolvedDateTime"),
        holds=holds,
        url=text(essentials, "investigationLink") or text(context, "condition", "allOf", 0, "linkToSearchResultsUI"),
    )


def _name_of(target: str) -> str:
    """The last part of a resource id, which is the name of the resource."""
    return target.rstrip("/").rpartition("/")[2]


def _dimensions(context: object) -> dict[str, str]:
    return {
        text(dimension, "name"): text(dimension, "value")
        for one in parts(context, "condition", "allOf")
        for dimension in parts(one, "dimensions")
        if text(dimension, "name")
    }


def _condition(context: object) -> str:
    said = (
        " ".join(text(one, key) for key in ("timeAggregation", "metricName", "operator", "threshold") if text(one, key))
        + (f", it is {value}" if (value := text(one, "metricValue")) else "")
        for one in parts(context, "condition", "allOf")
    )
    return "; ".join(one for one in said if one)


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="azure",
    title="Alerts of Azure Monitor",
    facts="Azure Monitor common alert schema",
    decode=decode,
    translate=translate,
    sample="azure-firing.json",
    receive=Receive(
        path="/api/v1/collect/azure",
        token_query="token",  # noqa: S106 (the name of it)
        config=AzureConfig,
        head=head,
        schema={
            "type": "object",
            "required": ["schemaId", "data"],
            "properties": {
                "schemaId": {"const": _SCHEMA},
                "data": {
                    "type": "object",
                    "required": ["essentials"],
                    "properties": {"essentials": {"type": "object", "required": ["alertRule", "monitorCondition"]}},
                    "description": "`essentials` (rule, severity, condition, targets) and `alertContext` (dimensions)",
                },
            },
        },
    ),
)
