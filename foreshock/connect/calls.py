"""What became of each call to a system, and when one that only reads may be repeated at once.

There is a budget for that, as in gRPC (proposal A6, "Retry throttling") and Finagle (``RetryBudget``): good answers
earn repetitions, so a system that fails now and then is asked again, and one that is down, or has too much to do,
gets hardly a call more.
"""

from msgspec import Struct

from foreshock.core.errors import ForeshockError

EARNED = 0.2
"""Repetitions that a good answer earns. Source: Finagle, ``percentCanRetry`` 0.2."""
SAVED = 10.0
"""So many are saved at most."""
AT_FIRST = 2.0
MAX_IN_A_ROW = 2
"""So often one call is repeated at most."""
QUICK_S = 2.0
"""A call that took longer to fail is not repeated: the system has too much to do."""
PAUSE_S = 0.2
"""Before a repetition: as much at most, evenly drawn."""


class Made(Struct, frozen=True):
    """A call that was made. safe: it changes nothing there. error: None where the server answered it well."""

    safe: bool
    error: ForeshockError | None


class RetryBudget:
    """Of one connection. Not for several threads at once."""

    def __init__(self) -> None:
        self._saved = AT_FIRST

    def earn(self) -> None:
        self._saved = min(SAVED, self._saved + EARNED)

    def spend(self) -> bool:
        """Whether there was one left."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
