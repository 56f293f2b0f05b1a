"""Serves one Foreshock until it is told to stop."""

import asyncio
import ctypes
import gc
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime

import structlog
import uvicorn

from foreshock.core.errors import Fenced, ForeshockError
from foreshock.service.runner import utc_now
from foreshock.service.settings import Settings
from foreshock.service.wiring import Foreshock

log = structlog.get_logger("server")

OK, FAILED, TEMPORARY = 0, 1, 75
_DRAIN_S = 25
_SWITCH_S = 0.001
"""How long one thread may keep the interpreter while another waits: Python's 5 ms would be most of an answer's time."""


def serve(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    demo: bool = False,
    ready: Callable[[Foreshock, str], None] = lambda foreshock, url: None,
) -> int:
    """Run until SIGTERM or SIGINT; the exit code. ``ready`` is called with the console's address once requests are
    answered.

    Raises Held and Unavailable as ``Foreshock`` does, ForeshockError where the address is taken.
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

    foreshock = Foreshock(settings, clock=clock, demo=demo, on_fatal=give_up)
    sys.setswitchinterval(_SWITCH_S)
    # What was loaded at the start lives as long as we do; looking through it again and again for garbage is wasted
    # time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    foreshock.start()
    server = uvicorn.Server(
        uvicorn.Config(
            foreshock.app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN_S,
        )
    )
    # uvicorn raises the signal again after it has shut down; we still have work to do then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if failed:
        server.should_exit = True

    async def run() -> None:
        assert server is not None
        telling = asyncio.get_running_loop().run_in_executor(None, ready, foreshock, url)
        await server.serve(sockets=[listening])
        await telling

    uvicorn_loop = server.config.get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        runner.run(run())
    foreshock.stop()
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
