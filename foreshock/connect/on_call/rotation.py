"""A rota that is written in the configuration: people take turns, and somebody may stand in for another.

Turns are as long on the clock on the wall: a week's turn ends at nine o'clock whether or not summer time began in it.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from foreshock.connect.on_call import OnCallKind
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.quantities import Duration, ZoneName


class StandIn(BaseModel):
    """Somebody is on duty in place of whose turn it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    who: str = Field(min_length=1)
    begins: datetime
    ends: datetime


class RotationConfig(ConnectorConfig):
    people: tuple[str, ...] = Field(
        min_length=1, max_length=200, description="in the order of their turns", examples=[["ann", "bob"]]
    )
    begins: datetime = Field(
        description="when the first turn of the first of them began, in time_zone", examples=["2026-01-05 09:00"]
    )
    every: Duration = Field(
        default=timedelta(days=7), ge=timedelta(hours=1), le=timedelta(days=366), description="length of a turn"
    )
    time_zone: ZoneName = Field(default="UTC", description="name of the IANA database: Europe/Berlin")
    stand_ins: tuple[StandIn, ...] = Field(
        default=(),
        max_length=1000,
        description="exceptions, such as {who: bob, begins: 2026-12-24 09:00, ends: 2026-12-27 09:00}; the last counts",
    )


class Rotation:
    """On the wall's clock of its time zone; a moment that names its own zone keeps it."""

    def __init__(self, config: RotationConfig) -> None:
        self._config = config
        self._zone = ZoneInfo(config.time_zone)

    def who(self, at: datetime) -> tuple[str, ...]:
        now = at.astimezone(self._zone).replace(tzinfo=None)
        for stand_in in reversed(self._config.stand_ins):
            if self._wall(stand_in.begins) <= now < self._wall(stand_in.ends):
                return (stand_in.who,)
        turn = (now - self._wall(self._config.begins)) // self._config.every
        return (self._config.people[turn % len(self._config.people)],)

    def _wall(self, moment: datetime) -> datetime:
        return (
            moment.replace(tzinfo=None) if moment.tzinfo is None else moment.astimezone(self._zone).replace(tzinfo=None)
        )


def _build(name: str, config: RotationConfig, http: Any) -> Rotation:
    return Rotation(config)


ON_CALL = OnCallKind(
    kind="rotation",
    title="A rota written in the configuration",
    facts="none: our own format",
    config=RotationConfig,
    build=_build,
)
