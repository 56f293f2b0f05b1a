from datetime import timedelta
from email.utils import format_datetime

import pytest

from foreshock.connect.limits import DEFAULT_RESET_S, Allowance, read_allowance
from foreshock.testing.tickets import NOON

DATE = {"date": format_datetime(NOON, usegmt=True)}
EARLIER = NOON - timedelta(hours=3)
"""Our clock, which is wrong; the answers are dated."""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "2026-11-22T12:00:40Z"},
            (7, 100, 40.0),
        ),
        (
            {"ratelimit-limit": "700", "ratelimit-remaining": "3", "ratelimit-reset": "41"},
            (3, 700, 41.0),
        ),
        (
            {
                "x-rate-limit": "700",
                "x-rate-limit-remaining": "500",
                "ratelimit-limit": "100",
                "ratelimit-remaining": "3",
                "ratelimit-reset": "41",
            },
            (3, 100, 41.0),
        ),
        ({"x-ratelimit-total": "140", "x-ratelimit-remaining": "139"}, (139, 140, DEFAULT_RESET_S)),
        ({"x-rate-limit": "700", "x-rate-limit-remaining": "0"}, (0, 700, DEFAULT_RESET_S)),
        (
            {
                "x-ratelimit-limit": "5",
                "x-ratelimit-remaining": "1",
                "x-ratelimit-reset": str(int(NOON.timestamp()) + 90),
            },
            (1, 5, 90.0),
        ),
    ],
)
def test_what_is_left_is_read_as_each_system_says_it(headers, expected):
    remaining, limit, reset_s = expected

    found = read_allowance({**DATE, **headers}, EARLIER)

    assert found == Allowance(remaining=remaining, limit=limit, reset_s=reset_s)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit": "100", "x-ratelimit-reset": "1795344090"},  # ServiceNow: not what is left
        {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "-1"},
        {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "1"},
        {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "²"},
        {"x-ratelimit-limit": "9" * 4000, "x-ratelimit-remaining": "9" * 4000},
    ],
)
def test_what_says_nothing_of_what_is_left_means_nothing(headers):
    assert read_allowance({**DATE, **headers}, NOON) is None


@pytest.mark.parametrize(
    ("reset", "expected"),
    [("nan", DEFAULT_RESET_S), ("tomorrow", DEFAULT_RESET_S), ("0", 1.0), ("1e300", 3600.0), ("-5", 1.0)],
)
def test_a_reset_that_cannot_be_is_bounded(reset, expected):
    headers = {"ratelimit-limit": "10", "ratelimit-remaining": "0", "ratelimit-reset": reset}

    found = read_allowance(headers, NOON)

    assert found is not None
    assert found.reset_s == expected
