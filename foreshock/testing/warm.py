"""A process that has imported all of Foreshock and forks it on demand: a crash test can afford a thousand starts.

Four fifths of a start are imports. What runs in the fork is ``foreshock``'s own command line, with a process group, a
log and an end of its own; only the importing is spared. Speaks one line a request over its pipes:

    run LOG ARGUMENT…   as JSON; forks, answers the pid
    poll PID            answers the exit code as subprocess has it, or null while it runs

With FORESHOCK_TEST_PATIENCE no wait for a system that failed is longer than so many seconds, and none for an index
longer than ``INDEX_DELAY_S``: what takes a night in production is over in minutes then.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

INDEX_DELAY_S = 12.0
"""No stand-in's index lags so long."""


class WarmForeshock:
    """The parent's side. ``close`` it after the last process has ended."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "foreshock.testing.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
        )

    def run(self, arguments: Sequence[str], log: Path) -> Forked:
        """``foreshock ARGUMENTS`` in a fork; both its outputs are appended to ``log``."""
        pid = self.ask("run", str(log), *arguments)
        assert pid is not None
        return Forked(self, pid)

    def ask(self, *request: str) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


class Forked:
    """What ``subprocess.Popen`` is for a process of our own, as far as a launcher needs it."""

    def __init__(self, warm: WarmForeshock, pid: int) -> None:
        self._warm, self.pid = warm, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._warm.ask("poll", str(self.pid))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("foreshock", timeout or 0.0)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    for line in requests:
        what, *arguments = json.loads(line)
        if what == "run":
            answer: int | None = os.fork()
            if answer == 0:
                _become(*arguments)
        else:
            pid, status = os.waitpid(int(arguments[0]), os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _become(log: str, *arguments: str) -> None:
    """Never returns."""
    from foreshock.service.cli import main

    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for opened, standard in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(opened, standard)
    code = 1
    try:
        sys.argv = ["foreshock", *arguments]
        main()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _warm_up() -> None:
    for module in ("server", "wiring", "logs", "cli"):
        importlib.import_module(f"foreshock.service.{module}")
    for module in ("loops.auto", "protocols.http.auto"):
        importlib.import_module(f"uvicorn.{module}")
    from foreshock.service.settings import collector_kinds, rule_kinds, sink_kinds, source_kinds

    for kinds in (collector_kinds, rule_kinds, sink_kinds, source_kinds):
        kinds()
    if patience := os.environ.pop("FORESHOCK_TEST_PATIENCE", ""):
        _be_impatient(float(patience))


def _be_impatient(seconds: float) -> None:
    from msgspec import structs

    from foreshock.connect import limits
    from foreshock.service import breaker, settings

    limits.MAX_RESET_S = seconds
    breaker.FIRST_BACKOFF_S = seconds / 4
    breaker.MAX_BACKOFF_S = breaker.MAX_RETRY_AFTER_S = breaker.DENIED_PROBE_S = seconds
    kinds: Any = settings.sink_kinds()
    for name, kind in kinds.items():
        kinds[name] = structs.replace(kind, index_delay_s=min(kind.index_delay_s, INDEX_DELAY_S))


if __name__ == "__main__":
    _warm_up()
    _serve(sys.stdin.buffer, sys.stdout.buffer)
