"""The stand-in of Freshservice, judged by clients that others wrote and by the requests they were seen to make."""

import json

import pytest
import requests

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.freshservice import API_KEY, KEY_FIELD, OTHER, USER
from foreshock.testing.clients import drive, python_with

KEY = "inc-000123"


def ask(server, method, path, *, key=API_KEY, **options):
    return requests.request(method, f"{server.url}/api/v2{path}", auth=(key, "X"), timeout=10, **options)


def make(server, **values):
    return ask(server, "POST", "/tickets", json={"subject": "x", "description": "d", "email": USER, **values})


def made(server, **values):
    answer = make(server, **values)
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]["id"]


def put(server, id, **values):
    return ask(server, "PUT", f"/tickets/{id}", json=values)


def error(answer):
    (problem,) = answer.json()["errors"]
    return answer.status_code, problem["field"], problem["code"]


# ---- clients that others wrote --------------------------------------------------------------------------------------

FSHELPER = """
import sys
from requests.exceptions import HTTPError
from fshelper import Credential, RequestService, TicketFormFieldsEndPoint, TicketsEndPoint
url, key = sys.argv[1:]
TicketsEndPoint.base_url = TicketFormFieldsEndPoint.base_url = url
with RequestService(Credential(key, "X"), "example") as service:
    tickets = TicketsEndPoint(service)
    made = [
        tickets.create({
            "subject": f"number {number}", "description": "<p>d</p>", "email": "foreshock@example.com", "status": 2,
            "priority": 3, "custom_fields": {"foreshock_key": "inc-000123"}, "tags": ["aiops"],
        }, enabled=True)["ticket"]
        for number in range(37)
    ]
    print(made[0]["status"], made[0]["priority"], made[0]["description_text"], made[0]["custom_fields"])
    print([len(page) for page in tickets.get_all("updated_since=2020-01-01T00:00:00Z")])
    first = made[0]["id"]
    print(tickets.update({"status": 4, "group_id": None}, first)["ticket"]["status"])
    print(tickets.get(first)["ticket"]["status"])
    try:
        tickets.update({"status": 99}, first)
    except HTTPError as error:
        print(error.response.status_code, error.response.json()["errors"][0]["field"])
    print(tickets.delete(first)["status_code"])
    print(tickets.get(first)["ticket"]["deleted"])
    fields = next(iter(TicketFormFieldsEndPoint(service).get_all()))
    print([field["field_type"] for field in fields if field["name"] == "foreshock_key"])
"""


def test_fshelper_creates_pages_changes_and_deletes(server):
    lines = drive(python_with("fshelper==0.3.0"), FSHELPER, server.url, API_KEY)

    assert lines == [
        f"2 3 d {{'{KEY_FIELD}': '{KEY}', 'affected_services': None, 'close_code': None}}",
        "[30, 7]",
        "4",
        "4",
        "400 status",
        "204",
        "True",
        "['custom_text']",
    ]


FRESHPY = """
import sys
from freshpy import FreshPy
url, key, id = sys.argv[1:]
client = FreshPy(domain=url, api_key=key)
print(client.tickets.get_ticket(id, include=["stats", "requester"])["ticket"]["requester"]["email"])
print(client.tickets.get_ticket(7)["status_code"])
print([row["id"] for row in client.tickets.get_tickets(filters="priority:3 AND status:2")["tickets"]])
print([row["id"] for row in client.tickets.get_tickets(filters={"priority": 1, "status": 2})["tickets"]])
print(len(client.tickets.get_tickets(updated_since="2026-01-01T00:00:00Z", per_page=30, page=1)["tickets"]))
print(client.tickets.get_tickets(per_page=101)["errors"][0]["field"])
print(client.tickets.get_tickets(filters="colour:3")["errors"][0]["code"])
print(client.agents.get_user_info("ada@example.com")["first_name"])
"""


def test_freshpy_reads_searches_and_lists(server, clock):
    id = made(server, priority=3)
    clock.move(181)

    assert drive(python_with("freshpy==2.0.0"), FRESHPY, server.url, API_KEY, str(id)) == [
        USER,
        "404",
        f"[{id}]",
        "[]",
        "1",
        "per_page",
        "invalid_field",
        "Ada",
    ]


TAP = """
import json, sys
from tap_freshservice.tap import TapFreshservice
url, key = sys.argv[1:]
config = {"api_key": key, "url_base": url + "/api/v2", "request_delay_seconds": 0, "ticket_lookback_days": 45}
TapFreshservice(config=config).sync_all()
"""


def test_tap_freshservice_reads_all_pages_of_everything(server):
    ids = [made(server, subject=f"number {number}") for number in range(103)]
    put(server, ids[0], status=4)
    lines = drive(python_with("tap-freshservice==0.12.0"), TAP, server.url, API_KEY)

    records = [json.loads(line) for line in lines if '"type":"RECORD"' in line.replace(" ", "")]
    seen = {
        stream: [each["record"] for each in records if each["stream"] == stream] for stream in ("tickets", "groups")
    }
    told = [each["record"]["content"] for each in records if each["stream"] == "ticket_activities"]
    assert sorted(row["id"] for row in seen["tickets"]) == ids
    assert sorted(row["name"] for row in seen["groups"]) == ["Database", "Network", "Service Desk"]
    assert told.count(" set Status as Resolved") == 1


# ---- habits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [KEY_FIELD, f"cf_{KEY_FIELD}"])
def test_a_search_sees_a_ticket_minutes_late_and_a_list_by_change_at_once(server, clock, name):
    id = made(server, custom_fields={KEY_FIELD: "it's"})
    since = clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    query = {"query": f"\"{name}:'it\\'s'\""}
    before = ask(server, "GET", "/tickets/filter", params=query).json()
    listed = ask(server, "GET", "/tickets", params={"updated_since": since}).json()["tickets"]
    clock.move(181)

    assert before == {"tickets": [], "total": 0}
    assert [each["id"] for each in listed] == [id]
    assert [each["id"] for each in ask(server, "GET", "/tickets/filter", params=query).json()["tickets"]] == [id]


@pytest.mark.parametrize("query", ["status:2", '"status 2"', '"(status:2"', '"status:2 AND"', '"' + "x" * 513 + '"'])
def test_a_query_that_cannot_be_read_is_refused(server, query):
    assert error(ask(server, "GET", "/tickets/filter", params={"query": query}))[:2] == (400, "query")


def test_searches_know_and_or_and_parentheses(server, clock):
    ids = [made(server, priority=number, tags=["a"] if number > 2 else []) for number in (1, 2, 3, 4)]
    clock.move(181)

    def found(query):
        rows = ask(server, "GET", "/tickets/filter", params={"query": f'"{query}"'}).json()["tickets"]
        return sorted(ids.index(row["id"]) + 1 for row in rows)

    assert found("priority:1 OR priority:2 AND status:4") == [1]
    assert found("(priority:1 OR priority:2) AND status:2") == [1, 2]
    assert found("tag:'a' AND priority:> 4") == [4]
    assert found("group_id:null AND created_at:>'2026-01-01'") == [1, 2, 3, 4]


def test_a_list_hides_what_is_old_deleted_spam_or_of_another_workspace(server, system, clock):
    old = made(server)
    clock.move(31 * 86_400)
    ids = [made(server) for _ in range(4)]
    put(server, ids[0], subject="y")
    ask(server, "DELETE", f"/tickets/{ids[1]}")
    system.edit(str(ids[2]), "spam")
    elsewhere = made(server, workspace_id=OTHER)

    def listed(query=""):
        return sorted(row["id"] for row in ask(server, "GET", f"/tickets?{query}").json()["tickets"])

    assert listed() == [ids[0], ids[3]]
    assert listed("updated_since=2020-01-01T00:00:00Z") == [old, ids[0], ids[3]]
    assert listed("filter=deleted") == [ids[1]]
    assert listed(f"workspace_id={OTHER}") == [elsewhere]
    assert listed("workspace_id=0") == [ids[0], ids[3], elsewhere]
    assert "custom_fields" not in ask(server, "GET", "/tickets?workspace_id=0").json()["tickets"][0]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"colour": 1}, ("colour", "invalid_field")),
        ({"custom_fields": {"colour": "x"}}, ("colour", "invalid_field")),
        ({"custom_fields": {KEY_FIELD: 1}}, (KEY_FIELD, "datatype_mismatch")),
        ({"custom_fields": {"close_code": "Nothing"}}, ("close_code", "invalid_value")),
        ({"priority": "3"}, ("priority", "datatype_mismatch")),
        ({"priority": 9}, ("priority", "invalid_value")),
        ({"group_id": 1}, ("group_id", "invalid_value")),
        ({"subject": ""}, ("subject", "missing_field")),
        ({"subject": "x" * 256}, ("subject", "invalid_value")),
        ({"email": None}, ("requester_id", "missing_field")),
        ({"requester_id": 1}, ("requester_id", "missing_field")),
        ({"workspace_id": 9}, ("workspace_id", "invalid_value")),
    ],
)
def test_what_a_form_does_not_take_is_refused_by_name(server, system, values, complaint):
    assert error(make(server, **values)) == (400, *complaint)
    assert system.held() == []


def test_forms_demand_fields_at_creation_and_at_closing(server, system):
    system.required, system.required_for_closure = {"group"}, {"category"}
    refused = make(server)
    group = next(iter(system.tables["groups"]))
    id = made(server, group_id=group)

    assert error(refused) == (400, "group", "missing_field")
    assert error(put(server, id, status=4)) == (400, "category", "missing_field")
    assert put(server, id, status=4, category="Network").json()["ticket"]["status"] == 4


def test_what_is_closed_is_opened_again_unless_a_rule_forbids_it(server, system):
    id = made(server)
    put(server, id, status=5)
    system.closed_is_final = True

    assert error(put(server, id, status=2)) == (400, "status", "invalid_value")
    system.closed_is_final = False
    assert put(server, id, status=2).json()["ticket"]["status"] == 2


def test_what_was_deleted_lies_in_the_trash_until_it_is_restored(server):
    id = made(server)
    ask(server, "DELETE", f"/tickets/{id}")

    assert ask(server, "GET", f"/tickets/{id}").json()["ticket"]["deleted"]
    assert put(server, id, subject="y").status_code == 405
    assert ask(server, "PUT", f"/tickets/{id}/restore").status_code == 204
    assert put(server, id, subject="y").status_code == 200


def test_html_comes_back_changed_and_without_scripts(server):
    id = made(server, description="<p class='x'>one<br>two</p><script>alert(1)</script>")
    ticket = ask(server, "GET", f"/tickets/{id}").json()["ticket"]
    note = ask(server, "POST", f"/tickets/{id}/notes", json={"body": "<b onclick='x'>n</b>", "private": True}).json()

    assert ticket["description"] == "<div><p>one<br>two</p></div>"
    assert ticket["description_text"] == "one two"
    assert (note["conversation"]["body"], note["conversation"]["body_text"]) == ("<div><b>n</b></div>", "n")


def test_activities_are_told_newest_first_in_pages_without_ids(server, clock):
    id = made(server)
    for number in range(33):
        clock.move(5)
        put(server, id, subject=f"number {number}")
    first = ask(server, "GET", f"/tickets/{id}/activities").json()
    second = requests.get(first["next_page_url"], auth=(API_KEY, "X"), timeout=10).json()

    assert first["activities"][0]["content"] == " set Subject as number 32"
    assert second["activities"][-1]["content"].startswith(" created ticket for Foreshock")
    assert (len(first["activities"]), len(second["activities"])) == (30, 4)
    assert "next_page_url" not in second
    assert "id" not in first["activities"][0]


def test_a_problem_wants_all_its_fields_and_a_due_date_ahead(server, clock):
    values = {"subject": "s", "description": "d", "email": USER, "status": 1, "priority": 2, "impact": 2}
    late = {**values, "due_by": "2020-01-01T00:00:00Z"}
    good = {**values, "due_by": "2027-01-01T00:00:00Z"}
    id = ask(server, "POST", "/problems", json=good).json()["problem"]["id"]
    ticket = made(server)
    put(server, ticket, problem={"display_id": id})
    ask(server, "POST", f"/problems/{id}/notes", json={"body": "n"})

    assert error(ask(server, "POST", "/problems", json=values)) == (400, "due_by", "missing_field")
    assert error(ask(server, "POST", "/problems", json=late)) == (400, "due_by", "invalid_value")
    assert ask(server, "GET", f"/tickets/{ticket}?include=problem").json()["ticket"]["problem"] == {"display_id": id}
    assert [note["body_text"] for note in ask(server, "GET", f"/problems/{id}/notes").json()["notes"]] == ["n"]
    (listed,) = ask(server, "GET", "/problems").json()["problems"]
    assert "custom_fields" not in listed
    assert error(put(server, ticket, problem={"display_id": 7})) == (400, "problem", "invalid_value")


def test_limits_are_counted_by_the_minute_and_refused_calls_count_too(server, system, clock):
    system.limits = {"overall": 10, "list": 2}
    answers = [ask(server, "GET", "/tickets") for _ in range(3)]
    others = [ask(server, "GET", "/agents", key="wrong" if number else API_KEY) for number in range(8)]
    clock.move(61)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) >= 1
    assert answers[0].headers["X-Ratelimit-Total"] == "10"
    assert [answer.status_code for answer in others] == [200, *[401] * 6, 429]
    assert ask(server, "GET", "/tickets").status_code == 200


def test_ways_in(server):
    assert ask(server, "GET", "/agents", key="wrong").json()["code"] == "invalid_credentials"
    assert requests.get(f"{server.url}/api/v2/agents", timeout=10).status_code == 401
    assert ask(server, "POST", "/tickets", data="x").status_code == 415
    assert ask(server, "POST", "/tickets", data="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert ask(server, "GET", "/nothing").status_code == 404


@pytest.mark.parametrize("html", [True, False])
def test_an_error_of_the_server_is_a_page_or_json(server, system, html):
    system.html_errors = html
    server.faults.script(Fault.ERROR)

    answer = ask(server, "GET", "/agents")

    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")
