"""Holds what a case expects against what there is."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from foreshock.core.quantities import format_duration
from foreshock.service.cases.model import Check, Expected, ExpectedNotice, ExpectedProblem, ExpectedWrite
from foreshock.service.cases.play import Observed, Played, Returning, Seen, Told, Write


class Failure(Struct, frozen=True, kw_only=True):
    """What is not as expected: lines of what is missing, of what is there instead, and why."""

    at: timedelta
    expected: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def moment(self) -> str:
        return format_duration(self.at)


def failures(checks: Sequence[Check], played: Played) -> list[Failure]:
    """In order of time. What a step meant to do and did not is one too."""
    found = [Failure(at=one.at, expected=(one.done,), why=(one.why,)) for one in played.unheard]
    ordered = sorted(checks, key=lambda check: check.at)
    for check, seen in zip(ordered, played.seen, strict=True):
        found += _failures(check, seen)
    return sorted(found, key=lambda failure: failure.at)


def _failures(check: Check, seen: Seen) -> Iterator[Failure]:
    if check.situations is not None:
        yield from _of_situations(check, check.situations, seen.situations)
    yield from _of_tickets(check, seen)
    if check.notices is not None:
        yield from _of_notices(check, check.notices, seen)
    if check.problems is not None:
        yield from _of_problems(check, check.problems, seen.returning)


def _of_situations(check: Check, all_expected: Sequence[Expected], observed: Sequence[Observed]) -> Iterator[Failure]:
    left = {frozenset(one.alerts): one for one in observed}
    missing = []
    for expected in all_expected:
        found = left.pop(frozenset(expected.alerts), None)
        if found is None:
            missing.append(expected)
        else:
            yield from _differences(check, expected, found)
    wanted = {alert for one in missing for alert in one.alerts}
    instead = [one for one in left.values() if wanted & set(one.alerts) or not check.others]
    if missing or instead:
        yield Failure(
            at=check.at,
            expected=tuple(_together(one.alerts) for one in missing),
            observed=tuple(_together(one.alerts) for one in instead),
            why=tuple(f"{alert}: {one.why[alert]}" for one in instead for alert in one.alerts),
        )


def _differences(check: Check, expected: Expected, found: Observed) -> Iterator[Failure]:
    reasons = {"cause": found.cause_why, "held": found.held_why, "tickets": found.held_why}
    for name in ("cause", "priority", "state", "held", "assignment", "tickets"):
        wanted, there = getattr(expected, name), getattr(found, name)
        if wanted is not None and wanted != there:
            reason = reasons.get(name, "")
            yield Failure(
                at=check.at,
                expected=(f"{_together(found.alerts)}: {name} {_said(wanted)}",),
                observed=(f"{_together(found.alerts)}: {name} {_said(there)}",),
                why=(reason,) if reason else (),
            )
    because = expected.held_because
    if because is not None and because not in found.held_why:
        alerts = _together(found.alerts)
        yield Failure(
            at=check.at,
            expected=(f"{alerts}: held because {because}",),
            observed=(f"{alerts}: held because {_said(found.held_why)}",),
        )


# ---- tickets --------------------------------------------------------------------------------------------------------


def _of_tickets(check: Check, seen: Seen) -> Iterator[Failure]:
    left = list(seen.writes)
    for expected in check.tickets:
        if expected.not_opened:
            yield from _not_opened(check, expected, seen)
            continue
        found = next((one for one in left if _is_written(expected, one)), None)
        if found is not None:
            left.remove(found)
            continue
        about = [one for one in left if expected.alert in one.alerts]
        alike = [one for one in about if one.verb == expected.verb] or about
        reason = _no_write_because(expected.alert, seen)
        yield Failure(
            at=check.at,
            expected=(_wanted(expected),),
            observed=tuple(map(_write, alike)) or (f"no ticket about {expected.alert}",),
            why=(reason,) if reason else (),
        )


def _not_opened(check: Check, expected: ExpectedWrite, seen: Seen) -> Iterator[Failure]:
    opened = [
        one
        for one in seen.writes
        if one.verb == "open" and expected.alert in one.alerts and expected.sink in ("", one.sink)
    ]
    reason = _no_write_because(expected.alert, seen)
    if opened:
        yield Failure(at=check.at, expected=(_wanted(expected),), observed=tuple(map(_write, opened)))
    elif expected.because not in reason:
        observed = f"not_opened: {expected.alert}, because {reason or 'nothing says why'}"
        yield Failure(at=check.at, expected=(_wanted(expected),), observed=(observed,))


def _is_written(expected: ExpectedWrite, write: Write) -> bool:
    return (
        expected.verb == write.verb
        and expected.alert in write.alerts
        and expected.at in (None, write.at)
        and expected.priority in (None, write.priority)
        and expected.group in (None, write.group)
        and (expected.title is None or expected.title in write.title)
        and expected.sink in ("", write.sink)
    )


def _no_write_because(alert: str, seen: Seen) -> str:
    """What was decided last of the situation that holds the alert; empty where a ticket has all that there is."""
    found = next((one for one in reversed(seen.situations) if alert in one.alerts), None)
    return f"no situation holds {alert}" if found is None else found.held_why


def _wanted(expected: ExpectedWrite) -> str:
    said = {
        "at": None if expected.at is None else format_duration(expected.at),
        "priority": expected.priority,
        "group": expected.group,
        "title": expected.title,
        "sink": expected.sink or None,
        "because": expected.because or None,
    }
    return f"{expected.verb}: {expected.alert}{_fields(said)}"


def _write(write: Write) -> str:
    said = {
        "at": format_duration(write.at), "priority": write.priority, "group": write.group, "title": write.title,
        "sink": write.sink,
    }  # fmt: skip
    return f"{write.verb}: {_together(tuple(write.alerts))}{_fields(said)}"


def _fields(said: Mapping[str, object]) -> str:
    return "".join(f", {name} {_said(value)}" for name, value in said.items() if value is not None)


# ---- what people are told, and Problems -----------------------------------------------------------------------------


def _of_notices(check: Check, all_expected: Sequence[ExpectedNotice], seen: Seen) -> Iterator[Failure]:
    left = list(seen.told)
    missing = []
    for expected in all_expected:
        found = next((one for one in left if _is_told(expected, one)), None)
        if found is not None:
            left.remove(found)
        else:
            missing.append(expected)
    if not missing and not left:
        return
    wanted = {one.alert for one in missing}
    yield Failure(
        at=check.at,
        expected=tuple(map(_wanted_notice, missing)),
        observed=tuple(map(_notice, left)),
        why=tuple(line for one in seen.situations if wanted & set(one.alerts) for line in one.to_be_told),
    )


def _is_told(expected: ExpectedNotice, told: Told) -> bool:
    return (
        expected.kind == told.kind
        and expected.alert in told.alerts
        and expected.level in (None, told.level)
        and expected.to in (None, told.to)
        and expected.at in (None, told.at)
    )


def _wanted_notice(expected: ExpectedNotice) -> str:
    at = None if expected.at is None else format_duration(expected.at)
    return f"{expected.kind}: {expected.alert}{_fields({'level': expected.level, 'to': expected.to, 'at': at})}"


def _notice(told: Told) -> str:
    said = {"level": told.level, "to": told.to, "at": format_duration(told.at)}
    return f"{told.kind}: {_together(tuple(told.alerts))}{_fields(said)}"


def _of_problems(
    check: Check, all_expected: Sequence[ExpectedProblem], returning: Sequence[Returning]
) -> Iterator[Failure]:
    left = [one for one in returning if one.is_problem]
    missing = []
    for expected in all_expected:
        found = next(
            (one for one in left if one.about == expected.about and expected.incidents in (None, one.incidents)), None
        )
        if found is not None:
            left.remove(found)
        else:
            missing.append(expected)
    if missing or left:
        wanted = {one.about for one in missing}
        yield Failure(
            at=check.at,
            expected=tuple(f"problem: about {one.about}{_fields({'incidents': one.incidents})}" for one in missing),
            observed=tuple(f"problem: about {one.about}, incidents {one.incidents}" for one in left),
            why=tuple(f"{one.about}: {one.reason}" for one in returning if one.about in wanted),
        )


def _together(alerts: Sequence[str]) -> str:
    return f"[{', '.join(sorted(alerts))}]"


def _said(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value) or "none"
