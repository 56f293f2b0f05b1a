"""What is up first after a start: whoever sends events is answered while the rest is still being loaded.

To take an event in needs the settings, the journal and the collectors, none of the state and none of the framework. So
a start opens this part at once, and the rest behind it, which takes seconds with many open alerts; what comes in
meanwhile is on disk and waits in the inbox for the engine, as after any pause of it. Questions of people wait too.
"""

import asyncio
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from prometheus_client.core import CounterMetricFamily

from foreshock.core.errors import ConfigError, Held, Problem
from foreshock.service import metrics as gauges
from foreshock.service.access import LOOPBACK_HOSTS, Access
from foreshock.service.clock import utc_now
from foreshock.service.gates import Fetched, Gates, fetch
from foreshock.service.inbox import WritingInbox
from foreshock.service.intake import App, Intake, Limits, Receive, Rejections, Scope, Send
from foreshock.service.metrics import IntakeMetrics
from foreshock.service.posted import Append, PostedPoints, Posting, outcomes
from foreshock.service.pressure import Bounds, Lag, Pressure
from foreshock.service.settings import Settings, collector_kinds
from foreshock.service.tokens import tokens
from foreshock.store import migrations
from foreshock.store.journal import Journal

log = structlog.get_logger("foreshock")

_DISK_RECHECK_S = 5
_PATIENCE_S = 10.0
"""How long a question waits for what is still being loaded."""
_POLL_S = 0.02
_LEAVING_S = 1.0
"""How long a start waits for the state folder: of one that was killed, the other process may need a moment to end."""


class Front:
    """The way in of one Foreshock: state folder, journal, inbox and intake.

    Args:
        clock: the time for records; the demo brings its own.
        on_fatal: called once when it must not go on, with the reason.
        owned: the state folder is locked already, by the process that reads this inbox.
        on_append: called after each synced group of records, from the appending thread.
    Attributes:
        fresh: no state was ever saved here, so there is nothing to load, and topology and settings come first.
    Raises:
        Held: another process owns the state folder or the database.
        Unavailable: the store cannot be reached.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        on_fatal: Callable[[Exception], None] = lambda error: None,
        owned: bool = False,
        on_append: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.clock, self._on_fatal = settings, clock, on_fatal
        self._draining = False
        self._disk = DiskGuard(settings)
        self._lock = None if owned else own(settings.state)
        self.journal = Journal(settings.store_url)
        self.journal.claim()
        migrations.upgrade_journal(self.journal)
        self.fresh = self.journal.position()[1] == 0
        self.collectors = collector_kinds()
        self.inbox = WritingInbox(self.journal, clock, on_append=on_append, on_fatal=self.fatal, feed=not owned)
        self._metrics = IntakeMetrics()
        self._certificates = Fetched(fetch)
        self._behind = Later()
        self._posting = Posting(clock)
        self.access = who_may(settings)
        self.intake = Intake(
            Probes(self._behind, self.closed),
            self.inbox,
            self.collectors,
            self._gates(settings),
            Pressure(_bounds(settings), Lag(lambda: self.inbox.last, lambda: self.journal.position()[0])),
            limits=Limits(
                body=settings.limits.body, decompressed=settings.limits.decompressed, batch=settings.limits.batch
            ),
            clock=clock,
            closed=self.closed,
            actor=self.access.actor,
            fetch=fetch,
            measure=self._posting.measure,
            observe=self._metrics.observe,
        )

    @property
    def app(self) -> App:
        return self.intake

    def answer_with(self, app: App) -> None:
        """Requests that bring no events go there from now on."""
        self._behind.app = app

    def measure_with(self, append: Append) -> None:
        """Points that are posted go there from now on."""
        self._posting.append = append

    def posted(self) -> Mapping[str, PostedPoints]:
        """Points of metrics that were posted, by source."""
        return self._posting.counts

    def rejections(self) -> Mapping[str, Rejections]:
        """Requests the intake refused whole, by source."""
        return self.intake.rejections

    def families(self) -> gauges.Families:
        """What the intake counted."""
        yield from self._metrics.families()
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_intake_refused",
            "Requests refused whole, by source and reason.",
            ("source", "reason"),
            [
                ((source, reason), count)
                for source, refused in self.intake.rejections.items()
                for reason, count in refused.by.items()
            ],
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_intake_proofs",
            "Requests by source and what proved them: the first or second of its tokens or secrets.",
            ("source", "proof"),
            [((source, proof), count) for source, used in self.proofs().items() for proof, count in used.items()],
        )

        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_intake_shed_events",
            "Events let go because more came in than could be worked on (limits.shed), by source.",
            ("source",),
            [((source,), count) for source, count in self.intake.pressure.shed.items()],
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_intake_points",
            "Points of metrics that were posted, by source and what became of them.",
            ("source", "outcome"),
            outcomes(self._posting.counts),
        )
        yield gauges.gauge("foreshock_intake_waiting_bytes", "Requests in memory, in all.", self.intake.pressure.held)

    def proofs(self) -> Mapping[str, Mapping[str, int]]:
        """Requests by source and what proved them, such as ``token 1``."""
        return {name: dict(gate.used) for name, gate in self.intake.gates.named.items() if gate.used}

    def use(self, settings: Settings) -> None:
        """Settings that were read again, and the files with tokens and secrets. Raises ConfigError for what is wrong
        with those; then all is as before."""
        gates, access = self._gates(settings), who_may(settings)
        self.settings = settings
        self._disk.use(settings)
        self.access.take(access)
        gates.follow(self.intake.gates)
        self.intake.gates = gates

    def _gates(self, settings: Settings) -> Gates:
        return Gates(settings.collectors, self.collectors, self._certificates)

    def start(self) -> None:
        self.inbox.start()

    def drain(self) -> None:
        """Take nothing more; what was taken is still worked on."""
        self._draining = True

    def stop(self) -> None:
        """Write what is waiting, and give the state folder back. For who has to read the inbox to its end in between,
        ``inbox.stop`` comes first."""
        self.drain()
        self.inbox.stop()
        self.journal.close()
        if self._lock is not None:
            os.close(self._lock)

    def fatal(self, error: Exception) -> None:
        self.drain()
        log.error("cannot go on", error=str(error))
        self._on_fatal(error)

    def closed(self) -> tuple[str, int] | None:
        """Why nothing can be taken in now, and for how many seconds; None while all is well."""
        if self._draining:
            return "Foreshock is stopping", 5
        return self._disk.closed()


def _bounds(settings: Settings) -> Bounds:
    limits = settings.limits
    return Bounds(
        waiting=limits.waiting,
        lag=limits.lag,
        shed_sources=limits.shed.sources,
        shed_severities=limits.shed.severities,
    )


class DiskGuard:
    """Looks at the disk under the state folder now and then."""

    def __init__(self, settings: Settings) -> None:
        self._found: tuple[str, int] | None = None
        self.use(settings)

    def use(self, settings: Settings) -> None:
        self._state, self._guard = settings.state, settings.disk_guard
        self._again_at = 0.0

    def closed(self) -> tuple[str, int] | None:
        """Why there is no room for more, and for how many seconds at least; None while there is."""
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at, self._found = now + _DISK_RECHECK_S, self._look()
        return self._found

    def _look(self) -> tuple[str, int] | None:
        guard = self._guard
        usage = shutil.disk_usage(self._state)
        percent = 100 * usage.free / usage.total
        if usage.free >= guard.min_free and percent >= guard.min_free_percent:
            return None
        return (
            f"the disk under {self._state} has {usage.free // 2**20} MiB ({percent:.1f} %) free; "
            f"{guard.min_free // 2**20} MiB and {guard.min_free_percent} % are the least to take events in",
            30,
        )


class Later:
    """ASGI: an application that is still being loaded; requests wait for it a while, then are told to come again."""

    def __init__(self) -> None:
        self.app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.app is None and time.monotonic() < deadline:  # noqa: ASYNC110 (once in a process's life)
            await asyncio.sleep(_POLL_S)
        if self.app is None:
            await _tell(send, 503, "Foreshock takes events, and is still loading its state; ask again in a moment", 5)
        else:
            await self.app(scope, receive, send)


class Probes:
    """ASGI: answers ``/-/healthy`` and ``/-/ready`` from the first moment on. Ready means that events are taken in."""

    def __init__(self, behind: App, closed: Callable[[], tuple[str, int] | None]) -> None:
        self._behind, self._closed = behind, closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else ""
        if path == "/-/healthy":
            await _tell(send, 200, "Foreshock is healthy.")
        elif path == "/-/ready":
            closed = self._closed()
            if closed is None:
                await _tell(send, 200, "Foreshock is ready.")
            else:
                await _tell(send, 503, *closed)
        else:
            await self._behind(scope, receive, send)


async def _tell(send: Send, status: int, text: str, retry_after_s: int = 0) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if retry_after_s:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def who_may(settings: Settings) -> Access:
    """Raises ConfigError where the file of tokens cannot be read."""
    given = tokens(settings.tokens_file) if settings.tokens_file else ()
    return Access(
        {token.name: token.secret.get_secret_value() for token in given},
        {*LOOPBACK_HOSTS, *settings.allowed_hosts, *_names(settings)},
    )


def _names(settings: Settings) -> set[str]:
    """Names that the settings themselves give this Foreshock."""
    return {settings.listen.rpartition(":")[0].lower(), (urlsplit(settings.public_url).hostname or "").lower()} - {""}


def own(state: Path) -> int:
    """Lock the state folder for this process. Raises Held naming the process that has it; ConfigError where there can
    be no such folder."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state / "foreshock.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        message, hint = f"nothing can be kept there: {error.strerror}", "choose another folder with `state` or --state"
        raise ConfigError([Problem(file=str(state), line=None, path="", message=message, hint=hint)]) from None
    deadline = time.monotonic() + _LEAVING_S
    while not (ours := _locked(descriptor)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if not ours:
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
        os.close(descriptor)
        raise Held(
            f"{state} is in use by {holder}", hint="stop it first, or choose another folder with --state"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(
        descriptor,
        f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode(),
        0,
    )
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
