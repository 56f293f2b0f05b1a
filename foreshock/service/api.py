"""The JSON API for people's tools: the same questions and actions as the console, under ``/api/v1``.

Answers are the structs of ``views`` as msgspec encodes them. FastAPI describes models of pydantic only, so the models
of the OpenAPI document are made from the structs once, at start; no answer passes through them.
"""

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from msgspec import NODEFAULT, Struct
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from correlation import feedback
from foreshock.core.contracts import DeskAction, DeskNote, DeskRecord
from foreshock.core.errors import Invalid, Missing, Rejected, Unavailable
from foreshock.core.model import Judgement, JudgementKind
from foreshock.service.guard import HEADERS, refuse_cross_site
from foreshock.service.records import Statement
from foreshock.service.views import (
    Actions,
    AgainstView,
    AlertView,
    DeadLetterView,
    ExplainView,
    IncidentRow,
    IncidentView,
    PatternView,
    PayloadView,
    SourceView,
    StatusView,
    Views,
)

MAX_TEXT = 8000
MAX_TITLE = 250
MAX_JUDGEMENTS = 10_000
MORE = "X-Foreshock-More"
"""This header is "true" where a list goes on beyond the limit that was asked for."""


# ---- bodies ---------------------------------------------------------------------------------------------------------


class ErrorBody(BaseModel):
    """What went wrong and what to do about it. field: the part of the request it is about, if it is about one."""

    error: str
    hint: str = ""
    field: str = ""


class ActionBody(BaseModel):
    """text: the comment, or the reason. code: how it ended, for resolve."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(default="", max_length=MAX_TEXT)
    code: str = Field(default="", max_length=64, pattern=r"^[a-z0-9_]*$")


class ProblemBody(BaseModel):
    """title: of the problem; empty takes over the incident's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = Field(default="", max_length=MAX_TITLE)


class StatementBody(BaseModel):
    """What a person says of what belongs together.

    situation, other: situation ids or ticket numbers. merge: other goes over to situation. split: alerts leave
    situation. move: alerts go to other. not_related: situation and other, or two alerts, or two cis. cause: the one CI
    that caused situation. alerts: fingerprints, or the beginning of each.
    """

    model_config = ConfigDict(extra="forbid")

    kind: JudgementKind
    situation: str = Field(default="", max_length=64)
    other: str = Field(default="", max_length=64)
    alerts: list[Annotated[str, Field(min_length=4, max_length=64)]] = Field(default=[], max_length=1000)
    cis: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(default=[], max_length=2)
    comment: str = Field(default="", max_length=2000)

    def read(self) -> Statement:
        return Statement(
            kind=self.kind,
            situation=self.situation,
            other=self.other,
            alerts=tuple(self.alerts),
            cis=tuple(self.cis),
            comment=self.comment,
        )


class RecordView(Struct, frozen=True, kw_only=True):
    """A record of the desk with its notes, oldest first; linked: incidents of a problem, newest first."""

    record: DeskRecord
    notes: tuple[DeskNote, ...]
    linked: tuple[DeskRecord, ...] = ()


# ---- routes ---------------------------------------------------------------------------------------------------------

_Limit = Annotated[int, Query(ge=1, le=1000, description="at most so many items")]
_Number = Annotated[str, Path(max_length=64, description="INC… or PRB… number of the desk")]
_Parent = Annotated[str, Query(max_length=64, description="only what is under the umbrella of this incident (S-12)")]
_NAMED = "situation id, ticket number, fingerprint or the beginning of one, or NAME on CI"
_Named = Annotated[str, Path(alias="id", max_length=512, description=_NAMED)]
_Other = Annotated[str, Path(max_length=512, description=_NAMED)]
_State = Literal["open", "resolved", "merged", "all"]

_Responses = dict[int | str, dict[str, Any]]
_MISSING: _Responses = {404: {"model": ErrorBody, "description": "There is no such thing."}}
_WRONG: _Responses = {422: {"model": ErrorBody, "description": "The request cannot be read."}}
_CONFLICT: _Responses = {409: {"model": ErrorBody, "description": "The record's state does not allow it."}}
_REFUSED: _Responses = {403: {"model": ErrorBody, "description": "Another site's page sent it."}, **_CONFLICT}
_CHANGE = [Depends(refuse_cross_site)]


def api(views: Views, actions: Actions, *, actor: Callable[[Request], str]) -> APIRouter:
    """Args: actor: who is asking; the name that notes and audit rows carry."""
    router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["People's questions and actions"])
    models = _Models()
    _add_incidents(router, models, views)
    _add_reasons(router, models, views)
    _add_intake(router, models, views)
    _add_desk(router, models, views, actions, actor)
    _add_feedback(router, models, views, actions, actor)
    return router


def _add_incidents(router: APIRouter, models: "_Models", views: Views) -> None:
    @router.get("/status", response_model=models.of(StatusView), summary="The whole in one look")
    def status() -> Response:
        return _answer(views.status())

    @router.get(
        "/incidents",
        response_model=models.list_of(IncidentRow),
        responses=_WRONG,
        summary="Most urgent first, then newest",
    )
    def incidents(state: _State = "open", limit: _Limit = 200, parent: _Parent = "") -> Response:
        return _cut(views.incidents(state=state, limit=limit + 1, parent=parent), limit)

    @router.get(
        "/incidents/{id}",
        response_model=models.of(IncidentView),
        responses={**_MISSING, **_WRONG},
        summary="Everything known of one incident",
    )
    def incident(
        name: Annotated[str, Path(alias="id", max_length=64, description="situation id (S-12) or ticket number")],
    ) -> Response:
        return _found(views.incident(name), f"incident {name!r}", "list them with GET /api/v1/incidents?state=all")

    @router.get(
        "/alerts/{fingerprint}",
        response_model=models.of(AlertView),
        responses={**_MISSING, **_WRONG},
        summary="One alert, and why it is where it is",
    )
    def alert(fingerprint: Annotated[str, Path(max_length=64)]) -> Response:
        return _found(views.alert(fingerprint), f"alert {fingerprint!r}", "alerts are kept as long as their incident")


def _add_reasons(router: APIRouter, models: "_Models", views: Views) -> None:
    @router.get(
        "/explain/{id:path}/against/{other:path}",  # before the other, which would take it for a long name
        response_model=models.list_of(AgainstView),
        responses={**_MISSING, **_WRONG, **_CONFLICT},
        summary="Why an alert, or each alert of an incident, is or is not in another incident",
    )
    def against(name: _Named, other: _Other) -> Response:
        return _answer(views.against(name, other))

    @router.get(
        "/explain/{id:path}",
        response_model=models.of(ExplainView),
        responses={**_MISSING, **_WRONG, **_CONFLICT},
        summary="Why the alerts of an incident are together, what caused it, and why it has a ticket or none",
    )
    def explain(name: _Named) -> Response:
        return _answer(views.explain(name))


def _add_intake(router: APIRouter, models: "_Models", views: Views) -> None:
    @router.get("/sources", response_model=models.list_of(SourceView), summary="Who reports here")
    def sources() -> Response:
        return _answer(views.sources())

    @router.get(
        "/sources/{name}/last",
        response_model=models.of(PayloadView),
        responses={**_MISSING, **_WRONG},
        summary="What a source sent last, as it was received",
    )
    def last_payload(name: Annotated[str, Path(max_length=128)]) -> Response:
        hint = "list the sources with GET /api/v1/sources; only the newest records are looked through"
        return _found(views.last_payload(name), f"payload of {name!r}", hint)

    @router.get(
        "/dead-letters",
        response_model=models.list_of(DeadLetterView),
        responses=_WRONG,
        summary="What could not be read or was refused for good",
    )
    def dead_letters(limit: _Limit = 200) -> Response:
        return _cut(views.dead_letters(limit=limit + 1), limit)


def _add_desk(
    router: APIRouter, models: "_Models", views: Views, actions: Actions, actor: Callable[[Request], str]
) -> None:
    @router.get(
        "/problems", response_model=models.list_of(DeskRecord), responses=_WRONG, summary="Problems of the desk"
    )
    def problems(limit: _Limit = 200) -> Response:
        return _cut(views.problems(limit=limit + 1), limit)

    @router.get(
        "/patterns",
        response_model=models.list_of(PatternView),
        responses=_WRONG,
        summary="Incidents that come back: those that are problems, the one that came last first",
    )
    def patterns(
        watched: Annotated[bool, Query(description="also what came back, and is no problem yet")] = False,
        limit: _Limit = 200,
    ) -> Response:
        return _cut(views.patterns(watched=watched, limit=limit + 1), limit)

    @router.get(
        "/patterns/{name}",
        response_model=models.of(PatternView),
        responses={**_MISSING, **_WRONG},
        summary="One of them, by its id, its problem (P-1), a record's number or one of its incidents",
    )
    def pattern(name: Annotated[str, Path(max_length=64)]) -> Response:
        return _found(views.pattern(name), f"problem {name!r}", "list them with GET /api/v1/patterns?watched=true")

    @router.get(
        "/records/{number}",
        response_model=models.of(RecordView),
        responses={**_MISSING, **_WRONG},
        summary="A record of the desk with its notes",
    )
    def record(number: _Number) -> Response:
        return _answer(_record(views, number))

    @router.post(
        "/records/{number}/{action}",
        response_model=models.of(DeskRecord),
        responses={**_MISSING, **_WRONG, **_REFUSED},
        dependencies=_CHANGE,
        summary="Take, comment, resolve, reopen or close a record",
    )
    def act(request: Request, number: _Number, action: DeskAction, body: ActionBody | None = None) -> Response:
        _record(views, number)
        body = body or ActionBody()
        return _answer(actions.act(number, action, actor=actor(request), text=body.text, code=body.code))

    @router.post(
        "/incidents/{number}/problem",
        response_model=models.of(DeskRecord),
        responses={**_MISSING, **_WRONG, **_REFUSED},
        dependencies=_CHANGE,
        summary="Open a problem for an incident; answers the one it is linked to already, if any",
    )
    def open_problem(request: Request, number: _Number, body: ProblemBody | None = None) -> Response:
        _record(views, number)
        return _answer(actions.open_problem(number, actor=actor(request), title=body.title if body else ""))


def _record(views: Views, number: str) -> RecordView:
    found = views.record(number)
    if found is None:
        raise HTTPException(404, detail=f"there is no record {number!r}; the incident's page names its record")
    record, notes = found
    linked = views.linked(number) if record.type == "problem" else ()
    return RecordView(record=record, notes=tuple(notes), linked=tuple(linked))


def _add_feedback(
    router: APIRouter, models: "_Models", views: Views, actions: Actions, actor: Callable[[Request], str]
) -> None:
    @router.get(
        "/feedback",
        response_model=models.list_of(Judgement),
        responses=_WRONG,
        summary="What people said of what belongs together, newest first",
    )
    def judgements(
        incident: Annotated[str, Query(max_length=64, description="only of this situation")] = "", limit: _Limit = 200
    ) -> Response:
        return _cut(views.judgements(incident=incident, limit=limit + 1), limit)

    @router.get("/feedback/labels", summary="The same as labelled truth: JSON lines, one pair of alerts or cause each")
    def labels() -> Response:
        said = views.judgements(limit=MAX_JUDGEMENTS)
        lines = (msgspec.json.encode(row) + b"\n" for one in reversed(said) for row in feedback.labels(one))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @router.post(
        "/feedback",
        response_model=models.of(Judgement),
        responses={**_WRONG, **_REFUSED},
        dependencies=_CHANGE,
        summary="Merge, split, move, keep apart, name the cause; applied at once and kept as truth",
    )
    def judge(request: Request, body: StatementBody) -> Response:
        return _answer(actions.judge(body.read(), actor=actor(request)))


# ---- answers --------------------------------------------------------------------------------------------------------


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _cut(items: Sequence[object], limit: int) -> Response:
    """At most ``limit`` of the items; a header says that there are more."""
    response = _answer(items[:limit])
    if len(items) > limit:
        response.headers[MORE] = "true"
    return response


def _found(value: object | None, what: str, hint: str) -> Response:
    if value is None:
        raise HTTPException(404, detail=f"there is no {what}; {hint}")
    return _answer(value)


def error_answer(code: int, error: str, hint: str = "", field: str = "") -> Response:
    body = ErrorBody(error=error, hint=hint, field=field)
    return Response(body.model_dump_json(), status_code=code, media_type="application/json")


class ApiRoute(APIRoute):
    """Every error as ``ErrorBody``, every answer with the security headers and for nobody's cache."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_programs(request: Request) -> Response:
            response = await _or_error(handle, request)
            response.headers.update(HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return handle_for_programs


async def _or_error(handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    try:
        return await handle(request)
    except RequestValidationError as error:
        first = error.errors()[0]
        # ("query", "limit") -> limit; ("body", 17) is the place of a syntax error in the JSON.
        field = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str)) or str(first["loc"][0])
        said = first.get("ctx", {}).get("error")
        if isinstance(said, Invalid):
            field = ".".join(str(part) for part in (*first["loc"][1:], *said.path)) or field
            return error_answer(422, f"{field}: {said}", said.hint or "see /api/openapi.json", field)
        return error_answer(422, f"{field}: {first['msg']}", "see /api/openapi.json", field)
    except Invalid as error:
        field = ".".join(map(str, error.path))
        return error_answer(422, f"{field}: {error}", error.hint, field)
    except HTTPException as error:
        message, _, hint = str(error.detail).partition("; ")
        return error_answer(error.status_code, message, hint)
    except Missing as error:
        return error_answer(404, str(error.args[0]), error.hint)
    except Rejected as error:
        return error_answer(409, str(error.args[0]), error.hint)
    except Unavailable as error:
        response = error_answer(503, str(error.args[0]), error.hint)
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_s or 1)))
        return response


# ---- models for the document ----------------------------------------------------------------------------------------


class _Models:
    """Pydantic models that describe what msgspec writes: every field is always there, so every field is required."""

    def __init__(self) -> None:
        self._made: dict[type[Struct], type[BaseModel]] = {}

    def of(self, struct: type[Struct]) -> type[BaseModel]:
        if struct not in self._made:
            fields: dict[str, Any] = {}
            for field in msgspec.structs.fields(struct):
                assert field.default is NODEFAULT or not struct.__struct_config__.omit_defaults
                fields[field.encode_name] = (self._type(field.type), ...)
            # A struct without a docstring gets its signature from msgspec, which would tell a reader nothing.
            text = struct.__doc__ or ""
            doc = text if not text.startswith(f"{struct.__name__}(") else struct.__name__
            self._made[struct] = create_model(struct.__name__, __doc__=doc, **fields)
        return self._made[struct]

    def list_of(self, struct: type[Struct]) -> Any:
        return list[self.of(struct)]  # type: ignore[misc]

    def _type(self, kind: Any) -> Any:
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self.of(kind)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return AwareDatetime if arguments[0] is datetime else self._type(arguments[0])
        if origin in (Union, UnionType):
            return Union[tuple(self._type(argument) for argument in arguments)]  # noqa: UP007
        if origin in (tuple, list):
            return list[self._type(arguments[0])]  # type: ignore[misc]
        if origin is dict:
            return dict[self._type(arguments[0]), self._type(arguments[1])]  # type: ignore[misc]
        return kind
