"""What the on-call person reads in a ticket."""

import pytest

from correlation.next_step import Step
from correlation.ticket import note, title, told
from foreshock.core.model import Ticket
from foreshock.testing.situations import alert, situation


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
    members = [alert("db1"), alert("shop", firing=False)]

    assert note(situation(), members, step, "why", Ticket(sink="desk"), told(situation(), members, "")) == words


def test_an_update_says_what_is_new_since_the_last_word():
    few, many = [alert("db1")], [alert("db1"), alert("shop"), alert("web"), alert("web", fingerprint="second")]
    before = Ticket(sink="desk", told=told(situation(), few, "db1"))
    now = told(situation(services=("checkout",)), many, "db07")

    text = note(situation(), many, Step.UPDATE, "the situation changed", before, now)

    assert text.splitlines()[1] == "Since the last word: +3 alerts, +2 CIs, +1 business service, cause now db07."


def test_an_update_says_what_is_no_longer_so():
    few, many = [alert("db1")], [alert("db1"), alert("shop")]
    before = Ticket(sink="desk", told=told(situation(), many, "db1"))

    text = note(situation(), few, Step.UPDATE, "split", before, told(situation(), few, ""))

    assert text.splitlines()[1] == "Since the last word: -1 alert, -1 CI, db1 is no longer held to be the cause."


def test_what_is_as_it_was_is_not_said_again():
    members = [alert("db1")]
    now = told(situation(), members, "db1")

    assert "Since" not in note(situation(), members, Step.UPDATE, "why", Ticket(sink="desk", told=now), now)
