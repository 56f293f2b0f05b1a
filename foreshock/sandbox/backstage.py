"""A stand-in of a Backstage catalog, as far as entities are read.

Facts: those of ``cmdb_sync.backstage``; its answers hold what the catalog's OpenAPI document says.

It copies what matters to a reader: filters, fields, an order and cursors that are a place in it; relations on both
entities; references without regard to case; errors as the catalog writes them.
"""

import base64
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Answering, Clock, Refused, Reply, Request, Simulator, secret_file, stable_id

TOKEN = "sandbox-token"  # noqa: S105
_MAX_ROWS = 500
_PARTNERS = {
    "dependsOn": "dependencyOf",
    "consumesApi": "apiConsumedBy",
    "providesApi": "apiProvidedBy",
    "partOf": "hasPart",
    "ownedBy": "ownerOf",
    "mirrors": "mirroredBy",
}


class _Error(Refused):
    def __init__(self, status: int, name: str, message: str, headers: Mapping[str, str] = {}) -> None:
        body = {"error": {"name": name, "message": message}, "response": {"statusCode": status}}
        super().__init__(Reply(status=status, body=body, headers=headers))


class BackstageSystem(Answering):
    """One catalog with two groups.

    Attributes:
        page_rows: at most so many entities in one answer; 0: as asked.
    """

    cmdb = Cmdb(
        class_name="Component",
        kind="application",
        relation=Relation("dependsOn", "Component", "Resource", "depends_on"),
        unmapped_class="Resource/printer",
        unmapped_relation=Relation("mirrors", "Component", "Component", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "environment": ("production", "experimental"),
            "criticality": (1, 3),
        },
        lacks={
            Trait.DELTA: "the catalog does not say what changed",
            Trait.TOMBSTONES: "each reading is whole",
            Trait.RENAMES: "another name is another entity",
            Trait.EXPIRY: "a cursor is a place in the order of names",
            Trait.FREE_NAMES: "names hold letters, digits, -, _ and .",
            Trait.TWINS: "names are compared without regard to case",
            Trait.PERMISSIONS: "what may not be seen is left out of answers",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.entities: dict[str, dict[str, Any]] = {}
        self._order: list[tuple[str, str]] = []
        self._kinds: Counter[str] = Counter()
        """How many entities are of a kind, in lower case; with the order."""
        self._relations: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        for name in ("Database", "Network"):
            self.put("Group", name.lower(), spec={"type": "team", "profile": {"displayName": name}})

    # ---- what people do ----

    def put(self, kind: str, name: str, *, spec: Mapping[str, Any] = {}, **metadata: Any) -> str:
        """A new entity, or another state of one; its reference."""
        ref = f"{kind}:default/{name}".lower()
        uid = stable_id(self._seed, ref, len(self.entities))
        head = {
            "name": name,
            "namespace": "default",
            "uid": "-".join((uid[:8], uid[8:12], uid[12:16], uid[16:20], uid[20:])),
        }
        self.entities[ref] = {
            "apiVersion": "backstage.io/v1alpha1",
            "kind": kind,
            "metadata": {**head, "etag": uid, **metadata},
            "spec": dict(spec),
        }
        self._order = []
        return ref

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        kind, _, type_ = (class_name or self.cmdb.class_name).partition("/")
        spec = {"type": type_ or {"Component": "service", "Resource": "database"}.get(kind, "")}
        ref = self.put(kind, name, spec={**spec, "lifecycle": "production"})
        self.change_ci(ref, **shown)
        return ref

    def change_ci(self, id: str, **shown: Any) -> None:
        entity = self.entities[id]
        for name, value in shown.items():
            match name:
                case "owner":
                    for target, word in list(self._relations[id]):
                        if word == "ownedBy":
                            self._unrelate(id, word, target)
                    self._relate(id, "ownedBy", f"group:default/{value.lower()}")
                case "environment":
                    entity["spec"]["lifecycle"] = value
                case "criticality":
                    entity["metadata"]["labels"] = {"example.com/tier": f"tier-{value}"}

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        del self.entities[id]
        self._order = []
        for target, word in list(self._relations.pop(id, {})):
            back = {partner: word for word, partner in _PARTNERS.items()}.get(word) or _PARTNERS[word]
            self._relations[target].pop((id, back), None)

    def relate(self, source: str, target: str, word: str = "") -> str:
        word = word or self.cmdb.relation.word
        self._relate(source, word, target)
        type_ = "related_to" if word == "mirrors" else "depends_on"
        ends = (target, source) if word in ("partOf", "providesApi") else (source, target)
        return f"{ends[0]} {type_} {ends[1]}"

    def unrelate(self, key: str) -> None:
        source, _, target = key.split(" ")
        for word in ("dependsOn", "consumesApi", "mirrors"):
            self._unrelate(source, word, target)
        for word in ("partOf", "providesApi"):
            self._unrelate(target, word, source)

    def spoil_ci(self, id: str) -> None:
        self.entities[id]["metadata"]["labels"] = "no labels"

    def _relate(self, source: str, word: str, target: str) -> None:
        self._relations[source][target, word] = None
        self._relations[target][source, _PARTNERS[word]] = None

    def _unrelate(self, source: str, word: str, target: str) -> None:
        self._relations[source].pop((target, word), None)
        self._relations[target].pop((source, _PARTNERS[word]), None)

    # ---- requests ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return _Error(429, "TooManyRequestsError", "Too many requests", {"Retry-After": "1"}).reply
            case Fault.DENIED:
                return _Error(401, "AuthenticationError", "Illegal token").reply
            case Fault.FORBIDDEN:
                return _Error(403, "NotAllowedError", "Unauthorized").reply
        return _Error(500, "Error", "Knex: Timeout acquiring a connection").reply

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refuse(Fault.DENIED)
        match request.method, request.path:
            case "GET", "/api/catalog/entities/by-query":
                return self._by_query(request)
            case "GET", "/api/catalog/entity-facets":
                counts = Counter(entity["kind"] for entity in self.entities.values())
                facets = [{"value": kind, "count": count} for kind, count in sorted(counts.items())]
                return Reply(body={"facets": {"kind": facets}})
        raise _Error(404, "NotFoundError", f"No route for {request.path}")

    def _by_query(self, request: Request) -> Reply:
        asked = request.parameters
        cursor = _decoded(asked["cursor"]) if "cursor" in asked else {}
        condition = cursor.get("filter", asked.get("filter", ""))
        wanted = defaultdict(set)
        for term in filter(None, condition.split(",")):
            key, _, value = term.partition("=")
            wanted[key].add(value.lower())
        if not self._order:
            self._order = sorted((entity["metadata"]["name"].lower(), ref) for ref, entity in self.entities.items())
            self._kinds = Counter(entity["kind"].lower() for entity in self.entities.values())
        start = bisect_right(self._order, tuple(cursor["after"])) if cursor else 0
        limit = min(int(asked.get("limit", 20)), _MAX_ROWS, self.page_rows or _MAX_ROWS)
        rows: list[tuple[str, str]] = []
        more = False
        for place in islice(self._order, start, None):
            if all(_value(self.entities[place[1]], key) in values for key, values in wanted.items()):
                if len(rows) == limit:
                    more = True
                    break
                rows.append(place)
        info: dict[str, str] = {}
        if more:
            info["nextCursor"] = _encoded({"after": rows[-1], "filter": condition})
        if cursor:
            info["prevCursor"] = _encoded({"after": ("", ""), "filter": condition})
        fields = list(filter(None, asked.get("fields", "").split(",")))
        items = [_pruned(self._shown(ref), fields) for _, ref in rows]
        total = sum(self._kinds[kind] for kind in wanted["kind"]) if wanted["kind"] else len(self.entities)
        body = {"items": items, "totalItems": total, "pageInfo": info}
        return Reply(body=json.dumps(body).encode(), headers={"content-type": "application/json"})

    def _shown(self, ref: str) -> dict[str, Any]:
        relations = [{"type": word, "targetRef": target} for target, word in self._relations.get(ref, ())]
        return {**self.entities[ref], "relations": relations}


def _value(entity: Mapping[str, Any], path: str) -> str:
    value: Any = entity
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return str(value).lower()


def _pruned(entity: Mapping[str, Any], fields: list[str]) -> Mapping[str, Any]:
    if not fields:
        return entity
    kept: dict[str, Any] = {}
    for field in fields:
        head, _, rest = field.partition(".")
        part = entity.get(head)
        if not rest:
            kept |= {head: part} if head in entity else {}
        elif isinstance(part, Mapping) and rest in part:
            kept.setdefault(head, {})[rest] = part[rest]
    return kept


def _encoded(place: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(place).encode()).decode()


def _decoded(cursor: str) -> dict[str, Any]:
    try:
        return dict(json.loads(base64.b64decode(cursor, validate=True)))
    except ValueError:
        raise _Error(400, "InputError", "Malformed cursor, could not be parsed") from None


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {"url": url, "token_file": secret_file(folder, "backstage.token", TOKEN)}


SIMULATOR = Simulator(kind="backstage", title="Backstage", build=BackstageSystem, source_settings=_settings)
