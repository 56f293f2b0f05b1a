"""Alerts of open situations that began lately, by a key of their own: where rules without a path find candidates."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

from foreshock.core.model import Alert

Key = TypeVar("Key", bound=Hashable)
Began = tuple[float, str]
"""Onset in seconds since 1970, and fingerprint."""


class _Place(Struct, Generic[Key], gc=False):
    """Where an alert stands in the index."""

    key: Key
    situation: str
    began: Began


class Nearby(Generic[Key]):
    """An index (``correlation.rule.Index``) of the alerts that began within two windows, by key, then by situation.

    Two windows: an alert may come a window late and still meet what began a window before it. What a question gets to
    see follows from those alerts alone, not from the order in which they came; so it is the same after a restart.
    A kind's index says what the key of an alert is, and may follow the keys that appear and vanish.

    Args:
        window_s: alerts whose onsets are further apart, in seconds, are no candidates.
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.by_key: dict[Key, dict[str, list[Began]]] = {}
        self.by_situation: dict[str, dict[Key, None]] = {}
        self._places: dict[str, _Place[Key]] = {}
        self._oldest: list[Began] = []  # a heap
        self._now_s = 0.0

    def key_of(self, alert: Alert) -> Key | None:
        """None: no candidate for anything."""
        raise NotImplementedError

    def appeared(self, key: Key) -> None:
        """There is an alert with ``key`` now."""

    def vanished(self, key: Key) -> None:
        """There is none any more."""

    # ---- Index ----

    def add(self, situation: str, alert: Alert) -> None:
        self._take_out(alert.fingerprint)
        # So a restart works out no key of an old alert, and an index that is asked nothing keeps none.
        self._forget(max(self._now_s, alert.last_seen.timestamp()))
        onset_s = alert.starts_at.timestamp()
        key = self.key_of(alert) if self.is_recent(onset_s) else None
        if key is None:
            return
        began = onset_s, alert.fingerprint
        self._places[alert.fingerprint] = _Place(key, situation, began)
        heapq.heappush(self._oldest, began)
        situations = self.by_key.get(key)
        if situations is None:
            situations = self.by_key[key] = {}
            self.appeared(key)
        insort(situations.setdefault(situation, []), began)
        self.by_situation.setdefault(situation, {})[key] = None

    def moved(self, situation: str, alert: Alert) -> None:
        self.add(situation, alert)

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            place = self._places.get(alert.fingerprint)
            if place is not None and place.situation == situation:
                self._take_out(alert.fingerprint)

    # ---- questions ----

    def forget_before(self, now: datetime) -> None:
        """Drop what began too long ago; asked before every question, with the records' time."""
        self._forget(now.timestamp())

    def is_recent(self, onset_s: float) -> bool:
        """Whether it began within two windows; what is older stands in no index and need not ask."""
        return onset_s >= self._now_s - 2 * self.window_s

    def has_near(self, began: list[Began], onset_s: float, but: str) -> bool:
        """Whether one of ``began``, besides the alert ``but``, began within a window of ``onset_s``."""
        at = bisect_left(began, (onset_s - self.window_s, ""))
        while at < len(began) and began[at][1] == but:
            at += 1
        return at < len(began) and began[at][0] <= onset_s + self.window_s

    def _forget(self, now_s: float) -> None:
        self._now_s = now_s
        horizon_s = now_s - 2 * self.window_s
        while self._oldest and self._oldest[0][0] < horizon_s:
            began = heapq.heappop(self._oldest)
            place = self._places.get(began[1])
            if place is not None and place.began == began:
                self._take_out(began[1])

    def _take_out(self, fingerprint: str) -> None:
        place = self._places.pop(fingerprint, None)
        if place is None:
            return
        situations = self.by_key[place.key]
        began = situations[place.situation]
        del began[bisect_left(began, place.began)]
        if began:
            return
        del situations[place.situation]
        keys = self.by_situation[place.situation]
        del keys[place.key]
        if not keys:
            del self.by_situation[place.situation]
        if not situations:
            del self.by_key[place.key]
            self.vanished(place.key)


def nearest(began: list[Began], onset_s: float, most: int) -> list[Began]:
    """Up to ``most`` of ``began`` with the gap to ``onset_s`` in place of the onset, the nearest first; equally near
    ones in order of fingerprint."""
    if len(began) == 1:
        return [(abs(began[0][0] - onset_s), began[0][1])]
    at = bisect_left(began, (onset_s, ""))
    around = began[max(0, at - most) : at + most]
    return sorted((abs(when - onset_s), fingerprint) for when, fingerprint in around)[:most]
