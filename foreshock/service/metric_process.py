"""A process of its own for metrics: it keeps their history and asks the detectors, so that neither the memory nor the
computing of it is the engine's.

Requests come in on standard input and answers go out on standard output, each a length and that many bytes of
MessagePack; when the input ends, so does the process: it never outlives the one that started it. ``MetricProcess`` is
the side that asks, ``metric_work`` the other.
"""

import select
import subprocess
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from foreshock.core.errors import Unavailable
from foreshock.core.model import Anomaly, Forecast, Moment, Samples, Series

_PATIENCE_S = 300.0
_LENGTH_BYTES = 8
_WORK = "foreshock.service.metric_work"  # by name: here is none of what it imports


class Points(Struct, frozen=True, array_like=True):
    """``Samples`` on the wire: times and values as bytes of doubles."""

    series: Series
    times: bytes
    values: bytes


class Append(Struct, tag=True, frozen=True):
    source: str
    points: Sequence[Points]
    cursor: str


class Cursor(Struct, tag=True, frozen=True):
    """Where the source goes on."""

    source: str


class Limit(Struct, frozen=True, kw_only=True):
    """What some series must not reach, as ``capacity.CapacityLimit`` describes it. match: matchers, as written.
    limit: None: nothing is forecast for these series."""

    match: str
    limit: float | None
    up: bool
    horizon_s: float
    time_left: bool
    signs: Sequence[str]


class Detect(Struct, tag=True, frozen=True):
    """Deviations in the last ``window_s`` seconds, for those who know what is usual from the ``learn_s`` before.
    detectors: kinds that are asked; None: all. limits: of values, for the detector of what comes near one."""

    now: Moment
    learn_s: float
    window_s: float
    detectors: Sequence[str] | None = None
    limits: Sequence[Limit] = ()


class Foresee(Struct, tag=True, frozen=True):
    """What is likely to reach its limit."""

    now: Moment
    limits: Sequence[Limit]


class Tidy(Struct, tag=True, frozen=True):
    """Compact, and forget what is older than ``before`` or too much."""

    now: Moment
    before: Moment
    max_bytes: int


class Refused(Struct, frozen=True, kw_only=True):
    """Points of one metric that were left out since the start. series: of the source and metric that are kept."""

    source: str
    metric: str
    points: int
    series: int


class Answer(Struct, frozen=True):
    """error: why nothing was done. more: it is not done; ask the same again, for others may be served in between.
    damaged: files of the history that were set aside, and why. refused: points beyond the bounds on series, by source
    and metric, since the process began."""

    cursor: str = ""
    anomalies: Sequence[Anomaly] = ()
    forecasts: Sequence[Forecast] = ()
    series: int = 0
    bytes: int = 0
    damaged: Mapping[str, str] = {}
    refused: Sequence[Refused] = ()
    error: str = ""
    more: bool = False


Request = Append | Cursor | Detect | Foresee | Tidy


class Turns:
    """A lock that those who wait get in the order in which they came: who asks again and again lets others in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken, by that one
            else:
                self._taken = False


class MetricProcess:
    """The process as the service sees it: started when it is first asked, and again after it ended. Thread-safe.

    Args:
        folder: of the history.
        most_series, of_source: how many series are kept, in all and of each source.
    """

    def __init__(self, folder: Path, *, most_series: int = 100_000, of_source: int = 50_000) -> None:
        self._arguments = [str(folder), str(most_series), str(of_source)]
        self._turn = Turns()
        self._process: subprocess.Popen[bytes] | None = None
        self.last = Answer()
        """The newest answer about what is kept: series, bytes, damaged, refused."""

    def append(self, source: str, samples: Iterable[Samples], cursor: str) -> None:
        """On disk when it returns. Raises Unavailable."""
        points = [
            Points(each.series, array("d", each.times).tobytes(), array("d", each.values).tobytes()) for each in samples
        ]
        self._ask(Append(source, points, cursor))

    def append_encoded(self, append: bytes) -> None:
        """The same for an encoded ``Append``, which is passed on as it is."""
        self._ask_encoded(append)

    def cursor(self, source: str) -> str:
        return self._ask(Cursor(source)).cursor

    def detect(
        self,
        now: datetime,
        *,
        learn: timedelta,
        window: timedelta,
        detectors: Sequence[str] | None = None,
        limits: Sequence[Limit] = (),
    ) -> Sequence[Anomaly]:
        """Anomalies that are news."""
        answer = self._ask(Detect(now, learn.total_seconds(), window.total_seconds(), detectors, limits))
        self.last = msgspec.structs.replace(self.last, series=answer.series, refused=answer.refused)
        return answer.anomalies

    def foresee(self, now: datetime, limits: Sequence[Limit]) -> Sequence[Forecast]:
        """Forecasts that are news."""
        return self._ask(Foresee(now, limits)).forecasts

    def tidy(self, now: datetime, *, before: datetime, max_bytes: int) -> None:
        answer = self._ask(Tidy(now, before, max_bytes))
        self.last = msgspec.structs.replace(self.last, bytes=answer.bytes, damaged=answer.damaged)

    def stop(self) -> None:
        with self._turn:
            self._end(timeout_s=10.0)

    def _ask(self, request: Request) -> Answer:
        body = msgspec.msgpack.encode(request)
        while (answer := self._ask_encoded(body)).more:
            pass
        return answer

    def _ask_encoded(self, request: bytes) -> Answer:
        with self._turn:
            process = self._process
            if process is None or process.poll() is not None:
                self._end(timeout_s=0.0)
                process = self._process = self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                send(process.stdin, request)
                answer = msgspec.msgpack.decode(receive_in_time(process.stdout), type=Answer)
            except (OSError, EOFError) as error:
                self._end(timeout_s=0.0)
                raise Unavailable(f"the process for metrics ended or hangs: {error}", hint="see its log") from error
        if answer.error:
            raise Unavailable(answer.error)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", _WORK, *self._arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def _end(self, *, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError), process:  # what it did not read any more is nobody's
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()


def receive_in_time(stream: IO[bytes]) -> bytes:
    """As ``receive``; raises EOFError too where nothing comes for five minutes."""
    deadline = time.monotonic() + _PATIENCE_S
    ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise EOFError(f"no answer within {_PATIENCE_S:.0f} s")
    return receive(stream)


def receive(stream: IO[bytes]) -> bytes:
    """Raises EOFError at the end."""
    length = stream.read(_LENGTH_BYTES)
    body = stream.read(int.from_bytes(length)) if len(length) == _LENGTH_BYTES else b""
    if not body:
        raise EOFError("the stream ended")
    return body


def send(stream: IO[bytes], body: bytes) -> None:
    stream.write(len(body).to_bytes(_LENGTH_BYTES))
    stream.write(body)
    stream.flush()
