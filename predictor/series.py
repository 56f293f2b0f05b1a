"""Features of what was measured: level, change, pace and age of change of each column, as known at each step.

As with events everything is a recursion over steps: ``FrameState`` is advanced by the rows of one step. A feature's
name tells what it is, of what, and over how long:

- ``level:COLUMN`` as measured, log1p of its size with its sign; ``rise:COLUMN:STEPS`` how much that grew;
- ``pace:COLUMN:HALF_LIFE`` its growth a step, exponentially decayed; ``stirred:…`` in which share of steps it changed;
- ``since_change:COLUMN`` and ``since_first:COLUMN`` steps since it last changed, and since it first was above zero;
- ``rising:STEPS`` how many columns grew, ``above_zero`` how many are, ``missing`` how many were not measured.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.history import Entities, Frame, Ints
from predictor.recurrence import by_step

LAGS = (1, 2, 4, 8, 12, 26)
HALF_LIVES = (2.0, 8.0, 26.0)
_DEPTH = max(LAGS) + 1


def frame_names(columns: Sequence[str]) -> tuple[str, ...]:
    """What ``FrameState.features`` gives, in its order."""
    return (
        *(f"level:{column}" for column in columns),
        *(f"rise:{column}:{lag}" for lag in LAGS for column in columns),
        *(f"pace:{column}:{life:g}" for life in HALF_LIVES for column in columns),
        *(f"stirred:{column}:{life:g}" for life in HALF_LIVES for column in columns),
        *(f"since_change:{column}" for column in columns),
        *(f"since_first:{column}" for column in columns),
        *(f"rising:{lag}" for lag in LAGS),
        "above_zero", "missing", "age", "watched",
    )  # fmt: skip


class FrameState:
    """Of n entities and c columns."""

    def __init__(self, n: int, c: int) -> None:
        self._keep = (0.5 ** (1 / np.array(HALF_LIVES))).astype(np.float32)[:, None, None]
        self._past = np.full((_DEPTH, n, c), np.nan, np.float32)
        self._raw = np.full((n, c), np.nan, np.float32)
        self._pace = np.zeros((len(HALF_LIVES), n, c), np.float32)
        self._stirred = np.zeros((len(HALF_LIVES), n, c), np.float32)
        self._exposed = np.zeros((len(HALF_LIVES), n, 1), np.float32)
        self._changed = np.full((n, c), np.nan, np.float32)
        self._first = np.full((n, c), np.nan, np.float32)
        self._begun = np.full(n, np.nan, np.float32)

    def advance(self, step: int, rows: Ints, values: NDArray[np.float32]) -> None:
        """What was measured in ``step``: of each of ``rows`` a row of ``values``."""
        level = np.copysign(np.log1p(np.abs(values)), values)
        previous, raw = self._past[(step - 1) % _DEPTH, rows], self._raw[rows]
        growth = np.nan_to_num(level - previous)
        changed = np.isfinite(raw) & np.isfinite(values) & (values != raw)
        self._pace[:, rows] = self._pace[:, rows] * self._keep + np.maximum(growth, 0)
        self._stirred[:, rows] = self._stirred[:, rows] * self._keep + changed
        self._exposed[:, rows] = self._exposed[:, rows] * self._keep + 1
        self._changed[rows] = np.where(changed, step, self._changed[rows])
        first = np.isnan(self._first[rows]) & (values > 0)
        self._first[rows] = np.where(first, step, self._first[rows])
        self._begun[rows] = np.where(np.isnan(self._begun[rows]), step, self._begun[rows])
        self._raw[rows] = np.where(np.isfinite(values), values, raw)
        self._past[step % _DEPTH] = np.nan  # whoever was not measured has no value at this step
        self._past[step % _DEPTH, rows] = level

    def features(self, step: int, rows: Ints) -> NDArray[np.float32]:
        """Of the entities ``rows`` at ``step``, after it was advanced: shape (rows, frame_names)."""
        level = self._past[step % _DEPTH, rows]
        rises = [level - self._past[(step - lag) % _DEPTH, rows] for lag in LAGS]
        exposed = np.maximum(self._exposed[:, rows], np.float32(1e-6))
        found = [
            level,
            *rises,
            *(self._pace[:, rows] / exposed),
            *(self._stirred[:, rows] / exposed),
            step - self._changed[rows],
            step - self._first[rows],
            *((rise > 0).sum(axis=1, keepdims=True) for rise in rises),
            (level > 0).sum(axis=1, keepdims=True),
            np.isnan(level).sum(axis=1, keepdims=True),
            np.full((len(rows), 1), step),
            (step - self._begun[rows])[:, None],
        ]
        return np.concatenate(found, axis=1, dtype=np.float32, casting="unsafe")


def frame_features(entities: Entities, frame: Frame, entity: Ints, step: Ints, out: NDArray[np.float32]) -> None:
    """Of the asked (entity, step), in their order, into ``out``."""
    state = FrameState(len(entities), len(frame.columns))
    now = int(frame.step[0]) - 1 if len(frame.step) else 0
    for wanted, rows in by_step(step):
        while now < wanted:
            now += 1
            first, last = np.searchsorted(frame.step, (now, now + 1))
            state.advance(now, frame.entity[first:last], frame.values[first:last])
        out[rows] = state.features(wanted, entity[rows])
