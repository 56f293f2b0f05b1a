"""A ticket that is gone from the sink, or stands there under another number, is found and told once."""

from foreshock.core.contracts import Receipt
from foreshock.core.model import Ticket, TicketState
from foreshock.service.reconcile import MAX_LOOKS, Difference, Reconciler

CONFIRMED = Ticket(sink="desk", state=TicketState.CONFIRMED, number="INC0000001")


def reconciler(**records: str) -> Reconciler:
    found = {situation: Receipt(number=number) for situation, number in records.items()}
    return Reconciler({"desk": found.get})


def test_a_ticket_that_the_sink_holds_is_no_finding():
    assert reconciler(S1="INC0000001").run([("S1", CONFIRMED)]) == []


def test_a_ticket_that_is_gone_is_told_once_and_counted_while_it_lasts():
    desk = reconciler()

    first, second = desk.run([("S1", CONFIRMED)]), desk.run([("S1", CONFIRMED)])

    assert [(f.situation, f.difference, f.number) for f in first] == [("S1", Difference.MISSING, "INC0000001")]
    assert second == []
    assert len(desk.findings) == 1


def test_another_number_under_our_key_is_a_difference():
    (finding,) = reconciler(S1="INC0000009").run([("S1", CONFIRMED)])

    assert (finding.difference, finding.found) == (Difference.OTHER_NUMBER, "INC0000009")


def test_a_difference_ends_with_the_ticket():
    desk = reconciler()
    desk.run([("S1", CONFIRMED)])

    desk.run([])

    assert desk.findings == {}


def test_a_ticket_on_its_way_is_not_missed_yet():
    assert reconciler().run([("S1", Ticket(sink="desk", state=TicketState.UNKNOWN))]) == []


def test_a_sink_that_cannot_search_is_not_asked():
    assert reconciler().run([("S1", Ticket(sink="hook", state=TicketState.CONFIRMED, number="S1"))]) == []


def test_a_run_has_an_end_and_the_next_one_goes_on():
    desk = reconciler()
    many = [(f"S{n}", CONFIRMED) for n in range(MAX_LOOKS + 10)]

    assert (len(desk.run(many)), len(desk.run(many)), len(desk.run(many))) == (MAX_LOOKS, 10, 0)
