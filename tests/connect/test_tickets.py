from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.connect.tickets import (
    digest,
    due,
    is_ours,
    kept_after,
    marker,
    moment,
    read_time,
    sequence,
    settled,
    with_marker,
)
from foreshock.core.contracts import Ownership

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_what_the_record_says_already_is_not_written():
    assert due({"title": "a", "impact": "1"}, {"title": "a", "impact": "2"}, {"impact": digest("2")}) == {"impact": "1"}


def test_a_field_that_a_person_changed_stays_theirs_until_they_say_what_we_say():
    kept = kept_after({"title": "a"}, {"title"}, {"title": "a"}, {})

    assert due({"title": "b"}, {"title": "a"}, kept) == {"title": "b"}
    assert due({"title": "b"}, {"title": "theirs"}, kept) == {}
    kept = kept_after({"title": "b"}, set(), {"title": "theirs"}, kept)
    assert due({"title": "c"}, {"title": "theirs"}, kept) == {}
    kept = kept_after({"title": "d"}, set(), {"title": "d"}, kept)
    assert due({"title": "e"}, {"title": "d"}, kept) == {"title": "e"}


def test_a_field_that_a_person_filled_before_we_wrote_it_is_theirs_and_an_empty_one_ours():
    assert due({"group": "a"}, {"group": "theirs"}, {}) == {}
    assert due({"group": "a"}, {}, {}) == {"group": "a"}
    kept = kept_after({"group": "a"}, set(), {"group": "theirs"}, {})
    assert due({"group": "a"}, {"group": "theirs"}, kept) == {}


def test_what_the_system_made_of_our_value_is_ours():
    kept = kept_after({"title": "a  b"}, {"title"}, {"title": "a b"}, {})

    assert due({"title": "c"}, {"title": "a b"}, kept) == {"title": "c"}


def test_a_field_named_as_always_ours_is_written_whoever_changed_it():
    assert due({"title": "a"}, {"title": "theirs"}, {"title": digest("x")}, ownership={"title": Ownership.OURS}) == {
        "title": "a"
    }


def test_what_belongs_to_the_last_writer_is_theirs_until_we_have_something_new_to_say():
    last = {"title": Ownership.LAST_WRITER}
    kept = kept_after({"title": "a"}, {"title"}, {"title": "a"}, {}, last)
    assert due({"title": "a"}, {"title": "theirs"}, kept, last) == {}
    assert due({"title": "b"}, {"title": "theirs"}, kept, last) == {"title": "b"}

    kept = kept_after({"title": "b"}, {"title"}, {"title": "b"}, kept, last)
    assert due({"title": "b"}, {"title": "theirs again"}, kept, last) == {}


def test_the_last_writer_of_a_field_that_we_never_wrote_is_the_person_who_filled_it():
    last = {"title": Ownership.LAST_WRITER}

    assert due({"title": "a"}, {"title": "theirs"}, {}, last) == {}
    assert due({"title": "a"}, {}, {}, last) == {"title": "a"}


def test_a_marker_survives_any_cut_and_tells_our_notes():
    note = with_marker("x" * 500, "S-1/prod/7", 100)

    assert len(note) <= 100
    assert note.endswith(marker("S-1/prod/7"))
    assert is_ours(note)
    assert not is_ours("see [foreshock S-1/prod/7] above\nthanks")
    assert not is_ours("done [fixed]")


moments = st.integers(min_value=0, max_value=60 * 365 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(moments, moments, st.text(), st.text())
def test_numbers_rise_with_time_fit_every_store_and_lead_back_to_their_second(one, two, first, second):
    low, high = sequence(min(one, two), first), sequence(max(one, two), second)

    assert 0 <= low < 2**63
    assert 0 <= high < 2**63
    assert min(one, two) == max(one, two) or low < high
    assert moment(low) == min(one, two)


def test_steps_of_one_record_in_one_second_keep_their_order():
    assert [sequence(NOON, "a", place) for place in range(16)] == sorted(sequence(NOON, "a", p) for p in range(16))
    assert sequence(NOON, "a") != sequence(NOON, "b")


def test_the_second_that_is_running_is_not_settled():
    now = NOON + timedelta(seconds=7, milliseconds=900)

    assert settled(now, timedelta(0)) == NOON + timedelta(seconds=7)
    assert settled(now, timedelta(seconds=3)) == NOON + timedelta(seconds=4)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T13:00:00+01:00", NOON),
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22T14:00:00.000+0200", NOON),
        ("2026-11-22 12:00:00", NOON),
        ("", None),
        ("yesterday", None),
    ],
)
def test_a_time_is_read_with_its_zone_and_without_one_as_utc(text, at):
    assert read_time(text) == at
