"""The part of the JSON API about the rules and settings that decide: which are in force, and putting others there."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from foreshock.core.errors import Invalid, Rejected
from foreshock.core.quantities import parse_duration
from foreshock.service.api import ApiRoute
from foreshock.service.applying import Rules
from foreshock.service.guard import refuse_cross_site
from foreshock.service.ruleset import Ruleset
from foreshock.service.shadowing import Shadows

MAX_BYTES = 2**23
"""Of what is to be put into force: ten times what 500 rules take."""
MAX_REASON = 2000
_RUNS = "current"

_Version = Annotated[str, Path(max_length=64, description="a version of the history, or `current`")]


class ApplyBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan proposes. version: of ``proposed``. against: the version that ran when it was planned."""

    version: str
    against: str
    proposed: Ruleset
    reason: str


class ShadowBody(ApplyBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """length: how long it runs, 2d."""

    length: str


class ReasonBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=MAX_REASON)


class RollbackBody(BaseModel):
    """version: of the history; empty for the one before the present one."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(default="", max_length=64)
    reason: str = Field(min_length=1, max_length=MAX_REASON)


def rules_api(rules: Rules, shadows: Shadows, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name in the record and in the audit."""
    router = APIRouter(prefix="/api/v1/rules", route_class=ApiRoute, tags=["Rules and settings in force"])
    change: list[Any] = [Depends(refuse_cross_site)]

    @router.get("", summary="What runs, and how it differs from the files")
    def status() -> Response:
        return _answer(rules.status())

    @router.get("/history", summary="What came into force, newest first")
    def history() -> Response:
        return _answer(rules.history())

    @router.get("/versions/{version}", summary="Settings and rules of one version")
    def version(version: _Version) -> Response:
        return _answer(rules.get("" if version == _RUNS else version))

    @router.post("/apply", dependencies=change, summary="Put what was planned into force")
    async def apply(request: Request) -> Response:
        """Refused with 409 where something else runs than what it was planned against."""
        given = _read(await _body(request), ApplyBody)
        return _answer(
            await run_in_threadpool(
                rules.apply,
                given.proposed,
                version=given.version,
                against=given.against,
                reason=given.reason,
                actor=actor(request),
            )
        )

    @router.post("/rollback", dependencies=change, summary="Put an earlier version back into force")
    def roll_back(request: Request, body: RollbackBody) -> Response:
        return _answer(rules.roll_back(body.version, reason=body.reason, actor=actor(request)))

    @router.get("/shadow", summary="The candidate that runs beside the live rules, or the last one that did")
    def shadow() -> Response:
        found = shadows.status()
        if found is None:
            raise HTTPException(
                404, detail="there was no shadow run yet; start one with `foreshock rules shadow start`"
            )
        return _answer(found)

    @router.post("/shadow", dependencies=change, summary="Run a candidate beside the live rules, without any ticket")
    async def start(request: Request) -> Response:
        given = _read(await _body(request), ShadowBody)
        try:
            length = parse_duration(given.length)
        except Invalid as error:
            raise HTTPException(422, detail=f"length: {error}; {error.hint}") from None
        return _answer(
            await run_in_threadpool(
                shadows.start,
                given.proposed,
                version=given.version,
                against=given.against,
                length=length,
                reason=given.reason,
                actor=actor(request),
            )
        )

    @router.post("/shadow/stop", dependencies=change, summary="End the run; what it has found stays")
    def stop(request: Request) -> Response:
        return _answer(shadows.stop(actor=actor(request)))

    @router.post("/shadow/apply", dependencies=change, summary="Put the candidate into force, and end its run")
    def apply_shadow(request: Request, body: ReasonBody) -> Response:
        return _answer(shadows.apply(reason=body.reason, actor=actor(request)))

    return router


Given = TypeVar("Given", bound=ApplyBody)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, detail=f"more than {MAX_BYTES} bytes; split what is proposed")
    return bytes(body)


def _read(body: bytes, type_: type[Given]) -> Given:
    try:
        given = msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as error:
        raise HTTPException(
            422, detail=f"it cannot be read: {error}; send what `foreshock rules apply` sends"
        ) from None
    if not given.reason.strip() or len(given.reason) > MAX_REASON:
        raise Rejected(
            f"the reason has {len(given.reason)} characters", hint=f"say why, in 1 to {MAX_REASON} characters"
        )
    return given


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
