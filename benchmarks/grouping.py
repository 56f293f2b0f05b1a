"""How well alerts become situations: ``foreshock replay`` on streams whose truth is known, then the scorers.

    make bench-grouping          or    python benchmarks/grouping.py [--quick] [--storms 7,11] [--streams 7,11]

Storms are recorded issues laid over each other; they and the recorded issues themselves may be used to evaluate but
never be shipped, so they stay in the scratch folder. ``estate`` is the yardstick: one estate with shared switches,
storage and databases, an imperfect CMDB and background noise. All runs have default settings. Figures of others and
goals are those of the same inputs.
"""

import argparse
import csv
import functools
import gzip
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import product

RECORDED = product.TOOLS.parent / "data" / "microservice_alerts"
TELECOM = product.TOOLS.parent / "data" / "telecom_alarms"
MAPPINGS = Path(__file__).parent
STORM_MAPPING = MAPPINGS / "storm.mapping.yaml"
NETWORKS = ("18V_55N_Wireless", "24V_439N_Microwave")
STORMS = {"estate": 6, "linked": 4, "tenants": 4, "shared": 2}
"""Issues at once, by the kind of storm."""
SANITY = ("linked", "tenants")
SANITY_SEEDS = 2
BURSTS = 12
IN_ORDER = "recorded order"

COLUMNS = (
    "input", "seed", "alerts", "F1", "precision", "recall", "F1, no noise", "noise reduction (ideal)", "top 1", "top 3",
    "groups (true)", "CPU µs/alert",
)  # fmt: skip
GOAL_COLUMNS = ("input", "measure", "runs", "Foreshock: mean [range]", "best simple rule or peer", "to reach", "")
TELECOM_COLUMNS = ("network", "alarms", "devices", "situations", "most alerts in one", "CPU µs/alarm")


class Run(NamedTuple):
    """A replay and what the scorers said. ``of_issues``: of the grouping, counted over the alerts of issues only."""

    what: str
    seed: str
    grouping: dict[str, Any]
    of_issues: dict[str, Any]
    causes: dict[str, Any]
    cpu_s: float


class Goal(NamedTuple):
    """A figure of the runs with one input; what the best simple rule or peer reaches there, and what to reach."""

    what: str
    measure: str
    figure: Callable[[Run], float]
    best_known: str
    to_reach: float


def f1(run: Run) -> float:
    return float(run.grouping["pairwise_f1"])


def f1_of_issues(run: Run) -> float:
    return float(run.of_issues["pairwise_f1"])


def top1(run: Run) -> float:
    return float(run.causes["top1"])


def top3(run: Run) -> float:
    return float(run.causes["top3"])


def stream_name(events: int) -> str:
    return f"10,000 CIs, {events:,} events"


def goals(sizes: Iterable[int]) -> Iterable[Goal]:
    yield Goal("estate", "F1", f1, ".80 (communities of the topology + 15 min quiet)", 0.92)
    yield Goal("estate", "cause in top 3", top3, "–", 0.50)
    yield Goal("linked", "F1", f1, ".985 (the one hub left out)", 0.99)
    yield Goal("tenants", "F1", f1, ".985", 0.99)
    yield Goal("shared", "F1", f1, ".68 (time gap)", 0.85)
    yield Goal(IN_ORDER, "F1", f1, ".855 (60 s gap)", 0.95)
    for events in sizes:
        yield Goal(stream_name(events), "F1, alerts of cascades", f1_of_issues, ".93 (2 hops + 120 s gap)", 0.96)
        yield Goal(stream_name(events), "first cause", top1, "–", 0.80)


# ---- replay and score -----------------------------------------------------------------------------------------------


def replay(alerts: Path, folder: Path, *options: str) -> tuple[Path, float]:
    """Where the results are, and the CPU seconds of the replay, its start included."""
    out = folder / "out"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = product.command("replay", str(alerts), "--out", str(out), *options)
    done = subprocess.run(words, env=product.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the replay of {alerts} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def score(what: str, seed: str, truth: Path, issues: Path, replayed: tuple[Path, float]) -> Run:
    out, cpu_s = replayed
    scorer = load_scorer()
    # As text: a column of integers with blanks becomes floats ('12.0'), which match no '12' of the other table.
    true, causes = scorer.pd.read_csv(truth, dtype=str), scorer.pd.read_csv(issues, dtype=str)
    groups, ranking = scorer.pd.read_csv(out / "groups.csv", dtype=str), scorer.pd.read_csv(out / "causes.csv")
    return Run(
        what,
        seed,
        scorer.score_groups(groups, true),
        scorer.score_groups(groups, true[true.issue_id.notna()]),
        scorer.score_ranking(ranking, causes, groups, true),
        cpu_s,
    )


@functools.cache
def load_scorer() -> Any:
    """The scorer's module: started for each run, its imports would take longer than most replays."""
    spec = importlib.util.spec_from_file_location("scorer", product.EVAL / "grouping.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{product.EVAL / 'grouping.py'} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str] = ()) -> None:
    """``columns``: those to write, else all."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


# ---- inputs ---------------------------------------------------------------------------------------------------------


def storm(work: Path, mode: str, seed: int) -> Run:
    """Recorded issues at once, twelve times."""
    folder = work / f"{mode}-{seed}"
    if not (folder / "topology.csv").exists():
        options = ["--mode", mode, "--per-burst", STORMS[mode], "--bursts", BURSTS, "--seed", seed]
        words = [sys.executable, product.EVAL / "make_storm.py", RECORDED, folder, *options]
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        if mode != "estate":  # the others have a node once for each system it is of
            write_nodes(folder, read(folder / "nodes.csv"), read(folder / "topology.csv"))
    replayed = replay(folder / "alerts.csv", folder, "--topology", str(folder), "--mapping", str(STORM_MAPPING))
    return score(mode, str(seed), folder / "truth.csv", folder / "issues.csv", replayed)


def in_order(work: Path) -> Run:
    """The issues as they were recorded, one after the other."""
    folder = work / "recorded"
    folder.mkdir(exist_ok=True)
    alerts = sorted(read(RECORDED / "alerts.csv.gz"), key=lambda row: float(row["time"]))
    write(folder / "alerts.csv", alerts, ("alert_id", "time", "source", "node", "peer", "name", "detail"))
    write(folder / "truth.csv", read(RECORDED / "alerts_truth.csv.gz"))
    write_nodes(folder, read(RECORDED / "nodes.csv"), read(RECORDED / "topology.csv"))
    replayed = replay(folder / "alerts.csv", folder, "--topology", str(folder), "--mapping", str(STORM_MAPPING))
    return score(IN_ORDER, "", folder / "truth.csv", RECORDED / "issues.csv", replayed)


def write_nodes(folder: Path, nodes: Iterable[dict[str, str]], relations: Iterable[dict[str, str]]) -> None:
    """Each node and each relationship once."""
    once = {row["node"]: row for row in reversed(list(nodes))}
    write(folder / "nodes.csv", list(once.values()), ("node", "type"))
    edges = {(row["source"], row["target"], row["relation"]): row for row in relations}
    write(folder / "topology.csv", list(edges.values()), ("source", "target", "relation"))


def stream(work: Path, events: int, seed: int) -> Run:
    """The 10,000-CI stream."""
    folder = work / f"eval-{events}-{seed}"
    if not (folder / "topology.csv").exists():
        options = ["--eval", "--events", str(events), "--seed", str(seed), "--out", str(folder)]
        subprocess.run([sys.executable, product.TOOLS / "alert_stream.py", *options], check=True)
        # Its third column says how important a tier is; our settings know it as criticality, which is not under test.
        nodes = folder / "nodes.csv"
        nodes.write_text("".join(line.rpartition(",")[0] + "\n" for line in nodes.read_text().splitlines()))
    replayed = replay(folder / "alerts.jsonl", folder, "--topology", str(folder))
    return score(stream_name(events), str(seed), folder / "truth.csv", folder / "issues.csv", replayed)


def telecom(work: Path, network: str) -> tuple[str, ...]:
    """Alarms of a real network, of which no truth is known. Devices are neighbours without direction; one network has
    no topology. Most alarms have no end: they expire."""
    folder = work / network
    folder.mkdir(exist_ok=True)
    alarms = read(TELECOM / f"{network}_alarms.csv.gz")
    write(folder / "alarms.csv", sorted(ends_and_starts(alarms), key=lambda row: float(row["time"])))
    options = ["--mapping", str(MAPPINGS / "telecom.mapping.yaml")]
    if (TELECOM / f"{network}_topology.csv").exists():
        write_neighbours(folder, alarms, read(TELECOM / f"{network}_topology.csv"))
        options += ["--topology", str(folder)]
    out, cpu_s = replay(folder / "alarms.csv", folder, *options)
    with (out / "situations.jsonl").open() as file:
        sizes = [len(json.loads(line)["situation"]["members"]) for line in file]
    devices = len({alarm["device_id"] for alarm in alarms})
    per_alarm = f"{cpu_s / len(alarms) * 1e6:.0f}"
    return network, f"{len(alarms):,}", str(devices), f"{len(sizes):,}", str(max(sizes)), per_alarm


def ends_and_starts(alarms: Iterable[dict[str, str]]) -> Iterable[dict[str, str]]:
    for number, alarm in enumerate(alarms):
        row = {"alarm": str(number), "device": f"d{alarm['device_id']}", "type": f"alarm {alarm['alarm_id']}"}
        began, ended = alarm["start_timestamp"], alarm["end_timestamp"]
        yield {**row, "time": began, "state": "firing"}
        if float(ended) > float(began):
            yield {**row, "alarm": f"{number}-end", "time": ended, "state": "resolved"}


def write_neighbours(folder: Path, alarms: Iterable[dict[str, str]], links: Sequence[dict[str, str]]) -> None:
    devices = {alarm["device_id"] for alarm in alarms} | {
        link[end] for link in links for end in ("device_a", "device_b")
    }
    nodes = [{"node": f"d{device}", "type": "device"} for device in sorted(devices)]
    relations = [
        {"source": f"d{link['device_a']}", "target": f"d{link['device_b']}", "relation": "connects_to"}
        for link in links
    ]
    write_nodes(folder, nodes, relations)


# ---- tables ---------------------------------------------------------------------------------------------------------


def line_of(run: Run) -> tuple[str, ...]:
    groups = run.grouping
    return (
        run.what,
        run.seed,
        f"{groups['alerts']:,}",
        *(f"{groups[f'pairwise_{key}']:.3f}" for key in ("f1", "precision", "recall")),
        f"{f1_of_issues(run):.3f}",
        f"{groups['noise_reduction']:.3f} ({groups['ideal_noise_reduction']:.3f})",
        f"{top1(run):.3f}",
        f"{top3(run):.3f}",
        f"{groups['groups']} ({groups['true_groups']})",
        f"{run.cpu_s / groups['alerts'] * 1e6:.0f}",
    )


def line_for(goal: Goal, runs: Sequence[Run]) -> tuple[str, ...]:
    figures = [goal.figure(run) for run in runs if run.what == goal.what]
    mean = statistics.fmean(figures)
    spread = f" [{min(figures):.3f}–{max(figures):.3f}]" if len(figures) > 1 else ""
    verdict = "reached" if mean >= goal.to_reach else "missed"
    return (
        goal.what,
        goal.measure,
        str(len(figures)),
        f"{mean:.3f}{spread}",
        goal.best_known,
        f"≥ {goal.to_reach:g}",
        verdict,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of each, the smaller stream only")
    parser.add_argument("--storms", default="7,11,23,31,47", help="seeds of storms; empty for none")
    parser.add_argument("--streams", default="20260101,7,11", help="seeds of the 10,000-CI stream")
    parser.add_argument("--events", default="20000,100000", help="sizes of the 10,000-CI stream; empty for none")
    options = parser.parse_args()
    product.need_tools()
    if not (product.EVAL / "grouping.py").is_file():
        product.skip(f"there are no scorers in {product.EVAL}")
    storms, streams, sizes = (
        [int(word) for word in words.split(",")[: 1 if options.quick else None] if word]
        for words in (options.storms, options.streams, options.events)
    )
    with product.scratch() as work:
        product.about({})
        began = time.monotonic()
        os.environ["PYTHONHASHSEED"] = "0"  # for the tools; ours must not need it
        runs = [stream(work, events, seed) for events in sizes for seed in streams]
        if RECORDED.is_dir():
            for mode in STORMS:
                runs += [storm(work, mode, seed) for seed in storms[: SANITY_SEEDS if mode in SANITY else None]]
            runs += [in_order(work)] if storms else []
        measured = {run.what for run in runs}
        product.table(GOAL_COLUMNS, [line_for(goal, runs) for goal in goals(sizes) if goal.what in measured])
        product.table(COLUMNS, [line_of(run) for run in runs])
        if TELECOM.is_dir():
            product.table(TELECOM_COLUMNS, [telecom(work, network) for network in NETWORKS])
        print(f"all in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
