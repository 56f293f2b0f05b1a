"""Ticket changes of a part of history, where situations have other numbers: each is known by its alerts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from correlation.feedback import witness
from correlation.group import number
from foreshock.core.contracts import Record, RecordKind, TicketChange
from foreshock.core.model import Alert, Ended, Situation, Witness

if TYPE_CHECKING:
    from foreshock.service.engine import Engine
    from foreshock.store.store import Store

_MAX_WITNESSES = 20
"""Enough to tell one situation from another; the first that joined."""


def here(engine: "Engine", change: TicketChange) -> TicketChange | None:
    """The change as one of the situation that holds most of its alerts, of several the latest; None if none does. One
    that began after an alert had is about what came back later, not about this."""
    best: Situation | None = None
    most = (0, 0)
    for situation in engine.situations.values():
        shared = sum(one.fingerprint in situation.members and situation.onset <= one.onset for one in change.alerts)
        if shared and not situation.merged_into and (found := (shared, number(situation.id))) > most:
            best, most = situation, found
    return None if best is None else msgspec.structs.replace(change, situation=best.id, alerts=())


def alerts_in(engine: "Engine", records: Iterable[Record]) -> dict[str, tuple[Witness, ...]]:
    """Of the situations that ticket changes among ``records`` are about, as far as the engine knows them."""
    changes = (msgspec.json.decode(one.body, type=TicketChange) for one in records if one.kind is RecordKind.TICKET)
    found = (engine.situations.get(change.situation) for change in changes)
    return {one.id: _witnesses(engine.members(one)) for one in found if one is not None}


def with_alerts(
    records: Iterable[Record], known: Mapping[str, tuple[Witness, ...]], store: "Store"
) -> Iterator[Record]:
    """Ticket changes with the alerts of their situations: those that are ``known``, or that the store has. Other
    records as they are."""
    for record in records:
        if record.kind is not RecordKind.TICKET:
            yield record
            continue
        change = msgspec.json.decode(record.body, type=TicketChange)
        found = known.get(change.situation) or _of_ended(change.situation, store)
        body = msgspec.json.encode(msgspec.structs.replace(change, alerts=found))
        yield msgspec.structs.replace(record, body=body)


def _of_ended(situation: str, store: "Store") -> tuple[Witness, ...]:
    row = store.situation(situation)
    return () if row is None or row.body is None else _witnesses(msgspec.json.decode(row.body, type=Ended).alerts)


def _witnesses(alerts: Sequence[Alert]) -> tuple[Witness, ...]:
    return tuple(map(witness, alerts[:_MAX_WITNESSES]))


def is_known(record: Record) -> bool:
    """Whether a part of history can tell what a record is about: of ticket changes those that name their alerts."""
    return record.kind is not RecordKind.TICKET or bool(msgspec.json.decode(record.body, type=TicketChange).alerts)
