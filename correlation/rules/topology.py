"""Failures spread along relationships: an alert joins the situation that is where it is.

Two things are weighed (``correlation.affinity``): whether a failure that is part of the situation explains the alert,
or the other way round, and how much of a random walk from the alert's CIs ends on CIs of the situation. The strongest
explanation counts; what walks find adds up. So an alert joins the situation it has most to do with, not the one that
happens to hold its nearest neighbour, and a switch that stays silent relates nobody.
"""

from functools import partial
from itertools import compress, count
from math import exp

from correlation.affinity import ABOVE, BELOW, NEITHER
from correlation.budget import PAIR
from correlation.relate import LASTING, Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Link

_SMALL = 3  # CIs; a larger situation stands for itself, whatever explains its first alert
_MAX_BELOW = 512


class TopologyConfig(RuleConfig):
    """It has no parameters: how near two CIs are is a setting of all correlation (`correlation.relate`)."""


class _Found:
    """What has been found of one situation so far."""

    __slots__ = (
        "away", "best", "explained", "explains", "fingerprint", "here", "quiet_s", "readiness", "spared", "there",
        "via", "walk",
    )  # fmt: skip

    def __init__(self, readiness: float, quiet_s: float) -> None:
        self.readiness, self.quiet_s = readiness, quiet_s
        self.explained = self.walk = self.best = 0.0
        self.spared = 1.0  # the probability that none of its CIs has its trouble from here
        self.explains = False
        self.away = 0
        self.fingerprint = self.here = self.there = self.via = ""


def _build(tag: str, config: TopologyConfig) -> Rule:
    return Rule(tag=tag, relate=partial(_relate, tag), describe=_describe)


def _relate(tag: str, alert: Alert, view: View) -> list[Candidate]:
    cis = (alert.ci, *alert.peers) if alert.ci else alert.peers
    found: dict[str, _Found] = {}
    for ci in cis:
        _look_around(tag, alert, ci, 1.0 / len(cis), view, found)
    candidates = []
    for situation, what in found.items():
        walk = min(1.0, what.walk)
        strength = 1.0 - min(1.0 - what.explained, what.spared) * (1.0 - walk)
        if what.fingerprint and strength >= view.threshold:
            candidates.append(
                Candidate(
                    situation,
                    what.fingerprint,
                    strength,
                    what.via,
                    tag,
                    explains=what.explains,
                    here=what.here,
                    there=what.there,
                    walk=walk,
                    away=what.away,
                )
            )
    return candidates


def _look_around(tag: str, alert: Alert, ci: str, share: float, view: View, found: dict[str, _Found]) -> None:
    """Weigh every trace in the surroundings of ``ci``. Each of the alert's CIs has its ``share`` of the walks."""
    near, by_ci = view.surroundings(ci), view.traces.by_ci
    onset_s, now_s, window_s = alert.starts_at.timestamp(), view.now.timestamp(), view.window_s
    steps, step, fade_s, delayed = 0, view.settings.step, view.fade_s, view.delayed
    # Nearly all of them have no trace; passing over those costs no step of the interpreter.
    for index in compress(count(), map(by_ci.__contains__, near.cis)):
        there = near.cis[index]
        traces = by_ci[there]
        steps += len(traces)
        explained, walk, way = near.explained[index], near.walk[index] * share, near.way[index]
        half_s = view.half_late_s if way == BELOW else view.half_s
        for situation, trace in traces.items():
            gap_s = abs(onset_s - trace.onset_s)
            if gap_s > window_s:
                continue
            what = found.get(situation)
            if what is None:
                what = found[situation] = _Found(*view.readiness(situation, now_s))
            weight = trace.weight * what.readiness
            walked = explaining = 0.0
            if walk:
                walked = walk * weight * exp(-gap_s / fade_s)
                what.walk += walked
            if way != BELOW and trace.onset_s > trace.first_s:
                gap_s += LASTING * (trace.onset_s - trace.first_s)
            if way != NEITHER:
                explaining = explained * weight * view.nearness(gap_s, what.quiet_s, half_s)
                if delayed and ci != there:
                    late_s = onset_s - trace.onset_s
                    late_s, ends = (late_s, (ci, there)) if way == ABOVE else (-late_s, (there, ci))
                    passed = _passed(late_s, view.passing_s(*ends), situation, half_s, view)
                    explaining = max(explaining, explained * trace.weight * passed)
                if way == BELOW:
                    what.spared *= 1.0 - explaining * explained / step
                if explaining > what.explained:
                    what.explained = explaining
            if (strength := max(explaining, walked)) > what.best:
                what.best, what.fingerprint, what.here, what.there = strength, trace.fingerprint, ci, there
                what.away = trace.away
                what.via = there if way == ABOVE else ci if way == BELOW else "nearby"
    view.spend(tag, PAIR * steps)
    _look_below(tag, alert, ci, view, found)


def _passed(late_s: float, passing_s: float, situation: str, half_s: float, view: View) -> float:
    """What time leaves of a link where what suffers began ``late_s`` after what it depends on, and a failure may take
    ``passing_s`` to show: only what is beyond counts, and the situation may have been quiet for that long."""
    if late_s <= 0.0 or not passing_s:
        return 0.0
    waited_s = min(late_s, passing_s)
    readiness, quiet_s = view.readiness(situation, view.now.timestamp() - waited_s)
    return readiness * view.nearness(late_s - waited_s, quiet_s, half_s)


def _look_below(tag: str, alert: Alert, ci: str, view: View, found: dict[str, _Found]) -> None:
    """The small situations that a failure of ``ci`` leads to, however many CIs depend on it: of very many the newest
    count."""
    onset_s, now_s = alert.starts_at.timestamp(), view.now.timestamp()
    newest = view.traces.below.newest(ci, _MAX_BELOW)
    view.cut += view.traces.below.count(ci) - len(newest)
    for situation in newest:
        footprint = view.traces.of[situation]
        there = footprint.situation.first_ci
        trace = footprint.cis.get(there)
        if trace is None or len(footprint.cis) > _SMALL:
            continue
        gap_s = onset_s - trace.onset_s
        if not -view.window_s <= gap_s <= view.window_s or not (leads := _leads_to(there, ci, gap_s, view)):
            continue
        what = found.get(situation)
        if what is None:
            what = found[situation] = _Found(*view.readiness(situation, now_s))
        explaining = leads * what.readiness
        what.explains, what.explained = True, max(what.explained, explaining)
        if explaining >= what.best:
            what.best, what.fingerprint, what.here, what.there = explaining, trace.fingerprint, ci, there
            what.via, what.away = ci, trace.away
    view.spend(tag, PAIR * len(newest))


def _leads_to(there: str, ci: str, gap_s: float, view: View) -> float:
    """How surely a situation that began on ``there`` is what a failure of ``ci`` leads to; 0 where it is not sure
    enough to act on."""
    hop = view.topology.upstream(there).get(ci)
    if hop is None:
        return 0.0
    ratio = gap_s / view.half_late_s
    sure = view.settings.step**hop.cost / (1.0 + ratio * ratio)
    return sure if sure >= view.settings.explains else 0.0


def _describe(link: Link) -> str:
    here, there = link.path[0], link.path[-1]
    if here == there:
        return f"also on {here}, {apart(link)}"
    if link.via == there:
        return f"{here} depends on {there}, which also failed, {apart(link)}"
    if link.via == here:
        return f"{there} depends on {here} and also failed, {apart(link)}"
    return f"{here} and {there} are near each other ({' – '.join(link.path)}), {apart(link)}"


RULE = RuleKind(
    kind="topology",
    version=2,
    title="Failures spread along relationships",
    config=TopologyConfig,
    build=_build,
)
