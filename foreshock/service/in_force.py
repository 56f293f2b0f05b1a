"""What is in force: topology, settings, rules, silences, and what was learned, each taken over from a record."""

from collections.abc import Iterable, Mapping
from sys import intern
from typing import TYPE_CHECKING

import msgspec

from correlation.bind import Binding
from correlation.group import number as situation_number
from correlation.identity import Scheme
from correlation.relate import Traces, View
from correlation.rule import RuleInstance, RuleKind, build, changes, shipped
from correlation.settings import read_recorded
from correlation.umbrella import Umbrellas
from foreshock.core.contracts import Record
from foreshock.core.model import Alert, Situation, SituationState
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
from foreshock.service.ourselves import suspension, topology_refusal
from foreshock.service.records import LearnedRecord, OperatorRecord, SettingsRecord, TopologyRecord
from foreshock.service.timers import Due
from foreshock.service.topologies import Fit, fit

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

RETIRED = intern("the topology has it no more: kept until the situation is over")
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
    before = engine.topology
    match fit(read, before.version, {each.topology for each in engine.versions}):
        case Fit.KNOWN:
            return
        case Fit.STRANGE:
            _refuse_topology(engine, read, record)
            return
        case Fit.NEXT if read.delta is not None:
            engine.topology = before.patched(read.delta, version=read.version)
            engine.saved_topology.changed(engine, read.delta)
        case _:
            use_topology(engine, read)
            engine.saved_topology.all_changed(engine)
    engine.say("topology", read.version, "loaded", _what_came(read), actor=record.actor)
    _bind_all_anew(engine, before)
    for situation in list(engine.situations.values()):
        if situation.state is SituationState.OPEN:
            weighing.forget_spread(engine, situation.id)  # so that the services of the new topology are counted
            engine.dirty_situations[situation.id] = None
            for alert in engine.members(situation):
                weighing.weigh(engine, situation, alert)
    use_suppression(engine)
    forecasts.look_at_all(engine)
    deciding.evaluate_held(engine)
    engine.report_end(topology_refusal())


def _refuse_topology(engine: "Engine", read: TopologyRecord, record: Record) -> None:
    """Whoever publishes sees by the version in force that it was, and sends a whole one."""
    there = engine.topology.version or "none"
    detail = f"it builds on version {read.base or 'none'}, and {there} is in force"
    engine.say("topology", read.version, "refused", detail, actor=record.actor)
    engine.report(topology_refusal(), f"topology {read.version} was refused, {there} stays in force: {detail}")


def _what_came(read: TopologyRecord) -> str:
    delta = read.delta
    if delta is None:
        return f"{len(read.cis)} CIs, {len(read.relationships)} relationships"
    return (
        f"after {read.base or 'none'}: {len(delta.put_cis)} CIs new or changed, {len(delta.gone_cis)} gone; "
        f"{len(delta.put_relationships)} relationships new, {len(delta.gone_relationships)} gone"
    )


def _bind_all_anew(engine: "Engine", before: Topology) -> None:
    """before: the topology until now."""
    bound = [(alert, _bound(engine, alert, before)) for alert in engine.alerts.values()]
    moved = [(alert, binding) for alert, binding in bound if _differs(alert, binding)]
    if engine.topology.since(before) is None:
        for alert, binding in moved:
            _put(engine, alert, binding)
        rebuild_traces(engine)
        return
    found = [each for alert, _ in moved if (each := engine.situation_of(alert)) is not None]
    situations = {each.id: each for each in found if each.state is SituationState.OPEN}
    for situation in situations.values():
        engine.unindex(situation, engine.members(situation))
    for alert, binding in moved:
        _put(engine, alert, binding)
    engine.traces.use(engine.topology)
    _index(engine, situations.values())
    _affect_anew(engine)
    engine.view = new_view(engine)
    rebuild_umbrellas(engine)


def bind_anew(engine: "Engine", alert: Alert) -> None:
    """Its labels mean something else than they did."""
    _put(engine, alert, _bound(engine, alert, engine.topology))


def _put(engine: "Engine", alert: Alert, binding: Binding) -> None:
    if _differs(alert, binding):
        alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers
        engine.dirty_alerts[alert.fingerprint] = None


def _differs(alert: Alert, binding: Binding) -> bool:
    return (binding.ci, binding.how, binding.peers) != (alert.ci, alert.bound_by, alert.peers)


def _bound(engine: "Engine", alert: Alert, before: Topology) -> Binding:
    binding = engine.bind(alert, alert.read_labels())
    if binding.ci not in engine.topology.cis and _stays(engine, alert, before):
        return Binding(alert.ci, RETIRED, binding.peers)
    return binding


def _stays(engine: "Engine", alert: Alert, before: Topology) -> bool:
    """Whether its CI is gone while its situation is open: that goes on where it was, until it is over."""
    situation = engine.situation_of(alert)
    if not alert.ci or alert.ci in engine.topology.cis or situation is None:
        return False
    return situation.state is SituationState.OPEN and (alert.ci in before.cis or alert.bound_by == RETIRED)


def leave_the_retired(engine: "Engine", alert: Alert) -> None:
    """It begins again: where its situation is over, a CI that is gone is no longer its place."""
    situation = engine.situation_of(alert)
    if alert.bound_by != RETIRED or (situation is not None and situation.state is SituationState.OPEN):
        return
    binding = engine.bind(alert, alert.read_labels())
    alert.ci, alert.bound_by, alert.peers = binding.ci, binding.how, binding.peers


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
    engine.traces = Traces(engine.topology)
    build_rules(engine, {rule.tag: rule.memory.save() for rule in engine.rules if rule.memory is not None})
    engine.indexes = engine.all_indexes()
    engine.view = new_view(engine)
    _index(engine, (each for each in engine.situations.values() if each.state is SituationState.OPEN))
    _affect_anew(engine)
    rebuild_umbrellas(engine)


def _index(engine: "Engine", situations: Iterable[Situation]) -> None:
    for situation in sorted(situations, key=lambda each: situation_number(each.id)):
        for alert in engine.members(situation):
            engine.index(situation, alert)


def _affect_anew(engine: "Engine") -> None:
    engine.hit = {}
    engine.affected = {
        situation.id: {alert.ci for alert in engine.members(situation) if alert.ci}
        for situation in engine.situations.values()
    }


def rebuild_umbrellas(engine: "Engine") -> None:
    umbrellas = Umbrellas(engine.situations, engine.topology, engine.settings.umbrella)
    umbrellas.take_over(engine.umbrellas)
    engine.umbrellas = umbrellas
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
