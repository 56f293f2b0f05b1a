"""Object files of Nagios, Naemon and Icinga 1, and the downtimes of their status files.

Facts:   Nagios Core 4 manual, "Object Definitions", "Object Inheritance", "Time-Saving Tricks" and "Service and Host
         Dependencies" (https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/), read 2026-11-22; tried
         with nagios4 4.4.6. No kept library reads them: pynag is of 2018 and was written for Python 2.
Labels:  what Nagios tells of comes with `job`, `host` and `alertname`: the service's description, or HostDown; see
         docs/migrating.md.
Limits:  5000 files, 16 MiB each.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import re2
from msgspec import Struct

from foreshock.connect.config import Origin, read_text
from foreshock.core.errors import ConfigError, Invalid, Problem
from foreshock.core.matchers import Matcher
from foreshock.core.quantities import format_duration, read_zone
from foreshock.service.importing.circles import ordered
from foreshock.service.importing.reading import Node, listed, root
from foreshock.service.importing.recurring import DAY_MIN, WEEKDAYS, Pattern, always, clock, outside, windows
from foreshock.service.importing.translation import (
    MAX_INHIBIT,
    TOO_MANY_RULES,
    Fate,
    Importer,
    Item,
    Refused,
    Translation,
    any_of,
)

MAX_FILES = 5000
MAX_BYTES = 16 * 2**20
JOB, HOST_DOWN = "nagios", "HostDown"
_ONCE = timedelta(days=30)
"""What is told once holds as long as this, unless its end is told."""
_LEAST = timedelta(minutes=5)
_DEFAULT_INTERVAL_S = 60
_DEFAULT_RENOTIFY = 30.0

_DEFINE = re.compile(r"define\s+(?P<type>[a-z]+)\s*\{?\s*")
_COMMENT = re.compile(r"(?<!\\);.*")
_ADDITIVE = frozenset({
    "host_name", "hostgroup_name", "dependent_host_name", "dependent_hostgroup_name", "parents", "contact_groups",
    "contacts", "hostgroups", "members", "hostgroup_members", "contactgroup_members", "servicegroups",
    "servicegroup_members", "contactgroups", "servicegroup_name",
})  # fmt: skip
"""Lists that a definition may add to with a +."""
_OLD_NAMES = {
    "host": "host_name", "hosts": "host_name", "master_host": "host_name", "master_host_name": "host_name",
    "hostgroup": "hostgroup_name", "hostgroups_": "hostgroup_name", "dependent_host": "dependent_host_name",
    "dependent_hostgroup": "dependent_hostgroup_name", "dependent_hostgroups": "dependent_hostgroup_name",
    "description": "service_description", "master_description": "service_description",
    "master_service_description": "service_description", "dependent_description": "dependent_service_description",
    "notification_failure_options": "notification_failure_criteria",
    "execution_failure_options": "execution_failure_criteria", "contact_group": "contact_groups",
}  # fmt: skip
_NULL = "null"
_PERIOD_KEYS = frozenset({"timeperiod_name", "alias", "use", "name", "register", "exclude"})
_OLD_TYPES = {"hostdependency", "servicedependency", "service", "hostescalation", "serviceescalation"}


# ---- objects --------------------------------------------------------------------------------------------------------


class Value(Struct, frozen=True):
    text: str
    line: int


@dataclass(slots=True, kw_only=True)
class Object:
    """One definition. values: what it says itself; inherited values are in ``all`` once templates are applied."""

    type: str
    file: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)
    all: dict[str, Value] = field(default_factory=dict)

    @property
    def is_template(self) -> bool:
        return self.values.get("register", Value("1", 0)).text == "0"

    @property
    def name(self) -> str:
        """What people call it."""
        parts = [self.text(key) for key in (f"{self.type}_name", "host_name", "hostgroup_name", "service_description")]
        return " ".join(filter(None, dict.fromkeys(parts))) or self.text("name") or f"{self.type} on line {self.line}"

    def text(self, key: str) -> str:
        found = self.all.get(key)
        return "" if found is None or found.text == _NULL else found.text

    def list(self, key: str) -> list[str]:
        text = self.text(key)
        return _split(text.removeprefix("+") if key in _ADDITIVE else text)

    def problem(self, message: str, hint: str = "", line: int | None = None) -> Problem:
        return Problem(file=self.file, line=line or self.line, path=self.name, message=message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    node: Node
    host: str
    service: str
    starts_at: datetime
    ends_at: datetime
    fixed: bool
    author: str
    comment: str


@dataclass(slots=True, kw_only=True)
class Config:
    files: tuple[str, ...]
    objects: list[Object]
    main: list[tuple[str, dict[str, Value]]]
    """Settings of files that hold no objects, by file."""
    downtimes: list[Downtime]
    others: Mapping[str, int]
    """Other blocks of the status file, and how many."""

    def of(self, type_: str) -> list[Object]:
        return [one for one in self.objects if one.type == type_ and not one.is_template]

    def setting(self, key: str) -> str:
        return next((values[key].text for _, values in self.main if key in values), "")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


# ---- reading --------------------------------------------------------------------------------------------------------


def read(paths: Sequence[Path], status: str | None) -> Config:
    reading = _Reading()
    for path in paths:
        reading.take(path, named=True)
    reading.inherit()
    if not reading.objects and not reading.problems:
        hint = "name nagios.cfg, or the folder with the object files"
        reading.problems.append(
            Problem(file=str(paths[0]), line=None, path="", message="holds no object definitions", hint=hint)
        )
    downtimes, others = _status(status, reading.problems) if status else ([], {})
    if reading.problems:
        raise ConfigError(reading.problems)
    return Config(
        files=(*map(str, paths), *([status] if status else [])),
        objects=reading.objects,
        main=reading.main,
        downtimes=downtimes,
        others=others,
    )


class _Reading:
    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.main: list[tuple[str, dict[str, Value]]] = []
        self.problems: list[Problem] = []
        self._seen: set[Path] = set()

    def take(self, path: Path, *, named: bool = False) -> None:
        """A file, or all object files below a folder."""
        if path.is_dir():
            for found in sorted(path.rglob("*.cfg")):
                self._file(found)
        else:
            self._file(path)

    def _file(self, path: Path) -> None:
        real = path.resolve()
        if real in self._seen:
            return
        self._seen.add(real)
        if len(self._seen) > MAX_FILES:
            if len(self._seen) == MAX_FILES + 1:
                self._wrong(path, None, f"is one file too many, {MAX_FILES} are read", "name a smaller folder")
            return
        try:
            text = read_text(path, max_bytes=MAX_BYTES)
        except ConfigError as error:
            self.problems += error.problems
            return
        lines = list(_lines(text))
        first = next((line for _, line in lines), "")
        if _DEFINE.match(first) or re.match(r"include_(file|dir)=", first):
            self._objects(path, lines)
        else:
            self._settings(path, lines)

    def _settings(self, path: Path, lines: list[tuple[int, str]]) -> None:
        """nagios.cfg, resource.cfg, cgi.cfg: `key=value`."""
        values: dict[str, Value] = {}
        for number, line in lines:
            key, equals, text = line.partition("=")
            if not equals:
                hint = "name nagios.cfg, or the folder with the object files"
                self._wrong(path, number, f"{line[:40]!r} is neither key=value nor `define host {{`", hint)
                return
            values.setdefault(key.strip(), Value(text.strip(), number))
            if key.strip() in ("cfg_file", "cfg_dir"):
                self._include(path, number, text.strip())
        self.main.append((str(path), values))

    def _include(self, path: Path, number: int, text: str) -> None:
        wanted = path.parent / text
        if not wanted.exists():
            hint = "if the files were copied from elsewhere, name the folder they are in instead of nagios.cfg"
            self._wrong(path, number, f"{text!r} does not exist", hint)
            return
        self.take(wanted)

    def _objects(self, path: Path, lines: list[tuple[int, str]]) -> None:
        current: Object | None = None
        for number, line in lines:
            if current is None:
                current = self._begin(path, number, line)
            elif line in ("}", "{"):
                if line == "}":
                    self.objects.append(current)
                    current = None
            elif _DEFINE.match(line):
                self._wrong(path, number, f"the definition of line {current.line} is not closed", "add a line with }")
                self.objects.append(current)
                current = self._begin(path, number, line)
            else:
                self._value(current, number, line)
        if current is not None:
            self._wrong(path, current.line, "the definition is not closed", "add a line with }")

    def _begin(self, path: Path, number: int, line: str) -> Object | None:
        found = _DEFINE.fullmatch(line)
        if found is not None:
            return Object(type=found["type"], file=str(path), line=number)
        key, equals, text = line.partition("=")
        if equals and key.strip() in ("include_file", "include_dir"):
            self._include(path, number, text.strip())
        else:
            self._wrong(path, number, f"{line[:40]!r} stands outside of a definition", "begin it with `define host {`")
        return None

    def _value(self, current: Object, number: int, line: str) -> None:
        key, text = (*line.split(None, 1), "")[:2]
        key = _OLD_NAMES.get(key, key) if current.type in _OLD_TYPES else key
        if current.type == "timeperiod" and key not in _PERIOD_KEYS and not _is_weekly(key, text):
            key, text = line, ""  # days of its own: the whole line tells
        current.values[key] = Value(text.strip(), number)

    def _wrong(self, path: Path, line: int | None, message: str, hint: str) -> None:
        self.problems.append(Problem(file=str(path), line=line, path="", message=message, hint=hint))

    # ---- templates ----

    def inherit(self) -> None:
        templates: dict[tuple[str, str], Object] = {}
        for one in self.objects:
            if (named := one.values.get("name")) is not None:
                templates.setdefault((one.type, named.text), one)  # of two Nagios takes the first, too
        done: set[int] = set()
        for one in self.objects:
            self._apply(one, templates, done, ())

    def _apply(
        self, one: Object, templates: Mapping[tuple[str, str], Object], done: set[int], way: tuple[int, ...]
    ) -> None:
        if id(one) in done:
            return
        done.add(id(one))
        above: list[Object] = []
        used = one.values.get("use")
        line = used.line if used is not None else None
        for name in _split(used.text) if used else ():
            template = templates.get((one.type, name))
            if template is None:
                self.problems.append(one.problem(f"{name!r} is no {one.type} template", "check `use`", line))
            elif template is one or id(template) in way:
                self.problems.append(one.problem(f"{name!r} uses itself", "take it out of `use`", line))
            else:
                self._apply(template, templates, done, (*way, id(one)))
                above.append(template)
        keys = dict.fromkeys([*one.values, *(key for template in above for key in template.all)])
        for key in keys:
            if key in ("name", "register", "use") and key not in one.values:
                continue
            one.all[key] = _merged(key, [held[key] for held in (one.values, *(t.all for t in above)) if key in held])


def _is_weekly(key: str, text: str) -> bool:
    return key in WEEKDAYS and re.match(r"\d\d?:\d\d", text) is not None


def _merged(key: str, values: Sequence[Value]) -> Value:
    """The nearest value; one that begins with + adds what is further away; null ends the search, and is none."""
    chosen: list[str] = []
    for value in values:
        adds = key in _ADDITIVE and value.text.startswith("+")
        chosen.append(value.text[1:] if adds else value.text)
        if not adds:
            break
    else:
        return Value("+" + ",".join(chosen), values[0].line)
    return Value(",".join(text for text in chosen if text != _NULL) or _NULL, values[0].line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their number; those that end with a backslash go on in the next."""
    begun, number = "", 0
    for at, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not begun:
            number = at
            if line.startswith("#"):
                continue
        line = _COMMENT.sub("", begun + line).replace("\\;", ";").strip()
        if line.endswith("\\"):
            begun = line[:-1]
            continue
        begun = ""
        if not line:
            continue
        # A definition may be opened or closed on a line with something else.
        opened = _DEFINE.match(line)
        if opened and opened.end() < len(line):
            yield number, line[: opened.end()].strip()
            line = line[opened.end() :]
        if line.endswith("}") and line != "}" and not _DEFINE.match(line) and "{" not in line:
            yield number, line[:-1].strip()
            line = "}"
        yield number, line
    if begun:
        yield number, begun


# ---- the status file ----


def _status(file: str, problems: list[Problem]) -> tuple[list[Downtime], dict[str, int]]:
    """Downtimes of status.dat or retention.dat, and what else is there."""
    try:
        text = read_text(file, max_bytes=4 * MAX_BYTES)
    except ConfigError as error:
        problems += error.problems
        return [], {}
    found: list[Downtime] = []
    others: dict[str, int] = {}
    kind, begun = "", 0
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.endswith("{"):
            kind, begun, values = line[:-1].strip(), number, {}
        elif line == "}" and kind in ("hostdowntime", "servicedowntime"):
            made = _downtime(file, begun, kind, values, problems)
            found += [made] if made else []
            kind = ""
        elif line == "}" and kind:
            others[kind] = others.get(kind, 0) + 1
            kind = ""
        elif kind and "=" in line:
            key, _, value = line.partition("=")
            values[key] = value
    if not found and not others:
        hint = "name status.dat or retention.dat"
        problems.append(Problem(file=file, line=None, path="", message="is no status file of Nagios", hint=hint))
    return found, others


def _downtime(file: str, line: int, kind: str, values: Mapping[str, str], problems: list[Problem]) -> Downtime | None:
    name = f"downtime {values.get('downtime_id', '')}".strip()
    origin = Origin(file=file, line=line, path=name)
    try:
        begin, end = (datetime.fromtimestamp(int(values[key]), UTC) for key in ("start_time", "end_time"))
        host, service = values["host_name"], values["service_description"] if kind == "servicedowntime" else ""
    except (KeyError, ValueError, OverflowError, OSError) as error:
        problems.append(origin.problem(f"has no sound {error}", "write the file anew: restart Nagios"))
        return None
    return Downtime(
        node=root(values, lambda path: origin), host=host, service=service, starts_at=begin, ends_at=end,
        fixed=values.get("fixed", "1") == "1", author=values.get("author", ""), comment=values.get("comment", ""),
    )  # fmt: skip


# ---- what it becomes ------------------------------------------------------------------------------------------------


def translate(config: Config, today: date) -> Translation:
    made = Translation(kind=IMPORTER.kind, title="Nagios", files=config.files, beside=_BESIDE)
    estate = _Estate(config)
    _hosts(config, estate, made)
    _parents(config, estate, made)
    _inhibition(config, estate, made)
    _periods(config, estate, made, today)
    _expiry(config, made)
    _lists(config, made)
    _attributes(config, made)
    _settings(config, made)
    for downtime in config.downtimes:
        _silence(downtime, made)
    if config.others:
        note = (
            f"{', '.join(f'{count} {kind}' for kind, count in sorted(config.others.items()))}: states, no configuration"
        )
        made.items.append(
            Item(what="status file", name="other blocks", file=config.files[-1], line=None, fate=Fate.NOT_TRANSLATED,
                 note=note)
        )  # fmt: skip
    return made


def _tell(
    made: Translation, one: Object, fate: Fate, note: str = "", into: Iterable[str] = (), what: str = "", name: str = ""
) -> None:
    made.items.append(
        Item(
            what=what or one.type, name=name or one.name, file=one.file, line=one.line, fate=fate, into=tuple(into),
            note=note,
        )
    )  # fmt: skip


def _from(one: Object) -> str:
    return f"{one.file}:{one.line} {one.type} {one.name}"


class _Estate:
    """Which hosts and services there are, and what lists of names mean."""

    def __init__(self, config: Config) -> None:
        self.hosts = {one.text("host_name"): one for one in config.of("host") if one.text("host_name")}
        self._groups = {one.text("hostgroup_name"): one for one in config.of("hostgroup")}
        self._regexp = config.setting("use_regexp_matching") == "1"
        self._true_regexp = self._regexp and config.setting("use_true_regexp_matching") == "1"
        self._members: dict[str, list[str]] = {}
        self._joined: dict[str, list[str]] = {}
        for name, host in self.hosts.items():
            for group in self._matching(host.list("hostgroups"), self._groups):
                self._joined.setdefault(group, []).append(name)
        self.unknown: dict[str, None] = {}
        self.services: dict[tuple[str, str], Object] = {}
        for one in config.of("service"):
            for owner in self.hosts_of(one):
                for service in one.list("service_description"):
                    self.services.setdefault((owner, service), one)

    def members(self, group: str, way: tuple[str, ...] = ()) -> list[str]:
        """Hosts of a group and of the groups in it."""
        if group in way or group not in self._groups:
            return []
        if group not in self._members:
            one = self._groups[group]
            names = [*self._matching(one.list("members"), self.hosts), *self._joined.get(group, ())]
            for inner in self._matching(one.list("hostgroup_members"), self._groups):
                names += self.members(inner, (*way, group))
            self._members[group] = list(dict.fromkeys(names))
        return self._members[group]

    def hosts_of(self, one: Object, prefix: str = "") -> list[str]:
        names = self._matching(one.list(f"{prefix}host_name"), self.hosts)
        groups = one.list(f"{prefix}hostgroup_name")
        for group in self._matching([name for name in groups if not name.startswith("!")], self._groups):
            names += self.members(group)
        out = {host for name in groups if name.startswith("!") for host in self.members(name[1:].strip())}
        out |= {name[1:].strip() for name in one.list(f"{prefix}host_name") if name.startswith("!")}
        return [name for name in dict.fromkeys(names) if name not in out]

    def _matching(self, wanted: Iterable[str], known: Mapping[str, object]) -> list[str]:
        found: dict[str, None] = {}
        for name in wanted:
            if name.startswith("!"):
                continue
            if name == "*":
                found.update(dict.fromkeys(known))
            elif name in known:
                found[name] = None
            elif self._true_regexp or (self._regexp and re.search(r"[*?+]|\\\.", name)):
                try:
                    pattern = re2.compile(name)
                except re2.error:
                    continue
                found.update(dict.fromkeys(one for one in known if pattern.search(one)))
        return list(found)


# ---- topology ----


def _hosts(config: Config, estate: _Estate, made: Translation) -> None:
    addresses: dict[str, int] = {}
    for host in estate.hosts.values():
        addresses[host.text("address")] = addresses.get(host.text("address"), 0) + 1
    for one in config.of("host"):
        name, address = one.text("host_name"), one.text("address")
        if not name:
            _tell(made, one, Fate.NOT_TRANSLATED, "it has no host_name")
            continue
        own = address not in ("", name) and not address.startswith("127.") and addresses.get(address) == 1
        owners = one.list("contact_groups") or one.list("contacts")
        fields = {
            "kind": "host",
            "name": one.text("display_name") or one.text("alias"),
            "aliases": [address] if own else [],
            "owner": owners[0] if owners else "",
        }
        try:
            key = made.add_ci(name, fields, _from(one))
        except Refused as refused:
            _tell(made, one, Fate.NOT_TRANSLATED, str(refused))
            continue
        notes = [f"it belongs to {fields['owner']}; {listed(owners[1:])} too were told"] if len(owners) > 1 else []
        if address and not own and address != name:
            notes.append(f"its address {address} is no alias, because it does not name this host alone")
        _tell(made, one, Fate.APPROXIMATELY if notes else Fate.TRANSLATED, "; ".join(notes), (key,))


def _parents(config: Config, estate: _Estate, made: Translation) -> None:
    for one in config.of("host"):
        parents = one.list("parents")
        if parents:
            note = (
                "it depends on each of them; for Nagios it is unreachable once all are down" if len(parents) > 1 else ""
            )
            _depend(made, one, [(one.text("host_name"), parent) for parent in parents], "host parents", note, "")
    for one in config.of("hostdependency"):
        criteria = {word[0] for word in one.list("notification_failure_criteria")}
        if not criteria & {"d", "u"}:
            what = (
                "it is about checks alone, not about who is told" if not criteria or "n" in criteria else "odd criteria"
            )
            _tell(made, one, Fate.NOT_TRANSLATED, f"{what} (notification_failure_criteria); checks stay with Nagios")
            continue
        masters, dependents = estate.hosts_of(one), estate.hosts_of(one, "dependent_")
        pairs = [(dependent, master) for dependent in dependents for master in masters if dependent != master]
        note = "what begins within 30m of a critical alert on what it depends on is held, also on its services"
        odd = [key for key in ("dependency_period", "inherits_parent") if one.text(key) not in ("", "0", "24x7")]
        note += f"; {listed(odd)} left out: dependencies hold always, and go on to what is further up" if odd else ""
        _depend(made, one, pairs, "", note, "no host of it is known")


def _depend(
    made: Translation, one: Object, pairs: Sequence[tuple[str, str]], what: str, note: str, nothing: str
) -> None:
    keys, refused = [], [nothing] if nothing and not pairs else []
    for dependent, master in pairs:
        try:
            keys.append(made.add_relationship(dependent, "depends_on", master, _from(one)))
        except Refused as error:
            refused.append(str(error))
    fate = Fate.NOT_TRANSLATED if not keys else Fate.APPROXIMATELY if note or refused else Fate.TRANSLATED
    _tell(made, one, fate, "; ".join(filter(None, [note if keys else "", listed(refused)])), dict.fromkeys(keys), what)


# ---- inhibition ----


class _Rule(Struct, frozen=True, kw_only=True):
    one: Object | None
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    note: str = ""


def _inhibition(config: Config, estate: _Estate, made: Translation) -> None:
    rules = [
        _Rule(
            one=None,
            name="services of a host that is down",
            source=(_is("job", JOB), _is("alertname", HOST_DOWN)),
            target=(_is("job", JOB), Matcher(name="alertname", value=HOST_DOWN, is_equal=False)),
            equal=("host",),
        )
    ]
    for one in config.of("servicedependency"):
        rules += _service_rules(one, estate, made)
    for rule in rules[MAX_INHIBIT:]:
        assert rule.one is not None, "the first rule is the one that no object stands for"
        _tell(made, rule.one, Fate.NOT_TRANSLATED, TOO_MANY_RULES)
    rules = rules[:MAX_INHIBIT]
    found = ordered([(rule.source, rule.target) for rule in rules])
    for index in found.order:
        rule = rules[index]
        if index in found.dead and rule.one is not None:
            _tell(
                made,
                rule.one,
                Fate.NOT_TRANSLATED,
                "services that depend on each other in a circle; decide for one way",
            )
            continue
        comment = _from(rule.one) if rule.one is not None else "what Nagios does by itself"
        try:
            key = made.add_inhibit(
                rule.name, [str(m) for m in rule.source], [str(m) for m in rule.target], rule.equal, comment
            )
        except Refused as refused:
            if rule.one is not None:
                _tell(made, rule.one, Fate.NOT_TRANSLATED, str(refused))
            continue
        if rule.one is None:
            made.items.append(
                Item(what="behaviour", name=rule.name, file=config.files[0], line=None, fate=Fate.TRANSLATED,
                     into=(key,), note="Nagios tells of no service while its host is down")
            )  # fmt: skip
            continue
        cut = [rules[other].name for other in found.cut.get(index, ())]
        notes = [
            rule.note,
            f"in a circle with {listed(cut)}: what is a target there explains nothing here" if cut else "",
        ]
        fate = Fate.APPROXIMATELY if any(notes) else Fate.TRANSLATED
        _tell(made, rule.one, fate, "; ".join(filter(None, notes)), (key,))


def _service_rules(one: Object, estate: _Estate, made: Translation) -> list[_Rule]:
    criteria = {word[0] for word in one.list("notification_failure_criteria")}
    masters, dependents = estate.hosts_of(one), estate.hosts_of(one, "dependent_")
    services, depending = one.list("service_description"), one.list("dependent_service_description")
    groups = [key for key in ("servicegroup_name", "dependent_servicegroup_name") if one.text(key)]
    why = ""
    if not criteria & {"w", "u", "c"}:
        why = "it is about checks alone, not about who is told; checks stay with Nagios"
    elif groups or not services or not depending or "*" in (*services, *depending):
        why = "it names services by a group or all of them; write the inhibition rules by hand"
    elif not masters:
        why = "no host of it is known"
    if why:
        _tell(made, one, Fate.NOT_TRANSLATED, why)
        return []
    same = not dependents
    notes = (
        [] if criteria >= {"w", "u", "c"} else ["in whatever state the service is, not only in those that are named"]
    )
    notes += ["it holds always, not only in its dependency_period"] if one.text("dependency_period") else []
    for dependent in dependents:
        for master in masters:
            try:
                made.add_relationship(dependent, "depends_on", master, _from(one))
            except Refused:
                continue
    return [
        _Rule(
            one=one,
            name=f"{listed(depending, 3)} depends on {listed(services, 3)} ({listed(masters, 2)})",
            source=(_is("job", JOB), _hosts_matcher(masters), any_of("alertname", services)),
            target=(_is("job", JOB), _hosts_matcher(dependents or masters), any_of("alertname", depending)),
            equal=("host",) if same else (),
            note="; ".join(notes),
        )
    ]


def _hosts_matcher(hosts: Sequence[str]) -> Matcher:
    return any_of("host", hosts)


def _is(name: str, value: str) -> Matcher:
    return Matcher(name=name, value=value)


# ---- when nobody is told ----


def _periods(config: Config, estate: _Estate, made: Translation, today: date) -> None:
    periods = {one.text("timeperiod_name"): one for one in config.of("timeperiod")}
    quiet: dict[str, dict[str, list[str]]] = {}
    """By period ("" for those that are never told of) and alertname, the hosts."""
    for name, host in estate.hosts.items():
        if (period := _quiet_of(host, host)) is not None:
            quiet.setdefault(period, {}).setdefault(HOST_DOWN, []).append(name)
    for (name, service), one in estate.services.items():
        if (period := _quiet_of(one, estate.hosts[name])) is not None:
            quiet.setdefault(period, {}).setdefault(service, []).append(name)
    for one in periods.values():
        users = quiet.pop(one.text("timeperiod_name"), {})
        _period(one, users, made, today, _zone(config))
    for one in config.of("host") + config.of("service"):
        if one.text("notifications_enabled") == "0":
            names = [one.text("host_name")] if one.type == "host" else estate.hosts_of(one)
            alertnames = [HOST_DOWN] if one.type == "host" else one.list("service_description")
            keys, refused = _window(one, names, alertnames, [always(today)], "nobody is told of it", made)
            fate = Fate.APPROXIMATELY if keys else Fate.NOT_TRANSLATED
            note = refused or "a maintenance window that never ends: it is seen in the console and opens no ticket"
            _tell(made, one, fate, note, keys, f"{one.type} notifications_enabled")
    unknown = sorted(period for period in quiet if period and period != "none")
    if unknown:
        made.items.append(
            Item(what="timeperiod", name=listed(unknown), file=config.files[0], line=None, fate=Fate.NOT_TRANSLATED,
                 note="it is named as notification_period and not defined; its hosts and services are told of always")
        )  # fmt: skip


def _quiet_of(one: Object, host: Object) -> str | None:
    """The period in which people are told, of those that have one; services have that of their host."""
    return one.text("notification_period") or host.text("notification_period") or None


def _zone(config: Config) -> str:
    """The time zone that nagios.cfg names; empty where it names none that is known."""
    try:
        return read_zone(config.setting("use_timezone")).key
    except Invalid:
        return ""


def _period(one: Object, users: Mapping[str, Sequence[str]], made: Translation, today: date, time_zone: str) -> None:
    odd = [key for key in one.all if key not in _PERIOD_KEYS and key not in WEEKDAYS] + [
        f"exclude {name}" for name in one.list("exclude")
    ]
    patterns, wrong = _patterns(one)
    rest = outside(patterns)
    count = sum(map(len, users.values()))
    if wrong:
        _tell(made, one, Fate.NOT_TRANSLATED, f"{listed(wrong)} cannot be read; plan the windows by hand")
    elif not users:
        _tell(made, one, Fate.NOT_TRANSLATED, "nobody is told by it; when checks are made stays with Nagios")
    elif not rest:
        _tell(made, one, Fate.TRANSLATED, f"it is always: {count} hosts and services are told of at any time")
    elif odd:
        note = (
            f"it has days of its own ({listed(odd, 3)}), and outside of them would be quiet; plan the windows by hand"
        )
        _tell(made, one, Fate.NOT_TRANSLATED, note)
    else:
        plans = [plan for pattern in rest for plan in windows(pattern, today, time_zone or "UTC")]
        keys: list[str] = []
        refused = ""
        alike: dict[tuple[str, ...], list[str]] = {}
        for alertname, hosts in users.items():
            alike.setdefault(tuple(hosts), []).append(alertname)
        for hosts, alertnames in alike.items():
            more, why = _window(one, hosts, alertnames, plans, "nobody is told outside of it", made)
            keys, refused = [*keys, *more], why or refused
        note = f"{count} hosts and services are quiet outside of it"
        note += "" if time_zone else ", in UTC: put your time zone into `time_zone`"
        _tell(made, one, Fate.APPROXIMATELY if keys else Fate.NOT_TRANSLATED, refused or note, keys)


def _patterns(one: Object) -> tuple[list[Pattern], list[str]]:
    found: list[Pattern] = []
    wrong: list[str] = []
    for day, name in enumerate(WEEKDAYS):
        for part in one.list(name):
            first, _, last = part.partition("-")
            start, end = clock(first.strip()), clock(last.strip())
            if start is None or end is None:
                wrong.append(f"{name} {part}")
            elif start < end:
                found.append(Pattern(start=start, end=end, weekdays=(day,)))
            elif start > end:  # over midnight
                found.append(Pattern(start=start, end=DAY_MIN, weekdays=(day,)))
                found += [Pattern(start=0, end=end, weekdays=((day + 1) % 7,))] if end else []
    return found, wrong


def _window(
    one: Object, hosts: Sequence[str], alertnames: Sequence[str], plans: Sequence[Mapping[str, object]], why: str,
    made: Translation,
) -> tuple[list[str], str]:  # fmt: skip
    keys, refused = [], ""
    for chunk in _chunks(hosts):
        matchers = [_is("job", JOB), any_of("alertname", alertnames), any_of("host", chunk)]
        for plan in plans:
            entry = {
                "title": f"Nagios: {one.type} {one.name}: {why}"[:200],
                "comment": f"from {_from(one)}"[:2000],
                "matchers": [str(matcher) for matcher in matchers],
                **plan,
            }
            try:
                keys.append(made.add_window(f"nagios-{one.name}", entry, _from(one)))
            except Refused as error:
                refused = str(error)
    return keys, refused


def _chunks(hosts: Sequence[str], most: int = 3500) -> Iterator[list[str]]:
    """Hosts in parts whose expression is not too long."""
    chunk: list[str] = []
    size = 0
    for host in hosts:
        if chunk and size + 2 * len(host) > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(host)
        size += 2 * len(host) + 1
    if chunk:
        yield chunk


def _expiry(config: Config, made: Translation) -> None:
    """Nagios tells again after notification_interval, or never: so long an alert must hold without being told."""
    told = [one for one in (*config.of("host"), *config.of("service")) if one.text("notifications_enabled") != "0"]
    if not told:
        return
    length = config.setting("interval_length")
    unit_s = int(length) if length.isdigit() and 0 < int(length) <= 86_400 else _DEFAULT_INTERVAL_S
    intervals = [_number(one.text("notification_interval"), _DEFAULT_RENOTIFY) for one in told]
    longest = max(intervals) * unit_s
    holds = (
        _ONCE if not all(intervals) or longest * 2 > _ONCE.total_seconds() else timedelta(seconds=round(longest * 2))
    )
    value = format_duration(max(holds, _LEAST))
    comment = "how long an alert holds without being told of again"
    key = made.add_source({"source": JOB, "expire_after": value}, comment)
    note = f"some are told of once, so they hold for {value} unless their end is told" if not all(intervals) else (
        f"twice the longest notification_interval; an alert that is not told of again for {value} is over"
    )  # fmt: skip
    made.items.append(
        Item(what="behaviour", name="notification_interval", file=config.files[0], line=None, fate=Fate.APPROXIMATELY,
             into=(key,), note=note)
    )  # fmt: skip


def _number(text: str, default: float) -> float:
    try:
        found = float(text)
    except ValueError:
        return default
    return found if 0 <= found < 1e6 else default


def _silence(downtime: Downtime, made: Translation) -> None:
    node, name = downtime.node, downtime.node.origin.path
    matchers = [_is("job", JOB), _is("host", downtime.host)]
    matchers += [_is("alertname", downtime.service)] if downtime.service else []
    if downtime.ends_at <= downtime.starts_at or not downtime.author.strip() or not downtime.comment.strip():
        made.tell(node, "downtime", Fate.NOT_TRANSLATED, name=name, note="it has no length, no author or no comment")
        return
    made.silences.append(
        {
            "matchers": [
                {"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal} for m in matchers
            ],
            "startsAt": downtime.starts_at.isoformat(),
            "endsAt": downtime.ends_at.isoformat(),
            "createdBy": downtime.author,
            "comment": downtime.comment,
        }
    )
    note = "" if downtime.fixed else "a flexible downtime is quiet from its beginning to its end, not once it goes down"
    fate = Fate.TRANSLATED if downtime.fixed else Fate.APPROXIMATELY
    said = f"{downtime.host} {downtime.service}".strip() + f" until {downtime.ends_at:%Y-%m-%d %H:%M} UTC"
    into = (f"silence {len(made.silences) - 1}",)
    made.tell(node, "downtime", fate, name=name, into=into, note="; ".join(filter(None, [said, note])))


# ---- the rest -------------------------------------------------------------------------------------------------------


_NOTHING: Mapping[str, tuple[Fate, str]] = {
    "service": (Fate.TRANSLATED, "needs no entry: its alerts belong to the CI of their host"),
    "hostgroup": (Fate.TRANSLATED, "its members are known where it is named; a group is no CI, it cannot fail"),
    "contactgroup": (Fate.TRANSLATED, "is an owner where hosts name it; its people are the ITSM tool's"),
    "servicegroup": (Fate.NOT_TRANSLATED, "a list to look at; nothing of ours is like it"),
    "command": (Fate.NOT_TRANSLATED, "how something is checked or told stays with Nagios, or is a sink's"),
    "contact": (Fate.NOT_TRANSLATED, "who is told and how is the ITSM tool's"),
    "hostescalation": (Fate.NOT_TRANSLATED, "escalation is the ITSM tool's"),
    "serviceescalation": (Fate.NOT_TRANSLATED, "escalation is the ITSM tool's"),
    "hostextinfo": (Fate.NOT_TRANSLATED, "pictures and links of Nagios"),
    "serviceextinfo": (Fate.NOT_TRANSLATED, "pictures and links of Nagios"),
}
_TOLD = frozenset({"host", "hostdependency", "servicedependency", "timeperiod"})


def _lists(config: Config, made: Translation) -> None:
    used: dict[tuple[str, str], int] = {}
    for one in config.objects:
        for name in _split(one.values["use"].text) if "use" in one.values else ():
            used[one.type, name] = used.get((one.type, name), 0) + 1
    for one in config.objects:
        if one.is_template:
            count = used.get((one.type, one.values.get("name", Value("", 0)).text), 0)
            _tell(made, one, Fate.TRANSLATED, f"{count} definitions have what it says", what=f"{one.type} template")
        elif one.type not in _TOLD:
            fate, note = _NOTHING.get(one.type, (Fate.NOT_TRANSLATED, "this importer does not know it"))
            _tell(made, one, fate, note)


_USED: Mapping[str, frozenset[str]] = {
    "host": frozenset({
        "host_name", "alias", "display_name", "address", "parents", "contact_groups", "contacts", "hostgroups",
        "notification_period", "notifications_enabled", "notification_interval",
    }),
    "service": frozenset({
        "host_name", "hostgroup_name", "service_description", "notification_period", "notifications_enabled",
        "notification_interval",
    }),
    "hostdependency": frozenset({
        "host_name", "hostgroup_name", "dependent_host_name", "dependent_hostgroup_name", "inherits_parent",
        "notification_failure_criteria", "dependency_period",
    }),
    "servicedependency": frozenset({
        "host_name", "hostgroup_name", "dependent_host_name", "dependent_hostgroup_name", "service_description",
        "dependent_service_description", "notification_failure_criteria", "dependency_period", "servicegroup_name",
        "dependent_servicegroup_name",
    }),
}  # fmt: skip
_ATTRIBUTES: Sequence[tuple[str, str]] = (
    (r"(active_|passive_)?checks?_.*|.*_check.*|retry_.*|max_check_attempts|obsess.*|process_perf_data|.*flap.*|"
     r"freshness_.*|event_handler.*|initial_state|is_volatile|retain_.*|execution_failure_criteria|stalking_options|"
     r"failure_prediction_.*|hourly_value|importance|minimum_(value|importance)",
     "how and when it is checked stays with Nagios"),
    (r"notification_options|first_notification_delay|contacts|contact_groups|escalation.*",
     "who is told of what and when: the owner of the CI has the tickets, ticket.delay says when"),
    (r"notes.*|action_url|icon_.*|vrml_image|statusmap_image|2d_coords|3d_coords|display_name|alias|servicegroups|"
     r"inherits_parent|parents",
     "to look at in Nagios, or without a counterpart"),
    (r"_.*", "a variable of your own; if it says something of the host, put it into the topology"),
)  # fmt: skip


def _attributes(config: Config, made: Translation) -> None:
    """What definitions say besides; one item for each attribute, however many say it."""
    found: dict[tuple[str, str], list[Object]] = {}
    for one in config.objects:
        if one.type in _USED:
            for key in one.values.keys() - _USED[one.type] - {"use", "name", "register"}:
                found.setdefault((one.type, key), []).append(one)
    for (type_, key), holders in sorted(found.items()):
        first = holders[0]
        note = next(
            (note for pattern, note in _ATTRIBUTES if re.fullmatch(pattern, key)), "this importer does not know it"
        )
        made.items.append(
            Item(what=f"{type_} attribute", name=key, file=first.file, line=first.values[key].line,
                 fate=Fate.NOT_TRANSLATED, note=f"{note} ({len(holders)} times)")
        )  # fmt: skip


def _settings(config: Config, made: Translation) -> None:
    for file, values in config.main:
        rest = [key for key in values if key not in ("cfg_file", "cfg_dir", "interval_length", "use_regexp_matching")]
        made.items.append(
            Item(what="settings", name=Path(file).name, file=file, line=None, fate=Fate.NOT_TRANSLATED,
                 note=f"concern Nagios itself: {', '.join(rest)}")
        )  # fmt: skip


_BESIDE = (
    "",
    "Until you switch over, let Nagios tell Foreshock by a second notification command: docs/migrating.md has it. The",
    "rules and windows here know its alerts by the labels it sends: `job`, `host` and `alertname` (the service's",
    f"description, or {HOST_DOWN}). What Nagios itself keeps quiet it tells neither Foreshock nor anybody else.",
)

IMPORTER = Importer(kind="nagios", title="Nagios", read=read, translate=translate)
