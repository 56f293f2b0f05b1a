"""History is kept as long as promised, and never forgotten where a restart would need it."""

import random
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace
from sqlalchemy import insert, select

from foreshock.core.contracts import (
    ForecastOutcome,
    ForecastRow,
    NewRecord,
    Notice,
    NoticeKind,
    RecordKind,
    SituationRow,
    Step,
    Tally,
)
from foreshock.store import tables
from foreshock.store.retention import forget
from foreshock.store.store import Store

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PLENTY = 2**60


def fill(store: Store, records: int, *, size: int = 10) -> None:
    """One record an hour, backwards from NOON; incompressible bodies."""
    source = random.Random(1)
    store.journal.append(
        [
            (n + 1, NOON - timedelta(hours=records - n), NewRecord(kind=RecordKind.TICK, body=source.randbytes(size)))
            for n in range(records)
        ]
    )


def checkpoint(store: Store, at: int) -> None:
    store.journal.commit(Step(read_from=0, position=at, checkpoint=at))


def numbers(store: Store) -> list[int]:
    return [record.number for record in store.journal.records(0, limit=10_000)]


def test_records_past_their_age_go_and_younger_ones_stay(store: Store):
    fill(store, 10)
    checkpoint(store, 10)

    forgotten = forget(store, before=NOON - timedelta(hours=3), max_bytes=PLENTY)

    assert forgotten.records == 7
    assert numbers(store) == [8, 9, 10]


def test_a_record_after_the_checkpoint_is_never_forgotten_however_old_or_large(store: Store):
    fill(store, 10)
    checkpoint(store, 4)

    forget(store, before=NOON + DAY, max_bytes=0)

    assert numbers(store) == [5, 6, 7, 8, 9, 10]


def test_the_newest_record_stays_so_that_numbers_and_time_go_on_from_it(store: Store):
    fill(store, 10)
    checkpoint(store, 10)

    forget(store, before=NOON + DAY, max_bytes=0)

    assert store.journal.last_record() == (10, NOON - timedelta(hours=1))


def test_the_oldest_records_go_while_the_store_is_too_large(store: Store):
    fill(store, 60, size=100_000)
    checkpoint(store, 60)
    with_all = store.size()

    forgotten = forget(store, before=NOON - 365 * DAY, max_bytes=with_all // 2)

    assert forgotten.records > 0
    assert numbers(store)[-1] == 60


def test_ended_situations_go_and_open_ones_stay(store: Store):
    def row(id: str, body: bytes | None, age: timedelta) -> SituationRow:
        return SituationRow(
            id=id, state="open" if body is None else "resolved", priority=3, severity=1, title="", opened_at=NOON - age,
            updated_at=NOON - age, resolved_at=None, alerts=1, version=1, body=body,
        )  # fmt: skip

    rows = [row("S-1", None, 30 * DAY), row("S-2", b"{}", 30 * DAY), row("S-3", b"{}", DAY)]
    store.journal.commit(Step(read_from=0, position=1, situations=rows))

    forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY)

    assert [row.id for row in store.situations(states=["open", "resolved"], limit=9)] == ["S-3", "S-1"]


def test_what_is_known_of_tickets_goes_with_their_situation(store: Store):
    row = SituationRow(
        id="S-1", state="resolved", priority=3, severity=1, title="", opened_at=NOON - 30 * DAY,
        updated_at=NOON - 30 * DAY, resolved_at=NOON - 30 * DAY, alerts=1, version=1, body=b"{}",
    )  # fmt: skip
    store.journal.commit(Step(read_from=0, position=1, situations=[row, replace(row, id="S-2", updated_at=NOON - DAY)]))
    with store.write() as connection:
        for of in ("S-1", "S-2", "recurring:db-1"):  # the last is a Problem's
            ticket = {"situation": of, "sink": "desk", "state": "confirmed", "number": of, "url": "", "error": ""}
            connection.execute(insert(tables.ticket).values(ticket | {"updated_at": NOON - 30 * DAY}))

    forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY)

    with store.read() as connection:
        kept = set(connection.execute(select(tables.ticket.c.situation)).scalars())
    assert kept == {"S-2", "recurring:db-1"}


def test_an_order_whose_outcome_nobody_has_heard_is_kept(store: Store):
    states = ("pending", "answered", "refused", "done", "dead", "superseded")
    with store.write() as connection:
        for state in states:
            connection.execute(
                insert(tables.outbox).values(
                    id=state, sink="desk", situation="S-1", verb="open", at=NOON - 30 * DAY, body=b"{}", state=state,
                    attempts=0, next_at=NOON, error="",
                )
            )  # fmt: skip

    forgotten = forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY)

    with store.read() as connection:
        kept = set(connection.execute(select(tables.outbox.c.id)).scalars())
    assert kept == {"pending", "answered", "refused"}
    assert forgotten.orders == 3


def test_notices_go_with_the_audit(store: Store):
    old, new = (
        Notice(id=id, situation="S-1", at=at, kind=NoticeKind.SLA, level=50, title="", text="", priority=3)
        for id, at in (("S-1/sla/1", NOON - 30 * DAY), ("S-1/sla/2", NOON - DAY))
    )
    store.journal.commit(Step(read_from=0, position=1, notices=[old, new]))

    forgotten = forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY)

    assert forgotten.notices == 1
    assert [notice for _, notice in store.notices(0, limit=9)] == [new]


def test_reports_reach_further_back_than_records_and_whole_situations(store: Store):
    def row(id: str, age: timedelta) -> SituationRow:
        return SituationRow(
            id=id, state="resolved", priority=3, severity=1, title="db is down", opened_at=NOON - age,
            updated_at=NOON - age, resolved_at=NOON - age, alerts=1, version=1, body=b"{}", ticketed_at=NOON - age,
            team="dba",
        )  # fmt: skip

    ages = (DAY, 30 * DAY, 500 * DAY)
    rows = [row(f"S-{age.days}", age) for age in ages]
    tallies = [Tally(hour=NOON - age, name="events", count=age.days) for age in ages]
    store.journal.commit(Step(read_from=0, position=1, situations=rows, tallies=tallies))

    forgotten = forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY, reports_before=NOON - 400 * DAY)

    assert forgotten.situations == 1
    assert [row.id for row in store.situations(states=["resolved"], limit=9)] == ["S-1"]
    assert [(row.id, row.team) for row in store.opened_between(NOON - 900 * DAY, NOON)] == [
        ("S-30", "dba"),
        ("S-1", "dba"),
    ]
    assert store.tallied(NOON - 900 * DAY, NOON) == {"events": 31}


def test_reports_reach_at_least_as_far_back_as_whole_situations(store: Store):
    tally = Tally(hour=NOON - 10 * DAY, name="events", count=3)
    store.journal.commit(Step(read_from=0, position=1, tallies=[tally]))

    forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY, reports_before=NOON - DAY)

    assert store.tallied(NOON - 20 * DAY, NOON) == {"events": 3}


def test_the_ledger_is_kept_as_long_as_reports_and_what_is_still_expected_longer(store: Store):
    def entry(id: str, age: timedelta, outcome: ForecastOutcome) -> ForecastRow:
        ended_at = None if outcome is ForecastOutcome.EXPECTED else NOON - age
        return ForecastRow(
            id=id, model="m@1", ci="db1", about="", summary="", services=(), team="", heard_at=NOON - age, until=NOON,
            probability=0.9, horizon_h=1.0, lead_time_h=1.0, outcome=outcome, ended_at=ended_at,
        )  # fmt: skip

    rows = [
        entry("F-1", 500 * DAY, ForecastOutcome.EXPIRED),
        entry("F-2", 500 * DAY, ForecastOutcome.EXPECTED),
        entry("F-3", 100 * DAY, ForecastOutcome.CONFIRMED),
    ]
    store.journal.commit(Step(read_from=0, position=1, forecasts=rows))

    forget(store, before=NOON - 14 * DAY, max_bytes=PLENTY, reports_before=NOON - 400 * DAY)

    assert [row.id for row in store.forecasts(limit=9)] == ["F-3", "F-2"]
