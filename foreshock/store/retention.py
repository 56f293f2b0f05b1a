"""What is forgotten, and when: by age, and by size where the store outgrows its bound."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Table, delete, select, update

from foreshock.core.model import SituationState
from foreshock.store import tables
from foreshock.store.store import Store

_TOLD = ("done", "dead", "superseded")
"""States of an order whose outcome the inbox knows; the others are still needed, however old."""
_JUDGEMENTS_KEPT = timedelta(days=730)
"""What people said is rare, small, and the best there is to learn from: it outlives the alerts it speaks of."""
_CHUNK = 2000  # rows a transaction: intake waits for none of them long


class Forgotten(Struct, frozen=True, kw_only=True):
    """Rows deleted, by what they were; of situations also those of which only what reports need was left."""

    records: int = 0
    situations: int = 0
    audit: int = 0
    dead_letters: int = 0
    orders: int = 0
    judgements: int = 0
    notices: int = 0


def forget(store: Store, *, before: datetime, max_bytes: int, reports_before: datetime | None = None) -> Forgotten:
    """Delete what is older than ``before``, then the oldest records while the store holds more than ``max_bytes``.
    What reports need of situations, and how much came in, is deleted before ``reports_before`` only.

    Never deletes a record that a restart would need: those after the engine's checkpoint, and the newest, from which
    numbers and time go on.
    """
    (_, checkpoint), (newest, _) = store.journal.position(), store.journal.last_record()
    settled = min(checkpoint, newest - 1)
    inbox, outbox, judgement = tables.inbox, tables.outbox, tables.judgement
    records = _by_number(store, settled, inbox.c.at < before)
    while store.size() > max_bytes:
        gone = _by_number(store, settled, limit=_CHUNK)
        records += gone
        if gone == 0:
            break
    reports_before = before if reports_before is None else min(before, reports_before)
    tally = tables.tally
    _situations(store, reports_before)
    forecast = tables.forecast
    with store.write() as connection:
        connection.execute(delete(tally).where(tally.c.hour < reports_before))
        connection.execute(
            delete(forecast).where(forecast.c.heard_at < reports_before, forecast.c.ended_at.is_not(None))
        )
    return Forgotten(
        records=records,
        situations=_without_bodies(store, before),
        audit=_in_chunks(store, tables.audit, tables.audit.c.id, tables.audit.c.at < before),
        dead_letters=_in_chunks(store, tables.dead_letter, tables.dead_letter.c.id, tables.dead_letter.c.at < before),
        judgements=_in_chunks(store, judgement, judgement.c.id, judgement.c.at < before - _JUDGEMENTS_KEPT),
        notices=_in_chunks(store, tables.notice, tables.notice.c.sequence, tables.notice.c.at < before),
        orders=_in_chunks(store, outbox, outbox.c.sequence, outbox.c.state.in_(_TOLD), outbox.c.at < before),
    )


def _situations(store: Store, before: datetime) -> None:
    """Ended situations go, and with each what is known of its tickets; those in the systems stay."""
    situation, ticket = tables.situation, tables.ticket
    over = (situation.c.state != SituationState.OPEN.value, situation.c.updated_at < before)
    while True:
        with store.write() as connection:
            oldest = select(situation.c.id).where(*over).order_by(situation.c.id).limit(_CHUNK)
            connection.execute(delete(ticket).where(ticket.c.situation.in_(oldest)))
            if connection.execute(delete(situation).where(situation.c.id.in_(oldest))).rowcount < _CHUNK:
                return


def _without_bodies(store: Store, before: datetime) -> int:
    """Of ended situations only what reports need stays."""
    situation, emptied = tables.situation, 0
    whole = (situation.c.body.is_not(None), situation.c.updated_at < before)
    while True:
        with store.write() as connection:
            oldest = select(situation.c.id).where(*whole).order_by(situation.c.id).limit(_CHUNK)
            count = connection.execute(
                update(situation).where(situation.c.id.in_(oldest)).values(body=None, title="")
            ).rowcount
        emptied += count
        if count < _CHUNK:
            return emptied


def _by_number(store: Store, settled: int, *where: ColumnElement[bool], limit: int = 0) -> int:
    inbox = tables.inbox
    return _in_chunks(store, inbox, inbox.c.number, inbox.c.number <= settled, *where, limit=limit)


def _in_chunks(store: Store, table: Table, key: Column[Any], *where: ColumnElement[bool], limit: int = 0) -> int:
    deleted = 0
    while not limit or deleted < limit:
        with store.write() as connection:
            oldest = select(key).where(*where).order_by(key).limit(_CHUNK)
            count = connection.execute(delete(table).where(key.in_(oldest))).rowcount
        deleted += count
        if count < _CHUNK:
            break
    return deleted
