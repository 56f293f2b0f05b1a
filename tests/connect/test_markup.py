import html as stdlib_html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.connect.markup import adf, adf_text, html, html_text, line, plain, wiki

OBEYED = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u061c\u200e\u200f\u2028\u2029"} - {"\t", "\n"}
OBEYED |= {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), *map(chr, range(0xE0000, 0xE0080))}
"""What a terminal or a page obeys, or hides."""
anything = st.text(alphabet=st.characters() | st.sampled_from(sorted(OBEYED)), max_size=300)  # halves of pairs too


@given(anything, st.integers(min_value=10, max_value=200))
def test_whatever_comes_is_bounded_printable_and_can_be_sent(text, limit):
    for shown in (plain(text, limit), line(text, limit), html(text, limit), wiki(text, limit)):
        assert len(shown) <= limit
        shown.encode("utf-8")
        assert not set(shown) & OBEYED
    assert "\n" not in line(text, limit)


@given(anything)
def test_html_holds_no_tag_but_ours_and_says_what_was_said(text):
    shown = html(text, 100_000)

    bare = shown.replace("<p>", "\n\n").replace("</p>", "").replace("<br>", "\n")
    assert "<" not in bare
    assert stdlib_html.unescape(bare).split() == plain(text, 100_000).split()


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb\n\n\nc", "<p>a<br>b</p><p>c</p>"), ("", ""), ("<&>", "<p>&lt;&amp;&gt;</p>")]
)
def test_lines_and_paragraphs_become_html(text, shown):
    assert html(text, 100) == shown


@given(anything)
def test_a_document_holds_no_empty_text_node(text):
    document = adf(text, 1000)

    texts = [node["text"] for part in document["content"] for node in part["content"] if node["type"] == "text"]
    assert all(texts)
    assert (document["type"], document["version"]) == ("doc", 1)


def test_a_cut_is_marked():
    assert plain("x" * 100, 10) == "xxxxxxxx …"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{code}x{code} *b* [~admin] !a.png!", r"\{code\}x\{code\} \*b\* \[\~admin\] \!a.png\!"),
        ("db-07 is_down -x- _y_", r"db-07 is_down \-x\- \_y\_"),
        ("h1. big\nbq. said\n# one", "&#104;1. big\n&#98;q. said\n\\# one"),
        (r"C:\dir & co", "C:&#92;dir &amp; co"),
    ],
)
def test_wiki_markup_of_strangers_is_text(text, shown):
    assert wiki(text, 1000) == shown


def test_the_text_of_a_document_is_the_text_it_was_made_from():
    assert adf_text(adf("one\ntwo\n\nthree", 100)) == "one\ntwo\n\nthree"
    mention = {"type": "mention", "attrs": {"id": "1", "text": "@Ada"}}
    assert adf_text({"type": "doc", "content": [{"type": "paragraph", "content": [mention]}]}) == "@Ada"
    assert adf_text(None) == ""


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>the <b>disk</b> &amp; the<br>fan</p><p>again</p>", "the disk & the\nfan\nagain"),
        ("<div>one\n  two</div><script>alert(1)</script>", "one two"),
        ("no markup, 1 < 2", "no markup, 1 < 2"),
        ("<p>cut in the mid", "cut in the mid"),
        ("", ""),
    ],
)
def test_html_that_people_wrote_is_read_as_lines(markup, text):
    assert html_text(markup) == text


@given(anything)
def test_text_that_became_html_is_read_again(text):
    shown = line(text, 200)

    assert html_text(html(shown, 5000)) == shown
