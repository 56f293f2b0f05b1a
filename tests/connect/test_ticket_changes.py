"""Reading people's changes from a system in memory that shows at most so many records at a time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from foreshock.connect.ticket_changes import Activity, Memory, TicketChanges, Updated
from foreshock.core.errors import Unavailable

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


class Entry(Struct, frozen=True):
    second: int
    record: str
    state: str = "commented"


class Reader(TicketChanges[str]):
    """history: what people did. touched: when each record was updated last, by whomever. limit: of one list."""

    def __init__(self, limit=1000):
        super().__init__("prod", "shelf 'prod'", timedelta(seconds=10))
        self.history = []
        self.touched = {}
        self.now = at(0)
        self.limit = limit
        self.starts = []

    def does(self, second, record, state="commented"):
        self.history.append(Entry(second, record, state))
        self.touched[record] = max(second, self.touched.get(record, 0))

    def updated(self, start):
        self.starts.append(start)
        rows = sorted((second, record) for record, second in self.touched.items() if at(second) >= start)
        shown = rows[: self.limit]
        return Updated(
            [record for _, record in shown], self.now, at(shown[-1][0]) if len(shown) == self.limit else None
        )

    def activities(self, records, start, horizon):
        for number, entry in enumerate(self.history):
            if entry.record in records:
                yield Activity(
                    at=at(entry.second),
                    source=entry.record,
                    situation=f"S-{entry.record}",
                    number=f"N{entry.record}",
                    state=entry.state,
                    actor=str(number),
                )


def told(changes):
    return [(change.number, change.state) for change in changes]


def test_a_change_is_told_when_it_has_settled_and_again_until_it_arrived():
    reader = Reader()
    reader.does(5, "1")

    reader.now = at(10)
    assert reader.changes(0) == []
    reader.now = at(20)
    (change,) = reader.changes(0)
    assert reader.changes(0) == [change]
    assert reader.changes(change.sequence) == []


def test_several_steps_of_one_second_keep_their_order_and_their_numbers():
    reader = Reader()
    for state in ("taken", "resolved", "reopened"):
        reader.does(5, "1", state)
    reader.now = at(60)

    first = reader.changes(0)

    assert [change.state for change in first] == ["taken", "resolved", "reopened"]
    assert reader.changes(first[0].sequence) == first[1:]


def test_while_nothing_happens_only_what_is_new_is_asked_for():
    reader = Reader()
    reader.now = at(100)
    reader.changes(0)
    reader.changes(0)

    assert reader.starts[1] == at(90)


def test_without_the_systems_clock_nothing_is_guessed():
    reader = Reader()
    reader.now = None

    with pytest.raises(Unavailable, match="shelf 'prod' does not say what time it is"):
        reader.changes(0)


def test_an_old_change_of_a_record_far_down_a_long_list_is_not_passed_over():
    reader = Reader(limit=2)
    reader.does(1, "late")
    reader.touched["late"] = 50  # we wrote to it since
    for second in (3, 4, 5):
        reader.does(second, str(second))
    reader.now = at(100)

    found, cursor = [], 0
    for _ in range(10):
        changes = reader.changes(cursor)
        cursor = max([cursor, *(change.sequence for change in changes)])
        found += changes

    assert told(found) == [(f"N{each}", "commented") for each in ("late", "3", "4", "5")]


@given(
    deeds=st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from("abcdef")), max_size=20, unique_by=lambda deed: deed[0]
    ),
    touched=st.lists(st.sampled_from("abcdef"), unique=True),
    limit=st.integers(2, 7),
    lost=st.sets(st.integers(0, 70)),
)
def test_whatever_is_lost_on_the_way_each_change_arrives_once_and_in_order(deeds, touched, limit, lost):
    touches = {record: second for second, record in enumerate(touched, 21)}  # we wrote to them since
    reader = Reader(limit)
    cursor, found = 0, []
    for visit in range(100):
        for second, record in deeds:
            if second == visit:
                reader.does(second, record)
        for record, second in touches.items():
            if second == visit and record in reader.touched:
                reader.touched[record] = second
        reader.now = at(visit)
        changes = reader.changes(cursor)
        if visit not in lost:
            found += changes
            cursor = max([cursor, *(change.sequence for change in changes)])

    assert sorted(told(found)) == sorted((f"N{record}", "commented") for _, record in deeds)
    assert [change.sequence for change in found] == sorted({change.sequence for change in found})


def test_what_was_told_is_remembered_only_once_it_arrived():
    memory = Memory[str]()
    memory.tell("1", "ada", at(5), steps=2)
    memory.believe(0)
    assert memory.before("1") is None
    memory.tell("1", "ada", at(5), steps=2)
    memory.believe(2**62)
    assert memory.before("1") == "ada"
    memory.tell("1", "bob", at(6), steps=0)
    assert memory.before("1") == "bob"
