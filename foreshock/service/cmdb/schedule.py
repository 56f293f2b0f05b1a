"""Syncs that come round by themselves, each in a process of its own, and what comes of them.

A large reading takes the computing and the memory of a process that ends with it; the one that works on events goes on
undisturbed. What small files of this machine say is read here: starting a process would take longer.
"""

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from os import PRIO_PROCESS, setpriority

import msgspec
import structlog
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily, Metric

from foreshock.core.cmdb import CmdbPage, CmdbSource
from foreshock.core.contracts import Finding, NewRecord, RecordKind
from foreshock.core.errors import ConfigError, ForeshockError, Missing, Unavailable
from foreshock.service import metrics as gauges
from foreshock.service.cmdb.publish import Publisher
from foreshock.service.cmdb.run import CHANGED, REFUSED, UNCHANGED, Outcome, Sync, Wanted, asked, build, store_of
from foreshock.service.cmdb.status import CmdbStatus, SourceView, status, trouble, worries
from foreshock.service.inbox import Inbox
from foreshock.service.ourselves import CMDB_DENIED, CMDB_REFUSED, CMDB_STALE
from foreshock.service.records import OperatorRecord, Remark, TopologyRecord
from foreshock.service.runner import Runner
from foreshock.service.scheduler import Scheduler
from foreshock.service.settings import CMDB_FILE, Settings, SettingsSource, SourceInstance, source_kinds
from foreshock.service.worries import Worries
from foreshock.store.cmdb import CmdbStore
from foreshock.store.cmdb_applying import follows
from foreshock.store.journal import Journal

log = structlog.get_logger("cmdb")

_LOOK = timedelta(seconds=1)
"""How long it takes until what a person's own `foreshock cmdb sync` has put into the store is published."""
_WATCH = timedelta(seconds=30)
_REMOVED = timedelta(days=1)
_JITTER = 0.1
"""Part of its interval by which a source's time is shifted at random, so that not all are asked at once."""
_SMALL = 5000
"""Items and ties of a file that are put into the store here."""
_CONFIRM = timedelta(minutes=10)
_NICE = 10
_REFUSED = 4
"""Exit code of a sync that was refused: that is told by its outcome, and asking again would not help."""
_ERROR_CHARS = 2000
_STOP_S = 5.0


class Schedule:
    """Args:
    settings: those in force, asked each time. source: where they come from; None: from no file, and then syncs are
        done in this process.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        source: SettingsSource | None,
        runner: Runner,
        inbox: Inbox,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._source, self._runner, self._inbox, self._clock = settings, source, runner, inbox, clock
        self._journal = journal
        self._opened: CmdbStore | None = None
        self._opening = threading.Lock()
        self._scheduler: Scheduler | None = None
        self._publisher: Publisher | None = None
        self._jobs: dict[str, SourceInstance | None] = {}
        self._wanted: queue.SimpleQueue[tuple[str, Wanted] | None] = queue.SimpleQueue()
        self._queued: set[str] = set()
        self._logged: dict[str, str] = {}
        self._worker = threading.Thread(target=self._work, name="cmdb", daemon=True)
        self._one_at_a_time = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._publishing = threading.Lock()
        self._stopping = False
        self._worries = Worries((CMDB_DENIED, CMDB_REFUSED, CMDB_STALE), runner, inbox, "cmdb")
        self._seen: dict[str, tuple[str, str]] = {}
        """By local source what was asked, and the mark it gave then."""
        self.error = ""
        """Why the newest of a source is not in force; empty: all is."""

    # ---- life ----

    def first(self) -> None:
        """What files of this machine say, before anything else is worked on. Raises ConfigError where one of them has
        mistakes and no topology is known from before: a restart must not wait for a person after a power cut."""
        if not self._exists():
            return
        self._read_all_local(self._settings(), strictly=not self._published())

    def _read_all_local(self, settings: Settings, *, strictly: bool = False) -> None:
        rules = settings.identification
        for instance in settings.topology:
            if source_kinds()[instance.kind].local:
                try:  # other rules count at once, although the files say what they said
                    self._read_local(instance, settings, Wanted(full=not follows(self.store, rules)))
                except ForeshockError as error:
                    if strictly and isinstance(error, ConfigError):
                        raise
                    log.error("a CMDB source was not read", source=instance.name, error=str(error))
        self.publish()
        self._look()

    def as_of(self, moment: datetime) -> TopologyRecord | None:
        """The topology that held at ``moment``; None where that is not known."""
        found = self.store.as_of(moment) if self._exists() else None
        if found is None or not found.version:
            return None
        return TopologyRecord(version=found.version, cis=found.cis, relationships=found.relationships)

    def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._worker.start()
        self.use(self._settings())
        scheduler.every(_LOOK, "cmdb publish", self.publish)
        scheduler.every(_WATCH, "cmdb watch", self.watch)

    def check(self, settings: Settings) -> None:
        """Raises ConfigError where a source of settings that are to come into force cannot be used."""
        for instance in settings.topology:
            if instance not in self._settings().topology:
                found = build(instance)
                if source_kinds()[instance.kind].local:
                    found.page("", "")

    def use(self, settings: Settings) -> None:
        """The sources of these settings are asked from now on; those of this machine at once."""
        assert self._scheduler is not None
        instances: dict[str, SourceInstance | None] = {instance.name: instance for instance in settings.topology}
        if self._exists():
            instances.update(dict.fromkeys(set(self.store.source_names()) - instances.keys()))
        if self._jobs and not follows(self.store, settings.identification):
            for first in settings.topology[:1]:
                self._due(first.name)
        for name in set(self._jobs) - instances.keys():
            self._scheduler.drop(f"cmdb {name}")
        for name, instance in instances.items():
            if name in self._jobs and self._jobs[name] == instance:
                continue
            every = _REMOVED if instance is None else instance.config.model_dump()["every"]
            self._scheduler.every(every, f"cmdb {name}", partial(self._due, name), soon=True, jitter=_JITTER)
        self._jobs = instances

    def reload(self, settings: Settings) -> None:
        """As ``use``, and what files of this machine say is on its way to the engine when it returns."""
        if not self._exists():
            return
        self._read_all_local(settings)
        if self._scheduler is not None:
            self.use(settings)

    def stop(self) -> None:
        self._stopping = True
        self._wanted.put(None)
        child = self._child
        if child is not None:
            child.terminate()
        if self._worker.ident is not None:
            self._worker.join(_STOP_S)
        if self._opened is not None:
            self._opened.close()

    # ---- what people see ----

    def status(self) -> CmdbStatus:
        with self._runner.looking() as engine:
            in_force = engine.topology.version
        return status(self.store, self._settings().topology, self._clock(), in_force)

    def families(self) -> Iterator[Metric]:
        if not self._exists():
            return
        sources = self.status().sources
        for name, help, value in _GAUGES:
            rows = [((source.name,), value(source)) for source in sources if source.succeeded_at is not None]
            yield gauges.labelled(GaugeMetricFamily, name, help, ("source",), rows)
        for name, help, value in _TROUBLE:
            rows = [((source.name,), value(source)) for source in sources]
            yield gauges.labelled(GaugeMetricFamily, name, help, ("source",), rows)
        newest = self.store.newest()
        yield gauges.gauge("foreshock_cmdb_version", "Number of the newest version.", newest.number if newest else 0)
        yield gauges.gauge("foreshock_cmdb_store_bytes", "Bytes the CMDB store takes.", self.store.size())

    # ---- syncs ----

    def ask(self, name: str, wanted: Wanted, *, actor: str) -> list[str]:
        """Have a source read now, or all of them where no name is given; which. Raises Missing."""
        known = list(self._jobs)
        if name and name not in known:
            raise Missing(f"no CMDB source is called {name!r}", hint=f"there are: {', '.join(known) or 'none'}")
        names = [name] if name else known
        for each in names:
            allowed = f", {wanted.accept_retire} CIs may retire" if wanted.accept_retire else ""
            detail = ("everything" if wanted.full else "what changed") + allowed
            remark = Remark(kind="cmdb", subject=each, action="sync asked", detail=detail)
            self._append(OperatorRecord(remark=remark), actor)
            self._wanted.put((each, wanted))
        return names

    def forget(self, before: datetime) -> None:
        """Versions of the topology that were replaced before then."""
        if self._exists():
            self.store.forget(before)

    def now(self) -> datetime:
        return self._clock()

    def _due(self, name: str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            self._wanted.put((name, Wanted()))

    def _work(self) -> None:
        while (job := self._wanted.get()) is not None:
            name, wanted = job
            self._queued.discard(name)
            if self._stopping:
                return
            news = True
            try:
                news = self._sync(name, wanted)
            except ForeshockError as error:
                if str(error) != self._logged.get(name):
                    log.error("a CMDB source was not read", source=name, error=str(error))
                self._logged[name] = str(error)
            except Exception:
                log.exception("a CMDB source was not read", source=name)
            else:
                self._logged.pop(name, None)
            if news:
                with suppress(ForeshockError):
                    self.publish()
                    self._look()

    def _sync(self, name: str, wanted: Wanted) -> bool:
        """Whether there may be news."""
        instance = self._jobs.get(name)
        if instance is not None and source_kinds()[instance.kind].local:
            return self._read_local(instance, self._settings(), wanted)
        if self._source is None:
            self._run_here(self._settings(), name, wanted)
        else:
            self._run_apart(name, wanted)
        return True

    def _run_here(self, settings: Settings, name: str, wanted: Wanted, ready: CmdbSource | None = None) -> Outcome:
        with self._one_at_a_time:
            return self._sync_of(settings, name, ready).run(name, wanted)

    def _sync_of(self, settings: Settings, name: str, ready: CmdbSource | None) -> Sync:
        sources = {} if ready is None else {name: ready}
        return Sync(self.store, settings, clock=self._clock, sources=sources)

    def _run_apart(self, name: str, wanted: Wanted) -> None:
        """The command that a person types, at low priority; it ends when this process does."""
        assert self._source is not None
        command = [sys.executable, "-m", "foreshock.service.cli", "cmdb", "sync", name, "--tied", *_options(wanted)]
        command += self._source.options()
        with self._one_at_a_time:
            child = self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            with suppress(OSError):
                setpriority(PRIO_PROCESS, child.pid, _NICE)
            assert child.stderr is not None
            said = child.stderr.read().decode("utf-8", "replace").strip()
            code = child.wait()
            for pipe in (child.stdin, child.stderr):
                if pipe is not None:
                    pipe.close()
            self._child = None
        if code not in (0, _REFUSED) and not self._stopping:
            raise Unavailable(f"the sync of {name!r} ended with {code}: {said[-_ERROR_CHARS:]}")

    # ---- files of this machine ----

    def _read_local(self, instance: SourceInstance, settings: Settings, wanted: Wanted) -> bool:
        """Put what its files say into the store, if that is news; whether it was. Raises what the source raises."""
        name = instance.name
        try:
            page = build(instance).page("", "" if wanted.full or wanted.accept_retire else self._mark(instance))
        except ConfigError as error:
            state = self.store.source(name)
            if state is None or state.last is None or state.last.error != str(error):
                self._run_here(settings, name, wanted)  # which keeps the reason, and raises it
            raise
        news = bool(page.whole or page.items or page.ties)
        if news:
            if len(page.items) + len(page.ties) > _SMALL and self._source is not None:
                with self._one_at_a_time:  # large YAML takes seconds to read, and once is enough
                    self._sync_of(settings, name, Ready(page)).stage(name)
                self._run_apart(name, wanted)
            else:
                self._run_here(settings, name, wanted, Ready(page))
        else:
            self._confirm(name)
        self._seen[name] = asked(instance), page.mark
        return news

    def _mark(self, instance: SourceInstance) -> str:
        """Of the last reading, be it that it was refused: the same files would be again."""
        seen = self._seen.get(instance.name)
        if seen is not None:
            return seen[1] if seen[0] == asked(instance) else ""
        state = self.store.source(instance.name)
        return state.mark if state is not None and state.asked == asked(instance) else ""

    def _confirm(self, name: str) -> None:
        state, now = self.store.source(name), self._clock()
        if state is None or state.last is None or state.last.outcome not in (CHANGED, UNCHANGED):
            return
        if state.succeeded_at is not None and now - state.succeeded_at > _CONFIRM:
            self.store.confirm(name, now)

    # ---- what comes of it ----

    def publish(self) -> None:
        """The newest version becomes a record, if it is not what the engine has."""
        if not self._exists():
            return
        with self._publishing:
            if self._publisher is None:
                self._publisher = Publisher(self.store, self._runner, self._inbox, self._published())
            self._publisher.publish()

    def watch(self) -> None:
        """What a person must be told of the sources, and what is no longer so."""
        if not self._exists():
            return
        self._worries.settle(worries(self._look().sources))

    def _append(self, done: OperatorRecord, actor: str) -> None:
        body = msgspec.json.encode(done)
        self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="cmdb", actor=actor))

    def _look(self) -> CmdbStatus:
        found = self.status()
        self.error = trouble(found.sources)
        return found

    # ---- stores ----

    @property
    def store(self) -> CmdbStore:
        with self._opening:
            if self._opened is None:
                self._opened = store_of(self._settings())
            return self._opened

    def _exists(self) -> bool:
        """Whether there is anything to do with a CMDB store: most tests and many small installations have none."""
        return bool(
            self._opened is not None or self._settings().topology or (self._settings().state / CMDB_FILE).exists()
        )

    def _published(self) -> str:
        """The version that the newest TOPOLOGY record made; without one the one in force."""
        record = self._journal.newest(RecordKind.TOPOLOGY)
        if record is None:
            with self._runner.looking() as engine:
                return engine.topology.version
        return msgspec.json.decode(record.body, type=_Named).version


class _Named(Struct):
    """What is needed of a TOPOLOGY record."""

    version: str


class Ready:
    """A source that was asked already."""

    def __init__(self, page: CmdbPage) -> None:
        self._page = page

    def page(self, cursor: str, mark: str) -> CmdbPage:
        return self._page

    def check(self) -> Sequence[Finding]:
        return ()


def _options(wanted: Wanted) -> list[str]:
    options = ["--full"] if wanted.full else []
    return [*options, "--accept-retire", str(wanted.accept_retire)] if wanted.accept_retire else options


_GAUGES: tuple[tuple[str, str, Callable[[SourceView], float]], ...] = (
    (
        "foreshock_cmdb_last_success_timestamp_seconds",
        "When a CMDB source was last read without error.",
        lambda source: source.succeeded_at.timestamp() if source.succeeded_at is not None else 0.0,
    ),
    (
        "foreshock_cmdb_age_seconds",
        "How long ago a CMDB source was last read without error.",
        lambda source: source.age_s or 0.0,
    ),
    (
        "foreshock_cmdb_refused",
        "1 while what a CMDB source says is refused, because it would retire too much.",
        lambda source: float(source.outcome == REFUSED),
    ),
    ("foreshock_cmdb_items", "Objects that a CMDB source says.", lambda source: float(source.items)),
    ("foreshock_cmdb_ties", "Relationships that a CMDB source says.", lambda source: float(source.ties)),
    ("foreshock_cmdb_flaws", "Objects of a CMDB source that could not be read.", lambda source: float(source.flaws)),
)
_TROUBLE: tuple[tuple[str, str, Callable[[SourceView], float]], ...] = (
    (
        "foreshock_cmdb_failures",
        "Syncs of a CMDB source in a row that failed.",
        lambda source: float(source.failures),
    ),
    (
        "foreshock_cmdb_denied",
        "1 while a CMDB source refuses our credentials.",
        lambda source: float(source.denied),
    ),
)
"""Of those that were never read, too."""
