"""What requests of the OpenTelemetry protocol say: log records as lines, data points as points of series.

Facts: https://opentelemetry.io/docs/specs/otlp/ from memory on 2026-11-22; opentelemetry-proto 1.45 (logs, metrics). In
JSON, ids are hexadecimal where Protocol Buffers in JSON have base64; enumerations are numbers.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from msgspec import Struct

from foreshock.connect.histograms import MAX_BUCKETS, SCALES, Explicit, Exponential, Grown, Growths, Observed
from foreshock.connect.lines import Batch, Line, LineCounter, Sieve, Word
from foreshock.core.errors import Malformed
from foreshock.core.templates import key

MAX_TEXT_CHARS = 8000
MAX_SAID = 16
"""Attributes of a record that are kept for people."""

_HOSTS = ("host.name", "k8s.node.name", "k8s.pod.name", "container.name", "service.name")
_LABELS = {
    "service.name": "service",
    "service.namespace": "service_namespace",
    "deployment.environment.name": "environment",
    "deployment.environment": "environment",
    "k8s.cluster.name": "cluster",
    "k8s.namespace.name": "namespace",
    "k8s.deployment.name": "deployment",
    "k8s.statefulset.name": "statefulset",
    "k8s.daemonset.name": "daemonset",
    "k8s.cronjob.name": "cronjob",
    "k8s.job.name": "job_name",
    "cloud.region": "region",
}
"""Attributes of a resource that identify what the line is about, by our names. Not those of a pod or an instance: the
next one has others, and is the same."""
_WORDS: tuple[Word, ...] = ("debug", "debug", "info", "warning", "err", "crit")
_NUMBERS = {"debug": 7, "info": 6, "warning": 4, "err": 3, "crit": 2}
_MOST_KEYS = 65_536
_DELTA = 1  # of aggregation temporality


def text_of(value: Any) -> str:
    """An ``AnyValue``, for people."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return str(value.string_value)[:MAX_TEXT_CHARS]
    if kind is None:
        return ""
    if kind in ("array_value", "kvlist_value", "bytes_value"):
        return json.dumps(_plain(value, 0), ensure_ascii=False)[:MAX_TEXT_CHARS]
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return str(getattr(value, kind))


def _plain(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > 8:
        return None
    if kind == "array_value":
        return [_plain(each, depth + 1) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _plain(each.value, depth + 1) for each in value.kvlist_value.values}
    found = getattr(value, kind)
    return base64.b64encode(found).decode() if kind == "bytes_value" else found


def attributes(found: Any) -> dict[str, str]:
    return {each.key: text_of(each.value) for each in found}


# ---- logs -----------------------------------------------------------------------------------------------------------


class Origin(Struct, frozen=True):
    """What a resource is. labels: what identifies it beside the host."""

    host: str
    app: str
    labels: Mapping[str, str]
    attributes: Mapping[str, str]

    @classmethod
    def of(cls, resource: Any) -> "Origin":
        said = attributes(resource.attributes)
        host = next((said[name] for name in _HOSTS if said.get(name)), "")
        labels = {ours: said[name] for name, ours in _LABELS.items() if said.get(name)}
        return cls(host, said.get("service.name", ""), labels, said)


class Reader:
    """Takes log records apart: those that are events into a batch, the others counted.

    Args:
        in_json: the request was JSON, so that ids are what base64 would make of them.
    """

    def __init__(self, sieve: Sieve, counter: LineCounter) -> None:
        self._sieve, self._counter = sieve, counter
        self.ignored = 0

    def read(self, request: Any, batch: Batch, *, in_json: bool = False) -> int:
        """How many records there were; those that are events are in ``batch``."""
        records = 0
        for resource in request.resource_logs:
            origin = Origin.of(resource.resource)
            for scope in resource.scope_logs:
                records += len(scope.log_records)
                self._scope(origin, scope.log_records, batch, in_json)
        return records

    def _scope(self, origin: Origin, records: Sequence[Any], batch: Batch, in_json: bool) -> None:
        sieve, counter = self._sieve, self._counter
        host, app = origin.host.encode(), origin.app.encode()
        for record in records:
            number = record.severity_number
            word = _WORDS[min(number - 1, 23) // 4] if number > 0 else _word(record.severity_text)
            body = record.body
            text = body.string_value if body.HasField("string_value") else text_of(body)
            raw = text[:MAX_TEXT_CHARS].encode(errors="replace")
            if sieve.plain:
                fate = sieve.by_severity(_NUMBERS[word])
            else:
                fields = {**origin.attributes, **origin.labels, **attributes(record.attributes)}
                fields |= {"host": origin.host, "app": origin.app, "severity": word, "text": text}
                fate = sieve.fate(_NUMBERS[word], fields)
            if fate.event:
                alike = (origin.host, origin.app, word, key(raw), fate.name, fate.ends, *fate.labels.items())
                line = partial(_line, origin, record, text, fate, word, in_json)
                batch.add(alike, line, len(raw) + 200)
            elif not fate.dropped:
                self.ignored += 1
                counter.add(host, app, raw)
            else:
                self.ignored += 1


def _line(origin: Origin, record: Any, text: str, fate: Any, word: Word, in_json: bool) -> Line:
    more = {each.key[:100]: text_of(each.value)[:1000] for each in list(record.attributes)[:MAX_SAID]}
    for name, raw in (("trace_id", record.trace_id), ("span_id", record.span_id)):
        if raw:
            more[name] = base64.b64encode(raw).decode() if in_json else raw.hex()
    at_ns = record.time_unix_nano or record.observed_time_unix_nano
    return Line(
        text=text[:MAX_TEXT_CHARS],
        severity=fate.severity or word,
        host=origin.host,
        app=origin.app,
        at=_moment(at_ns),
        more=more,
        name=fate.name,
        labels={**origin.labels, **fate.labels},
        ends=fate.ends,
        holds_s=fate.holds_s,
    )


def _moment(ns: int) -> datetime | None:
    if not 0 < ns < 1 << 62:
        return None
    return datetime.fromtimestamp(ns / 1e9, UTC)


@lru_cache(1024)
def _word(text: str) -> Word:
    """Of records that have no number."""
    said = text.lower()
    for words, word in (
        (("fatal", "crit", "emerg", "alert", "panic"), "crit"),
        (("err", "severe"), "err"),
        (("warn",), "warning"),
        (("debug", "trace", "verbose"), "debug"),
    ):
        if said.startswith(words):
            return word  # type: ignore[return-value]
    return "info"


# ---- metrics --------------------------------------------------------------------------------------------------------


class Point(Struct, frozen=True):
    """One point of a series.

    Attributes:
        own: names of the labels that are of the point, not of its resource.
        counts: the series only grows, so its growth is what says something.
    """

    name: str
    labels: Mapping[str, str]
    own: tuple[str, ...]
    unit: str
    counts: bool
    at_s: float
    value: float


class Metrics:
    """Takes data points apart.

    Attributes:
        ignored: points of kinds that are left out, since the start.
        growths: of cumulative histograms, summaries and their like.
    """

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self.growths = Growths()
        self.ignored = 0

    def read(self, request: Any) -> Iterator[Point]:
        """Points of metrics whose name is wanted."""
        for resource in request.resource_metrics:
            said = attributes(resource.resource.attributes)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield from self._metric(metric, said)

    def _metric(self, metric: Any, said: Mapping[str, str]) -> Iterator[Point]:
        kind = metric.WhichOneof("data")
        if kind is None:
            return
        points = getattr(metric, kind).data_points
        if not self._wanted(metric.name):
            self.ignored += len(points)
            return
        if kind not in ("gauge", "sum"):
            for point in points:
                yield from self._histogram(metric, kind, point, said)
            return
        for point in points:
            if point.flags & 1:  # no recorded value
                self.ignored += 1
                continue
            value = point.as_double if point.HasField("as_double") else float(point.as_int)
            found = self._number(metric, kind, point, value, said)
            if found is None:
                self.ignored += 1
            else:
                yield found

    def _number(self, metric: Any, kind: str, point: Any, value: float, said: Mapping[str, str]) -> Point | None:
        if kind == "gauge":
            return _point(metric, point, said, value)
        delta = metric.sum.aggregation_temporality == _DELTA
        if not delta:
            return _point(metric, point, said, value, counts=metric.sum.is_monotonic)
        passed = _passed_s(point)
        if not metric.sum.is_monotonic or passed <= 0:
            return None
        return _point(metric, point, said, value / passed, unit=_a_second(metric.unit))

    def _histogram(self, metric: Any, kind: str, point: Any, said: Mapping[str, str]) -> Iterator[Point]:
        """As several series: how many there were a second, their sum, and quantiles."""
        try:
            now = _OBSERVED[kind](point)
        except Malformed:
            now = None
        if now is None or point.flags & 1:
            self.ignored += 1
            return
        grown: Grown | None
        if kind != "summary" and getattr(metric, kind).aggregation_temporality == _DELTA:
            passed = _passed_s(point)
            grown = Grown(now.at_s, passed, now.count, now.sum, now.buckets) if passed > 0 else None
        else:
            series = (metric.name, *sorted(said.items()), *sorted(attributes(point.attributes).items()))
            grown = self.growths.of(series, now)
        if grown is not None:
            units = {"count": "1/s", "sum": _a_second(metric.unit)}
            for name, value in grown.parts():
                yield _point(metric, point, said, value, suffix=f".{name}", unit=units.get(name))
        if kind == "summary":
            for each in point.quantile_values:
                yield _point(metric, point, said, each.value, suffix=f".p{100 * each.quantile:g}")


def _explicit(point: Any) -> Observed:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    buckets = Explicit(bounds, counts) if bounds and len(counts) == len(bounds) + 1 else None
    return Observed(point.time_unix_nano / 1e9, point.count, point.sum if point.HasField("sum") else None, buckets)


def _exponential(point: Any) -> Observed:
    if point.scale not in SCALES or len(point.positive.bucket_counts) + len(point.negative.bucket_counts) > MAX_BUCKETS:
        raise Malformed("a histogram of that scale, or of so many buckets, is not read")
    positive, negative = (
        {side.offset + place: count for place, count in enumerate(side.bucket_counts) if count}
        for side in (point.positive, point.negative)
    )
    buckets = Exponential(point.scale, point.zero_threshold, point.zero_count, positive, negative)
    return Observed(point.time_unix_nano / 1e9, point.count, point.sum if point.HasField("sum") else None, buckets)


def _summary(point: Any) -> Observed:
    return Observed(point.time_unix_nano / 1e9, point.count, point.sum, None)


_OBSERVED: Mapping[str, Callable[[Any], Observed]] = {
    "histogram": _explicit,
    "exponential_histogram": _exponential,
    "summary": _summary,
}


def _passed_s(point: Any) -> float:
    return (point.time_unix_nano - point.start_time_unix_nano) / 1e9 if point.start_time_unix_nano else 0.0


def _a_second(unit: str) -> str:
    return f"{unit}/s" if unit else ""


def _point(
    metric: Any,
    point: Any,
    said: Mapping[str, str],
    value: float,
    *,
    counts: bool = False,
    suffix: str = "",
    unit: str | None = None,
) -> Point:
    own = attributes(point.attributes)
    return Point(
        name=metric.name + suffix,
        labels={**said, **own, "__name__": metric.name},
        own=tuple(sorted(own)),
        unit=metric.unit if unit is None else unit,
        counts=counts,
        at_s=point.time_unix_nano / 1e9,
        value=value,
    )
