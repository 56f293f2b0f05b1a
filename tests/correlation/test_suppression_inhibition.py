"""What explains what: by equal labels, and along the topology."""

from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlation.settings import SuppressSettings
from correlation.suppression import inhibition
from correlation.suppression.inhibition import Inhibition, _Circles
from foreshock.core.model import CI, Alert, Relationship, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology, TopologyDelta
from foreshock.testing.records import NOON, seconds


def alert(name: str, ci: str = "", *, severity: Severity = Severity.CRITICAL, at_s: float = 0, **labels: str) -> Alert:
    return Alert(
        fingerprint=f"{name}@{ci}",
        source="alertmanager",
        labels=bytes(encode_texts({"alertname": name, "severity": severity.word, **labels})),
        annotations=b"{}",
        severity=severity,
        starts_at=NOON + seconds(at_s),
        first_seen=NOON,
        last_seen=NOON,
        ci=ci,
    )


def topology(*relations: str) -> Topology:
    ties = [Relationship(source=s, type=t, target=o) for s, t, o in (one.split() for one in relations)]
    names = dict.fromkeys(name for tie in ties for name in (tie.source, tie.target))
    return Topology([CI(id=name) for name in names], ties)


class Scene:
    def __init__(self, *relations: str, silenced: str = "", **suppress: Any) -> None:
        self.alerts: dict[str, Alert] = {}
        self.silenced = silenced
        self.inhibition = Inhibition(self.alerts.get)
        self.inhibition.use(SuppressSettings.model_validate(suppress), topology(*relations), ())

    def rise(self, *alerts: Alert) -> "Scene":
        for one in alerts:
            self.alerts[one.fingerprint] = one
            self.inhibition.rose(one)
        return self

    def explained_by(self, one: Alert) -> str:
        found = self.inhibition.explained(one, self.quiet)
        return "" if found is None else found.source

    def quiet(self, one: Alert) -> bool:
        return one.fingerprint == self.silenced


HOST = "app runs_on host"
DOWN, SLOW = alert("HostDown", "host"), alert("Slow", "app", severity=Severity.WARNING)


def test_an_alert_upstream_explains_those_downstream_and_says_by_which_way():
    scene = Scene("shop depends_on app", HOST).rise(DOWN)
    late = alert("Late", "shop")

    assert scene.explained_by(late) == "HostDown@host"
    assert scene.inhibition.name(late, scene.quiet, "").reason == (
        "explained by HostDown on host, which is active upstream (shop → app → host)"
    )
    assert scene.explained_by(DOWN) == ""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (alert("HostDown", "other"), "another CI"),
        (alert("HostDown", "host", severity=Severity.MAJOR), "not severe enough"),
        (alert("HostDown", "host", at_s=-1801), "it began too long before"),
        (alert("HostDown", "host", at_s=1801), "it began too long after"),
        (alert("AppDown", "app"), "on the same CI"),
    ],
)
def test_what_explains_nothing(source: Alert, why: str):
    assert Scene(HOST).rise(source).explained_by(SLOW) == "", why


def test_what_is_downstream_explains_nothing_upstream_nor_does_a_neighbour():
    assert Scene(HOST).rise(alert("AppDown", "app")).explained_by(DOWN) == ""
    assert Scene("host connects_to switch").rise(alert("Down", "switch")).explained_by(DOWN) == ""


def test_types_severity_length_of_the_way_and_matchers_are_settings():
    far = ("shop depends_on app", HOST)
    late = alert("Late", "shop")

    def explained(**upstream: Any) -> bool:
        return bool(Scene(*far, upstream=upstream).rise(DOWN).explained_by(late))

    assert explained(max_cost=2)
    assert not explained(max_cost=1)
    assert not explained(relationships=["depends_on"])
    assert not explained(source_matchers=['alertname="NetworkDown"'])
    assert not explained(target_matchers=['severity="warning"'])
    assert not explained(enabled=False)
    major = alert("HostDown", "host", severity=Severity.MAJOR)
    assert Scene(*far, upstream={"min_severity": "major"}).rise(major).explained_by(late)


def test_a_walk_is_bounded_and_the_bound_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inhibition, "MAX_REACH", 2)
    scene = Scene(*(f"app depends_on d{index}" for index in range(9))).rise(*(alert("Down", f"d{i}") for i in range(9)))

    assert scene.explained_by(alert("Late", "app")) == "Down@d0"
    assert scene.inhibition.walks_cut == 1


def test_the_nearest_explains_then_the_earliest():
    late = alert("Late", "shop")
    scene = Scene("shop depends_on app", HOST).rise(DOWN, alert("AppDown", "app", at_s=20), alert("AppHot", "app"))

    assert scene.explained_by(late) == "AppHot@app"


def test_what_is_silenced_explains_nothing_along_the_topology():
    assert Scene(HOST, silenced="HostDown@host").rise(DOWN).explained_by(SLOW) == ""


def test_cis_that_depend_on_each_other_explain_nothing_to_each_other():
    circle = (
        "a depends_on b",
        "b depends_on c",
        "c depends_on d",
        "d depends_on e",
        "e depends_on a",
        "a depends_on x",
    )
    scene = Scene(*circle).rise(*(alert("Down", ci) for ci in "abcde"))
    assert [scene.explained_by(scene.alerts[f"Down@{ci}"]) for ci in "abcde"] == [""] * 5

    scene.rise(alert("Down", "x"))

    assert scene.explained_by(scene.alerts["Down@a"]) == "Down@x"


def test_the_end_of_what_explained_is_told_once():
    scene = Scene(HOST).rise(DOWN)
    assert scene.explained_by(SLOW)
    assert scene.inhibition.released() == []

    scene.inhibition.fell(DOWN)

    assert scene.inhibition.released() == ["Slow@app"]
    assert scene.inhibition.released() == []
    assert scene.explained_by(SLOW) == ""


def test_a_source_that_is_no_longer_that_severe_explains_no_more():
    scene = Scene(HOST).rise(DOWN)
    assert scene.explained_by(SLOW)

    DOWN.severity = Severity.WARNING
    try:
        scene.inhibition.changed(DOWN)
        assert "Slow@app" in scene.inhibition.released()
        assert scene.explained_by(SLOW) == ""
    finally:
        DOWN.severity = Severity.CRITICAL


def test_who_was_named_stays_named_while_that_holds():
    late = alert("Late", "shop")
    scene = Scene("shop depends_on app", HOST).rise(DOWN)
    named = scene.inhibition.name(late, scene.quiet, "")
    scene.rise(alert("AppDown", "app"))

    assert scene.inhibition.name(late, scene.quiet, named.id).id == "HostDown@host"
    scene.inhibition.fell(DOWN)
    assert scene.inhibition.name(late, scene.quiet, named.id).id == "AppDown@app"


# ---- by labels ------------------------------------------------------------------------------------------------------

WORSE = {
    "name": "worse",
    "source_matchers": ['severity="critical"'],
    "target_matchers": ['severity=~"warning|info"'],
    "equal": ["cluster"],
}


def by_labels(*rules: Any) -> Scene:
    return Scene(inhibit=list(rules), upstream={"enabled": False})


def test_a_source_inhibits_a_target_with_equal_labels_an_absent_one_is_empty():
    warning = Severity.WARNING
    here, there = alert("A", "x", severity=warning, cluster="one"), alert("A", "y", severity=warning, cluster="two")
    nowhere = alert("A", "z", severity=warning)
    scene = by_labels(WORSE).rise(alert("Down", "1", cluster="one"), alert("Down", "2"))

    assert [scene.explained_by(one) for one in (here, there, nowhere)] == ["Down@1", "", "Down@2"]
    assert scene.inhibition.name(here, scene.quiet, "").reason == (
        "inhibited by Down on 1, which is active (rule “worse”)"
    )


def test_what_matches_both_sides_is_not_inhibited_by_its_like():
    both = {"name": "any", "source_matchers": ['alertname=~".+"'], "target_matchers": ['severity="warning"']}
    one, other = alert("A", "x", severity=Severity.WARNING), alert("B", "y", severity=Severity.WARNING)
    scene = by_labels(both).rise(one, other)

    assert (scene.explained_by(one), scene.explained_by(other)) == ("", "")
    scene.rise(alert("C", "z"))
    assert scene.explained_by(one) == "C@z"


def test_rules_in_a_circle_leave_somebody_to_be_heard():
    first = {"name": "1", "source_matchers": ['alertname="A"'], "target_matchers": ['alertname="B"']}
    second = {"name": "2", "source_matchers": ['alertname="B"'], "target_matchers": ['alertname="A"']}
    scene = by_labels(first, second).rise(alert("A", "x"), alert("B", "y"))

    assert [scene.explained_by(scene.alerts[one]) for one in ("A@x", "B@y")] == ["B@y", ""]


def test_alerts_that_come_and_go_leave_nothing_behind():
    scene = by_labels(WORSE)
    target = alert("A", "x", severity=Severity.WARNING)
    for _ in range(100):
        scene.rise(DOWN)
        assert scene.explained_by(target)
        scene.inhibition.fell(DOWN)
    scene.inhibition.released()

    rule = scene.inhibition._rules[0]
    assert (rule._sources, rule._heaps, scene.inhibition._used, scene.inhibition._explained) == ({}, {}, {}, {})


# ---- never in a circle ----------------------------------------------------------------------------------------------

CIS = "abcdef"
TYPES = ("depends_on", "contains", "connects_to")
RULES = st.fixed_dictionaries(
    {
        "source_matchers": st.sampled_from((['alertname="A"'], ['severity="critical"'], ['alertname=~"A|B"'])),
        "target_matchers": st.sampled_from((['alertname="B"'], ['severity!="critical"'], ['alertname=~"B|C"'])),
        "equal": st.sampled_from(([], ["severity"])),
    }
)
RELATIONS = st.lists(
    st.tuples(st.sampled_from(CIS), st.sampled_from(TYPES), st.sampled_from(CIS)).map(" ".join), max_size=12
)
ALERTS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(CIS), st.sampled_from((Severity.CRITICAL, Severity.WARNING))),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=300)
@given(RELATIONS, st.lists(RULES, max_size=3), ALERTS, st.sampled_from(("critical", "warning")))
def test_somebody_is_always_heard(relations: list[str], rules: list[Any], what: list[Any], least: str):
    named = [{**rule, "name": str(index)} for index, rule in enumerate(rules)]
    scene = Scene(*relations, inhibit=named, upstream={"min_severity": least, "max_cost": 2})
    scene.rise(*(alert(name, ci, severity=severity) for name, ci, severity in what))
    explains = nx.DiGraph()
    for one in scene.alerts.values():
        if source := scene.explained_by(one):
            explains.add_edge(source, one.fingerprint)

    assert nx.is_directed_acyclic_graph(explains)


@settings(max_examples=200)
@given(RELATIONS, st.lists(st.tuples(RELATIONS, RELATIONS), min_size=1, max_size=3), ALERTS)
def test_after_deltas_that_explains_which_would_with_the_whole_topology(
    relations: list[str], changes: list[tuple[list[str], list[str]]], what: list[Any]
):
    built = topology(*relations)
    scene = Scene()
    scene.inhibition.use(SuppressSettings(), built, ())
    scene.rise(*(alert(name, ci, severity=severity) for name, ci, severity in what))
    for put, gone in changes:
        told(scene)
        put_ties, gone_ties = topology(*put).relationships, topology(*gone).relationships
        built = built.patched(
            TopologyDelta(put_relationships=tuple(put_ties), gone_relationships=tuple(gone_ties)), version="next"
        )
        scene.inhibition.use(SuppressSettings(), built, scene.alerts.values())
    whole = Scene(*(f"{tie.source} {tie.type} {tie.target}" for tie in built.relationships)).rise(
        *scene.alerts.values()
    )

    assert told(scene) == told(whole)


def told(scene: Scene) -> list[str]:
    """What explains each alert."""
    return [
        scene.inhibition.name(one, scene.quiet, "").reason if scene.explained_by(one) else ""
        for one in scene.alerts.values()
    ]


@given(RELATIONS)
def test_circles_are_the_strongly_connected_parts(relations: list[str]):
    built = topology(*relations)
    graph = nx.DiGraph()
    for ci in built.cis:
        graph.add_node(ci)
        graph.add_edges_from((ci, there) for there, (_, kind) in built.steps_up(ci).items() if kind == "depends_on")
    expected = {frozenset(part) for part in nx.strongly_connected_components(graph)}

    found = _Circles(built, frozenset({"depends_on"}))

    assert {frozenset(other for other in built.cis if found.same(ci, other)) for ci in built.cis} == expected
