"""Reads the rules that people write: YAML files with a list of rules, or with one rule.

``python -m foreshock.service.settings_files`` writes the shipped ones and the JSON Schema to ``config/``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from correlation.rule import RuleInstance, shipped
from foreshock.connect.config import Document, Origin, PathTuple, read_yaml, validate
from foreshock.core.errors import ConfigError, Problem
from foreshock.service.settings import RuleEntry, rule_kinds

MAX_FILES = 200
MAX_RULES = 500
_ENDINGS = (".yaml", ".yml")


def load_rules(path: Path | None) -> tuple[RuleInstance, ...]:
    """The shipped rules and those of a file, or of a folder's files in order of their names.

    One named like a shipped rule takes its place. Raises ConfigError with every problem of every file.
    """
    return read_rules(path)[0]


def read_rules(path: Path | None) -> tuple[tuple[RuleInstance, ...], Mapping[str, Origin]]:
    """As ``load_rules``, and by name where each rule of a file stands."""
    written, origins, problems = _read(path) if path is not None else ({}, {}, [])
    if problems:
        raise ConfigError(problems)
    rules = {rule.name: rule for rule in shipped(rule_kinds())} | written
    return tuple(rules[name] for name in sorted(rules)), origins


def written(path: Path | None) -> list[Any]:
    """What the files hold, as plain data in order of their names: what stays the same when only comments change, or
    another version of Foreshock has other defaults. Raises ConfigError."""
    return [] if path is None else [read_yaml(file).data for file in _files(path)]


def stamp(path: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Another one where a file may hold something else: (path, nanoseconds, bytes) of each."""
    if path is None:
        return ()
    try:
        found = [(file, file.stat()) for file in _files(path)]
    except OSError:
        return ()
    return tuple((str(file), at.st_mtime_ns, at.st_size) for file, at in found)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix in _ENDINGS) if path.is_dir() else [path]


def _read(path: Path) -> tuple[dict[str, RuleInstance], dict[str, Origin], list[Problem]]:
    files = _files(path)
    if len(files) > MAX_FILES:
        many = f"holds {len(files)} files, {MAX_FILES} are read"
        return {}, {}, [_whole(path, many, "put several rules into one file")]
    rules: dict[str, RuleInstance] = {}
    first_seen: dict[str, Origin] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            document = read_yaml(file)
        except ConfigError as error:
            problems += error.problems
            continue
        for place, entry, found in _entries(document):
            problems += found
            if entry is None:
                continue
            origin = document.origin((*place, "name"))
            if (before := first_seen.get(entry.name)) is not None:
                message = f"{entry.name!r} is the name of the rule at {before.file}:{before.line} too"
                problems.append(origin.problem(message, "give each rule its own name"))
                continue
            first_seen[entry.name] = origin
            rules[entry.name] = RuleInstance(
                name=entry.name, kind=entry.kind, enabled=entry.enabled, config=entry.config.model_dump(mode="json")
            )
    if len(rules) > MAX_RULES:
        problems.append(_whole(path, f"holds {len(rules)} rules, {MAX_RULES} are allowed", "remove some"))
    return rules, first_seen, problems


def _entries(document: Document) -> list[tuple[PathTuple, RuleEntry | None, list[Problem]]]:
    """Where each rule of a file stands, the rule if it is sound, and what is wrong with it."""
    data = document.data
    if data is None:
        return []
    if not isinstance(data, list | dict):
        return [((), None, [_whole(Path(document.file), "holds no rules", "write a list of rules: `- name: …`")])]
    found: list[tuple[PathTuple, RuleEntry | None, list[Problem]]] = []
    for place, entry in [((), data)] if isinstance(data, dict) else [((index,), one) for index, one in enumerate(data)]:

        def where(inner: PathTuple, place: PathTuple = place) -> Origin:
            return document.origin((*place, *inner))

        try:
            found.append((place, validate(entry, RuleEntry, where=where), []))
        except ConfigError as error:
            found.append((place, None, list(error.problems)))
    return found


def _whole(path: Path, message: str, hint: str) -> Problem:
    return Problem(file=str(path), line=None, path="", message=message, hint=hint)
