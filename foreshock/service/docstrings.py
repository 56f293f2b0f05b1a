"""What the module of a kind says of itself: a first paragraph, then lines that begin with ``Word:``."""

import importlib
import inspect
import re
from collections.abc import Mapping

_FACT = re.compile(r"([A-Z][a-z]+): +(.*)")


def facts(module: str) -> tuple[str, Mapping[str, str]]:
    """The first paragraph, and by word what follows it, each on one line."""
    text = inspect.getdoc(importlib.import_module(module)) or ""
    first, _, rest = text.partition("\n\n")
    found: dict[str, str] = {}
    word = ""
    for line in rest.splitlines():
        if match := _FACT.match(line):
            word, found[match[1]] = match[1], match[2]
        elif word and line.strip():
            found[word] += " " + line.strip()
    return " ".join(first.split()), found
