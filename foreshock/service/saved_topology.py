"""How a topology is saved: in shards, and beside them the deltas that came since these were written. So what a delta
costs in a checkpoint is what it holds, not what there is."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology, TopologyDelta
from foreshock.service.records import TopologyRecord
from foreshock.service.topologies import Fold

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_SHARDS = 64
_SHARD, _DELTA, _WHOLE = "shard-", "delta-", ""
"""How keys begin. A shard holds what is in force when it is written, deltas included that are saved, too: to read those
again changes nothing. ``_WHOLE``: all of it in one piece, as earlier versions of Foreshock saved it."""
_LEAST, _SHARE = 2_000, 1 / 8
"""Deltas are kept until they hold so much, and so large a part of what there is; then all shards are written anew."""

_Shard = tuple[list[CI], list[Relationship]]
_SHARD_KEYS = tuple(f"{_SHARD}{number:02}" for number in range(_SHARDS))

_encode = msgspec.msgpack.Encoder().encode


class SavedTopology:
    """Of one engine; what is to be saved is noted in ``Engine.dirty``, like everything else."""

    def __init__(self) -> None:
        self.deltas: dict[str, TopologyDelta] = {}
        self._size = 0

    def all_changed(self, engine: "Engine") -> None:
        engine.dirty.update(("topology", key) for key in (*_SHARD_KEYS, *self.deltas))
        self.deltas, self._size = {}, 0

    def changed(self, engine: "Engine", delta: TopologyDelta) -> None:
        """The topology of ``engine`` has it in already."""
        size = self._size + _size(delta)
        if size > max(_LEAST, _SHARE * (len(engine.topology.cis) + len(engine.topology.relationships))):
            self.all_changed(engine)
            return
        key = f"{_DELTA}{len(self.deltas):06}"
        self.deltas[key], self._size = delta, size
        engine.dirty.add(("topology", key))

    def pieces(self, topology: Topology, keys: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """What is to be saved under each of ``keys``; None where nothing is there any more."""
        shards = _shards(topology) if any(key.startswith(_SHARD) for key in keys) else {}
        for key in keys:
            saved = self.deltas.get(key) or shards.get(key)
            yield key, None if saved is None else _encode(saved)

    def restore(self, engine: "Engine", items: Iterable[tuple[str, bytes]]) -> TopologyRecord:
        """What was saved, in any order. Its version is that of the last whole record in one piece, if there is any."""
        fold = Fold()
        read_shard = msgspec.msgpack.Decoder(_Shard).decode
        for key, body in sorted(items, key=lambda item: (item[0].startswith(_DELTA), item[0])):
            if key == _WHOLE:
                fold.read(msgspec.msgpack.decode(body, type=TopologyRecord))
                engine.dirty.update(("topology", each) for each in (_WHOLE, *_SHARD_KEYS))
            elif key.startswith(_SHARD):
                cis, ties = read_shard(body)
                fold.add(cis, ties)
            else:
                delta = self.deltas[key] = msgspec.msgpack.decode(body, type=TopologyDelta)
                self._size += _size(delta)
                fold.put(delta)
        return fold.whole()


def _size(delta: TopologyDelta) -> int:
    return sum(map(len, (delta.put_cis, delta.gone_cis, delta.put_relationships, delta.gone_relationships)))


def _shards(topology: Topology) -> dict[str, _Shard]:
    """Relationships are with their source."""
    found: dict[str, _Shard] = {}
    places: dict[str, _Shard] = {}

    def place(id: str) -> _Shard:
        key = _SHARD_KEYS[crc32(id.encode()) % _SHARDS]
        return places.setdefault(id, found.setdefault(key, ([], [])))

    for ci in topology.cis.values():
        place(ci.id)[0].append(ci)
    for tie in topology.relationships:
        (places.get(tie.source) or place(tie.source))[1].append(tie)
    return found
