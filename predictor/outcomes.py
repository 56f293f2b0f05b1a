"""What became of each row: did an incident begin within the horizon?"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import NEVER, Entities, Incidents, Ints

_AXIS = np.int64(2**41)
"""Longer than any history, so that entity and step together are one rising number."""


class Outcomes(Struct, frozen=True):
    """Of each asked (entity, step).

    Attributes:
        onset: the next onset after the step; ``NEVER`` if none is known. over: the last step of that incident.
        inside: the step belongs to an incident.
    """

    onset: Ints
    over: Ints
    inside: NDArray[np.bool_]

    def ahead(self, step: Ints, lead: int, horizon: int) -> NDArray[np.bool_]:
        """An incident begins in step + lead .. step + horizon."""
        return (self.onset >= step + lead) & (self.onset <= step + horizon) & ~self.inside

    def too_soon(self, step: Ints, lead: int) -> NDArray[np.bool_]:
        return self.onset < step + lead


def outcomes(incidents: Incidents, entity: Ints, step: Ints) -> Outcomes:
    """Of rows in any order."""
    starts = incidents.entity * _AXIS + incidents.start
    key = entity * _AXIS + step
    following = np.searchsorted(starts, key, side="right")
    onset, over = np.full(len(entity), NEVER), np.full(len(entity), NEVER)
    inside = np.zeros(len(entity), np.bool_)
    if len(starts):
        place = np.minimum(following, len(starts) - 1)
        mine = (following < len(starts)) & (incidents.entity[place] == entity)
        onset[mine], over[mine] = incidents.start[place[mine]], incidents.end[place[mine]]
        before = np.maximum(following - 1, 0)
        inside = (following > 0) & (incidents.entity[before] == entity) & (incidents.end[before] >= step)
    return Outcomes(onset, over, inside)


def rows_between(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Every step first..last of every entity, as (entity, step) in the order of entities."""
    count = np.maximum(last - first + 1, 0)
    entity = np.repeat(np.arange(len(first)), count)
    begins = np.repeat(np.cumsum(count) - count, count)
    return entity, np.arange(len(entity)) - begins + first[entity]


def learnable(
    entities: Entities, incidents: Incidents, lead: int, horizon: int
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The rows whose outcome may be used to fit, and what became of them: (entity, step, whether one began).

    Left out: steps inside an incident, onsets nearer than the lead, and steps whose horizon ends after what may be
    known. An incident after which an entity was watched no more answers the steps before it all the same.
    """
    entity, step = rows_between(entities.first, entities.cutoff - lead)
    found = outcomes(incidents, entity, step)
    until = entities.cutoff[entity]
    began = found.ahead(step, lead, horizon) & (found.onset <= until)
    whole = step + horizon <= until
    ended = began & (found.onset == entities.last[entity])
    keep = ~found.inside & ~found.too_soon(step, lead) & (whole | ended)
    return entity[keep], step[keep], began[keep]
