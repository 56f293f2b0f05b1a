"""Zendesk Support: one ticket of type incident for each situation.

Facts:    developer.zendesk.com (2026): Tickets, Ticket audits, Incremental exports, idempotency, safe updates;
          support.zendesk.com "About native system ticket rules"; read 2026-11-22.
Delivery: at least once, one record. ``external_id`` carries the situation's id, and each creation an Idempotency-Key
          that Zendesk honours for two hours; a search by external id comes first all the same. Fields, note and status
          go in one call that Zendesk refuses if anybody was faster (``safe_update``); a note is written only if its
          marker is not there yet. The answer is read back: a status that was not taken is an error.
Changes:  from the incremental export, a minute and a half late (``settle``), and from each ticket's own audits: who
          took it, solved, closed or reopened it, and comments. What our agent did is no news.
Owner:    a field that a person changed stays theirs (``owned`` names exceptions); a ticket that people solved stays
          solved. A closed ticket cannot be changed: a recurrence opens a follow-up of it.
Limits:   subject 150 and comments 8000 characters; the description is the first comment and never changes, so a later
          one comes as a note, or in a field of its own (``fields``); 10 to 2500 requests a minute, by plan; 30 updates
          of one ticket in ten minutes.
Needs:    an agent of Foreshock's own, role admin (incremental export), with an API token or an OAuth token.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from pydantic import Field

from foreshock.connect.markup import html, line, plain
from foreshock.connect.tickets import (
    digest,
    due,
    is_ours,
    kept_after,
    marker,
    moment,
    sequence,
    settled,
    with_marker,
)
from foreshock.connect.vendors.zendesk import KeyUsed, Record, Zendesk, ZendeskAccount, connect, read_time
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

TITLE_CHARS = 150
"""Of a subject. UNVERIFIED: the reference names no limit, forms cut there."""
LIST_DELAY_S = 120.0
"""How late ``GET /tickets?external_id=`` may show a new ticket. UNVERIFIED: the reference states a lag of minutes for
searches and none for this list."""
EXPORT_AGE = timedelta(seconds=60)
"""How old the start of an incremental export must be at least (Incremental exports)."""
_TEXT_CHARS = 8000
_HTML_CHARS = 60_000  # a comment holds 64 KiB; escaping makes six characters of one at most
_NAME_CHARS = 100
_MAX_PAGES = 8  # of the export in one visit; ten a minute are allowed
_MAX_AUDITED = 20_000
_OURS = ("subject", "priority", "group_id")
_SOLVED, _CLOSED = "solved", "closed"
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
    solver: int = Field(
        default=0,
        description="id of the agent who gets a ticket that nobody has when it is solved, which needs an assignee; 0 "
        "is Foreshock's own",
    )
    close_code_field: int = Field(
        default=0, description="id of the custom field in which people say how a ticket ended; 0 for none"
    )
    public: bool = Field(default=False, description="whether the requester sees what Foreshock writes")
    fixed: dict[str, str] = Field(
        default_factory=dict,
        description="further fields of a new ticket, such as requester_id, brand_id, ticket_form_id, or the id of a "
        "custom field and its value",
    )
    owned: tuple[str, ...] = Field(
        default=(),
        description="fields (subject, priority, group_id) that Foreshock keeps writing although a person changed them",
    )
    settle: Duration = Field(
        default=timedelta(seconds=90),
        ge=timedelta(seconds=70),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, because the export begins a minute ago",
    )


class ZendeskSink:
    """One Zendesk as delivery sees it."""

    def __init__(self, name: str, config: ZendeskConfig, client: Zendesk, console: str) -> None:
        self._config = config
        self._client = client
        self._console = console
        self._reader = _Reader(name, config, client)
        self._groups: dict[str, str] = {}

    # ---- finding ----

    def find(self, key: str) -> Receipt | None:
        ticket = self._by_key(key)
        return None if ticket is None else self._receipt(ticket, {})

    def _by_key(self, key: str) -> Record | None:
        """The ticket with our key: the oldest that is not closed, else the newest."""
        tickets = self._client.tickets_of(self._config.key_prefix + key)
        live = [ticket for ticket in tickets if ticket.get("status") not in (_CLOSED, "deleted")]
        return live[0] if live else tickets[-1] if tickets else None

    def _ticket(self, key: str, receipt: Receipt | None) -> Record | None:
        number = receipt.number if receipt is not None and receipt.number.isdigit() else ""
        found = self._client.ticket(number) if number else self._by_key(key)
        return None if found is None or found.get("status") == "deleted" else found

    # ---- writing ----

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        found = self._ticket(order.key, ticket)
        if found is None:
            return self._create(order, {}) if order.verb is Verb.OPEN else self._gone(order, ticket)
        if found["status"] == _CLOSED:
            return self._follow_up(order, found, ticket)
        kept = self._kept(found, ticket)
        wanted = self._wanted(order)
        if order.verb is Verb.OPEN:
            return self._receipt(found, _remember(kept, wanted, (), found))
        write = self._changes(order, wanted, found, kept)
        fields = [name for name in write if name in wanted]
        ended = found["status"] == _SOLVED and "status" not in write
        note = "" if ended else self._note(order, found, kept)
        if note:
            write["comment"] = note
        after = self._client.update(str(found["id"]), self._body(write), found["updated_at"]) if write else found
        self._verify(after, write)
        return self._receipt(after, _remember(kept, wanted, fields, after) | self._noted(order, note, ended, kept))

    def _changes(
        self, order: Order, wanted: Mapping[str, str], ticket: Record, kept: Mapping[str, str]
    ) -> dict[str, Any]:
        """What the order has to change of a ticket that is not closed; empty where a person solved it."""
        ended = ticket["status"] == _SOLVED
        if ended and order.verb is not Verb.REOPEN:
            return {}
        write: dict[str, Any] = due(wanted, _present(ticket), kept, self._config.owned)
        if order.verb is Verb.RESOLVE:
            write["status"] = _SOLVED
            if not ticket.get("assignee_id"):
                write["assignee_id"] = self._config.solver or self._client.my_id
        elif ended:
            write["status"] = "open"
        return write

    def _note(self, order: Order, ticket: Record, kept: Mapping[str, str]) -> str:
        """The comment of an order, or nothing if it is there already: its answer was lost."""
        text = _text(order.note, self._description(order, kept))
        if not text or kept.get("note") == order.id or self._has_note(ticket, order.id):
            return ""
        return _comment(text, order.id)

    def _description(self, order: Order, kept: Mapping[str, str]) -> str:
        """What the incident is now, where that changed and no field of the ticket carries it."""
        if "description" not in order.fields or "description" in self._config.fields:
            return ""
        text = str(order.fields["description"])
        return "" if kept.get("description") == digest(text) else text

    def _noted(self, order: Order, note: str, ended: bool, kept: Mapping[str, str]) -> dict[str, str]:
        found = {"note": order.id} if note else {}
        if "description" in order.fields and not ended:
            found["description"] = digest(str(order.fields["description"]))
        return found

    def _has_note(self, ticket: Record, order_id: str) -> bool:
        """Always asked: times there are whole seconds, so an unchanged ``updated_at`` would prove nothing."""
        wanted = marker(order_id)
        return any(wanted in _said(comment) for comment in self._client.comments(str(ticket["id"])))

    def _create(self, order: Order | ProblemOrder, more: Record, type: str = "incident") -> Receipt:
        wanted = self._wanted(order)
        page = f"{self._console}{order.url}" if isinstance(order, Order) and order.url else ""
        text = _text(str(order.fields.get("description", "")), order.note, page) or wanted["subject"]
        values: dict[str, Any] = {
            **self._body({**self._config.fixed, **{name: value for name, value in wanted.items() if value}}),
            "type": type,
            "external_id": self._config.key_prefix + order.key,
            "tags": [self._config.tag],
            "comment": {"html_body": _comment(text, order.id), "public": self._config.public},
            **more,
        }
        try:
            made = self._client.create(values, self._config.key_prefix + order.id)
        except KeyUsed as error:
            found = self._by_key(order.key)
            if found is None or (more.get("via_followup_source_id") and found["status"] == _CLOSED):
                raise Unavailable(f"{error}, and a search does not show the ticket yet", retry_after_s=60) from None
            made = found
        if made.get("external_id") != values["external_id"]:
            raise Rejected(
                f"{self._client.name} created {made['id']} without our key: external_id is {made.get('external_id')!r}",
                hint=f"look which trigger or app changes external_id, and close {made['id']} by hand",
            )
        kept = _remember({}, wanted, wanted, made) | {"note": order.id}
        if "description" in order.fields:
            kept["description"] = digest(str(order.fields["description"]))
        return self._receipt(made, kept)

    def _gone(self, order: Order, ticket: Receipt | None) -> Receipt:
        """Somebody deleted the ticket: what happens again gets a new one, there is nothing to change otherwise."""
        if order.verb is Verb.REOPEN:
            found = self._by_key(order.key)
            return self._create(order, {}) if found is None else self._receipt(found, {})
        number = ticket.number if ticket is not None else "the ticket"
        raise Rejected(
            f"{self._client.name} has no {number} of {order.key} any more (deleted, or hidden from this agent)",
            hint="if it was hidden, let the agent see all tickets and retry the dead letter",
        )

    def _follow_up(self, order: Order, closed: Record, ticket: Receipt | None) -> Receipt:
        """The ticket is closed, which nobody can undo: a recurrence is a follow-up of it."""
        if order.verb is not Verb.REOPEN:
            return self._receipt(closed, ticket.kept if ticket is not None else {})
        found = self._by_key(order.key)
        if found is not None and found["status"] != _CLOSED:
            return self._receipt(found, {})
        return self._create(order, {"via_followup_source_id": int(closed["id"])})

    def _verify(self, after: Record, write: Mapping[str, Any]) -> None:
        asked = write.get("status")
        if asked is not None and after["status"] != asked:
            raise Rejected(
                f"{self._client.name} left {after['id']} {after['status']!r} where {asked!r} was written",
                hint="look there which trigger changes the status, and check `statuses`",
            )

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

    # ---- what is kept ----

    def _receipt(self, ticket: Record, kept: Mapping[str, str]) -> Receipt:
        number = str(ticket["id"])
        return Receipt(number=number, url=f"{self._config.url}/agent/tickets/{number}", kept=dict(kept))

    def _kept(self, ticket: Record, receipt: Receipt | None) -> dict[str, str]:
        """``Receipt.kept``; without a memory what the audits say: a field that nobody else set is ours."""
        kept = dict(receipt.kept) if receipt is not None else {}
        if "subject" in kept:
            return kept
        theirs = self._reader.set_by_others(str(ticket["id"]))
        present = _present(ticket)
        ours = [name for name in (*_OURS, *map(str, self._config.fields.values())) if name not in theirs]
        return {**{name: digest(present.get(name, "")) for name in ours}, **kept}

    # ---- our words in theirs ----

    def _wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as a ticket shows them, custom fields by id; only those that the order has."""
        fields, config = order.fields, self._config
        found: dict[str, str] = {}
        if "title" in fields or not isinstance(order, Order) or order.verb is Verb.OPEN:
            found["subject"] = line(_inert(str(fields.get("title", ""))), TITLE_CHARS) or "Incident without a title"
        if "priority" in fields:
            found["priority"] = config.priority[min(5, max(1, int(fields["priority"]))) - 1]
        if "assignment_group" in fields and (group := self._group(str(fields["assignment_group"]))):
            found["group_id"] = group
        scales = {"impact": config.impact, "urgency": config.urgency}
        for name, id in config.fields.items():
            if name not in fields:
                continue
            value = fields[name]
            if name in scales:
                found[str(id)] = scales[name][min(3, max(1, int(value))) - 1]
            else:
                text = ", ".join(map(str, value)) if name == "services" else str(value)
                found[str(id)] = plain(_inert(text), _TEXT_CHARS)
        return found

    def _group(self, name: str) -> str:
        """Id of the group, of the fall-back, or nothing: an unknown group is no reason to lose an incident."""
        return self._id_of_group(self._config.groups.get(name, name)) or self._id_of_group(self._config.fallback_group)

    def _id_of_group(self, name: str) -> str:
        """Id of the one group of this name; an id stands for itself."""
        name = line(name, _NAME_CHARS)
        if not name or re.fullmatch("[0-9]{1,18}", name):
            return name
        if name not in self._groups:
            try:
                groups = self._client.groups()
            except Denied:
                return ""
            named: dict[str, list[str]] = {}
            for group in groups:
                named.setdefault(str(group.get("name")), []).append(str(group["id"]))
            self._groups = {each: ids[0] for each, ids in named.items() if len(ids) == 1}
        return self._groups.get(name, "")

    # ---- what people did ----

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        return self._reader.changes(cursor)

    # ---- problems ----

    def find_problem(self, key: str) -> Receipt | None:
        return self.find(key)

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        """Opens, annotates and links. Its status stays with people: solving a problem solves its incidents there."""
        found = self._ticket(order.key, problem)
        if found is None:
            receipt = self._create(order, {}, "problem")
        elif found["status"] == _CLOSED:
            receipt = self._create(order, {"via_followup_source_id": int(found["id"])}, "problem")
        else:
            kept, wanted = self._kept(found, problem), self._wanted(order)
            write: dict[str, Any] = due(wanted, _present(found), kept, self._config.owned)
            fields = tuple(write)
            if order.note and not self._has_note(found, order.id):
                write["comment"] = _comment(order.note, order.id)
            after = self._client.update(str(found["id"]), self._body(write), found["updated_at"]) if write else found
            receipt = self._receipt(after, _remember(kept, wanted, fields, after))
        self._link(receipt.number, order.incidents)
        return receipt

    def _link(self, problem: str, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays; a closed one cannot be linked."""
        numbers = [ticket.number for ticket in incidents if ticket.number.isdigit()]
        for first in range(0, len(numbers), 100):
            for ticket in self._client.tickets(numbers[first : first + 100]):
                if ticket["status"] not in (_CLOSED, "deleted") and not ticket.get("problem_id"):
                    self._client.update(str(ticket["id"]), {"problem_id": int(problem)}, ticket["updated_at"])

    # ---- is it set up ----

    def check(self) -> Sequence[Finding]:
        return list(_check(self._config, self._client))


def _inert(text: str) -> str:
    return _PLACEHOLDER.sub("{ ", text)


def _text(*parts: str) -> str:
    return "\n\n".join(part for part in (part.strip() for part in parts) if part)


def _comment(text: str, order_id: str) -> str:
    return html(with_marker(plain(_inert(text), _TEXT_CHARS), order_id, _TEXT_CHARS), _HTML_CHARS)


def _said(comment: Record) -> str:
    return str(comment.get("plain_body") or comment.get("body") or "")


def _present(ticket: Record) -> dict[str, str]:
    """A ticket's fields as text, custom fields by id; nothing is the empty text."""
    custom = {str(field.get("id")): field.get("value") for field in ticket.get("custom_fields") or ()}
    return {name: "" if value is None else str(value) for name, value in {**ticket, **custom}.items()}


def _remember(
    kept: Mapping[str, str], wanted: Mapping[str, str], written: Collection[str], ticket: Record
) -> dict[str, str]:
    return kept_after(wanted, written, _present(ticket), kept)


# ---- what people did ------------------------------------------------------------------------------------------------


class _Event(Struct, frozen=True):
    """One thing that somebody else than us did to a ticket. actor: an id, below 1 for Zendesk itself."""

    sequence: int
    at: datetime
    state: str
    actor: int
    comment: str = ""
    code: str = ""


class _History(Struct, frozen=True):
    """A ticket's events as its audits told them; whole until its next change where ``is_whole``."""

    stamp: int
    is_whole: bool
    events: Sequence[_Event]


class _Reader:
    """Follows the export, reads the audits of our tickets in it, and tells what people did.

    Each visit begins where the last one's changes were complete, and after a restart at the last change that was told:
    the export's own cursor could pass over the second change of one second, so it only leads from page to page. A
    change is numbered from its audit alone, so nothing depends on what is remembered here.
    """

    def __init__(self, name: str, config: ZendeskConfig, client: Zendesk) -> None:
        self._name = name
        self._config = config
        self._client = client
        self._from = 0
        self._start: datetime | None = None
        self._after = ""
        self._tickets: dict[str, Record] = {}
        self._histories: dict[str, _History] = {}

    def changes(self, cursor: int) -> list[TicketChange]:
        """Of all that happened since ``cursor`` and lies before ``settled``, oldest first."""
        if cursor < self._from:
            self._start, self._after, self._tickets = None, "", {}
        self._from = cursor
        if not self._follow(cursor):
            return []
        if self._client.server_now is None:
            raise Unavailable(f"{self._client.name} does not say what time it is (no Date header)")
        now = self._client.server_now
        horizon = settled(now, self._config.settle)
        found: list[tuple[Record, _Event]] = []
        for number, ticket in list(self._tickets.items()):
            history = self._history(number, ticket, now)
            news = [event for event in history.events if event.sequence > cursor]
            if not news and history.is_whole and _generated(ticket) < horizon.timestamp():
                del self._tickets[number]  # until the export shows it again
            found += [(ticket, event) for event in news if event.at < horizon]
        self._start = horizon
        return self._told(sorted(found, key=lambda each: each[1].sequence))

    def _follow(self, cursor: int) -> bool:
        """Read on in the export; whether its end was reached, before which nothing is complete."""
        if self._start is None:
            self._start = moment(cursor) if cursor else self._client.oldest_with(self._config.tag)
        if self._start is None:
            return False
        start, now = self._start, self._client.server_now
        if now is not None:
            start = min(start, now - EXPORT_AGE - timedelta(seconds=1))
        for _ in range(_MAX_PAGES):
            page = self._client.export(start, self._after)
            for ticket in page.tickets:
                if str(ticket.get("external_id") or "").startswith(self._config.key_prefix):
                    self._keep(ticket)
            self._after = "" if page.is_end else page.cursor
            if page.is_end:
                return True
        return False

    def _keep(self, ticket: Record) -> None:
        number = str(ticket["id"])
        self._tickets.pop(number, None)
        if ticket.get("status") != "deleted" and ticket.get("type") != "problem":
            self._tickets[number] = ticket

    def _history(self, number: str, ticket: Record, now: datetime) -> _History:
        stamp = _generated(ticket)
        known = self._histories.get(number)
        if known is not None and known.is_whole and known.stamp == stamp:
            return known
        events = self._events(number)
        if len(self._histories) >= _MAX_AUDITED:
            self._histories.clear()
        # Audits that are read in the very second of a change may lack the next change of that second.
        history = _History(stamp, stamp + 2 < now.timestamp(), events)
        self._histories[number] = history
        return history

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
                        steps += [step] if (step := _step(status, value)) else []
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

    def _told(self, found: Sequence[tuple[Record, _Event]]) -> list[TicketChange]:
        names = self._client.people([event.actor for _, event in found])
        return [
            TicketChange(
                sink=self._name,
                situation=str(ticket["external_id"]).removeprefix(self._config.key_prefix),
                sequence=event.sequence,
                state=event.state,
                number=str(ticket["id"]),
                actor=names[event.actor] if event.actor > 0 else "Zendesk",
                comment=event.comment,
                code=event.code,
            )
            for ticket, event in found
        ]

    def set_by_others(self, number: str) -> set[str]:
        """Names of the fields that somebody else than us set last."""
        us = self._client.my_id
        last: dict[str, bool] = {}
        for place, audit in enumerate(self._client.audits(number)):
            for event in audit.get("events") or ():
                if event.get("type") in ("Create", "Change"):
                    last[str(event.get("field_name"))] = place == 0 or audit.get("author_id") == us
        return {name for name, is_ours in last.items() if not is_ours}


def _step(before: str, after: str) -> str:
    """What a change of status means."""
    if after in (_SOLVED, _CLOSED):
        return "resolved" if after == _SOLVED else _CLOSED
    return "reopened" if before in (_SOLVED, _CLOSED) else ""


def _events_of(
    audit: Record, at: datetime, author: int, steps: Sequence[str], comment: str, code: str
) -> Iterator[_Event]:
    """Of one audit; its comment goes along with how the ticket ended or began again, else stands for itself."""
    carried = False
    ended = any(step in ("resolved", _CLOSED) for step in steps)
    for place, step in enumerate(steps):
        state, _, assignee = step.partition(" ")
        number = sequence(at, str(audit["id"]), place)
        if state == "taken":
            if not ended:  # who solves a ticket that nobody has gets it by that
                yield _Event(number, at, state, int(assignee))
            continue
        yield _Event(number, at, state, author, "" if carried else comment, "" if state == "reopened" else code)
        carried = True
    if comment and not carried:
        yield _Event(sequence(at, str(audit["id"]), len(steps)), at, "commented", author, comment)


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
    yield from _group_names(config, client)


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


def _group_names(config: ZendeskConfig, client: Zendesk) -> Iterator[Finding]:
    names = [name for name in dict.fromkeys((*config.groups.values(), config.fallback_group)) if name]
    if not names:
        return
    try:
        groups = client.groups()
    except Denied as error:
        yield Finding(subject="groups", observed=str(error), remedy="let the agent see the groups")
        return
    for name in names:
        count = sum(name in (str(group["id"]), group.get("name")) for group in groups)
        yield Finding(
            subject="groups",
            observed=f"{name!r} is there" if count == 1 else f"{count} groups are called {name!r}",
            remedy="" if count == 1 else "write its id, or correct the name",
        )


def _build(name: str, config: ZendeskConfig, parts: SinkParts) -> ZendeskSink:
    return ZendeskSink(name, config, connect(config, name, f"sinks.{name}", parts.http), parts.console)


SINK = SinkKind(
    kind="zendesk",
    title="Zendesk Support tickets",
    facts="Support API v2 (OpenAPI 2.0.0), read 2026-11-22",
    config=ZendeskConfig,
    build=_build,
    index_delay_s=LIST_DELAY_S,
    problems=True,
)
