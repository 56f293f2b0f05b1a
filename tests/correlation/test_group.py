"""Which situation an alert joins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.group import closed_to_joins, number, place
from correlation.relate import Candidate
from correlation.settings import GroupSettings
from foreshock.core.model import Member, Situation, SituationState, Ticket
from foreshock.testing.records import NOON, seconds

SETTINGS = GroupSettings(max_alerts=5)


def situation(name: str, members: int = 1, **fields: Any) -> Situation:
    defaults: dict[str, Any] = {"opened_at": NOON, "onset": NOON, "updated_at": NOON, "last_joined_at": NOON}
    return Situation(
        id=name, members={f"{name}-{i}": Member(joined_at=NOON) for i in range(members)}, **{**defaults, **fields}
    )


def candidate(name: str, strength: float, via: str = "esx", other: str = "o", rule: str = "topology@1") -> Candidate:
    """The new alert is on esx: what is related through esx itself, it explains."""
    return Candidate(name, other, strength, via, rule, via == "esx")


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
    assert placed(candidate("S-2", 0.6, "x"), candidate("S-1", 0.5, "x"))[0] == "S-2"
    assert placed(candidate("S-10", 0.5, "x"), candidate("S-9", 0.5, "x"))[0] == "S-9"
    older = situation("S-10", opened_at=NOON - seconds(9))
    assert placed(candidate("S-10", 0.5, "x"), candidate("S-9", 0.5, "x"), S_10=older)[0] == "S-10"


def test_an_alert_that_explains_two_situations_makes_them_one():
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.95), candidate("S-3", 0.9)) == ("S-1", ("S-2", "S-3"))


def test_what_is_explained_too_weakly_stays_apart():
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.89)) == ("S-1", ())


def test_two_problems_that_hurt_the_same_thing_stay_two():
    assert placed(candidate("S-1", 1.0, via="array"), candidate("S-2", 0.95, via="db1")) == ("S-1", ())


def test_an_alert_between_two_situations_makes_them_one_with_the_nearest_above():
    below, above, beside = candidate("S-1", 1.0), candidate("S-2", 0.5, via="array"), candidate("S-3", 0.45, via="pdu")

    assert placed(below, above, beside) == ("S-1", ("S-2",))
    assert placed(candidate("S-1", 1.0, via="array"), beside) == ("S-1", ())


def test_a_situation_that_has_grown_is_not_merged_any_more():
    large = GroupSettings(max_alerts=500, merge_alerts=8)
    eight, nine = situation("S-2", 8), situation("S-2", 9)

    def merged(other: Situation) -> tuple[str, ...]:
        known = {"S-1": situation("S-1", 20), "S-2": other}
        return place([candidate("S-1", 1.0), candidate("S-2", 0.95)], known, NOON, large).merge

    assert (merged(eight), merged(nine)) == (("S-2",), ())


def test_a_merge_leaves_room_for_the_alert_itself():
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.95), S_1=situation("S-1", 2), S_2=situation("S-2", 2))[
        1
    ] == ("S-2",)
    assert (
        placed(candidate("S-1", 1.0), candidate("S-2", 0.95), S_1=situation("S-1", 2), S_2=situation("S-2", 3))[1] == ()
    )


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
    assert placed(candidate("S-1", 1.0), candidate("S-2", 0.5, "x"), S_1=closed) == ("S-2", ())


def test_a_situation_within_its_bounds_is_open():
    inside = situation("S-1", 4, last_joined_at=NOON - seconds(900), opened_at=NOON - seconds(86400))

    assert closed_to_joins(inside, NOON, SETTINGS) == ""


CANDIDATES = st.builds(
    Candidate,
    st.sampled_from(["S-1", "S-2", "S-10"]),
    st.sampled_from("ab"),
    st.sampled_from([0.3, 0.5, 0.9, 1.0]),
    st.sampled_from(["esx", "db1"]),
    st.sampled_from(["same_ci@1", "topology@1"]),
)


@given(st.lists(CANDIDATES, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(candidates: list[Candidate], random: Any):
    situations = {name: situation(name) for name in ("S-1", "S-2", "S-10")}
    shuffled = list(candidates)
    random.shuffle(shuffled)

    assert place(candidates, situations, NOON, SETTINGS) == place(shuffled, situations, NOON, SETTINGS)


def test_situations_are_numbered():
    assert sorted(["S-10", "S-9"], key=number) == ["S-9", "S-10"]
