"""The stand-in of Zendesk, judged by a client that others wrote and by the requests it was seen to make.

zenpy is under the GPL: it runs in an environment and a process of its own.
"""

import pytest
import requests

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.zendesk import OAUTH_TOKEN, TOKEN, USER
from foreshock.testing.clients import drive, python_with

KEY = "inc-000123"


def ask(server, method, path, *, user=f"{USER}/token", password=TOKEN, **options):
    return requests.request(method, f"{server.url}/api/v2{path}", auth=(user, password), timeout=10, **options)


def make(server, key="", **values):
    ticket = {"subject": "x", "comment": {"body": "d", "public": False}, **values}
    headers = {"Idempotency-Key": key} if key else {}
    return ask(server, "POST", "/tickets", json={"ticket": ticket}, headers=headers)


def put(server, id, **values):
    return ask(server, "PUT", f"/tickets/{id}.json", json={"ticket": values})


# ---- a client that others wrote -------------------------------------------------------------------------------------

ZENPY = """
import sys
import requests
from zenpy import Zenpy
from zenpy.lib.api_objects import Comment, Ticket
from zenpy.lib.exception import APIException, RecordNotFoundException
port, ca, user, token, start = sys.argv[1:]
session = requests.Session()
session.verify = ca
client = Zenpy(
    domain="0.0.1:" + port, subdomain="127", email=user, token=token, session=session, disable_cache=True
)
print(client.users.me().email)
made = [
    client.tickets.create(
        Ticket(subject=f"number {number}", description="d", external_id="inc-000123", type="incident", priority="high")
    ).ticket
    for number in range(7)
]
print(made[0].status, made[0].priority, made[0].description)
print(len(list(client.tickets(external_id="inc-000123", cursor_pagination=2))))
ticket = client.tickets(id=made[0].id)
ticket.status = "solved"
ticket.comment = Comment(body="note", public=False)
try:
    client.tickets.update(ticket)
except APIException as error:
    print("refused", "Assignee" in str(error))
ticket.assignee_id = client.users.me().id
audit = client.tickets.update(ticket).audit
print(sorted(event["type"] for event in audit.events))
print([comment.body for comment in client.tickets.comments(ticket=ticket)])
print(len(list(client.tickets.audits(ticket=ticket))))
print(len(client.search("", type="ticket", external_id="inc-000123")))
print([found.id == ticket.id for found in client.search("", type="ticket", status="solved")])
print(sorted(group.name for group in client.groups()))
print(len(list(client.tickets.incremental(start_time=int(start)))))
client.tickets.delete(ticket)
try:
    client.tickets(id=ticket.id)
except RecordNotFoundException:
    print("gone")
"""


def test_zenpy_creates_pages_solves_reads_searches_exports_and_deletes(system, clock, certificate):
    python = python_with("zenpy==2.0.57")
    system.search_lag_s = 0
    with SandboxServer(system, clock=clock, tls=(certificate, certificate)) as server:
        port = server.url.rpartition(":")[2]
        start = str(int(clock().timestamp()) - 3600)
        lines = drive(python, ZENPY, port, str(certificate), USER, TOKEN, start)

    assert server.failures == []
    assert lines == [
        USER,
        "new high d",
        "7",
        "refused True",
        "['Change', 'Change', 'Comment']",
        "['d', 'note']",
        "2",
        "7",
        "[True]",
        "['Database', 'Network', 'Service Desk']",
        "7",
        "gone",
    ]


# ---- requests that a client was seen to make ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        (
            "POST",
            "/tickets.json",
            {"description": "d", "external_id": KEY, "priority": "high", "subject": "x", "type": "incident"},
            201,
        ),
        ("PUT", "/tickets/9001.json", {"id": 9001, "status": "open", "comment": {"body": "n", "public": False}}, 200),
        ("GET", f"/search.json?query=type:ticket external_id:{KEY}&filter[type]=ticket", None, 200),
        ("GET", f"/tickets.json?external_id={KEY}&page[size]=100", None, 200),
    ],
)
def test_requests_that_zenpy_was_seen_to_make_are_answered(server, clock, method, path, body, status):
    make(server, external_id=KEY)
    clock.move(300)

    answer = ask(server, method, path, json=None if body is None else {"ticket": body})

    assert answer.status_code == status
    found = answer.json().get("results") or answer.json().get("tickets") or [answer.json().get("ticket")]
    assert [ticket["external_id"] for ticket in found] == [KEY]


# ---- habits ---------------------------------------------------------------------------------------------------------


def test_a_creation_is_replayed_for_two_hours_and_refused_with_another_body(server, clock):
    first = make(server, "k")
    again = make(server, "k")
    other = make(server, "k", subject="y")
    clock.move(2 * 3600 + 1)
    late = make(server, "k")

    assert [each.headers.get("x-idempotency-lookup") for each in (first, again, late)] == ["miss", "hit", "miss"]
    assert first.json() == again.json()
    assert (other.status_code, other.json()["error"]) == (400, "IdempotentRequestError")
    assert late.json()["ticket"]["id"] != first.json()["ticket"]["id"]


def test_a_search_sees_a_ticket_only_when_the_index_has_caught_up(server, clock):
    make(server, external_id=KEY)
    path = f"/search.json?query=type:ticket external_id:{KEY}"
    before = ask(server, "GET", path).json()["count"]
    clock.move(121)

    assert (before, ask(server, "GET", path).json()["count"]) == (0, 1)


def test_a_safe_update_with_an_old_stamp_is_refused(server, clock):
    ticket = make(server).json()["ticket"]
    clock.move(5)
    put(server, ticket["id"], subject="theirs")

    answer = put(server, ticket["id"], subject="ours", safe_update=True, updated_stamp=ticket["updated_at"])

    assert (answer.status_code, answer.json()["error"]) == (409, "UpdateConflict")


def test_what_left_new_never_returns_there_and_what_is_closed_is_final(server, system):
    id = make(server).json()["ticket"]["id"]
    put(server, id, status="open")
    back = put(server, id, status="new").json()["ticket"]["status"]
    system.edit(str(id), "close")

    refused = put(server, id, status="open")

    assert back == "open"
    assert (refused.status_code, refused.json()["error"]) == (422, "RecordInvalid")
    assert "closed prevents" in refused.json()["details"]["status"][0]["description"]
    assert put(server, id, subject="still").status_code == 200
    follow_up = make(server, via_followup_source_id=id).json()["ticket"]
    assert follow_up["status"] == "new"


def test_what_was_solved_four_weeks_ago_is_closed(server, system, clock):
    id = make(server).json()["ticket"]["id"]
    system.edit(str(id), "resolve")
    clock.move(29 * 86_400)

    assert ask(server, "GET", f"/tickets/{id}").json()["ticket"]["status"] == "closed"


def test_solving_needs_the_required_fields(server, system):
    system.required = {system.impact}
    id = make(server).json()["ticket"]["id"]
    me = ask(server, "GET", "/users/me").json()["user"]["id"]

    refused = put(server, id, status="solved", assignee_id=me)
    done = put(server, id, status="solved", assignee_id=me, custom_fields=[{"id": system.impact, "value": "1"}])

    assert "Impact" in refused.json()["details"]["base"][0]["description"]
    assert done.json()["ticket"]["status"] == "solved"


def test_solving_a_problem_solves_its_incidents(server):
    me = ask(server, "GET", "/users/me").json()["user"]["id"]
    problem = make(server, type="problem").json()["ticket"]["id"]
    incident = make(server, type="incident", problem_id=problem).json()["ticket"]["id"]

    put(server, problem, status="solved", assignee_id=me)

    linked = ask(server, "GET", f"/tickets/{problem}/incidents").json()["tickets"]
    assert [(each["id"], each["status"]) for each in linked] == [(incident, "solved")]


def test_the_export_wants_an_old_start_and_an_admin_and_pages_by_its_own_time(server, system, clock):
    ids = [make(server).json()["ticket"]["id"] for _ in range(3)]
    start = int(clock().timestamp())
    early = ask(server, "GET", f"/incremental/tickets/cursor?start_time={start - 30}")
    clock.move(120)
    put(server, ids[0], subject="last")
    first = ask(server, "GET", f"/incremental/tickets/cursor?start_time={start - 1}&per_page=2").json()
    second = ask(server, "GET", f"/incremental/tickets/cursor?cursor={first['after_cursor']}").json()
    system.tables["users"][system._id_of(USER)]["role"] = "agent"

    assert (early.status_code, early.json()["error"]) == (422, "StartTimeTooRecent")
    assert [ticket["id"] for ticket in first["tickets"] + second["tickets"]] == [ids[1], ids[2], ids[0]]
    assert (first["end_of_stream"], second["end_of_stream"]) == (False, True)
    assert ask(server, "GET", f"/incremental/tickets/cursor?start_time={start - 1}").status_code == 403


def test_limits_are_told_as_text_with_the_time_to_wait(server, system, clock):
    system.minute_limit = 2
    answers = [ask(server, "GET", "/users/me") for _ in range(3)]
    clock.move(61)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].headers["X-Rate-Limit-Remaining"] == "0"
    assert "per minute exceeded" in answers[2].text
    assert int(answers[2].headers["Retry-After"]) >= 1
    assert ask(server, "GET", "/users/me").status_code == 200


def test_one_ticket_takes_thirty_updates_in_ten_minutes(server, clock):
    id = make(server).json()["ticket"]["id"]

    assert [put(server, id, subject=str(number)).status_code for number in range(31)] == [200] * 30 + [429]
    clock.move(601)
    assert put(server, id, subject="again").status_code == 200


def test_ways_in(server):
    url = f"{server.url}/api/v2/users/me.json"

    assert requests.get(url, headers={"Authorization": f"Bearer {OAUTH_TOKEN}"}, timeout=10).status_code == 200
    assert ask(server, "GET", "/users/me", user=USER).status_code == 401  # passwords are no way in any more
    assert requests.get(url, timeout=10).json() == {"error": "Couldn't authenticate you"}


@pytest.mark.parametrize(
    ("path", "error"),
    [("/tickets/1", "RecordNotFound"), ("/tickets/abc", "RecordNotFound"), ("/nothing", "InvalidEndpoint")],
)
def test_what_is_not_there(server, path, error):
    assert ask(server, "GET", path).json()["error"] == error


def test_an_error_of_the_server_is_a_page(server):
    server.faults.script(Fault.ERROR)

    answer = ask(server, "GET", "/users/me")

    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
