"""Which objects of several sources are one thing."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.cmdb import Identifier, IdType, Item
from foreshock.core.model import CI
from foreshock.core.reconcile import RULES, ConflictKind, Reconciled, Ref, Rules, Said, keys, reconcile

RULED = Rules(sources=("cmdb", "netbox", "cloud"), kinds={"cmdb": "servicenow", "netbox": "netbox", "cloud": "aws"})


def said(source: str, name: str, *identifiers: str, id: str = "", **more: Any) -> Said:
    """An object of a source; its identifiers as ``serial A1`` or ``ip 10.0.0.1 vrf1``."""
    typed = [text.split() for text in identifiers]
    found = tuple(Identifier(IdType(type), value, *scope) for type, value, *scope in typed)
    given = {"kind": "server", **more}
    return Said(source, Item(id=id or f"{source}-{name}", name=name, identifiers=found, **given))


def made(*objects: Said, known: Mapping[Ref, str] | None = None, **more: Any) -> Reconciled:
    return reconcile(objects, more.pop("rules", RULED), known or {}, lambda id: False, more.pop("since", None))


def groups(found: Reconciled) -> list[list[str]]:
    """Objects that are one, as ``source:id``."""
    homes: dict[str, list[str]] = {}
    for (source, id), ci in found.ids.items():
        homes.setdefault(ci, []).append(f"{source}:{id}")
    return sorted(sorted(one) for one in homes.values())


def joined(*objects: Said) -> bool:
    return len(made(*objects).cis) < len(objects)


def kinds(found: Reconciled) -> list[ConflictKind]:
    return [conflict.kind for conflict in found.conflicts]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (said("cmdb", "a", "serial CZ3-401"), said("netbox", "b", "serial cz3-401")),
        (said("cmdb", "a", "uuid 4C4C4544-0051-3010"), said("netbox", "b", "uuid {4c4c454400513010}", kind="vm")),
        (said("cmdb", "a", "provider i-0abc 1234"), said("cloud", "b", "provider i-0abc 1234", kind="vm")),
        (said("cmdb", "a", "mac 00:50:56:AA:BB:01"), said("netbox", "b", "mac 0050.56aa.bb01")),
        (said("cmdb", "a", "fqdn web1.shop.example."), said("netbox", "WEB1.shop.example")),
        (said("cmdb", "10.1.2.3"), said("netbox", "web1", "ip 10.1.2.3/24")),
        (said("cmdb", "web1"), said("netbox", "WEB1", kind="vm")),
        (said("cmdb", "web1"), said("netbox", "web1.shop.example")),
        (said("cmdb", "a", "asset_tag INV-77"), said("netbox", "b", "asset_tag inv-77")),
        (said("cmdb", "x", id="0f3a"), said("netbox", "y", "record 0f3a servicenow", kind="rack")),
        (said("cmdb", "cart", kind="application"), said("netbox", "Cart", kind="application")),
        (said("cmdb", "web1"), said("netbox", "web1", kind="generic")),
        (said("cmdb", "web1", environment="Production"), said("netbox", "web1", environment="prod")),
        (said("cmdb", "Zürich", kind="location"), said("netbox", "Zu\u0308rich", kind="location")),
    ],
)
def test_what_is_known_by_the_same_is_one(one: Said, other: Said):
    assert joined(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (said("cmdb", "web1", "serial AAAA1"), said("netbox", "web1", "serial BBBB2")),
        (said("cmdb", "web1", "uuid 11112222"), said("netbox", "web1", "uuid 33334444")),
        (said("cmdb", "web1", "ip 10.0.0.1"), said("netbox", "web1", "ip 10.0.0.2")),
        (said("cmdb", "web1.a.example"), said("netbox", "web1.b.example")),
        (said("cmdb", "web1", environment="production"), said("netbox", "web1", environment="test")),
        (said("cmdb", "web1", "ip 10.0.0.9"), said("netbox", "db1", "ip 10.0.0.9")),
        (said("cmdb", "10.0.0.9"), said("netbox", "db1", "ip 10.0.0.9 vrf-blue")),
        (said("cmdb", "cart", kind="service"), said("netbox", "cart", kind="application")),
        (said("cmdb", "cart", "fqdn a.example", kind="application"), said("netbox", "web", "fqdn a.example")),
        (said("cmdb", "eth0", kind="interface"), said("netbox", "eth0", kind="interface")),
        (said("cmdb", "a", "serial 0"), said("netbox", "b", "serial 0")),
        (said("cmdb", "a", "serial 00000000"), said("netbox", "b", "serial 00000000")),
        (said("cmdb", "a", "uuid 00000000-0000"), said("netbox", "b", "uuid 00000000-0000")),
        (said("cmdb", "a", "mac 02:42:ac:11:00:02"), said("netbox", "b", "mac 02:42:ac:11:00:02")),
        (said("cmdb", "127.0.0.1"), said("netbox", "b", "ip 127.0.0.1")),
        (said("cmdb", "localhost"), said("netbox", "localhost")),
        (said("cmdb", "a", "provider vm-12 one"), said("cloud", "b", "provider vm-12 other")),
        (said("cmdb", "web1", id="0f3a"), said("netbox", "web1", "record 0f3b servicenow")),
        (said("cmdb", "web1", kind="generic", class_name="cmdb_ci_website"), said("netbox", "web1")),
        (said("cmdb", "a", "serial AAAA1"), said("cmdb", "b", "serial AAAA1")),
    ],
)
def test_what_only_looks_alike_stays_two(one: Said, other: Said):
    assert not joined(one, other)


def test_a_serial_number_that_the_maker_left_out_joins_nothing():
    filled = Identifier(IdType.SERIAL, "To be filled by O.E.M.")
    one = Said("cmdb", Item(id="1", name="a", kind="server", identifiers=(filled,)))
    other = Said("netbox", Item(id="2", name="b", kind="server", identifiers=(filled,)))

    assert not joined(one, other)


def test_a_placeholder_of_the_users_own_joins_nothing():
    both = said("cmdb", "a", "serial SPARE-PART"), said("netbox", "b", "serial SPARE-PART")

    found = made(*both, rules=Rules(sources=("cmdb", "netbox"), placeholders=("spare-part",)))

    assert len(found.cis) == 2


def test_two_machines_that_share_a_name_are_told_of():
    found = made(said("cmdb", "web1", "serial AAAA1"), said("netbox", "web1", "serial BBBB2"))

    assert set(found.cis) == {"web1", "web1 (netbox:netbox-web1)"}
    assert ConflictKind.CONTRADICTION in kinds(found)
    told = next(one for one in found.conflicts if one.kind is ConflictKind.CONTRADICTION)
    assert "serial 'aaaa1' is not 'bbbb2'" in told.detail


def test_a_name_that_could_mean_two_objects_of_another_source_joins_neither():
    found = made(said("cmdb", "web1"), said("netbox", "web1", id="17"), said("netbox", "web1", id="18"))

    assert len(found.cis) == 3
    assert ConflictKind.AMBIGUOUS in kinds(found)


def test_a_third_object_does_not_glue_what_contradicts():
    found = made(
        said("cmdb", "a", "serial AAAA1", "fqdn web1.shop.example"),
        said("netbox", "web1", "fqdn web1.shop.example"),
        said("cloud", "web1", "serial CCCC3"),
    )

    assert groups(found) == [["cloud:cloud-web1"], ["cmdb:cmdb-a", "netbox:netbox-web1"]]
    assert ConflictKind.CONTRADICTION in kinds(found)


def test_what_joined_before_speaks_against_what_would_join_next():
    found = made(
        said("cmdb", "10.0.0.1"),
        said("netbox", "web1", "ip 10.0.0.1", "fqdn web1.a.example"),
        said("cloud", "web1", "fqdn web1.b.example"),
    )

    assert groups(found) == [["cloud:cloud-web1"], ["cmdb:cmdb-10.0.0.1", "netbox:netbox-web1"]]


def test_an_id_that_a_renamed_ci_elsewhere_still_has_is_given_to_nobody_else():
    found = reconcile([said("cmdb", "web1", id="7")], RULED, {}, {"web1", "web1 (cmdb:7)"}.__contains__)

    assert set(found.cis) == {"web1 (cmdb:7) (cmdb:7)"}
    assert kinds(found) == [ConflictKind.NAME]


def test_a_virtual_machine_joins_the_virtual_machine_and_not_the_server_of_the_same_name():
    found = made(
        said("cmdb", "web1", id="server"), said("cmdb", "web1", id="vm", kind="vm"), said("netbox", "web1", kind="vm")
    )

    assert groups(found) == [["cmdb:server"], ["cmdb:vm", "netbox:netbox-web1"]]


def test_two_records_of_one_source_with_the_same_serial_number_are_suspected_to_be_one():
    found = made(said("cmdb", "a", "serial AAAA1"), said("cmdb", "b", "serial AAAA1"))

    assert kinds(found) == [ConflictKind.DUPLICATE]


def test_a_record_that_is_retired_steps_back_for_its_successor():
    found = made(
        said("cmdb", "web1", "serial AAAA1", id="old", retired=True),
        said("cmdb", "web1", "serial AAAA1", id="new"),
        said("netbox", "web1", "serial AAAA1"),
        known={("cmdb", "old"): "web1"},
    )

    assert found.ids == {("cmdb", "new"): "web1", ("netbox", "netbox-web1"): "web1"}


def test_what_is_retired_where_the_leading_source_says_so_is_out_and_told():
    found = made(said("cmdb", "web1", retired=True), said("netbox", "web1"))

    assert not found.cis
    assert made(said("cmdb", "web1"), said("netbox", "web1", retired=True)).cis.keys() == {"web1"}
    assert kinds(made(said("cmdb", "web1"), said("netbox", "web1", retired=True))) == [ConflictKind.RETIRED]


def test_attributes_are_those_of_the_first_source_that_says_any():
    one = said("cmdb", "web1", owner="", criticality=2, environment="prod")
    other = said("netbox", "web1", owner="Network", criticality=3, environment="production")

    ci = made(one, other).cis["web1"]

    assert (ci.owner, ci.criticality, ci.environment) == ("Network", 2, "prod")


def test_precedence_can_be_set_for_an_attribute_and_the_difference_is_told():
    both = said("cmdb", "web1", owner="Linux"), said("netbox", "web1", owner="Network")

    found = made(*both, rules=Rules(sources=("cmdb", "netbox"), precedence={"owner": ("netbox",)}))

    assert found.cis["web1"].owner == "Network"
    assert [conflict.detail for conflict in found.conflicts] == [
        "owner is 'Linux' in cmdb, 'Network' in netbox; taken: 'Network'"
    ]


def test_all_names_of_all_sources_are_aliases():
    found = made(
        said("cmdb", "web1", "fqdn web1.shop.example", "serial CZ3401", id="0f3a0f3a0f3a0f3a"),
        said("netbox", "web1", "ip 10.1.2.3/24 blue", "uuid 4C4C4544-0051", id="17"),
    )

    assert set(found.cis["web1"].aliases) == {
        "web1.shop.example", "CZ3401", "0f3a0f3a0f3a0f3a", "10.1.2.3", "blue/10.1.2.3", "4C4C4544-0051",
    }  # fmt: skip


def test_why_objects_are_one_is_said():
    found = made(said("cmdb", "web1", "serial AAAA1"), said("netbox", "web1", "serial AAAA1"))

    assert found.because == {"web1": ("serial aaaa1",)}


def test_an_id_once_given_stays_when_the_object_is_renamed():
    found = made(said("cmdb", "web9", id="1"), known={("cmdb", "1"): "web1"})

    assert set(found.cis) == {"web1"}
    assert found.cis["web1"].name == "web9"


def test_a_thing_keeps_its_id_when_the_leading_source_knows_it_no_more():
    assert set(made(said("netbox", "web2"), known={("netbox", "netbox-web2"): "web1"}).cis) == {"web1"}


def test_of_two_that_become_one_the_older_id_stays():
    both = said("cmdb", "a", "serial AAAA1"), said("netbox", "b", "serial AAAA1")
    known = {("cmdb", "cmdb-a"): "a", ("netbox", "netbox-b"): "b"}

    assert set(made(*both, known=known).cis) == {"a"}
    assert set(made(*both, known=known, since=lambda ref: 9 if ref[0] == "cmdb" else 3).cis) == {"b"}


def test_of_one_that_becomes_two_the_older_member_keeps_the_id():
    both = said("cmdb", "web1", "serial AAAA1"), said("netbox", "web1", "serial BBBB2")
    known = {("cmdb", "cmdb-web1"): "web1", ("netbox", "netbox-web1"): "web1"}

    found = made(*both, known=known, since=lambda ref: 9 if ref[0] == "cmdb" else 3)

    assert found.ids == {("netbox", "netbox-web1"): "web1", ("cmdb", "cmdb-web1"): "web1 (cmdb:cmdb-web1)"}


def test_a_rule_that_is_not_in_force_joins_nothing():
    both = said("cmdb", "web1"), said("netbox", "web1")

    assert len(made(*both, rules=Rules(identify=tuple(name for name in RULES if name != "name"))).cis) == 2


# ---- whatever comes -------------------------------------------------------------------------------------------------

VALUES = {
    IdType.SERIAL: ("S-111", "S-222", "0"),
    IdType.UUID: ("aaaa-bbbb", "cccc-dddd"),
    IdType.IP: ("10.0.0.1", "10.0.0.2"),
    IdType.FQDN: ("web1.a.example", "web1.b.example"),
    IdType.MAC: ("00:50:56:00:00:01", "00:50:56:00:00:02"),
    IdType.RECORD: ("1", "2"),
}
identifiers = st.sampled_from([(type, value) for type, values in VALUES.items() for value in values]).map(
    lambda one: Identifier(*one, scope="cmdb" if one[0] is IdType.RECORD else "")
)
objects = st.builds(
    Item,
    id=st.sampled_from("123"),
    name=st.sampled_from(["web1", "WEB1", "web1.a.example", "db1", "eth0", ""]),
    kind=st.sampled_from(["server", "vm", "service", "generic", "interface"]),
    class_name=st.sampled_from(["", "cmdb_ci_foo"]),
    handle=st.sampled_from(["", "", "", "web1"]),
    identifiers=st.lists(identifiers, max_size=3).map(tuple),
    owner=st.sampled_from(["", "one", "two"]),
    environment=st.sampled_from(["", "prod", "test"]),
    retired=st.sampled_from([False, False, False, True]),
)
States = dict[Ref, Item]
states = st.dictionaries(st.sampled_from(RULED.sources), st.lists(objects, max_size=3)).map(
    lambda by: {(source, item.id): item for source, items in by.items() for item in items}
)


def whole(state: Mapping[Ref, Item], known: Mapping[Ref, str], since: Mapping[Ref, int]) -> Reconciled:
    return reconcile([Said(ref[0], item) for ref, item in state.items()], RULED, known, _nobody, _since(since))


def _nobody(id: str) -> bool:
    return False


def _since(since: Mapping[Ref, int]) -> Any:
    return lambda ref: since.get(ref, 0)


def touched(before: States, after: States, known: Mapping[Ref, str]) -> set[Ref]:
    """Closed under shared keys and shared CIs, from what changed."""
    found = {ref for ref in {*before, *after} if before.get(ref) != after.get(ref)}
    held = {ref: set(keys(item)) for ref, item in after.items()}
    reached = {key for ref in found for state in (before, after) if ref in state for key in keys(state[ref])}
    while True:
        homes = {known[ref] for ref in found if ref in known}
        more = {ref for ref in after if known.get(ref) in homes or reached & held[ref]} - found
        if not more:
            return found
        found |= more
        reached |= {key for ref in more for key in held[ref]}


@settings(max_examples=100, deadline=None)
@given(st.lists(states, min_size=2, max_size=5), st.randoms())
def test_what_a_change_touches_comes_out_as_everything_does(course: list[States], random: Any):
    known: dict[Ref, str] = {}
    since: dict[Ref, int] = {}
    before: States = {}
    cis: dict[str, CI] = {}
    for version, after in enumerate(course):
        known = {ref: ci for ref, ci in known.items() if ref in after or ref in before}
        group = touched(before, after, known)
        inside = {ref: ci for ref, ci in known.items() if ref in group and ref in after}
        outside = {ref: ci for ref, ci in known.items() if ref not in group}
        parts = [Said(ref[0], after[ref]) for ref in sorted(group) if ref in after]
        random.shuffle(parts)
        part = reconcile(parts, RULED, inside, set(outside.values()).__contains__, _since(since))
        all_known = {ref: ci for ref, ci in known.items() if ref in after}
        every = whole(after, all_known, since)

        homes = {**outside, **part.ids}
        assert homes == every.ids
        cis = {id: ci for id, ci in cis.items() if id in outside.values()} | dict(part.cis)
        assert cis == every.cis
        since = {ref: since[ref] if known.get(ref) == id else version for ref, id in homes.items()}
        known, before = dict(homes), after


@settings(max_examples=100, deadline=None)
@given(states, st.randoms())
def test_the_order_of_objects_changes_nothing(state: States, random: Any):
    shuffled = list(state.items())
    random.shuffle(shuffled)

    assert whole(dict(shuffled), {}, {}) == whole(state, {}, {})


@settings(max_examples=150, deadline=None)
@given(states)
def test_nothing_that_contradicts_is_ever_one(state: States):
    found = whole(state, {}, {})

    for members in _members(state, found.ids):
        assert len({source for source, _ in members}) == len(members), "two objects of one source are two things"
        for type in (IdType.SERIAL, IdType.UUID):
            values = [{one.value for one in state[ref].identifiers if one.type is type} - {"0"} for ref in members]
            told = [some for some in values if some]
            if len(told) == len(members) == 2:
                assert told[0] & told[1]


@settings(max_examples=100, deadline=None)
@given(states)
def test_a_second_look_changes_nothing(state: States):
    found = whole(state, {}, {})
    again = whole(state, found.ids, {})

    assert again.ids == found.ids
    assert again.cis == found.cis


@settings(max_examples=100, deadline=None)
@given(states)
def test_each_object_in_use_is_in_the_topology_unless_a_source_before_it_says_retired(state: States):
    found = whole(state, {}, {})

    for ref, item in state.items():
        assert item.retired or found.ids.get(ref) in found.cis or any(other.retired for other in state.values())
    if not any(item.retired for item in state.values()):
        assert set(found.ids) == set(state)
        assert set(found.cis) == set(found.ids.values())


def _members(state: States, ids: Mapping[Ref, str]) -> Iterable[list[Ref]]:
    for ci in set(ids.values()):
        yield [ref for ref in state if ids.get(ref) == ci]
