"""Features of what happened: how often, how lately and where events occurred, as known at the end of each step.

Everything is a recursion over steps: ``EventState`` holds a few numbers for each entity and is advanced one step at a
time, for all entities at once. What a backtest computes for years is what a running service computes for its next
step, by the same lines, and nothing later than the step can enter.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from predictor.history import Entities, Events, Ints

HALF_LIVES = (1.0, 3.0, 7.0, 21.0, 60.0, 180.0, 720.0)
"""In steps."""
_RECENT = 4


class EventState:
    """Of n entities; ``advance`` takes what happened in the next step."""

    def __init__(self, entities: Entities) -> None:
        n = len(entities)
        self._groups = entities.groups.codes
        self._members = np.bincount(self._groups, minlength=len(entities.groups.names)).astype(np.float64)
        self._keep = 0.5 ** (1 / np.array(HALF_LIVES))
        self._rates = np.zeros((n, len(HALF_LIVES)))
        self._exposed = np.zeros(len(HALF_LIVES))
        self._total = np.zeros(n)
        self._last = np.full((n, _RECENT), np.nan)
        self._step = -1
        self.names = (
            *(f"rate_{half:g}" for half in HALF_LIVES),
            *(f"group_rate_{half:g}" for half in HALF_LIVES),
            "total", "age",
            *(f"since_{place + 1}" for place in range(_RECENT)),
        )  # fmt: skip

    def advance(self, happened: Ints) -> None:
        """``happened``: the entity of each event of this step."""
        self._step += 1
        count = np.bincount(happened, minlength=len(self._total)).astype(np.float64)
        self._rates = self._rates * self._keep + count[:, None]
        self._exposed = self._exposed * self._keep + 1
        self._total += count
        hit = count > 0
        self._last[hit, 1:] = self._last[hit, :-1]
        self._last[hit, 0] = self._step

    def features(self, rows: Ints) -> NDArray[np.float64]:
        """Of the entities ``rows``, in the order of ``names``."""
        own = self._rates / self._exposed
        group = np.stack(
            [np.bincount(self._groups, column, len(self._members)) / self._members for column in own.T], axis=1
        )
        age = np.full(len(rows), self._step + 1.0)
        return np.column_stack(
            [own[rows], group[self._groups[rows]], self._total[rows], age, self._step - self._last[rows]]
        )


def event_features(
    entities: Entities, events: Events, entity: Ints, step: Ints
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Of the asked (entity, step), in their order."""
    state = EventState(entities)
    values = np.empty((len(entity), len(state.names)), np.float32)
    for now, rows in _by_step(step):
        while state._step < now:
            first, last = np.searchsorted(events.step, (state._step + 1, state._step + 2))
            state.advance(events.entity[first:last])
        values[rows] = state.features(entity[rows])
    return state.names, values


def _by_step(step: Ints) -> Iterator[tuple[int, Ints]]:
    """Each step that is asked for, in order, with the places of its rows."""
    order = np.argsort(step, kind="stable")
    steps, begins = np.unique(step[order], return_index=True)
    yield from zip(steps.tolist(), np.split(order, begins[1:]), strict=True)
