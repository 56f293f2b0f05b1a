import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from queue import SimpleQueue

import pytest
from sqlalchemy import update as update_rows
from structlog.testing import capture_logs

from foreshock.connect.calls import Made
from foreshock.core.contracts import DeskAction, Receipt, Step, Verb
from foreshock.core.errors import Denied, Unavailable
from foreshock.core.model import TicketState
from foreshock.service.breaker import FAILURES, WINDOW
from foreshock.service.delivery import MAX_SURPRISES, Lane, connection_of, ended_at, next_step, state_after
from foreshock.service.delivery import Step as Next
from foreshock.service.rate import Rate
from foreshock.store.desk import Desk
from foreshock.store.outbox import Outbox, TicketRow
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.store.tables import outbox as rows
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
    ("error", "expected_s"),
    [
        (Unavailable("the connection broke"), 40),
        (Unavailable("HTTP 503", answered=True), 0),
        (KeyError("result"), 40),
    ],
)
def test_a_system_may_be_at_work_on_a_call_that_it_did_not_answer(error, expected_s):
    ended = ended_at(error, NOON, patience=timedelta(seconds=40))

    assert ended == NOON + timedelta(seconds=expected_s)


def test_a_situation_has_one_connection_and_many_share_them_out():
    used = [connection_of(f"S-{n}", 8) for n in range(800)]

    assert used == [connection_of(f"S-{n}", 8) for n in range(800)]
    assert all(50 < used.count(number) < 150 for number in range(8))


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


def test_after_a_crash_the_system_is_given_the_time_that_a_call_may_take(bench):
    """A slow creation may be under way there still: that a search finds nothing at once proves nothing."""
    bench.plan(opening())
    bench.tool.faults = [Fault.CRASH_BEFORE]
    with pytest.raises(Killed):
        bench.work()
    bench.new_lane(patience=timedelta(seconds=35))

    bench.work(seconds=34)
    early = len(bench.tool.delivered)
    bench.work(seconds=2)

    assert (early, len(bench.tool.records)) == (0, 1)
    assert bench.lane.counts["absent"] == 2


def test_a_process_that_was_suspended_before_a_call_does_not_make_it(bench):
    bench.plan(opening("A"), opening("B"))
    bench.new_lane(more=[bench.tool] * 7)
    bench.tool.during = lambda order: bench.clock.move(60)  # between both calls, which are on disk already

    bench.lane.work()

    assert len(bench.tool.delivered) == 1
    bench.tool.during = lambda order: None
    bench.work(seconds=10)
    assert sorted(order.situation for order in bench.tool.delivered) == ["A", "B"]
    assert bench.tool.searched == []


def test_a_clock_that_is_set_back_makes_no_wait_for_a_lost_answer_longer(bench):
    bench.plan(opening())
    bench.tool.faults = [Fault.CRASH_BEFORE]
    with pytest.raises(Killed):
        bench.work()
    bench.new_lane(patience=timedelta(seconds=35))
    bench.clock.move(-86_400)

    bench.work(seconds=40)

    assert len(bench.tool.records) == 1


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

    bench.plan(opening("A"), opening("B"), opening("C"))
    bench.report = full
    for _ in range(3):
        with pytest.raises(Unavailable, match="disk is full"):
            bench.work()
    assert len(bench.tool.delivered) == 2  # one was under way when the first was to be told

    bench.report = bench.told.append
    bench.work()

    assert [change.situation for change in bench.told] == ["A", "B", "C"]


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

    assert attempts <= FAILURES + 15
    assert (status.hold, status.error) == ("breaker", "HTTP 503")
    assert status.since - NOON < timedelta(seconds=10)
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


def test_credentials_refused_once_among_good_answers_are_tried_again_at_once(bench):
    bench.plan(opening("A"), opening("B"))
    bench.tool.faults = [Fault.DENIED]

    bench.work()
    hold = bench.lane.status().hold
    bench.work(seconds=2)

    assert hold == "denied"
    assert (len(bench.tool.records), bench.lane.status().hold) == (2, "")


def test_refused_credentials_pause_the_lane_visibly_with_a_probe_every_five_minutes(bench):
    bench.plan(opening("A"), opening("B"))
    bench.tool.faults = [Fault.DENIED] * 4

    bench.work(seconds=602)
    denied = bench.lane.counts["denied"]
    status = bench.lane.status()
    bench.work(seconds=300)

    assert denied == 4  # the second 2 s after the first
    assert (status.hold, status.error, status.resume_at) == ("denied", "HTTP 401", NOON + timedelta(seconds=902))
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


def test_what_the_tool_says_itself_is_read_once_it_has_settled_although_the_poll_is_far(bench):
    bench.new_lane(poll=timedelta(days=1), settle=timedelta(seconds=30))
    bench.work()
    bench.tool.person("S-1", "taken")
    bench.lane.hear()
    bench.work(seconds=30)
    early = list(bench.told)
    bench.work(seconds=2)

    assert (early, [change.state for change in bench.told]) == ([], ["taken"])


def unreadable(cursor):
    raise Unavailable("HTTP 500")


def test_what_the_tool_says_while_it_cannot_be_read_neither_hurries_nor_gets_lost(bench):
    bench.new_lane(poll=timedelta(hours=2))
    bench.work()
    changes, bench.tool.changes = bench.tool.changes, unreadable
    bench.tool.person("S-1", "taken")
    bench.lane.hear()
    bench.work(seconds=60)
    bench.tool.changes = changes
    bench.work(seconds=600)

    assert [change.state for change in bench.told] == ["taken"]
    assert bench.lane.counts["unavailable"] < 12


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


def test_an_account_that_may_not_read_still_writes_and_reading_is_tried_every_five_minutes(bench):
    def denied(cursor):
        raise Denied("HTTP 403")

    bench.tool.changes = denied
    bench.work()
    bench.plan(opening())
    bench.work(seconds=899)

    status = bench.lane.status()
    assert (status.hold, status.unread) == ("", "HTTP 403")
    assert bench.ticket().state is TicketState.CONFIRMED
    assert bench.lane.counts["denied"] == 4  # the second at once: one may be a slip


def test_a_limit_met_while_reading_holds_back_the_writes_as_well(bench):
    def limited(cursor):
        raise Unavailable("HTTP 429", retry_after_s=60, unsent=True)

    changes, bench.tool.changes = bench.tool.changes, limited
    bench.work()
    bench.tool.changes = changes
    bench.plan(opening())
    bench.work(seconds=59)
    before = len(bench.tool.records)
    bench.work(seconds=2)

    assert (before, len(bench.tool.records)) == (0, 1)


def test_while_credentials_are_refused_nothing_is_read_either(bench):
    bench.plan(opening())
    bench.tool.faults = [Fault.DENIED] * 2
    bench.work(seconds=2)
    bench.tool.person("S-1", "taken")
    bench.lane.poke()
    bench.work(seconds=100)

    assert bench.told == []


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


def test_a_running_lane_reads_what_the_tool_says_itself_long_before_the_next_poll(bench):
    bench.new_lane(poll=timedelta(days=1))
    readings = []
    changes = bench.tool.changes

    def counted(cursor):
        readings.append(cursor)
        return changes(cursor)

    bench.tool.changes = counted
    bench.lane.start()
    eventually(lambda: readings)
    bench.tool.person("S-1", "taken")
    bench.lane.hear()
    bench.clock.move(6)
    bench.lane.hear()
    eventually(lambda: bench.told)

    assert bench.lane.stop(5.0)
    assert [change.state for change in bench.told] == ["taken"]


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


# ---- several connections ----


class Slow:
    """A sink whose calls begin, and end when the test lets them."""

    def __init__(self, begun):
        self.begun = begun
        self.go_on = threading.Semaphore(0)
        self.orders = []

    def find(self, key):
        return None

    def deliver(self, order, ticket):
        self.orders.append((order.situation, order.version))
        self.begun.put(order)
        assert self.go_on.acquire(timeout=20)
        return Receipt(number=f"T-{order.situation}")

    def changes(self, cursor):
        return ()


def slow_lane(store, name, connections, told):
    begun = SimpleQueue()
    sinks = [Slow(begun) for _ in range(connections)]
    lane = Lane(
        name,
        sinks[0],
        Outbox(store),
        told.append,
        more=sinks[1:],
        reader=Slow(begun),
        now=lambda: datetime.now(UTC),
    )
    return lane, sinks, begun


def commit(store, *orders):
    position = store.journal.position()[0]
    store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))


def one_for_each_connection(connections):
    """Situations of which each has a connection of its own."""
    found = {}
    for n in range(200):
        found.setdefault(connection_of(f"S-{n}", connections), f"S-{n}")
    return [found[number] for number in range(connections)]


def test_a_lane_makes_as_many_calls_at_once_as_it_has_connections(store):
    told = []
    lane, sinks, begun = slow_lane(store, "tool", 4, told)
    commit(store, *(opening(situation) for situation in one_for_each_connection(4)))
    lane.start()

    for _ in range(4):
        begun.get(timeout=20)  # all four before one has ended
    assert lane.status().calls == 4
    for sink in sinks:
        sink.go_on.release()

    eventually(lambda: len(told) == 4)
    assert lane.stop(10)
    assert {change.state for change in told} == {"confirmed"}


def test_the_orders_of_a_situation_go_one_after_the_other_through_one_connection(store):
    told = []
    lane, sinks, _ = slow_lane(store, "tool", 4, told)
    situations = [f"S-{n}" for n in range(12)]
    for version, verb in enumerate((Verb.OPEN, Verb.RESOLVE, Verb.REOPEN, Verb.RESOLVE), 1):
        commit(store, *(make_order(verb, sink="tool", situation=name, version=version) for name in situations))
    for sink in sinks:
        sink.go_on.release(100)
    lane.start()

    eventually(lambda: len(told) == 48)
    assert lane.stop(10)
    for sink in sinks:
        for name in {situation for situation, _ in sink.orders}:
            assert [version for situation, version in sink.orders if situation == name] == [1, 2, 3, 4]
    assert sum(len({situation for situation, _ in sink.orders}) for sink in sinks) == 12


def test_a_connection_that_hangs_holds_up_its_own_situations_and_no_others(store):
    told = []
    lane, sinks, begun = slow_lane(store, "tool", 2, told)
    stuck, free = one_for_each_connection(2)
    commit(store, opening(stuck))
    lane.start()
    begun.get(timeout=20)
    sinks[1].go_on.release(100)

    commit(
        store,
        *(make_order(Verb.OPEN if v == 1 else Verb.RESOLVE, sink="tool", situation=free, version=v) for v in (1, 2)),
    )
    lane.wake()

    eventually(lambda: len(told) == 2)
    assert {change.situation for change in told} == {free}
    sinks[0].go_on.release()
    eventually(lambda: len(told) == 3)
    assert lane.stop(10)


def test_a_sink_that_hangs_delays_no_other(store):
    dead_told, told = [], []
    dead, dead_sinks, dead_begun = slow_lane(store, "dead", 2, dead_told)
    lane, sinks, _ = slow_lane(store, "tool", 2, told)
    for sink in sinks:
        sink.go_on.release(100)
    for name in ("dead", "tool"):
        commit(store, *(make_order(sink=name, situation=f"S-{n}") for n in range(20)))
    dead.start()
    dead_begun.get(timeout=20)
    lane.start()

    eventually(lambda: len(told) == 20)
    assert dead_told == []
    for sink in dead_sinks:
        sink.go_on.release(100)
    assert lane.stop(10)
    assert dead.stop(10)


def test_people_are_heard_although_every_call_hangs(store):
    told = []
    tool = FaultyTool(SteppedClock())
    tool.person("S-9", "taken")
    begun = SimpleQueue()
    sink = Slow(begun)
    lane = Lane("tool", sink, Outbox(store), told.append, reader=tool, now=lambda: datetime.now(UTC))
    commit(store, opening())
    lane.start()
    begun.get(timeout=20)

    eventually(lambda: told)
    assert [change.state for change in told] == ["taken"]
    sink.go_on.release()
    assert lane.stop(10)


# ---- who comes too late ----


def test_a_lane_that_another_process_took_over_ends_and_its_late_answer_changes_nothing(store):
    told, ended = [], []
    begun = SimpleQueue()
    sink = Slow(begun)
    lane = Lane("tool", sink, Outbox(store), told.append, now=lambda: datetime.now(UTC), on_fenced=ended.append)
    commit(store, opening())
    lane.start()
    begun.get(timeout=20)

    Outbox(store).take_over("tool", datetime.now(UTC), timedelta(0))
    sink.go_on.release()

    eventually(lambda: ended)
    eventually(lambda: not lane.status().running)
    assert lane.status().hold == "fenced"
    assert Outbox(store).ticket("S-1", "tool").state is TicketState.UNKNOWN
    assert told == []


def test_an_answer_that_comes_after_another_one_took_the_row_is_counted_and_not_written(bench):
    """As after a restore of the database: the lease is the same, the row is not."""
    deliver = bench.tool.deliver

    def overtaken(order, ticket):
        bench.tool.deliver = deliver
        with bench.store.write() as connection:
            connection.execute(update_rows(rows).values(attempts=rows.c.attempts + 1))
        return deliver(order, ticket)

    bench.tool.deliver = overtaken
    bench.plan(opening())
    bench.work(seconds=10)

    assert (bench.lane.counts["late"], bench.lane.counts["found"]) == (1, 1)
    assert len(bench.tool.records) == 1
    assert bench.ticket().state is TicketState.CONFIRMED


# ---- outages ----


def test_an_order_that_always_fails_holds_up_no_other(bench):
    deliver = bench.tool.deliver

    def picky(order, ticket):
        if order.situation == "bad":
            raise Unavailable("HTTP 500", answered=True)
        return deliver(order, ticket)

    bench.tool.deliver = picky
    bench.plan(opening("bad"))
    bench.work(seconds=3600)
    bench.plan(opening("good"))
    bench.work()

    assert bench.ticket("good").state is TicketState.CONFIRMED
    assert bench.lane.status().hold == ""
    assert bench.lane.counts["unavailable"] < 150  # it is tried every now and then, for ever


def test_a_sink_that_fails_every_second_call_gets_all_orders_and_is_not_hammered(bench):
    deliver, calls = bench.tool.deliver, []

    def every_second(order, ticket):
        calls.append(bench.clock())
        if len(calls) % 2:
            raise Unavailable("HTTP 500", answered=True)
        return deliver(order, ticket)

    bench.tool.deliver = every_second
    bench.plan(*(opening(f"S-{n}") for n in range(100)))
    bench.work(seconds=300)

    assert len(bench.tool.records) == 100
    assert max(Counter(calls).values()) <= 10  # in one moment
    assert bench.lane.status().hold == ""


def test_a_connection_pauses_the_longer_the_more_calls_fail(bench):
    bench.tool.faults = [Fault.ERROR] * 8
    bench.plan(*(opening(f"S-{n}") for n in range(8)))
    moments = []
    bench.tool.deliver = partial(_noting, moments, bench.clock, bench.tool.deliver)

    bench.work(seconds=3)

    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(moments[:8])]
    assert pauses == [n / WINDOW for n in range(7)]


def _noting(moments, clock, deliver, order, ticket):
    moments.append(clock())
    return deliver(order, ticket)


class Calling:
    """A sink that makes several calls for each order, in turn as ``script`` says: each safe or not, and its error."""

    def __init__(self, tool, made):
        self.tool, self.made, self.script = tool, made, []

    def find(self, key):
        return self.tool.find(key)

    def changes(self, cursor):
        return []

    def deliver(self, order, ticket):
        for call in self.script.pop(0) if self.script else ():
            self.made.append(call)
            if call.error is not None:
                raise call.error
        return self.tool.deliver(order, ticket)


@pytest.fixture
def calling(bench):
    made = []
    sink = Calling(bench.tool, made)
    bench.lane = Lane(
        "tool", sink, bench.outbox, bench.told.append, now=bench.clock, made=[made], index_delay=timedelta(minutes=2),
        patience=timedelta(seconds=40), jitter=lambda: 1.0,
    )  # fmt: skip
    return sink


READ, WRITTEN = Made(True, None), Made(False, None)


def failed(error, *, safe=True):
    return Made(safe, error)


def test_a_search_that_fails_before_a_creation_costs_no_wait_for_the_index(bench, calling):
    calling.script = [[failed(Unavailable("the connection broke"))]]
    bench.plan(opening())

    bench.work()
    state = bench.ticket().state
    bench.work(seconds=2)

    assert state is TicketState.PLANNED
    assert (len(bench.tool.records), bench.tool.searched) == (1, [])


@pytest.mark.parametrize(
    "error", [Unavailable("HTTP 429", retry_after_s=5, unsent=True), Unavailable("the connection broke"), Denied("401")]
)
def test_an_order_that_wrote_something_before_it_failed_is_searched_for(bench, calling, error):
    calling.script = [[READ, WRITTEN, failed(error)]]
    bench.plan(opening())

    bench.work()

    assert bench.ticket().state is TicketState.UNKNOWN


def test_a_system_that_answers_most_calls_is_not_given_a_rest_although_hardly_an_order_works(bench, calling):
    calling.script = [[READ, READ, READ, failed(Unavailable("HTTP 500", answered=True), safe=False)]] * 60
    bench.plan(*(opening(f"S-{n}") for n in range(30)))

    with capture_logs() as logs:
        bench.work(seconds=600)

    assert [line for line in logs if line["event"] == "sink_held"] == []
    assert len(bench.tool.records) == 30


def test_a_page_in_place_of_each_answer_is_an_outage_although_each_call_was_answered(bench, calling):
    calling.tool = FaultyTool(bench.clock)
    calling.tool.faults = [Fault.ERROR] * 100  # what the sink makes of the page
    calling.script = [[READ]] * 100
    bench.plan(*(opening(f"S-{n}") for n in range(30)))

    bench.work(seconds=60)

    assert bench.lane.status().hold == "breaker"


def test_an_outage_is_told_of_once_when_it_begins_and_once_when_it_is_over(bench):
    with capture_logs() as logs:
        bench.tool.faults = [Fault.ERROR] * 12
        bench.plan(*(opening(f"S-{n}") for n in range(20)))
        bench.work(seconds=3600)
        bench.plan(*(opening(f"T-{n}") for n in range(20)))
        bench.work(seconds=120)

    lines = [line["event"] for line in logs if line["event"] in ("sink_held", "sink_back")]
    assert lines == ["sink_held", "sink_back"]
    assert len(bench.tool.records) == 40


def test_where_few_calls_are_left_all_connections_wait_for_the_next_window(bench):
    rate = Rate(2, bench.clock)
    bench.new_lane(more=[bench.tool], rate=rate)
    bench.plan(opening("A"), opening("B"))
    rate.heard({"ratelimit-limit": "700", "ratelimit-remaining": "3", "ratelimit-reset": "60"})

    bench.work(seconds=59)
    before, status = len(bench.tool.delivered), bench.lane.status()
    bench.work(seconds=2)

    assert (before, status.hold, status.resume_at) == (0, "rate", NOON + timedelta(seconds=60))
    assert len(bench.tool.records) == 2
