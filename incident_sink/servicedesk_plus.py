"""ManageEngine ServiceDesk Plus, cloud and on-premises: one request of type Incident for each situation.

Facts:    manageengine.com: API v3 of ServiceDesk Plus Cloud and of ServiceDesk Plus on-premises (request, note,
          problem, search criteria, OAuth 2.0); help.zoho.com: "Tokens and limitations"; read 2026-11-22.
Delivery: at least once, one record. An additional field (``key_field``) carries the situation's id; it is searched
          before each creation, for the system has no idempotency key. A creation is one call that holds everything; a
          note is written only if its marker is not there yet; at the end the resolution comes before the state. The
          answer is read back: a status that was not taken is an error. A group or CI that is not known there is left
          out, and the fall-back group taken.
Changes:  read by ``last_updated_time``, a few seconds late (``settle``), from each request's own history and notes: who
          took it, resolved, closed or reopened it, with closure code, had it wait and go on, and comments. What our
          technician did is no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions), so does a resolution; a request
          that people ended stays ended. What is over for good (``final``) is followed by a new, linked request.
Limits:   subject 250 characters; the cloud counts calls by minute and address and gives ten tokens in ten minutes.
Needs:    a technician of Foreshock's own who may see and edit all requests (and problems), with an API key, or a client
          in Zoho's API console with the scopes SDPOnDemand.requests.ALL, .problems.ALL and .setup.READ.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from pydantic import Field

from foreshock.connect.auth import TokenRefused
from foreshock.connect.lookup import ABSENT_S
from foreshock.connect.markup import html, html_text, line, plain
from foreshock.connect.ticket_changes import ENDED, Activity, Phase, TicketChanges, Updated, moved, phase_of
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, Stuck, TicketSink
from foreshock.connect.tickets import description, is_ours, marker, of_scale, title, with_marker
from foreshock.connect.vendors.servicedesk_plus import (
    KNOWN_ERROR,
    Ignored,
    Record,
    Refused,
    ServiceDeskPlus,
    ServiceDeskPlusAccount,
    Term,
    connect,
    is_person,
    milliseconds,
    person_of,
    shown,
    time_of,
)
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    Receipt,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
)
from foreshock.core.errors import Denied, Missing, Rejected, Unavailable
from foreshock.core.quantities import Duration

INDEX_DELAY_S = 30.0
"""UNVERIFIED: no lag of lists is documented; after a lost answer "absent" is not believed for so long all the same."""
LINKS = {
    "cloud": {"requests": "{url}/ui/requests/{id}/details", "problems": "{url}/ui/problems/{id}/details"},
    "on_premises": {
        "requests": "{url}/WorkOrder.do?woMode=viewWO&woID={id}",
        "problems": "{url}/ProblemDetails.cc?PROBLEMID={id}",
    },
}
"""Pages for people. UNVERIFIED: as seen in browsers, no guide names them."""
_TITLE_CHARS, _UDF_CHARS, _NAME_CHARS = 250, 250, 250
_TEXT_CHARS, _HTML_CHARS = 20_000, 60_000
_OVERTAKEN_S = 1.0
_MAX_PAGES = 5  # of the list of what was updated, in one visit
_PAGES_AT_ONCE = 200  # of what was updated in the same millisecond
_MAX_HISTORIES = 20_000
_READ = (
    "id", "display_id", "status", "udf_fields", "subject", "title", "description", "impact", "urgency", "priority",
    "group", "assets", "configuration_items", "resolution",
)  # fmt: skip
_OPTIONAL = ("group", "assets", "configuration_items")
"""What an incident is written without rather than not at all."""
_REFERENCES = frozenset(
    {
        "template", "category", "subcategory", "item", "mode", "level", "site", "request_type", "service_category",
        "department", "status", "priority", "impact", "urgency", "group", "requester", "technician", "reported_by",
    }
)  # fmt: skip
_SYSTEM = "system"  # who closes what was resolved days ago


class ServiceDeskPlusConfig(ServiceDeskPlusAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this ServiceDesk Plus."""

    key_field: str = Field(
        pattern=r"^udf_\w+$",
        description="additional field of requests (single line) that carries the situation's id, by its API name such "
        "as udf_sline_901",
    )
    problem_key_field: str = Field(
        default="", pattern=r"^$|^udf_\w+$", description="the same of problems; without it no problem is opened"
    )
    key_prefix: str = Field(
        default="foreshock-",
        min_length=1,
        max_length=50,
        description="what the key begins with; two Foreshocks that share a ServiceDesk Plus need two prefixes",
    )
    priority: tuple[str, str, str, str, str] = Field(
        default=("High", "High", "Medium", "Normal", "Low"),
        description="names of the priorities for 1 (highest) to 5; an empty one is not written",
    )
    impact: tuple[str, str, str] = Field(
        default=("Affects Business", "Affects Group", "Affects User"), description="names of the impacts for 1, 2 and 3"
    )
    urgency: tuple[str, str, str] = Field(
        default=("Urgent", "Normal", "Low"), description="names of the urgencies for 1, 2 and 3"
    )
    groups: dict[str, str] = Field(
        default_factory=dict, description="our group: name of the support group there; others by the same name"
    )
    fallback_group: str = Field(default="", description="name of the support group for all that have none there")
    ci_field: Literal["assets", "configuration_items", ""] = Field(
        default="assets", description="where the CI is written, by its name; empty for nowhere"
    )
    fields: dict[Literal["severity", "ci", "services"], str] = Field(
        default_factory=dict, description="additional fields (API names) that carry more of an incident, as text"
    )
    resolved: str = Field(default="Resolved", description="status of what Foreshock resolves")
    reopened: str = Field(default="Open", description="status of what begins again")
    final: tuple[str, ...] = Field(
        default=("Closed", "Canceled"), description="statuses that are not left again; a recurrence gets a new request"
    )
    waiting: tuple[str, ...] = Field(
        default=("On Hold",), description="statuses in which a request waits for somebody, as those that stop the timer"
    )
    close_code: str = Field(default="", description="closure code of what Foreshock resolves; empty for none")
    closing: dict[str, str] = Field(
        default_factory=dict, description="fields to fill at the end because closing rules want them"
    )
    update_reason: str = Field(default="", description="reason to give for each update, where one is mandatory")
    fixed: dict[str, str] = Field(
        default_factory=dict,
        description="further fields of a new request, such as template, site, category, requester (e-mail address), or "
        "an additional field by its API name",
    )
    problem_fixed: dict[str, str] = Field(default_factory=dict, description="the same of a new problem")
    public: bool = Field(default=False, description="whether the requester sees Foreshock's notes")
    settle: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, so that none is overtaken by a slow transaction",
    )


class _Desk(Records[Record]):
    """The requests, or the problems, of one ServiceDesk Plus."""

    def __init__(
        self,
        kind: Literal["requests", "problems"],
        config: ServiceDeskPlusConfig,
        client: ServiceDeskPlus,
        people: "_Histories",
        console: str,
    ) -> None:
        self.name = client.name
        self.key_place = self._key_field = config.key_field if kind == "requests" else config.problem_key_field
        self.key_hint = f"let the technician write {self.key_place}, and look which rule empties it"
        self.state_hint = "look there which rule or life cycle keeps it, and check `resolved`, `reopened` and `final`"
        self._kind = kind
        self._title = "subject" if kind == "requests" else "title"
        self._config = config
        self._client = client
        self._people = people
        self._console = console
        self._refused: dict[tuple[str, str], float] = {}

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Record]:
        if not self._key_field:
            raise Rejected(
                f"{self.name} has no place for the key of a problem",
                hint="add a single-line field to problems there, and name it as problem_key_field",
            )
        wanted = self._config.key_prefix + key
        if len(wanted) > _UDF_CHARS:
            return ()
        rows, _ = self._client.search(self._kind, (Term(f"udf_fields.{self._key_field}", "is", wanted),), self._fields)
        return [row for row in rows if self.key_of(row) == key]

    @property
    def _fields(self) -> tuple[str, ...]:
        other = "title" if self._kind == "requests" else "subject"
        requests_only = () if self._kind == "requests" else ("resolution",)
        return tuple(name for name in _READ if name not in (other, *requests_only))

    def get(self, id: str) -> Record | None:
        return self._client.record(self._kind, id)

    def key_of(self, record: Record) -> str:
        found = shown(record, f"udf_fields.{self._key_field}")
        return found.removeprefix(self._config.key_prefix) if found.startswith(self._config.key_prefix) else ""

    def see(self, record: Record) -> Seen:
        status = shown(record, "status.name")
        fields = {name: shown(record, name) for name in (self._title, "impact", "urgency", "priority", "group")}
        fields["description"] = _flat(shown(record, "description"))
        for name in ("assets", "configuration_items"):
            fields[name] = ", ".join(shown(each, "name") for each in record.get(name) or ())
        for field in self._config.fields.values():
            fields[f"udf_fields.{field}"] = shown(record, f"udf_fields.{field}")
        root = self._config.url + (f"/app/{self._config.portal}" if self._config.portal else "")
        return Seen(
            id=str(record["id"]),
            number=number_of(record),
            url=LINKS[self._config.edition][self._kind].format(url=root, id=record["id"]),
            standing=self._standing(status),
            state=status,
            key=self.key_of(record),
            fields=fields,
        )

    def _standing(self, status: str) -> Standing:
        if status in self._config.final:
            return Standing.FINAL
        return Standing.ENDED if status == self._config.resolved else Standing.OPEN

    def own(self, record: Record, seen: Seen) -> Collection[str]:
        """What nobody else set last, as the history tells; without one nothing."""
        if self._kind == "problems":
            return ()
        theirs = self._people.set_by_others(str(record["id"]))
        if theirs is None:
            return ()
        return [name for name in seen.fields if name.partition(".")[0] not in theirs]

    def noted(self, record: Record, order_id: str, kept: Mapping[str, str]) -> bool:
        """Always asked: it is nowhere said that a note counts as an update."""
        wanted = marker(order_id)
        if any(wanted in html_text(shown(record, field)) for field in ("description", "resolution.content")):
            return True
        notes = self._client.notes(self._kind, str(record["id"]))
        return any(wanted in html_text(shown(note, "description")) for note in notes)

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Record | None) -> Record | None:
        fixed = self._config.fixed if self._kind == "requests" else self._config.problem_fixed
        basis = {"request_type": "Incident"} if self._kind == "requests" else {}
        follows = f"It follows {number_of(before)}, which is over." if before is not None else ""
        text = "\n\n".join(filter(None, (self._description(order), follows, order.note)))
        values = {
            **self._body({**basis, **fixed, **{name: value for name, value in wanted.items() if value}}, order),
            "description": _markup(with_marker(text, order.id, _TEXT_CHARS) if order.note else text),
        }
        values.setdefault("udf_fields", {})[self._key_field] = self._config.key_prefix + order.key
        made = self._accepted(lambda tried: self._client.create(self._kind, tried), values)
        if before is not None and self._kind == "requests":
            self._link(str(made["id"]), str(before["id"]))
        return made if "udf_fields" in made else None

    def _link(self, id: str, other: str) -> None:
        with suppress(Rejected):  # the description names it too; the new request is what matters
            if other not in self._client.linked(id):
                self._client.link(id, other)

    def write(self, record: Record, change: Change) -> Record | None:
        """At the end what is told comes before the state, else behind: what is over is not looked at again."""
        id, note = str(record["id"]), change.note
        values = self._body(change.fields, change.order)
        if change.move is Move.END:
            note = self._explained(record, change)
            values |= self._ending(change)
        elif change.move is Move.REOPEN:
            values["status"] = {"name": self._config.reopened}
        if note and change.move is Move.END:
            self._note(id, note, change.order.id)
        after = self._update(id, values, change.move, self.see(record).standing) if values else record
        if note and change.move is not Move.END:
            self._note(id, note, change.order.id)
        return after

    def _update(self, id: str, values: Mapping[str, Any], move: Move, standing: Standing) -> Record:
        reason = {"update_reason": self._config.update_reason} if self._config.update_reason else {}
        try:
            return self._accepted(lambda tried: self._client.update(self._kind, id, {**tried, **reason}), values)
        except TokenRefused:
            raise
        except (Refused, Denied) as error:
            if move is Move.REOPEN and isinstance(error, Refused) and "status" in error.fields:
                raise Stuck from error
            now = self.get(id)
            if now is None or self.see(now).standing is not standing:
                text = f"{error}, for somebody was faster"
                raise Unavailable(text, retry_after_s=_OVERTAKEN_S, unsent=True) from None
            if isinstance(error, Denied):  # it can be read: the others need not wait for this one
                raise Rejected(str(error)) from error
            raise

    def _explained(self, record: Record, change: Change) -> str:
        """Write the resolution where people wrote none; what is left to tell in a note."""
        theirs = shown(record, "resolution.content")
        if self._kind == "problems" or (theirs and "[foreshock " not in theirs):
            return change.note
        text = change.note or "The condition is over."
        self._client.resolve(str(record["id"]), _markup(with_marker(text, change.order.id, _TEXT_CHARS)))
        return ""

    def _ending(self, change: Change) -> dict[str, Any]:
        ending = self._body({"status": self._config.resolved, **self._config.closing}, change.order)
        if self._config.close_code:
            ending["closure_info"] = {"closure_code": {"name": self._config.close_code}}
        return ending

    def _note(self, id: str, text: str, order_id: str) -> None:
        markup = _markup(with_marker(plain(text, _TEXT_CHARS), order_id, _TEXT_CHARS))
        self._client.add_note(self._kind, id, markup, public=self._config.public)

    def _accepted(self, send: Any, values: Mapping[str, Any]) -> Record:
        """Write; where a group or a CI is not known there, without it."""
        tried = dict(values)
        while True:
            try:
                made: Record = send(tried)
                return made
            except Refused as error:
                refused = {name.partition(".")[0] for name in error.fields}
                unknown = [name for name in _OPTIONAL if name in tried and name in refused]
                if not unknown:
                    raise
                for name in unknown:
                    self._forget(name, tried.pop(name), tried)

    def _forget(self, field: str, value: Any, tried: dict[str, Any]) -> None:
        """A name was refused: do without it for a while; instead of a group take the fall-back."""
        name = shown({"it": value[0] if isinstance(value, list) else value}, "it")
        self._refused[field, name] = time.monotonic() + ABSENT_S
        fallback = self._config.fallback_group
        if field == "group" and fallback not in ("", name):
            tried["group"] = {"name": fallback}

    def link(self, record: Record, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays."""
        for ticket in incidents:
            id = ticket.kept.get("id", "")
            if id and not self._client.problem_of(id):
                with suppress(Missing):  # deleted meanwhile
                    self._client.link_problem(id, str(record["id"]))

    def known_error(self, record: Record) -> str:
        """The workaround; where there is none, the cause."""
        found = (html_text(self._client.analysis(str(record["id"]), part)) for part in KNOWN_ERROR)
        return plain(next(filter(None, found), ""), _TEXT_CHARS)

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as ``see`` shows them; only those that it has."""
        fields, config = order.fields, self._config
        found: dict[str, str] = {}
        if "title" in fields:
            found[self._title] = title(order, _TITLE_CHARS)
        if "description" in fields:
            found["description"] = _flat(_markup(self._description(order)))
        for name, scale in (("impact", config.impact), ("urgency", config.urgency), ("priority", config.priority)):
            if name in fields and (value := of_scale(scale, fields[name])):
                found[name] = value
        if "assignment_group" in fields and (group := self._group(str(fields["assignment_group"]))):
            found["group"] = group
        if "ci" in fields and config.ci_field:
            ci = line(str(fields["ci"]), _NAME_CHARS)
            found[config.ci_field] = "" if self._is_refused(config.ci_field, ci) else ci
        if self._kind == "requests":
            for name, field in config.fields.items():
                if name in fields:
                    value = ", ".join(map(str, fields[name])) if name == "services" else str(fields[name])
                    found[f"udf_fields.{field}"] = line(value, _UDF_CHARS)
        return found

    def _description(self, order: Order | ProblemOrder) -> str:
        return description(order, self._console, _TEXT_CHARS)

    def _group(self, name: str) -> str:
        wanted = line(self._config.groups.get(name, name), _NAME_CHARS)
        return self._config.fallback_group if not wanted or self._is_refused("group", wanted) else wanted

    def _is_refused(self, field: str, name: str) -> bool:
        return time.monotonic() < self._refused.get((field, name), 0.0)

    def _body(self, fields: Mapping[str, str], order: Order | ProblemOrder) -> dict[str, Any]:
        """As the API wants it: references by name, people by e-mail address, additional fields in their container."""
        body: dict[str, Any] = {}
        for name, value in fields.items():
            if name.startswith("udf_"):
                body.setdefault("udf_fields", {})[name.removeprefix("udf_fields.")] = value or None
            elif name == "description" and "description" in order.fields:
                body[name] = _markup(self._description(order))
            elif name in ("assets", "configuration_items"):
                body[name] = [{"name": value}] if value else []
            elif name in _REFERENCES:
                by = "email_id" if "@" in value and name in ("requester", "technician", "reported_by") else "name"
                body[name] = {by: value} if value else None
            else:
                body[name] = value
        return body


def number_of(record: Record) -> str:
    """What people call it: of a request a number, of a problem PBM-1; else the id."""
    number = record.get("display_id")
    if isinstance(number, dict):
        number = number.get("display_value") or number.get("value")
    return str(number or record["id"])


def _markup(text: str) -> str:
    return html(text, _HTML_CHARS)


def _flat(markup: str) -> str:
    """The words of HTML: the system stores other tags than it was given."""
    return " ".join(html_text(markup).split())


# ---- what people did ------------------------------------------------------------------------------------------------


class _Event(Struct, frozen=True):
    """One thing that somebody else than us did to a request, numbered from ``source``."""

    at: datetime
    source: str
    state: str
    actor: str
    comment: str = ""


class _Histories:
    """What happened to requests, as their histories and notes tell; kept until their next update."""

    def __init__(self, config: ServiceDeskPlusConfig, client: ServiceDeskPlus) -> None:
        self._config = config
        self._client = client
        self._known: dict[str, tuple[str, Sequence[_Event]]] = {}

    def of(self, record: Record) -> Sequence[_Event]:
        id, stamp = str(record["id"]), shown(record, "last_updated_time")
        known = self._known.get(id)
        if known is not None and known[0] == stamp:
            return known[1]
        asked = self._client.server_now
        events = [*self._steps(record), *self._comments(id)]
        if len(self._known) >= _MAX_HISTORIES:
            self._known.clear()
        if asked is not None and stamp.isdigit() and int(stamp) < int(milliseconds(asked)) - 2000:
            self._known[id] = stamp, events  # what is read in the second of an update may lack the next one
        return events

    def set_by_others(self, id: str) -> set[str] | None:
        """Names of the fields that somebody else than us set last; None where that cannot be known."""
        last: dict[str, bool] = {}
        try:
            rows = self._client.history(id)
        except Missing:
            return None
        for row in rows:
            for change in row.get("diff") or ():
                last[shown(change, "field")] = is_person(row.get("by"), self._config.user)
        return {name for name, is_our_own in last.items() if not is_our_own}

    def _steps(self, record: Record) -> Iterator[_Event]:
        """Who took, ended or reopened it."""
        try:
            rows = self._client.history(str(record["id"]))
        except Missing:
            yield from self._told_by_itself(record)
            return
        for row in rows:
            at, by = time_of(row, "time"), row.get("by")
            if at is None or is_person(by, self._config.user):
                continue
            for change in row.get("diff") or ():
                before, after = change.get("previous_value"), change.get("current_value")
                match shown(change, "field"):
                    case "technician" if after and not is_person(after, self._config.user):
                        yield _Event(at, str(row["id"]), "taken", person_of(after))
                    case "status":
                        was, now = shown({"it": before}, "it"), shown({"it": after}, "it")
                        for state in self._moved(was, now, person_of(by)):
                            said = now if state == "pending" else _explanation(record, state)
                            yield _Event(at, str(row["id"]), state, person_of(by), said)

    def _moved(self, before: str, after: str, actor: str) -> tuple[str, ...]:
        """What a change of status means; that the system itself closes what was resolved is no news."""
        was, now = self._phase(before), self._phase(after)
        if was in ENDED and now in ENDED and actor.casefold() in ("", _SYSTEM):
            return ()
        return moved(was, now)

    def _phase(self, status: str) -> Phase:
        return phase_of(status, (self._config.resolved,), self._config.final, self._config.waiting)

    def _told_by_itself(self, record: Record) -> Iterator[_Event]:
        """Without a history, what a request says of its present state; neither a reopening nor a wait can be told."""
        id, taker = str(record["id"]), record.get("technician")
        at = time_of(record, "assigned_time", "last_updated_time")
        if taker and at is not None and not is_person(taker, self._config.user):
            yield _Event(at, f"{id} taken", "taken", person_of(taker))
        status = shown(record, "status.name")
        at = time_of(record, "completed_time", "resolved_time", "last_updated_time")
        ours = is_ours(html_text(shown(record, "resolution.content")))
        if at is not None and not ours and status in (self._config.resolved, *self._config.final):
            state = "closed" if status in self._config.final else "resolved"
            yield _Event(at, f"{id} {state}", state, person_of(taker), _explanation(record, state))

    def _comments(self, id: str) -> Iterator[_Event]:
        for note in self._client.notes("requests", id):
            by = note.get("added_by") or note.get("created_by")
            at, text = time_of(note, "added_time", "created_time"), html_text(shown(note, "description"))
            if at is not None and not is_person(by, self._config.user) and not is_ours(text):
                yield _Event(at, str(note["id"]), "commented", person_of(by), plain(text, _TEXT_CHARS))


def _explanation(record: Record, state: str) -> str:
    """What people wrote at the end."""
    text = shown(record, "closure_info.closure_comments") if state == "closed" else ""
    if not text and state in ("resolved", "closed"):
        text = html_text(shown(record, "resolution.content"))
    return "" if is_ours(text) else plain(text, _TEXT_CHARS)


class _Changes(TicketChanges[Record]):
    """Our requests by the time of their last update, and what happened to each."""

    _FIELDS = (
        "id", "display_id", "status", "technician", "resolution", "closure_info", "assigned_time", "resolved_time",
        "completed_time",
    )  # fmt: skip

    def __init__(
        self, name: str, config: ServiceDeskPlusConfig, client: ServiceDeskPlus, desk: _Desk, people: _Histories
    ) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._desk = desk
        self._people = people

    def updated(self, start: datetime) -> Updated[Record]:
        """Each page begins at the time where the last one ended, for what is updated meanwhile moves to the end. The
        list is not cut among records that were updated at once, or it would never get past them."""
        found: dict[str, Record] = {}
        now = until = None
        begin = since = milliseconds(start)
        first = 1
        for page in range(1, _PAGES_AT_ONCE + 1):
            terms = (
                Term(f"udf_fields.{self._config.key_field}", "starts with", self._config.key_prefix),
                Term("last_updated_time", "greater or equal", since),
            )
            rows, more = self._client.search("requests", terms, self._FIELDS, sort="last_updated_time", start=first)
            now = self._client.server_now if page == 1 else now
            found |= {str(row["id"]): row for row in rows}
            if not more or not rows:
                return Updated(list(found.values()), now)
            last, until = shown(rows[-1], "last_updated_time"), time_of(rows[-1], "last_updated_time")
            if page >= _MAX_PAGES and last != begin:
                break
            since, first = (last, 1) if last != since else (since, first + len(rows))
        return Updated(list(found.values()), now, until)

    def activities(self, records: Sequence[Record], start: datetime, horizon: datetime) -> Iterator[Activity]:
        for record in records:
            for event in self._people.of(record):
                ended = event.state in ("resolved", "closed")
                yield Activity(
                    at=event.at,
                    source=event.source,
                    situation=self._desk.key_of(record),
                    number=number_of(record),
                    state=event.state,
                    actor=event.actor,
                    comment=event.comment,
                    code=shown(record, "closure_info.closure_code") if ended else "",
                )


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: ServiceDeskPlusConfig, client: ServiceDeskPlus) -> Iterator[Finding]:
    """Only reads; ``sink test --create`` shows the rest."""
    try:
        rows, _ = client.search("requests", (), ())
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    seen = "requests are readable" if rows else "there are no requests, so whether a field is searched is not told"
    yield Finding(subject="credentials", observed=seen)
    yield from _key_fields(config, client)
    yield from _choices(config, client)
    yield from _technician(config, client)
    yield Finding(
        subject="mandatory fields",
        observed="which a template or closing rule wants, the API does not tell: try --create",
    )


def _key_fields(config: ServiceDeskPlusConfig, client: ServiceDeskPlus) -> Iterator[Finding]:
    for kind, field in (("requests", config.key_field), ("problems", config.problem_key_field)):
        if not field:
            yield Finding(subject="problems", observed="problem_key_field is empty, so no problem is opened there")
            continue
        try:
            client.search(kind, (Term(f"udf_fields.{field}", "is", f"{config.key_prefix}sink-test"),), ())
        except Ignored as error:
            yield Finding(
                subject="key field",
                observed=str(error),
                remedy=f"add a single-line field to {kind} there and write its API name instead of {field!r}, and let "
                "the technician see it",
            )
        except Denied as error:
            yield Finding(subject="permissions", observed=str(error), remedy=error.hint)
        else:
            yield Finding(subject="key field", observed=f"{kind} are searched by {field}")


def _choices(config: ServiceDeskPlusConfig, client: ServiceDeskPlus) -> Iterator[Finding]:
    """Whether the names in the settings are those of this system."""
    wanted = {
        "statuses": (
            "`resolved`, `reopened`, `final` and `waiting`",
            (config.resolved, config.reopened, *config.final, *config.waiting),
        ),
        "priorities": ("`priority`", config.priority),
        "impacts": ("`impact`", config.impact),
        "urgencies": ("`urgency`", config.urgency),
        "groups": ("`groups` and `fallback_group`", (*config.groups.values(), config.fallback_group)),
    }
    for table, (setting, names) in wanted.items():
        if not any(names):
            continue
        try:
            known = sorted({shown(row, "name") for row in client.named(table) if not row.get("deleted")})
        except (Denied, Missing, Rejected):
            yield Finding(subject=table, observed="they are not readable for this technician: try --create")
            continue
        unknown = sorted({name for name in names if name and name not in known})
        yield Finding(
            subject=table,
            observed=f"{', '.join(map(repr, unknown))} is not there; known: {', '.join(map(repr, known))}"[:500]
            if unknown
            else f"all of {setting} are there",
            remedy=f"write names that are there into {setting} of this sink" if unknown else "",
        )


def _technician(config: ServiceDeskPlusConfig, client: ServiceDeskPlus) -> Iterator[Finding]:
    """Whether ``user`` is who made our requests: else our own writes would be read back as somebody's."""
    field = f"udf_fields.{config.key_field}"
    try:
        rows, _ = client.search("requests", (Term(field, "starts with", config.key_prefix),), ("created_by",))
    except Denied:
        return
    makers = sorted({person_of(row.get("created_by")) for row in rows[-5:]} - {""})
    if not makers:
        yield Finding(subject="user", observed="no request of Foreshock's is there to compare with: try --create")
        return
    known = any(is_person(row.get("created_by"), config.user) for row in rows[-5:])
    yield Finding(
        subject="user",
        observed=f"Foreshock's requests were made by {', '.join(makers)}",
        remedy="" if known else f"write {makers[0]!r} as user: what {config.user!r} does not do is read back as news",
    )


def _build(name: str, config: ServiceDeskPlusConfig, parts: SinkParts) -> TicketSink[Record]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    people = _Histories(config, client)
    incidents = _Desk("requests", config, client, people, parts.console)
    problems = _Desk("problems", config, client, people, parts.console)
    changes = _Changes(name, config, client, incidents, people)
    check = partial(_check, config, client)
    return TicketSink(incidents, changes, check, problems=problems, ownership=config.ownership)


SINK = SinkKind(
    kind="servicedesk_plus",
    title="ManageEngine ServiceDesk Plus requests",
    facts="API v3, cloud and on-premises, read 2026-11-22",
    config=ServiceDeskPlusConfig,
    build=_build,
    index_delay_s=INDEX_DELAY_S,
    problems=True,
    known_errors=True,
)
