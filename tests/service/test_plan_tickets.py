"""What another configuration would have written to tickets, and whom it would have told."""

from typing import Any

import msgspec
import pytest

from correlation.settings import CorrelationSettings
from foreshock.service.plan import report
from foreshock.service.plan.compare import Difference, Kind, Plan
from foreshock.service.plan.run import plan, survey
from foreshock.service.plan.tickets import Written
from foreshock.service.recorded import Input
from foreshock.service.replay import Version
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.settings_files import plan_schema
from foreshock.testing.records import Story
from foreshock.testing.schemas import problems

STEPS = [{"after": "5m", "tell": ["{group}"]}, {"after": "15m", "tell": ["{group}", "boss"]}]
POLICY = {"name": "urgent", "priorities": [1, 2, 3, 4, 5], "steps": STEPS}


def planned(story: Story, **after: Any) -> Plan:
    """The story as it was, beside the same with these settings."""
    inputs = [Input(record=record) for record in story.records]
    known = survey(inputs).present
    changed = Version(settings=CorrelationSettings.model_validate(after), rules=known.rules)
    return plan(inputs, collector_kinds(), rule_kinds(), before=known, after=changed)


def only(found: Plan, kind: Kind) -> Difference:
    (difference,) = (each for each in found.differences if each.kind is kind)
    return difference


def kinds(found: Plan) -> list[Kind]:
    return [each.kind for each in found.differences]


def one_that_grows(**settings: Any) -> Story:
    """An incident with a ticket, joined by three more alerts of the same CI, one every 70 seconds; then it is over."""
    story = Story("shop depends_on db", owners={"db": "dba"}, settings=settings or None).fire("db")
    for name in ("Full", "Slow", "Errors"):
        story.after(70).fire("db", name=name)
    story.after(120).tick()
    for name in ("Down", "Full", "Slow", "Errors"):
        story.resolve("db", name=name)
    return story.after(1200).tick()


def test_fewer_updates_are_told_with_how_many_and_counted_for_priority_and_team():
    found = planned(one_that_grows(), ticket={"update_every": "1h"})

    difference = only(found, Kind.WRITES)
    assert kinds(found) == [Kind.WRITES]
    assert difference.what == "updates: 5 becomes 0"
    assert difference.reason == "before: the situation changed; after: it has none"
    assert [one.id for one in (*difference.before, *difference.after)] == ["S-1", "S-1"]
    assert found.before.written.all == Written(opened=1, updated=5, resolved=1)
    assert found.after.written.all == Written(opened=1, resolved=1)
    assert found.before.written.by_group["dba"] == found.before.written.all
    assert (found.values()["updates_before"], found.values()["updates"]) == (5, 0)


def test_an_incident_that_comes_back_is_reopened_by_one_side_only():
    story = Story().fire("db").at(60).tick().resolve("db").after(700).tick().fire("db").after(120).tick()
    found = planned(story, group={"quiet": "30m"})

    assert (found.before.written.all.reopened, found.after.written.all.reopened) == (1, 0)
    assert "reopenings: 1 becomes 0" in only(found, Kind.WRITES).what


@pytest.mark.parametrize("sends", [True, False])
def test_who_would_be_escalated_to_is_told_by_name_and_step(sends: bool):
    story = Story("shop depends_on db", owners={"db": "dba"}, settings={} if sends else {"escalation": [POLICY]})
    found = planned(story.fire("db").after(3600).tick(), **({"escalation": [POLICY]} if sends else {}))
    difference = only(found, Kind.NOTICES)

    assert difference.what == (
        f"{'now' if sends else 'no longer'} step 1 of an escalation (to dba), step 2 of an escalation (to dba), "
        "step 2 of an escalation (to boss)"
    )
    assert difference.reason == "`sla` or `escalation` of the settings are others"
    assert found.values()["escalations" if sends else "escalations_before"] == 3
    assert any("as if nobody took a ticket" in note for note in found.notes)


def test_a_warning_of_promised_time_is_told():
    found = planned(
        Story().fire("db").after(3600).tick(),
        sla={"targets": [{"priority": number, "resolve": "30m"} for number in range(1, 6)], "warn_at": [50]},
    )

    assert only(found, Kind.NOTICES).what == "now the warning at 50 % of an SLA (to nobody)"
    assert (found.after.written.by_priority[3].sla, found.after.written.all.sla) == (1, 1)


def test_another_title_is_told_for_the_sinks_that_have_it():
    story = Story("shop depends_on db").fire("db").after(60).tick()
    of_one = planned(story, ticket={"text_by_sink": {"jira": {"title": "Ticket of {{ cause.ci }}"}}})
    of_all = planned(story, ticket={"text": {"title": "Ticket of {{ cause.ci }}"}})

    assert only(of_one, Kind.TEXT).what.endswith("becomes 'Ticket of db' in jira")
    assert only(of_all, Kind.TEXT).what.endswith("becomes 'Ticket of db'")
    assert only(of_all, Kind.TEXT).reason == "its template is another"
    assert (of_one.after.tickets, of_one.after.written.all.opened) == (1, 1)


def test_another_description_is_told_where_the_title_is_the_same():
    found = planned(Story().fire("db").after(60).tick(), ticket={"text": {"description": "Look at it."}})

    assert only(found, Kind.TEXT).what == "another description"


def test_a_priority_that_only_the_opening_ticket_had_is_told():
    story = Story("shop depends_on db").fire("db", severity="warning").at(40).tick().fire("db", severity="critical")
    found = planned(story.after(300).tick(), ticket={"delay": "60s"})

    assert only(found, Kind.PRIORITY).what.endswith("when it is opened")
    assert found.before.by_priority == found.after.by_priority


def thrice() -> Story:
    story = Story("shop depends_on db", owners={"db": "dba"})
    for _ in range(3):
        story.fire("db").after(120).tick().resolve("db").after(7200).tick()
    return story


def test_a_problem_that_only_one_side_opens_is_told_with_its_incidents():
    found = planned(thrice(), problem={"occurrences": 5})
    difference = only(found, Kind.PROBLEM)

    assert difference.what.startswith("no Problem: ")
    assert [one.id for one in difference.before] == ["S-1", "S-2", "S-3"]
    assert difference.after == ()
    assert (found.values()["problems_before"], found.values()["problems"]) == (1, 0)
    assert found.same == 3


def test_a_ticket_that_is_merged_into_another_counts_once_for_each_that_was_opened():
    story = (
        Story("web runs_on esx", "mail runs_on esx").fire("web", "mail").at(40).tick().at(60).fire("esx", started_s=0)
    )
    found = planned(story.at(200).tick(), group={"reopen": "31m"})

    assert found.before.written == found.after.written
    assert found.before.written.all.opened == found.before.tickets == 2
    assert found.differences == ()


def test_every_report_shows_where_what_is_written_differs():
    found = planned(one_that_grows(), ticket={"update_every": "1h"})

    for said in ("\n".join(report.text(found, 9)), "\n".join(report.markdown(found, 9))):
        assert "5 → 0" in said
        assert "dba" in said
        assert "updates: 5 becomes 0" in said
    assert '<td class="fewer">5&nbsp;→&nbsp;0</td>' in report.html(found)
    told = msgspec.json.decode(report.as_json(found))
    assert list(problems(told, plan_schema(), plan_schema())) == []
    assert told["plan"]["before"]["written"]["by_group"]["dba"]["updated"] == 5
    assert told["plan"]["differences"][0]["kind"] == "writes_changed"


def test_updates_count_once_however_many_sinks_have_a_text_of_their_own():
    text = {"text_by_sink": {"jira": {"title": "It is {{ cause.ci }}"}}}
    found = planned(one_that_grows(), ticket=text)

    assert kinds(found) == [Kind.TEXT]
    assert found.after.written.all == found.before.written.all == Written(opened=1, updated=5, resolved=1)


def test_where_nothing_differs_no_table_of_tickets_is_shown():
    found = planned(one_that_grows(), group={"threshold": 0.41})

    assert found.differences == ()
    assert report.written(found)[1] == []
    assert "Tickets, where they differ" not in "\n".join(report.text(found, 9))
