"""Alarms of CloudWatch, events of EventBridge (AWS Health, GuardDuty …) and plain messages, through Amazon SNS.

Facts:    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html and
          https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html; CloudWatch's alarm
          notification, EventBridge's envelope, AWS Health and GuardDuty events as documented; read 2026-11-22.
Delivery: at least once, in no certain order; SNS tries again for hours, as the topic's delivery policy says.
Recovery: a CloudWatch alarm is over when its state is OK; INSUFFICIENT_DATA says neither that it fires nor that it is
          over (set "treat missing data" of the alarm). An event of AWS Health is over when its status is closed, a
          GuardDuty finding when it is archived, or is not sent again for a day. Whatever else EventBridge or a person
          sends has no end, and counts for an hour.
Limits:   an alarm has no severity; give it by a rule. Dimensions of an alarm are labels, and bind as provider ids of
          CIs (``InstanceId`` as ``instance``). Raw message delivery carries no signature: leave it off, or show a
          token.
Needs:    a subscription of the topic to this address (HTTPS, which is confirmed by Foreshock itself), and the topic's
          ARN in ``topics`` of an instance; what is signed by Amazon for another topic is refused. For EventBridge a
          rule with the topic as its target.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import Field

from foreshock.connect.proofs import sns_certificate, sns_handshake, sns_unproven
from foreshock.core.contracts import Certified, Collector, Ignored, Receive, ReceiveConfig
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, each, moment, needed, objects, part, parts, steady, text, texts

PLAIN_HOLDS = timedelta(hours=1)
FINDING_HOLDS = timedelta(days=1)
"""GuardDuty tells of a finding again every 6 hours by default."""

_DIMENSIONS = {
    "InstanceId": "instance",
    "DBInstanceIdentifier": "database",
    "DBClusterIdentifier": "cluster",
    "ClusterName": "cluster",
    "ServiceName": "service",
    "FunctionName": "service",
    "Host": "host",
    "Namespace": "namespace",
    "PodName": "pod",
    "NodeName": "node",
    "Service": "service",
    "Environment": "environment",
}
"""Dimensions by the names that our labels have; the others keep theirs."""
_ARN = re.compile(r"arn:[^:]*:[^:]*:(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.*)", re.DOTALL)


class SnsConfig(ReceiveConfig):
    topics: tuple[str, ...] = Field(
        min_length=1,
        max_length=100,
        description="ARNs of the topics that may send: anybody can have Amazon sign something",
        examples=[["arn:aws:sns:eu-west-1:123456789012:alarms"]],
    )


class Told(Struct):
    """What a message says, JSON or text, and of which CI where it is about several."""

    said: Any
    subject: str = ""
    topic: str = ""
    entity: str = ""


# ---- message to event -----------------------------------------------------------------------------------------------

_decode_messages = objects("messages, as Amazon SNS posts them")


def decode(body: bytes) -> list[Told | Malformed]:
    return each(_decode_messages(body), _taken_apart)


def _taken_apart(posted: Object) -> Iterator[Told]:
    """A message in its envelope, or bare (raw message delivery)."""
    subject, topic, said = text(posted, "Subject"), text(posted, "TopicArn"), part(posted, "Message")
    if "Type" not in posted:
        subject, topic, said = "", "", posted
    elif posted["Type"] != "Notification":
        said = None
    elif isinstance(said, str) and said.lstrip().startswith("{"):
        with suppress(msgspec.DecodeError, RecursionError):  # or a text that only looks like JSON
            said = msgspec.json.decode(said, type=dict[str, Any])
    entities = [text(one, "entityValue") for one in parts(said, "detail", "affectedEntities")]
    yield from (Told(said, subject, topic, entity) for entity in entities or [""])


def translate(item: Told, received_at: datetime) -> Event | Ignored:
    """Raises Malformed where nothing says what it is about."""
    said = item.said
    if said is None:
        return Ignored("about the subscription")
    if isinstance(said, dict) and "AlarmName" in said:
        return alarm(said, received_at)
    if isinstance(said, dict) and "detail-type" in said:
        return _event(said, item.entity, received_at)
    return _plain(item, received_at)


def alarm(said: Object, received_at: datetime) -> Event | Ignored:
    """An alarm as CloudWatch tells of it through SNS; ``collectors.cloudwatch`` tells of it likewise."""
    state = needed(said, "NewStateValue")
    if state not in ("ALARM", "OK"):
        return Ignored("an alarm without enough data")
    arn = _ARN.match(text(said, "AlarmArn"))
    at = moment(said, "StateChangeTime")
    dimensions = {
        _DIMENSIONS.get(name, name): text(one, "value")
        for one in parts(said, "Trigger", "Dimensions")
        if (name := text(one, "name"))
    }
    return alert(
        {
            **dimensions,
            "alertname": needed(said, "AlarmName"),
            "account": text(said, "AWSAccountId"),
            "region": arn["region"] if arn else text(said, "Region"),
        },
        received_at,
        annotations={
            "summary": text(said, "AlarmDescription") or text(said, "NewStateReason"),
            "description": text(said, "NewStateReason"),
            "metric": text(said, "Trigger", "MetricName"),
            "metric_namespace": text(said, "Trigger", "Namespace"),
            "arn": text(said, "AlarmArn"),
        },
        starts_at=None if state == "OK" else at,
        over=state == "OK",
        ended_at=at,
    )


def _event(said: Object, entity: str, received_at: datetime) -> Event:
    """An event of EventBridge: of Health and GuardDuty what is known of them, of others what the envelope says."""
    source, detail = text(said, "source"), part(said, "detail")
    labels = {
        "alertname": needed(said, "detail-type"),
        "account": text(said, "account"),
        "region": text(said, "region"),
        "source": source,
    }
    if source == "aws.health":
        return alert(
            labels
            | {"alertname": needed(detail, "eventTypeCode"), "event": text(detail, "eventArn"), "instance": entity},
            received_at,
            annotations={
                "summary": text(parts(detail, "eventDescription")[:1], 0, "latestDescription"),
                "service": text(detail, "service"),
                "category": text(detail, "eventTypeCategory"),
            },
            severity=_HEALTH.get(text(detail, "eventTypeCategory"), ""),
            starts_at=_health_time(detail, "startTime") or moment(said, "time"),
            over=text(detail, "statusCode") == "closed",
            ended_at=_health_time(detail, "endTime"),
        )
    if source == "aws.guardduty":
        return alert(
            labels
            | {
                "alertname": needed(detail, "type"),
                "finding": text(detail, "id"),
                "instance": text(detail, "resource", "instanceDetails", "instanceId"),
            },
            received_at,
            annotations={"summary": text(detail, "title"), "description": text(detail, "description")},
            severity=_finding_severity(part(detail, "severity")),
            starts_at=moment(detail, "createdAt"),
            over=part(detail, "service", "archived") is True,
            ended_at=moment(detail, "updatedAt"),
            holds=FINDING_HOLDS,
        )
    resource = next(iter(texts(said, "resources")), "")
    arn = _ARN.match(resource)
    return alert(
        labels | {"resource": resource, "instance": re.split(r"[/:]", arn["rest"])[-1] if arn else ""},
        received_at,
        annotations={
            "summary": text(detail, "message") or text(detail, "description") or text(detail, "state"),
            "detail": msgspec.json.encode(detail).decode() if isinstance(detail, dict) else "",
        },
        starts_at=moment(said, "time"),
        holds=PLAIN_HOLDS,
    )


def _health_time(detail: Any, name: str) -> datetime | None:
    """AWS Health writes times as HTTP does: Sat, 22 Nov 2025 03:10:00 GMT."""
    try:
        return datetime.strptime(text(detail, name), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return moment(detail, name)


_HEALTH = {"issue": "major", "scheduledChange": "info", "accountNotification": "info", "investigation": "warning"}
_FINDINGS = ((9.0, "critical"), (7.0, "major"), (4.0, "minor"), (0.0, "warning"))
"""From which number on a finding is how bad (GuardDuty: critical, high, medium, low)."""


def _finding_severity(number: Any) -> str:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return ""
    return next((word for least, word in _FINDINGS if number >= least), "")


def _plain(item: Told, received_at: datetime) -> Event:
    """A message that a person or a program wrote: its subject says what it is, and nothing says when it is over."""
    message = item.said if isinstance(item.said, str) else msgspec.json.encode(item.said).decode()
    topic = item.topic.rpartition(":")[2]
    if not (item.subject or topic):
        raise Malformed("neither an alarm nor an event, and no topic is named", hint="leave raw message delivery off")
    if not message.strip():
        raise Malformed("the message is empty")
    return alert(
        {"alertname": steady(item.subject) or topic, "topic": item.topic},
        received_at,
        annotations={"summary": item.subject or message[:200], "description": message},
        holds=PLAIN_HOLDS,
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="sns",
    title="CloudWatch alarms and EventBridge events, through Amazon SNS",
    facts="Amazon SNS, HTTP(S) notification format",
    decode=decode,
    translate=translate,
    sample="sns-firing.json",
    namespace="aws",
    receive=Receive(
        path="/api/v1/collect/sns",
        config=SnsConfig,
        certified=Certified(
            certificate=sns_certificate,
            unproven=lambda config, certificate, body: sns_unproven(config.topics, certificate, body),
        ),
        handshake=sns_handshake,
        texts=("text/plain",),
        schema={
            "type": "object",
            "anyOf": [{"required": ["Type", "TopicArn"]}, {"required": ["AlarmName"]}, {"required": ["detail-type"]}],
            "properties": {
                "Type": {**_TEXT, "description": "Notification, or about the subscription"},
                "TopicArn": _TEXT,
                "Subject": {**_TEXT, "description": "name of the alert, where the message is a plain text"},
                "Message": {**_TEXT, "description": "JSON of CloudWatch or EventBridge, or a text"},
            },
        },
    ),
)
