"""Two outcomes held against each other, incident by incident.

A situation is known on the other side by the alerts it shares while both were open. Two that have most in common with
each other, both ways, are one incident before and after (``partners``); one that has no partner has merged into, or was
split off from, the one that holds most of its alerts. What counts is what people see: a situation without a ticket on
either side is no incident.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from statistics import median, quantiles

from msgspec import Struct

from correlation.group import number
from foreshock.core.learned import foreign
from foreshock.core.model import Moment
from foreshock.service.plan.outcome import Incident, Outcome
from foreshock.service.plan.reason import Reasons
from foreshock.service.plan.tickets import TicketTotals
from foreshock.service.scoring import Fit

_SAME_S = 1.0
"""A ticket that comes at most so much earlier or later comes at the same time."""
_OF_A_PROBLEM = 5
"""Incidents shown of a Problem, the latest."""
_FOREVER = datetime.max.replace(tzinfo=UTC)


class Kind(StrEnum):
    """What became of incidents; the value is what a threshold calls their number."""

    MERGED = "merged"
    SPLIT = "split"
    APPEARED = "appeared"
    VANISHED = "vanished"
    MOVED = "moved"
    PRIORITY = "priority_changed"
    CAUSE = "cause_changed"
    ASSIGNMENT = "assignment_changed"
    TIME = "time_changed"
    TEXT = "text_changed"
    WRITES = "writes_changed"
    NOTICES = "notices_changed"
    PROBLEM = "problem_changed"


class Difference(Struct, frozen=True, kw_only=True):
    """One difference.

    Attributes:
        before, after: the incidents concerned, the one that both sides have first.
        what: in a few words. reason: what made the difference.
    """

    kind: Kind
    before: tuple[Incident, ...] = ()
    after: tuple[Incident, ...] = ()
    what: str
    reason: str

    @property
    def priority(self) -> int:
        """Of the most urgent incident concerned."""
        return min(incident.priority for incident in (*self.before, *self.after))


class Totals(Struct, frozen=True, kw_only=True):
    """Of one side.

    Attributes:
        tickets: opened. by_priority, by_group, by_hour: of the incidents; hours are hours of the day, UTC.
        by_group_and_hour: the same, by both. busiest_hour: most tickets in one hour of the clock.
        noise_reduction: 1 - tickets / events.
        wait_p50_s, wait_p95_s: from the first alert to the ticket; None without tickets.
        written: what was written to tickets, and whom was told, also by priority and team; Problems.
        fit: with what is known to belong together; None where nothing was given.
    """

    events: int
    situations: int
    tickets: int
    by_priority: dict[int, int]
    by_group: dict[str, int]
    by_hour: dict[int, int]
    by_group_and_hour: dict[str, dict[int, int]]
    busiest_hour: int
    noise_reduction: float
    wait_p50_s: float | None
    wait_p95_s: float | None
    written: TicketTotals = TicketTotals()
    fit: Fit | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What would have been different.

    Attributes:
        first_at: of the events; None without any. span_s: from there to the last one.
        in_force_before, in_force_after: versions at the end of each side.
        same: how many incidents are the same on both sides.
        notes: what makes the comparison worth less.
    """

    first_at: Moment | None
    span_s: float
    in_force_before: tuple[str, ...]
    in_force_after: tuple[str, ...]
    before: Totals
    after: Totals
    same: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """What each of ``VALUES`` is; ``FIT_VALUES`` only where there is truth to hold against."""
        found: Counter[str] = Counter()
        for each in self.differences:
            found.update((each.kind.value, f"{each.kind.value}_p{each.priority}"))
        found.update(differences=len(self.differences), same=self.same)
        found.update(tickets=self.after.tickets, tickets_before=self.before.tickets)
        for side, end in ((self.after, ""), (self.before, "_before")):
            found.update({f"{name}{end}": value for name, value in _written(side.written).items()})
        values = {name: float(found[name]) for name in VALUES if name not in FIT_VALUES}
        if (one := self.before.fit) is not None and (other := self.after.fit) is not None:
            told = (other.f1, one.f1, one.f1 - other.f1, other.precision, other.recall)
            values |= dict(zip(FIT_VALUES, told, strict=True))
        return values


def _written(totals: TicketTotals) -> dict[str, int]:
    """What a threshold may name of it."""
    written = totals.all
    return {
        "updates": written.updated,
        "reopenings": written.reopened,
        "resolutions": written.resolved,
        "sla_warnings": written.sla,
        "escalations": written.escalations,
        "problems": totals.problems,
    }


FIT_VALUES = ("f1", "f1_before", "f1_drop", "precision", "recall")
"""What a threshold may name where labelled truth is given."""

VALUES: tuple[str, ...] = (
    *(name for kind in Kind for name in (kind.value, *(f"{kind.value}_p{priority}" for priority in range(1, 6)))),
    "differences",
    "same",
    "tickets",
    "tickets_before",
    *(f"{name}{end}" for name in _written(TicketTotals()) for end in ("", "_before")),
    *FIT_VALUES,
)
"""What a threshold may name: how many incidents became what, also of each priority, how many tickets there are, and how
well situations fit the truth."""


def compare(before: Outcome, after: Outcome) -> Plan:
    """Both have read the same history, and have finished."""
    shared = _shared(before, after)
    differences = sorted(
        chain(_differences(before, after, shared), _problems(before, after)),
        key=lambda each: (list(Kind).index(each.kind), each.priority, _first(each)),
    )
    touched = {one.id for each in differences if each.kind is not Kind.PROBLEM for one in each.before}
    return Plan(
        first_at=before.first_at,
        span_s=before.span_s,
        in_force_before=_in_force(before),
        in_force_after=_in_force(after),
        before=_totals(before),
        after=_totals(after),
        same=sum(one.ticket_at is not None and one.id not in touched for one in before.incidents.values()),
        differences=tuple(differences),
        notes=tuple(_notes(before, after)),
    )


def _notes(before: Outcome, after: Outcome) -> Iterator[str]:
    cis = [side.engine.topology.cis for side in (before, after)]
    if not all(cis):
        which = "history holds" if not any(cis) else "one side has"
        yield f"{which} no topology, so nothing is related along relationships there; give both one (--base-topology)"
    learned = after.engine.learned.learned
    if learned != before.engine.learned.learned and (why := foreign(learned, cis[1])):
        yield f"what was learned: {why}; its pairs mean nothing here, learn from this estate's history"
    if any(side.written.all.sla or side.written.all.escalations for side in (before, after)):
        yield "SLA warnings and escalations are told as if nobody took a ticket or ended it: people's part is left out"


# ---- who is who -----------------------------------------------------------------------------------------------------

Shared = Mapping[str, Mapping[str, int]]
"""How many alerts a situation before has in common with each after, by their ids."""


def _shared(before: Outcome, after: Outcome) -> dict[str, dict[str, int]]:
    holders: defaultdict[int, list[Incident]] = defaultdict(list)
    for id, alerts in after.alerts.items():
        for alert in alerts:
            holders[alert].append(after.incidents[id])
    shared: dict[str, dict[str, int]] = {id: {} for id in before.incidents}
    for id, alerts in before.alerts.items():
        one, found = before.incidents[id], shared[id]
        for alert in alerts:
            for other in holders.get(alert, ()):
                if one.opened_at <= (other.ended_at or _FOREVER) and other.opened_at <= (one.ended_at or _FOREVER):
                    found[other.id] = found.get(other.id, 0) + 1
    return shared


def _turned(shared: Shared) -> dict[str, dict[str, int]]:
    turned: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one, others in shared.items():
        for other, alerts in others.items():
            turned[other][one] = alerts
    return turned


def _most(shared: Mapping[str, int]) -> str:
    """The one with most in common, of several the oldest; empty if there is none."""
    return min(shared, key=lambda id: (-shared[id], number(id)), default="")


def partners(best_after: Mapping[str, str], best_before: Mapping[str, str]) -> dict[str, str]:
    """Which incident before is which one after. Each side says whom every incident has most in common with, empty for
    nobody. First those that say so of each other; then who is left takes that one, if it is left too. So whoever has no
    partner has most in common with one that has."""
    partner = {one: other for one, other in best_after.items() if other and best_before[other] == one}
    known = set(partner.values())
    wishes = (*best_after.items(), *((one, other) for other, one in best_before.items()))
    for one, other in wishes:
        if one and other and one not in partner and other not in known:
            partner[one] = other
            known.add(other)
    return partner


# ---- what became of them --------------------------------------------------------------------------------------------


def _differences(before: Outcome, after: Outcome, shared: Shared) -> Iterator[Difference]:
    turned, reasons = _turned(shared), Reasons(before, after)
    best_after = {id: _most(shared[id]) for id in before.incidents}
    best_before = {id: _most(turned.get(id, {})) for id in after.incidents}
    partner = partners(best_after, best_before)
    known = {other: one for one, other in partner.items()}
    merged = _gathered((one, best_after[one]) for one in before.incidents if one not in partner)
    parted = _gathered((other, best_before[other]) for other in after.incidents if other not in known)
    structure = [
        *(each for into, ones in merged.items() for each in _merged(before, after, ones, into, known, reasons)),
        *(each for source, ones in parted.items() for each in _parted(before, after, source, ones, partner, reasons)),
    ]
    yield from structure
    told = {incident.id for each in structure if each.kind in (Kind.MERGED, Kind.SPLIT) for incident in each.after}
    for one, other in partner.items():
        for change in _changes(before.incidents[one], after.incidents[other], reasons):
            if change.kind is not Kind.MOVED or other not in told:  # else it is told where the alerts went
                yield change


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The first of each pair by the second."""
    found: dict[str, list[str]] = {}
    for one, other in pairs:
        found.setdefault(other, []).append(one)
    return found


def _merged(
    before: Outcome, after: Outcome, ones: list[str], into: str, known: Mapping[str, str], reasons: Reasons
) -> Iterator[Difference]:
    told = [before.incidents[one] for one in ones if before.incidents[one].ticket_at is not None]
    if not told:
        return
    target = after.incidents.get(into)
    if target is None or target.ticket_at is None:
        for one in told:
            yield _vanished(one, target, _untold(after, before.alerts[one.id]))
        return
    here = before.incidents[known[into]]
    several = (here, *told) if here.ticket_at is not None else tuple(told)
    if len(several) == 1:  # it only changed its partner: the other one was no incident
        yield from _changes(several[0], target, reasons)
        return
    what = f"{len(several)} incidents become one"
    yield Difference(
        kind=Kind.MERGED, before=several, after=(target,), what=what, reason=reasons.merged(several, target)
    )


def _parted(
    before: Outcome, after: Outcome, source: str, others: list[str], partner: Mapping[str, str], reasons: Reasons
) -> Iterator[Difference]:
    told = [after.incidents[other] for other in others if after.incidents[other].ticket_at is not None]
    if not told:
        return
    origin = before.incidents.get(source)
    if origin is None or origin.ticket_at is None:
        for other in told:
            yield _appeared(other, origin, _untold(before, after.alerts[other.id]))
        return
    here = after.incidents[partner[source]]
    several = (here, *told) if here.ticket_at is not None else tuple(told)
    if len(several) == 1:
        yield from _changes(origin, several[0], reasons)
        return
    what = f"one incident becomes {len(several)}"
    yield Difference(kind=Kind.SPLIT, before=(origin,), after=several, what=what, reason=reasons.split(origin, several))


def _untold(outcome: Outcome, alerts: Iterable[int]) -> str:
    """Where alerts are that are in no situation that is told of."""
    found = sorted({outcome.earlier[alert] for alert in alerts if alert in outcome.earlier}, key=number)
    return f"in {', '.join(found[:3])}, which began before" if found else "in no situation"


def _vanished(one: Incident, other: Incident | None, untold: str = "") -> Difference:
    reason = other.no_ticket if other is not None else f"its alerts are {untold}"
    now = (other,) if other is not None else ()
    return Difference(kind=Kind.VANISHED, before=(one,), after=now, what="no ticket", reason=reason)


def _appeared(other: Incident, one: Incident | None, untold: str = "") -> Difference:
    reason = f"before: {one.no_ticket}" if one is not None else f"without the change its alerts are {untold}"
    was = (one,) if one is not None else ()
    return Difference(kind=Kind.APPEARED, before=was, after=(other,), what="a ticket", reason=reason)


def _changes(one: Incident, other: Incident, reasons: Reasons) -> Iterator[Difference]:
    """What is different about one incident."""
    if one.ticket_at is None or other.ticket_at is None:
        if one.ticket_at is not None:
            yield _vanished(one, other)
        elif other.ticket_at is not None:
            yield _appeared(other, one)
        return

    def different(kind: Kind, what: str, reason: str) -> Difference:
        return Difference(kind=kind, before=(one,), after=(other,), what=what, reason=reason)

    moved = reasons.moved(one, other)
    if moved is not None:
        yield different(Kind.MOVED, *moved)
    if one.priority != other.priority:
        what = f"P{one.priority} becomes P{other.priority}"
        yield different(Kind.PRIORITY, what, _both(one.priority_why, other.priority_why))
    elif one.ticket is not None and other.ticket is not None and one.ticket.priority != other.ticket.priority:
        what = f"P{one.ticket.priority} becomes P{other.ticket.priority} when it is opened"
        yield different(Kind.PRIORITY, what, f"P{other.priority} in the end: {other.priority_why}")
    if one.cause != other.cause:
        what = f"{one.cause or 'no cause'} becomes {other.cause or 'no cause'}"
        yield different(Kind.CAUSE, what, _both(one.cause_why, other.cause_why))
    if one.group != other.group:
        what = f"{one.group} becomes {other.group}"
        reason = f"owner of {other.cause}" if other.cause else "of the candidates the first with an owner"
        yield different(Kind.ASSIGNMENT, what, reason)
    elif one.ticket is not None and other.ticket is not None and one.ticket.group != other.ticket.group:
        what = f"{one.ticket.group or 'nobody'} becomes {other.ticket.group or 'nobody'} when it is opened"
        yield different(Kind.ASSIGNMENT, what, f"{other.group or 'nobody'} in the end")
    later_s = (other.ticket_at - one.ticket_at).total_seconds()
    if abs(later_s) > _SAME_S:
        assert one.wait_s is not None
        assert other.wait_s is not None
        waits = f"{one.wait_s:.0f} s becomes {other.wait_s:.0f} s, "
        shift = f"{abs(later_s):.0f} s {'later' if later_s > 0 else 'earlier'}"
        what = f"{waits}{shift}" if one.wait_s != other.wait_s else shift
        yield different(Kind.TIME, what, _both(one.waited, other.waited))
    if moved is None and (text := reasons.text(one, other)) is not None:  # else it says which alerts there are
        yield different(Kind.TEXT, *text)
    if moved is None and (writes := _writes(one, other)) is not None:
        yield different(Kind.WRITES, *writes)
    if (told := reasons.told(one, other)) is not None:
        yield different(Kind.NOTICES, *told)


def _writes(one: Incident, other: Incident) -> tuple[str, str] | None:
    """What was written more or less often after the tickets were opened, and why it was written last."""
    was, now = one.ticket, other.ticket
    if was is None or now is None:
        return None
    counts = {
        "updates": (was.updated, now.updated),
        "reopenings": (was.reopened, now.reopened),
        "resolutions": (was.resolved, now.resolved),
    }
    what = ", ".join(f"{name}: {before} becomes {after}" for name, (before, after) in counts.items() if before != after)
    return (what, _both(was.last or "it had none", now.last or "it has none")) if what else None


def _problems(before: Outcome, after: Outcome) -> Iterator[Difference]:
    """A Problem is known on the other side by what it is about."""
    for place in sorted(before.problems.keys() ^ after.problems.keys()):
        side, what = (before, "no Problem") if place in before.problems else (after, "a Problem")
        found = side.problems[place]
        several = tuple(side.incidents[id] for id in found.situations if id in side.incidents)[-_OF_A_PROBLEM:]
        if several:
            where = {"before": several} if side is before else {"after": several}
            reason = f"{'before: ' if side is before else ''}{found.reason}"
            yield Difference(kind=Kind.PROBLEM, **where, what=f"{what}: {found.title}", reason=reason)


def _both(one: str, other: str) -> str:
    return f"before: {one}; after: {other}" if one != other else other


# ---- totals ---------------------------------------------------------------------------------------------------------


def _totals(outcome: Outcome) -> Totals:
    told = [one for one in outcome.incidents.values() if one.ticket_at is not None]
    waits = [one.wait_s for one in told if one.wait_s is not None]
    pages = [(one.group, one.ticket_at) for one in told if one.ticket_at is not None]
    return Totals(
        events=outcome.events,
        situations=len(outcome.incidents),
        tickets=outcome.tickets,
        by_priority=dict(sorted(Counter(one.priority for one in told).items())),
        by_group=dict(sorted(Counter(one.group for one in told).items())),
        by_hour=_by_hour(at for _, at in pages),
        by_group_and_hour={
            group: _by_hour(at for one, at in pages if one == group) for group in sorted({one for one, _ in pages})
        },
        busiest_hour=max(Counter(at.replace(minute=0, second=0, microsecond=0) for _, at in pages).values(), default=0),
        noise_reduction=round(1 - outcome.tickets / outcome.events, 4) if outcome.events else 0.0,
        wait_p50_s=round(median(waits), 1) if waits else None,
        wait_p95_s=round(quantiles(waits, n=20)[-1] if len(waits) > 1 else waits[0], 1) if waits else None,
        written=TicketTotals(
            all=outcome.written.all,
            by_priority=dict(sorted(outcome.written.by_priority.items())),
            by_group=dict(sorted(outcome.written.by_group.items())),
            problems=len(outcome.problems),
        ),
        fit=outcome.fit,
    )


def _by_hour(times: Iterable[datetime]) -> dict[int, int]:
    return dict(sorted(Counter(at.hour for at in times).items()))


def _in_force(outcome: Outcome) -> tuple[str, ...]:
    versions = outcome.engine.versions[-1] if outcome.engine.versions else None
    if versions is None:
        return ()
    named = (*versions.rules, f"topology {versions.topology}", f"settings {versions.settings}")
    return (*named, f"learned {versions.learned}") if versions.learned else named


def _first(difference: Difference) -> int:
    return min(number(incident.id) for incident in (*difference.before, *difference.after))
