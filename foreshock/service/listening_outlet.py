"""Where a listener hands over what came in: in batches to the process that started it, many on their way at once.

A sync of the disk takes milliseconds. So while one batch is on its way the next gathers, and a listener that waits for
each single record before it acknowledges it still shares one sync with all that wait beside it.
"""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Listener, Outcome
from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.core.model import Samples
from foreshock.service.metric_process import Append, Points

MAX_BYTES = 16 * 2**20
"""Handed over and not on disk yet; who hands over more waits."""
MAX_POINTS = 1_000_000
BATCH_BYTES, BATCH_RECORDS = 2 * 2**20, 512
BATCH_POINTS = 200_000
STOP_S = 15.0
"""How long a listener has to hand over what it holds."""
_TELL_S = 1.0
_BATCHES = 3  # on their way at once

Call = Callable[[str, Any], Awaitable[Any]]


class Orders(Struct, frozen=True, kw_only=True):
    """What a process is told when it starts. build, config: as the kind has them, and as the settings do.
    lock: file that the one process of the instance holds."""

    name: str
    build: Callable[[str, Any], Listener | None]
    config: Any
    log_level: str
    log_format: Literal["auto", "json", "console"]
    lock: Path


class _Record(Struct, frozen=True):
    payload: bytes
    items: int
    collector: str
    headers: Mapping[str, str] | None
    done: "asyncio.Future[None]"


class _Measured(Struct, frozen=True):
    samples: Sequence[Samples]
    points: int
    done: "asyncio.Future[None]"


class BatchOutlet:
    """Implements ``Outlet``, in one event loop.

    Args:
        source: name of the instance.
        call: asks the process that keeps things; raises Unavailable.
    """

    def __init__(self, source: str, call: Call) -> None:
        self._source, self._call = source, call
        self._room = asyncio.Condition()
        self._bytes = self._points = 0
        self._records: deque[_Record] = deque()
        self._measured: deque[_Measured] = deque()
        self._sending = self._appending = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: Counter[str] = Counter()
        self._problem = self._address = ""
        self._tops: Sequence[tuple[str, str, int]] = ()
        self._told: tuple[Any, ...] = ()

    # ---- Outlet ----

    async def take(
        self, payload: bytes, *, items: int = 1, collector: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        while self._bytes and self._bytes + len(payload) > MAX_BYTES:
            await self._wait_for_room()
        self._bytes += len(payload)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._records.append(_Record(payload, items, collector, headers, done))
        if self._sending < _BATCHES:
            self._begin(self._send())
        try:
            await done
        finally:
            self._bytes -= len(payload)
            await self._say_room()

    async def measure(self, samples: Sequence[Samples]) -> None:
        points = sum(len(each.times) for each in samples)
        if not points:
            return
        while self._points and self._points + points > MAX_POINTS:
            await self._wait_for_room()
        self._points += points
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._measured.append(_Measured(samples, points, done))
        if not self._appending:  # the process for metrics does one thing at a time
            self._begin(self._append())
        try:
            await done
        finally:
            self._points -= points
            await self._say_room()

    def count(self, what: Outcome, by: int = 1) -> None:
        if by:
            self._counts[what.value] += by

    def say(self, problem: str) -> None:
        self._problem = problem[:1000]

    def listens(self, address: str) -> None:
        self._address = address[:300]

    def show(self, tops: Sequence[tuple[str, str, int]]) -> None:
        self._tops = tops

    # ---- telling ----

    async def tell(self) -> None:
        """What was counted and said since the last time. Raises Unavailable."""
        stands = (self._address, self._problem, self._tops)
        if not self._counts and stands == self._told:
            return
        counts, self._counts = self._counts, Counter()
        try:
            await self._call(
                "tell",
                {"counts": dict(counts), "address": self._address, "problem": self._problem, "tops": self._tops},
            )
        except Unavailable:
            self._counts.update(counts)
            raise
        self._told = stands

    async def keep_telling(self) -> None:
        while True:
            await self.tell()
            await asyncio.sleep(_TELL_S)

    # ---- sending ----

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        self._sending += 1
        try:
            await asyncio.sleep(0)  # what comes in the same moment goes along
            while self._records:
                batch: list[_Record] = []
                size = 0
                while self._records and len(batch) < BATCH_RECORDS and size < BATCH_BYTES:
                    record = self._records.popleft()
                    batch.append(record)
                    size += len(record.payload)
                asked = self._call("take", [(each.payload, each.items, each.collector, each.headers) for each in batch])
                await _settle(asked, [each.done for each in batch])
        finally:
            self._sending -= 1

    async def _append(self) -> None:
        self._appending += 1
        try:
            await asyncio.sleep(0)
            while self._measured:
                measures: list[_Measured] = []
                points = 0
                while self._measured and points < BATCH_POINTS:
                    measured = self._measured.popleft()
                    measures.append(measured)
                    points += measured.points
                body = encoded(self._source, [each for measured in measures for each in measured.samples])
                await _settle(self._call("measure", (points, body)), [each.done for each in measures])
        finally:
            self._appending -= 1

    async def _wait_for_room(self) -> None:
        async with self._room:
            await self._room.wait()

    async def _say_room(self) -> None:
        async with self._room:
            self._room.notify_all()


def encoded(source: str, samples: Sequence[Samples]) -> bytes:
    """``Append`` as the process for metrics reads it."""
    points = [
        Points(each.series, array("d", each.times).tobytes(), array("d", each.values).tobytes())
        for each in samples
        if len(each.times)
    ]
    return msgspec.msgpack.encode(Append(source, points, ""))


async def _settle(asked: Awaitable[Any], futures: Sequence["asyncio.Future[None]"]) -> None:
    """Those who wait learn what came of it."""
    error: Exception | None = None
    try:
        await asked
    except ForeshockError as refused:
        error = refused
    for done in futures:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(Unavailable(str(error)))
