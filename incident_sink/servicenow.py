"""ServiceNow: one incident for each situation, through the Table API.

Facts:    ServiceNow product documentation, release "australia" (2026): Table API, incident management, problem
          management, OAuth and API keys inbound, rate limiting; read 2026-11-22.
Delivery: at least once, one record. ``correlation_id`` carries the situation's id; ServiceNow itself has no
          idempotency key and no unique index there, so a search comes before each creation, and a note is written only
          if its marker is not there yet. The answer to each write is read back: a state that was not taken is an error.
Changes:  read by ``sys_updated_on``, a few seconds late (``settle``): who took a ticket, resolved, closed or reopened
          it, with the close code, that it waits and goes on, and comments. What the account ``user`` did is no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); a ticket that people closed stays
          closed. Closed and cancelled incidents cannot be reopened there: a recurrence opens a new one under it.
Limits:   short_description 160, description and notes 4000 and 16,000 characters; instances limit requests by the hour.
Needs:    an account of Foreshock's own with the role itil, basic authentication, OAuth or an API key.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct
from pydantic import Field

from foreshock.connect.lookup import Lookup, found_once
from foreshock.connect.markup import html_text, line, plain
from foreshock.connect.ticket_changes import WAITS, Activity, Memory, Phase, TicketChanges, Updated, moved, phase_of
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, TicketSink
from foreshock.connect.tickets import description, is_ours, marker, of_scale, read_time, title, with_marker
from foreshock.connect.vendors.servicenow import (
    Row,
    ServiceNow,
    ServiceNowAccount,
    Term,
    connect,
    time_text,
)
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    Receipt,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
    TicketChange,
)
from foreshock.core.errors import Denied

_TITLE_CHARS, _TEXT_CHARS, _NOTE_CHARS, _NAME_CHARS = 160, 4000, 16_000, 100
_MAX_ROWS = 10_000
"""Incidents that are looked at in one visit; what was updated later waits for the next."""
_IDS_A_QUERY = 50  # 32 characters each: an address must stay below 8 KiB
_OURS = (
    "short_description",
    "description",
    "impact",
    "urgency",
    "assignment_group",
    "cmdb_ci",
    "business_service",
)
"""What Foreshock writes of a record that is open; a person who changes one of them owns it from then on."""
_READ = ("sys_id", "number", "state", "sys_mod_count", "sys_updated_by", "sys_updated_on", *_OURS)
_KNOWN = ("known_error", "workaround", "cause_notes")
_PROBLEM_ENDS = {"106": "resolved", "107": "closed"}
"""States of a problem since the Madrid model (problem management, product documentation)."""
_CODE = re.compile(r"\[(/?)code\]", re.IGNORECASE)
"""A journal field renders what stands between [code] and [/code] as HTML (Journal fields, product documentation)."""


class ServiceNowConfig(ServiceNowAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this instance."""

    table: str = Field(default="incident", description="table of the incidents, or one that extends it")
    key_field: str = Field(
        default="correlation_id", description="field that carries the situation's id; put an index on it"
    )
    display: str = Field(
        default="Foreshock",
        description="what correlation_display says; two Foreshocks that share an instance need two names",
    )
    impact: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for impact 1 (highest), 2 and 3")
    urgency: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for urgency 1, 2 and 3")
    resolved: str = Field(default="6", description="value of state for a resolved incident")
    reopened: str = Field(default="2", description="value of state for one that is reopened")
    final: tuple[str, ...] = Field(
        default=("7", "8"), description="values of state that cannot be left any more: closed and cancelled"
    )
    waiting: tuple[str, ...] = Field(
        default=("3",), description="values of state in which an incident waits for somebody: on hold"
    )
    hold_reasons: dict[str, str] = Field(
        default_factory=lambda: {
            "1": "Awaiting Caller",
            "3": "Awaiting Problem",
            "4": "Awaiting Vendor",
            "5": "Awaiting Change",
        },
        description="what the values of hold_reason mean: so it is told why an incident waits",
    )
    close_code: str = Field(
        default="Solution provided",
        description="close_code of what Foreshock resolves; older instances have `Solved (Permanently)`",
    )
    assignment_groups: dict[str, str] = Field(
        default_factory=dict, description="our group: name or sys_id of the group there; others by the same name"
    )
    fallback_group: str = Field(default="", description="name or sys_id of the group for all that have none there")
    fixed: dict[str, str] = Field(
        default_factory=dict,
        description="further fields of a new incident as ServiceNow stores them, such as caller_id, category, "
        "contact_type and what your instance makes mandatory",
    )


class _Journal:
    """Notes and comments of records; nothing where the account may not read them (`sink test` tells)."""

    def __init__(self, client: ServiceNow, user: str) -> None:
        self._client = client
        self._user = user
        self._is_readable = True

    def rows(self, query: Sequence[Term], fields: Sequence[str]) -> list[Row]:
        if not self._is_readable:
            return []
        try:
            return self._client.rows("sys_journal_field", query, fields, order=("sys_created_on",))
        except Denied:
            self._is_readable = False
            return []

    def holds(self, sys_id: str, text: str) -> bool:
        """Whether one of our notes on a record has this marker."""
        query = (Term("element_id", "=", sys_id), Term("sys_created_by", "=", self._user))
        return any(entry["value"].rstrip().endswith(text) for entry in self.rows(query, ("value",)))


class _Table(Records[Row]):
    """The incidents, or the problems, of one instance."""

    state_hint = "look there which field a data policy wants, and check `resolved`, `reopened` and `close_code`"

    def __init__(
        self, table: str, config: ServiceNowConfig, client: ServiceNow, journal: _Journal, console: str
    ) -> None:
        self.name = client.name
        self.key_place = config.key_field
        self.key_hint = f"let {config.user} write {config.key_field} there"
        self._table = table
        self._config = config
        self._client = client
        self._journal = journal
        self._console = console
        self._read = (*_READ, config.key_field, *(_KNOWN if table == "problem" else ()))
        self._ids: Lookup[str] = Lookup()

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Row]:
        query = (Term(self._config.key_field, "=", key), Term("correlation_display", "=", self._config.display))
        return self._client.rows(self._table, query, self._read, order=("sys_created_on", "sys_id"))

    def get(self, id: str) -> Row | None:
        return self._client.get(self._table, id, self._read)

    def see(self, record: Row) -> Seen:
        return Seen(
            id=record["sys_id"],
            number=record["number"],
            url=f"{self._config.url}/{self._table}.do?sys_id={record['sys_id']}",
            standing=self._standing(record["state"]),
            state=record["state"],
            key=record.get(self._config.key_field, ""),
            fields={name: record.get(name, "") for name in _OURS},
            kept={"sys_mod_count": record["sys_mod_count"]},
        )

    def _standing(self, state: str) -> Standing:
        """A problem's state stays with people, for the Table API moves no problem since Rome."""
        if self._table == "problem":
            return Standing.OPEN
        if state in self._config.final:
            return Standing.FINAL
        return Standing.ENDED if state == self._config.resolved else Standing.OPEN

    def own(self, record: Row, seen: Seen) -> Collection[str]:
        """What we wrote last is ours, after anybody else's hand nothing is."""
        return _OURS if record["sys_updated_by"] == self._config.user else ()

    def noted(self, record: Row, order_id: str, kept: Mapping[str, str]) -> bool:
        if kept.get("sys_mod_count") == record["sys_mod_count"]:  # untouched since our last write: no answer was lost
            return False
        return self._journal.holds(record["sys_id"], marker(order_id))

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Row | None) -> Row | None:
        values = {
            **(self._config.fixed if isinstance(order, Order) else {}),
            **{name: value for name, value in wanted.items() if value},
            self._config.key_field: order.key,
            "correlation_display": self._config.display,
        }
        if order.note:
            values["work_notes"] = _journal_text(order.note, order.id)
        if before is not None:
            values["parent_incident"] = before["sys_id"]
        return self._client.create(self._table, values, self._read)

    def write(self, record: Row, change: Change) -> Row | None:
        values = dict(change.fields)
        if change.move is Move.END:
            notes = plain(change.order.note or "The condition is over.", _TEXT_CHARS)
            values |= {"state": self._config.resolved, "close_code": self._config.close_code, "close_notes": notes}
        elif change.move is Move.REOPEN:
            values["state"] = self._config.reopened
        if change.note:
            values["work_notes"] = _journal_text(change.note, change.order.id)
        return self._client.update(self._table, record["sys_id"], values, self._read)

    def link(self, record: Row, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays."""
        numbers = [ticket.number for ticket in incidents if "," not in ticket.number]
        if not numbers:
            return
        query = (Term("number", "IN", ",".join(numbers)), Term("problem_id", "=", ""))
        for row in self._client.rows(self._config.table, query, ("sys_id",)):
            self._client.update(self._config.table, row["sys_id"], {"problem_id": record["sys_id"]}, ("sys_id",))

    def ended(self, record: Row) -> str:
        return _PROBLEM_ENDS.get(record["state"], "")

    def known_error(self, record: Row) -> str:
        """The workaround; where there is none, the cause of what is marked as a known error."""
        text = record.get("workaround", "")
        if not text and record.get("known_error") == "true":
            text = record.get("cause_notes", "")
        return html_text(text) if "<" in text else text

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as ServiceNow stores them; only those that the order has."""
        fields = order.fields
        found: dict[str, str] = {}
        if "title" in fields:
            found["short_description"] = title(order, _TITLE_CHARS)
        if "description" in fields:
            found["description"] = description(order, self._console, _TEXT_CHARS)
        for name, scale in (("impact", self._config.impact), ("urgency", self._config.urgency)):
            if name in fields:
                found[name] = of_scale(scale, fields[name])
        if "assignment_group" in fields:
            found["assignment_group"] = self._group(str(fields["assignment_group"]))
        if "ci" in fields:
            found["cmdb_ci"] = self._id_of("cmdb_ci", str(fields["ci"]))
        if "services" in fields:
            names = [str(name) for name in fields["services"]]
            found["business_service"] = self._id_of("cmdb_ci_service", names[0]) if names else ""
        return found

    def _group(self, name: str) -> str:
        """sys_id of the group, of the fall-back, or nothing: an unknown group is no reason to lose an incident."""
        wanted = self._config.assignment_groups.get(name, name)
        return self._id_of("sys_user_group", wanted) or self._id_of("sys_user_group", self._config.fallback_group)

    def _id_of(self, table: str, name: str) -> str:
        """sys_id of the one record of this name; a sys_id stands for itself. Empty where none or several have it, or
        the account may not look (`sink test` tells)."""
        name = line(name, _NAME_CHARS)
        if not name or re.fullmatch("[0-9a-f]{32}", name):
            return name
        return self._ids.of((table, name), lambda: self._asked_id(table, name)) or ""

    def _asked_id(self, table: str, name: str) -> str | None:
        try:
            rows = self._client.rows(table, (Term("name", "=", name),), ("sys_id",), limit=2)
        except Denied:
            return None
        return rows[0]["sys_id"] if len(rows) == 1 else None


def _journal_text(text: str, order_id: str) -> str:
    return with_marker(_CODE.sub(r"[ \1code]", plain(text, _NOTE_CHARS)), order_id, _NOTE_CHARS)


# ---- what people did ------------------------------------------------------------------------------------------------


class _Told(Struct, frozen=True):
    """Of an incident as it was told: its state and who had it."""

    state: str
    assignee: str


class _Changes(TicketChanges[Row]):
    """Incidents by time of change. They show what is, not what happened: what was told before is remembered."""

    _FIELDS = (
        "sys_id",
        "number",
        "state",
        "hold_reason",
        "sys_updated_on",
        "sys_updated_by",
        "assigned_to.user_name",
        "resolved_by.user_name",
        "closed_by.user_name",
        "reopen_count",
        "close_code",
        "close_notes",
    )

    def __init__(self, name: str, config: ServiceNowConfig, client: ServiceNow, journal: _Journal) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._journal = journal
        self._memory = Memory[_Told]()

    def changes(self, cursor: int) -> list[TicketChange]:
        self._memory.believe(cursor)
        return super().changes(cursor)

    def updated(self, start: datetime) -> Updated[Row]:
        query = (
            Term("correlation_display", "=", self._config.display),
            Term("sys_updated_on", ">=", time_text(start)),
        )
        fields = (*self._FIELDS, self._config.key_field)
        self._memory.recall(start, partial(self._waiting, start))
        rows = self._client.rows(self._config.table, query, fields, order=("sys_updated_on", "sys_id"), limit=_MAX_ROWS)
        last = read_time(rows[-1]["sys_updated_on"]) if len(rows) == _MAX_ROWS else None
        return Updated(rows, self._client.server_now, last)

    def _waiting(self, start: datetime) -> dict[str, _Told]:
        query = (
            Term("correlation_display", "=", self._config.display),
            Term("state", "IN", ",".join(self._config.waiting)),
            Term("sys_updated_on", "<", time_text(start)),
        )
        fields = ("sys_id", "state", "assigned_to.user_name")
        rows = self._client.rows(self._config.table, query, fields) if self._config.waiting else []
        return {row["sys_id"]: _Told(row["state"], row["assigned_to.user_name"]) for row in rows}

    def activities(self, records: Sequence[Row], start: datetime, horizon: datetime) -> Iterator[Activity]:
        for row in records:
            at = read_time(row["sys_updated_on"])
            if at is None or at >= horizon:
                continue
            seen = _Told(row["state"], row["assigned_to.user_name"])
            steps = self._steps(row, self._memory.before(row["sys_id"]), seen)
            for state, actor, comment, code in steps:
                yield self._activity(row, at, row["sys_id"], state, actor, comment, code)
            self._memory.tell(row["sys_id"], seen, at, len(steps))
        yield from self._comments(records, start)

    def _activity(
        self, row: Row, at: datetime, source: str, state: str, actor: str, comment: str, code: str = ""
    ) -> Activity:
        return Activity(
            at=at,
            source=source,
            situation=row[self._config.key_field],
            number=row["number"],
            state=state,
            actor=actor,
            comment=comment,
            code=code,
        )

    def _steps(self, row: Row, before: _Told | None, seen: _Told) -> list[tuple[str, str, str, str]]:
        """(state, actor, comment, code) of what people did to an incident since it was told of."""
        us = self._config.user
        steps = []
        if seen.assignee not in ("", us) and (before is None or before.assignee != seen.assignee):
            steps.append(("taken", seen.assignee, "", ""))
        now, was = self._phase(seen.state), self._phase(before.state) if before is not None else None
        if was is None and now is Phase.WORK and row["reopen_count"] not in ("", "0"):
            was = Phase.RESOLVED
        last = row["sys_updated_by"]
        for state in moved(was, now):
            if state in ("resolved", "closed"):
                who = row["resolved_by.user_name"] or row["closed_by.user_name"] or last
                if who != us:
                    steps.append((state, who, row["close_notes"], row["close_code"]))
            elif last != us or (state in WAITS and before is not None):  # our note may have come behind it
                why = self._config.hold_reasons.get(row.get("hold_reason", ""), "On Hold")
                steps.append((state, last if last != us else "", why if state == "pending" else "", ""))
        return steps

    def _phase(self, state: str) -> Phase:
        return phase_of(state, (self._config.resolved,), self._config.final, self._config.waiting)

    def _comments(self, rows: Sequence[Row], start: datetime) -> Iterator[Activity]:
        by_id = {row["sys_id"]: row for row in rows}
        ids = list(by_id)
        for first in range(0, len(ids), _IDS_A_QUERY):
            query = (
                Term("element_id", "IN", ",".join(ids[first : first + _IDS_A_QUERY])),
                Term("element", "IN", "work_notes,comments"),
                Term("sys_created_on", ">=", time_text(start)),
            )
            for entry in self._journal.rows(query, ("sys_id", "value", "sys_created_by")):
                at, who = read_time(entry["sys_created_on"]), entry["sys_created_by"]
                if at is not None and who != self._config.user and not is_ours(entry["value"]):
                    text = plain(entry["value"], _TEXT_CHARS)
                    yield self._activity(by_id[entry["element_id"]], at, entry["sys_id"], "commented", who, text)


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: ServiceNowConfig, client: ServiceNow) -> Iterator[Finding]:
    """Only reads. What the account may not read is said, not guessed: ``sink test --create`` shows the rest."""
    try:
        fields = ("sys_id", "state", config.key_field, "correlation_display")
        rows = client.rows(config.table, (), fields, limit=1)
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield Finding(subject="credentials", observed=f"{config.user} reads {config.table}")
    yield _key_field(config, client, rows)
    yield from _roles(config, client)
    yield from _mandatory(config, client)
    yield from _choices(config, client)
    yield from _groups(config, client)
    yield _journal_access(config, client)


def _key_field(config: ServiceNowConfig, client: ServiceNow, rows: Sequence[Row]) -> Finding:
    names = (config.key_field, "correlation_display")
    missing = [name for name in names if rows and name not in rows[0]]
    if not missing:
        seen = f"{' and '.join(names)} are readable" if rows else f"{config.table} is empty: not told without a record"
        return Finding(subject="key field", observed=seen)
    return Finding(
        subject="key field",
        observed=f"{config.table} shows this account no {' and no '.join(missing)}",
        remedy=f"create the field on {config.table}, or let {config.user} read and write it (field ACL)",
    )


def _asked(client: ServiceNow, table: str, query: Sequence[Term], fields: Sequence[str]) -> list[Row] | None:
    """None where the account may not read that table."""
    try:
        return client.rows(table, query, fields)
    except Denied:
        return None


def _roles(config: ServiceNowConfig, client: ServiceNow) -> Iterator[Finding]:
    rows = _asked(
        client,
        "sys_user_has_role",
        (Term("user.user_name", "=", config.user),),
        ("role.name",),
    )
    if rows is None:
        yield Finding(subject="permissions", observed="roles are not readable for this account: try --create")
        return
    roles = sorted({row.get("role.name", "") for row in rows})
    enough = not rows or _WRITERS.intersection(roles)
    yield Finding(
        subject="permissions",
        observed=f"{config.user} has {', '.join(roles) or 'no roles that it can see'}",
        remedy="" if enough else f"give {config.user} the role itil",
    )


def _mandatory(config: ServiceNowConfig, client: ServiceNow) -> Iterator[Finding]:
    tables = ",".join(dict.fromkeys((config.table, "incident", "task")))
    query = (Term("name", "IN", tables), Term("mandatory", "=", "true"))
    rows = _asked(client, "sys_dictionary", query, ("element",))
    if rows is None:
        yield Finding(subject="mandatory fields", observed="sys_dictionary is not readable: try --create")
        return
    filled = {"short_description", "description", "impact", "urgency", "number", *config.fixed}
    unfilled = sorted({row["element"] for row in rows} - filled - {""})
    if not unfilled:
        yield Finding(subject="mandatory fields", observed="all that the dictionary demands are filled")
    for name in unfilled:
        yield Finding(
            subject="mandatory fields",
            observed=f"{config.table}.{name} is mandatory and not filled",
            remedy=f"write it under `fixed` of this sink: fixed: {{{name}: …}}, or make it optional there",
        )


def _choices(config: ServiceNowConfig, client: ServiceNow) -> Iterator[Finding]:
    wanted = {
        "state": (config.resolved, config.reopened, *config.final, *config.waiting),
        "close_code": (config.close_code,),
        "impact": config.impact,
        "urgency": config.urgency,
    }
    for element, values in wanted.items():
        query = (Term("name", "IN", f"{config.table},incident,task"), Term("element", "=", element))
        rows = _asked(client, "sys_choice", query, ("value",))
        known = sorted({row["value"] for row in rows}) if rows else []
        unknown = [value for value in values if known and value not in known]
        if not known:
            yield Finding(subject=element, observed="its choices are not readable for this account: try --create")
        elif unknown:
            yield Finding(
                subject=element,
                observed=f"{', '.join(map(repr, unknown))} is no choice there; known: {', '.join(map(repr, known))}",
                remedy=f"write a known value into {_SETTING[element]} of this sink",
            )
        else:
            yield Finding(subject=element, observed=f"{', '.join(values)} are choices there")


def _groups(config: ServiceNowConfig, client: ServiceNow) -> Iterator[Finding]:
    for name in dict.fromkeys((*config.assignment_groups.values(), config.fallback_group)):
        if not name:
            continue
        field = "sys_id" if re.fullmatch("[0-9a-f]{32}", name) else "name"
        rows = _asked(client, "sys_user_group", (Term(field, "=", name),), ("sys_id",))
        if rows is None:
            yield Finding(
                subject="assignment groups",
                observed="sys_user_group is not readable, so tickets get no group",
                remedy=f"let {config.user} read sys_user_group",
            )
            return
        yield found_once("assignment groups", name, len(rows), "sys_id")


def _journal_access(config: ServiceNowConfig, client: ServiceNow) -> Finding:
    query = (Term("element", "=", "work_notes"), Term("sys_created_by", "=", config.user))
    try:
        client.rows("sys_journal_field", query, ("sys_id",), limit=1)
    except Denied:
        return Finding(
            subject="comments",
            observed="sys_journal_field is not readable: comments are not read back, and a note whose answer was lost "
            "may stand there twice",
            remedy=f"let {config.user} read sys_journal_field",
        )
    return Finding(subject="comments", observed="sys_journal_field is readable")


_WRITERS = frozenset({"itil", "sn_incident_write", "itil_admin", "admin"})
_SETTING = {
    "state": "resolved, reopened, final or waiting",
    "close_code": "close_code",
    "impact": "impact",
    "urgency": "urgency",
}


def _build(name: str, config: ServiceNowConfig, parts: SinkParts) -> TicketSink[Row]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    journal = _Journal(client, config.user)
    return TicketSink(
        _Table(config.table, config, client, journal, parts.console),
        _Changes(name, config, client, journal),
        partial(_check, config, client),
        problems=_Table("problem", config, client, journal, parts.console),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="servicenow",
    title="ServiceNow incidents",
    facts="Table API, release australia (2026), read 2026-11-22",
    config=ServiceNowConfig,
    build=_build,
    problems=True,
    known_errors=True,
)
