"""What is ServiceDesk Plus' own: two editions, relationships that each end tells in its own words, pages by number in
the order of ids, changes by stage."""

import json
from collections import Counter
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

import pytest
from msgspec import structs

from cmdb_sync.servicedesk_plus import SOURCE
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbParts, WorkState
from foreshock.core.errors import Denied, Unavailable
from foreshock.sandbox.servicedesk_plus import cloud_source_settings
from foreshock.sandbox.system import Reply, Request
from foreshock.testing.sources import Reading, benched


@pytest.fixture
def bench(tmp_path):
    with benched(SOURCE, tmp_path) as made:
        yield made


@pytest.fixture
def in_the_cloud(bench, tmp_path):
    """One instance that goes on, for tokens are few there."""
    config = SOURCE.config.model_validate(cloud_source_settings(bench.server.url, tmp_path))
    return SOURCE.build("prod", config, CmdbParts(http=partial(Http, connect_timeout_s=5, read_timeout_s=5)))


def read(source, mark: str = "") -> Reading:
    reading = Reading()
    cursor = ""
    while True:
        page = source.page(cursor, mark)
        reading.add(page)
        if not (cursor := page.next):
            return reading


def test_both_editions_say_the_same(bench, in_the_cloud):
    bench.related(("shop", "web-1"), ("cart", "web-2"))
    bench.put("full", **{name: first for name, (first, _) in bench.can.shows.items()})

    on_premises, cloud = bench.read(), read(in_the_cloud)

    assert (cloud.items, cloud.ties, cloud.whole) == (on_premises.items, on_premises.ties, True)
    assert any(path.startswith("/app/itdesk/api/v3/cmdb/ci_server/") for path in paths(bench))


def test_attributes_that_the_list_leaves_out_are_read_of_each_ci(bench, in_the_cloud):
    (id,) = bench.put("web-1", serial="SN-1")
    whole = read(in_the_cloud).items[id]

    bench.world.hides_attributes = True

    assert read(in_the_cloud).items[id] == whole
    assert whole.identifiers


def test_a_relationship_that_both_ends_tell_is_one(bench):
    ((app, server, _),) = bench.related(("shop", "web-1"))
    ((first, second, _),) = bench.related(("a", "b"), relation=bench.can.unmapped_relation)

    ties = bench.read().ties.values()

    assert {(tie.source, tie.type, tie.target, tie.class_name) for tie in ties} == {
        (app, "depends_on", server, "Depends on / Used by"),
        (first, "related_to", second, "Admired by / Admires"),
    }
    assert len(list(ties)) == 2


def test_of_a_relation_in_the_settings_the_other_half_follows(bench):
    ((first, second, _),) = bench.related(("a", "b"), relation=bench.can.unmapped_relation)

    for relations, expected in (
        ({"Admires": "powers"}, (first, "powers", second)),
        ({"ADMIRED BY": "powers"}, (second, "powers", first)),
    ):
        (tie,) = bench.read(relations=relations).ties.values()
        assert (tie.source, tie.type, tie.target) == expected


def test_relationships_are_asked_of_what_changed_only(bench):
    bench.put(*(f"old-{number}" for number in range(20)))
    bench.clock.move(3600)
    mark = bench.read().mark
    bench.clock.move(3600)
    bench.related(("shop", "web-1"))
    before = len(paths(bench))

    bench.read(mark)

    asked = [path for path in paths(bench)[before:] if path.endswith("/assoc_ci_relationships")]
    assert len(asked) == 2


def test_a_server_that_ignores_the_time_brings_no_more_than_what_changed(bench):
    bench.put(*(f"old-{number}" for number in range(5)))
    bench.clock.move(3600)
    mark = bench.read().mark
    bench.clock.move(3600)
    (new,) = bench.put("new")
    handle = bench.world.handle

    def deaf(request: Request) -> Reply:
        given = json.loads(request.parameters.get("input_data", "{}"))
        given.get("list_info", {}).pop("search_criteria", None)
        return handle(structs.replace(request, query=urlencode({"input_data": json.dumps(given)})))

    bench.world.handle = deaf

    assert set(bench.read(mark).items) == {new}


def test_many_deletions_in_front_lead_back_to_what_was_not_read(bench):
    ids = bench.put(*(f"ci-{number:02}" for number in range(30)))
    bench.world.page_rows = 3
    first = next(page for page in range(20) if "cmdb_server" in (bench.read().cursors[page]))

    def delete(page: int) -> None:
        if page == first + 8:  # four pages of CIs, each with one of their relationships
            for id in ids[:9]:
                bench.world.delete_ci(id)

    reading = bench.read(between=delete)

    assert set(ids[9:]) <= set(reading.items)
    assert ids[0] in reading.items, "they were deleted after they were read"


def test_a_hub_of_a_hundred_thousand_is_read_by_bounded_pages(bench):
    """Its neighbours are of a type that is not read, for each of them would cost a call."""
    hub = bench.world.put_ci("hub")
    for number in range(100_000):
        bench.world.relate(bench.world.put_ci(f"d-{number}", "Department"), hub)

    source, cursor, sizes = bench.source(), "", []
    while not sizes or cursor:
        page = source.page(cursor, "")
        sizes.append(len(page.ties))
        cursor = page.next

    assert sum(sizes) == 100_000
    assert max(sizes) <= 1100


def test_a_list_in_another_order_is_not_read(bench):
    bench.put("a", "b", "c")
    handle = bench.world.handle

    def turned(request: Request) -> Reply:
        reply = handle(request)
        if isinstance(reply.body, dict) and len(reply.body.get("cmdb_server", ())) > 1:
            reply.body["cmdb_server"].reverse()
        return reply

    bench.world.handle = turned

    with pytest.raises(Unavailable, match="does not list CIs of cmdb_server by their ids"):
        bench.read()


def test_a_build_without_relationships_is_not_taken_for_one_where_there_are_none(bench):
    bench.put("a")
    handle = bench.world.handle

    def older(request: Request) -> Reply:
        if request.path.endswith("/assoc_ci_relationships"):
            failed = {"status_code": 4000, "status": "failed", "messages": [{"status_code": 4007, "type": "failed"}]}
            return Reply(status=404, body={"response_status": failed})
        return handle(request)

    bench.world.handle = older

    with pytest.raises(Denied, match="4007") as raised:
        bench.read()
    assert "15100" in raised.value.hint


def test_types_of_the_settings_are_read_and_no_others(bench):
    server, service = bench.put("web-1")[0], bench.world.put_ci("shop", "Business Service", criticality=2)
    department = bench.world.put_ci("sales", "Department")

    assert {server, service} <= set(bench.read().items)
    assert department not in bench.read().items
    reading = bench.read(types=["business service"])
    assert set(reading.items) == {service}
    assert (reading.items[service].kind, reading.items[service].criticality) == ("service", 2)
    with pytest.raises(Denied, match="Toster"):
        bench.read(types=["Toster"])


def test_what_is_out_of_use_is_retired(bench):
    (used, retired) = (bench.world.put_ci(state, status=state) for state in ("In Use", "RETIRED"))

    reading = bench.read()

    assert [reading.items[id].retired for id in (used, retired)] == [False, True]


def test_settings_say_which_attribute_means_what(bench):
    id = bench.world.put_ci("web-1", location="Squad A")

    assert bench.read(attributes={"owner": "SITE"}).items[id].owner == "Squad A"


def test_a_check_names_types_that_no_map_names(bench):
    findings = {finding.subject: finding for finding in bench.source().check()}

    assert "Toaster" in findings["CI types"].observed


@pytest.mark.parametrize(
    ("stage", "status", "starts_h", "state"),
    [
        ("Implementation", "Requested", 1, WorkState.PLANNED),
        ("Implementation", "Requested", -1, WorkState.RUNNING),
        ("Implementation", "In Progress", 1, WorkState.RUNNING),
        ("Implementation", "Completed", -1, WorkState.DONE),
        ("CAB Evaluation", "Approved", 1, WorkState.PLANNED),
        ("Review", "In Progress", -1, WorkState.DONE),
        ("Close", "Canceled", 1, WorkState.CANCELLED),
        ("Planning", "In Progress", 1, None),
        ("Submission", "Requested", 1, None),
        ("Implementation", "Requested", 24 * 30, None),
    ],
)
def test_changes_are_planned_work_once_they_are_allowed(bench, stage, status, starts_h, state):
    now = bench.clock()
    ci = bench.world.put_ci("db-9")
    starts, ends = now + timedelta(hours=starts_h), now + timedelta(hours=starts_h + 3)
    number = bench.world.plan_change(stage, status, starts, ends, ci, services=["Email"])

    found = bench.source().work(now - timedelta(days=1), now + timedelta(days=14))

    assert [(one.id, one.state, one.cis, one.services, one.starts_at, one.ends_at) for one in found] == (
        [] if state is None else [(number, state, (ci,), ("Email",), starts, ends)]
    )
    assert all(one.owner == "Database" and "/ChangeDetails.cc?" in one.url for one in found)


def test_more_changes_than_one_page_are_all_read(bench):
    now = bench.clock()
    for _ in range(120):
        bench.world.plan_change("Implementation", "Requested", now, now + timedelta(hours=1))

    found = bench.source().work(now - timedelta(days=1), now + timedelta(days=14))

    assert Counter(one.state for one in found) == {WorkState.RUNNING: 120}


def paths(bench) -> list[str]:
    return [entry.path for entry in bench.server.ledger.entries()]
