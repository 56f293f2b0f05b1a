"""Deduplication: one event into its alert, and what that meant."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from sys import intern

from correlation.clock import NO_SKEW
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


def in_our_time(moment: datetime, ahead: timedelta) -> datetime:
    """In UTC, and on our clock where the source's runs ``ahead``."""
    if not ahead:
        return in_utc(moment)
    try:
        return in_utc(moment) - ahead
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def end_of(event: Event, at: datetime, ahead: timedelta = NO_SKEW) -> datetime | None:
    """When the event says the condition ended; None while it holds."""
    ends_at = event.ends_at
    if ends_at is None or ends_at.year < _LONG_AGO_YEAR:
        return None
    ends_at = in_our_time(ends_at, ahead)
    return ends_at if ends_at <= at else None


def date_of(event: Event) -> datetime | None:
    """When the source says it began, on its own clock; None where it does not."""
    starts_at = event.starts_at
    return None if starts_at is None or starts_at.year < _LONG_AGO_YEAR else in_utc(starts_at)


def onset_of(dated: datetime | None, at: datetime, ahead: timedelta = NO_SKEW) -> datetime | None:
    """Onset as the source dates it, never after the record: a source whose clock runs ahead did not see the future."""
    return None if dated is None else min(in_our_time(dated, ahead), at)


def expiry_of(
    event: Event, at: datetime, expire_after: timedelta | None, ahead: timedelta = NO_SKEW
) -> datetime | None:
    """When the condition counts as over if it is not sent again (Prometheus dates that itself, in ``endsAt``)."""
    if event.ends_at is not None and event.ends_at.year >= _LONG_AGO_YEAR:
        return in_our_time(event.ends_at, ahead)
    return None if expire_after is None else at + expire_after


def first(
    fingerprint: str,
    source: str,
    labels: dict[str, str],
    event: Event,
    at: datetime,
    expire_after: timedelta | None,
    origin: str = "",
    ahead: timedelta = NO_SKEW,
) -> Alert:
    """The alert that an event with an unknown fingerprint begins; resolved at once if the event is a resolve."""
    ends_at, dated = end_of(event, at, ahead), date_of(event)
    return Alert(
        fingerprint=fingerprint,
        source=source,
        origin=origin,
        labels=bytes(event.labels),
        annotations=bytes(event.annotations),
        severity=severity_of(event, labels),
        starts_at=onset_of(dated, at, ahead) or at,
        dated=dated,
        ends_at=ends_at,
        expires_at=None if ends_at else expiry_of(event, at, expire_after, ahead),
        first_seen=at,
        last_seen=at,
        firing=ends_at is None,
        url=intern(event.url),  # of the rule, so many alerts share it
    )


def severity_of(event: Event, labels: dict[str, str]) -> Severity:
    return parse_severity(event.severity or labels.get("severity", ""))


def fold(
    alert: Alert,
    event: Event,
    at: datetime,
    settings: FoldSettings,
    expire_after: timedelta | None,
    ahead: timedelta = NO_SKEW,
) -> Outcome:
    """Fold ``event`` into ``alert`` and say what it was. ahead: by how much the clock of its source runs ahead.

    Late events change nothing but the count and, where they tell it, when an occurrence began or ended: a resolve dated
    before the present occurrence began, and a firing that belongs to an occurrence already known to have ended. So
    resolves that Prometheus repeats for 15 minutes, and batches that overtake each other, do no harm: where a source
    dates both ends of each occurrence, and dates it once, any order, delay and repetition of its events leads to the
    same ``firing``, ``starts_at`` and ``ends_at`` (an end and a start of one moment excepted: then the later to come
    counts). Where nobody said that it ended and it was only not sent again in time, the next firing goes on with the
    same occurrence: the source, or the way to it, was away for a while.
    """
    alert.count += 1
    ends_at, dated = end_of(event, at, ahead), date_of(event)
    onset = onset_of(dated, at, ahead)
    if ends_at is not None:
        newest = max(alert.starts_at, onset_of(alert.dated, at, ahead) or alert.starts_at)
        outcome = (
            _ends(alert, ends_at, newest, at, settings) if alert.firing else _ended_already(alert, ends_at, newest)
        )
        if onset is not None and onset <= ends_at and not alert.firing:
            _date_the_last(alert, onset, dated)
        return outcome
    if alert.firing:
        if onset is not None:
            if alert.last_end is not None and onset < alert.last_end:
                return Outcome.LATE
            # Two ways of sending one alert may date it differently; the earlier onset is the better one.
            alert.starts_at = min(alert.starts_at, onset)
            alert.dated = _later(alert.dated, dated)
        alert.last_seen = at
        outcome = Outcome.REPEAT
    else:
        outcome = _fires(alert, onset, dated, at, settings)
        if outcome is Outcome.LATE:
            return outcome
    alert.expires_at = expiry_of(event, at, expire_after, ahead)
    changed = False
    if event.severity and (severity := parse_severity(event.severity)) != alert.severity:
        alert.severity, changed = severity, True
    annotations = bytes(event.annotations)
    if hash(annotations) != alert.said:
        alert.annotate(annotations)
        changed = True
    return Outcome.CHANGED if changed and outcome is Outcome.REPEAT else outcome


def _ends(alert: Alert, ends_at: datetime, newest: datetime, at: datetime, settings: FoldSettings) -> Outcome:
    """A resolve comes while the alert fires. newest: the latest onset we know of."""
    if ends_at < newest:  # it ended an earlier occurrence than the newest we know of, which began after that
        alert.last_end = _later(alert.last_end, ends_at)
        if alert.starts_at < ends_at:
            alert.starts_at = newest
        return Outcome.LATE
    alert.last_seen = at
    resolve(alert, ends_at, at, settings)
    return Outcome.RESOLVED


def _ended_already(alert: Alert, ends_at: datetime, newest: datetime) -> Outcome:
    """A resolve comes for an alert that is over: the same again, or an end we did not know."""
    known = alert.ends_at or ends_at
    if ends_at == known:
        alert.expired = False
        return Outcome.REPEAT
    if alert.expired and ends_at >= alert.starts_at:  # now the source said itself when it was
        alert.expired, alert.ends_at = False, ends_at
    elif ends_at > known and not alert.expired:
        alert.last_end, alert.ends_at = known, ends_at
    else:
        alert.last_end = _later(alert.last_end, ends_at)
    if alert.last_end is not None and alert.starts_at < alert.last_end <= newest:
        alert.starts_at = newest
    return Outcome.LATE


def _fires(
    alert: Alert, onset: datetime | None, dated: datetime | None, at: datetime, settings: FoldSettings
) -> Outcome:
    """A firing comes for an alert that is over."""
    over_at = alert.ends_at
    if onset is not None and over_at is not None and onset < over_at:
        if not alert.expired:
            _date_the_last(alert, onset, dated)
            return Outcome.LATE
        if alert.last_end is not None and onset < alert.last_end:
            return Outcome.LATE
        onset = min(onset, alert.starts_at)
    alert.dated = dated
    begin(alert, at if onset is None else onset, at, settings)
    return Outcome.FIRED_AGAIN


def begin(alert: Alert, onset: datetime, at: datetime, settings: FoldSettings) -> None:
    """A further occurrence of an alert that is over; the same one goes on where it only ran out."""
    if alert.ends_at is not None and not alert.expired:
        alert.last_end = _later(alert.last_end, alert.ends_at)
    alert.last_seen = at
    alert.firing = True
    alert.expired = False
    alert.starts_at = onset
    alert.ends_at = None
    alert.occurrences += 1
    _flip(alert, at, settings)


def _date_the_last(alert: Alert, onset: datetime, dated: datetime | None) -> None:
    """Somebody says only now when the occurrence that is over began; one before that is of no interest any more."""
    if alert.last_end is not None and onset < alert.last_end:
        return
    of_another = alert.last_end is not None and alert.starts_at < alert.last_end
    alert.starts_at = onset if of_another else min(alert.starts_at, onset)
    alert.dated = _later(alert.dated, dated)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return other if one is None else one if other is None else max(one, other)


# ---- flapping -------------------------------------------------------------------------------------------------------


def resolve(alert: Alert, ends_at: datetime, at: datetime, settings: FoldSettings) -> None:
    """End the present occurrence."""
    alert.firing = False
    alert.ends_at = ends_at
    alert.expires_at = None
    _flip(alert, at, settings)


def _flip(alert: Alert, at: datetime, settings: FoldSettings) -> None:
    """Note a change between firing and resolved. One that flaps counts as active until it has kept still for a while,
    so that it disturbs once and not each time."""
    alert.flips = (*alert.flips, at)[-settings.flap_changes :]
    if alert.held_until is not None:
        alert.flaps += 1
    elif len(alert.flips) >= settings.flap_changes and at - alert.flips[0] <= settings.flap_within:
        alert.flaps = len(alert.flips)
    else:
        return
    alert.held_until = at + settings.flap_hold


def settle(alert: Alert) -> int:
    """It has kept still for long enough: it is what it is now. The number of changes while it flapped."""
    flaps = alert.flaps
    alert.held_until, alert.flaps, alert.flips = None, 0, ()
    return flaps
