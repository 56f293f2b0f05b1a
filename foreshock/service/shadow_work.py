"""The process that runs a candidate beside the live rules: ``python -m foreshock.service.shadow_work``.

It reads a ``Work`` on the first line of standard input and ends with it. It only reads the store; what it writes lies
in a folder of its own: the state it began with, so that it comes to the same after a restart, and the newest report.

A comparison is made by a fork, which sees both sides as they stand and may bring them to an end: the process itself
goes on as if nothing had been asked.
"""

import gc
import os
import select
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec
from msgspec import Struct

from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.service.clock import utc_now
from foreshock.service.engine import Engine
from foreshock.service.plan.report import verdict
from foreshock.service.saving import Saver
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.shadow import SHOWN, Report, Shadow, Task
from foreshock.store.journal import Journal

REPORT, START = "report.json", "start.msgpack"
MAX_BYTES = 2**31
"""Of memory: two engines, and some bytes for each alert of each situation since the start."""
_NICE = 15
_RECORDS, _BYTES = 128, 4 * 2**20
_POLL_S = 1.0
_SLICE_S = 2.0
_EVERY_S = 5.0
_SHARE = 50
"""A comparison that takes a second is made every 50, so that it costs next to nothing."""


class Work(Struct, frozen=True, kw_only=True):
    """store_url: of the live Foreshock; may hold a password. folder: for what is written."""

    store_url: str
    folder: str
    task: Task


class Reached(Struct, frozen=True):
    """How far it is, as in the ``Report``."""

    at: datetime
    position: int
    behind: int
    memory_bytes: int


class Start(Struct, frozen=True):
    """The state that both sides begin with, and the record it stands at."""

    checkpoint: int
    blocks: list[tuple[int, bytes]]


def work(given: Work, stdin: IO[bytes]) -> None:
    """Until the task's end, or the end of ``stdin``. Raises Unavailable where it cannot go on."""
    folder = Path(given.folder)
    journal = Journal(given.store_url, writing=False)
    start = _begun(folder, journal)
    with TemporaryFile(buffering=0) as one, TemporaryFile(buffering=0) as other:
        items = list(Saver(Engine(collector_kinds(), rule_kinds())).read(start.blocks))
        shadow = Shadow(given.task, items, collector_kinds(), rule_kinds(), (one, other))
        del items
        gc.freeze()
        _follow(given.task, shadow, journal, start.checkpoint, folder, stdin, (one, other))


def _begun(folder: Path, journal: Journal) -> Start:
    """The state it began with: that of the first start, or what is saved now."""
    path = folder / START
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Start)
    except FileNotFoundError:
        start = Start(*journal.saved())
        _write(path, msgspec.msgpack.encode(start))
        return start


def _follow(
    task: Task,
    shadow: Shadow,
    journal: Journal,
    at: int,
    folder: Path,
    stdin: IO[bytes],
    stories: tuple[IO[bytes], IO[bytes]],
) -> None:
    next_report = 0.0
    while True:
        at, caught_up = _read(shadow, journal, at, time.monotonic() + _SLICE_S)
        now = utc_now()
        done = caught_up and now >= task.until
        behind = 0 if caught_up else journal.last_record()[0] - at
        if done or time.monotonic() >= next_report:
            memory_bytes = _memory()
            took_s = compare_apart(shadow, Reached(now, at, behind, memory_bytes), folder, stories)
            next_report = time.monotonic() + max(_EVERY_S, _SHARE * took_s)
            if memory_bytes > MAX_BYTES:
                raise Unavailable(
                    f"it took {memory_bytes / 2**20:.0f} MiB of memory, {MAX_BYTES / 2**20:.0f} are allowed",
                    hint="what it has found so far stays; start it again for a shorter time",
                )
        if done or _ended(stdin, _POLL_S if caught_up else 0.0):
            return


def _read(shadow: Shadow, journal: Journal, at: int, until: float) -> tuple[int, bool]:
    """(the newest record that was read, whether there is no more now)."""
    while time.monotonic() < until:
        records = journal.records(at, limit=_RECORDS, max_bytes=_BYTES)
        if not records:
            return at, True
        if (gap := next((here for here, each in enumerate(records, at + 1) if each.number != here), None)) is not None:
            raise Unavailable(
                f"record {gap} is no longer in the inbox",
                hint="start it again from now; retention.age and retention.size say how far back it may have to read",
            )
        shadow.read(records)
        at = records[-1].number
    return at, False


def compare_apart(shadow: Shadow, reached: Reached, folder: Path, stories: tuple[IO[bytes], IO[bytes]]) -> float:
    """Write the report of a fork that has brought both sides to an end; how long that took, in seconds."""
    began = time.monotonic()
    sizes = [file.seek(0, 2) for file in stories]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            plan = shadow.finish(reached.at)
            shown = msgspec.structs.replace(plan, differences=plan.differences[:SHOWN])
            left_out = len(plan.differences) - len(shown.differences)
            found = Report(**msgspec.structs.asdict(reached), plan=shown, left_out=left_out, verdict=verdict(plan))
            _write(folder / REPORT, msgspec.json.encode(found))
            code = 0
        except BaseException as error:
            sys.stderr.write(f"the comparison failed: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(code)  # what the other process has open stays as it is
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise Unavailable("what both sides came to could not be compared", hint="its log says why")
    for file, size in zip(stories, sizes, strict=True):
        file.truncate(size)
    return time.monotonic() - began


def _ended(stdin: IO[bytes], wait_s: float) -> bool:
    """Whether the process that started this one has closed its end, within so long."""
    return bool(select.select([stdin], [], [], wait_s)[0])


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all."""
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with fresh.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _memory() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        return 0


if __name__ == "__main__":
    os.nice(_NICE)
    try:
        work(msgspec.json.decode(sys.stdin.buffer.readline(), type=Work), sys.stdin.buffer)
    except ForeshockError as error:
        sys.exit(str(error))
