"""What an import makes of a foreign configuration: our settings, rules, topology and silences, and one item of the
report for each thing of the source. Pure."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from cmdb_sync.file import MAX_TEXT_CHARS
from correlation.settings import IdentityRule, InhibitRule, SourceRule
from foreshock.core.errors import Invalid
from foreshock.core.matchers import Matcher
from foreshock.service.importing.reading import Node
from foreshock.service.maintenance import Entry
from foreshock.service.settings import RuleEntry

MAX_INHIBIT = 200
TOO_MANY_RULES = f"there are {MAX_INHIBIT} inhibition rules already, the most that are allowed; merge some"
_NAME_CHARS = 64


class Fate(StrEnum):
    """What became of an item."""

    NOT_TRANSLATED = "not translated"
    APPROXIMATELY = "approximately"
    TRANSLATED = "translated"


class Item(Struct, frozen=True, kw_only=True):
    """One thing of the source.

    Attributes:
        what: kind of thing: inhibit rule, host, trigger dependency.
        name: what the source calls it. file, line: where it stands there; None where the source has no lines.
        into: keys of the entries that it became (``Translation.add`` gives them).
        note: how what it became differs; or why it became nothing, and what to do by hand.
    """

    what: str
    name: str
    file: str
    line: int | None
    fate: Fate
    into: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of a file that is written, with a comment above it and the key by which the report finds its line."""

    value: Any
    comment: str
    key: str


@dataclass(slots=True, kw_only=True)
class Translation:
    """Grows while an importer reads. files: what is read, as the person named it."""

    kind: str
    title: str
    files: tuple[str, ...]
    items: list[Item] = field(default_factory=list)
    settings: dict[str, Noted] = field(default_factory=dict)
    """Single settings by their path with dots, below ``correlation``."""
    identity: list[Noted] = field(default_factory=list)
    sources: list[Noted] = field(default_factory=list)
    inhibit: list[Noted] = field(default_factory=list)
    maintenance: list[Noted] = field(default_factory=list)
    rules: list[Noted] = field(default_factory=list)
    cis: dict[str, Noted] = field(default_factory=dict)
    """By id without case."""
    relationships: dict[tuple[str, str, str], Noted] = field(default_factory=dict)
    silences: list[dict[str, Any]] = field(default_factory=list)
    beside: tuple[str, ...] = ()
    """Lines of Markdown about running beside the tool."""
    _names: set[str] = field(default_factory=set)

    # ---- the report ----

    def tell(
        self, node: Node, what: str, fate: Fate, *, name: str = "", into: Sequence[str] = (), note: str = ""
    ) -> None:
        self.items.append(
            Item(
                what=what,
                name=name or node.name,
                file=node.file,
                line=node.line,
                fate=fate,
                into=tuple(into),
                note=note,
            )
        )

    def count(self, fate: Fate) -> int:
        return sum(item.fate is fate for item in self.items)

    # ---- what is made; each gives the key for the report, or raises Refused with the reason ----

    def set(self, path: str, value: Any, comment: str) -> str:
        self.settings[path] = Noted(value, comment, f"correlation.{path}")
        return f"correlation.{path}"

    def add_inhibit(
        self, name: str, source: Sequence[str], target: Sequence[str], equal: Sequence[str], comment: str
    ) -> str:
        if len(self.inhibit) >= MAX_INHIBIT:
            raise Refused(TOO_MANY_RULES)
        rule = {
            "name": self.name(name, 100),
            "source_matchers": list(source),
            "target_matchers": list(target),
            "equal": list(equal),
        }
        _check(InhibitRule, rule)
        return _add(self.inhibit, rule, comment, f"inhibit {rule['name']}")

    def add_source(self, rule: Mapping[str, Any], comment: str) -> str:
        """What is special about a source (``fold.sources``)."""
        _check(SourceRule, rule)
        return _add(self.sources, dict(rule), comment, f"source {rule['source']}")

    def add_identity(self, rule: Mapping[str, Any], comment: str) -> str:
        _check(IdentityRule, rule)
        return _add(self.identity, dict(rule), comment, f"identity {len(self.identity)}")

    def add_window(self, name: str, entry: Mapping[str, Any], comment: str) -> str:
        made = {"name": self.name(name), **entry}
        _check(Entry, made)
        return _add(self.maintenance, made, comment, f"maintenance {made['name']}")

    def add_rule(self, name: str, rule: Mapping[str, Any], comment: str) -> str:
        made = {"name": self.name(name), **rule}
        _check(RuleEntry, made)
        return _add(self.rules, made, comment, f"rule {made['name']}")

    def add_ci(self, id: str, fields: Mapping[str, Any], comment: str) -> str:
        """A CI; one that is known gets what it does not have yet."""
        id = ci_id(id)
        made = {"id": id, **{name: cleaned for name, part in fields.items() if (cleaned := _cleaned(part))}}
        known = self.cis.get(id.casefold())
        if known is None:
            self.cis[id.casefold()] = Noted(made, comment, f"ci {id.casefold()}")
        elif known.value["id"] != id:
            raise Refused(f"{id!r} differs from {known.value['id']!r} only by case, which alerts are not told apart by")
        else:
            for name, part in made.items():
                known.value.setdefault(name, part)
        return f"ci {id.casefold()}"

    def add_relationship(self, source: str, type_: str, target: str, comment: str) -> str:
        """Between CIs that are known."""
        source, target = ci_id(source), ci_id(target)
        for end in (source, target):
            known = self.cis.get(end.casefold())
            if known is None or known.value["id"] != end:
                raise Refused(f"{end!r} is no CI here")
        if source == target:
            raise Refused(f"{source!r} would depend on itself")
        key = f"relationship {source} {type_} {target}"
        value = {"source": source, "type": type_, "target": target}
        self.relationships.setdefault((source, type_, target), Noted(value, comment, key))
        return key

    def name(self, wanted: str, most: int = _NAME_CHARS) -> str:
        """A name as settings take it, of which there is one only."""
        strict = most == _NAME_CHARS
        plain = re.sub(r"[^a-z0-9_-]+", "-", wanted.lower()) if strict else wanted
        base = plain.strip("-_ ")[:most].strip("-_ ") or "imported"
        found, number = base, 1
        while found in self._names:
            number += 1
            found = f"{base[: most - len(str(number)) - 1]}-{number}"
        self._names.add(found)
        return found


def any_of(name: str, values: Sequence[str]) -> Matcher:
    """A matcher for a label that has one of these values, of which there is one at least."""
    assert values, "an empty expression would match what has no such label"
    if len(values) == 1:
        return Matcher(name=name, value=values[0])
    return Matcher(name=name, value="|".join(map(literal, values)), is_regex=True)


def literal(text: str) -> str:
    """An expression (RE2) that matches the text and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", text)


_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


class Refused(Exception):
    """Our settings do not take it; says why."""


def ci_id(text: str) -> str:
    """The id of a CI as topology files take it. Raises Refused."""
    id = unicodedata.normalize("NFC", text).strip()
    if not id or not id.isprintable() or len(id) > MAX_TEXT_CHARS:
        raise Refused(f"{text[:40]!r} cannot be the id of a CI")
    return id


def _cleaned(value: Any) -> Any:
    """A value of a CI without what topology files refuse."""
    if isinstance(value, list):
        return [cleaned for part in value if (cleaned := _cleaned(part))]
    if not isinstance(value, str):
        return value
    text = unicodedata.normalize("NFC", value)
    return "".join(one if one.isprintable() else " " for one in text).strip()[:MAX_TEXT_CHARS].strip()


def _check(model: type[BaseModel], value: Mapping[str, Any]) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        said = f"{cause}; {cause.hint}" if isinstance(cause, Invalid) and cause.hint else str(cause or first["msg"])
        raise Refused(f"Foreshock refuses it ({said})") from None


def _add(entries: list[Noted], value: Any, comment: str, key: str) -> str:
    entries.append(Noted(value, comment, key))
    return key


class Importer(Struct, frozen=True, kw_only=True):
    """How the configuration of one tool is read and translated.

    Attributes:
        kind: name of the file that declares it.
        read: reads the files, and if it is named what people asked for (silences, downtimes). Raises ConfigError with
            every problem, with file and line.
        translate: makes our words of what was read; the date is today's, from which recurring windows begin. Pure.
    """

    kind: str
    title: str
    read: Callable[[Sequence[Path], str | None], Any]
    translate: Callable[[Any, date], Translation]
