from datetime import timedelta

import pytest

from foreshock.core.errors import Denied, Unavailable
from foreshock.service.breaker import FAILURES, STEADY, WINDOW, Breaker, Hold, News, backoff_s
from foreshock.testing.tickets import NOON

DOWN = Unavailable("HTTP 503")


def after(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def breaker():
    return Breaker(lambda: 1.0)


def fail(breaker, *situations, at=NOON, error=DOWN):
    return [breaker.failed(name, error, at, breaker.period) for name in situations]


def broken(breaker):
    fail(breaker, *"ABCDE")
    assert breaker.hold is Hold.BREAKER
    return breaker


@pytest.mark.parametrize(
    ("failures", "jitter", "retry_after_s", "expected"),
    [
        (1, 0.0, None, 1.0),
        (1, 1.0, None, 2.0),
        (4, 0.5, None, 8.0),
        (5, 1.0, None, 32.0),
        (9, 1.0, None, 300.0),
        (5000, 1.0, None, 300.0),
        (1, 1.0, 120.0, 120.0),
        (9, 1.0, 120.0, 300.0),
        (1, 1.0, 86400.0, 3600.0),
    ],
)
def test_backoff_grows_to_five_minutes_and_honours_what_was_asked_for_up_to_an_hour(
    failures, jitter, retry_after_s, expected
):
    assert backoff_s(failures, jitter, retry_after_s) == expected


def test_failures_in_a_row_open_it_and_the_first_rest_is_short(breaker):
    news = fail(breaker, *"AABB")
    before = breaker.hold
    news += fail(breaker, "A")

    assert (before, breaker.hold) == (Hold.NONE, Hold.BREAKER)
    assert news == [News.NONE] * 4 + [News.BEGAN]
    assert (breaker.resume_at, breaker.since, breaker.error) == (after(2), NOON, "HTTP 503")


def test_one_situation_alone_never_opens_it(breaker):
    fail(breaker, *"A" * 50)

    assert breaker.hold is Hold.NONE


def test_half_of_the_calls_failing_open_it_although_others_work(breaker):
    opened = 0
    for n in range(WINDOW):
        if n % 2:
            breaker.worked(f"S-{n}", NOON, breaker.period)
        else:
            fail(breaker, f"S-{n}")
        opened = opened or (breaker.hold is not Hold.NONE and n + 1)

    assert opened == 2 * FAILURES - 1


@pytest.mark.parametrize(
    ("error", "hold", "wait_s"),
    [
        (Unavailable("HTTP 429", retry_after_s=60), Hold.ASKED, 60),
        (Unavailable("HTTP 503", retry_after_s=86_400), Hold.ASKED, 3600),
        (Denied("HTTP 401"), Hold.DENIED, 300),
    ],
)
def test_a_named_time_and_refused_credentials_hold_it_at_once(breaker, error, hold, wait_s):
    fail(breaker, "A", error=error)

    assert (breaker.hold, breaker.resume_at) == (hold, after(wait_s))
    assert breaker.held(after(wait_s - 1))
    assert not breaker.held(after(wait_s))


def test_each_probe_that_fails_makes_the_rest_longer_up_to_five_minutes(breaker):
    broken(breaker)
    waits = []
    for _ in range(10):
        now = breaker.resume_at
        breaker.failed("F", DOWN, now, breaker.period)
        waits.append((breaker.resume_at - now).total_seconds())

    assert waits == [4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_probe_that_works_ends_the_rest(breaker):
    broken(breaker)
    breaker.worked("A", after(2), breaker.period)

    assert (breaker.hold, breaker.error, breaker.failures, breaker.resume_at) == (Hold.NONE, "", 0, None)


def test_calls_that_were_under_way_when_it_opened_decide_nothing(breaker):
    stamp = breaker.period
    broken(breaker)

    breaker.worked("X", after(1), stamp)
    breaker.failed("Y", DOWN, after(1), stamp)

    assert (breaker.hold, breaker.resume_at) == (Hold.BREAKER, after(2))


def test_a_longer_rest_that_a_late_answer_asks_for_is_given(breaker):
    stamp = breaker.period
    broken(breaker)

    breaker.failed("Y", Unavailable("HTTP 429", retry_after_s=60), after(1), stamp)

    assert breaker.resume_at == after(61)


def test_an_outage_that_comes_and_goes_is_one(breaker):
    broken(breaker)
    news = [breaker.worked("A", after(2), breaker.period)]
    news += fail(breaker, *"BCDEF", at=after(3))
    news += [breaker.worked("A", after(9), breaker.period), breaker.look(after(60))]
    ended = breaker.look(after(9) + STEADY)

    assert news == [News.NONE] * 8
    assert ended is News.ENDED
    assert (breaker.since, breaker.lasted_s) == (None, 9)


def test_an_outage_is_over_at_once_where_many_calls_work(breaker):
    broken(breaker)
    news = [breaker.worked(f"S-{n}", after(2), breaker.period) for n in range(WINDOW)]

    assert news == [News.NONE] * (WINDOW - 1) + [News.ENDED]


def test_a_clock_that_is_set_back_does_not_prolong_a_rest(breaker):
    broken(breaker)

    assert not breaker.held(NOON - timedelta(days=1))
