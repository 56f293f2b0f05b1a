"""Clients of a real Alertmanager talk to Foreshock unchanged: amtool, Prometheus, and what reads its OpenAPI document.

Facts: OpenAPI document of Alertmanager's API v2, in ../shared/reference/openapi where that is at hand; amtool 0.25.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import urllib.parse
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from foreshock.testing.servers import ForeshockServer

ROOT = Path(__file__).parents[2]
SWAGGER = ROOT.parent / "shared/reference/openapi/alertmanager-v2.swagger.yaml"
SAMPLES = ROOT / "tests/samples"


@pytest.fixture(scope="module")
def foreshock():
    """One for all tests here; each keeps to alerts of its own name."""
    with ForeshockServer() as server:
        yield server


@pytest.fixture
def amtool(require, foreshock, tmp_path):
    """``amtool(*arguments)``: what it printed; ``code`` is the exit code it must have."""
    require("amtool")

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            ["amtool", f"--alertmanager.url={foreshock.url}", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def fire(foreshock: ForeshockServer, name: str, **labels: str) -> None:
    reply = foreshock.post("/api/v2/alerts", [{"labels": {"alertname": name, **labels}, "startsAt": ago(60)}])
    assert (reply.status, reply.body) == (200, b"")


def silence(foreshock: ForeshockServer, *matchers: tuple[str, str], **changes: Any) -> dict[str, Any]:
    """A body to post."""
    return {
        "matchers": [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers],
        "startsAt": ago(0),
        "endsAt": ago(-3600),
        "createdBy": "ann",
        "comment": "planned work",
        **changes,
    }


def names(foreshock: ForeshockServer, **query: Any) -> set[str]:
    return {alert["labels"]["alertname"] for alert in foreshock.get("/api/v2/alerts", **query)}


# ---- amtool ---------------------------------------------------------------------------------------------------------


def test_amtool_adds_an_alert_finds_it_and_ends_it(foreshock, amtool):
    alert = ["alertname=AmAdd", "instance=db1:9100", "severity=critical"]
    amtool("alert", "add", *alert, "--annotation=summary=full", f"--start={ago(60)}")
    amtool("alert", "add", "AmOther", "instance=db2:9100")

    listed = amtool("alert", "query", "alertname=~Am(Add|Other)")
    [found] = json.loads(amtool("alert", "query", "-o", "json", "alertname=AmAdd"))

    assert "AmAdd" in listed
    assert "AmOther" in listed
    assert "full" in listed
    assert found["labels"] == {"alertname": "AmAdd", "instance": "db1:9100", "severity": "critical"}
    assert found["status"]["state"] == "active"
    assert json.loads(amtool("alert", "query", "-o", "json", "instance!=db1:9100", "alertname=AmAdd")) == []
    assert "AmAdd" in {row["title"].partition(" ")[0] for row in foreshock.incidents("open")}

    amtool("alert", "add", *alert, f"--start={ago(60)}", f"--end={ago(1)}")

    assert json.loads(amtool("alert", "query", "-o", "json", "alertname=AmAdd")) == []


def test_amtool_sets_a_silence_finds_it_prolongs_it_and_ends_it(foreshock, amtool):
    fire(foreshock, "AmSilenced")
    key = amtool("silence", "add", "alertname=AmSilenced", "--author=ann", "--comment=work", "--duration=1h").strip()

    assert uuid.UUID(key)
    [found] = json.loads(amtool("silence", "query", "-o", "json", "alertname=AmSilenced"))
    assert (found["id"], found["createdBy"], found["comment"]) == (key, "ann", "work")
    assert found["status"]["state"] == "active"
    assert "AmSilenced" not in amtool("alert", "query")
    [alert] = json.loads(amtool("alert", "query", "--silenced", "-o", "json", "alertname=AmSilenced"))
    assert alert["status"]["state"] == "suppressed"
    assert alert["status"]["silencedBy"] == [key]

    amtool("silence", "update", key, "--duration=2h", "--comment=longer")
    [longer] = json.loads(amtool("silence", "query", "-o", "json", "alertname=AmSilenced"))
    assert (longer["id"], longer["comment"]) == (key, "longer")
    assert longer["endsAt"] > found["endsAt"]

    amtool("silence", "expire", key)
    assert key not in amtool("silence", "query")
    assert key in amtool("silence", "query", "--expired")
    assert "AmSilenced" in amtool("alert", "query")


def test_amtool_is_told_what_is_wrong(amtool):
    refused = amtool("silence", "add", "alertname=~.*", "--author=ann", "--comment=all", code=1)
    assert "match every alert" in refused
    assert "404" in amtool("silence", "expire", str(uuid.uuid4()), code=1)


def test_amtool_reads_the_status_and_the_routes(amtool):
    assert "disabled" in amtool("cluster", "show")
    assert "receiver: foreshock" in amtool("config", "show")
    assert amtool("config", "routes", "test", "alertname=AmAny").strip() == "foreshock"


# ---- Prometheus -----------------------------------------------------------------------------------------------------


def test_prometheus_posts_over_one_connection_as_it_was_recorded(foreshock):
    connection = http.client.HTTPConnection("127.0.0.1", foreshock.port, timeout=30)
    headers = {"Content-Type": "application/json", "User-Agent": "Prometheus/2.42.0+ds"}
    bodies = [_posted(SAMPLES / f"prometheus-alerts-{state}.json") for state in ("firing", "firing", "resolved")]
    # The recorded ends lie in the past by now, which would make each a resolve.
    for alert in bodies[0] + bodies[1]:
        alert["endsAt"] = ago(-240)

    answers, firing = [], []
    for body in bodies:
        connection.request("POST", "/api/v2/alerts", json.dumps(body), headers)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
        firing.append(body[0]["labels"]["alertname"] in names(foreshock))
    connection.close()

    assert answers == [(200, b"")] * 3
    assert firing == [True, True, False]


def _posted(sample: Path) -> list[dict[str, Any]]:
    read = json.loads(sample.read_text())
    return read if isinstance(read, list) else read["body"]


def test_the_old_api_is_not_there(foreshock):
    assert foreshock.post("/api/v1/alerts", [{"labels": {"alertname": "Old"}}]).status in (404, 405)


def test_one_bad_alert_does_not_lose_the_others(foreshock):
    reply = foreshock.post(
        "/api/v2/alerts", [{"labels": {"alertname": "Good"}}, {"labels": {}}, {"labels": {"alertname": "Fine"}}]
    )

    assert reply.status == 400
    assert reply.json().startswith("alert 1: the alert has no labels")
    assert {"Good", "Fine"} <= names(foreshock)


# ---- what the API promises ------------------------------------------------------------------------------------------


def test_filters_and_flags_choose_alerts(foreshock):
    fire(foreshock, "ChooseA", team="db")
    fire(foreshock, "ChooseB", team="web")
    reply = foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "ChooseA")))
    key = reply.json()["silenceID"]
    mine = 'alertname=~"Choose."'

    assert names(foreshock, filter=mine) == {"ChooseA", "ChooseB"}
    assert names(foreshock, filter=mine, silenced="false") == {"ChooseB"}
    assert names(foreshock, filter=mine, active="false") == {"ChooseA"}
    assert names(foreshock, filter=mine, active="false", silenced="false") == set()
    assert names(foreshock, filter=[mine, 'team="web"']) == {"ChooseB"}
    assert names(foreshock, filter=[mine, 'team!="web"']) == {"ChooseA"}
    assert names(foreshock, filter=mine, receiver="fore.*") == {"ChooseA", "ChooseB"}
    assert names(foreshock, filter=mine, receiver="pager") == set()
    [alert] = foreshock.get("/api/v2/alerts", filter='alertname="ChooseA"')
    assert alert["status"] == {"state": "suppressed", "silencedBy": [key], "inhibitedBy": [], "mutedBy": []}
    groups = foreshock.get("/api/v2/alerts/groups", filter=mine, muted="false")
    assert [alert["labels"]["alertname"] for group in groups for alert in group["alerts"]] == ["ChooseB"]


@pytest.mark.parametrize("path", ["alerts", "alerts/groups", "silences"])
@pytest.mark.parametrize("text", ["alertname=~[", "nonsense", "=x"])
def test_a_filter_that_cannot_be_read_is_400(foreshock, path, text):
    reply = foreshock.ask("GET", f"/api/v2/{path}?filter={urllib.parse.quote(text)}")

    assert reply.status == 400
    assert isinstance(reply.json(), str)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"matchers": []}, "at least one matcher"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, "not a valid expression"),
        ({"matchers": [{"name": "", "value": "x", "isRegex": False}]}, "no label name"),
        ({"matchers": [{"name": "a", "value": ".*", "isRegex": True}]}, "match every alert"),
        ({"endsAt": ago(60)}, "endsAt"),
        ({"endsAt": "tomorrow"}, "cannot be read"),
        ({"comment": " "}, "needs a comment"),
        ({"createdBy": ""}, "needs a comment and its creator"),
    ],
)
def test_a_silence_that_makes_no_sense_is_400_with_the_reason(foreshock, changes, reason):
    reply = foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "Wrong")) | changes)

    assert reply.status == 400
    assert reason in reply.json()


def test_an_unknown_silence_is_404(foreshock):
    key = str(uuid.uuid4())

    assert foreshock.ask("GET", f"/api/v2/silence/{key}").status == 404
    assert foreshock.ask("DELETE", f"/api/v2/silence/{key}").status == 404
    changed = foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "Wrong"), id=key))
    assert changed.status == 404


def test_a_silence_is_pending_active_and_expired(foreshock):
    later = foreshock.post(
        "/api/v2/silences", silence(foreshock, ("alertname", "Phases"), startsAt=ago(-600), endsAt=ago(-1200))
    ).json()["silenceID"]
    now = foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "Phases"))).json()["silenceID"]
    over = foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "Phases"))).json()["silenceID"]
    assert foreshock.ask("DELETE", f"/api/v2/silence/{over}").status == 200

    def states(**query: str) -> dict[str, str]:
        found = foreshock.get("/api/v2/silences", filter='alertname="Phases"', **query)
        return {each["id"]: each["status"]["state"] for each in found}

    assert states() == {later: "pending", now: "active", over: "expired"}
    assert states(pending="false", expired="false") == {now: "active"}
    assert foreshock.get(f"/api/v2/silence/{over}")["status"] == {"state": "expired"}


# ---- the shape of the answers ---------------------------------------------------------------------------------------

GETS = {
    "status": "alertmanagerStatus",
    "receivers": [{"$ref": "#/definitions/receiver"}],
    "alerts": "gettableAlerts",
    "alerts/groups": "alertGroups",
    "silences": "gettableSilences",
}


@pytest.fixture(scope="module")
def answers(foreshock):
    """The answers to all GETs, with something in each of them."""
    fire(foreshock, "Shape", instance="a:1")
    foreshock.post("/api/v2/silences", silence(foreshock, ("alertname", "Shape")))
    fire(foreshock, "ShapeToo")
    return {path: foreshock.get(f"/api/v2/{path}") for path in GETS}


@pytest.mark.parametrize("path", GETS)
def test_answers_have_the_shape_of_alertmanagers_document(answers, path):
    if not SWAGGER.exists():
        pytest.skip(f"{SWAGGER} is not here")
    definitions = YAML(typ="safe").load(SWAGGER.read_text())["definitions"]
    what = GETS[path]
    schema = {"$ref": f"#/definitions/{what}"} if isinstance(what, str) else {"type": "array", "items": what[0]}

    assert answers[path]
    assert faults(answers[path], schema, definitions) == []


def test_the_shape_check_finds_faults():
    definitions = {"thing": {"type": "object", "required": ["at"], "properties": {"at": TIME}}}
    schema = {"type": "array", "items": {"allOf": [{"$ref": "#/definitions/thing"}]}}

    assert faults([{"at": "2026-11-22T05:00:00Z"}], schema, definitions) == []
    assert faults([{}, {"at": "now"}], schema, definitions) == [
        "$[0]: no 'at'",
        "$[1].at: 'now' is not a date-time",
    ]


def test_answers_have_the_shape_that_clients_read(answers):
    """By hand, so that it is checked where the document is not at hand."""
    text, time, texts = (str, re.compile(RFC3339), {})
    alert = {
        "labels": texts,
        "annotations": texts,
        "startsAt": time,
        "endsAt": time,
        "updatedAt": time,
        "generatorURL": text,
        "fingerprint": text,
        "receivers": [{"name": text}],
        "status": {
            "state": re.compile("active|suppressed"),
            "silencedBy": [text],
            "inhibitedBy": [text],
            "mutedBy": [text],
        },
    }
    matcher = {"name": text, "value": text, "isRegex": bool, "isEqual": bool}
    shapes: dict[str, Any] = {
        "alerts": [alert],
        "alerts/groups": [{"labels": texts, "routeLabels": texts, "receiver": {"name": text}, "alerts": [alert]}],
        "receivers": [{"name": text}],
        "silences": [
            {
                "id": text,
                "status": {"state": re.compile("active|pending|expired")},
                "updatedAt": time,
                "startsAt": time,
                "endsAt": time,
                "createdBy": text,
                "comment": text,
                "annotations": texts,
                "matchers": [matcher],
            }
        ],
        "status": {
            "cluster": {"status": "disabled", "peers": [text]},
            "config": {"original": text},
            "uptime": time,
            "versionInfo": dict.fromkeys(
                ("version", "revision", "branch", "buildUser", "buildDate", "goVersion"), text
            ),
        },
    }

    for path, shape in shapes.items():
        assert differs(answers[path], shape, path) == ""


RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
TIME = {"type": "string", "format": "date-time"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}


def faults(value: Any, schema: dict[str, Any], definitions: dict[str, Any], place: str = "$") -> list[str]:
    """Where a value departs from a schema of Swagger 2, as far as Alertmanager's document goes."""
    if "$ref" in schema:
        return faults(value, definitions[schema["$ref"].rpartition("/")[2]], definitions, place)
    found = [fault for part in schema.get("allOf", ()) for fault in faults(value, part, definitions, place)]
    kind = schema.get("type")
    if kind and not isinstance(value, TYPES[kind]):
        return [*found, f"{place}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: {value!r} is none of {schema['enum']}")
    if schema.get("format") == "date-time" and not re.fullmatch(RFC3339, value):
        found.append(f"{place}: {value!r} is not a date-time")
    if kind == "array":
        if len(value) < schema.get("minItems", 0):
            found.append(f"{place}: {len(value)} items")
        for index, item in enumerate(value):
            found += faults(item, schema["items"], definitions, f"{place}[{index}]")
    if kind == "object":
        properties = schema.get("properties", {})
        found += [f"{place}: no {name!r}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            part = properties.get(name) or schema.get("additionalProperties")
            if part:
                found += faults(item, part, definitions, f"{place}.{name}")
    return found


def differs(value: Any, shape: Any, place: str) -> str:
    """Where a value is not of a shape: a type, an expression, a constant, a list of one shape, or a mapping of names to
    shapes, of which the empty one is any mapping of texts. Empty if it is."""
    if isinstance(shape, type):
        return "" if type(value) is shape else f"{place}: {value!r} is no {shape.__name__}"
    if isinstance(shape, re.Pattern):
        return "" if isinstance(value, str) and shape.fullmatch(value) else f"{place}: {value!r}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place}: {value!r} is no list"
        return next(filter(None, (differs(item, shape[0], f"{place}[{i}]") for i, item in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place}: {value!r} is no object"
        if not shape:
            return "" if all(isinstance(each, str) for each in value.values()) else f"{place}: {value!r}"
        if value.keys() != shape.keys():
            return f"{place}: {sorted(value)} instead of {sorted(shape)}"
        return next(filter(None, (differs(value[name], shape[name], f"{place}.{name}") for name in shape)), "")
    return "" if value == shape else f"{place}: {value!r} is not {shape!r}"
