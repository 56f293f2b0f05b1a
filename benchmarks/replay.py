"""How fast history is replayed, and planned over with two configurations at once; and in how much memory.

    make bench-replay            or    python benchmarks/replay.py [--alerts 20000] [--rounds 10] [--reps 3]

Captures of different alerts on 10,000 CIs that all stay open, sent once and then again and again; and of the mixed
stream (seven in ten are re-sends, some flap, faults cascade). Each figure is of one process on one core, by CPU time
with reading and everything that ``foreshock replay`` and ``foreshock rules plan`` do but for writing the result. Memory
is the peak of a process that replays, less what it has before it begins.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import product

from cmdb_sync.file import FileConfig, FileSource
from foreshock.core.contracts import Record, RecordKind
from foreshock.service import memory
from foreshock.service.plan.run import plan
from foreshock.service.recorded import read_input
from foreshock.service.replay import Version, replay
from foreshock.service.settings import collector_kinds, rule_kinds

START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 64
EVERY = timedelta(milliseconds=64)  # a request: 1,000 alerts a second
NEW_TARGET, REPEATS_TARGET = 10_000, 100_000


def capture(path: Path, alerts: Sequence[bytes], rounds: int = 1) -> Path:
    """A capture in which ``alerts`` come ``rounds`` times."""
    at = START
    with path.open("wb") as file:
        for number in range(rounds * len(alerts) // BATCH):
            first = number * BATCH % len(alerts)
            body = b"[" + b",".join(alerts[first : first + BATCH]) + b"]"
            at += EVERY
            record = Record(
                number=number + 1,
                at=at,
                kind=RecordKind.EVENTS,
                collector="alertmanager",
                source="bench",
                body=body,
            )
            file.write(msgspec.json.encode(record) + b"\n")
    return path


def replayed(path: Path, topology: Path) -> None:
    known = FileSource("bench", FileConfig(path=topology)).fetch()
    collectors = collector_kinds()
    replay(read_input(path, None, collectors), collectors, rule_kinds(), Version(topology=known))


def planned(path: Path, topology: Path) -> None:
    """With a proposal that differs in nothing: both sides do all the work."""
    version = Version(topology=FileSource("bench", FileConfig(path=topology)).fetch())
    collectors = collector_kinds()
    plan(read_input(path, None, collectors), collectors, rule_kinds(), before=version, after=version)


def cost(work: Callable[[Path, Path], None], path: Path, topology: Path, reps: int) -> tuple[float, float]:
    """(CPU seconds, MiB at the peak) of ``work`` in a process of its own; medians."""
    context = multiprocessing.get_context("fork")
    found = []
    for _ in range(reps):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(work, path, topology, there))
        process.start()
        there.close()
        found.append(here.recv())
        process.join()
    return statistics.median(used for used, _ in found), statistics.median(peak for _, peak in found)


def _work(work: Callable[[Path, Path], None], path: Path, topology: Path, tell: Connection) -> None:
    memory.look_rarely()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    work(path, topology)
    used, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tell.send((used, (peak - before) / 1024))


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast history is replayed and planned over.")
    parser.add_argument("--alerts", type=int, default=20_000, help="different ones, all open")
    parser.add_argument("--rounds", type=int, default=10, help="how often they are sent again")
    parser.add_argument("--events", type=int, default=100_000, help="of the mixed stream")
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    with product.scratch() as work:
        count = options.alerts // BATCH * BATCH
        product.make_stream(work, count, "fill")
        product.make_stream(work, options.events)
        product.write_config(work)
        topology = work / "topology"
        once, again, mixed = (
            capture(work / "once.jsonl", _alerts(work, f"fill-{count}")),
            capture(work / "again.jsonl", _alerts(work, f"fill-{count}"), 1 + options.rounds),
            capture(work / "mixed.jsonl", _alerts(work, str(options.events))),
        )
        rows = []
        for what, run in (("replay", replayed), ("plan, two configurations", planned)):
            new, small = cost(run, once, topology, options.reps)
            both, large = cost(run, again, topology, options.reps)
            stream, _ = cost(run, mixed, topology, options.reps)
            rows.append(
                (
                    what,
                    f"{count / new:,.0f}",
                    f"{count * options.rounds / (both - new):,.0f}",
                    f"{options.events / stream:,.0f}",
                    f"{small:.0f}",
                    f"{large:.0f}",
                )
            )
        print(f"### Replay of {count:,} alerts on 10,000 CIs, sent once and {options.rounds} times more\n")
        columns = ("", "new/s", "repeats/s", "mixed/s", "peak MiB, once", f"peak MiB, {1 + options.rounds} times")
        rows.append(("target", f">= {NEW_TARGET:,}", f">= {REPEATS_TARGET:,}", "", "", "as once"))
        product.table(columns, rows)
    return 0


def _alerts(work: Path, tag: str) -> list[bytes]:
    return [json.dumps(json.loads(line)).encode() for line in (work / "data" / f"stream-{tag}.jsonl").open()]


if __name__ == "__main__":
    raise SystemExit(main())
