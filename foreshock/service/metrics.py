"""Foreshock's own metrics, in Prometheus's format. Numbers kept elsewhere are read when somebody scrapes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from foreshock import __version__

Families = Iterable[Metric]

_REFLECTED_S = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Live:
    """Adapts a function that yields families to prometheus-client's collector protocol."""

    def __init__(self, families: Callable[[], Families]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families()


class IntakeMetrics:
    """What the intake counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "foreshock_intake_requests", "Requests with events, by HTTP status.", ["status"], registry=self._registry
        )
        self.events = Counter(
            "foreshock_intake_accepted_events", "Events acknowledged: they are on disk.", registry=self._registry
        )
        self.bytes = Counter("foreshock_intake_bytes", "Bytes of events, decompressed.", registry=self._registry)
        self.seconds = Histogram(
            "foreshock_intake_request_duration_seconds",
            "Time to the answer, the sync included.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._by_status: dict[int, Counter] = {}

    def observe(self, seconds: float, status: int, events: int, size: int) -> None:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self.requests.labels(str(status))
        counter.inc()
        self.seconds.observe(seconds)
        if events:
            self.events.inc(events)
            self.bytes.inc(size)

    def families(self) -> Families:
        return self._registry.collect()


class Metrics:
    """One registry per Foreshock, so that two in one process (tests, demo) do not mix."""

    def __init__(self, *families: Callable[[], Families]) -> None:
        self.registry = CollectorRegistry()
        Gauge("foreshock_build_info", "Version.", ["version"], registry=self.registry).labels(__version__).set(1)
        self.reflected = Histogram(
            "foreshock_reflect_duration_seconds",
            "Time from taking events in until what they change is decided and on disk, by request.",
            buckets=_REFLECTED_S,
            registry=self.registry,
        )
        for each in families:
            self.registry.register(Live(each))

    def render(self, accept: str) -> tuple[bytes, str]:
        """(body, content type) for a scraper's Accept header."""
        if "application/openmetrics-text" in accept:
            return bytes(generate_openmetrics(self.registry)), OPENMETRICS  # type: ignore[no-untyped-call]
        return generate_latest(self.registry), "text/plain; version=0.0.4; charset=utf-8"


def packed(families: Families) -> list[Any]:
    """Families as plain values, for another process."""
    return [
        (family.name, family.documentation, family.type, [tuple(sample)[:3] for sample in family.samples])
        for family in families
    ]


def unpacked(values: Iterable[Any]) -> Iterator[Metric]:
    for name, help, type, samples in values:
        family = Metric(name, help, type)
        for sample in samples:
            family.add_sample(*sample)
        yield family


def gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def labelled(
    family: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    help: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    """A family with one sample a row of (label values, value)."""
    metric = family(name, help, labels=list(labels))
    for values, value in rows:
        metric.add_metric(list(values), value)
    return metric
