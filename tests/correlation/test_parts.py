"""Whether a situation is one place or several."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.affinity import ABOVE, Surroundings, surroundings
from correlation.parts import parts
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology

CUT = 0.05


def estate(ties: Iterable[tuple[str, str]]) -> Topology:
    ties = list(ties)
    cis = dict.fromkeys(ci for tie in ties for ci in tie)
    return Topology([CI(id=ci) for ci in cis], [Relationship(source=a, type="depends_on", target=b) for a, b in ties])


def application(name: str, size: int = 6) -> list[tuple[str, str]]:
    """Services that need each other, and a database that all of them need."""
    services = [f"{name}{index}" for index in range(size)]
    ring = list(zip(services, [*services[1:], services[0]], strict=True))
    return ring + [(service, f"{name}-db") for service in services]


def found(
    topology: Topology, cis: Iterable[str], ties: Iterable[tuple[str, str]] = (), cut: float = CUT
) -> list[set[str]]:
    def near(ci: str) -> Surroundings:
        return surroundings(topology, ci, step=0.7, least=0.2, restart=0.4, noticeable=0.004)

    return [set(part) for part in parts(list(cis), near, ties, cut)]


SHOP, MAIL = application("shop"), application("mail")


def names(*applications: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(ci for application in applications for tie in application for ci in tie))


def test_one_application_is_one_place():
    assert found(estate(SHOP), names(SHOP)) == [set(names(SHOP))]


def test_two_applications_with_one_link_between_them_are_two_places():
    topology = estate([*SHOP, *MAIL, ("shop0", "mail-db")])

    assert found(topology, names(SHOP, MAIL)) == [set(names(SHOP)), set(names(MAIL))]


def test_two_applications_that_need_each_other_are_one_place():
    topology = estate([*SHOP, *MAIL, *((f"shop{i}", f"mail{i}") for i in range(6))])

    assert len(found(topology, names(SHOP, MAIL))) == 1


def test_a_rack_with_its_hosts_and_machines_is_one_place():
    hosts = [(f"host{i}", "rack") for i in range(6)]
    machines = [(f"vm{i}{j}", f"host{i}") for i in range(6) for j in range(3)]

    assert len(found(estate([*hosts, *machines]), names(hosts, machines))) == 1


def test_a_rack_that_failed_with_much_beneath_it_is_one_place():
    """A walk from the rack hardly reaches any one of its hosts; but its failure explains them all."""
    hosts = [(f"host{i}", "rack") for i in range(20)]
    machines = [(f"vm{i}{j}", f"host{i}") for i in range(20) for j in range(4)]
    services = [(f"service{i}{j}", f"vm{i}{j}") for i in range(20) for j in range(4)]
    topology = estate([*hosts, *machines, *services])
    failed = ["rack", *(f"{kind}{i}{j}" for i in range(6) for j in range(3) for kind in ("vm", "service"))]

    assert len(found(topology, failed)) == 1


def test_what_the_topology_does_not_know_belongs_to_what_its_alerts_name_besides():
    topology = estate([*SHOP, *MAIL])
    ties = [("pod-x", "shop1"), ("pod-x", "shop2"), ("pod-y", "mail1")]

    first, second = found(topology, [*names(SHOP, MAIL), "pod-x", "pod-y"], ties)
    assert first == {*names(SHOP), "pod-x"}
    assert second == {*names(MAIL), "pod-y"}


def test_nothing_is_parted_without_a_cut():
    assert len(found(estate([*SHOP, *MAIL, ("shop0", "mail-db")]), names(SHOP, MAIL), cut=0.0)) == 1


@given(st.permutations(names(SHOP, MAIL)))
def test_the_order_of_joining_decides_nothing_but_which_place_is_first(cis: list[str]):
    topology = estate([*SHOP, *MAIL, ("shop0", "mail-db")])

    places = found(topology, cis)
    assert sorted(map(len, places)) == [7, 7]
    assert cis[0] in places[0]


@pytest.mark.parametrize("cis", [[], ["stranger"], ["stranger", "other"]])
def test_strangers_are_places_of_their_own(cis: list[str]):
    assert found(estate(SHOP), cis) == [{ci} for ci in cis]


@pytest.mark.parametrize(("noticeable", "walk"), [(0.1, 0.4), (0.5, 0.0)])
def test_a_ci_without_neighbours_is_surrounded_by_itself(noticeable: float, walk: float):
    alone = surroundings(Topology(), "a", step=0.7, least=0.2, restart=0.4, noticeable=noticeable)

    assert (alone.cis, list(alone.explained), list(alone.way)) == (("a",), [1.0], [ABOVE])
    assert list(alone.walk) == [pytest.approx(walk)]
