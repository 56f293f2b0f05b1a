"""The part of the JSON API that answers how far the topology can be trusted."""

from collections.abc import Callable

import msgspec
from fastapi import APIRouter, Response

from foreshock.service.api import ApiRoute
from foreshock.service.cmdb.health import Health


def health_api(health: Callable[[], Health]) -> APIRouter:
    router = APIRouter(prefix="/api/v1/cmdb", route_class=ApiRoute, tags=["People's questions and actions"])

    @router.get("/health", summary="What is doubtful about the topology, and what to do about it")
    def show() -> Response:
        """As it was found last; alerts that are bound to no CI are those that fire now."""
        return Response(msgspec.json.encode(health()), media_type="application/json")

    return router
