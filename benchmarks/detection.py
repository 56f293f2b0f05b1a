"""How well anomaly scores find what people marked, on public data sets, beside what other detectors reach there.

    make bench-prediction          or    python benchmarks/detection.py [--only smd,nab]

Each data set is one spec, ``detection_NAME.yaml``, run as ``foreshock model detect`` runs it; only the scorer sees the
labels. The control sees nothing but the time of day. No point adjustment: a point is found or it is not.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import product
import pyarrow.csv as pa_csv

from foreshock.service.detecting import run_detect

DATA = product.TOOLS.parent / "data"
COLUMNS = ("data", "measure", "Foreshock", "asked", "others", "time of day only", "s")
ROWS = {
    "smd": ("pooled point F1", ".50", "robust z .38, PCA .22"),
    "asd": ("pooled point F1", ".58", "PCA .41"),
    "cloud_kpi": ("macro point F1 / AP", ".62 / .55", "past-only z .48 / .40"),
    "nab": ("standard profile", "79", "ARTime 79.1, HTM 71.9, windowed Gaussian 39.7, random 27.7"),
}
_A_DAY = {"smd": 1440, "asd": 288, "cloud_kpi": 24, "nab": 288}  # rows, as most of its series have them


def measured(name: str, work: Path) -> tuple[str, ...]:
    data = DATA / name
    if name != "nab":
        subprocess.run([sys.executable, product.EVAL / "prepare.py", "detect", data, work], check=True)
        data = work
    began = time.perf_counter()
    run_detect(Path(__file__).with_name(f"detection_{name}.yaml"), data, work)
    took_s = time.perf_counter() - began
    reached = figures(name, work / "scores.csv", work)
    control = figures(name, time_of_day(name, work), work)
    measure, asked, others = ROWS[name]
    return name, measure, reached, asked, others, control, f"{took_s:.0f}"


def figures(name: str, scores: Path, work: Path) -> str:
    """What the scorer says of a file of scores."""
    if name == "nab":
        found = scorer("nab_score.py", "--scores", scores, "--windows", DATA / name / "windows.json")
        return f"{found['standard']['score']:.1f}"
    found = scorer("detection.py", "--scores", scores, "--labels", work / "labels.csv", "--brief")
    if name == "cloud_kpi":
        return f"{found['macro']['point_f1']:.2f} / {found['macro']['ap']:.2f}"
    return f"{found['pooled']['point_f1']:.2f}"


def scorer(program: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, str(product.EVAL / program), *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def time_of_day(name: str, work: Path) -> Path:
    """Scores for the same rows that grow from the beginning of the day to its end."""
    table = pa_csv.read_csv(work / "scores.csv")
    day = np.arange(len(table)) % _A_DAY[name] / _A_DAY[name]
    control = work / "control.csv"
    pa_csv.write_csv(table.set_column(2, table.column_names[2], [day]), control)
    return control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="data sets, comma-separated")
    wanted = parser.parse_args().only.split(",")
    with product.scratch() as work:
        rows = []
        for name in wanted:
            folder = work / name
            folder.mkdir()
            rows.append(measured(name, folder))
        product.table(COLUMNS, rows)


if __name__ == "__main__":
    main()
