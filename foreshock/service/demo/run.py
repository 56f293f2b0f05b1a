"""``foreshock demo``: the recorded outage, posted to a Foreshock of its own at accelerated time.

State folder, port and clock are its own and end with it, so nothing of a demo ever enters real history.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from foreshock.service.demo.source import TOPOLOGY_FILE, alerts, postable, recorded_span_s
from foreshock.service.server import serve
from foreshock.service.settings import load_settings
from foreshock.service.wiring import Foreshock

_AFTER = timedelta(minutes=10)
"""Virtual time after the recording, so that the incident is seen to be resolved."""
SETTINGS = {
    # The recording has one sample in five minutes, so alerts of one failure may begin that far apart.
    "correlation.relate.half_gap": "10m",
    "correlation.relate.half_gap_late": "10m",
    "correlation.relate.fade": "30m",
    "correlation.relate.tempo": 100.0,
    "correlation.relate.window": "20m",
    # It is over before the disk could matter.
    "disk_guard.min_free": "1MiB",
    "disk_guard.min_free_percent": 0.0,
}


class AcceleratedClock:
    """Stands still until it is started, so that a slow start of the program loses nothing of the recording; then runs
    ``speed`` times as fast as the wall clock until it has caught up with it, and at its pace from then on."""

    def __init__(self, starts_at: datetime, speed: float) -> None:
        self.starts_at, self._speed = starts_at, speed
        self._began: float | None = None

    def start(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> datetime:
        passed = 0.0 if self._began is None else time.monotonic() - self._began
        return min(self.starts_at + timedelta(seconds=passed * self._speed), datetime.now(UTC))

    def wait_until(self, moment: datetime, stop: threading.Event) -> bool:
        """False if ``stop`` was set in between."""
        while (now := self()) < moment:
            if stop.wait(min(0.2, (moment - now).total_seconds() / self._speed)):
                return False
        return not stop.is_set()


def run_demo(listen: str, speed: float, say: Callable[[str], None], config: Path | None = None) -> int:
    """Serve until stopped; ``say`` is told what happens meanwhile. Returns the exit code. config: further settings,
    above all other sinks. Raises ConfigError."""
    with tempfile.TemporaryDirectory(prefix="foreshock-demo-") as folder:
        flags = {
            "listen": listen,
            "state": folder,
            "topology": str(TOPOLOGY_FILE),
            **SETTINGS,
        }
        settings = load_settings(config, {}, flags)
        span = timedelta(seconds=recorded_span_s()) + _AFTER
        clock = AcceleratedClock(datetime.now(UTC) - span, speed)
        stop = threading.Event()
        teller: list[threading.Thread] = []

        def ready(foreshock: Foreshock, url: str) -> None:
            clock.start()
            say(f"Demo of a recorded outage, {speed:g} times as fast as it happened: {url}")
            say("Watch it there, or here. Ctrl-C ends it and leaves nothing behind.")
            for work in (lambda: _send(url, clock, stop), lambda: _tell(foreshock, clock, stop, say)):
                thread = threading.Thread(target=work, daemon=True)
                thread.start()
                teller.append(thread)

        code = serve(settings, clock=clock, demo=True, ready=ready)
        stop.set()
        return code


def _send(url: str, clock: AcceleratedClock, stop: threading.Event) -> None:
    """Post each sending at its time, those of one moment together, as Prometheus does."""
    waiting = alerts()
    while waiting:
        moment = waiting[0].offset_s
        if not clock.wait_until(clock.starts_at + timedelta(seconds=moment), stop):
            return
        batch = [alert for alert in waiting if alert.offset_s == moment]
        waiting = waiting[len(batch) :]
        requests.post(
            f"{url}/s/petshop/api/v2/alerts", json=[postable(alert, clock.starts_at) for alert in batch], timeout=30
        ).raise_for_status()


def _tell(foreshock: Foreshock, clock: AcceleratedClock, stop: threading.Event, say: Callable[[str], None]) -> None:
    said: dict[str, str] = {}
    ends_at = clock.starts_at + timedelta(seconds=recorded_span_s()) + _AFTER
    while not stop.wait(0.5):
        for row in foreshock.views.incidents(state="all"):
            ticket = ", ".join(ticket.number for ticket in row.tickets if ticket.number) or "no ticket yet"
            cause = f"probable cause {row.cause} ({row.cause_score:.2f})" if row.cause else "no cause yet"
            size = f"{row.alerts} alerts on {row.ci_count} CI{'s' if row.ci_count != 1 else ''}"
            news = f"{row.id} {row.state}, {ticket}, P{row.priority}: {size}, {cause}"
            if said.get(row.id) != news:
                said[row.id] = news
                say(f"{clock():%H:%M:%S}  {news}; {row.events} events so far")
        if clock() >= ends_at - timedelta(seconds=1):
            say("That was all of it. The console stays up until Ctrl-C.")
            return
