"""Text as every database of ours takes it."""

import re

# PostgreSQL refuses U+0000 in text, and half a surrogate pair has no UTF-8 form.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str, limit: int | None = None) -> str:
    """``text`` with what no database can hold replaced by U+FFFD, cut to ``limit`` characters."""
    return _UNSTORABLE.sub("\ufffd", text)[:limit]
