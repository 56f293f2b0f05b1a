"""Serves one Foreshock until it is told to stop."""

import asyncio
import ctypes
import gc
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

from foreshock.core.errors import Fenced, ForeshockError
from foreshock.service.clock import utc_now
from foreshock.service.front import Front
from foreshock.service.settings import Settings, SettingsSource

if TYPE_CHECKING:
    from foreshock.service.wiring import Foreshock

log = structlog.get_logger("server")

OK, FAILED, TEMPORARY = 0, 1, 75
_DRAIN_S = 25
_POLL_S = 0.005
_SWITCH_S = 0.001
"""How long one thread may keep the interpreter while another waits: Python's 5 ms would be most of an answer's time."""

_GARBAGE = (5_000, 10, 200)
"""Objects between two looks for cycles among the newest, and looks between those among the older. All threads stand
still for one: 5,000 objects take 4 ms. Hardly anything here is in a cycle, so the oldest are looked through rarely."""


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
    _return_memory()
    listening = _listen(settings.listen)
    if settings.port == 0:  # any free one: now it has a number
        settings = settings.model_copy(
            update={"listen": f"{settings.listen.rpartition(':')[0]}:{listening.getsockname()[1]}"}
        )
    url = settings.url
    failed: list[Exception] = []
    server: uvicorn.Server | None = None

    def give_up(error: Exception) -> None:
        failed.append(error)
        if server is not None:
            server.should_exit = True

    sys.setswitchinterval(_SWITCH_S)
    gc.disable()
    front = Front(settings, clock=clock, on_fatal=give_up)
    front.start()
    server = uvicorn.Server(
        uvicorn.Config(
            front.app,
            lifespan="off",
            ws="none",  # there are none, and the library would be loaded before the first answer
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN_S,
        )
    )
    loaded: list[Foreshock] = []

    def load() -> None:
        from foreshock.service.wiring import Foreshock

        foreshock = Foreshock(front, source=source, demo=demo)
        foreshock.start()
        # What was loaded lives as long as we do; looking through it again and again for garbage is wasted time.
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        gc.enable()
        loaded.append(foreshock)

    if front.fresh:
        load()

    def reload() -> None:
        if not loaded:
            log.warning("SIGHUP came while the state was being loaded; the settings were just read")
            return
        with suppress(ForeshockError):  # it is told where it is refused
            loaded[0].reloader.reload("SIGHUP")

    # uvicorn raises the signal again after it has shut down; we still have work to do then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=reload, daemon=True).start())
    if failed:
        server.should_exit = True

    def finish_loading() -> None:
        assert server is not None
        while not server.started and not server.should_exit:
            time.sleep(_POLL_S)
        try:
            if not loaded and server.started:
                load()
        except Exception as error:
            front.fatal(error)
        else:
            if loaded:
                ready(loaded[0], url)

    async def run() -> None:
        assert server is not None
        loading = asyncio.get_running_loop().run_in_executor(None, finish_loading)
        await server.serve(sockets=[listening])
        await loading

    uvicorn_loop = server.config.get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        runner.run(run())
    if loaded:
        loaded[0].stop()
    else:
        front.stop()
    if failed and not loaded:
        raise failed[0]
    if failed:
        return TEMPORARY if isinstance(failed[0], Fenced) else FAILED
    return OK


def _return_memory() -> None:
    """Ask glibc to give request bodies back to the system when they are done, and to keep one heap instead of one a
    thread:
    a fifth less memory with many alerts (benchmarks/memory.py). Elsewhere than on glibc nothing happens."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    # Names and numbers as in glibc's malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD.
    for parameter, value in ((-8, 1), (-3, 64 * 1024), (-1, 128 * 1024)):
        mallopt(parameter, value)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=1024, reuse_port=False)
    except OSError as error:
        raise ForeshockError(
            f"cannot listen on {address}: {error.strerror}", hint="choose another address with --listen"
        ) from None
