"""Assets of Freshservice, with their relationships.

Facts:    api.freshservice.com, read 2026-11 through open clients that quote it: FreshservicePS, go-freshservice,
          tap-freshservice 0.12.0. UNVERIFIED: the names of asset types, relationships and fields (``KINDS``,
          ``RELATIONS``, ``FIELDS``); that both ends of a relationship are display ids (``END``); that accounts made
          after 31 March 2026 answer ``/itam/assets`` in the same shape; what each status of a change means
          (``CHANGE_STATES``).
Delivery: whole each time, assets and then relationships, because relationships cannot be asked for by time. Pages go by
          number: before one is taken the last row of the one before is looked at again, and where it has moved, for
          something in front was deleted, the list is read from its beginning.
Recovery: what is no longer listed is gone; what lies in the trash is not listed.
Limits:   100 rows a call and as many calls again to see that nothing moved; accounts allow 40 to 140 lists of assets a
          minute, so 10,000 assets take two to five minutes.
Needs:    the API key of an agent whose role may **view** assets, asset types, relationships, agent groups and locations
          (Admin, Roles, "View Assets" under Asset Management), with global scope; "View Changes" for change requests.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import Field

from foreshock.connect.cmdb import (
    IGNORE,
    MappedConfig,
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
from foreshock.connect.vendors.freshservice import PAGE_ROWS, FreshserviceAccount, Record, connect
from foreshock.core.cmdb import (
    GENERIC,
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
from foreshock.core.errors import Denied, Malformed, Unavailable
from foreshock.core.quantities import Duration

if TYPE_CHECKING:
    from foreshock.connect.http import Http

KINDS: Mapping[str, str] = {
    "Services": Kind.SERVICE, "Business Service": Kind.SERVICE, "IT Service": Kind.SERVICE,
    "Application": Kind.APPLICATION, "Applications": Kind.APPLICATION, "Software": Kind.APPLICATION,
    "Web Application": Kind.APPLICATION, "Database": Kind.DATABASE, "Server": Kind.SERVER, "Host": Kind.SERVER,
    "Virtual Machine": Kind.VM, "VMware VM": Kind.VM, "AWS VM": Kind.VM, "Azure VM": Kind.VM, "Cluster": Kind.CLUSTER,
    "Router": Kind.NETWORK, "Switch": Kind.NETWORK, "Firewall": Kind.NETWORK, "Access Point": Kind.NETWORK,
    "Load Balancer": Kind.NETWORK, "Network": Kind.NETWORK, "Storage": Kind.STORAGE, "Rack": Kind.RACK,
    "UPS": Kind.POWER, "Data Center": Kind.LOCATION, "Document": IGNORE, "Consumable": IGNORE,
}  # fmt: skip
"""UNVERIFIED: asset types as an account has them at first; a type without an entry counts as its parent."""
RELATIONS: Mapping[str, str] = {
    "Depends On": "depends_on", "Uses": "uses", "Sends Data To": "sends_data_to", "Runs on": "runs_on",
    "Hosted On": "hosted_on", "Connected To": "connects_to", "Includes": "contains", "Member of": "member_of",
    "Virtualized by": "runs_on", "Cluster of": "contains", "Installed on": "runs_on",
}  # fmt: skip
"""What the primary end says downstream. UNVERIFIED: Runs on, Connected To, Includes."""
END = "display_id"
"""By what a relationship names its ends. UNVERIFIED: the reference shows small numbers, as display ids are."""
FIELDS: Mapping[IdType, tuple[str, ...]] = {
    IdType.SERIAL: ("serial_number",),
    IdType.UUID: ("uuid",),
    IdType.PROVIDER: ("instance_id", "vm_id"),
    IdType.FQDN: ("fqdn", "dns_name"),
    IdType.HOSTNAME: ("hostname",),
    IdType.IP: ("ip_address", "computer_ip_address"),
    IdType.MAC: ("mac_address",),
}
"""UNVERIFIED: fields of asset types, without the id of the type behind them."""
STATE, ENVIRONMENT = "asset_state", "environment"
RETIRED = ("Retired", "Disposed", "Decommissioned", "Missing", "Lost", "Stolen")
IMPACT: Mapping[str, int] = {"high": 1, "medium": 2, "low": 3}
"""Criticality of a service by its impact."""
CHANGE_STATES: Mapping[int, WorkState] = {4: WorkState.PLANNED, 5: WorkState.DONE, 6: WorkState.DONE}
"""Open, Planning and Awaiting Approval wait to be allowed; Pending Release is planned, and runs once its time has come;
Pending Review and Closed are done. UNVERIFIED: tenants may have further statuses, which are left out."""
_OLDEST_CHANGE = timedelta(days=90)
_MAX_CHANGES = 500
_MAX_RESTARTS = 5
_SUFFIX = re.compile(r"_\d+$")
_ASSETS, _RELATIONSHIPS = "assets", "relationships"


class FreshserviceConfig(MappedConfig, WorkConfig, FreshserviceAccount):
    every: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=7),
        description="how often is everything read; there is no way to ask for what changed",
    )
    retired: tuple[str, ...] = Field(default=RETIRED, description="asset states of what is out of use")
    itam: bool = Field(
        default=False, description="whether assets are under /itam, as in accounts made after 31 March 2026"
    )


class _At(Struct, frozen=True):
    """Where a reading stands.

    Attributes:
        part: the list. page: its next page, from 1 on. rows: of a page. last: id of the row before it.
        restarts: how often a list was begun anew.
    """

    part: str
    page: int = 1
    rows: int = PAGE_ROWS
    last: str = ""
    restarts: int = 0
    v: int = 1


class FreshserviceSource:
    def __init__(self, name: str, config: FreshserviceConfig, http: Callable[..., "Http"]) -> None:
        self._config = config
        self._account = connect(config, name, f"topology {name}", http)
        self._kinds = folded(KINDS, config.kinds)
        self._relations = folded(RELATIONS, config.relations)
        self._retired = {state.casefold() for state in config.retired}

    # ---- a reading ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        at = read_cursor(cursor, _At) if cursor else _At(_ASSETS)
        path, params = self._list(at.part)
        rows, more = self._account.page(path, at.part, at.page, at.rows, **params)
        if at.page > 1 and self._has_moved(at, rows):
            if at.restarts >= _MAX_RESTARTS:
                raise Unavailable(
                    f"{self._account.name}: {at.part} move while they are read, {_MAX_RESTARTS} times in a row",
                    hint="read at a quieter time, or make `every` longer",
                )
            return CmdbPage(next=write_cursor(_At(part=at.part, restarts=at.restarts + 1)))
        items, ties, flaws = self._read_assets(rows) if at.part == _ASSETS else self._read_relationships(rows)
        page = CmdbPage(items=items, ties=ties, flaws=flaws, whole=True)
        if more and rows:
            size = len(rows) if at.page == 1 else at.rows
            return _with(page, _At(at.part, at.page + 1, size, _id_of(rows[-1], at.part), at.restarts))
        return _with(page, _At(_RELATIONSHIPS)) if at.part == _ASSETS else page

    def _list(self, part: str) -> tuple[str, dict[str, str]]:
        if part == _RELATIONSHIPS:
            return "/relationships", {}
        return (
            ("/itam/assets", {"include_cols": "type_fields"})
            if self._config.itam
            else (
                "/assets",
                {"include": "type_fields"},
            )
        )

    def _has_moved(self, at: _At, rows: Sequence[Record]) -> bool:
        """Whether the row in front of this page is another one than it was, or the page is one that came before. It is
        looked at after the page was read, so that what was deleted in between is noticed, too."""
        if any(_id_of(row, at.part) == at.last for row in rows):
            return True
        path, params = self._list(at.part)
        before, _ = self._account.page(path, at.part, (at.page - 1) * at.rows, 1, **params)
        return not before or _id_of(before[0], at.part) != at.last

    # ---- in our words ----

    @cached_property
    def _types(self) -> dict[Any, Record]:
        return {row.get("id"): row for row in self._account.asset_types()}

    @cached_property
    def _groups(self) -> dict[Any, str]:
        return _names(self._account.groups())

    @cached_property
    def _places(self) -> dict[Any, str]:
        return _names(self._account.locations())

    @cached_property
    def _words(self) -> dict[Any, str]:
        return {row.get("id"): str(row.get("downstream_relation") or "") for row in self._account.relationship_types()}

    def _read_assets(self, rows: Sequence[Record]) -> tuple[list[Item], list[Tie], list[Flaw]]:
        items: list[Item] = []
        flaws: list[Flaw] = []
        for row in rows:
            try:
                if (item := self._item(row)) is not None:
                    items.append(item)
            except (Malformed, AttributeError, TypeError) as error:
                flaws.append(flaw(_id_of(row, _ASSETS), error, row))
        return items, [], flaws

    def _item(self, row: Record) -> Item | None:
        class_name, kind = self._kind(row.get("asset_type_id"))
        if kind == IGNORE:
            return None
        fields = {_SUFFIX.sub("", name): value for name, value in (row.get("type_fields") or {}).items()}
        identifiers = [
            Identifier(type_, value)
            for type_, names in FIELDS.items()
            for name in names
            if (value := text(fields.get(name), name))
        ]
        if tag := text(row.get("asset_tag"), "asset_tag"):
            identifiers.append(Identifier(IdType.ASSET_TAG, tag))
        impact = text(row.get("impact"), "impact").casefold()
        return Item(
            id=_id_of(row, _ASSETS),
            name=text(row.get("name"), "name") or _id_of(row, _ASSETS),
            kind=kind,
            class_name=class_name,
            identifiers=tuple(identifiers),
            owner=self._groups.get(row.get("group_id"), ""),
            environment=text(fields.get(ENVIRONMENT), ENVIRONMENT),
            criticality=IMPACT.get(impact, 0) if kind == Kind.SERVICE else 0,
            location=self._places.get(row.get("location_id"), ""),
            retired=text(fields.get(STATE), STATE).casefold() in self._retired,
            url=f"{self._config.url}/cmdb/items/{_id_of(row, _ASSETS)}",
            updated_at=read_time(str(row.get("updated_at"))),
        )

    def _kind(self, type_: Any) -> tuple[str, str]:
        """Name of the asset type, and what it is: as the nearest of it and its parents that a map names."""
        name, seen = "", set()
        while (known := self._types.get(type_)) is not None and type_ not in seen:
            seen.add(type_)
            called = text(known.get("name"), "asset_type")
            name = name or called
            if (kind := kind_of(called, self._kinds)) != GENERIC:
                return name, kind
            type_ = known.get("parent_asset_type_id")
        return name or f"asset type {type_}", GENERIC

    def _read_relationships(self, rows: Sequence[Record]) -> tuple[list[Item], list[Tie], list[Flaw]]:
        ties: list[Tie] = []
        flaws: list[Flaw] = []
        for row in rows:
            if not row.get("primary_type") == row.get("secondary_type") == "asset":
                continue  # of people and departments
            try:
                id = identity(row.get("id"), "id")
                ends = [identity(row.get(f"{end}_id"), f"{end}_id") for end in ("primary", "secondary")]
                word = self._words.get(row.get("relationship_type_id"), "") or "unknown"
                if (tie := tie_of(id, ends[0], word, ends[1], self._relations)) is not None:
                    ties.append(tie)
            except Malformed as error:
                flaws.append(flaw(str(row.get("id") or ""), error, row))
        return [], ties, flaws

    # ---- check ----

    def check(self) -> list[Finding]:
        account = self._account
        path, params = self._list(_ASSETS)
        asked: dict[str, Callable[[], Any]] = {
            "assets": lambda: account.page(path, _ASSETS, 1, 1, **params),
            "relationships": lambda: account.page("/relationships", _RELATIONSHIPS, 1, 1),
            "asset types": account.asset_types,
            "relationship types": account.relationship_types,
            "groups": account.groups,
            "locations": account.locations,
        }
        if self._config.changes != "off":
            asked["change requests"] = lambda: account.changes(datetime.now(UTC))
        found = []
        for subject, ask in asked.items():
            try:
                ask()
                found.append(Finding(subject=subject, observed="can be read"))
            except Denied as error:
                remedy = f"give the agent's role the right to view {subject}, with global scope"
                found.append(Finding(subject=subject, observed=str(error), remedy=remedy))
                if "HTTP 401" in str(error):
                    return [Finding(subject="credentials", observed=str(error), remedy=error.hint)]
        if not any(finding.remedy for finding in found):
            odd = sorted(
                str(row.get("name")) for row in self._types.values() if self._kind(row.get("id"))[1] == GENERIC
            )
            names = f"not in `kinds`, so generic: {', '.join(odd[:20])}" if odd else "all are mapped"
            found.append(Finding(subject="kinds", observed=names))
        return found

    # ---- planned work ----

    def work(self, start: datetime, end: datetime) -> list[PlannedWork]:
        now = self._account.now()
        rows = [
            row
            for row in self._account.changes(start - _OLDEST_CHANGE)
            if row.get("status") in CHANGE_STATES and _touches(row, start, end)
        ]
        planned = (self._planned(str(row.get("id")), now) for row in rows[:_MAX_CHANGES])
        return [one for one in planned if one is not None]

    def _planned(self, id: str, now: datetime) -> PlannedWork | None:
        row = self._account.change(id)
        if row is None:
            return None
        starts, ends = _planned_time(row)
        state = CHANGE_STATES.get(row.get("status", 0))
        if starts is None or ends is None or state is None:
            return None
        if state is WorkState.PLANNED and starts <= now:
            state = WorkState.RUNNING
        agent = row.get("agent_id")
        return PlannedWork(
            id=f"CHN-{id}",
            title=text(row.get("subject"), "subject"),
            state=state,
            starts_at=starts,
            ends_at=ends,
            cis=_ends(row.get("assets")),
            services=_ends(row.get("impacted_services")),
            owner=text(self._account.person(agent), "agent") if isinstance(agent, int) else "",
            url=f"{self._config.url}/a/changes/{id}",
        )


def _with(page: CmdbPage, at: _At) -> CmdbPage:
    return CmdbPage(items=page.items, ties=page.ties, flaws=page.flaws, next=write_cursor(at))


def _id_of(row: Record, part: str) -> str:
    return str(row.get(END if part == _ASSETS else "id") or "")


def _names(rows: Iterable[Record]) -> dict[Any, str]:
    return {row.get("id"): text(row.get("name"), "name") for row in rows}


def _touches(row: Record, start: datetime, end: datetime) -> bool:
    starts, ends = _planned_time(row)
    return starts is not None and ends is not None and starts <= end and ends >= start


def _planned_time(row: Record) -> tuple[datetime | None, datetime | None]:
    return read_time(str(row.get("planned_start_date"))), read_time(str(row.get("planned_end_date")))


def _ends(rows: Any) -> tuple[str, ...]:
    if not isinstance(rows, list):
        return ()
    return tuple(text(row[END], END) for row in rows if isinstance(row, dict) and row.get(END))


SOURCE = SourceKind(
    kind="freshservice",
    title="Assets of Freshservice, their relationships and change requests",
    facts="Freshservice API v2, read 2026-11 through open clients that quote it",
    config=FreshserviceConfig,
    build=lambda name, config, parts: FreshserviceSource(name, config, parts.http),
    plans_work=True,
)
