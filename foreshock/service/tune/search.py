"""The search: what to try in which order, and what may be known when.

First each number alone, to either side. Then, once for every fold, points that a model of the scores proposes; the
proposals for a fold know the scores of the folds before it and no others. So what is chosen for a fold, from all that
was proposed by then, has never seen it: choosing again and again with more history is what is cross-validated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from foreshock.service.tune import score
from foreshock.service.tune.score import Part
from foreshock.service.tune.space import Parameter, named, placed
from foreshock.service.tune.state import Trial

Evaluate = Callable[[Sequence[Mapping[str, float]]], list[Trial]]
"""Plays trials; the same ones in the same order come back."""

_ALONE = 0.6
"""Share of the trials that change one number alone."""
_SMALL = 0.03
"""A change by less than this share of the range is none."""
_UNLUCKY = 0.1
"""One draw in ten gains less than what is counted on."""


class Tried(Struct, frozen=True):
    """A trial. stage: how many folds were known when it was proposed."""

    stage: int
    trial: Trial

    def parts(self, folds: range) -> list[list[Part]]:
        return [self.trial.folds[fold].parts for fold in folds]


def search(space: Sequence[Parameter], evaluate: Evaluate, *, folds: int, trials: int, seed: int) -> tuple[Tried, ...]:
    """All that was tried, what is in force first."""
    tried = [Tried(0, trial) for trial in evaluate([{}])]
    alone = list(one_by_one(space))[: max(round((trials - 1) * _ALONE), 1)]
    tried += (Tried(0, trial) for trial in evaluate(alone[: trials - 1]))
    rest = trials - len(tried)
    for stage in range(1, folds + 1):
        count = rest * stage // folds - rest * (stage - 1) // folds
        wanted = _proposed(space, tried, stage, count, seed)
        tried += (Tried(stage, trial) for trial in evaluate(wanted))
    return tuple(tried)


def one_by_one(space: Sequence[Parameter]) -> Iterator[dict[str, float]]:
    """Each number half-way to either end of its range, the rest as it is."""
    for parameter in space:
        place = parameter.place(parameter.base)
        for other in (place / 2, (place + 1) / 2):
            value = parameter.value(other)
            if value != parameter.base:
                yield {parameter.path: value}


def _proposed(
    space: Sequence[Parameter], tried: Sequence[Tried], stage: int, count: int, seed: int
) -> list[dict[str, float]]:
    from predictor.search import propose

    if count <= 0:
        return []
    places = [placed(space, one.trial.values) for one in tried]
    gains = [gain_before(one, stage) for one in tried]
    doubts = [float(np.std(score.spread(one.parts(_played(one, stage)), seed))) for one in tried]
    points = propose(places, gains, doubts, _effects(space, tried, stage), count, (seed, stage))
    known = [one.trial.values for one in tried]
    found: list[dict[str, float]] = []
    for point in points:
        values = named(space, _settled(point, places[0]))
        if values not in known and values not in found:
            found.append(values)
    return found


def _settled(point: Sequence[float], present: Sequence[float]) -> list[float]:
    """Without changes too small to matter: a person has to read them."""
    return [was if abs(place - was) < _SMALL else place for place, was in zip(point, present, strict=True)]


def gain_before(one: Tried, stage: int) -> float:
    """On the folds before ``stage`` that were played."""
    return score.gain(one.parts(_played(one, stage)))


def _played(one: Tried, stage: int) -> range:
    return range(min(stage, len(one.trial.folds)))


def _effects(space: Sequence[Parameter], tried: Sequence[Tried], stage: int) -> list[float]:
    return [
        max((abs(gain_before(one, stage)) for one in tried if list(one.trial.values) == [parameter.path]), default=0.0)
        for parameter in space
    ]


# ---- choosing -------------------------------------------------------------------------------------------------------


def choose(tried: Sequence[Tried], stage: int, seed: int, *, must_have: int) -> Tried:
    """The best on the folds before ``stage`` of what was proposed by then, by what it gains if luck is against it. What
    is in force where nothing is better, or where it would lose a situation of priority 1.

    Args:
        must_have: folds that have been played, so that its score is known where it is tested.
    """
    best, most = tried[0], 0.0
    for one in tried[1:]:
        if one.stage > stage or len(one.trial.folds) < must_have or any(s.lost for s in one.trial.folds[:stage]):
            continue
        # Not the gain less its error: one large gain makes the error large, and is no reason against it.
        sure = float(np.quantile(score.spread(one.parts(range(stage)), seed), _UNLUCKY))
        if sure > most:
            best, most = one, sure
    return best
