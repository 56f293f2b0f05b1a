"""Real CMDBs for tests: what their makers wrote holds the topology here.

Facts: PyPI: nautobot 3.2.7 in an environment of its own; Debian 12: postgresql 15, redis 7.
"""

from __future__ import annotations

import json
import lzma
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from foreshock.testing.clients import python_with
from foreshock.testing.servers import PostgreSQL, Server

NAUTOBOT = "nautobot==3.2.7"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
"""Of the superuser ``foreshock`` in the database that the tests bring."""
_SECRET = "test-only-0123456789-0123456789-0123456789-01234567"
_UWSGI = """\
[uwsgi]
; Not "http": its router drops connections that clients keep.
http11-socket = 127.0.0.1:{port}
master = true
processes = 2
threads = 2
enable-threads = true
single-interpreter = true
die-on-term = true
buffer-size = 65535
need-app = true
module = nautobot.core.wsgi:application
py-call-osafterfork = true
disable-logging = true
"""


class Redis(Server):
    """An empty Redis that keeps nothing."""

    executable = "redis-server"
    account = "redis"

    def _prepare(self) -> None:
        pass

    def _arguments(self) -> list[str]:
        return ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def _ready(self) -> bool:
        return "Ready to accept connections" in self.log


class Refused(RuntimeError):
    """Nautobot did not do what a test asked of it."""


class Nautobot(Server):
    """A real Nautobot with PostgreSQL and Redis of its own, and what the dump holds; see ``tests/samples/nautobot``.

    As the account we are, because its packages lie in our cache. The first call of GraphQL takes seconds.

    Args:
        dump: ``pg_dump`` as text, compressed by xz.
    """

    executable = "nautobot-server"
    account = ""
    ready_within_s = 150.0
    """On two busy cores; five seconds where they are idle."""

    def __init__(self, dump: Path, port: int | None = None) -> None:
        super().__init__(port)
        self._user = None
        self._dump = dump
        self._database = PostgreSQL()
        self._redis = Redis()
        self._bin = python_with(NAUTOBOT).parent

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        """What must be installed; the rest is fetched into the user's cache, 560 MB."""
        return ("postgres", "initdb", "psql", "redis-server")

    def token_file(self, token: str = TOKEN) -> Path:
        path = self.folder / f"token-{token[:8]}"
        path.touch(mode=0o600)
        path.write_text(token)
        return path

    def ask(self, method: str, path: str, value: Any = None, *, token: str = TOKEN) -> Any:
        """The JSON of a 2xx answer. path: below ``/api/``. Raises Refused."""
        body = None if value is None else json.dumps(value).encode()
        headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.url}/api/{path}", data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                got = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
        return json.loads(got) if got else None

    def rows(self, path: str) -> list[dict[str, Any]]:
        """Up to a thousand; ``path`` may hold filters."""
        joint = "&" if "?" in path else "?"
        found: list[dict[str, Any]] = self.ask("GET", f"{path}{joint}depth=0&limit=1000")["results"]
        return found

    def make(self, path: str, **values: Any) -> Any:
        """A new object; its row."""
        return self.ask("POST", f"{path}/", values)

    def change(self, path: str, id: str, **values: Any) -> Any:
        return self.ask("PATCH", f"{path}/{id}/", values)

    def delete(self, path: str, id: str) -> None:
        self.ask("DELETE", f"{path}/{id}/")

    def sql(self, statement: str) -> None:
        """What only the database allows."""
        self._psql("-c", statement)

    def _psql(self, *arguments: str) -> None:
        client = ["-h", "127.0.0.1", "-p", str(self._database.port), "-U", "postgres", "-d", "nautobot"]
        self._run("psql", *client, "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", *arguments)

    def _prepare(self) -> None:
        self._database.__enter__()
        self._redis.__enter__()
        self._database.create_database("nautobot")
        sql = self.folder / "nautobot.sql"
        sql.write_bytes(lzma.decompress(self._dump.read_bytes()))
        self._psql("-1", "-f", str(sql))
        (self.folder / "uwsgi.ini").write_text(_UWSGI.format(port=self.port))
        self._run("nautobot-server", "init", "--disable-installation-metrics", str(self.folder / "nautobot_config.py"))

    def _arguments(self) -> list[str]:
        return ["start", "--ini", str(self.folder / "uwsgi.ini")]

    def _environment(self) -> dict[str, str]:
        settings = {
            "ROOT": str(self.folder),
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self._database.port),
            "DB_NAME": "nautobot",
            "DB_USER": "postgres",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self._redis.port),
            "ALLOWED_HOSTS": "127.0.0.1",
            "SECRET_KEY": _SECRET,
        }
        return {**os.environ, **{f"NAUTOBOT_{name}": value for name, value in settings.items()}}

    def _program(self, name: str) -> Path:
        return self._bin / name if name == self.executable else super()._program(name)

    def _ready(self) -> bool:
        return self._answers("/health/")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._redis.__exit__()
        self._database.__exit__()
