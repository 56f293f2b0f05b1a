"""Alertmanager's configuration file, and its silences.

Facts:   https://prometheus.io/docs/alerting/latest/configuration/ (0.25 to 0.29), and dispatch/route.go, which says
         that ``mute_time_intervals`` and ``active_time_intervals`` are not inherited; read 2026-11-22. Silences as
         GET /api/v2/silences and ``amtool silence query -o json`` give them.
Limits:  what YAML 1.1 has beyond 1.2 (merge keys, tags) is refused with its line.

Where a route cannot be expressed exactly, what is translated keeps fewer alerts quiet than Alertmanager did.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from json import dumps
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from correlation.settings import CorrelationSettings
from foreshock.connect.config import read_text, read_yaml
from foreshock.core.errors import ConfigError, Invalid, Malformed, Problem
from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.core.model import Moment, SilenceMatcher
from foreshock.core.quantities import format_duration, parse_duration
from foreshock.service.importing.circles import may_overlap, ordered, values
from foreshock.service.importing.reading import Node, listed, root, unplaced
from foreshock.service.importing.recurring import Pattern, always, clock, outside, windows
from foreshock.service.importing.translation import (
    MAX_INHIBIT,
    TOO_MANY_RULES,
    Fate,
    Importer,
    Refused,
    Translation,
)

_YEAR_DAYS = 365  # as Prometheus counts
_MAX_CASES = 16
"""Combinations of matchers that stand for "not by that other route"; each is a maintenance window."""
_MAX_SILENCES_BYTES = 16 * 2**20
_EVERYWHERE = frozenset({"alertname", "severity", "job", "prometheus", "alertgroup", "priority"})
"""Labels that say nothing of where: alerts that agree in these alone can be anywhere in the house."""
_KINDS = {"database": "database", "pod": "pod", "service": "service", "application": "service", "app": "service"}
_BOUND = tuple(CorrelationSettings().bind.labels)
_ALL_LABELS = "..."
_NOBODY = frozenset({"null", "none", "blackhole", "black-hole", "devnull", "dev-null", "void", "noop", "ignore"})
"""What people call a receiver that is meant to tell nobody."""

T = TypeVar("T")


# ---- what is read ---------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Route:
    """One route with what it inherited. own: what stands in the file, by key."""

    node: Node
    parent: "Route | None"
    matchers: tuple[Matcher, ...]
    goes_on: bool
    receiver: str
    group_by: tuple[str, ...]
    muted: tuple[Node, ...]
    active: tuple[Node, ...]
    own: Mapping[str, Node]
    routes: "list[Route]" = field(default_factory=list)

    def walk(self) -> "Iterator[Route]":
        yield self
        for route in self.routes:
            yield from route.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibit:
    node: Node
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """patterns: by time zone and node; odd: entries that no window can express, with the reason."""

    node: Node
    name: str
    patterns: tuple[tuple[Node, Pattern, str], ...]
    odd: tuple[tuple[Node, str], ...]


class _Status(msgspec.Struct, frozen=True):
    state: str = ""


class ReadSilence(msgspec.Struct, rename="camel", kw_only=True):
    """A silence as the API and amtool show it."""

    matchers: tuple[SilenceMatcher, ...]
    starts_at: Moment
    ends_at: Moment
    created_by: str
    comment: str
    id: str = ""
    status: _Status = _Status()
    annotations: dict[str, str] = {}


@dataclass(slots=True, kw_only=True)
class Config:
    files: tuple[str, ...]
    node: Node
    route: Route | None
    inhibit: list[Inhibit]
    receivers: dict[str, tuple[Node, bool]]
    """By name, and whether it notifies anybody."""
    intervals: dict[str, Interval]
    silences: list[tuple[Node, ReadSilence]]


def read(paths: Sequence[Path], silences: str | None) -> Config:
    if len(paths) != 1:
        message = f"{len(paths)} files are named, Alertmanager has one"
        raise ConfigError([Problem(file=str(paths[1]), line=None, path="", message=message, hint="name that one")])
    document = read_yaml(paths[0])
    node = root(document.data, document.origin)
    if "route" not in node:
        kind = document.data.get("kind") if isinstance(document.data, dict) else None
        node.wrong(
            f"holds a Kubernetes object of kind {kind!r}" if isinstance(kind, str) else "holds no `route`",
            "name the alertmanager.yml itself"
            + (
                ", as `kubectl get secret … -o jsonpath='{.data.alertmanager\\.yaml}' | base64 -d` gives it"
                if kind
                else ""
            ),
        )
    node.finish()
    found = node.take("route")
    config = Config(
        files=(str(paths[0]), *([_shown(silences)] if silences else [])),
        node=node,
        route=_route(found, None) if found is not None else None,
        inhibit=[_inhibit(entry, index) for index, entry in enumerate(node.items("inhibit_rules"))],
        receivers={entry.text("name"): (entry, _notifies(entry)) for entry in node.items("receivers")},
        intervals={
            found.name: found
            for key in ("time_intervals", "mute_time_intervals")
            for found in map(_interval, node.items(key))
        },
        silences=[],
    )
    _check_names(config)
    node.finish()
    if silences:
        config.silences = _silences(silences)
    return config


def _route(node: Node, parent: Route | None) -> Route:
    own = {
        key: found
        for key in ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "matchers", "match",
                    "match_re", "continue", "mute_time_intervals", "active_time_intervals")
        if (found := node.take(key)) is not None
    }  # fmt: skip
    for key in ("group_wait", "group_interval", "repeat_interval"):
        if key in own:
            _duration(own[key])
    route = Route(
        node=node,
        parent=parent,
        matchers=_matchers(node, "matchers", "match", "match_re"),
        goes_on=node.yes("continue"),
        receiver=node.text("receiver", parent.receiver if parent else ""),
        group_by=node.texts("group_by") if "group_by" in own else (parent.group_by if parent else ()),
        muted=tuple(node.items("mute_time_intervals")),
        active=tuple(node.items("active_time_intervals")),
        own=own,
    )
    route.routes = [_route(entry, route) for entry in node.items("routes")]
    return route


def _inhibit(node: Node, index: int) -> Inhibit:
    return Inhibit(
        node=node,
        name=node.text("name") or f"inhibit rule {index + 1}",
        source=_matchers(node, "source_matchers", "source_match", "source_match_re"),
        target=_matchers(node, "target_matchers", "target_match", "target_match_re"),
        equal=node.texts("equal"),
    )


def _matchers(node: Node, both: str, equal: str, regex: str) -> tuple[Matcher, ...]:
    """Matchers in the new and the two old ways of writing them."""
    found: list[Matcher] = []
    for entry in node.items(both):
        found += _tried(entry, lambda entry=entry: parse_matchers(entry.plain())) or ()  # type: ignore[misc]
    for key, is_regex in ((equal, False), (regex, True)):
        old = node.take(key)
        for name, value in old.pairs() if old is not None else ():
            made = _tried(value, lambda n=name, v=value, r=is_regex: Matcher(name=n, value=v.plain(), is_regex=r))  # type: ignore[misc]
            found += [made] if made else []
    return tuple(found)


def _tried(node: Node, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except (Malformed, Invalid) as error:
        node.wrong(str(error.args[0]), error.hint)
        return None


def _duration(node: Node) -> str:
    """A duration of Prometheus, which has years too, as ours is written."""
    text = node.plain()
    years, unit, rest = text.partition("y")
    if unit and years.isdigit():
        text = f"{int(years) * _YEAR_DAYS}d"
        extra = _tried(node, lambda: parse_duration(rest)) if rest else None
        return format_duration(parse_duration(text) + extra) if extra else text
    found = _tried(node, lambda: parse_duration("0s" if text == "0" else text))
    return format_duration(found) if found is not None else "0s"


def _notifies(receiver: Node) -> bool:
    return (
        any(key.endswith("_configs") and value for key, value in receiver.value.items())
        if isinstance(receiver.value, dict)
        else False
    )


# ---- time intervals ----


def _interval(node: Node) -> Interval:
    good: list[tuple[Node, Pattern, str]] = []
    odd: list[tuple[Node, str]] = []
    for entry in node.items("time_intervals"):
        days = entry.take("days_of_month")
        month_days = [_month_days(one) for one in days.entries()] if days is not None else []
        zone = entry.text("location", "UTC")
        if any(found is None for found in month_days):
            odd.append((entry, "its days of the month begin in the middle and are counted from the end"))
        elif zone == "Local":
            odd.append((entry, "its location is that of the machine"))
        else:
            base = {
                "weekdays": _days(entry),
                "month_days": tuple(day for found in month_days for day in found or ()),
                "months": _numbers(entry, "months", _MONTHS, 1, 12),
                "years": _numbers(entry, "years", (), 1970, 9999),
            }
            good += [(entry, Pattern(start=start, end=end, **base), zone) for start, end in _times(entry)]
        for _, left in entry.left():
            left.wrong("unknown key", "known: times, weekdays, days_of_month, months, years, location")
    return Interval(node=node, name=node.text("name"), patterns=tuple(good), odd=tuple(odd))


_WEEK = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip


def _times(node: Node) -> list[tuple[int, int]]:
    found = []
    for entry in node.items("times"):
        start, end = clock(entry.text("start_time")), clock(entry.text("end_time"))
        if start is None or end is None or start >= end:
            entry.wrong("is no time of day", "write start_time: '09:00' and end_time: '17:00', the end after the start")
        else:
            found.append((start, end))
        for _, left in entry.left():
            left.wrong("unknown key", "known: start_time, end_time")
    return found if "times" in node else [(0, 1440)]


def _days(node: Node) -> tuple[int, ...]:
    """Monday is 0 with us, Sunday with them."""
    return tuple((day + 6) % 7 for day in _numbers(node, "weekdays", _WEEK, 0, 6))


def _numbers(node: Node, key: str, words: Sequence[str], least: int, most: int) -> tuple[int, ...]:
    found: list[int] = []
    for entry in node.items(key):
        first, _, last = entry.plain().lower().partition(":")
        ends = [
            words.index(word) + least if word in words else int(word) if word.isdigit() else -1
            for word in (first.strip(), (last or first).strip())
        ]
        if not least <= ends[0] <= ends[1] <= most:
            entry.wrong(f"{entry.plain()[:40]!r} is no range here", "write one, or first:last")
        else:
            found += range(ends[0], ends[1] + 1)
    return tuple(dict.fromkeys(found))


def _month_days(node: Node) -> tuple[int, ...] | None:
    """Days as RRULE counts them; None for a range that it has no words for."""
    first, _, last = node.plain().partition(":")
    try:
        start, end = int(first), int(last or first)
    except ValueError:
        start = end = 0
    if not 1 <= abs(start) <= 31 or not 1 <= abs(end) <= 31 or (start < 0 < end) or (start * end > 0 and start > end):
        node.wrong(f"{node.plain()[:40]!r} is no range of days", "write 1:5 or -3:-1")
        return ()
    if start * end > 0:
        return tuple(range(start, end + 1))
    return tuple(range(-31, end + 1)) if start == 1 else tuple(range(start, 32)) if end == -1 else None


def _check_names(config: Config) -> None:
    for route in config.route.walk() if config.route else ():
        for entry in (*route.muted, *route.active):
            if entry.plain() not in config.intervals:
                entry.wrong(f"{entry.plain()[:80]!r} is no time interval", "define it under time_intervals")
        if route.receiver not in config.receivers:
            route.node.wrong(f"{route.receiver[:80]!r} is no receiver", "define it under receivers")


# ---- silences ----


def _shown(source: str) -> str:
    """A file, or an address without the password that may stand in it."""
    scheme, colon, rest = source.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if colon else source


def _silences(source: str) -> list[tuple[Node, ReadSilence]]:
    """Of a file, or of an Alertmanager at an address."""
    if source.startswith(("http://", "https://")):
        from foreshock.connect.http import Http

        http = Http("alertmanager", source, max_body_bytes=_MAX_SILENCES_BYTES)
        text = http.get("" if source.rstrip("/").endswith("/silences") else "/api/v2/silences").body.decode()
    else:
        text = read_text(source, max_bytes=_MAX_SILENCES_BYTES)
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "name what `amtool silence query -o json` or GET /api/v2/silences wrote"
        raise ConfigError(
            [Problem(file=_shown(source), line=None, path="", message=f"is not JSON: {error}", hint=hint)]
        ) from None
    top = root(data, unplaced(_shown(source)))
    found = []
    for entry in top.entries():
        try:
            found.append((entry, msgspec.convert(entry.value, ReadSilence)))
        except msgspec.ValidationError as error:
            entry.wrong(f"is no silence: {error}", "name what `amtool silence query -o json` wrote")
    top.finish()
    return found


# ---- what it becomes ------------------------------------------------------------------------------------------------


def translate(config: Config, today: date) -> Translation:
    made = Translation(kind=IMPORTER.kind, title="Alertmanager", files=config.files, beside=_BESIDE)
    _inhibit_rules(config, made)
    if config.route is not None:
        _routes(config, config.route, made, today)
    _receivers(config, made)
    _intervals(config, made)
    for entry, silence in config.silences:
        _silence(entry, silence, made)
    _settings(config, made)
    return made


_UNKNOWN = "this importer does not know it; look at what it does, and whether you need it"
_REASONS = {
    "templates": "tickets have texts of their own",
    "tracing": "concerns Alertmanager itself",
}
_OUTSIDE = re.compile(r"smtp_.*|http_config|[a-z]+_(?:api|app|auth|url|token)(?:_.*)?")


def _settings(config: Config, made: Translation) -> None:
    """What is left at the top and under `global`."""
    everything = config.node.take("global")
    if everything is not None:
        if (timeout := everything.take("resolve_timeout")) is not None:
            key = made.set("fold.expire_after", _duration(timeout), _from(timeout))
            made.tell(timeout, "setting", Fate.TRANSLATED, into=(key,))
        for key, node in everything.left():
            outside_ = "how Alertmanager reaches the outside; a sink has settings of its own"
            note = outside_ if _OUTSIDE.fullmatch(key) else _UNKNOWN
            made.tell(node, "setting", Fate.NOT_TRANSLATED, note=note)
    for key, node in config.node.left():
        made.tell(node, "setting", Fate.NOT_TRANSLATED, note=_REASONS.get(key, _UNKNOWN))


# ---- inhibition ----


def _inhibit_rules(config: Config, made: Translation) -> None:
    plain = [rule for rule in config.inhibit if rule.node.take("sources") is None]
    for rule in config.inhibit:
        for _, left in rule.node.left():
            made.tell(left, "inhibit rule key", Fate.NOT_TRANSLATED, note=_UNKNOWN)
        if rule not in plain:
            note = "it needs several sources at once, which an inhibition rule of ours cannot say"
            made.tell(rule.node, "inhibit rule", Fate.NOT_TRANSLATED, note=note)
    for rule in plain[MAX_INHIBIT:]:
        made.tell(rule.node, "inhibit rule", Fate.NOT_TRANSLATED, note=TOO_MANY_RULES)
    found = ordered([(rule.source, rule.target) for rule in plain[:MAX_INHIBIT]])
    for index in found.order:
        rule = plain[index]
        lower = listed([plain[other].name for other in found.cut.get(index, ())])
        if index in found.dead:
            note = (
                f"every alert that explains others by it is a target of {lower}, which inhibits the other way round: "
            )
            note += "write one of them so that they do not run in a circle"
            made.tell(rule.node, "inhibit rule", Fate.NOT_TRANSLATED, note=note)
            continue
        try:
            key = made.add_inhibit(
                rule.name, _written(rule.source), _written(rule.target), rule.equal, _from(rule.node)
            )
        except Refused as refused:
            made.tell(rule.node, "inhibit rule", Fate.NOT_TRANSLATED, note=str(refused))
            continue
        fate = Fate.APPROXIMATELY if lower else Fate.TRANSLATED
        note = f"an alert that is a target of {lower} too explains nothing by this rule" if lower else ""
        made.tell(rule.node, "inhibit rule", fate, into=(key,), note=note)


def _written(matchers: Sequence[Matcher]) -> list[str]:
    """Matchers for our settings, which want one at least; that of none matches everything."""
    return [str(matcher) for matcher in matchers] or [str(Matcher(name="alertname", value=".*", is_regex=True))]


def _from(node: Node) -> str:
    return f"{node.file}:{node.line} {node.name}" if node.line else f"{node.file} {node.name}"


# ---- routes ----


def _routes(config: Config, top: Route, made: Translation, today: date) -> None:
    groups = _group_rules(top, made)
    anybody = any(notifies for _, notifies in config.receivers.values())
    for route in top.walk():
        if config.receivers[route.receiver][1]:
            _owner(top, route, made)
        else:
            _silent(route, made, today, anybody=anybody)
        for key, node in route.own.items():
            _route_setting(config, route, top, key, node, groups, made, today)
        for _, left in route.node.left():
            made.tell(left, "route key", Fate.NOT_TRANSLATED, note=_UNKNOWN)


def _owner(top: Route, route: Route, made: Translation) -> None:
    """Who is told: the receiver becomes the owner of the CIs that the route names."""
    who = route.receiver
    if route is top:
        key = made.set("assignment.default", who, f"{_from(route.node)} receiver")
        note = "its receiver has the tickets for which no CI has an owner; Alertmanager sends it what no route takes"
        made.tell(route.node, "route", Fate.APPROXIMATELY, into=(key,), note=note)
        return
    named = [(m.name, found) for m in route.matchers if m.name in _BOUND and (found := values(m)) is not None]
    if not named:
        note = f"a ticket goes to the owner of the CI that caused it, and {_said(route) or 'this'} names no CI: "
        note += f"give the CIs that {who!r} looks after `owner: {who}` in the topology"
        made.tell(route.node, "route", Fate.NOT_TRANSLATED, note=note)
        return
    keys, others = [], []
    label, ids = min(named, key=lambda one: (_BOUND.index(one[0]), one[0]))
    for id in filter(None, ids):
        try:
            key = made.add_ci(id, {"kind": _KINDS.get(label, "host"), "owner": who}, _from(route.node))
        except Refused as refused:
            others.append(str(refused))
            continue
        keys.append(key)
        if made.cis[id.casefold()].value.get("owner") != who:
            others.append(f"{id} belongs to {made.cis[id.casefold()].value['owner']} by a route before")
    rest = [str(m) for m in route.matchers if m.name != label]
    others += [f"only by its CI, not by {listed(rest)}"] if rest else []
    note = "; ".join([f"tickets that {listed(ids)} caused go to {who!r}", *others])
    made.tell(route.node, "route", Fate.APPROXIMATELY, into=keys, note=note)


def _said(route: Route) -> str:
    return ", ".join(map(str, route.matchers))


def _route_setting(
    config: Config, route: Route, top: Route, key: str, node: Node, groups: Mapping[tuple[str, ...], Any],
    made: Translation, today: date,
) -> None:  # fmt: skip
    if key in ("receiver", "matchers", "match", "match_re"):
        return  # told with the route
    if key == "continue":
        note = "every sink has a ticket for every incident; a second receiver is a second sink" if route.goes_on else ""
        made.tell(node, "route continue", Fate.NOT_TRANSLATED if note else Fate.TRANSLATED, note=note)
    elif key == "group_by":
        fate, into, note = groups[_grouped(route)]
        made.tell(node, "route group_by", fate, into=into, note=note)
    elif key in ("group_wait", "group_interval"):
        _timing(route, top, key, node, made)
    elif key == "repeat_interval":
        note = "a ticket is there until it is resolved and is not sent again; who reminds people is the ITSM tool"
        made.tell(node, "route repeat_interval", Fate.NOT_TRANSLATED, note=note)
    else:
        _muted(config, route, key, node, made, today)


def _timing(route: Route, top: Route, key: str, node: Node, made: Translation) -> None:
    path, note = {
        "group_wait": ("ticket.delay", "holds for each incident, not for a group; priority 1 waits 5s"),
        "group_interval": ("ticket.update_every", "an incident's ticket is updated at most this often"),
    }[key]
    value = _duration(node)
    if route is top:
        made.tell(node, f"route {key}", Fate.APPROXIMATELY, into=(made.set(path, value, _from(node)),), note=note)
        return
    general = _duration(top.own[key]) if key in top.own else {"group_wait": "30s", "group_interval": "5m"}[key]
    same = value == general
    note = "as the first route says" if same else (
        f"{path} is one for all ({general}); it can differ by priority (ticket.delay_by_priority), not by label"
    )  # fmt: skip
    made.tell(node, f"route {key}", Fate.TRANSLATED if same else Fate.NOT_TRANSLATED, note=note)


# ---- what is grouped ----

Told = tuple[Fate, tuple[str, ...], str]


def _grouped(route: Route) -> tuple[str, ...]:
    return tuple(sorted(set(route.group_by)))


def _group_rules(top: Route, made: Translation) -> dict[tuple[str, ...], Told]:
    """A rule on labels for each way of grouping that the routes have."""
    ways = list(dict.fromkeys(_grouped(route) for route in top.walk()))
    return {way: _group_rule(top, way, len(ways) > 1, made) for way in ways}


def _group_rule(top: Route, way: tuple[str, ...], several: bool, made: Translation) -> Told:
    if _ALL_LABELS in way:
        return Fate.TRANSLATED, (), "nothing is grouped by labels; alerts still join along the topology"
    if not way:
        return Fate.NOT_TRANSLATED, (), "a rule that joins every alert with every other one is refused"
    somewhere = bool(set(way) - _EVERYWHERE)
    first = next(route for route in top.walk() if _grouped(route) == way)
    rule: dict[str, Any] = {"kind": "attribute", "equal": list(way), "window": "15m", "strength": 0.5}
    if several and (when := _condition(top, way)) not in ("", "true"):
        rule["when"] = when
    if not somewhere:
        rule["enabled"] = False
    node = first.own.get("group_by", first.node)
    try:
        key = made.add_rule(f"alertmanager-{'-'.join(way)}", rule, _from(node))
    except Refused as refused:
        return Fate.NOT_TRANSLATED, (), str(refused)
    note = "alerts with equal values join if they begin within 15m of each other, and only where each label is there; "
    note += "others join by the topology and the other rules" if somewhere else (
        f"written, and not in force: nothing of {listed(way)} says where, so unrelated problems would be one "
        "incident. `enabled: true` groups as Alertmanager does"
    )  # fmt: skip
    return Fate.APPROXIMATELY, (key,), note


def _condition(top: Route, way: tuple[str, ...]) -> str:
    sides = [_chosen(top, way, side) for side in "ab"]
    return "" if sides == ["true", "true"] else " && ".join(f"({side})" for side in sides)


def _chosen(route: Route, way: tuple[str, ...], side: str) -> str:
    """Condition in CEL: an alert that has come to ``route`` is grouped this way, there or further down."""
    inner = [_chosen(child, way, side) for child in route.routes]
    own = _grouped(route) == way
    if own and all(text == "true" for text in inner):
        return "true"
    ways = []
    for index, child in enumerate(route.routes):
        if inner[index] != "false":
            before = [e for e in route.routes[:index] if not e.goes_on and may_overlap(e.matchers, child.matchers)]
            parts = [_matched(child.matchers, side), *(f"!({_matched(e.matchers, side)})" for e in before)]
            ways.append([*parts, f"({inner[index]})"] if inner[index] != "true" else parts)
    if own:
        ways.append([f"!({_matched(child.matchers, side)})" for child in route.routes])
    return " || ".join(" && ".join(parts) for parts in ways) or "false"


def _matched(matchers: Sequence[Matcher], side: str) -> str:
    return " && ".join(_cel(matcher, f"{side}.labels") for matcher in matchers) or "true"


def _cel(matcher: Matcher, labels: str) -> str:
    name, value = (dumps(text, ensure_ascii=False) for text in (matcher.name, matcher.value))
    plain = Matcher(name=matcher.name, value=matcher.value, is_regex=matcher.is_regex)
    pattern = dumps(f"^(?:{matcher.value})$", ensure_ascii=False)
    test = f"{labels}[{name}].matches({pattern})" if matcher.is_regex else f"{labels}[{name}] == {value}"
    text = f"(!({name} in {labels}) || {test})" if plain.matches({}) else f"({name} in {labels} && {test})"
    return text if matcher.is_equal else f"!{text}"


# ---- when routes are quiet ----


def _alone(route: Route) -> tuple[list[tuple[Matcher, ...]], str]:
    """Matchers of the alerts that end at this route and at no other one: any of the combinations; or why there are
    none that say so."""
    path: list[Matcher] = []
    others: list[Route] = list(route.routes)
    here = route
    while here.parent is not None:
        path += here.matchers
        if here.goes_on:
            return [], f"{here.node.name} has `continue`, so its alerts may be told of by another route too"
        siblings = here.parent.routes
        others += siblings[: siblings.index(here)]
        here = here.parent
    excluded = [other for other in others if may_overlap(path, other.matchers)]
    if any(not other.matchers for other in excluded):
        return [], "another route takes everything before"
    count = 1
    for other in excluded:
        count *= len(other.matchers)
    if count > _MAX_CASES:
        return [], f"{count} windows would be needed to leave out what other routes take"
    cases = [
        tuple(dict.fromkeys((*path, *map(_opposite, chosen))))
        for chosen in product(*(other.matchers for other in excluded))
    ]
    cases = [case for case in cases if may_overlap(case, ())]
    if any(matches_all(case, {}) for case in cases):
        return [], "it takes everything that no other route takes, and a window may not cover everything"
    return cases, ""


def _opposite(matcher: Matcher) -> Matcher:
    return Matcher(name=matcher.name, value=matcher.value, is_regex=matcher.is_regex, is_equal=not matcher.is_equal)


def _silent(route: Route, made: Translation, today: date, *, anybody: bool) -> None:
    """A receiver that tells nobody: a window that never ends. anybody: whether any receiver tells anybody."""
    node, what = route.node, f"its receiver {route.receiver!r} tells nobody"
    cases, why = _alone(route)
    if not anybody and route.receiver.lower() not in _NOBODY:
        why = "no receiver tells anybody, so it seems that people look at Alertmanager itself"
    if why:
        note = f"{what}, and now its alerts open tickets: {why}. Silence what you know, or set ticket.min_priority"
        made.tell(node, "route", Fate.NOT_TRANSLATED, note=note)
        return
    keys, refused = _windows(route, cases, [always(today)], "silent", f"Alertmanager: {what}", node, made)
    note = refused or f"{what}: a maintenance window that never ends; the alerts are seen and open no ticket"
    made.tell(node, "route", Fate.APPROXIMATELY if keys else Fate.NOT_TRANSLATED, into=keys, note=note)


def _muted(config: Config, route: Route, key: str, node: Node, made: Translation, today: date) -> None:
    named = [config.intervals[entry.plain()] for entry in (route.muted if key.startswith("mute") else route.active)]
    odd = [why for interval in named for _, why in interval.odd]
    cases, why = _alone(route)
    plans: list[Mapping[str, Any]] = []
    if key.startswith("mute"):
        plans = [plan for one in named for _, pattern, zone in one.patterns for plan in windows(pattern, today, zone)]
    elif not why:
        zones = {zone for interval in named for _, _, zone in interval.patterns}
        rest = outside(pattern for interval in named for _, pattern, _ in interval.patterns) if not odd else None
        if len(zones) > 1 or rest is None:
            why = (
                "quiet is whatever is outside of these times, and that is worked out for times of the week in one zone"
            )
        else:
            plans = [plan for pattern in rest for plan in windows(pattern, today, zones.pop() if zones else "UTC")]
    if why:
        note = f"{why}; plan the windows by hand (foreshock maintenance add)"
        made.tell(node, f"route {key}", Fate.NOT_TRANSLATED, note=note)
        return
    about = f"Alertmanager: {key} {', '.join(interval.name for interval in named)}"
    keys, refused = _windows(route, cases, plans, "-".join(one.name for one in named), about, node, made)
    note = "; ".join(filter(None, [refused, *(f"left out: {one}" for one in odd)]))
    fate = Fate.NOT_TRANSLATED if plans and not keys else Fate.APPROXIMATELY if note else Fate.TRANSLATED
    made.tell(node, f"route {key}", fate, into=keys, note=note or ("" if keys else "it is over"))


def _windows(
    route: Route, cases: Sequence[Sequence[Matcher]], plans: Sequence[Mapping[str, Any]], name: str, about: str,
    node: Node, made: Translation,
) -> tuple[list[str], str]:  # fmt: skip
    keys, refused = [], ""
    for case, plan in product(cases, plans):
        entry = {
            "title": f"{about} ({_said(route)})"[:200],
            "comment": f"from {_from(node)}"[:2000],
            "owner": route.receiver[:200],
            "matchers": [str(matcher) for matcher in case],
            **plan,
        }
        try:
            keys.append(made.add_window(f"am-{name}", entry, _from(node)))
        except Refused as error:
            refused = str(error)
    return keys, refused


# ---- the rest ----


def _receivers(config: Config, made: Translation) -> None:
    used = {route.receiver for route in config.route.walk()} if config.route else set()
    for name, (node, notifies) in config.receivers.items():
        ways = [key.removesuffix("_configs") for key, _ in node.left() if key.endswith("_configs")]
        note = f"{listed(ways)}: where tickets go is the list `sinks` (desk, webhook); who gets them, the CI's owner"
        note = note if notifies else "it tells nobody; see the routes that name it"
        note = note if name in used else f"no route names it; {note}"
        fate = Fate.NOT_TRANSLATED if notifies else Fate.TRANSLATED
        made.tell(node, "receiver", fate, name=name or node.name, note=note)
        for key, left in node.left():
            if not key.endswith("_configs"):
                made.tell(left, "receiver key", Fate.NOT_TRANSLATED, note=_UNKNOWN)


def _intervals(config: Config, made: Translation) -> None:
    users: dict[str, list[str]] = {}
    for route in config.route.walk() if config.route else ():
        for key, entries in (("mute_time_intervals", route.muted), ("active_time_intervals", route.active)):
            for entry in entries:
                users.setdefault(entry.plain(), []).append(f"{route.node.name}.{key}")
    fates = {item.name: item.fate for item in made.items}
    for name, interval in config.intervals.items():
        used = users.get(name, [])
        fate = min((fates[user] for user in used), key=list(Fate).index, default=Fate.NOT_TRANSLATED)
        note = f"see {listed(used)}" if used else "no route uses it"
        made.tell(interval.node, "time interval", fate, name=name, note=note)
        for entry, why in interval.odd:
            made.tell(entry, "time interval entry", Fate.NOT_TRANSLATED, note=f"{why}; plan it by hand")
        for _, left in interval.node.left():
            made.tell(left, "time interval key", Fate.NOT_TRANSLATED, note=_UNKNOWN)


def _silence(node: Node, silence: ReadSilence, made: Translation) -> None:
    name = silence.id or node.name
    if silence.status.state == "expired":
        made.tell(node, "silence", Fate.NOT_TRANSLATED, name=name, note="it is over")
        return
    try:
        read = tuple(
            Matcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal) for m in silence.matchers
        )
    except Malformed as error:
        made.tell(node, "silence", Fate.NOT_TRANSLATED, name=name, note=str(error))
        return
    if not read or matches_all(read, {}):
        note = "it matches every alert, which a silence of ours may not"
        made.tell(node, "silence", Fate.NOT_TRANSLATED, name=name, note=note)
        return
    if not (silence.comment.strip() and silence.created_by.strip()):
        note = "it has no comment or nobody set it; somebody will ask why: foreshock silence add"
        made.tell(node, "silence", Fate.NOT_TRANSLATED, name=name, note=note)
        return
    made.silences.append(
        {
            "matchers": [msgspec.to_builtins(matcher) for matcher in silence.matchers],
            "startsAt": silence.starts_at.isoformat(),
            "endsAt": silence.ends_at.isoformat(),
            "createdBy": silence.created_by,
            "comment": silence.comment,
        }
    )
    by = f"until {silence.ends_at:%Y-%m-%d %H:%M} by {silence.created_by}: {', '.join(map(str, read))}"
    made.tell(node, "silence", Fate.TRANSLATED, name=name, into=(f"silence {len(made.silences) - 1}",), note=by)


_BESIDE = (
    "",
    "Until you switch over, let Prometheus send to both: name Foreshock beside Alertmanager under",
    "`alerting.alertmanagers` in prometheus.yml. Differences that hold for everything:",
    "",
    "- Alertmanager keeps single alerts quiet; Foreshock opens no ticket while *every* active alert of an incident is.",
    "- Labels do not route. A ticket goes to the owner of the CI that caused the incident.",
    "- What an inhibition rule names as its target explains nothing along the topology any more.",
)

IMPORTER = Importer(kind="alertmanager", title="Alertmanager", read=read, translate=translate)
