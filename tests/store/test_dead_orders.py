import pytest

from foreshock.core.contracts import Step, Verb
from foreshock.core.errors import Missing, Rejected
from foreshock.core.model import TicketState
from foreshock.service.delivery import Lane
from foreshock.store.dead_orders import DeadOrders, Later, revived
from foreshock.store.outbox import Outbox
from foreshock.testing.tickets import NOON, FaultyTool, SteppedClock, make_order

# ---- what is sent again ----


def later(*orders, done=False, waits=False):
    return [Later(sequence=n, order=order, done=done, waits=waits) for n, order in enumerate(orders, 2)]


def update(version=2, **fields):
    return make_order(Verb.UPDATE, version=version, **fields)


def test_an_opening_takes_along_what_could_not_be_done_without_it():
    followers = [update(2), make_order(Verb.RESOLVE, version=3)]

    assert revived(make_order(), later(*followers)) == [make_order(), *followers]


def test_an_opening_is_refused_where_there_is_a_record():
    with pytest.raises(Rejected, match="has a record of it already; drop it"):
        revived(make_order(), later(update(), done=True))


def test_an_update_says_only_what_was_not_said_since():
    (sent,) = revived(
        update(2, title="two hosts", priority=2, note="a second host"),
        [*later(update(3, title="three hosts"), done=True), *later(update(4, ci="db1"), waits=True)],
    )

    assert (sent.fields, sent.note) == ({"priority": 2}, "a second host")


def test_an_update_that_has_nothing_left_to_say_is_refused():
    with pytest.raises(Rejected, match="all that it says was said since"):
        revived(update(2, title="two hosts"), later(update(3, title="three hosts"), waits=True))


@pytest.mark.parametrize("state", ["done", "waits"])
def test_a_resolution_that_a_reopening_overtook_is_refused(state):
    with pytest.raises(Rejected, match="resolve of S-1: reopen came after it"):
        revived(make_order(Verb.RESOLVE, version=2), later(make_order(Verb.REOPEN, version=3), **{state: True}))


def test_a_resolution_goes_out_although_an_update_came_after_it():
    resolve = make_order(Verb.RESOLVE, version=2)

    assert revived(resolve, later(update(3), done=True)) == [resolve]


# ---- through a lane ----


class Picky(FaultyTool):
    """Refuses what ``refuses`` names."""

    refuses = frozenset()

    def deliver(self, order, ticket):
        if order.verb in self.refuses:
            raise Rejected("HTTP 400: the field u_site is mandatory")
        return super().deliver(order, ticket)


class Bench:
    def __init__(self, store):
        self.store, self.clock, self.told = store, SteppedClock(), []
        self.tool, self.outbox, self.letters = Picky(self.clock), Outbox(store), DeadOrders(store)
        self.lane = Lane("tool", self.tool, self.outbox, self.told.append, now=self.clock, jitter=lambda: 0.0)

    def plan(self, *orders):
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))
        self.lane.work()

    def retry(self, id=None):
        id = self.letters.of("tool")[0].id if id is None else id
        return self.letters.retry("tool", id, actor="ada", now=self.clock())


def order(verb, version, **fields):
    return make_order(verb, sink="tool", version=version, **fields)


@pytest.fixture
def bench(store):
    return Bench(store)


def test_a_refused_opening_is_listed_with_its_error_and_order(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))

    (letter,) = bench.letters.of("tool")

    assert (letter.sink, letter.at, letter.error) == ("tool", NOON, "HTTP 400: the field u_site is mandatory")
    assert letter.order == order(Verb.OPEN, 1)
    assert (bench.letters.count("tool"), bench.letters.count("desk"), bench.letters.of("desk")) == (1, 0, [])


def test_a_retried_opening_goes_on_in_order_and_the_inbox_hears_of_it_anew(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1), order(Verb.UPDATE, 2, title="worse"), order(Verb.RESOLVE, 3))
    bench.tool.refuses = frozenset()

    assert bench.retry() == 3
    bench.lane.work()

    assert [each.verb for each in bench.tool.delivered] == [Verb.OPEN, Verb.UPDATE, Verb.RESOLVE]
    (record,) = bench.tool.records.values()
    assert (record.open, record.fields["title"]) == (False, "worse")
    assert [change.state for change in bench.told] == ["rejected", "confirmed", "confirmed", "confirmed"]
    sequences = [change.sequence for change in bench.told]
    assert sequences == sorted(set(sequences))
    assert bench.letters.of("tool") == []


def test_an_opening_is_searched_for_before_it_is_sent_again(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    bench.tool.refuses = frozenset()
    bench.tool.deliver(order(Verb.OPEN, 1), None)  # it had worked after all

    bench.retry()
    bench.lane.work()

    assert len(bench.tool.records) == 1
    assert bench.outbox.ticket("S-1", "tool").state is TicketState.CONFIRMED


def test_what_waits_behind_a_retried_opening_stays_behind_it(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    bench.tool.refuses = frozenset()
    position = bench.store.journal.position()[0]
    waiting = [order(Verb.UPDATE, 2), order(Verb.RESOLVE, 3)]
    bench.store.journal.commit(Step(read_from=position, position=position + 1, orders=waiting))

    bench.retry()
    bench.lane.work()

    assert [each.verb for each in bench.tool.delivered] == [Verb.OPEN, Verb.UPDATE, Verb.RESOLVE]
    assert bench.outbox.backlog("tool").pending == 0


def test_what_is_refused_again_is_a_dead_letter_again_and_can_be_tried_a_third_time(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    for _ in range(2):
        bench.retry()
        bench.lane.work()
    bench.tool.refuses = frozenset()
    bench.retry()
    bench.lane.work()

    assert len(bench.tool.records) == 1


def test_a_retried_update_does_not_undo_what_came_after_it(bench):
    bench.plan(order(Verb.OPEN, 1))
    bench.tool.refuses = {Verb.UPDATE}
    bench.plan(order(Verb.UPDATE, 2, title="two hosts", priority=2, note="a second host"))
    bench.tool.refuses = frozenset()
    bench.plan(order(Verb.UPDATE, 3, title="three hosts"))

    bench.retry()
    bench.lane.work()

    (record,) = bench.tool.records.values()
    assert (record.fields["title"], record.fields["priority"], record.notes) == ("three hosts", 2, ["a second host"])


def test_who_dropped_it_and_why_is_in_the_audit_of_the_situation(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    (letter,) = bench.letters.of("tool")

    bench.letters.drop("tool", letter.id, actor="ada", reason="opened by hand as INC1", now=NOON)

    assert bench.letters.of("tool") == []
    (row,) = bench.store.audit("S-1")
    assert (row.actor, row.kind, row.action) == ("ada", "ticket", "dropped")
    assert row.detail == (
        f"tool: dead letter {letter.id}, open: opened by hand as INC1 "
        "(it was refused: HTTP 400: the field u_site is mandatory)"
    )


def test_a_retry_is_in_the_audit_too(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    bench.retry()

    assert [(row.actor, row.action) for row in bench.store.audit("S-1")] == [("ada", "retried")]


def test_a_letter_of_another_sink_or_of_none_is_not_there(bench):
    bench.tool.refuses = {Verb.OPEN}
    bench.plan(order(Verb.OPEN, 1))
    (letter,) = bench.letters.of("tool")

    with pytest.raises(Missing, match="desk has no dead letter"):
        bench.letters.retry("desk", letter.id, actor="ada", now=NOON)
    with pytest.raises(Missing, match="tool has no dead letter 99"):
        bench.letters.drop("tool", 99, actor="ada", reason="x", now=NOON)
