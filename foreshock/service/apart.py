"""The front in a process of its own, so that no question, no rule and no ticket ever keeps a sender waiting.

One Python process uses one core. What takes events in therefore runs beside what works on them: ``take_in`` is all the
first process does, and ``FrontApart`` stands for it in the second, which started it. Records go from one to the other
through the store alone: what was answered is on disk, and what is on disk is worked on, whoever dies in between. If one
of the two ends, so does the other.
"""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
import structlog
import uvicorn

from foreshock.core.contracts import Items, NewRecord, Record
from foreshock.core.errors import Fenced, Unavailable
from foreshock.service import memory
from foreshock.service import metrics as gauges
from foreshock.service.bridge import Bridge
from foreshock.service.front import DiskGuard, Front, who_may
from foreshock.service.intake import App, Rejections
from foreshock.service.posted import Append, PostedPoints
from foreshock.service.settings import DiskGuardSettings, Settings, collector_kinds
from foreshock.store.journal import Journal

log = structlog.get_logger("foreshock")

DRAIN_S = 25
_CALL_S = 60.0
_READ_AT_ONCE = 65536
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ends:
    """What two processes have between them.

    Attributes:
        here, there: a socket for calls and requests; ``there`` is the front's end.
        hear, ring: a pipe; a byte in it says that there are new records.
    """

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.hear, self.ring = os.pipe()
        os.set_blocking(self.ring, False)

    def ring_on(self) -> None:
        with suppress(BlockingIOError):  # full: they know
            os.write(self.ring, b"\0")


# ---- the process in front -------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for the other process, which then says what to do."""
        yield


def server_for(app: App, settings: Settings) -> uvicorn.Config:
    """Raises ConfigError where its certificate cannot be used."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",  # there are none, and the library would be loaded before the first answer
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    if (tls := settings.tls) is not None:
        from foreshock.service.tls import context_of, naming

        context = context_of(tls.certificate, tls.key, tls.client_ca)
        config.ssl_context_factory = lambda config, default: context
        config.load()
        config.http_protocol_class = naming(config.http_protocol_class)
    return config


def take_in(settings: Settings, listening: socket.socket, ends: Ends, clock: Callable[[], datetime]) -> int:
    """Take events in until the other process is gone, or says stop; the exit code.

    Raises what ``Front`` raises.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    taking = _Taking(settings, clock, listening, ends)
    memory.look_rarely()
    with asyncio.Runner(loop_factory=taking.server.config.get_loop_factory()) as runner:
        return runner.run(taking.run())


class _Taking:
    def __init__(self, settings: Settings, clock: Callable[[], datetime], listening: socket.socket, ends: Ends) -> None:
        self._front = Front(settings, clock=clock, on_fatal=self.give_up, owned=True, on_append=ends.ring_on)
        self._front.start()
        self._front.measure_with(self._append_points)
        self._listening = listening
        self.server = _Server(server_for(self._front.app, settings))
        self._bridge = Bridge(
            ends.there,
            {
                "append": self._append,
                "append_all": self._append_all,
                "answer": self._answer,
                "drain": self._drain,
                "stop": self._stop,
                "counted": self._counted,
                "rejections": self._rejections,
                "proofs": self._proofs,
                "posted": self._posted,
                "use": self._use,
            },
        )
        self._open, self._stopped = asyncio.Event(), False
        self._serving: asyncio.Task[None] | None = None

    async def run(self) -> int:
        link = asyncio.create_task(self._bridge.run())
        await self._bridge.opened.wait()
        with suppress(Unavailable):
            await self._bridge.call("up", self._front.fresh)
            if not self._front.fresh:  # else topology and settings come first
                self._serve()
        await link
        if not self._stopped:  # the other process is gone: nothing is answered that nobody will work on
            os._exit(1)
        return 0

    def give_up(self, error: Exception) -> None:
        """From any thread."""
        loop = self._bridge.loop
        if loop is not None:
            told = self._bridge.call("fatal", [isinstance(error, Fenced), str(error)])
            loop.call_soon_threadsafe(asyncio.ensure_future, told)

    def _serve(self) -> None:
        if self._serving is None:
            self._serving = asyncio.create_task(self.server.serve(sockets=[self._listening]))

    async def _append(self, record: Any) -> int:
        return await self._front.inbox.append(msgspec.convert(record, NewRecord))

    async def _append_all(self, records: Any) -> None:
        await self._front.inbox.append_all(msgspec.convert(records, list[NewRecord]))

    async def _answer(self, _: Any) -> None:
        self._front.answer_with(self._bridge.pass_on)
        self._serve()

    async def _drain(self, _: Any) -> None:
        """Answer what has come, and let nobody in any more."""
        self.server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._listening.close()
        self._front.drain()

    async def _stop(self, _: Any) -> None:
        await asyncio.to_thread(self._front.stop)
        self._stopped = True

    async def _counted(self, _: Any) -> list[Any]:
        return gauges.packed(self._front.families())

    async def _rejections(self, _: Any) -> Mapping[str, Rejections]:
        return self._front.rejections()

    async def _proofs(self, _: Any) -> Mapping[str, Mapping[str, int]]:
        return self._front.proofs()

    async def _posted(self, _: Any) -> Mapping[str, PostedPoints]:
        return self._front.posted()

    async def _append_points(self, append: bytes) -> None:
        await self._bridge.call("append_points", append)

    async def _use(self, guard: Any) -> None:
        """The process behind has read the files with secrets before, and told what is wrong with them."""
        settings = self._front.settings
        self._front.use(settings.model_copy(update={"disk_guard": DiskGuardSettings.model_construct(**guard)}))
        if settings.tls is not None and (context := self.server.config.ssl) is not None:
            from foreshock.service.tls import load

            load(context, settings.tls.certificate, settings.tls.key)


# ---- the process behind ---------------------------------------------------------------------------------------------


class FrontApart:
    """Stands for the front where its records are worked on: what ``Front`` is in one process.

    Args:
        on_fatal: called once when it must not go on, with the reason.
    """

    def __init__(
        self, settings: Settings, ends: Ends, clock: Callable[[], datetime], on_fatal: Callable[[Exception], None]
    ) -> None:
        self.settings, self.clock, self._on_fatal = settings, clock, on_fatal
        self._draining = False
        self._disk = DiskGuard(settings)
        self._up: Future[bool] = Future()
        self.bridge = Bridge(
            ends.here,
            {"up": self._is_up, "fatal": self._told_fatal, "append_points": self._append_points},
        )
        self._append: Append | None = None
        self._ends = ends
        self.access = who_may(settings)
        self.collectors = collector_kinds()
        self.inbox = InboxApart(self)
        self.journal: Journal

    @property
    def fresh(self) -> bool:
        return self._up.result()

    async def _is_up(self, fresh: bool) -> None:
        self._up.set_result(fresh)

    async def _told_fatal(self, told: Any) -> None:
        fenced, reason = told
        self.fatal(Fenced(reason) if fenced else Unavailable(reason))

    def measure_with(self, append: Append) -> None:
        self._append = append

    async def _append_points(self, body: Any) -> None:
        if self._append is None:
            raise Unavailable("the metric history is still being loaded")
        await self._append(body)

    def gone(self) -> None:
        """The other process has ended."""
        if not self._up.done():
            self._up.set_exception(Unavailable("what takes events in did not start"))

    def wait(self) -> None:
        """Until the store is there: the front brings its schema up to date. Raises Unavailable if the front ended."""
        self._up.result()
        self.journal = Journal(self.settings.store_url)

    def call(self, what: str, argument: Any = None) -> Any:
        """From any thread but the loop's, which would wait for itself."""
        loop = self.bridge.loop
        if loop is None or loop.is_closed():
            raise Unavailable("what takes events in is gone")
        return asyncio.run_coroutine_threadsafe(self.bridge.call(what, argument), loop).result(_CALL_S)

    async def called(self, what: str, argument: Any) -> Any:
        """The same from any event loop."""
        loop = self.bridge.loop
        if loop is None or loop.is_closed():
            raise Unavailable("what takes events in is gone")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.bridge.call(what, argument), loop))

    def answer_with(self, app: App) -> None:
        self.bridge.app = app
        self.call("answer")

    def rejections(self) -> Mapping[str, Rejections]:
        return msgspec.convert(self.call("rejections"), dict[str, Rejections])

    def proofs(self) -> Mapping[str, Mapping[str, int]]:
        return msgspec.convert(self.call("proofs"), dict[str, dict[str, int]])

    def posted(self) -> Mapping[str, PostedPoints]:
        return msgspec.convert(self.call("posted"), dict[str, PostedPoints])

    def families(self) -> gauges.Families:
        return gauges.unpacked(self.call("counted"))

    def use(self, settings: Settings) -> None:
        access = who_may(settings)
        self.call("use", settings.disk_guard.model_dump())
        self.settings = settings
        self._disk.use(settings)
        self.access.take(access)

    def closed(self) -> tuple[str, int] | None:
        return ("Foreshock is stopping", 5) if self._draining else self._disk.closed()

    def fatal(self, error: Exception) -> None:
        self.drain()
        log.error("cannot go on", error=str(error))
        self._on_fatal(error)

    def drain(self) -> None:
        self._draining = True

    def stop(self) -> None:
        self.drain()
        self.inbox.stop()
        if self._up.done() and not self._up.exception():
            self.journal.close()

    # For the inbox.

    def wait_for_ring(self, timeout_s: float) -> None:
        if select.select([self._ends.hear], [], [], timeout_s)[0]:
            os.read(self._ends.hear, _READ_AT_ONCE)

    def ring(self) -> None:
        self._ends.ring_on()


class InboxApart:
    """An inbox that another process writes: read from the store, and appended to by asking that process."""

    def __init__(self, front: FrontApart) -> None:
        self._front, self._stopped = front, False

    @property
    def last(self) -> int:
        return self._front.journal.last_record()[0]

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        number: int = await self._front.bridge.call("append", msgspec.to_builtins(record, builtin_types=(bytes,)))
        return number

    async def append_all(self, records: Sequence[NewRecord]) -> None:
        await self._front.called("append_all", msgspec.to_builtins(records, builtin_types=(bytes,)))

    def append_now(self, record: NewRecord) -> int:
        number: int = self._front.call("append", msgspec.to_builtins(record, builtin_types=(bytes,)))
        return number

    def take(self, after: int, limit: int, max_bytes: int) -> Sequence[tuple[Record, Items | None]]:
        return [(record, None) for record in self._front.journal.records(after, limit=limit, max_bytes=max_bytes)]

    def wait(self, timeout_s: float) -> None:
        self._front.wait_for_ring(timeout_s)

    def wake(self) -> None:
        self._front.ring()

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            with suppress(Unavailable):
                self._front.call("stop")
