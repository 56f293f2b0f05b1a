"""The part of the JSON API about the models that foresee incidents."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from foreshock.core.errors import Invalid
from foreshock.core.quantities import parse_duration
from foreshock.service.api import ApiRoute
from foreshock.service.foreseeing import Foreseer
from foreshock.service.guard import refuse_cross_site


class UseModelBody(BaseModel):
    """version: of the list; or "latest", "previous", "nothing"."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(min_length=1, max_length=64)


def models_api(foreseer: Foreseer, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the audit."""
    router = APIRouter(prefix="/api/v1/models", route_class=ApiRoute, tags=["Models"])
    change: list[Any] = [Depends(refuse_cross_site)]

    @router.get("", summary="Which model foresees incidents, how it does, and the versions there are, newest first")
    def models() -> Response:
        return _answer(foreseer.status())

    @router.get("/labels", summary="What there is to learn from: how many incidents, where, when, and the gaps")
    def labels(since: Annotated[str, Query(max_length=20)] = "") -> Response:
        """since: as far back as this, for example 30d; by default the setting."""
        return _answer(foreseer.labels(_duration(since)))

    @router.post(
        "/train", dependencies=change, summary="Teach a model, or judge the one that is tried; answers when it is done"
    )
    def train(request: Request) -> Response:
        return _answer(foreseer.train(actor=actor(request)))

    @router.post("/use", dependencies=change, summary="Put a version in use; all but the latest are pinned")
    def use(request: Request, body: UseModelBody) -> Response:
        return _answer(foreseer.use(body.version, actor=actor(request)))

    return router


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text) if text else None
    except Invalid as error:
        raise Invalid(str(error), hint=error.hint, path=("since",)) from None


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
