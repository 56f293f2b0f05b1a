"""Zabbix, by a media type of the kind webhook that ships with Foreshock.

Facts:    https://www.zabbix.com/documentation/6.0/en/manual/appendix/macros/supported_by_location, read
          2026-11-22; what Zabbix 6.0.14 sent, as recorded in tests/samples, by the names of the media type that ships.
Delivery: at least once within the attempts of the media type (3 as shipped), then lost.
Recovery: reported, where the action has recovery operations; `event_value` 0 is the end. A recovery carries the time of
          the problem and its own. Updates (acknowledged, severity changed, a message) change the alert that is open.
Limits:   a problem is identified by the name of the event, the host, the trigger and the tags of the event. Names and
          tags that hold values ({ITEM.VALUE}) make a new alert of each problem; put values into operational data
          instead. Of a trigger over several hosts the first one of its expression counts. Actions on discovery,
          autoregistration, internal events and services are ignored. Zabbix before 7.0 does not send the time in
          seconds; the script then works it out in the time zone of the Zabbix server.
Needs:    docs/connect/zabbix_media_type.yaml imported, a user with that media, and an action with operations, recovery
          operations and update operations for that user. Nobody is told of updates that he made himself: make the user
          for this purpose alone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import alert, moment

SEVERITIES = ("", "information", "warning", "average", "high", "disaster")
"""By number; the words for them can be changed in Zabbix. 0 is "not classified"."""
_TRIGGERS = "0"  # source of events
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

decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[Message]),
    one=msgspec.json.Decoder(Message),
    what="messages of the media type",
    or_one=True,
)


def translate(item: Message, received_at: datetime) -> Event | Ignored:
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
    title="Zabbix, by a webhook media type",
    facts="Zabbix 6.0 webhooks",
    decode=decode,
    translate=translate,
    receive=Receive(path="/api/v1/collect/zabbix", schema={"oneOf": [{"type": "array", "items": _MESSAGE}, _MESSAGE]}),
    sample="zabbix-firing.json",
    namespace="zabbix",
)
