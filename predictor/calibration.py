"""What a rule's strength is worth: from pairs of alerts known to be one problem or two, the probability that a pair
with this strength is one.

With many pairs the curve is an isotonic regression (Zadrozny and Elkan 2002, doi:10.1145/775047.775151), with fewer a
beta calibration (Kull, Silva Filho and Flach 2017, doi:10.1214/17-EJS1338SI), both drawn towards the strength itself
by so many pairs that it takes evidence to move it. A curve counts only if it predicts later pairs better than the bare
strength does: the first part of time fits, the last part judges.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from foreshock.core.learned import Curve
from predictor.settings import CalibrationSettings

Floats = NDArray[np.float64]

_FIRST_PART = 0.7
_BINS = 40
_GRID: Floats = np.linspace(0.02, 0.98, 33)
_EDGE = 1e-3
_ECE_BINS = 10


class Judged(Struct, frozen=True, kw_only=True):
    """A pair of alerts that a rule linked, and whether they were one problem.

    Attributes:
        at_s: when the later of the two began, seconds since 1970.
        rule: its name. strength: what it said, 0..1.
        weight: how much the answer is believed, 1 for a person's word.
    """

    at_s: float
    rule: str
    strength: float
    same: bool
    weight: float = 1.0


def fit(pairs: Iterable[Judged], settings: CalibrationSettings) -> dict[str, Curve]:
    """A curve for each rule that has enough pairs of both answers and gains by it, by name."""
    by_rule: dict[str, list[Judged]] = defaultdict(list)
    for pair in pairs:
        by_rule[pair.rule].append(pair)
    found = {}
    for rule, judged in sorted(by_rule.items()):
        judged.sort(key=lambda pair: (pair.at_s, pair.strength, pair.same, pair.weight))
        curve = _judged_curve(judged, settings)
        if curve is not None:
            found[rule] = curve
    return found


def _judged_curve(judged: Sequence[Judged], settings: CalibrationSettings) -> Curve | None:
    cut = int(len(judged) * _FIRST_PART)
    first, last = judged[:cut], judged[cut:]
    if not (_enough(first, settings.min_pairs) and _enough(last, settings.min_pairs / 3)):
        return None
    trial = curve(first, settings)
    strength, same, weight = _columns(last)
    predicted = np.array([trial.at(s) for s in strength])
    brier, raw = brier_score(predicted, same, weight), brier_score(strength, same, weight)
    if brier >= raw:
        return None
    whole = curve(judged, settings)
    return Curve(
        strength=whole.strength,
        probability=whole.probability,
        pairs=len(judged),
        brier=round(brier, 5),
        brier_raw=round(raw, 5),
        ece=round(calibration_error(predicted, same, weight), 4),
        ece_raw=round(calibration_error(strength, same, weight), 4),
    )


def _enough(judged: Sequence[Judged], least: float) -> bool:
    """Of both answers, weighing as much as they are believed."""
    same = sum(pair.weight for pair in judged if pair.same)
    return same >= least and sum(pair.weight for pair in judged) - same >= least


def curve(judged: Sequence[Judged], settings: CalibrationSettings) -> Curve:
    """A line that never falls, fitted on ``judged`` and drawn towards the strength itself."""
    strength, same, weight = _columns(judged)
    if float(weight.sum()) >= settings.isotonic_from:
        xs, ys = _isotonic(strength, same, weight, settings.prior)
    else:
        xs, ys = _GRID, _beta(strength, same, weight, settings.prior)
    ys = np.maximum.accumulate(np.clip(ys, _EDGE, 1 - _EDGE))
    return Curve(strength=tuple(np.round(xs, 5).tolist()), probability=tuple(np.round(ys, 5).tolist()))


def _columns(judged: Sequence[Judged]) -> tuple[Floats, Floats, Floats]:
    table = np.array([(pair.strength, pair.same, pair.weight) for pair in judged], dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2]


def _isotonic(strength: Floats, same: Floats, weight: Floats, prior: float) -> tuple[Floats, Floats]:
    """In bins of equal size, each with its share of the prior."""
    edges = np.unique(np.quantile(strength, np.linspace(0, 1, _BINS + 1)))
    place = np.clip(np.searchsorted(edges, strength, side="right") - 1, 0, max(len(edges) - 2, 0))
    used, place = np.unique(place, return_inverse=True)
    mass = np.bincount(place, weight, minlength=len(used))
    middle = np.bincount(place, weight * strength, minlength=len(used)) / mass
    each = prior / len(used)
    share = (np.bincount(place, weight * same, minlength=len(used)) + each * middle) / (mass + each)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(middle, share, sample_weight=mass + each)
    return middle, np.asarray(fitted.predict(middle), dtype=np.float64)


def _beta(strength: Floats, same: Floats, weight: Floats, prior: float) -> Floats:
    """On the grid, p = 1 / (1 + exp(-(a ln s - b ln(1 - s) + c))) with a, b >= 0; a = b = 1, c = 0 leaves it alone."""
    inside = np.clip(strength, _EDGE, 1 - _EDGE)
    up, down = np.log(inside), -np.log1p(-inside)

    def loss(parameters: Any) -> float:
        a, b, c = parameters
        score = a * up + b * down + c
        fit_loss = np.sum(weight * (np.logaddexp(0.0, score) - same * score))
        return float(fit_loss + 0.5 * prior * ((a - 1) ** 2 + (b - 1) ** 2 + c**2))

    best = minimize(loss, np.array([1.0, 1.0, 0.0]), method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)])
    a, b, c = best.x
    probability: Floats = expit(a * np.log(_GRID) - b * np.log1p(-_GRID) + c)
    return probability


def brier_score(predicted: Floats, same: Floats, weight: Floats) -> float:
    """Mean squared error of a probability; 0 is best (Brier 1950)."""
    return float(np.average((predicted - same) ** 2, weights=weight))


def calibration_error(predicted: Floats, same: Floats, weight: Floats) -> float:
    """Mean distance between what was predicted and what came true, over ten bins of equal width, by their weight."""
    bins = np.minimum((predicted * _ECE_BINS).astype(int), _ECE_BINS - 1)
    gap = np.bincount(bins, weight * (predicted - same), minlength=_ECE_BINS)
    return float(np.abs(gap).sum() / weight.sum())
