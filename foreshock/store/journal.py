"""The hot path of the store: the inbox, and what the engine writes of each step. Past SQLAlchemy, through the driver.

Two reasons: on statements this small SQLAlchemy's share of the time is more than half; and what takes events in must be
up long before SQLAlchemy is imported. ``tables`` says what the tables look like; here stand only statements.

One writer at a time, every commit synced before it is answered. SQLite runs in WAL mode with synchronous=FULL.
Debian 12 ships SQLite 3.40, which has the WAL-reset bug (fixed in 3.51.3) that needs two connections checkpointing at
once. Two connections write here, one of the process that takes events in and one of the process that works on them;
they take turns, checkpoints included, so it cannot occur.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from foreshock.core.contracts import ForecastRow, NewRecord, Record, RecordKind, SituationRow, Step
from foreshock.core.errors import Fenced, Held, Rejected, Unavailable
from foreshock.store.moments import from_micros, to_micros
from foreshock.store.text import storable

PARTITION = 0
_CHUNK_BLOCKS = 16
_CHUNK_RECORDS = 32
_BEYOND = 2**62  # no block or record has this number
_TEAM_CHARS = 128
_ZSTD_LEVEL = 1  # a batch of alerts shrinks about tenfold already; higher levels cost more than they save
_ADVISORY_LOCK = 0x464F5245  # "FORE"

# As the index ``ix_inbox_kind`` has it, or SQLite would not use it: of the rows most are events and ticks.
_OF_KIND = "SELECT number FROM inbox WHERE kind NOT IN ('events', 'tick') AND kind = ? AND number <= ? ORDER BY number"
_NEWEST_OF_KIND = f"{_OF_KIND} DESC LIMIT 1"
_OLDEST_OF_KIND = f"{_OF_KIND.replace('<=', '>')} LIMIT 1"

_LOOKED_THROUGH = 20_000
"""Records, for the last of one source: no index leads to it, because each would cost every append."""

COLUMNS = {
    "inbox": ("number", "at", "kind", "collector", "source", "actor", "items", "body"),
    "situation": (
        "id", "state", "priority", "severity", "title", "opened_at", "updated_at", "resolved_at", "alerts", "version",
        "body", "ticketed_at", "acknowledged_at", "team", "services", "events", "reopened", "acknowledged_in_time",
        "resolved_in_time",
    ),
    "outbox": ("id", "sink", "situation", "verb", "at", "body", "state", "attempts", "next_at", "error"),
    "audit": ("record", "at", "actor", "kind", "subject", "action", "detail"),
    "dead_letter": ("record", "item", "at", "source", "stage", "error", "payload"),
    "judgement": ("id", "record", "at", "situation", "other", "body"),
    "tally": ("hour", "name", "count"),
    "notice": ("id", "situation", "kind", "at", "body"),
    "forecast": (
        "id", "model", "ci", "about", "summary", "services", "team", "heard_at", "until", "probability", "horizon_h",
        "lead_time_h", "problem", "reason", "outcome", "ended_at", "situation",
    ),
    "checkpoint_block": ("number", "position", "body"),
}  # fmt: skip
"""What is inserted here; a key that the database counts itself is left out. A test holds it against ``tables``."""

REPLACED_BY = {"situation": ("id",), "forecast": ("id",), "tally": ("hour", "name")}
"""Tables in which a row with the same key is replaced."""
ADDED_UP = {("tally", "count")}
"""Columns to which the new value is added then."""


class Journal:
    """One database, as far as taking events in and working on them needs it. Safe for several threads; writes queue at
    ``lock``.

    Args: writing: False for who only reads what others write.
    Raises Unavailable where the database cannot be reached.
    """

    def __init__(self, url: str, *, writing: bool = True) -> None:
        self.url = url
        self.dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
        self.lock = Turn(self.path if writing else None)
        self._compressor = threading.local()
        self._insert = {table: self._sql(_insert_text(table)) for table in COLUMNS}
        self._driver: Any = _driver(self.dialect)
        self._reading = threading.Lock()
        self._reader: Any = None
        self._writer: Any = None
        self._owner: Any = None
        if writing:
            with self.lock:
                self.connection()

    def close(self) -> None:
        with self.lock, self._reading:
            for connection in (self._owner, self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._owner = self._reader = self._writer = None

    @property
    def path(self) -> Path | None:
        """The database's file; None where it is a server's."""
        return Path(self.url.partition("///")[2]) if self.dialect == "sqlite" else None

    # ---- connections ----

    def connection(self) -> Any:
        """The one connection that writes; its user holds ``lock``."""
        if self._writer is None or (self.dialect != "sqlite" and self._writer.closed):
            self._writer = self._open(writing=True)
        return self._writer

    def _open(self, *, writing: bool) -> Any:
        try:
            if self.dialect == "sqlite":
                return open_sqlite(self.url, writing=writing)
            return self._driver.connect(_libpq(self.url), autocommit=not writing)
        except self._driver.Error as error:
            raise Unavailable(f"the store cannot be opened: {error}", hint="check the database's address") from error

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor in one transaction, alone; on disk when the block ends, rolled back when it raises."""
        with self.lock:
            connection = self.connection()
            try:
                cursor = connection.cursor()
                if self.dialect == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                connection.commit()
            except self._driver.OperationalError as error:
                self._undo(connection)
                raise Unavailable(
                    f"the store refused a write: {error}", hint="check the disk and the database"
                ) from error
            except BaseException:
                self._undo(connection)
                raise

    def _undo(self, connection: Any) -> None:
        """A connection that cannot even roll back is of no more use; the next write opens another."""
        try:
            connection.rollback()
        except self._driver.Error:
            connection.close()
            self._writer = None

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading:
            if self._reader is None or (self.dialect != "sqlite" and self._reader.closed):
                self._reader = self._open(writing=False)
            try:
                rows: list[tuple[Any, ...]] = self._reader.execute(self._sql(statement), values).fetchall()
            except self._driver.OperationalError as error:
                self._reader.close()
                self._reader = None
                raise Unavailable(
                    f"the store cannot be read: {error}", hint="check the disk and the database"
                ) from error
            return rows

    def _sql(self, statement: str) -> str:
        return statement if self.dialect == "sqlite" else statement.replace("?", "%s")

    def claim(self) -> None:
        """Own a PostgreSQL store for this process's life; an SQLite store is owned by the lock on its folder.

        Raises Held naming the session that owns it.
        """
        if self.dialect == "sqlite":
            return
        owner = self._owner = self._open(writing=False)
        if not owner.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()[0]:
            holder = owner.execute(
                "SELECT a.pid, coalesce(host(a.client_addr), 'local socket'), a.backend_start"
                " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted",
                (_ADVISORY_LOCK & 0xFFFFFFFF,),
            ).fetchone()
            owner.close()
            self._owner = None
            who = (
                f"database session {holder[0]} from {holder[1]} since {holder[2]:%Y-%m-%d %H:%M:%S}"
                if holder
                else "another session"
            )
            raise Held(f"the store is owned by {who}", hint="stop that Foreshock first, or use another database")

    def revision(self) -> str:
        """The schema's revision; empty for an empty database."""
        catalogue = (
            "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
            if self.dialect == "sqlite"
            else "SELECT count(*) FROM information_schema.tables"
            " WHERE table_name = 'alembic_version' AND table_schema = current_schema()"
        )
        if not self._rows(catalogue)[0][0]:
            return ""
        found = self._rows("SELECT version_num FROM alembic_version")
        return str(found[0][0]) if found else ""

    # ---- inbox ----

    def last_record(self) -> tuple[int, datetime | None]:
        """Number and time of the newest record; (0, None) in an empty inbox."""
        for number, at in self._rows("SELECT number, at FROM inbox ORDER BY number DESC LIMIT 1"):
            return number, from_micros(at)
        # Retention may have emptied the inbox; numbers still go on from the engine's position.
        return self._rows("SELECT coalesce(max(position), 0) FROM engine")[0][0], None

    def append(self, records: Sequence[tuple[int, datetime, NewRecord]]) -> None:
        """Write numbered records in one synced transaction. Raises Fenced when a number is taken: another writer is at
        work."""
        rows = [self._row(number, at, record) for number, at, record in records]
        try:
            with self._transaction() as cursor:
                cursor.executemany(self._insert["inbox"], rows)
        except self._driver.IntegrityError as error:
            raise Fenced(f"record {records[0][0]} exists already: another process writes this inbox") from error
        except self._driver.Error as error:
            raise Unavailable(f"the store refused a write: {error}", hint="check the disk and the database") from error

    def fill(self, records: Iterable[tuple[datetime, NewRecord]]) -> int:
        """Write the records of an inbox in which there never was one, all or none; how many. Raises Rejected."""
        with self._transaction() as cursor:
            cursor.execute("SELECT (SELECT count(*) FROM engine) + (SELECT count(*) FROM inbox)")
            if cursor.fetchone()[0]:
                raise Rejected(
                    "this store has records already: history would come behind them",
                    hint="import before the first `foreshock run`, or into a new state folder with --state",
                )
            rows = (self._row(number, at, record) for number, (at, record) in enumerate(records, 1))
            cursor.executemany(self._insert["inbox"], rows)
            cursor.execute("SELECT count(*) FROM inbox")
            return int(cursor.fetchone()[0])

    def _row(self, number: int, at: datetime, record: NewRecord) -> tuple[Any, ...]:
        return (
            number,
            to_micros(at),
            record.kind.value,
            record.collector,
            record.source,
            record.actor,
            record.items,
            self._pack(record.body),
        )

    def records(self, after: int, *, limit: int, upto: int | None = None, max_bytes: int | None = None) -> list[Record]:
        """Records with numbers above ``after`` in order, at most ``limit`` and no more once their bodies have
        ``max_bytes``."""
        statement = (
            "SELECT number, at, kind, collector, source, actor, body FROM inbox"
            " WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
        )
        unpack = zstandard.ZstdDecompressor().decompress
        found: list[Record] = []
        size, last, left = 0, _BEYOND if upto is None else upto, limit
        while left > 0 and (max_bytes is None or size < max_bytes):
            rows = self._rows(statement, after, last, min(left, _CHUNK_RECORDS))
            for number, at, kind, collector, source, actor, packed in rows:
                body = unpack(packed)
                found.append(
                    Record(
                        number=number,
                        at=from_micros(at),
                        kind=RecordKind(kind),
                        collector=collector,
                        source=source,
                        actor=actor,
                        body=body,
                    )
                )
                size += len(body)
                if max_bytes is not None and size >= max_bytes:
                    return found
            if len(rows) < _CHUNK_RECORDS:
                return found
            after, left = found[-1].number, left - len(rows)
        return found

    def first_number(self) -> int:
        """Of the oldest record that is not forgotten; 1 in an empty inbox."""
        found = self._rows("SELECT number FROM inbox ORDER BY number LIMIT 1")
        return found[0][0] if found else 1

    def newest(self, kind: RecordKind, *, after: int = 0, upto: int = _BEYOND) -> Record | None:
        """The newest record of a kind with after < number <= upto, if there is one. Not for events and ticks."""
        found = self._rows(_NEWEST_OF_KIND, kind.value, upto)
        return self.records(found[0][0] - 1, limit=1)[0] if found and found[0][0] > after else None

    def last_before(self, moment: datetime) -> int:
        """Number of the newest record before ``moment``; 0 where there is none, or it is forgotten."""
        statement = "SELECT number FROM inbox WHERE at < ? ORDER BY at DESC, number DESC LIMIT 1"
        found = self._rows(statement, to_micros(moment))
        return found[0][0] if found else 0

    def oldest(self, kind: RecordKind, *, after: int) -> Record | None:
        """The oldest record of a kind behind ``after``, if there is one. Not for events and ticks."""
        found = self._rows(_OLDEST_OF_KIND, kind.value, after)
        return self.records(found[0][0] - 1, limit=1)[0] if found else None

    def last_of(self, source: str) -> Record | None:
        """The newest record of events that a source sent, among the newest ``_LOOKED_THROUGH``."""
        statement = (
            "SELECT number FROM inbox WHERE number > ? AND source = ? AND kind = 'events' ORDER BY number DESC LIMIT 1"
        )
        found = self._rows(statement, self.last_record()[0] - _LOOKED_THROUGH, source)
        return self.records(found[0][0] - 1, limit=1)[0] if found else None

    def in_force(self, number: int) -> list[Record]:
        """What the records up to ``number`` left in force, as far as they are not forgotten: the newest of settings and
        of what was learned, and all that people did; in order. Of topology see ``back_to``."""
        wanted = set()
        for kind in (RecordKind.SETTINGS, RecordKind.LEARNED):
            wanted |= {row[0] for row in self._rows(_NEWEST_OF_KIND, kind.value, number)}
        wanted |= {row[0] for row in self._rows(_OF_KIND, RecordKind.OPERATOR.value, number)}
        return [record for each in sorted(wanted) for record in self.records(each - 1, limit=1, upto=each)]

    def back_to(self, kind: RecordKind, is_whole: Callable[[Record], bool], *, upto: int) -> list[Record]:
        """The records of a kind up to a number that are needed to know what they left in force: the newest that is
        whole and those behind it, in order. As far as they are not forgotten."""
        found: list[Record] = []
        while (record := self.newest(kind, upto=upto)) is not None:
            found.append(record)
            if is_whole(record):
                break
            upto = record.number - 1
        return found[::-1]

    def _pack(self, body: bytes) -> bytes:
        compressor = getattr(self._compressor, "value", None)
        if compressor is None:
            compressor = self._compressor.value = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True)
        return bytes(compressor.compress(body))

    # ---- engine ----

    def position(self) -> tuple[int, int]:
        """(position, checkpoint) of the engine: the newest record reflected, and the one the saved state stands at."""
        for position, checkpoint in self._rows(
            "SELECT position, checkpoint FROM engine WHERE partition = ?", PARTITION
        ):
            return position, checkpoint
        return 0, 0

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """(number, body) of the blocks of saved state that are in force, the newest first. What was written of a
        checkpoint that was never finished is deleted before."""
        _, checkpoint = self.position()
        with self._transaction() as cursor:
            cursor.execute(self._sql("DELETE FROM checkpoint_block WHERE position > ?"), (checkpoint,))
        statement = "SELECT number, body FROM checkpoint_block WHERE number < ? ORDER BY number DESC LIMIT ?"
        last = _BEYOND
        while rows := self._rows(statement, last, _CHUNK_BLOCKS):
            yield from rows
            last = rows[-1][0]

    def saved(self) -> tuple[int, list[tuple[int, bytes]]]:
        """The checkpoint and its blocks, the newest first, at one moment, for who does not own the store."""
        begin = "BEGIN" if self.dialect == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        reader = self._open(writing=False)
        try:
            reader.execute(begin)
            found = reader.execute(
                self._sql("SELECT checkpoint FROM engine WHERE partition = ?"), (PARTITION,)
            ).fetchone()
            checkpoint = found[0] if found else 0
            blocks = reader.execute(
                self._sql("SELECT number, body FROM checkpoint_block WHERE position <= ? ORDER BY number DESC"),
                (checkpoint,),
            ).fetchall()
            return checkpoint, [(number, bytes(body)) for number, body in blocks]
        except self._driver.OperationalError as error:
            raise Unavailable(f"the store cannot be read: {error}", hint="check the disk and the database") from error
        finally:
            reader.close()

    def commit(self, step: Step) -> None:
        """Write one engine step, moving the position from what the engine read. Raises Fenced, and writes nothing, if
        another engine moved it in between."""
        with self._transaction() as cursor:
            cursor.execute(
                self._sql("UPDATE engine SET position = ? WHERE partition = ? AND position = ?"),
                (step.position, PARTITION, step.read_from),
            )
            if cursor.rowcount != 1:
                cursor.execute("SELECT count(*) FROM engine")
                if step.read_from or cursor.fetchone()[0]:
                    raise Fenced(f"position {step.read_from} was moved by another engine")
                cursor.execute(
                    self._sql("INSERT INTO engine (partition, position, checkpoint) VALUES (?, ?, 0)"),
                    (PARTITION, step.position),
                )
            for table, rows in _rows_of(step):
                if rows:
                    cursor.executemany(self._insert[table], rows)
            if step.checkpoint is not None:
                cursor.execute(
                    self._sql("UPDATE engine SET checkpoint = ? WHERE partition = ?"), (step.checkpoint, PARTITION)
                )
            if step.blocks_gone_before:
                cursor.execute(self._sql("DELETE FROM checkpoint_block WHERE number < ?"), (step.blocks_gone_before,))


class Turn:
    """One writer at a time, among the threads of all processes. SQLite itself would let those who wait sleep and try
    again; in this queue they go on at once. The kernel gives the turn back for a process that dies."""

    def __init__(self, database: Path | None) -> None:
        self._thread = threading.Lock()
        self._file: int | None = None
        if database is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(f"{database}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> None:
        self._thread.acquire()
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _rows_of(step: Step) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    yield "situation", [_situation(row) for row in step.situations]
    yield (
        "outbox",
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
    yield "checkpoint_block", [(block.number, block.position, block.body) for block in step.blocks]
    yield "audit", [(a.record, to_micros(a.at), a.actor, a.kind, a.subject, a.action, a.detail) for a in step.audit]
    yield (
        "dead_letter",
        [(d.record, d.item, to_micros(d.at), d.source, d.stage, d.error, d.payload) for d in step.dead_letters],
    )
    yield (
        "judgement",
        [(j.id, n, to_micros(j.at), j.situation, j.other, msgspec.json.encode(j)) for n, j in step.judgements],
    )
    yield "tally", [(to_micros(t.hour), t.name, t.count) for t in step.tallies]
    yield (
        "notice",
        [(n.id, n.situation, n.kind.value, to_micros(n.at), msgspec.json.encode(n)) for n in step.notices],
    )
    yield "forecast", [_forecast(row) for row in step.forecasts]


def _forecast(row: ForecastRow) -> tuple[Any, ...]:
    return (
        row.id, row.model, storable(row.ci), storable(row.about), storable(row.summary),
        msgspec.json.encode(row.services).decode(), storable(row.team, _TEAM_CHARS), to_micros(row.heard_at),
        to_micros(row.until), row.probability, row.horizon_h, row.lead_time_h, row.problem, storable(row.reason),
        row.outcome.value, _micros(row.ended_at), row.situation,
    )  # fmt: skip


def _situation(row: SituationRow) -> tuple[Any, ...]:
    return (
        row.id, row.state, row.priority, row.severity, row.title, to_micros(row.opened_at), to_micros(row.updated_at),
        _micros(row.resolved_at), row.alerts, row.version, row.body, _micros(row.ticketed_at),
        _micros(row.acknowledged_at), storable(row.team, _TEAM_CHARS), msgspec.json.encode(row.services).decode(),
        row.events, row.reopened, _flag(row.acknowledged_in_time), _flag(row.resolved_in_time),
    )  # fmt: skip


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _insert_text(table: str) -> str:
    """An insert; where ``REPLACED_BY`` says so, a row with the same primary key is replaced."""
    names = COLUMNS[table]
    text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 (our own names)
    keys = REPLACED_BY.get(table)
    if keys:
        changes = ", ".join(
            f"{name} = {f'{table}.{name} + ' if (table, name) in ADDED_UP else ''}excluded.{name}"
            for name in names
            if name not in keys
        )
        text += f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    return text


def _driver(dialect: str) -> Any:
    if dialect == "sqlite":
        import sqlite3

        return sqlite3
    import psycopg

    return psycopg


def _libpq(url: str) -> str:
    """The same address as PostgreSQL's own library reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def open_sqlite(url: str, *, writing: bool) -> Any:
    """A connection that may go from thread to thread; we say BEGIN ourselves, at once and for writing."""
    import sqlite3

    path = Path(url.partition("///")[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    pragmas = (
        ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "cache_size=-4000", "temp_store=MEMORY")
        if writing
        else ("query_only=ON", "wal_autocheckpoint=0")
    )
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    return connection
