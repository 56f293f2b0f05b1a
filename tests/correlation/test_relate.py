"""What makes two alerts one problem, and in which words."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation import rules as rules_package
from correlation.relate import Candidate, Traces, View, link, relate
from correlation.rule import Rule, RuleKind, build, shipped
from correlation.settings import RelateSettings, WaveSettings
from foreshock.core.model import CI, Alert, Link, Member, Relationship, Situation
from foreshock.core.registry import kinds
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, holding, seconds

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


def looking(*open_: Situation, alerts: Sequence[Alert] = (), topology: Topology = SHOP, **settings: Any) -> View:
    """A view of open situations, half a minute after the latest of them took its last alert at the usual tempo."""
    traces = Traces(topology)
    by_name = {each.fingerprint: each for each in alerts}
    for situation in open_:
        for member in situation.members:
            traces.add(situation, by_name[member])
    view = View(traces, topology, SETTINGS.model_copy(update=settings), 0.0, by_name)
    view.now = NOON
    return view


def candidates(new: Alert, *open_: Alert, topology: Topology = SHOP, **settings: Any) -> list[Candidate]:
    """What the rules say of ``new`` while each of ``open_`` has a situation of its own: S-1, S-2, …"""
    situations = [holding(f"S-{number}", other) for number, other in enumerate(open_, 1)]
    view = looking(*situations, alerts=open_, topology=topology, **settings)
    view.now = new.first_seen
    return sorted(relate(new, RULES.values(), view), key=lambda c: c.situation)


def strength(new: Alert, *open_: Alert, **settings: Any) -> float:
    """Of what relates ``new`` to the first of them; 0 where nothing does."""
    found = [candidate for candidate in candidates(new, *open_, **settings) if candidate.situation == "S-1"]
    return found[0].strength if found else 0.0


@pytest.mark.parametrize(("gap_s", "left"), [(0, 1.0), (150, 0.5), (450, 0.1), (1201, 0.0)])
def test_time_weakens_a_link_by_the_gap_and_by_how_long_the_situation_has_been_quiet(gap_s: float, left: float):
    no_walk = {"fade": timedelta(seconds=1), "tempo": 1e9}

    assert strength(alert("db1", gap_s, "new"), alert("db1"), **no_walk) == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize(
    ("new", "other", "began_s", "helps"),
    [
        pytest.param("esx", "pdu", 540, True, id="the batteries lasted nine minutes"),
        pytest.param("db1", "pdu", 540, True, id="further up as well"),
        pytest.param("esx", "pdu", 1100, True, id="a little, when they should have been empty before"),
        pytest.param("api", "db1", 540, False, id="another relationship is not that slow"),
        pytest.param("pdu", "esx", 540, False, id="what suffers does not come first"),
    ],
)
def test_a_failure_may_take_its_time_along_a_relationship(new: str, other: str, began_s: float, helps: bool):
    plain = strength(alert(new, began_s), alert(other))
    slow = strength(alert(new, began_s), alert(other), delays={"powered_by": timedelta(minutes=10)})

    assert slow > plain if helps else slow == plain
    if helps and began_s < 600:
        assert slow == pytest.approx(strength(alert(new), alert(other)), abs=0.1)


def test_a_situation_that_grew_fast_and_stopped_takes_less_than_one_that_grows_slowly():
    slow, fast = holding("S-1", alert("api"), tempo_s=30.0), holding("S-2", alert("api"), tempo_s=2.0)
    view = looking(slow, fast, alerts=[alert("api")])
    view.now = NOON + seconds(64)

    one, other = sorted(relate(alert("db1", 64), RULES.values(), view), key=lambda c: c.situation)
    assert one.strength > 1.2 * other.strength


def test_alerts_on_one_ci_are_one_problem_whatever_the_topology_knows_of_it():
    assert strength(alert("db1", 5, "new"), alert("db1")) > 0.9
    assert strength(alert("stranger", 5, "new"), alert("stranger")) > 0.9


@pytest.mark.parametrize(
    ("new", "other", "via", "at_least"),
    [
        pytest.param("api", "db1", "db1", 0.7, id="on what it depends on"),
        pytest.param("db1", "api", "db1", 0.7, id="on what depends on it"),
        pytest.param("shop", "db1", "db1", 0.49, id="two steps up"),
        pytest.param("shop", "esx", "esx", 0.34, id="three steps"),
        pytest.param("pdu", "esx", "pdu", 0.7, id="on the only thing that could be to blame"),
    ],
)
def test_failures_spread_along_the_topology(new: str, other: str, via: str, at_least: float):
    (found,) = candidates(alert(new), alert(other))

    assert (found.rule, found.via) == (RULES["topology"].tag, via)
    assert found.strength >= at_least


def test_the_more_could_be_to_blame_the_less_one_of_it_is():
    one, three = graph("a depends_on x"), graph(*(f"a depends_on {x}" for x in "xyz"))
    only_shared = {"explains": 1.0}

    assert strength(alert("x"), alert("a"), topology=one, **only_shared) > 0.8
    assert strength(alert("x"), alert("a"), topology=three, **only_shared) < 0.65


def test_what_depends_on_the_same_is_near_but_weaker_than_a_dependency():
    sibling, dependency = strength(alert("api"), alert("web")), strength(alert("api"), alert("db1"))

    assert 0.0 < sibling < dependency / 2


def test_several_weak_ways_add_up():
    alone = strength(alert("api"), alert("web"))
    situation = holding("S-1", alert("web"), alert("esx"), alert("shop"))
    view = looking(situation, alerts=[alert("web"), alert("esx"), alert("shop")])

    (found,) = relate(alert("api"), RULES.values(), view)
    assert found.strength > alone


@pytest.mark.parametrize(
    ("new", "other"),
    [("shop", "stranger"), ("stranger", "other"), ("stranger", "shop")],
    ids=["not in the topology", "two that are not", "the other way round"],
)
def test_what_has_nothing_to_do_with_each_other_is_not_related(new: str, other: str):
    assert candidates(alert(new), alert(other)) == []


def test_things_behind_one_hub_are_not_related_and_the_hub_explains_each_of_them():
    hub = graph(*(f"n{i} depends_on switch" for i in range(100)))

    assert strength(alert("n1"), alert("n2"), topology=hub) < 0.05
    assert strength(alert("n1"), alert("switch"), topology=hub) >= 0.7
    assert strength(alert("switch"), alert("n1"), topology=hub) >= 0.7


def test_an_alert_that_names_a_second_ci_is_related_through_it():
    slow_call = alert("unknown-pod")
    slow_call.peers = ("db1",)

    assert strength(slow_call, alert("api")) > 0.3
    assert strength(alert("api"), slow_call) > 0.3


def test_doubt_is_inherited():
    """What joined weakly is a weak reason for the next one."""
    sure, doubtful = holding("S-1", alert("db1")), holding("S-2", alert("db1"))
    weak = Link(alert="on-db1", other="x", strength=0.4, rule="topology@2", path=(), via="", gap_s=0.0)
    doubtful.members["on-db1"] = Member(joined_at=NOON, link=weak)

    one, other = sorted(
        relate(alert("api"), RULES.values(), looking(sure, doubtful, alerts=[alert("db1")])), key=lambda c: c.situation
    )
    assert other.strength < 0.7 * one.strength


def test_a_failure_explains_the_small_situations_it_leads_to_and_not_those_that_stand_for_themselves():
    small = holding("S-1", alert("api"))
    large = holding("S-2", alert("web"), alert("u1"), alert("u2"), alert("u3"))
    view = looking(small, large, alerts=[alert("api"), alert("web"), alert("u1"), alert("u2"), alert("u3")])

    found = {candidate.situation: candidate for candidate in relate(alert("db1"), RULES.values(), view)}
    assert (found["S-1"].explains, found["S-2"].explains) == (True, False)


@pytest.mark.parametrize("leaf", ["leaf0", "leaf1999"])
def test_a_hub_explains_a_failure_on_any_of_its_dependents_however_many_it_has(leaf: str):
    hub = graph(*(f"leaf{number} depends_on hub" for number in range(2_000)))

    [found] = candidates(alert("hub"), alert(leaf), topology=hub)

    assert found.explains
    assert (found.there, found.via) == (leaf, "hub")


def test_of_very_many_situations_below_a_hub_the_newest_are_looked_at_and_the_rest_is_counted():
    leaves = [alert(f"leaf{number}") for number in range(600)]
    hub = graph(*(f"{leaf.ci} depends_on hub" for leaf in leaves))
    view = looking(*(holding(f"S-{n}", leaf) for n, leaf in enumerate(leaves)), alerts=leaves, topology=hub)

    found = {candidate.situation for candidate in relate(alert("hub"), RULES.values(), view) if candidate.explains}

    assert found == {f"S-{number}" for number in range(600 - 512, 600)}
    assert view.cut == 600 - 512


def test_a_situation_that_a_new_wave_has_followed_attracts_little():
    fresh, over = holding("S-1", alert("db1")), holding("S-2", alert("db1"), superseded_by="S-1")
    found = relate(alert("api"), RULES.values(), looking(fresh, over, alerts=[alert("db1")]))

    one, other = sorted(found, key=lambda c: c.situation)
    assert other.strength < one.strength / 2


def test_two_situations_in_one_place_are_akin_and_others_are_not():
    api, web, stranger = alert("api"), alert("web"), alert("stranger")
    db1, esx = alert("db1"), alert("esx")
    view = looking(
        holding("S-1", api, db1), holding("S-2", web, esx), holding("S-3", stranger),
        alerts=[api, web, stranger, db1, esx],
    )  # fmt: skip

    assert view.akin("S-1", "S-2", NOON.timestamp()) > 0.15
    assert view.akin("S-1", "S-3", NOON.timestamp()) == 0.0


def in_waves(*times_s: float, **fields: Any) -> tuple[Traces, Situation]:
    """A situation whose alerts joined so many seconds after noon."""
    alerts = [alert("db1", time_s, f"a{number}") for number, time_s in enumerate(times_s)]
    situation, traces = holding("S-1", *alerts, **fields), Traces()
    for each in alerts:
        traces.add(situation, each)
    return traces, situation


FIRST = [float(i) for i in range(20)]


@pytest.mark.parametrize(
    ("later", "wave"),
    [
        pytest.param([300 + i / 2 for i in range(20)], 20, id="as many again, at once"),
        pytest.param([300 + i / 2 for i in range(19)], 0, id="too few"),
        pytest.param([300 + 2 * i for i in range(20)], 0, id="one by one"),
        pytest.param([60 + i / 2 for i in range(20)], 0, id="while the first is still coming in"),
        pytest.param([*(230 + i for i in range(60)), *(300 + i / 2 for i in range(20))], 0, id="no rise"),
    ],
)
def test_many_alerts_at_once_in_a_situation_that_had_calmed_down_are_a_new_wave(later: list[float], wave: int):
    traces, situation = in_waves(*FIRST, *later)

    found = traces.wave(situation, WaveSettings())
    assert found == tuple(f"a{len(FIRST) + i}" for i in range(wave))


def test_a_first_burst_is_no_new_wave_even_if_a_stray_alert_came_long_before():
    traces, situation = in_waves(-600.0, *FIRST)

    assert traces.wave(situation, WaveSettings()) == ()


def test_a_wave_is_split_off_once():
    traces, situation = in_waves(*FIRST, *(300 + i / 2 for i in range(20)), superseded_by="S-2")

    assert traces.wave(situation, WaveSettings()) == ()


def test_the_latest_alert_of_a_situation_on_a_ci_speaks_for_it_and_moves_with_its_onset():
    traces = Traces()
    first, second = alert("db1", 0, "first"), alert("db1", 60, "second")
    situation = holding("S-1", first, second)
    traces.add(situation, first)
    traces.add(situation, second)
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
        traces.add(holding("S-1", *members), member)
    traces.add(holding("S-2", members[0]), members[0])

    traces.drop("S-1", members)
    assert (list(traces.by_ci), list(traces.of)) == (["db1"], ["S-2"])

    traces.drop("S-2", members)
    assert (traces.by_ci, traces.of) == ({}, {})


@pytest.mark.parametrize(
    ("new", "other", "path", "words"),
    [
        ("api", "db1", ("api", "db1"), "api depends on db1, which also failed, 12 s apart"),
        ("db1", "shop", ("db1", "api", "shop"), "shop depends on db1 and also failed, 12 s apart"),
        ("api", "web", ("api", "db1", "web"), "api and web are near each other (api – db1 – web), 12 s apart"),
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
    new, *others = [alert(ci, began_s, f"a{index}") for index, (ci, began_s) in enumerate(placed)]
    situations = [holding(f"S-{index}", other) for index, other in enumerate(others)]
    view = looking(*situations, alerts=others)
    view.now = NOON + seconds(700)

    once, again = (sorted(RULES[kind].relate(new, view), key=repr) for _ in range(2))

    assert once == again
    assert all(0.0 < found.strength <= 1.0 for found in once)
    assert not once or view.spent[RULES[kind].tag] > 0, "it does not tell what it looked at, so nothing bounds it"
