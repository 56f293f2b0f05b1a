"""What comes of TOPOLOGY records, one after the other: a whole version counts as it is, a delta where what it builds on
is in force. Everybody who reads such records asks here, the engine, whoever looks at a part of history, and whoever
writes a period down."""

from collections.abc import Container, Iterable
from enum import Enum, auto

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Record
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology, TopologyDelta
from foreshock.service.records import TopologyRecord


class Fit(Enum):
    """What a record is to the version in force. KNOWN: it was in force before, a record that came twice. STRANGE: it is
    a delta to another version: nobody knows what would come of it."""

    WHOLE = auto()
    NEXT = auto()
    KNOWN = auto()
    STRANGE = auto()


def fit(read: TopologyRecord, version: str, before: Container[str] = ()) -> Fit:
    """before: versions that were in force earlier, as far as that is remembered."""
    if read.delta is None:
        return Fit.WHOLE
    if read.version == version:
        return Fit.KNOWN
    if read.base == version:
        return Fit.NEXT
    return Fit.KNOWN if read.version in before else Fit.STRANGE


def after(topology: Topology, read: TopologyRecord) -> Topology:
    """What is in force after ``read``, without costs where it is whole; ``topology`` itself where that stays."""
    match fit(read, topology.version):
        case Fit.WHOLE:
            return Topology(read.cis, read.relationships, version=read.version)
        case Fit.NEXT if read.delta is not None:
            return topology.patched(read.delta, version=read.version)
        case _:
            return topology


class Fold:
    """Records of one topology as a single whole one. What cannot be put together is left out.

    Attributes:
        version: of what was read last; None where nothing was.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self._cis: dict[str, CI] = {}
        self._ties: dict[Relationship, None] = {}

    def read(self, read: TopologyRecord) -> None:
        match Fit.WHOLE if read.delta is None else fit(read, self.version) if self.version is not None else Fit.STRANGE:
            case Fit.WHOLE:
                self._cis, self._ties = {}, {}
                self.add(read.cis, read.relationships)
            case Fit.NEXT if read.delta is not None:
                self.put(read.delta)
            case _:
                return
        self.version = read.version

    def put(self, delta: TopologyDelta) -> None:
        """Whatever it builds on."""
        for id in delta.gone_cis:
            self._cis.pop(id, None)
        for tie in delta.gone_relationships:
            self._ties.pop(tie, None)
        self.add(delta.put_cis, delta.put_relationships)

    def add(self, cis: Iterable[CI], ties: Iterable[Relationship]) -> None:
        self._cis.update((ci.id, ci) for ci in cis)
        self._ties.update(dict.fromkeys(ties))

    def whole(self) -> TopologyRecord:
        return TopologyRecord(
            version=self.version or "", cis=tuple(self._cis.values()), relationships=tuple(self._ties)
        )


def folded(records: Iterable[Record]) -> list[Record]:
    """Records of one topology, oldest first, as the one that has the same outcome; none where there is no whole one
    among them."""
    found = list(records)
    if len(found) == 1 and is_whole(found[0]):
        return found
    fold = Fold()
    for record in found:
        fold.read(msgspec.json.decode(record.body, type=TopologyRecord))
    return [] if fold.version is None else [msgspec.structs.replace(found[-1], body=msgspec.json.encode(fold.whole()))]


class _Glance(Struct, frozen=True):
    delta: msgspec.Raw = msgspec.Raw()


def is_whole(record: Record) -> bool:
    """Without reading all of it."""
    return not bytes(msgspec.json.decode(record.body, type=_Glance).delta)


def standing_in(whole: TopologyRecord, first: TopologyRecord | None) -> TopologyRecord:
    """``whole`` in the place of a version that is forgotten, before ``first`` comes. It takes the name of what that
    builds on: so what changed since then is told in its time, and what comes of all of it is right."""
    if first is None or first.delta is None or first.version == whole.version:
        return whole
    return msgspec.structs.replace(whole, version=first.base)
