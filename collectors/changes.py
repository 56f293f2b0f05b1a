"""Changes that people and pipelines make, posted by anything: deployments, tickets, configuration runs.

Facts:    this file and the OpenAPI document under /api/openapi.json are the definition.
Delivery: as the sender likes; sending a change again is always safe, the newest word counts.
Recovery: none: a change happened. One that took its time has an ``ended_at``: what begins after its beginning or after
          its end may be due to it.
Limits:   100 CIs and 500 characters of title a change, 5,000 changes and 5 MiB a request.
Needs:    nothing on loopback; a token beyond it.
"""

from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from foreshock.connect.proofs import STANDARD_WEBHOOKS
from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Moment

_Id = Annotated[str, Meta(min_length=1, max_length=200)]
_Text = Annotated[str, Meta(max_length=500)]
_Name = Annotated[str, Meta(min_length=1, max_length=500)]


class PostedChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """One change: ``cis`` and ``service`` are names as the topology knows them, or that alerts carry."""

    id: _Id
    cis: Annotated[tuple[_Name, ...], Meta(max_length=100)] = ()
    service: _Text = ""
    title: _Text = ""
    at: Moment | None = None
    ended_at: Moment | None = None
    environment: _Text = ""
    risk: _Text = ""
    rollback: bool = False
    actor: _Text = ""
    url: _Text = ""


class Ended(Struct):
    """The end of a change that took its time."""

    change: PostedChange
    at: Moment


_decode_changes = partial(
    decode_items,
    many=msgspec.json.Decoder(list[PostedChange]),
    one=msgspec.json.Decoder(PostedChange),
    what="changes",
    or_one=True,
)


def decode(body: bytes) -> list[PostedChange | Ended | Malformed]:
    """The changes, each that has an end followed by that."""
    items: list[PostedChange | Ended | Malformed] = []
    for item in _decode_changes(body):
        items.append(item)
        if isinstance(item, PostedChange) and item.ended_at is not None:
            items.append(Ended(item, item.ended_at))
    return items


def translate(item: PostedChange | Ended, received_at: datetime) -> Change | Ignored:
    """Raises Malformed where nothing says what was changed."""
    if isinstance(item, Ended):
        if item.at > received_at:
            return Ignored("a change that has not ended")
        whole = translate(item.change, received_at)
        assert isinstance(whole, Change)
        return structs.replace(whole, id=f"{whole.id}:end", at=item.at, title=f"the end of {whole.title or whole.id}")
    cis = tuple(dict.fromkeys([*item.cis, *([item.service] if item.service else [])]))
    if not cis:
        raise Malformed("the change names neither `cis` nor a `service`", hint="say what was changed")
    at = received_at if item.at is None else min(item.at, received_at)
    return Change(id=item.id, at=at, title=_in_words(item), cis=cis, actor=item.actor, url=item.url)


def _in_words(item: PostedChange) -> str:
    more = [
        "rolled back" if item.rollback else "",
        f"in {item.environment}" if item.environment else "",
        f"risk {item.risk}" if item.risk else "",
    ]
    shown = ", ".join(word for word in more if word)
    return f"{item.title or item.id} ({shown})" if shown else item.title


_TEXT = {"type": "string", "maxLength": 500}
_CHANGE = {
    "type": "object",
    "required": ["id"],
    "anyOf": [{"required": ["cis"]}, {"required": ["service"]}],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": 200, "description": "identity; sent again, it replaces what was sent"},
        "cis": {"type": "array", "items": _TEXT, "description": "what it changed, by name; at most 100"},
        "service": {**_TEXT, "description": "the same, where it is one"},
        "title": _TEXT,
        "at": {
            "type": "string",
            "format": "date-time",
            "description": "when it was made, or began; RFC 3339 with a zone; now if left out",
        },
        "ended_at": {"type": "string", "format": "date-time", "description": "when it was done, if it took its time"},
        "environment": {**_TEXT, "description": "for people"},
        "risk": {**_TEXT, "description": "for people"},
        "rollback": {"type": "boolean", "description": "whether it takes an earlier one back"},
        "actor": _TEXT,
        "url": _TEXT,
    },
}

COLLECTOR = Collector(
    kind="changes",
    title="Changes, posted by anything",
    facts="Foreshock's own format",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/changes",
        schema={"oneOf": [{"type": "array", "items": _CHANGE}, _CHANGE]},
        signed=STANDARD_WEBHOOKS,
    ),
    sample="changes.json",
)
