"""How good probabilities were, once it is known what became of each row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.budget import Watch
from predictor.history import Floats, Ints

_DRAWS = 200
_TOPS = (0.05, 0.01, 0.001)


def judged(watch: Watch, score: Floats, budgets: Sequence[float], own: NDArray[np.bool_]) -> dict[str, Any]:
    """Plain data for a card: average precision and Brier skill with 95 % intervals by drawing entities, expected over
    observed onsets, recall within each budget, and what the ``own`` alarms came to."""
    began = watch.found.ahead(watch.step, watch.lead, watch.horizon)
    counts = ~watch.found.inside & ~watch.found.too_soon(watch.step, watch.lead)
    y, p, entity = began[counts], score[counts], watch.entity[counts]
    if not y.any():
        return {"rows": len(y), "began": 0}
    return {
        "rows": len(y),
        "began": int(y.sum()),
        "average_precision": round(average_precision(y, p), 4),
        "average_precision_by_chance": round(float(y.mean()), 4),
        **_brier(y, p, entity),
        "expected_over_observed": _expected(y, p),
        "at_budget": {
            f"{b:.3g}": _counted(each) for b, each in zip(budgets, watch.within(score, budgets), strict=True)
        },
        "own_alarms": _counted(watch.count(own.astype(np.float64), 1.0)),
    }


def _counted(counted: Any) -> dict[str, Any]:
    return {
        "recall": round(counted.recall, 4),
        "incidents": counted.incidents,
        "false_alarms_a_week": round(counted.false_a_week, 5),
        "precision": round(1 - counted.false_alarms / counted.alarms, 4) if counted.alarms else None,
    }


def average_precision(y: NDArray[np.bool_], p: Floats, weight: Floats | None = None) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, p, sample_weight=weight))


def _expected(y: NDArray[np.bool_], p: Floats) -> dict[str, float]:
    found = {"all": round(float(p.sum() / y.sum()), 3)}
    for top in _TOPS:
        high = p >= np.quantile(p, 1 - top)
        found[f"top_{top:g}"] = round(float(p[high].sum() / max(y[high].sum(), 1)), 3)
    return found


def _brier(y: NDArray[np.bool_], p: Floats, entity: Ints) -> dict[str, Any]:
    """1 - Brier / Brier of the base rate (Brier 1950); a constant has 0."""
    base = y.mean()
    _, place = np.unique(entity, return_inverse=True)
    ours, constant = np.bincount(place, (p - y) ** 2), np.bincount(place, (base - y) ** 2)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(ours), np.full(len(ours), 1 / len(ours)), _DRAWS)
    skills = 1 - (drawn @ ours) / np.maximum(drawn @ constant, 1e-12)
    low, high = np.quantile(skills, (0.025, 0.975))
    return {
        "brier_skill": round(float(1 - ours.sum() / constant.sum()), 4),
        "brier_skill_95": [round(float(low), 4), round(float(high), 4)],
    }
