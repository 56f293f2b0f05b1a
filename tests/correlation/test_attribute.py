"""Alerts whose labels agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from correlation.relate import Candidate, Traces, View, link
from correlation.rule import Rule, RuleInstance, build
from correlation.rules.attribute import RULE, AttributeConfig
from correlation.settings import RelateSettings
from foreshock.core.errors import Invalid
from foreshock.core.model import CI, Alert, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

ESTATE = Topology([CI(id="sw1", kind="switch"), CI(id="web1", kind="host")])


def alert(name: str, at_s: float = 0, ci: str = "", severity: Severity = Severity.MAJOR, **labels: str) -> Alert:
    at = NOON + seconds(at_s)
    return Alert(
        fingerprint=name, source="alertmanager", labels=bytes(encode_texts({"alertname": name, **labels})),
        annotations=b"{}", severity=severity, starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def rule(**config: Any) -> Rule:
    (built,) = build([RuleInstance(name="mine", kind="attribute", config=config)], {"attribute": RULE})
    return built


def candidates(made: Rule, new: Alert, open_: Mapping[str, Sequence[Alert]]) -> list[Candidate]:
    assert made.index is not None
    for situation, alerts in open_.items():
        for one in alerts:
            made.index.add(situation, one)
    view = View(
        Traces(), ESTATE, RelateSettings(), 0.0, {one.fingerprint: one for alerts in open_.values() for one in alerts}
    )
    view.now = new.last_seen
    return list(made.relate(new, view))


def test_alerts_with_equal_labels_are_related_without_a_ci_and_the_reason_names_the_values():
    made = rule(equal=["cluster", "app"], strength=0.6)
    new = alert("new", 12, cluster="eu", app="shop")
    old = alert("old", 0, cluster="eu", app="shop")

    (found,) = candidates(made, new, {"S-1": [old], "S-2": [alert("other", 0, cluster="us", app="shop")]})

    assert (found.situation, found.other, found.strength) == ("S-1", "old", 0.6)
    assert made.describe(link(new, found, old, ESTATE)) == "they agree: cluster=eu, app=shop; 12 s apart"


@pytest.mark.parametrize(
    "labels", [{}, {"cluster": "eu"}, {"cluster": "eu", "app": ""}], ids=["none", "one of two", "an empty one"]
)
def test_an_alert_that_lacks_a_label_agrees_with_nobody(labels: dict[str, str]):
    made = rule(equal=["cluster", "app"])

    assert candidates(made, alert("new", **labels), {"S-1": [alert("old", **labels)]}) == []


def test_alerts_further_apart_than_the_window_are_not_related():
    made = rule(equal=["app"], window="5m")

    assert candidates(made, alert("new", 301, app="x"), {"S-1": [alert("old", 0, app="x")]}) == []


def test_a_condition_sees_both_alerts_and_the_kind_of_their_ci():
    made = rule(equal=["site"], when='b.ci_kind == "switch" && a.severity != "critical" && gap_s < 60.0')
    open_ = {
        "S-1": [alert("host", 0, "web1", site="ber")],
        "S-2": [alert("near host", 9, "web1", site="ber"), alert("switch", 5, "sw1", site="ber")],
    }

    (found,) = candidates(made, alert("new", 10, site="ber"), open_)

    assert (found.situation, found.other) == ("S-2", "switch")
    assert found.evidence.startswith('site=ber, and b.ci_kind == "switch"')
    assert candidates(made, alert("new", 10, "", Severity.CRITICAL, site="ber"), open_) == []


def test_a_rule_without_equal_labels_looks_at_a_bounded_number_of_alerts():
    made = rule(when='b.labels.app == "x" && a.labels.app == "y"')
    open_ = {f"S-{number}": [alert(f"old{number}", 0, app="x")] for number in range(1000)}

    assert len(candidates(made, alert("new", 1, app="y"), open_)) == 256


@pytest.mark.parametrize(
    ("config", "said", "path"),
    [
        ({}, "links everything", ()),
        ({"when": "true"}, "links everything", ("when",)),
        ({"when": "a.labels.alertname == b.labels.alertname"}, None, None),
        ({"when": 'a.severity != "" || b.severity != ""'}, "links everything", ("when",)),
        ({"when": "gap_s >= 0.0"}, "links everything", ("when",)),
        ({"equal": ["a", "a"]}, "no further label", ("equal", 1)),
        ({"equal": [""]}, "no further label", ("equal", 0)),
        ({"equal": ["a"], "when": "a.label == b.label"}, "undeclared reference", ("when",)),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(config: dict[str, Any], said: str | None, path: tuple[Any, ...] | None):
    if said is None:
        AttributeConfig.model_validate(config)
        return
    with pytest.raises(ValidationError) as refused:
        AttributeConfig.model_validate(config)

    cause = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(cause, Invalid)
    assert said in str(cause)
    assert (cause.path, bool(cause.hint)) == (path, True)


CLUSTERS, APPS = st.sampled_from(["eu", "us", ""]), st.sampled_from(["shop", "mail", ""])


@given(
    st.lists(
        st.tuples(CLUSTERS, APPS, st.integers(0, 900), st.integers(0, 4)),
        max_size=30,
    ),
    st.tuples(st.sampled_from(["eu", "us"]), st.sampled_from(["shop", "mail"]), st.integers(850, 950)),
)
def test_the_index_finds_what_looking_at_every_open_alert_would_find(
    open_: list[tuple[str, str, int, int]], new: tuple[str, str, int]
):
    made = rule(equal=["cluster", "app"], window="5m")
    by_situation: dict[str, list[Alert]] = {}
    for number, (cluster, app, at_s, home) in enumerate(open_):
        by_situation.setdefault(f"S-{home}", []).append(alert(f"a{number:02}", at_s, cluster=cluster, app=app))
    cluster, app, at_s = new

    found = candidates(made, alert("new", at_s, cluster=cluster, app=app), by_situation)

    expected = {}
    for number, (their_cluster, their_app, began_s, home) in enumerate(open_):
        if (their_cluster, their_app) == (cluster, app) and abs(at_s - began_s) <= 300:
            best = expected.setdefault(f"S-{home}", (abs(at_s - began_s), f"a{number:02}"))
            expected[f"S-{home}"] = min(best, (abs(at_s - began_s), f"a{number:02}"))
    assert {one.situation: one.other for one in found} == {home: other for home, (_, other) in expected.items()}
