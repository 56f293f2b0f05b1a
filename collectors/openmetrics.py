"""Metrics scraped from where programs expose them: exporters, in OpenMetrics or in Prometheus's older text format.

Facts:    https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification 1.0, from
          memory on 2026-11-22; read by prometheus-client's parsers. Tested with the node exporter 1.5.
Delivery: none is made up for: what a target exposed while it was not asked is not known.
Recovery: none: samples alone are no alerts. A target that cannot be scraped is named with the source, the others are
          scraped; its metric ``up`` is then 0.
Limits:   200 targets, eight at a time, ten seconds and 16 MiB each. Of a counter the growth a second is kept, so its
          first point has none. Exemplars and native histograms are left out; summaries and histograms are kept series
          by series, as they are exposed.
Needs:    the address of each target, and to be let in there; a token, or a user with a password, where asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, read_secret
from foreshock.connect.selecting import Keeper, Selected, Selector
from foreshock.core.contracts import Collector, Page, Poll, PollConfig, decode_items
from foreshock.core.errors import Denied, ForeshockError, Invalid, Malformed, Rejected
from foreshock.core.model import Samples
from foreshock.core.quantities import Duration, parse_duration

if TYPE_CHECKING:
    from foreshock.connect.http import Auth, Http

MAX_BODY = 16 * 2**20
_AT_ONCE = 8
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
_COUNTED = ("_total", "_count", "_sum", "_bucket")


class OpenMetricsConfig(PollConfig):
    targets: tuple[str, ...] = Field(
        min_length=1,
        max_length=200,
        description="addresses; without a path it is /metrics",
        examples=[["http://db1.example.com:9100", "https://shop.example.com/actuator/prometheus"]],
    )
    metrics: tuple[Selected, ...] = Field(
        min_length=1,
        max_length=200,
        description="what is kept; the first that fits counts. Each series has the label instance, host and port of "
        "its target, where it does not bring one",
        examples=[[{"match": "node_load1", "worse": "up"}]],
    )
    every: Duration = Field(
        default=parse_duration("1m"),
        ge=timedelta(seconds=5),
        le=timedelta(days=1),
        description="how often each target is scraped",
    )
    token_file: Path | None = Field(default=None, description="file with a bearer token, mode 0600")
    user: str = Field(default="", description="user for basic authentication; its password stands in password_file")
    password_file: Path | None = Field(default=None, description="file with the password, mode 0600")
    ca_file: CaFile = None

    @field_validator("targets")
    @classmethod
    def _are_addresses(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for index, target in enumerate(targets):
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
                hint = "write http:// or https://, the host and the port"
                raise Invalid(f"{target!r} is no web address", hint=hint, path=(index,))
        return targets

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if bool(self.user) != (self.password_file is not None):
            raise Invalid("user and password_file belong together", hint="set both, or neither", path=("user",))
        if self.user and self.token_file is not None:
            raise Invalid("there are a user and a token_file", hint="keep one of them", path=("token_file",))
        return self


class OpenMetrics:
    """Scrapes the targets of one instance. http: reaches one of them, by its scheme, host and port."""

    def __init__(self, config: OpenMetricsConfig, http: "Mapping[str, Http]") -> None:
        self._config, self._http = config, http
        self._selector, self._keeper = Selector(config.metrics), Keeper()

    def fetch(self, cursor: str, now: datetime) -> Page:
        at_s = now.timestamp()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            scraped = list(threads.map(self._scraped, self._config.targets))
        failed = [each for each in scraped if isinstance(each, ForeshockError)]
        if failed and len(failed) == len(scraped):
            raise failed[0]
        problems = [str(each) for each in failed]
        points: list[tuple[int, float, float]] = []
        for target, answer in zip(self._config.targets, scraped, strict=True):
            found = None if isinstance(answer, ForeshockError) else answer
            try:
                points += self._points(target, found, at_s)
            except Malformed as error:
                problems.append(f"{target}: {error}")
        samples = self._samples(points)
        return Page(payloads=(msgspec.json.encode(samples),), cursor="", problems=tuple(problems[:10]))

    def _scraped(self, target: str) -> "tuple[str, bytes] | ForeshockError":
        """Content type and body."""
        parts = urlsplit(target)
        path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = self._http[target].get(path, headers={"Accept": _ACCEPT})
        except (Denied, Rejected) as error:
            return Rejected(f"{target}: {error}", hint=error.hint)
        except ForeshockError as error:
            return error
        return answer.headers.get("content-type", ""), answer.body

    def _points(self, target: str, answer: tuple[str, bytes] | None, at_s: float) -> Iterable[tuple[int, float, float]]:
        instance = urlsplit(target).netloc
        exposed = [] if answer is None else read(*answer)
        found = [(name, labels, counts, at or at_s, value) for name, labels, counts, at, value in exposed]
        found.append(("up", {}, False, at_s, 0.0 if answer is None else 1.0))
        points = []
        for name, labels, counts, at, value in found:
            kept = self._selector.kept({"instance": instance, **labels, "__name__": name}, counts=counts)
            if kept is not None and math.isfinite(value):
                points.append((self._keeper.place(kept), at, value))
        return points

    def _samples(self, points: Sequence[tuple[int, float, float]]) -> list[Samples]:
        import numpy as np

        columns = np.array(points or np.empty((0, 3)))
        return self._keeper.samples(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2])


Exposed = tuple[str, Mapping[str, str], bool | None, float | None, float]
"""Name, labels, whether it only grows (None: not said), time in seconds (None: now), value."""


def read(content_type: str, body: bytes) -> list[Exposed]:
    """The samples that a target exposes. Raises Malformed."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as classic

    parse = openmetrics if content_type.startswith("application/openmetrics-text") else classic
    found: list[Exposed] = []
    try:
        for family in parse(body.decode()):
            for sample in family.samples:
                at = None if sample.timestamp is None else float(sample.timestamp)
                counts = _counts(family.type, sample.name)
                found.append((sample.name, sample.labels, counts, at, float(sample.value)))
    # The parsers check little before they use it, so that what is wrong shows as any of these.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Malformed(f"what it exposes cannot be read: {str(error)[:200]}") from None
    return found


def _counts(kind: str, name: str) -> bool | None:
    if kind in ("unknown", "untyped"):
        return None
    return kind in ("counter", "histogram", "summary") and name.endswith(_COUNTED)


# ---- payload to samples ---------------------------------------------------------------------------------------------

decode = partial(
    decode_items, many=msgspec.json.Decoder(list[Samples]), one=msgspec.json.Decoder(Samples), what="series"
)


def translate(item: Samples, received_at: datetime) -> Samples:
    """As it was kept. Raises Malformed."""
    if not item.series.ci or not item.series.metric:
        raise Malformed("a series has no CI or no name")
    if len(item.times) != len(item.values) or list(item.times) != sorted(item.times):
        raise Malformed(f"{item.series.metric}: its times do not rise, or are not as many as its values")
    return item


def _build(name: str, config: OpenMetricsConfig) -> OpenMetrics:
    from foreshock.connect.http import Basic, Bearer, Http

    place = f"collectors.{name}"
    auth: Auth | None = None
    if config.token_file is not None:
        auth = Bearer(read_secret(config.token_file, f"{place}.token_file"))
    elif config.password_file is not None:
        auth = Basic(config.user, read_secret(config.password_file, f"{place}.password_file"))

    def http(target: str) -> Any:
        parts = urlsplit(target)
        return Http(
            f"openmetrics {name!r}",
            f"{parts.scheme}://{parts.netloc}",
            auth=auth,
            ca_file=config.ca_file,
            max_body_bytes=MAX_BODY,
            read_timeout_s=10.0,
        )

    return OpenMetrics(config, {target: http(target) for target in config.targets})


COLLECTOR = Collector(
    kind="openmetrics",
    title="Metrics that programs expose (OpenMetrics)",
    facts="OpenMetrics 1.0, Prometheus text format 0.0.4",
    decode=decode,
    translate=translate,
    sample="openmetrics.json",
    poll=Poll(config=OpenMetricsConfig, build=_build),
)
