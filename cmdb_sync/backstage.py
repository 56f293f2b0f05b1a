"""Components, APIs, resources, systems and domains of a Backstage software catalog.

Facts:    OpenAPI document of @backstage/plugin-catalog-backend 4.0 (entities by query, cursors, fields, filters) and
          @backstage/catalog-model 1.10; backstage.io "Well-known Relations", "Well-known Annotations" and "Descriptor
          Format", read 2026-11-22.
Delivery: the whole each time, by pages of 500 entities in the order of their names and only the fields that are read;
          the catalog does not say what changed. A cursor is a place in that order, so nothing is missed while others
          come and go.
Recovery: what was deleted is missing from the next whole reading. Entities that the catalog marks as orphans stay.
Limits:   groups and users are no CIs: they name the owner. Ids are entity references (component:default/cart), which
          Backstage does not let anybody change.
Needs:    a static external access token of Backstage (backend.auth.externalAccess) with read access to the plugin
          catalog. What the permission framework hides from it is left out of answers without a word.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.connect.cmdb import (
    IGNORE,
    MappedConfig,
    criticality,
    flaw,
    folded,
    kind_of,
    read_cursor,
    text,
    tie_of,
    write_cursor,
)
from foreshock.core.cmdb import (
    CmdbPage,
    CmdbParts,
    Expired,
    Flaw,
    Identifier,
    IdType,
    Item,
    Kind,
    SourceKind,
    Tie,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Malformed, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http  # importing it takes a tenth of a second of each start

PAGE_ROWS = 500
_MAX_BODY_BYTES = 64 * 2**20
_API = "/api/catalog"
_FIELDS = (
    "kind,metadata.name,metadata.namespace,metadata.title,metadata.uid,metadata.labels,metadata.annotations,"
    "metadata.tags,spec.type,spec.lifecycle,spec.profile,relations"
)

KINDS: Mapping[str, str] = {
    "system": Kind.SERVICE,
    "domain": Kind.SERVICE,
    "component": Kind.APPLICATION,
    "component/library": Kind.OTHER,
    "component/documentation": Kind.OTHER,
    "api": Kind.API,
    "resource": Kind.OTHER,
    "resource/database": Kind.DATABASE,
    "resource/cache": Kind.DATABASE,
    "resource/queue": Kind.QUEUE,
    "resource/topic": Kind.QUEUE,
    "resource/kafka-topic": Kind.QUEUE,
    "resource/bucket": Kind.STORAGE,
    "resource/s3-bucket": Kind.STORAGE,
    "resource/storage": Kind.STORAGE,
    "resource/kubernetes-cluster": Kind.CLUSTER,
    "resource/cluster": Kind.CLUSTER,
    "resource/server": Kind.SERVER,
    "resource/vm": Kind.VM,
    "resource/network": Kind.NETWORK,
}
"""By kind, or kind and spec.type. Only the kinds are Backstage's; types of resources are words that people like."""
RELATIONS: Mapping[str, str] = {
    "dependsOn": "depends_on",
    "consumesApi": "depends_on",
    # The API answers as long as its provider does.
    "providesApi": "inverse depends_on",
    # Not member_of: what a system or domain is for its users fails with its parts, and not they with it.
    "partOf": "inverse depends_on",
    # Each has a partner at the other entity that is read there, or is about people.
    **dict.fromkeys(
        (
            *("dependencyOf", "apiConsumedBy", "apiProvidedBy", "hasPart", "ownedBy", "ownerOf"),
            *("memberOf", "hasMember", "parentOf", "childOf"),
        ),
        IGNORE,
    ),
}
_OWNED_BY = "ownedBy"
_KUBERNETES = "backstage.io/kubernetes-"
RECORDS: Mapping[str, str] = {"pagerduty.com/service-id": "pagerduty"}
"""Annotations that hold the id of a record elsewhere, and whose."""


class BackstageConfig(MappedConfig):
    url: str = Field(
        description="address of the backend, without /api/catalog", examples=["https://backstage.example.com"]
    )
    token_file: Path | None = Field(default=None, description="file with a static external access token, mode 0600")
    ca_file: CaFile = None
    proxy: Proxy = ""
    entities: tuple[str, ...] = Field(
        default=("component", "api", "resource", "system", "domain"),
        min_length=1,
        description="kinds of entities that are CIs",
    )
    filter: str = Field(
        default="",
        description="further conditions in the catalog's words, for example metadata.namespace=default",
        max_length=1000,
    )
    criticality_labels: tuple[str, ...] = Field(
        default=("criticality", "tier"),
        description="labels or annotations, with any prefix, or tags that begin so (tier-1), which say 1 (most) to 4",
    )
    retired: tuple[str, ...] = Field(
        default=("retired", "decommissioned", "end-of-life"),
        description="values of spec.lifecycle of what is out of use; any other is the environment",
    )
    cluster: str = Field(
        default="",
        description="Kubernetes cluster of components whose annotations name a workload and namespace and no cluster",
    )
    records: dict[str, str] = Field(
        default_factory=dict,
        description="annotations that hold the id of a record elsewhere, and the kind of source it comes from, for "
        "example {example.com/servicenow-id: servicenow}",
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://backstage.example.com", instead="token_file").removesuffix(_API)


class _Relation(Struct, frozen=True, rename="camel"):
    type: str
    target_ref: str


class _Metadata(Struct, frozen=True):
    name: str
    namespace: str = "default"
    title: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    tags: list[str] | None = None


class _Profile(Struct, frozen=True, rename="camel"):
    display_name: str = ""


class _Spec(Struct, frozen=True):
    type: str = ""
    lifecycle: str = ""
    profile: _Profile | None = None


class _Entity(Struct, frozen=True):
    kind: str
    metadata: _Metadata
    spec: _Spec | None = None
    relations: list[_Relation] | None = None

    @property
    def ref(self) -> str:
        return _ref(self.kind, self.metadata.namespace, self.metadata.name)


class _Place(Struct, frozen=True):
    """The catalog's own cursor."""

    cursor: str


class _Listed(Struct, frozen=True):
    items: list[Any]
    next: str
    total: int


class BackstageSource:
    def __init__(self, name: str, config: BackstageConfig, http: "Http") -> None:
        self._name = name
        self._config = config
        self._http = http
        self._kinds = folded(KINDS, config.kinds)
        self._relations = folded(RELATIONS, config.relations)
        self._records = {**RECORDS, **config.records}
        self._read = frozenset(kind.lower() for kind in config.entities)

    def page(self, cursor: str, mark: str) -> CmdbPage:
        place = read_cursor(cursor, _Place) if cursor else None
        if place is None:
            listed = self._first(self._config.entities, _FIELDS)
        else:
            listed = self._following(place.cursor, _FIELDS)
        items: list[Item] = []
        ties: dict[str, Tie] = {}
        flaws: list[Flaw] = []
        for raw in listed.items:
            try:
                entity = msgspec.convert(raw, _Entity)
                item = self._item(entity)
            except (msgspec.ValidationError, Malformed) as error:
                flaws.append(flaw(_flawed_ref(raw), error, raw))
                continue
            if item is not None:
                items.append(item)
                ties.update((tie.key, tie) for tie in self._ties(entity))
        return CmdbPage(
            items=items,
            ties=list(ties.values()),
            flaws=flaws,
            next=write_cursor(_Place(listed.next)) if listed.next else "",
            whole=not listed.next,
            expected=listed.total,
        )

    def check(self) -> Sequence[Finding]:
        found = self._http.get(f"{_API}/entity-facets", params={"facet": "kind"}).part("facets", dict)
        counts = {
            str(each["value"]).lower(): int(each["count"])
            for each in found.get("kind") or ()
            if isinstance(each, dict) and "value" in each and str(each.get("count")).isdigit()
        }
        findings = [
            Finding(subject=kind, observed=f"{counts.get(kind, 0)} entities can be seen") for kind in sorted(self._read)
        ]
        if not any(counts.get(kind) for kind in self._read):
            findings[0] = Finding(
                subject="catalog",
                observed=f"no {', no '.join(sorted(self._read))} can be seen",
                remedy="look whether the token may read the plugin catalog, and whether `entities` are those you keep",
            )
        return findings

    # ---- questions ----

    def _first(self, kinds: Sequence[str], fields: str) -> _Listed:
        # Within one filter the values of the same key are alternatives, other keys are conditions.
        conditions = [f"kind={kind}" for kind in kinds]
        if self._config.filter and kinds is self._config.entities:
            conditions.append(self._config.filter)
        params: dict[str, str | int] = {
            "limit": PAGE_ROWS,
            "filter": ",".join(conditions),
            "orderField": "metadata.name,asc",
            "fields": fields,
        }
        return _listed(self._http.get(f"{_API}/entities/by-query", params=params), "")

    def _following(self, cursor: str, fields: str) -> _Listed:
        params: dict[str, str | int] = {"limit": PAGE_ROWS, "cursor": cursor, "fields": fields}
        try:
            answer = self._http.get(f"{_API}/entities/by-query", params=params)
        except Rejected as error:  # another version of the catalog may not know its cursors any more
            raise Expired(str(error)) from None
        return _listed(answer, cursor)

    @cached_property
    def _groups(self) -> Mapping[str, str]:
        """What groups are called, by reference."""
        fields = "kind,metadata.name,metadata.namespace,metadata.title,spec.profile"
        listed = self._first(("group",), fields)
        found = {}
        while True:
            for raw in listed.items:
                try:
                    group = msgspec.convert(raw, _Entity)
                except msgspec.ValidationError:
                    continue  # those whom it owns show the name in its reference
                shown = group.spec.profile.display_name if group.spec is not None and group.spec.profile else ""
                found[group.ref] = shown or group.metadata.title
            if not listed.next:
                return found
            listed = self._following(listed.next, fields)

    # ---- an entity as item and ties ----

    def _item(self, entity: _Entity) -> Item | None:
        meta, spec = entity.metadata, entity.spec or _Spec()
        if not meta.name:
            raise Malformed("metadata.name is empty")
        class_name = "/".join(filter(None, (entity.kind, spec.type)))
        kind = self._kinds.get(class_name.casefold()) or kind_of(entity.kind, self._kinds)
        if kind == IGNORE:
            return None
        lifecycle = text(spec.lifecycle, "spec.lifecycle")
        retired = lifecycle.lower() in self._config.retired
        owners = [_name_of(one.target_ref) for one in entity.relations or () if one.type == _OWNED_BY]
        teams = [self._groups.get(ref) or name for ref, kind_, name in owners if kind_ != "user"]
        return Item(
            id=entity.ref,
            name=text(meta.name, "metadata.name"),
            kind=kind,
            class_name=text(class_name, "kind"),
            handle=entity.ref,
            identifiers=tuple(self._identifiers(meta)),
            aliases=tuple(filter(None, (text(meta.title, "metadata.title"),))),
            owner=text(next(iter(teams), ""), "owner"),
            contact=text(next((name for _, kind_, name in owners if kind_ == "user"), ""), "owner"),
            environment="" if retired else lifecycle,
            criticality=self._criticality(meta),
            retired=retired,
            url=f"{self._config.url}/catalog/{meta.namespace}/{entity.kind.lower()}/{meta.name}",
        )

    def _criticality(self, meta: _Metadata) -> int:
        said = {**(meta.annotations or {}), **(meta.labels or {})}
        for name in self._config.criticality_labels:
            values = [value for label, value in said.items() if label == name or label.endswith(f"/{name}")]
            values += [tag[len(name) + 1 :] for tag in meta.tags or () if re.match(f"{re.escape(name)}[-:]", tag)]
            if level := next(filter(None, map(criticality, values)), 0):
                return level
        return 0

    def _identifiers(self, meta: _Metadata) -> list[Identifier]:
        said = meta.annotations or {}
        found = [Identifier(IdType.RECORD, text(meta.uid, "metadata.uid"), "backstage")] if meta.uid else []
        for annotation, source in self._records.items():
            if value := text(said.get(annotation), annotation):
                found.append(Identifier(IdType.RECORD, value, source))
        workload, namespace = said.get(f"{_KUBERNETES}id"), said.get(f"{_KUBERNETES}namespace")
        cluster = said.get(f"{_KUBERNETES}cluster") or self._config.cluster
        if workload and namespace and cluster:
            # The annotation is a label's value; where a Deployment of that name is there, it is the one that is meant.
            id = text(f"{namespace}/deployment/{workload}", f"{_KUBERNETES}id")
            found.append(Identifier(IdType.KUBERNETES, id.lower(), text(cluster, f"{_KUBERNETES}cluster")))
        return found

    def _ties(self, entity: _Entity) -> list[Tie]:
        found = []
        for one in entity.relations or ():
            target, kind, _ = _name_of(one.target_ref)
            if kind in self._read:
                tie = tie_of("", entity.ref, text(one.type, "relation"), target, self._relations)
                found += [tie] if tie is not None else []
        return found


def _listed(answer: "Answer", asked: str) -> _Listed:
    items: list[Any] = answer.part("items", list)
    body = answer.json()
    info, total = body.get("pageInfo"), body.get("totalItems")
    following = str(info.get("nextCursor") or "") if isinstance(info, dict) else ""
    if following and following == asked:
        raise Unavailable(f"{answer.place} answered the same page twice")
    return _Listed(items, following, total if isinstance(total, int) else 0)


def _ref(kind: str, namespace: str, name: str) -> str:
    """An entity reference; Backstage compares them without regard to case."""
    return text(f"{kind}:{namespace}/{name}", "entity reference").lower()


def _name_of(ref: str) -> tuple[str, str, str]:
    """The reference as ids are written, its kind, and the name."""
    kind, _, rest = ref.rpartition(":")
    namespace, _, name = rest.rpartition("/")
    return _ref(kind, namespace or "default", name), kind.lower(), name


def _flawed_ref(raw: Any) -> str:
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        return ""
    return _ref(str(raw.get("kind")), str(meta.get("namespace") or "default"), meta["name"])


def _build(name: str, config: BackstageConfig, parts: CmdbParts) -> BackstageSource:
    from foreshock.connect.http import Bearer

    auth = None
    if config.token_file is not None:
        auth = Bearer(read_secret(config.token_file, f"topology.{name}.token_file"))
    http = parts.http(
        f"backstage {name!r}",
        config.url,
        auth=auth,
        ca_file=config.ca_file,
        proxy=config.proxy,
        max_body_bytes=_MAX_BODY_BYTES,
    )
    return BackstageSource(name, config, http)


SOURCE = SourceKind(
    kind="backstage",
    title="Backstage: components, APIs, resources, systems and domains",
    facts="Backstage catalog API of plugin-catalog-backend 4.0",
    config=BackstageConfig,
    build=_build,
)
