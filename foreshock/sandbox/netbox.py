"""A stand-in of NetBox 4.2: what its CMDB source reads of it.

Facts: NetBox documentation 4.6 and the OpenAPI document of 4.2, read 2026-11-22; its answers are held to it, and
    pynetbox 7.8 reads it.

It copies what matters to a reader: lists with filters that take a name several times, cut to a page; a wrong token and
what may not be viewed are 403; an address changes without a new date of the machine; who deletes a machine deletes its
interfaces, and leaves its cables with one end.
"""

from bisect import bisect_right
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Answering, Clock, Refused, Reply, Request, Simulator, secret_file

TOKEN = "0123456789abcdef0123456789abcdef0123cdef"  # noqa: S105
_MAX_PAGE = 1000
# Endpoint: type, as the change log names it.
_TABLES = {
    "dcim/sites": "dcim.site",
    "dcim/locations": "dcim.location",
    "dcim/racks": "dcim.rack",
    "dcim/power-panels": "dcim.powerpanel",
    "dcim/power-feeds": "dcim.powerfeed",
    "dcim/virtual-chassis": "dcim.virtualchassis",
    "dcim/devices": "dcim.device",
    "dcim/device-roles": "dcim.devicerole",
    "dcim/interfaces": "dcim.interface",
    "dcim/mac-addresses": "dcim.macaddress",
    "dcim/cables": "dcim.cable",
    "virtualization/clusters": "virtualization.cluster",
    "virtualization/virtual-machines": "virtualization.virtualmachine",
    "virtualization/interfaces": "virtualization.vminterface",
    "ipam/ip-addresses": "ipam.ipaddress",
    "ipam/services": "ipam.service",
    "circuits/circuits": "circuits.circuit",
    "circuits/providers": "circuits.provider",
    "tenancy/tenants": "tenancy.tenant",
    "tenancy/contacts": "tenancy.contact",
    "tenancy/contact-assignments": "tenancy.contactassignment",
    "core/object-changes": "core.objectchange",
}
DEVICES, CABLES, PORTS, ADDRESSES = "dcim/devices", "dcim/cables", "dcim/interfaces", "ipam/ip-addresses"
LOG = "core/object-changes"
_CUSTOM = {"environment": "env", "criticality": "tier"}
_NONE: Mapping[str, Any] = {}
_ACTIVE = {"value": "active", "label": "Active"}


class NetBoxSystem(Answering):
    """One site, and what people put into it. Attributes: page_rows: as ``MAX_PAGE_SIZE``; 0: the default."""

    cmdb = Cmdb(
        class_name="server",
        kind="server",
        relation=Relation("cable", "server", "switch", "connects_to"),
        unmapped_class="gizmo",
        shows={
            "owner": ("Database", "Network"),
            "serial": ("SN-1", "SN-2"),
            "ip": ("10.0.0.1", "10.0.0.2"),
            "environment": ("production", "test"),
            "criticality": (1, 3),
        },
        permissions=(DEVICES, CABLES, ADDRESSES, LOG),
        lacks={
            Trait.EXPIRY: "a cursor is an id, and a mark without its entry in the change log leads to a whole reading",
            Trait.RELATIONS: "NetBox knows no relations of people's own",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.tables: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _TABLES}
        self._forbidden: set[str] = set()
        self._named: dict[tuple[str, str], int] = {}
        self._site = self.put("dcim/sites", name="hall", slug="hall", status=_ACTIVE)

    # ---- what people do ----

    def put(self, path: str, **values: Any) -> int:
        """A new object; its id."""
        id = len(self.tables[path]) + 1 if path != LOG else 0
        while id in self.tables[path] or id < self._named.get(("last", path), 0) + 1:
            id += 1
        self._named["last", path] = id
        now = _text_of(self._clock())
        name = str(values.get("name") or f"#{id}")
        row = {
            "id": id,
            "url": f"/api/{path}/{id}/",
            "display": name,
            "tags": (),
            "custom_fields": _NONE,
            "created": now,
        }
        self.tables[path][id] = {**row, **values, "last_updated": now}
        self._log(path, id, "create", {}, self.tables[path][id])
        return id

    def change(self, path: str, id: int, **values: Any) -> None:
        row = self.tables[path][id]
        before = dict(row)
        row |= {**values, "last_updated": _text_of(self._clock())}
        self._log(path, id, "update", before, row)

    def delete(self, path: str, id: int, *, trace: bool = True) -> None:
        row = self.tables[path].pop(id)
        if trace:
            self._log(path, id, "delete", row, {})

    def _log(self, path: str, id: int, action: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        number = self._named.get(("last", LOG), 0) + 1
        self._named["last", LOG] = number
        self.tables[LOG][number] = {
            "id": number,
            "url": f"/api/{LOG}/{number}/",
            "display": f"{action} {path} {id}",
            "time": _text_of(self._clock()),
            "user": None,
            "user_name": "ada",
            "request_id": "00000000-0000-4000-8000-000000000000",
            "action": {"value": action, "label": action.title()},
            "changed_object_type": _TABLES[path],
            "changed_object_id": id,
            "changed_object": None,
            "prechange_data": _flat(before) if before else None,
            "postchange_data": _flat(after) if after else None,
        }

    def brief(self, path: str, name: str) -> dict[str, Any]:
        """An object of this name, made where there is none, as others show it."""
        if (path, name) not in self._named:
            self._named[path, name] = self.put(path, name=name, slug=name.casefold())
        return self._short(path, self._named[path, name])

    def _short(self, path: str, id: int) -> dict[str, Any]:
        row = self.tables[path][id]
        return {name: row[name] for name in ("id", "url", "display", "name", "slug", "device") if name in row}

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        role = self.brief("dcim/device-roles", class_name or self.cmdb.class_name)
        site = self._short("dcim/sites", self._site)
        empty = dict.fromkeys(("tenant", "platform", "asset_tag", "location", "rack", "cluster", "virtual_chassis"))
        id = self.put(DEVICES, name=name, role=role, site=site, status=_ACTIVE, serial="", **empty)
        item = f"dcim.device:{id}"
        if shown:
            self.change_ci(item, **shown)
        return item

    def change_ci(self, id: str, **shown: Any) -> None:
        number = _number(id)
        for name, value in shown.items():
            match name:
                case "ip":
                    self._address(number, value)
                case "owner":
                    self.change(DEVICES, number, tenant=self.brief("tenancy/tenants", value))
                case "environment" | "criticality":
                    custom = {**self.tables[DEVICES][number]["custom_fields"], _CUSTOM[name]: value}
                    self.change(DEVICES, number, custom_fields=custom)
                case _:
                    self.change(DEVICES, number, **{name: value}, **({"display": value} if name == "name" else {}))

    def _address(self, device: int, host: str) -> None:
        for id, row in self.tables[ADDRESSES].items():
            if row["assigned_object"]["device"]["id"] == device:
                self.change(ADDRESSES, id, address=f"{host}/24", display=f"{host}/24")
                return
        port = self._port(device)
        self.put(
            ADDRESSES, name=host, address=f"{host}/24", display=f"{host}/24", vrf=None, role=None, dns_name="",
            status=_ACTIVE, assigned_object_type="dcim.interface", assigned_object_id=port,
            assigned_object=self._short(PORTS, port),
        )  # fmt: skip

    def _port(self, device: int) -> int:
        name = f"eth{len(self.tables[PORTS])}"
        return self.put(PORTS, name=name, device=self._short(DEVICES, device), cable=None)

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        number = _number(id)
        for path, row in self._parts(number):
            self.delete(path, row["id"], trace=trace)
        self.delete(DEVICES, number, trace=trace)

    def _parts(self, device: int) -> list[tuple[str, dict[str, Any]]]:
        """Its addresses and its interfaces, which leave their cables."""
        ports = [row for row in self.tables[PORTS].values() if row["device"]["id"] == device]
        for row in ports:
            self._unplug(row)
        addresses = self.tables[ADDRESSES].values()
        found = [(ADDRESSES, row) for row in addresses if row["assigned_object"]["device"]["id"] == device]
        return found + [(PORTS, row) for row in ports]

    def _unplug(self, port: Mapping[str, Any]) -> None:
        cable = self.tables[CABLES].get((port.get("cable") or {}).get("id", 0))
        for side in ("a_terminations", "b_terminations") if cable is not None else ():
            cable[side] = [end for end in cable[side] if end["object_id"] != port["id"]]  # type: ignore[index]

    def cut(self, port: int) -> None:
        """Somebody deletes an interface; its cable stays, with one end and as old as it was."""
        self._unplug(self.tables[PORTS][port])
        self.delete(PORTS, port)

    def relate(self, source: str, target: str, word: str = "") -> str:
        ports = [self._port(_number(end)) for end in (source, target)]
        ends = [
            [{"object_type": "dcim.interface", "object_id": port, "object": self._short(PORTS, port)}] for port in ports
        ]
        status = {"value": "connected", "label": "Connected"}
        cable = self.put(CABLES, a_terminations=ends[0], b_terminations=ends[1], status=status, label="", type=None)
        for port in ports:
            self.tables[PORTS][port]["cable"] = {"id": cable, "url": f"/api/{CABLES}/{cable}/", "display": f"#{cable}"}
        return f"dcim.cable:{cable}"

    def unrelate(self, key: str) -> None:
        self.delete(CABLES, _number(key))

    def spoil_ci(self, id: str) -> None:
        self.tables[DEVICES][_number(id)]["name"] = ["not", "a", "name"]

    def expire(self) -> None:
        self.tables[LOG].clear()

    def forbid(self, permission: str) -> None:
        self._forbidden.add(permission)

    # ---- answers ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return Reply(status=429, body={"detail": "Request was throttled."}, headers={"Retry-After": "2"})
            case Fault.DENIED:
                return Reply(status=403, body={"detail": "Invalid token"})
            case Fault.FORBIDDEN:
                return Reply(status=403, body={"detail": "You do not have permission to perform this action."})
        return Reply(status=500, body={"error": "connection already closed", "exception": "InterfaceError"})

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Token {TOKEN}":
            return self.refuse(Fault.DENIED)
        if request.path == "/api/":
            return Reply(body={}, headers={"API-Version": "4.2"})
        if request.path == "/api/status/":
            return Reply(body={"netbox-version": "4.2.9", "django-version": "5.1.8"}, headers={"API-Version": "4.2"})
        path, id = _split(request.path)
        if path not in self.tables or request.method != "GET":
            raise Refused(Reply(status=404, body={"detail": "Not found."}))
        if path in self._forbidden:
            return self.refuse(Fault.FORBIDDEN)
        if id:
            row = self.tables[path].get(int(id)) if id.isdigit() else None
            return (
                Reply(status=404, body={"detail": "No match for the given query."}) if row is None else Reply(body=row)
            )
        return self._listed(path, request)

    def _listed(self, path: str, request: Request) -> Reply:
        given: dict[str, list[str]] = {}
        for name, value in parse_qsl(request.query, keep_blank_values=True):
            given.setdefault(name, []).append(value)
        rows = self._filtered(path, given)
        if given.get("ordering") == ["-id"]:
            rows.reverse()
        size = min(int(given.get("limit", ["50"])[0]) or _MAX_PAGE, self.page_rows or _MAX_PAGE)
        start = int(given.get("offset", ["0"])[0])
        more = {**{name: each[-1] for name, each in given.items()}, "limit": size, "offset": start + size}
        address = f"{request.base}{request.path}?{urlencode(more)}" if len(rows) > start + size else None
        shown = rows[start : start + size]
        return Reply(body={"count": len(rows), "next": address, "previous": None, "results": shown})

    def _filtered(self, path: str, given: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        table = self.tables[path]
        if "id" in given:
            rows = [table[id] for id in sorted(map(int, given["id"])) if id in table]
        else:
            rows = list(table.values())  # in the order of their ids, because ids only grow
        after = int(given.get("id__gt", ["0"])[0])
        rows = rows[bisect_right(rows, after, key=itemgetter("id")) :] if after else rows
        for name, wanted in given.items():
            if name in _COMPARED:
                rows = [row for row in rows if row[_COMPARED[name]] >= wanted[0]]
            elif name.endswith("_id"):
                rows = [row for row in rows if str(_pointed(row, name.removesuffix("_id"))) in wanted]
            elif name == "object_type":
                rows = [row for row in rows if row["object_type"] in wanted]
        return rows


_COMPARED = {"last_updated__gte": "last_updated", "time_after": "time"}


def _pointed(row: Mapping[str, Any], name: str) -> Any:
    """The id under a name, of the object itself or of what it is assigned to."""
    if isinstance(row.get(f"{name}_id"), int):
        return row[f"{name}_id"]
    for holder in (row, row.get("assigned_object") or {}):
        if isinstance(holder.get(name), dict):
            return holder[name]["id"]
    return None


_LOGGED = ("name", "device", "virtual_machine", "cable", "assigned_object_type", "assigned_object_id", "object_id")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """As the change log shows an object, as far as anybody reads it: ids for what it points to."""
    shown = {}
    for name in _LOGGED:
        if name in row:
            value = row[name]
            shown[name] = value["id"] if isinstance(value, dict) else value
    return shown


def _split(path: str) -> tuple[str, str]:
    parts = path.removeprefix("/api/").strip("/").split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


def _number(id: str) -> int:
    return int(id.rpartition(":")[2])


def _text_of(at: Any) -> str:
    return str(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {"url": url, "token_file": secret_file(folder, "netbox.token", TOKEN), "page_size": 1000, "fields": _CUSTOM}


SIMULATOR = Simulator(kind="netbox", title="NetBox", build=NetBoxSystem, source_settings=_settings)
