"""What the inbox says of a period, on each database."""

from datetime import UTC, datetime, timedelta

import pytest

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Rejected
from foreshock.store.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = (RecordKind.SETTINGS, RecordKind.TOPOLOGY, RecordKind.EVENTS, RecordKind.OPERATOR, RecordKind.SETTINGS,
         RecordKind.EVENTS, RecordKind.TICK, RecordKind.TICKET)  # fmt: skip


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def filled(store: Store) -> Store:
    """Number n was taken in n minutes after noon."""
    records = ((after(number), NewRecord(kind=kind, body=b"{}")) for number, kind in enumerate(KINDS, 1))
    assert store.journal.fill(records) == len(KINDS)
    return store


def test_a_moment_is_found(filled: Store):
    journal = filled.journal

    assert [journal.last_before(after(minutes)) for minutes in (0, 1, 1.5, 8, 99)] == [0, 0, 1, 7, 8]


def test_what_is_in_force_is_the_newest_of_each_kind_and_all_that_people_did(filled: Store):
    assert [record.number for record in filled.journal.in_force(4)] == [1, 4]
    assert [record.number for record in filled.journal.in_force(8)] == [4, 5]


def test_the_newest_of_a_kind_lies_between_two_numbers(filled: Store):
    def newest(**between: int) -> int | None:
        found = filled.journal.newest(RecordKind.SETTINGS, **between)
        return None if found is None else found.number

    assert (newest(), newest(upto=4), newest(after=4), newest(after=5)) == (5, 1, 5, None)


def test_what_builds_on_others_is_read_back_to_the_newest_that_is_whole(filled: Store):
    kinds = (RecordKind.TOPOLOGY, RecordKind.TOPOLOGY, RecordKind.EVENTS, RecordKind.TOPOLOGY)
    bodies = (b"whole", b"part", b"", b"part")
    records = zip(kinds, bodies, strict=True)
    filled.journal.append(
        [(9 + at, after(9 + at), NewRecord(kind=kind, body=body)) for at, (kind, body) in enumerate(records)]
    )

    def back(upto: int, whole: bytes) -> list[int]:
        found = filled.journal.back_to(RecordKind.TOPOLOGY, lambda record: record.body == whole, upto=upto)
        return [record.number for record in found]

    assert (back(12, b"whole"), back(11, b"whole"), back(9, b"whole")) == ([9, 10, 12], [9, 10], [9])
    assert (back(12, b"part"), back(12, b"forgotten"), back(1, b"whole")) == ([12], [2, 9, 10, 12], [])


def test_the_next_of_a_kind_lies_behind_a_number(filled: Store):
    def oldest(after: int) -> int | None:
        found = filled.journal.oldest(RecordKind.SETTINGS, after=after)
        return None if found is None else found.number

    assert (oldest(0), oldest(1), oldest(5)) == (1, 5, None)


def test_the_oldest_record_may_be_forgotten(filled: Store):
    with filled.write() as connection:
        connection.exec_driver_sql("DELETE FROM inbox WHERE number < 4")

    assert filled.journal.first_number() == 4
    assert [record.number for record in filled.journal.in_force(4)] == [4]


def test_an_inbox_that_never_was_begins_with_the_first_record(store: Store):
    assert (store.journal.first_number(), store.journal.last_before(NOON)) == (1, 0)


def test_an_inbox_is_filled_once(filled: Store):
    with pytest.raises(Rejected, match="this store has records already"):
        filled.journal.fill([(NOON, NewRecord(kind=RecordKind.TICK, body=b""))])
    assert filled.journal.last_record() == (8, after(8))


def test_looking_for_what_is_rare_does_not_read_what_is_not(store: Store):
    if store.dialect != "sqlite":
        pytest.skip("a planner of PostgreSQL decides by what the table holds")
    from foreshock.store.journal import _NEWEST_OF_KIND, _OLDEST_OF_KIND

    for statement in (_NEWEST_OF_KIND, _OLDEST_OF_KIND):
        with store.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("settings", 9)).all()
        assert "ix_inbox_kind" in str(plan)
