"""Priority from impact and urgency."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from correlation.prioritise import impact, is_falling, is_growing, priority, urgency, with_trend
from correlation.settings import PrioritySettings
from foreshock.core.model import Trend
from foreshock.core.severity import Severity

SETTINGS = PrioritySettings()
START = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("criticality", "cis", "level"),
    [
        pytest.param(0, 1, 3, id="one CI nobody depends on"),
        pytest.param(0, 3, 3, id="a few CIs"),
        pytest.param(0, 4, 2, id="several CIs"),
        pytest.param(0, 20, 1, id="very many CIs"),
        pytest.param(1, 1, 1, id="a service the business stands on"),
        pytest.param(2, 1, 2, id="an important service"),
        pytest.param(3, 1, 2, id="a service"),
        pytest.param(4, 1, 3, id="a service few miss"),
        pytest.param(4, 20, 1, id="a service few miss, but very many CIs"),
        pytest.param(9, 1, 3, id="a number nobody defined"),
    ],
)
def test_impact_is_the_worse_of_service_and_spread(criticality: int, cis: int, level: int):
    assert impact(criticality, 1, cis, SETTINGS) == level


@pytest.mark.parametrize(("services", "level"), [(2, 3), (3, 2), (9, 2), (10, 1)])
def test_many_services_that_few_miss_are_an_impact_together(services: int, level: int):
    assert impact(4, services, 1, SETTINGS) == level


def test_a_settings_file_says_what_a_criticality_is_worth():
    assert impact(2, 1, 1, PrioritySettings(criticality=(1, 1, 2, 3))) == 1


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.CRITICAL, 1),
        (Severity.MAJOR, 2),
        (Severity.MINOR, 2),
        (Severity.WARNING, 3),
        (Severity.INFO, 3),
        (Severity.UNKNOWN, 3),
    ],
)
def test_urgency_follows_severity_and_an_unknown_one_counts_as_a_warning(severity: Severity, level: int):
    assert urgency(severity, SETTINGS) == level


def test_a_settings_file_says_how_urgent_a_severity_is():
    settings = PrioritySettings(severity={"critical": 1, "major": 1, "warning": 2})

    assert urgency(Severity.MAJOR, settings) == 1
    assert urgency(Severity.MINOR, settings) == 3
    assert urgency(Severity.UNKNOWN, settings) == 2


@pytest.mark.parametrize(
    ("minutes", "growing"),
    [
        pytest.param((20, 21, 22, 23, 24), True, id="five in the last ten minutes"),
        pytest.param((15, 21, 22, 23, 24), False, id="four, and one exactly ten minutes ago"),
        pytest.param((21, 22, 23, 24), False, id="four"),
    ],
)
def test_a_situation_grows_while_enough_alerts_go_on_joining(minutes: tuple[int, ...], growing: bool):
    joins, opened = [START + timedelta(minutes=minute) for minute in minutes], START

    assert is_growing(joins, opened, START + timedelta(minutes=25), SETTINGS.trend) is growing


def test_the_first_burst_of_a_situation_is_no_growth():
    joins = [START + timedelta(seconds=second) for second in range(60)]

    assert not is_growing(joins, START, START + timedelta(minutes=9), SETTINGS.trend)


def test_a_situation_falls_while_a_quarter_or_less_of_its_alerts_is_active():
    assert is_falling(1, 4, SETTINGS.trend)
    assert not is_falling(2, 7, SETTINGS.trend)
    assert not is_falling(0, 3, SETTINGS.trend)


def test_a_trend_moves_urgency_by_one_and_not_past_the_ends():
    assert [with_trend(level, Trend.GROWING) for level in (1, 2, 3)] == [1, 1, 2]
    assert [with_trend(level, Trend.FALLING) for level in (1, 2, 3)] == [2, 3, 3]
    assert [with_trend(level, Trend.STEADY) for level in (1, 2, 3)] == [1, 2, 3]


def test_priority_is_read_from_the_matrix():
    assert [[priority(i, u, SETTINGS) for u in (1, 2, 3)] for i in (1, 2, 3)] == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert priority(3, 1, PrioritySettings(matrix=((1, 1, 1), (2, 2, 2), (4, 5, 5)))) == 4


def test_a_matrix_in_which_more_impact_is_less_urgent_is_refused():
    with pytest.raises(ValidationError, match=r"priority 1 for impact 2 and urgency 1"):
        PrioritySettings(matrix=((2, 3, 4), (1, 3, 4), (3, 4, 5)))


def test_more_impact_or_urgency_never_lowers_the_priority():
    for (i, u), (j, v) in itertools.product(itertools.product((1, 2, 3), repeat=2), repeat=2):
        if i <= j and u <= v:
            assert priority(i, u, SETTINGS) <= priority(j, v, SETTINGS)
