"""A program that exposes a native histogram, as client libraries for Go do: only in Protocol Buffers is there a way to.

Facts: io/prometheus/client/metrics.proto (client_model), from memory on 2026-11-23, read by Prometheus 2.42 with
``--enable-feature=native-histograms``.
"""

import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from foreshock.testing.remote_write import field, varint, zigzag

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_HISTOGRAM = 4  # of types of metrics


class NativeTarget:
    """Exposes ``lab_seconds``, of schema 0: bucket ``i`` holds 2^(i-1) < value <= 2^i."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sum = 0.0
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = target.exposed()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def target(self) -> str:
        """As ``Prometheus(scrape=...)`` wants it."""
        return f"127.0.0.1:{self._server.server_port}"

    def observe(self, bucket: int, times: int, value: float) -> None:
        self._counts[bucket] += times
        self._sum += times * value

    def exposed(self) -> bytes:
        """The one family, behind its length."""
        counts = sorted(self._counts.items())
        parts = [varint(1 << 3) + varint(sum(count for _, count in counts)), _double(2, self._sum)]
        parts += [varint(5 << 3) + zigzag(0), _double(6, 2.0**-128), varint(7 << 3) + varint(0)]
        behind = before = 0
        deltas = b""
        for index, count in counts:
            parts.append(field(12, varint(1 << 3) + zigzag(index - behind) + varint(2 << 3) + varint(1)))
            deltas += zigzag(count - before)
            behind, before = index + 1, count
        parts.append(field(13, deltas))
        metric = field(7, b"".join(parts))
        family = field(1, b"lab_seconds") + varint(3 << 3) + varint(_HISTOGRAM) + field(4, metric)
        return varint(len(family)) + family

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)
