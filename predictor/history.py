"""What is known of entities, laid out for models: one row for each entity, event, measured step or incident.

Time is counted in steps. ``Entities`` gives every name a number, and all the other tables speak of that number.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.errors import ConfigError, Problem
from predictor.spec import BacktestSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_STRANGE = -2
NEVER = np.int64(2**40)
"""A step that no history reaches."""


class Words(Struct, frozen=True):
    """A column of words as numbers. names: sorted. codes: place in ``names``; -1 where nothing is said."""

    names: tuple[str, ...]
    codes: Ints

    def place(self, word: str) -> int:
        """Its number; one that no row has where the word is strange."""
        return self.names.index(word) if word in self.names else _STRANGE


class Entities(Struct, frozen=True):
    """n entities.

    Attributes:
        groups: the group of each. clocks: equal where a step is at the same time.
        order: a number, close by where entities stand close by; NaN where there is none.
        cutoff: last step whose outcome may be used to fit. first, last: the steps in which it was watched.
        asked_first, asked_last: the steps to be answered; last < first where none.
        begins: when step 0 begins, in steps since 1970; NaN where only the order of steps is known.
    """

    names: tuple[str, ...]
    groups: Words
    clocks: Ints
    order: Floats
    numbers: dict[str, Floats]
    kinds: dict[str, Words]
    cutoff: Ints
    first: Ints
    last: Ints
    asked_first: Ints
    asked_last: Ints
    begins: Floats

    def __len__(self) -> int:
        return len(self.names)


class Events(Struct, frozen=True):
    """m events in the order of steps. known: from this step on ``numbers`` and ``kinds`` of the event are known."""

    entity: Ints
    step: Ints
    known: Ints
    numbers: dict[str, Floats]
    kinds: dict[str, Words]


class Frame(Struct, frozen=True):
    """r measured rows in the order of (step, entity). values: shape (r, columns), NaN where nothing was measured."""

    entity: Ints
    step: Ints
    columns: tuple[str, ...]
    values: NDArray[np.float32]


class Incidents(Struct, frozen=True):
    """Merged incidents in the order of (entity, start); both steps belong to them."""

    entity: Ints
    start: Ints
    end: Ints


class History(Struct, frozen=True):
    """Everything a backtest works on."""

    entities: Entities
    events: Events | None
    frame: Frame | None
    incidents: Incidents


def read_history(spec: BacktestSpec, tables: Mapping[str, Any]) -> History:
    """From Arrow tables by the names of the spec's parts. Raises ConfigError naming the file and what is wrong."""
    frames = {part: table.to_pandas() for part, table in tables.items()}
    known = frames["entities"]
    names = tuple(str(name) for name in known[spec.entities.key])
    if not names:
        raise _wrong(spec.entities.file, "names no entity", "write one row for each")
    index = pd.Index(names)
    if not index.is_unique:
        name = index[index.duplicated()][0]
        raise _wrong(spec.entities.file, f"names {name!r} twice", "write one row for each entity")
    events = _events(spec, frames["events"], index) if spec.events else None
    frame = _frame(spec, frames["frame"], index) if spec.frame else None
    incidents = _incidents(spec, frames["incidents"], index)
    entities = _entities(spec, known, names, frames, index, frame, incidents)
    return History(entities, events, frame, incidents)


# ---- parts ----------------------------------------------------------------------------------------------------------


def _entities(
    spec: BacktestSpec,
    known: pd.DataFrame,
    names: tuple[str, ...],
    frames: Mapping[str, pd.DataFrame],
    index: pd.Index,
    frame: Frame | None,
    incidents: Incidents,
) -> Entities:
    part, n = spec.entities, len(names)
    rows = frames["rows"]
    asked = _numbers_of(rows[spec.rows.entity], index, spec.rows.file)
    first_asked, last_asked = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    first_asked[asked] = _steps(rows, spec.rows.first, spec.rows.file)
    last_asked[asked] = _steps(rows, spec.rows.last, spec.rows.file)
    cutoff = _steps(known, part.cutoff, part.file) if part.cutoff else np.full(n, -1, np.int64)
    first, last = np.zeros(n, np.int64), np.maximum(last_asked, cutoff)
    allowed = cutoff.copy()
    if frame is not None:
        first, last = _watched(frame, n)
        np.maximum.at(last, incidents.entity, incidents.start)
        if spec.fit.before is not None:
            # A step is over before that day.
            before = _in_steps(pd.Series([pd.Timestamp(spec.fit.before)]), spec)[0]
            allowed = np.floor(before - _begins(spec, frames, index)).astype(np.int64) - 1
    if spec.fit.column is not None:
        chosen = known[spec.fit.column].astype(str).to_numpy() == spec.fit.value
        if not chosen.any():
            raise _wrong(
                part.file, f"no entity has {spec.fit.value!r} in {spec.fit.column!r}", "look at `fit` of the spec"
            )
        allowed = np.where(chosen, allowed, -1)
    return Entities(
        names=names,
        groups=words(known[part.group]) if part.group else Words(("",), np.zeros(n, np.int64)),
        clocks=words(known[part.clock]).codes if part.clock else np.arange(n),
        order=_floats(known, part.order, part.file) if part.order else np.full(n, np.nan),
        numbers={name: _floats(known, name, part.file) for name in part.numbers},
        kinds={name: words(known[name]) for name in part.kinds},
        cutoff=np.minimum(allowed, last),
        first=first,
        last=last,
        asked_first=first_asked,
        asked_last=last_asked,
        begins=_begins(spec, frames, index),
    )


def _watched(frame: Frame, n: int) -> tuple[Ints, Ints]:
    first, last = np.full(n, NEVER), np.full(n, -1, np.int64)
    np.minimum.at(first, frame.entity, frame.step)
    np.maximum.at(last, frame.entity, frame.step)
    return np.where(first == NEVER, 0, first), last


def _begins(spec: BacktestSpec, frames: Mapping[str, pd.DataFrame], index: pd.Index) -> Floats:
    """When step 0 of each entity begins, from the days of its rows."""
    found = np.full(len(index), np.nan)
    if spec.frame is None or spec.frame.date is None:
        return found
    rows = frames["frame"]
    entity = _numbers_of(rows[spec.frame.entity], index, spec.frame.file)
    zero = _in_steps(rows[spec.frame.date], spec) - _steps(rows, spec.frame.step, spec.frame.file)
    found[entity] = zero
    return found


def _in_steps(moments: pd.Series, spec: BacktestSpec) -> Floats:
    """Moments as steps since 1970."""
    since = (pd.to_datetime(moments) - pd.Timestamp(0)) / spec.step
    return np.asarray(since, np.float64)


def _events(spec: BacktestSpec, rows: pd.DataFrame, index: pd.Index) -> Events:
    part = spec.events
    assert part is not None
    step = _steps(rows, part.step, part.file)
    order = np.argsort(step, kind="stable")
    rows, step = rows.iloc[order], step[order]
    known = _steps(rows, part.known_from, part.file) if part.known_from else step
    return Events(
        entity=_numbers_of(rows[part.entity], index, part.file),
        step=step,
        known=np.maximum(known, step),
        numbers={name: _floats(rows, name, part.file) for name in part.numbers},
        kinds={name: words(rows[name]) for name in part.kinds},
    )


def _frame(spec: BacktestSpec, rows: pd.DataFrame, index: pd.Index) -> Frame:
    part = spec.frame
    assert part is not None
    entity = _numbers_of(rows[part.entity], index, part.file)
    step = _steps(rows, part.step, part.file)
    order = np.lexsort((entity, step))
    values = np.empty((len(rows), len(part.columns)), np.float32)
    for place, name in enumerate(part.columns):
        values[:, place] = _floats(rows, name, part.file)[order]
    values[~np.isfinite(values)] = np.nan
    return Frame(entity[order], step[order], part.columns, values)


def _incidents(spec: BacktestSpec, rows: pd.DataFrame, index: pd.Index) -> Incidents:
    part = spec.incidents
    entity = _numbers_of(rows[part.entity], index, part.file)
    return merged(entity, _steps(rows, part.start, part.file), _steps(rows, part.end, part.file), part.merge)


def merged(entity: Ints, start: Ints, end: Ints, gap: int) -> Incidents:
    """Incidents of one entity with at most ``gap`` steps between them are one."""
    if not len(entity):
        return Incidents(entity, start, end)
    order = np.lexsort((end, start, entity))
    entity, start, end = entity[order], start[order], end[order]
    kept: list[list[int]] = []
    for e, s, f in zip(entity.tolist(), start.tolist(), end.tolist(), strict=True):
        if kept and kept[-1][0] == e and s - kept[-1][2] - 1 <= gap:
            kept[-1][2] = max(kept[-1][2], f)
        else:
            kept.append([e, s, f])
    found = np.array(kept, np.int64)
    return Incidents(found[:, 0], found[:, 1], found[:, 2])


# ---- columns --------------------------------------------------------------------------------------------------------


def words(column: Any) -> Words:
    """A column of words, numbers or anything that can be written."""
    known = pd.Series(column).reset_index(drop=True)
    codes, names = pd.factorize(known.astype("string"), sort=True)
    return Words(tuple(str(name) for name in names), np.asarray(codes, np.int64))


def _numbers_of(names: Any, index: pd.Index, file: str) -> Ints:
    codes, unique = pd.factorize(pd.Series(names).astype("string"))
    places = index.get_indexer(pd.Index(unique.astype(object)))
    if len(places) and (places < 0).any():
        stranger = unique[int(np.flatnonzero(places < 0)[0])]
        raise _wrong(file, f"{stranger!r} is not among the entities", "add it to the file of the entities")
    if (codes < 0).any():
        raise _wrong(file, f"row {int(np.flatnonzero(codes < 0)[0]) + 1} names no entity", "fill the column in")
    return np.asarray(places, np.int64)[codes] if len(places) else np.empty(0, np.int64)


def _steps(rows: pd.DataFrame, name: str | None, file: str) -> Ints:
    assert name is not None
    values = _floats(rows, name, file)
    wrong = ~(np.isfinite(values) & (np.floor(values) == values))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise _wrong(file, f"row {row + 1}, {name}: {rows[name].iloc[row]!r} is no step", "steps are whole numbers")
    return values.astype(np.int64)


def _floats(rows: pd.DataFrame, name: str | None, file: str) -> Floats:
    try:
        values: Floats = rows[name].to_numpy(np.float64, na_value=np.nan)
        return values
    except (TypeError, ValueError) as error:
        raise _wrong(
            file, f"{name} is no column of numbers: {error}", "name it among `kinds`, or mend the file"
        ) from None


def _wrong(file: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=None, path="", message=message, hint=hint)])
