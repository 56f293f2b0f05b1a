"""Collectors that ask: a job for each, samples to the metric history, events to the inbox, places in time kept."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog
from msgspec import Struct

from foreshock.core.contracts import Collector, NewRecord, Poller, RecordKind
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Malformed, Problem, Rejected
from foreshock.core.model import Samples
from foreshock.service.scheduler import Scheduler
from foreshock.service.settings import CollectorInstance

log = structlog.get_logger("polling")

_MAX_PAGES = 200
"""In one visit; the next goes on."""


_DENIED_S = 900.0
"""Credentials that were refused are not tried again sooner: some servers lock an account."""


class History(Protocol):
    """What keeps samples, and where each source goes on."""

    def append(self, source: str, samples: Iterable[Samples], cursor: str) -> None: ...

    def cursor(self, source: str) -> str: ...


class Polled(Struct, kw_only=True):
    """What one instance has brought since the start. items: series and events, one a page; points: of samples."""

    name: str
    kind: str
    title: str
    last_seen: datetime | None = None
    pages: int = 0
    items: int = 0
    points: int = 0
    rejected: int = 0
    last_error: str = ""


class Polling:
    """Args:
        append: puts a record into the inbox and returns once it is on disk.
    Raises: ConfigError with the problems of all instances.
    """

    def __init__(
        self,
        instances: Sequence[CollectorInstance],
        kinds: Mapping[str, Collector],
        history: History,
        append: Callable[[NewRecord], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._kinds, self._history, self._append, self._clock = kinds, history, append, clock
        self._instances = instances
        self._pollers: dict[str, Poller] = {}
        self.polled: dict[str, Polled] = {}
        self._refused: dict[str, tuple[datetime, ForeshockError]] = {}
        problems: list[Problem] = []
        for instance in instances:
            kind = kinds[instance.kind]
            if kind.poll is None:
                continue
            try:
                poller = kind.poll.build(instance.name, instance.config)
            except ConfigError as error:
                problems += error.problems
            else:
                if poller is not None:
                    self._pollers[instance.name] = poller
                    self.polled[instance.name] = Polled(name=instance.name, kind=kind.kind, title=kind.title)
        if problems:
            raise ConfigError(problems)

    def schedule(self, scheduler: Scheduler) -> None:
        for instance in self._instances:
            if instance.name not in self._pollers:
                continue
            every = instance.config.model_dump()["every"]
            scheduler.every(every, f"poll {instance.name}", partial(self.poll, instance.name), soon=True)

    def poll(self, name: str) -> None:
        """One visit. Raises what the source raises, also instead of a visit while it asked us to wait; and Rejected
        where something could not be read, after the rest was."""
        polled, poller = self.polled[name], self._pollers[name]
        refused = self._refused.get(name)
        if refused is not None and self._clock() < refused[0]:
            raise refused[1]
        self._refused.pop(name, None)
        problems: dict[str, None] = {}
        try:
            cursor = self._history.cursor(name)
            for _ in range(_MAX_PAGES):
                page = poller.fetch(cursor, self._clock())
                samples: list[Samples] = []
                for payload in page.payloads:
                    samples += self._read(polled, payload, problems)
                self._history.append(name, samples, page.cursor)
                cursor = page.cursor
                polled.pages += 1
                polled.points += sum(len(each.times) for each in samples)
                polled.last_seen = self._clock()
                problems |= dict.fromkeys(page.problems)
                if not page.more:
                    break
            if problems:
                raise Rejected("; ".join(problems))
        except ForeshockError as error:
            polled.last_error = str(error)[:500]
            wait_s = _DENIED_S if isinstance(error, Denied) else getattr(error, "retry_after_s", None)
            if wait_s:
                self._refused[name] = (self._clock() + timedelta(seconds=wait_s), error)
            raise
        polled.last_error = ""

    def _read(self, polled: Polled, payload: bytes, problems: dict[str, None]) -> list[Samples]:
        """Its samples. A payload with anything else is a record: the engine reads the rest of it there."""
        kind, now = self._kinds[polled.kind], self._clock()
        samples: list[Samples] = []
        decides = False
        try:
            items = kind.decode(payload)
        except Malformed as error:
            polled.rejected += 1
            problems[str(error)] = None
            return samples
        for item in items:
            try:
                if isinstance(item, Malformed):
                    raise item
                read = kind.translate(item, now)
                if isinstance(read, Samples):
                    samples.append(read)
                else:
                    decides = True
            except Malformed as error:
                polled.rejected += 1
                problems[str(error)] = None
        polled.items += len(items)
        if decides:
            record = NewRecord(
                kind=RecordKind.EVENTS, body=payload, collector=kind.kind, source=polled.name, items=len(items)
            )
            self._append(record)
        return samples
