"""What is known to belong together, from files that people keep, and how well groups fit it.

Told apart by their columns: labels (an alert and its incident a row), what people said (``foreshock feedback export``,
or a capture, which has it too), and tickets exported from an ITSM tool.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from correlation.feedback import labels
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Label, Moment, Witness
from foreshock.service.recorded import read_time
from foreshock.store import capture
from foreshock.store.rows import Table, columns_of, read_table

# Ours first, then what exports call them: ServiceNow (number, opened_at, cmdb_ci, parent_incident), Jira (key,
# created, resolved), and the plain words. Compared in lower case, with spaces and dots as underscores.
_ALERT = ("alert_id", "alert", "id")
_INCIDENT = ("issue_id", "incident_id", "incident", "label")
_SAYS = "says"
_NUMBER = ("number", "ticket", "key", "issue_key", "id", "sys_id")
_OPENED = ("opened_at", "opened", "created", "created_at", "sys_created_on", "start")
_RESOLVED = ("resolved_at", "resolved", "closed_at", "closed", "end")
_CIS = ("cmdb_ci", "ci", "cis", "affected_cis", "configuration_item", "node")
_PARENT = ("parent_incident", "parent", "problem_id")
_WHAT = (
    "a table of labels has the columns alert_id and issue_id, one of tickets number, opened_at, resolved_at and "
    "cmdb_ci, and what people said comes from `foreshock feedback export`"
)


class Ticket(Struct, frozen=True, kw_only=True):
    """A ticket as an ITSM tool had it.

    Attributes:
        incident: its number, or that of the ticket at the head of its parents: all below one parent are one problem.
        resolved_at: None: not yet. cis: names or ids of the CIs it was about.
    """

    number: str
    incident: str
    opened_at: Moment
    resolved_at: Moment | None
    cis: tuple[str, ...]


class Truth(Struct, frozen=True, kw_only=True):
    """What is known. Of what is not in it, nothing is known.

    Attributes:
        incidents: incident by id of an item of input; empty text: noise, which belongs with nothing.
        said: pairs of alerts that are one problem or are not. tickets: in order of opening.
    """

    incidents: dict[str, str] = {}
    said: tuple[Label, ...] = ()
    tickets: tuple[Ticket, ...] = ()


def read_truth(path: Path) -> Truth:
    """Raises ConfigError naming the line."""
    if path.is_file() and capture.head_of(path) is not None:
        return Truth(said=tuple(label for judgement in capture.judgements(path) for label in labels(judgement)))
    named = {_plain(name): name for name in columns_of(path)}
    if _SAYS in named:
        return Truth(said=_said(path, named))
    if (incident := _first(named, _INCIDENT)) and (alert := _first(named, _ALERT)):
        return Truth(incidents=_incidents(path, alert, incident))
    if (opened := _first(named, _OPENED)) and (cis := _first(named, _CIS)) and (number := _first(named, _NUMBER)):
        return Truth(tickets=_tickets(path, named, number, opened, cis))
    message = f"its columns ({', '.join(named.values()) or 'none'}) are those of no truth that is known"
    raise ConfigError([Problem(file=str(path), line=1, path="", message=message[:300], hint=_WHAT)])


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace(".", "_")


def _first(named: Mapping[str, str], known: Sequence[str]) -> str:
    return next((named[name] for name in known if name in named), "")


# ---- labels ---------------------------------------------------------------------------------------------------------


def _incidents(path: Path, alert: str, incident: str) -> dict[str, str]:
    table = read_table(path, (alert, incident))
    found: dict[str, str] = {}
    problems = []
    for index, (id, of) in enumerate(zip(table.texts(alert), table.texts(incident), strict=True)):
        if found.setdefault(id, of) != of:
            problems.append(table.problem(index, alert, f"{id} belongs to {found[id]!r} already", "keep one of them"))
    if problems:
        raise ConfigError(problems[:20])
    return found


# ---- what people said -----------------------------------------------------------------------------------------------


def _said(path: Path, named: Mapping[str, str]) -> tuple[Label, ...]:
    wanted = _SIDES if "alert_fingerprint" in named else ("alert", "other")
    table = read_table(path, [*(named.get(name, name) for name in (_SAYS, "by", "at", "judgement", "ci", *wanted))])
    found, problems = [], []
    for index in range(table.size):
        row = {_plain(name): values[index] for name, values in table.columns.items()}
        sides = {side: row[side] if side in row else _side(row, side) for side in ("alert", "other")}
        try:
            found.append(msgspec.convert({**row, **sides}, Label, strict=False))
        except msgspec.ValidationError as error:
            problems.append(table.problem(index, "", str(error), _WHAT))
    if problems:
        raise ConfigError(problems[:20])
    return tuple(found)


_SIDES = tuple(f"{side}_{field}" for side in ("alert", "other") for field in ("fingerprint", "name", "ci", "onset"))


def _side(row: Mapping[str, str], side: str) -> dict[str, str] | None:
    fields = {field: row[f"{side}_{field}"] for field in Witness.__struct_fields__}
    return fields if fields["fingerprint"] else None


# ---- tickets --------------------------------------------------------------------------------------------------------


def _tickets(path: Path, named: Mapping[str, str], number: str, opened: str, cis: str) -> tuple[Ticket, ...]:
    resolved, parent = _first(named, _RESOLVED), _first(named, _PARENT)
    table = read_table(path, [name for name in (number, opened, cis, resolved, parent) if name])
    numbers, opened_at = table.texts(number), table.read(opened, read_time)
    resolved_at = table.read(resolved, _time_or_none) if resolved else [None] * table.size
    _check_order(table, resolved, opened_at, resolved_at)
    parents = {one: up for one, up in zip(numbers, table.texts(parent), strict=True) if up and up != one}
    found = [
        Ticket(
            number=numbers[index],
            incident=_head(numbers[index], parents),
            opened_at=opened_at[index],
            resolved_at=resolved_at[index],
            cis=tuple(name.strip() for name in names.replace(";", ",").split(",") if name.strip()),
        )
        for index, names in enumerate(table.texts(cis))
    ]
    return tuple(sorted(found, key=lambda ticket: (ticket.opened_at, ticket.number)))


def _time_or_none(value: object) -> datetime | None:
    return None if value is None or not str(value).strip() else read_time(value)


def _check_order(
    table: Table, column: str, opened_at: Sequence[datetime], resolved_at: Sequence[datetime | None]
) -> None:
    problems = [
        table.problem(index, column, f"{end} is before it was opened, {begin}", "check the time zones of the export")
        for index, (begin, end) in enumerate(zip(opened_at, resolved_at, strict=True))
        if end is not None and end < begin
    ]
    if problems:
        raise ConfigError(problems[:20])


def _head(number: str, parents: Mapping[str, str]) -> str:
    been = {number}
    while (up := parents.get(number, "")) and up not in been:
        been.add(up)
        number = up
    return number


# ---- how well groups fit --------------------------------------------------------------------------------------------


class Pairs(Struct, frozen=True):
    """Pairs of alerts, counted. same: of one incident; grouped: in one group; both: as they should be. Counts of parts
    that share no pair add up."""

    same: int = 0
    grouped: int = 0
    both: int = 0

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(self.same + other.same, self.grouped + other.grouped, self.both + other.both)

    @property
    def precision(self) -> float:
        return self.both / self.grouped if self.grouped else 1.0

    @property
    def recall(self) -> float:
        return self.both / self.same if self.same else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 1 where there was nothing to find and nothing was found."""
        return 2 * self.both / (self.same + self.grouped) if self.same + self.grouped else 1.0


def count_pairs(placed: Iterable[tuple[str, str]]) -> Pairs:
    """placed: incident and group of each alert of which something is known; an empty incident is noise, an empty group
    none: such an alert is in no pair on that side."""
    cells = Counter(placed)
    incidents: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for (incident, group), alerts in cells.items():
        incidents[incident] += alerts
        groups[group] += alerts
    del incidents[""], groups[""]
    both = sum(_pairs(alerts) for (incident, group), alerts in cells.items() if incident and group)
    return Pairs(sum(map(_pairs, incidents.values())), sum(map(_pairs, groups.values())), both)


def _pairs(alerts: int) -> int:
    return alerts * (alerts - 1) // 2
