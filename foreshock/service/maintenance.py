"""Reads plans of maintenance as people write them, and works out when they take place.

A window that recurs is expanded here, at the edge, up to a horizon; the concrete times are what enters as a record, and
a job adds the next ones in time. So the engine, and each replay, knows neither calendars nor time zones: a replay with
another version of the time zone database sees the times that were in force (docs/decisions).

Facts:  RFC 5545 (iCalendar), and the IANA time zone database. A time that the clocks skip counts as the moment at which
        they skip it; one that comes twice as the first.
Bounds: a calendar of 1 MiB and 500 events, 500 spans of one window at a time, none finer than daily.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from correlation.settings import Matchers, read_matchers
from foreshock.core.errors import ConfigError, Invalid, Malformed, Problem, TooLarge
from foreshock.core.matchers import matches_all
from foreshock.core.model import MaintenanceWindow, SilenceMatcher, Span
from foreshock.core.quantities import Duration, ZoneName, read_zone

if TYPE_CHECKING:
    from icalendar import Calendar, Component

HORIZON = timedelta(days=90)
"""So far ahead a recurring window is expanded; it is expanded further when two thirds of that are left."""
MAX_SPANS = 500
MAX_CALENDAR_BYTES = 2**20
MAX_EVENTS = 500
_MAX_SAID = 300
MAX_LENGTH = timedelta(days=366)
_REEXPAND = HORIZON * 2 / 3
_NAMES = Field(default=(), max_length=200)
_RULE_PART = re.compile(r"BY(?:HOUR|MINUTE|SECOND)=([0-9,]+)")
_MAX_TIMES_A_DAY = 24


class Scope(BaseModel):
    """What a window is about: at least one CI, service or matcher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cis: tuple[str, ...] = Field(default=(), max_length=200, description="ids or names of CIs …")
    descendants: bool = Field(default=True, description="… and what depends on them")
    services: tuple[str, ...] = Field(
        default=(),
        max_length=200,
        description="business services: they, and each CI that only services named here need",
    )
    matchers: Matchers = Field(
        default=(), description='labels, as Alertmanager writes them: job="backup"; with CIs or services both must fit'
    )

    @property
    def is_empty(self) -> bool:
        return not (self.cis or self.services or self.matchers)

    def check(self) -> None:
        """Raises Invalid where it would cover nothing, or everything."""
        if self.is_empty:
            raise Invalid("a window has no scope", hint="name a CI, a service or a matcher", path=("cis",))
        if not self.cis and not self.services and matches_all(read_matchers(self.matchers), {}):
            raise Invalid(
                f"{list(self.matchers)} match every alert", hint="name at least one value", path=("matchers",)
            )


class Plan(Scope):
    """One window as a person writes it."""

    title: str = Field(min_length=1, max_length=200, description="what is done")
    comment: str = Field(min_length=1, max_length=2000, description="why; somebody will ask")
    owner: str = Field(default="", max_length=200, description="the person or team that asked for it")
    starts: str = Field(description="beginning, 2026-12-01 22:00, in `time_zone` unless it says its own")
    ends: str = Field(default="", description="end; or give `length`")
    length: Duration | None = Field(default=None, description="how long it lasts; or give `ends`")
    rrule: str = Field(
        default="", max_length=500, description="how it recurs, as iCalendar writes it: FREQ=WEEKLY;BYDAY=SU"
    )
    time_zone: ZoneName = Field(default="UTC", description="name of the IANA database: Europe/Berlin")

    @field_validator("rrule")
    @classmethod
    def _is_a_rule(cls, rule: str) -> str:
        return check_rule(rule) if rule else rule

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        self.check()
        begin, end = self.times()
        if end <= begin:
            raise Invalid(f"it ends at {end:%Y-%m-%d %H:%M}, not after it starts", path=("ends",))
        if end - begin > MAX_LENGTH:
            raise Invalid(f"it lasts {(end - begin).days} days, {MAX_LENGTH.days} are allowed", path=("ends",))
        return self

    def times(self) -> tuple[datetime, datetime]:
        """Beginning and end of the first span, aware. Raises Invalid."""
        begin = _moment(self.starts, "starts", self.time_zone)
        if bool(self.ends) == (self.length is not None):
            said = "both `ends` and `length`" if self.ends else "neither `ends` nor `length`"
            raise Invalid(f"it has {said}", hint="write one of them", path=("ends",))
        return begin, _moment(self.ends, "ends", self.time_zone) if self.length is None else begin + self.length


class Entry(Scope):
    """A window, or the windows of a calendar, kept in the settings."""

    name: str = Field(
        pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$", description="what it is called; the id of its window"
    )
    title: str = Field(default="", max_length=200, description="what is done")
    comment: str = Field(default="", max_length=2000, description="why; somebody will ask")
    owner: str = Field(default="", max_length=200, description="the person or team that asked for it")
    starts: str = Field(default="", description="beginning, 2026-12-01 22:00, in `time_zone` unless it says its own")
    ends: str = Field(default="", description="end; or give `length`")
    length: Duration | None = Field(default=None, description="how long it lasts; or give `ends`")
    rrule: str = Field(default="", description="how it recurs, as iCalendar writes it: FREQ=WEEKLY;BYDAY=SU")
    time_zone: ZoneName = Field(default="UTC", description="name of the IANA database: Europe/Berlin")
    calendar: Path | None = Field(
        default=None, description="iCalendar file with the times, in place of `starts`, `ends`, `length` and `rrule`"
    )

    @model_validator(mode="after")
    def _is_a_plan_or_a_calendar(self) -> Self:
        if self.calendar is None:
            self.plan()
        elif self.starts or self.ends or self.length or self.rrule:
            raise Invalid("it has a calendar and times of its own", hint="leave one of them out", path=("calendar",))
        return self

    def plan(self) -> Plan:
        fields = self.model_dump(exclude={"name", "calendar"})
        try:
            return Plan(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, Invalid):
                raise Invalid(str(cause), hint=cause.hint, path=(*first["loc"], *cause.path)) from None
            raise Invalid(first["msg"], path=first["loc"]) from None


def planned(entries: Iterable[Entry], now: datetime) -> list[MaintenanceWindow]:
    """The windows of the settings that are not over. Raises ConfigError naming the calendar that cannot be read."""
    found: list[MaintenanceWindow] = []
    problems: list[Problem] = []
    for entry in entries:
        owner = entry.owner or "configuration"
        if entry.calendar is None:
            found.append(window(entry.plan(), id=entry.name, owner=owner, origin="configuration", now=now))
            continue
        try:
            found += read_calendar(
                entry.calendar.read_bytes(),
                entry,
                owner=owner,
                origin="configuration",
                prefix=entry.name,
                now=now,
                time_zone=entry.time_zone,
            )
        except OSError as error:
            hint = "name an .ics file that can be read"
            problems.append(_problem(entry, error.strerror or str(error), hint))
        except Malformed as error:
            problems.append(_problem(entry, str(error.args[0]), error.hint))
    if problems:
        raise ConfigError(problems)
    return [made for made in found if made.expanded_to is not None or (made.spans and made.spans[-1].ends_at > now)]


def _problem(entry: Entry, message: str, hint: str) -> Problem:
    return Problem(file=str(entry.calendar), line=None, path=f"maintenance {entry.name}", message=message, hint=hint)


# ---- windows --------------------------------------------------------------------------------------------------------


def window(plan: Plan, *, id: str, owner: str, origin: str, now: datetime) -> MaintenanceWindow:
    """The window of a plan, expanded up to the horizon. owner: for a plan that names none."""
    begin, end = plan.times()
    made = MaintenanceWindow(
        id=id,
        title=plan.title,
        owner=plan.owner or owner,
        comment=plan.comment,
        spans=(Span(starts_at=begin.astimezone(UTC), ends_at=end.astimezone(UTC)),),
        schedule=f"{plan.rrule} ({plan.time_zone})" if plan.rrule else "",
        origin=origin,
        updated_at=now,
        **_scope_of(plan),
    )
    made = msgspec.structs.replace(made, calendar=_calendar_of(begin, end, plan.rrule))
    return expanded(made, now) if plan.rrule else made


def expanded(window: MaintenanceWindow, now: datetime) -> MaintenanceWindow:
    """The window with the spans from now to the horizon. What ended before is left out."""
    spans, to = spans_of(window.calendar, now, now + HORIZON)
    return msgspec.structs.replace(window, spans=spans, expanded_to=to, updated_at=now)


def extended(window: MaintenanceWindow, now: datetime) -> MaintenanceWindow | None:
    """The window with further spans, if it is time for that; None otherwise. What is known already stays as it is: a
    person may have ended a span early."""
    if window.expanded_to is None or window.expanded_to - now >= _REEXPAND:
        return None
    spans, to = spans_of(window.calendar, max(now, window.expanded_to), now + HORIZON)
    new = [span for span in spans if span.starts_at >= window.expanded_to]
    kept = [span for span in window.spans if span.ends_at > now]
    return msgspec.structs.replace(window, spans=_apart([*kept, *new]), expanded_to=to, updated_at=now)


def spans_of(calendar: str, start: datetime, end: datetime) -> tuple[tuple[Span, ...], datetime | None]:
    """When the events of an iCalendar text take place: spans that are not over at ``start`` and begin before ``end``,
    at most ``MAX_SPANS``; and up to when they are known, None where no others follow."""
    import recurring_ical_events  # type: ignore[import-untyped]
    from icalendar import Calendar

    found: list[Span] = []
    begins: datetime | None = None
    later = recurring_ical_events.of(Calendar.from_ical(calendar)).after(start)
    for event in islice(later, MAX_SPANS + 1):
        span = _span(event)
        if span.starts_at >= end:
            return _apart(found), end
        if len(found) == MAX_SPANS:
            return _apart(found), begins
        begins = span.starts_at
        found.append(span)
    return _apart(found), None


def same_plan(one: MaintenanceWindow, other: MaintenanceWindow) -> bool:
    """Whether two windows were made from the same plan; when it takes place next is no part of that."""
    return _plan_of(one) == _plan_of(other)


def _plan_of(window: MaintenanceWindow) -> MaintenanceWindow:
    nothing = datetime(1970, 1, 1, tzinfo=UTC)
    spans = () if window.calendar else window.spans
    return msgspec.structs.replace(window, spans=spans, expanded_to=None, updated_at=nothing)


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Ascending; those that meet become one."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.starts_at, span.ends_at)):
        if merged and span.starts_at <= merged[-1].ends_at:
            if span.ends_at > merged[-1].ends_at:
                merged[-1] = Span(starts_at=merged[-1].starts_at, ends_at=span.ends_at)
        else:
            merged.append(span)
    return tuple(merged)


def _scope_of(scope: Scope) -> dict[str, Any]:
    return {
        "cis": scope.cis,
        "descendants": scope.descendants,
        "services": scope.services,
        "matchers": tuple(
            SilenceMatcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal)
            for m in read_matchers(scope.matchers)
        ),
    }


# ---- times as people write them -------------------------------------------------------------------------------------


def _moment(text: str, field: str, time_zone: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Invalid(f"{text[:80]!r} is no time", hint="write it as 2026-12-01 22:00", path=(field,)) from None
    return found.replace(tzinfo=read_zone(time_zone)) if found.tzinfo is None else found


def check_rule(rule: str) -> str:
    """The rule as it is. Raises Invalid for one that cannot be read, or that recurs more often than makes sense."""
    hint = "write it as FREQ=WEEKLY;BYDAY=SU, or with DAILY, MONTHLY or YEARLY"
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";"))
    if parts.get("FREQ") not in ("DAILY", "WEEKLY", "MONTHLY", "YEARLY"):
        raise Invalid(f"the rule {rule[:80]!r} has no FREQ that a window can have", hint=hint)
    times = 1
    for values in _RULE_PART.findall(rule.upper()):
        times *= len(values.split(","))
    if times > _MAX_TIMES_A_DAY:
        raise Invalid(f"the rule {rule[:80]!r} recurs {times} times a day, {_MAX_TIMES_A_DAY} are allowed")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        spans_of(_calendar_of(begin, begin + timedelta(hours=1), rule), begin, begin + timedelta(days=1))
    except Exception as error:  # the library raises what its parts raise
        raise Invalid(f"the rule {rule[:80]!r} cannot be read ({error})", hint=hint) from None
    return rule


# ---- iCalendar ------------------------------------------------------------------------------------------------------


def read_calendar(
    body: bytes, scope: Scope, *, owner: str, origin: str, prefix: str, now: datetime, time_zone: str = "UTC"
) -> list[MaintenanceWindow]:
    """The windows of an iCalendar file, one for each UID, without those that are over.

    The properties X-FORESHOCK-CI, X-FORESHOCK-SERVICE and X-FORESHOCK-MATCHER of an event (each may come several times)
    say what it is about; ``scope`` is for events that have none. A cancelled event is left out. Ids are made of
    ``prefix`` and the UID, so that the same file read again sets the same windows.

    Args:
        time_zone: of times and whole days that name none.
    Raises: Malformed naming the event, or TooLarge.
    """
    if len(body) > MAX_CALENDAR_BYTES:
        raise TooLarge(f"the calendar has {len(body)} bytes, {MAX_CALENDAR_BYTES} are allowed")
    calendar = _parsed(body)
    by_uid: dict[str, list[Component]] = {}
    for event in calendar.walk("VEVENT"):
        if str(event.get("STATUS", "")).upper() != "CANCELLED":
            by_uid.setdefault(str(event.get("UID", "")) or f"event {len(by_uid) + 1}", []).append(event)
    if len(by_uid) > MAX_EVENTS:
        raise TooLarge(f"the calendar has {len(by_uid)} events, {MAX_EVENTS} are allowed")
    if not by_uid:
        raise Malformed("the calendar has no events", hint="export the events themselves, not free and busy times")
    found = []
    for uid, events in by_uid.items():
        made = _event_window(uid, events, calendar, scope, owner, origin, prefix, now, time_zone)
        if made.expanded_to is not None or (made.spans and made.spans[-1].ends_at > now):
            found.append(made)
    return found


def _event_window(
    uid: str,
    events: "Sequence[Component]",
    calendar: "Calendar",
    scope: Scope,
    owner: str,
    origin: str,
    prefix: str,
    now: datetime,
    time_zone: str,
) -> MaintenanceWindow:
    """events: of one UID: the first one, and what replaces single occurrences of it."""
    first = events[0]
    title = str(first.get("SUMMARY", "")).strip()[:200] or uid[:80]
    try:
        about = _own_scope(first) or scope
        about.check()
        for event in events:
            _settle_zone(event, time_zone)
            for rule in _listed(event.get("RRULE")):
                check_rule(rule.to_ical().decode())
        text = _calendar_text(calendar, events)
        spans, to = spans_of(text, now, now + HORIZON)
    except Exception as error:  # the libraries raise what their parts raise
        hint = getattr(error, "hint", "")
        raise Malformed(f"the event {title!r} cannot be taken: {_said(error)}", hint=hint) from None
    comment = " ".join(str(first.get("DESCRIPTION", "")).split())[:2000] or f"imported: {title}"
    organizer = first.get("ORGANIZER")
    named = str(organizer.params.get("CN", "")) if organizer is not None else ""
    rules = "; ".join(rule.to_ical().decode() for rule in _listed(first.get("RRULE")))
    return MaintenanceWindow(
        id=f"{prefix}-{blake2b(uid.encode(), digest_size=6).hexdigest()}",
        title=title,
        owner=named or owner,
        comment=comment,
        spans=spans,
        calendar=text,
        schedule=rules,
        expanded_to=to,
        origin=origin,
        updated_at=now,
        **_scope_of(about),
    )


def _parsed(body: bytes) -> "Calendar":
    from icalendar import Calendar

    try:
        found = Calendar.from_ical(body)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Malformed(f"this is no iCalendar file: {_said(error)}", hint="export it as .ics") from None
    if not isinstance(found, Calendar):
        raise Malformed("this is no iCalendar file: it does not begin with VCALENDAR", hint="export it as .ics")
    return found


def _said(error: Exception) -> str:
    """The libraries quote what they cannot read, however long it is."""
    said = str(error)
    return said if len(said) <= _MAX_SAID else said[:_MAX_SAID] + "…"


def _own_scope(event: "Component") -> Scope | None:
    def all_of(name: str) -> tuple[str, ...]:
        return tuple(str(value) for value in _listed(event.get(f"X-FORESHOCK-{name}")))

    found = Scope(cis=all_of("CI"), services=all_of("SERVICE"), matchers=all_of("MATCHER"))
    return None if found.is_empty else found


def _settle_zone(event: "Component", time_zone: str) -> None:
    """Give times without a zone, and whole days, the one that is meant."""
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        value = event.get(name)
        if value is not None and (moved := _aware(value.dt, time_zone)) is not value.dt:
            event.pop(name)
            event.add(name, moved)
    if event.get("DTSTART") is None:
        raise Invalid("it has no DTSTART", hint="give it a beginning")
    _check_order(event)
    for name in ("EXDATE", "RDATE"):
        if (value := event.get(name)) is not None:
            dates = [_aware(one.dt, time_zone) for each in _listed(value) for one in each.dts]
            event.pop(name)
            event.add(name, dates)


def _check_order(event: "Component") -> None:
    """What expands the events would turn an end before the beginning round."""
    begin: Any = event["DTSTART"]
    end: Any = event.get("DTEND")
    length: Any = event.get("DURATION")
    if (end is not None and end.dt < begin.dt) or (length is not None and length.dt < timedelta(0)):
        raise Invalid("it ends before it begins", hint="correct DTEND or DURATION")


def _aware(moment: Any, time_zone: str) -> Any:
    if isinstance(moment, datetime):
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=read_zone(time_zone))
    if isinstance(moment, date):
        return datetime(moment.year, moment.month, moment.day, tzinfo=read_zone(time_zone))
    return moment


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _calendar_text(calendar: "Calendar", events: "Iterable[Component]") -> str:
    """A calendar of these events alone, with the time zones that came with them."""
    made = _empty_calendar()
    for part in (*calendar.walk("VTIMEZONE"), *events):
        made.add_component(part)
    return str(made.to_ical(), "utf-8")


def _calendar_of(begin: datetime, end: datetime, rule: str) -> str:
    from icalendar import Event, vRecur

    event = Event()
    for name, value in {"uid": "window", "dtstart": begin, "dtend": end}.items():
        event.add(name, value)
    if rule:
        event.add("rrule", vRecur.from_ical(rule))
    made = _empty_calendar()
    made.add_component(event)
    return str(made.to_ical(), "utf-8")


def _empty_calendar() -> "Calendar":
    from icalendar import Calendar

    made = Calendar()
    made.add("prodid", "-//foreshock//maintenance//EN")
    made.add("version", "2.0")
    return made


def _span(event: Mapping[str, Any]) -> Span:
    return Span(starts_at=event["DTSTART"].dt.astimezone(UTC), ends_at=event["DTEND"].dt.astimezone(UTC))
