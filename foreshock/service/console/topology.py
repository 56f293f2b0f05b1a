"""The page of the topology: who says it, how old that is, and what is doubtful."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from foreshock.service.cmdb.health import AGES, Doubt, Doubtful
from foreshock.service.cmdb.trusted import Shown
from foreshock.service.views import Views


def add_topology(router: APIRouter, views: Views, shown: Callable[[], Shown], *, page: Callable[..., Response]) -> None:
    """Add the route to the console's router."""

    @router.get("/topology")
    def topology() -> Response:
        found = shown()
        told = () if found.health is None else (one for one in found.health.found if one.doubt is not Doubt.UNBOUND)
        doubts: dict[str, list[Doubtful]] = {}
        for one in (*found.unbound, *told):
            doubts.setdefault(one.doubt.value, []).append(one)
        return page(
            "topology.html",
            here="topology",
            status=views.status(),
            cmdb=found.status,
            health=found.health,
            doubts=doubts,
            trust={} if found.health is None else {one.source: one for one in found.health.sources},
            ages=[name for _, name in AGES],
        )
