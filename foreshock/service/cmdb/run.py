"""One sync of one CMDB source: its pages are read and staged one by one, and put into force all together or not at all.

It survives being killed anywhere: what was staged is gone on with, and nothing half read was ever seen by anybody.
"""

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct

from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbPage, CmdbParts, CmdbSource, Expired
from foreshock.core.contracts import Snapshot
from foreshock.core.errors import ConfigError, Denied, Fenced, ForeshockError, Missing, Rejected, Unavailable
from foreshock.core.topology import TopologyDelta
from foreshock.service.settings import Settings, SourceInstance, source_kinds
from foreshock.store.cmdb import GIVEN_UP, CmdbStore, Counts, Lease, Reading
from foreshock.store.cmdb_applying import Guard, Refused, cleaned, put

log = structlog.get_logger("cmdb")

CHANGED, UNCHANGED, REFUSED, FAILED = "changed", "unchanged", "refused", "failed"

MAX_PAGES = 20_000
"""Of one reading, a thousand objects or so each: a source that says more never ends."""
_LEASE = timedelta(minutes=5)
_RESUMES = timedelta(hours=1)
"""A reading that was interrupted longer ago is begun anew: what it has read is too old."""
_ATTEMPTS = 6
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_MOST_PATIENCE_S = 900.0
"""A system that asks for a longer rest is asked again at the next sync, which goes on where this one was."""
_SLEEP_S = 60.0
_REMOVED_SHARE = 0.1
"""As ``max_retire`` is by default: a source that is removed has no settings."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a person, or the schedule, asks for.

    Attributes:
        full: everything, not only what changed. dry_run: nothing is put into force.
        accept_retire: so many CIs may go, whatever ``max_retire`` says.
    """

    full: bool = False
    dry_run: bool = False
    accept_retire: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """How a sync went.

    Attributes:
        outcome: changed, unchanged or refused. version: name of the new version of the topology; empty: as before.
        delta: what differs, of a dry run.
    """

    source: str
    outcome: str
    full: bool = False
    counts: Counts = msgspec.field(default_factory=Counts)
    version: str = ""
    error: str = ""
    delta: TopologyDelta | None = None


class Progress(Protocol):
    def __call__(self, source: str, done: int, expected: int, waiting: str) -> None:
        """So many items and ties were read of about ``expected``, which is 0 where nobody knows. waiting: why nothing
        goes on now; empty: it does."""


class Sync:
    """Syncs of the sources of some settings.

    Args:
        sources: by name what to ask in place of what the settings say: one that was asked already, or of a test.
    """

    def __init__(
        self,
        store: CmdbStore,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
        progress: Progress = lambda source, done, expected, waiting: None,
        sources: Mapping[str, CmdbSource] | None = None,
    ) -> None:
        self._store, self._clock, self._sleep, self._progress = store, clock, sleep, progress
        self._instances = {instance.name: instance for instance in settings.topology}
        self._sources = sources or {}
        self.rules = settings.identification

    def run(self, name: str, wanted: Wanted = Wanted()) -> Outcome:  # noqa: B008 (frozen)
        """Raises Missing where nothing is called that, Held where another process reads it, and what a source raises;
        a refusal is an outcome."""
        known = self._store.source(name)
        if name not in self._instances and known is None:
            hint = f"there are: {', '.join(self._instances) or 'none'}"
            raise Missing(f"no CMDB source is called {name!r}", hint=hint)
        lease = self._lease(name)
        try:
            if name not in self._instances:
                return self._remove(lease, wanted)
            return _Run(self, lease, self._instances[name], wanted).run()
        finally:
            self._store.give_back(lease)

    def stage(self, name: str) -> None:
        """Read all of a source of the settings; the next sync goes on from there. Raises as ``run``."""
        lease = self._lease(name)
        try:
            _Run(self, lease, self._instances[name], Wanted(full=True)).stage()
        finally:
            self._store.give_back(lease)

    def _lease(self, name: str) -> Lease:
        kind = self._instances[name].kind if name in self._instances else ""
        gone = is_gone(self._store.holder_of(name))
        return self._store.lease(name, kind, holder(), self._clock(), _LEASE, gone=gone)

    def source(self, instance: SourceInstance) -> CmdbSource:
        """Raises ConfigError."""
        found = self._sources.get(instance.name)
        return found if found is not None else build(instance)

    def _remove(self, lease: Lease, wanted: Wanted) -> Outcome:
        """A source that the settings do not name any more."""
        now = self._clock()
        reading = self._store.begin(lease, full=True, asked="", mark="", now=now)
        guard = Guard(share=_REMOVED_SHARE, accepted=wanted.accept_retire)
        try:
            done = put(
                self._store, lease, reading, whole=True, mark="", rules=self.rules, guard=guard, now=now,
                keep=not wanted.dry_run, removed=True,
            )  # fmt: skip
        except Refused as refused:
            error = f"{lease.name!r} is no longer in the settings: {refused}"
            self._store.end(lease, reading.number, now, REFUSED, error=error, counts=refused.counts)
            return Outcome(source=lease.name, outcome=REFUSED, counts=refused.counts, error=error)
        outcome = CHANGED if done.version else UNCHANGED
        return Outcome(
            source=lease.name, outcome=outcome, full=True, counts=done.counts, version=done.version, delta=done.delta
        )


class _Run:
    """One sync, from the lease to the end."""

    def __init__(self, sync: Sync, lease: Lease, instance: SourceInstance, wanted: Wanted) -> None:
        self._sync, self._lease, self._instance, self._wanted = sync, lease, instance, wanted
        self._store, self._clock = sync._store, sync._clock
        self._asked = asked(instance)

    def run(self) -> Outcome:
        reading = self._begun()
        try:
            source = self._sync.source(self._instance)
            try:
                reading = self._read(source, reading)
            except Expired:
                if not reading.mark and not reading.pages:
                    raise
                log.info("a CMDB source knows the place no more, everything is read", source=self._lease.name)
                reading = self._read(source, self._begin(full=True))
        except Fenced:
            raise
        except Unavailable as error:
            kept = self._store.reading(reading.number)
            self._failed(reading, error, goes_on=kept is not None and kept.pages > 0)
            raise
        except Exception as error:
            self._failed(reading, error)
            raise
        return self._put(reading)

    def stage(self) -> None:
        self._read(self._sync.source(self._instance), self._begin(full=True))

    def _failed(self, reading: Reading, error: Exception, *, goes_on: bool = False) -> None:
        self._store.failed(
            self._lease, reading.number, self._clock(), FAILED, _said(error),
            denied=isinstance(error, Denied), goes_on=goes_on and not self._wanted.dry_run,
        )  # fmt: skip

    # ---- reading ----

    def _begun(self) -> Reading:
        """The reading that was interrupted, or a new one."""
        state = self._store.source(self._lease.name)
        assert state is not None
        left = state.going_on
        fresh = left is not None and self._clock() - left.began_at < _RESUMES
        if left is not None and fresh and left.asked == self._asked and (left.full or not self._wanted.full):
            return left
        config = self._instance.config.model_dump()
        full_due = state.full_at is None or self._clock() - state.full_at >= config["full_every"]
        full = self._wanted.full or not state.mark or state.asked != self._asked
        is_local = source_kinds()[self._instance.kind].local
        return self._begin(full=full or (full_due and not is_local), mark=state.mark)

    def _begin(self, *, full: bool, mark: str = "") -> Reading:
        return self._store.begin(
            self._lease, full=full, asked=self._asked, mark="" if full else mark, now=self._clock()
        )

    def _read(self, source: CmdbSource, reading: Reading) -> Reading:
        """Until the last page. Raises Rejected for a source that never ends."""
        counts, seen = reading.counts, {reading.cursor}
        while not reading.pages or reading.cursor:
            page = cleaned(self._page(source, reading))
            counts.items += len(page.items)
            counts.ties += len(page.ties)
            counts.gone += len(page.gone) + len(page.gone_ties)
            counts.flaws += len(page.flaws)
            counts.expected = page.expected or counts.expected
            counts.problems = tuple(dict.fromkeys((*counts.problems, *page.problems)))
            if page.next in seen and page.next:
                raise Rejected(
                    f"{self._lease.name!r} goes in circles: after page {reading.pages + 1} comes a page that was there",
                    hint="this is a fault of the source; report it",
                )
            if reading.pages >= MAX_PAGES and page.next:
                raise Rejected(
                    f"{self._lease.name!r} does not end: {MAX_PAGES} pages were read",
                    hint="let it say less: see its settings for filters",
                )
            seen.add(page.next)
            now = self._clock()
            reading = self._store.stage(self._lease, reading, page, counts, now=now, until=now + _LEASE)
            self._sync._progress(self._lease.name, counts.items + counts.ties, counts.expected, "")
        return reading

    def _page(self, source: CmdbSource, reading: Reading) -> CmdbPage:
        """Asked for again while the other side cannot answer, with longer and longer rests between."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return source.page(reading.cursor, reading.mark)
            except Unavailable as error:
                wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1))
                wait_s = max(wait_s, error.retry_after_s or 0.0)
                if isinstance(error.__cause__, ConfigError) or attempt == _ATTEMPTS or wait_s > _MOST_PATIENCE_S:
                    raise
                self._rest(wait_s, reading, str(error))
        raise AssertionError("unreachable")

    def _rest(self, wait_s: float, reading: Reading, why: str) -> None:
        counts = reading.counts
        while wait_s > 0:
            now = self._clock()
            self._sync._progress(
                self._lease.name, counts.items + counts.ties, counts.expected, f"{wait_s:.0f} s: {why}"
            )
            self._store.prolong(self._lease, now, _LEASE)
            self._sync._sleep(min(wait_s, _SLEEP_S))
            wait_s -= _SLEEP_S

    # ---- putting it into force ----

    def _put(self, reading: Reading) -> Outcome:
        last = self._store.last_page(reading.number)
        assert last is not None
        now, counts, name = self._clock(), reading.counts, self._lease.name
        self._sync._progress(name, counts.items + counts.ties, counts.items + counts.ties, "putting it into force")
        config = self._instance.config.model_dump()
        guard = Guard(share=config["max_retire"], accepted=self._wanted.accept_retire)
        self._store.prolong(self._lease, now, _LEASE * 6)
        try:
            done = put(
                self._store, self._lease, reading, whole=last.whole, mark=last.mark, rules=self._sync.rules,
                guard=guard, now=now, keep=not self._wanted.dry_run,
            )  # fmt: skip
        except Refused as refused:
            refused.counts.expected, refused.counts.problems = counts.expected, counts.problems
            self._store.end(
                self._lease, reading.number, now, GIVEN_UP if self._wanted.dry_run else REFUSED,
                error=str(refused), counts=refused.counts,
            )  # fmt: skip
            return Outcome(source=name, outcome=REFUSED, full=last.whole, counts=refused.counts, error=str(refused))
        except ForeshockError as error:
            self._failed(reading, error)
            raise
        changed = bool(done.delta) if self._wanted.dry_run else bool(done.version)
        return Outcome(
            source=name,
            outcome=CHANGED if changed else UNCHANGED,
            full=last.whole,
            counts=done.counts,
            version=done.version,
            delta=done.delta,
        )


# ---- parts ----------------------------------------------------------------------------------------------------------


def build(instance: SourceInstance) -> CmdbSource:
    """Raises ConfigError."""
    return source_kinds()[instance.kind].build(instance.name, instance.config, CmdbParts(http=Http))


def store_of(settings: Settings, *, writing: bool = True) -> CmdbStore:
    return CmdbStore(settings.cmdb_url, writing=writing)


def read_once(settings: Settings, clock: Callable[[], datetime]) -> Snapshot:
    """The topology of these sources, where there is no store yet. Raises what a source raises."""
    with tempfile.TemporaryDirectory() as folder:
        store = CmdbStore(f"sqlite:///{folder}/cmdb.db")
        try:
            sync = Sync(store, settings, clock=clock)
            for instance in settings.topology:
                sync.run(instance.name)
            return store.as_of(clock())
        finally:
            store.close()


def asked(instance: SourceInstance) -> str:
    """Equal while a source is asked for the same things; how often, and what may retire, is not part of it."""
    content = instance.config.model_dump_json(exclude={"every", "full_every", "max_retire"})
    return blake2b(f"{instance.kind} {content}".encode(), digest_size=8).hexdigest()


def unread(store: CmdbStore, instances: Iterable[SourceInstance]) -> list[str]:
    """Sources that the settings do not name any more, and still have a part in the topology."""
    names = {instance.name for instance in instances}
    return [name for name in store.source_names() if name not in names]


def holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def is_gone(holder: str) -> bool:
    """Whether a process of this machine that had a lease is no more; of one elsewhere only time can tell."""
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdigit():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ForeshockError) else f"{type(error).__name__}: {error}"
