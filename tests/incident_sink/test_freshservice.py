from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from foreshock.connect.http import Http
from foreshock.connect.vendors.freshservice import Freshservice, connect
from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.freshservice import API_KEY, KEY_FIELD, OTHER, USER
from foreshock.sandbox.system import secret_file
from foreshock.testing.sinks import Bench, first_faults
from foreshock.testing.tickets import NOON, make_order, make_problem_order
from incident_sink.freshservice import LIST_DELAY_S, SINK


def ticket(stage, number):
    return stage.system._tickets[int(number)]


def client(stage):
    return connect(SINK.config.model_validate(stage.settings), "other", "sinks.other", Http)


# ---- the way in -----------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_denied_and_not_shown(stage, tmp_path):
    stage.restart(key_file=secret_file(tmp_path, "wrong", "wrong-key"))

    with pytest.raises(Denied, match=r"freshservice 'prod' at GET /api/v2/tickets/filter answered HTTP 401") as raised:
        stage.sink.find("S-1")

    assert "wrong-key" not in str(raised.value)
    (finding,) = stage.sink.check()
    assert (finding.subject, "API key of an active agent" in finding.remedy) == ("credentials", True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://example.freshservice.com"}, "without encryption"),
        ({"url": "example.freshservice.com"}, "no web address"),
        ({"user": "foreshock"}, "should match pattern"),
        ({"settle": "1s"}, "greater than or equal to 5 seconds"),
        ({"fields": {"colour": "x"}}, "fields.colour"),
        ({"resolved": 7}, "resolved is 7"),
        ({"final": [7]}, "final \\[7\\]"),
        ({"reopened": 5}, "reopened 5"),
        ({"key_prefix": "it's"}, "should match pattern"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    good = {"url": "https://example.freshservice.com", "user": "a@example.com", "key_file": "/t"}
    SINK.config.model_validate(good)

    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**good, **settings})


# ---- finding --------------------------------------------------------------------------------------------------------


def test_what_a_search_does_not_show_yet_is_found_among_what_was_changed_lately(stage):
    receipt = stage.deliver(Verb.OPEN)

    assert stage.restart().find("S-1").number == receipt.number
    assert stage.asked("GET", "/tickets/filter")[-1].status == 200
    assert stage.restart().find("S-2") is None


def test_more_changed_tickets_than_a_list_shows_at_once_hide_none(stage):
    stage.system.filter_lag_s = 9_999
    receipt = stage.sink.deliver(make_order(sink="prod"), None)
    for number in range(250):
        stage.system._write(ticket(stage, receipt.number), {"subject": f"x {number}"}, 0)
        client(stage).create({"subject": "y", "description": "z", "email": USER})
        stage.clock.move(number % 2)

    assert stage.restart().find("S-1").number == receipt.number


@pytest.mark.parametrize("form", ["{}", "cf_{}"])
def test_whichever_name_of_the_field_a_search_takes_is_used(stage, form):
    stage.system.query_forms = (form,)
    receipt = stage.deliver(Verb.OPEN)
    stage.settle()

    assert [stage.restart().find("S-1").number for _ in range(2)] == [receipt.number] * 2


def test_a_list_without_order_is_read_all_the_same(stage):
    stage.system.sorts = False
    receipt = stage.deliver(Verb.OPEN)
    for _ in range(120):
        client(stage).create({"subject": "y", "description": "z", "email": USER})
    stage.person(receipt.number, "take")

    assert stage.restart().find("S-1").number == receipt.number
    assert [change.state for change in stage.news()] == ["taken"]


def test_a_search_that_heeds_no_term_is_believed_in_nothing(stage):
    stage.deliver(Verb.OPEN, situation="S-0")
    stage.system.heeds_terms = False
    stage.settle()

    assert stage.sink.find("S-1") is None
    assert client(stage).search(KEY_FIELD, "S-1") == []
    for number in range(300):
        client(stage).create({"subject": str(number), "description": "z", "email": USER})
    stage.settle()
    with pytest.raises(Unavailable, match="finds 300 tickets and more"):
        stage.sink.find("S-1")


def test_a_storm_of_tickets_does_not_list_itself_for_each_of_them(stage):
    stage.system.filter_lag_s = 9_999
    for number in range(300):
        stage.clock.move(2)
        stage.sink.deliver(make_order(sink="prod", situation=f"S-{number}"), None)

    assert len(stage.asked("GET", "/tickets")) <= 2 * 300 + 10
    assert stage.sink.find("S-250").number == str(1251)


def test_a_change_that_the_list_shows_a_little_late_is_found_by_the_next_look(stage):
    shown = stage.system._is_shown
    late = timedelta(seconds=LIST_DELAY_S - 1)
    stage.system._is_shown = lambda each, workspace: (
        shown(each, workspace) and datetime.fromisoformat(each["updated_at"]) + late <= stage.clock()
    )
    other = client(stage).create(
        {"subject": "y", "description": "z", "email": USER, "custom_fields": {KEY_FIELD: "S-1"}}
    )
    stage.sink.deliver(make_order(sink="prod", situation="S-2"), None)
    stage.clock.move(LIST_DELAY_S)

    assert stage.sink.find("S-1").number == str(other["id"])


def test_a_hit_of_a_search_that_is_out_of_date_is_not_believed(stage, monkeypatch):
    number = stage.deliver(Verb.OPEN).number
    row = client(stage).ticket(number)
    stage.system._write(ticket(stage, number), {"custom_fields": {KEY_FIELD: "S-2"}}, 0)
    monkeypatch.setattr(Freshservice, "search", lambda self, field, value: [row])

    assert stage.restart().find("S-1") is None


def test_a_ticket_that_changes_between_two_pages_pulls_no_other_out_of_sight(stage):
    numbers = []
    for number in range(105):
        stage.clock.move(1)
        numbers.append(stage.sink.deliver(make_order(sink="prod", situation=f"S-{number}"), None).number)
    handle, pages = stage.system.handle, []

    def meanwhile(request):
        if request.path == "/api/v2/tickets" and request.method == "GET":
            pages.append(request)
            if len(pages) == 2:
                stage.clock.move(1)
                stage.system.edit(numbers[0], "take")
        return handle(request)

    stage.system.handle = meanwhile
    assert stage.restart().find("S-100").number == numbers[100]
    assert len(pages) == 2


def test_a_missing_key_field_stops_the_lane_until_it_is_there_and_loses_nothing(stage, store):
    field = stage.system.fields.pop(KEY_FIELD)
    bench = Bench(stage, store)
    bench.plan(make_order(sink="prod"))
    bench.lane.work()

    assert "takes no ticket field 'foreshock_key'" in bench.lane.status().error
    assert "create that single-line text field" in bench.lane.status().error
    with pytest.raises(Denied, match="create that single-line text field"):
        stage.sink.find("S-1")
    stage.system.fields[KEY_FIELD] = field
    bench.run()
    assert [record.state for record in stage.held()] == ["open"]


def test_a_check_names_the_key_field_that_is_missing(stage):
    del stage.system.fields[KEY_FIELD]

    assert [subject for subject, _ in stage.wrong()] == ["key field"]
    assert stage.system.held() == []


def test_two_foreshocks_that_share_an_account_keep_apart(stage):
    first = stage.restart(key_prefix="a-").deliver(make_order(sink="prod"), None)
    second = stage.restart(key_prefix="b-").deliver(make_order(sink="prod"), None)
    stage.person(second.number, "take")

    assert first.number != second.number
    stage.restart(key_prefix="a-")
    assert stage.news() == []


def test_tickets_of_another_workspace_are_found_and_read_there(stage):
    stage.restart(workspace=OTHER)
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")

    assert ticket(stage, receipt.number)["workspace_id"] == OTHER
    assert stage.restart(workspace=OTHER).find("S-1").number == receipt.number
    assert [change.state for change in stage.news()] == ["taken"]
    assert stage.restart().find("S-1") is None


@pytest.mark.parametrize("action", ["delete", "spam"])
@pytest.mark.parametrize("shown", [True, False])
def test_what_was_deleted_is_a_dead_letter_and_opens_anew_when_it_recurs(stage, action, shown):
    stage.system.shows_deleted = shown
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, action)

    with pytest.raises(Rejected, match=f"has no {receipt.number} of S-1 any more"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    assert stage.deliver(Verb.REOPEN, receipt, version=3, title="again").number != receipt.number


def test_a_ticket_that_is_deleted_while_it_is_written_is_gone(stage):
    receipt = stage.deliver(Verb.OPEN)
    handle = stage.system.handle

    def overtaken(request):
        if request.method == "PUT":
            stage.system.edit(receipt.number, "delete")
        return handle(request)

    stage.system.handle = overtaken
    with pytest.raises(Rejected, match="HTTP 405; it was deleted, is spam, or is hidden"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")


# ---- writing --------------------------------------------------------------------------------------------------------


def test_a_ticket_says_what_it_is_whose_and_how_urgent(stage):
    stage.restart(
        groups={"dba": "Database"},
        fields={"services": "affected_services"},
        fixed={"source": 14, "category": "Network", "close_code": "Fixed"},
        requester="desk@example.com",
        assets=True,
    )
    fields = {"priority": 1, "impact": 1, "urgency": 2, "ci": "db1", "services": ["shop", "mail"]}
    made = ticket(stage, stage.deliver(Verb.OPEN, assignment_group="dba", **fields).number)

    tables = stage.system.tables
    assert (made["type"], made["status"], made["tags"], made["source"]) == ("Incident", 2, ["foreshock"], 14)
    assert (made["priority"], made["impact"], made["urgency"], made["category"]) == (4, 3, 2, "Network")
    assert made["custom_fields"] == {KEY_FIELD: "S-1", "affected_services": "shop, mail", "close_code": "Fixed"}
    assert tables["groups"][made["group_id"]]["name"] == "Database"
    assert tables["requesters"][made["requester_id"]]["primary_email"] == "desk@example.com"
    assert made["assets"] == [{"display_id": 17}]


def test_one_call_makes_the_whole_ticket(stage):
    stage.deliver(Verb.OPEN, description="2 alerts", note="it begins")

    assert len(stage.asked("POST", "/")) == 1


def test_a_ticket_whose_order_had_no_description_gets_one_later(stage):
    receipt = stage.deliver(Verb.OPEN, note="it begins")
    stage.deliver(Verb.UPDATE, receipt, version=2, description="2 alerts\n\non 1 CI")

    assert "<p>2 alerts</p><p>on 1 CI</p>" in ticket(stage, receipt.number)["description"]


def test_the_opening_note_stays_when_the_description_is_written_anew(stage):
    receipt = stage.deliver(Verb.OPEN, description="2 alerts", note="it begins\n\nat ——— noon")
    before = stage.server.ledger.effects()
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, description="2 alerts")
    untouched = stage.server.ledger.effects() == before
    stage.deliver(Verb.UPDATE, receipt, version=3, description="3 alerts ——— more")

    text = stage.one().notes[0]
    assert untouched
    assert text.startswith("3 alerts --- more")
    assert "it begins\nat ——— noon\n[foreshock S-1/prod/1-open]" in text
    assert text.count("it begins") == 1


def test_html_that_comes_back_changed_is_still_ours(stage):
    receipt = stage.deliver(Verb.OPEN, description="a < b & c\n\nd")
    for version in (2, 3):
        receipt = stage.deliver(Verb.UPDATE, receipt, version=version, description=f"a < b & c\n\nd {version}")

    assert "d 3" in stage.one().texts[1] or any("d 3" in text for text in stage.one().texts)
    before = len(stage.asked("PUT", "/tickets"))
    stage.deliver(Verb.UPDATE, receipt, version=4, description="a < b & c\n\nd 3")
    assert len(stage.asked("PUT", "/tickets")) == before


def test_an_unknown_group_gives_the_ticket_to_the_fallback_and_a_deleted_one_to_nobody(stage):
    groups = stage.system.tables["groups"]
    first = ticket(stage, stage.deliver(Verb.OPEN, assignment_group="nobody").number)
    database = next(id for id, group in groups.items() if group["name"] == "Database")
    receipt = stage.deliver(Verb.OPEN, situation="S-2", assignment_group="Database")
    del groups[database]
    second = stage.deliver(Verb.OPEN, situation="S-3", assignment_group="Database")
    stage.deliver(Verb.UPDATE, second, situation="S-3", version=2, assignment_group="Database")

    assert groups[first["group_id"]]["name"] == "Service Desk"
    assert ticket(stage, receipt.number)["group_id"] == database
    assert ticket(stage, second.number)["group_id"] in (None, first["group_id"])


def test_a_priority_that_the_account_computes_is_left_to_it(stage):
    stage.system.matrix = True
    stage.restart(matrix=True)
    receipt = stage.deliver(Verb.OPEN, priority=5, impact=1, urgency=1)
    stage.deliver(Verb.UPDATE, receipt, version=2, priority=1, impact=1, urgency=2)

    assert (ticket(stage, receipt.number)["priority"], ticket(stage, receipt.number)["urgency"]) == (3, 2)
    assert not any('"priority"' in entry.body for entry in stage.asked("PUT", "/tickets") + stage.asked("POST", "/"))


@pytest.mark.parametrize(("public", "private"), [(False, True), (True, False)])
def test_notes_are_public_only_where_that_is_wanted(stage, public, private):
    receipt = stage.restart(public=public).deliver(make_order(sink="prod"), None)
    stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")

    assert [note["private"] for note in stage.system._notes[int(receipt.number)]] == [private]


def test_a_field_that_is_mandatory_at_creation_makes_a_dead_letter_that_names_it(stage):
    stage.system.required = {"category"}

    with pytest.raises(Rejected, match=r"category.*`fixed`"):
        stage.deliver(Verb.OPEN)
    assert stage.wrong() == [
        ("mandatory fields", "write it under `fixed` of this sink: fixed: {category: …}, or make it optional there")
    ]
    stage.restart(fixed={"category": "Network"})
    assert stage.deliver(Verb.OPEN).number
    assert stage.wrong() == []


def test_a_field_that_is_mandatory_to_resolve_is_filled_by_resolve_with(stage):
    stage.system.required_for_closure = {"close_code", "resolution_notes"}
    receipt = stage.deliver(Verb.OPEN)

    with pytest.raises(Rejected, match=r"mandatory field.*`resolve_with`"):
        stage.deliver(Verb.RESOLVE, receipt, version=2, note="over")
    assert [subject for subject, _ in stage.wrong()] == ["mandatory fields"]
    stage.restart(resolve_with={"close_code": "Fixed", "resolution_notes": "It ended by itself."})
    stage.deliver(Verb.RESOLVE, receipt, version=2, note="over")

    made = ticket(stage, receipt.number)
    assert (made["status"], made["custom_fields"]["close_code"]) == (4, "Fixed")
    assert sum("over" in note for note in stage.one().notes) == 1


def test_custom_statuses_are_used_where_they_are_named(stage):
    receipt = stage.restart(resolved=6, over=[4, 5, 6], reopened=3).deliver(make_order(sink="prod"), None)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    resolved = ticket(stage, receipt.number)["status"]
    stage.deliver(Verb.REOPEN, receipt, version=3)

    assert (resolved, ticket(stage, receipt.number)["status"]) == (6, 3)


def test_a_status_that_a_rule_moves_on_is_told(stage):
    receipt = stage.deliver(Verb.OPEN)
    write = stage.system._write
    stage.system._write = lambda ticket, given, user: write(ticket, {**given, "status": 3}, user)

    with pytest.raises(Rejected, match="left 1001 in state '3' where it was to be over"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


@pytest.mark.parametrize("how", ["final", "rule"])
def test_what_cannot_be_opened_again_is_followed_by_a_ticket_that_names_it(stage, how):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")
    stage.system.closed_is_final = how == "rule"
    stage.restart(final=[5] if how == "final" else [])
    order = make_order(Verb.REOPEN, sink="prod", version=2, title="again", note="it is back")

    after = stage.sink.deliver(order, receipt)

    assert (after.number, stage.sink.deliver(order, receipt).number) == (after.number,) * 2
    old, new = stage.held()
    assert (old.number, new.number) == (receipt.number, after.number)
    assert any(f"Follows ticket {receipt.number}" in text for text in new.texts)
    assert not any("it is back" in note for note in old.notes)


@pytest.mark.parametrize("call", range(1, 4))
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TRUNCATED, Fault.HTML])
def test_a_lost_answer_and_a_search_that_lags_make_no_second_ticket(stage, store, fault, call):
    stage.system.filter_lag_s = 500
    bench = Bench(stage, store)
    bench.plan(make_order(sink="prod"))
    stage.faults.script(*first_faults(fault, call))
    for _ in range(30):
        bench.lane.work()
        stage.clock.move(20)

    assert len(stage.held()) == 1
    assert bench.outbox.ticket("S-1", "prod").state is TicketState.CONFIRMED


def test_a_clock_that_is_hours_off_changes_nothing(stage):
    stage.clock.at = NOON - timedelta(hours=3)
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    problem = stage.sink.write_problem(make_problem_order(incidents=(receipt,)), None)

    assert stage.restart().find("S-1").number == receipt.number
    assert [change.state for change in stage.news()] == ["taken"]
    assert stage.held("P-1", "problem")[0].number == problem.number


def test_a_limit_by_the_minute_is_waited_for_as_long_as_freshservice_says(stage):
    stage.system.limits = {"ticket": 2}
    stage.sink.deliver(make_order(sink="prod"), None)

    stage.sink.deliver(make_order(sink="prod", situation="S-2"), None)
    with pytest.raises(Unavailable) as raised:
        stage.sink.deliver(make_order(sink="prod", situation="S-3"), None)

    assert (raised.value.unsent, raised.value.retry_after_s) == (True, 60)


# ---- what people did ------------------------------------------------------------------------------------------------


def test_two_changes_of_one_second_are_both_read(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.system.edit(receipt.number, "comment", text="hm")
    stage.system.edit(receipt.number, "resolve", actor="bob")

    told = stage.news()
    assert sorted(change.state for change in told) == ["commented", "resolved", "taken"]
    assert len({change.sequence for change in told}) == 3


def test_the_close_code_is_read_and_what_was_said_with_it(stage):
    stage.restart(close_code_field="close_code")
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve", code="False alarm", text="nothing")

    assert [(change.state, change.code, change.comment, change.actor) for change in stage.news()] == [
        ("resolved", "False alarm", "nothing", "Ada")
    ]


def test_a_ticket_that_was_merged_into_another_is_closed(stage):
    receipt, other = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    stage.person(receipt.number, "merge", text=other.number)

    (change,) = stage.news()
    assert (change.situation, change.state, change.actor) == ("S-1", "closed", "Ada")
    assert f"merged into ticket {other.number}" in change.comment


def test_custom_statuses_are_told_by_their_names_on_the_form(stage):
    stage.restart(over=[4, 5, 6])
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "status", text="Waiting on vendor")
    first = stage.news()
    stage.person(receipt.number, "status", text="Pending")

    assert [change.state for change in first] == ["resolved"]
    again = stage.news(first[-1].sequence)
    assert [(change.state, change.comment) for change in again] == [("reopened", ""), ("pending", "Pending")]


def test_custom_statuses_in_which_a_ticket_waits_are_told_by_their_names(stage):
    stage.restart(waiting=[3, 6])
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "status", text="Waiting on vendor")

    assert [(change.state, change.comment) for change in stage.news()] == [("pending", "Waiting on vendor")]


def test_that_freshservice_closes_what_was_resolved_is_no_news(stage):
    receipt = stage.deliver(Verb.OPEN)
    receipt = stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.clock.move(3 * 86_400)
    stage.system._write(ticket(stage, receipt.number), {"status": 5}, 0)

    assert stage.news() == []
    assert stage.one().state == "closed"


def test_words_of_another_language_are_read_where_they_are_named(stage, monkeypatch):
    from foreshock.sandbox import freshservice

    monkeypatch.setattr(freshservice, "_TOLD", {"status": "Statut", "responder_id": "Agent"})
    receipt = stage.deliver(Verb.OPEN)
    found = stage.wrong()
    stage.restart(said_status="set Statut as")
    stage.person(receipt.number, "resolve")

    assert [subject for subject, remedy in found if "said_status" in remedy] == ["changes"]
    assert stage.wrong() == []
    assert [change.state for change in stage.news()] == ["resolved"]


def test_a_title_that_sounds_like_an_activity_is_not_one(stage):
    receipt = stage.deliver(Verb.OPEN, title="x, set Status as Closed")
    stage.person(receipt.number, "retitle", text="why, set Status as Resolved, set Agent as Bob")
    first = stage.news()
    stage.person(receipt.number, "resolve")

    assert first == []
    assert [(change.state, change.actor) for change in stage.news()] == [("resolved", "Ada")]


def test_the_ticket_of_a_stranger_is_not_looked_at_and_a_problem_of_ours_is_no_news(stage):
    stage.deliver(Verb.OPEN)
    stranger = client(stage).create({"subject": "y", "description": "z", "email": USER})
    stage.person(str(stranger["id"]), "resolve")
    stage.sink.write_problem(make_problem_order(), None)

    assert stage.news() == []
    assert {entry.path for entry in stage.asked("GET", "/activities")} == {"/api/v2/tickets/1001/activities"}


def test_a_history_is_read_once_for_each_change_of_its_ticket(stage):
    stage.sink.changes(0)
    receipt = stage.sink.deliver(make_order(sink="prod"), None)
    cursor = 0
    for _ in range(9):
        stage.clock.move(15)
        cursor = max([cursor, *(change.sequence for change in stage.sink.changes(cursor))])
    before = len(stage.asked("GET", "/activities"))
    stage.system.edit(receipt.number, "take")
    for _ in range(20):
        stage.clock.move(15)
        cursor = max([cursor, *(change.sequence for change in stage.sink.changes(cursor))])

    assert cursor > 0
    assert before <= 2
    assert len(stage.asked("GET", "/activities")) <= before + 2


def test_a_busy_ticket_hides_nothing_of_what_happened_before(stage):
    quiet, busy = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    told, cursor = [], 0
    for number in range(40):
        stage.clock.move(15)
        stage.system.edit(busy.number, "comment", text=f"number {number}")
        if number == 20:
            stage.system.edit(quiet.number, "take")
        told += stage.sink.changes(cursor)
        cursor = max([cursor, *(change.sequence for change in told)])
    told += stage.news(cursor)

    comments = [change.comment for change in told if change.state == "commented"]
    assert comments == [f"number {number}" for number in range(40)]
    assert [change.number for change in told if change.state == "taken"] == [quiet.number]
    assert [change.sequence for change in told] == sorted({change.sequence for change in told})


def test_a_limit_in_the_middle_of_a_reading_costs_nothing_that_was_read(stage):
    receipts = [stage.deliver(Verb.OPEN, situation=f"S-{number}") for number in range(5)]
    for receipt in receipts:
        stage.person(receipt.number, "take")
    stage.settle()
    stage.faults.script(*[None] * 7, Fault.LIMITED)

    with pytest.raises(Unavailable):
        stage.sink.changes(0)
    before = len(stage.asked("GET", "/activities"))

    assert len(stage.sink.changes(0)) == 5
    assert len(stage.asked("GET", "/activities")) <= before + 4


def test_without_knowing_who_we_are_nothing_is_told(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.system.hides_agents = True
    stage.restart()
    stage.settle()

    with pytest.raises(Denied, match="HTTP 403"):
        stage.sink.changes(0)
    assert [subject for subject, remedy in stage.wrong() if "view agents" in remedy] == ["credentials"]
    stage.restart(user=str(stage.system.agent(USER)), requester=USER)
    assert list(stage.sink.changes(0)) == []
    assert stage.wrong() == []


def test_our_own_hand_is_known_by_our_notes_where_user_names_somebody_else(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.restart(user="ada@example.com")  # whose key it is not
    stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")
    stage.deliver(Verb.RESOLVE, receipt, version=3)

    assert stage.news() == []


# ---- problems -------------------------------------------------------------------------------------------------------


def test_a_problem_that_recurs_after_it_was_closed_is_a_new_one(stage):
    first = stage.sink.write_problem(make_problem_order(), None)
    again = stage.sink.write_problem(make_problem_order(version=2, note="once more"), first)
    stage.person(first.number, "close")

    new = stage.sink.write_problem(make_problem_order(version=3), first)

    assert first.number == again.number != new.number
    assert stage.restart().find_problem("P-1").number == new.number
    assert stage.sink.find_problem("P-") is None


def test_a_problem_is_updated_but_not_where_a_person_wrote_and_keeps_its_key(stage):
    fields = {"title": "db1 fails", "description": "3 times", "impact": 1, "assignment_group": "Database"}
    first = stage.sink.write_problem(make_problem_order(**fields, note="it began in May"), None)
    stage.person(first.number, "retitle", text="ADA LOOKS")
    fields |= {"title": "db1 fails often", "description": "4 times"}
    stage.sink.write_problem(make_problem_order(**fields, version=2), first)

    (held,) = stage.held("P-1", "problem")
    assert held.title == "ADA LOOKS"
    assert "4 times" in held.notes[0]
    assert "it began in May" in held.notes[0]


def test_a_cause_counts_once_the_problem_is_marked_as_a_known_error(stage):
    problem = stage.sink.write_problem(make_problem_order(), None)
    record = stage.system._problems[int(problem.number)]
    record["analysis_fields"] = {"problem_cause": {"description": "<div>a full disk,<br>&lt;restart&gt; it</div>"}}
    suspected = stage.sink.read_problem(problem)
    record["known_error"] = True
    known = stage.sink.read_problem(problem)
    record["analysis_fields"] = None

    assert (suspected.known_error, known.known_error) == ("", "a full disk,\n<restart> it")
    assert stage.sink.read_problem(problem).known_error == "Marked as a known error."


# ---- is it set up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "subject", "remedy"),
    [
        ({"fields": {"ci": "configuration_item"}}, "custom fields", "correct its name"),
        ({"close_code_field": "ending"}, "custom fields", "correct its name"),
        ({"over": [4, 5, 9]}, "state mapping", "ids of statuses that are there"),
        ({"fallback_group": "Nobody"}, "groups", "correct the name"),
        ({"key_field": "other_key"}, "key field", "create a single-line text field 'other_key'"),
        ({"user": "nobody@example.com"}, "credentials", "write its id as `user`"),
    ],
)
def test_a_check_names_what_must_be_changed(stage, settings, subject, remedy):
    stage.restart(**settings)

    ((found, told),) = stage.wrong()

    assert found == subject
    assert remedy in told


def test_the_key_is_in_no_message(stage):
    stage.faults.script(Fault.ERROR)

    with pytest.raises(Unavailable) as raised:
        stage.sink.find("S-1")

    assert API_KEY not in str(raised.value)
