"""What another configuration would have made of history: told incident by incident, with the reason."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Snapshot
from foreshock.core.errors import Malformed
from foreshock.core.learned import CoOccurrence, Learned, Side
from foreshock.core.model import CI, Relationship
from foreshock.service.plan import report
from foreshock.service.plan.compare import FIT_VALUES, VALUES, Difference, Kind, Plan, partners
from foreshock.service.plan.run import plan, survey
from foreshock.service.plan.thresholds import parse_threshold
from foreshock.service.recorded import Input
from foreshock.service.replay import Version
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.testing.records import Story, seconds, shipped_rules

SHOP = ("shop depends_on api", "api depends_on db1")


def inputs(story: Story) -> list[Input]:
    return [Input(record=record) for record in story.records]


def planned(story: Story, *, since_s: float | None = None, **after: Any) -> Plan:
    """The story as it was, beside the same with these settings (or ``rules=…``, ``topology=…``)."""
    known = survey(inputs(story)).present
    version: dict[str, Any] = {name: after.pop(name) for name in ("rules", "topology") if name in after}
    settings = CorrelationSettings.model_validate(after) if after else known.settings
    changed = Version(settings=settings, rules=version.get("rules", known.rules), topology=version.get("topology"))
    since = None if since_s is None else story.start + seconds(since_s)
    return plan(inputs(story), collector_kinds(), rule_kinds(), before=known, after=changed, since=since)


def only(found: Plan, kind: Kind) -> Difference:
    (difference,) = (each for each in found.differences if each.kind is kind)
    return difference


def ids(difference: Difference) -> tuple[list[str], list[str]]:
    return [one.id for one in difference.before], [one.id for one in difference.after]


def two_that_are_one() -> Story:
    return Story(*SHOP).fire("db1").at(20).fire("api").after(600).tick()


def test_the_same_configuration_makes_no_difference():
    found = planned(two_that_are_one())

    assert found.differences == ()
    assert (found.same, found.before, found.before.tickets) == (1, found.after, 1)
    assert report.verdict(found) == "No incident would be different; 1 are the same."


def test_a_higher_threshold_splits_an_incident_and_says_which_link_is_too_weak_then():
    found = planned(two_that_are_one(), group={"threshold": 0.9})
    split = only(found, Kind.SPLIT)

    assert ids(split) == (["S-1"], ["S-1", "S-2"])
    assert split.what == "one incident becomes 2"
    assert split.reason.startswith(
        "Down on api had joined: api depends on db1, which also failed, 20 s apart (topology,"
    )
    assert split.reason.endswith("for S-1: the link is weaker than 0.90")
    assert (found.before.tickets, found.after.tickets) == (1, 2)


def test_the_other_way_round_two_incidents_merge_with_the_link_that_joins_them():
    story = Story(*SHOP, settings={"group": {"threshold": 0.9}}).fire("db1").at(20).fire("api").after(600).tick()
    merged = only(planned(story, group={"threshold": 0.4}), Kind.MERGED)

    assert ids(merged) == (["S-1", "S-2"], ["S-1"])
    assert merged.reason.startswith("Down on api joins: api depends on db1, which also failed")
    assert merged.reason.endswith("for S-1: the link is weaker than 0.90")


def test_a_longer_delay_lets_what_recovers_vanish_and_the_rest_come_later():
    story = Story().fire("a1").at(40).resolve("a1").at(1000).fire("b1").after(600).tick()
    found = planned(story, ticket={"delay": "90s"})

    vanished = only(found, Kind.VANISHED)
    assert ids(vanished) == (["S-1"], ["S-1"])
    assert vanished.reason == "it recovered before a ticket was due"
    assert only(found, Kind.TIME).what == "30 s becomes 90 s, 60 s later"


def test_what_is_suppressed_no_more_appears():
    story = Story(settings={"ticket": {"min_priority": 2}}).fire("a1", severity="warning").after(60).tick()
    appeared = only(planned(story, ticket={"min_priority": 5}), Kind.APPEARED)

    assert appeared.reason == "before: priority 5 is below 2, where tickets begin"


def test_another_topology_changes_priority_cause_and_assignment():
    story = Story("shop depends_on api").fire("api").at(30).fire("shop").after(60).tick()
    cis = (
        CI(id="shop", kind="service", name="shop", criticality=1, owner="shop team"),
        CI(id="api", kind="service", name="api"),
    )
    turned = Snapshot(
        cis=cis, relationships=(Relationship(source="api", target="shop", type="depends_on"),), version="2"
    )
    found = planned(story, topology=turned)

    assert only(found, Kind.CAUSE).what == "api becomes shop"
    assert only(found, Kind.PRIORITY).what.endswith("becomes P1")
    assert only(found, Kind.ASSIGNMENT).reason == "owner of shop"
    assert "topology" in " ".join(set(found.in_force_before) ^ set(found.in_force_after))


def test_a_rule_that_is_taken_out_is_told_of_and_splits():
    found = planned(two_that_are_one(), rules=tuple(rule for rule in shipped_rules() if rule.name != "topology"))

    assert only(found, Kind.SPLIT).reason.endswith("now nothing open was related to it")
    assert any(each.startswith("topology@") for each in set(found.in_force_before) - set(found.in_force_after))


def test_what_began_before_the_time_asked_for_is_heard_and_not_told():
    story = Story(*SHOP).fire("db1").at(20).fire("api").at(4000).fire("db1", name="Full").at(4020).fire("shop")
    found = planned(story.after(600).tick(), since_s=3000, group={"threshold": 0.9})

    assert found.before.events == 2
    assert all(one.onset >= story.start + seconds(3000) for each in found.differences for one in each.before)


def test_what_people_said_of_single_situations_is_left_out_and_silences_are_kept():
    story = Story(*SHOP).silence("quiet", 'host="db1"', for_s=7200).fire("db1").at(20).person("closed", "S-1")
    found = planned(story.after(600).tick(), group={"threshold": 0.41})

    assert found.before.tickets == found.after.tickets == 0


@pytest.mark.parametrize(
    ("text", "crossed"),
    [
        ("split > 0", True),
        ("split_p5>=2", False),
        ("vanished_p1 > 0", False),
        ("tickets == 2", True),
        ("same < 1", True),
    ],
)
def test_a_threshold_compares_what_is_counted(text: str, crossed: bool):
    values = planned(two_that_are_one(), group={"threshold": 0.9}).values()

    assert parse_threshold(text, VALUES).crossed(values) is crossed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vanished", "write a name, a comparison and a number"),
        ("vanisht > 1", "did you mean 'vanished'"),
        ("split > many", "write a name"),
        ("1 > 0", "write a name"),
    ],
)
def test_what_is_no_threshold_is_refused_with_a_remedy(text: str, said: str):
    with pytest.raises(Malformed) as caught:
        parse_threshold(text, VALUES)

    assert said in str(caught.value) + caught.value.hint


def lines(found: Plan, form: str) -> Sequence[str]:
    return tuple(report.text(found, 10) if form == "text" else report.markdown(found, 10))


def test_who_had_a_ticket_that_was_merged_into_another_incident_was_paged():
    story = (
        Story("web runs_on esx", "mail runs_on esx").fire("web", "mail").at(40).tick().at(60).fire("esx", started_s=0)
    )
    found = planned(story.at(200).tick(), group={"reopen": "31m"})

    assert found.before.tickets == 2
    assert found.differences == ()


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_a_report_holds_totals_verdict_incidents_and_reasons(form: str):
    found = planned(two_that_are_one(), group={"threshold": 0.9})
    said = "\n".join(lines(found, form))

    for expected in (
        "2 events from 2026-",
        "tickets",
        "1 split; 0 incidents are the same.",
        "S-2 P",
        "Down on api had joined",
    ):
        assert expected in said


def test_a_report_shows_as_many_differences_as_asked_for_and_says_how_many_are_left():
    story = Story(*SHOP).fire("a1").fire("b1").fire("c1").at(60).tick().after(600).tick()
    found = planned(story, ticket={"delay": "2m"})

    assert [line for line in report.text(found, 1) if line.startswith("change time")] == [
        "change time to ticket: 30 s becomes 120 s, 90 s later"
    ]
    assert "2 more are not shown; --show says how many are." in list(report.text(found, 1))


def test_a_page_stands_alone_and_shows_strangers_texts_as_texts():
    story = Story(*SHOP).fire("db1", name="<script>alert(1)</script>").at(20).fire("api").after(600).tick()
    page = report.html(planned(story, group={"threshold": 0.9}))

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")


def test_json_has_the_verdict_every_value_and_the_plan():
    told = json.loads(report.as_json(planned(two_that_are_one(), group={"threshold": 0.9})))

    assert told["values"].keys() == set(VALUES) - set(FIT_VALUES)
    assert told["plan"]["differences"][0]["kind"] == "split"


@given(st.dictionaries(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.integers(1, 9)))
def test_whoever_has_no_partner_has_most_in_common_with_one_that_has(shared: dict[tuple[int, int], int]):
    def best(side: int) -> dict[str, str]:
        found = {}
        for each in range(1, 7):
            ties = {pair[1 - side]: -alerts for pair, alerts in shared.items() if pair[side] == each}
            found[str(each)] = str(min(ties, key=lambda other: (ties[other], other))) if ties else ""
        return found

    after, before = best(0), best(1)
    partner = partners(after, before)

    assert len(set(partner.values())) == len(partner)
    assert all(after[one] in partner.values() for one in after if after[one] and one not in partner)
    assert all(before[other] in partner for other in before if before[other] and other not in partner.values())


def test_a_history_without_topology_is_told_of_in_every_report():
    story = Story().fire("db1").at(20).fire("api").after(600).tick()
    found = planned(story, group={"threshold": 0.9})
    (note,) = found.notes

    assert note.startswith("history holds no topology, so nothing is related along relationships there; give both one")
    assert note in report.html(found)
    assert note in report.as_json(found).decode()
    assert f"note: {note}" in list(report.text(found, 5))
    assert f"> {note}" in list(report.markdown(found, 5))


def test_a_side_without_topology_beside_one_that_has_one_is_told_of():
    ties = (Relationship(source="api", type="depends_on", target="db1"),)
    known = Snapshot(version="cmdb", cis=(CI(id="api"), CI(id="db1")), relationships=ties)
    found = planned(Story().fire("db1").at(20).fire("api").after(600).tick(), topology=known)

    assert [note.partition(",")[0] for note in found.notes] == ["one side has no topology"]


def test_what_was_learned_in_another_estate_is_told_of_and_what_was_learned_here_is_not():
    def learned(*cis: str) -> Learned:
        a, b = (Side(name="Down", ci=ci) for ci in cis)
        pair = CoOccurrence(a=a, b=b, together=9, times=9, expected=0.1, strength=0.9, window_s=20, lag_s=(0, 5, 9))
        return Learned(version="7", pairs=(pair,))

    story, notes = two_that_are_one(), []
    for each in (learned("mars", "venus"), learned("db1", "api"), None):
        after = Version(learned=each)
        found = plan(inputs(story), collector_kinds(), rule_kinds(), before=Version(), after=after)
        notes.append(found.notes)

    assert notes[1:] == [(), ()]
    assert notes[0] == (
        "what was learned: version 7 names 2 CIs, of which 0 are known here: another estate's; its pairs mean nothing "
        "here, learn from this estate's history",
    )


def test_it_tells_which_team_would_be_called_when():
    owners = {"db1": "database", "api": "apps"}
    story = Story(*SHOP, owners=owners).fire("db1").at(20).fire("api").at(7200).fire("db1", name="Full")
    story.after(600).tick()
    found = planned(story, group={"threshold": 0.9})

    assert found.before.by_group_and_hour == {"database": {12: 1, 14: 1}}
    assert found.after.by_group_and_hour == {"apps": {13: 1}, "database": {12: 1, 14: 1}}
    assert (found.before.busiest_hour, found.after.busiest_hour) == (1, 1)
    assert [(team, was, now) for team, _, was, now in report.teams(found)] == [("database", 2, 2), ("apps", 0, 1)]
    assert "| apps | 0 | 1 | 13: 0 → 1 |" in "\n".join(report.markdown(found, 20))
    assert '<td class="more">0&nbsp;→&nbsp;1</td>' in report.html(found)


def test_of_very_many_teams_the_least_concerned_are_told_together():
    hosts = [f"h{number}" for number in range(40)]
    story = Story(*(f"{host} depends_on x{host}" for host in hosts), owners={host: f"team {host}" for host in hosts})
    for number, host in enumerate(hosts):
        story.at(600 * number).fire(host, name=f"N{number}")
    rows = report.teams(planned(story.after(600).tick(), group={"threshold": 0.9}))

    assert len(rows) == 30
    assert rows[-1][0] == "11 others"
    assert sum(was for _, _, was, _ in rows) == 40
