"""What the on-call person reads in a ticket."""

from typing import Any

import pytest

from correlation.next_step import Step
from correlation.ticket import assignment_group, fields, note, title
from foreshock.core.model import CI, Alert, Cause, Contribution, Situation
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON


def alert(ci: str, labels: bytes = b'{"alertname":"Down"}', **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "fingerprint": f"on-{ci}", "source": "alertmanager", "labels": labels, "annotations": b"{}", "ci": ci,
        "severity": Severity.MAJOR, "starts_at": NOON, "first_seen": NOON, "last_seen": NOON,
    }  # fmt: skip
    return Alert(**(values | changes))


def cause(ci: str) -> Cause:
    return Cause(ci=ci, score=0.75, contributions=(Contribution(name="first", points=0.75, evidence="it began first"),))


def situation(**changes: Any) -> Situation:
    values: dict[str, Any] = {
        "id": "S-1", "opened_at": NOON, "onset": NOON, "updated_at": NOON, "last_joined_at": NOON,
        "title": "Down on db1", "severity": Severity.MAJOR, "impact": 2, "urgency": 2, "priority": 3,
    }  # fmt: skip
    return Situation(**(values | changes))


def test_a_ticket_names_the_cause_the_services_and_the_alerts():
    told = fields(situation(causes=(cause("db1"),), services=("checkout",)), [alert("db1"), alert("shop")])

    assert told["title"] == "Down on db1, and 1 more alert"
    assert told["ci"] == "db1"
    assert told["description"].splitlines() == [
        "2 alerts on 2 CIs since 2026-03-02 12:00:00 UTC.",
        "Probable cause: db1 (score 0.75): it began first.",
        "Business services that depend on it: checkout.",
        "",
        "- [major] Down on db1",
        "- [major] Down on shop",
    ]


def test_a_ticket_of_one_alert_says_one():
    told = fields(situation(), [alert("db1")])

    assert told["title"] == "Down on db1"
    assert told["description"].startswith("1 alert on 1 CI since")
    assert told["causes"] == []


def test_a_storm_does_not_fill_the_ticket():
    told = fields(situation(), [alert(f"n{i}") for i in range(100)])

    assert told["title"] == "Down on db1, and 99 more alerts"
    assert told["description"].count("\n- ") == 21
    assert told["description"].endswith("- and 80 more, see the console")


@pytest.mark.parametrize(
    ("labels", "ci", "words"),
    [
        (b'{"alertname":"Down"}', "db1", "Down on db1"),
        (b'{"job":"x"}', "", "x"),
        (b'{"a":"b","alertname":"C"}', "", "C"),
    ],
)
def test_an_alert_in_a_line(labels: bytes, ci: str, words: str):
    assert title(alert(ci, labels)) == words


def test_the_group_is_the_owner_of_the_likeliest_cause_that_has_one():
    topology = Topology([CI(id="db1"), CI(id="esx1", owner="compute")])

    assert assignment_group([cause("db1"), cause("unknown"), cause("esx1")], topology, "noc") == "compute"
    assert assignment_group([cause("db1")], topology, "noc") == "noc"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step.OPEN, "Opened by Foreshock: 1 active alert; why."),
        (Step.UPDATE, "1 of 2 alerts active, priority 3: why."),
        (Step.REOPEN, "Reopened by Foreshock: why; 1 active alert."),
        (Step.RESOLVE, "Resolved by Foreshock: why."),
    ],
)
def test_each_write_comes_with_a_note_that_says_why(step: Step, words: str):
    assert note(situation(), [alert("db1"), alert("shop", firing=False)], step, "why") == words
