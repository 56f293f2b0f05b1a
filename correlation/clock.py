"""How a source's clock stands to ours, measured from what it dates, and what of that is corrected.

A date ahead of the record it came with is a clock that runs ahead: nothing reports the future. So that is corrected, up
to ``fold.max_skew``. A date behind is no evidence by itself: between an onset and its report may lie a poll, a group
interval, an evaluation delay. So it is only reported, unless an entry of ``fold.sources`` says that for this source it
is the clock. Samples are taken where a report should be fresh: from the first event of an occurrence and the one that
ends it, dated while we were in touch with the source. Delays only add, so the clock shows in the lowest of them.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from foreshock.core.model import Moment

SAMPLES = 16
_AHEAD_FROM = 3
_LATE_FROM = 8
"""Samples before anything is said: a late one may be chance, an early one hardly."""
_NOISE_S = 5.0
"""What the way, the batches and a date in whole seconds explain."""
_OUT_OF_TOUCH = timedelta(minutes=3)
"""A source not heard for so long may have been cut off: what it then brings is old for that reason."""

NO_SKEW = timedelta(0)


class Clock(Struct, kw_only=True):
    """What is known of one source's clock.

    Attributes:
        lags_s: of the latest samples, received minus dated, seconds; below zero is ahead of us. One a record, the
            lowest; sampled_at is the last one's.
        in_touch_since: heard of without a longer pause since then.
        ahead: by how much it is taken to run ahead; below zero is behind, zero where nothing is corrected.
    """

    in_touch_since: Moment
    lags_s: tuple[float, ...] = ()
    sampled_at: Moment | None = None
    ahead: timedelta = NO_SKEW


class State(StrEnum):
    """What the samples say."""

    UNKNOWN = "unknown"
    IN_STEP = "in step"
    AHEAD = "ahead"
    LATE = "late"


class Reading(Struct, frozen=True):
    """What the samples of a clock say. lag_s: seconds by which its dates lie before their receipt, below zero after it.
    ahead: what is corrected."""

    state: State
    lag_s: float = 0.0
    ahead: timedelta = NO_SKEW


def heard(clock: Clock, at: datetime, last_seen: datetime) -> None:
    """The source is heard of ``at``, and was at ``last_seen`` before."""
    if at - last_seen > _OUT_OF_TOUCH:
        clock.in_touch_since = at


def sample(clock: Clock, dated: datetime, at: datetime) -> bool:
    """Take a sample from an event that should be fresh; whether that changes what is known."""
    if dated <= at and dated < clock.in_touch_since:
        return False
    lag_s, lags_s = round((at - dated).total_seconds(), 3), clock.lags_s
    if clock.sampled_at == at:
        if lag_s >= lags_s[-1]:
            return False
        lags_s = lags_s[:-1]
    clock.lags_s, clock.sampled_at = (*lags_s, lag_s)[-SAMPLES:], at
    return True


def read(clock: Clock, bound: timedelta, *, late_is_clock: bool) -> Reading:
    """What the samples say, and what of that is corrected. A quarter of them, and always one, may be odd: that is
    no clock."""
    lags = sorted(clock.lags_s)
    if len(lags) < _AHEAD_FROM:
        return Reading(State.UNKNOWN)
    lag_s = lags[max(1, len(lags) // 4)]
    if lag_s < -_NOISE_S:
        ahead = timedelta(seconds=-lag_s)
        return Reading(State.AHEAD, lag_s, ahead if ahead <= bound else NO_SKEW)
    if lag_s <= _NOISE_S:
        return Reading(State.IN_STEP, lag_s)
    if len(lags) < _LATE_FROM:
        return Reading(State.UNKNOWN)
    behind = timedelta(seconds=lag_s)
    return Reading(State.LATE, lag_s, -behind if late_is_clock and behind <= bound else NO_SKEW)


def words(reading: Reading, bound: timedelta) -> str:
    """For people; empty where there is nothing to tell."""
    seconds = f"{abs(reading.lag_s):.0f} s"
    if reading.state is State.AHEAD:
        if reading.ahead:
            return f"its clock is {seconds} ahead of ours; onsets are corrected by that"
        return (
            f"its clock is {seconds} ahead of ours, more than is corrected ({bound.total_seconds():.0f} s, "
            "correlation.fold.max_skew); set its clock"
        )
    if reading.state is State.LATE:
        if reading.ahead:
            return f"its clock is {seconds} behind ours; onsets are corrected by that"
        return (
            f"its events are dated {seconds} or more before they come: it reports late, or its clock is behind; if it "
            "is the clock, set it, or write late_is_clock for this source in correlation.fold.sources"
        )
    return ""
