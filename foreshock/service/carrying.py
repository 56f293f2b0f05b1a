"""What a call to a sink is: an order for a ticket, or for a Problem, which goes the same way through the outbox."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from foreshock.core.contracts import Order, ProblemOrder, ProblemSink, Receipt, Sink
from foreshock.core.errors import Denied, Rejected
from foreshock.store.outbox import TicketRow


def find(sink: Sink, order: Order) -> Receipt | None:
    """The record of the order's key. Raises Unavailable; Denied, or for a Problem Rejected."""
    if order.incidents is None:
        return sink.find(order.key)
    with _of_problems(order.sink):
        return cast(ProblemSink, sink).find_problem(order.key)


def is_whole(order: Order) -> bool:
    """Whether all of an OPEN is done once its record is there. A Problem may lack the links to its incidents still."""
    return not order.incidents


def deliver(sink: Sink, order: Order, known: Receipt | None, ticket: Callable[[str, str], TicketRow | None]) -> Receipt:
    """Carry it out. ticket: what is known of the record of (situation, sink). Raises Unavailable, Denied
    (never for a Problem), Rejected."""
    if order.incidents is None:
        return sink.deliver(order, known)
    rows = (ticket(situation, order.sink) for situation in order.incidents)
    incidents = tuple(row.receipt for row in rows if row is not None and row.receipt is not None)
    wanted = ProblemOrder(
        id=order.id, key=order.key, at=order.at, fields=order.fields, note=order.note, incidents=incidents
    )
    with _of_problems(order.sink):
        return cast(ProblemSink, sink).write_problem(wanted, known)


@contextmanager
def _of_problems(sink: str) -> Iterator[None]:
    """An account that may not touch problems is no reason to stop the tickets."""
    try:
        yield
    except Denied as error:
        raise Rejected(
            str(error.args[0]),
            hint=f"let the account read and write problems, or set `problems: false` on sink {sink!r}",
        ) from error
