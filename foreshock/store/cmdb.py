"""The CMDB store: what every source says, what was read but is not in force yet, and the graph of all times.

On SQLite a file of its own, so that a reading of a hundred thousand CIs never keeps the engine's writer waiting; on
PostgreSQL tables beside the others. Several processes write here: each sync, one after the other; the service reads.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from msgspec import Struct
from sqlalchemy import (
    Connection,
    Engine,
    Select,
    and_,
    create_engine,
    delete,
    event,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from foreshock.core.cmdb import CmdbPage, Flaw, Item
from foreshock.core.contracts import Snapshot
from foreshock.core.errors import Fenced, Held, Missing, Unavailable
from foreshock.core.model import CI, Moment, Relationship
from foreshock.core.reconcile import Conflict
from foreshock.core.topology import TopologyDelta
from foreshock.store import cmdb_migrations
from foreshock.store import cmdb_tables as tables
from foreshock.store.journal import Turn, open_sqlite
from foreshock.store.text import storable

CHUNK = 1000
"""Keys asked for at once: SQLite takes 32,766 values in a statement, and PostgreSQL plans a thousand well."""
_FLAWS = 1000
GIVEN_UP = "given up"
"""Outcome of a reading that was begun anew, or that was only to show what it would change."""
_READINGS = 500
"""Kept for each source, the newest."""
_ERROR_CHARS = 2000
_ADVISORY_LOCK = 0x434D4442  # "CMDB"
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_WELL = {"failures": 0, "denied": False}
_CACHE = "cache_size=-32000"  # KiB: a whole reading touches pages all over the file


class Counts(Struct, kw_only=True):
    """What a reading brought, and what came of it.

    Attributes:
        items, ties: as the source said them. gone: of both. flaws: what could not be read.
        expected: as the source guesses; 0 where it does not.
        put_cis, gone_cis, put_relationships, gone_relationships: of the topology.
        retiring: what this source alone would take out of it; examples: ids of those, the first few.
        problems: what a person should know.
    """

    items: int = 0
    ties: int = 0
    gone: int = 0
    flaws: int = 0
    expected: int = 0
    whole: bool = False
    put_cis: int = 0
    gone_cis: int = 0
    put_relationships: int = 0
    gone_relationships: int = 0
    retiring: int = 0
    examples: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Reading(Struct, frozen=True, kw_only=True):
    """One reading of one source.

    Attributes:
        outcome: empty while it goes on; ``changed``, ``unchanged``, ``refused``, ``failed``, ``given up``.
        full: everything was asked for, not only what changed. version: that came of it.
        cursor: where it goes on. mark: with which it was begun.
    """

    number: int
    source: str
    full: bool
    asked: str
    began_at: Moment
    ended_at: Moment | None
    outcome: str
    mark: str
    cursor: str
    pages: int
    version: int | None
    error: str
    counts: Counts


class SourceState(Struct, frozen=True, kw_only=True):
    """What is known of one source.

    Attributes:
        succeeded_at: when it was last read without error. full_at: when all of it was.
        holder: who reads it now; empty: nobody.
        items, ties: that it says. last: its newest reading that ended. going_on: the one that did not.
        failures: syncs in a row that failed. denied: the last of them, because our credentials were refused.
    """

    number: int
    name: str
    kind: str
    asked: str
    mark: str
    succeeded_at: Moment | None
    full_at: Moment | None
    holder: str
    items: int
    ties: int
    flaws: int
    last: Reading | None
    going_on: Reading | None
    failures: int = 0
    denied: bool = False


class Version(Struct, frozen=True, kw_only=True):
    """One version of the topology. name: a digest of its content, equal for equal content. source: whose reading made
    it."""

    number: int
    name: str
    at: Moment
    cis: int
    relationships: int
    source: str
    put_cis: int = 0
    gone_cis: int = 0
    put_relationships: int = 0
    gone_relationships: int = 0


class Lease(Struct, frozen=True, kw_only=True):
    """The right to read one source. fence: writes count only while no later lease was given."""

    source: int
    name: str
    fence: int
    holder: str


class SaidItem(Struct, frozen=True, kw_only=True):
    """What one source says of a CI, and since when."""

    source: str
    since: Moment
    confirmed_at: Moment | None
    item: Item


class SaidTie(Struct, frozen=True, kw_only=True):
    """Who says that there is a relationship, in which word, since when, and when the source was last read."""

    source: str
    class_name: str
    since: Moment
    confirmed_at: Moment | None


class CmdbStore:
    """Safe for several threads and processes.

    Args:
        url: of the database; the SQLite file or the tables are made where they are missing.
        writing: False for who only reads what others write; then the database must be there.
    Raises Unavailable where it cannot be reached.
    """

    def __init__(self, url: str, *, writing: bool = True) -> None:
        self.url = url
        self.dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
        self._turn = Turn(Path(url.partition("///")[2])) if self.dialect == "sqlite" and writing else None
        try:
            self._writer, self._readers = _engines(url, self.dialect)
            if writing:
                self._upgrade()
            elif (found := cmdb_migrations.current(self._readers)) != cmdb_migrations.HEAD:
                self.close()
                raise Unavailable(
                    f"the CMDB store is at schema {found or 'nothing'}, this program needs {cmdb_migrations.HEAD}",
                    hint="a sync brings it there: foreshock cmdb sync",
                )
        except DBAPIError as error:
            raise Unavailable(
                f"the CMDB store cannot be opened: {error.orig}", hint="check the disk and the database's address"
            ) from error

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    # ---- connections ----

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone among all processes; on disk when the block ends, rolled back when it raises."""
        with self._alone():
            try:
                with self._writer.begin() as connection:
                    if self.dialect != "sqlite":
                        connection.execute(_LOCK, {"key": _ADVISORY_LOCK})
                    yield connection
            except OperationalError as error:
                raise Unavailable(
                    f"the CMDB store refused a write: {error.orig}", hint="check the disk and the database"
                ) from error

    def _upgrade(self) -> None:
        """Several processes may come upon an empty database at once: one makes the tables, the others wait for it."""
        with self._alone():
            if self.dialect == "sqlite":
                cmdb_migrations.upgrade(self._writer)
            elif cmdb_migrations.current(self._writer) != cmdb_migrations.HEAD:
                with self._writer.begin() as connection:
                    connection.execute(_LOCK, {"key": _ADVISORY_LOCK})
                    cmdb_migrations.upgrade(self._writer)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        with self._turn:
            yield

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of what is committed."""
        try:
            with self._readers.begin() as connection:
                yield connection
        except OperationalError as error:
            raise Unavailable(
                f"the CMDB store cannot be read: {error.orig}", hint="check the disk and the database"
            ) from error

    @property
    def migration_engine(self) -> Engine:
        return self._writer

    # ---- leases ----

    def lease(self, name: str, kind: str, holder: str, now: datetime, length: timedelta, *, gone: bool) -> Lease:
        """The right to read a source, new or of one whose holder's ended. Raises Held naming who has it.

        Args: gone: whether the process that holds it now is known to be no more; see ``holder_of``.
        """
        table = tables.source
        with self.write() as connection:
            row = connection.execute(select(table).where(table.c.name == name)).first()
            if row is None:
                last = connection.execute(select(func.max(table.c.number))).scalar() or 0
                number, fence = last + 1, 1
                connection.execute(
                    insert(table).values(
                        number=number, name=name, kind=kind, fence=fence, holder=holder, held_until=now + length
                    )
                )
                return Lease(source=number, name=name, fence=fence, holder=holder)
            if row.holder and row.held_until is not None and row.held_until > now and not gone:
                raise Held(
                    f"source {name!r} is being read by {row.holder}",
                    hint="wait until it has ended; see `foreshock cmdb status`",
                )
            connection.execute(
                update(table)
                .where(table.c.number == row.number)
                .values(kind=kind or row.kind, fence=row.fence + 1, holder=holder, held_until=now + length)
            )
            return Lease(source=row.number, name=name, fence=row.fence + 1, holder=holder)

    def holder_of(self, name: str) -> str:
        """Who has the lease, as it was given or perhaps ended meanwhile; empty: nobody."""
        with self.read() as connection:
            found = select(tables.source.c.holder).where(tables.source.c.name == name)
            return connection.execute(found).scalar() or ""

    def prolong(self, lease: Lease, now: datetime, length: timedelta) -> None:
        """Raises Fenced where somebody else has it by now."""
        with self.write() as connection:
            hold(connection, lease, now + length)

    def give_back(self, lease: Lease) -> None:
        table = tables.source
        with self.write() as connection:
            connection.execute(
                update(table)
                .where(table.c.number == lease.source, table.c.fence == lease.fence)
                .values(holder="", held_until=None)
            )

    # ---- readings ----

    def begin(self, lease: Lease, *, full: bool, asked: str, mark: str, now: datetime) -> Reading:
        """A new reading; what an earlier one left behind is given up."""
        table = tables.reading
        with self.write() as connection:
            hold(connection, lease)
            for number in connection.execute(
                select(table.c.number).where(table.c.source == lease.source, table.c.ended_at.is_(None))
            ).scalars():
                _end(connection, number, now, GIVEN_UP, error="it was begun anew")
            made = connection.execute(
                insert(table).values(source=lease.source, full=full, asked=asked, began_at=now, mark=mark, body=b"{}")
            ).inserted_primary_key
        assert made is not None
        found = self.reading(made[0])
        assert found is not None
        return found

    def stage(
        self, lease: Lease, reading: Reading, page: CmdbPage, counts: Counts, now: datetime, until: datetime
    ) -> Reading:
        """One page and where the reading goes on, in one commit; and the lease goes on."""
        number, full = reading.pages + 1, reading.full
        body = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(page))
        with self.write() as connection:
            hold(connection, lease, until)
            if number == 1 and full:
                connection.execute(delete(tables.flaw).where(tables.flaw.c.source == lease.source))
            keep_flaws(connection, lease.source, page.flaws, now)
            connection.execute(insert(tables.page).values(reading=reading.number, number=number, body=body))
            connection.execute(
                update(tables.reading)
                .where(tables.reading.c.number == reading.number)
                .values(cursor=page.next, pages=number, error="", body=msgspec.json.encode(counts))
            )
        return msgspec.structs.replace(reading, pages=number, cursor=page.next, counts=counts)

    def staged(self, connection: Connection, reading: int) -> Iterator[CmdbPage]:
        """The pages of a reading, one after the other."""
        unpack, last = zstandard.ZstdDecompressor().decompress, 0
        table = tables.page
        while True:
            row = connection.execute(
                select(table.c.number, table.c.body)
                .where(table.c.reading == reading, table.c.number > last)
                .order_by(table.c.number)
                .limit(1)
            ).first()
            if row is None:
                return
            last = row.number
            yield msgspec.msgpack.decode(unpack(row.body), type=CmdbPage)

    def last_page(self, reading: int) -> CmdbPage | None:
        table = tables.page
        with self.read() as connection:
            row = connection.execute(
                select(table.c.body).where(table.c.reading == reading).order_by(table.c.number.desc()).limit(1)
            ).first()
        if row is None:
            return None
        return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(row.body), type=CmdbPage)

    def end(
        self, lease: Lease, reading: int, now: datetime, outcome: str, *, error: str = "", counts: Counts | None = None
    ) -> None:
        """A reading that leaves everything as it was, although the other side answered."""
        with self.write() as connection:
            hold(connection, lease)
            _end(connection, reading, now, outcome, error=error, counts=counts)
            _set_source(connection, lease.source, **_WELL)

    def failed(
        self, lease: Lease, reading: int, now: datetime, outcome: str, error: str, *, denied: bool, goes_on: bool
    ) -> None:
        """The other side does not answer, or not as it must. goes_on: the next sync does so where this one was."""
        with self.write() as connection:
            hold(connection, lease)
            if goes_on:
                values = {"error": storable(error, _ERROR_CHARS)}
                connection.execute(update(tables.reading).where(tables.reading.c.number == reading).values(**values))
            else:
                _end(connection, reading, now, outcome, error=error)
            _set_source(connection, lease.source, failures=tables.source.c.failures + 1, denied=denied)

    def confirm(self, name: str, now: datetime) -> None:
        """A source was asked and said that nothing changed."""
        table = tables.source
        with self.write() as connection:
            connection.execute(update(table).where(table.c.name == name).values(succeeded_at=now, **_WELL))

    def reading(self, number: int) -> Reading | None:
        with self.read() as connection:
            found = _readings(connection, tables.reading.c.number == number, 1)
        return found[0] if found else None

    def readings(self, name: str = "", *, limit: int = 20) -> list[Reading]:
        """The newest first; of one source, or of all."""
        with self.read() as connection:
            return _readings(connection, tables.source.c.name == name if name else text("1 = 1"), limit)

    def flaws(self, name: str, *, limit: int = 100) -> list[Flaw]:
        """What could not be read of a source, the newest first."""
        table, source = tables.flaw, tables.source
        query = select(table).join(source, source.c.number == table.c.source).where(source.c.name == name)
        with self.read() as connection:
            rows = connection.execute(query.order_by(table.c.number.desc()).limit(limit))
            return [Flaw(id=row.id, error=row.error, payload=row.payload) for row in rows]

    # ---- sources ----

    def sources(self) -> list[SourceState]:
        """All that were ever read and still say something, or are in the settings, by name."""
        with self.read() as connection:
            items = _counted(connection, tables.item.c.source)
            ties = _counted(connection, tables.tie.c.by)
            flaws = _counted(connection, tables.flaw.c.source)
            rows = connection.execute(select(tables.source).order_by(tables.source.c.name)).all()
            newest = {
                row.number: (
                    _newest(connection, row.number, ended=True),
                    _newest(connection, row.number, ended=False),
                )
                for row in rows
            }
        return [
            SourceState(
                number=row.number,
                name=row.name,
                kind=row.kind,
                asked=row.asked,
                mark=row.mark,
                succeeded_at=row.succeeded_at,
                full_at=row.full_at,
                holder=row.holder,
                items=items.get(row.number, 0),
                ties=ties.get(row.number, 0),
                flaws=flaws.get(row.number, 0),
                last=newest[row.number][0],
                going_on=newest[row.number][1],
                failures=row.failures,
                denied=row.denied,
            )
            for row in rows
        ]

    def source_names(self) -> list[str]:
        table = tables.source
        with self.read() as connection:
            return list(connection.execute(select(table.c.name).order_by(table.c.name)).scalars())

    def source(self, name: str) -> SourceState | None:
        """One source, without its counts."""
        table = tables.source
        with self.read() as connection:
            row = connection.execute(select(table).where(table.c.name == name)).first()
            if row is None:
                return None
            return SourceState(
                number=row.number,
                name=row.name,
                kind=row.kind,
                asked=row.asked,
                mark=row.mark,
                succeeded_at=row.succeeded_at,
                full_at=row.full_at,
                holder=row.holder,
                items=0,
                ties=0,
                flaws=0,
                last=_newest(connection, row.number, ended=True),
                going_on=_newest(connection, row.number, ended=False),
                failures=row.failures,
                denied=row.denied,
            )

    # ---- versions ----

    def newest(self) -> Version | None:
        """The version that holds now; None while nothing was ever read."""
        return self._version(select(tables.version).order_by(tables.version.c.number.desc()))

    def version(self, which: int | str) -> Version | None:
        """By number, or the newest of a name."""
        table = tables.version
        if isinstance(which, str):
            return self._version(select(table).where(table.c.name == which).order_by(table.c.number.desc()))
        return self._version(select(table).where(table.c.number == which))

    def version_at(self, moment: datetime) -> Version | None:
        """The one that held at ``moment``; None before the first."""
        table = tables.version
        return self._version(select(table).where(table.c.at <= moment).order_by(table.c.number.desc()))

    def versions(self, *, limit: int = 50, before: int = 2**31 - 1) -> list[Version]:
        """Newest first."""
        table = tables.version
        with self.read() as connection:
            names = _names(connection)
            query = select(table).where(table.c.number < before).order_by(table.c.number.desc()).limit(limit)
            return [_as_version(row, names) for row in connection.execute(query)]

    def _version(self, query: Select[Any]) -> Version | None:
        with self.read() as connection:
            row = connection.execute(query.limit(1)).first()
            return None if row is None else _as_version(row, _names(connection))

    # ---- the graph of any time ----

    def as_of(self, moment: datetime) -> Snapshot:
        """The topology that held at ``moment``; empty, with an empty version, before the first."""
        found = self.version_at(moment)
        return self.whole(found.number) if found is not None else Snapshot(version="", cis=(), relationships=())

    def whole(self, number: int) -> Snapshot:
        """All of one version. Raises Missing where there is no such version."""
        past, now = tables.ci_past, tables.ci
        with self.read() as connection:
            row = connection.execute(select(tables.version).where(tables.version.c.number == number)).first()
            if row is None:
                raise Missing(f"there is no version {number}", hint="see `foreshock cmdb versions`")
            ids = _ids(connection)
            bodies = _pairs(connection.execute(select(now.c.number, now.c.body).where(now.c.begin <= number)))
            bodies.update(
                (ci, body)
                for ci, body in connection.execute(
                    select(past.c.ci, past.c.body).where(past.c.end > number, past.c.begin <= number)
                )
            )
            triples = set(_triples(connection, select(*_TRIPLE).where(tables.relationship.c.begin <= number)))
            triples.update(
                _triples(
                    connection,
                    select(*_PAST_TRIPLE).where(
                        tables.relationship_past.c.end > number, tables.relationship_past.c.begin <= number
                    ),
                )
            )
            words = _words(connection)
        return Snapshot(
            version=row.name,
            cis=tuple(read_ci(ids[ci], bodies[ci]) for ci in sorted(bodies)),
            relationships=tuple(_relationship(ids, words, triple) for triple in sorted(triples)),
        )

    def between(self, old: int, new: int) -> TopologyDelta:
        """What makes version ``new`` of version ``old``, whichever is the later."""
        with self.read() as connection:
            return delta_between(connection, old, new)

    # ---- provenance ----

    def said_of(self, ci: str) -> list[SaidItem]:
        """What each source says of a CI."""
        item, source = tables.item, tables.source
        query = (
            select(item.c.body, item.c.since, source.c.name, source.c.succeeded_at)
            .join(source, source.c.number == item.c.source)
            .join(tables.ci, tables.ci.c.number == item.c.ci)
            .where(tables.ci.c.id == ci)
            .order_by(source.c.name, item.c.key)
        )
        with self.read() as connection:
            return [
                SaidItem(source=row.name, since=row.since, confirmed_at=row.succeeded_at, item=read_item(row.body))
                for row in connection.execute(query)
            ]

    def said_between(self, source: str, type: str, target: str) -> list[SaidTie]:
        """Who says that there is this relationship."""
        tie, word, teller = tables.tie, tables.word, tables.source
        ends = [tables.item.alias(), tables.item.alias()]
        query = (
            select(teller.c.name, tie.c.class_name, tie.c.since, teller.c.succeeded_at)
            .join(teller, teller.c.number == tie.c.by)
            .join(ends[0], ends[0].c.key == tie.c.source)
            .join(ends[1], ends[1].c.key == tie.c.target)
            .where(
                ends[0].c.ci == _number_of(source),
                ends[1].c.ci == _number_of(target),
                tie.c.type == select(word.c.number).where(word.c.text == type).scalar_subquery(),
            )
            .order_by(teller.c.name, tie.c.key)
        )
        with self.read() as connection:
            words = _words(connection)
            return [
                SaidTie(
                    source=row.name, class_name=words[row.class_name], since=row.since, confirmed_at=row.succeeded_at
                )
                for row in connection.execute(query)
            ]

    def relationships_of(self, ci: str) -> list[Relationship]:
        """Those of the newest version in which a CI has a part."""
        table = tables.relationship
        with self.read() as connection:
            number = connection.execute(select(tables.ci.c.number).where(tables.ci.c.id == ci)).scalar()
            if number is None:
                return []
            either = or_(table.c.source == number, table.c.target == number)
            triples = sorted(_triples(connection, select(*_TRIPLE).where(either)))
            ids = _ids(connection, {end for s, _, t in triples for end in (s, t)})
            words = _words(connection)
        return [_relationship(ids, words, triple) for triple in triples]

    def ci(self, id: str) -> CI | None:
        """As it is in the newest version; None where it is not."""
        with self.read() as connection:
            body = connection.execute(select(tables.ci.c.body).where(tables.ci.c.id == id)).scalar()
        return None if body is None else read_ci(id, body)

    def history_of(self, id: str) -> list[tuple[int, int | None, CI]]:
        """The versions of a CI, oldest first: the first it holds in, the first it holds no more in, and what it was."""
        past, now = tables.ci_past, tables.ci
        with self.read() as connection:
            row = connection.execute(select(now.c.number, now.c.begin, now.c.body).where(now.c.id == id)).first()
            if row is None:
                return []
            before = connection.execute(
                select(past.c.begin, past.c.end, past.c.body).where(past.c.ci == row.number).order_by(past.c.end)
            ).all()
        found: list[tuple[int, int | None, CI]] = [(one.begin, one.end, read_ci(id, one.body)) for one in before]
        if row.body is not None:
            found.append((row.begin, None, read_ci(id, row.body)))
        return found

    def conflicts(self, *, ci: str = "", limit: int = 1000) -> list[Conflict]:
        table = tables.conflict
        query = select(table.c.body).order_by(table.c.number).limit(limit)
        if ci:
            query = query.where(table.c.ci == _number_of(ci))
        with self.read() as connection:
            return [msgspec.json.decode(body, type=Conflict) for body in connection.execute(query).scalars()]

    # ---- size ----

    def size(self) -> int:
        """Bytes it takes; pages of a file that are free to be used again do not count."""
        with self.read() as connection:
            if self.dialect == "sqlite":
                pages, free, size = (
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("page_count", "freelist_count", "page_size")
                )
                return int((pages - free) * size)
            names = ", ".join(f"'{name}'" for name in tables.metadata.tables)
            query = f"SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c WHERE relname IN ({names})"  # noqa: S608 (our own names)
            return int(connection.exec_driver_sql(query).scalar_one())

    def forget(self, before: datetime) -> int:
        """Forget what held only before the version of ``before``, and versions older than it; how many versions.
        What holds now stays, however old it is."""
        kept = self.version_at(before)
        if kept is None:
            return 0
        with self.write() as connection:
            for past in (tables.ci_past, tables.relationship_past):
                connection.execute(delete(past).where(past.c.end <= kept.number))
            return connection.execute(delete(tables.version).where(tables.version.c.number < kept.number)).rowcount


# ---- rows -----------------------------------------------------------------------------------------------------------


def number64(*texts: str) -> int:
    """A number for a text, or for several together: 64 bits, so that two of some millions never share one by chance."""
    content = "\0".join(texts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


def packed(value: Struct, *, without: str = "") -> bytes:
    """A Struct without what is as by default; that is always what is empty or false, or the last word for a kind."""
    kept = {
        name: found
        for name, found, default in zip(
            value.__struct_fields__, msgspec.structs.astuple(value), _defaults(type(value)), strict=True
        )
        if found != default and name != without
    }
    return msgspec.msgpack.encode(kept)


_known_defaults: dict[type[Struct], tuple[Any, ...]] = {}


def _defaults(type_: type[Struct]) -> tuple[Any, ...]:
    found = _known_defaults.get(type_)
    if found is None:
        found = _known_defaults[type_] = tuple(field.default for field in msgspec.structs.fields(type_))
    return found


def pack_ci(ci: CI) -> bytes:
    """Without its id, which stands beside it."""
    return packed(ci, without="id")


def read_ci(id: str, body: bytes) -> CI:
    return CI(**{**_decode_ci(body), "id": id})


def _decode_ci(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(body)
    if "aliases" in found:
        found["aliases"] = tuple(found["aliases"])
    return found


def read_item(body: bytes) -> Item:
    return msgspec.msgpack.decode(body, type=Item)


def hold(connection: Connection, lease: Lease, until: datetime | None = None) -> None:
    """Raises Fenced where the lease was given to somebody else."""
    table = tables.source
    values: dict[str, Any] = {"holder": lease.holder} if until is None else {"held_until": until}
    found = connection.execute(
        update(table).where(table.c.number == lease.source, table.c.fence == lease.fence).values(**values)
    )
    if found.rowcount != 1:
        raise Fenced(f"source {lease.name!r} is being read by somebody else by now: nothing was written")


def chunks(keys: Iterable[int]) -> Iterator[list[int]]:
    found = sorted(keys)
    for first in range(0, len(found), CHUNK):
        yield found[first : first + CHUNK]


def keep_flaws(connection: Connection, source: int, flaws: Sequence[Flaw], now: datetime) -> None:
    table = tables.flaw
    if not flaws:
        return
    connection.execute(
        insert(table),
        [
            {
                "source": source,
                "at": now,
                "id": storable(flaw.id, 512),
                "error": storable(flaw.error, _ERROR_CHARS),
                "payload": storable(flaw.payload, _ERROR_CHARS),
            }
            for flaw in flaws[-_FLAWS:]
        ],
    )
    last = select(table.c.number).where(table.c.source == source).order_by(table.c.number.desc())
    oldest = connection.execute(last.offset(_FLAWS).limit(1)).scalar()
    if oldest is not None:
        connection.execute(delete(table).where(table.c.source == source, table.c.number <= oldest))


def end_reading(
    connection: Connection, reading: int, now: datetime, outcome: str, counts: Counts, version: int | None
) -> None:
    _end(connection, reading, now, outcome, counts=counts, version=version)


def succeeded(connection: Connection, lease: Lease, reading: Reading, *, mark: str, whole: bool, now: datetime) -> None:
    """A reading of this source went well; the next goes on at ``mark``."""
    values: dict[str, Any] = {"mark": mark, "asked": reading.asked, "succeeded_at": now, **_WELL}
    if whole:
        values["full_at"] = now
    _set_source(connection, lease.source, **values)


def _set_source(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(tables.source).where(tables.source.c.number == number).values(**values))


def forget_source(connection: Connection, lease: Lease) -> None:
    """A source that says nothing any more, with its readings. What it said before stays in old versions."""
    readings = select(tables.reading.c.number).where(tables.reading.c.source == lease.source)
    connection.execute(delete(tables.page).where(tables.page.c.reading.in_(readings)))
    for table in (tables.reading, tables.flaw):
        connection.execute(delete(table).where(table.c.source == lease.source))
    connection.execute(delete(tables.source).where(tables.source.c.number == lease.source))


def newest_number(connection: Connection) -> int:
    return connection.execute(select(func.max(tables.version.c.number))).scalar() or 0


def version_name(connection: Connection, number: int) -> str:
    return str(connection.execute(select(tables.version.c.name).where(tables.version.c.number == number)).scalar_one())


def _end(
    connection: Connection,
    reading: int,
    now: datetime,
    outcome: str,
    *,
    error: str = "",
    counts: Counts | None = None,
    version: int | None = None,
) -> None:
    table = tables.reading
    values: dict[str, Any] = {
        "ended_at": now, "outcome": outcome, "error": storable(error, _ERROR_CHARS), "version": version, "cursor": "",
    }  # fmt: skip
    if counts is not None:
        values["body"] = msgspec.json.encode(counts)
    connection.execute(update(table).where(table.c.number == reading).values(**values))
    connection.execute(delete(tables.page).where(tables.page.c.reading == reading))
    source = connection.execute(select(table.c.source).where(table.c.number == reading)).scalar()
    mine = select(table.c.number).where(table.c.source == source).order_by(table.c.number.desc())
    oldest = connection.execute(mine.offset(_READINGS).limit(1)).scalar()
    if oldest is not None:
        connection.execute(delete(table).where(table.c.source == source, table.c.number <= oldest))


def _readings(connection: Connection, where: Any, limit: int) -> list[Reading]:
    table, source = tables.reading, tables.source
    query = (
        select(table, source.c.name.label("source_name"))
        .join(source, source.c.number == table.c.source)
        .where(where)
        .order_by(table.c.number.desc())
        .limit(limit)
    )
    return [
        Reading(
            number=row.number,
            source=row.source_name,
            full=row.full,
            asked=row.asked,
            began_at=row.began_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            mark=row.mark,
            cursor=row.cursor,
            pages=row.pages,
            version=row.version,
            error=row.error,
            counts=msgspec.json.decode(row.body, type=Counts),
        )
        for row in connection.execute(query)
    ]


def _newest(connection: Connection, source: int, *, ended: bool) -> Reading | None:
    table = tables.reading
    is_over = table.c.ended_at.is_not(None) if ended else table.c.ended_at.is_(None)
    found = _readings(connection, and_(table.c.source == source, is_over, table.c.outcome != GIVEN_UP), 1)
    return found[0] if found else None


def _counted(connection: Connection, column: Any) -> dict[int, int]:
    return _pairs(connection.execute(select(column, func.count()).group_by(column)))


def _pairs(rows: Any) -> dict[Any, Any]:
    """Rows of two columns."""
    return dict(map(tuple, rows))


def _names(connection: Connection) -> dict[int, str]:
    return _pairs(connection.execute(select(tables.source.c.number, tables.source.c.name)))


def _as_version(row: Any, names: dict[int, str]) -> Version:
    counts = msgspec.json.decode(row.body, type=Counts)
    return Version(
        number=row.number,
        name=row.name,
        at=row.at,
        cis=row.cis,
        relationships=row.relationships,
        source=names.get(row.source, ""),
        put_cis=counts.put_cis,
        gone_cis=counts.gone_cis,
        put_relationships=counts.put_relationships,
        gone_relationships=counts.gone_relationships,
    )


def _words(connection: Connection) -> dict[int, str]:
    return _pairs(connection.execute(select(tables.word.c.number, tables.word.c.text)))


def _ids(connection: Connection, numbers: Iterable[int] | None = None) -> dict[int, str]:
    query = select(tables.ci.c.number, tables.ci.c.id)
    if numbers is None:
        return _pairs(connection.execute(query))
    return {
        number: id
        for chunk in chunks(numbers)
        for number, id in connection.execute(query.where(tables.ci.c.number.in_(chunk)))
    }


def _number_of(ci: str) -> Any:
    return select(tables.ci.c.number).where(tables.ci.c.id == ci).scalar_subquery()


Triple = tuple[int, int, int]
_TRIPLE = (tables.relationship.c.source, tables.relationship.c.type, tables.relationship.c.target)
_PAST_TRIPLE = (
    tables.relationship_past.c.source,
    tables.relationship_past.c.type,
    tables.relationship_past.c.target,
)
_Span = tuple[int, int, Any]
_OPEN = 2**31 - 1


def _triples(connection: Connection, query: Select[Any]) -> Iterator[Triple]:
    for row in connection.execute(query.execution_options(yield_per=CHUNK)):
        yield tuple(row)


def _relationship(ids: dict[int, str], words: dict[int, str], triple: Triple) -> Relationship:
    return Relationship(source=ids[triple[0]], type=words[triple[1]], target=ids[triple[2]])


def _changed_cis(connection: Connection, since: int) -> dict[int, list[_Span]]:
    """The spans that end or begin after version ``since``, of each CI that has any."""
    past, now = tables.ci_past, tables.ci
    found: dict[int, list[_Span]] = {}
    ended = select(past.c.ci, past.c.begin, past.c.end, past.c.body).where(past.c.end > since)
    for ci, begin, end, body in connection.execute(ended):
        found.setdefault(ci, []).append((begin, end, body))
    for ci, begin, body in connection.execute(select(now.c.number, now.c.begin, now.c.body).where(now.c.begin > since)):
        found.setdefault(ci, []).append((begin, _OPEN, body))
    return found


def _changed_relationships(connection: Connection, since: int) -> dict[Triple, list[_Span]]:
    past, now = tables.relationship_past, tables.relationship
    found: dict[Triple, list[_Span]] = {}
    ended = select(past.c.source, past.c.type, past.c.target, past.c.begin, past.c.end).where(past.c.end > since)
    for source, type_, target, begin, end in connection.execute(ended):
        found.setdefault((source, type_, target), []).append((begin, end, True))
    begun = select(*_TRIPLE, now.c.begin).where(now.c.begin > since)
    for source, type_, target, begin in connection.execute(begun):
        found.setdefault((source, type_, target), []).append((begin, _OPEN, True))
    return found


def delta_between(connection: Connection, old: int, new: int) -> TopologyDelta:
    """``CmdbStore.between`` as a transaction sees it."""
    first = min(old, new)
    cis = _changed_cis(connection, first)
    triples = _changed_relationships(connection, first)
    ids = _ids(connection, {*cis, *(end for s, _, t in triples for end in (s, t))})
    words = _words(connection)
    put_cis, gone_cis, put, gone = [], [], [], []
    for ci in sorted(cis):
        before, after = _held(cis[ci], old), _held(cis[ci], new)
        if after is not None and after != before:
            put_cis.append(read_ci(ids[ci], after))
        elif after is None and before is not None:
            gone_cis.append(ids[ci])
    for triple in sorted(triples):
        was, is_there = (_held(triples[triple], number) is not None for number in (old, new))
        if is_there and not was:
            put.append(_relationship(ids, words, triple))
        elif was and not is_there:
            gone.append(_relationship(ids, words, triple))
    return TopologyDelta(
        put_cis=tuple(put_cis),
        gone_cis=tuple(gone_cis),
        put_relationships=tuple(put),
        gone_relationships=tuple(gone),
    )


def _held(spans: list[_Span], number: int) -> Any:
    """What held in a version; None: nothing."""
    return next((body for begin, end, body in spans if begin <= number < end), None)


def _engines(url: str, dialect: str) -> tuple[Engine, Engine]:
    if dialect != "sqlite":
        return (
            create_engine(url, poolclass=NullPool),
            create_engine(url, poolclass=QueuePool, pool_size=2, pool_pre_ping=True, isolation_level="REPEATABLE READ"),
        )

    def opened(writing: bool) -> Any:
        connection = open_sqlite(url, writing=writing)
        connection.execute(f"PRAGMA {_CACHE}")
        return connection

    writer = create_engine("sqlite://", creator=lambda: opened(True), poolclass=NullPool)
    readers = create_engine("sqlite://", creator=lambda: opened(False), poolclass=QueuePool, pool_size=2)

    @event.listens_for(writer, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(readers, "begin")
    def _begin_read(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, readers
