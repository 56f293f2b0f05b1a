"""How values read on a page: ages, times, links, and text that a stranger wrote."""

import math
import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

PRIORITIES = {1: "Critical", 2: "High", 3: "Moderate", 4: "Low", 5: "Planning"}
LEVELS = {1: "high", 2: "medium", 3: "low"}
"""Impact and urgency, the words beside the numbers."""

RESOLUTION_CODES = {
    "fixed": "Fixed",
    "workaround": "Workaround in place",
    "recovered": "Recovered by itself",
    "duplicate": "Duplicate",
    "no_fault_found": "No fault found",
    "other": "Other",
}

PATTERN_STATES = {
    "watched": "no problem yet",
    "open": "open",
    "quiet": "proposed for closing",
    "ended": "ended by people",
    "expected": "expected",
    "confirmed": "came true",
    "expired": "did not come true",
    "withdrawn": "withdrawn",
}

OUTCOMES = {
    "expected": "expected",
    "confirmed": "came true",
    "reached": "came true, as its model saw",
    "expired": "did not come true",
    "withdrawn": "withdrawn",
    "unknown": "nobody knows",
}
"""Of what was forecast."""

# Direction overrides let a name read backwards ("gpj.exe"); other control characters have no picture at all.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)
_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\\\x7f-\x9f]")
_NUMBERS = re.compile(r"\b(?:(INC\d{7,12}|S-\d{1,12})|(PRB\d{7,12}))\b")


def visible(value: object) -> object:
    """For Jinja's ``finalize``: characters nobody sees, or that reorder their neighbours, are spelled out."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _INVISIBLE.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", value)
    return value


def number(value: float) -> str:
    """Four digits that count: "0.05123", "1,234", "2.5e+09"."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.4g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def age(seconds: float) -> str:
    """Two units at most: "40 s", "12 min", "3 h 5 min", "2 d 4 h". static/console.js counts on in the same words."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def gap(seconds: float) -> str:
    """A time between two onsets: "same second", "40 s", "3 min 20 s"."""
    whole = round(seconds)
    if whole < 1:
        return "same second"
    minutes, rest = divmod(whole, 60)
    if not minutes or minutes >= 60:
        return age(whole)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def moment(at: datetime, now: datetime) -> Markup:
    """The time of day in UTC, with the date where it is another day than today; the whole stands in the tooltip."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return _time(at, f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%d %b %H:%M}")


def minute(at: datetime, now: datetime) -> Markup:
    """The same without seconds, for what is known no better."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return _time(at, f"{at:%H:%M}" if at.date() == now.date() else f"{at:%d %b %H:%M}")


def _time(at: datetime, short: str) -> Markup:
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", short
    )


def href(url: str) -> str:
    """The address if a page may link to it (http, https, or a path on this server), else an empty string."""
    if not url or len(url) > 4096 or _UNSAFE_IN_URL.search(url):
        return ""
    if url.startswith("/"):
        return "" if url.startswith("//") else url
    try:
        parts = urlsplit(url)
        return url if parts.scheme in {"http", "https"} and parts.hostname else ""
    except ValueError:
        return ""


def path(text: str) -> str:
    """The text as one segment of a path."""
    return quote(text, safe="")


def linked(text: str) -> Markup:
    """The text with the numbers of incidents and problems made links."""
    parts: list[Markup] = []
    end = 0
    for found in _NUMBERS.finditer(text):
        place = "problems" if found.group(2) else "incidents"
        parts.append(escape(visible(text[end : found.start()])))
        parts.append(Markup('<a href="/{}/{}">{}</a>').format(place, found.group(), found.group()))
        end = found.end()
    parts.append(escape(visible(text[end:])))
    return Markup("").join(parts)


def search_text(*parts: str) -> str:
    """What the filter looks in, lower case."""
    return unicodedata.normalize("NFC", " ".join(part for part in parts if part)).lower()


def matches(text: str, query: str) -> bool:
    """Every word of the query occurs in the text. static/console.js decides the same way."""
    return all(word in text for word in unicodedata.normalize("NFC", query).lower().split())


def size(count: float) -> str:
    """Bytes in a person's unit: "640 MB", "12.4 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
