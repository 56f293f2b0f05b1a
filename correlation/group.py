"""Which situation an alert joins: from what the rules say, within bounds."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from correlation.relate import Candidate
from correlation.settings import GroupSettings
from foreshock.core.model import Alert, Situation, SituationState


class Placement(Struct, frozen=True):
    """Where an alert goes.

    Attributes:
        join: the best candidate; None: it opens a situation of its own.
        merge: situations that the alert shows to be the same problem as the one it joins, best first.
    """

    join: Candidate | None
    merge: tuple[str, ...] = ()


_ALONE = Placement(None)


def place(
    alert: Alert,
    candidates: Iterable[Candidate],
    situations: Mapping[str, Situation],
    now: datetime,
    settings: GroupSettings,
) -> Placement:
    """Join the situation with the strongest link; equal strengths go to the older situation, so the answer never
    depends on
    the order in which candidates come. A situation that has reached a bound takes nothing."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.strength < settings.threshold:
            continue
        known = best.get(candidate.situation)
        if known is None or _order(candidate) < _order(known):
            best[candidate.situation] = candidate
    taking = [c for c in best.values() if not closed_to_joins(situations[c.situation], now, settings)]
    if not taking:
        return _ALONE
    if len(taking) == 1:
        return Placement(taking[0])
    taking.sort(key=lambda c: (-c.strength, situations[c.situation].opened_at, number(c.situation)))
    join, *others = taking
    size = len(situations[join.situation].members)
    merge = []
    for other in others:
        more = len(situations[other.situation].members)
        # Two problems may well hurt the same dependent; only an alert that explains both makes them one.
        explains = other.via == alert.ci
        if explains and other.strength >= settings.merge_threshold and size + more < settings.max_alerts:
            merge.append(other.situation)
            size += more
    return Placement(join, tuple(merge))


def _order(candidate: Candidate) -> tuple[float, str, str, str]:
    """The best first; nothing is left to the order of arrival."""
    return -candidate.strength, candidate.other, candidate.rule, candidate.via


def closed_to_joins(situation: Situation, now: datetime, settings: GroupSettings) -> str:
    """The bound that keeps new alerts out, in words; empty if none does."""
    if situation.state is not SituationState.OPEN:
        return f"it is {situation.state}"
    if len(situation.members) >= settings.max_alerts:
        return f"it holds {len(situation.members)} alerts, the most allowed"
    if now - situation.last_joined_at > settings.join:
        return "its join window is over"
    if now - situation.opened_at > settings.max_age:
        return "it is too old"
    return ""


def number(situation: str) -> int:
    """The number in a situation's id."""
    return int(situation.rpartition("-")[2])
