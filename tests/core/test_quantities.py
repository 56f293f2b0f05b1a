"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from foreshock.core.errors import Invalid
from foreshock.core.quantities import (
    MAX_DURATION,
    MAX_SIZE,
    Duration,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


class Limits(BaseModel):
    delay: Duration = parse_duration("5m")
    body: Size = parse_size("5MiB")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("2w", 1_209_600), ("500ms", 0.5),
        ("1h30m", 5400), ("1d2h3m4s5ms", 93_784.005), ("90m", 5400),
    ],
)  # fmt: skip
def test_a_duration_is_a_number_with_its_unit_or_a_row_of_them(text: str, seconds: float):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-5m", "5 m", "5M", "30m1h", "1m1m", "1.5h", "٣s", "5m\n", "36501d", "9" * 400 + "s"]
)
def test_what_is_no_duration_is_refused_with_the_text_and_a_remedy(text: str):
    with pytest.raises(Invalid) as refused:
        parse_duration(text)

    assert repr(text[:40])[:-1] in str(refused.value)
    assert "30s" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("512B", 512), ("1KiB", 1024), ("5MiB", 5_242_880), ("10 GiB", 10 * 2**30), ("5MB", 5_000_000)],
)
def test_a_size_tells_binary_from_decimal_units(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "5", "MiB", "-1B", "1.5GiB", "5mib", "5M", "5MiB ", "٣B", "1048577TiB", "9" * 400 + "B"]
)
def test_what_is_no_size_is_refused_with_the_text_and_a_remedy(text: str):
    with pytest.raises(Invalid) as refused:
        parse_size(text)

    assert repr(text[:40])[:-1] in str(refused.value)
    assert "5MiB" in refused.value.hint


@given(st.integers(0, MAX_DURATION // timedelta(milliseconds=1)))
def test_a_duration_written_and_read_back_is_the_same(milliseconds: int):
    duration = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, MAX_SIZE))
def test_a_size_written_and_read_back_is_the_same(size: int):
    assert parse_size(format_size(size)) == size


@given(st.text(st.sampled_from("0123456789dhmsBKiMw .-+e_")) | st.text())
def test_any_text_is_read_or_refused_and_nothing_else(text: str):
    for parse in (parse_duration, parse_size):
        try:
            parse(text)
        except Invalid:
            continue


def test_a_model_reads_both_as_text_and_writes_the_same_text_back():
    limits = Limits.model_validate_json('{"delay": "90m", "body": "2048KiB"}', strict=True)

    assert (limits.delay, limits.body) == (timedelta(minutes=90), 2_097_152)
    assert limits.model_dump_json() == '{"delay":"1h30m","body":"2MiB"}'
    assert limits.model_dump() == {"delay": timedelta(minutes=90), "body": 2_097_152}


@pytest.mark.parametrize("body", ['{"delay": 30}', '{"body": 5000}', '{"delay": null}', '{"body": true}'])
def test_a_number_without_a_unit_is_refused_because_readers_differ_on_what_it_means(body: str):
    with pytest.raises(ValidationError, match="has no unit"):
        Limits.model_validate_json(body)


def test_code_may_give_a_timedelta_but_none_that_cannot_be_written_as_text():
    assert Limits(delay=timedelta(seconds=1)).delay == timedelta(seconds=1)
    for bad in (timedelta(microseconds=1), timedelta(seconds=-1), timedelta.max):
        with pytest.raises(ValidationError):
            Limits(delay=bad)


def test_the_json_schema_tells_an_editor_how_to_write_them():
    properties = Limits.model_json_schema()["properties"]

    assert properties["delay"]["type"] == properties["body"]["type"] == "string"
