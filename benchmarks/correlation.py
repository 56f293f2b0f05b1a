"""Correlation at full strength: its price beside Alertmanager, a storm of a million alerts, and how well it groups.

    make bench-correlation       or    python benchmarks/correlation.py [--quick] [--parts price,delay,storm,quality]

Foreshock runs with everything on: store, all default rules over 10,000 CIs (100,000 for the delay), ticket outbox.
Both peers take turns in one run, and a run counts until the engine has caught up. ``--quick`` is the same with less of
everything, for a look; its figures are rougher.
"""

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import intake
import product
from msgspec import Struct

sys.path.insert(0, str(product.ROOT))  # before this folder, whose correlation.py is not the package

FAR = "2099-01-01T00:00:00Z"
PARTS = ("price", "delay", "storm", "quality")
TARGETS = {
    "cpu_s_per_1k": "<= 0.5, aim 0.25",
    "processed_per_s": ">= 2, aim 3",
    "p99_ms": "<= 0.3, aim 0.2",
}


class Sizes(Struct, frozen=True):
    """How much of everything."""

    reps: int = 5
    events: int = 100_000
    filled: int = 100_000
    resent: int = 10
    cis: int = 100_000
    rate_s: int = 30
    calm_s: int = 150
    storm: int = 1_000_000


QUICK = Sizes(reps=2, events=30_000, filled=20_000, resent=5, cis=20_000, rate_s=8, calm_s=10, storm=100_000)


# ---- price ----------------------------------------------------------------------------------------------------------


def price(work: Path, sizes: Sizes) -> bool:
    product.make_stream(work, sizes.events)
    threads = intake.Threads()
    compare = intake.load_compare(work, threads)
    cell = (sizes.events, 64, 4)
    rows = intake.measure(compare, cell, sizes.reps, work / "correlation.jsonl")
    intake.tell(cell, rows, TARGETS)
    intake.tell_threads(threads, sizes.events)
    steps(work, sizes)
    resends(compare, work, sizes)
    memory_and_restart(compare, work, sizes)
    product.make_stream(work, intake.KILL_EVENTS, "fill")
    sound = intake.durability(compare, work, 1 if sizes is QUICK else 3)
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


def steps(work: Path, sizes: Sizes) -> None:
    """What each step costs, in this process: the mixed stream through the same code, timed by CPU."""
    from foreshock.core.contracts import Items, NewRecord, RecordKind, Step
    from foreshock.core.model import Event, read_annotations, read_labels
    from foreshock.service.runner import _row
    from foreshock.store.journal import Journal
    from foreshock.store.migrations import upgrade_journal

    journal = Journal(f"sqlite:///{work / 'steps.db'}")
    upgrade_journal(journal)
    spent: dict[str, float] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent[what] = spent.get(what, 0.0) + time.process_time() - began
        return result

    try:
        engine, collector, records = engine_and_records(work, sizes.events)
        position, known = 0, engine.known.setdefault(collector.namespace, {})

        def check(items: Sequence[Any]) -> dict[int, dict[str, str]]:
            labels = {}
            for index, item in enumerate(items):
                event = collector.translate(item, engine.now)
                assert isinstance(event, Event)
                if known.get(bytes(event.labels)) is None:
                    labels[index] = read_labels(event.labels)
                    read_annotations(event.annotations)
            return labels

        for start in range(0, len(records), 16):
            given = []
            rows = []
            for record in records[start : start + 16]:
                items = timed("decode", lambda record=record: collector.decode(record.body))
                given.append((record, Items(items, timed("check", lambda items=items: check(items)))))
                new = NewRecord(kind=RecordKind.EVENTS, body=record.body, items=len(items))
                rows.append((record.number, record.at, new))
            timed("inbox: compress, write, sync", lambda rows=rows: journal.append(rows))
            effects = timed("engine", lambda given=given: engine.step(given))
            step = Step(
                read_from=position,
                position=position + len(rows),
                situations=[_row(situation, effects.ended.get(id)) for id, situation in effects.situations.items()],
                orders=effects.orders,
                audit=effects.audit,
            )
            timed("commit of the engine's step", lambda step=step: journal.commit(step))
            position += len(rows)
        each = resend_s(engine, collector, records[-200:])
    finally:
        journal.close()
        for path in work.glob("steps.db*"):
            path.unlink()
    events = sum(len(collector.decode(record.body)) for record in records)
    print("### What each step costs (mixed stream, 64 a request, 16 requests a step, one process without HTTP)\n")
    rows = [(what, f"{used / events * 1e6:.1f}") for what, used in spent.items()]
    rows.append(("sum", f"{sum(spent.values()) / events * 1e6:.1f}"))
    rows.append(("of which the engine's look-up of a re-send, each", f"{each * 1e6:.1f}"))
    product.table(("step", "CPU µs per alert"), rows)


def resend_s(engine: Any, collector: Any, records: Sequence[Any]) -> float:
    """CPU seconds for each alert of ``records`` that fires already and says nothing new."""
    from foreshock.core.contracts import Items

    known = engine.known[collector.namespace]
    given = []
    for record in records:
        items = [
            item for item in collector.decode(record.body) if (one := known.get(bytes(item.labels))) and one.firing
        ]
        given.append((record, Items(items, {})))
    engine.step(given)  # whatever else they were is over now
    repeats, began = engine.counts["repeat"], time.process_time()
    engine.step(given)
    return (time.process_time() - began) / max(1, engine.counts["repeat"] - repeats)


def engine_and_records(work: Path, events: int) -> tuple[Any, Any, list[Any]]:
    """An engine with the default rules and the 10,000 CIs in force, its collector, and the mixed stream as records."""
    from correlation.settings import CorrelationSettings
    from foreshock.core.contracts import RecordKind

    engine, collector, record = new_engine(work / "topology", datetime.now(UTC), CorrelationSettings())
    lines = (work / "data" / f"stream-{events}.jsonl").read_bytes().splitlines()
    at = engine.now
    records = []
    for start in range(0, len(lines), 64):
        at += timedelta(milliseconds=1)
        body = b"[" + b",".join(lines[start : start + 64]) + b"]"
        records.append(record(RecordKind.EVENTS, body, at))
    return engine, collector, records


def new_engine(topology: Path, at: datetime, settings: Any) -> tuple[Any, Any, Callable[..., Any]]:
    """An engine with the default rules and a topology in force; Prometheus's collector; a maker of further records."""
    import msgspec

    from cmdb_sync.file import FileConfig, FileSource
    from foreshock.core.contracts import Record, RecordKind
    from foreshock.service.engine import Engine
    from foreshock.service.front import collector_kinds
    from foreshock.service.records import SettingsRecord, TopologyRecord
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import load_settings, rule_kinds

    numbers = iter(range(1, sys.maxsize))

    def record(kind: RecordKind, body: bytes, at: datetime) -> Record:
        kinds = ("alertmanager", "bench") if kind is RecordKind.EVENTS else ("", "")
        return Record(number=next(numbers), at=at, kind=kind, body=body, collector=kinds[0], source=kinds[1], actor="")

    collectors = collector_kinds()
    engine = Engine(collectors, rule_kinds())
    rules = load_rules(load_settings(None, {}, {}).rules)
    wanted = SettingsRecord(correlation=settings.model_dump(mode="json"), sinks=("desk",), rules=rules)
    known = FileSource("bench", FileConfig(path=topology)).fetch()
    read = TopologyRecord(version=known.version, cis=known.cis, relationships=known.relationships)
    engine.step([(record(RecordKind.SETTINGS, msgspec.json.encode(wanted), at), None)])
    engine.step([(record(RecordKind.TOPOLOGY, msgspec.json.encode(read), at), None)])
    return engine, collectors["alertmanager"], record


# ---- delay ----------------------------------------------------------------------------------------------------------


def write_topology(folder: Path, kinds: Sequence[str], needs: Sequence[tuple[str, str]], names: Sequence[str]) -> Path:
    """CSV files of CIs and what each depends on; settings for a Foreshock beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = "".join(f"{name},{kind}\n" for name, kind in zip(names, kinds, strict=True))
    (folder / "nodes.csv").write_text(f"node,type\n{nodes}")
    edges = "".join(f"{source},{target},depends_on\n" for source, target in needs)
    (folder / "topology.csv").write_text(f"source,target,relation\n{edges}")
    return product.write_settings(folder.parent, folder)


def estate(folder: Path, cis: int) -> list[str]:
    """A tree of regions, racks, hosts and services with some cross links; the names of all CIs."""
    chance = random.Random(1)
    layers = [("region", 10), ("rack", cis // 200), ("host", cis // 20), ("vm", cis // 3)]
    layers.append(("service", cis - sum(count for _, count in layers)))
    names, kinds, needs, above = [], [], [], []
    for kind, count in layers:
        here = [f"{kind}-{number:06d}" for number in range(count)]
        for name in here:
            needs += [(name, chance.choice(above)) for _ in range(1 if kind != "service" else 2) if above]
        names += here
        kinds += [kind] * count
        above = here
    write_topology(folder, kinds, needs, names)
    return names


def alert(ci: str, name: str, started: str, *, ended: str = FAR) -> dict[str, Any]:
    labels = {"alertname": name, "instance": f"{ci}:9100", "ci": ci, "severity": "critical", "job": "bench"}
    summary = f"{name} on {ci}: the value has been above its threshold for five minutes"
    return {"labels": labels, "annotations": {"summary": summary}, "startsAt": started, "endsAt": ended}


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def delay(work: Path, sizes: Sizes) -> None:
    """From taking an alert in to the situation being updated on disk, while a thousand come each second."""
    names = estate(work / "delay" / "topology", sizes.cis)
    chance = random.Random(2)
    long_ago = moment(datetime.now(UTC) - timedelta(days=1))
    with product.Running(work / "delay") as foreshock:
        foreshock.ready()
        foreshock.settle()
        sender = Sender()
        for start in range(0, len(names), 500):
            sender.post([alert(ci, "Degraded", long_ago) for ci in names[start : start + 500]])
        foreshock.settle(within_s=600)
        calm(sizes.calm_s)
        sender = Sender()  # the other connection was idle for longer than a server keeps one
        before, waits, burning = reflected(), [], []
        began = time.monotonic()
        batches = sizes.rate_s * 50
        for batch in range(batches):
            time.sleep(max(0.0, began + batch * 0.02 - time.monotonic()))
            now = datetime.now(UTC)
            new = [alert(chance.choice(names), "Down", moment(now)) for _ in range(3)]
            over = [{**burning.pop(0), "endsAt": moment(now)} for _ in range(2) if len(burning) > 500]
            burning += new
            again = [alert(chance.choice(names), "Degraded", long_ago) for _ in range(20 - len(new) - len(over))]
            waits.append(sender.post([*new, *over, *again]))
        took = time.monotonic() - began
        foreshock.settle()
        after = reflected()
        foreshock.stop()
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    waits.sort()
    print(
        f"### Delay with {sizes.cis:,} open alerts on as many CIs, {batches * 20 / took:.0f} alerts/s (3 in 20 new)\n"
    )
    product.table(
        ("", "p50 ms", "p99 ms", "target"),
        [
            (
                "accepted to situation updated",
                *(f"{quantile(counts, q) * 1000:.0f}" for q in (0.5, 0.99)),
                "p99 <= 100",
            ),
            ("answer", *(f"{waits[int(len(waits) * q)] * 1000:.1f}" for q in (0.5, 0.99)), ""),
        ],
    )


def calm(least_s: float) -> None:
    """Wait until all that the filling led to is over: each situation comes up again when its ticket is due, and so many
    at once is what nobody asked about."""
    began, quiet = time.monotonic(), 0
    while quiet < 3 or time.monotonic() - began < least_s:
        before = busy_s()
        time.sleep(2)
        quiet = quiet + 1 if busy_s() - before < 0.2 else 0


def busy_s() -> float:
    """Seconds the engine has worked."""
    name = "foreshock_engine_busy_seconds "
    return sum(
        float(line.split()[-1]) for line in product.get("/metrics").decode().splitlines() if line.startswith(name)
    )


class Sender:
    """One connection that is kept."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", product.PORT, timeout=60)

    def post(self, alerts: Sequence[dict[str, Any]]) -> float:
        """Seconds to the answer."""
        body, began = json.dumps(alerts), time.monotonic()
        self._connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"an alert was answered with {answer.status}")
        return time.monotonic() - began


def reflected() -> dict[float, float]:
    """Requests so far by the upper bound of how long they took to be reflected, seconds; cumulative."""
    name, found = "foreshock_reflect_duration_seconds_bucket{le=", {}
    for line in product.get("/metrics").decode().splitlines():
        if line.startswith(name):
            bound, _, count = line.removeprefix(name).partition("}")
            found[float(bound.strip('"'))] = float(count)
    return found


def quantile(cumulative: dict[float, float], q: float) -> float:
    """Linear within a bucket, as Prometheus does."""
    total, below, lower = max(cumulative.values()), 0.0, 0.0
    for bound in sorted(cumulative):
        if cumulative[bound] >= q * total:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (q * total - below) / max(1e-9, cumulative[bound] - below)
        below, lower = cumulative[bound], bound
    return lower


# ---- storm ----------------------------------------------------------------------------------------------------------

STORM_CIS, STORM_SPAN_S, STORM_SPREAD_S, STORM_NAMES = 5_000, 600, 120, ("Down", "Unreachable", "Slow", "Errors")
STORM_BATCH = 250


def storm_site(folder: Path) -> list[str]:
    """One site, its racks, and what stands in them."""
    racks = [f"rack-{number:03d}" for number in range(49)]
    hosts = [f"host-{number:05d}" for number in range(STORM_CIS - len(racks) - 1)]
    needs = [(rack, "site-1") for rack in racks]
    needs += [(host, racks[number % len(racks)]) for number, host in enumerate(hosts)]
    names = ["site-1", *racks, *hosts]
    write_topology(folder, ["site", *["rack"] * len(racks), *["host"] * len(hosts)], needs, names)
    return names


def storm_batches(names: Sequence[str], total: int, began: datetime) -> Iterator[tuple[float, bytes]]:
    """(second of the stream, body): the site fails, within two minutes all in it, and everything is sent again and
    again. The order of CIs is that of the failure."""
    distinct = [(ci, name) for ci in names for name in STORM_NAMES]
    onset_s = {ci: STORM_SPREAD_S * number / len(names) for number, ci in enumerate(names)}
    rounds = total // len(distinct)
    sent = 0
    for turn in range(rounds):
        opens_s = turn * STORM_SPAN_S / rounds
        for start in range(0, len(distinct), STORM_BATCH):
            chunk = distinct[start : start + STORM_BATCH]
            at_s = max(
                opens_s + STORM_SPAN_S / rounds * start / len(distinct), onset_s[chunk[-1][0]] if not turn else 0
            )
            alerts = [alert(ci, name, moment(began + timedelta(seconds=onset_s[ci]))) for ci, name in chunk]
            yield at_s, json.dumps(alerts).encode()
            sent += len(chunk)


def storm(work: Path, sizes: Sizes) -> bool:
    folder = work / "storm"
    names = storm_site(folder / "topology")
    print(f"### Storm: {sizes.storm:,} alerts in 10 minutes of stream time, {STORM_CIS:,} CIs under one site\n")
    storm_on_stream_time(folder, names, sizes)
    return storm_at_full_speed(work, folder, names, sizes)


def storm_on_stream_time(folder: Path, names: Sequence[str], sizes: Sizes) -> None:
    from correlation.settings import CorrelationSettings
    from foreshock.core.contracts import RecordKind

    began = datetime(2026, 1, 1, tzinfo=UTC)
    engine, _, record = new_engine(folder / "topology", began, CorrelationSettings())
    orders, used, events = 0, 0.0, 0
    sizes_at: list[tuple[str, str, str, str]] = []
    batches = sorted(storm_batches(names, sizes.storm, began), key=lambda batch: batch[0])
    for number, (at_s, body) in enumerate(batches, 1):
        given = record(RecordKind.EVENTS, body, began + timedelta(seconds=at_s))
        cpu = time.process_time()
        effects = engine.step([(given, None)])
        used += time.process_time() - cpu
        orders += len([order for order in effects.orders if order.verb == "open"])
        events += STORM_BATCH
        if number % max(1, len(batches) // 4) == 0:
            sizes_at.append(
                (
                    f"{at_s:.0f}",
                    f"{events:,}",
                    f"{len(engine.alerts):,}",
                    f"{product.resident(os.getpid()) / 2**20:.0f}",
                )
            )
    product.table(("stream s", "alerts", "different", "RSS MiB of this process"), sizes_at)
    live = [situation for situation in engine.situations.values() if situation.state.value == "open"]
    alone = [situation for situation in live if not getattr(situation, "parent", "")]
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


def storm_at_full_speed(work: Path, folder: Path, names: Sequence[str], sizes: Sizes) -> bool:
    """The same alerts as fast as four connections bring them: answers, memory, and whether all were counted."""
    requests = folder / "storm.bin"
    began = datetime.now(UTC) - timedelta(seconds=STORM_SPAN_S)
    stream = folder / "storm.jsonl"
    with stream.open("wb") as file:
        for _, body in storm_batches(names, sizes.storm, began):
            file.writelines(json.dumps(one).encode() + b"\n" for one in json.loads(body))
    words = [sys.executable, product.TOOLS / "build_requests.py", "--stream", stream, "--format", "alertmanager"]
    subprocess.run([*words, "--batch", str(STORM_BATCH), "--conns", "4", "--out", requests], check=True)
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


# ---- all ------------------------------------------------------------------------------------------------------------


def quality(quick: bool) -> bool:
    """The scorers' tables, by the benchmark that makes them."""
    words = [sys.executable, str(Path(__file__).with_name("grouping.py"))]
    if quick:
        words.append("--quick")
    return subprocess.run(words, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything: a few minutes")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    options = parser.parse_args()
    product.need_tools("gcc", "prometheus-alertmanager")
    sizes = QUICK if options.quick else Sizes()
    parts = options.parts.split(",")
    sound = True
    with product.scratch() as work:
        version = subprocess.run(
            ["prometheus-alertmanager", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        product.about({"Alertmanager": version[version.index("version") + 1]})
        product.build_sender(work)
        if "price" in parts:
            sound = price(work, sizes) and sound
        if "delay" in parts:
            delay(work, sizes)
        if "storm" in parts:
            sound = storm(work, sizes) and sound
        if "quality" in parts:
            sound = quality(options.quick) and sound
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
