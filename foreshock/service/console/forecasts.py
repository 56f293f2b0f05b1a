"""The page of forecasts: what is expected now and why, how often that was right, and what became of the last ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException, Request, Response

from correlation.forecast import MAX_HEARD
from foreshock.core.errors import Rejected
from foreshock.core.model import Forecast, ForecastState
from foreshock.service.console.plots import HEIGHT, WIDTH, TimeAxis, Whisker, whisker
from foreshock.service.console.reports import MAX_ROWS, PERIODS, USUAL_DAYS
from foreshock.service.console.snippets import base_url
from foreshock.service.ledger import LeadClass, Ledger, Per
from foreshock.service.views import ForecastView, Views

ROWS = {Per.MODEL.value: "by model", Per.SERVICE.value: "by service", Per.TEAM.value: "by team"}
MAX_STANDING, MAX_UNHEEDED, MAX_ENDED = 200, 200, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A forecast with its place on the axis of times.

    Attributes:
        due_s: seconds until it is most likely; negative once that is past. between: when it happens in nine of ten
            cases; None where the model does not say.
        span: from the earliest to the latest, or until the end of its horizon. until_x: that end.
    """

    view: ForecastView
    due_s: float
    between: tuple[datetime, datetime] | None
    span: Whisker
    until_x: float


def add_forecasts(router: APIRouter, views: Views, *, page: Callable[..., Response]) -> None:
    """Add the route to the console's router."""

    @router.get("/forecasts")
    def forecasts(request: Request, days: str = "", by: str = "", all: str = "") -> Response:
        """What is not among the choices is the usual one."""
        period = int(days) if days.isdecimal() and int(days) in PERIODS else USUAL_DAYS
        rows = by if by in ROWS else Per.MODEL.value
        status = views.status()
        heard = views.forecasts(limit=MAX_HEARD)
        expected = [each for each in heard if not each.reason and each.outcome in ("", "expected")]
        unheeded = [each for each in heard if each.reason and each.forecast.state is ForecastState.EXPECTED]
        unheeded.sort(key=lambda each: -each.forecast.probability)
        axis = TimeAxis(max(((each.until - status.now).total_seconds() for each in expected), default=0.0))
        begin = status.now - timedelta(days=period)
        try:
            ledger = views.ledger(begin, status.now, Per(rows), problems_only=all != "1")
        except Rejected as error:
            raise HTTPException(409, detail=str(error)) from None
        return page(
            "forecasts.html",
            here="forecasts",
            status=status,
            expected=[_standing(each, axis, status.now) for each in expected[:MAX_STANDING]],
            expected_count=len(expected),
            ticks=axis.ticks(),
            unheeded=unheeded[:MAX_UNHEEDED],
            unheeded_count=len(unheeded),
            ledger=ledger,
            shown=ledger.rows[:MAX_ROWS],
            left_out=max(0, len(ledger.rows) - MAX_ROWS),
            leads=_without_empty_ends(ledger.leads),
            plots=_Plots(ledger),
            ended=views.forecast_entries(limit=MAX_ENDED, ended=True),
            days=period,
            by=rows,
            all=all == "1",
            periods=PERIODS,
            choices=ROWS,
            width=WIDTH,
            height=HEIGHT,
            base=base_url(request.url.scheme, request.headers.get("host", "")),
        )


class _Plots:
    """Axes that all rows of the ledger share."""

    def __init__(self, ledger: Ledger) -> None:
        rows = (ledger.all, *ledger.rows[:MAX_ROWS])
        self._leads = TimeAxis(max((row.lead.p90_s or 0.0 for row in rows), default=0.0))
        self._most = max((row.false_alarms.high or 0.0 for row in rows), default=0.0)
        self.share = lambda found, mark=None: whisker(found.low, found.share, found.high, 1.0, mark)
        self.rate = lambda found: whisker(found.low, found.rate, found.high, self._most)
        self.lead = lambda found: self._leads.whisker(found.p10_s, found.median_s, found.p90_s)


def _standing(view: ForecastView, axis: TimeAxis, now: datetime) -> Standing:
    between = _between(view.forecast)
    low, high = (now, view.until) if between is None else between
    x1, x, x2, until_x = (axis.x((at - now).total_seconds()) for at in (low, view.likely_at, high, view.until))
    return Standing(
        view=view,
        due_s=(view.likely_at - now).total_seconds(),
        between=between,
        span=Whisker(x1=x1, x=x, x2=x2),
        until_x=until_x,
    )


def _between(forecast: Forecast) -> tuple[datetime, datetime] | None:
    if forecast.earliest_h is None or forecast.latest_h is None:
        return None
    made_at = forecast.made_at
    return made_at + timedelta(hours=forecast.earliest_h), made_at + timedelta(hours=forecast.latest_h)


def _without_empty_ends(classes: Sequence[LeadClass]) -> Iterable[LeadClass]:
    filled = [index for index, each in enumerate(classes) if each.count]
    return classes[filled[0] : filled[-1] + 1] if filled else ()
