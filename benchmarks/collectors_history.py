"""Metric history: bytes a sample once a day is over, and how long pandas takes to load a month of 200 series; what it
costs to read a day of one CI, and of one metric.

    python benchmarks/collectors_history.py [--scrapes FILE] [--seconds 120] [--days 30] [--series 200]

The samples are all that a node exporter exposes, scraped every five seconds while this runs, or before: ``--record X``
writes them and does nothing else. Their times are spread to the usual 15 s. The month is made up: a daily course and
noise, a point a minute, of two metrics, of which one is loaded.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foreshock.core.model import Series
from foreshock.store.history import ParquetHistory
from foreshock.store.points import Points
from foreshock.testing.servers import free_port, program

BYTES_TARGET, LOAD_TARGET_S = 2.0, 2.0
_SCRAPE_S, _STEP_MS = 5, 15_000
_DAY_MS = 86_400_000
_HEAD = 12
_BEGIN = datetime(2026, 10, 1, tzinfo=UTC)

LOAD = """
import sys, time
import pandas, pyarrow.dataset, pyarrow.parquet
wall, cpu = time.perf_counter(), time.process_time()
frame = pandas.read_parquet(sys.argv[1], filters=[("metric", "==", "metric_0")])
print(len(frame), frame.ci.nunique(), time.perf_counter() - wall, time.process_time() - cpu)
"""


def record(path: Path, seconds: float) -> None:
    """Scrapes of a node exporter: time in milliseconds (8 bytes), length (4 bytes), text with gzip."""
    port = free_port()
    command = [str(program("prometheus-node-exporter")), f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter, path.open("ab") as file:
        try:
            time.sleep(1)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.time()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    body = gzip.compress(answer.read())
                file.write(round(began * 1000).to_bytes(8, "big") + len(body).to_bytes(4, "big") + body)
                time.sleep(max(0.0, _SCRAPE_S - (time.time() - began)))
        finally:
            exporter.terminate()


def scrapes(path: Path) -> Iterator[str]:
    raw, at = path.read_bytes(), 0
    while at + _HEAD < len(raw):
        length = int.from_bytes(raw[at + 8 : at + _HEAD], "big")
        if at + _HEAD + length > len(raw):
            return
        yield gzip.decompress(raw[at + _HEAD : at + _HEAD + length]).decode()
        at += _HEAD + length


def scraped(path: Path) -> Points:
    """What all scrapes expose, 15 s apart."""
    names: dict[str, int] = {}
    series: list[Series] = []
    rows = []
    for number, text in enumerate(scrapes(path)):
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, value = line.rsplit(" ", 1)
            place = names.setdefault(name, len(names))
            if place == len(series):
                metric, _, labels = name.partition("{")
                dimension = labels.removesuffix("}").replace('"', "")
                series.append(Series(ci="web1.example.com:9100", metric=metric, dimension=dimension))
            rows.append((place, number * _STEP_MS, float(value)))
    places, times, values = (np.array(column) for column in zip(*rows, strict=True))
    points = Points(series, places, times + round(_BEGIN.timestamp() * 1000), values)
    return points.take(np.isfinite(values))


def kept(folder: Path, points: Points) -> float:
    """Bytes a sample, once what is appended is a day that is over."""
    history = ParquetHistory(folder)
    for part in np.array_split(np.argsort(points.times, kind="stable"), 20):
        history.append_points("node", points.take(part))
        history.flush()
    history.compact(_BEGIN + timedelta(days=400), most=1000)
    return history.size() / len(points.times)


def looked_up(folder: Path, asked: Mapping[str, Any]) -> float:
    """Seconds of CPU to read a day of one CI, or of one metric."""
    history = ParquetHistory(folder)
    began = time.process_time()
    history.read(_BEGIN, _BEGIN + timedelta(days=1), **asked)
    return time.process_time() - began


def month(folder: Path, days: int, series: int) -> tuple[int, float]:
    """Points, and bytes of each."""
    history, draw = ParquetHistory(folder), np.random.default_rng(7)
    names = [Series(ci=f"host{n % series:03}.example.com", metric=f"metric_{n // series}") for n in range(2 * series)]
    minutes = np.arange(1440)
    for day in range(days):
        begin = round((_BEGIN + timedelta(days=day)).timestamp() * 1000)
        times = np.tile(begin + minutes * 60_000, len(names))
        course = 50 + 20 * np.sin(minutes * 2 * np.pi / 1440)
        values = np.round(np.tile(course, len(names)) + draw.normal(0, 5, len(times)), 2)
        places = np.repeat(np.arange(len(names)), len(minutes))
        history.append_points("made", Points(names, places, times, values))
        history.flush()
    history.compact(_BEGIN + timedelta(days=400), most=1000)
    points = 2 * series * 1440 * days
    return points, history.size() / points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--scrapes", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--series", type=int, default=200)
    asked = parser.parse_args()
    if asked.record:
        record(asked.record, asked.seconds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = asked.scrapes
        if found is None and program("prometheus-node-exporter") is not None:
            found = folder / "scrapes"
            record(found, asked.seconds)
        if found is not None:
            points = scraped(found)
            size = kept(folder / "node", points)
            print(f"node exporter: {len(points.names)} series, {len(points.times):,} samples, {size:.2f} bytes a sample"
                  f" ({'within' if size <= BYTES_TARGET else 'ABOVE'} {BYTES_TARGET})")  # fmt: skip
        count, size = month(folder / "month", asked.days, asked.series)
        print(
            f"{asked.days} days, {2 * asked.series} series: {count:,} samples, noise of four digits: {size:.2f} bytes"
        )
        by_ci, by_metric = ({"cis": {"host042.example.com"}}, {"metric": "metric_1"})
        print(
            f"a day of one CI, all its metrics: {looked_up(folder / 'month', by_ci) * 1000:.0f} ms; "
            f"of one metric of all CIs: {looked_up(folder / 'month', by_metric) * 1000:.0f} ms"
        )
        done = [
            subprocess.run(
                [sys.executable, "-c", LOAD, str(folder / "month" / "points")],
                capture_output=True, text=True, check=True,
            ).stdout.split()
            for _ in range(3)
        ]  # fmt: skip
        rows, series, _, _ = done[0]
        wall, cpu = (sorted(float(each[place]) for each in done)[1] for place in (2, 3))
        print(f"pandas loads {int(rows):,} samples of {series} series in {wall:.2f} s, {cpu:.2f} s of CPU"
              f" (target {LOAD_TARGET_S} s)")  # fmt: skip


if __name__ == "__main__":
    main()
