"""Reads the YAML files that people write, and says everything that is wrong with one at once, with its line.

``read_yaml`` turns a file into plain data that remembers its lines; ``load`` also validates it with a pydantic model.
Both raise one ``ConfigError`` that lists every ``Problem``.

Facts: YAML 1.2.2, chapter 10.2 (https://yaml.org/spec/1.2.2/#json-schema, read 2026-11-22). A plain word is a number,
a boolean or null only where JSON would say so too; ``no``, ``on``, ``0123``, ``1:30`` and ``2026-11-22`` stay text.
Bounds:  2 MiB a file, 32 levels, 250,000 values after aliases are expanded.
"""

import difflib
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from foreshock.core.errors import ConfigError, Invalid, Problem

Model = TypeVar("Model", bound=BaseModel)
PathTuple = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, from 1."""

MAX_BYTES = 2 * 2**20
MAX_DEPTH = 32
MAX_VALUES = 250_000
_TOP: Place = (1, 1)

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_SECRET_NAMES = re.compile(r"password|passwd|secret|token|api_?key|credential", re.IGNORECASE)


# ---- documents ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """A value with the line and column it, or its key, starts on. size: values in it, with every alias counted as often
    as it is used."""

    at: Place
    value: Any = None
    children: dict[str | int, "_Node"] = field(default_factory=dict)
    size: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) that knows where it stands.

    ``data`` is for reading only: an alias is the same object as its anchor.
    """

    file: str
    data: Any
    _root: _Node

    def origin(self, path: Sequence[str | int]) -> "Origin":
        """Where the value at ``path`` stands, or the nearest thing around it where ``path`` leads nowhere."""
        node = self._root
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            node = child
        line, column = node.at
        return Origin(file=self.file, line=line, column=column, path=path_text(path))


def read_yaml(path: Path | str) -> Document:
    """Read one YAML document. Raises ConfigError: not readable, not YAML, a duplicate key, a tag, or beyond a bound."""
    return parse_yaml(read_text(path), file=str(path))


def read_text(path: Path | str, *, max_bytes: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises ConfigError."""
    try:
        # One byte more than allowed, so that an endless device is refused instead of read.
        with Path(path).open("rb") as stream:
            raw = stream.read(max_bytes + 1)
    except FileNotFoundError:
        raise ConfigError([_whole(path, "does not exist", hint="check the path")]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            [_whole(path, f"cannot be read: {reason}", hint="check the path and its permissions")]
        ) from None
    if len(raw) > max_bytes:
        raise ConfigError([_whole(path, f"is larger than {max_bytes} bytes, the most that is read")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = Problem(
            file=str(path),
            line=line,
            path="",
            message=f"byte {error.start} is not UTF-8",
            hint="save the file as UTF-8",
        )
        raise ConfigError([problem]) from None


def _whole(path: Path | str, message: str, *, hint: str = "") -> Problem:
    return Problem(file=str(path), line=None, path="", message=message, hint=hint)


def parse_yaml(text: str, *, file: str) -> Document:
    """As ``read_yaml``, for text at hand; ``file`` is what problems name."""
    reader = _Reader(file)
    try:
        root = reader.read(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.report(
            (mark.line + 1, mark.column + 1) if mark else None,
            f"is not YAML: {error.problem or error.context}",
            hint="check quotes, brackets and indentation",
        )
        root = _Node(_TOP)
    except YAMLError as error:
        reader.report(None, f"is not YAML: {str(error).splitlines()[0]}")
        root = _Node(_TOP)
    except _TooMuch as error:
        reader.report(error.at, str(error))
        root = _Node(_TOP)
    except (RecursionError, ValueError, OverflowError) as error:
        # ruamel.yaml lets these out for a few hostile inputs, such as an escape beyond Unicode.
        reader.report(None, f"is not YAML: {error}")
        root = _Node(_TOP)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(file, root.value, root)


class _TooMuch(Exception):
    def __init__(self, at: Place, message: str) -> None:
        super().__init__(message)
        self.at = at


class _Reader:
    """Builds the tree from the parser's events, not from its constructor: a bound then holds while reading, so that a
    bomb of aliases or brackets is refused before it costs anything, and reading goes on behind a duplicate key."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._anchors: dict[str, _Node] = {}
        self._values = 0

    def report(self, at: Place | None, message: str, *, hint: str = "", path: PathTuple = ()) -> None:
        line, column = at or (None, None)
        self.problems.append(
            Problem(file=self._file, line=line, column=column, path=path_text(path), message=message, hint=hint)
        )

    def read(self, events: Iterator[Event]) -> _Node:
        root: _Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                self.report(_place(event), "holds a second document", hint="keep one document per file")
                break
            if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent):
                root = self._node(event, events, ())
        return root or _Node(_TOP)

    def _node(self, event: Event, events: Iterator[Event], path: PathTuple) -> _Node:
        at = _place(event)
        if isinstance(event, AliasEvent):
            anchor = self._anchors.get(event.anchor)
            if anchor is None:
                self.report(at, f"alias *{event.anchor} has no finished anchor before it", path=path)
                anchor = _Node(at)
            self._count(at, anchor.size)
            # The line of the alias, not of its anchor: that is where the person reading the problem has to look.
            return _Node(at, anchor.value, anchor.children, anchor.size)
        self._count(at, 1)
        if len(path) > MAX_DEPTH:
            raise _TooMuch(at, f"is nested deeper than {MAX_DEPTH} levels")
        assert isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent)
        if event.tag is not None:
            self.report(at, f"tag {event.tag} is not supported", hint="remove it; put text in quotes", path=path)
        node = _Node(at)
        if isinstance(event, ScalarEvent):
            text = self._text(event, path)
            node.value = plain_value(text) if event.implicit[0] else text
        elif isinstance(event, SequenceStartEvent):
            self._sequence(node, events, path)
        else:
            self._mapping(node, events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _text(self, event: ScalarEvent, path: PathTuple) -> str:
        text = str(event.value)
        try:
            text.encode()
        except UnicodeEncodeError:
            # JSON writes a character beyond U+FFFF as two escapes, which YAML leaves apart: "\ud83d\ude00".
            try:
                return text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self.report(_place(event), "holds half of a surrogate pair, which is no character", path=path)
                return ""
        return text

    def _count(self, at: Place, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _TooMuch(at, f"holds more than {MAX_VALUES} values, aliases expanded")

    def _sequence(self, node: _Node, events: Iterator[Event], path: PathTuple) -> None:
        items: list[Any] = []
        node.value = items
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            child = self._node(event, events, (*path, len(items)))
            node.children[len(items)] = child
            node.size += child.size
            items.append(child.value)

    def _mapping(self, node: _Node, events: Iterator[Event], path: PathTuple) -> None:
        entries: dict[str, Any] = {}
        node.value = entries
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            at = _place(event)
            # A key is always text as written: `no: 1` has the key "no", and `8420: x` the key "8420".
            if isinstance(event, ScalarEvent):
                key = self._text(event, path)
            else:
                self.report(at, "a key must be text", hint="write `key: value`", path=path)
                self._node(event, events, path)
                key = f"(line {at[0]})"
            if key == "<<":
                self.report(at, "merge keys (<<) are not part of YAML 1.2", hint="write the keys out", path=path)
            child = self._node(next(events), events, (*path, key))
            child.at = at if not isinstance(event, AliasEvent) else child.at
            if key in entries:
                first = node.children[key].at[0]
                self.report(
                    at, f"the key stands here twice, first on line {first}", hint="remove one", path=(*path, key)
                )
                continue
            node.children[key] = child
            node.size += child.size + 1
            entries[key] = child.value


def _place(event: Event) -> Place:
    return int(event.start_mark.line) + 1, int(event.start_mark.column) + 1


def plain_value(text: str) -> Any:
    """What an unquoted word means: null, a boolean or a number where JSON says so, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and abs(number := float(text)) < float("inf"):
        return number
    return text


def path_text(path: Sequence[str | int]) -> str:
    """``("topology", 0, "path")`` as people read it: ``topology[0].path``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


# ---- validation -----------------------------------------------------------------------------------------------------


class InvalidPart(Invalid):
    """A validator validated a part with another model and that failed; carries the problems of the part.

    pydantic would show the inner error as one block of text without places. inline: in the file the keys of the part
    stand beside those of the model around it.
    """

    def __init__(self, error: ValidationError, model: type[BaseModel], *, inline: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.model = model
        self.inline = inline


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value was written: file, line, column, and the name of the key there."""

    file: str
    line: int | None
    path: str
    column: int | None = None

    def problem(self, message: str, hint: str = "") -> Problem:
        return Problem(file=self.file, line=self.line, column=self.column, path=self.path, message=message, hint=hint)


def load(path: Path | str, model: type[Model]) -> Model:
    """Read and validate one YAML file; relative paths in it start from its folder.

    Raises ConfigError with every problem at once.
    """
    document = read_yaml(path)
    loaded = validate(
        {} if document.data is None else document.data,
        model,
        where=document.origin,
    )
    return anchored(loaded, lambda place: Path(path).parent)


def validate(data: Any, model: type[Model], *, where: Callable[[PathTuple], Origin]) -> Model:
    """Validate plain data strictly; ``where`` tells the origin of the value at a path. Raises ConfigError."""
    try:
        return strictly(data, model)
    except ValidationError as error:
        raise ConfigError(problems_of(error, model, where)) from None


def strictly(data: Any, model: type[Model]) -> Model:
    """Validate with pydantic's strict rules for JSON: a list may become a tuple, text a path, but ``"12"`` no number.

    Raises pydantic.ValidationError.
    """
    return model.model_validate_json(json.dumps(data), strict=True)


def anchored(model: Model, folder_of: Callable[[PathTuple], Path | None]) -> Model:
    """The model with every relative path that was written in a file made to start from that file's folder.

    Done after validation, so that an author of a kind writes ``path: Path`` and need not know of it. Defaults stay as
    they are; so does what ``folder_of`` gives None for. ``~`` is expanded everywhere.
    """
    moved: Model = _anchored(model, folder_of, ())
    return moved


def _anchored(value: Any, folder_of: Callable[[PathTuple], Path | None], place: PathTuple) -> Any:
    if isinstance(value, Path):
        folder = folder_of(place)
        value = value.expanduser()
        return value if folder is None else folder / value
    if isinstance(value, BaseModel):
        named = {name: getattr(value, name) for name in value.model_fields_set}
        moved = {name: _anchored(part, folder_of, (*place, name)) for name, part in named.items()}
        changed = {name: part for name, part in moved.items() if part is not named[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, tuple | list):
        items = [_anchored(part, folder_of, (*place, index)) for index, part in enumerate(value)]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, dict):
        entries = {key: _anchored(part, folder_of, (*place, key)) for key, part in value.items()}
        return value if all(entries[key] is value[key] for key in value) else entries
    return value


def problems_of(error: ValidationError, model: type[BaseModel], where: Callable[[PathTuple], Origin]) -> list[Problem]:
    """Every error of a validation as a Problem, in the order of their lines."""
    found = list(dict.fromkeys(_problems(error, model, where, ())))
    return sorted(found, key=lambda problem: (problem.file, problem.line or 0, problem.column or 0))


def _problems(
    error: ValidationError, model: type[BaseModel], where: Callable[[PathTuple], Origin], prefix: PathTuple
) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        place: PathTuple = (*prefix, *item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, InvalidPart):
            yield from _problems(cause.error, cause.model, where, place[:-1] if cause.inline else place)
            continue
        message, hint = item["msg"], ""
        if isinstance(cause, Invalid):
            message, hint, place = str(cause), cause.hint, (*place, *cause.path)
        elif item["type"] == "extra_forbidden":
            known = sorted(fields_at(model, tuple(item["loc"][:-1])))
            message, hint = "unknown key", did_you_mean(str(item["loc"][-1]), known)
        elif item["type"] == "missing":
            message, hint = "is missing", _description(model, tuple(item["loc"]))
        else:
            message = message.removeprefix("Value error, ").removeprefix("Input ")
            message = f"{message[:1].lower()}{message[1:]}, got {_seen(item['input'], model, tuple(item['loc']))}"
        yield where(place).problem(message, hint)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A remedy for a word that is not in ``known``: the nearest one, or all of them."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known)}" if known else "remove it"


def _seen(value: Any, model: type[BaseModel], place: PathTuple) -> str:
    """The observed value for a message; never a secret, and never a whole section, which may hold one."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    secret = any(part in (SecretStr, SecretBytes) for part in _parts(annotation_at(model, place)))
    if secret or any(_SECRET_NAMES.search(str(step)) for step in place):
        return "a value that is not shown"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:80] + "…"


def _description(model: type[BaseModel], place: PathTuple) -> str:
    name = place[-1] if place else ""
    found = fields_at(model, place[:-1]).get(str(name))
    return f"add it: {found}" if found else "add it"


# ---- looking into models --------------------------------------------------------------------------------------------


def fields_at(model: type[BaseModel], place: PathTuple) -> dict[str, str]:
    """Keys that may stand at ``place`` in ``model``, each with its description."""
    annotation = annotation_at(model, place)
    return {
        name: info.description or ""
        for part in _parts(annotation)
        if isinstance(part, type) and issubclass(part, BaseModel)
        for name, info in part.model_fields.items()
    }


def annotation_at(model: type[BaseModel], place: PathTuple) -> Any:
    """The type, with its Annotated metadata, of what stands at ``place`` in ``model``; None where nothing may stand."""
    here: Any = model
    for step in place:
        here = next((found for part in _parts(here) if (found := _step(part, step)) is not None), None)
        if here is None:
            return None
    return here


def _step(part: Any, step: str | int) -> Any:
    if isinstance(part, type) and issubclass(part, BaseModel):
        info = part.model_fields.get(str(step))
        if info is None:
            return None
        return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    origin, arguments = typing.get_origin(part), typing.get_args(part)
    if origin in (dict, Mapping) and len(arguments) == 2:
        return arguments[1]
    if origin in (list, tuple, set, frozenset, Sequence) and arguments and isinstance(step, int):
        fixed = origin is tuple and Ellipsis not in arguments
        return arguments[step] if fixed and step < len(arguments) else arguments[0]
    return None


def _parts(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, with Annotated and unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _parts(typing.get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for alternative in typing.get_args(annotation):
            yield from _parts(alternative)
    elif annotation is not None:
        yield annotation
