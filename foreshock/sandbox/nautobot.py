"""A stand-in of Nautobot 3.2: what its CMDB source reads of it, by REST and GraphQL.

Facts: those of ``cmdb_sync.nautobot``; how it answers was compared with a real Nautobot 3.2.7, against which that
    source is tested, too.

It copies what matters to a reader: REST refuses what may not be viewed, GraphQL leaves it out; a wrong token is 403;
an address, an end of a cable or a contact changes without a new date of the machine; who deletes a machine leaves
its cables with one end, of which the change log says nothing; relationships of people's own have no date at all.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Answering, Clock, Refused, Reply, Request, Simulator, secret_file, stable_id

TOKEN = "0123456789abcdef0123456789abcdef0123abcd"  # noqa: S105
_FIELD = re.compile(r"\s*(?:(\w+)\s*:\s*)?(\w+)\s*(?:\(([^)]*)\))?\s*\{")
_ARGUMENT = re.compile(r"(\w+)\s*:\s*\[?\s*(\$?\w+)")
_NO_TOKEN = {"detail": "Invalid token"}
_NOT_ALLOWED = {"detail": "You do not have permission to perform this action."}
# List in GraphQL: endpoint in REST, content type.
_TABLES = {
    "locations": ("dcim/locations", "dcim.location"),
    "racks": ("dcim/racks", "dcim.rack"),
    "power_panels": ("dcim/power-panels", "dcim.powerpanel"),
    "power_feeds": ("dcim/power-feeds", "dcim.powerfeed"),
    "clusters": ("virtualization/clusters", "virtualization.cluster"),
    "virtual_chassis": ("dcim/virtual-chassis", "dcim.virtualchassis"),
    "device_redundancy_groups": ("dcim/device-redundancy-groups", "dcim.deviceredundancygroup"),
    "circuits": ("circuits/circuits", "circuits.circuit"),
    "devices": ("dcim/devices", "dcim.device"),
    "virtual_machines": ("virtualization/virtual-machines", "virtualization.virtualmachine"),
    "services": ("ipam/services", "ipam.service"),
    "cables": ("dcim/cables", "dcim.cable"),
    "tenants": ("tenancy/tenants", "tenancy.tenant"),
    "object_changes": ("extras/object-changes", "extras.objectchange"),
    "associations": ("extras/relationship-associations", "extras.relationshipassociation"),
    "relationships": ("extras/relationships", "extras.relationship"),
}
_TYPES = {
    "DeviceType": ("clusters", "associated_contacts"),
    "CableType": ("terminations",),
}
_CUSTOM = {"environment": "env", "criticality": "tier"}


class NautobotSystem(Answering):
    """One location, and what people put into it. Attributes: page_rows: as ``MAX_PAGE_SIZE``, of REST only."""

    cmdb = Cmdb(
        class_name="server",
        kind="server",
        relation=Relation("cable", "server", "switch", "connects_to"),
        unmapped_class="gizmo",
        unmapped_relation=Relation("keeps_an_eye_on", "server", "switch", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "serial": ("SN-1", "SN-2"),
            "ip": ("10.0.0.1", "10.0.0.2"),
            "environment": ("production", "test"),
            "criticality": (1, 3),
        },
        permissions=("dcim/devices", "dcim/cables", "dcim/interfaces", "ipam/ip-addresses", "extras/object-changes"),
        lacks={
            Trait.PAGES: "GraphQL answers with all that it is asked for by id",
            Trait.EXPIRY: "a cursor is an id, and a mark without its entry in the change log leads to a whole reading",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _TABLES}
        self._spoilt: set[str] = set()
        self._forbidden: set[str] = set()
        self._count = 0
        self._place = self._put("locations", name="room", parent=None, status={"name": "Active"})
        self._kind = self._put("relationships", key=self.cmdb.unmapped_relation.word)  # type: ignore[union-attr]

    # ---- what people do ----

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = self._put("devices", name=name, role={"name": class_name or self.cmdb.class_name}, custom={}, ip="")
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self.tables["devices"][id]
        for name, value in shown.items():
            if name == "ip":
                row["ip"] = value
                self._log("update", "dcim.interface", f"{id}-eth0", "dcim.device", id)
                continue
            if name == "owner":
                row["tenant"] = {"name": value}
            elif name in _CUSTOM:
                row["custom"][_CUSTOM[name]] = value
            else:
                row[name] = value
            self._touch("devices", id)

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        del self.tables["devices"][id]
        for cable in self.tables["cables"].values():
            for side in ("a", "b"):
                if cable[side] == id:
                    cable[side] = None
                    if trace:
                        shown = {"cable": {"id": cable["id"]}}
                        self._log("delete", "dcim.interface", self._new_id("interface"), "dcim.device", id, shown)
        for key in [
            key for key, row in self.tables["associations"].items() if id in (row["source_id"], row["destination_id"])
        ]:
            del self.tables["associations"][key]
        if trace:
            self._log("delete", "dcim.device", id)

    def relate(self, source: str, target: str, word: str = "") -> str:
        if word in ("", self.cmdb.relation.word):
            return self._put("cables", a=source, b=target, status={"name": "Connected"})
        ends = {"source_id": source, "destination_id": target}
        types = dict.fromkeys(("source_type", "destination_type"), "dcim.device")
        return self._put("associations", relationship={"id": self._kind}, **ends, **types)

    def unrelate(self, key: str) -> None:
        if self.tables["associations"].pop(key, None) is None:
            del self.tables["cables"][key]
            self._log("delete", "dcim.cable", key)

    def spoil_ci(self, id: str) -> None:
        self._spoilt.add(id)

    def expire(self) -> None:
        self.tables["object_changes"].clear()

    def forbid(self, permission: str) -> None:
        self._forbidden.add(permission)

    def _new_id(self, table: str) -> str:
        self._count += 1
        id = stable_id(self._seed, table, self._count)
        return f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}"

    def _put(self, table: str, **values: Any) -> str:
        id = self._new_id(table)
        self.tables[table][id] = {"id": id, **values}
        if table != "associations":
            self._touch(table, id, "create")
        return id

    def _touch(self, table: str, id: str, action: str = "update") -> None:
        self.tables[table][id]["last_updated"] = self._clock().isoformat()
        self._log(action, _TABLES[table][1], id)

    def _log(
        self, action: str, type: str, id: str, related: str = "", related_id: str = "", shown: Mapping[str, Any] = {}
    ) -> None:
        change = self._new_id("object_changes")
        self.tables["object_changes"][change] = {
            "id": change,
            "time": self._clock().isoformat(),
            "action": action.upper(),
            "changed_object_type": _type(type),
            "changed_object_id": id,
            "related_object_type": _type(related) if related else None,
            "related_object_id": related_id or None,
            "object_data": {},
            "object_data_v2": dict(shown),
        }

    # ---- answers ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                said = {"detail": "Request was throttled. Expected available in 2 seconds."}
                return Reply(status=429, body=said, headers={"Retry-After": "2"})
            case Fault.DENIED:
                return Reply(status=403, body=_NO_TOKEN)
            case Fault.FORBIDDEN:
                return Reply(status=403, body=_NOT_ALLOWED)
        return Reply(status=500, body={"error": "connection already closed", "exception": "InterfaceError"})

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Token {TOKEN}":
            return self.refuse(Fault.DENIED)
        if request.path == "/api/graphql/" and request.method == "POST":
            return self._graphql(request.json())
        if request.method != "GET" or not request.path.startswith("/api/"):
            raise Refused(Reply(status=404, body={"detail": "Not found."}))
        path, _, id = request.path.removeprefix("/api/").strip("/").partition("/")
        path, _, id = f"{path}/{id}".rpartition("/") if id.count("/") else (f"{path}/{id}", "", "")
        if path in self._forbidden:
            return self.refuse(Fault.FORBIDDEN)
        return self._rest(path, id, request.parameters)

    def _rest(self, path: str, id: str, given: Mapping[str, str]) -> Reply:
        table = next((name for name, (endpoint, _) in _TABLES.items() if endpoint == path), "")
        rows = list(self.tables.get(table, {}).values())
        if id:
            found = [row for row in rows if row["id"] == id]
            return (
                Reply(body=found[0]) if found else Reply(status=404, body={"detail": "No match for the given query."})
            )
        if "id" in given:
            rows = [row for row in rows if row["id"] == given["id"]]
        order = given.get("sort", "id")
        if order == "-time":
            rows.reverse()
        else:
            rows.sort(key=lambda row: str(row["id"]))
        size, start = min(int(given.get("limit", "50")), self.page_rows or 1000), int(given.get("offset", "0"))
        page = {"count": len(rows), "next": None, "previous": None, "results": rows[start : start + size]}
        return Reply(body=page)

    def _graphql(self, asked: Any) -> Reply:
        variables = asked.get("variables") or {}
        data: dict[str, Any] = {}
        errors: list[dict[str, Any]] = []
        for alias, name, arguments, selection in _fields(asked["query"]):
            given = {key: variables.get(value[1:], value) for key, value in arguments.items() if value != "null"}
            if name == "__type":
                data[alias] = {"fields": [{"name": field} for field in _TYPES.get(given["name"], ())]}
                continue
            rows = self._found(name, given)
            if selection.strip() == "id":
                data[alias] = [{"id": row["id"]} for row in rows]
                continue
            rows = [self._shown(name, row) for row in rows]
            for index, row in enumerate(rows):
                if row["id"] in self._spoilt:
                    rows[index] = {**row, "name": None}
                    errors.append({"message": "Enum cannot represent value", "path": [alias, index, "status"]})
            data[alias] = rows
        return Reply(body={"data": data, **({"errors": errors} if errors else {})})

    def _found(self, name: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        if name not in self.tables or _TABLES[name][0] in self._forbidden:
            return []
        table = self.tables[name]
        if "id" in given:
            return [table[id] for id in given["id"] if id in table]
        since = given.get("last_updated__gte") or given.get("time__gte") or ""
        date = "time" if name == "object_changes" else "last_updated"
        rows = [row for row in table.values() if row[date] >= since] if since else list(table.values())
        if name == "object_changes":
            rows.reverse()
        start = int(given.get("offset", 0))
        return rows[start : start + int(given.get("limit", len(rows)))]

    def _shown(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        if name == "devices":
            place = {"id": self._place, "name": "room"}
            address = {"id": f"{row['id']}-ip", "host": row["ip"], "parent": {"namespace": {"name": "Global"}}}
            port = {"id": f"{row['id']}-eth0", "name": "eth0", "ip_addresses": [address] if row["ip"] else []}
            return {**row, "_custom_field_data": row["custom"], "location": place, "interfaces": [port]}
        if name == "cables":
            ends = [(side.upper(), row[side]) for side in ("a", "b") if row[side]]
            return {
                **row,
                "terminations": [{"cable_end": end, "interface": {"device": {"id": id}}} for end, id in ends],
            }
        return row


def _fields(query: str) -> Iterator[tuple[str, str, dict[str, str], str]]:
    """The fields of a query's first level: what the answer calls it, name, arguments, and what stands in its braces."""
    at = query.index("{") + 1
    while found := _FIELD.match(query, at):
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(query[end], 0)
            end += 1
        yield found[1] or found[2], found[2], dict(_ARGUMENT.findall(found[3] or "")), query[found.end() : end - 1]
        at = end


def _type(text: str) -> dict[str, str]:
    app, _, model = text.partition(".")
    return {"app_label": app, "model": model}


def _settings(url: str, folder: Path) -> dict[str, Any]:
    token = secret_file(folder, "nautobot.token", TOKEN)
    return {"url": url, "token_file": token, "page_size": 1000, "fields": _CUSTOM}


SIMULATOR = Simulator(kind="nautobot", title="Nautobot", build=NautobotSystem, source_settings=_settings)
