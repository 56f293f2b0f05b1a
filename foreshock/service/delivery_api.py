"""The part of the JSON API about what the sinks will hear, and what they refused."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from foreshock.service.api import ApiRoute
from foreshock.service.guard import refuse_cross_site
from foreshock.service.outgoing import Outgoing

_Name = Annotated[str, Path(alias="name", max_length=64, description="of the sink")]
_Limit = Annotated[int, Query(ge=1, le=1000, description="at most so many items of each sort")]
_Ids = Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=1000)]


class RetryBody(BaseModel):
    """ids: of the dead letters; all of the sink where there are none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: _Ids = []


class DropBody(BaseModel):
    """reason: why nothing is lost by it; it stands in the audit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: _Ids = Field(min_length=1)
    reason: str = Field(min_length=1, max_length=2000)


def delivery_api(outgoing: Outgoing, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the audit."""
    router = APIRouter(prefix="/api/v1/sinks", route_class=ApiRoute, tags=["Sinks"])
    change = [Depends(refuse_cross_site)]

    @router.get("/plan", summary="What the sinks will hear, and why what is not sent is not")
    def plan(
        sink: Annotated[str, Query(max_length=64, description="only of this one")] = "", limit: _Limit = 200
    ) -> Response:
        return _answer(outgoing.plans(sink, limit=limit))

    @router.get("/{name}/dead-letters", summary="Ticket writes that the sink refused for good, oldest first")
    def dead(name: _Name, limit: _Limit = 200) -> Response:
        return _answer(outgoing.dead(name, limit=limit))

    @router.post("/{name}/dead-letters/retry", dependencies=change, summary="Send them again, in order")
    def retry(request: Request, name: _Name, body: RetryBody) -> Response:
        """Answers for each whether it went; ``refused`` says why it stays."""
        return _answer(outgoing.retry(name, body.ids, actor=actor(request)))

    @router.post("/{name}/dead-letters/drop", dependencies=change, summary="Give them up for good")
    def drop(request: Request, name: _Name, body: DropBody) -> Response:
        return _answer(outgoing.drop(name, body.ids, actor=actor(request), reason=body.reason))

    return router


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
