"""Logs and metrics from whatever speaks OpenTelemetry's protocol: its Collector, its SDKs, agents of others.

Facts:    https://opentelemetry.io/docs/specs/otlp/ from memory on 2026-11-22, opentelemetry-proto 1.45, and what the
          Python SDK 1.45 sends. Over HTTP (Protocol Buffers and JSON, gzip or plain), over gRPC where ``grpc`` is set.
Delivery: at least once: answered once lines are on disk and samples in the history. What cannot be kept now is
          answered with 503 (UNAVAILABLE), and OpenTelemetry's exporters send it again.
Recovery: none: a line of a log says nothing of an end. Its alert is over when it has not come again for `holds`, or
          when a line of a pair (`lines.pairs`) says so.
Limits:   32 MiB a request, 64 MiB without compression. Records with severity ERROR and worse become events, or what
          `lines` says; the others are counted by host, service and template. Metrics are kept where `metrics` selects
          them: gauges, sums (what only grows, as growth a second); histograms, also exponential ones, as ``NAME.count``
          and ``NAME.sum`` (a second) and ``NAME.p50``, ``.p95``, ``.p99`` of what came since the point before, which
          cumulative ones have from their second point on; summaries as count, sum and the quantiles they tell. Deltas
          that also fall, and traces, are left out and counted.
Needs:    an exporter at http://FORESHOCK:4318 (or gRPC at 4317, with the extra ``foreshock[grpc]``), below; resources
          with `host.name`, or names of Kubernetes, and `service.name`.
"""

import asyncio
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import Field, field_validator

from foreshock.connect.http_listener import Call, Guard, HttpListenConfig, HttpListener, Reply, split_address, text
from foreshock.connect.lines import Batch, LineCounter, LineRules, Sieve, decode_lines, encode_lines, event_of
from foreshock.connect.selecting import MAX_KNOWN, Keeper, Kept, Selected, Selector
from foreshock.core.contracts import Collector, Listen, Outcome, Outlet
from foreshock.core.errors import ConfigError, Malformed, Problem, Unavailable

MAX_DECOMPRESSED = 64 * 2**20
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"


class SelectedMetric(Selected):
    ci: tuple[str, ...] = Field(
        default=("host.name", "k8s.pod.name", "k8s.node.name", "service.name"),
        min_length=1,
        description="attributes whose value names the CI; the first that is there",
    )
    dimension: tuple[str, ...] | None = Field(
        default=None,
        description="attributes that tell several series of one CI apart; left out: service.name and those of the "
        "point. Of series that are then the same, the last point holds",
    )


class OtlpConfig(HttpListenConfig):
    listen: str = Field(default="127.0.0.1:4318", description="address and port for HTTP")
    grpc: str = Field(default="", description="address and port for gRPC; empty: none", examples=["127.0.0.1:4317"])
    lines: LineRules = Field(default_factory=LineRules, description="which log records become events")
    metrics: tuple[SelectedMetric, ...] = Field(
        default=(),
        max_length=200,
        description="which metrics are kept; the first that fits counts, others are left out",
        examples=[[{"match": '{__name__=~"http.server.*.duration"}', "worse": "up"}]],
    )

    @field_validator("grpc")
    @classmethod
    def _is_an_address_or_empty(cls, grpc: str) -> str:
        if grpc:
            split_address(grpc)
        return grpc


class Otlp:
    """Listens for one instance."""

    def __init__(self, instance: str, config: OtlpConfig) -> None:
        from foreshock.connect.vendors.otlp import Metrics, Reader

        self._config, self._place = config, f"collectors.{instance}"
        self._server = HttpListener(config, self._place, self._post)
        self._counter = LineCounter(config.lines)
        self._reader = Reader(Sieve(config.lines), self._counter)
        self._metrics = Metrics(lambda name: bool(config.metrics))
        self._selector, self._keeper = Selector(config.metrics), Keeper()
        self._known: dict[tuple[Any, ...], Kept | None] = {}
        self._outlet: Outlet
        self._grpc = Rpc(config, self._place, self.logs, self.metrics) if config.grpc else None

    async def run(self, outlet: Outlet) -> None:
        self._outlet = outlet
        addresses: list[str] = []

        def announce(address: str) -> None:
            addresses.append(address)
            outlet.listens(", ".join(sorted(addresses, reverse=True)))

        serving = [self._server.run(outlet, announce), self._keep_counting()]
        if self._grpc is not None:
            serving.append(self._grpc.run(announce))
        tasks = [asyncio.ensure_future(each) for each in serving]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            with suppress(Unavailable):
                await outlet.measure(self._counter.samples(time.time()))

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(self._config.lines.count_every.total_seconds())
            self._outlet.show(self._counter.tops())
            with suppress(Unavailable):  # they stay uncounted; the next ones are told
                await self._outlet.measure(self._counter.samples(time.time()))

    # ---- requests ----

    async def logs(self, request: Any, *, in_json: bool = False) -> None:
        """Returns once its records are kept. Raises Unavailable."""
        batch = Batch()
        records = self._reader.read(request, batch, in_json=in_json)
        events = batch.lines
        if batch:
            lines = batch.take()
            await self._outlet.take(encode_lines(lines), items=len(lines))
        self._outlet.count(Outcome.IGNORED, records - events)

    async def metrics(self, request: Any, *, in_json: bool = False) -> None:
        """The same for metrics."""
        import numpy as np

        ignored, histograms = self._metrics.ignored, self._metrics.growths.begin()
        read = [
            (self._keeper.place(kept), point.at_s, point.value)
            for point in self._metrics.read(request)
            if (kept := self._kept(point)) is not None
        ]
        columns = np.array(read or np.empty((0, 3)))
        columns = columns[np.isfinite(columns).all(axis=1)]
        places = columns[:, 0].astype(np.int64)
        before = self._keeper.state(places)
        try:
            await self._outlet.measure(self._keeper.samples(places, columns[:, 1], columns[:, 2]))
        except Unavailable:
            self._keeper.restore(before)
            self._metrics.growths.restore(histograms)
            raise
        self._outlet.count(Outcome.RECEIVED, len(read))
        self._outlet.count(Outcome.IGNORED, self._metrics.ignored - ignored)

    def _kept(self, point: Any) -> Kept | None:
        series = (point.name, point.counts, point.unit, *sorted(point.labels.items()))
        if series not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            own = sorted({*point.own, "service.name"})
            kept = self._selector.kept(point.labels, unit=point.unit, counts=point.counts, own=own)
            if kept is not None and point.name != point.labels["__name__"]:  # a part of a histogram
                suffix = point.name[len(point.labels["__name__"]) :]
                kept = kept.part(suffix, point.unit)
            self._known[series] = kept
        if self._known[series] is None:
            self._metrics.ignored += 1
        return self._known[series]

    # ---- HTTP ----

    async def _post(self, call: Call) -> Reply:
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

        if call.path not in ("/v1/logs", "/v1/metrics"):
            return text(404, "here are /v1/logs and /v1/metrics; traces are not taken")
        if call.method != "POST":
            return text(405, "post requests of OTLP here", {"Allow": "POST"})
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_PROTOBUF, _JSON):
            return text(415, f"the content type must be {_PROTOBUF} or {_JSON}")
        of_logs = call.path == "/v1/logs"
        request: Any = logs.ExportLogsServiceRequest() if of_logs else metrics.ExportMetricsServiceRequest()
        answer: Any = logs.ExportLogsServiceResponse() if of_logs else metrics.ExportMetricsServiceResponse()
        try:
            read(request, decompress(call.body, call.headers.get("content-encoding", "")), kind)
        except Malformed as error:
            self._outlet.count(Outcome.REJECTED)
            return _status(400, str(error), kind)
        take = self.logs if of_logs else self.metrics
        await take(request, in_json=kind == _JSON)
        body = answer.SerializeToString() if kind == _PROTOBUF else b"{}"
        return Reply(status=200, body=body, headers={"Content-Type": kind})


def decompress(body: bytes, encoding: str) -> bytes:
    """Raises Malformed."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() != "gzip":
        raise Malformed(f"the content encoding {encoding[:50]!r} is not taken", hint="send gzip or none")
    try:
        reader = zlib.decompressobj(31)
        found = reader.decompress(body, MAX_DECOMPRESSED)
    except zlib.error as error:
        raise Malformed(f"the body is no gzip: {error}") from None
    if reader.unconsumed_tail:
        raise Malformed(f"the request has more than {MAX_DECOMPRESSED} bytes without compression")
    if not reader.eof:
        raise Malformed("the body ends before its gzip does")
    return found


def read(request: Any, body: bytes, kind: str) -> None:
    """Into the message ``request``. Raises Malformed."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        if kind == _PROTOBUF:
            request.ParseFromString(body)
        else:
            json_format.Parse(body.decode(), request, ignore_unknown_fields=True, max_recursion_depth=50)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Malformed(f"the request cannot be read: {str(error)[:300]}") from None


def _status(status: int, why: str, kind: str) -> Reply:
    """A google.rpc.Status, which OTLP answers errors with: field 2 is the message."""
    if kind == _JSON:
        import msgspec

        return Reply(status=status, body=msgspec.json.encode({"message": why}), headers={"Content-Type": kind})
    words = why.encode(errors="replace")[:127]
    return Reply(status=status, body=b"\x12" + bytes([len(words)]) + words, headers={"Content-Type": kind})


# ---- gRPC -----------------------------------------------------------------------------------------------------------


class Rpc:
    """The same over gRPC. Raises ConfigError where grpcio is missing, or a file cannot be read."""

    def __init__(self, config: OtlpConfig, place: str, logs: Callable[..., Any], metrics: Callable[..., Any]) -> None:
        try:
            import grpc  # type: ignore[import-untyped]
        except ImportError:
            problem = Problem(
                file="", line=None, path=f"{place}.grpc", message="gRPC needs a library that is not installed",
                hint="install foreshock[grpc], or let senders use HTTP",
            )  # fmt: skip
            raise ConfigError([problem]) from None
        self._config, self._library, self._guard = config, grpc, Guard(config, place)
        self._logs, self._metrics = logs, metrics

    async def run(self, announce: Callable[[str], None]) -> None:
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

        grpc: Any = self._library
        server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", MAX_DECOMPRESSED), ("grpc.so_reuseport", 0)]
        )
        services = (
            ("logs.v1.LogsService", logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse, self._logs),
            (
                "metrics.v1.MetricsService",
                metrics.ExportMetricsServiceRequest,
                metrics.ExportMetricsServiceResponse,
                self._metrics,
            ),
        )
        for name, request, response, take in services:
            handler = grpc.unary_unary_rpc_method_handler(
                self._answering(take, response), request.FromString, response.SerializeToString
            )
            full = f"opentelemetry.proto.collector.{name}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full, {"Export": handler}),))
        credentials = self._credentials()
        try:
            port = (
                server.add_insecure_port(self._config.grpc)
                if credentials is None
                else server.add_secure_port(self._config.grpc, credentials)
            )
        except RuntimeError as error:
            raise Unavailable(f"{self._config.grpc} cannot be listened on: {error}") from None
        await server.start()
        announce(f"grpc {split_address(self._config.grpc)[0]}:{port}")
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(10)

    def _answering(self, take: Callable[..., Any], response: Any) -> Callable[..., Any]:
        grpc: Any = self._library

        async def answer(request: Any, context: Any) -> Any:
            headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
            if not self._guard.admits(headers):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the credentials are missing or wrong")
            try:
                await take(request)
            except Unavailable as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            return response()

        return answer

    def _credentials(self) -> Any:
        config = self._config
        if config.certificate is None or config.certificate_key is None:
            return None
        authorities = config.client_ca.read_bytes() if config.client_ca is not None else None
        return self._library.ssl_server_credentials(
            [(config.certificate_key.read_bytes(), config.certificate.read_bytes())],
            root_certificates=authorities,
            require_client_auth=authorities is not None,
        )


COLLECTOR = Collector(
    kind="otlp",
    title="Logs and metrics by OpenTelemetry's protocol",
    facts="OTLP 1 over HTTP and gRPC",
    decode=decode_lines,
    translate=event_of,
    sample="otlp.json",
    listen=Listen(config=OtlpConfig, build=Otlp),
    expires=True,
)
