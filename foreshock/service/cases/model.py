"""What a case file holds.

``python -m foreshock.service.settings_files`` writes its JSON Schema to ``config/``.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from correlation.settings import CorrelationSettings, Matchers
from foreshock.connect.config import InvalidPart
from foreshock.core.errors import Invalid
from foreshock.core.model import HeldKind
from foreshock.core.quantities import Duration, parse_duration
from foreshock.core.topology import DIRECTIONS

_FOREVER = timedelta(days=365)
_SINK = "desk"
_ACTIONS = (
    "fire", "resolve", "flap", "change", "silence", "maintenance", "end", "merge", "split", "move", "not_related",
    "cause", "ticket", "relate", "unrelate", "retire",
)  # fmt: skip
_OF_AN_ALERT = ("ticket", "cause")
_TYPES = "|".join(DIRECTIONS)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_alert(text: str) -> str:
    name, on, ci = text.partition(" on ")
    if not on or not name.strip() or not ci.strip():
        raise Invalid(f"{text!r} is no alert", hint="write NAME on CI: DiskFull on db1")
    return f"{name.strip()} on {ci.strip()}"


def _are_alerts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_is_alert, texts))


def _is_alert_if_any(text: str) -> str:
    return _is_alert(text) if text else text


def _are_some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise Invalid("there is none", hint="write at least one")
    return values


_SOME = AfterValidator(_are_some)
"""Not ``min_length``, which would also complain of a list whose entries are all wrong."""


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _schema_of(one: dict[str, Any], *, many_only: bool = False) -> WithJsonSchema:
    many = {"type": "array", "items": one}
    return WithJsonSchema(many if many_only else {"anyOf": [one, many]})


_ALERT: dict[str, Any] = {"type": "string", "pattern": r"\S on \S", "examples": ["DiskFull on db1"]}
_TEXT: dict[str, Any] = {"type": "string"}

Alert = Annotated[str, AfterValidator(_is_alert_if_any), WithJsonSchema(_ALERT)]
Alerts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AfterValidator(_are_alerts), _schema_of(_ALERT)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), _schema_of(_TEXT)]


def _are_relationships(lines: tuple[str, ...]) -> tuple[str, ...]:
    for index, line in enumerate(lines):
        words = line.split()
        if len(words) != 3 or words[1] not in DIRECTIONS:
            hint = f"write SOURCE TYPE TARGET, TYPE one of {', '.join(DIRECTIONS)}"
            raise Invalid(f"{line!r} is no relationship", hint=hint, path=(index,))
    return lines


_TIE = {"type": "string", "pattern": rf"^\s*\S+\s+({_TYPES})\s+\S+\s*$"}

Ties = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AfterValidator(_are_relationships), _schema_of(_TIE)]


class KnownCi(_Part):
    """What is known of a CI of the topology."""

    kind: str = Field(default="", description="what it is: host, service, database, …")
    criticality: int = Field(default=0, ge=0, le=4, description="1 (critical) to 4 (low); 0: nobody has said")
    owner: str = Field(default="", description="the group that gets its tickets")
    aliases: tuple[str, ...] = Field(default=(), description="other names that alerts give it")


class Step(_Part):
    """What happens at one moment: one action. Alerts are written ``NAME on CI``."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in _ACTIONS]})

    at: Duration = Field(description="since the beginning of the case")
    fire: Alerts = Field(default=(), description="alerts that fire")
    resolve: Alerts = Field(default=(), description="alerts that are over")
    flap: Alerts = Field(default=(), description="alerts that fire, and are over half of `every` later")
    every: Duration | None = Field(default=None, description="the time between repetitions of the step")
    times: int = Field(
        default=1, ge=1, le=10_000, description="how often: a re-send of `fire`, a further round of `flap`"
    )
    gaps: Texts = Field(
        default=(), description="from when to when repetitions are missing, since the beginning of the case: 5m-8m"
    )
    holds: Duration = Field(default=_FOREVER, description="how long the alerts fire without being sent again")
    severity: str = Field(default="critical", description="of the alerts, in the words of a source")
    summary: str = Field(default="", description="what the alerts say")
    labels: dict[str, str] = Field(default_factory=dict, description="more labels of the alerts")
    change: Texts = Field(default=(), description="CIs that somebody changed")
    silence: Annotated[Matchers, BeforeValidator(_one_or_many), _schema_of(_TEXT)] = Field(
        default=(), description='matchers of a silence: host="db1"'
    )
    maintenance: Texts = Field(default=(), description="CIs whose maintenance begins, with what depends on them")
    for_: Duration = Field(
        default=timedelta(hours=1), alias="for", description="how long the silence or the maintenance lasts"
    )
    end: Literal["", "silence", "maintenance"] = Field(default="", description="what was set so far ends now")
    merge: Alerts = Field(default=(), description="their situations become one, the one that holds the first")
    split: Alerts = Field(default=(), description="they leave the situation that holds the first")
    move: Alerts = Field(default=(), description="they leave the situation that holds the first for that of `to`")
    to: Alert = Field(default="", description="an alert of the situation that `move` goes to")
    not_related: Texts = Field(default=(), description="two alerts, or two CIs, that do not belong together")
    relate: Ties = Field(default=(), description="relationships that the topology has from now on: shop uses api")
    unrelate: Ties = Field(default=(), description="relationships that it has no more")
    retire: Texts = Field(default=(), description="CIs that it has no more, with their relationships")
    cause: str = Field(default="", description="the CI that was the cause, in the situation that holds the alert `of`")
    ticket: Literal[
        "", "confirmed", "rejected", "taken", "commented", "pending", "resumed", "resolved", "closed", "reopened"
    ] = Field(
        default="",
        description="what becomes of the ticket of the situation that holds the alert `of`: the ticket system confirms "
        "or rejects what was written, or somebody does something there",
    )
    sink: str = Field(default="", description="of that ticket; the first one if empty")
    code: str = Field(default="", description="with which the ticket is resolved or closed: No fault found")
    of: Alert = Field(default="", description="an alert of the situation that is meant")
    by: str = Field(default="somebody", description="who did it")
    title: str = Field(default="change", description="of a change or a maintenance; the comment of what people say")

    @field_validator("not_related")
    @classmethod
    def _are_two(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names and (len(set(names)) != 2 or len({" on " in name for name in names}) != 1):
            raise Invalid(f"{', '.join(names)} are not two of a kind", hint="write two alerts, or two CIs")
        return names

    @field_validator("gaps")
    @classmethod
    def _are_spans(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for index, text in enumerate(texts):
            begin, dash, end = text.partition("-")
            if not dash or parse_duration(begin.strip()) >= parse_duration(end.strip()):
                raise Invalid(f"{text!r} is no span", hint="write FROM-TO: 5m-8m", path=(index,))
        return texts

    @property
    def action(self) -> str:
        return next(name for name in _ACTIONS if getattr(self, name))

    def is_missing(self, at: timedelta) -> bool:
        """Whether the repetition at this moment falls into a gap."""
        spans = (text.partition("-") for text in self.gaps)
        return any(parse_duration(begin.strip()) <= at < parse_duration(end.strip()) for begin, _, end in spans)

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        done = [name for name in _ACTIONS if getattr(self, name)]
        if len(done) != 1:
            raise Invalid(
                f"a step does one thing, this one {' and '.join(done) or 'nothing'}", hint="write a step each"
            )
        if self.times > 1 and self.every is None:
            raise Invalid(f"{self.times} times need a time between", hint="say `every`", path=("times",))
        if (self.action in _OF_AN_ALERT) is not bool(self.of):
            said = f"`{self.action}` names no situation" if not self.of else f"`of` says nothing of `{self.action}`"
            raise Invalid(said, hint="name an alert of the situation with `of`, for `ticket` and `cause`")
        if (self.sink or self.code) and not self.ticket:
            raise Invalid("`sink` and `code` say something of a ticket", hint="leave them out, or say `ticket`")
        if bool(self.move) is not bool(self.to):
            raise Invalid("`move` and `to` go together", hint="name with `to` an alert of the situation they go to")
        if self.merge and len(set(self.merge)) < 2:
            raise Invalid("one alert alone merges nothing", hint="name an alert of each situation", path=("merge",))
        return self


_TICKET = re.compile(r"(open|update|resolve|reopen) (\S+)")


class Expected(_Part):
    """One situation as it should be; what is not written may be anything."""

    alerts: Annotated[Alerts, _SOME] = Field(description="all its alerts")
    cause: str | None = Field(default=None, description='the likeliest cause; "": too little evidence for one')
    priority: int | None = Field(default=None, ge=1, le=5, description="1 is the most urgent")
    state: Literal["open", "resolved"] | None = None
    held: Literal["", *(kind.value for kind in HeldKind)] | None = Field(  # type: ignore[valid-type]
        default=None, description='the kind of suppression that holds its ticket back; "": none should'
    )
    held_because: str | None = Field(
        default=None, description="what the reason of the suppression says, or a part of it"
    )
    assignment: str | None = Field(default=None, description="the group that gets its ticket")
    tickets: tuple[str, ...] | None = Field(
        default=None, description="the writes so far, with their times: open 30s, update 2m, resolve 10m"
    )

    @field_validator("tickets")
    @classmethod
    def _are_writes(cls, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for index, text in enumerate(texts or ()):
            found = _TICKET.fullmatch(text)
            if found is None:
                hint = "write open, update, resolve or reopen, and when: open 30s"
                raise Invalid(f"{text!r} is no write", hint=hint, path=(index,))
            parse_duration(found[2])
        return texts


_VERBS = ("open", "update", "resolve", "reopen", "not_opened")
_NOTICES = ("sla", "escalation")


class ExpectedWrite(_Part):
    """One write of a ticket that there should be, or a ticket that should not be; what is not written may be
    anything. Tickets are named by an alert that they are about."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in _VERBS]})

    open: Alert = Field(default="", description="a ticket is opened")
    update: Alert = Field(default="", description="it is updated")
    resolve: Alert = Field(default="", description="it is resolved")
    reopen: Alert = Field(default="", description="it is opened again")
    not_opened: Alert = Field(default="", description="no ticket is opened")
    because: str = Field(default="", description="of `not_opened`: the reason, or a part of it")
    at: Duration | None = Field(default=None, description="when, since the beginning of the case")
    priority: int | None = Field(default=None, ge=1, le=5, description="that the ticket has then")
    group: str | None = Field(default=None, description="that it is assigned to then; empty for nobody")
    title: str | None = Field(default=None, description="that it has then, or a part of it")
    sink: str = Field(default="", description="that is told; any one if empty")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        named = [name for name in _VERBS if getattr(self, name)]
        if len(named) != 1:
            hint = f"write one of {', '.join(_VERBS)} with an alert of the ticket"
            raise Invalid(f"it says {' and '.join(named) or 'nothing'} of a ticket", hint=hint)
        told = [name for name in ("at", "priority", "group", "title") if getattr(self, name) is not None]
        if self.not_opened and told:
            raise Invalid("what is not opened has nothing", hint=f"leave {', '.join(told)} out", path=(told[0],))
        if self.because and not self.not_opened:
            raise Invalid("`because` goes with `not_opened`", hint="leave it out", path=("because",))
        return self

    @property
    def verb(self) -> str:
        return next(name for name in _VERBS if getattr(self, name))

    @property
    def alert(self) -> str:
        return str(getattr(self, self.verb))


class ExpectedNotice(_Part):
    """Something that people are told beside the ticket; what is not written may be anything."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in _NOTICES]})

    sla: Alert = Field(default="", description="promised time runs out for the incident that holds this alert")
    escalation: Alert = Field(default="", description="nobody takes the incident that holds this alert")
    level: int | None = Field(default=None, ge=1, description="percent of the promised time; step of the escalation")
    to: Texts | None = Field(default=None, description="whom it is for, the most fitting first")
    at: Duration | None = Field(default=None, description="when, since the beginning of the case")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        named = [name for name in _NOTICES if getattr(self, name)]
        if len(named) != 1:
            hint = "write `sla` or `escalation` with an alert of the incident"
            raise Invalid(f"it says {' and '.join(named) or 'nothing'}", hint=hint)
        return self

    @property
    def kind(self) -> str:
        return next(name for name in _NOTICES if getattr(self, name))

    @property
    def alert(self) -> str:
        return str(getattr(self, self.kind))


class ExpectedProblem(_Part):
    """A Problem that incidents have made."""

    about: str = Field(min_length=1, description="the CI that is the cause each time")
    incidents: int | None = Field(default=None, ge=1, description="how many it has")


class Check(_Part):
    """What should be at one moment."""

    at: Duration = Field(description="since the beginning of the case; what happens at that very moment is seen")
    situations: tuple[Expected, ...] | SkipJsonSchema[None] = Field(
        default=None, description="all there are, without those that were merged"
    )
    others: bool = Field(default=False, description="there may be situations that are not listed")
    tickets: tuple[ExpectedWrite, ...] = Field(
        default=(), description="writes so far, and tickets that were not opened; there may be others"
    )
    notices: tuple[ExpectedNotice, ...] | SkipJsonSchema[None] = Field(
        default=None, description="all that people were told so far beside the tickets"
    )
    problems: tuple[ExpectedProblem, ...] | SkipJsonSchema[None] = Field(
        default=None, description="all Problems so far"
    )

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if self.situations is None and not self.tickets and self.notices is None and self.problems is None:
            hint = "write situations, tickets, notices or problems"
            raise Invalid("it expects nothing", hint=hint, path=("at",))
        return self


class Setting(_Part):
    """What a case, or all of a file, begins with; a case's own comes on top of the file's."""

    settings: dict[str, Any] = Field(default_factory=dict, description="correlation settings that differ")
    rules: Path | None = Field(default=None, description="file or folder of rules; relative to this file")
    topology: Annotated[tuple[str, ...], AfterValidator(_are_relationships), _schema_of(_TIE, many_only=True)] = Field(
        default=(), description="relationships: shop depends_on api"
    )
    cis: dict[str, KnownCi] = Field(default_factory=dict, description="what is known of CIs")
    sinks: Texts = Field(default=(), description="that hear of tickets; desk if there is none")

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            CorrelationSettings.model_validate(settings)
        except ValidationError as error:
            raise InvalidPart(error, CorrelationSettings) from None
        return settings


class Case(Setting):
    """What happens, and what should come of it."""

    name: str = Field(min_length=1, max_length=200, description="what it shows, in a sentence")
    steps: Annotated[tuple[Step, ...], _SOME] = Field(description="what happens")
    expect: Annotated[tuple[Check, ...], _SOME] = Field(description="what there should be, at one or more moments")

    def named_sinks(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for index, step in enumerate(self.steps):
            if step.sink:
                yield ("steps", index, "sink"), step.sink
        for number, check in enumerate(self.expect):
            for index, write in enumerate(check.tickets):
                if write.sink:
                    yield ("expect", number, "tickets", index, "sink"), write.sink


class CaseFile(Setting):
    """A case file."""

    version: Literal[1] = 1
    cases: Annotated[tuple[Case, ...], _SOME]

    @field_validator("cases")
    @classmethod
    def _have_own_names(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        names: set[str] = set()
        for index, case in enumerate(cases):
            if case.name in names:
                raise Invalid(f"{case.name!r} is the name of two cases", hint="give each its own", path=(index, "name"))
            names.add(case.name)
        return cases

    @model_validator(mode="after")
    def _knows_its_sinks(self) -> Self:
        for index, case in enumerate(self.cases):
            known = self.sinks_of(case)
            for path, sink in case.named_sinks():
                if sink not in known:
                    hint = f"`sinks` has {', '.join(known)}"
                    raise Invalid(f"there is no sink {sink!r}", hint=hint, path=("cases", index, *path))
        return self

    def sinks_of(self, case: Case) -> tuple[str, ...]:
        return case.sinks or self.sinks or (_SINK,)
