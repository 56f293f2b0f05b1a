"""A mapping that a person writes, against a system with every style of paging."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from cmdb_sync.rest import SOURCE
from foreshock.core.cmdb import IdType
from foreshock.core.errors import Denied, Unavailable
from foreshock.sandbox.rest import RestSystem
from foreshock.sandbox.system import Reply, Request
from foreshock.testing.sources import Bench, Reading, benched

STYLES: Mapping[str, Mapping[str, Any]] = {
    "offset": {"style": "offset"},
    "offset with total": {"style": "offset", "total": "total"},
    "page": {"style": "page", "total": "total"},
    "next": {"style": "next", "next": "next_url"},
    "cursor": {"style": "cursor"},
    "cursor by the last id": {"style": "cursor", "next": "data[-1].id && join(':', ['0', to_string(data[-1].id)])"},
    "link": {"style": "link"},
}
THING = {"class_name": "type"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benched(SOURCE, tmp_path) as made:
        yield made


@pytest.fixture
def world(bench: Bench) -> RestSystem:
    assert isinstance(bench.world, RestSystem)
    return bench.world


def things(**more: Any) -> dict[str, Any]:
    return {"name": "things", "path": "/v1/things", "rows": "data", "item": THING, **more}


def answering(bench: Bench, answers: Mapping[str, Any], **config: Any) -> Reading:
    """What is read where each path answers what is given."""
    bench.world.handle = lambda request: Reply(body=answers[request.path])
    return bench.read(**config)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_paging_brings_all(bench: Bench, style: str):
    bench.put(*(f"ci-{number}" for number in range(7)))
    bench.world.page_rows = 3

    reading = bench.read(lists=[things(paging=STYLES[style])])

    assert len(reading.items) == 8
    assert len(reading.cursors) >= 2
    assert reading.whole


@pytest.mark.parametrize("style", STYLES)
def test_in_no_style_a_row_is_missed_while_others_are_deleted(bench: Bench, style: str):
    ids = bench.put(*(f"ci-{number}" for number in range(10)))
    bench.world.page_rows = 3

    def delete(page: int) -> None:
        if page == 1:
            for id in ids[:2]:
                bench.world.delete_ci(id, trace=False)

    reading = bench.read(lists=[things(paging=STYLES[style])], between=delete)

    assert set(ids[2:]) <= set(reading.items)


def test_a_list_whose_rows_never_stand_still_is_not_read_for_ever(bench: Bench, world: RestSystem):
    ids = bench.put(*(f"ci-{number}" for number in range(40)))
    world.page_rows = 3

    with pytest.raises(Unavailable, match="sort them by id"):
        bench.read(
            lists=[things(paging=STYLES["offset"])], between=lambda page: world.delete_ci(ids[page], trace=False)
        )


def test_credentials_are_not_sent_to_another_server(bench: Bench):
    elsewhere = {"data": [{"id": 1, "name": "one"}], "next_url": "https://elsewhere.example.com/v1/things?page=2"}

    with pytest.raises(Unavailable, match=r"goes on at https://elsewhere\.example\.com"):
        answering(bench, {"/api/v1/things": elsewhere}, lists=[things(paging=STYLES["next"])])


def test_relations_may_stand_in_rows_one_by_one_or_as_lists(bench: Bench):
    rows = [
        {"id": 1, "name": "cart", "host": {"id": 7}, "needs": [{"id": 2}, {"id": 3}], "rack": "R1"},
        {"id": 2, "name": "db", "host": None},
        {"id": 3, "name": "queue"},
    ]
    ties = [
        {"target": "host.id", "type": "runs_on", "target_prefix": "host-"},
        {
            "target": "needs[].id",
            "type": "depends_on",
            "source_prefix": "app-",
            "target_prefix": "app-",
            "source": "id",
        },
    ]
    hosts = {"name": "hosts", "path": "/v1/hosts", "rows": "@", "item": {}, "prefix": "host-", "kind": "server"}
    apps = {"name": "apps", "path": "/v1/apps", "item": {}, "rows": "rows", "prefix": "app-", "ties": ties}

    reading = answering(
        bench,
        {"/api/v1/apps": {"rows": rows}, "/api/v1/hosts": [{"id": 7, "name": "esx7"}]},
        lists=[apps, hosts],
        kinds={"apps": "application"},
    )

    assert set(reading.ties) == {
        "app-1 runs_on host-7",
        "app-1 depends_on app-2",
        "app-1 depends_on app-3",
    }
    assert {id: item.kind for id, item in reading.items.items()} == {
        **dict.fromkeys(("app-1", "app-2", "app-3"), "application"),
        "host-7": "server",
    }


def test_words_of_relations_are_read_by_the_table_either_way(bench: Bench):
    rows = [{"a": 1, "b": 2, "kind": kind} for kind in ("Feeds", "fed by", "hates", "paints")]
    ties = [{"source": "a", "target": "b", "word": "kind"}]
    relations = {"feeds": "powers", "Fed by": "inverse powers", "hates": "ignore"}

    reading = answering(
        bench,
        {"/api/v1/links": rows},
        lists=[{"name": "links", "path": "/v1/links", "ties": ties}],
        relations=relations,
    )

    assert {(key, tie.class_name) for key, tie in reading.ties.items()} == {
        ("1 powers 2", "Feeds"),
        ("2 powers 1", "fed by"),
        ("1 related_to 2", "paints"),
    }


def test_every_field_of_a_ci_can_be_mapped(bench: Bench):
    row = {
        "key": "A-1",
        "names": ["db1", "db1.example.com"],
        "ips": [{"ip": "10.0.0.1", "vrf": "blue"}, {"ip": "10.0.0.2", "vrf": "blue"}],
        "state": "scrapped",
        "tier": "Tier 2",
        "team": {"name": "Database"},
    }
    item = {
        "id": "key",
        "name": "names[0]",
        "handle": "join('/', ['eu', names[0]])",
        "aliases": "names",
        "identifiers": {"ip": "ips[].ip", "fqdn": "names[1]", "serial": "serial"},
        "scopes": {"ip": "ips[0].vrf"},
        "owner": "team.name",
        "criticality": "tier",
        "retired": "state=='scrapped'",
        "environment": "'production'",
    }

    (found,) = answering(bench, {"/api/v1/things": {"data": [row]}}, lists=[things(item=item)]).items.values()

    assert (found.id, found.name, found.handle) == ("A-1", "db1", "eu/db1")
    assert (found.owner, found.environment, found.criticality) == ("Database", "production", 2)
    assert found.retired
    assert found.aliases == ("db1", "db1.example.com")
    assert [(one.type, one.value, one.scope) for one in found.identifiers] == [
        (IdType.IP, "10.0.0.1", "blue"),
        (IdType.IP, "10.0.0.2", "blue"),
        (IdType.FQDN, "db1.example.com", ""),
    ]


@pytest.mark.parametrize(
    ("row", "item", "error"),
    [
        ({"name": "x"}, {}, "id (id) is empty"),
        ({"id": 1, "name": {"de": "x"}}, {}, "name (name) is dict, not text"),
        ({"id": 1, "name": "x", "tags": 5}, {"owner": "join('', tags)"}, "join('', tags): In function join()"),
        ("text", {"id": "length(@) && @.id"}, "id (length(@) && @.id) is empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_the_expression(
    bench: Bench, row: Any, item: dict[str, str], error: str
):
    good = {"id": 2, "name": "good", "tags": ["a"]}

    reading = answering(bench, {"/api/v1/things": {"data": [row, good]}}, lists=[things(item=item)])

    (flaw,) = reading.flaws
    assert flaw.error.startswith(error)
    assert json.loads(flaw.payload) == row
    assert [item.name for item in reading.items.values()] == ["good"]


def test_an_answer_without_rows_is_told_with_the_expression_that_should_find_them(bench: Bench):
    with pytest.raises(Unavailable, match=r"results is NoneType.*`rows` of the list 'things'"):
        answering(bench, {"/api/v1/things": {"data": []}}, lists=[things(rows="results")])


@pytest.mark.parametrize(
    ("form", "written"),
    [("iso", "T"), ("unix", ""), ("unix_ms", "000"), ("%Y-%m-%d %H:%M", " ")],
)
def test_changes_are_asked_for_in_the_systems_own_form(bench: Bench, form: str, written: str):
    asked: list[str] = []

    def handle(request: Request) -> Reply:
        asked.append(request.parameters.get("after", ""))
        return Reply(body={"data": [{"id": 1, "name": "x"}]})

    bench.world.handle = handle
    listing = things(since_param="after", since_format=form)
    mark = bench.read(lists=[listing]).mark
    delta = bench.read(mark, lists=[listing])

    assert asked[0] == ""
    assert asked[1]
    assert written in asked[1]
    assert not delta.whole


def test_rows_that_are_too_many_for_one_page_want_paging(bench: Bench):
    rows = [{"id": number, "name": "x"} for number in range(5001)]

    with pytest.raises(Unavailable, match="see `paging`"):
        answering(bench, {"/api/v1/things": {"data": rows}}, lists=[things()])


def test_the_check_tells_which_expressions_find_nothing(bench: Bench):
    listing = things(item={"name": "hostname", "owner": "team.nme", "identifiers": {"serial": "serial"}})
    bench.world.handle = lambda request: Reply(body={"data": [{"id": 1, "team": {"name": "x"}}]})

    (finding,) = bench.source(lists=[listing]).check()

    assert "name (hostname), identifiers.serial (serial), owner (team.nme)" in finding.observed
    assert finding.remedy == "correct the expression of name (hostname)"


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"lists": [things(rows="data[")]}, "'data\\[' is no JMESPath expression"),
        ({"lists": [things(), things()]}, "two are called 'things'"),
        ({"lists": [{"name": "x", "path": "/x"}]}, "its rows mean nothing"),
        ({"lists": [things(ties=[{"target": "a"}])]}, "it has no type, or two"),
        ({"lists": [things(ties=[{"target": "a", "type": "eats"}])]}, "'eats' is not a relationship type"),
        ({"lists": [{"name": "x", "path": "/x", "ties": [{"target": "a", "type": "uses"}]}]}, "has no id"),
        ({"lists": [things(since_format="soon")]}, "is no form of a time"),
        ({"lists": [things()], "user": "ada"}, "user and password_file belong together"),
        ({"lists": [things()], "user": "a", "password_file": "p", "token_file": "t"}, "there are token_file and user"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(config: Mapping[str, Any], error: str):
    with pytest.raises(ValidationError, match=error):
        SOURCE.config.model_validate({"url": "https://cmdb.example.com", **config})


@pytest.mark.parametrize(
    ("settings", "header", "proof"),
    [
        ({"token_file": "secret"}, "authorization", "Bearer s3cret"),
        ({"token_file": "secret", "token_scheme": "Token"}, "authorization", "Token s3cret"),
        ({"user": "ada", "password_file": "secret"}, "authorization", "Basic YWRhOnMzY3JldA=="),
        ({"key_header": "X-API-Key", "key_file": "secret"}, "x-api-key", "s3cret"),
        ({"client_id": "us", "client_secret_file": "secret", "token_url": "TOKENS"}, "authorization", "Bearer fetched"),
    ],
)
def test_each_way_in_is_taken(bench: Bench, tmp_path: Path, settings: dict[str, str], header: str, proof: str):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cret")
    seen: list[str] = []

    def handle(request: Request) -> Reply:
        if request.path == "/oauth/token":
            assert request.form["client_secret"] == "s3cret"
            return Reply(body={"access_token": "fetched", "expires_in": 3600})
        seen.append(request.headers.get(header, ""))
        return Reply(body={"data": []})

    bench.world.handle = handle
    assert bench.server is not None
    places = {"secret": str(secret), "TOKENS": f"{bench.server.url}/oauth/token"}
    config = {name: places.get(value, value) for name, value in settings.items()}

    bench.read(**{"token_file": None, **config}, lists=[things()])

    assert seen == [proof]


def test_a_refused_secret_stays_out_of_the_message(bench: Bench):
    bench.world.handle = lambda request: Reply(status=401, body={"error": request.headers["authorization"]})

    with pytest.raises(Denied) as raised:
        bench.read()

    assert "sandbox-token" not in str(raised.value)


PAGE = Path(__file__).parents[2] / "docs" / "connect" / "rest.md"
SNIPE_IT = {
    "total": 1,
    "rows": [
        {
            "id": 7,
            "name": "db1",
            "asset_tag": "A-7",
            "serial": "SN-7",
            "category": {"id": 1, "name": "Servers"},
            "company": None,
            "location": {"id": 5, "name": "Berlin"},
            "status_label": {"id": 1, "name": "In use", "status_type": "deployable", "status_meta": "deployed"},
        }
    ],
}
PROXMOX = {
    "data": [
        {"id": "node/pve1", "type": "node", "node": "pve1", "status": "online"},
        {"id": "qemu/100", "type": "qemu", "node": "pve1", "name": "web1", "vmid": 100, "template": 0},
        {"id": "qemu/900", "type": "qemu", "node": "pve1", "name": "golden", "vmid": 900, "template": 1},
        {"id": "storage/pve1/local", "type": "storage", "node": "pve1", "storage": "local"},
    ]
}


def documented(name: str) -> dict[str, Any]:
    """Settings of one example of the documentation, without what differs from place to place."""
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for one in YAML(typ="safe").load(block)["topology"]:
            if one["name"] == name:
                SOURCE.config.model_validate({key: value for key, value in one.items() if key not in ("name", "kind")})
                return {key: one[key] for key in one if key in ("lists", "kinds", "relations")}
    raise AssertionError(f"{name} is not documented")


def test_the_documented_mapping_of_snipe_it_reads_its_answers(bench: Bench):
    reading = answering(bench, {"/api/hardware": SNIPE_IT}, **documented("snipe-it"))

    (item,) = reading.items.values()
    assert (item.name, item.kind, item.class_name, item.location) == ("db1", "server", "Servers", "Berlin")
    assert [(one.type, one.value) for one in item.identifiers] == [(IdType.SERIAL, "SN-7"), (IdType.ASSET_TAG, "A-7")]
    assert not item.retired


def test_the_documented_mapping_of_proxmox_reads_its_answers(bench: Bench):
    reading = answering(bench, {"/api/cluster/resources": PROXMOX}, **documented("proxmox"))

    assert {id: (item.name, item.kind, item.retired) for id, item in reading.items.items()} == {
        "node/pve1": ("pve1", "server", False),
        "qemu/100": ("web1", "vm", False),
        "qemu/900": ("golden", "vm", True),
        "storage/pve1/local": ("pve1/local", "storage", False),
    }
    assert set(reading.ties) == {
        "qemu/100 runs_on node/pve1",
        "qemu/900 runs_on node/pve1",
        "storage/pve1/local located_in node/pve1",
    }
