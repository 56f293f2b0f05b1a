from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import insert, select, update

from foreshock.core.contracts import Order, Receipt, Step, Verb
from foreshock.core.errors import Fenced
from foreshock.core.model import TicketState
from foreshock.store.outbox import MAX_NOTE_CHARS, Outbox, fold
from foreshock.store.tables import dead_letter
from foreshock.store.tables import outbox as rows
from foreshock.testing.tickets import NOON, make_order


class OneByOne(Outbox):
    """Each write a turn of its own, by a lane that took over first."""

    lease = None

    def _alone(self, sink, now):
        if self.lease is None:
            self.lease = self.take_over(sink, now, timedelta(0))
        return self.turn(sink, self.lease, now)

    def begin(self, head, now):
        with self._alone(head.order.sink, now) as turn:
            return turn.begin(head)

    def confirm(self, row, receipt, now):
        with self._alone(row.order.sink, now) as turn:
            return turn.confirm(row, receipt)

    def retry(self, row, error, *, now, **how):
        with self._alone(row.order.sink, now) as turn:
            return turn.retry(row, error, **how)

    def reject(self, row, error, now):
        with self._alone(row.order.sink, now) as turn:
            return turn.reject(row, error)

    def supersede(self, row, reason):
        with self._alone(row.order.sink, NOON) as turn:
            return turn.supersede(row, reason)

    def told(self, sequences):
        with self._alone("desk", NOON) as turn:
            turn.told(sequences)

    def hasten(self, sink, now):
        with self._alone(sink, now) as turn:
            turn.hasten()


@pytest.fixture
def outbox(store):
    return OneByOne(store)


@pytest.fixture
def plan(store):
    """Orders as the engine's transaction writes them."""

    def write(*orders):
        position = store.journal.position()[0]
        store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))

    return write


def seconds(number):
    return timedelta(seconds=number)


def states(store):
    with store.read() as connection:
        return [
            (row.id, row.state) for row in connection.execute(select(rows.c.id, rows.c.state).order_by(rows.c.sequence))
        ]


def due(outbox, sink="desk", now=NOON):
    return [head.order.id for head in outbox.pending(sink, now)]


def settle(outbox, number="INC0000001"):
    """Deliver the first head that is due."""
    head = outbox.pending("desk", NOON)[0]
    sent = outbox.begin(head, NOON)
    outbox.confirm(sent, Receipt(number=number, url="/there"), NOON)
    return sent


def test_only_the_oldest_order_of_each_situation_and_sink_is_due(outbox, plan):
    plan(
        make_order(id="a1", situation="A"),
        make_order(Verb.RESOLVE, id="a2", situation="A"),
        make_order(id="b1", situation="B"),
        make_order(id="a1-elsewhere", situation="A", sink="webhook"),
    )

    assert due(outbox) == ["a1", "b1"]
    assert due(outbox, "webhook") == ["a1-elsewhere"]


def test_a_failing_order_holds_back_its_own_situation_and_nobody_elses(outbox, plan):
    plan(make_order(id="a1", situation="A"), make_order(Verb.UPDATE, id="a2", situation="A", version=2))
    plan(make_order(id="b1", situation="B"))
    failing = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    outbox.retry(
        failing, "HTTP 503", state=TicketState.UNKNOWN, next_at=NOON + seconds(40), now=NOON, attempts=failing.attempts
    )

    assert due(outbox) == ["b1"]
    assert outbox.next_due("desk") == NOON
    assert due(outbox, now=NOON + seconds(40)) == ["a1", "b1"]


def test_a_failed_order_is_not_due_before_its_time(outbox, plan):
    plan(make_order())
    assert outbox.next_due("webhook") is None
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    outbox.retry(sent, "x", state=TicketState.UNKNOWN, next_at=NOON + seconds(10), now=NOON, attempts=1)

    assert due(outbox) == []
    assert outbox.next_due("desk") == NOON + seconds(10)


def test_a_clock_that_was_set_back_holds_up_no_order(outbox, plan):
    plan(make_order(situation="A"), make_order(situation="B"))
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    outbox.retry(sent, "x", state=TicketState.UNKNOWN, next_at=NOON + seconds(10), now=NOON, attempts=1)

    yesterday = NOON - timedelta(days=1)

    assert due(outbox, now=yesterday) == ["A/desk/1-open", "B/desk/1-open"]


def test_the_ticket_is_sending_before_the_call_and_confirmed_with_its_number_after(outbox, plan):
    plan(make_order())
    head = outbox.pending("desk", NOON)[0]
    assert head.ticket is None

    sent = outbox.begin(head, NOON)
    while_calling = outbox.ticket("S-1", "desk")
    outbox.confirm(sent, Receipt(number="INC0000001", url="/there"), NOON + seconds(1))

    assert while_calling.state is TicketState.SENDING
    assert while_calling.receipt is None
    done = outbox.ticket("S-1", "desk")
    assert (done.state, done.receipt) == (TicketState.CONFIRMED, Receipt(number="INC0000001", url="/there"))
    assert outbox.tickets("S-1") == [done]
    assert due(outbox) == []


def test_a_row_that_somebody_else_took_is_not_taken_again(outbox, plan):
    plan(make_order())
    head = outbox.pending("desk", NOON)[0]

    assert outbox.begin(head, NOON) is not None
    assert outbox.begin(head, NOON) is None


def test_a_ticket_found_sending_is_unknown_once_another_lane_takes_over(outbox, plan):
    plan(make_order(), make_order(sink="webhook"))
    outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    other = OneByOne(outbox._store)
    other.begin(other.pending("webhook", NOON)[0], NOON)

    Outbox(outbox._store).take_over("desk", NOON + seconds(9), patience=seconds(0))

    ticket = outbox.ticket("S-1", "desk")
    assert (ticket.state, ticket.updated_at) == (TicketState.UNKNOWN, NOON + seconds(9))
    assert "stopped before the answer came" in ticket.error
    assert outbox.ticket("S-1", "webhook").state is TicketState.SENDING


def test_a_call_that_nobody_waits_for_may_be_at_work_for_a_while(outbox, plan):
    plan(make_order())
    outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    outbox.take_over("desk", NOON + seconds(9), patience=seconds(35))

    assert outbox.ticket("S-1", "desk").updated_at == NOON + seconds(44)


# ---- who writes late ----


def test_a_lane_that_was_taken_over_can_begin_and_settle_nothing(outbox, plan):
    plan(make_order(situation="A"), make_order(situation="B"))
    waiting = outbox.pending("desk", NOON)
    sent = outbox.begin(waiting[0], NOON)

    Outbox(outbox._store).take_over("desk", NOON, patience=seconds(0))

    with pytest.raises(Fenced, match="delivers to desk now"):
        outbox.confirm(sent, Receipt(number="INC0000001"), NOON)
    with pytest.raises(Fenced):
        outbox.begin(waiting[1], NOON)
    assert outbox.ticket("A", "desk").state is TicketState.UNKNOWN
    assert outbox.ticket("B", "desk") is None


def test_an_outcome_counts_only_for_the_call_it_is_of(outbox, plan):
    plan(make_order())
    first = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    second = outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    late = [
        outbox.confirm(first, Receipt(number="INC0000001"), NOON),
        outbox.reject(first, "HTTP 400", NOON),
        outbox.retry(first, "x", state=TicketState.PLANNED, next_at=NOON, now=NOON, attempts=1),
    ]

    assert late == [False, False, False]
    assert outbox.ticket("S-1", "desk").state is TicketState.SENDING
    assert outbox.confirm(second, Receipt(number="INC0000002"), NOON)
    assert not outbox.reject(second, "HTTP 400", NOON)
    assert outbox.ticket("S-1", "desk").number == "INC0000002"


def test_what_fails_in_a_turn_takes_all_of_it_back(outbox, plan):
    plan(make_order(situation="A"))
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    def half_done():
        with outbox._alone("desk", NOON) as turn:
            turn.confirm(sent, Receipt(number="INC0000001"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()

    assert outbox.ticket("A", "desk").state is TicketState.SENDING
    assert outbox.untold("desk") == []


def test_the_time_of_a_lost_answer_stays_while_searches_fail(outbox, plan):
    plan(make_order())
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    for moment in (1, 5, 30):
        outbox.retry(
            sent,
            "no answer",
            state=TicketState.UNKNOWN,
            next_at=NOON + seconds(moment),
            now=NOON + seconds(moment),
            attempts=1,
        )

    assert outbox.ticket("S-1", "desk").updated_at == NOON + seconds(1)


# ---- folding ----


def test_updates_that_wait_are_folded_into_the_newest_and_no_note_is_lost(outbox, plan, store):
    plan(make_order(id="open"))
    settle(outbox)
    plan(
        make_order(Verb.UPDATE, id="u2", version=2, note="a second host", title="two hosts", priority=2),
        make_order(Verb.UPDATE, id="u3", version=3, note="a third host", title="three hosts"),
        make_order(Verb.UPDATE, id="u4", version=4, title="four hosts"),
        make_order(Verb.RESOLVE, id="r5", version=5),
        make_order(Verb.UPDATE, id="u6", version=6),
    )

    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    assert (sent.order.id, sent.order.version) == ("u4", 4)
    assert sent.order.fields == {"title": "four hosts", "priority": 2}
    assert sent.order.note == "a second host\na third host"
    assert states(store) == [
        ("open", "answered"),
        ("u2", "superseded"),
        ("u3", "superseded"),
        ("u4", "pending"),
        ("r5", "pending"),
        ("u6", "pending"),
    ]
    again = outbox.pending("desk", NOON)[0]
    assert (again.order, again.attempts) == (sent.order, 1)  # also after a crash


def test_an_update_that_was_tried_is_sent_again_as_it_was(outbox, plan):
    plan(make_order(id="open"))
    settle(outbox)
    plan(make_order(Verb.UPDATE, id="u2", version=2, note="two"))
    outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    plan(make_order(Verb.UPDATE, id="u3", version=3, note="three"))

    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    assert (sent.order.id, sent.order.note, sent.attempts) == ("u2", "two", 2)


def test_folding_stops_before_the_notes_grow_too_long(outbox, plan):
    plan(make_order(id="open"))
    settle(outbox)
    long = "x" * (MAX_NOTE_CHARS // 2)
    plan(*(make_order(Verb.UPDATE, id=f"u{n}", version=n, note=long) for n in (2, 3, 4)))

    first = settle(outbox)
    second = settle(outbox)
    third = settle(outbox)

    assert [(sent.order.id, len(sent.order.note)) for sent in (first, second, third)] == [
        ("u2", len(long)),
        ("u3", len(long)),
        ("u4", len(long)),
    ]


def test_fold_keeps_the_newer_identity():
    both = fold(
        make_order(Verb.UPDATE, id="a", version=2, note="one", priority=2, title="x"),
        make_order(Verb.UPDATE, id="b", version=3, note="", title="y"),
    )

    assert (both.id, both.version, both.note, both.fields) == ("b", 3, "one", {"priority": 2, "title": "y"})


# ---- refusals ----


def test_a_rejected_order_becomes_a_dead_letter_and_the_inbox_is_told(outbox, plan, store):
    plan(make_order(id="a1"))
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)

    outbox.reject(sent, "HTTP 400: u_site is mandatory\x00", NOON)

    with store.read() as connection:
        letter = connection.execute(select(dead_letter)).one()
    assert (letter.stage, letter.source, letter.error) == ("delivery", "desk", "HTTP 400: u_site is mandatory\ufffd")
    assert msgspec.json.decode(letter.payload, type=Order) == sent.order
    assert outbox.ticket("S-1", "desk").state is TicketState.REJECTED
    told = outbox.untold("desk")
    assert [(change.state, change.number, change.origin) for change in told] == [("rejected", "", "write")]
    outbox.told([told[0].sequence])
    assert outbox.untold("desk") == []
    assert states(store) == [("a1", "dead")]


def test_an_order_that_cannot_be_read_becomes_a_dead_letter_and_holds_back_nobody(outbox, plan, store):
    plan(make_order(id="a1", situation="A"), make_order(id="b1", situation="B"))
    with store.write() as connection:
        connection.execute(update(rows).where(rows.c.id == "a1").values(body=b'{"id": 1}'))

    assert due(outbox) == ["b1"]
    assert [(change.situation, change.state) for change in outbox.untold("desk")] == [("A", "rejected")]


def test_a_superseded_order_lets_the_next_one_go(outbox, plan):
    plan(make_order(Verb.UPDATE, id="a1"), make_order(Verb.RESOLVE, id="a2"))
    outbox.supersede(outbox.pending("desk", NOON)[0], "never opened")

    assert due(outbox) == ["a2"]
    assert outbox.untold("desk") == []


# ---- telling the inbox ----


def test_an_answer_is_untold_until_it_is_told(outbox, plan, store):
    plan(make_order(situation="A"), make_order(situation="B"))
    settle(outbox, "INC0000001")
    settle(outbox, "INC0000002")

    untold = outbox.untold("desk")
    outbox.told([untold[0].sequence])

    assert [(change.situation, change.number, change.url, change.state) for change in untold] == [
        ("A", "INC0000001", "/there", "confirmed"),
        ("B", "INC0000002", "/there", "confirmed"),
    ]
    assert untold[0].sequence < untold[1].sequence
    assert outbox.untold("desk") == untold[1:]
    assert [state for _, state in states(store)] == ["done", "answered"]


# ---- cursors and counts ----


def test_a_cursor_only_moves_forward(outbox):
    assert outbox.cursor("changes:desk") == 0
    outbox.advance("changes:desk", 7)
    outbox.advance("changes:desk", 5)
    outbox.advance("changes:other", 1)

    assert (outbox.cursor("changes:desk"), outbox.cursor("changes:other")) == (7, 1)


def test_the_backlog_counts_what_waits_and_tells_the_age_of_the_oldest(outbox, plan):
    assert (outbox.backlog().pending, outbox.backlog().oldest_at) == (0, None)
    plan(make_order(situation="A"), make_order(situation="B", at=NOON + seconds(5)))
    plan(make_order(situation="A", sink="webhook", at=NOON + seconds(9)))
    settle(outbox)

    assert (outbox.backlog("desk").pending, outbox.backlog("desk").oldest_at) == (1, NOON + seconds(5))
    assert (outbox.backlog().pending, outbox.backlog().oldest_at) == (2, NOON + seconds(5))


def test_after_an_outage_what_waits_out_its_backoff_is_due_at_once(outbox, plan):
    plan(make_order())
    sent = outbox.begin(outbox.pending("desk", NOON)[0], NOON)
    outbox.retry(sent, "x", state=TicketState.UNKNOWN, next_at=NOON + seconds(300), now=NOON, attempts=1)
    assert due(outbox) == []

    outbox.hasten("desk", NOON)

    assert due(outbox) == ["S-1/desk/1-open"]


def test_ten_thousand_waiting_orders_are_taken_a_hundred_at_a_time(outbox, store):
    with store.write() as connection:
        connection.execute(
            insert(rows),
            [
                {
                    "id": f"o{n}",
                    "sink": "desk",
                    "situation": f"S-{n % 2000}",
                    "verb": "update",
                    "at": NOON,
                    "body": msgspec.json.encode(make_order(Verb.UPDATE, id=f"o{n}", situation=f"S-{n % 2000}")),
                    "state": "pending",
                    "attempts": 0,
                    "next_at": NOON,
                    "error": "",
                }
                for n in range(10_000)
            ],
        )

    assert due(outbox) == [f"o{n}" for n in range(100)]
    assert outbox.backlog("desk").pending == 10_000
