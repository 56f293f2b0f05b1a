"""What is to be scored: which files hold what, how far rows are apart, and which method scores them.

A spec names files only by their name within one folder, so the same spec runs on another folder with the same columns.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.core.errors import Invalid
from foreshock.core.quantities import Duration


class Method(StrEnum):
    JOINT = "joint"
    ALONE = "alone"
    ALARMS = "alarms"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilesPart(_Part):
    """Files of their own for each entity."""

    folder: str = Field(default="frames", description="folder within the data")
    history: str | None = Field(
        default=None, description="how the name of a file ends that holds what was before, mostly normal"
    )
    scored: str = Field(default="_test.parquet", description="how the name of a file ends whose rows are scored")
    slash: str = Field(default="__", description="what stands for a `/` of the entity in the name of its file")


class TablePart(_Part):
    """One file for all entities."""

    file: str = Field(description="CSV, compressed or not, or Parquet")
    entity: str = Field(default="entity", description="column with the entity's name")


class AnswerPart(_Part):
    """What the columns of scores.csv are called."""

    entity: str = "entity"
    time: str = "time"
    score: str = "score"


class DetectSpec(_Part):
    """Which rows are scored, and how."""

    name: str = Field(min_length=1, description="what is scored, in a few words")
    method: Method = Field(
        description="`joint`: all metrics of an entity together, after a history; `alone`: one series, how strange "
        "each point is; `alarms`: one series, only where there is something to tell"
    )
    files: FilesPart | None = Field(default=None, description="where each entity has files of its own")
    table: TablePart | None = Field(default=None, description="where one file holds all entities")
    time: str | None = Field(
        default=None,
        description="column with the moment, ISO 8601 or seconds since 1970; without it rows are numbered from 0",
    )
    step: Duration | None = Field(default=None, description="from row to row; without it what `time` has it most often")
    columns: tuple[str, ...] = Field(default=(), description="columns with numbers; without it all but entity and time")
    answer: AnswerPart = Field(default_factory=AnswerPart, description="what the columns of scores.csv are called")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.files is None) == (self.table is None):
            raise Invalid("rows come from `files` or from a `table`", hint="write one of them")
        if self.method is Method.JOINT and (self.files is None or self.files.history is None):
            raise Invalid("`joint` learns from a history", hint="write files.history, for example _train.parquet")
        if self.time is None and self.step is None:
            raise Invalid("nothing says how far rows are apart", hint="write `step`, or the column `time`")
        if self.step is not None and self.step <= timedelta(0):
            raise Invalid("a step needs a length", hint="write for example 1m", path=("step",))
        return self
