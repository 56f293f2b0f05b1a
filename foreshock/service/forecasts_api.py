"""The part of the JSON API that takes forecasts: any program that predicts incidents posts them here.

A batch is taken whole or not at all. What was posted before is known by model, CI and the moment it was made at, so a
batch may be sent again after a lost answer.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from correlation.bind import named
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Invalid, Unavailable
from foreshock.core.model import Contribution, Forecast
from foreshock.service.api import ApiRoute
from foreshock.service.guard import refuse_cross_site
from foreshock.service.inbox import Inbox
from foreshock.service.records import ForecastsRecord
from foreshock.service.runner import Runner

MAX_FORECASTS = 500
"""In one batch."""
MAX_HORIZON_H = 24.0 * 30
_AHEAD = timedelta(minutes=5)
"""How far another clock may run ahead of ours."""


class ContributionBody(BaseModel):
    """evidence: what was seen, in words. points: how much it adds to the score of the model, negative if it speaks
    against an incident."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    points: float = Field(allow_inf_nan=False)
    evidence: str = Field(default="", max_length=500)


class ForecastBody(BaseModel):
    """An incident on ``ci`` is expected.

    probability: calibrated, of a hundred forecasts at 0.8 eighty come true. horizon_h: hours from made_at within which
    it begins; lead_time_h: after which it most likely does. model: name@version.
    """

    model_config = ConfigDict(extra="forbid")

    ci: str = Field(min_length=1, max_length=256)
    made_at: AwareDatetime
    probability: float = Field(ge=0, le=1, allow_inf_nan=False)
    horizon_h: float = Field(gt=0, le=MAX_HORIZON_H, allow_inf_nan=False)
    lead_time_h: float = Field(ge=0, allow_inf_nan=False)
    model: str = Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")
    contributions: list[ContributionBody] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _is_within_its_horizon(self) -> "ForecastBody":
        if self.lead_time_h > self.horizon_h:
            raise Invalid("`lead_time_h` is longer than `horizon_h`", hint="lower it", path=("lead_time_h",))
        return self

    def read(self, ci: str) -> Forecast:
        parts = (Contribution(name=one.name, points=one.points, evidence=one.evidence) for one in self.contributions)
        return Forecast(
            ci=ci,
            made_at=self.made_at,
            probability=self.probability,
            horizon_h=self.horizon_h,
            lead_time_h=self.lead_time_h,
            model=self.model,
            contributions=tuple(parts),
        )


class ForecastsBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    forecasts: list[ForecastBody] = Field(min_length=1, max_length=MAX_FORECASTS)


class Led(Struct, frozen=True, kw_only=True):
    """What the newest forecast of this model for this CI led to. problem: that is expected for the CI, empty if none
    is. reason: why this forecast has no effect, empty if it has."""

    ci: str
    model: str
    problem: str
    reason: str


def forecasts_api(
    runner: Runner, inbox: Inbox, *, actor: Callable[[Request], str], clock: Callable[[], datetime]
) -> APIRouter:
    """Args: actor: who is asking; the name in the record."""
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["Forecasts"])
    change: list[Any] = [Depends(refuse_cross_site)]

    @router.post(
        "/forecasts",
        status_code=202,
        dependencies=change,
        summary="Post forecasts of incidents; one that is likely enough opens a proactive problem",
    )
    def take(request: Request, body: ForecastsBody) -> Response:
        """202 when they are on disk. Answers for each CI and model what they led to, with the reason where that is
        nothing."""
        found = _bound(runner, body.forecasts, clock())
        record = NewRecord(
            kind=RecordKind.FORECASTS,
            body=msgspec.json.encode(ForecastsRecord(forecasts=tuple(found))),
            source="api",
            actor=actor(request),
            items=len(found),
        )
        if not runner.caught_up(inbox.append_now(record)):
            raise Unavailable("they are on disk, and not reflected yet", hint="see /api/v1/patterns in a moment")
        return Response(msgspec.json.encode(_led(runner, found)), status_code=202, media_type="application/json")

    return router


def _bound(runner: Runner, posted: Sequence[ForecastBody], now: datetime) -> list[Forecast]:
    """With the CIs that they are about. Raises Invalid."""
    found = []
    with runner.looking() as engine:
        topology, bind = engine.topology, engine.settings.bind
    for index, one in enumerate(posted):
        ci = named(one.ci, topology, bind)
        if ci not in topology.cis:
            hint = "add it to the topology, or leave it out" if topology.cis else "load a topology first"
            raise Invalid(f"no single CI is called {one.ci!r}", hint=hint, path=("forecasts", index, "ci"))
        if one.made_at > now + _AHEAD:
            said = f"{one.made_at.isoformat()} is in the future, it is {now.isoformat(timespec='seconds')} here"
            raise Invalid(said, hint="check the clock of the sender", path=("forecasts", index, "made_at"))
        found.append(one.read(ci))
    return found


def _led(runner: Runner, taken: Sequence[Forecast]) -> list[Led]:
    with runner.looking() as engine:
        known = engine.forecasts
        asked = dict.fromkeys((one.ci, one.model) for one in taken)
        heard = {(each.forecast.ci, each.forecast.model): each for each in known.heard.values()}
        return [
            Led(
                ci=ci,
                model=model,
                problem=known.expected[ci].problem.id if ci in known.expected else "",
                reason=heard[ci, model].reason if (ci, model) in heard else "its horizon is over",
            )
            for ci, model in asked
        ]
