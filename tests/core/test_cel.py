"""Conditions that people write: what is read, and what is refused."""

import subprocess
import sys

import pytest

from foreshock.core.cel import Condition, Kind
from foreshock.core.errors import Invalid

VARIABLES = {"a.labels": Kind.TEXTS, "b.labels": Kind.TEXTS, "a.severity": Kind.TEXT, "gap_s": Kind.NUMBER}
VALUES = {
    "a.labels": {"job": "db", "instance": "db-1"}, "b.labels": {"job": "db"}, "a.severity": "critical", "gap_s": 12.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a.labels.job == b.labels.job", True),
        ('a.labels["job"] == "web"', False),
        ('a.labels.instance.matches("^db-[0-9]+$") && gap_s < 30.0', True),
        ("a.labels.exists(name, name in b.labels)", True),
        ('a.severity in ["critical", "major"]', True),
        pytest.param('b.labels.instance == "db-1"', False, id="a label that is missing"),
        pytest.param("has(b.labels.instance) || true", True, id="asked for first"),
    ],
)
def test_a_condition_holds_or_does_not(text: str, holds: bool):
    assert Condition(text, VARIABLES).holds(VALUES) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.labels[", "line 1, column 10 of the expression: Syntax error"),
        (
            "a.labels.job ==\n c.labels.job",
            "line 2, column 10 of the expression: undeclared reference to 'c.labels.job'",
        ),
        ("gap_s < 30", "no matching overload"),
        ("1 + 1", "gives INT, not yes or no"),
        ('a.severity.matches("(")', "is not a pattern: missing )"),
        ('a.severity.matches("(a{30}){30}")', "instructions, 300 are allowed"),
        (r'a.severity.matches("\\pL{900}")', "pattern too large"),
        ("a.severity.matches(b.labels.job)", "a pattern that is worked out"),
        ("a.labels.all(x, b.labels.all(y, a.labels.all(z, x == y)))", "steps, 100000 are allowed"),
        ("a.labels.all(x, a.labels[x].matches('(a{30}){30}'))", "instructions, 300 are allowed"),
        ("true || " * 400 + "true", "characters, 2000 are allowed"),
    ],
)
def test_what_is_no_sound_and_cheap_condition_is_refused_with_its_place_and_a_remedy(text: str, said: str):
    with pytest.raises(Invalid) as refused:
        Condition(text, VARIABLES)

    assert said in str(refused.value)
    assert refused.value.hint


def test_a_condition_that_looks_at_more_costs_more():
    one, each, nested = (
        Condition(text, VARIABLES).cost
        for text in (
            "'x' in a.labels",
            "a.labels.exists(x, x in b.labels)",
            "a.labels.exists(x, b.labels.exists(y, x == y))",
        )
    )

    assert one < each < nested


def test_nothing_of_it_is_loaded_until_a_condition_is_read():
    code = "import sys, foreshock.service.wiring; sys.exit('cel_expr_python' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
