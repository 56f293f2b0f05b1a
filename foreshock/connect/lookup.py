"""What a name stands for in another system: asked once, and believed for a while."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from foreshock.core.contracts import Finding

FOUND_S, ABSENT_S = 86_400.0, 300.0
"""How long a name is believed, and how long that there is none: somebody may be creating it just now."""
_MAX_NAMES = 10_000

T = TypeVar("T")


class Lookup(Generic[T]):
    """Values by name. found_s, absent_s: how long one is believed, and how long that there is none."""

    def __init__(
        self, found_s: float = FOUND_S, absent_s: float = ABSENT_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._found_s, self._absent_s = found_s, absent_s
        self._now = now
        self._known: dict[Hashable, tuple[T | None, float]] = {}

    def of(self, name: Hashable, ask: Callable[[], T | None]) -> T | None:
        """What was found under a name; ``ask`` is called where that is not known or too old."""
        value, until = self._known.get(name, (None, 0.0))
        if self._now() < until:
            return value
        value = ask()
        if len(self._known) >= _MAX_NAMES:
            self._known.clear()
        self._known[name] = value, self._now() + (self._absent_s if value is None else self._found_s)
        return value

    def forget(self) -> None:
        self._known.clear()


def found_once(subject: str, name: str, count: int, id: str) -> Finding:
    """Whether a group that settings name is one and no other there. id: what else may be written for it."""
    return Finding(
        subject=subject,
        observed=f"{name!r} is there" if count == 1 else f"{count} groups are called {name!r}",
        remedy="" if count == 1 else f"write its {id}, or correct the name",
    )
