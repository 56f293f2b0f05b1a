"""What is known of each source: what it sent, how its clock stands, how long its alerts hold, whether it has gone
silent. Part of the engine's state."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from correlation import clock
from correlation.clock import Clock, Reading
from correlation.fold import date_of, onset_of
from correlation.identity import Family
from foreshock.core.contracts import Collector
from foreshock.core.model import Alert, Event, Moment
from foreshock.core.quantities import format_duration

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_SOURCES = 10_000
"""Names of sources are the senders' choice; beyond this the one that was not heard of for longest is forgotten."""
_SECOND = timedelta(seconds=1)


class SourceCount(Struct, kw_only=True):
    """One source, so far.

    Attributes:
        expired: alerts of it that ran out because they were not sent again.
        silent_since: when it was last heard of, if its alerts have run out since for want of it; None while it reports.
        came_back_at, came_back_after: when an alert that had run out turned out to have fired on, and for how long it
            was not sent.
        expire_after: how long its alerts hold, as learned; zero while nothing was.
        clashes: alerts found to be about several CIs at once under the present identity rules; clash: the last, with
            the remedy.
    """

    collector: str
    last_seen: Moment
    clock: Clock | None = None
    batches: int = 0
    events: int = 0
    rejected: int = 0
    last_error: str = ""
    expired: int = 0
    silent_since: Moment | None = None
    came_back_at: Moment | None = None
    came_back_after: timedelta = timedelta(0)
    expire_after: timedelta = timedelta(0)
    clashes: int = 0
    clash: str = ""


def hear(engine: "Engine", name: str, collector: str, at: datetime) -> SourceCount:
    """A batch of a source has come."""
    source = engine.sources.get(name)
    if source is None:
        if len(engine.sources) >= MAX_SOURCES:
            del engine.sources[min(engine.sources, key=lambda known: (engine.sources[known].last_seen, known))]
            engine.senders.clear()
        source = engine.sources[name] = SourceCount(collector=collector, last_seen=at)
    if source.clock is None:
        source.clock = Clock(in_touch_since=at)
    clock.heard(source.clock, at, source.last_seen)
    if source.silent_since is not None:
        engine.say("source", name, "heard again", f"after {int((at - source.silent_since).total_seconds())} s")
        source.silent_since = None
    source.last_seen = at
    source.batches += 1
    return source


class Sender(Struct, frozen=True):
    """Who sends, with what follows from that.

    Attributes:
        source: name of the instance. known: alerts and label sets of its family by the labels' bytes as received.
        expire_after: how long an alert without an end of its own holds. ahead: of its clock.
    """

    source: str
    collector: Collector
    family: Family
    known: dict[bytes, Alert]
    expire_after: timedelta | None
    ahead: timedelta


class Before(Struct, frozen=True):
    """An alert, or one of its label sets, as it was before an event."""

    firing: bool
    expired: bool
    last_seen: datetime
    ends_at: datetime | None
    expires_at: datetime | None


def as_it_was(unit: Alert) -> Before:
    return Before(unit.firing, unit.expired, unit.last_seen, unit.ends_at, unit.expires_at)


def learn(engine: "Engine", sender: Sender, event: Event, unit: Alert, before: Before, at: datetime) -> None:
    """What an event that is no mere repeat tells of its source."""
    if unit.firing is not before.firing:
        time_it(engine, sender.source, date_of(event) if unit.firing else event.ends_at, at)
    if not before.expired or unit.expired or before.ends_at is None:
        return
    held = before.ends_at - before.last_seen
    if held != sender.expire_after:  # the source itself had said how long
        return
    if unit.firing:
        began = onset_of(date_of(event), at, sender.ahead)
        if began is not None and began < before.ends_at:
            came_back(engine, sender.source, at - before.last_seen, held)
    elif unit.ends_at is not None and unit.ends_at > before.ends_at:
        came_back(engine, sender.source, unit.ends_at - before.last_seen, held)


def hand_over(engine: "Engine", sender: Sender, alert: Alert, unit: Alert, before: Before) -> None:
    """A label set that another source sent first holds from now on until ``sender`` resolves it: it is his, so that
    his resolve finds it under whatever identity rules come into force."""
    held_already = before.firing and before.expires_at is None
    if not unit.firing or unit.expires_at is not None or held_already or unit.origin == sender.source:
        return
    was = engine.family(unit).name
    for one in (unit, alert) if alert.labels == unit.labels else (unit,):
        one.source, one.origin = sender.collector.kind, sender.source
    if was != sender.family.name:
        sender.known[unit.labels] = unit
        spellings = engine.spellings.setdefault(unit.fingerprint, [])
        if (was, unit.labels) not in spellings:
            spellings.append((was, unit.labels))


# ---- how long alerts hold -------------------------------------------------------------------------------------------


def expire_after(engine: "Engine", name: str, collector: str, *, expires: bool) -> timedelta | None:
    """How long an alert without an end of its own holds when it is not sent again; None: until it is resolved."""
    settings = engine.settings.fold
    said = settings.about(collector, name).expire_after
    if said is not None or not expires:
        return said
    source = engine.sources.get(name)
    learned = source.expire_after if source is not None else timedelta(0)
    return max(settings.expire_after, min(learned, settings.learn_expiry))


def ran_out(engine: "Engine", alert: Alert, held: timedelta) -> None:
    """An alert is over only because it was not sent again. held: for so long it was waited for."""
    engine.counts["expired"] += 1
    source = engine.sources.get(alert.origin)
    if source is None:
        return
    source.expired += 1
    if source.silent_since is None and engine.now - source.last_seen >= held:
        source.silent_since = source.last_seen
        seen = f"{source.last_seen:%Y-%m-%d %H:%M:%S} UTC"
        engine.say("source", alert.origin, "silent", f"nothing has come since {seen}; its alerts run out")


def came_back(engine: "Engine", name: str, after: timedelta, held: timedelta) -> None:
    """An alert that ran out after ``held`` has fired on all the time, and was not sent for ``after``. That may have
    been an outage; when it happens again alike, the source just takes longer."""
    source, most = engine.sources[name], engine.settings.fold.learn_expiry
    before, source.came_back_after = source.came_back_after, after
    first, source.came_back_at = source.came_back_at, engine.now
    if first == engine.now:
        source.came_back_after = max(before, after)
        return
    alike = before and before / 2 <= after <= before * 2
    longer = min(2 * max(before, after), most)
    if alike and held < longer and max(before, after) < most:
        source.expire_after = longer
        engine.senders.clear()
        engine.say(
            "source",
            name,
            "expiry",
            f"its alerts fire on for {int(after.total_seconds())} s without being sent again; they hold for "
            f"{format_duration(longer)} now instead of {format_duration(held)} (correlation.fold.learn_expiry)",
        )


# ---- how its clock stands -------------------------------------------------------------------------------------------


def time_it(engine: "Engine", name: str, dated: datetime | None, at: datetime) -> None:
    """Something fresh was dated."""
    source = engine.sources.get(name)  # we ourselves are none
    if dated is None or source is None or source.clock is None:
        return
    if clock.sample(source.clock, dated, at):
        _correct(engine, name, source)


def correct_all(engine: "Engine") -> None:
    """The settings say something else of clocks."""
    for name, source in engine.sources.items():
        _correct(engine, name, source)


def _correct(engine: "Engine", name: str, source: SourceCount) -> None:
    held, found = source.clock, reading(engine, name)
    if held is None or abs(found.ahead - held.ahead) < _SECOND:
        return
    held.ahead = found.ahead
    engine.senders.clear()
    said = clock_words(engine, name) or "its clock is in step with ours"
    engine.say("source", name, "clock", said)


def reading(engine: "Engine", name: str) -> Reading:
    source, settings = engine.sources[name], engine.settings.fold
    if source.clock is None:
        return Reading(clock.State.UNKNOWN)
    special = settings.about(source.collector, name)
    return clock.read(source.clock, settings.max_skew, late_is_clock=special.late_is_clock)


def clock_words(engine: "Engine", name: str) -> str:
    """How its clock stands, for people; empty where there is nothing to tell."""
    return clock.words(reading(engine, name), engine.settings.fold.max_skew)


def facts(engine: "Engine", name: str) -> dict[str, Any]:
    """What people are shown of a source, by the names of ``views.SourceView``."""
    source = engine.sources[name]
    collector, found = engine.collectors.get(source.collector), reading(engine, name)
    holds = expire_after(engine, name, source.collector, expires=collector is not None and collector.expires)
    return {
        "last_seen": source.last_seen,
        "batches": source.batches,
        "events": source.events,
        "clashes": source.clashes,
        "clash": source.clash,
        "expired": source.expired,
        "silent_since": source.silent_since,
        "holds_s": None if holds is None else holds.total_seconds(),
        "clock": clock_words(engine, name),
        "lag_s": None if found.state is clock.State.UNKNOWN else found.lag_s,
    }
