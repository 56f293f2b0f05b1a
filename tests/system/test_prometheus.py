"""A real Prometheus and a real Alertmanager report the same trouble at once; the on-call person sees it once."""

from __future__ import annotations

import pytest

from foreshock.testing.servers import (
    Alertmanager,
    ForeshockServer,
    NodeExporter,
    Prometheus,
    eventually,
    free_port,
)

RULES = """
groups:
- name: lab
  rules:
  - alert: DatabaseDown
    expr: lab_database_down > 0
    labels: {severity: critical, ci: orders-db}
    annotations: {summary: 'the database of {{ $labels.instance }} is down'}
  - alert: CheckoutErrors
    expr: lab_checkout_errors > 0
    labels: {severity: warning, ci: checkout}
    annotations: {summary: 'checkout fails'}
"""

TOPOLOGY = """
version: 1
cis:
- {id: orders-db, kind: database, owner: dba}
- {id: checkout, kind: service, owner: shop-team}
relationships:
- {source: checkout, type: depends_on, target: orders-db}
"""

SHORT = {
    "correlation": {
        "ticket": {"delay": "2s", "delay_by_priority": {1: "2s"}, "update_every": "1s"},
        "group": {"quiet": "2s"},
    }
}

# Prometheus sends to Foreshock again this soon, so that a run takes seconds.
RESEND = ["--rules.alert.resend-delay=1s"]


@pytest.fixture
def chain(require):
    """(foreshock, node exporter): Prometheus posts to Foreshock, and to an Alertmanager that posts there too."""
    require("prometheus", "prometheus-node-exporter", "prometheus-alertmanager")
    port = free_port()
    webhook = f"http://127.0.0.1:{port}/api/v1/collect/alertmanager"
    with (
        ForeshockServer(config=SHORT, topology=TOPOLOGY, port=port) as foreshock,
        Alertmanager(webhooks=[webhook]) as alertmanager,
        NodeExporter() as node,
        Prometheus(
            scrape={"node": [node.target]},
            rules=RULES,
            alertmanagers=[foreshock.target, alertmanager.target],
            options=RESEND,
        ),
    ):
        yield foreshock, node


def test_two_ways_of_one_alert_are_one_incident_from_its_first_alert_to_its_end(chain):
    foreshock, node = chain

    def row():
        rows = foreshock.incidents()
        return rows[0] if rows else None

    def desk():
        """The desk's record of the incident with the texts of its notes."""
        found = foreshock.incident("S-1")
        return (found["records"][0], [note["text"] for note in found["notes"]]) if found["records"] else None

    # One alert through two ways.
    node.write("lab_database_down 1\nlab_checkout_errors 0")
    eventually(lambda: heard(foreshock) >= {"alertmanager", "alertmanager_webhook"}, what="an alert through both ways")
    [alert] = foreshock.get("/api/v2/alerts")
    assert alert["labels"]["alertname"] == "DatabaseDown"
    [incident] = foreshock.incidents()
    assert (incident["alerts"], incident["cis"]) == (1, ["orders-db"])

    # Its ticket, after the delay.
    record, notes = eventually(desk, what="the ticket")
    assert record["number"] == "INC0000001"
    assert (record["state"], record["ci"], record["assignment_group"]) == ("new", "orders-db", "dba")
    assert notes[0].startswith("Opened by Foreshock: 1 active alert;")

    # A second alert, on what depends on the database: the same incident, and its ticket says so.
    node.write("lab_database_down 1\nlab_checkout_errors 1")
    eventually(lambda: row()["alerts"] == 2, what="the second alert in the same incident")
    eventually(lambda: "and 1 more" in desk()[0]["title"], what="an update of the ticket")
    found = foreshock.incident("S-1")
    assert len(foreshock.incidents()) == 1
    assert [cause["ci"] for cause in found["causes"]] == ["orders-db", "checkout"]
    assert found["causes"][0]["score"] > found["causes"][1]["score"]
    why = {alert["name"]: alert["why"] for alert in found["alerts"]}["CheckoutErrors"]
    assert (why["path"], why["relations"]) == (["checkout", "orders-db"], ["depends_on"])
    assert "checkout depends on orders-db" in why["sentence"]
    assert any("2 of 2 alerts active" in text for text in desk()[1])

    # The end of both.
    node.write("lab_database_down 0\nlab_checkout_errors 0")
    eventually(lambda: row()["state"] == "resolved", what="the end of the incident")
    record, notes = eventually(lambda: desk() if desk()[0]["state"] == "resolved" else None, what="the ticket's end")
    assert record["resolution_code"] == "recovered"
    assert notes[-1] == "Resolved by Foreshock: every alert has recovered."
    assert len(notes) == len(set(notes))
    assert foreshock.get("/api/v2/alerts") == []
    assert foreshock.incident("S-1")["causes"][0]["ci"] == "orders-db"

    # Prometheus repeats the resolve for 15 minutes, and Alertmanager may be late: nothing comes back.
    batches = sent(foreshock)
    eventually(lambda: sent(foreshock) >= batches + 3, what="three more posts")
    assert [(each["id"], each["state"]) for each in foreshock.incidents()] == [("S-1", "resolved")]
    assert desk()[1] == notes
    assert foreshock.get("/api/v1/status")["dead_letters"] == 0


def heard(foreshock: ForeshockServer) -> set[str]:
    """Collectors that have received something."""
    return {source["collector"] for source in foreshock.get("/api/v1/sources") if source["events"]}


def sent(foreshock: ForeshockServer) -> int:
    """Posts received so far."""
    return sum(source["batches"] for source in foreshock.get("/api/v1/sources"))
