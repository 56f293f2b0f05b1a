"""Text for people, in the markup that each ITSM system takes. What strangers wrote arrives as text, never as markup.

One place, so that no sink escapes for itself: ``plain`` for fields that hold text, ``html`` for those that render HTML,
``adf`` for Atlassian's document format. All are pure and bounded.
"""

import html as _html
import re
from typing import Any

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters other than tab and line feed
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # what turns or hides the text around it
    "\ud800-\udfff\ufffe\uffff]"  # halves of a pair, and what is no character
)
_CUT = " …"
_BLANK = re.compile(r"\s+")


def plain(text: str, limit: int) -> str:
    """Text with its lines, without what cannot be seen, of at most ``limit`` characters; a cut is marked."""
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n"))
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
