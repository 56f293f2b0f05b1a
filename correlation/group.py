"""Which situation an alert joins: from what the rules say, within bounds."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, structs

from correlation.relate import Candidate
from correlation.settings import GroupSettings
from foreshock.core.learned import Curve
from foreshock.core.model import Situation, SituationState

_NEAR = 0.3  # of `merge`: where less of an alert's walk ends, the whole of its situation will not do better
_MAX_NEAR = 3


class Placement(Struct, frozen=True):
    """Where an alert goes.

    Attributes:
        join: the best candidate, with what all rules together say as its strength; None: it opens a situation of its
            own.
        merge: situations that the alert shows to be the same problem as the one it joins, best first.
        near: situations that may be in the same place as that one, best first.
        full: the situation it would have joined, had that one not been full; empty if there is none, or if it joins.
    """

    join: Candidate | None
    merge: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    full: str = ""


class _Weighed(Struct):
    """What all rules say of one situation. doubt: the probability that none of them is right."""

    best: Candidate
    doubt: float
    walk: float
    explains: bool


_ALONE = Placement(None)
_NO_CURVES: Mapping[str, Curve] = {}


def place(
    candidates: Iterable[Candidate],
    situations: Mapping[str, Situation],
    now: datetime,
    settings: GroupSettings,
    curves: Mapping[str, Curve] = _NO_CURVES,
) -> Placement:
    """Join the situation with the strongest evidence; equal strengths go to the older situation, so the answer never
    depends on the order in which candidates come. A situation that has reached a bound takes nothing.

    An alert that explains a second situation merges it. So does one that stands between two: it explains the first and
    is explained by the second, of which there is one.

    Each rule speaks of another kind of evidence, so their errors are taken to be independent (noisy or); what one rule
    says of one situation several times counts once. ``curves`` say what the strength of a rule has proved to be worth.
    """
    weighed = _weigh(candidates, curves)
    if not weighed:
        return _ALONE
    ranked = list(weighed.items())
    if len(ranked) > 1:
        ranked.sort(key=lambda entry: (entry[1].doubt, situations[entry[0]].opened_at, number(entry[0])))
    join: Candidate | None = None
    between = False
    full = ""
    merge: list[str] = []
    near: list[str] = []
    for id, what in ranked:
        situation = situations[id]
        if join is None:
            if 1.0 - what.doubt < settings.threshold:
                break
            if not (closed_to_joins(situation, now, settings) or too_far(what.best, settings)):
                join, between = _with_strength(what.best, 1.0 - what.doubt), what.explains
            elif not full and not _closed_whatever_it_holds(situation, now, settings):
                full = id
        elif situation.superseded_by or situations[join.situation].superseded_by:
            continue
        elif what.explains or (between and 1.0 - what.doubt >= settings.threshold):
            merge.append(id)
            between = between and what.explains
        elif what.walk >= _NEAR * settings.merge and len(near) < _MAX_NEAR:
            near.append(id)
    if join is not None:
        return Placement(join, tuple(merge), tuple(near))
    return Placement(None, full=full) if full else _ALONE


def counted(candidates: Iterable[Candidate], curves: Mapping[str, Curve] = _NO_CURVES) -> dict[str, float]:
    """What all rules together say of each situation, 0..1, as ``place`` counts it."""
    return {id: 1.0 - what.doubt for id, what in _weigh(candidates, curves).items()}


def _weigh(candidates: Iterable[Candidate], curves: Mapping[str, Curve]) -> dict[str, _Weighed]:
    strongest: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        key = candidate.situation, candidate.rule
        known = strongest.get(key)
        if known is None or _order(candidate) < _order(known):
            strongest[key] = candidate
    weighed: dict[str, _Weighed] = {}
    for candidate in strongest.values():
        curve = curves.get(candidate.rule.partition("@")[0]) if curves else None
        strength = candidate.strength if curve is None else curve.at(candidate.strength)
        what = weighed.get(candidate.situation)
        if what is None:
            weighed[candidate.situation] = _Weighed(candidate, 1.0 - strength, candidate.walk, candidate.explains)
            continue
        what.doubt *= 1.0 - strength
        what.walk = max(what.walk, candidate.walk)
        what.explains = what.explains or candidate.explains
        if _order(candidate) < _order(what.best):
            what.best = candidate
    return weighed


def _with_strength(candidate: Candidate, strength: float) -> Candidate:
    return candidate if strength == candidate.strength else structs.replace(candidate, strength=strength)


def _order(candidate: Candidate) -> tuple[float, str, str, str]:
    """The best first; nothing is left to the order of arrival."""
    return -candidate.strength, candidate.other, candidate.rule, candidate.via


def closed_to_joins(situation: Situation, now: datetime, settings: GroupSettings) -> str:
    """The bound that keeps new alerts out, in words; empty if none does."""
    if reason := _closed_whatever_it_holds(situation, now, settings):
        return reason
    if len(situation.members) >= settings.max_alerts:
        return f"it holds {len(situation.members)} alerts, the most allowed"
    return ""


def too_far(candidate: Candidate, settings: GroupSettings) -> str:
    """Whether the situation would stretch too far, in words; empty if it would not."""
    if candidate.away < settings.max_away:
        return ""
    return f"what relates them is {candidate.away} relationships from where it began, the most allowed"


def _closed_whatever_it_holds(situation: Situation, now: datetime, settings: GroupSettings) -> str:
    if situation.state is not SituationState.OPEN:
        return f"it is {situation.state}"
    for ticket in situation.tickets.values():
        if ticket.closed_by:  # nobody would hear of a new alert there
            return f"{ticket.closed_by} closed its ticket"
    if now - situation.last_joined_at > settings.join_of(situation.priority):
        return "its join window is over"
    if now - situation.opened_at > settings.max_age:
        return "it is too old"
    return ""


def number(situation: str) -> int:
    """The number in a situation's id."""
    return int(situation.rpartition("-")[2])
