"""Zabbix: problems by a webhook media type that ships with Foreshock, and by its API what that missed; item history.

Facts:    https://www.zabbix.com/documentation/6.0/en/manual/appendix/macros/supported_by_location and, of the API,
          https://www.zabbix.com/documentation/6.0/en/manual/api/reference/event/get, read 2026-11-22; what Zabbix
          6.0.14 sent and answered, as recorded in tests/samples and seen in tests.
Delivery: posted: at least once within the attempts of the media type (3 as shipped), then lost. Asked: at least once;
          both together are one alert, so that a visit makes up for what a broken connection lost.
Recovery: reported. Posted: where the action has recovery operations; `event_value` 0 is the end. A recovery carries the
          time of the problem and its own. Updates (acknowledged, severity changed, a message) change the open alert.
          Asked: by the recovery event of each problem that was open; a problem whose trigger or event was deleted is
          over, too.
Limits:   a problem is identified by the name of the event, the host, the trigger and the tags of the event. Names and
          tags that hold values ({ITEM.VALUE}) make a new alert of each problem; put values into operational data
          instead. Of a trigger over several hosts the first one of its expression counts. Actions on discovery,
          autoregistration, internal events and services are ignored. Zabbix before 7.0 does not send the time in
          seconds; the script then works it out in the time zone of the Zabbix server. Of the API 5,000 open problems
          are followed, 1,000 are read in one visit's step, and 50,000 values of history.
Needs:    posted: docs/connect/zabbix_media_type.yaml imported, a user with that media, and an action with operations,
          recovery operations and update operations for that user. Nobody is told of updates that he made himself: make
          the user for this purpose alone. Asked: an API token of a user of the role "User role" who may read the host
          groups.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.connect.auth import read_secret
from foreshock.connect.vendors.zabbix import MAX_ANSWER_BYTES, ZabbixAccount, ZabbixApi
from foreshock.core.contracts import (
    Collector,
    Ignored,
    Page,
    Poll,
    PollConfig,
    Receive,
    ReceiveConfig,
    decode_items,
)
from foreshock.core.errors import Denied, Invalid, Malformed
from foreshock.core.model import Direction, Event, Samples, Series
from foreshock.core.payload import alert, moment
from foreshock.core.quantities import Duration, parse_duration

SEVERITIES = ("", "information", "warning", "average", "high", "disaster")
"""By number; the words for them can be changed in Zabbix. 0 is "not classified"."""
MAX_OPEN = 5000
MAX_ITEMS = 1000
_TRIGGERS = "0"  # source and object of events
_PAGE = 1000
_MAX_VALUES = 50_000
_SETTLE_S = 10.0  # younger values may still be on their way into the database
_MAX_TAGS = 48


class Message(Struct, kw_only=True):
    """One message of the media type, by the names of its parameters. All are texts; what Zabbix knows nothing of stays
    as it was written, ``{EVENT.RECOVERY.ID}``, or becomes ``*UNKNOWN*``."""

    event_id: str
    event_value: str
    name: str
    host: str
    trigger_id: str
    event_source: str = _TRIGGERS
    nseverity: str = ""
    started: str = ""
    recovered: str = ""
    tags: str = ""
    host_name: str = ""
    host_ip: str = ""
    host_groups: str = ""
    item_key: str = ""
    item_value: str = ""
    opdata: str = ""
    description: str = ""
    acknowledged: str = ""
    update_status: str = ""
    update_action: str = ""
    update_message: str = ""
    update_user: str = ""
    url: str = ""


class _Tag(Struct):
    tag: str
    value: str = ""


_TAGS = msgspec.json.Decoder(list[_Tag])

_decode_messages = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Message]),
    one=msgspec.json.Decoder(Message),
    what="messages of the media type",
    or_one=True,
)


class _Asked(Struct):
    metric: str
    unit: str = ""
    worse: str = ""


class _Course(Struct):
    host: str
    dimension: str
    times: list[float]
    values: list[float]


class _History(Struct):
    asked: _Asked
    courses: list[_Course]


class Measured(Struct, frozen=True):
    """Values of one item."""

    asked: _Asked
    course: _Course


_HISTORY = msgspec.json.Decoder(_History)


def decode(body: bytes) -> Sequence[Message | Measured | Malformed]:
    """Messages, one or several; or item history, as ``Zabbix`` asked for it."""
    if not body.startswith(b'{"asked":'):
        return _decode_messages(body)
    try:
        found = _HISTORY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the history cannot be read: {error}") from None
    return [Measured(found.asked, course) for course in found.courses]


def translate(item: Message | Measured, received_at: datetime) -> Event | Samples | Ignored:
    return _samples(item) if isinstance(item, Measured) else _event(item, received_at)


def _samples(item: Measured) -> Samples:
    asked, course = item.asked, item.course
    if not course.host or not asked.metric or len(course.times) != len(course.values):
        raise Malformed("the host or the metric of a history is missing")
    worse = Direction(asked.worse) if asked.worse in ("up", "down") else None
    series = Series(ci=course.host, metric=asked.metric, dimension=course.dimension, unit=asked.unit, worse=worse)
    return Samples(series=series, times=course.times, values=course.values)


def _event(item: Message, received_at: datetime) -> Event | Ignored:
    if item.event_source != _TRIGGERS:
        return Ignored("not of a trigger")
    if item.event_value not in ("0", "1"):
        raise Malformed(f"event_value is {item.event_value[:40]!r}, neither 1 (problem) nor 0 (recovery)")
    annotations = {
        "summary": item.name,
        "description": _known(item.description),
        "operational_data": _known(item.opdata),
        "item": _known(item.item_key),
        "value": _known(item.item_value),
        "host_name": _known(item.host_name),
        "address": _known(item.host_ip),
        "host_groups": _known(item.host_groups),
        "event_id": item.event_id,
        "acknowledged": _known(item.acknowledged),
    }
    if item.update_status == "1":
        annotations["update"] = _known(item.update_action)
        annotations["comment"] = _known(item.update_message)
        annotations["author"] = _known(item.update_user)
    return alert(
        labels_of(item.name, _known(item.host), item.trigger_id, tags_of(item.tags)),
        received_at,
        annotations=annotations,
        severity=SEVERITIES[int(item.nseverity)] if item.nseverity in ("0", "1", "2", "3", "4", "5") else "",
        starts_at=moment(item.started),
        over=item.event_value == "0",
        ended_at=moment(item.recovered),
        url=item.url,
    )


def labels_of(name: str, host: str, trigger_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Identity of a problem, by whichever way it is reported. Raises Malformed where the name or the trigger is
    missing."""
    if not name or not trigger_id.isdigit():
        what = "name" if not name else "trigger_id"
        raise Malformed(f"{what} is missing", hint="import the media type again: a parameter of it was changed")
    ours = {"alertname": name, "host": host, "trigger_id": trigger_id}
    found = {f"tag_{tag}" if tag in (*ours, "severity") else tag: value for tag, value in sorted(tags.items()) if tag}
    return {**dict(list(found.items())[:_MAX_TAGS]), **ours}


def tags_of(text: str) -> dict[str, str]:
    """Tag to value; the values of a tag that comes several times in one text, for their order may change."""
    if not _known(text):
        return {}
    try:
        pairs = _TAGS.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise Malformed(f"tags is no JSON list of tags: {error}") from None
    return joined((pair.tag, pair.value) for pair in pairs)


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A tag without a value says that it is there."""
    values: dict[str, set[str]] = {}
    for tag, value in pairs:
        values.setdefault(tag, set()).add(value or "true")
    return {tag: ",".join(sorted(each)) for tag, each in values.items()}


def _known(text: str) -> str:
    return "" if text == "*UNKNOWN*" or (text.startswith("{") and text.endswith("}")) else text


# ---- asking ---------------------------------------------------------------------------------------------------------


class ZabbixItems(BaseModel):
    """Items whose history is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(min_length=1, max_length=100, description="what the metric is called here")
    key: str = Field(
        min_length=1,
        max_length=2048,
        description="key of the items; `*` stands for anything. What stands in brackets becomes the dimension",
        examples=["vfs.fs.size[*,pused]"],
    )
    unit: str = Field(default="", max_length=20, description="unit of the values, for people")
    worse: Literal["up", "down", "either"] = Field(
        default="either", description="which way is worse; the other way is then no anomaly"
    )


class ZabbixConfig(ReceiveConfig, PollConfig, ZabbixAccount):
    suppressed: bool = Field(
        default=False, description="whether problems of hosts in a maintenance of Zabbix are taken in when asked for"
    )
    items: tuple[ZabbixItems, ...] = Field(default=(), max_length=100, description="items whose history is read")
    lookback: Duration = Field(
        default=parse_duration("1d"),
        ge=timedelta(minutes=1),
        le=timedelta(days=90),
        description="how far back the first visit reads history",
    )

    @model_validator(mode="after")
    def _has_an_account(self) -> Self:
        if bool(self.url) != (self.token_file is not None):
            raise Invalid("url and token_file belong together", hint="set both, or neither", path=("url",))
        if self.items and not self.url:
            raise Invalid("items are read through the API", hint="set url and token_file", path=("items",))
        names = [item.metric for item in self.items]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(
                    f"two are called {name!r}", hint="give each its own name", path=("items", index, "metric")
                )
        return self


class _Open(Struct):
    """A problem that is followed. message: what identifies it, for its end. like: what it was like when last seen."""

    message: dict[str, str]
    like: str


class _Place(Struct):
    """Where the next visit goes on. event: the last one seen. history: by metric, seconds since 1970."""

    event: int = 0
    open: dict[str, _Open] = {}
    history: dict[str, float] = {}


class Zabbix:
    """Asks one server; the cursor is a ``_Place`` as JSON."""

    def __init__(self, instance: str, config: ZabbixConfig, api: ZabbixApi) -> None:
        self._instance, self._config, self._api = instance, config, api

    def fetch(self, cursor: str, now: datetime) -> Page:
        place = msgspec.json.decode(cursor, type=_Place) if cursor else None
        problems: list[str] = []
        if place is None:
            messages, after, more = self._all_open()
        else:
            messages, after, more = self._changed(place)
        if len(after.open) > MAX_OPEN:
            problems.append(f"{len(after.open)} problems are open, {MAX_OPEN} are followed")
            after.open = dict(sorted(after.open.items(), key=lambda each: int(each[0]))[-MAX_OPEN:])
        payloads = [msgspec.json.encode(part) for part in _parts(messages)]
        after.history = {} if place is None else place.history
        for items in self._config.items:
            payload, until, problem = self._history(items, after.history.get(items.metric), now)
            payloads += payload
            problems += problem
            after.history[items.metric] = until
        known = {items.metric for items in self._config.items}
        after.history = {name: until for name, until in after.history.items() if name in known}
        return Page(
            payloads=tuple(payloads), cursor=msgspec.json.encode(after).decode(), more=more, problems=tuple(problems)
        )

    # ---- problems ----

    def _all_open(self) -> tuple[list[dict[str, str]], _Place, bool]:
        """At the first visit: what is open now."""
        newest = self._events(sortfield="eventid", sortorder="DESC", limit=1, output=["eventid"])
        place = _Place(event=int(newest[0]["eventid"]) if newest else 0)
        asked = {"source": 0, "object": 0, "output": ["eventid"], "sortfield": "eventid", "sortorder": "DESC"}
        rows = self._api.rows("problem.get", {**asked, "limit": MAX_OPEN})
        messages = [
            message
            for ids in _parts([row["eventid"] for row in rows])
            for event in self._whole(eventids=ids)
            if (message := self._follow(place, event)) is not None
        ]
        return messages, place, False

    def _changed(self, place: _Place) -> tuple[list[dict[str, str]], _Place, bool]:
        after = _Place(event=place.event)
        messages: list[dict[str, str]] = []
        found = {event["eventid"]: event for ids in _parts(list(place.open)) for event in self._whole(eventids=ids)}
        if place.open and not found and not int(self._api.call("host.get", {"countOutput": True})):
            raise Denied(
                f"zabbix {self._instance!r} shows no host any more, and {len(place.open)} problems were open",
                hint="check which host groups the user of the token may read",
            )
        for ids in _parts(list(place.open)):
            events = {id: found[id] for id in ids if id in found}
            ends = self._recoveries(events.values())
            for id in ids:
                was, event = place.open[id], events.get(id)
                if event is None or _is_over(event):
                    ended = ends.get("" if event is None else event["r_eventid"], "")
                    messages.append({**was.message, "event_value": "0", "recovered": ended})
                elif (message := self._follow(after, event, was)) is not None:
                    messages.append(message)
        fresh = self._whole(value=1, eventid_from=place.event + 1, sortfield="eventid", sortorder="ASC", limit=_PAGE)
        ends = self._recoveries(fresh)
        for event in fresh:
            after.event = max(after.event, int(event["eventid"]))
            if event["eventid"] in place.open:
                continue
            if _is_over(event):
                messages.append(
                    {**self._message(event), "event_value": "0", "recovered": ends.get(event["r_eventid"], "")}
                )
            elif (message := self._follow(after, event)) is not None:
                messages.append(message)
        return messages, after, len(fresh) >= _PAGE

    def _follow(self, place: _Place, event: dict[str, Any], was: _Open | None = None) -> dict[str, str] | None:
        """Its message, where it is new or not as it was; none while it is suppressed."""
        message = self._message(event)
        suppressed = event.get("suppressed") == "1" and not self._config.suppressed
        like = "suppressed" if suppressed else json.dumps([event.get("severity"), event.get("acknowledged")])
        place.open[event["eventid"]] = _Open({name: message[name] for name in _IDENTITY}, like)
        return None if suppressed or (was is not None and was.like == like) else message

    def _whole(self, **asked: Any) -> list[dict[str, Any]]:
        return self._events(output="extend", selectHosts=["hostid", "host", "name"], selectTags="extend", **asked)

    def _events(self, **asked: Any) -> list[dict[str, Any]]:
        return self._api.rows("event.get", {"source": 0, "object": 0, **asked})

    def _recoveries(self, events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """When they were, by the ids of the recovery events."""
        ids = [event["r_eventid"] for event in events if _is_over(event)]
        return (
            {row["eventid"]: row["clock"] for row in self._events(eventids=ids, output=["eventid", "clock"])}
            if ids
            else {}
        )

    def _message(self, event: Mapping[str, Any]) -> dict[str, str]:
        """An event of the API as the media type would have sent it."""
        hosts = event.get("hosts") or []
        host = hosts[0] if len(hosts) == 1 else self._first_host(event["objectid"], hosts)
        return {
            "event_id": event["eventid"],
            "event_value": "1",
            "name": event["name"],
            "host": host.get("host", ""),
            "host_name": host.get("name", ""),
            "trigger_id": event["objectid"],
            "nseverity": event["severity"],
            "started": event["clock"],
            "tags": json.dumps([{"tag": tag["tag"], "value": tag["value"]} for tag in event.get("tags") or []]),
            "opdata": event.get("opdata", ""),
            "acknowledged": "Yes" if event.get("acknowledged") == "1" else "No",
            "url": f"{self._config.url}/tr_events.php?triggerid={event['objectid']}&eventid={event['eventid']}",
        }

    def _first_host(self, trigger: str, hosts: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
        """Of several hosts that of the first function in the expression, which {HOST.HOST} means."""
        asked = {"triggerids": [trigger], "output": ["expression"], "selectItems": ["itemid", "hostid"]}
        found = self._api.rows("trigger.get", {**asked, "selectFunctions": ["functionid", "itemid"]}) if hosts else []
        first = re.search(r"\{(\d+)\}", found[0]["expression"]) if found else None
        if first is None:
            return hosts[0] if hosts else {}
        items = {each["functionid"]: each["itemid"] for each in found[0]["functions"]}
        at = {each["itemid"]: each["hostid"] for each in found[0]["items"]}.get(items.get(first[1], ""))
        return next((host for host in hosts if host["hostid"] == at), hosts[0])

    # ---- history ----

    def _history(self, asked: ZabbixItems, since: float | None, now: datetime) -> tuple[list[bytes], float, list[str]]:
        """Payloads, from when the next visit reads, and what a person should know."""
        until = math.floor(now.timestamp() - _SETTLE_S)
        begin = since if since is not None else until - self._config.lookback.total_seconds()
        if begin > until:
            return [], begin, []
        found = self._api.rows(
            "item.get",
            {
                "search": {"key_": asked.key},
                "searchWildcardsEnabled": True,
                "monitored": True,
                "filter": {"value_type": [0, 3]},
                "output": ["itemid", "key_", "value_type"],
                "selectHosts": ["host"],
                "sortfield": "itemid",
                "limit": MAX_ITEMS + 1,
            },
        )
        problems = [f"{asked.metric}: more than {MAX_ITEMS} items have this key"] if len(found) > MAX_ITEMS else []
        courses: dict[str, dict[str, Any]] = {}
        reached = float(until)
        for type_ in ("0", "3"):
            ids = [item["itemid"] for item in found[:MAX_ITEMS] if item["value_type"] == type_]
            if not ids:
                continue
            limits = {"time_from": int(begin), "time_till": int(until), "limit": _MAX_VALUES}
            rows = self._api.rows(
                "history.get",
                {"history": int(type_), "itemids": ids, "output": "extend", "sortfield": "clock", **limits},
            )
            if len(rows) >= _MAX_VALUES:  # the last second may not be whole
                reached = min(reached, float(rows[-1]["clock"]) - 1)
                if reached < begin:
                    problems.append(f"{asked.metric}: more than {_MAX_VALUES} values in one second")
                    reached = begin
            for row in rows:
                course = courses.setdefault(row["itemid"], {"times": [], "values": []})
                course["times"].append(float(row["clock"]) + float(row.get("ns", 0)) / 1e9)
                course["values"].append(float(row["value"]))
        named = [_course(item, courses[item["itemid"]], reached) for item in found if item["itemid"] in courses]
        worse = "" if asked.worse == "either" else asked.worse
        payload = {"asked": {"metric": asked.metric, "unit": asked.unit, "worse": worse}, "courses": named}
        return [msgspec.json.encode(payload)] if named else [], reached + 1, problems


_IDENTITY = ("event_id", "name", "host", "host_name", "trigger_id", "tags", "started", "nseverity")


def _is_over(event: Mapping[str, Any]) -> bool:
    return str(event.get("r_eventid", "0")) != "0"


def _course(item: Mapping[str, Any], course: Mapping[str, list[float]], until: float) -> dict[str, Any]:
    """Values up to the end of the second ``until``, in order."""
    points = sorted((at, value) for at, value in zip(course["times"], course["values"], strict=True) if at < until + 1)
    _, _, parameters = str(item["key_"]).partition("[")
    return {
        "host": item["hosts"][0]["host"] if item.get("hosts") else "",
        "dimension": parameters.removesuffix("]")[:300],
        "times": [at for at, _ in points],
        "values": [value for _, value in points],
    }


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), _PAGE):
        yield rows[start : start + _PAGE]


def _build(name: str, config: ZabbixConfig) -> Zabbix | None:
    if not config.url or config.token_file is None:
        return None
    from foreshock.connect.http import Http

    token = read_secret(config.token_file, f"collectors.{name}.token_file")
    place = f"zabbix {name!r}"
    http = Http(place, config.url, ca_file=config.ca_file, max_body_bytes=MAX_ANSWER_BYTES, secrets=(token,))
    return Zabbix(name, config, ZabbixApi(http, token))


_TEXT = {"type": "string"}
_MESSAGE = {
    "type": "object",
    "required": ["event_id", "event_value", "name", "host", "trigger_id"],
    "properties": {
        "event_id": {**_TEXT, "description": "`{EVENT.ID}`, of a recovery that of the problem: annotation"},
        "event_value": {**_TEXT, "description": "`{EVENT.VALUE}`: 1 problem, 0 recovery"},
        "name": {**_TEXT, "description": "`{EVENT.NAME}`: label `alertname`"},
        "host": {**_TEXT, "description": "`{HOST.HOST}`: label `host`"},
        "trigger_id": {**_TEXT, "description": "`{TRIGGER.ID}`: label `trigger_id`"},
        "tags": {**_TEXT, "description": "`{EVENT.TAGSJSON}`: a label each; of a tag without a value `true`"},
        "nseverity": {**_TEXT, "description": "`{EVENT.NSEVERITY}`: 0 to 5"},
        "started": {**_TEXT, "description": "`{EVENT.TIMESTAMP}`: start"},
        "recovered": {**_TEXT, "description": "`{EVENT.RECOVERY.TIMESTAMP}`: end"},
        "event_source": {**_TEXT, "description": "`{EVENT.SOURCE}`: anything but 0 is ignored"},
        "opdata": {**_TEXT, "description": "`{EVENT.OPDATA}`: annotation `operational_data`"},
        "update_status": {**_TEXT, "description": "`{EVENT.UPDATE.STATUS}`: 1 where somebody did something to it"},
    },
}

COLLECTOR = Collector(
    kind="zabbix",
    title="Zabbix, by a webhook media type and its API",
    facts="Zabbix 6.0 webhooks and API",
    decode=decode,
    translate=translate,
    receive=Receive(path="/api/v1/collect/zabbix", schema={"oneOf": [{"type": "array", "items": _MESSAGE}, _MESSAGE]}),
    poll=Poll(config=ZabbixConfig, build=_build),
    sample="zabbix-firing.json",
    namespace="zabbix",
)
