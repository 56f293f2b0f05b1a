import pytest
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import secret_file
from foreshock.sandbox.zendesk import OAUTH_TOKEN, USER
from foreshock.testing.sinks import Bench, first_faults
from foreshock.testing.tickets import make_order, make_problem_order
from incident_sink.zendesk import SINK


def ticket(stage, number):
    return stage.system._tickets[int(number)]


# ---- the way in -----------------------------------------------------------------------------------------------------


def test_an_oauth_token_opens_a_ticket(stage, tmp_path):
    stage.settings = {"url": stage.server.url, "oauth_token_file": secret_file(tmp_path, "o", OAUTH_TOKEN)}
    stage.restart()

    assert stage.deliver(Verb.OPEN).number == "9001"


def test_a_wrong_token_is_denied_and_not_shown(stage, tmp_path):
    stage.restart(token_file=secret_file(tmp_path, "wrong", "wrong-token"))

    with pytest.raises(Denied, match=r"zendesk 'prod' at GET /api/v2/tickets.json answered HTTP 401") as raised:
        stage.sink.find("S-1")

    assert "wrong-token" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://example.zendesk.com"}, "without encryption"),
        ({"url": "example.zendesk.com"}, "no web address"),
        ({"url": "https://a:b@example.zendesk.com"}, "a user or a password"),
        ({"oauth_token_file": "/o"}, "one way in"),
        ({"token_file": None}, "one way in"),
        ({"user": ""}, "token_file has no user"),
        ({"settle": "5s"}, "greater than or equal to 1 minute"),
        ({"fields": {"colour": 1}}, "fields.colour"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    good = {"url": "https://example.zendesk.com", "user": "a@example.com", "token_file": "/t"}
    SINK.config.model_validate(good)

    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**good, **settings})


# ---- writing --------------------------------------------------------------------------------------------------------


def test_a_ticket_says_what_it_is_whose_and_how_urgent(stage):
    stage.settings |= {"groups": {"dba": "Database"}, "fields": {"impact": stage.system.impact}}
    stage.settings |= {"impact": ["one", "two", "three"], "fixed": {"brand_id": "7"}}
    stage.restart()
    made = ticket(stage, stage.deliver(Verb.OPEN, priority=1, assignment_group="dba").number)

    groups = {id: group["name"] for id, group in stage.system.tables["groups"].items()}
    assert (made["type"], made["priority"], made["external_id"]) == ("incident", "urgent", "foreshock-S-1")
    assert (groups[made["group_id"]], made["brand_id"], made["tags"]) == ("Database", 7, ["foreshock"])
    assert {"id": stage.system.impact, "value": "two"} in made["custom_fields"]
    assert made["is_public"] is False


def test_an_unknown_group_gives_the_ticket_to_the_fallback(stage):
    made = ticket(stage, stage.deliver(Verb.OPEN, assignment_group="nobody").number)

    assert stage.system.tables["groups"][made["group_id"]]["name"] == "Service Desk"


def test_a_description_has_a_field_of_its_own_where_one_is_named(stage):
    stage.restart(fields={"description": stage.system.live_text})
    receipt = stage.deliver(Verb.OPEN, description="one")
    stage.deliver(Verb.UPDATE, receipt, version=2, description="one and two")

    made = ticket(stage, receipt.number)
    assert {"id": stage.system.live_text, "value": "one and two"} in made["custom_fields"]
    assert len(stage.one().notes) == 1


def test_placeholders_and_markup_of_strangers_are_text(stage):
    stage.deliver(Verb.OPEN, title="{{ticket.requester.email}}", note="{% if x %} <b>{{x}}</b>")

    assert stage.one().title == "{ {ticket.requester.email}}"
    assert "{ % if x %} <b>{ {x}}</b>" in stage.one().notes[0]
    assert "&lt;b&gt;" in stage.asked("POST", "/tickets")[0].body


def test_notes_are_public_only_where_that_is_wanted(stage):
    quiet = stage.deliver(Verb.OPEN)
    stage.restart(public=True)
    loud = stage.deliver(Verb.OPEN, situation="S-2")

    assert [ticket(stage, each.number)["is_public"] for each in (quiet, loud)] == [False, True]


def test_who_has_the_ticket_keeps_it_when_it_is_solved_and_else_the_solver_gets_it(stage):
    ada = stage.system._id_of("ada@example.com")
    stage.restart(solver=ada)
    ours, theirs = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    stage.person(theirs.number, "take", actor="bob")
    for receipt, key in ((ours, "S-1"), (theirs, "S-2")):
        stage.deliver(Verb.RESOLVE, receipt, version=2, situation=key)

    bob = stage.system._id_of("bob@example.com")
    assert [ticket(stage, each.number)["assignee_id"] for each in (ours, theirs)] == [ada, bob]
    assert [ticket(stage, each.number)["status"] for each in (ours, theirs)] == ["solved", "solved"]


def test_custom_statuses_are_used_where_they_are_named(stage):
    ids = {row["status_category"]: id for id, row in stage.system.tables["custom_statuses"].items()}
    stage.restart(statuses={"solved": ids["solved"]})
    receipt = stage.deliver(Verb.OPEN)

    stage.deliver(Verb.RESOLVE, receipt, version=2)

    assert ticket(stage, receipt.number)["custom_status_id"] == ids["solved"]


def test_a_required_field_that_is_empty_makes_a_dead_letter_that_names_it(stage):
    stage.system.required = {stage.system.impact}
    receipt = stage.deliver(Verb.OPEN)

    with pytest.raises(Rejected, match=r"Impact: is required .*`fixed`"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)

    assert stage.wrong() == []


def test_a_follow_up_names_the_closed_ticket(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")

    after = stage.deliver(Verb.REOPEN, receipt, version=2)

    assert stage.held()[-1].number == after.number
    assert receipt.number in stage.held()[-1].links


# ---- a list that lags -----------------------------------------------------------------------------------------------


def test_a_repeated_creation_is_the_same_ticket_while_the_list_does_not_show_it(stage):
    stage.system.list_lag_s = 100
    order = make_order(sink="prod", note="it begins")

    assert [stage.sink.deliver(order, None).number for _ in range(5)] == ["9001"] * 5


def test_a_creation_whose_body_differs_from_the_lost_one_waits_until_the_list_shows_that(stage):
    stage.system.list_lag_s = 100
    stage.sink.deliver(make_order(sink="prod"), None)
    other = make_order(sink="prod", title="other")

    with pytest.raises(Unavailable, match="does not show the ticket yet"):
        stage.sink.deliver(other, None)
    stage.clock.move(101)

    assert stage.sink.deliver(other, None).number == "9001"
    assert len(stage.held()) == 1


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TRUNCATED, Fault.HTML])
def test_a_lost_answer_and_a_lagging_list_make_no_second_ticket(stage, store, fault):
    stage.system.list_lag_s = 90
    bench = Bench(stage, store)
    bench.plan(make_order(sink="prod"))
    stage.faults.script(*first_faults(fault, 2))
    for _ in range(30):
        bench.lane.work()
        stage.clock.move(20)

    assert len(stage.held()) == 1
    assert bench.outbox.ticket("S-1", "prod").state is TicketState.CONFIRMED


# ---- what people did ------------------------------------------------------------------------------------------------


def test_two_changes_of_one_second_are_both_read(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.system.edit(receipt.number, "comment", text="hm")
    stage.system.edit(receipt.number, "resolve", text="done")

    told = stage.news()
    assert sorted(change.state for change in told) == ["commented", "resolved", "taken"]
    assert len({change.sequence for change in told}) == 3


def test_a_second_change_in_the_second_of_a_reading_is_read_by_the_next(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.news()
    stage.person(receipt.number, "take")
    assert list(stage.sink.changes(0)) == []
    stage.system.edit(receipt.number, "comment", text="hm")

    assert sorted(change.state for change in stage.news()) == ["commented", "taken"]


def test_the_close_code_is_read(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.restart(close_code_field=stage.system.close_code)
    stage.person(receipt.number, "resolve", code="false_alarm", text="nothing")

    assert [(change.state, change.code, change.comment) for change in stage.news()] == [
        ("resolved", "false_alarm", "nothing")
    ]


def test_that_zendesk_closes_what_was_solved_is_no_news(stage):
    receipt = stage.deliver(Verb.OPEN)
    receipt = stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.clock.move(29 * 86_400)
    stage.sink.find("S-1")

    assert ticket(stage, receipt.number)["status"] == "closed"
    assert stage.news() == []


def test_a_problem_of_ours_is_no_news_and_the_ticket_of_a_stranger_is_not_looked_at(stage):
    stage.deliver(Verb.OPEN)
    strangers = stage.system._insert({"subject": "y", "comment": {"body": "z"}}, stage.system._id_of(USER))[0]
    stage.person(str(strangers["id"]), "resolve")
    stage.sink.write_problem(make_problem_order(), None)

    assert stage.news() == []
    assert [entry.path for entry in stage.asked("GET", "/audits")] == ["/api/v2/tickets/9001/audits.json"]


def test_a_limit_in_the_middle_of_a_reading_costs_nothing_that_was_read(stage):
    receipts = [stage.deliver(Verb.OPEN, situation=f"S-{number}") for number in range(5)]
    for receipt in receipts:
        stage.person(receipt.number, "take")
    stage.settle()
    stage.faults.script(*[None] * 5, Fault.LIMITED)

    with pytest.raises(Unavailable):
        stage.sink.changes(0)
    before = len(stage.asked("GET", "/audits"))

    assert len(stage.sink.changes(0)) == 5
    assert len(stage.asked("GET", "/audits")) <= before + 3


def test_audits_of_a_ticket_are_asked_once_for_each_of_its_changes(stage):
    receipt = stage.deliver(Verb.OPEN)
    cursor = 0
    for _ in range(5):
        stage.settle()
        cursor = max([cursor, *(change.sequence for change in stage.sink.changes(cursor))])
    stage.person(receipt.number, "take")
    for _ in range(5):
        stage.settle()
        cursor = max([cursor, *(change.sequence for change in stage.sink.changes(cursor))])

    assert len(stage.asked("GET", "/audits")) == 2


def test_an_agent_who_may_not_export_is_told_so(stage):
    stage.system.tables["users"][stage.system._id_of(USER)]["role"] = "agent"
    stage.deliver(Verb.OPEN)
    stage.settle()

    with pytest.raises(Denied, match="incremental export needs an admin"):
        stage.sink.changes(0)
    assert ["role admin" in remedy for _, remedy in stage.wrong()] == [True]


# ---- is it set up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "subject", "remedy"),
    [
        ({"fields": {"ci": 12}}, "custom fields", "correct its id"),
        ({"statuses": {"solved": 12}}, "state mapping", "status of category solved"),
        ({"fallback_group": "Nobody"}, "groups", "correct the name"),
    ],
)
def test_a_check_names_what_must_be_changed(stage, settings, subject, remedy):
    stage.restart(**settings)

    ((found, told),) = stage.wrong()

    assert found == subject
    assert remedy in told


def test_a_check_names_a_field_that_must_be_filled_to_solve(stage):
    stage.system.tables["ticket_fields"][stage.system.impact]["required"] = True

    (finding,) = [finding for finding in stage.sink.check() if finding.remedy]

    assert "'Impact'" in finding.observed
    assert f'fixed: {{"{stage.system.impact}": …}}' in finding.remedy
    stage.restart(fixed={str(stage.system.impact): "1"})
    assert stage.wrong() == []


def test_a_check_tells_wrong_credentials_in_one_finding(stage, tmp_path):
    stage.restart(token_file=secret_file(tmp_path, "wrong", "wrong-token"))

    (finding,) = stage.sink.check()

    assert finding.subject == "credentials"
    assert "check user and token" in finding.remedy
