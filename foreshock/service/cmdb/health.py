"""How far a topology can be trusted: what is old, alone, doubled, circular, crowded, unknown or contradicted by what
happened; each with what to do about it, and where.

There is no score: what is wrong with a CMDB is not one number, and somebody must mend it one record at a time.
"""

import difflib
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from foreshock.core.contracts import Snapshot
from foreshock.core.model import CI, Moment, Relationship
from foreshock.core.reconcile import Conflict, ConflictKind, fold
from foreshock.core.topology import DIRECTIONS, Direction, Topology
from foreshock.service.suggest.recall import Episode, Recalled
from foreshock.store.cmdb import CmdbStore, SourceState
from foreshock.store.cmdb_trust import Loose, Told, Unmapped, loose, told, unmapped_classes, unmapped_relations

MOST = 20
"""Findings of one kind that are told, the weightiest; how many more there are is told too."""
_EXAMPLES = 5
AGES = (
    (timedelta(days=1), "a day"),
    (timedelta(days=7), "a week"),
    (timedelta(days=30), "a month"),
    (timedelta(days=365), "a year"),
)
_STALE = 3
"""Times its interval."""
_HUB = Topology.MAX_REACH
"""A walk visits so many CIs: what has more neighbours cuts it short."""
_CIRCULAR = frozenset(
    {"runs_on", "hosted_on", "hosts", "contains", "member_of", "located_in", "powered_by", "powers", "stored_on",
     "depends_on", "supports"}
)  # fmt: skip
"""What nothing can be to itself in a circle. Services may well call each other, and links go both ways."""
_FEWEST_ONSETS = 5
_SPREAD = timedelta(minutes=15)
"""A failure that spreads along a relationship is seen at the other end within so long."""
_SIMILAR = 0.7
_MOST_COMPARED = 3000
_MOST_CONFLICTS = 100_000


class Doubt(StrEnum):
    """What can be wrong."""

    SOURCE = "source"
    UNBOUND = "unbound alerts"
    AMBIGUOUS = "ambiguous name"
    DUPLICATE = "suspected duplicate"
    CONFLICT = "conflict"
    CYCLE = "cycle"
    HUB = "hub"
    ORPHANS = "orphans"
    CLASS = "unmapped class"
    RELATION = "unmapped relation"
    FLAWS = "unreadable objects"
    LOOSE = "loose relationships"
    MISSING = "missing relationship"
    UNLIKELY = "unlikely relationship"


class Doubtful(Struct, frozen=True, kw_only=True):
    """One thing to look at.

    Attributes:
        weight: how many objects, alerts or times; the more, the sooner it is worth it.
        seen: what was found. remedy: what to do, and where. examples: CIs or objects, a few.
    """

    doubt: Doubt
    weight: int
    seen: str
    remedy: str
    examples: tuple[str, ...] = ()


class Trust(Struct, frozen=True, kw_only=True):
    """What one source tells, and how fresh it is.

    Attributes:
        confirmed_at: when it was last read without error. oldest_at: since when its oldest relationship is told.
        ages: how many of its relationships are told for less than each of ``AGES``, and the older ones last.
    """

    source: str
    kind: str
    items: int
    ties: int
    confirmed_at: Moment | None
    oldest_at: Moment | None
    ages: tuple[int, ...]


class Health(Struct, frozen=True, kw_only=True):
    """What was found. counts: findings by doubt, also those that are not told. alerts: whether it was looked at what
    happened."""

    at: Moment
    version: str
    cis: int
    relationships: int
    sources: tuple[Trust, ...]
    found: tuple[Doubtful, ...]
    counts: dict[str, int] = {}
    alerts: bool = False


class Graph(Struct, frozen=True, kw_only=True):
    """What is known without looking at what happened.

    Attributes:
        intervals: by source how often it is read in full.
        loose: what they tell and no CI has.
        who: the sources that say that there is a relationship.
    """

    snapshot: Snapshot
    sources: Sequence[SourceState]
    intervals: Mapping[str, timedelta]
    told: Sequence[Told]
    classes: Sequence[Unmapped]
    relations: Sequence[Unmapped]
    conflicts: Sequence[Conflict]
    loose: Sequence[Loose]
    who: Callable[[Relationship], Sequence[str]]


def health(graph: Graph, past: Recalled | None, now: datetime) -> Health:
    """All that is doubtful, the weightiest of each kind first."""
    snapshot = graph.snapshot
    found: dict[Doubt, list[Doubtful]] = {doubt: [] for doubt in Doubt}
    parts = [
        _old(graph, now), _flaws(graph.sources), _conflicts(graph.conflicts), _ambiguous(snapshot.cis),
        _cycles(snapshot.relationships, graph.who), _hubs(snapshot), _orphans(snapshot), _unmapped(graph),
        _loose(graph.loose),
    ]  # fmt: skip
    if past is not None:
        names = {name for ci in snapshot.cis for name in (ci.id, ci.name, *ci.aliases)}
        parts += [
            unbound(unknown(past.episodes), names),
            _missing(past),
            unlikely(past.episodes, past.topology, graph.who),
        ]
    for part in parts:
        for one in part:
            found[one.doubt].append(one)
    ranked = {doubt: sorted(some, key=lambda one: (-one.weight, one.seen)) for doubt, some in found.items()}
    return Health(
        at=now,
        version=snapshot.version,
        cis=len(snapshot.cis),
        relationships=len(snapshot.relationships),
        sources=tuple(_trust(state, graph.told, now) for state in graph.sources),
        found=tuple(one for some in ranked.values() for one in some[:MOST]),
        counts={doubt.value: len(some) for doubt, some in ranked.items() if some},
        alerts=past is not None,
    )


# ---- sources --------------------------------------------------------------------------------------------------------


def _trust(state: SourceState, told: Sequence[Told], now: datetime) -> Trust:
    ages = [0] * (len(AGES) + 1)
    mine = [one for one in told if one.source == state.name]
    for one in mine:
        ages[next((at for at, (age, _) in enumerate(AGES) if now - one.since < age), len(AGES))] += one.count
    return Trust(
        source=state.name,
        kind=state.kind,
        items=state.items,
        ties=state.ties,
        confirmed_at=state.succeeded_at,
        oldest_at=min((one.since for one in mine), default=None),
        ages=tuple(ages),
    )


def _old(graph: Graph, now: datetime) -> Iterator[Doubtful]:
    for state in graph.sources:
        every = graph.intervals.get(state.name)
        last = state.succeeded_at
        if every is None:
            seen = "is no longer in the settings, and what it said still counts"
            remedy = f"let its CIs go, `foreshock cmdb sync {state.name} --accept-retire N`, or add it again"
        elif last is None or now - last > _STALE * every:
            seen = f"was last read {f'{(now - last).days} days ago' if last is not None else 'never'}, although it is "
            seen += f"to be read every {every}"
            remedy = f"see why: foreshock cmdb test {state.name}"
        else:
            continue
        yield Doubtful(doubt=Doubt.SOURCE, weight=state.items, seen=f"{state.name} {seen}", remedy=remedy)


def _flaws(sources: Iterable[SourceState]) -> Iterator[Doubtful]:
    for state in sources:
        if state.flaws:
            yield Doubtful(
                doubt=Doubt.FLAWS,
                weight=state.flaws,
                seen=f"{state.flaws} objects of {state.name} could not be read, and are missing",
                remedy=f"see which, and mend them there: foreshock cmdb status -o json, source {state.name}",
            )


def _loose(counts: Iterable[Loose]) -> Iterator[Doubtful]:
    for one in counts:
        if one.without_ci:
            yield Doubtful(
                doubt=Doubt.LOOSE,
                weight=one.without_ci,
                seen=f"{one.without_ci} relationships of {one.source} have an end that it does not tell of, or retired",
                remedy=f"let {one.source} tell of more classes, or remove them there",
            )
        if one.to_itself:
            yield Doubtful(
                doubt=Doubt.LOOSE,
                weight=one.to_itself,
                seen=f"{one.to_itself} relationships of {one.source} lead from a CI to itself",
                remedy=f"remove them in {one.source}; they change nothing here",
            )


def _unmapped(graph: Graph) -> Iterator[Doubtful]:
    for one in graph.classes:
        yield Doubtful(
            doubt=Doubt.CLASS,
            weight=one.count,
            seen=f"{one.class_name} of {one.source}: {one.count} objects are kept as generic",
            remedy=f"say what they are in the settings of {one.source}, or leave the class out there",
            examples=(one.example,) if one.example else (),
        )
    for one in graph.relations:
        name = f"{one.class_name!r} of {one.source}" if one.class_name else f"relations of {one.source} without a name"
        yield Doubtful(
            doubt=Doubt.RELATION,
            weight=one.count,
            seen=f"{name}: {one.count} relationships along which no failure is known to spread",
            remedy=f"say in the settings of {one.source} which of our types it is",
        )


# ---- the graph ------------------------------------------------------------------------------------------------------

_MEND = {
    ConflictKind.DUPLICATE: "merge the records there, or correct the value in the wrong one",
    ConflictKind.CONTRADICTION: "correct the value that is wrong, or give one of the two another name",
    ConflictKind.AMBIGUOUS: "give the right one an identifier that only it has, such as its serial number",
    ConflictKind.ATTRIBUTE: "correct it in the source that is wrong, or set whose word counts: reconcile.precedence",
    ConflictKind.RETIRED: "retire it there too, or take it into use again in the source that leads",
    ConflictKind.NAME: "give one of them another name",
}


def _conflicts(conflicts: Sequence[Conflict]) -> Iterator[Doubtful]:
    """Those about one attribute are one finding: usually one source writes it in its own way."""
    alike: defaultdict[tuple[str, tuple[str, ...]], list[Conflict]] = defaultdict(list)
    for one in conflicts:
        if one.kind is ConflictKind.ATTRIBUTE:
            alike[one.about, tuple(source for source, _ in one.objects)].append(one)
            continue
        doubtful = one.kind in (ConflictKind.DUPLICATE, ConflictKind.CONTRADICTION, ConflictKind.AMBIGUOUS)
        yield Doubtful(
            doubt=Doubt.DUPLICATE if doubtful else Doubt.CONFLICT,
            weight=len(one.objects),
            seen=one.detail if doubtful else f"{one.ci}: {one.detail}",
            remedy=_MEND[one.kind],
            examples=tuple(f"{source}:{id}" for source, id in one.objects[:_EXAMPLES]),
        )
    for (attribute, sources), some in alike.items():
        yield Doubtful(
            doubt=Doubt.CONFLICT,
            weight=len(some),
            seen=f"{attribute} differs between {' and '.join(sources)} for {_counted(len(some))}; for example "
            f"{some[0].ci}: {some[0].detail}",
            remedy=_MEND[ConflictKind.ATTRIBUTE],
            examples=tuple(one.ci for one in some[:_EXAMPLES]),
        )


def _ambiguous(cis: Sequence[CI]) -> Iterator[Doubtful]:
    """Names and aliases that mean several CIs: alerts with them are bound by scope, or not at all."""
    first: dict[str, int] = {}
    several: dict[str, list[int]] = {}
    for place, ci in enumerate(cis):
        for name in {fold(name) for name in (ci.id, ci.name, *ci.aliases)} - {""}:
            before = first.setdefault(name, place)
            if before != place:
                several.setdefault(name, [before]).append(place)
    for name, places in several.items():
        ids = [cis[place].id for place in places]
        yield Doubtful(
            doubt=Doubt.AMBIGUOUS,
            weight=len(ids),
            seen=f"{name!r} means {len(ids)} CIs: {_listed(ids)}",
            remedy="have senders name the id, or a scope such as environment or cluster; or rename one",
            examples=tuple(ids[:_EXAMPLES]),
        )


def _hubs(snapshot: Snapshot) -> Iterator[Doubtful]:
    degrees: Counter[str] = Counter()
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in snapshot.relationships:
        if DIRECTIONS.get(one.type) is not Direction.NEITHER_SUFFERS:
            degrees.update((one.source, one.target))
    hubs = {ci: degree for ci, degree in degrees.items() if degree > _HUB}
    for one in snapshot.relationships:
        for end in {one.source, one.target} & hubs.keys():
            types[end][one.type] += 1
    for ci, degree in hubs.items():
        most, count = types[ci].most_common(1)[0]
        yield Doubtful(
            doubt=Doubt.HUB,
            weight=degree,
            seen=f"{ci} has {degree} relationships, {count} of them {most}; a walk through it sees {_HUB} CIs",
            remedy="if it is a catch-all, such as a default location, leave it out at its source; if not, let it be",
            examples=(ci,),
        )


def _orphans(snapshot: Snapshot) -> Iterator[Doubtful]:
    tied = {end for one in snapshot.relationships for end in (one.source, one.target)}
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for ci in snapshot.cis:
        if ci.id not in tied:
            kinds[ci.kind].append(ci.id)
    totals = Counter(ci.kind for ci in snapshot.cis)
    for kind, ids in kinds.items():
        yield Doubtful(
            doubt=Doubt.ORPHANS,
            weight=len(ids),
            seen=f"{len(ids)} of {_counted(totals[kind])} of kind {kind} have no relationship: {_listed(ids)}",
            remedy="tell what they run on or belong to; until then their alerts join others by time and text alone",
            examples=tuple(ids[:_EXAMPLES]),
        )


def _cycles(relationships: Iterable[Relationship], who: Callable[[Relationship], Sequence[str]]) -> Iterator[Doubtful]:
    needs: defaultdict[str, dict[str, Relationship]] = defaultdict(dict)
    for one in relationships:
        if one.type in _CIRCULAR:
            upward = DIRECTIONS[one.type] is Direction.SOURCE_SUFFERS
            dependent, dependency = (one.source, one.target) if upward else (one.target, one.source)
            if dependent != dependency:
                needs[dependent].setdefault(dependency, one)
    for group in _circular({ci: list(others) for ci, others in needs.items()}):
        way = _shortest_circle(min(group), needs, group)
        steps = [needs[one][other] for one, other in zip(way, (*way[1:], way[0]), strict=True)]
        words = "; ".join(f"{one.source} {one.type} {one.target} ({', '.join(who(one)) or 'unknown'})" for one in steps)
        yield Doubtful(
            doubt=Doubt.CYCLE,
            weight=len(group),
            seen=f"{len(group)} CIs need themselves in a circle: {words}",
            remedy="remove or turn round the relationship that is wrong, at the source that is named with it",
            examples=tuple(way[:_EXAMPLES]),
        )


def _circular(needs: dict[str, list[str]]) -> Iterator[set[str]]:
    """Groups of CIs of which each needs each other. Tarjan 1972, doi:10.1137/0201010, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    for start in sorted(needs):
        if start in index:
            continue
        work: list[tuple[str, Iterator[str]]] = [(start, iter(needs.get(start, ())))]
        index[start] = low[start] = len(index)
        stack.append(start)
        waiting.add(start)
        while work:
            here, others = work[-1]
            for other in others:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    waiting.add(other)
                    work.append((other, iter(needs.get(other, ()))))
                    break
                if other in waiting:
                    low[here] = min(low[here], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[here])
                if low[here] == index[here]:
                    group = set()
                    while here not in group:
                        group.add(stack.pop())
                    waiting -= group
                    if len(group) > 1:
                        yield group


def _shortest_circle(start: str, needs: Mapping[str, Mapping[str, Relationship]], group: set[str]) -> list[str]:
    before = {start: ""}
    todo = deque([start])
    while todo:
        here = todo.popleft()
        for other in sorted(needs[here]):
            if other == start:
                way = [here]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if other in group and other not in before:
                before[other] = here
                todo.append(other)
    return [start]


# ---- what happened --------------------------------------------------------------------------------------------------


class Sighting(Struct, frozen=True):
    """Alerts that no CI is known for. ci: what they name; empty: nothing. labels: of one of them."""

    ci: str
    count: int
    source: str
    labels: Mapping[str, str]


def unknown(episodes: Iterable[Episode]) -> Iterator[Sighting]:
    for one in episodes:
        if not one.who.known:
            yield Sighting(one.who.ci, 1, one.who.source or one.who.collector, one.who.labels)


def unbound(sightings: Iterable[Sighting], names: Iterable[str]) -> Iterator[Doubtful]:
    """What sends alerts and is no CI, the loudest first, with the CIs whose names are nearest."""
    counts: Counter[str] = Counter()
    first: dict[str, Sighting] = {}
    for one in sightings:
        counts[one.ci] += one.count
        first.setdefault(one.ci, one)
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    near = _nearest([identifier for identifier, _ in ranked[:MOST] if identifier], names)
    for identifier, count in ranked:
        source, found = first[identifier].source, first[identifier].labels
        if not identifier:
            seen = f"{count} alerts name nothing that could be a CI, the first from {source}: {_shown(found)}"
            remedy = "have them say where they come from, or tell which label does: correlation.bind"
        else:
            label = next((name for name, value in found.items() if fold(value) == fold(identifier)), "")
            at = f" (label {label} of {source})" if label else f" (from {source})"
            seen = f"{identifier!r}{at} sent {count} {'alert' if count == 1 else 'alerts'} and is no CI"
            like = near.get(identifier, [])
            remedy = f"nearest: {', '.join(like)}; give the right one this name as an alias, " if like else ""
            remedy += "or add it to the CMDB" if like else "add it to the CMDB, or to a topology file"
        yield Doubtful(doubt=Doubt.UNBOUND, weight=count, seen=seen, remedy=remedy)


def _nearest(wanted: Sequence[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Names that share a word or their beginning with what is wanted, by likeness."""
    by_word: defaultdict[str, list[str]] = defaultdict(list)
    for identifier in wanted:
        for word in _words(identifier):
            by_word[word].append(identifier)
    compared: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(names):
        for identifier in {each for word in _words(name) for each in by_word.get(word, ())}:
            if len(compared[identifier]) < _MOST_COMPARED:
                compared[identifier].setdefault(fold(name), name)
    return {
        identifier: [some[near] for near in difflib.get_close_matches(fold(identifier), some, n=3, cutoff=_SIMILAR)]
        for identifier, some in compared.items()
    }


def _words(name: str) -> set[str]:
    """What two names that are alike share: how they begin, a word, or the letters of one that are in disorder."""
    words = [word for word in re.split(r"[^0-9a-z]+", fold(name)) if len(word) > 2]
    return {fold(name)[:4], *words, *("".join(sorted(word)) for word in words)}


def _missing(past: Recalled) -> Iterator[Doubtful]:
    """CIs that fail together again and again without a way between them."""
    from foreshock.service.suggest.kinds.cofailures import KIND

    for one in KIND.mine(past).found:
        if ties := one.patch.relationships:
            lines = "; ".join(f"{each.source} {each.type} {each.target}" for each in ties)
            ends = dict.fromkeys(end for each in ties for end in (each.source, each.target))
            yield Doubtful(
                doubt=Doubt.MISSING,
                weight=one.times,
                seen=one.seen,
                remedy=f"if it is so, tell it where the CIs are kept, or in a topology file: {lines}",
                examples=tuple(ends)[:_EXAMPLES],
            )


def unlikely(
    episodes: Iterable[Episode], topology: Topology, who: Callable[[Relationship], Sequence[str]]
) -> Iterator[Doubtful]:
    """Relationships along which no failure ever spread, although one end failed often and the other is watched."""
    onsets: defaultdict[str, list[float]] = defaultdict(list)
    for one in episodes:
        if one.who.known:
            onsets[one.who.ci].append(one.at_s)
    times = {ci: sorted(some) for ci, some in onsets.items() if len(some) >= _FEWEST_ONSETS}
    for dependency in sorted(times):
        for dependent in sorted(topology.needed_by(dependency)):
            if dependent not in times or _spread(times[dependency], times[dependent]):
                continue
            type_ = topology.relation(dependent, dependency)
            said = next(
                (
                    (relation, sources)
                    for relation in _either(dependent, type_, dependency)
                    if (sources := who(relation))
                ),
                None,
            )
            relation, sources = said or (Relationship(source=dependent, type=type_, target=dependency), ())
            yield Doubtful(
                doubt=Doubt.UNLIKELY,
                weight=len(times[dependency]),
                seen=f"{relation.source} {relation.type} {relation.target}: {dependency} failed "
                f"{len(times[dependency])} times, {dependent} {len(times[dependent])} times, and never within "
                f"{_SPREAD.seconds // 60} minutes of it",
                remedy=f"see whether it still is so, and remove it in {' and '.join(sources) or 'its source'} if not; "
                "redundancy looks the same",
                examples=(dependent, dependency),
            )


def _either(dependent: str, type_: str, dependency: str) -> tuple[Relationship, Relationship]:
    return (
        Relationship(source=dependent, type=type_, target=dependency),
        Relationship(source=dependency, type=type_, target=dependent),
    )


def _spread(causes: Sequence[float], effects: Sequence[float]) -> bool:
    window = _SPREAD.total_seconds()
    return any(bisect_right(effects, at + window) > bisect_left(effects, at) for at in causes)


def _counted(cis: int) -> str:
    return "1 CI" if cis == 1 else f"{cis} CIs"


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - _EXAMPLES
    return ", ".join(ids[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _shown(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items())[:_EXAMPLES])


# ---- reading --------------------------------------------------------------------------------------------------------


def graph_of(store: CmdbStore, intervals: Mapping[str, timedelta]) -> Graph:
    """What the store holds now. intervals: by source of the settings how often it is read in full."""
    newest = store.newest()
    return Graph(
        snapshot=store.whole(newest.number) if newest is not None else Snapshot(version="", cis=(), relationships=()),
        sources=store.sources(),
        intervals=intervals,
        told=told(store),
        classes=unmapped_classes(store),
        relations=unmapped_relations(store),
        conflicts=store.conflicts(limit=_MOST_CONFLICTS),
        loose=loose(store),
        who=lambda one: sorted({said.source for said in store.said_between(one.source, one.type, one.target)}),
    )
