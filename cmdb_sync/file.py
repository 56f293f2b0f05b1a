"""CIs and relationships that people or a nightly export keep in files.

Facts:    three shapes, told by the path: a YAML file, a JSON file of the same shape, or a folder with ``nodes.csv``
          (node, type, and optionally name, aliases, owner, criticality, environment, location, contact, retired, and
          what identifies it: serial, uuid, fqdn, ip …; ``id`` may stand for ``node``, and semicolons part several) and
          ``topology.csv`` (source, target, relation). CSV as RFC 4180 has it, UTF-8.
Delivery: the whole every time; equal content gives the same version, whatever its order in the files.
Recovery: files with problems are refused as a whole, each problem with file and line; the topology read before stays.
Limits:   2 MiB of YAML, 64 MiB for each JSON or CSV file. Text is compared in Unicode form C, ids without case.
Needs:    a file that this process may read.
"""

import csv
import functools
import io
import json
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.cmdb import IGNORE
from foreshock.connect.config import (
    MAX_BYTES,
    Document,
    Origin,
    did_you_mean,
    parse_yaml,
    path_text,
    read_text,
    read_yaml,
)
from foreshock.core.cmdb import CmdbConfig, CmdbPage, Identifier, IdType, Item, SourceKind, Tie
from foreshock.core.contracts import Finding, Snapshot
from foreshock.core.errors import ConfigError, Invalid, Problem
from foreshock.core.model import CI, Relationship
from foreshock.core.quantities import Duration
from foreshock.core.topology import DIRECTIONS

FORMAT_VERSION = 1
MAX_TABLE_BYTES = 64 * 2**20
MAX_TEXT_CHARS = 512
MAX_PROBLEMS = 1000
MAX_WARNINGS = 100

TABLES = ("nodes.csv", "topology.csv")
_SETTLED_S = 2.0
"""A file that changed within so many seconds may be changing still."""

CRITICALITY: Mapping[Any, int] = {
    "": 0, None: 0, 0: 0, 1: 1, 2: 2, 3: 3, 4: 4, "0": 0, "1": 1, "2": 2, "3": 3, "4": 4,
    "critical": 1, "high": 2, "medium": 3, "low": 4,
}  # fmt: skip
_CI_KEYS = (
    *("id", "kind", "name", "aliases", "owner", "criticality", "environment"),
    *("identifiers", "location", "contact", "retired"),
)
IDENTIFIERS = tuple(type_.value for type_ in IdType if type_ not in (IdType.RECORD, IdType.KUBERNETES))
"""What a file may identify a CI by."""
_YES, _NO = ("true", "yes", "1"), ("", "false", "no", "0")
_RELATIONSHIP_KEYS = ("source", "type", "target")
_TOP_KEYS = ("version", "cis", "relationships")
# Column of the CSV file: key of the YAML file.
_NODE_COLUMNS = {
    "node": "id",
    "id": "id",
    "type": "kind",
    **{key: key for key in _CI_KEYS[2:] if key != "identifiers"},
    **{type_: type_ for type_ in IDENTIFIERS},
}
_EDGE_COLUMNS = {"source": "source", "target": "target", "relation": "type"}


class FileConfig(CmdbConfig):
    every: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(seconds=1),
        le=timedelta(days=7),
        description="how often is looked whether the files changed",
    )
    max_retire: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="files that would retire a larger share of their CIs are refused until a person allows it: "
        "`foreshock cmdb sync NAME --accept-retire N`; more than elsewhere, because people edit them",
    )
    path: Path = Field(
        description="YAML or JSON file, or a folder with nodes.csv and topology.csv", examples=["topology.yaml"]
    )
    relations: dict[str, str] = Field(
        default_factory=dict,
        description="relationship types of the file in our words, for example {control_flow: calls}; "
        f"{IGNORE} leaves a type out",
    )
    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="CI types of the file in your words, for example {cmdb_ci_db_instance: database}",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="columns of the CSV files that have other names there, ours first: {node: ci_name, relation: kind}",
    )

    @field_validator("columns")
    @classmethod
    def _are_ours(cls, columns: dict[str, str]) -> dict[str, str]:
        known = (*_NODE_COLUMNS, *_EDGE_COLUMNS)
        for ours in columns:
            if ours not in known:
                raise Invalid(f"{ours!r} is no column of ours", hint=f"known: {', '.join(known)}", path=(ours,))
        return columns

    @field_validator("relations")
    @classmethod
    def _are_known(cls, relations: dict[str, str]) -> dict[str, str]:
        known = (*DIRECTIONS, IGNORE)
        for vendor, ours in relations.items():
            if ours not in known:
                raise Invalid(f"{ours!r} is not a relationship type", hint=f"known: {', '.join(known)}", path=(vendor,))
        return relations


class FileSource:
    """Raises ConfigError with every problem of the files."""

    def __init__(self, name: str, config: FileConfig) -> None:
        self._config = config

    def fetch(self) -> Snapshot:
        return _Reading(self._config, _open(self._config.path, self._config.columns)).snapshot()

    def page(self, cursor: str, mark: str) -> CmdbPage:
        stamp = self.stamp()
        if mark and stamp == mark:
            return CmdbPage(mark=mark)
        reading = _Reading(self._config, _open(self._config.path, self._config.columns))
        items, relationships, warnings = reading.read()
        return CmdbPage(
            items=items,
            ties=[Tie(source=one.source, type=one.type, target=one.target) for one in relationships],
            mark=stamp,
            whole=True,
            expected=len(items) + len(relationships),
            problems=warnings,
        )

    def check(self) -> list[Finding]:
        try:
            read = self.fetch()
        except ConfigError as error:
            return [
                Finding(subject="file", observed=str(problem), remedy=problem.hint or "mend it there")
                for problem in error.problems
            ]
        return [
            Finding(subject="file", observed=f"holds {len(read.cis)} CIs and {len(read.relationships)} relationships")
        ]

    def stamp(self) -> str:
        """Another one whenever the files may hold something else than before; empty where that cannot be told."""
        path = self._config.path
        try:
            found = [file.stat() for file in ([path / name for name in TABLES] if path.is_dir() else [path])]
        except OSError:
            return ""
        # A file can change twice within one tick of the clock that dates it, and keep its size (as git says: racy).
        if time.time() - max(max(one.st_mtime, one.st_ctime) for one in found) < _SETTLED_S:
            return ""
        return " ".join(f"{one.st_ino}:{one.st_size}:{one.st_mtime_ns}:{one.st_ctime_ns}" for one in found)


# ---- the three shapes, as two tables --------------------------------------------------------------------------------


class _Table(Struct, frozen=True):
    """Rows by our keys, untouched otherwise. where: origin of a key in a row by its index; "" stands for the row."""

    rows: list[dict[str, Any]]
    where: Callable[[int, str], Origin]


class _Content(Struct, frozen=True, kw_only=True):
    """What the files hold, and what is already known to be wrong or odd about their shape."""

    cis: _Table
    relationships: _Table
    problems: list[Problem]
    warnings: list[str]


def _open(path: Path, renamed: Mapping[str, str]) -> _Content:
    if path.is_dir():
        return _csv_content(path, renamed)
    if path.suffix == ".json":
        return _document_content(*_read_json(path))
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(path)
        return _document_content(document.data, document.origin)
    hint = "name a file that ends in .yaml, .yml or .json, or a folder with nodes.csv and topology.csv"
    what = "is neither YAML nor JSON by its name" if path.exists() else "does not exist"
    raise ConfigError([Problem(file=str(path), line=None, path="", message=what, hint=hint)])


def _read_json(path: Path) -> tuple[Any, Callable[[tuple[str | int, ...]], Origin]]:
    text = read_text(path, max_bytes=MAX_TABLE_BYTES)
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    @functools.cache
    def document() -> Document | None:
        # JSON is YAML 1.2, whose reader knows lines but needs seconds: worth it only once there is a problem to place.
        try:
            return parse_yaml(text, file=str(path)) if len(text) <= MAX_BYTES else None
        except ConfigError:
            if twice:
                raise
            return None

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        at = Origin(file=str(path), line=error.lineno, column=error.colno, path="")
        raise ConfigError([at.problem(f"is not JSON: {error.msg}")]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([Problem(file=str(path), line=None, path="", message=f"is not JSON: {error}")]) from None
    if twice:
        document()
        problems = [
            Problem(
                file=str(path), line=None, path=key, message="the key stands twice in one object", hint="remove one"
            )
            for key in twice
        ]
        raise ConfigError(problems)

    def origin(place: tuple[str | int, ...]) -> Origin:
        found = document()
        return Origin(file=str(path), line=None, path=path_text(place)) if found is None else found.origin(place)

    return data, origin


def _document_content(data: Any, origin: Callable[[tuple[str | int, ...]], Origin]) -> _Content:
    problems: list[Problem] = []

    def report(place: tuple[str | int, ...], message: str, hint: str = "") -> None:
        problems.append(origin(place).problem(message, hint))

    def table(name: str, keys: tuple[str, ...]) -> _Table:
        listed = data.get(name)
        if listed is not None and not isinstance(listed, list):
            report((name,), "must be a list", f"begin each entry with `- {keys[0]}:`")
        rows: list[dict[str, Any]] = []
        for index, row in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(row, dict):
                report((name, index), "must be a mapping", f"begin it with `{keys[0]}:`")
                row = {}
            for key in sorted(row.keys() - set(keys)):
                report((name, index, key), "unknown key", did_you_mean(key, keys))
            rows.append(row)
        return _Table(rows, lambda index, key: origin((name, index, key) if key else (name, index)))

    if not isinstance(data, dict):
        report((), "must be a mapping", "write `cis:` and `relationships:`, each with a list")
        raise ConfigError(problems)
    for key in sorted(data.keys() - set(_TOP_KEYS)):
        report((key,), "unknown key", did_you_mean(key, _TOP_KEYS))
    version = data.get("version", FORMAT_VERSION)
    if version != FORMAT_VERSION or isinstance(version, bool):
        report(("version",), f"{_seen(version)} is not a version that is known here", f"write {FORMAT_VERSION}")
    return _Content(
        cis=table("cis", _CI_KEYS),
        relationships=table("relationships", _RELATIONSHIP_KEYS),
        problems=problems,
        warnings=[],
    )


def _csv_content(folder: Path, renamed: Mapping[str, str]) -> _Content:
    problems: list[Problem] = []
    warnings: list[str] = []
    tables = []
    for name, columns, needed in (
        (TABLES[0], _NODE_COLUMNS, ("id", "kind")),
        (TABLES[1], _EDGE_COLUMNS, ("source", "target", "type")),
    ):
        try:
            theirs = {renamed.get(column, column).lower(): key for column, key in columns.items()}
            tables.append(_read_csv(folder / name, theirs, needed, warnings))
        except ConfigError as error:
            problems.extend(error.problems)
    if len(tables) < 2:
        # Half a topology would make every endpoint of the other half look unknown.
        raise ConfigError(problems)
    for row in tables[0].rows:
        row["aliases"] = [alias for alias in row.get("aliases", "").split(";") if alias.strip()]
        row["identifiers"] = {
            type_: [value for value in row[type_].split(";") if value.strip()] for type_ in IDENTIFIERS if type_ in row
        }
    return _Content(cis=tables[0], relationships=tables[1], problems=problems, warnings=warnings)


def _read_csv(path: Path, columns: Mapping[str, str], needed: Iterable[str], warnings: list[str]) -> _Table:
    # newline="" keeps line breaks inside quotes as they are, which the csv module asks for.
    reader = csv.reader(io.StringIO(read_text(path, max_bytes=MAX_TABLE_BYTES), newline=""), strict=True)
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    header: list[str] = []
    keys: list[str] = []
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        keys = [columns.get(column, "") for column in header]
        absent = [column for column, key in columns.items() if key in needed and key not in keys and column != "id"]
        if absent:
            hint = f"the first line must name the columns {','.join(column for column in columns if column != 'id')}"
            if any(";" in column for column in header):
                hint = "separate the columns with commas"
            problems.append(
                Problem(file=str(path), line=1, path="", message=f"has no column {', '.join(absent)}", hint=hint)
            )
        for key, count in Counter(keys).items():
            if key and count > 1:
                problems.append(Problem(file=str(path), line=1, path=key, message="has this column twice"))
        extra = [column for column, key in zip(header, keys, strict=True) if not key]
        if extra:
            warnings.append(f"{path}: columns that are not read ({len(extra)}): {', '.join(map(repr, extra[:10]))}")
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(keys):
                rows.append(dict(zip(keys, cells, strict=True)))
                lines.append(line)
            elif cells:
                message = f"has {len(cells)} cells, the first line has {len(keys)}"
                problems.append(Problem(file=str(path), line=line, path="", message=message))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(file=str(path), line=reader.line_num, path="", message=f"is not CSV: {error}"))
    if problems:
        raise ConfigError(problems[:MAX_PROBLEMS])
    names = dict(zip(keys, header, strict=True))
    return _Table(
        rows, lambda index, key: Origin(file=str(path), line=lines[index], path=names.get(key, "") if key else "")
    )


# ---- from rows to a topology ----------------------------------------------------------------------------------------


class _Reading:
    """One reading of the tables. Everything is looked at before anything is refused."""

    def __init__(self, config: FileConfig, content: _Content) -> None:
        self._config = config
        self._content = content
        self._problems = list(content.problems)
        self._warnings = list(content.warnings)
        self._repeated = 0
        self._cis: dict[str, CI] = {}
        self._items: dict[str, Item] = {}
        self._rows: dict[str, int] = {}
        self._folded: dict[str, str] = {}

    def read(self) -> tuple[list[Item], list[Relationship], tuple[str, ...]]:
        """All that stands there, sorted, and what was odd. Raises ConfigError with all problems."""
        for index, row in enumerate(self._content.cis.rows):
            self._add_ci(index, row)
        relationships = self._relationships()
        self._warn_of_shared_aliases()
        if self._problems:
            raise ConfigError(_bounded_problems(self._problems))
        ordered = sorted(relationships, key=lambda one: (one.source, one.target, one.type))
        items = sorted(self._items.values(), key=lambda item: item.id)
        return items, ordered, _bounded_warnings([*self._warnings, *self._repeats()])

    def snapshot(self) -> Snapshot:
        """What is in use, as a topology by itself."""
        items, relationships, warnings = self.read()
        cis = tuple(self._cis[item.id] for item in items if not item.retired)
        used = {ci.id for ci in cis}
        ties = tuple(one for one in relationships if one.source in used and one.target in used)
        return Snapshot(
            version=blake2b(msgspec.json.encode([cis, ties]), digest_size=6).hexdigest(),
            cis=cis,
            relationships=ties,
            warnings=warnings,
        )

    def _add_ci(self, index: int, row: dict[str, Any]) -> None:
        table = self._content.cis
        id_ = self._text(table, index, "id", required=True)
        kind = self._text(table, index, "kind")
        ci = CI(
            id=id_,
            kind=self._config.kinds.get(kind, kind) or "generic",
            name=self._text(table, index, "name"),
            aliases=self._aliases(index, row.get("aliases"), id_),
            owner=self._text(table, index, "owner"),
            criticality=self._criticality(index, row.get("criticality", 0)),
            environment=self._text(table, index, "environment"),
        )
        item = Item(
            id=id_,
            name=ci.name,
            kind=ci.kind,
            handle=id_,
            identifiers=self._identifiers(index, row.get("identifiers")),
            aliases=ci.aliases,
            owner=ci.owner,
            contact=self._text(table, index, "contact"),
            environment=ci.environment,
            criticality=ci.criticality,
            location=self._text(table, index, "location"),
            retired=self._flag(index, row.get("retired")),
        )
        if not id_:
            return
        # Labels are bound to CIs without regard to case, so two ids that differ only so could never be told apart.
        other = self._folded.setdefault(id_.casefold(), id_)
        if self._items.get(id_) == item:
            self._repeated += 1
            return
        if id_ in self._cis or other != id_:
            first = table.where(self._rows[other], "id").line
            same = "stands here twice" if other == id_ else f"differs from {other!r} only by case"
            message = f"id {id_!r} {same}" + (f", first on line {first}" if first else "")
            self._report(table, index, "id", message, "keep one of them")
            return
        self._cis[id_], self._items[id_] = ci, item
        self._rows[id_] = index

    def _repeats(self) -> tuple[str, ...]:
        return (f"{self._repeated} CIs stand there more than once, with equal values",) if self._repeated else ()

    def _relationships(self) -> set[Relationship]:
        table = self._content.relationships
        found: dict[tuple[str, str, str], Relationship] = {}
        repeated, ignored = 0, Counter[str]()
        for index in range(len(table.rows)):
            source = self._endpoint(table, index, "source")
            target = self._endpoint(table, index, "target")
            word = self._text(table, index, "type", required=True)
            type_ = self._config.relations.get(word) or word.lower().replace("-", "_").replace(" ", "_")
            if type_ == IGNORE:
                ignored[word] += 1
                continue
            if word and type_ not in DIRECTIONS:
                hint = did_you_mean(type_, tuple(DIRECTIONS))
                known = "" if hint.startswith("known") else f" (known: {', '.join(DIRECTIONS)})"
                self._report(
                    table, index, "type", f"{word!r} is not a relationship type",
                    f"{hint}{known}; or say under `relations` which one it means",
                )  # fmt: skip
            if source and source == target:
                self._warnings.append(f"{_place(table.where(index, ''))}{source!r} {word} itself: left out")
                continue
            key = (source, type_, target)
            repeated += key in found
            found[key] = Relationship(source=source, type=type_, target=target)
        if repeated:
            self._warnings.append(f"{repeated} relationships stand there more than once")
        for word, count in sorted(ignored.items()):
            self._warnings.append(f"{count} relationships of type {word!r} are left out, as `relations` says")
        return set(found.values())

    def _endpoint(self, table: _Table, index: int, key: str) -> str:
        id_ = self._text(table, index, key, required=True)
        if id_ and id_ not in self._cis:
            near = self._folded.get(id_.casefold())
            hint = f"did you mean {near!r}?" if near else "add a CI with this id, or remove the relationship"
            self._report(table, index, key, f"{id_!r} is no CI", hint)
        return id_

    def _aliases(self, index: int, value: Any, id_: str) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self._report(self._content.cis, index, "aliases", f"{_seen(value)} is no list", "write [one, two]")
            return ()
        aliases = {self._clean(self._content.cis, index, "aliases", alias) for alias in value}
        return tuple(sorted(aliases - {"", id_}))

    def _identifiers(self, index: int, value: Any) -> tuple[Identifier, ...]:
        table = self._content.cis
        if value is None:
            return ()
        if not isinstance(value, dict):
            self._report(table, index, "identifiers", f"{_seen(value)} is no mapping", "write {serial: ABC123}")
            return ()
        found: dict[Identifier, None] = {}
        for type_, said in value.items():
            if type_ not in IDENTIFIERS:
                hint = did_you_mean(str(type_), IDENTIFIERS)
                self._report(table, index, "identifiers", f"{_seen(type_)} identifies nothing", hint)
                continue
            for one in said if isinstance(said, list) else [said]:
                if text := self._clean(table, index, "identifiers", one):
                    found[Identifier(IdType(type_), text)] = None
        return tuple(found)

    def _flag(self, index: int, value: Any) -> bool:
        word = str("" if value is None else value).strip().lower()
        if word not in (*_YES, *_NO):
            self._report(self._content.cis, index, "retired", f"{_seen(value)} is neither yes nor no", "write true")
        return word in _YES

    def _criticality(self, index: int, value: Any) -> int:
        word = value.strip().lower() if isinstance(value, str) else value
        known = isinstance(word, str | int | None) and not isinstance(word, bool)
        level = CRITICALITY.get(word) if known else None
        if level is None:
            hint = "write 1 (most) to 4, 0 for unknown, or critical, high, medium, low"
            self._report(self._content.cis, index, "criticality", f"{_seen(value)} is not a criticality", hint)
        return level or 0

    def _text(self, table: _Table, index: int, key: str, *, required: bool = False) -> str:
        value = table.rows[index].get(key)
        text = "" if value is None else self._clean(table, index, key, value)
        if required and (value is None or value == "" or (isinstance(value, str) and not value.strip())):
            self._report(table, index, key, "is missing", f"every row needs {key}")
        return text

    def _clean(self, table: _Table, index: int, key: str, value: Any) -> str:
        """Text in Unicode form C without space around it; a problem and nothing where it is no proper text."""
        if not isinstance(value, str):
            self._report(table, index, key, f"{_seen(value)} is not text", "put it in quotes")
            return ""
        text = value.strip()
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if len(text) > MAX_TEXT_CHARS:
            message = f"has {len(text)} characters, {MAX_TEXT_CHARS} are allowed"
            self._report(table, index, key, message)
            return ""
        if not text.isprintable():
            self._report(table, index, key, f"{_seen(text)} holds a control character", "remove it")
            return ""
        return text

    def _warn_of_shared_aliases(self) -> None:
        """An alias of several CIs stays: a label with that name is then reported as ambiguous, not bound wrongly."""
        claims: defaultdict[str, list[str]] = defaultdict(list)
        for ci in self._cis.values():
            for alias in {alias.casefold() for alias in ci.aliases}:
                claims[alias].append(ci.id)
        for alias, ids in sorted(claims.items()):
            if (named := self._folded.get(alias)) is not None and named not in ids:
                ids = [named, *ids]
            if len(ids) > 1:
                shown = ", ".join(repr(id_) for id_ in sorted(ids)[:5]) + (" …" if len(ids) > 5 else "")
                self._warnings.append(f"alias {alias!r} names {len(ids)} CIs, so it binds to none: {shown}")

    def _report(self, table: _Table, index: int, key: str, message: str, hint: str = "") -> None:
        self._problems.append(table.where(index, key).problem(message, hint))


def _place(origin: Origin) -> str:
    return f"{origin.file}:{origin.line}: " if origin.line else f"{origin.file}: {origin.path}: "


def _seen(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _bounded_problems(problems: list[Problem]) -> list[Problem]:
    problems.sort(key=lambda problem: (problem.file, problem.line or 0, problem.column or 0))
    if len(problems) <= MAX_PROBLEMS:
        return problems
    more = f"… and {len(problems) - MAX_PROBLEMS} more problems"
    return [*problems[:MAX_PROBLEMS], Problem(file=problems[-1].file, line=None, path="", message=more)]


def _bounded_warnings(warnings: list[str]) -> tuple[str, ...]:
    if len(warnings) <= MAX_WARNINGS:
        return tuple(warnings)
    return (*warnings[:MAX_WARNINGS], f"… and {len(warnings) - MAX_WARNINGS} more warnings")


SOURCE = SourceKind(
    kind="file",
    title="CIs and relationships in YAML, JSON or CSV files",
    facts="the format is our own, version 1; CSV as RFC 4180 has it",
    config=FileConfig,
    build=lambda name, config, parts: FileSource(name, config),
    local=True,
)
