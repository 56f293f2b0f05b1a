"""The way in: records are numbered, written in groups with one sync each, and only then acknowledged.

Group commit: while one group is being synced, whatever arrives waits together for the next. So the price of durability
is shared by all requests of a moment, and a lone request pays just its own sync.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from foreshock.core.contracts import Items, NewRecord, Record
from foreshock.core.errors import Fenced, ForeshockError, Unavailable
from foreshock.store.journal import Journal

_GROUP_RECORDS = 512
_GROUP_BYTES = 32 * 1024 * 1024
_FEED_BYTES = 4 * 1024 * 1024
"""Decoded batches kept for the engine; beyond it the engine reads records from the store, slower but bounded."""


class _Waiting:
    __slots__ = ("future", "items", "loop", "record")

    def __init__(
        self, record: NewRecord, items: Items | None, future: Any, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self.record, self.items, self.future, self.loop = record, items, future, loop


class Inbox(Protocol):
    """What everybody but the intake needs of it; it may be another process that writes.

    Attributes:
        last: number of the newest record that is on disk.
    """

    @property
    def last(self) -> int: ...

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        """The record's number, once it is on disk. Raises Unavailable if it could not be written."""

    def append_now(self, record: NewRecord) -> int:
        """The same from a thread that may wait."""

    def take(self, after: int, limit: int, max_bytes: int) -> Sequence[tuple[Record, Items | None]]:
        """Records that follow number ``after`` in order, at most ``limit`` and no more once their bodies have
        ``max_bytes``."""

    def wait(self, timeout_s: float) -> None:
        """Until there may be more to take."""

    def wake(self) -> None:
        """Have who waits look again."""

    def stop(self) -> None:
        """Write what is waiting and end."""


class WritingInbox:
    """Appends records to the journal from one thread of its own.

    Args:
        clock: what time it is; a record is never dated before the one it follows, whatever the clock does.
        on_append: called after each synced group, from the appending thread.
        feed: keep what was taken in for who reads it in this process.
        on_fatal: called when another process turns out to write this inbox.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], datetime],
        on_append: Callable[[], None],
        on_fatal: Callable[[Exception], None],
        *,
        feed: bool = True,
    ) -> None:
        self._journal, self._clock, self._on_append, self._on_fatal = journal, clock, on_append, on_fatal
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self.last, at = journal.last_record()
        self._last_at = at or clock()
        self._feed: deque[tuple[Record, Items | None]] = deque()
        self._feed_bytes, self._most_fed = 0, _FEED_BYTES if feed else 0
        self._more = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self.groups = 0
        self.bytes = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._queue.put(_Waiting(record, items, future, loop))
        return await future

    async def append_all(self, records: Sequence[NewRecord]) -> None:
        """The same for several at once, from any event loop."""
        await asyncio.gather(*(self.append(record) for record in records))

    def append_now(self, record: NewRecord) -> int:
        future: Future[int] = Future()
        self._queue.put(_Waiting(record, None, future, None))
        return future.result(timeout=60)

    def take(self, after: int, limit: int, max_bytes: int) -> list[tuple[Record, Items | None]]:
        """From memory where they still are, else from the store."""
        feed = self._feed
        while feed and feed[0][0].number <= after:
            self._pop()
        taken: list[tuple[Record, Items | None]] = []
        size = 0
        while feed and len(taken) < limit and size < max_bytes and feed[0][0].number == after + 1:
            taken.append(self._pop())
            size += len(taken[-1][0].body)
            after += 1
        if taken or after >= self.last:
            return taken
        upto = feed[0][0].number - 1 if feed else None
        return [(record, None) for record in self._journal.records(after, limit=limit, upto=upto, max_bytes=max_bytes)]

    def wait(self, timeout_s: float) -> None:
        self._more.wait(timeout_s)
        self._more.clear()

    def wake(self) -> None:
        self._more.set()

    def _pop(self) -> tuple[Record, Items | None]:
        entry = self._feed.popleft()
        self._feed_bytes -= len(entry[0].body)
        return entry

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, size, last_group = [first], len(first.record.body), False
            while len(group) < _GROUP_RECORDS and size < _GROUP_BYTES:
                try:
                    waiting = self._queue.get_nowait()
                except Empty:
                    break
                if waiting is None:
                    last_group = True
                    break
                group.append(waiting)
                size += len(waiting.record.body)
            self._write(group, size)
            if last_group:
                return

    def _write(self, group: list[_Waiting], size: int) -> None:
        number = self.last
        at = self._last_at = max(self._last_at, self._clock())
        rows = [(number + index, at, waiting.record) for index, waiting in enumerate(group, 1)]
        try:
            self._journal.append(rows)
        except Exception as error:
            known = (
                error if isinstance(error, ForeshockError) else Unavailable(f"the inbox could not be written: {error}")
            )
            for waiting in group:
                _tell(waiting, known)
            if isinstance(error, Fenced):
                self._on_fatal(error)
            return
        for (row_number, row_at, record), waiting in zip(rows, group, strict=True):
            if self._feed_bytes < self._most_fed:
                self._feed_bytes += len(record.body)
                self._feed.append(
                    (
                        Record(
                            number=row_number,
                            at=row_at,
                            kind=record.kind,
                            body=record.body,
                            collector=record.collector,
                            source=record.source,
                            actor=record.actor,
                        ),
                        waiting.items,
                    )
                )
        self.last = rows[-1][0]
        self.groups += 1
        self.bytes += size
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, int]]] = {}
        for (row_number, _, _), waiting in zip(rows, group, strict=True):
            if waiting.loop is None:
                waiting.future.set_result(row_number)
            else:
                by_loop.setdefault(waiting.loop, []).append((waiting, row_number))
        for loop, answers in by_loop.items():  # one wake-up a group, not one a request
            loop.call_soon_threadsafe(_answer, answers)
        self.wake()
        self._on_append()


def _answer(answers: list[tuple[_Waiting, int]]) -> None:
    for waiting, number in answers:
        if not waiting.future.done():
            waiting.future.set_result(number)


def _tell(waiting: _Waiting, error: Exception) -> None:
    def fail() -> None:
        if not waiting.future.done():
            waiting.future.set_exception(error)

    if waiting.loop is None:
        fail()
    else:
        waiting.loop.call_soon_threadsafe(fail)
