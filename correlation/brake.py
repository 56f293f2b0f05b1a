"""The storm brake: how many tickets may be opened within a minute, and what has to stand back.

The net below umbrellas: those gather what has a CI in common, this one what has nothing in common but that it comes too
fast, after a bad rule was rolled out or while a source has gone wild.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from foreshock.core.model import Moment

MINUTE = timedelta(minutes=1)
LOWEST = 5
_GOES_ON = (
    2  # a storm in which half as many come as it took to begin is over; so it does not begin and end all the time
)


class Opened(Struct, frozen=True, gc=False):
    """A situation got its first ticket, or the first in a further sink."""

    at: Moment
    priority: int


class Brake(Struct, kw_only=True):
    """Running state, by the records' clock.

    Attributes:
        opened: within the last minute, in order. wanted: when tickets were due that the storm is made of, in order; as
            many of the latest as tell whether it goes on.
        since: when the storm began; None while there is none. level: what is of this priority, or less urgent, opens no
            ticket in it. holder: id of the situation that has, or had, the ticket for that.
        held: situations that came under it in this storm.
    """

    opened: list[Opened] = []
    wanted: list[Moment] = []
    since: Moment | None = None
    level: int = LOWEST
    holder: str = ""
    held: int = 0

    def stops(self, priority: int) -> bool:
        """Whether there is a storm in which what is so urgent has to stand back."""
        return self.since is not None and priority >= self.level

    def full_until(self, priority: int, now: datetime, most: int) -> datetime | None:
        """When one of this priority may be opened again; None: now.

        What is less urgent takes the place of nothing: each counts what is as urgent as itself or more, up to ``most``
        in a minute, and all there is up to twice that.
        """
        recent = [each for each in self.opened if each.at > now - MINUTE]
        above = [each for each in recent if each.priority <= priority]
        oldest = [found[-bound].at for found, bound in ((above, most), (recent, 2 * most)) if len(found) >= bound]
        return max(oldest) + MINUTE if oldest else None

    def open(self, priority: int, now: datetime) -> None:
        """It is opened."""
        self.opened = [*_within_a_minute(self.opened, now), Opened(now, priority)]

    def want(self, now: datetime, most: int) -> None:
        """A ticket is due that stands back."""
        self.wanted = [*self.wanted, now][-_enough(most) :]

    def begin(self, priority: int, now: datetime, most: int) -> None:
        """What is so urgent comes too fast; or, in a storm, what is more urgent than what stood back so far."""
        if self.since is None:
            self.since, self.held, self.level = now, 0, priority
            self.wanted = [each.at for each in self.opened]
        self.level = min(self.level, priority)
        self.want(now, most)

    def over_at(self, most: int) -> datetime:
        """When the storm is over if nothing comes any more. Only while there is one."""
        enough = _enough(most)
        return self.wanted[-enough if enough <= len(self.wanted) else -1] + MINUTE

    def end(self) -> None:
        self.since, self.level = None, LOWEST


def _enough(most: int) -> int:
    return max(1, most // _GOES_ON)


def _within_a_minute(opened: Sequence[Opened], now: datetime) -> Sequence[Opened]:
    if not opened or opened[0].at > now - MINUTE:
        return opened
    return [each for each in opened if each.at > now - MINUTE]
