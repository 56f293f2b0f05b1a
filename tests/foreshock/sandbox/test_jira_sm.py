"""The stand-in of Jira, judged by Atlassian's OpenAPI document and by clients that others wrote."""

import json
from pathlib import Path

import pytest
import requests
from msgspec import structs

from foreshock.core.contracts import ProblemOrder, Verb
from foreshock.sandbox.jira_sm import SIMULATOR, TOKEN, USER, JiraSystem
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sinks import staged
from foreshock.testing.tickets import NOON

OPENAPI = Path(__file__).parents[4] / "shared/reference/openapi/jira-cloud-platform-v3.openapi.json"


@pytest.fixture(params=[True, False], ids=["cloud", "data_center"])
def system(request, clock):
    made = JiraSystem(clock, 1, cloud=request.param)
    made.index_lag *= 0  # the clients search at once
    return made


# ---- Atlassian's own description ------------------------------------------------------------------------------------

VALIDATE = """
import json, sys
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse
document, exchanges = (json.load(open(name)) for name in sys.argv[1:])
api = OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))
site = document["servers"][0]["url"]
for method, path, query, body, status, answer in exchanges:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Basic x"}
    request = MockRequest(site, method.lower(), path, args=query, headers=headers, data=data,
        content_type="application/json")
    reply = MockResponse(data=json.dumps(answer).encode() if answer is not None else b"", status_code=status,
        content_type="application/json")
    if status < 400:
        checks = [api.validate_request] + ([api.validate_response] if answer is not None else [])
    else:
        checks = []
    for check in checks:
        try:
            check(request) if check == api.validate_request else check(request, reply)
        except Exception as error:
            cause = error.__cause__ or error
            schema = [str(each)[:300] for each in getattr(cause, "schema_errors", ())]
            print(check.__name__, method, path, status, repr(error)[:200], repr(cause)[:200], schema)
print(len(exchanges))
"""


class Recorder(JiraSystem):
    """Remembers what was asked and answered."""

    def __init__(self, clock, seed):
        super().__init__(clock, seed)
        self.exchanges = []

    def handle(self, request):
        reply = super().handle(request)
        self.exchanges.append(
            (request.method, request.path, request.parameters, request.json(), reply.status, reply.body)
        )
        return reply


def test_what_the_sink_asks_and_the_stand_in_answers_is_as_atlassian_describes_it(tmp_path):
    if not OPENAPI.exists():
        pytest.skip(f"{OPENAPI.name} is not at hand in ../shared/reference/openapi")
    python = python_with("openapi-core==0.23.1")
    with staged(structs.replace(SIMULATOR, build=Recorder), tmp_path) as stage:
        receipt = stage.deliver(Verb.OPEN, title="db1 is down", description="2 alerts", note="it begins")
        stage.person(receipt.number, "take")
        stage.person(receipt.number, "comment", text="I look at it")
        receipt = stage.deliver(Verb.UPDATE, receipt, version=2, title="db1 and db2 are down", note="+1 CI")
        receipt = stage.deliver(Verb.RESOLVE, receipt, version=3, note="over")
        receipt = stage.deliver(Verb.REOPEN, receipt, version=4)
        stage.person(receipt.number, "close", code="False alarm")
        stage.settle()
        stage.deliver(Verb.REOPEN, receipt, version=5, title="db1 is down")
        order = ProblemOrder(id="P-1/1", key="P-1", at=NOON, fields={"title": "often"}, note="3", incidents=(receipt,))
        stage.sink.write_problem(order, None)
        stage.settle()
        assert stage.sink.find("S-1") is not None
        assert len(stage.sink.changes(0)) == 3
        stage.sink.check()
        recorded = tmp_path / "exchanges.json"
        # Jira writes its zone as +0000, although the document calls these times date-time, which wants +00:00.
        recorded.write_text(json.dumps(stage.system.exchanges).replace('+0000"', '+00:00"'))
        count = len(stage.system.exchanges)

    lines = drive(python, VALIDATE, str(OPENAPI), str(recorded))

    assert lines == [str(count)]


# ---- clients that others wrote --------------------------------------------------------------------------------------

JIRA = """
import sys
from jira import JIRA, JIRAError
url, user, token, version = sys.argv[1:]
client = JIRA(server=url, basic_auth=(user, token), options={"rest_api_version": version}, max_retries=0)
fields = {"project": {"key": "OPS"}, "issuetype": {"name": "[System] Incident"}, "summary": "x", "labels": ["inc-1"]}
issue = client.create_issue(fields=fields)
print(issue.key, issue.fields.status.name, issue.fields.labels)
issue.update(fields={"summary": "y"}, notify=False)
print(client.issue(issue.key).fields.summary)
client.add_comment(issue, "note")
print([comment.body for comment in client.comments(issue)])
print([(each["name"], each["to"]["statusCategory"]["key"]) for each in client.transitions(issue)])
client.transition_issue(issue, "Complete", resolution={"name": "Done"})
print(client.issue(issue.key).fields.status.name)
print([found.key for found in client.search_issues('labels = "inc-1"', maxResults=10)])
other = client.create_issue(fields=fields)
client.create_issue_link("Relates", issue.key, other.key)
print([type.name for type in client.issue_link_types()], len(client.issue(issue.key).fields.issuelinks))
print(len(client.fields()) > 5)
try:
    client.create_issue(fields={**fields, "labels": ["two words"]})
except JIRAError as error:
    print(error.status_code, error.text)
"""


def test_the_client_jira_creates_changes_comments_moves_finds_and_links(server, system):
    user = USER if system.cloud else "foreshock"

    lines = drive(python_with("jira==3.10.5"), JIRA, server.url, user, TOKEN, "2")

    assert lines == [
        "OPS-1 Open ['inc-1']",
        "y",
        "['note']",
        "[('Start work', 'indeterminate'), ('Wait', 'indeterminate'), ('Complete', 'done'), ('Cancel', 'done'), "
        "('Close', 'done')]",
        "Completed",
        "['OPS-1']",
        "['Blocks', 'Relates', 'Problem/Incident'] 1",
        "True",
        "400 The label 'two words' contains spaces which is invalid.",
    ]


ATLASSIAN = """
import sys
from atlassian import Jira
url, user, token, cloud = sys.argv[1:]
client = Jira(url=url, username=user, password=token, cloud=cloud == "True")
fields = {"project": {"key": "OPS"}, "issuetype": {"name": "[System] Incident"}, "summary": "x", "labels": ["inc-1"]}
made = client.issue_create(fields=fields)
client.update_issue_field(made["key"], {"summary": "y"})
client.issue_add_comment(made["key"], "note")
print([each["name"] for each in client.get_issue_transitions(made["key"])])
client.set_issue_status(made["key"], "Completed")
print(client.get_issue_status(made["key"]))
search = client.enhanced_jql if cloud == "True" else client.jql
print([(found["key"], found["fields"]["summary"]) for found in search('labels = "inc-1"', limit=10)["issues"]])
"""


def test_the_client_atlassian_python_api_creates_changes_comments_moves_and_finds(server, system):
    user = USER if system.cloud else "foreshock"
    python = python_with("atlassian-python-api==5.0.5")

    lines = drive(python, ATLASSIAN, server.url, user, TOKEN, str(system.cloud))

    assert lines == [
        "['Start work', 'Wait', 'Complete', 'Cancel', 'Close']",
        "Completed",
        "[('OPS-1', 'y')]",
    ]


# ---- habits ---------------------------------------------------------------------------------------------------------


def ask(server, method, path, **options):
    user = USER if server.system.cloud else "foreshock"
    return requests.request(method, server.url + path, auth=(user, TOKEN), timeout=10, **options)


def make(server, **fields):
    values = {"project": {"key": "OPS"}, "issuetype": {"name": "[System] Incident"}, "summary": "x", **fields}
    return ask(server, "POST", "/rest/api/2/issue", json={"fields": values})


def search(server, jql, **more):
    if server.system.cloud:
        return ask(server, "POST", "/rest/api/3/search/jql", json={"jql": jql, **more})
    return ask(server, "POST", "/rest/api/2/search", json={"jql": jql, **more})


def test_a_search_sees_an_issue_only_when_the_index_caught_up(server, system, clock):
    system.index_lag += type(system.index_lag)(seconds=10)
    id = int(make(server, labels=["a"]).json()["id"])

    assert search(server, "labels = a").json()["issues"] == []
    if system.cloud:
        assert len(search(server, "labels = a", reconcileIssues=[id]).json()["issues"]) == 1
    clock.move(11)
    assert len(search(server, "labels = a").json()["issues"]) == 1


def test_a_long_answer_comes_in_pages_by_token_or_by_offset(server, system):
    for _ in range(5):
        make(server, labels=["a"])

    first = search(server, "labels = a ORDER BY created ASC", maxResults=3).json()
    place = {"nextPageToken": first["nextPageToken"]} if system.cloud else {"startAt": 3}
    second = search(server, "labels = a ORDER BY created ASC", maxResults=3, **place).json()

    assert [len(page["issues"]) for page in (first, second)] == [3, 2]
    assert ("total" in first, "nextPageToken" in second) == (not system.cloud, False)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"summary": "two\nlines"}, "summary"),
        ({"summary": "x" * 256}, "summary"),
        ({"labels": ["two words"]}, "labels"),
        ({"priority": {"name": "Galactic"}}, "priority"),
        ({"customfield_1": "x"}, "customfield_1"),
        ({"components": [{"name": "Nobody"}]}, "components"),
    ],
)
def test_a_field_that_jira_would_refuse_is_refused_by_name(server, fields, named):
    answer = make(server, **fields)

    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [named]


def test_version_3_takes_documents_and_version_2_takes_text(server, system):
    if not system.cloud:
        pytest.skip("a Data Center has no version 3")
    key = make(server, description="wiki").json()["key"]
    path = f"/rest/api/3/issue/{key}"

    refused = ask(server, "PUT", path, json={"fields": {"description": "text"}})
    empty = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}]}

    assert refused.status_code == 400
    assert ask(server, "PUT", path, json={"fields": {"description": empty}}).status_code == 400
    assert ask(server, "GET", path).json()["fields"]["description"]["type"] == "doc"


def test_what_cannot_be_searched_is_refused_not_ignored(server, system):
    assert search(server, "nosuchfield = 1").status_code == 400
    assert search(server, "project = NOPE").status_code == 400
    assert search(server, "ORDER BY created").status_code == (400 if system.cloud else 200)


def test_the_old_search_is_gone_on_cloud(server, system):
    answer = ask(server, "POST", "/rest/api/2/search", json={"jql": "labels = a"})

    assert answer.status_code == (410 if system.cloud else 200)
