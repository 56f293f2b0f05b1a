"""The record: one writer at a time, readers beside it, every commit synced before it is answered.

SQLite runs in WAL mode with synchronous=FULL. Debian 12 ships SQLite 3.40, which has the WAL-reset bug (fixed in
3.51.3) that needs two connections checkpointing at once; here only the writer ever writes or checkpoints, so it cannot
occur.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, func, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from foreshock.core.contracts import (
    AuditRow,
    CheckpointItem,
    DeadLetter,
    NewRecord,
    Record,
    RecordKind,
    SituationRow,
    Step,
)
from foreshock.core.errors import Fenced, Held, Unavailable
from foreshock.store import tables
from foreshock.store.tables import to_micros

PARTITION = 0
_CHUNK_ROWS = 500
_ZSTD_LEVEL = 1  # a batch of alerts shrinks about tenfold already; higher levels cost more than they save


class Store:
    """One database. Safe for several threads; writes queue at one lock.

    Raises Unavailable where the database cannot be reached or its schema is not at the program's version.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        self._lock = threading.Lock()
        self._compressor = threading.local()
        self._sql: dict[str, str] = {}
        if self.dialect == "sqlite":
            self._writer, self._readers = _sqlite_engines(url)
        else:
            self._writer = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True)
            self._readers = create_engine(url, poolclass=QueuePool, pool_size=4, pool_pre_ping=True)
        self._owner: Connection | None = None

    def close(self) -> None:
        with self._lock:
            if self._owner is not None:
                self._owner.close()
                self._owner = None
            self._readers.dispose()
            self._writer.dispose()

    # ---- connections ----

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone; on disk when the block ends, rolled back when it raises."""
        with self._lock:
            try:
                with self._writer.begin() as connection:
                    yield connection
            except OperationalError as error:
                raise Unavailable(
                    f"the store refused a write: {error.orig}", hint="check the disk and the database"
                ) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of what is committed."""
        try:
            with self._readers.connect() as connection:
                yield connection
        except OperationalError as error:
            raise Unavailable(
                f"the store cannot be read: {error.orig}", hint="check the disk and the database"
            ) from error

    @property
    def migration_engine(self) -> Engine:
        return self._writer

    def claim(self) -> None:
        """Own a PostgreSQL store for this process's life; an SQLite store is owned by the lock on its folder.

        Raises Held naming the session that owns it.
        """
        if self.dialect != "postgresql":
            return
        self._owner = create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()
        if not self._owner.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).scalar():
            holder = self._owner.exec_driver_sql(
                "SELECT a.pid, coalesce(host(a.client_addr), 'local socket'), a.backend_start"
                " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted",
                (_ADVISORY_LOCK & 0xFFFFFFFF,),
            ).first()
            self._owner.close()
            self._owner = None
            who = (
                f"database session {holder[0]} from {holder[1]} since {holder[2]:%Y-%m-%d %H:%M:%S}"
                if holder
                else "another session"
            )
            raise Held(f"the store is owned by {who}", hint="stop that Foreshock first, or use another database")

    # ---- inbox ----

    def last_record(self) -> tuple[int, datetime | None]:
        """Number and time of the newest record; (0, None) in an empty inbox."""
        with self.read() as connection:
            row = connection.execute(
                select(tables.inbox.c.number, tables.inbox.c.at).order_by(tables.inbox.c.number.desc()).limit(1)
            ).first()
            if row is not None:
                return row.number, row.at
            # Retention may have emptied the inbox; numbers still go on from the engine's position.
            return connection.execute(select(func.coalesce(func.max(tables.engine.c.position), 0))).scalar_one(), None

    def append(self, records: Sequence[tuple[int, datetime, NewRecord]]) -> None:
        """Write numbered records in one synced transaction. Raises Fenced when a number is taken: another writer is at
        work."""
        rows = [
            (
                number,
                to_micros(at),
                record.kind.value,
                record.collector,
                record.source,
                record.actor,
                record.items,
                self._pack(record.body),
            )
            for number, at, record in records
        ]
        database: Any = self._writer.dialect.dbapi
        with self._lock:
            # Past SQLAlchemy's connection, whose share of so small a transaction would be more than half.
            connection = self._writer.raw_connection()
            try:
                cursor = connection.cursor()
                if self.dialect == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")
                cursor.executemany(self._insert_text(tables.inbox), rows)
                connection.commit()
            except database.IntegrityError as error:
                connection.rollback()
                raise Fenced(f"record {records[0][0]} exists already: another process writes this inbox") from error
            except database.Error as error:
                connection.invalidate(error)
                raise Unavailable(
                    f"the store refused a write: {error}", hint="check the disk and the database"
                ) from error
            finally:
                connection.close()

    def records(self, after: int, *, limit: int, upto: int | None = None) -> list[Record]:
        """Records with numbers above ``after`` in order, at most ``limit``."""
        inbox = tables.inbox.c
        query = select(
            inbox.number, inbox.at, inbox.kind, inbox.collector, inbox.source, inbox.actor, inbox.body
        ).where(inbox.number > after)
        if upto is not None:
            query = query.where(inbox.number <= upto)
        with self.read() as connection:
            rows = connection.execute(query.order_by(inbox.number).limit(limit)).all()
        unpack = zstandard.ZstdDecompressor().decompress
        return [
            Record(
                number=r.number,
                at=r.at,
                kind=RecordKind(r.kind),
                collector=r.collector,
                source=r.source,
                actor=r.actor,
                body=unpack(r.body),
            )
            for r in rows
        ]

    def _pack(self, body: bytes) -> bytes:
        compressor = getattr(self._compressor, "value", None)
        if compressor is None:
            compressor = self._compressor.value = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True)
        return bytes(compressor.compress(body))

    # ---- engine ----

    def position(self) -> tuple[int, int]:
        """(position, checkpoint) of the engine: the newest record reflected, and the one the saved state stands at."""
        with self.read() as connection:
            row = connection.execute(
                select(tables.engine.c.position, tables.engine.c.checkpoint).where(
                    tables.engine.c.partition == PARTITION
                )
            ).first()
            return (row.position, row.checkpoint) if row else (0, 0)

    def checkpoint_items(self) -> Iterator[tuple[str, str, bytes]]:
        item = tables.checkpoint_item.c
        with self.read() as connection:
            for row in connection.execute(select(item.kind, item.key, item.body).order_by(item.kind, item.key)):
                yield row.kind, row.key, row.body

    def commit(self, step: Step) -> None:
        """Write one engine step, moving the position from what the engine read. Raises Fenced, and writes nothing, if
        another engine moved it in between."""
        engine = tables.engine
        with self.write() as connection:
            moved = connection.execute(
                update(engine)
                .where(engine.c.partition == PARTITION, engine.c.position == step.read_from)
                .values(position=step.position)
            )
            if moved.rowcount != 1:
                if step.read_from or connection.execute(select(func.count()).select_from(engine)).scalar_one():
                    raise Fenced(f"position {step.read_from} was moved by another engine")
                connection.execute(insert(engine).values(partition=PARTITION, position=step.position, checkpoint=0))
            if step.situations:
                self._upsert_situations(connection, step.situations)
            if step.orders:
                self._insert(
                    connection,
                    tables.outbox,
                    [
                        (
                            o.id,
                            o.sink,
                            o.situation,
                            o.verb.value,
                            to_micros(o.at),
                            msgspec.json.encode(o),
                            "pending",
                            0,
                            to_micros(o.at),
                            "",
                        )
                        for o in step.orders
                    ],
                )
            if step.audit:
                self._insert(
                    connection,
                    tables.audit,
                    [(a.record, to_micros(a.at), a.actor, a.kind, a.subject, a.action, a.detail) for a in step.audit],
                )
            if step.dead_letters:
                self._insert(
                    connection,
                    tables.dead_letter,
                    [
                        (d.record, d.item, to_micros(d.at), d.source, d.stage, d.error, d.payload)
                        for d in step.dead_letters
                    ],
                )
            if step.checkpoint is not None:
                self._checkpoint(connection, step.checkpoint())
                connection.execute(
                    update(engine).where(engine.c.partition == PARTITION).values(checkpoint=step.position)
                )

    def _upsert_situations(self, connection: Connection, rows: Sequence[SituationRow]) -> None:
        values = [
            (
                r.id, r.state, r.priority, r.severity, r.title, to_micros(r.opened_at), to_micros(r.updated_at),
                None if r.resolved_at is None else to_micros(r.resolved_at), r.alerts, r.version, r.body,
            )
            for r in rows
        ]  # fmt: skip
        self._insert(connection, tables.situation, values, upsert=True)

    def _checkpoint(self, connection: Connection, items: Iterable[CheckpointItem]) -> None:
        table, gone = tables.checkpoint_item, []
        left = iter(items)
        while chunk := list(islice(left, _CHUNK_ROWS)):
            gone += [(item.kind, item.key) for item in chunk if item.body is None]
            rows = [(item.kind, item.key, item.body) for item in chunk if item.body is not None]
            if rows:
                self._insert(connection, table, rows, upsert=True)
        for kind, key in gone:
            connection.execute(delete(table).where(table.c.kind == kind, table.c.key == key))

    def _insert(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, upsert: bool = False
    ) -> None:
        """Many rows through the driver itself: SQLAlchemy's own way costs twice as much a row, and this is the hot
        path."""
        connection.exec_driver_sql(self._insert_text(table, upsert=upsert), list(rows))

    def _insert_text(self, table: Table, *, upsert: bool = False) -> str:
        sql = self._sql.get(table.name)
        if sql is None:
            sql = self._sql[table.name] = _insert_sql(table, self.dialect, upsert=upsert)
        return sql

    # ---- reading for people ----

    def situation(self, id: str) -> SituationRow | None:
        with self.read() as connection:
            row = connection.execute(select(tables.situation).where(tables.situation.c.id == id)).mappings().first()
        return None if row is None else SituationRow(**row)

    def situations(self, *, states: Sequence[str], limit: int) -> list[SituationRow]:
        table = tables.situation
        query = (
            select(table).where(table.c.state.in_(states)).order_by(table.c.updated_at.desc(), table.c.id).limit(limit)
        )
        with self.read() as connection:
            return [SituationRow(**row) for row in connection.execute(query).mappings()]

    def situation_of_ticket(self, number: str) -> str | None:
        with self.read() as connection:
            return connection.execute(
                select(tables.ticket.c.situation).where(tables.ticket.c.number == number).limit(1)
            ).scalar()

    def audit(self, subject: str, *, limit: int = 1000) -> list[AuditRow]:
        """The newest ``limit`` audit rows of a subject, oldest first."""
        query = (
            select(tables.audit)
            .where(tables.audit.c.subject == subject)
            .order_by(tables.audit.c.id.desc())
            .limit(limit)
        )
        with self.read() as connection:
            rows = connection.execute(query).all()
        return [
            AuditRow(
                record=r.record,
                at=r.at,
                actor=r.actor,
                kind=r.kind,
                subject=r.subject,
                action=r.action,
                detail=r.detail,
            )
            for r in reversed(rows)
        ]

    def dead_letters(self, *, limit: int) -> list[tuple[int, DeadLetter]]:
        query = select(tables.dead_letter).order_by(tables.dead_letter.c.id.desc()).limit(limit)
        with self.read() as connection:
            return [
                (
                    r.id,
                    DeadLetter(
                        record=r.record,
                        item=r.item,
                        at=r.at,
                        source=r.source,
                        stage=r.stage,
                        error=r.error,
                        payload=r.payload,
                    ),
                )
                for r in connection.execute(query)
            ]

    def count_dead_letters(self) -> int:
        with self.read() as connection:
            return connection.execute(select(func.count()).select_from(tables.dead_letter)).scalar_one()

    def size(self) -> int:
        """Bytes the data takes; pages of a file that are free to be used again do not count."""
        with self.read() as connection:
            if self.dialect == "sqlite":
                pages, free, size = (
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("page_count", "freelist_count", "page_size")
                )
                return int((pages - free) * size)
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    # ---- jobs ----

    def job_run(self, name: str, started_at: datetime, ended_at: datetime, error: str) -> None:
        """Note how the last run of a job went."""
        with self.write() as connection:
            connection.execute(delete(tables.job_run).where(tables.job_run.c.name == name))
            connection.execute(
                insert(tables.job_run).values(
                    name=name, started_at=started_at, ended_at=ended_at, ok=0 if error else 1, error=error[:2000]
                )
            )

    def job_runs(self) -> dict[str, tuple[datetime, datetime | None, bool, str]]:
        with self.read() as connection:
            return {
                r.name: (r.started_at, r.ended_at, bool(r.ok), r.error)
                for r in connection.execute(select(tables.job_run))
            }


_ADVISORY_LOCK = 0x464F5245  # "FORE"


def _insert_sql(table: Table, dialect: str, *, upsert: bool) -> str:
    """Text of an insert with the driver's placeholders; with ``upsert`` a row with the same primary key is replaced."""
    names = [f'"{column.name}"' for column in table.columns if column is not table.autoincrement_column]
    mark = "?" if dialect == "sqlite" else "%s"
    text = f'INSERT INTO "{table.name}" ({", ".join(names)}) VALUES ({", ".join([mark] * len(names))})'  # noqa: S608 (our own names)
    if upsert:
        keys = [f'"{column.name}"' for column in table.primary_key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
        text += f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    return text


def _sqlite_engines(url: str) -> tuple[Engine, Engine]:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    writer = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False, "timeout": 30}
    )
    readers = create_engine(
        url, poolclass=QueuePool, pool_size=4, connect_args={"check_same_thread": False, "timeout": 30}
    )

    @event.listens_for(writer, "connect")
    def _prepare_writer(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, at once and for writing
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=4000",
            "cache_size=-4000",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(writer, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(readers, "connect")
    def _prepare_reader(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("query_only=ON", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(readers, "begin")
    def _begin_read(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, readers
