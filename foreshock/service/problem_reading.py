"""Reads what people make of Problems, so that what they know of one reaches the incidents that come after.

A sink's own list of changes is about incidents; Problems are few, so each is looked at in turn. What differs from what
the engine knows becomes a record.
"""

from collections.abc import Callable, Sequence

from correlation.problem import ProblemRecord, as_read
from foreshock.core.contracts import KnownErrorSink, ProblemReading, Receipt, TicketChange

MAX_LOOKS = 50
"""Problems looked at in one run of one sink; the next one goes on with the others."""
_GONE = ProblemReading(ended="deleted")


class ProblemReader:
    """Of one sink.

    Args:
        records: the Problem records that the engine knows of this sink.
        receipt: what delivery knows of the record with a key; None as long as that is nothing.
        report: appends a change to the inbox.
    """

    def __init__(
        self,
        name: str,
        sink: KnownErrorSink,
        records: Callable[[], Sequence[ProblemRecord]],
        receipt: Callable[[str], Receipt | None],
        report: Callable[[TicketChange], None],
    ) -> None:
        self._name, self._sink, self._records, self._receipt, self._report = name, sink, records, receipt, report
        self._last = ""

    def run(self) -> int:
        """Look at the next ones; how many have changed. Raises Unavailable and Denied as the sink does."""
        known = sorted(self._records(), key=lambda record: record.key)
        ahead = [record for record in known if record.key > self._last]
        changed = 0
        for record in (ahead or known)[:MAX_LOOKS]:
            self._last = record.key
            changed += self._look(record)
        return changed

    def _look(self, record: ProblemRecord) -> bool:
        receipt = self._receipt(record.key)
        if receipt is None:
            return False
        read = self._sink.read_problem(receipt) or _GONE
        if as_read(record, read.ended, read.by, read.known_error) == record:
            return False
        self._report(
            TicketChange(
                sink=self._name,
                situation=record.key,
                sequence=0,
                state="read",
                number=record.number,
                actor=read.by,
                problem=read,
            )
        )
        return True
