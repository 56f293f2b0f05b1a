"""What the topology hardly knows belongs to the situation that grows at the very moment at which it begins.

No topology is complete: some hosts stand in it alone, some names it does not know. When such a thing is in trouble,
time is the only evidence there is, and it is weighed against chance. Of the alerts of a problem a few (``unknown``) lie
where the topology knows no way to the others; and problems of their own begin at such a moment, too:

    strength = unknown x n / (unknown x m + c)

``n`` alerts of the situation and ``m`` of all situations began within a second or two of this one; ``c`` is the number
of situations per moment at which anything began lately. So where much goes on at once, or where all sources report by
the minute, the rule says little; and it says nothing of a CI with relationships, but those to a hub (a core switch).
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial

from pydantic import Field

from correlation.budget import PAIR
from correlation.relate import Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Link
from foreshock.core.quantities import Duration, parse_duration

_MAX_ALERTS = 1000  # that began at one moment: more, and the moment tells nothing


class SimultaneityConfig(RuleConfig):
    unknown: float = Field(
        default=0.02,
        gt=0,
        le=1,
        description="share of a problem's alerts that lie where the topology knows no way to the others",
    )
    window: Duration = Field(
        default=parse_duration("10m"),
        ge=timedelta(minutes=1),
        le=timedelta(hours=1),
        description="over this time it is counted in how many situations something begins, and at how many moments",
    )


class _Moments:
    """Alerts of open situations that began lately, by second; an index (``correlation.rule.Index``).

    Every new alert passes here and few ask, so it is two entries in dictionaries for each. What a question gets to see
    follows from the alerts alone, not from the order in which they came.
    """

    def __init__(self, kept_s: int) -> None:
        self.by_second: dict[int, dict[str, str]] = {}  # situations by fingerprint
        self.alerts_in: Counter[str] = Counter()
        self._began: dict[str, int] = {}
        self._seconds: list[int] = []  # a heap
        self._kept_s, self._newest = kept_s, 0

    def add(self, situation: str, alert: Alert) -> None:
        second, fingerprint = _second(alert), alert.fingerprint
        self._take_out(fingerprint)
        if second < self._newest - self._kept_s:
            return
        there = self.by_second.get(second)
        if there is None:
            there = self.by_second[second] = {}
            heapq.heappush(self._seconds, second)
            if second > self._newest:  # no question can be about an earlier time than this
                self._newest = second
                self.forget_before(second)
        there[fingerprint] = situation
        self._began[fingerprint] = second
        self.alerts_in[situation] += 1

    def moved(self, situation: str, alert: Alert) -> None:
        if self._began.get(alert.fingerprint) != _second(alert):
            self.add(situation, alert)

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            second = self._began.get(alert.fingerprint)
            if second is not None and self.by_second[second][alert.fingerprint] == situation:
                self._take_out(alert.fingerprint)

    def forget_before(self, now_s: int) -> None:
        """What began too long before ``now_s``."""
        while self._seconds and self._seconds[0] < now_s - self._kept_s:
            for fingerprint in tuple(self.by_second.get(heapq.heappop(self._seconds), ())):
                self._take_out(fingerprint)

    def _take_out(self, fingerprint: str) -> None:
        second = self._began.pop(fingerprint, None)
        if second is None:
            return
        there = self.by_second[second]
        situation = there.pop(fingerprint)
        if not there:
            del self.by_second[second]
        self.alerts_in[situation] -= 1
        if not self.alerts_in[situation]:
            del self.alerts_in[situation]


def _second(alert: Alert) -> int:
    return int(alert.starts_at.timestamp() // 1)


def _build(tag: str, config: SimultaneityConfig) -> Rule:
    moments = _Moments(int(config.window.total_seconds()))
    return Rule(tag=tag, relate=partial(_relate, tag, config, moments), describe=_describe, index=moments)


def _relate(tag: str, config: SimultaneityConfig, moments: _Moments, alert: Alert, view: View) -> list[Candidate]:
    if not _stands_alone(alert, view):
        return []
    moments.forget_before(int(view.now.timestamp() // 1))
    second = _second(alert)
    rows = [moments.by_second.get(near, _NOBODY) for near in (second - 1, second, second + 1)]
    of_all = sum(map(len, rows))
    if of_all > _MAX_ALERTS:
        return []
    view.spend(tag, PAIR * of_all)
    began = Counter(situation for row in rows for situation in row.values())
    chance = (len(moments.alerts_in) + 1) / (len(moments.by_second) + 1)
    candidates = []
    for situation, alerts in began.items():
        strength = config.unknown * alerts / (config.unknown * of_all + chance)
        if strength >= view.threshold:
            other = _nearest(alert, [key for row in rows for key in row if row[key] == situation], view)
            candidates.append(Candidate(situation, other, strength, "", tag, evidence=f"{alerts} of {of_all}"))
    return candidates


_NOBODY: Mapping[str, str] = {}


def _nearest(alert: Alert, fingerprints: Iterable[str], view: View) -> str:
    return min((abs(view.alerts[each].starts_at - alert.starts_at), each) for each in fingerprints)[1]


def _stands_alone(alert: Alert, view: View) -> bool:
    """Whether the topology says no more of its CIs than which hub each stands behind, if that."""
    for ci in (alert.ci, *alert.peers):
        near = view.surroundings(ci).cis if ci else ()
        if len(near) > 2 or any(there != ci and not _is_hub(there, view) for there in near):
            return False
    return True


def _is_hub(ci: str, view: View) -> bool:
    """Whether ``ci``, in surroundings of two, has more neighbours: so many that none of them is near."""
    topology = view.topology
    return len({*topology.steps_up(ci), *topology.steps_down(ci)}) > 1


def _describe(link: Link) -> str:
    return (
        f"{link.evidence} alerts that began at that moment are there, and the topology hardly knows it, {apart(link)}"
    )


RULE = RuleKind(
    kind="simultaneity",
    version=1,
    title="What the topology hardly knows belongs where much begins at the same moment",
    config=SimultaneityConfig,
    build=_build,
)
