"""Which open situations began below a CI: exact for a hub with 100,000 dependents, because it is asked from the other
end.

A walk down from a hub must end somewhere; one up from where a situation began is short. So each open situation is
entered under everything that its first CI depends on.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence

from foreshock.core.model import Situation
from foreshock.core.topology import Topology

_NOBODY: Sequence[tuple[int, str]] = ()


class Below:
    """Open situations by the CIs that their first CI depends on, within the reach of ``Topology``.

    Attributes:
        by_ci: keys (length of the id, id) of situations, ascending: that is their order of opening, however often they
            were reopened since.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.by_ci: dict[str, list[tuple[int, str]]] = {}

    def add(self, situation: Situation) -> None:
        """It is open, and was not entered yet."""
        key = _key(situation)
        for ci in self._above(situation):
            insort(self.by_ci.setdefault(ci, []), key)

    def drop(self, situation: Situation) -> None:
        """It was entered and is no longer open."""
        key = _key(situation)
        for ci in self._above(situation):
            here = self.by_ci[ci]
            del here[bisect_left(here, key)]
            if not here:
                del self.by_ci[ci]

    def use(self, topology: Topology, situations: Collection[Situation]) -> None:
        """A new version of the topology; ``situations`` are all that were entered."""
        touched = topology.since(self._topology)
        anew: Collection[Situation] = situations
        if touched is not None:
            changed = touched.dependents
            ids = {id for ci in changed for _, id in self.by_ci.get(ci, _NOBODY)}
            anew = [each for each in situations if each.id in ids or each.first_ci in changed]
        if touched is None or 2 * len(anew) > len(situations):  # to take each out takes as long as to enter it
            self.by_ci, anew = {}, situations
        else:
            for situation in anew:
                self.drop(situation)
        self._topology = topology
        for situation in anew:
            self.add(situation)

    def newest(self, ci: str, most: int) -> list[str]:
        """Ids of at most so many situations that began on what depends on ``ci``, the newest first."""
        return [id for _, id in reversed(self.by_ci.get(ci, _NOBODY)[-most:])]

    def count(self, ci: str) -> int:
        return len(self.by_ci.get(ci, _NOBODY))

    def _above(self, situation: Situation) -> list[str]:
        first = situation.first_ci
        return [ci for ci in self._topology.walk_up(first) if ci != first] if first else []


def _key(situation: Situation) -> tuple[int, str]:
    return len(situation.id), situation.id
