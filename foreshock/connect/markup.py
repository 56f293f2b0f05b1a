"""Text for people, in the markup that each ITSM system takes. What strangers wrote arrives as text, never as markup.

One place, so that no sink escapes for itself: ``plain`` for fields that hold text, ``html`` for those that render HTML,
``adf`` for Atlassian's document format, ``wiki`` for the markup of Jira Data Center. All are pure and bounded.
"""

import html as _html
import re
from html.parser import HTMLParser
from typing import Any

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters other than tab and line feed
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f"  # what turns or hides text
    "\ud800-\udfff\ufffe\uffff]"  # halves of a pair, and what is no character
)
_BREAKS = {0x2028: "\n", 0x2029: "\n"}
_CUT = " …"
_BLANK = re.compile(r"\s+")


def plain(text: str, limit: int) -> str:
    """Text with its lines, without what cannot be seen, of at most ``limit`` characters; a cut is marked."""
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n").translate(_BREAKS))
    text = text.strip()
    return text if len(text) <= limit else text[: limit - len(_CUT)].rstrip() + _CUT


def line(text: str, limit: int) -> str:
    """The same in one line, for titles and names."""
    return plain(_BLANK.sub(" ", _INVISIBLE.sub(" ", text)), limit)


def html(text: str, limit: int) -> str:
    """Paragraphs and line breaks; everything else is escaped. ``limit`` counts the characters of the answer."""
    shown = plain(text, limit)
    while len(made := _html_of(shown)) > limit and shown:
        shown = plain(shown, max(len(_CUT), len(shown) - max(1, (len(made) - limit) // 6)))
        if len(shown) <= len(_CUT):
            return ""
    return made


def _html_of(text: str) -> str:
    paragraphs = [_html.escape(part).replace("\n", "<br>") for part in re.split(r"\n{2,}", text)]
    return "".join(f"<p>{part}</p>" for part in paragraphs if part)


class _Reader(HTMLParser):
    """Collects the text; what stands in a block begins a line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in _UNREAD
        self.parts += ["\n"] if tag in _BLOCKS else []

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _UNREAD and self._hidden > 0

    def handle_data(self, data: str) -> None:
        self.parts += [] if self._hidden else [_BLANK.sub(" ", data)]


_BLOCKS = frozenset(("address", "blockquote", "br", "div", "hr", "li", "p", "pre", "table", "tr"))
_UNREAD = frozenset(("script", "style"))


def html_text(markup: str) -> str:
    """The text of HTML that people wrote, a line for each block."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return "\n".join(row.strip() for row in "".join(reader.parts).strip().split("\n"))


def adf(text: str, limit: int) -> dict[str, Any]:
    """A document of paragraphs with hard breaks. ``limit`` counts the characters of its text.

    Source: developer.atlassian.com, Atlassian Document Format, version 1: a text node must not be empty.
    """
    content = []
    for part in re.split(r"\n{2,}", plain(text, limit)):
        nodes: list[dict[str, Any]] = []
        for row in part.split("\n"):
            nodes += [{"type": "hardBreak"}] if nodes else []
            nodes += [{"type": "text", "text": row}] if row else []
        content.append({"type": "paragraph", "content": nodes})
    return {"type": "doc", "version": 1, "content": content}


def adf_text(document: Any) -> str:
    """The text of a document, paragraphs apart; of ``adf(text)`` the text again, with single empty lines."""
    if isinstance(document, str):
        return document
    blocks = document.get("content") if isinstance(document, dict) else None
    return "\n\n".join(_text_of(block) for block in blocks or () if isinstance(block, dict))


def _text_of(node: dict[str, Any], depth: int = 0) -> str:
    if node.get("type") == "hardBreak":
        return "\n"
    if depth > _MAX_DEPTH:
        return ""
    inner = (_text_of(part, depth + 1) for part in node.get("content") or () if isinstance(part, dict))
    shown = node.get("text") or (node.get("attrs") or {}).get("text") or ""  # a mention has its name in attrs
    return str(shown) + "".join(inner)


_MAX_DEPTH = 50
_WIKI = re.compile(
    r"[{}\[\]*^~!|+@]"
    r"|(?<!\w)[-_?]|[-_?](?!\w)"  # between letters they are text
    r"|(?m:^)(?:#|h[1-6](?=\.)|bq(?=\.))"
)


def wiki(text: str, limit: int) -> str:
    """Text in which no wiki markup is left. ``limit`` counts the characters of the answer.

    Source: Jira's text formatting notation: a backslash makes the character behind it text; two are a line break, so
    one that was there becomes an entity.
    """
    shown = plain(text, limit)
    while len(made := _WIKI.sub(_as_text, shown.replace("&", "&amp;").replace("\\", "&#92;"))) > limit and shown:
        shown = plain(shown, max(0, len(shown) - max(1, (len(made) - limit) // 5)))
    return made


def _as_text(found: re.Match[str]) -> str:
    word = found[0]
    return f"\\{word}" if len(word) == 1 else f"&#{ord(word[0])};{word[1:]}"
