from datetime import timedelta

import pytest

from foreshock.core.errors import Denied, Unavailable
from foreshock.service.breaker import FAILURES, PAUSE, STEADY, WINDOW, Breaker, Hold, News, backoff_s
from foreshock.testing.tickets import NOON

DOWN = Unavailable("HTTP 503")
MANY = "ABCDEFGHIJKL"
assert len(MANY) == FAILURES


def after(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def breaker():
    return Breaker(lambda: 1.0)


def fail(breaker, *situations, at=NOON, error=DOWN):
    """An order each, of one call."""
    return [breaker.heard(name, [error], at, breaker.period) for name in situations]


def work(breaker, *situations, at=NOON):
    return [breaker.heard(name, [None], at, breaker.period) for name in situations]


def broken(breaker):
    fail(breaker, *MANY)
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


def test_nearly_all_calls_failing_open_it_and_the_first_rest_is_short(breaker):
    news = fail(breaker, *MANY[:-1])
    before = breaker.hold
    news += fail(breaker, "A")

    assert (before, breaker.hold) == (Hold.NONE, Hold.BREAKER)
    assert news == [News.NONE] * (FAILURES - 1) + [News.BEGAN]
    assert (breaker.resume_at, breaker.since, breaker.error) == (after(2), NOON, "HTTP 503")


def test_one_situation_alone_never_opens_it(breaker):
    fail(breaker, *"A" * 50)

    assert breaker.hold is Hold.NONE


def test_a_system_that_answers_half_of_the_calls_is_worked_on_with_pauses(breaker):
    for n in range(200):
        breaker.heard(f"S-{n}", [None, DOWN], NOON, breaker.period)

    assert breaker.hold is Hold.NONE
    assert breaker.pause == PAUSE * (WINDOW / 2 - 1) / WINDOW


def test_three_of_four_calls_failing_open_it_although_others_work(breaker):
    for n in range(FAILURES // 3):
        breaker.heard(f"S-{n}", [None, DOWN, DOWN, DOWN], NOON, breaker.period)

    assert breaker.hold is Hold.BREAKER


def test_the_only_failure_in_a_while_costs_no_pause(breaker):
    fail(breaker, "A")

    assert breaker.pause == timedelta(0)


@pytest.mark.parametrize(
    ("error", "hold", "wait_s"),
    [
        (Unavailable("HTTP 429", retry_after_s=60), Hold.ASKED, 60),
        (Unavailable("HTTP 503", retry_after_s=86_400), Hold.ASKED, 3600),
        (Denied("HTTP 401"), Hold.DENIED, 2),
    ],
)
def test_a_named_time_and_refused_credentials_hold_it_at_once(breaker, error, hold, wait_s):
    fail(breaker, "A", error=error)

    assert (breaker.hold, breaker.resume_at) == (hold, after(wait_s))
    assert breaker.held(after(wait_s - 1))
    assert not breaker.held(after(wait_s))


def test_credentials_refused_twice_are_left_alone_for_long_even_where_other_calls_work(breaker):
    fail(breaker, "A", error=Denied("HTTP 401"))
    breaker.heard("A", [None, None, Denied("HTTP 403")], after(2), breaker.period)

    assert (breaker.hold, breaker.resume_at) == (Hold.DENIED, after(302))


def test_each_slip_of_the_credentials_is_the_first_where_orders_work_between(breaker):
    for _ in range(3):
        fail(breaker, "A", error=Denied("HTTP 401"))
        wait = breaker.resume_at
        work(breaker, "A", at=wait)

    assert (wait, breaker.hold) == (after(2), Hold.NONE)


def test_after_a_named_time_no_probe_is_needed(breaker):
    fail(breaker, "A", error=Unavailable("HTTP 429", retry_after_s=60))
    breaker.look(after(59))
    before = breaker.hold
    breaker.look(after(60))

    assert (before, breaker.hold, breaker.resume_at) == (Hold.ASKED, Hold.NONE, None)


def test_a_limit_in_the_midst_of_an_order_is_heard_although_the_order_went_on(breaker):
    breaker.heard("A", [Unavailable("HTTP 429", retry_after_s=60), None], NOON, breaker.period)

    assert breaker.hold is Hold.ASKED


def test_each_probe_that_fails_makes_the_rest_longer_up_to_five_minutes(breaker):
    broken(breaker)
    waits = []
    for _ in range(10):
        now = breaker.resume_at
        fail(breaker, "F", at=now)
        waits.append((breaker.resume_at - now).total_seconds())

    assert waits == [4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_probe_that_works_ends_the_rest(breaker):
    broken(breaker)
    work(breaker, "A", at=after(2))

    assert (breaker.hold, breaker.error, breaker.failures, breaker.resume_at) == (Hold.NONE, "", 0, None)


def test_one_answered_call_of_a_probe_ends_the_rest(breaker):
    broken(breaker)
    breaker.heard("A", [None, DOWN], after(2), breaker.period)

    assert (breaker.hold, breaker.failures) == (Hold.NONE, 1)


def test_an_attempt_that_made_no_call_says_nothing(breaker):
    broken(breaker)
    breaker.heard("A", [], after(2), breaker.period)

    assert breaker.hold is Hold.BREAKER


def test_calls_that_were_under_way_when_it_opened_decide_nothing(breaker):
    stamp = breaker.period
    broken(breaker)

    breaker.heard("X", [None], after(1), stamp)
    breaker.heard("Y", [DOWN], after(1), stamp)

    assert (breaker.hold, breaker.resume_at) == (Hold.BREAKER, after(2))


def test_a_longer_rest_that_a_late_answer_asks_for_is_given(breaker):
    stamp = breaker.period
    broken(breaker)

    breaker.heard("Y", [Unavailable("HTTP 429", retry_after_s=60)], after(1), stamp)

    assert breaker.resume_at == after(61)


def test_an_outage_that_comes_and_goes_is_one(breaker):
    broken(breaker)
    news = work(breaker, "A", at=after(2))
    news += fail(breaker, *MANY, at=after(3))
    news += [*work(breaker, "A", at=after(9)), breaker.look(after(60))]
    ended = breaker.look(after(9) + STEADY)

    assert news == [News.NONE] * (FAILURES + 3)
    assert ended is News.ENDED
    assert (breaker.since, breaker.lasted_s) == (None, 9)


def test_an_outage_is_over_at_once_where_many_calls_work(breaker):
    broken(breaker)
    news = work(breaker, *(f"S-{n}" for n in range(WINDOW)), at=after(2))

    assert news == [News.NONE] * (WINDOW - 1) + [News.ENDED]


def test_a_clock_that_is_set_back_does_not_prolong_a_rest(breaker):
    broken(breaker)

    assert not breaker.held(NOON - timedelta(days=1))
