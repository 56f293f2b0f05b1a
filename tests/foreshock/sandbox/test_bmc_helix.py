"""The stand-in of BMC Helix ITSM, judged by a client that others wrote and by the requests it was seen to make."""

import base64
import json

import pytest
import requests

from foreshock.sandbox.bmc_helix import DOOR, INCIDENT, PASSWORD, USER
from foreshock.testing.clients import drive, python_with

KEY = "foreshock-S-1"
VALUES = {
    "First_Name": "App",
    "Last_Name": "Monitor",
    "Description": "db1 is down",
    "Impact": "2-Significant/Large",
    "Urgency": "2-High",
    "Status": "New",
    "Reported Source": "Systems Management",
    "Service_Type": "Infrastructure Event",
    "Vendor Ticket Number": KEY,
    "z1D_Action": "CREATE",
}
GROUP = {
    "Assigned Support Company": "Acme",
    "Assigned Support Organization": "IT Support",
    "Assigned Group": "Database",
}
OVER = {"Status": "Resolved", "Status_Reason": "No Further Action Required", "Resolution": "a new disk"}


def log_in(server, user=USER, password=PASSWORD):
    form = {"username": user, "password": password}
    return requests.post(server.url + "/api/jwt/login", data=form, timeout=10)


def ask(server, method, path, *, token=None, **options):
    headers = {"Authorization": f"AR-JWT {log_in(server).text if token is None else token}"}
    address = f"{server.url}/api/arsys/v1/entry/{path}"
    return requests.request(method, address, headers=headers, timeout=10, **options)


def make(server, **values):
    """Incident number and request id of a new incident."""
    body = {"values": {**VALUES, **values}}
    made = ask(server, "POST", f"{DOOR}?fields=values(Incident Number,Incident_Entry_ID)", json=body).json()["values"]
    return made["Incident Number"], "{0}|{0}".format(made["Incident_Entry_ID"])


def found(server, qualification, form=INCIDENT):
    answer = ask(server, "GET", form, params={"q": qualification})
    assert answer.status_code == 200, answer.text
    return [entry["values"] for entry in answer.json()["entries"]]


def error(answer):
    (message,) = answer.json()
    assert message["messageType"] == "ERROR"
    return answer.status_code, message["messageNumber"]


# ---- a client that others wrote -------------------------------------------------------------------------------------

REMEDY_PY = """
import json, sys
from remedy_py.RemedyAPIClient import RemedyClient
host, port, user, password, values, over = sys.argv[1:]
client = RemedyClient(host, user, password, port=port, verify=False)
wanted = ["Incident Number", "Request ID", "Incident_Entry_ID"]
made, status = client.create_form_entry("HPD:IncidentInterface_Create", json.loads(values), wanted)
made = made["values"]
print(status, made["Incident Number"], made["Request ID"])
print(client.get_form_entry("HPD:IncidentInterface_Create", made["Request ID"])[0]["values"]["Description"])
entry = made["Incident_Entry_ID"]
read, status = client.get_form_entry("HPD:IncidentInterface", f"{entry}|{entry}")
print(status, read["values"]["Status"], read["values"]["Priority"], read["values"]["Vendor Ticket Number"])
after, status = client.update_form_entry("HPD:IncidentInterface", f"{entry}|{entry}", json.loads(over))
print(status, after["values"]["Status"], list(after["values"]["Status-History"]))
note = {"Incident Number": made["Incident Number"], "Work Log Type": "General Information", "Detailed Description": "n"}
print(client.create_form_entry("HPD:WorkLog", note, ["Work Log ID"])[0]["values"])
print(client.delete_form_entry("HPD:Help Desk", entry))
print(client.release_token())
try:
    client.get_form_entry("HPD:IncidentInterface", f"{entry}|{entry}")
except Exception as error:
    print(error.response.status_code)
"""


def test_remedy_py_logs_in_creates_reads_changes_notes_deletes_and_logs_out(server):
    python = python_with("remedy-py==1.0.0")
    host, _, port = server.url.removeprefix("http://").partition(":")
    values = {**VALUES, **GROUP, "Status": "Assigned"}

    lines = drive(python, REMEDY_PY, host, port, USER, PASSWORD, json.dumps(values), json.dumps(OVER))

    assert lines == [
        "201 INC000000100001 000000000000001",
        "db1 is down",
        f"200 Assigned High {KEY}",
        "204 Resolved ['Assigned', 'Resolved']",
        "{'Work Log ID': 'WLG000000000001'}",
        "({}, 204)",
        "({}, 204)",
        "401",
    ]


def test_requests_that_remedy_py_was_seen_to_make_are_answered(server):
    """As recorded: POST with ``fields=values(A, B)``, PUT, GET, and a log-out with a content type and no body."""
    token = log_in(server).text
    fields = "fields=values(Incident Number, Request ID)"

    made = ask(server, "POST", f"{DOOR}?{fields}", token=token, json={"values": VALUES})
    entry = found(server, f"'Incident Number' = \"{made.json()['values']['Incident Number']}\"")[0]["Request ID"]
    put = ask(server, "PUT", f"{INCIDENT}/{entry}", token=token, json={"values": OVER | GROUP})
    got = ask(server, "GET", f"{INCIDENT}/{entry}", token=token)
    headers = {"Authorization": f"AR-JWT {token}", "Content-Type": "application/json"}
    out = requests.post(server.url + "/api/jwt/logout", headers=headers, timeout=10)

    assert [each.status_code for each in (made, put, got, out)] == [201, 204, 200, 204]
    assert put.content == out.content == b""


# ---- logging in -----------------------------------------------------------------------------------------------------


def test_a_token_is_plain_text_that_says_how_long_it_holds_and_then_runs_out(server, clock):
    answer = log_in(server)
    part = answer.text.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (USER, 3600)
    assert ask(server, "GET", INCIDENT, token=answer.text).status_code == 200
    clock.move(3600)
    assert error(ask(server, "GET", INCIDENT, token=answer.text)) == (401, 623)


def test_a_wrong_password_or_none_is_refused(server):
    assert error(log_in(server, password="wrong")) == (401, 623)
    assert error(ask(server, "GET", INCIDENT, token="")) == (401, 623)


def test_a_second_session_of_an_account_may_be_refused(server, system):
    system.one_session = True
    first = log_in(server)

    assert error(log_in(server)) == (500, 9093)
    headers = {"Authorization": f"AR-JWT {first.text}"}
    requests.post(server.url + "/api/jwt/logout", headers=headers, timeout=10)
    assert log_in(server).status_code == 200


# ---- creating -------------------------------------------------------------------------------------------------------


def test_a_creation_answers_without_a_body_and_with_a_link_to_the_doorway(server):
    answer = ask(server, "POST", DOOR, json={"values": VALUES})

    assert (answer.status_code, answer.content) == (201, b"")
    left_behind = answer.headers["Location"].rpartition("/")[2]
    assert error(ask(server, "GET", f"{INCIDENT}/{left_behind}")) == (404, 302)
    (incident,) = found(server, f"'Vendor Ticket Number' = \"{KEY}\"")
    assert incident["Request ID"].count(incident["Entry ID"]) == 2
    assert incident["Incident Number"] != incident["Entry ID"]


def test_without_its_action_a_creation_is_taken_and_makes_nothing(server, system):
    values = {name: value for name, value in VALUES.items() if name != "z1D_Action"}

    answer = ask(server, "POST", f"{DOOR}?fields=values(Incident Number)", json={"values": values})

    assert (answer.status_code, answer.json()["values"]) == (201, {"Incident Number": None})
    assert system.held() == []


@pytest.mark.parametrize(
    ("values", "status", "number"),
    [
        ({"Impact": None}, 500, 307),
        ({"Impact": "very high"}, 500, 306),
        ({"Description": "x" * 255}, 500, 306),
        ({"u_no_such_field": "x"}, 400, 311),
        ({"Last_Name": "Nobody"}, 500, 44_899),
        ({"Assigned Group": "Database"}, 500, 44_899),
        ({**GROUP, "Assigned Support Organization": "Sales"}, 500, 44_899),
        ({"Status": "Assigned"}, 500, 44_899),
    ],
)
def test_a_creation_that_does_not_fit_is_refused_with_the_number_of_its_error(server, system, values, status, number):
    assert error(ask(server, "POST", DOOR, json={"values": {**VALUES, **values}})) == (status, number)
    assert system.held() == []


def test_priority_follows_from_impact_and_urgency(server):
    number, id = make(server, Impact="1-Extensive/Widespread", Urgency="1-Critical")
    ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": {"Priority": "Low"}})

    (incident,) = found(server, f"'Incident Number' = \"{number}\"")
    assert (incident["Priority"], incident["Priority Weight"]) == ("Critical", 29)


# ---- the life of an incident ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["Status_Reason", "Resolution"])
def test_a_resolution_without_reason_or_text_is_refused(server, missing):
    _, id = make(server, **GROUP)
    values = {name: value for name, value in OVER.items() if name != missing}

    assert error(ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": values})) == (500, 44_899)


@pytest.mark.parametrize("status", ["In Progress", "Pending", "Closed", "New"])
def test_a_status_wants_what_belongs_to_it(server, status):
    _, id = make(server, **GROUP, Status="Assigned")

    assert error(ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": {"Status": status}})) == (500, 44_899)


def test_what_is_closed_stays_closed_and_what_is_resolved_can_be_opened_again(server, system):
    number, id = make(server, **GROUP)
    ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": OVER})
    assert ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": {"Status": "Assigned"}}).status_code == 204

    system.edit(number, "close")

    assert error(ask(server, "PUT", f"{INCIDENT}/{id}", json={"values": {"Status": "Assigned"}})) == (500, 44_899)


def test_the_history_tells_the_last_time_of_each_status_and_who_it_was(server, system, clock):
    number, _ = make(server, **GROUP, Status="Assigned")
    for _ in range(2):
        clock.move(60)
        system.edit(number, "resolve", actor="ada")
        clock.move(60)
        system.edit(number, "reopen", actor="bob")

    (incident,) = found(server, f"'Incident Number' = \"{number}\"")
    assert incident["Status-History"] == {
        "Assigned": {"user": "bob", "timestamp": "2026-11-22T12:04:00.000+0000"},
        "Resolved": {"user": "ada", "timestamp": "2026-11-22T12:03:00.000+0000"},
    }


# ---- qualifications -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("qualification", "expected"),
    [
        ("'Vendor Ticket Number' = \"FORESHOCK-s-1\"", 1),
        ("'Vendor Ticket Number' LIKE \"foreshock-%\"", 2),
        ("'Vendor Ticket Number' LIKE \"foreshock-S-_\"", 2),
        ('\'Description\' = "say ""hi"" \\ %"', 1),
        ("'Status' < \"Resolved\" AND 'Impact' = 1", 2),
        ("'Status' >= \"Resolved\"", 0),
        ("('Vendor Ticket Number' = \"foreshock-S-1\" OR 'Vendor Ticket Number' = \"foreshock-S-2\") AND 1=1", 2),
        ("NOT 'Vendor Ticket Number' = \"foreshock-S-1\"", 1),
        ("'Assignee' = $NULL$", 2),
        ("'Assignee' != \"ada\"", 0),
        ("'Last Modified Date' >= \"2026-11-22T12:00:00Z\"", 2),
        ("'Last Modified Date' > \"1795348800\"", 0),
        ("'Last Modified Date' <= 1795348800", 2),
    ],
)
def test_qualifications_are_carried_out(server, qualification, expected):
    make(server)
    make(server, **{"Vendor Ticket Number": "foreshock-S-2", "Description": 'say "hi" \\ %'})

    assert len(found(server, qualification)) == expected


@pytest.mark.parametrize(
    ("qualification", "number"),
    [
        ("'Status' = \"Over\"", 306),
        ("'No Such Field' = \"x\"", 311),
        ("'Last Modified Date' > \"yesterday\"", 8950),
        ("'Description' = \"unfinished", 1587),
        ('\'Description\' = "x"y"', 1587),
        ("'Description'", 1587),
        ("(" * 100 + "1=1", 1587),
        ("1=1 OR", 1587),
    ],
)
def test_what_is_no_qualification_is_refused(server, qualification, number):
    answer = ask(server, "GET", INCIDENT, params={"q": qualification})

    assert error(answer) == (400, number)


def test_pages_are_linked_until_the_last_and_capped_by_the_server(server, system):
    for n in range(5):
        make(server, Description=str(n))
    system.max_rows = 2
    params = {"sort": "Description.desc", "limit": 100, "fields": "values(Description)"}
    shown = []
    for offset in (0, 2, 4):
        body = ask(server, "GET", INCIDENT, params={**params, "offset": offset}).json()
        shown += [entry["values"]["Description"] for entry in body["entries"]]
        assert ("next" in body["_links"]) is (offset < 4)

    assert shown == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("method", "path", "status", "number"),
    [
        ("GET", "HPD:NoSuchForm", 404, 303),
        ("GET", f"{INCIDENT}/INC1|INC1", 404, 302),
        ("GET", f"{INCIDENT}?fields=values(Nothing)", 400, 311),
        ("DELETE", f"{INCIDENT}/{{}}", 500, 443),
        ("PATCH", f"{INCIDENT}/{{}}", 405, 9409),
        ("PUT", f"{INCIDENT}/{{}}", 400, 8939),
    ],
)
def test_refusals_have_the_shape_and_numbers_of_the_real_one(server, method, path, status, number):
    _, id = make(server)

    assert error(ask(server, method, path.format(id))) == (status, number)


def test_without_the_permission_a_form_is_forbidden(server, system):
    system.permissions[USER] = {"problem"}

    assert error(ask(server, "GET", INCIDENT)) == (403, 353)
