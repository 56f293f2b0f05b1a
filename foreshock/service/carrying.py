"""What a call to a sink is: an order for a ticket, or for a Problem, which goes the same way through the outbox."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from foreshock.connect.calls import Made
from foreshock.core.contracts import Order, ProblemOrder, ProblemSink, Receipt, Sink
from foreshock.core.errors import Denied, Rejected, Unavailable
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


# ---- what an attempt says -------------------------------------------------------------------------------------------


def outcomes(made: Sequence[Made], answer: Receipt | Exception | None) -> list[Exception | None]:
    """What the breaker hears of an attempt: of each call, oldest first, why the system is to blame for it; None where
    it answered, be it a refusal of the order.

    Args:
        made: the calls, empty for a sink that does not say: then the attempt counts as one.
        answer: of the attempt. An error that is of no call shows that the last answer was none, such as a login page.
    """
    to_blame = answer if isinstance(answer, Unavailable | Denied) else None
    if not made:
        unforeseen = isinstance(answer, Exception) and to_blame is None and not isinstance(answer, Rejected)
        return [] if unforeseen else [to_blame]
    heard: list[Exception | None] = [
        each.error if isinstance(each.error, Unavailable | Denied) else None for each in made
    ]
    if to_blame is not None:
        heard[-1] = to_blame
    return heard


def may_be_done(made: Sequence[Made], error: Exception) -> bool:
    """Whether an attempt that failed may have changed something there, although only its last call failed."""
    if not made or not isinstance(error, Unavailable | Denied):
        return not _without_effect(error)
    return any(not each.safe and not _without_effect(each.error) for each in made)


def _without_effect(error: Exception | None) -> bool:
    return isinstance(error, Denied) or (isinstance(error, Unavailable) and error.unsent)
