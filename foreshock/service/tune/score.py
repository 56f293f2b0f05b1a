"""How well groups fit what is known, in parts that can be drawn anew: the interval of a difference comes from them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock.service.truth import Pairs

Part = tuple[int, int, int, int, int]
"""Pairs of one part: of one incident; in one group before, and rightly so; in one group after, and rightly so."""

_ROUNDS, _AT_ONCE = 20, 100
"""So many draws, and so many at a time: a row for each part is in memory for each."""
_LEVEL = 0.95

Floats = NDArray[np.float64]


def parts(items: Iterable[tuple[str, str, str]]) -> list[Part]:
    """Incidents with all that is grouped with them on either side: no pair of alerts lies in two parts.

    items: of each alert the incident (empty: noise, alone), its group before and its group after.
    """
    cells = Counter(items)
    leads: dict[tuple[int, str], tuple[int, str]] = {}
    for incident, before, after in cells:
        _join(leads, (1, before), (2, after))
        if incident:
            _join(leads, (0, incident), (1, before))
    sizes: dict[tuple[int, str], tuple[Counter[str], ...]] = {}
    for (incident, before, after), alerts in cells.items():
        counts = sizes.setdefault(_lead(leads, (1, before)), tuple(Counter() for _ in range(5)))
        counts[1][before] += alerts
        counts[3][after] += alerts
        if incident:
            counts[0][incident] += alerts
            counts[2][f"{incident}\0{before}"] += alerts
            counts[4][f"{incident}\0{after}"] += alerts
    return _sorted([sum(n * (n - 1) // 2 for n in count.values()) for count in counts] for counts in sizes.values())


def judged_parts(pairs: Iterable[tuple[str, bool, bool, bool]]) -> list[Part]:
    """The same of single pairs: (what it was said in, whether it is one problem, grouped before, grouped after)."""
    counts: dict[str, list[int]] = {}
    for said_in, same, before, after in pairs:
        count = counts.setdefault(said_in, [0] * 5)
        for place, holds in enumerate((same, before, same and before, after, same and after)):
            count[place] += holds
    return _sorted(counts.values())


def _sorted(counts: Iterable[Sequence[int]]) -> list[Part]:
    """Those with any pair."""
    return sorted((a, b, c, d, e) for a, b, c, d, e in counts if a or b or d)


def _lead(leads: dict[tuple[int, str], tuple[int, str]], one: tuple[int, str]) -> tuple[int, str]:
    while (up := leads.setdefault(one, one)) != one:
        leads[one] = leads[up]
        one = leads[one]
    return one


def _join(leads: dict[tuple[int, str], tuple[int, str]], one: tuple[int, str], other: tuple[int, str]) -> None:
    leads[_lead(leads, one)] = _lead(leads, other)


# ---- scores ---------------------------------------------------------------------------------------------------------


def before(found: Sequence[Part]) -> Pairs:
    return Pairs(*(sum(part[place] for part in found) for place in (0, 1, 2)))


def after(found: Sequence[Part]) -> Pairs:
    return Pairs(*(sum(part[place] for part in found) for place in (0, 3, 4)))


def gain(folds: Sequence[Sequence[Part]]) -> float:
    """F1 after less F1 before, the mean of the folds."""
    return float(np.mean([after(found).f1 - before(found).f1 for found in folds]))


def spread(folds: Sequence[Sequence[Part]], seed: int) -> Floats:
    """Gains as they might have come out: parts are drawn anew from each fold, with replacement (the bootstrap of Efron
    1979, doi:10.1214/aos/1176344552; whole parts are drawn because pairs within one are not independent)."""
    generator = np.random.default_rng(seed)
    gains = [_gains(np.array(found, dtype=np.float64).reshape(-1, 5), generator) for found in folds]
    mean: Floats = np.mean(gains, axis=0)
    return mean


def _gains(found: Floats, generator: np.random.Generator) -> Floats:
    if not len(found):
        return np.zeros(_ROUNDS * _AT_ONCE)
    even = np.full(len(found), 1 / len(found))
    drawn = np.concatenate([generator.multinomial(len(found), even, size=_AT_ONCE) @ found for _ in range(_ROUNDS)])
    same, there, right_there, here, right_here = drawn.T
    return _f1(same, here, right_here) - _f1(same, there, right_there)


def _f1(same: Floats, grouped: Floats, both: Floats) -> Floats:
    total = same + grouped
    return np.divide(2 * both, total, out=np.ones_like(total), where=total > 0)


def interval(drawn: Floats) -> tuple[float, float]:
    """That holds 95 % of what was drawn."""
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
