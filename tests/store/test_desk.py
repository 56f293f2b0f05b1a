import threading
from datetime import timedelta

import pytest

from foreshock.core.contracts import DeskAction, DeskState, ProblemOrder, Verb
from foreshock.core.errors import Rejected
from foreshock.store.desk import Desk, Effect, effect
from foreshock.testing.tickets import NOON, make_order

LATER = NOON + timedelta(minutes=5)
EVEN_LATER = NOON + timedelta(minutes=9)


@pytest.fixture
def desk(store):
    return Desk(store)


def texts(desk, number):
    return [(note.author, note.text) for note in desk.notes(number)]


# ---- Foreshock's orders ----


def test_opening_creates_an_incident_with_what_the_order_says(desk):
    receipt = desk.apply(
        make_order(
            title="db1 is down",
            description="two alerts",
            severity="critical",
            assignment_group="dba",
            ci="db1",
            services=["shop"],
            causes=[],
            note="Opened by Foreshock: 2 active alerts.",
        )
    )

    record = desk.get(receipt.number)
    assert receipt.number == "INC0000001"
    assert receipt.url == "/incidents/S-1"
    assert record == desk.by_key("S-1")
    assert (record.title, record.description, record.severity) == ("db1 is down", "two alerts", "critical")
    assert (record.impact, record.urgency, record.priority) == (2, 2, 3)
    assert (record.assignment_group, record.ci, record.state) == ("dba", "db1", DeskState.NEW)
    assert (record.opened_at, record.updated_at, record.resolved_at) == (NOON, NOON, None)
    assert texts(desk, receipt.number) == [("Foreshock", "Opened by Foreshock: 2 active alerts.")]


def test_numbers_rise_by_one(desk):
    assert [desk.apply(make_order(situation=f"S-{n}")).number for n in (1, 2, 3)] == [
        "INC0000001",
        "INC0000002",
        "INC0000003",
    ]


def test_an_order_seen_before_changes_nothing_and_gives_the_same_receipt(desk):
    first = desk.apply(make_order(note="opened"))
    raised = make_order(Verb.UPDATE, version=2, priority=1, note="raised", at=LATER)
    desk.apply(raised)
    desk.act(first.number, DeskAction.TAKE, actor="ada", at=EVEN_LATER)
    before = desk.get(first.number), texts(desk, first.number)

    assert desk.apply(raised) == first
    assert desk.apply(make_order(note="opened")) == first

    assert (desk.get(first.number), texts(desk, first.number)) == before


def test_a_second_open_for_the_same_key_updates_the_record_that_is_there(desk):
    first = desk.apply(make_order(title="old"))
    second = desk.apply(make_order(id="another", version=2, title="new"))

    assert second == first
    assert desk.get(first.number).title == "new"
    assert len(desk.list()) == 1


def test_an_update_changes_only_what_it_names_and_tells_it_when_it_has_no_words(desk):
    number = desk.apply(make_order(title="db1 is down", description="long", assignment_group="dba")).number
    desk.apply(make_order(Verb.UPDATE, version=2, priority=1, description="longer", at=LATER))

    record = desk.get(number)
    assert (record.title, record.description, record.priority, record.assignment_group) == (
        "db1 is down",
        "longer",
        1,
        "dba",
    )
    assert record.updated_at == LATER
    assert texts(desk, number)[-1] == ("Foreshock", "priority 3 → 1")


def test_an_update_that_is_older_than_what_was_applied_is_ignored(desk):
    number = desk.apply(make_order(version=5)).number
    receipt = desk.apply(make_order(Verb.UPDATE, version=4, title="stale", note="stale"))

    assert receipt.number == number
    assert desk.get(number).title == "db1 is down"
    assert len(desk.notes(number)) == 1


def test_an_update_without_a_record_is_refused_naming_the_key(desk):
    with pytest.raises(Rejected, match="no incident with key 'S-1' to update"):
        desk.apply(make_order(Verb.UPDATE, version=2))


def test_a_rank_outside_its_scale_is_refused_and_writes_nothing(desk):
    with pytest.raises(Rejected, match="priority is 9, not 1 to 5"):
        desk.apply(make_order(priority=9))

    assert list(desk.list()) == []


def test_recovery_resolves_and_a_relapse_reopens_what_foreshock_resolved(desk):
    number = desk.apply(make_order()).number

    desk.apply(make_order(Verb.RESOLVE, version=2, note="all clear for 5 min", at=LATER))
    resolved = desk.get(number)
    desk.apply(make_order(Verb.REOPEN, version=3, note="it came back", at=EVEN_LATER))
    reopened = desk.get(number)

    assert (resolved.state, resolved.resolution_code, resolved.resolution_note, resolved.resolved_at) == (
        DeskState.RESOLVED,
        "recovered",
        "all clear for 5 min",
        LATER,
    )
    assert (reopened.state, reopened.resolution_code, reopened.resolved_at) == (DeskState.NEW, "", None)
    assert [text for _, text in texts(desk, number)][1:] == ["all clear for 5 min", "it came back"]


def test_a_taken_record_that_reopens_goes_back_to_the_person_who_had_it(desk):
    number = desk.apply(make_order()).number
    desk.act(number, DeskAction.TAKE, actor="ada", at=LATER)
    desk.apply(make_order(Verb.RESOLVE, version=2, at=LATER))
    desk.apply(make_order(Verb.REOPEN, version=3, at=LATER))

    record = desk.get(number)
    assert (record.state, record.assignee) == (DeskState.IN_PROGRESS, "ada")


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("closed", [False, True])
def test_a_record_that_a_person_resolved_or_closed_is_not_touched_and_the_order_counts_as_done(desk, verb, closed):
    number = desk.apply(make_order()).number
    desk.act(number, DeskAction.RESOLVE, actor="ada", at=LATER, text="replaced the disk")
    if closed:
        desk.act(number, DeskAction.CLOSE, actor="ada", at=LATER)
    before = desk.get(number), texts(desk, number)

    receipt = desk.apply(make_order(verb, id="late", version=7, title="new", note="new", at=EVEN_LATER))

    assert receipt.number == number
    assert (desk.get(number), texts(desk, number)) == before


def test_what_foreshock_resolved_and_a_person_closed_does_not_reopen(desk):
    number = desk.apply(make_order()).number
    desk.apply(make_order(Verb.RESOLVE, version=2))
    desk.act(number, DeskAction.CLOSE, actor="ada", at=LATER)

    desk.apply(make_order(Verb.REOPEN, version=3))

    assert desk.get(number).state is DeskState.CLOSED


@pytest.mark.parametrize(
    ("verb", "state", "resolved_by", "version", "expected"),
    [
        (Verb.UPDATE, DeskState.NEW, "", 1, Effect.UPDATE),
        (Verb.UPDATE, DeskState.NEW, "", 3, Effect.STALE),
        (Verb.OPEN, DeskState.IN_PROGRESS, "", 2, Effect.UPDATE),
        (Verb.RESOLVE, DeskState.IN_PROGRESS, "", 2, Effect.RESOLVE),
        (Verb.RESOLVE, DeskState.RESOLVED, "", 2, Effect.UPDATE),
        (Verb.REOPEN, DeskState.RESOLVED, "", 2, Effect.REOPEN),
        (Verb.REOPEN, DeskState.NEW, "", 2, Effect.UPDATE),
        (Verb.REOPEN, DeskState.RESOLVED, "ada", 2, Effect.HANDS_OFF),
        (Verb.UPDATE, DeskState.CLOSED, "", 2, Effect.HANDS_OFF),
    ],
)
def test_what_an_order_does_to_a_record(verb, state, resolved_by, version, expected):
    order = make_order(verb, version=2)

    assert effect(order, state=state, resolved_by=resolved_by, version=version) is expected


def test_hostile_text_is_kept_readable_and_within_its_column(desk):
    nasty = "a\x00b\ud800c'; DROP TABLE desk_record; --<script>"
    receipt = desk.apply(make_order(title=nasty, description=None, ci="x" * 5000, assignment_group=nasty, note=nasty))

    record = desk.get(receipt.number)
    assert record.title == "a\ufffdb\ufffdc'; DROP TABLE desk_record; --<script>"
    assert len(record.ci) == 256
    assert record.description == ""
    assert desk.notes(receipt.number)[0].text == record.title


def test_threads_that_open_at_once_get_numbers_of_their_own(desk):
    threads = [threading.Thread(target=desk.apply, args=(make_order(situation=f"S-{number}"),)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(record.number for record in desk.list()) == [f"INC{number:07d}" for number in range(1, 13)]


# ---- people ----


def test_a_record_that_waits_says_for_whom_and_goes_on_when_somebody_takes_it(desk):
    number = desk.apply(make_order()).number

    waiting = desk.act(number, DeskAction.WAIT, actor="ada", at=LATER, text="a part from the vendor")
    with pytest.raises(Rejected, match="is pending"):
        desk.act(number, DeskAction.WAIT, actor="ada", at=LATER, text="more")
    assert [record.number for record in desk.list(open_only=True)] == [number]
    going_on = desk.act(number, DeskAction.TAKE, actor="bob", at=EVEN_LATER)

    assert (waiting.state, going_on.state) == (DeskState.PENDING, DeskState.IN_PROGRESS)
    assert [(change.state, change.comment) for change in desk.journal(0, 9)] == [
        ("pending", "a part from the vendor"),
        ("taken", ""),
    ]
    with pytest.raises(Rejected, match="waits for nothing"):
        desk.act(number, DeskAction.WAIT, actor="ada", at=EVEN_LATER, text=" ")


def test_a_record_that_waits_is_updated_and_resolved_by_foreshock_like_any_other(desk):
    number = desk.apply(make_order()).number
    desk.act(number, DeskAction.WAIT, actor="ada", at=LATER, text="the vendor")

    desk.apply(make_order(id="o2", verb=Verb.RESOLVE, version=2))

    assert desk.get(number).state is DeskState.RESOLVED


def test_each_action_writes_record_note_and_journal_with_actor_and_time(desk):
    number = desk.apply(make_order()).number

    taken = desk.act(number, DeskAction.TAKE, actor="ada", at=LATER)
    desk.act(number, DeskAction.COMMENT, actor="bob", at=LATER, text="looking at the disk")
    resolved = desk.act(number, DeskAction.RESOLVE, actor="ada", at=LATER, text="new disk")
    reopened = desk.act(number, DeskAction.REOPEN, actor="bob", at=LATER, text="not quite")
    desk.act(number, DeskAction.RESOLVE, actor="ada", at=LATER, code="workaround")
    closed = desk.act(number, DeskAction.CLOSE, actor="bob", at=EVEN_LATER)

    assert (taken.state, taken.assignee) == (DeskState.IN_PROGRESS, "ada")
    assert (resolved.state, resolved.resolution_code, resolved.resolution_note) == (
        DeskState.RESOLVED,
        "fixed",
        "new disk",
    )
    assert (reopened.state, reopened.assignee, reopened.resolved_at) == (DeskState.IN_PROGRESS, "ada", None)
    assert (closed.state, closed.updated_at, closed.resolution_code) == (DeskState.CLOSED, EVEN_LATER, "workaround")
    assert texts(desk, number)[1:] == [
        ("ada", "taken"),
        ("bob", "looking at the disk"),
        ("ada", "resolved (fixed): new disk"),
        ("bob", "reopened: not quite"),
        ("ada", "resolved (workaround)"),
        ("bob", "closed"),
    ]
    journal = desk.journal(0, 100)
    assert [(change.state, change.actor, change.comment) for change in journal] == [
        ("taken", "ada", ""),
        ("commented", "bob", "looking at the disk"),
        ("resolved", "ada", "new disk"),
        ("reopened", "bob", "not quite"),
        ("resolved", "ada", ""),
        ("closed", "bob", ""),
    ]
    assert {(change.situation, change.number, change.sink, change.origin) for change in journal} == {
        ("S-1", number, "", "read")
    }


def test_the_journal_is_read_in_pages_after_a_cursor(desk):
    number = desk.apply(make_order()).number
    for text in ("one", "two", "three"):
        desk.act(number, DeskAction.COMMENT, actor="ada", at=LATER, text=text)

    first = desk.journal(0, 2)
    rest = desk.journal(first[-1].sequence, 2)

    assert [change.comment for change in (*first, *rest)] == ["one", "two", "three"]


REFUSED = [
    (DeskState.NEW, DeskAction.REOPEN),
    (DeskState.NEW, DeskAction.CLOSE),
    (DeskState.IN_PROGRESS, DeskAction.REOPEN),
    (DeskState.IN_PROGRESS, DeskAction.CLOSE),
    (DeskState.RESOLVED, DeskAction.TAKE),
    (DeskState.RESOLVED, DeskAction.RESOLVE),
    (DeskState.CLOSED, DeskAction.TAKE),
    (DeskState.CLOSED, DeskAction.RESOLVE),
    (DeskState.CLOSED, DeskAction.REOPEN),
    (DeskState.CLOSED, DeskAction.CLOSE),
]


@pytest.mark.parametrize(("state", "action"), REFUSED)
def test_an_action_that_the_state_does_not_allow_is_refused_naming_it_and_leaves_no_trace(desk, state, action):
    number = desk.apply(make_order()).number
    way = {
        DeskState.NEW: [],
        DeskState.IN_PROGRESS: [DeskAction.TAKE],
        DeskState.RESOLVED: [DeskAction.RESOLVE],
        DeskState.CLOSED: [DeskAction.RESOLVE, DeskAction.CLOSE],
    }
    for step in way[state]:
        desk.act(number, step, actor="ada", at=LATER)
    before = desk.get(number), texts(desk, number), desk.journal(0, 100)

    with pytest.raises(Rejected, match=f"INC0000001 is {state.value.replace('_', ' ')}, so it cannot be"):
        desk.act(number, action, actor="bob", at=EVEN_LATER)

    assert (desk.get(number), texts(desk, number), desk.journal(0, 100)) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": DeskAction.COMMENT, "text": "  "}, "the comment on INC0000001 is empty"),
        ({"action": DeskAction.RESOLVE, "code": "magic"}, "'magic' is no resolution code"),
        ({"action": DeskAction.TAKE, "actor": " "}, "names nobody"),
        ({"action": DeskAction.TAKE, "number": "INC0000009"}, "no record 'INC0000009'"),
    ],
)
def test_an_action_that_says_nothing_or_something_unknown_is_refused(desk, arguments, message):
    number = desk.apply(make_order()).number
    with pytest.raises(Rejected, match=message):
        desk.act(**{"number": number, "actor": "ada", "at": LATER, **arguments})


def test_open_records_are_listed_newest_first(desk):
    for n in (1, 2, 3):
        desk.apply(make_order(situation=f"S-{n}", at=NOON + timedelta(minutes=n)))
    desk.act("INC0000002", DeskAction.RESOLVE, actor="ada", at=LATER)

    assert [record.key for record in desk.list()] == ["S-3", "S-2", "S-1"]
    assert [record.key for record in desk.list(open_only=True)] == ["S-3", "S-1"]
    assert [record.key for record in desk.list(limit=1)] == ["S-3"]
    assert list(desk.list(type="problem")) == []


# ---- problems ----


def test_a_problem_is_opened_once_for_an_incident_and_both_say_so(desk):
    number = desk.apply(make_order(title="db1 is down", priority=2, ci="db1")).number

    problem = desk.open_problem(number, actor="ada", at=LATER)
    again = desk.open_problem(number, actor="bob", at=EVEN_LATER, title="another")

    assert again == problem
    assert (problem.number, problem.type, problem.title, problem.priority, problem.ci, problem.key) == (
        "PRB0000001",
        "problem",
        "db1 is down",
        2,
        "db1",
        "",
    )
    assert desk.get(number).problem == "PRB0000001"
    assert texts(desk, number)[-1] == ("ada", "linked to PRB0000001")
    assert texts(desk, "PRB0000001") == [("ada", "opened for INC0000001")]
    assert [record.number for record in desk.list(type="problem")] == ["PRB0000001"]


def test_a_problem_lists_the_incidents_it_links(desk):
    first = desk.apply(make_order(situation="S-1")).number
    desk.apply(make_order(situation="S-2"))
    problem = desk.open_problem(first, actor="ada", at=LATER)

    assert [record.number for record in desk.list(problem=problem.number)] == [first]
    assert list(desk.list(problem="PRB0000099")) == []


def test_people_work_on_a_problem_and_the_engine_does_not_hear_of_it(desk):
    number = desk.apply(make_order()).number
    problem = desk.open_problem(number, actor="ada", at=LATER, title="disks of this batch fail")

    resolved = desk.act(problem.number, DeskAction.RESOLVE, actor="ada", at=LATER, code="fixed")

    assert (resolved.title, resolved.state) == ("disks of this batch fail", DeskState.RESOLVED)
    assert list(desk.journal(0, 100)) == []


@pytest.mark.parametrize("target", ["INC0000009", "PRB0000001"])
def test_a_problem_needs_an_incident(desk, target):
    number = desk.apply(make_order()).number
    desk.open_problem(number, actor="ada", at=LATER)

    with pytest.raises(Rejected, match=target):
        desk.open_problem(target, actor="ada", at=LATER)


# ---- problems ----


def problem_order(number=1, **fields):
    made = {"id": f"P-1/desk/{number}", "key": "P-1", "at": NOON, "fields": {"title": "db1 keeps failing"}}
    return ProblemOrder(**{**made, **fields})


def test_a_problem_is_opened_once_with_its_incidents(desk):
    incidents = tuple(desk.apply(make_order(situation=f"S-{n}")) for n in (1, 2))

    for _ in range(2):
        receipt = desk.apply_problem(problem_order(note="3rd time", incidents=incidents))

    assert receipt.number == "PRB0000001"
    assert [record.number for record in desk.list(problem=receipt.number)] == ["INC0000002", "INC0000001"]
    assert texts(desk, receipt.number) == [("Foreshock", "3rd time")]
    assert desk.by_key("P-1", "problem").title == "db1 keeps failing"
    assert desk.by_key("P-1") is None


def test_an_incident_that_a_person_linked_elsewhere_stays_there(desk):
    incident = desk.apply(make_order())
    theirs = desk.open_problem(incident.number, actor="mira", at=NOON)

    desk.apply_problem(problem_order(incidents=(incident,)))

    assert desk.get(incident.number).problem == theirs.number


def test_a_problem_that_people_ended_hears_and_does_not_change(desk):
    number = desk.apply_problem(problem_order()).number
    desk.act(number, DeskAction.RESOLVE, actor="mira", at=LATER, text="new disk", code="fixed")

    desk.apply_problem(problem_order(2, note="again", fields={"title": "other"}))

    assert (desk.get(number).title, desk.get(number).state) == ("db1 keeps failing", DeskState.RESOLVED)
    assert texts(desk, number)[-1] == ("Foreshock", "again")


def test_what_is_known_of_a_problem_is_kept_with_it_and_not_with_an_incident(desk):
    number = desk.apply_problem(problem_order()).number

    record = desk.act(number, DeskAction.KNOWN_ERROR, actor="mira", at=LATER, text="restart the pool")

    assert record.known_error == "restart the pool"
    assert texts(desk, number)[-1] == ("mira", "known error: restart the pool")
    incident = desk.apply(make_order()).number
    with pytest.raises(Rejected, match=f"{incident} is no problem"):
        desk.act(incident, DeskAction.KNOWN_ERROR, actor="mira", at=LATER, text="x")


def test_what_people_do_to_problems_is_no_news_of_an_incident(desk):
    number = desk.apply_problem(problem_order()).number
    desk.act(number, DeskAction.TAKE, actor="mira", at=LATER)

    assert desk.journal(0, 10) == []


def test_the_journal_names_the_code_with_which_an_incident_was_resolved(desk):
    number = desk.apply(make_order()).number
    desk.act(number, DeskAction.TAKE, actor="mira", at=LATER)
    desk.act(number, DeskAction.RESOLVE, actor="mira", at=LATER, code="no_fault_found")

    assert [(change.state, change.code) for change in desk.journal(0, 10)] == [
        ("taken", ""),
        ("resolved", "no_fault_found"),
    ]
