"""Before a real Roundup: what only it does. The whole life of an issue is in test_lifecycle.py."""

import re
import urllib.request
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import secret_file
from foreshock.service.sink_test import live_once
from foreshock.testing.sinks import Bench
from foreshock.testing.tickets import make_order
from incident_sink.roundup import SINK


@pytest.fixture
def server(ticket_server):
    return ticket_server("roundup")


def issue(server, number):
    """The properties of an issue; of links the name."""
    shown = server.ask("GET", f"/rest/data/issue/{number}?@verbose=2")["data"]["attributes"]
    named = {key: value["name"] for key, value in shown.items() if isinstance(value, dict) and "name" in value}
    return {**shown, **named}


def messages(server):
    return server.ask("GET", "/rest/data/msg")["data"]["@total_size"]


def read(stage, cursor=0):
    stage.settle()
    return [(change.state, change.actor, change.comment) for change in stage.sink.changes(cursor)]


# ---- the way in, and the set-up -------------------------------------------------------------------------------------


def test_a_wrong_password_is_denied_and_not_shown(stage, tmp_path):
    stage.restart(password_file=secret_file(tmp_path, "wrong", "wrong-password"))

    with pytest.raises(Denied, match=r"roundup 'prod' at GET /rest/data/issue answered HTTP 401") as raised:
        stage.sink.find("S-1")

    assert "wrong-password" not in str(raised.value)
    assert "check user and password_file" in dict(stage.wrong())["credentials"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://bugs.example.com"}, "without encryption"),
        ({"url": "https://a:b@bugs.example.com"}, "a user or a password"),
        ({"password_file": None}, "password_file"),
        ({"key_prefix": ""}, "key_prefix"),
        ({"properties": {"colour": "colour"}}, "properties.colour"),
        ({"priority": ["bug"]}, "priority"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    good = {"url": "https://bugs.example.com/ops/", "user": "foreshock", "password_file": "/p"}
    assert SINK.config.model_validate(good).url == "https://bugs.example.com/ops"

    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**good, **settings})


@pytest.mark.parametrize(
    ("settings", "subject", "remedy"),
    [
        ({"key_property": "no_such"}, "key field", "add no_such=String() to issue in schema.py"),
        ({"properties": {"ci": "no_such"}}, "properties", "add no_such=String() to issue in schema.py"),
        ({"resolved": "over"}, "state mapping", "write known names into resolved, reopened, final or waiting"),
        ({"priority": list("abcde")}, "priority", "write known names into priority"),
    ],
)
def test_the_check_says_what_an_administrator_must_change(stage, settings, subject, remedy):
    assert stage.wrong() == []
    stage.restart(**settings)

    assert remedy in dict(stage.wrong())[subject]


def test_no_issue_is_opened_and_no_search_believed_without_the_key_property(stage):
    stage.restart(key_property="no_such")

    for call in (lambda: stage.deliver(Verb.OPEN), lambda: stage.sink.find("S-1"), lambda: stage.sink.changes(0)):
        with pytest.raises(Denied, match="no_such"):
            call()
    assert stage.held() == []


def test_an_address_that_is_not_the_trackers_own_says_which_setting_to_correct(stage, server):
    stage.restart(url=f"http://localhost:{server.port}")

    with pytest.raises(Denied) as raised:
        stage.deliver(Verb.OPEN)

    assert "tracker_web" in raised.value.hint


def test_a_trial_issue_lives_once_and_stays_resolved(stage):
    found = list(live_once(stage.sink, "prod", "run1", lambda: datetime.now(UTC)))

    assert [(finding.subject, finding.remedy) for finding in found] == [("open", ""), ("update", ""), ("resolve", "")]
    assert stage.one("foreshock-test-run1").state == "resolved"


# ---- writing --------------------------------------------------------------------------------------------------------


def test_an_issue_says_what_it_is_and_how_urgent(stage, server):
    stage.restart(properties={"services": "services", "description": "now"}, fixed={"assignedto": "bob"})
    receipt = stage.deliver(
        Verb.OPEN, title="db1 is down", priority=2, description="one\ntwo", services=["shop", "billing"]
    )

    made = issue(server, receipt.number)
    assert (made["title"], made["priority"], made["status"]) == ("db1 is down", "urgent", "unread")
    assert (made["services"], made["now"]) == ("shop, billing", "one\ntwo")
    assert made["assignedto"]["username"] == "bob"
    assert receipt.url == f"{stage.server.url}/issue{receipt.number}"


def test_a_note_does_not_change_the_status(stage, server):
    """A detector of the classic template opens what a message is added to."""
    receipt = stage.deliver(Verb.OPEN)
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")
    before = issue(server, receipt.number)["status"]
    stage.deliver(Verb.RESOLVE, receipt, version=3, note="over")

    assert (before, issue(server, receipt.number)["status"]) == ("unread", "resolved")


@pytest.mark.parametrize("call", [2, 3, 4])
def test_a_message_whose_issue_was_not_made_is_used_by_the_next_attempt(stage, store, server, call):
    bench, before = Bench(stage, store), messages(server)
    bench.plan(make_order(sink="prod", note="it begins"))
    stage.faults.script(*[None] * (call - 1), Fault.LOST)
    bench.run()

    assert len(stage.one().notes) == 1
    assert messages(server) == before + 1


def test_an_unknown_value_is_refused_by_name(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.restart(resolved="over")

    with pytest.raises(Rejected, match="'over' is not a status"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


# ---- people win -----------------------------------------------------------------------------------------------------


def test_an_issue_that_people_ended_for_good_is_followed_by_one_that_names_it(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")
    after = stage.deliver(Verb.REOPEN, receipt, version=2, title="again")

    assert [(held.number, held.state) for held in stage.held()] == [(receipt.number, "closed"), (after.number, "open")]
    assert f"It follows issue{receipt.number}." in stage.held()[1].notes[0]


def test_a_message_to_a_resolved_issue_opens_it_again_as_roundup_has_it(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    assert read(stage) == []
    stage.person(receipt.number, "comment", text="it is back")

    assert read(stage) == [("reopened", "ada", "it is back")]


def test_what_foreshock_resolved_is_not_read_as_the_act_of_who_changed_it_afterwards(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.person(receipt.number, "retitle", text="ADA LOOKS AT IT")
    writer, reader = stage.sink, stage.restart()  # two connections of one process

    assert writer is not reader
    assert read(stage) == []


def test_times_are_those_of_the_server_whatever_the_time_zone_of_the_user(stage):
    """The user of the tests lives nine hours east of the server."""
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.settle()
    (taken,) = stage.sink.changes(0)
    stage.person(receipt.number, "comment", text="I look at the disk")

    assert read(stage, taken.sequence) == [("commented", "ada", "I look at the disk")]


# ---- hostile text ---------------------------------------------------------------------------------------------------


def test_hostile_text_is_inert_in_the_page_that_people_see(stage, server):
    text = "<b>x</b><a href=//evil.example>y</a><script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}} 'OR 1=1"
    receipt = stage.deliver(Verb.OPEN, title=f"ttl{text}", description=f"now{text}", note=f"nte{text}")

    with urllib.request.urlopen(f"{server.url}/issue{receipt.number}", timeout=30) as answer:
        page = answer.read().decode()
    assert [word for word in ("ttl", "now", "nte") if f"{word}&lt;b&gt;x&lt;/b&gt;" not in page] == []
    assert not re.search(r"<script>alert|<img[^>]*onerror|<a[^>]*evil", page)
