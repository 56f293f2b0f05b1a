import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from foreshock.core.contracts import DeskAction, Receipt, Step, Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.service.delivery import (
    BREAKER_FAILURES,
    MAX_SURPRISES,
    Hold,
    Lane,
    backoff_s,
    hold_after,
    next_step,
    state_after,
)
from foreshock.service.delivery import Step as Next
from foreshock.store.desk import Desk
from foreshock.store.outbox import Outbox, TicketRow
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.tickets import NOON, Fault, FaultyTool, Killed, SteppedClock, make_order
from incident_sink.desk import DeskSink


class Bench:
    """A lane between a real store and a tool with faults; time moves only when a test moves it."""

    def __init__(self, store, index_delay_s=0.0):
        self.store = store
        self.outbox = Outbox(store)
        self.clock = SteppedClock()
        self.tool = FaultyTool(self.clock, index_delay=timedelta(seconds=index_delay_s))
        self.told = []
        self.observed = []
        self.report = self.told.append
        self.new_lane()

    def new_lane(self, **settings):
        """As after a restart of the process."""
        self.lane = Lane(
            "tool",
            self.tool,
            self.outbox,
            self._report,
            now=self.clock,
            index_delay=self.tool.index_delay,
            jitter=lambda: 1.0,
            observe=lambda sink, outcome, seconds: self.observed.append((sink, outcome)),
            **settings,
        )

    def _report(self, change):
        self.report(change)

    def plan(self, *orders):
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))

    def work(self, seconds=0.0):
        """Passes until nothing is due, once or again and again while ``seconds`` go by."""
        until = self.clock.at + timedelta(seconds=seconds)
        while True:
            look_again = self.lane.work()
            if look_again > self.clock.at:
                if look_again > until:
                    self.clock.at = max(self.clock.at, until)
                    return
                self.clock.at = look_again

    def ticket(self, situation="S-1"):
        return self.outbox.ticket(situation, "tool")

    def sent(self):
        return [order.id for order in self.tool.delivered]


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(opened.migration_engine)
    yield opened
    opened.close()


@pytest.fixture
def bench(store):
    return Bench(store)


def opening(situation="S-1", **changes):
    return make_order(sink="tool", situation=situation, **changes)


def update(version, situation="S-1", **changes):
    return make_order(Verb.UPDATE, sink="tool", situation=situation, version=version, **changes)


# ---- decisions ----


def row(state, number=""):
    return TicketRow(situation="S-1", sink="tool", state=state, number=number, url="", updated_at=NOON, error="")


@pytest.mark.parametrize(
    ("verb", "ticket", "expected"),
    [
        (Verb.OPEN, None, Next.SEND),
        (Verb.OPEN, row(TicketState.PLANNED), Next.SEND),
        (Verb.OPEN, row(TicketState.REJECTED), Next.SEND),
        (Verb.OPEN, row(TicketState.UNKNOWN), Next.SEARCH),
        (Verb.OPEN, row(TicketState.SENDING), Next.SEARCH),
        (Verb.OPEN, row(TicketState.UNKNOWN, "T1"), Next.SEND),
        (Verb.UPDATE, row(TicketState.UNKNOWN, "T1"), Next.SEND),
        (Verb.UPDATE, row(TicketState.REJECTED, "T1"), Next.SEND),
        (Verb.UPDATE, row(TicketState.REJECTED), Next.SUPERSEDE),
        (Verb.RESOLVE, None, Next.SUPERSEDE),
    ],
)
def test_what_comes_next_for_an_order(verb, ticket, expected):
    assert next_step(verb, ticket) is expected


@pytest.mark.parametrize(
    ("error", "step", "ticket", "expected"),
    [
        (Unavailable("time-out"), Next.SEND, None, TicketState.UNKNOWN),
        (Unavailable("refused", unsent=True), Next.SEND, None, TicketState.PLANNED),
        (Unavailable("refused", unsent=True), Next.SEND, row(TicketState.CONFIRMED, "T1"), TicketState.CONFIRMED),
        (Unavailable("refused", unsent=True), Next.SEARCH, row(TicketState.UNKNOWN), TicketState.UNKNOWN),
        (Denied("401"), Next.SEND, None, TicketState.PLANNED),
        (Denied("401"), Next.SEARCH, row(TicketState.UNKNOWN), TicketState.UNKNOWN),
        (KeyError("result"), Next.SEND, None, TicketState.UNKNOWN),
    ],
)
def test_how_far_a_failed_write_has_got(error, step, ticket, expected):
    assert state_after(error, step, ticket) is expected


@pytest.mark.parametrize(
    ("failures", "jitter", "retry_after_s", "expected"),
    [
        (1, 0.0, None, 1.0),
        (1, 1.0, None, 2.0),
        (4, 0.5, None, 8.0),
        (5, 1.0, None, 32.0),
        (9, 1.0, None, 300.0),
        (5000, 1.0, None, 300.0),
        (1, 1.0, 120.0, 120.0),
        (9, 1.0, 120.0, 300.0),
        (1, 1.0, 86400.0, 3600.0),
    ],
)
def test_backoff_grows_to_five_minutes_and_honours_what_was_asked_for_up_to_an_hour(
    failures, jitter, retry_after_s, expected
):
    assert backoff_s(failures, jitter, retry_after_s) == expected


@pytest.mark.parametrize(
    ("error", "failures", "expected"),
    [
        (Unavailable("x"), BREAKER_FAILURES - 1, (Hold.NONE, 0.0)),
        (Unavailable("x"), BREAKER_FAILURES, (Hold.BREAKER, 32.0)),
        (Unavailable("x", retry_after_s=60), 1, (Hold.ASKED, 60.0)),
        (Unavailable("x", retry_after_s=60), BREAKER_FAILURES, (Hold.BREAKER, 60.0)),
        (Denied("x"), 1, (Hold.DENIED, 300.0)),
        (Rejected("x"), 9, (Hold.NONE, 0.0)),
        (KeyError("x"), 9, (Hold.NONE, 0.0)),
    ],
)
def test_when_the_whole_lane_pauses(error, failures, expected):
    assert hold_after(error, failures, 1.0) == expected


# ---- what the on-call person sees ----


def test_a_situation_gets_its_ticket_and_the_inbox_hears_of_its_number(bench):
    bench.plan(opening(note="opened"))

    bench.work()

    assert [record.key for record in bench.tool.records.values()] == ["S-1"]
    assert (bench.ticket().state, bench.ticket().number) == (TicketState.CONFIRMED, "T1")
    told = bench.told[0]
    assert (told.sink, told.situation, told.state, told.number, told.origin) == (
        "tool",
        "S-1",
        "confirmed",
        "T1",
        "write",
    )
    assert told.url == "https://tool.example/T1"
    assert bench.lane.counts == {"confirmed": 1}
    assert bench.observed == [("tool", "confirmed")]


def test_orders_of_a_situation_arrive_in_order_and_later_ones_know_the_record(bench):
    bench.plan(opening(), update(2, priority=1), make_order(Verb.RESOLVE, sink="tool", version=3))
    bench.plan(make_order(Verb.REOPEN, sink="tool", version=4))

    bench.work()

    assert [order.verb for order in bench.tool.delivered] == [Verb.OPEN, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN]
    (record,) = bench.tool.records.values()
    assert record.open
    assert [change.sequence for change in bench.told] == sorted(change.sequence for change in bench.told)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ERROR, Fault.DOWN, Fault.LIMITED, Fault.DENIED, Fault.SURPRISE])
def test_one_fault_while_opening_delays_the_ticket_and_makes_no_second_one(bench, fault):
    bench.tool.faults = [fault]
    bench.plan(opening(), update(2, note="more"))

    bench.work(seconds=900)

    (record,) = bench.tool.records.values()
    assert record.notes == ["more"]
    assert bench.ticket().state is TicketState.CONFIRMED
    assert bench.ticket().error == ""


def test_after_a_lost_answer_the_record_is_searched_and_not_created_again(bench):
    bench.tool.faults = [Fault.LOST]
    bench.plan(opening())

    bench.work()
    lost = bench.ticket()
    bench.work(seconds=10)

    assert lost.state is TicketState.UNKNOWN
    assert bench.tool.searched == ["S-1"]
    assert len(bench.tool.delivered) == 1
    assert bench.lane.counts == {"unavailable": 1, "found": 1}
    assert [change.number for change in bench.told] == ["T1"]


def test_where_certainly_nothing_was_sent_no_search_is_needed(bench):
    bench.tool.faults = [Fault.DOWN]
    bench.plan(opening())

    bench.work(seconds=10)

    assert bench.tool.searched == []
    assert len(bench.tool.records) == 1


def test_an_absent_record_is_believed_only_after_the_tools_indexing_delay(store):
    bench = Bench(store, index_delay_s=60)
    bench.tool.faults = [Fault.LOST]
    bench.plan(opening())

    bench.work(seconds=59)
    assert len(bench.tool.delivered) == 1
    bench.work(seconds=10)

    assert len(bench.tool.records) == 1
    assert bench.ticket().state is TicketState.CONFIRMED
    assert bench.lane.counts["found"] == 1


def test_a_create_that_did_nothing_is_repeated_once_the_search_is_believed(store):
    bench = Bench(store, index_delay_s=60)
    bench.tool.faults = [Fault.ERROR]
    bench.plan(opening())

    bench.work(seconds=59)
    early = len(bench.tool.records)
    bench.work(seconds=10)

    assert (early, len(bench.tool.records)) == (0, 1)


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_during_the_call_leaves_one_ticket(bench, fault):
    bench.tool.faults = [fault]
    bench.plan(opening())
    with pytest.raises(Killed):
        bench.work()
    assert bench.ticket().state is TicketState.SENDING

    bench.new_lane()
    bench.work()

    assert len(bench.tool.records) == 1
    assert bench.tool.searched == ["S-1"]
    assert bench.ticket().state is TicketState.CONFIRMED


def test_a_crash_before_the_inbox_was_told_repeats_the_telling_and_not_the_write(bench):
    def crash(change):
        raise Killed

    bench.plan(opening())
    bench.report = crash
    with pytest.raises(Killed):
        bench.work()

    bench.report = bench.told.append
    bench.new_lane()
    bench.work()

    assert len(bench.tool.delivered) == 1
    assert [change.state for change in bench.told] == ["confirmed"]


def test_a_failing_inbox_stops_the_pass_and_is_told_later(bench):
    def full(change):
        raise Unavailable("the disk is full")

    bench.plan(opening("A"), opening("B"))
    bench.report = full
    with pytest.raises(Unavailable, match="disk is full"):
        bench.work()
    assert len(bench.tool.delivered) == 1

    bench.report = bench.told.append
    bench.work()

    assert [change.situation for change in bench.told] == ["A", "B"]


def test_one_failing_ticket_does_not_hold_up_the_others(bench):
    bench.plan(opening("A"), update(2, "A"), opening("B"), opening("C"))
    bench.tool.faults = [Fault.ERROR]

    bench.work()

    assert [order.situation for order in bench.tool.delivered] == ["B", "C"]
    bench.work(seconds=10)
    assert [order.situation for order in bench.tool.delivered] == ["B", "C", "A", "A"]


def test_during_an_outage_there_is_one_probe_per_backoff_period_and_afterwards_all_arrive_at_once(bench):
    bench.tool.faults = [Fault.ERROR] * 10_000
    bench.plan(*(opening(f"S-{n}") for n in range(50)))

    bench.work(seconds=1800)
    attempts = bench.lane.counts["unavailable"]
    status = bench.lane.status()
    bench.tool.faults = []
    bench.work(seconds=301)

    assert attempts <= BREAKER_FAILURES + 10
    assert (status.hold, status.error, status.since) == ("breaker", "HTTP 503", NOON)
    assert status.resume_at > NOON + timedelta(seconds=1800)
    assert len(bench.tool.records) == 50
    assert {len(bench.tool.of(f"S-{n}")) for n in range(50)} == {1}
    assert (bench.lane.status().hold, bench.lane.status().error, bench.lane.status().failures) == ("", "", 0)


def test_an_outage_of_a_day_loses_nothing(bench):
    bench.new_lane(poll=timedelta(minutes=1), look=timedelta(minutes=1))
    bench.tool.faults = [Fault.DOWN] * 100_000
    bench.plan(opening(), make_order(Verb.RESOLVE, sink="tool", version=2))

    bench.work(seconds=86_400)
    bench.tool.faults = []
    bench.work(seconds=301)

    (record,) = bench.tool.records.values()
    assert not record.open


def test_a_clock_that_is_set_back_during_an_outage_does_not_prolong_it(bench):
    bench.tool.faults = [Fault.DENIED]
    bench.plan(opening())
    bench.work()

    bench.clock.move(-86_400)
    bench.work(seconds=301)

    assert bench.ticket().state is TicketState.CONFIRMED


def test_a_tool_that_limits_the_rate_gets_nothing_at_all_until_the_time_it_named(bench):
    bench.plan(opening("A"), opening("B"), opening("C"))
    bench.tool.faults = [Fault.LIMITED]

    bench.work(seconds=59)
    before = len(bench.tool.delivered)
    hold = bench.lane.status().hold
    bench.work(seconds=2)

    assert (before, hold) == (0, "asked")
    assert len(bench.tool.records) == 3


def test_refused_credentials_pause_the_lane_visibly_with_a_probe_every_five_minutes(bench):
    bench.plan(opening("A"), opening("B"))
    bench.tool.faults = [Fault.DENIED] * 3

    bench.work(seconds=601)
    denied = bench.lane.counts["denied"]
    status = bench.lane.status()
    bench.work(seconds=300)

    assert denied == 3
    assert (status.hold, status.error, status.resume_at) == ("denied", "HTTP 401", NOON + timedelta(seconds=900))
    assert len(bench.tool.records) == 2


def test_a_rejected_create_is_a_dead_letter_and_what_would_follow_it_is_superseded(bench):
    bench.tool.faults = [Fault.REJECTED]
    bench.plan(opening(), update(2), make_order(Verb.RESOLVE, sink="tool", version=3))

    bench.work()

    assert bench.tool.records == {}
    assert (bench.ticket().state, bench.ticket().error) == (
        TicketState.REJECTED,
        "HTTP 400: the field u_site is mandatory",
    )
    assert [(change.state, change.comment) for change in bench.told] == [
        ("rejected", "HTTP 400: the field u_site is mandatory")
    ]
    assert bench.store.count_dead_letters() == 1
    assert bench.outbox.backlog("tool").pending == 0
    assert bench.lane.counts == {"rejected": 1, "superseded": 2}


def test_after_a_rejected_update_the_ticket_goes_on(bench):
    bench.plan(opening())
    bench.work()
    bench.tool.faults = [Fault.REJECTED]
    bench.plan(update(2), make_order(Verb.RESOLVE, sink="tool", version=3))

    bench.work()

    (record,) = bench.tool.records.values()
    assert not record.open
    assert bench.ticket().state is TicketState.CONFIRMED
    assert [change.state for change in bench.told] == ["confirmed", "rejected", "confirmed"]
    assert bench.told[1].number == "T1"


def test_an_order_at_which_the_sink_itself_fails_becomes_a_dead_letter_and_holds_up_nobody(bench):
    bench.plan(opening("A"), opening("B"))
    bench.tool.faults = [Fault.SURPRISE, None, *[None, Fault.SURPRISE] * (MAX_SURPRISES - 1)]

    bench.work(seconds=600)

    assert bench.ticket("B").state is TicketState.CONFIRMED
    assert bench.ticket("A").state is TicketState.REJECTED
    assert "KeyError: 'result'" in bench.ticket("A").error
    assert bench.lane.counts["failed"] == MAX_SURPRISES
    assert bench.lane.status().hold == ""


def test_an_answer_without_a_number_counts_as_lost(bench):
    deliver = bench.tool.deliver
    bench.tool.deliver = lambda order, ticket: deliver(order, ticket) and Receipt(number="")
    bench.plan(opening())

    bench.work(seconds=10)

    assert len(bench.tool.records) == 1
    assert bench.ticket().number == "T1"


# ---- what people do there ----


def test_what_people_did_is_told_in_order_and_only_once(bench):
    for state in ("taken", "commented", "resolved"):
        bench.tool.person("S-1", state)

    bench.work()
    read = bench.lane.changes_read
    bench.new_lane()
    bench.work(seconds=10)

    assert [(change.sink, change.origin, change.state, change.actor) for change in bench.told] == [
        ("tool", "read", "taken", "ada"),
        ("tool", "read", "commented", "ada"),
        ("tool", "read", "resolved", "ada"),
    ]
    assert (read, bench.lane.changes_read) == (3, 0)


def test_the_cursor_stays_where_the_inbox_stopped_taking(bench):
    def two(change):
        if len(bench.told) == 2:
            raise Unavailable("full")
        bench.told.append(change)

    for n in range(4):
        bench.tool.person("S-1", f"change {n}")
    bench.report = two
    with pytest.raises(Unavailable):
        bench.work()

    bench.report = bench.told.append
    bench.work(seconds=5)

    assert [change.state for change in bench.told] == [f"change {n}" for n in range(4)]


def test_changes_are_read_every_second_and_at_once_after_a_poke(bench):
    bench.work()
    bench.tool.person("S-1", "taken")
    bench.work()
    unread = list(bench.told)
    bench.lane.poke()
    bench.work()
    poked = len(bench.told)
    bench.tool.person("S-1", "resolved")
    bench.work(seconds=1)

    assert (unread, poked, len(bench.told)) == ([], 1, 2)


def test_a_tool_that_cannot_be_read_is_still_written_to(bench):
    def broken(cursor):
        raise Unavailable("HTTP 500")

    changes, bench.tool.changes = bench.tool.changes, broken
    bench.tool.person("S-1", "taken")
    bench.plan(opening())
    bench.work(seconds=60)
    written = len(bench.tool.records)
    bench.tool.changes = changes
    bench.work(seconds=301)

    assert written == 1
    assert [change.state for change in bench.told] == ["confirmed", "taken"]
    assert bench.lane.counts["unavailable"] < 12


def test_reading_again_ends_the_pause_that_reading_began_and_no_other(bench):
    def denied(cursor):
        raise Denied("HTTP 403")

    changes, bench.tool.changes = bench.tool.changes, denied
    bench.work()
    by_reading = bench.lane.status().hold
    bench.tool.changes = changes
    bench.work(seconds=301)
    after_reading = bench.lane.status().hold
    bench.plan(opening())
    bench.tool.faults = [Fault.DENIED] * 2
    bench.work(seconds=2)
    by_writing = bench.lane.status().hold
    bench.lane.poke()
    bench.work(seconds=100)

    assert (by_reading, after_reading, by_writing) == ("denied", "", "denied")
    assert bench.lane.status().hold == "denied"
    assert bench.lane.counts["denied"] == 2


# ---- the thread ----


def eventually(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_running_lane_delivers_to_the_desk_and_reads_back_what_people_do(store):
    desk, outbox, told = Desk(store), Outbox(store), []
    lane = Lane("desk", DeskSink("desk", desk), outbox, told.append, now=lambda: datetime.now(UTC))
    lane.start()
    store.journal.commit(Step(read_from=0, position=1, orders=[make_order(at=datetime.now(UTC))]))
    lane.poke()
    eventually(lambda: told)
    assert lane.status().running
    number = told[0].number
    desk.act(number, DeskAction.TAKE, actor="ada", at=datetime.now(UTC))
    lane.poke()
    eventually(lambda: len(told) == 2)

    assert lane.stop(5.0)
    assert (number, told[1].state, told[1].sink) == ("INC0000001", "taken", "desk")
    assert not lane.status().running


def test_stopping_lets_the_running_call_finish_and_begins_no_other(bench):
    started, go_on = threading.Event(), threading.Event()
    deliver = bench.tool.deliver

    def slow(order, ticket):
        started.set()
        go_on.wait(10)
        return deliver(order, ticket)

    bench.tool.deliver = slow
    bench.plan(opening("A"), opening("B"))
    bench.lane.start()
    assert started.wait(10)

    assert not bench.lane.stop(0.05)
    go_on.set()
    assert bench.lane.stop(10)

    assert [order.situation for order in bench.tool.delivered] == ["A"]
    assert bench.ticket("A").state is TicketState.CONFIRMED
    assert bench.ticket("B") is None


def test_a_lane_survives_a_failing_inbox(store):
    failures = [Unavailable("full"), OSError("no space")]
    told = []

    def report(change):
        if failures:
            raise failures.pop()
        told.append(change)

    clock = SteppedClock()
    lane = Lane("tool", FaultyTool(clock), Outbox(store), report, now=clock, jitter=lambda: 0.0)
    store.journal.commit(Step(read_from=0, position=1, orders=[opening()]))
    lane.start()
    for _ in range(2):
        eventually(lambda: told or lane.poke(), within_s=10)

    assert lane.stop(5)
    assert lane.crashes == 2
    assert [change.state for change in told] == ["confirmed"]
