"""Large tables for models: whole columns of CSV and Parquet files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreshock.core.errors import ConfigError, ForeshockError, Problem
from foreshock.store.rows import check_file


def read_columns(path: Path, wanted: Sequence[str] | None = None) -> Any:
    """A ``pyarrow.Table`` of the wanted columns, by default of all; types are as stored, or as all the cells of a CSV
    column read.

    Raises ConfigError: no such file, not readable, or without one of the columns.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    check_file(path)
    try:
        if path.suffix == ".parquet":
            names = pq.ParquetFile(path).schema_arrow.names
            wanted = names if wanted is None else wanted
            _check(path, wanted, names)
            return pq.read_table(path, columns=list(wanted))
        with pa_csv.open_csv(path) as stream:
            names = stream.schema.names
        wanted = names if wanted is None else wanted
        _check(path, wanted, names)
        convert = pa_csv.ConvertOptions(include_columns=list(wanted), strings_can_be_null=True)
        return pa_csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError([_problem(path, f"cannot be read: {error}", "give CSV with a header, or Parquet")]) from None


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Arrays of one length, as a CSV file. Raises ForeshockError."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    try:
        pa_csv.write_csv(pa.table(dict(columns)), path, pa_csv.WriteOptions(quoting_style="needed"))
    except OSError as error:
        raise ForeshockError(f"{path} cannot be written: {error}", hint="name another folder") from None


def join_tables(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of several tables, one below the other; all have the same names and types."""
    import pyarrow as pa

    joined = pa.concat_tables([pa.table(dict(part)) for part in parts])
    return {name: joined.column(name) for name in joined.column_names}


def _check(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(
            [_problem(path, f"has no column {name!r}", f"its columns are {', '.join(names)}") for name in missing]
        )


def _problem(path: Path, message: str, hint: str) -> Problem:
    return Problem(file=str(path), line=None, path="", message=message, hint=hint)
