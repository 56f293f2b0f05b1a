"""NetBox's inventory: devices, virtual machines, racks, sites, cables, power, circuits and services.

Facts:    NetBox documentation 4.6 (REST API, filtering, authentication, change logging), the OpenAPI document of 4.2,
          read 2026-11-22; versions 4.0 to 4.6. UNVERIFIED beyond 4.2: that services are found by ``device_id``; where
          they are not, a renamed device renames its services at the next whole reading.
Delivery: each sort is read in the order of its ids, a page from the last id on, so that no page shifts. What changed is
          told by ``last_updated`` and by the change log, which also knows of deletions, of addresses that moved, and
          of cables that lost an end. Words that others show (the name of a site, tenant, role or contact) count as a
          change of those.
Recovery: a mark names the newest entry of the change log; where that is no more (its retention, 90 days by default, or
          a restored database) everything is read.
Limits:   ``page_size`` objects a call. Objects saved by hand in the database are seen by a whole reading only. Of a
          machine's identifiers the first 256 count, of the pairs of ends of a cable the first 8.
Needs:    a token, of version 1 or 2, of an account that may **view** (and nothing else): dcim.site, dcim.location,
          dcim.rack, dcim.powerpanel, dcim.powerfeed, dcim.virtualchassis, dcim.device, dcim.devicerole, dcim.interface,
          dcim.macaddress (from 4.2 on), dcim.cable, virtualization.cluster, virtualization.virtualmachine,
          virtualization.vminterface, ipam.ipaddress, ipam.service, circuits.circuit, circuits.provider, tenancy.tenant,
          tenancy.contact, tenancy.contactassignment, core.objectchange (before 4.1 extras.objectchange).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct, structs

from foreshock.connect.auth import read_secret
from foreshock.connect.cmdb import criticality, read_cursor, write_cursor
from foreshock.connect.vendors.dcim import (
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
    text_of,
)
from foreshock.connect.vendors.netbox import MAX_BODY_BYTES, NetBox, authorization
from foreshock.core.cmdb import CmdbPage, CmdbParts, Identifier, IdType, Item, Kind, SourceKind
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Malformed, Missing, Rejected, Unavailable

_MAX_CHANGES = 50_000
"""More changes than that are slower to follow than everything is to read."""


class NetBoxConfig(DcimConfig):
    pass


class Sort(Struct, frozen=True):
    """One sort of objects.

    Attributes:
        path: endpoint. type: as the change log names it.
        shows: for the endpoint of another sort, the filter by which objects of this one are found that show its words.
        has_people: contacts can be assigned to it.
    """

    path: str
    type: str
    shows: dict[str, str] = {}
    has_people: bool = False


UNSURE_FILTERS = ("device_id", "virtual_machine_id")
"""Of services. UNVERIFIED beyond NetBox 4.2, whose OpenAPI document has them: since 4.3 a service has a parent."""
_TENANT = {"tenancy/tenants": "tenant_id"}
_SITE = {"dcim/sites": "site_id", "dcim/locations": "location_id"}
SORTS = (
    Sort("dcim/sites", "dcim.site", _TENANT),
    Sort("dcim/locations", "dcim.location", {**_TENANT, "dcim/sites": "site_id", "dcim/locations": "parent_id"}),
    Sort("dcim/racks", "dcim.rack", {**_TENANT, **_SITE}),
    Sort("dcim/power-panels", "dcim.powerpanel", _SITE),
    Sort("dcim/power-feeds", "dcim.powerfeed", {"dcim/power-panels": "power_panel_id"}),
    Sort("virtualization/clusters", "virtualization.cluster", {**_TENANT, "dcim/sites": "site_id"}, True),
    Sort("dcim/virtual-chassis", "dcim.virtualchassis"),
    Sort("circuits/circuits", "circuits.circuit", {**_TENANT, "circuits/providers": "provider_id"}, True),
    Sort(
        "dcim/devices",
        "dcim.device",
        {**_TENANT, **_SITE, "dcim/racks": "rack_id", "dcim/device-roles": "role_id"},
        True,
    ),
    Sort(
        "virtualization/virtual-machines",
        "virtualization.virtualmachine",
        {**_TENANT, "dcim/sites": "site_id", "dcim/device-roles": "role_id", "virtualization/clusters": "cluster_id"},
        True,
    ),
    Sort(
        "ipam/services",
        "ipam.service",
        dict(zip(("dcim/devices", "virtualization/virtual-machines"), UNSURE_FILTERS, strict=True)),
    ),
    Sort("dcim/cables", "dcim.cable"),
)
_BY_TYPE = {sort.type: sort for sort in SORTS}
_DEVICES, _MACHINES, _CABLES = "dcim/devices", "virtualization/virtual-machines", "dcim/cables"
_WORDS = ("tenancy/tenants", "circuits/providers", "dcim/device-roles")
_PARTS = ("dcim/interfaces", "virtualization/interfaces", "ipam/ip-addresses")
MACS, ASSIGNMENTS, CONTACTS = "dcim/mac-addresses", "tenancy/contact-assignments", "tenancy/contacts"
LOGS = ("core/object-changes", "extras/object-changes")
NEEDED = (*(sort.path for sort in SORTS), *_WORDS, *_PARTS, MACS, ASSIGNMENTS, CONTACTS, *LOGS)
"""Endpoints whose objects the token must be allowed to view, where this version has them."""
_PERMISSIONS = {
    "virtualization/interfaces": "virtualization.vminterface",
    "ipam/ip-addresses": "ipam.ipaddress",
    MACS: "dcim.macaddress",
}


class _At(Struct, frozen=True):
    """A cursor: the sort that is read, and after which id it goes on. since: of a delta; empty for a whole reading.
    mark: for the reading after this one."""

    sort: int
    after: int
    since: str
    mark: str
    expected: int = 0


class _Mark(Struct, frozen=True):
    """since: what changed from then on is new. change: the newest entry of the change log then; 0: there was none."""

    since: str
    change: int


class _Delta(Struct, frozen=True):
    """What a delta is to read. ids: by endpoint. gone, gone_ties: what the change log says was deleted."""

    ids: dict[str, list[int]]
    gone: tuple[str, ...]
    gone_ties: tuple[str, ...]


class NetBoxSource:
    def __init__(self, name: str, config: NetBoxConfig, parts: CmdbParts) -> None:
        from foreshock.connect.http import KeyHeader  # it takes a tenth of a second of each start

        self._config = config
        self._words = Words.of(config)
        token = read_secret(config.token_file, f"topology {name}.token_file")
        self._name = f"netbox {name!r}"
        http = parts.http(
            self._name,
            config.url,
            auth=KeyHeader("Authorization", authorization(token)),
            secrets=(token,),
            ca_file=config.ca_file,
            proxy=config.proxy,
            read_refusal=read_refusal,
            max_body_bytes=MAX_BODY_BYTES,
        )
        self._api = NetBox(http)
        self._followed: tuple[str, _Delta] | None = None
        self._read: dict[str, Callable[[Row, Gathered], None]] = {
            "dcim/sites": self._site,
            "dcim/locations": self._location,
            "dcim/racks": self._rack,
            "dcim/power-panels": self._power_panel,
            "dcim/power-feeds": self._power_feed,
            "virtualization/clusters": self._cluster,
            "dcim/virtual-chassis": self._chassis,
            "circuits/circuits": self._circuit,
            _DEVICES: self._device,
            _MACHINES: self._virtual_machine,
            "ipam/services": self._service,
            _CABLES: self._cable,
        }

    # ---- pages ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        at = read_cursor(cursor, _At) if cursor else self._begin(mark)
        found = Gathered(delta=bool(at.since))
        while at.sort < len(SORTS):
            sort = SORTS[at.sort]
            rows, last, asked = self._rows(sort, at)
            self._translate(sort, rows, found)
            for id in set(asked) - {row["id"] for row in rows} if sort.path == _CABLES else ():
                found.connect(_item_id(sort.type, id), [], "")
            at = structs.replace(at, sort=at.sort + (last is None), after=0 if last is None else last)
            if (rows or last is not None) and at.sort < len(SORTS):
                return found.page(next=write_cursor(at), expected=at.expected)
        if at.since:
            delta = self._delta(at.since)
            found.gone.update(dict.fromkeys(delta.gone))
            found.gone_ties.update(dict.fromkeys(delta.gone_ties))
        return found.page(mark=at.mark, whole=not at.since, expected=at.expected)

    def _rows(self, sort: Sort, at: _At) -> tuple[list[Row], int | None, Sequence[int]]:
        """Rows of a page; after which id the next one goes on, None: these were the last; what a delta asked for."""
        if not at.since:
            return *self._api.page(sort.path, at.after, self._config.page_size), ()
        ids = [id for id in self._delta(at.since).ids.get(sort.path, ()) if id > at.after]
        batch = ids[: self._config.page_size]
        rows = self._api.some(sort.path, id=batch)
        return rows, batch[-1] if len(ids) > len(batch) else None, batch

    def _translate(self, sort: Sort, rows: Sequence[Row], found: Gathered) -> None:
        ids = [int(row["id"]) for row in rows]
        people = self._people(sort, ids) if sort.has_people else {}
        machine = {_DEVICES: "device", _MACHINES: "virtual_machine"}.get(sort.path)
        parts = self._machine_parts(machine, ids) if machine else {}
        whole = ({**row, "_people": people.get(row["id"], ()), **parts.get(row["id"], {})} for row in rows)
        translate = self._read[sort.path]
        found.read(whole, lambda row: translate(row, found), lambda id: _item_id(sort.type, id))

    def _machine_parts(self, machine: str, ids: Sequence[int]) -> dict[int, dict[str, list[Row]]]:
        """Addresses, MAC addresses and, where they are asked for, interfaces, by machine."""
        parts: dict[int, dict[str, list[Row]]] = {id: {"_ips": [], "_macs": [], "_ports": []} for id in ids}
        ports = "dcim/interfaces" if machine == "device" else "virtualization/interfaces"
        paths = [
            ("_ips", "ipam/ip-addresses"),
            ("_macs", MACS),
            *([("_ports", ports)] if self._config.interfaces else []),
        ]
        for name, path in paths:
            for row in self._api.some(path, **{f"{machine}_id": list(ids)}):
                holder = row if name == "_ports" else row.get("assigned_object") or {}
                owner = (holder.get(machine) or {}).get("id")
                if owner not in parts:
                    raise self._other(path)
                parts[owner][name].append(row)
        return parts

    def _other(self, path: str) -> Unavailable:
        hint = "if this goes on, a proxy answers from memory, or this version ignores a filter"
        return Unavailable(f"{self._name}: {path} holds what was not asked for", hint=hint, answered=True)

    def _people(self, sort: Sort, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
        """(role, name) of contacts, the primary ones first."""
        found: defaultdict[int, list[tuple[str, str, str]]] = defaultdict(list)
        for row in self._api.some(ASSIGNMENTS, object_id=list(ids), object_type=sort.type):
            if row.get("object_id") not in ids:
                raise self._other(ASSIGNMENTS)
            priority = str((row.get("priority") or {}).get("value") or "z")
            if priority != "inactive":
                found[row["object_id"]].append((priority, text_of(row.get("role")), text_of(row.get("contact"))))
        return {id: [(role, name) for _, role, name in sorted(each)] for id, each in found.items()}

    def _begin(self, mark: str) -> _At:
        known = read_cursor(mark, _Mark) if mark else None
        expected = self._counts(needed=known is None)
        change, changed_at = self._api.newest_change(self._log_path())
        now = self._api.http.server_now or changed_at
        since = "" if now is None else (now - timedelta(seconds=OVERLAP_S)).isoformat()
        at = _At(sort=0, after=0, since="", mark=write_cursor(_Mark(since=since, change=change)), expected=expected)
        if known is None or not known.change or not self._api.knows_change(self._log_path(), known.change):
            return at
        try:
            self._delta(known.since)
        except _TooMuch:
            return at
        return structs.replace(at, since=known.since, expected=0)

    def _counts(self, *, needed: bool) -> int:
        """Of the CIs and cables where that is needed, after a look whether all may be viewed that a reading views."""
        lacking, known, total = [], 0, 0
        for path in NEEDED:
            try:
                is_counted = needed and any(sort.path == path for sort in SORTS)
                total += self._api.count(path, anything=is_counted)
                known += 1
            except Unseen:
                lacking.append(_permission(path))
            except Missing:
                continue  # this version does not know it
        if lacking:
            raise Denied(
                f"{self._name}: the token may not view {', '.join(lacking)}",
                hint="give its account the permission to view them, without constraints",
            )
        if not known:
            raise Missing(
                f"{self._name}: {self._config.url}/api/ has nothing that NetBox has",
                hint="check url: it is the address of the server, without /api",
            )
        return total

    def _log_path(self) -> str:
        return next((path for path in LOGS if self._api.has(path)), LOGS[0])

    # ---- what changed ----

    def _delta(self, since: str) -> _Delta:
        if self._followed is None or self._followed[0] != since:
            self._followed = since, self._follow(since)
        return self._followed[1]

    def _follow(self, since: str) -> _Delta:
        ids: defaultdict[str, set[int]] = defaultdict(set)
        for path in (*(sort.path for sort in SORTS), *_WORDS):
            ids[path] |= {row["id"] for row in self._api.all(path, last_updated__gte=since, brief="true")}
        for path in (*_PARTS, MACS):
            for row in self._api.all(path, last_updated__gte=since):
                self._note_machine(ids, row.get("assigned_object") or row)
        for row in self._api.all(ASSIGNMENTS, last_updated__gte=since):
            sort = _BY_TYPE.get(str(row.get("object_type")))
            if sort is not None:
                ids[sort.path].add(row["object_id"])
        people = [row["id"] for row in self._api.all(CONTACTS, last_updated__gte=since, brief="true")]
        for row in self._api.some(ASSIGNMENTS, contact_id=people):
            sort = _BY_TYPE.get(str(row.get("object_type")))
            if sort is not None:
                ids[sort.path].add(row["object_id"])
        gone, gone_ties = self._follow_log(since, ids)
        for sort in SORTS:
            for other, filter in sort.shows.items():
                try:
                    rows = self._api.some(sort.path, **{filter: sorted(ids[other])})
                except Rejected:
                    if filter not in UNSURE_FILTERS or sort.path != "ipam/services":
                        raise
                    continue
                ids[sort.path] |= {row["id"] for row in rows}
        kept = {sort.path: sorted(ids[sort.path]) for sort in SORTS}
        return _Delta(ids=kept, gone=tuple(sorted(gone)), gone_ties=tuple(sorted(gone_ties)))

    def _note_machine(self, ids: defaultdict[str, set[int]], part: Any) -> None:
        """The machine of an interface or another part, as REST nests it or the change log numbers it."""
        for name, path in (("device", _DEVICES), ("virtual_machine", _MACHINES)):
            machine = part.get(name)
            number = machine.get("id") if isinstance(machine, dict) else machine
            if isinstance(number, int):
                ids[path].add(number)

    def _follow_log(self, since: str, ids: defaultdict[str, set[int]]) -> tuple[set[str], set[str]]:
        """What the change log adds to ``ids``; what it says was deleted, objects and ties."""
        gone, gone_ties, ports = set(), set(), set()
        changes = self._api.all(self._log_path(), time_after=since)
        if len(changes) > _MAX_CHANGES:
            raise _TooMuch
        for change in changes:
            type, id = str(change.get("changed_object_type")), change.get("changed_object_id")
            sort = _BY_TYPE.get(type)
            if not isinstance(id, int):
                continue
            if (change.get("action") or {}).get("value") == "delete":
                if sort is not None and sort.path == _CABLES:
                    gone_ties.add(_item_id(type, id))
                elif sort is not None or type in ("dcim.interface", "virtualization.vminterface"):
                    gone.add(_item_id(type, id))
            elif sort is not None:
                ids[sort.path].add(id)
            for data in (change.get("prechange_data") or {}, change.get("postchange_data") or {}):
                self._note_machine(ids, data)
                if isinstance(data.get("cable"), int):
                    ids[_CABLES].add(data["cable"])
                if isinstance(data.get("assigned_object_id"), int):
                    ports.add(data["assigned_object_id"])
                if type == "tenancy.contactassignment" and isinstance(data.get("object_id"), int):
                    for each in SORTS:  # the log numbers the type; what is read once too often does no harm
                        ids[each.path] |= {data["object_id"]} if each.has_people else set()
        for path in ("dcim/interfaces", "virtualization/interfaces"):
            for row in self._api.some(path, id=sorted(ports)):
                self._note_machine(ids, row)
        return gone, gone_ties

    # ---- one object ----

    def _add(self, found: Gathered, row: Row, path: str, **values: Any) -> str:
        sort = next(sort for sort in SORTS if sort.path == path)
        custom = row.get("custom_fields")
        said = self._words.traits(custom)
        owner, contact = self._words.people(row.get("_people") or (), text_of(row.get("tenant")))
        id = _required_id(sort.type, row)
        status = row.get("status") or {}
        found.items[id] = Item(
            id=id,
            owner=said.get("owner", owner),
            contact=said.get("contact", contact),
            environment=said.get("environment", ""),
            criticality=criticality(said.get("criticality", "")),
            aliases=tuple(filter(None, [said.get("alias", "")])),
            retired=self._words.is_retired(str(status.get("value") or ""), text_of(status)),
            url=text_of(row.get("display_url")) or f"{self._config.url}/{path}/{row['id']}/",
            updated_at=moment_of(row.get("last_updated")),
            **values,
        )
        return id

    def _site(self, row: Row, found: Gathered) -> None:
        self._add(found, row, "dcim/sites", name=_name(row), kind=Kind.LOCATION, class_name="site")

    def _location(self, row: Row, found: Gathered) -> None:
        above = _joined(row.get("site"), row.get("parent"))
        id = self._add(
            found, row, "dcim/locations", name=_name(row), handle=f"{above}/{_name(row)}".strip("/"),
            kind=Kind.LOCATION, class_name="location", location=above,
        )  # fmt: skip
        found.slot(id, "parent", "located_in", [_end("dcim.location", row, "parent") or _end("dcim.site", row, "site")])

    def _rack(self, row: Row, found: Gathered) -> None:
        self._placed(row, found, "dcim/racks", Kind.RACK, "rack", identifiers(row))

    def _power_panel(self, row: Row, found: Gathered) -> None:
        self._placed(row, found, "dcim/power-panels", Kind.POWER, "power panel", ())

    def _placed(
        self, row: Row, found: Gathered, path: str, kind: str, class_name: str, known: tuple[Identifier, ...]
    ) -> None:
        place = _joined(row.get("site"), row.get("location"))
        id = self._add(
            found, row, path, name=_name(row), handle=f"{place}/{_name(row)}".strip("/"), kind=kind,
            class_name=class_name, location=place, identifiers=known,
        )  # fmt: skip
        found.slot(id, "location", "located_in", [_place(row)])

    def _power_feed(self, row: Row, found: Gathered) -> None:
        id = self._add(
            found, row, "dcim/power-feeds", name=_name(row), handle=_joined(row.get("power_panel"), row),
            kind=Kind.POWER, class_name="power feed",
        )  # fmt: skip
        found.slot(id, "panel", "powered_by", [_end("dcim.powerpanel", row, "power_panel")])

    def _cluster(self, row: Row, found: Gathered) -> None:
        scope = row.get("scope") if row.get("scope_type") else row.get("site")
        type = str(row.get("scope_type") or "dcim.site")
        id = self._add(
            found, row, "virtualization/clusters", name=_name(row), kind=Kind.CLUSTER,
            class_name=text_of(row.get("type")) or "cluster", location=text_of(scope),
        )  # fmt: skip
        found.slot(id, "location", "located_in", [_end(type, {"scope": scope}, "scope") if type in _BY_TYPE else ""])

    def _chassis(self, row: Row, found: Gathered) -> None:
        self._add(found, row, "dcim/virtual-chassis", name=_name(row), kind=Kind.CLUSTER, class_name="virtual chassis")

    def _circuit(self, row: Row, found: Gathered) -> None:
        number = text_of(row.get("cid"))
        if not number:
            raise Malformed("has no cid")
        self._add(
            found, row, "circuits/circuits", name=number, handle=f"{text_of(row.get('provider'))} {number}".strip(),
            kind=Kind.CIRCUIT, class_name=text_of(row.get("type")) or "circuit",
        )  # fmt: skip

    def _device(self, row: Row, found: Gathered) -> None:
        role = text_of(row.get("role"))
        name = text_of(row.get("name")) or text_of(row.get("asset_tag")) or text_of(row.get("serial"))
        model = text_of((row.get("device_type") or {}).get("model")) or "device"
        id = self._add(
            found, row, _DEVICES, name=name or f"{model} {row['id']}", kind=self._words.kind(role, Kind.OTHER),
            class_name=role or "device", location=_joined(row.get("site"), row.get("location"), row.get("rack")),
            identifiers=self._identifiers(row),
        )  # fmt: skip
        rack = _end("dcim.rack", row, "rack")
        found.slot(id, "place", "located_in", [rack or _place(row)], class_name="rack or location")
        found.slot(id, "cluster", "member_of", [_end("virtualization.cluster", row, "cluster")])
        found.slot(id, "chassis", "member_of", [_end("dcim.virtualchassis", row, "virtual_chassis")])
        found.slot(id, "parent", "located_in", [_end("dcim.device", row, "parent_device")], class_name="device bay")
        self._interfaces(row, found, id, "dcim.interface")

    def _virtual_machine(self, row: Row, found: Gathered) -> None:
        role = text_of(row.get("role"))
        id = self._add(
            found, row, _MACHINES, name=_name(row), kind=self._words.mapped(role, Kind.VM),
            class_name=role or "virtual machine", location=text_of(row.get("site")), identifiers=self._identifiers(row),
        )  # fmt: skip
        host = _end("dcim.device", row, "device")
        found.slot(id, "device", "runs_on", [host], class_name="host")
        found.slot(id, "cluster", "member_of", ["" if host else _end("virtualization.cluster", row, "cluster")])
        self._interfaces(row, found, id, "virtualization.vminterface")

    def _identifiers(self, row: Row) -> tuple[Identifier, ...]:
        primary = {(row.get(name) or {}).get("id") for name in ("primary_ip4", "primary_ip6")}
        addresses = [
            Address(
                host=str(each.get("address") or ""),
                scope=text_of(each.get("vrf")),
                role=str((each.get("role") or {}).get("value") or ""),
                dns_name=text_of(each.get("dns_name")),
                primary=each.get("id") in primary,
            )
            for each in row.get("_ips") or ()
        ]
        macs = [str(each["mac_address"]) for each in row.get("_macs") or () if each.get("mac_address")]
        return identifiers(row, addresses, macs, self._words.record_ids(row.get("custom_fields")))

    def _interfaces(self, row: Row, found: Gathered, machine: str, type: str) -> None:
        at = found.items[machine]
        for one in row.get("_ports") or ():
            id, mac = _required_id(type, one), text_of(one.get("mac_address"))
            found.items[id] = Item(
                id=id, name=_name(one), handle=f"{at.name}/{_name(one)}", kind=Kind.INTERFACE, class_name="interface",
                identifiers=(Identifier(IdType.MAC, mac),) if mac else (), owner=at.owner, retired=at.retired,
                location=at.location, updated_at=moment_of(one.get("last_updated")),
            )  # fmt: skip
            found.slot(id, "machine", "member_of", [machine], class_name="interface of")

    def _service(self, row: Row, found: Gathered) -> None:
        parent = row.get("parent") or row.get("device") or row.get("virtual_machine") or {}
        type = row.get("parent_object_type") or (
            "dcim.device" if row.get("device") else "virtualization.virtualmachine"
        )
        id = self._add(
            found, row, "ipam/services", name=_name(row), handle=_joined(parent, row), kind=Kind.APPLICATION,
            class_name="service",
        )  # fmt: skip
        target = _item_id(str(type), parent.get("id")) if type in _BY_TYPE and parent.get("id") else ""
        found.slot(id, "machine", "runs_on", [target], class_name="service of")

    def _cable(self, row: Row, found: Gathered) -> None:
        status = row.get("status") or {}
        ends = ([_end_of(each) for each in row.get(side) or ()] for side in ("a_terminations", "b_terminations"))
        one, other = ([end for end in side if end.owner] for side in ends)
        if self._words.is_retired(str(status.get("value") or ""), text_of(status)):
            one = []
        pairs, type = cable_pairs(one, other)
        found.connect(_required_id("dcim.cable", row), pairs, type)

    # ---- check ----

    def check(self) -> Sequence[Finding]:
        findings = []
        for path in NEEDED:
            what = f"view {_permission(path)}"
            try:
                count = self._api.count(path)
            except Unseen:
                remedy = f"give the token's account the permission to view {_permission(path)}, without constraints"
                findings.append(Finding(subject=what, observed="it may not", remedy=remedy))
            except Denied as error:
                return [Finding(subject="token", observed=str(error), remedy="write a valid token into token_file")]
            except Missing:
                continue  # this version does not know it
            else:
                findings.append(Finding(subject=what, observed=f"{count} objects"))
        if not findings:
            wrong = f"{self._config.url}/api/ has nothing that NetBox has"
            remedy = "write the server's address, without /api, as url"
            return [Finding(subject="address", observed=wrong, remedy=remedy)]
        return findings


class _TooMuch(Exception):
    """Too much changed to be followed."""


def _end_of(termination: Row) -> End:
    type, at = str(termination.get("object_type")), termination.get("object") or {}
    model = type.rpartition(".")[2]
    if at.get("device"):
        return End(_end("dcim.device", at, "device"), model)
    if at.get("circuit"):
        return End(_end("circuits.circuit", at, "circuit"), model)
    return End(_item_id(type, termination.get("object_id")) if type in _BY_TYPE else "", model)


def _place(row: Row) -> str:
    return _end("dcim.location", row, "location") or _end("dcim.site", row, "site")


def _end(type: str, row: Row, name: str) -> str:
    id = (row.get(name) or {}).get("id")
    return _item_id(type, id) if id else ""


def _item_id(type: str, id: Any) -> str:
    return f"{type}:{id}"


def _required_id(type: str, row: Row) -> str:
    if not isinstance(row.get("id"), int):
        raise Malformed("has no id")
    return _item_id(type, row["id"])


def _joined(*parts: Any) -> str:
    return "/".join(filter(None, map(text_of, parts)))


def _name(row: Row) -> str:
    name = text_of(row.get("name"))
    if not name:
        raise Malformed("has no name")
    return name


def _permission(path: str) -> str:
    """Of an endpoint, as NetBox's permissions name its objects: ``dcim.powerpanel`` of ``dcim/power-panels``."""
    app, _, words = path.partition("/")
    one = words.replace("-", "")
    return _PERMISSIONS.get(path) or f"{app}.{one if words.endswith('chassis') else one.removesuffix('s')}"


SOURCE = SourceKind(
    kind="netbox",
    title="NetBox: devices, virtual machines, racks, sites, cables, power, circuits, services",
    facts="NetBox documentation 4.6 and the OpenAPI document of 4.2, read 2026-11-22",
    config=NetBoxConfig,
    build=NetBoxSource,
)
