"""What must not fill up, as settings: which series have a limit, and how far ahead it is looked for."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import parse_matchers
from foreshock.core.quantities import Duration
from foreshock.service.metric_process import Limit
from predictor.settings import ForeseeSettings


class CapacityLimit(BaseModel):
    """A limit of some series; of each series the first that fits counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str = Field(
        min_length=1,
        max_length=4096,
        description="matchers on metric, ci, dimension and unit of the series",
        examples=['metric="disk_used", dimension!="mount=/scratch"'],
    )
    limit: float | None = Field(
        allow_inf_nan=False,
        description="what the values must not reach, in their unit; null: nothing is forecast for these series",
        examples=[99.0],
    )
    direction: Literal["up", "down"] = Field(
        default="up", description="up: it must not rise to the limit; down: it must not fall to it"
    )
    horizon: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="how far ahead it is looked for",
    )
    time_left: bool = Field(
        default=False,
        description="the values are the time that is left (unit s, h or d), as of a certificate: no trend is needed",
    )
    signs: tuple[str, ...] = Field(
        default=(),
        max_length=10,
        description="words in the labels of alerts that are about this; without: what the dimension names (/var)",
        examples=[["memory"]],
    )

    @field_validator("match")
    @classmethod
    def _are_matchers(cls, match: str) -> str:
        try:
            if not parse_matchers(match):
                raise Invalid("it matches every series", hint='write matchers such as metric="disk_used"')
        except Malformed as error:
            raise Invalid(str(error), hint=error.hint) from None
        return match


OWN = (
    CapacityLimit(match='metric="disk_used", unit="%"', limit=99.0),
    CapacityLimit(match='metric="inodes_used", unit="%"', limit=99.0),
    CapacityLimit(match='metric="memory_used", unit="%"', limit=98.0, signs=("memory",)),
    CapacityLimit(match='metric="swap_used", unit="%"', limit=95.0, signs=("swap",)),
    CapacityLimit(
        match='metric="certificate_days_left"',
        limit=0.0,
        time_left=True,
        direction="down",
        horizon=timedelta(days=21),
        signs=("certificate",),
    ),
)
"""Of what the collectors host and probe measure."""


class PredictSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    capacity: tuple[CapacityLimit, ...] = Field(
        default=(),
        max_length=100,
        description="series with a limit; when one is likely to reach it a proactive problem opens, and when it "
        "is near the detector `saturation` says so",
        examples=[[{"match": 'metric="node_filesystem_avail_bytes"', "limit": 0.0, "direction": "down"}]],
    )
    own: bool = Field(
        default=True,
        description="also what the collectors host and probe measure, where `capacity` says nothing of it: disks and "
        "inodes at 99 %, memory at 98 %, swap at 95 %, each a day ahead, and certificates 21 days ahead",
    )

    incidents: ForeseeSettings = Field(
        default_factory=ForeseeSettings, description="incidents that models foresee, which learn from history"
    )

    @property
    def limits(self) -> tuple[CapacityLimit, ...]:
        return (*self.capacity, *(OWN if self.own else ()))


def limits_of(settings: PredictSettings) -> Sequence[Limit]:
    """As the process for metrics reads them."""
    return [
        Limit(
            match=each.match,
            limit=each.limit,
            up=each.direction == "up",
            horizon_s=each.horizon.total_seconds(),
            time_left=each.time_left,
            signs=each.signs,
        )
        for each in settings.limits
    ]


def bounds_of(settings: PredictSettings) -> Sequence[Limit]:
    """Those that a person named, of values, for the detector of what comes near a limit: to that one the unit says what
    ours would."""
    named = settings.model_copy(update={"own": False})
    return [each for each in limits_of(named) if each.limit is not None and not each.time_left]


def every(settings: PredictSettings) -> timedelta:
    """How often it is looked: several hundred times in the shortest horizon, and no more often than each second."""
    shortest = min((each.horizon for each in settings.limits), default=timedelta(days=1))
    return max(timedelta(seconds=1), min(timedelta(minutes=5), shortest / 288))
