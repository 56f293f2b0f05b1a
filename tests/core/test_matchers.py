"""Label matchers mean what Alertmanager means by them."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.errors import Malformed
from foreshock.core.matchers import MAX_EXPRESSION_CHARS, Matcher, matches_all, parse_matcher, parse_matchers

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "labels", "hit"),
    [
        pytest.param('a="b"', {"a": "b"}, True, id="equal"),
        pytest.param('a="b"', {"a": "B"}, False, id="case counts"),
        pytest.param('a=""', {}, True, id="an absent label equals the empty string"),
        pytest.param('a!="b"', {}, True, id="an absent label is not b"),
        pytest.param('a!=""', {}, False, id="an absent label is not anything"),
        pytest.param('a=~"db[0-9]"', {"a": "db1"}, True, id="expression"),
        pytest.param('a=~"db"', {"a": "db1"}, False, id="anchored at the end"),
        pytest.param('a=~"b1"', {"a": "db1"}, False, id="anchored at the start"),
        pytest.param('a=~"x|db"', {"a": "db1"}, False, id="each alternative is anchored"),
        pytest.param('a=~"db"', {"a": "db\n"}, False, id="a line end is a character"),
        pytest.param('a=~""', {}, True, id="the empty expression finds the absent label"),
        pytest.param('a=~".*"', {}, True, id="anything includes nothing"),
        pytest.param('a=~".+"', {}, False, id="something"),
        pytest.param('a!~"db.*"', {"a": "web"}, True, id="not the expression"),
        pytest.param('a!~"db.*"', {}, True, id="absent is not the expression"),
        pytest.param('a=~"(?i)DB1"', {"a": "db1"}, True, id="flags"),
        pytest.param("a=b", {"a": "b"}, True, id="quotes are optional"),
        pytest.param(' a = "b c" ', {"a": "b c"}, True, id="spaces around"),
        pytest.param('"odd name"="b"', {"odd name": "b"}, True, id="a quoted name"),
        pytest.param(r'a="say \"hi\"\n\\"', {"a": 'say "hi"\n\\'}, True, id="escapes"),
        pytest.param('a=~"a)|(?:b"', {"a": "xb"}, False, id="a bracket cannot break out of the anchors"),
    ],
)
def test_a_matcher_hits(text: str, labels: dict[str, str], hit: bool):
    assert parse_matcher(text).matches(labels) is hit


def test_all_matchers_must_hit_and_none_hits_everything():
    both = [parse_matcher('a="1"'), parse_matcher('b="2"')]

    assert matches_all(both, {"a": "1", "b": "2"})
    assert not matches_all(both, {"a": "1"})
    assert matches_all([], {"a": "1"})


@given(TEXT.filter(bool), TEXT, st.booleans())
def test_what_is_written_is_read_again(name: str, value: str, is_equal: bool):
    matcher = Matcher(name=name, value=value, is_equal=is_equal)

    assert parse_matcher(str(matcher)) == matcher


@given(st.from_regex(r"[a-z.*+?|()\[\]\"\\ ]{0,8}", fullmatch=True), st.booleans())
def test_an_expression_that_is_written_is_read_again(expression: str, is_equal: bool):
    try:
        matcher = Matcher(name="a", value=expression, is_regex=True, is_equal=is_equal)
    except Malformed:
        return

    assert parse_matcher(str(matcher)) == matcher


@given(st.text(max_size=40))
def test_any_text_is_a_matcher_or_malformed(text: str):
    with suppress(Malformed):
        parse_matcher(text)


@pytest.mark.parametrize("text", ["", "a", "=b", '{a="b"}', 'a=~"("', r'a=~"\1"', 'a=~"(?=x)"', 'a=~"x{1001}"'])
def test_what_is_no_matcher_is_refused_with_what_was_seen(text: str):
    with pytest.raises(Malformed, match=r"\S"):
        parse_matcher(text)


def test_an_expression_that_is_too_long_names_the_bound():
    with pytest.raises(Malformed, match=f"{MAX_EXPRESSION_CHARS + 1} characters, {MAX_EXPRESSION_CHARS} are allowed"):
        Matcher(name="a", value="x" * (MAX_EXPRESSION_CHARS + 1), is_regex=True)


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(.*)*b", "(a|aa)+$b", "((a{1,30}){1,30}){0,1}b"])
def test_a_hostile_expression_costs_no_more_than_a_plain_one(expression: str):
    try:
        matcher = Matcher(name="a", value=expression, is_regex=True)
    except Malformed:
        return
    began = time.perf_counter()

    assert not matcher.matches({"a": "a" * 50_000})

    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('foo="bar"', [("foo", "=", "bar")]),
        ('{foo="bar", baz!~"a|b,c"}', [("foo", "=", "bar"), ("baz", "!~", "a|b,c")]),
        ("foo = bar,", [("foo", "=", "bar")]),
        ("foo=", [("foo", "=", "")]),
        ("", []),
        ("{}", []),
        (r"a=~x\.y", [("a", "=~", r"x\.y")]),  # the classic grammar leaves an escape that is none as it is
        (r'a="x\"y\\z"', [("a", "=", 'x"y\\z')]),
        (r'"foo bar"="b\u00e9\t"', [("foo bar", "=", "bé\t")]),  # that of UTF-8 has Go's
        ('{foo🙂="x",b="y"}', [("foo🙂", "=", "x"), ("b", "=", "y")]),
        (r'a="\xf0\x9f\x99\x82"', [("a", "=", r"\xf0\x9f\x99\x82")]),  # both can read it: the classic one decides
        (r'"a"="\xf0\x9f\x99\x82"', [("a", "=", "🙂")]),
    ],
)
def test_matchers_are_read_as_alertmanager_reads_several(text: str, read: list[tuple[str, str, str]]):
    found = parse_matchers(text)

    assert [(m.name, ("=~" if m.is_regex else "=") if m.is_equal else ("!~" if m.is_regex else "!="), m.value)
            for m in found] == read  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ['foo="', 'a=b"', "{foo!bar}", '{"a"="b"', '"a"="\\', '"a"="\\q"', '"a"="b" "c"="d"', 'a=~"("', '"a"="\\xff"'],
)
def test_what_alertmanager_refuses_among_several_is_refused(text: str):
    with pytest.raises(Malformed):
        parse_matchers(text)
