"""What is known of a CI, and of the way between two, with who says so."""

from itertools import pairwise

from msgspec import Struct

from foreshock.core.errors import Missing
from foreshock.core.model import CI
from foreshock.core.reconcile import Conflict
from foreshock.core.topology import DIRECTIONS, Direction, Topology
from foreshock.store.cmdb import CmdbStore, SaidItem, SaidTie

_MOST = 500
"""Relationships of one CI that are shown."""


class Held(Struct, frozen=True, kw_only=True):
    """begin: the first version it holds in. end: the first it holds no more in; None: it holds still."""

    begin: int
    end: int | None
    ci: CI


class ShownTie(Struct, frozen=True, kw_only=True):
    """spreads: in words, where a failure of one end is felt."""

    source: str
    type: str
    target: str
    spreads: str
    said: tuple[SaidTie, ...]


class ShownCI(Struct, frozen=True, kw_only=True):
    """ci: None where it is no part of the topology any more. relationships: at most some hundreds; related: all."""

    id: str
    ci: CI | None
    said: tuple[SaidItem, ...]
    relationships: tuple[ShownTie, ...]
    related: int
    conflicts: tuple[Conflict, ...]
    history: tuple[Held, ...]


def shown(store: CmdbStore, name: str) -> ShownCI:
    """By id, or by a name that is one CI's alone. Raises Missing."""
    id = resolved(store, name)
    ties = store.relationships_of(id)
    return ShownCI(
        id=id,
        ci=store.ci(id),
        said=tuple(store.said_of(id)),
        relationships=tuple(_tie(store, one.source, one.type, one.target) for one in ties[:_MOST]),
        related=len(ties),
        conflicts=tuple(store.conflicts(ci=id)),
        history=tuple(Held(begin=begin, end=end, ci=ci) for begin, end, ci in store.history_of(id)),
    )


def way(store: CmdbStore, one: str, other: str) -> tuple[ShownTie, ...]:
    """The relationships of a shortest way between two CIs; empty where there is none. Raises Missing."""
    topology = _topology(store)
    steps = topology.way(_named(topology, one), _named(topology, other), most=len(topology.cis))
    found = []
    for here, there in pairwise(steps):
        between = [tie for tie in store.relationships_of(here) if {tie.source, tie.target} == {here, there}]
        spreading = [tie for tie in between if DIRECTIONS.get(tie.type) is not Direction.NEITHER_SUFFERS]
        found += [_tie(store, tie.source, tie.type, tie.target) for tie in (spreading or between)[:1]]
    return tuple(found)


def resolved(store: CmdbStore, name: str) -> str:
    """Raises Missing."""
    if store.ci(name) is not None or store.history_of(name):
        return name
    return _named(_topology(store), name)


def _named(topology: Topology, name: str) -> str:
    found = topology.named(name)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(sorted(found)[:5])
        raise Missing(f"{name!r} means several CIs", hint=f"name one by its id: {several}")
    raise Missing(f"no CI goes by {name!r}", hint="see `foreshock cmdb as-of` for what there is, or give another name")


def _topology(store: CmdbStore) -> Topology:
    newest = store.newest()
    if newest is None:
        raise Missing("there is no topology yet", hint="read the sources: foreshock cmdb sync")
    found = store.whole(newest.number)
    return Topology(found.cis, found.relationships, version=found.version)


def _tie(store: CmdbStore, source: str, type: str, target: str) -> ShownTie:
    spreads = {
        Direction.SOURCE_SUFFERS: f"from {target} to {source}",
        Direction.TARGET_SUFFERS: f"from {source} to {target}",
        Direction.BOTH_SUFFER: "both ways",
        Direction.NEITHER_SUFFERS: "not",
    }[DIRECTIONS.get(type, Direction.SOURCE_SUFFERS)]
    said = tuple(store.said_between(source, type, target))
    return ShownTie(source=source, type=type, target=target, spreads=spreads, said=said)
