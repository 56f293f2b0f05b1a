"""The part of the JSON API about what was learned from history."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from foreshock.core.quantities import Duration
from foreshock.service.api import ApiRoute
from foreshock.service.guard import refuse_cross_site
from foreshock.service.learning import Learner

MAX_BYTES = 2**26
"""Of a version that is brought from elsewhere: many times what `learn.cooccurrence.max_pairs` makes of its default."""


class TrainBody(BaseModel):
    """since: history that counts, as far back as this; by default the setting. dry_run: only look at the result."""

    model_config = ConfigDict(extra="forbid")

    since: Duration | None = Field(default=None, gt=timedelta(0))
    dry_run: bool = False


class UseBody(BaseModel):
    """version: of the list; or "latest", "previous", "nothing"."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(min_length=1, max_length=64)


def learned_api(learner: Learner, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the record and in the audit."""
    router = APIRouter(prefix="/api/v1/learned", route_class=ApiRoute, tags=["What is learned from history"])
    change: list[Any] = [Depends(refuse_cross_site)]

    @router.get("", summary="Versions, newest first, and which is in force")
    def versions() -> Response:
        return _answer(learner.rows())

    @router.get("/{version}", summary="One version, whole")
    def version(version: Annotated[str, Path(max_length=64)]) -> Response:
        return _answer(learner.get(version))

    @router.post("/train", dependencies=change, summary="Train now on the history; answers when it is done")
    def train(request: Request, body: TrainBody) -> Response:
        return _answer(learner.train(body.since, dry_run=body.dry_run, actor=actor(request)))

    @router.post("/use", dependencies=change, summary="Put a version into force; all but the latest are pinned")
    def use(request: Request, body: UseBody) -> Response:
        return _answer(learner.use(body.version, actor=actor(request)))

    @router.post("", dependencies=change, summary="Bring a version that was trained elsewhere, and put it into force")
    async def bring(request: Request, anyway: bool = False) -> Response:
        """anyway: although hardly any CI that it names is known here."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise HTTPException(413, detail=f"more than {MAX_BYTES} bytes; train with a smaller max_pairs")
        return _answer(await run_in_threadpool(learner.bring, bytes(body), anyway=anyway, actor=actor(request)))

    return router


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
