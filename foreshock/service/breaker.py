"""When a lane makes no calls: one sink's trouble must not become hammering, and no single order may stop the others.

A breaker with one probe: it opens when calls for several situations fail, waits with full jitter, then lets one call
through, whose outcome alone decides. Calls that were under way when it opened settle their own orders and decide
nothing. Nothing here reads a clock or waits.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from foreshock.core.errors import Denied, Unavailable

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
DENIED_PROBE_S = 300.0
FAILURES = 5
"""So many failures in a row, of at least two situations, open the breaker, or so many among the last ``WINDOW``
situations: a sink that fails every second call fills neither quickly by itself."""
WINDOW = 10
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
    """One sink's. A call is stamped with ``period`` when it begins; its outcome is told with that stamp.

    Args: jitter: draws evenly from 0..1.

    Attributes:
        hold: why no calls are made; it stays until a probe has worked.
        resume_at: when the probe may be made. error: of the newest failure that counts; empty while all is well.
        since: when the outage began; None while there is none. lasted_s: how long the last one lasted.
        failures: in a row.
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
        self._row: set[str] = set()  # situations whose calls failed since one worked
        self._window: OrderedDict[str, bool] = OrderedDict()  # situation: whether its newest call worked
        self._probes = 0  # that failed in a row
        self._worked_since: datetime | None = None
        self._calls_since = 0

    def held(self, now: datetime) -> bool:
        return self.hold is not Hold.NONE and self.resume_at is not None and lies_ahead(self.resume_at, now)

    def failed(self, situation: str, error: Exception, now: datetime, stamp: int) -> News:
        """A call failed by an error of the sink's, not of the order's."""
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        if stamp < self.period:  # it began before the sink was given a rest: the rest may be asked to be longer
            if asked_s and self.resume_at is not None:
                self.resume_at = max(self.resume_at, now + timedelta(seconds=backoff_s(1, 0.0, asked_s)))
            return News.NONE
        self.failures += 1
        self.error = str(error)
        if self.hold is not Hold.NONE:
            return self._open(error, asked_s, now)
        self._note(situation, worked=False)
        self._row.add(situation)
        if isinstance(error, Denied) or asked_s or self._too_many():
            return self._open(error, asked_s, now)
        return News.NONE

    def worked(self, situation: str, now: datetime, stamp: int) -> News:
        """A call came back with an answer, be it a refusal of the order."""
        if stamp < self.period:
            return News.NONE
        if self.hold is not Hold.NONE:
            self.hold, self.resume_at, self._probes = Hold.NONE, None, 0
            self._window.clear()
            self._worked_since, self._calls_since = now, 0
        self.failures, self.error = 0, ""
        self._row.clear()
        self._note(situation, worked=True)
        return self.look(now)

    def look(self, now: datetime) -> News:
        """Whether an outage has ended meanwhile."""
        since = self._worked_since
        if self.since is None or since is None or self.hold is not Hold.NONE:
            return News.NONE
        if self._calls_since < WINDOW and lies_ahead(since + STEADY, now):
            return News.NONE
        self.lasted_s = (since - self.since).total_seconds()
        self.since = self._worked_since = None
        return News.ENDED

    def _note(self, situation: str, *, worked: bool) -> None:
        self._calls_since += 1
        self._window[situation] = worked
        self._window.move_to_end(situation)
        if len(self._window) > WINDOW:
            self._window.popitem(last=False)

    def _too_many(self) -> bool:
        in_a_row = self.failures >= FAILURES and len(self._row) > 1
        return in_a_row or sum(not worked for worked in self._window.values()) >= FAILURES

    def _open(self, error: Exception, asked_s: float | None, now: datetime) -> News:
        self.period += 1
        self._probes += 1
        if isinstance(error, Denied):
            self.hold, wait_s = Hold.DENIED, DENIED_PROBE_S
        elif asked_s:
            self.hold, wait_s = Hold.ASKED, backoff_s(1, 0.0, asked_s)
        else:
            self.hold, wait_s = Hold.BREAKER, backoff_s(self._probes, self._jitter())
        self.resume_at = now + timedelta(seconds=wait_s)
        began, self.since = self.since is None, self.since or now
        return News.BEGAN if began else News.NONE
