"""The door: POSTs of events, answered after they are on disk. Raw ASGI, because this is the one path where a
framework's share of the time would be most of it; everything else goes on to the application behind.

Order of checks: may we take it (draining, disk, pressure), may they send it (network, certificate, token), is it small
enough, is it proven (signature of the bytes as they came), can it be read, is each item sound. An answer always names
the limit and the value that passed it; of a proof that fails it names nothing, our log and the status do.
"""

import re
import time
import zlib
from array import array
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
import zstandard
from msgspec import Struct

from foreshock.connect.proofs import Unproven
from foreshock.connect.selecting import Metered
from foreshock.core.contracts import Collector, Greeting, Items, NewRecord, RecordKind, with_head
from foreshock.core.errors import ForeshockError, Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.service.gates import Fetch, Gate, Gates
from foreshock.service.inbox import Inbox
from foreshock.service.pressure import SHED_AT, Pressure

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SOURCE_PATH = re.compile(r"^/s/([A-Za-z0-9][A-Za-z0-9._-]{0,63})(/.*)$")
_DISCARDED_LIMITS = 4
"""A refused body is read to its end up to this many times the limit on bodies."""
_JSON = (b"content-type", b"application/json")
_SOUND = 1 << 17
"""Places for what was found sound before. What comes to a place taken takes it over, so this is all there ever is."""
_NOT_PROVEN = (
    "who sends this is not known here, or not proven: send `Authorization: Bearer TOKEN` with the token of this source "
    "or of the API, or sign it with the secret of this source; the log of Foreshock says what is wrong"
)
"""Whatever it is: who guesses names and secrets learns nothing."""
_CHALLENGE = (b"www-authenticate", b'Basic realm="Foreshock", charset="UTF-8"')
"""Some senders keep their password back until they are asked for it."""
_REASONS = {400: "unreadable", 401: "token", 413: "too_large", 415: "content_type", 421: "host", 429: "busy"}
_BROWSER_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain")


log = structlog.get_logger("foreshock")


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds on one request, in bytes and items."""

    body: int = 5 * 1024 * 1024
    decompressed: int = 20 * 1024 * 1024
    batch: int = 5000


class Refusal(Exception):
    """An answer other than success, with the reason for the sender.

    Attributes:
        why: one word for counts. told: the reason for us, where the sender does not hear it.
    """

    def __init__(
        self, status: int, reason: str, *, retry_after_s: int | None = None, why: str = "", told: str = ""
    ) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
        self.why, self.told = why or _REASONS.get(status, "other"), told or reason


class Rejections(Struct, kw_only=True):
    """Requests of one source that were refused whole: they left no record, so they are counted here. by: by reason."""

    requests: int = 0
    by: dict[str, int] = {}
    last_error: str = ""
    last_at: datetime | None = None


class Taken(Struct, frozen=True):
    """What became of the items of a request: what is wrong with which, how many were points of metrics, and whether
    all were let go under pressure."""

    items: int
    errors: Mapping[int, str]
    points: int = 0
    shed: bool = False

    @property
    def events(self) -> int:
        return 0 if self.shed else self.items - len(self.errors) - self.points


Measure = Callable[[str, str, Metered], Awaitable[None]]
"""Into the metric history, synced, of a source and kind. Raises Unavailable."""


class Intake:
    """ASGI application in front of ``behind``.

    Args:
        gates: what each source must prove. pressure: how much more can be worked on.
        closed: why nothing can be taken now, as (reason, seconds to wait), or None.
        actor: who sends, from the request's headers; raises Refusal where they may not. Asked where a source does not
            prove itself.
        fetch: gets an address that a product wants visited before it sends.
        measure: keeps points that were posted.
        observe: called with (seconds, status, events, bytes) of each request.
    """

    MAX_SOURCES = 1000

    def __init__(
        self,
        behind: App,
        inbox: Inbox,
        collectors: Mapping[str, Collector],
        gates: Gates,
        pressure: Pressure,
        *,
        limits: Limits,
        clock: Callable[[], datetime],
        closed: Callable[[], tuple[str, int] | None],
        actor: Callable[[Scope], str],
        fetch: Fetch,
        measure: Measure,
        observe: Callable[[float, int, int, int], None],
    ) -> None:
        self._behind, self._inbox, self._limits, self._clock = behind, inbox, limits, clock
        self._closed, self._actor, self._fetch, self._observe = closed, actor, fetch, observe
        self._measure = measure
        self.gates, self.pressure = gates, pressure
        self._sound = array("q", bytes(8 * _SOUND))
        self._by_path = {collector.receive.path: collector for collector in collectors.values() if collector.receive}
        self._greeted = {path for path, each in self._by_path.items() if each.receive and each.receive.handshake}
        self._refused: set[str] = set()
        self.rejections: dict[str, Rejections] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            name = ""
            if path.startswith("/s/") and (found := _SOURCE_PATH.match(path)):
                name, path = found[1], found[2]
            method = scope["method"]
            if method == "POST" or (method == "OPTIONS" and path in self._greeted):
                collector = self._by_path.get(path)
                if collector is not None:
                    await self._receive(collector, name or collector.kind, scope, receive, send)
                    return
            if name:
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._behind(scope, receive, send)

    async def _receive(self, collector: Collector, source: str, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        accepted = size = held = 0
        pressure = self.pressure
        headers: list[tuple[bytes, bytes]] = [_JSON]
        unread = True

        async def reading() -> MutableMapping[str, Any]:
            nonlocal unread, held
            message = await receive()
            unread = bool(message.get("more_body"))
            arrived = len(message.get("body", b""))
            held += arrived
            pressure.held += arrived
            if unread and pressure.held >= pressure.bounds.waiting:
                raise _busy(collector, pressure)
            return message

        try:
            closed = self._closed()
            if closed is not None:
                raise Refusal(503, closed[0], retry_after_s=closed[1])
            level = pressure.level()
            if level >= 1:
                raise _busy(collector, pressure)
            gate, actor = self._admit(collector, source, scope)
            raw, encoding = await self._body(scope, reading, gate)
            size = len(raw)
            named = _named(scope) if gate.reads_headers else {}
            proof = await gate.check(named, raw, self._clock()) if gate.checks_body else ""
            body = decompress(raw, encoding, self._limits.decompressed) if encoding else raw
            size = len(body)
            if body is not raw:
                held += size
                pressure.held += size
            if proof and gate.seen is not None and proof in gate.seen:
                status, answer = 200, b'{"status":"repeated"}'
            elif (greeting := self._greeting(collector, scope["method"], named, body)) is not None:
                if greeting.visit:
                    await self._fetch(greeting.visit, gate.proxy)
                status, answer = 200, greeting.body
                headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in greeting.headers]
            else:
                taken = await self._take(collector, gate, source, actor, named, body, level)
                accepted = taken.events
                status, answer = (
                    _shed(collector, taken.items) if taken.shed else _answer(collector, taken.items, taken.errors)
                )
                if proof and gate.seen is not None and not taken.errors:
                    gate.seen.add(proof, self._clock())
            if self._refused and source in self._refused:
                self._refused.discard(source)
                log.info("source_accepted_again", source=source)
        except Refusal as refusal:
            status, answer = refusal.status, _error(collector, refusal.reason)
            if refusal.retry_after_s is not None:
                headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
            if status == 401:
                headers.append(_CHALLENGE)
            if status < 500 or refusal.why == "busy":
                self._count_rejection(collector, source, refusal)
        except Unproven as unproven:
            status, answer = 401, _error(collector, _NOT_PROVEN)
            headers.append(_CHALLENGE)
            self._count_rejection(collector, source, Refusal(401, _NOT_PROVEN, why=unproven.reason, told=str(unproven)))
        except ForeshockError as error:  # the store, or what had to be fetched: try again
            status, answer = 503, _error(collector, str(error))
            headers.append((b"retry-after", b"5"))
        finally:
            pressure.held -= held
        if unread:
            await self._discard(scope, receive)
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        self._observe(time.perf_counter() - began, status, accepted, size)

    def _admit(self, collector: Collector, source: str, scope: Scope) -> tuple[Gate, str]:
        """The gate of the source, and who sends. Raises Unproven or Refusal."""
        gate = self.gates.of(collector, source)
        gate.admit(scope)
        if gate.proves_itself:
            return gate, source
        try:
            return gate, self._actor(scope)
        except Refusal as refusal:
            if refusal.status == 401:
                raise Unproven("token", refusal.reason) from None
            raise

    def _greeting(self, collector: Collector, method: str, headers: Mapping[str, str], body: bytes) -> Greeting | None:
        """The answer to a call that only asks whether it may send."""
        receive = collector.receive
        assert receive is not None
        try:
            found = receive.handshake(method, headers, body) if receive.handshake is not None else None
        except Malformed as error:
            raise Refusal(400, str(error)) from None
        if found is None and method != "POST":
            raise Refusal(405, "send it with POST")
        return found

    async def _take(
        self,
        collector: Collector,
        gate: Gate,
        source: str,
        actor: str,
        headers: Mapping[str, str],
        body: bytes,
        level: float,
    ) -> Taken:
        """Put it into the inbox, and points of metrics into their history."""
        receive = collector.receive
        assert receive is not None
        if receive.head is not None:
            try:
                body = with_head(receive.head(gate.prepared, headers), body)
            except Malformed as error:
                raise Refusal(400, str(error)) from None
        items = self._decode(collector, body)
        errors, labels = self._check(collector, items)
        points = await self._keep_points(collector, gate, source, items, errors)
        if points and points == len(items):
            return Taken(points, errors, points)
        if level >= SHED_AT and not errors and items:
            now = self._clock()
            if self.pressure.sheds(source, [collector.translate(item, now) for item in items], now, level):
                return Taken(len(items), errors, points, shed=True)
        await self._inbox.append(
            NewRecord(
                kind=RecordKind.EVENTS,
                body=body,
                collector=collector.kind,
                source=source,
                actor=actor,
                items=len(items),
            ),
            Items(items, labels),
        )
        return Taken(len(items), errors, points)

    async def _keep_points(
        self, collector: Collector, gate: Gate, source: str, items: Sequence[Any], errors: Mapping[int, str]
    ) -> int:
        """How many of the items are points. They are kept before what else there is: all of it comes again, or none."""
        receive = collector.receive
        if receive is None or receive.measured is None or gate.meter is None:
            return 0
        measured = receive.measured
        points = [
            point
            for index, item in enumerate(items)
            if index not in errors and item.__class__ is not Malformed and (point := measured(item)) is not None
        ]
        if points:
            metered = gate.meter.read(points, self._clock().timestamp())
            await self._measure(source, collector.kind, metered)
            gate.meter.keep(metered)
        return len(points)

    async def _body(self, scope: Scope, receive: Receive, gate: Gate) -> tuple[bytes, str]:
        """The body as it came, and its content encoding; empty where it has none."""
        limit = self._limits.body
        encoding = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                if value.isdigit() and int(value) > limit:
                    raise Refusal(413, f"the body has {int(value)} bytes, {limit} are allowed; send smaller batches")
            elif name == b"content-encoding":
                encoding = value.strip().lower()
            elif (
                name == b"content-type"
                and (sort := value.partition(b";")[0].strip().lower()) in _BROWSER_FORMS
                and not gate.takes(sort.decode())
            ):
                # What a browser may post across sites without asking first never gets in by itself.
                raise Refusal(415, f"content type {value.decode('latin-1')} is not accepted; send application/json")
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            chunks, size = [body], len(body)
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the connection ended before the body did")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise Refusal(413, f"the body has more than {limit} bytes; send smaller batches")
            body = b"".join(chunks)
        if len(body) > limit:
            raise Refusal(413, f"the body has {len(body)} bytes, {limit} are allowed; send smaller batches")
        return body, "" if encoding == b"identity" else encoding.decode("latin-1")

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        """Read what is left of a refused body: closing on a sender in mid-sentence would cost it the answer."""
        if any(name == b"expect" for name, _ in scope["headers"]):
            return  # it asks before it sends
        size, more = 0, True
        while more and size <= _DISCARDED_LIMITS * self._limits.body:
            message = await receive()
            size += len(message.get("body", b""))
            more = bool(message.get("more_body"))

    def _decode(self, collector: Collector, body: bytes) -> Sequence[Any]:
        try:
            items = collector.decode(body)
        except Malformed as error:
            raise Refusal(400, str(error)) from None
        except RecursionError:
            raise Refusal(400, "the body is nested too deep") from None
        if len(items) > self._limits.batch:
            raise Refusal(
                413, f"the batch has {len(items)} items, {self._limits.batch} are allowed; send smaller batches"
            )
        return items

    def _check(self, collector: Collector, items: Sequence[Any]) -> tuple[dict[int, str], dict[int, dict[str, str]]]:
        """What is wrong with which item, and the labels of those that are new and sound. What was found sound before,
        as a re-send was, is not looked into again."""
        errors: dict[int, str] = {}
        labels: dict[int, dict[str, str]] = {}
        sound, translate, now = self._sound, collector.translate, self._clock()
        for index, item in enumerate(items):
            try:
                if item.__class__ is Malformed:
                    raise item
                event = translate(item, now)
                if not isinstance(event, Event):
                    continue
                key = hash((bytes(event.labels), bytes(event.annotations)))
                place = key % _SOUND
                if sound[place] != key:
                    found = read_labels(event.labels)
                    read_annotations(event.annotations)
                    labels[index] = found
                    sound[place] = key
            except Malformed as error:
                errors[index] = str(error)
        return errors, labels

    def _count_rejection(self, collector: Collector, source: str, refusal: Refusal) -> None:
        if refusal.status == 401 and source not in self.gates.named:
            source = collector.kind  # a name that somebody made up
        found = self.rejections.get(source)
        if found is None:
            if len(self.rejections) >= self.MAX_SOURCES:
                return
            found = self.rejections[source] = Rejections(by={})
        found.requests += 1
        found.by[refusal.why] = found.by.get(refusal.why, 0) + 1
        found.last_error, found.last_at = refusal.told[:500], self._clock()
        if refusal.status == 401 and source not in self._refused:
            self._refused.add(source)
            log.warning("source_refused", source=source, reason=refusal.why, error=refusal.told)


def _named(scope: Scope) -> dict[str, str]:
    """Headers by name in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _busy(collector: Collector, pressure: Pressure) -> Refusal:
    receive = collector.receive
    return Refusal(receive.busy if receive else 429, f"too much at once: {pressure.why()}", retry_after_s=2, why="busy")


def _shed(collector: Collector, items: int) -> tuple[int, bytes]:
    """It was let go, as people said it may be; the sender need not come again."""
    if _as_alertmanager(collector):
        return 200, b""
    return 202, msgspec.json.encode({"accepted": 0, "rejected": 0, "shed": items, "results": []})


def _as_alertmanager(collector: Collector) -> bool:
    return collector.receive is not None and collector.receive.answer == "alertmanager"


def _answer(collector: Collector, items: int, errors: Mapping[int, str]) -> tuple[int, bytes]:
    if _as_alertmanager(collector):
        # As Alertmanager: the good ones are taken, and the answer names what is wrong with the others.
        return (
            (200, b"")
            if not errors
            else (400, msgspec.json.encode("; ".join(f"alert {index}: {text}" for index, text in errors.items())))
        )
    results = [
        {"index": index, "status": "rejected", "error": errors[index]}
        if index in errors
        else {"index": index, "status": "accepted"}
        for index in range(items)
    ]
    status = 202 if not errors else 207 if len(errors) < items else 400
    return status, msgspec.json.encode({"accepted": items - len(errors), "rejected": len(errors), "results": results})


def _error(collector: Collector, reason: str) -> bytes:
    return msgspec.json.encode(reason if _as_alertmanager(collector) else {"error": reason})


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Take a content encoding off, never producing more than ``limit`` bytes: a bomb costs what it may, not what it
    wants.

    Raises Refusal: 415 for an encoding not known, 400 for damaged data, 413 beyond the limit.
    """
    try:
        if encoding in ("gzip", "x-gzip"):
            data = _inflate(body, 31, limit)
        elif encoding == "deflate":
            # Some senders mean raw deflate; zlib's header tells which.
            data = _inflate(
                body, 15 if body[:1] and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0 else -15, limit
            )
        elif encoding == "zstd":
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 25).stream_reader(body, read_across_frames=True)
            chunks, size = [], 0
            while size <= limit and (chunk := reader.read(min(1 << 20, limit + 1 - size))):
                chunks.append(chunk)
                size += len(chunk)
            data = b"".join(chunks)
        else:
            raise Refusal(415, f"content encoding {encoding!r} is not known; use gzip, deflate, zstd or none")
    except (zlib.error, zstandard.ZstdError) as error:
        raise Refusal(400, f"the body is not valid {encoding}: {error}") from None
    if len(data) > limit:
        raise Refusal(413, f"the body has more than {limit} bytes when decompressed; send smaller batches")
    return data


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    data = inflater.decompress(body, limit + 1)
    if len(data) <= limit and not inflater.eof:
        raise zlib.error("it ends too early")
    return data
