"""What a name stands for in another system: asked once, and believed for a while."""

import re
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from foreshock.connect.markup import line
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied

FOUND_S, ABSENT_S = 86_400.0, 300.0
"""How long a name is believed, and how long that there is none: somebody may be creating it just now."""
_MAX_NAMES, _NAME_CHARS = 10_000, 255

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


class Groups:
    """Ids of groups by name, where a system lists them all. A name that is not among them is looked for again after a
    while; without permission there are none."""

    def __init__(
        self, listed: Callable[[], Iterable[Mapping[str, Any]]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._listed = listed
        self._now = now
        self.forget()

    def forget(self) -> None:
        self._ids: dict[str, str] = {}
        self._until = 0.0

    def id_of(self, *names: str) -> str:
        """Of the first name that one group has and no other; an id stands for itself. Empty where there is none."""
        return next((id for name in names if (id := self._id_of(line(name, _NAME_CHARS)))), "")

    def _id_of(self, name: str) -> str:
        if not name or re.fullmatch("[0-9]{1,18}", name):
            return name
        if name not in self._ids and self._now() >= self._until:
            self._until = self._now() + ABSENT_S
            try:
                groups = list(self._listed())
            except Denied:
                return ""
            count = Counter(str(group.get("name")) for group in groups)
            ids = {str(group.get("name")): str(group["id"]) for group in groups}
            self._ids = {each: id for each, id in ids.items() if count[each] == 1}
        return self._ids.get(name, "")

    def check(self, *names: str) -> Iterator[Finding]:
        """Whether each of these names, or ids, is that of one group."""
        wanted = dict.fromkeys(filter(None, names))
        if not wanted:
            return
        try:
            groups = list(self._listed())
        except Denied as error:
            yield Finding(subject="groups", observed=str(error), remedy="let the agent see the groups")
            return
        for name in wanted:
            yield found_once("groups", name, sum(name in (str(each["id"]), each.get("name")) for each in groups), "id")


def found_once(subject: str, name: str, count: int, id: str) -> Finding:
    """Whether a group that settings name is one and no other there. id: what else may be written for it."""
    return Finding(
        subject=subject,
        observed=f"{name!r} is there" if count == 1 else f"{count} groups are called {name!r}",
        remedy="" if count == 1 else f"write its {id}, or correct the name",
    )
