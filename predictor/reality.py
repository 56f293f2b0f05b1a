"""What Foreshock itself has seen, laid out as the history that a model is fitted on and asked about."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from foreshock.core.learned import Facts, Happening, Incident
from foreshock.core.severity import Severity
from predictor.history import Entities, Events, History, Incidents, Ints, merged, words

Steps = Callable[[Sequence[float]], Ints]
"""The step of each moment."""


class Seen(Struct, frozen=True, kw_only=True):
    """Everything up to a moment. Times in seconds since 1970.

    Attributes:
        since, until: of what was watched; a step that is not over by ``until`` is not looked at.
        cis: those of the topology, by id; a CI that only alerts name has no facts.
    """

    since: float
    until: float
    cis: Mapping[str, Facts]
    happenings: Sequence[Happening]
    incidents: Sequence[Incident]


def history(seen: Seen, step_s: float) -> History:
    """In steps of ``step_s`` from ``since``. The outcome of every step that is over may be learned from, and the last
    of them is asked about."""
    last = int((seen.until - seen.since) // step_s) - 1
    alerted = {each.ci for each in seen.happenings} | {each.ci for each in seen.incidents}
    known = entities({**dict.fromkeys(alerted, Facts()), **seen.cis}, seen.since / step_s, last)
    numbers = {name: number for number, name in enumerate(known.names)}

    def step(seconds: Sequence[float]) -> Ints:
        return np.floor((np.asarray(seconds, np.float64) - seen.since) / step_s).astype(np.int64)

    return History(known, _events(seen, numbers, step, last), None, _incidents(seen, numbers, step, last))


def entities(cis: Mapping[str, Facts], begins: float, last: int) -> Entities:
    """In the order of their names, so that those with names alike stand close by. begins: of step 0, in steps since
    1970; last: the last step that is over."""
    names = tuple(sorted(cis))
    facts, n = [cis[name] for name in names], len(names)
    return Entities(
        names=names,
        groups=words([each.kind for each in facts]),
        clocks=np.zeros(n, np.int64),
        order=np.arange(n, dtype=np.float64),
        numbers={
            name: np.array([getattr(each, name) for each in facts], np.float64)
            for name in ("criticality", "needs", "needed_by")
        },
        kinds={name: words([getattr(each, name) for each in facts]) for name in ("kind", "environment")},
        cutoff=np.full(n, last),
        first=np.zeros(n, np.int64),
        last=np.full(n, last),
        asked_first=np.full(n, last),
        asked_last=np.full(n, last),
        begins=np.full(n, begins),
    )


def _events(seen: Seen, numbers: Mapping[str, int], step: Steps, last: int) -> Events:
    """How long it took is known once it is over."""
    at = step([each.at for each in seen.happenings])
    over = step([seen.until if each.until is None else each.until for each in seen.happenings])
    keep = np.flatnonzero((at >= 0) & (at <= last))
    keep = keep[np.argsort(at[keep], kind="stable")]
    chosen = [seen.happenings[place] for place in keep.tolist()]
    return Events(
        entity=np.array([numbers[each.ci] for each in chosen], np.int64),
        step=at[keep],
        known=np.maximum(over[keep], at[keep]),
        numbers={
            "minutes": np.array(
                [np.nan if each.until is None else max(0.0, each.until - each.at) / 60 for each in chosen], np.float64
            ),
        },
        kinds={
            "name": words([each.name for each in chosen]),
            "severity": words([Severity(each.severity).word for each in chosen]),
        },
    )


def _incidents(seen: Seen, numbers: Mapping[str, int], step: Steps, last: int) -> Incidents:
    start = step([each.onset for each in seen.incidents])
    end = step([seen.until if each.until is None else max(each.until, each.onset) for each in seen.incidents])
    keep = (end >= 0) & (start <= last)
    entity = np.array([numbers[each.ci] for each in seen.incidents], np.int64)
    return merged(entity[keep], start[keep], end[keep], gap=0)
