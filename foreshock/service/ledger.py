"""How often forecasts were right: the ledger of what models announced, as figures. Formulae: docs/problems.md.

Pure: entries of the ledger and rows of incidents in, figures out.
"""

import csv
import io
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from foreshock.core.contracts import ForecastOutcome, ForecastRow, SituationRow
from foreshock.core.errors import Rejected
from foreshock.core.model import Moment, SituationState
from foreshock.core.rates import Rate, Share, rate, share
from foreshock.service.report import LONGEST, NO_SERVICE, NOBODY, USUAL, cell, name_cell

LEADS_S = (900, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800)
"""Upper ends of the classes in which lead times are counted; a last class has none."""
SAID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Between the classes of probabilities."""
MAX_ENTRIES = 100_000
"""That figures are made of; many more would hold up everybody else while they are read."""
_WEEK = timedelta(weeks=1)
_SOON = 1 / 7
"""Weeks; what was counted in less says nothing of a week."""
_HITS = (ForecastOutcome.CONFIRMED, ForecastOutcome.REACHED)
_FALSE = (ForecastOutcome.EXPIRED, ForecastOutcome.WITHDRAWN)


class Per(StrEnum):
    """What the rows of the figures are."""

    MODEL = "model"
    SERVICE = "service"
    TEAM = "team"


class Leads(Struct, frozen=True, kw_only=True):
    """Times from the first forecast to the hit, of ``count`` hits, in seconds; None where there are none. One in ten
    was p10 or shorter, nine in ten were p90 or shorter."""

    count: int
    p10_s: float | None = None
    median_s: float | None = None
    p90_s: float | None = None


class LeadClass(Struct, frozen=True, kw_only=True):
    """Hits whose lead time is in over_s < t <= up_to_s; up_to_s is None in the last."""

    over_s: int
    up_to_s: int | None
    count: int


class Said(Struct, frozen=True, kw_only=True):
    """Of what was announced with a probability in low <= p < high (of the last: <=): mean is what was said, 0..1, and
    came how many came true of those that are decided."""

    low: float
    high: float
    mean: float
    came: Share


class Foretold(Struct, frozen=True, kw_only=True):
    """Of what was announced in the period.

    Attributes:
        key: of the row; empty for all.
        announced: of these, waiting are to come true still, and of unknown ones nobody knows.
        confirmed: by an incident. reached: it happened, and nobody was alarmed. expired, withdrawn: it did not.
        precision: hits (confirmed, reached) of all that are decided.
        recall: incidents with a ticket that were announced before, of all that were opened.
        lead: from the first forecast to the hit.
        false_alarms: expired and withdrawn ones, for each week and team; of less than a day only their number.
    """

    key: str
    announced: int
    waiting: int
    confirmed: int
    reached: int
    expired: int
    withdrawn: int
    unknown: int
    precision: Share
    recall: Share
    lead: Leads
    false_alarms: Rate


class Ledger(Struct, frozen=True, kw_only=True):
    """begin <= t < end, where begin is not before the first entry of all. by: what ``rows`` are, the most announcements
    first. problems_only: whether what opened no problem is left out. leads, said: of all; said without empty classes.
    """

    begin: Moment
    end: Moment
    by: str
    problems_only: bool
    all: Foretold
    rows: tuple[Foretold, ...]
    leads: tuple[LeadClass, ...] = ()
    said: tuple[Said, ...] = ()


class Kept(Protocol):
    """What the figures are made of."""

    def forecasts_between(self, begin: datetime, end: datetime, *, problems_only: bool) -> Iterable[ForecastRow]: ...

    def first_forecast(self) -> datetime | None: ...

    def opened_between(self, begin: datetime, end: datetime) -> Iterable[SituationRow]: ...


def of_period(
    kept: Kept, now: datetime, begin: datetime | None, end: datetime | None, by: Per, *, problems_only: bool = True
) -> Ledger:
    """Up to ``now``, of the last thirty days, where nothing else is asked. Raises Rejected for what is no period,
    and for one with more than MAX_ENTRIES."""
    end = now if end is None else end
    begin = end - USUAL if begin is None else begin
    if not timedelta(0) < end - begin <= LONGEST:
        raise Rejected(
            f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is no period of up to ten years",
            hint="`from` comes before `to`",
        )
    first = kept.first_forecast()
    begin = begin if first is None else min(max(begin, first), end)
    entries = list(islice(kept.forecasts_between(begin, end, problems_only=problems_only), MAX_ENTRIES + 1))
    if len(entries) > MAX_ENTRIES:
        raise Rejected(
            f"more than {MAX_ENTRIES:,} forecasts were announced in this time", hint="ask for a shorter period"
        )
    since = end if first is None else begin  # without any forecast there is no time in which none was wrong
    incidents = [
        row
        for row in kept.opened_between(since, end)
        if row.ticketed_at is not None and row.state != SituationState.MERGED.value
    ]
    weeks = max(timedelta(0), min(end, now) - since) / _WEEK
    return figures(entries, incidents, begin, end, weeks, by, problems_only=problems_only)


def figures(
    entries: Sequence[ForecastRow],
    incidents: Sequence[SituationRow],
    begin: datetime,
    end: datetime,
    weeks: float,
    by: Per,
    *,
    problems_only: bool,
) -> Ledger:
    """weeks: in which there was somebody to announce anything."""
    alarms = _once(entries)
    at_once = entries if by is Per.MODEL else alarms
    teams = {row.team for row in entries} | {row.team for row in incidents}
    whole = _figures("", alarms, incidents, weeks * max(1, len(teams)))
    of_key: dict[str, list[ForecastRow]] = {}
    for row in at_once:
        for key in _KEYS[by](row):
            of_key.setdefault(key, []).append(row)
    made = [
        _figures(key, found, [row for row in incidents if by is Per.MODEL or key in _HIT[by](row)], weeks)
        for key, found in of_key.items()
    ]
    rows = sorted(made, key=lambda row: (-row.announced, row.key))
    return Ledger(
        begin=begin,
        end=end,
        by=by.value,
        problems_only=problems_only,
        all=whole,
        rows=tuple(rows),
        leads=_lead_classes(_leads_s(alarms)),
        said=_said(alarms),
    )


_KEYS: Mapping[Per, Callable[[ForecastRow], Sequence[str]]] = {
    Per.MODEL: lambda row: (row.model,),
    Per.SERVICE: lambda row: row.services or (NO_SERVICE,),
    Per.TEAM: lambda row: (row.team or NOBODY,),
}
_HIT: Mapping[Per, Callable[[SituationRow], Sequence[str]]] = {
    Per.SERVICE: lambda row: row.services or (NO_SERVICE,),
    Per.TEAM: lambda row: (row.team or NOBODY,),
}


def _once(entries: Iterable[ForecastRow]) -> list[ForecastRow]:
    """One entry for each problem: what two models said of it is one alarm for those who got it, right if one was."""
    found: dict[str, ForecastRow] = {}
    for row in entries:
        key = row.problem or row.id
        first = found.setdefault(key, row)
        if first.outcome not in _HITS and row.outcome in _HITS:
            found[key] = replace(first, outcome=row.outcome, ended_at=row.ended_at, situation=row.situation)
    return list(found.values())


def _figures(key: str, entries: Sequence[ForecastRow], incidents: Sequence[SituationRow], weeks: float) -> Foretold:
    of = {outcome: [row for row in entries if row.outcome is outcome] for outcome in ForecastOutcome}
    hits = [row for outcome in _HITS for row in of[outcome]]
    false = sum(len(of[outcome]) for outcome in _FALSE)
    foreseen = {row.situation for row in hits}
    return Foretold(
        key=key,
        announced=len(entries),
        waiting=len(of[ForecastOutcome.EXPECTED]),
        confirmed=len(of[ForecastOutcome.CONFIRMED]),
        reached=len(of[ForecastOutcome.REACHED]),
        expired=len(of[ForecastOutcome.EXPIRED]),
        withdrawn=len(of[ForecastOutcome.WITHDRAWN]),
        unknown=len(of[ForecastOutcome.UNKNOWN]),
        precision=share(len(hits), len(hits) + false),
        recall=share(sum(row.id in foreseen for row in incidents), len(incidents)),
        lead=_leads(_leads_s(entries)),
        false_alarms=rate(false, weeks) if weeks >= _SOON else Rate(count=false, over=weeks),
    )


def _leads_s(entries: Iterable[ForecastRow]) -> list[float]:
    """Of the hits among them, the shortest first."""
    hits = (row for row in entries if row.outcome in _HITS)
    return sorted(max(0.0, (row.ended_at - row.heard_at).total_seconds()) for row in hits if row.ended_at is not None)


def _leads(sorted_s: Sequence[float]) -> Leads:
    """Nearest-rank percentiles."""
    count = len(sorted_s)
    if not count:
        return Leads(count=0)
    return Leads(
        count=count,
        p10_s=sorted_s[math.ceil(0.1 * count) - 1],
        median_s=(sorted_s[(count - 1) // 2] + sorted_s[count // 2]) / 2,
        p90_s=sorted_s[math.ceil(0.9 * count) - 1],
    )


def _lead_classes(sorted_s: Sequence[float]) -> tuple[LeadClass, ...]:
    counts = [0] * (len(LEADS_S) + 1)
    for seconds in sorted_s:
        counts[bisect_left(LEADS_S, seconds)] += 1
    return tuple(
        LeadClass(over_s=over, up_to_s=up_to, count=count)
        for over, up_to, count in zip((0, *LEADS_S), (*LEADS_S, None), counts, strict=True)
    )


def _said(entries: Iterable[ForecastRow]) -> tuple[Said, ...]:
    of_class: dict[int, list[ForecastRow]] = {}
    for row in entries:
        if row.outcome in _HITS or row.outcome in _FALSE:
            of_class.setdefault(bisect_right(SAID, row.probability), []).append(row)
    return tuple(
        Said(
            low=(0.0, *SAID)[index],
            high=(*SAID, 1.0)[index],
            mean=math.fsum(row.probability for row in rows) / len(rows),
            came=share(sum(row.outcome in _HITS for row in rows), len(rows)),
        )
        for index, rows in sorted(of_class.items())
    )


# ---- as a table -----------------------------------------------------------------------------------------------------

COLUMNS = (
    "key", "announced", "waiting", "confirmed", "reached", "expired", "withdrawn", "unknown",
    "hits", "decided", "precision", "precision_low", "precision_high",
    "foreseen", "incidents", "recall", "recall_low", "recall_high", "lead_p10_s", "lead_median_s", "lead_p90_s",
    "false_alarms", "team_weeks", "false_alarm_rate", "false_alarm_rate_low", "false_alarm_rate_high",
)  # fmt: skip


def as_csv(found: Ledger) -> str:
    """One line for all, with the key ``all``, then one for each row, written as ``report.as_csv`` writes."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS)
    for row in (found.all, *found.rows):
        writer.writerow([cell(value) for value in _values(row)])
    return made.getvalue()


def _values(row: Foretold) -> list[Any]:
    found: list[Any] = [name_cell(row.key), row.announced, row.waiting, row.confirmed, row.reached]
    found += [row.expired, row.withdrawn, row.unknown]
    for each in (row.precision, row.recall):
        found += [each.count, each.of, each.share, each.low, each.high]
    lead, alarms = row.lead, row.false_alarms
    return [
        *found,
        lead.p10_s,
        lead.median_s,
        lead.p90_s,
        alarms.count,
        alarms.over,
        alarms.rate,
        alarms.low,
        alarms.high,
    ]
