"""CIs of ManageEngine ServiceDesk Plus, cloud and on-premises, with their relationships.

Facts:    ServiceDesk Plus API v3 guides of the cloud (configuration item, CI relationship, change, search criteria) and
          open connectors to on-premises, build 15100 and newer; read 2026-11-22. UNVERIFIED: the names of CI types,
          relationships and attributes (``KINDS``, ``RELATIONS``, ``ATTRIBUTES``); the fields of a relationship
          (``WORD``, ``OPPOSITE``, ``OTHER``) and that each end tells it in its own words; that a new relationship
          counts as a change of its CIs; what stages and statuses of a change mean (``CHANGE_STATES``).
Delivery: type by type, then what changed by ``last_updated_time``, two minutes of overlap included. Relationships are
          asked for CI by CI. Pages go by number in the order of ids: after each the row in front of it is looked at,
          and where that has moved, what moved is read again.
Recovery: deletions leave no trace: the whole reading finds them, as it does relationships that came or went without a
          change of their CIs.
Limits:   one call for each CI and one more for each 100 of them: a whole reading of 10,000 CIs makes 10,200 calls, a
          look for changes one for each type and changed CI. The cloud counts calls by address and minute, and locks an
          address for minutes: ``types`` and ``kinds`` leave out what no alert is about.
Needs:    a technician whose role may **view** CIs and their relationships (CMDB) and changes, in all sites; in the
          cloud a refresh token with the scopes ``SDPOnDemand.cmdb.READ``, ``SDPOnDemand.changes.READ`` and
          ``SDPOnDemand.setup.READ``. On-premises build 15100 or newer.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
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
from foreshock.connect.vendors.servicedesk_plus import (
    PAGE_ROWS,
    Record,
    ServiceDeskPlusAccount,
    Term,
    connect,
    milliseconds,
    person_of,
    shown,
    time_of,
)
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
    WorkUse,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Malformed, Missing, Unavailable
from foreshock.core.quantities import Duration
from foreshock.core.topology import DIRECTIONS, Direction

if TYPE_CHECKING:
    from foreshock.connect.http import Http

KINDS: Mapping[str, str] = {
    "Business Service": Kind.SERVICE, "IT Service": Kind.SERVICE, "Service": Kind.SERVICE,
    "Application": Kind.APPLICATION, "Software": Kind.APPLICATION, "Web Server": Kind.APPLICATION,
    "Database": Kind.DATABASE, "Server": Kind.SERVER, "Windows Server": Kind.SERVER, "Linux Server": Kind.SERVER,
    "Unix Server": Kind.SERVER, "Virtual Host": Kind.SERVER, "Virtual Machine": Kind.VM, "Cluster": Kind.CLUSTER,
    "Router": Kind.NETWORK, "Switch": Kind.NETWORK, "Firewall": Kind.NETWORK, "Access Point": Kind.NETWORK,
    "Load Balancer": Kind.NETWORK, "Storage Device": Kind.STORAGE, "Storage": Kind.STORAGE, "Rack": Kind.RACK,
    "UPS": Kind.POWER, "Data Center": Kind.LOCATION, "Site": Kind.LOCATION, "Switch Port": Kind.INTERFACE,
    "People": IGNORE, "User": IGNORE, "Requester": IGNORE, "Technician": IGNORE, "Department": IGNORE,
    "Support Group": IGNORE, "Document": IGNORE,
}  # fmt: skip
"""UNVERIFIED: types of CIs as an installation has them at first, by the name that people see or, without ``ci_`` or
``cmdb_``, that of the API."""
RELATIONS: Mapping[str, str] = {
    "Depends on": "depends_on", "Uses": "depends_on", "Used by": "inverse depends_on", "Runs on": "runs_on",
    "Runs": "inverse runs_on", "Hosted on": "runs_on", "Hosts": "inverse runs_on", "Contains": "contains",
    "Contained in": "inverse contains", "Contained by": "inverse contains", "Member of": "member_of",
    "Connected to": "connects_to", "Connects to": "connects_to", "Powered by": "powered_by",
    "Powers": "inverse powered_by", "Sends data to": "sends_data_to", "Receives data from": "inverse sends_data_to",
    "Located in": "located_in", "Managed by": IGNORE, "Manages": IGNORE,
}  # fmt: skip
"""What the CI that was asked says of the other one; ``Used by`` is the other half of both ``Depends on`` and ``Uses``.
UNVERIFIED in part; people add types of their own."""
WORD, OPPOSITE, OTHER = "name", "inverse_name", "related_ci"
"""UNVERIFIED: a relationship's ``relationship_type`` with its name as the CI that was asked says it and as the other
one does, and the other one. Source: the guide names the parts, open clients send these."""
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "owner": ("support_group", "managed_by_group", "group", "managed_by"),
    "contact": ("owned_by", "owner", "used_by"),
    "environment": ("environment",),
    "criticality": ("business_criticality", "criticality", "business_impact", "impact"),
    "location": ("location", "site"),
    "status": ("state", "ci_state", "asset_state", "lifecycle_status", "status"),
    "serial": ("serial_number", "serial_no", "service_tag"),
    "asset_tag": ("asset_tag",),
    "uuid": ("uuid", "bios_uuid"),
    "provider": ("instance_id", "vm_id"),
    "fqdn": ("fqdn", "dns_name"),
    "hostname": ("hostname", "host_name"),
    "ip": ("ip_address", "ip_addresses"),
    "mac": ("mac_address",),
}
"""UNVERIFIED: attributes of a CI by what they say, the best first; a prefix by type (``txt_``, ``ref_``) does not
count."""
RETIRED = ("Retired", "Disposed", "Decommissioned", "Expired", "Loss", "Lost", "Stolen", "Inactive")
OVERLAP = timedelta(minutes=2)
CHANGE_STATES: Mapping[tuple[str, str], WorkState] = {
    ("", "approved"): WorkState.PLANNED,
    ("", "scheduled"): WorkState.PLANNED,
    ("", "rejected"): WorkState.CANCELLED,
    ("", "canceled"): WorkState.CANCELLED,
    ("", "cancelled"): WorkState.CANCELLED,
    ("implementation", "in progress"): WorkState.RUNNING,
    ("implementation", "completed"): WorkState.DONE,
    ("implementation", ""): WorkState.PLANNED,
    ("uat", ""): WorkState.RUNNING,
    ("release", ""): WorkState.RUNNING,
    ("review", ""): WorkState.DONE,
    ("close", ""): WorkState.DONE,
}
"""By stage and status, then status, then stage. UNVERIFIED: names of the general change workflow; in any other stage a
change waits to be allowed. One that is planned runs once its time has come."""
CHANGE_PAGES = {"cloud": "{url}/ui/changes/{id}/details", "on_premises": "{url}/ChangeDetails.cc?CHANGEID={id}"}
"""Pages for people. UNVERIFIED, like those of requests."""
_CHANGE_FIELDS = ("title", "display_id", "stage", "status", "scheduled_start_time", "scheduled_end_time")
_MAX_CHANGES = 500
_PREFIX = re.compile(r"^(?:txt|ref|num|date|pick|udf|ci)_(?:sline_|pick_|long_|date_)?")
_API_PREFIX = re.compile(r"^(?:ci|cmdb)_")
_IDENTIFIERS = tuple(type_ for type_ in IdType if type_.value in ATTRIBUTES)
_MAX_TIES = 1000
_MAX_STEPS = 50


class ServiceDeskPlusSourceConfig(MappedConfig, WorkConfig, ServiceDeskPlusAccount):
    every: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(minutes=1),
        le=timedelta(days=7),
        description="how often is read what changed",
    )
    types: tuple[str, ...] = Field(
        default=(), description="names of the CI types to read; empty: all that `kinds` does not ignore"
    )
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="name in the API of the attribute that says something, for example {owner: ref_squad}; what can be "
        "said: " + ", ".join(ATTRIBUTES),
    )
    retired: tuple[str, ...] = Field(default=RETIRED, description="states of CIs that are out of use")


class _At(Struct, frozen=True):
    """Where a reading stands.

    Attributes:
        began: when it did, by the server's clock. type: whose CIs come next; empty: none. start: number of the next
            one, from 1. rows: of a page; 0 before the first. last: id of the CI before.
        asked: CIs of the type ``of`` whose relationships come first. relation: number of the next one of the first.
    """

    began: datetime
    type: str
    start: int = 1
    rows: int = 0
    last: int = 0
    asked: tuple[str, ...] = ()
    of: str = ""
    relation: int = 1
    v: int = 1


class _Mark(Struct, frozen=True):
    since: datetime
    v: int = 1


class ServiceDeskPlusSource:
    def __init__(self, name: str, config: ServiceDeskPlusSourceConfig, http: Callable[..., "Http"]) -> None:
        self._config = config
        self._desk = connect(config, name, f"topology {name}", http)
        self._kinds = folded(KINDS, config.kinds)
        self._relations = folded(RELATIONS, config.relations)
        self._retired = {state.casefold() for state in config.retired}
        self._names = {
            what: (config.attributes[what].casefold(),) if what in config.attributes else names
            for what, names in ATTRIBUTES.items()
        }

    # ---- a reading ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        since = read_cursor(mark, _Mark).since - OVERLAP if mark else None
        at = read_cursor(cursor, _At) if cursor else self._begin()
        page, after = self._read_relations(at) if at.asked else self._read_cis(at, since)
        if after.type or after.asked:
            return structs.replace(page, next=write_cursor(after))
        return structs.replace(page, mark=write_cursor(_Mark(since=at.began)), whole=since is None)

    def _begin(self) -> _At:
        first = next(iter(self._types), "")
        if not first:
            raise Denied(
                f"{self._desk.name} shows no type of CIs"
                + (f" of {list(self._config.types)}" * bool(self._config.types)),
                hint="check the technician's role (view of the CMDB) and the settings `types` and `kinds`",
            )
        return _At(began=self._desk.server_now or datetime.now(UTC), type=first)

    def _read_cis(self, at: _At, since: datetime | None) -> tuple[CmdbPage, _At]:
        rows, more, end = self._fetch(at, since)
        items: list[Item] = []
        flaws: list[Flaw] = []
        asked: list[str] = []
        for row in rows:
            changed = time_of(row, "last_updated_time")
            if since is not None and changed is not None and changed <= since:
                continue  # the condition was ignored
            id = str(row.get("id"))
            try:
                whole = self._whole(at.type, row)
                if whole is None:
                    continue
                item = self._item(at.type, whole)
            except (Malformed, AttributeError, TypeError) as error:
                flaws.append(flaw(id, error, row))
                asked.append(id)
                continue
            if item is not None:
                items.append(item)
                asked.append(id)
        following = (
            structs.replace(at, start=end, rows=at.rows or len(rows), last=_number(rows[-1]) if rows else at.last)
            if more
            else _At(began=at.began, type=next((name for name in self._types if name > at.type), ""))
        )
        after = structs.replace(following, asked=tuple(asked), of=at.type if asked else "")
        return CmdbPage(items=items, flaws=flaws), after

    def _fetch(self, at: _At, since: datetime | None) -> tuple[list[Record], bool, int]:
        """CIs behind the last one, whether there are more, and the number of the next. What was deleted in front moves
        them to the front: then back until one comes that was read already."""
        start = at.start
        for _ in range(_MAX_STEPS):
            rows, more = self._page(at.type, start, PAGE_ROWS, since)
            if start > 1:
                before, _ = self._page(at.type, start - 1, 1, since)
                if not before or _number(before[0]) > at.last:
                    start = max(1, start - (at.rows or 1))
                    continue
            end = start + len(rows)
            new = [row for row in rows if _number(row) > at.last]
            if new or not more:
                return new, more, end
            start = end
        raise Unavailable(
            f"{self._desk.name}: CIs of {at.type} move while they are read, or the same page comes again and again",
            hint="read at a quieter time",
        )

    def _page(self, type_: str, start: int, rows: int, since: datetime | None) -> tuple[list[Record], bool]:
        try:
            found, more = self._desk.cis(type_, start, rows, since=since)
        except Missing as error:
            raise Denied(str(error), hint=f"check that the technician may view CIs of {type_}") from None
        numbers = [_number(row) for row in found]
        if numbers != sorted(numbers):
            raise Unavailable(f"{self._desk.name} does not list CIs of {type_} by their ids, as was asked")
        return found, more

    def _whole(self, type_: str, row: Record) -> Record | None:
        """A row with its attributes: where a list leaves them out they are in the CI itself. None if that is gone."""
        is_whole = "last_updated_time" in row and ("ci_attributes" in row or self._config.edition != "cloud")
        return row if is_whole else self._desk.ci(type_, str(row.get("id")))

    def _read_relations(self, at: _At) -> tuple[CmdbPage, _At]:
        ties: list[Tie] = []
        flaws: list[Flaw] = []
        asked, start = list(at.asked), at.relation
        while asked and len(ties) < _MAX_TIES:
            rows, more = self._desk.relations(at.of, asked[0], start)
            for row in rows:
                try:
                    if (tie := self._tie(asked[0], row)) is not None:
                        ties.append(tie)
                except (Malformed, AttributeError, TypeError) as error:
                    flaws.append(flaw(None, error, row))
            if more:
                start += len(rows)
            else:
                asked, start = asked[1:], 1
        after = structs.replace(at, asked=tuple(asked), relation=start, of=at.of if asked else "")
        return CmdbPage(ties=ties, flaws=flaws), after

    # ---- in our words ----

    @cached_property
    def _types(self) -> dict[str, str]:
        """Types that are read, by their names in the API, in that order: the names that people see."""
        try:
            rows = self._desk.ci_types()
        except Missing as error:
            raise Denied(str(error), hint="on-premises the CMDB can be read since build 15100") from None
        wanted = {name.casefold() for name in self._config.types}
        found = {}
        for row in rows:
            name = text(row.get("api_plural_name") or row.get("api_name") or row.get("name"), "ci_type")
            called = text(row.get("display_name") or row.get("name"), "ci_type")
            is_wanted = not wanted or {name.casefold(), called.casefold()} & wanted
            if name and is_wanted and self._kind(name, called) != IGNORE:
                found[name] = called
        return dict(sorted(found.items()))

    def _kind(self, name: str, called: str) -> str:
        kind = kind_of(called, self._kinds)
        return kind if kind != GENERIC else kind_of(_API_PREFIX.sub("", name).replace("_", " "), self._kinds)

    def _item(self, type_: str, row: Record) -> Item | None:
        id = identity(row.get("id"), "id")
        own = row.get("ci_type") or {}  # of a list that holds subtypes, too
        called = text(own.get("display_name") or own.get("name"), "ci_type")
        class_name = self._types.get(called, "") or called or self._types.get(type_, type_)
        kind = self._kind(called or type_, class_name)
        if kind == IGNORE:
            return None
        attributes = _attributes(row)

        def said(what: str) -> str:
            found = (text(shown(attributes, name), name) for name in self._names[what] if name in attributes)
            return next(filter(None, found), "")

        return Item(
            id=id,
            name=text(row.get("name"), "name") or id,
            kind=kind,
            class_name=class_name,
            identifiers=tuple(Identifier(each, value) for each in _IDENTIFIERS if (value := said(each.value))),
            owner=said("owner"),
            contact=said("contact"),
            environment=said("environment"),
            criticality=criticality(said("criticality")),
            location=said("location"),
            retired=said("status").casefold() in self._retired,
            updated_at=time_of(row, "last_updated_time"),
        )

    def _tie(self, asked: str, row: Record) -> Tie | None:
        """The same from whichever end it is told, so that it is one."""
        type_ = row.get("relationship_type") or {}
        word, opposite = text(type_.get(WORD), WORD), text(type_.get(OPPOSITE), OPPOSITE)
        ends = asked, identity((row.get(OTHER) or {}).get("id"), OTHER)
        if word.casefold() not in self._relations and opposite.casefold() in self._relations:
            ends, word, opposite = (ends[1], ends[0]), opposite, word
        tie = tie_of("", ends[0], word, ends[1], self._relations)
        if tie is None:
            return None
        if DIRECTIONS[tie.type] in (Direction.BOTH_SUFFER, Direction.NEITHER_SUFFERS):
            first, second = sorted((tie.source, tie.target), key=lambda id: (len(id), id))
            tie = structs.replace(tie, source=first, target=second)
        return structs.replace(tie, class_name=" / ".join(sorted({word, opposite} - {""})) or "unknown")

    # ---- check ----

    def check(self) -> list[Finding]:
        try:
            types = self._types
        except Denied as error:
            return [Finding(subject="CI types", observed=str(error), remedy=error.hint)]
        if not types:
            remedy = "let the technician's role view the CMDB, or mend the settings `types` and `kinds`"
            return [Finding(subject="CI types", observed="none is to be seen", remedy=remedy)]
        odd = sorted(called for name, called in types.items() if self._kind(name, called) == GENERIC)
        observed = f"{len(types)} are read"
        observed += f"; not in `kinds`, so generic: {', '.join(odd[:20])}" if odd else ""
        found = [Finding(subject="CI types", observed=observed)]
        one: tuple[str, str] | None = None
        for name in types:
            try:
                rows, _ = self._page(name, 1, 1, None)
            except Denied as error:
                found.append(_refused(f"CIs of {name}", error))
                continue
            one = one or ((name, str(rows[0].get("id"))) if rows else None)
        if len(found) == 1:
            found.append(Finding(subject="CIs", observed="those of all types can be read"))
        if one is not None:
            found.append(_tried("relationships", lambda: self._desk.relations(*one, 1)))
        if self._config.changes != WorkUse.OFF:
            now = datetime.now(UTC)
            found.append(_tried("changes", lambda: self._changes(now, now)))
        return found

    # ---- planned work ----

    def work(self, start: datetime, end: datetime) -> list[PlannedWork]:
        rows = self._changes(start, end)
        now = self._desk.server_now or datetime.now(UTC)
        found = []
        for row in rows[:_MAX_CHANGES]:
            if _state(row) is not None and (whole := self._desk.record("changes", str(row.get("id")))) is not None:
                planned = self._planned(whole, now)
                if planned is not None:
                    found.append(planned)
        return found

    def _changes(self, start: datetime, end: datetime) -> list[Record]:
        terms = [
            Term("scheduled_start_time", "lesser than", milliseconds(end + timedelta(milliseconds=1))),
            Term("scheduled_end_time", "greater than", milliseconds(start - timedelta(milliseconds=1))),
        ]
        found: list[Record] = []
        more = True
        while more and len(found) < _MAX_CHANGES:
            rows, more = self._desk.search("changes", terms, _CHANGE_FIELDS, start=len(found) + 1)
            found += rows
        return found

    def _planned(self, row: Record, now: datetime) -> PlannedWork | None:
        starts, ends, state = time_of(row, "scheduled_start_time"), time_of(row, "scheduled_end_time"), _state(row)
        if starts is None or ends is None or state is None:
            return None
        if state is WorkState.PLANNED and starts <= now:
            state = WorkState.RUNNING
        id = identity(row.get("id"), "id")
        number = row.get("display_id")
        number = number.get("display_value") if isinstance(number, dict) else number
        portal = f"/app/{self._config.portal}" if self._config.portal else ""
        return PlannedWork(
            id=text(number, "display_id") or id,
            title=text(row.get("title"), "title"),
            state=state,
            starts_at=starts,
            ends_at=ends,
            cis=(*_named(row.get("configuration_items"), "id"), *_named(row.get("assets"), "name")),
            services=_named(row.get("services"), "name"),
            owner=text(shown(row, "group") or person_of(row.get("change_owner")), "owner"),
            url=CHANGE_PAGES[self._config.edition].format(url=f"{self._config.url}{portal}", id=id),
        )


def _number(row: Record) -> int:
    """Ids rise. Raises Unavailable for what is none: without them nothing can be read page by page."""
    id = str(row.get("id"))
    if not id.isdigit():
        raise Unavailable(f"a CI has the id {id[:40]!r}, which is no number")
    return int(id)


def _attributes(row: Record) -> dict[str, Any]:
    """By name in lower case, with and without the prefix that tells its type; the first of a name counts."""
    own = row.get("ci_attributes")
    given = {**row, **(own if isinstance(own, dict) else {})}
    found = {name.casefold(): value for name, value in given.items() if name != "ci_attributes"}
    for name, value in list(found.items()):
        found.setdefault(_PREFIX.sub("", name), value)
    return found


def _state(row: Record) -> WorkState | None:
    stage, status = shown(row, "stage").casefold(), shown(row, "status").casefold()
    keys = ((stage, status), ("", status), (stage, ""))
    return next((CHANGE_STATES[key] for key in keys if key in CHANGE_STATES), None)


def _named(rows: Any, by: str) -> tuple[str, ...]:
    if not isinstance(rows, list):
        return ()
    return tuple(text(row[by], by) for row in rows if isinstance(row, dict) and row.get(by))


def _tried(subject: str, ask: Callable[[], Any]) -> Finding:
    try:
        ask()
    except Denied as error:
        return _refused(subject, error)
    return Finding(subject=subject, observed="can be read")


def _refused(subject: str, error: Denied) -> Finding:
    remedy = f"let the technician's role view {subject}, and in the cloud give the token the scope for it"
    return Finding(subject=subject, observed=str(error), remedy=remedy)


SOURCE = SourceKind(
    kind="servicedesk_plus",
    title="CIs of ManageEngine ServiceDesk Plus, their relationships and changes",
    facts="ServiceDesk Plus API v3 of the cloud and on-premises from build 15100, read 2026-11",
    config=ServiceDeskPlusSourceConfig,
    build=lambda name, config, parts: ServiceDeskPlusSource(name, config, parts.http),
    plans_work=True,
)
