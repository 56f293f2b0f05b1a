"""The process of one listener from inside: ``python -m foreshock.service.listening_work DESCRIPTOR``.

The descriptor is a socket to the process that started it, which says what to listen to. When that process is gone, so
is this one: nothing is acknowledged that nobody would work on.
"""

import asyncio
import fcntl
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from foreshock.core.errors import Denied, ForeshockError, Unavailable
from foreshock.service import logs
from foreshock.service.bridge import Bridge
from foreshock.service.listening_outlet import STOP_S, BatchOutlet, Orders

log = structlog.get_logger("listening")

_GIVE_UP_S = 5.0  # for a listener to let go once nothing can be handed over any more
_OTHER_S = 20.0  # for the process of a Foreshock before this one to end
_POLL_S = 0.1


class Work:
    def __init__(self, end: socket.socket) -> None:
        self._bridge = Bridge(end, {"listen": self._listen, "stop": self._stop})
        self._running: asyncio.Task[None] | None = None
        self._outlet: BatchOutlet
        self._stopping = False

    async def run(self) -> None:
        await self._bridge.run()
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running], timeout=_GIVE_UP_S)

    async def _listen(self, orders: Any) -> None:
        # From the process that started this one, through a socket that only the two have.
        read: Orders = pickle.loads(orders)  # noqa: S301
        logs.configure(read.log_level, read.log_format)
        structlog.contextvars.bind_contextvars(source=read.name)
        self._outlet = BatchOutlet(read.name, self._bridge.call)
        self._running = asyncio.create_task(self._keep(read))

    async def _stop(self, _: Any) -> None:
        """Returns once all is handed over."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=STOP_S)
            await self._outlet.tell()

    async def _keep(self, orders: Orders) -> None:
        telling = asyncio.create_task(self._outlet.keep_telling())
        denied, why = False, ""
        try:
            await _own(orders.lock)
            listener = orders.build(orders.name, orders.config)
            assert listener is not None
            await listener.run(self._outlet)
            why = "it stopped listening by itself"
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except Exception as error:
            denied, why = isinstance(error, Denied), str(error)
            if not isinstance(error, ForeshockError):
                log.exception("a listener failed")
                why = f"{type(error).__name__}: {error}"
        finally:
            telling.cancel()
        if not self._stopping:
            with suppress(Unavailable):
                await self._outlet.tell()
                await self._bridge.call("ended", (denied, why))
            self._bridge.close()


async def _own(lock: Path) -> None:
    """One process for an instance: that of a Foreshock that was killed may need a moment to end. Raises Unavailable."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)  # held until this process ends
    except OSError as error:
        raise Unavailable(f"{lock} cannot be opened: {error.strerror}", hint="check the folder `state`") from None
    deadline = time.monotonic() + _OTHER_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise Unavailable("another process still listens for this instance", hint=f"it holds {lock}") from None
        await asyncio.sleep(_POLL_S)


def _end_with(parent: int, patience_s: float) -> None:
    """Also where the listener keeps the event loop busy for ever."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(patience_s)
    os._exit(1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main() -> None:
    os.dup2(2, 1)  # what anything prints is log
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # a service manager may send them to all of us
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(), _GIVE_UP_S + 1), daemon=True).start()
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Work(end).run())


if __name__ == "__main__":
    main()
