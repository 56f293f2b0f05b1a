"""The routes of the console.

A page is what ``Views`` said at this moment; nothing is kept between requests. Handlers are plain functions, so
Starlette runs them in its thread pool and a slow answer of the engine blocks nobody else.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import groupby, zip_longest
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException as StarletteHTTPException

from correlation.forecast import likely_at
from foreshock.core.contracts import DeskAction, DeskNote, DeskRecord, DeskState
from foreshock.core.errors import ForeshockError, Rejected
from foreshock.core.topology import DIRECTIONS, Direction
from foreshock.service.applying import Rules
from foreshock.service.cmdb.trusted import Shown
from foreshock.service.console import statements, static_files, words
from foreshock.service.console.curve import curve
from foreshock.service.console.forecasts import add_forecasts
from foreshock.service.console.picture import draw
from foreshock.service.console.plots import weighed
from foreshock.service.console.reports import add_reports
from foreshock.service.console.ruling import add_rules
from foreshock.service.console.silences import add_silences
from foreshock.service.console.snippets import base_url, snippet
from foreshock.service.console.topology import add_topology
from foreshock.service.guard import HEADERS, refuse_cross_site
from foreshock.service.quiet import Quiet
from foreshock.service.settings import collector_kinds
from foreshock.service.shadowing import Shadows
from foreshock.service.views import (
    Actions,
    AgainstView,
    GraphView,
    IncidentRow,
    IncidentView,
    SourceView,
    TimelineEntry,
    Views,
    WhyView,
)

LIST_LIMIT = 500
MAX_FORM_BYTES = 64 * 1024
MAX_FORM_FIELDS = 16
MAX_TICKED = 1000
OTHERS_LISTED = 100
MAX_TEXT = 8000
MAX_TITLE = 250
MAX_QUERY = 200
ALERTS_SHOWN = 12
"""The rest of an incident's alerts is folded away behind one click."""

RUN_MIN = 3
"""More alerts than this doing the same in one second share a line of the timeline."""

REFRESH_S, STALE_S = 5, 15
"""The list asks again after the first, and says that its data is old after the second."""

LANES = ("alert", "incident", "ticket", "person")
STATES = {"open": "Open", "resolved": "Resolved", "all": "All"}

Page = Callable[..., HTMLResponse]

_CHANGE = [Depends(refuse_cross_site)]
_FIRST = ("alertmanager", "alertmanager_webhook", "events")
"""Kinds of collectors that a newcomer is shown first."""


# ---- routes ---------------------------------------------------------------------------------------------------------


def console(
    views: Views,
    actions: Actions,
    quiet: Quiet,
    rules: Rules,
    shadows: Shadows,
    *,
    actor: Callable[[Request], str],
    demo: bool,
    topology: Callable[[], Shown] = lambda: Shown(status=None, health=None),
) -> APIRouter:
    """Every page of the console.

    Args:
        actor: who is asking; the name that notes and audit rows carry.
        demo: show on every page that the data is made up.
        topology: what is known of it, and how far to trust that.
    The application also needs ``not_found`` as its handler for 404, for addresses no route knows.
    """
    router = APIRouter(include_in_schema=False, route_class=_ConsoleRoute, default_response_class=HTMLResponse)
    page = _pages(views, demo=demo)
    records = _RecordPages(views, page)
    add_silences(router, quiet, page=page, alert=views.alert, actor=actor, read_form=read_form, change=_CHANGE)
    add_reports(router, views, page=page)
    add_forecasts(router, views, page=page)
    add_topology(router, views, topology, page=page)
    add_rules(router, rules, shadows, page=page, actor=actor, read_form=read_form, change=_CHANGE)
    _add_list(router, views, page)
    _add_incident(router, views, actions, records, actor)
    _add_desk(router, views, actions, page, records, actor)
    _add_intake(router, views, page)
    _add_about(router, page)
    return router


def _add_list(router: APIRouter, views: Views, page: Page) -> None:
    @router.get("/")
    def incidents(request: Request, state: str = "open", q: str = "", fragment: str = "") -> Response:
        state, q = state if state in STATES else "open", q[:MAX_QUERY]
        rows = views.incidents(state=state, limit=LIST_LIMIT)
        status = views.status()
        etag = _etag([_ageless(row) for row in rows], status.intake, status.version, state, q)
        if fragment and request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        # Only asked where it is shown: a first-time visitor needs to know how to connect something.
        connected = bool(rows) or any(source.last_seen for source in views.sources())
        return page(
            "_incident_rows.html" if fragment else "incidents.html",
            headers={"ETag": etag},
            here="incidents",
            status=status,
            rows=rows,
            texts=[_row_text(row) for row in rows],
            state=state,
            states=STATES,
            q=q,
            connected=connected,
            limit=LIST_LIMIT,
        )


def _add_incident(
    router: APIRouter, views: Views, actions: Actions, records: "_RecordPages", actor: Callable[[Request], str]
) -> None:
    @router.get("/incidents/{name}")
    def incident(request: Request, name: str, lane: str = "", fragment: str = "", why_not: str = "") -> Response:
        view = views.incident(name)
        if view is None:
            # A record a person opened on the desk has no situation, but its number is a fair question too.
            found = views.record(name)
            if found is None:
                raise HTTPException(404, detail=f"there is no incident {name[:80]!r}")
            return records.record(*found)
        if fragment:
            etag = _incident_etag(view)
            same = request.headers.get("if-none-match") == etag
            return Response(status_code=304 if same else 200, headers={"ETag": etag})
        return records.incident(view, lane=lane, asked=why_not.strip()[:MAX_QUERY])

    @router.post("/incidents/{name}/feedback", dependencies=_CHANGE)
    def judge(request: Request, name: str, fields: Annotated[list[tuple[str, str]], Depends(read_fields)]) -> Response:
        view = views.incident(name)
        if view is None:
            raise HTTPException(404, detail=f"there is no incident {name[:80]!r}")
        given = [(field, value) for field, value in fields if field != "confirmed"]
        try:
            said = statements.read(given, view)
            sentences = statements.consequences(said, view, views)
            if ("confirmed", "yes") in fields:
                actions.judge(said, actor=actor(request))
                return RedirectResponse(f"/incidents/{words.path(view.row.id)}#structure", status_code=303)
        except Rejected as error:
            typed = {**dict(given), "form": "structure", "alerts": [v for f, v in given if f == "alert"]}
            return records.incident(view, code=409, problem=str(error), typed=typed)
        return records.page(
            "confirm.html",
            here="incidents",
            row=view.row,
            heading=statements.title(said),
            sentences=sentences,
            comment=said.comment,
            fields=given,
        )


def _add_desk(
    router: APIRouter,
    views: Views,
    actions: Actions,
    page: Page,
    records: "_RecordPages",
    actor: Callable[[Request], str],
) -> None:
    @router.get("/problems")
    def problems() -> Response:
        return page(
            "problems.html",
            here="problems",
            records=views.problems(limit=LIST_LIMIT),
            patterns=views.patterns(watched=True, limit=LIST_LIMIT),
            limit=LIST_LIMIT,
        )

    @router.get("/problems/{number}")
    def problem(number: str) -> Response:
        found = views.record(number)
        if found is not None:
            return records.record(*found)
        pattern = views.pattern(number)
        if pattern is None:
            raise HTTPException(404, detail=f"there is no problem {number[:80]!r}")
        return page("pattern.html", here="problems", pattern=pattern)

    @router.post("/records/{number}/{action}", dependencies=_CHANGE)
    def act(
        request: Request, number: str, action: str, form: Annotated[dict[str, str], Depends(read_form)]
    ) -> Response:
        found = views.record(number)
        if found is None or action not in set(DeskAction):
            raise HTTPException(404, detail=f"there is no record {number[:80]!r} with an action {action[:20]!r}")
        record, notes = found
        text, resolution = form.get("text", "").strip(), form.get("code", "")
        try:
            _check_form(action, text, resolution)
            record = actions.act(number, DeskAction(action), actor=actor(request), text=text, code=resolution)
        except Rejected as error:
            typed = {"number": number, "action": action, "text": text, "code": resolution}
            view = views.incident(record.key or number) if record.type != "problem" else None
            if view is not None:
                return records.incident(view, code=409, problem=str(error), typed=typed)
            return records.record(record, notes, code=409, problem=str(error), typed=typed)
        return _see(record)

    @router.post("/incidents/{number}/problem", dependencies=_CHANGE)
    def open_problem(request: Request, number: str, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        found = views.record(number)
        if found is None:
            raise HTTPException(404, detail=f"there is no incident record {number[:80]!r}")
        title = form.get("title", "").strip()[:MAX_TITLE]
        try:
            return _see(actions.open_problem(number, actor=actor(request), title=title))
        except Rejected as error:
            view = views.incident(found[0].key or number)
            if view is None:
                return records.record(*found, code=409, problem=str(error))
            return records.incident(view, code=409, problem=str(error))


def _add_intake(router: APIRouter, views: Views, page: Page) -> None:
    @router.get("/sources")
    def sources(request: Request) -> Response:
        base = base_url(request.url.scheme, request.headers.get("host", ""))
        listed = views.sources()
        heard = [source for source in listed if _is_connected(source)]
        known = {source.collector for source in heard}
        unheard = [
            (kind.kind, kind.title, kind.receive.path if kind.receive else "")
            for name, kind in sorted(collector_kinds().items(), key=lambda item: (item[0] not in _FIRST, item[0]))
            if name not in known
        ]
        return page(
            "sources.html",
            here="sources",
            sources=[(source, snippet(source.collector, source.path, base)) for source in heard],
            unheard=[(kind, title, snippet(kind, path, base)) for kind, title, path in unheard],
        )

    @router.get("/dead-letters")
    def dead_letters() -> Response:
        return page(
            "dead_letters.html", here="dead-letters", letters=views.dead_letters(limit=LIST_LIMIT), limit=LIST_LIMIT
        )


def _is_connected(source: SourceView) -> bool:
    """Whether it has been heard of, or the settings name it; every kind that is posted to is listed besides."""
    return bool(source.last_seen or source.rejected or source.last_error or source.configured)


def _add_about(router: APIRouter, page: Page) -> None:
    @router.get("/status")
    def status() -> Response:
        return page("status.html", here="status")

    @router.get("/static/{name}")
    def static(name: str, request: Request, v: str = "") -> Response:
        return _static(name, v, request.headers.get("if-none-match", ""))


async def not_found(request: Request, error: Exception) -> Response:
    """The application's handler for 404: where no route knows the address, a page for people and ``{error, hint}`` for
    programs and under /api/. What a route itself said about something missing stays as it said it."""
    assert isinstance(error, StarletteHTTPException)
    if error.detail != "Not Found":
        return await http_exception_handler(request, error)
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        body = {"error": f"there is nothing at {request.url.path[:200]!r}", "hint": "see /api/openapi.json"}
        return JSONResponse(body, status_code=404, headers=dict(HEADERS))
    return _secure(_error_page(404, ""))


# ---- what the routes share ------------------------------------------------------------------------------------------


class _ConsoleRoute(APIRoute):
    """Errors become pages, and every answer carries the security headers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return _secure(await handle(request))
            except HTTPException as error:
                return _secure(_error_page(error.status_code, str(error.detail)))
            except RequestValidationError:
                return _secure(_error_page(400, "the address has a part that cannot be read"))
            except ForeshockError as error:
                return _secure(_error_page(503, str(error)))

        return handle_for_people


class _RecordPages:
    """The pages that several routes answer with: one incident, one record of the desk; with what a person typed where
    it was refused."""

    def __init__(self, views: Views, page: Page) -> None:
        self._views, self.page = views, page

    def incident(
        self,
        view: IncidentView,
        *,
        lane: str = "",
        code: int = 200,
        problem: str = "",
        typed: Mapping[str, Any] = {},
        asked: str = "",
    ) -> Response:
        cis = [*(cause.ci for cause in view.causes), *(alert.ci for alert in view.alerts if alert.ci)]
        answers, refusal = _answers(self._views, asked, view.row.id)
        return self.page(
            "incident.html",
            code=code,
            here="incidents",
            view=view,
            row=view.row,
            picture=draw(view.graph),
            lane=lane if lane in LANES else "",
            lanes={name: sum(entry.lane == name for entry in view.timeline) for name in LANES},
            timeline=_runs(view.timeline),
            names={alert.fingerprint: alert.name for alert in view.alerts},
            watch_etag=_incident_etag(view),
            problem=problem,
            typed=typed,
            shown=ALERTS_SHOWN,
            others=[row for row in self._views.incidents(limit=OTHERS_LISTED) if row.id != view.row.id],
            cis=list(dict.fromkeys([*cis, *(node.id for node in view.graph.nodes)])),
            asked=asked,
            answers=answers,
            refusal=refusal,
        )

    def record(
        self,
        record: DeskRecord,
        notes: Sequence[DeskNote],
        *,
        code: int = 200,
        problem: str = "",
        typed: Mapping[str, str] = {},
    ) -> Response:
        return self.page(
            "record.html",
            code=code,
            here="problems" if record.type == "problem" else "incidents",
            record=record,
            notes=notes,
            incidents=self._views.linked(record.number) if record.type == "problem" else (),
            problem=problem,
            typed=typed,
        )


def _answers(views: Views, asked: str, situation: str) -> tuple[list[AgainstView], str]:
    """Why what was asked about is not in ``situation``, or why that cannot be said."""
    if not asked:
        return [], ""
    try:
        return views.against(asked, situation), ""
    except Rejected as error:
        return [], str(error)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form, one value each; 413 and 415 where it is too large or no form."""
    return dict(await _read_fields(request, MAX_FORM_FIELDS))


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """The same with every value of a field that comes more than once, as ticked boxes do."""
    return await _read_fields(request, MAX_TICKED)


async def _read_fields(request: Request, limit: int) -> list[tuple[str, str]]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, detail=f"the form is larger than {MAX_FORM_BYTES} bytes; shorten the text")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if body and kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, detail="the form was not sent as application/x-www-form-urlencoded")
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=limit)
    except ValueError:
        raise HTTPException(400, detail="the form cannot be read") from None


def _check_form(action: str, text: str, code: str) -> None:
    """Raises Rejected in the words of the form, before anybody else is asked."""
    if len(text) > MAX_TEXT:
        raise Rejected(f"the text has {len(text)} characters, {MAX_TEXT} are allowed", hint="shorten it")
    if action == DeskAction.COMMENT and not text:
        raise Rejected("the comment is empty", hint="write what the next person should know")
    if action == DeskAction.WAIT and not text:
        raise Rejected("it waits for nothing", hint="say for whom or what")
    if action == DeskAction.RESOLVE and code not in words.RESOLUTION_CODES:
        raise Rejected("no resolution code was chosen", hint="choose how it ended")


def _see(record: DeskRecord) -> Response:
    """303 to the page of the record, so that reloading it posts nothing again."""
    if record.type == "problem":
        return RedirectResponse(f"/problems/{words.path(record.number)}", status_code=303)
    return RedirectResponse(f"/incidents/{words.path(record.key or record.number)}#desk", status_code=303)


def _secure(response: Response) -> Response:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


def _pages(views: Views, *, demo: bool) -> Page:
    """A function that renders one page with what every page shows."""

    def page(
        template: str, *, code: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> HTMLResponse:
        status = values.pop("status", None) or views.status()
        html = _TEMPLATES.get_template(template).render(
            status=status, demo=demo, refresh_s=REFRESH_S, stale_s=STALE_S, **values
        )
        return HTMLResponse(html, status_code=code, headers=dict(headers or {}))

    return page


def _error_page(code: int, detail: str) -> Response:
    return HTMLResponse(_TEMPLATES.get_template("error.html").render(code=code, detail=detail), status_code=code)


def _static(name: str, version: str, seen: str) -> Response:
    file = _STATIC.get(name)
    if file is None:
        raise HTTPException(404, detail=f"there is no file {name[:80]!r}")
    etag = f'"{file.digest}"'
    # The address in our pages holds the digest, so what it names never changes; anybody else asks again each time.
    caching = "public, max-age=31536000, immutable" if version == file.digest else "no-cache"
    headers = {"ETag": etag, "Cache-Control": caching}
    if seen == etag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)


# ---- values for the templates ---------------------------------------------------------------------------------------


def _ageless(row: IncidentRow) -> IncidentRow:
    """Ages grow by themselves, and the page counts them on; they are no reason to send it again."""
    return msgspec.structs.replace(row, age_s=0.0)


def _etag(*parts: object) -> str:
    return f'"{blake2b(msgspec.json.encode([_RELEASE, *parts]), digest_size=12).hexdigest()}"'


def _incident_etag(view: IncidentView) -> str:
    """What makes a reader look again; repeats of an alert that fires anyway do not."""
    members = [(alert.fingerprint, alert.state, alert.severity) for alert in view.alerts]
    row = view.row
    head = (row.title, row.state, row.priority, row.assignment_group, row.held_by, row.tickets)
    return _etag(head, members, view.causes, view.records, view.notes, view.next_step, view.judgements)


def _row_text(row: IncidentRow) -> str:
    numbers = (ticket.number for ticket in row.tickets)
    return words.search_text(
        row.id, row.title, row.cause, row.assignment_group, f"p{row.priority}", *row.cis, *row.services, *numbers
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One CI of a path, the relationship to the next one, and whether that reads on ("shop uses → db") or back."""

    ci: str
    relation: str
    points: str


def _steps(why: WhyView, graph: GraphView) -> list[_Step]:
    """A path runs from alert to alert, up or down; its relationships keep the direction in which they are true."""
    needs = {(edge.source, edge.target) for edge in graph.edges}
    steps = []
    for here, there, relation in zip_longest(why.path, why.path[1:], why.relations[: len(why.path) - 1], fillvalue=""):
        direction = DIRECTIONS.get(relation, Direction.SOURCE_SUFFERS)
        on, back = (here, there) in needs, (there, here) in needs
        if direction is Direction.TARGET_SUFFERS:  # what is needed is the subject: rack contains server
            on, back = back, on
        points = "" if on is back or direction is Direction.BOTH_SUFFER else "on" if on else "back"
        steps.append(_Step(ci=here, relation=relation, points=points))
    return steps


def _runs(timeline: Sequence[TimelineEntry]) -> list[list[TimelineEntry]]:
    """Oldest first; many alerts that do the same in the same second are one line that can be unfolded."""

    def same(entry: TimelineEntry) -> tuple[object, ...]:
        return (entry.at.replace(microsecond=0), entry.lane, entry.actor, entry.action)

    lines: list[list[TimelineEntry]] = []
    for _, group in groupby(sorted(timeline, key=lambda entry: entry.at), key=same):
        run = list(group)
        lines += [run] if len(run) > RUN_MIN and run[0].lane == "alert" else [[entry] for entry in run]
    return lines


def _filter_hidden(text: str, q: str) -> bool:
    return not words.matches(text, q)


def _query(**values: str) -> str:
    """The query of an address, empty values left away."""
    kept = {name: value for name, value in values.items() if value}
    return "?" + urlencode(kept) if kept else ""


def _can(record: DeskRecord) -> tuple[str, ...]:
    """The actions that make sense in the record's state."""
    if record.state is DeskState.CLOSED:
        return ()
    if record.state is DeskState.RESOLVED:
        return ("comment", "reopen", "close")
    if record.state is DeskState.PENDING:
        return ("take", "comment", "resolve")
    return ("take", "wait", "comment", "resolve")


def _since(at: datetime, now: datetime) -> str:
    return words.age((now - at).total_seconds())


def _static_url(name: str) -> str:
    return f"/static/{name}?v={_STATIC[name].digest}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("foreshock.service.console"),
        autoescape=True,
        finalize=words.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        age=words.age,
        curve=curve,
        gap=words.gap,
        minute=words.minute,
        moment=words.moment,
        number=words.number,
        since=_since,
        href=words.href,
        likely_at=likely_at,
        path=words.path,
        linked=words.linked,
        size=words.size,
        weighed=weighed,
    )
    environment.globals.update(
        static_url=_static_url,
        query=_query,
        hidden=_filter_hidden,
        can=_can,
        steps=_steps,
        PRIORITIES=words.PRIORITIES,
        LEVELS=words.LEVELS,
        RESOLUTION_CODES=words.RESOLUTION_CODES,
        PATTERN_STATES=words.PATTERN_STATES,
        OUTCOMES=words.OUTCOMES,
    )
    return environment


_STATIC = static_files.load()
_RELEASE = "".join(file.digest for file in _STATIC.values())
_TEMPLATES = _environment()
