"""How well incidents were dealt with in a period: times to acknowledge and to resolve, promises kept, and how much
noise became how few tickets. Formulae: docs/reports.md.

Pure: rows of incidents and counted hours in, a report out. Of each time only the number is kept, so a million incidents
take some tens of megabytes while the report is made.
"""

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from foreshock.core.contracts import SituationRow
from foreshock.core.errors import Rejected
from foreshock.core.model import Moment, SituationState
from foreshock.service.tally import ALERTS, EVENTS

NOBODY, NO_SERVICE = "(no group)", "(no service)"
USUAL = timedelta(days=30)
LONGEST = timedelta(days=3660)
_TAIL = 0.9


class By(StrEnum):
    """What the rows of a report are."""

    SERVICE = "service"
    TEAM = "team"
    PRIORITY = "priority"


class Times(Struct, frozen=True, kw_only=True):
    """Of ``count`` incidents, in seconds; None where there are none. p90: nine in ten took at most so long."""

    count: int
    mean_s: float | None = None
    median_s: float | None = None
    p90_s: float | None = None


class Kept(Struct, frozen=True, kw_only=True):
    """Promises of a kind. share: kept / (kept + broken), 0..1; None where nothing is judged yet."""

    kept: int
    broken: int
    share: float | None


class Figures(Struct, frozen=True, kw_only=True):
    """Of the incidents that were opened in the period.

    Attributes:
        key: of the row; empty for all.
        incidents: without those that were merged into others. merged: those. tickets: of both, that got one.
        open: of ``incidents`` with a ticket, those that are not over. unacknowledged: of these, that nobody has seen.
        reopened: that were reopened at least once.
        events, alerts: that are in the incidents; of all, what came in, in any incident or none.
        noise_reduction: 1 - tickets / events, 0..1; None where there were no events.
        acknowledge, resolve: times from the first ticket on. sla_acknowledge, sla_resolve: promises.
    """

    key: str
    incidents: int
    merged: int
    tickets: int
    open: int
    unacknowledged: int
    reopened: int
    events: int
    alerts: int
    noise_reduction: float | None
    acknowledge: Times
    resolve: Times
    sla_acknowledge: Kept
    sla_resolve: Kept


class Report(Struct, frozen=True, kw_only=True):
    """begin <= t < end. by: what ``rows`` are, the most incidents first; empty without."""

    begin: Moment
    end: Moment
    by: str
    all: Figures
    rows: tuple[Figures, ...]


class History(Protocol):
    """What a report is made of."""

    def opened_between(self, begin: datetime, end: datetime) -> Iterable[SituationRow]: ...

    def tallied(self, begin: datetime, end: datetime) -> Mapping[str, int]: ...


def of_period(history: History, now: datetime, begin: datetime | None, end: datetime | None, by: By | None) -> Report:
    """A report up to ``now``, of the last thirty days, where nothing else is asked. Raises Rejected for a period that
    is none."""
    end = now if end is None else end
    begin = end - USUAL if begin is None else begin
    if not timedelta(0) < end - begin <= LONGEST:
        raise Rejected(
            f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is no period of up to ten years",
            hint="`from` comes before `to`",
        )
    return report(history, begin, end, by)


def report(history: History, begin: datetime, end: datetime, by: By | None = None) -> Report:
    """Whole hours are counted of what came in: the hour in which the period begins is in it if it begins with it."""
    total, groups = _Sum(), dict[str, _Sum]()
    keys = _KEYS[by] if by is not None else lambda row: ()
    for row in history.opened_between(begin, end):
        total.add(row)
        for key in keys(row):
            groups.setdefault(key, _Sum()).add(row)
    tallied = history.tallied(begin, end)
    total.events, total.alerts = tallied.get(EVENTS, 0), tallied.get(ALERTS, 0)
    rows = sorted((group.figures(key) for key, group in groups.items()), key=_order(by))
    return Report(begin=begin, end=end, by=by.value if by else "", all=total.figures(""), rows=tuple(rows))


_KEYS: Mapping[By, Callable[[SituationRow], Sequence[str]]] = {
    By.SERVICE: lambda row: row.services or (NO_SERVICE,),
    By.TEAM: lambda row: (row.team or NOBODY,),
    By.PRIORITY: lambda row: (f"P{row.priority}",),
}


def _order(by: By | None) -> Callable[[Figures], tuple[Any, ...]]:
    return (lambda row: (row.key,)) if by is By.PRIORITY else (lambda row: (-row.tickets, -row.incidents, row.key))


class _Sum:
    """Of one row while it is added up."""

    def __init__(self) -> None:
        self.incidents = self.merged = self.tickets = self.open = self.unacknowledged = self.reopened = 0
        self.events = self.alerts = 0
        self._acknowledge, self._resolve = array("d"), array("d")
        self._kept = {"acknowledge": [0, 0], "resolve": [0, 0]}

    def add(self, row: SituationRow) -> None:
        self.tickets += row.ticketed_at is not None
        if row.state == SituationState.MERGED.value:
            self.merged += 1
            return
        self.incidents += 1
        self.reopened += row.reopened > 0
        self.events += row.events
        self.alerts += row.alerts
        if row.ticketed_at is None:
            return
        if row.state == SituationState.OPEN.value:
            self.open += 1
            self.unacknowledged += row.acknowledged_at is None
        elif row.resolved_at is not None:
            self._resolve.append(_seconds(row.ticketed_at, row.resolved_at))
        if row.acknowledged_at is not None:
            self._acknowledge.append(_seconds(row.ticketed_at, row.acknowledged_at))
        for name, kept in (("acknowledge", row.acknowledged_in_time), ("resolve", row.resolved_in_time)):
            if kept is not None:
                self._kept[name][not kept] += 1

    def figures(self, key: str) -> Figures:
        return Figures(
            key=key,
            incidents=self.incidents,
            merged=self.merged,
            tickets=self.tickets,
            open=self.open,
            unacknowledged=self.unacknowledged,
            reopened=self.reopened,
            events=self.events,
            alerts=self.alerts,
            noise_reduction=max(0.0, 1 - self.tickets / self.events) if self.events else None,
            acknowledge=times(self._acknowledge),
            resolve=times(self._resolve),
            sla_acknowledge=_share(*self._kept["acknowledge"]),
            sla_resolve=_share(*self._kept["resolve"]),
        )


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())


def _share(kept: int, broken: int) -> Kept:
    return Kept(kept=kept, broken=broken, share=kept / (kept + broken) if kept + broken else None)


def times(seconds: Iterable[float]) -> Times:
    """Mean, median and the nearest-rank 90th percentile."""
    sorted_s = sorted(seconds)
    count = len(sorted_s)
    if not count:
        return Times(count=0)
    middle = sorted_s[(count - 1) // 2], sorted_s[count // 2]
    return Times(
        count=count,
        mean_s=math.fsum(sorted_s) / count,
        median_s=sum(middle) / 2,
        p90_s=sorted_s[math.ceil(_TAIL * count) - 1],
    )


# ---- as a table -----------------------------------------------------------------------------------------------------

COLUMNS = (
    "key", "incidents", "merged", "tickets", "open", "unacknowledged", "reopened", "events", "alerts",
    "noise_reduction", "acknowledged", "mtta_mean_s", "mtta_median_s", "mtta_p90_s", "resolved", "mttr_mean_s",
    "mttr_median_s", "mttr_p90_s", "sla_acknowledge_kept", "sla_acknowledge_broken", "sla_acknowledge_share",
    "sla_resolve_kept", "sla_resolve_broken", "sla_resolve_share",
)  # fmt: skip


def as_csv(found: Report) -> str:
    """One line for all, with the key ``all``, then one for each row; numbers as they are, what is not known empty. A
    name that a spreadsheet would take for a formula is made text."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS)
    for row in (found.all, *found.rows):
        writer.writerow(_cells(row))
    return made.getvalue()


def _cells(row: Figures) -> list[Any]:
    found: list[Any] = [
        name_cell(row.key),
        row.incidents,
        row.merged,
        row.tickets,
        row.open,
        row.unacknowledged,
        row.reopened,
    ]
    found += [row.events, row.alerts, row.noise_reduction]
    for each in (row.acknowledge, row.resolve):
        found += [each.count, each.mean_s, each.median_s, each.p90_s]
    for kept in (row.sla_acknowledge, row.sla_resolve):
        found += [kept.kept, kept.broken, kept.share]
    return [cell(value) for value in found]


def name_cell(name: str) -> str:
    """The name of a row; what a spreadsheet would take for a formula is made text."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name or "all"


def cell(value: Any) -> Any:
    return "" if value is None else round(value, 6) if isinstance(value, float) else value
