"""What takes bytes of strangers, each as one function: for tests, and for fuzzing with coverage (tests/fuzz/run.py).

A function returns whatever the bytes are; anything it raises is a mistake of ours. Libraries are imported with the
target that needs them.
"""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import zstandard

from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 3, 18, 1, tzinfo=UTC)
MAX_UNPACKED = 1 << 20


class Target(NamedTuple):
    """seeds: bytes that are well formed, to begin with."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


def _syslog() -> Target:
    from zoneinfo import ZoneInfo

    from collectors.syslog import line_of
    from foreshock.connect.lines import LineRules, Sieve, event_of
    from foreshock.connect.syslog import MAX_BYTES, Frames, split

    fate, zone = Sieve(LineRules()).by_severity(3), ZoneInfo("Europe/Berlin")

    def run(data: bytes) -> None:
        frames = Frames()
        for message in (
            *frames.feed(data[: len(data) // 2]),
            *frames.feed(data[len(data) // 2 :]),
            *frames.end(),
            data,
        ):
            assert message is data or len(message) <= MAX_BYTES
            event = event_of(line_of(split(message), "192.0.2.1", fate, NOW, zone), NOW)
            read_labels(event.labels)
            read_annotations(event.annotations)

    lines = (
        b'<27>1 2026-11-22T03:08:13.656434+00:00 w1 shop 7 DISK [lab@32473 vol="b\\]"] \xef\xbb\xbfudp',
        b"<130>Nov 22 03:08:13 host-a shop[12]: disk failure",
        b"<187>45: *Mar  1 00:00:00.123: %LINK-3-UPDOWN: Interface Gi0/1, changed state to down",
        b"<165>1 - - - - - -",
        b"<13>\t",
    )
    counted = b"".join(b"%d %s" % (len(line), line) for line in lines)
    return Target(run, [*lines, b"\n".join(lines) + b"\n", counted, counted + b"\0" + lines[0] + b"\0"])


def _snmp_trap() -> Target:
    from foreshock.connect.snmp.engine import Heard, TrapEngine, User
    from foreshock.connect.snmp.meaning import Meanings, read_trap
    from foreshock.connect.snmp.names import Names, standard

    names = Names(standard())
    users = [User("lab", "SHA-256", "authpass123", "AES", "privpass123")]
    engine = TrapEngine(["public"], users, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    meanings = Meanings((), names)

    def run(data: bytes) -> None:
        heard = engine.read(data, ("127.0.0.1", 9))
        if isinstance(heard, Heard):
            trap = read_trap(heard.varbinds, names, sender="192.0.2.1", version=heard.version, user=heard.user)
            if trap is not None:
                meanings.of(trap)

    cold_start = "302902010104067075626c6963a71c0201010201000201003011300f060a2b0601060301010401000601" + "00"
    return Target(run, [bytes.fromhex(cold_start)])


def _remote_write() -> Target:
    import cramjam

    from collectors.remote_write import MAX_DECOMPRESSED, decompress
    from foreshock.connect.vendors.remote_write import Decoder

    decoder = Decoder(len)

    def run(data: bytes) -> None:
        with suppress(Malformed):
            body = decompress(data)
            assert len(body) <= MAX_DECOMPRESSED
            decoder.read(body)
        with suppress(Malformed):
            decoder.read(data)

    packed = sample("remote-write.snappy").payload
    return Target(run, [packed, bytes(cramjam.snappy.decompress_raw(packed))])


def _otlp() -> Target:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    from collectors.otlp import decompress, read
    from foreshock.connect.lines import Batch, LineCounter, LineRules, Sieve, event_of
    from foreshock.connect.vendors.otlp import Metrics, Reader

    def run(data: bytes) -> None:
        in_json = data[:1] == b"{"
        kind = "application/json" if in_json else "application/x-protobuf"
        with suppress(Malformed):
            decompress(data, "gzip")
        with suppress(Malformed):
            logs, batch = ExportLogsServiceRequest(), Batch()
            read(logs, data, kind)
            Reader(Sieve(LineRules()), LineCounter(LineRules())).read(logs, batch, in_json=in_json)
            for line in batch.take():
                read_labels(event_of(line, NOW).labels)
        with suppress(Malformed):
            metrics = ExportMetricsServiceRequest()
            read(metrics, data, kind)
            list(Metrics(lambda _: True).read(metrics))

    attribute = {"key": "host.name", "value": {"stringValue": "host-a"}}
    record = {"timeUnixNano": "1795317396935324000", "severityNumber": 17, "body": {"stringValue": "disk b failed"}}
    scoped = {"scope": {"name": "a"}, "logRecords": [{**record, "attributes": [attribute]}]}
    logs = {"resourceLogs": [{"resource": {"attributes": [attribute]}, "scopeLogs": [scoped]}]}
    point = {"timeUnixNano": "1795317396935324000", "asDouble": 1.5, "attributes": [attribute]}
    histogram = {"count": "3", "sum": 2.0, "bucketCounts": ["1", "2"], "explicitBounds": [1.0], **point}
    histogram.pop("asDouble")
    found = [
        {"name": "a", "gauge": {"dataPoints": [point]}},
        {"name": "b", "sum": {"dataPoints": [point], "isMonotonic": True, "aggregationTemporality": 2}},
        {"name": "c", "histogram": {"dataPoints": [histogram], "aggregationTemporality": 2}},
    ]
    metrics = {"resourceMetrics": [{"resource": {"attributes": [attribute]}, "scopeMetrics": [{"metrics": found}]}]}
    seeds = [json.dumps(one).encode() for one in (logs, metrics)]
    for one, message in ((logs, ExportLogsServiceRequest()), (metrics, ExportMetricsServiceRequest())):
        seeds.append(json_format.ParseDict(one, message).SerializeToString())
    return Target(run, seeds)


def _content_encoding() -> Target:
    from foreshock.service.intake import Refusal, decompress

    def run(data: bytes) -> None:
        for encoding in ("gzip", "deflate", "zstd"):
            with suppress(Refusal):
                assert len(decompress(data, encoding, MAX_UNPACKED)) <= MAX_UNPACKED

    bomb = b"0" * (MAX_UNPACKED + 1)
    packers: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, zlib.compress, zstandard.compress)
    return Target(run, [pack(text) for pack in packers for text in (b"", b"[]", bomb)])


def _openmetrics() -> Target:
    from collectors.openmetrics import read

    def run(data: bytes) -> None:
        for sort in ("text/plain", "application/openmetrics-text"):
            with suppress(Malformed):
                read(sort, data)

    return Target(run, [
        b'# HELP a b\n# TYPE a counter\na_total{b="c\\"d"} 1.5 1795317396\n# EOF\n',
        b'# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2 # {t="x"} 1 2\nh_count 2\nh_sum 3\n# EOF\n',
    ])  # fmt: skip


def _mail() -> Target:
    from foreshock.connect.mail import read_mail

    def run(data: bytes) -> None:
        with suppress(Malformed):
            read_mail(data)

    plain = b"From: Mon <mon@x.example>\r\nSubject: =?utf-8?b?w7w=?=\r\nDate: Sun, 22 Nov 2026 03:08:13 +0000\r\n\r\nhi"
    of_parts = (
        b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n"
    )
    encoded = b"Content-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n--x--\r\n"
    return Target(run, [plain, of_parts + encoded])


def _snmptrapd() -> Target:
    from foreshock.connect.snmp.snmptrapd import Printed

    def run(data: bytes) -> None:
        with suppress(ValueError):
            Printed(data.decode("latin-1"))

    return Target(
        run, [b"UDP: [192.0.2.1]:4711->[192.0.2.2]:162\t0.0.0.0\tTRAP2, SNMP v2c, community public\t0\t0\t.\t\t.1 = 1"]
    )


def _posted() -> Target:
    import collectors
    from foreshock.core.contracts import Collector
    from foreshock.core.registry import kinds

    found = [one for one in kinds(collectors, "COLLECTOR", Collector).values() if one.receive]

    def run(data: bytes) -> None:
        """The first byte says which kind."""
        if not data:
            return
        collector = found[data[0] % len(found)]
        with suppress(Malformed):
            for item in collector.decode(data[1:]):
                with suppress(Malformed):
                    if not isinstance(item, Malformed) and isinstance(event := collector.translate(item, NOW), Event):
                        read_labels(event.labels)
                        read_annotations(event.annotations)

    return Target(run, [bytes([at]) + sample(one.sample).payload for at, one in enumerate(found)])


TARGETS: Mapping[str, Callable[[], Target]] = {
    "content_encoding": _content_encoding,
    "mail": _mail,
    "openmetrics": _openmetrics,
    "otlp": _otlp,
    "posted": _posted,
    "remote_write": _remote_write,
    "snmp_trap": _snmp_trap,
    "snmptrapd": _snmptrapd,
    "syslog": _syslog,
}


def mutated(seed: bytes, changes: Sequence[tuple[int, int]], cut: int) -> bytes:
    """A seed with bytes replaced, each given by place and value, and an end cut off."""
    data = bytearray(seed)
    for place, value in changes:
        if data:
            data[place % len(data)] = value
    return bytes(data[: len(data) - cut % (len(data) + 1)])
