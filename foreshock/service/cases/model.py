"""What a case file holds."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from correlation.settings import CorrelationSettings, Matchers
from foreshock.connect.config import InvalidPart
from foreshock.core.errors import Invalid
from foreshock.core.quantities import Duration
from foreshock.core.topology import DIRECTIONS

_FOREVER = timedelta(days=365)
_ACTIONS = ("fire", "resolve", "flap", "change", "silence", "ticket")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_alert(text: str) -> str:
    name, on, ci = text.partition(" on ")
    if not on or not name.strip() or not ci.strip():
        raise Invalid(f"{text!r} is no alert", hint="write NAME on CI: DiskFull on db1")
    return f"{name.strip()} on {ci.strip()}"


def _are_some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise Invalid("there is none", hint="write at least one")
    return values


_SOME = AfterValidator(_are_some)
"""Not ``min_length``, which would also complain of a list whose entries are all wrong."""


class KnownCi(_Part):
    """What is known of a CI of the topology."""

    kind: str = ""
    criticality: int = Field(default=0, ge=0, le=4)
    owner: str = ""
    aliases: tuple[str, ...] = ()


class Step(_Part):
    """What happens at one moment: one action.

    Alerts are written ``NAME on CI``. ``every`` and ``times`` repeat the step: a re-send of ``fire``, a further round
    of ``flap`` (it fires and is resolved half of ``every`` later).
    """

    at: Duration = Field(description="since the beginning of the case")
    fire: tuple[str, ...] = ()
    resolve: tuple[str, ...] = ()
    flap: tuple[str, ...] = ()
    every: Duration | None = None
    times: int = Field(default=1, ge=1, le=10_000)
    holds: Duration = Field(default=_FOREVER, description="how long the alerts fire without being sent again")
    severity: str = "critical"
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict, description="more labels of the alerts")
    change: tuple[str, ...] = Field(default=(), description="CIs that somebody changed")
    silence: Matchers = Field(default=(), description='matchers: host="db1"')
    for_: Duration = Field(default=timedelta(hours=1), alias="for", description="how long it is silent")
    ticket: Literal["", "taken", "commented", "resolved", "closed", "reopened", "rejected"] = Field(
        default="", description="what becomes of the ticket of the situation that holds the alert `of`"
    )
    of: str = ""
    by: str = Field(default="somebody", description="who did it")
    title: str = Field(default="change", description="of a change, or the comment of a silence")

    @field_validator("fire", "resolve", "flap", "change", "silence", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("fire", "resolve", "flap")
    @classmethod
    def _are_alerts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_is_alert, texts))

    @field_validator("of")
    @classmethod
    def _is_alert(cls, text: str) -> str:
        return _is_alert(text) if text else text

    @property
    def action(self) -> str:
        return next(name for name in _ACTIONS if getattr(self, name))

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        done = [name for name in _ACTIONS if getattr(self, name)]
        if len(done) != 1:
            raise Invalid(
                f"a step does one thing, this one {' and '.join(done) or 'nothing'}", hint="write a step each"
            )
        if self.times > 1 and self.every is None:
            raise Invalid(f"{self.times} times need a time between", hint="say `every`", path=("times",))
        if bool(self.ticket) is not bool(self.of):
            raise Invalid("a ticket is named by an alert of its situation", hint="say `ticket` and `of`")
        return self


class Expected(_Part):
    """One situation as it should be; what is not written may be anything.

    Attributes:
        cause: "" where the evidence should not be enough for one. held: the kind of suppression that holds its ticket
            back ("silence", …), "" where none should.
        tickets: writes so far: ``open 30s``, ``update 2m``, ``resolve 10m``.
    """

    alerts: Annotated[tuple[str, ...], _SOME]
    cause: str | None = None
    priority: int | None = Field(default=None, ge=1, le=5)
    state: Literal["open", "resolved"] | None = None
    held: str | None = None
    assignment: str | None = None
    tickets: tuple[str, ...] | None = None

    @field_validator("alerts")
    @classmethod
    def _are_alerts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_is_alert, texts))


class Check(_Part):
    """What should be at one moment."""

    at: Duration
    situations: tuple[Expected, ...]
    others: bool = Field(default=False, description="there may be situations that are not listed")


class Setting(_Part):
    """What a case, or all of a file, begins with; a case's own comes on top of the file's."""

    settings: dict[str, Any] = Field(default_factory=dict, description="correlation settings that differ")
    rules: Path | None = Field(default=None, description="file or folder of rules; relative to this file")
    topology: tuple[str, ...] = Field(default=(), description="relationships: shop depends_on api")
    cis: dict[str, KnownCi] = Field(default_factory=dict, description="what is known of CIs")

    @field_validator("topology")
    @classmethod
    def _are_relationships(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for index, line in enumerate(lines):
            words = line.split()
            if len(words) != 3 or words[1] not in DIRECTIONS:
                hint = f"write SOURCE TYPE TARGET, TYPE one of {', '.join(DIRECTIONS)}"
                raise Invalid(f"{line!r} is no relationship", hint=hint, path=(index,))
        return lines

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            CorrelationSettings.model_validate(settings)
        except ValidationError as error:
            raise InvalidPart(error, CorrelationSettings) from None
        return settings


class Case(Setting):
    name: str = Field(min_length=1, max_length=200)
    steps: Annotated[tuple[Step, ...], _SOME]
    expect: Annotated[tuple[Check, ...], _SOME]


class CaseFile(Setting):
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
