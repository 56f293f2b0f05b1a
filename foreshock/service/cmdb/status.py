"""How far the CMDB sources are: what is shown of each, and what a person must be told."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from foreshock.core.model import Moment
from foreshock.service.cmdb.run import FAILED, REFUSED
from foreshock.service.ourselves import cmdb_denied, cmdb_refused, cmdb_stale
from foreshock.service.settings import SourceInstance
from foreshock.service.worries import Labels, as_labels
from foreshock.store.cmdb import CmdbStore, Counts, Reading, SourceState, Version

STALE_AFTER = 3
"""Times its full interval: a source that was not read for so long is told of."""


class SourceView(Struct, frozen=True, kw_only=True):
    """One CMDB source.

    Attributes:
        outcome: of its last sync; empty before the first. error: why it was refused or failed. failures: how many
            failed in a row. denied: because our credentials are refused.
        in_settings: it is asked; if not, its CIs stay until a person lets them go.
        succeeded_at: when it was last read without error; age_s: seconds since then. stale: too many.
        full_at: when all of it was read. reading: who reads it now, and pages: how far.
        items, ties: that it says now. flaws: objects of its last full reading that could not be read.
        counts: what its last sync brought, and what came of it.
    """

    name: str
    kind: str
    in_settings: bool
    outcome: str = ""
    error: str = ""
    failures: int = 0
    denied: bool = False
    succeeded_at: Moment | None = None
    age_s: float | None = None
    stale: bool = False
    full_at: Moment | None = None
    last_at: Moment | None = None
    reading: str = ""
    pages: int = 0
    items: int = 0
    ties: int = 0
    flaws: int = 0
    counts: Counts | None = None


class CmdbStatus(Struct, frozen=True, kw_only=True):
    """version: the newest; in_force: name of the one the engine decides with, where that is known."""

    version: Version | None
    in_force: str | None
    sources: tuple[SourceView, ...]


def status(
    store: CmdbStore, instances: Sequence[SourceInstance], now: datetime, in_force: str | None = None
) -> CmdbStatus:
    return CmdbStatus(version=store.newest(), in_force=in_force, sources=tuple(views(instances, store.sources(), now)))


def views(instances: Sequence[SourceInstance], states: Iterable[SourceState], now: datetime) -> Iterable[SourceView]:
    """Those of the settings in their order, then those that are no longer there."""
    known = {state.name: state for state in states}
    for instance in instances:
        state = known.pop(instance.name, None)
        if state is None:
            yield SourceView(name=instance.name, kind=instance.kind, in_settings=True)
        else:
            yield _view(state, now, instance)
    for state in known.values():
        yield _view(state, now, None)


def _view(state: SourceState, now: datetime, instance: SourceInstance | None) -> SourceView:
    newest = _newest(state)
    age = None if state.succeeded_at is None else now - state.succeeded_at
    return SourceView(
        name=state.name,
        kind=state.kind,
        in_settings=instance is not None,
        outcome=_outcome(newest),
        error=newest.error if newest is not None else "",
        failures=state.failures,
        denied=state.denied,
        succeeded_at=state.succeeded_at,
        age_s=None if age is None else max(0.0, age.total_seconds()),
        stale=instance is not None and age is not None and age > patience(instance),
        full_at=state.full_at,
        last_at=newest.ended_at or newest.began_at if newest is not None else None,
        reading=state.holder,
        pages=state.going_on.pages if state.going_on is not None else 0,
        items=state.items,
        ties=state.ties,
        flaws=state.flaws,
        counts=newest.counts if newest is not None else None,
    )


def _newest(state: SourceState) -> Reading | None:
    """What tells how it goes: the reading that was interrupted, or the last one that ended."""
    if state.going_on is not None and state.going_on.error:
        return state.going_on
    return state.last


def _outcome(reading: Reading | None) -> str:
    if reading is None:
        return ""
    return reading.outcome or (FAILED if reading.error else "")


def patience(instance: SourceInstance) -> timedelta:
    every: timedelta = instance.config.model_dump()["full_every"]
    return STALE_AFTER * every


def worries(sources: Iterable[SourceView]) -> Mapping[Labels, str]:
    """What must be told: labels of an alert about ourselves, sorted, and its summary."""
    found = {}
    for source in sources:
        if source.outcome == REFUSED:
            found[as_labels(cmdb_refused(source.name))] = source.error
        why = f": {source.error}" if source.error else ""
        if source.denied and source.in_settings:
            found[as_labels(cmdb_denied(source.name))] = (
                f"CMDB source {source.name!r} refuses our credentials{why}; its {source.items} CIs stay as they were "
                f"{_when(source)}; see `foreshock cmdb test {source.name}`"
            )
        if source.stale and source.succeeded_at is not None:
            found[as_labels(cmdb_stale(source.name))] = (
                f"CMDB source {source.name!r} was last read at {source.succeeded_at:%Y-%m-%d %H:%M} UTC{why}; its "
                f"{source.items} CIs are as they were then; see `foreshock cmdb status`"
            )
    return found


def _when(source: SourceView) -> str:
    return f"at {source.succeeded_at:%Y-%m-%d %H:%M} UTC" if source.succeeded_at is not None else "before"


def trouble(sources: Iterable[SourceView]) -> str:
    """Why the newest of a source is not in force; empty: all is."""
    return "\n".join(source.error for source in sources if source.outcome in (REFUSED, FAILED))
