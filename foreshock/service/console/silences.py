"""The page of silences and maintenance windows: what is quiet now and why, and forms that show what they would hit
before anything is set."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from foreshock.core.errors import ForeshockError, Invalid, Malformed, Rejected
from foreshock.core.quantities import parse_duration
from foreshock.service.maintenance import Plan, Scope
from foreshock.service.quiet import PreviewView, Quiet, matchers_of
from foreshock.service.views import AlertView

MAX_FIELD = 8000
Page = Callable[..., Response]
Form = Mapping[str, str]
_EMPTY: Form = {}


def add_silences(
    router: APIRouter,
    quiet: Quiet,
    *,
    page: Page,
    alert: Callable[[str], AlertView | None],
    actor: Callable[[Request], str],
    read_form: Any,
    change: list[Any],
) -> None:
    """Add the routes to the console's router. alert: one by its fingerprint, to begin a silence with."""

    def show(
        *,
        code: int = 200,
        form: str = "",
        typed: Form = _EMPTY,
        problem: str = "",
        preview: PreviewView | None = None,
    ) -> Response:
        """form: "silence" or "window", which of the two was sent."""
        return page(
            "silences.html",
            code=code,
            here="silences",
            silences=quiet.silences(),
            windows=quiet.windows(),
            form=form,
            typed=typed,
            problem=problem,
            preview=preview,
        )

    @router.get("/silences")
    def silences(of: str = "", like: str = "") -> Response:
        """of: a silence or window whose reach is shown. like: an alert to begin a new silence with."""
        found = alert(like) if like else None
        if found is not None:
            return show(form="silence", typed={"matchers": "\n".join(matchers_of(found.labels))})
        scope = _scope_of(quiet, of) if of else None
        return show(preview=quiet.preview(scope)) if scope is not None else show()

    @router.post("/silences", dependencies=change)
    def silence(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            matchers = _lines(form, "matchers")
            if form.get("do") == "preview":
                return show(form="silence", typed=form, preview=quiet.preview(Scope(matchers=matchers)))
            length = parse_duration(form.get("length", "").strip())
            comment = form.get("comment", "")[:MAX_FIELD]
            quiet.set_silence(matchers, length=length, comment=comment, actor=actor(request))
        except (ForeshockError, ValueError) as error:
            return show(code=409, form="silence", typed=form, problem=_told(error))
        return _back()

    @router.post("/silences/{id}/expire", dependencies=change)
    def expire(request: Request, id: str, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            quiet.expire_silence(id, actor=actor(request))
        except Rejected as error:
            return show(code=409, problem=str(error))
        return _back()

    @router.post("/maintenance", dependencies=change)
    def window(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            scope: dict[str, Any] = {
                "cis": _names(form, "cis"),
                "services": _names(form, "services"),
                "matchers": _lines(form, "matchers"),
                "descendants": bool(form.get("descendants")),
            }
            if form.get("do") == "preview":
                return show(form="window", typed=form, preview=quiet.preview(Scope(**scope)))
            length = form.get("length", "").strip()
            written = {
                name: form.get(name, "").strip()
                for name in ("title", "comment", "owner", "starts", "rrule", "time_zone")
            }
            planned = Plan.model_validate(
                {**scope, **written, "starts": written["starts"].replace("T", " "), "length": length or None}
            )
            quiet.plan(planned, actor=actor(request))
        except (ForeshockError, ValueError) as error:
            return show(code=409, form="window", typed=form, problem=_told(error))
        return _back()

    @router.post("/maintenance/{id}/end", dependencies=change)
    def end(request: Request, id: str, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            quiet.end_window(id, actor=actor(request), only_running=bool(form.get("once")))
        except Rejected as error:
            return show(code=409, problem=str(error))
        return _back()


def _scope_of(quiet: Quiet, id: str) -> Scope | None:
    for silence in quiet.silences():
        if silence.id == id:
            return Scope(matchers=silence.matchers)
    for window in quiet.windows():
        if window.id == id:
            return Scope(
                cis=window.cis,
                descendants=window.descendants,
                services=window.services,
                matchers=window.matchers,
            )
    return None


def _lines(form: Form, name: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in form.get(name, "")[:MAX_FIELD].splitlines() if line.strip())


def _names(form: Form, name: str) -> tuple[str, ...]:
    return _lines({name: form.get(name, "").replace(",", "\n")}, name)


def _told(error: Exception) -> str:
    """What is wrong, in the words of the form."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        field = " ".join(str(part).replace("_", " ") for part in first["loc"][:1])
        said = f"{cause}; {cause.hint}" if isinstance(cause, Invalid) and cause.hint else str(cause or first["msg"])
        return f"{field}: {said}" if field else said
    if isinstance(error, Invalid) and error.hint:
        return f"{error}; {error.hint}"
    assert isinstance(error, Invalid | Malformed | Rejected | ForeshockError | ValueError)
    return str(error)


def _back() -> Response:
    """303, so that reloading the page posts nothing again."""
    return RedirectResponse("/silences", status_code=303)
