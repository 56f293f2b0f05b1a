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
        {"name": "otel", "kind": "otlp", "listen": f"127.0.0.1:{places['otel']}"},
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


def test_a_log_record_of_an_error_becomes_an_incident_with_its_trace(foreshock, places):
    provider = LoggerProvider(resource=Resource.create({"host.name": "web1", "service.name": "shop"}))
    exporter = OTLPLogExporter(f"http://127.0.0.1:{places['otel']}/v1/logs")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("test").emit(LogRecord(severity_number=SeverityNumber.ERROR, body="payment 7 failed"))
    provider.shutdown()

    [row] = eventually(foreshock.incidents, what="the incident")
    [alert] = foreshock.incident(row["id"])["alerts"]

    assert (alert["name"], alert["state"]) == ("payment * failed", "firing")
