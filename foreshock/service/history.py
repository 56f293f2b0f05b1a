"""What has begun when, and where: read out of records and of situations that are over, for training."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from correlation.bind import bind
from correlation.settings import BindSettings
from foreshock.core.contracts import Collector, Record, RecordKind, Snapshot
from foreshock.core.errors import Malformed
from foreshock.core.learned import Occurrence, class_of
from foreshock.core.model import Ended, Event, read_labels
from foreshock.core.topology import Topology
from foreshock.service import topologies
from foreshock.service.recorded import Input
from foreshock.service.records import TopologyRecord


def of_situation(ended: Ended) -> Iterator[Occurrence]:
    """The last occurrence of each alert of a situation that is over."""
    for alert in ended.alerts:
        yield Occurrence(alert.starts_at.timestamp(), class_of(alert.read_labels()), alert.ci)


class Recorded:
    """Occurrences of recorded input, in its order.

    Attributes:
        topology: the one given, or the newest that the input has brought so far.
    """

    def __init__(self, collectors: Mapping[str, Collector], settings: BindSettings, given: Snapshot | None) -> None:
        self._collectors, self._settings, self._given = collectors, settings, given is not None
        self.topology = Topology(given.cis, given.relationships, version=given.version) if given else Topology()
        self._bound: dict[tuple[str, str, bytes], tuple[str, str]] = {}
        self._began: dict[bytes, datetime] = {}

    def occurrences(self, inputs: Iterable[Input]) -> Iterator[Occurrence]:
        """One for each new onset that an alert reports; what cannot be read is passed over, as the engine does."""
        for given in inputs:
            record = given.record
            if record.kind is RecordKind.TOPOLOGY and not self._given:
                read = msgspec.json.decode(record.body, type=TopologyRecord)
                self.topology, self._bound = topologies.after(self.topology, read), {}
            elif record.kind is RecordKind.EVENTS and record.collector in self._collectors:
                yield from self._of_events(record)

    def _of_events(self, record: Record) -> Iterator[Occurrence]:
        collector, at = self._collectors[record.collector], record.at
        try:
            items = collector.decode(record.body)
        except Malformed:
            return
        for item in items:
            try:
                event = None if isinstance(item, Malformed) else collector.translate(item, at)
                if not isinstance(event, Event) or (event.ends_at is not None and event.ends_at <= at):
                    continue
                labels, onset = bytes(event.labels), event.starts_at or at
                if self._began.get(labels) != onset:
                    self._began[labels] = onset
                    yield Occurrence(onset.timestamp(), *self._bind(labels, record))
            except Malformed:
                continue

    def _bind(self, labels: bytes, record: Record) -> tuple[str, str]:
        key = (record.collector, record.source, labels)
        found = self._bound.get(key)
        if found is None:
            read = read_labels(labels)
            ci = bind(read, self.topology, self._settings, record.collector, record.source).ci
            found = self._bound[key] = class_of(read), ci
        return found
