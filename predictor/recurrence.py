"""Features of what happened: how often, how lately, why and where events occurred, as known at the end of each step.

Everything is a recursion over steps: ``EventState`` holds a few numbers for each entity and is advanced by one step at
a time, all entities at once. What a backtest computes over years is what a running service computes for its next
step, by the same lines, and nothing later than the step can enter.

Rates are exponentially decayed counts for each step of decayed exposure (events a step). A feature's name tells what it
is, of what, and over how long:

- ``rate:CHANNEL:HALF_LIFE`` of the entity, ``group:…`` the mean over its group;
- ``near:any:HALF_LIFE:DISTANCE`` the mean over the others whose number is at most so far away;
- ``shrunk:any:HALF_LIFE`` the entity's rate drawn towards its group's, ``mixed:any`` the mean over long half-lives;
- ``since:K`` steps since the K-th last step with an event, ``last_repair`` log1p of the minutes that it took.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.history import Entities, Events, Floats, Ints

HALF_LIVES = (1.0, 3.0, 8.0, 20.0, 60.0, 180.0, 600.0)
"""In steps, each about three times the one before: what lies between is a mixture of two."""
DISTANCES = (1, 4, 16)
"""Neighbours on either side by number: the next one, a chassis, a rack."""
_NEAR_LIVES = (1, 3, 5)
_RECENT = 5
_WAVE_SHARE = 0.02
_WAVE_LEAST = 3
"""So many of a group, and this share of it, hit in one step are a wave: a common cause, not the entity's own."""
_FLOOR = 1e-4


_CHANNELS = ("any", "alone", "wave", "downtime")
"""Steps with an event; those outside a wave and those in one; log1p of the minutes that each lasted."""


def event_names(kinds: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:
    """What ``EventState.features`` gives, in its order."""
    lives = [f"{life:g}" for life in HALF_LIVES]
    channels = (*_CHANNELS, *(f"{column}={word}" for column, word in kinds))
    return (
        *(f"rate:{channel}:{life}" for channel in channels for life in lives),
        *(f"group:{channel}:{life}" for channel in _CHANNELS for life in lives),
        *(f"near:any:{lives[life]}:{reach}" for life in _NEAR_LIVES for reach in DISTANCES),
        *(f"shrunk:any:{life}" for life in lives),
        "mixed:any",
        *(f"since:{place + 1}" for place in range(_RECENT)),
        "since:first", "total", "age", "open", "last_repair", "since:group_wave", "group_hit", "group_size",
    )  # fmt: skip


class EventState:
    """Of n entities. Entities that share a clock advance together.

    Args:
        kinds: of each column of words, those that have features of their own.
    """

    def __init__(self, entities: Entities, kinds: Sequence[tuple[str, str]] = ()) -> None:
        n = len(entities)
        self._kinds = tuple(kinds)
        self._groups = entities.groups.codes
        self._members = np.bincount(self._groups, minlength=len(entities.groups.names)).astype(np.float64)
        self._line = _Line(entities)
        self._keep = 0.5 ** (1 / np.array(HALF_LIVES))
        self._sums = np.zeros((len(_CHANNELS) + len(self._kinds), len(HALF_LIVES), n))
        self._exposed = np.zeros((len(HALF_LIVES), 1))
        self._total = np.zeros(n)
        self._last = np.full((_RECENT, n), np.nan)
        self._first = np.full(n, np.nan)
        self._open = np.zeros(n)
        self._repair = np.full(n, np.nan)
        self._wave = np.full(len(self._members), np.nan)
        self._hit = np.zeros(len(self._members))
        self.step = -1

    def advance(self, happened: Ints, settled: Ints, words: Sequence[Ints], minutes: Floats) -> None:
        """One step on.

        Args:
            happened: the entity of each event of this step.
            settled: the entity of each event of which this step tells the rest. words: for each of ``kinds`` the places
            in ``settled`` that have it. minutes: how long each of them lasted, NaN where not told.
        """
        self.step += 1
        n = len(self._total)
        count = np.bincount(happened, minlength=n).astype(np.float64)
        hit = count > 0
        hit_in_group = np.bincount(self._groups, hit, len(self._members))
        waves = (hit_in_group >= _WAVE_LEAST) & (hit_in_group >= _WAVE_SHARE * self._members)
        self._wave[waves] = self.step
        self._hit = hit_in_group / self._members
        in_wave = hit & waves[self._groups]
        self._sums *= self._keep[None, :, None]
        self._exposed = self._exposed * self._keep[:, None] + 1
        self._sums[0] += hit
        self._sums[1] += hit & ~in_wave
        self._sums[2] += in_wave
        known = np.isfinite(minutes)
        self._sums[3] += np.bincount(settled[known], np.log1p(np.maximum(minutes[known], 0)), n)
        for channel, places in enumerate(words, len(_CHANNELS)):
            self._sums[channel] += np.bincount(settled[places], minlength=n)
        self._repair[settled[known]] = np.log1p(np.maximum(minutes[known], 0))
        self._total += count
        self._open += count - np.bincount(settled, minlength=n)
        self._first[hit & np.isnan(self._first)] = self.step
        self._last[1:, hit] = self._last[:-1, hit]
        self._last[0, hit] = self.step

    def features(self, rows: Ints) -> NDArray[np.float32]:
        """Of the entities ``rows``: shape (rows, event_names)."""
        groups = self._groups[rows]
        own = self._sums / self._exposed
        flat = own.reshape(-1, len(self._total))
        shared = own[: len(_CHANNELS)].reshape(-1, len(self._total))
        group = np.stack([np.bincount(self._groups, line, len(self._members)) / self._members for line in shared])
        near = [self._line.near(own[0, life], reach) for life in _NEAR_LIVES for reach in DISTANCES]
        prior = group[: len(HALF_LIVES)][:, self._groups]
        shrunk = (self._sums[0] + prior * _PRIOR_STEPS) / (self._exposed + _PRIOR_STEPS)
        one = np.ones(len(rows))
        found = [
            *flat[:, rows],
            *group[:, groups],
            *(each[rows] for each in near),
            *shrunk[:, rows],
            shrunk[_MIXED, :][:, rows].mean(axis=0),
            *(self.step - self._last[:, rows]),
            self.step - self._first[rows],
            self._total[rows],
            one * (self.step + 1),
            self._open[rows],
            self._repair[rows],
            self.step - self._wave[groups],
            self._hit[groups],
            self._members[groups],
        ]
        return np.column_stack(found).astype(np.float32)


_MIXED = slice(3, None)
"""The half-lives from 20 steps on, whose mean is the plainest forecast that there is."""
_PRIOR_STEPS = 20.0
"""The group's rate counts like so many steps of an entity's own."""


class _Line:
    """Entities of one group side by side, by their number."""

    def __init__(self, entities: Entities) -> None:
        self._order = np.lexsort((entities.order, entities.groups.codes))
        groups = entities.groups.codes[self._order]
        self._begin = np.searchsorted(groups, groups, side="left")
        self._end = np.searchsorted(groups, groups, side="right")
        self._place = np.arange(len(groups))

    def near(self, values: Floats, reach: int) -> Floats:
        """The mean over the others at most ``reach`` places away; NaN where there is none."""
        sums = np.concatenate([[0.0], np.cumsum(values[self._order])])
        low = np.maximum(self._place - reach, self._begin)
        high = np.minimum(self._place + reach + 1, self._end)
        others = high - low - 1
        total = sums[high] - sums[low] - values[self._order]
        found = np.empty(len(values))
        found[self._order] = np.where(others > 0, total / np.maximum(others, 1), np.nan)
        return found


def event_features(
    entities: Entities,
    events: Events,
    entity: Ints,
    step: Ints,
    kinds: Sequence[tuple[str, str]],
    out: NDArray[np.float32],
) -> None:
    """Of the asked (entity, step), in their order, into ``out``."""
    state = EventState(entities, kinds)
    settling = np.argsort(events.known, kind="stable")
    known = events.known[settling]
    minutes = next(iter(events.numbers.values()), np.full(len(known), np.nan))
    words = [events.kinds[column].codes == events.kinds[column].place(word) for column, word in kinds]
    for now, rows in by_step(step):
        while state.step < now:
            first, last = np.searchsorted(events.step, (state.step + 1, state.step + 2))
            begin, end = np.searchsorted(known, (state.step + 1, state.step + 2))
            settled = settling[begin:end]
            state.advance(
                events.entity[first:last],
                events.entity[settled],
                [np.flatnonzero(one[settled]) for one in words],
                minutes[settled],
            )
        out[rows] = state.features(entity[rows])


def by_step(step: Ints) -> Iterator[tuple[int, Ints]]:
    """Each step that is asked for, in order, with the places of its rows."""
    if not len(step):
        return
    order = np.argsort(step, kind="stable")
    steps, begins = np.unique(step[order], return_index=True)
    yield from zip(steps.tolist(), np.split(order, begins[1:]), strict=True)
