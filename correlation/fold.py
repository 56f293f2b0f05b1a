"""Deduplication: one event into its alert, and what that meant."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from sys import intern

from correlation.settings import FoldSettings
from foreshock.core.model import Alert, Event
from foreshock.core.severity import Severity, parse_severity


class Outcome(StrEnum):
    """What an event was to its alert; the same word is counted in the metrics and shown in the console."""

    NEW = "new"
    REPEAT = "repeat"
    CHANGED = "changed"
    FIRED_AGAIN = "fired_again"
    RESOLVED = "resolved"
    LATE = "late"


_LONG_AGO_YEAR = 1971
"""Alertmanager writes the year 1 for "no time"; nothing we watch started before this."""


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, so that equal moments are equal bytes; at the end of the calendar the last one UTC
    has."""
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def end_of(event: Event, at: datetime) -> datetime | None:
    """When the event says the condition ended; None while it holds."""
    ends_at = event.ends_at
    return in_utc(ends_at) if ends_at is not None and ends_at.year >= _LONG_AGO_YEAR and ends_at <= at else None


def start_of(event: Event, at: datetime) -> datetime:
    """Onset as the source dates it, never after the record: a source whose clock runs ahead did not see the future."""
    starts_at = event.starts_at
    return in_utc(starts_at) if starts_at is not None and starts_at.year >= _LONG_AGO_YEAR and starts_at <= at else at


def expiry_of(event: Event, at: datetime, expire_after: timedelta | None) -> datetime | None:
    """When the condition counts as over if it is not sent again (Prometheus dates that itself, in ``endsAt``)."""
    if event.ends_at is not None and event.ends_at.year >= _LONG_AGO_YEAR:
        return in_utc(event.ends_at)
    return None if expire_after is None else at + expire_after


def first(
    fingerprint: str,
    source: str,
    labels: dict[str, str],
    event: Event,
    at: datetime,
    expire_after: timedelta | None,
) -> Alert:
    """The alert that an event with an unknown fingerprint begins; resolved at once if the event is a resolve."""
    ends_at = end_of(event, at)
    return Alert(
        fingerprint=fingerprint,
        source=source,
        labels=bytes(event.labels),
        annotations=bytes(event.annotations),
        severity=severity_of(event, labels),
        starts_at=start_of(event, at),
        ends_at=ends_at,
        expires_at=None if ends_at else expiry_of(event, at, expire_after),
        first_seen=at,
        last_seen=at,
        firing=ends_at is None,
        url=intern(event.url),  # of the rule, so many alerts share it
    )


def severity_of(event: Event, labels: dict[str, str]) -> Severity:
    return parse_severity(event.severity or labels.get("severity", ""))


def fold(alert: Alert, event: Event, at: datetime, settings: FoldSettings, expire_after: timedelta | None) -> Outcome:
    """Fold ``event`` into ``alert`` and say what it was.

    Late events change nothing but the count: a resolve dated before the present occurrence began, and a firing that
        belongs
    to an occurrence already known to have ended. So resolves that Prometheus repeats for 15 minutes, and batches that
    overtake each other, do no harm. Where nobody said that it ended and it was only not sent again in time, the next
    firing
    goes on with the same occurrence: the source, or the way to it, was away for a while.
    """
    alert.count += 1
    ends_at = end_of(event, at)
    if ends_at is not None:
        if not alert.firing:
            if ends_at >= alert.starts_at:
                alert.expired = False  # now the source said so itself
            return Outcome.REPEAT if ends_at == alert.ends_at else Outcome.LATE
        if ends_at < alert.starts_at:
            return Outcome.LATE
        alert.last_seen = at
        resolve(alert, ends_at, at, settings)
        return Outcome.RESOLVED

    starts_at = start_of(event, at)
    if not alert.firing:
        if (
            not alert.expired
            and alert.ends_at is not None
            and event.starts_at is not None
            and starts_at < alert.ends_at
        ):
            return Outcome.LATE
        alert.last_seen = at
        alert.firing = True
        alert.expired = False
        alert.held_until = None
        alert.starts_at = starts_at
        alert.ends_at = None
        alert.occurrences += 1
        alert.flips = _flipped(alert, at, settings)
        outcome = Outcome.FIRED_AGAIN
    else:
        alert.last_seen = at
        # Two ways of sending one alert may date it differently; the earlier onset is the better one.
        alert.starts_at = min(alert.starts_at, starts_at)
        outcome = Outcome.REPEAT
    alert.expires_at = expiry_of(event, at, expire_after)
    changed = False
    if event.severity and (severity := parse_severity(event.severity)) != alert.severity:
        alert.severity, changed = severity, True
    annotations = bytes(event.annotations)
    if annotations != alert.annotations:
        alert.annotations, changed = annotations, True
    return Outcome.CHANGED if changed and outcome is Outcome.REPEAT else outcome


def resolve(alert: Alert, ends_at: datetime, at: datetime, settings: FoldSettings) -> None:
    """End the present occurrence; a flapping alert is held open for a while, so that it disturbs once and not each
    time."""
    alert.firing = False
    alert.ends_at = ends_at
    alert.expires_at = None
    alert.flips = _flipped(alert, at, settings)
    if flapping(alert, at, settings):
        alert.held_until = at + settings.flap_hold


def flapping(alert: Alert, at: datetime, settings: FoldSettings) -> bool:
    return len(alert.flips) >= settings.flap_changes and at - alert.flips[0] <= settings.flap_within


def _flipped(alert: Alert, at: datetime, settings: FoldSettings) -> tuple[datetime, ...]:
    return (*alert.flips, at)[-settings.flap_changes :]
