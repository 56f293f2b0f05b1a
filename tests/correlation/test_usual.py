"""How often conditions begin."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from correlation.usual import MAX_CONDITIONS, Usual
from foreshock.testing.records import NOON

SPAN_S = 600.0
AMONG = 10.0
CIS = 100.0
HERE = 1


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def learned(*noted: tuple[str, str, datetime]) -> Usual:
    usual = Usual()
    for fingerprint, name, at in noted:
        usual.note(fingerprint, name, at)
    return usual


def test_what_begins_every_hour_is_less_surprising_than_what_began_once():
    usual = learned(("rare", "Raid", NOON), *(("often", "Cpu", NOON + hours(n)) for n in range(24)))
    now = NOON + hours(24)

    assert (
        usual.surprise("rare", "Raid", now, SPAN_S, CIS, AMONG, HERE)
        > usual.surprise("often", "Cpu", now, SPAN_S, CIS, AMONG, HERE) + 2
    )


def test_a_condition_never_seen_is_judged_by_others_of_its_name():
    usual = learned(*((f"host{n % 3}", "Cpu", NOON + hours(n / 60)) for n in range(60)), ("a", "Raid", NOON))
    now = NOON + hours(2)

    assert usual.surprise("new", "Cpu", now, SPAN_S, CIS, AMONG, HERE) < usual.surprise(
        "new", "Raid", now, SPAN_S, CIS, AMONG, HERE
    )


def test_a_name_that_few_cis_show_is_rarer_than_one_that_all_show():
    usual = learned(*((f"host{n}", "Cpu", NOON + hours(n)) for n in range(10)), ("host3", "Raid", NOON + hours(11)))
    now = NOON + hours(11)

    few, all_of_them = (usual.surprise("host3", name, now, SPAN_S, CIS, AMONG, HERE) for name in ("Raid", "Cpu"))
    assert few > all_of_them + 0.5


def test_the_more_cis_might_show_it_the_rarer_it_is_on_one():
    usual = learned(("host1", "Raid", NOON), ("host2", "Raid", NOON + hours(1)))
    now = NOON + hours(2)

    assert (
        usual.surprise("new", "Raid", now, SPAN_S, 1000.0, 1000.0, HERE)
        > usual.surprise("new", "Raid", now, SPAN_S, 1000.0, 10.0, HERE) + 3
    )


def test_the_present_onset_does_not_count_against_itself():
    usual = learned(("a", "Raid", NOON), ("b", "Raid", NOON + hours(5)))
    now = NOON + hours(5)

    assert usual.surprise("b", "Raid", now, SPAN_S, CIS, AMONG, HERE) == usual.surprise(
        "never", "Raid", now, SPAN_S, CIS, AMONG, HERE
    )


def test_what_begins_everywhere_right_now_does_not_make_its_name_common():
    usual = learned(*((f"host{n}", "Slow", NOON + hours(5)) for n in range(7)), ("odd", "Odd", NOON + hours(5)))
    now = NOON + hours(5)

    slow = usual.surprise("host1", "Slow", now, SPAN_S, CIS, AMONG, 7)
    assert slow == usual.surprise("odd", "Odd", now, SPAN_S, CIS, AMONG, 1)


def test_what_was_usual_long_ago_fades():
    usual = learned(*(("a", "Cpu", NOON + hours(n)) for n in range(24)))
    then = usual.surprise("a", "Cpu", NOON + hours(24), SPAN_S, CIS, AMONG, HERE)
    for week in range(1, 9):
        usual.note("b", "Other", NOON + hours(24 * 7 * week + week))

    assert usual.surprise("a", "Cpu", NOON + hours(24 * 60), SPAN_S, CIS, AMONG, HERE) > then + 1


def test_it_remembers_a_bounded_number_of_conditions_and_keeps_those_that_come_again():
    usual = learned(*(("again", "Cpu", NOON) for _ in range(1000)))
    for n in range(3 * MAX_CONDITIONS):
        usual.note(f"once{n}", "Once", NOON)

    assert len(usual._seen) <= MAX_CONDITIONS
    assert "again" in usual._seen


NOTES = st.lists(
    st.tuples(st.sampled_from(["a1", "a2", "b1", "c1"]), st.sampled_from(["Cpu", "Disk"]), st.integers(0, 400)),
    max_size=30,
)


@given(NOTES, NOTES)
def test_a_checkpoint_taken_bit_by_bit_goes_on_as_if_there_had_been_none(
    before: list[tuple[str, str, int]], after: list[tuple[str, str, int]]
):
    now = NOON
    usual, parts = Usual(), set[str]()
    for fingerprint, name, gap_h in before:
        now += hours(gap_h / 10)
        usual.note(fingerprint, name, now)
        parts |= usual.changed
        usual.changed = set()
    saved = {part: usual.save(part) for part in parts}
    again = Usual()
    again.load(saved[part] for part in sorted(saved))
    for fingerprint, name, gap_h in after:
        now += hours(gap_h / 10)
        usual.note(fingerprint, name, now)
        again.note(fingerprint, name, now)

    for fingerprint in ("a1", "a2", "b1", "c1", "new"):
        for name in ("Cpu", "Disk"):
            assert again.surprise(fingerprint, name, now, SPAN_S, CIS, AMONG, HERE) == usual.surprise(
                fingerprint, name, now, SPAN_S, CIS, AMONG, HERE
            )
