"""Alerts of which the topology knows hardly anything, at moments at which much begins."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from correlation.nearby import Nearby
from correlation.relate import Candidate, Traces, View, link
from correlation.rule import Rule, RuleInstance, build
from correlation.rules.simultaneity import RULE
from correlation.settings import RelateSettings
from foreshock.core.model import CI, Alert, Relationship, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds


def tie(source: str, target: str) -> Relationship:
    return Relationship(source=source, type="depends_on", target=target)


HOSTS = [CI(id=f"host{n}", kind="host") for n in range(300)]
ESTATE = Topology(
    [CI(id="lonely", kind="host"), CI(id="core", kind="switch"), CI(id="web", kind="service"), CI(id="db"), *HOSTS],
    [tie("web", "db"), *(tie(host.id, "core") for host in HOSTS)],
    version="t1",
)


def alert(name: str, at_s: float = 0, ci: str = "") -> Alert:
    at = NOON + seconds(at_s)
    return Alert(
        fingerprint=name, source="alertmanager", labels=bytes(encode_texts({"alertname": name})), annotations=b"{}",
        severity=Severity.MAJOR, starts_at=at, first_seen=at, last_seen=at, ci=ci,
    )  # fmt: skip


def burst(situation: str, alerts: int, at_s: float = 0) -> list[Alert]:
    return [alert(f"{situation}-{each}", at_s + each / 1000, "db") for each in range(alerts)]


def rule(**config: Any) -> Rule:
    (built,) = build([RuleInstance(name="moment", kind="simultaneity", config=config)], {"simultaneity": RULE})
    return built


def candidates(made: Rule, new: Alert, open_: Mapping[str, Sequence[Alert]], threshold: float = 0.4) -> list[Candidate]:
    assert made.index is not None
    for situation, alerts in open_.items():
        for one in alerts:
            made.index.add(situation, one)
    view = View(Traces(), ESTATE, RelateSettings(), threshold)
    view.now = new.last_seen
    return list(made.relate(new, view))


@pytest.mark.parametrize("ci", ["lonely", "host7", "", "a name nobody knows"])
def test_what_the_topology_hardly_knows_is_related_to_what_begins_at_that_moment(ci: str):
    made = rule()
    new = alert("new", 0.4, ci)
    storm = burst("S-1", 40)

    (found,) = candidates(made, new, {"S-1": storm, "S-2": [alert("else", -20, "web")]})

    assert (found.situation, found.other) == ("S-1", "S-1-39")
    assert 0.5 < found.strength < 1
    reason = made.describe(link(new, found, storm[-1], ESTATE))
    assert reason.startswith("40 of 40 alerts that began at that moment are there")


def test_a_ci_whose_relationships_are_known_is_never_related_by_the_moment_alone():
    assert candidates(rule(), alert("new", 0.4, "web"), {"S-1": burst("S-1", 40)}) == []


def test_a_few_alerts_are_no_burst():
    assert candidates(rule(), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 2)}) == []


def test_what_began_some_seconds_before_says_nothing():
    assert candidates(rule(), alert("new", 3, "lonely"), {"S-1": burst("S-1", 40)}) == []


def test_of_two_bursts_at_one_moment_neither_is_sure():
    both = {"S-1": burst("S-1", 40), "S-2": burst("S-2", 40)}

    found = candidates(rule(), alert("new", 0.4, "lonely"), both, threshold=0)

    assert [each.strength < 0.5 for each in found] == [True, True]


def test_where_problems_begin_all_the_time_a_moment_says_less():
    calm = candidates(rule(), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 20)}, threshold=0)
    strays = {f"S-{2 + each}": [alert(f"stray{each}", -60 - each % 30, "web")] for each in range(200)}
    busy = candidates(rule(), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 20), **strays}, threshold=0)

    assert busy[0].strength < 0.4 < calm[0].strength


def test_a_moment_at_which_something_begins_nearly_everywhere_says_nothing():
    everywhere = {f"S-{each}": burst(f"S-{each}", 3) for each in range(65)}

    assert candidates(rule(), alert("new", 0.4, "lonely"), everywhere, threshold=0) == []


def test_what_nobody_asks_about_is_forgotten_all_the_same():
    made = rule(window="1m")
    assert isinstance(made.index, Nearby)
    for number in range(1000):
        made.index.add(f"S-{number}", alert(f"a{number}", number * 10.0))

    assert len(made.index._places) <= 13
    assert len(made.index._oldest) <= 13
