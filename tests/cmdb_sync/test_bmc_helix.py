"""What is BMC Helix CMDB's own: classes with those below them, datasets, marks of deletion, relations whose ends must
be turned, support groups in a form of their own, changes."""

from datetime import timedelta

import pytest

from cmdb_sync.bmc_helix import SOURCE
from foreshock.core.cmdb import Identifier, IdType, WorkState
from foreshock.core.errors import Denied, Unavailable
from foreshock.testing.sources import Copy, benched


@pytest.fixture
def bench(tmp_path):
    with benched(SOURCE, tmp_path) as made:
        yield made


def test_a_class_is_read_with_those_below_it_and_another_dataset_is_not(bench):
    ids = [bench.world.put_ci(name, name) for name in ("BMC_ComputerSystem", "BMC_SoftwareServer", "ACME_Toaster")]
    printer = bench.world.put_ci("printer", "BMC_Printer")

    items = bench.read().items

    assert set(items) == set(ids)
    assert printer not in items
    assert [items[id].kind for id in ids] == ["server", "application", "generic"]
    assert set(bench.read(dataset="BMC.SAMPLE").items) != set(ids)


def test_only_the_classes_of_the_settings_are_read(bench):
    service, _ = bench.world.put_ci("shop", "BMC_BusinessService"), bench.put("web-1")

    assert set(bench.read(classes=["BMC.CORE:BMC_BusinessService"]).items) == {service}


def test_the_reconciliation_identity_is_a_record_of_it_unless_it_has_none(bench):
    known, unknown = bench.put("known", "unknown")
    bench.world.change_ci(known, ReconciliationIdentity="OI-123")
    bench.world.change_ci(unknown, ReconciliationIdentity="0")

    items = bench.read().items

    assert items[known].identifiers == (Identifier(IdType.RECORD, "OI-123", "bmc_helix"),)
    assert items[unknown].identifiers == ()


def test_host_and_domain_make_a_full_name(bench):
    plain = bench.world.put_ci("a", hostname="web-1", domain="example.com")
    full = bench.world.put_ci("b", hostname="web-2.example.com", domain="example.com")

    items = bench.read().items

    assert Identifier(IdType.FQDN, "web-1.example.com") in items[plain].identifiers
    assert Identifier(IdType.FQDN, "web-2.example.com") in items[full].identifiers


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        ({"role": "Router"}, "network"),
        ({"role": "Storage Array"}, "storage"),
        ({"role": "Server"}, "server"),
        ({"virtual": "Yes"}, "vm"),
        ({"virtual": "No"}, "server"),
    ],
)
def test_the_role_of_a_computer_system_says_what_it_is(bench, shown, kind):
    id = bench.world.put_ci("x", **shown)

    assert bench.read().items[id].kind == kind


def test_priority_is_the_criticality_of_a_service(bench):
    id = bench.world.put_ci("shop", "BMC_BusinessService", criticality="PRIORITY_1")

    assert bench.read().items[id].criticality == 1


def test_what_is_out_of_use_is_retired(bench):
    ids = [bench.world.put_ci(status, status=status) for status in ("Deployed", "DISPOSED")]

    items = bench.read().items

    assert [items[id].retired for id in ids] == [False, True]


@pytest.mark.parametrize(
    ("class_name", "values", "turned", "type_"),
    [
        ("BMC_Component", {}, False, "contains"),
        ("BMC_HostedSystemComponents", {}, True, "runs_on"),
        ("BMC_Dependency", {}, True, "depends_on"),
        ("BMC_Dependency", {"HasImpact": "Yes", "ImpactDirection": "Source-Destination"}, True, "depends_on"),
        ("BMC_Dependency", {"HasImpact": "Yes", "ImpactDirection": "Destination-Source"}, False, "depends_on"),
        ("BMC_Dependency", {"HasImpact": "No", "ImpactDirection": "Destination-Source"}, True, "depends_on"),
        ("BMC_Dependency", {"Name": "CONNECTION"}, False, "connects_to"),
        ("ACME_Admires", {"HasImpact": "Yes", "ImpactDirection": "Destination-Source"}, False, "depends_on"),
        ("BMC_Component", {"HasImpact": "Yes", "ImpactDirection": "Destination-Source"}, False, "contains"),
    ],
)
def test_the_ends_of_a_relation_are_turned_as_its_class_and_its_impact_say(bench, class_name, values, turned, type_):
    source, destination = bench.put("source", "destination")
    key = bench.world.put_relation(class_name, source, destination, **values)

    tie = bench.read().ties[key]

    ends = (destination, source) if turned else (source, destination)
    assert (tie.source, tie.target) == ends
    assert (tie.type, tie.class_name) == (type_, class_name.upper())


def test_what_a_person_wrote_of_a_class_of_relations_counts_over_its_impact(bench):
    source, destination = bench.put("source", "destination")
    impact = {"HasImpact": "Yes", "ImpactDirection": "Source-Destination"}
    key = bench.world.put_relation("BMC_Dependency", source, destination, **impact)

    tie = bench.read(relations={"bmc_dependency": "depends_on"}).ties[key]

    assert (tie.source, tie.target) == (source, destination)


def test_what_was_marked_and_is_marked_no_more_comes_back(bench):
    (id,) = bench.put("web-1")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)
    bench.world.delete_ci(id)
    copy.apply(bench.read(copy.mark))
    assert id not in copy.items
    bench.clock.move(600)

    bench.world.change_ci(id, MarkAsDeleted="No")
    copy.apply(bench.read(copy.mark))

    assert id in copy.items


def test_marks_of_deletion_are_told_as_numbers_too(bench):
    (id,) = bench.put("web-1")
    bench.world.change_ci(id, MarkAsDeleted="1")

    assert id not in bench.read().items


def test_a_class_that_moves_is_read_from_its_beginning(bench):
    ids = bench.put(*(f"ci-{number}" for number in range(20)))
    bench.world.page_rows = 4

    def purge(page: int) -> None:
        if page == 9:
            bench.world.delete_ci(ids[0], trace=False)

    reading = bench.read(between=purge)

    assert set(ids[1:]) <= set(reading.items)
    assert any('"restarts":1' in cursor for cursor in reading.cursors)


def test_a_class_that_never_stops_moving_is_given_up(bench):
    ids = bench.put(*(f"ci-{number}" for number in range(90)))
    bench.world.page_rows = 4

    with pytest.raises(Unavailable, match="BMC_ComputerSystem move while they are read, 5 times in a row"):
        bench.read(between=lambda page: bench.world.delete_ci(ids.pop(0), trace=False))


def test_a_server_that_does_not_count_is_read_to_the_end(bench):
    ids = bench.put(*(f"ci-{number}" for number in range(10)))
    bench.world.counts = False
    bench.world.page_rows = 4

    assert set(ids) <= set(bench.read().items)


def test_support_groups_can_be_left_out(bench):
    id = bench.world.put_ci("web-1", owner="Database")
    bench.world.forbid("people")

    with pytest.raises(Denied):
        bench.read()
    assert bench.read(support_groups=False).items[id].owner == ""


def test_an_attribute_that_this_cmdb_lacks_is_named_and_can_be_left_out(bench):
    bench.put("web-1")

    with pytest.raises(Denied, match="AssetTag") as raised:
        bench.read(attributes={"asset_tag": "AssetTag"})

    assert "BMC_BusinessService" in raised.value.hint
    assert bench.read(attributes={"asset_tag": ""}).whole
    assert any(finding.remedy for finding in bench.source(attributes={"asset_tag": "AssetTag"}).check())


def test_a_check_tells_how_much_is_seen_and_that_nothing_is(bench):
    bench.related(("shop", "web-1"))

    seen = {finding.subject: finding.observed for finding in bench.source().check()}
    findings = bench.source(dataset="ACME.EMPTY").check()

    assert seen["BMC.CORE:BMC_ComputerSystem"] == "can be read; 1 instances"
    assert seen["BMC.CORE:BMC_Cluster"] == "can be read; 0 instances"
    assert [(finding.subject, "dataset" in finding.remedy) for finding in findings if finding.remedy] == [("CIs", True)]


@pytest.mark.parametrize(
    ("status", "starts_h", "state"),
    [
        ("Scheduled", 1, WorkState.PLANNED),
        ("Scheduled", -1, WorkState.RUNNING),
        ("Implementation In Progress", -1, WorkState.RUNNING),
        ("Completed", -1, WorkState.DONE),
        ("Closed", -1, WorkState.DONE),
        ("Cancelled", 1, WorkState.CANCELLED),
        ("Scheduled For Approval", 1, None),
        ("Draft", 1, None),
        ("Scheduled", 24 * 30, None),
    ],
)
def test_changes_are_planned_work_once_they_are_allowed(bench, status, starts_h, state):
    now = bench.clock()
    (ci, bare), service = bench.put("db-9", "db-10"), bench.world.put_ci("shop", "BMC_BusinessService")
    bench.world.change_ci(ci, ReconciliationIdentity="OI-9")
    bench.world.change_ci(bare, ReconciliationIdentity="0")
    starts, ends = now + timedelta(hours=starts_h), now + timedelta(hours=starts_h + 3)
    number = bench.world.plan_change(status, starts, ends, ci, bare, services=[service])

    found = bench.source().work(now - timedelta(days=1), now + timedelta(days=14))

    assert [(one.id, one.state, one.cis, one.services, one.starts_at, one.ends_at) for one in found] == (
        [] if state is None else [(number, state, ("OI-9", "db-10"), ("shop",), starts, ends)]
    )
