"""Which objects of several CMDB sources are one thing, and what that thing is. Pure: values in, values out.

The store asks in two ways, and both must give the same: with everything, and with only what a change touches. What a
change touches is found by ``keys``: two objects that might be one thing share a key, so a group of objects that is
closed under shared keys (and under the CI they were held to be before) can be worked out by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from foreshock.core.cmdb import Item
from foreshock.core.model import CI


class Said(Struct, frozen=True):
    """One object, and who says it."""

    source: str
    item: Item


class Rules(Struct, frozen=True, kw_only=True):
    """sources: their names, the leading one first."""

    sources: tuple[str, ...] = ()


class Conflict(Struct, frozen=True, kw_only=True):
    """Something that sources say differently, or that could not be decided.

    Attributes:
        ci: the CI it is about. about: an attribute, or the key that several share.
        detail: who says what, and what was made of it, for people.
    """

    ci: str
    about: str
    detail: str


class Reconciled(Struct, frozen=True, kw_only=True):
    """What the objects given are.

    Attributes:
        cis: what is in the topology, by id; without what is retired.
        ids: by source and id of its object the CI that the object is; all that were given.
    """

    cis: Mapping[str, CI]
    ids: Mapping[tuple[str, str], str]
    conflicts: tuple[Conflict, ...] = ()


def keys(item: Item) -> Iterable[str]:
    """By what another object may turn out to be the same thing, or may want the same id; equal text for equal things,
    whatever the way it is written."""
    return (f"handle {(item.handle or item.name).casefold()}",)


def reconcile(
    said: Sequence[Said], rules: Rules, known: Mapping[tuple[str, str], str], taken: Callable[[str], bool]
) -> Reconciled:
    """The CIs that these objects are, the same whatever their order.

    Args:
        said: all objects, or a group that is closed under shared keys and shared CIs.
        known: by source and object the CI it was held to be before; an id once given stays.
        taken: whether a CI outside of this group has this id.
    """
    order = {name: place for place, name in enumerate(rules.sources)}
    cis: dict[str, CI] = {}
    ids: dict[tuple[str, str], str] = {}
    for one in sorted(said, key=lambda one: (order.get(one.source, len(order)), one.source, one.item.id)):
        item, key = one.item, (one.source, one.item.id)
        id = known.get(key) or item.handle or item.name or item.id
        if key not in known and taken(id):
            id = f"{id} ({one.source}:{item.id})"
        ids[key] = id
        if not item.retired:
            cis.setdefault(id, _ci(id, item))
    return Reconciled(cis=cis, ids=ids)


def _ci(id: str, item: Item) -> CI:
    return CI(
        id=id,
        kind=item.kind,
        name=item.name,
        aliases=item.aliases,
        owner=item.owner,
        criticality=item.criticality,
        environment=item.environment,
    )
