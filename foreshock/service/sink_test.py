"""Looks whether a sink can do its work: what it may read, and if asked for, a whole life of one ticket."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast

from foreshock.core.contracts import Finding, Order, ProblemSink, Receipt, Sink, Verb
from foreshock.core.errors import Denied, ForeshockError, Rejected

_FIELDS = {
    "title": "Foreshock: test of this connection, please ignore",
    "description": "Opened, changed and resolved by `foreshock sink test --create`. Nothing is wrong.",
    "impact": 3,
    "urgency": 3,
    "priority": 5,
    "severity": "info",
    "services": [],
    "ci": "",
    "assignment_group": "",
}


def look(sink: Sink, *, problems: bool) -> Iterator[Finding]:
    """What the sink says of itself, without writing, and whether it may look for Problems where it is to keep
    ``problems``; an error is a finding too."""
    try:
        yield from sink.check()
        if problems:
            yield _problems(cast(ProblemSink, sink))
    except ForeshockError as error:
        yield _failed("connection", error)


def _problems(sink: ProblemSink) -> Finding:
    try:
        sink.find_problem("foreshock-test")
    except (Denied, Rejected) as error:
        remedy = "let the account read and write problems there, or set `problems: false` on this sink"
        return Finding(subject="problems", observed=str(error), remedy=remedy)
    return Finding(subject="problems", observed="they can be searched")


def live_once(sink: Sink, name: str, run: str, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Open, find, change, resolve one ticket with the key ``foreshock-test-<run>``; it ends where something fails. The
    ticket stays there, resolved."""
    key = f"foreshock-test-{run}"
    ticket: Receipt | None = None
    for version, (verb, fields, note) in enumerate(_STEPS, 1):
        order = Order(
            id=f"{key}/{name}/{version}",
            sink=name,
            situation=key,
            key=key,
            verb=verb,
            version=version,
            at=now(),
            fields=fields,
            note=note,
        )
        try:
            ticket = sink.deliver(order, ticket)
        except ForeshockError as error:
            left = f"; {ticket.number} stays open there" if ticket is not None else ""
            yield _failed(verb.value, error, left)
            return
        yield Finding(subject=verb.value, observed=f"{ticket.number} {ticket.url}".strip())


_STEPS: tuple[tuple[Verb, dict[str, Any], str], ...] = (
    (Verb.OPEN, _FIELDS, "Opened by a test."),
    (Verb.UPDATE, {**_FIELDS, "title": "Foreshock: test of this connection, changed"}, "Changed by a test."),
    (Verb.RESOLVE, {}, "The test is over."),
)


def _failed(subject: str, error: ForeshockError, left: str = "") -> Finding:
    return Finding(subject=subject, observed=f"{error}{left}", remedy=error.hint or "see what it says")
