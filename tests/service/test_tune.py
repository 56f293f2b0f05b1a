"""Tuning: what is found where there is something to find, and what is said where there is not."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlation.settings import CorrelationSettings
from foreshock.core.errors import ForeshockError, Malformed
from foreshock.core.model import JudgementKind
from foreshock.service.past import Past
from foreshock.service.plan.run import survey
from foreshock.service.recorded import Input
from foreshock.service.replay import Version, replay
from foreshock.service.truth import Pairs, Ticket, Truth, count_pairs
from foreshock.service.tune import report, score
from foreshock.service.tune.bench import Bench
from foreshock.service.tune.folds import Fold
from foreshock.service.tune.known import Known, Reading, Share, known, read, said_in
from foreshock.service.tune.run import Options, Tuned, digest_of, longest, tune
from foreshock.service.tune.search import Tried, choose, search
from foreshock.service.tune.space import Parameter, parameters
from foreshock.service.tune.state import Search, State, Trial
from foreshock.service.tune.trial import FoldScore, Standing, Ticketed, compared
from foreshock.testing.records import COLLECTORS, RULES, Story

TYPES = ("depends_on", "calls", "uses", "runs_on")
EVERY_S = 4 * 3600.0
SMALL = Options(trials=14, folds=2, held_out=0.4)


@cache
def outages(count: int, types: Sequence[str] = TYPES, **costs: float) -> tuple[Input, ...]:
    """Every four hours a CI fails and 20 s later what depends on it, by one type of relationship after the other."""
    relations = [f"top-{type_} {type_} base-{type_}" for type_ in types]
    story = Story(*relations, settings={"relate": {"costs": costs}} if costs else {})
    for outage in range(count):
        type_ = types[outage % len(types)]
        begins = outage * EVERY_S
        story.at(begins).fire(f"base-{type_}", holds_s=300).at(begins + 20).fire(f"top-{type_}", holds_s=300)
    ids = iter(range(10_000))
    return tuple(
        Input(record=record, ids=(str(next(ids)),) if record.kind.value == "events" else ()) for record in story.records
    )


def one_problem_each(count: int) -> Truth:
    return Truth(incidents={str(item): f"I{item // 2}" for item in range(2 * count)})


def reading_of(inputs: Sequence[Input]) -> Reading:
    return read(inputs, COLLECTORS, RULES, survey(inputs).present)


def tuned(
    inputs: Sequence[Input],
    truth: Truth,
    only: Sequence[str],
    options: Options = SMALL,
    path: Path | None = None,
    tell: Callable[[int, float], None] = lambda _, __: None,
) -> Tuned:
    reading = reading_of(inputs)
    space = parameters(reading.settings, reading.relationships, only)

    def state(asked: Search) -> State:
        return State(path, asked)

    return tune(reading, known(reading, truth), digest_of(truth), space, options, state, tell)


# ---- what is found --------------------------------------------------------------------------------------------------


def test_a_cost_that_parts_what_belongs_together_is_found_and_holds_on_what_was_not_looked_at():
    found = tuned(
        outages(24, ("depends_on", "calls"), calls=5), one_problem_each(24), ["relate.costs.calls", "group.quiet"]
    )

    assert found.recommended
    assert found.values["relate.costs.calls"] < 4
    assert found.held_out is not None
    assert (found.held_out.before < 0.9, found.held_out.after, found.held_out.low > 0) == (True, 1.0, True)
    assert found.cross_validated.gain > 0
    assert found.effects[0].path == "relate.costs.calls"


def test_where_truth_is_chance_what_is_in_force_is_kept():
    chance = random.Random(3)
    labels = {}
    for outage in range(48):
        same = chance.random() < 0.6
        labels |= {str(2 * outage): f"I{outage}", str(2 * outage + 1): f"I{outage}" if same else ""}
    found = tuned(outages(48), Truth(incidents=labels), ["relate.costs.*"])

    assert not found.recommended
    assert report.verdict(found).startswith("Keep what is in force: ")


def test_where_nothing_is_better_what_was_held_out_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Bench, "held_out", lambda *_: pytest.fail("it was looked at"))

    found = tuned(outages(12), one_problem_each(12), ["group.quiet"])

    assert (found.values, found.held_out, found.looks) == ({}, None, 0)
    assert found.in_sample.after == 1.0


def test_trials_read_nothing_of_what_is_held_out():
    reading = reading_of(outages(12))
    there = known(reading, one_problem_each(12))
    cut_at = reading.inputs[-8].record.at.timestamp()
    folds = [Fold(-float("inf"), cut_at - 3600, cut_at), Fold(cut_at, float("inf"), cut_at + 1e6)]
    # Of the first record there, only its time is looked at.
    reading.inputs = [*reading.inputs[:-7], *[None] * 7]  # type: ignore[list-item]
    bench = Bench(reading, there, parameters(reading.settings, (), ["group.threshold"]), folds, 1)

    with pytest.raises(AttributeError):
        bench.held_out({})
    assert [len(bench.present()), len(list(bench.run([{"group.threshold": 0.5}])))] == [1, 1]


# ---- truth ----------------------------------------------------------------------------------------------------------


def fold_scores(reading: Reading, there: Known, **values: float) -> FoldScore:
    folds = [Fold(-float("inf"), 1e12, 1e11), Fold(2e12, float("inf"), 3e12)]
    bench = Bench(
        reading, there, parameters(reading.settings, reading.relationships, ["relate.*", "group.*"]), folds, 1
    )
    (present,) = bench.present()
    if not values:
        return present
    ((_, (found,)),) = bench.run([values])
    return found


def test_pairs_are_those_of_a_replay():
    inputs, truth = outages(12, calls=5), one_problem_each(12)
    groups = dict(replay(inputs, COLLECTORS, RULES).groups)

    found = fold_scores(reading_of(inputs), known(reading_of(inputs), truth))

    assert score.after(found.parts) == count_pairs((of, groups[item]) for item, of in truth.incidents.items())
    assert 0 < score.after(found.parts).f1 < 1


def test_what_is_alone_in_its_incident_and_joins_another_counts_against_the_groups():
    labels = {"0": "I0", "1": "I1", "2": "I2", "3": "I2"}
    reading = reading_of(outages(12))
    there = known(reading, Truth(incidents=labels))

    assert len(there.incidents) == 1
    assert score.after(fold_scores(reading, there).parts) == Pairs(same=1, grouped=2, both=1)


def test_tickets_say_what_belongs_together():
    inputs = outages(12, calls=5)
    base, top = (inputs[place].record.at for place in (2, 3))
    there = [
        Ticket(number=f"INC{n}", incident="INC", opened_at=at, resolved_at=None, cis=(ci,))
        for n, (at, ci) in enumerate([(base, "base-depends_on"), (top, "top-depends_on")])
    ]
    reading = reading_of(inputs)

    assert score.after(fold_scores(reading, known(reading, Truth(tickets=tuple(there)))).parts).both == 1


def test_what_people_said_while_history_was_recorded_is_truth():
    story = Story("top depends_on base").fire("base").at(20).fire("top").after(60).tick()
    (situation,) = story.engine.situations.values()
    story.judge(JudgementKind.SPLIT, situation=situation.id, alerts=tuple(situation.members)[1:])
    inputs = [Input(record=record, ids=("x",)) for record in story.records]

    truth = said_in(Past(read=lambda: iter(inputs), present=Version()), COLLECTORS, RULES)
    there = known(reading_of(inputs), truth)

    assert [label.says for label in truth.said] == ["apart"]
    assert [same for *_, same in there.pairs] == [False]
    assert fold_scores(reading_of(inputs), there).parts == [(0, 1, 0, 1, 0)]


def test_what_was_kept_of_what_people_said_is_taken_as_it_was_understood_then():
    story = Story("top depends_on base").fire("base").at(20).fire("top").after(60)
    (situation,) = story.engine.situations.values()
    story.judge(JudgementKind.SPLIT, situation=situation.id, alerts=tuple(situation.members)[1:])
    past = Past(read=lambda: pytest.fail("it was played"), present=Version(), said=lambda: story.told.judgements)

    assert [label.says for label in said_in(past, COLLECTORS, RULES).said] == ["apart"]


def test_of_what_came_before_the_time_asked_for_nothing_is_known():
    reading = reading_of(outages(12))
    since = reading.inputs[-4].record.at

    assert len(known(reading, one_problem_each(12), since).items) == 4


def test_truth_about_something_else_is_refused():
    with pytest.raises(Malformed, match="truth knows of nothing in this history; labels name items"):
        known(reading_of(outages(12)), Truth(incidents={"other": "I1"}))


# ---- urgent ones ----------------------------------------------------------------------------------------------------


def test_a_trial_that_leaves_a_situation_of_priority_1_without_a_ticket_is_not_chosen():
    parts: list[score.Part] = [(4, 4, 1, 4, 4)] * 4
    present = Tried(0, Trial(values={}, folds=[fold(parts=[(4, 4, 1, 4, 1)])] * 2))
    better = Trial(values={"a": 1.0}, folds=[fold(parts=parts)] * 2)
    losing = Trial(values={"a": 1.0}, folds=[fold(parts=parts), fold(parts=parts, lost=1)])

    assert choose([present, Tried(0, better)], 2, 1, must_have=2).trial == better
    assert choose([present, Tried(0, losing)], 2, 1, must_have=2) == present


def fold(parts: Sequence[score.Part], lost: int = 0) -> FoldScore:
    return FoldScore(parts=list(parts), events=1, tickets=1, urgent=0, wait_s=30.0, lost=lost)


def standing(*ticketed: Ticketed) -> Standing:
    return Standing(groups=[], events=1, waits=[], ticketed=list(ticketed))


URGENT = Ticketed(opened=100.0, ends=200.0, priority=1, ticket=105.0, alerts=frozenset({"a", "b"}))
CHANGED: dict[str, tuple[dict[str, Any], int]] = {
    "it is another situation, of lower priority": ({"priority": 3, "alerts": frozenset({"b", "c"})}, 0),
    "its umbrella has the ticket": ({"ticket": float("inf")}, 0),
    "the ticket is of another alert": ({"alerts": frozenset({"c"})}, 1),
    "the ticket was of another time": ({"opened": 300.0, "ends": 400.0}, 1),
}


@pytest.mark.parametrize(("change", "lost"), CHANGED.values(), ids=list(CHANGED))
def test_a_situation_of_priority_1_is_lost_where_no_ticket_tells_of_it(change: Mapping[str, Any], lost: int):
    after = standing(msgspec.structs.replace(URGENT, **change))

    assert compared(Fold(0, 300, 400), NOBODY, standing(URGENT), after).lost == lost


def test_tickets_of_priority_1_are_counted_in_the_fold_they_were_opened_in():
    less, later = msgspec.structs.replace(URGENT, priority=2), msgspec.structs.replace(URGENT, ticket=500.0)
    below = msgspec.structs.replace(URGENT, ticket=float("inf"))
    nothing = standing()

    assert compared(Fold(0, 300, 400), NOBODY, nothing, standing(URGENT, less, later, below)).urgent == 1


def test_one_of_another_fold_or_priority_is_not_lost_here():
    less = msgspec.structs.replace(URGENT, priority=2)

    assert compared(Fold(0, 300, 400), NOBODY, standing(less), standing()).lost == 0
    assert compared(Fold(110, 300, 400), NOBODY, standing(URGENT), standing()).lost == 0
    assert compared(Fold(0, 300, 400), NOBODY, standing(URGENT), standing()).lost == 1


NOBODY = Share(places=[], names=[], pairs=[])


# ---- what may be known when -----------------------------------------------------------------------------------------


class Imagined:
    """Trials that were never played: their scores follow from the values, and from a seed for each fold."""

    def __init__(self, folds: int, seeds: Sequence[int]) -> None:
        self.folds, self.seeds = folds, seeds
        self.asked: list[list[Mapping[str, float]]] = []

    def __call__(self, wanted: Sequence[Mapping[str, float]]) -> list[Trial]:
        self.asked.append([dict(values) for values in wanted])
        return [
            Trial(values=dict(values), folds=[self._fold(values, seed) for seed in self.seeds]) for values in wanted
        ]

    def _fold(self, values: Mapping[str, float], seed: int) -> FoldScore:
        chance = random.Random(f"{seed} {sorted(values.items())}")
        return fold(parts=[(9, 9, 5, 9, chance.randint(0, 9) if values else 5)] * 3)


SPACE = parameters(CorrelationSettings(), ["calls"], ["group.threshold", "relate.step", "relate.costs.calls"])


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 3), st.integers(0, 1000))
def test_what_is_tried_and_chosen_for_a_fold_does_not_depend_on_that_fold_or_later_ones(stage: int, other: int):
    one = Imagined(3, [1, 2, 3])
    two = Imagined(3, [*(1, 2, 3)[:stage], *[other] * (3 - stage)])

    tried = [search(SPACE, each, folds=3, trials=11, seed=1) for each in (one, two)]

    # Two calls come before the first proposals: what is in force, and each number alone.
    assert one.asked[: 2 + stage] == two.asked[: 2 + stage]
    chosen = [choose(each, stage, 1, must_have=stage).trial.values for each in tried]
    assert chosen[0] == chosen[1]


# ---- going on -------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_search_that_was_stopped_goes_on_and_ends_as_if_it_never_was(tmp_path: Path, after: int):
    what: Any = (outages(12, calls=5), one_problem_each(12), ["relate.costs.calls", "group.threshold"])
    whole = tuned(*what)

    def stop(done: int, _: float) -> None:
        if done > after:
            raise Killed

    with pytest.raises(Killed):
        tuned(*what, path=tmp_path / "state", tell=stop)
    told: list[int] = []
    resumed = tuned(*what, path=tmp_path / "state", tell=lambda done, _: told.append(done))

    assert resumed == whole
    assert told == list(range(1, whole.trials + 1))


def test_a_search_that_is_over_is_told_again_without_another_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    what: Any = (outages(12, calls=5), one_problem_each(12), ["relate.costs.calls"])
    first = tuned(*what, path=tmp_path / "state")
    monkeypatch.setattr(Bench, "_trial", lambda *_: pytest.fail("it was played again"))

    assert tuned(*what, path=tmp_path / "state") == first


def test_several_processes_find_what_one_finds():
    what: Any = (outages(12, calls=5), one_problem_each(12), ["relate.costs.calls", "group.threshold"])

    assert tuned(*what, msgspec.structs.replace(SMALL, jobs=3)) == tuned(*what)


def test_a_process_that_dies_is_told_of_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    played = Bench._trial

    def trial(bench: Bench, values: Mapping[str, float]) -> list[FoldScore]:
        if values.get("group.threshold", 0.4) > 0.4:
            os._exit(9)
        return played(bench, values)

    monkeypatch.setattr(Bench, "_trial", trial)
    what: Any = (outages(12), one_problem_each(12), ["group.quiet", "group.threshold"])
    with pytest.raises(ForeshockError, match=r"a trial has ended without a result \(exit code 9\)"):
        tuned(*what, msgspec.structs.replace(SMALL, jobs=2), tmp_path / "state")

    assert len((tmp_path / "state").read_bytes().splitlines()) > 2


def test_the_state_of_a_foreshock_that_scores_otherwise_is_refused(tmp_path: Path):
    path = tmp_path / "state"
    what: Any = (outages(12, calls=5), one_problem_each(12), ["relate.costs.calls"])
    tuned(*what, path=path)
    head, present, *rest = path.read_bytes().splitlines(keepends=True)
    trial = msgspec.json.decode(present, type=Trial)
    other = msgspec.structs.replace(trial, folds=[fold(parts=[(1, 1, 1, 1, 1)])] * 2)
    path.write_bytes(head + msgspec.json.encode(other) + b"\n" + b"".join(rest))

    with pytest.raises(ForeshockError, match="the state was written by another version of Foreshock"):
        tuned(*what, path=path)


# ---- the gap --------------------------------------------------------------------------------------------------------


def test_the_gap_is_as_long_as_the_longest_time_that_is_in_force_or_tried():
    shipped = CorrelationSettings()
    space: tuple[Parameter, ...] = parameters(shipped, (), ["group.join"])
    patient = CorrelationSettings.model_validate({"group": {"join_by_priority": {1: "5h"}}})

    assert longest((), shipped) == 30 * 60  # group.reopen
    assert longest(space, shipped) == 45 * 60
    assert longest(space, patient) == 5 * 3600
