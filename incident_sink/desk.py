"""The desk: incidents kept by Foreshock itself, so that it is useful without any ITSM tool.

Facts:    the rows live in Foreshock's own store behind ``core.contracts.DeskBook``; no network is involved.
Delivery: exactly once: the book remembers the id of every order it has carried out, in the transaction that did it.
Problems: opened, noted and linked like incidents; what people end stays ended.
Changes:  what people do on the desk's pages is read back from its journal; a field or an end that a person set stays.
Needs:    nothing.
"""

from collections.abc import Sequence

from msgspec import structs

from foreshock.core.contracts import (
    ConnectorConfig,
    DeskBook,
    DeskState,
    Finding,
    Order,
    ProblemOrder,
    ProblemReading,
    Receipt,
    SinkKind,
    SinkParts,
    TicketChange,
)

_PAGE = 500


class DeskConfig(ConnectorConfig):
    """The desk has no settings."""


class DeskSink:
    def __init__(self, name: str, book: DeskBook) -> None:
        self._name = name
        self._book = book

    def find(self, key: str) -> Receipt | None:
        record = self._book.by_key(key)
        if record is None:
            return None
        ended = record.state in (DeskState.RESOLVED, DeskState.CLOSED)
        return Receipt(number=record.number, url=record.url, state=record.state.value if ended else "open")

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        return self._book.apply(order)

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        return [structs.replace(change, sink=self._name) for change in self._book.journal(cursor, _PAGE)]

    def find_problem(self, key: str) -> Receipt | None:
        record = self._book.by_key(key, "problem")
        return None if record is None else Receipt(number=record.number, url=record.url)

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        return self._book.apply_problem(order)

    def read_problem(self, problem: Receipt) -> ProblemReading | None:
        record = self._book.get(problem.number)
        if record is None:
            return None
        ended = record.state.value if record.state in (DeskState.RESOLVED, DeskState.CLOSED) else ""
        return ProblemReading(ended=ended, known_error=record.known_error)

    def check(self) -> Sequence[Finding]:
        return [Finding(subject="desk", observed="its records are kept in Foreshock's own store")]


def _build(name: str, config: DeskConfig, parts: SinkParts) -> DeskSink:
    return DeskSink(name, parts.book)


SINK = SinkKind(
    kind="desk",
    title="Foreshock's own desk",
    facts="no outside system",
    config=DeskConfig,
    build=_build,
    problems=True,
    known_errors=True,
)
