"""Tables that others exported, by columns: CSV and JSON lines, plain or gzipped, and Parquet."""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
from msgspec import Struct

from foreshock.core.errors import ConfigError, Problem

MAX_PROBLEMS = 20
_CANNOT_BE_READ = (OSError, ValueError, RecursionError, csv.Error)

T = TypeVar("T")


class Table(Struct, frozen=True):
    """Some columns of a file, all of one length.

    Attributes:
        columns: text from CSV; what stands there from JSON lines, None where a row says nothing; what was stored from
            Parquet.
        lines: on which line each row ends; empty for Parquet.
    """

    path: Path
    columns: dict[str, list[Any]]
    size: int
    lines: list[int]

    def texts(self, column: str) -> list[str]:
        """Nothing is empty text, and so is a column without a name."""
        if not column:
            return [""] * self.size
        return ["" if value is None else str(value) for value in self.columns[column]]

    def read(self, column: str, convert: Callable[[Any], T]) -> list[T]:
        """Raises ConfigError naming the rows whose value ``convert`` refuses with a ValueError."""
        found, problems = [], []
        for index, value in enumerate(self.columns[column]):
            try:
                found.append(convert(value))
            except ValueError as error:
                problems.append(self.problem(index, column, str(error), getattr(error, "hint", "")))
                if len(problems) == MAX_PROBLEMS:
                    break
        if problems:
            raise ConfigError(problems)
        return found

    def problem(self, index: int, column: str, message: str, hint: str = "") -> Problem:
        line = self.lines[index] if self.lines else None
        place = column if self.lines else f"row {index + 1}, {column}"
        return Problem(file=str(self.path), line=line, path=place, message=message, hint=hint)


def read_table(path: Path, wanted: Sequence[str]) -> Table:
    """The wanted columns that have a name; the ending tells the format. Raises ConfigError with what is wrong."""
    check_file(path)
    names = list(dict.fromkeys(filter(None, wanted)))
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        if kind == ".parquet":
            return _parquet(path, names)
        return _csv(path, names) if kind == ".csv" else _json_lines(path, names)
    except UnicodeDecodeError:
        raise ConfigError([_not_text(path)]) from None
    except _CANNOT_BE_READ as error:
        raise ConfigError([_unreadable(path, f"cannot be read: {error}")]) from None


def columns_of(path: Path) -> list[str]:
    """Their names, of JSON lines those of the first row. Raises ConfigError."""
    check_file(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.ParquetFile(path).schema_arrow.names)
        with _opened(path) as file:
            if kind == ".csv":
                return next(csv.reader(_decoded(file)), [])
            first = next((line for line in file if line.strip()), b"{}")
            return list(msgspec.json.decode(first, type=dict[str, Any]))
    except UnicodeDecodeError:
        raise ConfigError([_not_text(path)]) from None
    except (*_CANNOT_BE_READ, msgspec.DecodeError) as error:
        raise ConfigError([_unreadable(path, f"cannot be read: {error}")]) from None


def check_file(path: Path) -> None:
    """Raises ConfigError where there is no file."""
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise ConfigError([_unreadable(path, what, hint="check the path")])


def _parquet(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    _check(path, wanted, file.schema_arrow.names)
    table = file.read(columns=list(wanted))
    columns = {name: table.column(name).to_pylist() for name in wanted}
    return Table(path, columns, table.num_rows, [])


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _csv(path: Path, wanted: Sequence[str]) -> Table:
    with _opened(path) as file:
        reader = csv.reader(_decoded(file))
        names = next(reader, [])
        _check(path, wanted, names)
        places = [names.index(name) for name in wanted]
        columns: list[list[str]] = [[] for _ in wanted]
        lines, problems = [], []
        for row in reader:
            if len(row) == len(names):
                lines.append(reader.line_num)
                for column, place in zip(columns, places, strict=True):
                    column.append(row[place])
            elif row:
                hint = "put a cell that holds a comma or a line break in quotes" if len(row) > len(names) else ""
                message = f"has {len(row)} of {len(names)} columns"
                problems.append(_unreadable(path, message, line=reader.line_num, hint=hint))
                if len(problems) == MAX_PROBLEMS:
                    break
    if problems:
        raise ConfigError(problems)
    return Table(path, dict(zip(wanted, columns, strict=True)), len(lines), lines)


def _json_lines(path: Path, wanted: Sequence[str]) -> Table:
    decode = msgspec.json.Decoder().decode
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    known: dict[str, None] = {}
    lines = []
    with _opened(path) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = decode(text)
            except (msgspec.DecodeError, RecursionError) as error:
                hint = "write one JSON object a line; tables may end in .csv and .parquet too"
                raise ConfigError([_unreadable(path, f"is not JSON: {error}", line=line, hint=hint)]) from None
            if not isinstance(row, dict):
                raise ConfigError([_unreadable(path, "is no JSON object", line=line, hint="write {…} on each line")])
            known.update(dict.fromkeys(row))
            lines.append(line)
            for name in wanted:
                columns[name].append(row.get(name))
    if lines:
        _check(path, wanted, list(known))
    return Table(path, columns, len(lines), lines)


def _decoded(file: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(file):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8")


def _not_text(path: Path) -> Problem:
    """With the line: looking for it anew costs only whoever has to mend it."""
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return _unreadable(path, "is not UTF-8", line=number, hint="save the file as UTF-8")
    return _unreadable(path, "is not UTF-8", hint="save the file as UTF-8")


def _check(path: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        hint = f"it has {', '.join(there)}"[:300] if there else "it is empty"
        message = "there is no such column"
        raise ConfigError([Problem(file=str(path), line=1, path=name, message=message, hint=hint) for name in missing])


def _unreadable(path: Path, message: str, *, line: int | None = None, hint: str = "") -> Problem:
    return Problem(file=str(path), line=line, path="", message=message, hint=hint)
