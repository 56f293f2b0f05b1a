"""Points of many series as columns, and as Parquet.

A file holds the columns ``metric``, ``ci``, ``dimension``, ``unit``, ``worse`` (text), ``time`` (UTC, milliseconds) and
``value`` (double), sorted by CI, metric, dimension and time. Row groups are bounded, so the statistics of a group tell
which CIs, and within one CI which metrics, it can hold: all of one CI is read from as few groups as hold it. Readers
look at the statistics alone, so files of another order are read as well, only slower.

Facts: Parquet through pyarrow 26 (https://arrow.apache.org/docs/python/parquet.html, read 2026-11-22). The encodings
were chosen by measurement, see benchmarks/history.py. Text columns come back as categories in pandas.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.model import Direction, Samples, Series

ROW_GROUP = 131_072
"""Rows; 200 to 300 kB."""

_LAST_S = 253_402_300_000.0
"""In the year 9999."""

Identity = tuple[str, str, str]
"""CI, metric, dimension: the order of rows."""

_TEXTS = ("metric", "ci", "dimension", "unit", "worse")
_METRIC, _CI = 0, 1  # places of their columns


def identity(series: Series) -> Identity:
    return series.ci, series.metric, series.dimension


class Points(Struct, frozen=True):
    """Columns of as many points. series: index into ``names``; times: milliseconds since 1970."""

    names: Sequence[Series]
    series: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def clean(self, step_ms: int = 1) -> "Points":
        """Sorted by series and time; of the points of one series and step the last."""
        rank = np.empty(len(self.names), dtype=np.int64)
        rank[sorted(range(len(self.names)), key=lambda i: identity(self.names[i]))] = np.arange(len(self.names))
        order = np.lexsort((self.times, rank[self.series]))  # stable: a newer file stays behind an older one
        return self.take(order).thinned(step_ms)

    def by_series(self, step_ms: int) -> "Points":
        """The same for points whose times rise already: all of one day, then all of the next."""
        return self.take(np.argsort(self.series, kind="stable")).thinned(step_ms)

    def between(self, first_ms: int, last_ms: int) -> "Points":
        return self.take((self.times >= first_ms) & (self.times < last_ms))

    def of(self, wanted: Collection[Identity]) -> "Points":
        """The points of these series."""
        kept = np.array([identity(name) in wanted for name in self.names], dtype=bool)
        return self.take(kept[self.series])

    def take(self, which: NDArray[Any]) -> "Points":
        return Points(self.names, self.series[which], self.times[which], self.values[which])

    def thinned(self, step_ms: int) -> "Points":
        """Of sorted points the last of each series and step."""
        steps = self.times // step_ms
        last = np.ones(len(steps), dtype=bool)
        last[:-1] = (self.series[1:] != self.series[:-1]) | (steps[1:] != steps[:-1])
        return self.take(last)

    def samples(self) -> list[Samples]:
        """Of clean points, sorted by series."""
        edges = [0, *(np.flatnonzero(np.diff(self.series)) + 1).tolist(), len(self.series)]
        seconds = self.times / 1000
        found = [
            Samples(
                series=self.names[self.series[first]],
                times=array("d", seconds[first:last].tobytes()),
                values=array("d", self.values[first:last].tobytes()),
            )
            for first, last in pairwise(edges)
            if last > first
        ]
        return sorted(found, key=lambda each: identity(each.series))


def gather(samples: Iterable[Samples]) -> Points:
    """The finite points of samples, in their order."""
    return gather_bytes((each.series, _doubles(each.times), _doubles(each.values)) for each in samples)


def gather_bytes(parts: Iterable[tuple[Series, bytes, bytes]]) -> Points:
    """The same of times (seconds since 1970) and values as bytes of doubles; what has a time that no calendar has is
    left out, too. Raises ValueError where they are not as many."""
    names: dict[Identity, int] = {}
    newest: list[Series] = []
    places, counts, times, values = [], [], [], []
    for series, time, value in parts:
        place = names.setdefault(identity(series), len(names))
        if place == len(newest):
            newest.append(series)
        else:
            newest[place] = series
        places.append(place)
        counts.append(len(time) >> 3)
        times.append(time)
        values.append(value)
    known, seconds = np.frombuffer(b"".join(values)), np.frombuffer(b"".join(times))
    sound = np.isfinite(known) & (seconds >= 0) & (seconds < _LAST_S)
    moments = np.round(seconds[sound] * 1000).astype(np.int64)
    series_of = np.repeat(np.array(places, dtype=np.int64), np.array(counts, dtype=np.int64))
    return Points(newest, series_of[sound], moments, known[sound])


def _doubles(numbers: Sequence[float]) -> bytes:
    return (numbers if isinstance(numbers, array) and numbers.typecode == "d" else array("d", numbers)).tobytes()


def join(parts: Sequence[Points]) -> Points:
    """Oldest first; what a newer part says of a series beside its identity holds."""
    if len(parts) == 1:
        return parts[0]
    names: dict[Identity, int] = {}
    newest: dict[int, Series] = {}
    series = [np.empty(0, dtype=np.int64)]
    for part in parts:
        places = [names.setdefault(identity(name), len(names)) for name in part.names]
        newest.update(zip(places, part.names, strict=True))
        series.append(np.array(places, dtype=np.int64)[part.series])
    return Points(
        [newest[place] for place in range(len(names))],
        np.concatenate(series),
        np.concatenate([np.empty(0, dtype=np.int64), *(part.times for part in parts)]),
        np.concatenate([np.empty(0), *(part.values for part in parts)]),
    )


# ---- Parquet --------------------------------------------------------------------------------------------------------


class PointsWriter:
    """Writes one file, which is not synced. What is added is clean, and each addition sorts behind the one before."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = pa.dictionary(pa.int32(), pa.string())
        self._schema = pa.schema(
            [*((name, text) for name in _TEXTS), ("time", pa.timestamp("ms", "UTC")), ("value", pa.float64())]
        )
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=9,
            use_dictionary=list(_TEXTS),
            column_encoding={"time": "DELTA_BINARY_PACKED", "value": "PLAIN"},
            write_page_checksum=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, points: Points) -> None:
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for name in _TEXTS:
            words = [getattr(series, name) or "" for series in points.names]
            known = {word: place for place, word in enumerate(sorted(set(words)))}
            place = np.array([known[word] for word in words], dtype=np.int32)
            columns[name] = pa.DictionaryArray.from_arrays(
                _column(place[points.series], pa.int32()), _text(list(known))
            )
        columns["time"] = _column(points.times, self._schema.field("time").type)
        columns["value"] = _column(points.values, pa.float64())
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=ROW_GROUP)


def load(
    parquet: Any, metric: str | None = None, cis: Collection[str] | None = None, *, span: tuple[int, int], step_ms: int
) -> Points:
    """Points of an open file in ``span`` (milliseconds, the end is out), thinned; of one metric, and of some CIs, where
    they are named."""
    parts = []
    for group in range(parquet.num_row_groups):
        if _may_hold(parquet.metadata.row_group(group), metric, cis):
            found = _points(parquet.read_row_group(group), metric, cis)
            parts.append(found.between(*span).thinned(step_ms))
    return join(parts)


def load_series(parquet: Any, first: Identity, last: Identity) -> Points:
    """All points of the series from ``first`` to ``last``."""
    parts = []
    for group in range(parquet.num_row_groups):
        low, high = _range(parquet.metadata.row_group(group), _CI)
        if low <= last[0] and first[0] <= high:
            found = _points(parquet.read_row_group(group), None, None)
            parts.append(found.of({name for name in map(identity, found.names) if first <= name <= last}))
    return join(parts)


def count_series(parquet: Any) -> Mapping[Identity, int]:
    """How many points each series has in an open file; reads the text alone."""
    counts: dict[Identity, int] = {}
    for group in range(parquet.num_row_groups):
        names, code = _coded(parquet.read_row_group(group, columns=list(_TEXTS)))
        for name, count in zip(names, np.bincount(code, minlength=len(names)).tolist(), strict=True):
            counts[identity(name)] = counts.get(identity(name), 0) + count
    return counts


def metrics(parquet: Any) -> set[str]:
    """Names of the metrics in an open file."""
    names: set[str] = set()
    for group in range(parquet.num_row_groups):
        low, high = _range(parquet.metadata.row_group(group), _METRIC)
        if low == high:
            names.add(low)
        else:
            column = parquet.read_row_group(group, columns=["metric"]).column(0).chunk(0)
            names.update(column.dictionary.to_pylist())
    return names


def _may_hold(group: Any, metric: str | None, cis: Collection[str] | None) -> bool:
    if metric is not None:
        low, high = _range(group, _METRIC)
        if not low <= metric <= high:
            return False
    if cis is None:
        return True
    low, high = _range(group, _CI)
    return any(low <= ci <= high for ci in cis)


def _range(group: Any, column: int) -> tuple[str, str]:
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:  # left out where a word is very long
        return "", "\U0010ffff"
    return statistics.min, statistics.max


# Arrays go in and out as buffers: pyarrow's own conversions would do, but import pandas to see whether they meet it.


def _numbers(column: Any, dtype: Any) -> NDArray[Any]:
    """An Arrow array without nulls."""
    return np.frombuffer(column.buffers()[1], dtype=dtype)[column.offset : column.offset + len(column)]


def _column(values: NDArray[Any], type_: Any) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _text(words: Sequence[str]) -> Any:
    import pyarrow as pa

    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _points(table: Any, metric: str | None, cis: Collection[str] | None) -> Points:
    """Rows of a file as columns."""
    if not table.num_rows:
        return join([])
    names, code = _coded(table)
    times = _numbers(table.column("time").chunk(0), np.int64)
    values = _numbers(table.column("value").chunk(0), np.float64)
    points = Points(names, code, times, values)
    if metric is None and cis is None:
        return points
    return points.take(
        np.array(
            [name.metric == (metric or name.metric) and (cis is None or name.ci in cis) for name in names], dtype=bool
        )[code]
    )


def _coded(table: Any) -> tuple[list[Series], NDArray[np.int64]]:
    """The series of the rows, sorted, and which each row is of."""
    table = table.unify_dictionaries().combine_chunks()
    columns = {name: table.column(name).chunk(0) for name in _TEXTS}
    words = {name: column.dictionary.to_pylist() for name, column in columns.items()}
    code = np.zeros(table.num_rows, dtype=np.int64)
    for name, column in columns.items():
        code = code * len(words[name]) + _numbers(column.indices, np.int32)
    # Rows of a series lie together: what is looked for among all is there once a series.
    first = np.flatnonzero(np.diff(code, prepend=-1))
    codes, place = np.unique(code[first], return_inverse=True)
    series = np.repeat(place.astype(np.int64), np.diff(first, append=len(code)))
    return [_series(each, words) for each in codes.tolist()], series


def _series(code: int, words: Mapping[str, Sequence[str]]) -> Series:
    found = {}
    for name in reversed(_TEXTS):
        code, place = divmod(code, len(words[name]))
        found[name] = words[name][place]
    worse = found.pop("worse")
    return Series(**found, worse=Direction(worse) if worse else None)
