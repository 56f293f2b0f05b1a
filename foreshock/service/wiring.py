"""Introduces the parts to each other: the one place that knows them all."""

import dataclasses
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from correlation.problem import ProblemRecord
from foreshock import __version__
from foreshock.connect.auth import read_secret
from foreshock.connect.calls import Made
from foreshock.connect.http import CALL_S, Http
from foreshock.core.cmdb import WorkConfig, WorkSource
from foreshock.core.contracts import (
    Collector,
    KnownErrorSink,
    NewRecord,
    Receipt,
    RecordKind,
    RemoteSinkConfig,
    Sink,
    TicketChange,
)
from foreshock.core.errors import ConfigError, ForeshockError, Unavailable
from foreshock.service import engine_metrics, logs, memory, problems, source_health
from foreshock.service import metrics as gauges
from foreshock.service.access import Guarded
from foreshock.service.alertmanager_api import alertmanager_api
from foreshock.service.apart import FrontApart
from foreshock.service.api import api
from foreshock.service.applying import Files, LiveRules
from foreshock.service.cmdb.api import cmdb_api
from foreshock.service.cmdb.health_api import health_api
from foreshock.service.cmdb.run import build
from foreshock.service.cmdb.schedule import Schedule
from foreshock.service.cmdb.trusted import Trusted
from foreshock.service.cmdb.work import AllPlans, Plans
from foreshock.service.console import console, not_found
from foreshock.service.delivery import LOOK, STALE, Lane
from foreshock.service.delivery_api import delivery_api
from foreshock.service.engine import Engine
from foreshock.service.forecasts_api import forecasts_api
from foreshock.service.foreseeing import Foreseer
from foreshock.service.front import Front
from foreshock.service.guard import refuse_cross_site
from foreshock.service.history_api import history_api
from foreshock.service.hooks import MAX_BODY_BYTES, Door, Hooks
from foreshock.service.learned_api import learned_api
from foreshock.service.learning import Learner
from foreshock.service.listening import Listening
from foreshock.service.live import LiveViews
from foreshock.service.maintenance import planned
from foreshock.service.measuring import Measuring
from foreshock.service.models_api import models_api
from foreshock.service.notifying import Directory, Notifier
from foreshock.service.ourselves import SOURCE_SILENT
from foreshock.service.outgoing import Outgoing
from foreshock.service.pressure import seldom
from foreshock.service.problem_reading import ProblemReader
from foreshock.service.quiet import LiveQuiet
from foreshock.service.quiet_api import quiet_api
from foreshock.service.rate import Rate
from foreshock.service.reconcile import Reconciler
from foreshock.service.reload import Reloader, digest
from foreshock.service.report_api import report_api
from foreshock.service.rules_api import rules_api
from foreshock.service.runner import Given, Runner
from foreshock.service.scheduler import Scheduler
from foreshock.service.settings import (
    Settings,
    SettingsSource,
    SinkInstance,
    SourceInstance,
    on_call_kinds,
    rule_kinds,
    sink_kinds,
)
from foreshock.service.shadowing import LiveShadows
from foreshock.service.sinks import build_sink, who_hears
from foreshock.service.source_health import SourceHealth
from foreshock.service.worries import Worries
from foreshock.store.dead_orders import DeadOrders
from foreshock.store.desk import Desk
from foreshock.store.learned import LearnedVersions
from foreshock.store.outbox import Outbox
from foreshock.store.retention import forget
from foreshock.store.rulesets import RulesetVersions
from foreshock.store.store import Store

log = structlog.get_logger("foreshock")

_TICK = timedelta(seconds=0.25)
"""What falls due in one of these while nothing else moves the clock is one step of the engine."""
_MEMORY = timedelta(seconds=2)
_MAINTENANCE = timedelta(hours=1)
_WORK = timedelta(seconds=30)
_SHADOW = timedelta(seconds=10)
_RETENTION = timedelta(hours=1)
_RECONCILE = timedelta(minutes=5)
_HEALTH = timedelta(minutes=1)
_PROBLEMS = timedelta(minutes=5)
_LEARN = timedelta(hours=1)
"""How often it is looked whether a training is due; a process that restarts each day would else never come to it."""
_BARRIER_POLL_S = 0.5


class Foreshock:
    """All that stands behind the front, ready to be started.

    Args:
        front: what takes events in, which may be going on already.
        source: where the settings came from, for a reload.
    Raises:
        ConfigError: the rules, or a secret of a collector, cannot be read.
        Unavailable: the store cannot be read.
    """

    def __init__(self, front: Front | FrontApart, *, source: SettingsSource | None = None, demo: bool = False) -> None:
        self.front, self.settings, self.clock, self._demo = front, front.settings, front.clock, demo
        self.inbox, self.closed = front.inbox, front.closed
        self.metrics = gauges.Metrics(front.families, self._families)
        self.reloader = Reloader(self.settings, source, self._put_into_force, self._refused, self.clock)
        self._stopping = threading.Event()
        self._warm_up = threading.Thread(target=self._deliver_once_warm, name="warm-up", daemon=True)
        self.store = Store(self.settings.store_url, front.journal)
        self.engine = Engine(front.collectors, rule_kinds())
        self.runner = Runner(
            self.engine,
            front.journal,
            on_orders=self._wake_lanes,
            on_fatal=front.fatal,
            on_reflected=self._reflected,
        )
        self.measuring = Measuring(
            self.settings.collectors,
            self.settings.metrics,
            self.settings.predict,
            self.settings.state / "metrics",
            front.collectors,
            self.inbox.append_now,
            self.clock,
        )
        front.measure_with(self.measuring.append_posted)
        self.listening = Listening(
            self.settings.collectors,
            front.collectors,
            state=self.settings.state,
            log=self.settings.log,
            append=self.inbox.append_all,
            measure=self.measuring.append_encoded,
            closed=self.closed,
            pressed=seldom(lambda: self.runner.lag >= self.settings.limits.lag),
            clock=self.clock,
        )
        if not front.fresh:  # else topology and settings come first
            self.listening.start()
        self.replayed = self.runner.restore()
        self.rules = LiveRules(
            runner=self.runner,
            inbox=self.inbox,
            journal=front.journal,
            versions=RulesetVersions(self.settings.state / "rules"),
            on_disk=self.reloader.unread,
        )
        self.shadows = LiveShadows(
            rules=self.rules,
            inbox=self.inbox,
            store_url=self.settings.store_url,
            folder=self.settings.state / "shadow",
            longest=lambda: self.settings.retention.age,
            clock=self.clock,
        )
        self._first = self._first_files()
        self.outbox, self.desk = Outbox(self.store), Desk(self.store)
        self.problem_readers: dict[str, ProblemReader] = {}
        self.lanes, self.reconciler = self._build_lanes()
        self.notifier = Notifier(self.store, self.outbox, self._directory(), self.clock)
        self.scheduler = Scheduler(self.store, self.clock)
        self.learner = Learner(
            runner=self.runner,
            inbox=self.inbox,
            store=self.store,
            versions=LearnedVersions(self.settings.state / "learned", self.settings.learn.keep),
            settings=self.settings.learn,
            clock=self.clock,
        )
        self.foreseer = Foreseer(
            runner=self.runner,
            inbox=self.inbox,
            store=self.store,
            folder=self.settings.state,
            settings=self.settings.predict.incidents,
            clock=self.clock,
        )
        self.cmdb = Schedule(lambda: self.settings, source, self.runner, self.inbox, front.journal, self.clock)
        self.trusted = Trusted(
            lambda: self.settings, source, self.runner, lambda: self.cmdb.store, self.cmdb.status, self.clock
        )
        self.views = LiveViews(
            runner=self.runner,
            inbox=self.inbox,
            store=self.store,
            book=self.desk,
            collectors=front.collectors,
            clock=self.clock,
            rejections=front.rejections,
            proofs=front.proofs,
            configured=lambda: self.settings.collectors,
            polled=self.measuring.sources,
            posted=front.posted,
            listened=self.listening.views,
            jobs=self.scheduler.views,
            closed=self.closed,
            backlog=self._backlog,
            poke=self._poke,
            topology_error=lambda: self.cmdb.error,
            last_reload=lambda: self.reloader.last,
            disk=lambda: shutil.disk_usage(self.settings.state)[::2],
            foresees=self.foreseer.state,
            demo=demo,
        )
        self.source_health = SourceHealth(
            self.settings.collectors,
            {source.name for source in self.measuring.sources()},
            self.views.sources,
            Worries((SOURCE_SILENT,), self.runner, self.inbox, "collectors"),
            self.clock,
        )
        self.quiet = LiveQuiet(self.runner, self.inbox, self.clock)
        self.planned_work = AllPlans(self._plans_of, self.clock)
        application = Guarded(self._application(), front.access)
        self.hooks = Hooks(application, self._doors(), clock=self.clock, closed=self.closed)

    # ---- life ----

    def start(self) -> None:
        """The engine goes on with the next record, settings, rules and topology come into force, and once they are the
        sinks hear of it; questions are answered from here on."""
        self.runner.start(self.inbox)
        if self._first is not None:
            self.rules.take(self._first, *who_hears(self.settings.sinks), actor="foreshock")
        else:
            self.rules.refused(self.reloader.last.error)
        self._first_windows()
        self.cmdb.first()
        self._warm_up.start()
        self.shadows.resume()
        self.scheduler.every(_TICK, "tick", self._tick)
        self.scheduler.every(LOOK, "notify", self._notify)
        self.scheduler.every(_MEMORY, "memory", memory.give_back)
        self.scheduler.every(_RETENTION, "retention", self._retain)
        self.scheduler.every(_MAINTENANCE, "maintenance", self.quiet.extend)
        self.scheduler.every(_WORK, "planned work", self._take_planned_work, soon=True)
        self.scheduler.every(_RECONCILE, "reconcile", self._reconcile)
        for name, reader in self.problem_readers.items():
            self.scheduler.every(_PROBLEMS, f"problems of {name}", reader.run)
        if self.settings.learn.every:
            self.scheduler.every(min(self.settings.learn.every, _LEARN), "learn", self.learner.due)
        if (foresees := self.settings.predict.incidents).horizons:
            self.scheduler.every(foresees.every, "look ahead", self.foreseer.look)
            if foresees.train:
                self.scheduler.every(min(foresees.train, _LEARN), "teach models", self.foreseer.due)
        self.scheduler.every(_SHADOW, "shadow", self.shadows.look)
        self.measuring.schedule(self.scheduler, listens=bool(self.listening))
        self.scheduler.every(source_health.LOOK, "source health", self.source_health.look)
        self.cmdb.start(self.scheduler)
        self.scheduler.every(_HEALTH, "cmdb health", self.trusted.look, soon=True)
        self.scheduler.start()
        self.listening.start()
        self.front.answer_with(self.hooks)
        log.info("started", version=__version__, position=self.runner.position, replayed=self.replayed)

    def stop(self) -> None:
        """Finish what is in the inbox, let deliveries end, save the state, give the store back."""
        self.front.drain()
        self.trusted.stop()
        self.foreseer.stop()
        self.scheduler.stop()
        self._stopping.set()
        if self._warm_up.ident is not None:
            self._warm_up.join()
        self.listening.stop()
        self.measuring.stop()
        self.cmdb.stop()
        self.shadows.close()
        for timeout_s in (0.0, 10.0):  # they drain side by side
            for lane in self.lanes:
                lane.stop(timeout_s)
        self.inbox.stop()
        self.runner.stop()
        self.store.close()
        self.front.stop()
        log.info("stopped", position=self.runner.position)

    def _deliver_once_warm(self) -> None:
        """The barrier before the first ticket write: the state is loaded, and what was taken in before settings, rules
        and topology is reflected, and they are. Nothing half known is told to anybody."""
        barrier = self.inbox.last
        while not self.runner.caught_up(barrier, _BARRIER_POLL_S):
            if self._stopping.is_set():
                return
        for lane in self.lanes:
            lane.start()
        log.info("ticket writes begin", position=self.runner.position)

    # ---- parts ----

    def _build_lanes(self) -> tuple[list[Lane], Reconciler]:
        kinds = sink_kinds()
        lanes, find = [], {}
        for instance in self.settings.sinks:
            kind = kinds[instance.kind]
            remote = instance.config if isinstance(instance.config, RemoteSinkConfig) else None

            rate = Rate(remote.connections if remote else 1, self.clock)

            def build(
                made: Callable[[Made], None] = lambda made: None, instance: SinkInstance = instance, rate: Rate = rate
            ) -> Sink:
                """Another one for each thread: their connections are not for several at once."""
                return build_sink(instance, self.settings.url, self.desk, rate.heard, made)

            if kind.searches:
                find[instance.name] = build().find
            if kind.known_errors:
                self.problem_readers[instance.name] = self._problem_reader(instance.name, cast(KnownErrorSink, build()))
            made: list[list[Made]] = [[] for _ in range(remote.connections if remote else 1)]
            writers = [build(calls.append) for calls in made]
            lanes.append(
                Lane(
                    instance.name,
                    writers[0],
                    self.outbox,
                    self._report,
                    now=self.clock,
                    more=writers[1:],
                    made=made,
                    reader=build(),
                    index_delay=timedelta(seconds=kind.index_delay_s),
                    patience=timedelta(seconds=CALL_S) + STALE if remote else timedelta(0),
                    poll=remote.poll if remote else LOOK,
                    settle=remote.settle if remote else timedelta(0),
                    rate=rate,
                    on_fenced=self.front.fatal,
                )
            )
        return lanes, Reconciler(find, self.outbox.on_their_way, self._report)

    def _problem_reader(self, name: str, sink: KnownErrorSink) -> ProblemReader:
        def records() -> list[ProblemRecord]:
            with self.runner.looking() as engine:
                return problems.records_of(engine, name)

        def receipt(key: str) -> Receipt | None:
            row = self.outbox.ticket(key, name)
            return None if row is None else row.receipt

        return ProblemReader(name, sink, records, receipt, self._report)

    def _directory(self) -> Directory:
        kinds = on_call_kinds()
        rosters = {each.name: kinds[each.kind].build(each.name, each.config, Http) for each in self.settings.on_call}
        return Directory(self.settings.notify.contacts, self.settings.notify.fallback, rosters)

    def _doors(self) -> dict[str, Door]:
        kinds, doors = sink_kinds(), {}
        for instance, lane in zip(self.settings.sinks, self.lanes, strict=True):
            config = instance.config
            if isinstance(config, RemoteSinkConfig) and config.webhook_secret_file is not None:
                secret = read_secret(config.webhook_secret_file, f"sinks.{instance.name}.webhook_secret_file")
                doors[instance.name] = Door(kinds[instance.kind].hook, secret, lane.hear)
        return doors

    def _report(self, change: TicketChange) -> None:
        self.inbox.append_now(
            NewRecord(kind=RecordKind.TICKET, body=msgspec.json.encode(change), source=change.sink, actor=change.actor)
        )

    def _reflected(self, records: Sequence[Given]) -> None:
        now = self.clock()
        for record, _ in records:
            if record.kind is RecordKind.EVENTS:
                self.metrics.reflected.observe(max(0.0, (now - record.at).total_seconds()))

    def _poke(self) -> None:
        """A person did something: on the desk, for all we know."""
        for lane in self.lanes:
            lane.poke()

    def _wake_lanes(self) -> None:
        for lane in self.lanes:
            lane.wake()

    def _backlog(self) -> tuple[int, float]:
        backlog = self.outbox.backlog()
        oldest_s = 0.0 if backlog.oldest_at is None else max(0.0, (self.clock() - backlog.oldest_at).total_seconds())
        return backlog.pending, oldest_s

    def _application(self) -> FastAPI:
        application = FastAPI(
            title="Foreshock",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url="/api/openapi.json",
            description="Events in, few explained incidents out. Beyond loopback send `Authorization: Bearer TOKEN`.",
        )
        application.include_router(
            alertmanager_api(self.runner, self.inbox, actor=_actor, clock=self.clock, started_at=self.clock())
        )
        application.include_router(api(self.views, self.views, actor=_actor))
        outgoing = Outgoing(self.lanes, self.outbox, DeadOrders(self.store), self.runner, self.clock)
        application.include_router(delivery_api(outgoing, actor=_actor))
        application.include_router(history_api(self.store, self.runner, self.cmdb.as_of))
        application.include_router(forecasts_api(self.views, self.runner, self.inbox, actor=_actor, clock=self.clock))
        application.include_router(report_api(self.views))
        application.include_router(health_api(self.trusted.health))
        application.include_router(learned_api(self.learner, actor=_actor))
        application.include_router(models_api(self.foreseer, actor=_actor))
        application.include_router(quiet_api(self.quiet, actor=_actor))
        application.include_router(cmdb_api(self.cmdb, actor=_actor))
        application.include_router(rules_api(self.rules, self.shadows, actor=_actor))
        application.include_router(self._operations())
        application.include_router(
            console(
                self.views,
                self.views,
                self.quiet,
                self.rules,
                self.shadows,
                actor=_actor,
                demo=self._demo,
                topology=self.trusted.shown,
            )
        )
        application.add_exception_handler(ForeshockError, _refused)
        application.add_exception_handler(404, not_found)
        original = application.openapi
        application.openapi = lambda: _with_intake(original(), self.front.collectors)  # type: ignore[method-assign]
        return application

    def _operations(self) -> APIRouter:
        router = APIRouter(tags=["Operations"])

        @router.post("/-/reload", dependencies=[Depends(refuse_cross_site)], summary="Read settings and rules again")
        def reload(request: Request) -> Response:
            """Answers once they are in force. 422 lists what is wrong, with file and line; then the old ones stay."""
            try:
                changed = self.reloader.reload(_actor(request))
            except ConfigError as error:
                problems = [dataclasses.asdict(problem) for problem in error.problems]
                hint = "the old settings stay in force"
                return JSONResponse({"error": str(error), "hint": hint, "problems": problems}, 422)
            return JSONResponse({"changed": changed})

        @router.get("/metrics")
        def scrape(request: Request) -> Response:
            body, content_type = self.metrics.render(request.headers.get("accept", ""))
            return Response(body, media_type=content_type)

        return router

    # ---- jobs ----

    def _notify(self) -> None:
        """What the engine wants people told becomes orders for the sinks that reach them."""
        if self.notifier.run():
            self._poke()

    def _tick(self) -> None:
        """A record without content moves the engine's clock when a timer is due; none is written while nothing
        waits."""
        with self.runner.looking() as engine:
            due = engine.next_due()
        if due is not None and due <= self.clock():
            self.inbox.append_now(NewRecord(kind=RecordKind.TICK, body=b"", source="scheduler", items=0))

    def _first_files(self) -> Files | None:
        """What the files say. None where they have mistakes and something was in force before: a restart goes on with
        that, because it must not wait for a person after a power cut. Raises ConfigError."""
        try:
            files = self.reloader.first()
        except ConfigError as error:
            if not self.runner.position:
                raise
            self.reloader.started(str(error))
            log.error("the rules were not loaded, the old ones stay in force", error=str(error))
            return None
        self.reloader.started()
        return files

    def _put_into_force(self, settings: Settings, files: Files, actor: str) -> bool:
        """What a reload has read and found sound, as one record; whether it differs from what was in force. A rule that
        is suspended gets another try even if nothing differs."""
        self.cmdb.check(settings)
        with self.runner.looking() as engine:
            suspended = bool(engine.budget.suspended)
        windows = planned(settings.maintenance, self.clock())  # a calendar that cannot be read leaves all as it is
        changed = self.rules.take(files, *who_hears(settings.sinks), actor=actor, again=suspended)
        changed = self.quiet.keep(windows, actor=actor) or changed
        if settings.log != self.settings.log:
            logs.configure(settings.log.level, settings.log.format)
        changed = changed or settings != self.settings
        self.settings = settings
        self.front.use(settings)
        self.runner.caught_up(self.inbox.last)
        self.cmdb.reload(settings)
        return changed

    def _refused(self, error: str) -> None:
        self.rules.refused(error)

    def _first_windows(self) -> None:
        """Planned work of the settings. A calendar that cannot be read ends the first start there, and leaves the
        windows of later ones as they were: a restart after a power cut must not wait for a person."""
        try:
            self.quiet.keep(planned(self.settings.maintenance, self.clock()), actor="foreshock")
        except ConfigError as error:
            if not self.runner.position:
                raise
            self.reloader.started(str(error))
            log.error("planned maintenance was not read, what is known stays in force", error=str(error))

    def _take_planned_work(self) -> None:
        self.planned_work.run(self.settings.topology)

    def _plans_of(self, instance: SourceInstance) -> Plans:
        source = cast(WorkSource, build(instance))
        use = cast(WorkConfig, instance.config).changes
        return Plans(instance.name, source, use, windows=self.quiet, append=self.inbox.append_now, clock=self.clock)

    def _retain(self) -> None:
        now, bounds = self.clock(), self.settings.retention
        forgotten = forget(
            self.store, before=now - bounds.age, max_bytes=bounds.size, reports_before=now - bounds.reports
        )
        self.cmdb.forget(now - max(bounds.reports, bounds.age))
        if any(msgspec.structs.astuple(forgotten)):
            log.info("history forgotten", **msgspec.structs.asdict(forgotten))

    def _reconcile(self) -> None:
        """Compare our tickets with the sinks' records, and repair what differs."""
        with self.runner.looking() as engine:
            tickets = [(s.id, ticket) for s in engine.situations.values() for ticket in s.tickets.values()]
        self.reconciler.run(tickets)

    # ---- metrics ----

    def _families(self) -> Iterable[Metric]:
        with self.runner.looking() as engine:
            of_engine = list(engine_metrics.families(engine))
        yield from of_engine
        yield from self._of_delivery()
        yield from self._of_work()
        yield from self._of_settings()
        yield from self.measuring.families()
        yield from self.listening.families()
        yield from self.cmdb.families()
        yield from self.trusted.families()

    def _of_delivery(self) -> Iterator[Metric]:
        pending, oldest_s = self._backlog()
        yield gauges.gauge("foreshock_outbox_pending", "Ticket writes not yet delivered.", pending)
        yield gauges.gauge(
            "foreshock_outbox_oldest_age_seconds", "Age of the oldest ticket write not yet delivered.", oldest_s
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_sink_attempts",
            "Calls to sinks, by outcome.",
            ("sink", "outcome"),
            [((lane.name, outcome), count) for lane in self.lanes for outcome, count in dict(lane.counts).items()],
        )
        yield gauges.labelled(
            GaugeMetricFamily,
            "foreshock_sink_held",
            "1 while no calls are made to a sink: it fails, refuses us, or asked for a pause.",
            ("sink",),
            [((lane.name,), float(bool(lane.status().hold))) for lane in self.lanes],
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_hooks",
            "Calls of ITSM systems that say that somebody did something there, by outcome.",
            ("sink", "outcome"),
            self.hooks.counts.items(),
        )
        differences = Counter((each.sink, each.difference.value) for each in list(self.reconciler.findings.values()))
        yield gauges.labelled(
            GaugeMetricFamily,
            "foreshock_reconcile_differences",
            "Tickets that differ from the sink's record.",
            ("sink", "kind"),
            differences.items(),
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_reconcile_repairs",
            "Tickets that differed from the sink's record and were repaired.",
            ("sink", "kind"),
            self.reconciler.repaired.items(),
        )
        yield gauges.gauge(
            "foreshock_dead_letters", "Items that could not be read or delivered.", self.store.count_dead_letters()
        )

    def _of_work(self) -> Iterator[Metric]:
        yield gauges.gauge(
            "foreshock_inbox_lag_records", "Records on disk that are not reflected yet.", self.runner.lag
        )
        yield gauges.gauge("foreshock_inbox_last_record", "Number of the newest record on disk.", self.inbox.last)
        yield gauges.gauge(
            "foreshock_engine_busy_seconds", "Time the engine has worked since the start.", self.runner.busy_s
        )
        yield gauges.gauge("foreshock_store_bytes", "Bytes the data takes.", self.store.size())
        runs = self.scheduler.counts()
        yield gauges.labelled(
            CounterMetricFamily, "foreshock_job_runs", "Runs of a job.", ("job",), [((n,), r) for n, r, _ in runs]
        )
        failures = [((name,), failed) for name, _, failed in runs]
        yield gauges.labelled(
            CounterMetricFamily, "foreshock_job_failures", "Failed runs of a job.", ("job",), failures
        )

    def _of_settings(self) -> Iterator[Metric]:
        yield gauges.gauge(
            "foreshock_topology_loaded", "1 if the newest topology is in force.", 0.0 if self.cmdb.error else 1.0
        )
        last = self.reloader.last
        yield gauges.gauge(
            "foreshock_config_last_reload_successful",
            "1 if the settings and rules in force are those of the files.",
            0.0 if last.error else 1.0,
        )
        rules = self.rules.status()
        yield gauges.gauge(
            "foreshock_config_hash",
            "Equal where the same settings and rules are in force.",
            digest(self.settings, rules.version),
        )
        drift = {"applied": rules.applied, "unread": rules.unread, "refused": rules.error}
        yield gauges.labelled(
            GaugeMetricFamily,
            "foreshock_rules_drift",
            "1 if what runs is not what the files say: something else was applied, they were not read since they "
            "changed, or they were refused.",
            ("why",),
            [((why,), float(bool(found))) for why, found in drift.items()],
        )
        if last.succeeded_at is not None:
            yield gauges.gauge(
                "foreshock_config_last_reload_success_timestamp_seconds",
                "When settings and rules were last put into force.",
                last.succeeded_at.timestamp(),
            )


def _actor(request: Request) -> str:
    return str(request.scope.get("foreshock.actor", "local"))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ForeshockError)
    headers = {}
    status = 500
    if isinstance(error, Unavailable):
        status = 503
        headers["Retry-After"] = str(int(error.retry_after_s or 5))
    return JSONResponse({"error": str(error), "hint": error.hint}, status, headers)


def _with_intake(document: dict[str, Any], kinds: Mapping[str, Collector]) -> dict[str, Any]:
    """The OpenAPI document with the routes that are answered before the framework sees them."""
    for name, what in (("healthy", "Whether the process works"), ("ready", "Whether events are taken in")):
        document["paths"][f"/-/{name}"] = {
            "get": {
                "tags": ["Operations"],
                "summary": what,
                "responses": {
                    "200": {"description": "Yes", "content": {"text/plain": {}}},
                    **({"503": {"description": "No; the answer says why"}} if name == "ready" else {}),
                },
            }
        }
    document["paths"]["/hooks/{sink}"] = {
        "post": {
            "tags": ["Intake"],
            "summary": "An ITSM system says that somebody did something there",
            "description": "Proven by the system's own signature, or by the secret in X-Foreshock-Token, instead of a "
            "token; `webhook_secret_file` of the sink opens it. The sink is read, nothing is taken from the body.",
            "parameters": [{"name": "sink", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": {
                "202": {"description": "The sink is read when the change has settled"},
                "200": {"description": "This call was taken before"},
                "401": {"description": "It is not proven, or too old; the answer says what was wrong"},
                "404": {"description": "No sink of this name takes webhooks"},
                "413": {"description": f"The body has more than {MAX_BODY_BYTES} bytes"},
                "503": {"description": "Not now; see Retry-After"},
            },
        }
    }
    for collector in kinds.values():
        if (receive := collector.receive) is None:
            continue
        document["paths"].setdefault(receive.path, {})["post"] = {
            "tags": ["Intake"],
            "summary": collector.title,
            "description": f"Answered when the events are on disk. {collector.facts}. "
            "With /s/NAME in front of the path the source is called NAME.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": receive.schema}}},
            "responses": {
                "200" if receive.answer == "alertmanager" else "202": {"description": "Accepted and on disk"},
                **(
                    {}
                    if receive.answer == "alertmanager"
                    else {"207": {"description": "Some items were refused; see results"}}
                ),
                "400": {"description": "Nothing, or not everything, could be read; the answer names the reason"},
                "401": {"description": "Who sends it is not known, or not proven"},
                "413": {"description": "A limit was passed; the answer names it and the value"},
                "429": {"description": "Too much at once; see Retry-After"},
                "503": {"description": "Not now; see Retry-After"},
            },
        }
    return document
