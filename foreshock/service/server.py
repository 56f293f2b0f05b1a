"""Serves one Foreshock until it is told to stop."""

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
import uvicorn

from foreshock.core.errors import Fenced, ForeshockError, Unavailable
from foreshock.service import memory
from foreshock.service.apart import Ends, FrontApart, server_for, take_in
from foreshock.service.clock import utc_now
from foreshock.service.front import Front, own
from foreshock.service.settings import Settings, SettingsSource

if TYPE_CHECKING:
    from foreshock.service.wiring import Foreshock

log = structlog.get_logger("server")

OK, FAILED, TEMPORARY = 0, 1, 75
_SWITCH_S = 0.001
"""How long one thread may keep the interpreter while another waits: Python's 5 ms would be most of an answer's time."""


def serve(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    source: SettingsSource | None = None,
    demo: bool = False,
    ready: "Callable[[Foreshock, str], None]" = lambda foreshock, url: None,
) -> int:
    """Run until SIGTERM or SIGINT; the exit code. ``ready`` is called with the console's address once all requests are
    answered; events are taken in before that, unless this is the very first start. SIGHUP reads settings and rules
    again from ``source``.

    Raises what ``Front`` and ``Foreshock`` raise, ForeshockError where the address is taken.
    """
    memory.settle()
    listening = _listen(settings.listen)
    if settings.port == 0:  # any free one: now it has a number
        settings = settings.model_copy(
            update={"listen": f"{settings.listen.rpartition(':')[0]}:{listening.getsockname()[1]}"}
        )
    sys.setswitchinterval(_SWITCH_S)
    gc.disable()
    if demo:  # its clock is one that both processes would have to turn
        return _serve_in_one(settings, listening, clock, ready)
    lock, ends = own(settings.state), Ends()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        ends.here.close()
        return take_in(settings, listening, ends, clock)
    listening.close()
    ends.there.close()
    try:
        return _Behind(settings, ends, clock, source, ready).serve(child)
    finally:
        os.close(lock)


class _Behind:
    """The process that works on what the other one takes in, and answers questions."""

    def __init__(
        self,
        settings: Settings,
        ends: Ends,
        clock: Callable[[], datetime],
        source: SettingsSource | None,
        ready: "Callable[[Foreshock, str], None]",
    ) -> None:
        self._settings, self._source, self._ready = settings, source, ready
        self._stopping = asyncio.Event()
        self._front = FrontApart(settings, ends, clock, self._give_up)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed: list[Exception] = []
        self._loaded: list[Foreshock] = []

    def serve(self, child: int) -> int:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._run())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code > 0:  # it has said why
            return code
        if self._failed and not self._loaded and code == 0:
            raise self._failed[0]
        if self._failed:
            return TEMPORARY if isinstance(self._failed[0], Fenced) else FAILED
        return OK if code == 0 else FAILED

    async def _run(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        link = asyncio.create_task(self._front.bridge.run())
        link.add_done_callback(self._is_gone)
        loading = loop.run_in_executor(None, self._load)
        await self._stopping.wait()
        with suppress(Unavailable):
            await self._front.bridge.call("drain")
        await loading
        await loop.run_in_executor(None, (self._loaded[0] if self._loaded else self._front).stop)
        self._front.bridge.close()
        await link

    def _is_gone(self, link: object) -> None:
        self._front.gone()
        if not self._stopping.is_set():
            self._front.fatal(Unavailable("what takes events in has ended"))

    def _give_up(self, error: Exception) -> None:
        self._failed.append(error)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _load(self) -> None:
        try:
            self._front.wait()  # which answers sooner while nothing else wants the processor
            from foreshock.service.wiring import Foreshock

            if self._stopping.is_set():
                return
            foreshock = Foreshock(self._front, source=self._source)
            foreshock.start()
            _settle_garbage()
            self._loaded.append(foreshock)
        except Exception as error:
            if not self._failed:
                self._front.fatal(error)
        else:
            self._ready(foreshock, self._settings.url)

    def _reload(self) -> None:
        _reload(self._loaded)


def _serve_in_one(
    settings: Settings,
    listening: socket.socket,
    clock: Callable[[], datetime],
    ready: "Callable[[Foreshock, str], None]",
) -> int:
    """The same in one process."""
    from foreshock.service.wiring import Foreshock

    failed: list[Exception] = []
    server: uvicorn.Server | None = None

    def give_up(error: Exception) -> None:
        failed.append(error)
        if server is not None:
            server.should_exit = True

    front = Front(settings, clock=clock, on_fatal=give_up)
    front.start()
    foreshock = Foreshock(front, demo=True)
    foreshock.start()
    _settle_garbage()
    server = uvicorn.Server(server_for(front.app, settings))
    # uvicorn raises the signal again after it has shut down; we still have work to do then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    ready(foreshock, settings.url)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))
    foreshock.stop()
    return FAILED if failed else OK


def _settle_garbage() -> None:
    memory.look_rarely()
    gc.enable()


def _reload(loaded: "list[Foreshock]") -> None:
    """SIGHUP."""
    if not loaded:
        log.warning("SIGHUP came while the state was being loaded; the settings were just read")
        return

    def reload() -> None:
        with suppress(ForeshockError):  # it is told where it is refused
            loaded[0].reloader.reload("SIGHUP")

    threading.Thread(target=reload, daemon=True).start()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return uvicorn.Config(None, loop="auto").get_loop_factory()  # type: ignore[arg-type]


_LET_GO_S = 3.0
"""One that was killed a moment ago may hold the address still."""


def _listen(address: str) -> socket.socket:
    deadline = time.monotonic() + _LET_GO_S
    while True:
        try:
            return _listen_now(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                message = f"cannot listen on {address}: {error.strerror}"
                raise ForeshockError(message, hint="choose another address with --listen") from None
        time.sleep(0.1)


def _listen_now(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=1024, reuse_port=False)
