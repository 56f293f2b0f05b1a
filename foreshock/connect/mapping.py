"""A mapping: how the payload of a product that nobody wrote a collector for becomes events and changes.

It is a YAML file of JMESPath expressions; ``Mapping`` is its model. Webhooks and brokers share it: what comes in
is recorded behind a line with the mapping (``core.contracts.with_head``), so that it is read again the same way when
the file is another one. ``decode`` and ``translate`` are those of such a collector.

Facts: https://jmespath.org/specification.html, read 2026-11-22, with three functions of ours: ``lower(text)``,
       ``split(separator, text)`` and ``capture(pattern, text)``, which gives the first group (RE2) or null.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as Texts
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.connect.config import load
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.model import MAX_ANNOTATIONS, MAX_LABELS, Change, Event, encode_annotations, encode_texts
from foreshock.core.payload import moment
from foreshock.core.quantities import Duration, ZoneName

MAX_EXPRESSION = 2000
_MAX_WORD, _MAX_ID, _MAX_TEXT, _MAX_CIS = 64, 200, 500, 100
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_TEXT = re.compile(r"'([^'\\]*)'")
_NO = frozenset({"", "false", "no", "0", "null", "none"})
_AROUND = re.compile(r"\b_(?:payload|head)\b")

Place = tuple[str | int, ...]


# ---- expressions ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def finder(text: str) -> Callable[[Any], Any]:
    """What the expression finds in a value. The function raises ValueError where it does not fit the value.

    Raises Invalid where ``text`` is no expression. Plain fields and texts, which most are, need no JMESPath.
    """
    if len(text) > MAX_EXPRESSION:
        raise Invalid(f"the expression has {len(text)} characters, {MAX_EXPRESSION} are allowed")
    if _FIELD.fullmatch(text):
        return _field(tuple(text.split(".")))
    if (constant := _TEXT.fullmatch(text)) is not None:
        return lambda _: constant[1]
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        expression = jmespath.compile(text)
    except JMESPathError as error:
        hint = "write it in JMESPath: a.b, list[0].c, \"name-with.signs\", 'a text'"
        raise Invalid(f"{text!r} is no expression: {_shortly(error)}", hint=hint) from None
    functions = _functions()
    options = jmespath.Options(custom_functions=functions)
    unknown = sorted(set(_called(expression.parsed)) - set(functions.FUNCTION_TABLE))
    if unknown:
        raise Invalid(f"{text!r} calls {unknown[0]}(), which there is not", hint="see https://jmespath.org")

    def find(value: Any) -> Any:
        return expression.search(value, options=options)

    return find


def _field(steps: tuple[str, ...]) -> Callable[[Any], Any]:
    def find(value: Any) -> Any:
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    return find


def _shortly(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line), "").removeprefix("Invalid jmespath expression: ")


def _called(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield node["value"]
        for child in node.get("children", ()):
            yield from _called(child)


@lru_cache(maxsize=1)
def _functions() -> Any:
    import re2
    from jmespath import functions

    class Functions(functions.Functions):
        @functions.signature({"types": ["string", "null"]})
        def _func_lower(self, text: str | None) -> str | None:
            return None if text is None else text.lower()

        @functions.signature({"types": ["string"]}, {"types": ["string", "null"]})
        def _func_split(self, separator: str, text: str | None) -> list[str] | None:
            return None if text is None else text.split(separator or None)

        @functions.signature({"types": ["string"]}, {"types": ["string", "null"]})
        def _func_capture(self, pattern: str, text: str | None) -> str | None:
            try:
                found = None if text is None else re2.search(pattern, text)
            except re2.error as error:
                raise ValueError(f"{pattern!r} is no pattern: {error}") from None
            return None if found is None else found[1 if found.re.groups else 0]

    return Functions()


def _checked(text: str) -> str:
    finder(text)
    return text


Expression = Annotated[str, AfterValidator(_checked)]
Word = Literal["critical", "major", "minor", "warning", "info"]


# ---- the file -------------------------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangeRule(_Part):
    id: Expression = Field(description="identity of the change; sent again, it replaces what was sent")
    cis: Expression = Field(description="what it changed, by name: a text or a list of texts")
    title: Expression = Field(default="''", description="what was done")
    at: Expression | None = Field(default=None, description="when; the time of receipt if left out")
    actor: Expression = Field(default="''", description="who did it")
    url: Expression = Field(default="''", description="where it is shown")


class Rule(_Part):
    """What becomes of an item: an event (``labels``), a change, or nothing (``ignore``)."""

    when: Expression | None = Field(default=None, description="the rule is for items for which this is true")
    labels: dict[str, Expression] = Field(
        default_factory=dict,
        max_length=MAX_LABELS,
        description="identity of the alert, the same when it fires and when it is over; alertname names the condition",
    )
    annotations: dict[str, Expression] = Field(
        default_factory=dict, max_length=MAX_ANNOTATIONS, description="what explains it: summary, description, …"
    )
    severity: Expression | None = Field(default=None, description="how bad it is, in the words of the product")
    severities: dict[str, Word] = Field(
        default_factory=dict, description="what these words mean, where Foreshock does not know them"
    )
    starts_at: Expression | None = Field(
        default=None,
        description="since when: ISO 8601, or seconds, milli-, micro- or nanoseconds since 1970",
    )
    resolved: Expression | None = Field(default=None, description="true where the item says that the alert is over")
    ends_at: Expression | None = Field(
        default=None, description="when it was over; without resolved, an item with an end that is past says so"
    )
    expires_after: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=10),
        le=timedelta(days=31),
        description="where the product does not say when it is over: over if not sent again for this long",
    )
    url: Expression | None = Field(default=None, description="where the product shows it")
    change: ChangeRule | None = Field(default=None, description="the item is a change, not an alert")
    ignore: str = Field(default="", max_length=200, description="the item means nothing to us, and why; it is counted")

    @model_validator(mode="after")
    def _makes_one_thing(self) -> "Rule":
        made = [name for name in ("labels", "change", "ignore") if getattr(self, name)]
        if len(made) > 1:
            hint = "make two rules of it, each with its `when`"
            raise Invalid(f"a rule has one of labels, change and ignore, not {' and '.join(made)}", hint=hint)
        if self.labels and "alertname" not in self.labels:
            hint = "name the condition, for example alertname: check.name"
            raise Invalid("there is no label alertname", hint=hint, path=("labels",))
        return self


class Mapping(Rule):
    """The file. With one rule, its keys stand beside the others; with several, under ``rules``."""

    version: Literal[1] = Field(default=1, description="of this format")
    format: Literal["json", "form", "text"] = Field(
        default="json",
        description="of the payload; a form becomes an object of texts, a text one with the key `text`",
    )
    items: Expression | None = Field(
        default=None,
        description="what the payload is about: a list, or one object; if left out, the payload, or each entry of it",
    )
    headers: tuple[str, ...] = Field(
        default=(), max_length=20, description="headers that expressions need, as _head.headers, in lower case"
    )
    zone: ZoneName = Field(default="UTC", description="time zone of times that name none, for example Europe/Berlin")
    rules: tuple[Rule, ...] = Field(
        default=(), max_length=200, description="the first whose `when` is true makes the item; where none is, it is "
        "refused"
    )  # fmt: skip

    @field_validator("headers")
    @classmethod
    def _in_lower_case(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in names)

    @model_validator(mode="after")
    def _has_rules(self) -> "Mapping":
        own = bool(self.labels or self.change or self.ignore)
        if own and self.rules:
            raise Invalid("a rule stands beside `rules`", hint="move its keys into an entry of rules", path=("rules",))
        if not own and not self.rules:
            raise Invalid("nothing says what an item becomes", hint="add labels, with at least alertname")
        for index, rule in enumerate(self.rules):
            if not (rule.labels or rule.change or rule.ignore):
                hint = "add labels, change or ignore"
                raise Invalid("nothing says what an item becomes", hint=hint, path=("rules", index))
            if rule.when is None and index + 1 < len(self.rules):
                hint = "give it a `when`, or put it last"
                raise Invalid("the rules behind this one are never reached", hint=hint, path=("rules", index))
        return self


class Loaded(Struct, frozen=True):
    """A mapping as it goes before each payload, and the headers that it needs."""

    text: Raw
    headers: tuple[str, ...] = ()

    def head(self, **around: Any) -> dict[str, Any]:
        """For ``with_head``. around: what else expressions see, as ``_head``: a topic, a subject, …"""
        return {"mapping": self.text, **around}


def load_mapping(path: Path) -> Loaded:
    """The mapping in a file. Raises ConfigError."""
    mapping = load(path, Mapping)
    return Loaded(Raw(mapping.model_dump_json(exclude_defaults=True).encode()), mapping.headers)


# ---- payload to events ----------------------------------------------------------------------------------------------


class Item(Struct, frozen=True):
    """value: what the expressions are about. number: of the item in its payload, from 0."""

    mapper: "Mapper"
    number: int
    value: Any

    @property
    def payload(self) -> bytes:
        """As it came, for a dead letter."""
        value = self.value
        if isinstance(value, dict):
            value = {key: part for key, part in value.items() if key not in ("_payload", "_head")}
        return msgspec.json.encode(value)


class Mapped(Struct, frozen=True):
    """What became of an item.

    Attributes:
        rule: where in the mapping the rule stands. notes: what was left out, by its place there.
    """

    result: Event | Change | Ignored
    rule: Place
    notes: tuple[tuple[Place, str], ...] = ()


class Unmapped(Malformed):
    """An item that the mapping does not fit. place: in the mapping."""

    def __init__(self, message: str, place: Place, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.place = place


class Mapper:
    """A mapping at work. Raises pydantic.ValidationError where ``text``, its JSON, is none."""

    def __init__(self, text: bytes) -> None:
        mapping = Mapping.model_validate_json(text, strict=True)
        self._format, self._zone = mapping.format, ZoneInfo(mapping.zone) if mapping.zone != "UTC" else UTC
        self._items = finder(mapping.items) if mapping.items is not None else None
        self._rules: list[tuple[Place, Rule]] = [(("rules", index), rule) for index, rule in enumerate(mapping.rules)]
        self._rules = self._rules or [((), mapping)]
        self._around = _AROUND.search(text.decode()) is not None

    def items(self, body: bytes, head: Texts[str, Raw]) -> list[Item | Malformed]:
        """The items of a payload. Raises Malformed where it cannot be read, or holds none where there should be."""
        payload = _read(body, self._format)
        found = payload
        if self._items is not None:
            try:
                found = self._items(payload)
            except ValueError as error:
                raise Unmapped(f"items does not fit the payload: {_shortly(error)}", ("items",)) from None
            if found is None:
                raise Unmapped("items finds nothing in the payload", ("items",), hint="check it against the payload")
        values = found if isinstance(found, list) else [found]
        if self._around:
            told = {name: msgspec.json.decode(raw) for name, raw in head.items() if name != "mapping"}
            values = [
                {**value, "_payload": payload, "_head": told} if isinstance(value, dict) else value for value in values
            ]
        return [Item(self, number, value) for number, value in enumerate(values)]

    def apply(self, value: Any, received_at: datetime) -> Mapped:
        """Raises Unmapped where the item has no identity, or no rule is for it."""
        for place, rule in self._rules:
            if rule.when is None or _yes(_find(rule.when, value, (*place, "when"))):
                if rule.ignore:
                    return Mapped(Ignored(rule.ignore), place)
                if rule.change is not None:
                    return _change(rule.change, value, received_at, place, self._zone)
                return _event(rule, value, received_at, place, self._zone)
        where: Place = ("rules",) if len(self._rules) > 1 else (*self._rules[0][0], "when")
        raise Unmapped("no rule is for it", where, hint="add one, with `ignore: why` if it means nothing")


@lru_cache(maxsize=256)
def _mapper(text: bytes) -> Mapper:
    return Mapper(text)


_HEAD = msgspec.json.Decoder(dict[str, Raw])


def decode(payload: bytes) -> Sequence[Item | Malformed]:
    """Items of a payload behind a line with its mapping. Raises Malformed."""
    line, newline, body = payload.partition(b"\n")
    try:
        head = _HEAD.decode(line) if newline else {}
        mapper = _mapper(bytes(head["mapping"]))
    except (msgspec.DecodeError, ValueError, KeyError, RecursionError):
        raise Malformed("the first line does not hold a mapping") from None
    return mapper.items(body, head)


def translate(item: Item, received_at: datetime) -> Event | Change | Ignored:
    return item.mapper.apply(item.value, received_at).result


def _read(body: bytes, format: str) -> Any:
    try:
        if format == "json":
            return msgspec.json.decode(body)
        text = body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the payload is not {'JSON' if format == 'json' else 'UTF-8'}: {error}") from None
    if format == "text":
        return {"text": text}
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=1000))
    except ValueError as error:
        raise Malformed(f"the payload is not a form: {error}") from None


# ---- parts of an event ----------------------------------------------------------------------------------------------


def _find(expression: str, value: Any, place: Place) -> Any:
    try:
        return finder(expression)(value)
    except ValueError as error:
        raise Unmapped(f"{_named(place)}: {expression!r} does not fit the item: {_shortly(error)}", place) from None


def _named(place: Place) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _nothing(place: Place, expression: str) -> str:
    return f"{_named(place)}: {expression!r} gives nothing"


def _texted(expression: str, value: Any, place: Place) -> str:
    """Text of what was found; empty for null. Raises Unmapped for a list or an object, which is no text."""
    found = _find(expression, value, place)
    if isinstance(found, list | dict):
        what = "a list" if isinstance(found, list) else "an object"
        hint = "choose a part of it, or join it: join(', ', a.list)"
        raise Unmapped(f"{_named(place)}: {expression!r} gives {what}, not a text", place, hint=hint)
    return _plain(found)


def _plain(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer() and abs(found) < 1e15:
        found = int(found)  # a sender may write 1 as 1.0
    return found if isinstance(found, str) else repr(found)


def _yes(found: Any) -> bool:
    return _plain(found).strip().lower() not in _NO if not isinstance(found, list | dict) else bool(found)


class _Notes:
    """Reads what must not lose an alert: where it cannot be read it is noted and left out."""

    def __init__(self, value: Any, place: Place, zone: tzinfo) -> None:
        self.value, self._place, self._zone = value, place, zone
        self.found: list[tuple[Place, str]] = []

    def text(self, expression: str | None, *key: str) -> str:
        if expression is None:
            return ""
        place = (*self._place, *key)
        try:
            found = _find(expression, self.value, place)
            text = msgspec.json.encode(found).decode() if isinstance(found, list | dict) else _plain(found)
        except (Unmapped, ValueError) as error:
            self.found.append((place, str(error)))
            return ""
        if found is None:
            self.found.append((place, _nothing(place, expression)))
        return text

    def time(self, expression: str | None, *key: str) -> datetime | None:
        if expression is None:
            return None
        place = (*self._place, *key)
        found = _find(expression, self.value, place)
        at = moment(found, zone=self._zone)
        if at is None and found not in (None, "", 0, "0") and not str(found).startswith("0001-01-01"):
            self.found.append((place, f"{_named(place)}: {_plain(found)[:100]!r} is no time"))
        return at

    def url(self, expression: str | None, *key: str) -> str:
        text = self.text(expression, *key)
        if text and not text.startswith(("https://", "http://")):
            self.found.append(((*self._place, *key), f"{_named((*self._place, *key))}: {text[:100]!r} is no address"))
            return ""
        return text[:MAX_EXPRESSION]


def _event(rule: Rule, value: Any, received_at: datetime, place: Place, zone: tzinfo) -> Mapped:
    labels = {name: _texted(find, value, (*place, "labels", name)) for name, find in rule.labels.items()}
    if not labels["alertname"]:
        where = (*place, "labels", "alertname")
        hint = "choose what every item has; a text of your own goes in both kinds of quotes: \"'Problem'\""
        raise Unmapped(_nothing(where, rule.labels["alertname"]), where, hint=hint)
    notes = _Notes(value, place, zone)
    notes.found += [
        (where := (*place, "labels", name), _nothing(where, rule.labels[name]))
        for name, text in labels.items()
        if not text
    ]
    word = notes.text(rule.severity, "severity")
    if len(word) > _MAX_WORD:
        notes.found.append(((*place, "severity"), f"{_named((*place, 'severity'))}: {word[:20]!r}… is no word"))
        word = ""
    ended = notes.time(rule.ends_at, "ends_at")
    ends_at = ended
    if rule.resolved is not None:
        over = _yes(_find(rule.resolved, value, (*place, "resolved")))
        ends_at = min(ended or received_at, received_at) if over else None
    if rule.expires_after is not None and ends_at is None:
        ends_at = received_at + rule.expires_after
    event = Event(
        labels=encode_texts({name: text for name, text in labels.items() if text}),
        annotations=encode_annotations({
            name: notes.text(find, "annotations", name) for name, find in rule.annotations.items()
        }),
        severity=_severities(rule).get(word.strip().lower(), word),
        starts_at=notes.time(rule.starts_at, "starts_at"),
        ends_at=ends_at,
        url=notes.url(rule.url, "url"),
    )  # fmt: skip
    return Mapped(event, place, notes=tuple(notes.found))


def _severities(rule: Rule) -> dict[str, str]:
    return {word.strip().lower(): meant for word, meant in rule.severities.items()}


def _change(rule: ChangeRule, value: Any, received_at: datetime, place: Place, zone: tzinfo) -> Mapped:
    place = (*place, "change")
    found = _find(rule.cis, value, (*place, "cis"))
    cis = tuple(dict.fromkeys(_plain(one)[:_MAX_TEXT] for one in (found if isinstance(found, list) else [found])))
    cis = tuple(ci for ci in cis if ci)[:_MAX_CIS]
    if not cis:
        where = (*place, "cis")
        raise Unmapped(_nothing(where, rule.cis), where, hint="choose what names what was changed")
    id = _texted(rule.id, value, (*place, "id"))
    if not id:
        where = (*place, "id")
        raise Unmapped(_nothing(where, rule.id), where, hint="choose what every change has")
    notes = _Notes(value, place, zone)
    at = notes.time(rule.at, "at")
    change = Change(
        id=id[:_MAX_ID],
        at=received_at if at is None else min(at, received_at),
        title=notes.text(rule.title, "title")[:_MAX_TEXT],
        cis=cis,
        actor=notes.text(rule.actor, "actor")[:_MAX_TEXT],
        url=notes.url(rule.url, "url")[:_MAX_TEXT],
    )
    return Mapped(change, place, notes=tuple(notes.found))
