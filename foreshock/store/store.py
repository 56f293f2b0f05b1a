"""What people and the other stages ask the store, through SQLAlchemy. The inbox and the engine's steps go past it: see
``journal``, whose one writing connection this shares on SQLite."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, and_, create_engine, delete, event, func, insert, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from foreshock.core.contracts import AuditRow, DeadLetter, ForecastOutcome, ForecastRow, Notice, SituationRow
from foreshock.core.errors import Unavailable
from foreshock.core.model import Judgement, SituationState
from foreshock.store import tables
from foreshock.store.journal import Journal, open_sqlite

_CHUNK = 200  # ended situations read at a time: each may hold hundreds of alerts


class Store:
    """One database. Safe for several threads; writes queue at one lock with those of the journal.

    Args:
        journal: open already; by default the store opens its own. Closed with the store.
    """

    def __init__(self, url: str, journal: Journal | None = None) -> None:
        self.journal = journal or Journal(url)
        self.dialect = self.journal.dialect
        if self.dialect == "sqlite":
            self._writer, self._readers = _sqlite_engines(self.journal)
        else:
            self._writer = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True)
            self._readers = create_engine(url, poolclass=QueuePool, pool_size=4, pool_pre_ping=True)

    def close(self) -> None:
        with self.journal.lock:
            self._readers.dispose()
            self._writer.dispose()
        self.journal.close()

    # ---- connections ----

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone; on disk when the block ends, rolled back when it raises."""
        with self.journal.lock:
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

    # ---- reading for people ----

    def situation(self, id: str) -> SituationRow | None:
        with self.read() as connection:
            row = connection.execute(select(tables.situation).where(tables.situation.c.id == id)).mappings().first()
        return None if row is None else _situation(row)

    def situations(self, *, states: Sequence[str], limit: int) -> list[SituationRow]:
        """The newest first, without those of which only reports know still."""
        table = tables.situation
        known = or_(table.c.state == SituationState.OPEN.value, table.c.body.is_not(None))
        query = select(table).where(table.c.state.in_(states), known)
        with self.read() as connection:
            rows = connection.execute(query.order_by(table.c.updated_at.desc(), table.c.id).limit(limit)).mappings()
            return [_situation(row) for row in rows]

    def opened_between(self, begin: datetime, end: datetime) -> Iterator[SituationRow]:
        """Those opened in begin <= t < end, in order, without their bodies: what reports are made of."""
        table, last = tables.situation, (begin, "")
        columns = [column for column in table.c if column.name not in ("body", "title")]
        query = select(*columns).where(table.c.opened_at < end).order_by(table.c.opened_at, table.c.id).limit(_CHUNK)
        while True:
            behind = or_(table.c.opened_at > last[0], and_(table.c.opened_at == last[0], table.c.id > last[1]))
            with self.read() as connection:
                rows = connection.execute(query.where(table.c.opened_at >= last[0], behind)).mappings().all()
            if not rows:
                return
            yield from (_situation({**row, "body": None, "title": ""}) for row in rows)
            last = rows[-1]["opened_at"], rows[-1]["id"]

    def tallied(self, begin: datetime, end: datetime) -> dict[str, int]:
        """What was counted in the hours that begin in begin <= t < end, by name."""
        table = tables.tally
        query = select(table.c.name, func.sum(table.c.count)).where(table.c.hour >= begin, table.c.hour < end)
        with self.read() as connection:
            return {name: int(count) for name, count in connection.execute(query.group_by(table.c.name))}

    def forecasts_between(
        self, begin: datetime, end: datetime, *, problems_only: bool = False
    ) -> Iterator[ForecastRow]:
        """The ledger: what was announced in begin <= t < end, oldest first; problems_only: that opened a problem."""
        table, last = tables.forecast, (begin, "")
        query = select(table).where(table.c.heard_at < end).order_by(table.c.heard_at, table.c.id).limit(_CHUNK)
        if problems_only:
            query = query.where(table.c.problem != "")
        while True:
            behind = or_(table.c.heard_at > last[0], and_(table.c.heard_at == last[0], table.c.id > last[1]))
            with self.read() as connection:
                rows = connection.execute(query.where(behind)).mappings().all()
            if not rows:
                return
            yield from map(_forecast, rows)
            last = rows[-1]["heard_at"], rows[-1]["id"]

    def first_forecast(self) -> datetime | None:
        """When the first entry of the ledger was made."""
        with self.read() as connection:
            found = select(tables.forecast.c.heard_at).order_by(tables.forecast.c.heard_at).limit(1)
            return connection.execute(found).scalar()

    def forecasts(self, *, limit: int, ended: bool = False, **wanted: str) -> list[ForecastRow]:
        """The newest entries of the ledger, newest first; wanted: columns that must have these values. ended: only
        those that are over, the one that ended last first."""
        table = tables.forecast
        query = select(table).where(*(table.c[name] == value for name, value in wanted.items() if value))
        if ended:
            query = query.where(table.c.ended_at.is_not(None)).order_by(table.c.ended_at.desc())
        with self.read() as connection:
            rows = connection.execute(query.order_by(table.c.heard_at.desc(), table.c.id).limit(limit)).mappings()
            return [_forecast(row) for row in rows]

    def ended(self, since: datetime) -> Iterator[bytes]:
        """JSON of an ``Ended`` for each situation that ended at or after ``since``, in order of their ids."""
        table, last = tables.situation, ""
        query = select(table.c.id, table.c.body).where(table.c.body.is_not(None), table.c.updated_at >= since)
        while True:
            with self.read() as connection:
                rows = connection.execute(query.where(table.c.id > last).order_by(table.c.id).limit(_CHUNK)).all()
            if not rows:
                return
            yield from (row.body for row in rows)
            last = rows[-1].id

    def opened_before(self, moment: datetime) -> list[datetime]:
        """When the situations that were open at ``moment`` were opened, ascending."""
        table = tables.situation
        ended_at = func.coalesce(table.c.resolved_at, table.c.updated_at)
        was_open = or_(table.c.state == SituationState.OPEN.value, ended_at > moment)
        query = select(table.c.opened_at).where(table.c.opened_at <= moment, was_open).order_by(table.c.opened_at)
        with self.read() as connection:
            return list(connection.execute(query).scalars())

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

    def judgement(self, record: int) -> Judgement | None:
        """What the record with this number said."""
        table = tables.judgement
        with self.read() as connection:
            body = connection.execute(select(table.c.body).where(table.c.record == record)).scalar()
        return None if body is None else msgspec.json.decode(body, type=Judgement)

    def judgements(self, *, situation: str = "", limit: int) -> list[Judgement]:
        """The newest ``limit``, newest first; with ``situation`` only what was said of that one."""
        table = tables.judgement
        query = select(table.c.body).order_by(table.c.record.desc()).limit(limit)
        if situation:
            query = query.where(or_(table.c.situation == situation, table.c.other == situation))
        with self.read() as connection:
            return [msgspec.json.decode(body, type=Judgement) for body in connection.execute(query).scalars()]

    def judged(self, since: datetime | None, until: datetime | None) -> Iterator[Judgement]:
        """What people said in since <= t < until, oldest first."""
        table = tables.judgement
        query = select(table.c.record, table.c.body).order_by(table.c.record).limit(_CHUNK)
        query = query if since is None else query.where(table.c.at >= since)
        query = query if until is None else query.where(table.c.at < until)
        last = -1
        while True:
            with self.read() as connection:
                rows = connection.execute(query.where(table.c.record > last)).all()
            if not rows:
                return
            yield from (msgspec.json.decode(row.body, type=Judgement) for row in rows)
            last = rows[-1].record

    def notices(self, after: int, *, limit: int) -> list[tuple[int, Notice]]:
        """With their numbers, those beyond ``after``, in order. Whoever carries them out keeps the number up to which
        it has (``Outbox.cursor`` and ``advance``); they are forgotten with the audit."""
        table = tables.notice
        query = select(table.c.sequence, table.c.body).where(table.c.sequence > after).order_by(table.c.sequence)
        with self.read() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [(row.sequence, msgspec.json.decode(row.body, type=Notice)) for row in rows]

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


def _forecast(row: Mapping[Any, Any]) -> ForecastRow:
    services = msgspec.json.decode(row["services"], type=tuple[str, ...])
    return ForecastRow(**{**row, "services": services, "outcome": ForecastOutcome(row["outcome"])})


def _situation(row: Mapping[Any, Any]) -> SituationRow:
    values = dict(row)
    values["services"] = msgspec.json.decode(values["services"], type=tuple[str, ...])
    for name in ("acknowledged_in_time", "resolved_in_time"):
        values[name] = None if values[name] is None else bool(values[name])
    return SituationRow(**values)


def _sqlite_engines(journal: Journal) -> tuple[Engine, Engine]:
    writer = create_engine("sqlite://", creator=journal.connection, poolclass=StaticPool)
    readers = create_engine(
        "sqlite://", creator=lambda: open_sqlite(journal.url, writing=False), poolclass=QueuePool, pool_size=4
    )

    @event.listens_for(writer, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(readers, "begin")
    def _begin_read(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, readers
