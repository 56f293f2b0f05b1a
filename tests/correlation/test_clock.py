"""How a source's clock stands to ours."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.clock import NO_SKEW, SAMPLES, Clock, Reading, State, heard, read, sample, words
from foreshock.testing.records import NOON, seconds

BOUND = timedelta(minutes=5)


def clock_of(*lags_s: float) -> Clock:
    """One that was sampled each minute, with these lags."""
    clock = Clock(in_touch_since=NOON - seconds(2e9))
    for number, lag_s in enumerate(lags_s):
        at = NOON + seconds(60 * number)
        sample(clock, at - seconds(lag_s), at)
    return clock


@pytest.mark.parametrize(
    ("lags_s", "state", "ahead_s"),
    [
        pytest.param([-40, -40], State.UNKNOWN, 0, id="too little"),
        pytest.param([-40, -39, -38], State.AHEAD, 39, id="ahead"),
        pytest.param([-40, 1, 1], State.IN_STEP, 0, id="one odd date is no clock"),
        pytest.param([-40, -41, *[1] * 10], State.IN_STEP, 0, id="a few odd dates are no clock"),
        pytest.param([-40, -40, -40, -40, -40, 90, 90, 90, 90, 90], State.AHEAD, 40, id="ahead, and often late"),
        pytest.param([-301, -302, -301], State.AHEAD, 0, id="ahead by more than is corrected"),
        pytest.param([1, 0.5, 4], State.IN_STEP, 0, id="in step"),
        pytest.param([30] * 7, State.UNKNOWN, 0, id="late, but seldom seen"),
        pytest.param([30] * 8, State.LATE, 0, id="late"),
        pytest.param([30, 1, 2, 30, 30, 30, 30, 30], State.LATE, 0, id="late with exceptions"),
        pytest.param([30, 1, 2, 2, 30, 30, 30, 30], State.IN_STEP, 0, id="sometimes late"),
    ],
)
def test_what_the_samples_say(lags_s: list[float], state: State, ahead_s: float):
    reading = read(clock_of(*lags_s), BOUND, late_is_clock=False)

    assert (reading.state, reading.ahead) == (state, seconds(ahead_s))


def test_late_is_behind_only_where_somebody_says_so_and_within_the_bound():
    assert read(clock_of(*[40] * 8), BOUND, late_is_clock=True).ahead == seconds(-40)
    assert read(clock_of(*[301] * 8), BOUND, late_is_clock=True).ahead == NO_SKEW


@given(st.floats(-250, 250), st.lists(st.floats(0, 2), min_size=8, max_size=30), st.data())
def test_a_skew_is_found_to_the_delay_of_the_way(skew_s: float, ways_s: list[float], data: st.DataObject):
    """A quarter of the dates may be any, whichever they are."""
    lags_s = [way_s - skew_s for way_s in ways_s]
    for index in data.draw(st.lists(st.sampled_from(range(len(lags_s))), max_size=min(len(lags_s), SAMPLES) // 4)):
        lags_s[index] = data.draw(st.floats(-1e9, 1e9))

    reading = read(clock_of(*lags_s), BOUND, late_is_clock=True)

    if abs(skew_s) > 8:
        assert abs(reading.ahead - seconds(skew_s)) <= seconds(2.01)


def test_samples_are_bounded_and_a_batch_gives_one():
    clock = clock_of(*range(100))
    assert clock.lags_s == tuple(float(lag_s) for lag_s in range(84, 100))

    at = NOON + seconds(60 * 99)
    sample(clock, at - seconds(3), at)
    sample(clock, at - seconds(70), at)

    assert len(clock.lags_s) == SAMPLES
    assert clock.lags_s[-1] == 3


def test_what_is_older_than_the_contact_tells_nothing():
    clock = Clock(in_touch_since=NOON)
    heard(clock, NOON + seconds(100), NOON)
    assert sample(clock, NOON + seconds(1), NOON + seconds(100))

    heard(clock, NOON + seconds(1000), NOON + seconds(100))

    assert not sample(clock, NOON + seconds(500), NOON + seconds(1000))
    assert len(clock.lags_s) == 1


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(State.AHEAD, -40.0, seconds(40)), "its clock is 40 s ahead of ours; onsets are corrected by that"),
        (Reading(State.AHEAD, -400.0), "its clock is 400 s ahead of ours, more than is corrected (300 s"),
        (Reading(State.LATE, 40.0), "its events are dated 40 s or more before they come: it reports late, or"),
        (Reading(State.LATE, 40.0, seconds(-40)), "its clock is 40 s behind ours; onsets are corrected by that"),
        (Reading(State.IN_STEP, 1.0), ""),
        (Reading(State.UNKNOWN), ""),
    ],
)
def test_it_is_said_what_is_corrected_and_what_is_to_be_done(reading: Reading, said: str):
    assert words(reading, BOUND).startswith(said)
    assert bool(words(reading, BOUND)) is bool(said)
