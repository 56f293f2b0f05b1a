"""All suppressors together: what the engine asks when a ticket write is due, and what it tells them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from correlation.settings import CorrelationSettings
from correlation.suppression.asked import Asked
from correlation.suppression.inhibition import Inhibition
from correlation.suppression.maintenance import ActiveWindow, ended, in_words
from correlation.suppression.silences import ActiveSilence
from correlation.suppression.suppressor import Case, Suppressor, moment, together
from correlation.suppression.thresholds import Thresholds
from correlation.suppression.transients import Recoveries, Transients
from foreshock.core.model import Alert, Held, HeldKind, MaintenanceWindow, Silence, Situation
from foreshock.core.topology import Topology


class Suppression:
    """What was asked and learned is state, saved in ``checkpoint``; all else follows from it and from the alerts.

    Args:
        find: an alert by fingerprint, if it is known.
    """

    ITEMS = ("silence", "window", "transient")
    """Kinds of checkpoint items."""

    def __init__(self, find: Callable[[str], Alert | None]) -> None:
        self.asked = Asked()
        self.transients = Transients()
        self._inhibition = Inhibition(find)
        self._thresholds = Thresholds()
        self._generation = 0
        self._dirty: dict[tuple[str, str], None] = {}
        self._suppressors = self._in_order()

    def _in_order(self) -> tuple[Suppressor, ...]:
        return (self.asked, self._inhibition, self._thresholds, self.transients)

    def use(self, settings: CorrelationSettings, topology: Topology, alerts: Iterable[Alert]) -> None:
        """New settings, or a new topology; ``alerts`` are all that are known."""
        self.asked.use(topology)
        self.transients.use(settings.suppress.transient, topology)
        self._inhibition.use(settings.suppress, topology, (alert for alert in alerts if alert.active))
        self._thresholds = Thresholds(settings.suppress.thresholds)
        self._suppressors = self._in_order()

    # ---- what happens to alerts ----

    def rose(self, alert: Alert) -> None:
        """It is active now."""
        self._inhibition.rose(alert)

    def changed(self, alert: Alert) -> None:
        """The severity or the onset of an active alert is another one than before."""
        self._inhibition.changed(alert)

    def ended(self, alert: Alert, now: datetime, *, by_itself: bool) -> None:
        """An occurrence ended because its source said so. by_itself: nobody had taken it on."""
        self.transients.ended(alert, now, by_itself=by_itself)

    def fell(self, alert: Alert) -> None:
        """It is no longer active."""
        self._inhibition.fell(alert)

    def forget(self, fingerprint: str) -> None:
        self.asked.forget(fingerprint)
        self._thresholds.forget(fingerprint)

    @property
    def waiting(self) -> bool:
        """Whether ``released`` has something to tell."""
        return self._inhibition.waiting

    def released(self) -> list[str]:
        """Fingerprints of alerts whose explanation has gone since the last call: their situations are due again."""
        return self._inhibition.released()

    # ---- what is held ----

    def holds(self, situation: Situation, members: Sequence[Alert], now: datetime) -> tuple[Held, ...]:
        """Why none of its active alerts may disturb anyone now: one alert that may is enough to tell, so empty then."""
        case, known = self.case(situation, members, now), self.asked.known(now)
        found: dict[int, tuple[Held, ...]] = {}  # by identity: most alerts are held by the same few
        alerts: dict[int, int] = {}
        explained: Alert | None = None
        for alert in members:
            if not (alert.firing or alert.held_until is not None):
                continue
            reasons = known.get(alert.fingerprint) or self._first_reason(alert, case)
            if not reasons:
                return ()
            key = id(reasons)
            if key in alerts:
                alerts[key] += 1
                continue
            alerts[key], found[key] = 1, reasons
            if explained is None and reasons[0].kind is HeldKind.INHIBITION:
                explained = alert
        return tuple(
            held if held.kind is not HeldKind.INHIBITION or explained is None else self._name(held, explained, case)
            for held in together((found[key], count) for key, count in alerts.items())
        )

    def _first_reason(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        for suppressor in self._suppressors:
            if held := suppressor.held(alert, case):
                return held
        return ()

    def reasons(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        """Everything that suppresses one alert now, for explanations."""
        if not alert.active:
            return ()
        found = tuple(
            self._name(held, alert, case) if held.kind is HeldKind.INHIBITION else held
            for one in self._suppressors
            for held in one.held(alert, case)
        )
        return found if alert.held_until is None else (*found, _flapping(alert, alert.held_until))

    def quieted(self, alert: Alert, now: datetime) -> tuple[Held, ...]:
        """Silences, windows and another alert: what suppresses this one whatever situation it is in."""
        self._catch_up(now)
        asked = self.asked.covering(alert, now)
        silenced = self._silenced_at(now)
        if not alert.active or self._inhibition.explained(alert, silenced) is None:
            return asked
        return (*asked, self._inhibition.name(alert, silenced, ""))

    def case(self, situation: Situation, members: Sequence[Alert], now: datetime) -> Case:
        """What ``reasons`` needs to know of an alert's situation."""
        self._catch_up(now)
        return Case(
            situation=situation,
            members=members,
            now=now,
            silenced=self._silenced_at(now),
        )

    def _silenced_at(self, now: datetime) -> Callable[[Alert], bool]:
        return lambda alert: bool(self.asked.covering(alert, now))

    def _catch_up(self, now: datetime) -> None:
        """A silenced alert explains nothing along the topology: what is asked changes what explains."""
        generation = self.asked.generation(now)
        if generation != self._generation:
            self._generation = generation
            self._inhibition.forget_what_was_found()

    def _name(self, held: Held, alert: Alert, case: Case) -> Held:
        before = next((one.id for one in case.situation.held if one.kind is HeldKind.INHIBITION), "")
        named = self._inhibition.name(alert, case.silenced, before)
        return msgspec.structs.replace(named, alerts=held.alerts)

    @property
    def walks_cut(self) -> int:
        """Walks up the topology that were ended by their bound."""
        return self._inhibition.walks_cut

    # ---- what was asked ----

    @property
    def silences(self) -> Mapping[str, ActiveSilence]:
        """By id, those that ended a short while ago too."""
        return self.asked.silences

    @property
    def windows(self) -> Mapping[str, ActiveWindow]:
        return self.asked.windows

    def set_silence(self, silence: Silence) -> str:
        """What it silences, in words. Raises Malformed for an expression that cannot be read."""
        active = self.asked.set_silence(silence)
        self._dirty["silence", silence.id] = None
        return ", ".join(str(matcher) for matcher in active.matchers)

    def end_silence(self, id: str, now: datetime) -> bool:
        """Whether there was something to end."""
        active = self.asked.silences.get(id)
        if active is None or active.silence.ends_at <= now:
            return False
        was = active.silence
        self.set_silence(msgspec.structs.replace(was, ends_at=now, starts_at=min(was.starts_at, now), updated_at=now))
        return True

    def set_window(self, window: MaintenanceWindow) -> str:
        """The window in words. Raises Malformed for an expression that cannot be read."""
        self.asked.set_window(window)
        self._dirty["window", window.id] = None
        return f"{window.title} of {window.owner}: {in_words(window)}"

    def end_window(self, id: str, now: datetime, *, only_running: bool) -> bool:
        """Whether there was something to end."""
        active = self.asked.windows.get(id)
        if active is None or active.is_over(now) or (only_running and active.span(now) is None):
            return False
        self.set_window(ended(active.window, now, only_running=only_running))
        return True

    def next_change(self, now: datetime) -> datetime | None:
        """When a silence or a window next begins or ends."""
        return min((at for at, _ in self.asked.changes(now)), default=None)

    def forget_the_past(self, now: datetime) -> None:
        self._dirty.update(dict.fromkeys(self.asked.forget_the_past(now)))

    # ---- saving and restoring ----

    def save_again(self, kind: str, key: str) -> None:
        """Have this one in the next checkpoint although it did not change."""
        self._dirty[kind, key] = None

    def unsaved(self) -> list[tuple[str, str]]:
        """Kind and key of what changed since ``saved`` was last called."""
        return [*self._dirty, *(("transient", key) for key in self.transients.unsaved())]

    def saved(self) -> None:
        self._dirty = {}
        self.transients.saved()

    def item(self, kind: str, key: str) -> Struct | None:
        """One piece of state; None if it is gone."""
        if kind == "silence":
            silence = self.asked.silences.get(key)
            return None if silence is None else silence.silence
        if kind == "window":
            window = self.asked.windows.get(key)
            return None if window is None else window.window
        return self.transients.classes.get(key)

    def restore(self, kind: str, key: str, body: bytes) -> None:
        if kind == "silence":
            self.asked.set_silence(msgspec.msgpack.decode(body, type=Silence))
        elif kind == "window":
            self.asked.set_window(msgspec.msgpack.decode(body, type=MaintenanceWindow))
        else:
            self.transients.classes[key] = msgspec.msgpack.decode(body, type=Recoveries)


def _flapping(alert: Alert, held_until: datetime) -> Held:
    """What flaps keeps nothing from being opened; it is held open itself, and its changes are not told one by one."""
    return Held(
        kind=HeldKind.FLAPPING,
        id=alert.fingerprint,
        reason=f"it flaps ({alert.flaps} changes): it counts as active until {moment(held_until)} at least, and its "
        "changes are not told one by one",
        until=held_until,
    )
