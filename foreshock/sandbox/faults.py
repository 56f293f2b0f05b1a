"""What goes wrong between us and a system, drawn from a seed or scripted call by call."""

import random
import threading
from collections import Counter, deque
from collections.abc import Mapping
from enum import StrEnum

from foreshock.core.errors import Invalid


class Fault(StrEnum):
    """What happens to one request instead of an answer.

    LOST: it is carried out, then the connection is cut. RESET: the connection is cut before. DELAY: answered late.
    ERROR, LIMITED, DENIED, FORBIDDEN: refused in the system's own shape (500, 429, 401, 403). MASKED: the body of ERROR
    with status 200. SLOW: the body drips.
    TRUNCATED: carried out, the body ends in the middle of its JSON. HTML: carried out, then a proxy's page instead of
    JSON. HUGE: a body of 10 MB. DUPLICATE: the request arrives twice; only of methods that a proxy may repeat
    (RFC 9110 section 9.2.2).
    """

    LOST = "lost"
    RESET = "reset"
    DELAY = "delay"
    ERROR = "error"
    LIMITED = "limited"
    DENIED = "denied"
    FORBIDDEN = "forbidden"
    MASKED = "masked"
    SLOW = "slow"
    TRUNCATED = "truncated"
    HTML = "html"
    HUGE = "huge"
    DUPLICATE = "duplicate"


class Faults:
    """Decides, request by request. Safe to steer from another thread.

    Args:
        rates: share of requests, 0..1, that each fault strikes.
        seed: the same seed and the same order of requests give the same faults.

    Attributes:
        struck: how often each fault struck.
    """

    def __init__(self, rates: Mapping[Fault, float] | None = None, seed: int = 1) -> None:
        self.struck: Counter[Fault] = Counter()
        self._rates = dict(rates or {})
        self._random = random.Random(seed)
        self._script: deque[Fault | None] = deque()
        self._lock = threading.Lock()

    def next(self) -> Fault | None:
        with self._lock:
            drawn = self._script.popleft() if self._script else self._draw()
            if drawn is not None:
                self.struck[drawn] += 1
            return drawn

    def script(self, *faults: Fault | None) -> None:
        """These for the next requests, one each (None: no fault), before rates count again."""
        with self._lock:
            self._script = deque(faults)

    def set_rates(self, rates: Mapping[Fault, float]) -> None:
        with self._lock:
            self._rates = dict(rates)

    def _draw(self) -> Fault | None:
        place = self._random.random()
        for fault, share in self._rates.items():
            place -= share
            if place < 0:
                return fault
        return None


def parse_rates(text: str) -> dict[Fault, float]:
    """``lost=0.1,limited=0.05``; a name alone strikes one request in ten. Raises Invalid."""
    rates: dict[Fault, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, share = part.partition("=")
        known = ", ".join(fault.value for fault in Fault)
        if name not in set(Fault):
            raise Invalid(f"{name!r} is no fault", hint=f"known: {known}")
        try:
            rates[Fault(name)] = float(share or 0.1)
        except ValueError:
            raise Invalid(f"{share!r} is no share of requests", hint="write it like lost=0.1") from None
    if not 0 <= sum(rates.values()) <= 1 or any(rate < 0 for rate in rates.values()):
        raise Invalid("the shares of all faults together lie between 0 and 1", hint="make them smaller")
    return rates
