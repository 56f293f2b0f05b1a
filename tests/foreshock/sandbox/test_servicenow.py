"""The stand-in of ServiceNow, judged by clients that others wrote and by the requests they were seen to make."""

import socket

import pytest
import requests

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.ledger import Ledger, read_ledger
from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.servicenow import CLIENT_ID, CLIENT_SECRET, PASSWORD, USER
from foreshock.testing.clients import drive, python_with

KEY = "inc-000123"


def ask(server, method, path, *, user=USER, password=PASSWORD, **options):
    headers = {"Accept": "application/json", **options.pop("headers", {})}
    return requests.request(method, server.url + path, auth=(user, password), headers=headers, timeout=10, **options)


def make(server, **values):
    return ask(server, "POST", "/api/now/table/incident", json={"short_description": "x", **values}).json()["result"]


# ---- clients that others wrote --------------------------------------------------------------------------------------

PYSNC = """
import sys
from pysnc import ServiceNowClient
url, ca, user, password = sys.argv[1:]
client = ServiceNowClient(url, (user, password), verify=ca, auto_retry=False)
made = []
for number in range(7):
    record = client.GlideRecord("incident")
    record.initialize()
    record.short_description = f"number {number}"
    record.correlation_id = "inc-000123"
    made.append(record.insert())
record = client.GlideRecord("incident", batch_size=2)
record.add_query("correlation_id", "inc-000123")
record.add_active_query()
record.order_by_desc("short_description")
record.query()
print(record.get_row_count(), len([row for row in record]))
record = client.GlideRecord("incident")
print(record.get(made[0]), record.short_description, record.number)
record.short_description = "changed"
record.work_notes = "a note"
print(record.update() == made[0])
again = client.GlideRecord("incident")
again.get("number", str(record.number))
print(again.get_value("short_description"), again.get_display_value("opened_by"))
print(again.delete())
count = client.GlideRecord("incident")
count.add_query("correlation_id", "inc-000123")
count.query()
print(len(count))
batch = client.GlideRecord("incident")
batch.add_query("correlation_id", "inc-000123")
batch.query()
while batch.next():
    batch.short_description = "all"
print(batch.update_multiple())
"""


def test_pysnc_creates_pages_changes_batches_and_deletes(system, clock, certificate):
    python = python_with("pysnc==1.2.1")
    with SandboxServer(system, clock=clock, tls=(certificate, certificate)) as server:
        lines = drive(python, PYSNC, server.url, str(certificate), "admin", "admin")

    assert server.failures == []
    assert lines == [
        "7 7",
        "True number 0 INC0010001",
        "True",
        "changed System Administrator",
        "True",
        "6",
        "True",
    ]
    assert {held.title for held in system.held()} == {"all"}


PYSNOW = """
import sys
import pysnow
host, user, password = sys.argv[1:]
client = pysnow.Client(host=host, user=user, password=password, use_ssl=False)
incident = client.resource(api_path="/table/incident")
made = incident.create(payload={"short_description": "x", "correlation_id": "inc-000123"})
print(made["number"], made["state"])
found = incident.get(query={"correlation_id": "inc-000123"}, limit=5, fields=["number", "state"])
print(found.all()[0])
builder = pysnow.QueryBuilder().field("correlation_id").equals("inc-000123").AND().field("state").not_equals("7")
print(len(list(incident.get(query=builder, stream=True).all())))
done = incident.update(query={"number": made["number"]}, payload={"work_notes": "n", "short_description": "y"})
print(done["short_description"])
print(incident.delete(query={"number": made["number"]})["status"])
"""


def test_pysnow_creates_queries_streams_changes_and_deletes(server):
    python = python_with("pysnow==0.7.17")

    lines = drive(python, PYSNOW, server.url.removeprefix("http://"), "admin", "admin")

    assert lines == ["INC0010001 1", "{'number': 'INC0010001', 'state': '1'}", "1", "y", "record deleted"]


# As recorded from pysnc 1.2.1 and pysnow 0.7.17 (method, path, query, body); {} is a sys_id.
_SNC = "sysparm_display_value=all&sysparm_exclude_reference_link=true&sysparm_suppress_pagination_header=true"
_SNOW = (
    "sysparm_limit=10000&sysparm_offset=0&sysparm_display_value=False&sysparm_suppress_pagination_header=False"
    "&sysparm_exclude_reference_link=False&sysparm_view=&sysparm_fields="
)
RECORDED = [
    ("POST", "incident", _SNC, {"short_description": "x", "correlation_id": KEY}, 201),
    ("PATCH", "incident/{}", _SNC, {}, 200),
    (
        "GET",
        "incident",
        f"sysparm_query=correlation_id={KEY}^active=true^ORDERBYDESCsys_updated_on&sysparm_fields=sys_id,number,state"
        f"&{_SNC}&sysparm_limit=5&sysparm_offset=0",
        None,
        200,
    ),
    ("GET", "incident/{}", f"sysparm_query=ORDERBYsys_id&{_SNC}&sysparm_limit=100", None, 200),
    ("GET", "incident", f"sysparm_query=number=INC0010001^ORDERBYsys_id&{_SNC}&sysparm_limit=100", None, 200),
    ("GET", "incident", f"sysparm_query=correlation_id={KEY}^state!=7&{_SNOW}", None, 200),
    ("PUT", "incident/{}", f"sysparm_query=number=INC0010001&{_SNOW}", {"work_notes": "n"}, 200),
]


@pytest.mark.parametrize(("method", "path", "query", "body", "status"), RECORDED)
def test_requests_that_clients_were_seen_to_make_are_answered(server, method, path, query, body, status):
    sys_id = make(server, correlation_id=KEY)["sys_id"]

    answer = ask(server, method, f"/api/now/table/{path.format(sys_id)}?{query}", json=body)

    assert answer.status_code == status
    found = answer.json()["result"]
    assert found
    if method == "GET" and isinstance(found, list):
        assert answer.headers["X-Total-Count"] == "1"


# ---- habits ---------------------------------------------------------------------------------------------------------


def test_a_term_with_an_unknown_field_is_silently_dropped_unless_the_property_is_set(server, system):
    make(server)

    path = "/api/now/table/incident?sysparm_query=u_no_such=1"
    assert len(ask(server, "GET", path).json()["result"]) == 1
    system.no_rows_for_invalid = True
    assert ask(server, "GET", path).json()["result"] == []


def test_pages_are_linked_and_counted(server):
    for number in range(5):
        make(server, short_description=str(number))

    answer = ask(server, "GET", "/api/now/table/incident?sysparm_limit=2&sysparm_offset=2")

    assert len(answer.json()["result"]) == 2
    assert answer.headers["X-Total-Count"] == "5"
    assert {'rel="first"', 'rel="prev"', 'rel="next"', 'rel="last"'} == {
        part.rsplit(";", 1)[1] for part in answer.headers["Link"].split(",")
    }


def test_priority_follows_from_impact_and_urgency_whatever_was_written(server):
    assert make(server, impact="1", urgency="2", priority="5")["priority"] == "2"


def test_a_resolve_without_close_code_and_notes_is_refused_naming_them(server):
    sys_id = make(server)["sys_id"]

    answer = ask(server, "PATCH", f"/api/now/table/incident/{sys_id}", json={"state": "6"})

    assert answer.status_code == 403
    assert "Close code, Close notes" in answer.json()["error"]["detail"]


def test_a_closed_incident_stays_closed(server, system):
    made = make(server)
    system.edit(made["number"], "close")

    answer = ask(server, "PATCH", f"/api/now/table/incident/{made['sys_id']}", json={"state": "2"})

    assert answer.status_code == 403


def test_journal_fields_append_and_are_read_elsewhere(server):
    sys_id = make(server)["sys_id"]
    for text in ("one", "two"):
        ask(server, "PATCH", f"/api/now/table/incident/{sys_id}", json={"work_notes": text})

    shown = ask(server, "GET", f"/api/now/table/incident/{sys_id}").json()["result"]
    entries = ask(server, "GET", f"/api/now/table/sys_journal_field?sysparm_query=element_id={sys_id}").json()["result"]
    assert shown["work_notes"] == ""
    assert [entry["value"] for entry in entries] == ["one", "two"]


def test_references_are_links_values_or_names_as_asked(server, system):
    group = system.insert("sys_user_group", name="Storage")["sys_id"]
    path = f"/api/now/table/incident/{make(server, assignment_group=group)['sys_id']}?sysparm_fields=assignment_group"

    def shown(extra):
        return ask(server, "GET", path + extra).json()["result"]["assignment_group"]

    assert shown("") == {"link": f"{server.url}/api/now/table/sys_user_group/{group}", "value": group}
    assert shown("&sysparm_exclude_reference_link=true") == group
    assert shown("&sysparm_display_value=true&sysparm_exclude_reference_link=true") == "Storage"
    assert shown("&sysparm_display_value=all")["display_value"] == "Storage"


@pytest.mark.parametrize(
    ("user", "password", "path", "status", "message"),
    [
        (USER, "wrong", "/api/now/table/incident", 401, "User Not Authenticated"),
        (USER, PASSWORD, "/api/now/table/sys_dictionary", 403, "Insufficient rights to query records"),
        (USER, PASSWORD, "/api/now/table/u_none", 400, "Invalid table u_none"),
        (USER, PASSWORD, "/api/x_none/thing", 400, "Requested URI does not represent any resource: /api/x_none/thing"),
        (USER, PASSWORD, f"/api/now/table/incident/{'0' * 32}", 404, "No Record found"),
    ],
)
def test_refusals_have_the_shape_and_words_of_the_real_one(server, user, password, path, status, message):
    answer = ask(server, "GET", path, user=user, password=password)

    assert answer.status_code == status
    assert answer.json()["error"]["message"] == message


def test_an_hourly_limit_answers_429_with_its_headers(server, system):
    system.hourly_limit = 2
    codes = [ask(server, "GET", "/api/now/table/incident").status_code for _ in range(3)]
    answer = ask(server, "GET", "/api/now/table/incident")

    assert codes == [200, 200, 429]
    assert int(answer.headers["Retry-After"]) <= 3600
    assert answer.json()["error"]["detail"] == "Rate limit of 2 requests per hour for Table API exceeded"


def test_oauth_gives_tokens_and_takes_them(server):
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    token = requests.post(server.url + "/oauth_token.do", data=form, timeout=10).json()
    headers = {"Authorization": f"Bearer {token['access_token']}", "Accept": "application/json"}

    assert requests.get(server.url + "/api/now/table/incident", headers=headers, timeout=10).status_code == 200
    assert (
        requests.post(server.url + "/oauth_token.do", data={**form, "client_secret": "x"}, timeout=10).status_code
        == 401
    )


# ---- the frame ------------------------------------------------------------------------------------------------------


def test_a_lost_answer_was_carried_out_and_a_reset_was_not(server, system):
    for fault in (Fault.LOST, Fault.RESET):
        server.faults.script(fault)
        with pytest.raises(requests.ConnectionError):
            make(server, correlation_id=fault.value)

    assert [held.key for held in system.held()] == ["lost"]


def test_what_a_client_did_not_send_whole_is_not_carried_out(server, system):
    address = server.url.removeprefix("http://").split(":")
    head = (
        "POST /api/now/table/incident HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    for part in ("", '{"correlation_id": "half'):
        with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
            client.sendall((head + part).encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""

    make(server, correlation_id="whole")
    assert [held.key for held in system.held()] == ["whole"]


def test_the_ledger_in_its_file_tells_each_request_its_fault_and_its_effect(system, clock, tmp_path):
    path = tmp_path / "ledger.jsonl"
    with SandboxServer(system, clock=clock, ledger=Ledger(path)) as server:
        make(server, correlation_id=KEY)
        server.faults.script(Fault.ERROR)
        ask(server, "GET", "/api/now/table/incident")
    path.write_text(path.read_text() + '{"number": 3, "at"')  # killed while writing

    first, second = read_ledger(path)
    assert (first.method, first.status, first.effects) == ("POST", 201, (f"incident INC0010001 created {KEY}",))
    assert (second.fault, second.status, second.effects) == ("error", 500, ())


def test_the_same_seed_gives_the_same_faults(system):
    from foreshock.sandbox.faults import Faults

    def drawn(seed):
        faults = Faults({Fault.LOST: 0.2, Fault.ERROR: 0.2}, seed)
        return [faults.next() for _ in range(50)]

    assert drawn(3) == drawn(3) != drawn(4)


def test_habits_change_through_the_side_door_where_the_system_has_them(server):
    known = requests.post(server.url + "/_sim/habits", json={"hourly_limit": 7}, timeout=10)
    unknown = requests.post(server.url + "/_sim/habits", json={"no_such": 1}, timeout=10)

    assert (known.status_code, unknown.status_code) == (200, 400)
    assert server.system.hourly_limit == 7


def test_people_act_through_the_side_door(server):
    number = make(server, correlation_id=KEY)["number"]

    done = requests.post(server.url + "/_sim/edit", json={"number": number, "action": "resolve"}, timeout=10)
    unknown = requests.post(server.url + "/_sim/edit", json={"number": "INC0", "action": "resolve"}, timeout=10)

    assert (done.status_code, unknown.status_code) == (200, 400)
    assert requests.get(server.url + "/_sim/held", timeout=10).json()[0]["state"] == "resolved"
