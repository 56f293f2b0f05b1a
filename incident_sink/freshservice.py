"""Freshservice: one ticket of type Incident for each situation, and a problem for each problem.

Facts:    api.freshservice.com, API v2: tickets, filters, conversations, activities, problems, rate limits, as open
          clients of 2026 quote it; read 2026-11-22.
Delivery: at least once, one record. A custom field carries the situation's id; Freshservice has no idempotency key and
          its search lags by minutes, so a search *and* a look at all that was changed lately come before each creation.
          The note that opens a ticket stands in its description, so that one call makes all of it; later ones are
          written only if their marker is not there yet. Answers are read back: a status not taken is an error.
Changes:  read by time of change, and from each ticket's own activities and notes, a minute late (``settle``): who took
          it, resolved, closed or opened it again, with the close code, had it wait and go on, and comments. What our
          agent did is no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); a ticket that people ended stays
          ended. Where a status cannot be left (``final``, or a rule there), a recurrence is a new ticket that names it.
Problems: opened, noted and linked; that people closed one, or marked it as a known error and wrote down its cause, is
          read back.
Limits:   subject 255 and notes 8000 characters; 100 to 500 requests a minute for the whole account, by plan; each
          change of a ticket, ours too, costs two to four requests when it is read. Problems cannot be searched: their
          key is the last line of the description, and all of them are listed to find it.
Needs:    an agent of Foreshock's own with its API key, who may see and edit all tickets and problems and view agents; a
          single-line text field on the ticket form.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Self

from msgspec import Struct
from pydantic import Field, model_validator

from foreshock.connect.lookup import ABSENT_S, Groups
from foreshock.connect.markup import html, html_text, line, plain
from foreshock.connect.ticket_changes import Activity, Phase, TicketChanges, Updated, moved, phase_of, reason
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, Stuck, TicketSink
from foreshock.connect.tickets import description, is_ours, marker, moment, of_scale, read_time, title, with_marker
from foreshock.connect.vendors.freshservice import (
    Changed,
    Freshservice,
    FreshserviceAccount,
    Record,
    Refused,
    connect,
    custom,
)
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    Receipt,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
    Verb,
)
from foreshock.core.errors import Denied, Invalid, Missing, Rejected, Unavailable
from foreshock.core.quantities import Duration

TITLE_CHARS = 255
SEARCH_LAG = timedelta(minutes=10)
"""How late a search may show a ticket: so far back is looked by time of change. UNVERIFIED: "minutes"."""
LIST_DELAY_S = 15.0
"""How late ``GET /tickets?updated_since=`` may show a change. UNVERIFIED: nothing is promised."""
SYSTEM = "System"
"""Whom activities name where nobody did it. UNVERIFIED: seen in an example of an open client."""
NOBODY = ("", "none", "--", "-")
"""What activities call no agent at all. UNVERIFIED."""
TITLE_TOLD = "Subject"
"""The word with which activities tell a title. UNVERIFIED that they do."""
STATUSES = {"open": 2, "pending": 3, "resolved": 4, "closed": 5}
"""Every account's own; further ones are read from the ticket form."""
_OPEN, _PENDING, _RESOLVED, _CLOSED = 2, 3, 4, 5
_PROBLEM_OPEN, _PROBLEM_CLOSED = 1, 3
_TEXT_CHARS = 8000
_HTML_CHARS = 60_000
_NAME_CHARS = 255
_MAX_ROWS = 1000  # of the list in one visit; the rest waits for the next
_MAX_RECENT = 10_000
_FIRST = timedelta(days=30)
"""So far back the very first reading begins: before it nobody can have touched a ticket that we have not seen."""
_OURS = ("subject", "description", "priority", "impact", "urgency", "group_id")
_RULE = "\u2014\u2014\u2014"
"""Between what an incident is and what opened it, in the description."""
_NUMBERS = ("status", "priority", "impact", "urgency", "group_id")
_PROBLEM_KEY = re.compile(r"\[foreshock problem ([^\]]+)\](?!.*\[foreshock problem )")
_BUILT_IN = frozenset(
    {
        *("requester_id", "email", "phone", "name", "responder_id", "group_id", "department_id", "source", "due_by"),
        *(
            "category",
            "sub_category",
            "item_category",
            "resolution_notes",
            "cc_emails",
            "priority",
            "impact",
            "urgency",
        ),
        *("fr_due_by", "change_initiating_ticket"),
    }
)


class FreshserviceConfig(FreshserviceAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this Freshservice."""

    key_field: str = Field(
        default="foreshock_key",
        pattern=r"^[a-z0-9_]{1,100}$",
        description="name of the custom field, single-line text, that carries the situation's id",
    )
    key_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,40}$",
        description="what its value begins with; two Foreshocks that share an account need two prefixes",
    )
    requester: str = Field(
        default="", description="e-mail address of the requester of new tickets; Foreshock's own agent if empty"
    )
    tag: str = Field(default="foreshock", description="tag of new tickets; empty for none")
    priority: tuple[int, int, int, int, int] = Field(
        default=(4, 3, 2, 1, 1), description="values for priority 1 (highest) to 5"
    )
    matrix: bool = Field(
        default=False,
        description="whether the account itself computes the priority from impact and urgency; then it is not written",
    )
    impact: tuple[int, int, int] = Field(default=(3, 2, 1), description="values for impact 1 (highest), 2 and 3")
    urgency: tuple[int, int, int] = Field(default=(3, 2, 1), description="values for urgency 1, 2 and 3")
    groups: dict[str, str] = Field(
        default_factory=dict, description="our group: name or id of the group there; others by the same name"
    )
    fallback_group: str = Field(default="", description="name or id of the group for all that have none there")
    assets: bool = Field(
        default=False, description="whether a new ticket is linked to the asset that is called as the CI"
    )
    fields: dict[Literal["ci", "services", "severity"], str] = Field(
        default_factory=dict, description="names of custom text fields that carry more of an incident"
    )
    resolved: int = Field(default=_RESOLVED, description="id of the status of a ticket whose condition is over")
    reopened: int = Field(default=_OPEN, description="id of the status of a ticket that begins again")
    over: tuple[int, ...] = Field(
        default=(_RESOLVED, _CLOSED), description="ids of all statuses in which a ticket is over, custom ones too"
    )
    final: tuple[int, ...] = Field(
        default=(), description="ids of those that are never left: a recurrence opens a new ticket"
    )
    waiting: tuple[int, ...] = Field(
        default=(_PENDING,), description="ids of the statuses in which a ticket waits for somebody, custom ones too"
    )
    close_code_field: str = Field(
        default="", description="name of the custom field in which people say how a ticket ended; empty for none"
    )
    public: bool = Field(default=False, description="whether the requester sees Foreshock's notes")
    fixed: dict[str, Any] = Field(
        default_factory=dict,
        description="further fields of a new ticket, such as source, category, department_id, or the name of a custom "
        "field and its value",
    )
    resolve_with: dict[str, Any] = Field(
        default_factory=dict, description="fields that are written when a ticket is resolved, where the form wants them"
    )
    problem_due: Duration = Field(
        default=timedelta(days=30), ge=timedelta(hours=1), description="when a new problem is due; it must have a date"
    )
    said_status: str = Field(
        default="set Status as", min_length=1, description="how activities tell a status, in the account's language"
    )
    said_agent: str = Field(
        default="set Agent as", min_length=1, description="how activities tell an assignment, in that language"
    )
    settle: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=5),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, because activities come a little later",
    )

    @model_validator(mode="after")
    def _resolved_is_over(self) -> Self:
        if self.resolved not in self.over or not set(self.final) <= set(self.over) or self.reopened in self.over:
            raise Invalid(
                f"resolved is {self.resolved}, reopened {self.reopened}, over {list(self.over)}, final "
                f"{list(self.final)}",
                hint="`over` must hold resolved and all that are final, and not reopened",
            )
        return self


class _Words:
    """Our words in those of an account, for tickets and problems alike."""

    def __init__(self, config: FreshserviceConfig, client: Freshservice) -> None:
        self._config = config
        self._client = client
        self._groups = Groups(client.groups)

    def of(self, order: Order | ProblemOrder) -> dict[str, str]:
        """What an order has of title, priority, impact, urgency and group."""
        fields, config = order.fields, self._config
        found: dict[str, str] = {}
        if "title" in fields:
            found["subject"] = title(order, TITLE_CHARS)
        if "priority" in fields and not config.matrix:
            found["priority"] = _of_scale(config.priority, fields["priority"])
        for name, scale in (("impact", config.impact), ("urgency", config.urgency)):
            if name in fields:
                found[name] = _of_scale(scale, fields[name])
        if "assignment_group" in fields and (group := self._group(str(fields["assignment_group"]))):
            found["group_id"] = group
        return found

    def _group(self, name: str) -> str:
        """Id of the group, of the fall-back, or nothing: an unknown group is no reason to lose an incident."""
        return self._groups.id_of(self._config.groups.get(name, name), self._config.fallback_group)

    def send(self, call: Callable[[Record], Record], values: Record) -> Record:
        """Without the group where that was deleted since we looked."""
        try:
            return call(values)
        except Refused as error:
            if "group_id" not in values or not error.names("group_id"):
                raise
        self._groups.forget()
        return call({name: value for name, value in values.items() if name != "group_id"})

    def requester(self) -> dict[str, Any]:
        config = self._config
        fixed = {name: value for name, value in config.fixed.items() if name in ("requester_id", "email", "phone")}
        if fixed:
            return fixed
        if not config.requester and config.user.isdigit():
            return {"requester_id": int(config.user)}
        return {"email": config.requester or config.user}


class _Lately:
    """Our tickets that were changed since a search may be behind, by key.

    Each look goes on where the last one ended, or a storm of tickets would list itself for each of them.
    """

    def __init__(self, config: FreshserviceConfig, client: Freshservice) -> None:
        self._config = config
        self._client = client
        self._ids: dict[str, set[str]] = {}
        self._until: datetime | None = None

    def of(self, key: str) -> list[str]:
        """Ids of the tickets with this key."""
        now, until = self._client.now(), self._until
        start = now - SEARCH_LAG
        if until is None or not start < until <= now or len(self._ids) >= _MAX_RECENT:
            self._ids = {}
        else:
            start = max(start, until - timedelta(seconds=LIST_DELAY_S))
        whole, first = False, None
        while not whole:
            changed = self._client.changed(start, _MAX_ROWS)
            for row in changed.rows:
                if found := _key_of(self._config, row):
                    self._ids.setdefault(found, set()).add(str(row["id"]))
            last, whole, first = _last(changed), changed.is_whole, first or changed.asked_at
            if not whole and (last is None or last <= start):
                raise Unavailable(f"{self._client.name} lists more than {_MAX_ROWS} tickets changed at {start}")
            start = last or start
        self._until = first and first.replace(microsecond=0)
        return sorted(self._ids.get(key, ()))


class _Tickets(Records[Record]):
    """Tickets of type Incident."""

    state_hint = "look there which rule changes the status, and check `resolved` and `reopened`"

    def __init__(self, config: FreshserviceConfig, client: Freshservice, words: _Words, console: str) -> None:
        self.name = client.name
        self.key_place = config.key_field
        self.key_hint = f"look which rule changes {config.key_field}"
        self._config = config
        self._client = client
        self._words = words
        self._console = console
        self._lately = _Lately(config, client)
        self._recent: dict[str, str] = {}

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Record]:
        """A search does not show what is new, and what it shows may be old: each hit is read again, and where none is
        open, the tickets that were changed lately are looked through as well."""
        found = self._read(key, [self._recent[key]] if key in self._recent else [])
        if all(map(self._is_over, found)):
            found = self._read(key, self._searched(key))
        if all(map(self._is_over, found)):
            known = {str(ticket["id"]) for ticket in found}
            found += self._read(key, [id for id in self._lately.of(key) if id not in known])
        return sorted(found, key=lambda ticket: int(ticket["id"]))

    def _read(self, key: str, ids: Iterable[str]) -> list[Record]:
        tickets = [self._client.ticket(id) for id in ids]
        return [ticket for ticket in tickets if ticket is not None and _key_of(self._config, ticket) == key]

    def _searched(self, key: str) -> list[str]:
        field = self._config.key_field
        try:
            return [str(row["id"]) for row in self._client.search(field, self._config.key_prefix + key)]
        except Refused as error:
            raise _no_key_field(self.name, field, error) from None

    def _is_over(self, ticket: Record) -> bool:
        return ticket["status"] in self._config.over

    def get(self, id: str) -> Record | None:
        return self._client.ticket(id)

    def see(self, record: Record) -> Seen:
        number, status = str(record["id"]), record["status"]
        over = Standing.FINAL if status in self._config.final else Standing.ENDED
        return Seen(
            id=number,
            number=number,
            url=f"{self._config.url}/a/tickets/{number}",
            standing=over if self._is_over(record) else Standing.OPEN,
            state=str(status),
            key=_key_of(self._config, record),
            fields=_present(record),
        )

    def own(self, record: Record, seen: Seen) -> Collection[str]:
        """All that stands on a ticket which nobody but us has touched, as its activities tell."""
        activities = self._client.activities(seen.id)
        if any(not self._client.is_us((each.get("actor") or {}).get("id")) for each in activities):
            return ()
        return (*_OURS, *self._config.fields.values())

    def noted(self, record: Record, order_id: str, kept: Mapping[str, str]) -> bool:
        """Times there are whole seconds, so what is kept proves nothing."""
        notes = [note.get("body") for note in self._client.conversations(str(record["id"]))]
        return _holds_marker(order_id, record.get("description"), *notes)

    # ---- writing ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        fields = order.fields
        found = self._words.of(order)
        if "description" in fields or (isinstance(order, Order) and order.verb is Verb.OPEN):
            found["description"] = _spaced(self._description(order))
        for name, field in self._config.fields.items():
            if name in fields:
                value = fields[name]
                found[field] = line(", ".join(map(str, value)) if name == "services" else str(value), _NAME_CHARS)
        return found

    def _description(self, order: Order | ProblemOrder) -> str:
        return _without_rule(description(order, self._console, _TEXT_CHARS) or title(order, TITLE_CHARS))

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Record | None) -> Record | None:
        """One call makes all of it: the opening note stands in the description, below a rule."""
        config = self._config
        follows = f"Follows ticket {before['id']}: {self.see(before).url}" if before is not None else ""
        note = _joined(order.note, follows)
        filled = {"subject": title(order, TITLE_CHARS), **{name: value for name, value in wanted.items() if value}}
        values: dict[str, Any] = {
            "status": _OPEN,
            **self._words.requester(),
            **self._body(filled, config.fixed),
            "description": _ruled(self._description(order), _noted(note, order.id)),
            "type": "Incident",
        }
        values["custom_fields"] = {**values.get("custom_fields", {}), config.key_field: config.key_prefix + order.key}
        if config.tag:
            values["tags"] = [config.tag]
        if config.assets and (asset := self._asset(str(order.fields.get("ci", "")))):
            values["assets"] = [{"display_id": asset}]
        try:
            made = self._words.send(self._client.create, values)
        except Refused as error:
            if error.names(config.key_field):
                raise _no_key_field(self.name, config.key_field, error) from None
            raise
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        self._recent[order.key] = str(made["id"])
        return made

    def write(self, record: Record, change: Change) -> Record | None:
        """What is over is not looked at again, so the note comes before the end; and after a beginning, which may be
        refused."""
        write: dict[str, Any] = dict(change.fields)
        more: Mapping[str, Any] = {}
        if "description" in write:
            write["description"] = _ruled(self._description(change.order), _below_rule(record))
        if change.move is Move.END:
            write["status"], more = self._config.resolved, self._config.resolve_with
            self._note(record, change)
        elif change.move is Move.REOPEN:
            write["status"] = self._config.reopened
        after = record
        if write:
            after = self._update(record, self._body(write, more), change)
        if change.move is not Move.END:
            self._note(record, change)
        return after

    def _update(self, record: Record, body: Record, change: Change) -> Record:
        id = str(record["id"])
        try:
            return self._words.send(lambda values: self._client.update(id, values) if values else record, body)
        except Refused as error:
            if change.move is Move.REOPEN and error.names("status"):
                raise Stuck(str(error)) from None
            raise

    def _note(self, record: Record, change: Change) -> None:
        if change.note:
            text = html(_noted(change.note, change.order.id), _HTML_CHARS)
            self._client.note(str(record["id"]), text, private=not self._config.public)

    def _body(self, write: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """As the API wants it: numbers as numbers, custom fields apart; what is ``more`` as it is."""
        body: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name, value in more.items():
            (body if name in _BUILT_IN else own)[name] = value
        for name, value in write.items():
            if name in _NUMBERS:
                body[name] = int(value)
            elif name in self._config.fields.values():
                own[name] = value or None
            else:
                body[name] = value
        return {**body, "custom_fields": own} if own else body

    def _asset(self, name: str) -> int:
        """display_id of the one asset of this name, 0 if there is none, or several, or we may not look."""
        name = line(name, _NAME_CHARS)
        try:
            rows = self._client.assets(name) if name else []
        except (Denied, Rejected):
            return 0
        return int(rows[0]["display_id"]) if len(rows) == 1 else 0


class _Problems(Records[Record]):
    """Problems. Closing one is for people; what recurs after that is a new one."""

    key_place = "the last line of the description"
    key_hint = "look which rule changes descriptions"
    state_hint = "look there which rule changes the status of problems"

    def __init__(self, config: FreshserviceConfig, client: Freshservice, words: _Words) -> None:
        self.name = client.name
        self._config = config
        self._client = client
        self._words = words

    def of_key(self, key: str) -> Sequence[Record]:
        """There is no search for problems: all are listed, and what is found is read again."""
        ids = [str(row["id"]) for row in self._client.problems() if _problem_key(row) == line(key, _NAME_CHARS)]
        found = [self._client.problem(id) for id in sorted(ids, key=int)]
        return [problem for problem in found if problem is not None]

    def get(self, id: str) -> Record | None:
        return self._client.problem(id)

    def see(self, record: Record) -> Seen:
        number, status = str(record["id"]), record["status"]
        return Seen(
            id=number,
            number=number,
            url=f"{self._config.url}/a/problems/{number}",
            standing=Standing.FINAL if status == _PROBLEM_CLOSED else Standing.OPEN,
            state=str(status),
            key=_problem_key(record),
            fields=_present(record),
        )

    def noted(self, record: Record, order_id: str, kept: Mapping[str, str]) -> bool:
        notes = [note.get("body") for note in self._client.problem_notes(str(record["id"]))]
        return _holds_marker(order_id, record.get("description"), *notes)

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        found = self._words.of(order)
        found.pop("urgency", None)  # a problem has none
        if "description" in order.fields:
            found["description"] = _spaced(self._description(order))
        return found

    def _description(self, order: Order | ProblemOrder) -> str:
        return _without_rule(plain(str(order.fields.get("description", "")), _TEXT_CHARS) or title(order, TITLE_CHARS))

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Record | None) -> Record | None:
        """The key stands in the last line of the description."""
        due_by = max(order.at, self._client.now()) + self._config.problem_due
        below = _joined(_noted(order.note, order.id), _problem_line(order.key))
        values = {
            "status": _PROBLEM_OPEN,
            "priority": self._config.priority[2],
            "impact": self._config.impact[1],
            **self._words.requester(),
            "subject": title(order, TITLE_CHARS),
            **{name: int(value) if name in _NUMBERS else value for name, value in wanted.items() if value},
            "description": _ruled(self._description(order), below),
            "due_by": due_by.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self._words.send(self._client.create_problem, values)

    def write(self, record: Record, change: Change) -> Record | None:
        id, after = str(record["id"]), record
        if change.fields:
            body = {name: int(value) if name in _NUMBERS else value for name, value in change.fields.items()}
            if "description" in body:
                below = _below_rule(record) or _problem_line(change.order.key)
                body["description"] = _ruled(self._description(change.order), below)
            after = self._words.send(lambda values: self._client.update_problem(id, values) if values else record, body)
        if change.note:
            self._client.note_problem(id, html(_noted(change.note, change.order.id), _HTML_CHARS))
        return after

    def known_error(self, record: Record) -> str:
        """The cause from its analysis, if it is marked as a known error."""
        fields = record.get("analysis_fields")
        cause = fields.get("problem_cause") if isinstance(fields, dict) else None
        text = plain(_text_of(cause.get("description") if isinstance(cause, dict) else ""), _TEXT_CHARS)
        return (text or "Marked as a known error.") if record.get("known_error") else ""

    def link(self, record: Record, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays; one that is final is left alone."""
        for receipt in incidents:
            ticket = self._client.ticket(receipt.number, "problem") if receipt.number.isdigit() else None
            if ticket is None or ticket.get("problem") or ticket["status"] in self._config.final:
                continue
            self._client.update(receipt.number, {"problem": {"display_id": int(record["id"])}})


def _of_scale(scale: Sequence[int], value: Any) -> str:
    return of_scale([str(each) for each in scale], value)


def _no_key_field(system: str, field: str, error: Refused) -> Denied:
    """Without it no ticket can be made or found: a matter of the account, not of one ticket."""
    return Denied(
        f"{system} takes no ticket field {field!r}: {error}",
        hint="create that single-line text field on the ticket form of the workspace, or correct key_field",
    )


def _key_of(config: FreshserviceConfig, ticket: Record) -> str:
    """The situation of a ticket; empty where it is none of ours."""
    value = custom(ticket, config.key_field)
    return value.removeprefix(config.key_prefix) if value.startswith(config.key_prefix) else ""


def _problem_key(problem: Record) -> str:
    found = _PROBLEM_KEY.search(_words(problem.get("description")))
    return found[1] if found is not None else ""


def _problem_line(key: str) -> str:
    return f"[foreshock problem {line(key, _NAME_CHARS)}]"


def _holds_marker(order_id: str, *texts: Any) -> bool:
    return any(marker(order_id) in _words(text) for text in texts)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in (part.strip() for part in parts) if part)


def _noted(text: str, order_id: str) -> str:
    """A note with its marker; nothing of nothing."""
    return with_marker(plain(text, _TEXT_CHARS), order_id, _TEXT_CHARS) if text.strip() else ""


def _ruled(above: str, below: str) -> str:
    """A description as HTML; what stands below the rule is never compared and stays when the rest is written anew."""
    return html(_joined(above, _RULE, below) if below else above, _HTML_CHARS)


def _below_rule(record: Record) -> str:
    return _text_of(record.get("description")).partition(_RULE)[2].strip()


def _without_rule(text: str) -> str:
    return text.replace(_RULE, "---")


def _text_of(markup: Any) -> str:
    return html_text(str(markup or ""))


def _words(markup: Any) -> str:
    """The words of HTML: what is left of a text whatever Freshservice makes of tags and white space."""
    return _spaced(_text_of(markup))


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _present(record: Record) -> dict[str, str]:
    """Fields as text, custom ones by name; nothing is the empty text."""
    own = record.get("custom_fields")
    merged = {**record, **(own if isinstance(own, dict) else {})}
    found = {name: "" if value is None else str(value) for name, value in merged.items()}
    return {**found, "description": _words(record.get("description")).partition(_RULE)[0].strip()}


def _last(changed: Changed) -> datetime | None:
    """When the last one was changed, where the list goes on behind it."""
    return None if changed.is_whole or not changed.rows else _changed_at(changed.rows[-1])


# ---- what people did ------------------------------------------------------------------------------------------------


class _History(Struct, frozen=True):
    """What others than us did to a ticket. complete_to: nothing before this moment is missing."""

    complete_to: datetime
    activities: Sequence[Activity]


class _Changes(TicketChanges[Record]):
    """Follows the tickets by their time of change, and reads their activities and notes.

    Both cost a call for each ticket, so a history is read only where it may hold what is not known yet: a ticket that
    the list before this one did not show was changed after that.
    """

    def __init__(self, name: str, config: FreshserviceConfig, client: Freshservice) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._histories: dict[str, _History] = {}
        self._listed: tuple[datetime, datetime] | None = None
        """From when to when the last whole list showed every change."""
        self._statuses = dict(STATUSES)
        self._statuses_until = 0.0

    def updated(self, start: datetime) -> Updated[Record]:
        self._client.is_us(0)  # without knowing that, our own writes would be told
        start = self._client.now() - _FIRST if start <= moment(0) else start
        changed = self._client.changed(start, _MAX_ROWS)
        ours = [row for row in changed.rows if _key_of(self._config, row)]
        until, asked_at = _last(changed), changed.asked_at
        unseen_from = self._listed[1] if self._listed is not None and self._listed[0] <= start else start
        shown = {id: self._histories.get(id) or _History(unseen_from, ()) for id in (str(row["id"]) for row in ours)}
        if until is None:
            self._histories = shown
            self._listed = None if asked_at is None else (start, asked_at.replace(microsecond=0))
        else:
            self._histories |= shown
            self._listed = None
        return Updated(ours, asked_at, until)

    def activities(self, records: Sequence[Record], start: datetime, horizon: datetime) -> Iterator[Activity]:
        for ticket in records:
            yield from self._history(ticket, horizon)

    def _history(self, ticket: Record, horizon: datetime) -> Sequence[Activity]:
        """Complete before ``horizon``."""
        id = str(ticket["id"])
        known = self._histories[id]
        if known.complete_to < horizon and _changed_at(ticket) >= known.complete_to:
            known = self._histories[id] = _History(horizon, list(self._read(ticket)))
        return known.activities

    def _read(self, ticket: Record) -> Iterator[Activity]:
        """In order of time; what somebody writes while ending a ticket is said with that."""
        id, code = str(ticket["id"]), self._config.close_code_field
        try:
            activities, notes = self._client.activities(id), self._client.conversations(id)
        except Missing:
            return  # it was deleted meanwhile
        names = {int(each["actor"]["id"]): str(each["actor"].get("name")) for each in activities if _has_actor(each)}
        ours = _ours(activities, notes)
        comments = list(self._comments(notes, names, ours))
        # A title may sound as if it told a status, so what follows one counts only where a status is missing otherwise.
        steps, last = self._steps([_without_title(each) for each in activities], ours)
        if last != ticket["status"]:
            steps, _ = self._steps(activities, ours)
        ends = {(at, actor) for at, actor, state, _ in steps if state != "taken"}
        said = {(at, actor): text for at, actor, text in comments}
        told = [
            (at, actor, state, reason(why, said.get((at, actor), "")) if state != "taken" else "")
            for at, actor, state, why in steps
        ]
        told += [(at, actor, "commented", text) for at, actor, text in comments if (at, actor) not in ends]
        for at, actor, state, text in sorted(told, key=lambda each: each[0]):
            yield Activity(
                at=at,
                source=id,
                situation=_key_of(self._config, ticket),
                number=id,
                state=state,
                actor=actor,
                comment=text,
                code=custom(ticket, code) if code and state in ("resolved", "closed") else "",
            )

    def _steps(
        self, activities: Iterable[Record], ours: Collection[int]
    ) -> tuple[list[tuple[datetime, str, str, str]], int]:
        """(when, who, state, for what it waits) of what activities tell of others than us, oldest first, and the
        status they end at."""
        found: list[tuple[datetime, str, str, str]] = []
        before, us = 0, set()
        for activity in activities:
            if not _has_actor(activity):
                continue
            at, actor = read_time(str(activity.get("created_at"))), str(activity["actor"].get("name"))
            agent, after, status = "", before, ""
            for part in _parts(activity):
                name = _after(part, self._config.said_status)
                after, status = (self._status(name), name) if self._status(name) else (after, status)
                agent = _after(part, self._config.said_agent) or agent
            states, before = moved(self._phase(before), self._phase(after)), after
            if self._is_us(activity["actor"]["id"], ours):
                us.add(actor)
                continue
            if at is None or (actor == SYSTEM and states == ("closed",)):
                continue  # that it closes what was resolved is no news
            if agent.casefold() not in NOBODY and agent not in us and not {"resolved", "closed"}.intersection(states):
                found.append((at, agent, "taken", ""))  # who ends a ticket that nobody has may get it by that
            found += [(at, actor, state, status if state == "pending" else "") for state in states]
        return found, before

    def _is_us(self, id: int, ours: Collection[int]) -> bool:
        return id in ours or self._client.is_us(id)

    def _phase(self, status: int) -> Phase:
        final = (each for each in self._config.over if each in (_CLOSED, *self._config.final))
        return phase_of(status, self._config.over, tuple(final), self._config.waiting)

    def _status(self, name: str) -> int:
        """Id of a status by its name; 0 where there is none."""
        name = name.casefold()
        if name and name not in self._statuses and time.monotonic() >= self._statuses_until:
            self._statuses_until = time.monotonic() + ABSENT_S
            try:
                fields = self._client.ticket_fields()
            except Denied:
                fields = []
            self._statuses |= {called.casefold(): id for id, called in _status_choices(fields).items()}
        return self._statuses.get(name, 0)

    def _comments(
        self, notes: Iterable[Record], names: Mapping[int, str], ours: Collection[int]
    ) -> Iterator[tuple[datetime, str, str]]:
        for note in notes:
            at, text, author = read_time(str(note.get("created_at"))), _text_of(note.get("body")), note.get("user_id")
            if at is None or not isinstance(author, int) or self._is_us(author, ours) or is_ours(text):
                continue
            yield at, names.get(author) or self._client.person(author), plain(text, _TEXT_CHARS)


def _ours(activities: Iterable[Record], notes: Iterable[Record]) -> set[int]:
    """Who made the ticket and wrote our notes on it: us, should `user` name somebody else by mistake."""
    makers = [int(each["actor"]["id"]) for each in activities if _has_actor(each)][:1]
    authors = {note.get("user_id") for note in notes if is_ours(_text_of(note.get("body")))}
    return {maker for maker in makers if maker in authors}


def _without_title(activity: Record) -> Record:
    before, title_is_told, _ = str(activity.get("content") or "").partition(TITLE_TOLD)
    return {**activity, "content": before} if title_is_told else activity


def _has_actor(activity: Record) -> bool:
    actor = activity.get("actor")
    return isinstance(actor, dict) and isinstance(actor.get("id"), int)


def _parts(activity: Record) -> Iterator[str]:
    """What an activity tells, thing by thing: ``set Status as Open, set Urgency as Low``."""
    below = activity.get("sub_contents") or ()
    for text in (activity.get("content"), *((below,) if isinstance(below, str) else below)):
        yield from (part.strip() for part in str(text or "").split(","))


def _after(part: str, words: str) -> str:
    return part.removeprefix(words).strip() if part.startswith(words) else ""


def _changed_at(row: Record) -> datetime:
    at = read_time(str(row.get("updated_at")))
    if at is None:
        raise Unavailable(f"ticket {row.get('id')} has no time of change: updated_at is {row.get('updated_at')!r}")
    return at


def _status_choices(fields: Iterable[Record]) -> dict[int, str]:
    """Names of the statuses of the ticket form by id."""
    choices = [each for field in fields if field.get("name") == "status" for each in field.get("choices") or ()]
    return {int(each["id"]): str(each.get("value")) for each in choices if isinstance(each, dict) and "id" in each}


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: FreshserviceConfig, client: Freshservice) -> Iterator[Finding]:
    """Only reads; ``sink test --create`` shows the rest."""
    try:
        fields = {str(field.get("name")): field for field in client.ticket_fields()}
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield _agent(config, client)
    yield _key_field(config, client, fields)
    yield from _custom_fields(config, fields)
    yield from _mandatory(config, fields)
    yield from _states(config, _status_choices(fields.values()))
    yield from Groups(client.groups).check(*config.groups.values(), config.fallback_group)
    yield _wording(config, client)


def _agent(config: FreshserviceConfig, client: Freshservice) -> Finding:
    try:
        me = client.me()
    except (Denied, Missing) as error:
        if config.user.isdigit() and isinstance(error, Denied):
            return Finding(subject="credentials", observed=f"the key is taken; agent {config.user} cannot be looked at")
        return Finding(
            subject="credentials",
            observed=f"whose changes are our own cannot be told: {error}",
            remedy="let the agent view agents, or write its id as `user` of this sink",
        )
    active = me.get("active", True)
    return Finding(
        subject="credentials",
        observed=f"{me.get('email')} is {'known' if active else 'not active'}",
        remedy="" if active else f"activate {me.get('email')} there",
    )


def _key_field(config: FreshserviceConfig, client: Freshservice, fields: Mapping[str, Record]) -> Finding:
    name = config.key_field
    if name not in fields:
        return Finding(
            subject="key field",
            observed=f"the ticket form has no field {name!r}",
            remedy=f"create a single-line text field {name!r} (Admin, Field Manager, Ticket Fields), for the workspace",
        )
    try:
        rows = client.search(name, f"{config.key_prefix}sink-test")
    except (Denied, Rejected, Unavailable) as error:
        return Finding(
            subject="key field", observed=str(error), remedy=f"make {name!r} a single-line text field, or name another"
        )
    return Finding(subject="key field", observed=f"tickets are found by {name} ({len(rows)} by that of a test)")


def _custom_fields(config: FreshserviceConfig, fields: Mapping[str, Record]) -> Iterator[Finding]:
    named = (*config.fields.values(), config.close_code_field)
    own = (name for name in (*config.fixed, *config.resolve_with) if name not in _BUILT_IN)
    for name in dict.fromkeys((*named, *own)):
        if name and name not in fields:
            yield Finding(
                subject="custom fields",
                observed=f"the ticket form has no field {name!r}",
                remedy="correct its name under `fields`, `fixed`, `resolve_with` or close_code_field of this sink",
            )


def _mandatory(config: FreshserviceConfig, fields: Mapping[str, Record]) -> Iterator[Finding]:
    filled = {"requester", "subject", "description", "status", "ticket_type", "impact", "urgency", "priority", "source"}
    filled |= {config.key_field, *config.fixed, *config.fields.values(), *({"group"} if config.fallback_group else ())}
    filled |= {name.removesuffix("_id") for name in config.fixed}
    late = {*filled, *config.resolve_with, *(name.removesuffix("_id") for name in config.resolve_with)}
    wanted = [
        (name, setting, when)
        for name, field in fields.items()
        for flag, setting, when, given in (
            ("required_for_agents", "fixed", "open", filled),
            ("required_for_closure", "resolve_with", "resolve", late),
        )
        if field.get(flag) and name not in given
    ]
    if not wanted:
        yield Finding(subject="mandatory fields", observed="all that the form demands are filled")
    for name, setting, when in wanted:
        yield Finding(
            subject="mandatory fields",
            observed=f"{name!r} ({fields[name].get('label')}) must be filled to {when} a ticket, and is not",
            remedy=f"write it under `{setting}` of this sink: {setting}: {{{name}: …}}, or make it optional there",
        )


def _states(config: FreshserviceConfig, known: Mapping[int, str]) -> Iterator[Finding]:
    if not known:
        yield Finding(subject="state mapping", observed="the statuses of the ticket form are not shown: try --create")
        return
    shown = ", ".join(f"{id} {name}" for id, name in known.items())
    several = (("over", config.over), ("waiting", config.waiting))
    wanted = (
        ("resolved", config.resolved),
        ("reopened", config.reopened),
        *((setting, id) for setting, ids in several for id in ids),
    )
    wrong = dict.fromkeys(f"{id} of `{setting}`" for setting, id in wanted if id not in known)
    yield Finding(
        subject="state mapping",
        observed=f"statuses there are {shown}; {', '.join(wrong) or 'none'} is unknown",
        remedy="write ids of statuses that are there" if wrong else "",
    )


def _wording(config: FreshserviceConfig, client: Freshservice) -> Finding:
    """Activities are told in words, in the account's language: whether a ticket of the last day shows ours."""
    rows = client.changed(client.now() - timedelta(days=1), 1).rows
    if not rows:
        return Finding(subject="changes", observed="there is no ticket whose activities could be looked at")
    activities = client.activities(str(rows[0]["id"]))
    if any(part.startswith(config.said_status) for each in activities for part in _parts(each)):
        return Finding(subject="changes", observed=f"activities tell a status as {config.said_status!r}")
    seen = next((str(each.get("content")).strip() for each in activities), "")
    return Finding(
        subject="changes",
        observed=f"activities of ticket {rows[0]['id']} never say {config.said_status!r}, but {line(seen, 100)!r}",
        remedy="write how they tell a status and an assignment as said_status and said_agent of this sink",
    )


def _build(name: str, config: FreshserviceConfig, parts: SinkParts) -> TicketSink[Record]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    words = _Words(config, client)
    return TicketSink(
        _Tickets(config, client, words, parts.console),
        _Changes(name, config, client),
        partial(_check, config, client),
        problems=_Problems(config, client, words),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="freshservice",
    title="Freshservice tickets",
    facts="API v2, read 2026-11-22",
    config=FreshserviceConfig,
    build=_build,
    index_delay_s=LIST_DELAY_S,
    problems=True,
    known_errors=True,
)
