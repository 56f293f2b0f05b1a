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
        members: all its alerts, in order of joining.
        silenced: whether a silence or a window covers an alert now; such an alert explains no other.
    """

    situation: Situation
    members: Sequence[Alert]
    now: datetime
    silenced: Callable[[Alert], bool]


class Suppressor(Protocol):
    """One way to suppress. Its answer depends on nothing but what its hooks were told, and on the case."""

    kind: HeldKind

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        """Why the active ``alert`` disturbs nobody now; empty if it may. Equal answers are best one object: a situation
        of 500 alerts is then told with few."""


def together(reasons: Iterable[tuple[tuple[Held, ...], int]]) -> tuple[Held, ...]:
    """One for each kind and id, with the number of alerts it covers, in order of kind and id.

    Args:
        reasons: what holds one alert, and how many alerts are held by just that.
    """
    counts: dict[tuple[HeldKind, str], int] = {}
    first: dict[tuple[HeldKind, str], Held] = {}
    for each, alerts in reasons:
        for held in each:
            name = (held.kind, held.id)
            counts[name] = counts.get(name, 0) + alerts
            first.setdefault(name, held)
    return tuple(msgspec.structs.replace(first[name], alerts=counts[name]) for name in sorted(first))


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
