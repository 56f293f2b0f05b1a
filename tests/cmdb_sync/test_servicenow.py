"""What only ServiceNow's CMDB does, and that clients that others wrote see the same in its stand-in."""

from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from cmdb_sync.servicenow import RELATIONS, SOURCE, TABLES, UNVERIFIED_RELATIONS
from foreshock.connect.cmdb import IGNORE, INVERSE
from foreshock.connect.vendors.servicenow import time_text
from foreshock.core.cmdb import WorkState
from foreshock.core.errors import Denied, Unavailable
from foreshock.core.topology import DIRECTIONS
from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.servicenow import CLIENT_ID, CLIENT_SECRET
from foreshock.sandbox.system import secret_file
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import Bench, Copy, benched


@pytest.fixture
def bench(tmp_path):
    with benched(SOURCE, tmp_path) as made:
        yield made


def asked(bench: Bench, table: str) -> list[dict[str, str]]:
    """Parameters of the requests for a table."""
    assert bench.server is not None
    entries = [entry for entry in bench.server.ledger.entries() if entry.path.endswith(f"/table/{table}")]
    return [{name: values[-1] for name, values in parse_qs(entry.query).items()} for entry in entries]


def ties_of(bench: Bench, word: str, **config):
    parent, child = bench.put("parent", "child")
    bench.world.insert("cmdb_rel_type", name="Feeds::Fed by")
    bench.world.relate(parent, child, word)
    names = {parent: "parent", child: "child"}
    return [(names[tie.source], tie.type, names[tie.target]) for tie in bench.read(**config).ties.values()]


# ---- classes and relations ------------------------------------------------------------------------------------------


def test_a_relationship_is_read_from_the_parent_to_the_child(bench):
    assert ties_of(bench, "Depends on::Used by") == [("parent", "depends_on", "child")]


def test_a_relationship_that_is_known_by_its_second_half_is_read_the_other_way(bench):
    assert ties_of(bench, "Members::Member of") == [("child", "member_of", "parent")]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("powers", [("parent", "powers", "child")]),
        ("inverse powered_by", [("child", "powered_by", "parent")]),
        (IGNORE, []),
    ],
)
def test_a_relationship_of_ones_own_is_read_as_the_settings_say(bench, said: str, read: list):
    assert ties_of(bench, "Feeds::Fed by", relations={"feeds::fed by": said}) == read


def test_all_relations_that_are_known_are_of_our_types():
    said = {ours.removeprefix(INVERSE) for ours in (RELATIONS | UNVERIFIED_RELATIONS).values()}

    assert said <= set(DIRECTIONS)


def test_a_type_of_relationship_that_was_made_since_the_reading_began_is_known(bench):
    bench.related(("one", "two"))
    bench.world.page_rows = 1
    source = bench.source()
    page = source.page("", "")
    while not page.ties:
        page = source.page(page.next, "")
    bench.world.insert("cmdb_rel_type", name="Uses::Used by as well")
    parent, child = bench.put("parent", "child")
    key = bench.world.relate(parent, child, "Uses::Used by as well")
    found = {}
    cursor = bench.source().page("", "").next
    while cursor:
        page = source.page(cursor, "")
        found |= {tie.key: tie.class_name for tie in page.ties}
        cursor = page.next

    assert found[key] == "Uses::Used by as well"


def test_a_relationship_with_a_lost_end_is_none(bench):
    ((source, _, key),) = bench.related(("one", "two"))
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(60)
    bench.world._by_id[key] |= {"child": ""}
    bench.world._change("cmdb_rel_ci", bench.world._by_id[key], {"parent": source}, "admin", display=False)

    assert key not in bench.read().ties


def test_a_class_that_extends_one_that_is_known_is_of_the_same_kind(bench):
    linux, switch = bench.world.put_ci("a", "cmdb_ci_linux_server"), bench.world.put_ci("b", "cmdb_ci_ip_switch")

    items = bench.read().items

    assert (items[linux].kind, items[linux].class_name) == ("server", "cmdb_ci_linux_server")
    assert items[switch].kind == "network"


def test_kinds_of_ones_own_win_and_a_class_can_be_left_out(bench):
    badge, linux = bench.world.put_ci("a", "u_badge_reader"), bench.world.put_ci("b", "cmdb_ci_linux_server")

    items = bench.read(kinds={"U_Badge_Reader": "door", "cmdb_ci_linux_server": IGNORE}).items

    assert items[badge].kind == "door"
    assert linux not in items


def test_services_tell_how_critical_they_are(bench):
    id = bench.world.put_ci("shop", "cmdb_ci_service", criticality="1 - most critical")

    assert (bench.read().items[id].kind, bench.read().items[id].criticality) == ("service", 1)


def test_what_counts_as_retired_can_be_said(bench):
    (id,) = bench.put("one", retired=True)

    assert bench.read().items[id].retired
    assert not bench.read(retired={"operational_status": ["6"]}).items[id].retired
    with pytest.raises(ValidationError, match="is not read"):
        bench.source(retired={"u_gone": ["1"]})


# ---- tables, accounts, requests -------------------------------------------------------------------------------------


def test_tables_of_plugins_that_are_not_installed_hold_nothing(bench):
    settings = {name: value for name, value in bench.settings.items() if name != "tables"}
    ids = bench.put("one")
    bench.settings = settings

    reading = bench.read()

    assert "cmdb_ci_api" in TABLES
    assert set(ids) <= set(reading.items)
    assert reading.whole
    assert reading.problems == []
    assert [finding for finding in bench.source().check() if finding.remedy and "cmdb_ci_api" in finding.subject] == []


def test_a_table_that_a_person_named_and_is_not_there_is_told(bench):
    bench.settings["tables"] = ["cmdb_ci_server", "cmdb_ci_sevrer"]

    reading = bench.read()

    assert reading.whole
    assert any("cmdb_ci_sevrer" in problem for problem in reading.problems)
    assert [finding.remedy for finding in bench.source().check() if finding.subject == "cmdb_ci_sevrer"] == [
        "correct `tables`"
    ]


def test_other_settings_make_the_next_reading_whole(bench):
    bench.put("one")
    bench.clock.move(7200)
    mark = bench.read().mark

    assert not bench.read(mark).whole
    assert bench.read(mark, kinds={"cmdb_ci_server": "vm"}).whole


def test_rows_that_an_acl_hides_do_not_end_the_reading(bench):
    """A page may be empty although more follows: the limit is applied before the rows are hidden."""
    ids = sorted(bench.put(*(f"ci-{number}" for number in range(45))))
    hidden = set(ids[5:38])
    handle = bench.world.handle

    def without_hidden(request):
        reply = handle(request)
        if isinstance(reply.body, dict) and isinstance(reply.body.get("result"), list):
            reply.body["result"] = [row for row in reply.body["result"] if row["sys_id"] not in hidden]
        return reply

    bench.world.handle = without_hidden

    reading = bench.read(page_rows=10, tables=["cmdb_ci_server"])

    assert set(ids) - hidden <= set(reading.items)


def test_large_tables_are_not_counted_for_each_page_and_changes_cost_one_request_a_table(bench):
    bench.put(*(f"ci-{number}" for number in range(6)))
    bench.clock.move(7200)
    bench.world.page_rows = 2
    mark = bench.read().mark
    pages = [each for each in asked(bench, "cmdb_ci_server") if each["sysparm_limit"] != "1"]
    before = len(asked(bench, "cmdb_ci_server"))
    bench.clock.move(7200)
    bench.read(mark)

    assert [each.get("sysparm_no_count", "") for each in pages[:-1]] == ["true"] * (len(pages) - 1)
    assert "sysparm_no_count" not in pages[-1], "whether the empty page is the end is asked once"
    assert len(asked(bench, "cmdb_ci_server")) == before + 1
    assert all(each["sysparm_exclude_reference_link"] == "true" for each in pages)
    assert all("sys_id" in each["sysparm_fields"].split(",") for each in pages)


def test_deletions_that_may_not_be_read_are_told_and_found_by_the_whole_reading(bench):
    (id,) = bench.put("goes")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)
    bench.world.forbid("sys_audit_delete")
    bench.world.delete_ci(id)

    delta = bench.read(copy.mark)

    assert id not in delta.gone
    assert any("sys_audit_delete" in problem for problem in delta.problems)
    copy.apply(bench.read())
    assert id not in copy.items


def test_a_field_that_may_not_be_read_is_denied_before_anything_looks_retired(bench):
    bench.put("one")
    bench.world.forbid("cmdb_ci_server.install_status")

    with pytest.raises(Denied, match="install_status") as raised:
        bench.read()
    assert "cmdb_ci_server.install_status" in raised.value.hint


def test_a_token_that_ran_out_is_fetched_anew_in_the_middle(bench, tmp_path):
    bench.put(*(f"ci-{number}" for number in range(4)))
    bench.world.page_rows = 2
    secret = secret_file(tmp_path, "client", CLIENT_SECRET)
    oauth = {"client_id": CLIENT_ID, "client_secret_file": secret, "password_file": None}
    source = bench.source(**oauth)
    page = source.page("", "")
    bench.world.revoke_tokens()

    assert source.page(page.next, "")
    assert bench.server is not None
    assert len([entry for entry in bench.server.ledger.entries() if entry.path == "/oauth_token.do"]) == 2


def test_a_query_that_ran_too_long_is_tried_again_later(bench):
    bench.world.too_slow = True

    with pytest.raises(Unavailable, match="maximum execution time exceeded"):
        bench.read()


def test_a_limit_without_retry_after_rests_until_its_reset(bench):
    bench.world.hourly_limit = 1

    with pytest.raises(Unavailable, match="429") as raised:
        bench.read()
    assert raised.value.retry_after_s == 3600


# ---- clients that others wrote --------------------------------------------------------------------------------------

PYSNC = """
import sys
from pysnc import ServiceNowClient
url, ca, user, password = sys.argv[1:]
client = ServiceNowClient(url, (user, password), verify=ca, auto_retry=False)
cis = client.GlideRecord("cmdb_ci", batch_size=3)
cis.fields = ["sys_id", "name", "sys_class_name", "support_group", "support_group.name"]
cis.order_by("sys_id")
cis.query()
for row in cis:
    print("ci", row.get_value("sys_id"), row.get_value("name"), row.get_value("sys_class_name"),
          row.get_display_value("support_group") or "-")
ties = client.GlideRecord("cmdb_rel_ci", batch_size=3)
ties.query()
for row in ties:
    print("tie", row.get_value("parent"), row.get_display_value("type"), row.get_value("child"))
gone = client.GlideRecord("sys_audit_delete")
gone.add_query("tablename", "STARTSWITH", "cmdb")
gone.query()
for row in gone:
    print("gone", row.get_value("documentkey"))
"""

PYSNOW = """
import sys
import pysnow
host, user, password = sys.argv[1:]
client = pysnow.Client(host=host, user=user, password=password, use_ssl=False)
cis = client.resource(api_path="/table/cmdb_ci")
for row in cis.get(query={}, stream=True).all():
    group = row["support_group"]
    name = "-"
    if group:
        found = client.resource(api_path="/table/sys_user_group").get(query={"sys_id": group["value"]})
        name = found.one()["name"]
    print("ci", row["sys_id"], row["name"], row["sys_class_name"], name)
types = {row["sys_id"]: row["name"] for row in client.resource(api_path="/table/cmdb_rel_type").get(query={}).all()}
for row in client.resource(api_path="/table/cmdb_rel_ci").get(query={}, stream=True).all():
    print("tie", row["parent"]["value"], types[row["type"]["value"]], row["child"]["value"])
for row in client.resource(api_path="/table/sys_audit_delete").get(query={}, stream=True).all():
    print("gone", row["documentkey"])
"""


def furnished(bench: Bench) -> list[str]:
    """What a client has to say of this world, by our own reading of it."""
    bench.put("db7", owner="Database")
    bench.put("web7", owner="Network")
    bench.world.put_ci("cart", "cmdb_ci_db_instance")
    bench.related(("one", "two"), ("three", "four"), ("five", "six"))
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)
    bench.world.delete_ci(bench.put("gone")[0])
    delta = bench.read(copy.mark)
    items, ties = bench.read().items, bench.read().ties.values()
    return sorted(
        [f"ci {item.id} {item.name} {item.class_name} {item.owner or '-'}" for item in items.values()]
        + [f"tie {tie.source} {tie.class_name} {tie.target}" for tie in ties]
        + [f"gone {id}" for id in delta.gone]
    )


def test_pysnc_sees_what_we_see(bench, certificate):
    python = python_with("pysnc==1.2.1")
    seen = furnished(bench)
    with SandboxServer(bench.world, clock=bench.clock, tls=(certificate, certificate)) as server:
        lines = drive(python, PYSNC, server.url, str(certificate), "foreshock", "sandbox")

    assert server.failures == []
    assert sorted(lines) == seen


def test_pysnow_sees_what_we_see(bench):
    python = python_with("pysnow==0.7.17")
    seen = furnished(bench)

    lines = drive(python, PYSNOW, bench.server.url.removeprefix("http://"), "foreshock", "sandbox")

    assert sorted(lines) == seen


# ---- planned work ---------------------------------------------------------------------------------------------------


def change(bench: Bench, state: str, starts_h: float, *, ci: str = "", **more: str) -> dict[str, str]:
    starts = bench.clock() + timedelta(hours=starts_h)
    times = {"start_date": time_text(starts), "end_date": time_text(starts + timedelta(hours=2))}
    return bench.world.insert("change_request", short_description="Patch", state=state, cmdb_ci=ci, **{**times, **more})


def planned(bench: Bench, **config):
    now = bench.clock()
    return bench.source(**config).work(now - timedelta(days=1), now + timedelta(days=14))


@pytest.mark.parametrize(
    ("state", "read"),
    [
        ("-5", None),
        ("-4", None),
        ("-3", None),
        ("-2", WorkState.PLANNED),
        ("-1", WorkState.RUNNING),
        ("0", WorkState.DONE),
        ("3", WorkState.DONE),
        ("4", WorkState.CANCELLED),
    ],
)
def test_a_change_is_planned_work_once_it_is_allowed(bench, state, read):
    (ci,) = bench.put("db-1")
    row = change(bench, state, 1, ci=ci)

    found = planned(bench)

    assert [(one.id, one.state, one.cis) for one in found] == ([] if read is None else [(row["number"], read, (ci,))])


def test_all_affected_cis_the_service_and_the_true_times_of_a_change_are_read(bench):
    main, other = bench.put("db-1", "db-2")
    service = bench.world.put_ci("shop", "cmdb_ci_service")
    began = time_text(bench.clock() - timedelta(minutes=20))
    row = change(bench, "-1", -1, ci=main, business_service=service, work_start=began)
    for ci in (main, other):
        bench.world.insert("task_ci", task=row["sys_id"], ci_item=ci)

    (one,) = planned(bench)

    assert (one.cis, one.services) == ((main, other), (service,))
    assert (one.began_at, one.ended_at) == (bench.clock().replace(microsecond=0) - timedelta(minutes=20), None)
    assert one.url.endswith(f"/change_request.do?sys_id={row['sys_id']}")


def test_changes_of_other_times_are_not_read(bench):
    change(bench, "-2", -48)
    change(bench, "-2", 24 * 20)

    assert planned(bench) == []


def test_without_access_to_affected_cis_the_main_one_is_read_and_the_check_tells(bench):
    main, other = bench.put("db-1", "db-2")
    row = change(bench, "-2", 1, ci=main)
    bench.world.insert("task_ci", task=row["sys_id"], ci_item=other)
    bench.world.forbid("task_ci")

    (one,) = planned(bench)

    assert one.cis == (main,)
    assert [finding.subject for finding in bench.source().check() if "further CIs" in finding.remedy] == ["task_ci"]
    assert "task_ci" not in [finding.subject for finding in bench.source(changes="off").check()]
