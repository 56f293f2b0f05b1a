"""A log of points that are not in a Parquet file yet: one synced write each.

An entry is its length, its checksum (CRC-32) and that many bytes of MessagePack. A crash may leave the last one half
written: it was never acknowledged, and reading ends before it.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
from msgspec import Struct

from foreshock.core.model import Series
from foreshock.store.points import Points

_HEAD_BYTES = 8


class Entry(Struct, frozen=True, array_like=True):
    """One append. cursor: None where it stays as it was. series, times, values: bytes of the columns."""

    source: str
    cursor: str | None
    names: Sequence[Series]
    series: bytes
    times: bytes
    values: bytes

    @classmethod
    def of(cls, source: str, cursor: str | None, points: Points) -> Self:
        series = points.series.astype(np.int32)
        return cls(source, cursor, points.names, series.tobytes(), points.times.tobytes(), points.values.tobytes())

    def points(self) -> Points:
        series = np.frombuffer(self.series, dtype=np.int32).astype(np.int64)
        return Points(self.names, series, np.frombuffer(self.times, dtype=np.int64), np.frombuffer(self.values))


class PointsLog:
    """The log in ``path``. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = 0

    def entries(self) -> Iterator[Entry]:
        """Those that are whole, oldest first; what is behind them is cut off by the next ``add``."""
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        self._end = 0
        while len(head := content[self._end : self._end + _HEAD_BYTES]) == _HEAD_BYTES:
            length, checksum = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
            body = content[self._end + _HEAD_BYTES : self._end + _HEAD_BYTES + length]
            if len(body) < length or zlib.crc32(body) != checksum:
                return
            self._end += _HEAD_BYTES + length
            yield _DECODER.decode(body)

    def add(self, entry: Entry) -> None:
        """On disk when it returns. After an error the log is as before."""
        body = msgspec.msgpack.encode(entry)
        whole = memoryview(len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body)
        at = self._end
        while whole:
            written = os.pwrite(self._file, whole, at)
            at, whole = at + written, whole[written:]
        os.fdatasync(self._file)
        self._end = at

    def clear(self) -> None:
        os.ftruncate(self._file, 0)
        os.fdatasync(self._file)
        self._end = 0


_DECODER = msgspec.msgpack.Decoder(Entry)
