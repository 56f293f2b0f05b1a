"""What a catalog's entities become, and that the stand-in answers as the catalog's description says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmdb_sync.backstage import SOURCE
from foreshock.core.cmdb import IdType
from foreshock.sandbox.backstage import TOKEN, BackstageSystem
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import Bench, benched

DESCRIPTION = (
    Path(__file__).parents[3] / "shared" / "reference" / "openapi" / "backstage-catalog-backend-4.0.openapi.json"
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benched(SOURCE, tmp_path) as made:
        yield made


@pytest.fixture
def world(bench: Bench) -> BackstageSystem:
    assert isinstance(bench.world, BackstageSystem)
    return bench.world


def test_what_a_system_consists_of_is_what_it_needs(bench: Bench, world: BackstageSystem):
    system = world.put_ci("webshop", "System")
    cart, pay = world.put_ci("cart"), world.put_ci("pay")
    api = world.put_ci("pay-api", "API")
    world.relate(cart, system, "partOf")
    world.relate(pay, api, "providesApi")
    world.relate(cart, api, "consumesApi")

    reading = bench.read()

    assert set(reading.ties) == {
        "system:default/webshop depends_on component:default/cart",
        "component:default/cart depends_on api:default/pay-api",
        "api:default/pay-api depends_on component:default/pay",
    }
    assert {item.kind for item in reading.items.values()} == {"service", "application", "api"}


@pytest.mark.parametrize(
    ("class_name", "kind"),
    [
        ("Resource/database", "database"),
        ("Resource/S3-Bucket", "storage"),
        ("Resource/fridge", "generic"),
        ("Component/website", "application"),
        ("Component/library", "generic"),
        ("Domain", "service"),
    ],
)
def test_kind_and_type_say_what_an_entity_is(bench: Bench, world: BackstageSystem, class_name: str, kind: str):
    id = world.put_ci("it", class_name)

    assert bench.read().items[id].kind == kind


def test_settings_say_more_than_the_table(bench: Bench, world: BackstageSystem):
    fridge, library = world.put_ci("cold", "Resource/fridge"), world.put_ci("lib", "Component/library")

    reading = bench.read(kinds={"resource/fridge": "power", "Component/library": "ignore"})

    assert reading.items[fridge].kind == "power"
    assert library not in reading.items


def test_the_group_is_the_owner_and_the_user_the_contact(bench: Bench, world: BackstageSystem):
    cart = world.put_ci("cart", owner="Database")
    world._relate(cart, "ownedBy", "user:default/ada")
    orphan = world.put_ci("orphan")
    world._relate(orphan, "ownedBy", "group:default/nobody-knows")
    theirs = world.put_ci("theirs")
    world._relate(theirs, "ownedBy", "user:default/ada")

    items = bench.read().items

    assert (items[cart].owner, items[cart].contact) == ("Database", "ada")
    assert items[orphan].owner == "nobody-knows"
    assert (items[theirs].owner, items[theirs].contact) == ("", "ada")


@pytest.mark.parametrize(
    ("metadata", "criticality"),
    [
        ({"annotations": {"example.com/criticality": "high"}}, 2),
        ({"labels": {"tier": "1"}}, 1),
        ({"tags": ["java", "tier-3"]}, 3),
        ({"tags": ["frontier-3"], "labels": {"tier": "gold"}}, 0),
    ],
)
def test_labels_annotations_and_tags_say_how_critical_it_is(
    bench: Bench, world: BackstageSystem, metadata: dict[str, object], criticality: int
):
    id = world.put("System", "webshop", **metadata)

    assert bench.read().items[id].criticality == criticality


def test_annotations_say_by_what_others_know_it(bench: Bench, world: BackstageSystem):
    annotations = {
        "backstage.io/kubernetes-id": "cart",
        "backstage.io/kubernetes-namespace": "shop",
        "pagerduty.com/service-id": "PXYZ",
        "example.com/snow": "0a1b",
    }
    id = world.put("Component", "cart", title="Shopping cart", annotations=annotations)

    item = bench.read(cluster="prod", records={"example.com/snow": "servicenow"}).items[id]

    found = {(one.type, one.value, one.scope) for one in item.identifiers}
    assert {
        (IdType.KUBERNETES, "shop/deployment/cart", "prod"),
        (IdType.RECORD, "PXYZ", "pagerduty"),
        (IdType.RECORD, "0a1b", "servicenow"),
    } <= found
    assert (item.name, item.handle, item.aliases) == ("cart", "component:default/cart", ("Shopping cart",))
    assert item.url.endswith("/catalog/default/component/cart")


def test_without_a_cluster_the_workload_of_an_annotation_is_nobodys(bench: Bench, world: BackstageSystem):
    annotations = {"backstage.io/kubernetes-id": "cart", "backstage.io/kubernetes-namespace": "shop"}
    id = world.put("Component", "cart", annotations=annotations)

    assert not [one for one in bench.read().items[id].identifiers if one.type is IdType.KUBERNETES]


def test_what_is_retired_there_is_retired_here(bench: Bench, world: BackstageSystem):
    old = world.put("Component", "old", spec={"type": "service", "lifecycle": "Retired"})
    trial = world.put("Component", "trial", spec={"type": "service", "lifecycle": "experimental"})

    items = bench.read().items

    assert (items[old].retired, items[old].environment) == (True, "")
    assert (items[trial].retired, items[trial].environment) == (False, "experimental")


def test_a_title_is_one_bounded_line(bench: Bench, world: BackstageSystem):
    id = world.put("Component", "cart", title="two\nlines \u202e" + "x" * 100_000)

    (alias,) = bench.read().items[id].aliases

    assert alias.isprintable()
    assert len(alias) <= 512


def test_only_entities_that_meet_the_filter_are_read(bench: Bench, world: BackstageSystem):
    world.put_ci("cart")
    db = world.put_ci("db", "Resource/database")

    assert set(bench.read(filter="spec.type=database").items) == {db}


def test_a_token_that_sees_nothing_is_found_by_the_check(bench: Bench):
    (finding, *_) = (one for one in bench.source().check() if one.remedy)

    assert "token may read the plugin catalog" in finding.remedy


JUDGE = """
import json, sys
import requests
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse
description = json.load(open(sys.argv[1]))
description["servers"] = [{"url": sys.argv[2] + "/api/catalog"}]
judge = OpenAPI.from_dict(description)
session = requests.Session()
session.trust_env = False
session.headers["Authorization"] = "Bearer " + sys.argv[3]
base, cursor, names = sys.argv[2] + "/api/catalog/entities/by-query", None, []
while True:
    asked = {"limit": 2, "cursor": cursor} if cursor else {"limit": 2, "filter": "kind=component"}
    request = requests.Request("GET", base, params=asked)
    answer = session.send(session.prepare_request(request))
    judge.validate_response(RequestsOpenAPIRequest(request), RequestsOpenAPIResponse(answer))
    body = answer.json()
    names += [one["metadata"]["name"] for one in body["items"]]
    cursor = body["pageInfo"].get("nextCursor")
    if not cursor:
        break
print(*names)
"""


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="the catalog's OpenAPI document is not there")
def test_the_stand_in_answers_as_the_catalogs_own_description_says(bench: Bench, world: BackstageSystem):
    python = python_with("openapi-core==0.23.1", "requests==2.34.2")
    for name in ("cart", "pay", "search"):
        world.put_ci(name, owner="Database")

    assert drive(python, JUDGE, str(DESCRIPTION), bench.settings["url"], TOKEN) == ["cart pay search"]
