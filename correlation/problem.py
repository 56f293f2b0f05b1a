"""What comes back: incidents with the same cause and pattern, and the Problem that several of them make.

A pattern is a CI and the names of the alerts on it. It is remembered with its occurrences, each an incident that had a
ticket; from so many of them within a window on, it is a Problem. Pure: the engine tells what happened and when.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, structs

from correlation.cause import name_of
from correlation.closing import NO_INCIDENT, Label
from correlation.settings import ProblemSettings, read_matchers
from foreshock.core.matchers import matches_all
from foreshock.core.model import Alert, Change, Moment, Situation
from foreshock.core.quantities import format_duration

MAX_PATTERNS = 3000
"""Remembered at most; beyond it a tenth is forgotten: first what came once, then what is no Problem, each time what was
seen longest ago."""
MAX_OCCURRENCES = 20
"""Kept of one pattern, the newest; those before them are only counted."""
MAX_SIMILAR = 3
_MAX_NAMES = 20
_ALIKE = 0.5  # share of alert names that two occurrences have in common; half: a storm never brings quite the same
_MAX_TEXT = 500
_MAX_TITLE = 200
_DIGEST_BYTES = 6
_LISTED = 10


class Signature(Struct, frozen=True):
    """What makes two incidents alike.

    Attributes:
        place: the CI that is the cause, or on which it began; where there is none the fingerprint of the first alert.
        ci: the same, empty where there is no CI. names: of the alerts there, sorted.
    """

    place: str
    ci: str
    names: tuple[str, ...]

    @property
    def id(self) -> str:
        text = "\x00".join((self.place, *self.names))
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


class Occurrence(Struct, gc=False, kw_only=True):
    """One incident of a pattern.

    Attributes:
        ended_at: None while it lasts. how: it ended, in words. said: what the person who closed it wrote.
        label: as what it was closed. change: the last change on the CI before it, in words; empty if none is known.
        tickets: number by sink, of those that the sink has confirmed.
    """

    situation: str
    title: str
    priority: int
    opened_at: Moment
    ended_at: Moment | None = None
    how: str = ""
    said: str = ""
    label: Label = Label.UNKNOWN
    change: str = ""
    tickets: dict[str, str] = {}

    @property
    def counts(self) -> bool:
        return self.label not in NO_INCIDENT


class ProblemRecord(Struct, frozen=True, gc=False, kw_only=True):
    """Our side of the Problem that one sink keeps.

    Attributes:
        key: its identity there: the id of the problem, with a number behind it for one that follows another.
        state: planned, confirmed or rejected. number, url: as the sink named it.
        linked: situations whose tickets were told to belong to it. heard: outbox sequence of the newest answer.
        ended: resolved or closed by people there; ended_by: who, if that is known.
        known_error: what they wrote of it: the workaround, or what the cause is.
        previous: number of the record that this one follows.
    """

    key: str
    state: str = "planned"
    number: str = ""
    url: str = ""
    linked: tuple[str, ...] = ()
    heard: int = 0
    ended: str = ""
    ended_by: str = ""
    known_error: str = ""
    previous: str = ""


def as_read(record: ProblemRecord, ended: str, by: str, known_error: str) -> ProblemRecord:
    """The record with what people made of it; one that follows another keeps what they knew of that."""
    inherited = record.known_error if record.previous else ""
    return structs.replace(record, ended=ended, ended_by=by, known_error=cut(known_error) or inherited)


class Problem(Struct, gc=False, kw_only=True):
    """What a pattern has become. reason: why it was opened. quiet_since: proposed for closing then; None while it
    comes back. records: by sink."""

    id: str
    opened_at: Moment
    reason: str
    quiet_since: Moment | None = None
    records: dict[str, ProblemRecord] = {}

    @property
    def known_error(self) -> tuple[str, str]:
        """Number of a record and the text in it, of the first that has one; two empty texts if none has."""
        return next(((one.number, one.known_error) for one in self.records.values() if one.known_error), ("", ""))


class Pattern(Struct, gc=False, kw_only=True):
    """Incidents that are alike. Running state.

    Attributes:
        names: of the alerts on ``place`` when it was first seen, as in ``Signature``.
        since: when it was first seen.
        title, impact, urgency, priority, assignment_group: of its last incident.
        occurrences: oldest first, the newest of ``total``.
    """

    id: str
    place: str
    ci: str
    names: tuple[str, ...]
    since: Moment
    title: str = ""
    impact: int = 3
    urgency: int = 3
    priority: int = 5
    assignment_group: str = ""
    total: int = 0
    occurrences: list[Occurrence] = []
    problem: Problem | None = None

    @property
    def last(self) -> Occurrence:
        return self.occurrences[-1]

    def of(self, situation: str) -> Occurrence | None:
        return next((each for each in reversed(self.occurrences) if each.situation == situation), None)


# ---- what is alike --------------------------------------------------------------------------------------------------


def signature(situation: Situation, members: Sequence[Alert]) -> Signature:
    """Of a situation whose causes have been ranked. ``members`` in order of joining, at least one."""
    named = situation.causes[0].ci if situation.causes and not situation.cause_doubt else ""
    ci = next((ci for ci in (named, situation.first_ci) if any(alert.ci == ci for alert in members if ci)), "")
    there = [alert for alert in members if alert.ci == ci] if ci else members[:1]
    names = sorted({name_of(alert.read_labels()) for alert in there})
    return Signature(ci or members[0].fingerprint, ci, tuple(names[:_MAX_NAMES]))


def excluded(members: Sequence[Alert], settings: ProblemSettings) -> bool:
    """Whether the first alert is one of those that never make a Problem."""
    labels = members[0].read_labels()
    return any(matches_all(read_matchers(entry), labels) for entry in settings.exclude)


class Patterns:
    """What is remembered, by place, and by situation."""

    def __init__(self) -> None:
        self.by_id: dict[str, Pattern] = {}
        self._by_place: dict[str, list[str]] = {}
        self._by_situation: dict[str, str] = {}
        self.armed: datetime | None = None
        """When the timer fires that there is for all: one for each would outlive what is forgotten for its number."""

    def __len__(self) -> int:
        return len(self.by_id)

    def like(self, signature: Signature) -> Pattern | None:
        """The pattern at this place that shares the largest part of the names, at least half; of several the one that
        was first seen."""
        theirs = set(signature.names)
        found = []
        for id in self._by_place.get(signature.place, ()):
            pattern = self.by_id[id]
            share = len(theirs.intersection(pattern.names)) / len(theirs.union(pattern.names))
            if share >= _ALIKE:
                found.append((-share, pattern.since, id))
        return self.by_id[min(found)[2]] if found else None

    def of(self, situation: str) -> Pattern | None:
        """The pattern that this situation is an occurrence of."""
        return self.by_id.get(self._by_situation.get(situation, ""))

    def add(self, pattern: Pattern) -> None:
        self.by_id[pattern.id] = pattern
        self._by_place.setdefault(pattern.place, []).append(pattern.id)
        for each in pattern.occurrences:
            self._by_situation[each.situation] = pattern.id

    def occur(self, pattern: Pattern, occurrence: Occurrence) -> None:
        pattern.occurrences.append(occurrence)
        pattern.total += 1
        self._by_situation[occurrence.situation] = pattern.id
        for old in pattern.occurrences[:-MAX_OCCURRENCES]:
            self._by_situation.pop(old.situation, None)
        del pattern.occurrences[:-MAX_OCCURRENCES]

    def take_back(self, pattern: Pattern, situation: str) -> None:
        """It is no occurrence of it after all; a pattern without any is forgotten."""
        pattern.occurrences = [each for each in pattern.occurrences if each.situation != situation]
        pattern.total -= 1
        self._by_situation.pop(situation, None)
        if not pattern.occurrences:
            self.forget(pattern)

    def forget(self, pattern: Pattern) -> None:
        del self.by_id[pattern.id]
        here = self._by_place[pattern.place]
        here.remove(pattern.id)
        if not here:
            del self._by_place[pattern.place]
        for each in pattern.occurrences:
            self._by_situation.pop(each.situation, None)

    def overflow(self) -> list[Pattern]:
        """What has to be forgotten for its number."""
        if len(self.by_id) <= MAX_PATTERNS:
            return []
        order = sorted(
            self.by_id.values(),
            # A storm of what never came before must not push out what came back.
            key=lambda each: (each.problem is not None, each.total > 1, each.last.opened_at, each.id),
        )
        return order[: MAX_PATTERNS // 10]


# ---- whether it is a Problem ----------------------------------------------------------------------------------------


class Verdict(Struct, frozen=True):
    """Whether a pattern is a Problem, and why or why not in words."""

    recurs: bool
    reason: str


def verdict(pattern: Pattern, now: datetime, settings: ProblemSettings) -> Verdict:
    """Whether it came back often enough."""
    counted = within(pattern, now, settings)
    excused = sum(not each.counts for each in pattern.occurrences if _recent(each, now, settings))
    window = format_duration(settings.within)
    more = f"; {excused} more closed as no fault, duplicate or false alarm" if excused else ""
    if len(counted) < settings.occurrences:
        return Verdict(False, f"{len(counted)} of {settings.occurrences} in {window}{more}")
    span = _span(counted)
    return Verdict(True, f"{ordinal(len(counted))} time in {span}; {settings.occurrences} in {window} are enough{more}")


STATES = ("watched", "open", "quiet", "ended")


def state(pattern: Pattern) -> str:
    """watched: no problem; quiet: proposed for closing; ended: by people, in every sink."""
    problem = pattern.problem
    if problem is None:
        return "watched"
    if problem.records and all(record.ended for record in problem.records.values()):
        return "ended"
    return "open" if problem.quiet_since is None else "quiet"


def within(pattern: Pattern, now: datetime, settings: ProblemSettings) -> list[Occurrence]:
    """The occurrences that count at ``now``."""
    return [each for each in pattern.occurrences if each.counts and _recent(each, now, settings)]


def _recent(occurrence: Occurrence, now: datetime, settings: ProblemSettings) -> bool:
    return now - occurrence.opened_at <= settings.within


def looked_at(pattern: Pattern, settings: ProblemSettings) -> datetime | None:
    """When its Problem is to be proposed for closing, or it is to be forgotten, whichever comes next; None while an
    incident of it lasts."""
    if any(each.ended_at is None for each in pattern.occurrences):
        return None
    proposed = pattern.problem is None or pattern.problem.quiet_since is not None
    return over_at(pattern) + (settings.remember if proposed else settings.quiet)


def over_at(pattern: Pattern) -> datetime:
    """When the last of its incidents was over, or began if it is not."""
    return max(each.ended_at or each.opened_at for each in pattern.occurrences)


# ---- in words -------------------------------------------------------------------------------------------------------


def fields(pattern: Pattern, previous: str) -> dict[str, Any]:
    """What a Problem record should say, as ``contracts.ProblemOrder`` names it. previous: number of the record that it
    follows, empty if none."""
    return {
        "title": title(pattern),
        "description": description(pattern, previous),
        "impact": pattern.impact,
        "urgency": pattern.urgency,
        "priority": pattern.priority,
        "assignment_group": pattern.assignment_group,
        "ci": pattern.ci,
    }


def title(pattern: Pattern) -> str:
    """It stays the same while the pattern does: a title that changes with each incident cannot be found again."""
    names = ", ".join(pattern.names[:3]) + (" …" if len(pattern.names) > 3 else "")
    return f"Recurring: {names} on {pattern.ci}"[:_MAX_TITLE] if pattern.ci else f"Recurring: {names}"[:_MAX_TITLE]


def description(pattern: Pattern, previous: str) -> str:
    lines = [f"{rate(pattern)}. {_count(pattern.total, 'incident')} in all."]
    if pattern.ci:
        lines.append(f"Suspected CI: {pattern.ci}.")
    lines.append(f"Alerts on it: {', '.join(pattern.names)}.")
    if previous:
        lines.append(f"It follows {previous}, which was ended before it came back.")
    lines += ["", "Incidents, the newest first:"]
    lines += [f"- {line(each)}" for each in reversed(pattern.occurrences[-_LISTED:])]
    if pattern.total > _LISTED:
        lines.append(f"- and {pattern.total - _LISTED} before them")
    return "\n".join(lines)


def rate(pattern: Pattern) -> str:
    """How often it came back, of what is remembered and counts, in words."""
    occurrences = [each for each in pattern.occurrences if each.counts]
    times = _count(len(occurrences), "time")
    if len(occurrences) < 2:
        return times
    every = (occurrences[-1].opened_at - occurrences[0].opened_at) / (len(occurrences) - 1)
    return f"{times} in {_span(occurrences)}, every {roughly(every)} on average"


def line(occurrence: Occurrence) -> str:
    """One incident in a line."""
    numbers = ", ".join(occurrence.tickets.values())
    name = f"{occurrence.situation} ({numbers})" if numbers else occurrence.situation
    parts = [f"{name} at {occurrence.opened_at:%Y-%m-%d %H:%M} UTC: {occurrence.title}"]
    if occurrence.ended_at is not None:
        lasted = roughly(occurrence.ended_at - occurrence.opened_at)
        parts.append(f"{occurrence.how or 'over'} after {lasted}")
    if occurrence.change:
        parts.append(f"last change before it: {occurrence.change}")
    return "; ".join(parts)


def again(pattern: Pattern, news: Iterable[str]) -> str:
    """Note for a Problem that has come back, with these situations."""
    lines = [line(found) for id in news if (found := pattern.of(id)) is not None]
    return "\n".join([f"It came back: {rate(pattern)}.", *(f"- {each}" for each in lines)])


def proposal(pattern: Pattern, now: datetime) -> str:
    """Note for a Problem that has not come back for long."""
    return (
        f"No incident for {roughly(now - over_at(pattern))}: Foreshock proposes to close it. "
        "It closes no problem by itself; should it come back, it is told here, or in a new problem once this is closed."
    )


def for_incident(pattern: Pattern, sink: str) -> str:
    """What the note of a new incident of this pattern says of it in ``sink``; empty where it is new."""
    lines = []
    if pattern.problem is not None:
        lines.append(f"Part of problem {number_in(sink, pattern.problem)}: {rate(pattern)}.")
        number, text = pattern.problem.known_error
        if text:
            lines.append(f"Known error ({number}): {text}")
    return "\n".join(lines)


def number_in(sink: str, problem: Problem) -> str:
    """By which people know it there: the number of its record, or its id."""
    record = problem.records.get(sink)
    return record.number if record is not None and record.number else problem.id


def before(changes: Iterable[Change], onset: datetime) -> str:
    """The last of these changes before ``onset``, in words; empty if there is none."""
    last = max((each for each in changes if each.at <= onset), key=lambda each: (each.at, each.id), default=None)
    if last is None:
        return ""
    by = f" by {last.actor}" if last.actor else ""
    return f"{last.id} {last.title}{by}, {roughly(onset - last.at)} before"[:_MAX_TEXT]


def cut(text: str) -> str:
    """What people wrote, as much as is kept of it."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _span(occurrences: Sequence[Occurrence]) -> str:
    return roughly(occurrences[-1].opened_at - occurrences[0].opened_at)


def roughly(span: timedelta) -> str:
    """In the one unit that fits: nobody wants to know the seconds of a month."""
    for unit, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        number = round(span.total_seconds() / seconds)
        if span.total_seconds() >= 2 * seconds or (unit == "minute" and number):
            return _count(number, unit)
    return "less than a minute"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


# ---- how it ended before --------------------------------------------------------------------------------------------


class Past(Struct, frozen=True, kw_only=True):
    """An earlier incident of the same pattern. ticket: its number in the sink that asks, or in the first. how: it
    ended, in words; note: what the person who closed it wrote."""

    situation: str
    title: str
    opened_at: Moment
    ended_at: Moment | None
    how: str
    note: str
    label: str
    ticket: str


def similar(pattern: Pattern | None, situation: str, sink: str = "", limit: int = MAX_SIMILAR) -> tuple[Past, ...]:
    """The incidents like this one that are over: first those of which a person wrote how it was solved, then the
    newest; with their numbers in ``sink``."""
    if pattern is None:
        return ()
    over = [each for each in pattern.occurrences if each.situation != situation and each.ended_at is not None]
    over.sort(key=lambda each: (bool(each.said), each.opened_at), reverse=True)
    return tuple(
        Past(
            situation=each.situation,
            title=each.title,
            opened_at=each.opened_at,
            ended_at=each.ended_at,
            how=each.how,
            note=each.said,
            label=each.label.value,
            ticket=each.tickets.get(sink) or next(iter(each.tickets.values()), ""),
        )
        for each in over[:limit]
    )
