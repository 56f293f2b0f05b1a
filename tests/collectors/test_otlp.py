"""The listener for OTLP, and what real exporters of OpenTelemetry's SDK send to it."""

import asyncio
import gzip
import json
import time
from contextlib import asynccontextmanager

import pytest
import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from collectors import otlp
from collectors.otlp import OtlpConfig
from foreshock.core.contracts import Outcome
from foreshock.core.errors import Unavailable
from foreshock.core.model import read_annotations, read_labels
from foreshock.testing.fakes import Taken
from foreshock.testing.records import NOON

RESOURCE = {"host.name": "host-a", "service.name": "shop", "k8s.namespace.name": "eu"}
PROTOBUF, JSON = {"Content-Type": "application/x-protobuf"}, {"Content-Type": "application/json"}
ALL = [{"match": '{__name__=~".+"}'}]


async def until(holds) -> None:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(outlet: Taken, **settings):
    """Its addresses: of HTTP, then of gRPC."""
    config = OtlpConfig.model_validate({"listen": "127.0.0.1:0", **settings})
    running = asyncio.create_task(otlp.COLLECTOR.listen.build("otel", config).run(outlet))
    await until(lambda: len(outlet.addresses) > bool(config.grpc) or running.done())
    try:
        yield outlet.addresses[-1].split(", ")
    finally:
        running.cancel()
        await asyncio.wait([running])


def sending(send, outlet=None, **settings) -> Taken:
    """What came of what ``send`` sent in a thread, given the addresses."""
    outlet = outlet or Taken()

    async def run():
        async with listening(outlet, **settings) as addresses:
            await asyncio.to_thread(send, *addresses)

    asyncio.run(run())
    return outlet


def post(outlet, path, body, headers, **settings):
    answers = []

    def send(url):
        answers.append(requests.post(url + path, data=body, headers=headers, timeout=10))

    sending(send, outlet, **settings)
    return answers[0]


def events(outlet: Taken):
    items = [item for _, payload in outlet.payloads for item in otlp.COLLECTOR.decode(payload)]
    return [otlp.COLLECTOR.translate(item, NOON) for item in items]


def written(exporter) -> None:
    provider = LoggerProvider(resource=Resource.create(RESOURCE))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("test")
    failed = LogRecord(severity_number=SeverityNumber.ERROR, body="disk b failed", attributes={"volume": "b"})
    logger.emit(failed)
    logger.emit(LogRecord(severity_number=SeverityNumber.INFO, body="all is well with order 17"))
    provider.shutdown()


def measured(exporter) -> None:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=10**9)
    provider = MeterProvider([reader], resource=Resource.create(RESOURCE))
    meter = provider.get_meter("test")
    orders, latency = meter.create_counter("orders"), meter.create_histogram("latency", "s")
    meter.create_gauge("queue.depth").set(7)
    for _ in range(2):
        for _ in range(10):
            orders.add(1, {"region": "eu"})
            latency.record(3.0)
        reader.force_flush()
        time.sleep(0.01)
    provider.shutdown()


def assert_logs(outlet: Taken) -> None:
    [event] = events(outlet)
    labels, said = read_labels(event.labels), read_annotations(event.annotations)
    assert labels["alertname"] == "disk b failed"
    assert (labels["host"], labels["app"], labels["service"], labels["namespace"]) == ("host-a", "shop", "shop", "eu")
    assert event.severity == "err"
    assert said["volume"] == "b"
    assert event.ends_at is not None
    assert outlet.counts[Outcome.IGNORED] == 1
    assert [(each.series.ci, each.series.metric) for each in outlet.samples] == [("host-a", "log_lines")]


def assert_metrics(outlet: Taken) -> None:
    found = {each.series.metric: each for each in outlet.samples}
    assert set(found) == {
        "orders", "queue.depth", *(f"latency.{part}" for part in ("count", "sum", "p50", "p95", "p99"))
    }  # fmt: skip
    assert {each.series.ci for each in outlet.samples} == {"host-a"}
    assert found["queue.depth"].values[0] == 7.0
    assert found["orders"].series.dimension == "region=eu,service.name=shop"
    assert max(each.values[0] for each in outlet.samples if each.series.metric == "orders") > 0
    assert 0 < found["latency.p95"].values[0] <= 5.0
    assert found["latency.p95"].series.unit == "s"


# ---- real exporters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_logs_of_the_sdk_come_in_over_http(compression):
    assert_logs(sending(lambda url: written(OTLPLogExporter(f"{url}/v1/logs", compression=compression))))


def test_metrics_of_the_sdk_come_in_over_http():
    assert_metrics(sending(lambda url: measured(OTLPMetricExporter(f"{url}/v1/metrics")), metrics=ALL))


def test_logs_and_metrics_of_the_sdk_come_in_over_grpc():
    pytest.importorskip("grpc")
    grpc_logs = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc._log_exporter")
    grpc_metrics = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc.metric_exporter")

    def address(place: str) -> str:
        return place.removeprefix("grpc ")

    assert_logs(
        sending(lambda _, place: written(grpc_logs.OTLPLogExporter(address(place), insecure=True)), grpc="127.0.0.1:0")
    )
    assert_metrics(
        sending(
            lambda _, place: measured(grpc_metrics.OTLPMetricExporter(address(place), insecure=True)),
            grpc="127.0.0.1:0",
            metrics=ALL,
        )
    )


def test_over_grpc_too_senders_must_show_the_token(tmp_path):
    grpc = pytest.importorskip("grpc")
    token = tmp_path / "token"
    token.write_text("sesame")
    token.chmod(0o600)
    refused = []

    def send(_, place):
        with grpc.insecure_channel(place.removeprefix("grpc ")) as channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            export(b"", metadata=[("authorization", "Bearer sesame")], timeout=10)
            with pytest.raises(grpc.RpcError) as error:
                export(b"", timeout=10)
            refused.append(error.value.code())

    sending(send, grpc="127.0.0.1:0", token_files=[token])

    assert refused == [grpc.StatusCode.UNAUTHENTICATED]


# ---- requests -------------------------------------------------------------------------------------------------------

LOG = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "k8s.pod.name", "value": {"stringValue": "shop-7d"}}]},
            "scopeLogs": [
                {
                    "logRecords": [
                        {
                            "timeUnixNano": "1795316996935324160",
                            "severityNumber": 21,
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "body": {"kvlistValue": {"values": [{"key": "code", "value": {"intValue": "7"}}]}},
                            "unknown": 1,
                        }
                    ]
                }
            ],
        }
    ]
}


def test_json_is_read_with_its_ids_as_they_are():
    outlet = Taken()
    answer = post(outlet, "/v1/logs", json.dumps(LOG), JSON)

    assert (answer.status_code, answer.json(), answer.headers["Content-Type"]) == (200, {}, "application/json")
    [event] = events(outlet)
    said = read_annotations(event.annotations)
    assert said["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert said["span_id"] == "eee19b7ec3c1b174"
    assert said["summary"] == '{"code": 7}'
    assert read_labels(event.labels)["host"] == "shop-7d"
    assert event.severity == "crit"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        pytest.param("/v1/logs", b"\x0a\x7f", PROTOBUF, 400, id="cut off"),
        pytest.param("/v1/logs", b"{", JSON, 400, id="no JSON"),
        pytest.param("/v1/logs", b'{"resourceLogs": 7}', JSON, 400, id="another shape"),
        pytest.param("/v1/logs", b"[" * 100_000, JSON, 400, id="deep"),
        pytest.param("/v1/metrics", b"x", PROTOBUF | {"Content-Encoding": "gzip"}, 400, id="no gzip"),
        pytest.param("/v1/metrics", gzip.compress(bytes(70 * 2**20)), PROTOBUF | {"Content-Encoding": "gzip"}, 400,
                     id="a bomb"),
        pytest.param("/v1/metrics", b"", PROTOBUF | {"Content-Encoding": "br"}, 400, id="another compression"),
        pytest.param("/v1/logs", b"", {"Content-Type": "text/plain"}, 415, id="another type"),
        pytest.param("/v1/traces", b"", PROTOBUF, 404, id="traces"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_for_good(path, body, headers, status):
    outlet = Taken()

    assert post(outlet, path, body, headers).status_code == status
    assert (outlet.payloads, outlet.samples) == ([], [])


def test_what_cannot_be_kept_now_is_to_be_sent_again():
    outlet = Taken()
    outlet.refuse = Unavailable("the disk is full")

    answer = post(outlet, "/v1/logs", json.dumps(LOG), JSON)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_lines_alike_in_one_request_are_one_event_with_their_number():
    request = logs.ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(5):
        record = records.add(severity_number=17)
        record.body.string_value = f"order {number} failed"
    outlet = Taken()
    post(outlet, "/v1/logs", request.SerializeToString(), PROTOBUF)

    [event] = events(outlet)

    assert read_annotations(event.annotations)["lines"] == "5"
    assert read_labels(event.labels)["alertname"] == "order * failed"


def test_a_rule_may_make_events_of_what_is_not_severe():
    request = logs.ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "auth"
    for text in ("login refused", "login granted"):
        resource.scope_logs.add().log_records.add(severity_text="INFO").body.string_value = text
    outlet = Taken()
    rules = {"events": ['service="auth", text=~".*refused"']}
    post(outlet, "/v1/logs", request.SerializeToString(), PROTOBUF, lines=rules)

    assert [read_labels(event.labels)["alertname"] for event in events(outlet)] == ["login refused"]


def point(request, kind: str, at_s: float, start_s: float = 0.0, **fields):
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "a"
    metric = resource.scope_metrics.add().metrics.add(name="m")
    getattr(metric, kind).SetInParent()
    data = getattr(metric, kind)
    found = data.data_points.add(time_unix_nano=int(at_s * 1e9), start_time_unix_nano=int(start_s * 1e9), **fields)
    return data, found


def test_a_delta_is_kept_as_growth_a_second_and_what_falls_too_is_left_out():
    request = metrics.ExportMetricsServiceRequest()
    data, _ = point(request, "sum", 110.0, 100.0, as_double=20.0)
    data.is_monotonic, data.aggregation_temporality = True, 1
    data, _ = point(request, "sum", 120.0, 110.0, as_double=20.0)
    data.aggregation_temporality = 1
    outlet = Taken()
    post(outlet, "/v1/metrics", request.SerializeToString(), PROTOBUF, metrics=ALL)

    assert [(list(each.times), list(each.values)) for each in outlet.samples] == [([110.0], [2.0])]
    assert outlet.counts[Outcome.IGNORED] == 1


def test_what_could_not_be_kept_loses_no_growth_of_a_histogram_when_it_comes_again():
    bodies = []
    for at_s, counts in ((100.0, [0, 10, 0]), (110.0, [0, 30, 0])):
        request = metrics.ExportMetricsServiceRequest()
        data, found = point(request, "histogram", at_s, 1.0, count=sum(counts))
        data.aggregation_temporality = 2
        found.explicit_bounds.extend([1.0, 2.0])
        found.bucket_counts.extend(counts)
        bodies.append(request.SerializeToString())
    outlet, answers = Taken(), []

    def send(url):
        for body, refuse in ((bodies[0], None), (bodies[1], Unavailable("full")), (bodies[1], None)):
            outlet.refuse = refuse
            answers.append(requests.post(f"{url}/v1/metrics", data=body, headers=PROTOBUF, timeout=10).status_code)

    sending(send, outlet, metrics=ALL)

    assert answers == [200, 503, 200]
    assert {each.series.metric: list(each.values) for each in outlet.samples} == {
        "m.count": [2.0], "m.p50": [1.5], "m.p95": [1.95], "m.p99": [1.99],
    }  # fmt: skip


def test_metrics_that_nobody_selected_are_counted():
    request = metrics.ExportMetricsServiceRequest()
    point(request, "gauge", 110.0, as_double=20.0)
    point(request, "summary", 110.0)
    outlet = Taken()
    post(outlet, "/v1/metrics", request.SerializeToString(), PROTOBUF)

    assert outlet.samples == []
    assert outlet.counts[Outcome.IGNORED] == 2


def kept_of(*requests_: metrics.ExportMetricsServiceRequest) -> dict[str, list[float]]:
    outlet = Taken()

    def send(url):
        for each in requests_:
            body = each.SerializeToString()
            assert requests.post(f"{url}/v1/metrics", data=body, headers=PROTOBUF, timeout=10).status_code == 200

    sending(send, outlet, metrics=ALL)
    found: dict[str, list[float]] = {}
    for each in outlet.samples:
        found.setdefault(each.series.metric, []).extend(round(value, 3) for value in each.values)
    return found


def exponential(at_s: float, counts: list[int], *, temporality: int, scale=0, offset=2, total=0.0):
    """Of scale 0 the first of ``counts`` is of 4 < value <= 8."""
    request = metrics.ExportMetricsServiceRequest()
    data, found = point(request, "exponential_histogram", at_s, at_s - 10, count=sum(counts), scale=scale, sum=total)
    data.aggregation_temporality = temporality
    found.positive.offset = offset
    found.positive.bucket_counts.extend(counts)
    return request


def test_an_exponential_histogram_is_kept_as_count_sum_and_quantiles_also_over_a_change_of_scale():
    first = exponential(100.0, [0, 4, 0, 0], temporality=2, scale=1, total=40.0)  # 2.83 < value <= 4, two buckets each
    second = exponential(110.0, [4, 20, 20], temporality=2, offset=1, total=240.0)

    found = kept_of(first, second)

    assert found == {"m.count": [4.0], "m.sum": [20.0], "m.p50": [8.0], "m.p95": [14.929], "m.p99": [15.78]}


def test_of_a_delta_each_exponential_histogram_stands_for_itself():
    found = kept_of(exponential(100.0, [10, 0], temporality=1, total=50.0))

    assert (found["m.count"], found["m.sum"], found["m.p50"]) == ([1.0], [5.0], [round(4 * 2**0.5, 3)])


def test_an_exponential_histogram_that_cannot_be_is_left_out_and_counted():
    outlet = Taken()
    post(
        outlet,
        "/v1/metrics",
        exponential(100.0, [1], temporality=1, scale=99).SerializeToString(),
        PROTOBUF,
        metrics=ALL,
    )

    assert outlet.samples == []
    assert outlet.counts[Outcome.IGNORED] == 1


def test_a_summary_is_kept_with_the_quantiles_it_tells():
    bodies = []
    for at_s, count in ((100.0, 10), (110.0, 30)):
        request = metrics.ExportMetricsServiceRequest()
        _, found = point(request, "summary", at_s, 1.0, count=count, sum=2.0 * count)
        for quantile, value in ((0.5, 1.0), (0.999, 9.0)):
            found.quantile_values.add(quantile=quantile, value=value)
        bodies.append(request)

    assert kept_of(*bodies) == {"m.count": [2.0], "m.sum": [4.0], "m.p50": [1.0, 1.0], "m.p99.9": [9.0, 9.0]}
