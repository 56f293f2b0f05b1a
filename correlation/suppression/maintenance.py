"""Maintenance windows: planned work, with its times, its scope and who asked for it."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from correlation.suppression.silences import ByLabel, compiled
from correlation.suppression.suppressor import moment
from foreshock.core.matchers import matches_all
from foreshock.core.model import Held, HeldKind, MaintenanceWindow, Span
from foreshock.core.topology import DIRECTIONS, Direction, Topology

MAX_SCOPE = 20_000
"""CIs in the scope of one window; the nearest come first, and who sets the window is told that there are more."""


class ActiveWindow:
    """A window with its matchers compiled. Raises Malformed for an expression that cannot be read."""

    def __init__(self, window: MaintenanceWindow) -> None:
        self.window = window
        self.matchers = compiled(window.matchers)
        self._starts = [span.starts_at for span in window.spans]

    def span(self, now: datetime) -> Span | None:
        """The span that runs now."""
        index = bisect_right(self._starts, now) - 1
        return self.window.spans[index] if index >= 0 and now < self.window.spans[index].ends_at else None

    def next_change(self, now: datetime) -> datetime | None:
        """When it next begins or ends, after ``now``."""
        span = self.span(now)
        if span is not None:
            return span.ends_at
        index = bisect_right(self._starts, now)
        return self._starts[index] if index < len(self._starts) else None

    def is_over(self, now: datetime) -> bool:
        """Nothing of it is left, as far as it was expanded."""
        window = self.window
        return window.expanded_to is None and (not window.spans or window.spans[-1].ends_at <= now)

    def was_over(self, before: datetime) -> bool:
        """Nothing of it was left before that, and nobody has changed it since."""
        return self.is_over(before) and self.window.updated_at < before

    def held(self, span: Span) -> Held:
        window = self.window
        return Held(
            kind=HeldKind.MAINTENANCE,
            id=window.id,
            reason=f"maintenance “{window.title}” of {window.owner} until {moment(span.ends_at)}",
            until=span.ends_at,
        )


def ended(window: MaintenanceWindow, now: datetime, *, only_running: bool) -> MaintenanceWindow:
    """The window without what is ahead; with ``only_running`` only the span that runs is cut."""
    begun = tuple(
        Span(starts_at=span.starts_at, ends_at=min(span.ends_at, now)) for span in window.spans if span.starts_at < now
    )
    if only_running:
        return msgspec.structs.replace(
            window, spans=(*begun, *(span for span in window.spans if span.starts_at > now)), updated_at=now
        )
    return msgspec.structs.replace(window, spans=begun, expanded_to=None, updated_at=now)


def in_words(window: MaintenanceWindow) -> str:
    """Scope and times, for people."""
    scope = [
        *(f"CI {name}" + (" and what depends on it" if window.descendants else "") for name in window.cis),
        *(f"service {name}" for name in window.services),
        *map(str, compiled(window.matchers)),
    ]
    first = window.spans[0] if window.spans else None
    when = f"{moment(first.starts_at)} to {moment(first.ends_at)}" if first is not None else "no time is left"
    return f"{', '.join(scope)}; {when}" + (f", {window.schedule}" if window.schedule else "")


def scope(window: MaintenanceWindow, topology: Topology) -> tuple[frozenset[str], bool] | None:
    """The CIs in scope by id, and whether there are more than ``MAX_SCOPE``; None: any, the matchers decide alone.

    What depends on a CI is in scope however far away; what is merely connected to it (``connects_to``) is not.
    """
    if not window.cis and not window.services:
        return None
    found: dict[str, None] = {}
    for name in window.cis:
        found.update(dict.fromkeys(topology.named(name) or (name,)))
    if window.descendants:
        _spread(found, topology)
    if window.services:
        _serve(found, frozenset(one for name in window.services for one in topology.named(name) or (name,)), topology)
    ids = list(found)
    return frozenset(ids[:MAX_SCOPE]), len(ids) > MAX_SCOPE


def _spread(found: dict[str, None], topology: Topology) -> None:
    todo = list(found)
    for here in todo:  # grows while it is walked: breadth first
        for there, (_, kind) in topology.steps_down(here).items():
            if there not in found and _is_dependence(kind):
                if len(found) > MAX_SCOPE:
                    return
                found[there] = None
                todo.append(there)


def _serve(found: dict[str, None], services: frozenset[str], topology: Topology) -> None:
    """The services, and what none but they need: a database that another service uses too stays loud."""
    found.update(dict.fromkeys(sorted(services)))
    todo = sorted(services)
    for here in todo:
        for there, (_, kind) in topology.steps_up(here).items():
            users = topology.services(there)
            if there not in found and _is_dependence(kind) and users and services.issuperset(users):
                if len(found) > MAX_SCOPE:
                    return
                found[there] = None
                todo.append(there)


def _is_dependence(kind: str) -> bool:
    return DIRECTIONS.get(kind) is not Direction.BOTH_SUFFER


class Running:
    """The windows that run at one moment, found by CI or by label.

    Args:
        windows: with the span that runs, and the scope as ``scope`` gives it.
    """

    def __init__(self, windows: Iterable[tuple[ActiveWindow, Span, frozenset[str] | None]]) -> None:
        self._by_ci: dict[str, list[ActiveWindow]] = {}
        self._held: dict[str, Held] = {}
        anywhere: list[ActiveWindow] = []
        for active, span, cis in windows:
            self._held[active.window.id] = active.held(span)
            if cis is None:
                anywhere.append(active)
            else:
                for ci in cis:
                    self._by_ci.setdefault(ci, []).append(active)
        self._anywhere = ByLabel(anywhere)

    def __bool__(self) -> bool:
        return bool(self._held)

    def held(self, ci: str, labels: Mapping[str, str]) -> list[Held]:
        """Why an alert on ``ci`` with ``labels`` disturbs nobody now, in no particular order."""
        found = [active for active in self._by_ci.get(ci, ()) if matches_all(active.matchers, labels)]
        found += self._anywhere.matching(labels)
        return [self._held[active.window.id] for active in found]
