"""Time that was promised for an incident, and how much of it is gone. Pure: a clock, the hours it runs in, a moment.

A clock counts from the first ticket on. It stands while people wait for somebody (pending), while planned work covers
everything, and once the incident is over; what it has counted by then stays counted when it runs on.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from correlation.calendars import Hours
from correlation.settings import SlaTarget
from foreshock.core.model import SlaClock

ACKNOWLEDGE, RESOLVE = "acknowledge", "resolve"


def used(clock: SlaClock, now: datetime, hours: Hours | None) -> timedelta:
    """How much of the promised time is gone. hours: those it runs in; None: at any time."""
    if clock.since is None:
        return clock.used
    return clock.used + (now - clock.since if hours is None else hours.between(clock.since, now))


def reached_at(clock: SlaClock, amount: timedelta, hours: Hours | None) -> datetime | None:
    """When so much will be gone if nothing changes; None: never, as the clock stands or the hours never come."""
    if clock.since is None:
        return None
    left = max(amount - clock.used, timedelta(0))
    return clock.since + left if hours is None else hours.after(clock.since, left)


def counted(clock: SlaClock, now: datetime, before: Hours | None, *, stopped: str, calendar: str) -> SlaClock:
    """With what it has counted until now in the hours it ran in ``before``; from here on it stands for the reason
    ``stopped``, or runs in ``calendar`` where that is empty."""
    return msgspec.structs.replace(
        clock, used=used(clock, now, before), since=None if stopped else now, stopped=stopped, calendar=calendar
    )


def promised(target: SlaTarget, clock: SlaClock, *, acknowledged: bool) -> Iterator[tuple[str, timedelta, int]]:
    """What is still to be done: which, within how much time, and the percentage that was told last."""
    if target.acknowledge is not None and not acknowledged:
        yield ACKNOWLEDGE, target.acknowledge, clock.told_acknowledge
    if target.resolve is not None:
        yield RESOLVE, target.resolve, clock.told_resolve


def share(amount: timedelta, percent: int) -> timedelta:
    return amount * percent / 100


def passed(gone: timedelta, amount: timedelta, levels: tuple[int, ...], told: int) -> int:
    """The highest percentage that is reached and was not told; 0 if there is none."""
    return max((level for level in levels if level > told and gone >= share(amount, level)), default=0)
