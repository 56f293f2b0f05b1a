"""What Prometheus remembers of alerts becomes history: each once, from its start to its end."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner

from foreshock.connect.http import Answer
from foreshock.core.errors import Unavailable
from foreshock.service.cli import app
from foreshock.service.past_alerts import Run, lines, read
from foreshock.service.recorded import read_input
from foreshock.service.settings import collector_kinds
from foreshock.testing.mimir import Mimir
from foreshock.testing.records import NOON
from foreshock.testing.servers import Prometheus, VictoriaMetrics

MINUTE = timedelta(minutes=1)
DISK = {"__name__": "ALERTS", "alertstate": "firing", "alertname": "DiskFull", "instance": "db1"}


class Api:
    """Has a point of one alert at each of these seconds after noon."""

    def __init__(self, *points: float, status: str = "success") -> None:
        self.points, self.status, self.asked = points, status, 0

    def post(self, path: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        self.asked += 1
        form = {name: float(values[0]) for name, values in parse_qs(body.decode()).items() if name != "query"}
        values = [
            [NOON.timestamp() + at, "1"] for at in self.points if form["start"] <= NOON.timestamp() + at <= form["end"]
        ]
        result = [{"metric": DISK, "values": values}] if values else []
        answer = {"status": self.status, "error": "too much", "data": {"resultType": "matrix", "result": result}}
        return Answer(status=200, headers={}, body=json.dumps(answer).encode(), place="prometheus")


def runs(api: Api, end: datetime = NOON + timedelta(days=3)) -> list[tuple[float, float, bool]]:
    found = read(api, NOON, end, MINUTE)
    return [(run.start - NOON.timestamp(), run.end - NOON.timestamp(), run.open) for run in found]


def test_points_without_a_pause_are_one_alert_and_a_pause_parts_two():
    assert runs(Api(0, 60, 120, 600, 660)) == [(0, 120, False), (600, 660, False)]


def test_an_alert_goes_on_over_the_days_that_are_asked_for():
    api = Api(*range(0, 2 * 86_400, 60))

    assert runs(api) == [(0, 2 * 86_400 - 60, False)]
    assert api.asked == 4


def test_one_that_fires_still_has_no_end():
    assert runs(Api(0, 60, 120), NOON + timedelta(seconds=130)) == [(0, 120, True)]


def test_an_answer_that_is_none_is_told():
    with pytest.raises(Unavailable, match="too much"):
        runs(Api(status="error"))


def test_the_stream_is_in_order_and_read_as_history(tmp_path):
    start = NOON.timestamp()
    later, first = (Run(start + at, start + at + 60, (("alertname", "A"), ("n", str(at)))) for at in (90, 0))
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"".join(lines([later, first], MINUTE, {"cluster": "eu"})))

    read_back = list(read_input(path, None, collector_kinds()))

    alerts = [alert for each in read_back for alert in json.loads(each.record.body)]
    assert [alert["labels"]["n"] for alert in alerts] == ["0", "90", "0", "90"]
    assert {alert["labels"]["cluster"] for alert in alerts} == {"eu"}
    assert [each.record.at for each in read_back] == sorted(each.record.at for each in read_back)


def remembered(*, seconds: bool) -> list[str]:
    """A disk was full for an hour, an hour ago; with times in seconds or milliseconds."""
    now = time.time() // 60 * 60
    return [
        'ALERTS{alertname="DiskFull",alertstate="firing",instance="db1",severity="critical"} 1 '
        f"{(now - at) * (1 if seconds else 1000):.0f}"
        for at in range(7200, 3600, -60)
    ]


def written(url: str, out: Path, *options: str) -> None:
    """The command has written that alert."""
    arguments = ["history", "prometheus", url, "--since", "1d", "--label", "cluster=eu", "--out", str(out), *options]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0, done.output
    fired, over = (json.loads(line) for line in out.read_text().splitlines())
    assert fired["alert"]["labels"] == {
        "alertname": "DiskFull", "instance": "db1", "severity": "critical", "cluster": "eu",
    }  # fmt: skip
    lasted = datetime.fromisoformat(over["at"]) - datetime.fromisoformat(fired["at"])
    assert timedelta(minutes=58) < lasted < timedelta(minutes=70)
    assert datetime.fromisoformat(fired["at"]).tzinfo == UTC


def test_alerts_of_a_real_prometheus_are_written(require, tmp_path):
    require("prometheus", "promtool")
    with Prometheus(past="\n".join(["# TYPE ALERTS gauge", *remembered(seconds=True), "# EOF\n"])) as server:
        written(server.url, tmp_path / "alerts.jsonl")


def test_alerts_of_a_real_victoriametrics_are_written(require, tmp_path):
    require("victoria-metrics")
    with VictoriaMetrics() as server:
        server.remember("\n".join(remembered(seconds=False)))
        written(server.url, tmp_path / "alerts.jsonl")


def test_mimir_is_asked_behind_its_prefix_and_for_its_tenant(tmp_path):
    with Mimir(tenant="ops") as server:
        server.alerts = [float(line.rpartition(" ")[2]) for line in remembered(seconds=True)]
        done = CliRunner().invoke(app, ["history", "prometheus", server.url, "--out", str(tmp_path / "none")])
        written(server.url, tmp_path / "alerts.jsonl", "--tenant", "ops")

    assert done.exit_code != 0
    assert "no org id" in done.output
