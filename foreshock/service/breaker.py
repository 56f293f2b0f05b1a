"""When a lane makes no calls: one sink's trouble must not become hammering, and no single order may stop the others.

A breaker with one probe that judges calls, not orders: an order is several calls, of which one fails easily, and a
system that answers most calls is worked on, with pauses. It opens when hardly any call works, waits with full jitter,
then lets one order through; a call of it that is answered ends the rest. Calls that were under way when it opened
settle their own orders and decide nothing. Nothing here reads a clock or waits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from foreshock.core.errors import Denied, Unavailable

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
DENIED_PROBE_S = 300.0
WINDOW = 16
"""Calls that are judged together, the newest."""
FAILURES = 12
"""So many failures among them, of at least two situations, open the breaker."""
PAUSE = timedelta(seconds=1)
"""So long, times the share of the last ``WINDOW`` calls that failed, a connection pauses whose order failed."""
STEADY = timedelta(minutes=1)
"""An outage is over when the sink has worked so long, or for ``WINDOW`` calls: trouble that comes and goes is one."""


def backoff_s(failures: int, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait: full jitter between 1 s and 5 min, at least what was asked for.

    Args:
        failures: in a row, from 1. jitter: 0..1, drawn evenly.
        retry_after_s: what the other side asked for; more than an hour counts as an hour.
    Source: Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015.
    """
    ceiling = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures, 32))
    return max(FIRST_BACKOFF_S, ceiling * jitter, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def denied_s(refusals: int, jitter: float) -> float:
    """Seconds to wait after credentials were refused so many times in a row: one refusal may be a slip of the system;
    after a few accounts are locked."""
    return DENIED_PROBE_S if refusals > 1 else backoff_s(1, jitter)


def lies_ahead(moment: datetime, now: datetime, longest_s: float = MAX_RETRY_AFTER_S) -> bool:
    """Whether to wait for it still. A clock that was set back must not make a wait longer than the longest."""
    return 0 < (moment - now).total_seconds() <= longest_s


class Hold(StrEnum):
    """Why a lane makes no calls at present. BREAKER: too many failed. ASKED: the sink named a time. DENIED: it refused
    our credentials."""

    NONE = ""
    BREAKER = "breaker"
    ASKED = "asked"
    DENIED = "denied"


class News(StrEnum):
    """What there is to log. BEGAN, ENDED: an outage did."""

    NONE = ""
    BEGAN = "began"
    ENDED = "ended"


class Breaker:
    """One sink's. An order is stamped with ``period`` when it begins; what became of its calls is told with that stamp.

    Args: jitter: draws evenly from 0..1.

    Attributes:
        hold: why no calls are made. ASKED ends at its time, the others when a probe has worked.
        resume_at: until when it rests; then the probe may be made. error: of the newest order whose last call failed;
            empty while all is well.
        since: when the outage began; None while there is none. lasted_s: how long the last one lasted.
        failures: calls that failed in a row.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self.hold = Hold.NONE
        self.resume_at: datetime | None = None
        self.error = ""
        self.since: datetime | None = None
        self.lasted_s = 0.0
        self.failures = 0
        self.period = 0
        self._jitter = jitter
        self._window: deque[tuple[str, bool]] = deque(maxlen=WINDOW)  # situation, and whether the call worked
        self._probes = 0  # that failed in a row
        self._refusals = 0  # of our credentials, in a row
        self._worked_since: datetime | None = None
        self._calls_since = 0

    def held(self, now: datetime) -> bool:
        return self.hold is not Hold.NONE and self.resume_at is not None and lies_ahead(self.resume_at, now)

    @property
    def pause(self) -> timedelta:
        """For a connection whose order failed just now. The only failure in a while costs none."""
        return PAUSE * max(0, sum(not worked for _, worked in self._window) - 1) / WINDOW

    def heard(self, situation: str, calls: Sequence[Exception | None], now: datetime, stamp: int) -> News:
        """What became of the calls of one order, oldest first: None where the sink answered, be it a refusal of the
        order, else the error, which is the sink's and not the order's."""
        if not calls:
            return News.NONE
        last = calls[-1]
        asked_s = max((each.retry_after_s or 0.0 for each in calls if isinstance(each, Unavailable)), default=0.0)
        if stamp < self.period:  # it began before the sink was given a rest: the rest may be asked to be longer
            if asked_s and self.resume_at is not None:
                self.resume_at = max(self.resume_at, now + timedelta(seconds=backoff_s(1, 0.0, asked_s)))
            return News.NONE
        self.error = "" if last is None else str(last)
        self._refusals = self._refusals + 1 if isinstance(last, Denied) else 0
        if self.hold is not Hold.NONE and None in calls and not (self._refusals or asked_s):
            self._resume(now)
        for error in calls:
            self.failures = 0 if error is None else self.failures + 1
            self._window.append((situation, error is None))
        self._calls_since += len(calls)
        if self.hold is not Hold.NONE or self._refusals or asked_s or self._too_many():
            return self._open(asked_s, now)
        return self.look(now)

    def look(self, now: datetime) -> News:
        """Whether a time that the sink named is over, or an outage, meanwhile."""
        if self.hold is Hold.ASKED and not self.held(now):
            self._resume(now)
        since = self._worked_since
        if self.since is None or since is None or self.hold is not Hold.NONE:
            return News.NONE
        if self._calls_since < WINDOW and lies_ahead(since + STEADY, now):
            return News.NONE
        self.lasted_s = (since - self.since).total_seconds()
        self.since = self._worked_since = None
        return News.ENDED

    def _too_many(self) -> bool:
        failed = [situation for situation, worked in self._window if not worked]
        return len(failed) >= FAILURES and len(set(failed)) > 1

    def _resume(self, now: datetime) -> None:
        self.hold, self.resume_at, self._probes = Hold.NONE, None, 0
        self._window.clear()
        self._worked_since, self._calls_since = now, 0

    def _open(self, asked_s: float, now: datetime) -> News:
        self.period += 1
        self._probes += 1
        if self._refusals:
            self.hold, wait_s = Hold.DENIED, denied_s(self._refusals, self._jitter())
        elif asked_s:
            self.hold, wait_s = Hold.ASKED, backoff_s(1, 0.0, asked_s)
        else:
            self.hold, wait_s = Hold.BREAKER, backoff_s(self._probes, self._jitter())
        self.resume_at = now + timedelta(seconds=wait_s)
        began, self.since = self.since is None, self.since or now
        return News.BEGAN if began else News.NONE
