"""Foreshock against Alertmanager on the same alerts, in turn: CPU, answers, losses, and where the microseconds go.

    make bench-intake            or    python benchmarks/intake.py [--reps 5] [--cells 64x4,1x16,1000x4]

Foreshock runs with everything on: store, correlation over 10,000 CIs, ticket outbox. A run starts when its topology is
in force and ends when the engine has worked on the last alert; the active alerts read back must be those expected.
Absolute numbers belong to the machine and its neighbours; the ratios are what counts.
"""

import argparse
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import product

PEER_NAMES = {"product": "Foreshock", "alertmanager": "Alertmanager"}
KILL_EVENTS, KILL_CONNECTIONS = 50_000, 4
TARGETS: dict[str, dict[str, str]] = {
    "64x4": {"cpu_s_per_1k": "<= 0.5, aim 0.33", "p99_ms": "<= 1.0"},
    "1000x4": {"cpu_s_per_1k": "<= 0.4"},
    "1x16": {"cpu_s_per_1k": "<= 2"},
}
"""Ratios by batch x connections; a sync before each answer cannot be had for less than a few alerts' worth of CPU."""


class Threads:
    """CPU of our threads over all measured runs."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self.runs: list[dict[str, float]] = []

    def begin(self, pid: int) -> None:
        self._before = product.thread_seconds(pid)

    def end(self, pid: int) -> None:
        after = product.thread_seconds(pid)
        self.runs.append({name: used - self._before.get(name, 0.0) for name, used in after.items()})


def load_compare(work: Path, threads: Threads) -> Any:
    """The tools' own matrix, with Foreshock as its peer ``product``."""
    config = product.write_config(work)
    state = work / "product-state"
    os.environ["PRODUCT_PORT"] = str(product.PORT)
    os.environ["PRODUCT_CMD"] = product.shell(product.command("run", "--config", str(config), "--state", str(state)))
    os.environ["PYTHONPATH"] = str(product.ROOT)
    sys.path.insert(0, str(product.TOOLS))
    compare = importlib.import_module("compare")

    class Foreshock(compare.Product):  # type: ignore[name-defined, misc]
        def ready(self) -> bool:
            settled = product.settled()
            if settled:
                threads.begin(self.proc.pid)
            return settled

        def wait_done(self, n: int) -> float:
            waited: float = super().wait_done(n)
            threads.end(self.proc.pid)
            return waited

    compare.PEERS["product"] = Foreshock
    return compare


def measure(compare: Any, cell: tuple[int, int, int], reps: int, out: Path) -> list[dict[str, Any]]:
    events, batch, connections = cell
    peers = [compare.PEERS["product"](), compare.PEERS["alertmanager"]()]
    rows = []
    try:
        for rep in range(reps):
            for peer in peers:
                row = compare.one(peer, str(events), batch, connections, rep)
                peer.stop()
                rows.append(row)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"  {row['peer']}: {row['cpu_s_per_1k']} s/1k, p99 {row['p99_ms']} ms", file=sys.stderr)
    finally:
        for peer in peers:
            peer.stop()
    return rows


def tell(cell: tuple[int, int, int], rows: list[dict[str, Any]], targets: dict[str, str] | None = None) -> None:
    events, batch, connections = cell
    wanted = TARGETS.get(f"{batch}x{connections}", {}) if targets is None else targets
    print(f"### {batch} alerts a request, {connections} connections, {events:,} events\n")
    of = {name: [row for row in rows if row["peer"] == name] for name in ("product", "alertmanager")}
    shown = []
    for name, runs in of.items():
        column = {key: [float(row[key]) for row in runs] for key in ("cpu_s_per_1k", "processed_per_s")}
        times = {key: [float(row[key]) for row in runs] for key in ("p50_ms", "p99_ms", "peak_rss_mib")}
        shown.append((
            PEER_NAMES[name], len(runs), product.spread(column["cpu_s_per_1k"], 4),
            product.spread(column["processed_per_s"], 0), *(product.spread(values) for values in times.values()),
            f"{sum(row['verified'] for row in runs)}/{len(runs)}",
        ))  # fmt: skip
    columns = ("", "runs", "CPU s/1,000", "processed/s", "p50 ms", "p99 ms", "peak RSS MiB", "verified")
    product.table(columns, shown)
    ratios = []
    for key, what in (
        ("cpu_s_per_1k", "CPU per alert"),
        ("processed_per_s", "processed/s"),
        ("p50_ms", "p50"),
        ("p99_ms", "p99"),
        ("peak_rss_mib", "peak RSS"),
    ):
        ours, theirs = (statistics.median(float(row[key]) for row in of[name]) for name in of)
        ratios.append((what, f"{ours / theirs:.2f}" if theirs else "-", wanted.get(key, "")))
    product.table(("Foreshock / Alertmanager, medians", "ratio", "target"), ratios)


def tell_threads(threads: Threads, events: int) -> None:
    print("### Where our microseconds go (per alert, by thread, medians)\n")
    names = {name for run in threads.runs for name in run}
    medians = {name: statistics.median(run.get(name, 0.0) for run in threads.runs) / events * 1e6 for name in names}
    rows = [(name, f"{medians[name]:.1f}") for name in sorted(names, key=lambda name: -medians[name])]
    product.table(("thread", "µs"), [*rows, ("sum", f"{sum(medians.values()):.1f}")])


def durability(compare: Any, work: Path, reps: int) -> bool:
    """kill -9 while alerts come in, start again, and look for each alert that had been acknowledged, by name."""
    tag = f"fill-{KILL_EVENTS}"
    order: list[list[tuple[str, str]]] = [[] for _ in range(KILL_CONNECTIONS)]
    for line in (work / "data" / f"stream-{tag}.jsonl").open():
        labels = json.loads(line)["labels"]
        # As build_requests.py spreads alerts over connections; each connection sends its own in order.
        connection = zlib.crc32((labels["instance"] + labels["alertname"]).encode()) % KILL_CONNECTIONS
        order[connection].append((labels["instance"], labels["alertname"]))
    requests = product.make_requests(work, tag, 64, KILL_CONNECTIONS)
    rows, sound = [], True
    for rep in range(reps):
        for name in ("product", "alertmanager"):
            peer = compare.PEERS[name]()
            peer.start()
            acks = work / "acks.txt"
            words = [
                str(work / "blast"),
                "127.0.0.1",
                str(peer.port),
                str(requests),
                "--until",
                "60",
                "--acks",
                str(acks),
            ]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL):
                time.sleep(0.2 + 0.2 * rep)
                peer.stop(signal.SIGKILL)
            peer.start(fresh=False)
            found = json.loads(compare.get(f"http://127.0.0.1:{peer.port}/api/v2/alerts?active=true"))
            peer.stop()
            present = {(alert["labels"]["instance"], alert["labels"]["alertname"]) for alert in found}
            acknowledged: set[tuple[str, str]] = set()
            for connection, _, alerts in (map(int, line.split()) for line in acks.read_text().splitlines()):
                acknowledged.update(order[connection][:alerts])
            lost = len(acknowledged - present)
            rows.append((name, len(acknowledged), len(present), lost))
            sound = sound and (name != "product" or (lost == 0 and 0 < len(acknowledged) < KILL_EVENTS))
    print(f"### kill -9 in mid-run (64x{KILL_CONNECTIONS}, {KILL_EVENTS:,} different alerts), then a start\n")
    shown = [(PEER_NAMES[name], acked, present, lost) for name, acked, present, lost in rows]
    product.table(("", "acknowledged", "present afterwards", "acknowledged and lost (target 0)"), shown)
    return sound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--cells", default="64x4", help="batch x connections, separated by commas")
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    product.need_tools("gcc", "prometheus-alertmanager")
    sound = True
    with product.scratch() as work:
        version = subprocess.run(
            ["prometheus-alertmanager", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        product.about({"Alertmanager": version[version.index("version") + 1]})
        product.build_sender(work)
        for index, cell in enumerate(options.cells.split(",")):
            batch, connections = map(int, cell.split("x"))
            events = options.events if batch > 1 else min(options.events, 10_000)
            product.make_stream(work, events)
            product.make_stream(work, KILL_EVENTS, "fill")
            threads = Threads()
            compare = load_compare(work, threads)
            rows = measure(compare, (events, batch, connections), options.reps, work / "intake.jsonl")
            tell((events, batch, connections), rows)
            tell_threads(threads, events)
            sound = sound and all(row["verified"] for row in rows)
            if index == 0 and options.kills:
                sound = durability(compare, work, options.kills) and sound
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
