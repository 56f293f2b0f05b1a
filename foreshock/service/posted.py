"""Points of metrics that are posted, on their way from the process in front to the metric history.

Who posts is answered once its points are synced there. A sync takes milliseconds, so what comes in while one batch is
on its way shares the next one; what waits counts as waiting requests do (``limits.waiting``), and is bounded with them.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from foreshock.connect.selecting import Metered
from foreshock.core.errors import Unavailable
from foreshock.core.model import Moment
from foreshock.service.listening_outlet import BatchOutlet

MAX_SOURCES = 1000
"""Names of sources are the senders' choice."""

Append = Callable[[bytes], Awaitable[None]]
"""An encoded ``metric_process.Append`` into the history. Raises Unavailable."""


class PostedPoints(Struct, kw_only=True):
    """What a source has posted since the start. ignored: not selected, or no number; late: too old, or ahead."""

    kind: str
    last_at: Moment
    batches: int = 0
    kept: int = 0
    ignored: int = 0
    late: int = 0


class Posting:
    """In the event loop of the process in front.

    Attributes:
        append: None until the history is there.
        counts: by source.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._outlets: dict[str, BatchOutlet] = {}
        self.append: Append | None = None
        self.counts: dict[str, PostedPoints] = {}

    async def measure(self, source: str, kind: str, metered: Metered) -> None:
        """Synced when it returns. Raises Unavailable."""
        if metered.samples:
            outlet = self._outlets.get(source)
            if outlet is None:
                outlet = self._outlets[source] = BatchOutlet(source, self._call)
            await outlet.measure(metered.samples)
        self._count(source, kind, metered)

    async def _call(self, what: str, argument: Any) -> None:
        if self.append is None:
            raise Unavailable("the metric history is still being loaded")
        _, body = argument
        await self.append(body)

    def _count(self, source: str, kind: str, metered: Metered) -> None:
        found = self.counts.get(source)
        if found is None:
            if len(self.counts) >= MAX_SOURCES:
                return
            found = self.counts[source] = PostedPoints(kind=kind, last_at=self._clock())
        found.last_at = self._clock()
        found.batches += 1
        found.kept += metered.points
        found.ignored += metered.ignored
        found.late += metered.late


def outcomes(counts: Mapping[str, PostedPoints]) -> list[tuple[tuple[str, str], float]]:
    """Points by source and what became of them."""
    return [
        ((source, outcome), float(getattr(points, outcome)))
        for source, points in counts.items()
        for outcome in ("kept", "ignored", "late")
    ]
