"""Zendesk Support: one ticket of type incident for each situation.

Facts:    developer.zendesk.com (2026): Tickets, Ticket audits, Incremental exports, idempotency, safe updates;
          support.zendesk.com "About native system ticket rules"; read 2026-11-22.
Delivery: at least once, one record. ``external_id`` carries the situation's id, and each creation an Idempotency-Key
          that Zendesk honours for two hours; a search by external id comes first all the same. Fields, note and status
          go in one call that Zendesk refuses if anybody was faster (``safe_update``); a note is written only if its
          marker is not there yet. The answer is read back: a status that was not taken is an error.
Changes:  from the incremental export, a minute and a half late (``settle``), and from each ticket's own audits: who
          took it, solved, closed or reopened it, had it wait and go on, and comments. What our agent did is no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); a ticket that people solved stays
          solved. A closed ticket cannot be changed: a recurrence opens a follow-up of it.
Limits:   subject 150 and comments 8000 characters; the description is the first comment and never changes, so a later
          one comes as a note, or in a field of its own (``fields``); 10 to 2500 requests a minute, by plan; 30 updates
          of one ticket in ten minutes.
Needs:    an agent of Foreshock's own, role admin (incremental export), with an API token or an OAuth token.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from pydantic import Field

from foreshock.connect.lookup import Groups
from foreshock.connect.markup import html, line, plain
from foreshock.connect.ticket_changes import Activity, Phase, TicketChanges, Updated, moved, phase_of, reason
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, TicketSink
from foreshock.connect.tickets import is_ours, marker, moment, of_scale, page_of, read_time, title, with_marker
from foreshock.connect.vendors.zendesk import HOOK, KeyUsed, Record, Zendesk, ZendeskAccount, connect
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    Receipt,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
)
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.quantities import Duration

TITLE_CHARS = 150
"""Of a subject. UNVERIFIED: the reference names no limit, forms cut there."""
LIST_DELAY_S = 120.0
"""How late ``GET /tickets?external_id=`` may show a new ticket. UNVERIFIED: the reference states a lag of minutes for
searches and none for this list."""
SEARCH_LAG = timedelta(hours=1)
"""How late a search may show the first ticket of ours. UNVERIFIED: "a few minutes" (Search)."""
EXPORT_AGE = timedelta(seconds=60)
"""How old the start of an incremental export must be at least (Incremental exports)."""
_TEXT_CHARS = 8000
_HTML_CHARS = 60_000  # a comment holds 64 KiB; escaping makes six characters of one at most
_NAME_CHARS = 100
_MAX_PAGES = 8  # of the export in one visit; ten a minute are allowed
_MAX_AUDITED = 20_000
_OURS = ("subject", "priority", "group_id")
_SOLVED, _CLOSED = "solved", "closed"
_WAIT = {"pending": "Pending", "hold": "On-hold"}
_STANDINGS = {_SOLVED: Standing.ENDED, _CLOSED: Standing.FINAL}
_PLACEHOLDER = re.compile(r"\{(?=[{%])")
"""Zendesk fills placeholders such as {{ticket.requester.email}} into what agents write (Zendesk Support placeholders).
UNVERIFIED that it does so for comments of the API too: they are broken up."""


class ZendeskConfig(ZendeskAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this Zendesk."""

    key_prefix: str = Field(
        default="foreshock-",
        min_length=1,
        description="what external_id begins with; two Foreshocks that share a Zendesk need two prefixes",
    )
    tag: str = Field(
        default="foreshock",
        pattern=r"^[^\s\"]+$",
        description="tag of the tickets; the first reading begins with the oldest that has it",
    )
    priority: tuple[str, str, str, str, str] = Field(
        default=("urgent", "high", "normal", "low", "low"), description="values for priority 1 (highest) to 5"
    )
    groups: dict[str, str] = Field(
        default_factory=dict, description="our group: name or id of the group there; others by the same name"
    )
    fallback_group: str = Field(default="", description="name or id of the group for all that have none there")
    fields: dict[Literal["description", "impact", "urgency", "severity", "ci", "services"], int] = Field(
        default_factory=dict,
        description="ids of custom fields that carry more of an incident: description, ci and services need text "
        "fields; impact, urgency and severity may be drop-downs whose tags are the values",
    )
    impact: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for impact 1 (highest), 2 and 3")
    urgency: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for urgency 1, 2 and 3")
    statuses: dict[Literal["solved", "open"], int] = Field(
        default_factory=dict, description="ids of custom statuses to use instead of the category's default one"
    )
    waiting: tuple[Literal["pending", "hold"], ...] = Field(
        default=("pending", "hold"), description="status categories in which a ticket waits for somebody"
    )
    solver: int = Field(
        default=0,
        description="id of the agent who gets a ticket that nobody has when it is solved, which needs an assignee; 0 "
        "is Foreshock's own",
    )
    close_code_field: int = Field(
        default=0, description="id of the custom field in which people say how a ticket ended; 0 for none"
    )
    known_error_field: int = Field(
        default=0,
        description="id of the custom text field in which people write the known error of a problem; 0 for none",
    )
    public: bool = Field(default=False, description="whether the requester sees what Foreshock writes")
    fixed: dict[str, str] = Field(
        default_factory=dict,
        description="further fields of a new ticket, such as requester_id, brand_id, ticket_form_id, or the id of a "
        "custom field and its value",
    )
    settle: Duration = Field(
        default=timedelta(seconds=90),
        ge=timedelta(seconds=70),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, because the export begins a minute ago",
    )


class _Tickets(Records[Record]):
    """The tickets of one type."""

    key_place = "external_id"
    key_hint = "look which trigger or app changes external_id"
    state_hint = "look there which trigger changes the status, and check `statuses`"

    def __init__(self, type: str, config: ZendeskConfig, client: Zendesk, console: str) -> None:
        self.name = client.name
        self._type = type
        self._config = config
        self._client = client
        self._console = console
        self._groups = Groups(client.groups)

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Record]:
        tickets = self._client.tickets_of(self._config.key_prefix + key)
        return [ticket for ticket in tickets if ticket.get("status") != "deleted"]

    def get(self, id: str) -> Record | None:
        found = self._client.ticket(id)
        return None if found is None or found.get("status") == "deleted" else found

    def see(self, record: Record) -> Seen:
        number, status = str(record["id"]), str(record["status"])
        custom = {str(field.get("id")): field.get("value") for field in record.get("custom_fields") or ()}
        present = {name: "" if value is None else str(value) for name, value in {**record, **custom}.items()}
        prefix, external_id = self._config.key_prefix, str(record.get("external_id") or "")
        return Seen(
            id=number,
            number=number,
            url=f"{self._config.url}/agent/tickets/{number}",
            standing=_STANDINGS.get(status, Standing.OPEN),
            state=status,
            key=external_id.removeprefix(prefix) if external_id.startswith(prefix) else "",
            fields=present,
        )

    def own(self, record: Record, seen: Seen) -> Collection[str]:
        """A field that nobody else set, as the audits say."""
        theirs = _set_by_others(self._client, seen.id)
        return [name for name in (*_OURS, *map(str, self._config.fields.values())) if name not in theirs]

    def noted(self, record: Record, order_id: str, kept: Mapping[str, str]) -> bool:
        """Always asked: times there are whole seconds, so an unchanged ``updated_at`` would prove nothing."""
        wanted = marker(order_id)
        return any(wanted in _said(comment) for comment in self._client.comments(str(record["id"])))

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Record | None) -> Record | None:
        filled = {
            "subject": _subject(order),
            **{name: value for name, value in wanted.items() if value},
        }
        text = _text(str(order.fields.get("description", "")), order.note, page_of(order, self._console))
        values: dict[str, Any] = {
            **self._body({**self._config.fixed, **filled}),
            "type": self._type,
            "external_id": self._config.key_prefix + order.key,
            "tags": [self._config.tag],
            "comment": {"html_body": _comment(text or filled["subject"], order.id), "public": self._config.public},
        }
        if before is not None:
            values["via_followup_source_id"] = int(before["id"])
        try:
            return self._client.create(values, self._config.key_prefix + order.id)
        except KeyUsed as error:
            made = [ticket for ticket in self.of_key(order.key) if before is None or ticket["status"] != _CLOSED]
            if not made:
                raise Unavailable(f"{error}, and a search does not show the ticket yet", retry_after_s=60) from None
            return made[0]

    def write(self, record: Record, change: Change) -> Record | None:
        values: dict[str, Any] = dict(change.fields)
        if change.move is Move.END:
            values["status"] = _SOLVED
            if not record.get("assignee_id"):
                values["assignee_id"] = self._config.solver or self._client.my_id
        elif change.move is Move.REOPEN:
            values["status"] = "open"
        if change.note:
            values["comment"] = _comment(change.note, change.order.id)
        return self._client.update(str(record["id"]), self._body(values), record["updated_at"])

    def noted_only(self, order: Order | ProblemOrder) -> str:
        return "" if "description" in self._config.fields else str(order.fields.get("description", ""))

    def link(self, record: Record, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays; a closed one cannot be linked."""
        numbers = [ticket.number for ticket in incidents if ticket.number.isdigit()]
        for first in range(0, len(numbers), 100):
            for ticket in self._client.tickets(numbers[first : first + 100]):
                if ticket["status"] not in (_CLOSED, "deleted") and not ticket.get("problem_id"):
                    self._client.update(str(ticket["id"]), {"problem_id": int(record["id"])}, ticket["updated_at"])

    def known_error(self, record: Record) -> str:
        return self.see(record).fields.get(str(self._config.known_error_field), "")

    def _body(self, write: Mapping[str, Any]) -> dict[str, Any]:
        """As the API wants it: ids as numbers, custom fields in a list, a note as a comment."""
        body: dict[str, Any] = {}
        custom = []
        for name, value in write.items():
            if name.isdigit():
                custom.append({"id": int(name), "value": value})
            elif name == "comment":
                body["comment"] = {"html_body": value, "public": self._config.public}
            elif name == "status" and value in self._config.statuses:
                body["custom_status_id"] = self._config.statuses[value]
            else:
                body[name] = int(value) if name.endswith("_id") and str(value).isdigit() else value
        return {**body, "custom_fields": custom} if custom else body

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as a ticket shows them, custom fields by id; only those that the order has."""
        fields, config = order.fields, self._config
        found: dict[str, str] = {}
        if "title" in fields:
            found["subject"] = _subject(order)
        if "priority" in fields:
            found["priority"] = of_scale(config.priority, fields["priority"])
        if "assignment_group" in fields and (group := self._group(str(fields["assignment_group"]))):
            found["group_id"] = group
        scales = {"impact": config.impact, "urgency": config.urgency}
        for name, id in config.fields.items():
            if name not in fields:
                continue
            value = fields[name]
            if name in scales:
                found[str(id)] = of_scale(scales[name], value)
            else:
                text = ", ".join(map(str, value)) if name == "services" else str(value)
                found[str(id)] = plain(_inert(text), _TEXT_CHARS)
        return found

    def _group(self, name: str) -> str:
        """Id of the group, of the fall-back, or nothing: an unknown group is no reason to lose an incident."""
        return self._groups.id_of(self._config.groups.get(name, name), self._config.fallback_group)


def _subject(order: Order | ProblemOrder) -> str:
    return line(_inert(title(order, TITLE_CHARS)), TITLE_CHARS)


def _inert(text: str) -> str:
    return _PLACEHOLDER.sub("{ ", text)


def _text(*parts: str) -> str:
    return "\n\n".join(part for part in (part.strip() for part in parts) if part)


def _comment(text: str, order_id: str) -> str:
    return html(with_marker(plain(_inert(text), _TEXT_CHARS), order_id, _TEXT_CHARS), _HTML_CHARS)


def _said(comment: Record) -> str:
    return str(comment.get("plain_body") or comment.get("body") or "")


# ---- what people did ------------------------------------------------------------------------------------------------


class _Event(Struct, frozen=True):
    """One thing that somebody else than us did to a ticket. audit: its id. actor: an id, below 1 for Zendesk itself."""

    at: datetime
    audit: str
    state: str
    actor: int
    comment: str = ""
    code: str = ""


class _History(Struct, frozen=True):
    """A ticket's events as its audits told them; whole until its next change where ``is_whole``."""

    stamp: int
    is_whole: bool
    events: Sequence[_Event]


class _Changes(TicketChanges[Record]):
    """Follows the export, and reads the audits of our tickets in it.

    The export's own cursor could pass over the second change of one second, so it only leads from page to page.
    """

    def __init__(self, name: str, config: ZendeskConfig, client: Zendesk) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._histories: dict[str, _History] = {}

    def updated(self, start: datetime) -> Updated[Record]:
        oldest = self._client.oldest_with(self._config.tag) if start <= moment(0) else None
        known = self._client.server_now
        if start <= moment(0) and known is not None:
            start = oldest or known - SEARCH_LAG
        if known is not None:
            start = min(start, known - EXPORT_AGE - timedelta(seconds=1))
        tickets: dict[str, Record] = {}
        now: datetime | None = None
        after, last = "", 0
        for _ in range(_MAX_PAGES):
            page = self._client.export(start, after)
            now, after = now or self._client.server_now, page.cursor
            tickets |= {str(ticket["id"]): ticket for ticket in page.tickets if self._is_ours(ticket)}
            last = max([last, *map(_generated, page.tickets)])
            if page.is_end:
                return Updated(tuple(tickets.values()), now)
        return Updated(tuple(tickets.values()), now, datetime.fromtimestamp(last, UTC))

    def _is_ours(self, ticket: Record) -> bool:
        is_ours = str(ticket.get("external_id") or "").startswith(self._config.key_prefix)
        return is_ours and ticket.get("status") != "deleted" and ticket.get("type") != "problem"

    def activities(self, records: Sequence[Record], start: datetime, horizon: datetime) -> Iterator[Activity]:
        histories = [(ticket, self._history(ticket)) for ticket in records]
        found = [(ticket, each) for ticket, events in histories for each in events if start <= each.at < horizon]
        names = self._client.people([event.actor for _, event in found])
        for ticket, event in found:
            yield Activity(
                at=event.at,
                source=event.audit,
                situation=str(ticket["external_id"]).removeprefix(self._config.key_prefix),
                number=str(ticket["id"]),
                state=event.state,
                actor=names[event.actor] if event.actor > 0 else "Zendesk",
                comment=event.comment,
                code=event.code,
            )

    def _history(self, ticket: Record) -> Sequence[_Event]:
        number, stamp, now = str(ticket["id"]), _generated(ticket), self._client.server_now
        known = self._histories.get(number)
        if known is not None and known.is_whole and known.stamp == stamp:
            return known.events
        events = self._events(number)
        if len(self._histories) >= _MAX_AUDITED:
            self._histories.clear()
        # Audits that are read in the very second of a change may lack the next change of that second.
        is_whole = now is not None and stamp + 2 < now.timestamp()
        self._histories[number] = _History(stamp, is_whole, events)
        return events

    def _events(self, number: str) -> list[_Event]:
        found: list[_Event] = []
        code_field, code = str(self._config.close_code_field), ""
        us, status, assignee = self._client.my_id, "", ""
        for place, audit in enumerate(self._client.audits(number)):
            comment, steps = "", []
            for event in audit.get("events") or ():
                value = "" if event.get("value") is None else str(event["value"])
                match event.get("type"), event.get("field_name"):
                    case "Comment", _:
                        comment = "" if is_ours(_said(event)) else plain(_said(event), _TEXT_CHARS)
                    case (("Create" | "Change"), "status"):
                        states = moved(self._phase(status), self._phase(value))
                        steps += [f"pending {_WAIT[value]}" if state == "pending" else state for state in states]
                        status = value
                    case (("Create" | "Change"), "assignee_id"):
                        if value and value not in (assignee, str(us)):
                            steps.append(f"taken {value}")
                        assignee = value
                    case (("Create" | "Change"), name) if name == code_field:
                        code = value
            author = int(audit.get("author_id") or 0)
            at = read_time(str(audit.get("created_at")))
            if place == 0 or author == us or at is None or (author < 1 and steps == [_CLOSED] and not comment):
                continue
            found += _events_of(audit, at, author, steps, comment, code)
        return found

    def _phase(self, status: str) -> Phase:
        return phase_of(status, (_SOLVED,), (_CLOSED,), self._config.waiting)


def _set_by_others(client: Zendesk, number: str) -> set[str]:
    """Names of the fields that somebody else than us set last."""
    us = client.my_id
    last: dict[str, bool] = {}
    for place, audit in enumerate(client.audits(number)):
        for event in audit.get("events") or ():
            if event.get("type") in ("Create", "Change"):
                last[str(event.get("field_name"))] = place == 0 or audit.get("author_id") == us
    return {name for name, is_ours in last.items() if not is_ours}


def _events_of(
    audit: Record, at: datetime, author: int, steps: Sequence[str], comment: str, code: str
) -> Iterator[_Event]:
    """Of one audit; its comment goes along with how the ticket ended, waits or goes on, else stands for itself."""
    carried = False
    ended = any(step in ("resolved", _CLOSED) for step in steps)
    id = str(audit["id"])
    for step in steps:
        state, _, rest = step.partition(" ")
        if state == "taken":
            if not ended:  # who solves a ticket that nobody has gets it by that
                yield _Event(at, id, state, int(rest))
            continue
        said = reason(rest, "" if carried else comment)
        yield _Event(at, id, state, author, said, code if state in ("resolved", _CLOSED) else "")
        carried = True
    if comment and not carried:
        yield _Event(at, id, "commented", author, comment)


def _generated(ticket: Record) -> int:
    stamp = ticket.get("generated_timestamp")
    return int(stamp) if isinstance(stamp, int | float) else 0


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: ZendeskConfig, client: Zendesk) -> Iterator[Finding]:
    """Only reads; ``sink test --create`` shows the rest."""
    try:
        me = client.me()
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    who, role = me.get("email") or me.get("name"), str(me.get("role") or "")
    yield Finding(subject="credentials", observed=f"{who} is known")
    enough = role in ("admin", "agent")
    yield Finding(
        subject="permissions",
        observed=f"{who} is {role or 'of no role'}",
        remedy="" if enough else f"make {who} an agent with access to all tickets",
    )
    if not enough:
        return
    yield _key_field(config, client)
    yield _export_access(config, client)
    yield from _fields(config, client)
    yield from _statuses(config, client)
    yield from Groups(client.groups).check(*config.groups.values(), config.fallback_group)


def _key_field(config: ZendeskConfig, client: Zendesk) -> Finding:
    try:
        found = client.tickets_of(f"{config.key_prefix}sink-test")
    except Denied as error:
        return Finding(subject="key field", observed=str(error), remedy="give the agent access to all tickets")
    return Finding(subject="key field", observed=f"tickets are found by external_id ({len(found)} by that of a test)")


def _export_access(config: ZendeskConfig, client: Zendesk) -> Finding:
    now = client.server_now
    if now is None:
        return Finding(
            subject="clock",
            observed=f"{client.name} does not say what time it is",
            remedy="let the Date header of its answers pass the proxy",
        )
    try:
        client.export(now - config.settle, "")
    except Denied as error:
        return Finding(
            subject="changes",
            observed=f"what people do is not read back: {error}",
            remedy="give Foreshock's agent the role admin: the incremental export is for admins only",
        )
    return Finding(subject="changes", observed="the incremental export is readable")


def _fields(config: ZendeskConfig, client: Zendesk) -> Iterator[Finding]:
    try:
        fields = {str(field["id"]): field for field in client.ticket_fields()}
    except Denied:
        yield Finding(subject="mandatory fields", observed="ticket fields are not readable: try --create")
        return
    ours = [str(id) for id in (*config.fields.values(), config.close_code_field) if id]
    for id in ours:
        if id not in fields or not fields[id].get("active", True):
            yield Finding(
                subject="custom fields",
                observed=f"there is no active ticket field {id}",
                remedy="correct its id under `fields` or close_code_field of this sink",
            )
    filled = {*ours, *config.fixed}
    wanted = [
        id
        for id, field in fields.items()
        if field.get("required") and field.get("active", True) and field.get("removable") and id not in filled
    ]
    if not wanted:
        yield Finding(subject="mandatory fields", observed="all that a ticket must have to be solved are filled")
    for id in wanted:
        yield Finding(
            subject="mandatory fields",
            observed=f"{fields[id].get('title')!r} ({id}) must be filled to solve a ticket, and is not",
            remedy=f'write it under `fixed` of this sink: fixed: {{"{id}": …}}, or make it optional there',
        )


def _statuses(config: ZendeskConfig, client: Zendesk) -> Iterator[Finding]:
    if not config.statuses:
        yield Finding(subject="state mapping", observed="solved and open are every account's own")
        return
    try:
        known = {int(status["id"]): status for status in client.custom_statuses()}
    except (Denied, Rejected) as error:
        yield Finding(
            subject="state mapping", observed=str(error), remedy="switch custom statuses on, or drop `statuses`"
        )
        return
    for category, id in config.statuses.items():
        status = known.get(id)
        right = status is not None and status.get("active", True) and status.get("status_category") == category
        seen = "is not there" if status is None else f"is of category {status.get('status_category')!r}"
        yield Finding(
            subject="state mapping",
            observed=f"custom status {id} {seen}",
            remedy="" if right else f"write the id of an active status of category {category} under `statuses`",
        )


def _build(name: str, config: ZendeskConfig, parts: SinkParts) -> TicketSink[Record]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    return TicketSink(
        _Tickets("incident", config, client, parts.console),
        _Changes(name, config, client),
        partial(_check, config, client),
        problems=_Tickets("problem", config, client, parts.console),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="zendesk",
    title="Zendesk Support tickets",
    facts="Support API v2 (OpenAPI 2.0.0), read 2026-11-22",
    config=ZendeskConfig,
    build=_build,
    index_delay_s=LIST_DELAY_S,
    problems=True,
    known_errors=True,
    hook=HOOK,
)
