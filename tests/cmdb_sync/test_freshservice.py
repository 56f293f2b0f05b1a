"""What is Freshservice's own: pages by number, a tree of asset types, relationships of assets only, change requests."""

import json
from datetime import timedelta

import pytest

from cmdb_sync.freshservice import SOURCE
from foreshock.core.cmdb import WorkState
from foreshock.core.errors import Unavailable
from foreshock.sandbox.freshservice import API_KEY
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import benched


@pytest.fixture
def bench(tmp_path):
    with benched(SOURCE, tmp_path) as made:
        yield made


def test_a_type_without_an_entry_counts_as_its_parent(bench):
    id = bench.world.put_ci("web-1", "Linux Server")

    item = bench.read().items[id]

    assert (item.kind, item.class_name) == ("server", "Linux Server")


def test_the_impact_of_a_service_is_its_criticality_and_that_of_a_server_is_not(bench):
    service = bench.world.put_ci("shop", "Services", impact="high")
    server = bench.world.put_ci("web-1", "Server", impact="high")

    reading = bench.read()

    assert (reading.items[service].criticality, reading.items[server].criticality) == (1, 0)


def test_what_is_out_of_use_is_retired(bench):
    ids = [bench.world.put_ci(state, asset_state=state) for state in ("In Use", "RETIRED")]

    reading = bench.read()

    assert [reading.items[id].retired for id in ids] == [False, True]


def test_relationships_of_people_are_left_out(bench):
    ((source, target, key),) = bench.related(("app", "db"))
    row = bench.world.tables["relationships"][int(bench.world.relate(source, target))]
    row["secondary_type"] = "agent"

    assert set(bench.read().ties) == {key}


def test_a_list_that_moves_is_read_from_its_beginning(bench):
    ids = bench.put(*(f"ci-{number}" for number in range(20)))
    bench.world.page_rows = 4

    reading = bench.read(between=lambda page: bench.world.delete_ci(ids[0]) if page == 3 else None)

    assert set(ids[1:]) <= set(reading.items)
    assert any('"restarts":1' in cursor for cursor in reading.cursors)


def test_a_list_that_never_stops_moving_is_given_up(bench):
    bench.put(*(f"ci-{number}" for number in range(90)))
    bench.world.page_rows = 4

    with pytest.raises(Unavailable, match="assets move while they are read, 5 times in a row"):
        bench.read(between=lambda page: bench.world.delete_ci(bench.world._rows("assets")[0]["display_id"]))


def test_assets_of_newer_accounts_are_read_from_another_place(bench):
    (id,) = bench.put("web-1")

    assert id in bench.read(itam=True).items
    assert bench.server.ledger.entries()[-1].path != "/api/v2/assets"


def test_a_check_names_types_that_no_map_names(bench):
    findings = {finding.subject: finding for finding in bench.source().check()}

    assert "Toaster" in findings["kinds"].observed


@pytest.mark.parametrize(
    ("status", "starts_h", "state"),
    [
        (4, 1, WorkState.PLANNED),
        (4, -1, WorkState.RUNNING),
        (5, -1, WorkState.DONE),
        (6, -1, WorkState.DONE),
        (3, 1, None),
        (4, 24 * 30, None),
    ],
)
def test_change_requests_are_planned_work_once_they_are_allowed(bench, status, starts_h, state):
    now = bench.clock()
    ci, service = bench.world.put_ci("db-9"), bench.world.put_ci("shop", "Services")
    starts, ends = now + timedelta(hours=starts_h), now + timedelta(hours=starts_h + 3)
    id = bench.world.plan_change(status, starts, ends, ci, services=[service])

    found = bench.source().work(now - timedelta(days=1), now + timedelta(days=14))

    assert [(one.id, one.state, one.cis, one.services, one.starts_at, one.ends_at) for one in found] == (
        [] if state is None else [(f"CHN-{id}", state, (ci,), (service,), starts, ends)]
    )
    assert all(one.owner and one.url.endswith(f"/a/changes/{id}") for one in found)


TAP = """
import sys
from tap_freshservice.tap import TapFreshservice
url, key = sys.argv[1:]
config = {"api_key": key, "url_base": url + "/api/v2", "request_delay_seconds": 0, "ticket_lookback_days": 45}
TapFreshservice(config=config).sync_all()
"""


def test_a_client_of_others_reads_the_same_assets(bench):
    bench.put(*(f"web-{number}" for number in range(103)), serial="SN-1")
    bench.world.put_ci("shop", "Services")

    lines = drive(python_with("tap-freshservice==0.12.0"), TAP, bench.server.url, API_KEY)
    records = [json.loads(line) for line in lines if '"type":"RECORD"' in line.replace(" ", "")]
    assets = [each["record"] for each in records if each["stream"] == "assets"]
    types = {each["record"]["id"]: each["record"]["name"] for each in records if each["stream"] == "asset_types"}

    ours = bench.read().items
    assert {(str(row["display_id"]), row["name"], types[row["asset_type_id"]]) for row in assets} == {
        (item.id, item.name, item.class_name) for item in ours.values()
    }
    assert len(assets) == len(ours)
