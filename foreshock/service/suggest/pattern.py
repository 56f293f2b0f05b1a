"""What two alerts have in common: found in examples, counted in a history, written down as an attribute rule."""

import json
import math
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from foreshock.service.suggest.recall import Episode, Recalled, Who

_MAX_NEAR = 50
"""Onsets that one is compared with, the latest of those with an equal label."""
_SLUG = re.compile(r"[^a-z0-9]+")
_NICE_S = (10, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_DEFINE_NOTHING = frozenset({"alertname", "severity", "priority", "state", "status"})
"""Labels that say what an alert is like, and not what it is about."""


class Pattern(Struct, frozen=True, order=True):
    """names: what the two alerts say, sorted; empty: anything. label: has equal values; empty: none has to."""

    names: tuple[str, ...]
    label: str

    def fits(self, one: Who, other: Who) -> bool:
        if self.names and tuple(sorted((one.name, other.name))) != self.names:
            return False
        value = one.labels.get(self.label)
        return not self.label or (value is not None and value == other.labels.get(self.label))

    def __str__(self) -> str:
        who = " and ".join(dict.fromkeys(self.names)) or "alerts"
        return f"{who} with an equal {self.label}" if self.label else who

    def rule(self, window_s: float, strength: float) -> dict[str, Any]:
        """As an entry of a rules file."""
        said = "-".join((*dict.fromkeys(self.names), self.label))
        rule: dict[str, Any] = {
            "name": f"suggested-{_SLUG.sub('-', said.lower()).strip('-')[:44]}",
            "kind": "attribute",
        }
        if self.label:
            rule["equal"] = [self.label]
        if self.names:
            rule["when"] = self._condition()
        rule["window"] = duration(nice(window_s))
        rule["strength"] = math.floor(strength * 100) / 100
        return rule

    def _condition(self) -> str:
        one, other = (json.dumps(name, ensure_ascii=False) for name in self.names)
        a, b = 'a.labels["alertname"]', 'b.labels["alertname"]'
        way = f"{a} == {one} && {b} == {other}"
        return way if one == other else f"({way}) || ({a} == {other} && {b} == {one})"


def patterns(one: Who, other: Who, past: "Labels") -> Iterator[Pattern]:
    """All that fit two alerts."""
    if "alertname" not in one.labels or "alertname" not in other.labels:
        return  # what they say is in no label that a rule could name
    names = tuple(sorted((one.name, other.name)))
    yield Pattern(names, "")
    for label in past.telling:
        if one.labels.get(label) and one.labels.get(label) == other.labels.get(label):
            yield Pattern(names, label)
            yield Pattern((), label)


class Labels:
    """Which labels tell something. values: how many each has. telling: those that have several, and do not say what the
    alert is like; the more values, the more it tells that they are equal."""

    def __init__(self, past: Recalled) -> None:
        values: defaultdict[str, set[str]] = defaultdict(set)
        for episode in past.episodes:
            for label, value in episode.who.labels.items():
                values[label].add(value)
        self.values = {label: len(found) for label, found in values.items()}
        told = (label for label, count in self.values.items() if label not in _DEFINE_NOTHING and count > 1)
        self.telling: Sequence[str] = sorted(told, key=lambda label: (-self.values[label], label))


def met(episodes: Iterable[Episode], pattern: Pattern, window_s: float) -> Iterator[tuple[Episode, Episode]]:
    """Pairs of different alerts that fit and began within the window, the earlier first."""
    near: defaultdict[str, deque[Episode]] = defaultdict(lambda: deque(maxlen=_MAX_NEAR))
    for episode in episodes:
        who = episode.who
        if pattern.names and who.name not in pattern.names:
            continue
        value = who.labels.get(pattern.label, "") if pattern.label else ""
        if pattern.label and not value:
            continue
        queue = near[value]
        while queue and episode.at_s - queue[0].at_s > window_s:
            queue.popleft()
        for earlier in queue:
            if earlier.who is not who and pattern.fits(earlier.who, who):
                yield earlier, episode
        queue.append(episode)


def nice(seconds: float) -> int:
    """A round time that is no shorter, of at most a day."""
    return next((one for one in _NICE_S if one >= seconds), _NICE_S[-1])


def duration(seconds: float) -> str:
    """As settings write it."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
