"""Priority from impact and urgency."""

import itertools

import pytest

from correlation.prioritise import impact, priority, urgency
from correlation.settings import PrioritySettings
from foreshock.core.severity import Severity

SETTINGS = PrioritySettings()


@pytest.mark.parametrize(
    ("criticality", "affected", "level"),
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
def test_impact_is_the_worse_of_service_and_spread(criticality: int, affected: int, level: int):
    assert impact(criticality, affected, SETTINGS) == level


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
    assert urgency(severity) == level


def test_priority_is_read_from_the_matrix():
    assert [[priority(i, u, SETTINGS) for u in (1, 2, 3)] for i in (1, 2, 3)] == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert priority(3, 1, PrioritySettings(matrix=((1, 1, 1), (2, 2, 2), (4, 5, 5)))) == 4


def test_more_impact_or_urgency_never_lowers_the_priority():
    for (i, u), (j, v) in itertools.product(itertools.product((1, 2, 3), repeat=2), repeat=2):
        if i <= j and u <= v:
            assert priority(i, u, SETTINGS) <= priority(j, v, SETTINGS)
