"""Metrics of Prometheus, or of what speaks its HTTP API (VictoriaMetrics, Mimir, Thanos), read by range queries.

Facts:    https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries, read 2026-11-22, and answers of
          Prometheus 2.42 as recorded in tests/samples; tested with VictoriaMetrics 1.79; ``isPartial`` is its word,
          ``X-Scope-OrgID`` Mimir's.
Delivery: at least once; each query has its own place in time, which moves once its points are on disk. The first visit
          reads `lookback`, and so does one after a longer break.
Recovery: a query that fails keeps its place and is asked again; the others go on.
Limits:   10,000 series a query, 64 MiB an answer; what is beyond is left out or refused, and said so. Prometheus itself
          allows 11,000 points a series, which is never reached here.
Needs:    the address; where asked for, a token, or a user with a password, that may read.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Raw, Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.connect.vendors.prometheus import PrometheusAccount, connect
from foreshock.core.contracts import Collector, Page, Poll, PollConfig
from foreshock.core.errors import Denied, ForeshockError, Invalid, Malformed, Rejected, Unavailable
from foreshock.core.model import Direction, Samples, Series
from foreshock.core.quantities import Duration, parse_duration

if TYPE_CHECKING:
    from foreshock.connect.http import Http

MAX_SERIES = 10_000
MAX_DIMENSION_CHARS = 300
MAX_STEPS = 10_000
"""In one question; Prometheus refuses more than 11,000 points a series."""

_SETTLE_S = 5.0  # younger points may still change: scrapes and remote writes take their time
_FIRST_STEPS = 60
_PAGE_BYTES = 8 * 2**20  # a page is made as long as brings about this much


class MetricQuery(BaseModel):
    """One metric, as PromQL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(min_length=1, max_length=100, description="what the metric is called here")
    query: str = Field(min_length=1, max_length=8192, description="PromQL that gives one series for each CI")
    ci: tuple[str, ...] = Field(
        default=("instance",), min_length=1, description="labels whose value names the CI; the first that is there"
    )
    unit: str = Field(default="", max_length=20, description="unit of the values, for people")
    worse: Literal["up", "down", "either"] = Field(
        default="either", description="which way is worse; the other way is then no anomaly"
    )


class PrometheusConfig(PollConfig, PrometheusAccount):
    queries: tuple[MetricQuery, ...] = Field(
        min_length=1,
        max_length=100,
        description="what to read",
        examples=[
            [
                {
                    "metric": "cpu_busy",
                    "query": '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))',
                    "worse": "up",
                }
            ]
        ],
    )
    step: Duration = Field(
        default=parse_duration("1m"), ge=timedelta(seconds=1), le=timedelta(hours=1), description="time between points"
    )
    lookback: Duration = Field(
        default=parse_duration("1d"),
        ge=timedelta(minutes=1),
        le=timedelta(days=90),
        description="how far back the first visit reads; a week or more lets detectors know the days of the week",
    )

    @field_validator("queries")
    @classmethod
    def _have_own_names(cls, queries: tuple[MetricQuery, ...]) -> tuple[MetricQuery, ...]:
        names = [query.metric for query in queries]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(f"two are called {name!r}", hint="give each its own name", path=(index, "metric"))
        return queries


class Prometheus:
    """Polls one server. The cursor is a JSON object: by metric, the time of the next point in seconds since 1970."""

    def __init__(self, instance: str, config: PrometheusConfig, http: "Http") -> None:
        self._instance, self._config, self._http = instance, config, http
        self._step_s = config.step.total_seconds()
        self._steps: dict[str, int] = {}

    def fetch(self, cursor: str, now: datetime) -> Page:
        places: dict[str, float] = msgspec.json.decode(cursor, type=dict[str, float]) if cursor else {}
        last = math.floor((now.timestamp() - _SETTLE_S) / self._step_s) * self._step_s
        earliest = last - self._config.lookback.total_seconds()
        payloads, problems, failed = [], [], []
        for query in self._config.queries:
            start = max(places.get(query.metric, earliest), earliest)
            if query.metric in places and start > places[query.metric]:
                problems.append(
                    f"{query.metric}: what came before the lookback of {self._config.lookback} was not read"
                )
            if start > last:
                continue
            steps = self._steps.get(query.metric, _FIRST_STEPS)
            end = min(last, start + (steps - 1) * self._step_s)
            try:
                answer, warnings = self._ask(query, start, end)
            except Denied:
                raise
            except ForeshockError as error:
                failed.append(error)
                continue
            self._steps[query.metric] = max(1, min(MAX_STEPS, round(steps * _PAGE_BYTES / max(len(answer), 1))))
            payloads.append(msgspec.json.encode({"query": _asked(query), "answer": Raw(answer)}))
            problems += [f"{query.metric}: {warning}" for warning in warnings]
            places[query.metric] = end + self._step_s
        if failed and not payloads:
            raise failed[0]
        known = {query.metric for query in self._config.queries}
        return Page(
            payloads=tuple(payloads),
            cursor=msgspec.json.encode({name: place for name, place in places.items() if name in known}).decode(),
            more=any(places.get(query.metric, math.inf) <= last for query in self._config.queries),
            problems=(*problems, *map(str, failed)),
        )

    def _ask(self, query: MetricQuery, start: float, end: float) -> tuple[bytes, Sequence[str]]:
        """The answer as it came, and its warnings."""
        form = {"query": query.query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{self._step_s:g}"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._config.headers}
        try:
            answer = self._http.post("/api/v1/query_range", body=urlencode(form).encode(), headers=headers)
        except Rejected as error:
            hint = f"check the query of {query.metric}, and that the url is that of the API"
            raise Rejected(str(error), hint=hint) from None
        try:
            head = msgspec.json.decode(answer.body, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{answer.place} gave no answer to a range query: {error}",
                hint="check that the address is the API and not a login or proxy page",
            ) from None
        if head.status != "success" or head.is_partial:
            what = "only a part" if head.is_partial else f"{head.status}: {head.error}"
            raise Unavailable(f"{answer.place} answered the query of {query.metric} with {what}")
        return answer.body, head.warnings


class _Head(Struct, rename="camel"):
    """What is around the data. is_partial: a storage node of a cluster did not answer."""

    status: str
    error: str = ""
    warnings: tuple[str, ...] = ()
    is_partial: bool = False


# ---- payload to samples ---------------------------------------------------------------------------------------------


class _Asked(Struct):
    metric: str
    ci: tuple[str, ...]
    unit: str = ""
    worse: Literal["", "up", "down"] = ""


class _Found(Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(Struct):
    result_type: str = msgspec.field(name="resultType")
    result: list[Raw]


class _Answer(Struct):
    data: _Data


class _Payload(Struct):
    query: _Asked
    answer: _Answer


class Item(Struct):
    """One series of an answer."""

    asked: _Asked
    found: _Found


_PAYLOAD, _FOUND = msgspec.json.Decoder(_Payload), msgspec.json.Decoder(_Found)


def _asked(query: MetricQuery) -> Mapping[str, Any]:
    worse = "" if query.worse == "either" else query.worse
    return {"metric": query.metric, "ci": query.ci, "unit": query.unit, "worse": worse}


def decode(payload: bytes) -> list[Item | Malformed]:
    """The series of one answer. Raises Malformed where it is none to a range query."""
    try:
        read = _PAYLOAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the answer cannot be read: {error}") from None
    data, asked = read.answer.data, read.query
    if data.result_type != "matrix":
        raise Malformed(f"{asked.metric}: the answer is a {data.result_type}, not a matrix", hint="check the query")
    items: list[Item | Malformed] = []
    for raw in data.result[:MAX_SERIES]:
        try:
            items.append(Item(asked, _FOUND.decode(raw)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            items.append(Malformed(f"{asked.metric}: {error}", payload=bytes(raw)[:1000]))
    if len(data.result) > MAX_SERIES:
        text = f"{asked.metric}: the query gives {len(data.result)} series, {MAX_SERIES} are read"
        items.append(Malformed(text, hint="aggregate it, for example with sum by (instance)"))
    return items


def translate(item: Item, received_at: datetime) -> Samples:
    """Labels beside that of the CI make the dimension; NaN and infinities are left out. Raises Malformed where no label
    names a CI, and for native histograms."""
    labels, asked = item.found.metric, item.asked
    label = next((label for label in asked.ci if labels.get(label)), None)
    if label is None:
        shown = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))[:MAX_DIMENSION_CHARS]
        raise Malformed(
            f"{asked.metric}: the series {{{shown}}} has no label {' or '.join(asked.ci)}",
            hint="name the label of the CI as ci, and keep it in the query, for example with by (instance)",
        )
    if not item.found.values:
        raise Malformed(f"{asked.metric}: a series without plain values", hint="use histogram_quantile on histograms")
    try:
        points = [(at, value) for at, text in item.found.values if math.isfinite(value := float(text))]
    except ValueError as error:
        raise Malformed(f"{asked.metric}: {error}") from None
    others = sorted((name, value) for name, value in labels.items() if name not in (label, "__name__") and value)
    return Samples(
        series=Series(
            ci=labels[label],
            metric=asked.metric,
            dimension=",".join(f"{name}={value}" for name, value in others)[:MAX_DIMENSION_CHARS],
            unit=asked.unit,
            worse=Direction(asked.worse) if asked.worse else None,
        ),
        times=[at for at, _ in points],
        values=[value for _, value in points],
    )


def _build(name: str, config: PrometheusConfig) -> Prometheus:
    # Every start looks at every collector; what asks is imported by those who ask: a tenth of a second.
    from foreshock.connect.http import Http

    return Prometheus(name, config, connect(config, name, f"collectors.{name}", Http))


COLLECTOR = Collector(
    kind="prometheus",
    title="Metrics of Prometheus, VictoriaMetrics or Mimir",
    facts="Prometheus HTTP API v1, range queries",
    decode=decode,
    translate=translate,
    sample="prometheus-range.json",
    poll=Poll(config=PrometheusConfig, build=_build),
)
