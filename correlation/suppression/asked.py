"""What people asked for: silences and maintenance windows, as one suppressor.

Labels and CI of an alert do not change while nothing is asked, begins or ends; so each alert is looked up once until
then, however often its situation is looked at.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from correlation.suppression.maintenance import ActiveWindow, Running, scope
from correlation.suppression.silences import ActiveSilence, ByLabel
from correlation.suppression.suppressor import Case
from correlation.variants import units
from foreshock.core.model import Alert, Held, HeldKind, MaintenanceWindow, Silence
from foreshock.core.topology import Topology

KEPT = timedelta(days=1)
"""What has ended stays known for so long, so that people can see it."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class Asked:
    """All silences and windows that are set.

    Attributes:
        silences, windows: by id, those that have ended a short while ago too.
    """

    kind = HeldKind.SILENCE

    def __init__(self) -> None:
        self.silences: dict[str, ActiveSilence] = {}
        self.windows: dict[str, ActiveWindow] = {}
        self._topology = Topology()
        self._scopes: dict[str, frozenset[str] | None] = {}
        self._until: datetime | None = None  # how long what was worked out below holds; None: work it out
        self._since = _NEVER
        self._silences: ByLabel[ActiveSilence] = ByLabel(())
        self._running = Running(())
        self._any = False
        self._known: dict[str, tuple[Held, ...]] = {}
        self._same: dict[tuple[str, ...], tuple[Held, ...]] = {}  # many alerts are covered by the same few
        self._generation = 0

    # ---- what is set ----

    def set_silence(self, silence: Silence) -> ActiveSilence:
        active = self.silences[silence.id] = ActiveSilence(silence)
        self._until = None
        return active

    def set_window(self, window: MaintenanceWindow) -> ActiveWindow:
        active = self.windows[window.id] = ActiveWindow(window)
        self._scopes.pop(window.id, None)
        self._until = None
        return active

    def use(self, topology: Topology) -> None:
        """Scopes are worked out anew; so is all that is known of alerts, because they may be bound anew."""
        self._topology, self._scopes, self._until = topology, {}, None

    def changes(self, now: datetime) -> Iterable[tuple[datetime, str]]:
        """(moment, id) of what next begins or ends after ``now``, one for each silence and window."""
        for id, active in self.silences.items():
            for moment in (active.silence.starts_at, active.silence.ends_at):
                if moment > now:
                    yield moment, id
                    break
        for id, window in self.windows.items():
            if (next_change := window.next_change(now)) is not None:
                yield next_change, id

    def forget_the_past(self, now: datetime) -> list[tuple[str, str]]:
        """Drop what has ended long ago; (kind of checkpoint item, id) of each."""
        silences = [id for id, active in self.silences.items() if now - active.silence.ends_at > KEPT]
        windows = [id for id, active in self.windows.items() if active.was_over(now - KEPT)]
        for id in silences:
            del self.silences[id]
        for id in windows:
            del self.windows[id]
            self._scopes.pop(id, None)
        return [*(("silence", id) for id in silences), *(("window", id) for id in windows)]

    # ---- who is covered ----

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        return self.covering(alert, case.now)

    def covering(self, alert: Alert, now: datetime) -> tuple[Held, ...]:
        """Every silence and window that covers the alert now, in order of kind and id."""
        self._catch_up(now)
        if not self._any:
            return ()
        found = self._known.get(alert.fingerprint)
        if found is None:
            found = self._known[alert.fingerprint] = self._look_up(alert)
        return found

    def windows_over(self, ci: str, now: datetime) -> tuple[Held, ...]:
        """Maintenance that runs now and has the CI in its scope, whatever its alerts are labelled."""
        self._catch_up(now)
        return tuple(sorted(self._running.held(ci, {}), key=lambda held: held.id))

    def generation(self, now: datetime) -> int:
        """Another number than before when something was set, began or ended in between."""
        self._catch_up(now)
        return self._generation

    def known(self, now: datetime) -> Mapping[str, tuple[Held, ...]]:
        """What ``covering`` has found since something last changed, by fingerprint; not every alert is in it."""
        self._catch_up(now)
        return self._known

    def forget(self, fingerprint: str) -> None:
        self._known.pop(fingerprint, None)

    def scope(self, window: ActiveWindow) -> frozenset[str] | None:
        id = window.window.id
        if id not in self._scopes:
            found = scope(window.window, self._topology)
            self._scopes[id] = None if found is None else found[0]
        return self._scopes[id]

    def _look_up(self, alert: Alert) -> tuple[Held, ...]:
        """Of an alert of several label sets each that fires must be covered: one outside is enough to tell."""
        sets = [unit for unit in units(alert) if unit.firing] or units(alert)
        found = [self._covering_labels(alert.ci, unit.read_labels()) for unit in sets]
        if len(found) == 1:
            return found[0]
        common = set.intersection(*({(held.kind, held.id) for held in each} for each in found))
        return tuple(held for held in found[0] if (held.kind, held.id) in common)

    def _covering_labels(self, ci: str, labels: Mapping[str, str]) -> tuple[Held, ...]:
        found = [active.held for active in self._silences.matching(labels)]
        found += self._running.held(ci, labels)
        found.sort(key=lambda held: (held.kind, held.id))
        return self._same.setdefault(tuple(f"{held.kind}/{held.id}" for held in found), tuple(found))

    def _catch_up(self, now: datetime) -> None:
        """What is in force changes only when something is set, and when something begins or ends."""
        if self._until is not None and self._since <= now < self._until:
            return
        self._since, self._known, self._same = now, {}, {}
        self._generation += 1
        self._until = min((moment for moment, _ in self.changes(now)), default=_NEVER)
        in_force = [a for a in self.silences.values() if a.silence.starts_at <= now < a.silence.ends_at]
        running = [(w, span, self.scope(w)) for w in self.windows.values() if (span := w.span(now)) is not None]
        self._silences, self._running = ByLabel(in_force), Running(running)
        self._any = bool(in_force or running)
