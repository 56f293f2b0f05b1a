"""A site fails with all that stands in it: on stream time in this process, and as fast as it can be sent."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import product
from estates import alert, moment, new_engine, write_topology

from foreshock.core.contracts import RecordKind

ALERTS, QUICK = 1_000_000, 100_000
CIS, SPAN_S, SPREAD_S, NAMES = 5_000, 600, 120, ("Down", "Unreachable", "Slow", "Errors")
BATCH = 250


def site(folder: Path) -> list[str]:
    """One site, its racks, and what stands in them."""
    racks = [f"rack-{number:03d}" for number in range(49)]
    hosts = [f"host-{number:05d}" for number in range(CIS - len(racks) - 1)]
    needs = [(rack, "site-1") for rack in racks]
    needs += [(host, racks[number % len(racks)]) for number, host in enumerate(hosts)]
    names = ["site-1", *racks, *hosts]
    write_topology(folder, ["site", *["rack"] * len(racks), *["host"] * len(hosts)], needs, names)
    return names


def batches(names: Sequence[str], total: int, began: datetime) -> Iterator[tuple[float, bytes]]:
    """(second of the stream, body): the site fails, within two minutes all in it, and everything is sent again and
    again. The order of CIs is that of the failure."""
    distinct = [(ci, name) for ci in names for name in NAMES]
    onset_s = {ci: SPREAD_S * number / len(names) for number, ci in enumerate(names)}
    rounds = total // len(distinct)
    for turn in range(rounds):
        opens_s = turn * SPAN_S / rounds
        for start in range(0, len(distinct), BATCH):
            chunk = distinct[start : start + BATCH]
            at_s = max(opens_s + SPAN_S / rounds * start / len(distinct), onset_s[chunk[-1][0]] if not turn else 0)
            failing = [alert(ci, name, moment(began + timedelta(seconds=onset_s[ci]))) for ci, name in chunk]
            yield at_s, json.dumps(failing).encode()


def measure(work: Path, alerts: int) -> bool:
    folder = work / "storm"
    names = site(folder / "topology")
    print(f"### Storm: {alerts:,} alerts in 10 minutes of stream time, {CIS:,} CIs under one site\n")
    on_stream_time(folder, names, alerts)
    return at_full_speed(work, folder, names, alerts)


def on_stream_time(folder: Path, names: Sequence[str], alerts: int) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    engine, _, record = new_engine(folder / "topology", began)
    orders, used, events = 0, 0.0, 0
    sizes_at: list[tuple[str, str, str, str]] = []
    stream = sorted(batches(names, alerts, began), key=lambda batch: batch[0])
    for number, (at_s, body) in enumerate(stream, 1):
        given = record(RecordKind.EVENTS, body, began + timedelta(seconds=at_s))
        cpu = time.process_time()
        effects = engine.step([(given, None)])
        used += time.process_time() - cpu
        orders += len([order for order in effects.orders if order.verb == "open"])
        events += BATCH
        if number % max(1, len(stream) // 4) == 0:
            resident = product.resident(os.getpid()) / 2**20
            sizes_at.append((f"{at_s:.0f}", f"{events:,}", f"{len(engine.alerts):,}", f"{resident:.0f}"))
    product.table(("stream s", "alerts", "different", "RSS MiB of this process"), sizes_at)
    live = [situation for situation in engine.situations.values() if situation.state.value == "open"]
    alone = [situation for situation in live if not situation.parent]
    product.table(
        ("", "value", "target"),
        [
            ("open situations", len(live), ""),
            ("of them under no other", len(alone), "1"),
            ("most alerts in one", max(len(situation.members) for situation in live), "bounded"),
            ("tickets opened", orders, ""),
            ("engine and decoding, CPU µs per alert", f"{used / events * 1e6:.1f}", ""),
        ],
    )


def at_full_speed(work: Path, folder: Path, names: Sequence[str], alerts: int) -> bool:
    """The same alerts as fast as four connections bring them: answers, memory, and whether all were counted."""
    requests = folder / "storm.bin"
    began = datetime.now(UTC) - timedelta(seconds=SPAN_S)
    stream = folder / "storm.jsonl"
    with stream.open("wb") as file:
        for _, body in batches(names, alerts, began):
            file.writelines(json.dumps(one).encode() + b"\n" for one in json.loads(body))
    words: list[str | Path] = [sys.executable, product.TOOLS / "build_requests.py", "--stream", stream]
    subprocess.run(
        [*words, "--format", "alertmanager", "--batch", str(BATCH), "--conns", "4", "--out", requests], check=True
    )
    with product.Running(folder) as foreshock:
        foreshock.ready()
        foreshock.settle()
        before, counted = product.resident(foreshock.pid), folded()
        said = product.send(work, requests)
        sent_at = time.monotonic()
        foreshock.settle(within_s=1200)
        late = time.monotonic() - sent_at
        counted = folded() - counted
        peak = peak_resident(foreshock.pid)
        foreshock.stop()
    for path in (requests, stream):
        path.unlink()
    lost = int(said["alerts"] - counted)
    longest = float(said.get("max_ms", 0.0))
    product.table(
        ("at full speed", "value", "target"),
        [
            ("alerts/s acknowledged", f"{said['alerts'] / said['wall']:.0f}", ""),
            ("answer p99, ms", said["p99_ms"], ""),
            ("longest answer, ms", f"{longest:.0f}", "<= 1000"),
            ("engine caught up after, s", f"{late:.1f}", ""),
            ("memory before and at most, MiB", f"{before / 2**20:.0f}, {peak / 2**20:.0f}", "bounded"),
            ("acknowledged and not counted", lost, "0"),
        ],
    )
    return lost == 0 and longest <= 1000


def folded() -> float:
    """Events the engine has counted as one thing or another."""
    outcomes = ("new", "repeat", "changed", "fired_again", "resolved", "late", "malformed", "ignored")
    names = tuple(f'foreshock_fold_total{{outcome="{outcome}"}}' for outcome in outcomes)
    return sum(
        float(line.split()[-1]) for line in product.get("/metrics").decode().splitlines() if line.startswith(names)
    )


def peak_resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
