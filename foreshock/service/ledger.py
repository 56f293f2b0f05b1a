"""How often forecasts were right: the ledger of what models announced, as figures. Formulae: docs/prediction.md.

Pure: entries of the ledger and rows of incidents in, figures out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from foreshock.core.contracts import ForecastOutcome, ForecastRow, SituationRow
from foreshock.core.errors import Rejected
from foreshock.core.model import Moment, SituationState
from foreshock.core.rates import Rate, Share, rate, share
from foreshock.service.report import LONGEST, NO_SERVICE, NOBODY, USUAL, Times, times

_WEEK = timedelta(weeks=1)
_HITS = (ForecastOutcome.CONFIRMED, ForecastOutcome.REACHED)
_FALSE = (ForecastOutcome.EXPIRED, ForecastOutcome.WITHDRAWN)


class Per(StrEnum):
    """What the rows of the figures are."""

    MODEL = "model"
    SERVICE = "service"
    TEAM = "team"


class Foretold(Struct, frozen=True, kw_only=True):
    """Of what was announced in the period.

    Attributes:
        key: of the row; empty for all.
        announced: of these, waiting are to come true still, and of unknown ones nobody knows.
        confirmed: by an incident. reached: it happened, and nobody was alarmed. expired, withdrawn: it did not.
        precision: hits (confirmed, reached) of all that are decided.
        recall: incidents with a ticket that were announced before, of all that were opened.
        lead: from the first forecast to the hit.
        false_alarms: expired and withdrawn ones, for each week and team.
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
    lead: Times
    false_alarms: Rate


class Ledger(Struct, frozen=True, kw_only=True):
    """begin <= t < end, where begin is not before the first entry of all. by: what ``rows`` are, the most announcements
    first. problems_only: whether what opened no problem is left out."""

    begin: Moment
    end: Moment
    by: str
    problems_only: bool
    all: Foretold
    rows: tuple[Foretold, ...]


class Kept(Protocol):
    """What the figures are made of."""

    def forecasts_between(self, begin: datetime, end: datetime) -> Iterable[ForecastRow]: ...

    def first_forecast(self) -> datetime | None: ...

    def opened_between(self, begin: datetime, end: datetime) -> Iterable[SituationRow]: ...


def of_period(
    kept: Kept, now: datetime, begin: datetime | None, end: datetime | None, by: Per, *, problems_only: bool = True
) -> Ledger:
    """Up to ``now``, of the last thirty days, where nothing else is asked. Raises Rejected for what is no period."""
    end = now if end is None else end
    begin = end - USUAL if begin is None else begin
    if not timedelta(0) < end - begin <= LONGEST:
        raise Rejected(
            f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is no period of up to ten years",
            hint="`from` comes before `to`",
        )
    first = kept.first_forecast()
    begin = begin if first is None else min(max(begin, first), end)
    entries = [row for row in kept.forecasts_between(begin, end) if row.problem or not problems_only]
    incidents = [
        row
        for row in kept.opened_between(begin, end)
        if row.ticketed_at is not None and row.state != SituationState.MERGED.value
    ]
    weeks = (min(end, now) - begin) / _WEEK
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
    at_once = entries if by is Per.MODEL else _once(entries)
    teams = {row.team for row in entries} | {row.team for row in incidents}
    whole = _figures("", _once(entries), incidents, weeks * max(1, len(teams)))
    of_key: dict[str, list[ForecastRow]] = {}
    for row in at_once:
        for key in _KEYS[by](row):
            of_key.setdefault(key, []).append(row)
    made = [
        _figures(key, found, [row for row in incidents if by is Per.MODEL or key in _HIT[by](row)], weeks)
        for key, found in of_key.items()
    ]
    rows = sorted(made, key=lambda row: (-row.announced, row.key))
    return Ledger(begin=begin, end=end, by=by.value, problems_only=problems_only, all=whole, rows=tuple(rows))


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
        lead=times((row.ended_at - row.heard_at).total_seconds() for row in hits if row.ended_at is not None),
        false_alarms=rate(false, weeks),
    )
