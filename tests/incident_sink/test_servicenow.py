import pytest
from pydantic import ValidationError

from foreshock.core.contracts import Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.sandbox.servicenow import API_KEY, CLIENT_ID, CLIENT_SECRET
from foreshock.sandbox.system import secret_file
from incident_sink.servicenow import SINK


def row(stage, number):
    return stage.system._by_number(number)


# ---- the way in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["password", "client_credentials", "api_key"])
def test_each_way_in_opens_a_ticket(stage, tmp_path, way):
    files = {name: secret_file(tmp_path, name, value) for name, value in (("s", CLIENT_SECRET), ("k", API_KEY))}
    if way == "api_key":
        stage.settings = {**stage.settings, "password_file": None, "api_key_file": files["k"]}
    else:
        stage.settings |= {"client_id": CLIENT_ID, "client_secret_file": files["s"]}
        stage.settings |= {"password_file": None} if way == "client_credentials" else {}
    stage.restart()

    assert stage.deliver(Verb.OPEN).number == "INC0010001"
    assert any(entry.path == "/oauth_token.do" for entry in stage.server.ledger.entries()) == (way != "api_key")


def test_a_token_that_was_revoked_is_fetched_again_without_losing_the_order(stage, tmp_path):
    stage.settings |= {"client_id": CLIENT_ID, "client_secret_file": secret_file(tmp_path, "s", CLIENT_SECRET)}
    stage.restart()
    receipt = stage.deliver(Verb.OPEN)
    stage.system.revoke_tokens()

    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")

    assert stage.one().title == "worse"


def test_a_wrong_client_secret_is_denied_and_not_shown(stage, tmp_path):
    stage.settings |= {"client_id": CLIENT_ID, "client_secret_file": secret_file(tmp_path, "s", "wrong-secret")}

    with pytest.raises(Denied, match=r"servicenow 'prod' at POST /oauth_token.do answered HTTP 401") as raised:
        stage.restart().find("S-1")

    assert "wrong-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://example.service-now.com"}, "would be reached without encryption"),
        ({"url": "https://bot:pw@example.service-now.com"}, "it holds a user or a password"),
        ({"password_file": None}, "it has no credentials"),
        ({"client_id": "x"}, "client_id has no client_secret_file"),
        ({"api_key_file": "k"}, "api_key_file stands beside other credentials"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_start(settings, message):
    sound = {"url": "https://example.service-now.com", "user": "bot", "password_file": "p"}
    with pytest.raises(ValidationError, match=message):
        SINK.config.model_validate({**sound, **settings})


# ---- what it writes -------------------------------------------------------------------------------------------------


def test_an_incident_carries_priority_group_ci_and_service_as_references(stage):
    fields = {"impact": 1, "urgency": 2, "assignment_group": "Database", "ci": "db1", "services": ["shop"]}
    found = row(stage, stage.deliver(Verb.OPEN, **fields).number)

    assert (found["impact"], found["urgency"], found["priority"]) == ("1", "2", "2")
    assert found["correlation_display"] == "Foreshock"
    for table, name, field in (
        ("sys_user_group", "Database", "assignment_group"),
        ("cmdb_ci", "db1", "cmdb_ci"),
        ("cmdb_ci_service", "shop", "business_service"),
    ):
        assert stage.system._find(table, found[field])["name"] == name


@pytest.mark.parametrize(
    ("config", "group", "expected"),
    [
        ({}, "nobody knows it", "Service Desk"),
        ({"assignment_groups": {"dba": "Database"}}, "dba", "Database"),
        ({"fallback_group": ""}, "nobody knows it", None),
    ],
)
def test_an_unknown_group_falls_back_and_never_stops_a_ticket(stage, config, group, expected):
    stage.restart(**config)
    found = row(stage, stage.deliver(Verb.OPEN, assignment_group=group).number)

    assert (stage.system._find("sys_user_group", found["assignment_group"]) or {}).get("name") == expected


def test_two_groups_of_one_name_are_not_guessed_between(stage):
    stage.system.insert("sys_user_group", name="Database")
    found = row(stage, stage.deliver(Verb.OPEN, assignment_group="Database").number)

    assert stage.system._find("sys_user_group", found["assignment_group"])["name"] == "Service Desk"


def test_a_mandatory_field_that_is_not_filled_rejects_naming_it_and_the_remedy(stage):
    stage.system.mandatory = {"incident": {"category"}}

    with pytest.raises(Rejected, match=r"mandatory: category.*fill the field it asks for through `fixed`"):
        stage.deliver(Verb.OPEN)

    stage.restart(fixed={"category": "network"})
    assert row(stage, stage.deliver(Verb.OPEN).number)["category"] == "network"


def test_a_key_that_is_not_stored_is_told_with_the_number_of_the_incident(stage):
    stage.system.unwritable = {"incident.correlation_id"}

    with pytest.raises(Rejected, match=r"created INC0010001 without our key: correlation_id is '' instead of 'S-1'"):
        stage.deliver(Verb.OPEN)


def test_a_state_that_is_not_taken_is_an_error_and_not_a_success(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.restart(close_code="")

    with pytest.raises(Rejected, match="Close code, Close notes"):
        stage.deliver(Verb.RESOLVE, receipt, version=2)


def test_the_follower_of_a_closed_incident_names_it_as_its_parent(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")
    after = stage.deliver(Verb.REOPEN, receipt, version=2, title="again")

    assert stage.system._find("incident", row(stage, after.number)["parent_incident"])["number"] == receipt.number


def test_html_of_a_journal_arrives_as_text(stage):
    stage.deliver(Verb.OPEN, note="[code]<b>bold</b>[/CODE]")

    assert "[ code]<b>bold</b>[ /code]" in stage.one().notes[0]


# ---- what it reads --------------------------------------------------------------------------------------------------


def test_a_filter_that_servicenow_ignores_is_noticed_and_nothing_wrong_is_adopted(stage):
    stage.deliver(Verb.OPEN, situation="S-0")
    stage.restart(key_field="u_no_such_field")

    with pytest.raises(Denied, match=r"answered a query on 'u_no_such_field' of incident with rows that have no such"):
        stage.sink.find("S-1")


def test_an_answer_that_was_cut_because_it_took_too_long_is_no_answer(stage):
    stage.system.too_slow = True

    with pytest.raises(Unavailable, match=r"maximum execution time exceeded; put an index"):
        stage.sink.find("S-1")


def test_an_hourly_limit_says_until_when(stage):
    stage.system.hourly_limit = 1
    stage.sink.find("S-1")

    with pytest.raises(Unavailable) as raised:
        stage.sink.find("S-1")

    assert 3000 < raised.value.retry_after_s <= 3600


def test_a_close_code_is_read_back_as_a_label(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close", code="Duplicate", text="see INC1")
    stage.settle()

    (change,) = stage.sink.changes(0)

    assert (change.state, change.code, change.comment) == ("closed", "Duplicate", "see INC1")


def test_comments_that_may_not_be_read_stop_nothing_else_and_are_told(stage):
    stage.system.unreadable |= {"sys_journal_field"}
    receipt = stage.deliver(Verb.OPEN, note="it begins")
    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse", note="it grows")
    stage.person(receipt.number, "take")
    stage.settle()

    assert [change.state for change in stage.sink.changes(0)] == ["taken"]
    assert stage.wrong() == [("comments", "let foreshock read sys_journal_field")]


# ---- is it set up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "config", "subject", "remedy"),
    [
        (lambda system: system.passwords.clear(), {}, "credentials", "check user and password"),
        (lambda system: system.roles.update(foreshock=set()), {}, "credentials", "role it needs"),
        (lambda system: None, {"table": "u_none"}, "credentials", "check the name of the table"),
        (lambda system: None, {"key_field": "u_key"}, "key field", "create the field on incident"),
        (
            lambda system: (
                system.unreadable.clear()
                or system.insert("sys_dictionary", name="incident", element="u_site", mandatory="true")
            ),
            {},
            "mandatory fields",
            "fixed: {u_site: …}",
        ),
        (lambda system: None, {"close_code": "Solved (Permanently)"}, "close_code", "into close_code of this sink"),
        (lambda system: None, {"resolved": "66"}, "state", "into resolved, reopened, final or waiting of this sink"),
        (lambda system: None, {"fallback_group": "Nobody"}, "assignment groups", "correct the name"),
    ],
)
def test_a_check_says_exactly_what_must_be_changed_and_writes_nothing(stage, change, config, subject, remedy):
    stage.deliver(Verb.OPEN, situation="S-0")
    before = stage.server.ledger.effects()
    change(stage.system)
    stage.restart(**config)

    ((found, told),) = stage.wrong()

    assert found == subject
    assert remedy in told
    assert stage.server.ledger.effects() == before
