"""The API of Icinga 2: its stream of events, and objects with their states.

Facts: https://icinga.com/docs/icinga-2/latest/doc/12-icinga2-api/, read 2026-11-22, and a stream of Icinga 2.13 as
    recorded in tests/samples. A stream never ends by itself, says nothing while nothing happens, and what happens while
    nobody listens is not kept.
"""

import json
import secrets
import socket
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, read_secret, web_address
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, Invalid, Rejected, Unavailable

if TYPE_CHECKING:  # each start looks at every collector; what asks is imported by those who ask
    from http.client import HTTPConnection, HTTPResponse

    from foreshock.connect.http import Http

MAX_ANSWER_BYTES = 64 * 2**20
_MAX_LINE = 2**20
_CONNECT_S = 10.0
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A peer that is gone without a word is noticed after a minute."""
_STREAM = "/v1/events"


class Icinga2Account(ConnectorConfig):
    url: str = Field(
        default="",
        description="address of the API; empty: nothing is asked, and notifications are only posted to us",
        examples=["https://icinga.example.com:5665"],
    )
    user: str = Field(default="", max_length=200, description="name of the ApiUser")
    password_file: Path | None = Field(default=None, description="file with its password, mode 0600")
    ca_file: CaFile = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        like, instead = "https://icinga.example.com:5665", "user and password_file"
        return web_address(url, like=like, instead=instead) if url else ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if len({bool(self.url), bool(self.user), self.password_file is not None}) > 1:
            raise Invalid("url, user and password_file belong together", hint="set all of them, or none", path=("url",))
        return self


class Icinga2Api:
    """One server. Raises ConfigError where the password cannot be read.

    Args:
        name: of the instance, for messages.
    """

    def __init__(self, name: str, account: Icinga2Account) -> None:
        assert account.password_file is not None
        self._name, self._account = name, account
        self._password = read_secret(account.password_file, f"collectors.{name}.password_file")
        self._http: Http | None = None

    def objects(self, kind: str, attributes: Sequence[str], expression: str) -> list[Mapping[str, Any]]:
        """Attributes of the hosts (``kind`` hosts) or services of which the expression of Icinga holds. Raises Denied,
        Rejected or Unavailable."""
        from foreshock.connect.http import Basic, Http

        if self._http is None:
            auth = Basic(self._account.user, self._password)
            self._http = Http(
                f"icinga2 {self._name!r}",
                self._account.url,
                auth=auth,
                ca_file=self._account.ca_file,
                max_body_bytes=MAX_ANSWER_BYTES,
            )
        asked = {"attrs": list(attributes), "filter": expression}
        # A query with a body goes by POST, and says that it is none.
        answer = self._http.request(
            "POST", f"/v1/objects/{kind}", json=asked, headers={"X-HTTP-Method-Override": "GET"}, safe=True
        )
        return [attrs for row in answer.rows("results") if isinstance(attrs := row.get("attrs"), dict)]

    def stream(self, types: Sequence[str]) -> "Stream":
        """Connect. Raises Denied, Rejected or Unavailable."""
        import ssl
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        parts = urlsplit(self._account.url)
        place = f"icinga2 {self._name!r}"
        assert parts.hostname is not None
        connection: HTTPConnection
        if parts.scheme == "https":
            trust = ssl.create_default_context(
                cafile=None if self._account.ca_file is None else str(self._account.ca_file)
            )
            connection = HTTPSConnection(parts.hostname, parts.port or 443, timeout=_CONNECT_S, context=trust)
        else:
            connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=_CONNECT_S)
        proof = b64encode(f"{self._account.user}:{self._password}".encode()).decode()
        headers = {"Accept": "application/json", "Content-Type": "application/json", "Authorization": f"Basic {proof}"}
        # Clients with the same queue would share what comes.
        asked = {"queue": f"foreshock-{secrets.token_hex(8)}", "types": list(types)}
        try:
            connection.request("POST", parts.path + _STREAM, json.dumps(asked).encode(), headers)
            line = connection.sock
            answer = connection.getresponse()
            if answer.status != 200:
                said = f"{place} refused its stream of events: HTTP {answer.status} {answer.read(300)!r}"
                if answer.status in (401, 403):
                    raise Denied(said, hint="check user and password_file, and the permission events/StateChange")
                raise (Unavailable if answer.status >= 500 else Rejected)(said)
        except (OSError, HTTPException) as error:
            connection.close()
            raise Unavailable(f"{place} cannot be reached: {error}") from None
        except Exception:
            connection.close()
            raise
        line.settimeout(None)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in _KEEPALIVE.items():
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        return Stream(place, connection, line, answer)


class Stream:
    """Lines of an open stream. ``read`` waits, so it is for a thread; ``close`` ends that from any other."""

    def __init__(self, place: str, connection: "HTTPConnection", line: socket.socket, answer: "HTTPResponse") -> None:
        self._place, self._connection, self._line, self._answer = place, connection, line, answer
        self._rest = b""

    def read(self) -> list[bytes]:
        """The next lines, at least one. Raises Unavailable where it has ended."""
        from http.client import HTTPException

        while True:
            try:
                data = self._answer.read1(1 << 16)
            except (OSError, HTTPException, ValueError, AttributeError) as error:  # closed by another thread, too
                raise Unavailable(f"{self._place}: its stream of events broke: {error}") from None
            if not data:
                raise Unavailable(f"{self._place}: its stream of events ended")
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _MAX_LINE:
                raise Unavailable(f"{self._place}: an event has more than {_MAX_LINE} bytes")
            if found := [line for line in lines if line.strip()]:
                return found

    def close(self) -> None:
        with suppress(OSError):  # it is gone already
            self._line.shutdown(socket.SHUT_RDWR)
        self._connection.close()
