"""What happens when more comes in than can be worked on, in this order: what people said may be shed is shed and
counted; then senders are asked to come later. What was answered as accepted is never let go.

How far it has come is one number: 0 is idle, from ``SHED_AT`` on things may be shed, at 1 senders are refused. It is
the nearer of two bounds: bytes of requests in memory, and records on disk that the engine has not reflected.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from msgspec import Struct

from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_labels
from foreshock.core.severity import parse_severity

SHED_AT = 0.5
_LOOK_S = 1.0
_STALE_S = 5.0

log = structlog.get_logger("foreshock")


class Bounds(Struct, frozen=True, kw_only=True):
    """waiting: bytes of requests in memory. lag: records not reflected. shed_sources, shed_severities: what may be let
    go; where both are given both must fit, where none is nothing may."""

    waiting: int = 256 * 1024 * 1024
    lag: int = 50_000
    shed_sources: tuple[str, ...] = ()
    shed_severities: tuple[str, ...] = ()


class Pressure:
    """Args:
        lag: records on disk that are not reflected.
    Attributes:
        held: bytes of requests in memory. shed: events that were let go, by source.
    """

    def __init__(self, bounds: Bounds, lag: Callable[[], int]) -> None:
        self.bounds, self._lag = bounds, lag
        self.held = 0
        self.shed: Counter[str] = Counter()
        self._shedding = bool(bounds.shed_sources or bounds.shed_severities)
        self._severities = frozenset(map(parse_severity, bounds.shed_severities))
        self._said = False

    def level(self) -> float:
        return max(self.held / self.bounds.waiting, self._lag() / self.bounds.lag)

    def why(self) -> str:
        """In words, for who is refused."""
        if self.held >= self.bounds.waiting:
            return f"requests of {self.held} bytes are waiting, {self.bounds.waiting} may (limits.waiting)"
        return f"{self._lag()} records are not worked on yet, {self.bounds.lag} may be (limits.lag)"

    def sheds(self, source: str, translated: Sequence[object], now: datetime, level: float) -> bool:
        """Whether all of a request may be let go, which is counted. An end never is: it would leave a ticket open."""
        if not self._shedding or level < SHED_AT or not all(self._may_go(source, each, now) for each in translated):
            self._said = self._said and level >= SHED_AT
            return False
        self.shed[source] += len(translated)
        if not self._said:
            self._said = True
            log.warning("shedding", source=source, why=self.why())
        return True

    def _may_go(self, source: str, item: object, now: datetime) -> bool:
        if not isinstance(item, Event) or (item.ends_at is not None and item.ends_at <= now):
            return False
        if self.bounds.shed_sources and source not in self.bounds.shed_sources:
            return False
        return not self._severities or parse_severity(item.severity or _severity_label(item)) in self._severities


def _severity_label(event: Event) -> str:
    try:
        return read_labels(event.labels).get("severity", "")
    except Malformed:
        return ""


class Lag:
    """Records on disk that the engine, perhaps in another process, has not reflected. Looked up now and then by another
    thread: a store that hangs must not hold up who asks.

    Args:
        last: number of the newest record on disk. position: of the newest that is reflected; may take a while.
    """

    def __init__(self, last: Callable[[], int], position: Callable[[], int], now: Callable[[], float] = time.monotonic):
        self._last, self._read, self._now = last, position, now
        self._position, self._at, self._looking = 0, float("-inf"), False

    def __call__(self) -> int:
        age = self._now() - self._at
        if age >= _LOOK_S and not self._looking:
            self._looking = True
            asyncio.get_running_loop().run_in_executor(None, self.look)
        # What was seen long ago says nothing: others may have filled the inbox, and the engine worked on it.
        return max(0, self._last() - self._position) if age < _STALE_S else 0

    def look(self) -> None:
        """Now."""
        try:
            self._position, self._at = self._read(), self._now()
        except Exception:
            log.warning("the engine's position could not be read", exc_info=True)
        finally:
            self._looking = False


def seldom(look: Callable[[], bool], now: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """What ``look`` says, at most a second old: it asks the store."""
    found, again_at = False, float("-inf")

    def known() -> bool:
        nonlocal found, again_at
        if now() >= again_at:
            found, again_at = look(), now() + _LOOK_S
        return found

    return known
