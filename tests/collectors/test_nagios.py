"""What notifications of Nagios, Icinga 2 and Checkmk mean: the same words in three spellings."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from collectors import checkmk, icinga2, nagios
from foreshock.connect.vendors.nagios import Report, to_event
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 3, 20, tzinfo=UTC)
CHANGED, SAID = NOW - timedelta(minutes=9), NOW - timedelta(minutes=1)


def report(state: str, type_: str = "PROBLEM", **more: Any) -> Event | Ignored:
    service = "" if state in ("UP", "DOWN", "UNREACHABLE") else "disk"
    given = {"host": "host-a", "service": service, "state": state, "type": type_, "at": SAID, "changed_at": CHANGED}
    return to_event(Report(**{**given, **more}), NOW)


@pytest.mark.parametrize(
    ("state", "severity"),
    [
        ("WARNING", "warning"),
        ("CRITICAL", "critical"),
        ("UNKNOWN", "warning"),
        ("DOWN", "critical"),
        ("UNREACHABLE", "warning"),
    ],
)
def test_what_is_not_well_fires_since_its_state_changed(state: str, severity: str):
    event = report(state)

    assert isinstance(event, Event)
    assert (event.severity, event.starts_at, event.ends_at) == (severity, CHANGED, None)


@pytest.mark.parametrize("state", ["OK", "UP"])
@pytest.mark.parametrize(
    ("type_", "ends_at"),
    [
        pytest.param("RECOVERY", CHANGED, id="recovery"),
        pytest.param("", CHANGED, id="check result"),
        pytest.param("FLAPPINGSTOP", SAID, id="it flaps no more"),
        pytest.param("FLAPPINGEND", SAID, id="it flaps no more, as Icinga says"),
        pytest.param("DOWNTIMEEND", SAID, id="the downtime is over"),
        pytest.param("CUSTOM", SAID, id="somebody asked for it"),
    ],
)
def test_what_is_well_is_over_whatever_the_notification_is_about(state: str, type_: str, ends_at: datetime):
    event = report(state, type_)

    assert isinstance(event, Event)
    assert (event.starts_at, event.ends_at) == (None, ends_at)


def test_what_flaps_is_trouble_until_it_flaps_no_more():
    start, end = report("OK", "FLAPPINGSTART"), report("OK", "FLAPPINGSTOP", at=NOW)

    assert isinstance(start, Event)
    assert isinstance(end, Event)
    assert (start.starts_at, start.ends_at, start.severity) == (SAID, None, "warning")
    assert end.ends_at is not None
    assert end.ends_at > SAID  # the state has not changed since before the flapping was said to begin


@pytest.mark.parametrize("type_", ["ACKNOWLEDGEMENT", "DOWNTIMESTART", "FLAPPINGSTOP", "DOWNTIMECANCELLED"])
def test_trouble_that_is_acknowledged_or_planned_is_still_there(type_: str):
    event = report("CRITICAL", type_, annotations={"author": "jo", "comment": "on it"})

    assert isinstance(event, Event)
    assert event.ends_at is None
    assert read_annotations(event.annotations) == {
        "author": "jo", "comment": "on it", "notification": type_, "state": "CRITICAL",
    }  # fmt: skip


def test_a_soft_state_waits_until_it_is_hard_and_a_soft_recovery_does_not():
    assert report("CRITICAL", "", soft=True) == Ignored("a soft state: it is still being checked")
    assert isinstance(report("OK", "", soft=True), Event)


def test_what_was_never_checked_says_nothing():
    assert isinstance(report("PENDING", ""), Ignored)


@pytest.mark.parametrize(
    ("given", "words"), [({"host": ""}, "the host is missing"), ({"state": "SOSO"}, "the state is 'SOSO'")]
)
def test_a_report_without_a_host_or_a_state_is_refused(given: dict[str, str], words: str):
    with pytest.raises(Malformed, match=words):
        report(**{"state": "DOWN", **given})


def test_a_clock_that_runs_ahead_ends_nothing_in_the_future():
    event = report("OK", "RECOVERY", changed_at=NOW + timedelta(minutes=3))

    assert isinstance(event, Event)
    assert event.ends_at == NOW


# ---- spellings ------------------------------------------------------------------------------------------------------


def test_a_form_of_curl_says_the_same_as_json():
    said = {**sample("nagios-firing.json").tree, "output": "DISK CRITICAL - b & ü are 97% full;|'"}

    (form,) = nagios.decode(urlencode(said).encode())
    (plain,) = nagios.decode(json.dumps(said).encode())

    assert form == plain
    assert nagios.translate(form, NOW).annotations  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "body",
    [
        b"host=host-a",
        b"state=OK",
        b"host",
        "host=hö&state=OK".encode(),
        b"&".join(b"a%d=b" % n for n in range(100)),
    ],
)
def test_a_form_that_is_no_notification_is_refused(body: bytes):
    with pytest.raises(Malformed, match="the body is no notification"):
        nagios.decode(body)


def test_output_in_another_encoding_loses_no_notification():
    (item,) = nagios.decode(b"host=host-a&service=disk&state=CRITICAL&output=Fehler+bei+Zugriff+auf+L%E4nge")

    event = nagios.translate(item, NOW)

    assert isinstance(event, Event)
    assert "Zugriff" in read_annotations(event.annotations)["summary"]


def test_a_macro_that_nagios_does_not_know_is_no_time():
    (item,) = nagios.decode(b"host=host-a&service=disk&state=CRITICAL&changed=$LASTSERVICESTATECHANGE$&time=1795317336")

    event = nagios.translate(item, NOW)

    assert isinstance(event, Event)
    assert event.starts_at == datetime(2026, 11, 22, 3, 15, 36, tzinfo=UTC)


def test_a_host_of_icinga_has_an_alert_of_its_own():
    (down,) = icinga2.decode(sample("icinga2-host-firing.json").payload)
    (up,) = icinga2.decode(sample("icinga2-host-resolved.json").payload)

    fires, ends = icinga2.translate(down, NOW), icinga2.translate(up, NOW + timedelta(minutes=1))

    assert isinstance(fires, Event)
    assert isinstance(ends, Event)
    assert read_labels(fires.labels) == read_labels(ends.labels) == {"alertname": "Host down", "host": "host-a"}
    assert fires.ends_at is None
    assert ends.ends_at == datetime(2026, 11, 22, 3, 20, 12, tzinfo=UTC)


def test_custom_variables_of_icinga_explain_and_do_not_identify():
    said = sample("icinga2-firing.json").tree
    said["host_vars"] = {**{f"v{n:02}": n for n in range(40)}, "disks": {"/": {}}, "on": True}
    (item,) = icinga2.decode(json.dumps(said).encode())

    event = icinga2.translate(item, NOW)

    assert isinstance(event, Event)
    assert read_labels(event.labels) == {"alertname": "disk", "host": "host-a"}
    told = [name for name in read_annotations(event.annotations) if name.startswith("host.vars.")]
    assert told == [f"host.vars.v{n:02}" for n in range(16)]


def of_checkmk(**changed: str) -> Event | Ignored:
    (item,) = checkmk.decode(json.dumps(sample("checkmk-firing.json").tree | changed).encode())
    return checkmk.translate(item, NOW)


def test_what_the_event_console_tells_is_no_alert():
    assert of_checkmk(EC_ID="17") == Ignored("of the Event Console, which does not tell when it is over")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"WHAT": "METRIC"}, "WHAT is 'METRIC'"), ({"SERVICEDESC": ""}, "SERVICEDESC is missing")],
)
def test_what_is_neither_of_a_host_nor_of_a_service_is_refused(change: dict[str, str], words: str):
    with pytest.raises(Malformed, match=words):
        of_checkmk(**change)


def test_an_acknowledgement_of_checkmk_may_name_the_state_behind_the_word():
    event = of_checkmk(NOTIFICATIONTYPE="ACKNOWLEDGEMENT (CRITICAL)")

    assert isinstance(event, Event)
    assert read_annotations(event.annotations)["notification"] == "ACKNOWLEDGEMENT"
