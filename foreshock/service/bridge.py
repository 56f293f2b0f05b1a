"""Two processes of one Foreshock, and one socket between them: what is asked on one side is answered on the other.

The front (``door``) passes on each request that brings no events, as ASGI means it: the application behind may read,
answer and notice a hang-up as if it stood in front itself. In the other direction go calls: what the process behind
wants of the front, above all records for the inbox, which has one writer.
"""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.service.intake import App, Receive, Scope, Send

log = structlog.get_logger("bridge")

_PASSED_ON = (
    "type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers",
    "client", "server",
)  # fmt: skip
_LENGTH_BYTES = 4
_GONE = "the other process of this Foreshock is gone"


class Asked(Struct, frozen=True, tag=True, array_like=True):
    """A request has come in."""

    id: int
    scope: dict[str, Any]


class Wanted(Struct, frozen=True, tag=True, array_like=True):
    """The next message of the request, please."""

    id: int


class Given(Struct, frozen=True, tag=True, array_like=True):
    """That message."""

    id: int
    message: dict[str, Any]


class Said(Struct, frozen=True, tag=True, array_like=True):
    """A message of the answer."""

    id: int
    message: dict[str, Any]


class Done(Struct, frozen=True, tag=True, array_like=True):
    """The answer is complete, unless it ``failed``."""

    id: int
    failed: bool


class Call(Struct, frozen=True, tag=True, array_like=True):
    """What to do, by name, with its argument."""

    id: int
    what: str
    argument: Any


class Result(Struct, frozen=True, tag=True, array_like=True):
    """What came of a call; ``error`` is empty where it went well."""

    id: int
    value: Any
    error: str = ""


Frame = Asked | Wanted | Given | Said | Done | Call | Result


class Bridge:
    """One end.

    Args:
        calls: what the other side may call, by name.
        app: answers the requests the other side passes on; set it before the first comes.
    """

    def __init__(self, end: socket.socket, calls: dict[str, Callable[[Any], Awaitable[Any]]]) -> None:
        self._end, self._calls = end, calls
        self.app: App | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked: dict[int, tuple[Receive, asyncio.Queue[Said | Done]]] = {}
        self._given: dict[int, asyncio.Queue[MutableMapping[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Frame).decode
        self._writer: asyncio.StreamWriter | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.opened = asyncio.Event()

    async def run(self) -> None:
        """Serve this end until the other one closes."""
        self.loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_connection(sock=self._end)
        self.opened.set()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
                self._take(self._decode(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Unavailable(_GONE))
            for id, (_, answer) in self._asked.items():
                answer.put_nowait(Done(id, failed=True))

    def close(self) -> None:
        """Both ends are done."""
        if self._writer is not None:
            self._writer.close()

    # ---- calls ----

    async def call(self, what: str, argument: Any = None) -> Any:
        """What the other side's function of that name returns. Raises Unavailable if it failed, or is gone."""
        id, future = next(self._ids), asyncio.get_running_loop().create_future()
        self._waiting[id] = future
        try:
            self._write(Call(id, what, argument))
            return await future
        finally:
            del self._waiting[id]

    async def _called(self, call: Call) -> None:
        try:
            result = Result(call.id, await self._calls[call.what](call.argument))
        except ForeshockError as error:
            result = Result(call.id, None, str(error))
        except Exception as error:
            log.exception("a call failed", what=call.what)
            result = Result(call.id, None, f"{call.what} failed: {error}")
        self._write(result)

    # ---- requests ----

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: have the other side's application answer."""
        if scope["type"] != "http":
            return
        id, answer = next(self._ids), asyncio.Queue[Said | Done]()
        self._asked[id] = (receive, answer)
        try:
            self._write(Asked(id, {name: scope[name] for name in _PASSED_ON if name in scope}))
            while isinstance(frame := await answer.get(), Said):
                await send(frame.message)
        finally:
            del self._asked[id]
        if frame.failed:
            raise Unavailable("the request failed behind; the log says why")

    async def _give(self, id: int, receive: Receive) -> None:
        message = await receive()
        self._write(Given(id, dict(message)))

    async def _answer(self, asked: Asked) -> None:
        given = self._given[asked.id] = asyncio.Queue()

        async def receive() -> MutableMapping[str, Any]:
            self._write(Wanted(asked.id))
            return await given.get()

        async def send(message: MutableMapping[str, Any]) -> None:
            self._write(Said(asked.id, dict(message)))
            assert self._writer is not None
            await self._writer.drain()

        failed = False
        try:
            assert self.app is not None
            await self.app(_as_asgi(asked.scope), receive, send)
        except Exception:
            log.exception("a request failed", path=asked.scope.get("path"))
            failed = True
        finally:
            del self._given[asked.id]
        self._write(Done(asked.id, failed))

    # ---- frames ----

    def _take(self, frame: Frame) -> None:
        match frame:
            case Call():
                self._begin(self._called(frame))
            case Result():
                future = self._waiting.get(frame.id)
                if future is not None and not future.done():
                    if frame.error:
                        future.set_exception(Unavailable(frame.error))
                    else:
                        future.set_result(frame.value)
            case Asked():
                self._begin(self._answer(frame))
            case Wanted() if frame.id in self._asked:
                self._begin(self._give(frame.id, self._asked[frame.id][0]))
            case Given() if frame.id in self._given:
                self._given[frame.id].put_nowait(frame.message)
            case Said() | Done() if frame.id in self._asked:
                self._asked[frame.id][1].put_nowait(frame)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.get_running_loop().create_task(_unless_gone(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _write(self, frame: Frame) -> None:
        if self._writer is None or self._writer.is_closing():
            raise Unavailable(_GONE)
        body = self._encode(frame)
        self._writer.write(len(body).to_bytes(_LENGTH_BYTES) + body)


async def _unless_gone(work: Awaitable[None]) -> None:
    """Who would hear of it is gone, too."""
    with suppress(Unavailable):
        await work


def _as_asgi(scope: dict[str, Any]) -> dict[str, Any]:
    """Tuples where ASGI has them."""
    for name in ("client", "server"):
        if scope.get(name) is not None:
            scope[name] = tuple(scope[name])
    scope["headers"] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    return scope
