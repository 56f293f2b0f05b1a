"""How many series are kept: a source whose labels explode must cost neither the disk nor the other sources."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock.core.model import Series
from foreshock.store.points import Identity, Points, identity

_MOST_NAMED = 1000


class Cardinality:
    """Which series are kept: ``most`` in all, ``of_source`` of each source, those that came first. One that brings
    nothing for a day gives its place to another."""

    def __init__(self, most: int, of_source: int) -> None:
        self._most, self._of_source = most, of_source
        self._known: dict[str, dict[Identity, int]] = {}  # the generation each was last heard in
        self._generation = 0
        self._refused: Counter[tuple[str, str]] = Counter()

    def admitted(self, source: str, points: Points) -> Points:
        """The points of series that are kept."""
        known = self._known.setdefault(source, {})
        room = min(self._of_source - len(known), self._most - self.series)
        kept = np.ones(len(points.names), dtype=bool)
        for place, name in enumerate(points.names):
            series = identity(name)
            if series not in known:
                if room <= 0:
                    kept[place] = False
                    continue
                room -= 1
            known[series] = self._generation
        if kept.all():
            return points
        self._count(source, points.names, kept, points.series)
        return points.take(kept[points.series])

    def _count(self, source: str, names: Sequence[Series], kept: NDArray[np.bool_], series: NDArray[np.int64]) -> None:
        counts = np.bincount(series, minlength=len(names))
        for place in np.flatnonzero(~kept).tolist():
            key = source, names[place].metric
            if key not in self._refused and len(self._refused) >= _MOST_NAMED:
                key = source, ""
            self._refused[key] += int(counts[place])

    def age(self) -> None:
        """To be called every twelve hours: what was not heard since the last but one is forgotten."""
        self._generation += 1
        self._known = {
            source: {series: last for series, last in known.items() if last >= self._generation - 1}
            for source, known in self._known.items()
        }

    @property
    def series(self) -> int:
        """How many are kept."""
        return sum(map(len, self._known.values()))

    def refused(self) -> list[tuple[str, str, int, int]]:
        """Source, metric, points that were left out since the start, and series that are kept of both; the metric with
        most series first: it is the one that explodes."""
        kept = {source: Counter(metric for _, metric, _ in known) for source, known in self._known.items()}
        found = [(source, metric, points, kept[source][metric]) for (source, metric), points in self._refused.items()]
        return sorted(found, key=lambda each: (-each[3], -each[2], each[:2]))
