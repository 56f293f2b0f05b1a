"""What falls due when, on the records' clock.

Most timers are few and exact. Expiries are the exception: each firing alert has one and every re-send moves it, so an
alert stands in a coarse bucket of time and is looked at again only when that bucket comes up; it still expires at its
exact moment. That costs one list entry an alert instead of a heap entry a re-send.
"""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUCKET_S = 16


class Due(IntEnum):
    """What a timer is about; of those due at one moment the smaller ones come first, whatever the order of setting
    them."""

    EXPIRY = 0
    FLAP_RELEASE = 1
    SITUATION = 2
    SUPPRESSION = 3
    EVICTION = 4
    ANOMALIES = 5
    CLASH = 6
    SERVICE_HOURS = 7
    PROBLEM = 8
    SLA = 9
    ESCALATION = 10
    FORECAST = 11
    STORM = 12


class Timers:
    """Args:
    expires_at: when an alert expires now, by fingerprint; None if it does not, or is forgotten.
    """

    def __init__(self, expires_at: Callable[[str], datetime | None]) -> None:
        self._expires_at = expires_at
        self._heap: list[tuple[datetime, int, str]] = []
        self._once: dict[str, datetime] = {}
        self._buckets: dict[int, list[str]] = {}
        self._bucket_order: list[int] = []
        self._opened = -1

    def __len__(self) -> int:
        return len(self._heap) + len(self._buckets)

    def at(self, moment: datetime, due: Due, key: str) -> None:
        heapq.heappush(self._heap, (moment, due, key))

    def look_at(self, situation: str, moment: datetime) -> None:
        """A SITUATION timer; asked for with each change, so the same moment is noted once."""
        if self._once.get(situation) != moment:
            self._once[situation] = moment
            self.at(moment, Due.SITUATION, situation)

    def expiry(self, fingerprint: str, moment: datetime) -> None:
        """An EXPIRY timer. Needed once an alert, and again only when it moves to an earlier time."""
        bucket = _bucket(moment)
        if bucket <= self._opened:
            self.at(moment, Due.EXPIRY, fingerprint)
            return
        standing = self._buckets.get(bucket)
        if standing is None:
            self._buckets[bucket] = [fingerprint]
            heapq.heappush(self._bucket_order, bucket)
        else:
            standing.append(fingerprint)

    def open(self, to: datetime) -> None:
        """Bring expiries up to ``to`` among the exact timers; to be called before ``pop``."""
        last = self._opened = _bucket(to)
        while self._bucket_order and self._bucket_order[0] <= last:
            for fingerprint in dict.fromkeys(self._buckets.pop(heapq.heappop(self._bucket_order))):
                moment = self._expires_at(fingerprint)
                if moment is not None:
                    self.expiry(fingerprint, moment)

    def pop(self, to: datetime) -> tuple[datetime, Due, str] | None:
        """The next timer due by ``to``; None when there is none."""
        if not self._heap or self._heap[0][0] > to:
            return None
        moment, due, key = heapq.heappop(self._heap)
        if due == Due.SITUATION and self._once.get(key) == moment:
            del self._once[key]
        return moment, Due(due), key

    def next_due(self) -> datetime | None:
        """The earliest moment at which anything may be due."""
        moments = [self._heap[0][0]] if self._heap else []
        if self._bucket_order:
            moments.append(_EPOCH + timedelta(seconds=self._bucket_order[0] * _BUCKET_S))
        return min(moments, default=None)


def _bucket(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds()) // _BUCKET_S
