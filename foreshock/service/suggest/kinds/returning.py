"""Alerts that come back again and again, too slowly to count as flapping: longer times until it is over for good."""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from foreshock.core.quantities import format_duration
from foreshock.service.suggest.pattern import duration, nice
from foreshock.service.suggest.recall import Episode, Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_LEAST = 5
_HALF = 0.5
_MOST = 0.9
_LONGEST_QUIET_S = 900.0
_LONGEST_REOPEN_S = 7200.0
"""What comes back later is another problem more often than not, also where one alert says otherwise."""


def _mine(past: Recalled) -> Mined:
    quiet, reopen = past.settings.group.quiet.total_seconds(), past.settings.group.reopen.total_seconds()
    span_s = past.days * 86_400
    found: defaultdict[tuple[str, int], list[tuple[str, int, int, float]]] = defaultdict(list)
    tested = 0
    for episodes in past.by_alert().values():
        gaps = list(_gaps(episodes))
        if len(gaps) < _LEAST:
            continue
        for setting, low, high in (("quiet", quiet, _LONGEST_QUIET_S), ("reopen", quiet + reopen, _LONGEST_REOPEN_S)):
            tested += 1
            inside = sorted(gap for gap in gaps if low < gap <= high)
            if len(inside) >= _LEAST:
                most = inside[math.ceil(len(inside) * _MOST) - 1]
                p = _by_chance(len(inside), len(gaps), low, high, span_s)
                found[setting, nice(most)].append((episodes[0].who.name, len(inside), len(gaps), p))
    return Mined(tuple(_suggested(*key, alerts, past) for key, alerts in found.items()), tested)


def _gaps(episodes: list[Episode]) -> Iterator[float]:
    """Seconds from each end that its source told of to the next onset."""
    for one, other in pairwise(episodes):
        if one.said and one.until_s is not None and other.at_s > one.until_s:
            yield other.at_s - one.until_s


def _by_chance(times: int, gaps: int, low_s: float, high_s: float, span_s: float) -> float:
    """Probability of so many gaps of that length if it came back at random, as often as it did, or if less than half of
    them were: what only sometimes comes back so soon is no reason to wait for it."""
    from predictor.support import more_than

    rate = gaps / span_s
    random = math.exp(-rate * low_s) - math.exp(-rate * high_s)
    return more_than(max(random, _HALF), times, gaps)


def _suggested(setting: str, to_s: int, alerts: list[tuple[str, int, int, float]], past: Recalled) -> Suggestion:
    now = past.settings.group.quiet if setting == "quiet" else past.settings.group.reopen
    times, of = sum(one[1] for one in alerts), sum(one[2] for one in alerts)
    name = max(alerts, key=lambda one: one[1])[0]
    who = name if len(alerts) == 1 else f"{len(alerts)} alerts, most often {name},"
    what = "once its situation was over" if setting == "quiet" else "too late for its ticket to be reopened"
    harm = "; all tickets resolve so much later" if setting == "quiet" else ""
    return suggestion(
        "returning",
        Patch(settings={"group": {setting: duration(to_s)}}),
        title=f"set group.{setting} to {duration(to_s)} (it is {format_duration(now)})",
        seen=f"{who} came back {times} of {of} times {what}, mostly within {duration(to_s)}{harm}",
        times=times,
        of=of,
        p=min(one[3] for one in alerts),
        weight=times,
    )


KIND = SuggestionKind(kind="returning", title="alerts that keep coming back, too slowly to be flapping", mine=_mine)
