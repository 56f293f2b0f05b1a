"""What learning from history is worth: on the later half of storms whose earlier half was learned from, and how many
pairs of recorded alarms meet again in the later half of the record.

    make bench-learning          or    python benchmarks/learning.py [--storms 101,102]

The halves of a storm share machines, and some recorded issues come in both, so the gain is an upper bound of what an
estate would see whose faults never repeat exactly. The alarms are of two real networks.
"""

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import product
from grouping import NETWORKS, RECORDED, STORM_MAPPING, TELECOM, Run, read, replay, score, write

from foreshock.core.learned import CoOccurrence, Occurrence
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology
from foreshock.service.learning import level
from predictor.cooccurrence import fit
from predictor.settings import CoOccurrenceSettings

STORM_COLUMNS = ("storm", "learned", "F1", "precision", "recall", "top 1", "top 3", "links by it", "CPU µs/alert")
ALARM_COLUMNS = ("network", "level", "kept", "both begin later", "meet again more than chance")
_BURST_S = 14_400.0
_BEFORE_BURST_S = 2000.0


# ---- storms ---------------------------------------------------------------------------------------------------------


def halves(folder: Path, bursts: int) -> tuple[Path, Path]:
    """The earlier and the later half of a storm, each a folder with its own alerts, truth and issues."""
    cut = bursts // 2 * _BURST_S - _BEFORE_BURST_S
    alerts, truth = read(folder / "alerts.csv"), read(folder / "truth.csv")
    issues = read(folder / "issues.csv")
    made = []
    for name, later in (("earlier", False), ("later", True)):
        half = folder / name
        half.mkdir(exist_ok=True)
        mine = [(float(row["time"]) >= cut) is later for row in alerts]
        write(half / "alerts.csv", [row for row, taken in zip(alerts, mine, strict=True) if taken])
        write(half / "truth.csv", [row for row, taken in zip(truth, mine, strict=True) if taken])
        write(half / "issues.csv", [row for row in issues if (float(row["start"]) >= cut) is later])
        for shared in ("nodes.csv", "topology.csv"):
            shutil.copy(folder / shared, half)
        made.append(half)
    return made[0], made[1]


def storm(work: Path, seed: int, bursts: int) -> list[tuple[str, ...]]:
    folder = work / f"storm-{seed}"
    options = ["--mode", "estate", "--per-burst", "6", "--bursts", str(bursts), "--seed", str(seed)]
    subprocess.run([sys.executable, product.EVAL / "make_storm.py", RECORDED, folder, *options], check=True)
    earlier, later = halves(folder, bursts)
    learned = folder / "learned.json"
    words = ["learn", "--history", str(earlier / "alerts.csv"), "--topology", str(earlier), "--out", str(learned)]
    command = product.command(*words, "--mapping", str(STORM_MAPPING))
    subprocess.run(command, env=product.environment(), check=True, capture_output=True)
    rows = []
    for name, more in (("nothing", []), ("the earlier half", ["--learned", str(learned)])):
        replayed = replay(later / "alerts.csv", later, "--mapping", str(STORM_MAPPING), *more)
        run = score(name, str(seed), later / "truth.csv", later / "issues.csv", replayed)
        rows.append(row(run, replayed[0]))
    return rows


def row(run: Run, out: Path) -> tuple[str, ...]:
    groups, causes = run.grouping, run.causes
    links = (out / "situations.jsonl").read_bytes().count(b'"rule":"cooccurrence@')
    return (
        run.seed,
        run.what,
        *(f"{groups[f'pairwise_{key}']:.3f}" for key in ("f1", "precision", "recall")),
        f"{causes['top1']:.3f}",
        f"{causes['top3']:.3f}",
        str(links),
        f"{run.cpu_s / groups['alerts'] * 1e6:.0f}",
    )


# ---- alarms ---------------------------------------------------------------------------------------------------------


def alarms(network: str) -> list[tuple[str, ...]]:
    """Pairs kept from the earlier half of the alarms, and how many meet more often than chance in the later half."""
    import pandas as pd

    table = pd.read_csv(TELECOM / f"{network}_alarms.csv.gz").sort_values("start_timestamp")
    cut = table.start_timestamp.median()
    first, later = table[table.start_timestamp < cut], table[table.start_timestamp >= cut]
    topology = tied(TELECOM / f"{network}_topology.csv")
    kept = fit(onsets(first), topology, CoOccurrenceSettings()).pairs
    anything = CoOccurrenceSettings(fdr=0.999, min_times=2, min_strength=0, max_pairs=10**6)
    again = {key(pair) for pair in fit(onsets(later), topology, anything).pairs if pair.together > pair.expected}
    begins = {(o.name, o.ci) for o in onsets(later)} | {("", o.ci) for o in onsets(later)}
    known, alive, met = Counter(map(level, kept)), Counter[str](), Counter[str]()
    for pair in kept:
        if all(not side.ci or (side.name, side.ci) in begins for side in (pair.a, pair.b)):
            alive[level(pair)] += 1
            met[level(pair)] += key(pair) in again
    return [(network, name, str(known[name]), str(alive[name]), str(met[name])) for name in sorted(known)]


def onsets(table: Any) -> list[Occurrence]:
    columns = zip(table.start_timestamp, table.alarm_id, table.device_id, strict=True)
    return [Occurrence(float(at_s), f"type {type}", f"device {device}") for at_s, type, device in columns]


def tied(path: Path) -> Topology:
    if not path.is_file():
        return Topology()
    rows = read(path)
    ties = [
        Relationship(source=f"device {r['device_a']}", type="connects_to", target=f"device {r['device_b']}")
        for r in rows
    ]
    devices = sorted({end for tie in ties for end in (tie.source, tie.target)})
    return Topology([CI(id=device, kind="device") for device in devices], ties)


def key(pair: CoOccurrence) -> Any:
    return frozenset((pair.a, pair.b)), pair.standing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storms", default="101,102", help="seeds of storms; empty for none")
    parser.add_argument("--bursts", type=int, default=40)
    options = parser.parse_args()
    if not (product.EVAL / "grouping.py").is_file() or not RECORDED.is_dir():
        product.skip(f"there are no scorers in {product.EVAL}, or no data in {RECORDED}")
    with product.scratch() as work:
        product.about({})
        seeds = [int(seed) for seed in options.storms.split(",") if seed]
        product.table(STORM_COLUMNS, [one for seed in seeds for one in storm(work, seed, options.bursts)])
        if TELECOM.is_dir():
            product.table(ALARM_COLUMNS, [one for network in NETWORKS for one in alarms(network)])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
