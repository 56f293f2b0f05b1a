"""Metric anomalies in the engine: heard as records, attached to the open situations they say something about, and kept
for a while for those that open later. ``correlation.evidence`` decides; this walks the engine's state."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from correlation import evidence
from correlation.bind import named
from foreshock.core.model import Anomaly, Evidence, Situation
from foreshock.service.records import AnomaliesRecord
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

REMEMBERED = timedelta(hours=1)
"""What is not heard of again for so long is forgotten."""


MAX_SITUATIONS = 50
"""That one anomaly is attached to when it is heard of; situations that open later take it all the same."""


def hear(engine: "Engine", body: bytes) -> None:
    """A record of anomalies."""
    read = msgspec.json.decode(body, type=AnomaliesRecord).anomalies
    bound = [
        msgspec.structs.replace(anomaly, ci=named(anomaly.ci, engine.topology, engine.settings.bind))
        for anomaly in read
    ]
    engine.counts["anomalies"] += len(read)
    for anomaly in sorted(bound, key=evidence.key):
        if not anomaly.ci:  # several CIs go by that name
            continue
        name = evidence.key(anomaly)
        if not engine.anomalies:
            engine.timers.at(engine.now + REMEMBERED, Due.ANOMALIES, "")
        _changed(engine, [name, *engine.anomalies.hear(anomaly, engine.now, engine.record)])
        if (heard := engine.anomalies.get(name)) is not None:
            _attach_to_open(engine, heard.anomaly)


def attach_known(engine: "Engine", situation: Situation, ci: str) -> None:
    """``situation`` has its first alert on ``ci``: what is known of this CI and of what it depends on?"""
    if engine.anomalies:
        for needed in engine.topology.upstream(ci):
            for anomaly in engine.anomalies.on(needed):
                _attach(engine, situation, anomaly, ci)


def forget(engine: "Engine") -> None:
    """The timer: drop what was not heard of again, and come back for the next."""
    _changed(engine, engine.anomalies.forget(engine.now - REMEMBERED))
    _watch(engine)


def saved(engine: "Engine", name: str) -> bytes | None:
    heard = engine.anomalies.get(msgspec.json.decode(name, type=evidence.Key))
    return None if heard is None else msgspec.msgpack.encode(heard)


def restore(engine: "Engine", items: Iterable[bytes]) -> None:
    engine.anomalies = evidence.Known(msgspec.msgpack.decode(item, type=evidence.Heard) for item in items)
    _watch(engine)


def _watch(engine: "Engine") -> None:
    first = next(iter(engine.anomalies), None)
    if first is not None:
        engine.timers.at(first.at + REMEMBERED, Due.ANOMALIES, "")


def _attach_to_open(engine: "Engine", anomaly: Anomaly) -> None:
    """The nearest first; an anomaly of what half the estate stands on must not hold up the engine."""
    affected = engine.traces.by_ci
    if not affected:
        return
    seen: set[str] = set()
    for ci in engine.topology.downstream(anomaly.ci):
        for id in affected.get(ci, ()):
            if len(seen) >= MAX_SITUATIONS and id not in seen:
                engine.counts["anomalies_cut"] += 1
                return
            seen.add(id)
            _attach(engine, engine.situations[id], anomaly, ci)


def _attach(engine: "Engine", situation: Situation, anomaly: Anomaly, ci: str) -> None:
    path = engine.topology.path(ci, anomaly.ci)
    if not path or not evidence.fits(anomaly, situation, engine.settings.evidence.window):
        return
    before = situation.evidence
    situation.evidence = evidence.attach(before, Evidence(anomaly=anomaly, path=path))
    if situation.evidence != before:
        engine.dirty_situations[situation.id] = None
        places = {evidence.place(each) for each in before}
        if any(evidence.place(each) not in places for each in situation.evidence):
            engine.touch(situation.id).anomalies += 1


def _changed(engine: "Engine", names: Iterable[evidence.Key]) -> None:
    """Their checkpoint is out of date."""
    engine.dirty.update(("anomaly", msgspec.json.encode(name).decode()) for name in names)
