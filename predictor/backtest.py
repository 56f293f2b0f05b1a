"""Answers a spec: features, a model fitted on the rows that may be learned from, a probability for each asked row."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from foreshock.core.errors import Rejected
from predictor.budget import Watch
from predictor.card import card
from predictor.history import Entities, Floats, History, Ints, read_history
from predictor.inputs import Inputs
from predictor.judging import judged
from predictor.model import Model
from predictor.outcomes import learnable, outcomes, rows_between
from predictor.pacing import Pace
from predictor.spec import BacktestSpec
from predictor.training import Learnable, train

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
    """The answer, and what is to be known about it.

    Attributes:
        card: plain data. reasons: for the surest alarms what spoke for them, as columns of a file.
        models: by the group that each was kept from; "" for one that answers all.
    """

    predictions: Predictions
    card: dict[str, Any]
    reasons: dict[str, Any]
    models: dict[str, Model]

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


def backtest(spec: BacktestSpec, tables: Mapping[str, Any], *, leave_out: bool = False) -> Backtest:
    """leave_out: each group is answered by a model that was fitted on the others.

    Raises ConfigError for wrong tables, Rejected where there is too little to learn from.
    """
    history = read_history(spec, tables)
    _enough(history)
    if not leave_out:
        return _Answering(spec, history).backtest()
    parts = {}
    for place, group in enumerate(history.entities.groups.names):
        mine = history.entities.groups.codes == place
        if (history.entities.asked_last >= history.entities.asked_first)[mine].any():
            parts[group] = _Answering(spec, _without(history, mine)).backtest()
    if len(parts) < _LEAST_GROUPS:
        raise Rejected(f"there is no group to leave out among {len(parts)}", hint="name the column in entities.group")
    return _joined(spec, history, parts)


_LEAST_GROUPS = 2


def _without(history: History, mine: NDArray[np.bool_]) -> History:
    """Nothing of ``mine`` may be learned from, and only they are asked."""
    entities = history.entities
    kept = structs.replace(
        entities,
        cutoff=np.where(mine, entities.first - 1, entities.cutoff),
        asked_last=np.where(mine, entities.asked_last, entities.asked_first - 1),
    )
    return structs.replace(history, entities=kept)


def _joined(spec: BacktestSpec, history: History, parts: Mapping[str, Backtest]) -> Backtest:
    found = [part.predictions for part in parts.values()]
    entity, step = (np.concatenate([getattr(one, name) for one in found]) for name in ("entity", "step"))
    order = np.lexsort((step, entity))
    whole = Predictions(
        names=history.entities.names,
        entity=entity[order],
        step=step[order],
        score=np.concatenate([one.score for one in found])[order],
        cutoff=np.full(len(entity), -1),
        alarm=np.concatenate([one.alarm for one in found])[order],
    )
    answered = _judged_answer(spec, history, whole)
    summary = [line for group, part in parts.items() for line in (f"without {group}:", *part.card["summary"])]
    reasons = {name: np.concatenate([part.reasons[name] for part in parts.values()]) for name in _REASONS}
    first = next(iter(parts.values())).card
    joined = {**first, "answered": answered, "left_out": list(parts), "summary": summary}
    return Backtest(whole, joined, reasons, {group: part.models[""] for group, part in parts.items()})


class _Answering:
    """One model for one history."""

    def __init__(self, spec: BacktestSpec, history: History) -> None:
        self._spec, self._history = spec, history
        self._inputs = Inputs.of(history)
        self._names = self._inputs.names(history)

    def backtest(self) -> Backtest:
        spec, history = self._spec, self._history
        entities = history.entities
        rows = learnable_rows(history, spec)
        _enough_rows(rows)
        trained = train(self._names, rows, self._features, self._watch, budget=spec.budget, seed=spec.seed)
        model = trained.model
        asked, at = rows_between(entities.asked_first, entities.asked_last)
        parts = [model.probability(self._features(*part)) for part in _parts(asked, at)]
        score = np.concatenate([np.empty(0), *parts])
        pace = Pace(
            budget=spec.budget,
            threshold=model.threshold,
            factor=model.factor,
            horizon=spec.horizon,
            steps_a_week=spec.steps_a_week,
        )
        alarm = pace.alarms(asked, at, _moments(entities, asked, at), score)
        found = Predictions(entities.names, asked, at, score, entities.cutoff[asked], alarm)
        answered = _judged_answer(spec, history, found)
        reasons = self._reasons(model, found)
        return Backtest(found, card(spec, history, rows, trained, answered), reasons, {"": model})

    def _features(self, entity: Ints, step: Ints) -> NDArray[np.float32]:
        return self._inputs.features(self._history, entity, step)

    def _watch(self, entity: Ints, step: Ints) -> Watch:
        return watch(self._spec, self._history, entity, step)

    def _reasons(self, model: Model, found: Predictions) -> dict[str, Any]:
        """Of the surest alarms."""
        surest = np.flatnonzero(found.alarm)
        surest = np.sort(surest[np.argsort(-found.score[surest], kind="stable")[:_EXPLAINED]])
        x = self._features(found.entity[surest], found.step[surest])
        told = [
            (row, *spoken)
            for row, features in zip(surest.tolist(), x, strict=True)
            for spoken in _spoken(model, features)
        ]
        rows = np.array([row for row, *_ in told], np.int64)
        return {
            "entity": np.array(found.names, dtype=object)[found.entity[rows]],
            "time": found.step[rows],
            "score": found.score[rows],
            "feature": np.array([name for _, name, _, _ in told], dtype=object),
            "value": np.array([value for *_, value, _ in told], np.float64),
            "log_odds": np.array([part for *_, part in told], np.float64),
        }


def _spoken(model: Model, features: NDArray[np.float32]) -> list[tuple[str, float, float]]:
    """The features that spoke most for it: name, value, what it added to the log-odds."""
    _, added = model.contributions(features)
    most = np.argsort(-added, kind="stable")[:_SPOKEN].tolist()
    return [(model.names[place], float(features[place]), float(added[place])) for place in most if added[place] > 0]


_REASONS = ("entity", "time", "score", "feature", "value", "log_odds")
_EXPLAINED = 300
_SPOKEN = 4


def watch(spec: BacktestSpec, history: History, entity: Ints, step: Ints) -> Watch:
    found = outcomes(history.incidents, entity, step)
    return Watch(entity, step, found, spec.lead, spec.horizon, spec.steps_a_week)


def _judged_answer(spec: BacktestSpec, history: History, found: Predictions) -> dict[str, Any]:
    """As far as the files tell what became of the asked rows."""
    budgets = (spec.budget / 3, spec.budget, spec.budget * 3)
    return judged(watch(spec, history, found.entity, found.step), found.score, budgets, found.alarm)


def learnable_rows(history: History, spec: BacktestSpec) -> Learnable:
    """With times: of the calendar where it is known, else as a share of what is known of each entity."""
    entities = history.entities
    entity, step, began = learnable(entities, history.incidents, spec.lead, spec.horizon)
    begins, length = entities.begins[entity], np.maximum(entities.cutoff - entities.first + 1, 1)[entity]
    dated = np.isfinite(begins)
    unit = np.where(dated, 1.0, 1.0 / length)
    zero = np.where(dated, begins, -entities.first[entity] / length)
    counts = step + spec.horizon <= entities.last[entity] if spec.rows.whole_horizon else np.ones(len(entity), np.bool_)
    return Learnable(entity, step, began, zero + step * unit, zero + (step + spec.horizon) * unit, counts)


def _moments(entities: Entities, entity: Ints, step: Ints) -> Ints:
    """Steps on one clock for all: the calendar's where it is known, else since the entity was first asked for."""
    begins = entities.begins[entity]
    calendar = np.floor(np.nan_to_num(begins)).astype(np.int64)
    return np.where(np.isfinite(begins), calendar + step, step - entities.asked_first[entity])


def _parts(entity: Ints, step: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Rows in portions, whole entities together, so that features of all of them need not be at hand at once."""
    begin = 0
    while begin < len(entity):
        end = int(np.searchsorted(entity, entity[min(begin + _PORTION, len(entity) - 1)], side="right"))
        yield entity[begin:end], step[begin:end]
        begin = end


_PORTION = 1_000_000


def _enough(history: History) -> None:
    """Counts incidents, not rows: each onset stands before several rows."""
    known = history.incidents.start <= history.entities.cutoff[history.incidents.entity]
    if (found := int(known.sum())) < _LEAST_INCIDENTS:
        where = len(np.unique(history.incidents.entity[known]))
        raise Rejected(
            f"not enough incidents yet: {found} of {_LEAST_INCIDENTS} in {where} of {len(history.entities)} entities",
            hint="give a longer history, or wait",
        )


def _enough_rows(rows: Learnable) -> None:
    """Both answers must be there."""
    before = int(rows.began.sum())
    if not before or before == len(rows.began):
        what = "no" if not before else "every"
        raise Rejected(
            f"{what} row of {len(rows.began)} stands before an incident: there is nothing to tell apart",
            hint="look at the steps of incidents, at the cut-offs and at `fit` of the spec",
        )
