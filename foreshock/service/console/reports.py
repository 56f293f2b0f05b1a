"""The page of reports: what happened in the last days, of all and by service, team or priority."""

from collections.abc import Callable
from datetime import timedelta

from fastapi import APIRouter, Response

from foreshock.service.report import By
from foreshock.service.views import Views

PERIODS = {1: "the last day", 7: "the last 7 days", 30: "the last 30 days", 90: "the last 90 days", 365: "a year"}
ROWS = {By.SERVICE.value: "by service", By.TEAM.value: "by team", By.PRIORITY.value: "by priority"}
MAX_ROWS = 200
USUAL_DAYS = 30


def add_reports(router: APIRouter, views: Views, *, page: Callable[..., Response]) -> None:
    """Add the route to the console's router."""

    @router.get("/reports")
    def reports(days: str = "", by: str = "") -> Response:
        """What is not among the choices is the usual one."""
        period = int(days) if days.isdecimal() and int(days) in PERIODS else USUAL_DAYS
        rows = by if by in ROWS else By.TEAM.value
        status = views.status()
        found = views.report(status.now - timedelta(days=period), status.now, By(rows))
        return page(
            "reports.html",
            here="reports",
            status=status,
            found=found,
            shown=found.rows[:MAX_ROWS],
            left_out=max(0, len(found.rows) - MAX_ROWS),
            days=period,
            by=rows,
            periods=PERIODS,
            choices=ROWS,
        )
