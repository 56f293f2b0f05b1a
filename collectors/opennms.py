"""OpenNMS Horizon or Meridian: alarms read through its REST API, or posted to us in the same form.

Facts:    https://docs.opennms.com/horizon/latest/development/rest/alarms.html, read 2026-11-22, API v2, and the models
          of OpenNMS.js; the sample is hand-made from them (UNVERIFIED against a running server).
Delivery: at least once. Each visit reads all alarms and takes in what changed since the last one.
Recovery: reported: severity CLEARED is the end. OpenNMS deletes what was cleared after some minutes, and people delete
          alarms; one that is gone from the list is over as well. Alarms of type 2 (resolutions) only clear others and
          are ignored.
Limits:   5,000 alarms, 1,000 a page; what is beyond is left out, and said so. OpenNMS posts nothing by itself: where
          something does it for it (a script, a stream processor behind its Kafka producer), it posts alarms as the REST
          API writes them. Protobuf of the Kafka producer is not read.
Needs:    the address and a user with the role ROLE_REST.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct
from pydantic import Field, model_validator

from foreshock.connect.auth import CaFile, read_secret, web_address
from foreshock.core.contracts import Collector, Ignored, Page, Poll, PollConfig, Receive, ReceiveConfig, decode_items
from foreshock.core.errors import Invalid, Malformed, Unavailable
from foreshock.core.model import Event
from foreshock.core.payload import alert, moment

if TYPE_CHECKING:
    from foreshock.connect.http import Http

MAX_ALARMS = 5000
_PAGE = 1000
_MAX_ANSWER_BYTES = 32 * 2**20
_RESOLUTION = 2
_SEVERITY = {
    "CRITICAL": "critical",
    "MAJOR": "major",
    "MINOR": "minor",
    "WARNING": "warning",
    "NORMAL": "info",
    "INDETERMINATE": "warning",
}
_OVER = "CLEARED"


class OpenNmsConfig(ReceiveConfig, PollConfig):
    url: str = Field(
        default="",
        description="address of OpenNMS with /opennms; empty: alarms are only posted to us",
        examples=["https://opennms.example.com:8443/opennms"],
    )
    user: str = Field(default="", description="user with the role ROLE_REST")
    password_file: Path | None = Field(default=None, description="file with the password, mode 0600")
    ca_file: CaFile = None

    @model_validator(mode="after")
    def _has_an_account(self) -> Self:
        if self.url:
            web_address(self.url, like="https://opennms.example.com:8443/opennms", instead="user and password_file")
        if bool(self.url) != bool(self.user) or bool(self.user) != (self.password_file is not None):
            raise Invalid("url, user and password_file belong together", hint="set all of them, or none", path=("url",))
        return self


# ---- reading --------------------------------------------------------------------------------------------------------


class OpenNms:
    """Reads one server. The cursor is a JSON object: by number of each alarm, what identifies it and what it was
    like."""

    def __init__(self, instance: str, http: "Http") -> None:
        self._instance, self._http = instance, http

    def fetch(self, cursor: str, now: datetime) -> Page:
        known = msgspec.json.decode(cursor, type=dict[str, _Known]) if cursor else {}
        alarms, total = self._alarms()
        fresh: list[Any] = []
        still: dict[str, _Known] = {}
        for alarm in alarms:
            number, was = str(alarm.get("id")), known.get(str(alarm.get("id")))
            like = {name: alarm.get(name) for name in _CHANGES}
            if was is None or was.like != like:
                fresh.append(alarm)
            identity = {name: alarm[name] for name in _IDENTIFY if alarm.get(name) is not None}
            still[number] = _Known(identity=identity, like=like)
        if total <= len(alarms):  # otherwise one that is not there may only have been left out
            gone = [was for number, was in known.items() if number not in still and was.like["severity"] != _OVER]
            fresh += [{**was.identity, "severity": _OVER} for was in gone]
        problems = (f"there are {total} alarms, {len(alarms)} are read",) if total > len(alarms) else ()
        return Page(
            payloads=tuple(msgspec.json.encode(part) for part in _parts(fresh)),
            cursor=msgspec.json.encode(still, order="sorted").decode(),
            problems=problems,
        )

    def _alarms(self) -> tuple[list[dict[str, Any]], int]:
        """All of them by number, bounded, and how many there are."""
        alarms: dict[Any, dict[str, Any]] = {}
        total = offset = 0
        while offset < MAX_ALARMS:
            answer = self._http.get(
                "/api/v2/alarms", params={"limit": _PAGE, "offset": offset, "orderBy": "id", "order": "asc"}
            )
            if answer.status == 204:  # no alarm at all
                break
            listed = answer.rows("alarm")
            total = max(total, int(answer.json().get("totalCount") or 0))
            alarms |= {alarm.get("id"): dict(alarm) for alarm in listed}
            offset += _PAGE
            if len(listed) < _PAGE:
                break
        if total > len(alarms) and total <= MAX_ALARMS and offset < total:
            raise Unavailable(f"opennms {self._instance!r} listed {len(alarms)} of {total} alarms")
        return list(alarms.values())[:MAX_ALARMS], total


class _Known(Struct):
    identity: dict[str, Any]
    like: dict[str, Any]


_IDENTIFY = ("id", "uei", "reductionKey", "nodeLabel", "ipAddress", "serviceType")
_CHANGES = ("severity", "count", "lastEventTime", "ackUser", "type")


def _parts(alarms: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(alarms), _PAGE):
        yield alarms[start : start + _PAGE]


def _build(name: str, config: OpenNmsConfig) -> OpenNms | None:
    if not config.url or config.password_file is None:
        return None
    from foreshock.connect.http import Basic, Http

    auth = Basic(config.user, read_secret(config.password_file, f"collectors.{name}.password_file"))
    http = Http(f"opennms {name!r}", config.url, auth=auth, ca_file=config.ca_file, max_body_bytes=_MAX_ANSWER_BYTES)
    return OpenNms(name, http)


# ---- alarm to event -------------------------------------------------------------------------------------------------


class _Service(Struct):
    name: str = ""


class Alarm(Struct, rename="camel", kw_only=True):
    """One alarm. Times are milliseconds since 1970."""

    reduction_key: str
    severity: str
    uei: str = ""
    id: int | None = None
    type: int | None = None
    node_label: str | None = None
    ip_address: str | None = None
    service_type: _Service | None = None
    location: str | None = None
    log_message: str | None = None
    description: str | None = None
    operator_instructions: str | None = msgspec.field(default=None, name="operatorInstructions")
    count: int | None = None
    last_event_time: float | None = None
    last_automation_time: float | None = None
    ack_user: str | None = None


class _List(Struct):
    alarm: msgspec.Raw


_LIST = msgspec.json.Decoder(_List)
_decode_alarms = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Alarm]),
    one=msgspec.json.Decoder(Alarm),
    what="alarms of OpenNMS",
    or_one=True,
)


def decode(body: bytes) -> Sequence[Alarm | Malformed]:
    """Alarms as a list, as the REST API lists them (``alarm``), or one of them."""
    # Where there is no such list around them, or something is wrong, that is told of the items.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = bytes(_LIST.decode(body).alarm)
    return _decode_alarms(body)


def translate(item: Alarm, received_at: datetime) -> Event | Ignored:
    """An alarm that is raised again after it was cleared keeps the time of its first event: the newest one dates it."""
    if item.type == _RESOLUTION:
        return Ignored("a resolution, which clears the alarm that it is about")
    if not item.reduction_key:
        raise Malformed("reductionKey is empty")
    service = item.service_type.name if item.service_type is not None else ""
    over = item.severity == _OVER
    return alert(
        {
            "alertname": item.uei.rpartition("/")[2] or item.reduction_key,
            "host": item.node_label or "",
            "check": service,
            "reduction_key": item.reduction_key,
        },
        received_at,
        annotations={
            "summary": item.log_message or "",
            "description": item.description or "",
            "instructions": item.operator_instructions or "",
            "address": item.ip_address or "",
            "location": item.location or "",
            "uei": item.uei,
            "alarm_id": "" if item.id is None else str(item.id),
            "acknowledged": item.ack_user or "",
        },
        severity=_SEVERITY.get(item.severity, ""),
        starts_at=None if over else moment(item.last_event_time),
        over=over,
        ended_at=moment(item.last_automation_time),
    )


_TEXT, _NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
_ALARM = {
    "type": "object",
    "required": ["reductionKey", "severity"],
    "properties": {
        "reductionKey": {"type": "string", "description": "label `reduction_key`"},
        "severity": {"type": "string", "description": "CLEARED is the end"},
        "uei": {"type": "string", "description": "its last part is label `alertname`"},
        "nodeLabel": {**_TEXT, "description": "label `host`"},
        "serviceType": {"type": ["object", "null"], "description": "`name` is label `check`"},
        "type": {**_NUMBER, "description": "1 and 3 are problems, 2 is ignored"},
        "lastEventTime": {**_NUMBER, "description": "start, in milliseconds since 1970"},
        "lastAutomationTime": {**_NUMBER, "description": "end, where it is cleared"},
        "logMessage": {**_TEXT, "description": "annotation `summary`"},
        "description": _TEXT,
    },
}

COLLECTOR = Collector(
    kind="opennms",
    title="OpenNMS alarms, through its REST API",
    facts="OpenNMS REST API v2",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/opennms",
        schema={"oneOf": [{"type": "array", "items": _ALARM}, _ALARM]},
        config=OpenNmsConfig,
    ),
    poll=Poll(config=OpenNmsConfig, build=_build),
    sample="opennms-firing.json",
    namespace="opennms",
)
