"""What correlation with everything on costs, beside Alertmanager: CPU, answers, memory, restarts, losses."""

import json
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import intake
import product
import steps
from estates import FAR

TARGETS = {
    "cpu_s_per_1k": "<= 0.5, aim 0.25",
    "processed_per_s": ">= 2, aim 3",
    "p99_ms": "<= 0.3, aim 0.2",
}


class Sizes(NamedTuple):
    """How much of everything. ``resent``: rounds of re-sends; ``kills``: times that the service is killed."""

    reps: int = 5
    events: int = 100_000
    filled: int = 100_000
    resent: int = 10
    kills: int = 3


QUICK = Sizes(reps=2, events=30_000, filled=20_000, resent=5, kills=1)


def measure(work: Path, sizes: Sizes) -> bool:
    product.make_stream(work, sizes.events)
    threads = intake.Threads()
    compare = intake.load_compare(work, threads)
    cell = (sizes.events, 64, 4)
    rows = intake.measure(compare, cell, sizes.reps, work / "correlation.jsonl")
    intake.tell(cell, rows, TARGETS)
    intake.tell_threads(threads, sizes.events)
    steps.tell(work, sizes.events)
    resends(compare, work, sizes)
    memory_and_restart(compare, work, sizes)
    product.make_stream(work, intake.KILL_EVENTS, "fill")
    sound = intake.durability(compare, work, sizes.kills)
    return sound and all(row["verified"] for row in rows)


def blast(work: Path, peer: Any, requests: Path) -> dict[str, Any]:
    done = subprocess.run(
        [work / "blast", "127.0.0.1", str(peer.port), requests], check=True, capture_output=True, text=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def resends(compare: Any, work: Path, sizes: Sizes) -> None:
    """The same 10,000 alerts again and again: what most of a real stream is."""
    distinct = 10_000
    product.make_stream(work, distinct, "fill")
    requests = product.make_requests(work, f"fill-{distinct}", 64, 4)
    used: dict[str, list[float]] = {}
    for _ in range(sizes.reps):
        for name in ("product", "alertmanager"):
            peer = compare.PEERS[name]()
            peer.start()
            blast(work, peer, requests)
            peer.wait_done(distinct)
            before = compare.cpu_of(peer.roots())
            for _ in range(sizes.resent):
                blast(work, peer, requests)
            peer.wait_done(distinct)
            used.setdefault(name, []).append((compare.cpu_of(peer.roots()) - before) / sizes.resent / distinct * 1e6)
            peer.stop()
    print("### Re-sends alone (64x4, 10,000 open alerts)\n")
    product.table(
        ("", "CPU µs per alert"), [(intake.PEER_NAMES[name], product.spread(found)) for name, found in used.items()]
    )
    ours, theirs = (statistics.median(used[name]) for name in ("product", "alertmanager"))
    product.table(
        ("Foreshock / Alertmanager, medians", "ratio", "target"),
        [("CPU per re-sent alert", f"{ours / theirs:.2f}", "<= 0.2")],
    )


def memory_and_restart(compare: Any, work: Path, sizes: Sizes) -> None:
    """Memory that open alerts add, and the first answer after kill -9 with all of them open."""
    product.make_stream(work, sizes.filled, "fill")
    requests = product.make_requests(work, f"fill-{sizes.filled}", 64, 4)
    grown, started = {}, {}
    for name in ("product", "alertmanager"):
        peer = compare.PEERS[name]()
        peer.start()
        time.sleep(2)
        before = compare.mem_of(peer.roots())[0]
        blast(work, peer, requests)
        peer.wait_done(sizes.filled)
        time.sleep(8)  # what is on its way to the disk is let go
        grown[name] = (compare.mem_of(peer.roots())[0] - before) * 2**20 / sizes.filled
        peer.stop(signal.SIGKILL)
        started[name] = [first_answer(compare, peer) for _ in range(sizes.reps)]
    print(f"### {sizes.filled:,} open alerts\n")
    rows = [
        (
            intake.PEER_NAMES[name],
            f"{grown[name]:.0f}",
            product.spread([wall for wall, _ in started[name]], 2),
            product.spread([cpu for _, cpu in started[name]], 2),
        )
        for name in grown
    ]
    product.table(("", "bytes per alert", "kill -9 to the first answer, s", "CPU s until then"), rows)
    product.table(
        ("", "value", "target"),
        [
            ("memory, Foreshock / Alertmanager", f"{grown['product'] / grown['alertmanager']:.2f}", "<= 0.4"),
            ("first answer, s", f"{statistics.median(wall for wall, _ in started['product']):.2f}", "<= 1"),
        ],
    )


def first_answer(compare: Any, peer: Any) -> tuple[float, float]:
    """(wall seconds, CPU seconds) from the start of a killed peer to its first 200 for an alert; it is killed again."""
    body = json.dumps([{"labels": {"alertname": "First"}, "endsAt": FAR}]).encode()
    began = time.monotonic()
    peer.launch()
    while True:
        try:
            if compare.post(f"http://127.0.0.1:{peer.port}/api/v2/alerts", body, timeout=60) == 200:
                break
        except OSError:
            time.sleep(0.005)
    wall, cpu = time.monotonic() - began, compare.cpu_of(peer.roots())
    peer.stop(signal.SIGKILL)
    return wall, cpu
