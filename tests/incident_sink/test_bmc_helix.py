import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import pytest
import requests
from pydantic import ValidationError

from foreshock.connect.http import Http, Refusal
from foreshock.connect.vendors.bmc_helix import connect, read_refusal
from foreshock.core.contracts import SinkParts, Verb
from foreshock.core.errors import Denied, Missing, Rejected, Unavailable
from foreshock.sandbox.bmc_helix import (
    CI,
    DOOR,
    GROUP,
    HELP_DESK,
    INCIDENT,
    LINK,
    NOTE,
    PASSWORD,
    PERSON,
    PROBLEM_LINK,
    USER,
)
from foreshock.sandbox.faults import Fault
from foreshock.testing.sinks import first_faults
from foreshock.testing.tickets import make_problem_order
from incident_sink.bmc_helix import SINK


def row(stage, number):
    return stage.system._record(number)


def rows(stage, form):
    return list(stage.system._rows[form].values())


def logins(stage):
    return sum(entry.path == "/api/jwt/login" for entry in stage.server.ledger.entries())


def calls(stage, method, form):
    return [entry for entry in stage.server.ledger.entries() if entry.method == method and f"/{form}" in entry.path]


# ---- the way in -----------------------------------------------------------------------------------------------------


def test_one_token_serves_all_calls_although_the_clocks_differ(stage):
    stage.clock.move(-10 * 365 * 86_400)
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse", note="it grows")

    assert logins(stage) == 1


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_token_that_ran_out_or_was_revoked_is_fetched_again_without_losing_the_order(stage, how):
    receipt = stage.deliver(Verb.OPEN)
    if how == "expired":
        stage.clock.move(3601)
    else:
        stage.system.revoke_tokens()

    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")

    assert stage.one().title == "worse"
    assert logins(stage) == 2


def test_a_wrong_password_is_denied_after_one_attempt_which_locks_no_account(stage):
    stage.system.passwords[USER] = "another"

    with pytest.raises(
        Denied, match=r"bmc_helix 'prod' at POST /api/jwt/login answered HTTP 401.*check user"
    ) as raised:
        stage.sink.find("S-1")

    assert logins(stage) == 1
    assert "sandbox" not in str(raised.value).replace("bmc_helix", "")


def test_a_second_session_is_waited_for_and_says_what_an_administrator_must_do(stage):
    stage.system.one_session = True
    requests.post(f"{stage.server.url}/api/jwt/login", {"username": USER, "password": PASSWORD}, timeout=10)

    with pytest.raises(Unavailable, match=r"9093.*give Foreshock an account of its own") as raised:
        stage.sink.find("S-1")

    assert raised.value.unsent
    assert raised.value.retry_after_s == 30


def test_all_threads_of_a_sink_share_one_session(stage):
    """As the product makes them: one sink for each thread."""
    stage.system.one_session = True
    config = SINK.config.model_validate({**stage.settings, "connections": 3})
    parts = SinkParts(http=Http, book=None, console="")
    sinks = [SINK.build("prod", config, parts) for _ in range(5)]

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda sink: sink.find("S-1"), sinks))

    assert found == [None] * 5
    assert logins(stage) == 1


@pytest.mark.parametrize(("calls", "met"), [(1, False), (2, True)])
def test_so_many_calls_are_made_at_a_time_whichever_client_makes_them(stage, calls, met):
    at_once = Barrier(2, timeout=0.5)
    seen = []

    class Meeting(Http):
        def request(self, *arguments, **options):
            try:
                seen.append(at_once.wait() >= 0)
            except BrokenBarrierError:
                seen.append(False)
            raise Unavailable("enough")

    config = SINK.config.model_validate(stage.settings)
    clients = [connect(config, "prod", "sinks.prod", Meeting, calls=calls) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(client.entry, INCIDENT, "1", ()) for client in clients]:
            assert isinstance(each.exception(), Unavailable)

    assert any(seen) is met


def test_an_address_that_is_no_ar_system_stops_the_lane_rather_than_each_order(stage):
    stage.restart(url=f"{stage.server.url}/arsys")

    with pytest.raises(Denied, match="check that the address is the REST API of AR System"):
        stage.sink.find("S-1")


@pytest.mark.parametrize(
    ("status", "type", "number", "expected"),
    [
        (500, "ERROR", 307, Rejected),
        (400, "ERROR", 44_899, Rejected),
        (500, "ERROR", 552, Unavailable),
        (500, "ERROR", 92, Unavailable),
        (503, "ERROR", 307, None),
        (500, "ERROR", 623, Denied),
        (500, "ERROR", 353, Denied),
        (404, "ERROR", 302, Missing),
        (404, "ERROR", 303, Denied),
        (500, "FATAL", 44_899, None),
        (500, "WARNING", 44_899, None),
        (502, "ERROR", None, None),
    ],
)
def test_the_number_of_an_error_says_more_than_its_status(status, type, number, expected):
    body = json.dumps([{"messageType": type, "messageText": "x", "messageNumber": number}]).encode()
    refusal = Refusal(status=status, headers={}, body=body, place="p", message="m", retry_after_s=None)

    error = read_refusal(refusal)

    assert error is None if expected is None else isinstance(error, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://example-restapi.onbmc.com"}, "would be reached without encryption"),
        ({"url": "https://bot:pw@example-restapi.onbmc.com"}, "it holds a user or a password"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": "a%"}, "prefix"),
        ({"key_field": "Vendor' OR 'x"}, "key_field"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_start(settings, message):
    sound = {"url": "https://x.onbmc.com/api", "user": "bot", "password_file": "p", "first_name": "A", "last_name": "B"}
    assert SINK.config.model_validate(sound).url == "https://x.onbmc.com"
    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**sound, **settings})


# ---- what it writes -------------------------------------------------------------------------------------------------


def test_an_incident_carries_priority_group_ci_and_service_as_this_system_knows_them(stage):
    fields = {"impact": 1, "urgency": 2, "assignment_group": "Database", "ci": "db1", "services": ["shop"]}
    found = row(stage, stage.deliver(Verb.OPEN, **fields).number)

    assert (found["Impact"], found["Urgency"], found["Priority"]) == ("1-Extensive/Widespread", "3-Medium", "High")
    assert found["Vendor Ticket Number"] == "foreshock-S-1"
    assert [
        found[name] for name in ("Assigned Support Company", "Assigned Support Organization", "Assigned Group")
    ] == [
        "Acme",
        "IT Support",
        "Database",
    ]
    for name, title in (("HPD_CI", "db1"), ("ServiceCI", "shop")):
        assert found[name] == title
        assert found[f"{name}_ReconID"].startswith("OI-")
    assert (found["Status"], found["Service Type"]) == ("Assigned", "Infrastructure Event")


@pytest.mark.parametrize(
    ("config", "group", "expected"),
    [
        ({}, "nobody knows it", "Service Desk"),
        ({"assignment_groups": {"dba": "Database"}}, "dba", "Database"),
        ({"assignment_groups": {"dba": "SGP000000000002"}}, "dba", "Network"),
        ({"fallback_group": ""}, "nobody knows it", None),
    ],
)
def test_an_unknown_group_falls_back_and_never_stops_an_incident(stage, config, group, expected):
    stage.restart(**config)
    found = row(stage, stage.deliver(Verb.OPEN, assignment_group=group).number)

    assert found.get("Assigned Group") == expected
    assert found["Status"] == ("Assigned" if expected else "New")


def test_two_groups_of_one_name_are_not_guessed_between_and_offline_ones_do_not_count(stage):
    other = {"Company": "Acme", "Support Organization": "Sales", "Support Group Name": "Database"}
    stage.system.insert(GROUP, **other, Status="Enabled")
    stage.system.insert(GROUP, **{**other, "Support Group Name": "Network"}, Status="Offline")

    for situation, asked, expected in (("S-1", "Database", "Service Desk"), ("S-2", "Network", "Network")):
        receipt = stage.deliver(Verb.OPEN, situation=situation, assignment_group=asked)
        assert row(stage, receipt.number)["Assigned Group"] == expected


def test_a_group_is_changed_as_a_whole_and_stays_where_a_person_moved_it(stage):
    other = {"Company": "Globex", "Support Organization": "Storage", "Support Group Name": "SAN", "Status": "Enabled"}
    stage.system.insert(GROUP, **other)
    receipt = stage.deliver(Verb.OPEN, assignment_group="Database")
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, assignment_group="SAN")
    assert row(stage, receipt.number)["Assigned Support Company"] == "Globex"

    stage.person(receipt.number, "assign", text="Network")
    stage.deliver(Verb.UPDATE, receipt, version=3, assignment_group="Database")

    assert row(stage, receipt.number)["Assigned Group"] == "Network"


def test_an_unknown_group_in_an_update_takes_none_away(stage):
    stage.restart(fallback_group="")
    receipt = stage.deliver(Verb.OPEN, assignment_group="Database")

    stage.deliver(Verb.UPDATE, receipt, version=2, assignment_group="nobody knows it", title="worse")

    assert (row(stage, receipt.number)["Assigned Group"], stage.one().title) == ("Database", "worse")


def test_names_with_quotes_in_them_are_looked_up_as_they_are(stage):
    name = """rack "7" o'clock %"""
    stage.system.insert(CI, Name=name, DatasetId="BMC.ASSET", ReconciliationIdentity="OI-7")

    assert row(stage, stage.deliver(Verb.OPEN, ci=name).number)["HPD_CI_ReconID"] == "OI-7"


def test_a_ci_that_two_have_is_not_guessed(stage):
    stage.system.insert(CI, Name="db1", DatasetId="BMC.ASSET", ReconciliationIdentity="OI-2")

    assert row(stage, stage.deliver(Verb.OPEN, ci="db1").number).get("HPD_CI") is None


def test_a_mandatory_field_that_is_not_filled_rejects_naming_it_and_the_remedy(stage):
    stage.system.mandatory = {DOOR: {"Categorization Tier 1"}}

    with pytest.raises(Rejected, match=r"Categorization Tier 1.*fill the field it asks for through `fixed`"):
        stage.deliver(Verb.OPEN)

    stage.restart(fixed={**stage.sink._incidents._records._config.fixed, "Categorization Tier 1": "network"})
    assert row(stage, stage.deliver(Verb.OPEN).number)["Categorization Tier 1"] == "network"


def test_a_field_that_a_resolution_wants_is_written_with_it_unless_a_person_filled_it(stage):
    stage.system.on_status["Resolved"] = {"Assignee", "Resolution Category"}
    receipt = stage.deliver(Verb.OPEN)
    with pytest.raises(Rejected, match=r"The field Assignee is required for the status Resolved.*`resolving`"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)

    stage.person(receipt.number, "take", actor="ada")
    stage.restart(resolving={"Assignee": "Bot", "Resolution Category": "Monitoring"})
    stage.deliver(Verb.RESOLVE, receipt, version=3)

    found = row(stage, receipt.number)
    assert (found["Status"], found["Assignee"], found["Resolution Category"]) == ("Resolved", "Ada", "Monitoring")


def test_a_key_that_is_not_stored_is_told_with_the_number_of_the_incident(stage):
    stage.system.emptied = {"Vendor Ticket Number"}

    with pytest.raises(
        Rejected, match=r"created INC000000100001 without our key: Vendor Ticket Number is '' instead of 'S-1'"
    ):
        stage.deliver(Verb.OPEN)


def test_a_person_that_is_not_there_is_told_by_the_words_of_the_workflow(stage):
    stage.restart(last_name="Nobody")

    with pytest.raises(Rejected, match="No person is called App Nobody"):
        stage.deliver(Verb.OPEN)


def test_a_doorway_that_makes_nothing_is_an_error_and_not_a_success(stage):
    stage.system.emptied = {"Incident Number"}

    with pytest.raises(Rejected, match=r"took the creation of S-1, but made no record"):
        stage.deliver(Verb.OPEN)


def test_a_status_that_is_not_taken_is_an_error_and_not_a_success(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.system.deaf = {"Status"}

    with pytest.raises(Rejected, match=r"left INC000000100001 in state 'Assigned' where it was to be over"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


@pytest.mark.parametrize("action", ["close", "cancel"])
def test_the_follower_of_a_closed_incident_is_related_to_it_from_both_ends(stage, action):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, action)
    after = stage.deliver(Verb.REOPEN, receipt, version=2, title="again", note="it is back")

    pairs = {(link["Request ID01"], link["Request ID02"]) for link in rows(stage, LINK)}
    assert pairs == {(receipt.number, after.number), (after.number, receipt.number)}


@pytest.mark.parametrize("call", range(1, 14))
def test_a_follower_whose_making_was_cut_short_is_finished_and_made_once(stage, call):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")
    order = {"version": 2, "title": "again", "note": "it is back"}
    stage.faults.script(*first_faults(Fault.LOST, call))
    try:
        stage.deliver(Verb.REOPEN, receipt, **order)
    except Unavailable:
        stage.deliver(Verb.REOPEN, receipt, **order)

    (follower,) = [record for record in stage.held() if record.state == "open"]
    assert follower.links == (receipt.number,)
    assert sum("it is back" in note for note in follower.notes) == 1


def test_the_note_that_opens_an_incident_comes_with_it_and_others_are_work_info(stage):
    receipt = stage.deliver(Verb.OPEN, note="it begins")
    assert calls(stage, "POST", NOTE) == []

    stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")

    assert len(calls(stage, "POST", NOTE)) == 1
    assert [note.splitlines() for note in stage.one().notes] == [
        ["it begins", "[foreshock S-1/prod/1-open]"],
        ["it grows", "[foreshock S-1/prod/2-update]"],
    ]
    assert {note.get("View Access", "Internal") for note in rows(stage, NOTE)} == {"Internal"}


def test_a_server_without_the_fields_for_a_note_inside_gets_it_in_a_call_of_its_own(stage):
    stage.system.unknown = {"z1D_Secure_Log"}
    stage.deliver(Verb.OPEN, note="it begins")

    assert len(stage.held()) == 1
    assert "it begins" in stage.one().notes[0]


def test_a_note_whose_answer_was_lost_is_not_written_twice_however_long_the_order_is_called(stage):
    receipt = stage.deliver(Verb.OPEN)
    order = {"version": 2, "id": "S-1/" + "x" * 300, "note": "it grows", "title": "worse"}
    for call in (2, 3, 4):
        stage.faults.script(*first_faults(Fault.LOST, call))
        with pytest.raises(Unavailable):
            stage.deliver(Verb.UPDATE, receipt, **order)
    stage.faults.script()
    stage.deliver(Verb.UPDATE, receipt, **order)

    assert sum("it grows" in note for note in stage.one().notes) == 1
    assert stage.one().title == "worse"


def test_an_order_that_reopens_with_what_changed_only_is_filled_from_what_was(stage):
    receipt = stage.deliver(Verb.OPEN, impact=1, urgency=1, title="db1 is down")
    stage.person(receipt.number, "close")
    after = stage.deliver(Verb.REOPEN, receipt, version=2)

    found = row(stage, after.number)
    assert (found["Impact"], found["Urgency"], found["Description"]) == (
        "1-Extensive/Widespread",
        "1-Critical",
        "db1 is down",
    )


def test_a_ticket_links_to_the_page_for_people_where_it_is_named(stage):
    assert stage.deliver(Verb.OPEN).url.endswith(
        "/api/arsys/v1/entry/HPD:IncidentInterface/INC000000000001%7CINC000000000001"
    )
    stage.restart(page="https://itsm.example/incident/{number}?view=1")

    assert stage.sink.find("S-1").url == "https://itsm.example/incident/INC000000100001?view=1"


# ---- problems -------------------------------------------------------------------------------------------------------


def write_problem(stage, incidents, version=1, **fields):
    order = make_problem_order(version=version, note=f"note {version}", incidents=incidents, **fields)
    return stage.sink.write_problem(order, stage.sink.find_problem("P-1"))


def test_a_problem_has_group_ci_and_both_rows_of_each_association(stage):
    incidents = (stage.deliver(Verb.OPEN),)
    fields = {"title": "db1 fails each night", "impact": 1, "assignment_group": "Database", "ci": "db1"}
    receipt = write_problem(stage, incidents, **fields)
    write_problem(stage, incidents, 2, title="db1 fails each night, 4 times")

    found = row(stage, receipt.number)
    assert found["Investigation Status"] == "Draft"
    assert (found["Assigned Group Pblm Mgr"], found["PBM_CI"]) == ("Database", "db1")
    assert found["Description"] == "db1 fails each night, 4 times"
    (link,), (mirror,) = rows(stage, LINK), rows(stage, PROBLEM_LINK)
    assert (link["Request ID01"], link["Request ID02"]) == (receipt.number, incidents[0].number)
    assert (mirror["Request ID01"], mirror["Request ID02"]) == (incidents[0].number, receipt.number)


@pytest.mark.parametrize("call", range(1, 10))
def test_a_problem_whose_making_was_cut_short_is_finished_and_made_once(stage, call):
    incidents = (stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2"))
    stage.faults.script(*first_faults(Fault.LOST, call))
    for _ in range(3):
        try:
            write_problem(stage, incidents, title="db1 fails each night", impact=1, urgency=2)
        except Unavailable:
            continue

    (problem,) = stage.held("P-1", "problem")
    assert sum("note 1" in note for note in problem.notes) == 1
    assert [len(rows(stage, form)) for form in (LINK, PROBLEM_LINK)] == [2, 2]


def test_a_problem_that_people_ended_is_followed_by_another(stage):
    first = write_problem(stage, (), title="db1 fails each night", impact=1, urgency=2)
    stage.person(first.number, "resolve")
    assert stage.sink.read_problem(first).ended == "resolved"

    second = write_problem(stage, (), 2, title="db1 fails each night", impact=1, urgency=2)

    assert second.number != first.number
    assert stage.sink.find_problem("P-1").number == second.number


def test_an_incident_that_a_person_linked_to_another_problem_stays_there(stage):
    ticket = stage.deliver(Verb.OPEN)
    theirs = {
        "Request ID01": "PBI1",
        "Request ID02": ticket.number,
        "Form Name01": "PBM:Problem Investigation",
        "Form Name02": HELP_DESK,
        "Request Type01": "Problem Investigation",
        "Association Type01": "Caused By",
    }
    stage.system.insert(LINK, "ada", **theirs)

    write_problem(stage, (ticket,), title="db1 fails each night", impact=1, urgency=2)

    assert stage.one().links == ("PBI1",)


# ---- what it reads --------------------------------------------------------------------------------------------------


def test_a_qualification_that_is_lost_on_the_way_is_noticed_and_nothing_wrong_is_adopted(stage):
    stage.deliver(Verb.OPEN, situation="S-0")
    stage.system.ignores_q = True

    with pytest.raises(Denied, match=r"with 1 entries that do not match.*drops the parameter q"):
        stage.sink.find("S-1")
    with pytest.raises(Denied):
        stage.deliver(Verb.OPEN, situation="S-1")
    assert stage.held("S-1") == []


def test_a_key_field_that_is_hidden_is_no_reason_to_open_a_second_incident(stage):
    stage.deliver(Verb.OPEN)
    stage.system.hidden = {"Vendor Ticket Number"}

    with pytest.raises(Denied, match="check that this account may read these fields"):
        stage.restart().find("S-1")


def test_a_field_that_the_form_does_not_have_is_named(stage):
    stage.restart(key_field="u_no_such_field")

    with pytest.raises(Denied, match=r"Field ID is not related to this form.*u_no_such_field"):
        stage.sink.find("S-1")


def test_a_server_that_answers_fewer_rows_than_asked_for_is_read_to_the_end(stage):
    for number in range(5):
        stage.person(stage.deliver(Verb.OPEN, situation=f"S-{number}").number, "take")
    stage.system.max_rows = 2
    stage.settle()

    assert len(stage.sink.changes(0)) == 5


@pytest.mark.parametrize("spread", [0, 1], ids=["in one second", "one a second"])
def test_more_than_a_page_of_changes_is_read_whole(stage, spread):
    expected = set()
    with stage.server.lock:
        for number in range(300):
            values = {"First_Name": "App", "Last_Name": "Monitor", "z1D_Action": "CREATE", "Status": "New"}
            values |= {"Impact": "4-Minor/Localized", "Urgency": "4-Low", "Description": "x"}
            values |= {"Reported Source": "Web", "Service_Type": "Infrastructure Event"}
            made = stage.system.insert(DOOR, USER, **values, **{"Vendor Ticket Number": f"foreshock-S-{number}"})
            stage.system.edit(made["Incident Number"], "take")
            stage.clock.move(spread)
            expected.add(made["Incident Number"])
    stage.settle()
    told, cursor = set(), 0
    for _ in range(5):
        found = stage.sink.changes(cursor)
        told |= {change.number for change in found}
        cursor = found[-1].sequence if found else cursor

    assert told == expected


def test_a_status_reason_and_the_resolution_are_read_back(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve", code="Monitoring Incident", text="see INC1")
    stage.settle()

    (change,) = stage.sink.changes(0)

    assert (change.state, change.code, change.comment) == ("resolved", "Monitoring Incident", "see INC1")


def test_what_was_resolved_and_opened_again_between_two_visits_is_told_in_order(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve")
    stage.person(receipt.number, "reopen", actor="bob")
    stage.settle()

    assert [(change.state, change.actor) for change in stage.sink.changes(0)] == [
        ("resolved", "ada"),
        ("reopened", "bob"),
    ]


def test_a_reopening_is_told_once_although_the_status_changes_again(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve")
    stage.person(receipt.number, "reopen")
    stage.settle()
    cursor = stage.sink.changes(0)[-1].sequence
    stage.sink.changes(cursor)
    with stage.server.lock:
        for status in ("Pending", "Assigned"):
            stage.clock.move(60)
            values = {"Status": status, "Status_Reason": "Client Action Required"}
            stage.system._change(INCIDENT, row(stage, receipt.number), values, "ada")
    stage.settle()

    assert [change.state for change in stage.sink.changes(cursor)] == ["pending", "resumed"]


def test_an_incident_that_waits_and_goes_on_is_told_with_the_reason(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.person(receipt.number, "wait", code="Client Action Required")
    stage.settle()
    first = stage.sink.changes(0)
    assert [(change.state, change.comment) for change in first] == [("pending", "Client Action Required")]

    stage.person(receipt.number, "reopen", actor="bob")
    stage.settle()
    second = stage.sink.changes(first[-1].sequence)
    stage.sink.changes(second[-1].sequence)
    stage.person(receipt.number, "take")
    stage.settle()

    assert {(change.state, change.actor) for change in second} == {("resumed", "bob"), ("taken", "ada")}
    assert stage.sink.changes(second[-1].sequence) == []


def test_a_wait_that_a_resolution_ended_is_not_told_as_going_on(stage):
    receipt = stage.deliver(Verb.OPEN)
    for action in ("wait", "resolve", "reopen"):
        stage.person(receipt.number, action)
    stage.settle()

    assert [change.state for change in stage.sink.changes(0)] == ["resolved", "reopened"]


def test_a_comment_is_read_although_it_does_not_touch_the_incident_and_strangers_are_not(stage):
    receipt = stage.deliver(Verb.OPEN)
    theirs = {"First_Name": "Ada", "Last_Name": "Lovelace", "z1D_Action": "CREATE", "Status": "New", "Impact": "4"}
    theirs |= {"Urgency": "4-Low", "Description": "x", "Reported Source": "Web", "Service_Type": "Infrastructure Event"}
    other = stage.system.insert(DOOR, "ada", **theirs)["Incident Number"]
    stage.settle()
    assert stage.sink.changes(0) == []
    stage.person(other, "comment", text="not for us")
    stage.person(receipt.number, "comment", text="I look at the disk")
    stage.settle()

    (change,) = stage.sink.changes(0)
    assert (change.situation, change.comment) == ("S-1", "I look at the disk")
    assert not any(entry.path.endswith(rows(stage, NOTE)[0]["Work Log ID"]) for entry in calls(stage, "GET", NOTE))


def test_what_others_that_are_named_as_ours_do_is_no_news(stage):
    stage.restart(also_ours=["AR_ESCALATOR"])
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.person(receipt.number, "close", actor="AR_ESCALATOR")
    stage.settle()

    assert stage.sink.changes(0) == []


# ---- is it set up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "config", "subject", "remedy"),
    [
        (lambda system: system.passwords.clear(), {}, "credentials", "check user and password"),
        (lambda system: system.permissions.update({USER: {"problem"}}), {}, "credentials", "permissions it needs"),
        (lambda system: None, {"key_field": "u_key"}, "key field", "name a text field of HPD:IncidentInterface"),
        (lambda system: None, {"problem_key_field": "u_key"}, "key field of problems", "in problem_key_field"),
        (lambda system: None, {"last_name": "Nobody"}, "customer", "make one such person in CTM:People"),
        (
            lambda system: system.insert(PERSON, **{"First Name": "App", "Last Name": "Monitor"}),
            {},
            "customer",
            "write another name",
        ),
        (
            lambda system: system.mandatory.update({DOOR: {"Categorization Tier 1"}}),
            {},
            "mandatory fields",
            "fixed: {Categorization Tier 1: …}",
        ),
        (lambda system: None, {"resolved": "Solved"}, "Status", "into resolved, reopened or final of this sink"),
        (lambda system: None, {"status_reason": "Because"}, "Status_Reason", "into status_reason"),
        (lambda system: None, {"impact": ["1", "2", "9-None"]}, "Impact", "into impact"),
        (lambda system: None, {"fallback_group": "Nobody"}, "assignment groups", "correct the name"),
    ],
)
def test_a_check_says_exactly_what_must_be_changed_and_writes_nothing(stage, change, config, subject, remedy):
    stage.deliver(Verb.OPEN, situation="S-0")
    before = stage.server.ledger.effects()
    change(stage.system)
    stage.restart(**config)

    ((found, told),) = stage.wrong()

    assert found == subject
    assert remedy in told
    assert stage.server.ledger.effects() == before


def test_a_check_says_what_the_server_does_not_tell(stage):
    stage.system.metadata = False

    findings = {finding.subject: finding for finding in stage.sink.check()}

    assert findings["mandatory fields"].observed == "the form's fields are not listed: try --create"
    assert findings["mandatory fields"].remedy == ""
