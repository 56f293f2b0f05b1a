"""Whether the world is still the one that a model knows."""

import numpy as np
import pytest

from predictor.drift import MOVED, drift, moved, usual

THEN = np.random.default_rng(1).normal(0, 1, 5000)


def now(seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, 2000)


def test_what_is_as_it_was_has_not_moved():
    assert moved(usual(THEN), now()) < 0.02


@pytest.mark.parametrize("change", [lambda x: x + 1, lambda x: x * 3, lambda x: np.where(x > 0.5, np.nan, x)])
def test_another_level_another_spread_and_more_gaps_are_seen(change: object):
    assert callable(change)
    assert moved(usual(THEN), change(now())) > MOVED


def test_a_column_that_never_varied_is_seen_to_vary():
    flat = usual(np.zeros(5000))

    assert moved(flat, np.zeros(2000)) == 0
    assert moved(flat, np.where(np.arange(2000) % 2 == 0, 1.0, 0.0)) > MOVED


def test_a_column_that_was_never_there_is_seen_to_come():
    absent = usual(np.full(5000, np.nan))

    assert moved(absent, np.full(2000, np.nan)) == 0
    assert moved(absent, now()) > MOVED


def test_few_rows_say_nothing():
    assert moved(usual(THEN), np.full(100, 99.0)) == 0


def test_what_moved_is_named_most_first_and_told_in_words():
    table = np.column_stack([now(2) + 1, now(3), now(4) + 5])
    found = drift(
        ("age", "load", "rate"), [usual(THEN)] * 3, table, usual(THEN), now(5), came=10, promised=10.0
    )  # fmt: skip

    assert list(found.features) == ["rate", "age"]
    assert found.reasons == [
        f"rate and 1 more are not as they were when it was trained (stability index {found.features['rate']:.2f})"
    ]


@pytest.mark.parametrize(
    ("came", "promised", "word"), [(30, 10.0, "more"), (2, 20.0, "fewer"), (12, 10.0, None), (0, 2.0, None)]
)
def test_incidents_that_were_not_promised_and_promises_that_did_not_come_are_told(
    came: int, promised: float, word: str | None
):
    reasons = drift((), (), now()[:, None][:, :0], usual(THEN), now(), came=came, promised=promised).reasons

    assert [reason.split()[0] for reason in reasons] == ([word] if word else [])


def test_before_anything_was_promised_nothing_is_wrong():
    assert drift((), (), np.empty((0, 0)), usual(THEN), np.empty(0), came=0, promised=0.0).reasons == []
