"""Which situation an alert joins: from what the rules say, within bounds."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from correlation.relate import Candidate
from correlation.settings import GroupSettings
from foreshock.core.model import Situation, SituationState


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
    candidates: Iterable[Candidate], situations: Mapping[str, Situation], now: datetime, settings: GroupSettings
) -> Placement:
    """Join the situation with the strongest link; equal strengths go to the older situation, so the answer never
    depends on the order in which candidates come. A situation that has reached a bound takes nothing."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.situation)
        if known is None or _order(candidate) < _order(known):
            best[candidate.situation] = candidate
    if not best:
        return _ALONE
    ranked = list(best.values())
    if len(ranked) > 1:
        ranked.sort(key=lambda c: (-c.strength, situations[c.situation].opened_at, number(c.situation)))
    join: Candidate | None = None
    size, merge, explained = 0, [], False
    for candidate in ranked:
        if candidate.strength < settings.threshold:
            break
        if join is not None:
            # Two problems may well hurt the same dependent. What makes them one is an alert that explains both, or one
            # that stands between them: it explains the first and is explained by the second, of which there is one.
            between = join.explains and not candidate.explains and not explained
            if not between and not (candidate.explains and candidate.strength >= settings.merge_threshold):
                continue
        situation = situations[candidate.situation]
        if closed_to_joins(situation, now, settings):
            continue
        if join is None:
            join, size = candidate, len(situation.members)
        elif len(situation.members) <= settings.merge_alerts and size + len(situation.members) < settings.max_alerts:
            merge.append(candidate.situation)
            size += len(situation.members)
            explained = explained or not candidate.explains
    return Placement(join, tuple(merge))


def _order(candidate: Candidate) -> tuple[float, str, str, str]:
    """The best first; nothing is left to the order of arrival."""
    return -candidate.strength, candidate.other, candidate.rule, candidate.via


def closed_to_joins(situation: Situation, now: datetime, settings: GroupSettings) -> str:
    """The bound that keeps new alerts out, in words; empty if none does."""
    if situation.state is not SituationState.OPEN:
        return f"it is {situation.state}"
    for ticket in situation.tickets.values():
        if ticket.closed_by:  # nobody would hear of a new alert there
            return f"{ticket.closed_by} closed its ticket"
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
