"""How early, and how often for nothing, it is said that something fills up: Foreshock beside predict_linear.

Synthetic series of seventeen kinds with known truth, many seeds of each, all judged every half hour by all methods in
one run; what ten thousand series cost; and, with ``--data`` and the folder of ASD (metrics of application servers over
30 days, https://github.com/zhhlee/InterFusion), real ones with limits a little above what they reached in their first
half.
``predict_linear`` is that of Prometheus: least squares over a window, as far ahead as Foreshock looks, and twice in a
row. The constants were set while looking at seeds below 2000.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from predictor.capacity import Outlook, Steps, outlook, steps

Floats = NDArray[np.float64]

DAY, HOUR = 86_400.0, 3600.0
STEP_S = 112.5
PAST_DAYS, DAYS = 15, 9
"""Of history before it is judged, and judged."""
LOOK_S = 1800.0
HORIZON_S = DAY
LIKELY, TOLD, UNLIKELY = 0.7, 0.5, 0.3
AGAIN = 3
"""Steps, five minutes and a half, between two looks of the service; the first must have been likely too."""
_LEADS_H = (0.25, 1.0, 4.0)
_PER_DAY = round(DAY / STEP_S)


class Course(Struct):
    """values: shape (t,), limit the same: it may move. crosses: whether it may reach its limit at all."""

    values: Floats
    limit: Floats


# ---- series with known truth ----------------------------------------------------------------------------------------

T = (PAST_DAYS + DAYS) * _PER_DAY
TIMES = np.arange(T) * STEP_S
JUDGED = PAST_DAYS * _PER_DAY
Random = np.random.Generator


def _flat(random: Random, level: float, noise: float = 0.15) -> Floats:
    return level + noise * random.standard_normal(T)


def _to(values: Floats, at: int, level: float = 100.0) -> Floats:
    """Shifted so that it reaches ``level`` at step ``at`` without its noise."""
    return values + level - values[at]


def _when(random: Random) -> int:
    return int(random.integers(JUDGED + _PER_DAY, T - _PER_DAY // 2))


def steady(random: Random) -> Floats:
    return _to(random.uniform(0.5, 8) * TIMES / DAY, _when(random)) + _flat(random, 0)


def day_and_night(random: Random) -> Floats:
    hour = TIMES % DAY / HOUR
    rate = np.where((hour >= 8) & (hour < 18), 1.0, 0.05)
    return _to(np.cumsum(rate) * random.uniform(1, 8) / rate.sum() * (T / _PER_DAY), _when(random)) + _flat(random, 0)


def weekdays(random: Random) -> Floats:
    rate = np.where((TIMES // DAY % 7) < 5, 1.0, 0.1)
    return _to(np.cumsum(rate) * random.uniform(1, 6) / rate.sum() * (T / _PER_DAY), _when(random)) + _flat(random, 0)


def cleaned_daily(random: Random) -> Floats:
    top, height = random.uniform(75, 97), random.uniform(15, 50)
    phase = (TIMES + random.uniform(0, DAY)) % DAY / DAY
    return top - height + height * phase + _flat(random, 0)


def rotated_by_size(random: Random) -> Floats:
    top, height, period = random.uniform(75, 97), random.uniform(15, 50), random.uniform(5, 40) * HOUR
    rate = 1 + 0.3 * np.sin(TIMES / DAY * 2 * np.pi)
    turns = np.cumsum(rate) * STEP_S / period + random.uniform()
    jitter = 0.05 * height * random.standard_normal(int(turns[-1]) + 2)
    return np.minimum(top - height + height * (turns % 1) + jitter[turns.astype(int)], 98.5) + _flat(random, 0)


def rising_peaks(random: Random) -> Floats:
    at, height = _when(random), random.uniform(10, 30)
    phase = (TIMES - TIMES[at] + 0.85 * DAY) % DAY / DAY
    return _to(random.uniform(1, 5) * TIMES / DAY + height * phase, at) + _flat(random, 0)


def single_steps(random: Random) -> Floats:
    made = _flat(random, random.uniform(30, 50))
    for _ in range(int(random.integers(1, 4))):
        made[int(random.integers(JUDGED - _PER_DAY, T)) :] += random.uniform(5, 14)
    return made


def noisy(random: Random) -> Floats:
    slow = np.cumsum(random.standard_normal(T)) * 0.02
    slow -= np.linspace(0, slow[-1], T)
    return np.clip(random.uniform(70, 85) + slow + random.uniform(0.5, 3) * random.standard_normal(T), 0, 98.5)


def leak(random: Random) -> Floats:
    at, level, hours = _when(random), random.uniform(20, 80), random.uniform(2, 20)
    made = _flat(random, level)
    begun = at - int(hours * HOUR / STEP_S)
    made[begun:] += (100 - level) * (np.arange(T - begun) / (at - begun))
    return made


def fast_leak(random: Random) -> Floats:
    at, level, hours = _when(random), random.uniform(20, 80), random.uniform(0.5, 2)
    made = _flat(random, level)
    begun = at - int(hours * HOUR / STEP_S)
    made[begun:] += (100 - level) * (np.arange(T - begun) / (at - begun))
    return made


def leak_on_rotation(random: Random) -> Floats:
    made = rotated_by_size(random) * 0.6
    at, hours = _when(random), random.uniform(3, 20)
    begun = at - int(hours * HOUR / STEP_S)
    made[begun:] += (100 - made[at]) * (np.arange(T - begun) / (at - begun))
    return made


def copied_and_done(random: Random) -> Floats:
    made = _flat(random, random.uniform(20, 50))
    for _ in range(int(random.integers(1, 4))):
        begun, hours = int(random.integers(JUDGED, T - 2 * _PER_DAY)), random.uniform(0.2, 6)
        end = begun + int(hours * HOUR / STEP_S)
        height = min(random.uniform(5, 35), 97 - made[begun:].max())
        made[begun:] += height * np.clip(np.arange(T - begun) / (end - begun), 0, 1)
        if random.uniform() < 0.5:
            made[end + _PER_DAY // 4 :] -= height
    return made


def nightly_backup(random: Random) -> Floats:
    hour, height = (TIMES % DAY) / HOUR, random.uniform(10, 35)
    shape = np.interp(hour, [0, 1, 1 + random.uniform(1, 4), 6, 6.2, 24], [0, 0, 1, 1, 0, 0])
    return random.uniform(50, 97 - height) + height * shape + _flat(random, 0)


def restarted(random: Random) -> Floats:
    made, level, rate = np.empty(T), 30.0, random.uniform(0.5, 3) / 24
    for step in range(T):
        level = 30.0 if level > 96 or random.uniform() < 1 / (3 * _PER_DAY) else level + rate * STEP_S / 150
        made[step] = level
    return made + _flat(random, 0)


def uneven_growth(random: Random) -> Floats:
    moves = random.gamma(0.05, 1.0, T) * (random.uniform(size=T) < 0.3)
    return _to(np.cumsum(moves) / moves.sum() * random.uniform(20, 120), _when(random))


def accelerating(random: Random) -> Floats:
    at = _when(random)
    return 20 + 80 * np.exp((np.arange(T) - at) * STEP_S / (random.uniform(0.5, 3) * DAY)) + _flat(random, 0)


def disk_grown(random: Random) -> tuple[Floats, Floats]:
    made = _to(random.uniform(2, 10) * TIMES / DAY, _when(random)) + _flat(random, 0)
    limit = np.full(T, 100.0)
    limit[: JUDGED - int(random.integers(_PER_DAY, 5 * _PER_DAY))] = 100.0
    grown = int(random.integers(JUDGED, T))
    limit[grown:] = 160.0
    return made, limit


Kind = Callable[[Random], Floats | tuple[Floats, Floats]]
KINDS: tuple[Kind, ...] = (
    steady, day_and_night, weekdays, rising_peaks, uneven_growth, accelerating, leak, fast_leak,
    leak_on_rotation, disk_grown,
    cleaned_daily, rotated_by_size, single_steps, noisy, copied_and_done, nightly_backup, restarted,
)  # fmt: skip


def courses(kind: Kind, seeds: int, first: int) -> tuple[Floats, Floats]:
    """(t, n) values with gaps, and limits."""
    values, limits = [], []
    for seed in range(seeds):
        random = np.random.default_rng([first + seed, KINDS.index(kind)])
        made = kind(random)
        course, limit = made if isinstance(made, tuple) else (made, np.full(T, 100.0))
        course[random.uniform(size=T) < 0.05] = np.nan
        gap = int(random.integers(0, T - 100))
        course[gap : gap + int(2 * HOUR / STEP_S)] = np.nan
        values.append(course)
        limits.append(limit)
    return np.stack(values, axis=1), np.stack(limits, axis=1)


# ---- methods --------------------------------------------------------------------------------------------------------


def foreshock(values: Floats, now: int, limit: Floats, grid: Steps) -> Outlook:
    def last(step_s: float, rows: int) -> Floats:
        width = round(step_s / STEP_S)
        need = rows * width
        part = values[max(0, now + 1 - need) : now + 1]
        part = np.vstack([np.full((need - len(part), values.shape[1]), np.nan), part])
        blocks = part.reshape(rows, width, -1)
        found = blocks[:, -1]
        for back in range(2, width + 1):
            found = np.where(np.isnan(found), blocks[:, -back], found)
        for _ in range(3):
            found[1:] = np.where(np.isnan(found[1:]), found[:-1], found[1:])
        return found

    return outlook(
        last(grid.past_s, grid.past), last(grid.recent_s, grid.recent), limit, grid=grid, horizon_s=HORIZON_S
    )


def predict_linear(values: Floats, now: int, window_s: float) -> tuple[Floats, Floats]:
    """Level and slope a second at ``now``, by least squares over the window, as Prometheus has it."""
    part = values[now + 1 - round(window_s / STEP_S) : now + 1]
    x = (np.arange(len(part)) - len(part) + 1)[:, None] * STEP_S
    known = np.isfinite(part)
    n = np.maximum(known.sum(axis=0), 1)
    x_mean = (x * known).sum(axis=0) / n
    y = np.where(known, part, 0.0)
    y_mean = y.sum(axis=0) / n
    covariance = (known * (x - x_mean) * (y - y_mean)).sum(axis=0)
    spread = (known * (x - x_mean) ** 2).sum(axis=0)
    slope = covariance / np.maximum(spread, 1.0)
    return np.where(spread > 0, y_mean - slope * x_mean, -np.inf), slope


class Said(Struct):
    """By look and series: whether it is likely, whether it is not any more, and the time to the limit. at_once: whether
    one look is enough; without, two in a row."""

    likely: NDArray[np.bool_]
    unlikely: NDArray[np.bool_]
    when_s: Floats
    low_s: Floats
    high_s: Floats
    probability: Floats
    at_once: bool = False


class Score(Struct):
    crossings: int = 0
    ahead: list[int] = field(default_factory=lambda: [0, 0, 0])
    false: int = 0
    weeks: float = 0.0
    errors: list[float] = field(default_factory=list)
    covered: int = 0
    intervals: int = 0

    def add(self, other: "Score") -> None:
        self.crossings += other.crossings
        self.ahead = [a + b for a, b in zip(self.ahead, other.ahead, strict=True)]
        self.false += other.false
        self.weeks += other.weeks
        self.errors = self.errors + other.errors
        self.covered += other.covered
        self.intervals += other.intervals


def looks(rows: int, begin: int) -> list[int]:
    return list(range(begin, rows, round(LOOK_S / STEP_S)))


def say(values: Floats, limits: Floats, at: list[int]) -> Iterator[tuple[str, Said]]:
    grid = steps(HORIZON_S)
    found = [foreshock(values, now, limits[now], grid) for now in at]
    probability = np.stack([each.probability for each in found])
    when, low, high = (np.stack([getattr(each, name) for each in found]) for name in ("when_s", "low_s", "high_s"))
    before = np.stack([foreshock(values, now - AGAIN, limits[now], grid).probability for now in at])
    likely = (probability >= LIKELY) & (before >= TOLD)
    yield "Foreshock", Said(likely, probability < UNLIKELY, when, low, high, probability, at_once=True)
    for hours in (1, 4, 24):
        fits = [predict_linear(values, now, hours * HOUR) for now in at]
        level, slope = (np.stack([each[i] for each in fits]) for i in (0, 1))
        limit = np.stack([limits[now] for now in at])
        likely = level + slope * HORIZON_S >= limit
        with np.errstate(all="ignore"):
            when = np.where(slope > 0, (limit - level) / slope, np.inf)
        yield f"predict_linear {hours}h", Said(likely, ~likely, when, when, when, likely.astype(float))


def judge(said: Said, at: list[int], crossed: list[int | None]) -> Score:
    """crossed: of each series the step in which it reached its limit; nothing is judged behind it."""
    score = Score()
    for column, cross in enumerate(crossed):
        opened: int | None = None
        quiet = 0
        end = cross if cross is not None else at[-1]
        for place, now in enumerate(at):
            if now >= end:
                break
            likely = bool(said.likely[place, column])
            if opened is None and likely and (said.at_once or (place > 0 and said.likely[place - 1, column])):
                opened, quiet = now, 0
            elif opened is not None:
                quiet = quiet + 1 if said.unlikely[place, column] else 0
                if quiet >= 2 or now - opened > 2 * HORIZON_S / STEP_S:
                    score.false += 1
                    opened = None
        score.weeks += (end - at[0]) * STEP_S / (7 * DAY)
        if cross is None:
            score.false += opened is not None
            continue
        score.crossings += 1
        for index, lead in enumerate(_LEADS_H):
            score.ahead[index] += opened is not None and (cross - opened) * STEP_S >= lead * HOUR
        place = next((i for i in reversed(range(len(at))) if (cross - at[i]) * STEP_S >= 4 * HOUR), -1)
        if place >= 0 and said.likely[place, column]:
            left = (cross - at[place]) * STEP_S
            score.errors.append(abs(said.when_s[place, column] - left) / HOUR)
            score.intervals += 1
            score.covered += bool(said.low_s[place, column] <= left <= said.high_s[place, column])
    return score


def crossings(values: Floats, limits: Floats, begin: int) -> list[int | None]:
    over = values[begin:] >= limits[begin:]
    return [int(np.argmax(each)) + begin if each.any() else None for each in over.T]


def line(name: str, score: Score) -> str:
    shares = [f"{100 * each / score.crossings:4.0f} %" if score.crossings else "     -" for each in score.ahead]
    error = f"{np.median(score.errors):5.1f} h" if score.errors else "      -"
    covered = f"{100 * score.covered / score.intervals:4.0f} %" if score.intervals else "     -"
    false = score.false / score.weeks if score.weeks else 0.0
    return f"{name:22} {score.crossings:5} {' '.join(shares)} {false:7.2f} {error} {covered}"


HEAD = f"{'':22} cross  >=.2h  >=1 h  >=4 h false/w  error  90 %"


def synthetic(seeds: int, first: int) -> None:
    total: dict[str, Score] = {}
    by_kind: dict[str, list[str]] = {}
    calibrated: list[tuple[Floats, Floats]] = []
    made = [courses(kind, seeds, first) for kind in KINDS]
    values, limits = (np.hstack([each[i] for each in made]) for i in (0, 1))
    at = looks(T, JUDGED)
    crossed = crossings(values, limits, JUDGED)
    for name, said in say(values, limits, at):
        for index, kind in enumerate(KINDS):
            own = slice(index * seeds, (index + 1) * seeds)
            *parts, at_once = msgspec.structs.astuple(said)
            score = judge(Said(*(part[:, own] for part in parts), at_once), at, crossed[own])
            total.setdefault(name, Score()).add(score)
            by_kind.setdefault(name, []).append(line(kind.__name__, score))
        if name == "Foreshock":
            calibrated += list(_pairs(said, at, crossed))
    print(
        f"{seeds} series of each of {len(KINDS)} kinds, judged every {LOOK_S / 60:.0f} min for {DAYS} days, 24 h ahead"
    )
    print(HEAD)
    for name, score in total.items():
        print(line(name, score))
    print(f"\nFalse announcements a series-week, by kind: Foreshock\n{HEAD}")
    print("\n".join(by_kind["Foreshock"]))
    print(f"\nthe same, predict_linear 4h\n{HEAD}")
    print("\n".join(by_kind["predict_linear 4h"]))
    probability = np.concatenate([each[0] for each in calibrated])
    came = np.concatenate([each[1] for each in calibrated])
    print("\nsaid, came true within 24 h (share of looks)")
    for low in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        here = (probability >= low) & (probability < {0.0: 0.1, 0.1: 0.3, 0.3: 0.5, 0.5: 0.7, 0.7: 0.9, 0.9: 1.1}[low])
        if here.any():
            print(f"{probability[here].mean():5.2f}  {came[here].mean():5.2f}  of {here.sum()}")


def real(folder: Path) -> None:
    """Limits 5 and 50 % of the range of the first 15 days above it."""
    import pyarrow.parquet

    columns = []
    for path in sorted(folder.glob("*_train.parquet")):
        table = pyarrow.parquet.read_table(path)
        columns += [np.asarray(table[name], dtype=np.float64) for name in table.column_names]
    points = np.stack([each[: min(map(len, columns))] for each in columns], axis=1)
    places = np.round(np.arange(len(points)) * 300 / STEP_S).astype(int)  # every five minutes
    values = np.full((places[-1] + 1, points.shape[1]), np.nan)
    values[places] = points
    begin = len(values) // 2
    at = looks(len(values), begin)
    low, high = np.nanmin(values[:begin], axis=0), np.nanmax(values[:begin], axis=0)
    for margin in (0.05, 0.5):
        bound = high + margin * np.maximum(high - low, 0.01)
        limits = np.broadcast_to(bound, values.shape)
        crossed = crossings(values, limits, begin)
        print(f"\nASD: {values.shape[1]} metrics of six servers, limit {margin:.0%} of the range above it\n{HEAD}")
        for name, said in say(values, limits, at):
            print(line(name, judge(said, at, crossed)))


def cost(count: int = 10_000, chunk: int = 500) -> None:
    grid = steps(HORIZON_S)
    random = np.random.default_rng(1)
    rising = np.where(np.arange(count) % 2, 0.2, 0.0)  # half of them towards their limit, so that the past is looked at
    recent = 99 + np.cumsum(rising / 4 + 0.05 * random.standard_normal((grid.recent, count)), axis=0)
    recent -= recent[-1] - 98
    past = 20 + (5 * np.cumsum(random.standard_normal((grid.past, count)), axis=0) % 70).astype(np.float32)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for first in range(0, count, chunk):
        part = slice(first, first + chunk)
        outlook(past[:, part].astype(float), recent[:, part], np.full(chunk, 100.0), grid=grid, horizon_s=HORIZON_S)
    took, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"\n{count:,} series: {took:.1f} s of CPU, {peak / 1024:.0f} MiB beside {past.nbytes / 2**20:.0f} of history")


def _pairs(said: Said, at: list[int], crossed: list[int | None]) -> Iterator[tuple[Floats, Floats]]:
    moments = np.array(at)
    known = at[-1] - HORIZON_S / STEP_S
    for column, cross in enumerate(crossed):
        judged = moments < (known if cross is None else cross)
        came = np.zeros(judged.sum()) if cross is None else (cross - moments[judged]) * STEP_S <= HORIZON_S
        yield said.probability[judged, column], came.astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of each kind")
    parser.add_argument("--first", type=int, default=2000, help="the first of them")
    parser.add_argument("--data", type=Path, help="folder of ASD")
    given = parser.parse_args()
    synthetic(given.seeds, given.first)
    cost()
    if given.data is not None:
        real(given.data)


if __name__ == "__main__":
    main()
