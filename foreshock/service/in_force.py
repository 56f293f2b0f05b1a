"""What is in force: topology, settings, rules, silences, and what was learned, each taken over from a record."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from correlation.group import number as situation_number
from correlation.identity import Scheme
from correlation.relate import Traces, View
from correlation.rule import RuleInstance, RuleKind, build, changes, shipped
from correlation.settings import read_recorded
from correlation.umbrella import Umbrellas
from foreshock.core.contracts import Record
from foreshock.core.model import SituationState
from foreshock.core.topology import Topology
from foreshock.service import (
    brake,
    deciding,
    escalation,
    feedback,
    forecasts,
    lifetimes,
    lineage,
    problems,
    rekey,
    sla,
    sources,
    weighing,
)
from foreshock.service.ourselves import suspension
from foreshock.service.records import LearnedRecord, OperatorRecord, SettingsRecord, TopologyRecord
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

_WEAK = 4  # candidates down to this part of the threshold are heard: several weak ones may be enough together


def read_operator(engine: "Engine", record: Record) -> None:
    done = msgspec.json.decode(record.body, type=OperatorRecord)
    if done.notice is not None:
        engine.report(done.notice.labels, done.notice.summary)
        return
    if (said := done.remark) is not None:
        engine.say(said.kind, said.subject, said.action, said.detail, actor=record.actor)
        return
    if done.judge is not None:
        feedback.judge(engine, done.judge, record)
        return
    if done.past_ends:
        lifetimes.end_all(engine)
        return
    if done.set_silence is not None:
        silence = done.set_silence
        matchers = engine.suppression.set_silence(silence)
        detail = f"{{{matchers}}} until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC: {silence.comment}"
        engine.say("silence", silence.id, "set", detail, actor=record.actor)
    if done.expire_silence and engine.suppression.end_silence(done.expire_silence, engine.now):
        engine.say("silence", done.expire_silence, "expired", actor=record.actor)
    if done.set_window is not None:
        detail = engine.suppression.set_window(done.set_window)
        engine.say("maintenance", done.set_window.id, "set", detail, actor=record.actor)
    if done.end_window and engine.suppression.end_window(done.end_window, engine.now, only_running=done.only_running):
        what = "this once" if done.only_running else ""
        engine.say("maintenance", done.end_window, "ended", what, actor=record.actor)
    suppression_changed(engine)


def suppression_changed(engine: "Engine") -> None:
    """A silence or a window was set, began or ended: what was held for any reason is looked at again."""
    engine.suppression.forget_the_past(engine.now)
    next_change = engine.suppression.next_change(engine.now)
    if next_change is not None:
        engine.timers.at(next_change, Due.SUPPRESSION, "")
    deciding.evaluate_held(engine)
    sla.windows_changed(engine)
    escalation.look_at_all(engine)


def read_topology(engine: "Engine", record: Record) -> None:
    read = msgspec.json.decode(record.body, type=TopologyRecord)
    use_topology(engine, read)
    engine.dirty.add(("topology", ""))
    engine.say(
        "topology",
        read.version,
        "loaded",
        f"{len(read.cis)} CIs, {len(read.relationships)} relationships",
        actor=record.actor,
    )
    for alert in engine.alerts.values():
        binding = engine.bind(alert, alert.read_labels())
        if (binding.ci, binding.how, binding.peers) != (alert.ci, alert.bound_by, alert.peers):
            alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers
            engine.dirty_alerts[alert.fingerprint] = None
    rebuild_traces(engine)
    for situation in list(engine.situations.values()):
        if situation.state is SituationState.OPEN:
            weighing.forget_spread(engine, situation.id)  # so that the services of the new topology are counted
            engine.dirty_situations[situation.id] = None
            for alert in engine.members(situation):
                weighing.weigh(engine, situation, alert)
    use_suppression(engine)
    forecasts.look_at_all(engine)
    deciding.evaluate_held(engine)


def use_suppression(engine: "Engine") -> None:
    engine.suppression.use(engine.settings, engine.topology, engine.alerts.values())


def use_topology(engine: "Engine", read: TopologyRecord) -> None:
    relate_settings = engine.settings.relate
    engine.topology = Topology(
        read.cis,
        read.relationships,
        version=read.version,
        costs=relate_settings.costs,
        max_cost=relate_settings.max_cost,
    )


def new_view(engine: "Engine") -> View:
    threshold = engine.settings.group.threshold / _WEAK
    return View(engine.traces, engine.topology, engine.settings.relate, threshold, engine.alerts, engine.changes)


def build_rules(engine: "Engine", learned: Mapping[str, bytes]) -> None:
    engine.rules = build(engine.rule_instances, engine.rule_kinds, engine.learned.learned)
    for rule in engine.rules:
        if rule.memory is not None and rule.tag in learned:
            rule.memory.load(learned[rule.tag])
    engine.dirty |= {("rule", tag) for tag in learned.keys() - {rule.tag for rule in engine.rules}}


def rebuild_traces(engine: "Engine") -> None:
    engine.traces, engine.affected, engine.hit = Traces(engine.topology), {}, {}
    build_rules(engine, {rule.tag: rule.memory.save() for rule in engine.rules if rule.memory is not None})
    engine.indexes = engine.all_indexes()
    engine.view = new_view(engine)
    for situation in sorted(engine.situations.values(), key=lambda s: situation_number(s.id)):
        members = engine.members(situation)
        engine.affected[situation.id] = {alert.ci for alert in members if alert.ci}
        if situation.state is SituationState.OPEN:
            for alert in members:
                engine.index(situation, alert)
    rebuild_umbrellas(engine)


def rebuild_umbrellas(engine: "Engine") -> None:
    engine.umbrellas = Umbrellas(engine.situations, engine.topology, engine.settings.umbrella)
    for situation in engine.situations.values():
        if situation.state is SituationState.OPEN:
            engine.umbrellas.add(situation, engine.now)


def read_learned(engine: "Engine", record: Record) -> None:
    engine.learned = msgspec.json.decode(record.body, type=LearnedRecord)
    rebuild_traces(engine)
    engine.dirty.add(("learned", ""))
    learned, pinned = engine.learned.learned, engine.learned.pinned
    detail = f"{len(learned.pairs)} pairs, {len(learned.curves)} calibrated rules{', pinned' if pinned else ''}"
    engine.say("learned", learned.version or "nothing", "in force", detail, actor=record.actor)


def read_settings(engine: "Engine", record: Record) -> None:
    read = msgspec.json.decode(record.body, type=SettingsRecord)
    reopen, before = engine.settings.group.reopen, engine.settings.fold
    weights = engine.settings.priority, engine.settings.calendars
    promised = engine.settings.sla, engine.settings.calendars
    rules = engine.rules
    unknown = use_settings(engine, read)
    for rule, what in changes(rules, engine.rules, engine.rule_instances):
        engine.say("rule", rule, what, actor=record.actor)
    for tag in engine.budget.reset():
        engine.say("rule", tag, "tried again", actor=record.actor)
        engine.report(suspension(tag), "")
    rebuild_umbrellas(engine)
    if engine.settings.group.reopen < reopen:
        lifetimes.watch_what_is_over(engine)
    engine.dirty.add(("settings", ""))
    lineage.note(engine, read.source, record)
    ignored = f"ignored, as this version does not know them: {', '.join(unknown)}" if unknown else ""
    engine.say("settings", "correlation", "loaded", ignored, actor=record.actor)
    if engine.settings.fold.identity != before.identity:
        engine.say("settings", "identity", "re-keyed", rekey.rekey(engine), actor=record.actor)
    use_suppression(engine)
    if engine.settings.fold != before:
        sources.correct_all(engine)
    if (engine.settings.priority, engine.settings.calendars) != weights:
        for situation in engine.situations.values():
            if situation.state is SituationState.OPEN:
                weighing.weigh(engine, situation)
    problems.watch_all(engine)
    forecasts.watch_all(engine)
    brake.look(engine)
    for situation in sorted(engine.situations.values(), key=lambda each: bool(each.parent)):  # parents tell first
        # One that is over may have a ticket in a sink that was not there, and is again.
        if situation.state is SituationState.OPEN or any(ticket.open for ticket in situation.tickets.values()):
            deciding.evaluate(engine, situation)
    escalation.look_at_all(engine)
    if (engine.settings.sla, engine.settings.calendars) != promised:
        for situation in engine.situations.values():
            if situation.state is SituationState.OPEN:
                sla.look(engine, situation, anew=True)


def use_settings(engine: "Engine", read: SettingsRecord) -> tuple[str, ...]:
    """The keys in it that another version of Foreshock knew."""
    before, rules_before = engine.settings.relate, engine.rule_instances
    engine.settings, unknown = read_recorded(read.correlation)
    engine.scheme, engine.senders = Scheme(engine.settings.fold.identity), {}
    engine.sinks, engine.problem_sinks = read.sinks, read.problem_sinks
    engine.rule_instances = rules_of(read, engine.rule_kinds)
    after = engine.settings.relate
    if (before.costs, before.max_cost) != (after.costs, after.max_cost):
        use_topology(engine, topology_record(engine))
        rebuild_traces(engine)
    elif engine.rule_instances != rules_before:
        rebuild_traces(engine)
    engine.view = new_view(engine)
    return unknown


def rules_of(read: SettingsRecord, kinds: Mapping[str, RuleKind]) -> tuple[RuleInstance, ...]:
    return shipped(kinds) if read.rules is None else read.rules


def settings_record(engine: "Engine") -> SettingsRecord:
    correlation = engine.settings.model_dump(mode="json")
    return SettingsRecord(
        correlation=correlation,
        sinks=engine.sinks,
        problem_sinks=engine.problem_sinks,
        rules=engine.rule_instances,
    )


def topology_record(engine: "Engine") -> TopologyRecord:
    return TopologyRecord(
        version=engine.topology.version,
        cis=tuple(engine.topology.cis.values()),
        relationships=tuple(engine.topology.relationships),
    )
