"""How much came in, by the hour of the records: what reports compare the number of tickets with, long after the records
themselves are gone."""

from collections.abc import Mapping
from datetime import datetime

from correlation.fold import Outcome
from foreshock.core.contracts import Tally

EVENTS, ALERTS = "events", "alerts"


class Tallies:
    """Of one step. counts: what the engine has counted since ever, as it is at any moment."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts
        self._before = self._totals()
        self._hour: datetime | None = None
        self._found: dict[tuple[datetime, str], int] = {}

    def reach(self, moment: datetime) -> None:
        """The next record is of this moment."""
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._take()
            self._hour = hour

    def done(self) -> list[Tally]:
        self._take()
        return [Tally(hour=hour, name=name, count=count) for (hour, name), count in self._found.items()]

    def _take(self) -> None:
        totals = self._totals()
        if self._hour is not None:
            for name, count in totals.items():
                if more := count - self._before[name]:
                    self._found[self._hour, name] = self._found.get((self._hour, name), 0) + more
        self._before = totals

    def _totals(self) -> dict[str, int]:
        """An alert counts each time it begins."""
        counts = self._counts
        return {
            EVENTS: sum(counts[outcome] for outcome in Outcome),
            ALERTS: counts[Outcome.NEW] + counts[Outcome.FIRED_AGAIN],
        }
