"""Notifications and values of collectd."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.collectd import decode, translate
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


def test_each_value_is_a_point_of_a_series_named_as_write_prometheus_names_it():
    read_values = read(sample("collectd-values.json").tree)

    assert [(each.series.metric, each.series.dimension, each.values) for each in read_values] == [
        ("collectd_load_shortterm", "", (0.9228515625,)),
        ("collectd_load_midterm", "", (1.5302734375,)),
        ("collectd_load_longterm", "", (2.09521484375,)),
        ("collectd_memory", "memory=used", (1317122048,)),
        ("collectd_memory", "memory=slab_recl", (740851712,)),
    ]
    assert {(each.series.ci, each.times) for each in read_values} == {("host-a", (1795317114.688,))}


def values(**changes: Any) -> dict[str, Any]:
    """Octets of an interface."""
    return {
        "values": [1000, 2000], "dstypes": ["derive", "derive"], "dsnames": ["rx", "tx"], "time": 1795317114.688,
        "interval": 10.0, "host": "host-a", "plugin": "interface", "plugin_instance": "eth0", "type": "if_octets",
        "type_instance": "", **changes,
    }  # fmt: skip


def test_what_only_grows_says_so_and_what_begins_anew_with_each_reading_is_told_a_second():
    grows = decode(json.dumps([values(plugin_instance="eth0", type_instance="all")]).encode())
    since = decode(json.dumps([values(dstypes=["absolute", "absolute"])]).encode())

    assert [dict(point.labels) for point in grows] == [
        {
            "__name__": f"collectd_interface_if_octets_{way}_total",
            "instance": "host-a",
            "interface": "eth0",
            "type": "all",
        }
        for way in ("rx", "tx")
    ]
    assert [point.counts for point in grows] == [True, True]
    assert [(point.labels["__name__"], point.value, point.counts) for point in since] == [
        ("collectd_interface_if_octets_rx", 100.0, False),
        ("collectd_interface_if_octets_tx", 200.0, False),
    ]


def test_a_value_that_is_none_is_left_out_and_its_neighbour_kept():
    (point,) = decode(json.dumps([values(values=[None, 5])]).encode())

    assert point.labels["__name__"].endswith("_tx_total")


@pytest.mark.parametrize(
    "change",
    [{"host": ""}, {"plugin": ""}, {"type": ""}, {"dsnames": ["rx"]}, {"dstypes": []}, {"time": 0}, {"time": 1e300}],
)
def test_values_that_do_not_say_of_what_or_when_are_refused(change: dict[str, Any]):
    bad, *_, good = decode(json.dumps([values(**change), values()]).encode())

    assert isinstance(bad, Malformed)
    assert good.value == 2000


def test_what_is_neither_a_notification_nor_values_is_refused():
    with pytest.raises(Malformed, match="neither a notification"):
        read([{"host": "host-a"}])[0]


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
