"""Alerts of which the topology knows hardly anything, at moments at which much begins."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.relate import Candidate, Traces, View, link
from correlation.rule import Rule, RuleInstance, build
from correlation.rules.simultaneity import RULE, _Moments
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
    alerts = {one.fingerprint: one for alerts in open_.values() for one in alerts}
    view = View(Traces(), ESTATE, RelateSettings(), threshold, alerts)
    view.now = new.last_seen
    return list(made.relate(new, view))


@pytest.mark.parametrize("ci", ["lonely", "host7", "", "a name nobody knows"])
def test_what_the_topology_hardly_knows_is_related_to_what_begins_at_that_moment(ci: str):
    made = rule(unknown=0.05)
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
    calm = candidates(rule(unknown=0.05), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 20)}, threshold=0)
    strays = {f"S-{2 + each}": [alert(f"stray{each}", -60 - each % 30, "web")] for each in range(200)}
    busy = candidates(rule(unknown=0.05), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 20), **strays}, threshold=0)

    assert busy[0].strength < 0.4 < calm[0].strength


def test_a_moment_at_which_very_much_begins_says_nothing():
    assert candidates(rule(), alert("new", 0.4, "lonely"), {"S-1": burst("S-1", 1001)}, threshold=0) == []


def test_what_nobody_asks_about_is_forgotten_all_the_same():
    made = rule(window="1m")
    assert isinstance(made.index, _Moments)
    for number in range(1000):
        made.index.add(f"S-{number}", alert(f"a{number}", number * 10.0))

    assert len(made.index.by_second) == len(made.index.alerts_in) == 7


@st.composite
def _happened(draw: st.DrawFn) -> list[tuple[str, str, float]]:
    """(what, alert, when) of some minutes: alerts begin, their onset changes, situations end."""
    what = st.sampled_from(("add", "add", "add", "moved", "drop"))
    gaps = draw(st.lists(st.sampled_from((0.0, 0.4, 20.0, 200.0)), max_size=30))
    at_s, events = 0.0, []
    for gap_s in gaps:
        at_s += gap_s
        events.append((draw(what), draw(st.sampled_from("abcdef")), at_s))
    return events


@given(_happened())
def test_an_answer_follows_from_the_open_alerts_alone(events: list[tuple[str, str, float]]):
    """So it is the same after a restart, which adds them situation by situation."""
    made, known, last_s = rule(), dict[str, Alert](), 0.0
    assert made.index is not None
    for what, name, at_s in events:
        situation = f"S-{ord(name) % 3}"
        if what == "drop":
            gone = [one for one in known.values() if home(one) == situation]
            made.index.drop(situation, gone)
            known = {key: one for key, one in known.items() if one not in gone}
        elif what == "add" or name in known:
            known[name] = alert(name, at_s - 30 if what == "moved" else at_s, "db")
            (made.index.add if what == "add" else made.index.moved)(situation, known[name])
        last_s = at_s
    again = rule()
    assert again.index is not None
    for one in sorted(known.values(), key=home):
        again.index.add(home(one), one)

    for onset_s in (last_s - 30, last_s):
        view = View(Traces(), ESTATE, RelateSettings(), 0.0, known)
        view.now = NOON + seconds(last_s)
        new = alert("new", onset_s, "lonely")
        assert sorted(made.relate(new, view), key=repr) == sorted(again.relate(new, view), key=repr)


def home(one: Alert) -> str:
    return f"S-{ord(one.fingerprint) % 3}"
