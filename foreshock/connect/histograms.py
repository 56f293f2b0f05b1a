"""Histograms as series: how many there were a second, their sum, and below what 50, 95 and 99 of 100 of them were.

All is told of what came since the point before, as ``histogram_quantile(0.95, increase(…))`` of PromQL does: a
cumulative histogram is taken apart from its predecessor, one that is smaller than it began again at zero.

Facts: https://prometheus.io/docs/specs/native_histograms/ and https://opentelemetry.io/docs/specs/otel/metrics/data-model/
(exponential histograms), from memory on 2026-11-23. Bucket ``i`` of scale ``s`` holds base^i < value <= base^(i+1) with
base = 2^(2^-s); Prometheus counts it as ``i + 1``. Within a bucket values are taken to be spread evenly, in an
exponential one evenly in their logarithm, as Prometheus 3 does.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec import Struct

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
MAX_BUCKETS = 4096
"""Of one histogram. Prometheus and OpenTelemetry make 160 at most, if not told otherwise."""
SCALES = range(-10, 21)
_MOST_KEYS = 65_536

Bucket = tuple[float, float, float]
"""Lower bound, upper bound, how many."""


class Explicit(Struct, frozen=True):
    """Buckets whose upper bounds are given; the last has none."""

    bounds: Sequence[float]
    counts: Sequence[float]

    def less(self, before: "Explicit") -> "Explicit | None":
        """What came since; None where these are other buckets."""
        if list(self.bounds) != list(before.bounds) or len(self.counts) != len(before.counts):
            return None
        return Explicit(self.bounds, [now - was for now, was in zip(self.counts, before.counts, strict=True)])

    def ascending(self) -> Iterator[Bucket]:
        low = min(0.0, self.bounds[0]) if self.bounds else 0.0
        for high, count in zip(self.bounds, self.counts, strict=False):
            yield low, high, count
            low = high
        if len(self.counts) > len(self.bounds) and self.bounds:
            yield low, low, self.counts[-1]  # what is beyond the last bound is told as that

    def within(self, low: float, high: float, part: float) -> float:
        return low + (high - low) * part


class Exponential(Struct, frozen=True):
    """Buckets by index, of values above and below zero; ``zero`` is how many were within ``threshold`` of it."""

    scale: int
    threshold: float
    zero: float
    positive: Mapping[int, float]
    negative: Mapping[int, float]

    def coarser(self, scale: int) -> "Exponential":
        """The same of a scale that is not larger."""
        if scale == self.scale:
            return self
        by = self.scale - scale
        return Exponential(scale, self.threshold, self.zero, _merged(self.positive, by), _merged(self.negative, by))

    def less(self, before: "Exponential") -> "Exponential | None":
        """What came since; None where another band counts as zero."""
        if self.threshold != before.threshold:
            return None
        scale = min(self.scale, before.scale)
        now, was = self.coarser(scale), before.coarser(scale)
        return Exponential(
            scale,
            self.threshold,
            now.zero - was.zero,
            _difference(now.positive, was.positive),
            _difference(now.negative, was.negative),
        )

    @property
    def counts(self) -> Sequence[float]:
        return [*self.negative.values(), self.zero, *self.positive.values()]

    def ascending(self) -> Iterator[Bucket]:
        for index in sorted(self.negative, reverse=True):
            yield -self._bound(index + 1), -self._bound(index), self.negative[index]
        low = 0.0 if self.positive and not self.negative else -self.threshold
        high = 0.0 if self.negative and not self.positive else self.threshold
        yield low, high, self.zero
        for index in sorted(self.positive):
            yield self._bound(index), self._bound(index + 1), self.positive[index]

    def within(self, low: float, high: float, part: float) -> float:
        if low <= 0 <= high:
            return low + (high - low) * part
        return low if math.isinf(high) else high if math.isinf(low) else low * (high / low) ** part

    def _bound(self, index: int) -> float:
        try:
            return math.pow(2.0, index * 2.0**-self.scale)
        except OverflowError:
            return math.inf


Buckets = Explicit | Exponential


class Observed(Struct, frozen=True):
    """A histogram at a time. sum: None where it is not told. buckets: None where there are none."""

    at_s: float
    count: float
    sum: float | None
    buckets: Buckets | None


class Grown(Struct, frozen=True):
    """What came in so many seconds."""

    at_s: float
    passed_s: float
    count: float
    sum: float | None
    buckets: Buckets | None

    def parts(self) -> Iterator[tuple[str, float]]:
        """Series that are made of it, by name: ``count`` and ``sum`` a second, and quantiles."""
        yield "count", self.count / self.passed_s
        if self.sum is not None and math.isfinite(self.sum):
            yield "sum", self.sum / self.passed_s
        if self.buckets is not None:
            for name, share in QUANTILES.items():
                value = quantile(share, self.buckets)
                if value is not None:
                    yield name, value


Before = dict[Hashable, "Observed | None"]


class Growths:
    """What cumulative histograms grow by."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Observed] = {}
        self._before: Before = {}

    def begin(self) -> Before:
        """From here on it is noted what was known, for ``restore``."""
        self._before = {}
        return self._before

    def restore(self, before: Before) -> None:
        """As if nothing had come since that ``begin``: it could not be kept, and comes again."""
        for key, known in before.items():
            if known is None:
                self._known.pop(key, None)
            else:
                self._known[key] = known

    def of(self, key: Hashable, now: Observed) -> Grown | None:
        """None for the first of them, and for one that is older than what is known."""
        before = self._known.get(key)
        self._before.setdefault(key, before)
        if before is not None and now.at_s <= before.at_s:
            return None
        if len(self._known) > _MOST_KEYS:
            self._known.clear()
        self._known[key] = now
        return None if before is None else _since(before, now)


def _since(before: Observed, now: Observed) -> Grown:
    count, total, buckets = now.count - before.count, now.sum, now.buckets
    same = type(before.buckets) is type(buckets)
    if buckets is not None and same:
        buckets = buckets.less(before.buckets)  # type: ignore[arg-type]
    began_again = count < 0 or (buckets is not None and min(buckets.counts, default=0) < 0)
    if began_again or not same:
        return Grown(now.at_s, now.at_s - before.at_s, now.count, now.sum, now.buckets)
    if total is not None:
        total = None if before.sum is None else total - before.sum
    return Grown(now.at_s, now.at_s - before.at_s, count, total, buckets)


def quantile(share: float, buckets: Buckets) -> float | None:
    """Below what that share of the values is; None where there are none."""
    total = sum(buckets.counts)
    if not total > 0:
        return None
    wanted, below, found = share * total, 0.0, None
    for low, high, count in buckets.ascending():
        if count <= 0:
            continue
        found = buckets.within(low, high, min(1.0, (wanted - below) / count))
        below += count
        if below >= wanted:
            break
    return found if found is not None and math.isfinite(found) else None


def _merged(counts: Mapping[int, float], by: int) -> Mapping[int, float]:
    found: dict[int, float] = {}
    for index, count in counts.items():
        found[index >> by] = found.get(index >> by, 0.0) + count
    return found


def _difference(now: Mapping[int, float], was: Mapping[int, float]) -> Mapping[int, float]:
    return {index: now.get(index, 0.0) - was.get(index, 0.0) for index in sorted({*now, *was})}
