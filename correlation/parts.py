"""Whether a situation is one place or several: what joined because of one misleading link, and grew, is found here.

The CIs of a situation are a weighted graph: of the random walks between them, and of what explains what, since a walk
from a failed rack hardly reaches any one of all that depends on it. It falls apart where the two sides have
hardly anything to do with each other: the weight between them is less than ``cut`` of all the weight that the smaller
side has (its conductance; M. Jerrum, A. Sinclair, "Conductance and the rapid mixing property for Markov chains", STOC
1988). Communities are found by label propagation (U. Raghavan, R. Albert, S. Kumara, Physical Review E 76, 2007, in a
fixed order), then joined until what is left is worth parting.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from correlation.affinity import ABOVE, Surroundings

_ROUNDS = 8
_TIE = 0.3
"""Weight of two CIs that one alert names."""

_EXPLAINED = 0.05
"""Weight of a failure that explains another, for each unit of how surely it does: some way below what near neighbours
share in walks, since one cause for many, such as a switch, is no proof that they are one place."""

Weights = dict[str, dict[str, float]]


def parts(
    cis: Sequence[str], near: Callable[[str], Surroundings], ties: Iterable[tuple[str, str]], cut: float
) -> list[list[str]]:
    """The places that ``cis`` are in, each in the order given, the one with the first CI first.

    Args:
        ties: pairs of CIs that one alert names.
        cut: 0..1, two places with more than this share of their weight in common are one.
    """
    weights = _weights(cis, near, ties)
    place = {ci: index for index, ci in enumerate(cis)}
    # Labels may run all over a graph when they are passed on in an unlucky order; then another order tells the parts.
    found = []
    for ordered in (cis, sorted(cis)):
        labels = _communities(ordered, weights)
        communities: dict[int, list[str]] = {}
        for ci in cis:
            communities.setdefault(labels[ci], []).append(ci)
        found.append(_joined(list(communities.values()), weights, cut, place))
    return max(found, key=len)


def _weights(cis: Sequence[str], near: Callable[[str], Surroundings], ties: Iterable[tuple[str, str]]) -> Weights:
    weights: Weights = {ci: {} for ci in cis}
    for ci in cis:
        around = near(ci)
        for other, walk, explained, way in zip(around.cis, around.walk, around.explained, around.way, strict=True):
            if other == ci or other not in weights:
                continue
            weight = walk + _EXPLAINED * explained if way == ABOVE else walk
            if weight:
                weights[ci][other] = weights[ci].get(other, 0.0) + weight
                weights[other][ci] = weights[other].get(ci, 0.0) + weight
    for one, other in ties:
        if one in weights and other in weights and one != other:
            for here, there in ((one, other), (other, one)):
                weights[here][there] = max(weights[here].get(there, 0.0), _TIE)
    return weights


def _communities(cis: Sequence[str], weights: Weights) -> dict[str, int]:
    """A label for each CI: that of most of its neighbours, by weight."""
    labels = {ci: index for index, ci in enumerate(cis)}
    for _ in range(_ROUNDS):
        changed = False
        for ci in cis:
            votes: defaultdict[int, float] = defaultdict(float)
            for other, weight in weights[ci].items():
                votes[labels[other]] += weight
            if not votes:
                continue
            best = min(votes, key=lambda label: (-votes[label], label))
            if votes[best] > votes.get(labels[ci], 0.0):
                labels[ci], changed = best, True
        if not changed:
            break
    return labels


def _joined(communities: list[list[str]], weights: Weights, cut: float, place: Mapping[str, int]) -> list[list[str]]:
    """Join the two that have most in common until no two have more than ``cut``."""
    home = {ci: index for index, community in enumerate(communities) for ci in community}
    volume = [sum(sum(weights[ci].values()) for ci in community) for community in communities]
    between: dict[int, dict[int, float]] = {index: {} for index in range(len(communities))}
    for ci, others in weights.items():
        for other, weight in others.items():
            if home[ci] != home[other]:
                row = between[home[ci]]
                row[home[other]] = row.get(home[other], 0.0) + weight
    while True:
        share, first, second = max(
            (
                (weight / min(volume[one], volume[other]), -one, -other)
                for one, row in between.items()
                for other, weight in row.items()
                if one < other
            ),
            default=(0.0, 0, 0),
        )
        if share <= cut:
            break
        into, gone = -first, -second
        communities[into] += communities[gone]
        volume[into] += volume[gone]
        communities[gone] = []
        for third, weight in between.pop(gone).items():
            del between[third][gone]
            if third != into:
                between[into][third] = between[third][into] = between[into].get(third, 0.0) + weight
    found = [sorted(community, key=place.__getitem__) for community in communities if community]
    return sorted(found, key=lambda community: place[community[0]])
