"""Memory per active alert, and how soon a Foreshock with many open alerts is ready again.

    make bench-memory            or    python benchmarks/memory.py [--fill 10000,50000] [--reps 5]

All alerts of the fill stream are different and stay open. Growth of the resident set counts, so the allocator's waste
and what the engine has not let go yet are in it. The last table says which lines of code hold the bytes: the same
alerts put through an engine in this process, under tracemalloc (whose own overhead is left out).
"""

import argparse
import gc
import re
import statistics
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import product

PER_ALERT_TARGET = 2048
READY_TARGET_S = 3.0
_REST_S = 3.0


def growth(work: Path, alerts: int) -> tuple[float, float, float]:
    """MiB before and after, and bytes per alert."""
    product.make_stream(work, alerts, "fill")
    requests = product.make_requests(work, f"fill-{alerts}", 64, 4)
    with product.Running(work) as foreshock:
        foreshock.ready()
        foreshock.settle()
        time.sleep(_REST_S)
        before = product.resident(foreshock.pid)
        product.send(work, requests)
        foreshock.settle()
        time.sleep(_REST_S)
        after = product.resident(foreshock.pid)
        foreshock.stop()
    return before / 2**20, after / 2**20, (after - before) / alerts


def starts(work: Path, alerts: int, reps: int) -> list[tuple[str, list[float]]]:
    """Seconds to ready with ``alerts`` open alerts, after a clean stop and after kill -9 with nothing saved yet."""
    product.make_stream(work, alerts, "fill")
    requests = product.make_requests(work, f"fill-{alerts}", 64, 4)
    found = []
    with product.Running(work) as empty:
        found.append(("empty state", [empty.ready()]))
    for what in ("kill -9", "clean stop"):
        with product.Running(work) as foreshock:
            foreshock.ready()
            foreshock.settle()
            product.send(work, requests)
            foreshock.settle()
            getattr(foreshock, "kill" if what == "kill -9" else "stop")()
        seconds = []
        for _ in range(reps):
            with product.Running(work, fresh=False) as foreshock:
                seconds.append(foreshock.ready())
                getattr(foreshock, "kill" if what == "kill -9" else "stop")()
        found.append((what, seconds))
    return found


_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")


def imports(work: Path) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """What a start imports: the dearest modules with all they import, and time by package; milliseconds."""
    with product.Running(work, fresh=False, interpreter=("-X", "importtime")) as foreshock:
        foreshock.ready()
        foreshock.stop()
        lines = [_IMPORT.match(line) for line in foreshock.log.read_text(errors="replace").splitlines()]
    found = [match for match in lines if match]
    cumulative = [(match[4], int(match[2]) / 1000) for match in found]
    own: Counter[str] = Counter()
    for match in found:
        own[match[4].partition(".")[0]] += int(match[1])
    cumulative.sort(key=lambda entry: -entry[1])
    return cumulative[:10], [(name, used / 1000) for name, used in own.most_common(10)]


def holders(work: Path, alerts: int, top: int) -> list[tuple[str, float, float]]:
    """Lines of code with bytes and blocks per alert that they hold after ``alerts`` have come."""
    from cmdb_sync.file import FileConfig, FileSource
    from foreshock.service import recorded, replay
    from foreshock.service.engine import Engine
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import collector_kinds, load_settings, rule_kinds

    known = FileSource("bench", FileConfig(path=work / "topology")).fetch()
    collectors = collector_kinds()
    engine = Engine(collectors, rule_kinds())
    inputs = recorded.read_input(work / "data" / f"stream-fill-{alerts}.jsonl", None, collectors)
    rules = load_rules(load_settings(None, {}, {}).rules)
    records = iter(replay.prepared(inputs, replay.Version(topology=known, rules=rules)))
    before = None
    for record, given in records:
        if given is not None and before is None:
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.take_snapshot()
        engine.step([(record, None)])
    del given, record
    engine.effects = type(engine.effects)()
    gc.collect()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    difference = after.compare_to(before, "lineno")
    rows = [
        (
            f"{Path(entry.traceback[0].filename).name}:{entry.traceback[0].lineno}",
            entry.size_diff / alerts,
            entry.count_diff / alerts,
        )
        for entry in difference
        if Path(entry.traceback[0].filename).name not in ("tracemalloc.py", "memory.py")
    ]
    total = (f"all ({len(engine.situations)} situations)", sum(row[1] for row in rows), sum(row[2] for row in rows))
    rows.sort(key=lambda row: -row[1])
    return [total, *rows[:top]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fill", default="10000,50000", help="numbers of alerts, separated by commas")
    parser.add_argument("--open", type=int, default=10_000, help="open alerts at a start")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--top", type=int, default=20, help="lines of code to list")
    options = parser.parse_args()
    product.need_tools("gcc")
    fills = [int(fill) for fill in options.fill.split(",")]
    with product.scratch() as work:
        product.about({})
        for alerts in {*fills, options.open}:
            product.make_stream(work, alerts, "fill")
        product.write_config(work)
        print("### Memory per active alert\n")
        grown = [(alerts, *growth(work, alerts)) for alerts in fills]
        memory = [
            (f"{alerts:,}", f"{before:.0f}", f"{after:.0f}", f"{each:.0f}", f"{each / PER_ALERT_TARGET:.2f}")
            for alerts, before, after, each in grown
        ]
        columns = ["alerts", "RSS before MiB", "after MiB", "bytes per alert", f"of the target {PER_ALERT_TARGET}"]
        product.table(columns, memory)
        print(f"### Start with {options.open:,} open alerts, to the first 200 of /-/ready\n")
        ready = [
            (what, product.spread(seconds, 2), f"{statistics.median(seconds) / READY_TARGET_S:.2f}")
            for what, seconds in starts(work, options.open, options.reps)
        ]
        product.table(("after", "seconds", f"of the target {READY_TARGET_S:.0f} s"), ready)
        cumulative, by_package = imports(work)
        print("### Imports at a start (python -X importtime, which itself costs time)\n")
        product.table(("module", "ms with its imports"), [(name, f"{used:.0f}") for name, used in cumulative])
        product.table(("package", "ms of its own"), [(name, f"{used:.0f}") for name, used in by_package])
        print(f"### Who holds the bytes ({fills[0]:,} alerts in an engine alone, tracemalloc)\n")
        held = holders(work, fills[0], options.top)
        columns = ["line", "bytes per alert", "blocks per alert"]
        product.table(columns, [(line, f"{size:.0f}", f"{count:.2f}") for line, size, count in held])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
