"""Tables of measured rows in, a score for each row out."""

from typing import Any, NamedTuple

import numpy as np

from foreshock.core.errors import ConfigError, Problem
from predictor.frames import Floats
from predictor.scoring import alone
from predictor.scoring.joint import Joint
from predictor.scoring.spec import DetectSpec, Method

_LARGEST = 1e100  # what lies beyond was not measured, and nothing could be computed of it
_UNKNOWN_STEP_S = 60.0  # of a single row: any will do


class Entity(NamedTuple):
    """One entity's rows, in order.

    Attributes:
        rows, history: Arrow tables; the history is None where the method needs none.
        file: where the rows come from, for errors.
    """

    name: str
    rows: Any
    history: Any
    file: str


def score(spec: DetectSpec, entity: Entity) -> dict[str, Any]:
    """The columns of scores.csv for one entity, a row for each of its rows. Raises ConfigError."""
    import pyarrow as pa

    count = len(entity.rows)
    return {
        spec.answer.entity: pa.array([entity.name] * count, pa.string()),
        spec.answer.time: np.arange(count) if spec.time is None else entity.rows.column(spec.time),
        spec.answer.score: pa.array(_scores(spec, entity) if count else [], pa.float64()),
    }


def split(spec: DetectSpec, table: Any, file: str) -> list[Entity]:
    """The entities of one table, in the order in which they come first."""
    import pyarrow.compute as pc

    assert spec.table is not None
    names = table.column(spec.table.entity)
    return [
        Entity(str(name), table.filter(pc.equal(names, name)), None, file) for name in pc.unique(names) if name.is_valid
    ]


def _scores(spec: DetectSpec, entity: Entity) -> Floats:
    values = _values(spec, entity, entity.rows)
    if spec.method is Method.JOINT:
        history = _values(spec, entity, entity.history)
        if not len(history) or history.shape[1] != values.shape[1]:
            raise _wrong(
                entity.file, f"{values.shape[1]} columns do not go with a history of {history.shape}", "write `columns`"
            )
        before = _times(spec, entity, entity.history, 0)
        times = _times(spec, entity, entity.rows, len(history))
        return Joint(_step_s(spec, before)).fit(history, before).score(values, times)
    if values.shape[1] != 1:
        raise _wrong(entity.file, f"{spec.method} scores one column, not {values.shape[1]}", "write `columns`")
    by_method = {Method.ALONE: alone.scores, Method.ALARMS: alone.alarms}
    times = _times(spec, entity, entity.rows, 0)
    return by_method[spec.method](values[:, 0], times, _step_s(spec, times))


def _values(spec: DetectSpec, entity: Entity, table: Any) -> Floats:
    """Shape (t, n), NaN where nothing was measured, or what nothing can have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    apart = {spec.time, spec.table.entity if spec.table else None}
    wanted = spec.columns or [name for name in table.column_names if name not in apart]
    if not wanted:
        raise _wrong(entity.file, "has no column with numbers", "name one in `columns`")
    columns = np.empty((len(table), len(wanted)))
    for place, name in enumerate(wanted):
        try:
            numbers = pc.cast(table.column(name), pa.float64())
        except (KeyError, pa.ArrowException) as error:
            raise _wrong(entity.file, f"column {name!r} has no numbers: {error}", "name others in `columns`") from None
        columns[:, place] = numbers.to_numpy(zero_copy_only=False)
    columns[~(np.abs(columns) <= _LARGEST)] = np.nan
    return columns


def _times(spec: DetectSpec, entity: Entity, table: Any, first: int) -> Floats:
    """Seconds of each row, never falling: a clock that was set back stands still. Without a column with moments, of the
    row's number from ``first`` on."""
    import pandas as pd
    import pyarrow as pa

    if spec.time is None:
        return np.arange(first, first + len(table), dtype=np.float64) * _step_s(spec, np.empty(0))
    column = table.column(spec.time)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        seconds = column.to_pandas().to_numpy(np.float64)
    else:
        moments = pd.to_datetime(column.to_pandas().astype(str), utc=True, errors="coerce", format="ISO8601")
        seconds = ((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(seconds))
    if len(wrong):
        raise _wrong(
            entity.file,
            f"{column[int(wrong[0])].as_py()!r} in column {spec.time!r}, row {wrong[0] + 1}, is no moment",
            "write ISO 8601 or seconds since 1970",
        )
    latest: Floats = np.maximum.accumulate(seconds)
    return latest


def _step_s(spec: DetectSpec, times: Floats) -> float:
    """Seconds from row to row."""
    if spec.step is not None:
        return spec.step.total_seconds()
    between = np.diff(times)
    return float(np.median(between[between > 0])) if (between > 0).any() else _UNKNOWN_STEP_S


def _wrong(file: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=None, path="", message=message, hint=hint)])
