"""Which group gets the ticket, and what people are told of why."""

import pytest

from correlation.assign import Assigned, assigned
from correlation.settings import AssignmentRule, AssignmentSettings, CorrelationSettings
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology
from foreshock.testing.situations import alert

NOBODY = AssignmentSettings()
FRANKFURT = AssignmentSettings(
    rules=(
        AssignmentRule(name="disks", kind="disk", environment="prod", group="storage"),
        AssignmentRule(name="frankfurt", ci="FRA-*", group="dc-frankfurt"),
        AssignmentRule(name="by site", matchers=("site=~muc.*",), group="dc-munich"),
    ),
    default="noc",
)


def topology(*relations: str, **owners: str) -> Topology:
    ties = [Relationship(source=s, type=t, target=o) for s, t, o in (relation.split() for relation in relations)]
    names = dict.fromkeys([*(name for tie in ties for name in (tie.source, tie.target)), *owners])
    return Topology([CI(id=name, owner=owners.get(name, "")) for name in names], ties)


def test_the_owner_of_the_likeliest_cause_gets_it():
    found = assigned(["db", "esx"], [], topology(db="dba", esx="compute"), NOBODY)

    assert found == Assigned("dba", "owner of db, the likeliest cause")


def test_where_the_cause_has_no_owner_that_of_the_nearest_thing_that_depends_on_it_does():
    known = topology("db runs_on vm", "shop depends_on db", db="dba", shop="web")

    assert assigned(["vm"], [], known, NOBODY) == Assigned(
        "dba", "owner of db, which depends on vm, the likeliest cause"
    )


def test_a_business_service_far_above_is_found_too():
    chain = ("shop depends_on a", "a depends_on b", "b depends_on c", "c depends_on d", "d runs_on vm")
    cis = [CI(id=name) for name in ("a", "b", "c", "d", "vm")]
    ties = [Relationship(source=s, type=t, target=o) for s, t, o in (relation.split() for relation in chain)]
    known = Topology([*cis, CI(id="shop", owner="web", criticality=1)], ties)

    assert "shop" not in known.walk_down("vm")
    assert assigned(["vm"], [], known, NOBODY).group == "web"


def test_a_cause_that_nobody_is_known_for_leaves_it_to_the_next_candidate():
    found = assigned(["vm", "db"], [], topology(vm="", db="dba"), NOBODY)

    assert found == Assigned("dba", "owner of db, the second candidate; nobody is known for vm")


def test_rules_name_a_group_by_name_kind_and_environment():
    known = Topology([CI(id="d1", kind="disk", environment="prod"), CI(id="d2", kind="disk"), CI(id="x", name="fra-7")])

    assert assigned(["d1"], [], known, FRANKFURT).group == "storage"
    assert assigned(["d2"], [], known, FRANKFURT).group == "noc"
    assert assigned(["x"], [], known, FRANKFURT) == Assigned(
        "dc-frankfurt", "rule frankfurt fits x, the likeliest cause"
    )
    assert assigned(["fra-8"], [], known, FRANKFURT).group == "dc-frankfurt"


def test_rules_name_a_group_by_the_labels_of_the_alerts_on_the_ci():
    in_munich, elsewhere = alert("db", b'{"alertname":"A","site":"muc-1"}'), alert("web", b'{"alertname":"A"}')

    assert assigned(["db"], [elsewhere, in_munich], Topology(), FRANKFURT).group == "dc-munich"
    assert assigned(["web"], [elsewhere, in_munich], Topology(), FRANKFURT).group == "noc"
    assert assigned([], [in_munich], Topology(), FRANKFURT).group == "dc-munich"


def test_an_owner_weighs_more_than_a_rule():
    assert assigned(["fra-1"], [], topology(**{"fra-1": "web"}), FRANKFURT).group == "web"


def test_the_ci_that_all_under_an_umbrella_have_in_common_comes_first():
    found = assigned(["db"], [], topology(db="dba", switch="network"), NOBODY, common="switch")

    assert found == Assigned("network", "owner of switch, which all of it has in common")


def test_the_default_says_for_whom_nobody_is_known():
    assert assigned(["a", "b"], [], Topology(), FRANKFURT) == Assigned(
        "noc", "nobody is known for a, b: the default group"
    )
    assert assigned([], [], Topology(), FRANKFURT).reason == "no CI is known to be the cause: the default group"
    assert assigned(["a"], [], Topology(), NOBODY) == Assigned("", "nobody is known for a")


def test_a_rule_that_fits_everything_is_refused():
    with pytest.raises(ValueError, match="fits everything"):
        AssignmentRule(name="all", group="noc")


def test_two_rules_of_one_name_are_refused():
    rule = {"name": "a", "kind": "vm", "group": "x"}

    with pytest.raises(ValueError, match="two are called 'a'"):
        CorrelationSettings.model_validate({"assignment": {"rules": [rule, rule]}})


def test_names_with_braces_are_only_names():
    tie = Relationship(source="s", type="depends_on", target="{0}")
    known = Topology([CI(id="{0}"), CI(id="s", name="{x}", owner="web")], [tie])

    assert assigned(["{0}"], [], known, NOBODY).reason == "owner of {x}, which depends on {0}, the likeliest cause"
