"""Metric history: a log of what came last, and Parquet files behind it, a folder for each day.

An append is on disk once the log is synced. The log becomes Parquet every minute: a file for each hour it touches,
written under another name first, so what has its name is whole and synced. Files of an hour that is over are put
together, those of a day that is over become one. A file's number says how new it is; of two points of one series and
moment the one in the newer file counts, and a file that others were put together in stands for all of them with its
number or a lower one: a crash between its birth and the removal of its parts changes nothing.

Layout: ``points/day=2026-11-22/`` with ``all-NUMBER.parquet`` (the day), ``HH-NUMBER.all.parquet`` (an hour) and
``HH-NUMBER.parquet``; columns: see ``points``. ``pandas.read_parquet("points")`` reads all of it. Beside it ``log``,
``cursors.json``, and ``damaged`` for files that could not be read.
Facts: ``pyarrow.dataset`` is left alone here: it imports pandas, which costs more memory than all of this. It skips
names that begin with a dot.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import structlog
from msgspec import Struct

from foreshock.core.errors import Unavailable
from foreshock.core.model import Samples
from foreshock.store import points as columns
from foreshock.store.points import Identity, Points, PointsWriter, gather, join
from foreshock.store.points_log import Entry, PointsLog

T = TypeVar("T")

log = structlog.get_logger("metrics")

MAX_POINTS = 30_000_000
"""In one answer; the oldest are left out beyond it."""

_FLUSH_S = 60.0
_FLUSH_POINTS = 1_000_000
_TOGETHER = 1_000_000  # points that are in memory at once while files are put together: 50 MB
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_HOUR_MS = 3_600_000
_OPEN = timedelta(minutes=10)  # an hour still gets late points for so long
_NAME = re.compile(r"(?:(?P<hour>\d\d)|all)-(?P<number>\d{12})(?P<all>\.all)?\.parquet")
_FOLDER = re.compile(r"day=(\d{4}-\d\d-\d\d)")
_FORMER = re.compile(r"\d{4}-\d\d-\d\d")
_MAX_DAMAGED = 100


class _File(Struct, frozen=True):
    """start, end: its points lie in start <= t < end. all: it stands for others."""

    path: Path
    start: datetime
    end: datetime
    number: int
    all: bool

    @property
    def day(self) -> datetime:
        return self.start.replace(hour=0)


class ParquetHistory:
    """Implements ``MetricHistory`` in ``folder``, which one process owns.

    Attributes:
        damaged: files that could not be read: they were moved to ``damaged``, and why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._points = folder, folder / "points"
        self.damaged: dict[str, str] = {}
        self._pending: list[Points] = []
        self._since = 0.0
        try:
            self._points.mkdir(parents=True, exist_ok=True)
            self._take_over()
            for left in self._points.rglob(".*"):  # of a write that a crash ended: what it held is elsewhere still
                left.unlink()
            self._cursors = self._read_cursors()
            self._number = max((file.number for file in self._files()), default=0)
            self._log = PointsLog(folder / "log")
            for entry in self._log.entries():
                if entry.cursor is not None:
                    self._cursors[entry.source] = entry.cursor
                self._pending.append(entry.points())
            self.flush()
        except OSError as error:
            raise Unavailable(f"the metric history in {folder} cannot be opened: {error}") from error

    def _take_over(self) -> None:
        """Folders of days as they were named before."""
        for path in self._folder.iterdir():
            if _FORMER.fullmatch(path.name) and not (self._points / f"day={path.name}").exists():
                path.rename(self._points / f"day={path.name}")

    # ---- writing ----

    def append(self, source: str, samples: Sequence[Samples], cursor: str | None = "") -> None:
        """cursor: None leaves that of the source as it is."""
        self.append_points(source, gather(samples), cursor)

    def append_points(self, source: str, points: Points, cursor: str | None = "") -> None:
        changed = cursor is not None and cursor != self._cursors.get(source, "")
        if not len(points.times) and not changed:
            return
        with self._disk():
            self._log.add(Entry.of(source, cursor if changed else None, points))
            if changed and cursor is not None:
                self._cursors[source] = cursor
            if not self._pending:
                self._since = time.monotonic()
            self._pending.append(points)
            held = sum(len(each.times) for each in self._pending)
            if held >= _FLUSH_POINTS or time.monotonic() - self._since >= _FLUSH_S:
                self.flush()

    def cursor(self, source: str) -> str:
        return self._cursors.get(source, "")

    def flush(self) -> None:
        """What is in the log becomes files. Raises Unavailable."""
        with self._disk():
            points = join(self._pending).clean() if self._pending else None
            if points is not None and len(points.times):
                hours = points.times // _HOUR_MS
                for hour in np.unique(hours).tolist():
                    self._number += 1
                    draft = self._draft(_moment(hour * _HOUR_MS), f"{hour % 24:02}-{self._number:012d}.parquet")
                    with PointsWriter(draft) as writer:
                        writer.add(points.take(hours == hour))
                    _finish(draft)
            self._put(self._folder / "cursors.json", msgspec.json.encode(self._cursors))
            self._log.clear()
            self._pending = []

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"the metric history in {self._folder} cannot be written: {error}", hint="check the disk"
            ) from error

    def compact(self, now: datetime, *, most: int = 24) -> int:
        """Put the files of each hour and day that is over together, of ``most`` of them; how many files that saved."""
        return sum(self.compacting(now, most=most))

    def compacting(self, now: datetime, *, most: int = 24) -> Iterator[int]:
        """The same in steps of a second or so, with the files that each has saved; between two of them all else may be
        done."""
        self.flush()
        days: dict[datetime, list[_File]] = {}
        for file in self._files():
            days.setdefault(file.day, []).append(file)
        work: list[tuple[datetime, str, list[_File]]] = []
        for day, files in sorted(days.items()):
            if day + _DAY + _OPEN <= now:
                if len(files) > 1 or not _is_day(files[0]):
                    work.append((day, "all", files))
                continue
            hours: dict[datetime, list[_File]] = {}
            for file in files:
                hours.setdefault(file.start, []).append(file)
            work += [
                (hour, f"{hour:%H}", parts)
                for hour, parts in sorted(hours.items())
                if len(parts) > 1 and hour + _HOUR + _OPEN <= now
            ]
        for each in work[:most]:
            with self._disk():
                yield from self._put_together(*each)

    def _put_together(self, start: datetime, name: str, files: Sequence[_File]) -> Iterator[int]:
        """The files that count become one; a bounded part of the series is in memory at a time."""
        counts: dict[Identity, int] = {}
        counting = []
        for file in _in_force(files):
            found = self._try(file, columns.count_series)
            if found is not None:
                counting.append(file)
                for series, count in found.items():
                    counts[series] = counts.get(series, 0) + count
        if not counting:
            return
        newest = max(file.number for file in counting)
        draft = self._draft(start, f"{name}-{newest:012d}{'' if name == 'all' else '.all'}.parquet")
        with PointsWriter(draft) as writer:
            for part in self._merged(counting, counts):
                writer.add(part)
                yield 0
        made = _finish(draft)
        for file in files:
            if file.path != made:
                file.path.unlink(missing_ok=True)
        yield len(files) - 1

    def _merged(self, files: Sequence[_File], counts: Mapping[Identity, int]) -> Iterator[Points]:
        for first, last in _spans(counts):
            parts = [self._try(file, partial(columns.load_series, first=first, last=last)) for file in files]
            yield join([part for part in parts if part is not None]).clean()

    def forget(self, before: datetime, max_bytes: int) -> int:
        files = sorted(self._files(), key=lambda file: (file.start, file.number))
        sizes = [file.path.stat().st_size for file in files]
        left, freed = sum(sizes), 0
        for file, size in zip(files, sizes, strict=True):
            if file.end > before and left <= max_bytes:
                continue
            file.path.unlink(missing_ok=True)
            left, freed = left - size, freed + size
            with suppress(OSError):  # not empty yet
                file.path.parent.rmdir()
        return freed

    def _draft(self, start: datetime, name: str) -> Path:
        """Where a file is written that is to be called so."""
        folder = self._points / f"day={start:%Y-%m-%d}"
        folder.mkdir(exist_ok=True)
        _sync(self._points)
        return folder / f".{name}"

    def _put(self, path: Path, content: bytes) -> None:
        """The file is there as a whole and on disk, or not at all."""
        draft = path.with_name(f".{path.name}")
        draft.write_bytes(content)
        _finish(draft)

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
        self,
        start: datetime,
        end: datetime,
        *,
        metric: str | None = None,
        cis: Collection[str] | None = None,
        step_s: float = 0.0,
    ) -> Sequence[Samples]:
        reading = self.reading(start, end, metric=metric, cis=cis, step_s=step_s)
        while True:
            try:
                next(reading)
            except StopIteration as done:
                found: Sequence[Samples] = done.value
                return found

    def reading(
        self,
        start: datetime,
        end: datetime,
        *,
        metric: str | None = None,
        cis: Collection[str] | None = None,
        step_s: float = 0.0,
    ) -> Generator[None, None, Sequence[Samples]]:
        """``read``, a day at a time; between two of them all else may be done."""
        step_ms, span = max(1, round(step_s * 1000)), (_ms(start), _ms(end))
        load = partial(columns.load, metric=metric, cis=cis, span=span, step_ms=step_ms)
        pending = [self._wanted(points, metric, cis, span) for points in self._pending]
        read: list[Points] = [join(pending).clean(step_ms)] if pending else []
        total = 0
        for day in sorted({file.day for file in self._files_in(start, end)}, reverse=True):
            # Listed anew: meanwhile some may have been put together. Thinned at once: what is left of a long history
            # fits into memory, all of it might not.
            files = _in_force(file for file in self._files_in(start, end) if file.day == day)
            parts = [points for file in files if (points := self._try(file, load)) is not None]
            read.append(join(parts).clean(step_ms))
            total += len(read[-1].times)
            if total > MAX_POINTS:
                log.warning("the metric history was read in part", metric=metric, points=total, since=day)
                break
            yield
        joined = join(read[::-1])
        return (joined.clean(step_ms) if pending else joined.by_series(step_ms)).samples()

    def _files_in(self, start: datetime, end: datetime) -> list[_File]:
        return [file for file in self._files() if start < file.end and file.start < end]

    @staticmethod
    def _wanted(points: Points, metric: str | None, cis: Collection[str] | None, span: tuple[int, int]) -> Points:
        wanted = {
            columns.identity(name)
            for name in points.names
            if metric in (None, name.metric) and (cis is None or name.ci in cis)
        }
        return points.of(wanted).between(*span)

    def metrics(self, since: datetime) -> Sequence[str]:
        since_ms = _ms(since) // _HOUR_MS * _HOUR_MS
        names = {
            points.names[place].metric
            for points in self._pending
            for place in np.unique(points.series[points.times >= since_ms]).tolist()
        }
        for file in self._files():
            if since < file.end:
                names.update(self._try(file, columns.metrics) or ())
        return sorted(names)

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.path.stat().st_size for file in self._files())

    def _files(self) -> list[_File]:
        found = []
        for folder in self._points.iterdir():
            if not (day := _FOLDER.fullmatch(folder.name)):
                continue
            for path in folder.iterdir():
                if named := _NAME.fullmatch(path.name):
                    start = datetime.fromisoformat(f"{day[1]}T{named['hour'] or '00'}:00:00+00:00")
                    whole = named["hour"] is None
                    end = start + (_DAY if whole else _HOUR)
                    found.append(_File(path, start, end, int(named["number"]), whole or named["all"] is not None))
        return found

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
        name = f"{file.path.parent.name.removeprefix('day=')}-{file.path.name}"
        log.error("a file of the metric history is damaged and was set aside", file=name, error=why)
        aside = self._folder / "damaged"
        try:
            aside.mkdir(exist_ok=True)
            file.path.replace(aside / name)
        except OSError as error:
            raise Unavailable(f"{file.path} is damaged and cannot be moved: {error}", hint="remove it") from error
        if len(self.damaged) < _MAX_DAMAGED:
            self.damaged[name] = why


def _in_force(files: Iterable[_File]) -> list[_File]:
    """Of the files of one day those that count, oldest first."""
    kept: list[_File] = []
    for file in sorted(files, key=lambda file: (not _is_day(file), file.start, file.number, not file.all)):
        # What stands for it lies before it: the file of the day, or the newest one of its hour that is put together.
        if not any(other.all and _covers(other, file) for other in kept):
            if file.all:
                kept = [other for other in kept if not _covers(file, other)]
            kept.append(file)
    return sorted(kept, key=lambda file: file.number)


def _covers(large: _File, small: _File) -> bool:
    return large.start <= small.start and small.end <= large.end and small.number <= large.number


def _is_day(file: _File) -> bool:
    return file.end - file.start == _DAY


def _spans(counts: Mapping[Identity, int]) -> Iterator[tuple[Identity, Identity]]:
    """Ranges of series, each with so many points as may be in memory at once."""
    names: list[Identity] = []
    held = 0
    for name in sorted(counts):
        if names and held + counts[name] > _TOGETHER:
            yield names[0], names[-1]
            names, held = [], 0
        names.append(name)
        held += counts[name]
    if names:
        yield names[0], names[-1]


def _finish(draft: Path) -> Path:
    """It gets its name, once all of it is on disk."""
    path = draft.with_name(draft.name.removeprefix("."))
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)
    return path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
