"""How fast tickets reach a system: through one lane by connections, from an event to the request, beside a dead sink.

    make bench-sinks             or    python benchmarks/sinks.py [--kind servicenow] [--tickets 1500] [--quick]

The system is its stand-in (``foreshock sandbox``) in a process of its own. A ticket through the lane is what it is in
the product: orders of a store on disk, a search and a creation there, and the outcome in the inbox, synced.
"""

import argparse
import contextlib
import itertools
import json
import queue
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import product
from estates import alert, moment

from foreshock.connect.http import CALL_S
from foreshock.core.contracts import NewRecord, RecordKind, Step, TicketChange
from foreshock.service.delivery import Lane
from foreshock.service.inbox import WritingInbox
from foreshock.service.settings import load_settings, sink_kinds
from foreshock.service.sinks import build_sink
from foreshock.store import migrations
from foreshock.store.outbox import Outbox
from foreshock.store.store import Store
from foreshock.testing.tickets import make_order

CONNECTIONS = (1, 2, 4, 8)
TARGET_S, TARGET_RATE = 2.0, 200
DELAY_S = 1
SLOW = "delay=1.0"
"""Each request is answered a second late, as by a system that has much to do."""
_DESCRIPTION = "Disk latency on db1 is above its threshold; three services depend on it.\n" * 12


# ---- the system -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sandbox(kind: str, folder: Path, faults: str = "") -> Iterator[tuple[str, str]]:
    """Its address, and its entry under ``sinks`` in a configuration."""
    words = product.command("sandbox", kind, "--port", "0", "--folder", str(folder), "--faults", faults)
    process = subprocess.Popen(words, env=product.environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        title, _, *entry = [process.stdout.readline().rstrip() for _ in range(5)]
        url = next(word for word in title.split() if word.startswith("http")).rstrip(";")
        more: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=lambda: [more.put(line.rstrip()) for line in process.stdout or ()], daemon=True).start()
        with contextlib.suppress(queue.Empty):
            while True:
                entry.append(more.get(timeout=1))
        of_sink = itertools.takewhile(lambda line: line.startswith(" "), entry)  # its CMDB may follow
        yield url, "\n".join(of_sink) + "\n"
    finally:
        process.terminate()
        process.wait(10)


def ledger(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]


@contextlib.contextmanager
def silence() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


# ---- through one lane -----------------------------------------------------------------------------------------------


def lane_rate(work: Path, kind: str, connections: int, tickets: int, faults: str = "") -> float:
    """Tickets a second, from the first order to the last outcome in the inbox."""
    folder = work / f"lane-{connections}{faults}"
    folder.mkdir(parents=True)
    with sandbox(kind, folder, faults) as (_, entry):
        config = folder / "foreshock.yaml"
        config.write_text(f"sinks:\n{entry}")
        instance = load_settings(config, {}, {}).sinks[0]
        store = Store(f"sqlite:///{folder}/foreshock.db")
        migrations.upgrade(store.migration_engine)
        told, done = [0], threading.Event()
        inbox = WritingInbox(store.journal, lambda: datetime.now(UTC), lambda: None, lambda error: None, feed=False)
        inbox.start()

        def report(change: TicketChange) -> None:
            inbox.append_now(NewRecord(kind=RecordKind.TICKET, body=msgspec.json.encode(change), source=change.sink))
            told[0] += change.state == "confirmed"
            if told[0] >= tickets:
                done.set()

        sinks = [build_sink(instance, "http://console", None) for _ in range(connections + 1)]  # type: ignore[arg-type]
        lane = Lane(
            instance.name,
            sinks[0],
            Outbox(store),
            report,
            now=lambda: datetime.now(UTC),
            more=sinks[1:-1],
            reader=sinks[-1],
            index_delay=timedelta(seconds=sink_kinds()[kind].index_delay_s),
            patience=timedelta(seconds=CALL_S),
            poll=timedelta(seconds=15),
        )
        orders = [
            make_order(sink=instance.name, situation=f"S-{n}", at=datetime.now(UTC), description=_DESCRIPTION, note="x")
            for n in range(tickets)
        ]
        store.journal.commit(Step(read_from=0, position=1, orders=orders))
        began = time.monotonic()
        lane.start()
        if not done.wait(600):
            raise SystemExit(f"only {told[0]} of {tickets} tickets were opened: {lane.status()}")
        took = time.monotonic() - began
        lane.stop(10)
        inbox.stop()
        store.close()
    return tickets / took


# ---- a whole Foreshock ----------------------------------------------------------------------------------------------


def from_event_to_request(work: Path, kind: str, name: str, seconds: int, rate: int, dead: str = "") -> list[float]:
    """Seconds from an event's 202 to the request of its creation, beyond the configured delay, sorted."""
    folder = work / name
    folder.mkdir(parents=True)
    with sandbox(kind, folder / "sandbox") as (url, entry):
        stuck = entry.replace(url, dead).replace(f"name: {kind}", "name: dead") if dead else ""
        correlation = f"correlation:\n  ticket: {{delay: {DELAY_S}s, delay_by_priority: {{1: {DELAY_S}s}}}}\n"
        (folder / "foreshock.yaml").write_text(
            f"listen: 127.0.0.1:{product.PORT}\ndisk_guard: {{min_free: 1MiB, min_free_percent: 0}}\n"
            f"log: {{level: warning}}\n{correlation}sinks:\n{entry}{stuck}"
        )
        with product.Running(folder) as foreshock:
            foreshock.ready()
            time.sleep(3)
            accepted = send_apart(seconds, rate)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and len(received(folder, kind)) < len(accepted):
                time.sleep(0.5)
            foreshock.stop()
        arrived = received(folder, kind)
    missing = [ci for ci in accepted if ci not in arrived]
    if missing:
        print(f"{len(missing)} of {len(accepted)} tickets never came: the delay below is of the others")
    return sorted(arrived[ci] - accepted[ci] - DELAY_S for ci in accepted if ci in arrived)


def send_apart(seconds: int, rate: int) -> dict[str, float]:
    """Alerts that have nothing to do with each other; by CI, when each was answered."""
    accepted = {}
    began = time.monotonic()
    for number in range(seconds * rate):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        ci = f"host{number:05d}x"
        body = json.dumps([alert(ci, f"Trouble{number:05d}", moment(datetime.now(UTC)))]).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{product.PORT}/api/v2/alerts", body, headers)
        urllib.request.urlopen(request, timeout=10).read()
        accepted[ci] = time.time()
    return accepted


def received(folder: Path, kind: str) -> dict[str, float]:
    """By CI, when the creation of its ticket reached the stand-in."""
    found: dict[str, float] = {}
    for entry in ledger(folder / "sandbox", kind):
        if entry["method"] == "POST" and any(" created " in effect for effect in entry["effects"]):
            ci = next((word for word in entry["body"].replace('"', " ").split() if word.startswith("host")), "")
            found.setdefault(ci.strip(".,:;\\n")[:10], datetime.fromisoformat(entry["at"]).timestamp())
    return found


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", default="servicenow")
    parser.add_argument("--tickets", type=int, default=1500)
    parser.add_argument("--quick", action="store_true", help="a look: fewer tickets, less time")
    options = parser.parse_args()
    tickets, seconds = (300, 10) if options.quick else (options.tickets, 30)
    product.about({})
    with product.scratch() as scratch:
        work = scratch / f"sinks-{time.time_ns()}"
        rates = [(count, lane_rate(work, options.kind, count, tickets)) for count in CONNECTIONS]
        slow = {count: lane_rate(work, options.kind, count, 8 * count, SLOW) for count in CONNECTIONS}
        rows = [(count, f"{rate:.0f}", f"{slow[count]:.1f}") for count, rate in rates]
        columns = ("connections", f"tickets/s (target {TARGET_RATE} with 8)", "tickets/s, each answer after 1 s")
        product.table(columns, rows)
        rows = []
        with silence() as dead:
            for name, address in (("alone", ""), ("beside a dead sink", dead)):
                for rate in (5, 50):
                    waits = from_event_to_request(work, options.kind, f"{name}-{rate}", seconds, rate, address)
                    shown = [f"{quantile(waits, share):.2f}" for share in (0.5, 0.99)]
                    rows.append((name, rate, len(waits), *shown))
        columns = ("sink", "events/s", "tickets", "p50 s", f"p99 s (target {TARGET_S:g})")
        product.table(columns, rows)


if __name__ == "__main__":
    main()
