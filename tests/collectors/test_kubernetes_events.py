"""Warnings and conditions of nodes, read from the stand-in of Kubernetes' API."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.kubernetes import HOLDS, Cluster, KubernetesConfig, _build, decode, translate
from foreshock.connect.config import strictly
from foreshock.connect.vendors.kubernetes import Kubernetes
from foreshock.core.contracts import Page
from foreshock.core.errors import ConfigError, Denied, Malformed, Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.sandbox.kubernetes import TOKEN, KubernetesSystem
from foreshock.sandbox.server import SandboxServer
from foreshock.testing.payloads import sample

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
POD = {"kind": "Pod", "namespace": "shop", "name": "cart-7d9f-x2x4z", "fieldPath": "spec.containers{web}"}


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(KubernetesSystem(lambda: NOON)) as server:
        yield server


@pytest.fixture
def world(server: SandboxServer) -> KubernetesSystem:
    assert isinstance(server.system, KubernetesSystem)
    return server.system


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def cluster(server: SandboxServer, tmp_path: Path) -> Cluster:
    return reach(server, written(tmp_path / "token", TOKEN))


def reach(server: SandboxServer, token: Path) -> Cluster:
    given = {"url": server.url, "token_file": str(token), "cluster": "eu"}
    return _build("eu", strictly(given, KubernetesConfig))


def warn(world: KubernetesSystem, name: str, reason: str = "BackOff", at: datetime = NOON, **parts: Any) -> None:
    text = at.isoformat().replace("+00:00", "Z")
    event = {"involvedObject": POD, "reason": reason, "type": "Warning", "message": "back-off", "lastTimestamp": text}
    world.put("Event", name, **{**event, **parts})


def condition(world: KubernetesSystem, node: str, type: str, status: str, since: str = "2026-11-22T11:58:00Z") -> None:
    shown = {"type": type, "status": status, "lastTransitionTime": since, "reason": "R", "message": "why"}
    world.put("Node", node, status={"conditions": [shown]})


def read(page: Page) -> list[Event]:
    items = [item for payload in page.payloads for item in decode(payload)]
    assert not [item for item in items if isinstance(item, Malformed)]
    return [translate(item, NOON) for item in items if not isinstance(item, Malformed)]


def labels(page: Page) -> list[dict[str, str]]:
    return [read_labels(event.labels) for event in read(page)]


# ---- warnings -------------------------------------------------------------------------------------------------------


def test_a_warning_is_an_alert_of_its_object_that_holds_for_a_while(world: KubernetesSystem, cluster: Cluster):
    before = cluster.fetch("", NOON)
    warn(world, "cart.1")

    page = cluster.fetch(before.cursor, NOON)

    assert before.payloads == ()
    assert labels(page) == [
        {"alertname": "BackOff", "pod": "cart-7d9f-x2x4z", "namespace": "shop", "container": "web", "cluster": "eu"}
    ]
    assert read(page)[0].ends_at == NOON + HOLDS
    assert cluster.fetch(page.cursor, NOON).payloads == ()


def test_what_goes_on_is_told_again_as_the_same_alert(world: KubernetesSystem, cluster: Cluster):
    warn(world, "cart.1")
    first = cluster.fetch("", NOON)
    warn(world, "cart.1", count=2)

    assert labels(cluster.fetch(first.cursor, NOON)) == labels(first)


def test_what_is_normal_and_what_runs_out_is_not_told(world: KubernetesSystem, cluster: Cluster):
    warn(world, "cart.1", at=NOON - timedelta(minutes=50))
    warn(world, "cart.2", type="Normal", reason="Pulled")
    first = cluster.fetch("", NOON)
    world.delete_ci("shop/event/cart.1")

    assert first.payloads == ()
    assert cluster.fetch(first.cursor, NOON).payloads == ()


def test_after_a_break_that_the_server_has_forgotten_all_is_listed_again(world: KubernetesSystem, cluster: Cluster):
    first = cluster.fetch("", NOON)
    condition(world, "node-1", "Ready", "False")
    warn(world, "cart.1")
    world.expire()
    world.put("Namespace", "later")

    found = labels(cluster.fetch(first.cursor, NOON))

    assert [one["alertname"] for one in found] == ["BackOff", "NodeNotReady"]


def test_the_same_place_brings_the_same_again(world: KubernetesSystem, cluster: Cluster):
    first = cluster.fetch("", NOON)
    warn(world, "cart.1")

    assert cluster.fetch(first.cursor, NOON) == cluster.fetch(first.cursor, NOON)


# ---- conditions of nodes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "bad", "well", "name"),
    [
        ("Ready", "False", "True", "NodeNotReady"),
        ("Ready", "Unknown", "True", "NodeNotReady"),
        ("DiskPressure", "True", "False", "NodeDiskPressure"),
        ("NetworkUnavailable", "True", "False", "NodeNetworkUnavailable"),
    ],
)
def test_a_condition_is_told_of_when_it_begins_and_when_it_is_over(
    world: KubernetesSystem, cluster: Cluster, type: str, bad: str, well: str, name: str
):
    place = cluster.fetch("", NOON).cursor
    condition(world, "node-1", type, bad)
    began = cluster.fetch(place, NOON)
    condition(world, "node-1", type, bad)
    still = cluster.fetch(began.cursor, NOON)
    condition(world, "node-1", type, well, since="2026-11-22T11:59:00Z")
    over = cluster.fetch(still.cursor, NOON)

    assert labels(began) == labels(over) == [{"alertname": name, "node": "node-1", "cluster": "eu"}]
    assert still.payloads == ()
    assert read(began)[0].ends_at is None
    assert read(over)[0].ends_at == NOON - timedelta(minutes=1)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_node_that_is_gone_is_over(world: KubernetesSystem, cluster: Cluster, forgotten: bool):
    condition(world, "node-2", "Ready", "Unknown")
    began = cluster.fetch("", NOON)
    world.delete_ci("node/node-2")
    if forgotten:
        world.expire()
        world.put("Namespace", "later")

    (over,) = read(cluster.fetch(began.cursor, NOON))

    assert over.ends_at == NOON


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_token_that_was_replaced_is_read_again(server: SandboxServer, tmp_path: Path):
    token = written(tmp_path / "token", "an old token")
    source = reach(server, token)
    with pytest.raises(Denied):
        source.fetch("", NOON)

    written(token, TOKEN)

    assert source.fetch("", NOON).cursor


def test_a_right_that_is_missing_is_told(world: KubernetesSystem, cluster: Cluster):
    world.forbid("events")

    with pytest.raises(Denied, match="events is forbidden"):
        cluster.fetch("", NOON)


def test_a_token_that_cannot_be_read_is_told_at_the_start(server: SandboxServer, tmp_path: Path):
    with pytest.raises(ConfigError, match="token_file"):
        reach(server, tmp_path / "missing")


class Cut:
    """An answer whose connection ended within a line, or that is none."""

    instance = "eu"

    def __init__(self, body: bytes) -> None:
        self.body, self.place = body, "kubernetes 'eu'"

    def get(self, path: str, **options: Any) -> "Cut":
        return self


def test_a_change_that_was_cut_off_comes_again():
    whole = b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}\n'

    seen = Kubernetes(Cut(whole + whole.replace(b"7", b"8")[:-9])).watch("/api/v1/events", "1")  # type: ignore[arg-type]

    assert (len(seen.changes), seen.version) == (1, "7")


def test_an_answer_that_holds_no_changes_is_told():
    with pytest.raises(Unavailable, match="no changes"):
        Kubernetes(Cut(b"<html>\n")).watch("/api/v1/events", "1")  # type: ignore[arg-type]


def test_objects_that_have_no_label_of_their_own_are_told_apart_by_kind():
    tree = sample("kubernetes-warnings.json").tree
    tree["events"][0]["involvedObject"] = {"kind": "HorizontalPodAutoscaler", "namespace": "shop", "name": "cart"}

    item = decode(sample("kubernetes-warnings.json").of(tree))[0]

    assert not isinstance(item, Malformed)
    assert read_labels(translate(item, NOON).labels) == {
        "alertname": "BackOff",
        "object": "cart",
        "object_kind": "HorizontalPodAutoscaler",
        "namespace": "shop",
        "cluster": "eu",
    }
