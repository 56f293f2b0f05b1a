"""What a topology of 100,000 CIs costs: to build, to hold, to change, to ask, and to bind alerts by.

    make bench-topology            or    python benchmarks/topology.py [--cis 100000] [--seed 7]

Beside networkx on the same estate in one run, each in a process of its own, so that the memory of one is not that of
the other, and with the product's settings for memory and garbage in both. Times are seconds of the processor where
something long is measured, so that a busy machine shows less; of short questions the distribution is told. A
neighbourhood is what a CI depends on, by the direction of each type, within three steps; networkx gets those directed
edges alone and ``single_source_dijkstra_path_length`` with the same costs.
"""

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import landscape
import msgspec
import product

from correlation import bind
from correlation.bind import Binder, Binding
from correlation.settings import BindSettings, RelateSettings
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import DIRECTIONS, Direction, Topology, TopologyDelta
from foreshock.service import memory

BUILD_TARGET_S, DELTA_TARGET_S, QUERY_TARGET_US, FIRST_TARGET_US, AGAIN_TARGET_US = 3.0, 0.5, 50.0, 20.0, 2.0
COSTS = RelateSettings().costs
HOPS = 3.0
_ASKED = 3_000
_UP = (Direction.SOURCE_SUFFERS, Direction.BOTH_SUFFER)
_DOWN = (Direction.TARGET_SUFFERS, Direction.BOTH_SUFFER)


class Estate(msgspec.Struct):
    """As a checkpoint holds it."""

    cis: tuple[CI, ...]
    relationships: tuple[Relationship, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cis", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=400_000)
    parser.add_argument("--alerts", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=("foreshock", "networkx", "binding"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        memory.settle()
        memory.look_rarely()
        measured = {"foreshock": of_foreshock, "networkx": of_networkx, "binding": of_binding}[options.only]
        print(json.dumps(measured(options.work, options)))
        return 0
    with product.scratch() as work:
        product.about({"networkx": _version("networkx")})
        cis, ties = landscape.estate(options.seed, options.cis, options.relationships)
        (work / "estate").write_bytes(msgspec.msgpack.encode(Estate(tuple(cis), tuple(ties))))
        (work / "delta").write_bytes(msgspec.msgpack.encode(landscape.churn(cis, ties, options.seed)))
        names = sum(len(ci.aliases) for ci in cis)
        print(f"### {len(cis):,} CIs, {len(ties):,} relationships, {names:,} aliases\n")
        show(*(_in_a_process(work, each) for each in ("foreshock", "networkx")))
        print(f"### Binding {options.alerts:,} alerts\n")
        show_binding(_in_a_process(work, "binding"))
    return 0


def _in_a_process(work: Path, which: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", which, "--work", str(work)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


# ---- measures -------------------------------------------------------------------------------------------------------


def of_foreshock(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    delta = msgspec.msgpack.decode((work / "delta").read_bytes(), type=TopologyDelta)
    before, began = _resident(), time.process_time()
    topology = _read(work)
    found: dict[str, Any] = {"build": time.process_time() - began, "memory": _resident() - before}
    asked = _sample(topology.cis, options.seed)
    found["degrees"] = {id: len(topology.steps_up(id)) + len(topology.steps_down(id)) for id in asked}
    found["up"] = _each(asked, topology.walk_up)
    found["down"] = _each(asked, topology.walk_down)
    for id in asked:
        topology.upstream(id)
    found["kept"] = _each(asked, topology.upstream)
    began = time.process_time()
    topology.services("location-00000")
    found["services"] = time.process_time() - began
    before, began = _resident(), time.process_time()
    changed = topology.patched(delta, version="2")
    found["delta"], found["delta memory"] = time.process_time() - began, _resident() - before
    found["process"] = _resident()
    whole = Topology(changed.cis.values(), changed.relationships, costs=COSTS, max_cost=HOPS)
    for id in asked:
        assert changed.upstream(id) == whole.upstream(id), id
    return found


def of_networkx(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    import networkx as nx

    delta = msgspec.msgpack.decode((work / "delta").read_bytes(), type=TopologyDelta)
    before, began = _resident(), time.process_time()
    read = msgspec.msgpack.decode((work / "estate").read_bytes(), type=Estate)
    graph = nx.DiGraph()
    graph.add_nodes_from((ci.id, {"ci": ci}) for ci in read.cis)
    graph.add_weighted_edges_from(_edges(read.relationships))
    ids = [ci.id for ci in read.cis]
    del read
    found: dict[str, Any] = {"build": time.process_time() - began}
    found["memory"] = _resident() - before
    asked = _sample(ids, options.seed)

    def up(id: str) -> Mapping[str, float]:
        return nx.single_source_dijkstra_path_length(graph, id, cutoff=HOPS)

    below = graph.reverse(copy=False)

    def down(id: str) -> Mapping[str, float]:
        return nx.single_source_dijkstra_path_length(below, id, cutoff=HOPS)

    found["up"], found["down"] = _each(asked, up), _each(asked, down)
    began = time.process_time()
    critical = [id for id, data in graph.nodes(data=True) if data["ci"].criticality]
    above = nx.ancestors(graph, "location-00000")
    _ = [id for id in critical if id in above]
    found["services"] = time.process_time() - began
    before, began = _resident(), time.process_time()
    new = graph.copy()
    new.remove_nodes_from(delta.gone_cis)
    new.remove_edges_from((source, target) for source, target, _ in _edges(delta.gone_relationships))
    new.add_nodes_from((ci.id, {"ci": ci}) for ci in delta.put_cis)
    new.add_weighted_edges_from(_edges(delta.put_relationships))
    found["delta"], found["delta memory"] = time.process_time() - began, _resident() - before
    found["process"] = _resident()
    return found


def _edges(ties: Sequence[Relationship]) -> Iterator[tuple[str, str, float]]:
    for tie in ties:
        if DIRECTIONS[tie.type] in _UP:
            yield tie.source, tie.target, COSTS.get(tie.type, 1.0)
        if DIRECTIONS[tie.type] in _DOWN:
            yield tie.target, tie.source, COSTS.get(tie.type, 1.0)


def of_binding(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Alerts as monitoring writes them: by address and port, by names of other domains, in capitals, by alias."""
    topology = _read(work)
    names = topology._names  # what the index holds besides the strings of the CIs
    index = sys.getsizeof(names) + sum(sys.getsizeof(ids) for ids in names.values() if isinstance(ids, tuple))
    draw = random.Random(options.seed)
    cis = list(topology.cis.values())
    binder = Binder(topology, BindSettings())
    how: Counter[str] = Counter()
    first: list[float] = []
    again: list[float] = []
    clock = time.perf_counter
    spent = -time.process_time()
    making = 0.0
    for number in range(options.alerts):
        began = time.process_time()
        ci = draw.choice(cis)
        labels = msgspec.json.decode(msgspec.json.encode(_labels(ci, number)), type=dict[str, str])
        making += time.process_time() - began
        known = len(binder._known)
        start = clock()
        found = binder.bind(labels, "alertmanager", "bench")
        (first if len(binder._known) != known else again).append(clock() - start)
        if number % 10 == 0:
            start = clock()
            binder.bind(dict(labels), "alertmanager", "bench")
            again.append(clock() - start)
        how[found.confidence.name.lower()] += 1
    spent += time.process_time() - making
    held = [_size(key, found) for key, found in binder._known.items()]
    most = dict.fromkeys(range(bind._MAX_KNOWN))
    remembered = sys.getsizeof(most) + sum(held) / len(held) * len(most)
    return {
        "first": _spread(first), "again": _spread(again), "how": dict(how), "index": index / 2**20,
        "memory": remembered / 2**20, "all": spent, "names": len(names), "bytes": index / len(names),
    }  # fmt: skip


def _size(key: tuple[str, ...], found: Binding) -> int:
    """Names of labels and most of the words are shared; values are not."""
    return sys.getsizeof(key) + sum(map(sys.getsizeof, key[2::2])) + sys.getsizeof(found)


def _labels(ci: CI, number: int) -> dict[str, str]:
    labels = {"alertname": f"Alert{number % 50}", "severity": "critical", "job": "node", "environment": ci.environment}
    match number % 5:
        case 0:
            return {**labels, "instance": f"{ci.aliases[0]}:9100"}
        case 1:
            return {**labels, "host": ci.name}
        case 2:
            return {**labels, "hostname": f"{ci.id}.other.example."}
        case 3:
            return {**labels, "instance": "10.255.0.1:8080", "service": ci.aliases[2 + number % 3]}
        case _:
            return {**labels, "instance": f"unknown-{number}:9100"}


def _read(work: Path) -> Topology:
    read = msgspec.msgpack.decode((work / "estate").read_bytes(), type=Estate)
    topology = Topology(read.cis, read.relationships, version="1", costs=COSTS, max_cost=HOPS)
    del read
    gc.collect()
    return topology


def _sample(ids: Any, seed: int) -> list[str]:
    """Drawn at random, and what nearly everything uses or stands in."""
    drawn = random.Random(seed).sample(sorted(ids), min(_ASKED, len(ids)))
    return [*drawn, *landscape.HUBS, "location-00000", "network-00000"]


def _each(asked: Sequence[str], question: Callable[[str], Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """(id, microseconds, size of the answer); the better of two times."""
    found = []
    for id in asked:
        times = []
        for _ in range(2):
            began = time.perf_counter()
            answer = question(id)
            times.append(time.perf_counter() - began)
        found.append((id, min(times) * 1e6, len(answer)))
    return found


def _spread(seconds: list[float]) -> tuple[int, float, float, float]:
    """How many; median, 99th percentile and mean in microseconds."""
    seconds.sort()
    count = len(seconds)
    return count, seconds[count // 2] * 1e6, seconds[count * 99 // 100] * 1e6, sum(seconds) / count * 1e6


def _resident() -> float:
    """MiB."""
    gc.collect()
    return product.resident(os.getpid()) / 2**20


# ---- tables ---------------------------------------------------------------------------------------------------------


def show(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    rows = [
        ("decode and build, CPU s", ours["build"], theirs["build"], BUILD_TARGET_S),
        ("memory, MiB", ours["memory"], theirs["memory"], ""),
        ("process with it and a second version, MiB", ours["process"], theirs["process"], 600),
        ("1 % delta to a new version, CPU s", ours["delta"], theirs["delta"], DELTA_TARGET_S),
        ("memory of that version, MiB", ours["delta memory"], theirs["delta memory"], ""),
        ("services above a site, first asked, CPU s", ours["services"], theirs["services"], ""),
    ]
    cells = [
        (what, _digits(mine), _digits(other), f"{mine / other:.2f}" if other else "", target)
        for what, mine, other, target in rows
    ]
    product.table(["", "Foreshock", "networkx", "ratio", "target"], cells)
    degrees = ours["degrees"]
    bands = ((0, 4), (5, 9), (10, 99), (100, 10**9))
    rows = []
    for way, said in (("up", "what it depends on"), ("down", "what depends on it")):
        for low, high in [(0, 10**9), *bands]:
            mine, other = (_band(each[way], degrees, low, high) for each in (ours, theirs))
            if mine:
                name = (
                    "all"
                    if (low, high) == (0, 10**9)
                    else f"degree {low}–{high}"
                    if high < 10**9
                    else f"degree ≥ {low}"
                )
                rows.append((said, name, *_row(mine), *_row(other)[1:], f"{mine[1] / other[1]:.2f}"))
    product.table(
        [
            "three steps, worked out",
            "CIs",
            "asked",
            "median µs",
            "p99 µs",
            "largest",
            "networkx median µs",
            "p99 µs",
            "largest",
            "ratio",
        ],
        rows,
    )
    kept = _band(ours["kept"], degrees, 0, 10**9)
    print(f"Asked again (`upstream` keeps it): median {kept[1]:.2f} µs, p99 {kept[2]:.2f} µs. ", end="")
    print(
        f"Target: median {QUERY_TARGET_US:.0f} µs. Walks end at {Topology.MAX_REACH} CIs; those of networkx do not.\n"
    )


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def _band(
    found: list[list[Any]], degrees: Mapping[str, int], low: int, high: int
) -> tuple[int, float, float, int] | None:
    chosen = [(used, size) for id, used, size in found if low <= degrees[id] <= high]
    times = sorted(used for used, _ in chosen)
    if not times:
        return None
    return len(times), times[len(times) // 2], times[len(times) * 99 // 100], max(size for _, size in chosen)


def _row(found: tuple[int, float, float, int]) -> tuple[str, str, str, str]:
    return f"{found[0]:,}", f"{found[1]:.1f}", f"{found[2]:,.0f}", f"{found[3]:,}"


def show_binding(found: dict[str, Any]) -> None:
    rows = [
        (what, f"{count:,}", f"{median:.2f}", f"{p99:.1f}", f"{mean:.2f}", target)
        for what, (count, median, p99, mean), target in (
            ("seen first", found["first"], FIRST_TARGET_US),
            ("seen again", found["again"], AGAIN_TARGET_US),
        )
    ]
    product.table(["identity", "times", "median µs", "p99 µs", "mean µs", "target µs"], rows)
    how = ", ".join(f"{count:,} {name}" for name, count in sorted(found["how"].items()))
    print(f"{found['all']:.1f} CPU s for all. Found by: {how}. The index of {found['names']:,} names holds", end=" ")
    print(f"{found['index']:.0f} MiB beside the CIs ({found['bytes']:.0f} bytes a name); what is remembered", end=" ")
    print(f"of identities, at most {found['memory']:.0f} MiB.\n")


if __name__ == "__main__":
    raise SystemExit(main())
