"""What models may learn from: on which CI what began when, and which of it became an incident.

An incident is what people were asked to look at, and did not wave away. It begins with the first sign of it on the CI,
not with its ticket: what would be "foreseen" between the two was there already.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from correlation.closing import NO_INCIDENT
from foreshock.core.learned import TICKET, Happening, Incident, class_of
from foreshock.core.model import Alert, Ended, Moment, Situation, SituationState


class Lessons(Struct, frozen=True, kw_only=True):
    """In the order of time. left_out: how many situations were no incident, by the reason in words."""

    happenings: tuple[Happening, ...]
    incidents: tuple[Incident, ...]
    left_out: Mapping[str, int]


def lessons(situations: Iterable[Ended], min_priority: int) -> Lessons:
    """Of situations, over or not. min_priority: 1..5; what is less urgent (a larger number) is no incident."""
    happenings: set[Happening] = set()
    incidents: list[Incident] = []
    left_out: Counter[str] = Counter()
    for one in situations:
        happenings.update(_happenings(one))
        reason = _no_incident(one.situation, min_priority)
        if reason:
            left_out[reason] += 1
            continue
        found = list(_incidents(one.situation, one.alerts))
        if not found:
            left_out["no CI"] += 1
        incidents += found
    return Lessons(
        happenings=tuple(sorted(happenings, key=lambda each: (each.at, each.ci, each.name, each.severity))),
        incidents=tuple(sorted(incidents, key=lambda each: (each.onset, each.ci, each.situation))),
        left_out=dict(sorted(left_out.items())),
    )


def _happenings(one: Ended) -> Iterable[Happening]:
    yield from (happening(alert) for alert in one.alerts if alert.ci)
    yield from tickets(one.situation, {alert.ci for alert in one.alerts if alert.ci})


def happening(alert: Alert) -> Happening:
    """The present or last occurrence of an alert that is bound to a CI."""
    until = None if alert.firing else _seconds(alert.ends_at or alert.last_seen)
    return Happening(alert.ci, alert.starts_at.timestamp(), until, class_of(alert.read_labels()), int(alert.severity))


def tickets(situation: Situation, cis: Iterable[str]) -> Iterable[Happening]:
    """That people were asked to look, on each CI: a sign for what comes next, from the moment of asking on."""
    if situation.ticketed_at is not None and situation.state is not SituationState.MERGED:
        at, until = situation.ticketed_at.timestamp(), _seconds(situation.resolved_at)
        yield from (Happening(ci, at, until, TICKET, int(situation.severity)) for ci in sorted(cis))


def _no_incident(situation: Situation, min_priority: int) -> str:
    """Why it is none; empty if it is one."""
    if situation.state is SituationState.MERGED:
        return "merged into another"
    if situation.ticketed_at is None:
        return "no ticket"
    if situation.priority > min_priority:
        return f"below priority {min_priority}"
    said = {ticket.label for ticket in situation.tickets.values() if ticket.label in NO_INCIDENT}
    return f"closed as {min(said).replace('_', ' ')}" if said else ""


def _incidents(situation: Situation, alerts: Sequence[Alert]) -> Iterable[Incident]:
    """One for each CI that has an alert in it, and for its cause: as a forecast for any of them would come true."""
    first: dict[str, list[datetime]] = defaultdict(list)
    for alert in alerts:
        if alert.ci:
            first[alert.ci].append(alert.starts_at)
    cause = situation.cause_said or ("" if situation.cause_doubt or not situation.causes else situation.causes[0].ci)
    if cause and cause not in first:
        first[cause].append(situation.onset)
    for evidence in situation.evidence:
        if (ci := evidence.anomaly.ci) in first:
            first[ci].append(evidence.anomaly.onset)
    for ci, times in sorted(first.items()):
        yield Incident(
            ci=ci,
            onset=min(times).timestamp(),
            until=_seconds(situation.resolved_at or situation.cleared_at),
            situation=situation.id,
            priority=situation.priority,
            services=situation.services,
        )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


# ---- what there is to learn from, for people ------------------------------------------------------------------------

_A_GAP = timedelta(days=1)


class Gap(Struct, frozen=True):
    """Nothing began for so long: was there nothing, or was nobody listening?"""

    since: Moment
    until: Moment


class LabelReport(Struct, frozen=True, kw_only=True):
    """How much there is to learn from.

    Attributes:
        by_ci, by_service: incidents, most first. by_month: by "2026-11".
        left_out: situations that are no incident, by reason. gaps: the longest, longest first.
    """

    since: Moment | None
    until: Moment | None
    happenings: int
    incidents: int
    cis: int
    by_ci: dict[str, int]
    by_service: dict[str, int]
    by_month: dict[str, int]
    left_out: dict[str, int]
    gaps: tuple[Gap, ...]


def label_report(known: Lessons, *, most: int = 10) -> LabelReport:
    """most: entries of each list."""
    times = [_moment(each.at) for each in known.happenings if each.name != TICKET]
    gaps = sorted(
        (Gap(one, other) for one, other in itertools.pairwise(times) if other - one >= _A_GAP),
        key=lambda gap: gap.since - gap.until,
    )
    of_situation = {each.situation: each for each in known.incidents}.values()
    return LabelReport(
        since=times[0] if times else None,
        until=times[-1] if times else None,
        happenings=len(times),
        incidents=len(of_situation),
        cis=len({each.ci for each in known.incidents}),
        by_ci=dict(Counter(each.ci for each in known.incidents).most_common(most)),
        by_service=dict(Counter(name for each in of_situation for name in each.services).most_common(most)),
        by_month=dict(sorted(Counter(f"{_moment(each.onset):%Y-%m}" for each in of_situation).items())),
        left_out=dict(known.left_out),
        gaps=tuple(gaps[:most]),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
