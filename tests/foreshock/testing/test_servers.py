import json
import os
import socket
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from foreshock.testing.servers import (
    PARTS,
    Alertmanager,
    NodeExporter,
    PostgreSQL,
    Prometheus,
    ServerFailed,
    apt_line,
    free_port,
    missing,
)

LAB_FAULT = """
groups: [{name: lab, rules: [{alert: LabFault, expr: lab_fault > 0, labels: {severity: critical}}]}]
"""


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def test_a_program_without_the_parts_that_tests_need_is_missing(monkeypatch):
    monkeypatch.setitem(PARTS, "sh", ("share/no-such-part",))
    assert missing("sh") == ["sh"]

    monkeypatch.setitem(PARTS, "sh", ("share/*",))
    assert missing("sh") == []


def test_a_program_nobody_has_is_missing_and_named_in_the_apt_line():
    assert missing("sh", "no-such-program") == ["no-such-program"]
    assert apt_line(["promtool", "prometheus"]).endswith(" prometheus")


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


@pytest.mark.parametrize("number", [0, 1])
def test_tests_that_run_side_by_side_never_draw_the_same_port(monkeypatch: pytest.MonkeyPatch, number: int):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")

    ports = [free_port() for _ in range(50)]

    assert {port % 2 for port in ports} == {number}
    assert len(set(ports)) == 50


def test_a_fault_travels_from_the_node_exporter_through_prometheus_to_alertmanager(require):
    require("prometheus", "prometheus-node-exporter", "prometheus-alertmanager")

    def alerts() -> list[str]:
        with urllib.request.urlopen(f"{alertmanager.url}/api/v2/alerts", timeout=5) as answer:
            return [alert["labels"]["alertname"] for alert in json.load(answer)]

    with (
        Alertmanager() as alertmanager,
        NodeExporter() as node,
        Prometheus(scrape={"node": [node.target]}, rules=LAB_FAULT, alertmanagers=[alertmanager.target]),
    ):
        node.write("lab_fault 1")
        deadline = time.monotonic() + 20
        while not alerts() and time.monotonic() < deadline:
            time.sleep(0.1)

        assert alerts() == ["LabFault"]


def test_rules_can_be_replaced_while_prometheus_runs(require):
    require("prometheus")

    with Prometheus() as prometheus:
        prometheus.write_rules(LAB_FAULT)
        with urllib.request.urlopen(f"{prometheus.url}/api/v1/rules", timeout=5) as answer:
            assert "LabFault" in answer.read().decode()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_behind(require):
    require("prometheus")
    broken = Prometheus(rules="groups: {}")

    with pytest.raises(ServerFailed, match="groups"), broken:
        pass

    assert not broken.folder.exists()


def test_each_test_has_an_empty_database_of_its_own(postgresql, postgresql_database):
    with psycopg.connect(plain(postgresql_database)) as connection:
        connection.execute("create table t (n int)")
    other = postgresql.create_database("other")
    with psycopg.connect(plain(other)) as connection:
        assert connection.execute("select count(*) from pg_tables where tablename = 't'").fetchone() == (0,)
    postgresql.drop_database("other")


def test_what_a_durable_postgresql_committed_survives_its_kill(require):
    require("postgres", "initdb")

    with PostgreSQL(durable=True) as server:
        with psycopg.connect(plain(server.url)) as connection:
            connection.execute("create table kept as select 7 as n")
        server.kill()
        server.start()
        with psycopg.connect(plain(server.url)) as connection:
            assert connection.execute("select n from kept").fetchone() == (7,)
        pid = server.pid

    assert not Path(f"/proc/{pid}").exists()
    assert not server.folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to drop")
def test_a_server_started_by_root_does_not_run_as_root(postgresql):
    assert Path(f"/proc/{postgresql.pid}").stat().st_uid != 0
