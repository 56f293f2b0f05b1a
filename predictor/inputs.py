"""The columns a model sees of a history, in their order."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import Entities, History, Ints
from predictor.recurrence import event_features, event_names
from predictor.series import frame_features, frame_names

_MAX_KINDS = 12


class Inputs(Struct, frozen=True):
    """Which words of a history have columns of their own: chosen once, before anything is fitted.

    Attributes:
        entity_kinds, event_kinds: (column, word).
    """

    entity_kinds: tuple[tuple[str, str], ...]
    event_kinds: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, history: History) -> "Inputs":
        """The words most often met among what may be learned from."""
        entities, events = history.entities, history.events
        open_to = entities.cutoff >= entities.first
        mine = [
            (column, word)
            for column, words in entities.kinds.items()
            for word in _frequent(words.names, words.codes[open_to])
        ]
        told = []
        if events is not None:
            early = events.known <= entities.cutoff[events.entity]
            told = [
                (column, word)
                for column, words in events.kinds.items()
                for word in _frequent(words.names, words.codes[early])
            ]
        return cls(tuple(mine), tuple(told))

    def names(self, history: History) -> tuple[str, ...]:
        return (
            *(event_names(self.event_kinds) if history.events is not None else ()),
            *(frame_names(history.frame.columns) if history.frame is not None else ()),
            *(f"{column}={word}" for column, word in self.entity_kinds),
            *history.entities.numbers,
        )

    def features(self, history: History, entity: Ints, step: Ints) -> NDArray[np.float32]:
        """Of the asked (entity, step), in their order: shape (rows, names)."""
        found = np.empty((len(entity), len(self.names(history))), np.float32)
        end = 0
        if history.events is not None:
            width = len(event_names(self.event_kinds))
            event_features(history.entities, history.events, entity, step, self.event_kinds, found[:, :width])
            end = width
        if history.frame is not None:
            width = len(frame_names(history.frame.columns))
            frame_features(history.entities, history.frame, entity, step, found[:, end : end + width])
            end += width
        for place, column in enumerate(self.fixed(history.entities), end):
            found[:, place] = column[entity]
        return found

    def fixed(self, entities: Entities) -> Sequence[NDArray[np.float64]]:
        """The last columns, which never change, each of all entities."""
        kinds = [
            (entities.kinds[column].codes == entities.kinds[column].place(word)).astype(np.float64)
            for column, word in self.entity_kinds
        ]
        return [*kinds, *entities.numbers.values()]


def _frequent(names: Sequence[str], codes: Ints) -> list[str]:
    count = np.bincount(codes[codes >= 0], minlength=len(names))
    order = np.argsort(-count, kind="stable")[:_MAX_KINDS]
    return sorted(names[place] for place in order.tolist() if count[place])
