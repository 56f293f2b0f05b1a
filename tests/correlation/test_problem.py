"""What comes back: which incidents are alike, when they make a problem, and how it is told."""

from datetime import UTC, datetime, timedelta

from correlation import problem
from correlation.closing import Label
from correlation.problem import MAX_OCCURRENCES, Occurrence, Pattern, Patterns, Problem, ProblemRecord, Signature
from correlation.settings import ProblemSettings
from foreshock.core.model import Change

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTINGS = ProblemSettings()


def at(days, **fields):
    opened = NOON + timedelta(days=days)
    number = round(days * 1000)
    made = {"situation": f"S-{number}", "title": "Down on db1", "priority": 2, "opened_at": opened}
    return Occurrence(**{**made, "ended_at": opened + timedelta(minutes=9), **fields})


def pattern(*occurrences, names=("Down",), place="db1", since=NOON, **fields):
    return Pattern(
        id=Signature(place, place, names).id, place=place, ci=place, names=names, since=since,
        occurrences=list(occurrences), total=len(occurrences), **fields,
    )  # fmt: skip


def remembered(*found):
    patterns = Patterns()
    for each in found:
        patterns.add(each)
    return patterns


# ---- what is alike ----


def test_alike_is_what_has_the_same_cause_and_at_least_half_of_the_alert_names():
    known = pattern(at(0), names=("Down", "Slow"))
    patterns = remembered(known)

    assert patterns.like(Signature("db1", "db1", ("Down",))) is known
    assert patterns.like(Signature("db1", "db1", ("Down", "Full", "Slow"))) is known
    assert patterns.like(Signature("db1", "db1", ("Down", "Full", "Hot"))) is None
    assert patterns.like(Signature("db2", "db2", ("Down", "Slow"))) is None


def test_of_two_that_are_alike_the_nearer_one_counts_and_of_two_as_near_the_older():
    wide, near = pattern(at(0), names=("Down", "Slow")), pattern(at(1), names=("Down",))
    older = pattern(at(2), names=("Down", "Full"), since=NOON - timedelta(days=1))
    patterns = remembered(wide, near, older)

    assert patterns.like(Signature("db1", "db1", ("Down",))) is near
    assert patterns.like(Signature("db1", "db1", ("Down", "Full", "Slow"))) is older


def test_what_is_forgotten_is_found_by_nothing():
    known = pattern(at(0))
    patterns = remembered(known)

    patterns.forget(known)

    assert patterns.of("S-0") is None
    assert patterns.like(Signature("db1", "db1", ("Down",))) is None
    assert len(patterns) == 0


def test_only_the_newest_occurrences_are_kept_and_all_are_counted():
    known = pattern()
    patterns = remembered(known)

    for day in range(MAX_OCCURRENCES + 5):
        patterns.occur(known, at(day))

    assert (len(known.occurrences), known.total) == (MAX_OCCURRENCES, MAX_OCCURRENCES + 5)
    assert patterns.of("S-4000") is None
    assert patterns.of("S-5000") is known


def test_what_is_too_much_is_forgotten_from_what_came_once_and_longest_ago(monkeypatch):
    monkeypatch.setattr(problem, "MAX_PATTERNS", 19)
    many = [pattern(at(day / 10), place=f"db{day}") for day in range(20)]
    many[0].problem = Problem(id="P-1", opened_at=NOON, reason="")
    many[1].total = 2

    assert remembered(*many).overflow() == [many[2]]


# ---- whether it is a problem ----


def test_three_times_in_thirty_days_are_a_problem():
    found = problem.verdict(pattern(at(0), at(5), at(12)), NOON + timedelta(days=12), SETTINGS)

    assert found.recurs
    assert found.reason == "3rd time in 12 days; 3 in 30d are enough"


def test_what_does_not_come_back_often_enough_says_so():
    found = problem.verdict(pattern(at(0), at(20), at(40)), NOON + timedelta(days=40), SETTINGS)

    assert not found.recurs
    assert found.reason == "2 of 3 in 30d"


def test_what_was_no_incident_is_no_reason_for_a_problem_and_is_told():
    known = pattern(at(0), at(1, label=Label.FALSE_ALARM), at(2, label=Label.REAL))

    found = problem.verdict(known, NOON + timedelta(days=2), SETTINGS)

    assert not found.recurs
    assert found.reason == "2 of 3 in 30d; 1 more closed as no fault, duplicate or false alarm"


def test_a_problem_is_looked_at_after_a_quiet_time_and_then_when_it_is_to_be_forgotten():
    known = pattern(at(0), at(1))
    over = NOON + timedelta(days=1, minutes=9)
    assert problem.looked_at(known, SETTINGS) == over + timedelta(days=365)

    known.problem = Problem(id="P-1", opened_at=NOON, reason="")
    assert problem.looked_at(known, SETTINGS) == over + timedelta(days=30)

    known.problem.quiet_since = over + timedelta(days=30)
    assert problem.looked_at(known, SETTINGS) == over + timedelta(days=365)

    known.occurrences.append(at(40, ended_at=None))
    assert problem.looked_at(known, SETTINGS) is None


# ---- in words ----


def test_the_description_tells_how_often_where_and_what_was_changed_before():
    known = pattern(
        at(0), at(6, change="C1 deploy by ada, 12 minutes before", tickets={"desk": "INC2"}, how="recovered")
    )

    assert problem.description(known, "PRB1") == (
        "2 times in 6 days, every 6 days on average. 2 incidents in all.\n"
        "Suspected CI: db1.\n"
        "Alerts on it: Down.\n"
        "It follows PRB1, which was ended before it came back.\n"
        "\n"
        "Incidents, the newest first:\n"
        "- S-6000 (INC2) at 2026-03-08 12:00 UTC: Down on db1; recovered after 9 minutes; "
        "last change before it: C1 deploy by ada, 12 minutes before\n"
        "- S-0 at 2026-03-02 12:00 UTC: Down on db1; over after 9 minutes"
    )


def test_the_title_stays_as_it_is_while_incidents_come():
    known = pattern(at(0), title="Down on db1, and 3 more")

    assert problem.title(known) == "Recurring: Down on db1"


def test_the_last_change_before_it_is_named_and_none_that_came_later():
    changes = [
        Change(id="C1", at=NOON - timedelta(hours=3), title="tune"),
        Change(id="C2", at=NOON - timedelta(minutes=12), title="deploy", actor="ada"),
        Change(id="C3", at=NOON + timedelta(minutes=1), title="repair"),
    ]

    assert problem.before(changes, NOON) == "C2 deploy by ada, 12 minutes before"
    assert problem.before(changes[2:], NOON) == ""


def test_what_is_known_of_a_problem_is_told_to_its_next_incident():
    known = pattern(at(0), at(1), at(2))
    assert problem.for_incident(known, "desk") == ""

    record = ProblemRecord(key="P-1", number="PRB7", known_error="restart the pool")
    known.problem = Problem(id="P-1", opened_at=NOON, reason="", records={"desk": record})
    assert problem.for_incident(known, "desk") == (
        "Part of problem PRB7: 3 times in 2 days, every 24 hours on average.\nKnown error (PRB7): restart the pool"
    )


def test_a_record_that_follows_another_keeps_what_people_knew_of_that():
    follower = ProblemRecord(key="P-1-2", previous="PRB7", known_error="restart the pool")

    assert problem.as_read(follower, "", "", "").known_error == "restart the pool"
    assert problem.as_read(follower, "", "", "replace the disk").known_error == "replace the disk"
    assert problem.as_read(ProblemRecord(key="P-1", known_error="old"), "", "", "").known_error == ""


# ---- how it ended before ----


def test_a_sink_is_told_of_the_numbers_that_it_knows():
    known = pattern(at(0, tickets={"desk": "INC1", "jira": "OPS-1"}), at(1))
    known.problem = Problem(
        id="P-1", opened_at=NOON, reason="", records={"jira": ProblemRecord(key="P-1", number="OPS-9")}
    )

    assert problem.similar(known, "S-1000", "jira")[0].ticket == "OPS-1"
    assert problem.similar(known, "S-1000", "helix")[0].ticket == "INC1"
    assert problem.for_incident(known, "jira").startswith("Part of problem OPS-9:")
    assert problem.for_incident(known, "desk").startswith("Part of problem P-1:")


def test_similar_are_those_that_are_over_and_first_those_that_somebody_explained():
    known = pattern(
        at(0, said="replaced the disk", how="closed by mira", label=Label.REAL, tickets={"desk": "INC1"}),
        at(1), at(2), at(3), at(4, ended_at=None), at(5),
    )  # fmt: skip

    found = problem.similar(known, "S-5000")

    assert [each.situation for each in found] == ["S-0", "S-3000", "S-2000"]
    assert (found[0].how, found[0].note, found[0].ticket) == ("closed by mira", "replaced the disk", "INC1")
    assert problem.similar(None, "S-5") == ()
