"""Before a real Request Tracker: what only it does. The whole life of a ticket is in test_lifecycle.py."""

import re
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from http.cookiejar import CookieJar

import pytest
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected
from foreshock.sandbox.system import secret_file
from foreshock.service.sink_test import live_once
from foreshock.testing.ticket_servers import KEY_FIELD, PASSWORD
from incident_sink.request_tracker import SINK


@pytest.fixture
def server(ticket_server):
    return ticket_server("request_tracker")


def ticket(server, number):
    """As RT shows it: its fields, custom fields by name, and the name of its queue."""
    shown = server.ask("GET", f"/REST/2.0/ticket/{number}")
    queue = server.ask("GET", f"/REST/2.0/queue/{shown['Queue']['id']}")["Name"]
    custom = {field["name"]: "\n".join(field["values"]) for field in shown["CustomFields"]}
    return {**shown, **custom, "Queue": queue}


def count(server, queue):
    query = urllib.parse.quote(f"Queue = '{queue}'")
    return server.ask("GET", f"/REST/2.0/tickets?query={query}")["count"]


# ---- the way in -----------------------------------------------------------------------------------------------------


def test_a_password_opens_a_ticket_as_a_token_does(stage, tmp_path):
    stage.restart(token_file=None, password_file=secret_file(tmp_path, "password", PASSWORD))

    assert stage.deliver(Verb.OPEN).number == stage.one().number


def test_a_wrong_token_is_denied_and_not_shown(stage, tmp_path):
    stage.restart(token_file=secret_file(tmp_path, "wrong", "1-2-wrongtoken"))

    with pytest.raises(Denied, match=r"request_tracker 'prod' at GET /REST/2.0/queue/Ops answered HTTP 401") as raised:
        stage.sink.find("S-1")

    assert "wrongtoken" not in str(raised.value)
    assert "check user and its token" in dict(stage.wrong())["credentials"]


def test_a_token_of_somebody_else_is_noticed_before_our_own_writes_become_news(stage):
    stage.restart(user="ada")

    assert "make a token of ada" in dict(stage.wrong())["user"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://rt.example.com"}, "without encryption"),
        ({"url": "rt.example.com"}, "no web address"),
        ({"password_file": "/p"}, "one way in"),
        ({"token_file": None}, "one way in"),
        ({"queue": None}, "queue"),
        ({"key_field": "a} = 'x"}, "key_field"),
        ({"key_prefix": ""}, "key_prefix"),
        ({"fields": {"colour": "Colour"}}, "fields.colour"),
        ({"priority": [1, 2, 3]}, "priority"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    good = {"url": "https://rt.example.com/REST/2.0", "user": "foreshock", "token_file": "/t", "queue": "Ops"}
    assert SINK.config.model_validate(good).url == "https://rt.example.com"

    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**good, **settings})


# ---- is it set up ---------------------------------------------------------------------------------------------------


def test_the_check_proves_a_good_set_up_and_after_the_first_ticket_the_rights_too(stage):
    before = {finding.subject: finding.observed for finding in stage.sink.check()}
    receipt = stage.deliver(Verb.OPEN)
    after = {finding.subject: finding.observed for finding in stage.sink.check()}

    assert stage.wrong() == []
    assert before["credentials"].startswith("RT 5.")
    assert before["key field"] == f"tickets of queue 'Network' have {KEY_FIELD!r}, and may be created"
    assert "--create" in before["permissions"]
    assert after["permissions"] == f"foreshock may comment on {receipt.number}"


@pytest.mark.parametrize(
    ("settings", "subject", "remedy"),
    [
        ({"queue": "Bare"}, "key field", "create it for tickets (enter one value), apply it to the queue"),
        ({"queue": "Locked"}, "queue 'Locked'", "grant foreshock CreateTicket on it"),
        ({"queue": "Nowhere"}, "queue 'Nowhere'", "create it, or grant foreshock SeeQueue"),
        ({"queues": {"net": "Nowhere"}}, "queue 'Nowhere'", "create it, or grant foreshock SeeQueue"),
        ({"fields": {"ci": "No Such"}}, "fields of queue 'Ops'", "SeeCustomField and ModifyCustomField"),
    ],
)
def test_the_check_says_what_an_administrator_must_change(stage, settings, subject, remedy):
    stage.restart(**settings)

    assert remedy in dict(stage.wrong())[subject]


@pytest.mark.parametrize("queue", ["Bare", "Locked", "Nowhere"])
def test_no_ticket_is_opened_and_no_search_believed_where_the_queue_cannot_carry_the_key(stage, server, queue):
    stage.restart(queue=queue)
    before = count(server, queue)

    for call in (lambda: stage.deliver(Verb.OPEN), lambda: stage.sink.find("S-1"), lambda: stage.sink.changes(0)):
        with pytest.raises(Denied, match=f"'prod'.*{queue!r}"):
            call()

    assert count(server, queue) == before


def test_a_trial_ticket_lives_once_and_stays_resolved(stage):
    found = list(live_once(stage.sink, "prod", "run1", lambda: datetime.now(UTC)))

    assert [finding.subject for finding in found] == ["open", "update", "resolve"]
    assert [finding.remedy for finding in found] == ["", "", ""]
    assert stage.one("foreshock-test-run1").state == "resolved"


# ---- writing --------------------------------------------------------------------------------------------------------


def test_a_ticket_says_what_it_is_whose_and_how_urgent(stage, server):
    words = {"impact": "Impact", "services": "Affected Services", "description": "Now"}
    stage.restart(fields=words, fixed={"Requestor": "noc@example.com"})
    receipt = stage.deliver(
        Verb.OPEN, title="db1 is down", priority=1, description="one\ntwo", services=["shop", "billing"]
    )

    made = ticket(server, receipt.number)
    assert (made["Subject"], made["Priority"], made["Queue"], made["Status"]) == ("db1 is down", "100", "Ops", "new")
    assert (made["Impact"], made["Affected Services"], made["Now"]) == ("2", "shop, billing", "<p>one<br>two</p>")
    assert [person["id"] for person in made["Requestor"]] == ["noc@example.com"]
    assert receipt.url == f"{stage.server.url}/Ticket/Display.html?id={receipt.number}"


@pytest.mark.parametrize(
    ("group", "queue"),
    [("net", "Network"), ("network", "Network"), ("nobody", "Ops"), ("", "Ops"), ("Bare", "Ops"), ("Locked", "Ops")],
)
def test_a_group_has_the_queue_that_is_named_for_it_and_else_the_default(stage, server, group, queue):
    receipt = stage.deliver(Verb.OPEN, assignment_group=group)

    assert ticket(server, receipt.number)["Queue"] == queue


@pytest.mark.parametrize("group", ["3", "..", "a/b", "Ops/../Network"])
def test_a_group_that_is_called_like_an_id_or_a_path_is_only_a_name(stage, server, group):
    assert ticket(server, stage.deliver(Verb.OPEN, assignment_group=group).number)["Queue"] == "Ops"


def test_a_ticket_follows_its_group_to_another_queue_and_is_found_there(stage, server):
    receipt = stage.deliver(Verb.OPEN, assignment_group="")
    stage.deliver(Verb.UPDATE, receipt, version=2, assignment_group="net")

    assert ticket(server, receipt.number)["Queue"] == "Network"
    assert stage.sink.find("S-1").number == receipt.number


def test_a_queue_that_a_person_chose_stays(stage, server):
    receipt = stage.deliver(Verb.OPEN, assignment_group="")
    stage.person(receipt.number, "assign", text="Network")
    stage.deliver(Verb.UPDATE, receipt, version=2, assignment_group="", title="worse")

    assert (ticket(server, receipt.number)["Queue"], stage.one().title) == ("Network", "worse")


def test_what_a_person_changed_is_theirs_although_nothing_was_kept_of_the_ticket(stage):
    receipt = stage.deliver(Verb.OPEN, title="db1 is down", priority=3)
    stage.person(receipt.number, "retitle", text="ADA LOOKS AT IT")
    found = stage.sink.find("S-1")
    stage.deliver(Verb.UPDATE, found, version=2, title="worse", priority=1)

    assert stage.one().title == "ADA LOOKS AT IT"
    assert ticket(stage.system.server, receipt.number)["Priority"] == "100"


def test_a_status_that_the_lifecycle_does_not_know_is_an_error_with_what_rt_said(stage):
    stage.restart(resolved="solved")
    receipt = stage.deliver(Verb.OPEN)

    with pytest.raises(Rejected, match=rf"left {receipt.number} 'new', and said: .*Status 'solved' isn't a valid"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


# ---- people win -----------------------------------------------------------------------------------------------------


def test_a_ticket_that_was_merged_is_over_and_the_other_one_is_left_alone(stage):
    first, second = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2", title="db2 is down")
    stage.person(second.number, "merge", text=first.number)

    stage.deliver(Verb.UPDATE, second, version=2, situation="S-2", title="worse")
    stage.deliver(Verb.RESOLVE, second, version=3, situation="S-2", note="over")
    again = stage.deliver(Verb.REOPEN, second, version=4, situation="S-2", title="db2 is down again")

    assert (stage.one().title, stage.one().state) == ("db1 is down", "open")
    assert stage.one("S-2").number == again.number
    assert stage.one("S-2").links == (first.number,)


def test_a_rejected_ticket_is_followed_by_one_that_refers_to_it(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")
    after = stage.deliver(Verb.REOPEN, receipt, version=2, title="db1 is down again")

    assert [(held.number, held.state) for held in stage.held()] == [(receipt.number, "closed"), (after.number, "open")]
    assert stage.held()[1].links == (receipt.number,)


def test_a_comment_with_which_a_person_ends_a_ticket_goes_along_with_the_end(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take", actor="bob")
    stage.person(receipt.number, "close", text="not ours")
    stage.settle()

    told = [(change.state, change.actor, change.comment, change.code) for change in stage.sink.changes(0)]
    assert told == [("taken", "bob", "", ""), ("closed", "ada", "not ours", "rejected")]


def test_times_are_those_of_the_server_whatever_the_time_zone_of_the_user(stage):
    """The server of the tests is set to New York: a plain time in a query would be read as one of there."""
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.settle()
    (taken,) = stage.sink.changes(0)
    stage.person(receipt.number, "comment", text="I look at the disk")
    stage.settle()

    assert [change.comment for change in stage.sink.changes(taken.sequence)] == ["I look at the disk"]


def test_html_that_a_person_wrote_is_read_as_text(stage, server):
    receipt = stage.deliver(Verb.OPEN)
    content = "<p>the <b>disk</b> &amp; the<br>fan</p><script>alert(1)</script>"
    path = f"/REST/2.0/ticket/{receipt.number}/correspond"
    server.ask("POST", path, {"Content": content, "ContentType": "text/html"}, user="bob")
    stage.settle()

    (change,) = stage.sink.changes(0)
    assert (change.state, change.actor, change.comment) == ("commented", "bob", "the disk & the\nfan")


# ---- hostile text ---------------------------------------------------------------------------------------------------


def test_hostile_text_is_inert_in_the_pages_that_people_see(stage, server):
    text = "<b>x</b><a href=//evil.example>y</a><script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}} 'OR 1=1"
    stage.restart(fields={"services": "Affected Services", "description": "Now"})
    receipt = stage.deliver(Verb.OPEN, title=f"ttl{text}", description=f"now{text}", services=[f"svc{text}"])
    stage.deliver(Verb.UPDATE, receipt, version=2, note=f"nte{text}")

    page = "".join(page_of(server, f"/Ticket/{name}.html?id={receipt.number}") for name in ("Display", "History"))
    assert [word for word in ("ttl", "now", "svc", "nte") if f"{word}&lt;b&gt;x&lt;/b&gt;" not in page] == []
    assert not re.search(r"<script>alert|<img[^>]*onerror|<a[^>]*evil", page)


def page_of(server, path):
    """What a browser gets in which ada is logged in."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    form = urllib.parse.urlencode({"user": "ada", "pass": PASSWORD}).encode()
    browser.addheaders = [("Referer", server.url)]
    with browser.open(server.url + "/NoAuth/Login.html", form, timeout=30):
        pass
    with browser.open(server.url + path, timeout=30) as answer:
        return answer.read().decode()
