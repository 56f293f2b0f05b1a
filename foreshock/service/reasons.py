"""Why alerts are where they are, told of whatever a person names: of a running engine or of a replayed one alike."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol

from msgspec import Struct

from correlation import bind
from correlation import ticket as ticket_text
from correlation.variants import whole
from foreshock.core.contracts import AuditRow
from foreshock.core.errors import Missing, Rejected
from foreshock.core.model import Alert, Ended, Judgement, Situation, SituationState
from foreshock.service import explain, shown
from foreshock.service.engine import Engine
from foreshock.service.views import AgainstView, ConsideredView, ExplainView

MAX_JUDGEMENTS = 50
_MAX_AGAINST = 20
_MIN_START = 4
_LISTED = 5
_READ = 10_000
"""Alerts read for a name that is not there: the engine waits meanwhile."""


class Past(Protocol):
    """What is remembered of what the engine does not hold any more, and of what was done about it."""

    def ended(self, situation: str) -> Ended | None: ...

    def holding(self, matches: Callable[[Alert], bool]) -> Ended | None:
        """The newest with such an alert, as far as the past is searched for alerts."""

    def numbered(self, ticket: str) -> str | None:
        """The situation of a ticket."""

    def trail(self, situation: str) -> Sequence[AuditRow]:
        """Oldest first."""

    def judgements(self, situation: str) -> Sequence[Judgement]:
        """Newest first, at most ``MAX_JUDGEMENTS``."""


class Found(Struct, frozen=True, kw_only=True):
    """A situation with its alerts. live: the engine still holds it."""

    situation: Situation
    alerts: tuple[Alert, ...]
    live: bool


# ---- what is meant --------------------------------------------------------------------------------------------------


def find_situation(engine: Engine, past: Past, name: str) -> Found | None:
    """By id or by ticket number."""
    situation = engine.situations.get(name)
    if situation is None and (id := past.numbered(name)):
        name = id
        situation = engine.situations.get(id)
    if situation is not None and situation.state is not SituationState.MERGED:
        return Found(situation=situation, alerts=tuple(engine.members(situation)), live=True)
    ended = past.ended(name)
    return None if ended is None else Found(situation=ended.situation, alerts=ended.alerts, live=False)


def _meant(engine: Engine, past: Past, name: str) -> tuple[Found | None, Alert | None]:
    """A situation, or one alert with the situation it is in, if it is in one.

    Raises Missing where nothing goes by this name, Rejected where several alerts do; both say what there is.
    """
    goes_by = called(engine, name)
    if (alert := engine.alerts.get(name)) is None:
        if (found := find_situation(engine, past, name)) is not None:
            return found, None
        alert = _only(name, list(filter(goes_by, engine.alerts.values())))
    if alert is not None:
        return find_situation(engine, past, alert.situation) if alert.situation else None, whole(alert)
    ended = past.holding(goes_by)
    if ended is None:
        raise Missing(f"there is no incident and no alert {name!r}", hint=_there_is(engine, name))
    alert = _only(name, list(filter(goes_by, ended.alerts)))
    return Found(situation=ended.situation, alerts=ended.alerts, live=False), alert


def called(engine: Engine, name: str) -> Callable[[Alert], bool]:
    """Whether an alert is ``NAME on CI``, by any name of the CI, or its fingerprint begins so. Of all alerts only those
    on that CI are read."""
    what, on, at = name.rpartition(" on ")
    cis = {at, _ci(engine, at)} if on else set()
    start = name if len(name) >= _MIN_START else ""

    def goes_by(alert: Alert) -> bool:
        if start and alert.fingerprint.startswith(start):
            return True
        if alert.ci:
            return alert.ci in cis and ticket_text.title(alert) == f"{what} on {alert.ci}"
        return ticket_text.title(alert) == name

    return goes_by


def _ci(engine: Engine, name: str) -> str:
    return bind.named(name, engine.topology, engine.settings.bind) if name else ""


def _name(alert: Alert) -> str:
    return alert.read_labels().get("alertname", "")


def _only(name: str, alerts: Sequence[Alert]) -> Alert | None:
    if len(alerts) > 1:
        several = _listed(f"{each.fingerprint[:12]} ({ticket_text.title(each)})" for each in alerts)
        raise Rejected(f"{len(alerts)} alerts go by {name!r}: {several}", hint="give the fingerprint of one")
    return alerts[0] if alerts else None


def _there_is(engine: Engine, name: str) -> str:
    what, _, at = name.rpartition(" on ")
    ci = _ci(engine, at)
    if there := {_name(alert): None for alert in engine.alerts.values() if ci and alert.ci == ci}:
        return f"on {ci} there is {_listed(there)}"
    some = islice(engine.alerts.values(), _READ) if what else ()
    if there := {alert.ci: None for alert in some if alert.ci and _name(alert) == what}:
        return f"{what} is on {_listed(there)}"
    live = [each for each in engine.situations.values() if each.state is SituationState.OPEN]
    if not live and engine.situations:
        last = next(reversed(engine.situations.values()))
        return f"none is open, the last one was {last.id} ({last.title})"
    if not live:
        return f"no incident is open at {engine.now:%Y-%m-%d %H:%M:%S} UTC"
    return f"open are {_listed(f'{each.id} ({each.title})' for each in live)}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


# ---- answers --------------------------------------------------------------------------------------------------------


def why(engine: Engine, past: Past, name: str, now: datetime) -> ExplainView:
    """Of an incident by id or ticket number, or of one alert by fingerprint, the beginning of one, or ``NAME on CI``.

    Raises Missing where there is none, Rejected where several go by the name.
    """
    found, alert = _meant(engine, past, name)
    in_force = engine.versions[-1] if engine.versions else None
    if found is None:
        alone = (shown.alert_view(alert, engine, None, None),) if alert is not None else ()
        return ExplainView(alerts=alone, now=in_force)
    situation = found.situation
    view = shown.incident(
        engine,
        situation,
        found.alerts,
        live=found.live,
        trail=past.trail(situation.id),
        judgements=past.judgements(situation.id),
        now=now,
    )
    chosen = view.alerts if alert is None else [each for each in view.alerts if each.fingerprint == alert.fingerprint]
    return ExplainView(
        situation=situation.id,
        title=situation.title,
        state=view.row.state,
        priority=situation.priority,
        priority_reason=view.priority_reason,
        assignment=": ".join(filter(None, (view.row.assignment_group, view.assignment_reason))),
        held=view.held,
        cause_doubt=view.cause_doubt,
        next_step=view.next_step,
        decisions=view.decisions,
        causes=view.causes,
        evidence=view.evidence,
        alerts=tuple(chosen),
        judgements=view.judgements,
        now=in_force,
        parent=view.row.parent,
        umbrella=view.umbrella.words if view.umbrella else "",
        recurrence=view.recurrence,
        foreseen=view.foreseen,
    )


def why_not(engine: Engine, past: Past, name: str, other: str) -> list[AgainstView]:
    """Why an alert, or each alert of an incident, is or is not in the incident ``other``, or in that of the alert
    ``other``; bounded. Both are named as for ``why``."""
    found, alert = _meant(engine, past, name)
    there, its = _meant(engine, past, other)
    if there is None:
        assert its is not None
        raise Rejected(f"{ticket_text.title(its)} is in no incident", hint="name an alert that is in one")
    alerts = [alert] if alert is not None else list(found.alerts if found is not None else ())[:_MAX_AGAINST]
    if not alerts:
        return []
    compared = explain.Comparison(engine, explain.closest(alerts[0], there.alerts))
    return [_against(engine, each, there.situation, there.alerts, compared) for each in alerts]


def _against(
    engine: Engine, alert: Alert, there: Situation, members: Sequence[Alert], compared: explain.Comparison
) -> AgainstView:
    threshold = engine.settings.group.threshold
    home = engine.situations.get(alert.situation)
    together = alert.fingerprint in there.members and there.state is not SituationState.MERGED
    name = ticket_text.title(alert)
    decided: tuple[ConsideredView, ...] = ()
    obstacles: list[str] = []
    counted: float | None = None
    if together:
        link = shown.member_why(engine, there, alert)
        sentence = f"{name} is in {there.id}: {link.sentence if link else ''}"
    else:
        best = compared.strongest(alert)
        decided = explain.decided(engine, alert, home, there)
        known = [each.strength for each in decided if each.alert == alert.fingerprint]
        counted = known[0] if known else explain.counted(engine, alert, there, members)
        obstacles = explain.obstacles(engine, alert, there, members, best)
        link = shown.link_why(engine, best) if best else None
        weight = f"all of {there.id} comes to {counted:.2f} by the rules in force now"
        verdict = "enough, but it was placed otherwise" if counted >= threshold else f"{threshold:.2f} is needed"
        words = f"{weight}, {verdict} ({link.sentence})" if link else "no rule relates it to an alert there"
        sentence = explain.sentence(name, alert.situation, there, decided, obstacles, words)
    return AgainstView(
        alert=alert.fingerprint,
        name=name,
        ci=alert.ci,
        home=alert.situation,
        situation=there.id,
        together=together,
        sentence=sentence,
        link=link,
        obstacles=tuple(obstacles),
        counted=counted,
        decided=decided,
        now=engine.versions[-1] if engine.versions else None,
    )
