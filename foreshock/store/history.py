"""Metric history as Parquet files: a folder for each day, files for each hour, rows sorted by metric, series and time.

An append writes one new file for each hour it touches, under another name first: what has its name is whole and synced.
Files of an hour that is over are put together by ``compact``. A file's number says how new it is; of two points of one
series and moment the one in the newer file counts, and a file made by ``compact`` stands for all with its number or a
lower one, so a crash between its birth and the removal of its parts changes nothing.

Facts: Parquet through pyarrow 26, with zstd and page checksums (https://arrow.apache.org/docs/python/parquet.html, read
2026-11-22). One row group a metric, so that reading one metric reads little else. ``pyarrow.dataset`` is left alone: it
imports pandas, which costs more memory than all of this.
"""

import os
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.errors import Unavailable
from foreshock.core.model import Direction, Samples, Series

T = TypeVar("T")

log = structlog.get_logger("metrics")

MAX_POINTS = 30_000_000
"""In one answer; the oldest are left out beyond it."""

_HOUR = timedelta(hours=1)
_HOUR_MS = 3_600_000
_OPEN = timedelta(minutes=10)  # an hour still gets late points for so long
_NAME = re.compile(r"(\d\d)-(\d{12})(\.all)?\.parquet")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TEXTS = ("metric", "ci", "dimension", "unit", "worse")
_MAX_DAMAGED = 100


class _File(Struct, frozen=True):
    path: Path
    hour: datetime
    number: int
    all: bool


class _Points(Struct, frozen=True):
    """Columns of as many points. series: index into ``names``."""

    names: Sequence[Series]
    series: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def clean(self, step_ms: int = 1) -> "_Points":
        """Sorted by series and time; of the points of one series and step the last."""
        rank = np.empty(len(self.names), dtype=np.int64)
        rank[sorted(range(len(self.names)), key=lambda i: _identity(self.names[i]))] = np.arange(len(self.names))
        order = np.lexsort((self.times, rank[self.series]))  # stable: a newer file stays behind an older one
        return self._taken(order)._thinned(step_ms)

    def by_series(self, step_ms: int) -> "_Points":
        """The same for points whose times rise already: all of one hour, then all of the next."""
        return self._taken(np.argsort(self.series, kind="stable"))._thinned(step_ms)

    def between(self, first_ms: int, last_ms: int) -> "_Points":
        return self._taken((self.times >= first_ms) & (self.times < last_ms))

    def _taken(self, which: NDArray[Any]) -> "_Points":
        return _Points(self.names, self.series[which], self.times[which], self.values[which])

    def _thinned(self, step_ms: int) -> "_Points":
        steps = self.times // step_ms
        last = np.ones(len(steps), dtype=bool)
        last[:-1] = (self.series[1:] != self.series[:-1]) | (steps[1:] != steps[:-1])
        return self._taken(last)

    def split(self) -> Iterator[tuple[Series, NDArray[np.int64], NDArray[np.float64]]]:
        """By series, of clean points."""
        edges = np.flatnonzero(np.diff(self.series)) + 1
        for part in np.split(np.arange(len(self.series)), edges):
            if len(part):
                yield self.names[self.series[part[0]]], self.times[part], self.values[part]


class ParquetHistory:
    """Implements ``MetricHistory`` in ``folder``, which one process owns.

    Attributes:
        damaged: files that could not be read: they were moved to ``damaged``, and why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged: dict[str, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.rglob("*.tmp"):  # of an append that a crash ended; it was never acknowledged
                left.unlink()
            self._cursors = self._read_cursors()
        except OSError as error:
            raise Unavailable(f"the metric history in {folder} cannot be opened: {error}") from error
        self._number = max((file.number for file in self._files()), default=0)

    # ---- writing ----

    def append(self, source: str, samples: Sequence[Samples], cursor: str = "") -> None:
        points = _gather(samples)
        hours = points.times // _HOUR_MS
        try:
            for hour in np.unique(hours).tolist():
                self._number += 1
                part = points._taken(hours == hour)
                self._write(part.clean(), _moment(hour * _HOUR_MS), self._number)
            if cursor != self._cursors.get(source, ""):
                self._cursors[source] = cursor
                self._put(self._folder / "cursors.json", msgspec.json.encode(self._cursors))
        except OSError as error:
            raise Unavailable(
                f"the metric history in {self._folder} cannot be written: {error}", hint="check the disk"
            ) from error

    def cursor(self, source: str) -> str:
        return self._cursors.get(source, "")

    def compact(self, now: datetime, *, most: int = 24) -> int:
        """Put the files of each hour that is over together, of ``most`` hours; how many files that saved."""
        over = {hour: files for hour, files in self._by_hour(self._files()).items() if hour + _HOUR + _OPEN <= now}
        several = [(hour, files) for hour, files in over.items() if len(files) > 1]
        return sum(self._put_together(hour, files) for hour, files in several[:most])

    def _put_together(self, hour: datetime, files: Sequence[_File]) -> int:
        read = [(file, points) for file in files if (points := self._load(file)) is not None]
        if not read:
            return 0
        newest = max(file.number for file, _ in read)
        made = self._write(_join([points for _, points in read]).clean(), hour, newest, all=True)
        for file, _ in read:
            if file.path != made:
                file.path.unlink(missing_ok=True)
        return len(read) - 1

    def forget(self, before: datetime, max_bytes: int) -> int:
        files = sorted(self._files(), key=lambda file: (file.hour, file.number))
        sizes = [file.path.stat().st_size for file in files]
        left, freed = sum(sizes), 0
        for file, size in zip(files, sizes, strict=True):
            if file.hour + _HOUR > before and left <= max_bytes:
                break
            file.path.unlink(missing_ok=True)
            left, freed = left - size, freed + size
            with suppress(OSError):  # not empty yet
                file.path.parent.rmdir()
        return freed

    def _write(self, points: _Points, hour: datetime, number: int, *, all: bool = False) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self._folder / f"{hour:%Y-%m-%d}"
        folder.mkdir(exist_ok=True)
        path = folder / f"{hour:%H}-{number:012d}{'.all' if all else ''}.parquet"
        text = pa.dictionary(pa.int32(), pa.string())
        columns: dict[str, Any] = {}
        for name in _TEXTS:
            words = [getattr(series, name) or "" for series in points.names]
            known = {word: place for place, word in enumerate(sorted(set(words)))}
            place = np.array([known[word] for word in words], dtype=np.int32)
            columns[name] = pa.DictionaryArray.from_arrays(
                _column(place[points.series], pa.int32()), _text(list(known))
            )
        columns["time"] = _column(points.times, pa.timestamp("ms", "UTC"))
        columns["value"] = _column(points.values, pa.float64())
        schema = pa.schema([*((name, text) for name in _TEXTS), *((n, columns[n].type) for n in ("time", "value"))])
        table = pa.table(columns, schema=schema)
        metrics = _numbers(columns["metric"].indices, np.int32)
        edges = [0, *(np.flatnonzero(np.diff(metrics)) + 1).tolist(), len(metrics)]
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
            for first, last in pairwise(edges):
                writer.write_table(table.slice(first, last - first))
        self._put(path, sink.getvalue())
        return path

    def _put(self, path: Path, content: Any) -> None:
        """The file is there as a whole and on disk, or not at all."""
        draft = path.with_suffix(".tmp")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        for folder in (path.parent, self._folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _read_cursors(self) -> dict[str, str]:
        """A file that cannot be read costs no points: sources are read again from their look-back."""
        path = self._folder / "cursors.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            log.error("the cursors of the metric history are damaged, sources are read again", error=str(error))
            return {}

    # ---- reading ----

    def read(
        self, start: datetime, end: datetime, *, metric: str, cis: Collection[str] | None = None, step_s: float = 0.0
    ) -> Sequence[Samples]:
        step_ms = max(1, round(step_s * 1000))
        wanted = [file for file in self._files() if start < file.hour + _HOUR and file.hour < end]
        hours: list[_Points] = []
        total = 0
        for hour, files in sorted(self._by_hour(wanted).items(), reverse=True):
            parts = [points for file in files if (points := self._load(file, metric, cis)) is not None]
            # Thinned at once: what is left of a long history fits into memory, all of it might not.
            hours.append(_join(parts).between(_ms(start), _ms(end)).clean(step_ms))
            total += len(hours[-1].times)
            if total > MAX_POINTS:
                log.warning("the metric history was read in part", metric=metric, points=total, since=hour)
                break
        joined = _join(hours[::-1]).by_series(step_ms)
        return [
            Samples(series=series, times=array("d", (times / 1000).tobytes()), values=array("d", values.tobytes()))
            for series, times, values in sorted(joined.split(), key=lambda part: _identity(part[0]))
        ]

    def metrics(self, since: datetime) -> Sequence[str]:
        names: set[str] = set()
        for file in self._files():
            if since < file.hour + _HOUR:
                names.update(self._try(file, lambda parquet: set(_metrics(parquet))) or ())
        return sorted(names)

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.path.stat().st_size for file in self._files())

    def _files(self) -> list[_File]:
        found = []
        for folder in self._folder.iterdir():
            if _DAY.fullmatch(folder.name):
                for path in folder.iterdir():
                    if named := _NAME.fullmatch(path.name):
                        hour = datetime.fromisoformat(f"{folder.name}T{named[1]}:00:00+00:00")
                        found.append(_File(path, hour, int(named[2]), named[3] is not None))
        return found

    def _by_hour(self, files: Iterable[_File]) -> dict[datetime, list[_File]]:
        """Those that count, oldest first in each hour."""
        hours: dict[datetime, list[_File]] = {}
        for file in sorted(files, key=lambda file: (file.hour, file.number, not file.all)):
            here = hours.setdefault(file.hour, [])
            if file.all:
                here.clear()
            elif here and here[0].all and file.number <= here[0].number:
                continue
            here.append(file)
        return hours

    def _load(self, file: _File, metric: str = "", cis: Collection[str] | None = None) -> _Points | None:
        """Its points, of one metric and of some CIs where they are named; None where it cannot be read."""

        def load(parquet: Any) -> _Points:
            groups = [group for group, name in enumerate(_metrics(parquet)) if metric in ("", name)]
            return _points(parquet.read_row_groups(groups), cis)

        return self._try(file, load)

    def _try(self, file: _File, work: Callable[[Any], T]) -> T | None:
        """``work`` on the open file. What is damaged is moved aside and reported; the rest is read as ever."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
                return work(parquet)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:  # the disk, not the content
                raise Unavailable(f"the metric history cannot be read: {error}", hint="check the disk") from error
            self._set_aside(file, str(error))
            return None

    def _set_aside(self, file: _File, why: str) -> None:
        name = f"{file.path.parent.name}-{file.path.name}"
        log.error("a file of the metric history is damaged and was set aside", file=name, error=why)
        aside = self._folder / "damaged"
        try:
            aside.mkdir(exist_ok=True)
            file.path.replace(aside / name)
        except OSError as error:
            raise Unavailable(f"{file.path} is damaged and cannot be moved: {error}", hint="remove it") from error
        if len(self.damaged) < _MAX_DAMAGED:
            self.damaged[name] = why


def _gather(samples: Sequence[Samples]) -> _Points:
    """The finite points of samples, in their order."""
    if not samples:
        return _join([])
    names: dict[tuple[str, str, str], int] = {}
    newest: list[Series] = []
    series = []
    for each in samples:
        place = names.setdefault(_identity(each.series), len(names))
        newest[place:] = [each.series, *newest[place + 1 :]]
        series.append(np.full(len(each.times), place, dtype=np.int64))
    seconds = np.concatenate([np.asarray(each.times, dtype=np.float64) for each in samples])
    values = np.concatenate([np.asarray(each.values, dtype=np.float64) for each in samples])
    finite = np.isfinite(values)
    times = np.round(seconds[finite] * 1000).astype(np.int64)
    return _Points(newest, np.concatenate(series)[finite], times, values[finite])


def _join(parts: Sequence[_Points]) -> _Points:
    """Oldest first; what a newer part says of a series beside its identity holds."""
    names: dict[tuple[str, str, str], int] = {}
    newest: dict[int, Series] = {}
    series = [np.empty(0, dtype=np.int64)]
    for part in parts:
        places = [names.setdefault(_identity(name), len(names)) for name in part.names]
        newest.update(zip(places, part.names, strict=True))
        series.append(np.array(places, dtype=np.int64)[part.series])
    return _Points(
        [newest[place] for place in range(len(names))],
        np.concatenate(series),
        np.concatenate([np.empty(0, dtype=np.int64), *(part.times for part in parts)]),
        np.concatenate([np.empty(0), *(part.values for part in parts)]),
    )


# Arrays go in and out as buffers: pyarrow's own conversions would do, but import pandas to see whether they meet it.


def _numbers(array: Any, dtype: Any) -> NDArray[Any]:
    """An Arrow array without nulls."""
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset : array.offset + len(array)]


def _column(values: NDArray[Any], type_: Any) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _text(words: Sequence[str]) -> Any:
    import pyarrow as pa

    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _points(table: Any, cis: Collection[str] | None) -> _Points:
    """Rows of a file as columns."""
    if not table.num_rows:
        return _join([])
    table = table.unify_dictionaries().combine_chunks()
    columns = {name: table.column(name).chunk(0) for name in _TEXTS}
    words = {name: column.dictionary.to_pylist() for name, column in columns.items()}
    code = np.zeros(table.num_rows, dtype=np.int64)
    for name, column in columns.items():
        code = code * len(words[name]) + _numbers(column.indices, np.int32)
    times = _numbers(table.column("time").chunk(0), np.int64)
    values = _numbers(table.column("value").chunk(0), np.float64)
    if cis is not None:
        wanted = np.array([word in cis for word in words["ci"]], dtype=bool)[_numbers(columns["ci"].indices, np.int32)]
        code, times, values = code[wanted], times[wanted], values[wanted]
    codes, series = np.unique(code, return_inverse=True)
    return _join([_Points([_series(code, words) for code in codes.tolist()], series, times, values)])


def _series(code: int, words: Mapping[str, Sequence[str]]) -> Series:
    found = {}
    for name in reversed(_TEXTS):
        code, place = divmod(code, len(words[name]))
        found[name] = words[name][place]
    worse = found.pop("worse")
    return Series(**found, worse=Direction(worse) if worse else None)


def _metrics(parquet: Any) -> Iterator[str]:
    """The one metric of each row group, in order."""
    for group in range(parquet.num_row_groups):
        yield parquet.metadata.row_group(group).column(0).statistics.min


def _identity(series: Series) -> tuple[str, str, str]:
    return series.metric, series.ci, series.dimension


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
