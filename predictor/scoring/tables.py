"""Tables of measured rows in, a score for each row out."""

from typing import Any, NamedTuple

import numpy as np

from foreshock.core.errors import ConfigError, Problem
from predictor.frames import Floats
from predictor.scoring import alone
from predictor.scoring.joint import Joint
from predictor.scoring.spec import DetectSpec, Method


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

    values, count = _values(spec, entity, entity.rows), len(entity.rows)
    times = pa.array(np.arange(count)) if spec.time is None else entity.rows.column(spec.time)
    return {
        spec.answer.entity: pa.array([entity.name] * count, pa.string()),
        spec.answer.time: times,
        spec.answer.score: pa.array(_scores(spec, entity, values, _step_s(spec, times)) if count else [], pa.float64()),
    }


def split(spec: DetectSpec, table: Any, file: str) -> list[Entity]:
    """The entities of one table, in the order in which they come first."""
    import pyarrow.compute as pc

    assert spec.table is not None
    names = table.column(spec.table.entity)
    return [
        Entity(str(name), table.filter(pc.equal(names, name)), None, file) for name in pc.unique(names) if name.is_valid
    ]


def _scores(spec: DetectSpec, entity: Entity, values: Floats, step_s: float) -> Floats:
    if spec.method is Method.JOINT:
        history = _values(spec, entity, entity.history)
        if not len(history) or history.shape[1] != values.shape[1]:
            raise _wrong(
                entity.file, f"{values.shape[1]} columns do not go with a history of {history.shape}", "write `columns`"
            )
        return Joint(step_s).fit(history).score(values)
    if values.shape[1] != 1:
        raise _wrong(entity.file, f"{spec.method} scores one column, not {values.shape[1]}", "write `columns`")
    by_method = {Method.ALONE: alone.scores, Method.ALARMS: alone.alarms}
    return by_method[spec.method](values[:, 0], step_s)


def _values(spec: DetectSpec, entity: Entity, table: Any) -> Floats:
    """Shape (t, n), NaN where nothing was measured."""
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
    columns[~np.isfinite(columns)] = np.nan
    return columns


def _step_s(spec: DetectSpec, times: Any) -> float:
    """Seconds from row to row."""
    import pandas as pd

    if spec.step is not None:
        return spec.step.total_seconds()
    moments = pd.to_datetime(pd.Series(times.to_pandas()), utc=True, errors="coerce")
    between = moments.diff().dt.total_seconds()
    step_s = float(between[between > 0].median())
    return step_s if np.isfinite(step_s) else 60.0


def _wrong(file: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=None, path="", message=message, hint=hint)])
