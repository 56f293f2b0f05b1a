"""The JSON API for people's tools."""

from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from foreshock.core.contracts import DeskRecord
from foreshock.core.model import Judgement, Label
from foreshock.service.api import MORE, api
from foreshock.service.views import (
    AgainstView,
    AlertView,
    DeadLetterView,
    ExplainView,
    IncidentRow,
    IncidentView,
    PayloadView,
    SourceView,
    StatusView,
)
from foreshock.testing.factories import example_views
from foreshock.testing.fakes import MemoryViews


def make_client(views: MemoryViews | None = None) -> TestClient:
    views = views or example_views()
    app = FastAPI()
    app.include_router(api(views, views, actor=lambda request: "ada"))
    return TestClient(app, base_url="http://foreshock.test:8080")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/status", StatusView),
        ("/incidents", list[IncidentRow]),
        ("/incidents?state=all", list[IncidentRow]),
        ("/incidents/S-41", IncidentView),
        ("/incidents/INC0000041", IncidentView),
        ("/incidents/S-66", IncidentView),
        ("/alerts/c0ffee01", AlertView),
        ("/sources", list[SourceView]),
        ("/sources/prometheus/last", PayloadView),
        ("/dead-letters", list[DeadLetterView]),
        ("/problems", list[DeskRecord]),
        ("/feedback", list[Judgement]),
        ("/explain/S-41", ExplainView),
        ("/explain/c0ffee01/against/S-66", list[AgainstView]),
    ],
)
def test_an_answer_reads_back_as_the_value_it_was(path: str, kind: Any):
    answer = make_client().get(f"/api/v1{path}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert msgspec.json.encode(msgspec.json.decode(answer.content, type=kind)) == answer.content


def _resolve(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _check(value: Any, schema: dict[str, Any], document: dict[str, Any], place: str) -> None:
    """As much of JSON Schema as our document uses; an unknown or a missing field is an error."""
    schema = _resolve(schema, document)
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if (option.get("type") == "null") is (value is None)]
        assert options, place
        _check(value, options[0], document, place)
    elif schema.get("type") == "object" and "properties" in schema:
        assert set(value) == set(schema["properties"]) == set(schema["required"]), place
        for name, part in value.items():
            _check(part, schema["properties"][name], document, f"{place}.{name}")
    elif schema.get("type") == "object":
        for name, part in value.items():
            _check(part, schema["additionalProperties"], document, f"{place}.{name}")
    elif schema.get("type") == "array":
        for index, part in enumerate(value):
            _check(part, schema["items"], document, f"{place}[{index}]")
    else:
        kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
        assert isinstance(value, kinds[schema["type"]]), place
        assert "enum" not in schema or value in schema["enum"], place


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/status", "/status"),
        ("/incidents?state=all", "/incidents"),
        ("/incidents/S-41", "/incidents/{id}"),
        ("/incidents/S-66", "/incidents/{id}"),
        ("/alerts/c0ffee11", "/alerts/{fingerprint}"),
        ("/sources", "/sources"),
        ("/sources/prometheus/last", "/sources/{name}/last"),
        ("/dead-letters", "/dead-letters"),
        ("/problems", "/problems"),
        ("/records/INC0000041", "/records/{number}"),
    ],
)
def test_the_document_describes_what_is_really_sent(path: str, route: str):
    client = make_client()
    document = client.get("/openapi.json").json()
    schema = document["paths"][f"/api/v1{route}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    _check(client.get(f"/api/v1{path}").json(), schema, document, route)


def test_a_cut_list_says_that_there_is_more():
    client = make_client()

    assert client.get("/api/v1/incidents?limit=2").headers[MORE] == "true"
    assert len(client.get("/api/v1/incidents?limit=2").json()) == 2
    assert MORE not in client.get("/api/v1/incidents?limit=200").headers


def test_an_action_answers_with_the_record_and_carries_the_actor():
    views = example_views()
    client = make_client(views)

    taken = client.post("/api/v1/records/INC0000043/take")
    client.post("/api/v1/records/INC0000043/comment", json={"text": "on it"})

    assert (taken.status_code, taken.json()["assignee"], taken.json()["state"]) == (200, "ada", "in_progress")
    note = client.get("/api/v1/records/INC0000043").json()["notes"][-1]
    assert (note["author"], note["text"]) == ("ada", "on it")


def test_a_problem_is_opened_once():
    client = make_client()

    first = client.post("/api/v1/incidents/INC0000041/problem", json={"title": "Controllers hang"}).json()
    again = client.post("/api/v1/incidents/INC0000041/problem").json()

    assert first == again
    assert (first["type"], first["title"]) == ("problem", "Controllers hang")


ERRORS = [
    ("GET", "/incidents/S-999", None, 404, ""),
    ("GET", "/alerts/none", None, 404, ""),
    ("GET", "/records/INC9", None, 404, ""),
    ("GET", "/incidents?limit=0", None, 422, "limit"),
    ("GET", "/incidents?state=odd", None, 422, "state"),
    ("POST", "/records/INC9/take", {}, 404, ""),
    ("POST", "/records/INC0000040/take", {}, 409, ""),
    ("POST", "/records/INC0000041/delete", {}, 422, "action"),
    ("POST", "/records/INC0000041/comment", {"text": 7}, 422, "text"),
    ("POST", "/records/INC0000041/comment", {"txt": "x"}, 422, "txt"),
    ("POST", "/records/INC0000041/comment", {"text": "x" * 9_000}, 422, "text"),
    ("POST", "/records/INC0000041/resolve", {"code": "<b>"}, 422, "code"),
    ("POST", "/incidents/INC9/problem", {}, 404, ""),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "field"), ERRORS, ids=[f"{row[0]} {row[1]}" for row in ERRORS]
)
def test_an_error_says_what_is_wrong_and_where(method: str, path: str, body: Any, code: int, field: str):
    answer = make_client().request(method, f"/api/v1{path}", json=body)

    assert answer.status_code == code
    assert set(answer.json()) == {"error", "hint", "field"}
    assert answer.json()["field"] == field
    assert answer.json()["error"]
    assert answer.json()["hint"]


def test_a_body_that_is_no_json_names_the_body():
    answer = make_client().post(
        "/api/v1/records/INC0000041/comment", content=b"{", headers={"content-type": "application/json"}
    )

    assert (answer.status_code, answer.json()["field"]) == (422, "body")


def test_another_sites_page_changes_nothing():
    answer = make_client().post("/api/v1/records/INC0000041/take", headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]


def test_no_answer_may_be_kept_or_sniffed():
    headers = make_client().get("/api/v1/incidents/S-999").headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_what_a_person_says_carries_the_name_and_comes_back_as_labels():
    client = make_client()
    said = {"kind": "cause", "situation": "S-41", "cis": ["esx4"], "alerts": ["c0ffee01"], "comment": "its fan"}

    judged = msgspec.json.decode(client.post("/api/v1/feedback", json=said).content, type=Judgement)

    assert (judged.actor, judged.kind, judged.cis, judged.comment) == ("ada", "cause", ("esx4",), "its fan")
    assert msgspec.json.decode(client.get("/api/v1/feedback?incident=S-41").content, type=list[Judgement]) == [judged]
    assert client.get("/api/v1/feedback?incident=S-66").json() == []
    labels = client.get("/api/v1/feedback/labels")
    assert msgspec.json.Decoder(Label).decode_lines(labels.content)[0].says == "cause"


def test_a_statement_that_cannot_be_read_says_which_part():
    client = make_client()

    assert client.post("/api/v1/feedback", json={"kind": "guess"}).json()["field"] == "kind"
    assert client.post("/api/v1/feedback", json={"kind": "merge", "cis": ["a", "b", "c"]}).json()["field"] == "cis"
    assert client.post("/api/v1/feedback", json={"kind": "merge", "situation": "S-999"}).status_code == 409


@pytest.mark.parametrize("path", ["/explain/Down%20on%20sw1%2Feth0", "/explain/Down%20on%20sw1%2Feth0/against/S-41"])
def test_what_is_asked_about_may_have_a_slash_in_its_name(path: str):
    answer = make_client().get(f"/api/v1{path}")

    assert answer.status_code == 404
    assert "'Down on sw1/eth0'" in answer.json()["error"]
    assert answer.json()["hint"]
