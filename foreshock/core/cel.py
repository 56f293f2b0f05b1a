"""Conditions in the Common Expression Language, checked when they are read and bounded in what an evaluation costs.

Facts:   https://github.com/google/cel-spec (language), cel-expr-python 0.1.3 around cel-cpp, read 2026-11-22. CEL has
         no loops but its macros over lists and maps, no side effects and no clock, so a condition is a function of its
         values. ``matches`` is RE2, which is linear in the text, but builds its program anew with each evaluation.
Limits:  ``MAX_CHARACTERS``, ``MAX_COST``, ``MAX_PROGRAM``. A pattern must be written out, so that it can be checked.

The engine behind it takes 6 MB, so it is imported when the first condition is read.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import re2

from foreshock.core.errors import Invalid
from foreshock.core.model import MAX_LABELS

MAX_CHARACTERS = 2000
MAX_COST = 100_000
"""Steps of the dearest evaluation, each macro running over ``MAX_LABELS`` entries: two nested ones pass, three fail."""
MAX_PROGRAM = 300
"""Instructions of an RE2 program; ordinary patterns have fewer than 100."""
_MAX_PATTERN_BYTES = 256 * 1024  # memory for a program: beyond it RE2 gives up while compiling
_TEXT_COST = 10  # steps of a function that reads a text

_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")


class Kind(Enum):
    """Types of the values that a condition sees."""

    TEXT = "text"
    TEXTS = "map of texts"
    NUMBER = "number"


class Condition:
    """A condition over named values.

    Args:
        text: the expression. variables: what it may name, each with its kind.
    Attributes:
        cost: steps that an evaluation takes at most.
    Raises: Invalid with line and column where the expression is not one, is no yes or no, or could cost too much.
    """

    def __init__(self, text: str, variables: Mapping[str, Kind]) -> None:
        from cel_expr_python import cel

        if len(text) > MAX_CHARACTERS:
            raise Invalid(
                f"the expression has {len(text)} characters, {MAX_CHARACTERS} are allowed", hint="write it shorter"
            )
        types = {
            Kind.TEXT: cel.Type.STRING,
            Kind.TEXTS: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
            Kind.NUMBER: cel.Type.DOUBLE,
        }
        self.text = text
        environment = cel.NewEnv(variables={name: types[kind] for name, kind in variables.items()})
        try:
            self._expression = environment.compile(text)
        except RuntimeError as error:
            raise _refused(str(error), variables) from None
        if self._expression.return_type() != cel.Type.BOOL:
            raise Invalid(
                f"the expression gives {self._expression.return_type().name()}, not yes or no",
                hint='compare something, for example a.labels["job"] == b.labels["job"]',
            )
        self.cost = _cost(_expression(self._expression.serialize()))
        if self.cost > MAX_COST:
            raise Invalid(
                f"the expression may take {self.cost} steps, {MAX_COST} are allowed",
                hint="nest fewer exists and all; compare single labels instead",
            )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds. One that cannot be worked out, for example because a label is missing, does not."""
        return self._expression.eval(data=values).value() is True


def _refused(error: str, variables: Mapping[str, Kind]) -> Invalid:
    found = [(int(line), int(column), what) for line, column, what in _ERROR.findall(error) if int(line) > 0]
    if not found:
        return Invalid(f"the expression cannot be read: {error.splitlines()[0]}", hint="write it in CEL")
    said = "; ".join(f"line {line}, column {column} of the expression: {what}" for line, column, what in found[:5])
    return Invalid(said, hint=f"it may name {', '.join(variables)}")


# ---- what an evaluation may cost: the checked expression, from its protobuf encoding (cel/expr/syntax.proto) --------

_Fields = dict[int, list[bytes]]


def _fields(message: bytes) -> _Fields:
    """Fields of a protobuf message that are messages or texts themselves, by number; plain numbers are left out."""
    found: _Fields = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        wire = key & 7
        if wire == 2:
            size = varint()
            found.setdefault(key >> 3, []).append(message[at : at + size])
            at += size
        elif wire == 0:
            varint()
        else:
            at += 8 if wire == 1 else 4
    return found


def _expression(serialized: bytes) -> _Fields:
    """The root ``Expr`` of a ``CheckedExpr`` within an ``Any``."""
    (checked,) = _fields(serialized)[2]
    (root,) = _fields(checked)[4]
    return _fields(root)


_SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 5, 6, 7, 8, 9
_READS_TEXT = frozenset({b"contains", b"startsWith", b"endsWith", b"_+_", b"_==_", b"_!=_", b"size"})


def _cost(expr: _Fields) -> int:
    if _CALL in expr:
        call = _fields(expr[_CALL][0])
        (function,) = call[2]
        parts = [_fields(part) for part in (*call.get(1, ()), *call.get(3, ()))]
        own = _TEXT_COST if function in _READS_TEXT else 1
        return own + sum(map(_cost, parts)) + (_matches(parts[-1]) if function == b"matches" else 0)
    if _COMPREHENSION in expr:
        parts_of = _fields(expr[_COMPREHENSION][0])
        over, start, condition, step, result = (_cost(_fields(parts_of[number][0])) for number in (2, 4, 5, 6, 7))
        return 1 + over + start + result + MAX_LABELS * (condition + step)
    return 1 + sum(_cost(part) for part in _children(expr))


def _children(expr: _Fields) -> Iterator[_Fields]:
    for select in expr.get(_SELECT, ()):
        yield from map(_fields, _fields(select).get(1, ()))
    for listed in expr.get(_LIST, ()):
        yield from map(_fields, _fields(listed).get(1, ()))
    for struct in expr.get(_STRUCT, ()):
        for entry in map(_fields, _fields(struct).get(2, ())):
            yield from map(_fields, (*entry.get(3, ()), *entry.get(4, ())))


def _matches(pattern: _Fields) -> int:
    """Cost of a pattern, once it is known to be a sound and small one."""
    constant = _fields(pattern[3][0]) if 3 in pattern else {}
    if 6 not in constant:
        raise Invalid(
            "matches() has a pattern that is worked out", hint='write the pattern out: a.labels["x"].matches("^db")'
        )
    text = constant[6][0].decode()
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_BYTES
    try:
        size = int(re2.compile(text, options)._regexp.ProgramSize())
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise Invalid(f"{text!r} is not a pattern: {reason}", hint="use RE2 syntax, with small repetitions") from None
    if size > MAX_PROGRAM:
        raise Invalid(
            f"{text!r} needs {size} instructions, {MAX_PROGRAM} are allowed", hint="use fewer and smaller repetitions"
        )
    return size
