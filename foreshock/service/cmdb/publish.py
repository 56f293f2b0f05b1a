"""The way of a version of the topology from the CMDB store into the engine: as a record, like all that decides."""

import msgspec

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.service.inbox import Inbox
from foreshock.service.records import TopologyRecord
from foreshock.service.runner import Runner
from foreshock.store.cmdb import CmdbStore, Version


class Publisher:
    """Args: published: name of the version that the newest TOPOLOGY record made; empty where there is none."""

    def __init__(self, store: CmdbStore, runner: Runner, inbox: Inbox, published: str) -> None:
        self._store, self._runner, self._inbox = store, runner, inbox
        self._published, self._number = published, 0

    def publish(self) -> bool:
        """Append what differs between the newest version and the one that the records made; whether anything does.

        All of it where the store does not know the one before, or the engine did not take what was appended."""
        newest = self._store.newest()
        if newest is None:
            return False
        taken = self._taken()
        if newest.name == self._published and taken:
            return False
        before = self._store.version(self._published) if taken and self._published else None
        body = msgspec.json.encode(self._record(before, newest))
        record = NewRecord(kind=RecordKind.TOPOLOGY, body=body, source="topology", actor="foreshock")
        self._number = self._inbox.append_now(record)
        self._published = newest.name
        return True

    def _taken(self) -> bool:
        """Whether the engine has what was appended last, or has not come to it yet."""
        if not self._number or self._runner.position < self._number:
            return True
        with self._runner.looking() as engine:
            return engine.topology.version == self._published

    def _record(self, before: Version | None, newest: Version) -> TopologyRecord:
        if before is not None:
            delta = self._store.between(before.number, newest.number)
            return TopologyRecord(version=newest.name, base=before.name, delta=delta)
        found = self._store.whole(newest.number)
        return TopologyRecord(version=newest.name, cis=found.cis, relationships=found.relationships)
