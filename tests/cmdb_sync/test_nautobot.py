"""The Nautobot source before a real Nautobot: what people do there is what a sync has, by deltas and as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmdb_sync.nautobot import NEEDED, SOURCE, NautobotConfig
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbParts, CmdbSource, Identifier, IdType
from foreshock.core.errors import Denied, Missing
from foreshock.testing.cmdb_servers import TOKEN, Nautobot
from foreshock.testing.servers import ForeshockServer, eventually
from foreshock.testing.sources import Copy, Reading

DUMP = Path(__file__).parents[1] / "samples" / "nautobot" / "nautobot-3.2.7.sql.xz"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def nautobot(require: Callable[..., None]) -> Iterator[Nautobot]:
    require(*Nautobot.programs())
    with Nautobot(DUMP) as server:
        yield server


@pytest.fixture(scope="module")
def furnished(nautobot: Nautobot) -> dict[str, str]:
    """What the dump does not have: ids by name."""
    return furnish(nautobot)


def source_of(server: Nautobot, token: str = TOKEN, **settings: Any) -> CmdbSource:
    config = NautobotConfig.model_validate(
        {"url": server.url, "token_file": server.token_file(token), "relationships": {"vm_host": "runs_on"}, **settings}
    )
    return SOURCE.build("prod", config, CmdbParts(http=Http))


def read(
    server: Nautobot,
    mark: str = "",
    *,
    between: Callable[[int], CmdbSource | None] = lambda page: None,
    **settings: Any,
) -> Reading:
    """All pages. between: called after each; where it gives a source, that one goes on, as after a crash."""
    reading, cursor, source = Reading(), "", source_of(server, **settings)
    while True:
        page = source.page(cursor, mark)
        reading.add(page)
        cursor = page.next
        if not cursor:
            return reading
        source = between(len(reading.cursors)) or source


def furnish(server: Nautobot) -> dict[str, str]:
    """A rack with a power distribution unit on a feed, a chassis, a circuit, a namespace, a shared address, a team."""
    room = server.rows("dcim/locations/?name=room-0-0")[0]["id"]
    devices = server.rows("dcim/devices/?sort=name")
    kind = devices[0]["device_type"]["id"]
    made = {"room": room, "one": devices[0]["id"], "two": devices[1]["id"], "three": devices[2]["id"]}
    server.ask(
        "PATCH", f"dcim/location-types/{_type_of(server, room)}/", {"content_types": _content_types(server, room)}
    )
    made["rack"] = server.make("dcim/racks", name="R1", location=room, status="Active")["id"]
    server.change("dcim/devices", made["one"], location=room, rack=made["rack"])
    pdus = server.make("extras/roles", name="PDU", content_types=["dcim.device"])["id"]
    made["pdu"] = server.make(
        "dcim/devices", name="pdu-1", device_type=kind, role=pdus, location=room, status="Active"
    )["id"]
    made["panel"] = server.make("dcim/power-panels", name="P1", location=room)["id"]
    made["feed"] = server.make("dcim/power-feeds", name="F1", power_panel=made["panel"], status="Active")["id"]
    inlet = server.make("dcim/power-ports", device=made["pdu"], name="in")["id"]
    outlet = server.make("dcim/power-outlets", device=made["pdu"], name="out", power_port=inlet)["id"]
    port = server.make("dcim/power-ports", device=made["one"], name="psu")["id"]
    made["feed cable"] = cable(server, "powerfeed", made["feed"], "powerport", inlet)
    made["power cable"] = cable(server, "poweroutlet", outlet, "powerport", port)
    made["group"] = server.make(
        "dcim/device-redundancy-groups", name="pair", status="Active", failover_strategy="active-active"
    )["id"]
    server.change("dcim/devices", made["two"], device_redundancy_group=made["group"])
    made["provider"] = server.make("circuits/providers", name="Acme Net")["id"]
    line = server.make("circuits/circuit-types", name="Line")["id"]
    made["circuit"] = server.make(
        "circuits/circuits", cid="C-77", provider=made["provider"], circuit_type=line, status="Active"
    )["id"]
    made["namespace"] = server.make("ipam/namespaces", name="Lab")["id"]
    server.make("ipam/prefixes", prefix="10.0.0.0/8", namespace=made["namespace"], status="Active")
    made["interface"] = interface(server, made["three"], "lab0", mac_address="02:00:00:00:00:AA")
    assign(server, "10.9.9.9/32", made["interface"], namespace=made["namespace"])
    shared = server.rows("extras/roles/?name=VRRP")[0]["id"]
    assign(server, "10.0.0.254/32", made["interface"], role=shared)
    made["team"] = server.make("extras/teams", name="NOC")["id"]
    support = server.rows("extras/roles/?name=Support")[0]["id"]
    server.make(
        "extras/contact-associations", team=made["team"], associated_object_type="dcim.device",
        associated_object_id=made["three"], role=support, status="Active",
    )  # fmt: skip
    made["host"] = server.make(
        "extras/relationships", label="VM host", key="vm_host", type="many-to-many",
        source_type="virtualization.virtualmachine", destination_type="dcim.device",
    )["id"]  # fmt: skip
    return made


def _type_of(server: Nautobot, location: str) -> str:
    return str(server.ask("GET", f"dcim/locations/{location}/?depth=0")["location_type"]["id"])


def _content_types(server: Nautobot, location: str) -> list[str]:
    known = server.ask("GET", f"dcim/location-types/{_type_of(server, location)}/?depth=0")["content_types"]
    return sorted({*known, "dcim.rack", "dcim.powerpanel", "dcim.device", "virtualization.cluster"})


def cable(server: Nautobot, one: str, one_id: str, other: str, other_id: str) -> str:
    made = server.make(
        "dcim/cables", termination_a_type=f"dcim.{one}", termination_a_id=one_id,
        termination_b_type=f"dcim.{other}", termination_b_id=other_id, status="Connected",
    )  # fmt: skip
    return str(made["id"])


def interface(server: Nautobot, device: str, name: str, **more: Any) -> str:
    made = server.make("dcim/interfaces", device=device, name=name, type="1000base-t", status="Active", **more)
    return str(made["id"])


def assign(server: Nautobot, address: str, port: str, **more: Any) -> str:
    made = server.make("ipam/ip-addresses", address=address, status="Active", **{"namespace": "Global", **more})
    server.make("ipam/ip-address-to-interface", ip_address=made["id"], interface=port)
    return str(made["id"])


def bare(server: Nautobot, name: str, keys: dict[str, str]) -> str:
    """A token of a new account that may view what ``NEEDED`` names, but for the endpoints in ``keys``."""
    user = server.make("users/users", username=name, password="not-used-0123")["id"]
    types = {f"{row['app_label']}.{row['model']}" for row in server.rows("extras/content-types/")}
    allowed = sorted(types - set(keys.values()))
    server.make("users/permissions", name=name, object_types=allowed, users=[user], actions=["view"])
    token = name.encode().hex().ljust(40, "0")[:40]
    server.sql(
        "insert into users_token (id, created, key, write_enabled, description, user_id) "
        f"values (gen_random_uuid(), now(), '{token}', false, '', '{user}')"
    )
    return token


def test_all_there_is_is_read_in_our_words(nautobot: Nautobot, furnished: dict[str, str]):
    reading = read(nautobot)

    kinds = Counter(item.kind for item in reading.items.values())
    types = Counter((tie.type, tie.class_name) for tie in reading.ties.values())
    assert (reading.whole, reading.flaws, reading.problems) == (True, [], [])
    assert (kinds["vm"], kinds["application"], kinds["rack"], kinds["circuit"]) == (100, 50, 1, 1)
    assert kinds["server"] + kinds["network"] == 300
    assert types["connects_to", "cable"] == 290
    assert types["member_of", "cluster"] == 100
    assert types["runs_on", "service of"] == 50
    device = reading.items[furnished["one"]]
    assert (device.name, device.kind, device.owner, device.location) == (
        "dev-000",
        "network",
        "shop",
        "site-0/room-0-0/R1",
    )
    assert device.identifiers[:2] == (Identifier(IdType.SERIAL, "SN00000"), Identifier(IdType.IP, "10.0.0.1"))
    assert reading.items[furnished["room"]].handle == "site-0/room-0-0"
    assert reading.items[furnished["circuit"]].handle == "Acme Net C-77"


def test_power_racks_and_groups_are_ties_in_the_right_direction(nautobot: Nautobot, furnished: dict[str, str]):
    ties = {(tie.source, tie.type, tie.target) for tie in read(nautobot).ties.values()}

    wanted = {
        ("one", "powered_by", "pdu"),
        ("pdu", "powered_by", "feed"),
        ("feed", "powered_by", "panel"),
        ("panel", "located_in", "room"),
        ("one", "located_in", "rack"),
        ("rack", "located_in", "room"),
        ("two", "member_of", "group"),
    }
    assert {(furnished[one], type, furnished[other]) for one, type, other in wanted} <= ties


def test_an_address_identifies_within_its_namespace_and_a_shared_one_not_at_all(
    nautobot: Nautobot, furnished: dict[str, str]
):
    device = read(nautobot).items[furnished["three"]]

    assert Identifier(IdType.IP, "10.9.9.9", "Lab") in device.identifiers
    assert "10.0.0.254" not in {identifier.value for identifier in device.identifiers}
    assert Identifier(IdType.MAC, "02:00:00:00:00:AA") in device.identifiers
    assert device.owner == "NOC", "a support contact counts before the tenant"


def test_interfaces_are_items_where_that_is_asked_for(nautobot: Nautobot, furnished: dict[str, str]):
    reading = read(nautobot, interfaces=True)

    port = reading.items[furnished["interface"]]
    assert (port.kind, port.handle) == ("interface", "dev-002/lab0")
    assert sum(item.kind == "interface" for item in reading.items.values()) == 591
    assert (port.id, "member_of", furnished["three"]) in {(t.source, t.type, t.target) for t in reading.ties.values()}


def test_nothing_that_stays_is_missed_while_others_are_deleted_and_renamed(nautobot: Nautobot):
    before = set(read(nautobot).items)
    devices = nautobot.rows("dcim/devices/?sort=name")[200:230]
    deleted = devices[:3]

    def change(page: int) -> CmdbSource | None:
        if page not in (3, 4, 5):  # the pages of devices begin there
            return None
        nautobot.delete("dcim/devices", deleted[page - 3]["id"])
        nautobot.change("dcim/devices", devices[-page]["id"], name=f"aaa-{page}")
        return source_of(nautobot, page_size=80)

    reading = read(nautobot, between=change, page_size=80)

    assert {id for id in before - set(reading.items) if _exists(nautobot, id)} == set()
    assert reading.whole


def _exists(server: Nautobot, id: str) -> bool:
    paths = ("dcim/devices", "ipam/services")
    return any(server.ask("GET", f"{path}/?id={id}&limit=1&depth=0")["count"] for path in paths)


def test_what_follows_by_deltas_holds_what_a_whole_reading_finds(nautobot: Nautobot, furnished: dict[str, str]):
    copy = Copy()
    copy.apply(read(nautobot))

    changes = change_much(nautobot, furnished)
    delta = read(nautobot, copy.mark)
    copy.apply(delta)
    now = Copy()
    now.apply(read(nautobot))

    assert not delta.whole
    assert changes > 300
    assert len(delta.items) < len(now.items), "what stayed as it was is not read again"
    assert copy.items == now.items
    assert copy.ties == now.ties


def change_much(server: Nautobot, furnished: dict[str, str]) -> int:
    """A few hundred changes; how many."""
    devices = [row for row in server.rows("dcim/devices/?sort=name") if row["name"].startswith("dev-")]
    machines = server.rows("virtualization/virtual-machines/?sort=name")
    rooms = [row for row in server.rows("dcim/locations/") if row["id"] != furnished["room"] and row["parent"]]
    renamed, deleted, planned, moved = devices[20:140], devices[140:170], devices[170:185], devices[185:190]
    server.ask("PATCH", "dcim/devices/", [{"id": row["id"], "name": f"{row['name']}-new"} for row in renamed])
    server.ask("DELETE", "dcim/devices/", [{"id": row["id"]} for row in deleted])
    server.ask("PATCH", "dcim/devices/", [{"id": row["id"], "status": "Planned"} for row in planned])
    server.ask("PATCH", "dcim/devices/", [{"id": row["id"], "location": rooms[0]["id"]} for row in moved])
    server.change("dcim/locations", rooms[1]["id"], name="renamed room")
    server.change("circuits/providers", furnished["provider"], name="Acme Lines")
    server.change("extras/teams", furnished["team"], name="Operations")
    server.change("dcim/devices", furnished["one"], rack=None)
    server.change("dcim/devices", furnished["two"], device_redundancy_group=None)
    server.change("dcim/interfaces", furnished["interface"], mac_address="02:00:00:00:00:BB")
    # Cables: gone, not there yet, new, and one that loses an end.
    cables = server.rows("dcim/cables/?sort=id")
    server.ask("DELETE", "dcim/cables/", [{"id": row["id"]} for row in cables[:30]])
    server.ask("PATCH", "dcim/cables/", [{"id": row["id"], "status": "Planned"} for row in cables[30:50]])
    for number in range(10):
        ends = [interface(server, devices[at]["id"], f"new{number}") for at in (number, number + 190)]
        cable(server, "interface", ends[0], "interface", ends[1])
        assign(server, f"10.0.77.{number + 1}/24", ends[0])
    server.delete("dcim/interfaces", server.rows("dcim/interfaces/?has_cable=true&name=new0")[0]["id"])
    # Machines: to another cluster, onto hosts, away.
    kind = server.rows("virtualization/cluster-types/")[0]["id"]
    cluster = server.make("virtualization/clusters", name="second", cluster_type=kind)["id"]
    server.ask(
        "PATCH", "virtualization/virtual-machines/", [{"id": row["id"], "cluster": cluster} for row in machines[:40]]
    )
    server.ask("DELETE", "virtualization/virtual-machines/", [{"id": row["id"]} for row in machines[90:]])
    server.make("dcim/device-cluster-assignments", device=devices[0]["id"], cluster=cluster)
    for machine, device in zip(machines[:5], devices, strict=False):
        server.make(
            "extras/relationship-associations", relationship=furnished["host"], source_id=machine["id"],
            source_type="virtualization.virtualmachine", destination_id=device["id"], destination_type="dcim.device",
        )  # fmt: skip
    counted = (renamed, deleted, planned, moved, cables[:50], machines[:40], machines[90:])
    return sum(map(len, counted)) + 6 + 10 * 5 + 3 + 5


def test_a_change_log_that_lost_what_the_mark_names_leads_to_a_whole_reading(nautobot: Nautobot):
    mark = read(nautobot).mark
    assert not read(nautobot, mark).whole
    nautobot.sql("delete from extras_objectchange")

    assert read(nautobot, mark).whole


def test_what_the_account_may_not_view_is_named_before_anything_is_read(nautobot: Nautobot):
    token = bare(nautobot, "narrow", {"ipam/ip-addresses": "ipam.ipaddress", "dcim/cables": "dcim.cable"})

    with pytest.raises(Denied, match=r"may not view dcim\.cable, ipam\.ipaddress"):
        read(nautobot, token=token)
    wrong = [finding.subject for finding in source_of(nautobot, token).check() if finding.remedy]
    assert wrong == ["view dcim.cable", "view ipam.ipaddress"]


def test_the_permissions_that_the_page_names_suffice(nautobot: Nautobot):
    token = bare(nautobot, "enough", {})

    assert [finding for finding in source_of(nautobot, token).check() if finding.remedy] == []
    assert read(nautobot, token=token).items == read(nautobot).items
    assert len(source_of(nautobot).check()) == len(NEEDED)


def test_a_wrong_token_and_a_wrong_address_are_told_apart(nautobot: Nautobot):
    with pytest.raises(Denied, match="token_file"):
        read(nautobot, token="f" * 40)
    with pytest.raises(Missing, match="without /api"):
        read(nautobot, url=f"{nautobot.url}/elsewhere")


def test_what_people_change_there_is_in_the_topology_of_a_running_foreshock(nautobot: Nautobot):
    entry = {"name": "inventory", "kind": "nautobot", "url": nautobot.url, "every": "2s"}
    entry["token_file"] = str(nautobot.token_file())
    renamed, deleted, moved = nautobot.rows("dcim/devices/?sort=-name")[:3]
    room = next(row["id"] for row in nautobot.rows("dcim/locations/") if row["id"] != moved["location"]["id"])
    with ForeshockServer(config={"topology": [entry]}) as server:

        def topology() -> dict[str, Any]:
            found: dict[str, Any] = server.get("/api/v1/cmdb/topology")
            return found

        def places(name: str) -> list[str]:
            return [one["target"] for one in topology()["relationships"] if one["source"] == name]

        eventually(lambda: server.get("/api/v1/status")["cis"] > 300, within_s=240, what="the first topology")
        before = places(moved["name"])
        nautobot.change("dcim/devices", renamed["id"], name="renamed-by-people")
        nautobot.delete("dcim/devices", deleted["id"])
        nautobot.change("dcim/devices", moved["id"], location=room, rack=None)

        names = eventually(
            lambda: (found := {ci["name"] for ci in topology()["cis"]}) & {"renamed-by-people"} and found,
            within_s=240,
            what="the new name",
        )
        eventually(lambda: places(moved["name"]) != before, within_s=240, what="the new place")
        eventually(
            lambda: deleted["name"] not in {ci["name"] for ci in topology()["cis"]}, within_s=240, what="the deletion"
        )
        [status] = server.get("/api/v1/cmdb/status")["sources"]

    assert renamed["name"] not in names
    assert status["outcome"] in ("changed", "unchanged")
