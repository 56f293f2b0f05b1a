"""Enough of them, within the time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.settings import ThresholdRule
from correlation.suppression.thresholds import most_within
from foreshock.core.errors import Invalid
from foreshock.testing.records import NOON, seconds

RULE = ThresholdRule.model_validate({"name": "few", "matchers": ['a="b"'], "alerts": 3, "within": "60s"})


@pytest.mark.parametrize(
    ("seen", "alerts", "cis"),
    [
        ([], 0, 0),
        ([(0, "a"), (60, "a")], 2, 1),
        ([(0, "a"), (61, "a")], 1, 1),
        ([(0, "a"), (50, "b"), (70, "b"), (71, "c"), (300, "d")], 3, 2),
        ([(0, ""), (1, "")], 2, 0),
    ],
)
def test_the_most_that_came_within_the_time(seen: list[tuple[float, str]], alerts: int, cis: int):
    assert most_within(RULE, [(NOON + seconds(at_s), ci) for at_s, ci in seen]) == (alerts, cis)


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(("", "a", "b", "c"))), max_size=12))
def test_it_is_what_looking_at_every_window_finds(seen: list[tuple[int, str]]):
    ordered = [(NOON + seconds(at_s), ci) for at_s, ci in sorted(seen)]
    alerts = cis = 0
    for first, _ in ordered:
        inside = [ci for at, ci in ordered if first <= at <= first + RULE.within]
        alerts, cis = max(alerts, len(inside)), max(cis, len(set(inside) - {""}))

    assert most_within(RULE, ordered) == (alerts, cis)


def test_a_threshold_that_counts_nothing_is_refused():
    with pytest.raises(ValueError, match="neither `alerts` nor `cis` is 2") as refused:
        ThresholdRule.model_validate({"name": "few", "matchers": ['a="b"'], "alerts": 1})
    assert isinstance(refused.value.errors()[0]["ctx"]["error"], Invalid)  # type: ignore[attr-defined]
