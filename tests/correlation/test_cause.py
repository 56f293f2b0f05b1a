"""Where a problem most likely started."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.cause import MAX_CAUSES, rank
from foreshock.core.model import CI, Alert, Relationship
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

CHAIN = Topology(
    [CI(id=name) for name in ("shop", "api", "db1")],
    [
        Relationship(source="shop", type="depends_on", target="api"),
        Relationship(source="api", type="runs_on", target="db1"),
    ],
)


def alert(ci: str, began_s: float = 0, severity: Severity = Severity.MAJOR) -> Alert:
    at = NOON + seconds(began_s)
    return Alert(
        fingerprint=f"{ci}{began_s}", source="x", labels=b"{}", annotations=b"{}", severity=severity,
        starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def order(*alerts: Alert) -> list[str]:
    return [cause.ci for cause in rank(alerts, CHAIN)]


def test_what_the_others_depend_on_comes_first_also_if_it_was_noticed_last():
    assert order(alert("shop", 0), alert("api", 5), alert("db1", 9)) == ["db1", "api", "shop"]


def test_of_things_that_do_not_depend_on_each_other_the_first_to_fail_comes_first():
    assert order(alert("x", 20), alert("y", 0), alert("z", 10)) == ["y", "z", "x"]


def test_of_things_that_failed_together_the_worst_comes_first():
    assert order(alert("x"), alert("y", severity=Severity.CRITICAL)) == ["y", "x"]


def test_ties_go_to_the_smaller_name():
    assert order(alert("b"), alert("a")) == ["a", "b"]


def test_every_point_is_visible_and_they_add_up():
    (first, second) = rank([alert("api", 30), alert("db1", 0, Severity.CRITICAL)], CHAIN)

    assert first.score == pytest.approx(1.0)
    assert first.reason == "1 of 1 other affected CIs depend on it; its alert began first; its worst alert is critical"
    assert (
        second.reason
        == "0 of 1 other affected CIs depend on it; its alert began 30 s after the first; its worst alert is major"
    )


def test_a_lonely_ci_is_its_own_cause():
    (cause,) = rank([alert("x"), alert("x", 50, Severity.CRITICAL)], CHAIN)

    assert (cause.ci, cause.score) == ("x", 1.0)
    assert cause.contributions[0].evidence == "it is the only affected CI"


def test_alerts_without_a_ci_have_no_cause():
    assert rank([alert("")], CHAIN) == ()
    assert rank([], CHAIN) == ()


def test_the_list_is_bounded():
    assert len(rank([alert(f"ci{i}", i) for i in range(50)], CHAIN)) == MAX_CAUSES


ALERTS = st.lists(
    st.builds(alert, st.sampled_from(["shop", "api", "db1", "x", ""]), st.integers(0, 3), st.sampled_from(Severity)),
    max_size=8,
)


@given(ALERTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter_and_scores_are_in_range(alerts: list[Alert], random: Any):
    shuffled = list(alerts)
    random.shuffle(shuffled)

    causes = rank(alerts, CHAIN)

    assert rank(shuffled, CHAIN) == causes
    assert [cause.score for cause in causes] == sorted((cause.score for cause in causes), reverse=True)
    for cause in causes:
        assert 0.0 <= cause.score <= 1.0
        assert sum(part.points for part in cause.contributions) == pytest.approx(cause.score, abs=1e-3)
