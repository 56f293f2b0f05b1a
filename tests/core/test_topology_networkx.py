"""Walks over topologies as CMDBs hold them, with cycles, loops, contradictions and hubs, against networkx."""

import random
from collections.abc import Iterable, Mapping
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import DIRECTIONS, Direction, Topology

NAMES = [f"ci{number}" for number in range(24)]
TIES = st.lists(
    st.builds(
        Relationship,
        source=st.sampled_from(NAMES),
        type=st.sampled_from([*DIRECTIONS, "a type of tomorrow"]),
        target=st.sampled_from(NAMES),
    ),
    max_size=80,
)
# Halves and wholes add up exactly, so that costs can be compared.
COSTS = st.dictionaries(st.sampled_from([*DIRECTIONS]), st.sampled_from([1.0, 1.5, 2.0, 4.0]))
HORIZONS = st.sampled_from([1.0, 2.5, 3.0, 12.0])


def oracle(ties: Iterable[Relationship], costs: Mapping[str, float]) -> "nx.DiGraph[str]":
    """An edge from what suffers to what it needs, at the least cost of the relationships that say so."""
    found: nx.DiGraph[str] = nx.DiGraph()
    found.add_nodes_from(NAMES)
    for tie in ties:
        direction = DIRECTIONS.get(tie.type, Direction.SOURCE_SUFFERS)
        cost = costs.get(tie.type, 1.0)
        ways = []
        if direction in (Direction.SOURCE_SUFFERS, Direction.BOTH_SUFFER):
            ways.append((tie.source, tie.target))
        if direction in (Direction.TARGET_SUFFERS, Direction.BOTH_SUFFER):
            ways.append((tie.target, tie.source))
        for dependent, needed in ways:
            if dependent == needed:
                continue
            known = found.get_edge_data(dependent, needed)
            if known is None or cost < known["weight"]:
                found.add_edge(dependent, needed, weight=cost)
    return found


def built(
    ties: list[Relationship], costs: Mapping[str, float], horizon: float, critical: Iterable[str] = ()
) -> Topology:
    chosen = set(critical)
    cis = [CI(id=name, criticality=1 + NAMES.index(name) % 4 if name in chosen else 0) for name in NAMES]
    return Topology(cis, ties, costs=dict(costs), max_cost=horizon)


@settings(max_examples=150)
@given(TIES, COSTS, HORIZONS)
def test_both_walks_find_what_dijkstra_finds_at_the_same_cost(
    ties: list[Relationship], costs: dict[str, float], horizon: float
):
    topology, graph = built(ties, costs, horizon), oracle(ties, costs)

    for ci in NAMES:
        up = nx.single_source_dijkstra_path_length(graph, ci, cutoff=horizon)
        down = nx.single_source_dijkstra_path_length(graph.reverse(copy=False), ci, cutoff=horizon)
        assert {name: hop.cost for name, hop in topology.upstream(ci).items()} == up
        assert {name: hop.cost for name, hop in topology.downstream(ci).items()} == down


@settings(max_examples=100)
@given(TIES, COSTS, HORIZONS)
def test_a_path_is_a_real_one_and_none_is_cheaper(ties: list[Relationship], costs: dict[str, float], horizon: float):
    topology, graph = built(ties, costs, horizon), oracle(ties, costs)
    lengths = dict(nx.all_pairs_dijkstra_path_length(graph, cutoff=horizon))

    for ci in NAMES[:8]:
        for other in NAMES:
            path = topology.path(ci, other)
            assert bool(path) is (other in lengths[ci])
            if path:
                assert (path[0], path[-1]) == (ci, other)
                assert nx.path_weight(graph, list(path), "weight") == lengths[ci][other]
                assert all(topology.relation(a, b) for a, b in pairwise(path))


@settings(max_examples=100)
@given(TIES, COSTS, st.randoms(use_true_random=False))
def test_the_order_in_which_a_source_lists_relationships_changes_nothing(
    ties: list[Relationship], costs: dict[str, float], shuffler: random.Random
):
    shuffled = list(ties)
    shuffler.shuffle(shuffled)
    one, other = built(ties, costs, 3.0), built(shuffled, costs, 3.0)

    for ci in NAMES:
        assert one.upstream(ci) == other.upstream(ci)
        assert one.downstream(ci) == other.downstream(ci)
        assert one.neighbours(ci) == other.neighbours(ci)


@settings(max_examples=100)
@given(TIES, st.sets(st.sampled_from(NAMES)))
def test_degrees_neighbours_and_services_are_those_of_the_graph(ties: list[Relationship], critical: set[str]):
    topology, graph = built(ties, {}, 3.0, critical), oracle(ties, {})

    for ci in NAMES:
        assert len(topology.steps_down(ci)) == graph.in_degree(ci)
        assert set(topology.neighbours(ci)) == set(nx.all_neighbors(graph, ci))
        needing = {service for service in critical if service == ci or nx.has_path(graph, service, ci)}
        assert set(topology.services(ci)) == needing
        criticalities = [topology.cis[service].criticality for service in topology.services(ci)]
        assert criticalities == sorted(criticalities)


HUB_DEGREE = 100_000


@pytest.fixture(scope="module", params=[{}, {"connects_to": 2.0}], ids=["even costs", "uneven costs"])
def hub(request: pytest.FixtureRequest) -> Topology:
    """A core switch with 100,000 dependents, one of which is in a cycle with itself and the switch."""
    leaves = [f"leaf{number:06}" for number in range(HUB_DEGREE)]
    ties = [Relationship(source=leaf, type="depends_on", target="hub") for leaf in leaves]
    ties += [
        Relationship(source="hub", type="depends_on", target="power"),
        Relationship(source="leaf000007", type="depends_on", target="leaf000007"),
        Relationship(source="power", type="uses", target="leaf000007"),
        Relationship(source="leaf000001", type="connects_to", target="leaf000002"),
    ]
    return Topology([CI(id="hub", criticality=0), CI(id="power")], ties, costs=request.param)


def test_a_hub_with_a_hundred_thousand_dependents_hides_nothing_above_its_dependents(hub: Topology):
    for leaf in ("leaf000000", "leaf050000", "leaf099999"):
        assert {ci: hop.cost for ci, hop in hub.upstream(leaf).items()} == {
            leaf: 0.0, "hub": 1.0, "power": 2.0, "leaf000007": 3.0,
        }  # fmt: skip
        assert hub.path(leaf, "power") == (leaf, "hub", "power")
    assert len(hub.steps_down("hub")) == HUB_DEGREE


def test_a_walk_down_from_a_hub_is_bounded_and_begins_with_the_nearest(hub: Topology):
    down = hub.downstream("hub")

    assert len(down) == Topology.MAX_REACH
    assert down["hub"].cost == 0.0
    assert {hop.cost for ci, hop in down.items() if ci != "hub"} == {1.0}
    assert all(hub.path(ci, "hub") == (ci, "hub") for ci in down if ci != "hub")
