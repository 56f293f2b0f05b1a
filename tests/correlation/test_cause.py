"""Where a problem most likely started."""

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.cause import MAX_CAUSES, doubt, name_of, rank
from correlation.settings import CauseSettings
from foreshock.core.model import CI, Alert, Anomaly, Cause, Change, Direction, Relationship
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

CHAIN = Topology(
    [CI(id=name) for name in ("shop", "api", "db1", "x", "y", "z")],
    [
        Relationship(source="shop", type="depends_on", target="api"),
        Relationship(source="api", type="runs_on", target="db1"),
    ],
)
RACK = Topology(
    [CI(id="rack", kind="rack"), *(CI(id=f"host{n}", kind="host") for n in range(1, 5))],
    [Relationship(source=f"host{n}", type="powered_by", target="rack") for n in range(1, 5)],
)
SETTINGS = CauseSettings()


def alert(ci: str, began_s: float = 0, severity: Severity = Severity.MAJOR, name: str = "Down", **labels: str) -> Alert:
    at = NOON + seconds(began_s)
    return Alert(
        fingerprint=f"{ci}/{name}/{labels}/{began_s}/{severity}", source="x", annotations=b"{}", severity=severity,
        labels=json.dumps({"alertname": name, **labels}).encode(), starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def anomaly(ci: str, metric: str = "latency", score: float = 10.0) -> Anomaly:
    return Anomaly(
        ci=ci, metric=metric, onset=NOON, at=NOON, score=score, direction=Direction.UP, observed=2.0, expected=1.0,
        detector="test@1",
    )  # fmt: skip


def order(*alerts: Alert, **evidence: Any) -> list[str]:
    return [cause.ci for cause in rank(alerts, CHAIN, **evidence)]


class Often:
    """Conditions of these names begin all the time; the others hardly ever."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def surprise(
        self, fingerprint: str, name: str, now: datetime, span_s: float, cis: float, among: float, here: int
    ) -> float:
        return 0.1 if name in self._names else 7.0


def points(cause: Cause) -> dict[str, float]:
    return {part.name: part.points for part in cause.contributions}


def test_what_the_others_depend_on_comes_first():
    assert order(alert("shop", 0), alert("api", 5), alert("db1", 9)) == ["db1", "api", "shop"]


def test_of_things_that_do_not_depend_on_each_other_the_first_to_fail_comes_first():
    assert order(alert("x", 120), alert("y", 0), alert("z", 60)) == ["y", "z", "x"]


def test_of_things_that_failed_together_the_worst_comes_first():
    assert order(alert("x"), alert("y", severity=Severity.CRITICAL)) == ["y", "x"]


def test_ties_go_to_the_smaller_name():
    assert order(alert("y"), alert("x")) == ["x", "y"]


def test_what_hardly_ever_happens_says_more_than_what_happens_all_the_time():
    noisy = [alert("x", 0, name="CpuHigh"), alert("z", 1, name="CpuHigh")]

    assert order(*noisy, alert("y", 30, name="RaidDegraded"), usual=Often("CpuHigh"))[0] == "y"
    assert order(*noisy, alert("y", 30, name="RaidDegraded"))[0] == "x"


def test_a_symptom_says_less_of_a_ci_the_more_of_them_show_it():
    many = [alert(ci, name="MemoryLow") for ci in ("a", "b", "c")]

    assert order(*many, alert("x", name="DiskSlow"), usual=Often())[0] == "x"


def test_a_stray_alert_long_before_does_not_make_all_others_look_late():
    strays = [alert("a", -900, name="NtpSkew")]
    fault = [alert(ci, 0, name="NtpSkew") for ci in ("b", "c", "d", "e")]

    found = order(*strays, *fault, alert("x", 5, name="RaidDegraded"), usual=Often("NtpSkew"))

    assert found[0] == "x"
    assert found.index("a") > 0


def test_what_all_members_show_points_to_what_they_share_though_it_is_silent():
    everywhere = [alert(f"host{n}", n, name="PowerLost") for n in range(1, 5)]

    causes = rank(everywhere, RACK, usual=Often("NtpSkew"))

    assert causes[0].ci == "rack"
    assert "4 of 4 host CIs that depend on it show PowerLost" in causes[0].reason


def test_one_member_alone_does_not_point_to_what_the_members_share():
    causes = rank([alert("host1", name="PowerLost"), alert("host2", name="NtpSkew")], RACK, usual=Often("NtpSkew"))

    assert causes[0].ci == "host1"
    assert "members" not in {part.name for cause in causes for part in cause.contributions}


def test_a_symptom_that_also_shows_on_what_it_depends_on_speaks_less_for_a_ci():
    (first, second, *_) = rank([alert("api", name="Slow"), alert("db1", name="Slow")], CHAIN)

    assert first.ci == "db1"
    assert points(second)["explained"] < 0


def test_what_it_depends_on_explains_another_symptom_only_if_it_failed_before():
    def explained(api_s: float, db1_s: float) -> float:
        causes = rank([alert("api", api_s, name="Slow"), alert("db1", db1_s, name="DiskLost")], CHAIN)
        return next(points(cause).get("explained", 0.0) for cause in causes if cause.ci == "api")

    assert explained(api_s=20, db1_s=0) < 0
    assert explained(api_s=0, db1_s=20) == 0
    assert explained(api_s=0, db1_s=0) == 0


def test_things_that_depend_on_each_other_do_not_explain_each_other():
    ring = Topology(
        [CI(id="service"), CI(id="instance")],
        [
            Relationship(source="service", type="depends_on", target="instance"),
            Relationship(source="instance", type="depends_on", target="service"),
        ],
    )

    causes = rank([alert("service"), alert("instance")], ring)

    assert all("explained" not in points(cause) for cause in causes)


def test_a_metric_is_evidence_for_a_ci_without_alerts():
    assert order(alert("shop"), anomalies=[anomaly("db1")])[0] == "db1"
    assert order(alert("shop"))[0] == "shop"


def test_where_it_is_known_which_metric_broke_others_say_less():
    both = [anomaly("x", "latency", 6.0), anomaly("y", "queue", 10.0)]

    assert order(anomalies=both)[:2] == ["y", "x"]
    assert order(anomalies=both, focus="latency")[:2] == ["x", "y"]


def test_a_change_just_before_speaks_for_what_it_changed_and_one_afterwards_does_not():
    alerts = (alert("x"), alert("y"))
    change = Change(id="C1", at=NOON - seconds(60), title="deploy 4.2", cis=("y",))
    later = Change(id="C1", at=NOON + seconds(60), title="deploy 4.2", cis=("y",))

    causes = rank(alerts, CHAIN, changes=[change])

    assert [cause.ci for cause in causes] == ["y", "x"]
    assert "deploy 4.2 changed it 60 s before" in causes[0].reason
    assert order(*alerts, changes=[later]) == ["x", "y"]


def test_an_alert_also_speaks_of_the_other_end_it_names():
    calls = [alert(ci, name="SlowCall", peer="z") for ci in ("x", "y")]

    assert "z" in order(*calls)
    assert "z" not in order(*(alert(ci, name="SlowCall", other="z") for ci in ("x", "y")))


def test_a_peer_that_the_ci_depends_on_anyway_is_not_counted_twice():
    with_peer = rank([alert("api", name="SlowCall", peer="db1")], CHAIN)
    without = rank([alert("api", name="SlowCall")], CHAIN)

    assert [(cause.ci, cause.score) for cause in with_peer] == [(cause.ci, cause.score) for cause in without]


def test_a_ci_that_only_labels_name_comes_after_one_that_the_topology_knows():
    (first, second) = rank([alert("a-stranger"), alert("x")], CHAIN)

    assert (first.ci, second.ci) == ("x", "a-stranger")
    assert points(second)["unknown"] < 0


def test_the_one_told_last_stays_first_until_another_is_clearly_ahead():
    near, clear = (alert("x", 20), alert("y", 0)), (alert("x", 120), alert("y", 0))

    assert order(*near)[0] == "y"
    assert order(*near, first_so_far="x")[0] == "x"
    assert order(*clear, first_so_far="x")[0] == "y"
    assert order(*near, first_so_far="gone")[0] == "y"


def test_a_lonely_ci_is_its_own_cause():
    (cause,) = rank([alert("x"), alert("x", 50, Severity.CRITICAL)], CHAIN)

    assert (cause.ci, cause.score) == ("x", pytest.approx(1.0, abs=1e-3))
    assert doubt([cause], SETTINGS) == ""


def test_alerts_without_a_ci_have_no_cause_and_it_is_said_why():
    assert rank([alert("")], CHAIN) == ()
    assert rank([], CHAIN) == ()
    assert doubt((), SETTINGS) == "not enough evidence for a cause: no alert is bound to a CI"


def test_where_many_are_as_likely_none_is_named():
    causes = rank([alert(ci) for ci in ("a", "b", "c", "d", "e", "f")], CHAIN)

    assert doubt(causes, SETTINGS) == "not enough evidence for one cause: a has 17% of it, 25% are asked for"
    assert doubt(causes, CauseSettings(enough=0.1)) == ""


def test_what_a_person_said_needs_no_evidence():
    assert doubt([Cause(ci="x", score=0.0, contributions=(), said_by="Ada")], SETTINGS) == ""


def test_the_list_is_bounded():
    assert len(rank([alert(f"ci{i}", i) for i in range(50)], CHAIN)) == MAX_CAUSES


def test_the_name_of_a_condition_is_its_alertname_or_the_first_label():
    assert name_of({"instance": "a", "alertname": "Down"}) == "Down"
    assert name_of({"check": "ping"}) == "ping"


@pytest.mark.parametrize("hub", [20_000])
def test_a_hub_that_many_depend_on_is_one_candidate_among_others(hub: int):
    topology = Topology(
        [CI(id="core", kind="switch"), *(CI(id=f"host{n}", kind="host") for n in range(hub))],
        [Relationship(source=f"host{n}", type="depends_on", target="core") for n in range(hub)],
    )

    causes = rank([alert("host1", name="DiskFull"), alert("host2", name="Oops")], topology)

    assert causes[0].ci != "core"


CIS = ["shop", "api", "db1", "x", "stranger", ""]
ALERTS = st.lists(
    st.builds(
        alert,
        st.sampled_from(CIS),
        st.integers(0, 3).map(lambda n: n * 40),
        st.sampled_from(Severity),
        st.sampled_from(["Down", "Slow", "Full"]),
    ),
    max_size=8,
)
ANOMALIES = st.lists(
    st.builds(anomaly, st.sampled_from(CIS[:4]), st.sampled_from(["latency", "errors"]), st.floats(0, 50)), max_size=4
)


@given(ALERTS, ANOMALIES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter_and_a_repeat_changes_nothing(
    alerts: list[Alert], anomalies: list[Anomaly], random: Any
):
    shuffled = [*alerts, *alerts[:2]]
    random.shuffle(shuffled)

    causes = rank(alerts, CHAIN, anomalies=anomalies, usual=Often("Slow"))

    assert rank(shuffled, CHAIN, anomalies=anomalies, usual=Often("Slow")) == causes


@given(ALERTS, ANOMALIES, st.sampled_from(CIS))
def test_contributions_add_up_and_scores_are_in_range_and_in_order(
    alerts: list[Alert], anomalies: list[Anomaly], first_so_far: str
):
    causes = rank(alerts, CHAIN, anomalies=anomalies, first_so_far=first_so_far)

    held = causes[1:] if causes and causes[0].ci == first_so_far else causes
    assert all(one.score >= other.score - 1e-3 for one, other in pairwise(held))  # parts are rounded one by one
    assert sum(cause.score for cause in causes) <= 1.001
    for cause in causes:
        assert 0.0 <= cause.score <= 1.0
        assert sum(part.points for part in cause.contributions) == pytest.approx(cause.score, abs=1e-3)  # rounded
        assert all(part.evidence for part in cause.contributions)
