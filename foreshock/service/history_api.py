"""The part of the JSON API from which history is read: records of the inbox, and what a period of them begins with."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from msgspec import Struct
from pydantic import AwareDatetime

from foreshock.core.contracts import RecordKind
from foreshock.service.api import ApiRoute
from foreshock.service.period import AsOf, period, present
from foreshock.service.renumbered import alerts_in, with_alerts
from foreshock.service.runner import Runner
from foreshock.store.store import Store

_MAX_RECORDS = 1000
_MAX_BYTES = 8 * 2**20
"""Of an answer's payloads: a page of the largest batches is a few of them."""
_NUMBER = Query(ge=0, le=2**63 - 1)


def history_api(store: Store, runner: Runner, as_of: AsOf = lambda moment: None) -> APIRouter:
    """as_of: where versions of the topology are known that the inbox has forgotten."""
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["History"])

    @router.get("/records", summary="Records of the inbox, for a capture")
    def records(
        after: Annotated[int, _NUMBER] = 0,
        upto: Annotated[int | None, _NUMBER] = None,
        limit: int = 100,
        alerts: bool = False,
    ) -> Response:
        """One JSON object a line, payloads in base64; ask again with the last number until the answer is empty. With
        ``alerts``, a ticket change names those of its situation, by which it is known in a part of history."""
        most = max(1, min(limit, _MAX_RECORDS))
        found = store.journal.records(after, limit=most, upto=upto, max_bytes=_MAX_BYTES)
        if alerts and any(record.kind is RecordKind.TICKET for record in found):
            with runner.looking() as engine:
                known = alerts_in(engine, found)
            found = list(with_alerts(found, known, store))
        return _lines(found)

    @router.get("/history", summary="Which records a period needs, and what was in force at its beginning")
    def of_period(since: AwareDatetime | None = None, until: AwareDatetime | None = None) -> Response:
        """What was open at ``since`` is to be known: the first of the records lies before it."""
        with runner.looking() as engine:
            now = present(engine)
        return Response(msgspec.json.encode(period(store, now, since, until, as_of)), media_type="application/json")

    @router.get("/history/judgements", summary="What people said of what belongs together, for a capture")
    def judgements(since: AwareDatetime | None = None, until: AwareDatetime | None = None) -> Response:
        """One JSON object a line, oldest first, each with the alerts it was about."""
        return _lines(list(store.judged(since, until)))

    return router


def _lines(found: Sequence[Struct]) -> Response:
    return Response(b"".join(msgspec.json.encode(one) + b"\n" for one in found), media_type="application/x-ndjson")
