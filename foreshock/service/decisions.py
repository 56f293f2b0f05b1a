"""What is kept of each decision while it is made, so that it can be explained later: who else was considered, what each
sink was to hear, and the versions it was decided by."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import nsmallest
from typing import TYPE_CHECKING

import msgspec

from correlation.group import Placement, closed_to_joins, too_far
from correlation.group import number as situation_number
from correlation.next_step import Decision, Step
from correlation.relate import Candidate
from foreshock.core.model import Alert, Considered, Decided, Situation, Versions

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_CONSIDERED = 3
MAX_VERSIONS = 200
_DIGEST_BYTES = 6
_UNHEARD = (Step.WAIT, Step.HOLD, Step.NOTHING)


def considered(
    engine: "Engine", alert: Alert, candidates: Iterable[Candidate], placement: Placement
) -> tuple[Considered, ...]:
    """The situations that ``alert`` was related to and does not go to, the strongest first."""
    joins = placement.join.situation if placement.join is not None else ""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.situation != joins and candidate.situation not in placement.merge:
            known = best.get(candidate.situation)
            if known is None or candidate.strength > known.strength:
                best[candidate.situation] = candidate
    if not best:
        return ()
    strongest = nsmallest(
        MAX_CONSIDERED, best.values(), key=lambda each: (-each.strength, situation_number(each.situation))
    )
    return tuple(
        Considered(
            situation=each.situation,
            other=each.other,
            strength=round(each.strength, 4),
            rule=each.rule,
            why=_why_not(engine, alert, each, joins),
        )
        for each in strongest
    )


def _why_not(engine: "Engine", alert: Alert, candidate: Candidate, joins: str) -> str:
    settings = engine.settings.group
    if reason := kept_out(engine, alert, engine.situations[candidate.situation]):
        return reason
    if reason := too_far(candidate, settings):
        return reason
    if candidate.strength < settings.threshold:
        return f"the link is weaker than {settings.threshold:.2f}"
    return f"{joins} is related more strongly" if joins else "all that relates them is not enough together"


def kept_out(engine: "Engine", alert: Alert, situation: Situation) -> str:
    """The bound, or the person, that keeps ``alert`` out of ``situation`` whatever relates them; empty if none does."""
    judgement = engine.judgements.get(
        engine.apart.between(alert, situation, engine.affected.get(situation.id, frozenset()))
    )
    if judgement is not None:
        return f"{judgement.actor} said that they do not belong together ({judgement.id})"
    return closed_to_joins(situation, engine.now, engine.settings.group)


def note_step(engine: "Engine", situation: Situation, sink: str, decision: Decision) -> None:
    """What one sink is to hear. Kept is why it hears nothing; a write is in the audit anyway. That a ticket needs
    nothing, or the same decision again, says nothing new."""
    step, reason, until = decision.step, decision.reason, decision.again_at
    last: Decided | None = None
    for each in situation.decided:
        if each.sink == sink:
            if (each.step, each.reason, each.until) == (step, reason, until):
                return
            last = each
    silent = step is Step.NOTHING and sink in situation.tickets
    if silent and last is None:
        return
    decided = Decided(at=engine.now, sink=sink, step=step.value, reason=reason, until=until)
    if not silent:
        engine.effects.decisions.append((situation.id, decided))
    kept = () if silent or step not in _UNHEARD else (decided,)
    if last is not None or kept:
        situation.decided = (*(each for each in situation.decided if each.sink != sink), *kept)


def note_versions(engine: "Engine") -> None:
    """Rules, topology, settings or what was learned may be others now."""
    settings = engine.settings.model_dump_json().encode()
    found = Versions(
        since=engine.now,
        rules=tuple(rule.tag for rule in engine.rules),
        topology=engine.topology.version,
        learned=engine.learned.learned.version,
        settings=hashlib.blake2b(settings, digest_size=_DIGEST_BYTES).hexdigest(),
    )
    last = engine.versions[-1] if engine.versions else None
    if last is not None and msgspec.structs.replace(last, since=found.since) == found:
        return
    kept = engine.versions[:-1] if last is not None and last.since == found.since else engine.versions
    engine.versions = [*kept, found][-MAX_VERSIONS:]


def versions_at(versions: Sequence[Versions], at: datetime) -> Versions | None:
    """Those in force at a moment; None if that is longer ago than is remembered."""
    return next((each for each in reversed(versions) if each.since <= at), None)
