"""Which CI an alert is about."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from correlation import bind as bind_module
from correlation.bind import UNBOUND, Binder, Confidence, bind, named
from correlation.settings import BindSettings
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology, TopologyDelta

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
        pytest.param({"host": "DB1."}, "db1", "label host", id="dot at the end"),
        pytest.param({"instance": "[FE80:0::7]"}, "api", "label instance", id="zeros in an address of version 6"),
        pytest.param({"instance": "https://db1:8443/health?x=/"}, "db1", "label instance, its host", id="URL"),
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
    assert found.how == "host=front:80 without its port names 2 CIs: api, web"


def test_a_shared_name_leaves_the_next_label_its_chance():
    assert bind({"host": "front", "service": "shop"}, TOPOLOGY, BindSettings()).ci == "shop-1"


def test_where_the_topology_knows_nothing_the_first_label_is_a_ci_of_its_own():
    found = bind({"host": "nobody:9100", "service": "nothing"}, TOPOLOGY, BindSettings())

    assert (found.ci, found.how) == ("nobody", "label host, not in the topology")


def test_domains_are_left_alone_if_the_settings_say_so():
    assert bind({"host": "db1.example.com"}, TOPOLOGY, BindSettings(implied=False, strip_domain=False)) == UNBOUND


def test_the_labels_that_may_name_a_ci_are_a_setting():
    assert bind({"box": "db1"}, TOPOLOGY, BindSettings(labels=("box",))).ci == "db1"


@pytest.mark.parametrize(
    ("labels", "confidence"),
    [
        pytest.param({"host": "DB1"}, Confidence.ID, id="its id"),
        pytest.param({"host": "db1:80"}, Confidence.ID, id="its id and a port"),
        pytest.param({"host": "10.0.0.7"}, Confidence.NAME, id="an alias"),
        pytest.param({"host": "db1.example.com"}, Confidence.STRIPPED, id="a part of the value"),
        pytest.param({"host": "nobody"}, Confidence.IMPLIED, id="made up"),
        pytest.param({"host": "front"}, Confidence.NONE, id="ambiguous"),
        pytest.param({"team": "db"}, Confidence.NONE, id="nothing"),
    ],
)
def test_how_sure_it_is(labels: dict[str, str], confidence: Confidence):
    assert bind(labels, TOPOLOGY, BindSettings()).confidence is confidence


def test_an_id_that_is_another_ones_name_means_it_only_where_the_label_is_for_ids():
    topology = Topology([CI(id="web"), CI(id="srv7", name="Web")])

    assert bind({"ci": "web"}, topology, STRICT).ci == "web"
    assert bind({"host": "web"}, topology, STRICT).how == "host=web names 2 CIs: srv7, web"
    assert named("web", topology, STRICT) == "web"


def test_of_very_many_candidates_a_reason_names_the_first():
    topology = Topology([CI(id=f"n{number:02}", aliases=("localhost",)) for number in range(30)])

    found = bind({"host": "localhost", "environment": "test"}, topology, BindSettings())

    assert found.how == "host=localhost names 30 CIs: n00, n01, n02 and 27 more"


# ---- domains and sources --------------------------------------------------------------------------------------------


def test_our_domains_are_taken_off_and_put_on():
    topology = Topology([CI(id="web.eu"), CI(id="db1", name="db1.corp.example"), CI(id="x", name="mail.corp.example")])
    ours = BindSettings(implied=False, strip_domain=False, domains=("Corp.example.",))

    assert bind({"host": "web.eu.CORP.example:80"}, topology, ours).ci == "web.eu"
    assert bind({"host": "mail"}, topology, ours) == bind({"host": "mail:9100"}, topology, ours)
    assert bind({"host": "mail"}, topology, ours).how == "label host with our domain"
    assert bind({"host": "web.eu.other.example"}, topology, ours) == UNBOUND
    assert bind({"host": "xcorp.example"}, topology, ours) == UNBOUND


def test_what_is_no_domain_is_refused():
    with pytest.raises(ValidationError, match="'http://x' is no domain"):
        BindSettings(domains=("corp.example", "http://x"))


def test_a_source_may_have_other_words():
    settings = BindSettings.model_validate(
        {"implied": False, "sources": [{"source": "zabbix", "labels": ["box"]}, {"collector": "own", "peers": ["to"]}]}
    )
    labels = {"box": "db1", "host": "web", "to": "shop", "peer": "web"}

    of = {
        sender: Binder(TOPOLOGY, settings).bind(labels, *sender)
        for sender in [("alertmanager", "zabbix"), ("own", "a"), ("alertmanager", "prom")]
    }

    assert {sender: (found.ci, found.peers) for sender, found in of.items()} == {
        ("alertmanager", "zabbix"): ("db1", ("web",)),
        ("own", "a"): ("web", ("shop-1",)),
        ("alertmanager", "prom"): ("web", ()),
    }


# ---- scope ----------------------------------------------------------------------------------------------------------


def tie(text: str) -> Relationship:
    source, kind, target = text.split()
    return Relationship(source=source, type=kind, target=target)


SCOPED = Topology(
    [
        CI(id="web-a", name="web", environment="Production"),
        CI(id="web-b", name="web", environment="test"),
        CI(id="web-c", name="web", environment="test", aliases=("blue/web",)),
        CI(id="Berlin", kind="location"),
        CI(id="Oslo", kind="location", aliases=("osl",)),
        *(CI(id=each) for each in ("host-a", "host-b", "host-c", "rack-a", "rack-b")),
    ],
    [
        tie(text)
        for text in (
            "web-a runs_on host-a", "web-b runs_on host-b", "web-c runs_on host-c", "rack-a contains host-a",
            "rack-a contains host-c", "host-b located_in rack-b", "rack-a located_in Oslo", "rack-b located_in Berlin",
            "web-a uses host-b",
        )
    ],
)  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "ci", "how"),
    [
        pytest.param({"environment": "production"}, "web-a", "label host, by label environment", id="environment"),
        pytest.param({"env": "prod"}, "web-a", "label host, by label env", id="environment by its short name"),
        pytest.param({"site": "BERLIN"}, "web-b", "label host, by label site", id="where its host stands"),
        pytest.param({"cluster": "host-c"}, "web-c", "label host, by label cluster", id="what it runs on"),
        pytest.param({"namespace": "blue"}, "web-c", "label host, by label namespace", id="part of its name"),
        pytest.param(
            {"site": "osl", "environment": "test"}, "web-c", "label host, by label environment", id="two together"
        ),
        pytest.param(
            {"region": "mars", "environment": "prod"}, "web-a", "label host, by label environment", id="none agrees"
        ),
        pytest.param({"environment": "test"}, "", "host=web names 2 CIs: web-b, web-c", id="not enough"),
        pytest.param({"tier": "production"}, "", "host=web names 3 CIs: web-a, web-b, web-c", id="no label of scope"),
    ],
)
def test_what_several_go_by_means_the_one_that_is_where_the_alert_says(scope: dict[str, str], ci: str, how: str):
    found = bind({"host": "web", **scope}, SCOPED, BindSettings())

    assert (found.ci, found.how) == (ci, how)
    assert found.confidence is (Confidence.SCOPED if ci else Confidence.NONE)


# ---- Kubernetes -----------------------------------------------------------------------------------------------------

CLUSTERS = Topology(
    [
        CI(id="shop/deployment/cart"),
        CI(id="blog/deployment/cart"),
        CI(id="shop/pod/cart-7d9c5b6f48-x2x4z"),
        CI(id="east shop/statefulset/db", aliases=("shop/statefulset/db",)),
        CI(id="west shop/statefulset/db", aliases=("shop/statefulset/db",)),
        CI(id="shop/daemonset/log"),
        CI(id="shop/cronjob/mail"),
        CI(id="east", kind="cluster"),
    ],
    [Relationship(source="east shop/statefulset/db", type="member_of", target="east")],
)


@pytest.mark.parametrize(
    ("labels", "ci", "how"),
    [
        pytest.param(
            {"deployment": "cart"}, "shop/deployment/cart", "label deployment in its namespace", id="workload"
        ),
        pytest.param(
            {"pod": "cart-7d9c5b6f48-x2x4z"}, "shop/pod/cart-7d9c5b6f48-x2x4z", "label pod in its namespace", id="pod"
        ),
        pytest.param(
            {"pod": "cart-7d9c5b6f48-zzzzz"}, "shop/deployment/cart", "label pod, its workload", id="pod of a workload"
        ),
        pytest.param({"pod": "log-x2x4z"}, "shop/daemonset/log", "label pod, its workload", id="pod of a node"),
        pytest.param({"pod": "mail-28901234-x2x4z"}, "shop/cronjob/mail", "label pod, its workload", id="pod of a job"),
        pytest.param(
            {"pod": "db-0", "cluster": "east"},
            "east shop/statefulset/db",
            "label pod, its workload, by label cluster",
            id="cluster",
        ),
        pytest.param(
            {"pod": "db-0"},
            "",
            "pod=db-0, its workload names 2 CIs: east shop/statefulset/db, west shop/statefulset/db",
            id="two clusters",
        ),
        pytest.param(
            {"deployment": "till"}, "shop/deployment/till", "label deployment, not in the topology", id="unknown"
        ),
        pytest.param({"pod": "till-0"}, "till-0", "label pod, not in the topology", id="unknown pod"),
    ],
)
def test_a_name_in_a_namespace_is_that_of_an_object_there(labels: dict[str, str], ci: str, how: str):
    found = bind({"namespace": "shop", **labels}, CLUSTERS, BindSettings())

    assert (found.ci, found.how) == (ci, how)


def test_without_a_namespace_a_deployment_says_nothing():
    assert bind({"deployment": "cart", "host": "box"}, CLUSTERS, BindSettings()).ci == "box"


# ---- many alerts ----------------------------------------------------------------------------------------------------

VALUES = ["db1", "DB1.", "web", "front", "nobody", "10.0.0.7:80", "shop", "cart-7d9c5b6f48-x2x4z", "production"]
LABELS = st.dictionaries(
    st.sampled_from(["ci", "host", "instance", "pod", "namespace", "peer", "environment", "box", "alertname"]),
    st.sampled_from(VALUES),
    max_size=6,
)
SOURCES = st.sampled_from(["", "zabbix"])
WORDS = BindSettings.model_validate({"sources": [{"source": "zabbix", "labels": ["instance", "host"]}]})


@given(
    st.lists(st.tuples(LABELS, SOURCES), max_size=12), st.sampled_from([TOPOLOGY, SCOPED, CLUSTERS]), st.integers(1, 4)
)
def test_what_is_remembered_is_what_would_be_found(alerts: Any, topology: Topology, most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bind_module, "_MAX_KNOWN", most)
        binder = Binder(topology, WORDS)
        for labels, source in alerts:
            assert binder.bind(labels, "own", source) == bind(labels, topology, WORDS, "own", source)
            assert len(binder._known) <= most


def test_what_is_remembered_is_for_the_same_source_and_the_same_place():
    labels = {"host": "web", "instance": "shop"}
    binder = Binder(TOPOLOGY, WORDS)

    assert [binder.bind(labels, "own", source).ci for source in ("", "zabbix", "")] == ["web", "shop-1", "web"]

    scoped = Binder(SCOPED, WORDS)
    sites = ("Berlin", "mars", "Berlin")
    assert [scoped.bind({"host": "web", "site": site}).ci for site in sites] == ["web-b", "", "web-b"]


def test_equal_bindings_are_one_object_however_many_alerts_have_them():
    binder = Binder(TOPOLOGY, BindSettings())

    one = binder.bind({"alertname": "Down", "host": "db1:80"})
    other = binder.bind({"alertname": "Slow", "host": "db1:80"})

    assert one is other


def test_a_name_that_comes_or_becomes_ambiguous_is_touched_and_binds_anew():
    old = Topology([CI(id="db1"), CI(id="db2")])
    new = old.patched(TopologyDelta(put_cis=(CI(id="box", name="DB1."), CI(id="mail"))), version="2")

    assert new.touched is not None
    assert {"db1", "mail", "box"} == new.touched.names
    assert bind({"host": "db1"}, new, STRICT).how == "host=db1 names 2 CIs: box, db1"
    assert bind({"host": "db2"}, new, STRICT) == bind({"host": "db2"}, old, STRICT)
