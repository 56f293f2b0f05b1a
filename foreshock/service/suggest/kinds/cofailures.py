"""What begins together more often than chance, where the topology knows no way: a relationship, or a rule.

Chance is what ``predictor.cooccurrence`` makes of it, with its false discovery rate.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from foreshock.core.learned import CoOccurrence, Standing, around
from foreshock.core.model import Relationship
from foreshock.core.topology import Topology
from foreshock.service.suggest.pattern import Labels, Pattern, duration, met, nice
from foreshock.service.suggest.recall import Episode, Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_LEAST = 5
"""What met less often is left to what is learned anew each day, and forgotten again."""
_TOGETHER = 0.5
"""What is in one situation at this share of its meetings already needs no rule."""
_EQUAL = 0.95
"""A label is asked for where its values were equal in this share of the meetings."""
_FIRST = 0.8
"""Who begins first in this share of the meetings is what the other depends on."""
_MAX_PAIRS = 40
"""Looked at of each sort, the strongest."""


def _mine(past: Recalled) -> Mined:
    from predictor.cooccurrence import fit
    from predictor.settings import CoOccurrenceSettings

    pairs = fit(past.occurrences(), past.topology, CoOccurrenceSettings()).pairs
    strong = [pair for pair in pairs if pair.strength >= past.settings.group.threshold and pair.together >= _LEAST]
    episodes = sorted(past.episodes, key=lambda one: one.at_s)
    of_cis = [pair for pair in strong if pair.standing is None and not _explained(pair, past.topology)]
    told = {frozenset((pair.a.ci, pair.b.ci)) for pair in of_cis}
    return Mined((*_relationships(of_cis, past, episodes), *_rules(strong, past, episodes, told)))


def _explained(pair: CoOccurrence, topology: Topology) -> bool:
    """Whether correlation has a way from the one to the other, or from both up to something not far."""
    one, other = pair.a.ci, pair.b.ci
    if other in around(topology, one):
        return True
    return not topology.upstream(one).keys().isdisjoint(topology.upstream(other))


# ---- CIs ------------------------------------------------------------------------------------------------------------


def _relationships(pairs: list[CoOccurrence], past: Recalled, episodes: list[Episode]) -> Iterator[Suggestion]:
    """One for all that begin with the same CI."""
    known = past.topology.cis
    apart: dict[tuple[str, str], CoOccurrence] = {}
    for pair in pairs:
        both = (pair.a.ci, pair.b.ci)
        if all(ci in known for ci in both) and both not in apart:
            apart[both] = pair
    sides = _of_cis(episodes, {ci for both in apart for ci in both})
    apart = {both: pair for both, pair in apart.items() if _are_apart(past, sides, both, pair.window_s)}
    for lead, others in _families(apart).items():
        found = [apart.get((lead, other)) or apart[other, lead] for other in others]
        yield _relationship(lead, others, found)


def _of_cis(episodes: Iterable[Episode], cis: set[str]) -> dict[str, list[Episode]]:
    found: defaultdict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.who.ci in cis:
            found[episode.who.ci].append(episode)
    return found


def _are_apart(past: Recalled, sides: dict[str, list[Episode]], both: tuple[str, str], window_s: float) -> bool:
    one, other = (sides[ci] for ci in both)
    times, met_often, together = [episode.at_s for episode in other], 0, 0
    for episode in one:
        near = slice(bisect_left(times, episode.at_s - window_s), bisect_right(times, episode.at_s + window_s))
        homes = {past.home(each.situation) for each in other[near]}
        met_often += bool(homes)
        together += past.home(episode.situation) in homes
    return together < _TOGETHER * met_often


def _families(pairs: dict[tuple[str, str], CoOccurrence]) -> dict[str, list[str]]:
    """CIs that begin together, by the one that most begin with; of equals that which is more often first."""
    left: defaultdict[str, set[str]] = defaultdict(set)
    first: Counter[str] = Counter()
    for (one, other), pair in pairs.items():
        left[one].add(other)
        left[other].add(one)
        first[one if pair.lag_s[1] > 0 else other] += pair.lag_s[1] != 0
    families: dict[str, list[str]] = {}
    while left:
        lead = min(left, key=lambda ci: (-len(left[ci]), -first[ci], ci))
        families[lead] = sorted(left[lead])
        gone = {lead, *left[lead]}
        left = defaultdict(set, {ci: rest for ci, ties in left.items() if ci not in gone and (rest := ties - gone)})
    return families


def _relationship(lead: str, others: list[str], pairs: list[CoOccurrence]) -> Suggestion:
    lines = tuple(_line(lead, other, pair) for other, pair in zip(others, pairs, strict=True))
    surest = max(pairs, key=lambda pair: (pair.strength, pair.together))
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return _told(
        surest,
        Patch(relationships=lines),
        f"tell the topology that {named} and {lead} are related",
        f"{surest.a} and {surest.b} began within {duration(nice(surest.window_s))} of each other {surest.together} "
        f"times, where chance brings {surest.expected:.1f}; the topology has no way between them",
        sum(pair.together for pair in pairs),
    )


def _line(lead: str, other: str, pair: CoOccurrence) -> Relationship:
    low, _, high = pair.lag_s if pair.a.ci == lead else tuple(-lag for lag in reversed(pair.lag_s))
    if low > 0:
        return Relationship(source=other, type="depends_on", target=lead)
    if high < 0:
        return Relationship(source=lead, type="depends_on", target=other)
    return Relationship(source=other, type="connects_to", target=lead)


# ---- what is said ---------------------------------------------------------------------------------------------------


def _rules(
    pairs: list[CoOccurrence], past: Recalled, episodes: list[Episode], told: set[frozenset[str]]
) -> Iterator[Suggestion]:
    """Of classes that begin together wherever they are, and not just on two CIs that do, as ``told``."""
    labels = Labels(past)
    classes = [pair for pair in pairs if pair.standing in (Standing.UNKNOWN, Standing.ALIKE)]
    seen = set()
    for pair in classes[:_MAX_PAIRS]:
        names = tuple(sorted((pair.a.name, pair.b.name)))
        if names in seen:
            continue
        seen.add(names)
        meetings = list(met(episodes, Pattern(names, ""), pair.window_s))
        apart = [
            (one, other)
            for one, other in meetings
            if past.home(one.situation) != past.home(other.situation)
            and frozenset((one.who.ci, other.who.ci)) not in told
            and not _have_a_way(past.topology, one, other)
        ]
        if len(apart) < (1 - _TOGETHER) * len(meetings) or not apart:
            continue
        if any("alertname" not in one.who.labels for both in apart for one in both):
            continue
        label = next((label for label in labels.telling if _equal(apart, label)), "")
        pattern = Pattern(names, label)
        yield _told(
            pair,
            Patch(rules=(pattern.rule(pair.window_s, pair.strength),)),
            f"join {pattern}",
            f"{' and '.join(names)} began within {duration(nice(pair.window_s))} of each other {pair.together} times, "
            f"where chance brings {pair.expected:.1f}, in different situations {len(apart)} of {len(meetings)} times",
            pair.together,
        )


def _have_a_way(topology: Topology, one: Episode, other: Episode) -> bool:
    here, there = one.who.ci, other.who.ci
    return bool(here and there) and not topology.upstream(here).keys().isdisjoint(topology.upstream(there))


def _equal(pairs: list[tuple[Episode, Episode]], label: str) -> bool:
    same = sum(bool(one.who.labels.get(label)) and Pattern((), label).fits(one.who, other.who) for one, other in pairs)
    return same >= _EQUAL * len(pairs)


def _told(pair: CoOccurrence, patch: Patch, title: str, seen: str, weight: float) -> Suggestion:
    from predictor.support import by_chance

    return suggestion(
        "cofailures",
        patch,
        title=title,
        seen=seen,
        times=pair.together,
        of=pair.times,
        p=by_chance(pair.together, pair.expected),
        weight=weight,
    )


KIND = SuggestionKind(kind="cofailures", title="what fails together where the topology knows no way", mine=_mine)
