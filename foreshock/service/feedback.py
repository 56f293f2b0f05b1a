"""What people say of the structure, applied at once and respected from then on.

A statement becomes a ``Judgement``: what was said, about which alerts, and what it changed. It changes what it can;
what cannot be changed any more (a situation that is over) is still true and is kept for whoever learns from it.
Correlation does not undo it: it keeps apart what was said to be apart for ``group.keep_apart``, and leaves situations
that a person shaped as they are.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from correlation.feedback import contradicts, said_first, witness
from correlation.relate import Candidate
from correlation.structure import leaving, why_not_merge, why_not_move, why_not_split
from foreshock.core.contracts import Record
from foreshock.core.model import Alert, Judgement, JudgementKind, Moved, Situation, SituationState, Witness
from foreshock.service import regroup, umbrella
from foreshock.service.records import Statement
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_RESPECTED = 1000
"""Judgements that correlation respects at a time; beyond it the oldest gives way."""
MAX_SAID_CAUSES = 1000
"""CIs of which is remembered how often they were the cause; beyond it the one that was named longest ago gives way."""
_MAX_COMMENT = 2000


def judge(engine: "Engine", said: Statement, record: Record) -> None:
    """Read one statement: work out what it means, change what can be changed, keep it."""
    engine.last_judgement += 1
    judgement = msgspec.structs.replace(meaning(engine, said), id=f"J-{engine.last_judgement}", actor=record.actor)
    reason = judgement.outcome
    if not reason:
        done = _apply(engine, said, judgement)
        judgement = msgspec.structs.replace(judgement, applied=True, outcome=done)
    for old in [old for old in engine.judgements.values() if contradicts(old, judgement)]:
        lapse(engine, old.id)  # the later word counts
    if (judgement.one and judgement.apart) or (not reason and said.kind is JudgementKind.NOT_RELATED):
        judgement = msgspec.structs.replace(judgement, until=engine.now + engine.settings.group.keep_apart)
        _respect(engine, judgement)
        umbrella.respect(engine)
    engine.effects.judgements.append((record.number, judgement))
    told = "; ".join(filter(None, (judgement.outcome, judgement.comment)))
    engine.say("feedback", judgement.situation or judgement.id, said.kind.value, told, actor=record.actor)


# ---- what a statement means -----------------------------------------------------------------------------------------


def meaning(engine: "Engine", said: Statement) -> Judgement:
    """What is said, about which alerts as they are now; nothing is changed. ``outcome`` is why it cannot be applied,
    empty if it can; where ``one`` is empty too it means nothing at all."""
    plain = Judgement(
        id="",
        at=engine.now,
        actor="",
        kind=said.kind,
        situation=said.situation,
        other=said.other,
        cis=said.cis,
        comment=said.comment[:_MAX_COMMENT],
    )
    replace = msgspec.structs.replace
    for id in filter(None, (said.situation, said.other)):
        if not _witnesses(engine, said, id):
            return replace(plain, outcome=f"there is no situation {id}")
    if said.kind is JudgementKind.MERGE:
        reason = _merge_reason(engine, said)
        one, same = _witnesses(engine, said, said.situation), _witnesses(engine, said, said.other)
        return replace(plain, one=() if said.situation == said.other else one, same=same, outcome=reason)
    if said.kind in (JudgementKind.SPLIT, JudgementKind.MOVE):
        return _parted(engine, said, plain)
    if said.kind is JudgementKind.CAUSE:
        return _cause(engine, said, plain)
    return _not_related(engine, said, plain)


def _merge_reason(engine: "Engine", said: Statement) -> str:
    winner, loser = engine.situations.get(said.situation), engine.situations.get(said.other)
    if winner is None or loser is None:
        return f"{said.situation if winner is None else said.other} is over"
    return why_not_merge(winner, loser, engine.settings.group)


def _parted(engine: "Engine", said: Statement, plain: Judgement) -> Judgement:
    replace = msgspec.structs.replace
    everyone = _witnesses(engine, said, said.situation)
    known = {one.fingerprint for one in everyone}
    source, target = engine.situations.get(said.situation), engine.situations.get(said.other)
    strangers = [alert for alert in said.alerts if alert not in known]
    if strangers or not said.alerts or not everyone:
        reason = f"{strangers[0]} is not in {said.situation}" if strangers else "no alert is named"
        return replace(plain, outcome=reason)
    goes = tuple(one for one in everyone if one.fingerprint in said.alerts)
    stays = tuple(one for one in everyone if one.fingerprint not in said.alerts)
    if said.kind is JudgementKind.SPLIT:
        if not stays:
            return replace(plain, outcome=f"these are all the alerts of {said.situation}")
        reason = f"{said.situation} is over" if source is None else why_not_split(source, said.alerts)
        return replace(plain, one=goes, apart=stays, outcome=reason)
    if said.situation == said.other:
        return replace(plain, outcome=f"they are in {said.other} already")
    same = _witnesses(engine, said, said.other)
    if source is None or target is None:
        reason = f"{said.situation if source is None else said.other} is over"
    else:
        reason = why_not_move(source, said.alerts, target, engine.settings.group)
    return replace(plain, one=goes if same else (), same=same, apart=stays, outcome=reason)


def _cause(engine: "Engine", said: Statement, plain: Judgement) -> Judgement:
    if len(said.cis) != 1 or not said.situation:
        return msgspec.structs.replace(plain, outcome="name one situation and the CI that was the cause")
    situation = engine.situations.get(said.situation)
    if situation is not None and situation.merged_into:
        return msgspec.structs.replace(plain, outcome=f"{said.situation} is merged into {situation.merged_into}")
    reason = f"{said.situation} is over, and remembered only as history" if situation is None else ""
    return msgspec.structs.replace(plain, one=_witnesses(engine, said, said.situation), outcome=reason)


def _not_related(engine: "Engine", said: Statement, plain: Judgement) -> Judgement:
    """Two situations, two alerts, or two CIs."""
    replace = msgspec.structs.replace
    if said.situation and said.other and said.situation != said.other:
        one, two = _two_sides(_witnesses(engine, said, said.situation), _witnesses(engine, said, said.other))
    elif len(set(said.cis)) == 2:
        one, two = _on(engine, said.cis[0]), _on(engine, said.cis[1])
        return replace(plain, one=one, apart=two)
    elif len(set(said.alerts)) == 2:
        named = dict.fromkeys(said.alerts)
        found = [engine.alerts.get(alert) for alert in named]
        unknown = [alert for alert, known in zip(named, found, strict=True) if known is None]
        if unknown:
            return replace(plain, outcome=f"there is no alert {unknown[0]}")
        one, two = ((witness(alert),) for alert in found if alert is not None)
    else:
        return replace(plain, outcome="name two situations, two alerts or two CIs")
    return replace(plain, one=one, apart=two)


def _two_sides(one: tuple[Witness, ...], two: tuple[Witness, ...]) -> tuple[tuple[Witness, ...], tuple[Witness, ...]]:
    """Where the one was merged into the other, the other is what it was before."""
    if len(one) > len(two):
        return _without(one, two), two
    return one, _without(two, one)


def _without(some: tuple[Witness, ...], others: tuple[Witness, ...]) -> tuple[Witness, ...]:
    gone = {each.fingerprint for each in others}
    return tuple(each for each in some if each.fingerprint not in gone)


def _witnesses(engine: "Engine", said: Statement, id: str) -> tuple[Witness, ...]:
    situation = engine.situations.get(id)
    if situation is None:
        return said.past.get(id, ())
    return tuple(witness(alert) for alert in engine.members(situation))


def _on(engine: "Engine", ci: str) -> tuple[Witness, ...]:
    """Alerts of open situations on one CI."""
    return tuple(
        witness(alert)
        for situation in engine.situations.values()
        if situation.state is SituationState.OPEN and ci in engine.affected[situation.id]
        for alert in engine.members(situation)
        if alert.ci == ci
    )


# ---- applying it ----------------------------------------------------------------------------------------------------


def _apply(engine: "Engine", said: Statement, judgement: Judgement) -> str:
    """Change the structure; what was done, in words."""
    how = Moved(at=engine.now, source=said.situation, by=judgement.actor, reason=judgement.comment)
    situations = engine.situations
    if said.kind is JudgementKind.MERGE:
        how = msgspec.structs.replace(how, source=said.other)
        regroup.merge(engine, situations[said.situation], situations[said.other], how)
        return f"{said.other} is merged into {said.situation}"
    if said.kind is JudgementKind.SPLIT:
        part = regroup.split(engine, situations[said.situation], said.alerts, how)
        return f"split off as {part.id}"
    if said.kind is JudgementKind.MOVE:
        regroup.move(engine, situations[said.situation], said.alerts, situations[said.other], how)
        return f"moved to {said.other}"
    if said.kind is JudgementKind.CAUSE:
        return _name_cause(engine, situations[said.situation], said.cis[0], judgement.actor)
    return _part(engine, said, judgement, how)


def _name_cause(engine: "Engine", situation: Situation, ci: str, by: str) -> str:
    if situation.cause_said != ci:
        _learn_cause(engine, situation.cause_said, ci)
    situation.cause_said, situation.cause_said_by = ci, by
    if situation.state is not SituationState.OPEN:
        situation.causes, situation.cause_doubt = said_first(situation.causes, situation), ""
    engine.touch(situation.id).notes.append(f"{by} said that {ci} was the cause")
    return f"{ci} stands first among the causes of {situation.id}"


def _learn_cause(engine: "Engine", before: str, ci: str) -> None:
    """People said ``ci`` now, and what they said ``before`` of the same situation no longer counts."""
    said = engine.said_causes
    if before and (left := said.pop(before, 1) - 1):
        said[before] = left
    said[ci] = said.pop(ci, 0) + 1
    if len(said) > MAX_SAID_CAUSES:
        del said[next(iter(said))]


def _part(engine: "Engine", said: Statement, judgement: Judgement, how: Moved) -> str:
    """Where both sides are in one open situation, the second leaves it with all that joined because of it."""
    stay = {one.fingerprint for one in judgement.one}
    go = {one.fingerprint for one in judgement.apart}
    parts = []
    for situation in [s for s in engine.situations.values() if s.state is SituationState.OPEN]:
        here, there = stay & situation.members.keys(), go & situation.members.keys()
        if here and there:
            how = msgspec.structs.replace(how, source=situation.id)
            part = regroup.split(engine, situation, leaving(situation, here, there), how)
            parts.append(f"{part.id} split off from {situation.id}")
    return ", ".join(parts) or "nothing had to be parted"


# ---- respecting it --------------------------------------------------------------------------------------------------


def allowed(engine: "Engine", alert: Alert, candidates: Iterable[Candidate]) -> Sequence[Candidate]:
    """Candidates without the situations that a person said the alert does not belong to."""
    situations, affected = engine.situations, engine.affected
    return [
        candidate
        for candidate in candidates
        if not engine.apart.between(alert, situations[candidate.situation], affected[candidate.situation])
    ]


def kept_apart(engine: "Engine", winner: Situation, loser: Situation) -> str:
    """The judgement that forbids correlation to merge them; empty if none does."""
    if not engine.apart:
        return ""
    affected = engine.affected[winner.id]
    for alert in engine.members(loser):
        if judgement := engine.apart.between(alert, winner, affected):
            return judgement
    return ""


def _respect(engine: "Engine", judgement: Judgement) -> None:
    assert judgement.until is not None
    if len(engine.judgements) >= MAX_RESPECTED:
        lapse(engine, next(iter(engine.judgements)))
    engine.judgements[judgement.id] = judgement
    engine.apart.add(judgement)
    engine.dirty.add(("judgement", judgement.id))
    engine.timers.at(judgement.until, Due.EVICTION, judgement.id)


def lapse(engine: "Engine", id: str) -> None:
    """Its time is over, or a later word contradicts it."""
    judgement = engine.judgements.pop(id, None)
    if judgement is not None:
        engine.apart.drop(judgement)
        engine.dirty.add(("judgement", id))


def restore(engine: "Engine") -> None:
    """Make what follows from the judgements of a checkpoint."""
    engine.judgements = dict(sorted(engine.judgements.items(), key=lambda item: int(item[0].rpartition("-")[2])))
    for judgement in engine.judgements.values():
        assert judgement.until is not None
        engine.apart.add(judgement)
        engine.timers.at(judgement.until, Due.EVICTION, judgement.id)
