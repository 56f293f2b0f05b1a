"""Who is asking: every operator action carries its actor.

On loopback without a token file anybody on the machine may do anything, under the name they give. With a token file
each request needs a token: ``Authorization: Bearer`` for programs, Basic with name and token for browsers. In both
cases the Host header must be one of ours, so that a foreign page cannot reach us under a name of its own (DNS
rebinding).
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping

from foreshock.service.intake import App, Receive, Refusal, Scope, Send

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MAX_ACTOR = 64


class Access:
    """Args:
    tokens: by name; empty where none are needed.
    hosts: accepted names of this Foreshock, without ports; empty accepts any.
    """

    def __init__(self, tokens: Mapping[str, str], hosts: Iterable[str]) -> None:
        self._tokens = {name: token.encode() for name, token in tokens.items()}
        self._hosts = frozenset(host.lower() for host in hosts)

    def take(self, other: "Access") -> None:
        """Go by what another one knows, which was read just now."""
        self._tokens, self._hosts = other._tokens, other._hosts

    def actor(self, scope: Scope) -> str:
        """The name of who sends the request. Raises Refusal: 401 without a valid token, 421 under a foreign name."""
        host, given, named = b"", b"", b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"authorization":
                given = value
            elif name == b"x-foreshock-actor":
                named = value
        if self._hosts and _without_port(host.decode("latin-1")) not in self._hosts:
            raise Refusal(
                421, f"{host.decode('latin-1')[:100]!r} is not a name of this Foreshock; add it to allowed_hosts"
            )
        if not self._tokens:
            return _printable(named) or "local"
        return self._named_by(given)

    def _named_by(self, given: bytes) -> str:
        scheme, _, credentials = given.partition(b" ")
        if scheme.lower() == b"bearer":
            found = [name for name, token in self._tokens.items() if hmac.compare_digest(token, credentials.strip())]
            if found:
                return found[0]
        elif scheme.lower() == b"basic":
            try:
                name, _, token = base64.b64decode(credentials, validate=True).partition(b":")
            except binascii.Error:
                name, token = b"", b""
            known = self._tokens.get(name.decode("utf-8", "replace"))
            if known is not None and hmac.compare_digest(known, token):
                return name.decode()
        raise Refusal(401, "a token is needed: send `Authorization: Bearer TOKEN`, or sign in with your name and token")


class Guarded:
    """ASGI: lets a request through to ``behind`` with its actor in the scope, or answers why not."""

    def __init__(self, behind: App, access: Access) -> None:
        self._behind, self._access = behind, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope["foreshock.actor"] = self._access.actor(scope)
            except Refusal as refusal:
                headers = [(b"content-type", b"text/plain; charset=utf-8")]
                if refusal.status == 401:
                    headers.append((b"www-authenticate", b'Basic realm="Foreshock", charset="UTF-8"'))
                await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
                await send({"type": "http.response.body", "body": refusal.reason.encode()})
                return
        await self._behind(scope, receive, send)


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _printable(name: bytes) -> str:
    text = name.decode("utf-8", "replace").strip()
    return text[:_MAX_ACTOR] if text.isprintable() else ""
