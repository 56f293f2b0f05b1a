"""ServiceNow's CMDB: CIs of chosen classes, services and relationships, through the Table API.

Facts:    ServiceNow product documentation, release "australia" (2026): Table API, CMDB tables, inbound REST API rate
          limiting; read 2026-11-22. A table answers for all that extend it, with ``sys_class_name``; of a relationship
          the parent is the subject of the first half of its type's name (parent ``Runs on::Runs`` child).
Delivery: whole by sys_id, so that nothing that stays is missed; what changed by ``sys_updated_on``, two minutes of
          overlap included; what was deleted from ``sys_audit_delete``, where the account may read that.
Recovery: deletions that leave no trace (table cleaner, scripts without workflow), names of groups and locations that
          changed, and rows that were imported with an old date, are found by the whole reading.
Limits:   instances limit requests by the hour: a whole reading makes one for each ``page_rows`` CIs or relationships,
          one that looks for changes about one for each table. What is retired by its status is no part of the topology.
Needs:    an account that may read the tables (role itil, which it has for incidents, or less: see below), groups,
          locations and, for deletions, ``sys_audit_delete``; ``change_request`` and ``task_ci`` for planned work. Basic
          authentication, OAuth or an API key.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct, structs
from pydantic import Field, field_validator

from foreshock.connect.auth import TokenRefused
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
from foreshock.connect.vendors.servicenow import (
    NoSuchTable,
    ServiceNow,
    ServiceNowAccount,
    Slice,
    Term,
    connect,
    read_moment,
    time_text,
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
    PlannedWork,
    SourceKind,
    Tie,
    WorkConfig,
    WorkState,
    WorkUse,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Invalid, Malformed

OVERLAP = timedelta(minutes=2)
"""A row is dated when it is written, and seen when that is committed; nodes of an instance have clocks of their own."""
MAX_BODY_BYTES = 32 * 2**20

CLASSES: Mapping[str, str] = {
    "cmdb_ci_service": Kind.SERVICE,
    "cmdb_ci_service_discovered": Kind.SERVICE,
    "cmdb_ci_business_app": Kind.SERVICE,
    "cmdb_ci_appl": Kind.APPLICATION,
    "cmdb_ci_app_server": Kind.APPLICATION,
    "cmdb_ci_database": Kind.DATABASE,
    "cmdb_ci_db_instance": Kind.DATABASE,
    "cmdb_ci_server": Kind.SERVER,
    "cmdb_ci_linux_server": Kind.SERVER,
    "cmdb_ci_win_server": Kind.SERVER,
    "cmdb_ci_vm_instance": Kind.VM,
    "cmdb_ci_netgear": Kind.NETWORK,
    "cmdb_ci_ip_switch": Kind.NETWORK,
    "cmdb_ci_ip_router": Kind.NETWORK,
    "cmdb_ci_cluster": Kind.CLUSTER,
    "cmdb_ci_kubernetes_cluster": Kind.CLUSTER,
}
"""Classes in our words, as the documentation of the CMDB tables names them. One that is not listed is what the table is
by which it was read."""

UNVERIFIED_CLASSES: Mapping[str, str] = {
    "cmdb_ci_ip_firewall": Kind.NETWORK,
    "cmdb_ci_lb": Kind.NETWORK,
    "cmdb_ci_storage_device": Kind.STORAGE,
    "cmdb_ci_docker_container": Kind.CONTAINER,
    "cmdb_ci_api": Kind.API,
    "cmdb_ci_datacenter": Kind.LOCATION,
    "cmdb_ci_rack": Kind.RACK,
    "cmdb_ci_ups": Kind.POWER,
    "cmdb_ci_pdu": Kind.POWER,
}
"""Names known from long use of the product, not from its documentation."""

TABLES = (
    "cmdb_ci_service",
    "cmdb_ci_business_app",
    "cmdb_ci_appl",
    "cmdb_ci_database",
    "cmdb_ci_server",
    "cmdb_ci_vm_instance",
    "cmdb_ci_netgear",
    "cmdb_ci_cluster",
    "cmdb_ci_kubernetes_cluster",
    "cmdb_ci_storage_device",
    "cmdb_ci_docker_container",
    "cmdb_ci_api",
    "cmdb_ci_datacenter",
    "cmdb_ci_rack",
)
"""What is read unless a person says otherwise. Not ``cmdb_ci`` as a whole: it holds each software package, network
adapter and printer, too."""

RELATIONS: Mapping[str, str] = {
    "Runs on::Runs": "runs_on",
    "Hosted on::Hosts": "runs_on",
    "Virtualized by::Virtualizes": "runs_on",
    "Depends on::Used by": "depends_on",
    "Contains::Contained by": "contains",
    "Members::Member of": "inverse member_of",
    "Connects to::Connected by": "connects_to",
    "IP Connection::IP Connection": "connects_to",
}
"""Types of relationships in our words, read from the parent to the child. Names:
documentation of the Instance API, and the collection servicenow.itsm."""

UNVERIFIED_RELATIONS: Mapping[str, str] = {
    "Uses::Used by": "depends_on",
    "Sends data to::Receives data from": "sends_data_to",
    "Cluster of::Cluster": "contains",
    "Powers::Powered by": "powers",
    "Provided by::Provides": "depends_on",
    "Exchanges data with::Exchanges data with": "connects_to",
}
"""Names, and of ``Cluster of`` the direction, known from long use of the product, not from its documentation."""

UNVERIFIED_FIELDS: Mapping[str, IdType] = {"object_id": IdType.PROVIDER, "host_name": IdType.HOSTNAME}
"""Of virtual machines and of computers; asked of all tables, because a field that a table lacks is left out there."""
UNVERIFIED_CRITICALITY = "busines_criticality"
"""Of services (so it is spelt): ``1 - most critical`` to ``4 - not critical``; the digit counts."""

_IDENTIFIERS: Mapping[str, IdType] = {
    "serial_number": IdType.SERIAL,
    "asset_tag": IdType.ASSET_TAG,
    "fqdn": IdType.FQDN,
    "ip_address": IdType.IP,
    "mac_address": IdType.MAC,
    "correlation_id": IdType.RECORD,
    **UNVERIFIED_FIELDS,
}
_NEEDED = ("name", "sys_class_name", "install_status", "operational_status", "sys_updated_on")
_NAMES = {
    "support_group": "support_group.name",
    "assignment_group": "assignment_group.name",
    "location": "location.name",
}
_FIELDS = (
    *_NEEDED,
    "environment",
    *_NAMES,
    *_NAMES.values(),
    "owned_by.name",
    UNVERIFIED_CRITICALITY,
    *_IDENTIFIERS,
)
CHANGE_STATES: Mapping[str, WorkState] = {
    "-2": WorkState.PLANNED,
    "-1": WorkState.RUNNING,
    "0": WorkState.DONE,
    "3": WorkState.DONE,
    "4": WorkState.CANCELLED,
}
"""Scheduled, Implement, Review, Closed, Canceled; New, Assess and Authorize wait to be allowed."""
_CHANGE_FIELDS = (
    *("number", "short_description", "state", "start_date", "end_date", "work_start", "work_end"),
    *("cmdb_ci", "business_service", "assignment_group.name"),
)
_CHANGES, _AFFECTED = "change_request", "task_ci"
_MAX_CHANGES = 2000
_CHANGES_A_CALL = 50
_MAX_TYPES = 10_000
_REL, _TYPES, _DELETED = "cmdb_rel_ci", "cmdb_rel_type", "sys_audit_delete"
_BRINGS: Mapping[str, str] = {
    _REL: "relationships",
    _TYPES: "what relationships mean",
    "sys_user_group": "names of support groups",
    "cmn_location": "names of locations",
    _DELETED: "what was deleted, which only the whole reading finds until then",
}
_PLANS: Mapping[str, str] = {_CHANGES: "change requests", _AFFECTED: "further CIs of change requests"}

"""Tables that are read besides those of the CIs, and what for."""


class ServiceNowCmdbConfig(ServiceNowAccount, MappedConfig, WorkConfig):
    """The account, and what of its CMDB is read."""

    tables: list[str] = Field(
        default=list(TABLES),
        min_length=1,
        description="tables whose CIs are read, each with those that extend it",
    )
    retired: dict[str, list[str]] = Field(
        default={"install_status": ["7", "100"], "operational_status": ["6"]},
        description="values of these two fields that say that a CI is out of use",
    )
    page_rows: int = Field(
        default=1000, ge=10, le=10_000, description="records for each request; fewer where queries run too long"
    )

    @field_validator("retired")
    @classmethod
    def _are_read(cls, retired: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in retired:
            if name not in ("install_status", "operational_status"):
                raise Invalid(f"{name!r} is not read", hint="known: install_status, operational_status", path=(name,))
        return retired


class _Mark(Struct, frozen=True, forbid_unknown_fields=True):
    """at: when the reading began, by the instance's clock. of: the settings that it was read with."""

    at: str
    of: str


class _Place(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a reading stands.

    Attributes:
        began, of: of its mark. since: what was updated from then on is read; empty: all.
        table: which is read. after, offset: of ``ServiceNow.slice``. expected: of ``CmdbPage``.
    """

    began: str
    of: str
    since: str
    table: str
    after: str = ""
    offset: int = 0
    expected: int = 0


class ServiceNowSource:
    """The CMDB of one instance."""

    def __init__(self, config: ServiceNowCmdbConfig, client: ServiceNow) -> None:
        self._config = config
        self._client = client
        self._kinds = folded(CLASSES, UNVERIFIED_CLASSES, config.kinds)
        self._relations = folded(RELATIONS, UNVERIFIED_RELATIONS, config.relations)
        self._types: dict[str, str] = {}
        read = (config.tables, config.kinds, config.relations, config.retired)
        self._of = blake2b(msgspec.json.encode(read), digest_size=6).hexdigest()

    def page(self, cursor: str, mark: str) -> CmdbPage:
        place = read_cursor(cursor, _Place) if cursor else self._begin(mark)
        if place.of != self._of or place.table not in self._tables(place):
            raise Expired("the settings are no longer those that the reading began with")
        try:
            found = self._slice(place)
        except NoSuchTable as error:
            # Of the tables that we name, an instance lacks those of plugins that it has not.
            chosen = "tables" in self._config.model_fields_set
            return self._answer(place, CmdbPage(problems=(str(error),) if chosen else ()), None)
        except TokenRefused:
            raise
        except Denied as error:
            if place.table != _DELETED:
                raise
            problem = f"{error}; what is deleted is found by the whole reading only"
            return self._answer(place, CmdbPage(problems=(problem,)), None)
        if not place.began:
            now = self._client.server_now
            place = structs.replace(place, began=time_text(now) if now is not None else "")
        match place.table:
            case "cmdb_rel_ci":
                page = self._ties(found.rows)
            case "sys_audit_delete":
                page = _deleted(found.rows)
            case _:
                page = self._items(place.table, found.rows)
        return self._answer(place, page, found.next)

    def _begin(self, mark: str) -> _Place:
        before = read_cursor(mark, _Mark) if mark else None
        since = read_moment(before.at) if before is not None and before.of == self._of else None
        if since is not None:
            return _Place(began="", of=self._of, since=time_text(since - OVERLAP), table=_DELETED)
        place = _Place(began="", of=self._of, since="", table=self._config.tables[0])
        return structs.replace(place, expected=sum(self._count(table) or 0 for table in self._tables(place)))

    def _tables(self, place: _Place) -> list[str]:
        """In the order in which they are read; what is deleted first, so that what was made again is there."""
        return [*([_DELETED] if place.since else []), *dict.fromkeys(self._config.tables), _REL]

    def _count(self, table: str) -> int | None:
        """None where there is no such table."""
        try:
            return self._client.slice(table, [], [], limit=1).total
        except NoSuchTable:
            return None

    def _slice(self, place: _Place) -> Slice:
        query = [Term("sys_updated_on", ">=", place.since)] if place.since else []
        fields: Sequence[str] = _FIELDS
        if place.table == _REL:
            fields = ("parent", "child", "type", "sys_updated_on")
        if place.table == _DELETED:
            query = [Term("sys_created_on", ">=", place.since), Term("tablename", "STARTSWITH", "cmdb")]
            fields = ("documentkey", "tablename")
        return self._client.slice(
            place.table,
            query,
            fields,
            after=place.after,
            offset=place.offset,
            limit=self._config.page_rows,
            counted=bool(place.since and not place.after),  # mostly there is nothing, and one request says so
        )

    def _answer(self, place: _Place, page: CmdbPage, goes_on: tuple[str, int] | None) -> CmdbPage:
        page = structs.replace(page, expected=place.expected)
        if goes_on is not None:
            further = structs.replace(place, after=goes_on[0], offset=goes_on[1])
            return structs.replace(page, next=write_cursor(further))
        tables = self._tables(place)
        if place.table != tables[-1]:
            following = tables[tables.index(place.table) + 1]
            further = structs.replace(place, table=following, after="", offset=0)
            return structs.replace(page, next=write_cursor(further))
        mark = write_cursor(_Mark(at=place.began, of=self._of)) if place.began else ""
        return structs.replace(page, mark=mark, whole=not place.since)

    # ---- translation ----

    def _items(self, table: str, rows: Sequence[Any]) -> CmdbPage:
        self._check_fields(table, rows)
        items: list[Item] = []
        gone: list[str] = []
        flaws: list[Flaw] = []
        nameless: dict[str, int] = {}
        for row in rows:
            try:
                item = self._item(table, _record(row))
            except Malformed as error:
                flaws.append(flaw(_id_of(row), error, row))
                continue
            if item is None:
                gone.append(row["sys_id"])
                continue
            items.append(item)
            for name, shown in _NAMES.items():
                if row.get(name) and not row.get(shown):
                    nameless[name] = nameless.get(name, 0) + 1
        problems = tuple(
            f"{self._client.name}: of {count} CIs of {table} the name of the {name} cannot be read; give the account "
            f"read access to {'cmn_location' if name == 'location' else 'sys_user_group'}"
            for name, count in nameless.items()
        )
        return CmdbPage(items=items, gone=gone, flaws=flaws, problems=problems)

    def _check_fields(self, table: str, rows: Sequence[Any], needed: Sequence[str] = _NEEDED) -> None:
        """A field that no row shows may not be read. Raises Denied."""
        records = [row for row in rows if isinstance(row, dict)]
        for name in needed if records else ():
            if not any(name in row for row in records):
                raise Denied(
                    f"{self._client.name} shows no {name} of {table}",
                    hint=f"give the account read access to the field {table}.{name}",
                )

    def _item(self, table: str, row: Mapping[str, Any]) -> Item | None:
        """None where it is left out. Raises Malformed."""
        class_name = text(row.get("sys_class_name"), "sys_class_name")
        kind = self._kinds.get(class_name.casefold()) or kind_of(table, self._kinds)
        if kind == IGNORE:
            return None
        id = identity(row["sys_id"], "sys_id")
        found = ((type_, text(row.get(name), name)) for name, type_ in _IDENTIFIERS.items())
        return Item(
            id=id,
            name=text(row.get("name"), "name") or identity(row.get("fqdn"), "name"),
            kind=kind,
            class_name=class_name,
            identifiers=tuple(Identifier(type_, value) for type_, value in found if value),
            owner=text(row.get("support_group.name") or row.get("assignment_group.name"), "support_group.name"),
            contact=text(row.get("owned_by.name"), "owned_by.name"),
            environment=text(row.get("environment"), "environment"),
            criticality=criticality(row.get(UNVERIFIED_CRITICALITY)),
            location=text(row.get("location.name"), "location.name"),
            retired=any(row.get(name) in values for name, values in self._config.retired.items()),
            url=f"{self._config.url}/{class_name or 'cmdb_ci'}.do?sys_id={id}",
            updated_at=read_moment(str(row.get("sys_updated_on"))),
        )

    def _ties(self, rows: Sequence[Any]) -> CmdbPage:
        ties: list[Tie] = []
        gone: list[str] = []
        flaws: list[Flaw] = []
        asked = False
        for row in rows:
            try:
                record = _record(row)
                type_ = text(record.get("type"), "type")
                if type_ not in self._types and not asked:
                    # Once for each page at most: a type that is nowhere is no type.
                    self._types, asked = self._read_types(), True
                tie = self._tie(record, self._types.get(type_, ""))
            except Malformed as error:
                flaws.append(flaw(_id_of(row), error, row))
                continue
            if tie is None:
                gone.append(row["sys_id"])
            else:
                ties.append(tie)
        return CmdbPage(ties=ties, gone_ties=gone, flaws=flaws)

    def _tie(self, row: Mapping[str, Any], type_: str) -> Tie | None:
        """None where it is left out, or an end of it was deleted. Raises Malformed."""
        parent, child = text(row.get("parent"), "parent"), text(row.get("child"), "child")
        id = identity(row["sys_id"], "sys_id")
        return tie_of(id, parent, type_, child, self._relations) if parent and child else None

    def _read_types(self) -> dict[str, str]:
        found: dict[str, str] = {}
        place: tuple[str, int] | None = ("", 0)
        while place is not None and len(found) < _MAX_TYPES:
            part = self._client.slice(_TYPES, [], ("name",), after=place[0], offset=place[1])
            self._check_fields(_TYPES, part.rows, ("name",))
            records = (_record(row) for row in part.rows)
            found |= {record["sys_id"]: text(record.get("name"), "name") for record in records}
            place = part.next
        return found

    # ---- planned work ----

    def work(self, start: datetime, end: datetime) -> list[PlannedWork]:
        query = [
            Term("state", "IN", ",".join(CHANGE_STATES)),
            Term("start_date", "<=", time_text(end)),
            Term("end_date", ">=", time_text(start)),
        ]
        order = ("start_date", "sys_id")
        rows = self._client.rows(_CHANGES, query, ("sys_id", *_CHANGE_FIELDS), order=order, limit=_MAX_CHANGES)
        further = self._affected([row["sys_id"] for row in rows])
        planned = (self._planned(row, further.get(row["sys_id"], [])) for row in rows)
        return [one for one in planned if one is not None]

    def _affected(self, changes: Sequence[str]) -> dict[str, list[str]]:
        """Further CIs by change; none where the account may not read them, which ``check`` tells."""
        found: dict[str, list[str]] = defaultdict(list)
        for first in range(0, len(changes), _CHANGES_A_CALL):
            query = [Term("task", "IN", ",".join(changes[first : first + _CHANGES_A_CALL]))]
            try:
                rows = self._client.rows(_AFFECTED, query, ("task", "ci_item"), order=("sys_id",))
            except TokenRefused:
                raise
            except Denied:
                return {}
            for row in rows:
                found[row["task"]].append(row["ci_item"])
        return found

    def _planned(self, row: Mapping[str, str], further: Sequence[str]) -> PlannedWork | None:
        starts, ends = read_moment(row["start_date"]), read_moment(row["end_date"])
        if starts is None or ends is None:
            return None
        return PlannedWork(
            id=identity(row["number"], "number"),
            title=text(row.get("short_description"), "short_description"),
            state=CHANGE_STATES[row["state"]],
            starts_at=starts,
            ends_at=ends,
            began_at=read_moment(row.get("work_start", "")),
            ended_at=read_moment(row.get("work_end", "")),
            cis=tuple(dict.fromkeys(filter(None, (row.get("cmdb_ci", ""), *further)))),
            services=tuple(filter(None, [row.get("business_service", "")])),
            owner=text(row.get("assignment_group.name"), "assignment_group.name"),
            url=f"{self._config.url}/{_CHANGES}.do?sys_id={row['sys_id']}",
        )

    # ---- check ----

    def check(self) -> list[Finding]:
        findings = []
        ours_all = {**_BRINGS, **(_PLANS if self._config.changes is not WorkUse.OFF else {})}
        for table, brings in {**dict.fromkeys(self._config.tables, "its CIs"), **ours_all}.items():
            ours = table in ours_all
            try:
                findings.append(self._checked(table, () if ours else _NEEDED))
            except TokenRefused as error:
                return [Finding(subject="credentials", observed=str(error.args[0]), remedy=error.hint)]
            except NoSuchTable:
                chosen = ours or "tables" in self._config.model_fields_set
                remedy = "correct `tables`" if chosen else ""
                findings.append(Finding(subject=table, observed="the instance has no such table", remedy=remedy))
            except Denied as error:
                remedy = f"give {self._config.user!r} read access to {table}: {brings}"
                findings.append(Finding(subject=table, observed=str(error.args[0]), remedy=remedy))
        return findings

    def _checked(self, table: str, needed: Sequence[str]) -> Finding:
        found = self._client.slice(table, [], needed, limit=1)
        if needed:
            self._check_fields(table, found.rows, needed)
        elif table == _TYPES:
            self._read_types()
        if table == _REL and not found.rows:
            return Finding(
                subject=table,
                observed="shows no relationship",
                remedy=f"if there are any, give {self._config.user!r} read access to {_REL} and the CIs at both ends",
            )
        return Finding(subject=table, observed=f"{found.total} records can be read")


def _record(row: Any) -> Mapping[str, Any]:
    """The values of a record. Raises Malformed for what is none."""
    if not isinstance(row, dict) or not isinstance(row.get("sys_id"), str):
        raise Malformed("a record without sys_id")
    # Some fields stay references although links were asked away (dot-walked ones).
    return {name: value.get("value") if isinstance(value, dict) else value for name, value in row.items()}


def _id_of(row: Any) -> Any:
    return row.get("sys_id") if isinstance(row, dict) else None


def _deleted(rows: Sequence[Any]) -> CmdbPage:
    gone: list[str] = []
    gone_ties: list[str] = []
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("documentkey"), str):
            (gone_ties if row.get("tablename") == _REL else gone).append(row["documentkey"])
    return CmdbPage(gone=gone, gone_ties=gone_ties)


def _build(name: str, config: ServiceNowCmdbConfig, parts: CmdbParts) -> ServiceNowSource:
    return ServiceNowSource(
        config, connect(config, name, f"topology.{name}", parts.http, max_body_bytes=MAX_BODY_BYTES)
    )


SOURCE = SourceKind(
    kind="servicenow",
    title="CIs, services, relationships and change requests of ServiceNow",
    facts="ServiceNow product documentation, release australia (2026), read 2026-11-22",
    config=ServiceNowCmdbConfig,
    build=_build,
    plans_work=True,
)
