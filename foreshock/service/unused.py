"""What history has no use for: silences and maintenance windows that matched nothing, rules that joined nothing."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from correlation.rule import RuleKind
from correlation.suppression.maintenance import ActiveWindow
from correlation.suppression.silences import ActiveSilence
from correlation.variants import units
from foreshock.connect.config import Origin
from foreshock.core.contracts import Collector
from foreshock.core.matchers import matches_all
from foreshock.core.model import Alert, Situation
from foreshock.core.quantities import format_duration
from foreshock.service.engine import Engine
from foreshock.service.recorded import Input
from foreshock.service.replay import Version, prepared
from foreshock.service.rule_lints import Lint

A_WHILE = timedelta(hours=1)
"""What was in force for less has had no chance to match."""

_MOMENT = timedelta(microseconds=1)


def unused(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    kinds: Mapping[str, RuleKind],
    version: Version,
    origins: Mapping[str, Origin],
) -> list[Lint]:
    """Of what goes on after the input ends, what nothing in it needed. origins: where rules stand; of those alone it is
    told that they joined nothing."""
    engine = Engine(collectors, kinds)
    asked, joined = _Asked(engine), set[str]()
    begun: datetime | None = None
    for record, _ in prepared(inputs, version):
        effects = engine.step([(record, None)])
        begun = begun or record.at
        asked.look()
        for id in effects.ended:
            joined |= _rules_of(effects.situations[id])
    for situation in engine.situations.values():
        joined |= _rules_of(situation)
    if begun is None or engine.now - begun < A_WHILE:
        return []
    span = format_duration(timedelta(seconds=round((engine.now - begun).total_seconds())))
    idle = [rule.name for rule in engine.rules if rule.name in origins and rule.name not in joined]
    return [*asked.unused(), *(_idle(name, origins[name], span) for name in idle)]


class _Asked:
    """Which silences and windows have matched an alert."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked = engine.suppression.asked
        self._used: set[str] = set()
        self._known_since: dict[str, datetime] = {}
        self._looked_at: datetime | None = None
        self._generation = 0
        self._chances: dict[str, _One] = {}

    def look(self) -> None:
        """After a step: at the alerts that it touched, or at all where something was set, began or ended."""
        engine, now = self._engine, self._engine.now
        since = self._looked_at or now
        if (generation := self._asked.generation(now)) != self._generation:
            self._generation = generation
            self._had_a_chance(since)
            for alert in engine.alerts.values():
                self._match(alert, since)
            self._had_a_chance(now)
        elif self._chances:
            for key in engine.dirty_alerts:
                if key in engine.alerts:
                    self._match(engine.alerts[key], since)
        self._looked_at = now
        engine.dirty_alerts.clear()  # nobody saves this engine

    def _had_a_chance(self, since: datetime) -> None:
        now = self._engine.now
        known: dict[str, _One] = {**self._asked.silences, **self._asked.windows}
        for id in known:
            self._known_since.setdefault(id, now)
        self._chances = {id: one for id, one in known.items() if id not in self._used and _lasted(one, since, now)}

    def _match(self, alert: Alert, since: datetime) -> None:
        until = self._engine.now if alert.firing else alert.ends_at
        if until is None or until < since:
            return
        for id, one in list(self._chances.items()):
            if _lasted(one, since, until) and any(
                self._covers(one, alert.ci, unit.read_labels()) for unit in units(alert)
            ):
                self._used.add(id)
                del self._chances[id]

    def _covers(self, one: "_One", ci: str, labels: Mapping[str, str]) -> bool:
        if isinstance(one, ActiveWindow):
            scope = self._asked.scope(one)
            if scope is not None and ci not in scope:
                return False
        return matches_all(one.matchers, labels)

    def unused(self) -> list[Lint]:
        now = self._engine.now
        found = []
        for id, silence in self._asked.silences.items():
            if silence.silence.ends_at > now and (lasted := self._idle_for(id, silence)) is not None:
                matchers = ", ".join(map(str, silence.matchers))
                said = f"{{{matchers}}} of {silence.silence.created_by} matched no alert in {format_duration(lasted)}"
                hint = f"check its matchers, or end it: foreshock silence expire {id}"
                found.append(Lint(what=f"silence {id}", message=said, hint=hint))
        for id, window in self._asked.windows.items():
            if not window.is_over(now) and (lasted := self._idle_for(id, window)) is not None:
                title, owner = window.window.title, window.window.owner
                said = f"“{title}” of {owner} ran for {format_duration(lasted)} and matched no alert"
                found.append(Lint(what=f"maintenance {id}", message=said, hint="check its CIs, services and matchers"))
        return found

    def _idle_for(self, id: str, one: "_One") -> timedelta | None:
        """How long it was in force; None where it was used, or had no chance."""
        now = self._engine.now
        lasted = _lasted(one, self._known_since.get(id, now), now)
        return None if id in self._used or lasted < A_WHILE else timedelta(seconds=round(lasted.total_seconds()))


_One = ActiveSilence | ActiveWindow


def _lasted(one: _One, since: datetime, until: datetime) -> timedelta:
    """How long it was in force between the two; the moment ``until`` counts, so that what has just begun does."""
    spans = (one.silence,) if isinstance(one, ActiveSilence) else one.window.spans
    each = (min(span.ends_at, until + _MOMENT) - max(span.starts_at, since) for span in spans)
    return sum((part for part in each if part > timedelta()), timedelta())


def _rules_of(situation: Situation) -> set[str]:
    return {member.link.rule.partition("@")[0] for member in situation.members.values() if member.link is not None}


def _idle(name: str, origin: Origin, span: str) -> Lint:
    return Lint(
        what=name,
        message=f"it was no alert's strongest reason to join in {span} of history",
        hint="check its labels and its condition against real alerts; leave it so if it is to support others",
        file=origin.file,
        line=origin.line,
        column=origin.column,
    )
