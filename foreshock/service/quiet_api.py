"""The part of the JSON API about silences and maintenance windows. Alertmanager's own API has silences too."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from correlation.settings import Matchers
from foreshock.core.errors import Malformed, Rejected
from foreshock.core.quantities import Duration, read_zone
from foreshock.service.api import ApiRoute
from foreshock.service.guard import refuse_cross_site
from foreshock.service.maintenance import MAX_CALENDAR_BYTES, Plan, Scope
from foreshock.service.quiet import Quiet


class SilenceBody(BaseModel):
    """starts: now where it is left out. length: how long, 2h."""

    model_config = ConfigDict(extra="forbid")

    matchers: Matchers = Field(min_length=1)
    length: Duration = Field(gt=timedelta(0))
    comment: str = Field(min_length=1, max_length=10_000)
    starts: AwareDatetime | None = None


class WindowBody(Plan):
    """id: of the window to put this one in the place of; a new one where it is left out."""

    id: str = Field(default="", max_length=128)


def quiet_api(quiet: Quiet, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the record and in the audit."""
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["Silences and maintenance windows"])
    change: list[Any] = [Depends(refuse_cross_site)]

    @router.get("/silences", summary="Active ones first")
    def silences() -> Response:
        return _answer(quiet.silences())

    @router.post("/silences", dependencies=change, summary="Set a silence")
    def set_silence(request: Request, body: SilenceBody) -> Response:
        return _answer(
            quiet.set_silence(
                body.matchers, length=body.length, comment=body.comment, actor=actor(request), starts=body.starts
            )
        )

    @router.post("/silences/{id}/expire", dependencies=change, summary="End a silence now")
    def expire(request: Request, name: Annotated[str, Path(alias="id", max_length=128)]) -> Response:
        return _answer(quiet.expire_silence(name, actor=actor(request)))

    @router.post("/preview", summary="Which alerts and incidents a silence or a window would cover; nothing is set")
    def preview(body: Scope) -> Response:
        return _answer(quiet.preview(body))

    @router.get("/maintenance", summary="Windows, those that run first")
    def windows() -> Response:
        return _answer(quiet.windows())

    @router.post("/maintenance", dependencies=change, summary="Plan a maintenance window")
    def plan(request: Request, body: WindowBody) -> Response:
        return _answer(quiet.plan(body, actor=actor(request), id=body.id))

    @router.post("/maintenance/import", dependencies=change, summary="Take the windows of an iCalendar file")
    async def take(
        request: Request,
        ci: Annotated[list[str], Query(description="of events that name nothing themselves")] = [],  # noqa: B006
        service: Annotated[list[str], Query()] = [],  # noqa: B006
        matcher: Annotated[list[str], Query()] = [],  # noqa: B006
        descendants: bool = True,
        time_zone: Annotated[str, Query(max_length=80)] = "UTC",
    ) -> Response:
        """Properties X-FORESHOCK-CI, X-FORESHOCK-SERVICE and X-FORESHOCK-MATCHER of an event say what it is about."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_CALENDAR_BYTES:
                raise HTTPException(413, detail=f"the calendar has more than {MAX_CALENDAR_BYTES} bytes; split it")
        who = actor(request)
        return await run_in_threadpool(_take, bytes(body), ci, service, matcher, descendants, time_zone, who)

    def _take(
        body: bytes, ci: list[str], service: list[str], matcher: list[str], descendants: bool, time_zone: str, who: str
    ) -> Response:
        try:
            scope = Scope(cis=tuple(ci), services=tuple(service), matchers=tuple(matcher), descendants=descendants)
            read_zone(time_zone)
            return _answer(quiet.take_calendar(body, scope, actor=who, time_zone=time_zone))
        except Malformed as error:
            raise Rejected(str(error.args[0]), hint=error.hint) from None
        except ValueError as error:
            raise Rejected(str(error), hint=getattr(error, "hint", "")) from None

    @router.post("/maintenance/{id}/end", dependencies=change, summary="End a window now, for good or this once")
    def end(
        request: Request, name: Annotated[str, Path(alias="id", max_length=128)], only_running: bool = False
    ) -> Response:
        return _answer(quiet.end_window(name, actor=actor(request), only_running=only_running))

    return router


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
