"""What makes a new alert part of an open situation: the traces that situations leave on CIs, and the rules that read
them.

An alert leaves a trace on its own CI and on those it names besides. For each CI it is worked out once which other CIs
matter to it and how much (``correlation.affinity``); a new alert then looks only where that set and the traces meet,
however many alerts are open.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from msgspec import Struct

from correlation.affinity import Surroundings, surroundings
from correlation.below import Below
from correlation.recent import Recent
from correlation.rule import Rule
from correlation.settings import RelateSettings, WaveSettings
from foreshock.core.model import Alert, Link, Situation
from foreshock.core.topology import Topology

LASTING = 0.6
"""How much of the time between the first and the latest alert of a situation on a CI is added to the gap to the next:
what has gone on there for long explains less than what has just begun, or a CI that two problems share would stick to
the one that was seen there last."""
_MAX_SURROUNDINGS = 20_000  # CIs whose surroundings are remembered; beyond it they are worked out again
_TEMPO_MEMORY = 0.1  # how much the newest gap counts
_LEAST_TEMPO_S = 2.0
_CONFIDENCE = 0.7  # exponent: doubt in a link is inherited by what joins because of it, a little softened
_SUPERSEDED = 0.25  # what a situation that a new wave has followed still attracts
_MAX_RECENT = 512
_CALM_WITHINS = 5  # so many times the time of a wave before it tell how calm it was
_MAX_COMPARED = 64
_NEGLIGIBLE = 0.02  # weight and freshness of a trace below which it is not compared


class Trace(Struct, gc=False):
    """The latest alert that one situation has on one CI.

    Attributes:
        onset_s: when it began, seconds since 1970.
        first_s: when the situation first had an alert there, by the clock of the records.
        weight: 0..1, how sure it is that the situation is on this CI at all: a doubtful member is a weak reason for
            the next one to join, so a chain of doubtful links does not grow without end.
        away: how many relationships from where the situation began, along its links; of several ways the shortest.
    """

    fingerprint: str
    onset_s: float
    first_s: float
    weight: float = 1.0
    away: int = 0


class Footprint(Struct, kw_only=True):
    """Where one open situation is. All of it follows from the situation and its members in their order.

    Attributes:
        cis: the one with the latest alert last.
        recent: seconds since 1970 at which alerts joined or fired again, by fingerprint, the latest last; bounded.
    """

    situation: Situation
    cis: dict[str, Trace] = {}
    recent: dict[str, float] = {}


class Candidate(Struct, frozen=True, gc=False):
    """A rule's word for one situation: the alert in it that is related, how strongly, and where the two walks meet.

    Attributes:
        via: that CI; empty where the rule's evidence is no path.
        explains: the situation is small, and the new alert is where it comes from: the two are one problem.
        evidence: what the rule saw, in words, where the path does not say it.
        here, there: the CIs of the new and of the other alert that are related; empty: those they are bound to.
        walk: how much of a random walk from the new alert ends in the situation, 0..1.
        away: how many relationships the other alert is from where the situation began.
    """

    situation: str
    other: str
    strength: float
    via: str
    rule: str
    explains: bool = False
    evidence: str = ""
    here: str = ""
    there: str = ""
    walk: float = 0.0
    away: int = 0


class View:
    """What rules look at.

    Args:
        threshold: the least strength anybody acts on; a rule leaves out what is weaker.
    Attributes:
        memo: a rule's own notes by (rule, CI), for what depends on nothing but topology and settings; a new view
            starts empty.
        alerts: all that are known, by fingerprint. changes: those made lately.
        now: on the records' clock.
        delayed: whether failures take their time along some relationships.
        spent: steps each rule took for the alert at hand, by tag (see ``correlation.budget``).
        cut: situations that were not looked at because there were too many, since somebody last set it to 0.
    """

    def __init__(
        self,
        traces: "Traces",
        topology: Topology,
        settings: RelateSettings,
        threshold: float,
        alerts: Mapping[str, Alert] | None = None,
        changes: Recent | None = None,
    ) -> None:
        self.traces, self.topology, self.settings, self.threshold = traces, topology, settings, threshold
        self.alerts: Mapping[str, Alert] = {} if alerts is None else alerts
        self.changes = Recent() if changes is None else changes
        self.now = datetime.fromtimestamp(0, UTC)
        self.spent: dict[str, int] = {}
        self.cut = 0
        self.window_s = settings.window.total_seconds()
        self.half_s = settings.half_gap.total_seconds()
        self.half_late_s = settings.half_gap_late.total_seconds()
        self.fade_s = settings.fade.total_seconds()
        self.tempo = settings.tempo
        self.delayed = bool(settings.delays)
        self.memo: dict[tuple[str, str], Any] = {}
        self._surroundings: dict[str, Surroundings] = {}
        self._delays_s = {type_: delay.total_seconds() for type_, delay in settings.delays.items()}
        self._passing: dict[tuple[str, str], float] = {}

    def surroundings(self, ci: str) -> Surroundings:
        found = self._surroundings.get(ci)
        if found is None:
            if len(self._surroundings) >= _MAX_SURROUNDINGS:
                self._surroundings.clear()
            settings = self.settings
            found = self._surroundings[ci] = surroundings(
                self.topology,
                ci,
                step=settings.step,
                least=settings.least,
                restart=settings.restart,
                noticeable=settings.noticeable,
            )
        return found

    def readiness(self, situation: str, now_s: float) -> tuple[float, float]:
        """How readily a situation takes another alert, 0..1, and for how many seconds none has joined it.

        It is a half when nothing has joined for ``tempo`` times its usual gap: what bursts is over soon, what drips
        goes on.
        """
        found = self.traces.of[situation].situation
        quiet_s = max(0.0, now_s - found.last_joined_at.timestamp())
        ratio = quiet_s / (self.tempo * max(found.tempo_s, _LEAST_TEMPO_S))
        return (_SUPERSEDED if found.superseded_by else 1.0) / (1.0 + ratio * ratio), quiet_s

    def nearness(self, gap_s: float, quiet_s: float, half_s: float) -> float:
        """What the time between two onsets, and since the situation last grew, leaves of a link."""
        ratio = (abs(gap_s) + quiet_s) / 2 / half_s
        return 1.0 / (1.0 + ratio * ratio)

    def passing_s(self, dependent: str, dependency: str) -> float:
        """Seconds that a failure of ``dependency`` may take until it shows on ``dependent``."""
        key = dependent, dependency
        found = self._passing.get(key)
        if found is None:
            if len(self._passing) >= _MAX_SURROUNDINGS:
                self._passing.clear()
            way = self.topology.path(dependent, dependency)
            types = (self.topology.relation(one, other) for one, other in pairwise(way))
            found = self._passing[key] = sum(self._delays_s.get(each, 0.0) for each in types)
        return found

    def spend(self, rule: str, steps: int) -> None:
        self.spent[rule] = self.spent.get(rule, 0) + steps

    def akin(self, one: str, other: str, now_s: float) -> float:
        """How much two open situations are in the same place, 0..1: of random walks from the CIs of the smaller one,
        as sure and as fresh as they are, the share that ends in the other."""
        small, large = self.traces.of[one], self.traces.of[other]
        if len(small.cis) > len(large.cis):
            small, large = large, small
        total = weights = 0.0
        for ci in list(small.cis)[-_MAX_COMPARED:]:
            trace = small.cis[ci]
            weight = trace.weight * self.fading(now_s - trace.onset_s)
            if weight < _NEGLIGIBLE:
                continue
            near = self.surroundings(ci)
            shared = 0.0
            for there, walk in zip(near.cis, near.walk, strict=True):
                known = large.cis.get(there)
                if known is not None and walk:
                    shared += walk * known.weight * self.fading(now_s - known.onset_s)
            total += weight * min(1.0, shared)
            weights += weight
        return total / weights if weights else 0.0

    def fading(self, gap_s: float) -> float:
        return math.exp(-abs(gap_s) / self.fade_s)


_UNKNOWN = Topology()


class Traces:
    """Traces of all open situations: by CI, then by situation; and their footprints.

    Attributes:
        of: footprints by situation.
        below: the situations by what the CI they began on depends on.
    """

    def __init__(self, topology: Topology = _UNKNOWN) -> None:
        self.by_ci: dict[str, dict[str, Trace]] = {}
        self.of: dict[str, Footprint] = {}
        self.below = Below(topology)
        self._joined_at: datetime | None = None
        self._joined_s = 0.0

    def add(self, situation: Situation, alert: Alert) -> None:
        """``alert`` belongs to the open ``situation`` now, or has fired again in it."""
        footprint = self.of.get(situation.id)
        if footprint is None:
            footprint = self.of[situation.id] = Footprint(situation=situation)
            self.below.add(situation)
        member = situation.members[alert.fingerprint]
        recent = footprint.recent
        recent.pop(alert.fingerprint, None)
        if member.joined_at is not self._joined_at:  # alerts of one batch join at one moment, and share its number
            self._joined_at, self._joined_s = member.joined_at, member.joined_at.timestamp()
        recent[alert.fingerprint] = self._joined_s
        if len(recent) > _MAX_RECENT:
            del recent[next(iter(recent))]
        weight = 1.0 if member.link is None else member.link.strength**_CONFIDENCE
        away = _away(footprint, member.link)
        onset_s = alert.starts_at.timestamp()
        began_s = max(alert.first_seen, situation.opened_at).timestamp()
        for ci in (alert.ci, *alert.peers):
            if not ci:
                continue
            known = footprint.cis.pop(ci, None)
            if known is None:
                trace = Trace(alert.fingerprint, onset_s, began_s, weight, away)
            else:
                first_s, sure = min(began_s, known.first_s), max(weight, known.weight)
                trace = Trace(alert.fingerprint, onset_s, first_s, sure, min(away, known.away))
            footprint.cis[ci] = trace
            self.by_ci.setdefault(ci, {})[situation.id] = trace

    def use(self, topology: Topology) -> None:
        """A new version of it, in which each alert is on the CI where it was."""
        self.below.use(topology, [footprint.situation for footprint in self.of.values()])

    def on(self, ci: str) -> Mapping[str, Trace]:
        """The traces there, by situation."""
        return self.by_ci.get(ci, _NONE)

    def moved(self, situation: str, alert: Alert) -> None:
        """The onset of ``alert`` is another one now."""
        for ci in (alert.ci, *alert.peers):
            trace = self.on(ci).get(situation)
            if trace is not None and trace.fingerprint == alert.fingerprint:
                trace.onset_s = alert.starts_at.timestamp()

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        """Forget a situation, with all its alerts."""
        footprint = self.of.pop(situation, None)
        if footprint is None:
            return
        self.below.drop(footprint.situation)
        for ci in footprint.cis:
            here = self.by_ci[ci]
            del here[situation]
            if not here:
                del self.by_ci[ci]

    def wave(self, situation: Situation, settings: WaveSettings) -> tuple[str, ...]:
        """Fingerprints of the alerts of a new wave: many at once in a situation that had calmed down. Such a wave is
        another fault in the same place rather than the tail of the first one. Empty if there is none."""
        recent = self.of[situation.id].recent
        if len(recent) < 2 * settings.alerts or situation.superseded_by:
            return ()
        now_s, after_s = situation.last_joined_at.timestamp(), settings.after.total_seconds()
        # Most situations are young: one look at the oldest spares them the counting.
        if now_s - min(recent.values()) <= after_s:
            return ()
        if sum(now_s - at_s > after_s for at_s in recent.values()) < settings.alerts:
            return ()  # there was no first wave
        within_s = settings.within.total_seconds()
        calm_s = _CALM_WITHINS * within_s
        new = [fingerprint for fingerprint, at_s in recent.items() if now_s - at_s <= within_s]
        if len(new) < settings.alerts:
            return ()
        before = sum(within_s < now_s - at_s <= within_s + calm_s for at_s in recent.values())
        return tuple(new) if len(new) >= settings.rise * before / _CALM_WITHINS else ()


_NONE: Mapping[str, Trace] = {}


def _away(footprint: Footprint, link: Link | None) -> int:
    """Evidence that is no path is no distance either."""
    there = footprint.cis.get(link.path[-1]) if link is not None and link.path else None
    return 0 if there is None or link is None else there.away + len(link.path) - 1


def grow(situation: Situation, now: datetime) -> None:
    """An alert has joined, or fired again: note how fast the situation grows."""
    gap_s = (now - situation.last_joined_at).total_seconds()
    situation.tempo_s += _TEMPO_MEMORY * (gap_s - situation.tempo_s)
    situation.last_joined_at = now


def relate(alert: Alert, rules: Iterable[Rule], view: View) -> list[Candidate]:
    """Everything the rules say, in no particular order."""
    found: list[Candidate] = []
    for rule in rules:
        found += rule.relate(alert, view)
    return found


def link(alert: Alert, candidate: Candidate, other: Alert, topology: Topology) -> Link:
    """The full reason for the one candidate that won: with the path from CI to CI, if it is one."""
    here, there = candidate.here or alert.ci, candidate.there or other.ci
    return Link(
        alert=alert.fingerprint,
        other=candidate.other,
        strength=round(candidate.strength, 4),
        rule=candidate.rule,
        path=_path(here, there, candidate.via, topology),
        via=candidate.via,
        evidence=candidate.evidence,
        gap_s=round(abs((alert.starts_at - other.starts_at).total_seconds()), 3),
    )


def apart(link: Link) -> str:
    """How far apart the two began, in words."""
    return "at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart"


def _path(here: str, there: str, via: str, topology: Topology) -> tuple[str, ...]:
    """The way along which a failure spreads, or the shortest one where it spreads from a CI that nobody named."""
    if not via:
        return ()
    if via == there:
        return topology.path(here, there) or (here, there)
    if via == here:
        return tuple(reversed(topology.path(there, here))) or (here, there)
    return topology.way(here, there) or (here, there)
