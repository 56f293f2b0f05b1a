"""What a payload becomes, item by item, before anything is configured: for the author of a mapping."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import ValidationError

from foreshock.connect.config import Origin, read_yaml
from foreshock.connect.mapping import Item, Mapped, Place, Unmapped, decode, load_mapping
from foreshock.core.contracts import Collector, Ignored, with_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event, Samples, read_annotations, read_labels
from foreshock.core.severity import Severity, parse_severity

_ON_RECEIPT = "on receipt"


class Tried(Struct, frozen=True, kw_only=True):
    """What became of one item.

    Attributes:
        becomes: alert, resolved, change, samples, ignored or refused. why: of the last two.
        notes: what it lacks, each with its place in the mapping.
        severity: as Foreshock understands it.
        starts_at, ends_at: RFC 3339, or in words where they depend on the time of receipt.
    """

    item: int
    becomes: str
    why: str = ""
    rule: str = ""
    notes: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    severity: str = ""
    starts_at: str = ""
    ends_at: str = ""
    url: str = ""
    change: dict[str, Any] = {}


def try_mapping(path: Path, payload: bytes, headers: dict[str, str], now: datetime) -> list[Tried]:
    """headers: names in lower case. Raises ConfigError for the mapping, Malformed for a payload that cannot be read."""
    loaded, where = load_mapping(path), read_yaml(path).origin

    def told(place: Place, text: str) -> str:
        return str(_at(where(place)).problem(text))

    try:
        items = decode(with_head(loaded.head(headers=headers), payload))
    except Unmapped as error:
        raise Malformed(told(error.place, str(error))) from None
    return [_tried(number, item, now, told) for number, item in enumerate(items)]


def _at(origin: Origin) -> Origin:
    """Without the name of the key, which the message has."""
    return Origin(file=origin.file, line=origin.line, column=origin.column, path="")


def _tried(number: int, item: Item | Malformed, now: datetime, told: Callable[[Place, str], str]) -> Tried:
    if isinstance(item, Malformed):
        return Tried(item=number, becomes="refused", why=str(item))
    try:
        mapped, later = (item.mapper.apply(item.value, at) for at in (now, now + timedelta(seconds=1)))
    except Unmapped as error:
        return Tried(item=number, becomes="refused", why=told(error.place, str(error)))
    notes = tuple(told(place, text) for place, text in mapped.notes)
    rule = told(mapped.rule, "").rstrip(": ") if mapped.rule else ""
    return _shown(number, mapped.result, later.result, now, notes=(*notes, *_doubts(mapped)), rule=rule)


def try_kind(collector: Collector, payload: bytes, headers: dict[str, str], now: datetime) -> list[Tried]:
    """The same for a kind that knows its product, with its settings at their defaults. Raises Malformed."""
    receive = collector.receive
    if receive is not None and receive.head is not None:
        try:
            settings = collector.config()
        except ValidationError:
            raise Malformed(f"a payload of {collector.kind} means nothing without settings") from None
        prepared = settings if receive.prepare is None else receive.prepare(collector.kind, settings)
        payload = with_head(receive.head(prepared, headers), payload)
    return try_items(collector, payload, now)


def try_items(collector: Collector, payload: bytes, now: datetime) -> list[Tried]:
    """Of a payload with all that goes before it. Raises Malformed."""
    found = []
    for number, item in enumerate(collector.decode(payload)):
        try:
            if isinstance(item, Malformed):
                raise item
            result, later = (collector.translate(item, at) for at in (now, now + timedelta(seconds=1)))
            found.append(_shown(number, result, later, now))
        except Malformed as error:
            found.append(Tried(item=number, becomes="refused", why=str(error)))
    return found


def _doubts(mapped: Mapped) -> Iterator[str]:
    if isinstance(mapped.result, Event):
        word = mapped.result.severity or read_labels(mapped.result.labels).get("severity", "")
        if not word:
            yield "no severity: it counts as a warning"
        elif parse_severity(word) is Severity.UNKNOWN:
            yield f"severity {word!r} is not known: say what it means under `severities`"


def _shown(
    number: int, result: Any, later: Any, now: datetime, *, notes: tuple[str, ...] = (), rule: str = ""
) -> Tried:
    """later: the same item received a second later."""
    match result:
        case Ignored(reason):
            return Tried(item=number, becomes="ignored", why=reason, rule=rule)
        case Change():
            change = msgspec.to_builtins(result)
            change["at"] = _time(result.at, later.at, now)
            return Tried(item=number, becomes="change", rule=rule, notes=notes, change=change)
        case Samples():
            return Tried(item=number, becomes="samples", rule=rule, notes=notes)
    try:
        labels, annotations = read_labels(result.labels), read_annotations(result.annotations)
    except Malformed as error:
        return Tried(item=number, becomes="refused", why=str(error), rule=rule, notes=notes)
    over = result.ends_at is not None and result.ends_at <= now
    return Tried(
        item=number,
        becomes="resolved" if over else "alert",
        rule=rule,
        notes=notes,
        labels=dict(sorted(labels.items())),
        annotations=dict(sorted(annotations.items())),
        severity=parse_severity(result.severity or labels.get("severity", "")).word,
        starts_at=_time(result.starts_at, later.starts_at, now),
        ends_at=_time(result.ends_at, later.ends_at, now),
        url=result.url,
    )


def _time(found: datetime | None, later: datetime | None, now: datetime) -> str:
    if found is None:
        return ""
    if found == later:
        return found.isoformat().replace("+00:00", "Z")
    return _ON_RECEIPT if found == now else f"{(found - now).total_seconds():g} s after receipt"


def differences(found: Sequence[Tried], expected: bytes) -> list[str]:
    """Where what was found is not what a file says, which holds ``-o json`` of another time. Raises Malformed."""
    try:
        wanted = json.loads(expected)
    except ValueError as error:
        raise Malformed(f"what is expected is not JSON: {error}", hint="write it with -o json") from None
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise Malformed("what is expected is not a list of items", hint="write it with -o json")
    told = []
    if len(wanted) != len(found):
        told.append(f"{len(found)} items, expected {len(wanted)}")
    for number, (one, other) in enumerate(zip(map(compared, found), wanted, strict=False)):
        told += [
            f"item {number}: {key} is {json.dumps(one.get(key))}, expected {json.dumps(other[key])}"
            for key in other
            if key not in ("rule", "notes") and one.get(key) != other[key]
        ]
    return told


def compared(tried: Tried) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(tried)
    return found


def modes_of(collector: Collector) -> str:
    """How its events come in, in words."""
    words = {"receive": "posted to us", "poll": "we ask", "listen": "we listen"}
    return ", ".join(word for mode, word in words.items() if getattr(collector, mode) is not None)


def lines_of(tried: Tried) -> Iterator[str]:
    """For people."""
    yield "  ".join(filter(None, (f"item {tried.item}", tried.becomes, tried.rule and f"({tried.rule})")))
    if tried.why:
        yield f"  {tried.why}"
    if tried.labels:
        yield "  " + " ".join(f"{name}={value}" for name, value in tried.labels.items())
        since, until = tried.starts_at and f"since {tried.starts_at}", tried.ends_at and f"until {tried.ends_at}"
        yield "  " + ", ".join(filter(None, (tried.severity, since, until, tried.url)))
    for name, value in {**tried.annotations, **tried.change}.items():
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            yield f"  {name}: {text}"
    for note in tried.notes:
        yield f"  ! {note}"
