"""Which alerts begin together more often than chance explains.

The history is a row of onsets; an onset that follows the last one of the same alert within ``quiet`` is not counted, so
that a flapping alert, a re-send or a long storm counts once. The question is asked at four levels, from what is known
best to what carries over to machines never seen: this alert on this CI; anything on this CI; this class on this kind of
CI, by how the two CIs stand to each other; this class anywhere, for alerts on CIs that the topology does not know.

Chance is what remains when the labels are dealt anew:

- Alerts, CIs and classes: the moments of all onsets stay, who began is dealt at random. An onset of A with m others
  within the window meets B by chance with probability 1 - (1 - q)^m, where q is B's share of the onsets at that hour of
  the other days. So neither a storm (m is large) nor a busy night (q is) makes a pair.
- Standings: the moments and classes stay, the CI is dealt among the CIs on which that class ever began. So a storm in
  which everything fails says nothing about a relationship, only a preference for CIs that stand that way does. A
  quarter of an hour counts once, however many pairs met in it.

A pair is kept where its meetings exceed that expectation at the false discovery rate asked for (Benjamini and Hochberg
1995, doi:10.1111/j.2517-6161.1995.tb02031.x) over all pairs that could have been found, in each window. The number of
meetings is held against a Poisson distribution with the expected number, which is cautious: the meetings are Bernoulli
trials, whose sum scatters less (Le Cam 1960). What is kept has a strength: the share of its meetings that chance does
not explain, from the exact lower limit of the number of meetings (Garwood 1936), meetings weighing less with age.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray
from scipy import stats

from foreshock.core.learned import MAX_FAMILY, CoOccurrence, Occurrence, Side, Standing, around, stem
from foreshock.core.topology import Topology
from predictor.settings import CoOccurrenceSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_MEETINGS = 1_000_000
"""Pairs of onsets looked at, at most: in denser histories each onset meets fewer of those after it."""
_MAX_NEIGHBOURS = 400
_TERMS = 1_000_000  # of an expectation, worked out at a time
_DAY_S, _HOUR_S = 86_400.0, 3600.0
_SHARE_PRIOR = 50.0
"""An hour's share of a label is drawn towards its overall share by the weight of so many onsets."""
_STORM_S = 900.0
_CLEARER = 0.1
"""A pair of alerts whose CIs are a pair anyway is kept if it is so much stronger."""
_LOWER = 0.05
"""One-sided: in one of twenty pairs the true number of meetings is below the limit."""


class Found(Struct, frozen=True, kw_only=True):
    """pairs: the strongest evidence first. tested: how many there could have been, over all levels and windows."""

    pairs: tuple[CoOccurrence, ...]
    tested: int


def fit(occurrences: Iterable[Occurrence], topology: Topology, settings: CoOccurrenceSettings) -> Found:
    """Pairs that begin together. The same occurrences give the same pairs, in whatever order they come.

    Args:
        occurrences: their CIs as bound; with all re-sends left out, or not: they change nothing.
        topology: for kinds and standings.
    """
    rows = sorted({(o.at_s, o.name, o.ci) for o in occurrences})
    history = pd.DataFrame(rows, columns=["at_s", "name", "ci"])
    if history.empty:
        return Found(pairs=(), tested=0)
    cis = _by_ci(history, settings)
    alerts = _by_alert(history, settings)
    levels = (
        Found(pairs=tuple(_beyond(alerts.pairs, cis.pairs)), tested=alerts.tested),
        cis,
        _by_class(history, settings),
        _by_standing(history, topology, settings),
    )
    kept = [pair for level in levels for pair in sorted(level.pairs, key=_order)[: settings.max_pairs]]
    return Found(pairs=tuple(sorted(kept, key=_order)), tested=sum(level.tested for level in levels))


def _order(pair: CoOccurrence) -> tuple[float, int, str, str, str]:
    return -pair.strength, -pair.together, str(pair.a), str(pair.b), str(pair.standing)


def _beyond(alerts: Iterable[CoOccurrence], cis: Iterable[CoOccurrence]) -> Iterator[CoOccurrence]:
    """The pairs of alerts that say more than the pair of their CIs does. Those on one CI are left to their classes."""
    known = {frozenset((pair.a.ci, pair.b.ci)): pair for pair in cis}
    for pair in alerts:
        both = known.get(frozenset((pair.a.ci, pair.b.ci)))
        clearer = both is None or pair.strength > both.strength + _CLEARER or pair.window_s > both.window_s
        if pair.a.ci != pair.b.ci and clearer:
            yield pair


# ---- labels dealt anew ----------------------------------------------------------------------------------------------


def _by_alert(history: pd.DataFrame, settings: CoOccurrenceSettings) -> Found:
    bound = history[history.ci != ""]
    return _by_label(bound, ["name", "ci"], lambda key: Side(name=key[0], ci=key[1]), settings)


def _by_ci(history: pd.DataFrame, settings: CoOccurrenceSettings) -> Found:
    bound = history[history.ci != ""]
    return _by_label(bound, ["ci"], lambda key: Side(ci=key[0]), settings)


def _by_class(history: pd.DataFrame, settings: CoOccurrenceSettings) -> Found:
    return _by_label(history, ["name"], lambda key: Side(name=key[0]), settings, standing=Standing.UNKNOWN)


def _by_label(
    history: pd.DataFrame,
    keys: list[str],
    side: Any,
    settings: CoOccurrenceSettings,
    standing: Standing | None = None,
) -> Found:
    """Pairs of different labels, a label being the columns ``keys``."""
    onsets = _onsets(history, keys, settings.quiet)
    labels = sorted(set(onsets[keys].itertuples(index=False, name=None)))
    code = {label: number for number, label in enumerate(labels)}
    who = np.array([code[label] for label in onsets[keys].itertuples(index=False, name=None)], dtype=np.int64)
    at_s = onsets.at_s.to_numpy(dtype=np.float64)
    times = np.bincount(who, minlength=len(labels))
    able = int((times >= settings.min_times).sum())
    tests = able * (able - 1) // 2 * len(settings.windows)
    if tests == 0:
        return Found(pairs=(), tested=0)
    weight = _weights(at_s, settings.half_life)
    shares = _Shares(at_s, who, times)
    tables = []
    for window in settings.windows:
        table = _meetings(at_s, who, times, weight, shares, window.total_seconds(), settings.min_times)
        if not table.empty:
            tables.append(table.assign(window_s=window.total_seconds()))
    if not tables:
        return Found(pairs=(), tested=tests)
    every = _significant(pd.concat(tables, ignore_index=True), tests, settings.fdr)
    every = _clearest(every, ["a", "b"])
    every = every[every.strength >= settings.min_strength]
    pairs = [
        CoOccurrence(
            a=side(labels[int(row.a)]),
            b=side(labels[int(row.b)]),
            together=int(row.together),
            times=int(row.times),
            expected=round(float(row.expected), 3),
            strength=round(float(row.strength), 4),
            window_s=row.window_s,
            lag_s=(round(row.low, 3), round(row.middle, 3), round(row.high, 3)),
            standing=standing,
        )
        for row in every.itertuples()
    ]
    return Found(pairs=tuple(pairs), tested=tests)


def _onsets(history: pd.DataFrame, keys: list[str], quiet: timedelta) -> pd.DataFrame:
    """The rows that begin something: the first of each label, and those after ``quiet`` without one."""
    before = history.groupby(keys).at_s.shift()
    return history[before.isna() | (history.at_s - before > quiet.total_seconds())]


def _weights(at_s: Floats, half_life: timedelta) -> Floats:
    weights: Floats = np.exp2((at_s - at_s.max()) / half_life.total_seconds())
    return weights


class _Shares:
    """The share of each label among the onsets at an hour of the day, as the other days have it: its own day must not
    explain what happened on it."""

    def __init__(self, at_s: Floats, who: Ints, times: Ints) -> None:
        self.cell = ((at_s - at_s.min() // _DAY_S * _DAY_S) // _HOUR_S).astype(np.int64)  # days times 24 hours
        self._cells = int(self.cell.max()) + 1
        self._hour = np.zeros((len(times), 24))
        np.add.at(self._hour, (who, self.cell % 24), 1.0)
        self._at_hour = self._hour.sum(axis=0)
        self._in_cell = np.bincount(self.cell, minlength=self._cells)
        self._keys, self._counts = np.unique(who * self._cells + self.cell, return_counts=True)
        self._overall = times / len(at_s)

    def of(self, label: Ints, cell: Ints) -> Floats:
        key = label * self._cells + cell
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        own = np.where(self._keys[place] == key, self._counts[place], 0)
        other = self._hour[label, cell % 24] - own + _SHARE_PRIOR * self._overall[label]
        share: Floats = other / (self._at_hour[cell % 24] - self._in_cell[cell] + _SHARE_PRIOR)
        return share


def _meetings(
    at_s: Floats, who: Ints, times: Ints, weight: Floats, shares: _Shares, window_s: float, min_times: int
) -> pd.DataFrame:
    """Every pair of labels that met at least ``min_times``: how often, how often by chance, with what lag."""
    first, second, near = _close(at_s, window_s)
    other = who[first] != who[second]
    first, second = first[other], second[other]
    swap = who[first] > who[second]
    on_a, on_b = np.where(swap, second, first), np.where(swap, first, second)
    met = pd.DataFrame({"a": who[on_a], "b": who[on_b], "on_a": on_a, "on_b": on_b})
    met = met[(times[met.a] >= min_times) & (times[met.b] >= min_times)]
    by_a = met.drop_duplicates(["a", "b", "on_a"]).assign(w=lambda m: weight[m.on_a])
    by_b = met.drop_duplicates(["a", "b", "on_b"]).assign(w=lambda m: weight[m.on_b])
    table = pd.DataFrame(
        {
            "n_a": by_a.groupby(["a", "b"]).size(),
            "n_b": by_b.groupby(["a", "b"]).size(),
            "w_a": by_a.groupby(["a", "b"]).w.sum(),
            "w_b": by_b.groupby(["a", "b"]).w.sum(),
        }
    )
    table["met"] = table[["n_a", "n_b"]].min(axis=1)
    table = table[table.met >= min_times].reset_index()
    if table.empty:
        return table
    chance = _Chance(who, times, near, weight, shares)
    a, b = table.a.to_numpy(), table.b.to_numpy()
    (e_a, d_a), (e_b, d_b) = chance.of(a, b), chance.of(b, a)
    table["expected"] = np.maximum(e_a, e_b)
    table["p"] = stats.poisson.sf(table.met - 1, table.expected)
    table["strength"] = _unexplained(np.minimum(table.w_a, table.w_b), np.maximum(d_a, d_b))
    reliable_a = table.n_a / times[a] >= table.n_b / times[b]
    table["together"] = np.where(reliable_a, table.n_a, table.n_b)
    table["times"] = np.where(reliable_a, times[a], times[b])
    nearest = met.assign(lag=at_s[met.on_b] - at_s[met.on_a])
    nearest = nearest.assign(gap=nearest.lag.abs()).sort_values(["a", "b", "on_a", "gap", "lag"], kind="stable")
    nearest = nearest.drop_duplicates(["a", "b", "on_a"])
    lags = nearest.groupby(["a", "b"]).lag.quantile([0.1, 0.5, 0.9]).unstack()
    lags.columns = pd.Index(["low", "middle", "high"])
    return table.join(lags, on=["a", "b"])


def _close(at_s: Floats, window_s: float) -> tuple[Ints, Ints, Ints]:
    """Pairs of onsets within ``window_s`` of each other, the earlier first, and how many such pairs each onset is in.

    Where there are more than can be looked at, those nearest in order are taken.
    """
    firsts, seconds, near = [], [], np.zeros(len(at_s), dtype=np.int64)
    left = _MAX_MEETINGS
    for step in range(1, min(_MAX_NEIGHBOURS, len(at_s) - 1) + 1):
        first = np.nonzero(at_s[step:] - at_s[:-step] <= window_s)[0]
        if len(first) == 0 or len(first) > left:
            break
        left -= len(first)
        firsts.append(first)
        seconds.append(first + step)
        near[first] += 1
        near[first + step] += 1
    if not firsts:
        none = np.zeros(0, dtype=np.int64)
        return none, none, near
    return np.concatenate(firsts), np.concatenate(seconds), near


class _Chance:
    """How often the onsets of one label would meet another by chance."""

    def __init__(self, who: Ints, times: Ints, near: Ints, weight: Floats, shares: _Shares) -> None:
        self._order, self._count = np.argsort(who, kind="stable"), times
        self._start = np.cumsum(times) - times
        self._near, self._weight, self._shares = near, weight, shares

    def of(self, a: Ints, b: Ints) -> tuple[Floats, Floats]:
        """Expected number of onsets of ``a`` that meet ``b``, plain and weighed by age, for each pair; some pairs at a
        time, because there are as many terms as the labels of all pairs have onsets."""
        part = np.cumsum(self._count[a]) // _TERMS
        starts = np.nonzero(np.diff(part, prepend=-1))[0]
        found = [self._some(x, y) for x, y in zip(np.split(a, starts[1:]), np.split(b, starts[1:]), strict=True)]
        return np.concatenate([plain for plain, _ in found]), np.concatenate([weighed for _, weighed in found])

    def _some(self, a: Ints, b: Ints) -> tuple[Floats, Floats]:
        counts = self._count[a]
        ends = np.cumsum(counts)
        pair = np.repeat(np.arange(len(a)), counts)
        place = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        onset = self._order[self._start[a][pair] + place]
        share = np.minimum(self._shares.of(b[pair], self._shares.cell[onset]), 0.999999)
        chance = -np.expm1(self._near[onset] * np.log1p(-share))
        starts = ends - counts
        return np.add.reduceat(chance, starts), np.add.reduceat(chance * self._weight[onset], starts)


# ---- CIs dealt anew -------------------------------------------------------------------------------------------------


def _by_standing(history: pd.DataFrame, topology: Topology, settings: CoOccurrenceSettings) -> Found:
    """Pairs of (class, kind of CI) by how their CIs stand to each other."""
    onsets = _onsets(history[history.ci != ""], ["name", "ci"], settings.quiet)
    tables, tests = [], 0
    surroundings = _Surroundings(onsets, topology)
    weight = _weights(onsets.at_s.to_numpy(dtype=np.float64), settings.half_life) if len(onsets) else np.zeros(0)
    for window in settings.windows:
        table = _standings(onsets, surroundings, weight, window.total_seconds())
        table = table[table.storms >= settings.min_times]
        tests += len(table)
        table = table[table.met >= settings.min_times]
        if not table.empty:
            tables.append(table.assign(window_s=window.total_seconds()))
    if not tables:
        return Found(pairs=(), tested=tests)
    every = pd.concat(tables, ignore_index=True)
    every["p"] = stats.poisson.sf(every.met - 1, every.chance)
    every["strength"] = _unexplained(every.met_weight.to_numpy(), every.chance_weight.to_numpy())
    every = _clearest(_significant(every, tests, settings.fdr), ["a", "b", "standing"])
    every = every[every.strength >= settings.min_strength]
    return Found(pairs=tuple(surroundings.pair(row) for row in every.itertuples()), tested=tests)


class _Surroundings:
    """Classes with the kinds of their CIs as numbers, and where chance would put an onset of each class."""

    def __init__(self, onsets: pd.DataFrame, topology: Topology) -> None:
        self._topology = topology
        known = topology.cis
        types = [(name, known[ci].kind if ci in known else "") for name, ci in zip(onsets.name, onsets.ci, strict=True)]
        self.types = sorted(set(types))
        code = {type: number for number, type in enumerate(self.types)}
        self.type = np.array([code[type] for type in types], dtype=np.int64)
        self.cis = sorted(set(onsets.ci))
        self._code = {ci: number for number, ci in enumerate(self.cis)}
        self.ci = np.array([self._code[ci] for ci in onsets.ci], dtype=np.int64)
        self._homes: dict[int, dict[int, float]] = defaultdict(dict)
        for (type, ci), count in pd.Series(1, index=[self.type, self.ci]).groupby(level=[0, 1]).size().items():
            self._homes[int(type)][int(ci)] = float(count)
        families: dict[str, list[int]] = defaultdict(list)
        for number, ci in enumerate(self.cis):
            families[stem(ci)].append(number)
        self._families = {
            number: family for family in families.values() if len(family) <= MAX_FAMILY for number in family
        }
        self._around: dict[int, dict[int, int]] = {}

    def around(self, ci: int) -> dict[int, int]:
        """The number of the standing of each CI that stands in some way to ``ci``."""
        found = self._around.get(ci)
        if found is None:
            standings = around(self._topology, self.cis[ci])
            found = {self._code[other]: _NUMBER[way] for other, way in standings.items() if other in self._code}
            for other in self._families.get(ci, ()):
                found.setdefault(other, _NUMBER[Standing.ALIKE])
            self._around[ci] = found
        return found

    def shares(self, ci: int, type: int) -> Floats:
        """By standing, the share of the onsets of ``type`` that are on CIs standing so to ``ci``."""
        homes, found = self._homes[type], np.zeros(len(_STANDINGS))
        near = self.around(ci)
        for other in homes if len(homes) < len(near) else near:
            if other in homes and other in near:
                found[near[other]] += homes[other]
        return found / sum(homes.values())

    def pair(self, row: Any) -> CoOccurrence:
        (name_a, kind_a), (name_b, kind_b) = self.types[row.a], self.types[row.b]
        return CoOccurrence(
            a=Side(name=name_a, kind=kind_a),
            b=Side(name=name_b, kind=kind_b),
            together=int(row.met),
            times=int(row.storms),
            expected=round(float(row.chance), 3),
            strength=round(float(row.strength), 4),
            window_s=row.window_s,
            lag_s=(round(row.low, 3), round(row.middle, 3), round(row.high, 3)),
            standing=_STANDINGS[row.standing],
        )


_STANDINGS = (Standing.SAME, Standing.NEEDED, Standing.NEEDS, Standing.SHARES, Standing.ALIKE)
_NUMBER = {standing: number for number, standing in enumerate(_STANDINGS)}


def _standings(onsets: pd.DataFrame, surroundings: _Surroundings, weight: Floats, window_s: float) -> pd.DataFrame:
    """For each pair of types and standing: in how many storms both began, in how many two that stand so met, and in how
    many they would have by chance."""
    at_s = onsets.at_s.to_numpy(dtype=np.float64)
    first, second, _ = _close(at_s, window_s)
    type, ci = surroundings.type, surroundings.ci
    # Each pair of onsets is written down from the lower type to the higher, so that it is found once.
    swap = type[first] > type[second]
    on_a, on_b = np.where(swap, second, first), np.where(swap, first, second)
    met = pd.DataFrame({"a": type[on_a], "b": type[on_b], "x": ci[on_a], "y": ci[on_b]})
    met["storm"] = (at_s[on_a] // _STORM_S).astype(np.int64)
    met["lag"] = at_s[on_b] - at_s[on_a]
    met["w"] = weight[on_a]
    places = met.groupby(["x", "b"]).ngroup().to_numpy()
    where = met[["x", "b"]].assign(place=places).drop_duplicates("place").sort_values("place")
    shares = [surroundings.shares(int(x), int(b)) for x, b in zip(where.x, where.b, strict=True)]
    share = np.array(shares).reshape(-1, len(_STANDINGS))
    real = np.array(
        [surroundings.around(int(x)).get(int(y), -1) for x, y in zip(met.x, met.y, strict=True)], dtype=np.int64
    )
    tables = []
    for number in range(len(_STANDINGS)):
        if not share[:, number].any():
            continue
        one = met.assign(chance=share[places, number] if len(share) else 0.0, met=real == number)
        storms = one.groupby(["a", "b", "storm"]).agg(chance=("chance", "sum"), met=("met", "sum"), w=("w", "max"))
        storms = storms[storms.chance > 0].reset_index()
        storms["by_chance"] = -np.expm1(-storms.chance)
        storms["explained"] = np.minimum(1.0, storms.chance / np.maximum(1.0, storms.met)) * storms.w
        storms["any"] = (storms.met > 0).astype(float)
        storms["any_w"] = storms["any"] * storms.w
        table = storms.groupby(["a", "b"]).agg(
            storms=("storm", "size"), met=("any", "sum"), met_weight=("any_w", "sum"),
            chance=("by_chance", "sum"), chance_weight=("explained", "sum"),
        )  # fmt: skip
        lags = one[one.met].groupby(["a", "b"]).lag.quantile([0.1, 0.5, 0.9]).unstack()
        lags = lags if len(lags) else pd.DataFrame(columns=[0.1, 0.5, 0.9], index=table.index[:0], dtype=float)
        lags.columns = pd.Index(["low", "middle", "high"])
        tables.append(table.join(lags).reset_index().assign(standing=number))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"storms": [], "met": []})


# ---- what is kept ---------------------------------------------------------------------------------------------------


def _significant(table: pd.DataFrame, tests: int, fdr: float) -> pd.DataFrame:
    """The rows whose ``p`` passes the step-up procedure among ``tests`` tests; what was not looked at has p = 1."""
    ranked = np.sort(table.p.to_numpy())
    passed = np.nonzero(ranked <= fdr * (np.arange(len(ranked)) + 1) / tests)[0]
    return table[table.p <= (ranked[passed[-1]] if len(passed) else -1.0)]


def _clearest(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row for each pair: the window in which it is the strongest, the narrowest among equals."""
    order = table.sort_values([*keys, "strength", "window_s"], ascending=[True] * len(keys) + [False, True])
    return order.drop_duplicates(keys)


def _unexplained(met: Any, chance: Any) -> Floats:
    """Lower bound of the share of meetings that chance does not explain."""
    at_least = stats.gamma.ppf(_LOWER, np.maximum(met, 1e-9))
    share: Floats = np.clip(1.0 - np.asarray(chance) / np.maximum(at_least, 1e-9), 0.0, 1.0)
    return share
