"""Nautobot's inventory: devices, virtual machines, racks, locations, cables, power, circuits and services.

Facts:    docs.nautobot.com (REST API, GraphQL, relationships, change logging), the sources of nautobot 2.4.44 and
          3.2.7, and a real 3.2.7, read 2026-11-22. Versions 2.1 to 3.x; of 2.x only the sources were read.
Delivery: a whole reading lists the ids of each sort, then reads the objects by id through GraphQL, so that no page
          shifts. What changed is told by ``last_updated`` and by the change log, which also knows of deletions, of
          addresses that moved, and of cables that lost an end. Words that others show (the name of a location, tenant,
          role or contact) count as a change of those.
Recovery: a mark names the newest entry of the change log; where that is no more (its retention, 90 days by default, or
          a restored database) everything is read.
Limits:   ``page_size`` devices a call. Seen by a whole reading only: objects saved by hand in the database;
          relationships of your own that were deleted (and, of more than 5000, those that were made); in versions before
          3.2, which log no such thing, addresses that were assigned and clusters that were joined. Of a machine's
          identifiers the first 256 count, of the pairs of ends of a cable the first 8. Where no proxy before Nautobot
          sends a Date (uWSGI by itself does not), all since the latest change is read each time.
Needs:    a token of an account that may **view** (and nothing else): dcim.location, dcim.locationtype, dcim.rack,
          dcim.device, dcim.devicetype, dcim.interface, dcim.frontport, dcim.rearport, dcim.consoleport,
          dcim.consoleserverport, dcim.powerport, dcim.poweroutlet, dcim.powerpanel, dcim.powerfeed, dcim.cable,
          dcim.virtualchassis, dcim.deviceredundancygroup, virtualization.cluster, virtualization.clustertype,
          virtualization.virtualmachine, virtualization.vminterface, ipam.ipaddress, ipam.prefix, ipam.namespace,
          ipam.service, circuits.circuit, circuits.circuittermination, circuits.provider, circuits.circuittype,
          tenancy.tenant, extras.role, extras.status, extras.contact, extras.team, extras.contactassociation,
          extras.relationship, extras.relationshipassociation, extras.objectchange. An account that may not view one of
          them is refused before anything is read, because GraphQL would leave it out without a word.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct, structs
from pydantic import Field, field_validator

from foreshock.connect.auth import read_secret
from foreshock.connect.cmdb import criticality, flaw, read_cursor, write_cursor
from foreshock.connect.vendors.dcim import (
    END_MODELS,
    OVERLAP_S,
    Address,
    DcimConfig,
    End,
    Gathered,
    Row,
    Unseen,
    Words,
    cable_pairs,
    identifiers,
    moment_of,
    read_refusal,
    relationship_types,
    text_of,
)
from foreshock.connect.vendors.nautobot import MAX_BODY_BYTES, NOBODY, Nautobot, chunks
from foreshock.core.cmdb import RELATED, CmdbPage, CmdbParts, Identifier, IdType, Item, Kind, SourceKind
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Malformed, Missing, Unavailable

GLOBAL_NAMESPACE = "Global"
"""Where addresses are unless somebody makes namespaces: as unique as without scope."""
_MAX_CHANGES = 50_000
"""More changes than that are slower to follow than everything is to read."""
_MAX_ASSOCIATIONS = 5000
_CHANGES_A_CALL = 1000
_IDS_A_CALL = 200


class NautobotConfig(DcimConfig):
    relationships: dict[str, str] = Field(
        default_factory=dict,
        description="relationship type for the key of a relationship that you defined in Nautobot, read from its "
        "source to its destination, for example {vm_host: runs_on}; others are kept as related_to",
    )

    @field_validator("relationships")
    @classmethod
    def _are_types(cls, types: dict[str, str]) -> dict[str, str]:
        relationship_types(types)
        return types


class Sort(Struct, frozen=True):
    """One sort of objects.

    Attributes:
        name: of its list in GraphQL. type: as the change log names it. path: in REST.
        shows: for another sort, the filter by which objects of this one are found that show words of the other.
        share: of the page size.
    """

    name: str
    type: str
    path: str
    fields: str
    shows: Mapping[str, str] = {}
    share: float = 1.0


_COMMON = "id last_updated _custom_field_data tenant{name}"
_PLACE = "location{id name parent{name parent{name parent{name parent{name}}}}}"
_PEOPLE = "associated_contacts{contact{name} team{name} role{name}}"
_ADDRESSES = "ip_addresses{id host dns_name role{name} parent{namespace{name}}}"
_INTERFACES = f"interfaces{{id name mac_address enabled last_updated {_ADDRESSES}}}"
_WHO = {"tenants": "tenant", "contacts": "contacts", "teams": "teams"}

SORTS = (
    Sort(
        "locations",
        "dcim.location",
        "dcim/locations",
        f"{_COMMON} name parent{{id name parent{{name parent{{name parent{{name}}}}}}}} location_type{{name}} "
        "status{name}",
        {**_WHO, "locations": "subtree", "statuses": "status", "location_types": "location_type"},
    ),
    Sort(
        "racks",
        "dcim.rack",
        "dcim/racks",
        f"{_COMMON} name serial asset_tag status{{name}} role{{name}} {_PLACE}",
        {**_WHO, "locations": "location", "statuses": "status", "roles": "role"},
    ),
    Sort(
        "power_panels",
        "dcim.powerpanel",
        "dcim/power-panels",
        f"id last_updated _custom_field_data name {_PLACE}",
        {"locations": "location"},
    ),
    Sort(
        "power_feeds",
        "dcim.powerfeed",
        "dcim/power-feeds",
        "id last_updated _custom_field_data name status{name} power_panel{id name} rack{id}",
        {"power_panels": "power_panel", "statuses": "status"},
    ),
    Sort(
        "clusters",
        "virtualization.cluster",
        "virtualization/clusters",
        f"{_COMMON} name cluster_type{{name}} {_PLACE}",
        {**_WHO, "locations": "location", "cluster_types": "cluster_type"},
    ),
    Sort(
        "virtual_chassis",
        "dcim.virtualchassis",
        "dcim/virtual-chassis",
        "id last_updated _custom_field_data name domain",
    ),
    Sort(
        "device_redundancy_groups",
        "dcim.deviceredundancygroup",
        "dcim/device-redundancy-groups",
        "id last_updated _custom_field_data name status{name}",
        {"statuses": "status"},
    ),
    Sort(
        "circuits",
        "circuits.circuit",
        "circuits/circuits",
        f"{_COMMON} cid status{{name}} provider{{name}} circuit_type{{name}}",
        {**_WHO, "providers": "provider", "statuses": "status", "circuit_types": "circuit_type"},
    ),
    Sort(
        "devices",
        "dcim.device",
        "dcim/devices",
        f"{_COMMON} name serial asset_tag status{{name}} role{{name}} device_type{{model}} {_PLACE} rack{{id name}} "
        "virtual_chassis{id} device_redundancy_group{id} parent_bay{device{id}} primary_ip4{id} primary_ip6{id} "
        f"{_INTERFACES}",
        {**_WHO, "locations": "location", "racks": "rack", "statuses": "status", "roles": "role"},
    ),
    Sort(
        "virtual_machines",
        "virtualization.virtualmachine",
        "virtualization/virtual-machines",
        f"{_COMMON} name status{{name}} role{{name}} cluster{{id {_PLACE}}} primary_ip4{{id}} primary_ip6{{id}} "
        f"{_INTERFACES}",
        {**_WHO, "clusters": "cluster", "locations": "location", "statuses": "status", "roles": "role"},
    ),
    Sort(
        "services",
        "ipam.service",
        "ipam/services",
        "id last_updated _custom_field_data name protocol ports device{id name} virtual_machine{id name}",
        {"devices": "device", "virtual_machines": "virtual_machine"},
        2.0,
    ),
    Sort("cables", "dcim.cable", "dcim/cables", "id status{name}", {"statuses": "status"}, 2.0),
)  # fmt: skip
_BY_TYPE = {sort.type: sort for sort in SORTS}
_NESTED = (
    "dcim/interfaces", "dcim/front-ports", "dcim/rear-ports", "dcim/console-ports", "dcim/console-server-ports",
    "dcim/power-ports", "dcim/power-outlets", "dcim/location-types", "dcim/device-types", "virtualization/interfaces",
    "virtualization/cluster-types", "ipam/ip-addresses", "ipam/prefixes", "ipam/namespaces",
    "circuits/circuit-terminations", "circuits/providers",
    "circuits/circuit-types", "tenancy/tenants", "extras/roles", "extras/statuses",
    "extras/contacts", "extras/teams", "extras/contact-associations", "extras/relationships",
    "extras/relationship-associations", "extras/object-changes",
)  # fmt: skip
NEEDED = tuple(sort.path for sort in SORTS) + _NESTED
"""Endpoints whose objects the token must be allowed to view."""
_SHOWN = (
    "tenants",
    "roles",
    "statuses",
    "contacts",
    "teams",
    "location_types",
    "cluster_types",
    "circuit_types",
    "providers",
)
"""Sorts that are no CIs and whose words CIs show."""
_CUT_MODELS = frozenset(f"{'circuits' if model == 'circuittermination' else 'dcim'}.{model}" for model in END_MODELS)


class _At(Struct, frozen=True):
    """A cursor: the sort that is read, and after which id it goes on. since: of a delta; empty for a whole reading.
    mark: for the reading after this one."""

    sort: int
    after: str
    since: str
    mark: str
    expected: int = 0


class _Mark(Struct, frozen=True):
    """since: what changed from then on is new. change: the newest entry of the change log then."""

    since: str
    change: str


class _Delta(Struct, frozen=True):
    """What a delta is to read. ids: by the name of the sort. gone, gone_ties: what the change log says was deleted."""

    ids: Mapping[str, Sequence[str]]
    gone: tuple[str, ...]
    gone_ties: tuple[str, ...]


class NautobotSource:
    def __init__(self, name: str, config: NautobotConfig, parts: CmdbParts) -> None:
        from foreshock.connect.http import KeyHeader  # it takes a tenth of a second of each start

        self._config = config
        self._words = Words.of(config)
        token = read_secret(config.token_file, f"topology {name}.token_file")
        http = parts.http(
            f"nautobot {name!r}",
            config.url,
            auth=KeyHeader("Authorization", f"Token {token}"),
            secrets=(token,),
            ca_file=config.ca_file,
            proxy=config.proxy,
            read_refusal=read_refusal,
            max_body_bytes=MAX_BODY_BYTES,
        )
        self._api = Nautobot(http)
        self._listed: tuple[tuple[str, str], Sequence[str]] = (("", ""), ())
        self._followed: tuple[str, _Delta] | None = None
        self._read: dict[str, Callable[[Row, Gathered], None]] = {
            "locations": self._location,
            "racks": self._rack,
            "power_panels": self._power_panel,
            "power_feeds": self._power_feed,
            "clusters": self._cluster,
            "virtual_chassis": self._group,
            "device_redundancy_groups": self._group,
            "circuits": self._circuit,
            "devices": self._device,
            "virtual_machines": self._virtual_machine,
            "services": self._service,
            "cables": self._cable,
        }

    # ---- pages ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        at = read_cursor(cursor, _At) if cursor else self._begin(mark)
        found = Gathered(delta=bool(at.since))
        while at.sort < len(SORTS):
            sort = SORTS[at.sort]
            all_ids = self._ids(sort, at)
            ids = all_ids[bisect_right(all_ids, at.after) :]
            batch = ids[: max(1, int(self._config.page_size * sort.share))]
            if batch:
                self._fetch(sort, batch, found)
                more = len(ids) > len(batch)
                at = structs.replace(at, sort=at.sort + (not more), after=batch[-1] if more else "")
                return found.page(next=write_cursor(at), expected=at.expected)
            at = structs.replace(at, sort=at.sort + 1, after="")
        self._associations(at, found)
        if at.since:
            delta = self._delta(at.since)
            found.gone.update(dict.fromkeys(delta.gone))
            found.gone_ties.update(dict.fromkeys(delta.gone_ties))
        return found.page(mark=at.mark, whole=not at.since, expected=at.expected)

    def _begin(self, mark: str) -> _At:
        """Raises Denied where something may not be viewed: GraphQL would leave it out, and it would seem deleted."""
        known = read_cursor(mark, _Mark) if mark else None
        counts = self._counts(needed=known is None)
        # uWSGI alone sends no Date: then everything is new since the latest change, which is true, and more to read.
        change, changed_at = self._api.newest_change()
        now = self._api.http.server_now or changed_at
        since = "" if now is None else (now - timedelta(seconds=OVERLAP_S)).isoformat()
        after = _Mark(since=since, change=change)
        at = _At(sort=0, after="", since="", mark=write_cursor(after), expected=sum(counts))
        if known is None or not known.change or not self._api.knows_change(known.change):
            return at
        try:
            self._delta(known.since)
        except _TooMuch:
            return at
        return structs.replace(at, since=known.since, expected=0)

    def _counts(self, *, needed: bool) -> list[int]:
        """Of the CIs of each sort where that is needed, after a look whether all may be viewed that a reading views."""
        lacking, counts = [], {}
        for path in NEEDED:
            try:
                is_counted = needed and path not in _NESTED
                counts[path] = self._api.count(path, **({} if is_counted else {"id": NOBODY}))
            except Unseen:
                lacking.append(_permission(path))
            except Missing:
                continue  # this version does not know it
        if lacking:
            raise Denied(
                f"{self._api.http.instance}: the token may not view {', '.join(lacking)}",
                hint="give its account the permission to view them, without constraints",
            )
        if not counts:
            raise Missing(
                f"{self._api.http.instance}: {self._config.url}/api/ has nothing that Nautobot has",
                hint="check url: it is the address of the server, without /api",
            )
        return [counts.get(sort.path, 0) for sort in SORTS]

    def _ids(self, sort: Sort, at: _At) -> Sequence[str]:
        """All of a sort, or what changed of it, in order. They are listed once and remembered; another process that
        goes on with this reading lists them again."""
        if at.since:
            return self._delta(at.since).ids.get(sort.name, ())
        key = (sort.name, at.mark)
        if self._listed[0] != key:
            name = f"{sort.name}_ids"
            ids = sorted(_ids_of(self._api.rows_of(f"{{{name}:{sort.name}{{id}}}}", name)))
            if not ids and self._seen(sort):
                raise Unavailable(f"{self._api.http.instance}: GraphQL shows no {sort.name}, but REST does")
            self._listed = key, ids
        return self._listed[1]

    def _seen(self, sort: Sort) -> int:
        try:
            return self._api.count(sort.path)
        except Missing:
            return 0

    def _fetch(self, sort: Sort, ids: Sequence[str], found: Gathered) -> None:
        name = f"{sort.name}_rows"
        query = f"query($ids:[String]){{{name}:{sort.name}(id:$ids){{{self._selection(sort)}}}}}"
        data, wrong = self._api.ask(query, ids=list(ids))
        rows = self._api.listed(data, name)
        shown = {_id(row) for row in rows if row is not None}
        if not shown <= set(ids):
            raise Unavailable(f"{self._api.http.instance} answered {name} of another question", answered=True)
        bad: dict[int, str] = {path[1]: message for path, message in wrong if isinstance(path[1], int)}
        for index, message in bad.items():
            hidden = rows[index] is None if index < len(rows) else True
            unread = sorted(set(ids) - shown) if hidden else [_id(rows[index])]
            found.flaws += [flaw(id, Malformed(message), None if hidden else rows[index]) for id in unread]
        translate = self._read[sort.name]
        found.read((row for index, row in enumerate(rows) if index not in bad), lambda row: translate(row, found))
        if found.delta and sort.name == "cables":
            for id in set(ids) - shown:
                found.connect(id, [], "")

    def _selection(self, sort: Sort) -> str:
        """The fields of a sort, as far as this version has them."""
        match sort.name:
            case "cables":
                return f"{sort.fields} {self._ends_selection()}"
            case "devices":
                clusters = "clusters{id}" if self._api.has("DeviceType", "clusters") else "cluster{id}"
                selection = f"{sort.fields} {clusters}"
            case _:
                selection = sort.fields
        return f"{selection} {_PEOPLE}" if self._api.has("DeviceType", "associated_contacts") else selection

    def _ends_selection(self) -> str:
        if not self._api.has("CableType", "terminations"):
            return "termination_a_type termination_b_type"
        owners = " ".join(f"{field}{{{owner}}}" for _, field, owner in _ENDS)
        return f"terminations{{cable_end {owners}}}"

    # ---- what changed ----

    def _delta(self, since: str) -> _Delta:
        if self._followed is None or self._followed[0] != since:
            self._followed = since, self._follow(since)
        return self._followed[1]

    def _follow(self, since: str) -> _Delta:
        ids: defaultdict[str, set[str]] = defaultdict(set)
        lists = " ".join(f"{name}(last_updated__gte:[$since]){{id}}" for name in (*(s.name for s in SORTS), *_SHOWN))
        addresses = (
            "ip_addresses(last_updated__gte:[$since]){interfaces{device{id}} vm_interfaces{virtual_machine{id}}}"
        )
        people = (
            "contact_associations(last_updated__gte:[$since]){associated_object_type{app_label model} "
            "associated_object_id}"
        )
        data, wrong = self._api.ask(f"query($since:String){{{lists} {addresses} {people}}}", since=since)
        if wrong:
            raise Unavailable(f"{self._api.http.instance}: {wrong[0][1][:300]}", answered=True)
        for name, rows in data.items():
            if name == "ip_addresses":
                for row in rows or ():
                    ids["devices"] |= {_id(one.get("device")) for one in row.get("interfaces") or ()}
                    ids["virtual_machines"] |= {
                        _id(one.get("virtual_machine")) for one in row.get("vm_interfaces") or ()
                    }
            elif name == "contact_associations":
                for row in rows or ():
                    self._note(ids, _type(row.get("associated_object_type")), str(row.get("associated_object_id")))
            else:
                ids[name] |= set(_ids_of(rows or ()))
        gone, gone_ties = self._follow_log(since, ids)
        self._follow_words(ids)
        return _Delta(
            ids={name: sorted(each - {""}) for name, each in ids.items()},
            gone=tuple(sorted(gone)),
            gone_ties=tuple(sorted(gone_ties)),
        )

    def _note(self, ids: defaultdict[str, set[str]], type: str, id: str) -> None:
        sort = _BY_TYPE.get(type)
        if sort is not None and id:
            ids[sort.name].add(id)

    def _follow_log(self, since: str, ids: defaultdict[str, set[str]]) -> tuple[set[str], set[str]]:
        """What the change log adds to ``ids``; what it says was deleted, objects and ties."""
        gone, gone_ties, told = set(), set(), []
        for change in self._log(since):
            type, id = _type(change.get("changed_object_type")), str(change.get("changed_object_id") or "")
            self._note(ids, _type(change.get("related_object_type")), str(change.get("related_object_id") or ""))
            if str(change.get("action")).lower() != "delete":
                self._note(ids, type, id)
            elif type == "dcim.cable":
                gone_ties.add(id)
            elif type in _BY_TYPE or type == "dcim.interface":
                gone.add(id)
            if str(change.get("action")).lower() == "delete" and (
                type in _CUT_MODELS or type == "extras.contactassociation"
            ):
                told.append(str(change.get("id")))
        for batch in chunks(told, _IDS_A_CALL):
            query = "query($ids:[String]){object_changes(id:$ids){object_data object_data_v2}}"
            for row in self._api.rows_of(query, "object_changes", ids=list(batch)):
                before, shown = row.get("object_data") or {}, row.get("object_data_v2") or {}
                ids["cables"].add(_id(shown.get("cable")) or str(before.get("cable") or ""))
                for sort in SORTS:
                    if before.get("associated_object_id"):
                        ids[sort.name].add(str(before["associated_object_id"]))
        return gone, gone_ties

    def _log(self, since: str) -> list[Row]:
        """Newest first; entries that come meanwhile only push others down, so that none is missed. Raises _TooMuch."""
        query = (
            f"query($since:String,$offset:Int){{object_changes(time__gte:[$since],limit:{_CHANGES_A_CALL},offset:$offset){{"
            "id action changed_object_type{app_label model} changed_object_id related_object_type{app_label model} "
            "related_object_id}}"
        )
        found: list[Row] = []
        while len(found) < _MAX_CHANGES:
            rows = self._api.rows_of(query, "object_changes", since=since, offset=len(found))
            found += rows
            if len(rows) < _CHANGES_A_CALL:
                return found
        raise _TooMuch

    def _follow_words(self, ids: defaultdict[str, set[str]]) -> None:
        """What shows a word of something that changed was changed as well; in the order of ``SORTS``, because services
        show names of devices, which show names of locations."""
        for sort in SORTS:
            for other, filter in sort.shows.items():
                for batch in chunks(sorted(ids[other] - {""}), _IDS_A_CALL):
                    known = self._existing(other, batch)
                    if known:
                        query = f"query($ids:[String]){{{sort.name}({filter}:$ids){{id}}}}"
                        ids[sort.name] |= set(_ids_of(self._api.rows_of(query, sort.name, ids=known)))

    def _existing(self, name: str, ids: Sequence[str]) -> list[str]:
        """A filter refuses ids of what was deleted."""
        return sorted(_ids_of(self._api.rows_of(f"query($ids:[String]){{{name}(id:$ids){{id}}}}", name, ids=list(ids))))

    # ---- one object ----

    def _common(self, row: Row, sort: str, **more: Any) -> dict[str, Any]:
        said = self._words.traits(row.get("_custom_field_data"))
        contacts = [
            (text_of(each.get("role")), text_of(each.get("team")) or text_of(each.get("contact")))
            for each in row.get("associated_contacts") or ()
        ]
        owner, contact = self._words.people(sorted(contacts), text_of(row.get("tenant")))
        return {
            "id": _required_id(row),
            "owner": said.get("owner", owner),
            "contact": said.get("contact", contact),
            "environment": said.get("environment", ""),
            "criticality": criticality(said.get("criticality", "")),
            "aliases": tuple(filter(None, [said.get("alias", "")])),
            "retired": self._words.is_retired(text_of(row.get("status"))),
            "url": f"{self._config.url}/{sort}/{row['id']}/",
            "updated_at": moment_of(row.get("last_updated")),
            **more,
        }

    def _location(self, row: Row, found: Gathered) -> None:
        path = _path(row)
        self._add(
            found, row, "dcim/locations", name=_name(row), handle=path, kind=Kind.LOCATION,
            class_name=text_of(row.get("location_type")), location=_path(row.get("parent")),
        )  # fmt: skip
        found.slot(row["id"], "parent", "located_in", [_id(row.get("parent"))])

    def _rack(self, row: Row, found: Gathered) -> None:
        place = _path(row.get("location"))
        self._add(
            found, row, "dcim/racks", name=_name(row), handle=f"{place}/{_name(row)}" if place else "", kind=Kind.RACK,
            class_name="rack", location=place, identifiers=identifiers(row),
        )  # fmt: skip
        found.slot(row["id"], "location", "located_in", [_id(row.get("location"))])

    def _power_panel(self, row: Row, found: Gathered) -> None:
        place = _path(row.get("location"))
        self._add(
            found, row, "dcim/power-panels", name=_name(row), handle=f"{place}/{_name(row)}" if place else "",
            kind=Kind.POWER, class_name="power panel", location=place,
        )  # fmt: skip
        found.slot(row["id"], "location", "located_in", [_id(row.get("location"))])

    def _power_feed(self, row: Row, found: Gathered) -> None:
        panel = row.get("power_panel") or {}
        self._add(
            found, row, "dcim/power-feeds", name=_name(row), handle=f"{text_of(panel)}/{_name(row)}".strip("/"),
            kind=Kind.POWER, class_name="power feed",
        )  # fmt: skip
        found.slot(row["id"], "panel", "powered_by", [_id(panel)])

    def _cluster(self, row: Row, found: Gathered) -> None:
        self._add(
            found, row, "virtualization/clusters", name=_name(row), kind=Kind.CLUSTER,
            class_name=text_of(row.get("cluster_type")) or "cluster", location=_path(row.get("location")),
        )  # fmt: skip
        found.slot(row["id"], "location", "located_in", [_id(row.get("location"))])

    def _group(self, row: Row, found: Gathered) -> None:
        is_chassis = "domain" in row
        sort = "virtual-chassis" if is_chassis else "device-redundancy-groups"
        class_name = "virtual chassis" if is_chassis else "device redundancy group"
        self._add(found, row, f"dcim/{sort}", name=_name(row), kind=Kind.CLUSTER, class_name=class_name)

    def _circuit(self, row: Row, found: Gathered) -> None:
        number = text_of(row.get("cid"))
        if not number:
            raise Malformed("has no cid")
        handle = f"{text_of(row.get('provider'))} {number}".strip()
        self._add(
            found, row, "circuits/circuits", name=number, handle=handle, kind=Kind.CIRCUIT,
            class_name=text_of(row.get("circuit_type")) or "circuit",
        )  # fmt: skip

    def _device(self, row: Row, found: Gathered) -> None:
        role, rack = text_of(row.get("role")), row.get("rack")
        place = _path(row.get("location"))
        name = text_of(row.get("name")) or text_of(row.get("asset_tag")) or text_of(row.get("serial"))
        self._add(
            found, row, "dcim/devices",
            name=name or f"{text_of((row.get('device_type') or {}).get('model')) or 'device'} {row['id']}",
            kind=self._words.kind(role, Kind.OTHER), class_name=role or "device",
            location=f"{place}/{text_of(rack)}" if rack else place, identifiers=self._identifiers(row),
        )  # fmt: skip
        id = row["id"]
        clusters = row.get("clusters") or [row.get("cluster")]
        found.slot(id, "place", "located_in", [_id(rack) or _id(row.get("location"))], class_name="rack or location")
        found.slot(id, "cluster", "member_of", [_id(each) for each in clusters], most=found.MANY)
        found.slot(id, "chassis", "member_of", [_id(row.get("virtual_chassis"))], class_name="virtual chassis")
        found.slot(
            id, "redundancy", "member_of", [_id(row.get("device_redundancy_group"))], class_name="redundancy group"
        )
        found.slot(id, "bay", "located_in", [_id((row.get("parent_bay") or {}).get("device"))], class_name="device bay")
        self._interfaces(row, found, "dcim/interfaces")

    def _virtual_machine(self, row: Row, found: Gathered) -> None:
        role, cluster = text_of(row.get("role")), row.get("cluster") or {}
        self._add(
            found, row, "virtualization/virtual-machines", name=_name(row), kind=self._words.mapped(role, Kind.VM),
            class_name=role or "virtual machine", location=_path(cluster.get("location")),
            identifiers=self._identifiers(row),
        )  # fmt: skip
        found.slot(row["id"], "cluster", "member_of", [_id(cluster)])
        self._interfaces(row, found, "virtualization/interfaces")

    def _identifiers(self, row: Row) -> tuple[Identifier, ...]:
        primary = {_id(row.get("primary_ip4")), _id(row.get("primary_ip6"))} - {""}
        interfaces = row.get("interfaces") or ()
        addresses = [_address(each, primary) for one in interfaces for each in one.get("ip_addresses") or ()]
        macs = [str(one["mac_address"]) for one in interfaces if one.get("mac_address")]
        return identifiers(row, addresses, macs, self._words.record_ids(row.get("_custom_field_data")))

    def _interfaces(self, row: Row, found: Gathered, sort: str) -> None:
        if not self._config.interfaces:
            return
        machine = found.items[row["id"]]
        for one in row.get("interfaces") or ():
            name, id = _name(one), _required_id(one)
            mac = text_of(one.get("mac_address"))
            found.items[id] = Item(
                id=id, name=name, handle=f"{machine.name}/{name}", kind=Kind.INTERFACE, class_name="interface",
                identifiers=(Identifier(IdType.MAC, mac),) if mac else (), owner=machine.owner,
                retired=machine.retired, location=machine.location, url=f"{self._config.url}/{sort}/{id}/",
                updated_at=moment_of(one.get("last_updated")),
            )  # fmt: skip
            found.slot(id, "machine", "member_of", [machine.id], class_name="interface of")

    def _service(self, row: Row, found: Gathered) -> None:
        machine = row.get("device") or row.get("virtual_machine") or {}
        name, at = _name(row), text_of(machine)
        self._add(
            found, row, "ipam/services", name=name, handle=f"{at}/{name}" if at else "", kind=Kind.APPLICATION,
            class_name="service",
        )  # fmt: skip
        found.slot(row["id"], "machine", "runs_on", [_id(machine)], class_name="service of")

    def _cable(self, row: Row, found: Gathered) -> None:
        id = _required_id(row)
        ends = self._ends(row)
        if self._words.is_retired(text_of(row.get("status"))):
            ends = [], []
        pairs, type = cable_pairs(*ends)
        found.connect(id, pairs, type)

    def _ends(self, row: Row) -> tuple[list[End], list[End]]:
        sides: tuple[list[End], list[End]] = [], []
        if "terminations" not in row:
            return self._old_ends(_required_id(row))
        for termination in row["terminations"] or ():
            side = sides[str(termination.get("cable_end")).upper() != "A"]
            side += [End(owner, model) for model, field, _ in _ENDS if (owner := _owner(termination.get(field)))]
        return sides

    def _old_ends(self, cable: str) -> tuple[list[End], list[End]]:
        """Before 3.2 a cable does not show what it ends at, but what it ends at is found by the cable: two ends."""
        lists = " ".join(f"{field}s(cable:$ids){{{owner}}}" for _, field, owner in _ENDS)
        data, _ = self._api.ask(f"query($ids:[String]){{{lists}}}", ids=[cable])
        found = [
            End(owner, model)
            for model, field, _ in _ENDS
            for row in data.get(f"{field}s") or ()
            if (owner := _owner(row))
        ]
        return found[:1], found[1:2]

    def _add(self, found: Gathered, row: Row, sort: str, **values: Any) -> None:
        values = self._common(row, sort, **values)
        found.items[values["id"]] = Item(**values)

    def _associations(self, at: _At, found: Gathered) -> None:
        """What people defined as relationships of their own. They have neither a time nor an entry in the change log,
        so all are read each time, unless they are many; that one was deleted shows in a whole reading only."""
        if at.since and self._api.count("extras/relationship-associations") > _MAX_ASSOCIATIONS:
            return
        rows = self._api.rows("extras/relationship-associations")
        keys = {row.get("id"): row.get("key") for row in self._api.rows("extras/relationships")} if rows else {}

        def translate(row: Row) -> None:
            if {row.get("source_type"), row.get("destination_type")} <= set(_BY_TYPE) - {"dcim.cable"}:
                key = str(keys.get(_id(row.get("relationship"))) or "")
                pair = (str(row["source_id"]), str(row["destination_id"]))
                found.connect(_required_id(row), [pair], self._config.relationships.get(key, RELATED), class_name=key)

        found.read(rows, translate)

    # ---- check ----

    def check(self) -> Sequence[Finding]:
        findings = []
        for path in NEEDED:
            what = f"view {_permission(path)}"
            try:
                count = self._api.count(path, **({"id": NOBODY} if path in _NESTED else {}))
            except Unseen:
                remedy = f"give the token's account the permission to view {_permission(path)}, without constraints"
                findings.append(Finding(subject=what, observed="it may not", remedy=remedy))
            except Denied as error:
                return [Finding(subject="token", observed=str(error), remedy="write a valid token into token_file")]
            except Missing:
                findings.append(Finding(subject=what, observed="this version does not have it"))
            else:
                findings.append(Finding(subject=what, observed=f"{count} objects" if path not in _NESTED else "it may"))
        if all(finding.observed == "this version does not have it" for finding in findings):
            wrong = f"{self._config.url}/api/ has nothing that Nautobot has"
            return [
                Finding(subject="address", observed=wrong, remedy="write the server's address, without /api, as url")
            ]
        return findings


class _TooMuch(Exception):
    """Too much changed to be followed."""


_DEVICE = "device{id}"
_ENDS = (
    ("interface", "interface", "device{id} module{device{id}}"),
    ("frontport", "front_port", _DEVICE),
    ("rearport", "rear_port", _DEVICE),
    ("powerport", "power_port", _DEVICE),
    ("poweroutlet", "power_outlet", _DEVICE),
    ("powerfeed", "power_feed", "id"),
    ("consoleport", "console_port", _DEVICE),
    ("consoleserverport", "console_server_port", _DEVICE),
    ("circuittermination", "circuit_termination", "circuit{id}"),
)
"""Model, field of a termination, and what there tells whose it is."""


def _owner(end: Any) -> str:
    if not end or not isinstance(end, Mapping):
        return ""
    module = end.get("module") or {}
    return _id(end.get("device")) or _id(module.get("device")) or _id(end.get("circuit")) or _id(end)


def _address(row: Row, primary: set[str]) -> Address:
    namespace = text_of((row.get("parent") or {}).get("namespace"))
    return Address(
        host=str(row.get("host") or ""),
        scope="" if namespace == GLOBAL_NAMESPACE else namespace,
        role=text_of(row.get("role")),
        dns_name=text_of(row.get("dns_name")),
        primary=_id(row) in primary,
    )


def _path(location: Any) -> str:
    """Of a location from the top, as far as it is shown."""
    names: list[str] = []
    while isinstance(location, Mapping):
        names.append(text_of(location.get("name")))
        location = location.get("parent")
    return "/".join(reversed(names))


def _name(row: Row) -> str:
    name = text_of(row.get("name"))
    if not name:
        raise Malformed("has no name")
    return name


def _required_id(row: Row) -> str:
    id = row.get("id")
    if not isinstance(id, str) or not id:
        raise Malformed("has no id")
    return id


def _id(row: Any) -> str:
    return str(row.get("id") or "") if isinstance(row, Mapping) else ""


def _ids_of(rows: Iterable[Any]) -> list[str]:
    return [id for row in rows if (id := _id(row))]


def _type(row: Any) -> str:
    return f"{row.get('app_label')}.{row.get('model')}" if isinstance(row, Mapping) else ""


def _permission(path: str) -> str:
    """Of an endpoint, as Nautobot's permissions name its objects: ``dcim.frontport`` of ``dcim/front-ports``."""
    app, _, words = path.partition("/")
    one = words.replace("-", "")
    if words.endswith(("addresses", "statuses")):
        one = one.removesuffix("es")
    elif not words.endswith("chassis"):
        one = one.removesuffix("s")
    if one == "prefixe":
        one = "prefix"
    return "virtualization.vminterface" if path == "virtualization/interfaces" else f"{app}.{one}"


SOURCE = SourceKind(
    kind="nautobot",
    title="Nautobot: devices, virtual machines, racks, locations, cables, power, circuits, services",
    facts="docs.nautobot.com, the sources of nautobot 2.4.44 and 3.2.7, and a real 3.2.7, read 2026-11-22",
    config=NautobotConfig,
    build=NautobotSource,
)
