"""How much a count supports a claim: exact intervals and tests, and what is left of many claims tested at once."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

_CONFIDENCE = 0.95


def interval(times: int, of: int) -> tuple[float, float]:
    """95 % confidence interval of a share that was seen ``times`` of ``of`` times (Clopper and Pearson 1934,
    doi:10.1093/biomet/26.4.404)."""
    if of == 0:
        return 0.0, 1.0
    low, high = stats.binomtest(times, of).proportion_ci(_CONFIDENCE, "exact")
    return float(low), float(high)


def more_than(share: float, times: int, of: int) -> float:
    """Probability of ``times`` or more of ``of`` where the true share is ``share``."""
    return float(stats.binom.sf(times - 1, of, share))


def less_than(share: float, times: int, of: int) -> float:
    """Probability of ``times`` or fewer of ``of`` where the true share is ``share``."""
    return float(stats.binom.cdf(times, of, share))


def by_chance(times: int, expected: float) -> float:
    """Probability of ``times`` or more where chance brings ``expected`` on average."""
    return float(stats.poisson.sf(times - 1, expected))


def discovered(p_values: Sequence[float], tested: int, fdr: float) -> list[bool]:
    """Which claims stand where at most ``fdr`` of those that do may be false (Benjamini and Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x). ``tested``: all claims that could have been made, also those not here."""
    if not p_values:
        return []
    values = np.array(p_values)
    order = np.argsort(values, kind="stable")
    passed = np.nonzero(values[order] <= fdr * np.arange(1, len(values) + 1) / max(tested, len(values)))[0]
    keep = np.zeros(len(values), dtype=bool)
    if len(passed):
        keep[order[: passed[-1] + 1]] = True
    return [bool(one) for one in keep]
