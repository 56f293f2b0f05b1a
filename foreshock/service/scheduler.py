"""Work that comes round by itself, through APScheduler. A job never overlaps itself, and a job that fails fails alone.

Decisions do not live here: what depends on time is decided by the engine on the records' clock.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from msgspec import Struct

from foreshock.core.errors import ForeshockError
from foreshock.service.views import JobView
from foreshock.store.store import Store

log = structlog.get_logger("scheduler")

_PERSIST_FROM = timedelta(minutes=1)
"""Runs of jobs this rare are written to the store, so that their last run is known after a restart too."""


class _Job(Struct):
    name: str
    every: timedelta
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""
    runs: int = 0
    failures: int = 0


class Scheduler:
    """Runs jobs at fixed intervals and remembers how the last run of each went."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        )
        self._jobs: dict[str, _Job] = {}

    def every(
        self, interval: timedelta, name: str, work: Callable[[], object], *, soon: bool = False, jitter: float = 0.0
    ) -> None:
        """Run ``work`` each ``interval``; with ``soon`` also right after the start. One of this name that is there is
        replaced.

        Args: jitter: part of the interval by which each run is shifted at random.
        """
        job = self._jobs[name] = _Job(name=name, every=interval)
        known = self._store.job_runs().get(name)
        if known is not None:
            job.started_at, job.ended_at, _, job.error = known
        first = {"next_run_time": datetime.now(self._scheduler.timezone)} if soon else {}
        self._scheduler.add_job(
            self._run,
            "interval",
            seconds=interval.total_seconds(),
            jitter=interval.total_seconds() * jitter or None,
            args=(job, work),
            id=name,
            replace_existing=True,
            **first,
        )

    def drop(self, name: str) -> None:
        """No more runs of this one."""
        if self._jobs.pop(name, None) is not None:
            self._scheduler.remove_job(name)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _run(self, job: _Job, work: Callable[[], object]) -> None:
        job.started_at, job.runs = self._clock(), job.runs + 1
        was, error = job.error, ""
        try:
            work()
        except ForeshockError as failure:
            error = str(failure)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            log.exception("a job failed", job=job.name)
        job.ended_at, job.error = self._clock(), error
        job.failures += bool(error)
        if error and error != was:
            log.error("a job fails", job=job.name, error=error)
        elif was and not error:
            log.info("a job works again", job=job.name)
        if job.every >= _PERSIST_FROM:
            try:
                self._store.job_run(job.name, job.started_at, job.ended_at, error)
            except ForeshockError as failure:
                log.error("a job's run could not be written", job=job.name, error=str(failure))

    def views(self) -> list[JobView]:
        found = []
        for job in self._jobs.values():
            planned = self._scheduler.get_job(job.name) if self._scheduler.running else None
            found.append(
                JobView(
                    name=job.name,
                    started_at=job.started_at,
                    ended_at=job.ended_at,
                    ok=not job.error,
                    error=job.error,
                    next_at=planned.next_run_time if planned else None,
                )
            )
        return found

    def counts(self) -> list[tuple[str, int, int]]:
        """(name, runs, failures) since the start."""
        return [(job.name, job.runs, job.failures) for job in self._jobs.values()]
