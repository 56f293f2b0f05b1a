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
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern

Floats = NDArray[np.float64]

_CANDIDATES = 1000
_CENTRES = 2
_CHANGED = 3.0
"""Numbers that a candidate changes, on average."""
_MOST = 6
"""Numbers that differ from what is in force, at most: each more fits chance rather, and somebody has to defend it."""
_NEAR = 0.15
"""Standard deviation of a change, as a share of the range."""
_LEAST_SCALE = 1e-3
"""Gains are told apart from this on: a thousandth of F1."""
_UNKNOWN = 0.25
"""What was never tried is expected to gain as little as this share of what was: settings far away are worse mostly."""


def propose(
    tried: Sequence[Sequence[float]],
    gains: Sequence[float],
    doubts: Sequence[float],
    effects: Sequence[float],
    count: int,
    seed: Sequence[int],
) -> list[list[float]]:
    """The points to try next, all at once.

    Args:
        tried: shape (n, d), n >= 2, 0..1, the first of them what is in force. gains: shape (n,), over the first.
        doubts: shape (n,), the standard error of each gain, >= 0.
        effects: shape (d,), how much each number has been seen to matter, >= 0: what matters is changed more often.
        count: points wanted. seed: equal input and seed give equal points.
    Returns: shape (count, d), 0..1.
    """
    generator = np.random.default_rng(list(seed))
    points, values = np.asarray(tried, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    scale = max(float(np.std(values)), _LEAST_SCALE)
    level = min(0.0, float(np.quantile(values, _UNKNOWN)))
    values = (values - level) / scale
    noise = (np.asarray(doubts, dtype=np.float64) / scale) ** 2 + _NUGGET
    kernel = _kernel(points, values, noise)
    found: list[list[float]] = []
    for _ in range(count):
        model = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(points, values)
        expected = model.predict(points)
        centres = np.unique(np.append(np.argsort(-expected, kind="stable")[:_CENTRES], 0))
        candidates = _around(points, centres, expected - expected[0], np.asarray(effects, dtype=np.float64), generator)
        mean, deviation = model.predict(candidates, return_std=True)
        chosen = int(np.argmax(_improvement(mean, deviation, float(expected.max()))))
        found.append(candidates[chosen].tolist())
        # Until it is tried, it is taken to be what is expected of it (the believer of Ginsbourger et al. 2010,
        # doi:10.1007/978-3-642-10701-6_6), so that the next one lies elsewhere.
        points = np.vstack([points, candidates[chosen]])
        values, noise = np.append(values, mean[chosen]), np.append(noise, _NUGGET)
    return found


_NUGGET = 1e-4


def _kernel(points: Floats, values: Floats, noise: Floats) -> Kernel:
    """Fitted: how far the effect of each number reaches."""
    lengths = Matern(np.full(points.shape[1], 1.0), (0.2, 20.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * lengths
    with warnings.catch_warnings():
        # A number that does not matter has its length at the bound: that is what the bound is for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, alpha=noise).fit(points, values).kernel_


def _around(
    points: Floats, centres: NDArray[np.intp], worth: Floats, effects: Floats, generator: np.random.Generator
) -> Floats:
    """Candidates that change some numbers of a centre: half of them to values near those it has, half to values of
    points that are expected to be better than what is in force, the better the more often."""
    dimensions = points.shape[1]
    weight = effects + max(float(effects.mean()), 1e-9) / 2
    share = np.minimum(1.0, _CHANGED * weight / weight.sum())
    changes = generator.random((_CANDIDATES, dimensions)) < share
    changes[np.arange(_CANDIDATES), generator.choice(dimensions, _CANDIDATES, p=weight / weight.sum())] = True
    base = points[centres][generator.integers(len(centres), size=_CANDIDATES)]
    moved = base + generator.normal(0.0, _NEAR, base.shape)
    moved = np.where((moved < 0) | (moved > 1), generator.random(base.shape), moved)
    near: Floats = np.where(changes, moved, base)
    good = np.maximum(worth, 0.0)
    if not good.any():
        return _few(near, points[0], weight)
    donors = points[generator.choice(len(points), _CANDIDATES, p=good / good.sum())]
    taken = (donors != points[0]) & (generator.random(base.shape) < _TAKEN)
    mixed: Floats = np.where(taken, donors, base)
    return _few(np.vstack([near[::2], mixed[1::2]]), points[0], weight)


def _few(candidates: Floats, present: Floats, weight: Floats) -> Floats:
    """With at most ``_MOST`` changes each: those by the most, of what matters most."""
    changed = np.abs(candidates - present) * weight
    order = np.argsort(np.argsort(-changed, axis=1, kind="stable"), axis=1, kind="stable")
    kept: Floats = np.where(order < _MOST, candidates, present)
    return kept


_TAKEN = 0.7


def _improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    safe = np.maximum(deviation, 1e-9)
    z = (mean - best) / safe
    expected: Floats = (mean - best) * norm.cdf(z) + safe * norm.pdf(z)
    return expected
