"""A source's word on the common scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.severity import Severity, parse_severity


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("critical", Severity.CRITICAL),
        ("Disaster", Severity.CRITICAL),
        (" PAGE\n", Severity.CRITICAL),
        ("error", Severity.MAJOR),
        ("P2", Severity.MAJOR),
        ("average", Severity.MINOR),
        ("warn", Severity.WARNING),
        ("notice", Severity.INFO),
        ("none", Severity.INFO),
        ("", Severity.UNKNOWN),
        ("catastrophic-ish", Severity.UNKNOWN),
    ],
)
def test_the_words_of_the_field_find_their_level(word: str, level: Severity):
    assert parse_severity(word) is level


@given(st.text())
def test_an_odd_word_never_loses_an_alert(word: str):
    assert parse_severity(word) in Severity


def test_the_worst_is_the_largest_and_every_level_reads_its_own_word():
    assert max(Severity) is Severity.CRITICAL
    assert [parse_severity(level.word) for level in Severity] == list(Severity)
