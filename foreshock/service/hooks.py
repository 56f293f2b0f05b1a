"""The door for ITSM systems that tell at once when somebody did something to a ticket: ``POST /hooks/<sink>``.

A call carries no truth: proven and new, it only has the sink's lane look (docs/decisions/0018). Raw ASGI in front of
the tokens, for what a system sends is proven by its own signature.

Order of checks: is there such a door, may we take it, is it small enough, is it proven, is it new.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
import structlog
from msgspec import Struct

from foreshock.connect.proofs import AHEAD, Unproven, proven
from foreshock.core.contracts import Hook
from foreshock.service.gates import Seen
from foreshock.service.intake import App, Receive, Refusal, Scope, Send

PREFIX = "/hooks/"
MAX_BODY_BYTES = 1024 * 1024
_DISCARDED_BYTES = 4 * MAX_BODY_BYTES
"""A refused body is read to its end up to here: closing on a sender in mid-sentence would cost it the answer."""

log = structlog.get_logger("foreshock")


class Door(Struct, frozen=True):
    """One sink that can be told. hear: the system says that somebody did something there."""

    hook: Hook
    secret: str
    hear: Callable[[], None]


class Hooks:
    """ASGI application in front of ``behind``.

    Args:
        doors: by the name of the sink.
        closed: why nothing can be taken now, as (reason, seconds to wait), or None.
    Attributes:
        counts: calls by sink and outcome: accepted, repeated or refused. Calls to no door are not counted.
    """

    def __init__(
        self,
        behind: App,
        doors: Mapping[str, Door],
        *,
        clock: Callable[[], datetime],
        closed: Callable[[], tuple[str, int] | None],
    ) -> None:
        self._behind, self._doors, self._clock, self._closed = behind, doors, clock, closed
        self._seen = {name: Seen(door.hook.max_age + AHEAD) for name, door in doors.items()}
        self._last: dict[str, str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._behind(scope, receive, send)
            return
        name = scope["path"].removeprefix(PREFIX)
        body = _Body(receive)
        try:
            outcome = await self._take(name, scope, body)
            status, answer = (202 if outcome == "accepted" else 200), {"status": outcome}
        except Refusal as refusal:
            status, answer = refusal.status, {"error": refusal.reason}
            if name in self._doors and status < 500:
                self._count(name, "refused", refusal.reason)
            await body.discard()
        else:
            self._count(name, outcome)
        await _answer(send, status, answer, retry=status == 503)

    async def _take(self, name: str, scope: Scope, body: "_Body") -> str:
        if scope["method"] != "POST":
            raise Refusal(405, "send it with POST")
        door = self._doors.get(name)
        if door is None:
            raise Refusal(404, f"no sink {name[:64]!r} takes webhooks here; give it a webhook_secret_file")
        closed = self._closed()
        if closed is not None:
            raise Refusal(503, closed[0], retry_after_s=closed[1])
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        given = headers.get(door.hook.header, "").strip()
        if not given:
            raise Refusal(401, f"the header {door.hook.header}, which proves who sends, is missing")
        content = await body.read(headers.get("content-length", ""))
        now = self._clock()
        try:
            proven(door.hook, (door.secret,), headers, content, now)
        except Unproven as error:
            raise Refusal(401, f"{error} (here: webhook_secret_file)") from None
        if door.hook.sent_at is not None and not self._seen[name].add(given, now):
            return "repeated"
        door.hear()
        return "accepted"

    def _count(self, name: str, outcome: str, reason: str = "") -> None:
        self.counts[name, outcome] += 1
        before, self._last[name] = self._last.get(name, ""), outcome
        if outcome == "refused" and before != "refused":
            log.warning("hooks_refused", sink=name, error=reason)
        elif before == "refused" and outcome != "refused":
            log.info("hooks_accepted_again", sink=name)


class _Body:
    """The body of one request, which is read once at most."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._more = True
        self._size = 0

    async def read(self, length: str) -> bytes:
        """Raises Refusal beyond the limit."""
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise Refusal(413, f"the body has {length} bytes, {MAX_BODY_BYTES} are allowed")
        chunks = []
        while self._more:
            chunks.append(await self._next())
            if self._size > MAX_BODY_BYTES:
                raise Refusal(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        return b"".join(chunks)

    async def discard(self) -> None:
        while self._more and self._size <= _DISCARDED_BYTES:
            await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        chunk: bytes = message.get("body", b"")
        self._size += len(chunk)
        self._more = bool(message.get("more_body"))
        return chunk


async def _answer(send: Send, status: int, answer: Mapping[str, str], *, retry: bool) -> None:
    body = msgspec.json.encode(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"retry-after", b"5")] if retry else []
    headers += [(b"allow", b"POST")] if status == 405 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
