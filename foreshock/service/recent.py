"""Changes in the engine: heard as records, and saved."""

from typing import TYPE_CHECKING

import msgspec

from correlation.bind import named
from foreshock.core.model import Change

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def hear(engine: "Engine", change: Change) -> None:
    cis = (named(ci, engine.topology, engine.settings.bind) for ci in change.cis)
    bound = msgspec.structs.replace(change, cis=tuple(sorted({ci for ci in cis if ci})))
    engine.counts["changes"] += 1
    engine.dirty.update(("change", id) for id in engine.changes.hear(bound, engine.now))


def saved(engine: "Engine", id: str) -> bytes | None:
    change = engine.changes.by_id.get(id)
    return None if change is None else msgspec.msgpack.encode(change)
