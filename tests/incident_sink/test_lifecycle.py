"""What every sink with a stand-in does over a real socket, through a whole life of a ticket and through all that fails.

A kind takes part by having a file of its name in foreshock/sandbox, or a real server in foreshock/testing.
"""

import pytest
from msgspec.structs import replace

from foreshock.core.contracts import ProblemReading, Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.sandbox.faults import Fault
from foreshock.service.sink_test import look
from foreshock.testing.sinks import CALLS, SINKS, STAGED, Bench, first_faults
from foreshock.testing.ticket_servers import TICKET_SERVERS
from foreshock.testing.tickets import make_order, make_problem_order

HOSTILE = [
    "'; DROP TABLE incident; --",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{7*7}} ${7*7} %(x)s {0} {code}x{code} [code]<b>x</b>[/code] *bold* !image.png! [~admin]",
    "line\r\nInjected-Header: yes",
    "nul\x00 bell\x07 escape\x1b[31m",
    "right\u202eto left, \ud83d\ude00 as half pairs, \udc00 alone",
    "a^ORDERBYnumber^NQactive=true & = ? # % ' \" \\",
    "☠️" * 3000,
    "",
]


WITH_PROBLEMS = [each for each, stood in STAGED.items() if SINKS[stood.kind].problems]
WITH_ENDED_PROBLEMS = [each for each in WITH_PROBLEMS if each != "servicenow"]
"""ServiceNow leaves the state of a problem to people: it goes on with the same one."""
WITH_ONE_PROBLEM = [each for each in WITH_PROBLEMS if each != "jira_sm"]
"""In Jira an incident may be linked to several."""
WITH_LOCKED_WRITES = ["zendesk", "request_tracker", "roundup"]
"""These write only what nobody changed since it was read."""
FAULTS = [Fault.LOST, Fault.RESET, Fault.ERROR, Fault.LIMITED, Fault.DENIED, Fault.TRUNCATED, Fault.HTML]
STRUCK = [
    *((each, fault) for each in STAGED for fault in FAULTS),
    *((each, fault) for each in TICKET_SERVERS for fault in FAULTS[:2]),  # the others' answers would not be theirs
]


@pytest.fixture(params=[*STAGED, *TICKET_SERVERS])
def stage(request, staged_kind):
    with staged_kind(request.param) as made:
        yield made


@pytest.fixture
def bench(stage, store):
    return Bench(stage, store)


CALLED = {
    "find": lambda sink: sink.find("S-1"),
    "deliver": lambda sink: sink.deliver(make_order(sink="prod"), None),
    "changes": lambda sink: sink.changes(0),
}


# ---- a life ---------------------------------------------------------------------------------------------------------


def test_a_ticket_is_opened_with_its_key_title_description_and_note(stage):
    receipt = stage.deliver(Verb.OPEN, title="db1 is down", description="2 alerts on 1 CI", note="it begins")

    record = stage.one()
    assert (record.number, record.state, record.title) == (receipt.number, "open", "db1 is down")
    assert any("2 alerts on 1 CI" in text and "https://noc.example/incidents/S-1" in text for text in record.texts)
    assert any("it begins" in note for note in record.notes)
    assert receipt.url.startswith(stage.server.url)


def test_an_update_changes_what_differs_and_tells_it_in_a_note(stage):
    receipt = stage.deliver(Verb.OPEN, title="db1 is down")

    after = stage.deliver(Verb.UPDATE, receipt, version=2, title="db1 and db2 are down", note="+1 CI")

    assert after.number == receipt.number
    assert stage.one().title == "db1 and db2 are down"
    assert any("+1 CI" in note for note in stage.one().notes)


def test_an_update_that_changes_nothing_writes_nothing(stage):
    receipt = stage.deliver(Verb.OPEN)
    before = stage.server.ledger.effects()

    stage.deliver(Verb.UPDATE, receipt, version=2, title="db1 is down", impact=2, urgency=2)

    assert stage.server.ledger.effects() == before


def test_a_ticket_is_resolved_and_reopened_as_the_same_record(stage):
    receipt = stage.deliver(Verb.OPEN)
    receipt = stage.deliver(Verb.RESOLVE, receipt, version=2, note="over")
    assert stage.one().state == "resolved"

    stage.deliver(Verb.REOPEN, receipt, version=3, note="again")

    assert (stage.one().state, stage.one().number) == ("open", receipt.number)


def test_what_was_closed_for_good_is_followed_by_one_new_ticket(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "close")

    order = make_order(Verb.REOPEN, sink="prod", version=2, title="db1 is down again")
    after = stage.sink.deliver(order, receipt)
    stage.clock.move(600)
    again = stage.sink.deliver(order, receipt)

    still_open = [record for record in stage.held() if record.state == "open"]
    assert [record.number for record in still_open] == [after.number] == [again.number]
    stage.settle()
    assert stage.sink.find("S-1").number == after.number


def test_what_was_deleted_is_a_dead_letter_and_opens_anew_when_it_recurs(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "delete")

    with pytest.raises(Rejected, match=rf"has no {receipt.number} of S-1 any more \(deleted, or hidden"):
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    assert stage.sink.find("S-1") is None
    again = stage.deliver(Verb.REOPEN, receipt, version=3, title="again")
    assert again.number == stage.one().number != receipt.number


def test_a_description_that_changed_is_told_once(stage):
    receipt = stage.deliver(Verb.OPEN, description="one")
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, description="one and two")
    stage.deliver(Verb.UPDATE, receipt, version=3, description="one and two", note="trend is falling")

    record = stage.one()
    assert any("one and two" in text for text in record.texts)
    assert sum("one and two" in note for note in record.notes) <= 1
    assert sum("trend is falling" in note for note in record.notes) == 1


def test_a_ticket_is_found_by_its_key_and_no_other(stage):
    first, second = stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2")
    stage.settle()

    assert [stage.sink.find(key).number for key in ("S-1", "S-2")] == [first.number, second.number]
    assert stage.sink.find("S-") is None
    assert stage.sink.find("S-1^active=true") is None


def test_a_search_says_how_the_record_stands(stage):
    ticket = stage.deliver(Verb.OPEN)
    stage.settle()
    assert stage.sink.find("S-1").state == "open"

    stage.deliver(Verb.RESOLVE, ticket, version=2)
    stage.settle()

    assert stage.sink.find("S-1").state in ("resolved", "closed")


def test_twenty_puts_make_one_ticket_with_one_note(stage):
    order = make_order(sink="prod", note="it begins")
    receipt = stage.sink.deliver(order, None)
    update = make_order(Verb.UPDATE, sink="prod", version=2, title="worse", note="it grows")

    for _ in range(19):
        stage.clock.move(60)
        assert stage.sink.deliver(order, None).number == receipt.number
    for _ in range(20):
        stage.clock.move(60)
        stage.sink.deliver(update, receipt)  # as if no answer had ever told what was kept since

    notes = stage.one().notes
    assert [sum(word in note for note in notes) for word in ("it begins", "it grows")] == [1, 1]


@pytest.mark.parametrize("stage", WITH_PROBLEMS, indirect=True)
def test_problems_are_opened_once_and_their_incidents_linked(stage):
    incidents = (stage.deliver(Verb.OPEN), stage.deliver(Verb.OPEN, situation="S-2"))
    order = make_problem_order(note="3 times", incidents=incidents)

    first = stage.sink.write_problem(order, None)
    again = stage.sink.write_problem(order, stage.sink.find_problem("P-1"))

    (problem,) = stage.held("P-1", "problem")
    assert first.number == again.number == problem.number
    assert [problem.number in stage.one(key).links for key in ("S-1", "S-2")] == [True, True]
    assert sum("3 times" in note for note in problem.notes) == 1


@pytest.mark.parametrize("stage", WITH_PROBLEMS, indirect=True)
def test_a_problem_of_a_forecast_has_no_incident_yet_and_gets_it_once_it_came_true(stage):
    first = stage.sink.write_problem(make_problem_order(note="/var is full in 9 h"), None)
    (foreseen,) = stage.held("P-1", "problem")

    incident = stage.deliver(Verb.OPEN)
    stage.sink.write_problem(make_problem_order(version=2, note="it came true", incidents=(incident,)), first)

    (problem,) = stage.held("P-1", "problem")
    assert foreseen.number == problem.number == first.number
    assert problem.number in stage.one().links


@pytest.mark.parametrize("stage", WITH_PROBLEMS, indirect=True)
def test_whether_problems_can_be_kept_there_is_looked_at_without_opening_one(stage):
    found = {finding.subject: finding for finding in look(stage.sink, problems=True)}

    assert found["problems"].observed == "they can be searched"
    assert stage.held("foreshock-test", "problem") == []


@pytest.mark.parametrize("stage", WITH_PROBLEMS, indirect=True)
def test_an_account_that_may_not_read_problems_is_told_what_to_change(stage, monkeypatch):
    def denied(*_):
        raise Denied("prod refused the account at /problems (HTTP 403)")

    monkeypatch.setattr(stage.sink, "find_problem", denied, raising=False)

    found = {finding.subject: finding for finding in look(stage.sink, problems=True)}

    assert "HTTP 403" in found["problems"].observed
    assert "set `problems: false`" in found["problems"].remedy
    assert "problems" not in {finding.subject for finding in look(stage.sink, problems=False) if finding.remedy}


@pytest.mark.parametrize("stage", WITH_ENDED_PROBLEMS, indirect=True)
def test_a_problem_that_recurs_after_it_was_closed_is_followed_by_a_new_one(stage):
    first = stage.sink.write_problem(make_problem_order(), None)
    stage.person(first.number, "close")

    again = stage.sink.write_problem(make_problem_order(version=2, title="again"), first)
    stage.settle()

    assert again.number != first.number
    assert stage.sink.find_problem("P-1").number == again.number


@pytest.mark.parametrize("stage", WITH_ONE_PROBLEM, indirect=True)
def test_an_incident_that_belongs_to_another_problem_stays_there(stage):
    incident = stage.deliver(Verb.OPEN)
    other = stage.sink.write_problem(make_problem_order(key="P-9", incidents=(incident,)), None)

    stage.sink.write_problem(make_problem_order(incidents=(incident,)), None)

    assert stage.one().links == (other.number,)


def test_what_people_write_of_a_problem_and_that_they_ended_it_is_read_back(stage):
    if not stage.kind.known_errors:
        pytest.skip("its problems are not read")
    stage.restart(**getattr(stage.system, "known_error_settings", {}))
    receipt = stage.sink.write_problem(make_problem_order(), None)
    assert stage.sink.read_problem(receipt) == ProblemReading()

    stage.person(receipt.number, "workaround", text="restart the pool")
    assert stage.sink.read_problem(receipt) == ProblemReading(known_error="restart the pool")

    stage.person(receipt.number, "close")
    assert stage.sink.read_problem(receipt) == ProblemReading(ended="closed", known_error="restart the pool")

    stage.person(receipt.number, "delete")
    assert stage.sink.read_problem(receipt) is None


# ---- people win -----------------------------------------------------------------------------------------------------


def test_a_title_that_a_person_changed_stays_theirs(stage):
    receipt = stage.deliver(Verb.OPEN, title="db1 is down", description="one")
    stage.person(receipt.number, "retitle", text="ADA LOOKS AT IT")

    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, title="db1 and db2 are down", description="two")
    stage.deliver(Verb.UPDATE, receipt, version=3, title="db1, db2 and db3 are down", description="three")

    assert stage.one().title == "ADA LOOKS AT IT"
    assert any("three" in text for text in stage.one().texts)


def test_a_ticket_that_was_adopted_is_updated_but_not_where_a_person_wrote(stage):
    numbers = [stage.deliver(Verb.OPEN, situation=key).number for key in ("S-1", "S-2")]
    stage.person(numbers[1], "retitle", text="ADA LOOKS")
    stage.settle()
    for key in ("S-1", "S-2"):
        stage.deliver(Verb.UPDATE, stage.sink.find(key), situation=key, version=2, title="worse")

    assert [stage.one(key).title for key in ("S-1", "S-2")] == ["worse", "ADA LOOKS"]


@pytest.mark.parametrize("stage", WITH_LOCKED_WRITES, indirect=True)
def test_a_write_that_a_person_overtook_is_tried_again_and_takes_nothing_back(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.overtake(receipt.number, "retitle", text="ADA LOOKS")

    order = make_order(Verb.UPDATE, sink="prod", version=2, title="worse", note="it grows")
    with pytest.raises(Unavailable) as raised:
        stage.sink.deliver(order, receipt)
    stage.sink.deliver(order, receipt)

    assert raised.value.unsent
    assert stage.one().title == "ADA LOOKS"
    assert sum("it grows" in note for note in stage.one().notes) == 1


@pytest.mark.parametrize(
    ("ownership", "new", "title"),
    [
        ("human", "db3 is down", "ADA LOOKS"),
        ("last_writer", "db1 is down", "ADA LOOKS"),
        ("last_writer", "db3 is down", "db3 is down"),
        ("ours", "db1 is down", "db1 is down"),
    ],
)
def test_whose_a_title_is_can_be_said(stage, ownership, new, title):
    stage.restart(ownership={"title": ownership})
    receipt = stage.deliver(Verb.OPEN, title="db1 is down")
    stage.person(receipt.number, "retitle", text="ADA LOOKS")

    stage.deliver(Verb.UPDATE, receipt, version=2, title=new)

    assert stage.one().title == title


@pytest.mark.parametrize("action", ["resolve", "close"])
def test_what_a_person_ended_is_neither_changed_nor_reopened_by_an_update_or_a_resolve(stage, action):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, action)
    ended = stage.one()

    stage.deliver(Verb.UPDATE, receipt, version=2, title="worse")
    stage.deliver(Verb.RESOLVE, receipt, version=3)

    assert (stage.one().state, stage.one().title) == (ended.state, ended.title)


def test_what_people_do_is_read_in_order_once_and_with_their_names(stage):
    receipt = stage.deliver(Verb.OPEN, note="it begins")
    stage.person(receipt.number, "take", actor="ada")
    stage.person(receipt.number, "comment", actor="ada", text="I look at the disk")
    stage.deliver(Verb.UPDATE, receipt, version=2, note="it grows")
    stage.settle()
    first = list(stage.sink.changes(0))
    stage.person(receipt.number, "resolve", actor="ada", text="new disk")
    stage.settle()
    second = list(stage.sink.changes(first[-1].sequence))

    told = [*first, *second]
    assert sorted(change.state for change in first) == ["commented", "taken"]
    assert [change.state for change in second] == ["resolved"]
    assert {(change.situation, change.number) for change in told} == {("S-1", receipt.number)}
    assert all("ada" in change.actor.casefold() for change in told)
    assert [change.comment for change in first if change.state == "commented"] == ["I look at the disk"]
    assert [change.sequence for change in told] == sorted({change.sequence for change in told})
    assert list(stage.sink.changes(told[-1].sequence)) == []


def test_a_reopening_by_a_person_is_read_back(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "resolve")
    stage.settle()
    first = list(stage.sink.changes(0))
    stage.person(receipt.number, "reopen", actor="ada")
    stage.settle()

    assert [change.state for change in stage.sink.changes(first[-1].sequence)] == ["reopened"]


WAITS_FOR = {
    "bmc_helix": "Client Action Required",
    "freshservice": "Pending: the vendor",
    "jira_sm": "Pending: the vendor",
    "request_tracker": "stalled: the vendor",
    "roundup": "need-eg: the vendor",
    "servicedesk_plus": "On Hold",
    "servicenow": "Awaiting Vendor",
    "zendesk": "On-hold: the vendor",
}


def told_after(stage, cursor, *actions, **details):
    """States and comments of what is told once people did that, and the cursor behind it."""
    for action in actions:
        stage.person(stage.one().number, action, **details)
    stage.settle()
    found = [change for change in stage.sink.changes(cursor) if change.state != "commented"]
    return [(change.state, change.comment) for change in found], max((each.sequence for each in found), default=cursor)


def test_that_a_ticket_waits_is_told_once_with_the_reason_and_that_it_goes_on(stage):
    receipt = stage.deliver(Verb.OPEN)

    waits, cursor = told_after(stage, 0, "wait", text="the vendor")
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, title="worse", note="it grows")
    nothing, _ = told_after(stage, cursor)
    goes_on, cursor = told_after(stage, cursor, "resume", actor="bob")

    assert waits == [("pending", WAITS_FOR[stage.kind.kind])]
    assert nothing == []
    assert goes_on == [("resumed", "")]
    assert told_after(stage, cursor) == ([], cursor)


@pytest.mark.parametrize("updated", [False, True], ids=["untouched", "updated by Foreshock"])
def test_after_a_restart_a_wait_is_not_told_again_and_its_end_is(stage, updated):
    receipt = stage.deliver(Verb.OPEN)
    stage.deliver(Verb.OPEN, situation="S-2")
    _, cursor = told_after(stage, 0, "wait", text="the vendor")
    stage.person(stage.one("S-2").number, "take")
    stage.settle()
    cursor = max(change.sequence for change in stage.sink.changes(cursor))
    if updated:
        stage.deliver(Verb.UPDATE, receipt, version=2, title="worse", note="it grows")

    stage.restart()
    nothing, _ = told_after(stage, cursor)
    goes_on, cursor = told_after(stage, cursor, "resume")

    assert nothing == []
    assert [state for state, _ in goes_on] == ["resumed"]
    stage.restart()
    assert told_after(stage, cursor) == ([], cursor)


def test_a_ticket_that_waits_is_told_as_resolved_only_once_it_is_resolved(stage):
    stage.deliver(Verb.OPEN)
    _, cursor = told_after(stage, 0, "wait", text="the vendor")

    ended, cursor = told_after(stage, cursor, "resolve")
    again, _ = told_after(stage, cursor, "reopen")

    assert [state for state, _ in ended] == ["resolved"]
    assert [state for state, _ in again] == ["reopened"]


def test_waits_that_follow_each_other_are_told_each(stage):
    stage.deliver(Verb.OPEN)
    told, cursor = [], 0
    for _ in range(2):
        for action in ("wait", "resume"):
            found, cursor = told_after(stage, cursor, action)
            told += [state for state, _ in found]

    assert told == ["pending", "resumed", "pending", "resumed"]


def test_changes_have_the_same_numbers_after_a_restart_and_are_given_until_they_arrived(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")
    stage.person(receipt.number, "comment", text="hm")
    stage.settle()

    first = list(stage.sink.changes(0))
    again = list(stage.sink.changes(0))

    assert [change.state for change in first] == ["taken", "commented"]
    assert again == first
    assert list(stage.restart().changes(0)) == first
    assert list(stage.restart().changes(first[0].sequence)) == first[1:]


def test_our_own_writes_are_no_news(stage):
    receipt = None
    for version, verb in enumerate((Verb.OPEN, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN, Verb.RESOLVE), 1):
        receipt = stage.deliver(verb, receipt, version=version, title=f"version {version}", note=f"note {version}")
        stage.settle()

        assert list(stage.sink.changes(0)) == []
        assert list(stage.restart().changes(0)) == []


def test_what_happens_in_the_very_second_of_a_visit_is_not_lost(stage):
    numbers = [stage.deliver(Verb.OPEN, situation=f"S-{n}").number for n in range(12)]
    stage.clock.move(60)
    told = []
    for half in (numbers[::2], numbers[1::2]):
        for number in half:
            with stage.server.lock:
                stage.system.edit(number, "take")
        told += stage.sink.changes(told[-1].sequence if told else 0)
    stage.settle()
    told += stage.sink.changes(told[-1].sequence if told else 0)

    assert sorted(change.number for change in told) == sorted(numbers)


def test_what_happened_this_second_is_read_a_little_later_rather_than_lost(stage):
    receipt = stage.deliver(Verb.OPEN)
    stage.person(receipt.number, "take")

    early = list(stage.sink.changes(0))
    stage.settle()
    late = list(stage.sink.changes(early[-1].sequence if early else 0))

    assert [change.state for change in [*early, *late]] == ["taken"]


# ---- hostile text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_arrives_as_text(stage, text):
    fields = {"title": text, "description": text, "assignment_group": text, "ci": text, "services": [text]}
    receipt = stage.deliver(Verb.OPEN, **fields, severity=text, note=text)
    receipt = stage.deliver(Verb.UPDATE, receipt, version=2, **{**fields, "title": f"2 {text}"}, note=f"2 {text}")
    stage.deliver(Verb.RESOLVE, receipt, version=3, note=text)

    record = stage.one()
    assert record.state == "resolved"
    assert "\n" not in record.title
    if stage.kind.kind == "servicenow":  # to others it is text
        assert not any("[code]" in note for note in record.notes)
    for shown in record.texts:
        assert "\x00" not in shown
        assert "\u202e" not in shown
    assert stage.held("S-2") == []


# ---- what fails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.ERROR, Unavailable),
        (Fault.LIMITED, Unavailable),
        (Fault.RESET, Unavailable),
        (Fault.LOST, Unavailable),
        (Fault.TRUNCATED, Unavailable),
        (Fault.HTML, Unavailable),
        (Fault.HUGE, Unavailable),
        (Fault.DENIED, Denied),
        (Fault.FORBIDDEN, Denied),
    ],
)
@pytest.mark.parametrize("verb", CALLED)
def test_each_failure_is_told_by_what_happens_next_and_names_the_instance(stage, fault, error, verb):
    stage.deliver(Verb.OPEN, situation="S-0")
    stage.faults.script(*[fault] * CALLS)

    with pytest.raises(error) as raised:
        CALLED[verb](stage.sink)

    assert "'prod'" in str(raised.value)
    assert all(str(value) not in str(raised.value) for value in ("sandbox-secret",))


def test_a_limit_says_how_long_to_wait(stage):
    stage.faults.script(*[Fault.LIMITED] * CALLS)

    with pytest.raises(Unavailable) as raised:
        stage.sink.find("S-1")

    assert raised.value.unsent
    assert raised.value.retry_after_s >= 1


@pytest.mark.parametrize("fault", [Fault.DELAY, Fault.SLOW, Fault.DUPLICATE])
def test_what_is_slow_or_arrives_twice_still_makes_one_ticket(stage, fault):
    stage.faults.script(*[fault] * CALLS)
    stage.deliver(Verb.OPEN)

    assert len(stage.held()) == 1


# ---- through a real delivery lane -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "fault"), STRUCK, indirect=["stage"])
@pytest.mark.parametrize("call", range(1, 5))
def test_whatever_fails_at_whichever_call_there_is_one_ticket_in_its_last_state(bench, fault, call):
    stage = bench.stage
    for version, verb in enumerate((Verb.OPEN, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN, Verb.RESOLVE), 1):
        stage.clock.move(60)
        bench.plan(make_order(verb, sink="prod", version=version, title=f"version {version}", note=f"note {version}."))
        stage.faults.script(*first_faults(fault, call))
        bench.run()
        stage.faults.script()

    (record,) = stage.held()
    assert record.state == "resolved"
    assert record.title == "version 4" or record.title == "version 5"
    for version in range(1, 6):
        assert sum(f"note {version}." in note for note in record.notes) <= 1
    assert bench.outbox.ticket("S-1", "prod").number == record.number
    assert bench.outbox.ticket("S-1", "prod").state is TicketState.CONFIRMED


@pytest.mark.parametrize("call", range(1, 4))
def test_a_restart_after_a_lost_answer_makes_no_second_ticket(bench, call):
    bench.plan(make_order(sink="prod", note="it begins"))
    bench.stage.faults.script(*first_faults(Fault.LOST, call))
    bench.lane.work()
    bench.new_lane()
    bench.run()

    (record,) = bench.stage.held()
    assert sum("it begins" in note for note in record.notes) == 1


@pytest.mark.parametrize("stage", WITH_PROBLEMS, indirect=True)
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.RESET, Fault.ERROR], ids=lambda fault: fault.value)
@pytest.mark.parametrize("call", range(1, CALLS))
def test_a_fault_at_any_call_leaves_one_problem_with_its_incidents_linked(bench, call, fault):
    bench.plan(*(make_order(situation=each, sink="prod") for each in ("S-1", "S-2")))
    bench.run()
    order = {"situation": "P-1", "sink": "prod", "title": "db1 keeps failing"}
    first = replace(make_order(**order, note="3rd time"), incidents=("S-1",))
    again = replace(make_order(Verb.UPDATE, **order, version=2, note="4th time"), incidents=("S-2",))

    bench.stage.faults.script(*first_faults(fault, call))
    bench.plan(first, again)
    bench.lane.work()
    bench.new_lane()
    bench.run()

    (problem,) = bench.stage.held("P-1", "problem")
    assert [problem.number in bench.stage.one(key).links for key in ("S-1", "S-2")] == [True, True]
    assert [sum(word in note for note in problem.notes) for word in ("3rd time", "4th time")] == [1, 1]
    told = [change for change in bench.told if change.situation == "P-1"]
    assert {change.number for change in told} == {problem.number}


def test_an_account_that_may_not_touch_problems_goes_on_with_tickets(bench, monkeypatch):
    def denied(*_):
        raise Denied("prod refused the account at /problems (HTTP 403)")

    monkeypatch.setattr(bench.stage.sink, "write_problem", denied, raising=False)
    monkeypatch.setattr(bench.stage.sink, "find_problem", denied, raising=False)
    order = make_order(situation="P-1", sink="prod", title="db1 keeps failing")
    bench.plan(replace(order, incidents=("S-1",)), make_order(sink="prod"))

    bench.run()

    (refused,) = [change for change in bench.told if change.situation == "P-1"]
    assert refused.state == "rejected"
    assert "set `problems: false` on sink 'prod'" in refused.comment
    assert [record.state for record in bench.stage.held()] == ["open"]
    assert not bench.lane.status().hold


def test_many_tickets_through_many_faults_end_as_one_each(bench):
    stage = bench.stage
    rates = {Fault.LOST: 0.1, Fault.RESET: 0.05, Fault.ERROR: 0.05, Fault.LIMITED: 0.05, Fault.TRUNCATED: 0.05}
    stage.faults.set_rates(rates)
    count = 5 if stage.kind.kind in TICKET_SERVERS else 20
    situations = [f"S-{number}" for number in range(1, count + 1)]
    for version, verb in enumerate((Verb.OPEN, Verb.UPDATE, Verb.RESOLVE), 1):
        bench.plan(*(make_order(verb, situation=each, sink="prod", version=version, title=each) for each in situations))
        bench.run(passes=400)

    for situation in situations:
        assert [record.state for record in stage.held(situation)] == ["resolved"]
    assert stage.faults.struck[Fault.LOST] >= 1
