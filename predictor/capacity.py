"""When what fills up reaches its limit: thousands of series at once, each judged by its own past.

Method: two views of one series, and a look at what became of it before.

1. *As usual.* Each of the last days is a scenario: what the series did then from this time of day on is added to where
   it stands now. The share of scenarios that reach the limit within the horizon is the probability, when they do is the
   distribution of the moment. So daily seasonality, growth on weekdays and clean-ups at night are in it as they were;
   days on which growth changed for good (all of the newest k gains lie beyond all of those before) count alone. Where
   days are exchangeable the share is calibrated: it is a conformal predictive distribution.
2. *As it does now.* Over six windows, from a 96th to a third of the horizon, the median of seven increments is the
   growth, and it counts if it was steady (no single step, no way back). It reaches no further ahead than six times its
   window.
   How probable it is that it goes on is asked of the past: of the times when it had grown like that, how often did it
   go on for as long. Where that has never happened before, a prior of 2 in 2.5 stands.
3. *What became of it before.* Run-ups in the past that came as high, or were as long, and turned back below the limit
   each make it less probable: logs that are rotated at 95 % have been there before.

Sources: Vovk, Gammerman & Shafer 2005, *Algorithmic Learning in a Random World* (conformal prediction); Hyndman &
    Athanasopoulos 2021, *Forecasting: Principles and Practice*, 5.2 (seasonal naive forecasts with drift) and 12.5
    (block bootstrap); Sen 1968, doi:10.1080/01621459.1968.10480934 (median slope).
Limits: what has never happened and begins within the horizon is not foreseen; with less than a day of history a cycle
    longer than it looks like growth. The constants were set on synthetic series (``benchmarks/capacity.py``).
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.model import Samples
from predictor.frames import Floats

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

DAY_S = 86_400.0
MOST_DAYS = 14
"""Scenarios of the usual: two of each day of the week."""

_STEPS = 48
"""Of the past in one horizon, at most."""
_MOST_ROWS = 2500
"""Of the past: less than 14 days where the horizon is a few hours."""
_RECENT = 256
"""Steps of the recent course."""
_FINER = 16
"""Of them make one of the past."""
_WINDOWS = (8, 16, 32, 64, 128, 256)
"""Over which present growth is measured, in recent steps."""
_NEWEST = 32
"""Steps in which the newest point must lie for the level to be known."""
_NOISE = 64
_BLOCKS = 8
_STEADY = 6  # of seven increments must go the same way
_ONE_STEP = 0.6  # of the growth may be in one increment; more is a step
_STRAIGHT = 0.6  # growth as a share of the way that it went
_AHEAD = 6.0  # windows that present growth may reach ahead
_LIKE = 0.5  # growth in the past that is half of what it is now is like it
_PRIOR_HITS, _PRIOR = 2.0, 2.5  # what never happened before goes on in four of five cases
_LUCK = 0.15  # growth changes by so much although it was measured well
_USUAL = 0.7  # growth at this time of most days that is at least so much of what it is now explains it
_TURN = 0.25  # of its range it must come back for a run-up to be over
_SIMILAR = 0.9
_MOST_RUNS = 64
_DRIFTING, _RISING = 6, 0.8  # of so many run-ups this share came higher than the one before
_BACK = 1 / 3  # weight of one run-up that turned back
_LOOK = 0.2  # less probable than that is not worth a look at what became of it before
_FEW = 1.5  # an interval of few days is wider by so much of what one more day might change
_Z90 = 1.645
_FAR = 3.0  # standard deviations of its noise
_TINY = 1e-12


class Why(IntEnum):
    """What an outlook rests on, or why there is none."""

    REACHED = 0
    NOW = 1
    USUAL = 2
    TOO_FAR = 3
    FLAT = 4
    NO_HISTORY = 5


class Outlook(Struct, frozen=True):
    """Of n series; all arrays have the shape (n,).

    Attributes:
        probability: 0..1, that the limit is reached within the horizon.
        when_s, low_s, high_s: seconds from now, most likely and between which nine in ten lie; inf where it is not
            reached.
        growth: towards the limit, in the unit of the series a second. window_s: over which that was measured.
        level: where it stands now, oriented as it was given.
        turned: run-ups in the past that were like this one and turned back.
        why: as ``Why``.
    """

    probability: Floats
    when_s: Floats
    low_s: Floats
    high_s: Floats
    growth: Floats
    window_s: Floats
    level: Floats
    turned: Ints
    why: Ints


class Steps(Struct, frozen=True):
    """The grid for a horizon: seconds and number of steps of the past and of the recent course."""

    past_s: float
    past: int
    recent_s: float
    recent: int


def steps(horizon_s: float) -> Steps:
    """A step of the past divides a day where the horizon is an hour and more, so that times of day can be compared."""
    wanted = horizon_s / _STEPS
    past_s = next((each for each in (14400.0, 7200, 3600, 1800, 900, 600, 300, 120, 60) if each <= wanted), wanted)
    back_s = max(MOST_DAYS * DAY_S, 4 * horizon_s) if wanted >= 60 else 12 * horizon_s
    return Steps(past_s, min(int(back_s / past_s), _MOST_ROWS) + 1, past_s / _FINER, _RECENT + 1)


def grid(samples: Sequence[Samples], end_s: float, step_s: float, rows: int) -> Floats:
    """Shape (rows, n): the newest point of each series in each step, the last step ending at ``end_s``; NaN where there
    is none. A gap of up to three steps is bridged with what was there before."""
    values = np.full((rows, len(samples)), np.nan)
    for column, each in enumerate(samples):
        times, found = np.asarray(each.times, dtype=np.float64), np.asarray(each.values, dtype=np.float64)
        row = rows - 1 - np.floor((end_s - times) / step_s).astype(np.int64)
        fits = (row >= 0) & (row < rows) & np.isfinite(found)
        values[row[fits], column] = found[fits]
    for _ in range(3):
        missing = np.isnan(values[1:])
        if not missing.any():
            break
        values[1:] = np.where(missing, values[:-1], values[1:])
    return values


@contextmanager
def _quiet() -> Iterator[None]:
    """Series without any point are a matter of course here."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@_quiet()
def outlook(past: Floats, recent: Floats, limits: Floats, *, grid: Steps, horizon_s: float) -> Outlook:
    """Args:
    past, recent: shape (t, n), as ``grid`` gives them, the newest row last; oriented so that what is worse is larger.
    limits: shape (n,), oriented alike.
    """
    count = past.shape[1]
    level = _level(recent, past)
    room = limits - level
    noise = _noise(recent)
    usual = _as_usual(past, limits - _settled(recent, level, noise), noise, grid, horizon_s)
    now = _as_now(past, recent, room, grid, horizon_s)
    leads = now.probability >= usual.probability
    probability = np.where(leads, now.probability, usual.probability)
    turned = np.zeros(count, dtype=np.int64)
    if len(near := np.flatnonzero((probability >= _LOOK) & (room > 0))):
        turned[near] = turned_back(past[:, near], level[near], limits[near])
        probability = probability * goes_on_share(turned)
    when, low, high = (np.where(leads, a, b) for a, b in zip(now.times, usual.times, strict=True))
    unknown, over = np.isnan(level), room <= 0
    why = np.where(leads, int(Why.NOW), int(Why.USUAL))
    idle = probability < _LOOK
    why = np.where(idle & (usual.growth > 0), int(Why.TOO_FAR), np.where(idle, int(Why.FLAT), why))
    why = np.where(idle & np.isnan(usual.growth) & np.isnan(now.growth), int(Why.NO_HISTORY), why)
    why = np.where(unknown, int(Why.NO_HISTORY), np.where(over, int(Why.REACHED), why))
    probability = np.where(unknown, 0.0, np.where(over, 1.0, probability))
    return Outlook(
        probability=probability,
        when_s=np.where(over, 0.0, np.where(unknown, np.inf, when)),
        low_s=np.where(over, 0.0, low),
        high_s=np.where(over, 0.0, high),
        growth=np.where(leads & (now.growth > 0), now.growth, np.nan_to_num(usual.growth)),
        window_s=np.where(leads & (now.growth > 0), now.window_s, DAY_S),
        level=level,
        turned=turned,
        why=why.astype(np.int64),
    )


def _level(recent: Floats, past: Floats) -> Floats:
    """Where each stands: the newest point that is no older than a window of present growth."""
    newest = np.full(past.shape[1], np.nan)
    for row in recent[-_NEWEST:]:
        newest = np.where(np.isnan(row), newest, row)
    return newest


def _settled(recent: Floats, level: Floats, noise: Floats) -> Floats:
    """The level without its noise: the median of the last step of the past, unless it has just gone elsewhere."""
    middle = np.nanmedian(recent[-_FINER:], axis=0)
    return np.where(np.abs(level - middle) <= _FAR * noise, middle, level)


def _noise(recent: Floats) -> Floats:
    """Standard deviation of what is no growth, from point to point."""
    moves = np.diff(recent[-_NOISE - 1 :], axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(moves - np.nanmedian(moves, axis=0)), axis=0) / np.sqrt(2)
    return np.asarray(np.nan_to_num(spread))


class _View(Struct, frozen=True):
    probability: Floats
    times: tuple[Floats, Floats, Floats]
    growth: Floats
    window_s: Floats


# ---- as usual -------------------------------------------------------------------------------------------------------


def _as_usual(past: Floats, room: Floats, noise: Floats, grid: Steps, horizon_s: float) -> _View:
    rows, count = past.shape
    day, ahead = round(DAY_S / grid.past_s), max(1, round(horizon_s / grid.past_s))
    first = -(-ahead // day)  # the first day ago of which all that followed within a horizon is known
    starts = [rows - 1 - ago * day for ago in range(first, (rows - 1) // day + 1)] if day * grid.past_s == DAY_S else []
    starts = [start for start in starts if start >= 0][: max(MOST_DAYS, 3 * first)]
    nothing = np.full(count, np.inf)
    if not starts:
        return _View(np.zeros(count), (nothing, nothing, nothing), np.full(count, np.nan), np.full(count, DAY_S))
    begun = np.stack([past[start] for start in starts])  # (k, n)
    course = np.stack([past[start + 1 : start + 1 + ahead] for start in starts])  # (k, steps, n)
    gains = course - begun[:, None]
    known = np.isfinite(begun) & (np.isfinite(course).mean(axis=1) >= 0.5)
    last = _last_known(gains)  # (k, n): over the whole horizon
    counts = known & _same_regime(np.where(known, last, np.nan))
    peak = np.fmax.accumulate(np.where(np.isnan(gains), -np.inf, gains), axis=1)
    crossed = peak >= room
    ever = crossed[:, -1] & counts
    at = (np.argmax(crossed, axis=1) + 1.0) * grid.past_s
    beyond = horizon_s * room / np.where(last > 0, last, np.nan)  # as fast as on that day
    when = np.where(counts, np.where(ever, at - grid.past_s / 2, np.fmax(beyond, horizon_s)), np.nan)
    when = np.where(counts & np.isnan(when), np.inf, when)
    number = counts.sum(axis=0)
    apart = number / first  # scenarios of several days overlap
    probability = np.where(number > 0, (ever.sum(axis=0) / first + 0.5) / (apart + 1), 0.0)
    # Half a case for and half a case against: what no day has done is not half likely where there was but one.
    probability = np.where(ever.any(axis=0), probability, np.minimum(probability, 0.5 / (apart + 1)))
    low, middle, high = (_quantile(when, share) for share in (0.05, 0.5, 0.95))
    wider = _FEW / (apart + 1)
    growth = np.nanmedian(np.where(counts, last, np.nan), axis=0) / horizon_s
    unsure = np.where(growth > 0, _Z90 * noise / growth, 0.0)  # where it stands is not known better than its noise
    low, high = np.maximum(low * (1 - wider) - unsure, 0), high * (1 + wider) + unsure
    return _View(probability, (middle, low, high), growth, np.full(count, DAY_S))


def _last_known(gains: Floats) -> Floats:
    """The last of each column of (k, steps, n) that is no NaN."""
    found = np.full((gains.shape[0], gains.shape[2]), np.nan)
    for step in range(gains.shape[1]):
        row = gains[:, step]
        found = np.where(np.isnan(row), found, row)
    return found


def _same_regime(gains: Floats) -> Bools:
    """Days whose gains count, the newest first: where all of the newest few lie beyond all before, only those."""
    days = gains.shape[0]
    kept = np.ones(gains.shape, dtype=np.bool_)
    for newest in range(2, min(7, days - 3) + 1):
        new, old = gains[:newest], gains[newest:]
        enough = (np.isfinite(old).sum(axis=0) >= 3) & (np.isfinite(new).sum(axis=0) == newest)
        changed = (np.nanmin(new, axis=0) > np.nanmax(old, axis=0)) | (np.nanmax(new, axis=0) < np.nanmin(old, axis=0))
        only = np.arange(days)[:, None] < newest
        kept = np.where(enough & changed, only, kept)
    return kept


def _quantile(values: Floats, share: float) -> Floats:
    """Of each column of (k, n), without its NaN; one of the values, as some are inf."""
    ordered = np.sort(values, axis=0)
    number = np.isfinite(values).sum(axis=0) + np.isinf(values).sum(axis=0)
    place = np.clip(np.round(share * (number - 1)), 0, None).astype(np.int64)
    found = np.take_along_axis(ordered, place[None], axis=0)[0]
    return np.where(number > 0, found, np.inf)


# ---- as it does now -------------------------------------------------------------------------------------------------


def _as_now(past: Floats, recent: Floats, room: Floats, grid: Steps, horizon_s: float) -> _View:
    count = past.shape[1]
    best = np.zeros(count)
    times = tuple(np.full(count, np.inf) for _ in range(3))
    growth, window_s = np.full(count, np.nan), np.full(count, DAY_S)
    for window in _WINDOWS:
        slope, spread = _growth(recent[-window - 1 :])
        slope, spread = slope / grid.recent_s, spread / grid.recent_s
        width_s = window * grid.recent_s
        when = room / slope
        growth = np.where(np.isnan(growth), slope, growth)
        found = np.flatnonzero((slope > 0) & (when <= min(_AHEAD * width_s, horizon_s)) & (room > 0))
        if not len(found):
            continue
        goes_on = _goes_on(past[:, found], slope[found], width_s, when[found], grid)
        # The share of the growth that may be wrong: that of the median of seven increments, and some for luck.
        off = np.clip(2 * 1.25 / np.sqrt(_BLOCKS - 1) * spread[found] / slope[found] + _LUCK, 0, 0.8)
        better = goes_on > best[found]
        here = found[better]
        best[here], growth[here], window_s[here] = goes_on[better], slope[here], width_s
        for each, factor in zip(times, (np.ones(len(found)), 1 / (1 + off), 1 / (1 - off)), strict=True):
            each[here] = (when[found] * factor)[better]
    return _View(best, (times[0], times[1], times[2]), growth, window_s)


def _growth(window: Floats) -> tuple[Floats, Floats]:
    """Of (t, n) with t - 1 steps, growth a step and its spread; 0 where it is not steady, NaN where it is not known."""
    size = (len(window) - 1) // _BLOCKS
    blocks = np.nanmedian(window[-size * _BLOCKS :].reshape(_BLOCKS, size, -1), axis=1)
    moves = np.diff(blocks, axis=0)
    middle = np.median(moves, axis=0)
    spread = 1.4826 * np.median(np.abs(moves - middle), axis=0)
    whole, way = moves.sum(axis=0), np.abs(moves).sum(axis=0)
    steady = (
        ((moves > 0).sum(axis=0) >= _STEADY) & (moves.max(axis=0) <= _ONE_STEP * whole) & (whole >= _STRAIGHT * way)
    )
    slope = np.where(np.isnan(middle), np.nan, np.where(steady, np.minimum(middle, whole / (_BLOCKS - 1)), 0.0))
    return slope / size, spread / size


def _goes_on(past: Floats, slope: Floats, width_s: float, when_s: Floats, grid: Steps) -> Floats:
    """How often growth like that went on for as long, of the times it was there before."""
    rows, count = past.shape
    lag = max(1, round(width_s / grid.past_s))
    need = slope * when_s
    gained = slope * lag * grid.past_s
    before = past[: rows - lag]  # what is measured now is not its own witness
    if len(before) <= 2 * lag:
        return np.full(count, _PRIOR_HITS / _PRIOR)
    gains = before[lag:] - before[:-lag]
    alike = gains >= _LIKE * gained
    place = np.arange(len(gains))[:, None] + lag
    ahead = np.maximum(1, np.ceil(when_s / grid.past_s)).astype(np.int64)
    went_on = np.zeros(alike.shape, dtype=np.bool_)
    for reach in np.unique(2 ** np.ceil(np.log2(ahead))).astype(np.int64).tolist():
        mine = np.flatnonzero(2 ** np.ceil(np.log2(ahead)) == reach)
        here = before[lag:, mine]
        most = _most_ahead(past[lag:, mine], int(reach))[: len(here)]
        went_on[:, mine] = (most - here) / gains[:, mine] >= need[mine] / gained[mine]
    alike &= went_on | (place + ahead < rows)  # of the newest nobody knows yet
    times, hits = alike.sum(axis=0) / lag, (alike & went_on).sum(axis=0) / lag
    found = (hits + _PRIOR_HITS) / (times + _PRIOR)
    # At this time of most days it grows like that: the usual view knows what comes of it.
    day = round(DAY_S / grid.past_s)
    same = [past[row] - past[row - lag] for row in range(rows - 1 - day, lag - 1, -day)]
    if len(same) >= 3:
        explained = np.nanmean(np.stack(same) >= _USUAL * gained, axis=0) >= 0.5
        found = np.where(explained, 0.0, found)
    return np.asarray(found)


def _most_ahead(values: Floats, reach: int) -> Floats:
    """The largest of the next ``reach`` rows, a power of two, of each row."""
    most = np.vstack([values[1:], values[-1:]])
    width = 1
    while width < reach:
        shifted = np.vstack([most[width:], np.repeat(most[-1:], min(width, len(most)), axis=0)])[: len(most)]
        most = np.fmax(most, shifted)
        width *= 2
    return most


# ---- what became of it before ---------------------------------------------------------------------------------------


def goes_on_share(turned: Any) -> Any:
    """What is left of a probability when ``turned`` run-ups like it turned back: a third of a case against it each."""
    return 1 / (1 + _BACK * turned)


@_quiet()
def turned_back(past: Floats, level: Floats, limits: Floats) -> Ints:
    """How many run-ups came as high as now, or were as long, and turned back below the limit."""
    turn = _TURN * (np.nanmax(past, axis=0) - np.nanmin(past, axis=0)) + _TINY
    count = past.shape[1]
    trough, peak = np.full(count, np.inf), np.full(count, -np.inf)
    heights, peaks = np.full((_MOST_RUNS, count), np.nan), np.full((_MOST_RUNS, count), np.nan)
    number = np.zeros(count, dtype=np.int64)
    columns = np.arange(count)
    rising = np.zeros(count, dtype=np.bool_)
    for row in past:
        row = np.where(np.isnan(row), np.where(rising, peak, trough), row)
        known = np.isfinite(row)
        peak = np.where(rising & known, np.maximum(peak, row), peak)
        over = rising & known & (row < peak - turn)
        if over.any():
            place = number[over] % _MOST_RUNS
            heights[place, columns[over]] = (peak - trough)[over]
            peaks[place, columns[over]] = peak[over]
            number[over] += 1
        trough = np.where(over, row, np.where(~rising & known, np.minimum(trough, row), trough))
        begins = ~rising & known & (row > trough + turn)
        peak = np.where(begins, row, peak)
        rising = (rising & ~over) | begins
    age = (number[None] - 1 - np.arange(_MOST_RUNS)[:, None]) % _MOST_RUNS  # 0: the last one
    expected = peaks + _drift(np.take_along_axis(peaks, age, axis=0)) * (age + 1)  # as high as it would come today
    needed = limits - trough
    as_high = (expected >= level) & (expected < limits)
    as_long = (heights >= _SIMILAR * (level - trough)) & (heights < _SIMILAR * needed) & (peaks < limits)
    return np.asarray(np.maximum(as_high.sum(axis=0), as_long.sum(axis=0)), dtype=np.int64)


def _drift(peaks: Floats) -> Floats:
    """How much higher each run-up comes than the one before, where they rise steadily; (k, n), the newest first."""
    moves = peaks[:_DRIFTING] - peaks[1 : _DRIFTING + 1]
    known = np.isfinite(moves).sum(axis=0)
    steady = (known >= 3) & ((moves > 0).sum(axis=0) >= _RISING * known)
    return np.where(steady, np.nanmedian(moves, axis=0), 0.0)
