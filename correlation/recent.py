"""Changes that people and pipelines made lately: possible causes of what follows, and a reason to see it as one."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from foreshock.core.model import Change

REMEMBERED = timedelta(hours=6)
MAX_CHANGES = 1000
"""Kept at most; of more, the newest."""

_NONE: Mapping[str, Change] = {}


class Recent:
    """Changes by id and by the CIs that they touched, ids of the topology."""

    def __init__(self) -> None:
        self.by_id: dict[str, Change] = {}
        self.by_ci: dict[str, dict[str, Change]] = {}

    def hear(self, change: Change, now: datetime) -> list[str]:
        """The newest word on a change counts. Ids of the changes that are others now, or gone."""
        self._drop(change.id)
        self.add(change)
        old = [id for id, kept in self.by_id.items() if now - kept.at > REMEMBERED]
        newest = sorted(self.by_id, key=lambda id: (self.by_id[id].at, id))
        gone = {*old, *newest[: max(0, len(newest) - MAX_CHANGES)]}
        for id in gone:
            self._drop(id)
        return sorted({change.id, *gone})

    def add(self, change: Change) -> None:
        """One that is not known yet."""
        self.by_id[change.id] = change
        for ci in change.cis:
            self.by_ci.setdefault(ci, {})[change.id] = change

    def of(self, cis: Iterable[str]) -> list[tuple[str, Change]]:
        """The changes of these CIs, each with the CI."""
        return [(ci, change) for ci in cis for change in self.by_ci.get(ci, _NONE).values()]

    def _drop(self, id: str) -> None:
        known = self.by_id.pop(id, None)
        for ci in known.cis if known is not None else ():
            here = self.by_ci[ci]
            del here[id]
            if not here:
                del self.by_ci[ci]
