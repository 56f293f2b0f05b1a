"""History as it is read once for all trials, and what truth knows of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import chain

import msgspec
from msgspec import Struct

from correlation import feedback
from correlation.rule import RuleKind
from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Collector, Items, RecordKind
from foreshock.core.errors import Malformed
from foreshock.core.model import Relationship
from foreshock.service.engine import Engine
from foreshock.service.past import Past
from foreshock.service.plan.run import is_for, with_sinks
from foreshock.service.recorded import Input
from foreshock.service.records import TopologyRecord
from foreshock.service.replay import Version, fingerprints, heads, taken_apart
from foreshock.service.scoring import Said, Tagger, Tags
from foreshock.service.truth import Truth
from foreshock.service.tune import score
from foreshock.service.tune.folds import Fold, Incident, fold_at, homes, spans
from foreshock.service.tune.score import Part


class Reading(Struct, kw_only=True):
    """All of history that counts for ``version``, decoded.

    Attributes:
        inputs, items: of one length; items are None for records without any.
        relationships: types that its topology has. digest: of the records.
    """

    collectors: Mapping[str, Collector]
    rules: Mapping[str, RuleKind]
    version: Version
    inputs: list[Input]
    items: list[Items | None]
    relationships: frozenset[str]
    digest: str

    @property
    def settings(self) -> CorrelationSettings:
        """Those that trials change."""
        return self.version.settings or CorrelationSettings()

    def engine(self, version: Version) -> Engine:
        """A new one, with what is in force from the start."""
        engine = Engine(self.collectors, self.rules)
        for head in heads(self.inputs[0].record, version):
            engine.step([(with_sinks(head), None)])
        return engine


def read(
    inputs: Iterable[Input], collectors: Mapping[str, Collector], rules: Mapping[str, RuleKind], version: Version
) -> Reading:
    """Raises Malformed where there is nothing to read."""
    digest = blake2b(digest_size=8)
    types = set(_types(version.topology.relationships if version.topology is not None else ()))
    kept, items = [], []
    for given in inputs:
        record = given.record
        if not is_for(record, version):
            continue
        digest.update(msgspec.json.encode((record.at, record.kind, record.source)))
        digest.update(record.body)
        if record.kind is RecordKind.TOPOLOGY:
            read = msgspec.json.decode(record.body, type=TopologyRecord)
            types |= _types(read.relationships if read.delta is None else read.delta.put_relationships)
        kept.append(given)
        items.append(taken_apart(record, collectors))
    if not kept:
        raise Malformed("this history is empty", hint="name a file that holds some")
    return Reading(
        collectors=collectors,
        rules=rules,
        version=version,
        inputs=kept,
        items=items,
        relationships=frozenset(types),
        digest=digest.hexdigest(),
    )


def _types(relationships: Iterable[Relationship]) -> set[str]:
    return {relation.type for relation in relationships}


def said_in(past: Past, collectors: Mapping[str, Collector], rules: Mapping[str, RuleKind]) -> Truth:
    """What people said while history was recorded: as it was understood then, or, where it does not hold that, found by
    playing it as it was. Raises Malformed where nobody said anything of pairs."""
    said = list(past.said())
    if not said:
        engine = Engine(collectors, rules)
        for given in past.read():
            said += (judgement for _, judgement in engine.step([(given.record, None)]).judgements)
    labels = tuple(label for one in said for label in feedback.labels(one) if label.other is not None)
    if not labels:
        raise Malformed("nobody said anything in this history", hint="give what belongs together with --truth")
    return Truth(said=labels)


# ---- what is known --------------------------------------------------------------------------------------------------


class Item(Struct, frozen=True, gc=False):
    """An item of which something is known.

    Attributes:
        step: number of its record. at: when it came, seconds since 1970. alert: its fingerprint.
        names: what each kind of truth calls its incident: empty for noise, None where it knows nothing.
    """

    step: int
    at: float
    alert: str
    names: tuple[str | None, ...]


class Known(Struct, kw_only=True):
    """What truth knows of a reading.

    Attributes:
        items: in order. incidents: by name, those with several items.
        pairs: single pairs that people spoke of: the incident that holds them, places of both in ``items``, whether
            they are one problem.
    """

    items: list[Item]
    incidents: dict[str, Incident]
    pairs: list[tuple[str, int, int, bool]]

    def in_folds(self, folds: Sequence[Fold]) -> list["Share"]:
        home = homes(self.incidents, folds)
        shares = [Share(places=[], names=[], pairs=[]) for _ in folds]
        for place, item in enumerate(self.items):
            fold = fold_at(item.at, folds)
            if fold is None:
                continue
            # An incident that reaches over a gap is unknown on both sides of it.
            names = tuple(name if not name or home.get(name) == fold else None for name in item.names)
            shares[fold].places.append(place)
            shares[fold].names.append(names)
        where = [{place: index for index, place in enumerate(share.places)} for share in shares]
        for name, one, other, same in self.pairs:
            fold = home.get(name)
            if fold is not None and one in where[fold] and other in where[fold]:
                shares[fold].pairs.append((name, where[fold][one], where[fold][other], same))
        return shares


class Share(Struct):
    """What is known of one fold: places of its items among all, the names of each, and pairs of them."""

    places: list[int]
    names: list[tuple[str | None, ...]]
    pairs: list[tuple[str, int, int, bool]]

    def parts(self, before: Sequence[str], after: Sequence[str]) -> list[Part]:
        """before, after: groups of its items."""
        found: list[Part] = []
        for kind in range(len(self.names[0]) if self.names else 0):
            found += score.parts(
                (name, one, other)
                for names, one, other in zip(self.names, before, after, strict=True)
                if (name := names[kind]) is not None
            )
        found += score.judged_parts(
            (name, same, before[one] == before[other], after[one] == after[other])
            for name, one, other, same in self.pairs
        )
        return found


def known(reading: Reading, truth: Truth, since: datetime | None = None) -> Known:
    """Plays the reading once, as it is now: what an item is about must be the same for all trials.

    Args:
        since: what came before is read, and nothing is known of it.
    Raises: Malformed where truth knows of nothing in it.
    """
    engine = reading.engine(reading.version)
    tagger = Tagger(truth, engine)
    begin = since.timestamp() if since is not None else float("-inf")
    found = [one for one in _tagged(reading, engine, tagger) if one[1] >= begin]
    if not found:
        raise Malformed(
            "truth knows of nothing in this history",
            hint="labels name items by their ids in groups.csv of `foreshock replay`, tickets name CIs",
        )
    pairs: list[tuple[str, int, int, bool]] = []
    for kind, one in enumerate(tagger.kinds):
        if isinstance(one, Said):  # the last item of an occurrence tells where it ended up
            last = {tags[kind]: place for place, (*_, tags) in enumerate(found) if tags[kind] is not None}
            pairs += _pairs(one.same, last)
    grouping = [kind for kind, one in enumerate(tagger.kinds) if not isinstance(one, Said)]
    sizes = Counter((kind, tags[kind]) for *_, tags in found for kind in grouping)
    items = [
        Item(step, at, alert, tuple(_name(kind, tags[kind], sizes[kind, tags[kind]]) for kind in grouping))
        for step, at, alert, tags in found
    ]
    incidents = spans(
        chain(
            ((name, item.at) for item in items for name in item.names if name),
            ((name, items[place].at) for name, *places, _ in pairs for place in places),
        )
    )
    return Known(items=items, incidents=incidents, pairs=pairs)


def _tagged(reading: Reading, engine: Engine, tagger: Tagger) -> Iterator[tuple[int, float, str, Tags]]:
    """(step, moment, alert, tags) of each item that truth knows of."""
    for step, (given, items) in enumerate(zip(reading.inputs, reading.items, strict=True)):
        engine.step([(given.record, items)])
        if items is None:
            continue
        at = given.record.at.timestamp()
        for id, alert in zip(given.ids, fingerprints(engine, given.record, items), strict=True):
            if (tags := tagger.tag(id, alert)) is not None:
                yield step, at, alert, tags


def _name(kind: int, tag: str | None, size: int) -> str | None:
    """What is alone in its incident belongs with nothing, as noise does."""
    if tag is None:
        return None
    return f"{kind}:{tag}" if tag and size > 1 else ""


def _pairs(
    same: Mapping[tuple[str, str], bool], last: Mapping[str | None, int]
) -> Iterator[tuple[str, int, int, bool]]:
    """Pairs that hang together are one incident: it is named after the first occurrence in it."""
    lead: dict[str, str] = {}
    for one, other in same:
        first, second = sorted((_head(lead, one), _head(lead, other)))
        lead[second] = first
    for (one, other), is_same in same.items():
        if one in last and other in last:
            yield f"said:{_head(lead, one)}", last[one], last[other], is_same


def _head(lead: dict[str, str], one: str) -> str:
    while lead.setdefault(one, one) != one:
        one = lead[one]
    return one
