"""Texts that are kept for long and hardly ever read, made small: most of them say what others say, but for a name and a
number.

Like interned strings this is of the process, not of any state: a packed text is for memory only and never leaves it.
"""

import threading
from collections import deque

import zstandard

_AFTER = (64, 1_000, 20_000)
"""After so many texts the newest of them are what others are compared with from there on. The first ones may all be of
one kind; three times is enough for what remains to be of little weight."""
_NEWEST = 128
_LEAST_BYTES = 80
_MOST_BYTES = 64 * 1024
_LEVEL = 1


class Packing:
    """Packs JSON objects; what packing does not make smaller stays as it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # neither half of zstandard may be used by two threads at once
        self._count = 0
        self._newest: deque[bytes] = deque(maxlen=_NEWEST)
        self._halves: list[tuple[zstandard.ZstdCompressor, zstandard.ZstdDecompressor]] = []

    def pack(self, text: bytes) -> bytes:
        if len(text) < _LEAST_BYTES:
            return text
        with self._lock:
            self._learn(text)
            if not self._halves:
                return text
            number = len(self._halves) - 1
            packed = bytes((number,)) + self._halves[number][0].compress(text)
        return packed if len(packed) < len(text) else text

    def unpack(self, packed: bytes) -> bytes:
        """What was given to ``pack``. A packed text begins with a small number, a JSON object with a brace."""
        number = packed[0]
        if number >= len(_AFTER):
            return packed
        with self._lock:
            return self._halves[number][1].decompress(packed[1:])

    def _learn(self, text: bytes) -> None:
        if len(self._halves) == len(_AFTER):
            return
        self._count += 1
        self._newest.append(text)
        if self._count < _AFTER[len(self._halves)]:
            return
        known = zstandard.ZstdCompressionDict(
            b"".join(self._newest)[-_MOST_BYTES:], dict_type=zstandard.DICT_TYPE_RAWCONTENT
        )
        known.precompute_compress(level=_LEVEL)
        self._halves.append(
            (
                zstandard.ZstdCompressor(level=_LEVEL, dict_data=known, write_checksum=False),
                zstandard.ZstdDecompressor(dict_data=known),
            )
        )


_OURS = Packing()
pack, unpack = _OURS.pack, _OURS.unpack
