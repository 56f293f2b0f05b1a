"""The stand-in of ServiceDesk Plus, judged by clients that others wrote and by the requests they were seen to make."""

import json

import pytest
import requests

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.servicedesk_plus import (
    CLIENT_ID,
    CLIENT_SECRET,
    KEY_FIELD,
    PORTAL,
    REFRESH_TOKEN,
    TECHNICIAN_KEY,
)
from foreshock.testing.clients import drive, python_with

KEY = "inc-000123"


def ask(server, method, path, given=None, *, key=TECHNICIAN_KEY, **options):
    """As on-premises is asked: the data in the query for GET, in a form else."""
    sent = {} if given is None else {"params" if method == "GET" else "data": {"input_data": json.dumps(given)}}
    headers = options.pop("headers", {"authtoken": key})
    return requests.request(method, f"{server.url}/api/v3{path}", headers=headers, timeout=10, **sent, **options)


def make(server, **values):
    return ask(server, "POST", "/requests", {"request": {"subject": "x", **values}}).json()["request"]


def listed(server, **info):
    return ask(server, "GET", "/requests", {"list_info": info}).json()


def with_status(name):
    return {"request": {"status": {"name": name}}}


def refused(answer):
    """HTTP status, code and fields of a refusal."""
    status = answer.json()["response_status"]
    message = status["messages"][0]
    return answer.status_code, message["status_code"], message.get("field") or message.get("fields")


def token(server, **changed):
    given = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return requests.post(
        f"{server.url}/oauth/v2/token", data={**given, "refresh_token": REFRESH_TOKEN, **changed}, timeout=10
    )


# ---- clients that others wrote --------------------------------------------------------------------------------------

SERVICEDESK_CLIENT = """
import sys
import httpx2
from helpdesk_client.v3.client2 import SyncHelpdeskClient2
from helpdesk_client.v3.schemas import body, query_params as query
url, key, field = sys.argv[1:]
client = SyncHelpdeskClient2(httpx2.Client(base_url=url, headers={"authtoken": key}))
urgency = client.get_urgencies(query.UrgencyFilterParams(limit=10, offset=1)).urgencies[1]
made = [
    client.create_request(
        body.RequestCreateSchema(
            subject=f"number {number}",
            description="<b>d</b>",
            requester=body.ShortRequesterSchema(email_id="ada@example.com"),
            urgency=body.IdentSchema(id=urgency.id),
            udf_fields={field: "inc-000123"},
        )
    )
    for number in range(7)
]
print(made[0].status.name, made[0].urgency.name, made[0].requester.email, made[0].group.name)
print(client.update_request(made[0].id, body.RequestUpdateSchema(subject="changed")).subject)
note = client.add_note(
    made[0].id,
    body.NoteCreateSchema(
        description="n", show_to_requester=False, mark_first_response=False, add_to_linked_requests=False
    ),
)
print(note.added_by.email, note.show_to_requester)
client.cancel_request(made[1].id)
page = client.get_requests_page_paginated(
    query.RequestCriteriaFilterPagePaginationParams(
        page=2,
        page_size=4,
        can_include_count=True,
        search_criteria=[
            {"field": "requester.email_id", "value": "ada@example.com", "condition": "eq"},
            {"field": "status.name", "value": "Canceled", "condition": "neq", "logical_operator": "and"},
        ],
    )
)
print(len(page.requests), page.list_info.total_count, page.list_info.has_next)
by_name = query.RequestFilterParams(
    limit=3, offset=1, search_fields=query.RequestSearchFields(requester_name="Ada"), sort_field="id", sort_order="desc"
)
print([request.id == one.id for request, one in zip(client.get_requests(by_name).requests, made[::-1])])
print([each.name for each in client.get_templates(query.TemplateFilterParams(limit=5, offset=1)).request_templates])
print(client.get_request(1), client.get_request_with_resolution(made[0].id).resolution)
"""


def test_servicedesk_client_creates_changes_notes_pages_and_cancels(system, server):
    system.default_group = "Service Desk"  # it cannot read a request without a group
    python = python_with("servicedesk-client==0.5.0", "httpx2")

    assert drive(python, SERVICEDESK_CLIENT, server.url, TECHNICIAN_KEY, KEY_FIELD) == [
        "Open High ada@example.com Service Desk",
        "changed",
        "foreshock@example.com False",
        "2 6 False",
        "[True, True, True]",
        "['Default Request']",
        "None None",
    ]


ZOHO_CLIENT = """
import sys
from ZohoSDPlusAPI import Problem, Request
url, key, field = sys.argv[1:]
client, problems = Request(key, url + "/api/v3", True), Problem(key, url + "/api/v3", True)
made = [
    client.add_request({"request": {"subject": f"number {number}", "udf_fields": {field: f"inc-{number}"}}})["request"]
    for number in range(3)
]
first, second, _ = [request["id"] for request in made]
criterion = {"field": "udf_fields." + field, "condition": "is", "value": "inc-1"}
found = client.get_all_requests_data({"list_info": {"row_count": 50, "start_index": 1, "search_criteria": criterion}})
print([request["id"] == second for request in found["requests"]], found["response_status"][0]["status_code"])
client.add_request_resolution(first, "fixed")
print(client.update_request(first, {"request": {"status": {"name": "Resolved"}}})["request"]["status"]["name"])
print(client.get_request_resolution(first)["resolution"]["content"])
client.link_requests(first, {"link_requests": [{"linked_request": {"id": second}}]})
print([row["linked_request"]["id"] == second for row in client.get_all_link_requests(first)["link_requests"]])
problem = problems.add_problem({"problem": {"title": "again"}})["problem"]["id"]
client.request_associate_problem(first, problem)
problems.problem_associate_many_requests(problem, [second])
both = problems.get_problem_associate_request(problem)["associated_requests"]
print(sorted(row["id"] for row in both) == sorted([first, second]))
client.request_dissociate_problem(first, problem)
print(len(problems.get_problem_associate_request(problem)["associated_requests"]))
client.add_request_worklog(first, {"worklog": {"description": "looked"}})
print([row["description"] for row in client.get_request_all_worklogs(first)["worklogs"]])
print(client.delete_request_to_trash(second)["response_status"]["status_code"])
"""


def test_zohosdplusapi_searches_resolves_links_works_and_deletes(server):
    python = python_with("ZohoSDPlusAPI==0.1.6")

    assert drive(python, ZOHO_CLIENT, server.url, TECHNICIAN_KEY, KEY_FIELD) == [
        "[True] 2000",
        "Resolved",
        "<div>fixed<br></div>",
        "[True]",
        "True",
        "1",
        "['looked']",
        "2000",
    ]


# ---- requests that clients were seen to make ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["query", "form"])
@pytest.mark.parametrize(
    ("method", "path", "given", "name"),
    [
        ("POST", "", {"request": {"subject": "x", "udf_fields": {KEY_FIELD: KEY}}}, "request"),
        ("PUT", "/{}", {"request": {"status": {"name": "Resolved"}}}, "request"),
        ("POST", "/{}/resolutions", {"resolution": {"content": "fixed"}}, "resolution"),
        ("POST", "/{}/notes", {"note": {"description": "n", "show_to_requester": False}}, "note"),
        ("POST", "/{}/notes", {"request_note": {"description": "n", "notify_technician": False}}, "request_note"),
    ],
)
def test_data_is_taken_from_the_query_and_from_a_form(server, place, method, path, given, name):
    id = make(server)["id"]
    address = f"{server.url}/api/v3/requests{path.format(id)}"
    sent = {"params" if place == "query" else "data": {"input_data": json.dumps(given)}}

    answer = requests.request(method, address, headers={"authtoken": TECHNICIAN_KEY}, timeout=10, **sent)

    assert answer.json()["response_status"] == {"status_code": 2000, "status": "success"}
    assert isinstance(answer.json()[name], dict)


# ---- the ways in ----------------------------------------------------------------------------------------------------


def test_the_cloud_is_reached_through_its_portal_with_a_token_of_an_hour(server, clock):
    given = token(server).json()
    address = f"{server.url}/app/{PORTAL}/api/v3/requests"
    headers = {"Authorization": f"Zoho-oauthtoken {given['access_token']}"}
    fresh = requests.get(address, headers=headers, timeout=10)
    made = requests.post(
        address, headers=headers, data={"input_data": json.dumps({"request": {"subject": "x"}})}, timeout=10
    )
    clock.move(3601)

    assert (given["expires_in"], fresh.status_code, made.status_code) == (3600, 200, 201)
    assert refused(requests.get(address, headers=headers, timeout=10))[:2] == (401, 4022)


def test_zoho_refuses_tokens_with_status_200(server, clock):
    answers = [token(server, client_id="x"), token(server, client_secret="x"), token(server, refresh_token="x")]
    many = [token(server) for _ in range(11)]
    clock.move(601)

    assert [answer.status_code for answer in (*answers, *many)] == [200] * 14
    assert [answer.json()["error"] for answer in answers] == ["invalid_client", "invalid_client", "invalid_code"]
    assert many[10].json()["error"] == "Access Denied"
    assert "access_token" in token(server).json()


def test_a_technician_key_is_taken_under_its_old_name_too_and_a_wrong_one_is_not(server):
    assert ask(server, "GET", "/requests", headers={"TECHNICIAN_KEY": TECHNICIAN_KEY}).status_code == 200
    assert refused(ask(server, "GET", "/requests", key="wrong"))[:2] == (401, 4022)


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_a_list_shows_few_fields_unless_more_are_asked_for(server):
    make(server)

    assert set(listed(server)["requests"][0]) == {
        "id", "requester", "template", "created_time", "display_id", "subject", "technician", "status", "group",
    }  # fmt: skip
    assert set(listed(server, fields_required=["udf_fields"])["requests"][0]) == {"id", "udf_fields"}


def test_rows_are_counted_from_one_and_a_hundred_come_at_most(server):
    for _ in range(105):
        make(server)
    first = listed(server, row_count=500, start_index=1, get_total_count=True, sort_field="id")
    second = listed(server, row_count=100, start_index=101, sort_field="id")

    assert (len(first["requests"]), first["list_info"]["has_more_rows"]) == (100, True)
    assert (first["list_info"]["total_count"], first["response_status"][0]["status_code"]) == (105, 2000)
    assert (len(second["requests"]), second["list_info"]["has_more_rows"]) == (5, False)
    assert "total_count" not in second["list_info"]


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ([{"field": "subject", "condition": "is", "value": "DISK"}], ["disk"]),
        ([{"field": "subject", "condition": "is not", "value": "disk"}], ["disk2", "net"]),
        ([{"field": "subject", "condition": "starts with", "value": "dis"}], ["disk", "disk2"]),
        ([{"field": "subject", "condition": "contains", "value": "k2"}], ["disk2"]),
        ([{"field": "subject", "condition": "ends with", "value": "t"}], ["net"]),
        ([{"field": "subject", "condition": "is", "values": ["disk", "net"]}], ["disk", "net"]),
        ([{"field": "priority", "condition": "is", "values": [{"name": "High"}]}], ["net"]),
        ([{"field": "priority.name", "condition": "is", "value": "High"}], ["net"]),
        ([{"field": "created_time", "condition": "greater or equal", "value": "{middle}"}], ["disk2", "net"]),
        ([{"field": "created_time", "condition": "gt", "value": "{middle}"}], ["net"]),
        ([{"field": "created_time", "condition": "lesser than", "value": "{middle}"}], ["disk"]),
        ([{"field": "created_time", "condition": "between", "values": ["{middle}", "{middle}"]}], ["disk2"]),
        (
            [
                {"field": "subject", "condition": "is", "value": "net"},
                {"field": "subject", "condition": "is", "value": "disk", "logical_operator": "OR"},
            ],
            ["disk", "net"],
        ),
        (
            [
                {
                    "field": "subject",
                    "condition": "is",
                    "value": "disk",
                    "children": [{"field": "subject", "condition": "is", "value": "net", "logical_operator": "or"}],
                },
                {"field": "priority.name", "condition": "is", "value": "High", "logical_operator": "and"},
            ],
            ["net"],
        ),
        ([{"field": "udf_fields.udf_sline_1", "condition": "is", "value": "x"}], ["disk", "disk2", "net"]),
        ([{"field": "colour", "condition": "is", "value": "red"}], ["disk", "disk2", "net"]),
    ],
)
def test_criteria_choose_rows_and_one_on_an_unknown_field_is_ignored(server, clock, criteria, found):
    make(server, subject="disk")
    clock.move(1)
    middle = make(server, subject="disk2")["created_time"]["value"]
    clock.move(1)
    make(server, subject="net", priority={"name": "High"})
    asked = json.loads(json.dumps(criteria).replace("{middle}", middle))

    rows = listed(server, search_criteria=asked, sort_field="subject")["requests"]

    assert [row["subject"] for row in rows] == found


# ---- habits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"subject": ""}, (400, 4012, "subject")),
        ({"subject": "x" * 251}, (400, 4001, "subject")),
        ({"subject": "two\nlines"}, (400, 4001, "subject")),
        ({"group": {"name": "Nobody"}}, (400, 4001, "group")),
        ({"priority": "High"}, (400, 4021, "priority")),
        ({"udf_fields": {"udf_sline_1": "x"}}, (400, 4001, "udf_fields.udf_sline_1")),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_field(server, values, expected):
    assert refused(ask(server, "POST", "/requests", {"request": {"subject": "x", **values}})) == expected


def test_a_refusal_may_come_as_a_success(system, server):
    system.soft_errors = True

    assert refused(ask(server, "GET", "/requests/1"))[:2] == (200, 4007)


def test_a_template_wants_fields_at_creation_and_others_at_the_end(system, server):
    system.mandatory, system.closing = {"category"}, {"resolution", "technician"}
    missing = ask(server, "POST", "/requests", {"request": {"subject": "x"}})
    id = make(server, category={"name": "Network"})["id"]
    too_early = ask(server, "PUT", f"/requests/{id}", with_status("Resolved"))
    ask(server, "POST", f"/requests/{id}/resolutions", {"resolution": {"content": "new disk"}})
    ask(server, "PUT", f"/requests/{id}/pickup")

    assert refused(missing) == (400, 4012, "category")
    assert refused(too_early) == (400, 4012, ["resolution", "technician"])
    assert ask(server, "PUT", f"/requests/{id}", with_status("Resolved")).json()["request"]["resolved_time"]


def test_an_update_may_need_a_reason(system, server):
    id = make(server)["id"]
    system.needs_reason = True

    assert refused(ask(server, "PUT", f"/requests/{id}", {"request": {"subject": "y"}})) == (400, 4012, "update_reason")
    assert ask(server, "PUT", f"/requests/{id}", {"request": {"subject": "y", "update_reason": "because"}}).ok


def test_a_matrix_decides_the_priority_over_what_was_asked(system, server):
    system.has_matrix = True

    made = make(server, impact={"name": "Affects User"}, urgency={"name": "Low"}, priority={"name": "High"})

    assert made["priority"]["name"] == "Normal"


def test_the_end_stamps_times_and_a_closed_request_is_only_reopened(server):
    id = make(server)["id"]
    closure = {"closure_info": {"closure_code": {"name": "Success"}, "closure_comments": "done"}}
    ask(server, "PUT", f"/requests/{id}/close", {"request": closure})
    closed = ask(server, "GET", f"/requests/{id}").json()["request"]
    edit = ask(server, "PUT", f"/requests/{id}", {"request": {"subject": "y"}})
    again = ask(server, "PUT", f"/requests/{id}", with_status("Open")).json()["request"]

    assert (closed["status"]["name"], closed["closure_info"]["closure_code"]["name"]) == ("Closed", "Success")
    assert closed["completed_time"]
    assert refused(edit) == (400, 4009, "subject")
    assert (again["is_reopened"], again["completed_time"], again["closure_info"]) == (True, None, None)


def test_deleted_is_moved_to_the_trash(server):
    id = make(server)["id"]
    ask(server, "DELETE", f"/requests/{id}/move_to_trash")

    assert listed(server)["requests"] == []
    assert ask(server, "GET", f"/requests/{id}").json()["request"]["is_trashed"] is True


def test_the_history_tells_who_changed_what(system, server):
    id = make(server)["id"]
    system.edit("1", "take", actor="ada")

    created, taken = ask(server, "GET", f"/requests/{id}/history").json()["history"]
    change = next(each for each in taken["diff"] if each["field"] == "technician")
    assert (created["operation"], taken["by"]["email_id"]) == ("CREATE", "ada@example.com")
    assert (change["previous_value"], change["current_value"]["name"]) == (None, "Ada")


def test_too_many_calls_lock_the_address_for_minutes(system, server, clock):
    system.url_limit = 2
    answers = [ask(server, "GET", "/requests") for _ in range(3)]
    clock.move(100)
    locked = ask(server, "GET", "/requests")
    other = ask(server, "GET", "/priorities")
    clock.move(100)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert refused(locked)[:2] == (429, 4015)
    assert "retry-after" not in locked.headers
    assert other.status_code == 200
    assert ask(server, "GET", "/requests").status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"), [("/requests/1", (404, 4007, None)), ("/nothing/at/all", (404, 4007, None))]
)
def test_what_is_not_there(server, path, expected):
    assert refused(ask(server, "GET", path)) == expected


def test_outside_of_the_api_there_is_a_page(server):
    assert requests.get(f"{server.url}/elsewhere", timeout=10).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.ERROR, (500, 4004)),
        (Fault.LIMITED, (429, 4015)),
        (Fault.DENIED, (401, 4022)),
        (Fault.FORBIDDEN, (403, 4002)),
    ],
)
def test_faults_have_the_shape_of_the_system(server, fault, expected):
    server.faults.script(fault)

    assert refused(ask(server, "GET", "/requests"))[:2] == expected
