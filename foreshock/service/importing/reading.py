"""A foreign configuration as it stands in a file: nothing in it can be passed over unnoticed.

A ``Node`` remembers which of its keys somebody asked for; ``left`` is the rest, which the report has to tell of.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from foreshock.connect.config import Origin, PathTuple, path_text
from foreshock.core.errors import ConfigError, Problem

Origins = Callable[[PathTuple], Origin]


class Node:
    """A value at a place of a file.

    Args:
        value: plain data, as ``connect.config.Document`` has it.
        origins: where the value at a path from the root stands.
        problems: takes what is wrong, so that all of it is told at once.
    """

    def __init__(self, value: Any, origins: Origins, problems: list[Problem], path: PathTuple = ()) -> None:
        self.value, self.path = value, path
        self._origins, self._problems = origins, problems
        self._taken: set[str] = set()

    @property
    def origin(self) -> Origin:
        return self._origins(self.path)

    @property
    def file(self) -> str:
        return self.origin.file

    @property
    def line(self) -> int | None:
        return self.origin.line

    @property
    def name(self) -> str:
        return path_text(self.path)

    def wrong(self, message: str, hint: str = "") -> None:
        self._problems.append(self.origin.problem(message, hint))

    def finish(self) -> None:
        """Raises ConfigError where anything was wrong."""
        if self._problems:
            raise ConfigError(self._problems)

    # ---- mappings and lists ----

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def take(self, key: str) -> "Node | None":
        """What stands under a key; None where nothing does."""
        if not self._is(dict, "a mapping", "write `key: value` lines"):
            return None
        self._taken.add(key)
        found = self.value.get(key)
        return None if found is None else self._child(key, found)

    def items(self, key: str) -> "list[Node]":
        """The entries of the list under a key; none where there is none."""
        found = self.take(key)
        return [] if found is None else found.entries()

    def entries(self) -> "list[Node]":
        if self.value == {}:  # an empty list, as some write it
            return []
        if not self._is(list, "a list", "begin each entry with `- `"):
            return []
        return [self._child(index, value) for index, value in enumerate(self.value)]

    def pairs(self) -> "list[tuple[str, Node]]":
        """Keys and values of a mapping of which all keys are wanted."""
        if not self._is(dict, "a mapping", "write `key: value` lines"):
            return []
        self._taken |= self.value.keys()
        return [(key, self._child(key, value)) for key, value in self.value.items()]

    def left(self) -> "Iterator[tuple[str, Node]]":
        """Keys that nobody asked for."""
        if isinstance(self.value, dict):
            for key, value in self.value.items():
                if key not in self._taken:
                    yield key, self._child(key, value)

    def _child(self, step: str | int, value: Any) -> "Node":
        return Node(value, self._origins, self._problems, (*self.path, step))

    def _is(self, type_: type, what: str, hint: str) -> bool:
        if not isinstance(self.value, type_):
            self.wrong(f"must be {what}", hint)
            return False
        return True

    # ---- texts ----

    def text(self, key: str, default: str = "") -> str:
        found = self.take(key)
        return default if found is None else found.plain()

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(entry.plain() for entry in self.items(key))

    def plain(self) -> str:
        """The value as text; what YAML took for a number is text again."""
        value = self.value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int):
            return str(value)
        if isinstance(value, float):
            self.wrong(f"{value} may have been written differently", "put it in quotes")
        elif value is not None:
            self.wrong("must be a text", "write one value, in quotes if it has signs of YAML in it")
        return ""

    def yes(self, key: str) -> bool:
        """A boolean, also as YAML 1.1 writes it."""
        word = self.text(key, "false").lower()
        if word not in ("true", "yes", "on", "false", "no", "off"):
            self.wrong(f"{word[:40]!r} is neither true nor false", "write true or false")
        return word in ("true", "yes", "on")


def root(data: Any, origins: Origins) -> Node:
    return Node(data, origins, [])


def unplaced(file: str) -> Origins:
    """Origins in a file of which nobody knows the lines."""
    return lambda path: Origin(file=file, line=None, path=path_text(path))


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence; where they are many, the first and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
