"""Orders for Problem records, whatever made the Problem."""

from typing import TYPE_CHECKING, Any

import msgspec

from correlation.problem import Problem, ProblemRecord
from foreshock.core.contracts import Order, Verb
from foreshock.core.model import TicketState

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def next_record(problem: Problem, before: ProblemRecord | None) -> ProblemRecord:
    """The record that a sink is to keep: the first, or one that follows what people ended there."""
    if before is None:
        return ProblemRecord(key=problem.id)
    if not before.ended:
        return msgspec.structs.replace(before, state=TicketState.PLANNED.value, linked=())
    number = before.key.removeprefix(problem.id).removeprefix("-")
    return ProblemRecord(
        key=f"{problem.id}-{int(number or 1) + 1}", previous=before.number, known_error=before.known_error
    )


def order(
    engine: "Engine",
    problem: Problem,
    sink: str,
    verb: Verb,
    fields: dict[str, Any],
    note: str,
    incidents: tuple[str, ...] = (),
) -> None:
    """One write of its record in ``sink``. incidents: situations to link with it."""
    record, engine.last_order = problem.records[sink], engine.last_order + 1
    record = msgspec.structs.replace(record, linked=(*record.linked, *incidents))
    problem.records = {**problem.records, sink: record}
    engine.effects.problem_orders.append(
        Order(
            id=f"{record.key}/{sink}/{engine.last_order}",
            sink=sink,
            situation=record.key,
            key=record.key,
            verb=verb,
            version=engine.last_order,
            at=engine.now,
            fields=fields,
            note=note,
            url=f"/problems/{problem.id}",
            incidents=incidents,
        )
    )
    engine.say("problem", problem.id, verb.value, f"{sink}: {note}"[:2000])
