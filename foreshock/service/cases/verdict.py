"""Holds what a case expects against what there is."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from msgspec import Struct

from foreshock.core.quantities import format_duration
from foreshock.service.cases.model import Check, Expected
from foreshock.service.cases.play import Observed, Played


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
    for check, observed in zip(ordered, played.seen, strict=True):
        found += _failures(check, observed)
    return sorted(found, key=lambda failure: failure.at)


def _failures(check: Check, observed: Sequence[Observed]) -> Iterator[Failure]:
    left = {frozenset(one.alerts): one for one in observed}
    missing = []
    for expected in check.situations:
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


def _together(alerts: Sequence[str]) -> str:
    return f"[{', '.join(sorted(alerts))}]"


def _said(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value) or "none"
