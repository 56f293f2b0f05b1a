"""A stand-in of Mimir's API: below ``/prometheus``, and only for who names the tenant.

Facts: https://grafana.com/docs/mimir/latest/references/http-api/ from memory on 2026-11-23: the prefix is
``/prometheus`` by default, and a call without ``X-Scope-OrgID`` is answered with 401 and ``no org id``.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs


class Mimir:
    """Answers range queries.

    Attributes:
        alerts: times of points of one series of ALERTS. Each other query has a series ``instance="db1"`` that is 1.5 at
            every step.
    """

    def __init__(self, *, tenant: str) -> None:
        self.alerts: list[float] = []
        self._tenant = tenant
        mimir = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, answer = mimir._answer(self.path, self.headers.get("X-Scope-OrgID", ""), form)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/prometheus"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, tenant: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        if tenant != self._tenant:
            return 401, b"no org id\n"
        if path != "/prometheus/api/v1/query_range":
            return 404, b"404 page not found"
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        times, labels = [start + step * n for n in range(int((end - start) / step) + 1)], {"instance": "db1"}
        value = "1.5"
        if form["query"][0].startswith("ALERTS"):
            times = [at for at in times if any(at - step < point <= at for point in self.alerts)]
            labels |= {"alertname": "DiskFull", "alertstate": "firing", "severity": "critical"}
            value = "1"
        result = [{"metric": labels, "values": [[at, value] for at in times]}] if times else []
        return 200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
