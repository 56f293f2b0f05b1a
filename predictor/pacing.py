"""Alarms that keep to a budget while the world changes: the threshold follows the scores.

Which share of rows scores high drifts, and a threshold set once would raise too many alarms in one season and hardly
any in the next. Probabilities say how many of their own alarms are false: the sum of 1 - p. So the threshold
is set anew now and then, such that this sum over the last weeks is what the budget allows. No outcome enters, only
earlier scores.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import Floats, Ints

WINDOW_WEEKS = 13.0
"""Scores so old still count."""
EVERY_WEEKS = 2.0
"""So often the threshold is set anew, and not before so many weeks were seen."""
_HALVINGS = 20
_FACTORS = (0.5, 2.0)


class Pace(Struct, frozen=True, kw_only=True):
    """Attributes:
    budget: false alarms for each entity and week. threshold: where nothing was scored yet.
    factor: how many false alarms came of one that was expected, on later data than the model was fitted on.
    """

    budget: float
    threshold: float
    factor: float
    horizon: int
    steps_a_week: float

    def alarms(self, entity: Ints, step: Ints, time: Ints, score: Floats) -> NDArray[np.bool_]:
        """For rows in the order of (entity, step). time: in steps, comparable between entities."""
        found = np.zeros(len(score), np.bool_)
        if not len(score):
            return found
        window, every = round(WINDOW_WEEKS * self.steps_a_week), max(1, round(EVERY_WEEKS * self.steps_a_week))
        for begin in range(int(time.min()), int(time.max()) + 1, every):
            now = (time >= begin) & (time < begin + every)
            lately = (time >= begin - window) & (time < begin)
            found[now] = score[now] >= self.threshold_after(entity[lately], step[lately], score[lately])
        return found

    def threshold_after(self, entity: Ints, step: Ints, score: Floats) -> float:
        """From what was scored lately, the lowest that keeps to the budget."""
        if not len(score):
            return self.threshold
        allowed = self.budget * float((1 - score).sum()) / self.steps_a_week / self.factor
        ordered = np.unique(score)[::-1]
        low, high = 0, len(ordered)  # the first `low` scores as thresholds keep to it, `high` does not
        for _ in range(_HALVINGS):
            middle = (low + high + 1) // 2
            if middle > len(ordered) or low >= high:
                break
            if expected_false(entity, step, score, float(ordered[middle - 1]), self.horizon) <= allowed:
                low = middle
            else:
                high = middle - 1
        return float(ordered[low - 1]) if low else np.inf


def expected_false(entity: Ints, step: Ints, score: Floats, threshold: float, horizon: int) -> float:
    """Of rows in the order of (entity, step): the sum of 1 - p over alarms, each of which suppresses others for the
    horizon."""
    high = np.flatnonzero(score >= threshold)
    total, last, free = 0.0, -1, 0
    for one, at, p in zip(entity[high].tolist(), step[high].tolist(), score[high].tolist(), strict=True):
        if one == last and at < free:
            continue
        total += 1 - p
        last, free = one, at + horizon
    return total


def factor_of(false_alarms: float, expected: float) -> float:
    """How many came of one that was expected; within bounds, since few of either tell little."""
    return float(np.clip(false_alarms / expected, *_FACTORS)) if expected > 0 else 1.0
