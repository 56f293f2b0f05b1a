"""Inhibition: an active alert that explains others, by equal labels as Alertmanager has it, or along the topology.

Which alert can explain which never runs in a circle, or a circle of alerts would keep itself quiet and nobody would
hear of it:

- along the topology an alert explains only what depends on its CI while its CI does not, however indirectly, depend on
  that (CIs that depend on each other explain nothing to each other);
- of the label rules, an alert that a rule names as its target explains others only by rules further down the list;
- an alert that any label rule names as its target explains nothing along the topology.

Facts: an alert that matches both sides of a rule is not inhibited by another one that does, and labels that are absent
on both sides are equal (https://prometheus.io/docs/alerting/latest/configuration/#inhibition-related-settings, read
2026-11-22).
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from msgspec import Struct

from correlation.settings import InhibitRule, SuppressSettings, UpstreamSettings, read_matchers
from correlation.suppression.suppressor import Case
from foreshock.core.matchers import matches_all
from foreshock.core.model import Alert, Held, HeldKind, Situation
from foreshock.core.severity import parse_severity
from foreshock.core.topology import Topology, circles

MAX_REACH = 256
"""CIs that one walk up visits, the nearest first."""
_MAX_WALKS = 20_000  # walks that are remembered; beyond it they are walked again

Find = Callable[[str], Alert | None]
Quiet = Callable[[Alert], bool]


class _LabelRule:
    """One rule with the active alerts that it has as sources, by their values of the equal labels."""

    def __init__(self, rule: InhibitRule) -> None:
        self.name, self.equal = rule.name, rule.equal
        self.source, self.target = read_matchers(rule.source_matchers), read_matchers(rule.target_matchers)
        # By fingerprint, whether it matches the target's side too.
        self._sources: dict[tuple[str, ...], dict[str, bool]] = {}
        self._heaps: dict[tuple[str, ...], list[str]] = {}

    def key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self.equal)

    def add(self, fingerprint: str, labels: Mapping[str, str]) -> None:
        key = self.key(labels)
        sources = self._sources.setdefault(key, {})
        sources[fingerprint] = matches_all(self.target, labels)
        heap = self._heaps.setdefault(key, [])
        heapq.heappush(heap, fingerprint)
        if len(heap) > 2 * len(sources) + 16:  # mostly of alerts that come and go
            self._heaps[key] = sorted(sources)

    def drop(self, fingerprint: str, labels: Mapping[str, str]) -> None:
        key = self.key(labels)
        sources = self._sources.get(key, {})
        sources.pop(fingerprint, None)
        if not sources:
            self._sources.pop(key, None)
            self._heaps.pop(key, None)

    def explains(self, source: str, labels: Mapping[str, str]) -> bool:
        """Whether ``source`` explains the alert with ``labels``, which matches the target's side."""
        both = self._sources.get(self.key(labels), {}).get(source)
        return both is not None and not (both and matches_all(self.source, labels))

    def find(self, fingerprint: str, labels: Mapping[str, str]) -> str:
        """A source that explains the alert: the smallest fingerprint, so that the answer never depends on the order in
        which they came; empty if there is none."""
        key = self.key(labels)
        sources, heap = self._sources.get(key), self._heaps.get(key, [])
        if sources is None:
            return ""
        if matches_all(self.source, labels):  # then only one that is no target itself will do
            return min((source for source, both in sources.items() if not both and source != fingerprint), default="")
        while heap[0] not in sources:
            heapq.heappop(heap)
        return heap[0]


class _Upstream:
    """The rule along the topology, with the fingerprints of active alerts that may explain others, by CI."""

    def __init__(self, settings: UpstreamSettings, topology: Topology, alert: Find) -> None:
        self.settings, self.topology, self._alert = settings, topology, alert
        self.min_severity = parse_severity(settings.min_severity)
        self.source, self.target = read_matchers(settings.source_matchers), read_matchers(settings.target_matchers)
        self.by_ci: dict[str, dict[str, None]] = {}
        self._places: dict[str, str] = {}
        self._types = frozenset(settings.relationships)
        self.cut = 0
        self._walks: dict[str, dict[str, tuple[float, str]]] = {}
        self._circles = _Circles(topology, self._types)

    def add(self, alert: Alert) -> None:
        if alert.ci and alert.severity >= self.min_severity:
            self._places[alert.fingerprint] = alert.ci
            self.by_ci.setdefault(alert.ci, {})[alert.fingerprint] = None

    def drop(self, fingerprint: str) -> None:
        ci = self._places.pop(fingerprint, "")
        if ci:
            del self.by_ci[ci][fingerprint]
            if not self.by_ci[ci]:
                del self.by_ci[ci]

    def explains(self, source: Alert, target: Alert) -> bool:
        return (
            abs(target.starts_at - source.starts_at) <= self.settings.within
            and source.ci in self.walk(target.ci)
            and not self._circles.same(source.ci, target.ci)
            and source.fingerprint in self.by_ci.get(source.ci, ())
        )

    def find(self, target: Alert, quiet: Quiet) -> Alert | None:
        """The nearest; of those the earliest, then the one with the smaller fingerprint."""
        within: timedelta = self.settings.within
        best: tuple[Any, ...] | None = None
        found: Alert | None = None
        for ci, (cost, _) in self.walk(target.ci).items():  # nearest first
            if best is not None and cost > best[0]:
                break
            sources = self.by_ci.get(ci)
            if not sources or self._circles.same(ci, target.ci):
                continue
            for fingerprint in sources:
                source = self._alert(fingerprint)
                if source is None or abs(target.starts_at - source.starts_at) > within or quiet(source):
                    continue
                rank = (cost, source.starts_at, source.fingerprint)
                if best is None or rank < best:
                    best, found = rank, source
        return found

    def walk(self, ci: str) -> Mapping[str, tuple[float, str]]:
        """What ``ci`` depends on by the types that explain, nearest first and with itself: cost, and the CI one step
        nearer."""
        if not self.topology.steps_up(ci):
            return _NOWHERE
        walk = self._walks.get(ci)
        if walk is None:
            if len(self._walks) >= _MAX_WALKS:
                self._walks.clear()
            walk = self._walks[ci] = self._walk(ci)
        return walk

    def _walk(self, start: str) -> dict[str, tuple[float, str]]:
        done: dict[str, tuple[float, str]] = {}
        queue: list[tuple[float, str, str]] = [(0.0, start, start)]
        while queue and len(done) <= MAX_REACH:
            cost, here, before = heapq.heappop(queue)
            if here in done:
                continue
            done[here] = (cost, before)
            for there, (step, kind) in self.topology.steps_up(here).items():
                if there not in done and kind in self._types and cost + step <= self.settings.max_cost:
                    heapq.heappush(queue, (cost + step, there, here))
        self.cut += bool(queue)
        return done

    def path(self, target: str, source: str) -> tuple[str, ...]:
        """The cheapest way from ``target`` up to ``source``, which explains it, both included."""
        walk = self.walk(target)
        way = [source]
        while way[-1] != target:
            way.append(walk[way[-1]][1])
        return tuple(reversed(way))

    def take_over(self, before: "_Upstream") -> None:
        """What was worked out before the topology or the settings changed, where it is still so."""
        touched = self.topology.since(before.topology)
        if touched is None or self.settings != before.settings:
            return
        changed = touched.dependents
        self._walks = {ci: walk for ci, walk in before._walks.items() if walk.keys().isdisjoint(changed)}
        self.cut, self._circles = before.cut, before._circles
        self._circles.use(self.topology, changed)


_NOWHERE: Mapping[str, tuple[float, str]] = {}


class _Circles:
    """Which CIs depend on each other, directly or not, by the types that explain: worked out for what is asked and all
    that it depends on, and kept."""

    def __init__(self, topology: Topology, types: frozenset[str]) -> None:
        self._topology, self._types = topology, types
        self._of: dict[str, int] = {}
        self._number = 0

    def same(self, one: str, other: str) -> bool:
        return self._circle(one) == self._circle(other)

    def _circle(self, ci: str) -> int:
        if ci not in self._of:
            for part in circles(ci, self._needed, self._of):
                self._number += 1
                self._of.update(dict.fromkeys(part, self._number))
        return self._of[ci]

    def _needed(self, ci: str) -> list[str]:
        return [there for there, (_, kind) in self._topology.steps_up(ci).items() if kind in self._types]

    def use(self, topology: Topology, changed: Iterable[str]) -> None:
        """A new version of it, in which these depend on others than they did. They, and all that depends on them, are
        forgotten: it is known only where what they depend on is."""
        self._topology = topology
        todo = list(changed)
        while todo:
            here = todo.pop()
            if self._of.pop(here, None) is not None:
                todo += [there for there, (_, kind) in topology.steps_down(here).items() if kind in self._types]


class Explained(Struct, frozen=True, gc=False):
    """What explains an alert: the other one, and the label rule that says so; empty for the topology."""

    source: str
    rule: str


class Inhibition:
    """Which active alerts explain which.

    What was found for an alert is remembered until that source ends or changes; ``released`` then names the alerts that
    somebody should look at again. That costs a look-up for each alert however often its situation is looked at.

    Args:
        find: an alert by fingerprint, if it is known.
    """

    kind = HeldKind.INHIBITION

    def __init__(self, find: Find) -> None:
        self._find = find
        self._rules: list[_LabelRule] = []
        self._upstream = _Upstream(UpstreamSettings(enabled=False), Topology(), find)
        self._explained: dict[str, Explained] = {}
        self._used: dict[str, dict[str, None]] = {}
        self._released: dict[str, None] = {}

    def use(self, settings: SuppressSettings, topology: Topology, active: Iterable[Alert]) -> None:
        """New settings or a new topology; ``active`` are all alerts that are active now."""
        self._rules = [_LabelRule(rule) for rule in settings.inhibit]
        before, self._upstream = self._upstream, _Upstream(settings.upstream, topology, self._find)
        self._upstream.take_over(before)
        self.forget_what_was_found()
        for alert in active:
            self.rose(alert)

    def forget_what_was_found(self) -> None:
        """Somebody asked for quiet, or no longer does: a silenced alert explains nothing along the topology."""
        self._explained, self._used = {}, {}

    # ---- what happens to alerts ----

    def rose(self, alert: Alert) -> None:
        """It is active now."""
        if alert.severity < self._upstream.min_severity and not self._rules:  # most alerts explain nothing
            return
        labels = self._labels(alert)
        if self._upstream.settings.enabled and self._is_upstream(labels):
            self._upstream.add(alert)
        for rule in self._sources(labels):
            rule.add(alert.fingerprint, labels)

    def changed(self, alert: Alert) -> None:
        """The severity or the onset of an active alert is another one than before."""
        self.fell(alert)
        self.rose(alert)
        self._released[alert.fingerprint] = None

    def fell(self, alert: Alert) -> None:
        """It is no longer active."""
        self._upstream.drop(alert.fingerprint)
        if self._rules:
            labels = self._labels(alert)
            for rule in self._sources(labels):
                rule.drop(alert.fingerprint, labels)
        self._explained.pop(alert.fingerprint, None)
        for target in self._used.pop(alert.fingerprint, ()):
            self._explained.pop(target, None)
            self._released[target] = None

    @property
    def walks_cut(self) -> int:
        """Walks up the topology that ended at ``MAX_REACH`` CIs, since the topology or the settings last changed."""
        return self._upstream.cut

    @property
    def waiting(self) -> bool:
        return bool(self._released)

    def released(self) -> list[str]:
        """Fingerprints of alerts whose explanation has gone since the last call, in order."""
        released, self._released = list(self._released), {}
        return released

    # ---- who is explained ----

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        found = self.explained(alert, case.silenced)
        if found is None or (not found.rule and _stands_for_itself(case.situation)):
            return ()
        return _EXPLAINED

    def explained(self, alert: Alert, quiet: Quiet) -> Explained | None:
        known = self._explained.get(alert.fingerprint)
        if known is None:
            known = self._search(alert, quiet)
            if known is not None:
                self._explained[alert.fingerprint] = known
                self._use(known, alert)
        return known

    def name(self, alert: Alert, quiet: Quiet, before: str) -> Held:
        """What explains ``alert``: the one that was named ``before`` as long as it does, because which of several is
        found first may differ after a restart."""
        found = (self._by(before, alert, quiet) if before else None) or self.explained(alert, quiet)
        assert found is not None, "only what is explained is named"
        self._use(found, alert)
        source = self._find(found.source)
        assert source is not None, "an alert that explains is active"
        if found.rule:
            reason = f"inhibited by {_name(source)}, which is active (rule “{found.rule}”)"
        else:
            way = " → ".join(self._upstream.path(alert.ci, source.ci))
            reason = f"explained by {_name(source)}, which is active upstream ({way})"
        return Held(kind=HeldKind.INHIBITION, id=found.source, reason=reason)

    def _use(self, found: Explained, alert: Alert) -> None:
        self._used.setdefault(found.source, {})[alert.fingerprint] = None

    def _search(self, alert: Alert, quiet: Quiet) -> Explained | None:
        labels = self._labels(alert)
        for rule in self._rules:
            if matches_all(rule.target, labels) and (source := rule.find(alert.fingerprint, labels)):
                return Explained(source, rule.name)
        if not self._is_downstream(alert):
            return None
        found = self._upstream.find(alert, quiet)
        return None if found is None else Explained(found.fingerprint, "")

    def _by(self, source: str, alert: Alert, quiet: Quiet) -> Explained | None:
        """How ``source`` explains ``alert``; None if it does not."""
        labels = self._labels(alert)
        for rule in self._rules:
            if matches_all(rule.target, labels) and rule.explains(source, labels):
                return Explained(source, rule.name)
        other = self._find(source)
        if other is None or not self._is_downstream(alert):
            return None
        return Explained(source, "") if self._upstream.explains(other, alert) and not quiet(other) else None

    # ---- parts ----

    def _labels(self, alert: Alert) -> dict[str, str]:
        """Read only where a rule needs them."""
        return alert.read_labels() if self._rules or self._upstream.source else {}

    def _sources(self, labels: Mapping[str, str]) -> list[_LabelRule]:
        """The label rules by which it may explain others: below the last one that has it as a target, or that one."""
        last = max((i for i, rule in enumerate(self._rules) if matches_all(rule.target, labels)), default=0)
        return [rule for rule in self._rules[last:] if matches_all(rule.source, labels)]

    def _is_upstream(self, labels: Mapping[str, str]) -> bool:
        if any(matches_all(rule.target, labels) for rule in self._rules):
            return False
        return matches_all(self._upstream.source, labels)

    def _is_downstream(self, alert: Alert) -> bool:
        upstream = self._upstream
        if not upstream.settings.enabled or not alert.ci or not upstream.by_ci:
            return False
        return not upstream.target or matches_all(upstream.target, alert.read_labels())


_EXPLAINED = (Held(kind=HeldKind.INHIBITION, id="", reason="another alert explains it"),)
"""Stands for the reason until the one alert is known that is named for all."""


def _stands_for_itself(situation: Situation) -> bool:
    """Somebody, or better evidence, said that it is not the same problem as what is upstream."""
    return bool(situation.shaped_by or situation.split_from)


def _name(alert: Alert) -> str:
    labels = alert.read_labels()
    name = labels.get("alertname") or next(iter(labels.values()), "an alert")
    return f"{name} on {alert.ci}" if alert.ci else name
