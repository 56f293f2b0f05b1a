"""The machine itself: what is measured, and when it is an alert."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collectors.host import Host, HostConfig, Value, decode, translate
from foreshock.connect.config import strictly
from foreshock.core.model import Event, Samples, read_annotations, read_labels

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def read(payloads: Sequence[bytes]) -> list[Any]:
    return [translate(item, NOON) for payload in payloads for item in decode(payload)]  # type: ignore[arg-type]


class Measured(Host):
    """Finds what a test says."""

    def __init__(self, **given: Any) -> None:
        super().__init__(strictly({"ci": "web-1", **given}, HostConfig))
        self.found: list[Value] = []

    def _values(self) -> Any:
        return iter(self.found)


def disk(used: float, mount: str = "/srv") -> Value:
    return Value("disk_used", used, "%", f"mount={mount}", 90.0, "Disk")


def visit(host: Host, cursor: str) -> tuple[list[Event], str]:
    page = host.fetch(cursor, NOON)
    return [one for one in read(page.payloads) if isinstance(one, Event)], page.cursor


def states(events: Sequence[Event]) -> list[tuple[str, bool]]:
    return [(read_labels(event.labels)["alertname"], event.ends_at is not None) for event in events]


def test_a_real_machine_tells_of_its_processor_memory_and_disks():
    host = Host(strictly({}, HostConfig))
    host.fetch("", NOON)

    page = host.fetch("", NOON + timedelta(minutes=1))

    found = {one.series.metric for one in read(page.payloads[:1]) if isinstance(one, Samples)}
    assert {"cpu_busy", "load_per_core", "memory_used", "disk_used", "foreshock_memory"} <= found
    assert all(one.values[0] >= 0 for one in read(page.payloads[:1]))


def test_a_disk_that_fills_up_opens_an_alert_that_ends_two_points_below_its_limit():
    host, cursor, seen = Measured(), "", []
    for used in (89.9, 90.0, 89.0, 88.1, 87.9, 87.9):
        host.found = [disk(used)]
        events, cursor = visit(host, cursor)
        seen.append(states(events))

    name = "DiskNearlyFull"
    assert seen == [[], [(name, False)], [(name, False)], [(name, False)], [(name, True)], []]


def test_an_alert_ends_after_a_restart_too():
    host = Measured()
    host.found = [disk(95.0)]
    _, cursor = visit(host, "")
    started_again = Measured()
    started_again.found = [disk(20.0)]

    assert states(visit(started_again, cursor)[0]) == [("DiskNearlyFull", True)]


def test_what_is_no_longer_there_has_ended():
    host = Measured()
    host.found = [disk(95.0), disk(10.0, "/")]
    (opened,), cursor = visit(host, "")
    host.found = [disk(10.0, "/")]

    (ended,), cursor = visit(host, cursor)

    assert read_labels(ended.labels) == read_labels(opened.labels)
    assert ended.ends_at == NOON
    assert visit(host, cursor)[0] == []


def test_an_alert_says_what_is_full_and_how_bad_it_is():
    host = Measured()
    host.found = [disk(98.25)]

    ((event,), _) = visit(host, "")

    assert read_labels(event.labels) == {"alertname": "DiskNearlyFull", "host": "web-1", "mount": "/srv"}
    assert event.severity == "critical"
    assert read_annotations(event.annotations)["summary"] == "disk_used of /srv is 98.2 %, the limit is 90"


def test_rates_are_of_the_time_between_two_visits(monkeypatch: pytest.MonkeyPatch):
    moments = iter((100.0, 110.0, 120.0))
    monkeypatch.setattr("collectors.host.time.monotonic", lambda: next(moments))
    host = Host(strictly({}, HostConfig))

    rates = [
        [each.value for each in host._rate("network_in", "interface=eth0", count, "B/s")] for count in (5e3, 6e3, 10)
    ]

    assert rates == [[], [100.0], []], "the first has nothing to compare with, the last was counted from zero again"


def test_measurements_alone_are_no_record():
    host = Measured()
    host.found = [disk(10.0)]

    (payload,) = host.fetch("", NOON).payloads

    assert msgspec.json.decode(payload)["measured"][0]["value"] == 10.0
    assert all(isinstance(one, Samples) for one in read([payload]))
