"""The page of rules: what decides now and why, how that differs from the files, what a candidate beside it would
change, and forms to put one of those or an earlier version into force."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from foreshock.core.errors import Rejected
from foreshock.service.applying import Rules
from foreshock.service.plan.compare import Kind
from foreshock.service.plan.report import WORDS, incident_line, rows
from foreshock.service.shadowing import Shadows, State

MAX_REASON = 2000
Page = Callable[..., Response]


def add_rules(
    router: APIRouter,
    rules: Rules,
    shadows: Shadows,
    *,
    page: Page,
    actor: Callable[[Request], str],
    read_form: Any,
    change: list[Any],
) -> None:
    """Add the routes to the console's router."""

    def show(*, code: int = 200, form: str = "", typed: Mapping[str, str] = {}, problem: str = "") -> Response:
        """form: "back", "apply" or "stop", which of them was sent."""
        shadow = shadows.status()
        plan = shadow.report.plan if shadow is not None and shadow.report is not None else None
        return page(
            "rules.html",
            code=code,
            here="rules",
            rules=rules.status(),
            history=rules.history(),
            shadow=shadow,
            running=shadow is not None and shadow.state is State.RUNNING,
            counted=rows(plan) if plan is not None else (),
            differences=[
                (WORDS[kind], found)
                for kind in Kind
                if plan is not None and (found := [each for each in plan.differences if each.kind is kind])
            ],
            line=incident_line,
            form=form,
            typed=typed,
            problem=problem,
        )

    @router.get("/rules")
    def ruling() -> Response:
        return show()

    @router.post("/rules/rollback", dependencies=change)
    def roll_back(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            rules.roll_back(form.get("version", ""), reason=_reason(form), actor=actor(request))
        except Rejected as error:
            return show(code=409, form="back", typed=form, problem=str(error))
        return _back()

    @router.post("/rules/shadow/apply", dependencies=change)
    def apply(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            shadows.apply(reason=_reason(form), actor=actor(request))
        except Rejected as error:
            return show(code=409, form="apply", typed=form, problem=str(error))
        return _back()

    @router.post("/rules/shadow/stop", dependencies=change)
    def stop(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        try:
            shadows.stop(actor=actor(request))
        except Rejected as error:
            return show(code=409, form="stop", problem=str(error))
        return _back()


def _reason(form: Mapping[str, str]) -> str:
    reason = form.get("reason", "").strip()
    if not reason or len(reason) > MAX_REASON:
        raise Rejected(
            f"the reason has {len(reason)} characters", hint=f"say why, in 1 to {MAX_REASON}: it stands in the history"
        )
    return reason


def _back() -> Response:
    """303, so that reloading the page posts nothing again."""
    return RedirectResponse("/rules", status_code=303)
