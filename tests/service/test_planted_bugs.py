"""Broken engines, each caught by the check that is there for it: a check that never fails proves nothing.

Each entry plants one bug by replacing one function, tells a story in which it matters, and names the check. The same
story passes with the engine as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from correlation import fold, identity, rekey, sla, variants
from correlation.below import Below
from correlation.brake import Brake
from correlation.nearby import Nearby
from correlation.next_step import Decision, Step, next_step
from correlation.problem import Pattern
from correlation.relate import Traces
from correlation.rule import RuleInstance
from correlation.settings import TicketSettings
from correlation.suppression import inhibition
from correlation.suppression.inhibition import Inhibition
from correlation.suppression.suppression import Suppression
from correlation.suppression.transients import Transients
from correlation.vocabulary import Vocabulary
from foreshock.core.contracts import ForecastOutcome, Verb
from foreshock.core.learned import CoOccurrence, Side
from foreshock.core.model import (
    CI,
    Alert,
    Anomaly,
    Evidence,
    Forecast,
    ForecastState,
    JudgementKind,
    Situation,
    SituationState,
    SlaClock,
    Ticket,
)
from foreshock.service import (
    brake,
    checkpoint,
    deciding,
    evidence,
    feedback,
    forecasts,
    lifetimes,
    placing,
    problems,
    regroup,
    sources,
)
from foreshock.service.engine import Engine
from foreshock.service.saved_topology import SavedTopology
from foreshock.testing.records import (
    UNTIL_FORGOTTEN_S,
    Story,
    census,
    check_bounds,
    check_brake,
    check_counted,
    check_equal,
    check_forecasts,
    check_forgotten,
    check_identity,
    check_nothing_is_due,
    check_only_creation_is_held,
    check_problems,
    check_resolutions,
    check_same,
    check_structure,
    check_tickets,
    check_words_kept,
    replay,
    shipped_rules,
    with_whole_topologies,
)

SHOP = ("shop depends_on api", "api runs_on db1")
Planter = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Callable[[Planter], None]
    tell: Callable[[], Story]
    check: Callable[[Story], None]


# ---- the bugs -------------------------------------------------------------------------------------------------------


def forget_the_late_check(planter: Planter) -> None:
    real = fold.fold

    def careless(alert: Alert, *rest: Any) -> fold.Outcome:
        alert.expired = True  # which makes every firing a continuation
        return real(alert, *rest)

    planter.setattr(fold, "fold", careless)


def let_silences_block_resolutions(planter: Planter) -> None:
    def timid(situation: Situation, ticket: Ticket | None, now: datetime, settings: TicketSettings) -> Decision:
        decision = next_step(situation, ticket, now, settings)
        return Decision(Step.HOLD, "silenced") if decision.step is Step.RESOLVE else decision

    planter.setattr(deciding, "next_step", timid)


def expire_at_the_tick(planter: Planter) -> None:
    def lazy(engine: Engine, key: str) -> None:
        alert = engine.alerts.get(key)
        if alert is None or alert.expires_at is None or alert.expires_at > engine.now:
            return
        engine.now = engine.records_now  # type: ignore[attr-defined]
        fold.resolve(alert, engine.now, engine.now, engine.settings.fold)
        engine.dirty_alerts[key] = None
        lifetimes.ended(engine, alert, 0)

    real = Engine.advance

    def advance(self: Engine, to: datetime) -> None:
        self.records_now = to  # type: ignore[attr-defined]
        real(self, to)

    planter.setattr(lifetimes, "expire", lazy)
    planter.setattr(Engine, "advance", advance)


def restore_without_what_is_held(planter: Planter) -> None:
    real = checkpoint.restore

    def restore(engine: Engine, items: Any) -> None:
        kept = []
        for kind, key, body in items:
            if kind == "alert":
                alert = msgspec.msgpack.decode(body, type=Alert)
                alert.held_until = None
                body = msgspec.msgpack.encode(alert)
            kept.append((kind, key, body))
        real(engine, kept)

    planter.setattr(checkpoint, "restore", restore)


def keep_the_onset_of_the_day_it_joined(planter: Planter) -> None:
    planter.setattr(Traces, "moved", lambda self, situation, alert: None)


def merge_without_a_word(planter: Planter) -> None:
    real = placing.merge

    def merge(engine: Engine, one: Situation, other: Situation, reason: str) -> Situation:
        winner = real(engine, one, other, reason)
        for each in (one, other):
            if each.state is SituationState.MERGED:
                engine.touched.pop(each.id, None)
        return winner

    planter.setattr(placing, "merge", merge)


def join_the_labels_without_lengths(planter: Planter) -> None:
    def careless(labels: Mapping[str, str], *, namespace: str = "") -> str:
        return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))

    planter.setattr(identity, "fingerprint", careless)


def open_again_what_was_resolved(planter: Planter) -> None:
    def eager(situation: Situation, ticket: Ticket | None, now: datetime, settings: TicketSettings) -> Decision:
        return next_step(situation, None if ticket is not None and not ticket.open else ticket, now, settings)

    planter.setattr(deciding, "next_step", eager)


def forget_earlier_ends(planter: Planter) -> None:
    real = fold.fold

    def careless(alert: Alert, *rest: Any) -> fold.Outcome:
        alert.last_end = None
        return real(alert, *rest)

    planter.setattr(fold, "fold", careless)


def say_every_flip(planter: Planter) -> None:
    planter.setattr(lifetimes, "flaps_on", lambda engine, alert, was_flaps: False)


def let_one_label_set_end_all(planter: Planter) -> None:
    real = fold.fold

    def hasty(alert: Alert, *rest: Any) -> fold.Outcome:
        outcome = real(alert, *rest)
        alert.firing = alert.firing and outcome is not fold.Outcome.RESOLVED
        return outcome

    def fold_one(alert: Alert, one: Alert, *rest: Any) -> fold.Outcome:
        return hasty(alert, *rest)

    planter.setattr(variants, "fold_one", fold_one)


def leave_the_old_fingerprints_in_situations(planter: Planter) -> None:
    planter.setattr(rekey, "rename_members", lambda situation, become, alerts, most: [])


def keep_one_of_those_that_become_one(planter: Planter) -> None:
    planter.setattr(rekey, "combine", lambda found, key, settings: found[0])


def restart_without_the_old_fingerprints_gone(planter: Planter) -> None:
    real = checkpoint.pieces

    def pieces(engine: Engine) -> Any:
        return ((kind, key, body) for kind, key, body in real(engine) if body is not None)

    planter.setattr(checkpoint, "pieces", pieces)


def restart_without_what_is_known_of_clocks(planter: Planter) -> None:
    real = checkpoint.restore

    def restore(engine: Engine, items: Any) -> None:
        real(engine, items)
        for source in engine.sources.values():
            source.clock = None

    planter.setattr(checkpoint, "restore", restore)


def swallow_bad_items(planter: Planter) -> None:
    planter.setattr(Engine, "_lose", lambda self, *rest: None)


def forget_nothing(planter: Planter) -> None:
    planter.setattr(lifetimes, "forget", lambda engine, alert: None)


def join_what_is_full(planter: Planter) -> None:
    from correlation import group

    planter.setattr(group, "closed_to_joins", lambda situation, now, settings: "")


def save_only_what_is_new(planter: Planter) -> None:
    real = checkpoint.pieces

    def pieces(engine: Engine) -> Any:
        for alert in engine.alerts.values():
            if alert.count > 1:
                engine.dirty_alerts.pop(alert.fingerprint, None)
        return real(engine)

    planter.setattr(checkpoint, "pieces", pieces)


def save_nothing_of(kind: str) -> Callable[[Planter], None]:
    """A checkpoint leaves out one kind of state."""

    def plant(planter: Planter) -> None:
        real = checkpoint.pieces
        planter.setattr(checkpoint, "pieces", lambda engine: (item for item in real(engine) if item[0] != kind))

    return plant


def save_no_anomalies(planter: Planter) -> None:
    planter.setattr(evidence, "saved", lambda engine, name: None)


def attach_whatever_is_measured(planter: Planter) -> None:
    def eager(engine: Engine, anomaly: Anomaly) -> None:
        for situation in engine.situations.values():
            found = Evidence(anomaly=anomaly, path=(anomaly.ci,))
            situation.evidence = (*situation.evidence, found)

    planter.setattr(evidence, "_attach_to_open", eager)


def remember_anomalies_for_good(planter: Planter) -> None:
    planter.setattr(evidence, "forget", lambda engine: None)


def move_without_telling_the_alert(planter: Planter) -> None:
    real = regroup._arrive

    def arrive(engine: Engine, alert: Alert, *rest: Any) -> None:
        before = alert.situation
        real(engine, alert, *rest)
        alert.situation = before

    planter.setattr(regroup, "_arrive", arrive)


def split_without_the_traces(planter: Planter) -> None:
    real = regroup._carry

    def carry(engine: Engine, *rest: Any) -> None:
        unindex, engine.unindex = engine.unindex, lambda situation, alerts: None  # type: ignore[method-assign]
        real(engine, *rest)
        engine.unindex = unindex  # type: ignore[method-assign]

    planter.setattr(regroup, "_carry", carry)


def remember_below_for_good(planter: Planter) -> None:
    planter.setattr(Below, "drop", lambda self, situation: None)


def failed_and_recovered() -> Story:
    return Story(*SHOP).fire("shop").after(60).resolve("shop").after(600).tick()


def weigh_nothing_anew(planter: Planter) -> None:
    planter.setattr(regroup, "_weigh_anew", lambda engine, situation: None)


def forget_what_people_said(planter: Planter) -> None:
    planter.setattr(feedback, "restore", lambda engine: engine.judgements.clear())


def respect_nothing(planter: Planter) -> None:
    planter.setattr(feedback, "allowed", lambda engine, alert, candidates: candidates)


def respect_for_good(planter: Planter) -> None:
    planter.setattr(feedback, "lapse", lambda engine, id: None)


def never_let_go_of_the_explained(planter: Planter) -> None:
    planter.setattr(Inhibition, "released", lambda self: [])


def sleep_through_the_end_of_a_window(planter: Planter) -> None:
    planter.setattr(deciding, "evaluate_held", lambda engine: None)


def restore_without_windows(planter: Planter) -> None:
    real = Suppression.restore

    def restore(self: Suppression, kind: str, key: str, body: bytes) -> None:
        if kind != "window":
            real(self, kind, key, body)

    planter.setattr(Suppression, "restore", restore)


def restore_without_what_was_learned(planter: Planter) -> None:
    planter.setattr(Transients, "unsaved", lambda self: [])


def hold_resolutions_too(planter: Planter) -> None:
    def timid(decision: Decision, situation: Situation, ticket: Ticket | None, held: Any) -> Decision:
        return Decision(Step.HOLD, "maintenance") if decision.step is Step.RESOLVE else decision

    planter.setattr(deciding, "may_be_held", lambda decision, situation, ticket: True)
    planter.setattr(deciding, "hold_back", timid)


def let_a_circle_explain_itself(planter: Planter) -> None:
    planter.setattr(inhibition._Circles, "same", lambda self, one, other: one == other)


def leave_below_as_it_was(planter: Planter) -> None:
    planter.setattr(Below, "use", lambda self, topology, situations: setattr(self, "_topology", topology))


def leave_circles_as_they_were(planter: Planter) -> None:
    planter.setattr(inhibition._Circles, "use", lambda self, topology, changed: setattr(self, "_topology", topology))


def leave_walks_as_they_were(planter: Planter) -> None:
    def careless(self: Any, before: Any) -> None:
        if self.topology.since(before.topology) is not None:
            self._walks = before._walks

    planter.setattr(inhibition._Upstream, "take_over", careless)


def leave_traces_where_they_were(planter: Planter) -> None:
    planter.setattr(Engine, "unindex", lambda self, situation, alerts: None)


def save_no_deltas(planter: Planter) -> None:
    planter.setattr(SavedTopology, "changed", lambda self, engine, delta: None)


# ---- the stories ----------------------------------------------------------------------------------------------------


def overtaken() -> Story:
    return Story().fire("db1").at(60).resolve("db1", ended_s=50).at(70).fire("db1", started_s=0).at(400).tick()


def silenced_and_over() -> Story:
    return (
        Story().fire("db1").at(60).tick().silence("q", 'host="db1"', for_s=9000).at(100).resolve("db1").at(400).tick()
    )


def drifted() -> Story:
    return Story(*SHOP).fire("db2").delta("api runs_on db2").after(5).fire("shop").after(70).tick()


def timed_out() -> Story:
    return Story().fire("db1", holds_s=240).at(700).tick()


def flapping() -> Story:
    story = Story(settings={"fold": {"flap_changes": 2}}).fire("db1").at(40).tick()
    return story.resolve("db1").at(50).fire("db1").at(60).resolve("db1").at(250).tick()


def began_earlier_than_first_said() -> Story:
    story = Story(*SHOP).at(200).fire("db1", started_s=190).at(210).fire("db1", started_s=10)
    return story.at(220).fire("api").at(300).tick()


def merged() -> Story:
    story = Story("web runs_on esx", "mail runs_on esx")
    return story.fire("web", "mail").at(40).tick().at(60).fire("esx", started_s=0).at(70).tick()


def look_alikes() -> Story:
    story = Story()
    return story.post({"labels": {"host": "a", "job": "b,name=c"}}, {"labels": {"host": "a", "job": "b", "name": "c"}})


def came_back() -> Story:
    return Story().fire("db1").at(60).resolve("db1").at(200).tick().at(300).fire("db1").at(400).tick()


def overtaken_by_the_next_occurrence() -> Story:
    """It fired, ended and fired again; the first firing comes once more."""
    story = Story().fire("db1").at(60).resolve("db1").at(100).fire("db1", started_s=100)
    return story.at(110).fire("db1", started_s=0)


def unsteady() -> Story:
    story = Story()
    for turn in range(12):
        (story.resolve if turn % 2 else story.fire)("db1")
        story.after(70).tick()
    return story.after(2000).tick()


WITHOUT_REPLICA = {"fold": {"identity": [{"without": ["replica"]}]}}


def of_two_replicas(story: Story) -> Story:
    return story.fire("db1", labels={"replica": "a"}).after(5).fire("db1", labels={"replica": "b"}).after(5)


def said_by_two() -> Story:
    return of_two_replicas(Story(settings=WITHOUT_REPLICA)).resolve("db1", labels={"replica": "a"})


def one_from_now_on() -> Story:
    return of_two_replicas(Story()).settings(WITHOUT_REPLICA).after(1).tick()


def ahead_of_us() -> Story:
    """A source whose clock is 40 s ahead; an onset on it decides what is related."""
    story = Story(*SHOP)
    for number in range(4):
        story.after(60).fire(f"h{number}", started_s=60 * (number + 1) + 40)
    story.after(60).fire("db1", started_s=340)
    return story.after(100).fire("api", started_s=410).after(60).tick()


def bad_item() -> Story:
    return Story().post({"labels": {"host": "a"}}, {"labels": {}})


def long_over() -> Story:
    return Story().fire("db1").at(60).resolve("db1").after(UNTIL_FORGOTTEN_S).tick()


def crowded() -> Story:
    story = Story(settings={"group": {"max_alerts": 2}})
    for index in range(5):
        story.at(index).fire("db1", name=f"A{index}")
    return story


def measured_before() -> Story:
    return Story(*SHOP).anomaly("db1").at(60).fire("shop").at(100).tick()


def measured_twice() -> Story:
    return Story(*SHOP).fire("shop").at(10).anomaly("db1", score=5).at(20).anomaly("db1", score=9).at(60).tick()


def measured_long_ago() -> Story:
    return Story().anomaly("db1").after(UNTIL_FORGOTTEN_S).tick()


def parted() -> Story:
    story = Story("shop depends_on api", "api runs_on db1", criticality={"shop": 1})
    story.fire("db1", "api").fire("shop", severity="warning").at(40).tick()
    return story.judge(JudgementKind.NOT_RELATED, alerts=["db1", "shop"])


def said_beforehand() -> Story:
    story = Story(*SHOP).judge(JudgementKind.NOT_RELATED, cis=("db1", "api"))
    return story.at(5).fire("db1").at(6).fire("api")


def said_long_ago() -> Story:
    return parted().resolve("db1", "api").resolve("shop", severity="warning").after(UNTIL_FORGOTTEN_S)


APART = {"group": {"threshold": 1.0}}


def explained_from_upstream() -> Story:
    story = Story(*SHOP, settings=APART).fire("db1").at(60).fire("api").at(120).tick()
    return story.at(300).resolve("db1").at(301).tick()


def worked_on() -> Story:
    story = Story().window("w", "db1", spans_s=[(0, 900)]).fire("db1").at(100).tick()
    return story.at(200).end_window("w").at(201).tick()


def worked_on_and_over() -> Story:
    story = Story().window("w", "db1", spans_s=[(50, 900)]).fire("db1").at(60).tick()
    return story.at(100).resolve("db1").at(400).tick()


def recovers_by_itself() -> Story:
    story = Story(settings={"suppress": {"transient": {"min_ended": 2}}})
    for offset in (0, 1000, 2000):
        story.at(offset).fire("db1", severity="warning").at(offset + 60).resolve("db1", severity="warning")
    return story.at(3000).fire("db1", severity="warning").at(3200).tick()


def in_a_circle() -> Story:
    story = Story("a depends_on b", "b depends_on c", "c depends_on a", settings=APART)
    for offset, ci in enumerate("abc"):
        story.at(offset * 5).fire(ci)
    return story.at(400).tick()


def moved_to_another_host() -> Story:
    story = Story("shop runs_on one", "mail uses mx").fire("shop").after(60).fire("mail")
    return story.after(60).delta("shop runs_on two", gone=["shop runs_on one"])


def became_a_circle() -> Story:
    story = Story("a depends_on b", "b depends_on c", settings=APART)
    story.fire("c").after(5).fire("b").after(5).fire("a").after(400).tick()
    return story.delta("c depends_on a").after(400).tick()


def left_what_explained_it() -> Story:
    story = Story("shop runs_on one", "shop uses mx", settings=APART)
    story.fire("one").after(5).fire("shop").after(400).tick()
    return story.delta(gone=["shop runs_on one"]).after(400).tick()


def got_a_new_name() -> Story:
    return (
        Story("shop depends_on db1", "mail uses mx")
        .fire("db1")
        .after(60)
        .delta(cis=[CI(id="orders", aliases=("db1",))], gone_cis=["db1"])
    )


# ---- the checks -----------------------------------------------------------------------------------------------------


def stays_over(story: Story) -> None:
    assert not story.alert("db1").firing


def no_ticket_left(story: Story) -> None:
    check_resolutions(story.engine)


def one_ticket(story: Story) -> None:
    check_tickets(story.told.orders)


def ticks_change_nothing(story: Story) -> None:
    check_same(story.records, ticks=[story.time(second) for second in range(0, 700, 50)])


def restarts_change_nothing(story: Story) -> None:
    for number in range(len(story.records)):
        check_same(story.records, restarts=[number])
    check_same(story.records, restarts=range(len(story.records)))


def comes_to_the_whole(story: Story) -> None:
    whole = replay(with_whole_topologies(story.records))
    check_equal(replay(story.records), whole, "when each version comes whole")


def a_late_restart_changes_nothing(story: Story) -> None:
    check_same(story.records, restarts=[len(story.records) * 2 // 3])


def began_the_second_time(story: Story) -> None:
    assert story.alert("db1").starts_at == story.time(100)


def told_when_it_began_to_flap_and_when_it_settled(story: Story) -> None:
    notes = [order.note for order in story.told.orders]
    assert sum("flaps: 4 changes" in note for note in notes) == 1
    assert sum("has settled after 11 changes: it is over" in note for note in notes) == 1
    assert story.verbs() == ["open", *["update"] * 5, "resolve"]  # three changes, that it flaps, that it has settled


def still_fires(story: Story) -> None:
    assert story.alert("db1").firing


def nothing_lost_or_doubled(story: Story) -> None:
    check_identity(story.engine)
    check_structure(story.engine)
    assert census(story.engine)["events"] == story.sent


def two_alerts(story: Story) -> None:
    assert len(story.engine.alerts) == 2


def all_counted(story: Story) -> None:
    check_counted(story.engine, story.sent)


def agrees(story: Story) -> None:
    check_structure(story.engine)


def words_count(story: Story) -> None:
    check_words_kept(story.engine)


def forgotten(story: Story) -> None:
    check_forgotten(story.tick().engine)


def nothing_is_due(story: Story) -> None:
    check_nothing_is_due(story.engine)


def only_creation_is_held(story: Story) -> None:
    check_only_creation_is_held(story.records)


def somebody_hears_of_it(story: Story) -> None:
    assert story.told.orders


def restart_without_what_a_rule_learned(planter: Planter) -> None:
    planter.setattr(Vocabulary, "load", lambda self, saved: None)


def leave_changed_texts_as_they_were_indexed(planter: Planter) -> None:
    planter.setattr(Nearby, "moved", lambda self, situation, alert: None)


def restart_without_the_budget(planter: Planter) -> None:
    restore = checkpoint.restore

    def generous(engine: Engine, items: Any) -> None:
        restore(engine, items)
        engine.budget.reset()

    planter.setattr(checkpoint, "restore", generous)


def strained() -> Story:
    """A rule without labels to look up looks at every open alert, again and again."""
    hard = RuleInstance(
        name="hard", kind="attribute", config={"when": "a.labels.app == b.labels.app && gap_s < 0.0", "window": "1h"}
    )
    story = Story(settings={"relate": {"budget": 100}}, rules=(*shipped_rules(), hard))
    for number in range(45):
        story.after(1).fire(f"n{number}", labels={"app": f"a{number}"})
    return story


def restart_without(field: str, default: Any) -> Callable[[Planter], None]:
    """A restart brings back situations without one of their fields."""

    def plant(planter: Planter) -> None:
        restore = checkpoint.restore

        def forgetful(engine: Engine, items: Any) -> None:
            restore(engine, items)
            for situation in engine.situations.values():
                setattr(situation, field, default)

        planter.setattr(checkpoint, "restore", forgetful)

    return plant


def keep_the_place_it_joined_at(planter: Planter) -> None:
    """What fires again is in memory as if it joined now, and is saved where it was."""

    def lazy(engine: Engine, situation: Situation, alert: Alert) -> None:
        engine.traces.of[situation.id].recent.pop(alert.fingerprint)
        engine.traces.of[situation.id].recent[alert.fingerprint] = engine.now.timestamp()

    planter.setattr(placing, "rejoin", lazy)


def leave_it_superseded_by_itself(planter: Planter) -> None:
    real = regroup.close

    def careless(engine: Engine, loser: Situation, winner: Situation) -> None:
        superseded_by = winner.superseded_by
        real(engine, loser, winner)
        winner.superseded_by = superseded_by

    planter.setattr(regroup, "close", careless)


def leave_to_the_first_what_another_holds(planter: Planter) -> None:
    planter.setattr(sources, "hand_over", lambda *told: None)


def two_waves() -> Story:
    """Many alerts at once, some afterwards, and many at once three minutes later in the same place. One of the first
    wave fires again, then something new comes."""
    story = Story(*SHOP).burst("db1", "First").after(5).burst("db1", "Between", 6, every_s=25).after(30)
    story.burst("db1", "Second").after(10).resolve("db1", name="First23").after(20).fire("db1", name="First23")
    return story.after(20).fire("api").after(60).tick()


def two_waves_that_are_one() -> Story:
    return two_waves().judge(JudgementKind.MERGE, situation="S-1", other="S-2")


def fired_again_in_its_place() -> Story:
    story = Story(*SHOP).fire("db1").after(5).fire("api").after(60).resolve("db1").after(10)
    return story.fire("db1", started_s=75).after(5).tick()


def held_by_the_second_of_two() -> Story:
    story = Story().fire("db1", source="eu").after(5).fire("db1", collector="alertmanager_webhook").after(5)
    story.settings({"fold": {"identity": [{"source": "eu", "by": ["alertname"]}]}}).after(5)
    return story.resolve("db1", collector="alertmanager_webhook").after(UNTIL_FORGOTTEN_S)


def learned_from_texts() -> Story:
    story = Story(rules=shipped_rules(text={}))
    for number in range(20):
        text = "replica set lost its quorum" if number == 3 else "disk usage high"
        story.after(1500).fire(f"n{number}", name="Trouble", summary=text, holds_s=60)
    story.after(1500).fire("x", name="Trouble", summary="replica set lost its quorum").after(5)
    return story.fire("y", name="Trouble", summary="replica set lost its quorum")


def said_something_else() -> Story:
    story = Story(settings={"group": {"threshold": 0.1}}, rules=shipped_rules(text={"labels": [], "strength": 1.0}))
    for number in range(6):
        story.after(2000).fire(f"n{number}", summary="disk usage high")
    story.after(2000).fire("x", summary="disk usage high").after(5).fire("x", summary="replica set lost its quorum")
    return story.after(5).fire("y", summary="replica set lost its quorum").after(5).fire("z", summary="disk usage high")


def noisy_as_ever() -> Story:
    """CpuHigh on db1 every hour; then again, and something new on what depends on it."""
    story = Story(*SHOP)
    for hour in range(6):
        story.at(3600.0 * hour).fire("db1", name="CpuHigh", holds_s=600)
    return story.at(22000).fire("db1", name="CpuHigh").fire("api", "shop", name="DiskLost").after(60).tick()


def changed_before() -> Story:
    return Story(*SHOP).change("C1", "api").at(60).fire("db1", "shop").at(100).tick()


def two_places() -> Story:
    """Two applications that a wrong relationship makes one: it is examined at 8, at 12 and at 18 CIs."""

    def application(name: str) -> list[str]:
        ring = [f"{name}{i} depends_on {name}{(i + 1) % 8}" for i in range(8)]
        return ring + [f"{name}{i} depends_on {name}-db" for i in range(8)]

    story = Story(*application("shop"), *application("mail"), "mail0 depends_on shop-db")
    story.fire("shop-db", "mail-db").at(1).fire("mail0")
    for number in range(1, 8):
        story.at(2 * number).fire(f"shop{number}").at(2 * number + 1).fire(f"mail{number}")
    return story


def met_before() -> Story:
    pair = CoOccurrence(
        a=Side(ci="mail"), b=Side(ci="db1"), together=9, times=9, expected=0.1, strength=0.9, window_s=20,
        lag_s=(0, 5, 9),
    )  # fmt: skip
    return Story(*SHOP).learned(pair).at(60).fire("mail").at(65).fire("db1")


def restart_without_what_came_back(planter: Planter) -> None:
    planter.setattr(problems, "restore", lambda engine, bodies: None)


def forget_which_incidents_were_linked(planter: Planter) -> None:
    real = problems._order

    def forgetful(engine: Engine, pattern: Pattern, sink: str, *rest: Any) -> None:
        real(engine, pattern, sink, *rest)
        assert pattern.problem is not None
        record = msgspec.structs.replace(pattern.problem.records[sink], linked=())
        pattern.problem.records = {**pattern.problem.records, sink: record}

    planter.setattr(problems, "_order", forgetful)


def open_a_problem_with_each_incident(planter: Planter) -> None:
    real = problems._order

    def eager(engine: Engine, pattern: Pattern, sink: str, verb: Verb, *rest: Any) -> None:
        real(engine, pattern, sink, Verb.OPEN, *rest)

    planter.setattr(problems, "_order", eager)


def propose_at_the_next_record(planter: Planter) -> None:
    def lazy(engine: Engine, moment: datetime) -> None:
        engine.patterns.armed = None

    planter.setattr(problems, "look", lazy)


def restart_without_what_is_expected(planter: Planter) -> None:
    planter.setattr(forecasts, "restore", lambda engine, heard, expected: None)


def expect_again_what_was_heard_before(planter: Planter) -> None:
    real = forecasts._take

    def forgetful(engine: Engine, forecast: Forecast) -> None:
        for key in list(engine.forecasts.heard):
            engine.forecasts.unhear(key)
        real(engine, forecast)

    planter.setattr(forecasts, "_take", forgetful)
    planter.setattr(forecasts.foresight, "why_not", lambda *_: "")


def see_no_incident(planter: Planter) -> None:
    planter.setattr(forecasts, "look", lambda engine, situation: None)


def expect_forever(planter: Planter) -> None:
    planter.setattr(forecasts, "due", lambda engine, moment: None)


def never_conclude(planter: Planter) -> None:
    planter.setattr(forecasts, "_keep", lambda engine, heard, row: None)


def open_what_is_taken_back(planter: Planter) -> None:
    planter.setattr(forecasts, "_over", lambda engine, forecast, row: row)


def taken_back() -> Story:
    story = Story(*SHOP).forecast("db1").after(600)
    return story.forecast("db1", 0.1, state=ForecastState.WITHDRAWN).after(60).tick()


def was_taken_back(story: Story) -> None:
    foreseen_rightly(story)
    assert [row.outcome for row in story.told.ledger.values()] == [ForecastOutcome.WITHDRAWN]


def foreseen_rightly(story: Story) -> None:
    check_forecasts(story.told, story.engine)
    check_same(story.records, restarts=range(len(story.records)))


def expected_and_come() -> Story:
    story = Story(*SHOP).forecast("db1").forecast("shop", horizon_h=2).after(3600)
    return story.fire("db1").after(60).tick().after(7200).forecast("shop", horizon_h=2, made_s=0).tick()


def repeated() -> Story:
    story = Story(*SHOP).forecast("db1", horizon_h=9).after(60).fire("db1").after(60).tick()
    return story.resolve("db1").after(7200).tick().forecast("db1", horizon_h=9, made_s=0)


def foreseen_once(story: Story) -> None:
    assert [order.verb for order in story.told.problem_orders].count(Verb.OPEN) == 1


def foreseen(story: Story) -> None:
    check_forecasts(story.told, story.engine)
    labels = [(row.subject, row.action) for row in story.told.audit if row.action in ("hit", "false alarm")]
    assert labels == [("P-1", "hit"), ("P-2", "false alarm")]


def again_and_again() -> Story:
    story = Story(*SHOP)
    for _ in range(4):
        story.incident("db1")
        story.after(86_400)
    return story.after(40 * 86_400).tick()


def one_problem(story: Story) -> None:
    check_problems(story.told, story.engine)


def proposed_for_closing(story: Story) -> None:
    assert [row.at for row in story.told.audit if row.action == "proposed for closing"] == [
        story.engine.patterns.of("S-4").of("S-4").ended_at + timedelta(days=30)  # type: ignore[union-attr,operator]
    ]


def promised() -> Story:
    """In the evening, and still there in the morning; somebody waits for somebody in between."""
    office = {"name": "office", "hours": ["mon-fri 13:00-23:00"]}
    targets = [{"priority": each, "acknowledge": "20m", "resolve": "4h", "calendar": "office"} for each in (1, 2, 3)]
    settings = {
        "calendars": [office],
        "priority": {"service_hours": {"default": "office"}, "trend": {"alerts": 3}},
        "sla": {"targets": targets},
    }
    story = Story("shop depends_on db", criticality={"shop": 3}, settings=settings)
    for minute in range(5):
        story.fire("db", name=f"N{minute}", severity="minor", holds_s=90_000.0).after(180)
    story.fire("db", severity="critical", holds_s=90_000.0).after(3600).tick()
    story.person("pending", comment="the vendor").after(1800).person("taken")
    return story.after(36_000).tick()


def let_time_run_while_somebody_waits(planter: Planter) -> None:
    real = sla.counted
    stood_since: list[datetime] = []

    def impatient(clock: SlaClock, now: datetime, before: Any, *, stopped: str, calendar: str) -> SlaClock:
        counted = real(clock, now, before, stopped=stopped, calendar=calendar)
        if stopped:
            stood_since.append(now)
            return counted
        return msgspec.structs.replace(counted, since=stood_since[-1])

    planter.setattr(sla, "counted", impatient)


def warned_when_promised(story: Story) -> None:
    """An hour and a half from 13:00 on, less the half hour of waiting."""
    levels = [(notice.at - story.start, notice.level) for notice in story.told.notices if "resolved" in notice.text]
    assert levels[0] == (timedelta(hours=3, minutes=30), 50)


def too_fast() -> Story:
    """Tickets become due faster than they may be opened; the sink refuses the one that is for the rest, and what is
    most urgent comes last."""
    settings = {"group": {"threshold": 0.6}, "ticket": {"max_new_per_minute": 2}}
    story = Story(settings=settings)
    for each in range(6):
        story.fire(f"h{each}", severity="warning").after(1)
    story.after(31).fire("db1", severity="critical").after(31).tick()
    return story.sink_says("rejected", "S-3", number="").after(1).tick().after(61).tick()


def let_all_go_at_once(planter: Planter) -> None:
    planter.setattr(brake, "waits", lambda engine, situation: ())


def let_the_urgent_drown(planter: Planter) -> None:
    real = Brake.begin
    planter.setattr(Brake, "begin", lambda self, priority, now, most: real(self, 1, now, most))


def look_at_the_rate_no_more(planter: Planter) -> None:
    planter.setattr(Brake, "full_until", lambda self, priority, now, most: None)


def braked(story: Story) -> None:
    check_brake(story)


def the_urgent_was_told_of(story: Story) -> None:
    urgent = story.engine.situation_of(story.alert("db1"))
    assert urgent is not None
    assert not urgent.parent


BUGS = [
    Bug("a restart forgets how the topology changed", save_no_deltas, drifted, restarts_change_nothing),
    Bug("a restart forgets that there is a storm", save_nothing_of("brake"), too_fast, restarts_change_nothing),
    Bug("a refused umbrella lets a storm through at once", let_all_go_at_once, too_fast, braked),
    Bug("the most urgent drowns in a storm", let_the_urgent_drown, too_fast, the_urgent_was_told_of),
    Bug("nobody counts new tickets", look_at_the_rate_no_more, too_fast, braked),
    Bug("a restart forgets what is gone of a promise", restart_without("sla", None), promised, restarts_change_nothing),
    Bug(
        "a restart forgets that service hours begin", restart_without("urged", None), promised, restarts_change_nothing
    ),
    Bug("a restart forgets that it grew", restart_without("joins", ()), promised, restarts_change_nothing),
    Bug("time runs while somebody waits", let_time_run_while_somebody_waits, promised, warned_when_promised),
    Bug(
        "a restart forgets what came back",
        restart_without_what_came_back,
        again_and_again,
        restarts_change_nothing,
    ),
    Bug("an incident is linked to its problem again", forget_which_incidents_were_linked, again_and_again, one_problem),
    Bug("a problem is opened with each incident", open_a_problem_with_each_incident, again_and_again, one_problem),
    Bug(
        "a restart forgets what is expected",
        restart_without_what_is_expected,
        expected_and_come,
        restarts_change_nothing,
    ),
    Bug("a re-sent forecast opens a problem again", expect_again_what_was_heard_before, repeated, foreseen_once),
    Bug("a forecast that comes true is not confirmed", see_no_incident, expected_and_come, foreseen),
    Bug("a forecast never expires", expect_forever, expected_and_come, foreseen),
    Bug("the ledger never hears what became of it", never_conclude, expected_and_come, foreseen_rightly),
    Bug("what a model takes back stays expected", open_what_is_taken_back, taken_back, was_taken_back),
    Bug("nobody proposes to close a quiet problem", propose_at_the_next_record, again_and_again, proposed_for_closing),
    Bug(
        "a restart forgets how fast a situation grew",
        restart_without("tempo_s", 30.0),
        two_waves,
        restarts_change_nothing,
    ),
    Bug(
        "a restart forgets the wave that followed",
        restart_without("superseded_by", ""),
        two_waves,
        restarts_change_nothing,
    ),
    Bug(
        "a restart forgets when a situation was examined",
        restart_without("examined_cis", 0),
        two_places,
        restarts_change_nothing,
    ),
    Bug("what fired again is saved where it was", keep_the_place_it_joined_at, fired_again_in_its_place, agrees),
    Bug("a situation is followed by itself", leave_it_superseded_by_itself, two_waves_that_are_one, agrees),
    Bug(
        "nobody can end what the second source holds",
        leave_to_the_first_what_another_holds,
        held_by_the_second_of_two,
        forgotten,
    ),
    Bug("a restart forgets what history has shown", save_nothing_of("learned"), met_before, restarts_change_nothing),
    Bug(
        "a restart forgets what a rule learned",
        restart_without_what_a_rule_learned,
        learned_from_texts,
        restarts_change_nothing,
    ),
    Bug(
        "a rule goes by what an alert said before",
        leave_changed_texts_as_they_were_indexed,
        said_something_else,
        restarts_change_nothing,
    ),
    Bug("a restart lets a suspended rule go on", restart_without_the_budget, strained, a_late_restart_changes_nothing),
    Bug("a firing that a resolve overtook is believed", forget_the_late_check, overtaken, stays_over),
    Bug("a silence holds back a resolution", let_silences_block_resolutions, silenced_and_over, no_ticket_left),
    Bug("an end by time-out is dated by the next record", expire_at_the_tick, timed_out, ticks_change_nothing),
    Bug(
        "a restart forgets that an alert is held open", restore_without_what_is_held, flapping, restarts_change_nothing
    ),
    Bug(
        "a restart knows another onset than before",
        keep_the_onset_of_the_day_it_joined,
        began_earlier_than_first_said,
        restarts_change_nothing,
    ),
    Bug("a merge forgets the ticket of the loser", merge_without_a_word, merged, no_ticket_left),
    Bug("fingerprints of joined labels collide", join_the_labels_without_lengths, look_alikes, two_alerts),
    Bug("a resolved ticket is opened a second time", open_again_what_was_resolved, came_back, one_ticket),
    Bug(
        "an earlier occurrence dates the present one",
        forget_earlier_ends,
        overtaken_by_the_next_occurrence,
        began_the_second_time,
    ),
    Bug(
        "a flapping alert disturbs with each change",
        say_every_flip,
        unsteady,
        told_when_it_began_to_flap_and_when_it_settled,
    ),
    Bug("a resolve by one of two replicas ends the alert", let_one_label_set_end_all, said_by_two, still_fires),
    Bug(
        "situations hold alerts by fingerprints of other identity rules",
        leave_the_old_fingerprints_in_situations,
        one_from_now_on,
        nothing_lost_or_doubled,
    ),
    Bug(
        "one of two alerts that become one is lost",
        keep_one_of_those_that_become_one,
        one_from_now_on,
        nothing_lost_or_doubled,
    ),
    Bug(
        "a restart brings back alerts under the fingerprints they had",
        restart_without_the_old_fingerprints_gone,
        one_from_now_on,
        restarts_change_nothing,
    ),
    Bug(
        "a restart forgets how the clock of a source stands",
        restart_without_what_is_known_of_clocks,
        ahead_of_us,
        restarts_change_nothing,
    ),
    Bug("a bad item vanishes uncounted", swallow_bad_items, bad_item, all_counted),
    Bug(
        "an alert that is over is kept for good", forget_nothing, long_over, lambda story: check_forgotten(story.engine)
    ),
    Bug("a full situation takes more alerts", join_what_is_full, crowded, lambda story: check_bounds(story.engine)),
    Bug("a restart forgets what is usual", save_nothing_of("usual"), noisy_as_ever, restarts_change_nothing),
    Bug("a restart forgets a change", save_nothing_of("change"), changed_before, restarts_change_nothing),
    Bug("a restart forgets an anomaly", save_no_anomalies, measured_before, restarts_change_nothing),
    Bug(
        "a metric counts twice as evidence",
        attach_whatever_is_measured,
        measured_twice,
        lambda story: check_bounds(story.engine),
    ),
    Bug(
        "anomalies are remembered for good",
        remember_anomalies_for_good,
        measured_long_ago,
        lambda story: check_forgotten(story.engine),
    ),
    Bug("a moved alert says it is where it was", move_without_telling_the_alert, parted, agrees),
    Bug("a split leaves the traces behind", split_without_the_traces, parted, agrees),
    Bug("what is over stays below what it depends on", remember_below_for_good, failed_and_recovered, agrees),
    Bug("a split leaves the weights behind", weigh_nothing_anew, parted, agrees),
    Bug("a restart forgets what people said", forget_what_people_said, said_beforehand, restarts_change_nothing),
    Bug("a new alert joins in spite of a person", respect_nothing, said_beforehand, words_count),
    Bug("what people said counts for good", respect_for_good, said_long_ago, forgotten),
    Bug("a change of an alert is not saved", save_only_what_is_new, flapping, restarts_change_nothing),
    Bug(
        "what explained an alert ends and nobody looks",
        never_let_go_of_the_explained,
        explained_from_upstream,
        nothing_is_due,
    ),
    Bug("a window ends and nobody looks", sleep_through_the_end_of_a_window, worked_on, nothing_is_due),
    Bug("a restart forgets planned work", restore_without_windows, worked_on, restarts_change_nothing),
    Bug(
        "a restart forgets what recovers by itself",
        restore_without_what_was_learned,
        recovers_by_itself,
        restarts_change_nothing,
    ),
    Bug("maintenance holds back a resolution", hold_resolutions_too, worked_on_and_over, no_ticket_left),
    Bug("maintenance moves the end of a ticket", hold_resolutions_too, worked_on_and_over, only_creation_is_held),
    Bug("alerts in a circle explain each other", let_a_circle_explain_itself, in_a_circle, somebody_hears_of_it),
    Bug("a delta leaves a situation below its old host", leave_below_as_it_was, moved_to_another_host, agrees),
    Bug("a delta leaves traces on the CI that is gone", leave_traces_where_they_were, got_a_new_name, agrees),
    Bug("a delta closes a circle unseen", leave_circles_as_they_were, became_a_circle, comes_to_the_whole),
    Bug("a delta ends what explains unseen", leave_walks_as_they_were, left_what_explained_it, comes_to_the_whole),
]
named = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))


@named
def test_the_check_catches_the_bug(bug: Bug, monkeypatch: pytest.MonkeyPatch):
    bug.plant(monkeypatch)

    with pytest.raises(AssertionError):
        bug.check(bug.tell())


@named
def test_the_engine_as_it_is_passes(bug: Bug):
    bug.check(bug.tell())
