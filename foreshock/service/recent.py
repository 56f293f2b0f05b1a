"""Changes in the engine: heard as records, and kept for a while as possible causes of what follows."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from correlation.bind import named
from foreshock.core.model import Change

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

REMEMBERED = timedelta(hours=6)
MAX_CHANGES = 1000
"""Kept at most; of more, the newest."""


def hear(engine: "Engine", change: Change) -> None:
    cis = (named(ci, engine.topology, engine.settings.bind) for ci in change.cis)
    engine.changes[change.id] = msgspec.structs.replace(change, cis=tuple(sorted({ci for ci in cis if ci})))
    engine.counts["changes"] += 1
    _changed(engine, [change.id])
    old = [id for id, kept in engine.changes.items() if engine.now - kept.at > REMEMBERED]
    newest = sorted(engine.changes, key=lambda id: (engine.changes[id].at, id))
    gone = {*old, *newest[: max(0, len(newest) - MAX_CHANGES)]}
    for id in gone:
        del engine.changes[id]
    _changed(engine, gone)


def saved(engine: "Engine", id: str) -> bytes | None:
    change = engine.changes.get(id)
    return None if change is None else msgspec.msgpack.encode(change)


def _changed(engine: "Engine", ids: Iterable[str]) -> None:
    """Their checkpoint is out of date."""
    engine.dirty.update(("change", id) for id in ids)
