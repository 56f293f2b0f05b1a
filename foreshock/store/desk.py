"""The desk's book: incidents and problems that Foreshock itself keeps.

Every write is one synced transaction that holds the record, its note, and either the order it came from or the journal
entry of the person who did it. Writers queue at the store's lock, so numbers rise without gaps or doubles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from foreshock.core.contracts import (
    DeskAction,
    DeskNote,
    DeskRecord,
    DeskState,
    Order,
    ProblemOrder,
    Receipt,
    TicketChange,
    Verb,
)
from foreshock.core.errors import Rejected
from foreshock.store.tables import desk_journal, desk_note, desk_order, desk_record
from foreshock.store.text import storable

if TYPE_CHECKING:
    from foreshock.store.store import Store

INCIDENT = "incident"
PROBLEM = "problem"
FORESHOCK = "Foreshock"
"""Author of the notes that no person wrote."""

RESOLUTION_CODES = ("recovered", "fixed", "workaround", "duplicate", "no_fault_found", "other")
"""What a person may choose when resolving."""

_PREFIXES = {INCIDENT: "INC", PROBLEM: "PRB"}
_TEXT_FIELDS = ("title", "description", "severity", "assignment_group", "ci")
_RANK_FIELDS = ("impact", "urgency", "priority")
_LOWEST_RANKS = {"impact": 3, "urgency": 3, "priority": 5}

_OPEN = frozenset({DeskState.NEW, DeskState.IN_PROGRESS, DeskState.PENDING})
_ALLOWED: Mapping[DeskAction, frozenset[DeskState]] = {
    DeskAction.TAKE: _OPEN,
    DeskAction.WAIT: frozenset({DeskState.NEW, DeskState.IN_PROGRESS}),
    DeskAction.COMMENT: frozenset(DeskState),
    DeskAction.RESOLVE: _OPEN,
    DeskAction.REOPEN: frozenset({DeskState.RESOLVED}),
    DeskAction.CLOSE: frozenset({DeskState.RESOLVED}),
    DeskAction.KNOWN_ERROR: frozenset(DeskState),
}
_JOURNAL_STATES: Mapping[DeskAction, str] = {
    DeskAction.TAKE: "taken",
    DeskAction.WAIT: "pending",
    DeskAction.COMMENT: "commented",
    DeskAction.RESOLVE: "resolved",
    DeskAction.REOPEN: "reopened",
    DeskAction.CLOSE: "closed",
    DeskAction.KNOWN_ERROR: "known_error",
}
_ENDS = (_JOURNAL_STATES[DeskAction.RESOLVE], _JOURNAL_STATES[DeskAction.CLOSE])


class Effect(StrEnum):
    """What an order does to a record that exists. HANDS_OFF: a person ended it. STALE: a newer order came first."""

    HANDS_OFF = "hands_off"
    STALE = "stale"
    UPDATE = "update"
    RESOLVE = "resolve"
    REOPEN = "reopen"


def effect(order: Order, *, state: DeskState, resolved_by: str, version: int) -> Effect:
    """Pure. ``resolved_by`` is the person who resolved the record, ``version`` the newest it has heard of."""
    if state is DeskState.CLOSED or (state is DeskState.RESOLVED and resolved_by):
        return Effect.HANDS_OFF
    if order.version < version:
        return Effect.STALE
    if order.verb is Verb.RESOLVE and state is not DeskState.RESOLVED:
        return Effect.RESOLVE
    if order.verb is Verb.REOPEN and state is DeskState.RESOLVED:
        return Effect.REOPEN
    return Effect.UPDATE


class Desk:
    """``core.contracts.DeskBook`` over the store. Ten million numbers of each type, then opening fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- Foreshock's orders ----

    def apply(self, order: Order) -> Receipt:
        with self._store.write() as connection:
            if (done := _done(connection, order)) is not None:
                return done
            row = _with_key(connection, order.key, INCIDENT)
            if row is not None:
                number = row["number"]
                _carry_out(connection, row, order)
            elif order.verb is Verb.OPEN:
                number = _open(connection, order)
            else:
                raise Rejected(
                    f"the desk has no incident with key {order.key!r} to {order.verb.value}",
                    hint="an order to open it must come first",
                )
            connection.execute(insert(desk_order).values(id=order.id, number=number))
            return _receipt(_row(connection, number))

    def apply_problem(self, order: ProblemOrder) -> Receipt:
        with self._store.write() as connection:
            if (done := _done(connection, order)) is not None:
                return done
            row = _with_key(connection, order.key, PROBLEM)
            if row is None:
                fields = {**dict.fromkeys(_TEXT_FIELDS, ""), **_LOWEST_RANKS, **_columns(order)}
                number = _insert(connection, PROBLEM, order.at, key=order.key, version=0, url="", **fields)
                _note(connection, number, order.at, FORESHOCK, order.note or "opened")
            else:
                number = row["number"]
                _tell_problem(connection, row, order)
            _link(connection, number, order)
            connection.execute(insert(desk_order).values(id=order.id, number=number))
            return _receipt(_row(connection, number))

    # ---- reading ----

    def by_key(self, key: str, type: str = INCIDENT) -> DeskRecord | None:
        with self._store.read() as connection:
            row = _with_key(connection, key, type)
        return None if row is None else _record(row)

    def get(self, number: str) -> DeskRecord | None:
        with self._store.read() as connection:
            query = select(desk_record).where(desk_record.c.number == number)
            row = connection.execute(query).mappings().first()
        return None if row is None else _record(row)

    def list(
        self,
        *,
        type: str = INCIDENT,
        open_only: bool = False,
        problem: str = "",
        limit: int = 500,
    ) -> Sequence[DeskRecord]:
        """Newest first; with ``problem`` only what is linked to it."""
        query = select(desk_record).where(desk_record.c.type == type)
        if problem:
            query = query.where(desk_record.c.problem == problem)
        if open_only:
            query = query.where(desk_record.c.state.in_(sorted(state.value for state in _OPEN)))
        query = query.order_by(desk_record.c.opened_at.desc(), desk_record.c.number.desc()).limit(limit)
        with self._store.read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def notes(self, number: str) -> Sequence[DeskNote]:
        """Oldest first."""
        query = select(desk_note).where(desk_note.c.number == number).order_by(desk_note.c.id)
        with self._store.read() as connection:
            return [DeskNote(at=row.at, author=row.author, text=row.text) for row in connection.execute(query)]

    def journal(self, cursor: int, limit: int) -> Sequence[TicketChange]:
        query = (
            select(desk_journal, desk_record.c.resolution_code)
            .join(desk_record, desk_record.c.number == desk_journal.c.number)
            .where(desk_journal.c.sequence > cursor, desk_journal.c.key != "", desk_record.c.type == INCIDENT)
            .order_by(desk_journal.c.sequence)
            .limit(limit)
        )
        with self._store.read() as connection:
            return [
                TicketChange(
                    sink="",
                    situation=row.key,
                    sequence=row.sequence,
                    state=row.state,
                    number=row.number,
                    actor=row.actor,
                    comment=row.comment,
                    code=row.resolution_code if row.state in _ENDS else "",
                )
                for row in connection.execute(query)
            ]

    # ---- people ----

    def act(
        self, number: str, action: DeskAction, *, actor: str, at: datetime, text: str = "", code: str = ""
    ) -> DeskRecord:
        actor, text = _person(actor), storable(text).strip()
        with self._store.write() as connection:
            row = _row(connection, number)
            state = DeskState(row["state"])
            if state not in _ALLOWED[action]:
                possible = ", ".join(sorted(each.value for each, states in _ALLOWED.items() if state in states))
                raise Rejected(
                    f"{number} is {_words(state)}, so it cannot be {_JOURNAL_STATES[action]}",
                    hint=f"possible now: {possible}",
                )
            values: dict[str, Any] = {}
            note = text
            match action:
                case DeskAction.TAKE:
                    values = {"assignee": actor, "state": DeskState.IN_PROGRESS.value}
                    note = _sentence("taken", text)
                case DeskAction.WAIT:
                    if not text:
                        raise Rejected(f"{number} waits for nothing", hint="say for whom or what it waits")
                    values = {"state": DeskState.PENDING.value}
                    note = _sentence("waits for", text)
                case DeskAction.COMMENT:
                    if not text:
                        raise Rejected(f"the comment on {number} is empty", hint="write what others should know")
                case DeskAction.RESOLVE:
                    code = code or "fixed"
                    if code not in RESOLUTION_CODES:
                        raise Rejected(
                            f"{code!r} is no resolution code", hint=f"use one of {', '.join(RESOLUTION_CODES)}"
                        )
                    values = _resolved(at, code, text, by=actor)
                    note = _sentence(f"resolved ({code})", text)
                case DeskAction.REOPEN:
                    values = _reopened(row)
                    note = _sentence("reopened", text)
                case DeskAction.CLOSE:
                    values = {"state": DeskState.CLOSED.value}
                    note = _sentence("closed", text)
                case DeskAction.KNOWN_ERROR:
                    if row["type"] != PROBLEM:
                        raise Rejected(f"{number} is no problem", hint="a known error is written on a problem")
                    values = {"known_error": text}
                    note = _sentence("known error", text) if text else "no known error any more"
            _change(connection, row, at, values)
            _note(connection, number, at, actor, note)
            connection.execute(
                insert(desk_journal).values(
                    number=number,
                    key=row["key"] or "",
                    at=at,
                    actor=actor,
                    state=_JOURNAL_STATES[action],
                    comment=text,
                )
            )
            return _record(_row(connection, number))

    def open_problem(self, incident: str, *, actor: str, at: datetime, title: str = "") -> DeskRecord:
        actor = _person(actor)
        with self._store.write() as connection:
            row = _row(connection, incident)
            if row["type"] != INCIDENT:
                raise Rejected(f"{incident} is a {row['type']}, not an incident")
            if row["problem"]:
                return _record(_row(connection, row["problem"]))
            number = _insert(
                connection,
                PROBLEM,
                at,
                key=None,
                version=0,
                url="",
                **{field: row[field] for field in (*_TEXT_FIELDS, *_RANK_FIELDS)}
                | ({"title": storable(title)} if title else {}),
            )
            _change(connection, row, at, {"problem": number})
            _note(connection, number, at, actor, f"opened for {incident}")
            _note(connection, incident, at, actor, f"linked to {number}")
            return _record(_row(connection, number))


def _done(connection: Connection, order: Order | ProblemOrder) -> Receipt | None:
    """What an order has come to that was carried out already."""
    number = connection.execute(select(desk_order.c.number).where(desk_order.c.id == order.id)).scalar()
    return None if number is None else _receipt(_row(connection, number))


def _with_key(connection: Connection, key: str, what: str) -> RowMapping | None:
    query = select(desk_record).where(desk_record.c.type == what, desk_record.c.key == key)
    return connection.execute(query).mappings().first()


def _tell_problem(connection: Connection, row: RowMapping, order: ProblemOrder) -> None:
    """A problem that people ended stays as it is but for the note."""
    values: dict[str, Any] = {}
    if DeskState(row["state"]) in _OPEN:
        values = {name: value for name, value in _columns(order).items() if value != row[name]}
    _change(connection, row, order.at, values)
    if note := order.note or _difference(row, values):
        _note(connection, row["number"], order.at, FORESHOCK, note)


def _link(connection: Connection, problem: str, order: ProblemOrder) -> None:
    """Where a person linked an incident to another problem, that stays."""
    for incident in order.incidents:
        row = connection.execute(select(desk_record).where(desk_record.c.number == incident.number)).mappings().first()
        if row is not None and row["type"] == INCIDENT and not row["problem"]:
            _change(connection, row, order.at, {"problem": problem})
            _note(connection, incident.number, order.at, FORESHOCK, f"linked to {problem}")


def _open(connection: Connection, order: Order) -> str:
    fields = {**dict.fromkeys(_TEXT_FIELDS, ""), **_LOWEST_RANKS, **_columns(order)}
    number = _insert(
        connection, INCIDENT, order.at, key=order.key, version=order.version, url=storable(order.url), **fields
    )
    _note(connection, number, order.at, FORESHOCK, order.note or "opened")
    return number


def _carry_out(connection: Connection, row: RowMapping, order: Order) -> None:
    what = effect(order, state=DeskState(row["state"]), resolved_by=row["resolved_by"], version=row["version"])
    if what in (Effect.HANDS_OFF, Effect.STALE):
        return
    values = {name: value for name, value in _columns(order).items() if value != row[name]}
    note = order.note or _difference(row, values)
    if what is Effect.RESOLVE:
        note = order.note or "resolved: what was wrong has recovered"
        values |= _resolved(order.at, "recovered", storable(order.note), by="")
    elif what is Effect.REOPEN:
        note = order.note or "reopened: it is wrong again"
        values |= _reopened(row)
    if order.url:
        values["url"] = storable(order.url)
    _change(connection, row, order.at, values | {"version": order.version})
    if note:
        _note(connection, row["number"], order.at, FORESHOCK, note)


def _columns(order: Order | ProblemOrder) -> dict[str, Any]:
    """The order's fields that the desk keeps, as its columns hold them. Raises Rejected naming the field."""
    columns: dict[str, Any] = {}
    for name in _TEXT_FIELDS:
        if name in order.fields:
            value = order.fields[name]
            length = getattr(desk_record.c[name].type, "length", None)
            columns[name] = storable("" if value is None else str(value), length)
    for name in _RANK_FIELDS:
        if name in order.fields:
            rank = order.fields[name]
            if not isinstance(rank, int) or not 1 <= rank <= _LOWEST_RANKS[name]:
                raise Rejected(f"order {order.id}: {name} is {rank!r}, not 1 to {_LOWEST_RANKS[name]}")
            columns[name] = int(rank)
    return columns


def _difference(row: RowMapping, values: Mapping[str, Any]) -> str:
    """What an update without words changed, in words. The description is too long to be told."""
    told = [
        f"{name.replace('_', ' ')} {row[name] or 'empty'} → {value or 'empty'}"
        for name, value in values.items()
        if name != "description"
    ]
    return "; ".join(told)


def _resolved(at: datetime, code: str, note: str, *, by: str) -> dict[str, Any]:
    return {
        "state": DeskState.RESOLVED.value,
        "resolution_code": code,
        "resolution_note": note,
        "resolved_at": at,
        "resolved_by": by,
    }


def _reopened(row: RowMapping) -> dict[str, Any]:
    return {
        "state": (DeskState.IN_PROGRESS if row["assignee"] else DeskState.NEW).value,
        "resolution_code": "",
        "resolution_note": "",
        "resolved_at": None,
        "resolved_by": "",
    }


def _insert(connection: Connection, what: str, at: datetime, **values: Any) -> str:
    """A new incident or problem; returns its number, one above the highest: with seven digits text sorts as numbers."""
    prefix = _PREFIXES[what]
    highest = connection.execute(
        select(func.max(desk_record.c.number)).where(
            desk_record.c.number.between(f"{prefix}0000000", f"{prefix}9999999")
        )
    ).scalar()
    number = f"{prefix}{int(highest[len(prefix) :]) + 1 if highest else 1:07d}"
    connection.execute(
        insert(desk_record).values(
            number=number,
            type=what,
            state=DeskState.NEW.value,
            opened_at=at,
            updated_at=at,
            resolved_at=None,
            assignee="",
            resolution_code="",
            resolution_note="",
            resolved_by="",
            problem="",
            **values,
        )
    )
    return number


def _change(connection: Connection, row: RowMapping, at: datetime, values: Mapping[str, Any]) -> None:
    """Orders carry the records' time and people act in between: updated_at never moves back."""
    connection.execute(
        update(desk_record)
        .where(desk_record.c.number == row["number"])
        .values(updated_at=max(at, row["updated_at"]), **values)
    )


def _note(connection: Connection, number: str, at: datetime, author: str, text: str) -> None:
    connection.execute(insert(desk_note).values(number=number, at=at, author=author, text=storable(text)))


def _row(connection: Connection, number: str) -> RowMapping:
    row = connection.execute(select(desk_record).where(desk_record.c.number == number)).mappings().one_or_none()
    if row is None:
        raise Rejected(f"the desk has no record {number!r}")
    return row


def _person(actor: str) -> str:
    actor = storable(actor, 128).strip()
    if not actor:
        raise Rejected("the action names nobody", hint="say who acts")
    return actor


def _words(state: DeskState) -> str:
    return state.value.replace("_", " ")


def _sentence(what: str, text: str) -> str:
    return f"{what}: {text}" if text else what


def _receipt(row: RowMapping) -> Receipt:
    return Receipt(number=row["number"], url=row["url"])


def _record(row: RowMapping) -> DeskRecord:
    return DeskRecord(
        number=row["number"],
        type=row["type"],
        key=row["key"] or "",
        title=row["title"],
        description=row["description"],
        state=DeskState(row["state"]),
        impact=row["impact"],
        urgency=row["urgency"],
        priority=row["priority"],
        severity=row["severity"],
        opened_at=row["opened_at"],
        updated_at=row["updated_at"],
        resolved_at=row["resolved_at"],
        assignment_group=row["assignment_group"],
        assignee=row["assignee"],
        ci=row["ci"],
        resolution_code=row["resolution_code"],
        resolution_note=row["resolution_note"],
        problem=row["problem"],
        url=row["url"],
        known_error=row["known_error"],
    )
