"""What of NetBox is its own: the words of its rows, power and hosts, parts that change without their machine. Where
there is one, a real NetBox is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmdb_sync.netbox import SOURCE, NetBoxConfig
from foreshock.connect.http import Http
from foreshock.connect.vendors.netbox import authorization
from foreshock.core.cmdb import CmdbParts, Identifier, IdType
from foreshock.core.errors import Denied
from foreshock.sandbox.netbox import ADDRESSES, DEVICES, PORTS, NetBoxSystem
from foreshock.testing.sources import SOURCES, Bench, Copy, Reading, benched

ACTIVE = {"value": "active", "label": "Active"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benched(SOURCES["netbox"], tmp_path) as made:
        yield made


def short(world: NetBoxSystem, path: str, id: int) -> dict[str, Any]:
    return {"id": id, "display": "…", "name": world.tables[path][id].get("name", ""), "url": f"/api/{path}/{id}/"}


def device(bench: Bench, name: str, role: str = "server", **values: Any) -> int:
    id = int(bench.world.put_ci(name, role).rpartition(":")[2])
    bench.world.change(DEVICES, id, **values)
    return id


def ends(world: NetBoxSystem, type: str, path: str, device: int) -> list[dict[str, Any]]:
    port = world.put(path, name="p", device=short(world, DEVICES, device)) if path in world.tables else 1
    return [{"object_type": type, "object_id": port, "object": {"id": port, "device": short(world, DEVICES, device)}}]


def followed(bench: Bench) -> Copy:
    """A copy whose next delta does not reach back to what was there before."""
    bench.clock.move(7200)
    copy = Copy()
    copy.apply(bench.read())
    return copy


def ties(reading: Reading) -> set[tuple[str, str, str]]:
    return {(tie.source, tie.type, tie.target) for tie in reading.ties.values()}


def test_power_runs_from_the_outlet_to_the_machine_whichever_end_is_named_first(bench: Bench):
    world = bench.world
    pdu, host = device(bench, "pdu-1", "PDU"), device(bench, "host-1")
    for one, other in (("dcim.poweroutlet", "dcim.powerport"), ("dcim.powerport", "dcim.poweroutlet")):
        owners = {"dcim.poweroutlet": pdu, "dcim.powerport": host}
        world.put(
            "dcim/cables", status={"value": "connected"}, a_terminations=ends(world, one, "", owners[one]),
            b_terminations=ends(world, other, "", owners[other]),
        )  # fmt: skip

    reading = bench.read()

    assert ties(reading) >= {(f"dcim.device:{host}", "powered_by", f"dcim.device:{pdu}")}
    assert not [tie for tie in ties(reading) if tie[0] == f"dcim.device:{pdu}" and tie[1] == "powered_by"]
    assert reading.items[f"dcim.device:{pdu}"].kind == "power"


def test_a_virtual_machine_runs_on_its_host_and_else_belongs_to_its_cluster(bench: Bench):
    world = bench.world
    host = device(bench, "host-1")
    cluster = world.put("virtualization/clusters", name="c1", type={"id": 1, "name": "kvm"})
    path, at = "virtualization/virtual-machines", short(world, "virtualization/clusters", cluster)
    hosted = world.put(path, name="vm-1", status=ACTIVE, cluster=at, device=short(world, DEVICES, host))
    loose = world.put(path, name="vm-2", status=ACTIVE, cluster=at, device=None)
    copy = followed(bench)
    prefix = "virtualization.virtualmachine"
    assert {tie for tie in copy.ties if tie[0].startswith(prefix)} == {
        (f"{prefix}:{hosted}", "runs_on", f"dcim.device:{host}"),
        (f"{prefix}:{loose}", "member_of", f"virtualization.cluster:{cluster}"),
    }

    bench.clock.move(600)
    other = device(bench, "host-2")
    world.change(path, hosted, device=short(world, DEVICES, other))
    world.change(path, loose, device=short(world, DEVICES, other))
    copy.apply(bench.read(copy.mark))

    assert {tie for tie in copy.ties if tie[0].startswith(prefix)} == {
        (f"{prefix}:{id}", "runs_on", f"dcim.device:{other}") for id in (hosted, loose)
    }


def test_an_address_that_moves_changes_both_machines(bench: Bench):
    first, second = bench.put("first", "second", ip="10.0.0.1")
    bench.world.change_ci(second, ip="10.0.0.2")
    copy = followed(bench)
    bench.clock.move(600)
    rows = bench.world.tables[ADDRESSES]
    mine, other = (
        next(id for id, row in rows.items() if row["name"] == "10.0.0.1" and _at(row) == ci) for ci in (first, second)
    )

    bench.world.change(
        ADDRESSES, mine, **{name: rows[other][name] for name in ("assigned_object", "assigned_object_id")}
    )
    copy.apply(bench.read(copy.mark))

    assert not [each for each in copy.items[first].identifiers if each.type == IdType.IP]
    assert {each.value for each in copy.items[second].identifiers} == {"10.0.0.1", "10.0.0.2"}


def _at(row: dict[str, Any]) -> str:
    return f"dcim.device:{row['assigned_object']['device']['id']}"


def test_a_cable_that_lost_an_end_connects_nothing(bench: Bench):
    ((source, target, key),) = bench.related(("one", "two"))
    copy = followed(bench)
    assert (source, "connects_to", target) in copy.ties
    bench.clock.move(600)
    port = next(id for id, row in bench.world.tables[PORTS].items() if _holder(row) == source)

    bench.world.cut(port)
    copy.apply(bench.read(copy.mark))

    assert key not in copy.all_ties
    assert {source, target} <= set(copy.items)


def _holder(row: dict[str, Any]) -> str:
    return f"dcim.device:{row['device']['id']}"


def test_an_address_is_unique_in_its_vrf_and_a_shared_one_identifies_nothing(bench: Bench):
    (id,) = bench.put("one", ip="10.0.0.1")
    row = next(iter(bench.world.tables[ADDRESSES].values()))
    row["vrf"] = {"id": 3, "name": "lab"}
    assert Identifier(IdType.IP, "10.0.0.1", "lab") in bench.read().items[id].identifiers

    row["role"] = {"value": "vrrp", "label": "VRRP"}

    assert not bench.read().items[id].identifiers


def test_what_is_planned_or_inventory_is_out_of_use_and_settings_may_say_more(bench: Bench):
    planned = device(bench, "soon", status={"value": "planned", "label": "Planned"})
    failed = device(bench, "broken", status={"value": "failed", "label": "Failed"})

    def retired(**config: Any) -> set[str]:
        return {item.id for item in bench.read(**config).items.values() if item.retired}

    assert retired() == {f"dcim.device:{planned}"}
    assert retired(retired=["Failed"]) == {f"dcim.device:{failed}"}


def test_a_contact_with_a_support_role_owns_and_a_renamed_one_is_followed(bench: Bench):
    world = bench.world
    id = device(bench, "one", tenant=world.brief("tenancy/tenants", "Shop"))
    team = world.put("tenancy/contacts", name="NOC")
    world.put(
        "tenancy/contact-assignments", object_type="dcim.device", object_id=id, priority={"value": "primary"},
        contact=short(world, "tenancy/contacts", team), role={"id": 1, "name": "Support"},
    )  # fmt: skip
    copy = followed(bench)
    assert copy.items[f"dcim.device:{id}"].owner == "NOC"

    bench.clock.move(600)
    world.change("tenancy/contacts", team, name="Operations")
    for row in world.tables["tenancy/contact-assignments"].values():
        row["contact"] = short(world, "tenancy/contacts", team)
    copy.apply(bench.read(copy.mark))

    assert copy.items[f"dcim.device:{id}"].owner == "Operations"


def test_a_change_log_that_lost_what_the_mark_names_leads_to_a_whole_reading(bench: Bench):
    bench.put("one")
    mark = bench.read().mark
    assert not bench.read(mark).whole

    bench.world.expire()

    assert bench.read(mark).whole


def test_unknown_roles_are_generic_until_the_settings_name_them(bench: Bench):
    (id,) = bench.put("odd", class_name="gizmo")

    assert bench.read().items[id].kind == "generic"
    assert bench.read(roles={"Gizmo": "network"}).items[id].kind == "network"


def test_tokens_of_both_versions_are_sent_as_each_wants_it():
    assert authorization("0123456789abcdef") == "Token 0123456789abcdef"
    assert authorization("nbt_abc.def") == "Bearer nbt_abc.def"


# ---- a real one -----------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> dict[str, Any]:
    url, token = os.environ.get("NETBOX_URL"), os.environ.get("NETBOX_TOKEN")
    if not url or not token:
        pytest.skip(
            "NETBOX_URL and NETBOX_TOKEN name no NetBox; it needs Python 3.12, so it cannot be installed beside us"
        )
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    return {"url": url, "token_file": file}


def test_a_real_netbox_is_read_whole_and_by_delta(real: dict[str, Any]):
    source = SOURCE.build("real", NetBoxConfig.model_validate(real), CmdbParts(http=Http))
    reading, cursor = Reading(), ""
    while not reading.mark:
        page = source.page(cursor, "")
        reading.add(page)
        cursor = page.next

    assert [finding for finding in source.check() if finding.remedy] == []
    assert (reading.whole, reading.flaws) == (True, [])
    assert not source.page("", reading.mark).whole


def test_a_real_netbox_refuses_a_wrong_token(real: dict[str, Any]):
    real["token_file"].write_text("0" * 40)

    with pytest.raises(Denied):
        SOURCE.build("real", NetBoxConfig.model_validate(real), CmdbParts(http=Http)).page("", "")
