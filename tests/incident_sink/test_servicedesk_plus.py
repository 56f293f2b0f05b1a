import pytest
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.servicedesk_plus import CLIENT_SECRET, KEY_FIELD, PROBLEM_KEY_FIELD, TEXT_FIELD, USER
from foreshock.sandbox.system import secret_file
from foreshock.testing.sinks import STAGED, Bench, first_faults, staged
from foreshock.testing.tickets import make_order, make_problem_order
from incident_sink.servicedesk_plus import INDEX_DELAY_S, SINK

CLOUD = {
    "url": "https://sdpondemand.manageengine.eu",
    "portal": "itdesk",
    "user": USER,
    "client_id": "1000.X",
    "client_secret_file": "/s",
    "refresh_token_file": "/r",
    "key_field": KEY_FIELD,
}
ON_PREMISES = {
    "url": "https://sdp.example.com:8443",
    "edition": "on_premises",
    "user": "foreshock",
    "technician_key_file": "/k",
    "key_field": KEY_FIELD,
}


@pytest.fixture
def stage(tmp_path):
    with staged(STAGED["servicedesk_plus-on_premises"], tmp_path) as made:
        yield made


@pytest.fixture
def cloud(tmp_path):
    with staged(STAGED["servicedesk_plus"], tmp_path) as made:
        yield made


@pytest.fixture(params=["servicedesk_plus", "servicedesk_plus-on_premises"])
def either(request, tmp_path):
    with staged(STAGED[request.param], tmp_path) as made:
        yield made


def request_of(stage, number):
    return next(each for each in stage.system._records["requests"].values() if each["display_id"] == number)


# ---- the ways in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "settings", "message"),
    [
        (CLOUD, {"url": "http://sdpondemand.manageengine.eu"}, "without encryption"),
        (CLOUD, {"url": "https://sdpondemand.manageengine.eu/app/itdesk"}, "more than the address"),
        (CLOUD, {"url": "https://help.example.com"}, "nobody knows where .* gets its tokens"),
        (CLOUD, {"refresh_token_file": None}, "no refresh_token_file"),
        (CLOUD, {"client_id": ""}, "no client_id"),
        (CLOUD, {"technician_key_file": "/k"}, "stands beside the cloud"),
        (CLOUD, {"user": ""}, "user"),
        (CLOUD, {"key_field": "subject"}, "key_field"),
        (ON_PREMISES, {"technician_key_file": None}, "no credentials"),
        (ON_PREMISES, {"portal": "itdesk"}, "settings of the cloud"),
    ],
)
def test_settings_that_cannot_work_are_refused(good, settings, message):
    SINK.config.model_validate(good)

    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**good, **settings})


def test_a_domain_of_ones_own_names_where_its_tokens_are(tmp_path):
    own = {**CLOUD, "url": "https://help.example.com", "accounts_url": "https://accounts.zoho.eu/"}

    assert SINK.config.model_validate(own).accounts_url == "https://accounts.zoho.eu"


def test_a_wrong_technician_key_is_denied_and_not_shown(stage, tmp_path):
    stage.restart(technician_key_file=secret_file(tmp_path, "wrong", "wrong-key"))

    with pytest.raises(
        Denied, match=r"servicedesk_plus 'prod' at GET /requests answered 4022 .*UNAUTHORISED"
    ) as raised:
        stage.sink.find("S-1")

    assert "wrong-key" not in str(raised.value)


def test_a_refresh_token_of_another_data_centre_is_denied_and_not_shown(cloud, tmp_path):
    cloud.restart(refresh_token_file=secret_file(tmp_path, "wrong", "1000.other"))

    with pytest.raises(Denied, match="gave no access_token: 'invalid_code'") as raised:
        cloud.sink.find("S-1")

    assert "1000.other" not in str(raised.value)
    assert CLIENT_SECRET not in str(raised.value)


def test_a_token_is_used_for_an_hour_and_then_fetched_anew(cloud):
    receipt = cloud.deliver(Verb.OPEN)
    receipt = cloud.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    assert len(cloud.asked("POST", "/token")) == 1
    cloud.clock.move(3600)

    cloud.deliver(Verb.UPDATE, receipt, version=3, title="worst")

    assert cloud.one().title == "worst"
    assert len(cloud.asked("POST", "/token")) == 2


def test_that_zoho_gives_no_more_tokens_for_a_while_is_no_fault_of_the_credentials(cloud):
    cloud.system.token_limit = 0

    with pytest.raises(Unavailable, match="gave no access_token: 'Access Denied'") as raised:
        cloud.sink.deliver(make_order(sink="prod"), None)
    cloud.system.token_limit = 10

    assert (raised.value.unsent, raised.value.retry_after_s) == (True, 60)
    assert cloud.sink.deliver(make_order(sink="prod"), None).number == "1"


def test_an_address_that_is_no_api_is_told_so(stage):
    stage.restart(url=f"{stage.server.url}/helpdesk")

    with pytest.raises(Denied, match=r"HTTP 404.*check url and portal"):
        stage.sink.find("S-1")


# ---- writing --------------------------------------------------------------------------------------------------------


def test_a_request_says_what_it_is_whose_and_how_urgent(either):
    either.restart(groups={"dba": "Database"}, fields={"severity": TEXT_FIELD}, fixed={"category": "Network"})
    receipt = either.deliver(Verb.OPEN, priority=1, assignment_group="dba", ci="db1", severity="critical")

    made = request_of(either, receipt.number)
    names = {
        name: made[name]["name"] for name in ("request_type", "impact", "urgency", "priority", "group", "category")
    }
    assert names == {
        "request_type": "Incident",
        "impact": "Affects Group",
        "urgency": "Normal",
        "priority": "High",
        "group": "Database",
        "category": "Network",
    }
    assert made["udf_fields"] == {KEY_FIELD: "foreshock-S-1", TEXT_FIELD: "critical"}
    assert [ci["name"] for ci in made["assets"]] == ["db1"]
    assert made["id"] in receipt.url


def test_both_editions_lead_people_to_the_request(either):
    url = either.deliver(Verb.OPEN).url

    cloud = "edition" not in either.settings
    assert ("/app/itdesk/ui/requests/" in url) if cloud else ("woMode=viewWO" in url)


@pytest.mark.parametrize("soft", [False, True])
def test_an_unknown_group_or_ci_is_no_reason_to_lose_an_incident(stage, soft):
    stage.system.soft_errors = soft
    receipt = stage.deliver(Verb.OPEN, assignment_group="nobody", ci="no-such-ci")
    before = len(stage.asked("POST", "/requests"))
    stage.deliver(Verb.OPEN, situation="S-2", assignment_group="nobody", ci="no-such-ci")

    made = request_of(stage, receipt.number)
    assert (made["group"]["name"], made["assets"]) == ("Service Desk", [])
    assert len(stage.asked("POST", "/requests")) == before + 1  # what was refused is not tried again at once
    assert request_of(stage, "2")["group"]["name"] == "Service Desk"


def test_a_refusal_that_was_cut_off_is_asked_for_again(stage):
    stage.faults.script(None, Fault.TRUNCATED)
    with pytest.raises(Unavailable) as raised:
        stage.deliver(Verb.OPEN, assignment_group="nobody")

    assert raised.value.unsent
    assert (
        request_of(stage, stage.deliver(Verb.OPEN, assignment_group="nobody").number)["group"]["name"] == "Service Desk"
    )


def test_a_priority_that_is_not_there_makes_a_dead_letter_that_names_it(stage):
    stage.restart(priority=["Critical"] * 5)

    with pytest.raises(Rejected, match=r"answered 4001 \(HTTP 400\): priority .*settings of this sink"):
        stage.deliver(Verb.OPEN)
    assert stage.held() == []


def test_a_field_that_a_template_wants_makes_a_dead_letter_until_it_is_fixed(stage):
    stage.system.mandatory = {"category"}
    with pytest.raises(Rejected, match=r"4012 .*category .*`fixed`"):
        stage.deliver(Verb.OPEN)

    stage.restart(fixed={"category": "Network"})

    assert stage.deliver(Verb.OPEN).number == "1"


def test_a_field_that_a_closing_rule_wants_makes_a_dead_letter_until_it_is_filled(stage):
    stage.system.closing = {"resolution", "category", TEXT_FIELD}
    receipt = stage.deliver(Verb.OPEN)
    with pytest.raises(Rejected, match=rf"4012 .*category, {TEXT_FIELD} .*`closing`"):
        stage.deliver(Verb.RESOLVE, receipt, version=2, note="over")

    stage.restart(closing={"category": "Software", TEXT_FIELD: "by itself"})
    stage.deliver(Verb.RESOLVE, receipt, version=2, note="over")

    assert stage.one().state == "resolved"


def test_a_reason_is_given_where_updates_need_one(stage):
    stage.system.needs_reason = True
    receipt = stage.deliver(Verb.OPEN)
    with pytest.raises(Rejected, match="update_reason"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")

    stage.restart(update_reason="monitoring")
    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")

    assert stage.one().title == "worse"


def test_a_priority_that_a_matrix_overrules_is_not_taken_for_a_persons(stage):
    stage.system.has_matrix = True
    receipt = stage.deliver(Verb.OPEN, priority=1, urgency=3)
    assert request_of(stage, receipt.number)["priority"]["name"] == "Normal"
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, priority=1, urgency=1)

    assert request_of(stage, receipt.number)["priority"]["name"] == "High"


def test_the_description_follows_until_a_person_writes_there(stage):
    receipt = stage.deliver(Verb.OPEN, description="one")
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, description="one & <two>")
    assert any("one & <two>\n\nhttps://noc.example/incidents/S-1" in text for text in stage.one().texts)
    request_of(stage, "1")["description"] = "<div>Ada was here</div>"

    stage.deliver(Verb.UPDATE, receipt, version=3, description="three")

    assert "Ada was here" in stage.one().texts


def test_markup_of_strangers_is_text(stage):
    stage.deliver(Verb.OPEN, description="<script>x</script>", note="<b>bold</b>")

    assert any("<script>x</script>" in text and "<b>bold</b>" in text for text in stage.one().texts)
    assert "%26lt%3Bscript" in stage.asked("POST", "/requests")[0].body


def test_notes_are_public_only_where_that_is_wanted(either):
    receipt = either.deliver(Verb.OPEN)
    either.deliver(Verb.UPDATE, receipt, version=2, note="quiet")
    either.restart(public=True)
    either.deliver(Verb.UPDATE, receipt, version=3, note="loud")

    notes = either.system._notes[receipt.kept["id"]]
    assert [note["show_to_requester"] for note in notes] == [False, True]


def test_one_hidden_request_is_a_dead_letter_and_no_lost_permission(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.faults.script(Fault.FORBIDDEN)

    with pytest.raises(Rejected, match="has no 1 of S-1 any more"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    stage.faults.script(Fault.FORBIDDEN, Fault.FORBIDDEN)
    with pytest.raises(Denied, match="full control of requests"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")


def test_one_request_that_may_not_be_changed_is_a_dead_letter(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.faults.script(None, Fault.FORBIDDEN)

    with pytest.raises(Rejected, match=r"4002 .*full control of requests"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    stage.faults.script(None, Fault.DENIED)
    with pytest.raises(Denied, match="4022 "):  # that is the key, and for all
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")


def test_a_write_that_a_person_overtook_by_closing_is_looked_at_again_and_takes_nothing_back(stage):
    receipt = stage.deliver(Verb.OPEN)
    put = stage.system._put

    def overtaken(*arguments):
        stage.system._put = put
        stage.system.edit(receipt.number, "close")
        return put(*arguments)

    stage.system._put = overtaken
    with pytest.raises(Unavailable, match=r"4009 .*somebody was faster") as raised:
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")

    assert raised.value.unsent
    assert (stage.one().state, stage.one().title) == ("closed", "db1 is down")


def test_a_note_that_was_refused_as_a_success_is_written_later(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.system.soft_errors = True
    stage.faults.script(None, None, Fault.ERROR)
    with pytest.raises(Unavailable, match=r"4004 \(HTTP 200\): Internal Error"):
        stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")

    stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")

    assert sum("it grows" in note for note in stage.one().notes) == 1


def test_what_is_told_at_the_end_is_the_resolution_and_beside_a_persons_a_note(stage):
    ours, theirs = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    request_of(stage, theirs.number)["resolution"]["content"] = "new disk"
    stage.restart(close_code="Success")
    stage.deliver(Verb.RESOLVE, ours, version=2, note="over since 12:00")
    stage.deliver(Verb.RESOLVE, theirs, version=2, situation="S-2", note="over since 12:00")

    first, second = request_of(stage, ours.number), request_of(stage, theirs.number)
    assert "over since 12:00" in first["resolution"]["content"]
    assert first["closure_info"]["closure_code"]["name"] == "Success"
    assert second["resolution"]["content"] == "new disk"
    assert any("over since 12:00" in note for note in stage.one("S-2").notes)


def test_a_status_that_was_not_taken_is_an_error_that_names_it(stage):
    receipt = stage.deliver(Verb.OPEN)
    change = stage.system._change

    def kept(kind, record, user, changed, values):
        change(kind, record, user, {name: value for name, value in changed.items() if name != "status"}, values)

    stage.system._change = kept
    with pytest.raises(Rejected, match=r"left 1 in state 'Open'.*`resolved`"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


def test_a_request_that_recurs_after_it_was_closed_is_followed_by_a_linked_one(either):
    receipt = either.deliver(Verb.OPEN)
    either.person(receipt.number, "close")

    after = either.deliver(Verb.REOPEN, receipt, version=2, title="again", description="once more")

    new = either.held()[-1]
    assert (new.number, new.links) == (after.number, (receipt.number,))
    assert any("It follows 1, which is over." in text for text in new.texts)


def test_closed_requests_are_reopened_where_they_are_not_final(stage):
    stage.restart(final=["Canceled"], resolved="Closed")
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")

    assert stage.deliver(Verb.REOPEN, receipt, version=2).number == receipt.number
    assert stage.one().state == "open"


@pytest.mark.parametrize("soft", [False, True])
def test_what_lies_in_the_trash_is_a_dead_letter_and_opens_anew_when_it_recurs(stage, soft):
    stage.system.soft_errors = soft
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "delete")

    with pytest.raises(Rejected, match="has no 1 of S-1 any more"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    assert stage.deliver(Verb.REOPEN, receipt, version=3, title="again").number == "2"


def test_an_answer_without_our_key_is_an_error_that_names_the_request(stage):
    stage.system._udf = lambda kind, given, present: {KEY_FIELD: "somebody's"}

    with pytest.raises(Rejected, match=rf"created 1 without our key: {KEY_FIELD} is '' instead of 'S-1'"):
        stage.deliver(Verb.OPEN)


# ---- a search that cannot be believed -------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
def test_without_the_key_field_nothing_is_created_and_the_field_is_named(stage, soft):
    stage.system.soft_errors = soft
    stage.deliver(Verb.OPEN, situation="S-0")
    stage.restart(key_field="udf_sline_77")

    with pytest.raises(
        Denied, match=r"ignored the condition on 'udf_fields.udf_sline_77'.*check that the field exists"
    ):
        stage.deliver(Verb.OPEN)
    assert len(stage.asked("POST", "/requests")) == 1


def test_in_an_empty_desk_the_missing_key_field_is_named_by_the_refusal(stage):
    stage.restart(key_field="udf_sline_77")

    with pytest.raises(Rejected, match=r"4001 .*udf_fields\.udf_sline_77"):
        stage.deliver(Verb.OPEN)


def test_lists_that_show_few_fields_are_read_record_by_record(stage):
    stage.system.bare_lists = True
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")

    assert stage.sink.find("S-1").number == receipt.number
    assert [change.state for change in stage.news()] == ["taken"]


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TRUNCATED, Fault.HTML])
def test_a_lost_answer_and_a_list_that_lags_make_no_second_request(stage, store, fault):
    stage.system.lag_s = INDEX_DELAY_S - 5
    bench = Bench(stage, store)
    bench.plan(make_order(sink="prod", note="it begins"))
    stage.faults.script(*first_faults(fault, 2))
    for _ in range(30):
        bench.lane.work()
        stage.clock.move(20)

    (record,) = stage.held()
    assert sum("it begins" in note for note in record.notes) == 1
    assert bench.outbox.ticket("S-1", "prod").state is TicketState.CONFIRMED


def test_a_locked_address_is_waited_for_and_then_all_arrives_once(stage, store):
    stage.system.url_limit = 3
    bench = Bench(stage, store)
    bench.plan(*(make_order(situation=f"S-{number}", sink="prod") for number in range(8)))
    bench.run(passes=60)

    assert [len(stage.held(f"S-{number}")) for number in range(8)] == [1] * 8


# ---- problems -------------------------------------------------------------------------------------------------------


def test_a_problem_is_updated_and_noted_once(either):
    first = either.sink.write_problem(make_problem_order(note="3 times"), None)
    again = either.sink.write_problem(make_problem_order(version=2, title="db1 fails each hour", note="9 times"), first)
    either.sink.write_problem(make_problem_order(version=2, title="db1 fails each hour", note="9 times"), first)

    (problem,) = either.held("P-1", "problem")
    assert (problem.number, problem.title) == ("PBM-1", "db1 fails each hour")
    assert again.number == first.number == "PBM-1"
    assert [sum(word in note for note in problem.notes) for word in ("3 times", "9 times")] == [1, 1]


def test_the_cause_of_a_problem_is_read_as_long_as_there_is_no_workaround(stage):
    problem = stage.sink.write_problem(make_problem_order(), None)
    cause = {"root_cause": {"description": "<p>a leak &amp; more</p>"}}
    stage.system._analyse("root_cause", cause, {}, problem.kept["id"])
    before = stage.sink.read_problem(problem).known_error
    stage.person(problem.number, "workaround", text="restart the pool")

    assert (before, stage.sink.read_problem(problem).known_error) == ("a leak & more", "restart the pool")


def test_without_a_place_for_its_key_a_problem_is_a_dead_letter_that_names_the_setting(stage):
    stage.restart(problem_key_field="")

    with pytest.raises(Rejected, match="name it as problem_key_field"):
        stage.sink.write_problem(make_problem_order(), None)


# ---- what people did ------------------------------------------------------------------------------------------------


def test_the_closure_code_and_what_people_wrote_at_the_end_are_read(stage):
    first, second = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    stage.person(first.number, "resolve", text="new disk")
    stage.person(second.number, "close", code="False alarm", text="nothing there")

    assert [(change.situation, change.state, change.code, change.comment) for change in stage.news()] == [
        ("S-1", "resolved", "", "new disk"),
        ("S-2", "closed", "False alarm", "nothing there"),
    ]


def test_two_changes_of_one_second_are_both_read(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.system.edit(receipt.number, "comment", text="hm")
    stage.system.edit(receipt.number, "resolve", text="done")

    told = stage.news()
    assert sorted(change.state for change in told) == ["commented", "resolved", "taken"]
    assert len({change.sequence for change in told}) == 3


def test_that_the_system_closes_what_was_resolved_is_no_news(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.RESOLVE, receipt, version=2)
    stage.clock.move(8 * 86_400)
    stage.sink.find("S-1")

    assert stage.one().state == "closed"
    assert stage.news() == []


def test_without_a_history_a_request_tells_itself_who_took_and_resolved_it(stage):
    stage.system.has_history = False
    ours, theirs = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    stage.deliver(Verb.RESOLVE, ours, version=2, note="over")
    stage.person(theirs.number, "take")
    stage.person(theirs.number, "comment", text="hm")
    stage.person(theirs.number, "resolve", text="new disk")

    told = stage.news()
    assert [(change.situation, change.state, change.comment) for change in told] == [
        ("S-2", "taken", ""),
        ("S-2", "commented", "hm"),
        ("S-2", "resolved", "new disk"),
    ]
    assert list(stage.restart().changes(0)) == told


def test_more_than_a_page_of_updates_is_read_whole_while_others_go_on(stage):
    for number in range(130):
        stage.sink.deliver(make_order(situation=f"S-{number}", sink="prod"), None)
    stage.clock.move(60)
    for number in range(1, 131, 10):
        stage.system.edit(str(number), "take")
    stage.settle()
    search = stage.system._list

    def overtaken(given, user, kind):
        answer = search(given, user, kind)
        stage.system._list = search
        stage.clock.move(1)
        for number in range(2, 60):
            stage.system.edit(str(number), "comment", text="late")
        return answer

    stage.system._list = overtaken

    told = stage.sink.changes(0)
    assert sorted(int(change.number) for change in told if change.state == "taken") == list(range(1, 131, 10))


def test_a_reading_gets_past_requests_that_were_updated_at_once(stage, monkeypatch):
    monkeypatch.setattr("incident_sink.servicedesk_plus._MAX_PAGES", 1)
    for number in range(110):
        stage.sink.deliver(make_order(situation=f"S-{number}", sink="prod"), None)
    stage.person("7", "take")
    stage.settle()

    visits = [list(stage.sink.changes(0)) for _ in range(3)]

    assert [change.number for told in visits for change in told] == ["7"]


def test_the_history_of_a_request_is_asked_once_for_each_of_its_updates(stage):
    receipt = stage.deliver(Verb.OPEN)
    for _ in range(4):
        stage.news()
    stage.person(receipt.number, "take")
    cursor = stage.news()[0].sequence
    for _ in range(4):
        stage.news(cursor)

    assert len(stage.asked("GET", "/history")) == 2


def test_a_limit_in_the_middle_of_a_reading_costs_nothing_that_was_read(stage):
    for number in range(5):
        stage.person(stage.deliver(Verb.OPEN, situation=f"S-{number}").number, "take")
    stage.settle()
    stage.faults.script(*[None] * 7, Fault.LIMITED)
    with pytest.raises(Unavailable):
        stage.sink.changes(0)
    before = len(stage.asked("GET", "/history"))

    assert len(stage.sink.changes(0)) == 5
    assert len(stage.asked("GET", "/history")) <= before + 3


def test_the_request_of_a_stranger_is_not_looked_at_and_a_problem_is_no_news(stage):
    stage.deliver(Verb.OPEN)
    stage.system._post({"request": {"subject": "y"}}, stage.system._person("ada@example.com"), "requests")
    stage.person("2", "resolve")
    stage.sink.write_problem(make_problem_order(), None)

    assert stage.news() == []
    assert len(stage.asked("GET", "/history")) == 1


# ---- is it set up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "subject", "remedy"),
    [
        ({"key_field": "udf_sline_77"}, "key field", "add a single-line field to requests"),
        ({"resolved": "Done"}, "statuses", "`resolved`, `reopened`, `final` and `waiting`"),
        ({"priority": ["P1", "P2", "P3", "P4", "P5"]}, "priorities", "`priority`"),
        ({"fallback_group": "Nobody"}, "groups", "`groups` and `fallback_group`"),
        ({"user": "ada@example.com"}, "user", f"write '{USER}' as user"),
    ],
)
def test_a_check_names_what_must_be_changed(stage, settings, subject, remedy):
    stage.deliver(Verb.OPEN)

    stage.restart(**settings)

    ((found, told),) = stage.wrong()

    assert found == subject
    assert remedy in told


def test_a_check_with_wrong_credentials_ends_there(stage, tmp_path):
    stage.restart(technician_key_file=secret_file(tmp_path, "wrong", "wrong"))

    (finding,) = stage.sink.check()

    assert finding.subject == "credentials"
    assert "technician key" in finding.remedy


def test_a_check_tells_a_technician_who_may_not_see_problems_from_a_field_that_is_not_there(stage):
    search = stage.system._list

    def hidden(given, user, kind):
        return stage.system.refuse(Fault.FORBIDDEN) if kind == "problems" else search(given, user, kind)

    stage.system._list = hidden

    ((subject, remedy),) = stage.wrong()
    assert subject == "permissions"
    assert "full control of requests (and problems)" in remedy


def test_a_check_says_that_problems_need_a_field(stage):
    findings = stage.restart(problem_key_field="").check()

    assert [finding.observed for finding in findings if finding.subject == "problems"] == [
        "problem_key_field is empty, so no problem is opened there"
    ]
    assert PROBLEM_KEY_FIELD not in str(findings)
