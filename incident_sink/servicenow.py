"""ServiceNow: one incident for each situation, through the Table API.

Facts:    ServiceNow product documentation, release "australia" (2026): Table API, incident management, problem
          management, OAuth and API keys inbound, rate limiting; read 2026-11-22.
Delivery: at least once, one record. ``correlation_id`` carries the situation's id; ServiceNow itself has no
          idempotency key and no unique index there, so a search comes before each creation, and a note is written only
          if its marker is not there yet. The answer to each write is read back: a state that was not taken is an error.
Changes:  read by ``sys_updated_on``, a few seconds late (``settle``): who took a ticket, resolved, closed or reopened
          it, with the close code, and comments. What the account ``user`` did is no news.
Owner:    a field that a person changed stays theirs (``owned`` names exceptions); a ticket that people closed stays
          closed. Closed and cancelled incidents cannot be reopened there: a recurrence opens a new one under it.
Limits:   short_description 160, description and notes 4000 and 16,000 characters; instances limit requests by the hour.
Needs:    an account of Foreshock's own with the role itil, basic authentication, OAuth or an API key.
"""

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs
from pydantic import Field

from foreshock.connect.markup import line, plain
from foreshock.connect.tickets import (
    due,
    is_ours,
    kept_after,
    marker,
    moment,
    sequence,
    settled,
    with_marker,
)
from foreshock.connect.vendors.servicenow import (
    Row,
    ServiceNow,
    ServiceNowAccount,
    Term,
    connect,
    read_time,
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
    Verb,
)
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.quantities import Duration

_TITLE_CHARS, _TEXT_CHARS, _NOTE_CHARS, _NAME_CHARS = 160, 4000, 16_000, 100
_MAX_IDS = 10_000
_FOUND_S, _ABSENT_S = 86_400.0, 300.0
"""How long an id is believed, and how long that there is none: somebody may be creating the group just now."""
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
    owned: tuple[str, ...] = Field(
        default=(), description="fields that Foreshock keeps writing although a person changed them"
    )
    settle: Duration = Field(
        default=timedelta(seconds=3),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, so that none is overtaken by a slow transaction",
    )


class ServiceNowSink:
    """One instance of ServiceNow as delivery sees it."""

    def __init__(self, name: str, config: ServiceNowConfig, client: ServiceNow, console: str) -> None:
        self._name = name
        self._config = config
        self._client = client
        self._console = console
        self._reader = _Reader(name, config, client)
        self._ids: dict[tuple[str, str], tuple[str, float]] = {}

    # ---- finding ----

    def find(self, key: str) -> Receipt | None:
        row = self._by_key(self._config.table, key)
        return None if row is None else self._receipt(row)

    def _by_key(self, table: str, key: str) -> Row | None:
        """The record with our key: the oldest that is not final, else the newest."""
        query = (Term(self._config.key_field, "=", key), Term("correlation_display", "=", self._config.display))
        rows = self._client.rows(table, query, _READ, order=("sys_created_on", "sys_id"), limit=50)
        live = [row for row in rows if row["state"] not in self._config.final]
        return live[0] if live else rows[-1] if rows else None

    def _row(self, key: str, ticket: Receipt | None) -> Row | None:
        sys_id = ticket.kept.get("sys_id", "") if ticket is not None else ""
        return self._client.get(self._config.table, sys_id, _READ) if sys_id else self._by_key(self._config.table, key)

    # ---- writing ----

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        row = self._row(order.key, ticket)
        if order.verb is Verb.OPEN and row is None:
            return self._create(order, {})
        if row is None:
            return self._gone(order, ticket)
        if row["state"] in self._config.final:
            return self._follow_up(order, row, ticket)
        wanted = self._wanted(order)
        if order.verb is Verb.OPEN:
            return self._receipt(row, ticket, wanted)
        write = self._changes(order, wanted, row, ticket)
        if note := self._note(order, row, ticket, write):
            write["work_notes"] = note
        if not write:
            return self._receipt(row, ticket, wanted)
        after = self._client.update(self._config.table, row["sys_id"], write, _READ) or self._again(row["sys_id"])
        self._verify(after, write)
        receipt = self._receipt(after, ticket, wanted, write)
        return structs.replace(receipt, kept={**receipt.kept, "note": order.id}) if note else receipt

    def _changes(self, order: Order, wanted: Mapping[str, str], row: Row, ticket: Receipt | None) -> dict[str, str]:
        """What the order has to change of an incident that is not final; empty where a person ended it."""
        config = self._config
        ended = row["state"] == config.resolved
        if ended and order.verb is not Verb.REOPEN:
            return {}
        kept = self._kept(row) if ticket is None or not ticket.kept else ticket.kept
        write = due(wanted, row, kept, config.owned)
        if order.verb is Verb.RESOLVE:
            notes = plain(order.note or "The condition is over.", _TEXT_CHARS)
            write |= {"state": config.resolved, "close_code": config.close_code, "close_notes": notes}
        elif ended:
            write["state"] = config.reopened
        return write

    def _note(self, order: Order, row: Row, ticket: Receipt | None, write: Mapping[str, str]) -> str:
        """The work note of an order, or nothing if it is there already: its answer was lost."""
        if not order.note or (row["state"] == self._config.resolved and "state" not in write):
            return ""
        kept = ticket.kept if ticket is not None else {}
        if kept.get("note") == order.id:
            return ""
        untouched = kept.get("sys_mod_count") == row["sys_mod_count"]  # since our last write, so no answer was lost
        if not untouched and self._reader.holds(row["sys_id"], marker(order.id)):
            return ""
        return _journal(order.note, order.id)

    def _create(self, order: Order, more: Mapping[str, str]) -> Receipt:
        wanted = self._wanted(order)
        values = {
            **self._config.fixed,
            **{name: value for name, value in wanted.items() if value},
            self._config.key_field: order.key,
            "correlation_display": self._config.display,
            **more,
        }
        if order.note:
            values["work_notes"] = _journal(order.note, order.id)
        fields = (*_READ, self._config.key_field)
        after = self._client.create(self._config.table, values, fields) or self._by_key(self._config.table, order.key)
        if after is None:
            raise Unavailable(f"{self._client.name} said it created an incident for {order.key}, but shows none")
        if after.get(self._config.key_field, order.key) != order.key:
            raise Rejected(
                f"{self._client.name} created {after['number']} without our key: {self._config.key_field} is "
                f"{after[self._config.key_field]!r} instead of {order.key!r}",
                hint=f"let {self._config.user} write {self._config.key_field} there, and "
                f"close {after['number']}, which Foreshock cannot find again",
            )
        return self._receipt(after, None, wanted, values)

    def _gone(self, order: Order, ticket: Receipt | None) -> Receipt:
        """Somebody deleted the record: what happens again gets a new one, there is nothing to change otherwise."""
        if order.verb is Verb.REOPEN:
            found = self._by_key(self._config.table, order.key)
            return self._create(order, {}) if found is None else self._receipt(found)
        number = ticket.number if ticket is not None else "the incident"
        raise Rejected(
            f"{self._client.name} has no {number} of {order.key} any more (deleted, or hidden from this account)",
            hint="if it was hidden, let the account read it and retry the dead letter",
        )

    def _follow_up(self, order: Order, row: Row, ticket: Receipt | None) -> Receipt:
        """The incident is closed or cancelled, which nobody can undo: a recurrence is a new one under it."""
        if order.verb is not Verb.REOPEN:
            return self._receipt(row, ticket)
        found = self._by_key(self._config.table, order.key)
        if found is not None and found["state"] not in self._config.final:
            return self._receipt(found)
        return self._create(order, {"parent_incident": row["sys_id"]})

    def _again(self, sys_id: str) -> Row:
        row = self._client.get(self._config.table, sys_id, _READ)
        if row is None:
            raise Unavailable(f"{self._client.name} does not show {sys_id} after a change")
        return row

    def _verify(self, after: Row, write: Mapping[str, str]) -> None:
        asked = write.get("state")
        if asked is not None and after["state"] != asked:
            raise Rejected(
                f"{self._client.name} left {after['number']} in state {after['state']!r} where {asked!r} was written",
                hint="look there which field a data policy wants, and check `resolved`, `reopened` and `close_code`",
            )

    def _receipt(
        self,
        row: Row,
        ticket: Receipt | None = None,
        wanted: Mapping[str, str] | None = None,
        written: Collection[str] = (),
    ) -> Receipt:
        """Of a record as it is now; with what an order wanted, and what of it was written just now.

        What stands there as wanted is ours even if nothing was written: the answer to the write may have been lost.
        """
        kept = dict(ticket.kept) if ticket is not None and ticket.kept else self._kept(row)
        if wanted is not None:
            kept = kept_after(wanted, written, row, kept)
        kept |= {"sys_id": row["sys_id"], "sys_mod_count": row["sys_mod_count"]}
        address = f"{self._config.url}/{self._config.table}.do?sys_id={row['sys_id']}"
        return Receipt(number=row["number"], url=address, kept=kept)

    def _kept(self, row: Row) -> dict[str, str]:
        """Without a memory: what we wrote last is ours, after anybody else's hand nothing is."""
        if row["sys_updated_by"] != self._config.user:
            return {}
        present = {name: row.get(name, "") for name in _OURS}
        return kept_after(present, present, row, {})

    # ---- our words in theirs ----

    def _wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as ServiceNow stores them; only those that the order has."""
        fields = order.fields
        found: dict[str, str] = {}
        if "title" in fields:
            found["short_description"] = line(str(fields["title"]), _TITLE_CHARS) or "Incident without a title"
        if "description" in fields:
            page = f"{self._console}{order.url}" if isinstance(order, Order) and order.url else ""
            room = _TEXT_CHARS - len(page) - 2
            found["description"] = f"{plain(str(fields['description']), room)}\n\n{page}".strip()
        for name, scale in (("impact", self._config.impact), ("urgency", self._config.urgency)):
            if name in fields:
                found[name] = scale[min(3, max(1, int(fields[name]))) - 1]
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
        sys_id, until = self._ids.get((table, name), ("", 0.0))
        if time.monotonic() < until:
            return sys_id
        try:
            rows = self._client.rows(table, (Term("name", "=", name),), ("sys_id",), limit=2)
        except Denied:
            rows = []
        sys_id = rows[0]["sys_id"] if len(rows) == 1 else ""
        if len(self._ids) >= _MAX_IDS:
            self._ids.clear()
        self._ids[table, name] = sys_id, time.monotonic() + (_FOUND_S if sys_id else _ABSENT_S)
        return sys_id

    # ---- what people did ----

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        return self._reader.changes(cursor)

    # ---- problems ----

    def find_problem(self, key: str) -> Receipt | None:
        row = self._by_key("problem", key)
        return None if row is None else self._receipt(row)

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        """Opens, annotates and links; its state stays with people, for the Table API moves no problem since Rome."""
        row = self._by_key("problem", order.key)
        wanted = self._wanted(order)
        if row is None:
            values = {name: value for name, value in wanted.items() if value}
            values |= {self._config.key_field: order.key, "correlation_display": self._config.display}
            if order.note:
                values["work_notes"] = _journal(order.note, order.id)
            after = self._client.create("problem", values, _READ) or self._by_key("problem", order.key)
        else:
            values = due(wanted, row, problem.kept if problem is not None and problem.kept else self._kept(row))
            if order.note and not self._reader.holds(row["sys_id"], marker(order.id)):
                values["work_notes"] = _journal(order.note, order.id)
            after = self._client.update("problem", row["sys_id"], values, _READ) if values else row
            after = after or self._client.get("problem", row["sys_id"], _READ)
        if after is None:
            raise Unavailable(f"{self._client.name} said it wrote a problem for {order.key}, but shows none")
        self._link(after["sys_id"], order.incidents)
        kept = kept_after(wanted, values, after, problem.kept if problem is not None else {})
        address = f"{self._config.url}/problem.do?sys_id={after['sys_id']}"
        return Receipt(number=after["number"], url=address, kept={**kept, "sys_id": after["sys_id"]})

    def _link(self, problem: str, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays."""
        numbers = [ticket.number for ticket in incidents if "," not in ticket.number]
        if not numbers:
            return
        query = (Term("number", "IN", ",".join(numbers)), Term("problem_id", "=", ""))
        for row in self._client.rows(self._config.table, query, ("sys_id",)):
            self._client.update(self._config.table, row["sys_id"], {"problem_id": problem}, ("sys_id",))

    # ---- is it set up ----

    def check(self) -> Sequence[Finding]:
        return list(_check(self._config, self._client))


def _journal(text: str, order_id: str) -> str:
    return with_marker(_CODE.sub(r"[ \1code]", plain(text, _NOTE_CHARS)), order_id, _NOTE_CHARS)


# ---- what people did ------------------------------------------------------------------------------------------------


class _Seen(Struct, frozen=True):
    """Of an incident as it was told: its state and who had it."""

    state: str
    assignee: str


class _Reader:
    """Reads incidents by time of change, and tells what people did."""

    _FIELDS = (
        "sys_id",
        "number",
        "state",
        "sys_updated_on",
        "sys_updated_by",
        "assigned_to.user_name",
        "resolved_by.user_name",
        "closed_by.user_name",
        "reopen_count",
        "close_code",
        "close_notes",
    )

    def __init__(self, name: str, config: ServiceNowConfig, client: ServiceNow) -> None:
        self._name = name
        self._config = config
        self._client = client
        self._journal = True
        self._told: dict[str, _Seen] = {}
        self._telling: dict[str, tuple[int, _Seen]] = {}
        self._quiet: tuple[int, datetime | None] = (-1, None)

    def changes(self, cursor: int) -> list[TicketChange]:
        """Of all that was updated since ``cursor`` and lies before ``settled``, oldest first."""
        self._believe(cursor)
        start = moment(cursor)
        if self._quiet[0] == cursor and self._quiet[1] is not None:
            start = self._quiet[1]  # nothing that people did stood before it
        query = (
            Term("correlation_display", "=", self._config.display),
            Term("sys_updated_on", ">=", time_text(start)),
        )
        fields = (*self._FIELDS, self._config.key_field)
        rows = self._client.rows(self._config.table, query, fields, order=("sys_updated_on", "sys_id"), limit=_MAX_ROWS)
        if self._client.server_now is None:
            raise Unavailable(f"{self._client.name} does not say what time it is (no Date header)")
        horizon = settled(self._client.server_now, self._config.settle)
        if len(rows) == _MAX_ROWS:
            last = read_time(rows[-1]["sys_updated_on"])
            horizon = min(horizon, last) if last is not None else horizon
        found = [*self._of_rows(rows, horizon), *self._comments(rows, start, horizon)]
        found = sorted((change for change in found if change.sequence > cursor), key=lambda change: change.sequence)
        self._quiet = (-1, None) if found else (cursor, horizon)
        return found

    def _believe(self, cursor: int) -> None:
        """What was told last time and lies before the cursor arrived."""
        self._told |= {record: seen for record, (number, seen) in self._telling.items() if number <= cursor}
        self._telling = {}

    def _of_rows(self, rows: Sequence[Row], horizon: datetime) -> list[TicketChange]:
        found = []
        for row in rows:
            at = read_time(row["sys_updated_on"])
            if at is None or at >= horizon:
                continue
            seen = _Seen(row["state"], row["assigned_to.user_name"])
            steps = self._steps(row, self._told.get(row["sys_id"]), seen)
            for place, (state, actor, comment, code) in enumerate(steps):
                found.append(
                    TicketChange(
                        sink=self._name,
                        situation=row[self._config.key_field],
                        sequence=sequence(at, row["sys_id"], place),
                        state=state,
                        number=row["number"],
                        actor=actor,
                        comment=comment,
                        code=code,
                    )
                )
            if steps:
                self._telling[row["sys_id"]] = (found[-1].sequence, seen)
            else:
                self._told[row["sys_id"]] = seen
        return found

    def _steps(self, row: Row, before: _Seen | None, seen: _Seen) -> list[tuple[str, str, str, str]]:
        """(state, actor, comment, code) of what people did to an incident since it was told of."""
        us, config = self._config.user, self._config
        steps = []
        if seen.assignee not in ("", us) and (before is None or before.assignee != seen.assignee):
            steps.append(("taken", seen.assignee, "", ""))
        ended = seen.state == config.resolved or seen.state in config.final
        was_ended = before is not None and (before.state == config.resolved or before.state in config.final)
        if ended and (before is None or before.state != seen.state):
            who = row["resolved_by.user_name"] or row["closed_by.user_name"] or row["sys_updated_by"]
            if who != us:
                word = "resolved" if seen.state == config.resolved else "closed"
                steps.append((word, who, row["close_notes"], row["close_code"]))
        again = was_ended or (before is None and row["reopen_count"] not in ("", "0"))
        if not ended and again and row["sys_updated_by"] != us:
            steps.append(("reopened", row["sys_updated_by"], "", ""))
        return steps

    def _comments(self, rows: Sequence[Row], start: datetime, horizon: datetime) -> list[TicketChange]:
        by_id = {row["sys_id"]: row for row in rows}
        ids = list(by_id)
        entries: list[Row] = []
        for first in range(0, len(ids) if self._journal else 0, _IDS_A_QUERY):
            query = (
                Term("element_id", "IN", ",".join(ids[first : first + _IDS_A_QUERY])),
                Term("element", "IN", "work_notes,comments"),
                Term("sys_created_on", ">=", time_text(start)),
            )
            try:
                entries += self._client.rows(
                    "sys_journal_field", query, ("sys_id", "value", "sys_created_by"), order=("sys_created_on",)
                )
            except Denied:
                self._journal = False  # `sink test` tells; the rest is read all the same
        found = []
        for entry in entries:
            at = read_time(entry["sys_created_on"])
            if at is None or at >= horizon or entry["sys_created_by"] == self._config.user or is_ours(entry["value"]):
                continue
            row = by_id[entry["element_id"]]
            found.append(
                TicketChange(
                    sink=self._name,
                    situation=row[self._config.key_field],
                    sequence=sequence(at, entry["sys_id"]),
                    state="commented",
                    number=row["number"],
                    actor=entry["sys_created_by"],
                    comment=plain(entry["value"], _TEXT_CHARS),
                )
            )
        return found

    def holds(self, sys_id: str, text: str) -> bool:
        """Whether one of our notes on a record has this marker."""
        if not self._journal:
            return False
        query = (Term("element_id", "=", sys_id), Term("sys_created_by", "=", self._config.user))
        try:
            entries = self._client.rows("sys_journal_field", query, ("value",), order=("sys_created_on",))
        except Denied:
            self._journal = False
            return False
        return any(entry["value"].rstrip().endswith(text) for entry in entries)


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
        "state": (config.resolved, config.reopened, *config.final),
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
        yield Finding(
            subject="assignment groups",
            observed=f"{len(rows)} groups are called {name!r}" if len(rows) != 1 else f"{name!r} is there",
            remedy="" if len(rows) == 1 else "write its sys_id, or correct the name",
        )


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
    "state": "resolved, reopened or final",
    "close_code": "close_code",
    "impact": "impact",
    "urgency": "urgency",
}


def _build(name: str, config: ServiceNowConfig, parts: SinkParts) -> ServiceNowSink:
    return ServiceNowSink(name, config, connect(config, name, f"sinks.{name}", parts.http), parts.console)


SINK = SinkKind(
    kind="servicenow",
    title="ServiceNow incidents",
    facts="Table API, release australia (2026), read 2026-11-22",
    config=ServiceNowConfig,
    build=_build,
    problems=True,
)
