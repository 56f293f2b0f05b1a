"""Whether the world is still the one that a model was fitted in: features, scores, and how often incidents come.

Method:  the population stability index of each column, over the tenths that it had while fitting and a bin of its own
         for what is missing: 0 is the same, ``MOVED`` is another distribution. Incidents are compared with what the
         scores promised, by a Poisson interval.
Sources: Siddiqi 2006, Credit Risk Scorecards, ISBN 978-0471754510 (the index and its customary bounds); Garwood 1936,
         doi:10.1093/biomet/28.3-4.437 (the interval).
Limits:  columns are looked at one by one; a change in how they go together is seen in the scores, or later in the
         ledger.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

MOVED = 0.25
"""Customary: up to .1 nothing happened, from .25 on it is another distribution."""

_TENTHS = np.linspace(0.1, 0.9, 9)
_FLOOR = 1e-4  # of a bin that nothing fell into
_MIN_ROWS = 200


class Usual(Struct, frozen=True):
    """How one column was while fitting. edges: between bins, rising, none where it never varied. shares: of the rows in
    each bin, at last of those where it is missing."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def usual(values: NDArray[np.floating]) -> Usual:
    """Of a column (n,), NaN where it is missing."""
    known = values[np.isfinite(values)].astype(np.float64)
    edges = np.unique(np.quantile(known, _TENTHS)) if len(known) else np.empty(0)
    return Usual(tuple(edges.tolist()), tuple(_shares(values, edges).tolist()))


def moved(before: Usual, values: NDArray[np.floating]) -> float:
    """The index of a column (n,) against what was usual; 0 where there are too few rows to tell."""
    if len(values) < _MIN_ROWS:
        return 0.0
    then = np.maximum(before.shares, _FLOOR)
    now = np.maximum(_shares(values, np.array(before.edges)), _FLOOR)
    return float(((now - then) * np.log(now / then)).sum())


def _shares(values: NDArray[np.floating], edges: Floats) -> Floats:
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), len(edges) + 1)
    return np.bincount(place, minlength=len(edges) + 2) / max(1, len(values))


class Drift(Struct, frozen=True, kw_only=True):
    """features: index of each column that moved, most first. score: index of the scores. rate: incidents that came for
    each that was promised, with its 95 % interval; NaN where none was."""

    features: Mapping[str, float]
    score: float
    rate: float
    rate_low: float
    rate_high: float

    @property
    def reasons(self) -> list[str]:
        """What is wrong, in words; none where nothing is."""
        found = []
        if self.features:
            name, index = next(iter(self.features.items()))
            others = f" and {len(self.features) - 1} more" if len(self.features) > 1 else ""
            found.append(f"{name}{others} are not as they were when it was trained (stability index {index:.2f})")
        if self.score >= MOVED:
            found.append(f"its scores are not as they were (stability index {self.score:.2f})")
        if self.rate_low > 1 or self.rate_high < 1:
            word = "more" if self.rate_low > 1 else "fewer"
            found.append(
                f"{word} incidents come than it says: {self.rate:.2f} of each ({self.rate_low:.2f} to "
                f"{self.rate_high:.2f})"
            )
        return found


def drift(
    names: Sequence[str],
    before: Sequence[Usual],
    features: NDArray[np.floating],
    scores_before: Usual,
    scores: Floats,
    *,
    came: int,
    promised: float,
) -> Drift:
    """Of rows (n, columns) asked about lately. came, promised: incidents of those whose horizon is over, and the sum of
    their probabilities."""
    indices = {
        name: moved(one, features[:, place]) for place, (name, one) in enumerate(zip(names, before, strict=True))
    }
    rate = came / promised if promised > 0 else np.nan
    low, high = _poisson(came)
    return Drift(
        features={name: index for name, index in sorted(indices.items(), key=lambda each: -each[1]) if index >= MOVED},
        score=moved(scores_before, scores),
        rate=rate,
        rate_low=low / promised if promised > 0 else np.nan,
        rate_high=high / promised if promised > 0 else np.nan,
    )


def _poisson(count: int) -> tuple[float, float]:
    low = float(stats.chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    return low, float(stats.chi2.ppf(0.975, 2 * count + 2) / 2)
