"""What commands print, and how they end.

Exit codes: 0 done; 1 failed; 2 wrong usage; 5 no Foreshock answers; 75 the store is in use, try again; 78 wrong
configuration.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer

from foreshock.core.errors import ConfigError, Denied, ForeshockError, Held, Unavailable

FAILED, UNREACHABLE, TEMPORARY, CONFIG = 1, 5, 75, 78

P = ParamSpec("P")
T = TypeVar("T")


_CALLED = ("incident", "kind", "ticket", "silence", "window", "version", "path")
_FILE_WIDTH = 10_000
"""In a file or for another program a row is one line, however long."""


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


# ---- endings --------------------------------------------------------------------------------------------------------


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one message on stderr and the documented exit code."""

    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(*args, **options)
        except ConfigError as error:
            for problem in error.problems:
                complain(str(problem))
            leave(CONFIG)
        except ForeshockError as error:
            complain(str(error))
            leave(_code(error))

    return run


def _code(error: ForeshockError) -> int:
    if isinstance(error, Held):
        return TEMPORARY
    return UNREACHABLE if isinstance(error, Unavailable | Denied) else FAILED


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes to a path that a person named."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename or path} cannot be written: {error.strerror}"
        raise ForeshockError(message, hint="name another place, or make room for it there") from None


def leave(code: int) -> NoReturn:
    raise typer.Exit(code)


# ---- printing -------------------------------------------------------------------------------------------------------


def tell_lines(answer: T, output: Output, lines: Callable[[T], Iterable[str]]) -> None:
    """One thing: as JSON, or as the lines that are made of it."""
    if output is Output.JSON:
        print_json(answer)
    else:
        print_lines(*lines(answer))


def tell_rows(answer: list[T], output: Output, columns: Iterable[str], cells: Callable[[T], Iterable[Any]]) -> None:
    """A list of things: as JSON, or as a table with the cells that are made of each."""
    if output is Output.JSON:
        print_json(answer)
    else:
        print_table(columns, map(cells, answer))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = tuple(columns)
    table = Table(box=None, pad_edge=False, show_header=any(names))
    for place, name in enumerate(names):
        # What a thing is called must be whole, so that it can be copied; other text folds where the terminal ends.
        table.add_column(name, no_wrap=name in _CALLED or place == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)


def print_lines(*lines: str) -> None:
    for line in lines:
        typer.echo(_shown(line))


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def complain(message: str, color: str = "red") -> None:
    """On standard error."""
    for line in message.splitlines():
        typer.secho(_shown(line), fg=color, err=True)


def warn(message: str) -> None:
    """What a person should know, although the work goes on."""
    complain(message, color="yellow")


def _shown(value: Any) -> str:
    """Text of a stranger on a terminal: control characters are shown, never obeyed."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))


def age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def minute(moment: str) -> str:
    """``2026-12-01T22:00:00Z`` as ``2026-12-01 22:00``."""
    return moment[:16].replace("T", " ")


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
