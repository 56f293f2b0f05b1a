"""Label matchers: the words silences and filters are written in, with Alertmanager's meaning.

Facts: an expression is anchored at both ends, and a label that is absent equals the empty string
(https://prometheus.io/docs/alerting/latest/configuration/#matcher, read 2026-11-22). Expressions are RE2, as in
Alertmanager: linear time, so a hostile expression costs no more than a plain one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import re2

from foreshock.core.errors import Malformed

MAX_EXPRESSION_CHARS = 4096
_OPERATOR = re.compile(
    r'\s*(?P<name>"(?:[^"\\]|\\.)*"|[^\s=!~"{},]+)\s*(?P<op>=~|!~|!=|=)\s*(?P<value>.*?)\s*\Z', re.DOTALL
)
_PLAIN_NAME = re.compile(r'[^\s=!~"{},\\]+')
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One condition on one label. Raises Malformed for an expression that is not RE2 or too long."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True
    _pattern: "re2._Regexp | None" = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not self.name:
            raise Malformed("a matcher has no label name", hint='write it as name="value"')
        if self.is_regex:
            if len(self.value) > MAX_EXPRESSION_CHARS:
                raise Malformed(
                    f"the expression for {self.name!r} has {len(self.value)} characters, "
                    f"{MAX_EXPRESSION_CHARS} are allowed"
                )
            options = re2.Options()
            options.log_errors = False
            try:
                pattern = re2.compile(f"^(?:{self.value})$", options)
            except re2.error as error:
                raise Malformed(
                    f"{self.value!r} is not a valid expression for {self.name!r} ({error})",
                    hint="use RE2 syntax",
                ) from None
            object.__setattr__(self, "_pattern", pattern)

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.name, "")
        hit = self._pattern.fullmatch(value) is not None if self._pattern is not None else value == self.value
        return hit is self.is_equal

    def __str__(self) -> str:
        operator = ("=~" if self.is_regex else "=") if self.is_equal else ("!~" if self.is_regex else "!=")
        name = self.name if _PLAIN_NAME.fullmatch(self.name) else _quote(self.name)
        return f"{name}{operator}{_quote(self.value)}"


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matcher(text: str) -> Matcher:
    """Read ``name="value"`` with one of ``= != =~ !~``; quotes are optional. Raises Malformed with what was seen."""
    found = _OPERATOR.match(text)
    if found is None:
        raise Malformed(f"{text!r} is not a matcher", hint='write it as name="value", or with one of != =~ !~')
    operator = found["op"]
    return Matcher(
        name=_unquote(found["name"]),
        value=_unquote(found["value"]),
        is_regex=operator.endswith("~"),
        is_equal=operator.startswith("="),
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unquote(text: str) -> str:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])
