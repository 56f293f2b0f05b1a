"""The graph of configuration items, and the two questions correlation asks it: what does this CI depend on, and which
CI does this name mean?

Read-only once built; a new version is a new object, so a swap is one assignment. No answer depends on the order in
which CIs and relationships were given: a topology that grew by deltas, or was saved in parts, answers as a whole one.
"""

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from sys import intern

from msgspec import Struct

from foreshock.core.model import CI, Relationship


class Direction(Enum):
    """Which end of ``source <type> target`` suffers when the other one fails."""

    SOURCE_SUFFERS = "a failure of the target spreads to the source"
    TARGET_SUFFERS = "a failure of the source spreads to the target"
    BOTH_SUFFER = "a failure of either spreads to the other"
    NEITHER_SUFFERS = "no failure is known to spread along it"


DIRECTIONS: Mapping[str, Direction] = {
    "depends_on": Direction.SOURCE_SUFFERS,
    "runs_on": Direction.SOURCE_SUFFERS,
    "hosted_on": Direction.SOURCE_SUFFERS,
    "uses": Direction.SOURCE_SUFFERS,
    "calls": Direction.SOURCE_SUFFERS,
    "member_of": Direction.SOURCE_SUFFERS,
    "located_in": Direction.SOURCE_SUFFERS,
    "powered_by": Direction.SOURCE_SUFFERS,
    "stored_on": Direction.SOURCE_SUFFERS,
    "contains": Direction.TARGET_SUFFERS,
    "hosts": Direction.TARGET_SUFFERS,
    "supports": Direction.TARGET_SUFFERS,
    "powers": Direction.TARGET_SUFFERS,
    "sends_data_to": Direction.TARGET_SUFFERS,
    "connects_to": Direction.BOTH_SUFFER,
    "related_to": Direction.NEITHER_SUFFERS,
}
"""Relationship types and how failures spread along them. A type not listed is refused where a person wrote it."""


_NOWHERE: Mapping[str, tuple[float, str]] = {}
_MAX_REMEMBERED = 10_000  # CIs for which an answer is kept; beyond it all are worked out again


Around = tuple[int, tuple[str, ...], Mapping[str, float] | None]


class Hop(Struct, frozen=True, gc=False):
    """One CI on the way up: ``cost`` from the start, and the CI one step nearer to the start."""

    cost: float
    before: str


class Reach(Struct, frozen=True):
    """Where a walk ends: beyond this cost, or when it has visited so many CIs, the nearest first."""

    max_cost: float
    most: int


class TopologyDelta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes one version of a topology of another: what is gone goes first, then what is put comes.

    Attributes:
        put_cis: new, or changed: the whole CI as it is now. gone_cis: ids.
        put_relationships: new. gone_relationships: those with this source, type and target. A relationship of a CI that
            is gone stays until it is named here.

    What is put although it is there, or gone although it is not, changes nothing.
    """

    put_cis: tuple[CI, ...] = ()
    gone_cis: tuple[str, ...] = ()
    put_relationships: tuple[Relationship, ...] = ()
    gone_relationships: tuple[Relationship, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put_cis or self.gone_cis or self.put_relationships or self.gone_relationships)


_Steps = Mapping[str, Mapping[str, tuple[float, str]]]


class Topology:
    """CIs and typed, directed relationships, indexed for correlation.

    Args:
        costs: cost of one step along a relationship type; 1.0 where not named.
        max_cost: walks end beyond this cost.
    Bounds: a walk visits at most ``MAX_REACH`` CIs, nearest first, so a hub costs latency, never correctness.
    """

    MAX_REACH = 512
    MAX_SERVICES = 50

    def __init__(
        self,
        cis: Iterable[CI] = (),
        relationships: Iterable[Relationship] = (),
        *,
        version: str = "",
        costs: Mapping[str, float] | None = None,
        max_cost: float = 3.0,
    ) -> None:
        self.version = version
        self.cis: dict[str, CI] = {intern(ci.id): ci for ci in cis}
        self.relationships = tuple(relationships)
        self._costs = dict(costs or {})
        self._reach = Reach(max_cost, self.MAX_REACH)
        self.even = True
        """Whether every step there is costs 1."""
        self._needs: dict[str, dict[str, tuple[float, str]]] = {}
        self._needed_by: dict[str, dict[str, tuple[float, str]]] = {}
        for relation in self.relationships:
            direction = DIRECTIONS.get(relation.type, Direction.SOURCE_SUFFERS)
            if direction in (Direction.SOURCE_SUFFERS, Direction.BOTH_SUFFER):
                self._add_need(relation.source, relation.target, relation.type)
            if direction in (Direction.TARGET_SUFFERS, Direction.BOTH_SUFFER):
                self._add_need(relation.target, relation.source, relation.type)
        self._upstream: dict[str, dict[str, Hop]] = {}
        self._around: dict[str, Around] = {}
        self._kinds: dict[str, Counter[tuple[str, str]]] = {}
        self._counts = Counter(ci.kind for ci in self.cis.values())
        self._names = self._index_names()
        self._services = self._index_services()

    def _add_need(self, dependent: str, dependency: str, kind: str) -> None:
        if dependent == dependency:
            return
        cost = self._costs.get(kind, 1.0)
        self.even = self.even and cost == 1.0
        dependent, dependency = intern(dependent), intern(dependency)
        needs = self._needs.setdefault(dependent, {})
        known = needs.get(dependency)
        if known is None or (cost, kind) < known:
            needs[dependency] = self._needed_by.setdefault(dependency, {})[dependent] = (cost, kind)

    def patched(self, delta: TopologyDelta, *, version: str) -> "Topology":
        """The topology after ``delta``, with the same costs and horizon; this one stays as it is.

        CIs and relationships keep their places, new ones come behind, so that the answers are those of a topology
        built from ``cis`` and ``relationships`` of the result.
        """
        left = set(delta.gone_cis)
        cis = {id: ci for id, ci in self.cis.items() if id not in left}
        cis.update((ci.id, ci) for ci in delta.put_cis)
        gone = {(tie.source, tie.type, tie.target) for tie in delta.gone_relationships}
        ties = {(tie.source, tie.type, tie.target): tie for tie in self.relationships}
        ties = {key: tie for key, tie in ties.items() if key not in gone}
        for tie in delta.put_relationships:
            ties.setdefault((tie.source, tie.type, tie.target), tie)
        return Topology(cis.values(), ties.values(), version=version, costs=self._costs, max_cost=self._reach.max_cost)

    def upstream(self, ci: str) -> Mapping[str, Hop]:
        """What ``ci`` depends on, directly or not, nearest first and with itself at cost 0."""
        found = self._upstream.get(ci)
        if found is None:
            if len(self._upstream) >= _MAX_REMEMBERED:
                self._upstream.clear()
            found = self._upstream[ci] = self._walk(ci, self._needs)
        return found

    def downstream(self, ci: str) -> Mapping[str, Hop]:
        """What depends on ``ci``, directly or not, nearest first and with itself at cost 0."""
        return self._walk(ci, self._needed_by)

    def walk_up(self, ci: str, reach: Reach | None = None) -> Mapping[str, Hop]:
        """``upstream`` for who asks once: nothing is remembered."""
        return self._walk(ci, self._needs, reach)

    def walk_down(self, ci: str, reach: Reach | None = None) -> Mapping[str, Hop]:
        """``downstream``, as far as ``reach`` says."""
        return self._walk(ci, self._needed_by, reach)

    def _walk(self, start: str, steps: _Steps, reach: Reach | None = None) -> dict[str, Hop]:
        reach = self._reach if reach is None else reach
        return self._by_levels(start, steps, reach) if self.even else self._by_cost(start, steps, reach)

    def _by_levels(self, start: str, steps: _Steps, reach: Reach) -> dict[str, Hop]:
        """The walk where every step costs 1, as it is unless somebody set costs: several times as fast, same answer."""
        done = {start: Hop(0.0, start)}
        level, cost = [start], 0.0
        while level and cost + 1.0 <= reach.max_cost and len(done) < reach.most:
            cost += 1.0
            found: dict[str, Hop] = {}
            for here in level:
                for there in steps.get(here, _NOWHERE):
                    if there not in done and there not in found:
                        found[there] = Hop(cost, here)
            level = sorted(found)[: reach.most - len(done)]
            for there in level:
                done[there] = found[there]
        return done

    def _by_cost(self, start: str, steps: _Steps, reach: Reach) -> dict[str, Hop]:
        done: dict[str, Hop] = {}
        queue: list[tuple[float, str, str]] = [(0.0, start, start)]
        while queue and len(done) < reach.most:
            cost, here, before = heapq.heappop(queue)
            if here in done:
                continue
            done[here] = Hop(cost, before)
            for there, (step, _) in steps.get(here, _NOWHERE).items():
                if there not in done and cost + step <= reach.max_cost:
                    heapq.heappush(queue, (cost + step, there, here))
        return done

    def path(self, ci: str, upstream: str) -> tuple[str, ...]:
        """The cheapest way from ``ci`` to something it depends on, both ends included; empty if there is none."""
        if ci == upstream:
            return (ci,)
        if upstream in self._needs.get(ci, _NOWHERE) and self.even:
            return (ci, upstream)
        hops = self.upstream(ci)
        if upstream not in hops:
            return ()
        way = [upstream]
        while way[-1] != ci:
            way.append(hops[way[-1]].before)
        return tuple(reversed(way))

    def needs(self, ci: str) -> Collection[str]:
        """What ``ci`` depends on directly."""
        return self._needs.get(ci, _NOWHERE).keys()

    def needed_by(self, ci: str) -> Collection[str]:
        """What depends on ``ci`` directly."""
        return self._needed_by.get(ci, _NOWHERE).keys()

    def way(self, one: str, other: str) -> tuple[str, ...]:
        """A shortest way along relationships in whatever direction, both ends included; empty if none is found within
        ``MAX_REACH`` CIs of ``one``."""
        before = {one: one}
        level = [one]
        while level and other not in before and len(before) < self.MAX_REACH:
            found: dict[str, str] = {}
            for here in level:
                for there in (*self.needs(here), *self.needed_by(here)):
                    if there not in before:
                        found.setdefault(there, here)
            level = sorted(found)
            before.update((there, found[there]) for there in level)
        if other not in before:
            return ()
        way = [other]
        while way[-1] != one:
            way.append(before[way[-1]])
        return tuple(reversed(way))

    def relation(self, dependent: str, dependency: str) -> str:
        """The type of the relationship that makes ``dependent`` need ``dependency``; empty if there is none."""
        found = self._needs.get(dependent, {}).get(dependency)
        return found[1] if found else ""

    def steps_up(self, ci: str) -> Mapping[str, tuple[float, str]]:
        """What ``ci`` depends on directly, with the cost of the step and the relationship type."""
        return self._needs.get(ci, _NOWHERE)

    def steps_down(self, ci: str) -> Mapping[str, tuple[float, str]]:
        """What depends on ``ci`` directly, with the cost of the step and the relationship type."""
        return self._needed_by.get(ci, _NOWHERE)

    def around(self, ci: str) -> Around:
        """For a random step from ``ci``: how many steps there are, up and down; the neighbours, sorted; and the share
        of the steps that goes to each, None where all have the same. A step of twice the cost is half as probable."""
        found = self._around.get(ci)
        if found is None:
            if len(self._around) >= _MAX_REMEMBERED:
                self._around.clear()
            up, down = self._needs.get(ci, _NOWHERE), self._needed_by.get(ci, _NOWHERE)
            neighbours = tuple(sorted({*up, *down}))
            found = self._around[ci] = (len(up) + len(down), neighbours, None if self.even else _shares(up, down))
        return found

    def kind(self, ci: str) -> str:
        """The kind of ``ci``; empty if nobody knows it."""
        known = self.cis.get(ci)
        return known.kind if known is not None else ""

    def count(self, kind: str) -> int:
        """How many CIs of this kind there are."""
        return self._counts.get(kind, 0)

    def dependents_by_kind(self, ci: str) -> Mapping[tuple[str, str], int]:
        """How many CIs of each kind depend on ``ci`` directly, by the type of the relationship. Counted once, so that
        a hub costs what it has once."""
        found = self._kinds.get(ci)
        if found is None:
            if len(self._kinds) >= _MAX_REMEMBERED:
                self._kinds.clear()
            found = self._kinds[ci] = Counter(
                (self.kind(dependent), relation)
                for dependent, (_, relation) in self._needed_by.get(ci, _NOWHERE).items()
            )
        return found

    def neighbours(self, ci: str) -> tuple[str, ...]:
        """CIs one relationship away, either way, sorted."""
        return tuple(sorted({*self._needs.get(ci, {}), *self._needed_by.get(ci, ())}))

    def named(self, name: str) -> tuple[str, ...]:
        """Ids of the CIs that go by ``name`` (id, name or alias, without regard to case); several if it is
        ambiguous."""
        if (ci := self.cis.get(name)) is not None:
            return (ci.id,)  # ours, not the label's: one string for all alerts on it
        return self._names.get(name.lower(), ())

    def services(self, ci: str) -> tuple[str, ...]:
        """Business services that depend on ``ci``, most critical first, at most ``MAX_SERVICES``."""
        return self._services.get(ci, ())

    def _index_names(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, list[str]] = {}
        for ci in self.cis.values():
            for name in {ci.id.lower(), ci.name.lower(), *(alias.lower() for alias in ci.aliases)} - {""}:
                names.setdefault(name, []).append(ci.id)
        return {name: tuple(sorted(ids)) for name, ids in names.items()}

    def _index_services(self) -> dict[str, tuple[str, ...]]:
        """From each service that has a criticality down to all it needs, however far: impact has no horizon."""
        critical = sorted((ci.criticality, ci.id) for ci in self.cis.values() if ci.criticality)
        found: dict[str, list[str]] = {}
        for _, service in critical:
            seen, todo = {service}, [service]
            while todo:
                here = todo.pop()
                reached = found.setdefault(here, [])
                if len(reached) < self.MAX_SERVICES:
                    reached.append(service)
                for there in self._needs.get(here, {}):
                    if there not in seen:
                        seen.add(there)
                        todo.append(there)
        return {ci: tuple(services) for ci, services in found.items()}


def _shares(up: Mapping[str, tuple[float, str]], down: Mapping[str, tuple[float, str]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for there, (cost, _) in (*up.items(), *down.items()):
        weights[there] = max(weights.get(there, 0.0), 1.0 / cost)
    total = math.fsum(weights.values())
    return {there: weight / total for there, weight in weights.items()}
