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
        refused: strong candidates that a bound kept out, with the bound, for the explanation.
    """

    join: Candidate | None
    merge: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def place(
    alert: Alert,
    candidates: Iterable[Candidate], situations: Mapping[str, Situation], now: datetime, settings: GroupSettings
) -> Placement:
    """Join the situation with the strongest link; equal strengths go to the older situation, so the answer never depends on
    the order in which candidates come."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.strength < settings.threshold:
            continue
        known = best.get(candidate.situation)
        if known is None or (candidate.strength, known.other) > (known.strength, candidate.other):
            best[candidate.situation] = candidate
    if not best:
        return Placement(None)
    ranked = sorted(best.values(), key=lambda c: (-c.strength, situations[c.situation].opened_at, number(c.situation)))
    open_ones, refused = [], []
    for candidate in ranked:
        bound = closed_to_joins(situations[candidate.situation], now, settings)
        if bound:
            refused.append((candidate.situation, bound))
        else:
            open_ones.append(candidate)
    if not open_ones:
        return Placement(None, refused=tuple(refused))
    join, *others = open_ones
    size = len(situations[join.situation].members)
    merge = []
    for other in others:
        more = len(situations[other.situation].members)
        # Two problems may well hurt the same dependent; only an alert that explains both makes them one.
        explains = other.via == alert.ci
        if explains and other.strength >= settings.merge_threshold and size + more < settings.max_alerts:
            merge.append(other.situation)
            size += more
    return Placement(join, tuple(merge), tuple(refused))


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
