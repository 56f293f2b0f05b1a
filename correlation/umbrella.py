"""Umbrellas: when very many situations begin on what depends on one CI, one of them has the ticket for all.

A site, a provider or a rack that fails makes thousands of situations, as what is far apart in it has nothing to do with
each other but that. They stay what they are; only who tells of them changes. There is one level: what holds an umbrella
is under none.

Asked from below, as ``correlation.below`` is: each situation is entered under what the CI it began on depends on, so
that a new one is compared with a few numbers, whatever depends on a hub.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from correlation.group import number
from correlation.settings import UmbrellaSettings
from foreshock.core.model import Held, HeldKind, Situation, SituationState, TicketState, Umbrella
from foreshock.core.topology import Reach, Topology

ABOVE = Reach(max_cost=6.0, most=128)
"""How far up an umbrella may stand: service, application, VM, host, rack, room, site."""
BELOW = Reach(max_cost=6.0, most=5_000)
"""What depends on a CI is counted up to here; a share of more is a share of so many, the nearest."""
MAX_LOOKED_AT = 1_000
"""Situations below one CI that are looked at together, the newest."""
_OF_MANY = 1 / 6  # of the share: so many that nobody can look at each
_MOST_THROUGH_ONE = 0.75  # if more come through one dependent, that one is what they have in common
_GOES_ON = 0.5  # of what it took to begin: a storm that slows down to less is over
_MAX_REMEMBERED = 10_000
_MAX_COUNTED = 16
_MAX_SEEN_BELOW = 250_000  # CIs on all walks down that are remembered: some 3 MB

_Key = tuple[datetime, int]
_NONE: Mapping[str, str] = {}
_NO_KEYS: Sequence[_Key] = ()


class Found(Struct, frozen=True):
    """What comes together.

    Attributes:
        ci: what they have in common.
        holder: id of the situation that holds the umbrella over it; empty if there is none yet.
        situations: ids, ascending; where there is no holder yet, the one to be is among them.
    """

    ci: str
    holder: str
    situations: tuple[str, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """What an umbrella amounts to now, with what its holder has itself.

    Attributes:
        ci: what all have in common, kind: of that; empty where the holder was only too full, and in a storm.
        storm: they have nothing in common but that tickets were due too fast.
        total, open: situations that came under it, and those that are not over.
        alerts, active, cis: of the holder and of those that are not over.
        ticketed: how many of those have a ticket of their own that is open; tickets: the numbers of some.
        worst: the most urgent of those, in words; bounded.
    """

    ci: str
    kind: str
    total: int
    open: int
    alerts: int
    active: int
    cis: int
    ticketed: int
    tickets: tuple[str, ...]
    worst: tuple[str, ...]
    storm: bool = False


class Umbrellas:
    """Open situations: those under each umbrella, and those under none by what they may come together below.

    All of it follows from the situations. Whoever changes the parent, the umbrella or the state of one of them drops it
    before and adds it again after.

    Args:
        situations: all that are known, by id.
    """

    def __init__(
        self,
        situations: Mapping[str, Situation] | None = None,
        topology: Topology | None = None,
        settings: UmbrellaSettings | None = None,
    ) -> None:
        self._situations: Mapping[str, Situation] = {} if situations is None else situations
        self._topology = Topology() if topology is None else topology
        self.settings = UmbrellaSettings() if settings is None else settings
        self._under: dict[str, list[_Key]] = {}  # by parent, in the order in which they rose
        self._over: dict[str, list[int]] = {}  # numbers of those that hold an umbrella, by its CI
        self._hubs: dict[str, dict[str, str]] = {}  # by CI: who rose lately below it, and through which dependent
        self._risen: list[_Key] = []  # a heap: those in ``_hubs``, and some that have left
        self._wide: dict[str, tuple[str, ...]] = {}  # those that were counted below it, as many as are needed
        self._counted = 0
        self._below: dict[str, Collection[str]] = {}
        self._sizes: dict[str, int] = {}
        self._at_least: dict[str, int] = {}  # the same, as far as they were counted
        self._ways: dict[str, tuple[tuple[str, str], ...]] = {}

    # ---- who is where ----

    def add(self, situation: Situation, now: datetime) -> None:
        """It is open."""
        key = risen_at(situation), number(situation.id)
        if situation.parent:
            insort(self._under.setdefault(situation.parent, []), key)
            return
        umbrella = situation.umbrella
        if umbrella is not None and umbrella.ci:
            insort(self._over.setdefault(umbrella.ci, []), key[1])
        if self.settings.situations and key[0] > now - self.settings.within:
            heapq.heappush(self._risen, key)
            for ci, via in self._places(situation):
                self._hubs.setdefault(ci, {})[situation.id] = via

    def drop(self, situation: Situation) -> None:
        """It was added, and is no longer open or not where it was."""
        if situation.parent:
            _take(self._under, situation.parent, (risen_at(situation), number(situation.id)))
            return
        umbrella = situation.umbrella
        if umbrella is not None and umbrella.ci:
            _take(self._over, umbrella.ci, number(situation.id))
        self._leave(situation)

    def under(self, situation: Situation) -> list[str]:
        """Ids of the open situations under its umbrella, in the order in which they rose."""
        return [f"S-{name}" for _, name in self._under.get(situation.id, _NO_KEYS)]

    def count(self, situation: Situation) -> int:
        """How many open situations are under its umbrella."""
        return len(self._under.get(situation.id, _NO_KEYS))

    def trim(self, now: datetime) -> None:
        """Forget those that rose too long ago to come together with a new one."""
        due = now - self.settings.within
        while self._risen and self._risen[0][0] <= due:
            situation = self._situations.get(f"S-{heapq.heappop(self._risen)[1]}")
            if situation is not None and risen_at(situation) <= due:
                self._leave(situation)

    def state(self) -> dict[str, object]:
        """All there is, for a comparison with what it follows from."""
        return {"under": self._under, "over": self._over, "hubs": self._hubs}

    def _leave(self, situation: Situation) -> None:
        if not self._hubs:
            return
        for ci, _ in self._places(situation):
            hub = self._hubs.get(ci)
            if hub is not None and hub.pop(situation.id, None) is not None and not hub:
                del self._hubs[ci]

    def _places(self, situation: Situation) -> tuple[tuple[str, str], ...]:
        """The CIs that enough depends on, with the direct dependent through which it comes; nearest first."""
        start = _place(situation)
        if not start:
            return ()
        found = self._ways.get(start)
        if found is None:
            if len(self._ways) >= _MAX_REMEMBERED:
                self._ways.clear()
            way = self._topology.walk_up(start, ABOVE)
            found = self._ways[start] = tuple((ci, hop.before) for ci, hop in way.items() if self._is_wide(ci))
        return found

    def _is_wide(self, ci: str) -> bool:
        """Whether so many depend on it that an umbrella may be needed."""
        enough = max(2, self.settings.situations)
        if self._topology.even and len(self._topology.steps_down(ci)) >= enough:
            return True  # a hub, whose dependents need not be put in order to be counted
        below = self._wide.get(ci)
        if below is None:
            below = tuple(self._topology.walk_down(ci, Reach(BELOW.max_cost, enough)))
            self._counted += len(below)
            if self._counted > _MAX_SEEN_BELOW:
                self._wide, self._counted = {}, len(below)
            self._wide[ci] = below
        return len(below) >= enough

    def take_over(self, before: "Umbrellas") -> None:
        """What was worked out before the topology changed, where it is still so."""
        touched = self._topology.since(before._topology)
        if touched is None or self.settings != before.settings:
            return
        self._wide = {ci: below for ci, below in before._wide.items() if touched.dependencies.isdisjoint(below)}
        self._counted = sum(map(len, self._wide.values()))

    # ---- what comes together ----

    def find(self, situation: Situation, now: datetime, affected: Mapping[str, Collection[str]]) -> Found | None:
        """What ``situation``, which was added, comes together with now: an umbrella that stands over it, the nearest,
        or else as many as need a new one.

        affected: CIs with alerts, by situation.
        """
        self.trim(now)
        ways = [ci for ci, _ in self._places(situation)] if may_come_under(situation) else []
        for ci in ways:
            for name in reversed(self._over.get(ci, ())):
                holder = self._situations[f"S-{name}"]
                if holder is not situation and self._takes(holder, now):
                    return Found(ci, holder.id, (situation.id,))
        found = [(ci, here) for ci in ways if (here := self._together(ci, situation, affected))]
        if not found:
            return None
        # The nearest; but where something is wrong with one of them itself, that one.
        speaking = [(ci, here) for ci, here in found if any(ci in affected.get(id, ()) for id in here)]
        ci, here = (speaking or found)[0]
        return Found(ci, self._holder(ci), tuple(here))

    def _takes(self, holder: Situation, now: datetime) -> bool:
        """Whether so many still come that it takes each of them."""
        umbrella = holder.umbrella
        if umbrella is None or is_closed(holder):
            return False
        enough = max(1, int(umbrella.enough * _GOES_ON))
        under = self._under.get(holder.id, _NO_KEYS)
        return len(under) >= enough and under[-enough][0] > now - self.settings.within

    def _together(self, ci: str, situation: Situation, affected: Mapping[str, Collection[str]]) -> list[str]:
        """Ids of those that need an umbrella over ``ci``; empty if they do not."""
        hub = self._hubs.get(ci, _NONE)
        if situation.id not in hub:
            return []
        if len(hub) < self.settings.situations and sum(map(self._weight, hub)) < self.settings.situations:
            return []
        # Nearly always it is no. Where none has thousands under it, that is seen without a closer look at each.
        if not self._over and self._are_too_few(self._affected(hub, affected), ci, len(hub)):
            return []
        here = [id for id in sorted(hub, key=number)[-MAX_LOOKED_AT:] if not is_closed(self._situations[id])]
        through = Counter[str]()
        for id in here:
            through[hub[id]] += self._weight(id)
        count = through.total()
        most = max((n for via, n in through.items() if via != ci), default=0)
        if len(here) < 2 or count < self.settings.situations or most > _MOST_THROUGH_ONE * count:
            return []
        if self._are_too_few(self._affected(here, affected), ci, count):
            return []
        least, below = self._least(ci, count), self._all_below(ci)
        hit = {there for id in self._with_those_under(here) for there in affected.get(id, ()) if there in below}
        return here if len(hit) >= least else []

    def _are_too_few(self, cis: int, ci: str, situations: int) -> bool:
        """Whether so many CIs are less than ``_least``. No more is counted below ``ci`` than it takes to say so."""
        share = self._share(situations)
        size = self._sizes.get(ci, self._at_least.get(ci, 0))
        if cis < share * size or ci in self._sizes:
            return cis < share * size
        most = 2 * int(cis / share) + 2  # so that it is counted seldom while they become more
        if most >= BELOW.most:
            return cis < share * self._size(ci)
        if len(self._at_least) >= _MAX_REMEMBERED:
            self._at_least.clear()
        size = self._at_least[ci] = len(self._topology.walk_down(ci, Reach(BELOW.max_cost, most)))
        if size < most:
            self._remember_size(ci, size)
        return cis < share * size

    def _least(self, ci: str, situations: int) -> float:
        """How many CIs that many situations must have below ``ci``."""
        return self._share(situations) * self._size(ci)

    def _share(self, situations: int) -> float:
        return self.settings.share * (_OF_MANY if situations >= self.settings.many else 1.0)

    def _affected(self, ids: Iterable[str], affected: Mapping[str, Collection[str]]) -> int:
        """How many CIs they have, with those under them: if all are below, and none twice."""
        return sum(len(affected.get(id, ())) for id in self._with_those_under(ids))

    def _weight(self, id: str) -> int:
        """How many situations it stands for below what its place depends on."""
        umbrella = self._situations[id].umbrella
        return 1 + len(self._under.get(id, _NO_KEYS)) if umbrella is not None and umbrella.ci else 1

    def _with_those_under(self, ids: Iterable[str]) -> Iterator[str]:
        for id in ids:
            yield id
            if id in self._under:
                yield from self.under(self._situations[id])

    def _size(self, ci: str) -> int:
        """How many depend on it."""
        found = self._sizes.get(ci)
        if found is None:
            found = len(self._all_below(ci))
            self._remember_size(ci, found)
        return found

    def _remember_size(self, ci: str, size: int) -> None:
        if len(self._sizes) >= _MAX_REMEMBERED:
            self._sizes.clear()
        self._sizes[ci] = size

    def _all_below(self, ci: str) -> Collection[str]:
        found = self._below.get(ci)
        if found is None:
            if len(self._below) >= _MAX_COUNTED:
                self._below.clear()
            found = self._below[ci] = frozenset(self._topology.walk_down(ci, BELOW))
        return found

    def _holder(self, ci: str) -> str:
        """Who holds an umbrella over ``ci`` that took no more until now."""
        names = [name for name in self._over.get(ci, ()) if not is_closed(self._situations[f"S-{name}"])]
        return f"S-{names[-1]}" if names else ""


def _take(index: dict[str, list[Any]], name: str, key: Any) -> None:
    here = index[name]
    del here[bisect_left(here, key)]
    if not here:
        del index[name]


def _place(situation: Situation) -> str:
    """An umbrella stands for what it is over; what came in a storm is in no one place."""
    umbrella = situation.umbrella
    if umbrella is None:
        return situation.first_ci
    return "" if umbrella.storm else umbrella.ci or situation.first_ci


def both(one: Umbrella, other: Umbrella) -> Umbrella:
    """Who holds the first one holds what the second one did, too. Whether it is for a storm stays, so that nothing
    changes for those under it."""
    ci = one.ci if one.storm else one.ci or other.ci
    storm = min(one.storm, other.storm or one.storm)
    return replace(one, ci=ci, storm=storm, total=one.total + other.total)


def risen_at(situation: Situation) -> datetime:
    """When it last became open."""
    return situation.reopened_at or situation.opened_at


def is_closed(situation: Situation) -> bool:
    """A person closed its ticket: nobody would hear of more there."""
    return any(ticket.closed_by for ticket in situation.tickets.values())


def may_come_under(situation: Situation) -> bool:
    """What a person said is a problem of its own has a ticket of its own; what has the ticket for a storm keeps it."""
    free = situation.state is SituationState.OPEN and not situation.parent and not situation.shaped_by
    return free and not (situation.umbrella is not None and situation.umbrella.storm)


def choose(situations: Sequence[Situation], ci: str, affected: Mapping[str, Collection[str]]) -> Situation:
    """Who of them should hold an umbrella over ``ci``: one that is about that CI, else the oldest."""
    return min(situations, key=lambda each: (ci not in affected.get(each.id, ()), number(each.id)))


def held(parent: Situation | None, sink: str, now: datetime, settings: UmbrellaSettings) -> Held | None:
    """Why what is under the umbrella of ``parent`` opens no ticket in a sink; None where it does."""
    ticket = None if parent is None else parent.tickets.get(sink)
    if parent is None or ticket is None or (ticket.state is TicketState.REJECTED and not ticket.number):
        return None
    storm = parent.umbrella is not None and bool(parent.umbrella.storm)
    kind = HeldKind.STORM if storm else HeldKind.UMBRELLA
    if ticket.open and storm:
        return Held(kind=kind, id=parent.id, reason=f"tickets were due too fast: {parent.id} has the one for the rest")
    if ticket.open:
        return Held(kind=kind, id=parent.id, reason=f"{parent.id} has the ticket for all under its umbrella")
    until = ticket.closed_at + settings.grace if ticket.closed_by and ticket.closed_at is not None else now
    if until <= now:
        return None
    reason = f"{ticket.closed_by} closed the ticket of {parent.id}, which was for all under its umbrella"
    return Held(kind=kind, id=parent.id, reason=reason, until=until)
