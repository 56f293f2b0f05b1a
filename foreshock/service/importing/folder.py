"""Writes what an import made: a folder that is a whole configuration, with the report. All of it or nothing.

Before the folder gets its name it is read as a start would read it: what is there passes ``foreshock check``.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cmdb_sync.file import FileConfig, FileSource
from foreshock.connect.config import plain_value
from foreshock.core.errors import ConfigError, ForeshockError
from foreshock.service.importing.translation import Fate, Item, Noted, Translation
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import load_settings

SETTINGS, CORRELATION, RULES, TOPOLOGY, SILENCES, REPORT = (
    "foreshock.yaml", "correlation.yaml", "rules/{}.yaml", "topology.yaml", "silences.json", "REPORT.md",
)  # fmt: skip

LARGE_TOPOLOGY = "topology.json"
_MANY_CIS = 2000
"""More are written as JSON, which is read in a moment and may be large."""

_PLAIN = re.compile(r"[A-Za-z0-9_./-][A-Za-z0-9_./:+-]*")


# ---- YAML -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Page:
    """A YAML file that knows on which line each noted entry stands."""

    lines: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def comment(self, text: str, indent: int = 0) -> None:
        self.lines += [f"{' ' * indent}# {_printable(line)}" for line in text.splitlines()]

    def mapping(self, entries: Mapping[str, Any], indent: int = 0) -> None:
        for key, value in entries.items():
            if isinstance(value, Noted):
                self.comment(value.comment, indent)
                self.places[value.key] = len(self.lines) + 1
                value = value.value
            if isinstance(value, dict) and value:
                self.lines.append(f"{' ' * indent}{key}:")
                self.mapping(value, indent + 2)
            elif isinstance(value, list) and value and all(isinstance(entry, Noted) for entry in value):
                self.lines.append(f"{' ' * indent}{key}:")
                self.entries(value, indent + 2)
            else:
                self.lines.append(f"{' ' * indent}{key}: {_flow(value)}")

    def entries(self, entries: Iterable[Noted], indent: int = 0) -> None:
        for entry in entries:
            self.comment(entry.comment, indent)
            self.places[entry.key] = len(self.lines) + 1
            head, *rest = entry.value.items()
            self.lines.append(f"{' ' * indent}- {head[0]}: {_flow(head[1])}")
            self.lines += [f"{' ' * indent}  {key}: {_flow(value)}" for key, value in rest]

    def rows(self, entries: Iterable[Noted], indent: int = 0) -> None:
        """Entries of one line each."""
        for entry in entries:
            self.comment(entry.comment, indent)
            self.places[entry.key] = len(self.lines) + 1
            self.lines.append(f"{' ' * indent}- {_flow(entry.value)}")

    def json_rows(self, entries: Iterable[Noted]) -> None:
        """Entries of one line each, in JSON, which has no comments."""
        for entry in entries:
            self.places[entry.key] = len(self.lines) + 1
            self.lines.append(json.dumps(entry.value, ensure_ascii=False) + ",")
        self.lines[-1] = self.lines[-1].removesuffix(",")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and plain_value(value) == value:
            return value
        if value.isprintable() and ('"' in value or "\\" in value):
            return "'" + value.replace("'", "''") + "'"
        return json.dumps(value, ensure_ascii=not value.isprintable())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(part)}' for key, part in value.items())}}}"
    return json.dumps(value)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)


# ---- files ----------------------------------------------------------------------------------------------------------


def pages(made: Translation) -> tuple[dict[str, str], dict[str, str]]:
    """The files by name, without the report; and by the key of each entry where it stands: ``foreshock.yaml:12``."""
    command = f"foreshock import {made.kind} {' '.join(made.files)}"
    found: dict[str, _Page] = {}

    def page(name: str, *about: str) -> _Page:
        found[name] = _Page()
        found[name].comment("\n".join([f"Written by `{_printable(command)}`.", *about]))
        return found[name]

    correlation = _correlation(made)
    settings = page(
        SETTINGS, "A whole configuration: foreshock check --config foreshock.yaml", f"What it lacks: {REPORT}"
    )
    parts: dict[str, Any] = {}
    if made.rules:
        parts["rules"] = "rules"
        rules = page(RULES.format(made.kind), "foreshock rules check rules/")
        rules.entries(made.rules)
    if made.cis:
        parts["topology"] = name = TOPOLOGY if len(made.cis) <= _MANY_CIS else LARGE_TOPOLOGY
        _topology(made, page(name, f"What {made.title} knows of what there is and what depends on what."))
    if correlation:
        parts["correlation"] = correlation
        alone = page(CORRELATION, "The `correlation` settings of foreshock.yaml, for foreshock rules plan --settings.")
        alone.mapping(correlation)
    if made.maintenance:
        parts["maintenance"] = made.maintenance
    settings.mapping(parts)
    texts = {name: page.text for name, page in found.items()}
    if made.silences:
        texts[SILENCES] = json.dumps(made.silences, indent=1) + "\n"
    places = {
        key: f"{name}:{line}" for name, page in reversed(list(found.items())) for key, line in page.places.items()
    }
    places |= {f"silence {index}": SILENCES for index in range(len(made.silences))}
    return texts, places


def _topology(made: Translation, page: _Page) -> None:
    if len(made.cis) <= _MANY_CIS:
        page.lines += ["version: 1", "cis:"]
        page.rows(made.cis.values(), 2)
        page.lines.append("relationships:" if made.relationships else "relationships: []")
        page.rows(made.relationships.values(), 2)
        return
    page.lines = ['{"version": 1, "cis": [']
    page.json_rows(made.cis.values())
    page.lines.append('], "relationships": [')
    page.json_rows(made.relationships.values())
    page.lines.append("]}")


def _correlation(made: Translation) -> dict[str, Any]:
    tree: dict[str, Any] = {}

    def put(path: str, value: Any) -> None:
        *way, last = path.split(".")
        here = tree
        for step in way:
            here = here.setdefault(step, {})
        here[last] = value

    for path, noted in made.settings.items():
        put(path, noted)
    for path, entries in (
        ("fold.identity", made.identity), ("fold.sources", made.sources), ("suppress.inhibit", made.inhibit),
    ):  # fmt: skip
        if entries:
            put(path, entries)
    return tree


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the report, with where it went as ``file:line``."""

    what: str
    name: str
    file: str
    line: int | None
    fate: Fate
    into: tuple[str, ...]
    note: str


def placed(items: Iterable[Item], places: Mapping[str, str]) -> list[Placed]:
    return [
        Placed(
            what=item.what,
            name=item.name,
            file=item.file,
            line=item.line,
            fate=item.fate,
            into=tuple(dict.fromkeys(places[key] for key in item.into)),
            note=item.note,
        )
        for item in items
    ]


def write(made: Translation, to: Path) -> list[Placed]:
    """Write the folder; what the report says. Raises ForeshockError where it exists, OSError where it cannot be
    written; then nothing is."""
    if to.exists() or to.is_symlink():
        raise ForeshockError(f"{to} exists, and nothing is overwritten", hint="name another folder with --out")
    texts, places = pages(made)
    found = placed(made.items, places)
    texts[REPORT] = report(made, found, texts)
    to.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    try:
        for name, text in texts.items():
            (beside / name).parent.mkdir(exist_ok=True)
            (beside / name).write_text(text, encoding="utf-8")
        _check(beside)
        beside.chmod(0o755)
        beside.rename(to)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return found


def _check(folder: Path) -> None:
    try:
        settings = load_settings(folder / SETTINGS, {}, {})
        load_rules(settings.rules)
        for name in (TOPOLOGY, LARGE_TOPOLOGY):
            if (folder / name).exists():
                FileSource("import", FileConfig(path=folder / name)).fetch()
    except ConfigError as error:
        said = str(error).replace(str(folder), "")
        raise ForeshockError(
            f"what was made does not pass our own check, so nothing was written: {said}", hint="please report this"
        ) from None


# ---- the report -----------------------------------------------------------------------------------------------------


_SECTIONS = (
    (Fate.NOT_TRANSLATED, "Not translated", "Why, and what to do by hand."),
    (Fate.APPROXIMATELY, "Translated approximately", "How what it became differs."),
    (Fate.TRANSLATED, "Translated", ""),
)


def report(made: Translation, found: list[Placed], texts: Mapping[str, str]) -> str:
    counts = {fate: sum(item.fate is fate for item in found) for fate in Fate}
    lines = [
        f"# Import from {made.title}",
        "",
        f"Read: {', '.join(map(_code, made.files))}. {len(found)} items: {counts[Fate.TRANSLATED]} translated, "
        f"{counts[Fate.APPROXIMATELY]} approximately, {counts[Fate.NOT_TRANSLATED]} not translated.",
        "",
        *_use(made, texts),
        *made.beside,
    ]
    for fate, title, about in _SECTIONS:
        chosen = [item for item in found if item.fate is fate]
        if chosen:
            lines += ["", f"## {title}", "", *([about, ""] if about else []), *_listed(chosen)]
    return "\n".join(lines) + "\n"


def _use(made: Translation, texts: Mapping[str, str]) -> Iterator[str]:
    yield "```sh"
    yield "foreshock check --config foreshock.yaml                    # what is here is sound"
    changes = [f"--settings {CORRELATION}"] if CORRELATION in texts else []
    changes += ["--rules rules/"] if made.rules else []
    changes += [f"--topology {name}" for name in (TOPOLOGY, LARGE_TOPOLOGY) if name in texts]
    if changes:
        yield f"foreshock rules plan --since 7d {' '.join(changes)}"
    if SILENCES in texts:
        yield f"foreshock silence import {SILENCES}"
    yield "foreshock run --config foreshock.yaml                      # or copy what you want into your own"
    yield "```"


def _listed(items: Iterable[Placed]) -> Iterator[str]:
    for item in items:
        place = item.file if item.line is None else f"{item.file}:{item.line}"
        into = f" → {', '.join(map(_code, item.into))}" if item.into else ""
        note = f": {_escaped(item.note)}" if item.note else ""
        yield f"- {item.what} {_code(item.name)} ({_escaped(place)}){into}{note}"


def _code(text: str) -> str:
    """Text of a stranger inside Markdown, as it is."""
    text = _printable(text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if fence != "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else "(without a name)"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", _printable(text))
