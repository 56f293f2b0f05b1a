"""History in time: folds one after the other, and at the end a part that is held out.

What is learned on some folds is scored on a later one, never the other way round. Between two of them a gap is left
out, so that no alert of the one can still have joined a situation of the other; an incident that reaches over a gap all
the same counts on neither side.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from foreshock.core.errors import Malformed

LEAST = 2
"""Incidents that a fold must have: with fewer, its score is that of one coincidence."""


class Fold(Struct, frozen=True):
    """What came from ``begin`` on and before ``end``, seconds since 1970; how it was grouped is asked at ``until``,
    where the next fold begins."""

    begin: float
    end: float
    until: float


class Incident(Struct, frozen=True):
    """When the first and the last item came of which is known that they belong together."""

    first: float
    last: float


def cut(incidents: Iterable[Incident], count: int, held_out: float, gap_s: float, last_s: float) -> tuple[Fold, ...]:
    """``count`` folds with about as many incidents each, and behind them the part that is held out.

    Args:
        held_out: share of the incidents in that part. gap_s: left out before each boundary. last_s: the end of history.
    Raises: Malformed where a fold would have too few incidents.
    """
    ordered = sorted(incidents, key=lambda one: (one.first, one.last))
    learned = round(len(ordered) * (1 - held_out))
    if learned < LEAST * count or len(ordered) - learned < LEAST:
        raise Malformed(
            f"too few incidents are known, {len(ordered)}, for {count} folds and a part that is held out",
            hint=f"give more history or fewer --folds; each needs {LEAST} at least, of several alerts",
        )
    begins = [-float("inf"), *(ordered[learned * fold // count].first for fold in range(1, count))]
    begins.append(ordered[learned].first)
    ends = [*(begin - gap_s for begin in begins[1:]), float("inf")]
    folds = tuple(
        Fold(begin, end, until) for begin, end, until in zip(begins, ends, (*begins[1:], last_s), strict=True)
    )
    _check(folds, ordered, gap_s)
    return folds


def _check(folds: Sequence[Fold], incidents: Iterable[Incident], gap_s: float) -> None:
    counts = [0] * len(folds)
    for incident in incidents:
        fold = fold_of(incident, folds)
        if fold is not None:
            counts[fold] += 1
    for fold, count in enumerate(counts):
        if count < LEAST:
            raise Malformed(
                f"{'the part that is held out' if fold == len(folds) - 1 else f'fold {fold + 1}'} keeps too few "
                f"incidents, {count}, beside gaps of {gap_s:.0f} s",
                hint="give more history, fewer --folds or a shorter --gap",
            )


def fold_at(at: float, folds: Sequence[Fold]) -> int | None:
    """The fold that this moment lies in; None: in a gap."""
    fold = bisect_right(folds, at, key=lambda one: one.begin) - 1
    return fold if at < folds[fold].end else None


def fold_of(incident: Incident, folds: Sequence[Fold]) -> int | None:
    """The only fold that has some of it; None where that is none, or several."""
    fold, last = fold_at(incident.first, folds), fold_at(incident.last, folds)
    if fold is None:  # it begins in a gap: what lies behind it may count no more
        return None
    before = bisect_right(folds, incident.last, key=lambda one: one.begin) - 1
    return fold if last == fold or (last is None and before == fold) else None


def spans(items: Iterable[tuple[str, float]]) -> dict[str, Incident]:
    """From when to when each incident lasted, by its name; items: (incident, moment)."""
    found: dict[str, tuple[float, float]] = {}
    for incident, at in items:
        first, last = found.get(incident, (at, at))
        found[incident] = (min(first, at), max(last, at))
    return {incident: Incident(*span) for incident, span in found.items()}


def homes(incidents: Mapping[str, Incident], folds: Sequence[Fold]) -> dict[str, int]:
    """The fold in which each incident counts; those that count nowhere are left out."""
    return {name: fold for name, one in incidents.items() if (fold := fold_of(one, folds)) is not None}
