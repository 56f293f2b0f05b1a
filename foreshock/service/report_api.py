"""The part of the JSON API that answers how well incidents were dealt with."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from foreshock.service.api import ApiRoute
from foreshock.service.report import By, as_csv
from foreshock.service.views import Views


def report_api(views: Views) -> APIRouter:
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["People's questions and actions"])

    @router.get("/report", summary="Times to acknowledge and resolve, promises kept, noise reduction")
    def of_period(
        begin: Annotated[AwareDatetime | None, Query(alias="from", description="30 days before the end")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to", description="now")] = None,
        by: By | None = None,
        format: Literal["json", "csv"] = "json",
    ) -> Response:
        """Of the incidents that were opened in from <= t < to."""
        found = views.report(begin, end, by)
        if format == "csv":
            return Response(as_csv(found), media_type="text/csv; charset=utf-8")
        return Response(msgspec.json.encode(found), media_type="application/json")

    return router
