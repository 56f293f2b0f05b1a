"""Remote write and OTLP at full speed, beside Prometheus's own receiver of remote write.

    python benchmarks/collectors_metrics.py [--rounds 40] [--series 10000] [--reps 3]

Remote write: the same requests go to a whole ``foreshock run`` and to Prometheus, in turn, from four connections. Both
answer once the samples are kept: Foreshock syncs the tenth that its settings select, Prometheus keeps all in its log,
which it does not sync for each request. Then, in one process: decoding by itself, which is the floor, and log records
by OTLP, of which one in a hundred is an error.
"""

import argparse
import asyncio
import http.client
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from collectors.otlp import Otlp, OtlpConfig
from collectors.remote_write import decompress
from foreshock.connect.http_listener import Call
from foreshock.connect.vendors.remote_write import Decoder
from foreshock.testing.fakes import Taken
from foreshock.testing.remote_write import compressed, request, request_2
from foreshock.testing.servers import ForeshockServer, Prometheus, eventually, free_port, missing

TARGET, LOGS_TARGET = 150_000, 50_000
_CONNECTIONS, _PER_REQUEST, _STEP_MS = 4, 2000, 15_000
_HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


class Run(NamedTuple):
    """cpu_s: of all processes of the receiver; own_s: of that which listens."""

    seconds: float
    cpu_s: float
    own_s: float


def series(number: int) -> list[dict[str, str]]:
    """A hundred metrics of each host, as long as those of a node exporter."""
    return [
        {
            "__name__": f"node_metric_{at % 100:02}{'_total' if at % 2 else ''}",
            "instance": f"host{at // 100:03}.example.com:9100",
            "job": "node",
            "cluster": "eu-1",
            "device": f"sd{at % 7}",
            "environment": "production",
        }
        for at in range(number)
    ]


def bodies(rounds: int, names: Sequence[dict[str, str]], make: Callable[..., bytes] = request) -> list[list[bytes]]:
    """By connection: each has series of its own, so that their samples come in order."""
    begin = round(time.time() * 1000) - rounds * _STEP_MS
    found: list[list[bytes]] = []
    for connection in range(_CONNECTIONS):
        mine = names[connection::_CONNECTIONS]
        found.append([
            compressed(make([
                (labels, [(begin + at * _STEP_MS, float((place * 7 + at) % 997))])
                for place, labels in enumerate(mine[first : first + _PER_REQUEST])
            ]))
            for at in range(rounds)
            for first in range(0, len(mine), _PER_REQUEST)
        ])  # fmt: skip
    return found


def send(port: int, mine: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in mine:
        connection.request("POST", "/api/v1/write", body, _HEADERS)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"{answer.status}: {said[:200]!r}")


def timed(pid: int, listener: str, port: int, found: Sequence[Sequence[bytes]]) -> Run:
    def cpu() -> tuple[float, float]:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        spent = {each: sum(each.cpu_times()[:2]) for each in family}
        own = sum(used for each, used in spent.items() if listener in " ".join(each.cmdline()))
        return sum(spent.values()), own

    threads = [threading.Thread(target=send, args=(port, mine)) for mine in found]
    before, began = cpu(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, after = time.perf_counter() - began, cpu()
    return Run(seconds, after[0] - before[0], after[1] - before[1])


def is_heard(server: ForeshockServer) -> bool:
    return any((source["listening"] or {}).get("address") for source in server.get("/api/v1/sources"))


def of_foreshock(found: Sequence[Sequence[bytes]]) -> Run:
    port = free_port()
    kept = [{"match": '{__name__=~"node_metric_0.*"}', "dimension": ["device"]}]
    collector = {"name": "prom", "kind": "remote_write", "listen": f"127.0.0.1:{port}", "metrics": kept}
    with ForeshockServer(config={"collectors": [collector]}) as server:
        eventually(lambda: is_heard(server), what="the listener")
        return timed(server.pid, "listening_work", port, found)


def of_prometheus(found: Sequence[Sequence[bytes]]) -> Run:
    with Prometheus(options=["--web.enable-remote-write-receiver"]) as server:
        return timed(server.pid, "prometheus", server.port, found)


def decoding(found: Sequence[Sequence[bytes]]) -> float:
    """Samples a second of CPU: decompressed, told by their series, and left out."""
    decoder, raw = Decoder(lambda labels: -1), [decompress(body) for mine in found for body in mine]
    for body in raw[: len(raw) // 4]:
        decoder.read(body)
    began = time.process_time()
    samples = sum(decoder.read(body).samples for body in raw)
    return samples / (time.process_time() - began)


def log_records(requests: int = 50, records: int = 1000) -> float:
    """Log records a second of CPU, from the body to what would be kept."""
    calls = []
    for number in range(requests):
        found = logs.ExportLogsServiceRequest()
        resource = found.resource_logs.add()
        for name, value in (("host.name", f"host{number % 20}.example.com"), ("service.name", "shop")):
            resource.resource.attributes.add(key=name).value.string_value = value
        scope = resource.scope_logs.add()
        for place in range(records):
            at = number * records + place
            record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=17 if at % 100 == 0 else 9)
            record.trace_id, record.span_id = b"0123456789abcdef", b"01234567"
            record.body.string_value = f"GET /api/orders/{at} took {at % 977} ms for customer {at % 5000}"
            record.attributes.add(key="http.method").value.string_value = "GET"
            record.attributes.add(key="thread.id").value.int_value = at % 64
        headers = {"content-type": "application/x-protobuf"}
        calls.append(Call(method="POST", path="/v1/logs", headers=headers, body=found.SerializeToString()))
    listener = Otlp("bench", OtlpConfig())
    listener._outlet = Taken()

    async def post() -> float:
        await listener._post(calls[0])
        began = time.process_time()
        for call in calls:
            answer = await listener._post(call)
            assert answer.status == 200
        return requests * records / (time.process_time() - began)

    return asyncio.run(post())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--reps", type=int, default=3)
    asked = parser.parse_args()
    names = series(asked.series)
    samples = asked.rounds * asked.series
    with_peer = not missing("prometheus")
    ours, theirs = [], []
    for _ in range(asked.reps):
        found = bodies(asked.rounds, names)
        ours.append(of_foreshock(found))
        if with_peer:
            theirs.append(of_prometheus(found))
    for name, runs in (("foreshock", ours), ("prometheus", theirs)):
        for run in runs:
            print(f"{name:12} {samples / run.seconds:10,.0f} samples/s, {samples / run.cpu_s:10,.0f} a second of CPU, "
                  f"{samples / max(run.own_s, 0.01):10,.0f} of that of the listening process")  # fmt: skip
    if with_peer:
        ratio = statistics.median(b.cpu_s for b in theirs) / statistics.median(a.cpu_s for a in ours)
        print(f"CPU of Prometheus / CPU of Foreshock for the same: {ratio:.2f}")
    print(f"the floor, decoding alone, of CPU: version 1 {decoding(found):,.0f} samples/s, version 2 "
          f"{decoding(bodies(5, names, request_2)):,.0f} (target {TARGET:,})")  # fmt: skip
    print(f"log records by OTLP, of CPU: {log_records():,.0f} a second (target {LOGS_TARGET:,})")


if __name__ == "__main__":
    main()
