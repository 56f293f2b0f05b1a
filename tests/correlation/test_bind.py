"""Which CI an alert is about."""

import pytest

from correlation.bind import UNBOUND, bind
from correlation.settings import BindSettings
from foreshock.core.model import CI
from foreshock.core.topology import Topology

TOPOLOGY = Topology(
    [
        CI(id="db1", aliases=("10.0.0.7", "db1.lan.example")),
        CI(id="web", aliases=("front",)),
        CI(id="api", aliases=("front", "fe80::7")),
        CI(id="shop-1", name="Shop"),
        CI(id="10"),
    ]
)
STRICT = BindSettings(implied=False)


@pytest.mark.parametrize(
    ("labels", "ci", "how"),
    [
        pytest.param({"host": "db1"}, "db1", "label host", id="id"),
        pytest.param({"host": "DB1"}, "db1", "label host", id="any case"),
        pytest.param({"service": "shop"}, "shop-1", "label service", id="name"),
        pytest.param({"instance": "10.0.0.7"}, "db1", "label instance", id="alias"),
        pytest.param({"instance": "db1:9100"}, "db1", "label instance without its port", id="port"),
        pytest.param({"instance": "10.0.0.7:9100"}, "db1", "label instance without its port", id="address and port"),
        pytest.param(
            {"instance": "[fe80::7]:9100"}, "api", "label instance without its port", id="address of version 6"
        ),
        pytest.param({"instance": "fe80::7"}, "api", "label instance", id="no port in an address of version 6"),
        pytest.param({"host": "db1.example.com"}, "db1", "label host without its domain", id="domain"),
        pytest.param({"host": "db1.example.com:80"}, "db1", "label host without its domain", id="domain and port"),
        pytest.param({"service": "shop", "host": "db1"}, "db1", "label host", id="the most specific label"),
        pytest.param({"ci": "web", "host": "db1"}, "web", "label ci", id="what names a CI outright"),
        pytest.param(
            {"host": "nobody", "service": "shop"},
            "shop-1",
            "label service",
            id="the next label if the first is unknown",
        ),
        pytest.param({"host": "", "service": "shop"}, "shop-1", "label service", id="an empty label is none"),
    ],
)
def test_a_label_names_the_ci(labels: dict[str, str], ci: str, how: str):
    found = bind(labels, TOPOLOGY, STRICT)

    assert (found.ci, found.how) == (ci, how)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"alertname": "Down"}, id="no label that names a CI"),
        pytest.param({"host": "10.9.9.9"}, id="the first number of an address is no host name"),
        pytest.param({"host": "nobody"}, id="unknown"),
    ],
)
def test_what_names_nothing_is_unbound(labels: dict[str, str]):
    assert bind(labels, TOPOLOGY, STRICT) == UNBOUND


@pytest.mark.parametrize("settings", [STRICT, BindSettings()])
def test_a_name_that_two_cis_share_binds_nothing_not_even_a_ci_of_its_own(settings: BindSettings):
    found = bind({"host": "front:80"}, TOPOLOGY, settings)

    assert found.ci == ""
    assert found.how == "host=front:80 without its port names 2 CIs"


def test_a_shared_name_leaves_the_next_label_its_chance():
    assert bind({"host": "front", "service": "shop"}, TOPOLOGY, BindSettings()).ci == "shop-1"


def test_where_the_topology_knows_nothing_the_first_label_is_a_ci_of_its_own():
    found = bind({"host": "nobody:9100", "service": "nothing"}, TOPOLOGY, BindSettings())

    assert (found.ci, found.how) == ("nobody", "label host, not in the topology")


def test_domains_are_left_alone_if_the_settings_say_so():
    assert bind({"host": "db1.example.com"}, TOPOLOGY, BindSettings(implied=False, strip_domain=False)) == UNBOUND


def test_the_labels_that_may_name_a_ci_are_a_setting():
    assert bind({"box": "db1"}, TOPOLOGY, BindSettings(labels=("box",))).ci == "db1"
