"""Metrics and logs are sent to a Foreshock as it is installed; what it acknowledged survives that it is killed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from foreshock.store.history import ParquetHistory
from foreshock.testing.remote_write import compressed, request
from foreshock.testing.servers import ForeshockServer, eventually, free_port

PAIR = {
    "name": "QueueStuck",
    "fails": r"queue (?P<queue>\S+) is stuck",
    "recovers": r"queue (?P<queue>\S+) moves again",
}
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


@pytest.fixture
def places():
    return {"prom": free_port(), "otel": free_port()}


@pytest.fixture
def foreshock(places):
    collectors = [
        {
            "name": "prom",
            "kind": "remote_write",
            "listen": f"127.0.0.1:{places['prom']}",
            "metrics": [{"match": "load"}],
        },
        {
            "name": "otel",
            "kind": "otlp",
            "listen": f"127.0.0.1:{places['otel']}",
            "lines": {"pairs": [PAIR]},
        },
    ]
    with ForeshockServer(config={"collectors": collectors}) as server:
        for name in places:
            eventually(lambda name=name: source(server, name)["listening"]["address"], what=f"the listener {name}")
        yield server


def source(foreshock: ForeshockServer, name: str) -> dict:
    return next(each for each in foreshock.get("/api/v1/sources") if each["name"] == name)


def test_samples_that_were_acknowledged_are_there_after_foreshock_was_killed(foreshock, places):
    now_ms = round(time.time() * 1000)
    for number in range(20):
        body = request([({"__name__": "load", "instance": "db1"}, [(now_ms - 1000 * number, float(number))])])
        url = f"http://127.0.0.1:{places['prom']}/api/v1/write"
        answer = requests.post(url, data=compressed(body), headers=HEADERS, timeout=30)
        assert answer.status_code == 204
    foreshock.kill()

    history = eventually(lambda: ParquetHistory(foreshock.state / "metrics"), what="the history")
    now = datetime.now(UTC)
    [found] = history.read(now - timedelta(hours=1), now + timedelta(minutes=1), metric="load")

    assert sorted(found.values) == [float(number) for number in range(20)]
    assert found.series.ci == "db1"


def tell(places, severity, text):
    """By the exporter of OpenTelemetry's own SDK."""
    provider = LoggerProvider(resource=Resource.create({"host.name": "web1", "service.name": "shop"}))
    exporter = OTLPLogExporter(f"http://127.0.0.1:{places['otel']}/v1/logs")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("test").emit(LogRecord(severity_number=severity, body=text))
    provider.shutdown()


def test_a_log_record_of_an_error_becomes_an_incident_with_its_trace(foreshock, places):
    tell(places, SeverityNumber.ERROR, "payment 7 failed")

    [row] = eventually(foreshock.incidents, what="the incident")
    [alert] = foreshock.incident(row["id"])["alerts"]

    assert (alert["name"], alert["state"]) == ("payment * failed", "firing")


def test_a_log_record_that_says_it_is_over_ends_the_alert_of_the_one_before(foreshock, places):
    tell(places, SeverityNumber.ERROR, "queue mail is stuck")
    tell(places, SeverityNumber.ERROR, "queue mail is stuck")
    [row] = eventually(foreshock.incidents, what="the incident")

    def state():
        [alert] = foreshock.incident(row["id"])["alerts"]
        return alert["name"], alert["state"]

    assert state() == ("QueueStuck", "firing")
    tell(places, SeverityNumber.INFO, "queue mail moves again")
    eventually(lambda: state() == ("QueueStuck", "resolved"), what="the end of the alert")
