"""From history to a model: experts fitted on the earlier part, trusted by what they say of the later part.

The rows that may be learned from are cut by time. Experts fitted before a cut are asked about what follows it; no row
whose horizon reaches over the cut is fitted. From these answers come the trust in each expert, the curve that turns
their common word into a probability, and the threshold of alarms. Then the experts are fitted once more, on all rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from foreshock.core.errors import Rejected
from predictor.budget import Watch
from predictor.history import Floats, Ints
from predictor.judging import average_precision, judged
from predictor.linear import Linear, fit_linear
from predictor.model import LogOddsCurve, Model, blend, probability
from predictor.pacing import expected_false, factor_of
from predictor.trees import Trees, fit_trees

CUTS = (0.5, 0.75)
"""Shares of the onsets before each cut: the part between the cuts judges first, the last part judges the judgement."""
MAX_FITTED = 150_000
MAX_JUDGED = 400_000
_X = NDArray[np.float32]


class Learnable(Struct, frozen=True):
    """Rows whose outcome may be used, in the order of (entity, step).

    Attributes:
        time: when the row is, comparable between all rows; until: when its horizon ends.
        counts: probabilities are set by it.
    """

    entity: Ints
    step: Ints
    began: NDArray[np.bool_]
    time: Floats
    until: Floats
    counts: NDArray[np.bool_]

    def take(self, rows: Ints) -> "Learnable":
        return Learnable(*(getattr(self, field)[rows] for field in self.__struct_fields__))


class Trained(Struct, frozen=True):
    """judged: what the last part of the fitted time said about it; plain data."""

    model: Model
    judged: dict[str, Any]


Features = Callable[[Ints, Ints], _X]
Watching = Callable[[Ints, Ints], Watch]


def train(
    names: Sequence[str], rows: Learnable, features: Features, watching: Watching, *, budget: float, seed: int
) -> Trained:
    """``features`` and ``watching`` are asked for (entity, step). Raises Rejected where incidents are of one time."""
    rng = np.random.default_rng(seed)
    cuts = np.quantile(rows.time[rows.began], CUTS)
    fitted, weight = _fitted(rows.began, rng)
    asked = _asked(rows, cuts[0], rng)
    both = np.union1d(fitted, asked)
    x = features(rows.entity[both], rows.step[both])
    fit, ask = np.searchsorted(both, fitted), np.searchsorted(both, asked)
    rows = rows.take(both)
    said: dict[str, list[Floats]] = {}
    parts = []
    for cut, end in zip(cuts, (*cuts[1:], np.inf), strict=True):
        known = rows.until[fit] < cut
        part = ask[(rows.time[ask] >= cut) & (rows.time[ask] < end)]
        _check(rows.began[fit[known]], "before the time that judges")
        _check(rows.began[part], "in the time that judges")
        experts = fit_experts(names, x[fit[known]], rows.began[fit[known]], weight[known], seed)
        for name, expert in experts.items():
            said.setdefault(name, []).append(expert.log_odds(x[part]))
        parts.append(part)
    first, last = rows.take(parts[0]), rows.take(parts[1])
    horizon = watching(first.entity[:1], first.step[:1]).horizon
    before = {name: each[0] for name, each in said.items()}
    early = _word(stacked(before, first.began, horizon)[0], before, first, watching, budget)
    report = _report(early, {name: each[1] for name, each in said.items()}, last, watching, budget)
    trust, _ = stacked(
        {name: np.concatenate(each) for name, each in said.items()}, rows.began[np.concatenate(parts)], horizon
    )
    late = {name: each[1] for name, each in said.items()}
    word = _word(trust, late, last, watching, budget)
    drift = _DAMPED * _drift(early, late, last)
    word = structs.replace(word, base=word.base + drift, threshold=_moved(word.threshold, drift))
    experts = fit_experts(names, x[fit], rows.began[fit], weight, seed)
    model = Model(
        names=tuple(names),
        experts=experts,
        trust=word.trust,
        base=word.base,
        curve=word.curve,
        threshold=word.threshold,
        factor=word.factor,
    )
    return Trained(model, report)


def _check(began: NDArray[np.bool_], when: str) -> None:
    """Raises Rejected where only one answer is there."""
    before = int(began.sum())
    if not 0 < before < len(began):
        raise Rejected(
            f"incidents lie too close together in time: {before} of {len(began)} rows {when} stand before one",
            hint="give a longer history, or wait",
        )


def _fitted(began: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Every row before an incident, and so many of the others that there are ``MAX_FITTED``; each of those weighs as
    many as it stands for, so probabilities keep their level."""
    share = min(1.0, max(MAX_FITTED - int(began.sum()), MAX_FITTED // 2) / max(1, int((~began).sum())))
    chosen = np.flatnonzero(began | (rng.random(len(began)) < share))
    return chosen, np.where(began[chosen], 1.0, 1 / share)


def _asked(rows: Learnable, cut: float, rng: np.random.Generator) -> Ints:
    """Rows after the cut, of so many entities that there are about ``MAX_JUDGED``: alarms need every step of one."""
    late = rows.time >= cut
    share = min(1.0, MAX_JUDGED / max(1, int(late.sum())))
    drawn = rng.random(int(rows.entity.max()) + 1) < share
    return np.flatnonzero(late & drawn[rows.entity])


# ---- experts --------------------------------------------------------------------------------------------------------


def fit_experts(
    names: Sequence[str], x: _X, began: NDArray[np.bool_], weight: Floats, seed: int
) -> dict[str, Linear | Trees]:
    """From the plainest to the freest."""
    plain = np.array([place for place, name in enumerate(names) if name in _PLAIN], np.int64)
    experts: dict[str, Linear | Trees] = {}
    if len(plain):
        experts["rate"] = fit_linear(x, began, weight, names, columns=plain, ridge=1.0)
    experts["linear"] = fit_linear(x, began, weight, names, columns=np.arange(len(names)), ridge=_RIDGE)
    if len(names) > 1:
        experts["trees"] = fit_trees(x, began, weight, seed=seed, leaves=8, rounds=100)
    return experts


_PLAIN = ("mixed:any",)
_RIDGE = 300.0


# ---- their common word ----------------------------------------------------------------------------------------------


class _Word(Struct, frozen=True):
    trust: tuple[float, ...]
    base: float
    curve: LogOddsCurve
    threshold: float
    factor: float

    def of(self, said: dict[str, Floats]) -> Floats:
        return probability(self.curve.at(blend(said, self.trust, self.base)))


def _word(
    trust: tuple[float, ...], said: dict[str, Floats], rows: Learnable, watching: Watching, budget: float
) -> _Word:
    """What the experts' sum is worth on ``rows``, the latest that none of them was fitted on: the level of
    probabilities drifts, and the latest is nearest to what comes."""
    watch = watching(rows.entity, rows.step)
    common = blend(said, trust, 0.0)
    counts = rows.counts if rows.counts.any() else np.ones(len(common), np.bool_)
    base = _level(common[counts], rows.began[counts])
    curve = fit_curve(common[counts] + base, rows.began[counts], _PRIOR_ONSETS * watch.horizon)
    score = probability(curve.at(common + base))
    (counted,) = watch.within(score, (budget,))
    expected = expected_false(rows.entity, rows.step, score, counted.threshold, watch.horizon)
    return _Word(trust, base, curve, counted.threshold, factor_of(counted.false_alarms, expected))


def _level(common: Floats, began: NDArray[np.bool_]) -> float:
    """What must be added so that as many onsets are expected as came."""
    from scipy.optimize import brentq

    came = min(max(float(began.sum()), 0.5), len(began) - 0.5)
    return float(brentq(lambda added: probability(common + added).sum() - came, -_FARTHEST, _FARTHEST))


_FARTHEST = 60.0


def _drift(word: _Word, said: dict[str, Floats], rows: Learnable) -> float:
    """How much higher the level of ``rows`` is than a word of the time before has it, in log-odds; within bounds."""
    counts = rows.counts if rows.counts.any() else np.ones(len(rows.began), np.bool_)
    score = np.clip(word.of(said)[counts], _LEAST, 1 - _LEAST)
    return float(np.clip(_level(np.log(score / (1 - score)), rows.began[counts]), -_MOST, _MOST))


def _moved(score: float, log_odds: float) -> float:
    if not 0 < score < 1:
        return score
    return float(probability(np.array([np.log(score / (1 - score)) + log_odds]))[0])


_DAMPED = 0.5
"""A level that drifted goes on half as far (a damped trend: Gardner and McKenzie 1985, doi:10.1287/mnsc.31.10.1237)."""
_MOST = 1.0
_PRIOR_ONSETS = 1.0
"""What the experts say counts like so many onsets in each bin of the curve."""


def stacked(said: dict[str, Floats], began: NDArray[np.bool_], horizon: int) -> tuple[tuple[float, ...], float]:
    """How far each expert is believed, never less than nothing, and what is added: the least log-loss on rows that
    none of them was fitted on, drawn towards ``_LEAN``."""
    from scipy.optimize import minimize

    z = np.stack(list(said.values())).T
    k = z.shape[1]
    lean, pull = np.array([_LEAN.get(name, 1.0) for name in said]), _PULL * horizon
    lean /= lean.sum()
    rest, y = ~began, began.astype(np.float64)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        trust, base = parameters[:k], parameters[k]
        common = z @ trust + base
        wrong = probability(common) - y
        value = np.logaddexp(0, common).sum() - common[~rest].sum() + pull * ((trust - lean) ** 2).sum()
        return float(value), np.append(wrong @ z + 2 * pull * (trust - lean), wrong.sum())

    found = minimize(loss, np.append(lean, 0.0), jac=True, method="L-BFGS-B", bounds=[(0, None)] * k + [(None, None)])
    return tuple(float(one) for one in found.x[:k]), float(found.x[k])


_LEAN = {"rate": 2.0, "linear": 0.5, "trees": 2.0}
"""What an expert counts before it was heard: the linear one learns most from seasons that do not come again."""
_PULL = 150.0
"""For each step of the horizon: each onset stands before so many rows, so rows tell less than their number."""
_EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)


def fit_curve(common: Floats, began: NDArray[np.bool_], prior: float) -> LogOddsCurve:
    """In bins that grow finer towards the top, where alarms are decided: onsets seen over onsets expected, drawn
    towards 1 by ``prior`` onsets; then made to rise (isotonic regression)."""
    from sklearn.isotonic import IsotonicRegression

    edges = np.unique(np.quantile(common, _EDGES))
    place = np.clip(np.searchsorted(edges, common, side="right") - 1, 0, max(len(edges) - 2, 0))
    _, place = np.unique(place, return_inverse=True)
    size = np.bincount(place)
    expected, seen = np.bincount(place, probability(common)), np.bincount(place, began)
    share = np.clip(expected / size, _LEAST, 1 - _LEAST)
    true = np.clip(share * (seen + prior) / (expected + prior), _LEAST, 1 - _LEAST)
    rising = IsotonicRegression().fit(share, np.log(true / (1 - true)), sample_weight=size).predict(share)
    said = np.log(share / (1 - share))
    return LogOddsCurve(said, np.asarray(rising, np.float64) + _SLOPE * (said - said.mean()))


_SLOPE = 0.01
"""The curve rises at least so steeply: where it were flat, rows that the experts tell apart would be one."""


_LEAST = 1e-7


def _report(word: _Word, said: dict[str, Floats], rows: Learnable, watching: Watching, budget: float) -> dict[str, Any]:
    watch = watching(rows.entity, rows.step)
    score = word.of(said)
    alone = {name: round(average_precision(rows.began, each), 4) for name, each in said.items()}
    return {
        "alone": alone,
        "trust": {name: round(each, 3) for name, each in zip(said, word.trust, strict=True)},
        **judged(watch, score, (budget / 3, budget, budget * 3), score >= word.threshold),
    }
