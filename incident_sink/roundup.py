"""Roundup: one issue for each situation, through its REST interface.

Facts:    Roundup 2.6.0 with its classic template, which the tests drive; read 2026-11-22.
Delivery: at least once, one record. A property of the issue carries the situation's id; Roundup has no unique index
          there, so a search comes before each creation. Fields, note and status go in one call for the version that was
          read (``If-Match``), which Roundup demands: it refuses it if anybody was faster. A note is a message with an
          id of ours (``messageid``), looked for before it is made. The answer is read back.
Changes:  read by ``activity``, a few seconds late (``settle``): who took an issue, resolved, closed or reopened it,
          had it wait and go on, and messages. Roundup's REST interface shows no history, so of several changes
          between two visits the last is seen, with the name of who changed the issue last. What ``user`` did is no
          news.
Owner:    a property that a person changed stays theirs (``ownership`` names exceptions); an issue that people resolved
          stays so. One with a status of ``final`` is over for good: a recurrence opens a new one that names it.
Limits:   title 200 characters; messages never change, so a later description comes as one, or in a property of its own
          (``properties``).
Needs:    a user of Foreshock's own with a password and the role User, and a string property of issues for the key.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from weakref import WeakValueDictionary

from msgspec import Struct
from pydantic import Field

from foreshock.connect.markup import html_text, line, plain
from foreshock.connect.ticket_changes import (
    ENDED,
    WAITS,
    Activity,
    Memory,
    Phase,
    TicketChanges,
    Updated,
    moved,
    phase_of,
    reason,
)
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, TicketSink
from foreshock.connect.tickets import description, is_ours, of_scale, title, with_marker
from foreshock.connect.vendors.roundup import Issue, Message, Roundup, RoundupAccount, connect, time_text
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
    TicketChange,
)
from foreshock.core.errors import Denied

_TITLE_CHARS, _TEXT_CHARS, _NAME_CHARS = 200, 16_000, 200
_MAX_ROWS = 5000
"""Issues that are looked at in one visit; what was updated later waits for the next."""
_MAX_WRITTEN = 20_000
_SAME_ACT = timedelta(seconds=2)
"""A message and a new status so close together are one act: the issue's page writes both."""


class RoundupConfig(RoundupAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this tracker."""

    key_property: str = Field(
        default="foreshock_key", description="property of an issue (String) that carries the situation's id"
    )
    key_prefix: str = Field(
        default="foreshock-",
        min_length=1,
        description="what its value begins with; two Foreshocks that share a tracker need two prefixes",
    )
    priority: tuple[str, str, str, str, str] = Field(
        default=("critical", "urgent", "bug", "feature", "wish"),
        description="names of priorities for priority 1 (highest) to 5",
    )
    properties: dict[
        Literal["description", "impact", "urgency", "severity", "ci", "services", "assignment_group"], str
    ] = Field(default_factory=dict, description="properties (String) of an issue that carry more of an incident")
    impact: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for impact 1 (highest), 2 and 3")
    urgency: tuple[str, str, str] = Field(default=("1", "2", "3"), description="values for urgency 1, 2 and 3")
    resolved: str = Field(default="resolved", description="status of an issue that is over and may be opened again")
    reopened: str = Field(default="in-progress", description="status of one that is opened again")
    final: tuple[str, ...] = Field(
        default=("done-cbb",),
        description="statuses by which people end an issue for good; a recurrence opens a new one",
    )
    waiting: tuple[str, ...] = Field(
        default=("deferred", "need-eg"), description="statuses in which an issue waits for somebody"
    )
    fixed: dict[str, str] = Field(
        default_factory=dict, description="further properties of a new issue, such as status or assignedto"
    )


class _Written(dict[str, str]):
    """The status that we wrote last, by issue. Roundup would have it be the act of whoever changed anything since."""

    def note(self, id: str, status: str) -> None:
        if len(self) >= _MAX_WRITTEN:
            self.clear()
        self[id] = status


_WRITTEN: WeakValueDictionary[tuple[str, str], _Written] = WeakValueDictionary()
"""By tracker and prefix, for all connections of this process: one reads what the others wrote."""


class _Issues(Records[Issue]):
    state_hint = "check `resolved` and `reopened` against the statuses of the tracker, and its detectors"

    def __init__(self, config: RoundupConfig, client: Roundup, console: str) -> None:
        self.name = client.name
        self.key_place = f"property {config.key_property!r}"
        self.key_hint = f"let {config.user} view and edit {config.key_property!r}"
        self._written = _written(config)
        self._config = config
        self._client = client
        self._console = console

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Issue]:
        name, value = self._config.key_property, self._config.key_prefix + key
        rows = self._client.issues({f"{name}:": value}, (name,))
        ids = [row.id for row in rows if row.values.get(name) == value]
        return [issue for id in ids if (issue := self.get(id)) is not None]

    def get(self, id: str) -> Issue | None:
        return self._client.issue(id)

    def see(self, record: Issue) -> Seen:
        config = self._config
        value, status = record.values.get(config.key_property, ""), record.values.get("status", "")
        standing = Standing.ENDED if status == config.resolved else Standing.OPEN
        return Seen(
            id=record.id,
            number=record.id,
            url=f"{config.url}/issue{record.id}",
            standing=Standing.FINAL if status in config.final else standing,
            state=status,
            key=value.removeprefix(config.key_prefix) if value.startswith(config.key_prefix) else "",
            fields={name: record.values.get(name, "") for name in ("title", "priority", *config.properties.values())},
            kept={"etag": record.etag},
        )

    def own(self, record: Issue, seen: Seen) -> Sequence[str]:
        """What we changed last is ours, after anybody else's hand nothing is."""
        return tuple(seen.fields) if record.actor == self._config.user else ()

    def noted(self, record: Issue, order_id: str, kept: Mapping[str, str]) -> bool:
        if kept.get("etag") == record.etag:  # nothing happened since our last write: no answer was lost
            return False
        return not set(record.messages).isdisjoint(self._client.said(self._message_id(order_id)))

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Issue | None) -> Issue | None:
        follows = f"It follows issue{before.id}." if before is not None else ""  # Roundup makes that a link
        text = _text(order.id, description(order, self._console, _TEXT_CHARS // 2), order.note, follows)
        values = {
            "title": title(order, _TITLE_CHARS),
            **self._config.fixed,
            **{name: value for name, value in wanted.items() if value},
            self._config.key_property: self._config.key_prefix + order.key,
            "messages": [self._said(order.id, text)],
        }
        return self.get(self._client.create(values))

    def write(self, record: Issue, change: Change) -> Issue | None:
        values: dict[str, Any] = dict(change.fields)
        status = {Move.END: self._config.resolved, Move.REOPEN: self._config.reopened}.get(change.move, "")
        if status:
            values["status"] = status
            self._written.note(record.id, status)
        if change.note:
            values["messages"] = [*record.messages, self._said(change.order.id, _text(change.order.id, change.note))]
            # Else a detector of the classic template takes a message for a reason to open the issue again.
            values.setdefault("status", record.values["status"])
        self._client.update(record.id, values, record.etag)
        return self.get(record.id)

    def _said(self, order_id: str, text: str) -> str:
        """The id of a message for an issue; one that an earlier attempt made, and no issue shows, is used."""
        messageid = self._message_id(order_id)
        unseen = (id for id in self._client.said(messageid) if not self._client.issues({"messages": id}, ()))
        return next(unseen, "") or self._client.say(text, messageid)

    def _message_id(self, order_id: str) -> str:
        return f"<{self._config.key_prefix}{order_id}@foreshock>"

    def noted_only(self, order: Order | ProblemOrder) -> str:
        return "" if "description" in self._config.properties else str(order.fields.get("description", ""))

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        config, fields = self._config, order.fields
        found: dict[str, str] = {}
        if "title" in fields:
            found["title"] = title(order, _TITLE_CHARS)
        if "priority" in fields:
            found["priority"] = of_scale(config.priority, fields["priority"])
        for word, name in config.properties.items():
            if word not in fields:
                continue
            match word:
                case "impact" | "urgency":
                    found[name] = of_scale(config.impact if word == "impact" else config.urgency, fields[word])
                case "services":
                    found[name] = line(", ".join(map(str, fields[word])), _NAME_CHARS)
                case "description":
                    found[name] = plain(str(fields[word]), _TEXT_CHARS)
                case _:
                    found[name] = line(str(fields[word]), _NAME_CHARS)
        return found


def _written(config: RoundupConfig) -> _Written:
    return _WRITTEN.setdefault((config.url, config.key_prefix), _Written())


def _text(order_id: str, *parts: str) -> str:
    return with_marker(plain("\n\n".join(filter(None, parts)), _TEXT_CHARS), order_id, _TEXT_CHARS)


# ---- what people did ------------------------------------------------------------------------------------------------


class _Told(Struct, frozen=True):
    """Of an issue as it was told: its status and who had it."""

    status: str
    assignee: str


class _Changes(TicketChanges[Issue]):
    """Issues by time of change. They show what is, not what happened: what was told before is remembered."""

    def __init__(self, name: str, config: RoundupConfig, client: Roundup) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._written = _written(config)
        self._memory = Memory[_Told]()

    def changes(self, cursor: int) -> list[TicketChange]:
        self._memory.believe(cursor)
        return super().changes(cursor)

    def updated(self, start: datetime) -> Updated[Issue]:
        name, prefix = self._config.key_property, self._config.key_prefix
        self._memory.recall(start, partial(self._waiting, start))
        query = {name: prefix, "activity": f"{time_text(start)};"}
        rows = self._client.issues(query, (name, "status", "assignedto"), sort="activity", limit=_MAX_ROWS)
        ours = [row for row in rows if row.values.get(name, "").startswith(prefix)]  # text is searched anywhere in it
        return Updated(ours, self._client.listed_at, rows[-1].activity if len(rows) == _MAX_ROWS else None)

    def _waiting(self, start: datetime) -> dict[str, _Told]:
        name, prefix = self._config.key_property, self._config.key_prefix
        found: dict[str, _Told] = {}
        for status in self._config.waiting:
            query = {name: prefix, "status": status, "activity": f";{time_text(start)}"}
            for row in self._client.issues(query, (name, "status", "assignedto"), limit=_MAX_ROWS):
                if row.values.get(name, "").startswith(prefix) and row.activity < start:
                    found[row.id] = _told(row)
        return found

    def activities(self, records: Sequence[Issue], start: datetime, horizon: datetime) -> Iterator[Activity]:
        said = [message for message in self._client.messages(start) if records and self._is_news(message)]
        for issue in records:
            talk = [message for message in said if message.id in issue.messages]
            if issue.activity < horizon:
                seen = _told(issue)
                steps = list(self._steps(issue, self._memory.before(issue.id), seen))
                for state, actor in steps:
                    carried = [message for message in talk if state != "taken" and _one_act(message, issue, actor)]
                    talk = [message for message in talk if message not in carried]
                    comment = "\n".join(map(_readable, carried))
                    code = seen.status if state in ("resolved", "closed") else ""
                    why = reason(seen.status, comment) if state == "pending" else comment
                    yield self._activity(issue, issue.activity, state, actor, why, code)
                self._memory.tell(issue.id, seen, issue.activity, len(steps))
            for message in talk:
                yield self._activity(issue, message.at, "commented", message.author, _readable(message))

    def _is_news(self, message: Message) -> bool:
        return message.author != self._config.user and not is_ours(message.text)

    def _steps(self, issue: Issue, before: _Told | None, seen: _Told) -> Iterator[tuple[str, str]]:
        """(state, actor) of what people did to an issue since it was told of."""
        us = self._config.user
        if seen.assignee not in ("", us) and (before is None or before.assignee != seen.assignee):
            yield "taken", seen.assignee
        written, was = self._written.get(issue.id), self._phase(before.status) if before is not None else None
        if was is None and written is not None and self._phase(written) in ENDED:
            was = self._phase(written)
        for state in moved(was, self._phase(seen.status)):
            if issue.actor != us and seen.status != written:
                yield state, issue.actor
            elif state in WAITS and before is not None:  # our own write may have come behind it
                yield state, issue.actor if issue.actor != us else ""

    def _phase(self, status: str) -> Phase:
        return phase_of(status, (self._config.resolved,), self._config.final, self._config.waiting)

    def _activity(
        self, issue: Issue, at: datetime, state: str, actor: str, comment: str = "", code: str = ""
    ) -> Activity:
        return Activity(
            at=at,
            source=issue.id,
            situation=issue.values[self._config.key_property].removeprefix(self._config.key_prefix),
            number=issue.id,
            state=state,
            actor=actor,
            comment=comment,
            code=code,
        )


def _told(issue: Issue) -> _Told:
    return _Told(issue.values.get("status", ""), issue.values.get("assignedto", ""))


def _one_act(message: Message, issue: Issue, actor: str) -> bool:
    return message.author == actor and timedelta(0) <= issue.activity - message.at <= _SAME_ACT


def _readable(message: Message) -> str:
    return plain(html_text(message.text) if message.type == "text/html" else message.text, _TEXT_CHARS)


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: RoundupConfig, client: Roundup) -> Iterator[Finding]:
    """Only reads; ``sink test --create`` shows the rest."""
    try:
        statuses, priorities = client.names("status"), client.names("priority")
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield Finding(subject="credentials", observed=f"{config.user} reads the tracker")
    yield Finding(subject="permissions", observed="what the user may write is not told: try --create")
    yield _property(config, client, "key field", config.key_property)
    for name in dict.fromkeys(config.properties.values()):
        yield _property(config, client, "properties", name)
    for subject, known, wanted in (
        ("state mapping", statuses, (config.resolved, config.reopened, *config.final, *config.waiting)),
        ("priority", priorities, config.priority),
    ):
        unknown = [name for name in wanted if name not in known]
        yield Finding(
            subject=subject,
            observed=f"{', '.join(map(repr, unknown))} is not there; known: {', '.join(map(repr, known))}"
            if unknown
            else f"{', '.join(wanted)} are there",
            remedy=f"write known names into {_SETTING[subject]} of this sink" if unknown else "",
        )


def _property(config: RoundupConfig, client: Roundup, subject: str, name: str) -> Finding:
    try:
        client.issues({name: f"{config.key_prefix}sink-test"}, (), limit=1)
    except Denied as error:
        return Finding(subject=subject, observed=str(error), remedy=f"add {name}=String() to issue in schema.py")
    return Finding(subject=subject, observed=f"issues have {name}, and are found by it")


_SETTING = {"state mapping": "resolved, reopened, final or waiting", "priority": "priority"}


def _build(name: str, config: RoundupConfig, parts: SinkParts) -> TicketSink[Issue]:
    client = connect(config, name, f"sinks.{name}", parts.http)
    issues = _Issues(config, client, parts.console)
    changes = _Changes(name, config, client)
    return TicketSink(issues, changes, partial(_check, config, client), ownership=config.ownership)


SINK = SinkKind(
    kind="roundup",
    title="Roundup issues",
    facts="REST interface of Roundup 2.6.0, classic template, read 2026-11-22",
    config=RoundupConfig,
    build=_build,
)
