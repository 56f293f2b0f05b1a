"""What the CMDB store knows of how far its graph can be trusted: counts, never rows one by one."""

from collections import Counter, defaultdict
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import case, delete, func, insert, or_, select

from foreshock.core.cmdb import GENERIC, RELATED
from foreshock.core.model import Moment
from foreshock.store import cmdb_tables as tables
from foreshock.store.cmdb import CmdbStore, read_item

_HEALTH = "health"
_CHUNK = 5000


class Told(Struct, frozen=True, kw_only=True):
    """So many relationships that a source tells of since one of its readings."""

    source: str
    since: Moment
    count: int


class Unmapped(Struct, frozen=True, kw_only=True):
    """A class or a relation of a source that no map names. example: id of one object; empty for relations."""

    source: str
    class_name: str
    count: int
    example: str = ""


class Loose(Struct, frozen=True, kw_only=True):
    """Relationships of a source that are none. without_ci: an end is not among its objects, or retired. to_itself: both
    ends are one CI."""

    source: str
    without_ci: int
    to_itself: int


def told(store: CmdbStore) -> list[Told]:
    """By source and the reading that first said so."""
    tie, source = tables.tie, tables.source
    query = (
        select(source.c.name, tie.c.since, func.count())
        .join(source, source.c.number == tie.c.by)
        .group_by(source.c.name, tie.c.since)
        .order_by(source.c.name, tie.c.since)
    )
    with store.read() as connection:
        return [Told(source=name, since=since, count=count) for name, since, count in connection.execute(query)]


def loose(store: CmdbStore) -> list[Loose]:
    """Of each source what it tells and no CI has, where there is any."""
    tie, source, item = tables.tie, tables.source, tables.item
    one, other = item.alias(), item.alias()
    to_itself = func.coalesce(func.sum(case((one.c.ci == other.c.ci, 1), else_=0)), 0)
    without = func.coalesce(func.sum(case((or_(one.c.ci.is_(None), other.c.ci.is_(None)), 1), else_=0)), 0)
    query = (
        select(source.c.name, without, to_itself)
        .select_from(tie)
        .join(source, source.c.number == tie.c.by)
        .outerjoin(one, one.c.key == tie.c.source)
        .outerjoin(other, other.c.key == tie.c.target)
        .group_by(source.c.name)
        .order_by(source.c.name)
    )
    with store.read() as connection:
        return [
            Loose(source=name, without_ci=int(ends), to_itself=int(loops))
            for name, ends, loops in connection.execute(query)
            if ends or loops
        ]


def unmapped_relations(store: CmdbStore) -> list[Unmapped]:
    """Most frequent first."""
    tie, source, word, type_ = tables.tie, tables.source, tables.word, tables.word.alias()
    query: Any = (
        select(source.c.name, word.c.text, func.count())
        .select_from(tie)
        .join(source, source.c.number == tie.c.by)
        .join(word, word.c.number == tie.c.class_name)
        .join(type_, type_.c.number == tie.c.type)
        .where(type_.c.text == RELATED)
        .group_by(source.c.name, word.c.text)
        .order_by(func.count().desc(), source.c.name, word.c.text)
    )
    with store.read() as connection:
        return [Unmapped(source=name, class_name=text, count=count) for name, text, count in connection.execute(query)]


def unmapped_classes(store: CmdbStore) -> list[Unmapped]:
    """Most frequent first. Objects without any class count too, where their source has others: under an empty name."""
    item, source = tables.item, tables.source
    query = select(source.c.name, item.c.body).join(source, source.c.number == item.c.source)
    counts: Counter[tuple[str, str]] = Counter()
    examples: defaultdict[tuple[str, str], str] = defaultdict(str)
    with store.read() as connection:
        for name, body in connection.execute(query.execution_options(yield_per=_CHUNK)):
            found = read_item(body)
            if found.kind == GENERIC and found.class_name:
                of = (name, found.class_name)
                counts[of] += 1
                examples[of] = min(examples[of] or found.id, found.id)
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [
        Unmapped(source=source, class_name=class_name, count=count, example=examples[source, class_name])
        for (source, class_name), count in ranked
    ]


def keep_health(store: CmdbStore, report: Struct) -> None:
    """What was found last, for those who only show it."""
    with store.write() as connection:
        connection.execute(delete(tables.meta).where(tables.meta.c.key == _HEALTH))
        connection.execute(insert(tables.meta).values(key=_HEALTH, value=msgspec.json.encode(report).decode()))


def kept_health(store: CmdbStore) -> str:
    """As JSON; empty where it was never looked."""
    with store.read() as connection:
        return connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == _HEALTH)).scalar() or ""
