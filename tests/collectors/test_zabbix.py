"""Messages of the media type that ships with Foreshock."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.zabbix import decode, labels_of, tags_of, translate
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
STARTED, RECOVERED = datetime(2026, 11, 22, 3, 21, 28, tzinfo=UTC), datetime(2026, 11, 22, 3, 21, 38, tzinfo=UTC)


def read(recorded: str, **changed: Any) -> Event:
    (item,) = decode(json.dumps(sample(recorded).tree | changed).encode())
    assert not isinstance(item, Malformed), item
    event = translate(item, NOW)
    assert isinstance(event, Event), event
    return event


def test_problem_update_and_recovery_are_one_alert():
    problem, update, recovery = (read(f"zabbix-{name}.json") for name in ("firing", "updated", "resolved"))

    labels = {"alertname": "Lab fault on host-a", "host": "host-a", "trigger_id": "23133"}
    assert read_labels(problem.labels) == {**labels, "component": "disk", "service": "shop"}
    assert problem.labels == update.labels == recovery.labels
    assert [(each.starts_at, each.ends_at) for each in (problem, update, recovery)] == [
        (STARTED, None), (STARTED, None), (STARTED, RECOVERED),
    ]  # fmt: skip


def test_an_update_says_who_did_what():
    said = read_annotations(read("zabbix-updated.json").annotations)

    assert said["update"] == "acknowledged and commented"
    assert said["comment"] == "looking"
    assert said["acknowledged"] == "Yes"


def test_macros_that_stand_for_nothing_say_nothing():
    event = read("zabbix-firing.json", opdata="{EVENT.OPDATA}", host_ip="*UNKNOWN*", started="{EVENT.TIMESTAMP}")

    said = read_annotations(event.annotations)
    assert event.starts_at is None
    assert not [text for text in said.values() if "{" in text or "UNKNOWN" in text]


@pytest.mark.parametrize(
    ("number", "word"),
    [("0", ""), ("1", "information"), ("3", "average"), ("5", "disaster"), ("{EVENT.NSEVERITY}", "")],
)
def test_severities_go_by_number_because_their_names_can_be_changed(number: str, word: str):
    assert read("zabbix-firing.json", nseverity=number).severity == word


def test_a_tag_that_comes_twice_is_one_label_in_whatever_order_its_values_come():
    one, other = (
        tags_of(json.dumps([{"tag": "scope", "value": value} for value in values] + [{"tag": "page", "value": ""}]))
        for values in (("performance", "capacity"), ("capacity", "performance"))
    )

    assert one == other == {"scope": "capacity,performance", "page": "true"}


def test_a_tag_never_takes_the_place_of_what_identifies():
    labels = labels_of("Disk full", "host-a", "17", {"host": "other", "severity": "low", "team": "db"})

    assert labels == {
        "alertname": "Disk full", "host": "host-a", "trigger_id": "17", "tag_host": "other", "tag_severity": "low",
        "team": "db",
    }  # fmt: skip


def test_very_many_tags_cost_no_alert():
    tags = json.dumps([{"tag": f"t{number:03}", "value": "x"} for number in range(200)])

    labels = read_labels(read("zabbix-firing.json", tags=tags).labels)

    assert len(labels) == 51
    assert labels["alertname"] == "Lab fault on host-a"


def test_what_is_of_no_trigger_is_ignored():
    (item,) = decode(json.dumps(sample("zabbix-firing.json").tree | {"event_source": "3"}).encode())

    assert translate(item, NOW) == Ignored("not of a trigger")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"event_value": "{EVENT.VALUE}"}, "event_value is"),
        ({"trigger_id": "{TRIGGER.ID}"}, "trigger_id is missing"),
        ({"name": ""}, "name is missing"),
        ({"tags": "[{]"}, "tags is no JSON list"),
    ],
)
def test_a_message_that_does_not_say_what_it_is_about_is_refused(change: dict[str, str], words: str):
    with pytest.raises(Malformed, match=words):
        read("zabbix-firing.json", **change)
