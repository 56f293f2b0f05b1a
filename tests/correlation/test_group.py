"""Which situation an alert joins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.group import closed_to_joins, number, place
from correlation.relate import Candidate
from correlation.settings import GroupSettings
from foreshock.core.learned import Curve
from foreshock.core.model import Member, Situation, SituationState, Ticket
from foreshock.testing.records import NOON, seconds

SETTINGS = GroupSettings(max_alerts=5)


def situation(name: str, members: int = 1, **fields: Any) -> Situation:
    defaults: dict[str, Any] = {"opened_at": NOON, "onset": NOON, "updated_at": NOON, "last_joined_at": NOON}
    return Situation(
        id=name, members={f"{name}-{i}": Member(joined_at=NOON) for i in range(members)}, **{**defaults, **fields}
    )


def candidate(
    name: str, strength: float, rule: str = "topology@2", explains: bool = False, walk: float = 0.0, other: str = "o"
) -> Candidate:
    return Candidate(name, other, strength, "esx", rule, explains, walk=walk)


def placed(*candidates: Candidate, **situations: Situation) -> tuple[str, tuple[str, ...]]:
    named = {found.situation: situation(found.situation) for found in candidates}
    given_ = {name.replace("_", "-"): value for name, value in situations.items()}
    placement = place(candidates, {**named, **given_}, NOON, SETTINGS)
    return placement.join.situation if placement.join else "", placement.merge


def test_without_a_link_an_alert_stands_alone():
    assert placed() == ("", ())


@pytest.mark.parametrize(("strength", "joins"), [(0.39, ""), (0.4, "S-1"), (1.0, "S-1")])
def test_a_link_counts_from_the_threshold_on(strength: float, joins: str):
    assert placed(candidate("S-1", strength)) == (joins, ())


def test_the_strongest_link_wins_and_the_older_situation_among_equals():
    assert placed(candidate("S-2", 0.6), candidate("S-1", 0.5))[0] == "S-2"
    assert placed(candidate("S-10", 0.5), candidate("S-9", 0.5))[0] == "S-9"
    older = situation("S-10", opened_at=NOON - seconds(9))
    assert placed(candidate("S-10", 0.5), candidate("S-9", 0.5), S_10=older)[0] == "S-10"


def test_what_several_rules_say_adds_up_and_what_one_says_twice_does_not():
    def strength(*candidates: Candidate) -> float:
        join = place(candidates, {"S-1": situation("S-1")}, NOON, GroupSettings(threshold=0.01)).join
        assert join is not None
        return join.strength

    one, other = candidate("S-1", 0.3), candidate("S-1", 0.2, rule="text@1")
    assert strength(one, other) == pytest.approx(1 - 0.7 * 0.8)
    assert strength(one, candidate("S-1", 0.2, other="p")) == pytest.approx(0.3)


def test_two_weak_reasons_may_be_enough_together():
    weak = candidate("S-1", 0.3), candidate("S-1", 0.3, rule="text@1")

    assert placed(weak[0]) == ("", ())
    assert placed(*weak) == ("S-1", ())


def test_a_strength_counts_for_what_it_has_proved_to_be_worth():
    curve = Curve(strength=(0.0, 1.0), probability=(0.0, 0.5))

    def joins(**curves: Curve) -> bool:
        found = place([candidate("S-1", 0.6)], {"S-1": situation("S-1")}, NOON, SETTINGS, curves)
        return found.join is not None

    assert joins()
    assert joins(text=curve)
    assert not joins(topology=curve)


def test_an_alert_that_explains_two_situations_makes_them_one():
    explained = [candidate("S-1", 0.9), candidate("S-2", 0.6, explains=True), candidate("S-3", 0.5)]

    assert placed(*explained) == ("S-1", ("S-2",))


def test_two_problems_that_hurt_the_same_thing_stay_two():
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.95)) == ("S-1", ())


def test_what_a_wave_has_followed_is_not_merged_with_it():
    over = situation("S-2", superseded_by="S-1")

    assert placed(candidate("S-1", 0.9), candidate("S-2", 0.6, explains=True), S_2=over) == ("S-1", ())


def test_situations_where_much_of_the_walk_ends_may_be_in_the_same_place():
    near = [candidate(f"S-{n}", 0.3, walk=walk) for n, walk in ((2, 0.3), (3, 0.2), (4, 0.1), (5, 0.09), (6, 0.05))]
    situations = {each.situation: situation(each.situation) for each in (candidate("S-1", 0.9), *near)}

    found = place([candidate("S-1", 0.9), *near], situations, NOON, GroupSettings(merge=0.2))
    assert found.near == ("S-2", "S-3", "S-4")


CLOSED = [
    pytest.param(situation("S-1", state=SituationState.RESOLVED), "it is resolved", id="over"),
    pytest.param(situation("S-1", state=SituationState.MERGED), "it is merged", id="merged"),
    pytest.param(
        situation("S-1", tickets={"desk": Ticket(sink="desk", open=False, closed_by="ada")}),
        "ada closed its ticket",
        id="closed by a person",
    ),
    pytest.param(situation("S-1", 5), "it holds 5 alerts, the most allowed", id="full"),
    pytest.param(situation("S-1", last_joined_at=NOON - seconds(901)), "its join window is over", id="quiet for long"),
    pytest.param(situation("S-1", opened_at=NOON - seconds(86401)), "it is too old", id="old"),
]


@pytest.mark.parametrize(("closed", "bound"), CLOSED)
def test_a_situation_at_its_bound_takes_nothing_and_the_next_best_does(closed: Situation, bound: str):
    assert closed_to_joins(closed, NOON, SETTINGS) == bound
    assert placed(candidate("S-1", 1.0), S_1=closed) == ("", ())
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.5), S_1=closed) == ("S-2", ())


def test_a_situation_within_its_bounds_is_open():
    inside = situation("S-1", 4, last_joined_at=NOON - seconds(900), opened_at=NOON - seconds(86400))

    assert closed_to_joins(inside, NOON, SETTINGS) == ""


CANDIDATES = st.builds(
    Candidate,
    st.sampled_from(["S-1", "S-2", "S-10"]),
    st.sampled_from("ab"),
    st.sampled_from([0.3, 0.5, 0.9, 1.0]),
    st.sampled_from(["esx", "db1"]),
    st.sampled_from(["text@1", "topology@1"]),
)


@given(st.lists(CANDIDATES, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(candidates: list[Candidate], random: Any):
    situations = {name: situation(name) for name in ("S-1", "S-2", "S-10")}
    shuffled = list(candidates)
    random.shuffle(shuffled)

    assert place(candidates, situations, NOON, SETTINGS) == place(shuffled, situations, NOON, SETTINGS)


def test_situations_are_numbered():
    assert sorted(["S-10", "S-9"], key=number) == ["S-9", "S-10"]


def test_the_join_window_may_be_another_for_a_priority():
    settings = GroupSettings.model_validate({"join": "15m", "join_by_priority": {1: "1h", 4: "5m"}})

    def joins(priority: int, quiet_s: float) -> bool:
        last_joined_at = NOON - seconds(quiet_s)
        return not closed_to_joins(situation("S-1", priority=priority, last_joined_at=last_joined_at), NOON, settings)

    assert (joins(1, 3599), joins(1, 3601)) == (True, False)
    assert (joins(3, 899), joins(3, 901)) == (True, False)
    assert (joins(4, 299), joins(4, 301)) == (True, False)


def test_what_would_join_a_full_situation_and_no_other_knows_that_it_was_full():
    full, over = situation("S-1", members=5), situation("S-1", members=5, state=SituationState.RESOLVED)

    assert place([candidate("S-1", 0.9)], {"S-1": full}, NOON, SETTINGS).full == "S-1"
    assert place([candidate("S-1", 0.9)], {"S-1": over}, NOON, SETTINGS).full == ""
    assert place([candidate("S-1", 0.3)], {"S-1": full}, NOON, SETTINGS).full == ""
    other = {"S-1": full, "S-2": situation("S-2")}
    assert place([candidate("S-1", 0.9), candidate("S-2", 0.5)], other, NOON, SETTINGS).full == ""
