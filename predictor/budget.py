"""From scores to alarms: the threshold at which false alarms stay within what people accept."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import Floats, Ints
from predictor.outcomes import Outcomes

_THRESHOLDS = 120


class Counted(Struct, frozen=True):
    """What alarms above a threshold come to. weeks: of entities outside incidents and what precedes them."""

    threshold: float
    alarms: int
    false_alarms: int
    foreseen: int
    incidents: int
    weeks: float

    @property
    def false_a_week(self) -> float:
        """For each entity."""
        return self.false_alarms / self.weeks if self.weeks else 0.0

    @property
    def recall(self) -> float:
        return self.foreseen / self.incidents if self.incidents else 0.0


class Watch(Struct, frozen=True):
    """Rows in the order of (entity, step) whose outcome is known, and the question that was put."""

    entity: Ints
    step: Ints
    found: Outcomes
    lead: int
    horizon: int
    steps_a_week: float

    def count(self, score: Floats, threshold: float) -> Counted:
        """An open alarm suppresses others for the horizon, or until the incident it foresaw is over."""
        began = self.found.ahead(self.step, self.lead, self.horizon)
        alone = ~self.found.inside
        candidates = np.flatnonzero((score >= threshold) & alone)
        alarms = candidates[self._opened(candidates)]
        incident = self.entity * np.int64(2**41) + self.found.onset
        false = alone & ~began & ~self.found.too_soon(self.step, self.lead)
        return Counted(
            threshold=threshold,
            alarms=len(alarms),
            false_alarms=int(false[alarms].sum()),
            foreseen=len(np.unique(incident[alarms][began[alarms]])),
            incidents=len(np.unique(incident[began])),
            weeks=float(false.sum()) / self.steps_a_week,
        )

    def _opened(self, candidates: Ints) -> NDArray[np.bool_]:
        entities, steps = self.entity[candidates].tolist(), self.step[candidates].tolist()
        onsets, overs = self.found.onset[candidates].tolist(), self.found.over[candidates].tolist()
        opened = np.zeros(len(candidates), np.bool_)
        last, free = -1, 0
        for place, (entity, step, onset, over) in enumerate(zip(entities, steps, onsets, overs, strict=True)):
            if entity == last and step < free:
                continue
            opened[place] = True
            last, free = entity, step + self.horizon
            if onset <= step + self.horizon:
                free = max(min(free, over + 1), step + 1)
        return opened

    def within(self, score: Floats, budgets: Sequence[float]) -> list[Counted]:
        """For each budget the lowest threshold with at most so many false alarms for each entity and week."""
        ordered = np.sort(score[~self.found.inside])[::-1]
        if not len(ordered):
            return [Counted(np.inf, 0, 0, 0, 0, 0.0) for _ in budgets]
        ranks = np.unique(np.geomspace(1, len(ordered), _THRESHOLDS).astype(np.int64) - 1)
        thresholds = np.unique(ordered[ranks])[::-1].tolist()
        nothing = self.count(score, np.inf)
        best, most = [nothing] * len(budgets), max(budgets)
        for threshold in thresholds:
            counted = self.count(score, threshold)
            for place, budget in enumerate(budgets):
                if counted.false_a_week <= budget:
                    best[place] = counted
            if counted.false_a_week > _ENOUGH * most:
                break
        return best


_ENOUGH = 1.5
