"""The part of the JSON API about CMDB sources and the topology of all times."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from foreshock.core.errors import Invalid
from foreshock.service.api import ApiRoute
from foreshock.service.cmdb.run import Wanted
from foreshock.service.cmdb.schedule import Schedule
from foreshock.service.cmdb.shown import shown, way
from foreshock.service.guard import refuse_cross_site
from foreshock.service.recorded import read_time

_Name = Annotated[str, Query(max_length=1000, description="of a CI: its id, or a name that is its alone")]


class SyncBody(BaseModel):
    """source: its name in the settings; empty: all. accept_retire: so many CIs may go, this once."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: str = Field(default="", max_length=64)
    full: bool = False
    accept_retire: int = Field(default=0, ge=0, le=2**31 - 1)


def cmdb_api(cmdb: Schedule, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the audit."""
    router = APIRouter(prefix="/api/v1/cmdb", route_class=ApiRoute, tags=["CMDB"])

    @router.get("/status", summary="How old what each CMDB source says is, and how its last sync went")
    def status() -> Response:
        return _answer(cmdb.status())

    @router.get("/versions", summary="Versions of the topology, newest first")
    def versions(
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        before: Annotated[int, Query(ge=1, le=2**31 - 1, description="only older ones than this")] = 2**31 - 1,
    ) -> Response:
        return _answer(cmdb.store.versions(limit=limit, before=before))

    @router.get("/topology", summary="CIs and relationships as they were at a moment; the newest without one")
    def topology(
        as_of: Annotated[str, Query(max_length=64, description="RFC 3339; empty: the newest")] = "",
    ) -> Response:
        """An empty version means that there was none yet."""
        if not as_of:
            return _answer(cmdb.store.as_of(cmdb.now()))
        try:
            return _answer(cmdb.store.as_of(read_time(as_of)))
        except Invalid as error:
            raise HTTPException(422, detail=f"as_of: {error}; {error.hint}") from None

    @router.get("/ci", summary="A CI with who says what of it since when, its relationships, conflicts and history")
    def ci(id: _Name) -> Response:
        return _answer(shown(cmdb.store, id))

    @router.get("/path", summary="The relationships of a shortest way between two CIs; empty where there is none")
    def path(one: _Name, other: _Name) -> Response:
        return _answer(way(cmdb.store, one, other))

    @router.post("/sync", dependencies=[Depends(refuse_cross_site)], summary="Read a CMDB source now, or all of them")
    def sync(request: Request, body: SyncBody) -> Response:
        """Answers at once; `/api/v1/cmdb/status` says how it went."""
        wanted = Wanted(full=body.full, accept_retire=body.accept_retire)
        return _answer({"asked": cmdb.ask(body.source, wanted, actor=actor(request))})

    return router


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
