"""What tuning is made of: ranges, folds, scores, the state file."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.settings import CorrelationSettings, differing
from foreshock.core.errors import ForeshockError, Held, Malformed
from foreshock.service.truth import count_pairs
from foreshock.service.tune import score
from foreshock.service.tune.folds import Fold, Incident, cut, fold_at, homes
from foreshock.service.tune.space import USUAL, Kind, Parameter, changed, named, parameters, placed
from foreshock.service.tune.state import Search, State, Trial
from foreshock.service.tune.trial import FoldScore

SHIPPED = CorrelationSettings()
ALL = parameters(SHIPPED, ["calls", "depends_on"], ["*"])

# ---- ranges ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_every_place_of_every_range_is_a_value_that_the_settings_take(data: st.DataObject):
    places = data.draw(st.lists(st.floats(0, 1), min_size=len(ALL), max_size=len(ALL)))

    settings = changed(SHIPPED, ALL, named(ALL, places))

    assert CorrelationSettings.model_validate(settings.model_dump(mode="json")) == settings


@given(st.sampled_from(ALL), st.floats(0, 1))
def test_a_value_lies_where_it_was_taken_from_up_to_rounding(parameter: Parameter, place: float):
    value = parameter.value(place)

    assert parameter.low <= value <= parameter.high
    assert parameter.value(parameter.place(value)) == pytest.approx(value, rel=0.01, abs=1)


@given(st.sampled_from(ALL))
def test_what_is_in_force_is_met_exactly_and_is_no_change(parameter: Parameter):
    assert named([parameter], placed([parameter], {})) == {}


def test_a_settings_file_says_only_what_is_not_as_it_ships():
    space = parameters(SHIPPED, ["calls"], ["group.join", "relate.costs.calls", "group.wave.alerts"])
    settings = changed(SHIPPED, space, {"group.join": 700.0, "relate.costs.calls": 1.5, "group.wave.alerts": 30.0})

    written = differing(settings)

    assert written == {
        "group": {"join": "11m40s", "wave": {"alerts": 30}},
        "relate": {"costs": {"calls": 1.5, "connects_to": 2.0}},
    }
    assert CorrelationSettings.model_validate(written) == settings
    assert differing(SHIPPED) == {}


def test_the_usual_numbers_are_all_there_and_each_type_of_relationship_has_a_cost():
    paths = [one.path for one in parameters(SHIPPED, ["calls"])]

    assert {"group.threshold", "relate.costs.calls", "relate.costs.connects_to", "group.wave.rise"} <= set(paths)
    assert all(any(Path(path).match(pattern) for path in paths) for pattern in USUAL)


def test_what_is_turned_off_is_not_turned_on_by_tuning():
    off = CorrelationSettings.model_validate({"group": {"part": 0}})

    assert "group.part" not in {one.path for one in parameters(off, [], ["group.*"])}


def test_a_pattern_that_names_nothing_is_refused_with_what_was_perhaps_meant():
    with pytest.raises(Malformed, match=r"'group.treshold'; did you mean .*group.threshold"):
        parameters(SHIPPED, [], ["group.treshold"])


def test_bounds_of_the_settings_end_a_range():
    (threshold,) = parameters(CorrelationSettings.model_validate({"relate": {"costs": {"calls": 11}}}), ["calls"],
                              ["relate.costs.calls"])  # fmt: skip

    assert (threshold.kind, threshold.base, threshold.high) == (Kind.NUMBER, 11, 12)


# ---- folds ----------------------------------------------------------------------------------------------------------

HISTORY = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(0, 5e4)).map(lambda span: Incident(span[0], span[0] + span[1])),
    min_size=6,
    max_size=60,
)


@given(HISTORY, st.integers(2, 6), st.floats(0.1, 0.6), st.floats(0, 2e4))
def test_no_incident_counts_on_two_sides_and_what_counts_lies_a_gap_apart(
    incidents: list[Incident], count: int, held_out: float, gap_s: float
):
    try:
        folds = cut(incidents, count, held_out, gap_s, 2e6)
    except Malformed:
        return
    assert len(folds) == count + 1
    home = homes({str(place): one for place, one in enumerate(incidents)}, folds)
    for place, one in enumerate(incidents):
        inside = {fold for fold in (fold_at(one.first, folds), fold_at(one.last, folds)) if fold is not None}
        if str(place) in home:
            assert inside == {home[str(place)]}
    for one, other in itertools.pairwise(folds):
        assert one.begin < one.end <= other.begin - gap_s * (1 - 1e-9) + 1e-6
        assert one.until == other.begin


@given(HISTORY, st.floats(1, 2e4), st.integers(1, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_two_moments_of_different_folds_are_further_apart_than_the_gap(
    incidents: list[Incident], gap_s: float, fold: int, before: float, after: float
):
    try:
        folds = cut(incidents, 2, 0.3, gap_s, 2e6)
    except Malformed:
        return
    one, other = (folds[fold].begin + gaps * gap_s for gaps in (before, after))
    here, there = fold_at(one, folds), fold_at(other, folds)
    if here is not None and there is not None and here != there:
        assert abs(one - other) >= gap_s * (1 - 1e-9) - 1e-6


def test_an_incident_that_reaches_over_a_gap_counts_nowhere():
    folds = (Fold(-math.inf, 100, 200), Fold(200, 300, 400), Fold(400, math.inf, 900))
    incidents = {
        "inside": Incident(10, 90), "into the gap": Incident(50, 150), "over it": Incident(50, 210),
        "from the gap": Incident(150, 210), "over all": Incident(10, 500), "last": Incident(400, 500),
    }  # fmt: skip

    assert homes(incidents, folds) == {"inside": 0, "into the gap": 0, "last": 2}


def test_too_little_history_is_refused_with_what_to_do():
    with pytest.raises(Malformed, match=r"too few incidents are known, 5, for 5 folds .*; give more history or fewer"):
        cut([Incident(at, at) for at in range(5)], 5, 0.3, 0, 10)


def test_a_gap_that_leaves_nothing_is_refused():
    with pytest.raises(Malformed, match="gaps of 60 s; give more history, fewer --folds or a shorter --gap"):
        cut([Incident(at, at) for at in range(20)], 2, 0.3, 60, 30)


# ---- scores ---------------------------------------------------------------------------------------------------------

GROUPED = st.lists(st.tuples(st.sampled_from(["", "1", "2", "3"]), st.sampled_from("abcd"), st.sampled_from("wxyz")))


@given(GROUPED)
def test_parts_add_up_to_all_pairs_before_and_after(items: list[tuple[str, str, str]]):
    found = score.parts(items)

    assert score.before(found) == count_pairs((incident, one) for incident, one, _ in items)
    assert score.after(found) == count_pairs((incident, other) for incident, _, other in items)


@given(GROUPED)
def test_what_groups_alike_gains_nothing_however_it_is_drawn(items: list[tuple[str, str, str]]):
    same = [(incident, one, one) for incident, one, _ in items]

    assert score.interval(score.spread([score.parts(same)], 1)) == (0, 0)


def test_a_gain_everywhere_is_sure_and_one_in_a_single_part_is_not():
    gained: score.Part = (3, 1, 1, 3, 3)
    alike: score.Part = (3, 1, 1, 1, 1)

    assert score.interval(score.spread([[gained] * 20], 1))[0] > 0.2
    assert score.interval(score.spread([[gained, *[alike] * 19]], 1))[0] == 0


def test_pairs_that_people_spoke_of_are_counted_by_what_they_were_said_in():
    said = [("J-1", True, True, False), ("J-1", False, True, False), ("J-2", True, False, True)]

    assert score.judged_parts(said) == [(1, 0, 0, 1, 1), (1, 2, 1, 0, 0)]


# ---- the state file -------------------------------------------------------------------------------------------------

SEARCH = Search(history="h", truth="t", present="p", folds=2, held_out=0.3, gap_s=60.0)


def trial(*, held_out: bool = False, **values: float) -> Trial:
    scores = [FoldScore(parts=[(1, 1, 1, 1, 1)], events=2, tickets=1, urgent=0, wait_s=None, lost=0)]
    return Trial(values=values, folds=scores, held_out=held_out)


def kept(path: Path, *trials: Trial) -> None:
    state = State(path, SEARCH)
    for one in trials:
        state.add(one)
    state.close()


def test_what_was_found_is_found_again(tmp_path: Path):
    path = tmp_path / "state"
    kept(path, trial(), trial(a=1.0), trial(a=1.0, held_out=True))
    state = State(path, SEARCH)

    state.close()

    assert (state.find({}), state.find({"a": 1.0})) == (trial(), trial(a=1.0))
    assert (state.find({"a": 2.0}), state.looks) == (None, 1)


@pytest.mark.parametrize("lost", [1, 10, 100])
def test_a_trial_that_was_being_written_is_made_again_and_the_rest_stands(tmp_path: Path, lost: int):
    path = tmp_path / "state"
    kept(path, trial(), trial(a=1.0))
    path.write_bytes(path.read_bytes()[:-lost])
    kept(path, trial(b=2.0))
    state = State(path, SEARCH)
    state.close()

    assert [state.find(values) is not None for values in ({}, {"a": 1.0}, {"b": 2.0})] == [True, False, True]


def test_the_state_of_another_search_is_refused_with_what_differs(tmp_path: Path):
    path = tmp_path / "state"
    kept(path)
    other = Search(history="x", truth="y", present="p", folds=2, held_out=0.3, gap_s=60.0)

    with pytest.raises(
        ForeshockError, match=r"is the state of another search: the history, the truth differ; give what"
    ):
        State(path, other)


@pytest.mark.parametrize("text", ["group: {threshold: 0.5}\n", "group: {threshold: 0.5}", "{}\n"])
def test_a_file_that_is_no_state_is_left_as_it_is(tmp_path: Path, text: str):
    path = tmp_path / "settings.yaml"
    path.write_text(text)

    with pytest.raises(ForeshockError, match="is no state of `foreshock tune`"):
        State(path, SEARCH)
    assert path.read_text() == text


def test_two_searches_do_not_write_one_file(tmp_path: Path):
    one = State(tmp_path / "state", SEARCH)
    with pytest.raises(Held, match="another `foreshock tune` works with"):
        State(tmp_path / "state", SEARCH)
    one.close()
