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


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read what Alertmanager takes where it takes several: ``{a="b", c=~"d"}``, with or without the braces. Raises
    Malformed.

    Alertmanager has two grammars, and so has this: the classic one decides where it can read the text, else the one of
    UTF-8, in which names may be quoted and escapes are those of Go (its ``compat`` package in fallback mode, the
    default, read 2026-11-22).
    """
    try:
        return tuple(_classic(part) for part in _parts(text))
    except Malformed as error:
        try:
            return _utf8(text)
        except Malformed:
            raise error from None


_CLASSIC = re.compile(r"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?P<op>=~|!~|!=|=)\s*(?P<value>.*?)\s*", re.DOTALL)


def _parts(text: str) -> list[str]:
    """What stands between commas that are not quoted."""
    inner = text.strip().removeprefix("{").removesuffix("}")
    parts, begin, quoted, escaped = [], 0, False, False
    for at, character in enumerate(inner):
        if character == "," and not quoted:
            parts.append(inner[begin:at])
            begin = at + 1
        elif character == '"' and not escaped:
            quoted = not quoted
        escaped = character == "\\" and not escaped
    return [*parts, inner[begin:]] if inner[begin:].strip() else parts


def _classic(text: str) -> Matcher:
    found = _CLASSIC.fullmatch(text)
    if found is None:
        raise Malformed(f"{text.strip()!r} is not a matcher", hint='write it as name="value", or with one of != =~ !~')
    value = found["value"]
    body = value[1:-1] if len(value) > 1 and value.startswith('"') and value.endswith('"') else value
    if '"' in re.sub(r"\\.", "", body, flags=re.DOTALL):
        raise Malformed(f"{text.strip()!r} has a quote in its value", hint='write \\" for a quote inside quotes')
    plain = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), body, flags=re.DOTALL)
    return Matcher(
        name=found["name"], value=plain, is_regex=found["op"].endswith("~"), is_equal=found["op"].startswith("=")
    )


_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\s{}!=~,\\"\'`]+')
_SIGN = re.compile(r"=~|!~|!=|=")
_GO = re.compile(r"\\(?P<escape>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)|[^\\]+", re.DOTALL)
_GO_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"',
}  # fmt: skip


def _utf8(text: str) -> tuple[Matcher, ...]:
    rest = text.strip()
    if rest.startswith("{") != rest.endswith("}"):
        raise Malformed(f"{text!r} has one brace", hint="write both or none")
    rest = (rest[1:-1] if rest.startswith("{") else rest).strip()
    found = []
    while rest:
        name, rest = _token(_WORD, rest, text)
        sign, rest = _token(_SIGN, rest, text)
        value, rest = _token(_WORD, rest, text)
        found.append(
            Matcher(name=_go(name), value=_go(value), is_regex=sign.endswith("~"), is_equal=sign.startswith("="))
        )
        if rest:
            if not rest.startswith(","):
                raise Malformed(f"{text!r} has no comma before {rest[:40]!r}", hint="part matchers by commas")
            rest = rest[1:].lstrip()
    return tuple(found)


def _token(pattern: re.Pattern[str], rest: str, text: str) -> tuple[str, str]:
    found = pattern.match(rest)
    if found is None:
        raise Malformed(f"{text!r} is not a matcher at {rest[:40]!r}", hint='write it as name="value"')
    return found[0], rest[found.end() :].lstrip()


def _go(word: str) -> str:
    """A word as Go's strconv.Unquote reads it."""
    if not word.startswith('"'):
        return word

    try:
        pieces = (
            _plain(piece["escape"]) if piece["escape"] else piece[0].encode() for piece in _GO.finditer(word[1:-1])
        )
        return b"".join(pieces).decode()
    except (KeyError, ValueError, OverflowError):
        raise Malformed(f"{word} has an escape that is none", hint="write a backslash as two") from None


def _plain(escape: str) -> bytes:
    if escape[0] in "uU":
        return chr(int(escape[1:], 16)).encode()
    if escape[0] == "x":
        return bytes([int(escape[1:], 16)])
    return bytes([int(escape, 8)]) if len(escape) == 3 else _GO_SIMPLE[escape].encode()


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unquote(text: str) -> str:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])
