"""Jira Service Management and Jira, Cloud and Data Center: one issue for each situation.

Facts:    Jira Cloud platform OpenAPI v3 (1001.0.0-SNAPSHOT, December 2025); developer.atlassian.com: rate limiting,
          entity properties, Atlassian Document Format; Jira Data Center REST API version 2; read 2026-11-22.
Delivery: at least once, one record. A label made from the situation's id is what a search asks for, an issue property
          holds the id itself and what Foreshock wrote, so that a copied label does not count. Jira has no idempotency
          key and its search lags: after a lost answer "absent" is not believed for two minutes. A comment is written
          only if its marker is not there yet. Statuses are reached by the transition that leads there, and read back.
Changes:  read by ``updated``, from each issue's history and comments, half a minute late (``settle``) because the
          search lags: who took an issue, resolved, closed or reopened it, with the resolution, had it wait and go on,
          and comments.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); an issue that people ended stays
          ended. What cannot be reopened, by ``final`` or by the workflow, is followed by a new linked issue.
Limits:   summary 255, description and comments 32,767 characters; limits by the second on each site and issue.
          Assets objects and affected services are not filled: CIs and services stand in the description. Of an issue
          with more than a hundred comments the newest hundred are looked at.
Needs:    an account of Foreshock's own with the project permissions Browse, Create, Edit, Transition, Link Issues and
          Add Comments, in a service project as an agent; Cloud: its e-mail address and an API token; Data Center: a
          personal access token.
Unverified: against a live site: names of issue types, statuses and link types of the service management template
          (settings ``issue_type``, ``problem_type``, ``resolved``, ``reopened``, ``final``, ``problem_link``), the
          property that makes a comment internal (``INTERNAL``), entity properties in a Data Center's create and edit
          calls (``PROPERTY``), how long the search index lags at most (``INDEX_DELAY_S``).
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import Struct, structs
from pydantic import Field

from foreshock.connect.lookup import ABSENT_S
from foreshock.connect.markup import adf, adf_text, line, plain, wiki
from foreshock.connect.ticket_changes import MOVES, Activity, Phase, TicketChanges, Updated, moved, phase_of, reason
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, Stuck, TicketSink
from foreshock.connect.tickets import description, digest, is_ours, marker, moment, of_scale, title, with_marker
from foreshock.connect.vendors.jira import (
    HOOK,
    Jira,
    JiraAccount,
    Json,
    called,
    connect,
    identities,
    identity,
    read_time,
    since,
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
from foreshock.core.errors import Denied, Missing, Rejected
from foreshock.core.quantities import Duration

PROPERTY = "foreshock"
"""Key of the issue property: {"key": ours, "wrote": digests by field}. Source: Jira Cloud OpenAPI v3,
IssueUpdateDetails ``properties``, for create and edit; UNVERIFIED for Data Center. Until the first edit it holds the
opening comment as well, which is a call of its own whose answer can get lost."""
INTERNAL = [{"key": "sd.public.comment", "value": {"internal": True}}]
"""Makes a comment one for agents in a service project, elsewhere it does nothing. UNVERIFIED: widely used, not in the
OpenAPI document."""
INDEX_DELAY_S = 120.0
"""UNVERIFIED: "seconds, longer under load"; nothing is promised."""

_TITLE_CHARS, _TEXT_CHARS, _NOTE_CHARS, _NAME_CHARS = 255, 30_000, 30_000, 255
_MAX_RECENT = 10_000
_MAX_ISSUES = 1000
"""Issues that are looked at in one visit; what was updated later waits for the next."""
_MAX_SAME = 50
_OPENING = timedelta(days=1)
_OPENING_CHARS = 5000  # a property holds 32 KiB
_HISTORY = ("status", "assignee", "resolution")
_PERMISSIONS = (
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "TRANSITION_ISSUES",
    "LINK_ISSUES",
    "ADD_COMMENTS",
)


class JiraConfig(JiraAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this site."""

    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,99}$", description="key of the project, for example OPS")
    issue_type: str = Field(default="[System] Incident", description="issue type of an incident")
    problem_type: str = Field(default="[System] Problem", description="issue type of a problem")
    label: str = Field(
        default="foreshock",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="label of all issues, and beginning of the one that carries the situation's id; two Foreshocks "
        "that share a project need two",
    )
    priority: tuple[str, str, str, str, str] = Field(
        default=("Highest", "High", "Medium", "Low", "Lowest"),
        description="names of the priorities for 1 (highest) to 5; an empty one is not written",
    )
    impact_field: str = Field(
        default="", pattern=r"^$|^customfield_[0-9]+$", description="id of the select field *Impact*; empty for none"
    )
    impact: tuple[str, str, str] = Field(
        default=("Extensive / Widespread", "Significant / Large", "Moderate / Limited"),
        description="options of impact_field for impact 1 (highest), 2 and 3",
    )
    urgency_field: str = Field(
        default="", pattern=r"^$|^customfield_[0-9]+$", description="id of the select field *Urgency*; empty for none"
    )
    urgency: tuple[str, str, str] = Field(
        default=("High", "Medium", "Low"), description="options of urgency_field for urgency 1, 2 and 3"
    )
    group_field: str = Field(
        default="",
        pattern=r"^$|^components$|^customfield_[0-9]+$",
        description="where the assignment group stands: `components`, the id of a select field, or nowhere",
    )
    assignment_groups: dict[str, str] = Field(
        default_factory=dict, description="our group: its name there; others by the same name"
    )
    fallback_group: str = Field(default="", description="group for all that have none there")
    resolved: tuple[str, ...] = Field(
        default=("Completed", "Resolved", "Done"),
        min_length=1,
        description="statuses of an issue that is over; the first that a transition leads to is taken",
    )
    resolution: str = Field(
        default="Done", description="resolution of what Foreshock resolves, where the transition's screen asks for one"
    )
    reopened: tuple[str, ...] = Field(
        default=("Work in progress", "In Progress", "Open", "Reopened"),
        description="statuses of an issue that is open again, in order of preference; else any that is not done",
    )
    final: tuple[str, ...] = Field(
        default=("Closed", "Canceled"),
        description="statuses that are not left any more: a recurrence opens a new issue",
    )
    waiting: tuple[str, ...] = Field(
        default=("Pending", "Waiting for customer", "On hold"),
        description="statuses in which an issue waits for somebody",
    )
    problem_link: str = Field(default="Problem/Incident", description="link type from a problem to its incidents")
    workaround_field: str = Field(
        default="",
        pattern=r"^$|^customfield_[0-9]+$",
        description="id of the text field *Workaround* of problems, read as a known error; empty for none",
    )
    follow_up_link: str = Field(default="Relates", description="link type from a new issue to the final one before it")
    fixed: dict[str, Any] = Field(
        default_factory=dict,
        description="further fields of a new issue as the API takes them, such as customfield_10010, and what your "
        "project makes required",
    )
    settle: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old; it must be longer than the search index lags",
    )


class _Issues(Records[Json]):
    """The issues of one type in one project."""

    key_hint = "put the field Labels on the create screen"
    state_hint = "look at the workflow there, and check `resolved` and `reopened` of this sink"

    def __init__(self, type: str, config: JiraConfig, client: Jira, console: str) -> None:
        self.name = client.name
        self.key_place = f"our label, or property {PROPERTY!r},"
        self._type = type
        self._config = config
        self._client = client
        self._console = console
        self._recent: dict[str, str] = {}
        self._finished: set[str] = set()
        self._options: tuple[set[str], float] = set(), 0.0
        self._ours = ("summary", "description", "priority", *filter(None, _select_fields(config)))
        more = filter(None, ("status", "labels", "created", "issuelinks", config.workaround_field))
        self._read = tuple(dict.fromkeys((*self._ours, *more)))

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Json]:
        """What this process created lately is asked for by id, for a search may not show it yet."""
        if key in self._recent:
            issue = self.get(self._recent[key])
            if issue is not None and _key(issue) == key and not _ended(issue):
                return [issue]
        jql = f'project = "{self._config.project}" AND labels = "{self._label(key)}" ORDER BY created DESC'
        rows = self._client.search(jql, ("labels", "created"), limit=_MAX_SAME)
        issues = [self.get(str(row.get("id"))) for row in reversed(rows)]
        return [issue for issue in issues if issue is not None and _key(issue) == key]

    def get(self, id: str) -> Json | None:
        return self._client.issue(id, self._read, (PROPERTY,))

    def see(self, record: Json) -> Seen:
        key, status = _key(record), _status(record)
        over = Standing.FINAL if status in self._config.final else Standing.ENDED
        return Seen(
            id=record["id"],
            number=record["key"],
            url=f"{self._config.url}/browse/{record['key']}",
            standing=over if _ended(record) else Standing.OPEN,
            state=status,
            key=key if self._label(key) in (record["fields"].get("labels") or ()) else "",
            fields={name: _words(record["fields"].get(name)) for name in self._ours},
        )

    def kept(self, record: Json, seen: Seen, receipt: Receipt | None) -> dict[str, str]:
        """What the receipt says, and what stands there as the issue's property says: that is ours as well."""
        kept = dict(receipt.kept) if receipt is not None else {}
        wrote = _wrote(record)
        now = {name: digest(text) for name, text in seen.fields.items()}
        return kept | {name: each for name, each in now.items() if wrote.get(name) == each}

    def noted(self, record: Json, order_id: str, kept: Mapping[str, str]) -> bool:
        return self._noted(record["id"], order_id)

    def _noted(self, id: str, order_id: str) -> bool:
        end = marker(order_id) if self._client.cloud else wiki(marker(order_id), _NOTE_CHARS)
        return any(adf_text(each.get("body")).rstrip().endswith(end) for each in self._client.comments(id))

    def adopted(self, record: Json) -> None:
        """Write the opening comment of a new issue, where the answer to its creation was lost and nobody came to it."""
        opening, created = _property(record).get("opening"), read_time(record["fields"].get("created"))
        now = self._client.server_now
        if not isinstance(opening, dict) or created is None or now is None or now - created > _OPENING:
            return
        if record["id"] not in self._finished and not self._noted(record["id"], str(opening.get("id"))):
            self._comment(record["id"], str(opening.get("id")), str(opening.get("text")))
        self._finished.add(record["id"])

    def _label(self, key: str) -> str:
        return f"{self._config.label}-{digest(key)}"

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Json | None) -> Json | None:
        fields = {
            **self._config.fixed,
            **self._shaped({name: value for name, value in wanted.items() if value}),
            "project": {"key": self._config.project},
            "issuetype": {"name": self._type},
            "labels": [*self._config.fixed.get("labels", ()), self._config.label, self._label(order.key)],
        }
        wrote = {name: digest(text) for name, text in wanted.items() if text}
        value: Json = {"key": order.key, "wrote": wrote}
        if order.note:
            value["opening"] = {"id": order.id, "text": plain(order.note, _OPENING_CHARS)}
        made = self._client.create({"fields": fields, "properties": [{"key": PROPERTY, "value": value}]})
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        self._recent[order.key] = made["id"]
        if order.note:
            self._comment(made["id"], order.id, order.note)
        after = self.get(made["id"])
        if before is not None:
            with contextlib.suppress(Rejected):  # no such link type: `sink test` tells; the new issue is what matters
                self._client.link(self._config.follow_up_link, made["key"], before["key"])
        return after

    def write(self, record: Json, change: Change) -> Json | None:
        if change.move is Move.REOPEN and not self._move(record, self._config.reopened, "reopened", any_open=True):
            raise Stuck
        if change.fields:  # and with them what we wrote: so it is known after a lost answer as well
            wrote = {**_wrote(record), **{name: digest(text) for name, text in change.fields.items()}}
            properties = [{"key": PROPERTY, "value": {"key": change.order.key, "wrote": wrote}}]
            self._client.update(record["id"], {"fields": self._shaped(change.fields), "properties": properties})
        if change.note:
            self._comment(record["id"], change.order.id, change.note)
        if change.move is Move.END:
            self._move(record, self._config.resolved, "resolved", any_open=False)
        return self.get(record["id"])

    def _comment(self, id: str, order_id: str, note: str) -> None:
        text = with_marker(plain(note, _NOTE_CHARS), order_id, _NOTE_CHARS // 2)  # half: wiki markup needs room
        self._client.comment(id, {"body": self._rich(text), "properties": INTERNAL})

    def _move(self, issue: Json, names: Sequence[str], setting: str, *, any_open: bool) -> bool:
        """Take the transition to the first of these statuses that can be reached. ``any_open``: else to any that is
        not done, else False."""
        offered = self._client.transitions(issue["id"])
        to = {str((each.get("to") or {}).get("name")).casefold(): each for each in reversed(offered)}
        chosen = next((to[name.casefold()] for name in names if name.casefold() in to), None)
        if chosen is None and any_open:
            chosen = next((each for each in offered if _category(each.get("to")) != "done"), None)
            if chosen is None:
                return False
        if chosen is None:
            seen = ", ".join(repr(str((each.get("to") or {}).get("name"))) for each in offered)
            raise Rejected(
                f"{self._client.name}: {issue['key']} is {_status(issue)!r} and can go to {seen or 'no status'}, not "
                f"to {' or '.join(map(repr, names))}",
                hint=f"write a status that can be reached into `{setting}` of this sink, or add the transition there",
            )
        body: Json = {"transition": {"id": str(chosen["id"])}}
        if not any_open and self._config.resolution and "resolution" in (chosen.get("fields") or {}):
            body["fields"] = {"resolution": {"name": self._config.resolution}}
        self._client.transition(issue["id"], body)
        return True

    def link(self, record: Json, incidents: Sequence[Receipt]) -> None:
        linked, inward = _linked(record), self._causes()
        for number in (ticket.number for ticket in incidents if ticket.number not in linked):
            pair = (record["key"], number) if inward else (number, record["key"])
            self._client.link(self._config.problem_link, *pair)

    def _causes(self) -> bool:
        """Whether the outward phrase of the link type leads from the problem to the incident, as "causes" does."""
        for each in self._client.link_types():
            if each.get("name") == self._config.problem_link:
                return " by" not in str(each.get("outward", ""))
        return True

    def known_error(self, record: Json) -> str:
        return _words(record["fields"].get(self._config.workaround_field))

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        """An order's fields as text to compare with ``_present``; only those that the order has."""
        fields, config = order.fields, self._config
        found: dict[str, str] = {}
        if "title" in fields:
            found["summary"] = title(order, _TITLE_CHARS)
        if "description" in fields:
            text = description(order, self._console, _TEXT_CHARS)
            found["description"] = adf_text(adf(text, _TEXT_CHARS)) if self._client.cloud else wiki(text, _TEXT_CHARS)
        if "priority" in fields and (name := of_scale(config.priority, fields["priority"])):
            found["priority"] = name
        for field, scale, word in (
            (config.impact_field, config.impact, "impact"),
            (config.urgency_field, config.urgency, "urgency"),
        ):
            if field and word in fields:
                found[field] = of_scale(scale, fields[word])
        if config.group_field and "assignment_group" in fields:
            found[config.group_field] = self._group(str(fields["assignment_group"]))
        return found

    def _group(self, name: str) -> str:
        """The group, the fall-back, or nothing: an unknown group is no reason to lose an incident."""
        wanted = line(self._config.assignment_groups.get(name, name), _NAME_CHARS)
        for each in (wanted, self._config.fallback_group):
            if each and each in self._groups(each):
                return each
        return ""

    def _groups(self, name: str) -> set[str]:
        """Options of the group field; those that were read some minutes ago where ``name`` is among them."""
        known, until = self._options
        if name not in known and time.monotonic() >= until:
            try:
                screen = self._client.create_fields(self._config.project, self._config.issue_type) or {}
            except (Denied, Missing):
                screen = {}
            known = _options(screen.get(self._config.group_field))
            self._options = known, time.monotonic() + ABSENT_S
        return known

    def _shaped(self, write: Mapping[str, str]) -> Json:
        return {name: self._shape(name, text) for name, text in write.items()}

    def _shape(self, name: str, text: str) -> Any:
        match name:
            case "summary":
                return text
            case "description":
                return adf(text, _TEXT_CHARS) if self._client.cloud else text
            case "priority":
                return {"name": text}
            case "components":
                return [{"name": text}] if text else []
        return {"value": text} if text else None

    def _rich(self, text: str) -> Any:
        return adf(text, _NOTE_CHARS) if self._client.cloud else wiki(text, _NOTE_CHARS)


# ---- an issue in words ----------------------------------------------------------------------------------------------


def _select_fields(config: JiraConfig) -> tuple[str, str, str]:
    return (config.impact_field, config.urgency_field, config.group_field)


def _property(issue: Json) -> Json:
    value = (issue.get("properties") or {}).get(PROPERTY)
    return value if isinstance(value, dict) else {}


def _key(issue: Json) -> str:
    return str(_property(issue).get("key") or "")


def _wrote(issue: Json) -> dict[str, str]:
    wrote = _property(issue).get("wrote")
    return {str(name): str(value) for name, value in wrote.items()} if isinstance(wrote, dict) else {}


def _status(issue: Json) -> str:
    return str((issue["fields"].get("status") or {}).get("name") or "")


def _category(status: Any) -> str:
    return str(((status or {}).get("statusCategory") or {}).get("key") or "")


def _ended(issue: Json) -> bool:
    return _category(issue["fields"].get("status")) == "done"


def _linked(issue: Json) -> set[str]:
    sides = ((each.get("inwardIssue"), each.get("outwardIssue")) for each in issue["fields"].get("issuelinks") or ())
    return {str(side.get("key")) for pair in sides for side in pair if isinstance(side, dict)}


def _words(value: Any) -> str:
    """A person who names several components has changed the field: they all stand in its text."""
    match value:
        case None:
            return ""
        case dict() if value.get("type") == "doc":
            return adf_text(value)
        case dict():
            return str(value.get("name") or value.get("value") or "")
        case list():
            return ", ".join(_words(each) for each in value)
    return str(value).replace("\r\n", "\n")


def _options(field: Json | None) -> set[str]:
    values = (field or {}).get("allowedValues") or ()
    return {str(each.get("name") or each.get("value")) for each in values if isinstance(each, dict)}


# ---- what people did ------------------------------------------------------------------------------------------------


class _Event(Struct, frozen=True):
    """One thing that somebody did to an issue. rank: its order among things of the same moment."""

    at: datetime
    rank: tuple[str, int]
    state: str
    actor: str
    comment: str = ""
    code: str = ""


def _joined(events: Sequence[_Event]) -> list[_Event]:
    """In the order of time; what somebody wrote into the screen of a transition is the transition's comment."""
    ends = {(event.at.replace(microsecond=0), event.actor): event for event in events if event.state in MOVES}
    found = []
    for event in sorted(events, key=lambda event: (event.at, event.rank)):
        end = ends.get((event.at.replace(microsecond=0), event.actor))
        if event.state == "commented" and end is not None:
            continue
        said = [each.comment for each in events if event is end and each.state == "commented" and _same(each, event)]
        found.append(structs.replace(event, comment=reason(event.comment, "\n".join(said))) if said else event)
    return found


def _same(one: _Event, other: _Event) -> bool:
    return one.actor == other.actor and one.at.replace(microsecond=0) == other.at.replace(microsecond=0)


class _Changes(TicketChanges[Json]):
    """From histories and comments of the issues that were updated."""

    def __init__(self, name: str, config: JiraConfig, client: Jira) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._us: frozenset[str] = frozenset()
        self._keys: dict[str, str] = {}
        self._categories: dict[str, tuple[str, str]] = {}

    def updated(self, start: datetime) -> Updated[Json]:
        self._us = identities(self._client.myself())
        now = self._client.server_now
        jql = f'project = "{self._config.project}" AND labels = "{self._config.label}"'
        if now is not None and start > moment(0):
            jql += f" AND updated >= {since(start, now)}"
        jql += " ORDER BY updated ASC, key ASC"
        rows = self._client.search(jql, ("updated",), properties=(PROPERTY,), limit=_MAX_ISSUES)
        last = read_time(rows[-1]["fields"].get("updated")) if len(rows) == _MAX_ISSUES else None
        times = ((row, read_time(row["fields"].get("updated"))) for row in rows)
        fresh = [row for row, at in times if at is None or at >= start]
        return Updated(fresh, now, None if last is None else last.replace(microsecond=0))

    def activities(self, records: Sequence[Json], start: datetime, horizon: datetime) -> Iterator[Activity]:
        histories = self._client.history([str(row["id"]) for row in records], _HISTORY) if records else {}
        for row in records:
            id = str(row["id"])
            events = [*self._of_history(histories.get(id, ())), *self._of_comments(id, start)]
            events = [event for event in events if start <= event.at < horizon]
            key = self._key_of(row) if events else ""
            for event in _joined(events) if key else ():
                yield Activity(
                    at=event.at,
                    source=id,
                    situation=key,
                    number=str(row["key"]),
                    state=event.state,
                    actor=event.actor,
                    comment=event.comment,
                    code=event.code,
                )

    def _key_of(self, row: Json) -> str:
        """The situation, empty where the label was copied to an issue that is none of ours."""
        id = str(row["id"])
        if id not in self._keys:
            if len(self._keys) >= _MAX_RECENT:
                self._keys.clear()
            value = _property(row) or self._client.property(id, PROPERTY)
            self._keys[id] = str(value.get("key") or "") if isinstance(value, dict) else ""
        return self._keys[id]

    def _of_history(self, histories: Sequence[Json]) -> Iterator[_Event]:
        for each in histories:
            at, author = read_time(each.get("created")), each.get("author")
            if at is None or identity(author) in self._us:
                continue
            items = {str(item.get("fieldId") or item.get("field")): item for item in each.get("items") or ()}
            for state, actor, why, code in self._steps(items, called(author)):
                yield _Event(at, ("history", _number(each.get("id"))), state, actor, why, code)

    def _steps(self, items: Mapping[str, Json], actor: str) -> Iterator[tuple[str, str, str, str]]:
        """(state, actor, comment, code)"""
        assigned = items.get("assignee")
        if assigned is not None and assigned.get("to") and assigned["to"] not in self._us:
            yield "taken", str(assigned.get("toString") or assigned["to"]), "", ""
        move = items.get("status")
        if move is None:
            return
        name, code = str(move.get("toString") or ""), str((items.get("resolution") or {}).get("toString") or "")
        before = self._phase(str(move.get("fromString") or ""), str(move.get("from")))
        for state in moved(before, self._phase(name, str(move.get("to")))):
            yield state, actor, name if state == "pending" else "", code if state in ("resolved", "closed") else ""

    def _phase(self, name: str, id: str) -> Phase:
        done = self._category_of(id) == "done"
        return phase_of(name, (name,) if done else (), self._config.final if done else (), self._config.waiting)

    def _category_of(self, id: str) -> str:
        if id not in self._categories:
            self._categories = self._client.statuses()
        return self._categories.get(id, ("", ""))[1]

    def _of_comments(self, id: str, start: datetime) -> Iterator[_Event]:
        try:
            comments = self._client.comments(id)
        except Missing:
            return
        for each in comments:
            at, text = read_time(each.get("created")), adf_text(each.get("body"))
            if at is None or at < start or identity(each.get("author")) in self._us or is_ours(text):
                continue
            shown = plain(text, _TEXT_CHARS)
            yield _Event(at, ("comment", _number(each.get("id"))), "commented", called(each.get("author")), shown)


def _number(id: Any) -> int:
    return int(id) if str(id).isdigit() else int(hashlib.sha256(str(id).encode()).hexdigest()[:8], 16)


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: JiraConfig, client: Jira) -> Iterator[Finding]:
    """Only reads."""
    try:
        me = client.myself()
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield Finding(subject="credentials", observed=f"{called(me)} is logged in")
    lacking = [name for name, has in client.permissions(config.project, _PERMISSIONS).items() if not has]
    yield Finding(
        subject="permissions",
        observed=f"{called(me)} lacks {', '.join(lacking)} in {config.project}" if lacking else "all that it needs",
        remedy=f"give it these in the permission scheme of {config.project}" if lacking else "",
    )
    try:
        screen = client.create_fields(config.project, config.issue_type)
        statuses = client.statuses_of(config.project, config.issue_type)
    except Missing:
        yield Finding(
            subject="project",
            observed=f"{config.project} is not there for this account",
            remedy="correct `project` of this sink, or give the account Browse Projects there",
        )
        return
    if screen is None:
        yield Finding(
            subject="issue type",
            observed=f"{config.project} has no issue type {config.issue_type!r} that this account can create",
            remedy="write one that it has into `issue_type` of this sink",
        )
        return
    yield from _screen(config, screen)
    yield from _states(config, statuses)
    yield from _links(config, client)


def _screen(config: JiraConfig, screen: Mapping[str, Json]) -> Iterator[Finding]:
    """What the create screen has, demands and allows."""
    absent = "labels" not in screen
    yield Finding(
        subject="key field",
        observed="the create screen has no Labels" if absent else "Labels can be written",
        remedy=f"put Labels on the create screen of {config.issue_type}" if absent else "",
    )
    filled = {"summary", "description", "labels", "project", "issuetype", "priority", "reporter", *config.fixed}
    demanded = sorted(
        name for name, field in screen.items() if field.get("required") and not field.get("hasDefaultValue")
    )
    unfilled = [name for name in demanded if name not in filled | set(filter(None, _select_fields(config)))]
    if not unfilled:
        yield Finding(subject="mandatory fields", observed="all that are required are filled")
    for name in unfilled:
        yield Finding(
            subject="mandatory fields",
            observed=f"{name} ({screen[name].get('name')}) is required and not filled",
            remedy=f"write it under `fixed` of this sink: fixed: {{{name}: …}}, or make it optional there",
        )
    groups = tuple(filter(None, (*config.assignment_groups.values(), config.fallback_group)))
    for setting, name, values in (
        ("priority", "priority", config.priority),
        ("impact", config.impact_field, config.impact),
        ("urgency", config.urgency_field, config.urgency),
        ("fallback_group", config.group_field, groups),
    ):
        if name and any(values):
            yield _values(setting, name, [value for value in values if value], screen)


def _values(setting: str, name: str, values: Sequence[str], screen: Mapping[str, Json]) -> Finding:
    if name not in screen:
        return Finding(
            subject=setting,
            observed=f"the create screen has no {name}",
            remedy=f"put {name} on the create and edit screens, or take it out of the settings of this sink",
        )
    known = _options(screen[name])
    unknown = [value for value in values if known and value not in known]
    return Finding(
        subject=setting,
        observed=f"{', '.join(map(repr, unknown))} is unknown there; known: {', '.join(map(repr, sorted(known)))}"
        if unknown
        else f"known there: {', '.join(values)}",
        remedy=f"write known values into {_SETTING.get(setting, f'`{setting}`')} of this sink" if unknown else "",
    )


_SETTING = {"fallback_group": "`assignment_groups` and `fallback_group`"}


def _states(config: JiraConfig, statuses: Sequence[Json]) -> Iterator[Finding]:
    done = sorted(str(each.get("name")) for each in statuses if _category(each) == "done")
    reachable = [name for name in config.resolved if name in done]
    yield Finding(
        subject="resolved",
        observed=f"issues end in {reachable[0]!r}"
        if reachable
        else f"statuses that are done: {', '.join(done) or 'none'}",
        remedy="" if reachable else "write one of them into `resolved` of this sink",
    )
    if config.waiting:
        names = sorted(str(each.get("name")) for each in statuses)
        waits = [name for name in config.waiting if name in names]
        yield Finding(
            subject="waiting",
            observed=f"issues wait in {', '.join(map(repr, waits))}" if waits else f"statuses: {', '.join(names)}",
            remedy="" if waits else "write those in which issues wait into `waiting` of this sink, or [] for none",
        )


def _links(config: JiraConfig, client: Jira) -> Iterator[Finding]:
    known = {str(each.get("name")) for each in client.link_types()}
    for setting, name in (("problem_link", config.problem_link), ("follow_up_link", config.follow_up_link)):
        yield Finding(
            subject=setting,
            observed=f"link type {name!r} is there"
            if name in known
            else f"there is no link type {name!r}; known: {', '.join(map(repr, sorted(known)))}",
            remedy="" if name in known else f"write a known one into `{setting}` of this sink",
        )


def _build(name: str, config: JiraConfig, parts: SinkParts) -> TicketSink[Json]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    return TicketSink(
        _Issues(config.issue_type, config, client, parts.console),
        _Changes(name, config, client),
        partial(_check, config, client),
        problems=_Issues(config.problem_type, config, client, parts.console),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="jira_sm",
    title="Jira Service Management issues",
    facts="Jira Cloud platform v3 (December 2025) and Data Center v2, read 2026-11-22",
    config=JiraConfig,
    build=_build,
    index_delay_s=INDEX_DELAY_S,
    problems=True,
    known_errors=True,
    hook=HOOK,
)
