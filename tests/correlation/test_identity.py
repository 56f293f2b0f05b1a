"""Which labels identify."""

import pytest

from correlation.identity import Family, Scheme
from correlation.settings import IdentityRule

LABELS = {"alertname": "Down", "host": "db1", "pod": "p1"}


def family(*rules: dict[str, object], source: str = "eu") -> Family:
    return Scheme(IdentityRule.model_validate(rule) for rule in rules).family("prometheus", "alertmanager", source)


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        pytest.param([], "alertname host pod", id="no rule"),
        pytest.param([{"without": ["pod", "other"]}], "alertname host", id="without"),
        pytest.param([{"by": ["host", "other"]}], "host", id="by"),
        pytest.param([{"by": ["other"]}], "alertname host pod", id="nothing would be left"),
        pytest.param([{"source": "us", "by": ["host"]}], "alertname host pod", id="another source"),
        pytest.param([{"collector": "events", "by": ["host"]}], "alertname host pod", id="another collector"),
        pytest.param([{"source": "eu", "collector": "alertmanager", "by": ["host"]}], "host", id="this source"),
        pytest.param([{"match": ["host=db2"], "by": ["host"]}, {"by": ["pod"]}], "pod", id="the first that fits"),
        pytest.param([{"match": ["host=~db.*"], "by": ["host"]}, {"by": ["pod"]}], "host", id="only the first"),
    ],
)
def test_which_labels_identify(rules: list[dict[str, object]], names: str):
    assert " ".join(family(*rules).identifying(LABELS)) == names


def test_equal_labels_of_sources_under_different_rules_are_told_apart_by_their_family():
    scheme = Scheme([IdentityRule(source="eu", without=("pod",)), IdentityRule(by=("host",))])
    eu, us, de = (scheme.family("prometheus", "alertmanager", source) for source in ("eu", "us", "de"))

    assert eu.name != us.name
    assert us.name == de.name
    assert us.key(LABELS) == us.key({**LABELS, "pod": "p2"}) != eu.key(LABELS)


def test_labels_that_are_all_there_is_are_what_they_always_were():
    assert family({"without": ["pod"]}).key({"host": "db1"}) == family().key({"host": "db1"})
