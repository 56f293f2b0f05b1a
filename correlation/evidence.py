"""Which metric anomalies say something about which situation: those on a CI with an alert in it, or on what such a CI
depends on, at about the same time. An anomaly opens nothing; it explains.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice, takewhile

import msgspec
from msgspec import Struct

from foreshock.core.model import Anomaly, Evidence, Moment, Situation

MAX_EVIDENCE = 20
"""Kept by one situation; the strongest."""

MAX_KNOWN = 20_000
"""Anomalies remembered at once."""

Key = tuple[str, str, str]
"""ci, metric, dimension."""


def key(anomaly: Anomaly) -> Key:
    return anomaly.ci, anomaly.metric, anomaly.dimension


class Heard(Struct, frozen=True, gc=False):
    """at: on the records' clock. record: its number, so that what was heard at one moment has an order too."""

    anomaly: Anomaly
    at: Moment
    record: int


class Known:
    """Anomalies heard of lately, which a situation that opens soon may want; the one heard of first goes first."""

    def __init__(self, heard: Iterable[Heard] = ()) -> None:
        self._heard: dict[Key, Heard] = {}
        self._by_ci: dict[str, dict[Key, Anomaly]] = {}
        for each in sorted(heard, key=lambda each: (each.record, key(each.anomaly))):
            self._put(each)

    def __len__(self) -> int:
        return len(self._heard)

    def __iter__(self) -> Iterator[Heard]:
        return iter(self._heard.values())

    def get(self, name: Key) -> Heard | None:
        return self._heard.get(name)

    def on(self, ci: str) -> Collection[Anomaly]:
        return self._by_ci.get(ci, _NOTHING).values()

    def hear(self, anomaly: Anomaly, at: datetime, record: int) -> list[Key]:
        """Remember it, as one with what the same series said before; the keys of those that had to go for it.

        Those of one record are to come in the order of their keys.
        """
        before = self._heard.pop(key(anomaly), None)
        self._put(Heard(anomaly if before is None else one(before.anomaly, anomaly), at, record))
        return self._drop(len(self._heard) - MAX_KNOWN)

    def forget(self, until: datetime) -> list[Key]:
        """Drop what was last heard of at ``until`` or before; its keys."""
        return self._drop(sum(1 for _ in takewhile(lambda each: each.at <= until, self)))

    def _put(self, heard: Heard) -> None:
        name = key(heard.anomaly)
        self._heard[name] = heard
        self._by_ci.setdefault(heard.anomaly.ci, {})[name] = heard.anomaly

    def _drop(self, number: int) -> list[Key]:
        gone = list(islice(self._heard, max(number, 0)))
        for name in gone:
            del self._heard[name]
            here = self._by_ci[name[0]]
            del here[name]
            if not here:
                del self._by_ci[name[0]]
        return gone


_NOTHING: Mapping[Key, Anomaly] = {}


def one(before: Anomaly, now: Anomaly) -> Anomaly:
    """What one series said twice: the same deviation goes on, or else the stronger of two counts."""
    stronger = now if now.score >= before.score else before
    if before.direction is not now.direction or (before.until is not None and now.onset > before.until):
        return stronger
    return msgspec.structs.replace(
        stronger, onset=min(before.onset, now.onset), at=min(before.at, now.at), until=now.until, said=now.said
    )


def fits(anomaly: Anomaly, situation: Situation, window: timedelta) -> bool:
    """Whether it was there while the situation took shape: not over long before its onset, nor new long after its last
    alert."""
    over_early = anomaly.until is not None and anomaly.until < situation.onset - window
    return not over_early and anomaly.onset <= situation.last_joined_at + window


def attach(evidence: Collection[Evidence], found: Evidence) -> tuple[Evidence, ...]:
    """The evidence with ``found`` in it: the best for each metric of each CI, the strongest first, bounded."""
    best = {place(each): each for each in evidence}
    known = best.get(place(found))
    if known is None and len(best) >= MAX_EVIDENCE and _order(found) > _order(next(reversed(best.values()))):
        return tuple(evidence)
    if known is not None and key(known.anomaly) == key(found.anomaly):
        found = msgspec.structs.replace(
            found if len(found.path) < len(known.path) else known, anomaly=one(known.anomaly, found.anomaly)
        )
    if known is None or key(known.anomaly) == key(found.anomaly) or _order(found) < _order(known):
        best[place(found)] = found
    return tuple(sorted(best.values(), key=_order)[:MAX_EVIDENCE])


def joined(evidence: Iterable[Evidence], others: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Of two situations that became one."""
    together = tuple(evidence)
    for other in others:
        together = attach(together, other)
    return together


def near(evidence: Iterable[Evidence], cis: Collection[str]) -> tuple[Evidence, ...]:
    """What is left of it for a situation with alerts on ``cis``."""
    return tuple(each for each in evidence if each.path[0] in cis)


def place(each: Evidence) -> tuple[str, str]:
    """Evidence of one place counts once."""
    return each.anomaly.ci, each.anomaly.metric


def _order(each: Evidence) -> tuple[float, int, Key]:
    return -each.anomaly.score, len(each.path), key(each.anomaly)


def describe(anomaly: Anomaly) -> str:
    """In a line, for people: ``orders-db: disk_latency (/var) is up, 0.054 s for 0.012 s, 12 spreads, since 12:01``."""
    which = f" ({anomaly.dimension})" if anomaly.dimension else ""
    unit = f" {anomaly.unit}" if anomaly.unit else ""
    verb = "is" if anomaly.until is None else "was"
    end = "" if anomaly.until is None else f" to {anomaly.until:%H:%M}"
    numbers = f"{anomaly.observed:.4g}{unit} where {anomaly.expected:.4g}{unit} is usual"
    what = f": {anomaly.said}" if anomaly.said else f" {verb} {anomaly.direction.value}, {numbers}"
    return (
        f"{anomaly.ci}: {anomaly.metric}{which}{what}, score {anomaly.score:.0f}, from {anomaly.onset:%H:%M}{end} UTC"
    )
