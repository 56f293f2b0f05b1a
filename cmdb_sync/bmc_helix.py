"""CIs of BMC Helix CMDB (Remedy, Atrium Core): instances of chosen classes, relationships, support groups, changes.

Facts:    docs.bmc.com, CMDB 20.02 and Helix CMDB 25.2: instances endpoint; AR System: entries of forms; open clients of
          both; read 2026-11-22. UNVERIFIED: names of some classes and attributes (``KINDS``, ``ATTRIBUTES``,
          ``MODIFIED``), which end of a relation is which (``RELATIONS``, ``IMPACT``), the form with support groups
          (``PEOPLE``), that instances come in one order as long as nothing is added or purged, statuses of changes
          (``CHANGE_STATES``).
Delivery: class by class, then all relations; afterwards what was modified since, two minutes of overlap included. Pages
          go by offset: after each the instance in front of it is looked at again, and where that has moved the class is
          read from its beginning. What is marked as deleted is gone.
Recovery: what was purged without being marked, and support groups that changed, are found by the whole reading.
Limits:   two calls for each 250 instances, one more for each 30 CIs that are read for their support groups; one call at
          a time. Read one dataset, the reconciled one.
Needs:    an account of Foreshock's own with the role **CMDB Data View** for the classes that are read, ``Asset Viewer``
          for ``AST:AssetPeople`` and ``Infrastructure Change Viewer`` for changes; no write permission.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs
from pydantic import Field

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
from foreshock.connect.tickets import read_time
from foreshock.connect.vendors.bmc_helix import PAGE_ROWS, AnyOf, HelixAccount, Row, Term, connect, time_text
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
    WorkUse,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Malformed, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http

KIND = "bmc_helix"
CLASSES = (
    "BMC.CORE:BMC_BusinessService", "BMC.CORE:BMC_ApplicationService", "BMC.CORE:BMC_ApplicationSystem",
    "BMC.CORE:BMC_Application", "BMC.CORE:BMC_SoftwareServer", "BMC.CORE:BMC_DataBase", "BMC.CORE:BMC_Cluster",
    "BMC.CORE:BMC_ComputerSystem", "BMC.CORE:BMC_VirtualSystem",
)  # fmt: skip
"""What is read unless a person says otherwise, each with the classes below it. Not BMC_BaseElement as a whole: it holds
each software package, network adapter and memory bar, too. UNVERIFIED in part."""
KINDS: Mapping[str, str] = {
    "BMC_BusinessService": Kind.SERVICE, "BMC_ApplicationService": Kind.SERVICE,
    "BMC_ApplicationSystem": Kind.APPLICATION, "BMC_Application": Kind.APPLICATION,
    "BMC_SoftwareServer": Kind.APPLICATION, "BMC_DataBase": Kind.DATABASE, "BMC_Cluster": Kind.CLUSTER,
    "BMC_ComputerSystem": Kind.SERVER, "BMC_Mainframe": Kind.SERVER, "BMC_VirtualSystem": Kind.VM,
    "BMC_DiskDrive": Kind.STORAGE, "BMC_StorageVolume": Kind.STORAGE, "BMC_PhysicalLocation": Kind.LOCATION,
    "BMC_NetworkPort": Kind.INTERFACE, "BMC_Rack": Kind.RACK, "BMC_UPS": Kind.POWER, "BMC_Printer": IGNORE,
}  # fmt: skip
"""By ``ClassId``. UNVERIFIED in part."""
ROLES: Mapping[str, str] = {
    "Router": Kind.NETWORK, "Switch": Kind.NETWORK, "Layer 3 Switch": Kind.NETWORK, "Firewall": Kind.NETWORK,
    "Load Balancer": Kind.NETWORK, "Gateway": Kind.NETWORK, "Access Point": Kind.NETWORK, "Hub": Kind.NETWORK,
    "Storage Array": Kind.STORAGE, "Storage": Kind.STORAGE,
}  # fmt: skip
"""What a computer system is by its role. UNVERIFIED: the names."""
RELATIONS: Mapping[str, str] = {
    "BMC_Component": "contains", "BMC_Dependency": "inverse depends_on", "BMC_Impact": "inverse depends_on",
    "BMC_MemberOfCollection": "inverse member_of", "BMC_HostedSystemComponents": "inverse runs_on",
    "BMC_HostedAccessPoint": "inverse runs_on", "BMC_HostedService": "inverse runs_on",
    "BMC_ElementLocation": "located_in", "BMC_NetworkLink": "connects_to",
}  # fmt: skip
"""By ``ClassId``, read from the source to the destination. UNVERIFIED: of most of them which end is which."""
IMPACT: Mapping[str, str] = {"Source-Destination": "inverse depends_on", "Destination-Source": "depends_on"}
"""``ImpactDirection`` of a dependency, or of a relation that no map names, where ``HasImpact`` is set: it says which
end suffers, over the table. UNVERIFIED: the words."""
CONNECTS = "CONNECT"
"""UNVERIFIED: a dependency whose name begins with it is a connection."""
ATTRIBUTES: Mapping[str, str] = {
    "serial": "SerialNumber", "hostname": "HostName", "domain": "Domain", "location": "Site",
    "status": "AssetLifecycleStatus", "role": "PrimaryCapability", "virtual": "isVirtual", "asset_tag": "TagNumber",
    "environment": "SystemEnvironment", "criticality": "Priority",
}  # fmt: skip
"""By what they say of a CI. UNVERIFIED from ``role`` on."""
OF_COMPUTERS = ("hostname", "domain", "role", "virtual", "environment")
"""What only computer systems have."""
MODIFIED = "ModifiedDate"
"""UNVERIFIED: the attribute with the time of the last change; its form shows ``Modified Date``."""
_BASE = ("InstanceId", "Name", "ClassId", "ReconciliationIdentity", "MarkAsDeleted", MODIFIED)
_ENDS = ("Source.InstanceId", "Destination.InstanceId")
_RELATION_FIELDS = (*_BASE, *_ENDS, "HasImpact", "ImpactDirection")
_RELATIONSHIPS = "BMC.CORE:BMC_BaseRelationship"
_COMPUTER = "BMC.CORE:BMC_ComputerSystem"
PEOPLE = "AST:AssetPeople"
PEOPLE_FIELDS = {"ci": "AssetInstanceId", "role": "PersonRole", "name": "Full Name", "form": "Form Type"}
SUPPORTS, GROUP_FORM = "Supported by", "CTM:Support Group"
"""UNVERIFIED: where support groups stand: for the reconciliation identity of a CI, in the role of support."""
RETIRED = ("End of Life", "Disposed", "Delete", "Transferred", "Return to Vendor")
OVERLAP = timedelta(minutes=2)
CHANGES, ASSOCIATIONS = "CHG:ChangeInterface", "CHG:Associations"
CHANGE_STATES: Mapping[str, WorkState] = {
    "scheduled": WorkState.PLANNED,
    "implementation in progress": WorkState.RUNNING,
    "completed": WorkState.DONE,
    "closed": WorkState.DONE,
    "rejected": WorkState.CANCELLED,
    "cancelled": WorkState.CANCELLED,
}
"""UNVERIFIED: in any other status a change waits to be allowed. One that is scheduled runs once its time has come."""
_NUMBER, _STATUS = "Infrastructure Change ID", "Change Request Status"
_STARTS, _ENDS_AT = "Scheduled Start Date", "Scheduled End Date"
_SERVICE_FORMS = ("AST:BusinessService", "AST:ApplicationService")
_YES = frozenset({"yes", "1", "true"})
_NO_IDENTITY = frozenset({"", "0"})
_GROUPS_AT_ONCE = 30
_MAX_CHANGES = 500
_MAX_RESTARTS = 5


class HelixSourceConfig(MappedConfig, WorkConfig, HelixAccount):
    dataset: str = Field(default="BMC.ASSET", min_length=1, description="dataset that is read: the reconciled one")
    classes: tuple[str, ...] = Field(
        default=CLASSES,
        min_length=1,
        description="classes of CIs that are read, with their namespace, each with those below it",
    )
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description='name of the attribute that says something, for example {asset_tag: AssetTag}; "" for one that '
        "your CMDB lacks; what can be said: " + ", ".join(ATTRIBUTES),
    )
    support_groups: bool = Field(
        default=True, description=f"whether the support groups of CIs are read, from the form {PEOPLE}"
    )
    retired: tuple[str, ...] = Field(default=RETIRED, description="lifecycle statuses of CIs that are out of use")


class _At(Struct, frozen=True):
    """Where a reading stands.

    Attributes:
        part: number of the class; behind the last one come relations. offset: of the next instance. rows: of a page; 0
            before the first. last: id of the instance before. restarts: how often the class was begun anew.
        began: when the reading did, by the server's clock.
    """

    part: int
    offset: int = 0
    rows: int = 0
    last: str = ""
    restarts: int = 0
    began: datetime | None = None
    v: int = 1


class _Mark(Struct, frozen=True):
    since: datetime
    v: int = 1


class HelixSource:
    def __init__(self, name: str, config: HelixSourceConfig, http: Callable[..., "Http"]) -> None:
        self._config = config
        self._helix = connect(config, name, f"topology {name}", http)
        self._kinds = folded(KINDS, config.kinds)
        self._relations = folded(RELATIONS, config.relations)
        self._said = {word.casefold() for word in config.relations}
        self._impact = folded(IMPACT)
        self._names = {**ATTRIBUTES, **config.attributes}
        self._retired = {status.casefold() for status in config.retired}
        self._parts = (*config.classes, _RELATIONSHIPS)

    # ---- a reading ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        since = read_cursor(mark, _Mark).since - OVERLAP if mark else None
        at = read_cursor(cursor, _At) if cursor else _At(part=0)
        if at.part >= len(self._parts):  # fewer classes than when the reading began
            at = _At(part=0)
        part = self._parts[at.part]
        rows, total = self._instances(part, at.offset, PAGE_ROWS, since)
        began = at.began or self._helix.listed_at or datetime.now(UTC)
        if at.offset and self._has_moved(part, at, rows, since):
            if at.restarts >= _MAX_RESTARTS:
                raise Unavailable(
                    f"{self._helix.name}: instances of {part} move while they are read, {_MAX_RESTARTS} times in a row",
                    hint="read when nothing is purged or imported, or make `every` longer",
                )
            return CmdbPage(next=write_cursor(_At(part=at.part, restarts=at.restarts + 1, began=began)))
        page = self._read_relations(rows) if part == _RELATIONSHIPS else self._read_cis(rows)
        page = structs.replace(page, gone=page.gone if since else (), gone_ties=page.gone_ties if since else ())
        after = self._after(at, rows, total, began)
        if after is not None:
            return structs.replace(page, next=write_cursor(after))
        return structs.replace(page, mark=write_cursor(_Mark(since=began)), whole=since is None)

    def _after(self, at: _At, rows: Sequence[Mapping[str, Any]], total: int | None, began: datetime) -> _At | None:
        """None at the end. The server may cap what it gives at once; how many there are tells whether more follow."""
        size = at.rows or len(rows)
        end = at.offset + len(rows)
        if rows and (len(rows) >= size if total is None else end < total):
            return _At(at.part, end, size, _id(rows[-1]), at.restarts, began)
        if at.part + 1 < len(self._parts):
            return _At(part=at.part + 1, began=began)
        return None

    def _instances(
        self, part: str, offset: int, limit: int, since: datetime | None
    ) -> tuple[list[Mapping[str, Any]], int | None]:
        qualification = f"'{MODIFIED}' >= \"{time_text(since)}\"" if since is not None else ""
        fields = _RELATION_FIELDS if part == _RELATIONSHIPS else self._fields(part)
        return self._helix.instances(
            self._config.dataset, part, fields, offset=offset, limit=limit, since=qualification
        )

    def _fields(self, part: str) -> tuple[str, ...]:
        own = (name for what, name in self._names.items() if part == _COMPUTER or what not in OF_COMPUTERS)
        return tuple(dict.fromkeys((*_BASE, *filter(None, own))))

    def _has_moved(self, part: str, at: _At, rows: Sequence[Mapping[str, Any]], since: datetime | None) -> bool:
        """Whether the instance in front of this page is another one than it was, or the page is one that came before.
        It is looked at after the page was read, so that what was purged in between is noticed, too."""
        if any(_id(row) == at.last for row in rows):
            return True
        before, _ = self._instances(part, at.offset - 1, 1, since)
        return not before or _id(before[0]) != at.last

    # ---- in our words ----

    def _read_cis(self, rows: Sequence[Mapping[str, Any]]) -> CmdbPage:
        items: list[Item] = []
        gone: list[str] = []
        flaws: list[Flaw] = []
        identities: dict[str, str] = {}
        for row in rows:
            try:
                values = _values(row)
                id = identity(_id(row), "InstanceId")
                item = self._item(id, values)
                if _is_deleted(values) or item is None:
                    gone.append(id)
                    continue
            except (Malformed, AttributeError, TypeError) as error:
                flaws.append(flaw(_id(row), error, row))
                continue
            items.append(item)
            identities[id] = text(values.get("ReconciliationIdentity"), "ReconciliationIdentity")
        owners = self._owners(identities.values()) if self._config.support_groups else {}
        items = [structs.replace(item, owner=owners.get(identities[item.id].casefold(), "")) for item in items]
        return CmdbPage(items=items, gone=gone, flaws=flaws)

    def _item(self, id: str, values: Mapping[str, Any]) -> Item | None:
        def said(what: str) -> str:
            return text(values.get(self._names[what]), self._names[what]) if self._names[what] else ""

        class_name = text(values.get("ClassId"), "ClassId")
        kind = self._kind(class_name, said("role"), said("virtual"))
        if kind == IGNORE:
            return None
        identifiers = [
            Identifier(type_, said(type_.value))
            for type_ in (IdType.SERIAL, IdType.ASSET_TAG, IdType.HOSTNAME)
            if said(type_.value)
        ]
        host, domain = said("hostname"), said("domain")
        if host and domain:
            fqdn = host if host.casefold().endswith(f".{domain.casefold()}") else f"{host}.{domain}"
            identifiers.append(Identifier(IdType.FQDN, fqdn))
        known = text(values.get("ReconciliationIdentity"), "ReconciliationIdentity")
        if known not in _NO_IDENTITY:
            identifiers.append(Identifier(IdType.RECORD, known, KIND))
        return Item(
            id=id,
            name=text(values.get("Name"), "Name") or id,
            kind=kind,
            class_name=class_name,
            identifiers=tuple(identifiers),
            environment=said("environment"),
            criticality=criticality(said("criticality").removeprefix("PRIORITY_")) if kind == Kind.SERVICE else 0,
            location=said("location"),
            retired=said("status").casefold() in self._retired,
            updated_at=_moment(values.get(MODIFIED)),
        )

    def _kind(self, class_name: str, role: str, virtual: str) -> str:
        kind = kind_of(class_name, self._kinds)
        if kind != Kind.SERVER:
            return kind
        roles = folded(ROLES)
        if role.casefold() in roles:
            return roles[role.casefold()]
        return Kind.VM if virtual.casefold() in _YES else kind

    def _owners(self, identities: Iterable[str]) -> dict[str, str]:
        """Names of support groups by reconciliation identity, in lower case."""
        known = sorted(set(identities) - _NO_IDENTITY)
        found: dict[str, str] = {}
        of, role, name, form = (PEOPLE_FIELDS[what] for what in ("ci", "role", "name", "form"))
        for start in range(0, len(known), _GROUPS_AT_ONCE):
            some = AnyOf(of, tuple(known[start : start + _GROUPS_AT_ONCE]))
            rows = self._helix.entries(PEOPLE, [some, Term(role, "=", SUPPORTS)], [of, role, name, form], order=name)
            for row in rows:
                if row.get(form, "") in ("", GROUP_FORM):
                    found.setdefault(row[of].casefold(), text(row.get(name), name))
        return found

    def _read_relations(self, rows: Sequence[Mapping[str, Any]]) -> CmdbPage:
        ties: list[Tie] = []
        gone: list[str] = []
        flaws: list[Flaw] = []
        for row in rows:
            try:
                values = _values(row)
                id = identity(_id(row), "InstanceId")
                tie = self._tie(id, values)
                if _is_deleted(values) or tie is None:
                    gone.append(id)
                else:
                    ties.append(tie)
            except (Malformed, AttributeError, TypeError) as error:
                flaws.append(flaw(_id(row), error, row))
        return CmdbPage(ties=ties, gone_ties=gone, flaws=flaws)

    def _tie(self, id: str, values: Mapping[str, Any]) -> Tie | None:
        class_name = text(values.get("ClassId"), "ClassId")
        source, target = (identity(values.get(end), end) for end in _ENDS)
        return tie_of(id, source, class_name, target, {**self._relations, **self._meant(class_name, values)})

    def _meant(self, class_name: str, values: Mapping[str, Any]) -> dict[str, str]:
        """What this one relation means, where it says more than its class; what a person wrote of the class counts."""
        word = class_name.casefold()
        is_open = word in ("bmc_dependency", "bmc_impact") or word not in self._relations
        if word in self._said or not is_open:
            return {}
        if word == "bmc_dependency" and text(values.get("Name"), "Name").upper().startswith(CONNECTS):
            return {word: "connects_to"}
        direction = text(values.get("ImpactDirection"), "ImpactDirection").casefold()
        if text(values.get("HasImpact"), "HasImpact").casefold() in _YES and direction in self._impact:
            return {word: self._impact[direction]}
        return {}

    # ---- check ----

    def check(self) -> list[Finding]:
        asked: dict[str, Callable[[], Any]] = {part: partial(self._instances, part, 0, 1, None) for part in self._parts}
        if self._config.support_groups:
            asked[PEOPLE] = lambda: self._owners(["OI-0"])
        if self._config.changes != WorkUse.OFF:
            asked[CHANGES] = lambda: self._changes(datetime.now(UTC), datetime.now(UTC))
            asked[ASSOCIATIONS] = lambda: self._ends("CRQ0")
        found = []
        seen = 0
        for subject, ask in asked.items():
            try:
                answer = ask()
            except Denied as error:
                found.append(
                    Finding(subject=subject, observed=str(error), remedy=error.hint or "let the account read it")
                )
                continue
            count = ""
            if subject in self._parts:
                rows, total = answer
                count = "" if total is None else f"; {total} instances"
                seen += len(rows) if subject != _RELATIONSHIPS else 0
            found.append(Finding(subject=subject, observed=f"can be read{count}"))
        if not seen and not any(finding.remedy for finding in found):
            remedy = "check `dataset` and `classes`, and that the account may see rows of them (row-level permissions)"
            found.append(Finding(subject="CIs", observed="not one is to be seen", remedy=remedy))
        return found

    # ---- planned work ----

    def work(self, start: datetime, end: datetime) -> list[PlannedWork]:
        rows = self._changes(start, end)
        now = self._helix.listed_at or datetime.now(UTC)
        found = []
        for row in rows:
            state = CHANGE_STATES.get(row.get(_STATUS, "").casefold())
            starts, ends = _moment(row.get(_STARTS)), _moment(row.get(_ENDS_AT))
            if state is None or starts is None or ends is None:
                continue
            if state is WorkState.PLANNED and starts <= now:
                state = WorkState.RUNNING
            number = identity(row.get(_NUMBER), _NUMBER)
            cis, services = self._ends(number)
            title = text(row.get("Description"), "Description")
            found.append(
                PlannedWork(
                    id=number, title=title, state=state, starts_at=starts, ends_at=ends, cis=cis, services=services
                )
            )
        return found

    def _changes(self, start: datetime, end: datetime) -> list[Row]:
        terms = [Term(_STARTS, "<=", time_text(end)), Term(_ENDS_AT, ">=", time_text(start))]
        names = [_NUMBER, "Description", _STATUS, _STARTS, _ENDS_AT]
        return self._helix.entries(CHANGES, terms, names, order=_STARTS, limit=_MAX_CHANGES)

    def _ends(self, number: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """CIs of a change, by reconciliation identity where they have one, and services by name."""
        names = ["Request ID01", "Request Description01", "Form Name01"]
        rows = self._helix.entries(
            ASSOCIATIONS, [Term("Request ID02", "=", number), Term("Form Name01", "LIKE", "AST:%")], names
        )
        cis = [row for row in rows if row.get("Form Name01") not in _SERVICE_FORMS]
        services = [row for row in rows if row.get("Form Name01") in _SERVICE_FORMS]
        return _called(cis, names[:2]), _called(services, names[1::-1])


def _called(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """The first of some fields that each row has."""
    found = (next((row[name] for name in names if row.get(name, "") not in _NO_IDENTITY), "") for row in rows)
    return tuple(dict.fromkeys(text(each, names[0]) for each in found if each))


def _values(row: Mapping[str, Any]) -> Mapping[str, Any]:
    values = row.get("attributes")
    if not isinstance(values, dict):
        raise Malformed("it has no attributes")
    return values


def _id(row: Mapping[str, Any]) -> str:
    return str(row.get("instance_id") or "")


def _is_deleted(values: Mapping[str, Any]) -> bool:
    return str(values.get("MarkAsDeleted") or "").casefold() in _YES


def _moment(value: Any) -> datetime | None:
    """ISO 8601 or seconds since 1970."""
    written = str(value or "")
    return datetime.fromtimestamp(int(written), UTC) if written.isdigit() else read_time(written)


SOURCE = SourceKind(
    kind=KIND,
    title="CIs of BMC Helix CMDB, their relationships, support groups and changes",
    facts="BMC Helix CMDB REST API v1.0 and AR System forms, documentation 20.02 to 25.2, read 2026-11",
    config=HelixSourceConfig,
    build=lambda name, config, parts: HelixSource(name, config, parts.http),
    plans_work=True,
)
