"""How far metrics moved when something broke."""

from collections.abc import Sequence

import pytest

from foreshock.core.model import Direction, Samples, Series
from predictor.shift import MAX_SCORE, moved

STEP_S = 300.0
CALM = [10.0, 10.2, 9.9, 10.1, 10.0, 9.8, 10.1, 10.0, 9.9, 10.2, 10.0, 10.1, 9.9, 10.0]
LATENCY = Series(ci="api", metric="latency", worse=Direction.UP)
USUAL = ("api", "latency", "")


def recorded(values: Sequence[float], series: Series = LATENCY, start_s: float = 0.0) -> Samples:
    return Samples(series=series, times=[start_s + n * STEP_S for n in range(len(values))], values=list(values))


def test_what_moved_is_measured_in_what_moves_anyway():
    wild = [10.0, 14.0, 8.0, 12.0] * 4
    window = [recorded([10.0, 10.0, 14.0, 14.0])]

    (calm_anomaly,) = moved(window, {USUAL: [recorded(CALM)]}, 2 * STEP_S)
    wild_anomalies = moved(window, {USUAL: [recorded(wild)]}, 2 * STEP_S)

    assert calm_anomaly.score > 10
    assert sum(anomaly.score for anomaly in wild_anomalies) < 5
    assert (calm_anomaly.expected, calm_anomaly.observed) == (10.0, 14.0)
    assert calm_anomaly.direction is Direction.UP


def test_a_level_that_drifted_since_the_history_was_recorded_is_no_anomaly():
    assert moved([recorded([30.0, 30.1, 30.0, 30.2])], {USUAL: [recorded(CALM)]}, 2 * STEP_S) == []


def test_only_the_direction_that_is_worse_counts():
    better = [recorded([10.0, 10.0, 2.0, 2.0])]

    assert moved(better, {USUAL: [recorded(CALM)]}, 2 * STEP_S) == []
    either = [recorded([10.0, 10.0, 2.0, 2.0], Series(ci="api", metric="latency"))]
    assert moved(either, {USUAL: [recorded(CALM)]}, 2 * STEP_S)[0].direction is Direction.DOWN


def test_a_breach_that_is_over_again_within_the_window_counts():
    (anomaly,) = moved([recorded([10.0, 10.0, 14.0, 14.0, 10.0, 10.0])], {USUAL: [recorded(CALM)]}, 2 * STEP_S)

    assert anomaly.until is not None
    assert anomaly.observed == 14.0


def test_a_step_that_has_begun_when_it_broke_belongs_to_the_breach():
    (anomaly,) = moved([recorded([10.0, 10.0, 14.0, 14.0])], {USUAL: [recorded(CALM)]}, 2 * STEP_S + 200)

    assert anomaly.expected == 10.0


def test_many_short_recordings_tell_what_moves_when_long_ones_do_not():
    short = [recorded([10.0, 14.0]) for _ in range(6)]

    (calm,) = moved([recorded([10.0, 10.0, 14.0, 14.0])], {USUAL: [recorded(CALM)]}, 2 * STEP_S)
    (known_to_move,) = moved([recorded([10.0, 10.0, 14.0, 14.0])], {USUAL: [recorded(CALM), *short]}, 2 * STEP_S) or (
        None,
    )

    assert known_to_move is None or known_to_move.score < calm.score / 5


@pytest.mark.parametrize("values", [[], [10.0], [0.0, 0.0, 0.0, 0.0]])
def test_what_cannot_be_compared_says_nothing(values: list[float]):
    assert moved([recorded(values)], {}, 2 * STEP_S) == []


def test_what_was_zero_and_is_not_any_more_is_as_far_as_can_be():
    (anomaly,) = moved([recorded([0.0, 0.0, 5.0, 5.0])], {}, 2 * STEP_S)

    assert anomaly.score == MAX_SCORE
