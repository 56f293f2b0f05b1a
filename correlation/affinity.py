"""How near one CI is to another for a failure: what the topology alone says about two alerts being one problem.

Two measures, because failures leave two kinds of marks:

- ``explained``: the failure of one CI explains an alert on the other. What I depend on explains me as strongly however
  many others depend on it too: ``step`` to the power of the cost of the way. That the trouble of a dependent is mine is
  less sure: it may as well come from anything else it depends on, so each step is shared by the number of those.
- ``walk``: the probability that a random walk over relationships, which starts here and ends after each step with the
  probability ``restart``, ends there (personalised PageRank). It counts every way between the two, so many weak ways
  add up, and a hub passes on little to each of its neighbours: a core switch does not glue the world together.

The walk is worked out by forward push (R. Andersen, F. Chung, K. Lang, "Local graph partitioning using PageRank
vectors", FOCS 2006): only CIs that receive a noticeable share are ever visited, however large the topology is.
"""

import heapq
import math
from array import array
from collections import deque
from functools import lru_cache

from msgspec import Struct

from foreshock.core.topology import Topology

NEITHER, ABOVE, BELOW = 0, 1, 2
"""Whether the other CI explains this one, or is explained by it."""


class Surroundings(Struct, frozen=True, gc=False):
    """The CIs that matter to an alert on one CI, itself included; four columns side by side, which is a quarter of the
    room that objects would take.

    Attributes:
        cis: the strongest first, then by id.
        explained, walk: 0..1 each. way: one of ``NEITHER``, ``ABOVE``, ``BELOW``, which gave ``explained``.
    """

    cis: tuple[str, ...]
    explained: "array[float]"
    walk: "array[float]"
    way: bytes


def surroundings(
    topology: Topology, ci: str, *, step: float, least: float, restart: float, noticeable: float
) -> Surroundings:
    """``least``: what explains less than this is left out. ``noticeable``: the same for the walk; the walk visits at
    most about 1 / (noticeable x restart) relationships."""
    if not topology.steps_up(ci) and not topology.steps_down(ci):
        return Surroundings((ci,), *_alone(restart if restart >= noticeable else 0.0))
    above = {other: step**hop.cost for other, hop in topology.walk_up(ci).items()}
    below = _below(topology, ci, step, least)
    walk = random_walk(topology, ci, restart, noticeable)
    found = []
    for other in {**above, **below}:
        up, down, passed = above.get(other, 0.0), below.get(other, 0.0), walk.pop(other, 0.0)
        explained = max(up, down)
        if explained < least:
            explained = 0.0
        if explained or passed:
            way = NEITHER if not explained else ABOVE if up >= down else BELOW
            found.append((-max(explained, passed), other, explained, passed, way))
    found += [(-passed, other, 0.0, passed, NEITHER) for other, passed in walk.items()]
    found.sort()
    return Surroundings(
        tuple(entry[1] for entry in found),
        array("f", (entry[2] for entry in found)),
        array("f", (entry[3] for entry in found)),
        bytes(entry[4] for entry in found),
    )


@lru_cache(1)
def _alone(walk: float) -> "tuple[array[float], array[float], bytes]":
    """The columns of a CI that has no neighbours: the same for all that nobody knows."""
    return array("f", (1.0,)), array("f", (walk,)), bytes((ABOVE,))


def _below(topology: Topology, ci: str, step: float, least: float) -> dict[str, float]:
    """What depends on ``ci``, each with the probability that its trouble comes from there."""
    done: dict[str, float] = {}
    queue = [(-1.0, ci)]
    while queue and len(done) < topology.MAX_REACH:
        strength, here = heapq.heappop(queue)
        if here in done:
            continue
        done[here] = -strength
        for there, (cost, _) in topology.steps_down(here).items():
            passed = strength * step**cost / math.sqrt(len(topology.steps_up(there)))
            if there not in done and -passed >= least:
                heapq.heappush(queue, (passed, there))
    return done


def random_walk(topology: Topology, ci: str, restart: float, noticeable: float) -> dict[str, float]:
    """Where a walk from ``ci`` ends, by CI; ends that are less probable than ``noticeable`` are left out.

    A step along a relationship of twice the cost is half as probable.
    """
    ends: dict[str, float] = {}
    waiting = {ci: 1.0}
    queue = deque((ci,))
    around, half, goes_on = topology.around, noticeable / 2, 1.0 - restart
    while queue:
        here = queue.popleft()
        mass = waiting.pop(here)
        ends[here] = ends.get(here, 0.0) + restart * mass
        rest = goes_on * mass
        if rest < half:
            continue  # not even one neighbour would notice
        steps, neighbours, weights = around(here)
        if rest < half * steps:
            continue  # it has too many neighbours for any of them to notice
        share = rest / len(neighbours) if neighbours else 0.0
        for there in neighbours:
            passed = share if weights is None else rest * weights[there]
            if there in waiting:
                waiting[there] += passed
            else:
                waiting[there] = passed
                queue.append(there)
    return {end: probability for end, probability in ends.items() if probability >= noticeable}
