"""Request Tracker: one ticket for each situation, through REST 2.

Facts:    Request Tracker 5.0.3 as Debian 12 has it, which the tests drive: REST 2, TicketSQL and TransactionSQL;
          read 2026-11-22.
Delivery: at least once, one record. A custom field carries the situation's id. RT has no unique index there, so a
          search comes before each creation, and nothing is created in a queue that lacks the field, because RT drops
          unknown fields without a word. Fields are written for the version that was read (``If-Match``), and RT refuses
          it if anybody was faster; a note is written only if its marker is not there yet, together with the status. RT
          answers 200 to a change that it did not make, so the ticket is read back: a status that was not taken is an
          error.
Changes:  read by ``LastUpdated``, a few seconds late (``settle``), from the tickets' own history: who took a ticket,
          resolved, rejected or reopened it, had it wait and go on, comments and correspondence. What ``user`` did is
          no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); a ticket that people resolved
          stays so. One that they rejected, or merged into another, is over for good: a recurrence opens a new one that
          refers to it.
Limits:   subject 200 characters; the first message never changes, so a later description comes as a comment, or in a
          custom field (``fields``).
Needs:    a privileged user of Foreshock's own with an authentication token, a few rights on the queues, and a custom
          field for the key.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Literal

from pydantic import Field

from foreshock.connect.lookup import ABSENT_S, Lookup
from foreshock.connect.markup import html, html_text, line, plain
from foreshock.connect.ticket_changes import Activity, Phase, TicketChanges, Updated, moved, phase_of, reason
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, TicketSink
from foreshock.connect.tickets import description, is_ours, marker, of_scale, title, with_marker
from foreshock.connect.vendors.request_tracker import (
    MERGED,
    RequestTracker,
    RequestTrackerAccount,
    RTEvent,
    RTQueue,
    RTText,
    RTTicket,
    connect,
    custom_field,
    quoted,
)
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
)
from foreshock.core.errors import Denied, Rejected

_TITLE_CHARS, _TEXT_CHARS, _NAME_CHARS = 200, 16_000, 200  # RT cuts a subject there without a word
_MAX_ROWS = 5000
"""Tickets that are looked at in one visit; what was updated later waits for the next."""
_IDS_A_QUERY = 50
_MAX_NAMES = 10_000
_SAME_ACT = timedelta(seconds=1)
"""A comment and a new status so close together are one act: RT's page for resolving writes both."""
_OWN_FIELDS = frozenset(
    ("Requestor", "Cc", "AdminCc", "Owner", "Due", "Starts", "SLA", "TimeEstimated", "FinalPriority", "MemberOf")
)
"""What a ticket has besides custom fields, and a person may set for new ones."""
_TALK = ("Comment", "Correspond")
_TAKING = ("Take", "Steal", "Give", "Force")  # of older releases; 5 says Set and Owner


class RequestTrackerConfig(RequestTrackerAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this RT."""

    queue: str = Field(description="queue of the tickets that have no other, by name")
    queues: dict[str, str] = Field(
        default_factory=dict, description="our group: queue of its tickets; others by the same name, where there is one"
    )
    key_field: str = Field(
        default="Foreshock Key",
        pattern=r"^[^{}'\"\\]+$",
        description="custom field (enter one value) that carries the situation's id, applied to all these queues",
    )
    key_prefix: str = Field(
        default="foreshock-",
        min_length=1,
        description="what its value begins with; two Foreshocks that share an RT need two prefixes",
    )
    priority: tuple[int, int, int, int, int] = Field(
        default=(100, 80, 50, 20, 0), description="values for priority 1 (highest) to 5"
    )
    fields: dict[Literal["description", "impact", "urgency", "severity", "ci", "services"], str] = Field(
        default_factory=dict,
        description="custom fields that carry more of an incident, by name; `description` needs a text "
        "area, which RT shows as HTML, the others one value",
    )
    impact: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for impact 1 (highest), 2 and 3")
    urgency: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for urgency 1, 2 and 3")
    resolved: str = Field(default="resolved", description="status of a ticket that is over and may be opened again")
    reopened: str = Field(default="open", description="status of one that is opened again")
    final: tuple[str, ...] = Field(
        default=("rejected",),
        description="statuses by which people end a ticket for good; a recurrence opens a new one",
    )
    waiting: tuple[str, ...] = Field(default=("stalled",), description="statuses in which a ticket waits for somebody")
    fixed: dict[str, str] = Field(
        default_factory=dict,
        description="further fields of a new ticket, such as Requestor, Cc, Owner or a custom field by its name",
    )


class _Queues:
    """The queues as our user sees them."""

    def __init__(self, config: RequestTrackerConfig, client: RequestTracker) -> None:
        self._config = config
        self._client = client
        self._seen: Lookup[RTQueue] = Lookup(found_s=ABSENT_S)  # somebody may be setting it up just now

    def default(self) -> RTQueue:
        """Raises Denied where it is not fit for our tickets: RT finds nothing by a field that it does not show, and
        would drop the key of a new ticket."""
        found = self._named(self._config.queue)
        if not self.fits(found):
            self._seen.forget()
            finding = of_queue(self._config, self._config.queue, found)
            raise Denied(f"{self._client.name}: {finding.observed}", hint=finding.remedy)
        assert found is not None
        return found

    def of_group(self, group: str) -> RTQueue:
        """An unknown group is no reason to lose a ticket."""
        name = line(self._config.queues.get(group, group), _NAME_CHARS)
        found = self._named(name) if name.strip(".") else None
        return found if found is not None and self.fits(found) else self.default()

    def fits(self, queue: RTQueue | None) -> bool:
        return queue is not None and queue.may_create and self._config.key_field in queue.fields

    def _named(self, name: str) -> RTQueue | None:
        """By name only: a group may be called 3."""
        return self._seen.of(name, lambda: self._asked(name))

    def _asked(self, name: str) -> RTQueue | None:
        found = self._client.queue(name)
        return found if found is not None and found.name.casefold() == name.casefold() else None


class _Tickets(Records[RTTicket]):
    def __init__(self, config: RequestTrackerConfig, client: RequestTracker, queues: _Queues, console: str) -> None:
        self.name = client.name
        self.key_place = f"custom field {config.key_field!r}"
        self.key_hint = f"let {config.user} see and modify {config.key_field!r}, and look whether it takes any text"
        self.state_hint = (
            "check `resolved` and `reopened` against the lifecycle of the queue, and the right ModifyTicket"
        )
        self._config = config
        self._client = client
        self._queues = queues
        self._console = console

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[RTTicket]:
        self._queues.default()  # or RT would say that there is none
        value = self._config.key_prefix + key
        rows = self._client.tickets(f"{custom_field(self._config.key_field)} = {quoted(value)}")
        ids = [row.id for row in rows if row.fields.get(self._config.key_field) == value]  # `=` is without case there
        return [ticket for id in ids if (ticket := self.get(id)) is not None]

    def get(self, id: str) -> RTTicket | None:
        return self._client.ticket(id)

    def see(self, record: RTTicket) -> Seen:
        value = record.fields.get(self._config.key_field, "")
        own = value.startswith(self._config.key_prefix)
        return Seen(
            id=record.id,
            number=record.id,
            url=f"{self._config.url}/Ticket/Display.html?id={record.id}",
            standing=self._standing(record.status),
            state=record.status,
            key=value.removeprefix(self._config.key_prefix) if own else "",
            fields={
                "Subject": record.subject,
                "Priority": record.priority,
                "Queue": record.queue,
                **{name: record.fields.get(name, "") for name in self._config.fields.values()},
            },
            kept={"version": record.version},
        )

    def _standing(self, status: str) -> Standing:
        if status == MERGED or status in self._config.final:
            return Standing.FINAL
        return Standing.ENDED if status == self._config.resolved else Standing.OPEN

    def own(self, record: RTTicket, seen: Seen) -> Collection[str]:
        """Fields that nobody else set last."""
        theirs: set[str] = set()
        for event in self._client.events([record.id], _BEFORE_RT, ("Set", "CustomField")):
            name = record.field_names.get(event.field, event.field)
            (theirs.discard if _is_us(event.actor, self._config) else theirs.add)(name)
        return [name for name in seen.fields if name not in theirs]

    def noted(self, record: RTTicket, order_id: str, kept: Mapping[str, str]) -> bool:
        if kept.get("version") == record.version:  # nothing happened since our last write: no answer was lost
            return False
        wanted = marker(order_id)
        return any(wanted in said.text for said in self._client.texts(record.id))

    # ---- writing ----

    def create(
        self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: RTTicket | None
    ) -> RTTicket | None:
        config = self._config
        fixed = {name: value for name, value in config.fixed.items() if name in _OWN_FIELDS}
        custom = {name: value for name, value in config.fixed.items() if name not in _OWN_FIELDS}
        custom |= {name: value for name, value in wanted.items() if value and name not in _TICKET}
        values = {
            **fixed,
            "Subject": title(order, _TITLE_CHARS),
            **{name: value for name, value in wanted.items() if name in _TICKET},
            "Queue": wanted.get("Queue") or self._queues.default().id,
            "Content": _text(order.id, description(order, self._console, _TEXT_CHARS // 2), order.note),
            "ContentType": "text/plain",
            "CustomFields": {**custom, config.key_field: config.key_prefix + order.key},
            **({"RefersTo": before.id} if before is not None else {}),
        }
        return self.get(self._client.create(values))

    def write(self, record: RTTicket, change: Change) -> RTTicket | None:
        """Fields, then note and status in one call: whichever answer is lost, the rest is still to be done."""
        config = self._config
        status = {Move.END: config.resolved, Move.REOPEN: config.reopened}.get(change.move, "")
        values: dict[str, object] = {name: value for name, value in change.fields.items() if name in _TICKET}
        if custom := {name: value for name, value in change.fields.items() if name not in _TICKET}:
            values["CustomFields"] = custom
        if status and not change.note:
            values["Status"] = status
        said = self._client.update(record.id, values, record.version) if values else ""
        if change.note:
            said = self._client.comment(record.id, _text(change.order.id, change.note), status)
        after = self.get(record.id)
        if after is None:
            raise Rejected(f"{self.name} does not show {record.id} after a change: somebody deleted it meanwhile")
        if status and after.status != status:
            raise Rejected(f"{self.name} left {record.id} {after.status!r}, and said: {said}", hint=self.state_hint)
        return after

    def noted_only(self, order: Order | ProblemOrder) -> str:
        return "" if "description" in self._config.fields else str(order.fields.get("description", ""))

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        config, fields = self._config, order.fields
        found: dict[str, str] = {}
        if "title" in fields:
            found["Subject"] = title(order, _TITLE_CHARS)
        if "priority" in fields:
            found["Priority"] = of_scale(tuple(map(str, config.priority)), fields["priority"])
        if "assignment_group" in fields:
            found["Queue"] = self._queues.of_group(str(fields["assignment_group"])).id
        for word, name in config.fields.items():
            if word not in fields:
                continue
            match word:
                case "impact" | "urgency":
                    found[name] = of_scale(config.impact if word == "impact" else config.urgency, fields[word])
                case "services":
                    found[name] = line(", ".join(map(str, fields[word])), _NAME_CHARS)
                case "description":
                    found[name] = html(str(fields[word]), _TEXT_CHARS)
                case _:
                    found[name] = line(str(fields[word]), _NAME_CHARS)
        return found


_TICKET = frozenset(("Subject", "Priority", "Queue"))
_BEFORE_RT = datetime(1996, 1, 1, tzinfo=UTC)


def _text(order_id: str, *parts: str) -> str:
    return with_marker(plain("\n\n".join(filter(None, parts)), _TEXT_CHARS), order_id, _TEXT_CHARS)


def _is_us(actor: str, config: RequestTrackerConfig) -> bool:
    return actor.casefold() == config.user.casefold()


# ---- what people did ------------------------------------------------------------------------------------------------


class _Changes(TicketChanges[RTTicket]):
    """Tickets by time of change, and what their history says of it."""

    def __init__(self, name: str, config: RequestTrackerConfig, client: RequestTracker, queues: _Queues) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._queues = queues
        self._names: dict[str, str] = {}

    def updated(self, start: datetime) -> Updated[RTTicket]:
        self._queues.default()
        field = custom_field(self._config.key_field)
        query = f"{field} STARTSWITH {quoted(self._config.key_prefix)} AND LastUpdated >= {self._client.since(start)}"
        rows = self._client.tickets(query, order="LastUpdated", limit=_MAX_ROWS)
        ours = [row for row in rows if self._key(row) is not None]
        return Updated(ours, self._client.listed_at, rows[-1].updated_at if len(rows) == _MAX_ROWS else None)

    def _key(self, ticket: RTTicket) -> str | None:
        value = ticket.fields.get(self._config.key_field, "")
        prefix = self._config.key_prefix
        return value.removeprefix(prefix) if value.startswith(prefix) else None

    def activities(self, records: Sequence[RTTicket], start: datetime, horizon: datetime) -> Iterator[Activity]:
        by_id = {record.id: record for record in records}
        ids = list(by_id)
        for first in range(0, len(ids), _IDS_A_QUERY):
            found = self._client.events(ids[first : first + _IDS_A_QUERY], start, ("Status", "Set", *_TAKING, *_TALK))
            theirs = [event for event in found if not _is_us(event.actor, self._config)]
            for id, events in groupby(sorted(theirs, key=lambda event: event.ticket), key=lambda event: event.ticket):
                yield from self._of_ticket(by_id[id], list(events))

    def _of_ticket(self, ticket: RTTicket, events: Sequence[RTEvent]) -> Iterator[Activity]:
        said = self._said(ticket.id, events)
        carried: RTEvent | None = None
        for place, event in enumerate(events):
            if event.type in _TALK:
                after = events[place + 1] if place + 1 < len(events) else None
                if after is not None and self._states(after) and _one_act(event, after):
                    carried = event
                elif text := said.get(event.id, ""):
                    yield self._activity(ticket, event, "commented", event.actor, text)
                continue
            if event.field == "Owner" or event.type in _TAKING:
                owner = self._user(event.new)
                if owner.casefold() not in ("nobody", self._config.user.casefold()):
                    yield self._activity(ticket, event, "taken", owner)
            for state in self._states(event):
                comment = said.get(carried.id, "") if carried is not None else ""
                code = event.new if state in ("resolved", "closed") else ""
                why = reason(event.new, comment) if state == "pending" else comment
                yield self._activity(ticket, event, state, event.actor, why, code)
            carried = None

    def _states(self, event: RTEvent) -> tuple[str, ...]:
        """What a change of status means."""
        return moved(self._phase(event.old), self._phase(event.new)) if event.type == "Status" else ()

    def _phase(self, status: str) -> Phase:
        return phase_of(status, (self._config.resolved,), self._config.final, self._config.waiting)

    def _activity(
        self, ticket: RTTicket, event: RTEvent, state: str, actor: str, comment: str = "", code: str = ""
    ) -> Activity:
        return Activity(
            at=event.at,
            source=ticket.id,
            situation=self._key(ticket) or "",
            number=ticket.id,
            state=state,
            actor=actor,
            comment=comment,
            code=code,
        )

    def _said(self, id: str, events: Sequence[RTEvent]) -> dict[str, str]:
        """What each of the events said, as text; of mails that came as text and as HTML the text."""
        if not any(event.type in _TALK for event in events):
            return {}
        found: dict[str, str] = {}
        for said in sorted(self._client.texts(id), key=lambda said: said.type == "text/html"):
            if not is_ours(said.text):
                found.setdefault(said.event, plain(_readable(said), _TEXT_CHARS))
        return found

    def _user(self, id: str) -> str:
        if id not in self._names:
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            self._names[id] = str(self._client.user(id).get("Name") or id)
        return self._names[id]


def _one_act(comment: RTEvent, status: RTEvent) -> bool:
    return comment.actor == status.actor and status.at - comment.at <= _SAME_ACT


def _readable(said: RTText) -> str:
    return html_text(said.text) if said.type == "text/html" else said.text


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: RequestTrackerConfig, client: RequestTracker) -> Iterator[Finding]:
    """Only reads; ``sink test --create`` shows the rest."""
    try:
        version = client.version()
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield Finding(subject="credentials", observed=f"RT {version} takes them")
    yield _who(config, client)
    yield from _queue_findings(config, client)
    yield _rights(config, client)


def _who(config: RequestTrackerConfig, client: RequestTracker) -> Finding:
    """RT has no call that tells who we are, but shows nobody else's ``Created`` to a user who is no administrator."""
    user = client.user(config.user)
    if not user:
        return Finding(
            subject="user",
            observed=f"there is no user {config.user!r}",
            remedy="write as `user` the name of the user that the token or password belongs to",
        )
    if "Created" not in user:
        return Finding(
            subject="user",
            observed=f"the token or password is not that of {config.user!r}, so our own writes would be read as news",
            remedy=f"make a token of {config.user}, or correct `user`",
        )
    privileged = str(user.get("Privileged")) == "1"
    return Finding(
        subject="user",
        observed=f"{config.user} is {'' if privileged else 'not '}privileged",
        remedy="" if privileged else f"tick `Let this user be granted rights` of {config.user}",
    )


def _queue_findings(config: RequestTrackerConfig, client: RequestTracker) -> Iterator[Finding]:
    for name in dict.fromkeys((config.queue, *config.queues.values())):
        found = client.queue(name)
        yield of_queue(config, name, found)
        missing = [field for field in config.fields.values() if found is not None and field not in found.fields]
        if missing:
            yield Finding(
                subject=f"fields of queue {name!r}",
                observed=f"it has no custom field {', '.join(map(repr, missing))} that {config.user} may see",
                remedy="apply it to the queue, grant SeeCustomField and ModifyCustomField, or drop it from `fields`",
            )


def of_queue(config: RequestTrackerConfig, name: str, queue: RTQueue | None) -> Finding:
    subject = f"queue {name!r}"
    if queue is None:
        return Finding(
            subject=subject,
            observed=f"there is no queue {name!r} that {config.user} may see",
            remedy=f"create it, or grant {config.user} SeeQueue on it",
        )
    if not queue.may_create:
        return Finding(
            subject=subject,
            observed=f"{config.user} may not create tickets in queue {name!r}",
            remedy=f"grant {config.user} CreateTicket on it",
        )
    if config.key_field not in queue.fields:
        return Finding(
            subject="key field",
            observed=f"queue {name!r} has no custom field {config.key_field!r} that {config.user} may see",
            remedy=f"create it for tickets (enter one value), apply it to the queue, and grant {config.user} "
            "SeeCustomField and ModifyCustomField on it",
        )
    return Finding(
        subject="key field", observed=f"tickets of queue {name!r} have {config.key_field!r}, and may be created"
    )


def _rights(config: RequestTrackerConfig, client: RequestTracker) -> Finding:
    """RT tells what our user may do only of a ticket."""
    query = f"{custom_field(config.key_field)} STARTSWITH {quoted(config.key_prefix)}"
    rows = client.tickets(query, limit=1)
    ticket = client.ticket(rows[0].id) if rows else None
    if ticket is None:
        return Finding(
            subject="permissions", observed="told of a ticket only, and there is none of ours yet: try --create"
        )
    if "comment" not in ticket.links:
        return Finding(
            subject="permissions",
            observed=f"{config.user} may not comment on {ticket.id}",
            remedy=f"grant {config.user} CommentOnTicket and ShowTicketComments on the queues",
        )
    return Finding(subject="permissions", observed=f"{config.user} may comment on {ticket.id}")


def _build(name: str, config: RequestTrackerConfig, parts: SinkParts) -> TicketSink[RTTicket]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    queues = _Queues(config, client)
    return TicketSink(
        _Tickets(config, client, queues, parts.console),
        _Changes(name, config, client, queues),
        partial(_check, config, client),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="request_tracker",
    title="Request Tracker tickets",
    facts="REST 2 of Request Tracker 5.0.3 (Debian 12), read 2026-11-22",
    config=RequestTrackerConfig,
    build=_build,
)
