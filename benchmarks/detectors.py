"""What each detector tells of quiet metrics, what it finds of planted changes, and what it costs, in one run.

    make bench-detectors            or    python benchmarks/detectors.py [--data FOLDER] [--quick]

Quiet metrics are the training parts of ``smd`` and ``asd`` and the points without label of ``cloud_kpi`` in ``FOLDER``
(those that are not there are left out), judged as the running service does: learned anew each hour from at most seven
days, a window of 30 points, only what is news counts. All are read as ratios, since they are scaled to 0..1: for
``saturation`` that is harder than the truth. Changes are planted in windows of the same series, one each: a step of so
many spreads, a step that is large beside the noise of the window only, a ramp to the limit, an end.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import product

from foreshock.core.model import Anomaly, Series
from foreshock.service.metric_work import detector_kinds
from predictor.detect import Detector, news, place, together
from predictor.frames import Floats, Panel, quantiles

WINDOW = 30  # rows
LEARN_S, FIT_EVERY_S, MAX_ROWS = 7 * 86_400, 3600, 1000
_EARLY = 3  # rows: what began before that is not what was planted


class Part(NamedTuple):
    """Values (t, n) of quiet series, one row each ``step_s``; rows before ``first`` are only learned from."""

    data: str
    entity: str
    step_s: int
    values: Floats
    first: int


class Planted(NamedTuple):
    """make: of quiet values (t,), what is usual of them (level, spread) and the row of the change, changed ones.
    where: it is planted, by the same values and spread."""

    title: str
    make: Callable[[Floats, float, float, int], Floats]
    where: Callable[[Floats, float], bool] = lambda _, __: True


def _noise(values: Floats) -> float:
    """Of a short course, without what wanders."""
    return float(np.median(np.abs(np.diff(values)))) * 1.4826 / np.sqrt(2) + 1e-9


PLANTED = (
    Planted("step of 3 spreads", lambda v, _, spread, at: v + 3 * spread * (np.arange(len(v)) >= at)),
    Planted(
        "step of 1.5 spreads, 10 of the window",
        lambda v, _, spread, at: v + 1.5 * spread * (np.arange(len(v)) >= at),
        lambda v, spread: 0 < 10 * _noise(v) <= 1.5 * spread,
    ),
    Planted("ramp to the limit in 60 points", lambda v, level, _, at: _ramp(v, level, at)),
    Planted("stays at 97 % of the limit", lambda v, _, __, at: np.where(np.arange(len(v)) >= at, 0.97, v)),
    Planted("stops", lambda v, _, __, at: np.where(np.arange(len(v)) >= at, np.nan, v)),
    Planted("two wild points (to be left alone)", lambda v, _, __, at: _wild(v, at)),
)


def _ramp(values: Floats, level: float, at: int) -> Floats:
    rows = np.maximum(np.arange(len(values)) - at, 0)
    return values + (1.0 - level) * np.minimum(rows / 60, 1.0)


def _wild(values: Floats, at: int) -> Floats:
    changed = values.copy()
    changed[at], changed[at + 7] = changed[at] + 1.0, changed[at + 7] - 1.0
    return changed


# ---- data -----------------------------------------------------------------------------------------------------------


def quiet(folder: Path, days: float, entities: int) -> Iterator[Part]:
    for data, step_s in (("smd", 60), ("asd", 300)):
        for path in sorted(folder.joinpath(data).glob("*_train.parquet"))[:entities]:
            values = pd.read_parquet(path).to_numpy(dtype=np.float64)
            rows = int(days * 86_400 / step_s)
            yield Part(data, path.stem, step_s, values, max(len(values) - rows, LEARN_S // step_s // 2))
    table = folder / "cloud_kpi" / "series.csv.gz"
    if table.exists():
        read = pd.read_csv(table)
        read["timestamp"] = pd.to_datetime(read.timestamp, utc=True, format="mixed")
        of_minutes = [
            (name, rows)
            for name, rows in read.groupby("series")
            if rows.timestamp.diff().median() < pd.Timedelta(hours=1)  # of hours, thirty points are more than a day
        ]
        for name, rows in of_minutes[: 3 * entities]:
            step_s = int(rows.timestamp.diff().dt.total_seconds().median())
            values = rows.value.where(rows.label == 0).to_numpy(dtype=np.float64)[:, None]
            values = values / np.nanquantile(values, 0.999) / 2
            count = int(days * 86_400 / step_s)
            yield Part("cloud_kpi", str(name), step_s, values, max(len(values) - count, len(values) // 2))


def series_of(part: Part) -> list[Series]:
    """Of one CI for each: so that what is told of CIs is told of series."""
    return [Series(ci=f"ci{i}", metric="m", unit="ratio") for i in range(part.values.shape[1])]


def history(part: Part, until: int) -> Panel:
    """The rows before ``until``, thinned as the service does."""
    first = max(0, until - LEARN_S // part.step_s)
    step = max(1, -(-LEARN_S // part.step_s // MAX_ROWS))
    rows = np.arange(first, until)[::-1][::step][::-1]
    return Panel(series_of(part), rows * float(part.step_s), part.values[rows])


def window(part: Part, until: int) -> Panel:
    rows = np.arange(until - WINDOW, until)
    return Panel(series_of(part), rows * float(part.step_s), part.values[rows])


# ---- quiet ----------------------------------------------------------------------------------------------------------


def begins(anomaly: Anomaly, said: Mapping[tuple[str, str, str], tuple[Anomaly, datetime]]) -> bool:
    """Whether it is another deviation than the one told of last, and not the same once more, or over."""
    last = said.get(place(anomaly))
    return last is None or (last[0].until is not None and anomaly.onset > last[0].until)


def told_of(part: Part, detectors: Mapping[str, Detector], every: int) -> tuple[dict[str, int], dict[str, float]]:
    """How many anomalies are told, by detector, each by itself, and of all together; seconds of judging."""
    told: dict[str, dict[tuple[str, str, str], tuple[Anomaly, datetime]]] = {}
    counts = dict.fromkeys([*detectors, "together"], 0)
    spent = dict.fromkeys(detectors, 0.0)
    fitted, fitted_at = {}, -1
    for until in range(part.first + WINDOW, len(part.values), every):
        if fitted_at < 0 or (until - fitted_at) * part.step_s >= FIT_EVERY_S:
            learned, fitted_at = history(part, until - WINDOW), until
            fitted = {kind: detector.fit(learned) for kind, detector in detectors.items()}
        now = datetime.fromtimestamp(until * part.step_s, UTC)
        found = []
        for kind, detector in detectors.items():
            began = time.process_time()
            found.append((detector, fitted[kind].detect(window(part, until))))
            spent[kind] += time.process_time() - began
        for name, anomalies in [
            *((detector.kind, together([(detector, of)])) for detector, of in found),
            ("together", together(found)),
        ]:
            said = told.setdefault(name, {})
            new = news(anomalies, said, now)
            # A deviation that lasts is told again and again; it is one event.
            counts[name] += sum(begins(each, said) for each in new)
            said |= {place(each): (each, now) for each in new}
    return counts, spent


# ---- planted --------------------------------------------------------------------------------------------------------


def found_of(
    part: Part, detectors: Mapping[str, Detector], planted: Planted, seed: int, times: int
) -> Iterator[dict[str, int | None]]:
    """Of each planted change: after how many points each detector, robust alone and all together told of it."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        until = int(rng.integers(part.first + WINDOW, len(part.values) - WINDOW))
        learned = history(part, until - WINDOW)
        column = int(rng.integers(part.values.shape[1]))
        values = part.values[until - WINDOW : until + WINDOW].copy()
        (level,), (high,) = quantiles(learned.values[:, [column]], 0.5, 0.975)
        spread = max(float(high - level) / 1.96, 1e-4)
        if not np.isfinite(values[:, column]).all() or level > 0.6 or not planted.where(values[:, column], spread):
            continue
        values[:, column] = planted.make(values[:, column], float(level), spread, WINDOW)
        fitted = {kind: detector.fit(learned) for kind, detector in detectors.items()}
        after: dict[str, int | None] = dict.fromkeys([*detectors, "together"])
        for rows in range(WINDOW):
            shown = values[rows : rows + WINDOW]
            seen = Panel(learned.series, np.arange(until - WINDOW + rows, until + rows) * float(part.step_s), shown)
            found = [(detector, fitted[kind].detect(seen)) for kind, detector in detectors.items()]
            for name, anomalies in [
                *((detector.kind, of) for detector, of in found),
                ("together", together(found)),
            ]:
                if after[name] is None and any(
                    each.ci == f"ci{column}" and each.onset.timestamp() >= (until - _EARLY) * part.step_s
                    for each in anomalies
                ):
                    after[name] = rows
        yield after


# ---- tables ---------------------------------------------------------------------------------------------------------


def print_quiet(parts: list[Part], detectors: Mapping[str, Detector], every: int) -> None:
    print(f"\nEvents told of each quiet series in a day ({WINDOW} points a window)")
    names = [*detectors, "together"]
    print(f"{'data':>10} {'series':>7} {'days':>6}  " + "".join(f"{name:>14}" for name in names))
    spent = dict.fromkeys(detectors, 0.0)
    judged = 0.0
    for data in dict.fromkeys(part.data for part in parts):
        of_data = [part for part in parts if part.data == data]
        total, series_days, series = dict.fromkeys(names, 0), 0.0, 0
        for part in of_data:
            counts, seconds = told_of(part, detectors, every)
            rows = len(part.values) - part.first
            series += part.values.shape[1]
            series_days += part.values.shape[1] * rows * part.step_s / 86_400
            judged += part.values.shape[1] * len(range(part.first + WINDOW, len(part.values), every))
            total = {name: total[name] + counts[name] for name in names}
            spent = {kind: spent[kind] + seconds[kind] for kind in detectors}
        shares = "".join(f"{total[name] / series_days:14.3f}" for name in names)
        print(f"{data:>10} {series:>7} {series_days / series:>6.1f}  {shares}")
    costs = "".join(f"{spent[kind] / judged * 1e6:14.1f}" for kind in detectors)
    print(f"{'ms for a thousand series':>25}  {costs}")


def print_planted(parts: list[Part], detectors: Mapping[str, Detector], times: int) -> None:
    names = [*detectors, "together"]
    print(f"\nShare of planted changes that is told within {WINDOW} points, and the median delay in points")
    print(f"{'':>38}" + "".join(f"{name:>16}" for name in names))
    for planted in PLANTED:
        all_of_them: list[dict[str, int | None]] = []
        for number, part in enumerate(parts):
            all_of_them += found_of(part, detectors, planted, number, times)
        cells = []
        for name in names:
            delays = [each[name] for each in all_of_them if each[name] is not None]
            share = len(delays) / max(len(all_of_them), 1)
            cells.append(f"{share:8.0%} {np.median(delays):4.0f} p" if delays else f"{share:8.0%}      -")
        print(f"{planted.title:>38}" + "".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=product.TOOLS.parent / "data")
    parser.add_argument("--quick", action="store_true", help="one day, not two, of two entities of each")
    parser.add_argument("--only", nargs="*", help="detectors")
    arguments = parser.parse_args()
    detectors = {k: d for k, d in detector_kinds().items() if not arguments.only or k in arguments.only}
    parts = list(quiet(arguments.data, 1 if arguments.quick else 2, 2 if arguments.quick else 100))
    if not parts:
        print(f"no data in {arguments.data}: name a folder with smd, asd or cloud_kpi by --data")
        return
    print_quiet(parts, detectors, every=5)
    print_planted(parts, detectors, times=5 if arguments.quick else 20)


if __name__ == "__main__":
    main()
