"""A disk fills up under a real Prometheus and node exporter: people have a problem before the alert, and the ledger
says how long before."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.testing.servers import (
    ForeshockServer,
    NodeExporter,
    Prometheus,
    eventually,
    free_port,
    run_foreshock,
)

QUOTA = 64_000_000
MOUNT = "/var/spool"

RULES = """
groups:
- name: disks
  rules:
  - alert: FilesystemAlmostFull
    expr: node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.mountpoint }} is almost full'}
"""

TOPOLOGY = """
version: 1
cis:
- {id: db1, kind: host, owner: dba}
- {id: shop, kind: service, owner: shop-team}
relationships:
- {source: shop, type: depends_on, target: db1}
"""

FILL = """
import pathlib, sys, time
folder, number = pathlib.Path(sys.argv[1]), 0
while True:
    fast = (folder / "faster").exists()
    (folder / f"spool-{number}").write_bytes(bytes(2_000_000 if fast else 125_000))
    number += 1
    time.sleep(0.25)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a quota that a process fills, half a megabyte a second."""
    folder = tmp_path / "spool"
    folder.mkdir()
    filling = subprocess.Popen([sys.executable, "-c", FILL, str(folder)])
    try:
        yield folder
    finally:
        filling.kill()
        filling.wait()


@pytest.fixture
def node(require, disk: Path) -> Iterator[NodeExporter]:
    """Exposes size and free bytes of the disk, as the collector filesystem does for one that is mounted."""
    require("prometheus", "prometheus-node-exporter")
    stop = threading.Event()

    def measure(node: NodeExporter) -> None:
        while not stop.wait(0.25):
            free = max(0, QUOTA - sum(each.stat().st_size for each in disk.iterdir()))
            labels = f'device="lab",fstype="ext4",mountpoint="{MOUNT}"'
            node.write(
                f"node_filesystem_avail_bytes{{{labels}}} {free}\nnode_filesystem_size_bytes{{{labels}}} {QUOTA}"
            )

    with NodeExporter() as node:
        measuring = threading.Thread(target=measure, args=(node,))
        measuring.start()
        try:
            yield node
        finally:
            stop.set()
            measuring.join()


def test_a_disk_that_fills_up_has_its_problem_before_its_alert_and_the_ledger_has_the_time_between(disk, node):
    port, listens = free_port(), free_port()
    config = {
        "collectors": [
            {
                "name": "prom",
                "kind": "remote_write",
                "listen": f"127.0.0.1:{listens}",
                "metrics": [{"match": "node_filesystem_avail_bytes", "dimension": ["mountpoint"]}],
            }
        ],
        "predict": {
            "capacity": [
                {"match": 'metric="node_filesystem_avail_bytes"', "direction": "down", "horizon": "3m", "limit": 0.0}
            ]
        },
        "correlation": {"ticket": {"delay": "1s", "delay_by_priority": {}}},
    }
    scrape = {"job_name": "node", "static_configs": [{"targets": [node.target], "labels": {"instance": "db1:9100"}}]}
    with (
        ForeshockServer(config=config, topology=TOPOLOGY, port=port) as foreshock,
        Prometheus(
            rules=RULES,
            alertmanagers=[foreshock.target],
            remote_write=[f"http://127.0.0.1:{listens}/api/v1/write"],
            config={"scrape_configs": [scrape]},
        ),
    ):
        (problem,) = eventually(lambda: foreshock.get("/api/v1/problems"), what="a problem on the desk", within_s=120)
        assert problem["title"] == f"Expected: node_filesystem_avail_bytes mountpoint={MOUNT} on db1"
        assert (problem["assignment_group"], problem["ci"]) == ("dba", "db1")
        assert foreshock.incidents() == [], "no alert has fired yet"
        standing = run_foreshock("forecasts", "list", "--server", foreshock.url).stdout
        assert "P-1" in standing
        assert "reaches 0 in" in standing

        (disk / "faster").touch()
        entry = eventually(lambda: confirmed(foreshock), what="the incident that was expected", within_s=60)
        (incident,) = foreshock.incidents()
        assert (entry["situation"], entry["problem"]) == (incident["id"], "P-1")
        assert entry["heard_at"] < incident["opened_at"]

        figures = foreshock.get("/api/v1/forecasts/ledger")["all"]
        assert (figures["precision"]["count"], figures["recall"]["count"]) == (1, 1)
        assert figures["lead"]["median_s"] > 0
        assert "confirmed" in run_foreshock("forecasts", "past", "--server", foreshock.url).stdout
        assert "100%" in run_foreshock("forecasts", "ledger", "--by", "team", "--server", foreshock.url).stdout
        notes = [note["text"] for note in foreshock.get(f"/api/v1/records/{problem['number']}")["notes"]]
        assert any(text.startswith(f"Confirmed: {incident['id']}") for text in notes)


def confirmed(foreshock: ForeshockServer) -> dict | None:
    found = foreshock.get("/api/v1/forecasts/entries?outcome=confirmed")
    return found[0] if found and foreshock.incidents()[0]["tickets"] else None
