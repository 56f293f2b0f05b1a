"""What a backtest is asked: which files hold what, which question is put, and what may be used to answer it.

A spec names files only by their name within one folder, so the same spec runs on another folder with the same columns.
"""

from datetime import date, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.core.errors import Invalid
from foreshock.core.quantities import Duration

_WEEK = timedelta(days=7)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EntitiesPart(_Part):
    """Which entities there are, and what is known of each from the beginning."""

    file: str = Field(default="entities.csv", description="CSV or Parquet, one row for each entity")
    key: str = Field(default="entity", description="column with its name")
    group: str | None = Field(
        default=None,
        description="column with what entities have in common: a system, a model; rates are drawn towards its own",
    )
    clock: str | None = Field(
        default=None,
        description="column whose equal values mean that steps are at the same time; without it each entity has steps "
        "of its own, and nothing is learned from what others did at the same step",
    )
    order: str | None = Field(
        default=None, description="column with a number; entities with numbers close by stand close by"
    )
    numbers: tuple[str, ...] = Field(default=(), description="columns with numbers that never change")
    kinds: tuple[str, ...] = Field(default=(), description="columns with words that never change")
    cutoff: str | None = Field(
        default=None,
        description="column with the last step whose outcome may be used to fit anything that scores this entity",
    )


class EventsPart(_Part):
    """What happened to entities, each at a step."""

    file: str = Field(default="events.csv", description="CSV or Parquet, one row for each event")
    entity: str = Field(default="entity", description="column with the entity's name")
    step: str = Field(default="step", description="column with the step it happened in")
    known_from: str | None = Field(
        default=None, description="column with the step from which on `numbers` and `kinds` of the event are known"
    )
    numbers: tuple[str, ...] = Field(default=(), description="columns with numbers, known from `known_from` on")
    kinds: tuple[str, ...] = Field(default=(), description="columns with words, known from `known_from` on")


class FramePart(_Part):
    """What was measured: one row for each entity and step."""

    file: str = Field(default="frames.parquet", description="CSV or Parquet")
    entity: str = Field(default="entity", description="column with the entity's name")
    step: str = Field(default="step", description="column with the step; the values are known at its beginning")
    date: str | None = Field(default=None, description="column with the moment at which the step begins")
    columns: tuple[str, ...] = Field(min_length=1, description="columns with numbers; empty where nothing was measured")


class IncidentsPart(_Part):
    """What is to be foreseen."""

    file: str = Field(default="incidents.csv", description="CSV or Parquet, one row for each incident")
    entity: str = Field(default="entity", description="column with the entity's name")
    start: str = Field(default="start", description="column with its first step")
    end: str = Field(default="end", description="column with its last step")
    merge: int = Field(default=0, ge=0, description="incidents with at most so many steps between them are one")


class RowsPart(_Part):
    """Which rows are to be answered."""

    file: str = Field(default="spans.csv", description="CSV or Parquet, one row for each entity")
    entity: str = Field(default="entity", description="column with the entity's name")
    first: str = Field(default="first", description="column with the first step")
    last: str = Field(default="last", description="column with the last step")
    whole_horizon: bool = Field(
        default=False,
        description="probabilities are those of rows whose whole horizon was watched; where an incident ends an "
        "entity's life, they are those of an incident at the end of the horizon",
    )


class FitPart(_Part):
    """Which rows may be learned from, beside what the cut-off of each entity says."""

    column: str | None = Field(
        default=None, description="column of the entities: only those with `value` there are used"
    )
    value: str | None = Field(default=None, description="as the column has it")
    before: date | None = Field(
        default=None, description="outcomes from this day on are not used; needs the frame's `date`"
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.column is None) != (self.value is None):
            raise Invalid("`column` and `value` go together", hint="write both, or neither")
        return self


class BacktestSpec(_Part):
    """A question about the past, and what may be used to answer it."""

    name: str = Field(min_length=1, description="what the card is headed with")
    step: Duration = Field(description="length of a step")
    lead: int = Field(default=1, ge=1, description="an onset nearer than so many steps comes too soon to be of use")
    horizon: int = Field(ge=1, description="an onset at most so many steps ahead is to be foreseen")
    entities: EntitiesPart = Field(default_factory=EntitiesPart, description="the entities")
    events: EventsPart | None = Field(default=None, description="what happened to them")
    frame: FramePart | None = Field(default=None, description="what was measured of them")
    incidents: IncidentsPart = Field(default_factory=IncidentsPart, description="what is to be foreseen")
    rows: RowsPart = Field(default_factory=RowsPart, description="which rows are answered")
    fit: FitPart = Field(default_factory=FitPart, description="which rows may be learned from")
    budget: float = Field(gt=0, description="false alarms for each entity and week that are accepted")
    seed: int = Field(default=0, ge=0, description="for what is drawn at random")

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if self.horizon < self.lead:
            raise Invalid(
                f"a horizon of {self.horizon} ends before the lead of {self.lead}", hint="write horizon >= lead"
            )
        if self.events is None and self.frame is None:
            raise Invalid("there is nothing to learn from", hint="name `events`, a `frame`, or both")
        if self.fit.before is not None and (self.frame is None or self.frame.date is None):
            raise Invalid("fit.before needs the day of each row", hint="name the column in frame.date")
        if self.step <= timedelta(0):
            raise Invalid("a step needs a length", hint="write for example 1d", path=("step",))
        return self

    @property
    def steps_a_week(self) -> float:
        return _WEEK / self.step

    def files(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """The file of each part and the columns wanted of it, by the part's name."""
        entities = self.entities
        wanted: dict[str, tuple[str, tuple[str | None, ...]]] = {
            "entities": (
                entities.file,
                (
                    *(entities.key, entities.group, entities.clock, entities.order, entities.cutoff, self.fit.column),
                    *entities.numbers,
                    *entities.kinds,
                ),
            ),
            "incidents": (self.incidents.file, (self.incidents.entity, self.incidents.start, self.incidents.end)),
            "rows": (self.rows.file, (self.rows.entity, self.rows.first, self.rows.last)),
        }
        if (events := self.events) is not None:
            columns = (events.entity, events.step, events.known_from, *events.numbers, *events.kinds)
            wanted["events"] = (events.file, columns)
        if (frame := self.frame) is not None:
            wanted["frame"] = (frame.file, (frame.entity, frame.step, frame.date, *frame.columns))
        return {
            part: (file, tuple(dict.fromkeys(name for name in names if name))) for part, (file, names) in wanted.items()
        }
