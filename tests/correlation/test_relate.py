"""What makes two alerts one problem, and in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation import rules as rules_package
from correlation.relate import Candidate, Traces, View, link, relate
from correlation.rule import Rule, RuleKind, build, shipped
from correlation.settings import RelateSettings
from foreshock.core.model import CI, Alert, Relationship
from foreshock.core.registry import kinds
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

KINDS = kinds(rules_package, "RULE", RuleKind)
RULES: dict[str, Rule] = {rule.name: rule for rule in build(shipped(KINDS), KINDS)}
SETTINGS = RelateSettings()


def graph(*ties: str) -> Topology:
    relationships = [Relationship(source=s, type=t, target=o) for s, t, o in (tie.split() for tie in ties)]
    return Topology(
        [CI(id=n) for n in dict.fromkeys(n for r in relationships for n in (r.source, r.target))], relationships
    )


SHOP = graph("shop depends_on api", "api runs_on db1", "web runs_on db1", "db1 hosted_on esx", "esx powered_by pdu")


def alert(ci: str, began_s: float = 0, name: str = "") -> Alert:
    at = NOON + seconds(began_s)
    return Alert(
        fingerprint=name or f"on-{ci}", source="alertmanager", labels=b"{}", annotations=b"{}", severity=Severity.MAJOR,
        starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def candidates(
    new: Alert, *open_: Alert, topology: Topology = SHOP, threshold: float = 0.0, **settings: Any
) -> list[Candidate]:
    """What the rules say of ``new`` while each of ``open_`` has a situation of its own: S-1, S-2, …"""
    traces = Traces()
    for number, other in enumerate(open_, 1):
        traces.add(f"S-{number}", other)
    view = View(traces, topology, SETTINGS.model_copy(update=settings), threshold)
    return sorted(relate(new, RULES.values(), view), key=lambda c: c.situation)


@pytest.mark.parametrize(
    ("gap_s", "left"),
    [(0, [1.0]), (120, [0.5]), (-120, [0.5]), (240, [0.2]), (600, [1 / 26]), (601, []), (-601, [])],
)
def test_a_gap_between_onsets_weakens_a_link(gap_s: float, left: list[float]):
    found = candidates(alert("db1", gap_s, "new"), alert("db1"))

    assert [candidate.strength for candidate in found] == pytest.approx(left)


def test_alerts_on_one_ci_are_related_by_that_ci_alone():
    (found,) = candidates(alert("db1", 60, "new"), alert("db1"))

    assert (found.rule, found.via, found.other) == (RULES["same_ci"].tag, "db1", "on-db1")
    assert found.strength == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("new", "other", "strength", "via"),
    [
        pytest.param("api", "db1", 1.0, "db1", id="on what it depends on"),
        pytest.param("db1", "api", 1.0, "db1", id="on what depends on it"),
        pytest.param("shop", "db1", 0.5, "db1", id="two steps up"),
        pytest.param("esx", "api", 0.5, "esx", id="two steps down"),
        pytest.param("shop", "esx", 0.5**2, "esx", id="three steps"),
        pytest.param("api", "web", 0.65 * 6 / 8, "db1", id="both depend on the same"),
        pytest.param("shop", "web", 0.65 * 6 / 8 * 0.5, "db1", id="both depend on the same, one through another"),
    ],
)
def test_failures_spread_along_the_topology(new: str, other: str, strength: float, via: str):
    (found,) = candidates(alert(new), alert(other))

    assert (found.rule, found.via) == (RULES["topology"].tag, via)
    assert found.strength == pytest.approx(strength)


@pytest.mark.parametrize(
    ("new", "other"),
    [("shop", "pdu"), ("shop", "stranger"), ("stranger", "other"), ("stranger", "shop")],
    ids=["beyond the horizon", "not in the topology", "two that are not", "the other way round"],
)
def test_what_has_nothing_to_do_with_each_other_is_not_related(new: str, other: str):
    assert candidates(alert(new), alert(other)) == []


def test_things_behind_one_hub_are_hardly_related():
    hub = graph(*(f"n{i} depends_on switch" for i in range(100)))

    (found,) = candidates(alert("n1"), alert("n2"), topology=hub)
    assert found.strength < 0.05
    (up,) = candidates(alert("n1"), alert("switch"), topology=hub)
    assert up.strength == 1.0


def test_a_rule_leaves_out_what_nobody_acts_on():
    assert candidates(alert("shop"), alert("web"), threshold=0.4) == []
    assert len(candidates(alert("shop"), alert("db1"), threshold=0.4)) == 1


def test_the_latest_alert_of_a_situation_on_a_ci_speaks_for_it_and_moves_with_its_onset():
    traces = Traces()
    first, second = alert("db1", 0, "first"), alert("db1", 60, "second")
    traces.add("S-1", first)
    traces.add("S-1", second)
    second.starts_at, first.starts_at = NOON + seconds(500), NOON + seconds(900)

    traces.moved("S-1", second)
    traces.moved("S-1", first)
    traces.moved("S-9", second)

    trace = traces.by_ci["db1"]["S-1"]
    assert (trace.fingerprint, trace.onset_s) == ("second", (NOON + seconds(500)).timestamp())


def test_a_situation_that_is_dropped_leaves_no_trace():
    traces = Traces()
    members = [alert("db1"), alert("api"), alert("db1", 5, "more"), alert("")]
    for member in members:
        traces.add("S-1", member)
    traces.add("S-2", members[0])

    traces.drop("S-1", members)
    assert list(traces.by_ci) == ["db1"]

    traces.drop("S-2", members)
    assert traces.by_ci == {}


@pytest.mark.parametrize(
    ("new", "other", "path", "words"),
    [
        ("api", "db1", ("api", "db1"), "api depends on db1, which also failed, 12 s apart"),
        ("db1", "shop", ("db1", "api", "shop"), "shop depends on db1 and also failed, 12 s apart"),
        ("api", "web", ("api", "db1", "web"), "api and web both depend on db1, 12 s apart"),
        ("db1", "db1", ("db1",), "also on db1, 12 s apart"),
    ],
)
def test_a_link_names_its_path_and_reads_as_a_sentence(new: str, other: str, path: tuple[str, ...], words: str):
    one, two = alert(new, 12, "new"), alert(other)
    (found,) = candidates(one, two)

    reason = link(one, found, two, SHOP)

    assert (reason.path, reason.gap_s, reason.alert, reason.other) == (path, 12.0, "new", f"on-{other}")
    assert RULES[reason.rule.partition("@")[0]].describe(reason) == words


@pytest.mark.parametrize("kind", RULES)
@given(
    st.lists(
        st.tuples(st.sampled_from(["shop", "api", "db1", "web", "esx", "pdu", "stranger"]), st.integers(0, 700)),
        min_size=2,
        max_size=6,
    )
)
def test_a_rule_is_pure_and_its_strengths_lie_between_0_and_1(kind: str, placed: list[tuple[str, int]]):
    traces = Traces()
    new, *others = [alert(ci, began_s, f"a{index}") for index, (ci, began_s) in enumerate(placed)]
    for index, other in enumerate(others):
        traces.add(f"S-{index}", other)
    view = View(traces, SHOP, SETTINGS, 0.01)

    once, again = (sorted(RULES[kind].relate(new, view), key=repr) for _ in range(2))

    assert once == again
    assert all(0.0 < found.strength <= 1.0 for found in once)
    assert not once or view.spent[RULES[kind].tag] > 0, "it does not tell what it looked at, so nothing bounds it"
