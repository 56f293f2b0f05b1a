"""Changes that people and pipelines make, posted by anything: deployments, tickets, configuration runs.

Facts:    this file and the OpenAPI document under /api/openapi.json are the definition.
Delivery: as the sender likes; sending a change again is always safe, the newest word counts.
Recovery: none: a change happened.
Limits:   100 CIs and 500 characters of title a change, 5,000 changes and 5 MiB a request.
Needs:    nothing on loopback; a token beyond it.
"""

from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from foreshock.core.contracts import Collector, Receive, decode_items
from foreshock.core.model import Change, Moment

_Id = Annotated[str, Meta(min_length=1, max_length=200)]
_Text = Annotated[str, Meta(max_length=500)]
_Name = Annotated[str, Meta(min_length=1, max_length=500)]


class PostedChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """One change: ``cis`` are names as the topology knows them, or that alerts carry."""

    id: _Id
    cis: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=100)]
    title: _Text = ""
    at: Moment | None = None
    actor: _Text = ""
    url: _Text = ""


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[PostedChange]),
    one=msgspec.json.Decoder(PostedChange),
    what="changes",
    or_one=True,
)


def translate(item: PostedChange, received_at: datetime) -> Change:
    at = received_at if item.at is None else min(item.at, received_at)
    return Change(id=item.id, at=at, title=item.title, cis=item.cis, actor=item.actor, url=item.url)


_TEXT = {"type": "string", "maxLength": 500}
_CHANGE = {
    "type": "object",
    "required": ["id", "cis"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "maxLength": 200, "description": "identity; sent again, it replaces what was sent"},
        "cis": {"type": "array", "items": _TEXT, "description": "what it changed, by name; 1 to 100"},
        "title": _TEXT,
        "at": {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone; now if left out"},
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
    receive=Receive(path="/api/v1/changes", schema={"oneOf": [{"type": "array", "items": _CHANGE}, _CHANGE]}),
    sample="changes.json",
)
