"""What is legal in a rule and hardly meant."""

from pathlib import Path

import pytest

from correlation.settings import CorrelationSettings
from foreshock.service.rule_files import read_rules
from foreshock.service.rule_lints import lint

SETTINGS = CorrelationSettings()


def said(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    rules, origins = read_rules(file)
    return [str(found).removeprefix(f"{file}:") for found in lint(rules, SETTINGS, origins)]


def test_the_shipped_rules_are_as_they_are_meant():
    assert lint(read_rules(None)[0], SETTINGS, {}) == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("equal: [a], strength: 0.05", "it can never match: its strength of 0.05 is below 0.1"),
        ("equal: [a], strength: 0.3", "alone it joins nothing: its strength of 0.3 is below group.threshold (0.4)"),
        ("equal: [a], window: 30m", "its window of 30m is longer than group.join (15m)"),
        ("when: a.labels.x == b.labels.x", "it compares a new alert with every open one"),
    ],
)
def test_what_is_hardly_meant_is_told_with_its_place(tmp_path: Path, rule: str, message: str):
    (found,) = said(tmp_path, f"# mine\n- {{name: one, kind: attribute, {rule}}}\n")

    assert found.startswith(f"2:4: one: {message}")


def test_a_rule_in_the_shadow_of_another_is_told_once(tmp_path: Path):
    rules = """
- {name: wide, kind: attribute, equal: [cluster], strength: 0.6}
- {name: narrow, kind: attribute, equal: [cluster, pod], strength: 0.6}
- {name: stronger, kind: attribute, equal: [cluster, pod], strength: 0.9}
"""
    (found,) = said(tmp_path, rules)

    assert found.startswith("3:4: narrow: 'stronger' says all that it says")


def test_of_two_equal_rules_the_second_one_is_told(tmp_path: Path):
    rules = "- {name: a, kind: attribute, equal: [x]}\n- {name: b, kind: attribute, equal: [x]}\n"

    assert [each.split(":")[2].strip() for each in said(tmp_path, rules)] == ["b"]


def test_a_rule_that_is_not_in_force_is_nobodys_business(tmp_path: Path):
    assert said(tmp_path, "- {name: a, kind: attribute, equal: [x], strength: 0.01, enabled: false}\n") == []
