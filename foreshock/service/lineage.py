"""Which rules and settings were in force one after the other, by whom and why: part of the engine's state, so that it
follows from the records like everything else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from foreshock.core.contracts import Record
from foreshock.core.model import Moment
from foreshock.service.records import Source
from foreshock.service.ruleset import ruleset, version_of

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

MAX_LINEAGE = 50
"""So many are remembered, and can be gone back to."""


class InForce(Struct, frozen=True, kw_only=True):
    """One version, from when it came into force on. previous: the one before; empty for the first that is known."""

    version: str
    previous: str
    at: Moment
    actor: str
    source: Source


def note(engine: "Engine", source: Source | None, record: Record) -> None:
    """Settings and rules of ``record`` are in force."""
    version = version_of(ruleset(engine.settings, engine.rule_instances))
    source = source or Source()
    last = engine.lineage[-1] if engine.lineage else None
    if last is not None and (last.version, last.source.how, last.source.files) == (version, source.how, source.files):
        return
    previous = last.version if last is not None else ""
    entry = InForce(version=version, previous=previous, at=engine.now, actor=record.actor, source=source)
    engine.lineage = (*engine.lineage, entry)[-MAX_LINEAGE:]
    engine.dirty.add(("lineage", ""))
    told = f"after {previous or 'nothing'}" + (f": {source.reason}" if source.reason else "")
    engine.say("rules", version, f"in force ({source.how.value})", told, actor=record.actor)


def before(lineage: Sequence[InForce]) -> str:
    """The version that was in force before the present one; empty if none is known."""
    return next((each.version for each in reversed(lineage) if each.version != lineage[-1].version), "")
