"""Answers a spec: features, a model fitted on the rows that may be learned from, a probability for each asked row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.errors import Rejected
from predictor.history import Floats, History, Ints, read_history
from predictor.outcomes import learnable, rows_between
from predictor.recurrence import event_features
from predictor.spec import BacktestSpec

_LEAST_INCIDENTS = 20


class Predictions(Struct, frozen=True):
    """One row for each asked entity and step. score: probability of an onset within the horizon."""

    names: tuple[str, ...]
    entity: Ints
    step: Ints
    score: Floats
    cutoff: Ints
    alarm: NDArray[np.bool_]


class Backtest(Struct, frozen=True):
    """The answer, and what is to be known about it. card: plain data."""

    predictions: Predictions
    card: dict[str, Any]

    def columns(self) -> dict[str, Any]:
        """``predictions`` by the columns of a file."""
        found = self.predictions
        return {
            "entity": np.array(found.names, dtype=object)[found.entity],
            "time": found.step,
            "score": found.score,
            "cutoff": found.cutoff,
            "alarm": found.alarm.astype(np.int64),
        }

    def markdown(self) -> str:
        """``card`` for people."""
        return "\n".join((f"# {self.card['name']}", "", *self.card["summary"], ""))


def backtest(spec: BacktestSpec, tables: Mapping[str, Any]) -> Backtest:
    """Raises ConfigError for wrong tables, Rejected where there is too little to learn from."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    history = read_history(spec, tables)
    entities = history.entities
    entity, step, began = learnable(entities, history.incidents, spec.lead, spec.horizon)
    _enough(history, spec)
    model = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.05, random_state=spec.seed)
    model.fit(_features(history, entity, step), began)
    asked, at = rows_between(entities.asked_first, entities.asked_last)
    score = model.predict_proba(_features(history, asked, at))[:, 1]
    alarm = score >= np.quantile(score, 1 - spec.budget / spec.steps_a_week)
    found = Predictions(entities.names, asked, at, score, entities.cutoff[asked], alarm)
    summary = [f"learned from {len(entity)} rows, of which {int(began.sum())} stood before an incident"]
    return Backtest(found, {"name": spec.name, "summary": summary})


def _features(history: History, entity: Ints, step: Ints) -> NDArray[np.float32]:
    parts = []
    if history.events is not None:
        parts.append(event_features(history.entities, history.events, entity, step)[1])
    if history.frame is not None:
        raise NotImplementedError
    return np.column_stack(parts)


def _enough(history: History, spec: BacktestSpec) -> None:
    """Counts incidents, not rows: each onset stands before several rows."""
    known = history.incidents.start <= history.entities.cutoff[history.incidents.entity]
    if (found := int(known.sum())) < _LEAST_INCIDENTS:
        where = len(np.unique(history.incidents.entity[known]))
        raise Rejected(
            f"not enough incidents yet: {found} of {_LEAST_INCIDENTS} in {where} of {len(history.entities)} entities",
            hint="give a longer history, or wait",
        )
