"""Which objects of several CMDB sources are one thing, and what that thing is. Pure: values in, values out.

The store asks in two ways, and both must give the same: with everything, and with only what a change touches. What a
change touches is found by ``keys``: two objects that might be one thing share a key, so a group of objects that is
closed under shared keys (and under the CI they were held to be before) can be worked out by itself.

Objects join by the first rule of ``RULES`` that says so, the surest first. What joins must be the only one of its
source under that key, and nothing surer may speak against it: two machines that share a name and differ in their
serial number stay two, also where a third object that is like both would draw them together. What is not joined
although it looks alike is told as a conflict, never decided in silence. Peers do likewise: ServiceNow's identification
and reconciliation engine asks its identifier entries in order, serial number before name, and treats several matches
as a duplicate to be looked at.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from itertools import combinations
from typing import Any

from msgspec import Struct

from foreshock.core.cmdb import GENERIC, IdType, Item, Kind
from foreshock.core.model import CI

Ref = tuple[str, str]
"""Source and id of an object."""


class Said(Struct, frozen=True):
    """One object, and who says it."""

    source: str
    item: Item


class Rule(Struct, frozen=True, kw_only=True):
    """One way in which two objects can turn out to be one.

    Attributes:
        name: as settings and reasons name it; the word that its keys begin with.
        of: kinds it is about; empty: all. Kinds that are not kin join by no rule but those with
            ``any_kind``.
        any_kind: the value itself says what kind of thing it is.
        loose: whether an object whose class no map names joins what has a kind.
        careful: the value is no proof: names, addresses, host names and environments must not speak against it either.
    """

    name: str
    of: frozenset[str] = frozenset()
    any_kind: bool = False
    loose: bool = False
    careful: bool = False


MACHINES = frozenset(
    {
        Kind.SERVER, Kind.VM, Kind.NETWORK, Kind.STORAGE, Kind.POWER,
        "host", "machine", "node", "hypervisor", "switch", "router", "firewall", "load_balancer",
    }
)  # fmt: skip
"""Kinds that are one to identification: what one source calls a server another calls a virtual machine or a firewall.
The last are words that people write in files."""
_UNNAMED = frozenset({Kind.INTERFACE})
"""Kinds whose name says nothing by itself: every machine has an ``eth0``."""

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(name="record", any_kind=True),
        Rule(name="kubernetes", any_kind=True),
        Rule(name="provider", loose=True),
        Rule(name="uuid", loose=True),
        Rule(name="serial", loose=True),
        Rule(name="asset_tag", loose=True),
        Rule(name="mac", of=MACHINES | {Kind.INTERFACE}, loose=True),
        Rule(name="fqdn", of=MACHINES),
        Rule(name="ip", of=MACHINES, careful=True),
        Rule(name="name", careful=True),
    )
}
"""By what objects join, the surest first."""

_DECISIVE = ("serial", "uuid", "provider", "kubernetes")
"""Where both have one in the same scope, and none in common, they are two things."""
_TELLING = ("ip", "fqdn", "asset_tag", "environment", "name")
"""The same, for rules that are ``careful``; names only where the rule is about addresses."""

ATTRIBUTES = ("name", "kind", "owner", "environment", "criticality")
"""What precedence can be set for."""

_MOST_NAMED = 10
_MAX_ID_CHARS = 512


class Rules(Struct, frozen=True, kw_only=True):
    """How objects become CIs.

    Attributes:
        sources: their names, the leading one first. kinds: of each.
        precedence: by attribute the sources to take it from, before all others.
        identify: names of ``RULES`` that are in force, in their order.
        placeholders: serial numbers, asset tags, UUIDs and names that mean nothing here, beside those that mean nothing
            anywhere; as ``fold`` writes them.
    """

    sources: tuple[str, ...] = ()
    kinds: Mapping[str, str] = {}
    precedence: Mapping[str, tuple[str, ...]] = {}
    identify: tuple[str, ...] = tuple(RULES)
    placeholders: tuple[str, ...] = ()


class ConflictKind(StrEnum):
    """DUPLICATE: one source has several objects under one key. CONTRADICTION: a key would join objects that something
    surer tells apart. AMBIGUOUS: a key could join an object with more than one other. ATTRIBUTE: sources differ.
    RETIRED: out of use for one, in use for another. NAME: several things are called the same, so one got another id."""

    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"
    AMBIGUOUS = "ambiguous"
    ATTRIBUTE = "attribute"
    RETIRED = "retired"
    NAME = "name"


class Conflict(Struct, frozen=True, kw_only=True, gc=False):
    """Something that sources say differently, or that could not be decided.

    Attributes:
        ci: the CI it is about; empty where none came of it. about: an attribute, or the key that several share.
        detail: who says what, and what was made of it, for people.
        objects: whom it is about, at most ten.
    """

    ci: str
    about: str
    detail: str
    kind: ConflictKind = ConflictKind.ATTRIBUTE
    objects: tuple[Ref, ...] = ()


class Reconciled(Struct, frozen=True, kw_only=True):
    """What the objects given are.

    Attributes:
        cis: what is in the topology, by id; without what is retired.
        ids: by source and id of its object the CI that the object is. What is retired keeps the id it had, as long as
            nothing that is in use is called the same; without one it is not named here.
        because: by CI of several objects, the keys that made them one, the surest first.
    """

    cis: Mapping[str, CI]
    ids: Mapping[Ref, str]
    conflicts: tuple[Conflict, ...] = ()
    because: Mapping[str, tuple[str, ...]] = {}


def keys(item: Item) -> Iterable[str]:
    """By what another object may turn out to be the same thing, or may want the same id; equal text for equal things,
    whatever the way it is written."""
    return dict.fromkeys(_key(*part) for part in _parts(item))


def reconcile(
    said: Sequence[Said],
    rules: Rules,
    known: Mapping[Ref, str],
    taken: Callable[[str], bool],
    since: Callable[[Ref], int] | None = None,
) -> Reconciled:
    """The CIs that these objects are, the same whatever their order.

    Args:
        said: all objects, or a group that is closed under shared keys and shared CIs.
        known: by source and object the CI it was held to be before; an id once given stays.
        taken: whether a CI outside of this group has this id.
        since: a number that grows, for each object of ``known``: when it was first held to be that. Of several ids the
            older stays, and in a split the older member keeps it; without it those of the leading source.
    """
    order = {name: place for place, name in enumerate(rules.sources)}
    ranked = sorted(said, key=lambda one: (order.get(one.source, len(order)), one.source, one.item.id))
    groups = _Groups(ranked, rules)
    groups.join()
    things = groups.things()
    ids = _assign(things, ranked, known, taken, since or (lambda ref: 0))
    return _told(things, ids, groups, rules)


# ---- what an object is known by -------------------------------------------------------------------------------------

_Part = tuple[str, str, str]
"""Rule, scope, value."""

_PLACEHOLDERS = frozenset(
    {
        "", "none", "null", "nil", "n/a", "na", "unknown", "undefined", "empty", "default", "default string", "invalid",
        "not specified", "not available", "not applicable", "not present", "to be filled by o.e.m.",
        "to be filled by oem", "o.e.m.", "oem", "system serial number", "chassis serial number", "serial number",
        "base board serial number", "serial", "asset tag", "no asset tag", "no asset information", "asset-1234567890",
        "default_value", "123456789", "1234567890", "0123456789", "12345678", "1234567", "123456", "localhost",
        "localhost.localdomain", "(none)", "test", "tbd", "todo", "?", "-", "--",
        # SMBIOS UUIDs that several makers burnt into all their boards (dmidecode, fwupd and Intune list them).
        "0300020004000500000600070008" "0009", "00020003000400050006000700080009",
        "12345678123456789" "0abcddeefaabbcc", "fefefefefefefefefefefefefefefefe",
    }
)  # fmt: skip
_FEWEST = 4
"""Shorter serial numbers and asset tags are no identity."""
_NO_MACS = ("0242", "00005e0001", "00005e0002", "00000c07ac", "00000c9ff")
"""First digits of what many machines make up alike: Docker bridges, and the addresses that VRRP and HSRP share."""
_OCTETS = frozenset(map(str, range(256)))
_NO_MARKS = str.maketrans("", "", ":-. ")
_SHORT = {
    "prod": "production", "prd": "production", "live": "production", "dev": "development", "tst": "test",
    "testing": "test", "stage": "staging", "stg": "staging", "nonprod": "non-production",
}  # fmt: skip


def fold(text: str) -> str:
    """Text without regard to case, Unicode form and spaces around it."""
    return text.strip().lower() if text.isascii() else unicodedata.normalize("NFC", text.strip()).casefold()


def _key(rule: str, scope: str, value: str) -> str:
    return f"{rule} {value} in {scope}" if scope else f"{rule} {value}"


def _parts(item: Item) -> Iterator[_Part]:
    """All that an object is known by, what means nothing left out, the record's own id included."""
    yield "record", "", fold(item.id)
    yield from _typed(item, _ALL)
    machine = item.kind in MACHINES
    yield from _named(item.handle or item.name, item, machine)
    for one in item.identifiers:
        if one.type is IdType.HOSTNAME:
            yield from _named(one.value, item, machine)


def _typed(item: Item, types: Collection[str]) -> Iterator[_Part]:
    for one in item.identifiers:
        if one.type in types and (value := _NORMAL[one.type](one.value)):
            # A record's own id is found by its value alone; whose id it is, ``_Groups`` sees.
            yield one.type.value, "" if one.type is IdType.RECORD else one.scope and fold(one.scope), value


def _named(text: str, item: Item, machine: bool) -> Iterator[_Part]:
    name = fold(text).rstrip(".")
    if name in _PLACEHOLDERS or (item.kind in _UNNAMED and not item.handle):
        return
    yield "name", "", name
    if not machine:
        return
    if address := _address(name):
        yield "ip", "", address
    elif "." in name:
        yield "fqdn", "", name
        if (short := name.partition(".")[0]) not in _PLACEHOLDERS:
            yield "name", "", short


def _printed(text: str) -> str:
    """Serial numbers and asset tags."""
    value = fold(text)
    return "" if len(value) < _FEWEST or value in _PLACEHOLDERS or len(set(value)) == 1 else value


def _uuid(text: str) -> str:
    value = fold(text).removeprefix("urn:uuid:").strip("{}").replace("-", "")
    return "" if len(value) < _FEWEST or value in _PLACEHOLDERS or len(set(value)) == 1 else value


def _mac(text: str) -> str:
    value = text.lower().translate(_NO_MARKS)
    if len(value) != 12 or len(set(value)) == 1 or value.startswith(_NO_MACS) or value.strip("0123456789abcdef"):
        return ""
    return value


def _address(text: str) -> str:
    """An address that means one machine; empty for others and for what is none."""
    if not text or not (text[0].isdigit() or ":" in text):
        return ""
    text = text.strip().partition("/")[0].partition("%")[0].strip("[]")
    octets = text.split(".")
    if len(octets) == 4 and all(octet in _OCTETS for octet in octets):  # nearly all, at a tenth of the cost
        vague = octets[0] in ("0", "127") or int(octets[0]) >= 224 or octets[:2] == ["169", "254"]
        return "" if vague else text
    return _long_address(text) if ":" in text else ""


@lru_cache(maxsize=65_536)
def _long_address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    vague = address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast
    return "" if vague else str(address)


def _domain_name(text: str) -> str:
    value = fold(text).rstrip(".")
    return value if "." in value and value not in _PLACEHOLDERS and not _address(value) else ""


_NORMAL: Mapping[IdType, Callable[[str], str]] = {
    IdType.SERIAL: _printed,
    IdType.ASSET_TAG: _printed,
    IdType.UUID: _uuid,
    IdType.PROVIDER: fold,
    IdType.FQDN: _domain_name,
    IdType.IP: _address,
    IdType.MAC: _mac,
    IdType.KUBERNETES: fold,
    IdType.RECORD: fold,
}
_ALL = frozenset(_NORMAL)


def _environment(text: str) -> str:
    value = fold(text)
    return _SHORT.get(value, value)


# ---- who is one with whom -------------------------------------------------------------------------------------------

_Marks = Mapping[tuple[str, str], set[str]]
"""By rule and scope the values that a group has."""


class _Thing(Struct, frozen=True):
    """Objects that are one. objects: places in rank order, the leading one first."""

    objects: tuple[int, ...]
    retired: bool
    because: tuple[str, ...]


class _Groups:
    """Objects on their way to becoming CIs; each is a place in ``said``, which is in rank order."""

    def __init__(self, said: Sequence[Said], rules: Rules) -> None:
        self.said = said
        self._rules = rules
        self._meaningless = frozenset(rules.placeholders)
        self._root = list(range(len(said)))
        self._members: dict[int, list[int]] = {}
        self._marks: dict[tuple[int, bool], _Marks] = {}
        self._because: defaultdict[int, list[str]] = defaultdict(list)
        self._told: set[tuple[int, ...]] = set()
        self.apart: list[tuple[ConflictKind, str, str, list[int]]] = []
        """What was not joined: kind, key, why, objects."""

    def join(self) -> None:
        shared = self._shared()
        for name in self._rules.identify:
            rule = RULES[name]
            for key, holders in shared.pop(name).items():
                if len({self._root[place] for place in holders}) > 1:
                    for party in self._parties(rule, key, self._in_use(holders)):
                        self._join(rule, key, party)

    def things(self) -> list[_Thing]:
        """In the order of their leading objects."""
        return [
            _Thing(
                tuple(members := sorted(self._members.get(place, [place]))),
                self.said[members[0]].item.retired,
                tuple(self._because.get(place, ())),
            )
            for place, root in enumerate(self._root)
            if root == place
        ]

    def _shared(self) -> dict[str, dict[str, list[int]]]:
        """By rule the keys that several objects hold, with their holders in rank order."""
        first: dict[str, int] = {}
        found: dict[str, dict[str, list[int]]] = {name: {} for name in RULES}
        for place, one in enumerate(self.said):
            for part in _parts(one.item):
                key = _key(*part)  # text, which costs the garbage collector nothing
                before = first.setdefault(key, place)
                if before != place and part[2] not in self._meaningless:
                    holders = found[part[0]].setdefault(key, [before])
                    if holders[-1] != place:
                        holders.append(place)
        return found

    def _parties(self, rule: Rule, key: str, holders: list[int]) -> Iterable[list[int]]:
        """Holders of one key that may be one by it: of one kind before those of kinds that are kin."""
        if rule.name == "record":
            return self._by_record(key.removeprefix("record "), holders)
        if rule.any_kind:
            return (holders,)
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        kin: defaultdict[str, list[int]] = defaultdict(list)
        unsure: list[int] = []
        for place in holders:
            item = self.said[place].item
            if item.kind == GENERIC and (rule.loose or not item.class_name):
                unsure.append(place)
            elif not rule.of or item.kind in rule.of:
                kinds[item.kind if item.kind != GENERIC else f"{GENERIC} {item.class_name}"].append(place)
                kin["machine" if item.kind in MACHINES else item.kind].append(place)
        if not unsure:
            return (*(some for some in kinds.values() if len(some) < len(holders)), *kin.values())
        if len(kin) > 1:
            self._tell(ConflictKind.AMBIGUOUS, key, "its kind is not known", holders)
            return kin.values()
        return (*kinds.values(), sorted(unsure + [place for some in kin.values() for place in some]))

    def _by_record(self, value: str, holders: list[int]) -> Iterable[list[int]]:
        """Objects that name a record of another system, with that record, by the system they mean."""
        naming: defaultdict[str, list[int]] = defaultdict(list)
        for place in holders:
            for scope, named in _records(self.said[place].item):
                if named == value:
                    naming[scope].append(place)
        return [
            sorted({*named, *(at for at in holders if self._is_record(at, scope, value))})
            for scope, named in naming.items()
        ]

    def _is_record(self, place: int, scope: str, value: str) -> bool:
        one = self.said[place]
        return fold(one.item.id) == value and scope in self._names(one.source)

    def _names(self, source: str) -> tuple[str, str]:
        return fold(source), fold(self._rules.kinds.get(source, source))

    def _in_use(self, holders: list[int]) -> list[int]:
        """Without objects that are retired where their source has another that is not: it took their place."""
        used = {self.said[place].source for place in holders if not self.said[place].item.retired}
        return [place for place in holders if not self.said[place].item.retired or self.said[place].source not in used]

    def _join(self, rule: Rule, key: str, party: list[int]) -> None:
        groups = sorted({self._root[place] for place in party})
        if len(groups) < 2:
            return
        sources = [self.said[place].source for group in groups for place in self._of(group)]
        alone = len(set(sources)) == len(sources)
        against = self._against(groups, rule) if alone else ""
        if alone and not against:
            self._unite(groups, key)
        elif alone:
            kind = ConflictKind.CONTRADICTION if len(groups) == 2 else ConflictKind.AMBIGUOUS
            self._tell(kind, key, against, party)
        else:
            self._tell_several(rule, key, party, groups)

    def _tell_several(self, rule: Rule, key: str, party: list[int], groups: list[int]) -> None:
        """A key under which a source has several objects joins nothing. It is told where it matters: because it should
        mean one object by its nature, or because an object of another source might be any of them."""
        homes = [frozenset(self.said[place].source for place in self._of(group)) for group in groups[:_MOST_NAMED]]
        if any(one.isdisjoint(other) for one, other in combinations(homes, 2)):
            self._tell(ConflictKind.AMBIGUOUS, key, "a source has several", party)
        elif not rule.careful or len({self.said[place].item.kind for place in party}) < len(party):
            self._tell(ConflictKind.DUPLICATE, key, "a source has several", party)

    def _tell(self, kind: ConflictKind, key: str, why: str, party: list[int]) -> None:
        """Once for the same objects: by the surest of the keys they share."""
        if (whom := tuple(party)) not in self._told:
            self._told.add(whom)
            self.apart.append((kind, key, why, party))

    def _of(self, group: int) -> list[int]:
        return self._members.get(group) or [group]

    def _unite(self, groups: list[int], key: str) -> None:
        first = groups[0]
        members = [place for group in groups for place in self._of(group)]
        because = [one for group in groups for one in self._because.pop(group, ())]
        for group in groups:
            self._members.pop(group, None)
            self._marks.pop((group, False), None)
            self._marks.pop((group, True), None)
        for place in members:
            self._root[place] = first
        self._members[first] = members
        self._because[first] = [*because, key]

    def _against(self, groups: list[int], rule: Rule) -> str:
        """What tells two of them apart, in words; empty if nothing does."""
        for one, other in combinations(groups, 2):
            mine, theirs = self._marked(one, rule.careful), self._marked(other, rule.careful)
            for at, values in mine.items():
                others = theirs.get(at)
                if others and at[0] != "name" and values.isdisjoint(others):
                    return f"{at[0].replace('_', ' ')} {_some(values)} is not {_some(others)}"
            if why := self._other_record(one, other) or self._other_record(other, one):
                return why
            if rule.name == "ip" and (why := self._other_name(one, other)):
                return why
        return ""

    def _marked(self, group: int, careful: bool) -> _Marks:
        """What tells a group from others: only what is decisive, or all."""
        found = self._marks.get((group, careful))
        if found is None:
            fresh: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
            for place in self._of(group):
                item = self.said[place].item
                for name, scope, value in _parts(item) if careful else _typed(item, _DECISIVE):
                    if (name in _TELLING or name in _DECISIVE) and value not in self._meaningless:
                        fresh[name, scope].add(value)
                if careful and item.environment:
                    fresh["environment", ""].add(_environment(item.environment))
            found = self._marks[group, careful] = fresh
        return found

    def _other_record(self, group: int, other: int) -> str:
        """Where one names a record of a system, and the other is or names another record of it."""
        named: defaultdict[str, set[str]] = defaultdict(set)
        for place in self._of(group):
            for scope, value in _records(self.said[place].item):
                named[scope].add(value)
        if not named:
            return ""
        for place in self._of(other):
            one = self.said[place]
            theirs = [(scope, fold(one.item.id)) for scope in self._names(one.source)]
            for scope, value in (*theirs, *_records(one.item)):
                if scope in named and value not in named[scope]:
                    return f"{scope} record {_some(named[scope])} is not {value!r}"
        return ""

    def _other_name(self, group: int, other: int) -> str:
        at = ("name", "")
        mine, theirs = self._marked(group, True).get(at, set()), self._marked(other, True).get(at, set())
        mine, theirs = ({name for name in names if not _address(name)} for names in (mine, theirs))
        return f"name {_some(mine)} is not {_some(theirs)}" if mine and theirs and mine.isdisjoint(theirs) else ""


def _records(item: Item) -> list[tuple[str, str]]:
    return [(fold(one.scope), fold(one.value)) for one in item.identifiers if one.type is IdType.RECORD]


def _some(values: Iterable[str]) -> str:
    found = sorted(values)
    return repr(found[0]) if len(found) == 1 else f"{found[0]!r} and {len(found) - 1} more"


# ---- what each is called --------------------------------------------------------------------------------------------


_Claim = tuple[int, int, int, str]
"""Since when, the object, the thing it is part of, the id."""


def _assign(
    things: Sequence[_Thing],
    said: Sequence[Said],
    known: Mapping[Ref, str],
    taken: Callable[[str], bool],
    since: Callable[[Ref], int],
) -> dict[int, str]:
    """Ids by place in ``things``: first what each was called, then what those without want to be called."""
    claims: list[_Claim] = []
    kept: list[_Claim] = []
    for place, thing in enumerate(things):
        for at in thing.objects:
            ref = (said[at].source, said[at].item.id)
            if ref in known:
                (kept if thing.retired else claims).append((since(ref), at, place, known[ref]))
    ids: dict[int, str] = {}
    used: set[str] = set()
    _claim(claims, ids, used)
    held: defaultdict[str, list[int]] = defaultdict(list)
    for _, at, _, id in kept:
        held[id].append(at)
    for place, thing in enumerate(things):
        if thing.retired or place in ids:
            continue
        lead = said[thing.objects[0]]
        id = (lead.item.handle or lead.item.name or lead.item.id)[:_MAX_ID_CHARS]
        # What is retired gives its id away to what took its place under the same name, and to nothing else.
        while id in used or taken(id) or any(not _alike(lead.item, said[at].item) for at in held.get(id, ())):
            id = f"{id} ({lead.source}:{lead.item.id})"
        ids[place] = id
        used.add(id)
    _claim(kept, ids, used)
    return ids


def _alike(item: Item, other: Item) -> bool:
    mine, theirs = ({value for name, _, value in _parts(one) if name == "name"} for one in (item, other))
    return not mine.isdisjoint(theirs)


def _claim(claims: list[_Claim], ids: dict[int, str], used: set[str]) -> None:
    for _, _, place, id in sorted(claims):
        if place not in ids and id not in used:
            ids[place] = id
            used.add(id)


# ---- what each is ---------------------------------------------------------------------------------------------------


def _told(things: Sequence[_Thing], ids: Mapping[int, str], groups: _Groups, rules: Rules) -> Reconciled:
    said = groups.said
    cis: dict[str, CI] = {}
    homes: dict[Ref, str] = {}
    because: dict[str, tuple[str, ...]] = {}
    conflicts: list[Conflict] = []
    for place, thing in enumerate(things):
        id = ids.get(place)
        if id is None:
            continue
        members = [said[at] for at in thing.objects]
        for one in members:
            homes[one.source, one.item.id] = id
        if len(members) > 1:
            because[id] = thing.because
            conflicts.extend(_differences(id, members, rules))
        if not thing.retired:
            cis[id] = _ci(id, members, rules)
            conflicts.extend(_renamed(id, members[0]))
    for kind, key, why, party in groups.apart:
        objects = [(said[at].source, said[at].item.id) for at in party]
        ci = next((homes[ref] for ref in objects if ref in homes), "")
        detail = f"{key} is held by {_listed(objects, homes)}: {why}; not joined by it"
        conflicts.append(Conflict(ci=ci, about=key, detail=detail, kind=kind, objects=tuple(objects[:_MOST_NAMED])))
    return Reconciled(cis=cis, ids=homes, conflicts=tuple(conflicts), because=because)


def _listed(objects: Sequence[Ref], homes: Mapping[Ref, str]) -> str:
    named = ", ".join(f"{homes.get(ref, 'retired')!r} ({ref[0]}:{ref[1]})" for ref in objects[:_MOST_NAMED])
    more = len(objects) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _renamed(id: str, lead: Said) -> Iterator[Conflict]:
    wanted = lead.item.handle or lead.item.name
    if wanted and id.startswith(f"{wanted} ({lead.source}:"):
        yield Conflict(
            ci=id,
            about="id",
            detail=f"{wanted!r} was another CI when this one came, so it is called {id!r}",
            kind=ConflictKind.NAME,
            objects=((lead.source, lead.item.id),),
        )


def _ci(id: str, members: Sequence[Said], rules: Rules) -> CI:
    used = [one for one in members if not one.item.retired]
    name, kind, owner, environment, criticality = (_taken(attribute, used, rules) for attribute in ATTRIBUTES)
    return CI(
        id=id,
        kind=kind or GENERIC,
        name=name,
        aliases=tuple(_aliases({id, name}, used)),
        owner=owner,
        criticality=criticality or 0,
        environment=environment,
    )


def _taken(attribute: str, members: Sequence[Said], rules: Rules) -> Any:
    """What the first source that says anything says."""
    if len(members) > 1 and (first := rules.precedence.get(attribute)):
        order = {name: place for place, name in enumerate(first)}
        members = sorted(members, key=lambda one: order.get(one.source, len(order)))
    for one in members:
        value = getattr(one.item, attribute)
        if value and value != GENERIC:
            return value
    return None if attribute in ("kind", "criticality") else ""


def _differences(id: str, members: Sequence[Said], rules: Rules) -> Iterator[Conflict]:
    """What the sources of one CI say differently."""
    used = [one for one in members if not one.item.retired]
    objects = tuple((one.source, one.item.id) for one in members[:_MOST_NAMED])
    if used and len(used) < len(members):
        out = ", ".join(one.source for one in members if one.item.retired)
        detail = f"retired in {out}, in use in {', '.join(one.source for one in used)}; {members[0].source} leads"
        yield Conflict(ci=id, about="retired", detail=detail, kind=ConflictKind.RETIRED, objects=objects)
    for attribute in ATTRIBUTES:
        if len({getattr(one.item, attribute) for one in used}) < 2:
            continue
        values = [(one.source, value) for one in used if (value := _comparable(attribute, one.item))]
        if len({value for _, value in values}) > 1:
            said = ", ".join(f"{getattr(one.item, attribute)!r} in {one.source}" for one in used)
            detail = f"{attribute} is {said}; taken: {_taken(attribute, used, rules)!r}"
            yield Conflict(ci=id, about=attribute, detail=detail, objects=objects)


def _comparable(attribute: str, item: Item) -> object:
    value = getattr(item, attribute)
    if not value or value == GENERIC:
        return None
    if attribute == "environment":
        return _environment(value)
    if attribute == "kind":
        return "machine" if value in MACHINES else value
    if attribute == "name":
        name = fold(value).rstrip(".")
        return name if _address(name) or item.kind not in MACHINES else name.partition(".")[0]
    return fold(value) if isinstance(value, str) else value


_SCOPED = (IdType.IP, IdType.PROVIDER, IdType.KUBERNETES)
_UNIQUE_CHARS = 16
"""Record ids that are as long are unique by nature; shorter ones are numbers, which mean nothing without a source."""


def _aliases(known: set[str], members: Sequence[Said]) -> Iterator[str]:
    """All names of all sources, each once without regard to case; those in ``known`` need none."""
    told = {fold(name) for name in known}
    for one in members:
        for name in _also(one):
            if name and (folded := fold(name)) not in told:
                told.add(folded)
                yield name


def _also(one: Said) -> Iterator[str]:
    item = one.item
    yield item.name
    yield item.handle
    yield from item.aliases
    for each in item.identifiers:
        value = each.value.strip()
        if each.type is IdType.HOSTNAME or (each.type is IdType.RECORD and len(value) >= _UNIQUE_CHARS):
            yield value
        elif each.type is IdType.RECORD:
            continue
        elif normal := _NORMAL[each.type](value):
            if each.type is IdType.IP:
                value = normal
            if each.type is not IdType.ASSET_TAG or not value.isdecimal():
                yield value
            if each.scope and each.type in _SCOPED:
                yield f"{each.scope}/{value}"
    if len(item.id) >= _UNIQUE_CHARS:
        yield item.id
