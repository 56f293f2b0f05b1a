"""What the targets of a server become; a real Prometheus tells them, the stand-in what no machine here can."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmdb_sync.prometheus import SOURCE
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbPage, CmdbParts, IdType, Item
from foreshock.core.errors import Unavailable
from foreshock.sandbox.prometheus import PrometheusSystem
from foreshock.testing.servers import Prometheus, missing
from foreshock.testing.sources import Bench, benched

META = "__meta_kubernetes_"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benched(SOURCE, tmp_path) as made:
        yield made


@pytest.fixture
def world(bench: Bench) -> PrometheusSystem:
    assert isinstance(bench.world, PrometheusSystem)
    return bench.world


def known_by(item: Item) -> set[tuple[str, str, str]]:
    return {(one.type.value, one.value, one.scope) for one in item.identifiers}


@pytest.mark.skipif(bool(missing("prometheus")), reason="prometheus is not installed")
def test_targets_of_a_real_server_are_machines_and_what_runs_there():
    def job(name: str, *targets: str, **labels: str) -> dict[str, object]:
        return {"job_name": name, "static_configs": [{"targets": list(targets), "labels": labels}]}

    jobs = [
        job("node", "DB1.example.com:9100", "10.0.0.5:9100", team="dba", env="production"),
        job("cart", "db1.example.com:8080", "[fd00::1]:8080", service="Webshop", tier="1"),
        job("itself", "127.0.0.1:9090"),
    ]
    with Prometheus(config={"scrape_configs": jobs}) as server:
        config = SOURCE.config.model_validate({"url": server.url, "service_labels": ["service"]})
        source = SOURCE.build("prod", config, CmdbParts(http=Http))
        page = _read(source, "host/10.0.0.5")
        (finding,) = source.check()

    items = {item.id: item for item in page.items}
    assert set(items) == {
        "host/db1.example.com",
        "host/10.0.0.5",
        "host/fd00::1",
        "application/cart",
        "application/itself",
        "service/webshop",
    }
    assert {tie.key for tie in page.ties} == {
        "application/cart runs_on host/db1.example.com",
        "application/cart runs_on host/fd00::1",
        "service/webshop depends_on application/cart",
    }
    assert (items["host/10.0.0.5"].owner, items["host/10.0.0.5"].environment) == ("dba", "production")
    assert known_by(items["host/10.0.0.5"]) == {("ip", "10.0.0.5", "")}
    assert known_by(items["host/db1.example.com"]) == {("fqdn", "db1.example.com", "")}
    assert (items["service/webshop"].name, items["service/webshop"].criticality) == ("Webshop", 1)
    assert page.problems == ("1 targets are at localhost: set their label instance",)
    assert page.whole
    assert (finding.observed, finding.remedy) == ("5 active, found by files and the configuration", "")


def _read(source: object, until: str) -> CmdbPage:
    """A server knows its targets some seconds after it answers."""
    for _ in range(300):
        try:
            page: CmdbPage = source.page("", "")  # type: ignore[attr-defined]
        except Unavailable:
            time.sleep(0.1)
            continue
        if until in {item.id for item in page.items}:
            return page
    raise AssertionError(f"{until} is no target after 30 s")


def test_a_server_that_knows_no_target_yet_is_not_empty(bench: Bench, world: PrometheusSystem):
    world.delete_ci("host/there-from-the-start")

    with pytest.raises(Unavailable, match="started just now") as raised:
        bench.read()

    assert raised.value.retry_after_s


def test_a_server_that_lists_no_scrape_pools_is_read_at_once(bench: Bench, world: PrometheusSystem):
    world.has_pools = False
    world.put_ci("db1")

    assert "host/db1" in bench.read().items


@pytest.mark.parametrize(
    ("discovered", "provider"),
    [
        ({"__meta_ec2_instance_id": "i-0abc", "__meta_ec2_private_ip": "10.1.0.9"}, "i-0abc"),
        (
            {
                "__meta_gce_project": "project-1",
                "__meta_gce_zone": "https://compute.example.com/v1/projects/project-1/zones/eu-west1-b",
                "__meta_gce_instance_name": "gke-1",
            },
            "project-1/eu-west1-b/gke-1",
        ),
        ({"__meta_azure_machine_id": "/subscriptions/S/resourceGroups/G/x"}, "/subscriptions/s/resourcegroups/g/x"),
    ],
)
def test_a_machine_is_known_by_what_its_cloud_calls_it(
    bench: Bench, world: PrometheusSystem, discovered: dict[str, str], provider: str
):
    world.put_target({"job": "cart", "instance": "db1:8080"}, {**discovered, "__address__": "10.1.0.9:8080"})

    host = bench.read().items["host/db1"]

    assert host.kind == "vm"
    assert known_by(host) == {("provider", provider, ""), ("hostname", "db1", ""), ("ip", "10.1.0.9", "")}


def test_all_that_targets_of_one_machine_say_is_put_together(bench: Bench, world: PrometheusSystem):
    world.put_target({"job": "cart", "instance": "db1:8080"}, {"__address__": "db1:8080"})
    consul = {"__address__": "10.1.0.9:9100", "__meta_consul_node": "db1", "__meta_consul_dc": "eu-1"}
    world.put_target({"job": "node", "instance": "DB1:9100", "team": "dba"}, consul)

    host = bench.read().items["host/db1"]

    assert (host.owner, host.location) == ("dba", "eu-1")
    assert known_by(host) == {("hostname", "db1", ""), ("ip", "10.1.0.9", "")}


def test_pods_count_for_their_workload_and_run_on_their_node(bench: Bench, world: PrometheusSystem):
    pod = {
        f"{META}namespace": "shop",
        f"{META}pod_controller_kind": "ReplicaSet",
        f"{META}pod_controller_name": "cart-7d9f",
        f"{META}pod_label_pod_template_hash": "7d9f",
        f"{META}node_name": "node-1",
        "__address__": "10.244.0.7:8080",
    }
    world.put_target({"job": "pods", "instance": "10.244.0.7:8080"}, pod)
    endpoint = {f"{META}namespace": "shop", f"{META}service_name": "pay", "__address__": "10.244.0.8:80"}
    world.put_target({"job": "endpoints", "instance": "10.244.0.8:80"}, endpoint)

    reading = bench.read(cluster="prod")

    cart = reading.items["application/shop/deployment/cart"]
    assert (cart.name, known_by(cart)) == ("cart", {("kubernetes", "shop/deployment/cart", "prod")})
    assert known_by(reading.items["host/node-1"]) == {("kubernetes", "node/node-1", "prod")}
    assert "application/shop/deployment/cart runs_on host/node-1" in reading.ties
    assert known_by(reading.items["application/shop/service/pay"]) == {("kubernetes", "shop/service/pay", "prod")}
    assert IdType.IP not in {one.type for one in reading.items["host/10.244.0.8"].identifiers}


def test_what_is_probed_is_the_machine_and_not_who_probes(bench: Bench, world: PrometheusSystem):
    world.put_target(
        {"job": "icmp", "instance": "https://shop.example.com/health"}, {"__address__": "shop.example.com"}
    )

    reading = bench.read()

    assert known_by(reading.items["host/shop.example.com"]) == {("fqdn", "shop.example.com", "")}
    assert "application/icmp" not in reading.items
