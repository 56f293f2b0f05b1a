"""Assets, the CMDB of Jira Service Management, on Cloud and Data Center.

Facts:    developer.atlassian.com, "Assets REST API" and "JSM Assets for Data Center"; support.atlassian.com, "AQL";
          read 2026-11. UNVERIFIED: names of types, attributes and references are those of Atlassian's templates
          (``KINDS``, ``RELATIONS``, ``ATTRIBUTES``); the statuses of changes those of the change template
          (``CHANGE_STATES``), its fields ``CHANGE_FIELDS``; and that AQL orders by ``Created`` on each edition.
Delivery: objects in the order in which they were created; where one is deleted meanwhile, what moved is read again.
          What changed is asked for by ``updated``, a little more than since the last reading. An attribute that refers
          to other objects is a relationship, named by its reference type, else by the attribute.
Recovery: nothing tells of what was deleted, nor of one of several references that was taken away: the next whole
          reading finds it, by ``full_every``; where an attribute holds one reference, the new one replaces the old.
Limits:   100 objects a call. A list of references is read up to 1,000. Cloud answers 1,000 calls a minute.
Needs:    Premium or Enterprise of Jira Service Management. An account that is **Object Schema User** of each schema,
          and nothing more; for change requests besides **Browse Projects** in `changes_project`. A schema that it may
          not see ends a reading before it begins, for else its objects would pass for deleted.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs
from pydantic import Field

from foreshock.connect.auth import read_secret
from foreshock.connect.cmdb import (
    IGNORE,
    MappedConfig,
    criticality,
    flaw,
    folded,
    identity,
    kind_of,
    read_cursor,
    text,
    tie_of,
    write_cursor,
)
from foreshock.connect.vendors import jira_assets as vendor
from foreshock.connect.vendors.jira import JiraAccount, called, connect, read_time
from foreshock.connect.vendors.jira_assets import ORDER, PAGE, REFERENCE, Assets, Objects
from foreshock.core.cmdb import (
    CmdbPage,
    Flaw,
    Identifier,
    IdType,
    Item,
    Kind,
    PlannedWork,
    SourceKind,
    Tie,
    WorkConfig,
    WorkState,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, ForeshockError, Malformed, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http

KINDS: Mapping[str, str] = {
    "Service": Kind.SERVICE, "Business Service": Kind.SERVICE, "Services": Kind.SERVICE,
    "Application": Kind.APPLICATION, "Applications": Kind.APPLICATION, "Software": Kind.APPLICATION,
    "Software Service": Kind.APPLICATION, "API": Kind.API, "Database": Kind.DATABASE, "Databases": Kind.DATABASE,
    "Server": Kind.SERVER, "Servers": Kind.SERVER, "Host": Kind.SERVER, "Hosts": Kind.SERVER,
    "Virtual machine": Kind.VM, "Virtual machines": Kind.VM, "Virtual Host": Kind.VM, "Cluster": Kind.CLUSTER,
    "Network device": Kind.NETWORK, "Network": Kind.NETWORK, "Router": Kind.NETWORK, "Switch": Kind.NETWORK,
    "Firewall": Kind.NETWORK, "Load Balancer": Kind.NETWORK, "Storage": Kind.STORAGE, "Rack": Kind.RACK,
    "Location": Kind.LOCATION, "Locations": Kind.LOCATION, "Site": Kind.LOCATION, "Data Center": Kind.LOCATION,
}  # fmt: skip
"""UNVERIFIED: object types of Atlassian's templates."""
RELATIONS: Mapping[str, str] = {
    "Depends on": "depends_on", "Dependency": "depends_on", "Depends": "depends_on", "Uses": "uses",
    "Used by": "inverse uses", "Runs on": "runs_on", "Installed": "runs_on", "Installed on": "runs_on",
    "Hosted on": "runs_on", "Host": "runs_on", "Hosts": "inverse runs_on", "Contains": "contains",
    "Member of": "member_of", "Part of": "member_of", "Cluster": "member_of", "Connected to": "connects_to",
    "Connection": "connects_to", "Location": "located_in", "Located in": "located_in", "Rack": "located_in",
    "Site": "located_in", "Powered by": "powered_by",
}  # fmt: skip
"""UNVERIFIED: reference types of Atlassian's templates, and attributes whose reference type says nothing; read from the
object to what it refers to."""
VAGUE = frozenset({"reference", "link", ""})
"""Reference types that say nothing: the attribute's name is taken. UNVERIFIED: that these are the general ones."""
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "owner": ("Support group", "Support team", "Owning team", "Team", "Owner"),
    "contact": ("Technical owner", "Business owner", "Contact"),
    "environment": ("Environment",),
    "criticality": ("Criticality", "Business criticality", "Tier", "Service tier", "Importance"),
    "location": ("Location", "Site"),
    "status": ("Status", "Lifecycle", "State"),
    "serial": ("Serial number", "Serial"),
    "asset_tag": ("Asset tag",),
    "uuid": ("UUID", "System UUID"),
    "provider": ("Instance ID", "Cloud ID", "Provider ID"),
    "fqdn": ("FQDN", "DNS name"),
    "hostname": ("Hostname", "Host name"),
    "ip": ("IP address", "IP", "IP addresses"),
    "mac": ("MAC address", "MAC"),
}
"""UNVERIFIED: names of attributes, the best first, by what they say of a CI."""
RETIRED = ("Retired", "Decommissioned", "Disposed", "Archived", "End of life", "Stolen")
OVERLAP = timedelta(minutes=3)
"""Changes are asked for by the minute, and the index behind AQL lags."""
CHANGE_TYPE = "[System] Change"
CHANGE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "starts": ("Planned start", "Change start date"),
    "ends": ("Planned end", "Change completion date"),
    "cis": ("Affected assets", "Affected hardware", "Assets"),
    "services": ("Affected services",),
}
"""UNVERIFIED: fields of a change by name, the newest names first."""
CHANGE_STATES: Mapping[str, WorkState] = {
    "Awaiting implementation": WorkState.PLANNED, "Approved": WorkState.PLANNED, "Scheduled": WorkState.PLANNED,
    "Implementing": WorkState.RUNNING, "In progress": WorkState.RUNNING, "Completed": WorkState.DONE,
    "Closed": WorkState.DONE, "Done": WorkState.DONE, "Failed": WorkState.DONE, "Canceled": WorkState.CANCELLED,
    "Cancelled": WorkState.CANCELLED, "Declined": WorkState.CANCELLED,
}  # fmt: skip
"""UNVERIFIED: statuses of the change workflow; a change in another one waits to be allowed."""
_MAX_VALUES = 1000
_MAX_CHANGES = 2000
_IDENTIFIERS = tuple(type_ for type_ in IdType if type_.value in ATTRIBUTES)


class JiraAssetsConfig(MappedConfig, WorkConfig, JiraAccount):
    user: str = Field(
        description="e-mail address of the account that Foreshock reads as (Data Center: its user name, or "
        '"" for a personal access token)',
        examples=["foreshock@example.com"],
    )
    schemas: tuple[str, ...] = Field(
        min_length=1, description="names or ids of the object schemas to read", examples=[["ITSM"]]
    )
    filter: str = Field(
        default="",
        description='AQL that objects must meet besides, for example objectType IN objectTypeAndChildren("CI")',
    )
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="name of the attribute that says something, for example {owner: Squad}; what can be said: "
        + ", ".join(ATTRIBUTES),
    )
    retired: tuple[str, ...] = Field(default=RETIRED, description="statuses of objects that are out of use")
    assets_url: str = Field(
        default="", description="address of Assets where it is not that of the edition: up to and with its version"
    )
    changes_project: str = Field(default="", description="key of the project that holds change requests; empty: none")


class _At(Struct, frozen=True):
    """Where a reading stands.

    Attributes:
        root: of Assets. aql: what is asked. began: when the reading did, by the system's clock.
        start: number of the next object. last, created: id and creation of the one before.
        rows: of a page; 0 before the first.
    """

    root: str
    aql: str
    began: str
    start: int = 0
    last: str = ""
    created: str = ""
    rows: int = 0
    v: int = 1


class _Mark(Struct, frozen=True):
    since: datetime
    v: int = 1


class JiraAssetsSource:
    def __init__(self, name: str, config: JiraAssetsConfig, http: Callable[..., "Http"]) -> None:
        self._name, self._config, self._http = name, config, http
        self._kinds = folded(KINDS, config.kinds)
        self._relations = folded(RELATIONS, config.relations)
        self._names = {
            what: (config.attributes[what],) if what in config.attributes else names
            for what, names in ATTRIBUTES.items()
        }
        self._retired = {word.casefold() for word in config.retired}
        self._site = connect(config, name, f"topology {name}", http)

    # ---- a reading ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        since = read_cursor(mark, _Mark).since if mark else None
        at = read_cursor(cursor, _At) if cursor else self._begin(since)
        assets = self._assets(at.root)
        found, start = self._fetch(assets, at)
        end = start + len(found.rows)
        rows = at.rows or len(found.rows)
        if not self._site.cloud and not found.last and len(found.rows) != rows:
            raise Unavailable(f"{assets.name} answers pages of {len(found.rows)} and of {rows} objects")
        items, ties, flaws = self._read(found.rows)
        page = CmdbPage(items=items, ties=ties, flaws=flaws, expected=found.total)
        if found.last:
            began = datetime.fromisoformat(at.began)
            return structs.replace(page, mark=write_cursor(_Mark(since=began)), whole=since is None)
        newest = found.rows[-1]
        after = _At(at.root, at.aql, at.began, end, str(newest.get("id")), str(newest.get("created") or ""), rows)
        return structs.replace(page, next=write_cursor(after))

    def _begin(self, since: datetime | None) -> _At:
        root = self._root()
        assets = self._assets(root)
        ids = self._schemas(assets)
        now = assets.server_now or datetime.now(UTC)
        parts = [f"objectSchemaId in ({', '.join(ids)})"]
        if self._config.filter:
            parts.append(f"({self._config.filter})")
        if since is not None:
            minutes = int((now - since + OVERLAP).total_seconds() // 60) + 1
            parts.append(f'Updated >= "now(-{minutes}m)"')
        return _At(root, f"{' AND '.join(parts)} {ORDER}", now.isoformat())

    def _fetch(self, assets: Assets, at: _At) -> tuple[Objects, int]:
        """The next objects, and the number of the first of them. Where something in front was deleted they have moved
        to the front: back until one comes that is older than all that are still to be read."""
        rows = at.rows or PAGE
        if not at.start:
            return assets.search(at.aql, 0), 0
        found = assets.after(at.aql, at.start, at.last, PAGE if self._site.cloud else rows)
        if found is not None and (found.rows or found.last):
            return found, at.start
        start = at.start
        while True:
            start = max(0, start - rows)
            found = assets.search(at.aql, start, rows)
            if start == 0 or (found.rows and str(found.rows[0].get("created") or "") < at.created):
                return found, start

    def _schemas(self, assets: Assets) -> list[str]:
        """Ids of the schemas of the settings. Raises Denied where one is not to be seen: then none of its objects
        are."""
        seen = assets.schemas()
        found: list[str] = []
        missing: list[str] = []
        for schema in self._config.schemas:
            id = _id_of(schema, seen)
            (found if id else missing).append(id or schema)
        if missing:
            raise Denied(
                f"{assets.name} shows no object schema {', '.join(map(repr, missing))}",
                hint=f"make the account an Object Schema User of it, or mend `schemas`; it sees: "
                f"{', '.join(sorted(seen.values())) or 'none'}",
            )
        return sorted(set(found))

    # ---- the way there ----

    def _root(self) -> str:
        if self._config.assets_url:
            return self._config.assets_url.rstrip("/")
        if not self._site.cloud:
            return self._config.url + vendor.DATA_CENTER_ROOT
        return vendor.CLOUD_ROOT.format(self._site.assets_workspace())

    def _assets(self, root: str) -> Assets:
        from foreshock.connect.http import Basic, Bearer

        config = self._config
        token = read_secret(config.token_file, f"topology {self._name}.token_file")
        http = self._http(
            f"jira_assets {self._name!r}",
            root,
            auth=Basic(config.user, token) if config.user else Bearer(token),
            ca_file=config.ca_file,
            proxy=config.proxy,
            read_refusal=vendor.read_refusal,
            max_body_bytes=vendor.MAX_BODY_BYTES,
        )
        return Assets(http, cloud=self._site.cloud)

    # ---- objects in our words ----

    def _read(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Item], list[Tie], list[Flaw]]:
        items: list[Item] = []
        ties: list[Tie] = []
        flaws: list[Flaw] = []
        for row in rows:
            try:
                class_name = text((row.get("objectType") or {}).get("name"), "objectType.name")
                if kind_of(class_name, self._kinds) == IGNORE:
                    continue
                id = identity(row.get("id"), "id")
                attributes = _attributes(row)
                item = self._item(id, class_name, row, attributes)
                of_it = self._ties(id, attributes)
            except (Malformed, AttributeError, TypeError) as error:
                flaws.append(flaw(row.get("id"), error, row))
                continue
            items.append(item)
            ties += of_it
        return items, ties, flaws

    def _item(self, id: str, class_name: str, row: Mapping[str, Any], attributes: "Mapping[str, _Attribute]") -> Item:
        def said(what: str) -> list[str]:
            for name in self._names[what]:
                if (found := attributes.get(name.casefold())) is not None and found.values:
                    return found.values
            return []

        def first(what: str) -> str:
            return next(iter(said(what)), "")

        key = text(row.get("objectKey"), "objectKey")
        identifiers = [Identifier(type_, value) for type_ in _IDENTIFIERS for value in said(type_.value)]
        links = row.get("_links")
        return Item(
            id=id,
            name=text(row.get("label") or row.get("name"), "label") or key or id,
            kind=kind_of(class_name, self._kinds),
            class_name=class_name,
            identifiers=tuple(identifiers),
            aliases=(key,) if key else (),
            owner=first("owner"),
            contact=first("contact"),
            environment=first("environment"),
            criticality=criticality(first("criticality")),
            location=first("location"),
            retired=first("status").casefold() in self._retired,
            url=text(links.get("self") if isinstance(links, dict) else "", "_links.self"),
            updated_at=_moment(row.get("updated")),
        )

    def _ties(self, id: str, attributes: "Mapping[str, _Attribute]") -> list[Tie]:
        found = []
        for attribute in attributes.values():
            for target in attribute.references:
                key = f"{id}/{attribute.id}" + ("" if attribute.single else f"/{target}")
                tie = tie_of(key, id, attribute.word, target, self._relations)
                if tie is not None:
                    found.append(tie)
        return found

    # ---- check ----

    def check(self) -> list[Finding]:
        assets = self._assets(self._root())
        found = []
        seen = assets.schemas()
        for schema in self._config.schemas:
            id = _id_of(schema, seen)
            subject = f"schema {schema}"
            if not id:
                others = ", ".join(sorted(seen.values())) or "none"
                remedy = "make the account an Object Schema User of it (Assets, the schema, Configure, Roles)"
                found.append(Finding(subject=subject, observed=f"it is not to be seen; seen: {others}", remedy=remedy))
                continue
            total = assets.search(f"objectSchemaId = {id} {ORDER}", 0, 1).total
            names = sorted(assets.types(id).values())
            odd = [name for name in names if kind_of(name, self._kinds) == Kind.OTHER]
            observed = f"{total} objects of {len(names)} types"
            if odd:
                observed += f"; not in `kinds`, so generic: {', '.join(odd[:20])}"
            found.append(Finding(subject=subject, observed=observed))
        if self._config.changes_project:
            found.append(self._check_changes())
        return found

    def _check_changes(self) -> Finding:
        subject, project = "change requests", self._config.changes_project
        try:
            fields = self._change_fields()
            allowed = self._site.permissions(project, ["BROWSE_PROJECTS"])["BROWSE_PROJECTS"]
        except ForeshockError as error:
            return Finding(
                subject=subject, observed=str(error), remedy=error.hint or f"check `changes_project` {project}"
            )
        if not allowed:
            remedy = f"give the account Browse Projects in {project}"
            return Finding(subject=subject, observed=f"it may not browse project {project}", remedy=remedy)
        missing = [what for what in ("starts", "ends") if not fields[what]]
        if missing:
            names = " or ".join(repr(name) for what in missing for name in CHANGE_FIELDS[what])
            return Finding(
                subject=subject, observed=f"the site has no field {names}", remedy="add it to the change type"
            )
        return Finding(subject=subject, observed=f"project {project} can be read")

    # ---- planned work ----

    def work(self, start: datetime, end: datetime) -> list[PlannedWork]:
        if not self._config.changes_project:
            return []
        fields = self._change_fields()
        if not fields["starts"] or not fields["ends"]:
            raise Denied(
                f"{self._site.name} has no fields for the planned time of a change",
                hint="see `foreshock cmdb test`, or leave `changes_project` out",
            )
        now = self._site.server_now or datetime.now(UTC)
        jql = (
            f'project = "{self._config.changes_project}" AND issuetype = "{CHANGE_TYPE}" '
            f'AND {_jql_field(fields["starts"])} <= "{_from_now(end, now)}" '
            f'AND {_jql_field(fields["ends"])} >= "{_from_now(start, now)}" ORDER BY created ASC'
        )
        names = ["summary", "status", "assignee", *filter(None, fields.values())]
        found = []
        for issue in self._site.search(jql, names, limit=_MAX_CHANGES):
            planned = self._planned(issue, fields)
            if planned is not None:
                found.append(planned)
        return found

    def _change_fields(self) -> dict[str, str]:
        """Ids of the fields of a change, empty where the site has none."""
        known = {str(field.get("name") or "").casefold(): str(field.get("id") or "") for field in self._site.fields()}
        return {
            what: next((id for name in names if (id := known.get(name.casefold()))), "")
            for what, names in CHANGE_FIELDS.items()
        }

    def _planned(self, issue: Mapping[str, Any], fields: Mapping[str, str]) -> PlannedWork | None:
        said = issue.get("fields") or {}
        status = text((said.get("status") or {}).get("name"), "status")
        state = {name.casefold(): state for name, state in CHANGE_STATES.items()}.get(status.casefold())
        starts, ends = read_time(said.get(fields["starts"])), read_time(said.get(fields["ends"]))
        if state is None or starts is None or ends is None:
            return None
        key = identity(issue.get("key"), "key")
        return PlannedWork(
            id=key,
            title=text(said.get("summary"), "summary"),
            state=state,
            starts_at=starts,
            ends_at=ends,
            cis=_objects(said.get(fields["cis"])),
            services=_objects(said.get(fields["services"])),
            owner=text(called(said.get("assignee")), "assignee"),
            url=f"{self._config.url}/browse/{key}",
        )


def _id_of(schema: str, seen: Mapping[str, str]) -> str:
    """Of a schema by id or name; empty where it is not among those seen."""
    by_name = {name.casefold(): id for id, name in seen.items()}
    return schema if schema in seen else by_name.get(schema.casefold(), "")


# ---- attributes -----------------------------------------------------------------------------------------------------


class _Attribute(Struct, frozen=True):
    """word: what a reference in it says. single: it never holds several. values: for people. references: ids of
    objects."""

    id: str
    single: bool
    word: str
    values: list[str]
    references: list[str]


def _attributes(row: Mapping[str, Any]) -> dict[str, _Attribute]:
    """By name, in lower case."""
    found = {}
    for attribute in row.get("attributes") or ():
        type_ = attribute.get("objectTypeAttribute") or {}
        name = text(type_.get("name"), "attribute")
        word = text((type_.get("referenceType") or {}).get("name"), "referenceType")
        values, references = [], []
        for value in (attribute.get("objectAttributeValues") or ())[:_MAX_VALUES]:
            referred = value.get("referencedObject")
            if referred is not None and str(type_.get("type", REFERENCE)) == REFERENCE:
                references.append(identity(referred.get("id"), name))
                shown = text(referred.get("label"), name)
            else:
                said = value.get("displayValue")
                shown = text(value.get("value") if said is None else said, name)
            if shown:
                values.append(shown)
        id = text(attribute.get("objectTypeAttributeId") or type_.get("id"), "objectTypeAttributeId") or name
        word = name if word.casefold() in VAGUE else word
        found[name.casefold()] = _Attribute(
            id, type_.get("maximumCardinality") == 1, word, values, list(dict.fromkeys(references))
        )
    return found


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return read_time(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _objects(values: Any) -> tuple[str, ...]:
    """Objects of an Assets field: ids, on a Data Center keys."""
    if not isinstance(values, list):
        return ()
    ids = (value.get("objectId") or value.get("key") for value in values if isinstance(value, dict))
    return tuple(dict.fromkeys(text(id, "object") for id in ids if id))


def _from_now(moment: datetime, now: datetime) -> str:
    """For JQL, whose dates are of the account's time zone: minutes from now."""
    minutes = round((moment - now).total_seconds() / 60)
    return f"{minutes}m" if minutes < 0 else f"+{minutes}m"


def _jql_field(id: str) -> str:
    return f"cf[{id.removeprefix('customfield_')}]"


SOURCE = SourceKind(
    kind="jira_assets",
    title="CIs and references of Jira Service Management's Assets",
    facts="Assets REST API of Cloud and of Data Center 10, AQL; read 2026-11",
    config=JiraAssetsConfig,
    build=lambda name, config, parts: JiraAssetsSource(name, config, parts.http),
    plans_work=True,
)
