"""Icinga 2, by notification commands that post with curl.

Facts:    https://icinga.com/docs/icinga-2/latest/doc/03-monitoring-basics/#notifications, read 2026-11-22; what Icinga
          2.13 sent, as recorded in tests/samples.
Delivery: at most once: Icinga runs the command once and does not look at its exit code. An `interval` of the
          notification repeats what still holds.
Recovery: reported, by the state that every notification carries: OK and UP are the end. While something is in a
          downtime or flaps Icinga sends no recovery; the end of the downtime or of the flapping then tells of it, so
          the user and the notification need all types, as below.
Limits:   a host or service has one alert, whatever state it is in. Custom variables are annotations (32 at most): they
          may change while an alert is open, so they do not identify it.
Needs:    curl beside Icinga, and the objects below.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.connect.vendors.nagios import Report, to_event
from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.model import Event
from foreshock.core.payload import moment

_MAX_VARIABLES = 32


class Notification(Struct, kw_only=True):
    """One notification, by the names of our notification command. What is about a service is null of a host."""

    type: str
    host: str
    host_state: str
    host_address: str | None = None
    host_output: str | None = None
    host_last_state_change: float | None = None
    service: str | None = None
    state: str | None = None
    output: str | None = None
    perfdata: Any = None
    last_state_change: float | None = None
    time: float | None = None
    author: str | None = None
    comment: str | None = None
    host_vars: dict[str, Any] | None = None
    service_vars: dict[str, Any] | None = None
    url: str | None = None


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Notification]),
    one=msgspec.json.Decoder(Notification),
    what="notifications of Icinga 2",
    or_one=True,
)


def translate(item: Notification, received_at: datetime) -> Event | Ignored:
    """One alert for each host, and one for each of its services."""
    service = item.service or ""
    changed = item.last_state_change if service else item.host_last_state_change
    report = Report(
        host=item.host,
        service=service,
        state=(item.state or "") if service else item.host_state,
        type=item.type,
        at=moment(item.time),
        changed_at=moment(changed),
        annotations={
            **_variables("host", item.host_vars),
            **_variables("service", item.service_vars),
            "summary": (item.output if service else item.host_output) or "",
            "perfdata": item.perfdata if isinstance(item.perfdata, str) else "",
            "address": item.host_address or "",
            "author": item.author or "",
            "comment": item.comment or "",
        },
        url=item.url or "",
    )
    return to_event(report, received_at)


def _variables(of: str, values: Mapping[str, Any] | None) -> dict[str, str]:
    """Custom variables with a plain value."""
    plain = {
        f"{of}.vars.{name}": value if isinstance(value, str) else str(value)
        for name, value in sorted((values or {}).items())
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    return dict(list(plain.items())[: _MAX_VARIABLES // 2])


_TEXT, _NUMBER, _OBJECT = {"type": ["string", "null"]}, {"type": ["number", "null"]}, {"type": ["object", "null"]}
_NOTIFICATION = {
    "type": "object",
    "required": ["type", "host", "host_state"],
    "properties": {
        "type": {"type": "string", "description": "PROBLEM, RECOVERY, ACKNOWLEDGEMENT, DOWNTIMEEND, …"},
        "host": {"type": "string", "description": "label `host`"},
        "host_state": {"type": "string", "description": "UP or DOWN"},
        "service": {**_TEXT, "description": "label `alertname`; null of a host"},
        "state": {**_TEXT, "description": "of the service: OK, WARNING, CRITICAL or UNKNOWN"},
        "last_state_change": {**_NUMBER, "description": "of the service, in seconds since 1970: start and end"},
        "host_last_state_change": {**_NUMBER, "description": "of the host"},
        "time": {**_NUMBER, "description": "of the notification"},
        "output": {**_TEXT, "description": "of the service: annotation `summary`"},
        "host_output": {**_TEXT, "description": "of the host: annotation `summary`"},
        "host_address": _TEXT,
        "perfdata": {"description": "annotation where it is a text"},
        "author": _TEXT,
        "comment": _TEXT,
        "host_vars": {**_OBJECT, "description": "custom variables: annotations `host.vars.NAME`"},
        "service_vars": {**_OBJECT, "description": "custom variables: annotations `service.vars.NAME`"},
        "url": {**_TEXT, "description": "where Icinga Web shows it"},
    },
}

COLLECTOR = Collector(
    kind="icinga2",
    title="Icinga 2, by notification commands",
    facts="Icinga 2 notification commands",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/icinga2",
        schema={"oneOf": [{"type": "array", "items": _NOTIFICATION}, _NOTIFICATION]},
    ),
    sample="icinga2-firing.json",
    namespace="icinga2",
)
