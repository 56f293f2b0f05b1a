"""Metrics that Prometheus, or an agent that speaks its remote write (1.0 and 2.0), sends by itself.

Facts:    https://prometheus.io/docs/specs/prw/remote_write_spec/ and remote_write_spec_2_0/, from memory on 2026-11-22;
          version 1 as sent by Prometheus 2.42 (native histograms too) and recorded in tests/samples, and by vmagent
          1.79. UNVERIFIED: version 2 by a real sender; none is in Debian 12, PyPI or npm.
          Prometheus sends again after 5xx, not after 4xx, and after 429 only where `retry_on_http_429` is set: so what
          cannot be kept now is answered with 503.
Delivery: at least once: 204 is answered once the samples are in the history and synced. A point that comes again
          counts once; points may come in any order.
Recovery: none: samples alone are no alerts. A series that ends (stale marker) has no further points.
Limits:   32 MiB a request, 64 MiB and 100,000 series without compression; samples older than `oldest` or more than ten
          minutes ahead are refused with 400, the others of the request are kept. Exemplars, metadata, and native
          histograms that are gauges, are counted and left out. Of a counter the growth a second is kept, so its first
          point after a start, or after ten minutes of silence, has none. Of a native histogram ``NAME_count`` and
          ``NAME_sum`` (a second) and ``NAME_p50``, ``_p95``, ``_p99`` of what came since the point before are kept.
          Up to 300,000 series are remembered, also those that are not selected: select on the other side what is sent
          at all.
Needs:    an entry in ``remote_write`` of prometheus.yml, below; a token in a file where it comes from another machine.
"""

import math
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from pydantic import Field

from foreshock.connect.histograms import Growths, Observed
from foreshock.connect.http_listener import Call, HttpListenConfig, HttpListener, Reply, text
from foreshock.connect.selecting import Keeper, Selected, Selector
from foreshock.connect.vendors.remote_write import Decoder, Request, series_of
from foreshock.core.contracts import Collector, Listen, Outcome, Outlet
from foreshock.core.errors import Malformed, Unavailable
from foreshock.core.model import Samples
from foreshock.core.quantities import Duration, parse_duration

MAX_DECOMPRESSED = 64 * 2**20
_AHEAD_S = 600.0
_FIRST, _SECOND = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
_DEFAULT = (Selected(match='{__name__=~".+"}', rate=False),)


class RemoteWriteConfig(HttpListenConfig):
    listen: str = Field(default="127.0.0.1:9201", description="address and port to listen on")
    metrics: tuple[Selected, ...] = Field(
        min_length=1,
        max_length=200,
        description="what is kept; the first that fits counts, other series are left out",
        examples=[
            [
                {"match": "node_load1", "worse": "up"},
                {
                    "match": 'node_disk_read_time_seconds_total{device!~"loop.*"}',
                    "dimension": ["device"],
                    "worse": "up",
                },
            ]
        ],
    )
    oldest: Duration = Field(
        default=parse_duration("1d"),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="samples older than this are refused",
    )


class RemoteWrite:
    """Listens for one instance."""

    def __init__(self, instance: str, config: RemoteWriteConfig) -> None:
        self._config = config
        self._selector = Selector(config.metrics)
        self._server = HttpListener(config, f"collectors.{instance}", self._post)
        self._keeper, self._growths = Keeper(), Growths()
        self._decoder = Decoder(self._place)
        self._outlet: Outlet

    async def run(self, outlet: Outlet) -> None:
        self._outlet = outlet
        await self._server.run(outlet)

    async def _post(self, call: Call) -> Reply:
        if call.method != "POST":
            return text(405, "post requests of remote write here", {"Allow": "POST"})
        kind, _, rest = call.headers.get("content-type", "").partition(";")
        proto = rest.partition("proto=")[2].strip(' "') or _FIRST
        if kind.strip().lower() != "application/x-protobuf" or proto not in (_FIRST, _SECOND):
            return text(415, f"the content type must be application/x-protobuf, of {_FIRST} or {_SECOND}")
        if call.headers.get("content-encoding", "").lower() != "snappy":
            return text(415, "the content encoding must be snappy")
        try:
            request = self._decoder.read(decompress(call.body))
        except Malformed as error:
            self._outlet.count(Outcome.REJECTED)
            return text(400, str(error), _written(0, 0))
        before, histograms = self._keeper.state(request.places), self._growths.begin()
        samples, late, late_histograms = self._samples(request, time.time())
        try:
            await self._outlet.measure(samples)
        except Unavailable:
            self._keeper.restore(before)  # the same samples come again
            self._growths.restore(histograms)
            raise
        written = request.samples - late, request.histograms - late_histograms
        late += late_histograms
        self._count(request, late)
        refused = late + request.refused_samples
        headers = _written(*written) if proto == _SECOND else {}
        if not refused:
            return Reply(status=204, headers=headers)
        why = [*request.refused, *([f"{late} are older than {self._config.oldest}, or ahead of time"] * bool(late))]
        return text(400, f"{refused} samples were refused, the others are kept: {'; '.join(why)}", headers)

    def _count(self, request: Request, late: int) -> None:
        kept = len(request.places) + len(request.observed)
        self._outlet.count(Outcome.RECEIVED, request.samples + request.histograms)
        self._outlet.count(Outcome.LATE, late)
        self._outlet.count(Outcome.REJECTED, request.refused_samples)
        passed = max(0, request.samples + request.histograms - kept)
        self._outlet.count(Outcome.IGNORED, passed + request.exemplars + request.metadata)

    def _place(self, labels: Mapping[str, str]) -> int:
        kept = self._selector.kept(labels)
        return -1 if kept is None else self._keeper.place(kept)

    def _samples(self, request: Request, now_s: float) -> tuple[list[Samples], int, int]:
        """Of the series that are selected; and how many samples and histograms were too old or ahead of time."""
        import numpy as np

        oldest, newest = now_s - self._config.oldest.total_seconds(), now_s + _AHEAD_S
        times = request.times / 1000
        fitting = (times >= oldest) & (times <= newest)
        good = fitting & np.isfinite(request.values)
        timely = [(place, each) for place, each in request.observed if oldest <= each.at_s <= newest]
        parts = np.array([part for place, each in timely for part in self._parts(place, each)] or np.empty((0, 3)))
        samples = self._keeper.samples(
            np.concatenate([request.places[good], parts[:, 0].astype(np.int64)]),
            np.concatenate([times[good], parts[:, 1]]),
            np.concatenate([request.values[good], parts[:, 2]]),
        )
        return samples, len(times) - int(fitting.sum()), len(request.observed) - len(timely)

    def _parts(self, place: int, observed: Observed) -> Iterator[tuple[int, float, float]]:
        """Place, time and value of the series that are made of a native histogram."""
        grown = self._growths.of(place, observed)
        if grown is not None:
            kept = self._keeper.kept(place)
            for name, value in grown.parts():
                unit = "1/s" if name == "count" else kept.series.unit
                yield self._keeper.place(kept.part(f"_{name}", unit)), observed.at_s, value


def _written(samples: int, histograms: int) -> Mapping[str, str]:
    """What a sender of version 2 is told of its request."""
    prefix = "X-Prometheus-Remote-Write"
    return {f"{prefix}-Samples-Written": str(samples), f"{prefix}-Histograms-Written": str(histograms),
            f"{prefix}-Exemplars-Written": "0"}  # fmt: skip


def decompress(body: bytes) -> bytes:
    """Raises Malformed where it is no Snappy block, or one that would become too large."""
    import cramjam

    try:
        length = cramjam.snappy.decompress_raw_len(body)
        if length > MAX_DECOMPRESSED:
            raise Malformed(f"the request has {length} bytes without compression, {MAX_DECOMPRESSED} are allowed")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Malformed(f"the body is no Snappy block: {error}") from None


# ---- a request by itself, for `decode` of the collector -------------------------------------------------------------


class Item(Struct):
    """One series. times: milliseconds since 1970."""

    labels: dict[str, str]
    times: list[int]
    values: list[float]


def decode(payload: bytes) -> list[Item]:
    """The series of one request. Raises Malformed."""
    found = series_of(decompress(payload))
    if not found:
        raise Malformed("the request has no samples")
    return [Item(*each) for each in found]


def translate(item: Item, received_at: datetime) -> Samples:
    """As it is kept where nothing else is set: by the label instance, without a rate. Raises Malformed."""
    kept = Selector(_DEFAULT).kept(item.labels)
    if kept is None:
        raise Malformed(f"{item.labels.get('__name__')}: the series has no label instance")
    points = [(at / 1000, value) for at, value in zip(item.times, item.values, strict=True) if math.isfinite(value)]
    return Samples(series=kept.series, times=[at for at, _ in points], values=[value for _, value in points])


def _build(name: str, config: RemoteWriteConfig) -> RemoteWrite:
    return RemoteWrite(name, config)


COLLECTOR = Collector(
    kind="remote_write",
    title="Metrics that Prometheus sends (remote write)",
    facts="Prometheus remote write 1.0 and 2.0",
    decode=decode,
    translate=translate,
    sample="remote-write.snappy",
    listen=Listen(config=RemoteWriteConfig, build=_build),
)
