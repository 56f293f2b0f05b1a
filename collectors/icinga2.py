"""Icinga 2: notification commands that post with curl, and its API: the stream of events, and states that it missed.

Facts:    https://icinga.com/docs/icinga-2/latest/doc/03-monitoring-basics/#notifications and, of the API,
          https://icinga.com/docs/icinga-2/latest/doc/12-icinga2-api/, read 2026-11-22; what Icinga 2.13 sent, as
          recorded in tests/samples.
Delivery: posted: at most once: Icinga runs the command once and does not look at its exit code; an `interval` of the
          notification repeats what still holds. Streamed: what happens while nobody listens is not kept there, so the
          states of all hosts and services are asked for at each connection and every `resync`. Both together are one
          alert.
Recovery: reported, by the state: OK and UP are the end. While something is in a downtime or flaps Icinga sends no
          notification of a recovery; the end of the downtime or of the flapping then tells of it, so the user and the
          notification need all types, as below. Of states that ended while Foreshock was away those of the last
          `lookback` are told.
Limits:   a host or service has one alert, whatever state it is in. Custom variables are annotations (32 at most): they
          may change while an alert is open, so they do not identify it. Streamed, soft states are left out, and so is
          what begins in a downtime until that is over.
Needs:    posted: curl beside Icinga, and the objects below. Streamed: an ApiUser with the permissions
          events/StateChange, objects/query/Host and objects/query/Service; the name in `url` must be that in the
          certificate.
"""

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import Field

from foreshock.connect.vendors.icinga2 import Icinga2Account, Icinga2Api, Stream
from foreshock.connect.vendors.nagios import Report, to_event
from foreshock.core.contracts import (
    Collector,
    Ignored,
    Listen,
    ListenConfig,
    Outcome,
    Outlet,
    Receive,
    ReceiveConfig,
    decode_items,
)
from foreshock.core.errors import Denied, ForeshockError
from foreshock.core.model import Event
from foreshock.core.payload import moment
from foreshock.core.quantities import Duration, parse_duration

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


# ---- the stream -----------------------------------------------------------------------------------------------------


class Icinga2Config(ReceiveConfig, ListenConfig, Icinga2Account):
    resync: Duration = Field(
        default=parse_duration("5m"),
        ge=timedelta(seconds=10),
        le=timedelta(days=1),
        description="how often the states of all hosts and services are asked for",
    )
    lookback: Duration = Field(
        default=parse_duration("1d"),
        ge=timedelta(minutes=1),
        le=timedelta(days=90),
        description="after a start, ends of troubles that are no older are told",
    )


_HOST, _SERVICE = ("UP", "DOWN"), ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_ATTRIBUTES = ("state", "state_type", "last_state_change", "downtime_depth", "last_check_result")
_HARD = 1
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_PAGE = 1000


class _Change(Struct):
    """A line of the stream, as far as it matters. state: of a host 0 up, 1 down."""

    type: str
    host: str = ""
    state: int = 0
    state_type: int = 0
    timestamp: float = 0.0
    service: str = ""
    downtime_depth: float = 0
    check_result: dict[str, Any] | None = None


_CHANGE = msgspec.json.Decoder(_Change)


class Icinga2:
    """Listens to one server, and asks it for what was missed."""

    def __init__(self, config: Icinga2Config, api: Icinga2Api) -> None:
        self._config, self._api = config, api
        self._pause_s = _FIRST_PAUSE_S
        self._bad: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._since: float | None = None

    async def run(self, outlet: Outlet) -> None:
        while True:
            try:
                await self._listen(outlet)
            except Denied:
                raise
            except ForeshockError as error:
                outlet.say(str(error))
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))
            self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    async def _listen(self, outlet: Outlet) -> None:
        """Until the stream breaks. It is open before the states are asked for: what changes meanwhile waits in it."""
        stream = await asyncio.to_thread(self._api.stream, ["StateChange"])
        try:
            async with asyncio.TaskGroup() as group:
                first = asyncio.Event()
                group.create_task(self._keep_in_step(outlet, first))
                group.create_task(self._follow(stream, outlet, first))
        except ExceptionGroup as errors:
            ours, others = errors.split(ForeshockError)
            if ours is None or others is not None:
                raise
            raise ours.exceptions[0] from None
        finally:
            stream.close()

    async def _keep_in_step(self, outlet: Outlet, first: asyncio.Event) -> None:
        while True:
            await self._resync(outlet)
            outlet.say("")
            outlet.listens(self._config.url)
            self._pause_s = _FIRST_PAUSE_S
            first.set()
            await asyncio.sleep(self._config.resync.total_seconds())

    async def _follow(self, stream: Stream, outlet: Outlet, first: asyncio.Event) -> None:
        await first.wait()
        while True:
            lines = await asyncio.to_thread(stream.read)
            messages = []
            for line in lines:
                try:
                    change = _CHANGE.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    outlet.count(Outcome.REJECTED)
                    continue
                if change.type != "StateChange" or (
                    change.state and _passes_over(change.state_type, change.downtime_depth)
                ):
                    outlet.count(Outcome.IGNORED)
                    continue
                said = (change.check_result or {}).get("output")
                messages.append(_message(change.host, change.service, change.state, change.timestamp, said))
            await _hand_over(outlet, messages)
            self._remember(messages)

    async def _resync(self, outlet: Outlet) -> None:
        """What is not well, as far as that is news, and what is well again."""
        started = self._since is None
        begin = time.time() - self._config.lookback.total_seconds() if self._since is None else self._since
        asked_at = time.time()
        seen: set[tuple[str, str]] = set()
        news = []
        for kind, one in (("hosts", "host"), ("services", "service")):
            expression = f"{one}.state != 0 || {one}.last_state_change > {begin:.0f}"
            names = ("name", "host_name") if kind == "services" else ("name",)
            for row in await asyncio.to_thread(self._api.objects, kind, (*names, *_ATTRIBUTES), expression):
                message = _of_object(row)
                seen.add(_key(message))
                never = row.get("last_check_result") is None  # such a host counts as down, such a service as unknown
                if never or (int(row["state"]) and _passes_over(row["state_type"], row["downtime_depth"])):
                    continue
                if _is_good(message) and not started and _key(message) not in self._bad:
                    continue
                if self._bad.get(_key(message)) != message:
                    news.append(message)
        gone = [message for key, message in self._bad.items() if key not in seen]
        if gone and not await asyncio.to_thread(self._api.objects, "hosts", ("name", *_ATTRIBUTES), "true"):
            raise Denied(
                f"{self._config.url} shows no host any more, and {len(gone)} hosts and services were in trouble",
                hint="check the filters of the permissions objects/query/Host and objects/query/Service",
            )
        news += [_ended(message, asked_at) for message in gone]
        await _hand_over(outlet, news)
        self._remember(news)
        self._since = asked_at - self._config.resync.total_seconds()

    def _remember(self, messages: Iterable[Mapping[str, Any]]) -> None:
        for message in messages:
            if _is_good(message):
                self._bad.pop(_key(message), None)
            else:
                self._bad[_key(message)] = message


def _passes_over(state_type: float, downtime_depth: float) -> bool:
    """Whether what is not well is still being checked, or in a downtime."""
    return state_type != _HARD or downtime_depth > 0


def _message(host: str, service: str, state: int, changed: float, output: Any) -> dict[str, Any]:
    """A state as our notification command would have sent it. Whole seconds: so do its macros."""
    words = _SERVICE if service else _HOST
    word = words[state] if 0 <= state < len(words) else words[-1]
    said = output if isinstance(output, str) else ""
    message = {"type": "", "host": host, "host_state": "" if service else word, "service": service or None}
    if service:
        return {**message, "state": word, "output": said, "last_state_change": int(changed)}
    return {**message, "state": word, "host_output": said, "host_last_state_change": int(changed)}


def _of_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """A host, or a service, which knows its host."""
    said = (row.get("last_check_result") or {}).get("output")
    service = "host_name" in row
    host, name = str(row["host_name"] if service else row["name"]), str(row["name"]) if service else ""
    return _message(host, name, int(row["state"]), float(row["last_state_change"]), said)


def _ended(message: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Its end, where nothing is left of what it is about."""
    return _message(message["host"], message["service"] or "", 0, at, "it is not configured any more")


def _is_good(message: Mapping[str, Any]) -> bool:
    return message["state"] in (_HOST[0], _SERVICE[0])


def _key(message: Mapping[str, Any]) -> tuple[str, str]:
    return message["host"], message["service"] or ""


async def _hand_over(outlet: Outlet, messages: list[dict[str, Any]]) -> None:
    for start in range(0, len(messages), _PAGE):
        part = messages[start : start + _PAGE]
        await outlet.take(msgspec.json.encode(part), items=len(part))


def _build(name: str, config: Icinga2Config) -> Icinga2 | None:
    return Icinga2(config, Icinga2Api(name, config)) if config.url else None


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
    title="Icinga 2, by notification commands and its API",
    facts="Icinga 2 notification commands and API",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/icinga2",
        schema={"oneOf": [{"type": "array", "items": _NOTIFICATION}, _NOTIFICATION]},
        config=Icinga2Config,
    ),
    listen=Listen(config=Icinga2Config, build=_build),
    sample="icinga2-firing.json",
    namespace="icinga2",
)
