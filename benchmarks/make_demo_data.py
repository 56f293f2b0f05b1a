"""Cut the demo's recording out of the public PetShop data.

    python benchmarks/make_demo_data.py <folder of the data> [--into foreshock/service/demo]

Needs pandas and pyarrow (pyarrow is not among the project's own requirements). The folder holds two tables of
the dataset amazon-science/petshop-root-cause-analysis (Hardt et al., CLeaR 2024, CC-BY-4.0) in long form:

    issue_metrics.parquet   issue_id, time (unix s), node, metric, stat, value
    normal_metrics.parquet  scenario, time, node, metric, stat, value

Written are ``metrics.csv`` (offset_s, node, metric, stat, value) and ``normal.csv`` (node, metric, stat,
median, p01, p99, samples). The list of causes is not read. The same data gives the same bytes.
"""

import argparse
from pathlib import Path

import pandas as pd

SCENARIO = "low_traffic"
OUTAGE = "low_traffic/test/issue_0"
AFTER = "low_traffic/test/issue_7"
"""The recording of the outage stops while it still lasts. This is the next one of the same scenario that the
data has, 85 minutes after the start of the first; its own fault begins after the samples taken from it."""
AFTER_SAMPLES = 2
EVERY_S = 300

# What thresholds.yaml looks at.
SERIES = [("latency", "Average"), ("latency", "p95"), ("availability", "Average"), ("requests", "Sum")]
DIGITS = 6

DEMO = Path(__file__).resolve().parent.parent / "foreshock" / "service" / "demo"


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    return table[pd.MultiIndex.from_frame(table[["metric", "stat"]]).isin(SERIES)]


def recording(issues: pd.DataFrame) -> pd.DataFrame:
    """The outage, and behind it the first samples of the next recording; the time between them is cut out."""
    parts, offset_s = [], 0
    for issue, count in ((OUTAGE, None), (AFTER, AFTER_SAMPLES)):
        part = issues[issues.issue_id == issue]
        times = sorted(part.time.unique())[:count]
        offsets = {time: offset_s + int(time - times[0]) for time in times}
        part = part[part.time.isin(times)]
        parts.append(part.assign(offset_s=part.time.map(offsets)))
        offset_s = max(offsets.values()) + EVERY_S
    rows = chosen(pd.concat(parts))[["offset_s", "node", "metric", "stat", "value"]]
    return rows.sort_values(["offset_s", "node", "metric", "stat"])


def normal(table: pd.DataFrame) -> pd.DataFrame:
    series = chosen(table[table.scenario == SCENARIO]).groupby(["node", "metric", "stat"]).value
    rows = pd.DataFrame({"median": series.median()})
    rows["p01"], rows["p99"] = series.quantile(0.01), series.quantile(0.99)
    rows["samples"] = series.size()
    return rows.reset_index().sort_values(["node", "metric", "stat"])


def write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format=f"%.{DIGITS}g", lineterminator="\n", encoding="utf-8")
    print(f"{path.name}: {len(table)} rows, {path.stat().st_size} bytes")


def make(data: Path, into: Path) -> None:
    write(recording(pd.read_parquet(data / "issue_metrics.parquet")), into / "metrics.csv")
    write(normal(pd.read_parquet(data / "normal_metrics.parquet")), into / "normal.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut the demo's recording out of the public PetShop data.")
    parser.add_argument("data", type=Path, help="folder with the two Parquet files")
    parser.add_argument("--into", type=Path, default=DEMO, help="where the two CSV files go")
    arguments = parser.parse_args()
    make(arguments.data, arguments.into)


if __name__ == "__main__":
    main()
