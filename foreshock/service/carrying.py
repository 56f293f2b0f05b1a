"""What a call to a sink is: an order for a ticket, or for a Problem, which goes the same way through the outbox."""

from collections.abc import Callable
from typing import cast

from foreshock.core.contracts import Order, ProblemOrder, ProblemSink, Receipt, Sink
from foreshock.store.outbox import TicketRow


def find(sink: Sink, order: Order) -> Receipt | None:
    """The record of the order's key. Raises Unavailable, Denied."""
    if order.incidents is None:
        return sink.find(order.key)
    return cast(ProblemSink, sink).find_problem(order.key)


def is_whole(order: Order) -> bool:
    """Whether all of an OPEN is done once its record is there. A Problem may lack the links to its incidents still."""
    return not order.incidents


def deliver(sink: Sink, order: Order, known: Receipt | None, ticket: Callable[[str, str], TicketRow | None]) -> Receipt:
    """Carry it out. ticket: what is known of the record of (situation, sink). Raises Unavailable, Denied, Rejected."""
    if order.incidents is None:
        return sink.deliver(order, known)
    rows = (ticket(situation, order.sink) for situation in order.incidents)
    incidents = tuple(row.receipt for row in rows if row is not None and row.receipt is not None)
    wanted = ProblemOrder(
        id=order.id, key=order.key, at=order.at, fields=order.fields, note=order.note, incidents=incidents
    )
    return cast(ProblemSink, sink).write_problem(wanted, known)
