"""Chosen metrics may alert by themselves: one alert that opens, holds and resolves with the deviation."""

from datetime import timedelta

import msgspec
import pytest
from pydantic import ValidationError

from collectors.events import COLLECTOR
from foreshock.core.model import POINTS, Anomaly, Direction, read_annotations, read_labels
from foreshock.service.anomaly_alerts import HOLDS, AnomalyAlert, alerts
from foreshock.testing.records import NOON

RULE = AnomalyAlert(match='metric="availability", direction="down"', severity="critical", score=4.0)


def anomaly(**changed) -> Anomaly:
    given = {
        "ci": "shop", "metric": "availability", "unit": "%", "onset": NOON - timedelta(minutes=5), "at": NOON,
        "score": 6.0, "direction": Direction.DOWN, "observed": 91.25, "expected": 99.9, "detector": "robust@1",
    }  # fmt: skip
    return Anomaly(**{**given, **changed})


def events(*anomalies: Anomaly, rules=(RULE,), at=NOON):
    body = msgspec.json.encode(alerts(anomalies, rules, at))
    return [COLLECTOR.translate(item, at) for item in COLLECTOR.decode(body)]


def test_an_anomaly_that_a_rule_names_is_an_alert_while_it_lasts():
    [event] = events(anomaly())

    assert read_labels(event.labels) == {
        "alertname": "availability below its usual band", "instance": "shop", "metric": "availability",
    }  # fmt: skip
    assert read_annotations(event.annotations)["summary"] == "availability of shop is 91.25 %, usually 99.9 %"
    assert (event.severity, event.starts_at) == ("critical", NOON - timedelta(minutes=5))
    assert event.ends_at == NOON + HOLDS


def test_a_ci_of_which_nothing_comes_has_an_alert_without_numbers():
    silent = anomaly(metric=POINTS, unit="1/h", observed=0.0, expected=240.0, said="none of 4 series of cpu")

    [event] = events(silent, rules=(AnomalyAlert(match='metric="points"'),))

    assert read_labels(event.labels)["alertname"] == "no points"
    assert read_annotations(event.annotations)["summary"] == "points of shop: none of 4 series of cpu"


def test_its_end_is_the_end_of_the_same_alert_however_small_it_has_become():
    [firing] = events(anomaly())
    [over] = events(anomaly(until=NOON + timedelta(minutes=3), score=2.0), at=NOON + timedelta(minutes=4))

    assert over.labels == firing.labels
    assert over.ends_at == NOON + timedelta(minutes=3)


def test_others_are_evidence_only():
    assert events(anomaly(metric="cpu"), anomaly(direction=Direction.UP), anomaly(score=3.9)) == []
    assert events(anomaly(), rules=()) == []


def test_the_first_rule_that_fits_counts():
    rules = (AnomalyAlert(match='ci="shop"', severity="info"), RULE)

    assert [event.severity for event in events(anomaly(), anomaly(ci="db"), rules=rules)] == ["info", "critical"]


def test_one_dimension_is_another_alert_than_the_next():
    one, other = events(anomaly(dimension="path=/a"), anomaly(dimension="path=/b"))

    assert one.labels != other.labels


@pytest.mark.parametrize("match", ["", "{}", "metric", 'metric=~"("'])
def test_a_match_that_cannot_be_read_or_fits_all_is_refused(match):
    with pytest.raises(ValidationError):
        AnomalyAlert(match=match)
