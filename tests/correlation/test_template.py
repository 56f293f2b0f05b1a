"""Templates come from a file that somebody edits, and meet what strangers send: none may hang, grow or reach out."""

import pytest

from correlation.template import MAX_ITEMS, MAX_SOURCE, MAX_TEXT, Record, Template
from foreshock.core.errors import Invalid

VALUES = {"text": "x", "number": 3, "items": ["a", "b"], "record": Record({"field": str.upper}, "v")}


def rendered(source: str, **values: object) -> str:
    return Template(source, VALUES).render(VALUES | values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ text() }}",
        "{{ text.format(1) }}",
        "{{ range(1000000000) }}",
        "{{ text * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ text|indent(1000000000) }}",
        "{{ text|center(1000000000) }}",
        "{{ text|attr('__class__') }}",
        "{{ items|map('upper') }}",
        "{{ text|replace('x', 'xxxxxxxx') }}",
        "{{ text is sameas text }}",
        "{{ [1, 2][::1] }}",
        "{% set more = text ~ text %}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{% call text() %}{% endcall %}",
        "{% include 'other' %}",
        "{% import 'other' as o %}",
        "{% extends 'other' %}",
        "{% block b %}{% endblock %}",
        "{% filter upper %}{% endfilter %}",
        "{% for a in items recursive %}{{ loop(items) }}{% endfor %}",
        "{% for a in items %}{% for b in items %}{% for c in items %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a, b in items %}{% endfor %}",
        "{{ self }}",
        "{{ cycler }}",
        "{{ config }}",
        "{{ request }}",
    ],
)
def test_what_could_run_long_or_reach_out_is_refused_before_it_is_used(source: str):
    with pytest.raises(Invalid):
        Template(source, VALUES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ text.__class__.__mro__ }}",
        "{{ text['__class__'] }}",
        "{{ items.__init__.__globals__ }}",
        "{{ ''.join }}",
        "{{ number.real }}",
        "{% for each in items %}{{ loop._iterable }}{{ loop.cycle }}{% endfor %}",
        "{{ (1, 2).count }}",
        "{{ items[99] }}",
    ],
)
def test_only_values_are_reached(source: str):
    assert rendered(source) == ""


def test_a_loop_goes_through_lists_only_and_not_without_end():
    assert rendered("{% for each in items %}{{ each }}{% endfor %}", items=["x"] * 1000) == "x" * MAX_ITEMS
    with pytest.raises(Invalid, match="no list"):
        rendered("{% for each in text %}{{ each }}{% endfor %}")
    with pytest.raises(Invalid, match="no list"):
        rendered("{{ text|join('y') }}")


def test_a_text_is_cut_where_it_gets_too_long():
    told = rendered("{% for a in items %}{% for b in items %}{{ text }}{% endfor %}{% endfor %}", text="y" * 6_000)

    assert len(told) <= MAX_TEXT + 2
    assert told.endswith("…")


def test_a_template_of_any_length_is_refused():
    with pytest.raises(Invalid, match="characters"):
        Template("x" * (MAX_SOURCE + 1), VALUES)


def test_there_is_never_more_than_one_empty_line():
    assert rendered("a\n\n\n{% if text %}\n{% endif %}\n\nb  \n\n") == "a\n\nb"


def test_a_value_with_fields_shows_their_names_and_says_the_same_in_every_replay():
    assert rendered("{{ record }}") == "(field)"


@pytest.mark.parametrize(("zone", "problem"), [("Mars/Base", "no time zone"), ("../etc/passwd", "no time zone")])
def test_a_time_zone_that_does_not_exist_is_named(zone: str, problem: str):
    from datetime import UTC, datetime

    template = Template("{{ text|time('" + zone + "') }}", VALUES)
    with pytest.raises(Invalid, match=problem):
        template.render({"text": datetime(2026, 3, 2, tzinfo=UTC)})
