"""What a cluster's objects become, and that the stand-in is one for others too."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from cmdb_sync.kubernetes import OWNERS, RESOURCES, SOURCE
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbParts, Expired, IdType, Item
from foreshock.core.errors import ConfigError, Denied, Rejected
from foreshock.sandbox.kubernetes import TOKEN, KubernetesSystem
from foreshock.sandbox.system import Reply
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import Bench, Reading, benched

PAGE = Path(__file__).parents[2] / "docs" / "connect" / "kubernetes.md"
RUNNING: Mapping[str, Any] = {"spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benched(SOURCE, tmp_path) as made:
        yield made


@pytest.fixture
def world(bench: Bench) -> KubernetesSystem:
    assert isinstance(bench.world, KubernetesSystem)
    return bench.world


def ties(reading: Reading) -> set[str]:
    return set(reading.ties)


def ids(item: Item, type_: IdType) -> list[tuple[str, str]]:
    return [(one.value, one.scope) for one in item.identifiers if one.type is type_]


def test_pods_count_for_what_made_them_and_are_no_cis(bench: Bench, world: KubernetesSystem):
    world.put("Deployment", "cart")
    world.put("ReplicaSet", "cart-7d9f", owner=("Deployment", "cart"))
    world.put("Pod", "cart-7d9f-x1", owner=("ReplicaSet", "cart-7d9f"), **RUNNING)
    world.put("CronJob", "report")
    world.put("Job", "report-29", owner=("CronJob", "report"))
    world.put("Pod", "report-29-x1", owner=("Job", "report-29"), **RUNNING)
    world.put("Pod", "report-28-x1", owner=("Job", "report-29"), **{**RUNNING, "status": {"phase": "Succeeded"}})

    reading = bench.read()

    assert {"shop/deployment/cart runs_on node/node-1", "shop/cronjob/report runs_on node/node-1"} <= ties(reading)
    assert not [item for item in reading.items.values() if item.class_name in ("Pod", "ReplicaSet", "Job")]


def test_with_pods_each_is_a_ci_beside_its_workload(bench: Bench):
    reading = bench.read(pods=True)

    (pod,) = (item for item in reading.items.values() if item.class_name == "Pod")
    assert pod.kind == "container"
    assert {f"{pod.id} runs_on node/node-1", f"{pod.id} member_of shop/deployment/web"} <= ties(reading)
    assert "shop/deployment/web runs_on node/node-1" in reading.ties


def test_pods_that_no_listed_workload_made_stand_for_what_did(bench: Bench, world: KubernetesSystem):
    world.put("Service", "orders-db", spec={"selector": {"db": "orders"}, "clusterIP": "10.9.0.7"})
    world.put("Pod", "orders-db-1", labels={"db": "orders"}, owner=("Cluster", "orders-db"), **RUNNING)
    world.put("Pod", "debug", **RUNNING)
    world.put("Pod", "etcd-node-1", owner=("Node", "node-1"), **RUNNING)

    reading = bench.read(kinds={"Cluster": "database"})

    assert (reading.items["shop/cluster/orders-db"].kind, reading.items["shop/pod/debug"].kind) == (
        "database",
        "container",
    )
    assert {
        "shop/cluster/orders-db runs_on node/node-1",
        "shop/service/orders-db depends_on shop/cluster/orders-db",
        "shop/pod/etcd-node-1 runs_on node/node-1",
    } <= ties(reading)


def test_requests_come_by_ingresses_and_routes_to_services_and_workloads(bench: Bench, world: KubernetesSystem):
    world.put("Deployment", "cart", labels={"app.kubernetes.io/part-of": "webshop"})
    world.put("Service", "cart", spec={"selector": {"app": "cart"}})
    world.put("Service", "all-of-them", spec={})
    path = {"backend": {"service": {"name": "cart"}}}
    rules = [{"host": "shop.example.com", "http": {"paths": [path, path]}}, {"host": "gone.example.com"}]
    world.put("Ingress", "web", spec={"rules": rules, "defaultBackend": {"service": {"name": "nowhere"}}})
    references = [{"name": "cart"}, {"name": "bucket", "kind": "Bucket"}]
    world.put("HTTPRoute", "api", spec={"hostnames": ["api.example.com"], "rules": [{"backendRefs": references}]})

    reading = bench.read()

    assert {
        "shop/ingress/web depends_on shop/service/cart",
        "shop/httproute/api depends_on shop/service/cart",
        "shop/service/cart depends_on shop/deployment/cart",
        "shop/application/webshop depends_on shop/deployment/cart",
        "namespace/shop contains shop/deployment/cart",
        "cluster contains namespace/shop",
    } <= ties(reading)
    assert not [key for key in reading.ties if "all-of-them depends_on" in key or "nowhere" in key or "bucket" in key]
    assert reading.items["shop/ingress/web"].aliases == ("shop.example.com", "gone.example.com")
    assert "cart.shop.svc.cluster.local" in reading.items["shop/service/cart"].aliases


def test_volumes_are_needed_by_what_mounts_them(bench: Bench, world: KubernetesSystem):
    world.put("PersistentVolume", "pv-1", spec={"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}})
    world.put("PersistentVolumeClaim", "data", spec={"volumeName": "pv-1"})
    world.put("StatefulSet", "db", labels={"app.kubernetes.io/component": "database"})
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {}}]
    spec = {"nodeName": "node-1", "volumes": volumes}
    world.put("Pod", "db-0", owner=("StatefulSet", "db"), spec=spec, status={"phase": "Running"})

    reading = bench.read()

    assert {
        "shop/statefulset/db depends_on shop/persistentvolumeclaim/data",
        "shop/persistentvolumeclaim/data depends_on persistentvolume/pv-1",
    } <= ties(reading)
    assert reading.items["shop/statefulset/db"].kind == "database"
    assert ids(reading.items["persistentvolume/pv-1"], IdType.PROVIDER) == [("vol-1", "ebs.csi.aws.com")]


@pytest.mark.parametrize(
    ("provider", "found", "kind"),
    [
        ("aws:///eu-west-1a/i-0abc", "i-0abc", "vm"),
        ("gce://project-1/eu-west1-b/gke-1", "project-1/eu-west1-b/gke-1", "vm"),
        ("azure:///subscriptions/S/resourceGroups/G/x", "/subscriptions/s/resourcegroups/g/x", "vm"),
        ("vsphere://4230aaaa-0000", "4230aaaa-0000", "vm"),
        ("kind://docker/kind/n1", "", "server"),
        ("", "", "server"),
    ],
)
def test_a_node_is_known_by_what_its_cloud_calls_it(
    bench: Bench, world: KubernetesSystem, provider: str, found: str, kind: str
):
    addresses = [("InternalIP", "10.1.0.9"), ("Hostname", "n9"), ("InternalDNS", "n9.example.com")]
    status = {"addresses": [{"type": each, "address": value} for each, value in addresses]}
    world.put(
        "Node",
        "n9",
        labels={"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "eu-a"},
        spec={"providerID": provider},
        status={**status, "nodeInfo": {"systemUUID": "EC2-9"}},
    )

    node = bench.read().items["node/n9"]

    assert (node.kind, node.handle, node.location) == (kind, "n9", "eu / eu-a")
    assert [value for value, _ in ids(node, IdType.PROVIDER)] == ([found] if found else [])
    assert ids(node, IdType.IP) == [("10.1.0.9", "")]
    assert (ids(node, IdType.HOSTNAME), ids(node, IdType.FQDN)) == ([("n9", "")], [("n9.example.com", "")])
    assert ids(node, IdType.UUID) == [("EC2-9", "")]
    assert ids(node, IdType.KUBERNETES) == [("node/n9", "prod")]


def test_what_an_object_does_not_say_its_namespace_does(bench: Bench, world: KubernetesSystem):
    world.put("Deployment", "cart", labels={"tier": "tier-1"})
    world.put("Deployment", "pay", labels={"team": "Payments", "tier": "someday"})

    items = bench.read(environment="production", environment_labels=[]).items

    cart, pay = items["shop/deployment/cart"], items["shop/deployment/pay"]
    assert (cart.owner, cart.environment, cart.criticality) == ("Platform", "production", 1)
    assert (pay.owner, pay.criticality) == ("Payments", 0)


def test_a_bare_name_is_the_workloads_alone(bench: Bench, world: KubernetesSystem):
    world.put("Deployment", "cart")
    world.put("Ingress", "cart")
    world.put("PersistentVolumeClaim", "cart")
    world.put("Service", "cart", spec={"clusterIP": "10.0.0.5"})

    items = bench.read().items.values()

    assert [item.id for item in items if item.name == "cart"] == ["shop/deployment/cart"]
    assert not [item.id for item in items if ("10.0.0.5", "prod") in ids(item, IdType.IP)]


def test_only_the_namespaces_that_are_named_are_asked(bench: Bench, world: KubernetesSystem):
    world.put("Deployment", "theirs", namespace="default")

    reading = bench.read(namespaces=["shop"], resources=["namespaces", "deployments", "pods"])

    assert {item.class_name for item in reading.items.values()} == {"Cluster", "Namespace", "Deployment"}
    assert "default/deployment/theirs" not in reading.items
    assert bench.server is not None
    asked = {entry.path for entry in bench.server.ledger.entries()}
    assert asked >= {"/apis/apps/v1/namespaces/shop/deployments", "/api/v1/namespaces/shop/pods"}
    assert not {"/apis/apps/v1/deployments", "/api/v1/pods", "/api/v1/nodes"} & asked


def test_a_cluster_without_gateways_has_no_routes_and_is_read(bench: Bench, world: KubernetesSystem):
    world.has_gateways = False

    reading = bench.read()

    assert (reading.whole, reading.problems) == (True, [])
    assert [finding for finding in bench.source().check() if finding.remedy] == []


def test_another_address_is_not_taken_for_an_empty_cluster(bench: Bench):
    with pytest.raises(Rejected, match="that of the API server"):
        bench.read(url=f"{bench.settings['url']}/somewhere")


def test_a_token_that_the_server_does_not_know_any_more_begins_anew(bench: Bench, world: KubernetesSystem):
    refusal = {"kind": "Status", "status": "Failure", "message": "continue key is not valid", "code": 400}
    world.page_rows = 2
    cursor = bench.source().page("", "").next
    bench.world.handle = lambda request: Reply(status=400, body=refusal)

    with pytest.raises(Expired, match="continue key"):
        bench.source().page(cursor, "")


def test_who_may_not_list_replica_sets_is_told_so(bench: Bench, world: KubernetesSystem):
    world.forbid("replicasets")

    with pytest.raises(Denied, match="ClusterRole"):
        bench.read()


def test_the_documented_role_allows_exactly_what_is_asked():
    (text,) = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    roles = [one for one in YAML(typ="safe").load_all(text) if one["kind"] == "ClusterRole"]
    allowed = {
        (group, resource)
        for one in roles
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    assert allowed == {(one.group, one.name) for one in RESOURCES} | {(group, plural) for _, group, plural in OWNERS}
    assert {tuple(rule["verbs"]) for one in roles for rule in one["rules"]} == {("list",)}


CLIENT = """
import sys
from kubernetes import client
settings = client.Configuration(host=sys.argv[1])
settings.api_key, settings.api_key_prefix = {"authorization": sys.argv[2]}, {"authorization": "Bearer"}
api = client.ApiClient(settings)
core, apps, net = client.CoreV1Api(api), client.AppsV1Api(api), client.NetworkingV1Api(api)
print(client.VersionApi(api).get_code().git_version)
token, names = None, []
while True:
    page = apps.list_deployment_for_all_namespaces(limit=2, _continue=token)
    names += [one.metadata.name for one in page.items]
    token = page.metadata._continue
    if not token:
        break
print(*names)
print(*(one.spec.node_name for one in core.list_namespaced_pod("shop", field_selector="status.phase!=Failed").items))
print(*(one.spec.provider_id for one in core.list_node().items))
print(*(one.spec.volume_name for one in core.list_persistent_volume_claim_for_all_namespaces().items))
try:
    net.list_ingress_for_all_namespaces()
except client.ApiException as error:
    print(error.status, error.reason, "cannot list" in error.body)
"""


def test_the_official_client_reads_the_stand_in(bench: Bench, world: KubernetesSystem):
    python = python_with("kubernetes==37.0.2")
    for number in range(4):
        world.put_ci(f"app-{number}")
    bench.related(("data", "volume"))
    world.forbid("ingresses")

    lines = drive(python, CLIENT, bench.settings["url"], TOKEN)

    assert lines == [
        "v1.31.0",
        "app-0 app-1 app-2 app-3 web",
        "node-1",
        "aws:///eu-1a/i-0abc",
        "volume",
        "403 Forbidden True",
    ]


@pytest.mark.skipif(
    "KUBERNETES_URL" not in os.environ, reason="set KUBERNETES_URL, _TOKEN_FILE and _CA_FILE to a cluster"
)
def test_a_real_cluster_is_read():
    files = {key: os.environ[f"KUBERNETES_{key.upper()}"] for key in ("token_file", "ca_file")}
    config = SOURCE.config.model_validate({"url": os.environ["KUBERNETES_URL"], "cluster": "real", **files})
    reading = Reading()
    cursor = ""
    while True:
        page = SOURCE.build("real", config, CmdbParts(http=Http)).page(cursor, "")
        reading.add(page)
        cursor = page.next
        if not cursor:
            break

    assert reading.flaws == []
    assert reading.whole
    assert "namespace/kube-system" in reading.items
    assert "default/service/kubernetes" in reading.items


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"client_cert_file": "/c"}, "needs its key"),
        ({"client_cert_file": "/c", "client_key_file": "/k", "token_file": "/t"}, "stands beside token_file"),
    ],
)
def test_a_client_certificate_stands_alone_and_with_its_key(settings, message):
    with pytest.raises(ValidationError, match=message):
        SOURCE.config.model_validate({"cluster": "eu", **settings})


def test_the_key_of_a_client_certificate_is_its_owners_alone(bench, tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("a key\nof several lines\n")
    key.chmod(0o644)

    with pytest.raises(ConfigError, match="mode is 0644"):
        bench.source(token_file=None, client_cert_file=str(key), client_key_file=str(key))
