"""Templates of what a ticket says: the part of Jinja that can neither run long, write without end nor reach anything.

What is not on the lists below is refused when the settings are read, not when a ticket is due: no calls, assignments,
macros or includes. So a template is over after its length times the items of two lists at most, and its values are
texts, numbers, moments and lists of those. Jinja's own sandbox stands behind that as a second wall.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from foreshock.core.errors import Invalid
from foreshock.core.quantities import read_zone

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

MAX_SOURCE = 10_000
"""Characters of a template."""
MAX_TEXT = 20_000
"""Characters of what it may write; the rest is cut, and marked."""
MAX_ITEMS = 100
_MAX_LOOPS = 2
_CUT = " …"
_PLAIN_NODES = frozenset({
    "Template", "Output", "TemplateData", "Name", "Const", "Getattr", "Getitem", "Filter", "Test", "If", "For",
    "CondExpr", "Compare", "Operand", "And", "Or", "Not", "Add", "Sub", "Concat", "Tuple", "List", "Keyword",
})  # fmt: skip
_FILTERS = ("capitalize", "default", "first", "last", "length", "lower", "round", "title", "trim", "truncate", "upper")
_LOOP = ("first", "index", "index0", "last", "length")
_TESTS = ("defined", "undefined", "none", "in", "even", "odd")
_WORDS = {
    "Call": "calls", "Assign": "set", "AssignBlock": "set", "Macro": "macros", "CallBlock": "macros",
    "Include": "include", "Import": "import", "FromImport": "import", "Extends": "extends", "Block": "blocks",
    "FilterBlock": "filter blocks", "With": "with", "Mul": "*", "Pow": "**", "Mod": "%", "Div": "/", "FloorDiv": "//",
    "Slice": "slices", "Dict": "dictionaries", "NSRef": "namespaces",
}  # fmt: skip


class Template:
    """One text of a ticket.

    Args:
        source: in Jinja's language.
        values: an example of the values that it may use, by name.

    Attributes:
        names: those that it does use; only they need to be given.

    Raises Invalid, naming the line.
    """

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        from jinja2 import TemplateSyntaxError, meta

        if len(source) > MAX_SOURCE:
            raise Invalid(f"it has {len(source)} characters", hint=f"write at most {MAX_SOURCE}")
        environment = _environment()
        try:
            tree = environment.parse(source)
            _check(tree, environment, values)
            self.names = frozenset(meta.find_undeclared_variables(tree))
            self._template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise Invalid(f"line {error.lineno}: {error.message}", hint=_HINT) from None

    def render(self, values: Mapping[str, Any]) -> str:
        """At most ``MAX_TEXT`` characters; at most one empty line in a row. Raises Invalid where a value is used as
        what it is not."""
        from jinja2 import TemplateError

        parts: list[str] = []
        room = MAX_TEXT
        try:
            for part in self._template.generate(values):
                parts.append(part[:room])
                room -= len(part)
                if room < 0:
                    parts.append(_CUT)
                    break
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise Invalid(str(error), hint=_HINT) from None
        return _tidy("".join(parts))


class Record(Mapping[str, Any]):
    """A value with fields, each worked out when a template asks for it."""

    def __init__(self, fields: Mapping[str, Callable[[Any], Any]], of: Any) -> None:
        self._fields = fields
        self._of = of

    def __getitem__(self, name: str) -> Any:
        return self._fields[name](self._of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __str__(self) -> str:
        """What a template shows that names none of the fields: which there are, never an address in memory."""
        return f"({', '.join(self._fields)})"


_HINT = "see docs/tickets.md for what a template may use"


@lru_cache(1)
def _environment() -> "Environment":
    from jinja2 import ChainableUndefined
    from jinja2.runtime import LoopContext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class OfValues(ImmutableSandboxedEnvironment):
        """Nothing but the items of values can be reached."""

        def getattr(self, obj: Any, attribute: str) -> Any:
            return self.getitem(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(obj, LoopContext) and argument in _LOOP:
                return getattr(obj, argument)
            if isinstance(obj, Mapping) and argument in obj:
                return obj[argument]
            if isinstance(obj, list | tuple) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
                return obj[argument]
            return self.undefined(obj=obj, name=argument)

    # What is not there is empty: an incident without a cause has no `cause.ci`, and its ticket must be opened.
    found = OfValues(undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True)
    found.globals.clear()
    known: dict[str, Callable[..., Any]] = {name: found.filters[name] for name in _FILTERS}
    found.filters.clear()
    found.filters.update(known | {"join": _join, "time": _time, "plural": _plural, _EACH: _each})
    tests = {name: found.tests[name] for name in _TESTS}
    found.tests.clear()
    found.tests.update(tests)
    return found


# ---- what may stand in one ------------------------------------------------------------------------------------------

_EACH = "each of"


def _check(node: "nodes.Node", environment: "Environment", scope: Mapping[str, Any], loops: int = 0) -> None:
    """``scope``: what names stand for here, by example."""
    from jinja2 import nodes

    match node:
        case nodes.Name() if node.name not in scope:
            _refuse(node, f"there is no value {node.name!r}", scope)
        case nodes.Getattr():
            _check_field(node, scope)
        case nodes.Filter() if node.name not in environment.filters:
            _refuse(node, f"there is no filter {node.name!r}", environment.filters)
        case nodes.Test() if node.name not in environment.tests:
            _refuse(node, f"there is no test {node.name!r}", environment.tests)
        case nodes.For():
            _check_loop(node, environment, scope, loops + 1)
            return
        case _ if type(node).__name__ not in _PLAIN_NODES:
            kind = type(node).__name__
            _refuse(node, f"{_WORDS.get(kind, kind)} cannot be used")
    for child in node.iter_child_nodes():
        _check(child, environment, scope, loops)


def _check_field(node: "nodes.Getattr", scope: Mapping[str, Any]) -> None:
    """Only where the example says what its fields are: labels are whatever somebody sends."""
    example = _example(node.node, scope)
    if isinstance(example, Record) and node.attr not in example:
        _refuse(node, f"there is no field {node.attr!r}", example)


def _check_loop(node: "nodes.For", environment: "Environment", scope: Mapping[str, Any], loops: int) -> None:
    from jinja2 import nodes

    if loops > _MAX_LOOPS or node.recursive or not isinstance(node.target, nodes.Name):
        _refuse(node, f"loops go {_MAX_LOOPS} deep at most, through one list with one name")
    _check(node.iter, environment, scope, loops)
    items = _example(node.iter, scope)
    inner = {**scope, node.target.name: items[0] if isinstance(items, list) and items else None, "loop": None}
    for child in (*node.body, *node.else_, *([] if node.test is None else [node.test])):
        _check(child, environment, inner, loops)
    node.iter = nodes.Filter(node.iter, _EACH, [], [], None, None, lineno=node.lineno)


def _example(node: "nodes.Node", scope: Mapping[str, Any]) -> Any:
    """What an expression stands for; None where that is not known."""
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        return scope.get(node.name)
    if isinstance(node, nodes.Getattr):
        found = _example(node.node, scope)
        return found.get(node.attr) if isinstance(found, Record) else None
    return None


def _refuse(node: "nodes.Node", message: str, known: Iterable[str] = ()) -> NoReturn:
    from jinja2 import TemplateAssertionError

    names = ", ".join(sorted(set(known) - {_EACH}))
    raise TemplateAssertionError(f"{message}; known: {names}" if names else message, node.lineno)


# ---- filters --------------------------------------------------------------------------------------------------------


def _each(value: Any) -> list[Any]:
    """What a loop goes through: never the characters of a text, and not without end."""
    if isinstance(value, list | tuple):
        return list(value[:MAX_ITEMS])
    if not value:
        return []
    raise TypeError(f"{str(value)[:40]!r} is no list")


def _join(value: Any, between: Any = ", ") -> str:
    return str(between)[:MAX_ITEMS].join(str(item) for item in _each(value))


def _time(value: Any, zone: str = "UTC") -> str:
    """``2026-03-02 12:00:00 CET``: a moment in a time zone (IANA name)."""
    if not isinstance(value, datetime):
        return ""
    return f"{value.astimezone(read_zone(zone)):%Y-%m-%d %H:%M:%S %Z}"


def _plural(number: Any, word: str) -> str:
    """``2 alerts``; ``1 alert``."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def _tidy(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).strip()
