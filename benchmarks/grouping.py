"""How well alerts become situations: ``foreshock replay`` on streams whose truth is known, then the scorers.

    make bench-grouping          or    python benchmarks/grouping.py [--events 20000,100000] [--seeds 20260101,7,11]

The 10,000-CI stream has integer ids with blanks between them, which pandas reads as numbers with a point ('12.0'
against the '12' of the other table), so that the scorer would find no cause of any issue. It is given copies whose ids
are text ('c12'). The storm is made of recorded issues whose data may be used to evaluate but never be shipped: it stays
in the scratch folder.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import product

DATA = product.TOOLS.parent / "data" / "microservice_alerts"
STORM_MAPPING = Path(__file__).with_name("storm.mapping.yaml")
COLUMNS = (
    "input", "seed", "alerts", "F1", "precision", "recall", "noise reduction (ideal)", "top 1", "top 3",
    "groups (true)", "CPU µs/alert",
)  # fmt: skip


def with_text_ids(folder: Path) -> tuple[Path, Path]:
    """Copies of truth and issues whose issue ids are text."""
    copies = []
    for name in ("truth", "issues"):
        with (folder / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["issue_id"] = f"c{row['issue_id']}" if row["issue_id"] else ""
        copy = folder / f"{name}.text.csv"
        with copy.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        copies.append(copy)
    return copies[0], copies[1]


def replay(alerts: Path, folder: Path, *options: str) -> tuple[Path, float]:
    """Where the results are, and the CPU seconds of the replay, its start included."""
    out = folder / "out"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = product.command("replay", str(alerts), "--topology", str(folder), "--out", str(out), *options)
    done = subprocess.run(words, env=product.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the replay of {alerts} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def score(out: Path, truth: Path, issues: Path) -> dict[str, Any]:
    files = {"groups": out / "groups.csv", "truth": truth, "ranking": out / "causes.csv", "issues": issues}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    done = subprocess.run(
        [sys.executable, product.EVAL / "grouping.py", *options], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(what: str, seed: int, found: dict[str, Any], cpu_s: float) -> tuple[str, ...]:
    groups, causes = found["grouping"], found["root_cause"]
    return (
        what,
        str(seed),
        f"{groups['alerts']:,}",
        *(f"{groups[f'pairwise_{key}']:.3f}" for key in ("f1", "precision", "recall")),
        f"{groups['noise_reduction']:.3f} ({groups['ideal_noise_reduction']:.3f})",
        f"{causes['top1']:.3f}",
        f"{causes['top3']:.3f}",
        f"{groups['groups']} ({groups['true_groups']})",
        f"{cpu_s / groups['alerts'] * 1e6:.0f}",
    )


def stream(work: Path, events: int, seed: int) -> tuple[str, ...]:
    """The 10,000-CI stream."""
    folder = work / f"eval-{events}-{seed}"
    if not (folder / "topology.csv").exists():
        options = ["--eval", "--events", str(events), "--seed", str(seed), "--out", str(folder)]
        subprocess.run([sys.executable, product.TOOLS / "alert_stream.py", *options], check=True)
        # Its third column says how important a tier is; our settings know it as criticality, which is not under test.
        nodes = folder / "nodes.csv"
        nodes.write_text("".join(line.rpartition(",")[0] + "\n" for line in nodes.read_text().splitlines()))
    out, cpu_s = replay(folder / "alerts.jsonl", folder)
    truth, issues = with_text_ids(folder)
    return row("10,000 CIs", seed, score(out, truth, issues), cpu_s)


def storm(work: Path, seed: int) -> tuple[str, ...]:
    """Six recorded issues at once, twelve times, in an estate whose CMDB is imperfect."""
    folder = work / f"storm-{seed}"
    if not (folder / "topology.csv").exists():
        options = ["--mode", "estate", "--per-burst", "6", "--bursts", "12", "--seed", str(seed)]
        subprocess.run([sys.executable, product.EVAL / "make_storm.py", DATA, folder, *options], check=True)
    out, cpu_s = replay(folder / "alerts.csv", folder, "--mapping", str(STORM_MAPPING))
    return row("storm", seed, score(out, folder / "truth.csv", folder / "issues.csv"), cpu_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="20000,100000")
    parser.add_argument("--seeds", default="20260101,7,11")
    parser.add_argument("--storms", default="7", help="seeds of storms; empty for none")
    options = parser.parse_args()
    product.need_tools()
    if not (product.EVAL / "grouping.py").is_file():
        product.skip(f"there are no scorers in {product.EVAL}")
    with product.scratch() as work:
        product.about({})
        began = time.monotonic()
        os.environ["PYTHONHASHSEED"] = "0"  # for the tools; ours must not need it
        rows = [
            stream(work, int(events), int(seed))
            for events in options.events.split(",")
            if events
            for seed in options.seeds.split(",")
        ]
        if options.storms and DATA.is_dir():
            rows += [storm(work, int(seed)) for seed in options.storms.split(",")]
        product.table(COLUMNS, rows)
        print(f"all in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
