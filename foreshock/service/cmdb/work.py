"""Planned work as the systems hold it: change requests become evidence for causes once they begin, and, where a person
wants that, maintenance windows while they last.

A source that cannot be asked leaves all as it is: what was planned stays planned.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from foreshock.core.cmdb import PlannedWork, WorkConfig, WorkSource, WorkState, WorkUse
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.core.model import MaintenanceWindow, Span
from foreshock.service.settings import SourceInstance

BEHIND, AHEAD = timedelta(days=1), timedelta(days=14)
"""What is read: work that ends later than ``BEHIND`` ago and begins before ``AHEAD``."""
MAX_WORK = 1000
"""Of one source at a time; what begins first is kept."""
_MAX_CIS, _MAX_TITLE, _MAX_ID = 100, 500, 200
_AT_ONCE = 1000

log = structlog.get_logger("cmdb")


class Windows(Protocol):
    """What keeps maintenance windows (``service.quiet``)."""

    def keep(self, wanted: Sequence[MaintenanceWindow], *, actor: str, origin: str = ...) -> bool: ...


class Plans:
    """What one source plans, taken over each time ``run`` is called. What is no longer read of it was called off, or is
    over.

    Args:
        name: of the source. append: puts a record into the inbox and returns once it is on disk.
    """

    def __init__(
        self,
        name: str,
        source: WorkSource,
        use: WorkUse,
        *,
        windows: Windows,
        append: Callable[[NewRecord], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._name, self._source, self._use = name, source, use
        self._windows, self._append, self._clock = windows, append, clock
        self._told: Mapping[str, Mapping[str, object]] = {}  # since the start: telling a change again is harmless

    def run(self) -> None:
        """Raises what the source raises."""
        now = self._clock()
        found = sorted(self._source.work(now - BEHIND, now + AHEAD), key=lambda one: (one.starts_at, one.id))
        if len(found) > MAX_WORK:
            log.warning("more planned work than is taken", source=self._name, found=len(found), taken=MAX_WORK)
            found = found[:MAX_WORK]
        self._tell(changes(self._name, found, now))
        wanted = windows(self._name, found, now) if self._use is WorkUse.QUIET else []
        self._windows.keep(wanted, actor=self._name, origin=f"source {self._name}")

    def _tell(self, begun: Mapping[str, Mapping[str, object]]) -> None:
        news = [change for id, change in begun.items() if self._told.get(id) != change]
        for start in range(0, len(news), _AT_ONCE):
            part = news[start : start + _AT_ONCE]
            body = msgspec.json.encode(part)
            self._append(
                NewRecord(
                    kind=RecordKind.EVENTS, collector="changes", source=self._name, actor="", body=body, items=len(part)
                )
            )
        self._told = begun


class AllPlans:
    """Of all sources that plan work, each as often as its settings say.

    Args:
        build: the plans of one instance.
    """

    def __init__(self, build: Callable[[SourceInstance], Plans], clock: Callable[[], datetime]) -> None:
        self._build, self._clock = build, clock
        self._plans: dict[str, tuple[SourceInstance, Plans]] = {}
        self._due: dict[str, datetime] = {}

    def run(self, instances: Sequence[SourceInstance]) -> None:
        """Raises Unavailable naming every source that could not be asked; the others were."""
        now, failures = self._clock(), []
        for instance in instances:
            config = instance.config
            if not isinstance(config, WorkConfig) or config.changes is WorkUse.OFF:
                continue
            known = self._plans.get(instance.name)
            if known is None or known[0] != instance:
                known = self._plans[instance.name] = (instance, self._build(instance))
            elif self._due[instance.name] > now:
                continue
            self._due[instance.name] = now + config.every
            try:
                known[1].run()
            except ForeshockError as error:
                failures.append(f"{instance.name}: {error}")
        if failures:
            raise Unavailable(f"planned work was not read: {'; '.join(failures)}")


def changes(source: str, work: Iterable[PlannedWork], now: datetime) -> dict[str, dict[str, object]]:
    """What has begun, by its id, as the ``changes`` collector reads it."""
    found = {}
    for one in work:
        began = one.began_at or one.starts_at
        if one.state in (WorkState.RUNNING, WorkState.DONE) and one.cis and began <= now:
            id = f"{source}/{one.id}"[:_MAX_ID]
            found[id] = {
                "id": id,
                "cis": [name[:_MAX_TITLE] for name in one.cis[:_MAX_CIS]],
                "title": f"{one.id} {one.title}"[:_MAX_TITLE],
                "at": began,
                "actor": one.owner[:_MAX_TITLE],
                "url": one.url[:_MAX_TITLE],
            }
    return found


def windows(source: str, work: Iterable[PlannedWork], now: datetime) -> list[MaintenanceWindow]:
    """The maintenance windows of what lies ahead or is going on. Work that ended early is quiet no longer; work that
    takes longer than planned is quiet no longer either: that is when somebody should be called."""
    found = []
    for one in work:
        ends_at = one.ends_at if one.ended_at is None else min(one.ends_at, one.ended_at)
        over = one.state in (WorkState.DONE, WorkState.CANCELLED) or ends_at <= now
        if over or one.starts_at >= ends_at or not (one.cis or one.services):
            continue
        found.append(
            MaintenanceWindow(
                id=f"{source}-{one.id}",
                title=one.title[:_MAX_TITLE] or one.id,
                owner=one.owner or source,
                comment=f"{one.id} in {source}" + (f": {one.url}" if one.url else ""),
                spans=(Span(starts_at=one.starts_at, ends_at=ends_at),),
                cis=one.cis,
                services=one.services,
                origin=f"source {source}",
                updated_at=now,
            )
        )
    return found
