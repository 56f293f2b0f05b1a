"""A site that fails, from the alerts to the desk and the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

HOSTS = [f"host-{number}" for number in range(12)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForeshockServer]:
    topology = tmp_path / "cmdb"
    topology.mkdir()
    racks = [f"rack-{number}" for number in range(3)]
    names = [*HOSTS, *racks, "site-1"]
    (topology / "nodes.csv").write_text("node,type\n" + "".join(f"{name},{name.split('-')[0]}\n" for name in names))
    ties = [(host, racks[number % 3]) for number, host in enumerate(HOSTS)] + [(rack, "site-1") for rack in racks]
    text = "".join(f"{low},{high},runs_on\n" for low, high in ties)
    (topology / "topology.csv").write_text(f"source,target,relation\n{text}")
    config = {
        "topology": str(topology),
        "correlation": {
            "group": {"threshold": 1.0},
            "ticket": {"delay": "1s", "delay_by_priority": {1: "1s"}, "update_every": "200ms"},
        },
    }
    with ForeshockServer(config=config) as running:
        yield running


def test_a_site_that_fails_is_one_row_one_ticket_and_explained(server: ForeshockServer):
    alerts = [{"labels": {"alertname": "Down", "host": host, "severity": "critical"}} for host in HOSTS]
    assert server.post("/api/v2/alerts", alerts).status == 200

    eventually(lambda: server.get("/api/v1/incidents")[0]["tickets"], what="a ticket for the site")
    rows = server.get("/api/v1/incidents")
    assert [(row["id"], row["under"], row["parent"]) for row in rows] == [("S-1", 11, "")]
    under = server.get("/api/v1/incidents?parent=S-1")
    assert [row["parent"] for row in under] == ["S-1"] * 11

    view = server.get("/api/v1/incidents/S-1")["umbrella"]
    assert (view["ci"], view["open"], view["alerts"], len(view["children"])) == ("site-1", 11, 12, 11)
    eventually(lambda: server.get("/api/v1/incidents/S-5")["row"]["held_by"], what="a reason")
    assert server.get("/api/v1/incidents/S-5")["row"]["held_by"] == "S-1 has the ticket for all under its umbrella"

    told = run_foreshock("explain", "S-5", "--server", server.url).stdout
    assert "under the umbrella of S-1" in told
    assert "held (umbrella" in told
    assert "umbrella: This ticket is also for 11 situations that began below site-1 (site)" in run_foreshock(
        "explain", "S-1", "--server", server.url
    ).stdout  # fmt: skip
    listed = run_foreshock("incidents", "list", "--server", server.url).stdout
    assert "11 under its umbrella" in listed
    assert "S-5" not in listed
    assert "S-5" in run_foreshock("incidents", "list", "--under", "S-1", "--server", server.url).stdout
