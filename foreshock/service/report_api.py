"""The part of the JSON API that answers how well incidents were dealt with."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from foreshock.core.errors import Rejected
from foreshock.service.api import ApiRoute
from foreshock.service.report import By, History, Report, as_csv, report

USUAL = timedelta(days=30)
LONGEST = timedelta(days=3660)


def report_api(history: History, clock: Callable[[], datetime], up_to_date: Callable[[], None]) -> APIRouter:
    """up_to_date: waits until all that was acknowledged is reflected; raises Unavailable."""
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["People's questions and actions"])

    @router.get("/report", summary="Times to acknowledge and resolve, promises kept, noise reduction")
    def of_period(
        begin: Annotated[AwareDatetime | None, Query(alias="from", description="30 days before the end")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to", description="now")] = None,
        by: By | None = None,
        format: Literal["json", "csv"] = "json",
    ) -> Response:
        """Of the incidents that were opened in from <= t < to."""
        up_to_date()
        found = made(history, clock(), begin, end, by)
        if format == "csv":
            return Response(as_csv(found), media_type="text/csv; charset=utf-8")
        return Response(msgspec.json.encode(found), media_type="application/json")

    return router


def made(history: History, now: datetime, begin: datetime | None, end: datetime | None, by: By | None) -> Report:
    """Raises Rejected for a period that is none."""
    end = now if end is None else end
    begin = end - USUAL if begin is None else begin
    if not timedelta(0) < end - begin <= LONGEST:
        raise Rejected(
            f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is no period of up to ten years",
            hint="`from` comes before `to`",
        )
    return report(history, begin, end, by)
