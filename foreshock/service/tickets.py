"""Tickets as an ITSM tool exported them: what was one problem, in the eyes of those who worked on it.

Tables (CSV, JSON lines, Parquet) and the JSON of an API or of an export (``{"result": [{…}]}``), as ServiceNow, Jira,
Freshservice and Zendesk write them; which column is what is known for these, and can be said for others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from foreshock.core.errors import ConfigError, Invalid, Problem
from foreshock.core.model import Moment
from foreshock.service.recorded import TicketColumns, read_time
from foreshock.store.rows import MAX_PROBLEMS, Table, check_file, columns_of, read_table

BEFORE = timedelta(hours=1)
"""So long a problem may have been known to monitoring before somebody opened its ticket."""
WITHIN = timedelta(hours=4)
"""What begins later than this after a ticket was opened is another problem, however long the ticket is left open."""

# What exports call them, each with the names of ServiceNow, Jira, Freshservice and Zendesk, and the plain words.
# Compared in lower case, with spaces and dots as underscores. ServiceNow's ``opened_at.value`` is UTC where the shown
# value is in the time zone of whoever exported it. Sources: the products' API references, read 2026-11-22.
_KNOWN: Mapping[str, Sequence[str]] = {
    "number": ("number", "ticket", "key", "issue_key", "ticket_id", "id", "sys_id"),
    "opened": (
        "opened_at_value", "opened_at", "opened", "fields_created", "created", "created_at", "created_time",
        "sys_created_on", "start",
    ),
    "resolved": (
        "resolved_at_value", "resolved_at", "resolved", "fields_resolutiondate", "resolutiondate", "stats_resolved_at",
        "resolved_time", "solved_at", "closed_at", "closed", "closed_time", "end",
    ),
    "ci": ("cmdb_ci", "ci", "cis", "affected_cis", "configuration_item", "assets", "associated_assets", "node"),
    "key": ("correlation_id", "correlation_key", "external_id", "alert_id"),
    "text": ("short_description", "summary", "fields_summary", "subject", "title"),
    "parent": ("parent_incident", "parent", "fields_parent_key", "parent_key", "parent_id"),
    "problem": ("problem_id", "problem", "problem_display_id"),
    "close": ("close_code", "resolution_code", "fields_resolution_name", "resolution", "closure_code"),
}  # fmt: skip
_OWN_NAMES = ("sys_id", "id", "issue_id")
"""Columns beside the number by which other tickets may name one."""
_LISTS = ("result", "records", "issues", "tickets", "incidents", "requests", "values", "data")


class Ticket(Struct, frozen=True, kw_only=True):
    """A ticket as an ITSM tool had it.

    Attributes:
        incident: the number of the ticket that stands for its problem: the head of its parents, or the first of those
            that were open together under one problem record. Empty: it was opened for nothing.
        resolved_at: None: not yet. cis: names or ids of the CIs it was about. key: of the alert it was opened for.
    """

    number: str
    incident: str
    opened_at: Moment
    resolved_at: Moment | None
    cis: tuple[str, ...]
    key: str = ""
    text: str = ""


def is_of_tickets(path: Path, columns: TicketColumns) -> bool:
    """Whether a file's columns are those of tickets. Raises ConfigError where they cannot be read."""
    found = _found(_names(path), columns)
    return bool(found["number"] and found["opened"] and (found["ci"] or found["key"] or found["text"]))


def read_tickets(path: Path, columns: TicketColumns) -> tuple[Ticket, ...]:
    """In order of opening. Raises ConfigError naming the lines."""
    table = _table(path, columns)
    found = _found(table.columns, columns)
    if not (found["number"] and found["opened"] and (found["ci"] or found["key"] or found["text"])):
        message = "there is no number, opened and ci, key or text that is known"
        hint = f"say which column is what in `tickets` of a mapping file; it has {', '.join(table.columns)}"[:400]
        raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])
    when = _reader(columns)
    opened_at = table.read(found["opened"], when)
    resolved_at = table.read(found["resolved"], _or_none(when)) if found["resolved"] else [None] * table.size
    _check_order(table, found["resolved"], opened_at, resolved_at)
    texts = {field: table.texts(name) for field, name in found.items()}
    nothing = {word.lower() for word in columns.noise}
    read = [
        Ticket(
            number=texts["number"][row],
            incident="" if texts["close"][row].strip().lower() in nothing else texts["number"][row],
            opened_at=opened_at[row],
            resolved_at=resolved_at[row],
            cis=_split(texts["ci"][row]),
            key=texts["key"][row].strip(),
            text=texts["text"][row],
        )
        for row in range(table.size)
    ]
    return tuple(sorted(_in_incidents(table, read, texts), key=lambda ticket: (ticket.opened_at, ticket.number)))


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.replace(";", ",").split(",") if name.strip())


def plain(name: str) -> str:
    """As names of columns are compared."""
    return name.strip().lower().replace(" ", "_").replace(".", "_")


def _found(names: Iterable[str], columns: TicketColumns) -> dict[str, str]:
    """By what it is, the column that is it; empty where there is none."""
    known = {plain(name): name for name in names}
    said = columns.model_dump()
    return {
        field: said[field] or next((known[name] for name in usual if name in known), "")
        for field, usual in _KNOWN.items()
    }


# ---- times ----------------------------------------------------------------------------------------------------------


def _reader(columns: TicketColumns) -> Callable[[Any], datetime]:
    zone = ZoneInfo(columns.zone)

    def read(value: Any) -> datetime:
        text = "" if value is None else str(value).strip()
        try:
            moment = datetime.strptime(text, columns.time_format) if columns.time_format else _iso(text)  # noqa: DTZ007
        except ValueError:
            if columns.time_format:
                hint = "say how times are written with `time_format`, as strptime reads it"
                raise Invalid(f"{text[:40]!r} is not written as {columns.time_format!r}", hint=hint) from None
            return read_time(value)  # a number, or what is wrong with it
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)

    return read


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _or_none(read: Callable[[Any], datetime]) -> Callable[[Any], datetime | None]:
    return lambda value: None if value is None or not str(value).strip() else read(value)


def _check_order(
    table: Table, column: str, opened_at: Sequence[datetime], resolved_at: Sequence[datetime | None]
) -> None:
    problems = [
        table.problem(index, column, f"{end} is before it was opened, {begin}", "check the time zones of the export")
        for index, (begin, end) in enumerate(zip(opened_at, resolved_at, strict=True))
        if end is not None and end < begin
    ]
    if problems:
        raise ConfigError(problems[:MAX_PROBLEMS])


# ---- what is one problem --------------------------------------------------------------------------------------------


def _in_incidents(table: Table, tickets: Sequence[Ticket], texts: Mapping[str, Sequence[str]]) -> Iterator[Ticket]:
    names = {ticket.number: ticket.number for ticket in tickets}
    for column in (name for name in table.columns if plain(name) in _OWN_NAMES):
        names |= {own: ticket.number for own, ticket in zip(table.texts(column), tickets, strict=True) if own}
    above = {
        ticket.number: names[up]
        for ticket, up in zip(tickets, texts["parent"], strict=True)
        if names.get(up, ticket.number) != ticket.number
    }
    _follow_problems(tickets, texts["problem"], above)
    for ticket in tickets:
        head = _head(ticket.number, above)
        yield msgspec.structs.replace(ticket, incident=head) if ticket.incident else ticket


def _follow_problems(tickets: Sequence[Ticket], problems: Sequence[str], above: dict[str, str]) -> None:
    """Tickets of one problem record that were open together are one problem; the next time it breaks is another."""
    last: dict[str, Ticket] = {}
    for ticket, problem in sorted(zip(tickets, problems, strict=True), key=lambda pair: pair[0].opened_at):
        if not problem:
            continue
        before = last.get(problem)
        if before is not None and ticket.opened_at <= (before.resolved_at or before.opened_at + WITHIN) + BEFORE:
            above.setdefault(ticket.number, before.number)
        last[problem] = ticket


def _head(number: str, above: Mapping[str, str]) -> str:
    been = {number}
    while (up := above.get(number, "")) and up not in been:
        been.add(up)
        number = up
    return number


# ---- files ----------------------------------------------------------------------------------------------------------


def _names(path: Path) -> Sequence[str]:
    return list(_json(path).columns) if _is_json(path) else columns_of(path)


def _table(path: Path, columns: TicketColumns) -> Table:
    if not _is_json(path):
        there = columns_of(path)
        wanted = {*_found(there, columns).values(), *(name for name in there if plain(name) in _OWN_NAMES)}
        return read_table(path, sorted(wanted - {""}))
    table = _json(path)
    missing = [name for name in _found(table.columns, columns).values() if name and name not in table.columns]
    if missing:
        hint = f"it has {', '.join(table.columns)}"[:300]
        what = "there is no such field"
        raise ConfigError([Problem(file=str(path), line=None, path=name, message=what, hint=hint) for name in missing])
    return table


def _is_json(path: Path) -> bool:
    return path.suffix in (".json", ".jsonl", ".ndjson")


def _json(path: Path) -> Table:
    """One document, or one on each line, each with a ticket or a list of them; fields of fields are named with dots."""
    check_file(path)
    body = path.read_bytes()
    lines: list[int] = []
    try:
        rows = _listed(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        rows, lines = _by_line(path, body)
    flat = [dict(_flat(row)) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return Table(path, {name: [row.get(name) for row in flat] for name in names}, len(flat), lines)


def _by_line(path: Path, body: bytes) -> tuple[list[Any], list[int]]:
    rows: list[Any] = []
    lines: list[int] = []
    for line, text in enumerate(body.splitlines(), 1):
        try:
            found = _listed(msgspec.json.decode(text)) if text.strip() else []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = Problem(
                file=str(path), line=line, path="", message=f"is not JSON: {error}", hint="check the export"
            )
            raise ConfigError([problem]) from None
        rows += found
        lines += [line] * len(found)
    return rows, lines


def _listed(document: Any) -> list[Any]:
    """The tickets of a document."""
    if isinstance(document, dict):
        inside = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
        return [document] if inside is None else inside
    return document if isinstance(document, list) else [document]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        shown = next((value[field] for field in ("display_value", "name") if isinstance(value.get(field), str)), None)
        if name and shown is not None:
            yield name, shown
        elif name and isinstance(value.get("value"), str):
            yield name, value["value"]
        for field, one in value.items():
            yield from _flat(one, f"{name}.{field}" if name else str(field))
    elif isinstance(value, list):
        shown_of_each = (dict(_flat(one, "it")).get("it") for one in value)
        yield name, ", ".join(str(one) for one in shown_of_each if one not in (None, ""))
    else:
        yield name, value
