"""Whether a new model is better, or lucky."""

import numpy as np
import pytest

from predictor.challenge import ALPHA, MIN_BLOCKS, compare


def world(seed: int, blocks: int = 60, size: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities, what came, and the block of each row; rows of a block rise and fall together."""
    random = np.random.default_rng(seed)
    block = np.repeat(np.arange(blocks), size)
    truth = 1 / (1 + np.exp(-(random.normal(-3, 1, len(block)) + np.repeat(random.normal(0, 0.7, blocks), size))))
    return truth, random.random(len(block)) < truth, block


def noisy(truth: np.ndarray, seed: int, spread: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) + np.random.default_rng(seed).normal(0, spread, len(truth)))))


def test_a_model_that_knows_more_is_better():
    truth, began, block = world(1)
    verdict = compare(began, noisy(truth, 2, 1.5), noisy(truth, 3, 0.2), block)

    assert verdict.better
    assert 0 < verdict.low < verdict.gain < verdict.high
    assert "less loss" in verdict.reason


def test_a_model_that_knows_less_is_not():
    truth, began, block = world(1)
    verdict = compare(began, noisy(truth, 3, 0.2), noisy(truth, 2, 1.5), block)

    assert not verdict.better
    assert verdict.gain < 0
    assert "more loss" in verdict.reason


def test_one_that_is_as_good_is_taken_for_better_as_seldom_as_promised():
    wrong = 0
    for seed in range(200):
        truth, began, block = world(seed, blocks=30, size=20)
        wrong += compare(began, noisy(truth, seed + 1000, 0.8), noisy(truth, seed + 2000, 0.8), block).better

    assert wrong / 200 <= ALPHA + 0.045  # two standard errors and a half of 200 trials


def test_the_same_model_is_not_better_than_itself():
    truth, began, block = world(4)
    verdict = compare(began, truth, truth, block)

    assert (verdict.better, verdict.gain, verdict.p_value) == (False, 0.0, 1.0)


def test_few_incidents_say_nothing_however_good_it_looks():
    truth, began, block = world(5)
    few = began & (block < MIN_BLOCKS - 1)
    verdict = compare(few, np.full(len(truth), 0.5), np.where(few, 0.99, 0.01), block)

    assert not verdict.better
    assert f"of {MIN_BLOCKS} stretches" in verdict.reason


def test_luck_in_one_stretch_is_no_proof():
    truth, began, block = world(6)
    lucky = np.where((block == 0) & began, 0.999, truth)

    assert not compare(began, truth, lucky, block).better


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_a_model_that_was_certain_and_wrong_costs_much_and_no_infinity(sure: float):
    truth, began, block = world(7)
    verdict = compare(began, truth, np.full(len(truth), sure), block)

    assert not verdict.better
    assert np.isfinite(verdict.gain)


def test_nothing_is_compared_with_nothing():
    none = np.empty(0)

    assert not compare(none.astype(bool), none, none, none.astype(np.int64)).better
