"""The state of an engine as pieces that are saved one by one, and an engine from such pieces."""

from collections.abc import Iterable, Iterator
from sys import intern
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from correlation import variants
from correlation.group import number as situation_number
from correlation.suppression.suppression import Suppression
from foreshock.core import identity as fingerprints
from foreshock.core.model import Alert, Change, Judgement, Moment, Situation, SituationState, Versions
from foreshock.service import (
    brake,
    escalation,
    evidence,
    feedback,
    forecasts,
    in_force,
    lifetimes,
    problems,
    recent,
    rekey,
    sla,
    weighing,
)
from foreshock.service.lineage import InForce
from foreshock.service.records import LearnedRecord, SettingsRecord
from foreshock.service.sharing import Sharing
from foreshock.service.sources import SourceCount
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


class Saved(Struct, frozen=True, kw_only=True):
    """Counters that belong to no alert or situation. record: the last that was read, which what timers do is told with;
    fingerprints: the version that alerts are saved with; ahead, suspended: the budget of the rules; said_causes: as
    ``Engine.said_causes``; topology: the version in force."""

    now: Moment
    record: int = 0
    situations: int
    orders: int
    judgements: int = 0
    notices: int = 0
    problems: int = 0
    forecasts: int = 0
    foretold: dict[str, dict[str, int]] = {}
    versions: tuple[Versions, ...] = ()
    sources: dict[str, SourceCount]
    heard: dict[str, int]
    counts: dict[str, int]
    fingerprints: int = 1
    ahead: dict[str, int] = {}
    suspended: dict[str, str] = {}
    said_causes: dict[str, int] = {}
    topology: str = ""


def pieces(engine: "Engine") -> Iterator[tuple[str, str, bytes | None]]:
    encode = msgspec.msgpack.Encoder().encode
    for key in engine.dirty_alerts:
        alert = engine.alerts.get(key)
        yield "alert", key, None if alert is None else encode(variants.whole(alert).plain())
    for key in engine.dirty_situations:
        situation = engine.situations.get(key)
        yield "situation", key, None if situation is None else encode(situation)
    for part in sorted(engine.usual.changed):
        yield "usual", part, engine.usual.save(part)
    graph: list[str] = []
    for kind, key in sorted(engine.dirty):
        if kind == "rule":
            memory = next((rule.memory for rule in engine.rules if rule.tag == key), None)
            yield kind, key, None if memory is None else memory.save()
        elif kind == "anomaly":
            yield kind, key, evidence.saved(engine, key)
        elif kind == "change":
            yield kind, key, recent.saved(engine, key)
        elif kind == "pattern":
            yield kind, key, problems.saved(engine, key)
        elif kind in ("forecast", "expected"):
            yield kind, key, forecasts.saved(engine, kind, key)
        elif kind == "judgement":
            judgement = engine.judgements.get(key)
            yield kind, key, None if judgement is None else encode(judgement)
        elif kind == "topology":
            graph.append(key)
        elif kind == "learned":
            yield kind, key, encode(engine.learned)
        elif kind == "settings":
            yield kind, key, encode(in_force.settings_record(engine))
        elif kind == "brake":
            yield kind, key, encode(engine.brake)
        elif kind == "lineage":
            yield kind, key, encode(engine.lineage)
    for key, body in engine.saved_topology.pieces(engine.topology, graph):
        yield "topology", key, body
    for kind, key in engine.suppression.unsaved():
        item = engine.suppression.item(kind, key)
        yield kind, key, None if item is None else encode(item)
    counters = Saved(
        now=engine.now,
        record=engine.record,
        situations=engine.last_situation,
        orders=engine.last_order,
        judgements=engine.last_judgement,
        notices=engine.last_notice,
        problems=engine.last_problem,
        forecasts=engine.last_forecast,
        foretold=engine.foretold,
        versions=tuple(engine.versions),
        sources=engine.sources,
        heard=engine.heard,
        counts=engine.counts,
        fingerprints=fingerprints.FINGERPRINT_VERSION,
        ahead=engine.budget.ahead,
        suspended=engine.budget.suspended,
        said_causes=engine.said_causes,
        topology=engine.topology.version,
    )
    yield "saved", "", encode(counters)


def save_again(engine: "Engine", items: Iterable[tuple[str, str]]) -> None:
    for kind, key in items:
        if kind == "alert":
            engine.dirty_alerts[key] = None
        elif kind == "situation":
            engine.dirty_situations[key] = None
        elif kind == "usual":
            engine.usual.changed.add(key)
        elif kind in Suppression.ITEMS:
            engine.suppression.save_again(kind, key)
        else:
            engine.dirty.add((kind, key))


def restore(engine: "Engine", items: Iterable[tuple[str, str, bytes]]) -> None:
    read_alert = msgspec.msgpack.Decoder(Alert).decode
    read_situation = msgspec.msgpack.Decoder(Situation).decode
    sharing = Sharing()
    graph: list[tuple[str, bytes]] = []
    version = ""
    learned: dict[str, bytes] = {}
    anomalies: list[bytes] = []
    made_by = fingerprints.FINGERPRINT_VERSION
    usual: list[bytes] = []
    patterns: list[bytes] = []
    foreseen: dict[str, list[bytes]] = {"forecast": [], "expected": []}
    braked = b""
    for kind, key, body in items:
        if kind == "alert":
            alert = read_alert(body)
            sharing.alert(alert)
            engine.alerts[alert.fingerprint] = alert
        elif kind == "situation":
            engine.situations[key] = read_situation(body)
        elif kind in Suppression.ITEMS:
            engine.suppression.restore(kind, key, body)
        elif kind == "anomaly":
            anomalies.append(body)
        elif kind == "usual":
            usual.append(body)
        elif kind == "pattern":
            patterns.append(body)
        elif kind in foreseen:
            foreseen[kind].append(body)
        elif kind == "change":
            engine.changes.add(msgspec.msgpack.decode(body, type=Change))
        elif kind == "judgement":
            engine.judgements[key] = msgspec.msgpack.decode(body, type=Judgement)
        elif kind == "topology":
            graph.append((key, body))
        elif kind == "settings":
            in_force.use_settings(engine, msgspec.msgpack.decode(body, type=SettingsRecord))
        elif kind == "lineage":
            engine.lineage = msgspec.msgpack.decode(body, type=tuple[InForce, ...])
        elif kind == "brake":
            braked = body
        elif kind == "rule":
            learned[key] = body
        elif kind == "learned":
            engine.learned = msgspec.msgpack.decode(body, type=LearnedRecord)
        elif kind == "saved":
            saved = msgspec.msgpack.decode(body, type=Saved)
            engine.now, engine.record = saved.now, saved.record
            engine.last_situation, engine.last_order = saved.situations, saved.orders
            engine.sources, engine.heard = saved.sources, saved.heard
            engine.last_judgement, engine.versions = saved.judgements, list(saved.versions)
            engine.last_notice = saved.notices
            engine.last_problem = saved.problems
            engine.last_forecast, engine.foretold = saved.forecasts, saved.foretold
            engine.counts |= saved.counts
            engine.budget.ahead, engine.budget.suspended = saved.ahead, saved.suspended
            made_by, engine.said_causes, version = saved.fingerprints, saved.said_causes, saved.topology
    topology = engine.saved_topology.restore(engine, graph)
    in_force.use_topology(engine, msgspec.structs.replace(topology, version=version or topology.version))
    for situation in engine.situations.values():
        sharing.situation(situation, engine.alerts)
    engine.situations = dict(sorted(engine.situations.items(), key=lambda item: situation_number(item[0])))
    engine.alerts = dict(sorted(engine.alerts.items(), key=lambda item: (item[1].first_seen, item[0])))
    in_force.build_rules(engine, learned)
    in_force.rebuild_traces(engine)
    evidence.restore(engine, anomalies)
    engine.usual.load(usual)
    problems.restore(engine, patterns)
    forecasts.restore(engine, foreseen["forecast"], foreseen["expected"])
    if braked:
        brake.restore(engine, braked)
    _restore_alerts(engine)
    feedback.restore(engine)
    _restore_timers(engine)
    if made_by != fingerprints.FINGERPRINT_VERSION:
        rekey.rekey(engine)
    in_force.use_suppression(engine)


def _restore_alerts(engine: "Engine") -> None:
    for alert in engine.alerts.values():
        alert.ci = intern(alert.ci)
        engine.active += alert.firing
    rekey.know_all(engine)


def _restore_timers(engine: "Engine") -> None:
    """Timers are not saved: each follows from the state. One that no longer matters does nothing when it fires."""
    for alert in engine.alerts.values():
        lifetimes.watch(engine, alert)
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            engine.timers.at(engine.now, Due.SITUATION, situation.id)
            weighing.wait_for_hours(engine, situation)
            sla.wait(engine, situation)
            escalation.wait(engine, situation)
    next_change = engine.suppression.next_change(engine.now)
    if next_change is not None:
        engine.timers.at(next_change, Due.SUPPRESSION, "")
    lifetimes.watch_what_is_over(engine)
    problems.watch_all(engine)
    forecasts.watch_all(engine)
