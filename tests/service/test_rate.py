import pytest

from foreshock.service.rate import Rate
from foreshock.testing.tickets import SteppedClock


@pytest.fixture
def clock():
    return SteppedClock()


def left(remaining, limit=700, reset_s=40):
    return {"ratelimit-limit": str(limit), "ratelimit-remaining": str(remaining), "ratelimit-reset": str(reset_s)}


def test_the_last_calls_of_a_window_are_left_alone_until_it_begins_anew(clock):
    rate = Rate(4, clock)
    rate.heard(left(13))
    enough = rate.until(clock())
    rate.heard(left(12))
    scarce = rate.until(clock())
    clock.move(40)

    assert (enough, (scarce - clock()).total_seconds()) == (None, 0.0)
    assert rate.until(clock()) is None


def test_of_a_small_limit_only_a_tenth_is_left_alone(clock):
    rate = Rate(16, clock)
    rate.heard(left(2, limit=10))
    enough = rate.until(clock())
    rate.heard(left(1, limit=10))

    assert enough is None
    assert rate.until(clock()) is not None


def test_the_newest_answer_counts_and_one_that_says_nothing_changes_nothing(clock):
    rate = Rate(4, clock)
    rate.heard(left(0))
    rate.heard({"content-type": "application/json"})
    still = rate.until(clock())
    rate.heard(left(600))

    assert still is not None
    assert rate.until(clock()) is None


def test_a_clock_that_is_set_back_does_not_prolong_the_wait(clock):
    rate = Rate(4, clock)
    rate.heard(left(0))
    clock.move(-86_400)

    assert rate.until(clock()) is None
