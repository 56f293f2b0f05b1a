"""Auto-pause: a class of alerts that mostly recovered by itself soon gets that time before its ticket opens.

A class is an alertname on a type of CI. For each, two counts are kept of how its occurrences ended: how many did, and
how many of them soon and by themselves. Both halve every ``half_life``, so what changed its ways is judged anew. What
flaps does not count as recovered, nor what was only not sent again (nobody said that it is over), nor what a person had
taken on.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from correlation.settings import TransientSettings
from correlation.suppression.suppressor import Case, moment
from foreshock.core.model import Alert, Held, HeldKind, Moment
from foreshock.core.quantities import format_duration
from foreshock.core.topology import Topology

MAX_CLASSES = 10_000
"""Beyond it the tenth that was not heard of for the longest is forgotten."""


class Recoveries(Struct, gc=False):
    """How occurrences of one class ended, as of ``at``: all of them, and those that recovered soon by themselves."""

    ended: float
    soon: float
    at: Moment

    def faded(self, now: datetime, settings: TransientSettings) -> tuple[float, float]:
        weight = 0.5 ** (max(0.0, (now - self.at).total_seconds()) / settings.half_life.total_seconds())
        return self.ended * weight, self.soon * weight


class Transients:
    kind = HeldKind.TRANSIENT

    def __init__(self) -> None:
        self.classes: dict[str, Recoveries] = {}
        self._settings = TransientSettings()
        self._topology = Topology()
        self._dirty: dict[str, None] = {}

    def use(self, settings: TransientSettings, topology: Topology) -> None:
        self._settings, self._topology = settings, topology

    def unsaved(self) -> list[str]:
        """Keys of classes that changed, or are forgotten, since ``saved``."""
        return sorted(self._dirty)

    def saved(self) -> None:
        self._dirty = {}

    # ---- learning ----

    def ended(self, alert: Alert, now: datetime, *, by_itself: bool) -> None:
        """An occurrence ended because its source said so."""
        if not self._settings.enabled or alert.ends_at is None:
            return
        soon = by_itself and alert.held_until is None and alert.ends_at - alert.starts_at <= self._settings.within
        key = self.class_of(alert)
        known = self.classes.get(key)
        ended, soon_before = known.faded(now, self._settings) if known is not None else (0.0, 0.0)
        self.classes[key] = Recoveries(ended + 1.0, soon_before + soon, now)
        self._dirty[key] = None
        if len(self.classes) > MAX_CLASSES:
            self._forget(sorted(self.classes, key=lambda one: (self.classes[one].at, one))[: MAX_CLASSES // 10])

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            del self.classes[key]
            self._dirty[key] = None

    def class_of(self, alert: Alert) -> str:
        """Alertname and type of CI, as people read it; the name alone where the CI is not in the topology."""
        ci = self._topology.cis.get(alert.ci)
        name = alert.label("alertname")
        return f"{name} on {ci.kind}" if ci is not None else name

    # ---- deciding ----

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        settings = self._settings
        if (
            not settings.enabled
            or case.situation.priority == 1
            or sum(member.active for member in case.members) > settings.max_alerts
            or alert.flaps  # what comes again and again does not recover
        ):
            return ()
        until = alert.starts_at + settings.within
        if case.now >= until:
            return ()
        key = self.class_of(alert)
        # A wait that has begun goes on: what is learned meanwhile must not end it at a moment nobody can name.
        begun = next((h for h in case.situation.held if h.kind is HeldKind.TRANSIENT and h.id == key), None)
        if begun is not None and begun.until is not None and case.now < begun.until:
            return (begun if begun.alerts == 1 else _one(begun),)
        known = self.classes.get(key)
        if known is None:
            return ()
        ended, soon = known.faded(case.now, settings)
        if ended < settings.min_ended or soon < settings.min_share * ended:
            return ()
        reason = (
            f"{key} mostly recovers by itself within {format_duration(settings.within)} ({soon:.0f} of the last "
            f"{ended:.0f} times, older ones count less); its ticket waits until {moment(until)}"
        )
        return (Held(kind=HeldKind.TRANSIENT, id=key, reason=reason, until=until),)


def _one(held: Held) -> Held:
    return Held(kind=held.kind, id=held.id, reason=held.reason, until=held.until)
