"""From a real Prometheus to evidence in an incident: range reads, the history on disk, the detector, the record."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectors.prometheus import COLLECTOR
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.service.capacity import PredictSettings
from foreshock.service.measuring import Measuring
from foreshock.service.settings import CollectorInstance, MetricSettings
from foreshock.testing.records import Story
from foreshock.testing.servers import Prometheus

LEARN = timedelta(hours=3)
SHIFTED_S = 600


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def prometheus(require, now):
    """Knows the latency of a database and of a shop, minute by minute; that of the database is high for ten minutes."""
    require("prometheus", "promtool")
    noise = np.random.default_rng(5)
    lines = ["# TYPE lab_latency gauge"]
    for ci in ("orders-db:9187", "shop:80"):
        for at in range(-4 * 3600, 60, 60):
            value = 0.05 + 0.002 * noise.standard_normal()
            if ci.startswith("orders-db") and at >= -SHIFTED_S:
                value += 0.4
            lines.append(f'lab_latency{{instance="{ci}"}} {value:.6f} {now.timestamp() + at:.0f}')
    with Prometheus(past="\n".join([*lines, "# EOF\n"])) as server:
        yield server


@pytest.fixture
def measuring(prometheus, tmp_path, now):
    """(measuring, the records it appends)"""
    instance = CollectorInstance.model_validate(
        {
            "name": "lab",
            "kind": "prometheus",
            "url": prometheus.url,
            "lookback": "4h",
            "queries": [{"metric": "latency", "query": "lab_latency", "unit": "s", "worse": "up"}],
        }
    )
    records: list[NewRecord] = []
    made = Measuring(
        (instance,),
        MetricSettings(learn=LEARN),
        PredictSettings(),
        tmp_path / "metrics",
        {"prometheus": COLLECTOR},
        records.append,
        lambda: now + timedelta(seconds=6),
    )
    yield made, records
    made.stop()


def test_a_metric_that_leaves_its_band_is_evidence_of_the_incident_it_is_upstream_of(measuring, now):
    measured, records = measuring
    measured._polling.poll("lab")
    [source] = measured.sources()
    two_pages_of_two_series = 4
    assert (source.events, source.rejected, source.last_error) == (two_pages_of_two_series, 0, "")

    measured.detect()

    [record] = records
    story = Story("shop depends_on orders-db", start=now)
    story.fire("shop")
    story.take(record)
    [evidence] = story.situation().evidence
    assert evidence.path == ("shop", "orders-db")
    assert evidence.anomaly.onset == now - timedelta(seconds=SHIFTED_S)
    assert evidence.anomaly.expected == pytest.approx(0.05, rel=0.05)
    assert evidence.anomaly.observed == pytest.approx(0.45, rel=0.05)
    assert (evidence.anomaly.unit, evidence.anomaly.until) == ("s", None)

    measured.detect()
    assert len(records) == 1, "what was told once is not told again at once"


def test_a_metric_that_the_settings_name_is_an_alert_of_its_own(measuring):
    measured, records = measuring
    measured._settings = MetricSettings(learn=LEARN, alerts=[{"match": 'metric="latency"'}])
    measured._polling.poll("lab")

    measured.detect()

    story = Story("shop depends_on orders-db")
    for record in records:
        story.take(record)
    assert [record.kind for record in records] == [RecordKind.ANOMALIES, RecordKind.EVENTS]
    assert "latency above its usual band" in story.situation().title


def test_what_was_read_is_not_read_again_after_a_restart(measuring):
    measured, _ = measuring
    measured._polling.poll("lab")
    points = measured._polling.polled["lab"].points
    measured.stop()

    measured._polling.poll("lab")

    assert points == 2 * 241
    assert measured._polling.polled["lab"].points == points
