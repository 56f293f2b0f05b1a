"""What each suppressor promises, and how the reasons of many alerts become those of one situation."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from foreshock.core.model import Alert, Held, HeldKind, Situation


class Case(Struct, frozen=True, kw_only=True):
    """What suppressors look at besides the alert: the situation whose ticket write is due.

    Attributes:
        members: all its alerts, in order of joining. active: those that are.
        silenced: whether a silence or a window covers an alert now; such an alert explains no other.
    """

    situation: Situation
    members: Sequence[Alert]
    active: Sequence[Alert]
    now: datetime
    silenced: Callable[[Alert], bool]


class Suppressor(Protocol):
    """One way to suppress. Its answer depends on nothing but what its hooks were told, and on the case."""

    kind: HeldKind

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        """Why the active ``alert`` disturbs nobody now; empty if it may."""


def together(reasons: Iterable[Held]) -> tuple[Held, ...]:
    """One for each kind and id, with the number of alerts it covers, in order of kind and id."""
    counts: dict[tuple[HeldKind, str], int] = {}
    first: dict[tuple[HeldKind, str], Held] = {}
    for held in reasons:
        key = (held.kind, held.id)
        counts[key] = counts.get(key, 0) + held.alerts
        first.setdefault(key, held)
    return tuple(msgspec.structs.replace(first[key], alerts=counts[key]) for key in sorted(first))


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
