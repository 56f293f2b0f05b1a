"""Other identity rules come into force while alerts are open: each gets the fingerprint that it would have had from the
beginning, none is lost and none is there twice. What was one alert and is so no more comes apart; what is one from now
on is folded together, in one situation. A situation that has no alert of its own left is merged into the one that has
them, so its ticket is resolved with a reference; other tickets hear nothing of it."""

from sys import intern
from typing import TYPE_CHECKING

import msgspec

from correlation import rekey as planning
from correlation.variants import units
from foreshock.core.model import Alert, Moved, Situation, SituationState, Witness
from foreshock.service import clashes, feedback, in_force, lifetimes, placing, regroup, weighing

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def rekey(engine: "Engine") -> str:
    """Give every alert the fingerprint of the identity rules in force; what changed, in words."""
    for source in engine.sources.values():
        source.clashes, source.clash = 0, ""
    for alert in engine.alerts.values():
        alert.clashes = False

    def key_of(unit: Alert) -> str:
        return engine.family(unit).key(unit.read_labels())

    plan = planning.plan(engine.alerts.values(), key_of, engine.situations)
    before = engine.alerts
    become = planning.renamed(plan.parts)
    most = engine.settings.group.max_alerts
    room = {situation.id: max(most, len(situation.members)) for situation in engine.situations.values()}
    for source_id, fingerprints, home in plan.homes:
        _bring_home(engine, engine.situations[source_id], fingerprints, engine.situations[home])
    engine.alerts = planning.carry_out(plan.parts, engine.situations, engine.settings.fold)
    engine.dirty_alerts.update(dict.fromkeys((*before, *engine.alerts)))
    engine.active = sum(alert.firing for alert in engine.alerts.values())
    homeless = _rename_members(engine, become, room)
    know_all(engine)
    for alert in engine.alerts.values():
        in_force.bind_anew(engine, alert)
        lifetimes.watch(engine, alert)
        clashes.look(engine, alert.fingerprint)
    in_force.rebuild_traces(engine)
    for situation in list(engine.situations.values()):
        if situation.state is SituationState.OPEN:
            weighing.forget_spread(engine, situation.id)
            for alert in engine.members(situation):
                weighing.weigh(engine, situation, alert)
    for alert in homeless:
        placing.place(engine, alert)
    _rename_judged(engine, become)
    lifetimes.watch_what_is_over(engine)
    return _words(become, engine)


def know_all(engine: "Engine") -> None:
    """Fill ``known`` anew, each label set as it was written first."""
    engine.known, engine.spellings, engine.senders = {}, {}, {}
    for alert in engine.alerts.values():
        for unit in units(alert):
            unit.source, unit.origin = intern(unit.source), intern(unit.origin or unit.source)
            if unit.dated == unit.starts_at:
                unit.dated = unit.starts_at  # one value in memory, as before they were saved
            engine.known.setdefault(engine.family(unit).name, {})[unit.labels] = unit


def _bring_home(engine: "Engine", source: Situation, fingerprints: tuple[str, ...], home: Situation) -> None:
    """Alerts of ``source`` are one with alerts of ``home``. Indexes and weights follow when all is named anew."""
    how = Moved(at=engine.now, source=source.id, reason="they are the same alerts under other identity rules")
    empty = len(fingerprints) == len(source.members)
    if empty:
        regroup.close(engine, source, home)
        engine.touch(source.id).notes.append(f"merged into {home.id} ({how.reason})")
    for fingerprint in fingerprints:
        home.members[fingerprint] = msgspec.structs.replace(source.members[fingerprint], moved=how)
        engine.alerts[fingerprint].situation = home.id
        if not empty:
            del source.members[fingerprint]
    home.onset = min(home.onset, source.onset)


def _rename_members(engine: "Engine", become: dict[str, tuple[str, ...]], room: dict[str, int]) -> list[Alert]:
    """The alerts that fire and have no room where they were."""
    homeless = []
    for situation in engine.situations.values():
        for left_out in planning.rename_members(situation, become, engine.alerts, room[situation.id]):
            alert = engine.alerts.get(left_out)
            if alert is not None and alert.situation == situation.id:
                alert.situation = ""
                if alert.active:
                    homeless.append(alert)
        engine.dirty_situations[situation.id] = None
    return homeless


def _rename_judged(engine: "Engine", become: dict[str, tuple[str, ...]]) -> None:
    """What people keep apart goes by the new fingerprints. Where that is one alert now, or in one situation because of
    one, the word cannot be kept."""
    for judgement in list(engine.judgements.values()):
        one, apart = _renamed(judgement.one, become), _renamed(judgement.apart, become)
        if (one, apart) != (judgement.one, judgement.apart):
            engine.apart.drop(judgement)
            renamed = engine.judgements[judgement.id] = msgspec.structs.replace(judgement, one=one, apart=apart)
            engine.apart.add(renamed)
            engine.dirty.add(("judgement", judgement.id))
    for situation in engine.situations.values() if engine.apart else ():
        affected = engine.affected.get(situation.id, set())
        for alert in engine.members(situation) if situation.state is SituationState.OPEN else ():
            while judgement_id := engine.apart.between(alert, situation, affected):
                feedback.lapse(engine, judgement_id)
                engine.say("feedback", judgement_id, "lapsed", "what it keeps apart is one by the identity rules")


def _renamed(witnesses: tuple[Witness, ...], become: dict[str, tuple[str, ...]]) -> tuple[Witness, ...]:
    found = (
        msgspec.structs.replace(one, fingerprint=new)
        for one in witnesses
        for new in become.get(one.fingerprint, (one.fingerprint,))
    )
    return tuple({one.fingerprint: one for one in found}.values())


def _words(become: dict[str, tuple[str, ...]], engine: "Engine") -> str:
    renamed = sum(new != (old,) for old, new in become.items())
    apart = sum(len(new) > 1 for new in become.values())
    sets = sum(len(units(alert)) for alert in engine.alerts.values())
    return (
        f"{len(become)} alerts are {len(engine.alerts)} now, of {sets} label sets; {renamed} have another fingerprint, "
        f"{apart} came apart"
    )
