"""Exports of Zabbix's configuration (YAML, XML or JSON), and its maintenances as ``maintenance.get`` answers.

Facts:   https://www.zabbix.com/documentation/6.0/en/manual/xml_export_import and 7.0, and the reference of the API's
         maintenance object, read 2026-11-22; tried with Zabbix 6.0.14. What templates bring is not repeated in the
         export of a host, so hosts and their templates belong into one import.
Labels:  what Zabbix tells of comes with `job`, `host` (the technical name), `alertname` (the trigger's name without
         macros expanded) and the event's tags; see docs/migrating.md.
Limits:  XML of 64 MiB, YAML and JSON of 2 MiB. A document type declaration is refused: nothing is fetched or expanded.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec
from msgspec import Struct

from foreshock.connect.config import MAX_BYTES, Origin, PathTuple, path_text, read_text, read_yaml
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.matchers import Matcher
from foreshock.service.importing.circles import ordered
from foreshock.service.importing.reading import Node, listed, root, unplaced
from foreshock.service.importing.recurring import length
from foreshock.service.importing.translation import (
    MAX_INHIBIT,
    TOO_MANY_RULES,
    Fate,
    Importer,
    Item,
    Refused,
    Translation,
    any_of,
    literal,
)

JOB = "zabbix"
MAX_XML_BYTES = 64 * 2**20
_MAX_DEPTH, _MAX_ELEMENTS = 64, 3_000_000
_ONCE = "30d"
"""Zabbix tells of a problem once, and of its end."""
_MAX_EXPRESSION = 3500


# ---- files ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Element:
    """An element of XML while it is read, and where it stands."""

    tag: str
    line: int
    text: str = ""
    children: "list[_Element]" = field(default_factory=list)


class _Refused(Exception):
    def __init__(self, line: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.line, self.hint = line, hint


def _xml(text: str, file: str) -> Node:
    parser = expat.ParserCreate()
    top = _Element("", 1)
    stack = [top]
    count = 0

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal count
        count += 1
        line = parser.CurrentLineNumber
        if len(stack) > _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise _Refused(line, f"is nested deeper than {_MAX_DEPTH} levels, or has too many elements", "")
        element = _Element(tag, line)
        stack[-1].children.append(element)
        stack.append(element)

    def end(tag: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        stack[-1].text += data

    def doctype(*_: object) -> None:
        line = parser.CurrentLineNumber
        raise _Refused(line, "has a document type declaration", "remove it: an export of Zabbix has none")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    parser.buffer_text = True
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        said = expat.errors.messages.get(error.code, str(error.code))
        raise ConfigError(
            [Problem(file=file, line=error.lineno, path="", message=f"is not XML: {said}", hint="export it anew")]
        ) from None
    except _Refused as error:
        raise ConfigError([Problem(file=file, line=error.line, path="", message=str(error), hint=error.hint)]) from None
    value, lines = _plain(top)

    def origin(path: PathTuple) -> Origin:
        here = lines
        for step in path:
            if step not in here[1]:
                break
            here = here[1][step]
        return Origin(file=file, line=here[0], path=path_text(path))

    return root(value, origin)


_Lines = tuple[int, dict[str | int, Any]]


def _plain(element: _Element) -> tuple[Any, _Lines]:
    """The same data as YAML would have, and the lines of it."""
    if not element.children:
        return element.text.strip() or None, (element.line, {})
    made = [(child.tag, *_plain(child)) for child in element.children]
    if all(_plural(child.tag) == element.tag for child in element.children):
        return [value for _, value, _ in made], (
            element.line,
            {index: inner for index, (_, _, inner) in enumerate(made)},
        )
    return {tag: value for tag, value, _ in made}, (element.line, {tag: inner for tag, _, inner in made})


def _plural(tag: str) -> str:
    return f"{tag[:-1]}ies" if tag.endswith("y") else f"{tag}s"


def _load(path: Path) -> Node:
    try:
        with path.open("rb") as stream:
            begin = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        size = path.stat().st_size
    except OSError:
        begin, size = b"", 0  # what is wrong with it is said below
    if begin.startswith(b"<"):
        return _xml(read_text(path, max_bytes=MAX_XML_BYTES), str(path))
    if size > MAX_BYTES:
        message = f"has {size} bytes, YAML and JSON are read up to {MAX_BYTES}"
        hint = "export it as XML, or fewer hosts at a time: several files may be named"
        raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])
    document = read_yaml(path)
    return root(document.data, document.origin)


# ---- what is read ---------------------------------------------------------------------------------------------------


class Reference(Struct, frozen=True, kw_only=True):
    """A trigger as a dependency names it. places: hosts and templates in its expression."""

    node: Node
    name: str
    places: tuple[str, ...]


class Trigger(Struct, frozen=True, kw_only=True):
    """tags: values by name, those of the items in its expression too."""

    node: Node
    name: str
    places: tuple[str, ...]
    expression: str
    tags: Mapping[str, str]
    disabled: bool
    needs: tuple[Reference, ...]


class Host(Struct, frozen=True, kw_only=True):
    node: Node
    name: str
    visible: str
    addresses: tuple[str, ...]
    templates: tuple[str, ...]
    groups: tuple[str, ...]
    disabled: bool


class Link(Struct, frozen=True, kw_only=True):
    """Two hosts that a map connects."""

    node: Node
    one: str
    other: str


class Maintenance(Struct, frozen=True, kw_only=True):
    node: Node
    name: str
    comment: str
    since: datetime
    till: datetime
    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    collects: bool
    tags: bool
    periods: tuple[Node, ...]


@dataclass(slots=True, kw_only=True)
class Config:
    files: tuple[str, ...]
    hosts: dict[str, Host] = field(default_factory=dict)
    templates: dict[str, tuple[Node, tuple[str, ...]]] = field(default_factory=dict)
    """By technical name, with the templates they have themselves."""
    groups: list[Node] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    maps: list[Node] = field(default_factory=list)
    items: dict[str, list[tuple[str, Mapping[str, str]]]] = field(default_factory=dict)
    """By host or template, the keys and tags of the items that have tags."""
    left: dict[tuple[str, str], tuple[Node, int]] = field(default_factory=dict)
    """What else there is, by the kind of thing it stands in and its key: the first place, and how many times."""
    maintenances: list[Maintenance] = field(default_factory=list)


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLACE = re.compile(r"(?<![^(,\s])/([^/\n]+)/[A-Za-z]")
_OLD_PLACE = re.compile(r"\{([^{}$#:][^{}:]*):[A-Za-z]")


def places(expression: str) -> tuple[str, ...]:
    """Hosts and templates in a trigger's expression, as it is written since 5.4 and before."""
    bare = _QUOTED.sub('""', expression)
    found = _PLACE.findall(bare) or _OLD_PLACE.findall(expression)
    return tuple(dict.fromkeys(name.strip() for name in found))


def read(paths: Sequence[Path], maintenances: str | None) -> Config:
    config = Config(files=(*map(str, paths), *([maintenances] if maintenances else [])))
    problems: list[Problem] = []
    for path in paths:
        try:
            _Reading(config).take(_load(path))
        except ConfigError as error:
            problems += error.problems
    if maintenances:
        try:
            config.maintenances = _maintenances(maintenances)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    config.triggers = [msgspec.structs.replace(one, tags=_all_tags(one, config)) for one in config.triggers]
    return config


def _all_tags(trigger: Trigger, config: Config) -> dict[str, str]:
    """Events have the tags of the items in the expression, wherever the trigger stands in the file."""
    found: dict[str, str] = {}
    for place in trigger.places:
        for key, tags in config.items.get(place, ()):
            _, _, after = trigger.expression.partition(f"/{place}/{key}")
            if after.startswith((")", ",")):
                found.update(tags)
    return {**found, **trigger.tags}


class _Reading:
    def __init__(self, config: Config) -> None:
        self._config = config

    def take(self, node: Node) -> None:
        top = node.take("zabbix_export") if isinstance(node.value, dict) else None
        if top is None:
            node.wrong("holds no `zabbix_export`", "name what Zabbix wrote at Data collection, Hosts, Export")
            node.finish()
            return
        top.text("version")
        for key in ("groups", "host_groups", "template_groups"):
            for entry in top.items(key):
                entry.text("name")
                self._config.groups.append(entry)
                self._rest("group", entry)
        for entry in top.items("templates"):
            visible = entry.text("name")
            name = entry.text("template") or visible
            self._config.templates[name] = (entry, self._names(entry, "templates"))
            self._names(entry, "groups")
            self._triggers(entry, name)
            self._rest("template", entry)
        for entry in top.items("hosts"):
            self._host(entry)
        for entry in top.items("triggers"):
            self._trigger(entry, "")
        for entry in top.items("maps"):
            self._map(entry)
        self._rest("export", top)
        node.finish()

    def _host(self, entry: Node) -> None:
        name = entry.text("host")
        if not name:
            entry.wrong("has no host name", "export it anew")
            return
        addresses = []
        for interface in entry.items("interfaces"):
            by_dns = interface.text("useip").upper() in ("NO", "0")
            addresses += [interface.text("dns")] if by_dns else [interface.text("ip", "127.0.0.1")]
            self._rest("interface", interface)
        self._config.hosts[name] = Host(
            node=entry, name=name, visible=entry.text("name"), addresses=tuple(filter(None, addresses)),
            templates=self._names(entry, "templates"), groups=self._names(entry, "groups"),
            disabled=entry.text("status").upper() in ("DISABLED", "1"),
        )  # fmt: skip
        self._triggers(entry, name)
        self._rest("host", entry)

    def _names(self, entry: Node, key: str) -> tuple[str, ...]:
        return tuple(inner.text("name") for inner in entry.items(key))

    def _triggers(self, entry: Node, place: str) -> None:
        """Triggers of items, discovery rules and what is in them, at any depth."""
        for key in ("items", "item_prototypes", "discovery_rules", "discovery_prototypes"):
            for inner in entry.items(key) if key in entry else ():
                if tags := self._tags(inner):
                    self._config.items.setdefault(place, []).append((inner.text("key"), tags))
                self._triggers(inner, place)
                self._count(key.removesuffix("s").replace("_", " "), inner)
        for key in ("triggers", "trigger_prototypes"):
            for inner in entry.items(key) if key in entry else ():
                self._trigger(inner, place)

    def _tags(self, entry: Node) -> dict[str, str]:
        return {tag.text("tag"): tag.text("value") for tag in entry.items("tags")} if "tags" in entry else {}

    def _trigger(self, entry: Node, place: str) -> None:
        expression = entry.text("expression")
        found = places(expression) or ((place,) if place else ())
        self._config.triggers.append(
            Trigger(
                node=entry, name=entry.text("name") or entry.text("description"), places=found,
                expression=expression, tags=self._tags(entry),
                disabled=entry.text("status").upper() in ("DISABLED", "1"),
                needs=tuple(self._reference(one, found) for one in entry.items("dependencies")),
            )
        )  # fmt: skip
        self._rest("trigger", entry)

    def _reference(self, entry: Node, default: tuple[str, ...]) -> Reference:
        entry.text("recovery_expression")
        return Reference(node=entry, name=entry.text("name"), places=places(entry.text("expression")) or default)

    def _map(self, entry: Node) -> None:
        entry.text("name")
        self._config.maps.append(entry)
        hosts: dict[str, str] = {}
        for element in entry.items("selements"):
            key, inner = element.text("selementid"), element.items("elements")
            if element.text("elementtype", "0").upper() in ("0", "HOST") and inner:
                hosts[key] = inner[0].text("host")
        for link in entry.items("links"):
            ends = [hosts.get(link.text(f"selementid{number}"), "") for number in (1, 2)]
            if all(ends):
                self._config.links.append(Link(node=link, one=ends[0], other=ends[1]))
        self._rest("map", entry)

    def _rest(self, kind: str, entry: Node) -> None:
        for key, node in entry.left():
            if key != "uuid":
                before = self._config.left.get((kind, key), (node, 0))
                self._config.left[kind, key] = (before[0], before[1] + 1)

    def _count(self, kind: str, node: Node) -> None:
        before = self._config.left.get(("", kind), (node, 0))
        self._config.left["", kind] = (before[0], before[1] + 1)


# ---- maintenances ----


def _maintenances(file: str) -> list[Maintenance]:
    text = read_text(file, max_bytes=MAX_XML_BYTES)
    try:
        data = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        message, hint = f"is not JSON: {error}", "name the answer of maintenance.get"
        raise ConfigError([Problem(file=file, line=None, path="", message=message, hint=hint)]) from None
    top = root(data.get("result", data) if isinstance(data, dict) else data, unplaced(file))
    found = []
    for entry in top.entries():
        times = [_epoch(entry, key) for key in ("active_since", "active_till")]
        groups = [*entry.items("groups"), *entry.items("hostgroups")]
        found.append(
            Maintenance(
                node=entry, name=entry.text("name"), comment=entry.text("description"), since=times[0], till=times[1],
                hosts=tuple(one.text("host") or one.text("name") for one in entry.items("hosts")),
                groups=tuple(one.text("name") for one in groups),
                collects=entry.text("maintenance_type", "0") == "0", tags=bool(entry.items("tags")),
                periods=tuple(entry.items("timeperiods")),
            )
        )  # fmt: skip
        if "timeperiods" not in entry:
            entry.wrong("has no timeperiods", 'ask with "selectTimeperiods": "extend"')
    top.finish()
    return found


def _epoch(node: Node, key: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(node.text(key)), UTC)
    except (ValueError, OverflowError, OSError):
        node.wrong(f"has no sound {key}", "name the answer of maintenance.get, with all fields")
        return datetime.fromtimestamp(0, UTC)


# ---- what it becomes ------------------------------------------------------------------------------------------------


def translate(config: Config, today: date) -> Translation:
    made = Translation(kind=IMPORTER.kind, title="Zabbix", files=config.files, beside=_BESIDE)
    estate = _Estate(config)
    _hosts(config, made)
    _dependencies(config, estate, made)
    _links(config, made)
    _identity(config, made)
    key = made.add_source({"source": JOB, "expire_after": _ONCE}, "Zabbix tells of a problem once, and of its end")
    note = f"an alert holds for {_ONCE} unless its end is told"
    _behaviour(config, made, "expiry", Fate.APPROXIMATELY, note, key)
    _behaviour(
        config, made, "severities", Fate.TRANSLATED,
        "Disaster is critical, High major, Average minor, the others what they are called; the media type says so",
    )  # fmt: skip
    for maintenance in config.maintenances:
        _maintenance(maintenance, estate, made, today)
    _rest(config, estate, made)
    return made


def _behaviour(config: Config, made: Translation, name: str, fate: Fate, note: str, *into: str) -> None:
    made.items.append(
        Item(what="behaviour", name=name, file=config.files[0], line=None, fate=fate, into=into, note=note)
    )


def _from(node: Node) -> str:
    return f"{node.file}:{node.line} {node.name}" if node.line else f"{node.file} {node.name}"


class _Estate:
    """Which hosts have which templates."""

    def __init__(self, config: Config) -> None:
        self.hosts, self.templates = config.hosts, config.templates
        self._with: dict[str, list[str]] = {}
        for host in config.hosts.values():
            for template in self._above(host.templates):
                self._with.setdefault(template, []).append(host.name)
        self.of_group: dict[str, list[str]] = {}
        for host in config.hosts.values():
            for group in host.groups:
                self.of_group.setdefault(group, []).append(host.name)

    def _above(self, names: Sequence[str]) -> dict[str, None]:
        found: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting += self.templates[name][1] if name in self.templates else ()
        return found

    def knows(self, place: str) -> bool:
        return place in self.hosts or self.is_template(place)

    def is_template(self, place: str) -> bool:
        return place not in self.hosts and (place in self.templates or place in self._with)

    def hosts_of(self, wanted: Sequence[str]) -> list[str]:
        """Hosts themselves, and those that have the templates."""
        found: dict[str, None] = {}
        for place in wanted:
            found.update(dict.fromkeys(self._with.get(place, ()) if self.is_template(place) else [place]))
        return list(found)


# ---- topology ----


def _hosts(config: Config, made: Translation) -> None:
    counts = Counter(address for host in config.hosts.values() for address in set(host.addresses))
    for host in config.hosts.values():
        if host.disabled:
            made.tell(host.node, "host", Fate.NOT_TRANSLATED, name=host.name, note="it is disabled")
            continue
        own = [one for one in dict.fromkeys(host.addresses) if counts[one] == 1 and not one.startswith("127.")]
        fields = {"kind": "host", "name": host.visible, "aliases": [one for one in own if one != host.name]}
        try:
            key = made.add_ci(host.name, fields, _from(host.node))
        except Refused as refused:
            made.tell(host.node, "host", Fate.NOT_TRANSLATED, name=host.name, note=str(refused))
            continue
        others = [one for one in host.addresses if one not in own]
        note = f"{listed(others)} is no alias, because it does not name this host alone" if others else ""
        fate = Fate.APPROXIMATELY if note else Fate.TRANSLATED
        made.tell(host.node, "host", fate, name=host.name, into=(key,), note=note)


def _links(config: Config, made: Translation) -> None:
    for link in config.links:
        try:
            key = made.add_relationship(link.one, "connects_to", link.other, _from(link.node))
        except Refused as refused:
            made.tell(link.node, "map link", Fate.NOT_TRANSLATED, note=str(refused))
            continue
        note = f"{link.one} connects to {link.other}: a map shows it; make it depends_on where one needs the other"
        made.tell(link.node, "map link", Fate.APPROXIMATELY, into=(key,), note=note)


# ---- dependencies ----


class _Rule(Struct, frozen=True, kw_only=True):
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    @property
    def pair(self) -> tuple[tuple[Matcher, ...], tuple[Matcher, ...]]:
        return self.source, self.target


class _Need(Struct, frozen=True, kw_only=True):
    """One dependency, with the rule and the relationships that it becomes; or why it becomes none."""

    reference: Reference
    rule: _Rule | None
    ties: tuple[tuple[str, str], ...] = ()
    note: str = ""


def _dependencies(config: Config, estate: _Estate, made: Translation) -> None:
    known = {(trigger.name, trigger.places): trigger for trigger in config.triggers}
    needs = [
        _need(trigger, reference, known.get((reference.name, reference.places)), estate)
        for trigger in config.triggers
        for reference in trigger.needs
    ]
    rules = list(dict.fromkeys(need.rule for need in needs if need.rule is not None))
    keys: dict[_Rule, str] = {}
    why = dict.fromkeys(rules[MAX_INHIBIT:], TOO_MANY_RULES)
    rules = rules[:MAX_INHIBIT]
    found = ordered([rule.pair for rule in rules])
    cut: dict[_Rule, str] = {}
    for index in found.order:
        rule = rules[index]
        if index in found.dead:
            why[rule] = "it is in a circle of dependencies; decide for one way"
            continue
        try:
            texts = ([str(m) for m in rule.source], [str(m) for m in rule.target])
            keys[rule] = made.add_inhibit(rule.name, *texts, rule.equal, "trigger dependency")
        except Refused as refused:
            why[rule] = str(refused)
        if others := found.cut.get(index):
            cut[rule] = f"in a circle with {listed([rules[other].name for other in others], 2)}"
    for need in needs:
        _tell_need(need, keys, why, cut, made)


def _tell_need(
    need: _Need, keys: Mapping[_Rule, str], why: Mapping[_Rule, str], cut: Mapping[_Rule, str], made: Translation
) -> None:
    into, notes = [], [need.note]
    if need.rule is not None and need.rule in keys:
        into.append(keys[need.rule])
        notes.append(cut.get(need.rule, ""))
    elif need.rule is not None:
        notes.append(why[need.rule])
    for dependent, master in need.ties:
        try:
            into.append(made.add_relationship(dependent, "depends_on", master, _from(need.reference.node)))
        except Refused as refused:
            notes.append(str(refused))
    note = "; ".join(dict.fromkeys(filter(None, notes)))
    fate = Fate.NOT_TRANSLATED if not into else Fate.APPROXIMATELY if note else Fate.TRANSLATED
    name = f"{need.reference.node.name} {need.reference.name}"
    made.tell(need.reference.node, "trigger dependency", fate, name=name, into=list(dict.fromkeys(into)), note=note)


_LLD = re.compile(r"\{#[^{}]*\}|\{\{#[^{}]*\}[^{}]*\}")


def _need(trigger: Trigger, reference: Reference, master: Trigger | None, estate: _Estate) -> _Need:
    unknown = [place for place in (*trigger.places, *reference.places) if not estate.knows(place)]
    if not reference.name or not reference.places or not trigger.places:
        return _Need(reference=reference, rule=None, note="it does not say on which host; write the rule by hand")
    if unknown:
        note = f"{listed(list(dict.fromkeys(unknown)))} is not in these files: export it too"
        return _Need(reference=reference, rule=None, note=note)
    shared = set(trigger.places) & set(reference.places) or all(map(estate.is_template, reference.places))
    return (_on_one_host if shared else _across_hosts)(trigger, reference, master, estate)


_PLATFORM = Matcher(name="job", value=JOB)


def _on_one_host(trigger: Trigger, reference: Reference, master: Trigger | None, estate: _Estate) -> _Need:
    equal = ["host"]
    if _LLD.search(reference.name):
        tags = {
            name
            for name, value in trigger.tags.items()
            if _LLD.search(value) and master is not None and master.tags.get(name) == value
        }
        if not tags:
            note = (
                "both are discovered many times on a host, and no tag says which belong together: give both triggers "
            )
            note += "(or their items) a tag such as interface: {#IFNAME}"
            return _Need(reference=reference, rule=None, note=note)
        equal += sorted(tags)
    general = any(map(estate.is_template, trigger.places))
    if general and estate.hosts and not estate.hosts_of(trigger.places):
        return _Need(reference=reference, rule=None, note="no host in these files has its template")
    hosts = () if general else (any_of("host", estate.hosts_of(trigger.places)),)
    rule = _Rule(
        name=f"{trigger.name} depends on {reference.name}",
        source=(_PLATFORM, *hosts, _named(reference.name)),
        target=(_PLATFORM, *hosts, _named(trigger.name)),
        equal=tuple(equal),
    )
    return _Need(reference=reference, rule=rule)


def _across_hosts(trigger: Trigger, reference: Reference, master: Trigger | None, estate: _Estate) -> _Need:
    here, there = estate.hosts_of(trigger.places), estate.hosts_of(reference.places)
    if not here:
        note = "no host in these files has its template: export the hosts too"
        return _Need(reference=reference, rule=None, note=note)
    ties = tuple((one, other) for one in here for other in there if one != other)
    if _LLD.search(reference.name) or sum(len(host) + 2 for host in here) > _MAX_EXPRESSION:
        note = "by topology alone: for a rule there are too many hosts, or it is discovered many times"
        return _Need(reference=reference, rule=None, ties=ties, note=note)
    rule = _Rule(
        name=f"{trigger.name} depends on {reference.name}",
        source=(_PLATFORM, any_of("host", there), _named(reference.name)),
        target=(_PLATFORM, any_of("host", here), _named(trigger.name)),
        equal=(),
    )
    return _Need(reference=reference, rule=rule, ties=ties)


def _named(name: str) -> Matcher:
    """The alertname of a trigger; what discovery puts in stands for anything."""
    if not _LLD.search(name):
        return Matcher(name="alertname", value=name)
    return Matcher(name="alertname", value=".*".join(map(literal, _LLD.split(name))), is_regex=True)


# ---- identity ----

_VALUE = re.compile(r"\{+(?:ITEM\.(?:LAST)?VALUE|EVENT\.|TRIGGER\.VALUE|TIME|DATE)")


def _identity(config: Config, made: Translation) -> None:
    changing = sorted({
        name for trigger in config.triggers for name, value in trigger.tags.items() if _VALUE.search(value)
    })  # fmt: skip
    names = sorted({name for trigger in config.triggers for name in trigger.tags})
    if changing:
        key = made.add_identity({"source": JOB, "without": changing}, "tags whose value changes from event to event")
        note = f"{listed(changing)} hold a value that changes, so they do not identify"
        _behaviour(config, made, "tags", Fate.TRANSLATED, f"tags are labels; {note}", key)
    elif names:
        _behaviour(config, made, "tags", Fate.TRANSLATED, f"tags are labels and identify: {listed(names)}")


# ---- maintenances ----

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY_S = 86_400


def _maintenance(one: Maintenance, estate: _Estate, made: Translation, today: date) -> None:
    hosts = [*one.hosts, *(host for group in one.groups for host in estate.of_group.get(group, ()))]
    unknown = [group for group in one.groups if group not in estate.of_group]
    if one.till.date() < today:
        made.tell(one.node, "maintenance", Fate.NOT_TRANSLATED, name=one.name, note="it is over")
        return
    if one.tags:
        note = "it is about problems with some tags only; plan it by hand"
        made.tell(one.node, "maintenance", Fate.NOT_TRANSLATED, name=one.name, note=note)
        return
    if not hosts:
        note = f"no host of it is in these files{f' ({listed(unknown)})' if unknown else ''}: export them too"
        made.tell(one.node, "maintenance", Fate.NOT_TRANSLATED, name=one.name, note=note)
        return
    matchers = [str(Matcher(name="job", value=JOB)), str(any_of("host", list(dict.fromkeys(hosts))))]
    keys: list[str] = []
    notes = [f"hosts of {listed(unknown)} are not in these files"] if unknown else []
    for period in one.periods:
        plan = _plan(period, one)
        if plan is None:
            notes.append(f"{period.name} cannot be expressed; plan it by hand")
            continue
        entry = {
            "title": f"Zabbix: {one.name}"[:200], "comment": (one.comment or f"from {one.node.file}")[:2000],
            "matchers": matchers, **plan,
        }  # fmt: skip
        try:
            keys.append(made.add_window(f"zabbix-{one.name}", entry, _from(one.node)))
        except Refused as refused:
            notes.append(str(refused))
    notes += ["times are those of the server: put its time zone into `time_zone`"] if keys else []
    fate = Fate.APPROXIMATELY if keys else Fate.NOT_TRANSLATED
    made.tell(one.node, "maintenance", fate, name=one.name, into=keys, note="; ".join(notes))


def _plan(period: Node, one: Maintenance) -> dict[str, Any] | None:
    """Raises nothing: None for a period that a window cannot have."""
    try:
        kind, every, days, day, months, at_s, for_s, on = (
            int(period.text(key) or "0")
            for key in ("timeperiod_type", "every", "dayofweek", "day", "month", "start_time", "period", "start_date")
        )
        minutes = max(1, for_s // 60)
        if kind == 0:
            begin = datetime.fromtimestamp(on, UTC)
            return {"starts": f"{begin:%Y-%m-%d %H:%M}", "length": length(minutes), "time_zone": "UTC"}
        begin = datetime.combine(one.since.date(), datetime.min.time(), UTC) + timedelta(seconds=at_s % _DAY_S)
    except (ValueError, OverflowError, OSError):
        return None
    fits: Callable[[datetime], bool] = _any_day
    weekdays = [code for bit, code in enumerate(_DAYS) if days & 1 << bit]
    by_month = ",".join(str(month + 1) for month in range(12) if months & 1 << month)
    if kind == 2:
        rule = f"FREQ=DAILY;INTERVAL={max(1, every)}"
    elif kind == 3 and weekdays:
        rule = f"FREQ=WEEKLY;INTERVAL={max(1, every)};BYDAY={','.join(weekdays)}"
        fits = _weekday_in(weekdays)
    elif kind == 4 and by_month and day:
        rule = f"FREQ=MONTHLY;BYMONTH={by_month};BYMONTHDAY={day}"
    elif kind == 4 and by_month and weekdays and 1 <= every <= 5:
        nth = -1 if every == 5 else every
        rule = f"FREQ=MONTHLY;BYMONTH={by_month};BYDAY={','.join(f'{nth}{code}' for code in weekdays)}"
    else:
        return None
    while not fits(begin):
        begin += timedelta(days=1)
    return {
        "starts": f"{begin:%Y-%m-%d %H:%M}", "length": length(minutes),
        "rrule": f"{rule};UNTIL={one.till:%Y%m%dT%H%M%SZ}", "time_zone": "UTC",
    }  # fmt: skip


def _any_day(day: datetime) -> bool:
    return True


def _weekday_in(codes: Sequence[str]) -> Callable[[datetime], bool]:
    return lambda day: _DAYS[day.weekday()] in codes


# ---- the rest -------------------------------------------------------------------------------------------------------

_MEASURES = "what and how Zabbix measures stays with Zabbix"
_REASONS: Mapping[tuple[str, str], str] = {
    **{("", kind): _MEASURES for kind in ("item", "item prototype", "discovery rule", "discovery prototype")},
    **{
        (kind, key): _MEASURES
        for kind in ("host", "template")
        for key in (
            "macros", "valuemaps", "httptests", "proxy", "monitored_by", "proxy_group", "inventory_mode", "inventory",
            "ipmi_authtype", "ipmi_privilege", "ipmi_username", "ipmi_password", "tls_connect", "tls_accept",
            "tls_issuer", "tls_subject", "dashboards", "applications", "wizard_ready", "readme",
        )
    },
    **{(kind, "description"): "to look at in Zabbix" for kind in ("host", "template", "trigger")},
    **{(kind, "tags"): "tags of hosts and templates come with each event, as labels" for kind in ("host", "template")},
    **{
        ("trigger", key): "when a trigger fires and ends stays with Zabbix"
        for key in (
            "recovery_mode", "recovery_expression", "correlation_mode", "correlation_tag", "manual_close", "type",
            "discover",
        )
    },
    **{("trigger", key): "to look at in Zabbix" for key in ("opdata", "event_name", "comments", "url", "url_name")},
    ("trigger", "priority"): "the severity comes with each event",
    ("template", "vendor"): "to look at in Zabbix",
    **{("export", key): "to look at in Zabbix" for key in ("date", "graphs", "images")},
    ("interface", ""): "how a host is reached stays with Zabbix",
    ("map", ""): "how a map is drawn stays with Zabbix",
    ("export", "media_types"): "how people are told is a sink's; the one for Foreshock is in docs/migrating.md",
}  # fmt: skip


def _rest(config: Config, estate: _Estate, made: Translation) -> None:
    for group in config.groups:
        note = "its hosts are known where it is named; a group is no CI, it cannot fail"
        made.tell(group, "group", Fate.TRANSLATED, name=group.text("name"), note=note)
    for name, (node, _) in config.templates.items():
        hosts = estate.hosts_of([name])
        note = f"{len(hosts)} hosts in these files have it; its dependencies hold for them"
        made.tell(node, "template", Fate.TRANSLATED, name=name, note=note)
    for trigger in config.triggers:
        note = "it is disabled" if trigger.disabled else f"its alerts come as {trigger.name!r}"
        name = f"{', '.join(trigger.places)}: {trigger.name}"
        made.tell(trigger.node, "trigger", Fate.TRANSLATED, name=name, note=note)
    for node in config.maps:
        note = "links between hosts are told one by one; the rest is to look at in Zabbix"
        made.tell(node, "map", Fate.APPROXIMATELY, name=node.text("name"), note=note)
    known: dict[tuple[str, str], list[tuple[str, Node, int]]] = {}
    for (kind, key), (node, count) in sorted(config.left.items()):
        reason = _REASONS.get((kind, key)) or _REASONS.get((kind, ""), "")
        if reason:
            known.setdefault((kind, reason), []).append((key, node, count))
        else:
            note = f"this importer does not know it; {count} of them"
            made.tell(node, f"{kind} key", Fate.NOT_TRANSLATED, name=f"{kind} {key}", note=note)
    for (kind, reason), keys in known.items():
        said = ", ".join(f"{key} ({count})" for key, _, count in keys)
        what = f"{kind} keys" if kind else "what is measured"
        made.tell(keys[0][1], what, Fate.NOT_TRANSLATED, name=said, note=reason)


_BESIDE = (
    "",
    "Until you switch over, let Zabbix tell Foreshock by a second media type: docs/migrating.md has it. The rules and",
    "windows here know its alerts by the labels that it sends: `job`, `host`, `alertname` and the event's tags. What",
    "Zabbix itself keeps quiet, by dependencies and maintenances, it tells neither Foreshock nor anybody else.",
)

IMPORTER = Importer(kind="zabbix", title="Zabbix", read=read, translate=translate)
