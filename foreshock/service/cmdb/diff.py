"""What a change of the topology is, for people: what comes, what goes, and which attributes are others."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import TopologyDelta

_ATTRIBUTES = ("kind", "name", "owner", "criticality", "environment", "aliases")


class Attribute(Struct, frozen=True):
    """One attribute of a CI that is another. For aliases only what came, after, and what went, before."""

    name: str
    before: str
    after: str


class Update(Struct, frozen=True):
    ci: str
    attributes: tuple[Attribute, ...]


class Diff(Struct, frozen=True, kw_only=True):
    """create, retire: CIs. relate, unrelate: relationships. Each in order of ids."""

    create: tuple[CI, ...] = ()
    update: tuple[Update, ...] = ()
    retire: tuple[CI, ...] = ()
    relate: tuple[Relationship, ...] = ()
    unrelate: tuple[Relationship, ...] = ()

    def __bool__(self) -> bool:
        return any((self.create, self.update, self.retire, self.relate, self.unrelate))


def diff(delta: TopologyDelta, before: Callable[[str], CI | None]) -> Diff:
    """What ``delta`` makes of a topology. before: a CI of it; None where it has none of this id."""
    create, update = [], []
    for ci in sorted(delta.put_cis, key=lambda one: one.id):
        old = before(ci.id)
        if old is None:
            create.append(ci)
        elif attributes := tuple(_attributes(old, ci)):
            update.append(Update(ci.id, attributes))
    return Diff(
        create=tuple(create),
        update=tuple(update),
        retire=tuple(old for id in sorted(delta.gone_cis) if (old := before(id)) is not None),
        relate=_sorted(delta.put_relationships),
        unrelate=_sorted(delta.gone_relationships),
    )


def _sorted(relationships: tuple[Relationship, ...]) -> tuple[Relationship, ...]:
    return tuple(sorted(relationships, key=lambda one: (one.source, one.type, one.target)))


def _attributes(old: CI, new: CI) -> Iterator[Attribute]:
    for name in _ATTRIBUTES:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name == "aliases":
            went, came = sorted(set(before) - set(after)), sorted(set(after) - set(before))
            if went or came:  # their order says nothing
                yield Attribute(name, ", ".join(went), ", ".join(came))
        else:
            yield Attribute(name, str(before or ""), str(after or ""))


def lines(found: Diff, most: int) -> Iterator[str]:
    """One line for each, at most so many of each sort."""
    sorts: tuple[tuple[str, Callable[[], Iterator[str]], int], ...] = (
        ("CI to create", lambda: (f"+ {ci.id}  ({ci.kind})" for ci in found.create), len(found.create)),
        ("CI to update", lambda: (_update_line(one) for one in found.update), len(found.update)),
        ("CI to retire", lambda: (f"- {ci.id}  ({ci.kind})" for ci in found.retire), len(found.retire)),
        ("relationship to create", lambda: (f"+ {_tie(one)}" for one in found.relate), len(found.relate)),
        ("relationship to remove", lambda: (f"- {_tie(one)}" for one in found.unrelate), len(found.unrelate)),
    )
    for title, told, count in sorts:
        if not count:
            continue
        noun, _, rest = title.partition(" ")
        yield f"{count} {noun}{'s' if count > 1 else ''} {rest}"
        for place, line in enumerate(told()):
            if place == most:
                yield f"  … and {count - most} more"
                break
            yield f"  {line}"


def _update_line(one: Update) -> str:
    changes = "; ".join(
        f"{each.name} {each.before or 'nothing'} -> {each.after or 'nothing'}" for each in one.attributes
    )
    return f"~ {one.ci}: {changes}"


def _tie(one: Relationship) -> str:
    return f"{one.source} {one.type} {one.target}"
