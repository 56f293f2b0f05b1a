"""A candidate beside the live rules, as the service sees it: one at a time, in a process of its own that costs the live
engine nothing. What it does wrong is told and has no other effect."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.model import Moment
from foreshock.core.quantities import format_duration
from foreshock.service.applying import Changed, LiveRules
from foreshock.service.inbox import Inbox
from foreshock.service.records import OperatorRecord, Remark
from foreshock.service.ruleset import Ruleset, differences
from foreshock.service.shadow import Report, Task

log = structlog.get_logger("shadow")

MIN_LENGTH = timedelta(minutes=1)
_MODULE = "foreshock.service.shadow_work"  # by name: here is none of what it imports
_KEPT, _LOG, _REPORT = "shadow.json", "log", "report.json"
_END_S = 20.0
_MAX_ERROR = 2000


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class _Kept(Struct, frozen=True, kw_only=True):
    task: Task
    state: State
    error: str = ""


class ShadowView(Struct, frozen=True, kw_only=True):
    """A candidate, and what it would have made different so far.

    Attributes:
        version, against: of the candidate, and of what ran when it began. changes: of settings and rules, against what
            runs now.
        state: running, done (its time is over), stopped or failed, then with the ``error``.
        behind: records that are in the inbox and not read by it; None while nothing is known of that.
        report: the newest comparison; None before the first.
    """

    version: str
    against: str
    changes: tuple[str, ...]
    state: State
    error: str
    started_at: Moment
    until: Moment
    actor: str
    reason: str
    behind: int | None
    report: Report | None


class Shadows(Protocol):
    """What the API and the console ask and do."""

    def status(self) -> ShadowView | None:
        """None where there never was one."""

    def start(
        self, proposed: Ruleset, *, version: str, against: str, length: timedelta, reason: str, actor: str
    ) -> ShadowView:
        """Raises Rejected where one runs, and as ``Rules.apply`` does."""

    def stop(self, *, actor: str) -> ShadowView:
        """What it has found stays. Raises Rejected where none runs."""

    def apply(self, *, reason: str, actor: str) -> Changed:
        """Put the candidate into force, and end its run. Raises Rejected as ``Rules.apply`` does."""


class LiveShadows:
    """Implements ``Shadows``.

    Args:
        folder: for what is kept over a restart. longest: a run can be read again from the inbox for so long.
    """

    def __init__(
        self,
        *,
        rules: LiveRules,
        inbox: Inbox,
        store_url: str,
        folder: Path,
        longest: Callable[[], timedelta],
        clock: Callable[[], datetime],
    ) -> None:
        self._rules, self._inbox, self._store_url, self._folder = rules, inbox, store_url, folder
        self._longest, self._clock = longest, clock
        self._one_at_a_time = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None

    # ---- life ----

    def resume(self) -> None:
        """After a start: what ran goes on, from the state it began with."""
        with self._one_at_a_time:
            kept = self._kept()
            if kept is not None and kept.state is State.RUNNING:
                self._spawn(kept.task)

    def look(self) -> None:
        """Whether the process still runs; now and then."""
        with self._one_at_a_time:
            kept, process = self._kept(), self._process
            if kept is None or process is None or process.poll() is None:
                return
            self._end()
            if process.returncode == 0:
                self._keep(kept.task, State.DONE)
                self._remark(kept.task, "ran to its end", self._verdict())
            else:
                error = self._last_words() or f"it ended with code {process.returncode}"
                self._keep(kept.task, State.FAILED, error)
                log.error("the shadow run has failed; the live rules go on as before", error=error)
                self._remark(kept.task, "failed", error)

    def close(self) -> None:
        """Foreshock stops; the run goes on after the next start."""
        with self._one_at_a_time:
            self._end()

    # ---- people ----

    def status(self) -> ShadowView | None:
        self.look()
        kept = self._kept()
        if kept is None:
            return None
        task, report = kept.task, self._report()
        return ShadowView(
            version=task.version,
            against=task.against,
            changes=tuple(differences(self._rules.get(""), task.proposed)),
            state=kept.state,
            error=kept.error,
            started_at=task.started_at,
            until=task.until,
            actor=task.actor,
            reason=task.reason,
            behind=None if report is None else max(0, self._inbox.last - report.position),
            report=report,
        )

    def start(
        self, proposed: Ruleset, *, version: str, against: str, length: timedelta, reason: str, actor: str
    ) -> ShadowView:
        longest = self._longest()
        if not MIN_LENGTH <= length <= longest:
            raise Rejected(
                f"it is to run for {format_duration(length)}",
                hint=f"say 1m to {format_duration(longest)}, which is `retention.age`: after a restart it reads the "
                "records since its start again",
            )
        with self._one_at_a_time:
            self.look()
            kept = self._kept()
            if kept is not None and kept.state is State.RUNNING:
                raise Rejected(
                    f"version {kept.task.version} runs as a shadow already, started by {kept.task.actor} at "
                    f"{kept.task.started_at:%Y-%m-%d %H:%M} UTC",
                    hint="stop it first: `foreshock rules shadow stop`",
                )
            self._rules.examine(proposed, version=version, against=against)
            if version == against:
                raise Rejected(f"version {version} is what runs", hint="there is nothing to compare")
            now = self._clock()
            task = Task(
                proposed=proposed,
                version=version,
                against=against,
                started_at=now,
                until=now + length,
                actor=actor,
                reason=reason,
            )
            self._clear()
            self._keep(task, State.RUNNING)
            self._spawn(task)
            self._remark(task, "started", f"for {format_duration(length)}: {reason}", actor=actor)
        found = self.status()
        assert found is not None
        return found

    def stop(self, *, actor: str) -> ShadowView:
        with self._one_at_a_time:
            self.look()
            kept = self._kept()
            if kept is None or kept.state is not State.RUNNING:
                raise Rejected("no shadow runs", hint="see `foreshock rules shadow status` for the last one")
            self._end()
            self._keep(kept.task, State.STOPPED)
            self._remark(kept.task, "stopped", self._verdict(), actor=actor)
        found = self.status()
        assert found is not None
        return found

    def apply(self, *, reason: str, actor: str) -> Changed:
        with self._one_at_a_time:
            kept = self._kept()
            if kept is None:
                raise Rejected("there is no shadow run", hint="start one with `foreshock rules shadow start`")
            task = kept.task
            changed = self._rules.apply(
                task.proposed, version=task.version, against=task.against, reason=reason, actor=actor
            )
            if kept.state is State.RUNNING:
                self.stop(actor=actor)
            return changed

    # ---- parts ----

    def _spawn(self, task: Task) -> None:
        """Raises Unavailable where there is no room for a process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with (self._folder / _LOG).open("wb") as said:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            self._keep(task, State.FAILED, str(error))
            raise Unavailable(f"the shadow run cannot be started: {error}", hint="make room, and try again") from None
        work = {"store_url": self._store_url, "folder": str(self._folder), "task": task}
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended already, and says why
            self._process.stdin.write(msgspec.json.encode(work) + b"\n")
            self._process.stdin.flush()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _kept(self) -> _Kept | None:
        try:
            return msgspec.json.decode((self._folder / _KEPT).read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            log.error("the last shadow run cannot be read and counts as none", error=str(error))
            return None

    def _keep(self, task: Task, state: State, error: str = "") -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _KEPT
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(_Kept(task=task, state=state, error=error)))
        fresh.replace(path)

    def _clear(self) -> None:
        """What the last run left."""
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)

    def _report(self) -> Report | None:
        try:
            return msgspec.json.decode((self._folder / _REPORT).read_bytes(), type=Report)
        except (FileNotFoundError, msgspec.DecodeError):  # none yet, or of another version of Foreshock
            return None

    def _verdict(self) -> str:
        report = self._report()
        return report.verdict if report is not None else "nothing was compared yet"

    def _last_words(self) -> str:
        with suppress(OSError):
            return (self._folder / _LOG).read_text("utf-8", "replace").strip()[-_MAX_ERROR:]
        return ""

    def _remark(self, task: Task, action: str, detail: str, *, actor: str = "foreshock") -> None:
        remark = Remark(kind="shadow", subject=task.version, action=action, detail=detail)
        body = msgspec.json.encode(OperatorRecord(remark=remark))
        self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="rules", actor=actor))
