"""How often the cause of a recorded incident is found when its window is known: ``foreshock rank``.

    make bench-causes            or    python benchmarks/causes.py [--data FOLDER] [--rounds 2000]

``FOLDER`` holds one folder for each data set; those that are not there are left out. The command gets a copy without
the columns that hold answers. Intervals are of a bootstrap over incidents. The best known figures are those of the
rules and methods that were measured on the same halves of these data.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

import product

ANSWERS = ("root_cause", "root_cause_metric", "level", "fault_type")
COLUMNS = ("data", "incidents", "top 1 (95 %)", "top 3 (95 %)", "best known, top 1 / top 3", "ms/incident")


class Part(NamedTuple):
    """Incidents whose id begins with one of these, and what is known of others' results there."""

    data: str
    title: str
    begins: tuple[str, ...]
    known: str


PARTS = (
    Part("petshop", "high and low load", ("high", "low"), "correlation .77 / .89, traversal .73 / .92"),
    Part("petshop", "all four loads", ("",), "simple rules .15 / .65"),
    Part("microservice_alerts", "all", ("",), "rarity-weighted metric alerts .24 / .40"),
)


def without_answers(data: Path, folder: Path) -> None:
    """Links to the tables, and the table of incidents without what is asked for."""
    for file in data.iterdir():
        if file.name not in ("issues.csv", "README.md") and "truth" not in file.name:
            (folder / file.name).symlink_to(file.resolve())
    with (data / "issues.csv").open(newline="") as given, (folder / "issues.csv").open("w", newline="") as kept:
        reader = csv.DictReader(given)
        writer = csv.DictWriter(kept, [name for name in reader.fieldnames or () if name not in ANSWERS])
        writer.writeheader()
        writer.writerows({name: row[name] for name in writer.fieldnames} for row in reader)


def ranked(data: Path) -> tuple[dict[str, int], float]:
    """The place of the cause by incident, 0 where it is not among those told; seconds for all."""
    spec = Path(__file__).with_name(f"{data.name}.rank.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "data"), Path(scratch, "causes.csv")
        folder.mkdir()
        without_answers(data, folder)
        words = product.command("rank", "--spec", str(spec), "--data", str(folder), "--out", str(out))
        began = time.monotonic()
        done = subprocess.run(words, env=product.environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"ranking {data.name} failed: {done.stderr[-2000:]}")
        took_s = time.monotonic() - began
        with out.open(newline="") as file:
            told = {(row["issue_id"], row["node"]): int(row["rank"]) for row in csv.DictReader(file)}
    with (data / "issues.csv").open(newline="") as file:
        right = {row["issue_id"]: row["root_cause"].split(";") for row in csv.DictReader(file)}
    places = {
        issue: min((told[issue, node] for node in nodes if (issue, node) in told), default=0)
        for issue, nodes in right.items()
    }
    return places, took_s


def share(places: Iterable[int], within: int, rounds: int) -> str:
    hits = [0 < place <= within for place in places]
    random = Random(1)
    drawn = sorted(sum(random.choices(hits, k=len(hits))) / len(hits) for _ in range(rounds))
    low, high = drawn[int(0.025 * rounds)], drawn[int(0.975 * rounds)]
    return f"{sum(hits) / len(hits):.3f} ({low:.2f} to {high:.2f})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=product.TOOLS.parent / "data")
    options.add_argument("--rounds", type=int, default=2000)
    given = options.parse_args()
    found: dict[str, tuple[dict[str, int], float]] = {}
    rows: list[tuple[str, ...]] = []
    for part in PARTS:
        data = given.data / part.data
        if not data.is_dir():
            print(f"{data} is not there: left out", file=sys.stderr)
            continue
        if part.data not in found:
            found[part.data] = ranked(data)
        places, took_s = found[part.data]
        chosen = [place for issue, place in places.items() if issue.startswith(part.begins)]
        rows.append(
            (
                f"{part.data}, {part.title}", str(len(chosen)), share(chosen, 1, given.rounds),
                share(chosen, 3, given.rounds), part.known, f"{1000 * took_s / len(places):.0f}",
            )
        )  # fmt: skip
    product.about({})
    product.table(COLUMNS, rows)


if __name__ == "__main__":
    main()
