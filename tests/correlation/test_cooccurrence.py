"""What history has shown to begin together, applied to what begins now."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.relate import Candidate, Traces, View
from correlation.rule import Rule, RuleInstance, RuleKind, build
from correlation.rules import cooccurrence
from correlation.settings import RelateSettings
from foreshock.core.identity import fingerprint
from foreshock.core.learned import CoOccurrence, Learned, Side, Standing, versioned
from foreshock.core.model import CI, Alert, Relationship, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, holding, seconds

KINDS: dict[str, RuleKind] = {"cooccurrence": cooccurrence.RULE}
KNOWN = Topology(
    [CI(id=id, kind=id[:-1]) for id in ("vm1", "vm2", "host1", "host2", "switch1")],
    [Relationship(source=f"vm{n}", type="runs_on", target=f"host{n}") for n in (1, 2)],
)


def pair(a: Side, b: Side, standing: Standing | None = None, **fields: Any) -> CoOccurrence:
    told: dict[str, Any] = {"together": 17, "times": 20, "expected": 0.4, "strength": 0.8, "window_s": 20.0}
    return CoOccurrence(a=a, b=b, standing=standing, **{**told, "lag_s": (5.0, 8.0, 12.0), **fields})


LINK_AND_DISK = pair(Side(name="LinkDown", ci="switch1"), Side(name="DiskSlow", ci="host2"))


def rule(*pairs: CoOccurrence) -> Rule:
    learned = versioned(Learned(pairs=pairs))
    (built,) = build([RuleInstance(name="cooccurrence", kind="cooccurrence")], KINDS, learned)
    return built


def alert(name: str, ci: str, began_s: float = 0.0) -> Alert:
    at, labels = NOON + seconds(began_s), {"alertname": name, "host": ci}
    return Alert(
        fingerprint=fingerprint(labels), source="events", labels=bytes(encode_texts(labels)), annotations=b"{}",
        severity=Severity.MAJOR, starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def related(
    one: Rule, new: Alert, *open_: Alert, threshold: float = 0.0, topology: Topology = KNOWN
) -> list[Candidate]:
    """What the rule says of ``new`` while each of ``open_`` has a situation of its own: S-1, S-2, …"""
    traces = Traces()
    assert one.index is not None
    for number, other in enumerate(open_, 1):
        traces.add(holding(f"S-{number}", other), other)
        one.index.add(f"S-{number}", other)
    found = one.relate(new, View(traces, topology, RelateSettings(), threshold))
    return sorted(found, key=lambda candidate: candidate.situation)


def test_nothing_learned_says_nothing():
    assert related(rule(), alert("DiskSlow", "host2", 8), alert("LinkDown", "switch1")) == []


def test_two_alerts_that_began_together_before_are_related_again():
    (found,) = related(rule(LINK_AND_DISK), alert("DiskSlow", "host2", 8), alert("LinkDown", "switch1"))

    assert (found.situation, found.strength) == ("S-1", 0.8)
    assert found.evidence == (
        "LinkDown on switch1 and DiskSlow on host2 began within 20 s of each other in 17 of the last 20 times; "
        "chance explains 0.4"
    )


def test_it_does_not_matter_which_of_them_is_heard_of_first():
    (found,) = related(rule(LINK_AND_DISK), alert("LinkDown", "switch1", 0), alert("DiskSlow", "host2", 8))

    assert found.strength == 0.8


@pytest.mark.parametrize(
    ("lag_s", "strength"),
    [(5, 0.8), (12, 0.8), (32, 0.4), (-15, 0.4), (52, 0.16), (73, None), (-56, None)],
    ids=["the lowest usual", "the highest", "a window late", "a window early", "two late", "too late", "too early"],
)
def test_an_unusual_lag_weakens_the_link(lag_s: float, strength: float | None):
    found = related(
        rule(LINK_AND_DISK), alert("DiskSlow", "host2", lag_s), alert("LinkDown", "switch1"), threshold=0.01
    )

    assert [candidate.strength for candidate in found] == ([] if strength is None else [pytest.approx(strength)])


def test_the_version_of_the_table_is_in_the_tag():
    learned = versioned(Learned(pairs=(LINK_AND_DISK,)))

    assert learned.version
    assert rule(LINK_AND_DISK).tag.endswith(f".{learned.version}")


def test_another_alert_on_the_same_cis_is_not_meant():
    assert related(rule(LINK_AND_DISK), alert("CpuHigh", "host2", 8), alert("LinkDown", "switch1")) == []


def test_a_pair_of_cis_holds_for_any_alert_on_them():
    both = pair(Side(ci="switch1"), Side(ci="x-unknown"))

    (found,) = related(rule(both), alert("Whatever", "x-unknown", 8), alert("LinkDown", "switch1"))

    assert found.evidence.startswith("anything on switch1 and anything on x-unknown began")


def test_a_pair_of_kinds_holds_for_machines_never_seen():
    down = pair(
        Side(name="VmDown", kind="vm"), Side(name="HostDown", kind="host"), Standing.NEEDED, lag_s=(-12, -8, -5)
    )
    hosts = [alert("HostDown", "host1"), alert("HostDown", "host2")]

    (found,) = related(rule(down), alert("VmDown", "vm2", 8), *hosts)
    (other_way,) = related(rule(down), alert("HostDown", "host2"), alert("VmDown", "vm1", 8), alert("VmDown", "vm2", 8))

    assert (found.situation, found.strength) == ("S-2", 0.8), "the host it runs on, and no other"
    assert other_way.situation == "S-2"
    assert "on a CI and on what it depends on" in found.evidence


def test_names_alike_relate_where_a_pair_says_so():
    alike = pair(Side(name="Slow"), Side(name="Queue"), Standing.ALIKE)

    (found,) = related(
        rule(alike), alert("Queue", "ams-web-7", 8), alert("Slow", "ams-web-3"), alert("Slow", "fra-web-3")
    )

    assert found.situation == "S-1"


def test_classes_alone_relate_only_what_the_topology_does_not_know():
    classes = pair(Side(name="RpcError"), Side(name="QueueFull"), Standing.UNKNOWN)

    assert related(rule(classes), alert("QueueFull", "vm1", 8), alert("RpcError", "vm2")) == []
    assert [c.strength for c in related(rule(classes), alert("QueueFull", "u1", 8), alert("RpcError", "vm2"))] == [0.8]
    assert [c.strength for c in related(rule(classes), alert("QueueFull", "vm1", 8), alert("RpcError", ""))] == [0.8]


def test_several_situations_share_what_classes_alone_say():
    classes = pair(Side(name="RpcError"), Side(name="QueueFull"), Standing.UNKNOWN)

    found = related(rule(classes), alert("QueueFull", "u1", 8), alert("RpcError", "vm1"), alert("RpcError", "vm2"))

    assert [candidate.strength for candidate in found] == [0.4, 0.4]


def test_what_is_weaker_than_anybody_acts_on_is_left_out():
    new, open_ = alert("DiskSlow", "host2", 8), alert("LinkDown", "switch1")

    assert related(rule(LINK_AND_DISK), new, open_, threshold=0.81) == []


def test_an_alert_whose_situation_is_over_is_forgotten():
    one, gone = rule(LINK_AND_DISK), alert("LinkDown", "switch1")
    assert one.index is not None
    one.index.add("S-1", gone)
    one.index.drop("S-2", [gone])
    assert len(related(one, alert("DiskSlow", "host2", 8))) == 1
    one.index.drop("S-1", [gone])

    assert related(one, alert("DiskSlow", "host2", 8)) == []


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["add", "drop", "move"]), st.sampled_from(["LinkDown", "DiskSlow"]),
        st.sampled_from(["switch1", "host2", "u1"]), st.sampled_from(["S-1", "S-2"]), st.integers(-30, 30),
    ),
    max_size=25,
)  # fmt: skip


@given(MOVES, st.randoms(use_true_random=False))
def test_an_index_holds_what_is_open_however_it_came_to_be(moves: list[tuple[str, str, str, str, int]], random: Any):
    """Built anew in any order from what is open, it answers as the one that saw it all."""
    pairs = (
        LINK_AND_DISK,
        pair(Side(name="LinkDown"), Side(name="DiskSlow"), Standing.UNKNOWN, strength=0.7),
        pair(Side(name="DiskSlow", kind=""), Side(name="LinkDown", kind=""), Standing.ALIKE, strength=0.6),
    )
    lived, fresh, open_ = rule(*pairs), rule(*pairs), dict[str, tuple[str, Alert]]()
    assert lived.index is not None
    assert fresh.index is not None
    for what, name, ci, situation, began_s in moves:
        one = alert(name, ci, began_s)
        if what == "add":
            open_[one.fingerprint] = situation, one
            lived.index.add(situation, one)
        elif what == "move" and one.fingerprint in open_:
            open_[one.fingerprint] = open_[one.fingerprint][0], one
            lived.index.moved(open_[one.fingerprint][0], one)
        elif what == "drop" and one.fingerprint in open_ and open_[one.fingerprint][0] == situation:
            del open_[one.fingerprint]
            lived.index.drop(situation, [one])
    left = list(open_.values())
    random.shuffle(left)
    for situation, one in left:
        fresh.index.add(situation, one)

    for new in (alert("DiskSlow", "host2", 3), alert("LinkDown", "switch1"), alert("DiskSlow", "u9", 1)):
        assert related(lived, new) == related(fresh, new)
