"""What a strength is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.calibration import Judged, brier_score, calibration_error, curve, fit
from predictor.settings import CalibrationSettings

DEFAULTS = CalibrationSettings()


def pairs(
    count: int, *, truth: float = 2.0, rule: str = "topology", seed: int = 1, weight: float = 1.0
) -> list[Judged]:
    """Pairs whose strength s comes true with probability s ** (1 / truth): for truth = 2 strengths are too modest."""
    rng = np.random.default_rng(seed)
    strengths = rng.uniform(0.05, 0.95, count)
    return [
        Judged(at_s=float(n), rule=rule, strength=float(s), same=bool(rng.random() < s ** (1 / truth)), weight=weight)
        for n, s in enumerate(strengths)
    ]


@pytest.mark.parametrize("count", [400, 4000], ids=["three parameters", "a free curve"])
def test_a_rule_that_is_too_modest_is_put_right(count: int):
    found = fit(pairs(count), DEFAULTS)["topology"]

    assert found.at(0.25) == pytest.approx(0.5, abs=0.1)
    assert found.at(0.64) == pytest.approx(0.8, abs=0.1)
    assert found.brier < found.brier_raw
    assert found.ece < found.ece_raw
    assert found.pairs == count


def test_a_rule_that_says_what_is_true_keeps_its_strength_as_far_as_it_matters():
    found = fit(pairs(4000, truth=1.0), DEFAULTS).get("topology")

    assert found is None or all(abs(found.at(s) - s) < 0.1 for s in (0.2, 0.5, 0.8))


def test_a_few_words_of_people_change_nothing():
    assert fit(pairs(100), DEFAULTS) == {}
    assert fit([p for p in pairs(4000) if p.same], DEFAULTS) == {}, "one answer alone says nothing"


def test_what_is_hardly_believed_counts_less():
    assert fit(pairs(400, weight=0.1), DEFAULTS) == {}


def test_a_curve_that_does_not_hold_later_is_not_used():
    before = pairs(1400)
    later = [Judged(at_s=1e6 + n, rule="topology", strength=0.3, same=n % 10 < 3) for n in range(600)]

    assert fit(before + later, DEFAULTS) == {}


def test_each_rule_has_its_own_curve():
    found = fit(pairs(2000) + pairs(2000, truth=0.5, rule="text", seed=2), DEFAULTS)

    assert found["topology"].at(0.5) > 0.6
    assert found["text"].at(0.5) < 0.4


def test_the_same_pairs_give_the_same_curves_in_whatever_order():
    known = pairs(2000)

    assert fit(known, DEFAULTS) == fit(reversed(known), DEFAULTS)


JUDGED = st.lists(
    st.builds(
        Judged, at_s=st.floats(0, 1e9), rule=st.just("r"), strength=st.floats(0, 1), same=st.booleans(),
        weight=st.floats(0.1, 1),
    ),
    min_size=2,
    max_size=80,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(judged=JUDGED, free=st.booleans(), at=st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_a_stronger_link_is_never_worth_less(judged: list[Judged], free: bool, at: list[float]):
    chosen = DEFAULTS.model_copy(update={"isotonic_from": 0.0 if free else 1e9})

    found = curve(judged, chosen)
    worth = [found.at(strength) for strength in sorted(at)]

    assert worth == sorted(worth)
    assert all(0 < one < 1 for one in worth)


def test_scores_of_a_prediction():
    predicted, same = np.array([0.9, 0.9, 0.1, 0.6]), np.array([1.0, 0.0, 0.0, 1.0])

    assert brier_score(predicted, same, np.ones(4)) == pytest.approx((0.01 + 0.81 + 0.01 + 0.16) / 4)
    assert calibration_error(predicted, same, np.ones(4)) == pytest.approx((0.8 + 0.1 + 0.4) / 4)
