"""Foreseeing incidents of CIs from what Foreshock itself has seen: fit a model for a horizon, ask it again and again.

A horizon is cut into ``STEPS`` steps. ``fit`` learns from every step that is over; ``Ahead`` goes on step by step with
the very recursion that made the features for fitting, so that a running service sees what training saw.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from heapq import heappop, heappush
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from foreshock.core.errors import Malformed, Rejected
from foreshock.core.learned import Facts, Happening, Verdict
from foreshock.core.model import Contribution
from foreshock.core.severity import Severity
from predictor.backtest import learnable_rows, watch
from predictor.challenge import compare
from predictor.drift import Usual, drift, usual
from predictor.history import History, Ints
from predictor.inputs import Inputs
from predictor.model import Model
from predictor.outcomes import outcomes
from predictor.reality import Seen, entities, history
from predictor.recurrence import EventState
from predictor.spec import BacktestSpec, EventsPart
from predictor.training import train
from predictor.words import said

STEPS = 12
"""Of a horizon: how late a forecast may come, and how finely it is counted."""
PLAIN = ("mixed:any",)
"""What the simple model sees: how often something begins there lately, drawn towards what is usual of its kind."""

T = TypeVar("T", bound=tuple[Any, ...])

MAX_ROWS = 8_000_000
"""So that a fit stays within a gigabyte or two: a short horizon of a large estate learns from less time."""

_SAMPLE = 20_000
_LEADS = (0.05, 0.5, 0.95)


class Question(Struct, frozen=True, kw_only=True):
    """horizon_s: an incident begins within it. false_alarms: for each CI and week that are accepted. least: incidents
    that it takes to learn anything."""

    horizon_s: float
    false_alarms: float
    least: int = 20
    seed: int = 0

    @property
    def step_s(self) -> float:
        return self.horizon_s / STEPS


class Fitted(Struct, frozen=True, kw_only=True):
    """A model for one horizon, and what it takes to ask it and to watch over it.

    Attributes:
        simple: what is used where ``model`` cannot be trusted any more.
        lead_s: after how long what it foresaw came: in one case of twenty sooner, the median, in one of twenty later.
        usual: how each column was; usual_scores: the probabilities of ``model``.
        judged: what the last part of the time said of both, plain data for the card.
    """

    question: Question
    inputs: Inputs
    model: Model
    simple: Model
    lead_s: tuple[float, float, float]
    usual: tuple[Usual, ...]
    usual_scores: Usual
    judged: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """Arrays and JSON, by name."""
        plain = {name: getattr(self, name) for name in _PLAIN_PARTS}
        return {
            "model.npz": self.model.to_bytes(),
            "simple.npz": self.simple.to_bytes(),
            "fitted.json": msgspec.json.encode(plain),
        }

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> "Fitted":
        """Raises Malformed for what ``files`` did not give."""
        try:
            plain = json.loads(files["fitted.json"])
            parts = {name: msgspec.convert(plain[name], kind) for name, kind in _PLAIN_PARTS.items()}
            model, simple = (Model.from_bytes(files[f"{name}.npz"]) for name in ("model", "simple"))
            return cls(model=model, simple=simple, **parts)
        except (KeyError, ValueError, msgspec.ValidationError) as error:
            raise Malformed(f"this is no model: {error}", hint="train it again") from None


_PLAIN_PARTS: Mapping[str, Any] = {
    "question": Question,
    "inputs": Inputs,
    "lead_s": tuple[float, float, float],
    "usual": tuple[Usual, ...],
    "usual_scores": Usual,
    "judged": dict[str, Any],
}


# ---- learning -------------------------------------------------------------------------------------------------------


def fit(seen: Seen, question: Question) -> Fitted:
    """On the newest ``MAX_ROWS`` steps of CIs. Raises Rejected where there is too little to learn from, in words."""
    known = history(_newest(seen, question.step_s), question.step_s)
    spec = _spec(question)
    rows = learnable_rows(known, spec)
    _enough(known, rows.began, question)
    inputs = Inputs.of(known)
    names = inputs.names(known)

    def features(entity: Ints, step: Ints) -> NDArray[np.float32]:
        return inputs.features(known, entity, step)

    watching = partial(watch, spec, known)
    plain = [names.index(name) for name in PLAIN]
    found = train(names, rows, features, watching, budget=question.false_alarms, seed=question.seed)
    simple = train(
        PLAIN, rows, lambda entity, step: features(entity, step)[:, plain], watching,
        budget=question.false_alarms, seed=question.seed,
    )  # fmt: skip
    drawn = np.sort(np.random.default_rng(question.seed).permutation(len(rows.entity))[:_SAMPLE])
    x = features(rows.entity[drawn], rows.step[drawn])
    return Fitted(
        question=question,
        inputs=inputs,
        model=found.model,
        simple=simple.model,
        lead_s=_leads(known, rows.entity, rows.step, rows.began, question.step_s),
        usual=tuple(usual(column) for column in x.T),
        usual_scores=usual(found.model.probability(x)),
        judged={"model": found.judged, "simple": simple.judged},
    )


def _newest(seen: Seen, step_s: float) -> Seen:
    cis = len({*seen.cis, *(each.ci for each in seen.happenings)})
    return structs.replace(seen, since=max(seen.since, seen.until - MAX_ROWS / max(1, cis) * step_s))


def _spec(question: Question) -> BacktestSpec:
    return BacktestSpec(
        name="incidents",
        step=timedelta(seconds=question.step_s),
        horizon=STEPS,
        events=EventsPart(),
        budget=question.false_alarms,
        seed=question.seed,
    )


def _enough(known: History, began: NDArray[np.bool_], question: Question) -> None:
    found, where = len(known.incidents.entity), len(np.unique(known.incidents.entity))
    if found < question.least:
        reason = f"not enough incidents yet: {found} of {question.least} on {where} of {len(known.entities)} CIs"
        raise Rejected(reason, hint="wait until there were more")
    if not began.any() or began.all():
        reason = f"{found} incidents, and no step before one that could be learned from"
        raise Rejected(reason, hint="wait, or shorten the horizon")


def _leads(
    known: History, entity: Ints, step: Ints, began: NDArray[np.bool_], step_s: float
) -> tuple[float, float, float]:
    ahead = outcomes(known.incidents, entity[began], step[began]).onset - step[began]
    low, median, high = np.quantile(ahead * step_s, _LEADS)
    return float(low), float(median), float(high)


# ---- judging by what came later -------------------------------------------------------------------------------------


class _Later(Struct, frozen=True):
    """Rows that no model was fitted on, whose outcome is known."""

    entity: Ints
    step: Ints
    began: NDArray[np.bool_]
    x: NDArray[np.float32]


def compared(seen: Seen, champion: Fitted, challenger: Fitted, later: float) -> Verdict:
    """Of two models with the same horizon, on the steps from ``later`` on, in seconds since 1970."""
    one, other = _later(seen, champion, later), _later(seen, challenger, later)
    day = one.step * int(champion.question.step_s) // 86_400
    return compare(
        one.began,
        champion.model.probability(one.x),
        challenger.model.probability(other.x),
        day * len(_PARTS_OF_ESTATE) + one.entity % len(_PARTS_OF_ESTATE),
    )


_PARTS_OF_ESTATE = range(4)
"""A day is cut into so many blocks, by CI: what fails together is mostly on other CIs, too, so not into more."""


def drifted(seen: Seen, fitted: Fitted, later: float) -> list[str]:
    """What is wrong with a model by what came from ``later`` on, in words; nothing while too little did."""
    rows = _later(seen, fitted, later)
    if len(rows.entity) < _LEAST_ROWS:
        return []
    watched = [place for place, name in enumerate(fitted.model.names) if name.startswith(_WATCHED)]
    probability = fitted.model.probability(rows.x)
    found = drift(
        [fitted.model.names[place] for place in watched],
        [fitted.usual[place] for place in watched],
        rows.x[:, watched],
        fitted.usual_scores,
        probability,
        came=_onsets(rows),
        promised=float(probability.sum()) / STEPS,
    )
    return found.reasons


_LEAST_ROWS = 5_000
_WATCHED = ("rate:", "open")
"""Others grow with time by themselves, or are the same for a whole group."""


def _onsets(rows: _Later) -> int:
    """Each onset stands before up to ``STEPS`` rows, so the rows of both sides are counted and cut down alike."""
    return round(int(rows.began.sum()) / STEPS)


def _later(seen: Seen, fitted: Fitted, later: float) -> _Later:
    step_s = fitted.question.step_s
    known = history(seen, step_s)
    rows = learnable_rows(known, _spec(fitted.question))
    mine = np.flatnonzero(rows.step >= np.ceil((later - seen.since) / step_s))
    entity, step = rows.entity[mine], rows.step[mine]
    x = fitted.inputs.features(known, entity, step) if len(mine) else np.empty((0, len(fitted.model.names)), np.float32)
    return _Later(entity, step, rows.began[mine], x)


# ---- asking ---------------------------------------------------------------------------------------------------------


class Added(Struct, frozen=True):
    """What one feature adds to the log-odds."""

    name: str
    value: float
    points: float


class Foreseen(Struct, frozen=True, kw_only=True):
    """What a model says of one CI. added: what weighs most first; with ``begin`` it adds up to what the model's experts
    say together, in log-odds."""

    ci: str
    probability: float
    alarm: bool
    begin: float
    added: tuple[Added, ...]

    def told(self, step_s: float, most: int) -> tuple[Contribution, ...]:
        """In words: what weighs most, and what is left in one, so that all of it adds up."""
        shown, rest = self.added[:most], sum(each.points for each in self.added[most:])
        parts = [
            Contribution(name=each.name, points=each.points, evidence=said(each.name, each.value, step_s))
            for each in shown
        ]
        return (
            *parts,
            Contribution(name="rest", points=rest, evidence="everything else that is known of it"),
            Contribution(name="begin", points=self.begin, evidence="how often it happens to any CI"),
        )


class Ahead:
    """What is known of each CI, going on with time, and what a model makes of it.

    Args:
        cis: every CI that will be asked about. since: seconds since 1970, where step 0 begins.
    """

    def __init__(self, fitted: Fitted, cis: Mapping[str, Facts], since: float) -> None:
        self._fitted, self._since = fitted, since
        self._entities = entities(cis, since / fitted.question.step_s, 0)
        self._numbers = {name: number for number, name in enumerate(self._entities.names)}
        self._state = EventState(self._entities, fitted.inputs.event_kinds)
        self._told: dict[_Key, bool] = {}  # and whether its end was
        self._begin: list[tuple[float, _Key]] = []
        self._end: list[tuple[float, _Key, float, str]] = []

    @property
    def asked_at(self) -> float:
        """The end of the last step that is over."""
        return self._since + (self._state.step + 1) * self._fitted.question.step_s

    def hear(self, happenings: Iterable[Happening]) -> None:
        """In any order. What was told may be told again, with its end; what is told late counts in the step in which it
        is told. Every CI is a known one."""
        for each in happenings:
            key = (each.ci, each.name, each.at)
            if key not in self._told and each.at >= self._since:
                self._told[key] = False
                heappush(self._begin, (each.at, key))
            if each.until is not None and self._told.get(key) is False:
                self._told[key] = True
                minutes = max(0.0, each.until - each.at) / 60
                heappush(self._end, (max(each.until, each.at), key, minutes, Severity(each.severity).word))

    def go_on(self, until: float) -> bool:
        """Through every step that is over by then; whether there was one."""
        step_s, before = self._fitted.question.step_s, self._state.step
        while (end := self._since + (self._state.step + 2) * step_s) <= until:
            begun = [key for _, key in _popped(self._begin, end)]
            over = list(_popped(self._end, end))
            words = [
                np.array([place for place, each in enumerate(over) if _word(each, column) == word], np.int64)
                for column, word in self._fitted.inputs.event_kinds
            ]
            self._state.advance(
                np.array([self._numbers[ci] for ci, _, _ in begun], np.int64),
                np.array([self._numbers[key[0]] for _, key, _, _ in over], np.int64),
                words,
                np.array([minutes for _, _, minutes, _ in over], np.float64),
            )
        return self._state.step > before

    def look(self, *, simple: bool, most: int) -> list[Foreseen]:
        """Of the CIs that alarm, and of the likeliest others, the likeliest first: alarms all, and ``most`` together.

        simple: by the model that is used where the other cannot be trusted.
        """
        x = self.features()
        model = self._fitted.simple if simple else self._fitted.model
        if simple:
            names = self._fitted.model.names
            x = x[:, [names.index(name) for name in PLAIN]]
        probability = model.probability(x)
        order = np.argsort(-probability, kind="stable")
        alarms = int((probability >= model.threshold).sum())
        return [self._foreseen(model, x, row, float(probability[row])) for row in order[: max(most, alarms)].tolist()]

    def features(self) -> NDArray[np.float32]:
        """Of every CI, as they were at ``asked_at``."""
        rows = np.arange(len(self._entities))
        fixed = self._fitted.inputs.fixed(self._entities)
        return np.column_stack([self._state.features(rows), *fixed]).astype(np.float32)

    def _foreseen(self, model: Model, x: NDArray[np.float32], row: int, probability: float) -> Foreseen:
        begin, added = model.contributions(x[row])
        parts = [Added(name, float(x[row, place]), float(added[place])) for place, name in enumerate(model.names)]
        return Foreseen(
            ci=self._entities.names[row],
            probability=probability,
            alarm=probability >= model.threshold,
            begin=begin,
            added=tuple(sorted((each for each in parts if each.points), key=lambda each: -abs(each.points))),
        )


_Key = tuple[str, str, float]


def _popped(heap: list[T], end: float) -> Iterator[T]:
    """What comes before ``end``."""
    while heap and heap[0][0] < end:
        yield heappop(heap)


def _word(over: tuple[float, _Key, float, str], column: str) -> str:
    return over[1][1] if column == "name" else over[3]
