"""When to read a sink that said itself that something happened there: once that has settled, and a burst at once."""

from collections import deque
from datetime import datetime, timedelta

_WHOLE = timedelta(seconds=1)
"""Systems tell moments in whole seconds."""
_APART = timedelta(seconds=5)
"""Our own writes are told as well: a reading for each would cost more than the polls it saves."""


class Heard:
    """``hear`` may be called from any thread, the rest from the lane's.

    Args:
        settle: how old a change must be to be read.
    """

    def __init__(self, settle: timedelta) -> None:
        self._settle = settle + _WHOLE
        self._moments: deque[datetime] = deque()
        self._read_at: datetime | None = None

    def hear(self, now: datetime) -> None:
        if not self._moments or now - self._moments[-1] >= _WHOLE:
            self._moments.append(now)

    def due(self) -> datetime | None:
        """When to read; None while there is nothing to read for."""
        if not self._moments:
            return None
        settled_at = self._moments[0] + self._settle
        return settled_at if self._read_at is None else max(settled_at, self._read_at + _APART)

    def read(self, now: datetime) -> None:
        """A reading that began then has succeeded."""
        self._read_at = now
        while self._moments and self._moments[0] + self._settle <= now:
            self._moments.popleft()
