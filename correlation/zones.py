"""Sources of a recorded history that date their rows by the clock of another time zone.

A history often has one date per row and several sources, and one of them wrote local time where the others wrote UTC.
Live, the time of receipt tells; in a history nothing does but the rows themselves: what goes wrong on a CI is seen by
several sources within a minute, so the right shift of a source is the one at which its rows meet those of others.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import timedelta

Rows = Sequence[tuple[str, float]]
"""Of one source: (CI, seconds since 1970)."""

_QUARTER_S = 900
_QUARTERS = range(-14 * 4, 14 * 4 + 1)  # time zones are whole quarters of an hour from UTC, at most 14 hours
_NEAR_S = 60.0  # what most systems take to notice
_LEAST = 20  # rows that must meet others
_CLEAR = 2.0  # times as many as with any other shift, none included: chance makes some meet with each
_MAX_LOOKED_AT = 2000  # rows of a source, spread evenly over its history


def ahead(sources: Mapping[str, Rows]) -> dict[str, timedelta]:
    """By how much the dates of a source run ahead of the others' (behind: negative), where that is beyond doubt.

    The source with the most rows is taken to be right, as nothing can tell which of two clocks is.
    """
    found: dict[str, timedelta] = {}
    placed: dict[str, list[float]] = {}
    for source, rows in sorted(sources.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        shift_s = _QUARTER_S * _quarters(rows, placed) if placed else 0
        if shift_s:
            found[source] = timedelta(seconds=shift_s)
        for ci, at_s in rows:
            placed.setdefault(ci, []).append(at_s - shift_s)
        for times in placed.values():
            times.sort()
    return found


def _quarters(rows: Rows, others: Mapping[str, Sequence[float]]) -> int:
    every = max(1, len(rows) // _MAX_LOOKED_AT)
    looked_at = [(others[ci], at_s) for ci, at_s in rows[::every] if ci in others]
    met = dict.fromkeys(_QUARTERS, 0)
    for times, at_s in looked_at:
        for quarters in _QUARTERS:
            moment = at_s - quarters * _QUARTER_S
            after = bisect_left(times, moment - _NEAR_S)
            met[quarters] += after < len(times) and times[after] <= moment + _NEAR_S
    best, second = sorted(_QUARTERS, key=lambda quarters: (-met[quarters], abs(quarters), quarters))[:2]
    return best if met[best] >= max(_LEAST, _CLEAR * met[second]) else 0
