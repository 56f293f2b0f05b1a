"""How often conditions begin, learned from every alert that does: what is rare says more about a cause than what begins
all the time."""

import math
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

MAX_CONDITIONS = 8192
"""Remembered at most. Beyond that all counts are halved, and what was seen once is forgotten."""

_HALF_LIFE_S = 7 * 86_400.0
_LEAST_S = 600.0  # watched for less, it is taken for so long
_LIKE_OTHERS = 0.3  # what is known of a name counts for each CI as much as so many onsets there …
_LIKE_OTHERS_S = 36_000.0  # … and those that all CIs together would have had there in this time, ten hours


class _Seen(Struct, gc=False):
    """How often one condition began."""

    name: str
    onsets: int


class _Named(Struct, gc=False):
    """The same over all conditions of one name."""

    conditions: int = 0
    onsets: int = 0


_NEVER = _Named()


class _Saved(Struct, frozen=True):
    """Part of the state, as a checkpoint has it."""

    seen: dict[str, _Seen]
    watched_s: float = 0.0
    since: datetime | None = None


class Usual:
    """Counts of onsets by fingerprint and by name, fading with a half-life of a week.

    Counts are integers and fade by halving, so that they are the same whatever order they are added up in. ``changed``
    has the parts of the state whose checkpoint is out of date; whoever saves them empties it.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._named: dict[str, _Named] = {}
        self._watched_s = 0.0
        self._since: datetime | None = None
        self.changed: set[str] = set()

    def note(self, fingerprint: str, name: str, now: datetime) -> None:
        """A condition begins, or begins again."""
        if self._since is None:
            self._since = now
        elif (now - self._since).total_seconds() >= _HALF_LIFE_S:
            self._watched_s += (now - self._since).total_seconds()
            self._since = now
            self._halve()
        seen = self._seen.get(fingerprint)
        if seen is None:
            while len(self._seen) >= MAX_CONDITIONS:
                self._watched_s += (now - self._since).total_seconds()
                self._since = now
                self._halve()
            seen = self._seen[fingerprint] = _Seen(name, 0)
            self._named.setdefault(name, _Named()).conditions += 1
        seen.onsets += 1
        self._named[seen.name].onsets += 1
        self.changed.add(_part(fingerprint))

    def stop(self, now: datetime) -> None:
        """Recordings end at ``now``; later questions are about what was until then."""
        if self._since is not None:
            self._watched_s += (now - self._since).total_seconds()
            self._since = None

    def surprise(
        self, fingerprint: str, name: str, now: datetime, span_s: float, cis: float, among: float, here: int
    ) -> float:
        """How unlikely it is that this condition begins within ``span_s`` for no reason, in nats; its present onset
        does not count, nor do ``here`` present ones of its name.

        A Poisson process whose rate is that of the condition itself, drawn towards what is known of its name: the mean
        rate of a CI, of ``among`` CIs that might show it (a gamma prior; those that never did count too, so a name that
        few show is rarer than one that all do). What was never seen is as likely on each of all ``cis``: while nothing
        is known, it says nothing that a kind has few of them.
        """
        seen, named = self._seen.get(fingerprint), self._named.get(name, _NEVER)
        watched_s = self._watched_s + ((now - self._since).total_seconds() if self._since is not None else 0.0)
        watched_s = max(watched_s, _LEAST_S)
        mean = 1.0 / max(cis, 1.0) + max(0, named.onsets - here) / max(named.conditions, among, 1.0)
        known = _LIKE_OTHERS + mean * _LIKE_OTHERS_S / watched_s
        onsets = max(0, seen.onsets - 1) if seen is not None else 0
        rate = mean / watched_s * (onsets + known) / (mean + known)
        return -math.log(-math.expm1(-rate * span_s))

    def _halve(self) -> None:
        kept: dict[str, _Seen] = {}
        self._named = {}
        for fingerprint, seen in self._seen.items():
            self.changed.add(_part(fingerprint))
            if seen.onsets > 1:
                seen.onsets //= 2
                kept[fingerprint] = seen
                named = self._named.setdefault(seen.name, _Named())
                named.conditions += 1
                named.onsets += seen.onsets
        self._seen = kept
        self._watched_s /= 2

    def save(self, part: str) -> bytes:
        return msgspec.msgpack.encode(
            _Saved(
                seen={name: seen for name, seen in self._seen.items() if _part(name) == part},
                watched_s=self._watched_s,
                since=self._since,
            )
        )

    def load(self, saved: Iterable[bytes]) -> None:
        """Take over what ``save`` gave, part by part; the one who was last saved knows how long has been watched."""
        latest = _Saved(seen={})
        for body in saved:
            read = msgspec.msgpack.decode(body, type=_Saved)
            if latest.since is None or (read.since is not None and read.since >= latest.since):
                latest = read
            for fingerprint, seen in read.seen.items():
                self._seen[fingerprint] = seen
                named = self._named.setdefault(seen.name, _Named())
                named.conditions += 1
                named.onsets += seen.onsets
        self._watched_s, self._since = latest.watched_s, latest.since


def _part(fingerprint: str) -> str:
    """State is saved in a few parts, so that one new alert does not write all of it."""
    return fingerprint[:1]
