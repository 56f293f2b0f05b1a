"""Tables that others exported, by columns: CSV, plain or gzipped, and Parquet."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foreshock.core.errors import ConfigError, Problem


def read_columns(path: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """The wanted columns, all of one length: text from CSV, what was stored from Parquet.

    Raises ConfigError naming the file and what is missing.
    """
    if not path.is_file():
        raise _unreadable(path, "there is no such file")
    try:
        return _parquet(path, wanted) if path.suffix == ".parquet" else _csv(path, wanted)
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, f"cannot be read: {error}") from None


def _parquet(path: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    _check(path, wanted, file.schema_arrow.names)
    table = file.read(columns=list(dict.fromkeys(wanted)))
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _csv(path: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        _check(path, wanted, names)
        places = {name: names.index(name) for name in wanted}
        columns: dict[str, list[Any]] = {name: [] for name in wanted}
        for row in reader:
            if len(row) < len(names):
                raise _unreadable(path, f"has {len(row)} of {len(names)} columns", line=reader.line_num)
            for name, place in places.items():
                columns[name].append(row[place])
        return columns


def _check(path: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in dict.fromkeys(wanted) if name not in there]
    if missing:
        raise ConfigError(
            [
                Problem(
                    file=str(path), line=1, path=name, message="there is no such column",
                    hint=f"it has {', '.join(there)}",
                )
                for name in missing
            ]
        )  # fmt: skip


def _unreadable(path: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, path="", message=message)])
