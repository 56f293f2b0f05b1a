"""The record, on each database: appended in order, moved only by who read it, and all of a step or nothing."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select

from foreshock.core.contracts import (
    AuditRow,
    Block,
    DeadLetter,
    ForecastOutcome,
    ForecastRow,
    NewRecord,
    Notice,
    NoticeKind,
    Order,
    RecordKind,
    SituationRow,
    Step,
    Tally,
    Verb,
)
from foreshock.core.errors import Fenced, Held
from foreshock.core.model import Judgement, JudgementKind
from foreshock.store import tables
from foreshock.store.journal import COLUMNS, REPLACED_BY, Journal
from foreshock.store.store import Store

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def batch(body: bytes) -> NewRecord:
    return NewRecord(kind=RecordKind.EVENTS, body=body, collector="events", source="lab", actor="ops", items=3)


def situation(id: str, **changes: object) -> SituationRow:
    values: dict[str, object] = {
        "id": id, "state": "open", "priority": 3, "severity": 4, "title": "t", "opened_at": NOON, "updated_at": NOON,
        "resolved_at": None, "alerts": 1, "version": 1, "body": None,
    }  # fmt: skip
    return SituationRow(**(values | changes))  # type: ignore[arg-type]


def order(id: str) -> Order:
    return Order(id=id, sink="desk", situation="S-1", key="S-1", verb=Verb.OPEN, version=1, at=NOON, fields={})


def test_records_come_back_in_order_as_they_were_received(store: Store):
    store.journal.append([(1, NOON, batch(b"first")), (2, NOON + timedelta(microseconds=1), batch(b"\x00\xffsecond"))])

    first, second = store.journal.records(0, limit=10)

    assert (first.number, first.body, first.collector, first.source, first.actor) == (
        1,
        b"first",
        "events",
        "lab",
        "ops",
    )
    assert (second.number, second.at, second.body) == (2, NOON + timedelta(microseconds=1), b"\x00\xffsecond")
    assert [record.number for record in store.journal.records(1, limit=10)] == [2]
    assert [record.number for record in store.journal.records(0, limit=10, upto=1)] == [1]
    assert store.journal.last_record() == (2, second.at)


def test_records_are_read_up_to_a_size(store: Store):
    store.journal.append([(number, NOON, batch(b"0123456789")) for number in range(1, 101)])

    def numbers(**bounds: int) -> list[int]:
        return [record.number for record in store.journal.records(2, **{"limit": 1000} | bounds)]

    assert numbers() == list(range(3, 101))
    assert numbers(limit=40) == list(range(3, 43))
    assert numbers(max_bytes=25) == [3, 4, 5]
    assert numbers(max_bytes=1) == [3]
    assert numbers(max_bytes=500, upto=60) == list(range(3, 53))


def test_a_number_taken_by_another_writer_fences_the_second(store: Store):
    store.journal.append([(1, NOON, batch(b"mine"))])

    with pytest.raises(Fenced):
        store.journal.append([(1, NOON, batch(b"theirs"))])

    assert [record.body for record in store.journal.records(0, limit=10)] == [b"mine"]


def test_the_position_moves_only_from_where_it_was_read(store: Store):
    store.journal.commit(Step(read_from=0, position=5))
    store.journal.commit(Step(read_from=5, position=7))

    with pytest.raises(Fenced):
        store.journal.commit(Step(read_from=5, position=9, situations=[situation("S-9")]))

    assert store.journal.position() == (7, 0)
    assert store.situation("S-9") is None


def test_two_engines_that_start_on_an_empty_store_do_not_both_move_it(store: Store):
    store.journal.commit(Step(read_from=0, position=5))

    with pytest.raises(Fenced):
        store.journal.commit(Step(read_from=0, position=3))


def entry(number: int, **changes: object) -> ForecastRow:
    heard_at = NOON + timedelta(hours=number)
    values: dict[str, object] = {
        "id": f"F-{number}", "model": "disk@1", "ci": "db1", "about": "", "summary": "", "services": ("shop",),
        "team": "dba", "heard_at": heard_at, "until": heard_at + timedelta(days=1), "probability": 0.8,
        "horizon_h": 24.0, "lead_time_h": 6.0,
    }  # fmt: skip
    return ForecastRow(**(values | changes))  # type: ignore[arg-type]


def test_the_ledger_holds_the_newest_state_of_each_entry(store: Store):
    assert store.first_forecast() is None
    store.journal.commit(Step(read_from=0, position=1, forecasts=[entry(1), entry(2, services=())]))
    ended_at = NOON + timedelta(hours=5)
    late = entry(1, outcome=ForecastOutcome.CONFIRMED, ended_at=ended_at, situation="S-4", summary="/var\x00 is full")
    store.journal.commit(Step(read_from=1, position=2, forecasts=[late]))

    found = list(store.forecasts_between(NOON, NOON + timedelta(days=1)))
    assert found == [msgspec.structs.replace(late, summary="/var\ufffd is full"), entry(2, services=())]
    assert store.first_forecast() == entry(1).heard_at
    assert [row.id for row in store.forecasts(limit=9, outcome="expected")] == ["F-2"]
    assert [row.id for row in store.forecasts(limit=1, ci="db1")] == ["F-2"]
    assert list(store.forecasts_between(entry(2).heard_at, NOON + timedelta(days=1))) == [found[1]]
    assert [row.id for row in store.forecasts(limit=9, ended=True)] == ["F-1"]


def test_of_the_ledger_only_what_opened_a_problem_is_read_where_that_is_asked(store: Store):
    rows = [entry(1), entry(2, problem="P-1"), entry(3, problem="P-2")]
    store.journal.commit(Step(read_from=0, position=1, forecasts=rows))

    assert list(store.forecasts_between(NOON, NOON + timedelta(days=1), problems_only=True)) == rows[1:]


def test_a_long_ledger_is_read_in_parts(store: Store):
    rows = [entry(number // 3, id=f"F-{number:04}") for number in range(500)]
    store.journal.commit(Step(read_from=0, position=1, forecasts=rows))

    assert list(store.forecasts_between(NOON, NOON + timedelta(days=30))) == rows


def test_a_step_is_written_whole_or_not_at_all(store: Store):
    twice = [order("S-1/desk/1"), order("S-1/desk/1")]

    with pytest.raises(Exception, match=r"(?i)unique"):
        store.journal.commit(Step(read_from=0, position=5, situations=[situation("S-1")], orders=twice))

    assert store.journal.position() == (0, 0)
    assert store.situation("S-1") is None
    with store.read() as connection:
        assert connection.execute(select(tables.outbox)).all() == []


def test_all_that_a_step_holds_can_be_read_back(store: Store):
    said = AuditRow(record=4, at=NOON, actor="ops", kind="situation", subject="S-1", action="opened", detail="2 joined")
    lost = DeadLetter(record=4, item=2, at=NOON, source="lab", error="no labels", payload=b"{}")
    ended = situation("S-2", state="resolved", resolved_at=NOON, body=b"{}", updated_at=NOON + timedelta(hours=1))

    store.journal.commit(
        Step(
            read_from=0,
            position=4,
            situations=[situation("S-1"), ended],
            orders=[order("o")],
            audit=[said],
            dead_letters=[lost],
        )
    )

    assert store.audit("S-1") == [said]
    assert [letter for _, letter in store.dead_letters(limit=5)] == [lost]
    assert store.count_dead_letters() == 1
    assert store.situation("S-2") == ended
    assert [row.id for row in store.situations(states=["resolved", "open"], limit=5)] == ["S-2", "S-1"]


def notice(id: str, at: datetime = NOON) -> Notice:
    return Notice(
        id=id, situation="S-1", at=at, kind=NoticeKind.SLA, level=75, title="db1 is full", text="75 % are gone.",
        priority=2, audience=("ann", "dba"), url="/incidents/S-1",
    )  # fmt: skip


def test_notices_are_handed_out_in_the_order_of_their_steps_from_where_the_reader_stands(store: Store):
    store.journal.commit(Step(read_from=0, position=1, notices=[notice("S-1/sla/1"), notice("S-1/sla/2")]))
    store.journal.commit(Step(read_from=1, position=2, notices=[notice("S-1/sla/3")]))

    (first, one), (second, _) = store.notices(0, limit=2)

    assert (one, first < second) == (notice("S-1/sla/1"), True)
    assert [each.id for _, each in store.notices(second, limit=5)] == ["S-1/sla/3"]


def test_a_notice_is_never_written_twice(store: Store):
    store.journal.commit(Step(read_from=0, position=1, notices=[notice("S-1/sla/1")]))

    with pytest.raises(Exception, match=r"(?i)unique"):
        store.journal.commit(Step(read_from=1, position=2, notices=[notice("S-1/sla/1")]))


def test_figures_for_reports_come_back_in_order_of_opening_from_any_number_of_them(store: Store):
    rows = [situation(f"S-{n}", opened_at=NOON + timedelta(seconds=n // 3)) for n in range(450)]
    told = situation(
        "S-x", opened_at=NOON + timedelta(hours=1), ticketed_at=NOON, acknowledged_at=NOON, team="dba" * 100,
        services=("shop", "mail"), events=2**40, reopened=2, acknowledged_in_time=True, resolved_in_time=False,
    )  # fmt: skip
    store.journal.commit(Step(read_from=0, position=1, situations=[*reversed(rows), told]))

    found = list(store.opened_between(NOON, NOON + timedelta(hours=1, microseconds=1)))

    assert {row.id for row in found} == {row.id for row in (*rows, told)}
    assert len(found) == 451
    assert [row.opened_at for row in found] == sorted(row.opened_at for row in found)
    assert (found[-1].services, found[-1].events, found[-1].team) == (("shop", "mail"), 2**40, ("dba" * 100)[:128])
    assert (found[-1].acknowledged_in_time, found[-1].resolved_in_time, found[0].resolved_in_time) == (
        True,
        False,
        None,
    )
    assert [row.id for row in store.opened_between(NOON, NOON + timedelta(hours=1))][-1] != "S-x"


def test_what_came_in_within_one_hour_adds_up_over_steps(store: Store):
    hour = timedelta(hours=1)
    first = [Tally(hour=NOON, name="events", count=3), Tally(hour=NOON, name="alerts", count=1)]
    more = [Tally(hour=NOON, name="events", count=4), Tally(hour=NOON + hour, name="events", count=5)]
    store.journal.commit(Step(read_from=0, position=1, tallies=first))
    store.journal.commit(Step(read_from=1, position=2, tallies=more))

    assert store.tallied(NOON, NOON + hour) == {"events": 7, "alerts": 1}
    assert store.tallied(NOON, NOON + 2 * hour) == {"events": 12, "alerts": 1}
    assert store.tallied(NOON + 2 * hour, NOON + 3 * hour) == {}


def test_a_situation_written_again_replaces_what_was_known(store: Store):
    store.journal.commit(Step(read_from=0, position=1, situations=[situation("S-1", body=b"old", state="resolved")]))
    store.journal.commit(Step(read_from=1, position=2, situations=[situation("S-1", version=2)]))

    found = store.situation("S-1")

    assert found is not None
    assert (found.state, found.version, found.body) == ("open", 2, None)


def block(number: int, position: int) -> Block:
    return Block(number=number, position=position, body=str(number).encode())


def test_a_checkpoint_counts_once_its_last_block_is_written(store: Store):
    journal = store.journal
    journal.commit(Step(read_from=0, position=4, blocks=[block(1, 4)], checkpoint=4))
    journal.commit(Step(read_from=4, position=7, blocks=[block(2, 7), block(3, 7)]))
    journal.commit(Step(read_from=7, position=9, blocks=[block(4, 7)], checkpoint=7))

    assert list(journal.blocks()) == [(4, b"4"), (3, b"3"), (2, b"2"), (1, b"1")]
    assert journal.position() == (9, 7)


def test_blocks_of_a_checkpoint_that_was_never_finished_are_gone_at_the_next_start(store: Store):
    journal = store.journal
    journal.commit(Step(read_from=0, position=4, blocks=[block(1, 4)], checkpoint=4))
    journal.commit(Step(read_from=4, position=7, blocks=[block(2, 7)]))

    assert list(journal.blocks()) == [(1, b"1")]

    journal.commit(Step(read_from=7, position=8, blocks=[block(2, 8)], checkpoint=8))
    assert list(journal.blocks()) == [(2, b"2"), (1, b"1")]


def test_who_only_reads_sees_the_last_finished_checkpoint_and_deletes_nothing(store: Store):
    journal = store.journal
    reader = Journal(journal.url, writing=False)
    assert reader.saved() == (0, [])

    journal.commit(Step(read_from=0, position=4, blocks=[block(1, 4), block(2, 4)], checkpoint=4))
    journal.commit(Step(read_from=4, position=7, blocks=[block(3, 7)]))
    assert reader.saved() == (4, [(2, b"2"), (1, b"1")])

    journal.commit(Step(read_from=7, position=9, blocks=[block(4, 7)], checkpoint=7))
    assert reader.saved() == (7, [(4, b"4"), (3, b"3"), (2, b"2"), (1, b"1")])
    reader.close()


def test_blocks_that_are_needed_no_more_are_deleted(store: Store):
    journal = store.journal
    journal.commit(Step(read_from=0, position=4, blocks=[block(1, 4), block(2, 4), block(3, 4)], checkpoint=4))
    journal.commit(Step(read_from=4, position=5, blocks_gone_before=3))

    assert list(journal.blocks()) == [(3, b"3")]


def test_numbers_go_on_after_the_inbox_was_emptied(store: Store):
    store.journal.commit(Step(read_from=0, position=41))

    assert store.journal.last_record() == (41, None)


def test_what_the_journal_inserts_are_all_columns_of_the_tables():
    for name, columns in COLUMNS.items():
        table = tables.metadata.tables[name]
        counted = set() if table.autoincrement_column is None else {table.autoincrement_column.name}
        assert set(columns) == {column.name for column in table.columns} - counted, name
        assert set(REPLACED_BY.get(name, ())) in (set(), {column.name for column in table.primary_key})


def test_how_a_job_went_is_known_afterwards(store: Store):
    store.job_run("retention", NOON, NOON + timedelta(seconds=2), "")
    store.job_run("retention", NOON + timedelta(hours=1), NOON + timedelta(hours=1), "the disk is full")

    assert store.job_runs() == {
        "retention": (NOON + timedelta(hours=1), NOON + timedelta(hours=1), False, "the disk is full")
    }


def test_a_second_process_is_told_who_owns_a_postgresql_store(postgresql_database: str):
    first, second = Store(postgresql_database), Store(postgresql_database)
    first.journal.claim()

    with pytest.raises(Held, match=r"database session \d+"):
        second.journal.claim()

    first.close()
    second.journal.claim()
    second.close()


def test_what_people_said_is_found_by_its_record_and_by_the_situations_it_names(store: Store):
    said = [
        (5, Judgement(id="J-1", at=NOON, actor="mira", kind=JudgementKind.MERGE, situation="S-1", other="S-2")),
        (6, Judgement(id="J-2", at=NOON, actor="ann", kind=JudgementKind.CAUSE, situation="S-3", cis=("db1",))),
    ]

    store.journal.commit(Step(read_from=0, position=6, judgements=said))

    assert store.judgement(6) == said[1][1]
    assert store.judgement(7) is None
    assert [one.id for one in store.judgements(limit=10)] == ["J-2", "J-1"]
    assert [one.id for one in store.judgements(situation="S-2", limit=10)] == ["J-1"]


def test_what_a_source_sent_last_is_found_among_all_others(store: Store):
    def record(source: str, kind: RecordKind = RecordKind.EVENTS) -> NewRecord:
        return NewRecord(kind=kind, body=source.encode(), collector="events", source=source)

    records = [record("eu"), record("us"), record("eu"), record("us"), record("eu", RecordKind.TICKET)]
    store.journal.append([(number, NOON, each) for number, each in enumerate(records, 1)])

    found = store.journal.last_of("eu")

    assert found is not None
    assert (found.number, found.body) == (3, b"eu")
    assert store.journal.last_of("elsewhere") is None
