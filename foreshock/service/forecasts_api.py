"""The part of the JSON API about forecasts: any program that predicts incidents posts them here, and what became of
them is asked here.

A batch is taken whole or not at all. What was posted before is known by model, CI and the moment it was made at, so a
batch may be sent again after a lost answer.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Struct
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from correlation import forecast as foresight
from correlation.bind import named
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Invalid, Unavailable
from foreshock.core.model import Contribution, Forecast, ForecastState
from foreshock.service.api import ApiRoute
from foreshock.service.guard import refuse_cross_site
from foreshock.service.inbox import Inbox
from foreshock.service.ledger import Per, as_csv
from foreshock.service.records import ForecastsRecord
from foreshock.service.runner import Runner
from foreshock.service.views import Views

MAX_FORECASTS = 500
"""In one batch."""
MAX_HORIZON_H = 24.0 * 30
MAX_LATEST_H = 24.0 * 3660
"""One case in ten may take far longer than the horizon; beyond ten years nobody knows."""
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
    it begins; lead_time_h: after which it most likely does; earliest_h, latest_h: between which it does in nine of ten
    cases. model: name@version. about: what of the CI it is about; each has its own problem. signs: the labels of an
    alert must hold one of these words for its incident to be this one. summary: in operators' words. state: reached
    where the model saw it happen, withdrawn where it expects it no more. alarm: whether it is worth a problem, by the
    model's own budget of false alarms; left out, the setting `probability` decides.
    """

    model_config = ConfigDict(extra="forbid")

    ci: str = Field(min_length=1, max_length=256)
    made_at: AwareDatetime
    probability: float = Field(ge=0, le=1, allow_inf_nan=False)
    horizon_h: float = Field(gt=0, le=MAX_HORIZON_H, allow_inf_nan=False)
    lead_time_h: float = Field(ge=0, allow_inf_nan=False)
    model: str = Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")
    contributions: list[ContributionBody] = Field(default=[], max_length=20)
    about: str = Field(default="", max_length=200)
    signs: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=10)
    summary: str = Field(default="", max_length=500)
    earliest_h: float | None = Field(default=None, ge=0, le=MAX_LATEST_H, allow_inf_nan=False)
    latest_h: float | None = Field(default=None, ge=0, le=MAX_LATEST_H, allow_inf_nan=False)
    state: ForecastState = ForecastState.EXPECTED
    alarm: bool | None = None

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
            about=" ".join(self.about.split()),
            signs=tuple(self.signs),
            summary=self.summary,
            earliest_h=self.earliest_h,
            latest_h=self.latest_h,
            state=self.state,
            alarm=self.alarm,
        )


class ForecastsBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    forecasts: list[ForecastBody] = Field(min_length=1, max_length=MAX_FORECASTS)


class Led(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the newest forecast of this model for this CI, and for what of it it is about, led to. problem: that is
    expected for it, empty if none is. reason: why this forecast has no effect, empty if it has."""

    ci: str
    model: str
    problem: str
    reason: str
    about: str = ""


def forecasts_api(
    views: Views, runner: Runner, inbox: Inbox, *, actor: Callable[[Request], str], clock: Callable[[], datetime]
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
        return _json(_led(runner, found), 202)

    @router.get("/forecasts", summary="What is forecast now, and what each forecast led to")
    def standing(limit: Annotated[int, Query(ge=1, le=5000)] = 200) -> Response:
        """The newest forecast of each model for each CI, and for what of it it is about; what is likely to happen first
        comes first."""
        return _json(views.forecasts(limit=limit))

    @router.get(
        "/forecasts/ledger", summary="How often forecasts were right: precision, recall, lead time, false alarms"
    )
    def ledger(
        begin: Annotated[AwareDatetime | None, Query(alias="from", description="30 days before the end")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to", description="now")] = None,
        by: Per = Per.MODEL,
        all: Annotated[bool, Query(description="also what was likely and opened no problem")] = False,
        format: Literal["json", "csv"] = "json",
    ) -> Response:
        """Of what was announced in from <= t < to."""
        found = views.ledger(begin, end, by, problems_only=not all)
        if format == "csv":
            return Response(as_csv(found), media_type="text/csv; charset=utf-8")
        return _json(found)

    @router.get("/forecasts/entries", summary="Entries of the ledger, the newest first")
    def entries(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        model: str = "",
        ci: str = "",
        outcome: str = "",
        ended: Annotated[bool, Query(description="only what is over, what ended last first")] = False,
    ) -> Response:
        return _json(views.forecast_entries(limit=limit, model=model, ci=ci, outcome=outcome, ended=ended))

    return router


def _json(found: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(found), status_code=status, media_type="application/json")


def _bound(runner: Runner, posted: Sequence[ForecastBody], now: datetime) -> list[Forecast]:
    """With the CIs that they are about. Raises Invalid."""
    found = []
    with runner.looking() as engine:
        topology, bind = engine.topology, engine.settings.bind
    for index, one in enumerate(posted):
        ci = named(one.ci, topology, bind)
        if not ci or (topology.cis and ci not in topology.cis):
            hint = "add it to the topology, or leave it out" if topology.cis else "load a topology, or set bind.implied"
            raise Invalid(f"no single CI is called {one.ci!r}", hint=hint, path=("forecasts", index, "ci"))
        if one.made_at > now + _AHEAD:
            said = f"{one.made_at.isoformat()} is in the future, it is {now.isoformat(timespec='seconds')} here"
            raise Invalid(said, hint="check the clock of the sender", path=("forecasts", index, "made_at"))
        found.append(one.read(ci))
    return found


def _led(runner: Runner, taken: Sequence[Forecast]) -> list[Led]:
    with runner.looking() as engine:
        known = engine.forecasts
        asked = {foresight.key(one): one for one in taken}
        return [
            Led(
                ci=one.ci,
                model=one.model,
                about=one.about,
                problem=known.expected[place].problem.id if (place := foresight.place(one)) in known.expected else "",
                reason=known.heard[key].reason if key in known.heard else "its horizon is over",
            )
            for key, one in asked.items()
        ]
