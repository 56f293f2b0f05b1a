"""What is particular to Jira, on Cloud and on a Data Center."""

from functools import partial

import pytest
from msgspec import structs
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.jira_sm import IMPACT_FIELD, SIMULATOR, URGENCY_FIELD, JiraSystem
from foreshock.testing.sinks import Bench, staged
from foreshock.testing.tickets import make_order
from incident_sink.jira_sm import SINK


@pytest.fixture(params=["cloud", "data_center"])
def stage(request, tmp_path):
    cloud = request.param == "cloud"
    simulator = structs.replace(SIMULATOR, build=partial(JiraSystem, cloud=cloud))
    with staged(simulator, tmp_path, config={} if cloud else {"edition": "data_center", "user": ""}) as made:
        yield made


def issue(stage, number):
    return stage.system._issue(number)


def findings(stage):
    return {each.subject: each for each in stage.sink.check() if each.remedy}


# ---- both editions --------------------------------------------------------------------------------------------------


def test_a_ticket_lives_through_everything_and_people_are_heard(stage):
    receipt = stage.deliver(Verb.OPEN, title="db1 is down", description="2 alerts", note="it begins")
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, title="db1 and db2 are down", note="+1 CI")
    stage.person(receipt.number, "take", actor="ada")
    stage.person(receipt.number, "comment", text="I look at it")
    receipt = stage.deliver(Verb.RESOLVE, receipt, version=3, note="over")
    receipt = stage.deliver(Verb.REOPEN, receipt, version=4, note="again")
    stage.person(receipt.number, "close", text="nothing there", code="False alarm")
    stage.settle()

    told = [(each.state, each.actor, each.comment, each.code) for each in stage.sink.changes(0)]
    assert told == [
        ("taken", "Ada", "", ""),
        ("commented", "Ada", "I look at it", ""),
        ("closed", "Ada", "", "False alarm"),
    ]
    assert [note.partition("\n")[0] for note in stage.one().notes if "foreshock" in note] == [
        text if stage.system.cloud else text.replace("+", "\\+") for text in ("it begins", "+1 CI", "over", "again")
    ]


def test_what_somebody_writes_while_resolving_belongs_to_the_resolution(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve", text="new disk", code="Done")
    stage.settle()

    (change,) = stage.sink.changes(0)
    assert (change.state, change.comment, change.code) == ("resolved", "new disk", "Done")


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.RESET, Fault.ERROR, Fault.TRUNCATED, Fault.HTML])
@pytest.mark.parametrize("call", range(1, 6))
def test_whatever_fails_there_is_one_issue_with_each_comment_once(stage, store, fault, call):
    bench = Bench(stage, store)
    for version, verb in enumerate((Verb.OPEN, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN), 1):
        stage.clock.move(60)
        bench.plan(make_order(verb, sink="prod", version=version, title=f"version {version}", note=f"note {version}."))
        stage.faults.script(*[None] * (call - 1), fault)
        bench.run()
        stage.faults.script()

    record = stage.one()
    assert (record.state, record.title) == ("open", "version 4")
    assert [sum(f"note {version}." in note for note in record.notes) for version in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_a_field_whose_write_lost_its_answer_is_still_ours(stage):
    receipt = stage.deliver(Verb.OPEN, title="one")
    stage.faults.script(None, Fault.LOST)
    with pytest.raises(Unavailable):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="two")

    stage.deliver(Verb.UPDATE, receipt, version=3, title="three")

    assert stage.one().title == "three"


def test_an_issue_that_was_found_again_is_kept_up_except_for_what_people_changed(stage):
    stage.deliver(Verb.OPEN, title="one", description="one")
    stage.settle()
    adopted = stage.restart().find("S-1")
    stage.person(adopted.number, "retitle", text="ADA'S")

    stage.deliver(Verb.UPDATE, stage.sink.find("S-1"), version=2, title="two", description="two", priority=1)

    assert stage.one().title == "ADA'S"
    assert any("two" in text for text in stage.one().texts)
    assert issue(stage, adopted.number)["fields"]["priority"] == "Highest"


def test_a_copied_label_makes_no_issue_ours(stage):
    receipt = stage.deliver(Verb.OPEN)
    labels = issue(stage, receipt.number)["fields"]["labels"]
    stage.system.insert("[System] Incident", {"summary": "a clone", "labels": list(labels)}, "ada")
    clone = stage.system._issues[max(stage.system._issues)]
    stage.person(clone["key"], "comment", text="about something else")
    stage.settle()

    assert stage.restart().find("S-1").number == receipt.number
    assert stage.sink.changes(0) == []


def test_scales_and_groups_become_options_that_exist(stage):
    stage.restart(impact_field=IMPACT_FIELD, urgency_field=URGENCY_FIELD, assignment_groups={"dba": "Database"})
    first = stage.deliver(Verb.OPEN, impact=1, urgency=3, priority=2, assignment_group="dba")
    second = stage.deliver(Verb.OPEN, situation="S-2", assignment_group="nobody")

    fields = issue(stage, first.number)["fields"]
    assert (fields[IMPACT_FIELD], fields[URGENCY_FIELD]) == ("Extensive / Widespread", "Low")
    assert (fields["priority"], fields["components"]) == ("High", ["Database"])
    assert issue(stage, second.number)["fields"]["components"] == ["Service Desk"]


def test_a_group_that_is_unknown_is_not_looked_up_with_every_write(stage):
    for number in range(1, 6):
        stage.deliver(Verb.OPEN, situation=f"S-{number}", assignment_group="nobody")

    assert sum("createmeta" in entry.path for entry in stage.server.ledger.entries()) == 2


def test_an_address_without_jira_stops_the_lane_and_loses_no_order(stage):
    stage.restart(url=f"{stage.server.url}/wiki")

    with pytest.raises(Denied, match="404") as raised:
        stage.deliver(Verb.OPEN)
    assert "`url`" in raised.value.hint


def test_comments_are_for_agents_only(stage):
    receipt = stage.deliver(Verb.OPEN, note="it begins")

    assert [comment["public"] for comment in issue(stage, receipt.number)["comments"]] == [False]


def test_no_markup_of_a_stranger_is_left_in_a_data_centers_text(stage):
    if stage.system.cloud:
        pytest.skip("documents hold text as text")
    stage.deliver(Verb.OPEN, note="{code}x{code} [~admin] !http://evil.example/x.png!\nh1. big")

    (note,) = stage.one().notes
    assert "\\{code\\}x\\{code\\} \\[\\~admin\\] \\!http://evil.example/x.png\\!" in note
    assert "&#104;1. big" in note


# ---- what an administrator has to change ----------------------------------------------------------------------------


def test_a_status_that_no_transition_leads_to_is_refused_with_those_that_there_are(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.restart(resolved=["Solved"])

    with pytest.raises(Rejected, match=r"can go to .*'Completed'.* not to 'Solved'") as raised:
        stage.deliver(Verb.RESOLVE, receipt, version=2)
    assert "`resolved`" in raised.value.hint
    assert "Completed" in findings(stage)["resolved"].observed


def test_a_required_field_is_named_by_the_check_and_filled_by_a_setting(stage):
    stage.system.required.add("customfield_10099")

    with pytest.raises(Rejected, match="customfield_10099 is required"):
        stage.deliver(Verb.OPEN)
    assert "customfield_10099" in findings(stage)["mandatory fields"].observed
    stage.restart(fixed={"customfield_10099": "x"})
    assert findings(stage) == {}
    assert stage.deliver(Verb.OPEN).number == "OPS-1"


def test_a_missing_permission_stops_the_lane_and_is_named_by_the_check(stage):
    stage.system.permissions.discard("CREATE_ISSUES")

    with pytest.raises(Denied, match="403"):
        stage.deliver(Verb.OPEN)
    assert "CREATE_ISSUES" in findings(stage)["permissions"].observed


def test_a_wrong_project_type_option_or_link_is_told(stage):
    stage.restart(project="NOPE")
    with pytest.raises(Denied, match="does not exist for the field 'project'"):
        stage.deliver(Verb.OPEN)
    assert "project" in findings(stage)
    stage.restart(issue_type="Bug")
    assert "issue type" in findings(stage)
    stage.restart(priority=("P1", "High", "Medium", "Low", "Lowest"), problem_link="Causes", fallback_group="Nobody")
    assert set(findings(stage)) == {"priority", "problem_link", "fallback_group"}


def test_a_limit_without_a_wait_in_seconds_ends_at_its_reset(stage):
    stage.system.limited = 1
    stage.sink.find("S-1")

    with pytest.raises(Unavailable) as raised:
        stage.sink.find("S-1")
    assert raised.value.unsent
    assert raised.value.retry_after_s == 1


def test_an_answer_to_nobody_in_particular_is_not_believed(stage):
    handle = stage.system.handle

    def anonymous(request):
        reply = handle(request)
        return structs.replace(reply, headers={"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"})

    stage.system.handle = anonymous

    with pytest.raises(Denied, match="anonymous"):
        stage.sink.find("S-1")


def test_a_cloud_account_needs_its_user(tmp_path):
    with pytest.raises(ValidationError, match="only with its user"):
        SINK.config(url="https://x.atlassian.net", token_file=tmp_path / "t", project="OPS")
