"""Real monitoring tools, set up as the connect pages say, report trouble and its end to a running Foreshock."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.zabbix import ZabbixConfig
from foreshock.connect.config import strictly
from foreshock.core.model import Event, Samples, read_labels
from foreshock.service.settings import collector_kinds
from foreshock.store.history import ParquetHistory
from foreshock.testing.monitoring_servers import Collectd, Icinga2, Zabbix, zabbix_tables
from foreshock.testing.payloads import sample
from foreshock.testing.servers import ForeshockServer, Nagios, eventually

COLLECTORS = collector_kinds()
TOKEN = "a-token-of-nagios-and-nobody-else"
PAGES = Path(__file__).resolve().parents[2] / "docs/connect"


def from_page(kind: str, foreshock: ForeshockServer, *, address: bool = True) -> str:
    """The first block of text that the page of the kind says to paste, for this Foreshock."""
    _, _, by_hand = (PAGES / f"{kind}.md").read_text(encoding="utf-8").partition("From here on written by hand")
    found = re.search(r"^```\w*\n(.*?)^```", by_hand, re.DOTALL | re.MULTILINE)
    assert found is not None
    assert ("127.0.0.1:8420" in found[1]) is address
    return found[1].replace("127.0.0.1:8420", foreshock.target)


@pytest.fixture(scope="module")
def foreshock(tmp_path_factory):
    """It has a source ``guarded`` of Nagios, which must show ``TOKEN``."""
    token = tmp_path_factory.mktemp("secrets") / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    guarded = {"name": "guarded", "kind": "nagios", "token_files": [str(token)]}
    with ForeshockServer(config={"collectors": [guarded]}) as server:
        yield server


@pytest.fixture(scope="module")
def zabbix(postgresql, require):
    require("zabbix_server", "zabbix_agentd", "php", "psql")
    postgresql.create_database("zabbix")
    zabbix_tables(postgresql, "zabbix")
    with Zabbix(postgresql, "zabbix") as server:
        yield server
    postgresql.drop_database("zabbix")


def alerts(foreshock: ForeshockServer, **labels: str) -> list[dict[str, Any]]:
    """Those that fire and have these labels."""
    fire = foreshock.get("/api/v2/alerts")
    return [alert for alert in fire if labels.items() <= alert["labels"].items()]


def opens_and_resolves(
    foreshock: ForeshockServer, trouble: Callable[[], object], end: Callable[[], object], **labels: str
) -> dict[str, Any]:
    """The alert, as it fired; one, once, and all that came could be read."""
    unread = foreshock.get("/api/v1/status")["dead_letters"]
    trouble()
    (alert,) = eventually(lambda: alerts(foreshock, **labels), what=f"an alert with {labels}")
    end()
    eventually(lambda: not alerts(foreshock, **labels), what=f"the end of the alert with {labels}")
    assert foreshock.get("/api/v1/status")["dead_letters"] == unread
    return alert


NAGIOS = """
define timeperiod {
  timeperiod_name 24x7
  alias always
  monday 00:00-24:00
  tuesday 00:00-24:00
  wednesday 00:00-24:00
  thursday 00:00-24:00
  friday 00:00-24:00
  saturday 00:00-24:00
  sunday 00:00-24:00
}
define command {
  command_name passive
  command_line /bin/true
}
define host {
  host_name nagios-a
  address 192.0.2.5
  check_command passive
  max_check_attempts 1
  check_interval 60
  notification_interval 0
  notification_period 24x7
  notification_options d,u,r,f,s
  contacts foreshock
}
define service {
  host_name nagios-a
  service_description disk
  check_command passive
  max_check_attempts 1
  check_interval 60
  retry_interval 60
  check_period 24x7
  notification_interval 0
  notification_period 24x7
  notification_options w,u,c,r,f,s
  contacts foreshock
}
"""


def test_nagios_reports_services_and_hosts(foreshock, require):
    require("nagios4", "curl")
    result = "PROCESS_SERVICE_CHECK_RESULT;nagios-a;disk"
    with Nagios(NAGIOS + from_page("nagios", foreshock)) as nagios:
        alert = opens_and_resolves(
            foreshock,
            lambda: nagios.command(f'{result};2;DISK CRITICAL - it\'s 97% full & "b"|used=97%;80;90;0;100'),
            lambda: nagios.command(f"{result};0;DISK OK"),
            alertname="disk",
            host="nagios-a",
        )
        host = opens_and_resolves(
            foreshock,
            lambda: nagios.command("PROCESS_HOST_CHECK_RESULT;nagios-a;1;no ping"),
            lambda: nagios.command("PROCESS_HOST_CHECK_RESULT;nagios-a;0;ping"),
            alertname="Host down",
            host="nagios-a",
        )

    assert alert["annotations"]["summary"].startswith("DISK CRITICAL - its 97% full")
    assert alert["annotations"]["perfdata"] == "used=97%;80;90;0;100"
    assert host["annotations"]["summary"] == "no ping"
    assert {alert["annotations"]["notification"], host["annotations"]["notification"]} == {"PROBLEM"}


def test_a_token_in_a_file_of_headers_is_what_a_guarded_source_wants(foreshock, require, tmp_path):
    require("curl")
    command = next(line for line in from_page("nagios", foreshock).splitlines() if "$SERVICEDESC$" in line)
    command = command.partition("command_line ")[2].replace("/api/v1/collect", "/s/guarded/api/v1/collect")
    values = {"HOSTNAME": "guarded-a", "SERVICEDESC": "load", "SERVICESTATE": "WARNING", "TIMET": "1795317336"}
    command = re.sub(r"\$([A-Z]+)\$", lambda macro: values.get(macro[1], ""), command)
    header = tmp_path / "foreshock.header"
    header.write_text(f"Authorization: Bearer {TOKEN}\n")

    without = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    shown = subprocess.run(["sh", "-c", f"{command} -H @{header}"], timeout=20, check=False)

    assert (without.returncode, shown.returncode) == (22, 0)
    assert "401" in without.stderr
    (alert,) = eventually(lambda: alerts(foreshock, host="guarded-a"), what="the alert")
    assert alert["labels"]["alertname"] == "load"


def test_the_script_for_checkmk_posts_what_stands_in_its_environment(foreshock, tmp_path):
    script = tmp_path / "foreshock"
    script.write_text(from_page("checkmk", foreshock, address=False))
    variables = {f"NOTIFY_{name}": value for name, value in sample("checkmk-firing.json").tree.items()}
    variables |= {"NOTIFY_PARAMETER_1": f"{foreshock.url}/api/v1/collect/checkmk", "NOTIFY_CONTACTPAGER": "secret"}

    done = subprocess.run(
        [sys.executable, script], env=variables, capture_output=True, text=True, timeout=20, check=False
    )
    refused = {**variables, "NOTIFY_SERVICESTATE": "SOSO"}
    never = subprocess.run([sys.executable, script], env=refused, capture_output=True, timeout=20, check=False)

    assert (done.returncode, done.stdout) == (0, "Foreshock answered 202\n")
    assert never.returncode == 2
    (alert,) = eventually(lambda: alerts(foreshock, alertname="Filesystem /var"), what="the alert")
    assert alert["labels"]["checkmk_site"] == "main"


def test_the_handler_for_sensu_posts_what_it_reads(foreshock, require):
    require("curl")
    command = yaml.safe_load(from_page("sensu", foreshock))["spec"]["command"]

    for name in ("sensu-firing.json", "sensu-resolved.json"):
        subprocess.run(["sh", "-c", command], input=sample(name).payload, timeout=20, check=True)
        fires = name == "sensu-firing.json"
        eventually(lambda fires=fires: bool(alerts(foreshock, sensu_namespace="default")) is fires, what=name)


def test_icinga_reports_services_and_hosts(foreshock, require):
    require("icinga2", "curl", "openssl")
    with Icinga2(from_page("icinga2", foreshock)) as icinga:
        alert = opens_and_resolves(
            foreshock,
            lambda: icinga.check_result(2, "DISK CRITICAL - it's 97% full"),
            lambda: icinga.check_result(0, "DISK OK"),
            alertname="disk",
            host="host-a",
        )
        host = opens_and_resolves(
            foreshock,
            lambda: icinga.check_result(1, "no ping", service=""),
            lambda: icinga.check_result(0, "ping", service=""),
            alertname="Host down",
            host="host-a",
        )

    assert alert["annotations"]["summary"] == "DISK CRITICAL - it's 97% full"
    assert alert["annotations"]["service.vars.component"] == "storage"
    assert host["annotations"]["summary"] == "no ping"


def test_icinga_is_listened_to_and_asked_for_what_was_missed(require, tmp_path):
    require("icinga2", "openssl")
    password = tmp_path / "password"
    password.write_text("lab")
    password.chmod(0o600)
    with Icinga2() as icinga:
        icinga.check_result(2, "DISK CRITICAL")  # before anybody listens
        account = {"url": icinga.url, "user": "lab", "password_file": str(password), "ca_file": str(icinga.authority)}
        with ForeshockServer(config={"collectors": [{"name": "lab", "kind": "icinga2", **account}]}) as foreshock:

            def fires(**labels: str) -> bool:
                return bool(alerts(foreshock, host="host-a", **labels))

            eventually(lambda: fires(alertname="disk"), what="the service that was in trouble before")
            assert not fires(alertname="Host down")  # it was never checked, and counts as down there
            icinga.check_result(1, "no ping", service="")
            eventually(lambda: fires(alertname="Host down"), what="the host")
            icinga.check_result(0, "ping", service="")
            eventually(lambda: not fires(alertname="Host down"), what="the end of the host's alert")

            icinga.stop()
            icinga.start()
            icinga.check_result(0, "DISK OK")
            eventually(lambda: not fires(), within_s=60, what="the end of the service's alert")

            assert foreshock.get("/api/v1/status")["dead_letters"] == 0
            assert len(foreshock.incidents()) <= 2


def test_collectd_reports_what_passes_its_threshold(foreshock, require):
    require("collectd")
    with Collectd(from_page("collectd", foreshock)) as collectd:
        alert = opens_and_resolves(
            foreshock, lambda: collectd.put(50), lambda: collectd.put(3), alertname="collectd_exec_gauge", exec="queue"
        )

    assert "above the failure threshold" in alert["annotations"]["summary"]


def points_posted(foreshock: ForeshockServer, outcome: str) -> float:
    """Of collectd."""
    name = f'foreshock_intake_points_total{{outcome="{outcome}",source="collectd"}} '
    lines = foreshock.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_values_of_collectd_become_series_that_outlive_a_kill(require):
    require("collectd")
    metrics = [{"match": "collectd_exec_gauge", "metric": "queue"}, {"match": "collectd_exec_derive_total"}]
    instance = {"name": "collectd", "kind": "collectd", "metrics": metrics}
    with ForeshockServer(config={"collectors": [instance]}) as own:
        page = from_page("collectd", own).replace("FlushInterval 10", "FlushInterval 1")
        with Collectd("LoadPlugin load\n" + page) as collectd:
            collectd.put(3)
            collectd.put(100, of="derive-jobs")
            eventually(lambda: points_posted(own, "kept") >= 1, what="the queue in the history")
            collectd.put(150, of="derive-jobs")
            eventually(lambda: points_posted(own, "kept") >= 2, what="the growth of a counter")
            eventually(lambda: points_posted(own, "ignored") >= 3, what="the load, which is not selected")
        (source,) = (each for each in own.get("/api/v1/sources") if each["name"] == "collectd")
        own.kill()
        history = eventually(lambda: ParquetHistory(own.state / "metrics"), what="the history")
        now = datetime.now(UTC)
        found = history.read(now - timedelta(hours=1), now + timedelta(minutes=1))

    assert source["last_seen"] is not None
    assert source["rejected"] == 0
    queue, jobs = (
        next(each for each in found if each.series.metric == metric)
        for metric in ("queue", "collectd_exec_derive_total")
    )
    assert (queue.series.ci, queue.series.dimension, list(queue.values)) == ("host-a", "exec=queue", [3.0])
    assert (jobs.series.ci, jobs.series.dimension, len(jobs.values)) == ("host-a", "exec=jobs", 1)
    assert jobs.values[0] > 0


def test_zabbix_reports_problems_updates_and_recoveries(foreshock, zabbix):
    zabbix.report_to(f"{foreshock.url}/api/v1/collect/zabbix", PAGES / "zabbix_media_type.yaml")

    def updated() -> dict[str, Any] | None:
        found = alerts(foreshock, host="host-a", service="shop")
        return found[0] if found and found[0]["annotations"].get("comment") == "looking" else None

    def acknowledge() -> None:
        (problem,) = zabbix.call("problem.get", {"output": ["eventid"]})
        zabbix.call("event.acknowledge", {"eventids": problem["eventid"], "action": 6, "message": "looking"})
        seen.update(eventually(updated, what="the update"))
        zabbix.fault(0)

    seen: dict[str, Any] = {}
    alert = opens_and_resolves(
        foreshock, lambda: zabbix.fault(1), acknowledge, alertname="Lab fault on host-a", host="host-a"
    )

    assert alert["labels"].items() >= {"component": "disk", "service": "shop"}.items()
    assert seen["annotations"]["acknowledged"] == "Yes"
    assert set(alert["labels"]) == {"alertname", "component", "host", "service", "trigger_id"}
    (event,) = zabbix.call("event.get", {"eventids": alert["annotations"]["event_id"]})
    for each in (alert, seen):  # the script works the time out
        assert datetime.fromisoformat(each["startsAt"]) == datetime.fromtimestamp(int(event["clock"]), UTC)


def test_zabbix_is_asked_for_what_it_did_not_send(zabbix, tmp_path):
    """By the API a problem is the alert that the media type makes of it."""
    file = tmp_path / "token"
    file.write_text(zabbix.token())
    file.chmod(0o600)
    items = [{"metric": "fault", "key": "lab.*"}]
    config = strictly({"url": zabbix.url, "token_file": str(file), "items": items}, ZabbixConfig)
    poller = COLLECTORS["zabbix"].poll.build("lab", config)
    place, seen = "", []

    def told(value: str) -> list[Any]:
        nonlocal place
        page = poller.fetch(place, datetime.now(UTC) + timedelta(seconds=10))
        place = page.cursor
        items = [item for payload in page.payloads for item in COLLECTORS["zabbix"].decode(payload)]
        seen.extend(COLLECTORS["zabbix"].translate(item, datetime.now(UTC)) for item in items)
        return [item for item in items if getattr(item, "event_value", "") == value]

    told("1")
    zabbix.fault(1)
    (problem,) = eventually(lambda: told("1"), what="the problem")
    zabbix.fault(0)
    eventually(lambda: told("0"), what="its end")

    begin, end = (each for each in seen if isinstance(each, Event))
    labels = {"alertname": "Lab fault on host-a", "host": "host-a", "component": "disk", "service": "shop"}
    assert read_labels(begin.labels) == {**labels, "trigger_id": problem.trigger_id}
    assert read_labels(end.labels) == read_labels(begin.labels)
    assert begin.starts_at == end.starts_at
    assert begin.ends_at is None
    assert begin.starts_at < end.ends_at <= datetime.now(UTC)
    values = [value for each in seen if isinstance(each, Samples) for value in each.values]
    assert {0.0, 1.0} <= set(values)
