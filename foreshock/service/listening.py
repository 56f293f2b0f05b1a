"""Collectors that listen: a process of its own for each instance, started, watched and started again from here.

A process for each, because one that decodes at full speed, or dies of what it was sent, must cost neither questions nor
other sources anything. What it hands over goes to the inbox and the metric history, which this process and the one in
front keep; ``listening_work`` is the other side. If this process ends, so do they.
"""

import asyncio
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from foreshock.core.contracts import Collector, NewRecord, Outcome, RecordKind, as_posted
from foreshock.core.errors import ConfigError, Problem, Unavailable
from foreshock.service import metrics as gauges
from foreshock.service.bridge import Bridge
from foreshock.service.listening_outlet import STOP_S, Orders
from foreshock.service.settings import CollectorInstance, LogSettings
from foreshock.service.views import CountedView, ListeningView

log = structlog.get_logger("listening")

_WORK = "foreshock.service.listening_work"  # by name: here is none of what it imports
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_DENIED_S = 900.0
_PRESSED_S = 0.2
"""Credentials that were refused are not tried again sooner: some servers lock an account."""
_STEADY_S = 60.0
"""One that ran so long begins with the shortest pause again."""


class Listened(Struct, kw_only=True):
    """One instance, since the start.

    Attributes:
        address: what it is bound to, or connected with, for people; empty while it is neither.
        running: its process is up. restarts: how often it had to be started again.
        counts: of what was sent, by outcome. points: of samples.
        problem: what it says itself. failure: why its last process ended; empty once one runs steadily.
        tops: what comes most, as (of what, text, count).
    """

    name: str
    kind: str
    title: str
    address: str = ""
    running: bool = False
    pid: int = 0
    restarts: int = 0
    last_heard: datetime | None = None
    counts: Counter[str]
    points: int = 0
    problem: str = ""
    failure: str = ""
    tops: Sequence[tuple[str, str, int]] = ()


class Listening:
    """Args:
        append: puts records into the inbox and returns once they are on disk. From the event loop of the listeners.
        measure: appends an encoded ``metric_process.Append`` to the metric history, and waits for it.
        closed: why nothing can be taken in now, and for how many seconds; None while all is well.
        pressed: more is waiting to be worked on than may; listeners wait until that is over.
    Raises: ConfigError with the problems of all instances.
    """

    def __init__(
        self,
        instances: Iterable[CollectorInstance],
        kinds: Mapping[str, Collector],
        *,
        state: Path,
        log: LogSettings,
        append: Callable[[Sequence[NewRecord]], Awaitable[object]],
        measure: Callable[[bytes], object],
        closed: Callable[[], tuple[str, int] | None],
        clock: Callable[[], datetime],
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.kinds, self.clock = kinds, clock
        self.append, self.measure, self._closed, self.pressed = append, measure, closed, pressed
        self._keepers: list[_Keeper] = []
        problems: list[Problem] = []
        for instance in instances:
            kind = kinds[instance.kind]
            if kind.listen is None:
                continue
            try:
                listens = kind.listen.build(instance.name, instance.config) is not None
            except ConfigError as error:
                problems += error.problems
                continue
            if listens:
                orders = Orders(
                    name=instance.name,
                    build=kind.listen.build,
                    config=instance.config,
                    log_level=log.level,
                    log_format=log.format,
                    lock=state / "listening" / f"{instance.name}.lock",
                )
                self._keepers.append(_Keeper(self, orders, kind))
        if problems:
            raise ConfigError(problems)
        self.stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="listening", daemon=True)

    def __bool__(self) -> bool:
        return bool(self._keepers)

    def start(self) -> None:
        """Nothing where they have been started."""
        if self._keepers and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Each hands over what it holds; who does not within ``STOP_S`` is ended."""
        if not self._thread.is_alive():
            return
        while self._loop is None:
            time.sleep(0.01)
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self.stopping.set)
        self._thread.join()

    def closed(self) -> tuple[str, int] | None:
        """What is handed over while we stop is still kept."""
        return None if self.stopping.is_set() else self._closed()

    def _run(self) -> None:
        asyncio.run(self._keep_all())

    async def _keep_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(keeper.keep() for keeper in self._keepers))

    # ---- what people are shown ----

    def listened(self) -> list[Listened]:
        return [keeper.listened for keeper in self._keepers]

    def views(self) -> Mapping[str, ListeningView]:
        """By instance."""
        return {each.name: _view(each) for each in self.listened()}

    def families(self) -> Iterable[Metric]:
        listened = self.listened()
        if not listened:
            return
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_source_items",
            "What sources that are listened to have sent, by what became of it.",
            ("source", "outcome"),
            [((each.name, outcome), float(n)) for each in listened for outcome, n in dict(each.counts).items()],
        )
        yield gauges.labelled(
            GaugeMetricFamily,
            "foreshock_listener_up",
            "1 while a listener runs and has nothing to complain of.",
            ("source",),
            [((each.name,), float(each.running and not each.problem)) for each in listened],
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_listener_restarts",
            "How often a listener had to be started again.",
            ("source",),
            [((each.name,), float(each.restarts)) for each in listened],
        )


def _view(each: Listened) -> ListeningView:
    return ListeningView(
        name=each.name,
        collector=each.kind,
        title=each.title,
        address=each.address,
        running=each.running,
        restarts=each.restarts,
        last_heard=each.last_heard,
        counts=dict(each.counts),
        points=each.points,
        problem=each.problem or each.failure,
        tops=tuple(CountedView(of=of, text=text, count=count) for of, text, count in each.tops),
    )


class _Keeper:
    """Keeps the one process of an instance going."""

    def __init__(self, all: Listening, orders: Orders, kind: Collector) -> None:
        self._all, self._orders = all, orders
        self.listened = Listened(name=orders.name, kind=kind.kind, title=kind.title, counts=Counter())
        self._denied = False

    async def keep(self) -> None:
        """Until all stop."""
        failures = 0
        while not self._all.stopping.is_set():
            began = time.monotonic()
            self._denied, self.listened.failure = False, ""
            code = await self._once()
            self.listened.running, self.listened.address = False, ""
            if self._all.stopping.is_set():
                return
            self.listened.restarts += 1
            failures = 0 if time.monotonic() - began >= _STEADY_S else failures + 1
            pause_s = _DENIED_S if self._denied else _PAUSES_S[min(failures, len(_PAUSES_S)) - 1 if failures else 0]
            self.listened.failure = self.listened.failure or f"its process ended with code {code}; see the log"
            log.warning("a listener ended", source=self._orders.name, why=self.listened.failure, next_try_in_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all.stopping.wait(), pause_s)

    async def _once(self) -> int:
        """One process from its start to its end; its exit code."""
        here, there = socket.socketpair()
        command = [sys.executable, "-m", _WORK, str(there.fileno())]
        process = await asyncio.to_thread(_start, command, there)
        self.listened.pid = process.pid
        bridge = Bridge(here, {"take": self._take, "measure": self._measure, "tell": self._tell, "ended": self._ended})
        link = asyncio.create_task(bridge.run())
        await bridge.opened.wait()
        asking = asyncio.create_task(self._lead(bridge))
        await link
        asking.cancel()
        return await asyncio.to_thread(_end, process)

    async def _lead(self, bridge: Bridge) -> None:
        try:
            await bridge.call("listen", pickle.dumps(self._orders))
            self.listened.running = True
            await self._all.stopping.wait()
            await asyncio.wait_for(bridge.call("stop"), STOP_S)
        except TimeoutError:
            log.warning("a listener did not stop in time", source=self._orders.name)
        except Unavailable as error:
            self.listened.failure = self.listened.failure or str(error)
        bridge.close()

    # ---- what it asks of us ----

    async def _take(self, batch: Any) -> None:
        """Records, each as (payload, items, kind, headers)."""
        if (closed := self._all.closed()) is not None:
            raise Unavailable(closed[0], retry_after_s=closed[1])
        while self._all.pressed() and not self._all.stopping.is_set():  # noqa: ASYNC110 (nobody tells when it is over)
            await asyncio.sleep(_PRESSED_S)
        records = [record for each in batch if (record := self._record(*each)) is not None]
        if records:
            await self._all.append(records)
            self.listened.counts[Outcome.RECEIVED.value] += sum(record.items for record in records)
        if len(records) < len(batch):
            self.listened.counts[Outcome.IGNORED.value] += len(batch) - len(records)
        self.listened.last_heard = self._all.clock()

    def _record(
        self, payload: bytes, items: int, collector: str, headers: Mapping[str, str] | None
    ) -> NewRecord | None:
        """None where it says nothing."""
        kind = self._all.kinds.get(collector or self.listened.kind)
        if kind is None:
            raise Unavailable(f"there is no kind {collector!r}")
        body = payload if headers is None else as_posted(kind, headers, payload)
        if body is None:
            return None
        return NewRecord(kind=RecordKind.EVENTS, body=body, collector=kind.kind, source=self._orders.name, items=items)

    async def _measure(self, measured: Any) -> None:
        """points: how many. body: as the process for metrics reads it."""
        points, body = measured
        if (closed := self._all.closed()) is not None:
            raise Unavailable(closed[0], retry_after_s=closed[1])
        await asyncio.to_thread(self._all.measure, body)
        self.listened.points += points
        self.listened.last_heard = self._all.clock()

    async def _tell(self, told: Any) -> None:
        """What it counted since it last told, and how it stands."""
        self.listened.counts.update(told["counts"])
        self.listened.address, self.listened.tops = told["address"], told["tops"]
        if told["problem"] != self.listened.problem:
            self.listened.problem = told["problem"]
            if told["problem"]:
                log.warning("a listener complains", source=self._orders.name, problem=told["problem"])
            else:
                log.info("a listener is well again", source=self._orders.name)
        if told["counts"]:
            self.listened.last_heard = self._all.clock()

    async def _ended(self, why: Any) -> None:
        """It goes no further by itself."""
        self._denied, self.listened.failure = why


def _start(command: Sequence[str], there: socket.socket) -> "subprocess.Popen[bytes]":
    with there:
        return subprocess.Popen(command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)


def _end(process: "subprocess.Popen[bytes]") -> int:
    """Its connection is closed: it ends by itself, or is ended."""
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
