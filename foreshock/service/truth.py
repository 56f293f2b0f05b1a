"""What is known to belong together, from files that people keep, and how well groups fit it.

Told apart by their columns: labels (an alert and its incident a row), what people said (``foreshock feedback export``,
or a capture, which has it too), and tickets exported from an ITSM tool.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from correlation.feedback import labels
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Judgement, Label, Witness
from foreshock.service.recorded import TicketColumns
from foreshock.service.tickets import Ticket, is_of_tickets, plain, read_tickets
from foreshock.store import capture
from foreshock.store.rows import columns_of, read_table

_ALERT = ("alert_id", "alert", "id")
_INCIDENT = ("issue_id", "incident_id", "incident", "label")
_SAYS = "says"
_WHAT = (
    "a table of labels has the columns alert_id and issue_id, one of tickets number, opened_at, resolved_at and "
    "cmdb_ci, and what people said comes from `foreshock feedback export`"
)


class Truth(Struct, frozen=True, kw_only=True):
    """What is known. Of what is not in it, nothing is known.

    Attributes:
        incidents: incident by id of an item of input; empty text: noise, which belongs with nothing.
        said: pairs of alerts that are one problem or are not. tickets: in order of opening.
    """

    incidents: dict[str, str] = {}
    said: tuple[Label, ...] = ()
    tickets: tuple[Ticket, ...] = ()


def read_truth(path: Path, columns: TicketColumns | None = None) -> Truth:
    """columns: of tickets, where they have other names than usual. Raises ConfigError naming the line."""
    theirs = columns or TicketColumns()
    if path.is_file() and capture.head_of(path) is not None:
        return as_truth(capture.judgements(path)) or Truth()
    if (columns != TicketColumns() and columns is not None) or path.suffix == ".json":
        return Truth(tickets=read_tickets(path, theirs))
    named = {plain(name): name for name in columns_of(path)}
    if _SAYS in named:
        return Truth(said=_said(path, named))
    if (incident := _first(named, _INCIDENT)) and (alert := _first(named, _ALERT)):
        return Truth(incidents=_incidents(path, alert, incident))
    if is_of_tickets(path, theirs):
        return Truth(tickets=read_tickets(path, theirs))
    message = f"its columns ({', '.join(named.values()) or 'none'}) are those of no truth that is known"
    raise ConfigError([Problem(file=str(path), line=1, path="", message=message[:300], hint=_WHAT)])


def as_truth(judgements: Iterable[Judgement]) -> Truth | None:
    """What people said; None where they said nothing of what belongs together."""
    said = tuple(label for judgement in judgements for label in labels(judgement) if label.other is not None)
    return Truth(said=said) if said else None


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
        row = {plain(name): values[index] for name, values in table.columns.items()}
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
