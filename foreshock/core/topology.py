"""The graph of configuration items, and the two questions correlation asks it: what does this CI depend on, and which
CI does this name mean?

Read-only once built; a new version is a new object, so a swap is one assignment. No answer depends on the order in
which CIs and relationships were given: a topology that grew by deltas, or was saved in parts, answers as a whole one.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain

from msgspec import Struct

from foreshock.core.model import CI, Relationship
from foreshock.core.naming import canonical, canonical_all


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


_Step = tuple[float, str]
_Steps = dict[str, dict[str, _Step]]
_NOWHERE: Mapping[str, _Step] = {}
_MAX_REMEMBERED = 10_000  # CIs for which an answer is kept; beyond it all are worked out again
_MAX_REVIEWED = 500  # new and gone relationships; beyond it services that may be others are forgotten
_ROOM = 1_000
_MAX_STEPS = 100_000  # of the search for what vouches for services, in one version
_MAX_HOPS = 250_000  # of all walks that are kept: some 30 MB


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


class Touched(Struct, frozen=True):
    """What may be answered in another way since the version before.

    Attributes:
        cis: ids of CIs that are new, gone or changed, and of the ends of such relationships.
        names: canonical spellings that mean other CIs than they did, or that mean some for the first or last time.
        dependents: ids of CIs that depend directly on others than they did, or in another way: a walk up that visits
            none of them is what it was. dependencies: the same from the other end, for walks down.
    """

    cis: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    dependents: frozenset[str] = frozenset()
    dependencies: frozenset[str] = frozenset()


_UNTOUCHED = Touched()


class Relationships(Collection[Relationship]):
    """Relationships, each once, in a tenth of the memory: ``of`` has for each source its types and targets in turn."""

    __slots__ = ("_count", "of")

    def __init__(self, of: dict[str, tuple[str, ...]], count: int) -> None:
        self.of, self._count = of, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Relationship]:
        for source, flat in self.of.items():
            for kind, target in _pairs(flat):
                yield Relationship(source=source, type=kind, target=target)

    def __contains__(self, tie: object) -> bool:
        return isinstance(tie, Relationship) and (tie.type, tie.target) in _pairs(self.of.get(tie.source, ()))


class Topology:
    """CIs and typed, directed relationships, indexed for correlation.

    Where an answer is several they are sorted; steps by cost, and then by id.

    Args:
        costs: cost of one step along a relationship type, more than 0; 1.0 where not named.
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
        self.touched: Touched | None = None
        """What ``patched`` changed; None where this was built whole."""
        self._mark, self._patched = object(), object()  # of this one, and of the one that it was made of
        self.cis: dict[str, CI] = {ci.id: ci for ci in cis}
        self._ways = _Ways(costs or {})
        self._reach = Reach(max_cost, self.MAX_REACH)
        self.relationships = _gathered(relationships, self.cis)
        self._needs, self._needed_by = _drawn(self.relationships, self._ways)
        self._uneven = sum(step[0] != 1.0 for steps in self._needs.values() for step in steps.values())
        self._counts = Counter(ci.kind for ci in self.cis.values())
        self._critical = sum(1 for ci in self.cis.values() if ci.criticality)
        self._names = _names_of(self.cis.values())
        self._services: dict[str, tuple[str, ...]] = {}
        self._depths: dict[str, int] = {}  # of those: more than of what depends on them, but in a circle the same
        self._forget()

    def _forget(self) -> None:
        self._upstream: dict[str, dict[str, Hop]] = {}
        self._hops = 0
        self._around: dict[str, Around] = {}
        self._kinds: dict[str, Counter[tuple[str, str]]] = {}

    @property
    def even(self) -> bool:
        """Whether every step there is costs 1."""
        return not self._uneven

    def patched(self, delta: TopologyDelta, *, version: str) -> "Topology":
        """The topology after ``delta``, with the same costs and horizon; this one stays as it is.

        Its answers are those of a topology built from what there is then. What did not change is shared, so that the
        price is that of the change; ``touched`` tells what did.
        """
        new = object.__new__(Topology)
        new.version, new._ways, new._reach = version, self._ways, self._reach
        new._mark, new._patched = object(), self._mark
        changed, names = new._take_cis(self, delta)
        ends = new._take_relationships(self, delta)
        dependents, dependencies = (frozenset(end[at] for end in ends) for at in (0, 1))
        new._take_services(self, changed, ends)
        new._forget()
        new._upstream = {ci: walk for ci, walk in self._upstream.items() if walk.keys().isdisjoint(dependents)}
        new._hops = sum(map(len, new._upstream.values()))
        new.touched = Touched(dependents.union(dependencies, changed), names, dependents, dependencies)
        return new

    def since(self, before: "Topology") -> Touched | None:
        """What may be answered in another way than by ``before``; None where anything may: this was not patched from
        that."""
        if before is self:
            return _UNTOUCHED
        return self.touched if self._patched is before._mark else None

    def _take_cis(self, old: "Topology", delta: TopologyDelta) -> tuple[list[str], frozenset[str]]:
        """The CIs of ``old`` after ``delta``: ids of those that changed, and the names that mean something else."""
        self.cis, self._counts, self._critical = old.cis.copy(), old._counts.copy(), old._critical
        for id in delta.gone_cis:
            self.cis.pop(id, None)
        self.cis.update((ci.id, ci) for ci in delta.put_cis)
        changed = []
        renamed: dict[str, dict[str, bool]] = {}
        for id in dict.fromkeys((*delta.gone_cis, *(ci.id for ci in delta.put_cis))):
            before, now = old.cis.get(id), self.cis.get(id)
            if before == now:
                continue
            changed.append(id)
            for ci, one in ((before, -1), (now, 1)):
                if ci is not None:
                    self._counts[ci.kind] += one
                    self._critical += one if ci.criticality else 0
            was, becomes = (_spellings(ci) if ci is not None else set() for ci in (before, now))
            for name in was ^ becomes:
                renamed.setdefault(name, {})[id] = name in becomes
        self._names = old._names.copy()
        for name, bearers in renamed.items():
            others = (id for id in _ids(self._names.get(name)) if id not in bearers)
            _name(self._names, name, [*others, *(id for id, bears in bearers.items() if bears)])
        return changed, frozenset(renamed)

    def _take_relationships(self, old: "Topology", delta: TopologyDelta) -> list[tuple[str, str]]:
        """The relationships of ``old`` after ``delta``: which CI needs which in another way than it did, or not any
        more."""
        self.relationships, pairs = _changed(old.relationships, delta, self.cis)
        self._uneven = old._uneven
        kinds = _KindsBetween(self.relationships.of, self._ways)
        up: dict[str, dict[str, _Step | None]] = {}
        down: dict[str, dict[str, _Step | None]] = {}
        for dependent, dependency in dict.fromkeys(chain.from_iterable(((a, b), (b, a)) for a, b in pairs)):
            before = old._needs.get(dependent, _NOWHERE).get(dependency)
            now = kinds.step(dependent, dependency)
            if now != before:
                self._uneven += (now is not None and now[0] != 1.0) - (before is not None and before[0] != 1.0)
                up.setdefault(dependent, {})[dependency] = down.setdefault(dependency, {})[dependent] = now
        self._needs, self._needed_by = _edited(old._needs, up), _edited(old._needed_by, down)
        return [(dependent, dependency) for dependent, steps in up.items() for dependency in steps]

    def _take_services(self, old: "Topology", changed: Iterable[str], ends: Iterable[tuple[str, str]]) -> None:
        """The services that were found for ``old``, without those that may be others now."""
        self._services, self._depths = (old._services.copy(), old._depths.copy()) if self._critical else ({}, {})
        self._forget_services((id for id in changed if old._criticality(id) != self._criticality(id)), old)
        others = [
            (dependent, dependency)
            for dependent, dependency in ends
            if dependency in self._services
            and (dependency in old.needs(dependent)) is not (dependency in self.needs(dependent))
        ]
        if len(others) > _MAX_REVIEWED:
            self._forget_services(dependency for _, dependency in others)
        else:
            _Review(self).review(others)

    def _criticality(self, id: str) -> int:
        ci = self.cis.get(id)
        return ci.criticality if ci is not None else 0

    def _forget_services(self, changed: Iterable[str], old: "Topology | None" = None) -> None:
        """Of these CIs, and of all that they need: what a CI needs has known ones only where the CI has. old: also of
        all that they needed then."""
        todo = list(changed)
        while todo:
            here = todo.pop()
            if self._services.pop(here, None) is not None:
                del self._depths[here]
                todo.extend(self.needs(here))
                if old is not None:
                    todo.extend(old.needs(here))

    def upstream(self, ci: str) -> Mapping[str, Hop]:
        """What ``ci`` depends on, directly or not, nearest first and with itself at cost 0."""
        found = self._upstream.get(ci)
        if found is None:
            found = self._walk(ci, self._needs)
            self._hops += len(found)
            if self._hops > _MAX_HOPS:
                self._upstream, self._hops = {}, len(found)
            self._upstream[ci] = found
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
        """Level by level, a level being what can be reached at the same cost, each in the order of ids.

        Of the steps from one CI only as many are looked at as there is room for: those beyond, which cost as much or
        more and come later, would find no room.
        """
        reach = self._reach if reach is None else reach
        max_cost, most = reach.max_cost, reach.most
        done: dict[str, Hop] = {}
        waiting: dict[float, dict[str, str]] = {0.0: {start: start}}
        while waiting:
            cost = min(waiting)
            level = waiting.pop(cost)
            fresh = sorted([here for here in level if here not in done]) if len(level) > 1 else [*level]
            if len(fresh) == 1 and fresh[0] in done:
                continue
            room = most - len(done) - len(fresh)
            for here in fresh[: most - len(done)]:
                done[here] = Hop(cost, level[here])
            if room <= 0:
                break
            for here in fresh:
                left = room
                for there, (step, _) in steps.get(here, _NOWHERE).items():
                    if there in done:
                        continue
                    further = cost + step
                    if further > max_cost:
                        break
                    found = waiting.get(further)
                    if found is None:
                        found = waiting[further] = {}
                    known = found.get(there)
                    if known is None or here < known:
                        found[there] = here
                    left -= 1
                    if not left:
                        break
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

    def way(self, one: str, other: str, most: int = MAX_REACH) -> tuple[str, ...]:
        """A shortest way along relationships in whatever direction, both ends included; empty if none is found among
        the ``most`` CIs nearest to ``one``."""
        before = {one: one}
        level = [one]
        while level and other not in before and len(before) < most:
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
        """Ids of the CIs that go by ``name`` (id, name or alias, however it is spelt), sorted; several if it is
        ambiguous. What is an id letter by letter means that CI alone."""
        if (ci := self.cis.get(name)) is not None:
            return (ci.id,)  # ours, not the label's: one string for all alerts on it
        return self.known_as(canonical(name))

    def known_as(self, spelling: str) -> tuple[str, ...]:
        """Ids of the CIs with an id, a name or an alias of this canonical spelling, sorted."""
        return _ids(self._names.get(spelling))

    def services(self, ci: str) -> tuple[str, ...]:
        """Business services that depend on ``ci``, however far, most critical first, at most ``MAX_SERVICES``: impact
        has no horizon. What is found on the way is kept, so that all of it is found once."""
        found = self._services.get(ci)
        if found is None:
            if not self._critical or not (ci in self.cis or ci in self._needs or ci in self._needed_by):
                return ()
            for part in circles(ci, self.needed_by, self._services):
                self._settle(part)
            found = self._services[ci]
        return found

    def _settle(self, part: list[str]) -> None:
        """The services of CIs that all depend on each other, when those of what depends on them are known. They are
        deeper than that; those in a circle much, so that in later versions others may come in between."""
        members = set(part)
        above: dict[int, tuple[str, ...]] = {}
        depth = 0
        for here in part:
            for there in self._needed_by.get(here, _NOWHERE):
                if there not in members:
                    known = self._services[there]
                    above[id(known)] = known
                    if self._depths[there] >= depth:
                        depth = self._depths[there] + 1
        found = self._most_critical(part, above.values())
        for here in part:
            self._services[here] = found
            self._depths[here] = depth if len(part) == 1 else depth + _ROOM

    def _most_critical(self, cis: Iterable[str], above: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """The most critical of these that are services themselves, and of those that are found above them."""
        own, found = [here for here in cis if self._criticality(here)], list(above)
        if len(found) == 1 and not own:
            return found[0]
        reached = sorted((self.cis[one].criticality, one) for one in {*own, *chain.from_iterable(found)})
        return tuple(service for _, service in reached[: self.MAX_SERVICES])


class _Review:
    """Which services found for a version of a topology are the same in the next, where few relationships changed.

    Worked out from above, by depth. A CI keeps what it has if what depends on it adds nothing, and, where it lost
    something, if each of its services comes through CIs of less depth, which cannot depend on it in turn: so CIs in a
    circle never vouch for each other. Where that fails it is worked out anew, or in a circle forgotten with all that it
    needs.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._needs, self._needed_by = topology._needs, topology._needed_by
        self._services, self._depths = topology._services, topology._depths
        self._weak: set[str] = set()  # they had a service from a CI that may not pass it on any more
        self._todo: list[tuple[int, str]] = []
        self._deepened: set[str] = set()
        self._steps_left = _MAX_STEPS

    def review(self, others: Iterable[tuple[str, str]]) -> None:
        """others: (dependent, dependency) of those that are needed since, or no longer."""
        for dependent, dependency in others:
            if dependency in self._needs.get(dependent, _NOWHERE):
                self._topology.services(dependent)
            elif not self._is_way_around(dependent, dependency):
                self._weak.add(dependency)
            self._look_at(dependency)
        while self._todo:
            depth, here = heapq.heappop(self._todo)
            if self._depths.get(here) == depth and not self._has_still(here, depth):
                self._work_out(here, depth)

    def _look_at(self, ci: str) -> None:
        if ci in self._services:
            heapq.heappush(self._todo, (self._depths[ci], ci))

    def _has_still(self, here: str, depth: int) -> bool:
        """Whether the services of ``here`` are what they were."""
        above = self._needed_by.get(here, _NOWHERE)
        if any(self._depths[each] > depth for each in above):
            return False
        if here in self._weak and not self._is_vouched_for(here, depth):
            return False
        found = {id(services): services for services in (self._services[each] for each in (here, *above))}
        return self._topology._most_critical((here,), found.values()) == self._services[here]

    def _work_out(self, here: str, depth: int) -> None:
        above = self._needed_by.get(here, _NOWHERE)
        deepest = max((self._depths[each] for each in above), default=-1)
        maybe_in_a_circle = any(self._depths[each] == depth for each in above)
        if maybe_in_a_circle or (deepest > depth and here in self._deepened):
            self._topology._forget_services((here,))
        elif deepest > depth:
            self._deepened.add(here)
            self._depths[here] = deepest + 1
            for ci in (here, *self._needs.get(here, _NOWHERE)):
                self._look_at(ci)
        else:
            found = {id(services): services for services in (self._services[each] for each in above)}
            self._services[here] = self._topology._most_critical((here,), found.values())
            for there in self._needs.get(here, _NOWHERE):
                self._weak.add(there)
                self._look_at(there)

    def _is_vouched_for(self, here: str, depth: int) -> bool:
        """Whether its services are found through CIs of less depth alone: on its own way up, or on that of others in
        the circle, as far as there are steps left."""
        known, seen, edge = self._services[here], {here}, [here]
        found: dict[int, tuple[str, ...]] = {}
        while edge and self._steps_left > 0:
            above = {there for each in edge for there in self._needed_by.get(each, _NOWHERE)}
            self._steps_left -= len(above)
            for there in above:
                if self._depths[there] < depth:
                    found[id(self._services[there])] = self._services[there]
            if self._topology._most_critical(seen, found.values()) == known:
                return True
            edge = [there for there in above if self._depths[there] == depth and there not in seen]
            seen.update(edge)
        return False

    def _is_way_around(self, dependent: str, dependency: str) -> bool:
        """Whether ``dependent`` still needs ``dependency`` by way of others in the circle, as far as a short search
        from both ends tells."""
        depth = self._depths.get(dependency)
        if self._depths.get(dependent) != depth:
            return False
        seen = ({dependent}, {dependency})
        edges: list[Collection[str]] = [[dependent], [dependency]]
        while all(edges) and len(seen[0]) + len(seen[1]) < Topology.MAX_REACH:
            at = len(seen[1]) < len(seen[0])
            steps = self._needed_by if at else self._needs
            further = {there for here in edges[at] for there in steps.get(here, _NOWHERE)}
            edges[at] = {there for there in further - seen[at] if self._depths.get(there) == depth}
            seen[at].update(edges[at])
            if not seen[1 - at].isdisjoint(edges[at]):
                return True
        return False


def circles(start: str, further: Callable[[str], Iterable[str]], settled: Container[str]) -> Iterator[list[str]]:
    """Strongly connected components of what can be reached from ``start`` by steps ``further`` and is not ``settled``
    yet, by Tarjan's algorithm without recursion (SIAM J. Comput. 1(2), 1972): before each component all comes that can
    be reached from it. Whoever reads them settles each."""
    index: dict[str, int] = {start: 0}
    low = {start: 0}
    path = [start]
    work = [(start, iter(further(start)))]
    while work:
        here, rest = work[-1]
        for there in rest:
            if there in settled:
                continue
            if there not in index:
                index[there] = low[there] = len(index)
                path.append(there)
                work.append((there, iter(further(there))))
                break
            low[here] = min(low[here], index[there])  # still on the path: what left it is settled
        else:
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[here])
            if low[here] == index[here]:
                part = [path.pop()]
                while part[-1] != here:
                    part.append(path.pop())
                yield part


# ---- relationships as steps -----------------------------------------------------------------------------------------


class _Ways:
    """What a relationship of a type means: the step from its source to its target, and the one back; None for none."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self._costs = costs
        self._known: dict[str, tuple[_Step | None, _Step | None]] = {}

    def of(self, kind: str) -> tuple[_Step | None, _Step | None]:
        found = self._known.get(kind)
        if found is None:
            direction = DIRECTIONS.get(kind, Direction.SOURCE_SUFFERS)
            step = (self._costs.get(kind, 1.0), kind)
            there = step if direction in (Direction.SOURCE_SUFFERS, Direction.BOTH_SUFFER) else None
            back = step if direction in (Direction.TARGET_SUFFERS, Direction.BOTH_SUFFER) else None
            found = self._known[kind] = (there, back)
        return found


def _pairs(flat: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Type and target in turn."""
    parts = iter(flat)
    return zip(parts, parts, strict=True)


def _gathered(relationships: Iterable[Relationship], cis: Mapping[str, CI]) -> Relationships:
    """By source, with one string for each id and type, however often it was decoded."""
    same: dict[str, str] = {id: id for id in cis}
    one = same.setdefault
    by_source: dict[str, list[tuple[str, str]]] = {}
    for tie in relationships:
        source = one(tie.source, tie.source)
        found = by_source.get(source)
        if found is None:
            found = by_source[source] = []
        found.append((one(tie.type, tie.type), one(tie.target, tie.target)))
    of, count = {}, 0
    while by_source:  # which empties what is read, so that not all is there twice
        source, pairs = by_source.popitem()
        of[source] = flat = tuple(chain.from_iterable(dict.fromkeys(pairs)))
        count += len(flat) // 2
    return Relationships(dict(reversed(of.items())), count)


def _drawn(relationships: Relationships, ways: _Ways) -> tuple[_Steps, _Steps]:
    """What each CI needs, and what needs it; of several relationships between two the cheapest, then by type."""
    needs: _Steps = {}
    needed_by: _Steps = {}
    for source, flat in relationships.of.items():
        for kind, target in _pairs(flat):
            if source == target:
                continue
            there, back = ways.of(kind)
            if there is not None:
                _draw(needs, source, target, there)
                _draw(needed_by, target, source, there)
            if back is not None:
                _draw(needs, target, source, back)
                _draw(needed_by, source, target, back)
    for steps in (needs, needed_by):
        for ci, found in steps.items():
            if len(found) > 1:
                steps[ci] = _in_order(found)
    return needs, needed_by


def _draw(steps: _Steps, here: str, there: str, step: _Step) -> None:
    found = steps.get(here)
    if found is None:
        steps[here] = {there: step}
    elif there not in found or step < found[there]:
        found[there] = step


def _in_order(steps: Mapping[str, _Step]) -> dict[str, _Step]:
    ordered = sorted(steps)
    costs = {step[0] for step in steps.values()}
    if len(costs) > 1:
        ordered.sort(key=lambda there: steps[there][0])
    return {there: steps[there] for there in ordered}


class _KindsBetween:
    """The step from one CI to another by all relationships that there are now, for few of very many pairs."""

    def __init__(self, of: Mapping[str, tuple[str, ...]], ways: _Ways) -> None:
        self._of, self._ways = of, ways
        self._by_target: dict[str, dict[str, list[str]]] = {}

    def step(self, dependent: str, dependency: str) -> _Step | None:
        if dependent == dependency:
            return None
        there = (self._ways.of(kind)[0] for kind in self._between(dependent, dependency))
        back = (self._ways.of(kind)[1] for kind in self._between(dependency, dependent))
        return min((step for step in (*there, *back) if step is not None), default=None)

    def _between(self, source: str, target: str) -> list[str]:
        found = self._by_target.get(source)
        if found is None:
            found = self._by_target[source] = {}
            for kind, there in _pairs(self._of.get(source, ())):
                found.setdefault(there, []).append(kind)
        return found.get(target, [])


def _changed(
    old: Relationships, delta: TopologyDelta, cis: Mapping[str, CI]
) -> tuple[Relationships, list[tuple[str, str]]]:
    """The relationships after ``delta``, and between which CIs they are not what they were."""

    def same(id: str) -> str:
        return cis[id].id if id in cis else id

    by_source: dict[str, dict[tuple[str, str], bool]] = {}
    for there, ties in ((False, delta.gone_relationships), (True, delta.put_relationships)):
        for tie in ties:
            by_source.setdefault(same(tie.source), {})[tie.type, same(tie.target)] = there
    of, count = old.of.copy(), len(old)
    changed = []
    for source, said in by_source.items():
        before = dict.fromkeys(_pairs(of.get(source, ())))
        now = [pair for pair in before if said.get(pair, True)]
        now += [pair for pair, there in said.items() if there and pair not in before]
        changed += [(source, target) for (kind, target), there in said.items() if there != ((kind, target) in before)]
        count += len(now) - len(before)
        if now:
            of[source] = tuple(chain.from_iterable(now))
        else:
            of.pop(source, None)
    return Relationships(of, count), changed


def _edited(old: _Steps, changes: Mapping[str, Mapping[str, _Step | None]]) -> _Steps:
    new = old.copy()
    for ci, steps in changes.items():
        all_steps = {**old.get(ci, _NOWHERE), **steps}
        left = {there: step for there, step in all_steps.items() if step is not None}
        if left:
            new[ci] = _in_order(left)
        else:
            new.pop(ci, None)
    return new


# ---- names ----------------------------------------------------------------------------------------------------------

_Names = dict[str, str | tuple[str, ...]]
"""By canonical spelling, the one CI that goes by it, or several, sorted."""


def _spellings(ci: CI) -> set[str]:
    return canonical_all([name for name in (ci.id, ci.name, *ci.aliases) if name])


def _names_of(cis: Iterable[CI]) -> _Names:
    names: _Names = {}
    several: dict[str, list[str]] = {}
    for ci in cis:
        for name in _spellings(ci):
            first = names.setdefault(name, ci.id)
            if first is not ci.id:
                several.setdefault(name, [first]).append(ci.id)  # type: ignore[list-item]
    for name, ids in several.items():
        _name(names, name, ids)
    return names


def _name(names: _Names, name: str, ids: list[str]) -> None:
    if len(ids) == 1:
        names[name] = ids[0]
    elif ids:
        names[name] = tuple(sorted(ids))
    else:
        names.pop(name, None)


def _ids(found: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if found is None else (found,) if isinstance(found, str) else found


def _shares(up: Mapping[str, tuple[float, str]], down: Mapping[str, tuple[float, str]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for there, (cost, _) in (*up.items(), *down.items()):
        weights[there] = max(weights.get(there, 0.0), 1.0 / cost)
    total = math.fsum(weights.values())
    return {there: weight / total for there, weight in weights.items()}
