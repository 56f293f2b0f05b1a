"""Why an alert is not in a situation: what was decided when it was placed, and what the rules say of the two now.

What was decided is kept (``decisions``). For any other pair the present rules are asked the one question they were not
asked then: they are built anew, see nothing but the situation's alerts, and leave out no link for being weak. They are
asked twice: what relates the alert to any one alert there, which is the reason that a person can follow; and what the
whole situation comes to, as it stood when the alert was placed, which is what placement counts.
"""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from heapq import nsmallest
from typing import TYPE_CHECKING

from correlation import group
from correlation.relate import Traces, View, grow, link, relate
from correlation.rule import Rule, build
from foreshock.core.model import Alert, Link, Member, Situation
from foreshock.service.decisions import kept_out, versions_at
from foreshock.service.views import ConsideredView

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_COMPARED = 50
"""Alerts of a situation that one alert is compared with: those that began closest to it."""


def considered(engine: "Engine", situation: Situation, alert: str) -> tuple[ConsideredView, ...]:
    """Where else ``alert`` might have gone when it joined ``situation``."""
    member = situation.members.get(alert)
    if member is None:
        return ()
    return tuple(
        ConsideredView(
            at=member.joined_at,
            alert=alert,
            situation=each.situation,
            other=each.other,
            strength=each.strength,
            rule=each.rule,
            why=each.why,
            versions=versions_at(engine.versions, member.joined_at),
        )
        for each in member.considered
    )


def decided(engine: "Engine", alert: Alert, home: Situation | None, situation: Situation) -> tuple[ConsideredView, ...]:
    """What was decided about the two when ``alert``, or an alert of ``situation``, was placed."""
    found = list(considered(engine, home, alert.fingerprint)) if home is not None else []
    chosen = [each for each in found if each.situation == situation.id]
    if home is not None:
        for other in situation.members:
            chosen += [each for each in considered(engine, situation, other) if each.situation == home.id]
    return tuple(chosen)


class Comparison:
    """Asks the rules in force what relates an alert to these ``members``, however weakly."""

    def __init__(self, engine: "Engine", members: Sequence[Alert]) -> None:
        self._engine = engine
        self._members = {member.fingerprint: member for member in members}
        self._rules = _as_in_force(engine)
        traces = Traces(engine.topology)
        for member in members:  # each as a situation of its own: none hides another one on the same CI
            alone = Situation(
                id=member.fingerprint,
                opened_at=member.first_seen,
                onset=member.starts_at,
                updated_at=engine.now,
                last_joined_at=engine.now,
                first_ci=member.ci,
                members={member.fingerprint: Member(joined_at=member.first_seen)},
            )
            traces.add(alone, member)
            for rule in self._rules:
                if rule.index is not None:
                    rule.index.add(member.fingerprint, member)
        known = ChainMap(self._members, engine.alerts)  # of the past the engine has let go
        self._view = View(traces, engine.topology, engine.settings.relate, 0.0, known)
        self._view.now = engine.now

    def strongest(self, alert: Alert) -> Link | None:
        """The strongest link between ``alert`` and any of them; None if no rule relates it to one."""
        found = [each for each in relate(alert, self._rules, self._view) if each.situation != alert.fingerprint]
        if not found:
            return None
        best = min(found, key=lambda each: (-each.strength, each.other, each.rule))
        return link(alert, best, self._members[best.other], self._engine.topology)


def counted(engine: "Engine", alert: Alert, situation: Situation, members: Iterable[Alert]) -> float:
    """What ``situation`` comes to for ``alert``, 0..1, by the rules in force: as it stood when ``alert`` was placed,
    as far as that is known. Where the two came in the same moment, it counts as having been there."""
    home = engine.situations.get(alert.situation)
    placed = home.members.get(alert.fingerprint) if home is not None else None
    at = placed.joined_at if placed is not None else alert.first_seen
    known = {member.fingerprint: member for member in members}
    there = sorted((member.joined_at, fingerprint) for fingerprint, member in situation.members.items())
    view = View(
        Traces(engine.topology),
        engine.topology,
        engine.settings.relate,
        0.0,
        ChainMap(known, engine.alerts),
        engine.view.changes,
    )
    view.now = at
    rules = _as_in_force(engine)
    then: Situation | None = None
    for joined_at, fingerprint in there:
        if joined_at > at or fingerprint not in known or fingerprint == alert.fingerprint:
            continue
        if then is None:
            then = _begun(situation, joined_at)
        then.members[fingerprint] = situation.members[fingerprint]
        grow(then, joined_at)
        view.traces.add(then, known[fingerprint])
        for rule in rules:
            if rule.index is not None:
                rule.index.add(then.id, known[fingerprint])
    curves = engine.learned.learned.curves
    return group.counted(relate(alert, rules, view), curves).get(situation.id, 0.0) if then is not None else 0.0


def _begun(situation: Situation, at: datetime) -> Situation:
    """As when its first alert joined, without alerts."""
    return Situation(
        id=situation.id,
        opened_at=situation.opened_at,
        onset=situation.onset,
        updated_at=at,
        last_joined_at=at,
        first_ci=situation.first_ci,
    )


def _as_in_force(engine: "Engine") -> tuple[Rule, ...]:
    """The rules in force with what they remember, and with no alert in their indices."""
    rules = build(engine.rule_instances, engine.rule_kinds, engine.learned.learned)
    in_force = {rule.tag: rule for rule in engine.rules}
    for rule in rules:
        known = in_force.get(rule.tag)
        if rule.memory is not None and known is not None and known.memory is not None:
            rule.memory.load(known.memory.save())
    return rules


def closest(alert: Alert, members: Iterable[Alert]) -> list[Alert]:
    """At most ``MAX_COMPARED`` others, those that began closest to it."""
    others = (each for each in members if each.fingerprint != alert.fingerprint)
    return nsmallest(
        MAX_COMPARED,
        others,
        key=lambda each: (abs((each.starts_at - alert.starts_at).total_seconds()), each.fingerprint),
    )


def obstacles(
    engine: "Engine", alert: Alert, situation: Situation, members: Sequence[Alert], best: Link | None
) -> list[str]:
    """What keeps it out whatever relates them; and if nothing does, what is missing for that."""
    found = [reason] if (reason := kept_out(engine, alert, situation)) else []
    return found if best is not None else [*found, *_missing(engine, alert, members)]


def _missing(engine: "Engine", alert: Alert, members: Sequence[Alert]) -> Iterator[str]:
    if not members:
        return
    window_s = engine.settings.relate.window.total_seconds()
    gap_s = min(abs((each.starts_at - alert.starts_at).total_seconds()) for each in members)
    if gap_s > window_s:
        yield f"its onset is {gap_s:.0f} s from the nearest one there, the window is {window_s:.0f} s"
    if not alert.ci:
        yield "it is bound to no CI"
        return
    above = set(engine.topology.upstream(alert.ci))
    cis = dict.fromkeys(each.ci for each in members if each.ci)
    if not any(ci == alert.ci or ci in above or not above.isdisjoint(engine.topology.upstream(ci)) for ci in cis):
        yield f"no path along relationships leads from {alert.ci} to {_names(list(cis))}"


def _names(cis: Sequence[str]) -> str:
    if not cis:
        return "any CI there"
    return ", ".join(cis[:3]) + (f" or {len(cis) - 3} more" if len(cis) > 3 else "")


def sentence(
    alert: str, home: str, situation: Situation, decided: Sequence[ConsideredView], obstacles: Sequence[str], best: str
) -> str:
    """Why ``alert`` (in words) is not in ``situation``, in one sentence: what was decided then, or else what holds now.

    best: the strongest link in words; empty if there is none.
    """
    head = f"{alert} is not in {situation.id}: "
    if situation.merged_into:
        return head + f"it is merged into {situation.merged_into}"
    for each in decided:
        who = "it was placed" if each.situation == situation.id else "an alert there was placed"
        return head + f"when {who}, a link of strength {each.strength:.2f} ({each.rule}) was seen, but {each.why}"
    if obstacles:
        return head + "; ".join(obstacles)
    return head + best
