"""What is Assets' own: references, offsets that shift, schemas that are not to be seen, change requests."""

import json
from datetime import timedelta
from functools import partial

import pytest

from cmdb_sync.jira_assets import SOURCE, JiraAssetsConfig
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbParts, WorkState
from foreshock.core.errors import Denied
from foreshock.sandbox.jira_assets import CHANGES, SCHEMA, TOKEN, USER, AssetsSystem, source_settings
from foreshock.sandbox.server import SandboxServer
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import Copy, Reading, benched
from foreshock.testing.tickets import SteppedClock


@pytest.fixture
def bench(tmp_path):
    with benched(SOURCE, tmp_path) as made:
        yield made


def test_a_reference_that_is_one_at_most_is_replaced_by_a_delta(bench):
    app, old, new = bench.put("app", "old", "new")
    bench.world.relate(app, old, "Runs on")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)

    bench.world.relate(app, new, "Runs on")
    copy.apply(bench.read(copy.mark))

    assert copy.ties == {(app, "runs_on", new)}


def test_settings_say_what_types_references_and_attributes_of_a_tenant_mean(bench):
    toaster = bench.world.put_ci("t", "Toaster", environment="Squad A")
    other = bench.world.put_ci("u", "Server")
    bench.world.relate(toaster, other, "Admires")
    config = {
        "kinds": {"toaster": "power"},
        "relations": {"ADMIRES": "inverse powers"},
        "attributes": {"owner": "Environment"},
    }

    reading = bench.read(**config)

    assert (reading.items[toaster].kind, reading.items[toaster].owner) == ("power", "Squad A")
    ((_, tie),) = reading.ties.items()
    assert (tie.source, tie.type, tie.target, tie.class_name) == (other, "powers", toaster, "Admires")


def test_a_type_that_is_ignored_is_left_out(bench):
    toaster, server = bench.world.put_ci("t", "Toaster"), bench.world.put_ci("s")

    reading = bench.read(kinds={"Toaster": "ignore"})

    assert toaster not in reading.items
    assert server in reading.items


def test_what_is_out_of_use_is_retired(bench):
    ids = [bench.world.put_ci(status, status=status) for status in ("Active", "DECOMMISSIONED")]

    reading = bench.read()

    assert [reading.items[id].retired for id in ids] == [False, True]


def test_the_key_of_an_object_is_an_alias(bench):
    (id,) = bench.put("db-1")

    assert bench.read().items[id].aliases == (f"{SCHEMA}-{id}",)


def test_more_rows_may_go_than_a_page_holds_and_nothing_that_stays_is_missed(bench):
    ids = [bench.world.put_ci(f"ci-{number}") for number in range(30)]
    bench.world.page_rows = 3

    def change(page):
        if page == 4:
            for id in ids[:9]:
                bench.world.delete_ci(id)

    assert set(ids[9:]) <= set(bench.read(between=change).items)


def test_a_schema_that_may_not_be_seen_ends_the_reading_before_it_begins(bench):
    bench.world.forbid(SCHEMA)

    with pytest.raises(Denied, match="shows no object schema 'ITSM'") as raised:
        bench.read()
    assert "Object Schema User" in raised.value.hint
    assert "Facilities" in raised.value.hint


def test_a_check_names_types_that_no_map_names(bench):
    ((schema, changes),) = [bench.source().check()]

    assert "not in `kinds`, so generic: Toaster" in schema.observed
    assert (schema.remedy, changes.remedy) == ("", "")


def test_a_check_says_which_project_may_not_be_browsed(bench):
    (_, finding) = bench.source(changes_project="HR").check()

    assert finding.remedy == "give the account Browse Projects in HR"


def test_the_workspace_of_a_cloud_site_is_asked_for(bench):
    url = bench.server.url
    source = bench.source(assets_url="")

    assert source._site.assets_workspace() == bench.world.workspace
    assert source._site.name == "jira 'prod'"
    assert url in source._config.url


def test_a_data_center_is_read_by_whole_pages_and_what_moves_is_read_again(tmp_path):
    clock = SteppedClock()
    world = AssetsSystem(clock, cloud=False)
    server = SandboxServer(world, clock=clock).start()
    try:
        ids = [world.put_ci(f"ci-{number}") for number in range(250)]
        settings = {**source_settings(server.url, tmp_path), "edition": "data_center", "user": ""}
        source = SOURCE.build("dc", JiraAssetsConfig.model_validate(settings), CmdbParts(http=partial(Http)))
        reading, page = Reading(), source.page("", "")
        reading.add(page)
        world.delete_ci(ids[0])
        world.delete_ci(ids[120])
        while page.next:
            page = source.page(page.next, "")
            reading.add(page)
    finally:
        server.stop()

    assert {*ids} - {ids[0], ids[120]} <= set(reading.items)
    assert reading.whole
    assert TOKEN not in str(reading.problems)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Awaiting implementation", WorkState.PLANNED),
        ("Implementing", WorkState.RUNNING),
        ("Completed", WorkState.DONE),
        ("Declined", WorkState.CANCELLED),
        ("Awaiting CAB approval", None),
    ],
)
def test_change_requests_are_planned_work_once_they_are_allowed(bench, status, state):
    now = bench.clock()
    (ci,) = bench.put("db-1")
    key = bench.world.plan_change(status, now + timedelta(hours=1), now + timedelta(hours=3), ci)
    bench.world.plan_change("Approved", now + timedelta(days=40), now + timedelta(days=41), ci)
    bench.world.plan_change("Approved", now - timedelta(days=40), now - timedelta(days=39), ci)

    found = bench.source().work(now - timedelta(days=1), now + timedelta(days=14))

    assert [(one.id, one.state, one.cis, one.owner) for one in found] == (
        [] if state is None else [(key, state, (ci,), "Ada")]
    )
    assert all(one.id.startswith(CHANGES) and one.url.endswith(f"/browse/{one.id}") for one in found)
    assert all((one.starts_at, one.ends_at) == (now + timedelta(hours=1), now + timedelta(hours=3)) for one in found)


def test_without_a_project_there_is_no_planned_work(bench):
    now = bench.clock()

    assert bench.source(changes_project="").work(now, now) == []


CLOUD = """
import json, sys
from atlassian.assets import AssetsCloud
url, user, token = sys.argv[1:]
site = AssetsCloud(url, username=user, password=token)
workspace = site._get_assets_workspace_id()
assets = AssetsCloud(url, username=user, password=token)
assets.api_root, assets.cloud = f"/jsm/assets/workspace/{workspace}/v1/", True  # it knows one address of the cloud only
found, start, last = [], 0, False
while not last:
    page = assets.aql("objectSchemaId = 1 order by Created asc", start=start, max_results=50)
    found += page["values"]
    start, last = start + len(page["values"]), page["isLast"]
types = {each["id"]: each["name"] for each in assets.get(f"{assets.api_root}objectschema/1/objecttypes/flat")}
for each in found:
    refers = [v["referencedObject"]["id"] for a in each["attributes"] for v in a["objectAttributeValues"]
              if v.get("referencedType")]
    print(json.dumps([each["id"], each["label"], types[each["objectType"]["id"]], refers]))
"""
DATA_CENTER = """
import json, sys
from atlassian.assets import AssetsServer
assets = AssetsServer(sys.argv[1], token=sys.argv[2])
page = assets.get_aql_objects(query="objectSchemaId = 1 order by Created asc", page=1, result_per_page=50)
print(json.dumps([each["label"] for each in page["objectEntries"]]))
"""
ATLASSIAN = "atlassian-python-api==5.0.5"


def test_a_client_of_others_reads_the_same_objects_and_references(bench):
    bench.related(*((f"app-{number}", f"db-{number}") for number in range(60)))

    lines = drive(python_with(ATLASSIAN), CLOUD, bench.server.url, USER, TOKEN)

    seen = [json.loads(line) for line in lines]
    ours = bench.read()
    assert {(id, name, class_name) for id, name, class_name, _ in seen} == {
        (item.id, item.name, item.class_name) for item in ours.items.values()
    }
    assert {(id, target) for id, _, _, targets in seen for target in targets} == {
        (tie.source, tie.target) for tie in ours.ties.values()
    }


def test_a_client_of_others_reads_the_same_from_a_data_center():
    world = AssetsSystem(SteppedClock(), cloud=False)
    world.put_ci("db-1")
    server = SandboxServer(world).start()
    try:
        (line,) = drive(python_with(ATLASSIAN), DATA_CENTER, server.url, TOKEN)
    finally:
        server.stop()

    assert json.loads(line) == ["there from the start", "db-1"]
