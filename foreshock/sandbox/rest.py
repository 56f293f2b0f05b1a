"""A stand-in of some inventory with a JSON API, for the source ``rest``: things and relations between them, with every
style of paging that there is.

Facts: none; it is nobody's product. A list under ``/v1`` takes limit and one of offset, page and cursor, changed_since
    (seconds since 1970), sorted by id; it answers {"data", "total", "next", "next_url"} and a header Link. What was
    deleted is told to who asks for changes.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Answering, Clock, Refused, Reply, Request, Simulator, secret_file

TOKEN = "sandbox-token"  # noqa: S105
_LISTS = ("things", "relations")
_MAX_ROWS = 1000
_SHOWN = {"owner": "team", "serial": "serial_no", "environment": "stage", "criticality": "tier", "retired": "scrapped"}


class RestSystem(Answering):
    """Attributes: page_rows: at most so many rows in one answer; 0: as asked."""

    cmdb = Cmdb(
        class_name="server",
        kind="server",
        relation=Relation("runs_on", "application", "server", "runs_on"),
        unmapped_class="toaster",
        unmapped_relation=Relation("admires", "server", "server", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "serial": ("SN-1", "SN-2"),
            "environment": ("production", "test"),
            "criticality": (1, 3),
        },
        permissions=_LISTS,
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.lists: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _LISTS}
        self._ids: dict[str, list[int]] = {}
        """Of what a list holds and is not deleted, in order; kept until something is done."""
        self._last = 0
        self._forbidden: set[str] = set()
        self._cursors = 0
        """Cursors that begin with a smaller number have expired."""
        self._oldest_change = -1.0
        self.put_ci("there from the start")

    # ---- what people do ----

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = self._add("things", {"name": name, "type": class_name or self.cmdb.class_name})
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self.lists["things"][int(id)]
        row |= {_SHOWN.get(name, name): value for name, value in shown.items()}
        self._touch(row)

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        self._delete("things", int(id), trace=trace)
        for key, row in list(self.lists["relations"].items()):
            if not row.get("deleted") and int(id) in (row["from"], row["to"]):
                self._delete("relations", key, trace=trace)

    def relate(self, source: str, target: str, word: str = "") -> str:
        ends = {"from": int(source), "to": int(target)}
        return self._add("relations", {**ends, "kind": word or self.cmdb.relation.word})

    def unrelate(self, key: str) -> None:
        self._delete("relations", int(key), trace=True)

    def spoil_ci(self, id: str) -> None:
        row = self.lists["things"][int(id)]
        row["name"] = {"no": "name"}
        self._touch(row)

    def expire(self) -> None:
        self._cursors += 1
        self._oldest_change = self._clock().timestamp()

    def forbid(self, permission: str) -> None:
        self._forbidden.add(permission)

    def _add(self, list_: str, row: dict[str, Any]) -> str:
        self._ids = {}
        self._last += 1
        self.lists[list_][self._last] = {"id": self._last, **row, "changed": self._clock().timestamp()}
        return str(self._last)

    def _touch(self, row: dict[str, Any]) -> None:
        row["changed"] = self._clock().timestamp()

    def _delete(self, list_: str, key: int, *, trace: bool) -> None:
        self._ids = {}
        row = self.lists[list_][key]
        row["deleted"] = True
        self._touch(row)
        if not trace:
            del self.lists[list_][key]

    # ---- requests ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return Reply(status=429, body={"error": "slow down"}, headers={"Retry-After": "1"})
            case Fault.DENIED:
                return Reply(status=401, body={"error": "who are you?"})
            case Fault.FORBIDDEN:
                return Reply(status=403, body={"error": "not for you"})
        return Reply(status=500, body={"error": "out of order"})

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refuse(Fault.DENIED)
        name = request.path.removeprefix("/api/v1/")
        if request.method != "GET" or name not in self.lists:
            return Reply(status=404, body={"error": "no such list"})
        if name in self._forbidden:
            return self.refuse(Fault.FORBIDDEN)
        return self._list(name, request)

    def _list(self, name: str, request: Request) -> Reply:
        asked = request.parameters
        since = float(asked.get("changed_since") or -1)
        wants_changes = "changed_since" in asked
        if wants_changes and since < self._oldest_change:
            raise Refused(Reply(status=410, body={"error": "changes of that time are forgotten"}))
        table = self.lists[name]
        if wants_changes:
            ids = sorted(id for id, row in table.items() if row["changed"] >= since)
        else:
            if name not in self._ids:
                self._ids[name] = sorted(id for id, row in table.items() if not row.get("deleted"))
            ids = self._ids[name]
        limit = min(int(asked.get("limit") or _MAX_ROWS), self.page_rows or _MAX_ROWS, _MAX_ROWS)
        start = self._start(asked, ids, limit)
        rows = [table[id] for id in ids[start : start + limit]]
        body: dict[str, Any] = {"data": rows, "total": len(ids), "next": None, "next_url": None}
        headers = {"content-type": "application/json"}
        if start + limit < len(ids):
            body["next"] = f"{self._cursors}:{rows[-1]['id']}"
            kept = "".join(f"&{key}={value}" for key, value in asked.items() if key in ("limit", "changed_since"))
            body["next_url"] = f"/api/v1/{name}?cursor={body['next']}{kept}"
            headers["Link"] = f'<{request.base}{body["next_url"]}>; rel="next", </api/v1/{name}>; rel="first"'
        return Reply(body=json.dumps(body).encode(), headers=headers)

    def _start(self, asked: Mapping[str, str], ids: list[int], limit: int) -> int:
        if "cursor" in asked:
            given, _, last = asked["cursor"].partition(":")
            if int(given) < self._cursors:
                raise Refused(Reply(status=410, body={"error": "this cursor is too old"}))
            return bisect_right(ids, int(last))
        if "page" in asked:
            return (int(asked["page"]) - 1) * limit
        return int(asked.get("offset") or 0)


def _settings(url: str, folder: Path) -> dict[str, Any]:
    paging = {"style": "cursor", "total": "total"}
    changes = {"since_param": "changed_since", "since_format": "unix", "gone": "deleted"}
    item = {
        "class_name": "type",
        "owner": "team",
        "environment": "stage",
        "criticality": "tier",
        "retired": "scrapped",
        "identifiers": {"serial": "serial_no"},
    }
    tie = {"id": "id", "source": "from", "target": "to", "word": "kind"}
    return {
        "url": f"{url}/api",
        "token_file": secret_file(folder, "rest.token", TOKEN),
        "lists": [
            {"name": "things", "path": "/v1/things", "rows": "data", "paging": paging, "item": item, **changes},
            {"name": "relations", "path": "/v1/relations", "rows": "data", "paging": paging, "ties": [tie], **changes},
        ],
    }


SIMULATOR = Simulator(kind="rest", title="Some inventory", build=RestSystem, source_settings=_settings)
