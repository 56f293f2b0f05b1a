"""Calls to a system are counted there, for all connections together: the last ones of a window are left alone."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from foreshock.connect.limits import read_allowance
from foreshock.service.breaker import lies_ahead

CALLS_A_TICKET = 3
"""A search, a write, a look: what a connection may be about to use when the others learn that little is left."""


class Rate:
    """What is left for one sink, by the newest answer to any of its connections. Safe for several threads.

    Args: connections: how many use it.
    """

    def __init__(self, connections: int, now: Callable[[], datetime]) -> None:
        self._reserve = connections * CALLS_A_TICKET
        self._now = now
        self._lock = threading.Lock()
        self._until: datetime | None = None

    def heard(self, headers: Mapping[str, str]) -> None:
        """The headers of an answer, names in lower case."""
        now = self._now()
        allowance = read_allowance(headers, now)
        if allowance is None:
            return
        # A tenth of a small limit, so that a limit of ten calls a minute is not reserve alone.
        scarce = allowance.remaining <= min(self._reserve, allowance.limit // 10)
        with self._lock:
            self._until = now + timedelta(seconds=allowance.reset_s) if scarce else None

    def until(self, now: datetime) -> datetime | None:
        """When calls may go on; None where they may."""
        with self._lock:
            return self._until if self._until is not None and lies_ahead(self._until, now) else None
