"""Notifications and values of collectd."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.collectd import decode, translate
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)


def read(tree: Any) -> list[Any]:
    return [item if isinstance(item, Malformed) else translate(item, NOW) for item in decode(json.dumps(tree).encode())]


def test_a_value_beyond_its_threshold_and_one_that_is_missing_are_one_alert_that_okay_ends():
    beyond, missing, okay = (
        read(sample(f"collectd-{name}.json").tree)[0] for name in ("firing", "missing", "resolved")
    )

    labels = {"alertname": "collectd_exec_gauge", "exec": "queue", "instance": "host-a"}
    assert [read_labels(each.labels) for each in (beyond, missing, okay)] == [labels] * 3
    assert (beyond.severity, missing.severity) == ("critical", "critical")
    assert [each.ends_at for each in (beyond, missing)] == [None, None]
    assert okay.ends_at == datetime(2026, 11, 22, 3, 11, 56, 486_650, UTC)


def test_limits_that_are_not_set_are_not_told():
    (event,) = read(sample("collectd-firing.json").tree)

    said = read_annotations(event.annotations)
    assert said["FailureMax"] == "10"
    assert "WarningMin" not in said


def test_values_are_no_alerts():
    assert set(read(sample("collectd-values.json").tree)) == {Ignored("values, not a notification")}


def test_what_is_neither_a_notification_nor_values_is_refused():
    with pytest.raises(Malformed, match="neither a notification"):
        read([{"host": "host-a"}])


@pytest.mark.parametrize("change", [{"severity": "SOSO"}, {"alertname": ""}, {"instance": ""}])
def test_a_notification_that_does_not_say_what_it_is_about_is_refused(change: dict[str, str]):
    (posted,) = sample("collectd-firing.json").tree
    posted["labels"] |= change

    with pytest.raises(Malformed):
        read([posted])


def test_warning_is_milder_than_failure():
    (posted,) = sample("collectd-firing.json").tree
    posted["labels"]["severity"] = "WARNING"

    (event,) = read([posted])

    assert isinstance(event, Event)
    assert event.severity == "warning"
