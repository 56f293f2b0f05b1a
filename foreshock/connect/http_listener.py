"""An HTTP server of a collector's own, for protocols with ports of their own: who may post, bounds, and a clean end.

Facts: what a body may be compressed with is the protocol's; this reads it as it came. uvicorn with httptools speaks
HTTP/1.1, which the senders of these protocols speak (remote write, OTLP/HTTP).
"""

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import read_private, read_secret
from foreshock.connect.proofs import matching
from foreshock.core.contracts import ListenConfig, Outlet
from foreshock.core.errors import ConfigError, Invalid, Problem, Unavailable

MAX_BODY = 32 * 2**20
"""Of a request, as it came; larger ones are refused with 413."""

_RETRY_S = 5
_LEAVING_S = 10
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:]+):(?P<port>[0-9]{1,5})")


class HttpListenConfig(ListenConfig):
    """What a collector with an HTTP server of its own lets a person set."""

    listen: str = Field(default="127.0.0.1:0", description="address and port to listen on")
    token_files: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="files with the token that senders show as Authorization: Bearer, mode 0600; two while one "
        "replaces the other",
    )
    user: str = Field(default="", max_length=200, description="user that senders show by Authorization: Basic")
    password_files: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="files with that user's password, mode 0600; two while one replaces the other",
    )
    certificate: Path | None = Field(default=None, description="certificate of this server with its chain, PEM")
    certificate_key: Path | None = Field(default=None, description="its private key, PEM, mode 0600")
    client_ca: Path | None = Field(
        default=None, description="authorities of which a sender must show a certificate, PEM"
    )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        split_address(listen)
        return listen

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if bool(self.user) != bool(self.password_files):
            raise Invalid("user and password_files go together", hint="set both or none", path=("user",))
        if (self.certificate is None) != (self.certificate_key is None):
            raise Invalid("certificate and certificate_key go together", hint="set both or none", path=("certificate",))
        if self.client_ca is not None and self.certificate is None:
            raise Invalid("client_ca needs TLS", hint="set certificate and certificate_key", path=("client_ca",))
        proven = self.token_files or self.user or self.client_ca
        if not proven and not _is_loopback(split_address(self.listen)[0]):
            raise Invalid(
                f"{self.listen!r} can be reached from other machines, and nobody has to prove who they are",
                hint="set token_files, user or client_ca, or listen on 127.0.0.1",
                path=("listen",),
            )
        return self


def split_address(listen: str) -> tuple[str, int]:
    """Host without brackets, and port. Raises Invalid."""
    found = _ADDRESS.fullmatch(listen)
    if found is None or int(found["port"]) > 65_535:
        raise Invalid(f"{listen!r} is no address with a port", hint="write it like 127.0.0.1:4318 or [::1]:4318")
    return found["host"].strip("[]"), int(found["port"])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Call(Struct, frozen=True, kw_only=True):
    """One request. headers: names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(Struct, frozen=True, kw_only=True):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


Handle = Callable[[Call], Awaitable[Reply]]
"""Raises Unavailable where nothing can be kept now: the sender is told to come again."""


class Guard:
    """Who may post. Raises ConfigError where a file cannot be read."""

    def __init__(self, config: HttpListenConfig, place: str) -> None:
        tokens = [read_secret(path, f"{place}.token_files") for path in config.token_files]
        passwords = [read_secret(path, f"{place}.password_files") for path in config.password_files]
        self._accepted = [f"Bearer {token}" for token in tokens]
        for password in passwords:
            pair = base64.b64encode(f"{config.user}:{password}".encode()).decode()
            self._accepted.append(f"Basic {pair}")
        self.challenge = "Bearer" if tokens else "Basic"

    def admits(self, headers: Mapping[str, str]) -> bool:
        if not self._accepted:
            return True
        kind, _, rest = headers.get("authorization", "").partition(" ")
        return matching([f"{kind.title()} {rest.strip()}"], self._accepted) is not None


class HttpListener:
    """A server that hands each request to ``handle``. Raises ConfigError.

    Args:
        place: of the settings, for messages, for example ``collectors.prom``.
    """

    def __init__(self, config: HttpListenConfig, place: str, handle: Handle) -> None:
        self._config, self._handle = config, handle
        self._guard = Guard(config, place)
        self._tls = _tls(config, place)

    async def run(self, outlet: Outlet, announce: Callable[[str], None] | None = None) -> None:
        """Until cancelled; what is being answered then is answered. announce: is told the address instead of the
        outlet."""
        import uvicorn

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                """They are for whoever started this process."""
                yield

        host, port = split_address(self._config.listen)
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_LEAVING_S,
        )
        listening = await self._bound(host, port, outlet)
        config.load()
        config.ssl = self._tls
        server = Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        scheme = "https" if self._tls else "http"
        shown = f"[{host}]" if ":" in host else host
        (announce or outlet.listens)(f"{scheme}://{shown}:{listening.getsockname()[1]}")
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving
            listening.close()

    async def _bound(self, host: str, port: int, outlet: Outlet) -> socket.socket:
        """Tried again until it is free: the process before this one may need a moment."""
        pause_s = 1.0
        while True:
            listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, port))
            except OSError as error:
                listening.close()
                outlet.say(f"{self._config.listen} cannot be listened on: {error}; is something else there?")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 60.0)
            else:
                outlet.say("")
                return listening

    async def _answer(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        reply = await self._reply(scope, receive)
        headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
        if reply.body or reply.status != 204:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Mapping[str, Any], receive: Any) -> Reply:
        raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
        if not self._guard.admits(headers):
            return text(401, "the credentials are missing or wrong", {"WWW-Authenticate": self._guard.challenge})
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return Reply(status=400)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY:
                return text(413, f"a body may have {MAX_BODY} bytes")
            if not message.get("more_body"):
                break
        call = Call(method=scope["method"], path=scope["path"], headers=headers, body=b"".join(parts))
        try:
            return await self._handle(call)
        except Unavailable as error:
            return text(503, str(error), {"Retry-After": str(_RETRY_S)})


def text(status: int, words: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status,
        body=f"{words}\n".encode(errors="replace"),
        headers={"Content-Type": "text/plain; charset=utf-8", **(headers or {})},
    )


def _tls(config: HttpListenConfig, place: str) -> ssl.SSLContext | None:
    if config.certificate is None or config.certificate_key is None:
        return None
    read_private(config.certificate_key, f"{place}.certificate_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    file, setting = config.certificate, "certificate"
    try:
        context.load_cert_chain(config.certificate, config.certificate_key)
        if config.client_ca is not None:
            file, setting = config.client_ca, "client_ca"
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        problem = Problem(
            file=str(file), line=None, path=f"{place}.{setting}", message=f"cannot be used: {error}",
            hint="it must be PEM, and the key must belong to the certificate",
        )  # fmt: skip
        raise ConfigError([problem]) from None
    return context
