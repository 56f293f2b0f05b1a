"""What depends on what, and which CI a name means."""

import math
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core import topology as topology_module
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import DIRECTIONS, Direction, Topology, TopologyDelta

NAMES = "abcdefg"


def tie(text: str) -> Relationship:
    source, kind, target = text.split()
    return Relationship(source=source, type=kind, target=target)


def graph(*ties: str, **options: Any) -> Topology:
    relationships = [tie(text) for text in ties]
    names = dict.fromkeys(name for relation in relationships for name in (relation.source, relation.target))
    criticality = options.pop("criticality", {})
    return Topology([CI(id=name, criticality=criticality.get(name, 0)) for name in names], relationships, **options)


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_failures_spread_the_way_the_relationship_says(kind: str):
    topology = graph(f"left {kind} right")

    left_suffers = "right" in topology.upstream("left")
    right_suffers = "left" in topology.upstream("right")

    expected = {
        Direction.SOURCE_SUFFERS: (True, False),
        Direction.TARGET_SUFFERS: (False, True),
        Direction.BOTH_SUFFER: (True, True),
        Direction.NEITHER_SUFFERS: (False, False),
    }
    assert (left_suffers, right_suffers) == expected[DIRECTIONS[kind]]


# ---- walks ----------------------------------------------------------------------------------------------------------


def shortest(ties: list[Relationship], costs: dict[str, float]) -> dict[tuple[str, str], float]:
    """Floyd and Warshall, as an oracle: the cost from each CI to each one it depends on."""
    far = {(a, b): 0.0 if a == b else math.inf for a in NAMES for b in NAMES}
    for relation in ties:
        ways = {
            Direction.SOURCE_SUFFERS: [(relation.source, relation.target)],
            Direction.TARGET_SUFFERS: [(relation.target, relation.source)],
            Direction.BOTH_SUFFER: [(relation.source, relation.target), (relation.target, relation.source)],
            Direction.NEITHER_SUFFERS: [],
        }[DIRECTIONS[relation.type]]
        for way in ways:
            far[way] = min(far[way], costs.get(relation.type, 1.0))
    for middle in NAMES:
        for a in NAMES:
            for b in NAMES:
                far[a, b] = min(far[a, b], far[a, middle] + far[middle, b])
    return far


TIES = st.lists(
    st.builds(
        Relationship,
        source=st.sampled_from(NAMES),
        type=st.sampled_from(["depends_on", "hosts", "connects_to"]),
        target=st.sampled_from(NAMES),
    ),
    max_size=14,
)
COSTS = st.sampled_from([{}, {"hosts": 0.5, "connects_to": 2.0}, {"depends_on": 0.25}])


@settings(max_examples=200)
@given(TIES, COSTS, st.sampled_from([1.0, 2.0, 3.0, 12.0]))
def test_walks_are_the_cheapest_ones_within_the_horizon(ties: list[Relationship], costs: Any, max_cost: float):
    topology = Topology([CI(id=name) for name in NAMES], ties, costs=costs, max_cost=max_cost)
    far = shortest(ties, costs)

    for start in NAMES:
        expected = {name: far[start, name] for name in NAMES if far[start, name] <= max_cost}
        reached = topology.upstream(start)
        assert {name: hop.cost for name, hop in reached.items()} == expected
        assert [hop.cost for hop in reached.values()] == sorted(hop.cost for hop in reached.values())
        below = {name: hop.cost for name, hop in topology.downstream(start).items()}
        assert below == {name: far[name, start] for name in NAMES if far[name, start] <= max_cost}


@settings(max_examples=200)
@given(TIES, COSTS)
def test_a_path_goes_along_relationships_and_costs_what_the_walk_says(ties: list[Relationship], costs: Any):
    topology = Topology([CI(id=name) for name in NAMES], ties, costs=costs)

    for start in NAMES:
        for end, hop in topology.upstream(start).items():
            path = topology.path(start, end)
            assert (path[0], path[-1]) == (start, end)
            kinds = [topology.relation(a, b) for a, b in pairwise(path)]
            assert all(kinds)
            assert sum(costs.get(kind, 1.0) for kind in kinds) == pytest.approx(hop.cost)


@settings(max_examples=100)
@given(TIES)
def test_even_steps_and_costs_that_say_the_same_give_the_same_walk(ties: list[Relationship]):
    even = Topology((), ties)
    same = Topology((), ties, costs={"never used": 2.0})

    for name in NAMES:
        assert list(even.upstream(name).items()) == list(same.upstream(name).items())


@settings(max_examples=200)
@given(TIES, COSTS, st.randoms(use_true_random=False))
def test_the_order_of_cis_and_relationships_does_not_matter(ties: list[Relationship], costs: Any, random: Any):
    cis = [
        CI(id=name, name="the same", kind="vm" if name < "d" else "app", criticality=ord(name) % 3) for name in NAMES
    ]
    one = Topology(cis, ties, costs=costs)
    random.shuffle(cis)
    other = Topology(cis, random.sample(ties, len(ties)), costs=costs)

    for name in NAMES:
        assert list(one.upstream(name).items()) == list(other.upstream(name).items())
        for told in (Topology.around, Topology.services, Topology.neighbours, Topology.dependents_by_kind):
            assert told(one, name) == told(other, name)
        for there in NAMES:
            assert one.relation(name, there) == other.relation(name, there)
            assert one.path(name, there) == other.path(name, there)
            assert one.way(name, there) == other.way(name, there)
    assert one.named("the same") == other.named("the same")


def test_what_depends_on_itself_or_in_a_circle_ends():
    topology = graph("a depends_on a", "a depends_on b", "b depends_on c", "c depends_on a")

    assert {name: hop.cost for name, hop in topology.upstream("a").items()} == {"a": 0.0, "b": 1.0, "c": 2.0}
    assert len(topology.steps_down("a")) == 1


def test_a_ci_nobody_knows_depends_on_itself_only():
    topology = graph("a depends_on b")

    assert list(topology.upstream("stranger")) == ["stranger"]
    assert topology.path("stranger", "a") == ()
    assert topology.path("b", "a") == ()
    assert topology.neighbours("stranger") == ()


def test_of_two_relationships_the_cheaper_one_counts():
    topology = graph("a depends_on b", "a runs_on b", costs={"runs_on": 0.5})

    assert (topology.upstream("a")["b"].cost, topology.relation("a", "b"), len(topology.steps_down("b"))) == (
        0.5,
        "runs_on",
        1,
    )


def test_neighbours_are_seen_from_both_ends():
    topology = graph("a depends_on b", "b hosts c")

    assert topology.neighbours("b") == ("a", "c")
    assert topology.neighbours("c") == ("b",)


def test_a_hub_of_100000_costs_a_moment_and_never_more_than_its_bound():
    number = 100_000
    cis = [CI(id="hub", criticality=1), *(CI(id=f"n{i}", aliases=("localhost",)) for i in range(number))]
    ties = [Relationship(source=f"n{i}", type="connects_to", target="hub") for i in range(number)]
    began = time.perf_counter()

    topology = Topology(cis, ties)

    assert len(topology.upstream("hub")) == len(topology.downstream("hub")) == Topology.MAX_REACH
    assert len(topology.upstream("n7")) == Topology.MAX_REACH
    assert topology.path("n7", "hub") == ("n7", "hub")
    assert len(topology.steps_down("hub")) == number
    assert len(topology.named("localhost")) == number
    assert topology.services("n99999") == ("hub",)
    assert time.perf_counter() - began < 20


def test_a_walk_that_reaches_its_bound_keeps_the_nearest():
    near = [f"start depends_on near{i}" for i in range(300)]
    far = [f"near{i % 300} depends_on far{i}" for i in range(900)]

    reached = graph(*near, *far).upstream("start")

    assert len(reached) == Topology.MAX_REACH
    assert sum(hop.cost == 1.0 for hop in reached.values()) == 300


# ---- names ----------------------------------------------------------------------------------------------------------


def test_a_ci_goes_by_its_id_its_name_and_its_aliases_in_any_case():
    topology = Topology([CI(id="CI-7", name="Orders DB", aliases=("db1.example.com", "10.0.0.7"))])

    for name in ("CI-7", "ci-7", "ORDERS db", "DB1.example.COM", "10.0.0.7"):
        assert topology.named(name) == ("CI-7",)
    assert topology.named("db1") == topology.named("") == ()


def test_a_name_that_several_share_means_all_of_them_but_an_id_means_its_own():
    topology = Topology([CI(id="a", aliases=("web",)), CI(id="b", name="WEB"), CI(id="c", aliases=("a",))])

    assert topology.named("web") == ("a", "b")
    assert topology.named("a") == ("a",)
    assert topology.named("A") == ("a", "c")


# ---- services -------------------------------------------------------------------------------------------------------


def test_a_failure_hurts_every_service_above_it_however_far_the_most_critical_first():
    chain = [f"l{i} depends_on l{i + 1}" for i in range(20)]
    topology = graph(*chain, "shop depends_on l0", "mail depends_on l5", criticality={"shop": 2, "mail": 1})

    assert topology.services("l20") == ("mail", "shop")
    assert topology.services("l3") == ("shop",)
    assert topology.services("shop") == ("shop",)
    assert topology.services("stranger") == ()


def test_the_services_of_one_ci_are_bounded_and_the_most_critical_stay():
    ties = [f"s{i} depends_on core" for i in range(200)]
    topology = graph(*ties, criticality={f"s{i}": 1 if i >= 190 else 3 for i in range(200)})

    services = topology.services("core")

    assert len(services) == Topology.MAX_SERVICES
    assert set(services[:10]) == {f"s{i}" for i in range(190, 200)}


def test_services_in_a_circle_end():
    topology = graph("a depends_on b", "b depends_on a", criticality={"a": 1, "b": 2})

    assert topology.services("a") == ("a", "b")


def test_only_so_many_answers_are_kept_and_those_worked_out_again_are_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(topology_module, "_MAX_HOPS", 7)
    built = graph("a depends_on b", "b depends_on c", "c depends_on d")
    first = {name: dict(built.upstream(name)) for name in "abcd"}

    assert len(built._upstream) <= 2
    assert {name: dict(built.upstream(name)) for name in "abcd"} == first


# ---- versions -------------------------------------------------------------------------------------------------------


def test_a_delta_makes_a_new_version_and_leaves_the_old_one_as_it_was():
    old = graph("web runs_on host1", "web depends_on db", "db runs_on host2", version="1")
    delta = TopologyDelta(
        put_cis=(CI(id="db", name="Orders"), CI(id="host3")),
        gone_cis=("host2", "never there"),
        put_relationships=(tie("db runs_on host3"), tie("web depends_on db")),
        gone_relationships=(tie("db runs_on host2"), tie("web uses db")),
    )

    new = old.patched(delta, version="2")

    assert (new.version, sorted(new.upstream("web"))) == ("2", ["db", "host1", "host3", "web"])
    assert (new.named("orders"), new.named("host2")) == (("db",), ())
    assert len(new.relationships) == 3
    assert (old.version, sorted(old.upstream("web"))) == ("1", ["db", "host1", "host2", "web"])
    assert (old.named("orders"), old.named("host2")) == ((), ("host2",))


def test_what_a_delta_both_ends_and_puts_is_there():
    old = graph("web runs_on host1")

    new = old.patched(
        TopologyDelta(
            put_cis=(CI(id="web", name="Shop"),),
            gone_cis=("web",),
            put_relationships=(tie("web runs_on host1"),),
            gone_relationships=(tie("web runs_on host1"),),
        ),
        version="2",
    )

    assert (new.named("shop"), list(new.needs("web"))) == (("web",), ["host1"])


def test_a_delta_is_the_same_after_json_and_after_msgpack():
    delta = TopologyDelta(put_cis=(CI(id="a", aliases=("10.0.0.1",)),), gone_relationships=(tie("a uses b"),))

    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(delta), type=TopologyDelta) == delta
    assert delta
    assert not TopologyDelta()


# Few ids and names, so that they meet: one CI's name is another's id, names come and go with CIs.
CIS = st.lists(
    st.builds(
        CI,
        id=st.sampled_from(NAMES),
        name=st.sampled_from(["", "A", "x.", "X"]),
        aliases=st.lists(st.sampled_from(["b", "C", "y"]), max_size=2).map(tuple),
        criticality=st.sampled_from([0, 0, 1, 2]),
        kind=st.sampled_from(["vm", "rack"]),
    ),
    max_size=6,
)
DELTAS = st.builds(
    TopologyDelta,
    put_cis=CIS.map(tuple),
    gone_cis=st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
    put_relationships=TIES.map(tuple),
    gone_relationships=TIES.map(tuple),
)


def answers(topology: Topology) -> dict[str, Any]:
    """All that can be asked, in the order in which it is told."""
    names = [*NAMES, "A", "X", "x", "y", "stranger"]
    return {
        "numbers": (len(topology.cis), len(topology.relationships), topology.even),
        "relationships": sorted(topology.relationships, key=str),
        "kinds": [topology.count(kind) for kind in ("vm", "rack")],
        **{f"named {name}": topology.named(name) for name in names},
        **{f"up {name}": list(topology.upstream(name).items()) for name in names},
        **{f"down {name}": list(topology.downstream(name).items()) for name in names},
        **{
            f"steps {name}": (list(topology.steps_up(name).items()), list(topology.steps_down(name).items()))
            for name in names
        },
        **{f"around {name}": topology.around(name) for name in names},
        **{f"dependents {name}": topology.dependents_by_kind(name) for name in names},
        **{f"services {name}": topology.services(name) for name in names},
        "ways": [topology.way(one, other) for one in NAMES for other in NAMES],
    }


@settings(max_examples=60)
@given(CIS, TIES, st.lists(DELTAS, min_size=1, max_size=3), COSTS, st.booleans(), st.randoms(use_true_random=False))
def test_a_patched_topology_answers_like_one_built_whole_in_any_order(
    cis: list[CI], ties: list[Relationship], deltas: list[TopologyDelta], costs: Any, asked: bool, random: Any
):
    topology = Topology(cis, ties, costs=costs)
    for delta in deltas:
        if asked:  # what was worked out before must not be told after
            before = answers(topology)
        new = topology.patched(delta, version="2")
        if asked:
            assert answers(topology) == before
        topology = new
    all_cis, all_ties = list(topology.cis.values()), list(topology.relationships)
    random.shuffle(all_cis)
    random.shuffle(all_ties)

    assert answers(topology) == answers(Topology(all_cis, all_ties, costs=costs))


@settings(max_examples=100)
@given(CIS, TIES, DELTAS)
def test_what_is_not_touched_is_answered_as_before(cis: list[CI], ties: list[Relationship], delta: TopologyDelta):
    old = Topology(cis, ties)
    new = old.patched(delta, version="2")

    assert new.touched is not None
    for name in [*NAMES, "x", "y"]:
        if name not in new.touched.names:
            assert (new.known_as(name), new.named(name)) == (old.known_as(name), old.named(name))
        if name not in new.touched.cis:
            assert new.cis.get(name) == old.cis.get(name)
            assert (new.steps_up(name), new.steps_down(name)) == (old.steps_up(name), old.steps_down(name))


def test_a_relationship_that_comes_twice_is_one():
    topology = graph("a depends_on b", "a uses b", "a depends_on b")

    assert sorted(topology.relationships, key=str) == [tie("a depends_on b"), tie("a uses b")]
    assert len(topology.relationships) == 2
    assert tie("a uses b") in topology.relationships
    assert tie("b uses a") not in topology.relationships


def test_what_was_found_of_services_is_right_at_once_in_the_next_version():
    old = graph("shop depends_on db", "db runs_on host", "mail depends_on mx", criticality={"shop": 1, "mail": 2})
    assert (old.services("host"), old.services("mx")) == (("shop",), ("mail",))

    new = old.patched(TopologyDelta(put_relationships=(tie("mail depends_on db"),)), version="2")

    assert new._services == {
        "mail": ("mail",), "mx": ("mail",), "shop": ("shop",), "db": ("shop", "mail"), "host": ("shop", "mail")
    }  # fmt: skip


def test_a_circle_does_not_vouch_for_a_service_that_left_it():
    old = graph("shop uses a", "a uses b", "b uses c", "c uses a", "b uses host", criticality={"shop": 1})
    assert old.services("host") == ("shop",)

    new = old.patched(TopologyDelta(gone_relationships=(tie("shop uses a"),)), version="2")

    assert [new.services(ci) for ci in ("a", "b", "c", "host")] == [(), (), (), ()]


def test_a_relationship_that_goes_from_a_circle_which_stays_one_leaves_its_services_known():
    old = graph("shop uses a", "a uses b", "b uses c", "c uses a", "a uses c", criticality={"shop": 1})
    assert old.services("c") == ("shop",)

    new = old.patched(TopologyDelta(gone_relationships=(tie("a uses c"),)), version="2")

    assert new._services == old._services


MANY = st.sampled_from("abcdefghij")
MANY_TIES = st.lists(st.builds(Relationship, source=MANY, type=st.sampled_from(["uses", "connects_to"]), target=MANY))
CHANGES = st.builds(
    TopologyDelta,
    put_cis=st.lists(st.builds(CI, id=MANY, criticality=st.integers(0, 2)), max_size=1).map(tuple),
    gone_cis=st.lists(MANY, max_size=1).map(tuple),
    put_relationships=st.lists(MANY_TIES.filter(bool).map(lambda ties: ties[0]), max_size=3).map(tuple),
)
GONE = st.lists(st.integers(0, 99), max_size=3)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 3), min_size=10, max_size=10),
    MANY_TIES,
    st.lists(st.tuples(CHANGES, GONE), min_size=1, max_size=5),
    st.lists(MANY),
    st.integers(1, 3),
    st.integers(2, 8),
)
def test_services_after_deltas_are_those_of_the_whole(
    levels: list[int], ties: list[Relationship], deltas: Any, asked: list[str], most: int, reach: int
):
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(Topology, "MAX_SERVICES", most)
        patching.setattr(Topology, "MAX_REACH", reach)
        topology = Topology(
            (CI(id=id, criticality=level) for id, level in zip("abcdefghij", levels, strict=True)), ties
        )
        for delta, numbers in deltas:
            for ci in asked:
                topology.services(ci)
            there = list(topology.relationships)
            gone = tuple(there[number % len(there)] for number in numbers if there)
            topology = topology.patched(msgspec.structs.replace(delta, gone_relationships=gone), version="2")
            whole = Topology(topology.cis.values(), topology.relationships)
            assert {ci: topology.services(ci) for ci in topology._services} == {
                ci: whole.services(ci) for ci in topology._services
            }


def test_a_way_that_is_asked_for_by_a_person_may_lead_past_more_cis_than_correlation_looks_at():
    pods = [f"namespace contains pod-{number}" for number in range(2 * Topology.MAX_REACH)]
    topology = graph("namespace contains ingress", "pod-7 runs_on node", *pods)

    assert topology.way("ingress", "node") == ()
    assert topology.way("ingress", "node", most=len(topology.cis)) == ("ingress", "namespace", "pod-7", "node")
