"""A stand-in of Assets, the CMDB of Jira Service Management, Cloud or Data Center, with change requests beside it.

Facts: those of ``cmdb_sync.jira_assets`` and ``foreshock.connect.vendors.jira_assets``; exercised by the third-party
    client atlassian-python-api 5.0.5 as well.

It copies what matters to a client: objects are searched by AQL and paged by offset, so that a deletion moves all that
come after it; nothing tells of what was deleted; an object that refers to another is the one that changes; attributes
without a value are left out; a schema that the account may not see is not listed and its objects are found by nobody.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Clock,
    Refused,
    Reply,
    Request,
    Route,
    Simulator,
    routed,
    secret_file,
    stable_id,
)

USER, TOKEN = "foreshock@example.com", "sandbox-token"
SCHEMA = "ITSM"
CHANGES = "CHG"
_MAX_ROWS = 100
_TYPES = {"Server": "2", "Service": "3", "Database": "4", "Application": "5", "Toaster": "9"}
_TEXTS = {
    "owner": ("11", "Support group"),
    "environment": ("12", "Environment"),
    "criticality": ("13", "Tier"),
    "serial": ("14", "Serial number"),
    "location": ("15", "Location"),
    "status": ("16", "Status"),
    "fqdn": ("17", "FQDN"),
    "ip": ("18", "IP address"),
}
_REFERENCES = {"Depends on": ("31", -1), "Runs on": ("32", 1), "Admires": ("33", -1)}
"""By attribute: its id, and how many references it holds at most; -1 for any."""
START, END, ASSETS_FIELD, SERVICES_FIELD = "10070", "10071", "10072", "10073"
_FIELDS = {
    START: "Planned start",
    END: "Planned end",
    ASSETS_FIELD: "Affected assets",
    SERVICES_FIELD: "Affected services",
}
_AGO = re.compile(r'"now\(-(\d+)m\)"')
_RELATIVE = re.compile(r'cf\[(\d+)\] (<=|>=) "([+-]?\d+)m"')


class _Refused(Refused):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(Reply(status=status, body={"errorMessages": [message], "errors": {}}))


class AssetsSystem(Answering):
    """One site with one object schema.

    Attributes:
        cloud: or Data Center. visible: whether the account may see the schema.
    """

    cmdb = Cmdb(
        class_name="Server",
        kind="server",
        relation=Relation("Depends on", "Application", "Server", "depends_on"),
        unmapped_class="Toaster",
        unmapped_relation=Relation("Admires", "Server", "Server", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "environment": ("Production", "Test"),
            "criticality": (1, 3),
            "serial": ("SN-1", "SN-2"),
            "location": ("Berlin", "Oslo"),
            "fqdn": ("a.example.com", "b.example.com"),
            "ip": ("10.0.0.1", "10.0.0.2"),
        },
        permissions=(SCHEMA,),
        lacks={
            Trait.TOMBSTONES: "nothing tells of what was deleted",
            Trait.EXPIRY: "pages go by offset",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1, *, cloud: bool = True) -> None:
        super().__init__(clock, seed)
        self.cloud = cloud
        self.visible = True
        self.page_rows = 0
        self.workspace = stable_id(seed, "workspace")[:8]
        self._objects: dict[str, dict[str, Any]] = {}
        self._order: list[int] = []
        self._ids = 0
        self._spoilt: set[str] = set()
        self._changes: list[dict[str, Any]] = []
        self.put_ci("there from the start")

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return _Refused(429, "Rate limit exceeded").reply
            case Fault.DENIED:
                return _Refused(401, "Client must be authenticated to access this resource.").reply
            case Fault.FORBIDDEN:
                return _Refused(403, "You do not have permission to do this.").reply
        return _Refused(500, "Internal server error").reply

    def _routed(self, request: Request) -> Reply:
        user, token = request.basic
        bearer = request.headers.get("authorization", "") == f"Bearer {TOKEN}"
        if (user, token) != (USER, TOKEN) and (self.cloud or not bearer):
            return self.refuse(Fault.DENIED)
        reply = routed(self._routes(), request.method, request.path, request)
        if reply is None:
            raise _Refused(404, f"null for uri: {request.path}")
        return reply

    def _routes(self) -> list[Route]:
        version = 3 if self.cloud else 2
        root = f"/jsm/assets/workspace/{self.workspace}/v1" if self.cloud else "/rest/assets/1.0"
        return [
            ("GET", "/rest/servicedeskapi/assets/workspace", self._workspaces),
            ("GET", f"{root}/objectschema/list", self._schemas),
            ("GET", f"{root}/objectschema/{{}}/objecttypes/flat", self._types),
            ("POST", f"{root}/object/aql", self._search),
            ("GET", f"{root}/aql/objects", self._search_by_page),
            ("GET", f"/rest/api/{version}/field", self._fields),
            ("GET", f"/rest/api/{version}/mypermissions", self._permissions),
            ("POST", f"/rest/api/{version}/search/jql" if self.cloud else "/rest/api/2/search", self._search_changes),
        ]

    def _workspaces(self, request: Request) -> Reply:
        return Reply(body={"size": 1, "isLastPage": True, "values": [{"workspaceId": self.workspace}]})

    def _schemas(self, request: Request) -> Reply:
        known = [{"id": "1", "name": SCHEMA, "objectSchemaKey": SCHEMA}] if self.visible else []
        known.append({"id": "7", "name": "Facilities", "objectSchemaKey": "FAC"})
        if not self.cloud:
            return Reply(body={"objectschemas": known})
        return Reply(body={"startAt": 0, "maxResults": 100, "total": len(known), "isLast": True, "values": known})

    def _types(self, request: Request, schema: str) -> Reply:
        if schema != "1" or not self.visible:
            raise _Refused(404, "The object schema could not be found")
        return Reply(body=[{"id": id, "name": name, "objectSchemaId": "1"} for name, id in _TYPES.items()])

    # ---- objects ----

    def _search(self, request: Request) -> Reply:
        body = request.json() or {}
        start = int(request.parameters.get("startAt", 0))
        ids, total = self._found(body.get("qlQuery"))
        rows = self._page(ids, start, int(request.parameters.get("maxResults", 25)))
        return Reply(
            body={
                "startAt": start,
                "maxResults": len(rows),
                "total": total,
                "isLast": start + len(rows) >= total,
                "values": rows,
            }
        )

    def _search_by_page(self, request: Request) -> Reply:
        asked = request.parameters
        rows = int(asked.get("resultPerPage", 25))
        start = (int(asked.get("page", 1)) - 1) * rows
        ids, total = self._found(asked.get("qlQuery"))
        return Reply(
            body={"objectEntries": self._page(ids, start, rows), "totalFilterCount": total, "startIndex": start}
        )

    def _page(self, ids: list[int], start: int, rows: int) -> list[dict[str, Any]]:
        # One more than it is told: clients ask for a row again to see that nothing has moved.
        rows = min(rows, _MAX_ROWS, self.page_rows + 1 if self.page_rows else _MAX_ROWS)
        return [self._shown(self._objects[str(id)]) for id in ids[start : start + rows]]

    def _found(self, aql: Any) -> tuple[list[int], int]:
        text = str(aql or "")
        if "order by created asc" not in text.lower():
            raise _Refused(400, f"AQL could not be parsed: {text[:100]}")
        if not self.visible or not re.search(r"objectSchemaId (?:= 1\b|in \([^)]*\b1\b[^)]*\))", text):
            return [], 0
        ids = self._order
        if (found := _AGO.search(text)) is not None:
            since = self._clock() - timedelta(minutes=int(found[1]))
            ids = [id for id in ids if self._objects[str(id)]["updated"] >= since]
        return ids, len(ids)

    def _shown(self, held: Mapping[str, Any]) -> dict[str, Any]:
        id = str(held["id"])
        attributes = []
        for name, value in held["texts"].items():
            number, title = _TEXTS[name]
            said = f"Tier {value}" if name == "criticality" else value
            attributes.append(_attribute(number, title, "0", 1, "", [{"value": said, "displayValue": said}]))
        for word, targets in held["references"].items():
            number, most = _REFERENCES[word]
            values = [
                {
                    "referencedType": True,
                    "displayValue": self._objects[target]["name"],
                    "referencedObject": {
                        "id": target,
                        "label": self._objects[target]["name"],
                        "objectKey": f"{SCHEMA}-{target}",
                    },
                }
                for target in targets
            ]
            if values:
                attributes.append(_attribute(number, word, "1", most, "Reference", values))
        return {
            "workspaceId": self.workspace,
            "globalId": f"{self.workspace}:{id}",
            "id": id,
            "label": {"broken": True} if id in self._spoilt else held["name"],
            "objectKey": f"{SCHEMA}-{id}",
            "objectType": {"id": _TYPES[held["type"]], "name": held["type"]},
            "created": _time(held["created"]),
            "updated": _time(held["updated"]),
            "attributes": attributes,
        }

    # ---- what people do ----

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        self._ids += 1
        id, now = str(self._ids), self._clock()
        self._objects[id] = {
            "id": self._ids,
            "name": name,
            "type": class_name or self.cmdb.class_name,
            "texts": dict(shown),
            "references": {},
            "created": now,
            "updated": now,
        }
        self._order.append(self._ids)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        held = self._objects[id]
        held["name"] = shown.pop("name", held["name"])
        held["texts"] |= shown
        held["updated"] = self._clock()

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        del self._objects[id]
        del self._order[bisect_left(self._order, int(id))]
        for held in self._objects.values():
            for targets in held["references"].values():
                if id in targets:
                    targets.remove(id)

    def relate(self, source: str, target: str, word: str = "") -> str:
        word = word or self.cmdb.relation.word
        number, most = _REFERENCES[word]
        held = self._objects[source]
        targets = held["references"].setdefault(word, [])
        if most == 1:
            targets.clear()
        targets.append(target)
        held["updated"] = self._clock()
        return f"{source}/{number}" + ("" if most == 1 else f"/{target}")

    def unrelate(self, key: str) -> None:
        source, number, *target = key.split("/")
        word = next(word for word, (known, _) in _REFERENCES.items() if known == number)
        targets = self._objects[source]["references"][word]
        targets.remove(target[0]) if target else targets.clear()
        self._objects[source]["updated"] = self._clock()

    def spoil_ci(self, id: str) -> None:
        self._spoilt.add(id)

    def forbid(self, permission: str) -> None:
        assert permission == SCHEMA
        self.visible = False

    def plan_change(self, status: str, starts: datetime, ends: datetime, *cis: str, title: str = "Patch") -> str:
        """A change request; its key."""
        key = f"{CHANGES}-{len(self._changes) + 1}"
        self._changes.append(
            {"key": key, "title": title, "status": status, "starts": starts, "ends": ends, "cis": list(cis)}
        )
        return key

    # ---- change requests ----

    def _fields(self, request: Request) -> Reply:
        fields = [{"id": f"customfield_{id}", "name": name, "custom": True} for id, name in _FIELDS.items()]
        return Reply(body=[{"id": "summary", "name": "Summary", "custom": False}, *fields])

    def _permissions(self, request: Request) -> Reply:
        may = request.parameters.get("projectKey") == CHANGES
        return Reply(body={"permissions": {"BROWSE_PROJECTS": {"havePermission": may}}})

    def _search_changes(self, request: Request) -> Reply:
        jql = str((request.json() or {}).get("jql"))
        if f'project = "{CHANGES}"' not in jql:
            raise _Refused(400, "The value does not exist for the field 'project'.")
        found = self._changes
        for field, how, minutes in _RELATIVE.findall(jql):
            name = "starts" if field == START else "ends"
            moment = self._clock() + timedelta(minutes=int(minutes))
            found = [one for one in found if (one[name] <= moment if how == "<=" else one[name] >= moment)]
        issues = [
            {
                "id": str(index),
                "key": one["key"],
                "fields": {
                    "summary": one["title"],
                    "status": {"name": one["status"]},
                    "assignee": {"accountId": "ada", "displayName": "Ada"},
                    f"customfield_{START}": _jira_time(one["starts"]),
                    f"customfield_{END}": _jira_time(one["ends"]),
                    f"customfield_{ASSETS_FIELD}": [
                        {"workspaceId": self.workspace, "id": f"{self.workspace}:{ci}", "objectId": ci}
                        for ci in one["cis"]
                    ],
                },
            }
            for index, one in enumerate(found)
        ]
        return Reply(body={"issues": issues, "isLast": True, "total": len(issues), "startAt": 0})


def _attribute(
    id: str, name: str, type_: str, most: int, reference: str, values: list[dict[str, Any]]
) -> dict[str, Any]:
    described: dict[str, Any] = {"id": id, "name": name, "type": int(type_), "maximumCardinality": most}
    if reference:
        described["referenceType"] = {"id": "1", "name": reference}
    return {"objectTypeAttributeId": id, "objectTypeAttribute": described, "objectAttributeValues": values}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{math.floor(moment.microsecond / 1000):03}Z"


def _jira_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def source_settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "token_file": secret_file(folder, "jira_assets.token", TOKEN),
        "schemas": [SCHEMA],
        "changes_project": CHANGES,
    }


def _settings(url: str, folder: Path) -> dict[str, Any]:
    workspace = stable_id(1, "workspace")[:8]
    return {**source_settings(url, folder), "assets_url": f"{url}/jsm/assets/workspace/{workspace}/v1"}


SIMULATOR = Simulator(
    kind="jira_assets",
    title="Assets of Jira Service Management",
    build=AssetsSystem,
    source_settings=_settings,
)
