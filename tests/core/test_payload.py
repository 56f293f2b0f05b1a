"""Reading what products post: strict about what identifies, lenient about the rest."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from foreshock.core.errors import Malformed
from foreshock.core.model import read_annotations
from foreshock.core.payload import alert, each, moment, needed, part, steady, tags, text, texts, worded

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000000000Z",
        "2026-11-22T13:00:00+01:00",
        "2026-11-22T13:00:00.000+0100",
        "2026-11-22 13:00:00 +0100",
        "2026-11-22 12:00:00 UTC",
        "1795348800",
        1795348800,
        1795348800.0,
        1795348800_000,
        1795348800_000_000,
        1795348800_000_000_000,
    ],
)
def test_a_time_is_read_however_it_is_spelt(value: Any):
    assert moment(value) == NOON


@pytest.mark.parametrize(
    "value",
    [None, True, "", "yesterday", "null", "nan", 0, -1, 10**400, float("inf"), "0001-01-01T00:00:00Z", "2026-11-22T12"],
)
def test_what_is_no_time_is_none_and_loses_nothing(value: Any):
    assert moment(value) is None


def test_a_text_without_a_zone_is_in_the_one_that_is_given():
    assert moment("2026-11-22 12:00:00", zone=UTC) == NOON


@pytest.mark.parametrize(
    ("title", "steadied"),
    [
        ("Load is 4.7 on web-1", "Load is # on web-1"),
        ("Disk at 93%", "Disk at #"),
        ("Latency 250ms > 200ms", "Latency # > #"),
        ("db1 is down", "db1 is down"),
        ("HTTP/2 errors", "HTTP/2 errors"),
    ],
)
def test_a_number_that_stands_by_itself_is_left_out_of_a_title(title: str, steadied: str):
    assert steady(title) == steadied


def test_tags_are_read_from_a_list_a_text_or_an_object():
    for given in ("host:a, env:prod,bare", ["host:a", "env:prod", "bare"], {"host": "a", "env": "prod", "bare": ""}):
        assert tags(given) == {"host": "a", "env": "prod"}


def test_values_of_a_tag_that_comes_twice_are_sorted_so_that_their_order_makes_no_difference():
    assert tags("host:b,host:a") == tags("host:a,host:b") == {"host": "a,b"}


def test_there_is_nothing_at_a_place_that_is_not_there():
    assert part({"a": [{"b": 1}]}, "a", 0, "b") == 1
    assert part({"a": [{"b": 1}]}, "a", -1, "b") == 1
    assert part({"a": []}, "a", -1) is None
    assert part({"a": 7}, "a", "b") is None
    assert text({"a": {}}, "a") == ""
    assert texts({"a": ["x", "x", 7, None, ""]}, "a") == ["x", "7"]


def test_what_identifies_must_be_there():
    with pytest.raises(Malformed, match=r"a\.b is missing"):
        needed({"a": {}}, "a", "b")


def test_the_first_word_that_is_known_is_the_severity():
    assert worded("", "SEV-X", "High") == "high"
    assert worded("", "SEV-X") == "sev-x"
    assert worded("x" * 1000) == ""


def test_an_alert_is_over_now_where_its_end_lies_ahead():
    assert alert({"a": "b"}, NOON, over=True, ended_at=NOON + timedelta(days=1)).ends_at == NOON
    assert alert({"a": "b"}, NOON, ended_at=NOON).ends_at is None
    assert alert({"a": "b"}, NOON, holds=timedelta(hours=1)).ends_at == NOON + timedelta(hours=1)


def test_a_long_annotation_is_cut_between_two_characters():
    event = alert({"a": "b"}, NOON, annotations={"summary": "ü" * 10_000})

    assert read_annotations(event.annotations) == {"summary": "ü" * 4094 + "…"}


def test_only_an_address_of_the_web_is_a_link():
    assert alert({"a": "b"}, NOON, url="javascript:alert(1)").url == ""


def test_an_object_about_very_many_things_is_refused_without_being_taken_apart():
    refused, kept = each([{}, Malformed("bad")], lambda _: iter(range(10**12)))

    assert isinstance(refused, Malformed)
    assert str(kept) == "bad"
