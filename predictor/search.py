"""Where to look next for a better setting, from those that were tried: Bayesian optimisation in a box 0..1.

Expected improvement (Jones, Schonlau and Welch 1998, doi:10.1023/A:1008306431147) under a Gaussian process with a
Matérn kernel. Candidates change few numbers at a time, as in the trust regions of Eriksson et al. 2019 (TuRBO,
arXiv:1910.01739): with tens of numbers and tens of trials, a point that changes all of them is nearly always worse.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

Floats = NDArray[np.float64]

_CANDIDATES = 1000
_CENTRES = 3
_CHANGED = 3.0
"""Numbers that a candidate changes, on average."""
_NEAR = 0.25
"""Standard deviation of a change, as a share of the range."""
_LEAST_SCALE = 1e-3
"""Gains are told apart from this on: a thousandth of F1."""


def propose(
    tried: Sequence[Sequence[float]], gains: Sequence[float], effects: Sequence[float], count: int, seed: Sequence[int]
) -> list[list[float]]:
    """The points to try next, all at once.

    Args:
        tried: shape (n, d), n >= 2, 0..1, the first of them what is in force. gains: shape (n,), over the first.
        effects: shape (d,), how much each number has been seen to matter, >= 0: what matters is changed more often.
        count: points wanted. seed: equal input and seed give equal points.
    Returns: shape (count, d), 0..1.
    """
    generator = np.random.default_rng(list(seed))
    points, values = np.asarray(tried, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    scale = max(float(np.std(values)), _LEAST_SCALE)
    found: list[list[float]] = []
    kernel = _kernel(points, values / scale)
    for _ in range(count):
        model = GaussianProcessRegressor(kernel, optimizer=None).fit(points, values / scale)
        centres = _centres(model, points)
        candidates = _around(points[centres], np.asarray(effects, dtype=np.float64), generator)
        mean, deviation = model.predict(candidates, return_std=True)
        best = float(np.max(model.predict(points)))
        chosen = int(np.argmax(_improvement(mean, deviation, best)))
        found.append(candidates[chosen].tolist())
        # Until it is tried, it is taken to be what is expected of it (the believer of Ginsbourger et al. 2010,
        # doi:10.1007/978-3-642-10701-6_6), so that the next one lies elsewhere.
        points = np.vstack([points, candidates[chosen]])
        values = np.append(values, mean[chosen] * scale)
    return found


def _kernel(points: Floats, values: Floats) -> Kernel:
    """Fitted: how far the effect of each number reaches."""
    lengths = Matern(np.full(points.shape[1], 1.0), (0.2, 20.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * lengths + WhiteKernel(1e-2, (1e-4, 1.0))
    with warnings.catch_warnings():
        # A number that does not matter has its length at the bound: that is what the bound is for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(points, values).kernel_


def _centres(model: GaussianProcessRegressor, points: Floats) -> NDArray[np.intp]:
    """The points that promise most by the model, which one lucky trial does not convince, and what is in force."""
    best = np.argsort(-model.predict(points), kind="stable")[:_CENTRES]
    return np.unique(np.append(best, 0))


def _around(centres: Floats, effects: Floats, generator: np.random.Generator) -> Floats:
    """Candidates that change some numbers of a centre, at least one each."""
    dimensions = centres.shape[1]
    weight = effects + max(float(effects.mean()), 1e-9) / 2
    share = np.minimum(1.0, _CHANGED * weight / weight.sum())
    changes = generator.random((_CANDIDATES, dimensions)) < share
    changes[np.arange(_CANDIDATES), generator.choice(dimensions, _CANDIDATES, p=weight / weight.sum())] = True
    base = centres[generator.integers(len(centres), size=_CANDIDATES)]
    moved = base + generator.normal(0.0, _NEAR, base.shape)
    moved = np.where((moved < 0) | (moved > 1), generator.random(base.shape), moved)
    points: Floats = np.where(changes, moved, base)
    return points


def _improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    safe = np.maximum(deviation, 1e-9)
    z = (mean - best) / safe
    expected: Floats = (mean - best) * norm.cdf(z) + safe * norm.pdf(z)
    return expected
