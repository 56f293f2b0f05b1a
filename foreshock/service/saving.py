"""Saves the engine's state in blocks that are only ever appended, a slice with each step: neither the engine nor the
intake waits for a whole checkpoint.

A checkpoint is what changed since the last one, encoded at one moment, written over the steps that follow, and in force
once its last block is on disk; until then the one before counts. Reading goes from the newest block to the oldest, and
what was said last of an item is what counts. So that old blocks can go, each checkpoint also says again a part of what
did not change: once all of it has been said (a sweep), no block from before the sweep is needed.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
import structlog
import zstandard
from msgspec import Struct

from foreshock.core.contracts import Block
from foreshock.service.engine import Engine

_BLOCK_ITEMS = 256
_SLICE_BLOCKS = 4
_PACE = 4
"""So many times as many items are written with a step as it has changed: saving keeps up with any storm, and one
checkpoint is never much larger than what one step changes."""
_LEAST_SWEPT, _MOST_SWEPT = 250, 500  # items said again with one checkpoint: within these, as many as changed
_LEAST_BYTES = 1 << 20  # written before a sweep is worth it
_ZSTD_LEVEL = 1
_MANY = ("alert", "situation")

log = structlog.get_logger("engine")

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[str, str, bytes | None]]).decode


class Slice(Struct, frozen=True):
    """What goes with one step.

    Attributes:
        blocks: to be appended.
        checkpoint: the position at which the state stands once these blocks are on disk; None while there are more.
        gone_before: blocks with a smaller number are needed no more.
    """

    blocks: tuple[Block, ...] = ()
    checkpoint: int | None = None
    gone_before: int = 0


_NOTHING = Slice()


class Saver:
    """Checkpoints of one engine, one at a time.

    When all is said again, the engine is asked for what there is of two kinds only, those of which there are many; of
    the others the keys are remembered here, so a new kind needs no word in this file.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._position = 0
        self._unsaved = 0  # changes of the engine when a slice was taken last
        self._left: deque[list[tuple[str, str, bytes | None]]] = deque()
        self._first, self._next = 1, 1  # numbers of the oldest block there is, and of the next one
        self._compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True).compress
        self._others: set[tuple[str, str]] = set()  # items of the kinds that are few
        self._sweep: Iterator[tuple[str, str]] | None = None
        self._swept_from = 0  # number of the sweep's first block
        self._swept = False  # with the checkpoint under way
        self._needless_before = 0  # what the last whole sweep has made needless
        self._state_bytes = self._written_bytes = self._swept_bytes = 0

    @property
    def busy(self) -> bool:
        """There are slices left to write."""
        return bool(self._left)

    def read(self, blocks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[str, str, bytes]]:
        """The items in force, of (number, body) of the blocks from the newest to the oldest."""
        unpack = zstandard.ZstdDecompressor().decompress
        seen: set[tuple[str, str]] = set()
        for number, body in blocks:
            self._first, self._next = number, max(self._next, number + 1)
            for kind, key, item in _unpack(unpack(body)):
                self._written_bytes += len(item or b"")
                if (kind, key) in seen:
                    continue
                seen.add((kind, key))
                if item is not None:
                    self._state_bytes += len(item)
                    if kind not in _MANY:
                        self._others.add((kind, key))
                    yield kind, key, item
        self._written_bytes -= self._state_bytes

    def begin(self, position: int) -> None:
        """Encode what has changed, and a part of the rest; the engine stands at ``position``."""
        assert not self._left, "a checkpoint is under way"
        if self._sweep is None and self._written_bytes > max(_LEAST_BYTES, self._state_bytes):
            self._sweep, self._swept_from = self._all(), self._next
            self._written_bytes = self._swept_bytes = 0
        again: dict[tuple[str, str], None] = {}
        if self._sweep is not None:
            most = min(max(_LEAST_SWEPT, self._engine.unsaved), _MOST_SWEPT)
            again = dict.fromkeys(islice(self._sweep, most))
            self._swept = len(again) < most
            self._engine.save_again(again)
        items = iter(self._engine.checkpoint())
        while block := list(islice(items, _BLOCK_ITEMS)):
            for kind, key, item in block:
                self._note(kind, key, item)
                if (kind, key) in again:
                    del again[kind, key]
                    self._swept_bytes += len(item or b"")
            self._left.append(block)
        if again:  # the only copy of these may be in an old block
            log.error("state was not said again when asked to; old blocks are kept", items=sorted(again)[:3])
            self._sweep, self._swept = None, False
        self._engine.saved()
        self._position, self._unsaved = position, 0

    def _note(self, kind: str, key: str, item: bytes | None) -> None:
        self._written_bytes += len(item or b"")
        if kind not in _MANY:
            (self._others.discard if item is None else self._others.add)((kind, key))

    def take(self) -> Slice:
        """The next slice, to be written with the next step, once."""
        changed, self._unsaved = self._engine.unsaved - self._unsaved, self._engine.unsaved
        most = max(_SLICE_BLOCKS, _PACE * changed // _BLOCK_ITEMS)
        numbers = range(self._next, self._next + min(most, len(self._left)))
        blocks = tuple(
            Block(number=number, position=self._position, body=self._compress(_pack(self._left.popleft())))
            for number in numbers
        )
        self._next += len(blocks)
        # A few at a time, and the oldest first: an item's end must not go before the item.
        if self._first < self._needless_before:
            self._first = min(self._first + max(_SLICE_BLOCKS, 2 * len(blocks)), self._needless_before)
        elif not blocks:
            return _NOTHING
        done = bool(blocks) and not self._left
        if done and self._swept:
            self._needless_before, self._sweep, self._swept = self._swept_from, None, False
            self._state_bytes = self._swept_bytes
        return Slice(blocks, self._position if done else None, self._first)

    def _all(self) -> Iterator[tuple[str, str]]:
        """All items there are now; those that come later are changes, which each checkpoint has anyway."""
        yield from sorted(self._others)
        engine = self._engine
        for kind, keys in zip(_MANY, (list(engine.alerts), list(engine.situations)), strict=True):
            for key in keys:
                yield kind, key
