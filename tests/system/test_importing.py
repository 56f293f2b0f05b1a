"""An imported configuration beside the tool it came from: the same alerts are quiet on both sides."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from foreshock.testing.servers import (
    Alertmanager,
    ForeshockServer,
    Nagios,
    NodeExporter,
    Prometheus,
    eventually,
    free_port,
    run_foreshock,
)

ROOT = Path(__file__).parents[2]
INHIBIT = r"""
- source_matchers: [alertname="ClusterDown"]
  target_matchers: ['alertname!="ClusterDown"', 'severity=~"warning|info|.*x"']
  equal: [cluster]
- source_match: {severity: critical}
  target_match_re: {severity: warning|info}
  equal: [cluster, namespace, alertname]
- source_matchers: ['{alertname="NodeDown",cluster!="b"}']
  target_matchers: ['alertname=~"Disk.*"', severity!="critical"]
  equal: [namespace]
- source_matchers: [severity=~"warning|critical", alertname = NodeDown]
  target_matchers: [alertname=~"NodeDown|Load", severity=info]
- source_matchers: [alertname="Load"]
  target_matchers: [alertname="DiskFull", severity!="critical", namespace=""]
  equal: [absent]
"""

ROUTES = {
    "receiver": "sink",
    "group_by": ["cluster"],
    "routes": [
        {"receiver": "nobody", "matchers": ['alertname=~"Load|Watchdog"', 'severity="info"']},
        {"receiver": "other", "matchers": ['cluster="b"'], "continue": True},
        {
            "receiver": "other",
            "match_re": {"namespace": "shop|pay"},
            "routes": [{"receiver": "nobody", "match": {"severity": "info"}}],
        },
        {"receiver": "nobody", "matchers": ['cluster="b"', 'namespace=""']},
    ],
}


def config() -> dict[str, Any]:
    hooks = [{"url": "http://127.0.0.1:9/"}]
    return {
        "route": ROUTES,
        "inhibit_rules": json.loads(json.dumps(YAML(typ="safe").load(INHIBIT))),
        "receivers": [
            {"name": "sink", "webhook_configs": hooks},
            {"name": "other", "webhook_configs": hooks},
            {"name": "nobody"},
        ],
    }


def every_alert() -> list[dict[str, str]]:
    """Label sets of a small house, labels that are absent among them."""
    chosen = itertools.product(
        ("ClusterDown", "NodeDown", "DiskFull", "Load", "Watchdog"), ("critical", "warning", "info"), ("a", "b"),
        ("shop", "ops", ""),
    )  # fmt: skip
    names = ("alertname", "severity", "cluster", "namespace")
    return [{name: value for name, value in zip(names, values, strict=True) if value} for values in chosen]


def post(url: str, path: str, value: Any) -> None:
    request = urllib.request.Request(
        url + path, data=json.dumps(value).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return json.load(answer)


def fire(url: str, labels: list[dict[str, str]], since: datetime, until: datetime) -> None:
    alerts = [{"labels": one, "startsAt": since.isoformat(), "endsAt": until.isoformat()} for one in labels]
    post(url, "/api/v2/alerts", alerts)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


def quiet(url: str, why: str) -> set[tuple[tuple[str, str], ...]]:
    """Labels of the alerts that are kept quiet for this reason: silencedBy or inhibitedBy."""
    return {tuple(sorted(a["labels"].items())) for a in get(url, "/api/v2/alerts") if a["status"][why]}


@pytest.fixture(scope="module")
def imported(require, tmp_path_factory):
    """(alertmanager, foreshock): a real Alertmanager with two silences; Foreshock with what was imported from it."""
    require("prometheus-alertmanager", "amtool")
    with Alertmanager(config=config()) as alertmanager:
        now = datetime.now(UTC)
        for matchers in (
            [
                {"name": "namespace", "value": "sh.*", "isRegex": True},
                {"name": "severity", "value": "critical", "isRegex": False, "isEqual": False},
            ],
            [{"name": "cluster", "value": "a", "isRegex": False}, {"name": "namespace", "value": "", "isRegex": False}],
        ):
            post(
                alertmanager.url,
                "/api/v2/silences",
                {
                    "matchers": matchers,
                    "startsAt": now.isoformat(),
                    "endsAt": (now + timedelta(hours=1)).isoformat(),
                    "createdBy": "ann",
                    "comment": "planned work",
                },
            )
        folder = tmp_path_factory.mktemp("import") / "imported"
        done = run_foreshock(
            "import", "alertmanager", str(alertmanager.folder / "alertmanager.yml"), "--silences", alertmanager.url,
            "--out", str(folder),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made = YAML(typ="safe", pure=True).load((folder / "foreshock.yaml").read_text())
        assert "explains nothing by this rule" not in (folder / "REPORT.md").read_text()
        with ForeshockServer(config={**made, "rules": str(folder / "rules")}) as foreshock:
            for already in (0, 2):  # a second time nothing is set twice
                done = run_foreshock("silence", "import", str(folder / "silences.json"), "--server", foreshock.url)
                assert f"{2 - already} silences set, {already} set already" in done.stdout, done.stderr
            yield alertmanager, foreshock


def test_what_alertmanager_inhibits_and_silences_is_quiet_after_the_import(imported):
    alertmanager, foreshock = imported
    chance = random.Random(7)

    for _ in range(8):
        chosen = chance.sample(every_alert(), chance.randint(2, 14))
        began = datetime.now(UTC)
        for url in (alertmanager.url, foreshock.url):
            fire(url, chosen, began, soon())
        eventually(lambda chosen=chosen: len(get(alertmanager.url, "/api/v2/alerts")) == len(chosen), what="alerts")
        for why in ("inhibitedBy", "silencedBy"):
            # Alertmanager may take a moment until a new alert inhibits others.
            eventually(
                lambda why=why: quiet(alertmanager.url, why) == quiet(foreshock.url, why),
                within_s=5,
                what=f"{why} on both sides, for {chosen}",
            )
        for url in (alertmanager.url, foreshock.url):
            fire(url, chosen, began, datetime.now(UTC))
        eventually(lambda: not get(alertmanager.url, "/api/v2/alerts"), what="the end of the alerts")


def test_what_alertmanager_tells_nobody_is_in_a_window_after_the_import(imported):
    """`amtool config routes test` says where Alertmanager would send an alert."""
    alertmanager, foreshock = imported
    labels = [one for one in every_alert() if one["severity"] != "critical"]
    began = datetime.now(UTC)
    fire(foreshock.url, labels, began, soon())
    muted = quiet(foreshock.url, "mutedBy")
    fire(foreshock.url, labels, began, datetime.now(UTC))

    told_nobody = set()
    for one in labels:
        words = [f"{name}={value}" for name, value in one.items()]
        file = str(alertmanager.folder / "alertmanager.yml")
        found = subprocess.run(
            ["amtool", "config", "routes", "test", f"--config.file={file}", *words],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        if set(found.stdout.strip().split(",")) == {"nobody"}:
            told_nobody.add(tuple(sorted(one.items())))
    assert told_nobody
    assert muted == told_nobody


RULES = """
groups:
- name: lab
  rules:
  - {alert: ClusterDown, expr: lab_fault > 0, labels: {severity: critical, cluster: a}}
  - {alert: DiskFull, expr: lab_fault > 0, labels: {severity: warning, cluster: a}}
  - {alert: Load, expr: lab_fault > 0, labels: {severity: warning, cluster: c}}
"""


def test_prometheus_sends_to_both_and_both_keep_the_same_alert_quiet(imported):
    alertmanager, foreshock = imported
    with (
        NodeExporter() as node,
        Prometheus(
            scrape={"node": [node.target]},
            rules=RULES,
            alertmanagers=[f"127.0.0.1:{alertmanager.port}", foreshock.target],
            external_labels={"replica": "one"},
        ),
    ):
        node.write("lab_fault 1")
        for url in (alertmanager.url, foreshock.url):
            eventually(lambda url=url: len(get(url, "/api/v2/alerts")) == 3, what="three alerts on both sides")

        def names(url: str, why: str) -> set[str]:
            return {dict(labels)["alertname"] for labels in quiet(url, why)}

        for url in (alertmanager.url, foreshock.url):
            eventually(lambda url=url: names(url, "inhibitedBy") == {"DiskFull"}, what="the inhibited alert")


def test_the_routes_of_the_page_tell_foreshock_too_and_everybody_else_as_before(require, tmp_path):
    require("amtool")
    text = from_the_page("# alertmanager.yml").replace("# … your routes …", "- {receiver: dba, matchers: [team=dba]}")
    (tmp_path / "alertmanager.yml").write_text(text + "  - name: dba\n")

    def receivers(*labels: str) -> str:
        words = ["amtool", "config", "routes", "test", f"--config.file={tmp_path / 'alertmanager.yml'}", *labels]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    assert receivers("team=dba") == "foreshock,dba"
    assert receivers("team=web") == "foreshock,ops"


# ---- Nagios ---------------------------------------------------------------------------------------------------------


def from_the_page(first_line: str) -> str:
    """The block of docs/migrating.md that begins so."""
    blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "docs/migrating.md").read_text(), re.DOTALL)
    [found] = [block for block in blocks if block.startswith(first_line)]
    return found


def test_nagios_tells_foreshock_too_and_what_was_imported_fits_what_it_tells(require, tmp_path):
    """The script and the definitions of the page, the example of the import, a real Nagios."""
    require("nagios4", "/usr/bin/python3")
    port, nagios = free_port(), Nagios("")
    script = nagios.folder / "foreshock-notify"
    script.write_text(from_the_page("#!/usr/bin/env python3"))
    told = from_the_page("define command").replace("http://foreshock:8420", f"http://127.0.0.1:{port}")
    # Nagios runs as an account of its own, for which an interpreter below a home folder is out of reach.
    told = told.replace("/usr/local/bin/foreshock-notify", f"/usr/bin/python3 {script}")
    nagios.objects = (ROOT / "tests/samples/nagios-objects.cfg").read_text() + told.replace(" admins", " network,linux")
    with nagios:
        nagios.command(f"SCHEDULE_HOST_DOWNTIME;edge;{time.time():.0f};{time.time() + 3600:.0f};1;0;0;ann;new cables")
        eventually(lambda: "hostdowntime" in nagios.status_file.read_text(), what="the downtime in the status file")
        folder = tmp_path / "imported"
        words = ("import", "nagios", str(nagios.main_file), "--silences", str(nagios.status_file), "--out", str(folder))
        done = run_foreshock(*words)
        assert done.returncode == 0, done.stderr
        made = YAML(typ="safe", pure=True).load((folder / "foreshock.yaml").read_text())
        topology = (folder / "topology.yaml").read_text()
        with ForeshockServer(
            config={k: v for k, v in made.items() if k != "topology"}, topology=topology, port=port
        ) as us:
            done = run_foreshock("silence", "import", str(folder / "silences.json"), "--server", us.url)
            assert "1 silence set" in done.stdout

            nagios.command("PROCESS_SERVICE_CHECK_RESULT;web1;Load;2;load's 9|load=9")
            eventually(lambda: len(get(us.url, "/api/v2/alerts")) == 1, what="the service's alert")
            nagios.command("PROCESS_HOST_CHECK_RESULT;web1;1;no answer")
            eventually(lambda: len(get(us.url, "/api/v2/alerts")) == 2, what="the host's alert")

            assert quiet(us.url, "inhibitedBy") == {(("alertname", "Load"), ("host", "web1"), ("job", "nagios"))}
            assert [one["cis"] for one in us.incidents()] == [["web1"]]
            nagios.command("PROCESS_HOST_CHECK_RESULT;web1;0;back")
            eventually(lambda: not quiet(us.url, "inhibitedBy"), what="the recovery")
            assert [row["matchers"] for row in us.get("/api/v1/silences")] == [['job="nagios"', 'host="edge"']]
